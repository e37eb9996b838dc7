"""Reading CMS objects (RFC 5652, RFC 3161): one signer, its certificate, its tokens and what else it brings.

Nothing is judged here; what cannot be judged at all is refused with its reason.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from typing import TYPE_CHECKING, Any

from asn1crypto import cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.sign.general import find_cms_attribute_iter
from pyhanko.sign.validation import generic_cms
from pyhanko.sign.validation.errors import SignatureValidationError

from vnedoc.sign._pyhanko.reading import FOREIGN_ERRORS
from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "MAX_CERTIFICATES",
    "CMSObject",
    "Evidence",
    "UnusableCMSError",
    "digests",
    "parse_cms",
    "to_asn1",
    "to_pyca",
]

MAX_CERTIFICATES = 100
"""How many certificates that came with a signature are looked at."""
MAX_TOKENS = 10


class UnusableCMSError(Exception):
    """A CMS object that cannot be judged.

    Args:
        finding: Why.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.id)
        self.finding = finding


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What the file itself brings for its verification, unchecked."""

    certificates: tuple[x509.Certificate, ...] = ()
    """Certificates that may stand in a chain."""
    ocsp: tuple[bytes, ...] = ()
    """OCSP responses, DER."""
    crls: tuple[bytes, ...] = ()
    """CRLs, DER."""


@dataclasses.dataclass(frozen=True, slots=True)
class CMSObject:
    """A parsed SignedData with exactly one signer."""

    signed_data: cms.SignedData
    """The whole object."""
    signer_info: cms.SignerInfo
    """What belongs to the one signer."""
    certificate: x509.Certificate
    """The signing certificate."""
    asn1_certificate: asn1_x509.Certificate
    """The same in the validator's type."""
    digest_algorithm: str
    """Name of the digest algorithm, such as ``sha256``."""
    signature_algorithm: str
    """Name of the signature scheme, such as ``rsassa_pss``."""
    signing_time: datetime.datetime | None
    """The signing time that the signer claims."""
    has_certificate_reference: bool
    """Whether the signer signed which certificate is meant (ESS signing-certificate, RFC 5035)."""
    tokens: tuple[cms.ContentInfo, ...]
    """Signature time-stamp tokens, unchecked."""
    evidence: Evidence
    """Certificates and revocation data inside the object."""
    gen_time: datetime.datetime | None
    """For a time-stamp token: its time, rounded as the token has it."""
    imprint: tuple[str, bytes] | None
    """For a time-stamp token: digest algorithm and digest of what was stamped."""

    @property
    def signature_value(self) -> bytes:
        """The signature, which time-stamp tokens stamp."""
        return bytes(self.signer_info["signature"].native)


def parse_cms(encoded: bytes) -> CMSObject:
    """Read a CMS SignedData.

    Raises:
        UnusableCMSError: It is malformed, or of a kind that cannot be judged.
    """
    try:
        content_info = cms.ContentInfo.load(encoded, strict=True)
        if content_info["content_type"].native != "signed_data":
            raise UnusableCMSError(Finding("verify.not-cms"))
        return _parse_signed_data(content_info["content"])
    except SignatureValidationError as exc:
        raise UnusableCMSError(Finding("verify.no-signing-certificate")) from exc
    except FOREIGN_ERRORS as exc:
        raise UnusableCMSError(Finding("verify.not-cms")) from exc


def _parse_signed_data(signed_data: cms.SignedData) -> CMSObject:
    if len(signed_data["signer_infos"]) != 1:
        raise UnusableCMSError(Finding("verify.signer-count", {"count": len(signed_data["signer_infos"])}))
    certificates = signed_data["certificates"]
    if not isinstance(certificates, core.Void) and len(certificates) > MAX_CERTIFICATES:
        raise UnusableCMSError(Finding("verify.too-many-certificates", {"limit": MAX_CERTIFICATES}))
    signer_info = signed_data["signer_infos"][0]
    certificate, others = _signing_certificate(signed_data, signer_info)
    signed_attributes = signer_info["signed_attrs"]
    gen_time, imprint = _time_stamp_info(signed_data)
    return CMSObject(
        signed_data=signed_data,
        signer_info=signer_info,
        certificate=_signer(certificate),
        asn1_certificate=certificate,
        digest_algorithm=str(signer_info["digest_algorithm"]["algorithm"].native),
        signature_algorithm=_mechanism(signer_info["signature_algorithm"]),
        signing_time=_aware(generic_cms.extract_self_reported_ts(signer_info)),
        has_certificate_reference=(
            not isinstance(signed_attributes, core.Void)
            and generic_cms.get_signing_cert_attr(signed_attributes) is not None
        ),
        tokens=_tokens(signer_info),
        evidence=_evidence(signer_info, others),
        gen_time=gen_time,
        imprint=imprint,
    )


