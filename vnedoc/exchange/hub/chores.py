"""What a hub does now and then beside answering: it looks for room on the disk, and gives up what nobody fetches.

Every process looks after itself; what concerns the packages is done by whichever process claims it first, in the
database, so that of many only one does it.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.health import look_for_room

if TYPE_CHECKING:
    from vnedoc.exchange.hub.core import Hub

__all__ = ["expire_old", "keep_house"]

logger = logging.getLogger("vnedoc.hub")

EXPIRE_EVERY = datetime.timedelta(minutes=5)
_ROOM_EVERY_S = 2.0
_CHORES_EVERY_S = 20.0


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


async def keep_house(hub: Hub) -> None:
    """Do all of it again and again, until cancelled."""
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
