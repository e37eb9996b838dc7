"""The hub by its SOAP wire: with requests built by hand, with zeep alone, with PHP's SOAP client, and beside VXP."""

import base64
import dataclasses
import email
import email.policy
import hashlib
import json
import os
import re
import socket
import subprocess
import time
import tracemalloc
from pathlib import Path

import httpx2
import pytest
import zeep
import zeep.exceptions

from tests import edxml
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.blocks import document_blocks, key_block, status_block
from vnedoc.exchange._soap.envelope import FaultCode, SoapVersion, child, child_text, parse_envelope, wrapped
from vnedoc.exchange._soap.message import document_message
from vnedoc.exchange._soap.report import read_report
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.bkav_soap import BkavSoapConnector, BkavSoapOptions
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.package import NET, read_package, reply_header, write_package
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import HubAgency
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_organization, make_package

SENDER, RECIPIENT, OTHER = "H99", "H99.1", "H98"
STRICT = zeep.Settings(forbid_dtd=True, forbid_entities=True, forbid_external=True)
LIMIT = 400_000
PEER = Path(__file__).with_name("soap_peer.php")


class Axis:
    """A hub with two systems, and requests made by hand."""

    def __init__(self, hub, client):
        self.hub, self.client = hub, client
        self.url = hub.url + names.PATH
        self.token = hub.add_system("TEST.A", SENDER)
        self.tokens = {
            SENDER: self.token,
            RECIPIENT: hub.add_system("TEST.B", RECIPIENT, HubAgency(OTHER, OTHER, old_code="000.00.00.H98")),
        }
        self.tokens[OTHER] = self.tokens["000.00.00.H98"] = self.tokens[RECIPIENT]

    def post(self, content, *, action=None, content_type="text/xml; charset=UTF-8", **headers):
        if action is not None:
            headers["SOAPAction"] = f'"{action}"'
        return self.client.post(self.url, content=content, headers={"Content-Type": content_type, **headers})

    def ask(
        self, element, organ_id, *, version=SoapVersion.V11, header="", action=None, token=None, **fields
    ):
        fields = {"OrganId": organ_id, "Token": self.tokens[organ_id] if token is None else token, **fields}
        inside = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
        content = wrapped(version, f"<{element}>{inside}</{element}>".encode(), header=header.encode())
        return self.post(content, action=action, content_type=version.media_type)

    def send(self, package, *, organ_id=SENDER, token=None, change=lambda body: body, **options):
        key = key_block(organ_id, self.tokens[organ_id] if token is None else token)
        message = document_message(package, version=SoapVersion.V11, key=key)
        return self.post(change(b"".join(message.body)), content_type=message.content_type, **options)

    def pending(self, organ_id):
        content = parsed(self.ask("GetPendingDocumentIdsRequest", organ_id)).content
        return [node.text for node in child(content, "DocumentIds").children]

    def vxp(self, system_id, organ_id):
        return VXPConnector(self.hub.url, system_id, secret=lambda _: self.tokens[organ_id])

    def soap(self, organ_id, **options):
        return BkavSoapConnector(
            self.url, organ_id, secret=lambda _: self.tokens[organ_id], options=BkavSoapOptions(**options)
        )


@pytest.fixture(scope="module")
def axis():
    options = HubOptions(max_package_bytes=LIMIT, wires=("vxp", "bkav-soap"), language=Language.EN)
    with running_hub(options=options) as hub, httpx2.Client(timeout=20) as client:
        yield Axis(hub, client)


@pytest.fixture
def make(tmp_path):
    def make(**options):
        path = tmp_path / f"{os.urandom(4).hex()}.edxml"
        number = int.from_bytes(os.urandom(5))
        make_package(path, **{"sender": SENDER, "recipients": [RECIPIENT], "number": number, **options})
        return read_package(path, folder=tmp_path / path.stem)

    return make


def parsed(response, *, status=200):
    assert response.status_code == status, response.text
    return parse_envelope([response.content])


