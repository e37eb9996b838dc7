"""The three states of a document on its way: delivery, transport, business. They are never mixed.

*Delivery* is ours: what we did with a message. *Transport* is the axis's: whether the recipient's system took
the package. *Business* is the recipient's: what the office did with the document (QCVN 102:2016/BTTTT, status
codes 01 to 16; Decision 28/2018/QĐ-TTg, articles 6.3 and 9.2).

Statuses travel as packages of their own, so they come late, twice and out of order. None of the three ever moves
backwards, and how far an office has come is the same whatever the order in which its reports arrive.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CHANGE_CODES",
    "FINISHED_CODES",
    "IN_OUTBOX",
    "PROGRESS_CODES",
    "BusinessState",
    "DeliveryState",
    "OrderKind",
    "OrderState",
    "OverallState",
    "TransportStatus",
    "may_have_left",
]


class DeliveryState(enum.StrEnum):
    """What we did with a message, for one recipient."""

    QUEUED = "queued"
    """Kept durably; nobody tried to send it yet."""
    SENDING = "sending"
    """Being handed to the axis by somebody who holds the lease."""
    WAITING = "waiting"
    """Tried without success; due again later."""
    SENT = "sent"
    """The axis confirmed that it has it. The recipient may not."""
    DELIVERED = "delivered"
    """The recipient's system took it."""
    FAILED = "failed"
    """The recipient's system could not take it."""
    REFUSED = "refused"
    """The axis said no; a person must look at it."""
    PARKED = "parked"
    """Not tried any more because of a fault on our side; a person must act, then ``retry``."""
    EXPIRED = "expired"
    """Not tried any more because its time is over; a person must act, then ``retry``."""
    RECALLED = "recalled"
    """Taken back by us before the axis confirmed that it had it."""
    ACCEPTED = "accepted"
    """Incoming: kept and passed on."""
    QUARANTINED = "quarantined"
    """Incoming: kept apart with the reason."""
    CANCELLED = "cancelled"
    """Incoming: taken back by its sender; frozen (Decision 28/2018/QĐ-TTg, article 9.2)."""

    def may_become(self, new: DeliveryState) -> bool:
        """Tell whether news may move a message from this state to another; staying is always allowed.

        News is what the axis or the recipient says, and a decision that is final. It never leads back. What a
        worker does with a message in the outbox is told by :meth:`may_step`.
        """
        return new is self or new in _DELIVERY_STEPS[self]

    def joined(self, new: DeliveryState) -> DeliveryState:
        """Return the state after some news: the new state if it is a step forward, this one if not."""
        return new if self.may_become(new) else self

    def may_step(self, new: DeliveryState) -> bool:
        """Tell whether work in the outbox, or a person's order to try again, may move a message to another state."""
        return self.may_become(new) or new in _WORK_STEPS.get(self, frozenset())

    @property
    def is_in_outbox(self) -> bool:
        """Whether the axis never confirmed it, and nobody gave it up for good."""
        return self in IN_OUTBOX


IN_OUTBOX = frozenset(
    {
        DeliveryState.QUEUED,
        DeliveryState.SENDING,
        DeliveryState.WAITING,
        DeliveryState.PARKED,
        DeliveryState.EXPIRED,
    }
)
"""States of a message that the axis never confirmed, and that nobody gave up for good."""

_NEVER_LEFT = frozenset({"remote.unreachable", "connector.not-let-in", "connector.no-secret"})


def may_have_left(error_codes: Iterable[str | None]) -> bool:
    """Tell whether the axis may have a message that it never confirmed.

    Args:
        error_codes: How the attempts to hand it over ended, ``None`` where that is not known. Some ends come before
            the axis has anything; after any other it may have the message.
    """
    return any(code not in _NEVER_LEFT for code in error_codes)


# A recipient's answer can overtake the axis's own receipt when our process died between the two; so can a receipt
# that comes after we gave up.
_CONFIRMED = frozenset({DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.FAILED})
_DELIVERY_STEPS: dict[DeliveryState, frozenset[DeliveryState]] = {
    **dict.fromkeys(IN_OUTBOX, _CONFIRMED | {DeliveryState.REFUSED, DeliveryState.RECALLED}),
    DeliveryState.SENT: frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED}),
    # A business status proves that the package arrived after all.
    DeliveryState.FAILED: frozenset({DeliveryState.DELIVERED}),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.REFUSED: frozenset(),
    DeliveryState.RECALLED: frozenset(),
    DeliveryState.ACCEPTED: frozenset({DeliveryState.CANCELLED}),
    DeliveryState.QUARANTINED: frozenset({DeliveryState.CANCELLED}),
    DeliveryState.CANCELLED: frozenset(),
}
_WORK_STEPS: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.QUEUED: frozenset({DeliveryState.SENDING, DeliveryState.PARKED, DeliveryState.EXPIRED}),
    # A dead worker's message is taken up by the next one: from sending to sending.
    DeliveryState.SENDING: frozenset({DeliveryState.WAITING, DeliveryState.PARKED, DeliveryState.EXPIRED}),
    DeliveryState.WAITING: frozenset(
        {DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.PARKED, DeliveryState.EXPIRED}
    ),
    DeliveryState.PARKED: frozenset({DeliveryState.QUEUED}),
    DeliveryState.EXPIRED: frozenset({DeliveryState.QUEUED}),
}


