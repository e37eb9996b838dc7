"""What the pages of the console show and no wire needs: sums by day and level, what is late, who was heard of. Reads.

What was taken over and what was handed out are counted apart: a package for a hundred recipients is one package and
a hundred deliveries, and their sum would mean nothing. Days are Vietnam's.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._days import day_of_hour, hour_of, span
from vnedoc.exchange.stores._search import document_key
from vnedoc.exchange.stores.hub_administration import RETRYABLE
from vnedoc.exchange.stores.hub_models import HubAuditRow, HubRefusalCountRow, HubSightingRow
from vnedoc.exchange.stores.hub_traffic import code_level
from vnedoc.exchange.stores.models import HubAgencyRow, HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from vnedoc.exchange.stores.hub import HubStore

__all__ = [
    "LATE",
    "MAX_LISTED",
    "DayCounts",
    "HubReports",
    "LevelCounts",
    "Retry",
    "Standing",
    "StatusPackage",
    "Trouble",
    "TroublePage",
]

MAX_LISTED = 100
"""How many rows one page holds at most."""
MAX_COUNTED = 1000
"""Nobody needs to know how many thousands are in trouble: counting stops here."""
LATE = "late"
"""What a delivery is called here that waits for too long; its status is ``initial`` or ``processing``."""
_MAX_ABOUT = 200
_DELIVERY = "delivery:"
_DONE = TransportStatus.DONE.value
_WAITING = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)
# Codes that are longer are looked at one by one.
_SHORT = 30
# Literally, so that databases see that the small index of what is not done is enough.
_IS_OPEN = HubDeliveryRow.status != sa.literal_column("'done'")


@dataclasses.dataclass(slots=True)
class DayCounts:
    """What one day brought."""

    day: datetime.date
    """The day."""
    documents: int = 0
    """Packages with a document that the hub took over."""
    statuses: int = 0
    """Packages with a status that the hub took over."""
    delivered: int = 0
    """Deliveries that recipients confirmed on this day."""
    troubled: int = 0
    """Deliveries that failed, were parked or expired on this day, and are so still."""


@dataclasses.dataclass(slots=True)
class LevelCounts:
    """What the agencies of one level sent and got."""

    level: int | None
    """See :func:`vnedoc.exchange.stores.hub_traffic.code_level`."""
    sent: int = 0
    """Packages from them that the hub took over."""
    delivered: int = 0
    """Deliveries that they confirmed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How deliveries stand now; each count stops at :data:`MAX_COUNTED`."""

    waiting: int
    """Wait for their recipients, late or not."""
    late: int
    """Wait for too long."""
    troubled: dict[str, int]
    """By status: failed, parked, expired."""

    @property
    def to_do(self) -> int:
        """How many a person should look at."""
        return self.late + sum(self.troubled.values())


@dataclasses.dataclass(frozen=True, slots=True)
class Trouble:
    """A delivery that a person should look at."""

    doc_id: str
    """Its id for the recipient."""
    message_id: str
    """The message it is a copy of."""
    kind: PackageKind
    """What it carries."""
    notation: str
    """Number and notation."""
    title: str
    """What it is about."""
    sender_code: str
    """Who sent it."""
    recipient_code: str
    """Who should get it."""
    recipient_name: str
    """What they are called."""
    system_id: str
    """The system that fetches it."""
    status: str
    """How far it is."""
    status_text: str | None
    """What the recipient's system said of it."""
    updated_at: datetime.datetime
    """Since when it stands so."""
    is_kept: bool = True
    """Whether the package is still there."""

    @property
    def is_late(self) -> bool:
        """Whether it waits for its recipient, for too long."""
        return self.status not in RETRYABLE

    @property
    def may_retry(self) -> bool:
        """Whether trying again makes sense: what waits is tried whenever its recipient asks."""
        return self.is_kept and not self.is_late


@dataclasses.dataclass(frozen=True, slots=True)
class TroublePage:
    """Some of the deliveries that a person should look at, and where the next page begins."""

    rows: tuple[Trouble, ...]
    """The longest in trouble first."""
    after: tuple[datetime.datetime, str] | None
    """What to ask the next page with; ``None`` if this is the last."""


