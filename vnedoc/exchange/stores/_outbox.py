"""The work in the outbox: claim what is due, hold it for a while, and say how the attempt ended.

Each function works in a transaction that is open. Who changes a sent message or one of its consignments locks the
row of the message first, so that on PostgreSQL, too, nobody decides on what another is changing.

Clocks are set, forward and back. So a message is given up only if it was tried often enough besides, and once when
its time was over; and what was put off until, or given up at, a time that has not come yet is taken up again.
"""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores import _own_orders as own_orders
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores._types import plain
from vnedoc.exchange.stores.models import AttemptRow, ConsignmentRow, SentRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.connectors.base import SentReport

__all__ = [
    "begin",
    "claim",
    "end_refused",
    "end_sent",
    "end_trouble",
    "expire",
    "is_misdated",
    "note_transport",
    "park",
    "reported",
    "requeue",
    "set_right",
    "under_way",
]

# What the axis did not bring to an end, as far as we know.
_UNDER_WAY = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)
_REQUEUED = frozenset({DeliveryState.PARKED, DeliveryState.EXPIRED, DeliveryState.WAITING})
_MAX_REMOTE_CODE = 64
# So often a message is tried at least before it is given up: several minutes, whatever the clock says.
_LEAST_TRIES = 5
# So far clocks of machines that share a store may differ without being taken for set back.
_SKEW = datetime.timedelta(minutes=5)
# Databases limit the parameters of one statement.
_BATCH = 500


