"""Keys, certificates, CMS objects and time-stamp tokens that come out the same each time they are made.

Private keys follow from a word, and ECDSA signs without chance (RFC 6979), so nothing secret needs to be kept and a
vector made again has the same bytes. The keys are known to everybody: never trust this root outside of the tests.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LAST = datetime.datetime(2046, 1, 1, tzinfo=datetime.UTC)
SIGNED = datetime.datetime(2026, 6, 1, 2, 0, tzinfo=datetime.UTC)
"""When every vector says it was signed."""

_KEY_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """A certificate with its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def encoded(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def sign(self, content: bytes) -> bytes:
        return self.key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _key(word: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(f"vnedoc TEST {word}".encode()).digest(), "big")
    return ec.derive_private_key(number >> 1, ec.SECP256R1())


def _issue(
    word: str,
    names: list[tuple[x509.ObjectIdentifier, str]],
    issuer: Identity | None,
    *,
    authority: bool = False,
    timestamps: bool = False,
) -> Identity:
    key = _key(word)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"), *(x509.NameAttribute(*name) for name in names)]
    )
    usage = {"key_cert_sign": True, "crl_sign": True} if authority else {"digital_signature": True}
    if not authority:
        usage["content_commitment"] = True
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") >> 1)
        .not_valid_before(FIRST)
        .not_valid_after(LAST)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**_KEY_USAGE, **usage}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if timestamps:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True
        )
    signing = issuer.key if issuer else key
    return Identity(key, builder.sign(signing, hashes.SHA256(), ecdsa_deterministic=True))


ROOT = _issue("root", [(NameOID.COMMON_NAME, "Root TEST")], None, authority=True)
LEADER = _issue(
    "leader",
    [
        (NameOID.ORGANIZATION_NAME, "ỦY BAN NHÂN DÂN TỈNH TEST"),
        (NameOID.COMMON_NAME, "NGUYỄN VĂN TEST"),
    ],
    ROOT,
)
INSIDER = _issue(
    "insider",
    [(NameOID.ORGANIZATION_NAME, "ỦY BAN NHÂN DÂN TỈNH TEST"), (NameOID.COMMON_NAME, "TRẦN VĂN TEST")],
    ROOT,
)
"""Somebody with a good certificate under the same root who wants to change what others signed."""
AGENCY = _issue(
    "agency",
    [(NameOID.COMMON_NAME, "ỦY BAN NHÂN DÂN TỈNH TEST"), (NameOID.USER_ID, "MST:0000000017")],
    ROOT,
)
TSA = _issue("tsa", [(NameOID.COMMON_NAME, "TSA TEST")], ROOT, timestamps=True)


def signed_data(
    identity: Identity,
    digest: bytes,
    *,
    content_type: str = "data",
    content: bytes | None = None,
    encapsulated: bool = False,
    tokens: tuple[bytes, ...] = (),
    signers: int = 1,
) -> bytes:
    """Return a CMS SignedData over a digest; with ``content`` the digest is the content's."""
    certificate = asn1_x509.Certificate.load(identity.encoded)
    if content is not None:
        digest = hashlib.sha256(content).digest()
    reference = tsp.SigningCertificateV2(
        {"certs": [tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(identity.encoded).digest()})]}
    )
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": [content_type]}),
            cms.CMSAttribute({"type": "message_digest", "values": [digest]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [reference]}),
        ]
    )
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
                    )
                }
            ),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
            "signature": identity.sign(attributes.dump()),
        }
    )
    if tokens:
        info["unsigned_attrs"] = cms.CMSAttributes(
            [
                cms.CMSAttribute(
                    {
                        "type": "signature_time_stamp_token",
                        "values": [cms.ContentInfo.load(token) for token in tokens],
                    }
                )
            ]
        )
    inner: dict[str, object] = {"content_type": content_type}
    if content is not None and (content_type == "tst_info" or encapsulated):
        wrap = core.ParsableOctetString if content_type == "tst_info" else core.OctetString
        inner["content"] = wrap(content)
    data = cms.SignedData(
        {
            "version": "v1" if content_type == "data" else "v3",
            "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
            "encap_content_info": inner,
            "certificates": [certificate],
            "signer_infos": [info] * signers,
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": data}).dump())


def timestamp_token(stamped: bytes) -> bytes:
    """Return an RFC 3161 token of the test authority over some bytes."""
    info = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": "1.2.3.4.5",
            "message_imprint": {
                "hash_algorithm": {"algorithm": "sha256"},
                "hashed_message": hashlib.sha256(stamped).digest(),
            },
            "serial_number": int.from_bytes(hashlib.sha256(stamped).digest()[:8], "big") >> 1,
            "gen_time": SIGNED,
        }
    )
    return signed_data(TSA, b"", content_type="tst_info", content=info.dump())


def signature_value(encoded: bytes) -> bytes:
    """Return the signature value of a CMS object, which a signature time-stamp stamps."""
    return bytes(cms.ContentInfo.load(encoded)["content"]["signer_infos"][0]["signature"].native)


@functools.cache
def trust_pem() -> bytes:
    """Return the root as PEM."""
    return ROOT.certificate.public_bytes(serialization.Encoding.PEM)
