"""Collect what counters and deadlines go by; each function reads in a transaction that is open.

A few columns of many rows, in few questions: a year of a ministry is counted without loading its messages.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.facts import ReceivedFacts, RecipientFacts, SentFacts
from vnedoc.exchange.states import PROGRESS_CODES, DeliveryState
from vnedoc.exchange.stores.models import AttemptRow, ConsignmentRow, ReceivedRow, SentRow, StatusEventRow

if TYPE_CHECKING:
    import datetime

    from sqlalchemy import orm

__all__ = ["received_facts", "sent_facts"]

_FINISHED = (StatusCode.COMPLETED.value, StatusCode.REFUSED.value)


def sent_facts(
    session: orm.Session, *, since: datetime.datetime | None, until: datetime.datetime | None
) -> list[SentFacts]:
    """Return the facts of documents that were queued within a time, the oldest first."""
    span = _span(SentRow.created_at, since, until)
    wanted = (SentRow.kind == PackageKind.DOCUMENT.value, *span)
    sent_at = dict(
        session.execute(
            sa.select(AttemptRow.message_id, sa.func.min(AttemptRow.ended_at))
            .join(SentRow, SentRow.id == AttemptRow.message_id)
            .where(AttemptRow.outcome == "sent", *wanted)
            .group_by(AttemptRow.message_id)
        ).all()
    )
    noticed_at = dict(
        session.execute(
            sa.select(StatusEventRow.consignment_id, sa.func.min(StatusEventRow.recorded_at))
            .join(ConsignmentRow, ConsignmentRow.id == StatusEventRow.consignment_id)
            .join(SentRow, SentRow.id == ConsignmentRow.message_id)
            .where(StatusEventRow.code.in_(sorted(PROGRESS_CODES)), *wanted)
            .group_by(StatusEventRow.consignment_id)
        ).all()
    )
    recipients: dict[str, list[RecipientFacts]] = collections.defaultdict(list)
    for row in session.execute(
        sa.select(
            ConsignmentRow.id,
            ConsignmentRow.message_id,
            ConsignmentRow.recipient_code,
            ConsignmentRow.recipient_name,
            ConsignmentRow.delivery_state,
            ConsignmentRow.progress,
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
                noticed_at.get(row.id),
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
        )
        .where(*wanted)
        .order_by(SentRow.created_at, SentRow.id)
    )
    return [
        SentFacts(
            message_id=row.id,
            code=row.code,
            subject=row.subject,
            business_kind=BusinessKind.NEW if row.business_kind is None else row.business_kind,
            priority=row.priority,
            paper=row.paper,
            issued_on=row.issued_on,
            queued_at=row.created_at,
            sent_at=sent_at.get(row.id),
            recipients=tuple(recipients[row.id]),
        )
        for row in session.execute(query)
    ]


def received_facts(
    session: orm.Session, *, since: datetime.datetime | None, until: datetime.datetime | None
) -> list[ReceivedFacts]:
    """Return the facts of documents that were received within a time, the oldest first."""
    span = _span(ReceivedRow.received_at, since, until)
    wanted = (ReceivedRow.kind == PackageKind.DOCUMENT.value, *span)
    noticed_at = dict(
        session.execute(
            sa.select(SentRow.answers, sa.func.min(AttemptRow.ended_at))
            .join(AttemptRow, AttemptRow.message_id == SentRow.id)
            .join(ReceivedRow, ReceivedRow.id == SentRow.answers)
            .where(AttemptRow.outcome == "sent", *wanted)
            .group_by(SentRow.answers)
        ).all()
    )
    finished_at = dict(
        session.execute(
            sa.select(StatusEventRow.received_id, sa.func.min(StatusEventRow.recorded_at))
            .join(ReceivedRow, ReceivedRow.id == StatusEventRow.received_id)
            .where(StatusEventRow.code.in_(_FINISHED), *wanted)
            .group_by(StatusEventRow.received_id)
        ).all()
    )
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
        )
        .where(*wanted)
        .order_by(ReceivedRow.received_at, ReceivedRow.id)
    )
    return [
        ReceivedFacts(
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
            finished_at=finished_at.get(row.id)
            or (row.updated_at if row.delivery_state == DeliveryState.CANCELLED.value else None),
        )
        for row in session.execute(query)
    ]


def _span(
    column: orm.InstrumentedAttribute[datetime.datetime],
    since: datetime.datetime | None,
    until: datetime.datetime | None,
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if since is not None:
        conditions.append(column >= since)
    if until is not None:
        conditions.append(column < until)
    return conditions
