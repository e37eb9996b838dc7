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
from vnedoc.sign.certificates import mail_addresses, subject_codes
from vnedoc.sign.report import SenderMatch
from vnedoc.sign.trust import fingerprint

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from cryptography import x509

    from vnedoc.agencies import Agency, AgencyDirectory

__all__ = ["STRONGEST_FIRST", "ExpectedSender", "best_match", "match_certificate", "reaches"]

STRONGEST_FIRST = (
    SenderMatch.PINNED,
    SenderMatch.CODED,
    SenderMatch.NAMED,
    SenderMatch.DOMAIN,
    SenderMatch.NONE,
)
"""The match levels in order."""


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
    """When it sent; ``None`` is now."""

    def agency(self) -> Agency:
        """Return the directory's entry.

        Raises:
            ConfigurationError: The directory does not know the code, or not on that day.
        """
        return self.directory.resolve(self.organ_id, at=self.day)

    @property
    def day(self) -> datetime.date:
        """The day to look at, in Vietnam."""
        return clock.vietnam(self.at or clock.utc_now()).date()


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
