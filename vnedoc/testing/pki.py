"""A throw-away PKI shaped like that of the Vietnamese government, with its services on loopback.

A root, the authority for state agencies and one for services; a leader's certificate, certificates of two agencies
with their tax and budget codes, and a time-stamping authority. Every subject says TEST::

    with running_pki() as pki:
        Path("leader.p12").write_bytes(pki.leader.pkcs12("secret"))
        pki.revoke(pki.other_agency)
        with pki.services.failing(tsa="silent"):
            ...

Names and addresses follow the second generation (G2, SHA-256) of the government's certificate service; keys are
RSA-2048 where the real authorities have RSA-4096, so that a PKI is made in a fraction of a second.
"""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING, Unpack

from cryptography.x509.oid import ExtendedKeyUsageOID

from vnedoc._internal.clock import as_utc, utc_now
from vnedoc.errors import UsageError
from vnedoc.testing import _pki_folder
from vnedoc.testing._authority import (
    GOVERNMENT_KEY_USAGE,
    SIGNER_EXTENDED_KEY_USAGE,
    Authority,
    Identity,
    LeafOptions,
    Profile,
    RevocationReason,
    authority_profile,
    make_key,
    make_root,
    subject_name,
)
from vnedoc.testing._loopback import LoopbackServer
from vnedoc.testing._services import Services
from vnedoc.testing._timestamping import TimestampAuthority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography import x509

__all__ = [
    "AGENCY_BUDGET_CODE",
    "AGENCY_TAX_CODE",
    "OTHER_AGENCY_BUDGET_CODE",
    "OTHER_AGENCY_TAX_CODE",
    "Identity",
    "LeafOptions",
    "Services",
    "TestPKI",
    "running_pki",
]

AGENCY_TAX_CODE = "0000000017"
"""The tax code (mã số thuế) in the certificate of the agency; no province has the number 00."""
AGENCY_BUDGET_CODE = "0000017"
"""The budget code (mã số đơn vị có quan hệ với ngân sách) in the certificate of the agency."""
OTHER_AGENCY_TAX_CODE = "0000000025"
"""The tax code in the certificate of the other agency."""
OTHER_AGENCY_BUDGET_CODE = "0000025"
"""The budget code in the certificate of the other agency."""

_LOCALITY = "Tỉnh TEST"
_PROVINCE = "ỦY BAN NHÂN DÂN TỈNH TEST"
_OPERATOR = "Ban Cơ yếu Chính phủ TEST"

# How long the real ones live: three years for a person, five for an agency, longer for a service.
_PERSON_LIFE = datetime.timedelta(days=3 * 365)
_AGENCY_LIFE = datetime.timedelta(days=5 * 365)
_SERVICE_LIFE = datetime.timedelta(days=10 * 365)
_ISSUED_BEFORE = datetime.timedelta(days=365)


