"""Carry out what the sender of a document orders about it: cancel it, take another version or document for it.

Decision 28/2018/QĐ-TTg, article 9.2, and Decree 30/2020/NĐ-CP, article 18.4(b): on a recall the receiver cancels the
document in its system and says so; what is known of the recall is kept (annex VI, part I). Only who sent a document
can order anything about it.

Packages overtake one another. An order that comes before its document waits for it; a version or a document that was
let go before an order and comes after it is covered by the order. Which was let go first is told by the sender's
clock, unless it contradicts itself: an order that claims to be older than the document that it is about was let go
after the clock was set back.
"""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import NotAllowedError
from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.states import DeliveryState, OrderKind, OrderState
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores.models import DocumentOrderRow, ReceivedRow, StoreInfoRow
from vnedoc.exchange.stores.records import StatusNews
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.stores.records import NewOrder, NewReceived

__all__ = [
    "carry_out",
    "check_answerable",
    "is_sent_anew",
    "orders_of",
    "refuse",
    "stranger_finding",
    "superseded_by",
    "take_aside",
    "take_in",
]

ORDERS_LOCK = "orders"
"""Name of the row that is locked while documents and orders about documents are taken in."""
_EFFECTIVE = (OrderState.WAITING.value, OrderState.ASKED.value, OrderState.APPLIED.value)
_CANCELLING = tuple(kind.value for kind in OrderKind if kind.cancels)
# What a recall cancels: also what nobody let in, which its sender cannot know.
_HERE = (DeliveryState.ACCEPTED.value, DeliveryState.QUARANTINED.value)
# Packages with which a document begins.
_ORIGINAL = (int(BusinessKind.NEW), int(BusinessKind.REPLACE))
# A document that claims to be let go later than it came is not believed; clocks agree by so much.
_SKEW = datetime.timedelta(minutes=5)


def take_in(
    session: orm.Session, row: ReceivedRow, orders: Sequence[NewOrder], *, at: datetime.datetime
) -> bool:
    """Carry out what orders that overtook a package say about it, then what it orders itself.

    Returns:
        Whether the documents were here that it orders something about.
    """
    session.flush()
    carries = row.kind == PackageKind.DOCUMENT.value and row.business_kind != BusinessKind.RECALL
    if carries or orders:
        _lock(session)
    if carries:
        _catch_up(session, row, at=at)
    found = [_take_order(session, row, order, at=at) for order in orders]
    session.flush()
    return all(found)


def take_aside(session: orm.Session, row: ReceivedRow, *, at: datetime.datetime) -> None:
    """Let recalls that overtook a package reach it although it is not let in."""
    if row.kind == PackageKind.DOCUMENT.value and row.business_kind != BusinessKind.RECALL:
        session.flush()
        _lock(session)
        _catch_up(session, row, at=at)


def stranger_finding(session: orm.Session, new: NewReceived, *, connection: str) -> Finding | None:
    """Return what is wrong if a recall or an update is about a document that only somebody else sent."""
    for order in new.orders:
        # A document that replaces that of a dissolved agency is a document all the same.
        if order.kind not in {OrderKind.RECALL, OrderKind.UPDATE}:
            continue
        if _is_of_somebody_else(session, order, new.sender_code, connection=connection):
            return Finding(
                "exchange.order-of-stranger", {"document_id": order.document_id, "code": new.sender_code}
            )
    return None


def is_sent_anew(session: orm.Session, known: ReceivedRow, new: NewReceived) -> bool:
    """Tell whether a package takes the place of one that was recalled: let go later, under the same identifier."""
    if known.delivery_state != DeliveryState.CANCELLED.value or new.dispatched_at is None:
        return False
    if new.dispatched_at > known.updated_at:
        return True
    # Our clock and its sender's may differ by a day: by the sender's it is later than the recall, too.
    recalled_at = session.scalar(
        sa.select(sa.func.max(DocumentOrderRow.dispatched_at)).where(
            DocumentOrderRow.target_id == known.id,
            DocumentOrderRow.is_ours.is_(False),
            DocumentOrderRow.state == OrderState.APPLIED.value,
            DocumentOrderRow.kind.in_(_CANCELLING),
        )
    )
    times = (recalled_at, known.dispatched_at)
    return all(time is not None and new.dispatched_at > time for time in times)


