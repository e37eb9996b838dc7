"""Work in common: what threads of a process want to have on the disk at the same time gets there together.

Each commit waits for the disk, and a SQLite file has one writer at a time. Who comes while another is at work joins
those who wait; the next of them does the work of all in one transaction. For those who said that they are about to
come it waits a moment: one of many costs a fraction of one alone. Nobody is told "done" before the common commit is
on the disk, and what fails takes nothing with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from sqlalchemy import orm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Failed", "Together", "behind_savepoints"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_MAX_BATCH = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """That one of several did not work out; the others did."""

    error: Exception
    """Why."""


class _Job(Generic[_Item, _Result]):
    def __init__(self, item: _Item) -> None:
        self.item = item
        self.is_over = False
        self.is_alone = True
        self.result: _Result | None = None
        self.error: BaseException | None = None


class Together(Generic[_Item, _Result]):
    """The work of many threads in few transactions.

    Args:
        do: Does the work of some of them in one transaction, and returns what comes of each when it is on the disk.
            If it raises, nothing of it is there, and each of them does its own alone. It may be called several times.
        patience_s: For how long those who are about to come are waited for.
    """

    def __init__(
        self, do: Callable[[Sequence[_Item]], Sequence[_Result | Failed]], *, patience_s: float = 0.0
    ) -> None:
        self._do = do
        self._patience_s = patience_s
        self._waiting: list[_Job[_Item, _Result]] = []
        self._coming = 0
        self._list = threading.Lock()
        self._all_came = threading.Condition(self._list)
        self._turn = threading.Lock()
        self._thread = threading.local()

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Say that this thread is about to come with its work, or to find that it has none, before the block ends."""
        with self._list:
            self._coming += 1
        self._thread.is_coming = True
        try:
            yield
        finally:
            with self._list:
                self._came()

    def run(self, item: _Item) -> _Result:
        """Do one thread's work, and return what comes of it when that is on the disk; raise why it failed."""
        job: _Job[_Item, _Result] = _Job(item)
        with self._list:
            self._waiting.append(job)
            self._came()
        while not job.is_over:
            with self._turn:
                if not job.is_over:
                    self._work(self._gathered())
        if isinstance(job.error, Exception) and not job.is_alone:
            # It may be somebody else's fault, and whose it is shows when each tries for himself.
            job.error = None
            self._work([job])
        if job.error is not None:
            raise job.error
        return cast("_Result", job.result)

    def _came(self) -> None:
        if getattr(self._thread, "is_coming", False):
            self._thread.is_coming = False
            self._coming -= 1
            if not self._coming:
                self._all_came.notify_all()

    def _gathered(self) -> list[_Job[_Item, _Result]]:
        until = time.monotonic() + self._patience_s
        with self._list:
            while self._coming and len(self._waiting) < _MAX_BATCH and (left := until - time.monotonic()) > 0:
                self._all_came.wait(left)
            batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
        return batch

    def _work(self, batch: Sequence[_Job[_Item, _Result]]) -> None:
        try:
            outcomes = self._do([job.item for job in batch])
            for job, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Failed):
                    job.error = outcome.error
                else:
                    job.result = outcome
        except BaseException as error:
            # Whatever it is: nothing of it is on the disk, and each thread must hear that.
            for job in batch:
                job.error, job.is_alone = error, len(batch) == 1
            if not isinstance(error, Exception):
                raise
        finally:
            for job in batch:
                job.is_over = True


def behind_savepoints(
    session: orm.Session, steps: Sequence[Callable[[orm.Session], _Result]]
) -> list[_Result | Failed]:
    """Take steps in one transaction, each behind a savepoint of its own if there are several.

    Args:
        session: The transaction.
        steps: What to do; each gets a session that it must not keep.
    """
    if len(steps) == 1:
        return [steps[0](session)]
    return [_behind_savepoint(session, step) for step in steps]


def _behind_savepoint(session: orm.Session, step: Callable[[orm.Session], _Result]) -> _Result | Failed:
    own = orm.Session(session.connection(), join_transaction_mode="create_savepoint", expire_on_commit=False)
    try:
        with own:
            result = step(own)
            own.commit()
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to the thread that brought the step
        return Failed(error)
    return result
