"""What a hub does now and then beside answering: it looks for room, gives up what nobody fetches, removes old things.

Every process looks after itself; what concerns the packages is done by whichever process claims it first, in the
database, so that of many only one does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import threading
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.health import look_for_room
from vnedoc.exchange.stores.hub_retention import CHORE, HubRetention

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.pruning import PruneReport

__all__ = ["expire_old", "keep_house", "prune_old"]

logger = logging.getLogger("vnedoc.hub")

EXPIRE_EVERY = datetime.timedelta(minutes=5)
PRUNE_EVERY = datetime.timedelta(hours=6)
_ROOM_EVERY_S = 2.0
_CHORES_EVERY_S = 20.0
_LONGEST_REST_S = 1.0


def expire_old(hub: Hub) -> int | None:
    """Give up deliveries that waited too long; return how many.

    Returns:
        The number, or ``None`` if it is not due or another process does it.
    """
    after = hub.options.expire_after
    now = hub.clock()
    if after is None or not hub.store.deliveries.claim("expiry", now=now, every=EXPIRE_EVERY):
        return None
    count = hub.store.deliveries.expire(waiting_since=now - after, at=now)
    if count:
        hub.metrics.expired(count)
        logger.warning("deliveries expired", extra={"count": count})
    return count


def prune_old(hub: Hub, *, rest: Callable[[float], bool] | None = None) -> PruneReport | None:
    """Remove what is old and finished, by the options of the hub, and packages that were refused.

    Args:
        hub: The hub.
        rest: As for :class:`~vnedoc.exchange.stores.hub_retention.HubRetention`.

    Returns:
        What was removed, or ``None`` if it is not due or another process does it.
    """
    now = hub.clock()
    if not hub.store.deliveries.claim(CHORE, now=now, every=PRUNE_EVERY):
        return None
    retention = HubRetention(hub.store, rest=rest)
    report = retention.prune(hub.options.retention, by=By("hub", now))
    retention.note(report, at=hub.clock())
    hub.metrics.pruned(report)
    if report.payloads or report.messages:
        logger.info("old packages were removed", extra=dataclasses.asdict(report))
    return report


async def keep_house(hub: Hub) -> None:
    """Do all of it again and again, until cancelled."""
    end = asyncio.Event()
    # It may last for hours when it is done for the first time, and nothing else waits for it.
    pruning = asyncio.create_task(_prune_again_and_again(hub, end))
    try:
        await _do_chores(hub)
    finally:
        end.set()
        await pruning


async def _prune_again_and_again(hub: Hub, end: asyncio.Event) -> None:
    broken_off = threading.Event()

    def rest(seconds: float) -> bool:
        return not broken_off.wait(min(seconds, _LONGEST_REST_S))

    async def break_off() -> None:
        await end.wait()
        broken_off.set()

    watching = asyncio.create_task(break_off())
    while not end.is_set():
        try:
            await asyncio.to_thread(prune_old, hub, rest=rest)
        except Exception:
            # What was not removed now is removed later; the hub must not stop for that.
            logger.warning("a chore could not be done", exc_info=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), _CHORES_EVERY_S)
    await watching


async def _do_chores(hub: Hub) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        try:
            await asyncio.to_thread(look_for_room, hub)
            if loop.time() >= due:
                due = loop.time() + _CHORES_EVERY_S
                await asyncio.to_thread(hub.tally.flush)
                await asyncio.to_thread(expire_old, hub)
        except Exception:
            # The database is away: the wires and /health/ready say so themselves.
            logger.warning("a chore could not be done", exc_info=True)
        await asyncio.sleep(_ROOM_EVERY_S)
