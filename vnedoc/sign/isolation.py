"""Verifying one file in a process of its own, with limits on time and memory.

Verification in the caller's process is bounded, too: what is unpacked, walked through and drawn has limits. But a
library in another language can still hang, crash or eat the memory on a file made for that. Here such a file ends in
a verdict like any other: INDETERMINATE, with the reason.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from vnedoc._internal import clock
from vnedoc._internal.workers import Lost, run_isolated
from vnedoc.errors import UsageError
from vnedoc.sign.bulk_verification import Task
from vnedoc.sign.policy import DEFAULT_POLICY
from vnedoc.sign.report import Conclusion, FileReport, Finding, VerificationReport
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from vnedoc.sign.policy import Policy
    from vnedoc.sign.senders import ExpectedSender
    from vnedoc.sign.trust import TrustStore

__all__ = ["DEFAULT_MEMORY_BYTES", "SECONDS_PER_MB", "time_limit", "verify_in_process"]

SECONDS_PER_MB = 10.0
"""How long a file may take for each megabyte begun."""
DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024
"""How much memory a verification may take beyond what the program itself takes."""

_MAX_UNPACKED_BYTES = 64 * 1024 * 1024
_MAX_WARNINGS = 1000


def time_limit(path: Path) -> float:
    """Return how many seconds a file may take by default: ten for each megabyte begun."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return SECONDS_PER_MB * max(math.ceil(size / 1e6), 1)


def verify_in_process(
    path: Path,
    *,
    trust: TrustStore,
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    sender: ExpectedSender | None = None,
    crls: Iterable[bytes] = (),
    time_limit_s: float | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_BYTES,
) -> VerificationReport:
    """Verify a PDF as :func:`~vnedoc.sign.verification.verify_pdf` does, in a process of its own.

    Nobody is asked over the network: a file that must not be trusted with this process must not be trusted with
    connections either. The time that Python takes to start does not count.

    Args:
        path: The file.
        trust: The trust anchors.
        policy: What is demanded; ``None`` is the strict default.
        at: The time for which the question is asked; ``None`` is now.
        sender: The agency that is said to have sent the document.
        crls: CRLs, DER, that are at hand.
        time_limit_s: How long it may take; ``None`` is ten seconds for each megabyte begun.
        memory_limit_bytes: How much memory it may take; only Linux can enforce this.

    Returns:
        A report; where the process was stopped or died, with the conclusion INDETERMINATE and the reason.

    Raises:
        UsageError: A limit is not positive, or ``at`` has no time zone.
        ConfigurationError: The directory does not know the sender.
    """
    limit_s = time_limit(path) if time_limit_s is None else time_limit_s
    if limit_s <= 0 or memory_limit_bytes <= 0:
        raise UsageError("verify.bad-limit")
    if sender is not None:
        sender.check_known()
    anchors, intermediates = Task.pack_trust(trust)
    chosen = policy or DEFAULT_POLICY
    task = Task(
        anchors=anchors,
        intermediates=intermediates,
        policy=chosen,
        at=clock.utc_now() if at is None else clock.as_utc(at),
        sender=sender,
        crls=tuple(crls),
    )
    ((_, answer),) = run_isolated(
        _open,
        task,
        [path],
        jobs=1,
        limit_s=lambda _: limit_s,
        max_memory_bytes=memory_limit_bytes,
    )
    if isinstance(answer, Lost):
        return VerificationReport((_gave_up(path, answer, chosen),))
    return answer


@contextlib.contextmanager
def _open(task: Task) -> Iterator[Callable[[Path], VerificationReport]]:
    """Be ready to verify, in the process that does it."""
    from pikepdf import settings

    # These limits hold for a whole process, so they are set only in one that is ours.
    settings.set_qpdf_limits(
        flate_max_memory=_MAX_UNPACKED_BYTES,
        run_length_max_memory=_MAX_UNPACKED_BYTES,
        dct_max_memory=_MAX_UNPACKED_BYTES,
        doc_max_warnings=_MAX_WARNINGS,
    )
    trust = task.trust()
    with task.source() as source:

        def work(path: Path) -> VerificationReport:
            return verify_pdf(
                path, trust=trust, policy=task.policy, at=task.at, sender=task.sender, revocation=source
            )

        yield work


def _gave_up(path: Path, reason: Lost, policy: Policy) -> FileReport:
    return FileReport(
        path=str(path),
        conclusion=Conclusion.INDETERMINATE,
        readers_agree=False,
        sender=None,
        signatures=(),
        errors=(Finding(f"verify.worker-{reason.value}"),),
        policy=policy.name,
    )
