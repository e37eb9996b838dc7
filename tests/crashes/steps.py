"""The steps at which a process is killed, each with a name that people can read."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from tests.crashes.traps import COMMIT, CONNECT, FSYNC, RECEIVE, RENAME, SEND, Trap

__all__ = ["MORE_STEPS", "OTHER_WIRE_STEPS", "STEPS", "Step", "Story"]


class Story(enum.StrEnum):
    """What is going on when a process is killed; the sending office is A, the receiving one B."""

    SENDING = "A sends a document"
    FAILING = "A cannot reach the hub"
    TAKING_BACK = "A takes back what has not left"
    RECEIVING = "B takes in a document"
    ANSWERING = "B answers that it took the document in (01)"
    REPLYING = "B reports that the document was entered (03)"
    HEARING = "A takes in the answer, and how far its package came"
    RECALLING = "A recalls a document"
    RECALLED = "B takes in a recall"
    UPDATING = "A updates a document"
    UPDATED = "B takes in an update"

    @property
    def office(self) -> str:
        """Whose process is killed."""
        return self.value[0]


@dataclass(frozen=True)
class Step:
    """A step at which a process is killed."""

    story: Story
    """What is going on."""
    name: str
    """Its name."""
    trap: Trap
    """Where that is."""
    again: bool = False
    """Whether nobody was told yet that the work was taken on, so that a person does it again."""
    size: int = 200_000
    """The size of the attachment in bytes."""
    wire: str = "vxp"
    """How the offices speak to the hub."""

    @property
    def title(self) -> str:
        """The story and the name."""
        by = "" if self.wire == "vxp" else f", by {self.wire}"
        return f"{self.story.value}{by}: {self.name}"


_STORE = "vnedoc.exchange.stores.store:AgencyStore."
_CONNECTOR = "vnedoc.exchange.connectors.base:Connector."
_ADOPT = "vnedoc.exchange.stores.payloads:FolderPayloads.adopt"
_COPY = "vnedoc.exchange.stores.payloads:FolderPayloads.copy_in"
_PUBLISH = "vnedoc.exchange._layout:publish"
_NOTICE = "vnedoc.exchange._layout:post_notice"


def _commits(
    story: Story, what: str, method: str, *, call: int = 1, again: bool | None = False
) -> list[Step]:
    """Return the steps before and after a commit; ``again=None``: repeated only if it was not committed."""
    within = _STORE + method
    return [
        Step(story, f"{what}, before the commit", Trap(COMMIT, "before", call, within), again is not False),
        Step(story, f"{what}, after the commit", Trap(COMMIT, "after", call, within), bool(again)),
    ]


STEPS: tuple[Step, ...] = (
    # The sending office.
    Step(Story.SENDING, "payload written, not on the disk", Trap(FSYNC, "before", 1, _COPY), True),
    Step(Story.SENDING, "payload on the disk, before the rename", Trap(RENAME, "before", 1, _COPY), True),
    Step(Story.SENDING, "payload renamed", Trap(RENAME, "after", 1, _COPY), True),
    *_commits(Story.SENDING, "queued", "queue", again=None),
    *_commits(Story.SENDING, "claimed", "claim_due"),
    Step(Story.SENDING, "before connecting", Trap(CONNECT, "before", 1, _CONNECTOR + "send")),
    Step(Story.SENDING, "connected", Trap(CONNECT, "after", 1, _CONNECTOR + "send")),
    Step(Story.SENDING, "head of the request sent", Trap(SEND, "after", 1, _CONNECTOR + "send")),
    *(
        Step(
            Story.SENDING,
            f"{part * 64} KB of the body sent",
            Trap(SEND, "after", part + 1, _CONNECTOR + "send"),
        )
        for part in range(1, 5)
    ),
    Step(Story.SENDING, "body sent, no answer read", Trap(RECEIVE, "before", 1, _CONNECTOR + "send")),
    Step(Story.SENDING, "answer received", Trap(_CONNECTOR + "send", "after")),
    *_commits(Story.SENDING, "end of the attempt (sent)", "end_attempt_sent"),
    *_commits(Story.FAILING, "end of the attempt (trouble)", "end_attempt_trouble"),
    *_commits(Story.TAKING_BACK, "taken back", "recall_unsent", again=None),
    # The receiving office.
    Step(Story.RECEIVING, "list asked for", Trap(RECEIVE, "before", 1, _CONNECTOR + "list_received")),
    Step(Story.RECEIVING, "list received", Trap(_CONNECTOR + "list_received", "after")),
    Step(Story.RECEIVING, "package asked for", Trap(RECEIVE, "before", 1, _CONNECTOR + "fetch")),
    Step(Story.RECEIVING, "half of the package fetched", Trap(RECEIVE, "after", 3, _CONNECTOR + "fetch")),
    Step(Story.RECEIVING, "whole package fetched", Trap(_CONNECTOR + "fetch", "after")),
    Step(Story.RECEIVING, "payload not on the disk", Trap(FSYNC, "before", 1, _ADOPT)),
    Step(Story.RECEIVING, "payload on the disk, before the rename", Trap(RENAME, "before", 1, _ADOPT)),
    Step(Story.RECEIVING, "payload renamed, folder not on the disk", Trap(RENAME, "after", 1, _ADOPT)),
    Step(Story.RECEIVING, "payload safe", Trap(_ADOPT, "after")),
    Step(Story.RECEIVING, "while it is judged", Trap("tests.crashes.jobs:judge", "before")),
    Step(Story.RECEIVING, "judged", Trap("tests.crashes.jobs:judge", "after")),
    *_commits(Story.RECEIVING, "kept, and its answer queued", "keep"),
    Step(Story.RECEIVING, "attachment unpacked, not on the disk", Trap(FSYNC, "before", 1, _PUBLISH)),
    Step(
        Story.RECEIVING, "attachment on the disk, before it has its name", Trap(RENAME, "before", 1, _PUBLISH)
    ),
    Step(Story.RECEIVING, "before the folder of attachments appears", Trap(RENAME, "before", 2, _PUBLISH)),
    Step(Story.RECEIVING, "folder of attachments appeared", Trap(RENAME, "after", 2, _PUBLISH)),
    Step(Story.RECEIVING, "package copied, not on the disk", Trap(FSYNC, "before", 2, _PUBLISH)),
    Step(Story.RECEIVING, "package on the disk, before it appears", Trap(RENAME, "before", 3, _PUBLISH)),
    Step(Story.RECEIVING, "package appeared", Trap(RENAME, "after", 3, _PUBLISH)),
    *_commits(Story.RECEIVING, "laid out", "note_published"),
    Step(Story.RECEIVING, "before acknowledging", Trap(_CONNECTOR + "acknowledge", "before")),
    Step(
        Story.RECEIVING,
        "acknowledgement sent, no answer read",
        Trap(RECEIVE, "before", 1, _CONNECTOR + "acknowledge"),
    ),
    Step(Story.RECEIVING, "acknowledged", Trap(_CONNECTOR + "acknowledge", "after")),
    *_commits(Story.RECEIVING, "acknowledgement noted", "note_acknowledged"),
    # The first claim is the worker's, before there is anything.
    *_commits(Story.ANSWERING, "answer claimed", "claim_due", call=2),
    Step(Story.ANSWERING, "answer sent, no receipt read", Trap(RECEIVE, "before", 1, _CONNECTOR + "send")),
    Step(Story.ANSWERING, "receipt received", Trap(_CONNECTOR + "send", "after")),
    *_commits(Story.ANSWERING, "end of the attempt", "end_attempt_sent"),
    *_commits(Story.REPLYING, "status queued", "reply", again=None),
    Step(Story.REPLYING, "status sent, no receipt read", Trap(RECEIVE, "before", 1, _CONNECTOR + "send")),
    # The sending office, afterwards.
    *_commits(Story.HEARING, "status kept", "keep"),
    *_commits(Story.HEARING, "acknowledgement of the status noted", "note_acknowledged"),
    *_commits(Story.HEARING, "transport noted", "note_transport"),
    # Orders.
    *_commits(Story.RECALLING, "order queued", "give_order", again=None),
    Step(Story.RECALLING, "receipt of the order received", Trap(_CONNECTOR + "send", "after")),
    *_commits(Story.RECALLED, "recall applied", "keep"),
    *_commits(Story.RECALLED, "answer to the recall queued", "answer_order"),
    Step(Story.RECALLED, "notice written, before it appears", Trap(RENAME, "before", 1, _NOTICE)),
    Step(Story.RECALLED, "notice appeared", Trap(RENAME, "after", 1, _NOTICE)),
    Step(Story.RECALLED, "package moved away, attachments not", Trap(RENAME, "after", 2, _NOTICE)),
    Step(Story.RECALLED, "package and attachments moved away", Trap(RENAME, "after", 3, _NOTICE)),
    *_commits(Story.RECALLED, "notice noted", "note_noticed"),
    Step(Story.RECALLED, "before acknowledging", Trap(_CONNECTOR + "acknowledge", "before")),
    *_commits(Story.UPDATING, "update queued", "give_order", again=None),
    *_commits(Story.UPDATED, "update applied", "keep"),
    *_commits(Story.UPDATED, "answer to the update queued", "answer_order"),
    Step(Story.UPDATED, "notice written, before it appears", Trap(RENAME, "before", 1, _NOTICE)),
    Step(Story.UPDATED, "notice appeared", Trap(RENAME, "after", 1, _NOTICE)),
)

OTHER_WIRE_STEPS: tuple[Step, ...] = tuple(
    dataclasses.replace(step, wire="lgsp")
    for step in (
        Step(Story.SENDING, "128 KB of the body sent", Trap(SEND, "after", 3, _CONNECTOR + "send")),
        Step(Story.SENDING, "body sent, no answer read", Trap(RECEIVE, "before", 1, _CONNECTOR + "send")),
        Step(Story.SENDING, "answer received", Trap(_CONNECTOR + "send", "after")),
        *_commits(Story.SENDING, "end of the attempt (sent)", "end_attempt_sent"),
        Step(Story.RECEIVING, "list asked for", Trap(RECEIVE, "before", 1, _CONNECTOR + "list_received")),
        Step(Story.RECEIVING, "half of the package fetched", Trap(RECEIVE, "after", 3, _CONNECTOR + "fetch")),
        Step(Story.RECEIVING, "whole package fetched", Trap(_CONNECTOR + "fetch", "after")),
        Step(
            Story.RECEIVING,
            "acknowledgement sent, no answer read",
            Trap(RECEIVE, "before", 1, _CONNECTOR + "acknowledge"),
        ),
        Step(Story.RECEIVING, "acknowledged", Trap(_CONNECTOR + "acknowledge", "after")),
        Step(
            Story.ANSWERING, "answer sent, no receipt read", Trap(RECEIVE, "before", 1, _CONNECTOR + "send")
        ),
        Step(Story.RECALLED, "before acknowledging", Trap(_CONNECTOR + "acknowledge", "before")),
    )
)
"""Steps that are tried by another wire, too: those at which the network has a part."""

_LARGE_BYTES = 3_000_000

MORE_STEPS: tuple[Step, ...] = (
    *(
        Step(
            Story.SENDING,
            f"{part * 64} KB of a body of 4 MB sent",
            Trap(SEND, "after", part + 1, _CONNECTOR + "send"),
            size=_LARGE_BYTES,
        )
        for part in (8, 16, 32, 48)
    ),
    *(
        Step(
            Story.RECEIVING,
            f"{part} reads of a package of 4 MB",
            Trap(RECEIVE, "after", part, _CONNECTOR + "fetch"),
            size=_LARGE_BYTES,
        )
        for part in (8, 16, 32, 48)
    ),
)
"""Steps with a larger package; they are tried by ``make crash-matrix`` only."""
