from __future__ import annotations

import datetime
import unicodedata
from typing import TYPE_CHECKING

import pytest

from vnedoc.agencies import Agency, AgencyDirectory, CertificatePin
from vnedoc.errors import CredentialError
from vnedoc.sign.certificates import check_can_sign, guess_role, subject_codes, summarize
from vnedoc.sign.report import SignerRole
from vnedoc.sign.trust import fingerprint

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI


def test_a_summary_shows_names_and_codes(pki: TestPKI) -> None:
    summary = summarize(pki.agency.certificate)
    assert summary.common_name == "ỦY BAN NHÂN DÂN TỈNH TEST"
    assert summary.organization == "ỦY BAN NHÂN DÂN TỈNH TEST"
    assert summary.email == "vanthu@tinh-test.example"
    assert (summary.tax_code, summary.budget_code) == ("0000000017", "0000017")
    assert summary.issuer == "CA phục vụ các cơ quan Nhà nước G2 TEST"
    assert int(summary.serial, 16) == pki.agency.certificate.serial_number
    assert summarize(pki.leader.certificate).tax_code is None


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("NGUYỄN VĂN TEST", SignerRole.PERSON),
        ("Trần Thị Test", SignerRole.PERSON),
        ("SỞ TÀI CHÍNH TEST", SignerRole.AGENCY),
        ("UỶ BAN NHÂN DÂN XÃ TEST", SignerRole.AGENCY),
        (unicodedata.normalize("NFD", "Ủy ban nhân dân xã TEST"), SignerRole.AGENCY),
        ("TCHQ TEST", SignerRole.UNKNOWN),
        ("Hợp tác xã TEST", SignerRole.UNKNOWN),
    ],
)
def test_the_role_is_guessed_from_the_name(pki: TestPKI, name: str, role: SignerRole) -> None:
    identity = pki.issue_person(common_name=name, organization="TEST")
    assert guess_role(identity.certificate) is role


def test_codes_and_the_directory_decide_before_the_name(pki: TestPKI) -> None:
    coded = pki.issue_agency(common_name="TCHQ TEST", organization="TEST", tax_code="0000000033").certificate
    assert guess_role(coded) is SignerRole.AGENCY
    assert subject_codes(coded) == {"MST": "0000000033"}
    plain = pki.issue_person(common_name="HỢP TÁC XÃ TEST", organization="TEST").certificate
    named = AgencyDirectory([Agency(organ_id="H99.1", name="Hợp tác xã  test")])
    assert guess_role(plain, named) is SignerRole.AGENCY
    pinned = AgencyDirectory([Agency("H99.2", "KHÁC", pins=(CertificatePin(fingerprint(plain)),))])
    assert guess_role(plain, pinned) is SignerRole.AGENCY


def test_what_may_sign(pki: TestPKI) -> None:
    certificate = pki.leader.certificate
    check_can_sign(certificate, certificate.not_valid_before_utc + datetime.timedelta(days=1))


@pytest.mark.parametrize(("days", "code"), [(-1, "certificate.not-yet-valid"), (4000, "certificate.expired")])
def test_what_may_not_sign_at_that_time(pki: TestPKI, days: int, code: str) -> None:
    certificate = pki.leader.certificate
    with pytest.raises(CredentialError) as caught:
        check_can_sign(certificate, certificate.not_valid_before_utc + datetime.timedelta(days=days))
    assert caught.value.code == code
    for language in ("vi", "en"):
        assert "NGUYỄN VĂN TEST" in caught.value.text(language)


@pytest.mark.parametrize("usage", [None, ("digital_signature", "key_encipherment")])
def test_a_key_that_is_not_for_documents(pki: TestPKI, usage: tuple[str, ...] | None) -> None:
    identity = pki.issue_person(common_name="LÊ TEST", organization="TEST", key_usage=usage)
    with pytest.raises(CredentialError) as caught:
        check_can_sign(identity.certificate, pki.now())
    assert caught.value.code == "certificate.may-not-sign"
