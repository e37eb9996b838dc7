"""Certificates that miss in a chain: fetched only when asked, by the same rules as everything else from a network."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from tests import signed_pdfs
from tests.cli import vnedoc
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, FileReport
from vnedoc.sign.revocation import RevocationData, RevocationSource, issuer_addresses, parse_certificates
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

LOOPBACK = {"allowed_hosts": ["127.0.0.1"]}


@pytest.fixture
def content(pki: TestPKI) -> bytes:
    """A signature that brings the signer's certificate and no other."""
    return signed_pdfs.sign(signed_pdfs.blank(), pki.agency)


def judged(content: bytes, pki: TestPKI, **options: object) -> FileReport:
    trust = TrustStore.from_certificates([pki.root.certificate])
    with RevocationSource(**options) as source:  # type: ignore[arg-type] # its options
        return verify_pdf(content, trust=trust, revocation=source).files[0]


def test_a_missing_issuer_is_fetched_when_asked(pki: TestPKI, content: bytes) -> None:
    report = judged(content, pki, fetch_issuers=True, **LOOPBACK)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()
    assert report.signatures[0].revocation.source == "ocsp"


@pytest.mark.parametrize(
    "options",
    [
        {**LOOPBACK},
        {"fetch_issuers": True, "online": False, **LOOPBACK},
        # The address is a private one that nobody named.
        {"fetch_issuers": True},
    ],
)
def test_otherwise_the_chain_stays_open(pki: TestPKI, content: bytes, options: dict[str, object]) -> None:
    report = judged(content, pki, **options)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert report.signatures[0].sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"


class Answers(RevocationSource):
    """Answers every question for issuers with the same certificates."""

    def __init__(self, *certificates: x509.Certificate) -> None:
        super().__init__(online=False)
        self.asked = 0
        self._found = parse_certificates(b"".join(item.public_bytes(Encoding.PEM) for item in certificates))

    def issuers_of(self, certificate: x509.Certificate) -> RevocationData:
        del certificate
        self.asked += 1
        return RevocationData(certificates=self._found)


def forged(pki: TestPKI) -> x509.Certificate:
    """The name of the issuer with another key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(pki.agency.certificate.issuer)
        .issuer_name(pki.root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def test_what_is_fetched_is_not_trusted(pki: TestPKI, content: bytes) -> None:
    trust = TrustStore.from_certificates([pki.root.certificate])
    policy = Policy(revocation=RevocationRule.IGNORE)
    for wrong in (forged(pki), pki.agency.certificate, pki.tsa.certificate):
        source = Answers(wrong)
        report = verify_pdf(content, trust=trust, policy=policy, revocation=source).files[0]
        assert report.signatures[0].sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"
        assert source.asked == 1
    right = Answers(forged(pki), pki.state_ca.certificate)
    report = verify_pdf(content, trust=trust, policy=policy, revocation=right).files[0]
    assert report.conclusion is Conclusion.TOTAL_PASSED


def test_addresses_and_forms(pki: TestPKI) -> None:
    (address,) = issuer_addresses(pki.agency.certificate)
    assert address.startswith("http://127.0.0.1")
    assert issuer_addresses(pki.root.certificate) == ()
    one = pki.state_ca.certificate.public_bytes(Encoding.DER)
    assert parse_certificates(one) == (one,)
    assert parse_certificates(pki.state_ca.certificate.public_bytes(Encoding.PEM)) == (one,)
    bundle = pkcs7.serialize_certificates([pki.state_ca.certificate, pki.root.certificate], Encoding.DER)
    assert set(parse_certificates(bundle)) == {one, pki.root.certificate.public_bytes(Encoding.DER)}
    for wrong in (b"", b"TEST", b"-----BEGIN CERTIFICATE-----\nTEST", one[:-5]):
        assert parse_certificates(wrong) == ()


def test_the_command_and_the_evidence(pki: TestPKI, content: bytes, tmp_path: Path) -> None:
    path, root, kept = tmp_path / "a.pdf", tmp_path / "root.pem", tmp_path / "kept"
    path.write_bytes(content)
    root.write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    asked = ("verify", path, "--trust", root, "--allow-host", "127.0.0.1")
    assert vnedoc(*asked).code == 3
    assert vnedoc(*asked, "--fetch-issuers", "--evidence", kept).code == 0
    # The folder is enough: the fetched certificate is in it.
    assert any((kept / "issuer").iterdir())
    assert vnedoc("verify", path, "--from-evidence", kept).code == 0
    assert vnedoc("verify", path, "--from-evidence", kept, "--fetch-issuers").code == 2
