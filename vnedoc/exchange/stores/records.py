"""What an agency's store tells of its messages: values without a connection to the database."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc.exchange.codes import PackageKind

if TYPE_CHECKING:
    import datetime

    from vnedoc.exchange.states import (
        BusinessState,
        DeliveryState,
        OrderKind,
        OrderState,
        TransportStatus,
    )
    from vnedoc.exchange.stores.payloads import StoredPayload
    from vnedoc.sign.report import Finding

__all__ = [
    "Attempt",
    "Consignment",
    "DocumentOrder",
    "MessageFilter",
    "NewOrder",
    "NewReceived",
    "NewSent",
    "Page",
    "ReceivedMessage",
    "Recipient",
    "SentMessage",
    "StatusEvent",
    "StatusNews",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Recipient:
    """An agency that a package is for."""

    code: str
    """Its code."""
    name: str
    """Its name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewSent:
    """A package to put into the outbox."""

    kind: PackageKind
    """What it carries."""
    identity: str
    """What makes it the same package when it is sent again."""
    sender_code: str
    """Code in ``From``."""
    recipients: tuple[Recipient, ...]
    """Whom it is for."""
    document_id: str
    """Identifier of the document that it carries or is about."""
    code: str
    """Number and notation of that document."""
    subject: str
    """What it is about; for a status its code."""
    payload: StoredPayload
    """The package; already durable."""
    business_kind: int | None = None
    """Why a document is sent; ``None`` for a status."""
    paper: bool | None = None
    """Whether paper follows; ``None`` if the package does not say."""
    issued_on: datetime.date | None = None
    """The date of issue, where the deadline of sending counts from it."""
    priority: int = 0
    """How urgent the document is: a :class:`~vnedoc.exchange.codes.Priority`."""
    expires_at: datetime.datetime | None = None
    """When it is given up if the axis does not have it by then; ``None`` if never."""


@dataclasses.dataclass(frozen=True, slots=True)
class StatusNews:
    """A business status, as its package says it."""

    code: str
    """The status code."""
    reporter: str
    """Code of the agency that reports."""
    about: str
    """Code of the agency in ``ResponseFor``."""
    document_id: str
    """Identifier of the document."""
    document_code: str
    """Number and notation of the document."""
    description: str | None
    """In words."""
    reported_at: datetime.datetime | None
    """When, as the reporter says."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order about one document that came in or is to go out."""

    kind: OrderKind
    """What it wants."""
    document_id: str
    """Identifier of the document."""
    document_code: str
    """Number and notation of the document; empty if the order does not say."""
    reason: str | None
    """Why, in words."""
    automatic: bool
    """Whether it is carried out without asking a person."""
    issued_on: datetime.date | None = None
    """The date of issue of the document, where the order says it."""
    withdraws: bool = False
    """For an update: whether it takes the document from us, because we are no receiver any more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOrder:
    """An order about one document, and what became of it."""

    id: str
    """Its id."""
    kind: OrderKind
    """What it wants."""
    state: OrderState
    """What became of it."""
    is_ours: bool
    """Whether we gave it; if not, it came in."""
    orderer_code: str
    """Code of the agency that gave it."""
    document_id: str
    """Identifier of the document."""
    document_code: str
    """Number and notation of the document; may be empty."""
    reason: str | None
    """Why, in words."""
    order_id: str | None
    """The message that carries it; ``None`` for what was taken back before it left."""
    target_id: str | None
    """The message of the document; ``None`` while the document has not come."""
    created_at: datetime.datetime
    """When it was given or came in."""
    settled_at: datetime.datetime | None
    """When it was carried out or refused."""
    answer: str | None
    """The status that answers it: 15 or 16."""
    answer_id: str | None
    """The message of the answer; ``None`` while there is none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewReceived:
    """A package that came in, already judged."""

    remote_doc_id: str
    """Its id on the axis."""
    kind: PackageKind
    """What it carries."""
    identity: str
    """What makes it the same package when it comes again."""
    accepted: bool
    """Whether it is passed on; if not, it is kept apart."""
    reasons: tuple[Finding, ...]
    """Why it is kept apart, or what was odd."""
    sender_code: str
    """Code in ``From``."""
    sender_name: str
    """Name in ``From``."""
    document_id: str
    """Identifier of the document that it carries or is about."""
    code: str
    """Number and notation of that document."""
    subject: str
    """What it is about; for a status its code."""
    payload: StoredPayload
    """The package; already durable."""
    news: StatusNews | None = None
    """What a status package says."""
    recipient_code: str | None = None
    """Which of our codes it is addressed to."""
    business_kind: int | None = None
    """Why a document was sent; ``None`` for a status."""
    priority: int = 0
    """How urgent it is."""
    paper: bool | None = None
    """Whether paper follows; ``None`` if the package does not say."""
    issued_on: datetime.date | None = None
    """The date of issue."""
    due_on: datetime.date | None = None
    """When its sender wants an answer."""
    dispatched_at: datetime.datetime | None = None
    """When its sender's system let it go, as its first trace says."""
    orders: tuple[NewOrder, ...] = ()
    """What it orders about other documents."""


