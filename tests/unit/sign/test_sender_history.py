"""Who the sender was when the document was signed: names, pins and heirs by date."""

from __future__ import annotations

import datetime

import pytest

from vnedoc.agencies import Agency, AgencyDirectory, CertificatePin
from vnedoc.errors import ConfigurationError
from vnedoc.sign.report import Conclusion, SenderMatch
from vnedoc.sign.senders import AgencySignature, ExpectedSender, SenderVerdict, judge_sender
from vnedoc.sign.trust import fingerprint
from vnedoc.testing.pki import Identity, TestPKI

UTC = datetime.UTC
MERGED = datetime.date(2025, 7, 1)
BEFORE = datetime.datetime(2025, 6, 30, 12, tzinfo=UTC)
AFTER = datetime.datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=UTC)
LAST_DAY = MERGED - datetime.timedelta(days=1)
OLD_NAME, NEW_NAME = "SỞ TEST KHÁC", "ỦY BAN NHÂN DÂN TỈNH TEST"
# On 1 July 2025 the work of H98 passed to H99, which did not exist before.
DIRECTORY = AgencyDirectory(
    [
        Agency("H98", OLD_NAME, valid_to=LAST_DAY, successor="H99"),
        Agency("H99", NEW_NAME, valid_from=MERGED),
        Agency("H97", "HUYỆN TEST", valid_to=LAST_DAY, successor="H96"),
        Agency("H96", "XÃ TEST", valid_to=LAST_DAY, successor="H97"),
        Agency("H95", "TỔNG CỤC TEST", valid_to=LAST_DAY),
        Agency("H95", NEW_NAME, valid_from=MERGED),
    ]
)


def ask(
    identity: Identity,
    organ_id: str,
    signed_at: datetime.datetime | None,
    *,
    conclusion: Conclusion = Conclusion.TOTAL_PASSED,
    directory: AgencyDirectory = DIRECTORY,
    required: SenderMatch = SenderMatch.NAMED,
    at: datetime.datetime | None = None,
) -> SenderVerdict:
    signature = AgencySignature(identity.certificate, conclusion, signed_at)
    return judge_sender([signature], ExpectedSender(organ_id, directory, required, at), now=NOW)


def test_the_old_agency_before_the_merger(pki: TestPKI) -> None:
    verdict = ask(pki.other_agency, "H98", BEFORE)
    assert verdict.report.match is SenderMatch.NAMED
    assert not verdict.errors
    assert (verdict.report.agency, verdict.report.day) == (OLD_NAME, LAST_DAY)
    assert verdict.report.successor_of is None


def test_the_heir_under_the_old_code_after_the_merger(pki: TestPKI) -> None:
    verdict = ask(pki.agency, "H98", AFTER)
    assert not verdict.errors
    assert (verdict.report.agency, verdict.report.successor_of) == (NEW_NAME, "H98")


def test_the_old_certificate_after_the_merger_is_explained(pki: TestPKI) -> None:
    for organ_id in ("H98", "H99"):
        verdict = ask(pki.other_agency, organ_id, AFTER)
        assert verdict.is_mismatch
        assert [error.id for error in verdict.errors] == ["verify.sender-mismatch"]
        assert [warning.id for warning in verdict.warnings] == ["verify.sender-predecessor"]
        assert OLD_NAME in verdict.warnings[0].text("vi")
    # A stranger gets no such explanation.
    assert not ask(pki.leader, "H99", AFTER).warnings


def test_the_new_agency_did_not_exist_before(pki: TestPKI) -> None:
    verdict = ask(pki.agency, "H99", BEFORE)
    assert verdict.is_mismatch
    assert verdict.report.match is SenderMatch.NONE


def test_the_same_code_with_another_name_then(pki: TestPKI) -> None:
    assert ask(pki.agency, "H95", AFTER).report.match is SenderMatch.NAMED
    assert ask(pki.agency, "H95", BEFORE).is_mismatch


def test_the_callers_time_counts_before_that_of_the_signature(pki: TestPKI) -> None:
    assert ask(pki.other_agency, "H98", AFTER, at=BEFORE).report.match is SenderMatch.NAMED
    assert ask(pki.other_agency, "H98", BEFORE, at=AFTER).is_mismatch


