"""What a connector makes of strange answers, byte for byte, and what all wires of one hub are to each other."""

import contextlib
import os
import socket
import threading

import pytest

from vnedoc.errors import ConfigurationError, ConnectorError, InputError, RefusedError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors import open_connector
from vnedoc.exchange.connectors.base import Fault, error_for_code, error_for_status, fault_of
from vnedoc.exchange.connectors.bkav_rest import BkavRESTConnector, BkavRESTOptions
from vnedoc.exchange.connectors.lgsp import LGSPConnector
from vnedoc.exchange.connectors.lgsp_oauth2 import LGSPOAuth2Connector
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.connectors.xroad import XRoadConnector, XRoadOptions
from vnedoc.exchange.hub.options import PUBLIC_WIRES
from vnedoc.exchange.states import TransportStatus
from vnedoc.testing.axes import AXIS_KINDS, running_axis
from vnedoc.testing.faults import Answered, CutRequest, Flooded
from vnedoc.testing.packages import make_package


def vxp(url):
    return VXPConnector(url, "TEST.A", secret=lambda _: "TEST")


@contextlib.contextmanager
def answering(*answers):
    """Answer requests with fixed bytes, whatever they were, each on a connection of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work():
            for answer in answers:
                connection, _address = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def whole(body, *, status="200 X", headers=()):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", ConnectorError, "connector.trouble"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", ConnectorError, "connector.trouble"),
        (b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n", ConnectorError, "connector.busy"),
        (
            b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            ConnectorError,
            "connector.trouble",
        ),
        (b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\n<html>", ConnectorError, "connector.bad-answer"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n{}", ConnectorError, "remote.broken-off"),
        (b"nonsense\r\n\r\n", ConnectorError, "remote.broken-off"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 6\r\n\r\n<html>", RefusedError, "connector.refused"),
        (b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", RefusedError, "connector.not-let-in"),
        (b'HTTP/1.1 200 X\r\nContent-Length: 12\r\n\r\n{"status":"O', ConnectorError, "connector.bad-answer"),
        (whole(b'{"status":"FAIL","ErrorCode":"7","ErrorDesc":"TEST"}'), RefusedError, "connector.refused"),
        (
            whole(b'{"status":"FAIL","ErrorCode":"20","ErrorDesc":"TEST"}'),
            ConnectorError,
            "connector.trouble-code",
        ),
    ],
)
def test_strange_answers_end_in_the_right_error(answer, kind, code):
    with answering(answer) as url, vxp(url) as connector, pytest.raises(kind) as caught:
        connector.list_received(PackageKind.DOCUMENT)
    assert caught.value.code == code


def test_what_a_refusal_says_cannot_steer_a_terminal():
    body = b'{"status":"FAIL","ErrorCode":"7\\u001b[2J","ErrorDesc":"TEST\\u001b[31m\\r\\n\\u202e"}'
    with answering(whole(body)) as url, vxp(url) as connector, pytest.raises(RefusedError) as caught:
        connector.agencies()
    assert str(caught.value).isprintable()
    assert "TEST" in str(caught.value)


def test_ids_that_could_not_be_file_names_are_left_out():
    body = (
        b'{"status":"OK","ErrorCode":"0","data":[{"docId":"../../x"},{"docId":"a b"},{"docId":""},{},7,'
        b'{"docId":["x"]},{"docId":"good-1","status":"strange"}]}'
    )
    with answering(whole(body)) as url, vxp(url) as connector:
        messages = connector.list_received(PackageKind.DOCUMENT)
    assert [(message.doc_id, message.status) for message in messages] == [("good-1", None)]


def test_a_file_that_shrinks_while_it_is_sent(tmp_path):
    make_package(tmp_path / "x.edxml", sender="H99", recipients=["H99.1"])
    with running_axis("vxp") as axis, axis.open("sender") as sender:
        send = sender._send
        sender._send = lambda path, size, *rest: send(path, size + 1, *rest)
        with pytest.raises(InputError) as caught:
            sender.send(tmp_path / "x.edxml", sender_code="H99", kind=PackageKind.DOCUMENT)
    assert caught.value.code == "connector.file-changed"


def test_our_own_full_disk_is_not_the_fault_of_the_axis(tmp_path, monkeypatch):
    make_package(tmp_path / "x.edxml", sender="H99", recipients=["H99.1"])
    for kind in ("vxp", "folder"):
        with running_axis(kind) as axis, axis.open("sender") as sender, axis.open("recipient") as recipient:
            sender.send(tmp_path / "x.edxml", sender_code="H99", kind=PackageKind.DOCUMENT)
            [message] = recipient.list_received(PackageKind.DOCUMENT)
            plain = recipient._fetch

            def full(doc_id, stream, plain=plain):
                class Full:
                    def write(self, _content):
                        raise OSError(28, "No space left on device")

                plain(doc_id, Full())

            monkeypatch.setattr(recipient, "_fetch", full)
            with pytest.raises(InputError) as caught:
                recipient.fetch(message.doc_id, tmp_path / "y")
            assert caught.value.code == "file.cannot-write"
            assert fault_of(caught.value) is Fault.OURS


def test_open_connector_knows_its_kinds():
    with open_connector("vxp", "http://127.0.0.1:1", "TEST", secret=lambda _: "x", name="TEST") as connector:
        assert connector.name == "TEST"
    for kind in ("fax", "lgsp"):
        with pytest.raises(ConfigurationError):
            open_connector(kind, "http://127.0.0.1:1", "TEST", secret=lambda _: "x", name="TEST")


@pytest.mark.parametrize("url", ["", "axis", "ftp://axis", "http://", "http://user:TEST@axis", "http://[x"])
def test_addresses_that_cannot_be_used_are_refused_and_not_repeated(url):
    with pytest.raises(ConfigurationError) as caught:
        vxp(url)
    assert caught.value.code == "connector.bad-url"
    assert "TEST@" not in str(caught.value)


# Errors, sorted


@pytest.mark.parametrize(
    ("status", "retry_after", "fault", "seconds"),
    [
        (100, None, Fault.LATER, None),
        (301, None, Fault.LATER, None),
        (400, None, Fault.NEVER, None),
        (401, None, Fault.OURS, None),
        (403, None, Fault.OURS, None),
        (404, "5", Fault.NEVER, None),
        (407, None, Fault.OURS, None),
        (408, None, Fault.LATER, None),
        (413, None, Fault.NEVER, None),
        (429, None, Fault.BUSY, None),
        (429, "5", Fault.BUSY, 5.0),
        (429, "-5", Fault.BUSY, None),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", Fault.BUSY, 0.0),
        (500, None, Fault.LATER, None),
        (503, None, Fault.LATER, None),
        (503, "0", Fault.BUSY, 0.0),
        (503, "x", Fault.LATER, None),
    ],
)
def test_a_status_says_whether_to_try_again(status, retry_after, fault, seconds):
    error = error_for_status("TEST", status, retry_after=retry_after)
    assert fault_of(error) is fault
    assert getattr(error, "retry_after_s", None) == seconds
    assert error.text("vi")
    assert error.text("en")


@pytest.mark.parametrize("fault", list(Fault))
def test_a_code_means_what_the_table_says(fault):
    error = error_for_code("TEST", "7", "TEST. ", fault)
    assert fault_of(error) is fault
    assert error.values["remote_code"] == "7"
    assert "TEST. " not in error.text("vi")  # what is said goes on behind it


def test_our_own_errors_are_ours():
    assert fault_of(InputError("file.cannot-read", path="x", reason="TEST")) is Fault.OURS
    assert fault_of(ConfigurationError("connector.bad-url", name="TEST")) is Fault.OURS
    assert fault_of(ValueError()) is Fault.OURS


# Codes of single axes


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("10", Fault.NEVER),
        ("15", Fault.OURS),
        ("18", Fault.NEVER),
        ("20", Fault.LATER),
        ("22", Fault.NEVER),
        ("23", Fault.LATER),
    ],
)
def test_codes_of_a_provincial_axis(tmp_path, code, fault):
    make_package(tmp_path / "x.edxml", sender="H99", recipients=["H99.1"])
    login = whole(b'{"code":200,"data":{"token":"TEST.TOKEN"}}', headers=["Content-Type: application/json"])
    body = (
        b'{"success":false,"message":"TEST","data":{"docId":null,"status":"error","errorCode":'
        + code.encode()
        + b',"errorDesc":"TEST sentence"}}'
    )
    answers = [login, whole(body, headers=["Content-Type: application/json"])] * (
        2 if fault is Fault.OURS else 1
    )
    with answering(*answers) as url:
        connector = LGSPConnector(url, "TEST.A", secret=lambda _: "TEST", password=lambda _: "TEST")
        with connector, pytest.raises((ConnectorError, RefusedError)) as caught:
            connector.send(tmp_path / "x.edxml", sender_code="H99", kind=PackageKind.DOCUMENT)
    assert fault_of(caught.value) is fault
    assert "TEST sentence" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        ("400 X", b'{"error":"invalid_client","error_description":"TEST"}', Fault.OURS),
        ("401 X", b'{"error":"invalid_client"}', Fault.OURS),
        ("400 X", b'{"error":"unsupported_grant_type"}', Fault.NEVER),
        ("200 X", b'{"token_type":"Bearer"}', Fault.LATER),
        ("503 X", b"{}", Fault.LATER),
    ],
)
def test_what_a_token_endpoint_says(status, body, fault):
    with answering(whole(body, status=status, headers=["Content-Type: application/json"])) as url:
        connector = LGSPOAuth2Connector(url, "KEY", secret=lambda _: "TEST", unit_secret=lambda _: "TEST")
        with connector, pytest.raises((ConnectorError, RefusedError)) as caught:
            connector.agencies()
    assert fault_of(caught.value) is fault


@pytest.mark.parametrize(
    ("error", "status", "fault"),
    [
        ("Client.BadRequest", "400 X", Fault.OURS),
        ("Server.ServerProxy.AccessDenied", "500 X", Fault.OURS),
        ("Server.ClientProxy.UnknownMember", "500 X", Fault.OURS),
        ("Server.ServerProxy.NetworkError", "500 X", Fault.LATER),
        ("Server.ServerProxy.DatabaseError", "500 X", Fault.LATER),
        ("Server.ClientProxy.OutdatedGlobalConf", "500 X", Fault.LATER),
    ],
)
def test_errors_of_a_security_server(error, status, fault):
    body = b'{"type":"' + error.encode() + b'","message":"TEST message","detail":"x"}'
    answer = whole(body, status=status, headers=["Content-Type: application/json", f"X-Road-Error: {error}"])
    with answering(answer) as url:
        connector = XRoadConnector(url, "T/GOV/A/B", options=XRoadOptions(service="T/GOV/C/D/E"))
        with connector, pytest.raises((ConnectorError, RefusedError)) as caught:
            connector.agencies()
    assert fault_of(caught.value) is fault
    assert error in str(caught.value)


@pytest.mark.parametrize(
    "client", ["", "T/GOV", "T/GOV/A/B/C", "T//A/B", "T/GOV/../B", "T/GOV/A/B\r\nX: y", "T/GOV/a%2Fb/B"]
)
def test_identifiers_that_are_none(client):
    with pytest.raises(ConfigurationError):
        XRoadConnector("http://127.0.0.1:1", client, options=XRoadOptions(service="T/GOV/C/D/E"))
    with pytest.raises(ConfigurationError):
        XRoadConnector("http://127.0.0.1:1", "T/GOV/A/B", options=XRoadOptions(service=f"{client}/"))


@pytest.mark.parametrize("accept", [True, False])
def test_what_exists_already_on_an_edoc_platform(tmp_path, accept):
    make_package(tmp_path / "x.edxml", sender="H99", recipients=["H99.1"])
    body = b'{"status":"Fail","code":"9999","docId":0,"errors":[{"code":"ExistDoc","description":"TEST"}]}'
    with answering(whole(body, headers=["Content-Type: application/json"])) as url:
        options = BkavRESTOptions(accept_existing=accept)
        with BkavRESTConnector(url, "H99", secret=lambda _: "TEST", options=options) as connector:
            context = contextlib.nullcontext() if accept else pytest.raises(RefusedError)
            with context:
                doc_id = connector.send(tmp_path / "x.edxml", sender_code="H99", kind=PackageKind.DOCUMENT)
                assert doc_id.startswith("EDOC-ExistDoc-")


def test_the_word_counts_and_not_the_code(tmp_path):
    make_package(tmp_path / "x.edxml", sender="H99", recipients=["H99.1"])
    body = (
        b'{"status":"Error","code":"0","docId":0,"errors":[{"code":"InternalServer","description":"TEST"}]}'
    )
    with (
        answering(whole(body, headers=["Content-Type: application/json"])) as url,
        BkavRESTConnector(url, "H99", secret=lambda _: "TEST") as connector,
        pytest.raises(ConnectorError) as caught,
    ):
        connector.send(tmp_path / "x.edxml", sender_code="H99", kind=PackageKind.DOCUMENT)
    assert fault_of(caught.value) is Fault.LATER


def test_a_gateway_that_is_busy_before_the_login():
    with running_axis("lgsp-oauth2") as axis, axis.open("sender") as sender:
        axis.faults.plan(Answered(429, headers={"Retry-After": "3"}), path="/token")
        with pytest.raises(ConnectorError) as caught:
            sender.agencies()
        assert caught.value.retry_after_s == 3


def test_a_secret_in_a_query_is_in_no_error():
    with running_axis("lgsp-oauth2") as axis, axis.open("sender", unit_secret_in="query") as sender:
        sender.agencies()
        for fault in (CutRequest(), Answered(200, b"<html>"), Answered(500), Flooded(20 * 1024 * 1024)):
            axis.faults.plan(fault)
            with pytest.raises((ConnectorError, RefusedError)) as caught:
                sender.list_received(PackageKind.DOCUMENT)
            assert axis.secret("sender") not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


# One hub, many wires

HUB_WIRES = [*PUBLIC_WIRES]


@pytest.fixture(scope="module")
def axis():
    with running_axis("vxp") as axis:
        yield axis


@pytest.mark.parametrize("receiving", HUB_WIRES)
@pytest.mark.parametrize("sending", HUB_WIRES)
def test_what_one_wire_sends_another_receives(axis, tmp_path, sending, receiving):
    package = tmp_path / "x.edxml"
    number = int.from_bytes(os.urandom(5))
    make_package(package, sender="H99", recipients=["H99.1"], number=number, content=os.urandom(5000))
    with axis.open_wire(sending, "sender") as sender, axis.open_wire(receiving, "recipient") as recipient:
        before = {message.doc_id for message in recipient.list_received(PackageKind.DOCUMENT)}
        sender.send(package, sender_code="H99", kind=PackageKind.DOCUMENT)
        [message] = [
            message
            for message in recipient.list_received(PackageKind.DOCUMENT)
            if message.doc_id not in before
        ]
        recipient.fetch(message.doc_id, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == package.read_bytes()
        recipient.acknowledge(message.doc_id, TransportStatus.DONE)
        assert message.doc_id not in {left.doc_id for left in recipient.list_received(PackageKind.DOCUMENT)}


def test_the_same_package_by_two_wires_is_one_package(axis, tmp_path):
    package = tmp_path / "x.edxml"
    make_package(package, sender="H99", recipients=["H99.1"], number=int.from_bytes(os.urandom(5)))
    with axis.open_wire("vxp", "recipient") as recipient:
        before = len(recipient.list_received(PackageKind.DOCUMENT))
        for wire in HUB_WIRES:
            with axis.open_wire(wire, "sender") as sender:
                sender.send(package, sender_code="H99", kind=PackageKind.DOCUMENT)
        assert len(recipient.list_received(PackageKind.DOCUMENT)) == before + 1


def test_a_hub_does_not_trust_the_header_of_a_security_server_unless_told(axis):
    from vnedoc._internal import http

    assert "xroad" not in PUBLIC_WIRES
    with running_axis("vxp") as plain, http.make_client() as client:
        # The axis of the tests has the wire; a hub of its own options has not.
        assert client.get(plain.url + "/agencies").status_code == 403
    from vnedoc.testing.hub import running_hub

    with running_hub() as hub, http.make_client() as client:
        hub.add_system("T:GOV:A:B", "H99")
        assert client.get(hub.url + "/agencies", headers={"X-Road-Client": "T/GOV/A/B"}).status_code == 404


def test_every_kind_has_an_axis():
    from vnedoc.exchange.connectors import connector_kinds

    assert set(AXIS_KINDS) <= set(connector_kinds())
