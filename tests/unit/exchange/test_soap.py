"""The envelopes, messages and reports of the eDoc SOAP service, without a network."""

import dataclasses
import inspect
import io
import tracemalloc

import pytest
import zeep
import zeep.exceptions
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import edxml
from vnedoc._internal.multipart import MultipartError, MultipartReader, parse_content_type
from vnedoc.errors import PackageError
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.blocks import document_blocks, key_block, status_block
from vnedoc.exchange._soap.description import description
from vnedoc.exchange._soap.envelope import (
    EnvelopeError,
    EnvelopeLimits,
    FaultCode,
    SoapFault,
    SoapVersion,
    escaped,
    parse_envelope,
    wrapped,
)
from vnedoc.exchange._soap.message import (
    AttachmentMismatchError,
    MessageParts,
    document_message,
    document_of,
    status_of,
    write_document,
)
from vnedoc.exchange._soap.names import OperationName
from vnedoc.exchange._soap.report import Report
from vnedoc.exchange.connectors import _bkav_soap_zeep
from vnedoc.exchange.connectors._bkav_soap_answers import fault_error, report_error
from vnedoc.exchange.connectors._bkav_soap_zeep import AnswerError, SmallCalls
from vnedoc.exchange.connectors.base import Fault, fault_of
from vnedoc.exchange.package import BKAV, NET, VNPT, read_package, write_package

S11, S12 = names.SOAP11, names.SOAP12
VERSIONS = pytest.mark.parametrize("version", SoapVersion)


def parsed(text, **options):
    return parse_envelope([text.encode() if isinstance(text, str) else text], **options)


def envelope(body, *, soap=S11, header=""):
    return f'<s:Envelope xmlns:s="{soap}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'


# Envelopes


@VERSIONS
def test_an_envelope_is_read(version):
    read = parsed(envelope("<A><B>1</B></A>", soap=version.value, header='<H xmlns="urn:x"/>'))
    assert read.version is version
    assert [(node.name, node.namespace) for node in read.header] == [("H", "urn:x")]
    assert read.content is not None
    assert read.content.name == "A"
    assert read.fault() is None


REFUSED = {
    "nothing": ("", "not-xml"),
    "text": ("TEST", "not-xml"),
    "cut": (envelope("<A/>")[:-9], "not-xml"),
    "two roots": (envelope("<A/>") * 2, "not-xml"),
    "doctype": ('<!DOCTYPE a [<!ENTITY b "c">]>' + envelope("<A>&b;</A>"), "doctype"),
    "external entity": ('<!DOCTYPE a SYSTEM "file:///etc/passwd">' + envelope("<A/>"), "doctype"),
    "another root": ("<A/>", "no-envelope"),
    "no namespace": ("<Envelope><Body/></Envelope>", "version"),
    "another version": (envelope("<A/>", soap="http://www.w3.org/2001/12/soap-envelope"), "version"),
    "no body": (f'<s:Envelope xmlns:s="{S11}"><s:Header/></s:Envelope>', "bad-envelope"),
    "two bodies": (
        f'<s:Envelope xmlns:s="{S11}"><s:Body/><s:Body><A/></s:Body></s:Envelope>',
        "bad-envelope",
    ),
    "two headers": (
        f'<s:Envelope xmlns:s="{S11}"><s:Header/><s:Header/><s:Body/></s:Envelope>',
        "bad-envelope",
    ),
    "a body of the other version": (
        f'<s:Envelope xmlns:s="{S11}"><t:Body xmlns:t="{S12}"/></s:Envelope>',
        "bad-envelope",
    ),
    "deep": (envelope("<A>" * 100 + "</A>" * 100), "too-deep"),
    "wide": (envelope("<A/>" * 60_000), "too-many-elements"),
    "attributes": (
        envelope("<A " + " ".join(f"a{number}='1'" for number in range(40)) + "/>"),
        "too-many-attributes",
    ),
    "long": (envelope(f"<A>{'x' * 5_000_000}</A>"), "too-large"),
    "long attribute": (envelope(f'<A a="{"x" * 5_000_000}"/>'), "too-large"),
}


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_envelope_is_refused(text, code):
    with pytest.raises(EnvelopeError) as caught:
        parsed(text)
    assert caught.value.code == code
    expected = FaultCode.VERSION_MISMATCH if code == "version" else FaultCode.CLIENT
    assert caught.value.fault is expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [
                    f'<s:Envelope xmlns:s="{S11}">'.encode(),
                    *(b"<s:Body>", b"</s:Body>", b"<s:Header>", b"</s:Header>", b"</s:Envelope>", b"<A/>"),
                    *(b"<s:Fault>", b"</s:Fault>", b"<Status>", b"</Status>", b"<!DOCTYPE a>", b"<?a b?>"),
                ]
            ),
        ),
        max_size=12,
    )
)
def test_any_bytes_are_an_envelope_or_refused(pieces):
    rows = []
    try:
        parse_envelope(pieces, row="Status", on_row=rows.append).fault()
    except EnvelopeError as error:
        assert error.code


