"""Verifying a package as a file: every PDF in it, its own signature if it has one, and who says to have sent it.

Decision 28/2018/QĐ-TTg, article 9.1, has completeness, integrity and origin checked. The sender that the header
names is compared with the agency that signed; whether the package may be passed on is decided in
:mod:`vnedoc.exchange.judgement`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError, InputError
from vnedoc.exchange.package import read_package
from vnedoc.exchange.xmlsig import SignatureForm, verify_package_signature
from vnedoc.sign.bulk_verification import Judged, verify_many
from vnedoc.sign.evidence import Inquiries, RecordingSource
from vnedoc.sign.report import (
    Changes,
    Conclusion,
    Coverage,
    FileReport,
    Finding,
    SenderMatch,
    SignatureKind,
    SignatureReport,
)
from vnedoc.sign.senders import ExpectedSender

if TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from vnedoc.agencies import AgencyDirectory
    from vnedoc.exchange.models import Package, ReceivedAttachment
    from vnedoc.exchange.xmlsig import PackageSignatureReport
    from vnedoc.sign._crew import VerificationCrew
    from vnedoc.sign.bulk_verification import Task
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import TrustStore

__all__ = ["VerifiedPackage", "verify_origin", "verify_package"]

PDF_TYPE = "application/pdf"
_GRAVEST_FIRST = (
    Conclusion.TOTAL_FAILED,
    Conclusion.INDETERMINATE,
    Conclusion.UNREADABLE,
    Conclusion.NO_SIGNATURE,
)
# Only the main document is signed by a person (Decree 30/2020/NĐ-CP, annex I, part I, II.8b and III.1d).
_MAIN_ONLY = frozenset({"person-signed", "agency-last", "person-in-agency"})


@dataclasses.dataclass(frozen=True, slots=True)
class VerifiedPackage:
    """The verdicts on a package."""

    judged: tuple[Judged, ...]
    """The package itself, then its PDFs in their order, as ``PACKAGE!/NAME``."""
    paths: dict[str, Path]
    """Where each PDF lies, by the path in its report."""


def verify_package(
    path: Path,
    *,
    folder: Path,
    task: Task,
    directory: AgencyDirectory | None = None,
    jobs: int = 1,
    crew: VerificationCrew | None = None,
    keep_evidence: bool = False,
) -> VerifiedPackage:
    """Verify an edXML package and everything in it.

    The first PDF is the main document; of the others no person's signature is asked. The verdict on the package is
    the gravest of all.

    Args:
        path: The package.
        folder: An empty folder for its attachments.
        task: What is asked; its sender, if there is one, must be the one that the header names.
        directory: The agency directory; ``None``: the header's sender cannot be compared with anybody.
        jobs: How many processes, without a crew.
        crew: The processes that verify the PDFs.
        keep_evidence: Whether the signers' certificates are wanted, too.
    """
    began = time.perf_counter()
    try:
        package = read_package(path, folder=folder)
    except InputError as exc:
        report = FileReport(
            path=str(path),
            conclusion=Conclusion.UNREADABLE,
            readers_agree=False,
            sender=None,
            signatures=(),
            errors=(Finding(exc.code, dict(exc.values)),),
            policy=task.policy.name,
        )
        return VerifiedPackage((Judged(report),), {})
    expected = None if task.sender is None else task.sender.organ_id
    sender, errors = _sender(package, expected, directory, task.policy.sender_match)
    warnings = []
    if directory is None:
        claimed = package.header.sender.organ_id
        warnings.append(Finding("verify.package-sender-unchecked", {"claimed": claimed}))
    asked = dataclasses.replace(task, sender=sender)
    inside = _verify_attachments(path, package, asked, jobs=jobs, crew=crew, keep_evidence=keep_evidence)
    warnings += [
        Finding("exchange.not-verifiable", {"name": attachment.name})
        for attachment in package.attachments
        if not _is_pdf(attachment)
    ]
    if package.attachments and not inside.judged:
        errors.append(Finding("exchange.no-pdf"))
    own, inquiries = _verify_signature(package, task, sender)
    conclusion = _conclude(own, inside.judged, errors)
    report = FileReport(
        path=str(path),
        conclusion=conclusion,
        readers_agree=all(item.report.readers_agree for item in inside.judged),
        sender=own.sender,
        signatures=(_as_signature(own),) if own.signer is not None else (),
        errors=(*errors, *(own.errors if own.conclusion is not Conclusion.NO_SIGNATURE else ())),
        warnings=(*warnings, *(own.errors if own.conclusion is Conclusion.NO_SIGNATURE else ())),
        sha256=package.sha256,
        policy=task.policy.name,
        # What its PDFs took stands with them.
        seconds=max(
            time.perf_counter() - began - sum(item.report.seconds or 0.0 for item in inside.judged), 0.0
        ),
    )
    return VerifiedPackage((Judged(report, inquiries), *inside.judged), inside.paths)


def verify_origin(
    package: Package,
    *,
    trust: TrustStore,
    directory: AgencyDirectory | None = None,
    sender: str | None = None,
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    revocation: RevocationSource | None = None,
) -> PackageSignatureReport:
    """Verify the signature over a package, and that who signed is the sender that the header names.

    The documents in it are not looked at: :func:`verify_package` does that.

    Args:
        package: The package that was read.
        trust: The trust anchors.
        directory: The receiver's directory, which ties codes to certificates; ``None`` compares with nobody.
        sender: The code of the agency from which the package is said to be; the header must name it, too.
        policy: What is demanded of the certificate; ``None`` is the strict default.
        at: The time for which the question is asked; ``None`` is now.
        revocation: Where revocation data may be asked for; ``None`` asks nobody.

    Returns:
        The verdict; TOTAL-FAILED also where the header names another sender, or one that the directory does not know
        although the package is signed.

    Raises:
        UsageError: ``at`` has no time zone.
    """
    required = SenderMatch.NAMED if policy is None else policy.sender_match
    expected, errors = _sender(package, sender, directory, required)
    report = verify_package_signature(
        package, trust=trust, policy=policy, at=at, sender=expected, revocation=revocation
    )
    if sender is None and report.form is not SignatureForm.PACKAGE:
        # Nobody asked, and nobody claims to have signed.
        return report
    if not errors:
        return report
    return dataclasses.replace(
        report,
        conclusion=Conclusion.TOTAL_FAILED,
        sub_indication=report.sub_indication or "GENERIC",
        errors=(*errors, *report.errors),
    )


def _sender(
    package: Package, expected: str | None, directory: AgencyDirectory | None, required: SenderMatch
) -> tuple[ExpectedSender | None, list[Finding]]:
    """Return the sender that the header names, as far as the directory knows it, with errors."""
    claimed = package.header.sender.organ_id
    errors: list[Finding] = []
    if expected is not None and expected != claimed:
        values: dict[str, object] = {"claimed": claimed, "expected": expected}
        errors.append(Finding("verify.package-other-sender", values))
    if directory is None:
        return None, errors
    sender = ExpectedSender(claimed, directory, required=required)
    try:
        sender.check_known()
    except ConfigurationError as exc:
        # Whom the directory does not know cannot be told from a stranger.
        return None, [*errors, Finding(exc.code, dict(exc.values))]
    return sender, errors


def _verify_attachments(
    path: Path,
    package: Package,
    task: Task,
    *,
    jobs: int,
    crew: VerificationCrew | None,
    keep_evidence: bool,
) -> VerifiedPackage:
    found = [item for item in package.attachments if _is_pdf(item) and item.path is not None]
    judged: list[Judged] = []
    paths: dict[str, Path] = {}
    lesser = tuple(check for check in task.policy.checks if check.id not in _MAIN_ONLY)
    appendix = dataclasses.replace(task, policy=dataclasses.replace(task.policy, checks=lesser))
    for part, asked in ((found[:1], task), (found[1:], appendix)):
        places = [item.path for item in part if item.path is not None]
        answers = verify_many(places, asked, jobs=jobs, crew=crew, keep_evidence=keep_evidence)
        for place, item, answer in zip(places, part, answers, strict=True):
            shown = f"{path}!/{item.name}"
            # Two attachments may have the same name.
            if shown in paths:
                shown = f"{path}!/{place.name}"
            paths[shown] = place
            judged.append(dataclasses.replace(answer, report=dataclasses.replace(answer.report, path=shown)))
    return VerifiedPackage(tuple(judged), paths)


def _is_pdf(attachment: ReceivedAttachment) -> bool:
    # A PDF by name that is none by its bytes is not let off: it is read, and fails.
    return attachment.detected_type == PDF_TYPE or pathlib.PurePath(attachment.name).suffix.lower() == ".pdf"


def _verify_signature(
    package: Package, task: Task, sender: ExpectedSender | None
) -> tuple[PackageSignatureReport, Inquiries]:
    with task.source() as source:
        report = verify_package_signature(
            package, trust=task.trust(), policy=task.policy, at=task.at, sender=sender, revocation=source
        )
        return report, source.take() if isinstance(source, RecordingSource) else {}


def _conclude(own: PackageSignatureReport, inside: tuple[Judged, ...], errors: list[Finding]) -> Conclusion:
    found = {item.report.conclusion for item in inside}
    if errors:
        found.add(Conclusion.TOTAL_FAILED)
    if own.conclusion is not Conclusion.NO_SIGNATURE:
        found.add(own.conclusion)
    if not found:
        # A status, or an order without attachments, that nobody signed.
        return Conclusion.NO_SIGNATURE
    return next((item for item in _GRAVEST_FIRST if item in found), Conclusion.TOTAL_PASSED)


def _as_signature(own: PackageSignatureReport) -> SignatureReport:
    return SignatureReport(
        field="edXML",
        kind=SignatureKind.SIGNATURE,
        role=own.role,
        conclusion=own.conclusion,
        sub_indication=own.sub_indication,
        level=own.level,
        subfilter=None,
        digest_algorithm=None,
        signature_algorithm=own.signature_algorithm,
        signer=own.signer,
        trust_anchor=own.trust_anchor,
        trust_tree=own.trust_tree,
        signing_time=own.signing_time,
        time_source="claimed",
        best_signature_time=None,
        certificate_not_before=own.certificate_not_before,
        certificate_not_after=own.certificate_not_after,
        integrity=own.integrity,
        covers=Coverage.WHOLE_FILE if own.integrity else Coverage.PART,
        changes_after=Changes.NONE,
        revocation=own.revocation,
        warnings=own.warnings,
    )
