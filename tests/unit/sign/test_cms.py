"""Our CMS, read by two strangers: asn1crypto's strict parser and OpenSSL."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from asn1crypto import cms, tsp
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import der
from vnedoc.sign._cms import SignedDataBuilder
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.testing.pki import TestPKI

CONTENT = b"TEST document"


@pytest.fixture(scope="module", params=["rsa", "pss", "ec"])
def signer(request: pytest.FixtureRequest, pki: TestPKI) -> Signer:
    if request.param == "ec":
        identity = pki.issue_person(common_name="EC TEST", organization="TEST", key="ec-p256")
        return PKCS12Signer(identity.pkcs12("x"), passphrase="x")
    mechanism = SignatureMechanism.RSA_PSS if request.param == "pss" else None
    return PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x", mechanism=mechanism)


def _signed(signer: Signer, digest_algorithm: str, token: bytes | None = None) -> bytes:
    builder = SignedDataBuilder(signer, digest_algorithm)
    attributes = builder.attributes_for(hashlib.new(digest_algorithm, CONTENT).digest())
    signature = signer.sign(attributes, digest_algorithm=digest_algorithm)
    return builder.assemble(attributes, signature, timestamp_token=token)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha384", "sha512"])
def test_openssl_verifies_it(signer: Signer, digest_algorithm: str, pki: TestPKI, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "cms.der").write_bytes(_signed(signer, digest_algorithm))
    for content, verified in ((CONTENT, True), (CONTENT + b"!", False)):
        (tmp_path / "content").write_bytes(content)
        command = [
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "cms.der", "-content", "content",
            "-CAfile", "root.pem", "-purpose", "any", "-out", "/dev/null",
        ]  # fmt: skip
        outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (outcome.returncode == 0) is verified, outcome.stderr


@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha384"])
def test_every_part_is_there_and_in_der(signer: Signer, digest_algorithm: str) -> None:
    content = _signed(signer, digest_algorithm)
    info = cms.ContentInfo.load(content, strict=True)
    assert info.dump(force=True) == content, "encoded again by another library it is the same"
    signed_data = info["content"]
    embedded = [choice.chosen.dump() for choice in signed_data["certificates"]]
    roots = [item for item in signer.certificate_chain if item.subject == item.issuer]
    assert signer.certificate.public_bytes(Encoding.DER) in embedded
    assert len(embedded) == len(signer.certificate_chain) - len(roots)
    (signer_info,) = signed_data["signer_infos"]
    attributes = {item["type"].native: item["values"] for item in signer_info["signed_attrs"]}
    assert set(attributes) == {
        "content_type", "message_digest", "signing_certificate_v2", "cms_algorithm_protection",
    }  # fmt: skip
    assert attributes["message_digest"][0].native == hashlib.new(digest_algorithm, CONTENT).digest()
    (identifier,) = tsp.SigningCertificateV2.load(attributes["signing_certificate_v2"][0].dump())["certs"]
    leaf = signer.certificate.public_bytes(Encoding.DER)
    assert identifier["cert_hash"].native == hashlib.new(digest_algorithm, leaf).digest()
    assert identifier["hash_algorithm"]["algorithm"].native == digest_algorithm
    assert identifier["issuer_serial"]["serial_number"].native == signer.certificate.serial_number
    assert len(content) <= SignedDataBuilder(signer, digest_algorithm).max_bytes


def test_a_token_becomes_an_unsigned_attribute(pki: TestPKI) -> None:
    signer = PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x")
    with TimestampClient([pki.tsa_url]) as client:
        token = client.token(hashlib.sha256(b"TEST").digest()).der
    (signer_info,) = cms.ContentInfo.load(_signed(signer, "sha256", token))["content"]["signer_infos"]
    (attribute,) = signer_info["unsigned_attrs"]
    assert attribute["type"].native == "signature_time_stamp_token"
    assert attribute["values"][0].dump() == token


@pytest.mark.parametrize(
    ("encoded", "hexadecimal"),
    [
        (der.integer(0), "020100"),
        (der.integer(127), "02017f"),
        (der.integer(128), "02020080"),
        (der.integer(256), "02020100"),
        (der.oid("1.2.840.113549"), "06062a864886f70d"),
        (der.oid("2.16.840.1.101.3.4.2.1"), "0609608648016503040201"),
        (der.null(), "0500"),
        (der.octet_string(b"\x01" * 128)[:4], "04818001"),
        (der.octet_string(b"\x01" * 256)[:5], "0482010001"),
        (der.set_of(der.integer(2), der.integer(1)), "3106020101020102"),
        (der.explicit(0, der.null()), "a0020500"),
        (der.implicit(1, der.sequence(der.null())), "a1020500"),
    ],
)
def test_der(encoded: bytes, hexadecimal: str) -> None:
    assert encoded.hex() == hexadecimal
