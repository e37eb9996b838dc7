"""Pack a document with its appendix as edXML (QCVN 102:2016/BTTTT), and read it back."""

import datetime

from _desk import open_desk

from vnedoc.exchange.headers import DocumentHeader, DocumentType, Organization, build_document_id
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import read_package, write_package
from vnedoc.testing import documents

with open_desk() as desk:
    date = datetime.date(2026, 11, 21)
    header = DocumentHeader(
        sender=Organization("H99", "ỦY BAN NHÂN DÂN TỈNH TEST"),
        recipients=(Organization("H99.15", "ỦY BAN NHÂN DÂN XÃ TEST"),),
        code_number="15",
        code_notation="QĐ-UBND",
        document_id=build_document_id("H99", date, "15", "QĐ-UBND"),
        promulgation_date=date,
        document_type=DocumentType(type=2, type_detail=2, type_name="Quyết định"),
        subject="Phê duyệt Kế hoạch TEST",
    )
    files = [desk.issued(), documents.document_path(documents.APPENDIX)]
    package = desk.folder / "15.edxml"
    written = write_package(header, [Attachment.from_file(file) for file in files], package)
    print(f"{package.name}: {written.size} bytes, sha256 {written.sha256[:16]}…")

    received = read_package(package, folder=desk.folder / "received")
    print("from:", received.header.sender.organ_name, "about:", received.header.subject)
    for item, digest in zip(received.attachments, written.attachments, strict=True):
        assert item.sha256 == digest.sha256
        print(f"  {item.name}: {item.size} bytes, unchanged")
