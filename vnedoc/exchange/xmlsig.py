"""The signature over a package: who signed the header and the attachments, and does it still hold?

XMLDSig with the properties of XAdES-B-B (ETSI EN 319 132-1), judged like the signatures of PDFs (EN 319 102-1).
Signed are ``MessageHeader`` (or ``Status``), ``Bussiness``, ``edXMLManifest`` and the SHA-256 of every attachment as
it travels; not signed are the stations of ``TraceHeaderList`` and ``ErrorList``, to which an axis adds. What today's
kits write in this place is a decoration, and is called that.

The legal value of a document lies in the signatures inside its PDFs; this one says that a sender put this
header and these files together.
"""

from __future__ import annotations

import dataclasses
import datetime
import hmac
from typing import TYPE_CHECKING, Any, Never

from vnedoc._internal import clock
from vnedoc.errors import ExitCode, IndeterminateError, VerificationError
from vnedoc.exchange._edxml.signed import Broken, Covered, SignatureForm, check, examine
from vnedoc.exchange._edxml.signing import cid_uri
from vnedoc.exchange.models import DocumentHeader, ReceivedAttachment
from vnedoc.sign.certificates import guess_role, summarize
from vnedoc.sign.report import (
    CertificateSummary,
    Conclusion,
    Finding,
    Revocation,
    SenderReport,
    SignerRole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc import messages
    from vnedoc.exchange.models import Package, StatusHeader
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.senders import ExpectedSender
    from vnedoc.sign.trust import TrustStore

__all__ = ["PackageSignatureReport", "SignatureForm", "SignedContent", "verify_package_signature"]

# What cannot be told is not called wrong (EN 319 102-1, 5.1.3).
_DOUBTS = frozenset({"GENERIC", "CRYPTO_CONSTRAINTS_FAILURE"})
_COVERED_PARENTS = ("MessageHeader", "Status", "TraceHeaderList/Bussiness", "edXMLBody")


@dataclasses.dataclass(frozen=True, slots=True)
class SignedContent:
    """What the signature covers, and nothing else."""

    header: DocumentHeader | StatusHeader
    """The header as signed; without the stations on its way and what an axis added."""
    attachments: tuple[ReceivedAttachment, ...]
    """The attachments whose digests are signed; their names and descriptions are those of the signed list."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackageSignatureReport:
    """The verdict on the signature over a package.

    A report is not a truth value: look at :attr:`conclusion`, or call :meth:`raise_for_status`.
    """

    form: SignatureForm
    """What stands in the package."""
    conclusion: Conclusion
    """The verdict; a package without a signature, or with a decoration, is NO-SIGNATURE."""
    sub_indication: str | None = None
    """The sub-indication of EN 319 102-1; ``None`` when passed."""
    level: str = "none"
    """``XAdES-B-B`` where everything about it was verified."""
    integrity: bool = False
    """Whether digests and signature value are right and everything is in its place."""
    signature_algorithm: str | None = None
    """The URI of the algorithm."""
    signer: CertificateSummary | None = None
    """Who signed, as the certificate says."""
    role: SignerRole = SignerRole.UNKNOWN
    """Whose certificate it seems to be."""
    trust_anchor: str | None = None
    """Name of the anchor that the chain ends in."""
    trust_tree: str | None = None
    """``vn-government``, ``vn-national`` or ``custom``."""
    signing_time: datetime.datetime | None = None
    """The time that the signer claims."""
    certificate_not_before: datetime.datetime | None = None
    """Start of the certificate's validity."""
    certificate_not_after: datetime.datetime | None = None
    """End of the certificate's validity."""
    revocation: Revocation = dataclasses.field(default_factory=Revocation)
    """What is known of its revocation."""
    sender: SenderReport | None = None
    """Whether the signer is the sender that was named."""
    signed: SignedContent | None = None
    """What was signed; ``None`` unless :attr:`integrity` holds."""
    errors: tuple[Finding, ...] = ()
    """Why it did not pass."""
    warnings: tuple[Finding, ...] = ()
    """What is worth saying."""

    def __bool__(self) -> Never:
        raise TypeError("a report is not a truth value: look at conclusion, or call raise_for_status()")

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that asks for this signature."""
        return {Conclusion.TOTAL_PASSED: ExitCode.DONE, Conclusion.TOTAL_FAILED: ExitCode.NO}.get(
            self.conclusion, ExitCode.CANNOT_TELL
        )

    def raise_for_status(self) -> SignedContent:
        """Return what was signed if the signature passed; raise otherwise.

        Raises:
            VerificationError: It is wrong.
            IndeterminateError: There is none, or it cannot be told.
        """
        if self.conclusion is Conclusion.TOTAL_PASSED and self.signed is not None:
            return self.signed
        reason = self.errors[0].text() if self.errors else self.conclusion.value
        kind = VerificationError if self.conclusion is Conclusion.TOTAL_FAILED else IndeterminateError
        raise kind("xmlsig.not-passed", conclusion=self.conclusion.value, reason=reason)

    def to_dict(self, language: messages.Language | str) -> dict[str, Any]:  # JSON
        """Return the verdict as a table, without what was signed."""
        from vnedoc.exchange.header_files import plain

        table = {
            field.name: plain(getattr(self, field.name), keep_empty=True)
            for field in dataclasses.fields(self)
            if field.name not in {"signed", "errors", "warnings"}
        }
        for name in ("errors", "warnings"):
            table[name] = [
                {"id": finding.id, "text": finding.text(language)} for finding in getattr(self, name)
            ]
        return table


def verify_package_signature(
    package: Package,
    *,
    trust: TrustStore,
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    sender: ExpectedSender | None = None,
    revocation: RevocationSource | None = None,
) -> PackageSignatureReport:
    """Verify the signature over a package that was read.

    Use only what :attr:`PackageSignatureReport.signed` holds where the answer matters.

    Args:
        package: The package.
        trust: The trust anchors; see :func:`vnedoc.sign.trust.load_trust`.
        policy: What is demanded of the certificate; ``None`` is the strict default.
        at: The time for which the question is asked; ``None`` is now.
        sender: The agency that is said to have sent the package.
        revocation: Where revocation data may be asked for; ``None`` asks nobody.

    Raises:
        UsageError: ``at`` has no time zone.
        ConfigurationError: The directory does not know the sender.
    """
    if package.skeleton is None:
        if package.signature is not None:
            return _failed(SignatureForm.FOREIGN, Broken("xmlsig.unreadable", "GENERIC"))
        return _nothing(SignatureForm.NONE, "xmlsig.none")
    form = SignatureForm.PACKAGE
    try:
        shape = examine(package.skeleton)
        form = shape.form
        if form in {SignatureForm.NONE, SignatureForm.DECORATIVE}:
            return _nothing(form, shape.reason)
        if form is SignatureForm.FOREIGN:
            raise Broken("xmlsig.foreign", "GENERIC")
        covered = check(shape)
        signed = SignedContent(_same_header(package.header, covered), _attachments(package, covered))
    except Broken as exc:
        return _failed(form, exc)
    report = PackageSignatureReport(
        form=form,
        conclusion=Conclusion.TOTAL_PASSED,
        level="XAdES-B-B",
        integrity=True,
        signature_algorithm=covered.signature_algorithm,
        signing_time=covered.signing_time,
        signed=signed,
    )
    return _judged(
        report, shape.certificates, trust=trust, policy=policy, at=at, sender=sender, revocation=revocation
    )


def _judged(
    report: PackageSignatureReport,
    certificates: Sequence[x509.Certificate],
    *,
    trust: TrustStore,
    policy: Policy | None,
    at: datetime.datetime | None,
    sender: ExpectedSender | None,
    revocation: RevocationSource | None,
) -> PackageSignatureReport:
    from vnedoc.sign.chains import judge_certificate

    certificate, others = certificates[0], certificates[1:]
    verdict = judge_certificate(
        certificate,
        trust=trust,
        others=others,
        policy=policy,
        at=at,
        claimed=report.signing_time,
        revocation=revocation,
    )
    warnings = list(verdict.warnings)
    if report.signing_time is None:
        warnings.append(Finding("verify.no-time"))
    else:
        warnings.append(Finding("verify.time-only-claimed"))
        if report.signing_time > (at or clock.utc_now()) + datetime.timedelta(minutes=5):
            warnings.append(Finding("xmlsig.from-the-future"))
    report = dataclasses.replace(
        report,
        conclusion=verdict.conclusion,
        sub_indication=verdict.sub_indication,
        signer=summarize(certificate),
        role=guess_role(certificate, sender.directory if sender else None),
        trust_anchor=verdict.trust_anchor,
        trust_tree=verdict.trust_tree,
        certificate_not_before=certificate.not_valid_before_utc,
        certificate_not_after=certificate.not_valid_after_utc,
        revocation=verdict.revocation,
        errors=verdict.errors,
        warnings=tuple(warnings),
    )
    if sender is None:
        return report
    return _matched(report, certificate, sender, now=clock.utc_now() if at is None else clock.as_utc(at))


def _matched(
    report: PackageSignatureReport,
    certificate: x509.Certificate,
    sender: ExpectedSender,
    *,
    now: datetime.datetime,
) -> PackageSignatureReport:
    from vnedoc.sign.senders import AgencySignature, judge_sender

    signed: list[AgencySignature] = []
    # Only an agency's certificate can be that of the sending agency. What its signature is worth was said already.
    if report.role is SignerRole.AGENCY:
        signed.append(AgencySignature(certificate, Conclusion.TOTAL_PASSED, report.signing_time))
    verdict = judge_sender(signed, sender, now=now)
    report = dataclasses.replace(
        report, sender=verdict.report, warnings=(*report.warnings, *verdict.warnings)
    )
    if not verdict.is_mismatch:
        return report
    return dataclasses.replace(
        report,
        conclusion=Conclusion.TOTAL_FAILED,
        sub_indication=report.sub_indication or "GENERIC",
        errors=(*report.errors, *verdict.errors),
    )


def _same_header(header: DocumentHeader | StatusHeader, covered: Covered) -> DocumentHeader | StatusHeader:
    """Return the signed header; it must be the one that the reader of the package saw."""
    signed = _essence(covered.header)
    if _essence(header) != signed:
        raise Broken("xmlsig.other-header", "HASH_FAILURE")
    return signed


def _essence(header: DocumentHeader | StatusHeader) -> DocumentHeader | StatusHeader:
    unknown = tuple(item for item in header.unknown if item.parent.startswith(_COVERED_PARENTS))
    if isinstance(header, DocumentHeader):
        return dataclasses.replace(
            header,
            trace=(),
            trace_list_id=None,
            trace_list_version="1.0",
            trace_list_paper=None,
            errors=(),
            unknown=unknown,
        )
    return dataclasses.replace(header, errors=(), unknown=unknown)


def _attachments(package: Package, covered: Covered) -> tuple[ReceivedAttachment, ...]:
    """Return the attachments if they are exactly those that were signed."""
    left = dict(covered.digests)
    listed = {cid_uri(item.content_id): item for item in covered.references if item.content_id}
    if len(listed) != len(covered.references):
        raise Broken("xmlsig.bad-manifest")
    found = []
    for attachment in package.attachments:
        uri = cid_uri(attachment.content_id) if attachment.content_id else ""
        algorithm, digest = left.pop(uri, ("", ""))
        if not digest or uri not in listed:
            raise Broken("xmlsig.attachment-unsigned", "HASH_FAILURE", name=attachment.file_name)
        if algorithm != "sha256" or not hmac.compare_digest(digest, attachment.payload_sha256):
            raise Broken("xmlsig.attachment-changed", "HASH_FAILURE", name=attachment.file_name)
        item = listed[uri]
        if (item.name or "") != attachment.name or item.description != attachment.description:
            raise Broken("xmlsig.attachment-renamed", "HASH_FAILURE", name=attachment.file_name)
        # What stands beside the content is not covered.
        found.append(dataclasses.replace(attachment, unknown=()))
    if left or len(listed) != len(found):
        missing = next((listed[uri].name for uri in (*left, *listed) if uri in listed), None) or "?"
        raise Broken("xmlsig.attachment-missing", "HASH_FAILURE", name=missing[:200])
    return tuple(found)


def _nothing(form: SignatureForm, reason: str) -> PackageSignatureReport:
    return PackageSignatureReport(form=form, conclusion=Conclusion.NO_SIGNATURE, errors=(Finding(reason),))


def _failed(form: SignatureForm, problem: Broken) -> PackageSignatureReport:
    doubt = problem.sub_indication in _DOUBTS
    return PackageSignatureReport(
        form=form,
        conclusion=Conclusion.INDETERMINATE if doubt else Conclusion.TOTAL_FAILED,
        sub_indication=problem.sub_indication,
        errors=(Finding(problem.message_id, problem.values),),
    )
