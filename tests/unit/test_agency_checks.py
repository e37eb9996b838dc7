"""What is found wrong in a directory, and what is not."""

import datetime

import pytest

from vnedoc.agencies import Agency, AgencyDirectory, Level
from vnedoc.agencies.checks import Severity, check_directory

TODAY = datetime.date(2026, 11, 21)
JULY = datetime.date(2025, 7, 1)
JUNE_30 = datetime.date(2025, 6, 30)


def _found(*agencies: Agency) -> list[tuple[str, Severity, str]]:
    found = check_directory(AgencyDirectory(agencies), day=TODAY)
    for item in found:
        assert item.values["code"] in item.text("vi")
        assert item.values["code"] in item.text("en")
    return [(item.id, item.severity, item.values["code"]) for item in found]


def test_a_sound_directory_has_no_findings() -> None:
    assert (
        _found(
            Agency("H99", "TỈNH TEST", valid_to=JUNE_30),
            Agency("H99", "TỈNH TEST MỚI", valid_from=JULY, old_code="000.00.00.H99"),
            Agency("H99.15", "XÃ TEST", parent="H99", valid_from=JULY),
            Agency(
                "H99.30",
                "HUYỆN TEST",
                parent="H99",
                level=Level.DISTRICT,
                valid_to=JUNE_30,
                successor="H99.15",
            ),
        )
        == []
    )


@pytest.mark.parametrize(
    ("agencies", "finding", "severity"),
    [
        ([Agency("H99", "MỘT"), Agency("H99", "HAI")], "doubled", Severity.ERROR),
        (
            [Agency("H99", "MỘT", valid_to=JULY), Agency("H99", "HAI", valid_from=JULY)],
            "doubled",
            Severity.ERROR,
        ),
        (
            [Agency("H99", "MỘT", old_code="000.00.00.H99"), Agency("H98", "HAI", old_code="000.00.00.H99")],
            "old-code-doubled",
            Severity.ERROR,
        ),
        ([Agency("H99", "TEST", valid_from=JULY, valid_to=JUNE_30)], "ends-before-it-begins", Severity.ERROR),
        (
            [Agency("H99", "A", parent="H98"), Agency("H98", "B", parent="H99")],
            "parent-circle",
            Severity.ERROR,
        ),
        ([Agency("H99", "A", successor="H99")], "successor-circle", Severity.ERROR),
        ([Agency("H99", "A", parent="H97")], "unknown-parent", Severity.WARNING),
        ([Agency("H99", "A", valid_to=JUNE_30, successor="H97")], "unknown-successor", Severity.WARNING),
        ([Agency("H99", "A", valid_to=JUNE_30)], "no-successor", Severity.WARNING),
        ([Agency("H99.30", "A", level=Level.DISTRICT)], "district", Severity.WARNING),
        ([Agency("mã lạ", "A")], "odd-code", Severity.WARNING),
        (
            [Agency("H99", "A", parent="H98"), Agency("H98", "B", valid_to=JUNE_30, successor="H99")],
            "parent-ended",
            Severity.WARNING,
        ),
    ],
)
def test_what_is_wrong_is_found(agencies: list[Agency], finding: str, severity: Severity) -> None:
    found = {(name, kind) for name, kind, _ in _found(*agencies)}
    assert (f"directory.{finding}", severity) in found


def test_a_tail_that_leads_into_a_circle_is_told_once() -> None:
    found = _found(
        Agency("H97", "C", parent="H98"), Agency("H98", "B", parent="H99"), Agency("H99", "A", parent="H98")
    )
    assert [name for name, _, _ in found].count("directory.parent-circle") == 1
