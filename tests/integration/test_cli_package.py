"""``vnedoc pack``, ``unpack`` and ``validate``: exit codes, what is printed where, and files that appear."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import edxml
from tests.cli import Outcome, vnedoc
from tests.full_disks import room_for
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.package import read_package, write_package
from vnedoc.exchange.schema import load_schema
from vnedoc.testing.pki import running_pki

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

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


def test_a_disk_that_is_full(desk: Path) -> None:
    with room_for(100):
        outcome = vnedoc("pack", "--header", "header.toml", "van-ban.pdf", "-o", "goi.edxml")
    assert outcome.code == 4
    assert "goi.edxml cannot be written" in outcome.err
    assert not (desk / "goi.edxml").exists()
    assert vnedoc("pack", "--header", "header.toml", "van-ban.pdf", "-o", "goi.edxml").code == 0
    with room_for(10):
        outcome = vnedoc("unpack", "goi.edxml", "-d", "den")
    assert (outcome.code, outcome.out) == (4, "goi.edxml: was not unpacked.\n")
    assert "cannot be written" in outcome.err
    assert "cannot be read" not in outcome.err
    assert not (desk / "den").exists()


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


def test_a_refusal_says_on_which_line(desk: Path) -> None:
    packed()
    content = Path("goi.edxml").read_bytes().replace(b"</edXML:Subject>", b"</edXML:Subj>")
    line = content[: content.index(b"</edXML:Subj>")].count(b"\n") + 3
    Path("hong.edxml").write_bytes(b"12\n\n" + content)
    for command in (("validate", "hong.edxml"), ("unpack", "hong.edxml", "-d", "den")):
        outcome = vnedoc(*command)
        assert outcome.code == 4
        assert outcome.out == "hong.edxml: cannot be read.\n"
        assert outcome.err.startswith(f"hong.edxml:{line}: error: ")
        assert outcome.err.endswith("[edxml.not-xml]\n")
        facts = vnedoc(*command, "--format", "json").json()
        row = facts["files"][0] if "files" in facts else facts
        assert (row["path"], row["error"]["id"], row["error"]["line"]) == (
            "hong.edxml",
            "edxml.not-xml",
            line,
        )
    Path("rong.edxml").write_bytes(b"")
    outcome = vnedoc("validate", "rong.edxml", lang="vi")
    assert outcome.err == "rong.edxml: lỗi: Gói tin rỗng. [edxml.empty]\n"
    assert vnedoc("validate", "rong.edxml", "--format", "json").json()["files"][0]["error"]["line"] is None
    assert not (desk / "den").exists()


def test_validate_speaks_vietnamese(desk: Path) -> None:
    packed()
    content = Path("goi.edxml").read_bytes()
    Path("xau.edxml").write_bytes(content.replace("Về việc TEST".encode(), b""))
    outcome = vnedoc("validate", "xau.edxml", lang="vi")
    assert outcome.code == 1
    assert outcome.out == "xau.edxml: không hợp lệ ở mức strict.\n"
    assert "Thiếu MessageHeader/Subject." in outcome.err


# --- Signatures, order, names ----------------------------------------------------------------------


@pytest.fixture
def office(desk: Path, pki: TestPKI, issued: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The desk of an agency with its key, an issued decision and what it trusts."""
    monkeypatch.setenv("PASS", "x")
    (desk / "agency.p12").write_bytes(pki.agency.pkcs12("x"))
    (desk / "other.p12").write_bytes(pki.other_agency.pkcs12("x"))
    pem = b"".join(authority.public_bytes(Encoding.PEM) for authority in pki.ca_certificates)
    (desk / "trust.pem").write_bytes(pem)
    (desk / "Quyết định số 15 (bản chính).pdf").write_bytes(issued)
    return desk


TRUST = ("--trust", "trust.pem", "--allow-host", "127.0.0.1")
SIGNER = ("--signer", "pkcs12:agency.p12", "--passphrase-env", "PASS")
DECISION = "Quyết định số 15 (bản chính).pdf"


def pack(*arguments: object) -> Outcome:
    return vnedoc("pack", "--header", "header.toml", *arguments, "-o", "goi.edxml")


