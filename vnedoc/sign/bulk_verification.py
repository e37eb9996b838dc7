"""Verifying many PDFs, one after the other or in several processes.

Each file gets a verdict, in the order in which the files were named, whatever happens to the process that looked at
it. In processes of their own there are limits on time and memory, too. What reads PDFs is only loaded where they are
read: who lets others do the work starts quickly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal.workers import Lost
from vnedoc.sign._crew import MAX_MEMORY_BYTES, verification_crew
from vnedoc.sign._crl_cache import CachingRevocationSource, CRLCache
from vnedoc.sign.evidence import Inquiries, RecordedSource, RecordingSource, signers_of
from vnedoc.sign.report import Conclusion, FileReport, Finding
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustAnchor, TrustStore, TrustTree

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from vnedoc.sign._crew import VerificationCrew
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import RevocationData
    from vnedoc.sign.senders import ExpectedSender
    from vnedoc.sign.signers.base import SecretCallback

__all__ = [
    "MAX_MEMORY_BYTES",
    "SECONDS_PER_MB",
    "Asked",
    "Judged",
    "Task",
    "lost_report",
    "open_work",
    "time_limit",
    "verify_many",
]

SECONDS_PER_MB = 10.0
"""How long a file may take for each megabyte begun."""
NETWORK_SECONDS = 60.0
"""How much longer if servers are asked; how long they may take is no matter of the file."""
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
    only_hosts: tuple[str, ...] = ()
    """If any are named, no other servers are asked but these and those that are allowed."""
    crl_cache: Path | None = None
    """Folder in which fetched CRLs are kept for a day at most; ``None``: they are fetched anew."""
    fetch_issuers: bool = False
    """Whether certificates that miss in a chain may be fetched, if servers may be asked."""
    recorded: Mapping[tuple[str, str], RevocationData] | None = None
    """Revocation data of an earlier verification; nothing else is then used."""
    password: SecretCallback | None = dataclasses.field(default=None, repr=False)
    """Called with the path of an encrypted file; it reaches other processes, so it is no local function."""

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
        make: Callable[..., RevocationSource] = (
            RevocationSource
            if self.crl_cache is None
            else functools.partial(CachingRevocationSource, CRLCache(self.crl_cache))
        )
        return make(
            crls=self.crls,
            allowed_hosts=self.allowed_hosts,
            only_hosts=self.only_hosts,
            online=self.online,
            fetch_issuers=self.fetch_issuers,
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


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One file that is asked about."""

    path: Path
    """The file."""
    limit_s: float
    """How long it may take."""


def time_limit(path: Path) -> float:
    """Return how many seconds a file may take by default: ten for each megabyte begun."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return SECONDS_PER_MB * max(math.ceil(size / 1e6), 1)


def verify_many(
    paths: Sequence[Path],
    task: Task,
    *,
    jobs: int = 1,
    crew: VerificationCrew | None = None,
    keep_evidence: bool = False,
    on_done: Callable[[FileReport], None] | None = None,
) -> list[Judged]:
    """Verify files and return their verdicts in the same order.

    Args:
        paths: The files.
        task: What is asked.
        jobs: How many processes, without a crew; 1 works in this one, without limits on time and memory.
        crew: The processes that do it; each file then has ten seconds for each megabyte begun, and 512 MiB.
        keep_evidence: Whether the signers' certificates are wanted, too.
        on_done: Called after each file, in the order in which they are done.
    """
    found: dict[int, Judged] = {}
    with contextlib.ExitStack() as stack:
        if crew is None and jobs > 1 and len(paths) > 1:
            crew = stack.enter_context(verification_crew(jobs=jobs))
        for position, judged in _judge(paths, (task, keep_evidence), crew):
            found[position] = judged
            if on_done is not None:
                on_done(judged.report)
    return [found[position] for position in range(len(paths))]


def _judge(
    paths: Sequence[Path], settings: tuple[Task, bool], crew: VerificationCrew | None
) -> Iterator[tuple[int, Judged]]:
    task, _ = settings
    more = NETWORK_SECONDS if task.online else 0.0
    asked = [Asked(path, time_limit(path) + more) for path in paths]
    if crew is None:
        with _open(settings) as work:
            for position, item in enumerate(asked):
                yield position, work(item)
        return
    for position, answer in crew.work(settings, asked):
        if isinstance(answer, Lost):
            item = asked[position]
            seconds = item.limit_s if answer is Lost.SLOW else 0.0
            yield position, Judged(lost_report(item.path, answer, task.policy, seconds=seconds))
        else:
            yield position, answer


@contextlib.contextmanager
def _open(settings: tuple[Task, bool]) -> Iterator[Callable[[Asked], Judged]]:
    from vnedoc.sign.verification import verify_files

    task, keep_evidence = settings
    trust = task.trust()
    with task.source() as source:

        def work(asked: Asked) -> Judged:
            source.begin_document()
            (report,) = verify_files(
                [asked.path],
                trust=trust,
                policy=task.policy,
                at=task.at,
                sender=task.sender,
                revocation=source,
                password=task.password,
            )
            inquiries = source.take() if isinstance(source, RecordingSource) else {}
            certificates: tuple[bytes, ...] = ()
            if keep_evidence:
                certificates = tuple(
                    item.public_bytes(Encoding.DER) for item in signers_of(asked.path, password=task.password)
                )
            return Judged(report, inquiries, certificates)

        yield work


@contextlib.contextmanager
def open_work(settings: tuple[Task, bool]) -> Iterator[Callable[[Asked], Judged]]:
    """Be ready to verify, in a process that does nothing else."""
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


def lost_report(path: Path, reason: Lost, policy: Policy, *, seconds: float = 0.0) -> FileReport:
    """Return the verdict on a file whose process was stopped or died."""
    return FileReport(
        path=str(path),
        conclusion=Conclusion.INDETERMINATE,
        readers_agree=False,
        sender=None,
        signatures=(),
        errors=(Finding(f"verify.worker-{reason.value}"),),
        policy=policy.name,
        seconds=seconds,
    )
