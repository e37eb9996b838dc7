"""What a store holds, in numbers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.stores._info import STORE_ID, read_info
from vnedoc.exchange.stores.checking import LogHead
from vnedoc.exchange.stores.models import ConsignmentRow, LogHeadRow, ReceivedRow, SentRow

if TYPE_CHECKING:
    import datetime

    from sqlalchemy import orm

    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["StoreFacts", "store_facts"]


@dataclasses.dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store holds."""

    store_id: str
    """The id of the store; it goes with the messages when they move."""
    url: str
    """The database, without a password."""
    database_bytes: int
    """Size of the database."""
    sent: int
    """Packages in the outbox and in the register of what was sent."""
    received: int
    """Packages received."""
    oldest: datetime.datetime | None
    """When the first message that is there was queued or received."""
    newest: datetime.datetime | None
    """When the last one was."""
    due: int
    """Messages that wait to be sent."""
    consignments: dict[str, int]
    """Consignments, one for each recipient of a sent package, by delivery state."""
    inbox: dict[str, int]
    """Received packages by state."""
    payloads: int
    """Packages kept, each counted once however many messages name it."""
    payload_bytes: int
    """Their size together."""
    released: int
    """Messages whose package was pruned."""
    head: LogHead
    """The end of the event log. Written down elsewhere, it proves what was there."""


def store_facts(store: AgencyStore) -> StoreFacts:
    """Count what a store holds.

    Raises:
        InputError: It cannot be read.
        RemoteError: The database server does not answer.
    """
    size = (
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        if store.database.is_sqlite
        else "SELECT pg_database_size(current_database())"
    )
    with store.database.reading() as session:
        head = session.scalars(sa.select(LogHeadRow)).one()
        times = [
            moment
            for column in (SentRow.created_at, ReceivedRow.received_at)
            for moment in session.execute(sa.select(sa.func.min(column), sa.func.max(column))).one()
            if moment is not None
        ]
        named = sa.union(
            *(
                sa.select(table.payload_sha256, table.payload_size).where(table.payload_pruned_at.is_(None))
                for table in (SentRow, ReceivedRow)
            )
        ).subquery()
        payloads, payload_bytes = session.execute(
            sa.select(sa.func.count(), sa.func.sum(named.c.payload_size)).select_from(named)
        ).one()
        return StoreFacts(
            store_id=read_info(session)[STORE_ID],
            url=store.database.shown_url,
            database_bytes=int(session.scalar(sa.text(size)) or 0),
            sent=_count(session, SentRow),
            received=_count(session, ReceivedRow),
            oldest=min(times, default=None),
            newest=max(times, default=None),
            due=_count(session, SentRow, SentRow.due_at.is_not(None)),
            consignments=_by(session, ConsignmentRow.delivery_state),
            inbox=_by(session, ReceivedRow.delivery_state),
            payloads=payloads,
            payload_bytes=int(payload_bytes or 0),
            released=_count(session, SentRow, SentRow.payload_pruned_at.is_not(None))
            + _count(session, ReceivedRow, ReceivedRow.payload_pruned_at.is_not(None)),
            head=LogHead(head.number, head.hash),
        )


def _count(
    session: orm.Session, table: type[SentRow | ReceivedRow], *conditions: sa.ColumnElement[bool]
) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0


def _by(session: orm.Session, column: orm.InstrumentedAttribute[str]) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).group_by(column).order_by(column)
    return {row[0]: row[1] for row in session.execute(query)}
