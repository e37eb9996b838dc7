"""verify_pdf on honest files: what stock pyHanko signs, judged as EN 319 102-1 says."""

from __future__ import annotations

import datetime
import io
import subprocess
from typing import TYPE_CHECKING

import pikepdf
import pytest
from PIL import Image
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter

from tests import signed_pdfs
from vnedoc.errors import ConfigurationError, IndeterminateError, InputError, UsageError, VerificationError
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Changes, Conclusion, Coverage, RevocationStatus, SignatureKind, SignerRole
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_files, verify_pdf
from vnedoc.testing.pki import running_pki

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.sign.report import FileReport
    from vnedoc.testing.pki import TestPKI

UTC = datetime.UTC


def only(content: bytes, trust: TrustStore, **options: object) -> FileReport:
    (report,) = verify_pdf(content, trust=trust, **options).files
    return report


def ids(report: FileReport) -> set[str]:
    return {error.id for error in report.all_errors()}


@pytest.mark.parametrize(
    ("subfilter", "pss", "level"),
    [
        (SigSeedSubFilter.PADES, False, "PAdES-B-B"),
        (SigSeedSubFilter.PADES, True, "PAdES-B-B"),
        (SigSeedSubFilter.ADOBE_PKCS7_DETACHED, False, "PKCS7"),
    ],
)
def test_a_good_signature_passes(
    pki: TestPKI,
    trust: TrustStore,
    online: RevocationSource,
    subfilter: SigSeedSubFilter,
    pss: bool,
    level: str,
) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency, subfilter=subfilter, pss=pss)
    report = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.readers_agree
    assert not report.all_errors()
    (signature,) = report.signatures
    assert signature.level == level
    assert signature.signature_algorithm == ("rsassa_pss" if pss else "rsassa_pkcs1v15")
    assert signature.role is SignerRole.AGENCY
    assert signature.integrity
    assert signature.covers is Coverage.WHOLE_FILE
    assert signature.changes_after is Changes.NONE
    assert signature.time_source == "claimed"
    assert signature.best_signature_time is None
    assert (signature.revocation.status, signature.revocation.source) == (RevocationStatus.GOOD, "ocsp")
    assert signature.box == (1, "100,100,100,50")
    assert signature.trust_tree == "custom"
    assert signature.trust_anchor == "RootCA chuyên dùng Chính phủ G2 TEST"


def test_an_ecdsa_signature_passes(pki: TestPKI, trust: TrustStore, online: RevocationSource) -> None:
    identity = pki.issue_person(common_name="LÊ THỊ TEST", organization="SỞ TEST", key="ec-p256")
    report = only(signed_pdfs.sign(signed_pdfs.blank(), identity), trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signatures[0].signature_algorithm == "ecdsa"


def test_a_timestamp_gives_the_time_and_the_level(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=pki.tsa_url)
    (signature,) = only(content, trust, revocation=online).signatures
    assert signature.conclusion is Conclusion.TOTAL_PASSED
    assert signature.level == "PAdES-B-T"
    assert signature.time_source == "timestamp"
    assert signature.best_signature_time == signature.signing_time


def test_a_timestamp_that_is_not_trusted_gives_no_level(pki: TestPKI, online: RevocationSource) -> None:
    with running_pki() as other:
        content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=other.tsa_url)
    trust = TrustStore.from_certificates(pki.ca_certificates)
    (signature,) = only(content, trust, revocation=online).signatures
    assert signature.conclusion is Conclusion.TOTAL_PASSED
    assert signature.level == "PAdES-B-B"
    assert signature.time_source == "claimed"
    assert "verify.timestamp-unusable" in {warning.id for warning in signature.warnings}