def codes(response):
    """Return the codes of a report that says no."""
    envelope = parsed(response)
    report = read_report(envelope.content)
    assert report is not None
    assert not report.is_success
    assert all(text for _code, text in report.errors)
    return [code for code, _text in report.errors]


def faulted(response, detail_code, *, status=500, code=FaultCode.CLIENT, version=SoapVersion.V11):
    envelope = parsed(response, status=status)
    fault = envelope.fault()
    assert fault is not None, response.text
    assert (fault.code, fault.detail_code, envelope.version) == (code, detail_code, version)
    assert fault.reason
    assert response.headers["Content-Type"].startswith(version.media_type)
    assert "Traceback" not in response.text


# What it does


def test_a_document_is_taken_listed_fetched_and_confirmed(axis, make, tmp_path):
    package = make(recipients=[RECIPIENT, OTHER])
    answer = parsed(axis.send(package, action="SendDocument")).content
    assert answer.name == "SendDocumentResponse"
    assert read_report(answer).is_success
    number = child_text(answer, "DocumentId")
    # The platform's clients read it into a signed number of 64 bits.
    assert 0 < int(number) < 2**63
    [pending] = axis.pending(OTHER)
    # An agency is the same by its old code.
    assert axis.pending("000.00.00.H98") == [pending]
    fetched = axis.ask("GetDocumentRequest", OTHER, DocumentId=pending)
    message = email.message_from_bytes(
        b"Content-Type: " + fetched.headers["Content-Type"].encode() + b"\r\n\r\n" + fetched.content,
        policy=email.policy.default,
    )
    root, *attachments = message.iter_parts()
    envelope = parse_envelope([root.get_payload(decode=True)])
    assert [node.name for node in envelope.header] == ["MessageHeader", "TraceHeaderList", "ErrorList"]
    assert child_text(envelope.header[0], "Subject") == package.header.subject
    # No token of anybody goes out with it.
    assert envelope.block("Signature") is None
    [reference] = envelope.content.children
    [attachment] = attachments
    assert (
        reference.attributes["{http://www.w3.org/1999/xlink}href"] == f"cid:{attachment['Content-ID'][1:-1]}"
    )
    content = base64.b64decode(attachment.get_payload(decode=True), validate=True)
    assert hashlib.sha256(content).hexdigest() == package.attachments[0].sha256
    # Asked with another spelling of the element, as the platform itself reads it.
    assert read_report(parsed(axis.ask("ConfirmReceived", OTHER, documentId=pending)).content).is_success
    assert axis.pending(OTHER) == []
    assert axis.pending(RECIPIENT) != []


def test_the_envelope_comes_first_by_whatever_name_and_the_content_may_be_encoded(axis, make):
    package = make()
    key = key_block(SENDER, axis.token)
    cid = package.attachments[0].content_id
    links = f'xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="cid:{cid}"'
    manifest = f"<edXML:Manifest><edXML:Reference {links}/></edXML:Manifest>".encode()
    envelope = wrapped(SoapVersion.V11, manifest, header=document_blocks(package.header) + key)
    content = base64.encodebytes(package.attachments[0].path.read_bytes())
    attachment = b"Content-ID: <" + cid.encode() + b">\r\nContent-Transfer-Encoding: base64\r\n\r\n" + content
    root = b"Content-ID: <root>\r\nContent-Type: text/xml\r\n\r\n" + envelope

    def body(*parts):
        return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"

    kind = 'multipart/related; type="text/xml"; boundary=b; start="<root>"'
    # Whose the attachment is would be known when it is there.
    faulted(axis.post(body(attachment, root), content_type=kind), "envelope-not-first")
    assert read_report(parsed(axis.post(body(root, attachment), content_type=kind)).content).is_success


