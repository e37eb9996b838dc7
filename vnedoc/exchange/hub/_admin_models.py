"""What the administration API reads and writes, as its OpenAPI description says it."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.accounts import Role
from vnedoc.exchange.hub.administration import MAX_CODE_CHARS, MAX_NAME_CHARS, MAX_NETWORKS, MAX_RETRIES

__all__ = [
    "AgencyPage",
    "AgencyView",
    "AuditCheckView",
    "AuditPage",
    "AuditView",
    "Closing",
    "DayView",
    "DirectoryImport",
    "HistoryView",
    "ImportResult",
    "MessagePage",
    "MessageView",
    "NewSystem",
    "NewToken",
    "PrincipalView",
    "Problem",
    "RetryOrder",
    "RetryResult",
    "Rotation",
    "SecretMade",
    "StatsView",
    "SummaryView",
    "SystemChange",
    "SystemMade",
    "SystemPage",
    "SystemView",
    "TokenMade",
    "TokenPage",
    "TokenView",
    "WantedAgency",
    "WholeMessage",
]

MAX_OVERLAP_HOURS = 90 * 24
MAX_TOKEN_DAYS = 3660

Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
Networks = Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=MAX_NETWORKS)]
Certificates = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=MAX_NETWORKS)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class ProblemField(_Shown):
    """What is wrong with one field of a request."""

    pointer: str
    """Where."""
    detail: str
    """What."""


class Problem(_Shown):
    """A refusal (RFC 9457)."""

    type: str = "about:blank"
    """Always ``about:blank``: the HTTP status says what kind it is."""
    title: str
    """The name of the HTTP status."""
    status: int
    """The HTTP status."""
    detail: str
    """One sentence for people, in the language of ``Accept-Language``."""
    code: str
    """A word for programs that never changes its meaning."""
    hint: str | None = None
    """What can be done about it."""
    errors: list[ProblemField] | None = None
    """The fields that are wrong."""


class PrincipalView(_Shown):
    """Who calls."""

    name: str
    """``token:`` and the id of the token."""
    role: Role
    """What it may do."""


class SecretView(_Shown):
    """That a system has a secret; never the secret."""

    id: str
    """How people call it."""
    created_at: AwareDatetime
    """When it was made."""
    expires_at: AwareDatetime | None
    """When it ends; null for the one that stays."""


class SystemView(_Shown):
    """A system that may call the hub."""

    id: str
    """Its id."""
    name: str
    """What people call it."""
    created_at: AwareDatetime
    """When it was added."""
    disabled_at: AwareDatetime | None
    """Since when it may not call; null if it may."""
    networks: list[str]
    """The networks it may call from, as CIDR; empty is any."""
    certificates: list[str]
    """SHA-256 of the client certificates it may show; empty: it needs none."""
    agency_count: int
    """How many agencies it sends and receives for."""
    secrets: list[SecretView]
    """Its secrets in force, the newest first; two during a rotation."""
    version: int
    """Counts changes; the ``ETag``."""


class SystemPage(_Shown):
    """Systems by their ids."""

    items: list[SystemView]
    """The systems."""
    next: str | None
    """For ``after`` of the next page; null on the last."""


class NewSystem(_Given):
    """A system to be added."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$")]
    """Its id."""
    name: Name | None = None
    """What people call it; null is its id."""
    networks: Networks = []
    """The networks it may call from, as CIDR."""
    certificates: Certificates = []
    """SHA-256 of the client certificates it may show."""


class SystemMade(_Shown):
    """A system that was added, with its secret, which is not shown again."""

    system: SystemView
    """The system."""
    secret_id: str
    """How people call the secret."""
    secret: str
    """The secret."""


class SystemChange(_Given):
    """What is to be changed of a system; what is left out stays."""

    name: Name | None = None
    """What people call it."""
    networks: Networks | None = None
    """The networks it may call from, as CIDR."""
    certificates: Certificates | None = None
    """SHA-256 of the client certificates it may show."""
    disabled: bool | None = None
    """Whether it may not call."""


