"""What lies on a token: certificates, and the private key that belongs to each.

Tokens differ in what ties a key to its certificate: the id, the label, or nothing but the numbers of the key. All
three are tried; labels are compared here and not by the token, which knows nothing of Unicode normal forms.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vnedoc._internal import der
from vnedoc.errors import CredentialError
from vnedoc.sign.certificates import display_name, key_usages
from vnedoc.sign.signers._pkcs11_errors import token_name
from vnedoc.sign.signers._pkcs11_library import AttributeMapper, cryptoki
from vnedoc.sign.signers._pkcs11_uri import normalize_label
from vnedoc.sign.signers.diagnosis import is_authority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pkcs11.types import Object, Session, Token

    from vnedoc.sign.signers._pkcs11_uri import PKCS11URI

__all__ = [
    "TokenCertificate",
    "find_private_key",
    "issuers_among",
    "open_session",
    "read_attribute",
    "read_certificates",
    "select_certificates",
]

MAX_OBJECTS = 4096
MAX_CERTIFICATE_BYTES = 64 * 1024

_Attribute = cryptoki.Attribute
# Tokens say in different ways that they do not know an attribute; the last two: a value of the wrong shape.
_NOT_SHOWN = (
    cryptoki.AttributeTypeInvalid,
    cryptoki.AttributeSensitive,
    cryptoki.AttributeValueInvalid,
    cryptoki.FunctionFailed,
    cryptoki.FunctionNotSupported,
    ValueError,
    struct.error,
)


@dataclasses.dataclass(frozen=True, slots=True)
class TokenCertificate:
    """A certificate on a token."""

    certificate: x509.Certificate
    """The certificate."""
    label: str
    """Its label on the token, in NFC."""
    id: bytes
    """Its id on the token; may be empty."""

    @property
    def is_authority(self) -> bool:
        """Whether it belongs to a certification authority, not to a signer."""
        return is_authority(self.certificate)

    @property
    def is_for_signing(self) -> bool:
        """Whether its key usage leaves room for signatures; tokens may hold a second one for encryption."""
        usages = key_usages(self.certificate)
        return usages is None or bool(usages & {"digital_signature", "non_repudiation"})

    @property
    def description(self) -> str:
        """Holder, serial number and end of validity: what a person needs to tell two apart."""
        serial = f"{self.certificate.serial_number:x}"
        until = self.certificate.not_valid_after_utc.date().isoformat()
        return f"{display_name(self.certificate.subject)}, x-cert-serial={serial}, → {until}"


class _LenientAttributes(AttributeMapper):
    """Reads labels that are not UTF-8: older tools wrote them in the code pages of their time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_handler(
            _Attribute.LABEL, lambda text: text.encode("utf-8"), lambda raw: raw.decode("utf-8", "replace")
        )


def open_session(token: Token) -> Session:
    """Open a read-only session without logging in."""
    return token.open(attribute_mapper=_LenientAttributes())


def read_certificates(session: Session) -> list[TokenCertificate]:
    """Return the X.509 certificates that the session can see; what cannot be parsed is left out."""
    found: dict[bytes, TokenCertificate] = {}
    for item in _objects(session, cryptoki.ObjectClass.CERTIFICATE):
        content = read_attribute(item, _Attribute.VALUE)
        if not content or len(content) > MAX_CERTIFICATE_BYTES:
            continue
        try:
            certificate = x509.load_der_x509_certificate(content)
        except ValueError:
            continue
        entry = TokenCertificate(
            certificate,
            normalize_label(read_attribute(item, _Attribute.LABEL) or ""),
            read_attribute(item, _Attribute.ID) or b"",
        )
        # The same certificate may have been written twice; one of the copies may lack its id.
        if content not in found or (entry.id and not found[content].id):
            found[content] = entry
    return list(found.values())


def select_certificates(
    session: Session, certificates: Iterable[TokenCertificate], uri: PKCS11URI
) -> list[TokenCertificate]:
    """Return the certificates that a URI may mean; the label and the id may be those of the key."""
    pool = [entry for entry in certificates if not entry.is_authority]
    if uri.cert_serial is not None:
        pool = [entry for entry in pool if entry.certificate.serial_number == uri.cert_serial]
    if uri.object is None and uri.id is None:
        return [entry for entry in pool if entry.is_for_signing] or pool
    if uri.type in {None, "cert"}:
        named = [entry for entry in pool if _fits(uri, entry.label, entry.id)]
        if named or uri.type == "cert":
            return named
    keys = [key for key in _keys(session) if _fits(uri, key.label, key.id)]
    return [entry for entry in pool if any(_rank(key, entry, ()) is not None for key in keys)]


