"""Every finding says on which line; the scanner and the parser agree on any package."""

from __future__ import annotations

import io
import re
import time
import unicodedata

import pytest
from lxml import etree

from tests import edxml
from vnedoc import messages
from vnedoc.errors import PackageError
from vnedoc.exchange._edxml.scanner import Scanner
from vnedoc.exchange.models import Limits, PackageFinding
from vnedoc.exchange.package import DIALECTS, read_package, write_package
from vnedoc.exchange.validation import Level, validate_package


def written(dialect: str = "vnpt") -> bytes:
    stream = io.BytesIO()
    write_package(edxml.full_document(), edxml.attachments(), stream, dialect=DIALECTS[dialect])
    return stream.getvalue()


def lines_of(content: bytes, *, piece: int) -> list[int | None]:
    """What the scanner says, element by element, when the bytes come in pieces."""
    scanner = Scanner(max_bytes=1_000_000)
    for start in range(0, len(content), piece):
        scanner.feed(content[start : start + piece])
    names = [etree.QName(element).localname for element in etree.fromstring(content).iter(etree.Element)]
    return [scanner.next_line(name) for name in names]


TRICKY = b"""<?xml version="1.0"?>
<!-- <a> > - ' " <b
--><r x="1 > 2
" y='">'
><!-- x --><a
/><b>]]&gt; <![CDATA[ <c> </b>
]]></b><?pi <d>
?><e:e xmlns:e="u"
>
</e:e
><f/></r>
<!-- behind -->
"""


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 10_000])
def test_tags_are_found_where_they_begin(piece: int) -> None:
    assert lines_of(TRICKY, piece=piece) == [3, 5, 6, 8, 11]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("piece", [5, 100, 4096])
def test_lines_are_those_of_the_parser(dialect: str, piece: int) -> None:
    content = written(dialect)
    expected = [element.sourceline for element in etree.fromstring(content).iter(etree.Element)]
    assert lines_of(content, piece=piece) == expected


def test_the_skeleton_is_the_package_without_its_attachments() -> None:
    content = written()
    scanner = Scanner(max_bytes=1_000_000)
    scanner.feed(content)
    expected = re.sub(rb"(ContentTransferEncoded[^>]*>)[A-Za-z0-9+/=]+", rb"\1", content).rstrip()
    assert scanner.skeleton == expected


@pytest.mark.parametrize(
    "content",
    [b"<r><a></r", b"<r>", b"", b"text", b"<r><a b='></a></r>"],
    ids=["cut", "open", "no", "text", "quote"],
)
def test_what_is_not_whole_has_no_skeleton(content: bytes) -> None:
    scanner = Scanner(max_bytes=1000)
    scanner.feed(content)
    assert scanner.skeleton is None


def test_much_is_not_kept() -> None:
    scanner = Scanner(max_bytes=100)
    scanner.feed(b"<r>" + b"x" * 200 + b"</r>")
    assert scanner.skeleton is None
    assert scanner.next_line("r") == 1
    scanner = Scanner(max_bytes=100)
    scanner.feed(b"<r a='" + b"x" * 200)
    assert scanner.line is None


@pytest.mark.parametrize("start", [b"<!--", b"<?x ", b"<![CDATA[", b"<r a='"])
def test_markup_without_an_end_is_not_searched_again_and_again(start: bytes) -> None:
    scanner = Scanner(max_bytes=64 * 1024 * 1024)
    scanner.feed(b"<r>")
    began = time.process_time()
    scanner.feed(start)
    for _ in range(64):
        scanner.feed(b"x" * 256 * 1024)
    # Searched from its beginning for each piece, these 16 MiB take half a minute.
    assert time.process_time() - began < 5
    assert scanner.next_line("r") in {1, None}


@pytest.mark.parametrize("piece", [1, 2, 3, 4])
def test_the_end_of_markup_may_come_in_pieces(piece: int) -> None:
    content = b"<r><!-- a - b --><a/><![CDATA[ ]] ]]><b/><?p ? ?><c/>\n</r>"
    assert lines_of(content, piece=piece) == [1, 1, 1, 1]


def test_another_element_than_the_parsers_ends_it() -> None:
    scanner = Scanner(max_bytes=100)
    scanner.feed(b"<r><a/></r>")
    assert scanner.next_line("r") == 1
    assert scanner.next_line("b") is None
    assert scanner.skeleton is None


