"""A clock for tests of what goes by the time."""

from __future__ import annotations

import datetime

NOW = datetime.datetime(2026, 11, 21, 3, tzinfo=datetime.UTC)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime.datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime.datetime:
        return self.now

    def go_on(self, **units: float) -> None:
        """Move it; units as of :class:`datetime.timedelta`."""
        self.now += datetime.timedelta(**units)