class Rotation(_Given):
    """A new secret for a system."""

    overlap_hours: Annotated[int, Field(ge=0, le=MAX_OVERLAP_HOURS)] = 24
    """How long the one before stays good; 0 ends it at once. Older ones end now."""


class SecretMade(_Shown):
    """A new secret, which is not shown again."""

    secret_id: str
    """How people call it."""
    secret: str
    """The secret."""
    older_until: AwareDatetime | None
    """Until when the one before is good, too."""


class AgencyView(_Shown):
    """An agency that the hub delivers to."""

    code: str
    """Its code."""
    name: str
    """Its name."""
    parent_code: str | None
    """Code of the agency above it."""
    email: str | None
    """Its mail address."""
    old_code: str | None
    """Its code by QCVN 102:2016; packages addressed to it arrive too."""
    system_id: str
    """The system that sends and receives for it."""
    closed_on: datetime.date | None
    """The first day on which it is no more (Vietnam time)."""
    successor_code: str | None
    """Code of the agency that took over its work."""
    forwards: bool
    """Whether packages for it go to the successor from that day on; else they are refused."""
    version: int
    """Counts changes; the ``ETag``."""


class AgencyPage(_Shown):
    """Agencies by their codes."""

    items: list[AgencyView]
    """The agencies."""
    next: str | None
    """For ``after`` of the next page; null on the last."""


class WantedAgency(_Given):
    """An agency as it is to be."""

    system_id: Code
    """The system that sends and receives for it."""
    name: Name
    """Its name."""
    parent_code: Code | None = None
    """Code of the agency above it."""
    email: Annotated[str, Field(max_length=320)] | None = None
    """Its mail address."""
    old_code: Code | None = None
    """Its code by QCVN 102:2016."""


class Closing(_Given):
    """How an agency is closed."""

    on: datetime.date
    """The first day on which it is no more (Vietnam time)."""
    successor_code: Code | None = None
    """Who takes over its work; named to those who still send to it."""
    forwards: bool = False
    """Whether packages for it go to the successor; else they are refused."""


class DirectoryImport(_Given):
    """A directory file for a system."""

    system_id: Code
    """The system that serves the agencies."""
    directory: dict[str, Any]  # checked by the reader of directories
    """The directory, as in a file with the schema ``vnedoc.directory/1``."""
    only: Annotated[list[Code], Field(max_length=10_000)] = []
    """Codes of either scheme; empty is all."""


class ImportResult(_Shown):
    """What an import changed."""

    count: int
    """How many agencies exist today."""
    added: int
    """How many of them are new."""
    changed: int
    """How many were there and are not the same now."""
    moved: int
    """How many of these another system had."""
    closed: list[str]
    """Codes that were given an end."""


class MessageView(_Shown):
    """A package that the hub took over."""

    id: str
    """Its id for the sender."""
    kind: PackageKind
    """What it carries."""
    sender_code: str
    """Who sent it."""
    sender_system: str
    """The system that brought it."""
    document_id: str
    """Identifier of the document."""
    notation: str
    """Number and notation."""
    title: str
    """What it is about."""
    size: int
    """Its size in bytes."""
    received_at: AwareDatetime
    """When the hub took it over."""
    deliveries: dict[str, int]
    """How many recipients there are, by status."""


class MessagePage(_Shown):
    """Messages, the newest first."""

    items: list[MessageView]
    """The messages."""
    next: str | None
    """For ``after`` of the next page; null on the last."""


class DeliveryView(_Shown):
    """How far a package is for one recipient."""

    doc_id: str
    """Its id for the recipient."""
    recipient_code: str
    """Who."""
    recipient_name: str
    """What they are called."""
    system_id: str
    """The system that fetches it."""
    status: str
    """How far it is."""
    status_text: str | None
    """What the recipient's system said of it."""
    updated_at: AwareDatetime
    """When its status changed last."""


class HistoryView(_Shown):
    """What happened to a package."""

    at: AwareDatetime
    """When."""
    kind: str
    """``received``, the status that was reported, ``parked``, ``expired``, or an action of the audit log."""
    doc_id: str | None
    """The delivery that it happened to; null for all."""
    by: str | None
    """Who did it: ``system:`` and its id, or who stands in the audit log; null for the hub itself."""
    detail: str | None
    """What was said of it."""


