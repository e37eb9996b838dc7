"""What an agency keeps of its messages: an outbox, an inbox, and what became of everything.

Every method is one transaction. The outbox *is* the register of sent messages, so that what is queued and what is
recorded cannot differ. A queued message is claimed by moving its due time into the future: when the process that
claimed it dies, it becomes due again by itself.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from vnedoc.errors import NotAllowedError, UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import BusinessState, DeliveryState, TransportStatus
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores._rows import received_record, sent_record
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.models import (
    AttemptRow,
    ConsignmentRow,
    ReceivedIdRow,
    ReceivedRow,
    SentRow,
)
from vnedoc.exchange.stores.payloads import PayloadStore

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable
    from pathlib import Path

    from vnedoc.exchange.connectors.base import SentReport
    from vnedoc.exchange.stores.records import (
        NewReceived,
        NewSent,
        ReceivedMessage,
        SentMessage,
        StatusNews,
    )

__all__ = ["AgencyStore", "Kept"]

MIN_ID_PREFIX = 8
_UNDER_WAY = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)
_Row = TypeVar("_Row", SentRow, ReceivedRow)


class Kept:
    """What became of a package that came in."""

    def __init__(self, message: ReceivedMessage, *, repeated: bool = False, matched: bool = True) -> None:
        self.message = message
        """The message; for a repeated one, the first."""
        self.repeated = repeated
        """Whether the same package was there before."""
        self.matched = matched
        """For a status: whether the document was found that it is about."""


class AgencyStore:
    """The memory of an agency.

    Args:
        database: Its tables.
        payloads: Its packages.
    """

    def __init__(self, database: Database, payloads: PayloadStore) -> None:
        self._database = database
        self.payloads = payloads

    @classmethod
    def open(cls, url: str, payload_folder: Path) -> Self:
        """Open a store; make it if there is none.

        Args:
            url: A database URL of SQLAlchemy.
            payload_folder: Folder for the packages.

        Raises:
            ConfigurationError: The URL is wrong, or the store is of another kind or a newer version.
            InputError: It cannot be opened.
        """
        return cls(Database(url, branch="agency"), PayloadStore(payload_folder))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # Outbox

    def queue(self, new: NewSent, *, connection: str, at: datetime.datetime) -> SentMessage:
        """Put a package into the outbox, once; the same package again is the message that is there.

        Raises:
            NotAllowedError: Another package with the same identity is there, and the axis did not refuse it.
        """
        try:
            with self._database.writing() as session:
                return sent_record(steps.queue(session, new, connection=connection, at=at))
        except exc.IntegrityError:
            # Another process queued it between our look and our insert: now it is there to be found.
            with self._database.writing() as session:
                return sent_record(steps.queue(session, new, connection=connection, at=at))

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
            NotAllowedError: The document has come further than this status.
        """
        with self._database.writing() as session:
            row = session.get_one(ReceivedRow, received_id, with_for_update=True)
            if not BusinessState(row.progress, row.change).may_take(news.code):
                raise NotAllowedError("exchange.backwards", status=news.code, current=row.progress or "-")
            message = steps.queue(session, new, connection=connection, at=at, answers=received_id)
            steps.record_news(session, row, news, at=at)
            return sent_record(message)

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

    def begin_attempt(
        self, message_id: str, *, now: datetime.datetime, lease: datetime.timedelta, early: bool = False
    ) -> SentMessage | None:
        """Claim a message for one attempt; ``None`` if it is not due, or somebody else has it.

        Args:
            message_id: The message.
            now: The time.
            lease: How long nobody else may try it.
            early: Whether a message that only waits for its next try may be tried now.
        """
        with self._database.writing() as session:
            row = session.get_one(SentRow, message_id, with_for_update=True)
            under_way = any(
                item.outcome == "started" and item.number == row.attempt_count for item in row.attempts
            )
            if row.due_at is None or (row.due_at > now and (under_way or not early)):
                return None
            row.due_at = now + lease
            row.attempt_count += 1
            row.attempts.append(
                AttemptRow(id=uuid.uuid4().hex, number=row.attempt_count, started_at=now, outcome="started")
            )
            session.flush()
            return sent_record(row)

    def end_attempt_sent(self, message_id: str, *, remote_doc_id: str, at: datetime.datetime) -> SentMessage:
        """Record that the axis has a message."""
        with self._database.writing() as session:
            row = session.get_one(SentRow, message_id, with_for_update=True)
            row.due_at, row.remote_doc_id = None, remote_doc_id
            steps.end_attempt(row, "sent", at=at)
            for item in row.consignments:
                steps.move(item, delivery=DeliveryState.SENT, transport=TransportStatus.INITIAL, at=at)
            return sent_record(row)

    def end_attempt_trouble(
        self,
        message_id: str,
        *,
        error_code: str,
        remote: tuple[str, str] | None = None,
        due_at: datetime.datetime,
        at: datetime.datetime,
    ) -> SentMessage:
        """Record that a message could not be handed over now; it stays queued and is due again later."""
        with self._database.writing() as session:
            row = session.get_one(SentRow, message_id, with_for_update=True)
            row.due_at = due_at
            steps.end_attempt(row, "trouble", error_code=error_code, remote=remote, at=at)
            return sent_record(row)

    def end_attempt_refused(
        self, message_id: str, *, error_code: str, remote: tuple[str, str], at: datetime.datetime
    ) -> SentMessage:
        """Record that the axis refused a message. A corrected package may take its place."""
        with self._database.writing() as session:
            row = session.get_one(SentRow, message_id, with_for_update=True)
            row.due_at = row.identity = None
            steps.end_attempt(row, "refused", error_code=error_code, remote=remote, at=at)
            for item in row.consignments:
                steps.move(item, delivery=DeliveryState.REFUSED, at=at)
            return sent_record(row)

    def awaits_transport(self, kind: PackageKind, *, connection: str) -> bool:
        """Tell whether there are packages of a kind whose transport is not at its end, as far as we know."""
        query = (
            sa.select(ConsignmentRow.id)
            .join(SentRow)
            .where(
                SentRow.connection == connection,
                SentRow.kind == kind.value,
                ConsignmentRow.transport_status.in_(_UNDER_WAY),
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
        moved = 0
        with self._database.writing() as session:
            for sender_doc_id, group in by_message.items():
                query = (
                    sa.select(ConsignmentRow)
                    .join(SentRow)
                    .where(
                        SentRow.connection == connection,
                        SentRow.remote_doc_id == sender_doc_id,
                        ConsignmentRow.transport_status.in_(_UNDER_WAY),
                    )
                )
                rows = {row.recipient_code: row for row in session.scalars(query)}
                for report in group:
                    row = rows.get(report.recipient_code)
                    if row is not None:
                        moved += steps.move_by_report(row, report, at=at)
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
        try:
            return self._keep(new, connection=connection, at=at, conflict=conflict, reply=reply)
        except exc.IntegrityError:
            # Another process kept it between our look and our insert: now it is there to be found.
            return self._keep(new, connection=connection, at=at, conflict=conflict, reply=reply)

    def _keep(
        self,
        new: NewReceived,
        *,
        connection: str,
        at: datetime.datetime,
        conflict: NewReceived,
        reply: tuple[NewSent, StatusNews] | None,
    ) -> Kept:
        with self._database.writing() as session:
            seen = session.get(ReceivedIdRow, (connection, new.remote_doc_id))
            if seen is not None:
                return Kept(received_record(seen.message), repeated=True)
            if new.accepted:
                known = session.scalar(
                    sa.select(ReceivedRow).where(
                        ReceivedRow.connection == connection, ReceivedRow.identity == new.identity
                    )
                )
                if known is not None and known.payload_sha256 == new.payload.sha256:
                    session.add(steps.received_id(connection, new.remote_doc_id, known.id))
                    return Kept(received_record(known), repeated=True)
                if known is not None:
                    new, reply = conflict, None
            row = steps.received_row(new, connection=connection, at=at)
            session.add(row)
            session.flush()
            session.add(steps.received_id(connection, new.remote_doc_id, row.id))
            if reply is not None:
                message, news = reply
                steps.queue(session, message, connection=connection, at=at, answers=row.id)
                steps.record_news(session, row, news, at=at)
            matched = True
            if new.accepted and new.news is not None:
                matched = steps.apply_news(session, new.news, connection=connection, at=at)
            session.flush()
            return Kept(received_record(row), matched=matched)

    def note_published(self, message_id: str, *, at: datetime.datetime) -> None:
        """Record that the files of a message were laid out for people."""
        with self._database.writing() as session:
            session.get_one(ReceivedRow, message_id).published_at = at

    def note_acknowledged(
        self, remote_doc_id: str, status: TransportStatus, *, connection: str, at: datetime.datetime
    ) -> None:
        """Record that the axis was told whether we have a package."""
        with self._database.writing() as session:
            row = session.get_one(ReceivedIdRow, (connection, remote_doc_id))
            row.acknowledged_at = at
            message = row.message
            message.transport_status = TransportStatus(message.transport_status).joined(status).value
            message.updated_at = at

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

    def find(self, message_id: str) -> SentMessage | ReceivedMessage:
        """Return one message by its id, the beginning of its id, or its id on the axis.

        Raises:
            UsageError: There is none, or more than one.
        """
        with self._database.reading() as session:
            found: list[SentMessage | ReceivedMessage] = []
            found += [sent_record(row) for row in session.scalars(_by_id(SentRow, message_id))]
            found += [received_record(row) for row in session.scalars(_by_id(ReceivedRow, message_id))]
        if not found:
            raise UsageError("exchange.unknown-message", id=message_id)
        if len(found) > 1:
            raise UsageError("exchange.ambiguous-message", id=message_id)
        return found[0]


def _by_id(table: type[_Row], message_id: str) -> sa.Select[_Row]:
    conditions = [table.id == message_id, table.remote_doc_id == message_id]
    if len(message_id) >= MIN_ID_PREFIX:
        conditions.append(table.id.startswith(message_id, autoescape=True))
    return sa.select(table).where(sa.or_(*conditions)).limit(2)