def test_the_same_document_again_gets_the_same_answer_and_another_is_refused(axis, make):
    package = make()
    first = axis.send(package)
    assert axis.send(package).content == first.content
    package.attachments[0].path.write_bytes(b"%PDF-1.7 another TEST")
    size = package.attachments[0].path.stat().st_size
    changed = dataclasses.replace(
        package, attachments=(dataclasses.replace(package.attachments[0], size=size),)
    )
    assert codes(axis.send(changed)) == ["M.Exist"]


def test_confirming_tells_the_sender_once(axis, make):
    package = make()
    axis.send(package)
    [pending] = axis.pending(RECIPIENT)[-1:]
    since = f"{vietnam(utc_now()):%Y/%m/%d %H:%M:%S}"
    for _ in range(2):
        axis.ask("ConfirmReceived", RECIPIENT, DocumentId=pending)
    traces = child(parsed(axis.ask("GetTraces", SENDER, TimeStamp=since)).content, "Traces")
    mine = [
        node
        for node in traces.children
        if child_text(child(node, "ResponseFor"), "Code") == package.header.code
    ]
    assert [child_text(node, "StatusCode") for node in mine] == ["1"]
    assert child_text(child(mine[0], "From"), "OrganId") == RECIPIENT
    assert {node.namespace for node in mine} == {names.NAMESPACE}


def update(axis, status, *, organ_id=RECIPIENT, qualified=False):
    key = key_block(organ_id, axis.tokens[organ_id])
    return axis.post(wrapped(SoapVersion.V11, status_block(status, qualified=qualified), header=key))


def test_a_status_is_taken_once_and_05_as_often_as_it_comes(axis, make):
    package = make()
    status = reply_header(
        package, sender=make_organization(RECIPIENT), status_code=StatusCode.ACCEPTED, at=edxml.AT
    )
    assert read_report(parsed(update(axis, status)).content).is_success
    # Whoever lost the answer asks again, and is not refused.
    assert read_report(parsed(update(axis, status, qualified=True)).content).is_success
    assert codes(update(axis, dataclasses.replace(status, description="TEST 2"))) == ["M.UpdateTraces"]
    working = dataclasses.replace(status, status_code=StatusCode.PROCESSING)
    for text in ("TEST 1", "TEST 2"):
        answer = update(axis, dataclasses.replace(working, description=text))
        assert read_report(parsed(answer).content).is_success


def test_statuses_without_a_time_are_handed_out_once(axis, make):
    with running_hub(options=HubOptions(wires=("vxp", "bkav-soap"))) as hub, httpx2.Client() as client:
        own = Axis(hub, client)
        package = make()
        status = reply_header(
            package, sender=make_organization(RECIPIENT), status_code=StatusCode.ACCEPTED, at=edxml.AT
        )
        update(own, status)

        def asked(**fields):
            content = parsed(own.ask("GetTraces", SENDER, **fields)).content
            return len(list(child(content, "Traces").children))

        past = f"{vietnam(utc_now()):%Y/%m/%d} 00:00:00"
        assert asked(TimeStamp=past) == 1
        assert asked() == 1
        deadline = time.monotonic() + 5
        while asked() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert asked() == 0
        # With a time they can be asked for again.
        assert asked(TimeStamp=past) == 1
        assert asked(TimeStamp="2099/01/01 00:00:00") == 0


# Beside the other wires


@pytest.mark.parametrize("soap12", [False, True])
def test_a_package_sent_by_soap_is_received_by_vxp(axis, make, tmp_path, soap12):
    package = make()
    path = tmp_path / "a.edxml"
    write_package(package.header, [item.as_attachment() for item in package.attachments], path, dialect=NET)
    with axis.soap(SENDER, soap12=soap12) as sender, axis.vxp("TEST.B", RECIPIENT) as recipient:
        sender.send(path, sender_code=SENDER, kind=PackageKind.DOCUMENT)
        listed = recipient.list_received(PackageKind.DOCUMENT)[-1]
        recipient.fetch(listed.doc_id, tmp_path / "b.edxml")
        received = read_package(tmp_path / "b.edxml", folder=None)
        assert received.header == package.header
        assert [item.sha256 for item in received.attachments] == [item.sha256 for item in package.attachments]
        status = reply_header(
            received, sender=make_organization(RECIPIENT), status_code=StatusCode.COMPLETED, at=edxml.AT
        )
        write_package(status, (), tmp_path / "s.edxml")
        recipient.send(tmp_path / "s.edxml", sender_code=RECIPIENT, kind=PackageKind.STATUS)
        found = sender.list_received(PackageKind.STATUS)[-1]
        sender.fetch(found.doc_id, tmp_path / "t.edxml")
    assert read_package(tmp_path / "t.edxml", folder=None).header == status


