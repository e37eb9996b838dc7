from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from vnedoc.agencies import Agency, CertificatePin
from vnedoc.sign.report import SenderMatch
from vnedoc.sign.senders import STRONGEST_FIRST, best_match, match_certificate, reaches
from vnedoc.sign.trust import fingerprint

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

DAY = datetime.date(2026, 6, 1)
NAME = "ỦY BAN NHÂN DÂN TỈNH TEST"


@pytest.mark.parametrize(
    ("agency", "match"),
    [
        (Agency("H99", "X", tax_code="0000000017"), SenderMatch.CODED),
        (Agency("H99", "X", budget_code="0000017"), SenderMatch.CODED),
        (Agency("H99", "X", tax_code="0000000018"), SenderMatch.NONE),
        (Agency("H99", NAME), SenderMatch.NAMED),
        (Agency("H99", "Ủy ban  nhân dân tỉnh Test"), SenderMatch.NAMED),
        (Agency("H99", "X", names=(NAME,)), SenderMatch.NAMED),
        (Agency("H99", NAME, organizations=(NAME,)), SenderMatch.NAMED),
        (Agency("H99", NAME, organizations=("KHÁC",)), SenderMatch.NONE),
        (Agency("H99", "X", mail_domain="tinh-test.example"), SenderMatch.DOMAIN),
        (Agency("H99", "X", mail_domain="test.example"), SenderMatch.NONE),
        (Agency("H99", "ỦY BAN NHÂN DÂN TỈNH TEST 2"), SenderMatch.NONE),
    ],
)
def test_match(pki: TestPKI, agency: Agency, match: SenderMatch) -> None:
    assert match_certificate(pki.agency.certificate, agency, on=DAY) is match


@pytest.mark.parametrize(
    ("first", "last", "match"),
    [
        (None, None, SenderMatch.PINNED),
        (DAY, DAY, SenderMatch.PINNED),
        (DAY + datetime.timedelta(days=1), None, SenderMatch.NONE),
        (None, DAY - datetime.timedelta(days=1), SenderMatch.NONE),
    ],
)
def test_a_pin_counts_on_its_days(
    pki: TestPKI, first: datetime.date | None, last: datetime.date | None, match: SenderMatch
) -> None:
    pin = CertificatePin(fingerprint(pki.agency.certificate), first, last)
    agency = Agency("H99", "X", pins=(pin,))
    assert match_certificate(pki.agency.certificate, agency, on=DAY) is match
    assert match_certificate(pki.other_agency.certificate, agency, on=DAY) is SenderMatch.NONE


def test_the_strongest_match_counts(pki: TestPKI) -> None:
    agency = Agency("H99", "SỞ TEST KHÁC", tax_code="0000000017")
    both = [pki.other_agency.certificate, pki.agency.certificate]
    assert best_match(both, agency, on=DAY) is SenderMatch.CODED
    assert best_match([], agency, on=DAY) is SenderMatch.NONE


def test_levels_are_ordered() -> None:
    for position, required in enumerate(STRONGEST_FIRST):
        assert [reaches(match, required) for match in STRONGEST_FIRST] == [
            index <= position for index in range(len(STRONGEST_FIRST))
        ]
