"""Packages in other encodings than UTF-8, and those that only say so: read as they are, with the oddity said."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from tests import edxml
from vnedoc.errors import PackageError
from vnedoc.exchange._edxml.decoding import open_text
from vnedoc.exchange._edxml.tree import Warnings
from vnedoc.exchange.package import read_package, write_package

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.exchange.models import Package


def written(**changes: object) -> str:
    stream = io.BytesIO()
    write_package(edxml.document(**changes), edxml.attachments(), stream)
    return stream.getvalue().decode()


def labelled(label: str, **changes: object) -> str:
    return written(**changes).replace('encoding="UTF-8"', f'encoding="{label}"')


def warned(package: Package) -> list[tuple[str, int | None]]:
    return [(finding.id, finding.line) for finding in package.warnings]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["unmarked", "marked"])
@pytest.mark.parametrize("label", ["utf-16", "UTF-8", "windows-1252"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_told_by_their_bytes(codec: str, label: str, mark: str) -> None:
    content = (mark + labelled(label)).encode(codec)
    package = read_package(content, folder=None)
    assert package.header == edxml.document()
    assert warned(package) == [("edxml.encoding", 1)]
    assert [item.size for item in package.attachments] == [
        len(item.content) for item in edxml.attachments() if isinstance(item.content, bytes)
    ]


@pytest.mark.parametrize(
    ("label", "codec", "subject"),
    [
        ("windows-1252", "cp1252", "TEST à"),
        ("ISO-8859-1", "latin-1", "TEST à"),
        ("windows-1258", "cp1258", "TEST đ"),
        ("GB2312", "gb2312", "TEST 文件"),
        ("GB18030", "gb18030", "TEST 文件ệ"),
        ("Shift_JIS", "shift_jis", "TEST 文書ソ"),
        ("utf-7", "utf-7", "TEST ệ"),
    ],
)
def test_a_declaration_that_reads_the_same_is_believed(label: str, codec: str, subject: str) -> None:
    ascii_only = {
        "sender": edxml.Organization("H99.02", "SO TEST"),
        "recipients": (edxml.Organization("H99", "UBND TEST"),),
    }
    content = labelled(label, subject=subject, **ascii_only)
    # Names of files are not what this is about.
    content = content.replace("Văn bản chính", "TEST").replace("Ảnh chụp", "TEST")
    package = read_package(content.encode(codec), folder=None)
    assert package.header == edxml.document(subject=subject, **ascii_only)
    assert warned(package) == [("edxml.encoding", 1)]


@pytest.mark.parametrize(
    "label", ["utf-16", "UTF-16LE", "UCS-2", "unicode", "utf-32", "cp037", "UTF_8", "cp65001"]
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["unmarked", "marked"])
def test_a_declaration_that_cannot_be_is_not_believed(label: str, mark: str) -> None:
    package = read_package((mark + labelled(label)).encode(), folder=None)
    assert package.header == edxml.document()
    expected = [("edxml.byte-order-mark", 1)] if mark else []
    assert warned(package) == [*expected, ("edxml.encoding-label", 1)]
    assert label in package.warnings[-1].text("vi")
    assert label in package.warnings[-1].text("en")


def test_a_mark_says_more_than_a_declaration() -> None:
    package = read_package(("\ufeff" + labelled("windows-1252")).encode(), folder=None)
    assert package.header == edxml.document()


@pytest.mark.parametrize(
    "label", ["x-unknown", "rot13", "hex", "idna", "punycode", "unicode_escape", "undefined"]
)
def test_what_is_no_encoding_is_refused(label: str) -> None:
    if label == "unicode_escape":
        label = "raw_unicode_escape"
    with pytest.raises(PackageError) as caught:
        read_package(labelled(label).encode(), folder=None)
    assert (caught.value.code, caught.value.values["line"]) == ("edxml.not-xml", 1)


def test_the_line_of_the_declaration() -> None:
    content = written().replace(' encoding="UTF-8"', '\n\n encoding="utf-16"')
    package = read_package(b"1212\n" + content.encode(), folder=None)
    assert warned(package) == [("edxml.leading-junk", 1), ("edxml.encoding-label", 4)]


@pytest.mark.parametrize(
    ("codec", "fault"),
    [("utf-16-le", b"\x00\xd8\x41\x00"), ("utf-32-be", b"\0\x11\0\0"), ("cp1252", b"\x81")],
)
def test_bytes_that_are_no_text(codec: str, fault: bytes) -> None:
    label = {"cp1252": "windows-1252"}.get(codec, codec)
    ascii_only = edxml.Organization("H99.02", "SO TEST")
    text = labelled(label, sender=ascii_only, recipients=(ascii_only,), subject="TEST")
    text = text.replace("Văn bản chính", "TEST").replace("Ảnh chụp", "TEST")
    raise_at = text.index("<edXML:Subject>")
    content = text[:raise_at].encode(codec) + fault + text[raise_at:].encode(codec)
    with pytest.raises(PackageError) as caught:
        read_package(content, folder=None)
    assert caught.value.code == "edxml.not-xml"
    assert caught.value.values["line"] == text[:raise_at].count("\n") + 1


@pytest.mark.parametrize("size", [0, 300_000])
@pytest.mark.parametrize(("codec", "fault"), [("utf-16-le", b"\x00\xd8\x41\x00"), ("utf-16-be", b"\0")])
def test_bytes_behind_a_whole_package_do_not_matter(codec: str, fault: bytes, size: int) -> None:
    content = labelled(codec).encode(codec) + " ".encode(codec) * size + fault
    package = read_package(content, folder=None)
    assert package.header == edxml.document()
    assert [finding for finding, _ in warned(package)] == ["edxml.encoding", "edxml.trailing-bytes"]
    assert package.size == len(content)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 262_143, 262_144, 262_145])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-32-le", "gb18030"])
def test_a_character_may_lie_on_the_edge_of_two_pieces(codec: str, size: int, tmp_path: Path) -> None:
    # A dialect's declaration is of fixed length, so the padding moves everything behind it.
    text = labelled(codec, subject="TEST ệ文" * 60).replace(
        "<edXML:Subject>", "<!--" + "x" * size + "--><edXML:Subject>"
    )
    path = tmp_path / "a.edxml"
    path.write_bytes(text.encode(codec))
    assert read_package(path, folder=None).header == edxml.document(subject="TEST ệ文" * 60)


def test_a_document_type_is_refused_in_every_encoding() -> None:
    text = labelled("utf-16").replace("<edXML xmlns", '<!DOCTYPE edXML [<!ENTITY a "x">]>\n<edXML xmlns', 1)
    for codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        with pytest.raises(PackageError) as caught:
            read_package(text.encode(codec), folder=None)
        assert (caught.value.code, caught.value.values["line"]) == ("edxml.doctype", 2)


def test_nothing_is_said_about_plain_utf_8() -> None:
    for label in ("UTF-8", "utf-8", "UTF8", "us-ascii"):
        warnings = Warnings()
        content = f'<?xml version="1.0" encoding="{label}"?><a/>'.encode()
        opening = open_text(content, warnings, max_leading_bytes=100)
        assert (opening.content, opening.transcoder, list(warnings)) == (content, None, [])
