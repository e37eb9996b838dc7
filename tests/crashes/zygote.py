"""Start processes cheaply: one that imported everything, and is copied for each job (``fork`` without threads)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc.errors import VnedocError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crashes.jobs import Job

__all__ = ["Ended", "Zygote", "running_zygote"]

JOB_TIMEOUT_S = 120
_GRACE_S = 30


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    was_killed: bool
    """By SIGKILL."""
    how: str
    """``signal N`` or ``exit N``."""
    said: str
    """What it said, or its traceback."""


class Zygote:
    """The process that others are copied from."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *jobs: Job) -> list[Ended]:
        """Run jobs, each in a process of its own, all at the same time; wait until all have ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([job.to_json() for job in jobs]) + "\n")
        self._process.stdin.flush()
        # Each job ends by itself after a time; if even that fails, the row fails, and whoever runs the rows goes on.
        watchdog = threading.Timer(JOB_TIMEOUT_S + _GRACE_S, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, "the process that others are copied from is gone"
        return [Ended(**item) for item in json.loads(line)]


@contextlib.contextmanager
def running_zygote() -> Iterator[Zygote]:
    """Start it; it ends with the block, or with the process that started it."""
    command = [sys.executable, "-m", "tests.crashes.zygote"]
    # In a group of its own: no signal to those who die here reaches those who watch, nor the other way round.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        try:
            yield Zygote(process)
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _serve() -> None:
    from tests.crashes import jobs

    _warm_up()
    for line in sys.stdin:
        started = [_start(jobs.Job.from_json(document)) for document in json.loads(line)]
        ended = []
        for pid, pipe in started:
            with os.fdopen(pipe, "r", encoding="utf-8") as stream:
                said = stream.read()
            _, status = os.waitpid(pid, 0)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            ended.append({"was_killed": killed, "how": jobs.describe_exit(status), "said": said})
        sys.stdout.write(json.dumps(ended) + "\n")
        sys.stdout.flush()


def _warm_up() -> None:
    """Load everything that a process of an office loads sooner or later, once for all."""
    import vnedoc.exchange.judgement
    from vnedoc.exchange.stores.store import AgencyStore
    from vnedoc.testing.packages import make_package

    with tempfile.TemporaryDirectory(prefix="vnedoc-TEST-") as name:
        folder = Path(name)
        store = AgencyStore.open(f"sqlite:///{folder}/store.sqlite3", folder / "payloads")
        make_package(folder / "1.edxml", sender="H99.1", recipients=["H99.2"])
        with contextlib.suppress(VnedocError):
            store.find("TEST")
        store.close()
    with contextlib.suppress(ImportError):
        import psycopg  # noqa: F401 - so that forked children need not
        import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - the same
    assert vnedoc.exchange.judgement


def _start(job: Job) -> tuple[int, int]:
    from tests.crashes.jobs import run_job

    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    # What it prints is no answer of the one it is a copy of.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # A process that hangs ends, and is seen to have hung.
    signal.alarm(JOB_TIMEOUT_S)
    code = 1
    try:
        said = json.dumps(run_job(job))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is reported
        said = traceback.format_exc()
    os.write(writing, said.encode()[:60000])
    os._exit(code)


if __name__ == "__main__":
    _serve()
