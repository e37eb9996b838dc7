import base64
import contextlib
import dataclasses
import datetime
import io
import os
import random
import struct
import zipfile
from pathlib import Path

import pytest

from tests import edxml
from tests.full_disks import room_for
from vnedoc.errors import InputError, PackageError, VnedocError
from vnedoc.exchange._edxml.payload import Budget, ContentSink
from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.models import DocumentHeader, Limits, Package, StatusHeader
from vnedoc.exchange.package import VNPT, read_package, write_package

PLAIN = edxml.package(edxml.attached("a.pdf", edxml.PDF))


def warned(package: Package) -> set[str]:
    return {finding.id for finding in package.warnings}


def document(package: Package) -> DocumentHeader:
    assert isinstance(package.header, DocumentHeader)
    return package.header


def test_a_clean_package_of_another_system_has_no_warnings(tmp_path: Path) -> None:
    package = read_package(PLAIN, folder=tmp_path / "moi" / "nua")
    assert package.warnings == ()
    assert package.kind is PackageKind.DOCUMENT
    (item,) = package.attachments
    assert item.path == tmp_path / "moi" / "nua" / "a.pdf"
    assert item.path.read_bytes() == edxml.PDF
    assert (item.content_id, item.size, item.detected_type) == ("c1", len(edxml.PDF), "application/pdf")
    assert os.listdir(item.path.parent) == ["a.pdf"]  # noqa: PTH208 - hidden files, too
    assert item.as_attachment().content == item.path


TOLERATED = [
    ("junk", b"1212" + PLAIN, "edxml.leading-junk"),
    ("bom", b"\xef\xbb\xbf" + PLAIN, "edxml.byte-order-mark"),
    ("utf-16", PLAIN.decode().replace("utf-8", "utf-16").encode("utf-16"), "edxml.encoding"),
    (
        "latin",
        edxml.package(edxml.attached("a.pdf", edxml.PDF))
        .decode()
        .replace("utf-8", "windows-1252")
        .replace("Ở", "O")
        .encode("cp1252"),
        "edxml.encoding",
    ),
    ("trailing", PLAIN + b"\r\n<more/>", "edxml.trailing-bytes"),
    ("namespace", PLAIN.replace(b"QCVN_102_2016", b"ELSE"), "edxml.namespace"),
    ("business", PLAIN.replace(b"Bussiness", b"Business"), "edxml.spelling"),
    (
        "root",
        PLAIN.replace(b"<edXML xmlns=", b"<EdXMLEnvelope xmlns=").replace(b"</edXML>", b"</EdXMLEnvelope>"),
        "edxml.no-outer-element",
    ),
    ("no business", edxml.package(edxml.attached("a.pdf", edxml.PDF), business=""), "edxml.missing-element"),
    ("no sender", PLAIN.replace(b"edXML:From>", b"edXML:Fromm>"), "edxml.missing-element"),
    (
        "two senders",
        edxml.package(
            edxml.attached("a.pdf", edxml.PDF),
            header="<edXML:From><edXML:OrganId>H1</edXML:OrganId></edXML:From>",
        ),
        "edxml.duplicate-element",
    ),
    (
        "unknown",
        edxml.package(edxml.attached("a.pdf", edxml.PDF), header="<edXML:Mới>x</edXML:Mới>"),
        "edxml.unknown-element",
    ),
    ("unbound prefix", PLAIN.replace(b"<edXML:Reference>", b'<edXML:Reference xlink:href="x">'), None),
    (
        "day first",
        edxml.package(
            edxml.attached("a.pdf", edxml.PDF),
            header="<edXML:PromulgationInfo><edXML:PromulgationDate>20/11/2026</edXML:PromulgationDate></edXML:PromulgationInfo>",
        ),
        "edxml.date-form",
    ),
    (
        "no date",
        edxml.package(edxml.attached("a.pdf", edxml.PDF), header="<edXML:DueDate>2026/02/30</edXML:DueDate>"),
        "edxml.not-a-date",
    ),
    (
        "priority",
        edxml.package(
            edxml.attached("a.pdf", edxml.PDF),
            header="<edXML:OtherInfo><edXML:Priority>9</edXML:Priority></edXML:OtherInfo>",
        ),
        "edxml.unknown-code",
    ),
    (
        "page amount",
        edxml.package(
            edxml.attached("a.pdf", edxml.PDF),
            header="<edXML:OtherInfo><edXML:PageAmount>bốn</edXML:PageAmount></edXML:OtherInfo>",
        ),
        "edxml.not-a-number",
    ),
    (
        "empty elements",
        edxml.package(
            edxml.attached("a.pdf", edxml.PDF),
            header="<edXML:Content /><edXML:SignerInfo><edXML:FullName/></edXML:SignerInfo>",
        ),
        None,
    ),
    (
        "unlisted",
        edxml.package(edxml.attached("a.pdf", edxml.PDF), references=""),
        "edxml.unlisted-attachment",
    ),
    (
        "not attached",
        edxml.package(
            references="<edXML:Reference><edXML:AttachmentName>b.pdf</edXML:AttachmentName></edXML:Reference>"
        ),
        "edxml.missing-attachment",
    ),
    (
        "no content",
        edxml.package(
            edxml.attached("a.pdf", "").replace("<ContentTransferEncoded></ContentTransferEncoded>", "")
        ),
        "edxml.missing-element",
    ),
    ("empty content", edxml.package(edxml.attached("a.pdf", "")), "edxml.empty-attachment"),
    ("no name", edxml.package(edxml.attached("", edxml.PDF)), "edxml.missing-element"),
    ("unpadded", edxml.package(edxml.attached("a.txt", "QQ")), "edxml.base64-padding"),
    (
        "same ids",
        edxml.package(edxml.attached("a.pdf", edxml.PDF), edxml.attached("b.pdf", edxml.PDF)),
        "edxml.duplicate-content-id",
    ),
    (
        "signed",
        PLAIN.replace(
            b"</edXML:edXMLHeader>",
            b"<Signature><SignatureValue>x</SignatureValue></Signature></edXML:edXMLHeader>",
        ),
        "edxml.signature-decorative",
    ),
    (
        "empty signature",
        PLAIN.replace(b"</edXML:edXMLHeader>", b"<edXML:DigitalSignature /></edXML:edXMLHeader>"),
        None,
    ),
]


