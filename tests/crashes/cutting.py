"""A way to a server that breaks after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PIECE_BYTES", "cutting_proxy"]

PIECE_BYTES = 64 * 1024
"""How much goes through at a time."""


class CuttingProxy:
    """A way to a server that breaks after so many bytes of one direction."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._limits: dict[str, int | None] = {"up": None, "down": None}
        self._sockets: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self, *, up: int | None = None, down: int | None = None) -> None:
        """Break the next connections after so many bytes."""
        self._limits = {"up": up, "down": down}

    def close(self) -> None:
        """Cut everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for end in self._sockets:
            _cut(end)
        for pump in self._pumps:
            pump.join(10)
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            for source, sink, way in ((client, server, "up"), (server, client, "down")):
                pump = threading.Thread(
                    target=self._pump, args=(source, sink, self._limits[way]), daemon=True
                )
                self._pumps.append(pump)
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                piece = data if limit is None else data[: max(0, limit - passed)]
                passed += len(piece)
                sink.sendall(piece)
                if len(piece) < len(data):
                    break
        _cut(source)
        _cut(sink)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cutting_proxy(target: str) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
