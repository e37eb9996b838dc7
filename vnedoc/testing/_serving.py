"""Run an ASGI application on loopback: uvicorn in a thread, bound first, stopped at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

from vnedoc.errors import InternalError, MissingExtraError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

    import uvicorn

__all__ = ["ServerTLS", "serving"]

START_TIMEOUT_S = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class ServerTLS:
    """How a server on loopback speaks TLS."""

    certificate: Path
    """PEM file with its certificate for ``127.0.0.1``, and the ones above it."""
    key: Path
    """PEM file with its key."""
    client_authorities: Path | None = None
    """PEM file with the authorities of clients; a client without a certificate from them is not let in."""


@contextlib.contextmanager
def serving(
    app: Any,  # an ASGI application
    *,
    port: int = 0,
    tls: ServerTLS | None = None,
    protocol: type[asyncio.Protocol] | None = None,
) -> Iterator[str]:
    """Answer until the block ends; yields the address.

    Args:
        app: The ASGI application.
        port: The port; 0 takes a free one.
        tls: How it speaks TLS; ``None``: plain HTTP.
        protocol: How connections are treated; ``None``: as uvicorn does.

    Raises:
        MissingExtraError: The extra ``server`` is not installed.
    """
    try:
        import uvicorn
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listener(port))
        settings: dict[str, Any] = {}  # options of uvicorn
        if protocol is not None:
            settings["http"] = protocol
        if tls is not None:
            settings |= {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
            if tls.client_authorities is not None:
                settings["ssl_ca_certs"] = str(tls.client_authorities)
                settings["ssl_cert_reqs"] = ssl.CERT_REQUIRED
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="critical",
                access_log=False,
                server_header=False,
                # As the hub does: on a busy machine, seconds pass between two requests of one caller.
                timeout_keep_alive=65,
                # It would believe anybody on this machine.
                proxy_headers=False,
                ws="none",
                loop="asyncio",
                **settings,
            )
        )
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="vnedoc-hub", daemon=True
        )
        thread.start()
        stack.callback(_stop, server, thread)
        _wait_until_started(server, thread)
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"


def _listener(port: int) -> socket.socket:
    # With the protocol named, asyncio switches Nagle's algorithm off; else each answer waits 40 ms for an
    # acknowledgement. socket.create_server does not name it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise InternalError("hub.not-started")
        time.sleep(0.005)


def _stop(server: uvicorn.Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join(START_TIMEOUT_S)
