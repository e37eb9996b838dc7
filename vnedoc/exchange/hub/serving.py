"""Answer on real sockets: one process of a hub, from its first request to a stop that finishes what it began.

The first SIGTERM or SIGINT turns ``/health/ready`` to "no", so that a balancer looks elsewhere; a little later no
connection is accepted any more, and requests that are under way are finished, for a limited time. The second one ends
what is under way: nothing of it was answered for.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import ipaddress
import logging
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError, InputError, MissingExtraError
from vnedoc.exchange.hub.logs import log_to
from vnedoc.exchange.stores.hub import HubStore

try:
    import uvicorn

    from vnedoc.exchange.hub._protocol import hub_protocol
    from vnedoc.exchange.hub.app import make_admin_app, make_wires_app
    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.hub.tls import RenewedTLS
except ImportError as exc:
    raise MissingExtraError("hub.missing-server") from exc

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vnedoc.exchange.hub.console.certificates import Watch
    from vnedoc.exchange.hub.options import HubOptions
    from vnedoc.exchange.hub.tls import TLSFiles

__all__ = ["ServeSettings", "listen", "serve_sockets", "uvicorn_config", "warn_of_plain_pages"]

logger = logging.getLogger("vnedoc.hub")

BACKLOG = 1024
"""Connections that wait to be accepted."""
_ACCEPTED_AT_ONCE = 8
_KEEP_ALIVE_S = 65
_LOOK_EVERY_S = 5.0
_CLOSE_S = 5.0
"""How long the application may take to close after what was under way was cut."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How a hub is run."""

    folder: Path
    """Where all is that is not said to be elsewhere."""
    url: str | None = dataclasses.field(default=None, repr=False)
    """Database URL; ``None``: a SQLite file in the folder."""
    payloads: Path | str | None = None
    """Where packages are; ``None``: in the folder."""
    key_file: Path | None = None
    """The key that seals secrets; ``None``: in the folder."""
    options: HubOptions
    """How it behaves."""
    tls: TLSFiles | None = None
    """How it speaks TLS with systems; ``None``: plain HTTP."""
    admin_tls: TLSFiles | None = None
    """How it speaks TLS with those who run the hub; ``None``: plain HTTP."""
    drain_s: float = 3.0
    """How long it goes on after SIGTERM while ``/health/ready`` says no."""
    stop_timeout_s: float = 60.0
    """How long requests that are under way may take then."""
    log_format: str = "json"
    """``json`` or ``text``."""

    def open_store(self) -> HubStore:
        """Open the memory of the hub, and bring its tables up to date."""
        return HubStore.open(self.folder, url=self.url, payloads=self.payloads, key_file=self.key_file)


def listen(host: str, port: int) -> socket.socket:
    """Open a socket for connections.

    Raises:
        ConfigurationError: It cannot be opened.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, asyncio switches Nagle's algorithm off; else answers wait for acknowledgements.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.settimeout(0)
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        raise ConfigurationError("hub.cannot-listen", host=host, port=port, reason=exc.strerror) from exc
    return listener


def warn_of_plain_pages(
    settings: ServeSettings, *, wires: socket.socket, admin: socket.socket | None
) -> None:
    """Say in the log that nobody on another machine can log in to the console: its cookies are for TLS only."""
    pages, tls = (wires, settings.tls) if admin is None else (admin, settings.admin_tls)
    # A proxy that was named may speak TLS.
    if settings.options.console is None or settings.options.proxies or tls is not None:
        return
    host = pages.getsockname()[0]
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        logger.warning(
            "the console is plain HTTP: nobody on another machine can log in", extra={"host": host}
        )


def uvicorn_config(
    app: Callable[..., object],
    *,
    hub: Hub,
    tls: ssl.SSLContext | None = None,
    stop_timeout_s: float = 60.0,
    lifespan: str = "on",
) -> uvicorn.Config:
    """Return how uvicorn runs an application of a hub."""
    return uvicorn.Config(
        app,
        http=hub_protocol(hub),
        ws="none",
        loop="asyncio",
        lifespan=lifespan,  # type: ignore[arg-type]  # a literal
        log_config=None,
        access_log=False,
        server_header=False,
        # It would believe anybody on this machine; the door knows whom to believe.
        proxy_headers=False,
        # Of several processes on one socket none shall take all connections that wait.
        backlog=_ACCEPTED_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(stop_timeout_s)),
        ssl_context_factory=None if tls is None else (lambda _config, _default: tls),
    )


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: uvicorn would end the process with them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def finish(self) -> None:
        """Accept nothing more, and end when what is under way is finished."""
        self.should_exit = True

    def let_go(self) -> None:
        """Close every connection, after the answer to the request that is under way on it."""
        for connection in list(self.server_state.connections):
            connection.shutdown()

    def cut(self) -> None:
        """End what is under way."""
        self.force_exit = self.should_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def close(self) -> None:
        """Let the application end as it wants to: uvicorn breaks it off after a cut, which looks like a fault."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.lifespan.shutdown()


