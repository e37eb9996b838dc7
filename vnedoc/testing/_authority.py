"""Certificates of a test PKI and the authorities that issue and revoke them.

The profiles copy those of the certificate service of the Vietnamese government, second generation (SHA-256): an
authority with path length 0 and the policy 2.16.704.1.1.1.1.1 below the root; signing certificates with all four
end-entity usages of government tokens, critical, and the extended usages clientAuth, emailProtection and smart-card
logon. RFC 5280 names the extensions.
"""

from __future__ import annotations

import datetime
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from vnedoc._internal.clock import as_utc
from vnedoc.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "GOVERNMENT_KEY_USAGE",
    "GOVERNMENT_POLICY",
    "SIGNER_EXTENDED_KEY_USAGE",
    "Authority",
    "Identity",
    "KeyKind",
    "KeyUsageName",
    "LeafOptions",
    "PrivateKey",
    "Profile",
    "Revocation",
    "RevocationReason",
    "authority_profile",
    "make_key",
    "make_root",
    "subject_name",
]

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""A key of a test certificate."""

KeyKind: TypeAlias = Literal["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256"]
"""The kinds of keys that can be made."""

KeyUsageName: TypeAlias = Literal[
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
]
"""The bits of the extension keyUsage (RFC 5280, clause 4.2.1.3)."""

RevocationReason: TypeAlias = Literal[
    "unspecified",
    "key_compromise",
    "ca_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "certificate_hold",
    "privilege_withdrawn",
    "aa_compromise",
]
"""Why a certificate was revoked (RFC 5280, clause 5.3.1)."""

GOVERNMENT_POLICY = x509.ObjectIdentifier("2.16.704.1.1.1.1.1")
"""The certificate policy of government certificates."""

GOVERNMENT_KEY_USAGE: tuple[KeyUsageName, ...] = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
)
"""The usages that a government token carries; real ones never have an extended usage for signing documents."""

SIGNER_EXTENDED_KEY_USAGE: tuple[x509.ObjectIdentifier, ...] = (
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.SMARTCARD_LOGON,
)
"""The extended usages that a government token carries."""

_CA_NOT_BEFORE = datetime.datetime(2018, 8, 22, tzinfo=datetime.UTC)
_CA_NOT_AFTER = datetime.datetime(2048, 8, 14, tzinfo=datetime.UTC)


class LeafOptions(TypedDict, total=False):
    """What a test may choose about a signing certificate; everything has the government's default."""

    not_before: datetime.datetime
    """The first moment of validity; aware."""
    not_after: datetime.datetime
    """The last moment of validity; aware."""
    key_usage: Iterable[KeyUsageName] | None
    """The bits of keyUsage; ``None`` leaves the extension out."""
    extended_key_usage: Iterable[x509.ObjectIdentifier] | None
    """The purposes; ``None`` leaves the extension out."""
    key: KeyKind | PrivateKey
    """The kind of key to make, or a key to certify again."""
    revocation_urls: bool
    """Whether the certificate says where its CRL and its OCSP responder are."""
    locality: str
    """The place in the subject."""


@dataclass(frozen=True, eq=False)
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    """The certificate."""
    private_key: PrivateKey = field(repr=False)
    """Its key; throw-away."""
    chain: tuple[x509.Certificate, ...] = ()
    """The certificates above it, nearest issuer first, root last."""

    @property
    def common_name(self) -> str:
        """The common name of the subject."""
        (attribute, *_) = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(attribute.value)

    def sign(self, content: bytes) -> bytes:
        """Sign bytes with SHA-256, by RSA PKCS #1 v1.5 or ECDSA."""
        if isinstance(self.private_key, rsa.RSAPrivateKey):
            return self.private_key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        return self.private_key.sign(content, ec.ECDSA(hashes.SHA256()))

    def pkcs12(self, passphrase: str) -> bytes:
        """Return certificate, key and chain as a PKCS #12 file.

        Raises:
            CredentialError: The passphrase is empty.
        """
        return pkcs12.serialize_key_and_certificates(
            self.common_name.encode(),
            self.private_key,
            self.certificate,
            self.chain,
            _encryption(passphrase),
        )

    def private_key_pem(self, passphrase: str) -> bytes:
        """Return the key as encrypted PKCS #8 in PEM.

        Raises:
            CredentialError: The passphrase is empty.
        """
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, _encryption(passphrase)
        )

    def certificate_pem(self) -> bytes:
        """Return the certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Revocation:
    """That a certificate was revoked."""

    serial: int
    """The serial number of the certificate."""
    at: datetime.datetime
    """Since when."""
    reason: RevocationReason
    """Why."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What goes into a certificate beside the subject and the key."""

    not_before: datetime.datetime
    """The first moment of validity."""
    not_after: datetime.datetime
    """The last moment of validity."""
    key_usage: tuple[KeyUsageName, ...] | None = GOVERNMENT_KEY_USAGE
    """The bits of keyUsage, critical; ``None`` leaves the extension out."""
    extended_key_usage: tuple[x509.ObjectIdentifier, ...] | None = None
    """The purposes; ``None`` leaves the extension out."""
    extended_key_usage_critical: bool = False
    """Whether the purposes are critical; RFC 3161, clause 2.3 asks for it in a time-stamping certificate."""
    email: str | None = None
    """The e-mail address in subjectAltName."""
    path_length: int | None = None
    """For an authority: how many authorities may stand below it."""
    authority: bool = False
    """Whether the certificate may issue others."""
    revocation_urls: bool = True
    """Whether the certificate says where its CRL and its OCSP responder are."""
    ocsp_no_check: bool = False
    """Whether the certificate is exempt from revocation checks (RFC 6960, clause 4.2.2.2.1)."""


