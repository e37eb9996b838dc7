"""Vietnam's days in a database that keeps its times in UTC."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa

from vnedoc._internal.clock import VIETNAM

__all__ = ["day_of", "day_of_hour", "hour_of", "span"]

_SECOND_DAY = datetime.date.min + datetime.timedelta(days=1)


def span(first: datetime.date, last: datetime.date) -> tuple[datetime.datetime, datetime.datetime]:
    """Return when a first day begins and when a last day is over."""
    # Of the first day that there is, some hours come before all times in UTC.
    begin = datetime.datetime.combine(max(first, _SECOND_DAY), datetime.time(), VIETNAM)
    # The last day that there is has no next one.
    after = last + datetime.timedelta(days=1) if last < datetime.date.max else last
    return begin, datetime.datetime.combine(after, datetime.time(), VIETNAM)


def day_of(
    column: sa.SQLColumnExpression[Any],  # a time, or NULL
    *,
    is_sqlite: bool,
) -> sa.ColumnElement[str]:
    """Return the day of a time as ISO 8601 text."""
    if is_sqlite:
        # Without what is less than a second: SQLite would round it, and the last moment of a day is not the next.
        return sa.func.date(sa.func.substr(column, 1, 19), "+7 hours")
    # The connection works in UTC.
    moment = sa.type_coerce(column, sa.DateTime(timezone=True)) + sa.literal(
        VIETNAM.utcoffset(None), sa.Interval()
    )
    return sa.cast(sa.func.date(moment), sa.Text())


def hour_of(column: sa.SQLColumnExpression[Any], *, is_sqlite: bool) -> sa.ColumnElement[str]:  # a time
    """Return the hour of a time as text; Vietnam's days begin with one.

    To find the day of each row is most of the work where SQLite counts many rows by days; hours are cut out.
    """
    return sa.func.substr(column, 1, 13) if is_sqlite else day_of(column, is_sqlite=False)


def day_of_hour(hour: str) -> datetime.date:
    """Return the day of an hour as :func:`hour_of` gives it; whole days stay what they are."""
    if len(hour) == len("2026-01-01"):
        return datetime.date.fromisoformat(hour)
    return datetime.datetime.fromisoformat(f"{hour}:00+00:00").astimezone(VIETNAM).date()
