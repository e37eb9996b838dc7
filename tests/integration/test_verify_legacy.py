"""SHA-1 chains: refused, but for a named root at a time when that was good."""

from __future__ import annotations

import datetime

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests import signed_pdfs
from vnedoc.sign.policies import load_policy
from vnedoc.sign.policy import AcceptedUntil, Policy, RevocationRule
from vnedoc.sign.report import Conclusion, SignatureReport
from vnedoc.sign.trust import TrustStore, fingerprint, load_trust
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing.pki import Identity

UTC = datetime.UTC
GOOD = datetime.datetime(2018, 6, 1, tzinfo=UTC)
LAST_DAY = datetime.date(2019, 12, 31)
LATER = datetime.datetime(2020, 6, 1, tzinfo=UTC)


def _certificate(
    name: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, authority: bool
) -> x509.Certificate:
    """Return a certificate that is signed with SHA-1, as the builder no longer does."""
    usage = dict.fromkeys(
        ("digital_signature", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2015, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime.datetime(2030, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                **usage,
                content_commitment=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    parsed = asn1_x509.Certificate.load(signed.public_bytes(Encoding.DER))
    parsed["tbs_certificate"]["signature"] = {"algorithm": "sha1_rsa"}
    parsed["signature_algorithm"] = {"algorithm": "sha1_rsa"}
    content = parsed["tbs_certificate"].dump(force=True)
    parsed["signature_value"] = issuer_key.sign(content, padding.PKCS1v15(), hashes.SHA1())
    return x509.load_der_x509_certificate(parsed.dump(force=True))


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class _Old:
    """A root, an authority and an agency of the first generation."""

    def __init__(self) -> None:
        root_key, authority_key, key = _key(), _key(), _key()
        self.root = _certificate("GỐC TEST", root_key, "GỐC TEST", root_key, authority=True)
        self.authority = _certificate("CA TEST", authority_key, "GỐC TEST", root_key, authority=True)
        leaf = _certificate("CỤC TEST", key, "CA TEST", authority_key, authority=False)
        self.agency = Identity(leaf, key, (self.authority, self.root))
        self.trust = TrustStore.from_certificates([self.root, self.authority])


@pytest.fixture(scope="module")
def old() -> _Old:
    return _Old()


@pytest.fixture(scope="module")
def document(old: _Old) -> bytes:
    return signed_pdfs.sign(signed_pdfs.blank(), old.agency)


def judge(content: bytes, old: _Old, policy: Policy, at: datetime.datetime) -> SignatureReport:
    (report,) = verify_pdf(content, trust=old.trust, policy=policy, at=at).files
    return report.signatures[0]


def legacy(*anchors: str) -> Policy:
    return Policy(
        revocation=RevocationRule.WHEN_AVAILABLE, dated=(AcceptedUntil("sha1", LAST_DAY, frozenset(anchors)),)
    )


def test_a_chain_of_sha1_is_refused(old: _Old, document: bytes) -> None:
    found = judge(document, old, Policy(revocation=RevocationRule.WHEN_AVAILABLE), GOOD)
    assert found.conclusion is Conclusion.INDETERMINATE
    assert str(found.sub_indication).startswith("CRYPTO_CONSTRAINTS_FAILURE")


def test_below_a_named_root_it_is_accepted_for_a_time_when_it_was_good(old: _Old, document: bytes) -> None:
    policy = legacy(fingerprint(old.root))
    # The order matters: what was found sound once must not be taken for sound later.
    assert judge(document, old, policy, GOOD).conclusion is Conclusion.TOTAL_PASSED
    assert judge(document, old, policy, LATER).conclusion is Conclusion.INDETERMINATE
    assert judge(document, old, policy, GOOD).conclusion is Conclusion.TOTAL_PASSED
    last = datetime.datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert judge(document, old, policy, last).conclusion is Conclusion.TOTAL_PASSED
    first = datetime.datetime(2020, 1, 1, tzinfo=UTC)
    assert judge(document, old, policy, first).conclusion is Conclusion.INDETERMINATE


def test_below_another_root_it_is_not(old: _Old, document: bytes) -> None:
    assert judge(document, old, legacy("ab" * 32), GOOD).conclusion is Conclusion.INDETERMINATE


def test_a_document_with_sha1_is_refused_all_the_same(old: _Old) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), old.agency, digest="sha1")
    found = judge(content, old, legacy(fingerprint(old.root)), GOOD)
    assert found.conclusion is Conclusion.INDETERMINATE
    assert found.sub_indication == "CRYPTO_CONSTRAINTS_FAILURE"


def test_the_shipped_policy_names_the_shipped_root_of_the_first_generation() -> None:
    (rule,) = load_policy("shipped:legacy-g1").dated
    (anchor,) = rule.anchors
    roots = {
        fingerprint(item.certificate): item.certificate
        for item in load_trust("shipped:vn-government").anchors
    }
    assert isinstance(roots[anchor].signature_hash_algorithm, hashes.SHA1)
    others = [root for name, root in roots.items() if name != anchor]
    assert others
    assert all(isinstance(root.signature_hash_algorithm, hashes.SHA256) for root in others)
    assert rule.until == LAST_DAY
    assert load_policy("shipped:any").dated == ()
    assert load_policy("shipped:vn-issued").dated == ()
    assert load_policy("shipped:vn-copy").dated == ()