class Authority:
    """A certification authority: issues, revokes, publishes its list.

    Args:
        identity: Its certificate and key.
        name: How its files are called under ``/crt/`` and ``/crl/``.
        base_url: Where its services answer.
    """

    def __init__(self, identity: Identity, *, name: str, base_url: str) -> None:
        self.identity = identity
        self.name = name
        self._base_url = base_url
        self._lock = threading.Lock()
        self._issued: set[int] = set()
        self._revoked: dict[int, Revocation] = {}

    @property
    def crl_url(self) -> str:
        """Where the list of revoked certificates is."""
        return f"{self._base_url}/crl/{self.name}.crl"

    @property
    def certificate_url(self) -> str:
        """Where the certificate of the authority is."""
        return f"{self._base_url}/crt/{self.name}.crt"

    @property
    def ocsp_url(self) -> str:
        """Where the status of a certificate can be asked for."""
        return f"{self._base_url}/ocsp"

    @property
    def issued(self) -> tuple[int, ...]:
        """The serial numbers of all certificates of this authority."""
        with self._lock:
            return tuple(sorted(self._issued))

    def issue(self, subject: x509.Name, key: PrivateKey, profile: Profile) -> Identity:
        """Issue a certificate.

        Raises:
            UsageError: The subject does not say TEST.
        """
        issuer = self.identity.certificate
        builder = _builder(subject, key, profile, issuer=issuer.subject).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        builder = builder.add_extension(_policies(f"{self._base_url}/cps"), critical=False)
        for extension in self._pointers(profile):
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(self.identity.private_key, hashes.SHA256())
        with self._lock:
            self._issued.add(certificate.serial_number)
        return Identity(certificate, key, (issuer, *self.identity.chain))

    def _pointers(self, profile: Profile) -> Iterable[x509.ExtensionType]:
        if profile.ocsp_no_check:
            yield x509.OCSPNoCheck()
            return
        ways = [(AuthorityInformationAccessOID.CA_ISSUERS, self.certificate_url)]
        if profile.revocation_urls:
            ways.append((AuthorityInformationAccessOID.OCSP, self.ocsp_url))
            yield x509.CRLDistributionPoints(
                [x509.DistributionPoint([x509.UniformResourceIdentifier(self.crl_url)], None, None, None)]
            )
        yield x509.AuthorityInformationAccess(
            [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in ways]
        )

    def revoke(self, serial: int, *, at: datetime.datetime, reason: RevocationReason) -> None:
        """Revoke a certificate of this authority; a second call replaces the first.

        Raises:
            UsageError: The authority never issued it, or the reason is unknown.
        """
        if reason not in get_args(RevocationReason):
            raise UsageError("pki.unknown-reason", reason=reason)
        with self._lock:
            if serial not in self._issued:
                raise UsageError("pki.not-issued", serial=f"{serial:X}")
            self._revoked[serial] = Revocation(serial, as_utc(at), reason)

    def adopt(self, issued: Iterable[int]) -> None:
        """Take over what was issued before."""
        with self._lock:
            self._issued.update(issued)

    def revocations(self, at: datetime.datetime | None = None) -> tuple[Revocation, ...]:
        """Return what is revoked at a time; ``None`` means ever."""
        with self._lock:
            return tuple(entry for entry in self._revoked.values() if at is None or entry.at <= at)

    def status(self, serial: int, at: datetime.datetime) -> Revocation | Literal["good", "unknown"]:
        """Return what the authority knows about a certificate at a time."""
        with self._lock:
            entry = self._revoked.get(serial)
            if entry is not None and entry.at <= at:
                return entry
            return "good" if serial in self._issued else "unknown"

    def crl(self, this_update: datetime.datetime, next_update: datetime.datetime) -> bytes:
        """Return the signed list of revoked certificates, in DER."""
        issuer = self.identity.certificate
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(this_update)
            .next_update(next_update)
            .add_extension(x509.CRLNumber(int(this_update.timestamp())), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
        )
        for entry in self.revocations(this_update):
            revoked = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.at)
            if entry.reason != "unspecified":
                # RFC 5280, clause 5.3.1: the reason is left out instead of saying "unspecified".
                revoked = revoked.add_extension(
                    x509.CRLReason(x509.ReasonFlags[entry.reason]), critical=False
                )
            builder = builder.add_revoked_certificate(revoked.build())
        signed = builder.sign(self.identity.private_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.DER)


