"""The steps of which the transactions of an agency's store are made; each works in a transaction that is open."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import NotAllowedError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import (
    FINISHED_CODES,
    PROGRESS_CODES,
    BusinessState,
    DeliveryState,
    TransportStatus,
    may_have_left,
)
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores._rows import dump_findings
from vnedoc.exchange.stores._search import folded
from vnedoc.exchange.stores._types import plain
from vnedoc.exchange.stores.models import (
    ConsignmentRow,
    ReceivedIdRow,
    ReceivedRow,
    SentRow,
    StatusEventRow,
)

if TYPE_CHECKING:
    from sqlalchemy import orm

    from vnedoc.exchange.connectors.base import SentReport
    from vnedoc.exchange.stores.records import NewReceived, NewSent, StatusNews

__all__ = [
    "lock_received",
    "lock_sent",
    "move",
    "move_by_report",
    "queue",
    "received_id",
    "received_row",
    "record_news",
    "step",
]

# People do not look for a document by the last of a thousand recipients.
_MAX_SEARCHED_RECIPIENTS = 20
_INSTANT = datetime.timedelta(microseconds=1)


def lock_sent(session: orm.Session, message_id: str) -> SentRow:
    """Return a sent message as it is now; until the transaction ends nobody else changes it or its consignments.

    Who needs several locks them in the order of their ids.
    """
    # Consignments and attempts are loaded by statements of their own, after the lock was given.
    row = session.get_one(SentRow, message_id, with_for_update=True, populate_existing=True)
    _log.note_locked(session, row)
    return row


def lock_received(session: orm.Session, message_id: str) -> ReceivedRow:
    """Return a received message as it is now; until the transaction ends nobody else changes it."""
    return session.get_one(ReceivedRow, message_id, with_for_update=True, populate_existing=True)


def queue(
    session: orm.Session,
    new: NewSent,
    *,
    connection: str,
    at: datetime.datetime,
    answers: str | None = None,
) -> SentRow:
    """Return the row of a package in the outbox, new or there already.

    Raises:
        NotAllowedError: Another package with the same identity is there, or this very one was taken back after the
            axis may have got it.
    """
    known = session.scalar(
        sa.select(SentRow).where(SentRow.connection == connection, SentRow.identity == new.identity)
    )
    if known is not None:
        if known.payload_sha256 != new.payload.sha256:
            raise NotAllowedError("exchange.sent-conflict", document_id=new.document_id, id=known.id)
        return known
    if _is_taken_back(session, new, connection=connection):
        raise NotAllowedError("exchange.taken-back", document_id=new.document_id)
    created_at = _time_of(session, new, connection=connection, at=at)
    row = SentRow(
        id=uuid.uuid4().hex,
        connection=connection,
        kind=new.kind.value,
        identity=new.identity,
        sender_code=new.sender_code,
        document_id=new.document_id,
        code=new.code,
        subject=new.subject,
        payload_sha256=new.payload.sha256,
        payload_size=new.payload.size,
        created_at=created_at,
        due_at=at,
        expires_at=new.expires_at,
        attempt_count=0,
        tries=0,
        attempts=[],
        answers=answers,
        search_text=_searched(new),
        business_kind=new.business_kind,
        paper=new.paper,
        issued_on=new.issued_on,
        priority=new.priority,
    )
    session.add(row)
    session.flush()
    _add_consignments(session, row, new, at=at)
    _log.note_locked(session, row)
    _log.append(
        session,
        "queued",
        at=at,
        message_id=row.id,
        sha256=new.payload.sha256,
        recipients=len(row.consignments),
        answers=answers,
    )
    return row


def _is_taken_back(session: orm.Session, new: NewSent, *, connection: str) -> bool:
    """Tell whether this very package was taken back after it may have left.

    Sent once more it would be cancelled: nothing tells it from the one that was recalled. A corrected package claims
    a later time than the recall.
    """
    same = sa.select(SentRow).where(
        SentRow.connection == connection,
        SentRow.kind == new.kind.value,
        SentRow.document_id == new.document_id,
        SentRow.payload_sha256 == new.payload.sha256,
    )
    return any(
        may_have_left(item.error_code for item in row.attempts)
        and any(item.delivery_state == DeliveryState.RECALLED.value for item in row.consignments)
        for row in session.scalars(same)
    )


def _time_of(
    session: orm.Session, new: NewSent, *, connection: str, at: datetime.datetime
) -> datetime.datetime:
    """Return when a package was queued: after those that carry the same document, also if the clock was set back.

    Which version is the newest, and which one a report is about, goes by these times.
    """
    if new.kind is not PackageKind.DOCUMENT or not new.document_id:
        return at
    latest = session.scalar(
        sa.select(sa.func.max(SentRow.created_at)).where(
            SentRow.connection == connection,
            SentRow.kind == new.kind.value,
            SentRow.document_id == new.document_id,
        )
    )
    return at if latest is None or latest < at else latest + _INSTANT


def _add_consignments(session: orm.Session, row: SentRow, new: NewSent, *, at: datetime.datetime) -> None:
    """Insert one for each recipient, by one statement: a document may have a thousand of them."""
    recipients = {recipient.code: recipient for recipient in reversed(new.recipients)}
    codes = dict.fromkeys(recipient.code for recipient in new.recipients)
    values = [
        {
            "id": uuid.uuid4().hex,
            "message_id": row.id,
            "position": position,
            "recipient_code": code,
            "recipient_name": recipients[code].name,
            "delivery_state": DeliveryState.QUEUED.value,
            "updated_at": at,
            "queued_at": row.created_at,
        }
        for position, code in enumerate(codes)
    ]
    if not values:
        return
    session.execute(sa.insert(ConsignmentRow), values)
    _log.note_new(session, row.id, len(values), {"delivery": DeliveryState.QUEUED.value}, at=at)


def _searched(new: NewSent) -> str:
    names = [part for item in new.recipients[:_MAX_SEARCHED_RECIPIENTS] for part in (item.code, item.name)]
    return folded(new.code, new.subject, new.document_id, *names)


def step(row: ConsignmentRow, new: DeliveryState, *, at: datetime.datetime) -> bool:
    """Move a consignment by work in the outbox or by a person's order; return whether it moved."""
    state = DeliveryState(row.delivery_state)
    if new is state or not state.may_step(new):
        return False
    row.delivery_state, row.updated_at = new.value, at
    return True


