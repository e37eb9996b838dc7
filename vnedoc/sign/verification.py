"""Verifying the signatures of PDFs.

The order is fixed: two readers read the file, the bytes around each signature are checked, then cryptography and
chains, then what was changed afterwards, then whether the signer is the sender. A file without a signature, an
encoding that is not supported, a signature that cannot be parsed: each has its own verdict, and none is "passed".
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal import clock, files
from vnedoc.errors import DocumentError, InputError
from vnedoc.sign._aftermath import check_aftermath, place_in_history
from vnedoc.sign._hidden import find_hidden
from vnedoc.sign._judgement import Circumstances, Draft, judge_field
from vnedoc.sign._pyhanko.changes import RevisionHistory
from vnedoc.sign._pyhanko.reading import open_reader, read_with_pyhanko
from vnedoc.sign._pyhanko.store import read_evidence
from vnedoc.sign._pyhanko.validation import Evidence, Judge
from vnedoc.sign._qpdf import opens_with, read_with_qpdf
from vnedoc.sign._revisions import check_revisions
from vnedoc.sign._structure import (
    Reading,
    SignatureField,
    check_field,
    find_overlaps,
    find_shared_values,
    same_signatures,
)
from vnedoc.sign.checks import apply_checks
from vnedoc.sign.policy import DEFAULT_POLICY, Policy
from vnedoc.sign.report import (
    Conclusion,
    FileReport,
    Finding,
    SignerRole,
    VerificationReport,
)
from vnedoc.sign.senders import AgencySignature, ExpectedSender, SenderVerdict, judge_sender

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

    from pyhanko.pdf_utils.reader import PdfFileReader

    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.sign.trust import TrustStore

__all__ = ["PdfSource", "read_pdf", "verify_files", "verify_pdf"]

PdfSource = Path | bytes
"""A PDF: the path of a file, or its bytes."""

# After these nothing more is read: the first reader unpacks within limits, and the second would not.
_FINAL = frozenset({"verify.encrypted", "verify.wrong-password", "verify.too-costly"})
_GRAVEST_FIRST = (Conclusion.TOTAL_FAILED, Conclusion.INDETERMINATE, Conclusion.TOTAL_PASSED)


def verify_pdf(
    source: PdfSource,
    *,
    trust: TrustStore,
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    sender: ExpectedSender | None = None,
    revocation: RevocationSource | None = None,
    password: SecretCallback | None = None,
) -> VerificationReport:
    """Verify every signature and document time-stamp of a PDF.

    Hostile input ends in a verdict, not in an error.

    Args:
        source: The PDF.
        trust: The trust anchors; see :func:`vnedoc.sign.trust.load_trust`.
        policy: What is demanded; ``None`` is the strict default.
        at: The time for which the question is asked; ``None`` is now.
        sender: The agency that is said to have sent the document; one of its signatures must then be there.
        revocation: Where revocation data may be asked for; ``None`` asks nobody and uses what the file brings.
        password: Called with the path if the file is encrypted; what anybody can open needs none.

    Returns:
        A report on one file. It is no truth value; call ``raise_for_status()``.

    Raises:
        UsageError: ``at`` has no time zone.
        ConfigurationError: The directory does not know the sender.
    """
    demands = _demands(trust, policy, at, sender, revocation, password)
    return VerificationReport((_verify(source, demands),))


def verify_files(
    paths: Iterable[Path],
    *,
    trust: TrustStore,
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    sender: ExpectedSender | None = None,
    revocation: RevocationSource | None = None,
    password: SecretCallback | None = None,
) -> Iterator[FileReport]:
    """Verify many PDFs, one after the other, each by itself. See :func:`verify_pdf`.

    Raises:
        UsageError: ``at`` has no time zone.
        ConfigurationError: The directory does not know the sender.
    """
    demands = _demands(trust, policy, at, sender, revocation, password)
    return (_verify(path, demands) for path in paths)


@dataclasses.dataclass(frozen=True, slots=True)
class _Demands:
    trust: TrustStore
    policy: Policy
    now: datetime.datetime
    sender: ExpectedSender | None
    revocation: RevocationSource | None
    password: SecretCallback | None


@dataclasses.dataclass(frozen=True, slots=True)
class TwoReadings:
    """What the two readers made of a file."""

    first: Reading | None
    """pyHanko's; ``None`` if it refused."""
    second: Reading | None
    """qpdf's; ``None`` if it refused."""
    reader: PdfFileReader | None
    """The first reader, for further questions."""
    problems: tuple[Finding, ...]
    """Why they do not agree; empty if they do."""
    password: str = dataclasses.field(default="", repr=False)
    """What opened the file, if it is encrypted."""

    @property
    def signatures(self) -> tuple[SignatureField, ...]:
        """Every signature that either reader sees."""
        first = self.first.signatures if self.first is not None else ()
        second = self.second.signatures if self.second is not None else ()
        places = {field.identity: (field.box, field.claims) for field in second}
        known = {field.identity for field in first}
        return (
            *(_with_place(field, *places.get(field.identity, (None, ""))) for field in first),
            *(field for field in second if field.identity not in known),
        )

    @property
    def field_names(self) -> frozenset[str]:
        """Names of all signature fields."""
        readings = (self.first, self.second)
        return frozenset().union(*(reading.signature_field_names for reading in readings if reading))