@pytest.mark.parametrize("soap12", [False, True])
def test_a_package_sent_by_vxp_is_received_by_soap(axis, make, tmp_path, soap12):
    path = tmp_path / "a.edxml"
    header = edxml.full_document(
        sender=make_organization(SENDER),
        recipients=(make_organization(RECIPIENT),),
        document_id=f"{SENDER},{os.urandom(4).hex()}",
    )
    write_package(header, edxml.attachments(), path)
    package = read_package(path, folder=None)
    with axis.vxp("TEST.A", SENDER) as sender, axis.soap(RECIPIENT, soap12=soap12) as recipient:
        doc_id = sender.send(path, sender_code=SENDER, kind=PackageKind.DOCUMENT)
        listed = recipient.list_received(PackageKind.DOCUMENT)[-1]
        recipient.fetch(listed.doc_id, tmp_path / "b.edxml")
        recipient.acknowledge(listed.doc_id, TransportStatus.DONE)
        reports = [row for row in sender.list_sent(PackageKind.DOCUMENT) if row.sender_doc_id == doc_id]
    received = read_package(tmp_path / "b.edxml", folder=None)
    assert received.header == package.header
    assert [(item.name, item.sha256) for item in received.attachments] == [
        (item.name, item.sha256) for item in package.attachments
    ]
    assert [row.status for row in reports] == [TransportStatus.DONE]


# zeep alone


@pytest.mark.parametrize("port", ["EdocSoap11Port", "EdocSoap12Port"])
def test_zeep_alone_calls_every_small_operation(axis, make, port):
    package = make()
    axis.send(package)
    client = zeep.Client(f"{axis.url}?wsdl", settings=STRICT)
    with client.transport.session:
        service = client.bind("EdocService", port)
        assert service._binding_options["address"] == axis.url
        caller = {"OrganId": RECIPIENT, "Token": axis.tokens[RECIPIENT]}
        assert service.CheckPermission(_soapheaders={"CheckPermission": caller}).IsSuccess
        number = service.GetPendingDocumentIds(**caller).DocumentIds.DocumentId[-1]
        assert service.ConfirmReceived(**caller, DocumentId=number).IsSuccess
        organizations = service.GetOrganizations(**caller).Organizations.Organization
        assert {row.OrganId: row.domain_new for row in organizations}["000.00.00.H98"] == OTHER
        header = package.header
        answered = service.UpdateTraces(
            ResponseFor={
                "OrganId": SENDER,
                "Code": header.code,
                "DocumentId": header.document_id,
                "PromulgationDate": "2026/11/20",
            },
            From={"OrganId": RECIPIENT, "OrganName": "TEST"},
            StatusCode="03",
            Timestamp="2026/11/21 09:00:00",
            _soapheaders={"Signature": {"KeyInfo": caller}},
        )
        assert answered.IsSuccess
        traces = service.GetTraces(
            OrganId=SENDER, Token=axis.token, TimeStamp="2020/01/01 00:00:00"
        ).Traces.Status
        mine = [row.StatusCode for row in traces if row.ResponseFor.Code == header.code]
        assert mine == ["1", "3"]
        refused = service.GetTraces(OrganId=SENDER, Token="TEST-WRONG")
        assert [error.Code for error in refused.Report.ErrorList.Error] == ["Permission"]
        # What is no operation comes as a fault that zeep knows as one.
        version = SoapVersion.V11 if port == "EdocSoap11Port" else SoapVersion.V12
        answer = axis.post(wrapped(version, b"<Unknown/>"), content_type=version.media_type)
        with pytest.raises(zeep.exceptions.Fault) as caught:
            service._binding.process_reply(client, service._binding.get("GetTraces"), answer)
    assert "Unknown" in caught.value.message