def test_a_signed_package_of_an_issued_document(office: Path) -> None:
    assert pack("so-lieu.xlsx", DECISION, *TRUST, *SIGNER).code == 0
    outcome = vnedoc("unpack", "goi.edxml", "-d", "den", *TRUST)
    assert outcome.code == 0
    assert (
        "Package signature: over the header and the files (TOTAL-PASSED), ỦY BAN NHÂN DÂN TỈNH TEST"
        in outcome.out
    )
    # The signed document comes first, under a name that every receiver can keep.
    package = read_package(office / "goi.edxml", folder=None)
    assert [(item.name, item.description) for item in package.attachments] == [
        ("Quyet-dinh-so-15-ban-chinh.pdf", DECISION),
        ("so-lieu.xlsx", "so-lieu.xlsx"),
    ]
    told = vnedoc("validate", "goi.edxml", *TRUST, "--format", "json")
    assert told.code == 0
    (row,) = told.json()["files"]
    assert row["signature"]["conclusion"] == "TOTAL-PASSED"
    assert row["signature"]["level"] == "XAdES-B-B"
    assert row["signature"]["signer"]["common_name"] == "ỦY BAN NHÂN DÂN TỈNH TEST"
    assert row["signature"]["revocation"] == {"status": "good", "source": "ocsp"}


def test_names_can_be_kept(office: Path) -> None:
    assert pack("so-lieu.xlsx", DECISION, *TRUST, "--keep-names").code == 0
    package = read_package(office / "goi.edxml", folder=None)
    assert [item.name for item in package.attachments] == [DECISION, "so-lieu.xlsx"]


def test_without_trust_nothing_signed_is_packed(office: Path) -> None:
    outcome = pack(DECISION)
    assert outcome.code == 5
    assert "--accept-unverified" in outcome.err
    assert not (office / "goi.edxml").exists()
    assert pack("van-ban.pdf").code == 0


def test_an_issued_document_that_nobody_signed_is_packed_with_a_word(office: Path) -> None:
    outcome = vnedoc("pack", "--header", "header.toml", "van-ban.pdf", "-o", "goi.edxml", lang="vi")
    assert outcome.code == 0
    assert outcome.err.startswith("header.toml: cảnh báo: Văn bản có số và ngày ban hành")
    assert outcome.err.endswith("[package.nothing-signed]\n")
    outcome = pack("van-ban.pdf", DECISION, "so-lieu.xlsx", *TRUST)
    assert outcome.code == 0
    assert "“van-ban.pdf” is a PDF that is not signed" in outcome.err
    assert outcome.err.count("\n") == 1
    assert pack(DECISION, "so-lieu.xlsx", *TRUST).err == ""
    assert pack("van-ban.pdf", "--accept-unverified").err == ""
    outcome = pack("van-ban.pdf", "--format", "json")
    assert [item["id"] for item in outcome.json()["warnings"]] == ["package.nothing-signed"]
    draft = HEADER.replace('code_number = "15"', 'code_number = ""')
    (office / "header.toml").write_text(draft, encoding="utf-8")
    outcome = pack("van-ban.pdf")
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize(
    "more", [(*TRUST, "--offline"), ("--trust", "stranger.pem", "--allow-host", "127.0.0.1")]
)
def test_what_does_not_verify_is_not_packed(office: Path, more: tuple[str, ...]) -> None:
    with running_pki() as stranger:
        (office / "stranger.pem").write_bytes(stranger.root.certificate.public_bytes(Encoding.PEM))
    outcome = pack(DECISION, *more)
    assert outcome.code == 3
    assert "INDETERMINATE" in outcome.err
    assert not (office / "goi.edxml").exists()
    assert pack(DECISION, *more, "--accept-unverified").code == 0
    assert (office / "goi.edxml").exists()


def test_what_was_changed_is_not_packed(office: Path) -> None:
    path = office / DECISION
    path.write_bytes(path.read_bytes().replace(b"%PDF-1.", b"%PDF-2.", 1))
    outcome = pack(DECISION, *TRUST)
    assert outcome.code == 1
    assert "TOTAL-FAILED" in outcome.err
    assert not (office / "goi.edxml").exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--signer", "pkcs12:none.p12", "--passphrase-env", "PASS"), 4),
        (("--signer", "pkcs12:agency.p12", "--passphrase-env", "WRONG"), 5),
        (("--signer", "unknown:x"), 2),
        (("--trust", "none.pem"), 5),
    ],
)
def test_a_key_or_trust_that_cannot_be_used(
    office: Path, more: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "y")
    outcome = pack(DECISION, *TRUST, *more)
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    assert not (office / "goi.edxml").exists()