def claim(
    session: orm.Session,
    *,
    connection: str,
    now: datetime.datetime,
    lease: datetime.timedelta,
    owner: str,
    limit: int,
) -> list[SentRow]:
    """Claim what is due by one statement; what others claim at this moment is passed over, not waited for."""
    due = (
        sa.select(SentRow.id)
        .where(
            SentRow.connection == connection,
            SentRow.due_at <= now,
            sa.not_(_is_over(now)),
        )
        .order_by(SentRow.priority.desc(), SentRow.due_at, SentRow.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = session.scalars(
        sa.update(SentRow)
        .where(SentRow.id.in_(sa.select(due.c.id)))
        .values(due_at=now + lease, lease_owner=owner)
        .returning(SentRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    rows = [steps.lock_sent(session, message_id) for message_id in sorted(taken)]
    rows.sort(key=lambda row: (-row.priority, row.created_at, row.id))
    for row in rows:
        _begin(session, row, now=now, lease=lease, owner=owner)
    return rows


def begin(
    session: orm.Session,
    message_id: str,
    *,
    now: datetime.datetime,
    lease: datetime.timedelta,
    owner: str,
    early: bool,
) -> SentRow | None:
    """Claim one message, or return ``None`` if it is not due or somebody else has it."""
    row = steps.lock_sent(session, message_id)
    if row.due_at is None or (row.due_at > now and (row.lease_owner is not None or not early)):
        return None
    _begin(session, row, now=now, lease=lease, owner=owner)
    return row


def _begin(
    session: orm.Session, row: SentRow, *, now: datetime.datetime, lease: datetime.timedelta, owner: str
) -> None:
    row.due_at, row.lease_owner = now + lease, owner
    row.attempt_count += 1
    row.tries += 1
    row.attempts.append(
        AttemptRow(
            id=uuid.uuid4().hex, number=row.attempt_count, owner=owner, started_at=now, outcome="started"
        )
    )
    for item in row.consignments:
        steps.step(item, DeliveryState.SENDING, at=now)
    _log.append(session, "attempt", at=now, message_id=row.id, number=row.attempt_count, owner=owner)


def end_sent(
    session: orm.Session, message_id: str, *, owner: str, remote_doc_id: str, at: datetime.datetime
) -> SentRow:
    """Record that the axis has a message.

    That is true also if the lease was lost, for example because the message expired meanwhile. Only if somebody
    else is sending it now, it is left to them: the axis tells them that it has it.
    """
    row = steps.lock_sent(session, message_id)
    holds = _end_attempt(row, "sent", owner=owner, at=at)
    if not holds and row.lease_owner is not None:
        _note_lost(session, row, owner=owner, outcome="sent", at=at)
        return row
    row.due_at, row.lease_owner, row.remote_doc_id = None, None, remote_doc_id
    for item in row.consignments:
        steps.move(item, delivery=DeliveryState.SENT, transport=TransportStatus.INITIAL, at=at)
    _log.append(session, "sent", at=at, message_id=row.id, remote_doc_id=remote_doc_id)
    return row


def end_trouble(
    session: orm.Session,
    message_id: str,
    *,
    owner: str,
    error_code: str,
    remote: tuple[str, str] | None,
    due_at: datetime.datetime,
    at: datetime.datetime,
) -> SentRow:
    """Record that a message could not be handed over now."""
    row = steps.lock_sent(session, message_id)
    if not _end_attempt(row, "trouble", owner=owner, error_code=error_code, remote=remote, at=at):
        _note_lost(session, row, owner=owner, outcome="trouble", at=at)
        return row
    row.due_at, row.lease_owner = due_at, None
    for item in row.consignments:
        steps.step(item, DeliveryState.WAITING, at=at)
    _log.append(session, "trouble", at=at, message_id=row.id, error=error_code, due_at=due_at.isoformat())
    return row


def end_refused(
    session: orm.Session,
    message_id: str,
    *,
    owner: str,
    error_code: str,
    remote: tuple[str, str],
    at: datetime.datetime,
) -> SentRow:
    """Record that the axis refused a message."""
    row = steps.lock_sent(session, message_id)
    if not _end_attempt(row, "refused", owner=owner, error_code=error_code, remote=remote, at=at):
        _note_lost(session, row, owner=owner, outcome="refused", at=at)
        return row
    # Without its identity: a corrected package may take its place.
    row.due_at = row.lease_owner = row.identity = None
    for item in row.consignments:
        steps.move(item, delivery=DeliveryState.REFUSED, at=at)
    own_orders.note_refused(session, row.id, at=at)
    _log.append(
        session,
        "refused",
        at=at,
        message_id=row.id,
        error=error_code,
        remote_code=plain(remote[0], _MAX_REMOTE_CODE),
    )
    return row


def park(
    session: orm.Session, message_id: str, *, owner: str | None, error_code: str, at: datetime.datetime
) -> SentRow:
    """Put a message aside until a person asks to try again."""
    row = steps.lock_sent(session, message_id)
    if owner is not None and not _end_attempt(row, "parked", owner=owner, error_code=error_code, at=at):
        _note_lost(session, row, owner=owner, outcome="parked", at=at)
        return row
    if row.due_at is None:
        return row
    row.due_at = row.lease_owner = None
    for item in row.consignments:
        steps.step(item, DeliveryState.PARKED, at=at)
    _log.append(session, "parked", at=at, message_id=row.id, error=error_code)
    return row


def expire(session: orm.Session, *, now: datetime.datetime, limit: int = _BATCH) -> list[str]:
    """Give up what was not sent in its time and is not being tried at this moment; return the ids.

    A clock that jumps ahead does not give anything up by itself: each message has had its tries, and one when its
    time was over.
    """
    taken = session.scalars(
        sa.select(SentRow.id)
        .where(
            SentRow.due_at.is_not(None),
            _is_over(now),
            sa.or_(SentRow.lease_owner.is_(None), SentRow.due_at <= now),
        )
        .order_by(SentRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for message_id in taken:
        row = steps.lock_sent(session, message_id)
        row.due_at = row.lease_owner = None
        for item in row.consignments:
            steps.step(item, DeliveryState.EXPIRED, at=now)
        _log.append(session, "expired", at=now, message_id=row.id)
    return list(taken)


def requeue(
    session: orm.Session,
    ids: Iterable[str],
    *,
    at: datetime.datetime,
    expires_at: datetime.datetime | None,
) -> list[str]:
    """Let messages be tried again from the beginning; return the ids of those that can."""
    done = []
    for message_id in sorted(set(ids)):
        row = steps.lock_sent(session, message_id)
        states = {DeliveryState(item.delivery_state) for item in row.consignments}
        if row.lease_owner is not None or not states & _REQUEUED:
            continue
        row.due_at, row.tries = at, 0
        if expires_at is not None or (row.expires_at is not None and row.expires_at <= at):
            row.expires_at = expires_at
        for item in row.consignments:
            steps.step(item, DeliveryState.QUEUED, at=at)
        _log.append(session, "requeued", at=at, message_id=row.id)
        done.append(message_id)
    return done


def is_misdated(session: orm.Session, *, now: datetime.datetime, lease: datetime.timedelta) -> bool:
    """Tell whether :func:`set_right` would find something."""
    put_off, given_up = _misdated(now, lease)
    return any(session.scalars(query.limit(1)).first() is not None for query in (put_off, given_up))


def set_right(session: orm.Session, *, now: datetime.datetime, lease: datetime.timedelta) -> list[str]:
    """Take up what a clock that was ahead put off or gave up; return the ids.

    What was queued, tried or given up at a time that has not come yet was so by a clock that was set back since.
    """
    put_off, given_up = _misdated(now, lease)
    due = [steps.lock_sent(session, message_id) for message_id in sorted(session.scalars(put_off))]
    for row in due:
        # Who holds it and lives renews the lease by the clock as it is now.
        row.due_at = now
        _log.append(session, "set-right", at=now, message_id=row.id)
    return [row.id for row in due] + requeue(
        session, session.scalars(given_up).all(), at=now, expires_at=None
    )


def _misdated(now: datetime.datetime, lease: datetime.timedelta) -> tuple[sa.Select[str], sa.Select[str]]:
    """Return queries for what was put off, and for what was given up, at a time that has not come yet."""
    future = now + _SKEW
    put_off = sa.select(SentRow.id).where(
        SentRow.due_at > future,
        sa.case(
            (SentRow.lease_owner.is_not(None), SentRow.due_at > future + lease),
            # Due from the beginning.
            (SentRow.tries == 0, sa.true()),
            else_=_last_try(AttemptRow.started_at > future),
        ),
    )
    given_up = sa.select(SentRow.id).where(
        SentRow.expires_at > now,
        SentRow.id.in_(
            sa.select(ConsignmentRow.message_id).where(
                ConsignmentRow.delivery_state == DeliveryState.EXPIRED.value,
                ConsignmentRow.updated_at > future,
            )
        ),
    )
    return put_off, given_up


def _is_over(now: datetime.datetime) -> sa.ColumnElement[bool]:
    """Return the condition that a message had its time and its tries."""
    return sa.and_(
        # Empty: it is never given up.
        sa.func.coalesce(SentRow.expires_at <= now, sa.false()),
        SentRow.tries >= _LEAST_TRIES,
        _last_try(AttemptRow.started_at >= SentRow.expires_at),
    )


def _last_try(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return the condition that the last attempt of a message was of some kind."""
    return sa.exists().where(
        AttemptRow.message_id == SentRow.id, AttemptRow.number == SentRow.attempt_count, condition
    )


def under_way() -> sa.ColumnElement[bool]:
    """Return the condition that the transport of a consignment is not at its end."""
    return ConsignmentRow.transport_status.in_(_UNDER_WAY)


def reported(session: orm.Session, remote_ids: Sequence[str], *, connection: str) -> dict[str, str]:
    """Return ids of messages by their ids on the axis, of those whose transport is not at its end."""
    found: dict[str, str] = {}
    for start in range(0, len(remote_ids), _BATCH):
        query = sa.select(SentRow.id, SentRow.remote_doc_id).where(
            SentRow.connection == connection,
            SentRow.remote_doc_id.in_(remote_ids[start : start + _BATCH]),
            sa.exists().where(ConsignmentRow.message_id == SentRow.id, under_way()),
        )
        found.update((row[0], row[1] or "") for row in session.execute(query))
    return found


def note_transport(
    session: orm.Session, message_id: str, reports: Iterable[SentReport], *, at: datetime.datetime
) -> int:
    """Record what the axis says of the recipients of one message; return for how many that was news."""
    row = steps.lock_sent(session, message_id)
    by_code = {item.recipient_code: item for item in row.consignments if item.transport_status in _UNDER_WAY}
    moved = 0
    for report in reports:
        item = by_code.get(report.recipient_code)
        if item is not None:
            moved += steps.move_by_report(item, report, at=at)
    if moved:
        _log.append(session, "transport", at=at, message_id=row.id)
    return moved


def _end_attempt(
    row: SentRow,
    outcome: str,
    *,
    owner: str,
    error_code: str | None = None,
    remote: tuple[str, str] | None = None,
    at: datetime.datetime,
) -> bool:
    """Write down how the latest attempt of an owner ended; return whether the owner still holds the lease."""
    attempts = [item for item in row.attempts if item.owner == owner and item.outcome == "started"]
    if attempts:
        attempt = attempts[-1]
        attempt.outcome, attempt.ended_at = outcome, at
        if outcome == "sent" and row.sent_at is None:
            row.sent_at = at
        attempt.error_code = None if error_code is None else error_code[:64]
        if remote is not None:
            attempt.remote_code = plain(remote[0], _MAX_REMOTE_CODE)
            attempt.remote_message = remote[1]
    return row.lease_owner == owner


def _note_lost(
    session: orm.Session, row: SentRow, *, owner: str, outcome: str, at: datetime.datetime
) -> None:
    _log.append(session, "lease-lost", at=at, message_id=row.id, owner=owner, outcome=outcome)
