"""Real hubs in processes of their own, as ``vnedoc hub serve`` starts them: to be killed, stopped, put under load.

::

    with hub_service(folder, database=url, processes=4) as hub:
        httpx2.get(hub.admin_urls[0] + "/health/ready")

Several services on one database and one place for packages are one hub: start as many as are wanted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

from vnedoc.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["HubService", "free_ports", "hub_service"]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_COMMAND = "from vnedoc._cli.main import run; run()"


@dataclasses.dataclass(frozen=True, slots=True)
class HubService:
    """A running ``vnedoc hub serve``."""

    url: str
    """Where systems call, such as ``http://127.0.0.1:34567``."""
    admin_urls: tuple[str, ...]
    """Where each of its processes tells its health and its metrics."""
    process: subprocess.Popen[bytes]
    """The process that was started; with several, their parent."""
    log: Path
    """The file with its log."""

    def is_ready(self, number: int = 0) -> bool:
        """Tell whether one of its processes is ready for requests."""
        try:
            with urllib.request.urlopen(f"{self.admin_urls[number]}/health/ready", timeout=5) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_until_ready(self) -> None:
        """Wait until all of its processes are ready.

        Raises:
            InternalError: They are not, after a long time, or it has ended.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        for number in range(len(self.admin_urls)):
            while not self.is_ready(number):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise InternalError("hub.not-started")
                threading.Event().wait(0.02)


def free_ports(count: int) -> list[int]:
    """Return ports in a row that nobody listens on now."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports = [first.getsockname()[1] + step for step in range(count)]
            try:
                for port in ports[1:]:
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return ports


@contextlib.contextmanager
def hub_service(
    folder: Path,
    *,
    database: str | None = None,
    payloads: Path | str | None = None,
    processes: int = 1,
    arguments: Sequence[str] = (),
    settings: str | None = None,
    environment: Mapping[str, str] | None = None,
    is_tls: bool = False,
    ports: Sequence[int] | None = None,
) -> Iterator[HubService]:
    """Run ``vnedoc hub serve`` until the block ends; the hub must have been made.

    Args:
        folder: Where it lives, with its key and its log.
        database: A database URL; ``None``: the SQLite file in the folder.
        payloads: Where its packages are; ``None``: in the folder.
        processes: How many processes answer.
        arguments: Further arguments.
        settings: Lines of ``vnedoc.toml``.
        environment: Further variables.
        is_tls: Whether the arguments make it speak TLS.
        ports: The port for systems, and one for the administration of each process; ``None``: free ones.

    Raises:
        InternalError: It does not start.
    """
    port, *admin_ports = ports or free_ports(1 + processes)
    number = f"{port}"
    config = folder / f"vnedoc-{number}.toml"
    config.write_text(settings or "", encoding="utf-8")
    log = folder / f"hub-{number}.log"
    command = [sys.executable, "-c", _COMMAND, "--config", str(config), "hub", "--data", str(folder)]
    command += ["serve", "--port", str(port), "--admin-port", str(admin_ports[0])]
    command += ["--processes", str(processes), *arguments]
    if database is not None:
        command += ["--database", database]
    if payloads is not None:
        command += ["--payloads", str(payloads)]
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own words
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **(environment or {})},
        )
    service = HubService(
        f"{'https' if is_tls else 'http'}://127.0.0.1:{port}",
        tuple(f"http://127.0.0.1:{admin_port}" for admin_port in admin_ports),
        process,
        log,
    )
    try:
        service.wait_until_ready()
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