def test_rows_are_handed_over_and_not_kept():
    rows = []
    text = envelope("<L>" + "".join(f"<Row><A>{number}</A></Row>\n" for number in range(100)) + "</L>")
    read = parsed(text, row="Row", on_row=lambda node: rows.append(node.children[0].text))
    assert rows == [str(number) for number in range(100)]
    assert read.content is not None
    assert read.content.pieces == []


def test_memory_does_not_grow_with_the_rows():
    def chunks():
        yield f'<s:Envelope xmlns:s="{S11}"><s:Body><L>'.encode()
        for _ in range(2000):
            yield b"<Row><A>TEST</A></Row>\n" * 50
        yield b"</L></s:Body></s:Envelope>"

    count = 0

    def take(_node):
        nonlocal count
        count += 1

    tracemalloc.start()
    try:
        parse_envelope(chunks(), row="Row", on_row=take)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 1024 * 1024


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<L>" + "<Row/>" * 11 + "</L>", "too-many-rows"),
        (f"<L><Row>{'x' * 2000}</Row></L>", "too-large"),
        (f"<L><Row>{'<A/>' * 60}</Row></L>", "too-large"),
        (f"<L>{'x' * 3000}</L>", "too-large"),
    ],
)
def test_rows_have_limits(text, code):
    limits = EnvelopeLimits(max_rows=10, max_row_chars=1000, max_text_chars=2500, max_elements=50)
    with pytest.raises(EnvelopeError) as caught:
        parsed(envelope(text), limits=limits, row="Row", on_row=lambda _node: None)
    assert caught.value.code == code


# Faults


@VERSIONS
@pytest.mark.parametrize("code", FaultCode)
def test_a_fault_is_read_as_it_was_written(version, code):
    fault = SoapFault(code, 'TEST <&> "dấu"', "test-code")
    read = parsed(fault.to_envelope(version))
    assert read.version is version
    assert read.fault() == fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<s:Fault/>", SoapFault("", "")),
        ("<s:Fault><faultcode>ns:Server.Busy</faultcode></s:Fault>", SoapFault(FaultCode.SERVER, "")),
        (
            "<s:Fault><faultcode>9999</faultcode><faultstring>T</faultstring><detail/></s:Fault>",
            SoapFault("9999", "T"),
        ),
    ],
)
def test_faults_of_others_may_lack_parts(text, expected):
    assert parsed(envelope(text)).fault() == expected