@pytest.mark.needs("php")
@pytest.mark.parametrize("version", ["11", "12"])
def test_phps_soap_client_calls_the_small_operations(axis, make, version):
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert "soap" in modules.split(), "needs the Debian package php-soap"
    package = make()
    axis.send(package)
    number = axis.pending(RECIPIENT)[-1]
    command = ["php", PEER, axis.url, version, RECIPIENT, axis.tokens[RECIPIENT], number, package.header.code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert number in answers["pending"]["DocumentIds"]["DocumentId"]
    assert answers["confirmed"]["Report"]["IsSuccess"] is True
    assert answers["updated"]["Report"]["IsSuccess"] is True
    assert SENDER in {row["OrganId"] for row in answers["organizations"]["Organizations"]["Organization"]}
    assert answers["refused"]["Report"]["ErrorList"]["Error"][0]["Code"] == "Permission"
    assert answers["fault"] == "unknown-operation"
    traces = child(parsed(axis.ask("GetTraces", SENDER, TimeStamp="2020/01/01 00:00:00")).content, "Traces")
    found = {child_text(node, "StatusCode") for node in traces.children}
    assert {"1", "3"} <= found


def test_the_description_names_the_address_it_was_asked_at(axis):
    answer = axis.client.get(f"{axis.url}?WSDL", headers={"Host": "hub.test.example:8443"})
    assert answer.headers["Content-Type"].startswith("text/xml")
    assert (
        re.findall(r':address location="([^"]+)"', answer.text)
        == [f"http://hub.test.example:8443{names.PATH}"] * 2
    )
    assert "?wsdl" in axis.client.get(axis.url).text


# What it does not do


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda axis: axis.ask("GetPendingDocumentIdsRequest", SENDER, token="TEST-WRONG"), ["Permission"]),
        (lambda axis: axis.ask("GetPendingDocumentIdsRequest", SENDER, token=""), ["M.CheckPermission"]),
        (
            lambda axis: axis.post(
                wrapped(SoapVersion.V11, b"<GetTraces><OrganId>H1</OrganId><Token>x</Token></GetTraces>")
            ),
            ["Permission"],
        ),
        (lambda axis: axis.post(wrapped(SoapVersion.V11, b"<GetOrganizations/>")), ["M.CheckPermission"]),
        (lambda axis: axis.post(wrapped(SoapVersion.V11, b"<Status/>")), ["M.CheckSignature"]),
        (lambda axis: axis.ask("GetDocumentRequest", SENDER), ["M.DocumentId"]),
        (lambda axis: axis.ask("GetDocumentRequest", SENDER, DocumentId="../x"), ["M.DocumentId"]),
        (
            lambda axis: axis.ask("GetDocumentRequest", SENDER, DocumentId="9" * 19),
            ["M.GetDocumentCheckAllow"],
        ),
        (lambda axis: axis.ask("GetDocumentRequest", SENDER, DocumentId="9" * 20), ["M.DocumentId"]),
        (lambda axis: axis.ask("ConfirmReceived", SENDER, DocumentId="1"), ["M.GetDocumentCheckAllow"]),
        (lambda axis: axis.ask("GetTraces", SENDER, TimeStamp="TEST"), ["T.GetTraces.TimeStamp"]),
        (
            lambda axis: axis.post(
                wrapped(SoapVersion.V11, b"<Status><A/></Status>", header=key_block(SENDER, axis.token))
            ),
            ["M.SendDocument"],
        ),
    ],
)
def test_refusals_are_reports(axis, call, expected):
    assert codes(call(axis)) == expected