@pytest.mark.parametrize(
    ("content", "warning"),
    [case[1:] for case in TOLERATED],
    ids=[case[0] for case in TOLERATED],
)
def test_dirty_packages_are_read_and_what_was_odd_is_said(content: bytes, warning: str | None) -> None:
    package = read_package(content, folder=None)
    assert warned(package) >= ({warning} if warning else set())
    if warning is None:
        assert package.warnings == ()
    assert document(package).subject == "TEST"
    assert document(package).document_id == edxml.DOCUMENT_ID
    assert package.size == len(content)
    for finding in package.warnings:
        assert finding.text("vi")
        assert finding.text("en")


def test_the_envelope_may_be_the_root() -> None:
    start, end = PLAIN.index(b"<edXML:edXMLEnvelope"), PLAIN.index(b"<AttachmentEncoded>")
    package = read_package(PLAIN[start:end], folder=None)
    assert warned(package) == {"edxml.no-outer-element", "edxml.missing-attachment"}
    assert document(package).subject == "TEST"


def test_layers_may_be_missing() -> None:
    content = PLAIN.replace(b"<edXML:edXMLHeader>", b"").replace(b"</edXML:edXMLHeader>", b"")
    package = read_package(content, folder=None)
    assert warned(package) == {"edxml.missing-container"}
    assert document(package).sender.organ_id == "H99.02"


def test_order_of_elements_does_not_matter() -> None:
    business = "<edXML:TraceHeader><edXML:Timestamp>2026/11/21 08:30:05</edXML:Timestamp></edXML:TraceHeader>"
    business += (
        "<edXML:Bussiness><edXML:Paper>1</edXML:Paper><edXML:BussinessDocType>1</edXML:BussinessDocType>"
    )
    business += "</edXML:Bussiness>"
    package = read_package(edxml.package(edxml.attached("a.pdf", edxml.PDF), business=business), folder=None)
    assert document(package).business.kind is BusinessKind.RECALL
    assert document(package).business.paper is True
    assert document(package).trace[0].organ_id is None
    assert document(package).trace[0].timestamp == edxml.AT


