"""Column types that mean the same on every database."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from vnedoc._internal.clock import as_utc

__all__ = ["BoundedText", "Name", "PlainText", "UTCTime", "plain", "shortened", "table_of"]


class UTCTime(sa.types.TypeDecorator[datetime.datetime]):
    """An aware time, in UTC whatever the database does with zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime.datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> Any:  # DBAPI value
        """Refuse naive times, store the others in UTC."""
        return None if value is None else as_utc(value)

    def process_result_value(
        self,
        value: Any,  # DBAPI value
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> datetime.datetime | None:
        """Give the zone back that SQLite does not keep."""
        if value is None:
            return None
        return as_utc(value if value.tzinfo else value.replace(tzinfo=datetime.UTC))


class PlainText(sa.types.TypeDecorator[str]):
    """Text that came from outside.

    JSON can carry U+0000, which PostgreSQL does not store, and halves of a surrogate pair, which are no text in
    UTF-8. One such character in what an axis says must not keep a message from being recorded; nor must an
    identifier of a megabyte, which no index takes.

    Args:
        max_chars: How much of it is kept and compared; the package itself has all of it.
    """

    impl = sa.Text()
    cache_ok = True

    def __init__(self, max_chars: int | None = None) -> None:
        super().__init__()
        self.max_chars = max_chars

    def process_bind_param(
        self,
        value: str | None,
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> str | None:
        """Replace what is no text by U+FFFD, and cut what is too long."""
        return None if value is None else plain(value, self.max_chars)


class BoundedText(sa.types.TypeDecorator[str]):
    """Text that came from outside and stands in lists: no row of one costs more than its limit.

    It is bounded as it is written, and once more where it is read: older versions wrote it whole.

    Args:
        max_chars: How many characters it has at most; the package itself has all of it.
        is_compared: Whether others ask by it. Then it is written and asked for whole: whoever takes it from outside
            refuses what is longer.
    """

    impl = sa.Text()
    cache_ok = True

    def __init__(self, max_chars: int, *, is_compared: bool = False) -> None:
        super().__init__()
        self.max_chars = max_chars
        self.is_compared = is_compared

    def process_bind_param(
        self,
        value: str | None,
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> str | None:
        """Replace what is no text by U+FFFD, and cut what is too long."""
        if value is None or self.is_compared:
            return None if value is None else plain(value)
        return plain(shortened(value, self.max_chars))

    def column_expression(self, column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
        """Let the database hand over no more than is used."""
        return sa.func.substr(column, 1, self.max_chars + 1, type_=self)

    def process_result_value(
        self,
        value: str | None,
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> str | None:
        """Cut what is too long."""
        return None if value is None else shortened(value, self.max_chars)


class Name(sa.types.TypeDecorator[str]):
    """A short text: an id, a code, a word. What is looked for may come from a stranger and hold anything.

    Args:
        length: How many characters it has at most.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)

    def process_bind_param(
        self,
        value: str | None,
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> str | None:
        """Replace what is no text by U+FFFD."""
        return None if value is None else plain(value)


def plain(value: str, max_chars: int | None = None) -> str:
    """Return text that every database can hold: what is no text is U+FFFD, what is too long is cut."""
    text = value[:max_chars]
    if text.isascii() and "\x00" not in text:
        return text
    text = text.replace("\x00", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shortened(value: str, max_chars: int) -> str:
    """Return a text, or its beginning with an ellipsis as its last character."""
    return value if len(value) <= max_chars else value[: max_chars - 1] + "\u2026"


def table_of(row: type[orm.DeclarativeBase]) -> sa.Table:
    """Return the table of a mapped class, for statements that make no objects: they cost a third."""
    table = row.__table__
    assert isinstance(table, sa.Table)
    return table
