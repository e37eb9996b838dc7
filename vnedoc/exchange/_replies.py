"""Tell the sender of a received document what was done with it, and answer what it orders about one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc.errors import NotAllowedError, UsageError, VnedocError
from vnedoc.exchange import _layout as layout
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange import _sending as sending
from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.package import read_package
from vnedoc.exchange.states import DeliveryState, OrderKind
from vnedoc.exchange.stores.records import ReceivedMessage

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.exchange._desk import Desk
    from vnedoc.exchange.models import Package
    from vnedoc.exchange.stores.records import DocumentOrder, NewSent, SentMessage, StatusNews

__all__ = ["REPLY_CODES", "first_reply", "reply", "settle_orders"]

logger = logging.getLogger("vnedoc.exchange")

REPLY_CODES = frozenset(StatusCode) - {StatusCode.TAKE_BACK}
"""Statuses that a recipient reports; 13 is its sender's."""
_NEEDS_REASON = frozenset({StatusCode.REFUSED, StatusCode.CHANGE_REFUSED})
_DECISIONS = frozenset({StatusCode.CHANGE_AGREED, StatusCode.CHANGE_REFUSED})
_MAX_REASON = 1000
_ARRIVED = {
    int(BusinessKind.RECALL): "exchange.arrived-recall",
    int(BusinessKind.UPDATE): "exchange.arrived-update",
}


def reply(desk: Desk, message_id: str, status_code: StatusCode, *, reason: str | None) -> SentMessage:
    """Queue a status about a received document, and hand it to the axis."""
    if status_code not in REPLY_CODES:
        raise UsageError("exchange.not-a-reply", status=status_code)
    if status_code in _NEEDS_REASON and not (reason and reason.strip()):
        raise UsageError("exchange.reason-required", status=status_code.value)
    message = desk.store.find(message_id)
    if not isinstance(message, ReceivedMessage):
        raise UsageError("exchange.not-received", id=message_id)
    desk.check_connection(message)
    if status_code in _DECISIONS:
        return _decide(desk, message, status_code, reason)
    if message.kind is not PackageKind.DOCUMENT:
        raise UsageError("exchange.not-received", id=message_id)
    if message.delivery is DeliveryState.QUARANTINED and status_code is not StatusCode.REFUSED:
        raise NotAllowedError("exchange.in-quarantine", id=message.id)
    if message.delivery is DeliveryState.ACCEPTED and message.business_kind == BusinessKind.RECALL:
        # A status names a document by the identifier that its recall shares: progress would be told of the document.
        raise NotAllowedError("exchange.recall-is-decided", id=message.id)
    new, news = _status_of(desk, message, _package_of(desk, message), status_code, reason)
    sent = desk.store.reply(message.id, new, news, connection=desk.name, at=desk.clock())
    return sending.deliver(desk, sent.id)


def first_reply(desk: Desk, parcel: parcels.Parcel) -> tuple[NewSent, StatusNews] | None:
    """Return what the sender of a package is told when it is taken in, if anything."""
    new = parcel.new
    if new.kind is not PackageKind.DOCUMENT or parcel.package is None:
        return None
    if new.accepted:
        # Said in words, so that the same status on an order about the same document is another package.
        text = _ARRIVED.get(new.business_kind or 0)
        code, reason = StatusCode.ARRIVED, None if text is None else messages.text(text, "vi")
    elif desk.options.answer_quarantined and parcel.is_from_whom_the_axis_says:
        code, reason = StatusCode.REFUSED, "; ".join(finding.text("vi") for finding in new.reasons)
    else:
        return None
    return _status(desk, new.recipient_code, parcel.package, code, reason)


def settle_orders(desk: Desk, folder: Path | None) -> list[SentMessage]:
    """Finish what orders that were carried out still need: their answers, and the notices beside the files.

    Args:
        desk: The desk.
        folder: Where documents are laid out; ``None`` goes by where each was.

    Returns:
        The answers; they are queued.
    """
    answers = []
    for order in desk.store.unanswered_orders(connection=desk.name):
        try:
            answers.append(_answer(desk, order, StatusCode(order.answer or StatusCode.CHANGE_AGREED), None))
        except VnedocError as error:
            # The next call tries it again; the others must not wait for it.
            logger.warning("order %s is not answered yet: %s", order.id, error)
    for order, target in desk.store.unnoticed_orders(connection=desk.name):
        place = folder if target.published_in is None else layout.published_in(target)
        if place is None:
            continue
        try:
            layout.post_notice(target, order, place)
            desk.store.note_noticed(order.id, at=desk.clock())
        except VnedocError as error:
            logger.warning("the files of message %s do not say what became of it: %s", target.id, error)
    return answers


def _decide(desk: Desk, message: ReceivedMessage, status_code: StatusCode, reason: str | None) -> SentMessage:
    """Agree or disagree, as a person, to what a sender orders about its document."""
    orders = {(item.order_id, item.document_id): item for item in desk.store.asked_orders(message.id)}
    if not orders:
        raise NotAllowedError("exchange.nothing-asked", id=message.id, status=status_code.value)
    answers = [_answer(desk, order, status_code, reason) for order in orders.values()]
    settle_orders(desk, None)
    return sending.deliver_all(desk, answers)[-1]


def _answer(desk: Desk, order: DocumentOrder, status_code: StatusCode, reason: str | None) -> SentMessage:
    """Put the answer to an order into the outbox; an order that waits for a person is settled by it."""
    about = _about(desk, order)
    text = reason
    if text is None and status_code is StatusCode.CHANGE_AGREED:
        # Article 9.2: the receiver says that it did so.
        text = messages.text(
            "exchange.answer-cancelled" if order.kind.cancels else "exchange.answer-updated", "vi"
        )
    new, news = _status_of(desk, about, _package_of(desk, about), status_code, text)
    return desk.store.answer_order(order, new, news, connection=desk.name, at=desk.clock())


def _about(desk: Desk, order: DocumentOrder) -> ReceivedMessage:
    """Return the message that an answer names: the document, exactly as it came; for an update the new version."""
    first, second = order.target_id, order.order_id
    if order.kind is OrderKind.UPDATE:
        first, second = second, first
    found = desk.store.find(first or second or "")
    assert isinstance(found, ReceivedMessage)
    return found


def _package_of(desk: Desk, message: ReceivedMessage) -> Package:
    with desk.store.payloads.local(message.payload.sha256) as path:
        return read_package(path, folder=None)


def _status_of(
    desk: Desk, message: ReceivedMessage, package: Package, status_code: StatusCode, reason: str | None
) -> tuple[NewSent, StatusNews]:
    return _status(desk, message.recipient_code, package, status_code, reason)


def _status(
    desk: Desk, own_code: str | None, package: Package, status_code: StatusCode, reason: str | None
) -> tuple[NewSent, StatusNews]:
    at = desk.clock()
    new, news = parcels.status_parcel(
        package,
        status_code,
        None if reason is None else reason[:_MAX_REASON],
        organization=desk.under(own_code),
        dialect=desk.options.dialect,
        payloads=desk.store.payloads,
        at=at,
    )
    return sending.dated(desk, new, at=at), news
