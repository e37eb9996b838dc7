"""Answer on real sockets: one process of a hub, from its first request to a stop that finishes what it began.

The first SIGTERM or SIGINT turns ``/health/ready`` to "no", so that a balancer looks elsewhere; a little later no
connection is accepted any more, and requests that are under way are finished, for a limited time. The second one ends
what is under way: nothing of it was answered for.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError, MissingExtraError
from vnedoc.exchange.hub.logs import log_to
from vnedoc.exchange.stores.hub import HubStore

try:
    import uvicorn

    from vnedoc.exchange.hub._protocol import hub_protocol
    from vnedoc.exchange.hub.app import make_admin_app, make_wires_app
    from vnedoc.exchange.hub.core import Hub
except ImportError as exc:
    raise MissingExtraError("hub.missing-server") from exc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vnedoc.exchange.hub.options import HubOptions

__all__ = ["ServeSettings", "TLSFiles", "listen", "serve_sockets", "tls_context", "uvicorn_config"]

BACKLOG = 1024
"""Connections that wait to be accepted."""
_ACCEPTED_AT_ONCE = 8
_KEEP_ALIVE_S = 65


@dataclasses.dataclass(frozen=True, slots=True)
class TLSFiles:
    """How a hub speaks TLS."""

    certificate: Path
    """PEM file with its certificate, and the ones above it."""
    key: Path
    """PEM file with its key."""
    passphrase: str | None = dataclasses.field(default=None, repr=False)
    """The passphrase of the key."""
    client_authorities: Path | None = None
    """PEM file with the authorities of clients; ``None``: no certificate is asked for."""
    client_required: bool = False
    """Whether a client without a certificate is turned away before it can say anything."""


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
    """How it speaks TLS; ``None``: plain HTTP."""
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


def tls_context(files: TLSFiles) -> ssl.SSLContext:
    """Return how TLS is spoken: 1.2 and later, HTTP/1.1.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a function, OpenSSL would ask at the terminal.
        context.load_cert_chain(files.certificate, files.key, password=lambda: files.passphrase or "")
        if files.client_authorities is not None:
            context.load_verify_locations(files.client_authorities)
            context.verify_mode = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
    except (OSError, ValueError) as exc:
        # The words of OpenSSL name no secret, but no file either.
        reason = f"{files.certificate}: {getattr(exc, 'reason', None) or getattr(exc, 'strerror', '')}"
        raise ConfigurationError("hub.bad-tls", reason=reason) from exc
    return context


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

    def cut(self) -> None:
        """End what is under way."""
        self.force_exit = self.should_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()


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
    context = None if settings.tls is None else tls_context(settings.tls)
    with contextlib.closing(settings.open_store()) as store:
        hub = Hub(store, options=settings.options)
        if settings.tls is not None:
            hub.metrics.certificate = settings.tls.certificate
        asyncio.run(_serve(hub, settings, context, wires, admin, lifeline, announce))


async def _serve(
    hub: Hub,
    settings: ServeSettings,
    context: ssl.SSLContext | None,
    wires: socket.socket,
    admin: socket.socket | None,
    lifeline: int | None,
    announce: Callable[[], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    limit_s = settings.stop_timeout_s
    first = _Server(
        uvicorn_config(
            make_wires_app(hub, with_health=admin is None), hub=hub, tls=context, stop_timeout_s=limit_s
        )
    )
    servers = [first]
    if admin is not None:
        servers.append(
            _Server(uvicorn_config(make_admin_app(hub), hub=hub, stop_timeout_s=limit_s, lifespan="off"))
        )

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
    if lifeline is not None:
        _watch(lifeline, loop, lambda: None if hub.is_stopping else stop(settings.drain_s))
    sockets = [wires] if admin is None else [wires, admin]
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, sockets, strict=True)
    ]
    while not all(server.started for server in servers) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.01)
    # uvicorn has made the line of those who wait as short as what is accepted at once.
    for listener in sockets:
        with contextlib.suppress(OSError):
            listener.listen(BACKLOG)
    if announce is not None:
        announce()
    await asyncio.wait(tasks[:1])
    for server in servers:
        server.finish()
    await asyncio.gather(*tasks)


def _watch(lifeline: int, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(lifeline, 64):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended)

    threading.Thread(target=wait, name="vnedoc-hub-lifeline", daemon=True).start()