@pytest.mark.parametrize(
    ("code", "status", "retry_after", "expected"),
    [
        (FaultCode.CLIENT, 500, None, Fault.NEVER),
        (FaultCode.VERSION_MISMATCH, 500, None, Fault.NEVER),
        (FaultCode.MUST_UNDERSTAND, 500, None, Fault.NEVER),
        (FaultCode.SERVER, 500, None, Fault.LATER),
        (FaultCode.SERVER, 200, None, Fault.LATER),
        (FaultCode.SERVER, 503, "7", Fault.BUSY),
        (FaultCode.CLIENT, 429, None, Fault.BUSY),
        (FaultCode.CLIENT, 401, None, Fault.OURS),
        ("9999", 500, None, Fault.LATER),
        ("", 200, None, Fault.LATER),
    ],
)
def test_faults_are_sorted(code, status, retry_after, expected):
    error = fault_error("TEST", SoapFault(code, "TEST"), status=status, retry_after=retry_after)
    assert fault_of(error) is expected


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        # A wrong token: the platform gives no reason.
        ((), Fault.OURS),
        ((("Permission", "T"),), Fault.OURS),
        ((("M.CheckPermission", "OrganId or Token is required"),), Fault.OURS),
        ((("M.CheckSignature", "Error get KeyInfo"),), Fault.OURS),
        ((("N.MessageHeader.Subject", "Subject can not be null"),), Fault.NEVER),
        ((("M.Exist", "Document is exist on ESB !!!!"),), Fault.NEVER),
        ((("M.GetDocumentCheckAllow", "Not find document"),), Fault.NEVER),
        # An exception inside the platform, under the code of the operation.
        ((("M.SendDocument", "Error send document to esb error trace[...]"),), Fault.LATER),
        ((("M.GetTraces", "Error when process get traces null"),), Fault.LATER),
    ],
)
def test_reports_are_sorted(errors, expected):
    error = report_error("TEST", Report(False, errors))
    assert error is not None
    assert fault_of(error) is expected
    assert report_error("TEST", Report(True, errors)) is None


# Headers and statuses


@pytest.mark.parametrize(
    "header",
    edxml.documents(),
)
@VERSIONS
def test_a_header_travels_as_blocks(header, version):
    content = wrapped(version, b"<edXML:Manifest/>", header=document_blocks(header) + key_block("A", "B"))
    found, attachments = document_of(parsed(content), [])
    assert attachments == ()
    # The date as a text is noted on reading; all that was said is there, and nothing else.
    assert dataclasses.replace(found, promulgation_date_text=None) == dataclasses.replace(
        header, promulgation_date_text=None
    )


def test_every_element_that_the_platform_counts_is_there():
    read = parsed(wrapped(SoapVersion.V11, b"<a/>", header=document_blocks(edxml.document(trace=()))))
    assert [node.name for node in read.header] == ["MessageHeader", "TraceHeaderList", "ErrorList"]
    message = read.header[0]
    for parent, children in names_required().items():
        for node in [message, *message.children]:
            if node.name == parent:
                assert {child.name for child in node.children} >= set(children)
    assert "TraceHeader" in {node.name for node in read.header[1].children}


def names_required():
    from vnedoc.exchange._soap.blocks import REQUIRED

    return REQUIRED


@pytest.mark.parametrize("qualified", [True, False])
def test_a_status_travels(qualified):
    status = edxml.status()
    read = parsed(wrapped(SoapVersion.V11, status_block(status, qualified=qualified)))
    assert read.content is not None
    assert read.content.namespace == (names.NAMESPACE if qualified else "")
    assert status_of(read.content) == status


@settings(max_examples=100, deadline=None)
@given(subject=st.text(max_size=60))
def test_any_subject_travels(subject):
    content = wrapped(
        SoapVersion.V11, b"<edXML:Manifest/>", header=document_blocks(edxml.document(subject=subject))
    )
    found, _attachments = document_of(parsed(content), [])
    # A line end of another kind becomes a line feed, as in every XML document.
    clean = parsed(envelope(f"<A>{escaped(subject.strip())}</A>")).content.text
    assert found.subject == clean


def test_the_platforms_own_spelling_is_read():
    blocks = (
        "<e:MessageHeader><e:From><e:OrganId>H99</e:OrganId><e:OrganInCharge>TỈNH TEST</e:OrganInCharge></e:From>"
        "<e:To><e:OrganId>H99.1</e:OrganId></e:To><e:DocumentId>1</e:DocumentId>"
        "<e:PromulgationInfo><e:PromulgationDate>20/11/2026</e:PromulgationDate></e:PromulgationInfo>"
        "</e:MessageHeader><e:TraceHeaderList><e:TraceHeader><e:OrganId>H99</e:OrganId>"
        "<e:Timestamp>20/11/2026 08:00:00</e:Timestamp></e:TraceHeader><e:Business>"
        "<e:BusinessDocType>2</e:BusinessDocType></e:Business></e:TraceHeaderList>"
    )
    text = envelope("<e:Manifest/>", header=blocks).replace(
        "<s:Envelope", f'<s:Envelope xmlns:e="{names.NAMESPACE}"'
    )
    header, _attachments = document_of(parsed(text), [])
    assert header.sender.organization_in_charge == "TỈNH TEST"
    assert header.business.kind == 2
    assert str(header.promulgation_date) == "2026-11-20"
    assert header.unknown == ()


