"""Lists of agencies as axes and spreadsheets hand them out, and what becomes of a directory that takes them in."""

import dataclasses
import datetime
import json
from pathlib import Path

import pytest

from vnedoc.agencies import Agency, AgencyDirectory, CertificatePin, Level, dump_directory, parse_directory
from vnedoc.agencies.imports import merge_agencies, read_agencies, told_level
from vnedoc.errors import ConfigurationError, InputError

JULY = datetime.date(2025, 7, 1)
JUNE_30 = datetime.date(2025, 6, 30)
PIN = CertificatePin("ab" * 32)

VXP_ANSWER = {
    "code": "0",
    "data": [
        {"id": 1, "pid": None, "code": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST", "mail": "a@test.example"},
        {"id": 2, "pid": 1, "code": "H99.15", "name": "Ủy ban nhân dân xã TEST", "code102": "000.00.15.H99"},
        {"id": 3, "pid": 1, "code": "H99.16", "name": "Sở TEST", "deleted": True},
    ],
}
LGSP_ANSWER = [
    {"orgCode": "H99", "orgName": "ỦY BAN NHÂN DÂN TỈNH TEST", "parentCode": ""},
    {
        "orgCode": "H99.15",
        "orgName": "Ủy ban nhân dân xã TEST",
        "parentCode": "H99",
        "oldCode": "000.00.15.H99",
    },
]
SOAP_ANSWER = """<e:GetOrganizationsResponse xmlns:e="http://www.e-doc.vn/Schema/"><e:Organizations>
<!-- two of them --><e:Organization><e:OrganId>000.00.00.H99</e:OrganId>
<e:OrganName>ỦY BAN NHÂN DÂN TỈNH TEST</e:OrganName>
<e:domain_new>H99</e:domain_new></e:Organization>
<e:Organization><e:OrganId>000.00.15.H99</e:OrganId><!-- new since July -->
<e:OrganName>Ủy ban nhân dân xã TEST</e:OrganName>
<e:domain_new>H99.15</e:domain_new></e:Organization></e:Organizations></e:GetOrganizationsResponse>"""
TABLE = (
    "Mã định danh;Tên cơ quan;Cấp;Mã cũ;Có hiệu lực từ;Có hiệu lực đến;Mã cơ quan kế thừa\r\n"
    "H99.15;Ủy ban nhân dân xã TEST;xã;000.00.15.H99;01/07/2025;;\r\n"
    'H99.30;"Ủy ban nhân dân huyện TEST";huyện;;;2025-06-30;H99.15\r\n'
)


def _read(tmp_path: Path, content: str | bytes) -> tuple[Agency, ...]:
    path = tmp_path / "list"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_agencies(path)


def test_the_answer_of_the_national_axis(tmp_path: Path) -> None:
    province, commune = _read(tmp_path, json.dumps(VXP_ANSWER))
    assert province == Agency("H99", "ỦY BAN NHÂN DÂN TỈNH TEST", level=Level.PROVINCE)
    assert commune.parent == "H99", "the axis names the agency above by the number of its row"
    assert commune.old_code == "000.00.15.H99"
    assert commune.level is Level.COMMUNE


def test_the_answer_of_a_provincial_axis(tmp_path: Path) -> None:
    province, commune = _read(tmp_path, json.dumps(LGSP_ANSWER))
    assert (province.organ_id, province.parent) == ("H99", None)
    assert (commune.parent, commune.old_code) == ("H99", "000.00.15.H99")


def test_the_answer_of_a_soap_axis(tmp_path: Path) -> None:
    province, commune = _read(tmp_path, SOAP_ANSWER)
    assert (province.organ_id, province.old_code) == ("H99", "000.00.00.H99")
    assert (commune.organ_id, commune.old_code, commune.level) == ("H99.15", "000.00.15.H99", Level.COMMUNE)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_table_of_a_spreadsheet(tmp_path: Path, start: bytes) -> None:
    commune, district = _read(tmp_path, start + TABLE.encode())
    assert commune.valid_from == JULY
    assert (district.level, district.valid_to, district.successor) == (Level.DISTRICT, JUNE_30, "H99.15")


def test_a_table_with_english_names(tmp_path: Path) -> None:
    (agency,) = _read(tmp_path, "organ_id,name,tax_code\nH99.15,Ủy ban nhân dân xã TEST,0101234567\n")
    assert agency.tax_code == "0101234567"


def test_a_directory_is_a_list_too(tmp_path: Path) -> None:
    directory = AgencyDirectory([Agency("H99", "TỈNH TEST", pins=(PIN,), names=("TEST",))])
    assert _read(tmp_path, dump_directory(directory)) == directory.agencies


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "columns"),
        ("name\nTEST\n", "organ_id"),
        ("organ_id,name,colour\nH99,TEST,red\n", "colour"),
        ("organ_id,name\nH99\n", "line 2"),
        ("organ_id,name\nH99,TEST,more\n", "line 2"),
        ("organ_id,name\n,TEST\n", "line 2"),
        ('organ_id,name\n"H99,TEST\n', "line 2: unexpected end of data"),
        ('"organ_id,name\nH99,TEST\n', "end of data"),
        ("organ_id,name,level\nH99,TEST,planet\n", "planet"),
        ("organ_id,name,valid_from\nH99,TEST,32/01/2025\n", "line 2"),
        ("[1]", "row"),
        ('[{"code": "H99"}]', "row 1"),
        ('{"data": 3}', "no list"),
        ("{", ""),
        ("[" * 100_000, ""),
        ("<a/>", "Organization"),
        ("<a>", ""),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a><Organization/></a>', ""),
        (b"organ_id,name\nH99,\xff\n", ""),
    ],
)
def test_what_is_no_list_says_why(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _read(tmp_path, content)
    assert caught.value.code == "directory.no-list"
    assert reason in str(caught.value.values["reason"])


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("Có hiệu lực từ", "Có hiệu lực đến"),
        ("Hiệu lực từ", "Hiệu lực đến"),
        ("Từ ngày", "Đến ngày"),
        ("từ", "đến"),
        ("valid_from", "valid_to"),
    ],
)
def test_the_days_of_a_table_go_by_the_names_that_people_give_them(
    tmp_path: Path, first: str, last: str
) -> None:
    (agency,) = _read(tmp_path, f"Mã định danh;Tên cơ quan;{first};{last}\nH99;TEST;01/07/2025;30/06/2026\n")
    assert (agency.valid_from, agency.valid_to) == (JULY, datetime.date(2026, 6, 30))


