"""Several documents in one authorisation: each is brought to where its key is needed, then all are signed at once.

Remote services ask a person to agree; with :attr:`~vnedoc.sign.signers.base.Signer.batch_size` one answer covers
several hashes. Each document waits in a thread of its own, and only one thread runs at a time: PDFium is not safe in
threads.
"""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, TypeVar

from vnedoc.sign.signers.base import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["sign_together"]

_Job = TypeVar("_Job")
_Outcome = TypeVar("_Outcome")


def sign_together(
    jobs: Sequence[_Job], signer: Signer, attempt: Callable[[_Job, Signer], _Outcome]
) -> list[_Outcome]:
    """Do several jobs whose signatures are asked of the signer together.

    Args:
        jobs: What is done; as many as one authorisation covers.
        signer: Who signs.
        attempt: Does one job with a signer that waits for the others.

    Returns:
        What ``attempt`` returned, in the order of the jobs.
    """
    table = _Table(signer, len(jobs))

    def run(job: _Job) -> _Outcome:
        with table:
            return attempt(job, _Seat(signer, table))

    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs))


class _Table:
    """Where the jobs wait for one another; entering it takes the turn, leaving it gives the turn up."""

    def __init__(self, signer: Signer, seats: int) -> None:
        self._signer = signer
        self._turn = threading.Lock()
        self._changed = threading.Condition(self._turn)
        self._still_working = seats
        self._asked: dict[int, tuple[bytes, str]] = {}
        self._answers: dict[int, bytes | Exception] = {}

    def __enter__(self) -> None:
        self._turn.acquire()

    def __exit__(self, *_exception: object) -> None:
        self._still_working -= 1
        self._sign_if_all_wait()
        self._turn.release()

    def sign(self, content: bytes, digest_algorithm: str) -> bytes:
        """Wait until every other job waits or is done, and return the signature value."""
        ticket = threading.get_ident()
        self._asked[ticket] = (content, digest_algorithm)
        self._still_working -= 1
        self._sign_if_all_wait()
        while ticket not in self._answers:
            self._changed.wait()
        answer = self._answers.pop(ticket)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _sign_if_all_wait(self) -> None:
        if self._still_working or not self._asked:
            return
        answers: list[bytes | Exception]
        try:
            # One role with one set of options: the digest algorithm is the same for all.
            (digest_algorithm,) = {algorithm for _, algorithm in self._asked.values()}
            contents = [content for content, _ in self._asked.values()]
            answers = [*self._signer.sign_many(contents, digest_algorithm=digest_algorithm)]
        except Exception as exc:  # noqa: BLE001 - whatever it is, each waiting thread must wake up and raise it
            # One authorisation, one answer: what was refused was refused for all.
            answers = [exc] * len(self._asked)
        self._answers = dict(zip(self._asked, answers, strict=True))
        self._still_working = len(answers)
        self._asked.clear()
        self._changed.notify_all()


class _Seat(Signer):
    """The signer as one job sees it."""

    def __init__(self, signer: Signer, table: _Table) -> None:
        super().__init__(signer.certificate, signer.certificate_chain[1:], mechanism=signer.mechanism)
        self._signer = signer
        self._table = table

    @property
    def max_signature_bytes(self) -> int:
        return self._signer.max_signature_bytes

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        return self._table.sign(content, digest_algorithm)