def test_leader_then_agency_after_certification(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    # What today's government tools write: certification with P=2, then a new visible field.
    first = signed_pdfs.sign(
        signed_pdfs.blank(), pki.leader, "Leader", certify=True, docmdp_permissions=MDPPerm.FILL_FORMS
    )
    content = signed_pdfs.sign(first, pki.agency, "Agency", box=(60, 90, 160, 190))
    report = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    leader, agency = report.signatures
    assert (leader.field, agency.field) == ("Leader", "Agency")
    assert (leader.covers, agency.covers) == (Coverage.REVISION, Coverage.WHOLE_FILE)
    assert leader.changes_after is Changes.SIGNATURES
    assert leader.role is SignerRole.PERSON
    assert agency.box == (1, "60,90,100,100")


@pytest.mark.parametrize(
    "options",
    [{"object_stream_mode": pikepdf.ObjectStreamMode.generate}, {"linearize": True}],
    ids=["object-streams", "linearized"],
)
def test_other_ways_to_write_a_file(
    pki: TestPKI, trust: TrustStore, online: RevocationSource, options: dict[str, object]
) -> None:
    with pikepdf.open(io.BytesIO(signed_pdfs.blank(text_field="Number"))) as pdf:
        content = signed_pdfs.saved(pdf, **options)
    first = signed_pdfs.sign(content, pki.leader, "Leader")
    second = signed_pdfs.sign(first, pki.agency, "Agency", before=signed_pdfs.fill("7"))
    report = only(signed_pdfs.add_document_timestamp(second, pki.tsa_url), trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert [signature.changes_after for signature in report.signatures] == [
        Changes.FORM,
        Changes.LONG_TERM_DATA,
        Changes.NONE,
    ]


def test_a_certification_that_forbids_everything_is_held(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    first = signed_pdfs.sign(
        signed_pdfs.blank(text_field="Number"),
        pki.leader,
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
    )
    content = signed_pdfs.revised(first, signed_pdfs.fill("7"))
    (signature,) = only(content, trust, revocation=online).signatures
    assert signature.conclusion is Conclusion.TOTAL_FAILED
    assert "verify.not-permitted" in {error.id for error in signature.errors}


def test_a_field_filled_in_the_revision_of_the_next_signature(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    first = signed_pdfs.sign(signed_pdfs.blank(text_field="Number"), pki.leader, "Leader")
    content = signed_pdfs.sign(first, pki.agency, "Agency", before=signed_pdfs.fill("7/QĐ-TEST"))
    report = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signatures[0].changes_after is Changes.FORM


def test_a_field_filled_after_the_seal_fails_even_when_a_person_signs_it(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    sealed = signed_pdfs.sign(signed_pdfs.blank(text_field="Number"), pki.agency, "Agency")
    content = signed_pdfs.sign(sealed, pki.leader, "Leader", before=signed_pdfs.fill("7/QĐ-TEST"))
    report = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert "verify.form-changed" in {error.id for error in report.signatures[0].errors}
    assert report.signatures[1].conclusion is Conclusion.TOTAL_PASSED


def test_a_document_timestamp_is_no_change_of_content(
    pki: TestPKI, trust: TrustStore, online: RevocationSource
) -> None:
    content = signed_pdfs.add_document_timestamp(
        signed_pdfs.sign(signed_pdfs.blank(), pki.agency), pki.tsa_url
    )
    report = only(content, trust, revocation=online)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    signature, stamp = report.signatures
    assert signature.changes_after is Changes.LONG_TERM_DATA
    assert signature.level == "PAdES-B-T"
    assert stamp.kind is SignatureKind.DOCUMENT_TIMESTAMP
    assert stamp.level == "document-timestamp"
    assert stamp.best_signature_time == signature.best_signature_time


def test_wrong_trust_is_no_chain(pki: TestPKI, online: RevocationSource) -> None:
    with running_pki() as other:
        trust = TrustStore.from_certificates(other.ca_certificates)
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    (signature,) = only(content, trust, revocation=online).signatures
    assert signature.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"
    assert signature.trust_anchor is None


def test_the_root_alone_is_not_enough_when_the_signature_holds_only_the_leaf(
    pki: TestPKI, online: RevocationSource
) -> None:
    trust = TrustStore.from_certificates([pki.root.certificate])
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    assert (
        only(content, trust, revocation=online).signatures[0].sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"
    )


def test_no_signature_has_its_own_verdict(trust: TrustStore) -> None:
    report = verify_pdf(signed_pdfs.blank(), trust=trust)
    assert report.files[0].conclusion is Conclusion.NO_SIGNATURE
    assert ids(report.files[0]) == {"verify.no-signature"}
    with pytest.raises(IndeterminateError):
        report.raise_for_status()


def test_a_picture_as_pillow_writes_it_has_no_signature(trust: TrustStore) -> None:
    """It calls the generation of object 0 65536; that is no reason to be unsure."""
    stream = io.BytesIO()
    Image.new("RGB", (60, 60), (200, 0, 0)).save(stream, "PDF")
    content = stream.getvalue()
    assert b"0000000000 65536 f" in content
    report = only(content, trust)
    assert (report.conclusion, report.readers_agree) == (Conclusion.NO_SIGNATURE, True)
    # Any other entry that is out of bounds is still refused.
    broken = content.replace(b" 00000 n", b" 65536 f", 1)
    assert only(broken, trust).conclusion is Conclusion.INDETERMINATE


def test_sha1_is_refused(pki: TestPKI, trust: TrustStore, online: RevocationSource) -> None:
    content = signed_pdfs.sign(
        signed_pdfs.blank(), pki.agency, subfilter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED, digest="sha1"
    )
    (signature,) = only(content, trust, revocation=online).signatures
    assert signature.conclusion is Conclusion.INDETERMINATE
    assert signature.sub_indication == "CRYPTO_CONSTRAINTS_FAILURE"


@pytest.mark.parametrize(
    ("key_usage", "conclusion"),
    [
        (("digital_signature",), Conclusion.INDETERMINATE),
        (("content_commitment",), Conclusion.TOTAL_PASSED),
    ],
)
def test_key_usage(
    pki: TestPKI,
    trust: TrustStore,
    online: RevocationSource,
    key_usage: tuple[str, ...],
    conclusion: Conclusion,
) -> None:
    identity = pki.issue_agency(common_name="SỞ TEST", organization="UBND TEST", key_usage=key_usage)
    (signature,) = only(signed_pdfs.sign(signed_pdfs.blank(), identity), trust, revocation=online).signatures
    assert signature.conclusion is conclusion
    expected = None if conclusion is Conclusion.TOTAL_PASSED else "CHAIN_CONSTRAINTS_FAILURE"
    assert signature.sub_indication == expected


def test_time_is_asked_for_with_a_zone(trust: TrustStore) -> None:
    with pytest.raises(UsageError):
        verify_pdf(signed_pdfs.blank(), trust=trust, at=datetime.datetime(2026, 1, 1))  # noqa: DTZ001


def test_many_files_are_judged_each_by_itself(
    pki: TestPKI, trust: TrustStore, online: RevocationSource, tmp_path: Path
) -> None:
    good, bad, missing = tmp_path / "good.pdf", tmp_path / "bad.pdf", tmp_path / "missing.pdf"
    good.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    bad.write_bytes(b"no PDF")
    reports = list(verify_files([bad, good, missing], trust=trust, revocation=online))
    assert [report.conclusion for report in reports] == [
        Conclusion.UNREADABLE,
        Conclusion.TOTAL_PASSED,
        Conclusion.UNREADABLE,
    ]
    with pytest.raises(InputError):
        verify_pdf(missing, trust=trust).raise_for_status()


def test_a_failed_file_raises(pki: TestPKI, trust: TrustStore) -> None:
    content = bytearray(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    content[content.index(b"(TEST)") + 1] ^= 1
    with pytest.raises(VerificationError):
        verify_pdf(bytes(content), trust=trust).raise_for_status()


def test_limits_are_held(pki: TestPKI, trust: TrustStore) -> None:
    content = signed_pdfs.sign(signed_pdfs.sign(signed_pdfs.blank(), pki.leader, "A"), pki.agency, "B")
    few = only(content, trust, policy=Policy(max_signatures=1))
    assert (few.conclusion, ids(few)) == (Conclusion.INDETERMINATE, {"verify.too-many-signatures"})
    small = only(content, trust, policy=Policy(max_bytes=1000))
    assert (small.conclusion, ids(small)) == (Conclusion.UNREADABLE, {"file.too-large"})


def test_works_inside_a_running_event_loop(pki: TestPKI, trust: TrustStore) -> None:
    import asyncio

    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)

    async def inside() -> Conclusion:
        policy = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
        return only(content, trust, policy=policy).conclusion

    assert asyncio.run(inside()) is Conclusion.TOTAL_PASSED


@pytest.mark.needs("pdfsig")
def test_a_second_tool_agrees_on_good_files(pki: TestPKI, tmp_path: Path) -> None:
    path = tmp_path / "two.pdf"
    first = signed_pdfs.sign(signed_pdfs.blank(), pki.leader, "Leader")
    path.write_bytes(signed_pdfs.sign(first, pki.agency, "Agency", tsa_url=pki.tsa_url))
    trust = TrustStore.from_certificates(pki.ca_certificates)
    policy = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
    report = verify_pdf(path, trust=trust, policy=policy)
    said = subprocess.run(["pdfsig", "-nocert", str(path)], capture_output=True, text=True, check=False)
    assert said.stdout.count("Signature is Valid.") == len(report.files[0].signatures) == 2
    assert report.files[0].conclusion is Conclusion.TOTAL_PASSED


@pytest.mark.needs("pdfsig")
def test_a_second_tool_agrees_on_a_changed_file(pki: TestPKI, trust: TrustStore, tmp_path: Path) -> None:
    content = bytearray(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    content[content.index(b"(TEST)") + 1] ^= 1
    path = tmp_path / "changed.pdf"
    path.write_bytes(content)
    said = subprocess.run(["pdfsig", "-nocert", str(path)], capture_output=True, text=True, check=False)
    assert "Digest Mismatch" in said.stdout
    assert only(bytes(content), trust).signatures[0].sub_indication == "HASH_FAILURE"


def test_an_unknown_sender_is_a_wrong_question(trust: TrustStore) -> None:
    from vnedoc.agencies import AgencyDirectory
    from vnedoc.sign.senders import ExpectedSender

    sender = ExpectedSender(organ_id="H99", directory=AgencyDirectory([]))
    with pytest.raises(ConfigurationError):
        verify_pdf(signed_pdfs.blank(), trust=trust, sender=sender)
