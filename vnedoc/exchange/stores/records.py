"""What an agency's store tells of its messages: values without a connection to the database."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.states import BusinessState, DeliveryState, TransportStatus
    from vnedoc.exchange.stores.payloads import StoredPayload
    from vnedoc.sign.report import Finding

__all__ = [
    "Attempt",
    "Consignment",
    "NewReceived",
    "NewSent",
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
    """``started``, ``sent``, ``trouble`` or ``refused``."""
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
