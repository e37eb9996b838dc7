"""``vnedoc pack``, ``unpack`` and ``validate``: exit codes, what is printed where, and files that appear."""

import hashlib
import json
from pathlib import Path

import pytest

from tests import edxml
from tests.cli import vnedoc
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.package import read_package, write_package

HEADER = """
code_number = "15"
code_notation = "STEST-VP"
promulgation_date = 2026-11-20
subject = "Về việc TEST"
[sender]
organ_id = "H99.02"
organ_name = "SỞ TEST"
[[recipients]]
organ_id = "H99"
organ_name = "ỦY BAN NHÂN DÂN TỈNH TEST"
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a header, a document and an appendix."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "header.toml").write_text(HEADER, encoding="utf-8")
    (tmp_path / "van-ban.pdf").write_bytes(edxml.PDF)
    (tmp_path / "so-lieu.xlsx").write_bytes(edxml.many_entries())
    return tmp_path


def packed(*more: str) -> Path:
    outcome = vnedoc(
        "pack", "--header", "header.toml", "van-ban.pdf", "so-lieu.xlsx", "-o", "goi.edxml", *more
    )
    assert outcome.code == 0
    return Path("goi.edxml")


@pytest.mark.parametrize("dialect", ["vnpt", "net", "bkav"])
def test_pack_and_unpack(desk: Path, dialect: str) -> None:
    packed("--dialect", dialect)
    outcome = vnedoc("unpack", "goi.edxml", "-d", "den")
    assert (outcome.code, outcome.err) == (0, "")
    assert "15/STEST-VP" in outcome.out
    assert "Về việc TEST" in outcome.out
    assert (desk / "den" / "van-ban.pdf").read_bytes() == edxml.PDF
    assert (desk / "den" / "so-lieu.xlsx").read_bytes() == edxml.many_entries()


def test_pack_adds_the_first_station(desk: Path) -> None:
    header = read_package(packed(), folder=None).header
    assert isinstance(header, DocumentHeader)
    assert [station.organ_id for station in header.trace] == ["H99.02"]
    assert header.document_id == "H99.02,2026/11/20,15/STEST-VP"


def test_pack_says_what_it_wrote_as_json(desk: Path) -> None:
    outcome = vnedoc("pack", "--header", "header.toml", "van-ban.pdf", "-o", "goi.edxml", "--format", "json")
    facts = outcome.json()
    content = (desk / "goi.edxml").read_bytes()
    assert facts["schema"] == "vnedoc.packing/1"
    assert (facts["size"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert facts["attachments"][0]["sha256"] == hashlib.sha256(edxml.PDF).hexdigest()


def test_unpack_json_gives_a_header_that_can_be_packed_again(desk: Path) -> None:
    packed()
    facts = vnedoc("unpack", "goi.edxml", "-d", "den", "--format", "json").json()
    assert facts["schema"] == "vnedoc.package/1"
    assert facts["kind"] == "document"
    assert facts["warnings"] == []
    assert [item["path"] for item in facts["attachments"]] == ["den/van-ban.pdf", "den/so-lieu.xlsx"]
    (desk / "lai.json").write_text(json.dumps(facts["header"]), encoding="utf-8")
    files = [item["path"] for item in facts["attachments"]]
    assert vnedoc("pack", "--header", "lai.json", *files, "-o", "lai.edxml").code == 0
    assert (desk / "lai.edxml").read_bytes() == (desk / "goi.edxml").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("pack", "--header", "header.toml", "-o", "x.edxml"), 2),
        (("pack", "--header", "khong-co.toml", "van-ban.pdf", "-o", "x.edxml"), 4),
        (("pack", "--header", "van-ban.pdf", "van-ban.pdf", "-o", "x.edxml"), 2),
        (("pack", "--header", "header.toml", "khong-co.pdf", "-o", "x.edxml"), 4),
        (("pack", "--header", "header.toml", "van-ban.pdf", "-o", "van-ban.pdf"), 2),
        (("pack", "--header", "header.toml", "van-ban.pdf", "-o", "khong/co/x.edxml"), 4),
        (("pack", "--header", "header.toml", "van-ban.pdf", "-o", "x.edxml", "--dialect", "khac"), 2),
        (("unpack", "van-ban.pdf", "-d", "x.edxml"), 4),
        (("unpack", "khong-co.edxml", "-d", "x.edxml"), 4),
        (("unpack", "van-ban.pdf"), 2),
        (("validate",), 2),
        (("validate", "khong-co.edxml"), 4),
        (("validate", "van-ban.pdf"), 4),
    ],
)
def test_wrong_calls_and_files(desk: Path, arguments: tuple[str, ...], code: int) -> None:
    outcome = vnedoc(*arguments)
    assert outcome.code == code
    assert outcome.err
    assert "Traceback" not in outcome.err
    assert not (desk / "x.edxml").exists()
    assert (desk / "van-ban.pdf").read_bytes() == edxml.PDF


def test_a_status_header_is_not_packed(desk: Path) -> None:
    text = 'status_code = "03"\ntimestamp = 2026-11-21T08:30:00\n[response_for]\n'
    text += '[sender]\norgan_id = "H99"\norgan_name = "T"\n'
    (desk / "status.toml").write_text(text, encoding="utf-8")
    assert vnedoc("pack", "--header", "status.toml", "van-ban.pdf", "-o", "x.edxml").code == 2


def test_unpack_shows_a_status_and_warns_on_stderr(desk: Path) -> None:
    write_package(edxml.status(), [], desk / "s.edxml")
    (desk / "s.edxml").write_bytes(b"1212" + (desk / "s.edxml").read_bytes())
    outcome = vnedoc("unpack", "s.edxml", "-d", "den", lang="vi")
    assert outcome.code == 0
    assert "Trạng thái: 03 (Đã tiếp nhận)" in outcome.out
    assert "[edxml.leading-junk]" in outcome.err
    assert "edxml.leading-junk" not in outcome.out


def test_validate_one_good_file(desk: Path) -> None:
    packed()
    for level in ("strict", "axis", "lenient"):
        outcome = vnedoc("validate", "goi.edxml", "--level", level)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out == f"goi.edxml: valid at level {level}.\n"


def test_validate_does_all_files_and_the_gravest_code_wins(desk: Path) -> None:
    packed()
    content = Path("goi.edxml").read_bytes()
    Path("xau.edxml").write_bytes(content.replace("Về việc TEST".encode(), b"T" * 501))
    Path("rac.edxml").write_bytes(b"khong phai xml")
    outcome = vnedoc("validate", "rac.edxml", "xau.edxml", "goi.edxml", "--format", "json")
    assert outcome.code == 1
    rows = outcome.json()["files"]
    assert [row.get("valid") for row in rows] == [None, False, True]
    assert rows[0]["error"]["id"] == "edxml.not-xml"
    assert rows[1]["errors"] == [
        {
            "id": "edxml.too-long",
            "element": "MessageHeader/Subject",
            "line": 22,
            "text": "MessageHeader/Subject has 501 characters; the limit is 500.",
        }
    ]
    assert vnedoc("validate", "rac.edxml", "goi.edxml").code == 4
    assert vnedoc("validate", "xau.edxml", "--level", "axis").code == 0


def test_validate_speaks_vietnamese(desk: Path) -> None:
    packed()
    content = Path("goi.edxml").read_bytes()
    Path("xau.edxml").write_bytes(content.replace("Về việc TEST".encode(), b""))
    outcome = vnedoc("validate", "xau.edxml", lang="vi")
    assert outcome.code == 1
    assert outcome.out == "xau.edxml: không hợp lệ ở mức strict.\n"
    assert "Thiếu MessageHeader/Subject." in outcome.err
