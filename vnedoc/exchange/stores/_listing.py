"""Long lists of messages, a page at a time, the newest first; every page is found by an index."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from vnedoc.errors import UsageError
from vnedoc.exchange.stores._rows import received_record, sent_record
from vnedoc.exchange.stores._search import folded
from vnedoc.exchange.stores.models import ConsignmentRow, ReceivedRow, SentRow
from vnedoc.exchange.stores.records import Page

if TYPE_CHECKING:
    from sqlalchemy import orm

    from vnedoc.exchange.stores.records import MessageFilter

__all__ = ["MAX_PAGE", "by_id", "received_page", "sent_page"]

MAX_PAGE = 1000
"""The most messages of one page."""

MIN_ID_PREFIX = 8
_ID_LENGTH = 32
_Row = TypeVar("_Row", SentRow, ReceivedRow)
_Cursor = tuple[datetime.datetime, str]


def sent_page(session: orm.Session, where: MessageFilter, *, limit: int, after: str | None) -> Page:
    """Return a page of the outbox.

    Raises:
        UsageError: See :func:`_cursor`; or the limit is out of range.
    """
    conditions = _conditions(SentRow, SentRow.created_at, where)
    cursor = _cursor(after)
    if where.state is None:
        query = sa.select(SentRow.created_at, SentRow.id).where(*conditions)
        keys = _keys(session, query, SentRow.created_at, SentRow.id, cursor=cursor, limit=limit)
    else:
        # A message is in every state that one of its consignments is in, and listed once.
        query = (
            sa.select(ConsignmentRow.queued_at, ConsignmentRow.message_id)
            .join(SentRow)
            .where(
                ConsignmentRow.delivery_state == where.state.value,
                *_between(ConsignmentRow.queued_at, where),
                *conditions,
            )
            .group_by(ConsignmentRow.queued_at, ConsignmentRow.message_id)
        )
        keys = _keys(
            session, query, ConsignmentRow.queued_at, ConsignmentRow.message_id, cursor=cursor, limit=limit
        )
    shown = [message_id for _, message_id in keys[:limit]]
    rows = {row.id: row for row in session.scalars(sa.select(SentRow).where(SentRow.id.in_(shown)))}
    return Page(tuple(sent_record(rows[message_id]) for message_id in shown), _next(keys, limit))


def received_page(session: orm.Session, where: MessageFilter, *, limit: int, after: str | None) -> Page:
    """Return a page of the inbox.

    Raises:
        UsageError: See :func:`_cursor`; or the limit is out of range.
    """
    query = sa.select(ReceivedRow.received_at, ReceivedRow.id).where(
        *_conditions(ReceivedRow, ReceivedRow.received_at, where)
    )
    if where.state is not None:
        query = query.where(ReceivedRow.delivery_state == where.state.value)
    keys = _keys(session, query, ReceivedRow.received_at, ReceivedRow.id, cursor=_cursor(after), limit=limit)
    shown = [message_id for _, message_id in keys[:limit]]
    rows = {row.id: row for row in session.scalars(sa.select(ReceivedRow).where(ReceivedRow.id.in_(shown)))}
    return Page(tuple(received_record(rows[message_id]) for message_id in shown), _next(keys, limit))


def _conditions(
    table: type[SentRow | ReceivedRow],
    moment: orm.InstrumentedAttribute[datetime.datetime],
    where: MessageFilter,
) -> list[sa.ColumnElement[bool]]:
    conditions = [table.kind == where.kind.value, *_between(moment, where)]
    if where.connection is not None:
        conditions.append(table.connection == where.connection)
    needle = folded(where.text or "")
    if needle:
        conditions.append(table.search_text.contains(needle, autoescape=True))
    return conditions


def _between(
    moment: orm.InstrumentedAttribute[datetime.datetime], where: MessageFilter
) -> list[sa.ColumnElement[bool]]:
    conditions = []
    if where.since is not None:
        conditions.append(moment >= where.since)
    if where.until is not None:
        conditions.append(moment < where.until)
    return conditions


def _keys(
    session: orm.Session,
    query: sa.Select[datetime.datetime, str],
    moment: orm.InstrumentedAttribute[datetime.datetime],
    message_id: orm.InstrumentedAttribute[str],
    *,
    cursor: _Cursor | None,
    limit: int,
) -> list[_Cursor]:
    """Return the keys of one page and of one message more, if there is one."""
    if not 1 <= limit <= MAX_PAGE:
        raise UsageError("store.bad-limit", limit=limit, most=MAX_PAGE)
    if cursor is not None:
        query = query.where(
            sa.tuple_(moment, message_id)
            < sa.tuple_(sa.literal(cursor[0], moment.type), sa.literal(cursor[1], message_id.type))
        )
    query = query.order_by(moment.desc(), message_id.desc()).limit(limit + 1)
    return [(row[0], row[1]) for row in session.execute(query)]


def _next(keys: list[_Cursor], limit: int) -> str | None:
    if len(keys) <= limit:
        return None
    at, message_id = keys[limit - 1]
    return f"{at.isoformat()}_{message_id}"


def _cursor(after: str | None) -> _Cursor | None:
    """Read what :func:`_next` wrote.

    Raises:
        UsageError: It is something else.
    """
    if after is None:
        return None
    moment, _, message_id = after.partition("_")
    try:
        at = datetime.datetime.fromisoformat(moment)
    except ValueError as exc:
        raise UsageError("store.bad-cursor") from exc
    if at.tzinfo is None or not message_id:
        raise UsageError("store.bad-cursor")
    return at, message_id


def by_id(table: type[_Row], message_id: str) -> sa.Select[_Row]:
    """Return the question for a message by its id, the beginning of its id, or its id on the axis."""
    conditions = [table.id == message_id, table.remote_doc_id == message_id]
    # A range instead of a pattern: every database finds it by the index, whatever its rules for sorting letters.
    if MIN_ID_PREFIX <= len(message_id) < _ID_LENGTH and set(message_id) <= set("0123456789abcdef"):
        rest = _ID_LENGTH - len(message_id)
        conditions.append(table.id.between(message_id + "0" * rest, message_id + "f" * rest))
    return sa.select(table).where(sa.or_(*conditions)).limit(2)
