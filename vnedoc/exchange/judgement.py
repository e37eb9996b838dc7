"""Decide whether a received package may be passed on: is every PDF in it signed, and by the agency that sent it?

Decision 28/2018/QĐ-TTg, article 9.1: completeness, integrity and origin are checked before a document is accepted.
Decree 30/2020/NĐ-CP, annex I: the document carries the signature of the competent person and of the agency, an
appendix in a file of its own that of the agency.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.exchange.models import DocumentHeader
from vnedoc.sign.report import Conclusion, FileReport, Finding, SenderMatch, SignerRole

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from vnedoc.agencies import AgencyDirectory
    from vnedoc.exchange.models import Package, ReceivedAttachment
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import TrustStore

__all__ = ["Judge", "PackageJudgement", "PackagePolicy", "judge_package"]

PDF_TYPE = "application/pdf"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackagePolicy:
    """What is demanded of the documents in a package."""

    verification: Policy | None = None
    """What is demanded of each signature; ``None`` is the strict default."""
    required_match: SenderMatch = SenderMatch.NAMED
    """The weakest match of certificate and sender that is accepted."""
    person_on_main: bool = True
    """Whether the main document needs a person's signature beside the agency's."""
    refuse_other_formats: bool = False
    """Whether an attachment that is no PDF, and so cannot be verified, is a reason to refuse."""


@dataclasses.dataclass(frozen=True, slots=True)
class PackageJudgement:
    """Whether a package may be passed on, and why not."""

    accepted: bool
    """Whether it may be passed on; if not, it is kept apart."""
    reasons: tuple[Finding, ...] = ()
    """Why not."""
    warnings: tuple[Finding, ...] = ()
    """What was odd but is no reason."""
    files: tuple[FileReport, ...] = ()
    """The verdicts on its PDFs, in the order of the package."""


Judge: TypeAlias = Callable[["Package"], PackageJudgement]
"""Decides whether a received package, whose attachments are on the disk, may be passed on."""


def judge_package(
    package: Package,
    *,
    trust: TrustStore,
    directory: AgencyDirectory,
    policy: PackagePolicy = PackagePolicy(),
    at: datetime.datetime | None = None,
    revocation: RevocationSource | None = None,
) -> PackageJudgement:
    """Verify every PDF of a package that was read with a folder.

    The first PDF is the main document. A status and an order without attachments carry nothing to verify: who
    sent them is what the axis vouches for.

    Args:
        package: The package; its attachments are on the disk.
        trust: The trust anchors.
        directory: The receiver's directory, which ties the sender's code to certificates.
        policy: What is demanded.
        at: The time for which the question is asked; ``None`` is now.
        revocation: Where revocation data may be asked for; ``None`` uses what the files bring.

    Raises:
        UsageError: The package was only looked at, without a folder.
    """
    from vnedoc.sign.senders import ExpectedSender
    from vnedoc.sign.verification import verify_pdf

    if not isinstance(package.header, DocumentHeader):
        return PackageJudgement(accepted=True)
    if not package.attachments:
        return PackageJudgement(accepted=True, warnings=(Finding("exchange.no-attachment"),))
    sender = ExpectedSender(package.header.sender.organ_id, directory, required=policy.required_match, at=at)
    reasons: list[Finding] = []
    warnings: list[Finding] = []
    reports: list[FileReport] = []
    for attachment in package.attachments:
        if not _is_pdf(attachment):
            found = Finding("exchange.not-verifiable", {"name": attachment.name})
            (reasons if policy.refuse_other_formats else warnings).append(found)
            continue
        if attachment.path is None:
            raise UsageError("package.not-extracted", name=attachment.name)
        try:
            report = verify_pdf(
                attachment.path,
                trust=trust,
                policy=policy.verification,
                at=at,
                sender=sender,
                revocation=revocation,
            ).files[0]
        except ConfigurationError as error:
            # Whom the directory does not know cannot be told from a stranger.
            reasons.append(Finding(error.code, dict(error.values)))
            break
        needs_person = policy.person_on_main and not reports
        reasons += _objections(attachment, report, needs_person=needs_person)
        warnings += report.warnings
        reports.append(report)
    else:
        if not reports:
            reasons.append(Finding("exchange.no-pdf"))
    return PackageJudgement(not reasons, tuple(reasons), tuple(warnings), tuple(reports))


def _is_pdf(attachment: ReceivedAttachment) -> bool:
    # A PDF by name that is none by its bytes is not let off: it is read, and fails.
    return attachment.detected_type == PDF_TYPE or pathlib.PurePath(attachment.name).suffix.lower() == ".pdf"


def _objections(
    attachment: ReceivedAttachment, report: FileReport, *, needs_person: bool
) -> Iterator[Finding]:
    if report.conclusion is not Conclusion.TOTAL_PASSED:
        errors = report.all_errors()
        yield Finding(
            "exchange.not-passed",
            {
                "name": attachment.name,
                "conclusion": report.conclusion.value,
                "reason": errors[0].id if errors else report.conclusion.value,
            },
        )
        return
    roles = {
        signature.role for signature in report.signatures if signature.conclusion is Conclusion.TOTAL_PASSED
    }
    if SignerRole.AGENCY not in roles:
        yield Finding("exchange.no-agency-signature", {"name": attachment.name})
    if needs_person and SignerRole.PERSON not in roles:
        yield Finding("exchange.no-person-signature", {"name": attachment.name})
