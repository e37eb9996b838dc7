import dataclasses
import io

import pytest

from tests import edxml
from vnedoc.errors import PackageError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.models import (
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
    StatusHeader,
)
from vnedoc.exchange.package import DIALECTS, VNPT, Dialect, read_package, write_package
from vnedoc.exchange.validation import Level, ValidationReport, validate_header, validate_package


def found(header: DocumentHeader | StatusHeader, level: Level = Level.STRICT) -> list[tuple[str, str]]:
    return [(finding.id, finding.element) for finding in validate_header(header, level=level).errors]


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(
    "header",
    [
        *edxml.documents(),
        edxml.document(business=Business.recall("x", reason="r")),
        edxml.status(),
        edxml.status(StatusCode.REFUSED),
    ],
)
def test_good_headers_are_valid_at_every_level(header: DocumentHeader | StatusHeader, level: Level) -> None:
    assert found(header, level) == []


LONG = [
    ({"code_number": "1" * 12}, "MessageHeader/Code/CodeNumber"),
    ({"code_notation": "N" * 31}, "MessageHeader/Code/CodeNotation"),
    ({"subject": "T" * 501}, "MessageHeader/Subject"),
    ({"content": "T" * 501}, "MessageHeader/Content"),
    ({"promulgation_place": "T" * 51}, "MessageHeader/PromulgationInfo/Place"),
    ({"document_type": DocumentType(type_name="T" * 101)}, "MessageHeader/DocumentType/TypeName"),
    ({"signer_info": SignerInfo(position="T" * 101)}, "MessageHeader/SignerInfo/Position"),
    ({"signer_info": SignerInfo(full_name="T" * 51)}, "MessageHeader/SignerInfo/FullName"),
    ({"other_info": OtherInfo(page_amount=10_000)}, "MessageHeader/OtherInfo/PageAmount"),
    ({"other_info": OtherInfo(promulgation_amount=1_000)}, "MessageHeader/OtherInfo/PromulgationAmount"),
    ({"to_places": ("T" * 120,) * 10}, "MessageHeader/ToPlaces"),
    ({"to_places": ("T", "T" * 151)}, "MessageHeader/ToPlaces/Place[2]"),
    ({"sender": Organization("H99", "T" * 201)}, "MessageHeader/From/OrganName"),
    ({"sender": Organization("H99", "T", email="T" * 101)}, "MessageHeader/From/Email"),
]


@pytest.mark.parametrize(("change", "element"), LONG)
def test_lengths_are_those_of_the_standard(change: dict[str, object], element: str) -> None:
    header = edxml.document(**change)
    assert found(header) == [("edxml.too-long", element)]
    assert found(header, Level.AXIS) == []


def test_the_longest_values_pass() -> None:
    header = edxml.document(
        code_number="1" * 11,
        code_notation="N" * 30,
        subject="T" * 500,
        other_info=OtherInfo(promulgation_amount=999, page_amount=9_999),
    )
    assert found(header) == []
    code = "H99." + "A" * 31
    assert len(code) == 35
    assert found(edxml.document(sender=Organization(code, "T"))) == []
    assert found(edxml.document(sender=Organization(code + "A", "T")), Level.AXIS) == [
        ("edxml.too-long", "MessageHeader/From/OrganId")
    ]


@pytest.mark.parametrize(
    ("code", "strict", "axis"),
    [
        ("000.00.00.G22", True, True),
        ("H36.17", True, True),
        ("G12.18.112.001", True, True),
        ("0101234567", True, True),
        ("vxp.saas.02", False, True),
        ("H 36", False, False),
        ("000.00.00.H41\n", False, False),
    ],
)
def test_agency_codes(code: str, strict: bool, axis: bool) -> None:
    header = edxml.document(recipients=(edxml.RECIPIENT, Organization(code, "TEST")))
    expected = [("edxml.organ-id-form", "MessageHeader/To[2]/OrganId")]
    assert found(header) == ([] if strict else expected)
    assert found(header, Level.AXIS) == ([] if axis else expected)
    assert found(header, Level.LENIENT) == []