def test_the_first_of_two_with_something_in_it_counts() -> None:
    content = PLAIN.replace(b"<edXML:From>", b"<edXML:From></edXML:From><edXML:From>", 1)
    assert document(read_package(content, folder=None)).sender.organ_id == "H99.02"


def test_a_date_keeps_its_text() -> None:
    header = "<edXML:PromulgationDate>20/11/2026</edXML:PromulgationDate>"
    header = f"<edXML:PromulgationInfo>{header}</edXML:PromulgationInfo>"
    package = read_package(edxml.package(edxml.attached("a.pdf", edxml.PDF), header=header), folder=None)
    assert document(package).promulgation_date == datetime.date(2026, 11, 20)
    assert document(package).date_text == "20/11/2026"


@pytest.mark.parametrize("holder", ["MessageHeader", "Status"])
@pytest.mark.parametrize(
    ("text", "code"), [("03", StatusCode.ACCEPTED), ("3", StatusCode.ACCEPTED), ("999", "999")]
)
def test_a_status_in_either_holder(holder: str, text: str, code: str) -> None:
    fields = (
        f"<edXML:StatusCode>{text}</edXML:StatusCode><edXML:Timestamp>21/11/2026 08:30:05</edXML:Timestamp>"
        "<edXML:ResponseFor><edXML:Code>15/STEST</edXML:Code></edXML:ResponseFor>"
    )
    content = edxml.package(header=fields, holder=holder)
    header = read_package(content, folder=None).header
    assert isinstance(header, StatusHeader)
    assert header.status_code == code
    assert header.timestamp == edxml.AT
    assert header.response_for.code == "15/STEST"


def test_a_status_without_its_document_says_so() -> None:
    content = edxml.package(header="<edXML:StatusCode>01</edXML:StatusCode>")
    assert "edxml.missing-element" in warned(read_package(content, folder=None))


def test_errors_of_an_axis_are_kept() -> None:
    row = b"<edXML:ErrorList><edXML:Error><edXML:Code>M.Exist</edXML:Code></edXML:Error></edXML:ErrorList>"
    package = read_package(PLAIN.replace(b"</edXML:edXMLHeader>", row + b"</edXML:edXMLHeader>"), folder=None)
    assert [error.code for error in document(package).errors] == ["M.Exist"]


def test_base64_may_be_broken_into_lines() -> None:
    content = bytes(range(256)) * 50
    lines = "\r\n\t".join(base64.b64encode(content).decode()[n : n + 61] for n in range(0, 20_000, 61))
    (item,) = read_package(edxml.package(edxml.attached("a.bin", lines)), folder=None).attachments
    assert item.size == len(content)


WRAPPED = [
    ("a.xlsx", edxml.zipped("x.xlsx", edxml.many_entries()), "application/zip", edxml.many_entries(), set()),
    ("a.xlsx", edxml.many_entries(), "application/vnd.ms-excel", edxml.many_entries(), set()),
    ("a.pdf", edxml.zipped("x.pdf", edxml.PDF), "application/pdf", edxml.PDF, {"edxml.content-type"}),
    ("a.txt", edxml.zipped("x.txt", b"T"), "text/plain", b"T", {"edxml.content-type"}),
    ("a.zip", edxml.zipped("x.txt", b"T"), "application/zip", edxml.zipped("x.txt", b"T"), set()),
    ("a.pdf", edxml.PDF, "application/zip", edxml.PDF, {"edxml.content-type"}),
    ("a.pdf", b"TEST", "application/pdf", b"TEST", {"edxml.not-a-pdf"}),
    ("a.pdf", b"%PDF-1.4\n" + b"\xef\xbf\xbd" * 9, "application/pdf", None, {"edxml.damaged-bytes"}),
    ("a.doc", edxml.zipped("x.edxml", b"<a/>"), "application/zip", b"<a/>", set()),
    ("a.png", edxml.many_entries(), "application/zip", edxml.many_entries(), {"edxml.zip-many-entries"}),
    ("a.png", b"PK\x03\x04" + b"x" * 99, "application/zip", None, {"edxml.zip-many-entries"}),
]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("name", "content", "declared", "expected", "warnings"), WRAPPED)
def test_what_is_inside_is_told_by_the_bytes(
    name: str,
    content: bytes,
    declared: str,
    expected: bytes | None,
    warnings: set[str],
    keep: bool,
    tmp_path: Path,
) -> None:
    package = read_package(
        edxml.package(edxml.attached(name, content, content_type=declared)), folder=tmp_path if keep else None
    )
    assert warned(package) == warnings
    (item,) = package.attachments
    expected = content if expected is None else expected
    assert item.size == len(expected)
    if keep:
        assert item.path is not None
        assert item.path.read_bytes() == expected