def test_an_empty_header_lacks_every_element(axis):
    answer = axis.post(wrapped(SoapVersion.V11, b"<edXML:Manifest/>", header=key_block(SENDER, axis.token)))
    assert codes(answer) == [
        "N.MessageHeader",
        "N.MessageHeader.TraceHeaderList",
        "N.MessageHeader.ErrorList",
    ]
    message = (
        "<edXML:MessageHeader><edXML:From/></edXML:MessageHeader><edXML:TraceHeaderList/><edXML:ErrorList/>"
    )
    found = codes(axis.post(wrapped(SoapVersion.V11, b"<edXML:Manifest/>", header=message.encode())))
    assert {"N.MessageHeader.From.OrganId", "N.MessageHeader.To"} <= set(found)
    assert found[-1] == "N.MessageHeader.TraceHeaderList.TraceHeader"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"recipients": ["H77"]}, ["M.MessageHeader.To.OrganId"]),
        ({"sender": RECIPIENT, "recipients": [SENDER]}, ["M.OrganId"]),
    ],
)
def test_packages_that_cannot_be_routed_are_refused(axis, make, options, expected):
    assert codes(axis.send(make(**options))) == expected


def test_only_the_recipient_may_fetch(axis, make):
    axis.send(make())
    number = axis.pending(RECIPIENT)[-1]
    assert codes(axis.ask("GetDocumentRequest", SENDER, DocumentId=number)) == ["M.GetDocumentCheckAllow"]
    # Another agency of the same system is not the recipient either.
    assert codes(axis.ask("ConfirmReceived", OTHER, DocumentId=number)) == ["M.GetDocumentCheckAllow"]


def test_nothing_of_a_stranger_reaches_the_disk(axis, make, monkeypatch):
    from vnedoc.exchange._soap import message

    package = make(content=os.urandom(200_000))
    begun = []
    monkeypatch.setattr(message, "_Part", lambda path, *_rest, **_options: begun.append(path))
    assert codes(axis.send(package, token="TEST-WRONG")) == ["Permission"]
    assert begun == []


def test_a_manifest_that_names_no_part_is_refused(axis, make):
    package = make()
    cid = package.attachments[0].content_id.encode()
    answer = axis.send(package, change=lambda body: body.replace(b"<" + cid + b">", b"<another>"))
    assert codes(answer) == ["M.Attachment"]


@pytest.mark.parametrize("version", SoapVersion)
@pytest.mark.parametrize(
    ("body", "header", "code", "whose"),
    [
        (b"", b"", "unknown-operation", FaultCode.CLIENT),
        (b"<DeleteEverything/>", b"", "unknown-operation", FaultCode.CLIENT),
        (b'<GetTraces xmlns="http://www.go.vn/eDoc"/>', b"", "namespace", FaultCode.CLIENT),
        (
            b"<GetTraces/>",
            b'<w:Security xmlns:w="urn:w" soap:mustUnderstand="1"/>',
            "not-understood",
            FaultCode.MUST_UNDERSTAND,
        ),
    ],
)
def test_what_is_no_operation_is_a_fault(axis, version, body, header, code, whose):
    answer = axis.post(wrapped(version, body, header=header), content_type=version.media_type)
    status = 400 if version is SoapVersion.V12 and whose is FaultCode.CLIENT else 500
    faulted(answer, code, status=status, code=whose, version=version)


@pytest.mark.parametrize(
    ("action", "code"),
    [("GetDocument", "action-mismatch"), ("urn:nothing", "unknown-operation"), ("x/y", "unknown-operation")],
)
def test_an_action_that_does_not_go_with_the_body_is_a_fault(axis, action, code):
    faulted(axis.ask("GetTraces", SENDER, action=action), code)


@pytest.mark.parametrize("action", ["", "GetTraces", "http://www.e-doc.vn/Schema/GetTraces", "urn:GetTraces"])
def test_the_action_may_be_left_out_or_spelt_in_full(axis, action):
    assert parsed(axis.ask("GetTraces", SENDER, action=action)).fault() is None


