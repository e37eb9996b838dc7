"""A real hub on loopback for tests and demonstrations: uvicorn in a thread, stopped at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import InternalError, MissingExtraError
from vnedoc.exchange.stores.hub import HubAgency, HubStore

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator

    import uvicorn

    from vnedoc.exchange.hub.options import HubOptions

__all__ = ["RunningHub", "running_hub"]

START_TIMEOUT_S = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub that answers."""

    url: str
    """Its address, such as ``http://127.0.0.1:34567``."""
    folder: Path
    """Where its database and its packages are."""
    store: HubStore
    """Its memory."""

    def add_system(self, system_id: str, *agencies: HubAgency | str) -> str:
        """Let a system call the hub for agencies, and return its secret.

        Args:
            system_id: The id of the system.
            agencies: The agencies it sends and receives for; a code alone is an agency whose name is its code.
        """
        secret = secrets.token_hex(32)
        self.store.add_system(system_id, name=system_id, secret=secret, at=utc_now())
        self.store.register_agencies(
            system_id,
            [HubAgency(agency, agency) if isinstance(agency, str) else agency for agency in agencies],
        )
        return secret


@contextlib.contextmanager
def running_hub(
    folder: Path | None = None,
    *,
    options: HubOptions | None = None,
    clock: Callable[[], datetime.datetime] = utc_now,
    port: int = 0,
) -> Iterator[RunningHub]:
    """Run a hub on loopback until the block ends.

    Args:
        folder: Where it lives; ``None`` makes a folder that is removed at the end.
        options: How it behaves.
        clock: Tells the hub the time.
        port: The port; 0 takes a free one.

    Raises:
        MissingExtraError: The extra ``server`` is not installed.
    """
    try:
        import uvicorn
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc
    from vnedoc.exchange.hub.app import make_app
    from vnedoc.exchange.hub.options import HubOptions

    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-hub-")))
        store = HubStore.open(folder)
        stack.callback(store.close)
        listener = stack.enter_context(_listener(port))
        app = make_app(store, options=options or HubOptions(), clock=clock)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False, ws="none", loop="asyncio"
            )
        )
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="vnedoc-hub", daemon=True
        )
        thread.start()
        stack.callback(_stop, server, thread)
        _wait_until_started(server, thread)
        yield RunningHub(f"http://127.0.0.1:{listener.getsockname()[1]}", folder, store)


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
