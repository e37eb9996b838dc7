"""The outcome of a verification: what was found, what was decided and why.

The conclusions and sub-indications are those of ETSI EN 319 102-1. Reports are values: they hold no open file
and decide nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Any, Never

from vnedoc import messages
from vnedoc.errors import ExitCode, IndeterminateError, InputError, VerificationError

__all__ = [
    "Basis",
    "CertificateSummary",
    "Changes",
    "CheckResult",
    "Conclusion",
    "Coverage",
    "FileReport",
    "Finding",
    "Revocation",
    "RevocationStatus",
    "SenderMatch",
    "SenderReport",
    "SignatureKind",
    "SignatureReport",
    "SignatureTrace",
    "SignerRole",
    "VerificationReport",
]

SCHEMA = "vnedoc.verification/1"


class Conclusion(enum.StrEnum):
    """The verdict on a signature or a file."""

    TOTAL_PASSED = "TOTAL-PASSED"
    """Everything that was asked holds."""
    TOTAL_FAILED = "TOTAL-FAILED"
    """Something is provably wrong."""
    INDETERMINATE = "INDETERMINATE"
    """What is there is not enough to tell."""
    NO_SIGNATURE = "NO-SIGNATURE"
    """A file without any digital signature."""
    UNREADABLE = "UNREADABLE"
    """A file that is no PDF, or cannot be read."""


class SignatureKind(enum.StrEnum):
    """What a signature field holds."""

    SIGNATURE = "signature"
    DOCUMENT_TIMESTAMP = "document-timestamp"


class SignerRole(enum.StrEnum):
    """Whose certificate it seems to be."""

    PERSON = "person"
    AGENCY = "agency"
    UNKNOWN = "unknown"


class Coverage(enum.StrEnum):
    """How much of the file a signature covers."""

    WHOLE_FILE = "whole-file"
    REVISION = "revision"
    PART = "part"


class Changes(enum.StrEnum):
    """The gravest kind of change after a signature."""

    NONE = "none"
    LONG_TERM_DATA = "long-term-data"
    SIGNATURES = "signatures"
    FORM = "form"
    ANNOTATIONS = "annotations"
    CONTENT = "content"


class RevocationStatus(enum.StrEnum):
    """What is known of the revocation of the signing certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class SenderMatch(enum.StrEnum):
    """How well the agency's certificate matches the sender that was named; strongest first."""

    PINNED = "pinned"
    """The directory names this very certificate."""
    CODED = "coded"
    """Its tax code or budget code is the sender's."""
    NAMED = "named"
    """Its names are the sender's."""
    DOMAIN = "domain"
    """Only its mail domain is the sender's."""
    NONE = "none"
    """It does not match."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth saying, with a stable id."""

    id: str
    """The id of its message, such as ``verify.hash-failure``."""
    values: dict[str, object] = dataclasses.field(default_factory=dict)
    """What the message names."""

    def text(self, language: messages.Language | str = messages.Language.EN) -> str:
        """Return the sentence in a language; a finding among the values is put in the same language."""
        return messages.text(self.id, language, **self.values)


@dataclasses.dataclass(frozen=True, slots=True)
class CertificateSummary:
    """What a certificate says of its holder."""

    common_name: str
    organization: str | None
    units: tuple[str, ...]
    email: str | None
    serial: str
    """Serial number in hexadecimal."""
    issuer: str
    """Common name of the issuer."""
    tax_code: str | None
    """``MST:`` in the subject's UID."""
    budget_code: str | None
    """``MNS:`` in the subject's UID."""


@dataclasses.dataclass(frozen=True, slots=True)
class Revocation:
    """What is known of revocation, and from where."""

    status: RevocationStatus = RevocationStatus.UNKNOWN
    source: str = "none"
    """``ocsp``, ``crl`` or ``none``."""


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureTrace:
    """The bytes by which a signature is known to other tools; kept for ETSI TS 119 102-2."""

    signature_value: bytes
    """The signature value itself."""
    certificate: bytes
    """The signing certificate, DER."""


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureReport:
    """The verdict on one signature."""

    field: str
    """Name of the signature field."""
    kind: SignatureKind
    role: SignerRole
    conclusion: Conclusion
    sub_indication: str | None
    """The sub-indication of EN 319 102-1, such as ``HASH_FAILURE``; ``None`` when passed."""
    level: str
    """The level that is really there, such as ``PAdES-B-T``; ``PKCS7`` for adbe signatures without more."""
    subfilter: str | None
    digest_algorithm: str | None
    signature_algorithm: str | None
    signer: CertificateSummary | None
    trust_anchor: str | None
    """Name of the anchor that the chain ends in."""
    trust_tree: str | None
    """``vn-government``, ``vn-national`` or ``custom``."""
    signing_time: datetime.datetime | None
    time_source: str
    """``timestamp``, or ``claimed`` by the signer."""
    best_signature_time: datetime.datetime | None
    """The earliest time at which the signature is proven to have existed."""
    certificate_not_before: datetime.datetime | None
    certificate_not_after: datetime.datetime | None
    integrity: bool
    """Whether digest and signature value are right."""
    covers: Coverage
    changes_after: Changes
    revocation: Revocation = Revocation()
    box: tuple[int, str] | None = None
    """Number of the page and the box ``X,Y,W,H`` where the signature is shown; ``None`` if it is not."""
    trace: SignatureTrace | None = dataclasses.field(
        default=None, repr=False, compare=False, metadata={"written": False}
    )
    """What other tools know the signature by; in the XML of ETSI only."""
    warnings: tuple[Finding, ...] = ()
    errors: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class SenderReport:
    """Whether the agency that signed is the agency that is said to have sent."""

    organ_id: str
    match: SenderMatch
    required: bool = True
    agency: str | None = None
    """Its name in the directory on that day."""
    day: datetime.date | None = None
    """The day for which the directory was asked: that of the signature."""
    successor_of: str | None = None
    """The code that was named, if its work had passed to the agency that was looked for."""


