"""Every finding says on which line; the scanner and the parser agree on any package."""

from __future__ import annotations

import io
import re

import pytest
from lxml import etree

from tests import edxml
from vnedoc import messages
from vnedoc.exchange._edxml.scanner import Scanner
from vnedoc.exchange.models import PackageFinding
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


def test_a_header_without_a_file_has_no_lines() -> None:
    assert PackageFinding("edxml.missing", "MessageHeader/To").line is None
