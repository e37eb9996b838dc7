"""Working days in Vietnam: holidays and the days worked in exchange, with the agency's own calendar above them.

The Labour Code 2019, article 112, names the holidays; the Government moves working days every year. The package
``holidays`` knows both as far as they were published; what an agency's calendar file says wins.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import tomllib
from typing import TYPE_CHECKING, Any

from vnedoc._internal.clock import VIETNAM, vietnam
from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WorkingCalendar", "load_calendar"]

_DAY = datetime.timedelta(days=1)
# No holiday of a country lasts a year; a calendar file that closes every day must not hang us.
_LONGEST_BREAK_DAYS = 366


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCalendar:
    """Which days are worked, and when the morning ends."""

    closed: frozenset[datetime.date] = frozenset()
    """Days off that the public calendar does not know."""
    worked: frozenset[datetime.date] = frozenset()
    """Days worked although the public calendar says they are off."""
    morning_ends: datetime.time = datetime.time(11, 30)
    """When the morning ends, in Vietnam time."""

    def is_working_day(self, day: datetime.date) -> bool:
        """Tell whether a day is worked."""
        if day in self.worked:
            return True
        if day in self.closed:
            return False
        return _is_worked_by_all(day)

    def next_working_day(self, day: datetime.date) -> datetime.date:
        """Return the first working day after a day.

        Raises:
            ConfigurationError: The calendar leaves none within a year.
        """
        following = day
        for _ in range(_LONGEST_BREAK_DAYS):
            following += _DAY
            if self.is_working_day(following):
                return following
        raise ConfigurationError("config.no-working-day", day=day.isoformat())

    def end_of_morning(self, day: datetime.date) -> datetime.datetime:
        """Return the end of a day's morning, in UTC."""
        return self._at(day, self.morning_ends)

    def end_of_day(self, day: datetime.date) -> datetime.datetime:
        """Return the end of a calendar day in Vietnam, in UTC."""
        return self._at(day + _DAY, datetime.time())

    @staticmethod
    def day_of(moment: datetime.datetime) -> datetime.date:
        """Return the day in Vietnam on which a moment falls."""
        return vietnam(moment).date()

    @staticmethod
    def _at(day: datetime.date, time: datetime.time) -> datetime.datetime:
        return datetime.datetime.combine(day, time, VIETNAM).astimezone(datetime.UTC)


def load_calendar(path: Path) -> WorkingCalendar:
    """Read an agency's calendar: a TOML file with ``closed`` and ``worked`` days and ``morning_ends``.

    Raises:
        ConfigurationError: The file cannot be read, or holds something else.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError("config.cannot-read", path=path, reason=exc.strerror) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError("config.not-toml", path=path, reason=str(exc)) from exc
    known: dict[str, Any] = {}  # TOML
    for key, value in table.items():
        if key in {"closed", "worked"}:
            if not isinstance(value, list) or not all(type(day) is datetime.date for day in value):
                raise ConfigurationError("config.not-dates", path=path, key=key)
            known[key] = frozenset(value)
        elif key == "morning_ends":
            if not isinstance(value, datetime.time) or value.tzinfo is not None:
                raise ConfigurationError("config.not-a-time", path=path, key=key)
            known[key] = value
        else:
            raise ConfigurationError("config.unknown-key", path=path, key=key)
    return WorkingCalendar(**known)


@functools.cache
def _vietnam() -> Any:  # a HolidayBase, whose years fill as they are asked for
    # Loaded when a day is asked for: it knows two hundred countries.
    import holidays

    return holidays.country_holidays("VN")


def _is_worked_by_all(day: datetime.date) -> bool:
    return bool(_vietnam().is_working_day(day))