CASES = [
    (b"<edXML:Priority>1<", b"<edXML:Priority>77<", "edxml.unknown-code", "MessageHeader/OtherInfo/Priority"),
    (b"<edXML:Priority>1<", b"<edXML:Priority>x<", "edxml.not-a-number", "MessageHeader/OtherInfo/Priority"),
    (b"<edXML:DueDate>2026/12/01<", b"<edXML:DueDate>x<", "edxml.not-a-date", "MessageHeader/DueDate"),
    (b"<edXML:DueDate>2026/12/01<", b"<edXML:DueDate>1/12/2026<", "edxml.date-form", "MessageHeader/DueDate"),
    (b"<edXML:OrganId>H99.03<", b"<edXML:OrganId>H 9<", "edxml.organ-id-form", "MessageHeader/To[2]/OrganId"),
    (
        b"<edXML:CodeNumber>15<",
        b"<edXML:CodeNumber>123456789012<",
        "edxml.too-long",
        "MessageHeader/Code/CodeNumber",
    ),
    (b"<edXML:DueDate>", b"<edXML:X/><edXML:DueDate>", "edxml.unknown-element", "MessageHeader"),
    (
        b"<AttachmentName>phu-luc.docx<",
        b"<AttachmentName>../x<",
        "edxml.unsafe-name",
        "AttachmentEncoded/Attachment[2]",
    ),
]


@pytest.mark.parametrize(("old", "new", "code", "element"), CASES)
@pytest.mark.parametrize("before", [b"", b"1212\r\n\r\n"], ids=["clean", "junk"])
def test_a_finding_says_where(before: bytes, old: bytes, new: bytes, code: str, element: str) -> None:
    content = before + written().replace(old, new, 1)
    report = validate_package(read_package(content, folder=None), level=Level.STRICT)
    (finding,) = [item for item in report.errors if (item.id, item.element) == (code, element)]
    assert finding.line is not None
    line = content.splitlines()[finding.line - 1]
    assert element.rpartition("/")[2].partition("[")[0].encode() in line


def test_what_is_missing_is_said_at_what_is_around_it() -> None:
    content = written().replace(b"<edXML:CodeNumber>15</edXML:CodeNumber>", b"", 1)
    report = validate_package(read_package(content, folder=None))
    (finding,) = [item for item in report.errors if item.element == "MessageHeader/Code/CodeNumber"]
    assert finding.line is not None
    assert b"<edXML:Code>" in content.splitlines()[finding.line - 1]


def test_a_status_in_a_holder_of_its_own_has_lines() -> None:
    stream = io.BytesIO()
    write_package(edxml.status(), [], stream, dialect=DIALECTS["bkav"])
    content = stream.getvalue().replace(b"<edXML:OrganId>H99.02<", b"<edXML:OrganId><")
    report = validate_package(read_package(content, folder=None))
    (finding,) = [item for item in report.errors if item.id == "edxml.missing"]
    assert finding.element == "MessageHeader/ResponseFor/OrganId"
    assert finding.line is not None
    assert b"<edXML:OrganId>" in content.splitlines()[finding.line - 1]


def test_every_finding_of_a_dirty_package_has_path_line_and_two_sentences() -> None:
    content = edxml.package(
        edxml.attached("a.pdf", b"PK TEST"),
        edxml.attached("../b.pdf", "QQ", content_id="c1"),
        header="<edXML:Odd/><edXML:Subject>x</edXML:Subject><edXML:DueDate>x</edXML:DueDate>",
    )
    report = validate_package(read_package(b"\xef\xbb\xbf12" + content + b"behind", folder=None))
    assert len(report.errors) > 8
    for finding in report.errors:
        assert finding.element
        assert finding.line == 1
        assert {finding.text(language) for language in messages.Language}
        assert finding.text("vi") != finding.text("en")