def test_another_version_of_soap_is_a_mismatch(axis):
    text = b'<E:Envelope xmlns:E="urn:soap"><E:Body/></E:Envelope>'.replace(b"E:Envelope", b"E:Envelope")
    faulted(axis.post(text), "version", code=FaultCode.VERSION_MISMATCH)


BODIES = {
    "nothing": (b"", "not-xml"),
    "text": (b"TEST", "not-xml"),
    "a page": (b"<html><body>TEST</body></html>", "no-envelope"),
    "entities": (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "doctype"),
    "depth": (b"<a>" * 5000, "too-deep"),
    "an envelope that is too large": (
        wrapped(SoapVersion.V11, b"<a>" + b"x" * 390_000 + b"</a>") + b" " * 9,
        "unknown-operation",
    ),
}


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES)
def test_what_is_no_envelope_is_a_fault(axis, body, code):
    faulted(axis.post(body), code)


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data; boundary=b", "text/plain"])
def test_other_content_types_are_refused(axis, kind):
    faulted(axis.post(b"{}", content_type=kind), "media-type", status=415)


RELATED = 'multipart/related; type="text/xml"; boundary=b'
MIME = {
    "nothing": (RELATED, b"", "bad-multipart"),
    "no boundary": ('multipart/related; type="text/xml"', b"--b\r\n\r\nx\r\n--b--\r\n", "bad-multipart"),
    "another boundary": (RELATED, b"--c\r\n\r\nx\r\n--c--\r\n", "bad-multipart"),
    "cut": (RELATED, b"--b\r\nContent-ID: <a>\r\n\r\nx", "bad-multipart"),
    "no envelope": (
        f'{RELATED}; start="<root>"',
        b"--b\r\nContent-ID: <a>\r\n\r\nx\r\n--b--\r\n",
        "envelope-not-first",
    ),
    "an empty envelope": (RELATED, b"--b\r\n\r\n\r\n--b--\r\n", "bad-multipart"),
    "a header that is too long": (
        RELATED,
        b"--b\r\nA: " + b"x" * 9000 + b"\r\n\r\nx\r\n--b--\r\n",
        "bad-multipart",
    ),
    "an envelope that is none": (RELATED, b"--b\r\n\r\nTEST\r\n--b--\r\n", "not-xml"),
    "an id twice": (
        RELATED,
        b"--b\r\n\r\n<a/>" + b"\r\n--b\r\nContent-ID: <a>\r\n\r\nx" * 2 + b"\r\n--b--\r\n",
        "bad-multipart",
    ),
}


@pytest.mark.parametrize(("kind", "body", "code"), MIME.values(), ids=MIME)
def test_malformed_multipart_is_a_fault(axis, kind, body, code):
    faulted(axis.post(body, content_type=kind), code)


def test_ten_thousand_parts_are_refused_quickly(axis):
    body = (
        b"".join(b"--b\r\nContent-ID: <%d>\r\n\r\nx\r\n" % number for number in range(10_000)) + b"--b--\r\n"
    )
    started = time.perf_counter()
    faulted(axis.post(body, content_type=RELATED), "too-many-parts")
    assert time.perf_counter() - started < 3


