"""Agency codes in both schemes, and a directory that knows dates."""

import datetime
import json

import pytest

from vnedoc.agencies import Agency, AgencyDirectory, CodeScheme, OrganId, normalize_name, parse_directory
from vnedoc.errors import ConfigurationError


@pytest.mark.parametrize(
    ("code", "scheme", "level_one"),
    [
        ("H41", CodeScheme.QD20, "H41"),
        ("H41.17", CodeScheme.QD20, "H41"),
        ("G12.18.112.001", CodeScheme.QD20, "G12"),
        ("H37.DN.001", CodeScheme.QD20, "H37"),
        ("000.00.17.H36", CodeScheme.QCVN102, "H36"),
        ("000.21.31.H53", CodeScheme.QCVN102, "H53"),
        ("vxp.saas.01", CodeScheme.OTHER, None),
        ("Z01", CodeScheme.OTHER, None),
        ("h41.17", CodeScheme.OTHER, None),
        ("H41." + "1" * 40, CodeScheme.OTHER, None),
        ("0101234567", CodeScheme.OTHER, None),
        ("H41.17\n", CodeScheme.OTHER, None),
    ],
)
def test_scheme_of_a_code(code: str, scheme: CodeScheme, level_one: str | None) -> None:
    organ = OrganId(code)
    assert organ.scheme is scheme
    assert organ.level_one == level_one
    assert str(organ) == code


@pytest.mark.parametrize(
    ("code", "ancestors"),
    [
        ("H41", ()),
        ("G12.18.112.001", ("G12.18.112", "G12.18", "G12")),
        ("H37.DN.001", ("H37.DN", "H37")),
        ("000.00.00.H53", ()),
        ("000.00.31.H53", ("000.00.00.H53",)),
        ("000.21.31.H53", ("000.00.31.H53", "000.00.00.H53")),
        ("005.21.31.H53", ("000.21.31.H53", "000.00.31.H53", "000.00.00.H53")),
        ("001.00.26.G14", ("000.00.26.G14", "000.00.00.G14")),
        ("28.22.H17", ()),
        ("vxp.saas.01", ()),
        ("H41..17", ()),
        ("H٤١.17", ()),
        ("", ()),
    ],
)
def test_what_stands_above_a_code(code: str, ancestors: tuple[str, ...]) -> None:
    assert OrganId(code).ancestors == ancestors


def _directory() -> AgencyDirectory:
    return AgencyDirectory(
        [
            Agency("H99", "TỈNH TEST", valid_to=datetime.date(2025, 6, 30), successor="H98"),
            Agency("H98", "TỈNH TEST MỚI", valid_from=datetime.date(2025, 7, 1), old_code="000.00.00.H98"),
            Agency("H97", "CŨ", valid_from=datetime.date(2020, 1, 1), valid_to=datetime.date(2022, 12, 31)),
            Agency("H97", "MỚI", valid_from=datetime.date(2023, 1, 1)),
        ]
    )


def test_resolve_by_either_code() -> None:
    directory = _directory()
    assert directory.resolve("H98").name == "TỈNH TEST MỚI"
    assert directory.resolve("000.00.00.H98").organ_id == "H98"


def test_resolve_at_a_date() -> None:
    directory = _directory()
    assert directory.resolve("H97").name == "MỚI"
    assert directory.resolve("H97", at=datetime.date(2021, 5, 1)).name == "CŨ"
    with pytest.raises(ConfigurationError, match="2026-01-01") as caught:
        directory.resolve("H99", at=datetime.date(2026, 1, 1))
    assert caught.value.code == "directory.not-on-that-day"


def test_an_unknown_code_says_so() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _directory().resolve("H00")
    assert caught.value.code == "directory.unknown-agency"


def test_names_are_compared_without_case_space_and_composition() -> None:
    composed, decomposed = "Ủy  ban\tnhân dân", "U\u0309y ban nhân dân".upper()
    assert normalize_name(composed) == normalize_name(decomposed)
    assert normalize_name("Sở Nội vụ") != normalize_name("Sở Ngoại vụ")


def test_a_directory_is_read_from_json() -> None:
    content = {
        "schema": "vnedoc.directory/1",
        "agencies": [
            {
                "organ_id": "H99",
                "name": "TỈNH TEST",
                "level": "province",
                "valid_from": "2025-07-01",
                "pins": [{"sha256": "AB:" * 31 + "AB", "valid_to": "2027-01-01"}],
            }
        ],
    }
    (agency,) = parse_directory(json.dumps(content).encode(), name="test").agencies
    assert agency.valid_from == datetime.date(2025, 7, 1)
    (pin,) = agency.pins
    assert pin.sha256 == "ab" * 32
    assert pin.holds_on(datetime.date(2027, 1, 1))
    assert not pin.holds_on(datetime.date(2027, 1, 2))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "directory.unreadable"),
        (b"[]", "directory.bad-schema"),
        (b'{"schema": "other"}', "directory.bad-schema"),
        (b'{"schema": "vnedoc.directory/1"}', "directory.unreadable"),
        (b'{"schema": "vnedoc.directory/1", "agencies": [{"organ_id": "H1"}]}', "directory.unreadable"),
        (b'{"schema": "vnedoc.directory/1", "agencies": [3]}', "directory.unreadable"),
        (
            b'{"schema": "vnedoc.directory/1", "agencies": [{"organ_id": "H1", "name": "x", "colour": 1}]}',
            "directory.unreadable",
        ),
        (
            b'{"schema": "vnedoc.directory/1", "agencies": [{"organ_id": "H1", "name": "x", "pins": [3]}]}',
            "directory.unreadable",
        ),
    ],
)
def test_a_file_that_is_no_directory_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_directory(content, name="test")
    assert caught.value.code == code
