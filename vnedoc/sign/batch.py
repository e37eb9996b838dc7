"""Signing many documents with one key: one PIN, one result for each file, safe to start again.

What goes wrong with one document does not stop the others. What goes wrong with the key does, because every further
try could lock it. Documents can be shared out to other processes by any :class:`concurrent.futures.Executor`; each
process opens the key for itself, and the first document goes alone, so that a wrong PIN is tried once and not by
every process.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import enum
import io
import logging
import multiprocessing
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.errors import ConfigurationError, ExitCode, InternalError, UsageError, VnedocError
from vnedoc.sign._finished import find_finished
from vnedoc.sign._together import sign_together
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signing import sign_pdf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signers.base import Signer
    from vnedoc.sign.signing import SigningResult

__all__ = [
    "JobOutcome",
    "JobState",
    "SignerAccess",
    "SigningJob",
    "gravest_code",
    "process_pool",
    "sign_many",
]

_LOG = logging.getLogger(__name__)

# The order of the command line for many files; a key that failed stands above all, because it stopped the work.
_GRAVEST_FIRST = (
    ExitCode.BUG, ExitCode.CONFIGURATION, ExitCode.NO, ExitCode.CANNOT_TELL, ExitCode.UNREADABLE, ExitCode.USAGE,
    ExitCode.REFUSED, ExitCode.REMOTE,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class SigningJob:
    """One document of a batch."""

    source: Path
    """The document."""
    output: Path
    """Where the signed document goes; may be the source."""


class JobState(enum.StrEnum):
    """What became of a job."""

    SIGNED = "signed"
    """The document was signed."""
    PRESENT = "already-signed"
    """The output has the signature already, and it is intact; nothing was done."""
    FAILED = "failed"
    """The document was not signed."""
    NOT_TRIED = "not-tried"
    """The key had failed before; the document was not touched."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of a job, and why."""

    job: SigningJob
    """The job."""
    state: JobState
    """What became of it."""
    result: SigningResult | None = None
    """What was signed."""
    field: str | None = None
    """Name of the signature field, if there is a signature."""
    error: VnedocError | None = None
    """Why the document was not signed; for a job that was not tried, why the key failed."""


class SignerAccess:
    """How a process opens a key that another process has opened before: the URI with the answers given then.

    It is made to be pickled and sent through a pipe; its ``repr`` shows no secret. Do not write it to a file.

    Args:
        uri: See :func:`~vnedoc.sign.signers.open_signer`.
        answers: The secrets, by what was asked.
        mechanism: See :func:`~vnedoc.sign.signers.open_signer`.
    """

    def __init__(
        self, uri: str, answers: Mapping[str, str | None], *, mechanism: SignatureMechanism | None = None
    ) -> None:
        self._uri = uri
        self._answers = {str(question): answer for question, answer in answers.items()}
        self._mechanism = mechanism

    def __call__(self) -> Signer:
        """Open the key.

        Raises:
            VnedocError: The errors of :func:`~vnedoc.sign.signers.open_signer`.
        """
        return open_signer(self._uri, secret=self._answers.get, mechanism=self._mechanism)

    def __repr__(self) -> str:
        return f"SignerAccess({self._uri!r}, …)"


def sign_many(
    jobs: Sequence[SigningJob],
    *,
    options: SigningOptions,
    signer: Signer | None = None,
    signer_factory: Callable[[], Signer] | None = None,
    executor: concurrent.futures.Executor | None = None,
    again: bool = False,
    on_outcome: Callable[[JobOutcome], object] | None = None,
) -> list[JobOutcome]:
    """Sign many documents in one role with one key.

    Give a signer to work in this process, or an executor with a factory that opens the key in each of its processes.
    Documents that are signed already are skipped, so a batch that was interrupted can be started again.

    Args:
        jobs: The documents.
        options: The role, and what it needs; the same for all.
        signer: Who signs, here.
        signer_factory: Opens the key in a worker; with a process pool it must be picklable, as
            :class:`SignerAccess` is. A worker keeps the key open until it ends.
        executor: Runs the work; see :func:`process_pool`. Any other will do, such as Dask's ``Client.get_executor()``
            on machines that share the files.
        again: Sign also what is signed already.
        on_outcome: Called with each outcome as soon as it is known, in this thread.

    Returns:
        The outcomes, in the order of the jobs.

    Raises:
        UsageError: Neither or both ways were given, two jobs have one output, or the options cannot be sent to
            another process.
    """
    if (signer is None) == (executor is None) or (executor is None) != (signer_factory is None):
        raise UsageError("batch.signer-or-executor")
    if len({job.output.resolve() for job in jobs}) != len(jobs):
        raise UsageError("signing.same-output")
    known: dict[SigningJob, JobOutcome] = {}

    def tell(outcome: JobOutcome) -> None:
        known[outcome.job] = outcome
        if on_outcome is not None:
            on_outcome(outcome)

    if signer is not None:
        _sign_here(jobs, signer=signer, options=options, again=again, tell=tell)
    else:
        assert executor is not None
        work = _pack((signer_factory, options, again))
        _sign_elsewhere(jobs, executor, work, tell)
        with _turn:
            # Workers that are threads worked at this process's own bench.
            _clear_bench()
    return [known[job] for job in jobs]


