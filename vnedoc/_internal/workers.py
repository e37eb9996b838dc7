"""Work on many things in processes of their own, so that one that dies, hangs or eats the memory harms no other.

A pool of the standard library gives up as a whole when one worker dies; here the item that killed it gets its answer,
and a fresh worker goes on with the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import multiprocessing
import time
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.process import BaseProcess

__all__ = ["Lost", "run_isolated"]

_Settings = TypeVar("_Settings")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

START_LIMIT_S = 120.0
"""How long a worker may take to start; a busy machine is slow to import things."""


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


@dataclasses.dataclass(slots=True)
class _Worker(Generic[_Item]):
    process: BaseProcess
    connection: Connection
    is_warm: bool = False
    position: int | None = None
    deadline: float = 0.0


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
        settings: What the opener is called with; it crosses the process border.
        items: What is worked on.
        jobs: How many processes.
        limit_s: How long one item may take.
        max_memory_bytes: How much address space a process may use beyond what it starts with; ``None``: no limit.

    Yields:
        The position of each item with its answer, as they are done.
    """
    # A fork would copy locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    waiting = list(range(len(items)))[::-1]
    workers: list[_Worker[_Item]] = []

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, opener, settings, max_memory_bytes), daemon=True
        )
        process.start()
        theirs.close()
        workers.append(_Worker(process, ours))

    def give(worker: _Worker[_Item]) -> None:
        worker.position = waiting.pop()
        item = items[worker.position]
        worker.deadline = time.monotonic() + limit_s(item) + (0.0 if worker.is_warm else START_LIMIT_S)
        # A worker that ended already is found out by the one who waits for its answer.
        with contextlib.suppress(BrokenPipeError):
            worker.connection.send(item)

    try:
        for _ in range(min(jobs, len(items))):
            start()
            give(workers[-1])
        while workers:
            soonest = min(worker.deadline for worker in workers)
            ready = wait(
                [worker.connection for worker in workers], timeout=max(0.0, soonest - time.monotonic())
            )
            for worker in list(workers):
                position = worker.position
                assert position is not None
                answer: _Result | Lost
                if worker.connection in ready:
                    answer, alive = _receive(worker)
                    worker.is_warm = True
                elif time.monotonic() > worker.deadline:
                    answer, alive = Lost.SLOW, False
                else:
                    continue
                if not alive:
                    _end(worker)
                    workers.remove(worker)
                yield position, answer
                if not waiting:
                    if alive:
                        _end(worker)
                        workers.remove(worker)
                elif alive:
                    give(worker)
                else:
                    start()
                    give(workers[-1])
    finally:
        for worker in workers:
            _end(worker)


def _receive(worker: _Worker[_Item]) -> tuple[Any, bool]:  # whatever the work returns
    try:
        return worker.connection.recv(), True
    except (EOFError, OSError):
        return Lost.DIED, False


def _end(worker: _Worker[_Item]) -> None:
    worker.connection.close()
    # A worker that computes does not notice that nobody listens.
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def _serve(
    connection: Connection,
    opener: Callable[[Any], AbstractContextManager[Callable[[Any], Any]]],
    settings: Any,  # the caller's
    max_memory_bytes: int | None,
) -> None:
    with opener(settings) as work:
        if max_memory_bytes is not None:
            _limit_memory(max_memory_bytes)
        while True:
            try:
                item = connection.recv()
            except (EOFError, OSError):
                return
            answer: Any  # the work's, or Lost
            try:
                answer = work(item)
            except MemoryError:
                answer = Lost.MEMORY
            except Exception:  # noqa: BLE001 - the edge of a worker: the item gets an answer, the others go on
                answer = Lost.BUG
            try:
                connection.send(answer)
            except (BrokenPipeError, OSError):
                return


def _limit_memory(more_bytes: int) -> None:
    try:
        import resource
        from pathlib import Path

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        # Only Linux says how much is used; elsewhere the time limit remains.
        return
