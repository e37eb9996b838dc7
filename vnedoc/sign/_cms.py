"""CMS signatures for PDF: RFC 5652 with the attributes of PAdES baseline (ETSI EN 319 142-1, clause 6.3).

The parts that depend only on the signer are encoded once, see :class:`SignedDataBuilder`; what changes from one
signature to the next are the message digest, the signature value and the time-stamp.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import clock
from vnedoc._internal.der import explicit, implicit, integer, null, octet_string, oid, sequence, set_of, tlv
from vnedoc.sign.models import SignatureMechanism

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc.sign.signers.base import Signer

__all__ = ["SignedDataBuilder"]

_DATA = oid("1.2.840.113549.1.7.1")
_SIGNED_DATA = oid("1.2.840.113549.1.7.2")
_CONTENT_TYPE = oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = oid("1.2.840.113549.1.9.4")
_SIGNING_TIME = oid("1.2.840.113549.1.9.5")
_ALGORITHM_PROTECTION = oid("1.2.840.113549.1.9.52")
_SIGNATURE_TIME_STAMP = oid("1.2.840.113549.1.9.16.2.14")
_SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.16.2.47")
_RSASSA_PSS = oid("1.2.840.113549.1.1.10")
_MGF1 = oid("1.2.840.113549.1.1.8")
_DIGESTS = {
    "sha256": (oid("2.16.840.1.101.3.4.2.1"), 32),
    "sha384": (oid("2.16.840.1.101.3.4.2.2"), 48),
    "sha512": (oid("2.16.840.1.101.3.4.2.3"), 64),
}
_RSA = {
    "sha256": oid("1.2.840.113549.1.1.11"),
    "sha384": oid("1.2.840.113549.1.1.12"),
    "sha512": oid("1.2.840.113549.1.1.13"),
}
_ECDSA = {
    "sha256": oid("1.2.840.10045.4.3.2"),
    "sha384": oid("1.2.840.10045.4.3.3"),
    "sha512": oid("1.2.840.10045.4.3.4"),
}
_FIXED_BYTES = 2048
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


@dataclasses.dataclass(frozen=True, slots=True)
class _FixedParts:
    """What is the same in all signatures of one certificate, in DER."""

    digest: bytes
    signature: bytes
    signer_id: bytes
    certificates: bytes
    attributes: tuple[bytes, ...]


# By the chain itself: a remote service may hand the same signer another certificate between two documents.
@functools.lru_cache(maxsize=64)
def _fixed_parts(
    chain: tuple[x509.Certificate, ...], mechanism: SignatureMechanism, digest_algorithm: str
) -> _FixedParts:
    certificate = chain[0]
    leaf = certificate.public_bytes(Encoding.DER)
    issuer, serial = certificate.issuer.public_bytes(), integer(certificate.serial_number)
    digest = _digest_identifier(digest_algorithm)
    signature = _signature_identifier(mechanism, digest_algorithm)
    # RFC 5035: the hash algorithm is left out where it is the default, SHA-256.
    hash_algorithm = () if digest_algorithm == "sha256" else (digest,)
    certificate_id = sequence(
        *hash_algorithm,
        octet_string(hashlib.new(digest_algorithm, leaf).digest()),
        sequence(sequence(explicit(4, issuer)), serial),
    )
    return _FixedParts(
        digest=digest,
        signature=signature,
        signer_id=sequence(issuer, serial),
        certificates=implicit(0, set_of(*_embedded(chain))),
        attributes=(
            _attribute(_CONTENT_TYPE, _DATA),
            _attribute(_SIGNING_CERTIFICATE_V2, sequence(sequence(certificate_id))),
            # RFC 6211: an attacker cannot swap the algorithms of a signature.
            _attribute(_ALGORITHM_PROTECTION, sequence(digest, implicit(1, signature))),
        ),
    )


class SignedDataBuilder:
    """Builds detached CMS signatures of one signer.

    Args:
        signer: Who signs.
        digest_algorithm: ``sha256``, ``sha384`` or ``sha512``.
    """

    def __init__(self, signer: Signer, digest_algorithm: str = "sha256") -> None:
        self._parts = _fixed_parts(tuple(signer.certificate_chain), signer.mechanism, digest_algorithm)
        self._max_bytes = len(self._parts.certificates) + signer.max_signature_bytes + _FIXED_BYTES

    @property
    def max_bytes(self) -> int:
        """An upper bound for the CMS without its time-stamp token."""
        return self._max_bytes

    def attributes_for(
        self, document_digest: bytes, *, signing_time: datetime.datetime | None = None
    ) -> bytes:
        """Return the DER of the signed attributes over a document digest: what the key signs.

        Args:
            document_digest: The digest over the byte range.
            signing_time: The claimed time, for ``adbe.pkcs7.detached`` (ISO 32000-1, 12.8.3.3.1). A PAdES signature
                has none: there the claimed time stands in the signature dictionary only (EN 319 142-1, 6.3).
        """
        own = [_attribute(_MESSAGE_DIGEST, octet_string(document_digest))]
        if signing_time is not None:
            own.append(_attribute(_SIGNING_TIME, _time(signing_time)))
        return set_of(*self._parts.attributes, *own)

    def assemble(self, attributes: bytes, signature: bytes, *, timestamp_token: bytes | None = None) -> bytes:
        """Return the DER of the complete CMS.

        Args:
            attributes: The signed attributes, as they were signed.
            signature: The signature value over them.
            timestamp_token: DER of a time-stamp token over the signature value; makes a B-B signature B-T.
        """
        parts, unsigned = self._parts, b""
        if timestamp_token is not None:
            unsigned = implicit(1, set_of(_attribute(_SIGNATURE_TIME_STAMP, timestamp_token)))
        signer_info = sequence(
            integer(1),
            parts.signer_id,
            parts.digest,
            implicit(0, attributes),
            parts.signature,
            octet_string(signature),
            unsigned,
        )
        signed_data = sequence(
            integer(1), set_of(parts.digest), sequence(_DATA), parts.certificates, set_of(signer_info)
        )
        return sequence(_SIGNED_DATA, explicit(0, signed_data))


def _attribute(kind: bytes, value: bytes) -> bytes:
    return sequence(kind, set_of(value))


def _time(moment: datetime.datetime) -> bytes:
    """Return a time as RFC 5652, 11.3, wants it: UTCTime until 2049, GeneralizedTime from then on."""
    text = f"{clock.as_utc(moment):%Y%m%d%H%M%S}Z".encode()
    return tlv(_GENERALIZED_TIME, text) if text >= b"2050" else tlv(_UTC_TIME, text[2:])


def _digest_identifier(digest_algorithm: str) -> bytes:
    # RFC 5754, section 2: parameters are absent.
    return sequence(_DIGESTS[digest_algorithm][0])


def _signature_identifier(mechanism: SignatureMechanism, digest_algorithm: str) -> bytes:
    """Return the algorithm identifier of a signature (RFC 4055; RFC 5758)."""
    match mechanism:
        case SignatureMechanism.RSA_PKCS1_V15:
            return sequence(_RSA[digest_algorithm], null())
        case SignatureMechanism.ECDSA:
            return sequence(_ECDSA[digest_algorithm])
        case SignatureMechanism.RSA_PSS:
            identifier, size = _DIGESTS[digest_algorithm]
            digest = sequence(identifier, null())
            parameters = sequence(
                explicit(0, digest), explicit(1, sequence(_MGF1, digest)), explicit(2, integer(size))
            )
            return sequence(_RSASSA_PSS, parameters)


def _embedded(chain: Sequence[x509.Certificate]) -> list[bytes]:
    """Leave out roots: whoever verifies brings its own anchors (EN 319 142-1, 6.3)."""
    kept = [chain[0], *(item for item in chain[1:] if item.subject != item.issuer)]
    return [item.public_bytes(Encoding.DER) for item in kept]
