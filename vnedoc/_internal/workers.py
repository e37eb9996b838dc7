"""Work on many things in processes of their own, so that one that dies, hangs or eats the memory harms no other.

A pool of the standard library gives up as a whole when one worker dies, and runs the caller's main module once more
in every worker. Here a worker is a plain interpreter; the item that killed it gets its answer, and a fresh one goes
on with the next.
"""

from __future__ import annotations

import contextlib
import enum
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["Lost", "run_isolated", "serve"]

_Settings = TypeVar("_Settings")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

START_LIMIT_S = 120.0
"""How long a worker may take to start; a busy machine is slow to import things."""
_PROGRAM = """\
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from vnedoc._internal.workers import serve
serve()
"""


class Lost(enum.StrEnum):
    """Why there is no answer for an item."""

    DIED = "died"
    """The worker ended without an answer."""
    SLOW = "slow"
    """It took too long."""
    MEMORY = "memory"
    """It took too much memory."""
    BUG = "bug"
    """It raised what it should not."""


def run_isolated(
    opener: Callable[[_Settings], AbstractContextManager[Callable[[_Item], _Result]]],
    settings: _Settings,
    items: Sequence[_Item],
    *,
    jobs: int,
    limit_s: Callable[[_Item], float],
    max_memory_bytes: int | None = None,
) -> Iterator[tuple[int, _Result | Lost]]:
    """Do something with each item in one of several processes.

    Args:
        opener: A function of a module; entered once in each process, it gives what works on one item.
        settings: What the opener is called with; like items and results it crosses the process border.
        items: What is worked on.
        jobs: How many processes.
        limit_s: How long one item may take.
        max_memory_bytes: How much address space a process may use beyond what it starts with; ``None``: no limit.

    Yields:
        The position of each item with its answer, as they are done.
    """
    waiting = list(range(len(items)))[::-1]
    answers: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
    first = pickle.dumps(sys.path) + pickle.dumps((opener, settings, max_memory_bytes))
    workers: list[_Worker] = []

    def give(worker: _Worker | None) -> None:
        if worker is None:
            worker = _Worker(first, answers)
            workers.append(worker)
        position = waiting.pop()
        worker.give(position, items[position], limit_s(items[position]))

    try:
        for _ in range(min(jobs, len(items))):
            give(None)
        while workers:
            soonest = min(worker.deadline for worker in workers)
            answer: Any  # the work's, or Lost
            try:
                worker, answer = answers.get(timeout=max(0.0, soonest - time.monotonic()))
            except queue.Empty:
                late = min(workers, key=lambda candidate: candidate.deadline)
                if late.deadline > time.monotonic():
                    continue
                worker, answer = late, Lost.SLOW
            if worker not in workers:
                # The last words of one that was stopped already.
                continue
            is_alive = answer not in (Lost.DIED, Lost.SLOW)
            worker.is_warm = True
            if not is_alive or not waiting:
                workers.remove(worker)
                worker.end()
            yield worker.position, answer
            if waiting:
                give(worker if is_alive else None)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process, and the thread that listens to it.

    Args:
        first: What it is told before the first item.
        answers: Where its answers go.
    """

    def __init__(self, first: bytes, answers: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        self.position = -1
        self.deadline = 0.0
        self.is_warm = False
        self._process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        listener = threading.Thread(target=self._listen, args=(self._process.stdout, answers), daemon=True)
        self._listener = listener
        listener.start()
        self._tell(first)

    def give(self, position: int, item: object, limit_s: float) -> None:
        self.position = position
        self.deadline = time.monotonic() + limit_s + (0.0 if self.is_warm else START_LIMIT_S)
        self._tell(pickle.dumps(item))

    def end(self) -> None:
        # A worker that computes does not notice that nobody listens.
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _tell(self, message: bytes) -> None:
        assert self._process.stdin is not None
        # One that ended already is found out by its listener.
        with contextlib.suppress(OSError):
            self._process.stdin.write(message)
            self._process.stdin.flush()

    def _listen(self, stream: BinaryIO, answers: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        while True:
            try:
                answer = pickle.load(stream)  # noqa: S301 - from our own process
            except Exception:  # noqa: BLE001 - whatever half an answer looks like, the worker is gone
                answers.put((self, Lost.DIED))
                return
            answers.put((self, answer))


def serve() -> None:
    """Be a worker: read what to do from standard input, answer on standard output, until the input ends."""
    source = sys.stdin.buffer
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    opener, settings, max_memory_bytes = pickle.load(source)  # noqa: S301 - from our own process
    with opener(settings) as work:
        if max_memory_bytes is not None:
            _limit_memory(max_memory_bytes)
        while True:
            try:
                item = pickle.load(source)  # noqa: S301 - from our own process
            except EOFError:
                return
            answers.write(_answer(work, item))
            answers.flush()


def _answer(work: Callable[[Any], Any], item: object) -> bytes:
    try:
        return pickle.dumps(work(item))
    except MemoryError:
        return pickle.dumps(Lost.MEMORY)
    except Exception:  # noqa: BLE001 - the edge of a worker: the item gets an answer, the others go on
        return pickle.dumps(Lost.BUG)


def _limit_memory(more_bytes: int) -> None:
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        # Only Linux says how much is used; elsewhere the time limit remains.
        return
