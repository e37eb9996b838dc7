"""What the administration API reads and writes: messages, deliveries, sums, the audit log, tokens."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub._admin_models import Given, Shown
from vnedoc.exchange.hub.accounts import Role
from vnedoc.exchange.hub.administration import MAX_RETRIES

__all__ = [
    "AuditCheckView",
    "AuditPage",
    "AuditView",
    "DayView",
    "DeliveryView",
    "HistoryView",
    "MessagePage",
    "MessageView",
    "NewToken",
    "RetryOrder",
    "RetryResult",
    "StatsView",
    "SummaryView",
    "TokenMade",
    "TokenPage",
    "TokenView",
    "WholeMessage",
]

MAX_TOKEN_DAYS = 3660


class MessageView(Shown):
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


class MessagePage(Shown):
    """Messages, the newest first."""

    items: list[MessageView]
    """The messages."""
    next: str | None
    """For ``after`` of the next page; null on the last."""


class DeliveryView(Shown):
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


class HistoryView(Shown):
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


class WholeMessage(Shown):
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
    payload_pruned_at: AwareDatetime | None
    """Since when the package itself is not kept any more; null: it is there."""


class RetryOrder(Given):
    """Deliveries to be tried again."""

    doc_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=MAX_RETRIES)
    ]
    """Their ids."""


class RetryResult(Shown):
    """What became of an order to try deliveries again."""

    again: list[str]
    """Ids that wait for their recipients again."""
    left: list[str]
    """Ids that there is nothing to be tried about, whose package is not kept, or that nothing is known of."""


class StatsView(Shown):
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
    """The size of those that are kept, each counted once."""
    deliveries: dict[str, int]
    """Deliveries by transport status."""


class PruneView(Shown):
    """What the hub removed by itself the last time."""

    at: AwareDatetime
    """When it was finished."""
    released: int
    """Messages whose package was not needed any more."""
    payloads: int
    """Packages removed."""
    payload_bytes: int
    """Their size together."""
    messages: int
    """Messages removed."""
    unfinished: int
    """Messages old enough that stay because something about them is not finished."""


class RetentionView(Shown):
    """How long the hub keeps what is done, and when it last removed something by itself."""

    keep_payloads_days: float | None
    """How long packages are kept after everything about them was done; null: for ever."""
    keep_metadata_days: float | None
    """The same of what is known of them; null: for ever."""
    last: PruneView | None
    """The last time; null: there was none yet."""


class DayView(Shown):
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


class SummaryView(Shown):
    """Sums by day, level and kind."""

    first: datetime.date
    """The first day."""
    last: datetime.date
    """The last day."""
    days: list[DayView]
    """The sums; days without packages are left out."""


class AuditView(Shown):
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


class AuditPage(Shown):
    """Entries of the audit log by their numbers."""

    items: list[AuditView]
    """The entries."""
    next: int | None
    """For ``after`` of the next page; null on the last."""


class AuditCheckView(Shown):
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


class TokenView(Shown):
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


class TokenPage(Shown):
    """All tokens."""

    items: list[TokenView]
    """The tokens."""
    next: Literal[None] = None
    """There is one page."""


class NewToken(Given):
    """A token to be made."""

    label: Annotated[str, Field(min_length=1, max_length=200)]
    """What it is for."""
    role: Role
    """What it may do."""
    days: Annotated[int, Field(ge=1, le=MAX_TOKEN_DAYS)] | None = None
    """How long it is good for; null: until it is removed."""


class TokenMade(Shown):
    """A new token, which is not shown again."""

    token: TokenView
    """What is kept of it."""
    secret: str
    """The token itself, for ``Authorization: Bearer``."""
