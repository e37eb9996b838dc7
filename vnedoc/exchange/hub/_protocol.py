"""Connections of a hub, on top of uvicorn's: how many there may be, how long and how large the head of a request.

A client that sends a header a minute costs nothing but a connection, and of these there are only so many. uvicorn has
no limit on the time that a head takes (the attack called slowloris), and with llhttp none on its size. Of a request
that was answered before its body was there, little more is read, and for a short time.
"""

from __future__ import annotations

import collections
import hashlib
import ipaddress
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from vnedoc.exchange.hub.door import ABORT, CERTIFICATE
from vnedoc.exchange.hub.peers import place_of

if TYPE_CHECKING:
    import asyncio

    from vnedoc.exchange.hub.core import Hub

__all__ = ["hub_protocol"]

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MAX_HEAD_BYTES = 64 * 1024
"""How large the head of a request may be."""
LINGER_S = 3.0
"""How long the rest of a body may take to come after its request was answered."""
MAX_LINGER_BYTES = 1024 * 1024
"""How much of it is read and thrown away."""
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def hub_protocol(hub: Hub) -> type[HttpToolsProtocol]:
    """Return the protocol of the connections of a hub."""
    places: collections.Counter[str] = collections.Counter()
    if hub.metrics.connections is None:
        # The first are those of systems.
        hub.metrics.connections = places.total
    return type("HubProtocol", (_HubProtocol,), {"hub": hub, "places": places})


class _HubProtocol(HttpToolsProtocol):
    hub: Hub
    places: collections.Counter[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # what uvicorn gives
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._place: str | None = None
        self._is_turned_away = False
        self._head_bytes = 0
        self._is_in_head = False
        self._linger_timer: asyncio.TimerHandle | None = None
        self._linger_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        limits = self.hub.options.limits
        place, is_proxy = self._whence(transport)
        of_one = 0 if is_proxy else self.places[place]
        if self.places.total() >= limits.connections or of_one >= limits.connections_per_address:
            self.hub.metrics.limited("connections")
            self._is_turned_away = True
            self.transport = transport
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._place = place
        self.places[place] += 1
        super().connection_made(transport)
        self.app_state = {**self.app_state, ABORT: transport.abort, CERTIFICATE: _certificate(transport)}
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._end_lingering()
        if self._place is not None:
            self.places[self._place] -= 1
            if not self.places[self._place]:
                del self.places[self._place]
            self._place = None
        if not self._is_turned_away:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_turned_away:
            return
        was_in_head = self._is_in_head
        before: RequestResponseCycle | None = self.cycle
        if (
            before is not None
            and before.response_complete
            and self._head_timer is None
            and self._linger_timer is None
        ):
            self._arm()
        super().data_received(data)
        if self.cycle is not before:
            self._disarm()
        elif self._is_in_head and was_in_head:
            # The first piece of a head is not counted: the end of a body may stand before it.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.hub.metrics.limited("large-head")
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        # The end of a body that was lingered for may have set it a moment ago.
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes behind the chunks of a body would change the head while it is being judged.
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too large")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._linger_timer is not None:
            self._linger_bytes += len(body)
            if self._linger_bytes > MAX_LINGER_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._linger_timer is not None:
            self._end_lingering()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        # Of pipelined requests this may be a later one, whose turn has not come.
        cycle: RequestResponseCycle = self.cycle
        super().on_response_complete()
        if cycle.more_body and cycle.response_complete and not self.transport.is_closing():
            # Whoever sends the head and the body apart, as many do, would lose the answer: what comes to a closed
            # connection resets it, with all that is still on the way.
            self._linger_bytes = 0
            self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # The body of a request that is being answered turned out to be no HTTP: to those who answer it the caller
            # is gone. Else they would write where nothing can be written any more.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        super().send_400_response(msg)

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.hub.options.limits.header_timeout_s, self._give_up)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_lingering(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.hub.metrics.limited("slow-head")
        if not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()

    def _whence(self, transport: asyncio.Transport) -> tuple[str, bool]:
        peer = transport.get_extra_info("peername")
        try:
            address = ipaddress.ip_address(peer[0].partition("%")[0]) if peer else None
        except ValueError:
            address = None
        is_proxy = address is not None and any(address in network for network in self.hub.proxies)
        return place_of(address), is_proxy


def _certificate(transport: asyncio.Transport) -> str | None:
    tls = transport.get_extra_info("ssl_object")
    # TLS has checked it against the authorities of clients; without such authorities none is asked for.
    encoded = None if tls is None else tls.getpeercert(binary_form=True)
    return None if encoded is None else hashlib.sha256(encoded).hexdigest()
