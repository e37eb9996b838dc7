"""Is the signer the agency that is said to have sent the document?

No certificate carries the agency code of the exchange. The receiver's directory ties a code to certificates, codes
and names; only the signature of an agency can be matched, a person's never.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cryptography.x509.oid import NameOID

from vnedoc._internal import clock
from vnedoc.agencies import normalize_name
from vnedoc.errors import ConfigurationError
from vnedoc.sign.certificates import mail_addresses, subject_codes
from vnedoc.sign.report import Conclusion, Finding, SenderMatch, SenderReport
from vnedoc.sign.trust import fingerprint

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from cryptography import x509

    from vnedoc.agencies import Agency, AgencyDirectory

__all__ = [
    "STRONGEST_FIRST",
    "AgencySignature",
    "ExpectedSender",
    "SenderVerdict",
    "best_match",
    "judge_sender",
    "match_certificate",
    "reaches",
]

STRONGEST_FIRST = (
    SenderMatch.PINNED,
    SenderMatch.CODED,
    SenderMatch.NAMED,
    SenderMatch.DOMAIN,
    SenderMatch.NONE,
)
"""The match levels in order."""
_IDENTIFYING = frozenset({SenderMatch.PINNED, SenderMatch.CODED, SenderMatch.NAMED})


@dataclasses.dataclass(frozen=True, slots=True)
class ExpectedSender:
    """The agency that is said to have sent, and how sure the receiver wants to be."""

    organ_id: str
    """Its code, in either scheme."""
    directory: AgencyDirectory
    """The receiver's directory."""
    required: SenderMatch = SenderMatch.NAMED
    """The weakest match that is accepted."""
    at: datetime.datetime | None = None
    """The time for which the directory is asked; ``None`` is the time of the signature."""

    def agency(self) -> Agency:
        """Return the directory's entry.

        Raises:
            ConfigurationError: The directory does not know the code, or not on that day.
        """
        return self.directory.resolve(self.organ_id, at=self.day)

    def check_known(self) -> None:
        """Check that the question makes sense before any file is read.

        Raises:
            ConfigurationError: The directory does not know the code, or not on the day that was named.
        """
        self.directory.resolve(self.organ_id)
        if self.at is not None:
            self.agency_on(self.day)

    def agency_on(self, day: datetime.date) -> tuple[Agency, str | None]:
        """Return the agency that had the code on a day, or the one that had taken over its work by then.

        Returns:
            The agency, and the code that was named if it is another one's.

        Raises:
            ConfigurationError: There is none.
        """
        try:
            return self.directory.resolve(self.organ_id, at=day), None
        except ConfigurationError as exc:
            if exc.code != "directory.not-on-that-day":
                raise
            successor = _successor_on(self.directory, self.organ_id, day)
            if successor is None:
                raise
            return successor, self.organ_id

    @property
    def day(self) -> datetime.date:
        """The day to look at, in Vietnam, where no signature says another."""
        return clock.vietnam(self.at or clock.utc_now()).date()


@dataclasses.dataclass(frozen=True, slots=True)
class AgencySignature:
    """What is asked about one signature of an agency."""

    certificate: x509.Certificate
    """Who signed."""
    conclusion: Conclusion
    """What the signature is worth."""
    signed_at: datetime.datetime | None
    """When: proven, or else claimed."""


@dataclasses.dataclass(frozen=True, slots=True)
class SenderVerdict:
    """Whether the sender signed, and what is to be said about it."""

    report: SenderReport
    """The match."""
    is_mismatch: bool = False
    """Whether nothing is from the sender; not if it only cannot be proven."""
    errors: tuple[Finding, ...] = ()
    """Why it is not enough."""
    warnings: tuple[Finding, ...] = ()
    """What helps to understand that."""


def judge_sender(
    signed: Iterable[AgencySignature], sender: ExpectedSender, *, now: datetime.datetime
) -> SenderVerdict:
    """Tell whether one of the signatures is that of the agency that is said to have sent.

    Each is compared with the directory as it was when it was made: names, pins, and who had taken over whose work.
    """
    best = _Compared(SenderMatch.NONE, None, None, sender.day if sender.at else clock.vietnam(now).date())
    unproven = False
    warnings: list[Finding] = []
    for item in signed:
        if item.conclusion is Conclusion.TOTAL_FAILED:
            continue
        found = _compare(item, sender, now)
        enough = found.match is not SenderMatch.NONE and reaches(found.match, sender.required)
        if item.conclusion is Conclusion.INDETERMINATE:
            unproven |= enough
        elif best.agency is None or not reaches(best.match, found.match):
            best = found
        if not enough:
            warnings += _predecessors(item.certificate, sender.directory, found)
    if best.agency is None:
        best = _looked_for(sender, best.day)
    name = best.agency.name if best.agency is not None else sender.organ_id
    report = SenderReport(
        sender.organ_id, best.match, agency=name, day=best.day, successor_of=best.successor_of
    )
    if best.match is not SenderMatch.NONE and reaches(best.match, sender.required):
        return SenderVerdict(report)
    values: dict[str, object] = {"agency": name, "match": best.match.value}
    if unproven:
        # The right certificate is there; only its signature could not be proven.
        return SenderVerdict(report, errors=(Finding("verify.sender-unproven", values),))
    mismatch = Finding("verify.sender-mismatch", values)
    return SenderVerdict(report, is_mismatch=True, errors=(mismatch,), warnings=tuple(warnings))


