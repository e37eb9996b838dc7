"""The SOAP connector against a service that answers as it is told: what it sends, and what it makes of answers."""

import datetime
import http.server
import threading

import pytest

from tests import edxml
from vnedoc._internal.multipart import MultipartReader, parse_content_type
from vnedoc.errors import ConfigurationError, ConnectorError, CredentialError, InputError, RefusedError
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.blocks import document_blocks, key_block, status_block
from vnedoc.exchange._soap.envelope import (
    FaultCode,
    SoapFault,
    SoapVersion,
    child,
    child_text,
    parse_envelope,
    wrapped,
)
from vnedoc.exchange._soap.message import MessageParts
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import Fault, fault_of
from vnedoc.exchange.connectors.bkav_soap import BkavSoapConnector, BkavSoapOptions
from vnedoc.exchange.models import StatusHeader
from vnedoc.exchange.package import read_package, write_package
from vnedoc.exchange.states import TransportStatus

NOW = datetime.datetime(2026, 11, 21, 2, 0, tzinfo=datetime.UTC)
XML = "text/xml; charset=UTF-8"


class Service:
    """Answers requests one after the other as it is told, and keeps them; the last answer stays."""

    def __init__(self):
        self.answers, self.requests = [], []

    def say(self, body, *, status=200, kind=XML, **headers):
        self.answers.append((body, status, {"Content-Type": kind, **headers}))

    def next(self, headers, body):
        self.requests.append((headers, body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def asked(self, number=-1):
        headers, body = self.requests[number]
        return headers, parse_envelope([body])


@pytest.fixture
def service():
    service = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            content, status, headers = service.next(self.headers, body)
            if content is None:
                # The answer is lost on the way.
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        service.url = f"http://127.0.0.1:{server.server_port}/services/EdocService"
        yield service
        server.shutdown()


@pytest.fixture
def connector(service):
    with opened(service) as connector:
        yield connector


def opened(service, *, secret=lambda _: "TEST-TOKEN", organ_id="H99", **options):
    options = BkavSoapOptions(**options)
    return BkavSoapConnector(service.url, organ_id, secret=secret, options=options, clock=lambda: NOW)


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "a.edxml"
    write_package(edxml.document(), edxml.attachments(), path)
    return path


def answer(name, content, version=SoapVersion.V11):
    return wrapped(version, f"<edXML:{name}Response>{content}</edXML:{name}Response>".encode())


def report(success, *errors):
    rows = "".join(
        f"<edXML:Error><edXML:Code>{code}</edXML:Code><edXML:Description>{text}</edXML:Description></edXML:Error>"
        for code, text in errors
    )
    word = "true" if success else "false"
    return (
        f"<edXML:Report><edXML:IsSuccess>{word}</edXML:IsSuccess><edXML:ErrorList>{rows}</edXML:ErrorList>"
        "</edXML:Report>"
    )


YES = report(True)
SENT = answer("SendDocument", f"{YES}<edXML:DocumentId>4711</edXML:DocumentId>")
EXISTS = answer("SendDocument", report(False, ("M.Exist", "Document is exist on ESB !!!!")))
NO_IDS = answer("GetPendingDocumentIds", "<edXML:DocumentIds/>")


def ids(*numbers):
    rows = "".join(f"<edXML:DocumentId>{number}</edXML:DocumentId>" for number in numbers)
    return answer("GetPendingDocumentIds", f"<edXML:DocumentIds>{rows}</edXML:DocumentIds>")


# What it sends


@pytest.mark.parametrize("soap12", [False, True])
def test_a_document_goes_out_as_the_platform_reads_it(service, package, tmp_path, soap12):
    service.say(SENT)
    with opened(service, soap12=soap12) as connector:
        assert connector.send(package, sender_code="H99", kind=PackageKind.DOCUMENT) == "4711"
    headers, body = service.requests[0]
    kind, parameters = parse_content_type(headers["Content-Type"])
    version = SoapVersion.V12 if soap12 else SoapVersion.V11
    assert (kind, parameters["type"]) == ("multipart/related", version.media_type)
    assert headers["SOAPAction"] == (None if soap12 else '"SendDocument"')
    assert parameters.get("action") == ("SendDocument" if soap12 else None)
    # Axes of the field do not read bodies of unknown length.
    assert int(headers["Content-Length"]) == len(body)
    (tmp_path / "parts").mkdir()
    parts = MessageParts(
        tmp_path / "parts" / "m", start=parameters["start"], max_envelope_bytes=100_000, sniff=False
    )
    reader = MultipartReader(parameters["boundary"], parts)
    reader.feed(body)
    reader.finish()
    envelope = parse_envelope([parts.envelope])
    assert envelope.version is version
    key = child(envelope.block("Signature"), "KeyInfo")
    assert (child_text(key, "OrganId"), child_text(key, "Token")) == ("H99", "TEST-TOKEN")
    assert {node.namespace for node in envelope.header} == {names.NAMESPACE}
    # Attachments go as they are, not as they lie in the package: unwrapped, and in no encoding.
    package = read_package(package, folder=tmp_path / "files")
    assert [part.path.read_bytes() for part in parts.parts] == [
        item.path.read_bytes() for item in package.attachments
    ]


def test_questions_stand_in_no_namespace(service, connector):
    service.say(ids("5"))
    assert [message.doc_id for message in connector.list_received(PackageKind.DOCUMENT)] == ["H99:5"]
    headers, envelope = service.asked()
    assert headers["SOAPAction"] == '"GetPendingDocumentIds"'
    assert (envelope.content.name, envelope.content.namespace) == ("GetPendingDocumentIdsRequest", "")
    assert child_text(envelope.content, "Token") == "TEST-TOKEN"
    assert "TEST-TOKEN" not in repr(connector)


def test_each_organization_is_asked_for(service):
    service.say(ids("5", "6"))
    service.say(ids("5"))
    with opened(service, organ_ids=("H99", "H98")) as connector:
        listed = connector.list_received(PackageKind.DOCUMENT)
    # One document for two organizations has one number there, and two ids here.
    assert [(message.doc_id, message.recipient_code) for message in listed] == [
        ("H99:5", "H99"),
        ("H99:6", "H99"),
        ("H98:5", "H98"),
    ]


def test_ids_that_are_none_are_left_out(service, connector):
    service.say(ids("../x", "", "7", "-1"))
    assert [message.doc_id for message in connector.list_received(PackageKind.DOCUMENT)] == ["H99:7"]


@pytest.mark.parametrize("status", [TransportStatus.DONE, TransportStatus.FAIL])
def test_a_document_is_confirmed_whatever_became_of_it(service, connector, status):
    service.say(answer("ConfirmReceived", YES))
    connector.acknowledge("H98:7", status)
    _headers, envelope = service.asked()
    assert [(node.name, node.text) for node in envelope.content.children] == [
        ("OrganId", "H98"),
        ("Token", "TEST-TOKEN"),
        ("DocumentId", "7"),
    ]
    connector.acknowledge("H98:7", TransportStatus.PROCESSING)
    assert len(service.requests) == 1


def test_a_status_goes_out_and_one_that_was_there_is_done(service, connector, tmp_path):
    path = tmp_path / "s.edxml"
    write_package(edxml.status(), (), path)
    service.say(answer("UpdateTraces", YES))
    doc_id = connector.send(path, sender_code="H99", kind=PackageKind.STATUS)
    _headers, envelope = service.asked()
    assert (envelope.content.name, envelope.content.namespace) == ("Status", "")
    service.answers.clear()
    service.say(answer("UpdateTraces", report(False, ("M.UpdateTraces", "Exist trace on esb with code 15"))))
    assert connector.send(path, sender_code="H99", kind=PackageKind.STATUS) == doc_id
    service.answers.clear()
    service.say(answer("UpdateTraces", report(False, ("M.UpdateTraces", "Error process get update []"))))
    with pytest.raises(ConnectorError) as caught:
        connector.send(path, sender_code="H99", kind=PackageKind.STATUS)
    assert fault_of(caught.value) is Fault.LATER


def test_a_package_goes_out_as_what_it_is(service, connector, package):
    service.say(SENT)
    with pytest.raises(InputError) as caught:
        connector.send(package, sender_code="H99", kind=PackageKind.STATUS)
    assert caught.value.code == "soap.wrong-kind"
    assert service.requests == []


# What it makes of answers


def test_a_lost_answer_does_not_make_a_refusal(service, connector, package):
    service.say(None)
    service.say(EXISTS)
    with pytest.raises(ConnectorError):
        connector.send(package, sender_code="H99", kind=PackageKind.DOCUMENT)
    assert connector.send(package, sender_code="H99", kind=PackageKind.DOCUMENT).startswith("exists-")
    # Without a lost answer before it, the same is another document.
    with pytest.raises(RefusedError) as caught:
        connector.send(package, sender_code="H99", kind=PackageKind.DOCUMENT)
    assert caught.value.values["remote_code"] == "M.Exist"


@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize("text", ["JVBERi0xLjcgVEVTVA==", "JVBERi0x\r\nLjcgVEVTVA=="])
def test_a_document_is_put_together(service, connector, tmp_path, multipart, text):
    # The platform's own answers: a name without the namespace of links would do, too.
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="cid:a1" xlink:type="application/pdf"'
    reference = (
        f"<edXML:Reference {links}><edXML:AttachmentName>a.pdf</edXML:AttachmentName></edXML:Reference>"
    )
    manifest = f"<edXML:Manifest>{reference if multipart else ''}</edXML:Manifest>".encode()
    # The sender's own envelope comes back from a cache, with its key in it.
    header = document_blocks(edxml.document()) + key_block("H99.02", "SOMEBODYS-TEST-TOKEN")
    envelope = wrapped(SoapVersion.V11, manifest, header=header)
    if multipart:
        body = (
            b"--b\r\nContent-Type: text/xml; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\nContent-ID: <0.x@y>"
            b"\r\n\r\n"
            + envelope
            + b"\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary"
            b"\r\nContent-ID: <a1>\r\n\r\n" + text.encode() + b"\r\n--b--\r\n"
        )
        service.say(body, kind='multipart/related; boundary=b; type="text/xml"; start="<0.x@y>"')
    else:
        service.say(envelope)
    connector.fetch("H99:5", tmp_path / "b.edxml")
    received = read_package(tmp_path / "b.edxml", folder=tmp_path / "files")
    assert received.header.document_id == edxml.DOCUMENT_ID
    assert "SOMEBODYS" not in (tmp_path / "b.edxml").read_text()
    assert [item.path.read_bytes() for item in received.attachments] == (
        [b"%PDF-1.7 TEST"] if multipart else []
    )


def statuses(*texts):
    rows = [status_block(edxml.status(description=text), qualified=True).decode() for text in texts]
    return answer("GetTraces", f"<edXML:Traces>{''.join(rows)}</edXML:Traces>")


def test_statuses_are_listed_once(service, connector, tmp_path):
    service.say(statuses("TEST 1", "TEST 2", "TEST 1"))
    first, second = connector.list_received(PackageKind.STATUS)
    _headers, envelope = service.asked()
    # Without a time they would be handed out once and never again, read or not.
    assert child_text(envelope.content, "TimeStamp") == "2026/10/22 09:00:00"
    connector.fetch(second.doc_id, tmp_path / "s.edxml")
    header = read_package(tmp_path / "s.edxml", folder=None).header
    assert isinstance(header, StatusHeader)
    assert header.description == "TEST 2"
    connector.acknowledge(first.doc_id, TransportStatus.DONE)
    assert connector.list_received(PackageKind.STATUS) == [second]
    with opened(service) as another:
        assert another.list_received(PackageKind.STATUS) == [first, second]


def test_a_status_that_is_gone_is_refused(service, connector, tmp_path):
    service.say(statuses())
    with pytest.raises(RefusedError):
        connector.fetch("H99:status-0", tmp_path / "s.edxml")
    assert list(tmp_path.iterdir()) == []


def test_one_status_that_cannot_be_read_does_not_hide_the_others(service, connector):
    good = statuses("TEST").decode()
    service.say(good.replace("<edXML:Traces>", "<edXML:Traces><edXML:Status/>").encode())
    assert len(connector.list_received(PackageKind.STATUS)) == 1


def test_agencies_have_both_codes(service, connector):
    row = "".join(
        f"<edXML:{name}>{text}</edXML:{name}>"
        for name, text in {
            "OrganId": "000.00.17.H36",
            "OrganName": "SỞ TEST",
            "Email": "",
            "agency": "true",
            "domain_new": "H36.17",
        }.items()
    )
    rows = f"<edXML:Organization>{row}</edXML:Organization>"
    rows += "<edXML:Organization><edXML:OrganId>H99</edXML:OrganId></edXML:Organization><edXML:Organization/>"
    service.say(answer("GetOrganizations", f"<edXML:Organizations>{rows}</edXML:Organizations>"))
    first, second = connector.agencies()
    assert (first.code, first.old_code, first.name, first.email) == (
        "H36.17",
        "000.00.17.H36",
        "SỞ TEST",
        None,
    )
    assert (second.code, second.old_code, second.name) == ("H99", None, "H99")


CALLS = {
    "documents": lambda connector, _path: connector.list_received(PackageKind.DOCUMENT),
    "statuses": lambda connector, _path: connector.list_received(PackageKind.STATUS),
    "agencies": lambda connector, _path: connector.agencies(),
    "confirm": lambda connector, _path: connector.acknowledge("H99:5", TransportStatus.DONE),
    "check": lambda connector, _path: connector.check_permission(),
    "fetch": lambda connector, path: connector.fetch("H99:5", path.with_name("out")),
    "send": lambda connector, path: connector.send(path, sender_code="H99", kind=PackageKind.DOCUMENT),
}
FAULT = SoapFault(FaultCode.CLIENT, "TEST\x1b[31m", "too-large").to_envelope(SoapVersion.V11)
TROUBLE = SoapFault(FaultCode.SERVER, "TEST", "internal").to_envelope(SoapVersion.V12)
ANSWERS = {
    "a page": ((b"<html></html>", 200, "text/html"), Fault.LATER),
    "nothing": ((b"", 200, XML), Fault.LATER),
    "no body": ((wrapped(SoapVersion.V11, b""), 200, XML), Fault.LATER),
    # What does not say no has not said yes.
    "another answer": ((wrapped(SoapVersion.V11, b"<edXML:OtherResponse/>"), 200, XML), Fault.LATER),
    "another service": (
        (wrapped(SoapVersion.V11, b'<OkResponse xmlns="urn:x">1</OkResponse>'), 200, XML),
        Fault.LATER,
    ),
    "cut": ((SENT[:-20], 200, XML), Fault.LATER),
    "entities": ((b'<!DOCTYPE a [<!ENTITY b "c">]>' + SENT[39:], 200, XML), Fault.LATER),
    "broken multipart": ((b"--b\r\n\r\nx", 200, "multipart/related; boundary=b"), Fault.LATER),
    "multipart without a boundary": ((b"--b\r\n\r\nx", 200, "multipart/related"), Fault.LATER),
    "many parts": ((b"--b\r\n\r\nx\r\n" * 600, 200, "multipart/related; boundary=b"), Fault.LATER),
    "the caller's fault": ((FAULT, 500, XML), Fault.NEVER),
    "a fault with success": ((FAULT, 200, XML), Fault.NEVER),
    "its own fault": ((TROUBLE, 500, "application/soap+xml"), Fault.LATER),
    "server error": ((b"TEST", 500, "text/html"), Fault.LATER),
    "gateway error": ((b"<html/>", 502, "text/xml"), Fault.LATER),
    "not found": ((b"", 404, "text/html"), Fault.NEVER),
    "redirect": ((b"", 302, "text/html"), Fault.LATER),
    "unauthorized": ((b"", 401, "text/html"), Fault.OURS),
    "a wrong token": ((answer("Any", report(False)), 200, XML), Fault.OURS),
    "a refusal": ((answer("Any", report(False, ("N.Any", "TEST"))), 200, XML), Fault.NEVER),
    "an exception": ((answer("Any", report(False, ("M.Any", "Error when process"))), 200, XML), Fault.LATER),
    "a bare report": (
        (wrapped(SoapVersion.V11, report(False, ("M.Any", "T")).encode()), 200, XML),
        Fault.NEVER,
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("said", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_ends_in_the_right_error(service, connector, package, call, said, expected):
    body, status, kind = said
    service.say(body, status=status, kind=kind)
    with pytest.raises((ConnectorError, RefusedError)) as caught:
        call(connector, package)
    assert fault_of(caught.value) is expected
    assert str(caught.value).isprintable()
    assert "TEST-TOKEN" not in str(caught.value) + repr(caught.value)
    assert not package.with_name("out").exists()


@pytest.mark.parametrize(("status", "expected"), [(429, 7.0), (503, 7.0)])
def test_a_service_that_asks_for_a_pause_gets_it(service, connector, status, expected):
    service.say(b"", status=status, **{"Retry-After": "7"})
    with pytest.raises(ConnectorError) as caught:
        connector.agencies()
    assert fault_of(caught.value) is Fault.BUSY
    assert caught.value.retry_after_s == expected


def test_success_without_an_id_is_no_success(service, connector, package):
    service.say(answer("SendDocument", YES))
    with pytest.raises(ConnectorError):
        connector.send(package, sender_code="H99", kind=PackageKind.DOCUMENT)


def test_a_token_that_changed_is_used_without_a_restart(service):
    tokens = iter(["OLD-TEST-TOKEN", "NEW-TEST-TOKEN"])
    service.say(answer("GetPendingDocumentIds", report(False)))
    service.say(NO_IDS)
    with opened(service, secret=lambda _: next(tokens)) as connector:
        assert connector.list_received(PackageKind.DOCUMENT) == []
    used = [child_text(service.asked(number)[1].content, "Token") for number in (0, 1)]
    assert used == ["OLD-TEST-TOKEN", "NEW-TEST-TOKEN"]


def test_no_token_is_a_matter_of_credentials(service):
    with opened(service, secret=lambda _: "") as connector, pytest.raises(CredentialError):
        connector.agencies()


@pytest.mark.parametrize("organ_id", ["", "a b", "H99\r\nX: y", "Tỉnh", "../x", "-x"])
def test_codes_that_could_not_be_part_of_an_id_are_refused(service, organ_id):
    with pytest.raises(ConfigurationError):
        opened(service, organ_id=organ_id)


def test_a_package_over_the_limit_is_neither_sent_nor_fetched(service, package, tmp_path):
    service.say(b"--b\r\n" + b"x" * 9_000_000, kind="multipart/related; boundary=b")
    with opened(service, max_package_bytes=1000) as connector:
        with pytest.raises(InputError):
            connector.send(package, sender_code="H99", kind=PackageKind.DOCUMENT)
        assert service.requests == []
        with pytest.raises(ConnectorError):
            connector.fetch("H99:5", tmp_path / "x")
    assert not (tmp_path / "x").exists()
