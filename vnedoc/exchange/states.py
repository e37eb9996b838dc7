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

__all__ = [
    "CHANGE_CODES",
    "PROGRESS_CODES",
    "BusinessState",
    "DeliveryState",
    "TransportStatus",
]


class DeliveryState(enum.StrEnum):
    """What we did with a message, for one recipient."""

    QUEUED = "queued"
    """Kept durably; the axis does not have it yet."""
    SENT = "sent"
    """The axis confirmed that it has it. The recipient may not."""
    DELIVERED = "delivered"
    """The recipient's system took it."""
    FAILED = "failed"
    """The recipient's system could not take it."""
    REFUSED = "refused"
    """The axis said no; a person must look at it."""
    ACCEPTED = "accepted"
    """Incoming: kept and passed on."""
    QUARANTINED = "quarantined"
    """Incoming: kept apart with the reason."""

    def may_become(self, new: DeliveryState) -> bool:
        """Tell whether a message in this state may move to another; staying is always allowed."""
        return new is self or new in _DELIVERY_STEPS[self]

    def joined(self, new: DeliveryState) -> DeliveryState:
        """Return the state after some news: the new state if it is a step forward, this one if not."""
        return new if self.may_become(new) else self


_DELIVERY_STEPS: dict[DeliveryState, frozenset[DeliveryState]] = {
    # A recipient's answer can overtake the axis's own receipt when our process died between the two.
    DeliveryState.QUEUED: frozenset(
        {DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.REFUSED}
    ),
    DeliveryState.SENT: frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED}),
    # A business status proves that the package arrived after all.
    DeliveryState.FAILED: frozenset({DeliveryState.DELIVERED}),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.REFUSED: frozenset(),
    DeliveryState.ACCEPTED: frozenset(),
    DeliveryState.QUARANTINED: frozenset(),
}


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
