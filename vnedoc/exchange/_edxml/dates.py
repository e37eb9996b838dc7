"""Dates and times on the wire: ``yyyy/MM/dd`` and ``yyyy/MM/dd HH:mm:ss`` in Vietnam time, without a zone.

Some systems write the day first, or ISO 8601; these are read too.
"""

from __future__ import annotations

import dataclasses
import datetime
import re

from vnedoc._internal.clock import VIETNAM, vietnam

__all__ = ["ReadDate", "ReadTime", "format_date", "format_time", "read_date", "read_time"]

_YEAR_FIRST = re.compile(r"(?P<y>[0-9]{4})(?P<sep>[/.-])(?P<m>[0-9]{1,2})(?P=sep)(?P<d>[0-9]{1,2})")
_DAY_FIRST = re.compile(r"(?P<d>[0-9]{1,2})(?P<sep>[/.-])(?P<m>[0-9]{1,2})(?P=sep)(?P<y>[0-9]{4})")
_CLOCK = re.compile(r"[ T]+(?P<h>[0-9]{1,2}):(?P<min>[0-9]{2})(?::(?P<s>[0-9]{2})(?:[.,][0-9]{1,9})?)?")
_ZONE = re.compile(r"Z|[+-][0-9]{2}:?[0-9]{2}")


@dataclasses.dataclass(frozen=True, slots=True)
class ReadDate:
    """A date as read."""

    value: datetime.date | None
    """The date; ``None`` if the text is none."""
    exact: bool
    """Whether it was written ``yyyy/MM/dd``."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReadTime:
    """A time as read."""

    value: datetime.datetime | None
    """The time in UTC; ``None`` if the text is none."""
    exact: bool
    """Whether it was written ``yyyy/MM/dd HH:mm:ss``."""


def format_date(value: datetime.date) -> str:
    """Return ``yyyy/MM/dd``."""
    return f"{value.year:04d}/{value.month:02d}/{value.day:02d}"


def format_time(value: datetime.datetime) -> str:
    """Return ``yyyy/MM/dd HH:mm:ss`` in Vietnam time."""
    local = vietnam(value)
    return f"{format_date(local)} {local:%H:%M:%S}"


def read_date(text: str) -> ReadDate:
    """Read a date; a clock time after it is passed over."""
    moment = _read(text)
    if moment is None:
        return ReadDate(None, exact=False)
    value = moment.date()
    return ReadDate(value, exact=text == format_date(value))


def read_time(text: str) -> ReadTime:
    """Read a time; without a zone it is Vietnam time, without a clock it is midnight."""
    moment = _read(text)
    if moment is None:
        return ReadTime(None, exact=False)
    try:
        value = moment.astimezone(datetime.UTC)
        return ReadTime(value, exact=text == format_time(value))
    except OverflowError:  # The first or last day that Python knows.
        return ReadTime(None, exact=False)


def _read(text: str) -> datetime.datetime | None:
    day = _YEAR_FIRST.match(text) or _DAY_FIRST.match(text)
    if day is None:
        return None
    clock = _CLOCK.match(text, day.end())
    rest = text[clock.end() if clock else day.end() :]
    zone: datetime.tzinfo = VIETNAM
    if rest:
        if clock is None or not _ZONE.fullmatch(rest):
            return None
        zone = _zone(rest)
    try:
        return datetime.datetime(
            int(day["y"]),
            int(day["m"]),
            int(day["d"]),
            int(clock["h"]) if clock else 0,
            int(clock["min"]) if clock else 0,
            int(clock["s"] or 0) if clock else 0,
            tzinfo=zone,
        )
    except ValueError:
        return None


def _zone(text: str) -> datetime.tzinfo:
    if text == "Z":
        return datetime.UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    # A zone of a day or more does not exist; Vietnam time is the better guess.
    if minutes >= 24 * 60:
        return VIETNAM
    return datetime.timezone(datetime.timedelta(minutes=-minutes if text[0] == "-" else minutes))
