"""One row of the matrix: prepare a story, kill the process at the step, let a new one go on, look."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tests.crashes.jobs import CONNECTION, NEW_FILES, REASON, Job
from tests.crashes.steps import Step, Story
from tests.crashes.world import AFTER_LEASE_S
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import BusinessState, DeliveryState
from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage

if TYPE_CHECKING:
    from tests.crashes.places import Place
    from tests.crashes.world import World

__all__ = ["Found", "how_it_ended", "prepare", "run_step", "unexpected", "what_is_left"]

# Nothing listens on the port for "discard".
NOBODY = "http://127.0.0.1:9"
_WORK = ("work",)
# How far the document of A must have come when all is done.
_ENDS = {
    Story.REPLYING: BusinessState("03"),
    Story.RECALLING: BusinessState("01", "15"),
    Story.RECALLED: BusinessState("01", "15"),
    Story.UPDATING: BusinessState("01"),
    Story.UPDATED: BusinessState("01"),
    Story.TAKING_BACK: BusinessState(),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found after a kill."""

    left: str
    """What the killed process left."""
    end: str
    """How it ended."""
    problems: tuple[str, ...]
    """What should not be."""

    def __str__(self) -> str:
        return f"{self.left} → {self.end}" if not self.problems else "**" + "; ".join(self.problems) + "**"


def run_step(step: Step, place: Place) -> Found:
    """Kill a process at a step and return what was found."""
    with place.world(wire=step.wire) as world:
        actions = prepare(step.story, world, size=step.size)
        office = world.a if step.story.office == "A" else world.b
        url = NOBODY if step.story is Story.FAILING else None
        [killed] = place.zygote.run(Job(office.account, actions, step.trap, url=url))
        if not killed.was_killed:
            return Found("-", "-", (f"the step was not reached: {killed.how} {killed.said}",))
        problems = world.problems_now()
        left = what_is_left(step.story, world)
        # A new process, when the lease of the killed one is over.
        again = actions if step.again else (_WORK,)
        [next_one] = place.zygote.run(Job(office.account, again, ahead_s=AFTER_LEASE_S))
        if next_one.how != "exit 0":
            problems.append(f"the next process: {next_one.how} {next_one.said}")
        world.outlast_leases()
        world.settle()
        problems += world.problems()
        problems += unexpected(step.story, world)
        return Found(left, how_it_ended(step.story, world), tuple(problems))


def prepare(story: Story, world: World, *, size: int) -> tuple[tuple[str, ...], ...]:
    """Go as far as the story has gone before the process starts that is killed; return what it does."""
    path = world.package(size=size)
    if story in {Story.SENDING, Story.FAILING}:
        sending = (("queue", str(path)), _WORK)
        # Where systems log in, that is not what is looked at: it is done when it asks what waits.
        return sending if world.wire == "vxp" else (_WORK, *sending)
    if story is Story.TAKING_BACK:
        message = world.a.exchange.queue(path)
        return (("recall", message.id),)
    message = world.a.exchange.send(path)
    if story in {Story.RECEIVING, Story.ANSWERING}:
        return (_WORK,)
    world.b.work()
    if story is Story.REPLYING:
        [received] = world.b.store.received()
        return (("reply", received.id, "03"),)
    if story is Story.HEARING:
        return (_WORK,)
    world.settle()
    if story is Story.RECALLING:
        return (("recall", message.id),)
    if story is Story.UPDATING:
        return (("update", message.id),)
    if story is Story.RECALLED:
        world.a.exchange.recall(message.id, reason=REASON)
    else:
        world.a.exchange.update(message.id, attachments=NEW_FILES, reason=REASON)
    return (_WORK,)


def what_is_left(story: Story, world: World) -> str:
    """Return in a word or two what is left of the work of a process that was killed, or could not go on."""
    if story in {Story.ANSWERING, Story.REPLYING}:
        sent = world.b.store.sent(kind=PackageKind.STATUS)
        codes = {item.subject: item for item in sent}
        return _state(codes.get("03" if story is Story.REPLYING else "01"))
    if story.office == "A" and story is not Story.HEARING:
        documents = world.a.store.sent()
        skipped = 1 if story in {Story.RECALLING, Story.UPDATING} else 0
        return _state(documents[skipped] if len(documents) > skipped else None)
    office, kind, other = world.b, PackageKind.DOCUMENT, world.a
    if story is Story.HEARING:
        office, kind, other = world.a, PackageKind.STATUS, world.b
    newest = world.hub.store.sent(f"TEST.{other.code}", kind)
    remote = max(newest, key=lambda row: row.received_at)
    known = office.store.find_remote(remote.doc_id, connection=CONNECTION)
    if known is None:
        return "not kept"
    message, acknowledged = known
    if acknowledged:
        return "acknowledged"
    return "kept" if message.published_at is None else "laid out"


def _state(message: SentMessage | ReceivedMessage | None) -> str:
    if message is None:
        return "nothing"
    assert isinstance(message, SentMessage)
    return message.consignments[0].delivery.value


def how_it_ended(story: Story, world: World) -> str:
    """Return the states of what A sent when all is done, and how many attempts the office needed."""
    sent = world.a.store.sent()
    office = world.a if story.office == "A" else world.b
    attempts = max(
        (len(item.attempts) for kind in PackageKind for item in office.store.sent(kind=kind)), default=0
    )
    states = ", ".join(
        " ".join(filter(None, (one.delivery.value, one.business.progress, one.business.change)))
        for item in sent
        for one in item.consignments
    )
    return f"{states}; attempts: {attempts}"


def unexpected(story: Story, world: World) -> list[str]:
    """Return how the end of a story differs from what it must be."""
    found = []
    documents = world.a.store.sent()
    expected = 2 if story in {Story.RECALLING, Story.RECALLED, Story.UPDATING, Story.UPDATED} else 1
    if len(documents) != expected:
        found.append(f"{len(documents)} documents in the outbox of A")
        return found
    business = documents[0].consignments[0].business
    if business != _ENDS.get(story, BusinessState("01")):
        found.append(f"the document of A is at {business}")
    received = {item.id: item for item in world.b.store.received()}
    cancelled = [item for item in received.values() if item.delivery is DeliveryState.CANCELLED]
    if len(cancelled) != (1 if story in {Story.RECALLING, Story.RECALLED} else 0):
        found.append(f"{len(cancelled)} documents are cancelled at B")
    if story in {Story.UPDATING, Story.UPDATED}:
        notices = list(world.b.inbox.glob("*.DA-CAP-NHAT.txt"))
        if len(notices) != 1:
            found.append(f"{len(notices)} notices of an update")
    for item in documents:
        codes = [event.code for event in item.consignments[0].events]
        if len(codes) != len(set(codes)):
            found.append(f"the statuses of {item.id} are {codes}")
    return found