def test_a_package_that_was_changed_is_said_to_be(office: Path) -> None:
    assert pack("van-ban.pdf", *SIGNER).code == 0
    content = (office / "goi.edxml").read_bytes()
    (office / "xau.edxml").write_bytes(content.replace("Về việc TEST".encode(), "Về việc khác".encode()))
    outcome = vnedoc("unpack", "xau.edxml", "-d", "den", *TRUST)
    assert outcome.code == 1
    assert "TOTAL-FAILED, HASH_FAILURE" in outcome.out
    assert "xmlsig.hash-failure" in outcome.err
    for level in ("strict", "axis", "lenient"):
        told = vnedoc("validate", "xau.edxml", "--level", level, *TRUST)
        assert told.code == 1
        assert "xmlsig.hash-failure" in told.err
    assert vnedoc("validate", "goi.edxml", *TRUST).code == 0


def test_a_signer_nobody_knows_is_a_warning(office: Path) -> None:
    assert pack("van-ban.pdf", *SIGNER).code == 0
    outcome = vnedoc("unpack", "goi.edxml", "-d", "den", "--format", "json")
    assert outcome.code == 0
    signature = outcome.json()["signature"]
    assert (signature["conclusion"], signature["integrity"]) == ("INDETERMINATE", True)
    told = vnedoc("validate", "goi.edxml")
    assert told.code == 0
    assert "warning" in told.err
    assert "INDETERMINATE" in told.out


def test_a_decoration_is_called_that(office: Path) -> None:
    content = packed().read_bytes()
    decoration = b"<Signature><SignatureValue>TEST</SignatureValue></Signature></edXML:edXMLHeader>"
    (office / "kit.edxml").write_bytes(content.replace(b"</edXML:edXMLHeader>", decoration))
    outcome = vnedoc("unpack", "kit.edxml", "-d", "den2", *TRUST, lang="vi")
    assert outcome.code == 0
    assert "chỉ là hình thức, không có giá trị (NO-SIGNATURE)" in outcome.out
    assert "xmlsig.wrong-namespace" in outcome.err


def test_packages_in_a_ring_are_not_valid(desk: Path) -> None:
    for own, answered in (("A", "B"), ("B", "A")):
        text = HEADER.replace("[sender]", f'document_id = "{own}"\n[sender]', 1)
        text += f'[[response_for]]\ndocument_id = "{answered}"\n'
        (desk / "header.toml").write_text(text, encoding="utf-8")
        assert vnedoc("pack", "--header", "header.toml", "van-ban.pdf", "-o", f"{own}.edxml").code == 0
    outcome = vnedoc("validate", "A.edxml", "B.edxml")
    assert outcome.code == 1
    assert outcome.err.count("edxml.cyclic-response") == 2
    assert re.search(r"^A\.edxml:\d+: error: ", outcome.err, re.MULTILINE)
    assert vnedoc("validate", "A.edxml").code == 0


# --- Who sent it ------------------------------------------------------------------------------------


@pytest.fixture
def directory(office: Path) -> tuple[str, ...]:
    """The receiver's directory; the packages of the desk are those of H99."""
    text = HEADER.replace('organ_id = "H99"', 'organ_id = "H98"').replace("H99.02", "H99")
    (office / "header.toml").write_text(text, encoding="utf-8")
    agencies = [
        {"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST"},
        {"organ_id": "H98", "name": "SỞ TEST KHÁC"},
    ]
    content = json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies})
    (office / "directory.json").write_text(content, encoding="utf-8")
    return ("--directory", "directory.json")


def both(*arguments: str, folder: str = "den") -> list[Outcome]:
    return [
        vnedoc("unpack", "goi.edxml", "-d", folder, *TRUST, *arguments),
        vnedoc("validate", "goi.edxml", *TRUST, *arguments),
    ]