# Messages


def take_apart(message, folder, *, sniff=False):
    _kind, parameters = parse_content_type(message.content_type)
    parts = MessageParts(
        folder / "message", start=parameters["start"], max_envelope_bytes=100_000, sniff=sniff
    )
    reader = MultipartReader(parameters["boundary"], parts)
    body = b"".join(message.body)
    assert len(body) == message.body.size
    reader.feed(body)
    reader.finish()
    return parts


@pytest.mark.parametrize("dialect", [VNPT, NET, BKAV], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("encoded", [True, False])
@VERSIONS
def test_a_package_travels_as_a_message(tmp_path, dialect, encoded, version):
    write_package(edxml.full_document(), edxml.attachments(), tmp_path / "a.edxml", dialect=dialect)
    package = read_package(tmp_path / "a.edxml", folder=tmp_path / "files")
    message = document_message(package, version=version, encoded=encoded)
    parts = take_apart(message, tmp_path, sniff=encoded)
    read = parsed(parts.envelope)
    assert read.version is version
    header, attachments = document_of(read, parts.parts)
    stream = io.BytesIO()
    write_document(header, attachments, stream)
    again = read_package(stream.getvalue(), folder=None)
    assert again.header == package.header
    assert [(item.name, item.sha256) for item in again.attachments] == [
        (item.name, item.sha256) for item in package.attachments
    ]


def test_the_same_message_gives_the_same_package(tmp_path):
    write_package(edxml.document(), edxml.attachments(), tmp_path / "a.edxml")
    package = read_package(tmp_path / "a.edxml", folder=tmp_path / "files")
    written = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        parts = take_apart(document_message(package, version=SoapVersion.V11), tmp_path / str(number))
        stream = io.BytesIO()
        write_document(*document_of(parsed(parts.envelope), parts.parts), stream)
        written.append(stream.getvalue())
    assert written[0] == written[1]


def reference(cid="a", name="a.pdf"):
    links = f'xmlns:x="http://www.w3.org/1999/xlink" x:href="cid:{cid}"'
    return f"<e:Reference {links}><e:AttachmentName>{name}</e:AttachmentName></e:Reference>"


@pytest.mark.parametrize(
    ("references", "ids"),
    [((), ("a",)), (("a",), ()), (("a", "a"), ("a",)), (("a",), ("b",)), (("a",), ("a", "b"))],
)
def test_manifest_and_parts_must_go_together(tmp_path, references, ids):
    from vnedoc.exchange._soap.message import ReceivedPart

    inside = "".join(reference(cid) for cid in references)
    text = wrapped(
        SoapVersion.V11,
        f'<e:Manifest xmlns:e="{names.NAMESPACE}">{inside}</e:Manifest>'.encode(),
        header=document_blocks(edxml.document()),
    )
    parts = [ReceivedPart(cid, "application/pdf", tmp_path / cid) for cid in ids]
    with pytest.raises(AttachmentMismatchError):
        document_of(parsed(text), parts)


@pytest.mark.parametrize("header", ["", "<e:MessageHeader/>", "<x/>"])
def test_a_message_without_a_header_is_no_document(header):
    text = envelope(
        "<Manifest/>", header=header.replace("<e:", f'<e:MessageHeader xmlns:e="{names.NAMESPACE}"/><e:')
    )
    text = text.replace("<e:MessageHeader/>", "")
    with pytest.raises(PackageError):
        document_of(parsed(text), [])


MIME = {
    "two parts of one id": b"Content-ID: <a>\r\n\r\nx\r\n--b\r\nContent-ID: <a>\r\n\r\nx",
    "an attachment without an id": b"Content-ID: <r>\r\n\r\n<x/>\r\n--b\r\n\r\nx",
    "an encoded envelope": b"Content-ID: <r>\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==",
    "an encoding of its own": b"Content-ID: <a>\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nx",
    "base64 that is none": b"Content-ID: <a>\r\nContent-Transfer-Encoding: base64\r\n\r\n****",
    "an envelope that is too large": b"Content-ID: <r>\r\n\r\n" + b"x" * 2000,
}


@pytest.mark.parametrize("content", MIME.values(), ids=MIME)
def test_parts_that_deceive_are_refused(tmp_path, content):
    parts = MessageParts(tmp_path / "m", start="<r>", max_envelope_bytes=1000, sniff=False)
    reader = MultipartReader("b", parts)
    try:
        with pytest.raises(MultipartError):
            reader.feed(b"--b\r\n" + content + b"\r\n--b--\r\n")
    finally:
        parts.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"JVBERi0xLjc=", b"%PDF-1.7"),
        (b"JVBE\r\nRi0x\r\nLjc=\r\n", b"%PDF-1.7"),
        (b"%PDF-1.7", b"%PDF-1.7"),
        (b"PK\x03\x04abc", b"PK\x03\x04abc"),
    ],
)
def test_base64_that_nobody_announced_is_told_by_its_letters(tmp_path, content, expected):
    parts = MessageParts(tmp_path / "m", start=None, max_envelope_bytes=1000, sniff=True)
    reader = MultipartReader("b", parts)
    reader.feed(b"--b\r\n\r\n<x/>\r\n--b\r\nContent-ID: <a>\r\n\r\n" + content + b"\r\n--b--\r\n")
    reader.finish()
    assert parts.parts[0].path.read_bytes() == expected