def test_without_any_time_it_is_now(pki: TestPKI) -> None:
    verdict = ask(pki.agency, "H98", None)
    assert verdict.report.day == NOW.date()
    assert verdict.report.successor_of == "H98"


def test_heirs_in_a_ring_end(pki: TestPKI) -> None:
    assert ask(pki.agency, "H97", AFTER).is_mismatch


def test_several_pins_each_for_its_time(pki: TestPKI) -> None:
    pins = (
        CertificatePin(fingerprint(pki.other_agency.certificate), valid_to=LAST_DAY),
        CertificatePin(fingerprint(pki.agency.certificate), valid_from=MERGED),
    )
    directory = AgencyDirectory([Agency("H99", "TÊN KHÁC", pins=pins)])
    for identity, moment, match in (
        (pki.other_agency, BEFORE, SenderMatch.PINNED),
        (pki.other_agency, AFTER, SenderMatch.NONE),
        (pki.agency, AFTER, SenderMatch.PINNED),
        (pki.agency, BEFORE, SenderMatch.NONE),
    ):
        verdict = ask(identity, "H99", moment, directory=directory, required=SenderMatch.PINNED)
        assert verdict.report.match is match
        assert verdict.is_mismatch is (match is SenderMatch.NONE)


def test_what_cannot_be_proven_is_no_mismatch_and_what_failed_is(pki: TestPKI) -> None:
    unsure = ask(pki.agency, "H99", AFTER, conclusion=Conclusion.INDETERMINATE)
    assert [error.id for error in unsure.errors] == ["verify.sender-unproven"]
    assert not unsure.is_mismatch
    assert ask(pki.agency, "H99", AFTER, conclusion=Conclusion.TOTAL_FAILED).is_mismatch


def test_the_best_of_several_signatures_counts(pki: TestPKI) -> None:
    signed = [
        AgencySignature(identity.certificate, Conclusion.TOTAL_PASSED, AFTER)
        for identity in (pki.other_agency, pki.agency, pki.other_agency)
    ]
    verdict = judge_sender(signed, ExpectedSender("H99", DIRECTORY), now=NOW)
    assert verdict.report.match is SenderMatch.NAMED
    assert not verdict.is_mismatch


def test_nobody_signed_for_an_agency() -> None:
    verdict = judge_sender([], ExpectedSender("H98", DIRECTORY), now=NOW)
    assert verdict.is_mismatch
    # By now the work had passed on.
    assert (verdict.report.agency, verdict.report.successor_of) == (NEW_NAME, "H98")
    verdict = judge_sender([], ExpectedSender("H98", DIRECTORY, at=BEFORE), now=NOW)
    assert verdict.report.agency == OLD_NAME


def test_an_unknown_code_is_a_mistake_in_the_question() -> None:
    ExpectedSender("H98", DIRECTORY).check_known()
    ExpectedSender("H98", DIRECTORY, at=AFTER).check_known()
    with pytest.raises(ConfigurationError) as caught:
        ExpectedSender("H01", DIRECTORY).check_known()
    assert caught.value.code == "directory.unknown-agency"
    with pytest.raises(ConfigurationError) as caught:
        ExpectedSender("H99", DIRECTORY, at=BEFORE).check_known()
    assert caught.value.code == "directory.not-on-that-day"


def test_heirs_of_heirs(pki: TestPKI) -> None:
    directory = AgencyDirectory(
        [
            Agency("H1", "XÃ TEST", valid_to=datetime.date(2020, 1, 1), successor="H2"),
            Agency("H2", "HUYỆN TEST", valid_to=LAST_DAY, successor="H3"),
            Agency("H3", NEW_NAME),
        ]
    )
    verdict = ask(pki.agency, "H1", AFTER, directory=directory)
    assert (verdict.report.agency, verdict.report.successor_of) == (NEW_NAME, "H1")
    # In between it was the first heir, and a chain that breaks off leads to nobody.
    assert ask(pki.agency, "H1", BEFORE, directory=directory).report.agency == "HUYỆN TEST"
    broken = AgencyDirectory(directory.agencies[:2])
    assert ask(pki.agency, "H1", AFTER, directory=broken).is_mismatch
