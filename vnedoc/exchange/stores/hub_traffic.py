"""What went through a hub, for people who look: messages with filters, one message with all of it, sums by day."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import orm

from vnedoc.agencies import CodeScheme, OrganId
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._days import day_of, span
from vnedoc.exchange.stores._search import contains_words
from vnedoc.exchange.stores.models import HubAgencyRow, HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnedoc.exchange.stores.hub import HubStore

__all__ = [
    "DaySum",
    "HubTraffic",
    "MessageDetail",
    "MessageFilter",
    "MessageSummary",
    "RecipientState",
    "code_level",
]

MAX_LISTED = 500
"""How many messages one page holds."""
_ROWS = 1000
_ID_CHARS = 32
# Shorter ones are years and numbers of documents more often than ids.
_ID_START = re.compile(rf"[0-9a-f]{{8,{_ID_CHARS}}}")
# What a summary shows of a message.
_SUMMARIZED = orm.load_only(
    HubMessageRow.kind,
    HubMessageRow.sender_code,
    HubMessageRow.sender_system,
    HubMessageRow.document_id,
    HubMessageRow.notation,
    HubMessageRow.title,
    HubMessageRow.payload_size,
    HubMessageRow.received_at,
)
_FEW = 10_000
"""Up to so many deliveries of a system are gone through at once; with more, the newest are soon found one by one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages; what is ``None`` does not matter."""

    kind: PackageKind | None = None
    """What they carry."""
    sender_code: str | None = None
    """Who sent them."""
    recipient_code: str | None = None
    """Who is among those they are for."""
    system_id: str | None = None
    """The system that sent them, or serves one of those they are for."""
    status: str | None = None
    """A status that one of their deliveries has."""
    since: datetime.datetime | None = None
    """Taken over at this time or later."""
    until: datetime.datetime | None = None
    """Taken over before this time."""
    text: str | None = None
    """Words, or parts of them, of the title, the number and notation, and the identifier of the document; marks and
    case do not matter. Or an id that the hub gave to the sender or to a recipient, or its first 8 characters or
    more."""


@dataclasses.dataclass(frozen=True, slots=True)
class MessageSummary:
    """One package that the hub took over."""

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
    received_at: datetime.datetime
    """When the hub took it over."""
    deliveries: dict[str, int]
    """How many recipients there are, by status."""


@dataclasses.dataclass(frozen=True, slots=True)
class RecipientState:
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
    updated_at: datetime.datetime
    """When its status changed last."""


@dataclasses.dataclass(frozen=True, slots=True)
class MessageDetail:
    """One package with all that is known of it."""

    summary: MessageSummary
    """What a list shows."""
    sha256: str
    """SHA-256 of the package, in hexadecimal."""
    receipt: str
    """What the sender was answered, word for word."""
    recipients: tuple[RecipientState, ...]
    """All recipients, in the order of the package."""
    payload_pruned_at: datetime.datetime | None = None
    """Since when the package itself is not kept any more; ``None``: it is there."""


@dataclasses.dataclass(frozen=True, slots=True)
class DaySum:
    """What one day (Vietnam time) brought, of one kind, from one level."""

    day: datetime.date
    """The day."""
    level: int | None
    """The level of the senders, see :func:`code_level`."""
    kind: PackageKind
    """What was carried."""
    messages: int
    """How many packages."""
    deliveries: int
    """For how many recipients, together."""
    payload_bytes: int
    """Their size together."""


class HubTraffic:
    """Questions about what went through a hub.

    Args:
        store: The memory of the hub; its database is shared.
    """

    def __init__(self, store: HubStore) -> None:
        self._database = store.database

    def messages(
        self,
        wanted: MessageFilter = MessageFilter(),
        *,
        before: tuple[datetime.datetime, str] | None = None,
        limit: int = MAX_LISTED,
    ) -> list[MessageSummary]:
        """Return messages, the newest first.

        Args:
            wanted: Which.
            before: Time and id of the last message of the page before; ``None`` is the first page.
            limit: How many at most.
        """
        query = _filtered(sa.select(HubMessageRow).options(_SUMMARIZED), wanted)
        if before is not None:
            moment, message_id = before
            query = query.where(
                sa.or_(
                    HubMessageRow.received_at < moment,
                    sa.and_(HubMessageRow.received_at == moment, HubMessageRow.id < message_id),
                )
            )
        query = query.order_by(HubMessageRow.received_at.desc(), HubMessageRow.id.desc())
        with self._database.reading() as session:
            if wanted.text:
                query = query.where(_is_about(session, wanted.text))
            if wanted.system_id is not None:
                query = query.where(_concerns(session, wanted.system_id))
            rows = session.scalars(query.limit(min(limit, MAX_LISTED))).all()
            counts = _status_counts(session, [row.id for row in rows])
            return [_summary(row, counts.get(row.id, {})) for row in rows]

    def message(self, message_id: str) -> MessageDetail | None:
        """Return one message, by its id for the sender."""
        recipients = (
            sa.select(HubDeliveryRow, HubAgencyRow.name, HubAgencyRow.system_id)
            .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
            .where(HubDeliveryRow.message_id == message_id)
            .order_by(HubDeliveryRow.position)
        )
        with self._database.reading() as session:
            row = session.get(HubMessageRow, message_id)
            if row is None:
                return None
            states = tuple(
                RecipientState(
                    item.doc_id,
                    item.recipient_code,
                    name,
                    system_id,
                    item.status,
                    item.status_text,
                    item.updated_at,
                )
                for item, name, system_id in session.execute(recipients)
            )
            summary = _summary(row, _status_counts(session, [row.id]).get(row.id, {}))
            return MessageDetail(summary, row.payload_sha256, row.receipt, states, row.payload_pruned_at)

    def days(self, *, first: datetime.date, last: datetime.date) -> list[DaySum]:
        """Return the sums of days, by day, level and kind.

        Args:
            first: The first day, in Vietnam time.
            last: The last day; it belongs to the time.
        """
        since, until = span(first, last)
        day = day_of(HubMessageRow.received_at, is_sqlite=self._database.is_sqlite)
        fanned = (
            sa.select(sa.func.count())
            .where(HubDeliveryRow.message_id == HubMessageRow.id)
            .correlate(HubMessageRow)
            .scalar_subquery()
        )
        each = (
            sa.select(
                day.label("day"),
                HubMessageRow.sender_code.label("sender"),
                HubMessageRow.kind.label("kind"),
                HubMessageRow.payload_size.label("size"),
                fanned.label("fanned"),
            )
            .where(HubMessageRow.received_at >= since, HubMessageRow.received_at < until)
            .subquery()
        )
        query = (
            sa.select(
                each.c.day,
                each.c.sender,
                each.c.kind,
                sa.func.count(),
                sa.func.sum(each.c.fanned),
                sa.func.sum(each.c.size),
            )
            .group_by(each.c.day, each.c.sender, each.c.kind)
            .execution_options(yield_per=_ROWS)
        )
        sums: dict[tuple[str, int, str], list[int]] = {}
        with self._database.reading() as session:
            for word, sender, kind, *counted in session.execute(query):
                # What has no level comes first, and is not mixed with any.
                known = sums.setdefault((str(word), code_level(sender) or 0, kind), [0, 0, 0])
                for place, count in enumerate(counted):
                    known[place] += int(count)
        return [
            DaySum(datetime.date.fromisoformat(word), level or None, PackageKind(kind), *values)
            for (word, level, kind), values in sorted(sums.items())
        ]


def code_level(code: str) -> int | None:
    """Return how deep an agency stands by its code: 1 for a ministry or a province, 2 for what is below it.

    Codes of Decision 20/2020/QĐ-TTg have a group for each level; codes of QCVN 102:2016 have four groups, of which
    those of zeros name nothing. ``None`` if a code follows neither.
    """
    scheme = OrganId(code).scheme
    # Asked for each of a hundred thousand agencies: the frequent case first, and nothing made for it.
    if scheme is CodeScheme.QD20:
        return 1 + code.count(".")
    if scheme is CodeScheme.QCVN102:
        return 1 + sum(1 for group in code.split(".")[:3] if set(group) != {"0"})
    return None


def _filtered(query: sa.Select[HubMessageRow], wanted: MessageFilter) -> sa.Select[HubMessageRow]:
    if wanted.kind is not None:
        query = query.where(HubMessageRow.kind == wanted.kind.value)
    if wanted.sender_code is not None:
        query = query.where(HubMessageRow.sender_code == wanted.sender_code)
    if wanted.since is not None:
        query = query.where(HubMessageRow.received_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(HubMessageRow.received_at < wanted.until)
    if wanted.recipient_code is not None or wanted.status is not None:
        to = sa.select(HubDeliveryRow.message_id)
        if wanted.recipient_code is not None:
            to = to.where(HubDeliveryRow.recipient_code == wanted.recipient_code)
        if wanted.status is not None:
            to = to.where(HubDeliveryRow.status == wanted.status)
        if wanted.status not in {None, TransportStatus.DONE.value}:
            # Literally, so that databases see that the small index of what is not done is enough.
            to = to.where(HubDeliveryRow.status != sa.literal_column("'done'"))
        is_frequent = wanted.recipient_code is None and wanted.status == TransportStatus.DONE.value
        if is_frequent:
            query = query.where(to.where(HubDeliveryRow.message_id == HubMessageRow.id).exists())
        else:
            # Not correlated: what is rare is found by the deliveries, not by a walk through all messages.
            query = query.where(HubMessageRow.id.in_(to))
    return query


def _is_about(session: orm.Session, text: str) -> sa.ColumnElement[bool]:
    """Return the condition that words of a message are those of a search, or that its id begins with them."""
    about = contains_words(HubMessageRow.search_text, text)
    start = text.strip().lower()
    if not _ID_START.fullmatch(start):
        return about
    found = _named(session, start)
    if found and len(start) == _ID_CHARS:
        # Whoever has the whole id wants this one: the words of all messages need not be gone through.
        return HubMessageRow.id.in_(found)
    return sa.or_(about, HubMessageRow.id.in_(found))


def _named(session: orm.Session, start: str) -> list[str]:
    """Return the ids of the messages whose own id, or that of one of their deliveries, begins so."""
    # As a span, which every index takes; LIKE would need one of its own. All digits of ids come before "g".
    ids = sa.select(HubMessageRow.id).where(HubMessageRow.id.between(start, start + "g"))
    of_deliveries = sa.select(HubDeliveryRow.message_id).where(
        HubDeliveryRow.doc_id.between(start, start + "g")
    )
    return list(dict.fromkeys(session.scalars(sa.union_all(ids, of_deliveries).limit(MAX_LISTED))))


def _concerns(session: orm.Session, system_id: str) -> sa.ColumnElement[bool]:
    """Return the condition that a system sent a message, or serves one of those it is for."""
    to = (
        sa.select(HubDeliveryRow.message_id)
        .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
        .where(HubAgencyRow.system_id == system_id)
    )
    some = sa.select(sa.func.count()).select_from(to.limit(_FEW + 1).subquery())
    sent = HubMessageRow.sender_system == system_id
    if (session.scalar(some) or 0) <= _FEW:
        # Looked for one by one, from the newest on, they would be found after a walk through all messages.
        return sa.or_(sent, HubMessageRow.id.in_(to))
    return sa.or_(sent, to.where(HubDeliveryRow.message_id == HubMessageRow.id).exists())


def _status_counts(session: orm.Session, ids: Iterable[str]) -> dict[str, dict[str, int]]:
    query = (
        sa.select(HubDeliveryRow.message_id, HubDeliveryRow.status, sa.func.count())
        .where(HubDeliveryRow.message_id.in_(ids))
        .group_by(HubDeliveryRow.message_id, HubDeliveryRow.status)
        .order_by(HubDeliveryRow.status)
    )
    counts: dict[str, dict[str, int]] = {}
    for message_id, status, count in session.execute(query):
        counts.setdefault(message_id, {})[status] = int(count)
    return counts


def _summary(row: HubMessageRow, counts: dict[str, int]) -> MessageSummary:
    return MessageSummary(
        row.id,
        PackageKind(row.kind),
        row.sender_code,
        row.sender_system,
        row.document_id,
        row.notation,
        row.title,
        row.payload_size,
        row.received_at,
        counts,
    )
