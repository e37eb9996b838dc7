"""Count what the hub refuses and note who was let in, for people who look; written down every few seconds.

Neither is worth a transaction of its own at every request: a flood of bad requests must not become a flood of writes.
A process that is killed loses the last seconds of these counts, and nothing else.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.exchange.stores.hub_tallies import HubTallies

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from vnedoc.exchange.hub.visits import Visit
    from vnedoc.exchange.stores.database import Database

__all__ = ["Tally"]


class Tally:
    """Counts of one process.

    Args:
        database: Where they are added up.
        clock: Tells the time.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime.datetime] = utc_now) -> None:
        self._rows = HubTallies(database)
        self._clock = clock
        self._lock = threading.Lock()
        self._refusals: collections.Counter[tuple[datetime.date, str]] = collections.Counter()
        self._sightings: dict[str, datetime.datetime] = {}

    def refused(self, reason: str) -> None:
        """Count a refusal.

        Args:
            reason: The id of its sentence; there are some dozens.
        """
        key = (vietnam(self._clock()).date(), reason)
        with self._lock:
            self._refusals[key] += 1

    def seen(self, system_id: str) -> None:
        """Note that a system was let in."""
        now = self._clock()
        with self._lock:
            self._sightings[system_id] = now

    def visited(self, visit: Visit) -> None:
        """Count a request when it is over."""
        if visit.refusal is not None:
            self.refused(visit.refusal.message_id)
        if visit.system_id is not None:
            self.seen(visit.system_id)

    def flush(self) -> None:
        """Write down what was counted; what cannot be written is kept for the next time."""
        with self._lock:
            refusals, self._refusals = self._refusals, collections.Counter()
            sightings, self._sightings = self._sightings, {}
        if not refusals and not sightings:
            return
        try:
            self._rows.add(refusals=refusals, sightings=sightings)
        except Exception:
            with self._lock:
                self._refusals.update(refusals)
                self._sightings = sightings | self._sightings
            raise
