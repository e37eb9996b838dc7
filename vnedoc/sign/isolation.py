"""Verifying one file in a process of its own, with limits on time and memory.

Verification in the caller's process is bounded, too: what is unpacked, walked through and drawn has limits. But a
library in another language can still hang, crash or eat the memory on a file made for that. Here such a file ends in
a verdict like any other: INDETERMINATE, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc._internal import clock
from vnedoc._internal.workers import Lost, run_isolated
from vnedoc.errors import UsageError
from vnedoc.sign.bulk_verification import (
    MAX_MEMORY_BYTES,
    SECONDS_PER_MB,
    Asked,
    Task,
    lost_report,
    open_work,
    time_limit,
)
from vnedoc.sign.policy import DEFAULT_POLICY
from vnedoc.sign.report import VerificationReport

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable
    from pathlib import Path

    from vnedoc.sign.policy import Policy
    from vnedoc.sign.senders import ExpectedSender
    from vnedoc.sign.trust import TrustStore

__all__ = ["DEFAULT_MEMORY_BYTES", "SECONDS_PER_MB", "time_limit", "verify_in_process"]

DEFAULT_MEMORY_BYTES = MAX_MEMORY_BYTES
"""How much memory a verification may take beyond what the program itself takes."""


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
        open_work,
        (task, False),
        [Asked(path, limit_s)],
        jobs=1,
        limit_s=lambda asked: asked.limit_s,
        max_memory_bytes=memory_limit_bytes,
    )
    if isinstance(answer, Lost):
        return VerificationReport((lost_report(path, answer, chosen),))
    return VerificationReport((answer.report,))
