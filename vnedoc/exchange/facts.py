"""What counters and deadlines go by: of each document who, when, how far, and whether paper follows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

    from vnedoc.exchange.states import DeliveryState

__all__ = ["ReceivedFacts", "ReceivedTallies", "RecipientFacts", "SentFacts", "SentTallies"]


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SentTallies:
    """How many documents were sent, by what counters tell apart."""

    documents: Mapping[tuple[int, bool | None, str], int]
    """Documents and recalls that the axis confirmed, by business kind, whether paper follows, and day in Vietnam."""
    deliveries: Mapping[tuple[str, str, DeliveryState, str | None], int]
    """Recipients of them without those of recalls, by code, name, what we did, and the furthest of 01 to 06."""
    unsent: Mapping[frozenset[DeliveryState], int]
    """Documents that the axis did not confirm, without recalls, by the states of their recipients."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedTallies:
    """How many documents were received, by what counters tell apart."""

    documents: Mapping[tuple[int, bool | None, DeliveryState, str | None, str, str, str], int]
    """By business kind, whether paper follows, what we did, the furthest of 01 to 06 that we reported, code and name
    of the sender, and day in Vietnam."""
