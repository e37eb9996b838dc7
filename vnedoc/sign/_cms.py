"""CMS signatures for PDF: RFC 5652 with the attributes of PAdES baseline (ETSI EN 319 142-1, clause 6.3).

The parts that depend only on the signer are built once, see :class:`SignedDataBuilder`; what changes from one
signature to the next are the message digest, the signature value and the time-stamp.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.sign.models import SignatureMechanism

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc.sign.signers.base import Signer

__all__ = ["SignedDataBuilder", "certificate_der", "signature_algorithm"]

_DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}


def certificate_der(certificate: x509.Certificate) -> bytes:
    """Return the DER bytes of a certificate."""
    return certificate.public_bytes(Encoding.DER)


def signature_algorithm(mechanism: SignatureMechanism, digest_algorithm: str) -> cms.SignedDigestAlgorithm:
    """Return the algorithm identifier of a signature (RFC 8017, annex A; RFC 5758)."""
    match mechanism:
        case SignatureMechanism.RSA_PKCS1_V15:
            return cms.SignedDigestAlgorithm({"algorithm": f"{digest_algorithm}_rsa"})
        case SignatureMechanism.ECDSA:
            return cms.SignedDigestAlgorithm({"algorithm": f"{digest_algorithm}_ecdsa"})
        case SignatureMechanism.RSA_PSS:
            digest = algos.DigestAlgorithm({"algorithm": digest_algorithm})
            parameters = algos.RSASSAPSSParams(
                {
                    "hash_algorithm": digest,
                    "mask_gen_algorithm": algos.MaskGenAlgorithm({"algorithm": "mgf1", "parameters": digest}),
                    "salt_length": _DIGEST_BYTES[digest_algorithm],
                }
            )
            return cms.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})


@dataclasses.dataclass(frozen=True, slots=True)
class _Fixed:
    """What stays the same over all signatures of one signer and digest algorithm."""

    attributes: tuple[cms.CMSAttribute, ...]
    certificates: cms.CertificateSet
    signer_id: cms.SignerIdentifier
    digest: algos.DigestAlgorithm
    signature: cms.SignedDigestAlgorithm


class SignedDataBuilder:
    """Builds detached CMS signatures of one signer.

    Args:
        signer: Who signs.
        digest_algorithm: ``sha256``, ``sha384`` or ``sha512``.
    """

    def __init__(self, signer: Signer, digest_algorithm: str = "sha256") -> None:
        self._signer = signer
        self._digest_algorithm = digest_algorithm
        self._fixed = _fixed_parts(signer, digest_algorithm)

    @property
    def max_bytes(self) -> int:
        """An upper bound for the CMS without its time-stamp token."""
        certificates = sum(len(certificate_der(item)) for item in _embedded(self._signer.certificate_chain))
        return certificates + self._signer.max_signature_bytes + 2048

    def attributes_for(self, document_digest: bytes) -> cms.CMSAttributes:
        """Return the signed attributes over a document digest; their DER is what the key signs."""
        return cms.CMSAttributes(
            [
                *self._fixed.attributes,
                cms.CMSAttribute({"type": "message_digest", "values": [document_digest]}),
            ]
        )

    def assemble(
        self, attributes: cms.CMSAttributes, signature: bytes, *, timestamp_token: bytes | None = None
    ) -> bytes:
        """Return the DER of the complete CMS.

        Args:
            attributes: The signed attributes, as they were signed.
            signature: The signature value over their DER.
            timestamp_token: DER of a time-stamp token over the signature value; makes a B-B signature B-T.
        """
        fixed = self._fixed
        info = {
            "version": "v1",
            "sid": fixed.signer_id,
            "digest_algorithm": fixed.digest,
            "signed_attrs": attributes,
            "signature_algorithm": fixed.signature,
            "signature": signature,
        }
        if timestamp_token is not None:
            token = cms.ContentInfo.load(timestamp_token)
            info["unsigned_attrs"] = cms.CMSAttributes(
                [cms.CMSAttribute({"type": "signature_time_stamp_token", "values": [token]})]
            )
        signed_data = cms.SignedData(
            {
                "version": "v1",
                "digest_algorithms": [fixed.digest],
                "encap_content_info": {"content_type": "data"},
                "certificates": fixed.certificates,
                "signer_infos": [cms.SignerInfo(info)],
            }
        )
        content: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed_data}).dump()
        return content


def _fixed_parts(signer: Signer, digest_algorithm: str) -> _Fixed:
    leaf_der = certificate_der(signer.certificate)
    leaf = asn1_x509.Certificate.load(leaf_der)
    digest = algos.DigestAlgorithm({"algorithm": digest_algorithm})
    signature = signature_algorithm(signer.mechanism, digest_algorithm)
    issuer_serial = {
        "issuer": [asn1_x509.GeneralName({"directory_name": leaf.issuer})],
        "serial_number": leaf["tbs_certificate"]["serial_number"],
    }
    signing_certificate = tsp.SigningCertificateV2(
        {
            "certs": [
                tsp.ESSCertIDv2(
                    {
                        "hash_algorithm": digest,
                        "cert_hash": _digest(leaf_der, digest_algorithm),
                        "issuer_serial": issuer_serial,
                    }
                )
            ]
        }
    )
    protection = cms.CMSAlgorithmProtection(
        {"digest_algorithm": digest, "signature_algorithm": signature},
    )
    return _Fixed(
        attributes=(
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [signing_certificate]}),
            # RFC 6211: an attacker cannot swap the algorithms of a signature.
            cms.CMSAttribute({"type": "cms_algorithm_protection", "values": [protection]}),
        ),
        certificates=cms.CertificateSet(
            [
                cms.CertificateChoices("certificate", asn1_x509.Certificate.load(certificate_der(item)))
                for item in _embedded(signer.certificate_chain)
            ]
        ),
        signer_id=cms.SignerIdentifier(
            "issuer_and_serial_number",
            cms.IssuerAndSerialNumber(
                {"issuer": leaf.issuer, "serial_number": leaf["tbs_certificate"]["serial_number"]}
            ),
        ),
        digest=digest,
        signature=signature,
    )


def _embedded(chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Leave out roots: whoever verifies brings its own anchors (EN 319 142-1, 6.3)."""
    return [*chain[:1], *(item for item in chain[1:] if item.subject != item.issuer)]


def _digest(content: bytes, digest_algorithm: str) -> bytes:
    return hashlib.new(digest_algorithm, content).digest()
