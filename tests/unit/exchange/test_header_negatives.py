"""Headers that are wrong, field by field and dialect by dialect, each with the finding that must come of it.

Every text of the model is tried missing, empty, blank, too long, of the wrong kind, in the wrong case and with odd
letters; the values are put into the XML that each dialect writes, as a careless sender would.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import re

import pytest

from tests import edxml
from vnedoc.errors import PackageError
from vnedoc.exchange.models import DocumentHeader, StatusHeader
from vnedoc.exchange.package import DIALECTS, read_package, write_package
from vnedoc.exchange.validation import Level, validate_package


@dataclasses.dataclass(frozen=True)
class Field:
    """One element: where it is, how long it may be, and what kind of value it has."""

    path: str
    limit: int | None = None
    required: bool = False
    kind: str = "text"
    status: bool = False


FIELDS = [
    Field("MessageHeader/From/OrganId", 35, required=True, kind="code"),
    Field("MessageHeader/From/OrganName", 200, required=True),
    Field("MessageHeader/From/OrganizationInCharge", 500),
    Field("MessageHeader/From/OrganAdd", 500),
    Field("MessageHeader/From/Email", 100),
    Field("MessageHeader/To/OrganId", 35, required=True, kind="code"),
    Field("MessageHeader/To/OrganName", 200, required=True),
    Field("MessageHeader/To[2]/OrganId", 35, required=True, kind="code"),
    Field("MessageHeader/DocumentId", required=True),
    Field("MessageHeader/Code/CodeNumber", 11, required=True),
    Field("MessageHeader/Code/CodeNotation", 30, required=True),
    Field("MessageHeader/PromulgationInfo/Place", 50),
    Field("MessageHeader/PromulgationInfo/PromulgationDate", required=True, kind="date"),
    Field("MessageHeader/DocumentType/Type", kind="number"),
    Field("MessageHeader/DocumentType/TypeDetail", kind="number"),
    Field("MessageHeader/DocumentType/TypeName", 100),
    Field("MessageHeader/Subject", 500, required=True),
    Field("MessageHeader/Content", 500),
    Field("MessageHeader/SignerInfo/Competence", 100),
    Field("MessageHeader/SignerInfo/Position", 100),
    Field("MessageHeader/SignerInfo/FullName", 50),
    Field("MessageHeader/DueDate", kind="date"),
    Field("MessageHeader/ToPlaces/Place", 150),
    Field("MessageHeader/OtherInfo/Priority", kind="number"),
    Field("MessageHeader/OtherInfo/SphereOfPromulgation", 100),
    Field("MessageHeader/OtherInfo/PromulgationAmount", 3, kind="number"),
    Field("MessageHeader/OtherInfo/PageAmount", 4, kind="number"),
    Field("MessageHeader/OtherInfo/Direction", kind="flag"),
    Field("MessageHeader/ResponseFor/OrganId", 35),
    Field("MessageHeader/SteeringType", kind="number"),
    Field("TraceHeaderList/TraceHeader/Timestamp", kind="date"),
    Field("TraceHeaderList/Bussiness/BussinessDocType", kind="number"),
    Field("TraceHeaderList/Bussiness/Paper", kind="flag"),
    Field("MessageHeader/From/OrganId", 35, required=True, kind="code", status=True),
    Field("MessageHeader/From/OrganName", 200, required=True, status=True),
    Field("MessageHeader/ResponseFor/OrganId", 35, required=True, status=True),
    Field("MessageHeader/ResponseFor/Code", required=True, status=True),
    Field("MessageHeader/ResponseFor/DocumentId", required=True, status=True),
    Field("MessageHeader/ResponseFor/PromulgationDate", required=True, status=True),
    Field("MessageHeader/StatusCode", required=True, kind="status", status=True),
    Field("MessageHeader/Timestamp", required=True, kind="date", status=True),
]

# May be there more than once.
REPEATED = frozenset({"Place"})
# A value for an element, and what must be found. "*" stands for the path of the element.
BLANK = ("", " ", "\n\t ")
WRONG = {
    "code": [
        ("h99.02", "edxml.organ-id-form"),
        ("H99..02", "edxml.organ-id-form"),
        ("H99 .02", "edxml.organ-id-form"),
        ("Ｈ99.02", "edxml.organ-id-form"),
        ("H99.02&#8203;", "edxml.organ-id-form"),
        ("H99.ĐB", "edxml.organ-id-form"),
        ("H٩٩", "edxml.organ-id-form"),
    ],
    "date": [
        ("hôm qua", "edxml.not-a-date"),
        ("2026/13/01", "edxml.not-a-date"),
        ("2026/02/30", "edxml.not-a-date"),
        ("20261120", "edxml.not-a-date"),
        ("٢٠٢٦/11/20", "edxml.not-a-date"),
        ("2026/11/20 25:00:00", "edxml.not-a-date"),
        ("20/11/2026", "edxml.date-form"),
        ("2026-11-20", "edxml.date-form"),
        ("2026/11/20T08:00:00Z", "edxml.date-form"),
    ],
    "number": [
        ("-1", "edxml.not-a-number"),
        ("1.0", "edxml.not-a-number"),
        ("một", "edxml.not-a-number"),
        ("١", "edxml.not-a-number"),
        ("１", "edxml.not-a-number"),
        ("9999999999", "edxml.not-a-number"),
        ("0x1", "edxml.not-a-number"),
    ],
    "flag": [("2", "edxml.unknown-code"), ("có", "edxml.unknown-code"), ("１", "edxml.unknown-code")],
    "status": [
        ("07", "edxml.unknown-code"),
        ("3", "edxml.unpadded-status"),
        ("999", "edxml.unknown-code"),
        ("ba", "edxml.unknown-code"),
        ("٠٣", "edxml.unknown-code"),
    ],
    "text": [],
}
CODED = {
    "MessageHeader/DocumentType/Type": "3",
    "MessageHeader/OtherInfo/Priority": "5",
    "MessageHeader/SteeringType": "0",
    "TraceHeaderList/Bussiness/BussinessDocType": "4",
}


def cases(field: Field) -> list[tuple[str, str | None, str]]:
    """Return what is tried with a field: a label, the value (``None`` takes the element away), the finding."""
    found: list[tuple[str, str | None, str]] = []
    if field.required:
        found.append(("missing", None, "edxml.missing"))
        found += [(f"blank {number}", value, "edxml.missing") for number, value in enumerate(BLANK)]
    if field.limit is not None:
        longest = "9" * (field.limit + 1) if field.kind == "number" else "T" * (field.limit + 1)
        found.append(("too long", longest, "edxml.too-long"))
        if field.kind == "text":
            # Letters outside of the first plane are one character each, and so are combining marks.
            found.append(("too long, odd", "𝒯" * (field.limit + 1), "edxml.too-long"))
    found += [
        (f"wrong {number}", value, finding) for number, (value, finding) in enumerate(WRONG[field.kind])
    ]
    if field.path in CODED:
        found.append(("no code", CODED[field.path], "edxml.unknown-code"))
    if field.path.rpartition("/")[2] not in REPEATED:
        found.append(("twice", "@twice", "edxml.duplicate-element"))
    found.append(("inside", "@inside", "edxml.unknown-element"))
    return found


CASES = [
    pytest.param(
        dialect, field, value, finding, id=f"{dialect}-{'s-' if field.status else ''}{field.path}-{label}"
    )
    for dialect in DIALECTS
    for field in FIELDS
    for label, value, finding in cases(field)
]


@functools.cache
def package(dialect: str, *, status: bool) -> str:
    stream = io.BytesIO()
    header: DocumentHeader | StatusHeader = edxml.status() if status else edxml.full_document()
    files = [] if status else edxml.attachments()[:1]
    write_package(header, files, stream, dialect=DIALECTS[dialect])
    return stream.getvalue().decode()


def put(content: str, path: str, value: str | None) -> str:
    """Put a value into the element at a path, or take the element away."""
    start, end = 0, len(content)
    for step in path.split("/"):
        name, _, index = step.removesuffix("]").partition("[")
        if name == "MessageHeader" and "<edXML:MessageHeader" not in content:
            name = "Status"
        pattern = rf"^( *)<edXML:{name}(?: [^>]*)?>.*?</edXML:{name}>"
        every = list(re.finditer(pattern, content[start:end], re.DOTALL | re.MULTILINE))
        # Elements of the same name may stand deeper inside.
        least = min(len(match[1]) for match in every)
        match = [match for match in every if len(match[1]) == least][int(index or 1) - 1]
        start, end = start + match.end(1), start + match.end()
    element = content[start:end]
    opening, _, rest = element.partition(">")
    name = opening[1:].partition(" ")[0]
    inner = rest.rpartition("</")[0]
    if value is None:
        new = ""
    elif value == "@twice":
        new = element + element
    elif value == "@inside":
        new = f"{opening}>{inner}<edXML:Odd>x</edXML:Odd></{name}>"
    else:
        new = f"{opening}>{value}</{name}>"
    return content[:start] + new + content[end:]


def test_there_are_enough() -> None:
    assert len(CASES) >= 300
    assert {case.values[1].kind for case in CASES} == set(WRONG)


@pytest.mark.parametrize(("dialect", "field", "value", "finding"), CASES)
def test_a_wrong_header(dialect: str, field: Field, value: str | None, finding: str) -> None:
    clean = package(dialect, status=field.status)
    # The eDoc platform writes status codes without the zero that others have: worth saying, and no fault.
    odd = [("edxml.unpadded-status", "Status/StatusCode")] if dialect == "bkav" and field.status else []
    first = validate_package(read_package(clean.encode(), folder=None))
    assert first.errors == ()
    assert [(item.id, item.element) for item in first.warnings] == odd
    content = put(clean, field.path, value)
    assert content != clean or odd
    report = validate_package(read_package(content.encode(), folder=None), level=Level.STRICT)
    path = field.path
    if dialect == "bkav" and field.status:
        path = path.replace("MessageHeader", "Status")
    if value is None and path == "MessageHeader/StatusCode":
        # Without it nothing tells that this is a status, and a document needs much more.
        path = "MessageHeader/To"
    said = report.warnings if odd and finding == "edxml.unpadded-status" else report.errors
    about = {item.element for item in said if item.id == finding}
    assert about & {path, field.path}, [(item.id, item.element) for item in report.errors]
    for item in report.errors:
        assert item.line is not None
        assert item.text("vi")
        assert item.text("en")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.path)
@pytest.mark.parametrize("code", [1, 8, 11, 31])
def test_characters_that_xml_does_not_know(dialect: str, field: Field, code: int) -> None:
    content = put(package(dialect, status=field.status), field.path, f"a&#{code};b")
    with pytest.raises(PackageError) as caught:
        read_package(content.encode(), folder=None)
    assert caught.value.code == "edxml.not-xml"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("field", [field for field in FIELDS if field.kind == "text" and field.limit != 11])
def test_odd_letters_are_kept(dialect: str, field: Field) -> None:
    # Decomposed letters, a joiner, a letter beyond the first plane, a mark that turns the direction.
    odd = "e\u0302\u0323 \u200d 𝒯 \u202etxt"
    content = put(package(dialect, status=field.status), field.path, odd)
    package_ = read_package(content.encode(), folder=None)
    stream = io.BytesIO()
    again = package_.header
    files = [] if isinstance(again, StatusHeader) else edxml.attachments()[:1]
    write_package(again, files, stream, dialect=DIALECTS[dialect])
    assert odd.encode() in stream.getvalue()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.path)
def test_names_in_another_case_are_understood(dialect: str, field: Field) -> None:
    clean = package(dialect, status=field.status)
    name = field.path.rpartition("/")[2].partition("[")[0]
    content = clean.replace(f"<edXML:{name}>", f"<edXML:{name.lower()}>")
    content = content.replace(f"</edXML:{name}>", f"</edXML:{name.lower()}>")
    assert (
        read_package(content.encode(), folder=None).header == read_package(clean.encode(), folder=None).header
    )