def _signing_certificate(
    signed_data: cms.SignedData, signer_info: cms.SignerInfo
) -> tuple[asn1_x509.Certificate, list[asn1_x509.Certificate]]:
    held = [choice.chosen for choice in _items(signed_data["certificates"]) if choice.name == "certificate"]
    identifier = signer_info["sid"]
    if identifier.name == "issuer_and_serial_number":
        # Compared as written; only where that fails is it worth comparing names by the rules of RFC 5280, 7.1.
        issuer, serial = identifier.chosen["issuer"].dump(), identifier.chosen["serial_number"].native
        for candidate in held:
            if candidate.serial_number == serial and candidate.issuer.dump() == issuer:
                return candidate, [other for other in held if other is not candidate]
    found = generic_cms.extract_certs_for_validation(signed_data)
    return found.signer_cert, list(found.other_certs)


def _mechanism(algorithm: Any) -> str:  # asn1crypto has no types
    try:
        return str(algorithm.signature_algo)
    except ValueError:
        return str(algorithm["algorithm"].native)


def _tokens(signer_info: cms.SignerInfo) -> tuple[cms.ContentInfo, ...]:
    if isinstance(signer_info["unsigned_attrs"], core.Void):
        return ()
    found = find_cms_attribute_iter(signer_info["unsigned_attrs"], "signature_time_stamp_token")
    tokens = []
    for token in found:
        tokens.append(token)
        if len(tokens) > MAX_TOKENS:
            raise UnusableCMSError(Finding("verify.too-many-timestamps", {"limit": MAX_TOKENS}))
    return tuple(tokens)


def _evidence(signer_info: cms.SignerInfo, others: Iterable[asn1_x509.Certificate]) -> Evidence:
    responses: list[bytes] = []
    lists: list[bytes] = []
    if not isinstance(signer_info["signed_attrs"], core.Void):
        for archive in find_cms_attribute_iter(signer_info["signed_attrs"], "adobe_revocation_info_archival"):
            # Adobe's attribute from before DSS (ISO 32000-1, 12.8.3.3.2).
            responses += [item.dump() for item in _items(archive["ocsp"])]
            lists += [item.dump() for item in _items(archive["crl"])]
    return Evidence(tuple(_readable(others)), tuple(responses), tuple(lists))


def _items(value: Any) -> Sequence[Any]:  # asn1crypto has no types
    return [] if isinstance(value, core.Void) else list(value)


def _time_stamp_info(
    signed_data: cms.SignedData,
) -> tuple[datetime.datetime | None, tuple[str, bytes] | None]:
    content = signed_data["encap_content_info"]
    if content["content_type"].native != "tst_info":
        return None, None
    info = content["content"].parsed
    if not isinstance(info, tsp.TSTInfo):
        raise UnusableCMSError(Finding("verify.not-cms"))
    imprint = info["message_imprint"]
    return (
        _aware(info["gen_time"].native),
        (str(imprint["hash_algorithm"]["algorithm"].native), bytes(imprint["hashed_message"].native)),
    )


def _aware(moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)


def to_pyca(certificate: asn1_x509.Certificate) -> x509.Certificate:
    """Return a certificate of the validator as one of cryptography's."""
    return x509.load_der_x509_certificate(certificate.dump())


def _signer(certificate: asn1_x509.Certificate) -> x509.Certificate:
    try:
        converted = to_pyca(certificate)
        # Whatever a report will show must be readable now: its parts are only decoded when they are asked for.
        _ = (
            converted.subject,
            converted.issuer,
            converted.not_valid_before_utc,
            converted.not_valid_after_utc,
        )
        converted.public_key()
    except MALFORMED_CERTIFICATE_ERRORS as exc:
        raise UnusableCMSError(Finding("verify.bad-certificate")) from exc
    return converted


def _readable(certificates: Iterable[asn1_x509.Certificate]) -> Iterator[x509.Certificate]:
    for certificate in certificates:
        try:
            converted = to_pyca(certificate)
            converted.public_key()
        except MALFORMED_CERTIFICATE_ERRORS:
            # No help on the way to an anchor, and no harm.
            continue
        yield converted


def to_asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    """Return a certificate of cryptography as one of the validator's."""
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def digests(signature_value: bytes) -> Mapping[str, bytes]:
    """Return the digests of a signature value that a token may hold."""
    return {
        name: hashlib.new(name, signature_value).digest()
        for name in ("sha256", "sha384", "sha512", "sha224", "sha1")
    }
