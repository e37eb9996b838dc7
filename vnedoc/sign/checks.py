"""The checks that a policy can ask for, beyond signatures that are sound and trusted.

Each looks at a finished report and says yes, no or "cannot tell". Whether a signature is valid at all is no check
of a policy: no policy can wave that through (Circular 15/2025/TT-BKHCN, annex II).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc.agencies import normalize_name
from vnedoc.sign.report import (
    CheckResult,
    Conclusion,
    Coverage,
    FileReport,
    Finding,
    SignatureKind,
    SignatureReport,
    SignerRole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vnedoc.sign.policy import Policy, PolicyCheck

__all__ = ["CHECKS", "HIDDEN", "OwnWords", "apply_checks"]

_LEVELS = ("B-B", "B-T", "B-LT", "B-LTA")
_JUDGED = frozenset({Conclusion.TOTAL_PASSED, Conclusion.TOTAL_FAILED, Conclusion.INDETERMINATE})


HIDDEN: Mapping[str, frozenset[str]] = {
    "nothing-covered": frozenset({"verify.covered-text"}),
    "no-hidden-layers": frozenset({"verify.hidden-layers"}),
    "no-spare-objects": frozenset({"verify.spare-objects", "verify.unlisted-objects"}),
    "fields-show-values": frozenset({"verify.field-shows-other", "verify.fields-overlap"}),
}
"""Checks for what a shadow document is prepared with, and the findings that answer them; looked for when asked."""


@dataclasses.dataclass(frozen=True, slots=True)
class OwnWords(Finding):
    """A finding that speaks in the words of a policy file."""

    vi: str = ""
    """What it says in Vietnamese."""
    en: str = ""
    """What it says in English."""

    def text(self, language: messages.Language | str = messages.Language.EN) -> str:
        """Return the sentence in a language."""
        return self.vi if messages.Language(language) is messages.Language.VI else self.en


def apply_checks(report: FileReport, policy: Policy) -> FileReport:
    """Return a report with the outcome of a policy's checks; what fails there is the file's failure.

    A file without a signature, or that cannot be read, keeps its verdict: there is nothing to look at.
    """
    report = dataclasses.replace(report, policy=policy.name)
    if report.conclusion not in _JUDGED:
        return report
    errors, warnings = list(report.errors), list(report.warnings)
    results: list[CheckResult] = []
    conclusion = report.conclusion
    for check in policy.checks:
        if check.level == "ignore":
            continue
        holds = CHECKS[check.id](report, policy)
        finding = _finding(check)
        results.append(CheckResult(check.id, check.level.value, holds, finding))
        if holds:
            continue
        if check.level == "warn" and holds is False:
            warnings.append(finding)
        if check.level == "fail":
            if holds is False:
                errors.append(finding)
                conclusion = Conclusion.TOTAL_FAILED
            elif conclusion is Conclusion.TOTAL_PASSED:
                # What else is wrong says already why it cannot be told.
                errors.append(Finding("policy.undecided", {"check": finding}))
                conclusion = Conclusion.INDETERMINATE
    return dataclasses.replace(
        report, conclusion=conclusion, errors=tuple(errors), warnings=tuple(warnings), checks=tuple(results)
    )


def _finding(check: PolicyCheck) -> Finding:
    message = f"policy.not-{check.id}"
    if check.vi is not None and check.en is not None:
        return OwnWords(message, vi=check.vi, en=check.en)
    return Finding(message)


def _signatures(report: FileReport) -> list[SignatureReport]:
    return [signature for signature in report.signatures if signature.kind is SignatureKind.SIGNATURE]


def _sound(report: FileReport) -> list[SignatureReport]:
    return [item for item in _signatures(report) if item.conclusion is Conclusion.TOTAL_PASSED]


def _signed_by(role: SignerRole) -> _Check:
    def check(report: FileReport, policy: Policy) -> bool | None:
        del policy
        own = [item for item in _signatures(report) if item.role is role]
        if any(item.conclusion is Conclusion.TOTAL_PASSED for item in own):
            return True
        # One that may be right, or may be of that role, leaves the question open.
        possible = (item for item in _signatures(report) if item.role in {role, SignerRole.UNKNOWN})
        return None if any(item.conclusion is not Conclusion.TOTAL_FAILED for item in possible) else False

    return check


def _agency_last(report: FileReport, policy: Policy) -> bool | None:
    del policy
    roles = [item.role for item in _signatures(report) if item.conclusion is not Conclusion.TOTAL_FAILED]
    if SignerRole.AGENCY not in roles:
        return None
    after = roles[_last(roles, SignerRole.AGENCY) + 1 :]
    if SignerRole.PERSON in after:
        return False
    return None if after else True


def _last(roles: list[SignerRole], role: SignerRole) -> int:
    return len(roles) - 1 - roles[::-1].index(role)


def _only_agency(report: FileReport, policy: Policy) -> bool | None:
    del policy
    roles = {item.role for item in _signatures(report)}
    if SignerRole.PERSON in roles:
        return False
    return None if SignerRole.UNKNOWN in roles else True


def _all_listed(report: FileReport, policy: Policy) -> bool | None:
    del policy
    odd = {"verify.unreachable-signature", "verify.signature-not-in-form"}
    return not odd & {finding.id for finding in report.warnings}


def _covers_whole_file(report: FileReport, policy: Policy) -> bool | None:
    del policy
    return bool(report.signatures) and report.signatures[-1].covers is Coverage.WHOLE_FILE


def _government_tree(report: FileReport, policy: Policy) -> bool | None:
    del policy
    trees = {item.trust_tree for item in _sound(report)}
    if "vn-national" in trees:
        return False
    # An anchor that the caller brought may head any tree.
    return True if trees == {"vn-government"} else None


def _level_reached(report: FileReport, policy: Policy) -> bool | None:
    if policy.level is None:
        return None
    wanted = policy.level.value.removeprefix("PAdES-")
    return _all(
        item.level.removeprefix("PAdES-") in _LEVELS[_LEVELS.index(wanted) :] for item in _sound(report)
    )


def _time_proven(report: FileReport, policy: Policy) -> bool | None:
    del policy
    return _all(item.best_signature_time is not None for item in _signatures(report))


def _certificate_named(report: FileReport, policy: Policy) -> bool | None:
    del policy
    return _all(
        all(warning.id != "verify.no-certificate-reference" for warning in item.warnings)
        for item in _signatures(report)
    )


def _person_in_agency(report: FileReport, policy: Policy) -> bool | None:
    del policy
    agencies = {
        normalize_name(name)
        for item in _sound(report)
        if item.role is SignerRole.AGENCY and item.signer is not None
        for name in (item.signer.common_name, item.signer.organization)
        if name
    }
    persons = [item.signer for item in _sound(report) if item.role is SignerRole.PERSON and item.signer]
    if not agencies or not persons:
        return None
    return all(
        bool(agencies & {normalize_name(name) for name in (signer.organization, *signer.units) if name})
        for signer in persons
    )


def _shown_on_page(report: FileReport, policy: Policy) -> bool | None:
    del policy
    return _all(item.box is not None for item in _signatures(report))


def _pss_used(report: FileReport, policy: Policy) -> bool | None:
    del policy
    return _all(
        item.signature_algorithm != "rsassa_pkcs1v15"
        for item in _signatures(report)
        if item.signature_algorithm
    )


def _nothing_found(check_id: str) -> _Check:
    def check(report: FileReport, policy: Policy) -> bool | None:
        del policy
        return not HIDDEN[check_id] & {finding.id for finding in report.warnings}

    return check


def _all(answers: Iterable[bool]) -> bool | None:
    known = list(answers)
    return all(known) if known else None


CHECKS: Mapping[str, _Check] = {
    "person-signed": _signed_by(SignerRole.PERSON),
    "agency-signed": _signed_by(SignerRole.AGENCY),
    "agency-last": _agency_last,
    "only-agency": _only_agency,
    "all-signatures-listed": _all_listed,
    "covers-whole-file": _covers_whole_file,
    "government-tree": _government_tree,
    "level-reached": _level_reached,
    "time-proven": _time_proven,
    "certificate-named": _certificate_named,
    "person-in-agency": _person_in_agency,
    "shown-on-page": _shown_on_page,
    "pss-used": _pss_used,
    **{check_id: _nothing_found(check_id) for check_id in HIDDEN},
}
"""Every check by its id: yes, no, or ``None`` where it cannot be told."""

if TYPE_CHECKING:
    _Check = Callable[[FileReport, Policy], bool | None]
