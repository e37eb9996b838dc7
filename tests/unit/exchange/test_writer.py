import dataclasses
import hashlib
import io
import re
import xml.etree.ElementTree as ET
import zipfile
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from tests import edxml
from vnedoc.errors import InputError, PackageError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.models import Attachment, Business, DocumentHeader, StatusHeader, UnknownElement
from vnedoc.exchange.package import BKAV, DIALECTS, NET, VNPT, Dialect, read_package, write_package


def written(
    header: DocumentHeader | StatusHeader, files: list[Attachment] | None = None, dialect: Dialect = VNPT
) -> bytes:
    stream = io.BytesIO()
    write_package(header, files or [], stream, dialect=dialect)
    return stream.getvalue()


def children(content: bytes, name: str) -> list[str]:
    """The local names of the children of the first element of a name, by another parser."""
    root = ET.fromstring(content)
    found = next(element for element in root.iter() if element.tag.rpartition("}")[2] == name)
    return [child.tag.rpartition("}")[2] for child in found]


def test_the_shape_that_the_kit_of_the_axis_writes() -> None:
    content = written(edxml.status(staff_info=None))
    expected = f"""<?xml version="1.0" encoding="UTF-8"?>
<edXML xmlns="{edxml.NAMESPACE}">
  <edXML:edXMLEnvelope xmlns:edXML="{edxml.NAMESPACE}">
    <edXML:edXMLHeader>
      <edXML:MessageHeader>
        <edXML:From>
          <edXML:OrganId>000.00.00.H99</edXML:OrganId>
          <edXML:OrganName>ỦY BAN NHÂN DÂN TỈNH TEST</edXML:OrganName>
        </edXML:From>
        <edXML:ResponseFor>
          <edXML:OrganId>H99.02</edXML:OrganId>
          <edXML:Code>15/STEST-VP</edXML:Code>
          <edXML:DocumentId>{edxml.DOCUMENT_ID}</edXML:DocumentId>
          <edXML:PromulgationDate>2026/11/20</edXML:PromulgationDate>
        </edXML:ResponseFor>
        <edXML:StatusCode>03</edXML:StatusCode>
        <edXML:Description>Văn thư - Văn phòng: TEST</edXML:Description>
        <edXML:Timestamp>2026/11/21 08:30:05</edXML:Timestamp>
      </edXML:MessageHeader>
    </edXML:edXMLHeader>
  </edXML:edXMLEnvelope>
</edXML>
"""
    assert content == expected.replace("\n", "\r\n").encode()


def test_every_line_ends_like_the_kit_and_nothing_inside_the_envelope_lacks_the_prefix() -> None:
    content = written(edxml.full_document(content="một\ndòng"), edxml.attachments())
    assert content.count(b"\n") == content.count(b"\r\n")
    envelope = content[content.index(b"<edXML:edXMLEnvelope") : content.index(b"</edXML:edXMLEnvelope>")]
    assert re.findall(rb"<(?!/?edXML:)[^>]*>", envelope) == []
    assert b"<AttachmentEncoded>" in content
    assert b'<edXML:ContentTransferEncoded xmlns:edXML="' in content


ORDERS = [
    (
        VNPT,
        "MessageHeader",
        """From To To DocumentId Code PromulgationInfo DocumentType Subject Content SignerInfo DueDate OtherInfo
        ResponseFor SteeringType ResponseForTask ApplicationType ToPlaces""",
    ),
    (VNPT, "DocumentType", "Type TypeDetail TypeName"),
    (VNPT, "TraceHeaderList", "Paper Bussiness TraceHeader TraceHeader"),
    (VNPT, "Bussiness", "BussinessDocType BussinessDocReason Paper StaffInfo"),
    (VNPT, "StaffInfo", "Department DepartmentId Staff StaffId Email Mobile"),
    (VNPT, "Reference", "ContentId ContentType Description AttachmentName"),
    (VNPT, "Attachment", "ContentId AttachmentName Description ContentType ContentTransferEncoded"),
    (
        VNPT,
        "OtherInfo",
        """Priority SphereOfPromulgation TyperNotation PromulgationAmount PageAmount ReplyFors Direction
        ReferenceCodes Appendixes""",
    ),
    (
        NET,
        "MessageHeader",
        """From To To Code PromulgationInfo DocumentType Subject Content SignerInfo DueDate ToPlaces OtherInfo
        ResponseFor SteeringType ResponseForTask ApplicationType DocumentId""",
    ),
    (NET, "DocumentType", "Type TypeName TypeDetail"),
    (NET, "TraceHeaderList", "TraceHeader TraceHeader Bussiness Paper"),
    (NET, "Reference", "Description AttachmentName ContentType ContentId"),
    (NET, "Attachment", "ContentType ContentId Description ContentTransferEncoded AttachmentName"),
    (NET, "edXMLHeader", "MessageHeader TraceHeaderList DigitalSignature"),
    (NET, "From", "OrganId OrganizationInCharge OrganName OrganAdd Email"),
    (NET, "To", "OrganId OrganName OrganAdd"),
]


