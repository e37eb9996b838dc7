import datetime
import io
import json
from pathlib import Path

import pytest

from tests import edxml
from vnedoc.errors import InputError, PackageError, UsageError
from vnedoc.exchange.codes import BusinessKind, Priority, StatusCode
from vnedoc.exchange.header_files import header_from_dict, header_to_dict, load_header
from vnedoc.exchange.models import (
    Attachment,
    Business,
    DocumentHeader,
    Organization,
    ResponseFor,
    StatusHeader,
)
from vnedoc.exchange.package import DIALECTS, read_package, reply_header, write_package

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
organ_name = "UBND TEST"
[business]
kind = "recall"
reason = "sai TEST"
document_id = "x"
[other_info]
priority = 3
"""


def test_an_answer_names_the_document_exactly_as_its_sender_did() -> None:
    header = "<edXML:PromulgationDate>20/11/2026</edXML:PromulgationDate>"
    content = edxml.package(
        edxml.attached("a.pdf", edxml.PDF),
        header=f"<edXML:PromulgationInfo>{header}</edXML:PromulgationInfo>",
    )
    package = read_package(content, folder=None)
    answer = reply_header(package, sender=edxml.RECIPIENT, status_code=StatusCode.ARRIVED, at=edxml.AT)
    assert answer.response_for == ResponseFor("H99.02", "15/STEST-VP", edxml.DOCUMENT_ID, "20/11/2026")
    assert answer.sender == edxml.RECIPIENT
    stream = io.BytesIO()
    write_package(answer, [], stream)
    assert b"<edXML:PromulgationDate>20/11/2026<" in stream.getvalue()


def test_a_take_back_names_the_receiver_and_its_answer_the_sender() -> None:
    request = reply_header(
        edxml.document(),
        sender=edxml.SENDER,
        status_code=StatusCode.TAKE_BACK,
        at=edxml.AT,
        description="sai TEST",
        receiver="000.00.00.H99",
    )
    assert request.response_for.organ_id == "000.00.00.H99"
    answer = reply_header(request, sender=edxml.RECIPIENT, status_code=StatusCode.CHANGE_AGREED, at=edxml.AT)
    assert answer.response_for.organ_id == "H99.02"
    assert answer.response_for.document_id == edxml.DOCUMENT_ID


@pytest.mark.parametrize(
    ("original", "given", "code"),
    [
        (edxml.document(), {"status_code": StatusCode.REFUSED}, "package.reason-required"),
        (
            edxml.document(),
            {"status_code": StatusCode.REFUSED, "description": " "},
            "package.reason-required",
        ),
        (
            edxml.document(),
            {"status_code": StatusCode.TAKE_BACK, "description": "r"},
            "package.receiver-of-take-back",
        ),
        (
            edxml.document(),
            {"status_code": StatusCode.ACCEPTED, "receiver": "H1"},
            "package.receiver-of-take-back",
        ),
        (edxml.status(), {"status_code": StatusCode.ACCEPTED}, "package.status-of-status"),
    ],
)
def test_answers_that_make_no_sense(
    original: DocumentHeader | StatusHeader, given: dict[str, object], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        reply_header(original, sender=edxml.RECIPIENT, at=edxml.AT, **given)
    assert caught.value.code == code


@pytest.mark.parametrize("name", DIALECTS)
def test_a_package_goes_through_files(name: str, tmp_path: Path) -> None:
    source = tmp_path / "van-ban.pdf"
    source.write_bytes(edxml.PDF)
    target = tmp_path / "goi.edxml"
    written = write_package(edxml.document(), [Attachment.from_file(source)], target, dialect=DIALECTS[name])
    package = read_package(target, folder=tmp_path / "den")
    assert (package.size, package.sha256) == (written.size, written.sha256)
    again = io.BytesIO()
    files = [item.as_attachment() for item in package.attachments]
    assert isinstance(package.header, DocumentHeader)
    write_package(package.header, files, again, dialect=DIALECTS[name])
    assert again.getvalue() == target.read_bytes()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_package(tmp_path / "khong-co.edxml", folder=None)
    assert caught.value.code == "file.cannot-read"
    with pytest.raises(InputError) as caught:
        read_package(tmp_path, folder=None)
    assert caught.value.code == "file.cannot-read"


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.edxml"
    path.write_bytes(b"x")
    with pytest.raises(PackageError) as caught:
        read_package(path, folder=None)
    assert caught.value.values["path"] == path


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_header_is_read_from_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"header{suffix}"
    path.write_text(HEADER, encoding="utf-8")
    if suffix == ".json":
        toml = tmp_path / "a.toml"
        toml.write_text(HEADER, encoding="utf-8")
        path.write_text(json.dumps(header_to_dict(load_header(toml))), encoding="utf-8")
    header = load_header(path)
    assert isinstance(header, DocumentHeader)
    assert header.document_id == "H99.02,2026/11/20,15/STEST-VP"
    assert header.promulgation_date == datetime.date(2026, 11, 20)
    assert header.business == Business(BusinessKind.RECALL, "sai TEST", "x")
    assert header.other_info.priority is Priority.EXPRESS
    assert header.recipients == (Organization("H99", "UBND TEST"),)


@pytest.mark.parametrize(
    "header",
    [
        *edxml.documents(),
        edxml.document(promulgation_date=None, promulgation_date_text="chưa rõ"),
        edxml.status(),
        edxml.status(status_code="999", timestamp=edxml.AT),
    ],
)
def test_a_header_goes_through_a_table_and_back(header: DocumentHeader | StatusHeader) -> None:
    table = json.loads(json.dumps(header_to_dict(header)))
    if isinstance(header, DocumentHeader) and header.promulgation_date is None:
        with pytest.raises(PackageError) as caught:
            header_from_dict(table)
        assert caught.value.code == "package.header-missing-key"
        return
    assert header_from_dict(table) == header


BROKEN = [
    ('code_numbr = "1"\n' + HEADER, "package.header-unknown-key"),
    (HEADER.replace('organ_name = "SỞ TEST"', ""), "package.header-missing-key"),
    (HEADER.replace('subject = "Về việc TEST"', ""), "package.header-missing-key"),
    (HEADER.replace('"15"', "15"), "package.header-not-text"),
    (HEADER.replace("priority = 3", "priority = true"), "package.header-not-number"),
    (HEADER.replace("priority = 3", "priority = -3"), "package.header-not-number"),
    (HEADER.replace("priority = 3", "direction = 1"), "package.header-not-flag"),
    (HEADER.replace("2026-11-20", '"20/11/2026"'), "package.header-not-date"),
    (HEADER.replace("2026-11-20", "2026-11-20T00:00:00"), "package.header-not-date"),
    (HEADER.replace('"recall"', '"hủy"'), "package.header-not-business"),
    (HEADER.replace('"recall"', "[]"), "package.header-not-number"),
    (HEADER.replace("[[recipients]]", "[recipients]"), "package.header-not-list"),
    (
        HEADER.replace("[other_info]\npriority = 3", "[[other_info]]\npriority = 3"),
        "package.header-not-table",
    ),
    (HEADER + '[[trace]]\norgan_id = "H99"\ntimestamp = "hôm qua"\n', "package.header-not-time"),
    ("khong phai toml", "package.header-unreadable"),
]


@pytest.mark.parametrize(("text", "code"), BROKEN, ids=range(len(BROKEN)))
def test_a_wrong_header_file_is_refused(text: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "header.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PackageError) as caught:
        load_header(path)
    assert caught.value.code == code
    assert caught.value.text("vi") != caught.value.text("en")


@pytest.mark.parametrize(
    ("name", "content", "error", "code"),
    [
        ("header.yaml", b"", UsageError, "package.header-format"),
        ("header.json", b"[]", PackageError, "package.header-not-table"),
        ("header.json", b"[" * 100_000, PackageError, "package.header-unreadable"),
        ("header.json", b"\xff\xfe\xff", PackageError, "package.header-unreadable"),
    ],
)
def test_files_that_are_no_headers(
    name: str, content: bytes, error: type[Exception], code: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error) as caught:
        load_header(tmp_path / name)
    assert caught.value.code == code