@dataclasses.dataclass(frozen=True, slots=True)
class StatusEvent:
    """One business status in the history of a document."""

    code: str
    """The status code."""
    description: str | None
    """In words."""
    reported_at: datetime.datetime | None
    """When, as the reporter says."""
    recorded_at: datetime.datetime
    """When we recorded it."""
    taken: bool
    """Whether it moved the state; one that came late did not."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to hand a package to the axis."""

    number: int
    """Counted from 1."""
    started_at: datetime.datetime
    """When it began."""
    ended_at: datetime.datetime | None
    """When it ended; ``None`` while it is under way, or for ever if the process died."""
    outcome: str
    """``started``, ``sent``, ``trouble``, ``refused`` or ``parked``."""
    error_code: str | None
    """The code of our error."""
    remote_code: str | None
    """The code that the axis gave."""
    remote_message: str | None
    """What the axis said."""


@dataclasses.dataclass(frozen=True, slots=True)
class Consignment:
    """A sent package on its way to one recipient, with the three states."""

    id: str
    """Its id; the same for every attempt."""
    recipient: Recipient
    """Whom it is for."""
    remote_doc_id: str | None
    """The id under which the recipient sees it on the axis."""
    delivery: DeliveryState
    """What we did."""
    transport: TransportStatus | None
    """What the axis says; ``None`` before it has the package."""
    business: BusinessState
    """What the recipient's office did."""
    updated_at: datetime.datetime
    """When one of the three changed last."""
    events: tuple[StatusEvent, ...]
    """The business statuses in the order they came."""


@dataclasses.dataclass(frozen=True, slots=True)
class SentMessage:
    """A package of the outbox."""

    id: str
    """Its id."""
    connection: str
    """The connection that it goes by."""
    kind: PackageKind
    """What it carries."""
    sender_code: str
    """Code in ``From``."""
    document_id: str
    """Identifier of the document that it carries or is about."""
    code: str
    """Number and notation of that document."""
    subject: str
    """What it is about; for a status its code."""
    payload: StoredPayload
    """The package."""
    created_at: datetime.datetime
    """When it was queued."""
    due_at: datetime.datetime | None
    """When it is tried next; ``None`` if there is nothing to do."""
    remote_doc_id: str | None
    """The id that the axis gave it."""
    consignments: tuple[Consignment, ...]
    """Its recipients."""
    attempts: tuple[Attempt, ...]
    """The attempts so far."""
    business_kind: int | None = None
    """Why a document is sent; ``None`` for a status, and for what was kept by an earlier version."""
    priority: int = 0
    """How urgent it is."""
    expires_at: datetime.datetime | None = None
    """When it is given up; ``None`` if never."""
    tries: int = 0
    """Attempts since it was queued, or since a person last asked to try again."""
    payload_pruned_at: datetime.datetime | None = None
    """When the package was removed because of its age; ``None`` while it is there."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A package that was received."""

    id: str
    """Its id."""
    connection: str
    """The connection that it came by."""
    kind: PackageKind
    """What it carries."""
    remote_doc_id: str
    """Its id on the axis."""
    sender_code: str
    """Code in ``From``."""
    sender_name: str
    """Name in ``From``."""
    document_id: str
    """Identifier of the document that it carries or is about."""
    code: str
    """Number and notation of that document."""
    subject: str
    """What it is about; for a status its code."""
    payload: StoredPayload
    """The package."""
    received_at: datetime.datetime
    """When it was taken in."""
    reasons: tuple[Finding, ...]
    """Why it is kept apart, or what was odd."""
    published_at: datetime.datetime | None
    """When its files were laid out for people."""
    delivery: DeliveryState
    """``accepted`` or ``quarantined``."""
    transport: TransportStatus
    """What the axis was told."""
    business: BusinessState
    """What we reported of it."""
    updated_at: datetime.datetime
    """When one of the three changed last."""
    events: tuple[StatusEvent, ...]
    """The business statuses in the order they were sent or came."""
    recipient_code: str | None = None
    """Which of our codes it is addressed to; ``None`` for what was kept by an earlier version."""
    business_kind: int | None = None
    """Why a document was sent; ``None`` for a status, and for what was kept by an earlier version."""
    priority: int = 0
    """How urgent it is."""
    due_on: datetime.date | None = None
    """When its sender wants an answer."""
    published_in: str | None = None
    """The folder in which it was laid out."""
    payload_pruned_at: datetime.datetime | None = None
    """When the package was removed because of its age; ``None`` while it is there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages of a long list are wanted."""

    kind: PackageKind = PackageKind.DOCUMENT
    """What they carry."""
    state: DeliveryState | None = None
    """A state that at least one recipient's consignment is in; for received messages, their state."""
    connection: str | None = None
    """The connection that they go or came by."""
    since: datetime.datetime | None = None
    """Queued or received at this time or later."""
    until: datetime.datetime | None = None
    """Queued or received before this time."""
    text: str | None = None
    """Part of number, subject, identifier, or code or name of the other side; case and diacritics do not count."""


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Some messages of a long list, the newest first."""

    items: tuple[SentMessage, ...] | tuple[ReceivedMessage, ...]
    """The messages."""
    next: str | None
    """What to ask the next page with; ``None`` if this is the last."""
