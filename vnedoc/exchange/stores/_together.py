"""Commits in common: what threads of a process write to a SQLite file at the same time reaches the disk together.

A SQLite file has one writer at a time, and each commit waits for the disk. Who comes while another commits joins
those who wait; the next of them does the work of all in one transaction, each behind a savepoint of its own, so
that what fails takes nothing with it. Nobody is told "done" before the common commit is on the disk.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from sqlalchemy import orm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

__all__ = ["Together"]

_Result = TypeVar("_Result")
_MAX_BATCH = 64


class _Job(Generic[_Result]):
    def __init__(self, step: Callable[[orm.Session], _Result]) -> None:
        self.step = step
        self.is_over = False
        self.result: _Result | None = None
        self.error: BaseException | None = None

    def do(self, session: orm.Session) -> None:
        self.result, self.error = self.step(session), None


class Together:
    """Steps of many threads in few transactions.

    Args:
        writing: Opens a writing transaction that is on the disk when the block ends well.
    """

    def __init__(self, writing: Callable[[], AbstractContextManager[orm.Session]]) -> None:
        self._writing = writing
        self._waiting: list[_Job[object]] = []
        self._list = threading.Lock()
        self._turn = threading.Lock()

    def run(self, step: Callable[[orm.Session], _Result]) -> _Result:
        """Run a step, and return what it returned when that is on the disk; raise what it raised.

        Args:
            step: What to do. It must not keep rows for later.
        """
        job = _Job(step)
        with self._list:
            self._waiting.append(cast("_Job[object]", job))
        while not job.is_over:
            with self._turn:
                if not job.is_over:
                    with self._list:
                        batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
                    self._do(batch)
        if job.error is not None:
            raise job.error
        return cast("_Result", job.result)

    def _do(self, batch: Sequence[_Job[object]]) -> None:
        try:
            with self._writing() as session:
                if len(batch) == 1:
                    batch[0].do(session)
                else:
                    for job in batch:
                        _do_behind_savepoint(session, job)
        except BaseException as error:
            # Whatever it is: nothing of it is on the disk, and each thread must hear that. One that failed by itself
            # has its own reason.
            for job in batch:
                job.error = job.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            for job in batch:
                job.is_over = True


def _do_behind_savepoint(session: orm.Session, job: _Job[object]) -> None:
    own = orm.Session(session.connection(), join_transaction_mode="create_savepoint", expire_on_commit=False)
    try:
        with own:
            job.do(own)
            own.commit()
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to the thread that brought the step
        job.error = error