# The description, and zeep


def test_zeep_reads_the_description_and_loads_nothing_else():
    strict = zeep.Settings(forbid_dtd=True, forbid_entities=True, forbid_external=True)
    client = zeep.Client(
        io.BytesIO(description("http://127.0.0.1/a?b&c")),
        settings=strict,
        transport=_bkav_soap_zeep._NoTransport(),
    )
    for port in ("EdocSoap11Port", "EdocSoap12Port"):
        service = client.bind("EdocService", port)
        assert set(service._operations) == {operation.value for operation in OperationName}
        assert service._binding_options["address"] == "http://127.0.0.1/a?b&c"


@VERSIONS
def test_zeep_writes_what_the_platform_reads(version):
    calls = SmallCalls(version)
    read = parsed(calls.request(OperationName.GET_PENDING, {"OrganId": "H99", "Token": "a<b"}))
    assert read.version is version
    assert read.content is not None
    # The platform looks for elements without a namespace.
    assert {(node.name, node.namespace) for node in [read.content, *read.content.children]} == {
        ("GetPendingDocumentIdsRequest", ""),
        ("OrganId", ""),
        ("Token", ""),
    }


@VERSIONS
def test_zeep_reads_ids(version):
    body = (
        "<e:GetPendingDocumentIdsResponse><e:DocumentIds><e:DocumentId>1</e:DocumentId><e:DocumentId>2</e:DocumentId>"
        "</e:DocumentIds></e:GetPendingDocumentIdsResponse>"
    )
    text = wrapped(version, body.replace("e:", "edXML:").encode())
    assert SmallCalls(version).ids(OperationName.GET_PENDING, text) == ["1", "2"]


@pytest.mark.parametrize(
    "body",
    [
        b"<edXML:GetPendingDocumentIdsResponse><edXML:Other/></edXML:GetPendingDocumentIdsResponse>",
        b"",
    ],
)
def test_what_zeep_cannot_read_is_one_error(body):
    text = wrapped(SoapVersion.V11, body)
    with pytest.raises(AnswerError):
        SmallCalls(SoapVersion.V11).ids(OperationName.GET_PENDING, text)


def zeep_errors(kind=zeep.exceptions.Error):
    yield kind
    for inner in kind.__subclasses__():
        yield from zeep_errors(inner)


@pytest.mark.parametrize("kind", sorted(set(zeep_errors()), key=lambda kind: kind.__name__))
def test_every_error_of_zeep_is_translated(kind, monkeypatch):
    calls = SmallCalls(SoapVersion.V11)
    needed = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    error = kind(*["TEST"] * len(needed))

    def fail(_envelope):
        raise error

    described = calls._service._binding.get("GetPendingDocumentIds")
    monkeypatch.setattr(type(described), "process_reply", lambda _self, envelope: fail(envelope))
    with pytest.raises(AnswerError):
        calls.ids(OperationName.GET_PENDING, b"<a/>")
