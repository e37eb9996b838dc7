from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vnedoc.sign._chains import find_chains
from vnedoc.sign._pyhanko.validation import Evidence, Judge
from vnedoc.sign.policy import DEFAULT_POLICY, Policy
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import TrustStore

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA TEST")])
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def certificate(key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def test_the_given_intermediates_lead_to_the_anchor(pki: TestPKI) -> None:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    expected = (pki.agency.certificate, pki.state_ca.certificate, pki.root.certificate)
    assert find_chains(pki.agency.certificate, trust) == (expected,)


def test_certificates_of_the_file_may_help_but_are_not_trusted(pki: TestPKI) -> None:
    trust = TrustStore.from_certificates([pki.root.certificate])
    assert find_chains(pki.agency.certificate, trust) == ()
    (chain,) = find_chains(pki.agency.certificate, trust, [pki.state_ca.certificate])
    assert chain[-1] == pki.root.certificate
    key = ec.generate_private_key(ec.SECP256R1())
    own = certificate(key, key)
    assert find_chains(own, trust, [own]) == ()


def test_a_mesh_of_cross_certificates_ends(pki: TestPKI) -> None:
    # All the same name, each signed by each: the number of ways through grows with the factorial.
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(7)]
    mesh = [certificate(one, other) for one in keys for other in keys]
    trust = TrustStore.from_certificates(pki.ca_certificates)
    assert find_chains(mesh[1], trust, mesh) == ()
    # Even below a trusted anchor only a handful of ways is tried.
    root = certificate(keys[0], keys[0])
    assert 0 < len(find_chains(mesh[8], TrustStore.from_certificates([root]), mesh)) <= 8


def test_a_certificate_is_judged_without_a_signature(pki: TestPKI) -> None:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    judge = Judge(trust=trust, policy=DEFAULT_POLICY, revocation=None, evidence=Evidence())
    good = judge.judge_certificate(pki.agency.certificate, at=pki.now())
    assert good.conclusion is Conclusion.TOTAL_PASSED
    # The answer is kept; it must still not outlive the validity of the certificate.
    later = pki.agency.certificate.not_valid_after_utc + datetime.timedelta(days=1)
    assert judge.judge_certificate(pki.agency.certificate, at=later).sub_indication == "OUT_OF_BOUNDS_NO_POE"
    earlier = pki.agency.certificate.not_valid_before_utc - datetime.timedelta(days=1)
    assert judge.judge_certificate(pki.agency.certificate, at=earlier).sub_indication == "NOT_YET_VALID"
    # Nor may it be used for another purpose, or under another policy.
    strict = Policy(key_usage=frozenset({"key_agreement"}))
    other = Judge(trust=trust, policy=strict, revocation=None, evidence=Evidence())
    found = other.judge_certificate(pki.agency.certificate, at=pki.now())
    assert found.sub_indication == "CHAIN_CONSTRAINTS_FAILURE"
