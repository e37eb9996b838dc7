"""What is written is read back the same, whatever it is; what is read ends with a result or one of our errors."""

from __future__ import annotations

import datetime
import io
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import edxml
from vnedoc.errors import PackageError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.header_files import header_from_dict, header_to_dict
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
from vnedoc.exchange.package import DIALECTS, read_package, write_package
from vnedoc.exchange.packing import clean_name
from vnedoc.exchange.validation import Level, validate_package

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

# Everything that XML can hold but for line ends, which it changes, and white space at the ends, which nobody keeps.
letters = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
text = st.text(letters, min_size=1, max_size=12).map(str.strip).filter(bool)
maybe = st.none() | text
code = st.text(string.ascii_uppercase + string.digits + ".", min_size=1, max_size=35)
numbers = st.integers(0, 10**9 - 1)
moments = st.integers(157_852_800, 253_370_764_800).map(
    lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.UTC)
)
dates = st.dates(datetime.date(1900, 1, 1))
organizations = st.builds(Organization, code, text, maybe, maybe, maybe, maybe, maybe, maybe)
named = st.builds(ResponseFor, maybe, maybe, maybe, maybe)
staff = st.none() | st.builds(StaffInfo, text, maybe, maybe, maybe, maybe, maybe)
orders = st.one_of(
    st.builds(Business, st.just(0), maybe, maybe, paper=st.none() | st.booleans(), staff_info=staff),
    st.builds(Business.recall, text, reason=text),
    st.builds(
        Business.update,
        text,
        document_info=st.builds(
            BusinessDocumentInfo,
            st.booleans(),
            st.just(value=True),
            st.lists(st.builds(Receiver, code, st.integers(0, 1)), min_size=1, max_size=3).map(tuple),
        ),
        reason=maybe,
    ),
    st.lists(
        st.builds(ReplacementInfo, text, st.lists(code, max_size=3).map(tuple)), min_size=1, max_size=3
    ).map(lambda replaced: Business.replace(*replaced)),
)
documents = st.builds(
    DocumentHeader,
    sender=organizations,
    recipients=st.lists(organizations, min_size=1, max_size=3).map(tuple),
    code_number=text,
    code_notation=text,
    document_id=text,
    promulgation_date=dates,
    subject=text,
    promulgation_place=maybe,
    promulgation_date_text=st.none(),
    document_type=st.builds(DocumentType, st.none() | numbers, st.none() | numbers, maybe),
    content=maybe,
    signer_info=st.none() | st.builds(SignerInfo, text, maybe, maybe),
    due_date=st.none() | dates,
    to_places=st.lists(text, max_size=3).map(tuple),
    other_info=st.builds(
        OtherInfo,
        st.none() | numbers,
        maybe,
        maybe,
        st.none() | numbers,
        st.none() | numbers,
        maybe,
        st.booleans(),
        maybe,
        st.lists(text, max_size=2).map(tuple),
    ),
    response_for=st.lists(named.filter(lambda item: item != ResponseFor()), max_size=3).map(tuple),
    steering_type=st.none() | numbers,
    response_for_task=st.lists(text, max_size=2).map(tuple),
    application_type=maybe,
    business=orders,
    trace=st.lists(st.builds(TraceHeader, maybe, moments), max_size=3).map(tuple),
    trace_list_id=maybe,
    trace_list_version=st.just("1.0"),
    trace_list_paper=st.none() | st.booleans(),
    errors=st.just(()),
    unknown=st.just(()),
)
statuses = st.builds(
    StatusHeader,
    sender=organizations,
    response_for=st.builds(ResponseFor, text, text, text, text),
    status_code=st.sampled_from(StatusCode),
    timestamp=moments,
    description=text,
    staff_info=staff,
    errors=st.just(()),
    unknown=st.just(()),
)
names = st.text(letters, min_size=1, max_size=20).map(lambda name: f"{clean_name(name)[:30]}.bin")
files = st.lists(
    st.builds(Attachment, names, st.binary(max_size=200), maybe),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item.name.lower(),
)


def written(header: DocumentHeader | StatusHeader, attachments: list[Attachment], dialect: str) -> bytes:
    stream = io.BytesIO()
    write_package(header, attachments, stream, dialect=DIALECTS[dialect])
    return stream.getvalue()


@pytest.mark.parametrize("dialect", DIALECTS)
@SETTINGS
@given(header=documents, attachments=files)
def test_a_document_comes_back(dialect: str, header: DocumentHeader, attachments: list[Attachment]) -> None:
    content = written(header, attachments, dialect)
    package = read_package(content, folder=None)
    assert package.header == header
    assert [(item.name, item.size) for item in package.attachments if not item.was_zipped] == [
        (item.name, len(item.content))  # type: ignore[arg-type] # all are bytes
        for item, found in zip(attachments, package.attachments, strict=True)
        if not found.was_zipped
    ]
    assert written(package.header, attachments, dialect) == content


@pytest.mark.parametrize("dialect", DIALECTS)
@SETTINGS
@given(header=statuses)
def test_a_status_comes_back(dialect: str, header: StatusHeader) -> None:
    content = written(header, [], dialect)
    package = read_package(content, folder=None)
    assert package.header == header
    assert written(package.header, [], dialect) == content


@SETTINGS
@given(header=documents | statuses)
def test_a_table_comes_back(header: DocumentHeader | StatusHeader) -> None:
    assert header_from_dict(header_to_dict(header)) == header


@pytest.mark.parametrize("dialect", DIALECTS)
@SETTINGS
@given(data=st.data())
def test_any_byte_may_be_wrong(
    dialect: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(written(edxml.full_document(), edxml.attachments(), dialect))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if change == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del content[place : place + data.draw(st.integers(1, 300))]
        elif change == "insert":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            content[place:place] = content[place : place + 500]
        if not content:
            break
    folder = tmp_path_factory.mktemp("any")
    try:
        package = read_package(bytes(content), folder=folder / "in")
    except PackageError:
        assert list(folder.iterdir()) == []
        return
    assert {path.parent for path in folder.rglob("*") if path.is_file()} <= {folder / "in"}
    for level in Level:
        for finding in validate_package(package, level=level).errors:
            assert finding.text("vi")


@SETTINGS
@given(content=st.binary(max_size=400))
def test_any_bytes(content: bytes) -> None:
    try:
        read_package(content, folder=None)
    except PackageError as exc:
        assert exc.text("vi")


@SETTINGS
@given(name=st.text(max_size=300))
def test_clean_names_are_clean(name: str) -> None:
    cleaned = clean_name(name)
    assert cleaned.isascii()
    assert 1 <= len(cleaned) <= 50
    assert Path(cleaned).name == cleaned
    assert clean_name(cleaned) == cleaned