class WholeMessage(_Shown):
    """A package with all that is known of it."""

    message: MessageView
    """What a list shows."""
    sha256: str
    """SHA-256 of the package."""
    receipt: str
    """What the sender was answered, word for word."""
    deliveries: list[DeliveryView]
    """Its recipients."""
    history: list[HistoryView]
    """What happened to it, the oldest first."""


class RetryOrder(_Given):
    """Deliveries to be tried again."""

    doc_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=MAX_RETRIES)
    ]
    """Their ids."""


class RetryResult(_Shown):
    """What became of an order to try deliveries again."""

    again: list[str]
    """Ids that wait for their recipients again."""
    left: list[str]
    """Ids that there is nothing to be tried about, or that nothing is known of."""


class StatsView(_Shown):
    """How much the hub holds."""

    systems: int
    """Systems that may call."""
    agencies: int
    """Agencies it delivers to."""
    documents: int
    """Document packages taken over."""
    statuses: int
    """Status packages taken over."""
    payload_bytes: int
    """Their size together, each counted once."""
    deliveries: dict[str, int]
    """Deliveries by transport status."""


class DayView(_Shown):
    """What one day brought, of one kind, from one level."""

    day: datetime.date
    """The day, in Vietnam time."""
    level: int | None
    """How deep the senders stand by their codes: 1 for a ministry or a province; null if a code does not tell."""
    kind: PackageKind
    """What was carried."""
    messages: int
    """How many packages."""
    deliveries: int
    """For how many recipients, together."""
    payload_bytes: int
    """Their size together."""


class SummaryView(_Shown):
    """Sums by day, level and kind."""

    first: datetime.date
    """The first day."""
    last: datetime.date
    """The last day."""
    days: list[DayView]
    """The sums; days without packages are left out."""


class AuditView(_Shown):
    """One change."""

    number: int
    """Counts from 1, without gaps."""
    at: AwareDatetime
    """When."""
    actor: str
    """Who."""
    action: str
    """What was done."""
    subject: str
    """To what."""
    detail: dict[str, Any]  # what JSON can hold
    """What else is to be known."""
    previous_hash: str
    """The hash of the entry before it."""
    hash: str
    """SHA-256 over the canonical JSON of everything else."""


class AuditPage(_Shown):
    """Entries of the audit log by their numbers."""

    items: list[AuditView]
    """The entries."""
    next: int | None
    """For ``after`` of the next page; null on the last."""


class AuditCheckView(_Shown):
    """What a check of the audit log found."""

    is_whole: bool
    """Whether nothing was found."""
    head: str
    """The end of the log, as ``NUMBER:HASH``; written down elsewhere it proves what was there."""
    wrong: list[int]
    """Numbers where the chain is broken."""
    is_cut: bool
    """Whether the log does not end where its head says."""
    holds_known_head: bool
    """Whether the head that was given is part of the log."""


class TokenView(_Shown):
    """A token of a program; never the token."""

    id: str
    """How people call it."""
    label: str
    """What it is for."""
    role: Role
    """What it may do."""
    created_at: AwareDatetime
    """When it was made."""
    expires_at: AwareDatetime | None
    """When it ends; null: until it is removed."""


class TokenPage(_Shown):
    """All tokens."""

    items: list[TokenView]
    """The tokens."""
    next: Literal[None] = None
    """There is one page."""


class NewToken(_Given):
    """A token to be made."""

    label: Annotated[str, Field(min_length=1, max_length=200)]
    """What it is for."""
    role: Role
    """What it may do."""
    days: Annotated[int, Field(ge=1, le=MAX_TOKEN_DAYS)] | None = None
    """How long it is good for; null: until it is removed."""


class TokenMade(_Shown):
    """A new token, which is not shown again."""

    token: TokenView
    """What is kept of it."""
    secret: str
    """The token itself, for ``Authorization: Bearer``."""
