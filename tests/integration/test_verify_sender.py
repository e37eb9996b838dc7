"""A valid signature of the wrong agency is not valid for the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import signed_pdfs
from vnedoc.agencies import Agency, AgencyDirectory
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, SenderMatch
from vnedoc.sign.senders import ExpectedSender
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    from vnedoc.sign.report import FileReport
    from vnedoc.testing.pki import Identity, TestPKI

DIRECTORY = AgencyDirectory(
    [
        Agency("H99", "ỦY BAN NHÂN DÂN TỈNH TEST", tax_code="0000000017"),
        Agency("H98.1", "SỞ TEST KHÁC"),
    ]
)


def judge(
    pki: TestPKI, identity: Identity, organ_id: str, *, rule: RevocationRule, required: SenderMatch
) -> FileReport:
    sender = ExpectedSender(organ_id=organ_id, directory=DIRECTORY, required=required)
    (report,) = verify_pdf(
        signed_pdfs.sign(signed_pdfs.blank(), identity),
        trust=TrustStore.from_certificates(pki.ca_certificates),
        policy=Policy(revocation=rule),
        sender=sender,
    ).files
    return report


@pytest.mark.parametrize(
    ("who", "organ_id", "required", "conclusion", "match"),
    [
        ("agency", "H99", SenderMatch.NAMED, Conclusion.TOTAL_PASSED, SenderMatch.CODED),
        ("agency", "H99", SenderMatch.PINNED, Conclusion.TOTAL_FAILED, SenderMatch.CODED),
        ("agency", "H98.1", SenderMatch.NAMED, Conclusion.TOTAL_FAILED, SenderMatch.NONE),
        ("other_agency", "H99", SenderMatch.NAMED, Conclusion.TOTAL_FAILED, SenderMatch.NONE),
        ("other_agency", "H98.1", SenderMatch.NAMED, Conclusion.TOTAL_PASSED, SenderMatch.NAMED),
        # A person never stands for the agency, not even the one with authority.
        ("leader", "H99", SenderMatch.DOMAIN, Conclusion.TOTAL_FAILED, SenderMatch.NONE),
    ],
)
def test_the_signer_must_be_the_sender(
    pki: TestPKI, who: str, organ_id: str, required: SenderMatch, conclusion: Conclusion, match: SenderMatch
) -> None:
    report = judge(pki, getattr(pki, who), organ_id, rule=RevocationRule.WHEN_AVAILABLE, required=required)
    assert report.conclusion is conclusion
    assert report.sender is not None
    assert (report.sender.organ_id, report.sender.match) == (organ_id, match)
    mismatch = "verify.sender-mismatch" in {error.id for error in report.errors}
    assert mismatch is (conclusion is Conclusion.TOTAL_FAILED)
    # What the signature itself is worth is another question.
    assert report.signatures[0].conclusion is Conclusion.TOTAL_PASSED


def test_the_right_agency_whose_signature_cannot_be_proven(pki: TestPKI) -> None:
    report = judge(pki, pki.agency, "H99", rule=RevocationRule.REQUIRE, required=SenderMatch.NAMED)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert "verify.sender-unproven" in {error.id for error in report.errors}
