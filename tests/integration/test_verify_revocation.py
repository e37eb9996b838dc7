"""Revocation and time: what was known when, and what to say when nothing is known."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import httpx2
import pytest
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko_certvalidator import ValidationContext

from tests import signed_pdfs
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, RevocationStatus
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing.pki import running_pki

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.sign.report import FileReport, SignatureReport
    from vnedoc.testing.pki import Identity, TestPKI

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def pki() -> Iterator[TestPKI]:
    # Certificates are revoked and services fail here; nobody else should notice.
    with running_pki() as running:
        yield running


@pytest.fixture
def online() -> Iterator[RevocationSource]:
    with RevocationSource(allowed_hosts=["127.0.0.1"], timeout_s=2) as source:
        yield source


def person(pki: TestPKI, **options: object) -> Identity:
    return pki.issue_person(common_name="TRẦN VĂN TEST", organization="SỞ TEST", **options)


def only(content: bytes, trust: TrustStore, **options: object) -> tuple[FileReport, SignatureReport]:
    (report,) = verify_pdf(content, trust=trust, **options).files
    (signature,) = report.signatures
    return report, signature


def ids(signature: SignatureReport) -> set[str]:
    return {finding.id for finding in (*signature.errors, *signature.warnings)}


def crl(pki: TestPKI, which: int) -> bytes:
    return httpx2.get(pki.crl_urls[which]).content


def test_revoked_before_signing(pki: TestPKI, trust: TrustStore, online: RevocationSource) -> None:
    signer = person(pki)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer)
    pki.revoke(signer, at=pki.now() - DAY)
    report, signature = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert signature.sub_indication == "REVOKED"
    assert signature.revocation.status is RevocationStatus.REVOKED


def test_revoked_after_a_claimed_time_cannot_be_told(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    # Whoever stole the key can claim any time.
    signer = person(pki)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer)
    pki.revoke(signer, at=pki.now() + DAY)
    with pki.clock_at(pki.now() + 2 * DAY):
        report, signature = only(content, trust, revocation=online, at=pki.now())
    assert report.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "REVOKED_NO_POE"


def test_revoked_after_a_proven_time_passes(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    signer = person(pki)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer, tsa_url=pki.tsa_url)
    pki.revoke(signer, at=pki.now() + DAY)
    with pki.clock_at(pki.now() + 2 * DAY):
        report, signature = only(content, trust, revocation=online, at=pki.now())
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert signature.revocation.status is RevocationStatus.GOOD
    assert signature.level == "PAdES-B-T"


def test_revoked_before_a_proven_time(pki: TestPKI, trust: TrustStore, online: RevocationSource) -> None:
    signer = person(pki)
    pki.revoke(signer, at=pki.now() - DAY)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer, tsa_url=pki.tsa_url)
    report, signature = only(content, trust, revocation=online)
    assert (report.conclusion, signature.sub_indication) == (Conclusion.TOTAL_FAILED, "REVOKED")


def test_revocation_known_from_a_list_only(pki: TestPKI, trust: TrustStore) -> None:
    signer = person(pki)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer)
    pki.revoke(signer, at=pki.now() - DAY)
    with RevocationSource(crls=[crl(pki, 0), crl(pki, 1)], online=False) as source:
        _, signature = only(content, trust, revocation=source)
    assert signature.sub_indication == "REVOKED"
    assert signature.revocation.source == "crl"


def test_lists_at_hand_are_enough_offline(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with RevocationSource(crls=[crl(pki, 0), crl(pki, 1)], online=False) as source:
        report, signature = only(content, trust, revocation=source)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert signature.revocation.source == "crl"


def test_a_list_for_the_leaf_alone_leaves_its_authority_open(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with RevocationSource(crls=[crl(pki, 1)], online=False) as source:
        report, signature = only(content, trust, revocation=source)
    assert (report.conclusion, signature.sub_indication) == (Conclusion.INDETERMINATE, "TRY_LATER")
    assert signature.revocation.status is RevocationStatus.GOOD


def test_a_list_of_another_pki_says_nothing(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with running_pki() as other:
        lists = [crl(other, 0), crl(other, 1)]
    with RevocationSource(crls=lists, online=False) as source:
        _, signature = only(content, trust, revocation=source)
    assert signature.sub_indication == "TRY_LATER"


def test_without_a_source_nobody_is_asked(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    report, signature = only(content, trust)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "TRY_LATER"
    assert "verify.revocation-tried" not in ids(signature)


@pytest.mark.parametrize("fault", ["http-500", "garbage", "try-later", "stale", "other-certificate"])
def test_a_failing_responder_is_made_up_for_by_the_list(
    pki: TestPKI, trust: TrustStore, online: RevocationSource, fault: str
) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with pki.services.failing(ocsp=fault):
        report, signature = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert signature.revocation.source == "crl"


@pytest.mark.parametrize("fault", ["http-500", "garbage", "stale"])
def test_when_nothing_answers_it_is_said_what_was_tried(
    pki: TestPKI, trust: TrustStore, online: RevocationSource, fault: str
) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with pki.services.failing(ocsp=fault, crl=fault):
        report, signature = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "TRY_LATER"
    assert signature.integrity
    if fault != "stale":
        assert "verify.revocation-tried" in ids(signature)


def test_a_silent_server_costs_bounded_time(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with (
        pki.services.failing(ocsp="silent", crl="silent"),
        RevocationSource(allowed_hosts=["127.0.0.1"], timeout_s=0.2) as source,
    ):
        _, signature = only(content, trust, revocation=source)
    assert signature.sub_indication == "TRY_LATER"


def test_a_private_address_is_not_asked_unless_it_is_named(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    with RevocationSource() as source:
        _, signature = only(content, trust, revocation=source)
    assert signature.sub_indication == "TRY_LATER"
    tried = [warning for warning in signature.warnings if warning.id == "verify.revocation-tried"]
    assert tried
    assert all("private" in str(warning.values["reason"]) for warning in tried)


@pytest.mark.parametrize("rule", [RevocationRule.WHEN_AVAILABLE, RevocationRule.IGNORE])
def test_a_policy_may_ask_for_less_and_says_so(pki: TestPKI, trust: TrustStore, rule: RevocationRule) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    report, signature = only(content, trust, policy=Policy(revocation=rule))
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert {"verify.revocation-unknown", "verify.revocation-ignored"} & ids(signature)


def test_a_revoked_authority(trust: TrustStore) -> None:
    from vnedoc.testing.pki import Identity

    with running_pki() as own, RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        assert isinstance(own.state_ca, Identity)
        own.revoke(own.state_ca, at=own.now() - DAY)
        content = signed_pdfs.sign(signed_pdfs.blank(), own.agency)
        store = TrustStore.from_certificates(own.ca_certificates)
        report, signature = only(content, store, revocation=source)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "REVOKED_CA_NO_POE"


def test_expired_without_a_timestamp(pki: TestPKI, trust: TrustStore, online: RevocationSource) -> None:
    signer = person(pki, not_after=pki.now() + DAY)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer)
    with pki.clock_at(pki.now() + 2 * DAY):
        report, signature = only(content, trust, revocation=online, at=pki.now())
    assert report.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "OUT_OF_BOUNDS_NO_POE"
    assert "verify.expired" in ids(signature)


def test_expired_with_a_timestamp_and_a_list_from_before(pki: TestPKI, trust: TrustStore) -> None:
    signer = person(pki, not_after=pki.now() + DAY)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer, tsa_url=pki.tsa_url)
    lists = [crl(pki, 0), crl(pki, 1)]
    with (
        pki.clock_at(pki.now() + 2 * DAY),
        RevocationSource(crls=lists, allowed_hosts=["127.0.0.1"]) as source,
    ):
        report, signature = only(content, trust, revocation=source, at=pki.now())
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert signature.level == "PAdES-B-T"


def test_silence_about_an_expired_certificate_proves_nothing(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    # An authority may drop expired certificates from its lists (RFC 5280, 3.3).
    signer = person(pki, not_after=pki.now() + DAY)
    content = signed_pdfs.sign(signed_pdfs.blank(), signer, tsa_url=pki.tsa_url)
    with pki.clock_at(pki.now() + 2 * DAY):
        report, signature = only(content, trust, revocation=online, at=pki.now())
    assert (report.conclusion, signature.sub_indication) == (Conclusion.INDETERMINATE, "TRY_LATER")


def _long_term(pki: TestPKI, **options: object) -> bytes:
    from asn1crypto import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    authorities = [
        x509.Certificate.load(certificate.public_bytes(Encoding.DER)) for certificate in pki.ca_certificates
    ]
    context = ValidationContext(
        trust_roots=authorities[:1],
        other_certs=authorities[1:],
        allow_fetching=True,
        revocation_mode="require",
    )
    return signed_pdfs.sign(
        signed_pdfs.blank(),
        pki.agency,
        tsa_url=pki.tsa_url,
        subfilter=SigSeedSubFilter.PADES,
        embed_validation_info=True,
        validation_context=context,
        **options,
    )


def test_long_term_data_make_a_level_that_needs_no_network(pki: TestPKI, trust: TrustStore) -> None:
    (report,) = verify_pdf(_long_term(pki), trust=trust).files
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signatures[0].level == "PAdES-B-LT"


def test_an_archive_timestamp_makes_the_highest_level(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    content = _long_term(pki, use_pades_lta=True)
    (report,) = verify_pdf(content, trust=trust, revocation=online).files
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signatures[0].level == "PAdES-B-LTA"


def test_the_root_of_long_term_data_is_not_trusted_for_being_there(pki: TestPKI) -> None:
    with running_pki() as other:
        trust = TrustStore.from_certificates(other.ca_certificates)
    (report,) = verify_pdf(_long_term(pki), trust=trust).files
    assert report.signatures[0].sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"