def test_the_sender_is_compared_with_who_signed(office: Path, directory: tuple[str, ...]) -> None:
    assert pack(DECISION, *TRUST, *SIGNER).code == 0
    for outcome in both(*directory) + both(*directory, "--sender", "H99"):
        assert outcome.code == 0, outcome
        assert "TOTAL-PASSED" in outcome.out
        assert "Sender: H99 (match: named)" in outcome.out
    told, checked = both(*directory, "--sender", "H99", "--format", "json")
    for facts in (told.json(), checked.json()["files"][0]):
        assert facts["signature"]["sender"]["organ_id"] == "H99"
        assert facts["signature"]["sender"]["match"] == "named"
    jsonschema.Draft202012Validator(load_schema("package")).validate(told.json())


def test_another_sender_than_was_said(office: Path, directory: tuple[str, ...]) -> None:
    assert pack(DECISION, *TRUST, *SIGNER).code == 0
    for outcome in both(*directory, "--sender", "H98"):
        assert outcome.code == 1
        assert (
            "error: The package says it is from H99, not from H98. [verify.package-other-sender]"
            in outcome.err
        )
        assert "TOTAL-FAILED" in outcome.out
    # The files are there; what is not proven is who sent them.
    assert len(list((office / "den").iterdir())) == 1


def test_another_signer_than_the_sender(office: Path, directory: tuple[str, ...]) -> None:
    signer = ("--signer", "pkcs12:other.p12", "--passphrase-env", "PASS")
    assert pack(DECISION, *TRUST, *signer).code == 0
    for outcome in both(*directory):
        assert outcome.code == 1
        assert "verify.sender-mismatch" in outcome.err
    for outcome in both():
        assert outcome.code == 0


def test_a_sender_that_the_directory_does_not_know(office: Path, directory: tuple[str, ...]) -> None:
    text = (office / "header.toml").read_text(encoding="utf-8").replace('"H99"', '"H97"')
    (office / "header.toml").write_text(text, encoding="utf-8")
    assert pack(DECISION, *TRUST).code == 0
    # Nobody claims to have signed, and nobody asked.
    assert [outcome.code for outcome in both(*directory)] == [0, 0]
    assert pack(DECISION, *TRUST, *SIGNER).code == 0
    for outcome in both(*directory):
        assert outcome.code == 1
        assert "directory.unknown-agency" in outcome.err
    assert [outcome.code for outcome in both(*directory, "--sender", "H97")] == [5, 5]


def test_who_asks_for_a_sender_wants_a_proof(office: Path, directory: tuple[str, ...]) -> None:
    assert pack(DECISION, *TRUST).code == 0
    for outcome in both(*directory, "--sender", "H99"):
        assert outcome.code == 3
    for outcome in both(*directory, "--sender", "H98"):
        assert outcome.code == 1
        assert "verify.package-other-sender" in outcome.err
    assert pack(DECISION, *TRUST, *SIGNER).code == 0
    untrusted = ("--trust", "stranger.pem", *directory, "--sender", "H99")
    with running_pki() as stranger:
        (office / "stranger.pem").write_bytes(stranger.root.certificate.public_bytes(Encoding.PEM))
    assert vnedoc("validate", "goi.edxml", *untrusted).code == 3
    assert vnedoc("validate", "goi.edxml", "--trust", "stranger.pem", *directory).code == 0


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--sender", "H99"), 2),
        (("--sender", "H99", "--directory", "none.json"), 4),
        (("--directory", "header.toml"), 5),
    ],
)
def test_a_directory_that_cannot_be_used(desk: Path, more: tuple[str, ...], code: int) -> None:
    packed()
    for command in (("validate", "goi.edxml"), ("unpack", "goi.edxml", "-d", "den")):
        outcome = vnedoc(*command, *more)
        assert outcome.code == code
        assert outcome.err
        assert not (desk / "den").exists()


def test_the_directory_of_the_settings_is_used(office: Path, directory: tuple[str, ...]) -> None:
    assert pack(DECISION, *TRUST, *SIGNER).code == 0
    (office / "vnedoc.toml").write_text('directory = "directory.json"\n', encoding="utf-8")
    outcome = vnedoc("--config", "vnedoc.toml", "validate", "goi.edxml", *TRUST)
    assert "Sender: H99 (match: named)" in outcome.out