def carry_out(session: orm.Session, order: DocumentOrderRow, *, at: datetime.datetime) -> None:
    """Do what an order wants; its target is here."""
    kind = OrderKind(order.kind)
    order.state, order.settled_at = OrderState.APPLIED.value, at
    if kind is not OrderKind.REPLACE:
        order.answer = StatusCode.CHANGE_AGREED.value
    assert order.target_id is not None
    if kind.cancels:
        _cancel(session, session.get_one(ReceivedRow, order.target_id), order, at=at)
    else:
        _log.append(
            session, "superseded", at=at, message_id=order.target_id, by=order.order_id, order=kind.value
        )


def refuse(session: orm.Session, order: DocumentOrderRow, *, at: datetime.datetime) -> None:
    """Note that a person does not agree to an order; the document goes on."""
    order.state, order.settled_at = OrderState.REFUSED.value, at
    order.answer = StatusCode.CHANGE_REFUSED.value
    _log.append(session, "order-refused", at=at, message_id=order.target_id, order=order.kind)


def check_answerable(session: orm.Session, row: ReceivedRow) -> None:
    """Make sure that a document is not frozen.

    Raises:
        NotAllowedError: It was cancelled, or another took its place.
    """
    if row.delivery_state == DeliveryState.CANCELLED.value:
        raise NotAllowedError("exchange.cancelled", id=row.id)
    newer = superseded_by(session, row.id)
    if newer is not None:
        raise NotAllowedError("exchange.superseded", id=row.id, by=newer)


def orders_of(session: orm.Session, message_ids: Sequence[str]) -> list[DocumentOrderRow]:
    """Return the orders that messages carry, and those about them, the oldest first."""
    return list(
        session.scalars(
            sa.select(DocumentOrderRow)
            .where(
                sa.or_(
                    DocumentOrderRow.order_id.in_(message_ids), DocumentOrderRow.target_id.in_(message_ids)
                )
            )
            .order_by(DocumentOrderRow.created_at, DocumentOrderRow.id)
        )
    )


def superseded_by(session: orm.Session, message_id: str) -> str | None:
    """Return the message that took the place of a received one, or ``None``."""
    return session.scalars(
        sa.select(DocumentOrderRow.order_id)
        .where(
            DocumentOrderRow.target_id == message_id,
            DocumentOrderRow.state == OrderState.APPLIED.value,
            DocumentOrderRow.kind.in_((OrderKind.UPDATE.value, OrderKind.REPLACE.value)),
            DocumentOrderRow.is_ours.is_(False),
        )
        .order_by(DocumentOrderRow.created_at.desc())
    ).first()


def _lock(session: orm.Session) -> None:
    """Put in a line who takes in documents and orders.

    On PostgreSQL a document and its recall that come at the same moment would not see each other. Whoever takes
    this lock takes it before any lock of a message.
    """
    session.execute(
        sa.select(StoreInfoRow.name).where(StoreInfoRow.name == ORDERS_LOCK).with_for_update()
    ).all()