def test_a_package_over_the_limit_is_refused(axis, make):
    # The body is over the limit.
    faulted(axis.send(make(content=os.urandom(LIMIT + 1000))), "too-large", status=413)
    # The body is below it, the package that it stands for is not: there attachments are base64.
    faulted(axis.send(make(content=os.urandom(LIMIT * 7 // 8))), "too-large", status=413)


def test_a_body_that_drips_is_given_up(make):
    options = HubOptions(wires=("bkav-soap",), upload_timeout_s=0.3)
    with running_hub(options=options) as hub:
        host, port = hub.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {names.PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {RELATED}\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head.encode() + b"--b\r\n")
            connection.settimeout(20)
            answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_caller_that_hangs_up_leaves_nothing_behind(axis, make):
    package = make()
    message = document_message(package, version=SoapVersion.V11, key=key_block(SENDER, axis.token))
    body = b"".join(message.body)
    host, port = axis.hub.url.removeprefix("http://").split(":")
    for length in (10, len(body) // 2, len(body) - 5):
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {names.PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {message.content_type}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:length])
    number = None
    before = axis.pending(RECIPIENT)
    # Sent whole, it is taken as new: nothing of the broken ones was.
    assert read_report(parsed(axis.send(package)).content).is_success
    [number] = set(axis.pending(RECIPIENT)) - set(before)
    with socket.create_connection((host, int(port))) as connection:
        fields = f"<OrganId>{RECIPIENT}</OrganId><Token>{axis.tokens[RECIPIENT]}</Token>"
        fields += f"<DocumentId>{number}</DocumentId>"
        content = wrapped(SoapVersion.V11, f"<GetDocumentRequest>{fields}</GetDocumentRequest>".encode())
        head = f"POST {names.PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    incoming = axis.hub.folder / "payloads" / "incoming"
    deadline = time.monotonic() + 5
    while list(incoming.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(incoming.iterdir()) == []


def test_memory_does_not_grow_with_the_package(tmp_path):
    content = tmp_path / "big.pdf"
    with content.open("wb") as stream:
        for _ in range(24):
            stream.write(os.urandom(1024 * 1024))
    make_package(tmp_path / "a.edxml", sender=SENDER, recipients=[RECIPIENT], content=content)
    with running_hub(options=HubOptions(wires=("bkav-soap",))) as hub, httpx2.Client() as client:
        axis = Axis(hub, client)
        with axis.soap(SENDER) as sender, axis.soap(RECIPIENT) as recipient:
            tracemalloc.start()
            try:
                sender.send(tmp_path / "a.edxml", sender_code=SENDER, kind=PackageKind.DOCUMENT)
                [message] = recipient.list_received(PackageKind.DOCUMENT)
                recipient.fetch(message.doc_id, tmp_path / "b.edxml")
                _now, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    first, second = (read_package(tmp_path / name, folder=None) for name in ("a.edxml", "b.edxml"))
    assert [item.sha256 for item in first.attachments] == [item.sha256 for item in second.attachments]
    # Client and hub together, in one process; the attachment is 24 MiB.
    assert peak < 12 * 1024 * 1024


# Its language


@pytest.mark.parametrize("language", Language)
def test_what_cannot_be_read_is_told_in_the_language_of_the_hub(make, language):
    package = make()
    wrong = {
        "no boundary": {"content": b"TEST", "content_type": 'multipart/related; type="text/xml"'},
        "cut": {"content": b"--b\r\n\r\n<a/>", "content_type": RELATED},
        "no xml": {"content": b"<a><b></a>"},
        "no envelope": {"content": b"<a/>"},
    }
    options = HubOptions(wires=("vxp", "bkav-soap"), language=language)
    with running_hub(options=options) as hub, httpx2.Client(timeout=20) as client:
        axis = Axis(hub, client)
        told = {
            name: parse_envelope([axis.post(**given).content]).fault().reason for name, given in wrong.items()
        }
        answers = {
            "a status": axis.send(
                package, change=lambda body: body.replace(b"MessageHeader", b"MessageHead")
            ),
            "no part": axis.send(package, change=lambda body: body.replace(b"cid:", b"cid:TEST")),
        }
        for name, answer in answers.items():
            [(_code, told[name])] = read_report(parsed(answer).content).errors
    other = {Language.VI: r"\b(the|is|not|cannot|of|has|no|than|there)\b", Language.EN: "[à-ỹđ]"}[language]
    for name, text in told.items():
        assert not re.search(other, text.replace("QĐ", "").lower()), (name, text)
    assert len(set(told.values())) == len(told), told