def test_every_column_that_the_guide_names_is_read(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "how-to" / "keep-the-directory.md"
    rows = [
        line.split("|")[1:3] for line in guide.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    assert len(rows) >= 9
    for language in (0, 1):
        titles = [title.strip(" `") for row in rows for title in row[language].split(",")]
        values = ["H99", "TEST", *("" for _ in titles[2:])]
        (agency,) = _read(tmp_path, f"{';'.join(titles)}\n{';'.join(values)}\n")
        assert (agency.organ_id, agency.name) == ("H99", "TEST")


@pytest.mark.parametrize(
    ("table", "vi"),
    [
        ("organ_id,name,valid_from\nH99,TEST,32/01/2025\n", "dòng 2: “32/01/2025” không phải là ngày"),
        ("organ_id,name,valid_from\nH99,TEST,1/2\n", "dòng 2: “1/2” không phải là ngày"),
        ("organ_id,name,valid_to\nH99,TEST,soon\n", "dòng 2: “soon” không phải là ngày"),
        ("organ_id,name,level\nH99,TEST,planet\n", "dòng 2: “planet” không phải là cấp"),
        ('organ_id,name\nH98,TEST\n"H99,TEST\n', "dấu nháy kép mở mà không đóng"),
        ('organ_id,name\n"H9"9,TEST\n', "sau dấu nháy đóng"),
        (
            "organ_id,name,colour\nH99,TEST,red\n",
            "có cột lạ “colour”; các cột đọc được là organ_id (mã định danh)",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_vietnamese(tmp_path: Path, table: str, vi: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _read(tmp_path, table)
    told = caught.value.text("vi")
    assert vi in told
    for word in ("line", "day", "data", "expected", "valid Level", "column"):
        assert word not in told


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_agencies(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("code", "name", "level"),
    [
        ("G09", "Bộ TEST", Level.CENTRAL),
        ("G12.18.112.001", "Thuế TEST", Level.CENTRAL),
        ("H99", "Tỉnh TEST", Level.PROVINCE),
        ("H99.02", "Sở TEST", Level.PROVINCE),
        ("H99.30", "UBND Phường TEST", Level.COMMUNE),
        ("000.21.31.H99", "Uỷ ban nhân dân xã TEST", Level.COMMUNE),
        ("H99.31", "Ủy ban nhân dân huyện TEST", Level.DISTRICT),
        ("H99.40", "Trung tâm TEST", None),
        ("A12", "TỈNH ỦY TEST", None),
        ("0101234567", "Công ty TEST", None),
    ],
)
def test_a_level_is_told_only_without_doubt(code: str, name: str, level: Level | None) -> None:
    assert told_level(code, name) is level


def test_a_new_code_has_no_first_day() -> None:
    merged = merge_agencies(AgencyDirectory(()), [Agency("H99", "TỈNH TEST")], day=JULY)
    assert merged.added == ("H99",)
    assert merged.directory.resolve("H99", at=datetime.date(2020, 1, 1)).name == "TỈNH TEST"


def test_a_new_name_closes_the_entry_and_keeps_what_only_we_know() -> None:
    before = Agency("H99", "TỈNH TEST", pins=(PIN,), tax_code="0101234567")
    merged = merge_agencies(AgencyDirectory([before]), [Agency("H99", "TỈNH TEST MỚI")], day=JULY)
    assert merged.changed == ("H99",)
    assert merged.directory.resolve("H99", at=JUNE_30) == dataclasses.replace(before, valid_to=JUNE_30)
    now = merged.directory.resolve("H99", at=JULY)
    assert (now.name, now.pins, now.tax_code) == ("TỈNH TEST MỚI", (PIN,), "0101234567")


def test_the_same_list_again_changes_nothing() -> None:
    found = [Agency("H99", "TỈNH TEST"), Agency("H99.15", "XÃ TEST", parent="H99")]
    once = merge_agencies(AgencyDirectory(()), found, day=JULY)
    spelled = [dataclasses.replace(item, name=item.name.lower()) for item in found]
    again = merge_agencies(once.directory, [*found], day=JULY)
    assert (again.added, again.changed, again.completed) == ((), (), ())
    assert again.directory.agencies == once.directory.agencies
    assert merge_agencies(once.directory, spelled, day=JULY).changed == (), "only the spelling differs"


def test_what_was_unknown_is_filled_in() -> None:
    base = AgencyDirectory([Agency("H99.15", "XÃ TEST")])
    merged = merge_agencies(base, [Agency("H99.15", "XÃ TEST", parent="H99")], day=JULY)
    assert merged.completed == ("H99.15",)
    assert [item.parent for item in merged.directory.agencies] == ["H99"]


def test_missing_agencies_are_told_and_closed_only_when_asked() -> None:
    base = AgencyDirectory([Agency("H98", "TỈNH KHÁC TEST"), Agency("H99", "TỈNH TEST")])
    found = [Agency("H99", "TỈNH TEST")]
    told = merge_agencies(base, found, day=JULY)
    assert (told.missing, told.closed) == (("H98",), ())
    assert told.directory.agencies == base.agencies
    closed = merge_agencies(base, found, day=JULY, close_missing=True)
    assert closed.closed == ("H98",)
    assert not closed.directory.resolve("H98").exists_on(JULY)
    assert closed.directory.resolve("H98").exists_on(JUNE_30)


def test_an_agency_that_comes_back_begins_anew() -> None:
    base = AgencyDirectory([Agency("H99", "TỈNH TEST", valid_to=datetime.date(2024, 1, 1), successor="H98")])
    merged = merge_agencies(base, [Agency("H99", "TỈNH TEST")], day=JULY)
    first, second = merged.directory.agencies
    assert first.successor == "H98"
    assert (second.valid_from, second.successor) == (JULY, None)


def test_days_of_the_list_replace_ours() -> None:
    base = AgencyDirectory([Agency("H99", "TỈNH TEST", pins=(PIN,))])
    found = [
        Agency("H99", "TỈNH TEST", valid_to=JUNE_30),
        Agency("H99", "TỈNH TEST MỚI", valid_from=JULY),
    ]
    merged = merge_agencies(base, found, day=JULY)
    assert [item.valid_from for item in merged.directory.agencies] == [None, JULY]
    assert all(item.pins == (PIN,) for item in merged.directory.agencies)


def test_a_directory_survives_being_written_and_read() -> None:
    directory = AgencyDirectory(
        [
            Agency("H99", "TỈNH “TEST”", level=Level.PROVINCE, valid_from=JULY, names=("TEST",), pins=(PIN,)),
            Agency("H98", "TỈNH TEST", pins=(CertificatePin("cd" * 32, valid_to=JUNE_30),), successor="H99"),
        ]
    )
    content = dump_directory(directory)
    assert parse_directory(content, name="test").agencies == directory.agencies
    assert content.count(b"\n") == 4, "a line an entry"
