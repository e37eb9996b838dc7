"""Collect what counters and deadlines go by; each function reads in a transaction that is open.

Counting is left to the database, and of deadlines only those documents are looked at whose times do not show at once
that they were kept: years of a ministry are counted without loading its messages.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vnedoc._internal.clock import vietnam
from vnedoc.exchange.codes import BusinessKind, PackageKind
from vnedoc.exchange.facts import ReceivedFacts, ReceivedTallies, RecipientFacts, SentFacts, SentTallies
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores._days import day_of
from vnedoc.exchange.stores.models import ConsignmentRow, ReceivedRow, SentRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

    from sqlalchemy import orm

__all__ = ["received_facts", "received_tallies", "sent_facts", "sent_tallies"]

# Every database takes a question with so many values.
_CHUNK = 500
_Condition = sa.ColumnElement[bool]


def sent_facts(
    session: orm.Session,
    *,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    late_at: datetime.datetime | None = None,
) -> list[SentFacts]:
    """Return the facts of documents that were queued within a time, the oldest first.

    With ``late_at`` those are left out for which every deadline was kept, or is still to come at that time, whatever
    the working days are.
    """
    wanted = _sent_within(since, until)
    if late_at is None:
        return list(_sent_facts(session, *wanted))
    ids = set(session.scalars(sa.select(SentRow.id).where(*wanted, _sent_may_be_late(session, late_at))))
    ids.update(session.scalars(_unnoticed(session, late_at).where(*wanted)))
    found = [facts for chunk in _chunks(ids) for facts in _sent_facts(session, SentRow.id.in_(chunk))]
    return sorted(found, key=lambda facts: (facts.queued_at, facts.message_id))


def received_facts(
    session: orm.Session,
    *,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    late_at: datetime.datetime | None = None,
) -> list[ReceivedFacts]:
    """Return the facts of documents that were received within a time, the oldest first; see :func:`sent_facts`."""
    wanted = _received_within(since, until)
    if late_at is None:
        return list(_received_facts(session, *wanted))
    ids = session.scalars(_received_may_be_late(session, late_at).where(*wanted)).all()
    found = [facts for chunk in _chunks(ids) for facts in _received_facts(session, ReceivedRow.id.in_(chunk))]
    return sorted(found, key=lambda facts: (facts.received_at, facts.message_id))


def sent_tallies(
    session: orm.Session, *, since: datetime.datetime | None, until: datetime.datetime | None
) -> SentTallies:
    """Count documents that were queued within a time by what the counters tell apart."""
    wanted = _sent_within(since, until)
    kind = sa.func.coalesce(SentRow.business_kind, int(BusinessKind.NEW))
    day = _day(session, SentRow.sent_at)
    has_left = SentRow.sent_at.is_not(None)
    documents = session.execute(
        sa.select(kind, SentRow.paper, day, sa.func.count())
        .where(*wanted, has_left)
        .group_by(kind, SentRow.paper, day)
    )
    no_recall = kind != int(BusinessKind.RECALL)
    columns = (
        ConsignmentRow.recipient_code,
        ConsignmentRow.recipient_name,
        ConsignmentRow.delivery_state,
        ConsignmentRow.progress,
    )
    deliveries = session.execute(
        sa.select(*columns, sa.func.count())
        .join(SentRow)
        .where(*wanted, has_left, no_recall)
        .group_by(*columns)
    )
    states: dict[str, set[DeliveryState]] = collections.defaultdict(set)
    for message_id, state in session.execute(
        sa.select(SentRow.id, ConsignmentRow.delivery_state)
        .join(ConsignmentRow)
        .where(*wanted, ~has_left, no_recall)
    ):
        states[message_id].add(DeliveryState(state))
    return SentTallies(
        documents={(row[0], row[1], row[2]): row[3] for row in documents},
        deliveries={(row[0], row[1], DeliveryState(row[2]), row[3]): row[4] for row in deliveries},
        unsent=collections.Counter(frozenset(found) for found in states.values()),
    )


def received_tallies(
    session: orm.Session, *, since: datetime.datetime | None, until: datetime.datetime | None
) -> ReceivedTallies:
    """Count documents that were received within a time by what the counters tell apart."""
    columns = (
        sa.func.coalesce(ReceivedRow.business_kind, int(BusinessKind.NEW)),
        ReceivedRow.paper,
        ReceivedRow.delivery_state,
        ReceivedRow.progress,
        ReceivedRow.sender_code,
        ReceivedRow.sender_name,
        _day(session, ReceivedRow.received_at),
    )
    found = session.execute(
        sa.select(*columns, sa.func.count()).where(*_received_within(since, until)).group_by(*columns)
    )
    return ReceivedTallies(
        {(row[0], row[1], DeliveryState(row[2]), row[3], row[4], row[5], row[6]): row[7] for row in found}
    )


def _sent_facts(session: orm.Session, *wanted: _Condition) -> Iterator[SentFacts]:
    recipients: dict[str, list[RecipientFacts]] = collections.defaultdict(list)
    for row in session.execute(
        sa.select(
            ConsignmentRow.message_id,
            ConsignmentRow.recipient_code,
            ConsignmentRow.recipient_name,
            ConsignmentRow.delivery_state,
            ConsignmentRow.progress,
            ConsignmentRow.noticed_at,
        )
        .join(SentRow)
        .where(*wanted)
        .order_by(ConsignmentRow.message_id, ConsignmentRow.position)
    ):
        recipients[row.message_id].append(
            RecipientFacts(
                row.recipient_code,
                row.recipient_name,
                DeliveryState(row.delivery_state),
                row.progress,
                row.noticed_at,
            )
        )
    query = (
        sa.select(
            SentRow.id,
            SentRow.code,
            SentRow.subject,
            SentRow.business_kind,
            SentRow.priority,
            SentRow.paper,
            SentRow.issued_on,
            SentRow.created_at,
            SentRow.sent_at,
        )
        .where(*wanted)
        .order_by(SentRow.created_at, SentRow.id)
    )
    for item in session.execute(query):
        yield SentFacts(
            message_id=item.id,
            code=item.code,
            subject=item.subject,
            business_kind=BusinessKind.NEW if item.business_kind is None else item.business_kind,
            priority=item.priority,
            paper=item.paper,
            issued_on=item.issued_on,
            queued_at=item.created_at,
            sent_at=item.sent_at,
            recipients=tuple(recipients[item.id]),
        )


def _received_facts(session: orm.Session, *wanted: _Condition) -> Iterator[ReceivedFacts]:
    first = _first_reports().where(SentRow.answers.in_(sa.select(ReceivedRow.id).where(*wanted)))
    noticed_at = {row[0]: row[1] for row in session.execute(first)}
    query = (
        sa.select(
            ReceivedRow.id,
            ReceivedRow.code,
            ReceivedRow.subject,
            ReceivedRow.sender_code,
            ReceivedRow.sender_name,
            ReceivedRow.business_kind,
            ReceivedRow.priority,
            ReceivedRow.paper,
            ReceivedRow.delivery_state,
            ReceivedRow.progress,
            ReceivedRow.received_at,
            ReceivedRow.updated_at,
            ReceivedRow.due_on,
            ReceivedRow.finished_at,
        )
        .where(*wanted)
        .order_by(ReceivedRow.received_at, ReceivedRow.id)
    )
    for row in session.execute(query):
        yield ReceivedFacts(
            message_id=row.id,
            code=row.code,
            subject=row.subject,
            sender_code=row.sender_code,
            sender_name=row.sender_name,
            business_kind=BusinessKind.NEW if row.business_kind is None else row.business_kind,
            priority=row.priority,
            paper=row.paper,
            delivery=DeliveryState(row.delivery_state),
            progress=row.progress,
            received_at=row.received_at,
            noticed_at=noticed_at.get(row.id),
            due_on=row.due_on,
            finished_at=row.finished_at
            or (row.updated_at if row.delivery_state == DeliveryState.CANCELLED.value else None),
        )


def _first_reports() -> sa.Select[str | None, datetime.datetime | None]:
    """Return the question when the axis had our first report on each received document."""
    return (
        sa.select(SentRow.answers, sa.func.min(SentRow.sent_at))
        .where(SentRow.answers.is_not(None), SentRow.sent_at.is_not(None))
        .group_by(SentRow.answers)
    )


def _sent_may_be_late(session: orm.Session, now: datetime.datetime) -> _Condition:
    """Return the condition that a document was not sent on its day, or is urgent: then minutes count."""
    day = sa.func.coalesce(sa.cast(SentRow.issued_on, sa.Text()), _day(session, SentRow.created_at))
    left = sa.func.coalesce(_day(session, SentRow.sent_at), _shown(now))
    return sa.or_(SentRow.priority > 0, left > day)


def _unnoticed(session: orm.Session, now: datetime.datetime) -> sa.Select[str]:
    """Return the question for documents of which a recipient said nothing on the day on which they were sent."""
    noticed = sa.func.coalesce(_day(session, ConsignmentRow.noticed_at), _shown(now))
    return (
        sa.select(ConsignmentRow.message_id)
        .join(SentRow)
        .where(SentRow.sent_at.is_not(None), noticed > _day(session, SentRow.sent_at))
    )


def _received_may_be_late(session: orm.Session, now: datetime.datetime) -> sa.Select[str]:
    """Return the question for documents not confirmed on their day, not answered by theirs, or urgent."""
    first = _first_reports().subquery()
    today = _shown(now)
    confirmed = sa.func.coalesce(_day(session, first.c[1]), today)
    finished = sa.func.coalesce(_day(session, ReceivedRow.finished_at), today)
    return (
        sa.select(ReceivedRow.id)
        .outerjoin(first, first.c[0] == ReceivedRow.id)
        .where(
            sa.or_(
                ReceivedRow.priority > 0,
                confirmed > _day(session, ReceivedRow.received_at),
                sa.and_(ReceivedRow.due_on.is_not(None), finished > sa.cast(ReceivedRow.due_on, sa.Text())),
            )
        )
    )


def _day(
    session: orm.Session,
    column: sa.SQLColumnExpression[Any],  # a time, or NULL
) -> sa.ColumnElement[str]:
    return day_of(column, is_sqlite=session.get_bind().dialect.name == "sqlite")


def _shown(now: datetime.datetime) -> str:
    return vietnam(now).date().isoformat()


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _sent_within(since: datetime.datetime | None, until: datetime.datetime | None) -> tuple[_Condition, ...]:
    return (SentRow.kind == PackageKind.DOCUMENT.value, *_span(SentRow.created_at, since, until))


def _received_within(
    since: datetime.datetime | None, until: datetime.datetime | None
) -> tuple[_Condition, ...]:
    return (ReceivedRow.kind == PackageKind.DOCUMENT.value, *_span(ReceivedRow.received_at, since, until))


def _span(
    column: orm.InstrumentedAttribute[datetime.datetime],
    since: datetime.datetime | None,
    until: datetime.datetime | None,
) -> list[_Condition]:
    conditions: list[_Condition] = []
    if since is not None:
        conditions.append(column >= since)
    if until is not None:
        conditions.append(column < until)
    return conditions