@dataclasses.dataclass(frozen=True, slots=True)
class StatusPackage:
    """A status that went through the hub about a document."""

    id: str
    """The id of its message."""
    sender_code: str
    """Who reports."""
    title: str
    """What its header says it is about."""
    received_at: datetime.datetime
    """When the hub took it over."""


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """That somebody let a delivery be tried again."""

    doc_id: str
    """The delivery."""
    at: datetime.datetime
    """When."""
    actor: str
    """Who, as the audit log has it."""


class HubReports:
    """Questions of people to the memory of a hub.

    Args:
        store: The memory; its database is shared.
    """

    def __init__(self, store: HubStore) -> None:
        self._database = store.database

    def days(self, first: datetime.date, last: datetime.date) -> list[DayCounts]:
        """Return what each day brought, also the empty ones.

        Args:
            first: The first day.
            last: The last day; it belongs to the time.
        """
        count = (last - first).days + 1
        found = {day: DayCounts(day) for day in (first + datetime.timedelta(days=n) for n in range(count))}
        since, until = span(first, last)
        is_sqlite = self._database.is_sqlite
        taken_at = hour_of(HubMessageRow.received_at, is_sqlite=is_sqlite).label("hour")
        taken = (
            sa.select(taken_at, HubMessageRow.kind, sa.func.count())
            .where(HubMessageRow.received_at >= since, HubMessageRow.received_at < until)
            .group_by("hour", HubMessageRow.kind)
        )
        moved_at = hour_of(HubDeliveryRow.updated_at, is_sqlite=is_sqlite).label("hour")
        moved = (
            sa.select(moved_at, HubDeliveryRow.status, sa.func.count())
            .where(HubDeliveryRow.updated_at >= since, HubDeliveryRow.updated_at < until)
            .group_by("hour", HubDeliveryRow.status)
        )
        with self._database.reading() as session:
            for hour, kind, number in session.execute(taken):
                day = found[day_of_hour(hour)]
                if kind == PackageKind.DOCUMENT.value:
                    day.documents += number
                else:
                    day.statuses += number
            for hour, status, number in session.execute(moved):
                day = found[day_of_hour(hour)]
                if status == _DONE:
                    day.delivered += number
                elif status in RETRYABLE:
                    day.troubled += number
        return list(found.values())

    def levels(self, first: datetime.date, last: datetime.date) -> list[LevelCounts]:
        """Return what the agencies of each level sent and got, the highest level first.

        Args:
            first: The first day.
            last: The last day; it belongs to the time.
        """
        since, until = span(first, last)
        is_sqlite = self._database.is_sqlite
        sent = (
            sa.select(HubMessageRow.sender_code.label("code"), sa.func.count().label("number"))
            .where(HubMessageRow.received_at >= since, HubMessageRow.received_at < until)
            .group_by(HubMessageRow.sender_code)
        )
        got = (
            sa.select(HubDeliveryRow.recipient_code.label("code"), sa.func.count().label("number"))
            .where(
                HubDeliveryRow.updated_at >= since,
                HubDeliveryRow.updated_at < until,
                HubDeliveryRow.status == _DONE,
            )
            .group_by(HubDeliveryRow.recipient_code)
        )
        with self._database.reading() as session:
            # All at once: for a cursor PostgreSQL plans to be quick with the first rows, and slow with all of them.
            sent_by = _by_level(session.execute(_by_depth(sent, is_sqlite=is_sqlite)))
            got_by = _by_level(session.execute(_by_depth(got, is_sqlite=is_sqlite)))
        found = [
            LevelCounts(level, sent_by[level], got_by[level]) for level in sent_by.keys() | got_by.keys()
        ]
        return sorted(found, key=lambda item: (item.level is None, item.level or 0))

    def refusals(self, first: datetime.date, last: datetime.date) -> dict[str, int]:
        """Return how often the hub said no, by reason, the most frequent first."""
        number = sa.func.sum(HubRefusalCountRow.count)
        query = (
            sa.select(HubRefusalCountRow.reason, number)
            .where(HubRefusalCountRow.day >= first, HubRefusalCountRow.day <= last)
            .group_by(HubRefusalCountRow.reason)
            .order_by(number.desc(), HubRefusalCountRow.reason)
        )
        with self._database.reading() as session:
            return {reason: int(count) for reason, count in session.execute(query)}

    def standing(self, *, late_before: datetime.datetime) -> Standing:
        """Return how deliveries stand now.

        Args:
            late_before: What waits since before this time is late.
        """
        waiting = HubDeliveryRow.status.in_(_WAITING)
        with self._database.reading() as session:

            def count(*conditions: sa.ColumnElement[bool]) -> int:
                rows = sa.select(HubDeliveryRow.doc_id).where(_IS_OPEN, *conditions).limit(MAX_COUNTED)
                return session.scalar(sa.select(sa.func.count()).select_from(rows.subquery())) or 0

            return Standing(
                waiting=count(waiting),
                late=count(waiting, HubDeliveryRow.updated_at < late_before),
                troubled={status: count(HubDeliveryRow.status == status) for status in sorted(RETRYABLE)},
            )

    def troubles(
        self,
        *,
        late_before: datetime.datetime,
        status: str | None = None,
        after: tuple[datetime.datetime, str] | None = None,
        limit: int = MAX_LISTED,
    ) -> TroublePage:
        """Return deliveries that a person should look at, the longest in trouble first.

        Args:
            late_before: What waits since before this time is late.
            status: Only those with this status, or :data:`LATE`; ``None`` is all.
            after: Where the page before ended.
            limit: How many at most.
        """
        size = min(limit, MAX_LISTED)
        wanted = (
            (*sorted(RETRYABLE), *_WAITING) if status is None else _WAITING if status == LATE else (status,)
        )
        # Each status has its place in the index: so a page costs the same however many there are.
        few = [_oldest(word, late_before, after, size + 1) for word in wanted]
        picked = sa.union_all(*(sa.select(rows.c.doc_id) for rows in few)).subquery()
        query = (
            sa.select(HubDeliveryRow, HubMessageRow, HubAgencyRow.name, HubAgencyRow.system_id)
            .join(picked, picked.c.doc_id == HubDeliveryRow.doc_id)
            .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
            .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
            .order_by(HubDeliveryRow.updated_at, HubDeliveryRow.doc_id)
            .limit(size + 1)
        )
        with self._database.reading() as session:
            found = session.execute(query).all()
            rows = tuple(_trouble(*row) for row in found[:size])
        is_last = len(found) <= size
        return TroublePage(rows, None if is_last else (rows[-1].updated_at, rows[-1].doc_id))

    def statuses_about(
        self, *, document_id: str, sender_code: str, recipient_codes: Sequence[str]
    ) -> list[StatusPackage]:
        """Return the statuses that recipients of a document reported, the oldest first.

        Args:
            document_id: Identifier of the document.
            sender_code: Who sent the document, as its header says; statuses go there.
            recipient_codes: Who got it.
        """
        query = (
            sa.select(HubMessageRow)
            .join(HubDeliveryRow, HubDeliveryRow.message_id == HubMessageRow.id)
            .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
            .where(
                HubMessageRow.document_key == document_key(document_id),
                HubMessageRow.document_id == document_id,
                HubMessageRow.kind == PackageKind.STATUS.value,
                # Numbers begin anew at each agency: what is about another's document is not about this.
                sa.or_(HubAgencyRow.code == sender_code, HubAgencyRow.old_code == sender_code),
            )
            .order_by(HubMessageRow.received_at, HubMessageRow.id)
            .limit(_MAX_ABOUT)
        )
        codes = set(recipient_codes)
        with self._database.reading() as session:
            rows = session.scalars(query).all()
            known = _both_codes(session.execute(_agencies_of(row.sender_code for row in rows)).all())
            return [
                StatusPackage(row.id, row.sender_code, row.title, row.received_at)
                for row in rows
                if known.get(row.sender_code, row.sender_code) in codes
            ]

    def retries(self, doc_ids: Collection[str]) -> list[Retry]:
        """Return who let deliveries be tried again, and when; at most some hundred deliveries at a time."""
        query = (
            sa.select(HubAuditRow.subject, HubAuditRow.at, HubAuditRow.actor)
            .where(
                HubAuditRow.subject.in_([f"{_DELIVERY}{doc_id}" for doc_id in doc_ids]),
                HubAuditRow.action == "delivery.retry",
            )
            .order_by(HubAuditRow.number)
            .limit(_MAX_ABOUT)
        )
        with self._database.reading() as session:
            return [
                Retry(subject.removeprefix(_DELIVERY), at, actor)
                for subject, at, actor in session.execute(query)
            ]

    def names(self, codes: Iterable[str]) -> dict[str, str]:
        """Return the names of agencies by their codes of either scheme; at most some hundred at a time."""
        wanted = set(codes)
        with self._database.reading() as session:
            rows = session.execute(_agencies_of(wanted)).all()
        # A code in force comes before one that another agency had once.
        return {row.old_code: row.name for row in rows if row.old_code in wanted} | {
            row.code: row.name for row in rows if row.code in wanted
        }

    def sightings(self, system_ids: Collection[str]) -> dict[str, datetime.datetime]:
        """Return when systems were let in last."""
        query = sa.select(HubSightingRow.system_id, HubSightingRow.seen_at).where(
            HubSightingRow.system_id.in_(system_ids)
        )
        with self._database.reading() as session:
            return {row[0]: row[1] for row in session.execute(query)}


