"""What counters and deadlines go by: of each document who, when, how far, and whether paper follows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime

    from vnedoc.exchange.states import DeliveryState

__all__ = ["ReceivedFacts", "RecipientFacts", "SentFacts"]


@dataclasses.dataclass(frozen=True, slots=True)
class RecipientFacts:
    """One recipient of a document that is to be sent."""

    code: str
    """The recipient's code."""
    name: str
    """Its name."""
    delivery: DeliveryState
    """What we did."""
    progress: str | None
    """The furthest of 01 to 06 that it reported."""
    noticed_at: datetime.datetime | None
    """When its first report came; ``None`` if none came."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SentFacts:
    """A document that is to be sent, or an order about one."""

    message_id: str
    """The message."""
    code: str
    """Number and notation."""
    subject: str
    """What it is about."""
    business_kind: int
    """Why it is sent."""
    priority: int
    """How urgent."""
    paper: bool | None
    """Whether paper follows; ``None`` if the package does not say."""
    issued_on: datetime.date | None
    """The date it bears; ``None`` where the day it was queued counts, as for a recall."""
    queued_at: datetime.datetime
    """When it was queued."""
    sent_at: datetime.datetime | None
    """When the axis confirmed it."""
    recipients: tuple[RecipientFacts, ...]
    """Its recipients."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFacts:
    """A document that was received, or an order about one."""

    message_id: str
    """The message."""
    code: str
    """Number and notation."""
    subject: str
    """What it is about."""
    sender_code: str
    """Who sent it."""
    sender_name: str
    """Its name."""
    business_kind: int
    """Why it was sent."""
    priority: int
    """How urgent."""
    paper: bool | None
    """Whether paper follows; ``None`` if the package does not say."""
    delivery: DeliveryState
    """What we did."""
    progress: str | None
    """The furthest of 01 to 06 that we reported."""
    received_at: datetime.datetime
    """When it was taken in."""
    noticed_at: datetime.datetime | None
    """When the axis had our first report on it."""
    due_on: datetime.date | None
    """Until when its sender wants an answer."""
    finished_at: datetime.datetime | None
    """When we reported 06 or 02, or its sender took it back."""