@dataclasses.dataclass(frozen=True, slots=True)
class _Compared:
    match: SenderMatch
    agency: Agency | None
    successor_of: str | None
    day: datetime.date


def _looked_for(sender: ExpectedSender, day: datetime.date) -> _Compared:
    """Return who would have had to sign on a day."""
    try:
        agency, successor_of = sender.agency_on(day)
    except ConfigurationError:
        agency, successor_of = sender.directory.resolve(sender.organ_id), None
    return _Compared(SenderMatch.NONE, agency, successor_of, day)


def _compare(item: AgencySignature, sender: ExpectedSender, now: datetime.datetime) -> _Compared:
    day = clock.vietnam(sender.at or item.signed_at or now).date()
    try:
        agency, successor_of = sender.agency_on(day)
    except ConfigurationError:
        # It did not exist when this was signed, nor did an heir of its work.
        return _Compared(SenderMatch.NONE, None, None, day)
    return _Compared(match_certificate(item.certificate, agency, on=day), agency, successor_of, day)


def _successor_on(directory: AgencyDirectory, code: str, day: datetime.date) -> Agency | None:
    """Follow who took over whose work to the agency that existed on a day."""
    seen: set[str] = set()
    while code not in seen:
        seen.add(code)
        try:
            entry = _last_before(directory, code, day)
            if entry is None or entry.successor is None:
                return None
            code = entry.successor
            return directory.resolve(code, at=day)
        except ConfigurationError as exc:
            if exc.code != "directory.not-on-that-day":
                return None
    return None


def _last_before(directory: AgencyDirectory, code: str, day: datetime.date) -> Agency | None:
    entry = directory.resolve(code)
    # A day before the agency began has no heir.
    return entry if entry.valid_to is not None and entry.valid_to < day else None


def _predecessors(
    certificate: x509.Certificate, directory: AgencyDirectory, found: _Compared
) -> Iterable[Finding]:
    for agency in directory.agencies:
        if agency.successor is None or agency.valid_to is None or agency.valid_to >= found.day:
            continue
        heir = _successor_on(directory, agency.organ_id, found.day)
        match = match_certificate(certificate, agency, on=agency.valid_to)
        if heir is not None and heir == found.agency and match in _IDENTIFYING:
            yield Finding(
                "verify.sender-predecessor", {"agency": agency.name, "last_day": agency.valid_to.isoformat()}
            )


def match_certificate(certificate: x509.Certificate, agency: Agency, *, on: datetime.date) -> SenderMatch:
    """Tell how well a certificate matches an agency; the strongest level that holds."""
    own = fingerprint(certificate)
    if any(pin.sha256 == own and pin.holds_on(on) for pin in agency.pins):
        return SenderMatch.PINNED
    codes = subject_codes(certificate)
    if (agency.tax_code and codes.get("MST") == agency.tax_code) or (
        agency.budget_code and codes.get("MNS") == agency.budget_code
    ):
        return SenderMatch.CODED
    if _is_named(certificate, agency):
        return SenderMatch.NAMED
    if agency.mail_domain:
        domain = normalize_name(agency.mail_domain).removeprefix("@")
        addresses = (normalize_name(address) for address in mail_addresses(certificate))
        # The whole domain: a body below it has a domain of its own.
        if any(address.rpartition("@")[2] == domain for address in addresses):
            return SenderMatch.DOMAIN
    return SenderMatch.NONE


def best_match(certificates: Iterable[x509.Certificate], agency: Agency, *, on: datetime.date) -> SenderMatch:
    """Return the strongest match among certificates; ``NONE`` without any."""
    found = {match_certificate(certificate, agency, on=on) for certificate in certificates}
    return next((level for level in STRONGEST_FIRST if level in found), SenderMatch.NONE)


def reaches(match: SenderMatch, required: SenderMatch) -> bool:
    """Tell whether a match is at least as strong as required."""
    return STRONGEST_FIRST.index(match) <= STRONGEST_FIRST.index(required)


def _is_named(certificate: x509.Certificate, agency: Agency) -> bool:
    accepted = {normalize_name(name) for name in (agency.name, *agency.names)}
    if not accepted & _names(certificate, NameOID.COMMON_NAME):
        return False
    if not agency.organizations:
        return True
    organizations = {normalize_name(name) for name in agency.organizations}
    return bool(organizations & _names(certificate, NameOID.ORGANIZATION_NAME))


def _names(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> set[str]:
    return {
        normalize_name(attribute.value)
        for attribute in certificate.subject.get_attributes_for_oid(oid)
        if isinstance(attribute.value, str)
    }
