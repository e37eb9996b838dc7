"""Move the messages of a store to another database: from SQLite to PostgreSQL, or back.

The source is frozen while it is copied. Each batch of rows is committed in the target together with how far the
copy came, so that a move that was killed goes on where it was. At the end the counts of all tables and the chain of
the event log are compared; only then the target becomes the store, and the source says where its messages went.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vnedoc.errors import InputError, NotAllowedError
from vnedoc.exchange.stores._info import (
    MOVED_TO,
    MOVING_FROM,
    STORE_ID,
    read_info,
    remove_info,
    write_info,
)
from vnedoc.exchange.stores.checking import LogHead, walk_log
from vnedoc.exchange.stores.models import AgencyTables, EventRow, LogHeadRow, StoreInfoRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database
    from vnedoc.exchange.stores.payloads import PayloadStore

__all__ = ["StoreMigration", "copy_payloads", "migrate_store"]

_BATCH = 1000
# Written by the move itself: at its beginning every store has rows in them.
_OWN = frozenset({StoreInfoRow.__tablename__, LogHeadRow.__tablename__})
_PLACE = "at:"


@dataclasses.dataclass(frozen=True, slots=True)
class StoreMigration:
    """What was moved."""

    rows: dict[str, int]
    """Rows by table."""
    head: LogHead
    """The end of the event log."""
    resumed: bool
    """Whether an earlier move was carried on."""


def migrate_store(
    source: Database, target: Database, *, progress: Callable[[str, int, int], None] | None = None
) -> StoreMigration:
    """Move all messages to another database.

    Args:
        source: Where they are; nobody can write to it meanwhile.
        target: Where they go: an empty store, or one that an earlier move of the same messages did not finish.
        progress: Is told the table, how many of its rows are there, and how many there will be.

    Raises:
        NotAllowedError: The target holds other data, or the source's messages went elsewhere before.
        InputError: What arrived is not what was sent; or one of the two cannot be read or written.
        RemoteError: A database server does not answer.
    """
    told = progress or (lambda _table, _done, _all: None)
    with source.frozen() as original:
        info = read_info(original)
        if info.get(MOVED_TO, target.shown_url) != target.shown_url:
            raise NotAllowedError("store.moved", url=info[MOVED_TO])
        with target.writing() as session:
            resumed = _prepare(original, session, info[STORE_ID])
        if resumed is not None:
            for table in AgencyTables.metadata.sorted_tables:
                if table.name not in _OWN:
                    _copy(original, target, table, told)
        report = _finish(original, target, info[STORE_ID], is_new=resumed is not None)
        write_info(original, MOVED_TO, target.shown_url)
    return dataclasses.replace(report, resumed=bool(resumed))


def copy_payloads(
    source: PayloadStore, target: PayloadStore, *, progress: Callable[[int], None] | None = None
) -> int:
    """Copy all payloads to another place; those that are there already are passed over. Return how many there are.

    Raises:
        InputError: One cannot be read or written, or is damaged.
        RemoteError: The object store does not answer.
    """
    count = 0
    for item in source.listed():
        if target.size(item.sha256) != item.size:
            with source.local(item.sha256) as path:
                copied = target.copy_in(path)
            if copied.sha256 != item.sha256:
                target.remove(copied.sha256)
                raise InputError("store.payload-damaged", sha256=item.sha256)
        count += 1
        if progress is not None:
            progress(count)
    return count


def _prepare(original: orm.Session, session: orm.Session, store_id: str) -> bool | None:
    """Return whether a move is carried on, or ``None`` if all of it is there already."""
    info = read_info(session)
    if info.get(MOVING_FROM) == store_id:
        return True
    if info[STORE_ID] == store_id and _continues(original, session):
        return None
    occupied = [
        table.name
        for table in AgencyTables.metadata.sorted_tables
        if table.name not in _OWN and session.execute(sa.select(table).limit(1)).first() is not None
    ]
    if occupied or MOVING_FROM in info or MOVED_TO in info:
        raise NotAllowedError("store.target-not-empty")
    write_info(session, MOVING_FROM, store_id)
    return False


def _continues(original: orm.Session, session: orm.Session) -> bool:
    """Tell whether the log of the target has the whole log of the source in it."""
    head = _head(original)
    found = session.scalar(sa.select(EventRow.hash).where(EventRow.number == head.number))
    return head.number == 0 or found == head.hash


def _copy(
    original: orm.Session,
    target: Database,
    table: sa.Table,
    told: Callable[[str, int, int], None],
) -> None:
    keys = list(table.primary_key.columns)
    name = _PLACE + table.name
    total = _count(original, table)
    with target.reading() as session:
        text = read_info(session).get(name)
        done = _count(session, table)
    last: list[Any] | None = None if text is None else json.loads(text)  # values of the key
    told(table.name, done, total)
    while True:
        query = sa.select(table).order_by(*keys).limit(_BATCH)
        if last is not None:
            # Compared and sorted by the source only: two databases may sort letters in two ways.
            query = query.where(
                sa.tuple_(*keys)
                > sa.tuple_(*(sa.literal(value, key.type) for value, key in zip(last, keys, strict=True)))
            )
        rows = [_fitting(dict(row), table) for row in original.execute(query).mappings()]
        if not rows:
            return
        last = [rows[-1][key.name] for key in keys]
        with target.writing() as session:
            session.execute(sa.insert(table), rows)
            write_info(session, name, json.dumps(last))
        done += len(rows)
        told(table.name, done, total)


def _fitting(row: dict[str, Any], table: sa.Table) -> dict[str, Any]:
    """Cut texts to what their columns hold: SQLite never looked."""
    for column in table.columns:
        length = getattr(column.type, "length", None)
        value = row[column.name]
        if length is not None and isinstance(value, str) and len(value) > length:
            row[column.name] = value[:length]
    return row


def _finish(original: orm.Session, target: Database, store_id: str, *, is_new: bool) -> StoreMigration:
    """Compare what arrived with what was sent; then make the target the store."""
    tables = [table for table in AgencyTables.metadata.sorted_tables if table.name not in _OWN]
    head = _head(original)
    rows: dict[str, int] = {}
    with target.writing() as session:
        for table in tables:
            sent, arrived = _count(original, table), _count(session, table)
            rows[table.name] = arrived
            if is_new and sent != arrived:
                raise InputError("store.move-differs", table=table.name, sent=sent, arrived=arrived)
        last = LogHead(0, "")
        for event, trouble in walk_log(session):
            if trouble is not None:
                raise InputError("store.move-broken", number=event.number)
            last = event
        if is_new:
            if head.number and last != head:
                raise InputError("store.move-broken", number=last.number)
            session.execute(sa.update(LogHeadRow).values(number=head.number, hash=head.hash))
            write_info(session, STORE_ID, store_id)
            remove_info(session, MOVING_FROM, *(_PLACE + table.name for table in tables))
    return StoreMigration(rows, head, resumed=False)


def _count(session: orm.Session, table: sa.Table) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _head(session: orm.Session) -> LogHead:
    row = session.scalars(sa.select(LogHeadRow)).one()
    return LogHead(row.number, row.hash)
