"""The row about duplicates: a thousand connections bring the same package at the same time."""

from __future__ import annotations

import contextlib
import resource
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.crashes.looking import expect_whole
from tests.hub_clients import HubClient
from vnedoc.exchange.codes import PackageKind

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.crashes.places import Place
    from vnedoc.exchange.hub.core import Hub

__all__ = ["DUPLICATES", "duplicates"]

DUPLICATES = 1000
"""How many connections there are."""
# Each connection has two ends here, and the hub files of its own.
_FILES = 3 * DUPLICATES
_LIMIT_S = 60.0
_LET_IN_S = 4.0
_COME_LATER = (429, 503)


def duplicates(place: Place) -> str:
    """A thousand connections bring one package; not one of them has sent it to the end before all have begun.

    The hub lets a few hundred in, lets a few hundred wait, and tells the others to come later, which they do.
    """
    with place.world() as world, _many_files(_FILES):
        path = world.package(size=1000)
        port = urlsplit(world.hub.url).port
        assert port is not None
        client = HubClient([port], f"TEST.{world.a.code}", world.a.account.secret)
        package = client.package(path.read_bytes(), sender=world.a.code)
        receipts: list[bytes] = []
        turned_away = 0
        deadline = time.monotonic() + _LIMIT_S
        while (missing := DUPLICATES - len(receipts)) > 0:
            assert time.monotonic() < deadline, f"{missing} of {DUPLICATES} have no receipt"
            came, pause_s = _wave(
                client, port, [client.request(*package) for _ in range(missing)], place.hub.hub
            )
            receipts += came
            turned_away += missing - len(came)
            time.sleep(pause_s)
        assert len(receipts) == DUPLICATES
        assert turned_away > 0, "the hub let all in at the same time"
        # Byte for byte, not the id alone.
        assert len(set(receipts)) == 1
        [row] = world.hub.store.sent(f"TEST.{world.a.code}", PackageKind.DOCUMENT)
        message = world.a.exchange.send(path)
        assert message.remote_doc_id == row.sender_doc_id
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return f"{DUPLICATES} connections, the same receipt for all; once"


def _wave(client: HubClient, port: int, requests: list[bytes], hub: Hub) -> tuple[list[bytes], float]:
    """Make requests at the same time; return the receipts, and how long the others are told to wait."""
    with contextlib.ExitStack() as stack:
        open_now: list[socket.socket] = []
        for request in requests:
            connection = stack.enter_context(client.connect(port))
            connection.sendall(request[:-1])
            open_now.append(connection)
        _wait_until_crowded(hub, len(requests))
        for connection, request in zip(open_now, requests, strict=True):
            # Who was told to come later may find the connection closed.
            with contextlib.suppress(OSError):
                connection.sendall(request[-1:])
        receipts: list[bytes] = []
        pause_s = 0.0
        for connection in open_now:
            try:
                reply = client.read(connection)
            except OSError:
                pause_s = max(pause_s, 1.0)
                continue
            if reply.status in _COME_LATER:
                pause_s = max(pause_s, float(reply.headers["retry-after"]))
                continue
            assert reply.status == 200, reply
            assert reply.envelope()["status"] == "OK", reply
            receipts.append(reply.body)
        return receipts, pause_s


def _wait_until_crowded(hub: Hub, count: int) -> None:
    """Wait until the hub has let in as many as it can, and as many stand in line; on a busy machine not for ever."""
    enough = min(count, 2 * hub.options.limits.uploads_per_system)
    deadline = time.monotonic() + _LET_IN_S
    while hub.shares.uploads + hub.shares.waiting < enough and time.monotonic() < deadline:
        time.sleep(0.01)


@contextlib.contextmanager
def _many_files(count: int) -> Iterator[None]:
    """Let this process have so many files open, beside those that it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1000
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"{wanted} files must be allowed (ulimit -Hn)"
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