@dataclasses.dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check of a policy."""

    id: str
    """Which check."""
    level: str
    """How much it matters: ``fail``, ``warn`` or ``inform``."""
    holds: bool | None
    """Whether it holds; ``None`` if that cannot be told."""
    finding: Finding
    """What is said when it does not hold."""


@dataclasses.dataclass(frozen=True, slots=True)
class FileReport:
    """The verdict on one file."""

    path: str
    conclusion: Conclusion
    readers_agree: bool
    """Whether both PDF readers saw the same file without repairing it."""
    sender: SenderReport | None
    signatures: tuple[SignatureReport, ...]
    warnings: tuple[Finding, ...] = ()
    errors: tuple[Finding, ...] = ()
    sha256: str | None = None
    """SHA-256 of the file that was judged, in hexadecimal."""
    policy: str | None = None
    """Name of the policy."""
    checks: tuple[CheckResult, ...] = ()
    """What the policy asks beyond sound signatures, and how that came out."""
    in_baseline: bool = False
    """Whether all that is wrong was known and accepted before."""
    seconds: float | None = dataclasses.field(default=None, compare=False, metadata={"written": False})
    """How long the verification took; two reports on one file are equal all the same, and only JUnit tells."""

    def all_errors(self) -> tuple[Finding, ...]:
        """Return the errors of the file, then those of its signatures."""
        return (*self.errors, *(error for signature in self.signatures for error in signature.errors))


_EXIT_CODES = {
    Conclusion.TOTAL_PASSED: ExitCode.DONE,
    Conclusion.TOTAL_FAILED: ExitCode.NO,
    Conclusion.INDETERMINATE: ExitCode.CANNOT_TELL,
    Conclusion.NO_SIGNATURE: ExitCode.CANNOT_TELL,
    Conclusion.UNREADABLE: ExitCode.UNREADABLE,
}
GRAVEST_FIRST = (
    ExitCode.NO,
    ExitCode.CANNOT_TELL,
    ExitCode.UNREADABLE,
    ExitCode.REFUSED,
    ExitCode.REMOTE,
    ExitCode.DONE,
)
"""Which exit code wins when many files end differently."""


@dataclasses.dataclass(frozen=True, slots=True)
class Basis:
    """What the verdicts rest on."""

    at: datetime.datetime
    """The time for which the question was asked."""
    policy: str
    """Name of the policy."""
    trees: tuple[str, ...]
    """The trees of trust that were given."""
    anchors: tuple[str, ...]
    """SHA-256 fingerprints of the anchors."""
    online: bool
    """Whether servers could be asked about revocation."""
    version: str
    """Version of vnedoc."""


@dataclasses.dataclass(frozen=True, slots=True)
class VerificationReport:
    """The verdicts on one or more files.

    A report is not a truth value: ask :attr:`exit_code`, or call :meth:`raise_for_status`.
    """

    files: tuple[FileReport, ...]
    basis: Basis | None = None
    """What they rest on, where that was kept."""

    def __bool__(self) -> Never:
        raise TypeError("a report is not a truth value: call raise_for_status(), or look at the conclusions")

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of ``vnedoc verify`` for these files; the gravest wins."""
        found = {_exit_code(report) for report in self.files}
        return next((code for code in GRAVEST_FIRST if code in found), ExitCode.CANNOT_TELL)

    def raise_for_status(self) -> None:
        """Do nothing if every file passed; raise otherwise.

        Raises:
            VerificationError: A file TOTAL-FAILED.
            IndeterminateError: A file is INDETERMINATE or has no signature.
            InputError: A file cannot be read.
        """
        code = self.exit_code
        if code is ExitCode.DONE:
            return
        report = next(file for file in self.files if _exit_code(file) is code)
        errors = report.all_errors()
        reason = errors[0] if errors else report.conclusion.value
        kind = {
            ExitCode.NO: VerificationError,
            ExitCode.CANNOT_TELL: IndeterminateError,
        }.get(code, InputError)
        raise kind("verify.not-passed", path=report.path, conclusion=report.conclusion.value, reason=reason)

    def to_dict(self, language: messages.Language | str = messages.Language.EN) -> dict[str, Any]:  # JSON
        """Return the report in the shape of the schema ``vnedoc.verification/1``."""
        table = {"schema": SCHEMA, "files": [_plain(report, language) for report in self.files]}
        return table if self.basis is None else {**table, "basis": _plain(self.basis, language)}


def _exit_code(report: FileReport) -> ExitCode:
    return ExitCode.DONE if report.in_baseline else _EXIT_CODES[report.conclusion]


def _plain(value: object, language: messages.Language | str) -> Any:  # JSON
    if isinstance(value, Finding):
        return {"id": value.id, "text": value.text(language)}
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), language)
            for field in dataclasses.fields(value)
            if field.metadata.get("written", True)
        }
    if isinstance(value, datetime.date):
        # A time is a date, too.
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item, language) for item in value]
    return value