def make_key(kind: KeyKind | PrivateKey) -> PrivateKey:
    """Make a key, or pass on one that is there already.

    Raises:
        UsageError: There is no such kind.
    """
    if not isinstance(kind, str):
        return kind
    if kind == "ec-p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind not in get_args(KeyKind):
        raise UsageError("pki.unknown-key-kind", kind=kind)
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa-")))


def make_root(subject: x509.Name, key: PrivateKey) -> Identity:
    """Make a self-signed root; like the real one it has neither a policy nor revocation pointers."""
    certificate = _builder(subject, key, authority_profile(path_length=None), issuer=subject).sign(
        key, hashes.SHA256()
    )
    return Identity(certificate, key)


def authority_profile(*, path_length: int | None) -> Profile:
    """Return the profile of an authority; valid as long as the real second generation."""
    return Profile(
        not_before=_CA_NOT_BEFORE,
        not_after=_CA_NOT_AFTER,
        key_usage=("key_cert_sign", "crl_sign"),
        authority=True,
        path_length=path_length,
    )


def subject_name(
    *,
    common_name: str,
    organization: str,
    locality: str | None = None,
    units: Sequence[str] = (),
    user_ids: Sequence[str] = (),
) -> x509.Name:
    """Return a subject in the order of government certificates: C, L, O, OU…, CN, UID…."""
    pairs = [(NameOID.COUNTRY_NAME, "VN")]
    if locality is not None:
        pairs.append((NameOID.LOCALITY_NAME, locality))
    pairs.append((NameOID.ORGANIZATION_NAME, organization))
    pairs += [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    pairs.append((NameOID.COMMON_NAME, common_name))
    pairs += [(NameOID.USER_ID, user_id) for user_id in user_ids]
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])


def _builder(
    subject: x509.Name, key: PrivateKey, profile: Profile, *, issuer: x509.Name
) -> x509.CertificateBuilder:
    if not any("TEST" in str(attribute.value).upper() for attribute in subject):
        # A throw-away certificate must never be taken for that of a real office.
        raise UsageError("pki.subject-without-test", subject=subject.rfc4514_string())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        # Eight bytes, as in real ones; the top bit is clear so that DER does not need a ninth.
        .serial_number(secrets.randbits(62) | 1 << 62)
        .not_valid_before(as_utc(profile.not_before))
        .not_valid_after(as_utc(profile.not_after))
        .add_extension(
            x509.BasicConstraints(ca=profile.authority, path_length=profile.path_length), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if profile.key_usage is not None:
        builder = builder.add_extension(_key_usage(profile.key_usage), critical=True)
    if profile.extended_key_usage is not None:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(profile.extended_key_usage), critical=profile.extended_key_usage_critical
        )
    if profile.email is not None:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.RFC822Name(profile.email)]), critical=False
        )
    return builder


def _key_usage(wanted: Sequence[KeyUsageName]) -> x509.KeyUsage:
    unknown = [name for name in wanted if name not in get_args(KeyUsageName)]
    if unknown:
        raise UsageError("pki.unknown-key-usage", name=unknown[0])
    bits: Mapping[KeyUsageName, bool] = dict.fromkeys(get_args(KeyUsageName), False)
    chosen = {**bits, **dict.fromkeys(wanted, True)}
    return x509.KeyUsage(**chosen)


def _policies(practice_url: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(GOVERNMENT_POLICY, [practice_url])])


def _encryption(passphrase: str) -> serialization.KeySerializationEncryption:
    if not passphrase:
        raise CredentialError("pki.empty-passphrase")
    return serialization.BestAvailableEncryption(passphrase.encode())
