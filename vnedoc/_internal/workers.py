"""Work on many things in processes of their own, so that one that dies, hangs or eats the memory harms no other.

A pool of the standard library gives up as a whole when one worker dies, and runs the caller's main module once more
in every worker. Here a worker is a plain interpreter; the item that killed it gets its answer, and a fresh one goes
on with the next.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["Crew", "Lost", "run_isolated", "serve"]

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


class Crew(Generic[_Settings, _Item, _Result]):
    """Workers that stay at hand: used as a context manager, asked as often as there is something to do.

    Args:
        opener: A function of a module; entered in each process for each settings, it gives what works on one item.
        jobs: How many processes at most.
        limit_s: How long one item may take, counted from when a worker that is ready gets it.
        max_memory_bytes: How much address space a process may use beyond what it starts with; ``None``: no limit.
        preload: Modules that a process imports while nobody asks it anything yet.
    """

    def __init__(
        self,
        opener: Callable[[_Settings], AbstractContextManager[Callable[[_Item], _Result]]],
        *,
        jobs: int,
        limit_s: Callable[[_Item], float],
        max_memory_bytes: int | None = None,
        preload: tuple[str, ...] = (),
    ) -> None:
        self._opener = opener
        self._jobs = jobs
        self._limit_s = limit_s
        self._max_memory_bytes = max_memory_bytes
        self._preload = preload
        self._answers: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def __enter__(self) -> Crew[_Settings, _Item, _Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle, self._busy = [], []

    def warm_up(self) -> None:
        """Start one process that gets ready while the caller does something else."""
        if not self._idle:
            self._idle.append(self._hire())

    def work(self, settings: _Settings, items: Sequence[_Item]) -> Iterator[tuple[int, _Result | Lost]]:
        """Do something with each item in one of the processes.

        Args:
            settings: What the opener is called with; like items and results it crosses the process border.
            items: What is worked on.

        Yields:
            The position of each item with its answer, as they are done.
        """
        waiting = list(range(len(items)))[::-1]
        opening = pickle.dumps((self._opener, settings, self._max_memory_bytes))
        try:
            while waiting and len(self._busy) < self._jobs:
                self._give(self._take_on(), opening, waiting.pop(), items)
            while self._busy:
                worker, answer = self._next_answer()
                if answer is _Word.READY:
                    worker.give(items[worker.position], self._limit_s(items[worker.position]))
                    continue
                self._busy.remove(worker)
                if answer in (Lost.DIED, Lost.SLOW):
                    worker.end()
                else:
                    self._idle.append(worker)
                yield worker.position, answer
                if waiting:
                    self._give(self._take_on(), opening, waiting.pop(), items)
        finally:
            # Who stops asking must not get an old answer the next time.
            for worker in self._busy:
                worker.end()
            self._busy = []

    def _hire(self) -> _Worker:
        return _Worker(pickle.dumps(sys.path) + pickle.dumps(self._preload), self._answers)

    def _take_on(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            worker.end()
        return self._hire()

    def _give(self, worker: _Worker, opening: bytes, position: int, items: Sequence[_Item]) -> None:
        self._busy.append(worker)
        worker.position = position
        if worker.opened == opening:
            worker.give(items[position], self._limit_s(items[position]))
        else:
            worker.open(opening)

    def _next_answer(self) -> tuple[_Worker, Any]:
        while True:
            late = min(self._busy, key=lambda worker: worker.deadline)
            left = late.deadline - time.monotonic()
            try:
                worker, answer = self._answers.get(timeout=max(0.0, left))
            except queue.Empty:
                if late.deadline <= time.monotonic():
                    return late, Lost.SLOW
                continue
            if worker in self._busy:
                return worker, answer
            # The last words of one that was stopped already, or that died while it had nothing to do.
            if worker in self._idle:
                self._idle.remove(worker)
                worker.end()


def run_isolated(
    opener: Callable[[_Settings], AbstractContextManager[Callable[[_Item], _Result]]],
    settings: _Settings,
    items: Sequence[_Item],
    *,
    jobs: int,
    limit_s: Callable[[_Item], float],
    max_memory_bytes: int | None = None,
) -> Iterator[tuple[int, _Result | Lost]]:
    """Do something with each item in one of several processes that end with it; see :class:`Crew`."""
    with Crew(opener, jobs=jobs, limit_s=limit_s, max_memory_bytes=max_memory_bytes) as crew:
        yield from crew.work(settings, items)


class _Word(enum.Enum):
    READY = "ready"


class _Worker:
    """A process, and the thread that listens to it.

    Args:
        first: What it is told at once.
        answers: Where its answers go.
    """

    def __init__(self, first: bytes, answers: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        self.position = -1
        self.deadline = 0.0
        self.opened: bytes | None = None
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

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def open(self, opening: bytes) -> None:
        # The time that Python takes to start is nobody's fault; an item's own time begins when it is given.
        self.deadline = time.monotonic() + START_LIMIT_S
        self.opened = opening
        self._tell(pickle.dumps(("open", opening)))

    def give(self, item: object, limit_s: float) -> None:
        self.deadline = time.monotonic() + limit_s
        self._tell(pickle.dumps(("item", item)))

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
    for name in pickle.load(source):  # noqa: S301 - from our own process
        importlib.import_module(name)
    work: Callable[[Any], Any] | None = None
    is_limited = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                kind, value = pickle.load(source)  # noqa: S301 - from our own process
            except EOFError:
                return
            if kind == "open":
                stack.close()
                opener, settings, max_memory_bytes = pickle.loads(value)  # noqa: S301 - from our own process
                work = stack.enter_context(opener(settings))
                if max_memory_bytes is not None and not is_limited:
                    _limit_memory(max_memory_bytes)
                    is_limited = True
                answers.write(pickle.dumps(_Word.READY))
            else:
                assert work is not None
                answers.write(_answer(work, value))
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