def _with_place(field: SignatureField, box: tuple[int, str] | None, claims: str) -> SignatureField:
    return dataclasses.replace(field, box=box, claims=claims)


def _demands(
    trust: TrustStore,
    policy: Policy | None,
    at: datetime.datetime | None,
    sender: ExpectedSender | None,
    revocation: RevocationSource | None,
    password: SecretCallback | None,
) -> _Demands:
    if sender is not None:
        # An unknown sender is a mistake in the question, and shows before the first file is read.
        sender.check_known()
    now = clock.utc_now() if at is None else clock.as_utc(at)
    return _Demands(trust, policy or DEFAULT_POLICY, now, sender, revocation, password)


def _verify(source: PdfSource, demands: _Demands) -> FileReport:
    began = time.perf_counter()
    report = _report(source, demands)
    return dataclasses.replace(report, seconds=time.perf_counter() - began)


def _report(source: PdfSource, demands: _Demands) -> FileReport:
    path = str(source) if isinstance(source, Path) else "-"
    try:
        file = _load(source, demands.policy)
        readings = read_pdf(file, password=demands.password, name=path)
    except InputError as exc:
        return FileReport(
            path=path,
            conclusion=Conclusion.UNREADABLE,
            readers_agree=False,
            sender=None,
            signatures=(),
            errors=(Finding(exc.code, dict(exc.values)),),
            policy=demands.policy.name,
        )
    return _verify_readings(path, file, readings, demands)


def _load(source: PdfSource, policy: Policy) -> bytes:
    if isinstance(source, Path):
        return files.read_bytes(source, max_bytes=policy.max_bytes)
    if len(source) > policy.max_bytes:
        raise InputError("file.too-large", path="-", limit=policy.max_bytes)
    return source


def read_pdf(file: bytes, *, password: SecretCallback | None = None, name: str = "-") -> TwoReadings:
    """Let both readers read a file.

    Args:
        file: Its bytes.
        password: Called with the name if the file is encrypted and does not open without.
        name: How the file is called.

    Raises:
        DocumentError: It is encrypted or unpacks to too much, or neither can read it.
    """
    problems: list[Finding] = []
    first = second = reader = None
    if not file.startswith(b"%PDF-") and b"%PDF-" in file[:4096]:
        # Offsets count from the header for some readers, from the first byte for others; and a file that begins as
        # something else may be taken for that.
        problems.append(Finding("verify.not-at-start"))
    opened_with = _password(file, password, name)
    try:
        reader = open_reader(file, password=opened_with)
        first = read_with_pyhanko(reader)
    except DocumentError as exc:
        if exc.code in _FINAL:
            raise
        reader = None
        problems.append(Finding(exc.code, dict(exc.values)))
    try:
        second = read_with_qpdf(file, password=opened_with)
    except DocumentError as exc:
        if exc.code in _FINAL:
            raise
        problems.append(Finding(exc.code, dict(exc.values)))
    if first is None and second is None:
        raise DocumentError("verify.not-a-pdf")
    if second is not None and second.complaints:
        problems.append(Finding("verify.second-reader-complains", {"reason": second.complaints[0]}))
    if second is not None and second.promised_pages not in {None, second.pages}:
        problems.append(
            Finding("verify.page-count-wrong", {"promised": second.promised_pages, "found": second.pages})
        )
    if first is not None and second is not None:
        if first.pages != second.pages:
            problems.append(
                Finding("verify.page-counts-differ", {"first": first.pages, "second": second.pages})
            )
        if not same_signatures(first.signatures, second.signatures):
            problems.append(Finding("verify.signature-lists-differ"))
    return TwoReadings(first, second, reader, tuple(problems), opened_with)


def _password(file: bytes, password: SecretCallback | None, name: str) -> str:
    """Return what opens the file: nothing, which every reader tries first, or what the caller says."""
    if b"/Encrypt" not in file or opens_with(file, ""):
        return ""
    given = password(name) if password is not None else None
    if given is None:
        raise DocumentError("verify.encrypted")
    if not opens_with(file, given):
        raise DocumentError("verify.wrong-password")
    return given


