"""Several processes of a hub on one machine: they share the socket, and one that ends is replaced.

The parent opens the sockets and answers nothing itself. Each process is a plain interpreter that is told over its
standard input what to do, so that no password stands on a command line; when that input ends, the parent is gone, and
the process stops as if it had been told to.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError
from vnedoc.exchange.hub.logs import log_to
from vnedoc.exchange.hub.serving import serve_sockets, warn_of_plain_pages
from vnedoc.exchange.hub.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from vnedoc.exchange.hub.serving import ServeSettings

__all__ = ["child", "serve_processes"]

logger = logging.getLogger("vnedoc.hub")

MAX_EARLY_ENDS = 5
"""How many processes in a row may end right after they began."""
_EARLY_S = 10.0
_LOOK_EVERY_S = 0.2
_KILL_AFTER_S = 10.0
# Until it has read its files, there is nothing to be read again; and a SIGHUP would end it. A SIGINT shall end it,
# without a traceback.
_PROGRAM = """\
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_DFL)
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from vnedoc.exchange.hub.processes import child
child()
"""


def serve_processes(
    settings: ServeSettings,
    *,
    wires: socket.socket,
    admin: Sequence[socket.socket] = (),
    processes: int,
    announce: Callable[[], None] | None = None,
) -> None:
    """Answer with several processes until this one is told to stop.

    Args:
        settings: How.
        wires: Where systems call; all processes accept connections from it.
        admin: One socket for each process, where those call who run the hub; or none.
        processes: How many.
        announce: Called when the processes were started.

    Raises:
        ConfigurationError: The settings do not fit together, or the processes end again and again.
    """
    log_to(form=settings.log_format)
    warn_of_plain_pages(settings, wires=wires, admin=admin[0] if admin else None)
    # What is wrong is found out once, and the tables are brought up to date by one.
    settings.open_store().close()
    for files in (settings.tls, settings.admin_tls):
        if files is not None:
            tls_context(files)
    family = _Family(settings, wires, admin, processes)
    with _stopping(family.look_again) as signals:
        try:
            family.start()
            if announce is not None:
                announce()
            family.keep(signals)
        finally:
            family.end()


class _Family:
    def __init__(
        self, settings: ServeSettings, wires: socket.socket, admin: Sequence[socket.socket], processes: int
    ) -> None:
        self._settings = settings
        self._wires = wires
        self._admin = admin
        self._children: list[subprocess.Popen[bytes]] = []
        self._began: list[float] = []
        self._processes = processes
        self._early = 0

    def start(self) -> None:
        for number in range(self._processes):
            self._children.append(self._begin(number))
            self._began.append(time.monotonic())

    def keep(self, signals: _Signals) -> None:
        """Replace processes that end, until told to stop; then wait for all of them."""
        while not signals.wait(_LOOK_EVERY_S):
            for number, process in enumerate(self._children):
                if process.poll() is not None:
                    self._replace(number, process, signals)
        self._tell(signals.last)
        told, told_at = 1, time.monotonic()
        limit_s = self._settings.drain_s + self._settings.stop_timeout_s + _KILL_AFTER_S
        while any(process.poll() is None for process in self._children):
            time.sleep(0.05)
            if signals.count > told:
                told, limit_s, told_at = signals.count, _KILL_AFTER_S, time.monotonic()
                self._tell(signals.last)
            if time.monotonic() - told_at > limit_s:
                return

    def look_again(self) -> None:
        """Let all processes read the files of TLS again."""
        self._tell(signal.SIGHUP)

    def end(self) -> None:
        """See to it that none is left."""
        for process in self._children:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def _replace(self, number: int, process: subprocess.Popen[bytes], signals: _Signals) -> None:
        is_early = time.monotonic() - self._began[number] < _EARLY_S
        self._early = self._early + 1 if is_early else 0
        logger.error(
            "a process ended",
            extra={"ended": process.pid, "code": process.returncode, "is_early": is_early},
        )
        if self._early >= MAX_EARLY_ENDS:
            raise ConfigurationError("hub.processes-fail")
        if is_early and signals.wait(min(2.0**self._early, 10.0) / 4):
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        self._children[number] = self._begin(number)
        self._began[number] = time.monotonic()

    def _begin(self, number: int) -> subprocess.Popen[bytes]:
        handles = [self._wires.fileno()]
        if self._admin:
            handles.append(self._admin[number].fileno())
        process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            pass_fds=handles,
            # Ctrl+C at the terminal is for the parent, who tells the others; twice would be once too often.
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.write(pickle.dumps(sys.path) + pickle.dumps((self._settings, handles)))
            process.stdin.flush()
        return process

    def _tell(self, number: signal.Signals) -> None:
        for process in self._children:
            if process.poll() is None:
                process.send_signal(number)


class _Signals:
    """How often this process was told to stop, and how."""

    def __init__(self) -> None:
        self.count = 0
        self.last = signal.SIGTERM
        self._event = threading.Event()

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.last = signal.Signals(number)
        self._event.set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)


@contextlib.contextmanager
def _stopping(look_again: Callable[[], None]) -> Iterator[_Signals]:
    signals = _Signals()
    before = {number: signal.signal(number, signals.note) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda _number, _frame: look_again())
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def child() -> None:
    """Be one of the processes: read from standard input what to do, and do it until told to stop."""
    settings, handles = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own process
    sockets = [socket.socket(fileno=handle) for handle in handles]
    serve_sockets(
        settings,
        wires=sockets[0],
        admin=sockets[1] if len(sockets) > 1 else None,
        lifeline=sys.stdin.fileno(),
    )