def damaged(change: str) -> bytes:
    archive = bytearray(edxml.zipped("x.png", b"\x89PNG\r\n\x1a\n" + b"T" * 500))
    entry, directory = 0, archive.rindex(b"PK\x01\x02")
    if change == "encrypted":
        archive[entry + 6] |= 1
        archive[directory + 8] |= 1
    elif change == "method":
        struct.pack_into("<H", archive, entry + 8, 14)
        struct.pack_into("<H", archive, directory + 10, 14)
    elif change == "crc":
        archive[directory + 16] ^= 0xFF
    elif change == "no name":
        # zipfile stumbles over an entry without a name.
        struct.pack_into("<H", archive, directory + 28, 0)
        struct.pack_into("<H", archive, directory + 30, len("x.png"))
    return bytes(archive)


@pytest.mark.parametrize("change", ["encrypted", "method", "crc", "no name"])
def test_an_archive_that_cannot_be_opened_is_kept_as_it_is(change: str, tmp_path: Path) -> None:
    content = damaged(change)
    package = read_package(
        edxml.package(edxml.attached("a.png", content, content_type="application/zip")), folder=tmp_path
    )
    assert warned(package) == {"edxml.zip-unreadable"}
    assert (tmp_path / "a.png").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


NAMES = [
    ("../../etc/passwd", "passwd"),
    ("/etc/shadow", "shadow"),
    ("C:\\Windows\\x.pdf", "x.pdf"),
    ("..", "attachment-1"),
    (".htaccess", "htaccess"),
    ("CON", "_CON"),
    ("nul.pdf", "_nul.pdf"),
    ("COM¹.txt", "_COM¹.txt"),
    ("-rf", "_-rf"),
    ("hóa đơn\u202efdp.exe", "hóa đơnfdp.exe"),
    ("a&#10;b.pdf", "ab.pdf"),
    ('a:b|c?"d*.pdf', "a_b_c__d_.pdf"),
    ("tên. . ", "tên"),
    ("x" * 500 + ".pdf", "x" * 116 + ".pdf"),
    ("ệ" * 200 + ".pdf", "ệ" * 65 + ".pdf"),
]


@pytest.mark.parametrize(("name", "safe"), NAMES)
def test_names_stay_in_the_folder(name: str, safe: str, tmp_path: Path) -> None:
    folder = tmp_path / "den"
    package = read_package(edxml.package(edxml.attached(name.replace('"', "&quot;"), b"x")), folder=folder)
    (item,) = package.attachments
    assert item.file_name == safe
    assert [path.name for path in folder.iterdir()] == [safe]
    assert [path.name for path in tmp_path.iterdir()] == ["den"]
    assert "edxml.unsafe-name" in warned(package)


def test_equal_names_become_different_ones(tmp_path: Path) -> None:
    names = ["Văn bản.pdf", "VĂN BẢN.PDF", "va\u0306n ba\u0309n.pdf", "văn bản-2.pdf"]
    files = [edxml.attached(name, str(n).encode(), content_id=f"c{n}") for n, name in enumerate(names)]
    package = read_package(edxml.package(*files), folder=tmp_path)
    found = [item.file_name for item in package.attachments]
    assert len({name.casefold() for name in found}) == 4
    assert [item.path.read_bytes() for item in package.attachments if item.path] == [b"0", b"1", b"2", b"3"]


def test_what_is_in_the_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"cu")
    (tmp_path / "a-2.pdf").symlink_to(tmp_path / "ngoai")
    package = read_package(PLAIN, folder=tmp_path)
    assert package.attachments[0].path == tmp_path / "a-3.pdf"
    assert (tmp_path / "a.pdf").read_bytes() == b"cu"
    assert not (tmp_path / "ngoai").exists()


DOCTYPES = [
    b"<!DOCTYPE edXML>",
    b'<!DOCTYPE edXML [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>',
    b'<!DOCTYPE edXML SYSTEM "file:///etc/passwd">',
    b'<!DOCTYPE edXML PUBLIC "-//TEST//EN" "http://127.0.0.1:9/x.dtd">',
    b'<!DOCTYPE edXML [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p">%p;]>',
    b'<!DOCTYPE edXML [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
]