class OverallState(enum.StrEnum):
    """How far a message is that goes to several recipients.

    The rule of the Estonian document exchange (DVK): pending while any recipient is pending, then failed if any
    failed, and only then sent.
    """

    PENDING = "pending"
    """For at least one recipient the axis does not have it yet, and it will be tried."""
    FAILED = "failed"
    """None is pending, and at least one recipient will not get it unless a person acts."""
    SENT = "sent"
    """The axis has it for all of them; not all systems took it yet."""
    DELIVERED = "delivered"
    """The systems of all of them took it."""
    RECALLED = "recalled"
    """It was taken back before it left, for all of them."""

    @classmethod
    def of(cls, states: Iterable[DeliveryState]) -> OverallState:
        """Return the state of a message from its states for each recipient; their order does not count."""
        present = set(states)
        if present & _PENDING:
            return cls.PENDING
        if present & _NEEDS_A_PERSON:
            return cls.FAILED
        present.discard(DeliveryState.RECALLED)
        if not present:
            return cls.RECALLED
        return cls.DELIVERED if present == {DeliveryState.DELIVERED} else cls.SENT


_PENDING = frozenset({DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING})
_NEEDS_A_PERSON = frozenset(
    {DeliveryState.FAILED, DeliveryState.REFUSED, DeliveryState.PARKED, DeliveryState.EXPIRED}
)


class TransportStatus(enum.StrEnum):
    """Whether the recipient's system took the package, in the words of the axis."""

    INITIAL = "initial"
    """Waiting on the axis."""
    PROCESSING = "processing"
    """The recipient's system is fetching it."""
    DONE = "done"
    """The recipient's system has it."""
    FAIL = "fail"
    """The recipient's system could not take it."""

    def may_become(self, new: TransportStatus) -> bool:
        """Tell whether a package in this status may move to another; staying is always allowed."""
        return new is self or _TRANSPORT_RANK[new] > _TRANSPORT_RANK[self]

    def joined(self, new: TransportStatus) -> TransportStatus:
        """Return the status after some news: the new one if it is a step forward, this one if not."""
        return new if self.may_become(new) else self

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes: the recipient's system has the package, or could not take it."""
        return _TRANSPORT_RANK[self] == _TRANSPORT_RANK[TransportStatus.DONE]


_TRANSPORT_RANK = {
    TransportStatus.INITIAL: 0,
    TransportStatus.PROCESSING: 1,
    # Both are ends: neither may replace the other.
    TransportStatus.DONE: 2,
    TransportStatus.FAIL: 2,
}

# Real offices skip 04, and send 03 and 05 in one breath, so only the order counts, not each step. 02 stands
# highest: a refusal is never hidden by a progress report that comes late.
_PROGRESS_RANK = {"01": 1, "03": 2, "04": 3, "05": 4, "06": 5, "02": 6}
PROGRESS_CODES = frozenset(_PROGRESS_RANK)
"""Status codes that tell how far the recipient has come."""
FINISHED_CODES = frozenset({"02", "06"})
"""Those of them after which nothing is owed on a document."""

_CHANGE_STEPS: dict[str | None, frozenset[str]] = {
    None: frozenset({"13", "15", "16"}),
    "13": frozenset({"15", "16"}),
    # The sender may ask again after a refusal; an agreement is final.
    "16": frozenset({"13", "15"}),
    "15": frozenset(),
}
CHANGE_CODES = frozenset({"13", "15", "16"})
"""Status codes that ask for, grant or refuse taking a document back or updating it."""


@dataclasses.dataclass(frozen=True, slots=True)
class BusinessState:
    """What the recipient's office did with a document.

    How far it is, and what became of a request to take it back or to update it.
    """

    progress: str | None = None
    """The furthest of 01 to 06 that was reported; ``None`` before any report."""
    change: str | None = None
    """13 asked, 15 agreed, 16 refused; ``None`` if nobody asked."""

    def may_take(self, code: str) -> bool:
        """Tell whether a status code is news: a step forward, or 05 once more (it may be repeated)."""
        if code in CHANGE_CODES:
            return code in _CHANGE_STEPS[self.change]
        if code not in PROGRESS_CODES:
            return False
        if self.progress is None:
            return True
        rank, new_rank = _PROGRESS_RANK[self.progress], _PROGRESS_RANK[code]
        return new_rank > rank or code == self.progress == "05"

    def joined(self, code: str) -> BusinessState:
        """Return the state after a status code: further if it is news, the same if not.

        Codes that the standard does not know change nothing.
        """
        if not self.may_take(code):
            return self
        if code in CHANGE_CODES:
            return dataclasses.replace(self, change=code)
        return dataclasses.replace(self, progress=code)


class OrderKind(enum.StrEnum):
    """What an order wants done with a document."""

    RECALL = "recall"
    """Cancel it: a package of the business kind 1; Decision 28/2018/QĐ-TTg, articles 8.2 and 9.2."""
    TAKE_BACK = "take-back"
    """Give it back: a status 13, which asks."""
    UPDATE = "update"
    """Take another version for it: a package of the business kind 2."""
    REPLACE = "replace"
    """Take another document for it: a package of the business kind 3."""

    @property
    def cancels(self) -> bool:
        """Whether the document is cancelled, and no other takes its place."""
        return self in {OrderKind.RECALL, OrderKind.TAKE_BACK}


class OrderState(enum.StrEnum):
    """What became of an order about a document."""

    WAITING = "waiting"
    """The order overtook its document: it is carried out when the document comes."""
    ASKED = "asked"
    """Nobody decided yet; for an order of ours: not all recipients answered."""
    APPLIED = "applied"
    """Carried out; for an order of ours: by all recipients that it went to."""
    REFUSED = "refused"
    """Not agreed to; for an order of ours: by at least one recipient, or by the axis."""
    IGNORED = "ignored"
    """It is not from the sender of the document, so it says nothing."""