def _catch_up(session: orm.Session, row: ReceivedRow, *, at: datetime.datetime) -> None:
    """Let orders that came before a document reach it."""
    query = (
        sa.select(DocumentOrderRow)
        .where(
            DocumentOrderRow.connection == row.connection,
            DocumentOrderRow.is_ours.is_(False),
            DocumentOrderRow.orderer_code == row.sender_code,
            DocumentOrderRow.document_id == row.document_id,
            DocumentOrderRow.state.in_(_EFFECTIVE),
            DocumentOrderRow.order_id != row.id,
        )
        .order_by(DocumentOrderRow.created_at, DocumentOrderRow.id)
    )
    orders = session.scalars(query).all()
    if not orders:
        return
    since = _first_let_go(session, row, row.document_id)
    settled = _settled_before(session, orders) if row.business_kind in _ORIGINAL else frozenset()
    for order in orders:
        waits, cancels = order.state == OrderState.WAITING.value, OrderKind(order.kind).cancels
        if order.order_id in settled or not _covers(order.dispatched_at, row, unknown=waits):
            continue
        if row.delivery_state == DeliveryState.CANCELLED.value:
            if not (waits and cancels):
                continue
            # Who recalls twice, by a package and by a request, hears twice that it is done.
            order.automatic = True
        if not cancels and (
            row.delivery_state == DeliveryState.QUARANTINED.value
            # The clock was set back before this version was let go: the order is of the time before that.
            or _is_before(row.dispatched_at, since, order.dispatched_at)
            or superseded_by(session, row.id) is not None
        ):
            continue
        _aim(session, order if waits else _twin(session, order, at=at), row, at=at)


def _take_order(session: orm.Session, row: ReceivedRow, new: NewOrder, *, at: datetime.datetime) -> bool:
    order = DocumentOrderRow(
        id=uuid.uuid4().hex,
        connection=row.connection,
        # An update that takes the document from us is a recall for us.
        kind=(OrderKind.RECALL if new.withdraws else new.kind).value,
        state=OrderState.WAITING.value,
        is_ours=False,
        orderer_code=row.sender_code,
        document_id=new.document_id,
        document_code=new.document_code,
        reason=new.reason,
        automatic=new.automatic,
        order_id=row.id,
        dispatched_at=row.dispatched_at,
        created_at=at,
    )
    session.add(order)
    session.flush()
    if _is_of_somebody_else(session, new, row.sender_code, connection=row.connection):
        order.state = OrderState.IGNORED.value
        return False
    cancels = OrderKind(order.kind).cancels
    targets = _targets(session, row, new, states=_HERE if cancels else (DeliveryState.ACCEPTED.value,))
    if new.kind is OrderKind.UPDATE and not new.withdraws:
        return _take_update(session, row, order, targets, at=at)
    since = _first_let_go(session, row, targets[0].document_id) if targets else None
    covered = [target for target in targets if _reaches(order, target, since)]
    if not covered and cancels:
        gone = _targets(session, row, new, states=(DeliveryState.CANCELLED.value,))
        covered = [target for target in gone if _reaches(order, target, since)][:1]
        # It was recalled before; nobody has to be asked, and the sender hears that it is done.
        order.automatic = order.automatic or bool(covered)
    if order.automatic and cancels:
        # Nothing but the order in which they came speaks against the claimed times: a person decides.
        order.automatic = all(
            _covers(order.dispatched_at, target, unknown=True) or _is_ahead(target) for target in covered
        )
    for number, target in enumerate(covered):
        _aim(session, order if number == 0 else _twin(session, order, at=at), target, at=at)
    if new.withdraws and covered:
        # Nothing of it is for us but the message that it is not for us any more.
        row.delivery_state, row.updated_at = DeliveryState.CANCELLED.value, at
    return bool(covered)


def _take_update(
    session: orm.Session,
    row: ReceivedRow,
    order: DocumentOrderRow,
    versions: Sequence[ReceivedRow],
    *,
    at: datetime.datetime,
) -> bool:
    """Put a version in the place of the one in force; one that is old news already is part of the history only."""
    in_force = next((item for item in versions if _is_in_force(session, item)), None)
    if superseded_by(session, row.id) is not None:
        order.state, order.settled_at = OrderState.APPLIED.value, at
        return True
    if in_force is None:
        return False
    if not _reaches(order, in_force, _first_let_go(session, row, in_force.document_id)):
        return False
    _aim(session, order, in_force, at=at)
    return True


