import dataclasses
import datetime
from pathlib import Path

import pytest

from tests import edxml
from vnedoc.errors import UsageError
from vnedoc.exchange.codes import BusinessKind
from vnedoc.exchange.models import (
    Attachment,
    Business,
    BusinessDocumentInfo,
    PackageFinding,
    ReceivedAttachment,
    Receiver,
    ReplacementInfo,
    ResponseFor,
    TraceHeader,
    build_document_id,
)


def test_identifier_of_a_document() -> None:
    day = datetime.date(2026, 1, 2)
    assert build_document_id("H99.02", day, "15", "STEST-VP") == "H99.02,2026/01/02,15/STEST-VP"
    assert build_document_id("H99.02", day, "15", "") == "H99.02,2026/01/02,15"


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        edxml.document().subject = "khác"


def test_code_and_date_as_the_sender_wrote_them() -> None:
    header = edxml.document()
    assert (header.code, header.date_text) == ("15/STEST-VP", "2026/11/20")
    received = edxml.document(promulgation_date_text="20/11/2026")
    assert received.date_text == "20/11/2026"
    assert edxml.document(promulgation_date=None).date_text is None


def test_a_naive_time_is_refused_and_others_become_utc_seconds() -> None:
    with pytest.raises(UsageError) as caught:
        TraceHeader("H99", datetime.datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
    assert caught.value.code == "usage.naive-time"
    local = datetime.datetime(2026, 1, 1, 7, 0, 0, 999, tzinfo=datetime.timezone(datetime.timedelta(hours=7)))
    assert TraceHeader("H99", local).timestamp == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_a_station_is_added_to_a_new_header() -> None:
    header = edxml.document(trace=())
    longer = header.with_trace("H99.02", at=edxml.AT)
    assert header.trace == ()
    assert longer.trace == (TraceHeader("H99.02", edxml.AT),)


def test_business_of_each_kind() -> None:
    assert Business.new().kind is BusinessKind.NEW
    assert Business.recall("id", reason="sai TEST").kind is BusinessKind.RECALL
    assert edxml.updating().kind is BusinessKind.UPDATE
    assert edxml.replacing().kind is BusinessKind.REPLACE


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (lambda: Business.recall("", reason="TEST"), "edxml.missing"),
        (lambda: Business.recall("id", reason=" "), "edxml.missing"),
        (lambda: Business.update("id", document_info=BusinessDocumentInfo()), "edxml.update-of-nothing"),
        (
            lambda: Business.update("id", document_info=BusinessDocumentInfo(document_receiver=True)),
            "edxml.receivers-unlisted",
        ),
        (
            lambda: Business.update(
                "id",
                document_info=BusinessDocumentInfo(document_info=True, receiver_list=(Receiver("H99", 1),)),
            ),
            "edxml.receivers-unlisted",
        ),
        (
            lambda: Business.update("", document_info=BusinessDocumentInfo(document_info=True)),
            "edxml.missing",
        ),
        (Business.replace, "edxml.missing"),
        (lambda: Business.replace(ReplacementInfo("")), "edxml.missing"),
    ],
)
def test_business_that_lacks_something_is_refused(build: object, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        build()
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("header", "targets"),
    [
        (edxml.document(business=Business(document_id="x")), ()),
        (
            edxml.document(business=edxml.replacing()),
            ("H99.02,2026/01/02,1/TEST", "H99.02,2026/01/03,2/TEST"),
        ),
        (
            edxml.document(
                business=Business.recall("x", reason="r"), response_for=(ResponseFor(document_id="y"),)
            ),
            ("x",),
        ),
        (
            edxml.document(
                business=Business(BusinessKind.RECALL), response_for=(ResponseFor(document_id="y"),)
            ),
            ("y",),
        ),
        (edxml.document(business=Business(BusinessKind.RECALL)), (edxml.DOCUMENT_ID,)),
    ],
)
def test_the_documents_that_an_order_is_about(header: object, targets: tuple[str, ...]) -> None:
    assert header.targets == targets


def test_an_attachment_from_a_file_has_its_name(tmp_path: Path) -> None:
    assert Attachment.from_file(tmp_path / "a.pdf") == Attachment("a.pdf", tmp_path / "a.pdf")


def test_an_attachment_that_was_only_looked_at_cannot_be_sent_on() -> None:
    seen = ReceivedAttachment("a", "a", 1, "00", None, None, None, None, was_zipped=False, path=None)
    with pytest.raises(UsageError) as caught:
        seen.as_attachment()
    assert caught.value.code == "package.not-extracted"


def test_a_finding_speaks_both_languages() -> None:
    finding = PackageFinding("edxml.missing", "MessageHeader/To")
    assert finding.text("vi") == "Thiếu MessageHeader/To."
    assert finding.text("en") == "MessageHeader/To is missing."