def move(
    row: ConsignmentRow,
    *,
    delivery: DeliveryState,
    transport: TransportStatus | None = None,
    at: datetime.datetime,
) -> bool:
    """Move a consignment forward; return whether it moved."""
    before = (row.delivery_state, row.transport_status)
    row.delivery_state = DeliveryState(row.delivery_state).joined(delivery).value
    if transport is not None:
        current = transport if row.transport_status is None else TransportStatus(row.transport_status)
        row.transport_status = current.joined(transport).value
    moved = before != (row.delivery_state, row.transport_status)
    if moved:
        row.updated_at = at
    return moved


def move_by_report(row: ConsignmentRow, report: SentReport, *, at: datetime.datetime) -> bool:
    """Move a consignment by what the axis says of its recipient; return whether it moved."""
    if report.receiver_doc_id is not None and row.remote_doc_id != report.receiver_doc_id:
        row.remote_doc_id = report.receiver_doc_id
    if report.status is None:
        return False
    delivery = {
        TransportStatus.DONE: DeliveryState.DELIVERED,
        TransportStatus.FAIL: DeliveryState.FAILED,
    }.get(report.status, DeliveryState.SENT)
    return move(row, delivery=delivery, transport=report.status, at=at)


def received_row(new: NewReceived, *, connection: str, at: datetime.datetime) -> ReceivedRow:
    """Return a new row of the inbox."""
    state = DeliveryState.ACCEPTED if new.accepted else DeliveryState.QUARANTINED
    return ReceivedRow(
        id=uuid.uuid4().hex,
        connection=connection,
        kind=new.kind.value,
        identity=new.identity if new.accepted else None,
        remote_doc_id=new.remote_doc_id,
        sender_code=new.sender_code,
        sender_name=new.sender_name,
        document_id=new.document_id,
        code=new.code,
        subject=new.subject,
        payload_sha256=new.payload.sha256,
        payload_size=new.payload.size,
        received_at=at,
        reasons=dump_findings(new.reasons),
        delivery_state=state.value,
        transport_status=TransportStatus.PROCESSING.value,
        updated_at=at,
        recipient_code=new.recipient_code,
        business_kind=new.business_kind,
        priority=new.priority,
        paper=new.paper,
        issued_on=new.issued_on,
        due_on=new.due_on,
        dispatched_at=new.dispatched_at,
        search_text=folded(new.code, new.subject, new.document_id, new.sender_code, new.sender_name),
        events=[],
    )


def received_id(connection: str, remote_doc_id: str, message_id: str) -> ReceivedIdRow:
    """Return a new row for an id of the axis."""
    return ReceivedIdRow(connection=connection, remote_doc_id=remote_doc_id, message_id=message_id)


def record_news(
    session: orm.Session, row: ConsignmentRow | ReceivedRow, news: StatusNews, *, at: datetime.datetime
) -> None:
    """Put a business status into the history of a message, and move its state if it is news."""
    state = BusinessState(row.progress, row.change)
    taken = state.may_take(news.code)
    state = state.joined(news.code)
    row.progress, row.change = state.progress, state.change
    if taken:
        row.updated_at = at
    if isinstance(row, ReceivedRow):
        if row.finished_at is None and news.code in FINISHED_CODES:
            row.finished_at = at
    elif row.noticed_at is None and news.code in PROGRESS_CODES:
        row.noticed_at = at
    row.events.append(
        StatusEventRow(
            id=uuid.uuid4().hex,
            number=len(row.events) + 1,
            code=plain(news.code, 16),
            description=news.description,
            reported_at=news.reported_at,
            recorded_at=at,
            taken=taken,
        )
    )
    session.flush()
    _log.append(
        session,
        "status",
        at=at,
        message_id=row.id if isinstance(row, ReceivedRow) else row.message_id,
        consignment_id=None if isinstance(row, ReceivedRow) else row.id,
        code=plain(news.code, 16),
        taken=taken,
    )
