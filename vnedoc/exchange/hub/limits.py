"""How much of a hub one system may take: requests over time, and a fair share of what comes in at once.

Everything is counted in the memory of one process. Who waits for room is served in turns: one upload of each system
that waits, whatever number of them it has waiting, so that a flood stands in its own line.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from vnedoc.exchange.hub.options import Limits

__all__ = ["BusyError", "FairShare", "Rates", "Share", "strangers_limits"]

_MAX_KEYS = 10_000


class BusyError(Exception):
    """There is no room now.

    Args:
        retry_after_s: When there may be.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class Rates:
    """A bucket of tokens for each key: it fills over time, and each request takes one out.

    Args:
        per_s: How many tokens come each second.
        burst: How many a bucket holds.
        clock: Tells the time in seconds.
    """

    def __init__(self, *, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Take a token; return 0, or how many seconds it is until there is one again."""
        now = self._clock()
        with self._lock:
            tokens, since = self._buckets.get(key, (self._burst, now))
            tokens = min(self._burst, tokens + (now - since) * self._per_s)
            wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
            self._buckets[key] = (tokens if wait_s else tokens - 1, now)
            self._buckets.move_to_end(key)
            if len(self._buckets) > _MAX_KEYS:
                # The one that was quiet for longest: most likely its bucket is full again.
                self._buckets.popitem(last=False)
            return wait_s


class Share:
    """The place of one upload.

    Args:
        owner: Where it belongs.
        key: Whose it is.
        size: How many bytes were said to come.
    """

    def __init__(self, owner: FairShare, key: str, size: int) -> None:
        self._owner = owner
        self._key = key
        self.reserved = size
        self._came = 0

    def came(self, count: int) -> None:
        """Note bytes that came; those beyond what was said need room, too.

        Raises:
            BusyError: There is none.
        """
        self._came += count
        beyond = self._came - self.reserved
        if beyond > 0:
            self._owner.grow(self._key, beyond)
            self.reserved += beyond


def strangers_limits(limits: Limits) -> Limits:
    """Return how much room there is for callers whom nobody knows yet; it is apart from that of systems.

    Bytes are not counted, for what a stranger says of them is not to be believed: each may have one envelope in
    memory. Who waits does so until all who were there before have used up the time for an envelope: its turn comes.

    Args:
        limits: The limits of the hub.
    """
    return dataclasses.replace(
        limits,
        uploads=limits.strangers,
        uploads_per_system=limits.strangers_per_address,
        upload_wait_s=limits.envelope_timeout_s + limits.upload_wait_s,
    )


class FairShare:
    """Room for uploads, or for what else takes room, shared fairly. Used by one event loop.

    Args:
        limits: How much room there is.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts: collections.Counter[str] = collections.Counter()
        self._bytes: collections.Counter[str] = collections.Counter()
        self.uploads = 0
        self.bytes = 0
        # For each key its line; the order of the keys is whose turn it is.
        self._lines: collections.OrderedDict[str, collections.deque[tuple[asyncio.Future[None], int]]] = (
            collections.OrderedDict()
        )

    @property
    def waiting(self) -> int:
        """How many uploads wait for their turn."""
        return sum(map(len, self._lines.values()))

    @contextlib.asynccontextmanager
    async def upload(self, key: str, size: int) -> AsyncIterator[Share]:
        """Wait for a place, and keep it until the block ends.

        Args:
            key: Whose upload it is.
            size: How many bytes are said to come; 0 if nobody says.

        Raises:
            BusyError: There was no place in time.
        """
        await self._enter(key, size)
        share = Share(self, key, size)
        try:
            yield share
        finally:
            self._release(key, share.reserved)

    def grow(self, key: str, count: int) -> None:
        """Take more room for an upload that has a place.

        Raises:
            BusyError: There is none; an upload alone is never refused.
        """
        alone = self._counts[key] == 1
        if not alone and self._bytes[key] + count > self._limits.bytes_in_flight_per_system:
            raise BusyError(self._limits.upload_wait_s)
        if self.uploads > 1 and self.bytes + count > self._limits.bytes_in_flight:
            raise BusyError(self._limits.upload_wait_s)
        self._bytes[key] += count
        self.bytes += count

    async def _enter(self, key: str, size: int) -> None:
        if key not in self._lines and self._has_room(key, size):
            self._admit(key, size)
            return
        line = self._lines.setdefault(key, collections.deque())
        if len(line) >= self._limits.uploads_per_system:
            raise BusyError(self._limits.upload_wait_s)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append((turn, size))
        try:
            async with asyncio.timeout(self._limits.upload_wait_s):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                # The place was given at the very moment in which nobody wanted it any more.
                self._release(key, size)
            else:
                self._leave_line(key, turn)
            if isinstance(exc, TimeoutError):
                raise BusyError(self._limits.upload_wait_s) from exc
            raise

    def _leave_line(self, key: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(key)
        if line is None:
            return
        left = collections.deque(item for item in line if item[0] is not turn)
        if left:
            self._lines[key] = left
        else:
            del self._lines[key]

    def _has_room(self, key: str, size: int) -> bool:
        limits = self._limits
        if self.uploads >= limits.uploads or self._counts[key] >= limits.uploads_per_system:
            return False
        if self._counts[key] and self._bytes[key] + size > limits.bytes_in_flight_per_system:
            return False
        return not self.uploads or self.bytes + size <= limits.bytes_in_flight

    def _admit(self, key: str, size: int) -> None:
        self._counts[key] += 1
        self._bytes[key] += size
        self.uploads += 1
        self.bytes += size

    def _release(self, key: str, size: int) -> None:
        self._counts[key] -= 1
        self._bytes[key] -= size
        self.uploads -= 1
        self.bytes -= size
        if not self._counts[key]:
            del self._counts[key], self._bytes[key]
        self._serve_lines()

    def _serve_lines(self) -> None:
        """Give free places away, one to each key in its turn."""
        served = True
        while served:
            served = False
            for key in list(self._lines):
                line = self._lines[key]
                turn, size = line[0]
                if not turn.done() and not self._has_room(key, size):
                    continue
                line.popleft()
                if line:
                    self._lines.move_to_end(key)
                else:
                    del self._lines[key]
                if not turn.done():
                    # Its place is taken now, not when it wakes up.
                    self._admit(key, size)
                    turn.set_result(None)
                served = True
                # Whose turn is next is looked up anew.
                break
