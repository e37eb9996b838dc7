"""Packages for tests: headers and texts of our own, and the XML that other systems would write."""

from __future__ import annotations

import base64
import datetime
import io
import zipfile

from vnedoc.exchange.codes import BusinessKind, Priority, ReceiverType, StatusCode, SteeringType
from vnedoc.exchange.models import (
    Attachment,
    Business,
    BusinessDocumentInfo,
    DocumentHeader,
    DocumentType,
    Organization,
    OtherInfo,
    Receiver,
    ReplacementInfo,
    ResponseFor,
    SignerInfo,
    StaffInfo,
    StatusHeader,
    TraceHeader,
)

NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
AT = datetime.datetime(2026, 11, 21, 1, 30, 5, tzinfo=datetime.UTC)
SENDER = Organization("H99.02", "SỞ TEST", "ỦY BAN NHÂN DÂN TỈNH TEST", "Số 1 đường TEST", "so@test.example")
RECIPIENT = Organization("000.00.00.H99", "ỦY BAN NHÂN DÂN TỈNH TEST")
DOCUMENT_ID = "H99.02,2026/11/20,15/STEST-VP"
PDF = b"%PDF-1.7\n% TEST\n%%EOF\n"


def document(**changes: object) -> DocumentHeader:
    """Return the plainest header that may be sent."""
    fields: dict[str, object] = {
        "sender": SENDER,
        "recipients": (RECIPIENT,),
        "code_number": "15",
        "code_notation": "STEST-VP",
        "document_id": DOCUMENT_ID,
        "promulgation_date": datetime.date(2026, 11, 20),
        "subject": "Về việc TEST gói tin",
        "trace": (TraceHeader("H99.02", AT),),
    }
    return DocumentHeader(**{**fields, **changes})


def full_document(**changes: object) -> DocumentHeader:
    """Return a header with every field filled."""
    fields: dict[str, object] = {
        "recipients": (RECIPIENT, Organization("H99.03", "SỞ TEST KHÁC", website="http://test.example")),
        "promulgation_place": "Tỉnh TEST",
        "document_type": DocumentType(2, 18, "Công văn"),
        "content": 'Tóm tắt <TEST> & "dấu"\ndòng hai',
        "signer_info": SignerInfo("KT. GIÁM ĐỐC", "PHÓ GIÁM ĐỐC", "NGUYỄN VĂN TEST"),
        "due_date": datetime.date(2026, 12, 1),
        "to_places": ("Như trên", "Lưu: VT"),
        "other_info": OtherInfo(
            Priority.URGENT,
            "Nội bộ TEST",
            "NVT",
            3,
            4,
            "9/TEST",
            direction=True,
            reference_codes="R1",
            appendixes=("PL1", "PL2"),
        ),
        "response_for": (ResponseFor("H99", "9/UBND", "H99,2026/11/01,9/UBND", "2026/11/01"),),
        "steering_type": SteeringType.STEERING,
        "response_for_task": ("T1", "T2"),
        "application_type": "QLVB-TEST",
        "business": Business(
            BusinessKind.NEW,
            "Văn bản điện tử mới",
            paper=True,
            staff_info=StaffInfo("Văn phòng", "VP", "TRẦN THỊ TEST", "S1", "0900000000", "nv@test.example"),
        ),
        "trace": (TraceHeader("H99.02", AT), TraceHeader(None, AT)),
        "trace_list_id": "t1",
        "trace_list_paper": True,
    }
    return document(**{**fields, **changes})


def updating() -> Business:
    """Return what an update carries that changes metadata and receivers."""
    changes = (Receiver("H99.04", ReceiverType.ADDED), Receiver("H99.05", ReceiverType.REMOVED))
    info = BusinessDocumentInfo(document_info=True, document_receiver=True, receiver_list=changes)
    return Business.update(DOCUMENT_ID, document_info=info, reason="Cập nhật văn bản điện tử")


def replacing() -> Business:
    """Return what a document carries that takes the place of two others."""
    return Business.replace(
        ReplacementInfo("H99.02,2026/01/02,1/TEST", ("H99.03", "H99.04")),
        ReplacementInfo("H99.02,2026/01/03,2/TEST"),
        reason="Văn bản thay thế",
    )