def serve_sockets(
    settings: ServeSettings,
    *,
    wires: socket.socket,
    admin: socket.socket | None = None,
    lifeline: int | None = None,
    announce: Callable[[], None] | None = None,
) -> None:
    """Answer until the process is told to stop.

    Args:
        settings: How.
        wires: Where systems call.
        admin: Where those call who run the hub; ``None``: what they may see is on the port of the wires.
        lifeline: A file descriptor whose end says that whoever started us is gone.
        announce: Called when requests are answered.

    Raises:
        ConfigurationError: The settings do not fit together.
    """
    log_to(form=settings.log_format)
    if lifeline is None:
        warn_of_plain_pages(settings, wires=wires, admin=admin)
    tls, admin_tls = (
        None if files is None else RenewedTLS(files) for files in (settings.tls, settings.admin_tls)
    )
    with contextlib.closing(settings.open_store()) as store:
        # A hub whose disk is full can still hand out what it has.
        with contextlib.suppress(InputError):
            store.payloads.prepare()
        hub = Hub(store, options=settings.options)
        hub.metrics.tls = tls
        hub.metrics.watch = _watch_over(settings.options)
        first = _Server(
            uvicorn_config(
                make_wires_app(hub, with_health=admin is None),
                hub=hub,
                tls=tls,
                stop_timeout_s=settings.stop_timeout_s,
            )
        )
        servers = [(first, wires, tls)]
        if admin is not None:
            second = _Server(
                uvicorn_config(
                    make_admin_app(hub),
                    hub=hub,
                    tls=admin_tls,
                    stop_timeout_s=settings.stop_timeout_s,
                    lifespan="off",
                )
            )
            servers.append((second, admin, admin_tls))
        # What is there now stays to the end. To search it for garbage again and again takes a tenth of a second each
        # time, in which nobody is answered.
        gc.collect()
        gc.freeze()
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_serve(hub, settings, servers, lifeline, announce))


def _watch_over(options: HubOptions) -> Watch | None:
    if not options.watched_certificates:
        return None
    from vnedoc.exchange.hub.console.certificates import Watch
    from vnedoc.exchange.hub.console.options import ConsoleOptions

    return Watch(ConsoleOptions(trust=(), certificate_files=options.watched_certificates))


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return the quickest loop there is: uvloop is not there for every system."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(
    hub: Hub,
    settings: ServeSettings,
    served: list[tuple[_Server, socket.socket, RenewedTLS | None]],
    lifeline: int | None,
    announce: Callable[[], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    servers = [server for server, _, _ in served]
    first = servers[0]

    def stop(drain_s: float) -> None:
        if hub.is_stopping:
            for server in servers:
                server.cut()
            return
        hub.is_stopping = True
        loop.call_later(drain_s, first.finish)

    loop.add_signal_handler(signal.SIGTERM, stop, settings.drain_s)
    # Who presses Ctrl+C has no balancer that must be told first.
    loop.add_signal_handler(signal.SIGINT, stop, 0.0)
    renewing = asyncio.create_task(_renew(served))
    loop.add_signal_handler(signal.SIGHUP, lambda: _look(served, anyway=True))
    if lifeline is not None:
        _watch(lifeline, loop, lambda: None if hub.is_stopping else stop(settings.drain_s))
    tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener, _ in served]
    while not all(server.started for server in servers) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.01)
    # uvicorn has made the line of those who wait as short as what is accepted at once.
    for _, listener, _ in served:
        with contextlib.suppress(OSError):
            listener.listen(BACKLOG)
    if announce is not None:
        announce()
    await asyncio.wait(tasks[:1])
    for server in servers:
        server.finish()
    await asyncio.gather(*tasks)
    if first.force_exit:
        await first.close()
    renewing.cancel()


async def _renew(served: list[tuple[_Server, socket.socket, RenewedTLS | None]]) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        _look(served, anyway=False)


def _look(served: list[tuple[_Server, socket.socket, RenewedTLS | None]], *, anyway: bool) -> None:
    """Look whether files of TLS were renewed; who may be a stranger now has to show a certificate again."""
    for server, _, tls in served:
        if tls is not None and tls.look(anyway=anyway):
            server.let_go()


def _watch(lifeline: int, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(lifeline, 64):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended)

    threading.Thread(target=wait, name="vnedoc-hub-lifeline", daemon=True).start()