@contextlib.contextmanager
def process_pool(workers: int) -> Iterator[concurrent.futures.Executor]:
    """Provide fresh processes to sign with.

    They are started anew, not forked, so that they inherit no open session of a token. What they are given, secrets
    included, reaches them through a pipe: it is in no command line, environment or file.

    Args:
        workers: How many.

    Raises:
        UsageError: There would be none.
    """
    if workers < 1:
        raise UsageError("batch.no-workers", workers=workers)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_leave_interrupts_alone
    ) as pool:
        try:
            yield pool
        except BaseException:
            # The user stopped: what has not begun never begins; a file that was begun is finished.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def gravest_code(outcomes: Sequence[JobOutcome]) -> ExitCode:
    """Return how a command ends that came to these outcomes."""
    codes = {outcome.error.exit_code for outcome in outcomes if outcome.error is not None}
    return next((code for code in _GRAVEST_FIRST if code in codes), ExitCode.DONE)


def _sign_here(
    jobs: Sequence[SigningJob],
    *,
    signer: Signer,
    options: SigningOptions,
    again: bool,
    tell: Callable[[JobOutcome], None],
) -> None:
    stop: VnedocError | None = None
    size = max(1, signer.batch_size)
    for start in range(0, len(jobs), size):
        group = jobs[start : start + size]
        if stop is not None:
            outcomes = [JobOutcome(job, JobState.NOT_TRIED, error=stop) for job in group]
        elif size == 1:
            outcomes = [_attempt(job, signer=signer, options=options, again=again) for job in group]
        else:
            outcomes = sign_together(
                group, signer, lambda job, each: _attempt(job, signer=each, options=options, again=again)
            )
        for outcome in outcomes:
            stop = stop or _fatal(outcome)
            tell(outcome)


def _attempt(job: SigningJob, *, signer: Signer, options: SigningOptions, again: bool) -> JobOutcome:
    try:
        if not again:
            field = find_finished(job.source, job.output, certificate=signer.certificate, options=options)
            if field is not None:
                return JobOutcome(job, JobState.PRESENT, field=field)
        result = sign_pdf(job.source, job.output, signer=signer, options=options)
    except VnedocError as exc:
        return JobOutcome(job, JobState.FAILED, error=exc)
    return JobOutcome(job, JobState.SIGNED, result=result, field=result.field)


class _Packer(pickle.Pickler):
    """Packs what goes to a worker: certificates as DER, and no connections, which a worker makes for itself."""

    def reducer_override(self, value: object) -> Any:  # pickle has no name for what it wants
        if isinstance(value, x509.Certificate):
            return _certificate, (value.public_bytes(Encoding.DER),)
        if isinstance(value, httpx2.Client):
            return _no_connection, ()
        return NotImplemented


