"""Whether a hub is alive, ready for requests, and takes packages; and what it counts.

*Live*: the process answers; if not, start another. *Ready*: database, tables and package store are there and nobody
told it to stop; if not, send requests elsewhere. *Accepting*: there is room, too; if not, packages are turned away
with "later", because what cannot be kept must not be answered for.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vnedoc.errors import VnedocError
from vnedoc.exchange.hub.metrics import CONTENT_TYPE, free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from vnedoc.exchange.hub.core import Hub

__all__ = ["health_routes", "live_route", "look_for_room", "metrics_route"]

logger = logging.getLogger("vnedoc.hub")

CHECK_TIMEOUT_S = 5.0
"""How long the database or the package store may take to answer."""
_NO_PAYLOAD = "0" * 64


def live_route(path: str = "/health") -> Route:
    """Return the route that says that the process answers."""

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok")

    return Route(path, live, methods=["GET"])


def health_routes(hub: Hub) -> list[Route]:
    """Return the routes that say how a hub is."""
    checked = _Checks(hub)

    async def ready(_request: Request) -> Response:
        return _answer(await checked.readiness())

    async def accepting(_request: Request) -> Response:
        checks = await checked.readiness()
        return _answer({**checks, "room": await run_in_threadpool(look_for_room, hub)})

    return [
        live_route("/health/live"),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/health/accepting", accepting, methods=["GET"]),
    ]


def metrics_route(hub: Hub) -> Route:
    """Return the route with everything that a hub counts, for Prometheus."""

    async def metrics(_request: Request) -> Response:
        content = await run_in_threadpool(hub.metrics.text)
        return Response(content, headers={"Content-Type": CONTENT_TYPE})

    return Route("/metrics", metrics, methods=["GET"])


def look_for_room(hub: Hub) -> bool:
    """Look whether there is room for packages, and note it for the wires."""
    free = free_bytes(hub.store)
    hub.has_room = free is not None and free >= hub.options.limits.min_free_bytes
    return hub.has_room


class _Checks:
    """What must hold, and what did not the last time: only news are written down, for balancers ask every second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._failing: set[str] = set()

    async def readiness(self) -> dict[str, bool]:
        """Tell what holds."""
        store = self._hub.store
        database, payloads = await asyncio.gather(
            self._holds("database", store.database.is_current),
            self._holds("payloads", lambda: store.payloads.size(_NO_PAYLOAD) is None),
        )
        return {"running": not self._hub.is_stopping, "database": database, "payloads": payloads}

    async def _holds(self, name: str, check: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                holds = await asyncio.to_thread(check)
            why = "the tables are not those that this program works with"
        except (VnedocError, OSError, TimeoutError) as error:
            holds, why = False, _reason(error)
        if holds and name in self._failing:
            self._failing.discard(name)
            logger.info("ready again", extra={"check": name})
        elif not holds and name not in self._failing:
            self._failing.add(name)
            logger.warning("not ready", extra={"check": name, "reason": why})
        return holds


def _reason(error: Exception) -> str:
    """Return what an error says of a server: no caller had any part in it."""
    if isinstance(error, VnedocError):
        return f"{error.code}: {error.values.get('reason', '')}".removesuffix(": ")
    return type(error).__name__


def _answer(checks: dict[str, bool]) -> Response:
    good = all(checks.values())
    return JSONResponse(
        {"status": "ok" if good else "unavailable", "checks": checks},
        status_code=200 if good else 503,
        headers={"Cache-Control": "no-store"},
    )