@pytest.mark.parametrize("declaration", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_declaration_is_refused(declaration: bytes, encoding: str) -> None:
    content = PLAIN.replace(b"?><edXML ", b"?>" + declaration + b"<edXML ", 1)
    content = content.replace(
        b"<edXML:Subject>TEST", b"<edXML:Subject>TEST&x;" if b" x " in declaration else b"<edXML:Subject>TEST"
    )
    content = content.decode().replace('encoding="utf-8"', f'encoding="{encoding}"').encode(encoding)
    with pytest.raises(PackageError) as caught:
        read_package(content, folder=None)
    assert caught.value.code == "edxml.doctype"


def bomb() -> bytes:
    return edxml.zipped("x.png", b"\0" * 40_000_000)


SECOND = b"<edXML:MessageHeader><edXML:Subject>EVIL TEST</edXML:Subject></edXML:MessageHeader>"
STATUS = b"<edXML:Status><edXML:StatusCode>06</edXML:StatusCode></edXML:Status>"
HOSTILE = [
    ("empty", b"", {}, "edxml.empty"),
    ("text", b"khong phai xml", {}, "edxml.not-xml"),
    ("cut", PLAIN[:-20], {}, "edxml.not-xml"),
    ("entity", PLAIN.replace(b"TEST</edXML:Subject>", b"&who;</edXML:Subject>"), {}, "edxml.not-xml"),
    ("bytes", PLAIN.replace(b"TEST</edXML:Subject>", b"\xff\xfe</edXML:Subject>"), {}, "edxml.not-xml"),
    ("pdf", b"%PDF-1.7\n<</Type/Catalog>>", {}, "edxml.not-xml"),
    ("html", b"<html><body>502</body></html>", {}, "edxml.wrong-root"),
    ("no header", b"<edXML/>", {}, "edxml.no-header"),
    ("junk only", b"x" * 10_000 + PLAIN, {}, "edxml.not-xml"),
    (
        "two headers",
        PLAIN.replace(b"</edXML:MessageHeader>", b"</edXML:MessageHeader>" + SECOND, 1),
        {},
        "edxml.two-headers",
    ),
    (
        "header and status",
        PLAIN.replace(b"</edXML:MessageHeader>", b"</edXML:MessageHeader>" + STATUS, 1),
        {},
        "edxml.two-headers",
    ),
    (
        "two envelopes",
        PLAIN.replace(
            b"<edXML:edXMLHeader>",
            b"<edXML:edXMLHeader>" + SECOND + b"</edXML:edXMLHeader><edXML:edXMLHeader>",
            1,
        ),
        {},
        "edxml.two-headers",
    ),
    ("deep", edxml.package(header="<a>" * 5000 + "</a>" * 5000), {}, "edxml.too-deep"),
    ("wide", edxml.package(header="<a/>" * 300), {"max_elements": 200}, "edxml.too-many-elements"),
    (
        "attributes",
        edxml.package(header="<a " + " ".join(f"a{n}='1'" for n in range(99)) + "/>"),
        {},
        "edxml.too-many-attributes",
    ),
    (
        "text flood",
        edxml.package(header=f"<edXML:Content>{'x' * 5000}</edXML:Content>"),
        {"max_text_chars": 4000},
        "edxml.too-much-text",
    ),
    ("large", PLAIN, {"max_package_bytes": 1000}, "edxml.package-too-large"),
    (
        "many",
        edxml.package(*[edxml.attached("a.pdf", b"x")] * 4),
        {"max_attachments": 3},
        "edxml.too-many-attachments",
    ),
    (
        "one large",
        edxml.package(edxml.attached("a.bin", b"x" * 2000)),
        {"max_attachment_bytes": 1000},
        "edxml.attachment-too-large",
    ),
    (
        "all large",
        edxml.package(*[edxml.attached("a.bin", b"x" * 600)] * 2),
        {"max_total_bytes": 1000},
        "edxml.attachments-too-large",
    ),
    ("bomb", edxml.package(edxml.attached("a.png", bomb())), {}, "edxml.zip-bomb"),
    (
        "large inside",
        edxml.package(edxml.attached("a.png", bomb())),
        {"max_attachment_bytes": 500_000},
        "edxml.attachment-too-large",
    ),
    ("letters", edxml.package(edxml.attached("a.pdf", "@@@@")), {}, "edxml.bad-base64"),
    ("url letters", edxml.package(edxml.attached("a.pdf", "QQ-_")), {}, "edxml.bad-base64"),
    ("diacritics", edxml.package(edxml.attached("a.pdf", "Tệp")), {}, "edxml.bad-base64"),
    ("one letter", edxml.package(edxml.attached("a.pdf", "QUJDQ")), {}, "edxml.bad-base64"),
    ("after the end", edxml.package(edxml.attached("a.pdf", "QQ==QQ==")), {}, "edxml.bad-base64"),
    ("element inside", edxml.package(edxml.attached("a.pdf", "QQ<b/>==")), {}, "edxml.element-in-content"),
    (
        "two contents",
        edxml.package(edxml.attached("a.pdf", "QQ==</ContentTransferEncoded><ContentTransferEncoded>QQ==")),
        {},
        "edxml.two-contents",
    ),
]


@pytest.mark.parametrize(
    ("content", "limits", "code"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
@pytest.mark.parametrize("keep", [True, False])
def test_hostile_packages_end_in_an_error_and_leave_nothing(
    content: bytes, limits: dict[str, int], code: str, keep: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "den"
    with pytest.raises(PackageError) as caught:
        read_package(content, folder=folder if keep else None, limits=Limits(**limits))
    assert caught.value.code == code
    assert caught.value.text("vi")
    assert caught.value.text("en")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_a_folder_that_was_there() -> None:
    with pytest.raises(InputError):
        read_package(PLAIN, folder=Path("/proc/khong-ghi-duoc"))


def test_a_folder_keeps_what_it_had_when_a_package_fails(tmp_path: Path) -> None:
    (tmp_path / "cu.pdf").write_bytes(b"cu")
    with pytest.raises(PackageError):
        read_package(
            edxml.package(edxml.attached("a.pdf", edxml.PDF), edxml.attached("b.pdf", "@")), folder=tmp_path
        )
    assert [path.name for path in tmp_path.iterdir()] == ["cu.pdf"]


def test_a_large_table_of_contents_is_not_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(3000):
            archive.writestr(f"{number}.png", b"")
    package = read_package(edxml.package(edxml.attached("a.png", stream.getvalue())), folder=tmp_path)
    assert "edxml.zip-many-entries" in warned(package)


def test_warnings_are_bounded() -> None:
    flood = "".join(f"<x{n}/>" for n in range(5000))
    assert (
        len(
            read_package(
                edxml.package(edxml.attached("a.pdf", edxml.PDF), header=flood), folder=None
            ).warnings
        )
        <= 200
    )


@pytest.mark.parametrize("seed", range(300))
def test_damaged_packages_give_a_result_or_one_of_our_errors(seed: int, tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_package(edxml.full_document(business=edxml.updating()), edxml.attachments(), stream, dialect=VNPT)
    content = bytearray(stream.getvalue())
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(content))
        change = chance.randrange(4)
        if change == 0:
            content[place] ^= 1 << chance.randrange(8)
        elif change == 1:
            del content[place : place + chance.randint(1, 60)]
        elif change == 2:
            content[place:place] = chance.choice(
                [b"<", b"&", b"</edXML>", b"\0", b"<a>", b"]]>", b"PK\x03\x04"]
            )
        else:
            start = chance.randrange(len(content))
            content[place:place] = content[start : start + 80]
    folder = tmp_path / "den"
    with contextlib.suppress(VnedocError):
        package = read_package(bytes(content), folder=folder)
        for item in package.attachments:
            assert item.path is not None
            assert item.path.parent == folder
            assert item.path.stat().st_size == item.size
        assert len(os.listdir(folder)) == len(package.attachments)  # noqa: PTH208
        return
    assert not folder.exists()


@pytest.mark.parametrize("seed", range(100))
def test_damaged_archives_give_a_result_or_one_of_our_errors(seed: int) -> None:
    chance = random.Random(seed)
    archive = bytearray(edxml.zipped("x.png", bytes(chance.randrange(256) for _ in range(300))))
    for _ in range(chance.randint(1, 8)):
        archive[chance.randrange(4, len(archive))] = chance.randrange(256)
    with contextlib.suppress(VnedocError):
        (item,) = read_package(
            edxml.package(edxml.attached("a.png", bytes(archive))), folder=None
        ).attachments
        assert item.size >= 0


def test_a_full_disk_is_not_taken_for_a_bad_package() -> None:
    budget = Budget(Limits())
    sink = ContentSink(lambda: open("/dev/full", "wb", buffering=0), keep=True, budget=budget, name="a")  # noqa: SIM115, PTH123
    with pytest.raises(InputError) as caught:
        sink.feed("QUJD")
        sink.finish()
    assert caught.value.code == "file.cannot-write"
    sink.close()


def test_a_disk_that_is_full_at_the_end_of_a_small_archive(tmp_path: Path) -> None:
    package = edxml.package(edxml.attached("a.png", edxml.zipped("a.png", b"png")))
    with room_for(10), pytest.raises(InputError) as caught:
        read_package(package, folder=tmp_path / "unpacked")
    assert caught.value.code == "file.cannot-write"


@pytest.mark.parametrize("value", ["&", "a & b", "&#38;", "&amp;", "<>\"'", "&#38;#38;"])
def test_attributes_come_back_as_they_were(value: str) -> None:
    stream = io.BytesIO()
    write_package(edxml.document(trace_list_id=value), edxml.attachments(), stream)
    header = read_package(stream.getvalue(), folder=None).header
    assert isinstance(header, DocumentHeader)
    assert header.trace_list_id == value


def test_attributes_of_unknown_elements_do_not_grow() -> None:
    content = edxml.package(edxml.attached("a.pdf", edxml.PDF), header='<edXML:Odd a="1 &amp; 2"/>')
    for _ in range(3):
        header = read_package(content, folder=None).header
        stream = io.BytesIO()
        write_package(
            dataclasses.replace(header, promulgation_date=datetime.date(2026, 1, 1)),
            edxml.attachments(),
            stream,
        )
        content = stream.getvalue()
    assert b'a="1 &amp; 2"' in content


SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<soap-env:Envelope xmlns:soap-env="{soap}" xmlns:edXML="http://www.e-doc.vn/Schema/">
  <soap-env:Header>
    <edXML:MessageHeader OriginalBodyRequested="false" ImmediateResponseRequired="true">
      <edXML:From><edXML:OrganId>00.01.H99</edXML:OrganId><edXML:OrganName>TEST</edXML:OrganName></edXML:From>
      <edXML:To><edXML:OrganId>00.02.H99</edXML:OrganId><edXML:OrganName>TEST 2</edXML:OrganName></edXML:To>
      <edXML:Code><edXML:CodeNumber>15</edXML:CodeNumber><edXML:CodeNotation>TEST</edXML:CodeNotation></edXML:Code>
      <edXML:DocumentId>00.01.H99,2012/05/04,15/TEST</edXML:DocumentId>
      <edXML:Subject>TEST</edXML:Subject>
    </edXML:MessageHeader>
  </soap-env:Header>
  <soap-env:Body>
    <edXML:Manifest>
      <edXML:Reference xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="cid:part-1">
        <edXML:AttachmentName>a.pdf</edXML:AttachmentName>
      </edXML:Reference>
    </edXML:Manifest>
  </soap-env:Body>
</soap-env:Envelope>
"""


@pytest.mark.parametrize(
    "soap", ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"]
)
def test_a_soap_envelope_of_old_archives_is_read(soap: str) -> None:
    package = read_package(SOAP.format(soap=soap).encode(), folder=None)
    assert isinstance(package.header, DocumentHeader)
    assert package.header.sender.organ_id == "00.01.H99"
    assert [item.organ_id for item in package.header.recipients] == ["00.02.H99"]
    assert package.header.code == "15/TEST"
    found = {finding.id for finding in package.warnings}
    # What travelled beside the envelope is said to be missing, never made up.
    assert {"edxml.soap-envelope", "edxml.missing-attachment"} <= found
    assert package.attachments == ()


def test_another_envelope_is_no_package() -> None:
    with pytest.raises(PackageError) as caught:
        read_package(SOAP.format(soap="urn:another").encode(), folder=None)
    assert caught.value.code == "edxml.wrong-root"