@pytest.mark.parametrize(("dialect", "element", "order"), ORDERS, ids=[f"{d.name}-{e}" for d, e, _ in ORDERS])
def test_order_of_elements(dialect: Dialect, element: str, order: str) -> None:
    content = written(edxml.full_document(), edxml.attachments(), dialect)
    assert children(content, element) == order.split()


def test_a_status_stands_where_its_dialect_wants_it() -> None:
    header = edxml.status(StatusCode.PROCESSING)
    assert children(written(header, dialect=BKAV), "Status") == [
        *("ResponseFor", "From", "StatusCode", "Description", "Timestamp", "StaffInfo")
    ]
    assert b"<edXML:StatusCode>5<" in written(header, dialect=BKAV)
    assert b"<edXML:StatusCode>05<" in written(header, dialect=NET)
    assert b"edXMLBody" not in written(header)
    assert b"TraceHeaderList" not in written(header)


def test_order_inside_an_update_and_a_replacement() -> None:
    update = written(edxml.document(business=edxml.updating()), edxml.attachments())
    assert children(update, "Bussiness") == [
        *("DocumentId", "BussinessDocType", "BussinessDocReason", "Paper", "BussinessDocumentInfo")
    ]
    assert children(update, "BussinessDocumentInfo") == ["DocumentInfo", "DocumentReceiver", "ReceiverList"]
    replacement = written(edxml.document(business=edxml.replacing()), edxml.attachments())
    assert children(replacement, "ReplacementInfo") == ["DocumentId", "OrganIdList"]


@pytest.mark.parametrize("name", DIALECTS)
def test_what_went_in_comes_out(name: str) -> None:
    files = edxml.attachments()
    for business in (
        Business.new(),
        Business.recall("id", reason="sai"),
        edxml.updating(),
        edxml.replacing(),
    ):
        header = edxml.full_document(business=business)
        content = written(header, files, DIALECTS[name])
        package = read_package(content, folder=None)
        assert package.header == header
        assert package.warnings == ()
        assert [item.name for item in package.attachments] == [item.name for item in files]
        assert [item.sha256 for item in package.attachments] == [
            hashlib.sha256(item.content).hexdigest() for item in files if isinstance(item.content, bytes)
        ]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("code", list(StatusCode))
def test_every_status_comes_back(name: str, code: StatusCode) -> None:
    header = edxml.status(code)
    assert read_package(written(header, dialect=DIALECTS[name]), folder=None).header == header


@pytest.mark.parametrize("name", DIALECTS)
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    header, files = edxml.full_document(), edxml.attachments()
    assert written(header, files, DIALECTS[name]) == written(header, files, DIALECTS[name])


def payload(content: bytes, file_name: str) -> tuple[str, bytes]:
    root = ET.fromstring(content)
    space = f"{{{edxml.NAMESPACE}}}"
    for item in root.iter(f"{space}Attachment"):
        if item.findtext(f"{space}AttachmentName") == file_name:
            return item.findtext(f"{space}ContentType") or "", b64decode(
                item.findtext(f"{space}ContentTransferEncoded") or ""
            )
    raise AssertionError(file_name)


@pytest.mark.parametrize(
    ("file_name", "content_type"),
    [
        ("van-ban.pdf", "application/pdf"),
        ("phu-luc.docx", "application/docx"),
        ("goc.zip", "application/zip"),
    ],
)
def test_the_kit_sends_these_files_as_they_are(file_name: str, content_type: str) -> None:
    content = written(edxml.document(), edxml.attachments())
    given = next(item.content for item in edxml.attachments() if item.name == file_name)
    assert payload(content, file_name) == (content_type, given)


