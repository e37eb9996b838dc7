"""Our own orders about documents that we sent: take back what has not left, and keep in mind what was asked."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import NotAllowedError
from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.states import IN_OUTBOX, DeliveryState, OrderKind, OrderState, may_have_left
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores.models import DocumentOrderRow, SentRow
from vnedoc.exchange.stores.records import StatusNews

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from sqlalchemy import orm

__all__ = ["give", "note_refused", "recall_unsent", "sent_documents", "settle", "versions"]

_MAX_VERSIONS = 1000


def recall_unsent(
    session: orm.Session, message_id: str, *, reason: str, at: datetime.datetime
) -> tuple[SentRow, bool]:
    """Take back a message that is still in the outbox.

    Returns:
        The message, and whether the axis may have it nevertheless, because an attempt ended without an answer.

    Raises:
        NotAllowedError: Somebody is handing it to the axis at this moment.
    """
    row = steps.lock_sent(session, message_id)
    if not _is_unsent(row):
        return row, True
    if row.lease_owner is not None and row.due_at is not None and row.due_at > at:
        raise NotAllowedError("exchange.being-sent", id=row.id)
    perhaps = may_have_left(item.error_code for item in row.attempts)
    # Without its identity: a corrected package may take its place.
    row.due_at = row.lease_owner = row.identity = None
    for item in row.consignments:
        steps.move(item, delivery=DeliveryState.RECALLED, at=at)
    session.add(
        _order(row, OrderKind.RECALL, OrderState.APPLIED, reason=reason, order_id=None, at=at, settled_at=at)
    )
    _log.append(session, "recalled", at=at, message_id=row.id, may_have_left=perhaps)
    return row, perhaps


def give(
    session: orm.Session,
    kind: OrderKind,
    target_ids: Sequence[str],
    *,
    order: SentRow,
    reason: str | None,
    at: datetime.datetime,
) -> None:
    """Keep in mind that an order of ours is about messages that we sent."""
    if session.scalars(sa.select(DocumentOrderRow).where(DocumentOrderRow.order_id == order.id)).first():
        return
    recipients = {item.recipient_code for item in order.consignments}
    for target_id in sorted(set(target_ids)):
        target = steps.lock_sent(session, target_id)
        session.add(_order(target, kind, OrderState.ASKED, reason=reason, order_id=order.id, at=at))
        _log.append(session, "ordered", at=at, message_id=target.id, order=kind.value, by=order.id)
        for item in target.consignments if kind.cancels else ():
            if item.recipient_code in recipients:
                steps.record_news(session, item, _request(target, reason, at), at=at)


def settle(session: orm.Session, message_ids: Sequence[str], *, at: datetime.datetime) -> None:
    """Close orders of ours that all recipients answered; the messages carry the orders or are their targets."""
    query = sa.select(DocumentOrderRow).where(
        DocumentOrderRow.is_ours,
        DocumentOrderRow.state == OrderState.ASKED.value,
        sa.or_(DocumentOrderRow.order_id.in_(message_ids), DocumentOrderRow.target_id.in_(message_ids)),
    )
    for order in session.scalars(query).all():
        changes = _answers(session, order)
        if changes & {None, StatusCode.TAKE_BACK.value} or not changes:
            continue
        agreed = changes == {StatusCode.CHANGE_AGREED.value}
        order.state = (OrderState.APPLIED if agreed else OrderState.REFUSED).value
        order.settled_at = at
    session.flush()


def note_refused(session: orm.Session, message_id: str, *, at: datetime.datetime) -> None:
    """Note that the axis refused a message: what it ordered was never asked of anybody."""
    query = sa.select(DocumentOrderRow).where(
        DocumentOrderRow.is_ours,
        DocumentOrderRow.order_id == message_id,
        DocumentOrderRow.state == OrderState.ASKED.value,
    )
    for order in session.scalars(query).all():
        order.state, order.settled_at = OrderState.REFUSED.value, at


def versions(session: orm.Session, message_id: str) -> list[str]:
    """Return the messages that carry versions of the same document, the oldest first."""
    found, waiting = {message_id}, [message_id]
    while waiting and len(found) < _MAX_VERSIONS:
        current = waiting.pop()
        query = sa.select(DocumentOrderRow.order_id, DocumentOrderRow.target_id).where(
            DocumentOrderRow.is_ours,
            DocumentOrderRow.kind == OrderKind.UPDATE.value,
            sa.or_(DocumentOrderRow.order_id == current, DocumentOrderRow.target_id == current),
        )
        for pair in session.execute(query):
            new = {item for item in pair if item is not None} - found
            found |= new
            waiting += new
    ordered = sa.select(SentRow.id).where(SentRow.id.in_(found)).order_by(SentRow.created_at, SentRow.id)
    return list(session.scalars(ordered))


def sent_documents(session: orm.Session, document_ids: Sequence[str], *, connection: str) -> list[str]:
    """Return the messages that carry documents, or versions of them, by the identifiers of the documents."""
    query = (
        sa.select(SentRow.id)
        .where(
            SentRow.connection == connection,
            SentRow.kind == PackageKind.DOCUMENT.value,
            SentRow.document_id.in_(document_ids),
            sa.or_(SentRow.business_kind.is_(None), SentRow.business_kind != int(BusinessKind.RECALL)),
            # What the axis refused never came to anybody.
            SentRow.identity.is_not(None),
        )
        .order_by(SentRow.created_at, SentRow.id)
    )
    return list(session.scalars(query))


def _is_unsent(row: SentRow) -> bool:
    return row.remote_doc_id is None and all(
        DeliveryState(item.delivery_state) in IN_OUTBOX for item in row.consignments
    )


def _answers(session: orm.Session, order: DocumentOrderRow) -> set[str | None]:
    """Return what the recipients of an order said; a recall is answered on its document, an update on itself."""
    carrier = None if order.order_id is None else session.get(SentRow, order.order_id)
    if carrier is None:
        return set()
    if not OrderKind(order.kind).cancels:
        return {item.change for item in carrier.consignments}
    target = None if order.target_id is None else session.get(SentRow, order.target_id)
    if target is None:
        return set()
    recipients = {item.recipient_code for item in carrier.consignments}
    return {item.change for item in target.consignments if item.recipient_code in recipients}


def _order(
    target: SentRow,
    kind: OrderKind,
    state: OrderState,
    *,
    reason: str | None,
    order_id: str | None,
    at: datetime.datetime,
    settled_at: datetime.datetime | None = None,
) -> DocumentOrderRow:
    return DocumentOrderRow(
        id=uuid.uuid4().hex,
        connection=target.connection,
        kind=kind.value,
        state=state.value,
        is_ours=True,
        orderer_code=target.sender_code,
        document_id=target.document_id,
        document_code=target.code,
        reason=reason,
        automatic=False,
        order_id=order_id,
        target_id=target.id,
        dispatched_at=at,
        created_at=at,
        settled_at=settled_at,
        # Nothing is laid out of what we sent.
        noticed_at=at,
    )


def _request(target: SentRow, reason: str | None, at: datetime.datetime) -> StatusNews:
    return StatusNews(
        code=StatusCode.TAKE_BACK.value,
        reporter=target.sender_code,
        about="",
        document_id=target.document_id,
        document_code=target.code,
        description=reason,
        reported_at=at,
    )