def _is_in_force(session: orm.Session, row: ReceivedRow) -> bool:
    """Tell whether no other version took the place of one, and nobody refused it."""
    refused = sa.select(DocumentOrderRow.id).where(
        DocumentOrderRow.order_id == row.id,
        DocumentOrderRow.kind == OrderKind.UPDATE.value,
        DocumentOrderRow.state == OrderState.REFUSED.value,
    )
    return superseded_by(session, row.id) is None and session.scalars(refused).first() is None


def _aim(
    session: orm.Session, order: DocumentOrderRow, target: ReceivedRow, *, at: datetime.datetime
) -> None:
    """Tie an order to its document, and carry it out or ask a person."""
    target = steps.lock_received(session, target.id)
    order.target_id = target.id
    if OrderKind(order.kind).cancels:
        steps.record_news(session, target, _news(order, StatusCode.TAKE_BACK, order.reason), at=at)
    if order.automatic:
        carry_out(session, order, at=at)
        if order.answer_id is not None and OrderKind(order.kind).cancels:
            # The sender knows already; this version came late.
            steps.record_news(session, target, _news(order, StatusCode.CHANGE_AGREED, None), at=at)
    else:
        order.state = OrderState.ASKED.value
        _log.append(session, "order-asked", at=at, message_id=target.id, order=order.kind)
    session.flush()


def _cancel(
    session: orm.Session, target: ReceivedRow, order: DocumentOrderRow, *, at: datetime.datetime
) -> None:
    state = DeliveryState(target.delivery_state)
    if state is DeliveryState.CANCELLED:
        return
    target.delivery_state = state.joined(DeliveryState.CANCELLED).value
    target.updated_at = at
    _log.append(session, "cancelled", at=at, message_id=target.id, order=order.kind, by=order.order_id)
    asked = sa.select(DocumentOrderRow).where(
        DocumentOrderRow.target_id == target.id,
        DocumentOrderRow.state == OrderState.ASKED.value,
        DocumentOrderRow.kind.in_(_CANCELLING),
        DocumentOrderRow.id != order.id,
    )
    for other in session.scalars(asked).all():
        # Nobody has to be asked any more.
        carry_out(session, other, at=at)


def _twin(session: orm.Session, order: DocumentOrderRow, *, at: datetime.datetime) -> DocumentOrderRow:
    """Return the same order for one more version of its document; it is answered once."""
    twin = DocumentOrderRow(
        id=uuid.uuid4().hex,
        connection=order.connection,
        kind=order.kind,
        state=OrderState.WAITING.value,
        is_ours=order.is_ours,
        orderer_code=order.orderer_code,
        document_id=order.document_id,
        document_code=order.document_code,
        reason=order.reason,
        automatic=order.automatic,
        order_id=order.order_id,
        dispatched_at=order.dispatched_at,
        created_at=at,
        answer_id=order.answer_id,
    )
    session.add(twin)
    session.flush()
    return twin


def _targets(
    session: orm.Session, row: ReceivedRow, new: NewOrder, *, states: Sequence[str]
) -> list[ReceivedRow]:
    """Return the versions of the document that an order is about, in some delivery states, the newest first."""
    query = (
        sa.select(ReceivedRow)
        .where(
            ReceivedRow.connection == row.connection,
            ReceivedRow.kind == PackageKind.DOCUMENT.value,
            ReceivedRow.delivery_state.in_(states),
            ReceivedRow.sender_code == row.sender_code,
            ReceivedRow.id != row.id,
            sa.or_(
                ReceivedRow.business_kind.is_(None), ReceivedRow.business_kind != int(BusinessKind.RECALL)
            ),
        )
        .order_by(ReceivedRow.dispatched_at.desc(), ReceivedRow.received_at.desc(), ReceivedRow.id)
    )
    found = session.scalars(query.where(ReceivedRow.document_id == new.document_id)).all()
    if not found and new.document_code and new.issued_on is not None:
        # Some systems rewrite the identifier. Number and date together name one document; more than one is a doubt.
        found = session.scalars(
            query.where(ReceivedRow.code == new.document_code, ReceivedRow.issued_on == new.issued_on)
        ).all()
        found = found if len(found) == 1 else []
    return list(found)


