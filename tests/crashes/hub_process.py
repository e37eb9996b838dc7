"""``vnedoc hub serve`` as a process of its own that is told where to die, and is started again on the same port."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from tests.crashes.traps import Trap, set_trap
from tests.hub_clients import free_port, wait_until_answers
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.testing.hub import RunningHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["HubProcess", "hub_process"]

_ARM_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 60.0


class HubProcess:
    """A hub that may be dead.

    Args:
        folder: Where it lives.
        database: The URL of its database.
        store: The same memory, open in this process.
    """

    def __init__(self, folder: Path, database: str, store: HubStore) -> None:
        self._folder, self._database = folder, database
        self._port = free_port()
        self._log = folder / "hub.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self.hub = RunningHub(f"http://127.0.0.1:{self._port}", folder, store, Hub(store))
        """How the offices see it, alive or not."""

    def start(self) -> None:
        """Start it, if it is not running, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        command = [sys.executable, "-m", "tests.crashes.hub_process", "hub", "--data", str(self._folder)]
        command += ["serve", "--database", self._database, "--port", str(self._port)]
        line, its_end = socket.socketpair()
        with its_end, self._log.open("ab") as output:
            # In a group of its own: what ends it ends nobody else.
            self._process = subprocess.Popen(
                command, stdin=its_end.fileno(), stdout=output, stderr=output, start_new_session=True
            )
        line.settimeout(_ARM_TIMEOUT_S)
        self._line = line
        wait_until_answers(self._port, self._process, log=self._log)

    def arm(self, trap: Trap) -> None:
        """Let it die at a step."""
        assert self._line is not None
        self._line.sendall(json.dumps(dataclasses.asdict(trap)).encode() + b"\n")
        assert self._line.recv(1) == b"."

    def was_killed(self) -> bool:
        """Tell whether it died where it was told to; if not, it is ended now."""
        assert self._process is not None
        is_dead = self._process.poll() == -signal.SIGKILL
        self.end()
        return is_dead

    def end(self) -> None:
        """End it, if it is running: what it reads from has an end."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextlib.contextmanager
def hub_process(folder: Path, database: str) -> Iterator[HubProcess]:
    """Give a hub that lives in a process of its own once it is started; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(HubStore.open(folder, url=database)) as store:
        process = HubProcess(folder, database, store)
        try:
            yield process
        finally:
            process.end()


def _listen() -> None:
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as line, line.makefile("r") as orders:
        for order in orders:
            set_trap(Trap(**json.loads(order)))
            line.sendall(b".")
    # Whoever started this process is gone, or wants it to be.
    os._exit(0)


def _main() -> None:
    threading.Thread(target=_listen, daemon=True).start()
    from vnedoc._cli.main import run

    run()


if __name__ == "__main__":
    _main()
