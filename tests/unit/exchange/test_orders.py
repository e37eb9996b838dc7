"""Orders about a document name it exactly as it was sent, whatever else they change."""

from __future__ import annotations

import io

import pytest

from tests import edxml
from vnedoc.errors import UsageError
from vnedoc.exchange.codes import BusinessKind, ReceiverType, StatusCode
from vnedoc.exchange.models import (
    Attachment,
    DocumentHeader,
    Organization,
    Package,
    Receiver,
    ReplacementInfo,
    ResponseFor,
    StaffInfo,
    StatusHeader,
    UnknownElement,
)
from vnedoc.exchange.orders import answering, name_document, recall_header, replacing, update_header
from vnedoc.exchange.package import DIALECTS, read_package, reply_header, write_package
from vnedoc.exchange.validation import Level, validate_header

STAFF = StaffInfo(staff="TRẦN THỊ TEST")
# As the field writes it: the day first, blanks, an identifier that is no identifier.
ODD_DATE = "20/11/2026"
ODD_ID = "000.00.17.H99,2014/02/30,15/STEST-VP"


def odd() -> Package:
    """Return a document that was sent by somebody who writes things his own way."""
    date = f"<edXML:PromulgationDate>{ODD_DATE}</edXML:PromulgationDate>"
    place = f"<edXML:PromulgationInfo>{date}</edXML:PromulgationInfo>"
    content = edxml.package(edxml.attached("a.pdf", edxml.PDF), header=place)
    return read_package(content.replace(edxml.DOCUMENT_ID.encode(), ODD_ID.encode()), folder=None)


NAMED = ResponseFor("H99.02", "15/STEST-VP", ODD_ID, ODD_DATE)


def through(header: DocumentHeader, dialect: str) -> DocumentHeader:
    stream = io.BytesIO()
    write_package(header, [Attachment("a.pdf", edxml.PDF)], stream, dialect=DIALECTS[dialect])
    read = read_package(stream.getvalue(), folder=None).header
    assert isinstance(read, DocumentHeader)
    return read


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_recall(dialect: str) -> None:
    header = through(recall_header(odd(), reason="Ban hành nhầm TEST", staff_info=STAFF), dialect)
    assert header.business.kind is BusinessKind.RECALL
    assert header.business.reason == "Ban hành nhầm TEST"
    assert header.business.staff_info == STAFF
    assert header.targets == (ODD_ID,)
    assert header.response_for == ()
    assert name_document(header) == NAMED
    assert [to.organ_id for to in header.recipients] == ["H99"]
    assert validate_header(header, level=Level.AXIS).is_valid


def test_a_recall_from_one_receiver() -> None:
    header = recall_header(edxml.full_document(), reason="r", recipients=[edxml.RECIPIENT])
    assert header.recipients == (edxml.RECIPIENT,)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_recall_that_another_document_orders(dialect: str) -> None:
    order = edxml.document(code_number="16", document_id="H99.02,2026/11/22,16/STEST-VP")
    header = through(recall_header(odd(), reason="r", ordered_by=order), dialect)
    assert header.document_id == order.document_id
    assert header.response_for == (NAMED,)
    assert header.targets == (ODD_ID,)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_update_of_receivers(dialect: str) -> None:
    added = Organization("H99.07", "SỞ TEST MỚI")
    header = through(update_header(odd(), added=[added], removed=["H99"], reason="TEST"), dialect)
    assert header.business.kind is BusinessKind.UPDATE
    assert header.targets == (ODD_ID,)
    assert name_document(header) == NAMED
    info = header.business.document_info
    assert info is not None
    assert (info.document_info, info.document_receiver) == (False, True)
    assert info.receiver_list == (
        Receiver("H99.07", ReceiverType.ADDED),
        Receiver("H99", ReceiverType.REMOVED),
    )
    # Who lost the document must hear of it, too.
    assert [to.organ_id for to in header.recipients] == ["H99", "H99.07"]


def test_an_update_of_metadata_keeps_what_names_the_document() -> None:
    changed = edxml.document(subject="Việc khác", code_number="99", document_id="x", sender=edxml.RECIPIENT)
    header = update_header(odd(), changed=changed)
    assert header.subject == "Việc khác"
    assert name_document(header) == NAMED
    info = header.business.document_info
    assert info is not None
    assert (info.document_info, info.document_receiver, info.receiver_list) == (True, False, ())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_replacement(dialect: str) -> None:
    header = through(replacing(edxml.document(), odd(), edxml.full_document(document_id="y")), dialect)
    assert header.document_id == edxml.DOCUMENT_ID
    assert header.business.replacement_info_list == (
        ReplacementInfo(ODD_ID, ("H99",)),
        ReplacementInfo("y", ("000.00.00.H99", "H99.03")),
    )
    assert header.targets == (ODD_ID, "y")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer(dialect: str) -> None:
    header = through(answering(edxml.document(sender=edxml.RECIPIENT, document_id="z"), odd()), dialect)
    assert header.response_for == (NAMED,)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("code", [code for code in StatusCode if code is not StatusCode.TAKE_BACK])
def test_every_status(dialect: str, code: StatusCode) -> None:
    reply = reply_header(odd(), sender=edxml.RECIPIENT, status_code=code, at=edxml.AT, description="TEST")
    stream = io.BytesIO()
    write_package(reply, [], stream, dialect=DIALECTS[dialect])
    read = read_package(stream.getvalue(), folder=None).header
    assert isinstance(read, StatusHeader)
    assert read.response_for == NAMED
    assert read.status_code is code


@pytest.mark.parametrize(
    "make",
    [
        lambda: recall_header(odd(), reason=" "),
        lambda: recall_header(edxml.document(document_id=""), reason="r"),
        lambda: update_header(odd()),
        lambda: update_header(odd(), removed=["H98"]),
        lambda: update_header(edxml.document(document_id=""), removed=[edxml.RECIPIENT.organ_id]),
        lambda: replacing(edxml.document()),
        lambda: replacing(edxml.document(), edxml.document(document_id="")),
        lambda: name_document(Package(edxml.status(), (), (), 0, "")),
        lambda: recall_header(Package(edxml.status(), (), (), 0, ""), reason="r"),
    ],
)
def test_orders_that_make_no_sense(make: object) -> None:
    with pytest.raises(UsageError):
        make()


def test_orders_leave_out_what_stood_beside_the_files() -> None:
    marks = tuple(
        UnknownElement(parent, b"<X />")
        for parent in ("MessageHeader", "edXMLBody/edXMLManifest/Reference[2]", "AttachmentEncoded")
    )
    sent = edxml.document(unknown=marks)
    # The order has other files, or none.
    assert recall_header(sent, reason="TEST").unknown == marks[:1]
    assert update_header(sent, removed=[edxml.RECIPIENT.organ_id]).unknown == marks[:1]
