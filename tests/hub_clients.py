"""Programs that call a hub by its VXP wire, as cheaply as Python can: for loads, and for tests of whole processes.

One socket for each, kept open; requests are built by hand, so that the caller costs little beside what it measures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vnedoc._internal.clock import utc_now
from vnedoc.exchange import _vxp
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NUMBER = 100_000_000
_SERVER = "from vnedoc._cli.main import run; run()"


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a hub answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def envelope(self) -> dict[str, Any]:
        """Return the envelope of the wire."""
        return json.loads(self.body)


class HubClient:
    """One system, on one connection.

    Args:
        ports: Where processes of one hub answer on loopback; each new connection goes to the next.
        system_id: The system.
        secret: Its secret.
        first: Which of the ports comes first.
        timeout_s: How long an answer may take.
    """

    def __init__(
        self, ports: Sequence[int], system_id: str, secret: str, *, first: int = 0, timeout_s: float = 60.0
    ) -> None:
        self._ports = itertools.cycle([*ports[first % len(ports) :], *ports[: first % len(ports)]])
        self._system_id = system_id
        self._secret = secret
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        # Requests of one system in one millisecond must differ.
        self._nonces = itertools.count(int.from_bytes(os.urandom(6)))

    def close(self) -> None:
        """Close the connection; the next request opens one to the next port."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, content: bytes, *, sender: str, kind: str = "edoc") -> Reply:
        """Send a package."""
        return self.call(*self.package(content, sender=sender, kind=kind))

    def package(
        self, content: bytes, *, sender: str, kind: str = "edoc"
    ) -> tuple[str, str, list[tuple[str, str]], bytes]:
        """Return what :meth:`call` and :meth:`request` are given to send a package."""
        parameters = [
            ("servicetype", "eDoc"),
            ("messagetype", kind),
            ("hash-file", _vxp.file_hash(hashlib.sha256(content).digest())),
            ("from", sender),
        ]
        return "POST", _vxp.SEND_PATH, parameters, content + _vxp.BODY_TAIL

    def listed(self, kind: str = "edoc") -> Reply:
        """Ask what waits."""
        return self.call("POST", _vxp.RECEIVED_PATH, [("servicetype", "eDoc"), ("messagetype", kind)])

    def download(self, doc_id: str) -> Reply:
        """Fetch a package."""
        return self.call("GET", _vxp.DOWNLOAD_PATH, [("docId", doc_id)])

    def done(self, doc_id: str) -> Reply:
        """Say that a package was taken over."""
        return self.call("POST", _vxp.STATUS_PATH, [("docId", doc_id), ("status", "done")])

    def call(self, method: str, path: str, parameters: Sequence[tuple[str, str]], body: bytes = b"") -> Reply:
        """Make one request; the connection is closed if it fails.

        Raises:
            OSError: Nobody answered, or not to the end.
        """
        request = self.request(method, path, parameters, body)
        try:
            if self._socket is None:
                self._socket = self.connect(next(self._ports))
            # In one piece: a head of its own would be a packet of its own.
            self._socket.sendall(request)
            return self.read(self._socket)
        except BaseException:
            self.close()
            raise

    def request(
        self, method: str, path: str, parameters: Sequence[tuple[str, str]], body: bytes = b""
    ) -> bytes:
        """Return a signed request as it goes over the wire."""
        signed = [
            ("systemid", self._system_id),
            *parameters,
            ("nonce", str(next(self._nonces))),
            ("timestamp", _vxp.timestamp(utc_now())),
            ("Content-Type", _vxp.OCTET_TYPE),
        ]
        headers = _vxp.request_headers(signed, self._secret)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return head.encode() + b"\r\n" + body

    def connect(self, port: int) -> socket.socket:
        """Open a connection."""
        connection = socket.create_connection(("127.0.0.1", port), self._timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def read(self, connection: socket.socket) -> Reply:
        """Read the answer to a request; the connection of this client is closed if the hub says so."""
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionResetError("the hub closed the connection")
            buffer += piece
        head, _, body = buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        pieces, missing = [body], int(headers.get("content-length", "0")) - len(body)
        while missing > 0:
            piece = connection.recv(min(missing, 1 << 20))
            if not piece:
                raise ConnectionResetError("the answer was cut short")
            pieces.append(piece)
            missing -= len(piece)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(int(lines[0].split()[1]), headers, b"".join(pieces))


class Packages:
    """Packages that differ in their number and identifier only, made from one template without parsing.

    Args:
        folder: A folder for the template.
        sender: Code in ``From``.
        recipients: Codes in ``To``.
        size: About how many bytes each has.
    """

    def __init__(self, folder: Path, *, sender: str, recipients: Sequence[str], size: int = 2_000) -> None:
        path = folder / f"TEST-template-{sender}-{size}-{len(recipients)}.edxml"
        header = 3_000 + 300 * len(recipients)
        # Base64 makes four bytes of three.
        content = hashlib.shake_128(f"TEST {sender}".encode()).digest(max(32, (size - header) * 3 // 4))
        make_package(path, sender=sender, recipients=recipients, number=_NUMBER, content=content)
        self._parts = path.read_bytes().split(str(_NUMBER).encode())

    def number(self, number: int) -> bytes:
        """Return one of them."""
        return str(_NUMBER + number).encode().join(self._parts)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving_processes(
    folder: Path, *arguments: str, config: Path | None = None, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``vnedoc hub serve`` in a process of its own until the block ends.

    Args:
        folder: The folder of the hub.
        arguments: Options of ``serve``.
        config: The settings.
        log: Where its log goes.
    """
    given = [] if config is None else ["--config", str(config)]
    command = [sys.executable, "-c", _SERVER, *given, "hub", "--data", str(folder), "serve", *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_answers(
    port: int, process: subprocess.Popen[bytes], *, log: Path, limit_s: float = 60.0
) -> None:
    """Wait until somebody answers on a port; fail if the process ends before."""
    deadline = time.monotonic() + limit_s
    while True:
        assert process.poll() is None, f"the hub ended: {log.read_text(encoding='utf-8')[-3000:]}"
        assert time.monotonic() < deadline, "the hub does not answer"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            if b" 200 " in connection.recv(64):
                return
        time.sleep(0.02)
