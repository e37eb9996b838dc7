"""The door of a hub: every request comes in here, and leaves with what it held given back, counted and logged.

The log has a line for each request, without what it carried: no document, no name, no secret, no path or query.
"""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

from vnedoc.exchange.hub.limits import Rates
from vnedoc.exchange.hub.peers import caller_of
from vnedoc.exchange.hub.visits import Visit, visiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vnedoc.exchange.hub.core import Hub

__all__ = ["ABORT", "CERTIFICATE", "Door"]

CERTIFICATE = "vnedoc.certificate"
"""Where in the state of a request the server puts the SHA-256 of the client certificate."""
ABORT = "vnedoc.abort"
"""Where in the state of a request the server puts what cuts the connection."""

logger = logging.getLogger("vnedoc.hub.access")

# 401, 403 and 429 of what is no wire: somebody wants to run the hub and may not.
_TURNED_AWAY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


class Door:
    """Lets requests in, and notes who sends them.

    Args:
        app: What is behind the door.
        hub: The hub.
        calls: The wire and the name of a call by what answers it.
    """

    def __init__(
        self, app: ASGIApp, *, hub: Hub, calls: Mapping[Callable[..., object], tuple[str, str]]
    ) -> None:
        self._app = app
        self._hub = hub
        self._calls = calls
        limits = hub.options.limits
        self._strangers = Rates(per_s=limits.refused_per_minute / 60, burst=limits.refused_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = self._visit(scope)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                await self._slow_down(visit)
            try:
                async with asyncio.timeout(self._hub.options.limits.send_timeout_s):
                    await send(message)
            except TimeoutError:
                # Who reads nothing holds a connection and an open package.
                self._hub.metrics.limited("slow-reader")
                abort = scope.get("state", {}).get(ABORT)
                if abort is not None:
                    abort()

        with visiting(visit):
            try:
                if _is_ambiguous(scope):
                    await Response(status_code=400, headers={"Connection": "close"})(scope, receive, answer)
                else:
                    await self._app(scope, receive, answer)
            finally:
                await visit.ending.aclose()
                self._note(scope, visit, status)

    def _visit(self, scope: Scope) -> Visit:
        client = scope.get("client") or (None, 0)
        peer = caller_of(
            client[0],
            scope["headers"],
            certificate=scope.get("state", {}).get(CERTIFICATE),
            proxies=self._hub.proxies,
            certificate_header=self._hub.options.certificate_header,
        )
        if peer.is_by_proxy:
            # What asks for the caller's address or for the scheme further on gets the caller's, not the proxy's.
            scope["client"] = (str(peer.address or ""), 0)
            schemes = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
            if schemes and schemes[-1].strip().lower() in {b"http", b"https"}:
                scope["scheme"] = schemes[-1].strip().lower().decode("ascii")
        return Visit(peer)

    async def _slow_down(self, visit: Visit) -> None:
        # Who hammers waits for each answer; it costs us nothing but a connection, of which there are so many.
        over = visit.over_rate is not None
        if not over and visit.is_stranger and self._strangers.take(visit.place):
            self._hub.metrics.limited("strangers")
            over = True
        if over:
            await asyncio.sleep(self._hub.options.limits.slow_down_s)

    def _note(self, scope: Scope, visit: Visit, status: int) -> None:
        wire, call = self._calls.get(scope.get("endpoint"), ("-", "-"))  # type: ignore[arg-type]  # None is no key
        seconds = time.monotonic() - visit.began
        self._hub.metrics.request(wire, status, seconds)
        self._hub.tally.visited(visit)
        is_turned_away = wire == "-" and status in _TURNED_AWAY
        # What else is no call of a wire is asked every few seconds by balancers, or is in the audit log.
        level = logging.WARNING if is_turned_away else logging.DEBUG if wire == "-" else logging.INFO
        logger.log(
            level,
            "%s",
            "somebody was turned away" if is_turned_away else f"{wire} {call}",
            extra={
                "wire": wire,
                "call": call,
                "method": scope["method"],
                "status": status,
                "seconds": round(seconds, 4),
                "system": visit.system_id,
                "account": visit.account,
                "address": None if visit.peer.address is None else str(visit.peer.address),
                "bytes_in": visit.bytes_in,
                "refusal": visit.reason if visit.refusal is None else visit.refusal.message_id,
            },
        )


def _is_ambiguous(scope: Scope) -> bool:
    """Tell whether a body has a length and chunks: a proxy may see another request in it than we do.

    RFC 9112, clause 6.1, calls it an attempt at request smuggling; some servers take the
    chunks and keep the connection.
    """
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names and b"transfer-encoding" in names