def _certificate(encoded: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(encoded)


def _no_connection() -> None:
    return None


class _Packed(bytes):
    """What goes to a worker; it may hold secrets, and executors log what they were given."""

    def __repr__(self) -> str:
        return "_Packed(…)"


def _pack(work: object) -> _Packed:
    packed = io.BytesIO()
    try:
        _Packer(packed).dump(work)
    except (pickle.PicklingError, TypeError, AttributeError) as exc:
        raise UsageError("batch.cannot-send", reason=str(exc)) from exc
    return _Packed(packed.getvalue())


def _fatal(outcome: JobOutcome) -> VnedocError | None:
    """Return the error after which no further document is tried: the key, its certificate, the settings."""
    return outcome.error if isinstance(outcome.error, ConfigurationError) else None


def _sign_elsewhere(
    jobs: Sequence[SigningJob],
    executor: concurrent.futures.Executor,
    work: _Packed,
    tell: Callable[[JobOutcome], None],
) -> None:
    stop: VnedocError | None = None
    # The first document goes alone: if the key does not open, it is not tried by all workers at once.
    for group in (jobs[:1], jobs[1:]):
        if stop is not None:
            for job in group:
                tell(JobOutcome(job, JobState.NOT_TRIED, error=stop))
            continue
        waiting = {_submit(executor, work, job): job for job in group}
        for future in concurrent.futures.as_completed(waiting):
            outcome = _outcome_of(future, waiting[future], stop)
            tell(outcome)
            fatal = _fatal(outcome)
            if stop is None and fatal is not None:
                stop = fatal
                for other in waiting:
                    other.cancel()


def _submit(
    executor: concurrent.futures.Executor, work: _Packed, job: SigningJob
) -> concurrent.futures.Future[JobOutcome]:
    try:
        return executor.submit(_work, work, job)
    except concurrent.futures.BrokenExecutor as exc:
        broken: concurrent.futures.Future[JobOutcome] = concurrent.futures.Future()
        broken.set_exception(exc)
        return broken


def _outcome_of(
    future: concurrent.futures.Future[JobOutcome], job: SigningJob, stop: VnedocError | None
) -> JobOutcome:
    try:
        return future.result()
    except concurrent.futures.CancelledError:
        if stop is not None:
            return JobOutcome(job, JobState.NOT_TRIED, error=stop)
        # Not by us: the executor was taken down.
    except Exception as exc:  # noqa: BLE001 - a worker catches its own; each executor says otherwise that one died
        _LOG.info("%s: the executor lost its worker: %s", job.source, type(exc).__name__)
    # Out of memory, killed, not reached. Its files are whole or absent; the batch can be started again.
    return JobOutcome(job, JobState.FAILED, error=InternalError("batch.worker-died", path=job.source))


@dataclasses.dataclass(slots=True)
class _Bench:
    """What a worker keeps between documents."""

    work: _Packed
    signer: Signer | None
    options: SigningOptions
    again: bool
    stop: VnedocError | None = None
    used: bool = False


# In a worker that is a thread: PDFium is not safe in threads, and a token is asked by one at a time.
_turn = threading.Lock()
_benches: list[_Bench] = []


def _work(work: _Packed, job: SigningJob) -> JobOutcome:
    with _turn:
        bench = _bench(work)
        if bench.signer is None or bench.stop is not None:
            # The key failed here: it is not tried again, whatever comes from the parent.
            state = JobState.NOT_TRIED if bench.used else JobState.FAILED
            bench.used = True
            return JobOutcome(job, state, error=bench.stop)
        bench.used = True
        try:
            outcome = _attempt(job, signer=bench.signer, options=bench.options, again=bench.again)
        except Exception as exc:  # noqa: BLE001 - the edge of a worker
            # What leaves a worker is an outcome: executors log what a failed call was given, secrets included.
            _LOG.error("%s: a bug: %s", job.source, type(exc).__name__)
            _LOG.debug("where it happened", exc_info=exc)
            error = InternalError("batch.bug", path=job.source, kind=type(exc).__name__)
            return JobOutcome(job, JobState.FAILED, error=error)
        bench.stop = _fatal(outcome)
        return outcome


def _bench(work: _Packed) -> _Bench:
    if _benches and _benches[0].work == work:
        return _benches[0]
    # A long-lived worker of somebody else's executor: the key of an earlier batch is let go.
    _clear_bench()
    signer_factory, options, again = pickle.loads(work)  # noqa: S301 - made by sign_many in the parent process
    try:
        bench = _Bench(work, signer_factory(), options, again)
    except VnedocError as exc:
        bench = _Bench(work, None, options, again, stop=exc)
    _benches.append(bench)
    return bench


def _clear_bench() -> None:
    while _benches:
        bench = _benches.pop()
        for used in (bench.signer, bench.options.timestamps, bench.options.revocation):
            if used is not None:
                used.close()


def _leave_interrupts_alone() -> None:
    # Ctrl-C reaches every process of the terminal; the parent decides, and a worker finishes its file.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