def _is_of_somebody_else(session: orm.Session, new: NewOrder, orderer: str, *, connection: str) -> bool:
    senders = session.scalars(
        sa.select(ReceivedRow.sender_code).where(
            ReceivedRow.connection == connection,
            ReceivedRow.kind == PackageKind.DOCUMENT.value,
            ReceivedRow.document_id == new.document_id,
            # What was never let in, and who orders something about it, says nothing about whose the document is.
            ReceivedRow.identity.is_not(None),
            sa.or_(ReceivedRow.business_kind.is_(None), ReceivedRow.business_kind.in_(_ORIGINAL)),
        )
    ).all()
    return bool(senders) and orderer not in senders


def _covers(ordered_at: datetime.datetime | None, target: ReceivedRow, *, unknown: bool) -> bool:
    """Tell whether an order was meant for a package: one that was let go later is another matter.

    Args:
        ordered_at: When the order was let go.
        target: The package.
        unknown: What to say if one of the times is not known.
    """
    if ordered_at is None or target.dispatched_at is None:
        return unknown
    return target.dispatched_at <= ordered_at


def _reaches(order: DocumentOrderRow, target: ReceivedRow, since: datetime.datetime | None) -> bool:
    """Tell whether an order that comes now was meant for a package that is here.

    Args:
        order: The order.
        target: The package.
        since: The claimed time of the document's first package.
    """
    if _covers(order.dispatched_at, target, unknown=True):
        return True
    # No order is older than what it is about. The clock was set back between the two, and what is of the time before
    # that came before the order, too.
    return _is_before(order.dispatched_at, since, target.dispatched_at)


def _is_before(
    time: datetime.datetime | None, since: datetime.datetime | None, other: datetime.datetime | None
) -> bool:
    """Tell whether a time lies before a document, and another one does not."""
    return time is not None and since is not None and other is not None and time < since <= other


def _is_ahead(row: ReceivedRow) -> bool:
    """Tell whether a package was let go by a clock that was ahead: later than it came."""
    return row.dispatched_at is not None and row.dispatched_at > row.received_at + _SKEW


def _first_let_go(session: orm.Session, row: ReceivedRow, document_id: str) -> datetime.datetime | None:
    """Return the earliest claimed time of a document's packages that came, without its updates and ``row``."""
    return session.scalar(
        sa.select(sa.func.min(ReceivedRow.dispatched_at)).where(
            ReceivedRow.connection == row.connection,
            ReceivedRow.kind == PackageKind.DOCUMENT.value,
            ReceivedRow.sender_code == row.sender_code,
            ReceivedRow.document_id == document_id,
            ReceivedRow.business_kind.in_(_ORIGINAL),
            ReceivedRow.delivery_state.in_((DeliveryState.ACCEPTED.value, DeliveryState.CANCELLED.value)),
            ReceivedRow.id != row.id,
        )
    )


def _settled_before(session: orm.Session, orders: Sequence[DocumentOrderRow]) -> frozenset[str | None]:
    """Return the orders whose document came before: one under the same identifier is none of their matter."""
    targets = [order.target_id for order in orders if order.target_id is not None]
    found = set(
        session.scalars(
            sa.select(ReceivedRow.id).where(
                ReceivedRow.id.in_(targets),
                ReceivedRow.business_kind.in_(_ORIGINAL),
                # Else somebody could take a recall off a document by sending a bad one before it.
                ReceivedRow.identity.is_not(None),
            )
        )
    )
    return frozenset(order.order_id for order in orders if order.target_id in found)


def _news(order: DocumentOrderRow, code: StatusCode, text: str | None) -> StatusNews:
    return StatusNews(
        code=code.value,
        reporter=order.orderer_code,
        about="",
        document_id=order.document_id,
        document_code=order.document_code,
        description=text,
        reported_at=order.dispatched_at,
    )