MISSING = [
    ({"sender": Organization("", "T")}, "MessageHeader/From/OrganId", set(Level)),
    ({"sender": Organization("H99", "")}, "MessageHeader/From/OrganName", {Level.STRICT}),
    ({"recipients": ()}, "MessageHeader/To", {Level.STRICT, Level.AXIS}),
    ({"document_id": ""}, "MessageHeader/DocumentId", {Level.STRICT, Level.AXIS}),
    ({"subject": ""}, "MessageHeader/Subject", {Level.STRICT, Level.AXIS}),
    ({"code_number": ""}, "MessageHeader/Code/CodeNumber", {Level.STRICT}),
    ({"promulgation_date": None}, "MessageHeader/PromulgationInfo/PromulgationDate", {Level.STRICT}),
    ({"document_id": "", "code_number": ""}, "MessageHeader/DocumentId", set(Level)),
]


@pytest.mark.parametrize(("change", "element", "levels"), MISSING)
@pytest.mark.parametrize("level", list(Level))
def test_what_is_missing(change: dict[str, object], element: str, levels: set[Level], level: Level) -> None:
    assert (("edxml.missing", element) in found(edxml.document(**change), level)) == (level in levels)


CODES = [
    ({"document_type": DocumentType(18)}, "MessageHeader/DocumentType/Type"),
    ({"other_info": OtherInfo(priority=5)}, "MessageHeader/OtherInfo/Priority"),
    ({"steering_type": 0}, "MessageHeader/SteeringType"),
    ({"business": Business(4)}, "TraceHeaderList/Bussiness/BussinessDocType"),
]


@pytest.mark.parametrize(("change", "element"), CODES)
def test_codes_of_no_list(change: dict[str, object], element: str) -> None:
    assert found(edxml.document(**change)) == [("edxml.unknown-code", element)]


TOP = "TraceHeaderList/Bussiness"
BUSINESS = [
    (Business(1), "edxml.missing", f"{TOP}/BussinessDocReason"),
    (Business(1, "r"), "edxml.missing", f"{TOP}/DocumentId"),
    (
        Business(2, document_info=BusinessDocumentInfo(document_info=True)),
        "edxml.missing",
        f"{TOP}/DocumentId",
    ),
    (Business(2, document_id="x"), "edxml.update-of-nothing", f"{TOP}/BussinessDocumentInfo"),
    (
        Business(2, document_id="x", document_info=BusinessDocumentInfo(document_receiver=True)),
        "edxml.receivers-unlisted",
        f"{TOP}/BussinessDocumentInfo/ReceiverList",
    ),
    (
        Business(
            2,
            document_id="x",
            document_info=BusinessDocumentInfo(document_receiver=True, receiver_list=(Receiver("H9", 7),)),
        ),
        "edxml.unknown-code",
        f"{TOP}/BussinessDocumentInfo/ReceiverList/Receiver/ReceiverType",
    ),
    (Business(3), "edxml.missing", f"{TOP}/ReplacementInfoList"),
    (
        Business(3, replacement_info_list=(ReplacementInfo("x"), ReplacementInfo(""))),
        "edxml.missing",
        f"{TOP}/ReplacementInfoList/ReplacementInfo[2]/DocumentId",
    ),
]


@pytest.mark.parametrize(("business", "finding", "element"), BUSINESS)
def test_what_each_business_needs(business: Business, finding: str, element: str) -> None:
    assert (finding, element) in found(edxml.document(business=business))


def test_a_recall_may_name_its_document_in_response_for() -> None:
    header = edxml.document(business=Business(1, "r"), response_for=(ResponseFor(document_id="x"),))
    assert found(header) == []


@pytest.mark.parametrize("field", ["organ_id", "code", "document_id", "promulgation_date"])
def test_a_status_must_name_its_document_completely(field: str) -> None:
    header = edxml.status()
    header = dataclasses.replace(
        header, response_for=dataclasses.replace(header.response_for, **{field: None})
    )
    assert [item for item, _ in found(header, Level.AXIS)] == ["edxml.missing"]
    assert found(header, Level.LENIENT) == []