def _verify_readings(path: str, file: bytes, readings: TwoReadings, demands: _Demands) -> FileReport:
    problems = list(readings.problems)
    fields = readings.signatures
    if len(fields) > demands.policy.max_signatures:
        limit = Finding("verify.too-many-signatures", {"limit": demands.policy.max_signatures})
        return FileReport(path, Conclusion.INDETERMINATE, not problems, None, (), errors=(*problems, limit))
    history = (
        RevisionHistory(readings.reader, file, readings.field_names) if readings.reader is not None else None
    )
    drafts = _judge_fields(file, fields, readings, history, demands)
    problems += check_revisions(file, drafts, history, readings.second)
    check_aftermath(file, drafts, history)
    covered_ends = [draft.covered.end for draft in drafts if draft.covered is not None]
    first_end = min(covered_ends, default=len(file))
    if history is not None and first_end < len(file) and history.stray_bytes_after(first_end):
        problems.append(Finding("verify.stray-bytes"))
    warnings: list[Finding] = []
    rights = readings.second.usage_rights if readings.second is not None else 0
    if rights:
        warnings.append(Finding("verify.usage-rights"))
    if file.count(b"/ByteRange") > len(fields) + rights:
        warnings.append(Finding("verify.unreachable-signature"))
    if any(not field.from_form for field in fields):
        warnings.append(Finding("verify.signature-not-in-form"))
    if any(draft.is_sound for draft in drafts):
        # Who has no trusted key cannot make us look at pages.
        warnings += find_hidden(
            file,
            history,
            demands.policy.asked_checks,
            signed_end=first_end,
            password=readings.password,
        )
    conclusion = _conclude(drafts, problems)
    sender = _judge_sender(drafts, demands)
    errors = [*problems]
    if not drafts:
        errors.append(Finding("verify.no-signature"))
    if sender is not None:
        warnings += sender.warnings
        errors += sender.errors
        if sender.is_mismatch and drafts:
            conclusion = Conclusion.TOTAL_FAILED
    report = FileReport(
        path=path,
        conclusion=conclusion,
        readers_agree=not problems,
        sender=sender.report if sender is not None else None,
        signatures=tuple(draft.report() for draft in drafts),
        warnings=tuple(warnings),
        errors=tuple(errors),
        sha256=hashlib.sha256(file).hexdigest(),
    )
    return apply_checks(report, demands.policy)


def _judge_fields(
    file: bytes,
    fields: tuple[SignatureField, ...],
    readings: TwoReadings,
    history: RevisionHistory | None,
    demands: _Demands,
) -> list[Draft]:
    checks = [check_field(file, field) for field in fields]
    drafts = [Draft(field, covered) for field, (covered, _, _) in zip(fields, checks, strict=True)]
    for draft, (_, _, findings) in zip(drafts, checks, strict=True):
        for finding in findings:
            draft.fail("FORMAT_FAILURE", finding)
    for position in find_shared_values(fields):
        drafts[position].fail("FORMAT_FAILURE", Finding("verify.shared-value"))
    for position in find_overlaps([covered for covered, _, _ in checks]):
        drafts[position].fail("FORMAT_FAILURE", Finding("verify.overlap"))
    evidence = read_evidence(readings.reader) if readings.reader is not None else Evidence()
    around = Circumstances(
        judge=Judge(
            trust=demands.trust, policy=demands.policy, revocation=demands.revocation, evidence=evidence
        ),
        policy=demands.policy,
        now=demands.now,
        directory=demands.sender.directory if demands.sender is not None else None,
    )
    order = sorted(range(len(drafts)), key=lambda position: _end_of(drafts[position]), reverse=True)
    for position in order:
        draft = drafts[position]
        encoded = checks[position][1]
        place_in_history(file, draft, history)
        if encoded is None:
            continue
        later = tuple(
            other
            for other in drafts
            if other.is_timestamp and other is not draft and _end_of(other) > _end_of(draft)
        )
        judge_field(file, draft, encoded, around, later_stamps=later)
    # In the order of signing: the smallest covered range first.
    return [drafts[position] for position in reversed(order)]


def _end_of(draft: Draft) -> int:
    return draft.covered.end if draft.covered is not None else -1


def _conclude(drafts: list[Draft], problems: list[Finding]) -> Conclusion:
    if not drafts:
        # "No signature" says that there is none: nobody can say that of a file that reads two ways.
        return Conclusion.INDETERMINATE if problems else Conclusion.NO_SIGNATURE
    found = {draft.conclusion for draft in drafts}
    if problems:
        found.add(Conclusion.INDETERMINATE)
    return next(conclusion for conclusion in _GRAVEST_FIRST if conclusion in found)


def _judge_sender(drafts: list[Draft], demands: _Demands) -> SenderVerdict | None:
    if demands.sender is None:
        return None
    signed = [
        AgencySignature(draft.certificate, draft.conclusion, draft.proven_time or draft.claimed_time)
        for draft in drafts
        if draft.role is SignerRole.AGENCY and draft.certificate is not None
    ]
    return judge_sender(signed, demands.sender, now=demands.now)
