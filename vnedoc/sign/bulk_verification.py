"""Verifying many PDFs, one after the other or in several processes.

Each file gets a verdict, in the order in which the files were named, whatever happens to the process that looked at
it. In processes of their own there are limits on time and memory, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal.workers import Lost, run_isolated
from vnedoc.sign._crl_cache import CachingRevocationSource, CRLCache
from vnedoc.sign.evidence import Inquiries, RecordedSource, RecordingSource, signers_of
from vnedoc.sign.report import Conclusion, FileReport, Finding
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustAnchor, TrustStore, TrustTree
from vnedoc.sign.verification import verify_files

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import RevocationData
    from vnedoc.sign.senders import ExpectedSender

__all__ = ["Judged", "Task", "verify_many"]

BASE_LIMIT_S = 30.0
LIMIT_S_PER_MB = 10.0
MAX_MEMORY_BYTES = 512 * 1024 * 1024
"""How much address space a process may use beyond what it starts with."""
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
MAX_WARNINGS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked of every file; it crosses process borders."""

    anchors: tuple[tuple[bytes, TrustTree], ...]
    """Trust anchors, DER, with their trees."""
    intermediates: tuple[bytes, ...]
    """Other certificates, DER."""
    policy: Policy
    """What is demanded."""
    at: datetime.datetime
    """The time for which the question is asked."""
    sender: ExpectedSender | None = None
    """The agency that is said to have sent the documents."""
    crls: tuple[bytes, ...] = ()
    """CRLs, DER, that are at hand."""
    online: bool = False
    """Whether servers may be asked."""
    allowed_hosts: tuple[str, ...] = ()
    """Servers that may be asked although they are private."""
    crl_cache: Path | None = None
    """Folder in which fetched CRLs are kept for a day at most; ``None``: they are fetched anew."""
    recorded: Mapping[tuple[str, str], RevocationData] | None = None
    """Revocation data of an earlier verification; nothing else is then used."""

    @staticmethod
    def pack_trust(
        trust: TrustStore,
    ) -> tuple[tuple[tuple[bytes, TrustTree], ...], tuple[bytes, ...]]:
        """Return a trust store as the two fields that carry it."""
        anchors = tuple((item.certificate.public_bytes(Encoding.DER), item.tree) for item in trust.anchors)
        return anchors, tuple(item.public_bytes(Encoding.DER) for item in trust.intermediates)

    def trust(self) -> TrustStore:
        """Return the trust store."""
        return TrustStore(
            tuple(TrustAnchor(x509.load_der_x509_certificate(der), tree) for der, tree in self.anchors),
            tuple(x509.load_der_x509_certificate(der) for der in self.intermediates),
        )

    def source(self) -> RevocationSource:
        """Return where revocation data come from."""
        if self.recorded is not None:
            return RecordedSource(self.recorded, crls=self.crls)
        return RecordingSource(self._asked_source())

    def _asked_source(self) -> RevocationSource:
        if self.crl_cache is None:
            return RevocationSource(crls=self.crls, online=self.online, allowed_hosts=self.allowed_hosts)
        return CachingRevocationSource(
            CRLCache(self.crl_cache), crls=self.crls, online=self.online, allowed_hosts=self.allowed_hosts
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and what it rests on."""

    report: FileReport
    """The verdict."""
    inquiries: Inquiries = dataclasses.field(default_factory=dict)
    """What was asked and answered about revocation."""
    certificates: tuple[bytes, ...] = ()
    """Certificates that came with the signatures, DER."""


def verify_many(
    paths: Sequence[Path],
    task: Task,
    *,
    jobs: int = 1,
    keep_evidence: bool = False,
    on_done: Callable[[FileReport], None] | None = None,
) -> list[Judged]:
    """Verify files and return their verdicts in the same order.

    Args:
        paths: The files.
        task: What is asked.
        jobs: How many processes; 1 works in this one, without limits on time and memory.
        keep_evidence: Whether the signers' certificates are wanted, too.
        on_done: Called after each file, in the order in which they are done.
    """
    found: dict[int, Judged] = {}
    for position, judged in _judge(paths, task, jobs=jobs, keep_evidence=keep_evidence):
        found[position] = judged
        if on_done is not None:
            on_done(judged.report)
    return [found[position] for position in range(len(paths))]


def _judge(
    paths: Sequence[Path], task: Task, *, jobs: int, keep_evidence: bool
) -> Iterator[tuple[int, Judged]]:
    if jobs <= 1 or len(paths) <= 1:
        with _open((task, keep_evidence)) as work:
            for position, path in enumerate(paths):
                yield position, work(path)
        return
    answers = run_isolated(
        _open_worker,
        (task, keep_evidence),
        paths,
        jobs=jobs,
        limit_s=_limit_s,
        max_memory_bytes=MAX_MEMORY_BYTES,
    )
    for position, answer in answers:
        if isinstance(answer, Lost):
            yield position, Judged(_lost(paths[position], answer, task))
        else:
            yield position, answer


@contextlib.contextmanager
def _open(settings: tuple[Task, bool]) -> Iterator[Callable[[Path], Judged]]:
    task, keep_evidence = settings
    trust = task.trust()
    with task.source() as source:

        def work(path: Path) -> Judged:
            (report,) = verify_files(
                [path], trust=trust, policy=task.policy, at=task.at, sender=task.sender, revocation=source
            )
            inquiries = source.take() if isinstance(source, RecordingSource) else {}
            certificates: tuple[bytes, ...] = ()
            if keep_evidence:
                certificates = tuple(item.public_bytes(Encoding.DER) for item in signers_of(path))
            return Judged(report, inquiries, certificates)

        yield work


@contextlib.contextmanager
def _open_worker(settings: tuple[Task, bool]) -> Iterator[Callable[[Path], Judged]]:
    from pikepdf import settings as qpdf

    # These limits hold for a whole process, so they are set only in one that is ours.
    qpdf.set_qpdf_limits(
        flate_max_memory=MAX_UNPACKED_BYTES,
        run_length_max_memory=MAX_UNPACKED_BYTES,
        dct_max_memory=MAX_UNPACKED_BYTES,
        doc_max_warnings=MAX_WARNINGS,
    )
    with _open(settings) as work:
        yield work


def _limit_s(path: Path) -> float:
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return BASE_LIMIT_S + LIMIT_S_PER_MB * size / 1e6


def _lost(path: Path, reason: Lost, task: Task) -> FileReport:
    return FileReport(
        path=str(path),
        conclusion=Conclusion.INDETERMINATE,
        readers_agree=False,
        sender=None,
        signatures=(),
        errors=(Finding(f"verify.worker-{reason.value}"),),
        policy=task.policy.name,
    )