def test_a_status_without_document_code_or_time() -> None:
    empty = edxml.status(status_code="", response_for=ResponseFor(), timestamp=None)
    assert {element for _, element in found(empty, Level.LENIENT)} == {
        "MessageHeader/StatusCode",
        "MessageHeader/ResponseFor/DocumentId",
    }
    assert ("edxml.missing", "MessageHeader/Timestamp") in found(empty)
    assert found(edxml.status(status_code="999"), Level.AXIS) == [
        ("edxml.unknown-code", "MessageHeader/StatusCode")
    ]


def test_oddities_count_only_where_the_standard_is_asked() -> None:
    package = read_package(b"1212" + packed(edxml.status()), folder=None)
    strict, axis = (validate_package(package, level=level) for level in (Level.STRICT, Level.AXIS))
    assert [item.id for item in strict.errors] == ["edxml.leading-junk"]
    assert axis.is_valid
    assert [item.id for item in axis.warnings] == ["edxml.leading-junk"]


def packed(header: DocumentHeader | StatusHeader, dialect: Dialect = VNPT) -> bytes:
    stream = io.BytesIO()
    files = edxml.attachments() if isinstance(header, DocumentHeader) else []
    write_package(header, files, stream, dialect=dialect)
    return stream.getvalue()


WRITTEN = [
    *(
        edxml.document(business=business)
        for business in (Business.new(), edxml.updating(), edxml.replacing())
    ),
    edxml.document(business=Business.recall(edxml.DOCUMENT_ID, reason="TEST")),
    edxml.full_document(),
    *(edxml.status(code) for code in StatusCode),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("header", WRITTEN)
def test_what_is_written_in_any_dialect_is_valid_by_the_standard(
    header: DocumentHeader | StatusHeader, dialect: str
) -> None:
    report = validate_package(read_package(packed(header, DIALECTS[dialect]), folder=None))
    assert report.errors == ()
    short = dialect == "bkav" and isinstance(header, StatusHeader) and str(header.status_code).startswith("0")
    informed = ["edxml.unpadded-status"] if short else []
    assert [item.id for item in report.warnings] == informed


def test_an_integer_status_is_the_habit_of_one_holder_only() -> None:
    content = packed(edxml.status()).replace(b"<edXML:StatusCode>03<", b"<edXML:StatusCode>3<")
    report = validate_package(read_package(content, folder=None))
    assert [(item.id, item.element) for item in report.errors] == [
        ("edxml.unpadded-status", "MessageHeader/StatusCode")
    ]


def test_a_decorative_signature_is_no_fault() -> None:
    signature = b"<Signature><SignatureValue>x</SignatureValue></Signature></edXML:edXMLHeader>"
    header = "<edXML:PromulgationDate>2026/11/20</edXML:PromulgationDate>"
    content = edxml.package(
        edxml.attached("a.pdf", edxml.PDF),
        header=f"<edXML:PromulgationInfo>{header}</edXML:PromulgationInfo>",
    ).replace(b"</edXML:edXMLHeader>", signature)
    report = validate_package(read_package(content, folder=None))
    assert report.errors == ()
    assert [item.id for item in report.warnings] == ["edxml.signature-decorative"]


def test_a_document_without_a_file_is_not_valid_for_the_axis() -> None:
    package = read_package(edxml.package(), folder=None)
    assert [item.element for item in validate_package(package, level=Level.AXIS).errors] == [
        "AttachmentEncoded/Attachment"
    ]
    assert validate_package(package, level=Level.LENIENT).is_valid


def test_a_report_is_no_truth_value() -> None:
    report = validate_header(edxml.document())
    with pytest.raises(TypeError):
        bool(report)
    report.raise_for_status()
    with pytest.raises(PackageError) as caught:
        validate_header(edxml.document(subject="")).raise_for_status()
    assert caught.value.code == "edxml.missing"
    assert ValidationReport(Level.AXIS, ()).is_valid
