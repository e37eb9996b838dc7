"""The part of an agency's store that keeps orders about documents, and tells what counters and deadlines go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.states import OrderKind, OrderState
from vnedoc.exchange.stores import _changes as changes
from vnedoc.exchange.stores import _own_orders as own_orders
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores import _summary as summary
from vnedoc.exchange.stores._rows import order_record, received_record, sent_record
from vnedoc.exchange.stores.models import DocumentOrderRow, ReceivedRow, SentRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.facts import ReceivedFacts, ReceivedTallies, SentFacts, SentTallies
    from vnedoc.exchange.stores.database import Database
    from vnedoc.exchange.stores.records import (
        DocumentOrder,
        NewSent,
        ReceivedMessage,
        SentMessage,
        StatusNews,
    )

__all__ = ["OrderBook"]

_BATCH = 500


class OrderBook:
    """What an agency's store knows of orders about documents; every method is one transaction."""

    _database: Database

    # Ours

    def recall_unsent(
        self, message_id: str, *, reason: str, at: datetime.datetime
    ) -> tuple[SentMessage, bool]:
        """Take back a message that is still in the outbox.

        Returns:
            The message, and whether the axis may have it nevertheless; always so for one that was sent.

        Raises:
            NotAllowedError: Somebody is handing it to the axis at this moment.
        """

        def step(session: orm.Session) -> tuple[SentMessage, bool]:
            row, may_have_left = own_orders.recall_unsent(session, message_id, reason=reason, at=at)
            return sent_record(row), may_have_left

        return self._database.run(step)

    def give_order(
        self,
        new: NewSent,
        kind: OrderKind,
        targets: Sequence[str],
        *,
        connection: str,
        reason: str | None,
        at: datetime.datetime,
    ) -> SentMessage:
        """Put the package of an order into the outbox, and keep in mind which messages it is about.

        Raises:
            NotAllowedError: Another package with the same identity is there.
        """

        def step(session: orm.Session) -> SentMessage:
            order = steps.queue(session, new, connection=connection, at=at)
            own_orders.give(session, kind, targets, order=order, reason=reason, at=at)
            return sent_record(order)

        return self._database.run(step)

    def versions(self, message_id: str) -> list[str]:
        """Return the messages that carry versions of a document that we sent, the oldest first."""
        with self._database.reading() as session:
            return own_orders.versions(session, message_id)

    def sent_documents(self, document_ids: Sequence[str], *, connection: str) -> list[str]:
        """Return the messages that carry documents that we sent, by the identifiers of the documents."""
        if not document_ids:
            return []
        with self._database.reading() as session:
            return own_orders.sent_documents(session, document_ids, connection=connection)

    # Both

    def orders_of(self, message_ids: Sequence[str]) -> list[DocumentOrder]:
        """Return the orders that messages carry, and those about them, the oldest first."""
        found: dict[str, DocumentOrder] = {}
        with self._database.reading() as session:
            for start in range(0, len(message_ids), _BATCH):
                rows = changes.orders_of(session, message_ids[start : start + _BATCH])
                found.update((row.id, order_record(row)) for row in rows)
        return sorted(found.values(), key=lambda order: (order.created_at, order.id))

    def sent_facts(
        self,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        late_at: datetime.datetime | None = None,
    ) -> list[SentFacts]:
        """Return what deadlines go by, of documents that were queued within a time.

        With ``late_at`` only of those of which a deadline may have passed at that time: of many, few.
        """
        with self._database.reading() as session:
            return summary.sent_facts(session, since=since, until=until, late_at=late_at)

    def received_facts(
        self,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        late_at: datetime.datetime | None = None,
    ) -> list[ReceivedFacts]:
        """Return what deadlines go by, of documents that were received within a time; see :meth:`sent_facts`."""
        with self._database.reading() as session:
            return summary.received_facts(session, since=since, until=until, late_at=late_at)

    def sent_tallies(
        self, *, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> SentTallies:
        """Return what counters go by, of documents that were queued within a time."""
        with self._database.reading() as session:
            return summary.sent_tallies(session, since=since, until=until)

    def received_tallies(
        self, *, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> ReceivedTallies:
        """Return what counters go by, of documents that were received within a time."""
        with self._database.reading() as session:
            return summary.received_tallies(session, since=since, until=until)

    # Theirs

    def asked_orders(self, message_id: str) -> list[DocumentOrder]:
        """Return the orders that wait for a person, of those that a received message carries or that are about it."""
        return [
            order
            for order in self.orders_of([message_id])
            if not order.is_ours and order.state is OrderState.ASKED
        ]

    def unanswered_orders(self, *, connection: str) -> list[DocumentOrder]:
        """Return the orders that were settled and whose sender does not know it yet, one for each document."""
        query = (
            sa.select(DocumentOrderRow)
            .where(
                DocumentOrderRow.connection == connection,
                DocumentOrderRow.is_ours.is_(False),
                DocumentOrderRow.state.in_((OrderState.APPLIED.value, OrderState.REFUSED.value)),
                DocumentOrderRow.answer.is_not(None),
                DocumentOrderRow.answer_id.is_(None),
            )
            .order_by(DocumentOrderRow.created_at, DocumentOrderRow.id)
        )
        with self._database.reading() as session:
            first: dict[tuple[str | None, str], DocumentOrder] = {}
            for row in session.scalars(query):
                first.setdefault((row.order_id, row.document_id), order_record(row))
            return list(first.values())

    def answer_order(
        self, order: DocumentOrder, new: NewSent, news: StatusNews, *, connection: str, at: datetime.datetime
    ) -> SentMessage:
        """Settle an order as its answer says, if it is not settled, and put the answer into the outbox, once."""

        def step(session: orm.Session) -> SentMessage:
            rows = _same_order(session, order)
            known = next((row.answer_id for row in rows if row.answer_id is not None), None)
            if known is not None:
                return sent_record(session.get_one(SentRow, known))
            for message_id in sorted({item for row in rows for item in _touched(row)}):
                steps.lock_received(session, message_id)
            for row in rows:
                if row.state == OrderState.ASKED.value:
                    settle = changes.carry_out if news.code == StatusCode.CHANGE_AGREED else changes.refuse
                    settle(session, row, at=at)
            answers = rows[0].target_id or rows[0].order_id
            message = steps.queue(session, new, connection=connection, at=at, answers=answers)
            for row in rows:
                row.answer, row.answer_id = news.code, message.id
            for message_id in sorted({item for row in rows if (item := _answered(row)) is not None}):
                steps.record_news(session, session.get_one(ReceivedRow, message_id), news, at=at)
            return sent_record(message)

        return self._database.run(step)

    def unnoticed_orders(self, *, connection: str) -> list[tuple[DocumentOrder, ReceivedMessage]]:
        """Return the orders that were carried out and whose documents' files do not say so yet."""
        query = (
            sa.select(DocumentOrderRow, ReceivedRow)
            .join(ReceivedRow, ReceivedRow.id == DocumentOrderRow.target_id)
            .where(
                DocumentOrderRow.connection == connection,
                DocumentOrderRow.is_ours.is_(False),
                DocumentOrderRow.state == OrderState.APPLIED.value,
                DocumentOrderRow.noticed_at.is_(None),
            )
            .order_by(DocumentOrderRow.created_at, DocumentOrderRow.id)
        )
        with self._database.reading() as session:
            return [(order_record(order), received_record(row)) for order, row in session.execute(query)]

    def note_noticed(self, order_id: str, *, at: datetime.datetime) -> None:
        """Record that the files of a document say what became of it."""

        def step(session: orm.Session) -> None:
            session.get_one(DocumentOrderRow, order_id).noticed_at = at

        self._database.run(step)


def _same_order(session: orm.Session, order: DocumentOrder) -> list[DocumentOrderRow]:
    """Return the rows of an order, one for each version of its document; locked."""
    query = (
        sa.select(DocumentOrderRow)
        .where(
            DocumentOrderRow.order_id == order.order_id,
            DocumentOrderRow.document_id == order.document_id,
            DocumentOrderRow.is_ours.is_(False),
        )
        .order_by(DocumentOrderRow.created_at, DocumentOrderRow.id)
        .with_for_update()
    )
    return list(session.scalars(query).all())


def _touched(row: DocumentOrderRow) -> set[str]:
    return {item for item in (row.order_id, row.target_id) if item is not None}


def _answered(row: DocumentOrderRow) -> str | None:
    """Return the received message in whose history an answer stands: the document, or its new version."""
    return row.target_id if OrderKind(row.kind).cancels else row.order_id