class TestPKI:
    """The authorities, the identities below them, and what their services know.

    Make one with :meth:`create`, :meth:`load` or :func:`running_pki`.

    Args:
        authorities: The authorities by role: ``root``, ``state-ca``, ``services-ca``.
        identities: The identities by role: ``leader``, ``agency``, ``other-agency``, ``tsa``.
        base_url: Where the services answer.
        now: The clock of authorities and services.
    """

    # The name begins like that of a test class; pytest must not collect it.
    __test__ = False

    def __init__(
        self,
        authorities: Mapping[str, Authority],
        identities: Mapping[str, Identity],
        *,
        base_url: str,
        now: Callable[[], datetime.datetime],
    ) -> None:
        self._authorities = dict(authorities)
        self._identities = dict(identities)
        self.base_url = base_url
        """Where the services answer, without a slash at the end."""
        self.now = now
        """The clock; may be replaced."""
        self.services = Services(
            tuple(self._authorities.values()),
            timestamps=TimestampAuthority(self.tsa),
            # Through the attribute, so that a replaced clock counts.
            now=lambda: as_utc(self.now()),
        )
        """What answers over HTTP, and how it can be made to fail."""

    @classmethod
    def create(cls, *, base_url: str, now: Callable[[], datetime.datetime] = utc_now) -> TestPKI:
        """Make a new PKI whose certificates name services below an address; nothing is served yet."""
        authorities = _make_authorities(base_url)
        start = as_utc(now()).replace(microsecond=0) - _ISSUED_BEFORE
        tsa = authorities["services-ca"].issue(
            subject_name(common_name="Dịch vụ cấp dấu thời gian TEST", organization=_OPERATOR),
            make_key("rsa-2048"),
            Profile(
                not_before=start,
                not_after=start + _SERVICE_LIFE,
                key_usage=("digital_signature", "content_commitment"),
                extended_key_usage=(ExtendedKeyUsageOID.TIME_STAMPING,),
                extended_key_usage_critical=True,
            ),
        )
        pki = cls(authorities, {"tsa": tsa}, base_url=base_url, now=now)
        pki._identities["leader"] = pki.issue_person(
            common_name="NGUYỄN VĂN TEST", organization=_PROVINCE, email="lanhdao@tinh-test.example"
        )
        pki._identities["agency"] = pki.issue_agency(
            common_name=_PROVINCE,
            organization=_PROVINCE,
            tax_code=AGENCY_TAX_CODE,
            budget_code=AGENCY_BUDGET_CODE,
            email="vanthu@tinh-test.example",
        )
        pki._identities["other-agency"] = pki.issue_agency(
            common_name="SỞ TEST KHÁC",
            organization="ỦY BAN NHÂN DÂN TỈNH TEST KHÁC",
            tax_code=OTHER_AGENCY_TAX_CODE,
            budget_code=OTHER_AGENCY_BUDGET_CODE,
            email="vanthu@tinh-khac-test.example",
        )
        return pki

    @classmethod
    def load(
        cls, folder: Path, *, passphrase: str, now: Callable[[], datetime.datetime] = utc_now
    ) -> TestPKI:
        """Read a PKI that :meth:`write` wrote; nothing is served yet.

        Raises:
            ConfigurationError: The folder holds no test PKI, or a damaged one.
            CredentialError: The passphrase is wrong.
        """
        stored = _pki_folder.read(folder, passphrase=passphrase)
        return cls(stored.authorities, stored.identities, base_url=stored.base_url, now=now)

    def write(self, folder: Path, *, passphrase: str, replace: bool = False) -> tuple[str, ...]:
        """Write certificates, PKCS #12 files, encrypted keys and ``pki.json`` into a folder.

        Args:
            folder: Is made if it is missing. Files with keys are readable by their owner only.
            passphrase: Encrypts every key.
            replace: Whether a PKI that is there may be overwritten.

        Returns:
            The names of the files, ``pki.json`` last.

        Raises:
            UsageError: The folder holds such files already.
            CredentialError: The passphrase is empty.
            InputError: The folder cannot be written to.
        """
        stored = _pki_folder.StoredPKI(self._authorities, self._identities, self.base_url)
        return _pki_folder.write(stored, folder, passphrase=passphrase, replace=replace)

    @property
    def root(self) -> Identity:
        """The root."""
        return self._authorities["root"].identity

    @property
    def state_ca(self) -> Identity:
        """The authority for state agencies; it issues the signing certificates."""
        return self._authorities["state-ca"].identity

    @property
    def services_ca(self) -> Identity:
        """The authority for services; it issues the certificate of the time-stamping authority."""
        return self._authorities["services-ca"].identity

    @property
    def tsa_ca(self) -> Identity:
        """The authority above the time-stamping authority; the same as :attr:`services_ca`."""
        return self.services_ca

    @property
    def leader(self) -> Identity:
        """A person with authority."""
        return self._identities["leader"]

    @property
    def agency(self) -> Identity:
        """The agency of the leader."""
        return self._identities["agency"]

    @property
    def other_agency(self) -> Identity:
        """Another agency."""
        return self._identities["other-agency"]

    @property
    def tsa(self) -> Identity:
        """The time-stamping authority."""
        return self._identities["tsa"]

    @property
    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificates of all authorities, the root first."""
        return tuple(authority.identity.certificate for authority in self._authorities.values())

    @property
    def tsa_url(self) -> str:
        """Where timestamps are given."""
        return f"{self.base_url}/tsa"

    @property
    def ocsp_url(self) -> str:
        """Where the status of a certificate can be asked for."""
        return f"{self.base_url}/ocsp"

    @property
    def crl_urls(self) -> tuple[str, ...]:
        """Where the lists of revoked certificates are: of the root, for state agencies, for services."""
        return tuple(authority.crl_url for authority in self._authorities.values())

    def issue_person(
        self,
        *,
        common_name: str,
        organization: str,
        units: Sequence[str] = (),
        email: str | None = None,
        **options: Unpack[LeafOptions],
    ) -> Identity:
        """Issue the certificate of a person.

        Args:
            common_name: The name of the person.
            organization: The agency, value of O.
            units: Its units, values of OU, from the largest.
            email: The address in subjectAltName.
            **options: See :class:`LeafOptions`.

        Raises:
            UsageError: The subject does not say TEST, or an option is wrong.
        """
        subject = subject_name(
            common_name=common_name,
            organization=organization,
            units=units,
            locality=options.get("locality", _LOCALITY),
        )
        return self._issue(subject, email, _PERSON_LIFE, options)

    def issue_agency(
        self,
        *,
        common_name: str,
        organization: str,
        tax_code: str | None = None,
        budget_code: str | None = None,
        email: str | None = None,
        **options: Unpack[LeafOptions],
    ) -> Identity:
        """Issue the certificate of an agency.

        Args:
            common_name: The name of the agency.
            organization: The agency above it, value of O.
            tax_code: The tax code, a UID value after ``MST:``.
            budget_code: The budget code, a UID value after ``MNS:``.
            email: The address in subjectAltName.
            **options: See :class:`LeafOptions`.

        Raises:
            UsageError: The subject does not say TEST, or an option is wrong.
        """
        codes = (("MST", tax_code), ("MNS", budget_code))
        subject = subject_name(
            common_name=common_name,
            organization=organization,
            user_ids=[f"{prefix}:{code}" for prefix, code in codes if code is not None],
            locality=options.get("locality", _LOCALITY),
        )
        return self._issue(subject, email, _AGENCY_LIFE, options)

    def _issue(
        self, subject: x509.Name, email: str | None, life: datetime.timedelta, options: LeafOptions
    ) -> Identity:
        start = as_utc(self.now()).replace(microsecond=0) - _ISSUED_BEFORE
        not_before = options.get("not_before", start)
        key_usage = options.get("key_usage", GOVERNMENT_KEY_USAGE)
        purposes = options.get("extended_key_usage", SIGNER_EXTENDED_KEY_USAGE)
        profile = Profile(
            not_before=not_before,
            not_after=options.get("not_after", not_before + life),
            key_usage=None if key_usage is None else tuple(key_usage),
            extended_key_usage=None if purposes is None else tuple(purposes),
            email=email,
            revocation_urls=options.get("revocation_urls", True),
        )
        return self._authorities["state-ca"].issue(subject, make_key(options.get("key", "rsa-2048")), profile)

    def revoke(
        self,
        identity: Identity,
        *,
        at: datetime.datetime | None = None,
        reason: RevocationReason = "key_compromise",
    ) -> None:
        """Revoke a certificate; its authority's list and OCSP responder say so from then on.

        Args:
            identity: An identity, or an authority, of this PKI.
            at: Since when; ``None`` means now. Before that moment the services say good.
            reason: Why.

        Raises:
            UsageError: The certificate is not from this PKI, or the reason is unknown.
        """
        certificate = identity.certificate
        for authority in self._authorities.values():
            if authority.identity.certificate.subject == certificate.issuer:
                # The lists and responses carry whole seconds.
                moment = (self.now() if at is None else at).replace(microsecond=0)
                authority.revoke(certificate.serial_number, at=moment, reason=reason)
                return
        raise UsageError("pki.not-issued", serial=f"{certificate.serial_number:X}")

    @contextlib.contextmanager
    def clock_at(self, moment: datetime.datetime) -> Iterator[None]:
        """Let the clock of authorities and services stand at a moment inside a ``with`` block."""
        before, fixed = self.now, as_utc(moment)
        self.now = lambda: fixed
        try:
            yield
        finally:
            self.now = before

    @contextlib.contextmanager
    def serving(self) -> Iterator[TestPKI]:
        """Answer at :attr:`base_url` inside a ``with`` block.

        Raises:
            ConfigurationError: The port is taken.
        """
        server = LoopbackServer(int(self.base_url.rpartition(":")[2]))
        try:
            server.start(self.services)
            yield self
        finally:
            server.stop()


@contextlib.contextmanager
def running_pki(*, port: int = 0, now: Callable[[], datetime.datetime] = utc_now) -> Iterator[TestPKI]:
    """Make a PKI and answer for it on loopback inside a ``with`` block.

    Args:
        port: The port on 127.0.0.1; 0 takes a free one.
        now: The clock of authorities and services.

    Raises:
        ConfigurationError: The port is taken.
    """
    # The port comes first: the certificates carry the addresses of the services.
    server = LoopbackServer(port)
    try:
        pki = TestPKI.create(base_url=server.base_url, now=now)
        server.start(pki.services)
        yield pki
    finally:
        server.stop()


def _make_authorities(base_url: str) -> dict[str, Authority]:
    root = Authority(
        make_root(
            subject_name(common_name="RootCA chuyên dùng Chính phủ G2 TEST", organization=_OPERATOR),
            make_key("rsa-2048"),
        ),
        name="rootcag2",
        base_url=base_url,
    )
    authorities = {"root": root}
    for role, name, common_name in (
        ("state-ca", "cpcag2", "CA phục vụ các cơ quan Nhà nước G2 TEST"),
        ("services-ca", "ssg2", "CA phục vụ cho dịch vụ phần mềm G2 TEST"),
    ):
        identity = root.issue(
            subject_name(common_name=common_name, organization=_OPERATOR),
            make_key("rsa-2048"),
            authority_profile(path_length=0),
        )
        authorities[role] = Authority(identity, name=name, base_url=base_url)
    return authorities