CONTENT_LINE = b"ContentTransferEncoded"
REFUSALS = [
    (b"<edXML:Subject>", b"<!DOCTYPE x>", "edxml.not-xml", b"<!DOCTYPE"),
    (b"</edXML:Subject>", b"</edXML:Subj>", "edxml.not-xml", b"</edXML:Subj>"),
    (b"<edXML:Subject>", b"<edXML:Subject>&who;", "edxml.not-xml", b"&who;"),
    (b"<edXML:Subject>", b"<edXML:Subject>\xff", "edxml.not-xml", b"\xff"),
    (b"<edXML:Subject>", b"<a>" * 40 + b"</a>" * 40 + b"<edXML:Subject>", "edxml.too-deep", b"<a>"),
    (
        b"<edXML:Subject>",
        b"<edXML:Subject " + b" ".join(b'a%d="1"' % n for n in range(40)) + b">",
        "edxml.too-many-attributes",
        b'a39="1"',
    ),
    (b"JVBERi", b"@@@@@@", "edxml.bad-base64", CONTENT_LINE),
    (b"JVBERi", b"<b/>", "edxml.element-in-content", CONTENT_LINE),
    (
        b"</edXML:edXMLHeader>",
        b"<edXML:MessageHeader><edXML:A/></edXML:MessageHeader></edXML:edXMLHeader>",
        "edxml.two-headers",
        b"<edXML:A/>",
    ),
    (b"edXML:MessageHeader", b"edXML:Nothing", "edxml.no-header", b"<edXML:edXMLHeader>"),
]


@pytest.mark.parametrize(
    ("old", "new", "code", "found", "before", "encoding"),
    [
        pytest.param(*case, before, encoding, id=f"{case[2]}-{encoding}-{len(before)}")
        for case in REFUSALS
        for before, encoding in ((b"", "utf-8"), (b"12\n\n", "utf-8"), (b"", "utf-16"), (b"", "utf-32-be"))
        # A byte that is no text is one in an encoding of its own.
        if encoding == "utf-8" or b"\xff" not in case[1]
    ],
)
def test_a_refusal_says_where(
    old: bytes, new: bytes, code: str, found: bytes, before: bytes, encoding: str
) -> None:
    content = before + written().replace(old, new, -1 if code == "edxml.no-header" else 1)
    if encoding != "utf-8":
        content = content.decode().encode(encoding)
    with pytest.raises(PackageError) as caught:
        read_package(content, folder=None)
    assert caught.value.code == code
    lines = content.splitlines() if encoding == "utf-8" else content.decode(encoding).encode().splitlines()
    assert found in lines[caught.value.values["line"] - 1]  # type: ignore[operator] # an integer
    # What the parser counts from another line is not said twice.
    assert "line" not in str(caught.value.values.get("reason", ""))


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "edxml.empty", None),
        (b"no package\n", "edxml.not-xml", 1),
        (b"\n\n<html/>", "edxml.wrong-root", 3),
        (b"1\n<?xml version='1.0'?>\n<!DOCTYPE edXML>\n<edXML/>", "edxml.doctype", 3),
        (b"<edXML>\n\n<edXMLEnvelope", "edxml.not-xml", 3),
    ],
)
def test_a_refusal_of_what_is_hardly_a_package(content: bytes, code: str, line: int | None) -> None:
    with pytest.raises(PackageError) as caught:
        read_package(content, folder=None)
    assert (caught.value.code, caught.value.values.get("line")) == (code, line)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_attachments": 1}, "edxml.too-many-attachments"),
        ({"max_attachment_bytes": 30}, "edxml.attachment-too-large"),
        ({"max_total_bytes": 30}, "edxml.attachments-too-large"),
    ],
)
def test_a_limit_is_reached_at_an_attachment(limits: dict[str, int], code: str) -> None:
    content = written()
    with pytest.raises(PackageError) as caught:
        read_package(content, folder=None, limits=Limits(**limits))
    assert caught.value.code == code
    line = caught.value.values["line"]
    assert isinstance(line, int)
    assert CONTENT_LINE in content.splitlines()[line - 1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "windows-1252", "viscii"])
def test_findings_have_lines_in_any_encoding(encoding: str) -> None:
    content = plain(written()).replace('encoding="UTF-8"', f'encoding="{encoding}"')
    content = content.replace("<edXML:Priority>1<", "<edXML:Priority>77<")
    raw = content.encode("ascii" if encoding == "viscii" else encoding)
    report = validate_package(read_package(raw, folder=None))
    assert {item.id for item in report.errors} == {"edxml.encoding", "edxml.unknown-code"}
    lines = {item.id: item.line for item in report.errors}
    assert lines["edxml.encoding"] == 1
    assert "<edXML:Priority>77<" in content.splitlines()[(lines["edxml.unknown-code"] or 0) - 1]


def plain(content: bytes) -> str:
    """The same without diacritics, which not every encoding has."""
    text = unicodedata.normalize("NFD", content.decode()).replace("đ", "d").replace("Đ", "D")
    return "".join(char for char in text if not unicodedata.combining(char))


def test_a_header_without_a_file_has_no_lines() -> None:
    assert PackageFinding("edxml.missing", "MessageHeader/To").line is None
