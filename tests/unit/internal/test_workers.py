"""Work in processes of their own: every item gets an answer, whatever one of them does to its process."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from vnedoc._internal import workers
from vnedoc._internal.workers import Crew, Lost, run_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEGABYTE = 1024 * 1024


@contextlib.contextmanager
def opener(factor: int) -> Iterator[Callable[[object], object]]:
    def work(item: object) -> object:
        match item:
            case "die":
                os._exit(3)
            case "hang":
                time.sleep(600)
            case "eat":
                return bytes(4096 * MEGABYTE)
            case "raise":
                raise KeyError(item)
            case "print":
                print("TEST", flush=True)
                return "printed"
            case int():
                return item * factor
        return item

    yield work


def answers(items: list[object], *, jobs: int = 2, limit_s: float = 60.0) -> dict[int, object]:
    found = list(
        run_isolated(opener, 10, items, jobs=jobs, limit_s=lambda _: limit_s, max_memory_bytes=512 * MEGABYTE)
    )
    assert len(found) == len(items)
    return dict(found)


def test_every_item_gets_its_answer() -> None:
    assert answers([1, 2, 3, 4, 5]) == {0: 10, 1: 20, 2: 30, 3: 40, 4: 50}
    assert answers([]) == {}


@pytest.mark.parametrize(
    ("item", "lost"),
    [("die", Lost.DIED), ("eat", Lost.MEMORY), ("raise", Lost.BUG), ("print", "printed")],
)
def test_one_bad_item_harms_no_other(item: str, lost: object) -> None:
    assert answers([1, item, 2, item, 3]) == {0: 10, 1: lost, 2: 20, 3: lost, 4: 30}


def test_what_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "START_LIMIT_S", 20.0)
    assert answers([1, "hang", 2], jobs=1, limit_s=0.2) == {0: 10, 1: Lost.SLOW, 2: 20}


def test_workers_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PROGRAM", "raise SystemExit")
    assert answers([1, 2, 3]) == {0: Lost.DIED, 1: Lost.DIED, 2: Lost.DIED}


def test_stopping_early_leaves_no_process() -> None:
    running = run_isolated(opener, 1, [1, "hang", "hang"], jobs=2, limit_s=lambda _: 60.0)
    assert next(running) == (0, 1)
    running.close()


@contextlib.contextmanager
def slow_opener(factor: int) -> Iterator[Callable[[int], tuple[int, int]]]:
    time.sleep(0.6)
    yield lambda item: (os.getpid(), item * factor)


def test_a_crew_works_again_and_again_in_the_same_processes() -> None:
    with Crew(slow_opener, jobs=1, limit_s=lambda _: 0.5, preload=("json",)) as crew:
        crew.warm_up()
        # What it takes to get ready is longer than an item may take, and does not count.
        first = [answer for _, answer in crew.work(2, [1, 2])]
        again = [answer for _, answer in crew.work(3, [1])]
    assert [answer[1] for answer in (*first, *again)] == [2, 4, 3]
    assert len({answer[0] for answer in (*first, *again)}) == 1


def test_a_worker_that_died_of_one_call_is_replaced_in_the_next() -> None:
    with Crew(opener, jobs=2, limit_s=lambda _: 60.0) as crew:
        crew.warm_up()
        assert dict(crew.work(10, ["die", 1])) == {0: Lost.DIED, 1: 10}
        assert dict(crew.work(10, [2])) == {0: 20}
        crew._idle[0]._process.kill()
        crew._idle[0]._process.wait()
        assert dict(crew.work(10, [3, 4])) == {0: 30, 1: 40}


def test_who_stops_asking_gets_no_old_answer() -> None:
    with Crew(opener, jobs=2, limit_s=lambda _: 60.0) as crew:
        early = crew.work(10, [1, "hang"])
        assert next(early) == (0, 10)
        early.close()
        assert dict(crew.work(10, [5])) == {0: 50}