@pytest.mark.parametrize("file_name", ["so-lieu.xlsx", "Ảnh chụp.png", "ghi-chu"])
def test_the_kit_wraps_the_others_in_an_archive_of_one(file_name: str) -> None:
    content_type, archive = payload(written(edxml.document(), edxml.attachments()), file_name)
    given = next(item.content for item in edxml.attachments() if item.name == file_name)
    assert content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert len(opened.namelist()) == 1
        assert re.fullmatch(rf"[0-9a-f-]{{36}}{re.escape(Path(file_name).suffix)}", opened.namelist()[0])
        assert opened.read(opened.namelist()[0]) == given


def test_the_others_send_everything_as_it_is() -> None:
    for dialect in (NET, BKAV):
        content = written(edxml.document(), edxml.attachments(), dialect)
        for item in edxml.attachments():
            assert payload(content, item.name)[1] == item.content


def test_content_ids_follow_the_dialect() -> None:
    files = [Attachment("a.pdf", edxml.PDF, content_id="cid:id-1")]
    assert written(edxml.document(), files).count(b">cid:id-1<") == 2
    net = written(edxml.document(), files, NET)
    assert net.count(b">cid:id-1<") == 1
    assert b"<ContentId>id-1<" in net
    assert b'xlink:href="cid:id-1"' in net


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    source = tmp_path / "lon.pdf"
    content = edxml.PDF + bytes(range(256)) * 4001
    source.write_bytes(content)
    result = write_package(edxml.document(), [Attachment.from_file(source)], tmp_path / "goi.edxml")
    assert result.attachments[0].size == len(content)
    assert result.attachments[0].sha256 == hashlib.sha256(content).hexdigest()
    whole = (tmp_path / "goi.edxml").read_bytes()
    assert (result.size, result.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert payload(whole, "lon.pdf")[1] == content


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "goi.edxml"
    target.write_bytes(b"cu")
    files = [Attachment("a.pdf", edxml.PDF), Attachment("b.pdf", tmp_path / "khong-co.pdf")]
    with pytest.raises(InputError) as caught:
        write_package(edxml.document(), files, target)
    assert caught.value.code == "file.cannot-read"
    assert [path.name for path in tmp_path.iterdir()] == ["goi.edxml"]
    assert target.read_bytes() == b"cu"


def test_unknown_elements_are_written_again_where_they_were() -> None:
    xml = f'<edXML:TestMark xmlns:edXML="{edxml.NAMESPACE}" a="1">x &amp; y</edXML:TestMark>'.encode()
    unknown = tuple(
        UnknownElement(parent, xml)
        for parent in (
            "MessageHeader",
            "MessageHeader/To[2]",
            "TraceHeaderList/Bussiness",
            "edXMLHeader",
            "edXML",
        )
    )
    header = edxml.full_document(unknown=unknown)
    package = read_package(written(header, edxml.attachments()), folder=None)
    assert isinstance(package.header, DocumentHeader)
    assert sorted(package.header.unknown, key=str) == sorted(unknown, key=str)
    assert {finding.id for finding in package.warnings} == {"edxml.unknown-element"}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("content_id", [None, "id-1@h99.example"])
def test_a_clean_package_is_written_again_with_the_same_bytes(
    name: str, content_id: str | None, tmp_path: Path
) -> None:
    files = edxml.attachments()
    files[0] = dataclasses.replace(files[0], content_id=content_id)
    for number, business in enumerate((Business.new(), edxml.updating(), edxml.replacing())):
        content = written(edxml.full_document(business=business), files, DIALECTS[name])
        package = read_package(content, folder=tmp_path / str(number))
        again = [item.as_attachment() for item in package.attachments]
        assert written(package.header, again, DIALECTS[name]) == content


def marked(parent: str, number: int = 1) -> UnknownElement:
    xml = f'<edXML:Mark{number} xmlns:edXML="{edxml.NAMESPACE}" a="1">x &amp; y</edXML:Mark{number}>'
    return UnknownElement(parent, xml.encode())


@pytest.mark.parametrize("name", DIALECTS)
def test_unknown_elements_of_an_attachment_stay_with_it(name: str, tmp_path: Path) -> None:
    files = edxml.attachments()
    own = (marked("Attachment/Description", 3), marked("Attachment"), marked("Attachment", 2))
    files[1] = dataclasses.replace(files[1], unknown=own)
    listed = marked("edXMLBody/edXMLManifest/Reference[2]")
    group = marked("AttachmentEncoded")
    content = written(edxml.document(unknown=(listed, group)), files, DIALECTS[name])
    package = read_package(content, folder=tmp_path)
    assert package.header.unknown == (listed, group)
    assert [item.unknown for item in package.attachments] == [(), own, (), (), (), ()]
    assert {(item.id, item.element) for item in package.warnings} == {
        ("edxml.unknown-element", element)
        for element in (
            "edXMLBody/edXMLManifest/Reference[2]",
            "AttachmentEncoded",
            "AttachmentEncoded/Attachment[2]",
            "AttachmentEncoded/Attachment[2]/Description",
        )
    }
    kept = [item.as_attachment() for item in package.attachments]
    assert written(package.header, kept, DIALECTS[name]) == content
    # It goes where its attachment goes.
    turned = read_package(written(edxml.document(), kept[::-1], DIALECTS[name]), folder=None)
    assert [item.unknown for item in turned.attachments] == [(), (), (), (), own, ()]


def test_what_another_system_writes_beside_a_content_is_kept(tmp_path: Path) -> None:
    beside = "<FieldName>f</FieldName><MimeType>m</MimeType><X xmlns='urn:x'><Y/></X>"
    file = edxml.attached("a.pdf", edxml.PDF).replace("<ContentType>", beside + "<ContentType>")
    package = read_package(edxml.package(file, references=""), folder=tmp_path)
    (item,) = package.attachments
    assert [element.parent for element in item.unknown] == ["Attachment"] * 3
    # Two of them are known, and of no use.
    unknown = [finding for finding in package.warnings if finding.id == "edxml.unknown-element"]
    assert [finding.values["name"] for finding in unknown] == ["X"]
    content = written(edxml.document(), [item.as_attachment()], NET)
    assert children(content, "Attachment")[-3:] == ["FieldName", "MimeType", "X"]
    assert b'<X xmlns="urn:x"><Y xmlns="urn:x" /></X>' in content


def test_an_attachment_at_another_place_is_read_once(tmp_path: Path) -> None:
    file = edxml.attached("a.pdf", edxml.PDF)
    content = edxml.package(references="").replace(b"</edXML>", f"<Odd>{file}</Odd>{file}</edXML>".encode())
    package = read_package(content, folder=tmp_path)
    assert [item.name for item in package.attachments] == ["a.pdf", "a.pdf"]
    # What is unknown around it is kept, and the content does not come twice.
    assert [item.xml for item in package.header.unknown] == [
        f'<edXML:Odd xmlns:edXML="{edxml.NAMESPACE}" />'.encode()
    ]


@pytest.mark.parametrize("holder", ["AttachmentEncoded", "edXML:edXMLManifest"])
def test_attachments_in_the_words_of_some_provinces(holder: str, tmp_path: Path) -> None:
    file = "<Attachment><FileName>a.pdf</FileName><FileType>application/pdf</FileType><Odd/>"
    file += f"<Content>{b64encode(edxml.PDF).decode()}</Content></Attachment>"
    content = edxml.package(references=file if holder != "AttachmentEncoded" else "")
    if holder == "AttachmentEncoded":
        content = content.replace(b"<AttachmentEncoded>", b"<AttachmentEncoded>" + file.encode())
    (item,) = read_package(content, folder=tmp_path).attachments
    assert (item.name, item.content_type, item.size) == ("a.pdf", "application/pdf", len(edxml.PDF))
    assert [element.parent for element in item.unknown] == ["Attachment"]


def test_the_list_of_attachments_is_written_for_what_is_unknown_in_it() -> None:
    mark = marked("AttachmentEncoded")
    content = written(edxml.document(business=Business.recall("id", reason="TEST"), unknown=(mark,)))
    package = read_package(content, folder=None)
    assert (package.header.unknown, package.attachments) == ((mark,), ())


@pytest.mark.parametrize(
    "parent", ["MessageHeader/OtherInfo", "MessageHeader/DueDate", "MessageHeader/From/Fax"]
)
def test_what_is_unknown_keeps_an_otherwise_empty_element(parent: str) -> None:
    mark = UnknownElement(parent, f'<edXML:M xmlns:edXML="{edxml.NAMESPACE}" />'.encode())
    package = read_package(written(edxml.document(unknown=(mark,)), edxml.attachments()), folder=None)
    assert package.header.unknown == (mark,)


@pytest.mark.parametrize("name", ["vnpt", "bkav"])
def test_unknown_elements_of_a_status_move_with_it(name: str) -> None:
    mark = UnknownElement("MessageHeader", f'<edXML:M xmlns:edXML="{edxml.NAMESPACE}" />'.encode())
    package = read_package(written(edxml.status(unknown=(mark,)), dialect=DIALECTS[name]), folder=None)
    assert [item.xml for item in package.header.unknown] == [mark.xml]


REFUSED = [
    (edxml.document(subject=""), None, "edxml.missing"),
    (edxml.document(document_id=""), None, "edxml.missing"),
    (edxml.document(recipients=()), None, "edxml.missing"),
    (edxml.document(promulgation_date=None), None, "edxml.missing"),
    (edxml.document(subject="a\x00b"), None, "edxml.illegal-character"),
    (edxml.document(subject="a\ud800b"), None, "edxml.illegal-character"),
    (edxml.document(trace_list_id="\x01"), None, "edxml.illegal-character"),
    (edxml.document(business=Business(7)), None, "edxml.unknown-code"),
    (edxml.document(business=Business(1)), None, "edxml.missing"),
    (edxml.document(), [], "edxml.missing"),
    (edxml.document(), [Attachment("../a.pdf", b"x")], "edxml.bad-name"),
    (edxml.document(), [Attachment("", b"x")], "edxml.bad-name"),
    (edxml.document(), [Attachment("a\u202efdp.exe", b"x")], "edxml.bad-name"),
    (edxml.document(), [Attachment("a.pdf", b"x"), Attachment("A.PDF", b"y")], "edxml.duplicate-name"),
    (
        edxml.document(),
        [Attachment("a.pdf", b"x", content_id="i"), Attachment("b.pdf", b"y", content_id="cid:i")],
        "edxml.duplicate-id",
    ),
    (edxml.status(), [Attachment("a.pdf", b"x")], "edxml.status-with-attachments"),
    (edxml.status(status_code="999"), [], "edxml.unknown-code"),
    (edxml.status(timestamp=None), [], "edxml.missing"),
    (edxml.status(StatusCode.REFUSED, description=None), [], "edxml.missing"),
]


@pytest.mark.parametrize(("header", "files", "code"), REFUSED)
def test_what_cannot_be_sent_is_not_written(
    header: DocumentHeader, files: list[Attachment] | None, code: str, tmp_path: Path
) -> None:
    given = [Attachment("a.pdf", edxml.PDF)] if files is None else files
    with pytest.raises(PackageError) as caught:
        write_package(header, given, tmp_path / "goi.edxml")
    assert caught.value.code == code
    assert caught.value.text("vi") != caught.value.text("en")
    assert list(tmp_path.iterdir()) == []


def test_a_recall_needs_no_attachment() -> None:
    content = written(edxml.document(business=Business.recall(edxml.DOCUMENT_ID, reason="sai TEST")))
    assert b"AttachmentEncoded" not in content
    assert b'<edXML:edXMLManifest version="1.0" />' in content
    assert read_package(content, folder=None).warnings == ()


def test_an_attachment_longer_than_any_text_the_parser_takes_at_once(tmp_path: Path) -> None:
    source = tmp_path / "lon.bin"
    content = bytes(range(256)) * 48 * 1024
    source.write_bytes(content)
    write_package(edxml.document(), [Attachment.from_file(source)], tmp_path / "goi.edxml", dialect=NET)
    (item,) = read_package(tmp_path / "goi.edxml", folder=tmp_path / "den").attachments
    assert item.size == len(content) > 10_000_000
    assert item.sha256 == hashlib.sha256(content).hexdigest()