def find_private_key(session: Session, entry: TokenCertificate, token: Token) -> Object:
    """Return the private key of a certificate; the user must be logged in.

    Raises:
        CredentialError: There is none, or it may not sign.
    """
    keys = _keys(session)
    public = [key for key in keys if not key.private and _numbers_agree(key, entry)]
    private = [key for key in keys if key.private and key.kind == _kind_of(entry.certificate)]
    ranked = [(rank, key) for key in private if (rank := _rank(key, entry, public)) is not None]
    if not ranked:
        # A single key, tied to the certificate by nothing we can see, is worth a try: a signature by the wrong
        # key is found before anything is built on it.
        possible = [key for key in private if _numbers_agree(key, entry) is None]
        if len(possible) != 1:
            raise CredentialError("token.no-private-key", token=token_name(token), subject=entry.description)
        ranked = [(0, possible[0])]
    key = min(ranked, key=lambda pair: pair[0])[1].item
    if not hasattr(key, "sign"):
        raise CredentialError("token.key-may-not-sign", token=token_name(token), subject=entry.description)
    return key


def issuers_among(certificate: x509.Certificate, pool: Sequence[TokenCertificate]) -> list[x509.Certificate]:
    """Return the certificates above one, nearest first."""
    left = [entry.certificate for entry in pool]
    chain: list[x509.Certificate] = []
    current = certificate
    while current.subject != current.issuer:
        above = next((item for item in left if _issued(item, current)), None)
        if above is None:
            break
        left.remove(above)
        chain.append(above)
        current = above
    return chain


@dataclasses.dataclass(frozen=True, slots=True)
class _Key:
    item: Object
    private: bool
    kind: str
    label: str
    id: bytes
    modulus: bytes | None
    point: bytes | None


def _keys(session: Session) -> list[_Key]:
    found = []
    for object_class in (cryptoki.ObjectClass.PRIVATE_KEY, cryptoki.ObjectClass.PUBLIC_KEY):
        for item in _objects(session, object_class):
            kind = {cryptoki.KeyType.RSA: "rsa", cryptoki.KeyType.EC: "ec"}.get(
                read_attribute(item, _Attribute.KEY_TYPE)
            )
            if kind is None:
                continue
            found.append(
                _Key(
                    item,
                    private=object_class is cryptoki.ObjectClass.PRIVATE_KEY,
                    kind=kind,
                    label=normalize_label(read_attribute(item, _Attribute.LABEL) or ""),
                    id=read_attribute(item, _Attribute.ID) or b"",
                    modulus=read_attribute(item, _Attribute.MODULUS) if kind == "rsa" else None,
                    point=read_attribute(item, _Attribute.EC_POINT) if kind == "ec" else None,
                )
            )
    return found


def _rank(key: _Key, entry: TokenCertificate, public: Sequence[_Key]) -> int | None:
    """Return how surely a key belongs to a certificate, 0 being proof; ``None`` if nothing ties them."""
    agree = _numbers_agree(key, entry)
    if agree is not None:
        return 0 if agree else None
    if key.id and key.id == entry.id:
        return 1
    if any((key.id and key.id == other.id) or (key.label and key.label == other.label) for other in public):
        return 2
    if key.label and key.label == entry.label:
        return 3
    return None


def _numbers_agree(key: _Key, entry: TokenCertificate) -> bool | None:
    """Compare the public numbers; ``None`` if the token does not show those of the key."""
    public = entry.certificate.public_key()
    if key.kind != _kind_of(entry.certificate):
        return False
    if isinstance(public, rsa.RSAPublicKey) and key.modulus:
        return int.from_bytes(key.modulus, "big") == public.public_numbers().n
    if isinstance(public, ec.EllipticCurvePublicKey) and key.point:
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        # CKA_EC_POINT is the DER OCTET STRING of the point; some tokens leave the wrapping out.
        return key.point in {point, der.octet_string(point)}
    return None


def _kind_of(certificate: x509.Certificate) -> str | None:
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return "rsa"
    return "ec" if isinstance(public, ec.EllipticCurvePublicKey) else None


def _fits(uri: PKCS11URI, label: str, identifier: bytes) -> bool:
    return (uri.object is None or uri.object == label) and (uri.id is None or uri.id == identifier)


def _objects(
    session: Session, object_class: Any
) -> list[Object]:  # an enum of a library without its own types
    return list(itertools.islice(session.get_objects({_Attribute.CLASS: object_class}), MAX_OBJECTS))


def read_attribute(item: Object, attribute: Any) -> Any:  # what an attribute holds depends on the attribute
    """Return an attribute; ``None`` if the token does not have it, does not show it, or shows nonsense."""
    try:
        return item[attribute]
    except _NOT_SHOWN:
        return None


def _issued(above: x509.Certificate, below: x509.Certificate) -> bool:
    if above.subject != below.issuer:
        return False
    try:
        below.verify_directly_issued_by(above)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
