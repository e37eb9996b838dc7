"""Leave an axis alone that does not answer: a circuit breaker for one endpoint, in the memory of one process.

What is queued stays queued and untried while the breaker is open; the durable times of the outbox do the rest.
"""

from __future__ import annotations

import datetime
import enum
import threading

__all__ = ["BreakerState", "CircuitBreaker"]


class BreakerState(enum.StrEnum):
    """Whether an endpoint is tried."""

    CLOSED = "closed"
    """It answers, as far as we know: it is tried."""
    OPEN = "open"
    """It failed too often: it is left alone."""
    HALF_OPEN = "half-open"
    """It was left alone long enough: one call may find out."""


class CircuitBreaker:
    """Counts failures in a row. Safe to share between threads.

    Args:
        failures: After how many failures in a row the endpoint is left alone.
        open_for: How long it is left alone; then one call may find out whether it answers again.
    """

    def __init__(
        self, *, failures: int = 5, open_for: datetime.timedelta = datetime.timedelta(seconds=60)
    ) -> None:
        self._limit = failures
        self._open_for = open_for
        self._lock = threading.Lock()
        self._count = 0
        self._opened_at: datetime.datetime | None = None
        self._probe_at: datetime.datetime | None = None

    def state(self, now: datetime.datetime) -> BreakerState:
        """Return the state at a time."""
        with self._lock:
            return self._state(now)

    def closes_at(self) -> datetime.datetime | None:
        """Return when a call may find out whether the endpoint answers again; ``None`` if it is tried anyway."""
        with self._lock:
            return None if self._opened_at is None else self._opened_at + self._open_for

    def try_enter(self, now: datetime.datetime) -> bool:
        """Tell whether a call may be made now; while half open, only one caller is told so."""
        with self._lock:
            match self._state(now):
                case BreakerState.CLOSED:
                    return True
                case BreakerState.OPEN:
                    return False
                case _:
                    # A probe that never reported, because its thread died, does not block the next for ever.
                    if self._probe_at is not None and now < self._probe_at + self._open_for:
                        return False
                    self._probe_at = now
                    return True

    def note_success(self) -> None:
        """Note that the endpoint answered; a refusal is an answer, too."""
        with self._lock:
            self._count, self._opened_at, self._probe_at = 0, None, None

    def note_failure(self, now: datetime.datetime) -> None:
        """Note that the endpoint did not answer, or not sensibly."""
        with self._lock:
            self._count += 1
            self._probe_at = None
            if self._count >= self._limit:
                self._opened_at = now

    def note_nothing(self) -> None:
        """Note that a call ended without telling anything of the endpoint, such as by a fault of ours."""
        with self._lock:
            self._probe_at = None

    def _state(self, now: datetime.datetime) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        # A clock that was set back must not keep it open for longer than it may be.
        if self._opened_at <= now < self._opened_at + self._open_for:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN
