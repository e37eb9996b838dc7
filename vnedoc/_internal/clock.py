"""Time: aware, UTC inside, Vietnam time where people or the standards ask for it."""

from __future__ import annotations

import datetime

from vnedoc.errors import UsageError

__all__ = ["VIETNAM", "as_utc", "parse_time", "utc_now", "vietnam"]

VIETNAM = datetime.timezone(datetime.timedelta(hours=7), "+07")
"""Vietnam time (Asia/Ho_Chi_Minh): UTC+7 since 1975, without summer time."""


def utc_now() -> datetime.datetime:
    """Return the present time, aware and in UTC."""
    return datetime.datetime.now(datetime.UTC)


def as_utc(moment: datetime.datetime) -> datetime.datetime:
    """Return an aware time in UTC.

    Raises:
        UsageError: The time has no zone.
    """
    if moment.tzinfo is None:
        raise UsageError("usage.naive-time", value=moment.isoformat())
    return moment.astimezone(datetime.UTC)


def vietnam(moment: datetime.datetime) -> datetime.datetime:
    """Return an aware time in Vietnam time."""
    return as_utc(moment).astimezone(VIETNAM)


def parse_time(value: str) -> datetime.datetime:
    """Read a time as a person writes it: ISO 8601; without a zone it is Vietnam time.

    Raises:
        UsageError: The value is not a time.
    """
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError as exc:
        raise UsageError("usage.not-a-time", value=value) from exc
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=VIETNAM)
    return moment.astimezone(datetime.UTC)