def _oldest(
    status: str, late_before: datetime.datetime, after: tuple[datetime.datetime, str] | None, count: int
) -> sa.Subquery:
    query = sa.select(HubDeliveryRow.doc_id).where(_IS_OPEN, HubDeliveryRow.status == status)
    if status in _WAITING:
        query = query.where(HubDeliveryRow.updated_at < late_before)
    if after is not None:
        moment, doc_id = after
        query = query.where(
            # Said twice: the first lets databases begin at the right place of the index.
            HubDeliveryRow.updated_at >= moment,
            sa.or_(HubDeliveryRow.updated_at > moment, HubDeliveryRow.doc_id > doc_id),
        )
    return query.order_by(HubDeliveryRow.updated_at, HubDeliveryRow.doc_id).limit(count).subquery()


def _trouble(row: HubDeliveryRow, message: HubMessageRow, name: str, system_id: str) -> Trouble:
    return Trouble(
        row.doc_id,
        message.id,
        PackageKind(message.kind),
        message.notation,
        message.title,
        message.sender_code,
        row.recipient_code,
        name,
        system_id,
        row.status,
        row.status_text,
        row.updated_at,
        message.payload_pruned_at is None,
    )


def _by_depth(counts: sa.Select[str, int], *, is_sqlite: bool) -> sa.Select[str, int]:
    """Return the sums of counts by code: of codes of Decision 20/2020/QĐ-TTg one for each number of groups.

    Nearly all codes are such, and thousands of rows need not be handed over; an example stands for each sum, by which
    :func:`~vnedoc.exchange.stores.hub_traffic.code_level` tells the level.
    """
    each = counts.subquery()
    code = each.c.code
    if is_sqlite:
        is_new = sa.and_(
            code.op("GLOB", is_comparison=True)("[A-Y][0-9][0-9].[0-9A-Z]*[0-9A-Z]"),
            ~code.op("GLOB", is_comparison=True)("*[^0-9A-Z.]*"),
            ~code.op("GLOB", is_comparison=True)("*..*"),
        )
    else:
        is_new = code.op("~", is_comparison=True)(r"^[A-Y][0-9]{2}(\.[0-9A-Z]+)+$")
    # A code that is too long is one of no rule; that is for its length to say, not for its groups.
    groups = sa.func.length(sa.func.replace(code, ".", "..")) - sa.func.length(code)
    same = sa.case(
        (sa.and_(sa.func.length(code) <= _SHORT, is_new), sa.cast(groups, sa.Text())), else_="=" + code
    )
    return sa.select(sa.func.min(code), sa.func.sum(each.c.number)).group_by(same)


def _by_level(rows: Iterable[sa.Row[str, int]]) -> collections.Counter[int | None]:
    counts: collections.Counter[int | None] = collections.Counter()
    for code, number in rows:
        counts[code_level(code)] += int(number)
    return counts


def _agencies_of(codes: Iterable[str]) -> sa.Select[str, str | None, str]:
    wanted = sorted(set(codes))
    return sa.select(HubAgencyRow.code, HubAgencyRow.old_code, HubAgencyRow.name).where(
        sa.or_(HubAgencyRow.code.in_(wanted), HubAgencyRow.old_code.in_(wanted))
    )


def _both_codes(rows: Iterable[sa.Row[str, str | None, str]]) -> dict[str, str]:
    known: dict[str, str] = {}
    for row in rows:
        if row.old_code is not None:
            known.setdefault(row.old_code, row.code)
        known[row.code] = row.code
    return known
