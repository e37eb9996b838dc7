"""Find what a business status is about, and record it.

A status names a document by the codes of both agencies, an identifier and a number (QCVN 102:2016/BTTTT,
``ResponseFor``), but several packages may carry that identifier: a document, updates of it, a recall. Which of them
is meant follows from what the recipient is known to have, and from the time that it reports.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.states import PROGRESS_CODES, DeliveryState, TransportStatus
from vnedoc.exchange.stores import _log, _own_orders
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores.models import ConsignmentRow, SentRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.stores.records import StatusNews

__all__ = ["apply_report"]

# Clocks of agencies are synchronised with the axis (Decision 28/2018/QĐ-TTg, article 14.4), more or less.
_SKEW = datetime.timedelta(minutes=5)
_ANSWERS = frozenset({StatusCode.CHANGE_AGREED.value, StatusCode.CHANGE_REFUSED.value})
_GONE = frozenset({DeliveryState.REFUSED, DeliveryState.RECALLED})


def apply_report(session: orm.Session, news: StatusNews, *, connection: str, at: datetime.datetime) -> bool:
    """Record what a recipient reports; return whether the document was found that it is about."""
    found = _candidates(session, news, connection=connection)
    if not found:
        return False
    for message_id in sorted({item.message_id for item in found}):
        steps.lock_sent(session, message_id)
    news = _understood(news, found)
    meant = _answered(found) if news.code in _ANSWERS else [_reported(news, found, at=at)]
    for item in meant:
        steps.record_news(session, item, news, at=at)
        if news.code in PROGRESS_CODES | _ANSWERS:
            # Whoever reports on a document has it, whatever the axis knows.
            steps.move(item, delivery=DeliveryState.DELIVERED, at=at)
        _log.append(
            session, "reported", at=at, message_id=item.message_id, consignment_id=item.id, code=news.code
        )
    if news.code in _ANSWERS:
        _own_orders.settle(session, [item.message_id for item in meant], at=at)
    return True


def _candidates(session: orm.Session, news: StatusNews, *, connection: str) -> list[ConsignmentRow]:
    """Return the consignments that a status may be about, the oldest first; only the recipient itself can report."""
    query = (
        sa.select(ConsignmentRow)
        .join(SentRow)
        .where(
            SentRow.connection == connection,
            SentRow.kind == PackageKind.DOCUMENT.value,
            SentRow.sender_code == news.about,
            ConsignmentRow.recipient_code == news.reporter,
        )
        .order_by(SentRow.created_at, SentRow.id)
    )
    found = session.scalars(query.where(SentRow.document_id == news.document_id)).all()
    if not found and news.document_code:
        # Some systems give no identifier, or rewrite it. Numbers begin anew each year, so the newest is meant.
        alike = session.scalars(query.where(SentRow.code == news.document_code)).all()
        found = [item for item in alike if item.message.document_id == alike[-1].message.document_id]
    # What the axis refused and what we took back in time cannot have come to anybody.
    return [item for item in found if DeliveryState(item.delivery_state) not in _GONE] or list(found)


def _understood(news: StatusNews, found: Sequence[ConsignmentRow]) -> StatusNews:
    """Read 03 as an agreement where it can mean nothing else.

    Some systems answer a recall with 03. On a document that was accepted before and is asked back it is no progress.
    """
    if news.code != StatusCode.ACCEPTED:
        return news
    past = {StatusCode.ACCEPTED, StatusCode.ASSIGNED, StatusCode.PROCESSING, StatusCode.COMPLETED}
    asked = [item for item in _carriers(found) if item.change == StatusCode.TAKE_BACK]
    if not asked or not all(item.progress in past for item in asked):
        return news
    text = f"03: {news.description}" if news.description else "03"
    return dataclasses.replace(news, code=StatusCode.CHANGE_AGREED.value, description=text)


def _answered(found: Sequence[ConsignmentRow]) -> list[ConsignmentRow]:
    """Return what 15 or 16 answers: what was asked for last and is not answered yet."""
    carriers = _carriers(found)
    asked = [item for item in carriers if item.change == StatusCode.TAKE_BACK]
    recalls = [item for item in found if item.message.business_kind == BusinessKind.RECALL]
    open_recalls = [item for item in recalls if item.change is None]
    updates = [
        item for item in carriers if item.message.business_kind == BusinessKind.UPDATE and item.change is None
    ]
    last_recall = max((item.message.created_at for item in open_recalls), default=None)
    if asked and not (updates and last_recall and updates[-1].message.created_at > last_recall):
        return [*asked, *open_recalls]
    if updates:
        return [updates[-1]]
    return [carriers[-1] if carriers else found[-1]]


def _reported(news: StatusNews, found: Sequence[ConsignmentRow], *, at: datetime.datetime) -> ConsignmentRow:
    """Return what a status of progress is about."""
    if news.reported_at is not None:
        latest = news.reported_at + _SKEW
        # What was queued at a time that has not come was queued by a clock that was set back since.
        times = [(item, item.message.created_at) for item in found]
        found = [item for item, queued_at in times if queued_at <= latest or queued_at > at] or found
    if news.code == StatusCode.ARRIVED:
        # Each package is answered with one 01: what came first was reported first.
        unreported = [item for item in found if item.progress is None]
        if unreported:
            return unreported[0]
    carriers = _carriers(found) or list(found)
    there = [item for item in carriers if item.progress or item.transport_status == TransportStatus.DONE]
    # What people work on is the newest version that they have.
    return there[-1] if there else carriers[0]


def _carriers(found: Sequence[ConsignmentRow]) -> list[ConsignmentRow]:
    return [item for item in found if item.message.business_kind != BusinessKind.RECALL]
