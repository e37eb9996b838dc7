"""What an agency keeps of its messages: an outbox, an inbox, and what became of everything.

Every method is one transaction. The outbox *is* the register of sent messages, so that what is queued and what is
recorded cannot differ. A queued message is claimed by moving its due time into the future: when the process that
claimed it dies, it becomes due again by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import sqlalchemy as sa

from vnedoc.errors import NotAllowedError, UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import BusinessState, DeliveryState, TransportStatus
from vnedoc.exchange.stores import _changes as changes
from vnedoc.exchange.stores import _inbox as inbox
from vnedoc.exchange.stores import _listing as listing
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores import _outbox as outbox
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores._inbox import Kept
from vnedoc.exchange.stores._info import refuse_moved
from vnedoc.exchange.stores._order_book import OrderBook
from vnedoc.exchange.stores._rows import received_record, sent_record
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.models import ConsignmentRow, ReceivedIdRow, ReceivedRow, SentRow
from vnedoc.exchange.stores.payloads import open_payloads
from vnedoc.exchange.stores.records import MessageFilter

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import orm

    from vnedoc.exchange.connectors.base import SentReport
    from vnedoc.exchange.stores.payloads import PayloadStore
    from vnedoc.exchange.stores.records import (
        NewReceived,
        NewSent,
        Page,
        ReceivedMessage,
        SentMessage,
        StatusNews,
    )

__all__ = ["AgencyStore", "Kept"]

# Reports of so many messages are noted in one transaction.
_BATCH = 100
_ALL_DOCUMENTS = MessageFilter()


class AgencyStore(OrderBook):
    """The memory of an agency.

    Args:
        database: Its tables.
        payloads: Its packages.
    """

    def __init__(self, database: Database, payloads: PayloadStore) -> None:
        self._database = database
        self.payloads = payloads
        database.require_payloads(payloads.size)

    @classmethod
    def open(cls, url: str, payloads: Path | str) -> Self:
        """Open a store; make it if there is none.

        Args:
            url: A database URL of SQLAlchemy.
            payloads: Where the packages are: a folder, or an address for
                :func:`~vnedoc.exchange.stores.payloads.open_payloads`.

        Raises:
            ConfigurationError: An address is wrong, or the store is of another kind or a newer version, or it moved
                to another database.
            InputError: It cannot be opened.
            RemoteError: The database server does not answer.
        """
        database = Database(url, branch="agency")
        try:
            refuse_moved(database)
            return cls(database, open_payloads(payloads))
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def database(self) -> Database:
        """Its tables, for transactions that are not among the methods here."""
        return self._database

    # Outbox

    def queue(self, new: NewSent, *, connection: str, at: datetime.datetime) -> SentMessage:
        """Put a package into the outbox, once; the same package again is the message that is there.

        Raises:
            NotAllowedError: Another package with the same identity is there, and the axis did not refuse it.
        """
        return self._database.run(
            lambda session: sent_record(steps.queue(session, new, connection=connection, at=at))
        )

    def reply(
        self,
        received_id: str,
        new: NewSent,
        news: StatusNews,
        *,
        connection: str,
        at: datetime.datetime,
    ) -> SentMessage:
        """Put the status of a received document into the outbox, and into the document's history.

        Raises:
            NotAllowedError: The document has come further than this status, was cancelled, or another took its place.
        """

        def step(session: orm.Session) -> SentMessage:
            row = steps.lock_received(session, received_id)
            changes.check_answerable(session, row)
            if not BusinessState(row.progress, row.change).may_take(news.code):
                raise NotAllowedError("exchange.backwards", status=news.code, current=row.progress or "-")
            message = steps.queue(session, new, connection=connection, at=at, answers=received_id)
            steps.record_news(session, row, news, at=at)
            return sent_record(message)

        return self._database.run(step)

    def due(self, *, connection: str, now: datetime.datetime, limit: int = 100) -> list[str]:
        """Return the ids of messages that are due, the longest waiting first."""
        query = (
            sa.select(SentRow.id)
            .where(SentRow.connection == connection, SentRow.due_at <= now)
            .order_by(SentRow.due_at, SentRow.created_at)
            .limit(limit)
        )
        with self._database.reading() as session:
            return list(session.scalars(query))

    def claim_due(
        self,
        *,
        connection: str,
        now: datetime.datetime,
        lease: datetime.timedelta,
        owner: str,
        limit: int = 20,
    ) -> list[SentMessage]:
        """Claim messages that are due for one attempt each: the most urgent first, then the longest waiting.

        Args:
            connection: The connection that they go by.
            now: The time.
            lease: How long nobody else may try them; see :meth:`renew`.
            owner: Who claims them: a token of its own for every worker.
            limit: How many at most.
        """

        def step(session: orm.Session) -> list[SentMessage]:
            rows = outbox.claim(
                session, connection=connection, now=now, lease=lease, owner=owner, limit=limit
            )
            return [sent_record(row) for row in rows]

        return self._database.run(step)

    def begin_attempt(
        self,
        message_id: str,
        *,
        now: datetime.datetime,
        lease: datetime.timedelta,
        owner: str,
        early: bool = False,
    ) -> SentMessage | None:
        """Claim one message for one attempt; ``None`` if it is not due, or somebody else has it.

        Args:
            message_id: The message.
            now: The time.
            lease: How long nobody else may try it; see :meth:`renew`.
            owner: Who claims it.
            early: Whether a message that only waits for its next try may be tried now.
        """

        def step(session: orm.Session) -> SentMessage | None:
            row = outbox.begin(session, message_id, now=now, lease=lease, owner=owner, early=early)
            return None if row is None else sent_record(row)

        return self._database.run(step)

    def renew(
        self, message_id: str, *, owner: str, now: datetime.datetime, lease: datetime.timedelta
    ) -> bool:
        """Hold a message for longer; return whether it was still held."""
        statement = (
            sa.update(SentRow)
            .where(SentRow.id == message_id, SentRow.lease_owner == owner, SentRow.due_at.is_not(None))
            .values(due_at=now + lease)
            .returning(SentRow.id)
            .execution_options(synchronize_session=False)
        )
        return self._database.run(lambda session: session.scalar(statement) is not None)

    def end_attempt_sent(
        self, message_id: str, *, owner: str, remote_doc_id: str, at: datetime.datetime
    ) -> SentMessage:
        """Record that the axis has a message."""
        return self._database.run(
            lambda session: sent_record(
                outbox.end_sent(session, message_id, owner=owner, remote_doc_id=remote_doc_id, at=at)
            )
        )

    def end_attempt_trouble(
        self,
        message_id: str,
        *,
        owner: str,
        error_code: str,
        remote: tuple[str, str] | None = None,
        due_at: datetime.datetime,
        at: datetime.datetime,
    ) -> SentMessage:
        """Record that a message could not be handed over now; it waits, and is due again later.

        Who lost the lease changes nothing but its attempt.
        """
        return self._database.run(
            lambda session: sent_record(
                outbox.end_trouble(
                    session,
                    message_id,
                    owner=owner,
                    error_code=error_code,
                    remote=remote,
                    due_at=due_at,
                    at=at,
                )
            )
        )

    def end_attempt_refused(
        self,
        message_id: str,
        *,
        owner: str,
        error_code: str,
        remote: tuple[str, str],
        at: datetime.datetime,
    ) -> SentMessage:
        """Record that the axis refused a message. A corrected package may take its place.

        Who lost the lease changes nothing but its attempt.
        """
        return self._database.run(
            lambda session: sent_record(
                outbox.end_refused(
                    session, message_id, owner=owner, error_code=error_code, remote=remote, at=at
                )
            )
        )

    def park(
        self, message_id: str, *, owner: str | None, error_code: str, at: datetime.datetime
    ) -> SentMessage:
        """Put a message aside until a person asks to try again; what is not in the outbox any more stays.

        Args:
            message_id: The message.
            owner: Who holds it, and ends its attempt so; ``None`` to take it out of anybody's hands.
            error_code: Why.
            at: When.
        """
        return self._database.run(
            lambda session: sent_record(
                outbox.park(session, message_id, owner=owner, error_code=error_code, at=at)
            )
        )

    def requeue(
        self,
        ids: Iterable[str] | None = None,
        *,
        at: datetime.datetime,
        expires_at: datetime.datetime | None = None,
        connection: str | None = None,
    ) -> list[str]:
        """Let messages that were put aside, gave up or wait be tried again from the beginning.

        Args:
            ids: The messages; ``None`` for all that were put aside.
            at: When they are due.
            expires_at: When they are given up; if it is not said and their time is over, never.
            connection: Only those of this connection.

        Returns:
            The ids of those that are due now.
        """
        wanted = None if ids is None else list(ids)

        def step(session: orm.Session) -> list[str]:
            query = sa.select(SentRow.id).distinct()
            if wanted is None:
                query = query.join(ConsignmentRow).where(
                    ConsignmentRow.delivery_state == DeliveryState.PARKED.value
                )
            else:
                query = query.where(SentRow.id.in_(wanted))
            if connection is not None:
                query = query.where(SentRow.connection == connection)
            return outbox.requeue(session, session.scalars(query).all(), at=at, expires_at=expires_at)

        return self._database.run(step)

    def expire(self, now: datetime.datetime) -> list[str]:
        """Give up messages that had their time and their tries and that nobody is sending now; return their ids."""
        done: list[str] = []
        while batch := self._database.run(lambda session: outbox.expire(session, now=now)):
            done += batch
        return done

    def set_right(self, now: datetime.datetime, *, lease: datetime.timedelta) -> list[str]:
        """Take up what a clock that was ahead, and was set back since, put off or gave up; return the ids."""
        with self._database.reading() as session:
            if not outbox.is_misdated(session, now=now, lease=lease):
                return []
        return self._database.run(lambda session: outbox.set_right(session, now=now, lease=lease))

    def awaits_transport(self, kind: PackageKind, *, connection: str) -> bool:
        """Tell whether there are packages of a kind whose transport is not at its end, as far as we know."""
        query = (
            sa.select(ConsignmentRow.id)
            .join(SentRow)
            .where(
                SentRow.connection == connection,
                SentRow.kind == kind.value,
                outbox.under_way(),
            )
            .limit(1)
        )
        with self._database.reading() as session:
            return session.scalar(query) is not None

    def note_transport(self, reports: Iterable[SentReport], *, connection: str, at: datetime.datetime) -> int:
        """Record what the axis says of recipients; return for how many that was news."""
        by_message: dict[str, list[SentReport]] = {}
        for report in reports:
            by_message.setdefault(report.sender_doc_id, []).append(report)
        with self._database.reading() as session:
            known = sorted(outbox.reported(session, list(by_message), connection=connection).items())
        moved = 0
        for start in range(0, len(known), _BATCH):
            batch = known[start : start + _BATCH]
            moved += self._database.run(
                lambda session, batch=batch: sum(  # type: ignore[misc] # mypy does not know bound defaults
                    outbox.note_transport(session, message_id, by_message[remote_id], at=at)
                    for message_id, remote_id in batch
                )
            )
        return moved

    # Inbox

    def find_remote(self, remote_doc_id: str, *, connection: str) -> tuple[ReceivedMessage, bool] | None:
        """Return the message that an id of the axis stands for, and whether the axis was told that we have it."""
        with self._database.reading() as session:
            row = session.get(ReceivedIdRow, (connection, remote_doc_id))
            return None if row is None else (received_record(row.message), row.acknowledged_at is not None)

    def keep(
        self,
        new: NewReceived,
        *,
        connection: str,
        at: datetime.datetime,
        conflict: NewReceived,
        reply: tuple[NewSent, StatusNews] | None = None,
    ) -> Kept:
        """Keep a package that came in, once.

        Args:
            new: The package.
            connection: The connection that it came by.
            at: When.
            conflict: The same package, not accepted: kept if another package with the same identity is there.
            reply: A status to queue in the same transaction if the package is kept for the first time, and what it
                says.
        """
        return self._database.run(
            lambda session: inbox.keep(
                session, new, connection=connection, at=at, conflict=conflict, reply=reply
            )
        )

    def note_published(self, message_id: str, *, at: datetime.datetime, folder: Path | None = None) -> None:
        """Record that the files of a message were laid out for people, and where."""
        with self._database.writing() as session:
            row = steps.lock_received(session, message_id)
            row.published_at = at
            row.published_in = None if folder is None else str(folder.absolute())
            _log.append(session, "published", at=at, message_id=message_id)

    def note_acknowledged(
        self, remote_doc_id: str, status: TransportStatus, *, connection: str, at: datetime.datetime
    ) -> None:
        """Record that the axis was told whether we have a package."""
        with self._database.writing() as session:
            row = session.get_one(ReceivedIdRow, (connection, remote_doc_id))
            row.acknowledged_at = at
            message = steps.lock_received(session, row.message_id)
            message.transport_status = TransportStatus(message.transport_status).joined(status).value
            message.updated_at = at
            _log.append(
                session,
                "acknowledged",
                at=at,
                message_id=message.id,
                remote_doc_id=remote_doc_id,
                status=status,
            )

    # Both

    def sent(self, *, kind: PackageKind = PackageKind.DOCUMENT) -> list[SentMessage]:
        """Return what was sent or is to be sent, the oldest first."""
        query = sa.select(SentRow).where(SentRow.kind == kind.value).order_by(SentRow.created_at, SentRow.id)
        with self._database.reading() as session:
            return [sent_record(row) for row in session.scalars(query)]

    def received(self, *, kind: PackageKind = PackageKind.DOCUMENT) -> list[ReceivedMessage]:
        """Return what was received, the oldest first."""
        query = (
            sa.select(ReceivedRow)
            .where(ReceivedRow.kind == kind.value)
            .order_by(ReceivedRow.received_at, ReceivedRow.id)
        )
        with self._database.reading() as session:
            return [received_record(row) for row in session.scalars(query)]

    def page(
        self,
        direction: Literal["sent", "received"],
        where: MessageFilter = _ALL_DOCUMENTS,
        *,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Return some of the messages that fit a filter, the newest first.

        Args:
            direction: ``sent`` or ``received``.
            where: Which messages.
            limit: How many at most.
            after: ``next`` of the page before.

        Raises:
            UsageError: The limit or ``after`` is wrong.
        """
        page = listing.sent_page if direction == "sent" else listing.received_page
        with self._database.reading() as session:
            return page(session, where, limit=limit, after=after)

    def count_stuck(self, *, overdue_since: datetime.datetime) -> tuple[int, int]:
        """Return how many messages wait for a person, and how many should have been tried before a time."""
        parked = sa.select(sa.func.count(sa.distinct(ConsignmentRow.message_id))).where(
            ConsignmentRow.delivery_state == "parked"
        )
        overdue = sa.select(sa.func.count()).select_from(SentRow).where(SentRow.due_at < overdue_since)
        with self._database.reading() as session:
            return session.scalar(parked) or 0, session.scalar(overdue) or 0

    def find(self, message_id: str) -> SentMessage | ReceivedMessage:
        """Return one message by its id, the beginning of its id, or its id on the axis.

        Raises:
            UsageError: There is none, or more than one.
        """
        with self._database.reading() as session:
            found: list[SentMessage | ReceivedMessage] = []
            found += [sent_record(row) for row in session.scalars(listing.by_id(SentRow, message_id))]
            found += [received_record(row) for row in session.scalars(listing.by_id(ReceivedRow, message_id))]
        if not found:
            raise UsageError("exchange.unknown-message", id=message_id)
        if len(found) > 1:
            raise UsageError("exchange.ambiguous-message", id=message_id)
        return found[0]
