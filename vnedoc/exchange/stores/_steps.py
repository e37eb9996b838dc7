"""The steps of which the transactions of an agency's store are made; each works in a transaction that is open."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import NotAllowedError
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.states import PROGRESS_CODES, BusinessState, DeliveryState, TransportStatus
from vnedoc.exchange.stores._rows import dump_findings
from vnedoc.exchange.stores.models import (
    ConsignmentRow,
    ReceivedIdRow,
    ReceivedRow,
    SentRow,
    StatusEventRow,
)

if TYPE_CHECKING:
    import datetime

    from sqlalchemy import orm

    from vnedoc.exchange.connectors.base import SentReport
    from vnedoc.exchange.stores.records import NewReceived, NewSent, StatusNews

__all__ = [
    "apply_news",
    "end_attempt",
    "move",
    "move_by_report",
    "queue",
    "received_id",
    "received_row",
    "record_news",
]


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
        NotAllowedError: Another package with the same identity is there.
    """
    known = session.scalar(
        sa.select(SentRow).where(SentRow.connection == connection, SentRow.identity == new.identity)
    )
    if known is not None:
        if known.payload_sha256 != new.payload.sha256:
            raise NotAllowedError("exchange.sent-conflict", document_id=new.document_id, id=known.id)
        return known
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
        created_at=at,
        due_at=at,
        attempt_count=0,
        answers=answers,
    )
    seen: set[str] = set()
    for recipient in new.recipients:
        if recipient.code in seen:
            continue
        seen.add(recipient.code)
        row.consignments.append(
            ConsignmentRow(
                id=uuid.uuid4().hex,
                position=len(row.consignments),
                recipient_code=recipient.code,
                recipient_name=recipient.name,
                delivery_state=DeliveryState.QUEUED.value,
                updated_at=at,
            )
        )
    session.add(row)
    session.flush()
    return row


def end_attempt(
    row: SentRow,
    outcome: str,
    *,
    error_code: str | None = None,
    remote: tuple[str, str] | None = None,
    at: datetime.datetime,
) -> None:
    """Write down how the latest attempt of a message ended."""
    attempt = row.attempts[-1]
    attempt.outcome, attempt.ended_at, attempt.error_code = outcome, at, error_code
    if remote is not None:
        attempt.remote_code, attempt.remote_message = remote


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
    )


def received_id(connection: str, remote_doc_id: str, message_id: str) -> ReceivedIdRow:
    """Return a new row for an id of the axis."""
    return ReceivedIdRow(connection=connection, remote_doc_id=remote_doc_id, message_id=message_id)


def apply_news(session: orm.Session, news: StatusNews, *, connection: str, at: datetime.datetime) -> bool:
    """Record a business status that came in; return whether its document was found."""
    if news.code == StatusCode.TAKE_BACK:
        received = session.scalars(
            sa.select(ReceivedRow)
            .where(
                ReceivedRow.connection == connection,
                ReceivedRow.kind == PackageKind.DOCUMENT.value,
                ReceivedRow.delivery_state == DeliveryState.ACCEPTED.value,
                # Only who sent a document may ask for it back.
                ReceivedRow.sender_code == news.reporter,
                ReceivedRow.document_id == news.document_id,
            )
            .order_by(ReceivedRow.received_at)
        ).first()
        if received is not None:
            record_news(session, received, news, at=at)
        return received is not None
    consignment = _reported_consignment(session, news, connection=connection)
    if consignment is None:
        return False
    record_news(session, consignment, news, at=at)
    if news.code in PROGRESS_CODES:
        # Whoever reports on a document has it, whatever the axis knows.
        move(consignment, delivery=DeliveryState.DELIVERED, at=at)
    return True


def _reported_consignment(
    session: orm.Session, news: StatusNews, *, connection: str
) -> ConsignmentRow | None:
    """Find what a status is about. Only the recipient itself can report on its consignment."""
    query = (
        sa.select(ConsignmentRow)
        .join(SentRow)
        .where(
            SentRow.connection == connection,
            SentRow.kind == PackageKind.DOCUMENT.value,
            SentRow.sender_code == news.about,
            ConsignmentRow.recipient_code == news.reporter,
        )
    )
    # The document itself, not a later update or recall of it.
    same_id = query.where(SentRow.document_id == news.document_id).order_by(SentRow.created_at)
    # Some systems give no identifier, or rewrite it. Numbers begin anew each year, so the newest is meant.
    same_code = query.where(SentRow.code == news.document_code).order_by(SentRow.created_at.desc())
    return session.scalars(same_id).first() or session.scalars(same_code).first()


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
    row.events.append(
        StatusEventRow(
            id=uuid.uuid4().hex,
            number=len(row.events) + 1,
            code=news.code[:16],
            description=news.description,
            reported_at=news.reported_at,
            recorded_at=at,
            taken=taken,
        )
    )
    session.flush()