def documents() -> tuple[DocumentHeader, ...]:
    """Return a new document with as little and as much as it may say, one that updates and one that replaces."""
    return (document(), full_document(), document(business=updating()), document(business=replacing()))


def status(code: StatusCode = StatusCode.ACCEPTED, **changes: object) -> StatusHeader:
    """Return a status about the document."""
    fields: dict[str, object] = {
        "sender": RECIPIENT,
        "response_for": ResponseFor("H99.02", "15/STEST-VP", DOCUMENT_ID, "2026/11/20"),
        "status_code": code,
        "timestamp": AT,
        "description": "Văn thư - Văn phòng: TEST",
        "staff_info": StaffInfo("Văn phòng", staff="TRẦN THỊ TEST"),
    }
    return StatusHeader(**{**fields, **changes})


def attachments() -> list[Attachment]:
    """Return files of each sort: sent as they are, and wrapped by the kit of the axis."""
    return [
        Attachment("van-ban.pdf", PDF, "Văn bản chính"),
        Attachment("phu-luc.docx", many_entries()),
        Attachment("so-lieu.xlsx", many_entries()),
        Attachment("goc.zip", zipped("a.txt", b"TEST")),
        Attachment("Ảnh chụp.png", b"\x89PNG\r\n\x1a\nTEST"),
        Attachment("ghi-chu", b"TEST"),
    ]


def zipped(name: str, content: bytes, **more: bytes) -> bytes:
    """Return an archive with one file, or more."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, value in {name: content, **more}.items():
            archive.writestr(zipfile.ZipInfo(entry, (2026, 1, 1, 0, 0, 0)), value, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def many_entries() -> bytes:
    """Return an archive as office programs write documents."""
    return zipped("[Content_Types].xml", b"<Types/>", document=b"<w/>")


def attached(
    name: str, content: bytes | str, *, content_type: str = "application/pdf", content_id: str = "c1"
) -> str:
    """Return the XML of one attachment; a text stands for base64 as it is."""
    encoded = content if isinstance(content, str) else base64.b64encode(content).decode()
    return (
        f"<Attachment><ContentId>cid:{content_id}</ContentId><AttachmentName>{name}</AttachmentName>"
        f"<ContentType>{content_type}</ContentType>"
        f"<ContentTransferEncoded>{encoded}</ContentTransferEncoded></Attachment>"
    )


def package(
    *files: str,
    header: str = "",
    holder: str = "MessageHeader",
    references: str | None = None,
    business: str | None = None,
) -> bytes:
    """Return a package as another system would write it; ``header`` comes after the plain fields."""
    listed = references
    if listed is None:
        listed = "".join(
            f"<edXML:Reference>{part.partition('<ContentType>')[0].removeprefix('<Attachment>')}</edXML:Reference>"
            for part in files
        )
    if business is None:
        business = "<edXML:Bussiness><edXML:BussinessDocType>0</edXML:BussinessDocType></edXML:Bussiness>"
    plain = (
        "<edXML:From><edXML:OrganId>H99.02</edXML:OrganId><edXML:OrganName>SỞ TEST</edXML:OrganName></edXML:From>"
        "<edXML:To><edXML:OrganId>H99</edXML:OrganId><edXML:OrganName>UBND TEST</edXML:OrganName></edXML:To>"
        "<edXML:Code><edXML:CodeNumber>15</edXML:CodeNumber>"
        "<edXML:CodeNotation>STEST-VP</edXML:CodeNotation></edXML:Code>"
        f"<edXML:DocumentId>{DOCUMENT_ID}</edXML:DocumentId><edXML:Subject>TEST</edXML:Subject>"
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?><edXML xmlns="{NAMESPACE}">'
        f'<edXML:edXMLEnvelope xmlns:edXML="{NAMESPACE}"><edXML:edXMLHeader>'
        f"<edXML:{holder}>{plain}{header}</edXML:{holder}>"
        f"<edXML:TraceHeaderList>{business}</edXML:TraceHeaderList></edXML:edXMLHeader>"
        f"<edXML:edXMLBody><edXML:edXMLManifest>{listed}</edXML:edXMLManifest></edXML:edXMLBody>"
        f"</edXML:edXMLEnvelope><AttachmentEncoded>{''.join(files)}</AttachmentEncoded></edXML>"
    ).encode()
