"""The hub by its VXP wire, with requests built by hand: what it takes, and above all what it does not."""

import base64
import datetime
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx2
import pytest

from vnedoc import messages
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError
from vnedoc.exchange import _vxp
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.base import RemoteAgency
from vnedoc.exchange.connectors.vxp import AGENCY_CALLS, VXPConnector, VXPOptions
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.models import Business, BusinessDocumentInfo
from vnedoc.exchange.package import reply_header, write_package
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_organization, make_package

SENDER, RECIPIENT, OTHER = "H99", "H99.1", "H98"
ONE_MINUTE = datetime.timedelta(minutes=1)


class Client:
    """Makes VXP requests by hand, so that each part can be wrong."""

    def __init__(self, url, system_id, secret, clock):
        self.url, self.system_id, self.secret, self.clock = url, system_id, secret, clock
        self.http = httpx2.Client(timeout=20)
        self.count = 0

    def headers(self, parameters, *, content_type="application/json", moment=None, secret=None):
        self.count += 1
        moment = moment or self.clock() + datetime.timedelta(milliseconds=self.count)
        signed = [
            ("systemid", self.system_id),
            *parameters,
            ("timestamp", _vxp.timestamp(moment)),
            ("Content-Type", content_type),
        ]
        return _vxp.request_headers(signed, secret or self.secret)

    def post(self, path, parameters=(), *, content=b"", headers=None, **options):
        headers = headers or self.headers(list(parameters), **options)
        return self.http.post(self.url + path, headers=headers, content=content)

    def send(self, content, *, sender=SENDER, kind="edoc", file_hash=None, body=None, **options):
        file_hash = file_hash or _vxp.file_hash(hashlib.sha256(content).digest())
        parameters = [
            ("servicetype", "eDoc"),
            ("messagetype", kind),
            ("hash-file", file_hash),
            ("from", sender),
        ]
        return self.post(
            "/sendEdoc",
            parameters,
            content=content + b"\r\n" if body is None else body,
            content_type="application/octet-stream",
            **options,
        )

    def listed(self, kind="edoc"):
        answer = self.post("/getReceivedEdocList", [("servicetype", "eDoc"), ("messagetype", kind)]).json()
        assert answer["status"] == "OK"
        return answer["data"]


@pytest.fixture
def hub(tmp_path, clock):
    with running_hub(tmp_path / "hub", clock=clock, options=HubOptions(max_package_bytes=300_000)) as hub:
        yield hub


@pytest.fixture
def sender(hub, clock):
    client = Client(hub.url, "TEST.A", hub.add_system("TEST.A", SENDER), clock)
    with client.http:
        yield client


@pytest.fixture
def recipient(hub, clock):
    client = Client(hub.url, "TEST.B", hub.add_system("TEST.B", RECIPIENT, OTHER), clock)
    with client.http:
        yield client


@pytest.fixture
def make(tmp_path):
    def make(**options):
        path = tmp_path / "TEST.edxml"
        make_package(path, **{"sender": SENDER, "recipients": [RECIPIENT], **options})
        return path.read_bytes()

    return make


def refused(response, code, *, status=200):
    answer = response.json()
    assert (response.status_code, answer["status"], answer["ErrorCode"]) == (status, "FAIL", code)
    assert answer["ErrorDesc"]
    assert answer["DocId"] is None
    return answer["ErrorDesc"]


# What it takes


def test_one_payload_for_any_number_of_recipients(hub, sender, recipient, make, tmp_path):
    content = make(recipients=[RECIPIENT, OTHER, RECIPIENT])
    answer = sender.send(content).json()
    assert (answer["status"], answer["ErrorCode"]) == ("OK", "0")
    rows = recipient.listed()
    assert {row["to"] for row in rows} == {RECIPIENT, OTHER}
    assert len(rows) == 2
    assert answer["DocId"] not in {row["docId"] for row in rows}
    payloads = [path for path in (tmp_path / "hub" / "payloads" / "sha256").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in payloads] == [content]


def test_a_thousand_recipients(hub, sender, recipient, make):
    codes = [f"H99.{number}" for number in range(1000, 2000)]
    hub.store.register_agencies("TEST.B", [HubAgency(code, code) for code in codes])
    assert sender.send(make(recipients=codes)).json()["status"] == "OK"
    assert {row["to"] for row in recipient.listed()} == set(codes)
    assert hub.store.stats().deliveries["initial"] == 1000


def test_a_row_says_what_the_axis_says(sender, recipient, make, clock):
    sender.send(make())
    [row] = recipient.listed()
    assert row == {
        "docId": row["docId"],
        "serviceType": "eDoc",
        "messageType": "edoc",
        "created_time": "2026/11/21 10:00:00",
        "updated_time": "2026/11/21 10:00:00",
        "from": SENDER,
        "to": RECIPIENT,
        "status": "initial",
        "status_desc": "",
    }
    sent = sender.post("/getSentEdocList", [("servicetype", "eDoc"), ("messagetype", "edoc")]).json()["data"]
    assert sent[0]["receiverDocId"] == row["docId"]
    assert (sent[0]["toCode"], sent[0]["receiveStatus"]) == (RECIPIENT, "initial")
    assert sent[0]["notation"] == "15/UBND-TEST"


def test_getedoc_is_an_envelope_with_base64(sender, recipient, make):
    content = make()
    sender.send(content)
    [row] = recipient.listed()
    parameters = [("docId", row["docId"]), ("filePath", "C:/vxp/store")]
    response = recipient.post("/getEdoc", parameters, content=b"{}")
    assert int(response.headers["Content-Length"]) == len(response.content)
    answer = response.json()
    assert answer["status"] == "OK"
    assert base64.b64decode(answer["data"], validate=True) == content


def test_updatestatus_takes_the_spelling_and_order_of_the_axis_client(sender, recipient, make, clock):
    sender.send(make())
    [row] = recipient.listed()
    signed = [
        ("systemid", "TEST.B"),
        ("docid", row["docId"]),
        ("timestamp", _vxp.timestamp(clock() + ONE_MINUTE)),
        ("Content-Type", "application/json"),
        ("status", "done"),
    ]
    headers = _vxp.request_headers(signed, recipient.secret)
    assert recipient.post("/updateStatus", headers=headers, content=b"{}").json()["status"] == "OK"
    assert recipient.listed() == []


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("tail", [b"\r\n", b""])
def test_both_hash_forms_and_both_bodies(sender, make, padded, tail, recipient):
    content = make()
    file_hash = _vxp.file_hash(hashlib.sha256(content).digest(), padded=padded)
    assert sender.send(content, file_hash=file_hash, body=content + tail).json()["status"] == "OK"


def test_a_file_that_ends_in_a_line_end_keeps_it(hub, sender, recipient, make):
    content = make() + b"\r\n"
    assert sender.send(content).json()["status"] == "OK"
    delivery = hub.store.delivery("TEST.B", recipient.listed()[0]["docId"])
    assert delivery.payload.sha256 == hashlib.sha256(content).hexdigest()


def test_a_code_of_the_old_scheme_reaches_its_agency(hub, sender, recipient, make):
    hub.store.register_agencies("TEST.B", [HubAgency("H97", "TEST", old_code="000.00.00.H97")])
    assert sender.send(make(recipients=["000.00.00.H97", "H97"])).json()["status"] == "OK"
    assert [row["to"] for row in recipient.listed()] == ["H97"]


def test_the_list_of_agencies(hub, sender, recipient):
    hub.store.register_agencies(
        "TEST.B", [HubAgency("H97.1", "SỞ TEST", "H97", "a@test.vn", "000.00.01.H97")]
    )
    rows = {row["code"]: row for row in sender.post("/getAgenciesList").json()["data"]}
    assert set(rows) == {SENDER, RECIPIENT, OTHER, "H97.1"}
    assert rows["H97.1"] == {
        "id": "H97.1",
        "pid": "H97",
        "code": "H97.1",
        "name": "SỞ TEST",
        "mail": "a@test.vn",
        "oldCode": "000.00.01.H97",
    }


def test_health(hub):
    assert httpx2.get(hub.url + "/health").text == "ok"


# The same again, and not quite the same


def test_the_same_package_again_gets_the_stored_receipt(hub, sender, recipient, make, clock):
    content = make()
    first = sender.send(content)
    clock.now += ONE_MINUTE
    assert sender.send(content).content == first.content
    assert len(recipient.listed()) == 1


def test_the_receipt_outlives_the_registration_of_the_recipient(hub, sender, recipient, make):
    content = make()
    first = sender.send(content)
    hub.add_system("TEST.C")
    hub.store.register_agencies("TEST.C", [HubAgency(RECIPIENT, "TEST")])
    assert sender.send(content).content == first.content


def test_the_same_identifier_with_other_content_is_a_conflict(hub, sender, recipient, make):
    sender.send(make())
    text = refused(sender.send(make(content=b"%PDF-1.7 other")), "24")
    assert "H99,2026/11/20,15/UBND-TEST" in text
    assert len(recipient.listed()) == 1


def test_an_update_of_a_document_is_no_conflict(sender, recipient, make):
    sender.send(make())
    update = Business.update(
        "H99,2026/11/20,15/UBND-TEST", document_info=BusinessDocumentInfo(document_info=True)
    )
    assert sender.send(make(business=update)).json()["status"] == "OK"
    assert len(recipient.listed()) == 2


def test_the_same_package_from_many_threads_is_taken_once(hub, sender, recipient, make, clock):
    content = make()
    receipts = []

    def work(number):
        client = Client(
            hub.url, "TEST.A", sender.secret, lambda: clock() + number * datetime.timedelta(seconds=1)
        )
        with client.http:
            receipts.append(client.send(content).content)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == 6
    assert len(set(receipts)) == 1
    assert len(recipient.listed()) == 1


# The calls of newer adapters


def test_agencies_by_level_and_scheme(hub, sender, recipient):
    hub.store.register_agencies("TEST.A", [HubAgency(SENDER, "TỈNH TEST", old_code="000.00.00.H99")])

    def codes(**parameters):
        answer = sender.post("/getAgenciesListQD20", list(parameters.items())).json()
        return {row["code"]: row["code102"] for row in answer["data"]}

    assert codes(level="1") == {SENDER: "000.00.00.H99", OTHER: ""}
    assert set(codes(level="2")) == {RECIPIENT}
    assert codes(level="3") == {}
    assert set(codes()) == set(codes(level="0")) == {SENDER, OTHER, RECIPIENT}
    for level in ("x", "-1", "999"):
        refused(sender.post("/getAgenciesListQD20", [("level", level)]), "26")


def test_units_have_the_further_fields(sender, recipient):
    rows = sender.post("/getSynchronizeUnit").json()["data"]
    assert {row["code"] for row in rows} == {SENDER, OTHER, RECIPIENT}
    assert {"version", "centerCode", "deleted", "modifyDate", "isAgency"} <= set(rows[0])


def test_what_waits_is_counted(sender, recipient, make):
    def count(path, *parameters):
        return recipient.post(path, list(parameters), content=b"{}").json()["count"]

    assert count("/countReceiveEdoc", ("messagetype", "edoc")) == 0
    sender.send(make(number=1))
    sender.send(make(number=2))
    assert count("/countReceiveEdoc", ("messagetype", "edoc")) == count("/countReceiveEdoc") == 2
    assert count("/countReceiveStatus") == 0
    [first, _second] = recipient.listed()
    recipient.post("/updateStatus", [("docid", first["docId"]), ("status", "done")], content=b"{}")
    assert count("/countReceiveEdoc", ("messagetype", "edoc")) == 1


def test_agencies_are_registered_below_ones_own(hub, sender, recipient):
    def register(client, signed, parent, **fields):
        body = {"id": "", "pid": parent, "code": signed, "name": "XÃ TEST", "mail": "x@test", **fields}
        return client.post("/registerAgency", [("agencycode", signed)], content=json.dumps(body).encode())

    def codes():
        return {row["code"]: row for row in sender.post("/getAgenciesList").json()["data"]}

    assert register(sender, f"{SENDER}.7", SENDER).json()["status"] == "OK"
    assert codes()[f"{SENDER}.7"]["name"] == "XÃ TEST"
    assert codes()[f"{SENDER}.7"]["pid"] == SENDER
    # Again, with another name.
    assert register(sender, f"{SENDER}.7", SENDER, name="XÃ KHÁC TEST").json()["status"] == "OK"
    assert codes()[f"{SENDER}.7"]["name"] == "XÃ KHÁC TEST"
    refused(register(recipient, f"{SENDER}.7", RECIPIENT), "19")
    refused(register(sender, RECIPIENT, SENDER), "19")
    refused(register(sender, "H01", "H02"), "19")
    refused(register(sender, f"{SENDER}.8", SENDER, code="H01"), "26")
    refused(sender.post("/registerAgency", [("agencycode", f"{SENDER}.8")], content=b"x"), "26")
    refused(recipient.post("/deleteAgency", [("agencycode", f"{SENDER}.7")], content=b"{}"), "19")
    removed = sender.post("/deleteAgency", [("agencycode", f"{SENDER}.7")], content=b"{}")
    assert removed.json()["status"] == "OK"
    assert f"{SENDER}.7" not in codes()


def test_an_agency_with_mail_is_not_removed(sender, recipient, make):
    sender.send(make())
    refused(recipient.post("/deleteAgency", [("agencycode", RECIPIENT)], content=b"{}"), "26")
    assert len(recipient.listed()) == 1


def test_the_connector_makes_the_same_calls(hub, sender, recipient):
    options = {"secret": lambda _: sender.secret, "clock": sender.clock}
    for call in AGENCY_CALLS:
        # The clock of the tests stands still: another connector in the same millisecond would be a replay.
        sender.clock.now += datetime.timedelta(seconds=1)
        with VXPConnector(hub.url, "TEST.A", options=VXPOptions(agency_call=call), **options) as connector:
            assert {agency.code for agency in connector.agencies()} == {SENDER, RECIPIENT, OTHER}
    sender.clock.now += datetime.timedelta(seconds=1)
    with VXPConnector(hub.url, "TEST.A", **options) as connector:
        connector.register_agency(RemoteAgency(f"{SENDER}.9", "XÃ TEST", SENDER))
        found = {agency.code: agency for agency in connector.agencies()}[f"{SENDER}.9"]
        assert (found.name, found.parent_code) == ("XÃ TEST", SENDER)
        connector.delete_agency(f"{SENDER}.9")
        assert connector.count_received(PackageKind.DOCUMENT) == 0
        assert connector.count_received(PackageKind.STATUS) == 0


# Who may not call


def test_not_signed(sender):
    refused(sender.http.post(sender.url + "/getAgenciesList"), "15", status=401)


def test_wrong_secret_and_unknown_system_look_the_same(sender):
    wrong = refused(sender.post("/getAgenciesList", secret="TEST-WRONG"), "15", status=401)
    sender.system_id = "TEST.NOBODY"
    assert refused(sender.post("/getAgenciesList"), "15", status=401) == wrong


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XroadVnpt-systemid", "TEST.B"),
        ("XroadVnpt-docId", "other"),
        ("XroadVnpt-timestamp", "21112026T090000+0500"),
        ("XroadVnpt-sign-header-key", "systemid;timestamp"),
        ("XroadVnpt-hash-header", "0" * 64),
        ("XroadVnpt-hash-header", ""),
        ("XroadVnpt-sign-header", "{}"),
        ("XroadVnpt-sign-header", "x" * 20_000),
    ],
)
def test_a_changed_header_is_noticed(sender, recipient, name, value):
    headers = sender.headers([("docId", "x"), ("filePath", "store")])
    headers[name] = value
    refused(sender.post("/getEdoc", headers=headers, content=b"{}"), "15", status=401)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_too_far_off(sender, clock, minutes):
    moment = clock() + datetime.timedelta(minutes=minutes)
    refused(sender.post("/getAgenciesList", moment=moment), "15", status=401)


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_a_little_off(sender, clock, minutes):
    moment = clock() + datetime.timedelta(minutes=minutes)
    assert sender.post("/getAgenciesList", moment=moment).json()["status"] == "OK"


def test_a_replayed_request_is_refused_for_as_long_as_it_would_be_let_in(hub, sender, clock, tmp_path):
    headers = sender.headers([], moment=clock() + datetime.timedelta(minutes=14))
    assert sender.post("/getAgenciesList", headers=headers).json()["status"] == "OK"
    refused(sender.post("/getAgenciesList", headers=headers), "15", status=401)
    clock.now += datetime.timedelta(minutes=28)
    refused(sender.post("/getAgenciesList", headers=headers), "15", status=401)
    # The signature in capital letters is the same signature.
    shouted = {**headers, "XroadVnpt-hash-header": headers["XroadVnpt-hash-header"].upper()}
    refused(sender.post("/getAgenciesList", headers=shouted), "15", status=401)


def test_a_request_seen_before_a_restart_is_a_replay_after_it(tmp_path, clock):
    with running_hub(tmp_path / "hub", clock=clock) as hub:
        client = Client(hub.url, "TEST.A", hub.add_system("TEST.A"), clock)
        headers = client.headers([])
        assert client.post("/getAgenciesList", headers=headers).status_code == 200
        client.http.close()
    with running_hub(tmp_path / "hub", clock=clock) as hub:
        client = Client(hub.url, "TEST.A", client.secret, clock)
        refused(client.post("/getAgenciesList", headers=headers), "15", status=401)
        client.http.close()


def test_old_requests_are_forgotten(hub, sender, clock, monkeypatch):
    import sqlalchemy as sa

    monkeypatch.setattr("vnedoc.exchange.stores._hub_admission._EVERY", 6)
    for _ in range(5):
        sender.post("/getAgenciesList")
    clock.now += datetime.timedelta(hours=1)
    sender.post("/getAgenciesList")
    with hub.store.database.reading() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM hub_seen_requests")) == 1


# What it does not take


def test_a_sender_that_is_not_registered_for_the_system(sender, recipient, make):
    text = refused(sender.send(make(sender=RECIPIENT), sender=RECIPIENT), "19")
    assert RECIPIENT in text
    assert recipient.listed() == []


def test_a_package_from_another_sender_than_the_header_says(sender, recipient, make):
    refused(sender.send(make(sender=OTHER)), "19")
    # Not even if both are agencies of the caller.
    refused(recipient.send(make(sender=OTHER, recipients=[SENDER]), sender=RECIPIENT), "19")
    assert sender.listed() == []


def test_unknown_recipients_refuse_the_whole_package(hub, sender, recipient, make):
    text = refused(sender.send(make(recipients=[RECIPIENT, "H01", "H02"])), "18")
    assert "H01, H02" in text
    assert RECIPIENT not in text
    assert recipient.listed() == []
    assert hub.store.stats().documents == 0


@pytest.mark.parametrize(
    "content",
    [
        b"TEST",
        b"<edXML/>",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><edXML>&e;</edXML>',
        b"\x00" * 1000,
        b"<a>" * 50_000,
    ],
)
def test_what_is_no_package(hub, sender, content, tmp_path):
    text = refused(sender.send(content), "22")
    assert str(tmp_path) not in text
    assert "Traceback" not in text
    assert not list((tmp_path / "hub" / "payloads" / "incoming").iterdir())


def test_a_status_announced_as_a_document(sender, recipient, make):
    refused(sender.send(make(), kind="status"), "22")


def test_another_body_than_was_signed_for(hub, sender, make, tmp_path):
    content = make()
    refused(sender.send(content, body=content.replace(b"TEST", b"ABCD") + b"\r\n"), "10")
    refused(sender.send(content, body=content[:-1]), "10")
    refused(sender.send(content, body=b""), "10")
    assert hub.store.stats().documents == 0
    assert not list((tmp_path / "hub" / "payloads" / "incoming").iterdir())


def test_a_package_over_the_limit(sender, make, tmp_path):
    content = make(content=b"%PDF" + b"x" * 400_000)
    refused(sender.send(content), "10", status=413)
    assert not list((tmp_path / "hub" / "payloads" / "incoming").iterdir())


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/getReceivedEdocList", []),
        ("/getReceivedEdocList", [("messagetype", "fax")]),
        ("/getEdoc", []),
        ("/updateStatus", [("docid", "x")]),
        ("/updateStatus", [("docid", "x"), ("status", "04")]),
        ("/sendEdoc", [("messagetype", "edoc"), ("from", SENDER)]),
    ],
)
def test_missing_and_strange_parameters(sender, path, parameters):
    refused(sender.post(path, parameters), "26")


def test_a_parameter_that_was_not_signed_does_not_count(sender, recipient, make):
    sender.send(make())
    [row] = recipient.listed()
    headers = {**recipient.headers([("docid", row["docId"])]), "XroadVnpt-status": "done"}
    refused(recipient.post("/updateStatus", headers=headers, content=b"{}"), "26")
    assert len(recipient.listed()) == 1


def test_another_system_sees_nothing(hub, sender, recipient, make, clock):
    sender.send(make())
    [row] = recipient.listed()
    stranger = Client(hub.url, "TEST.C", hub.add_system("TEST.C", "H97"), clock)
    with stranger.http:
        assert stranger.listed() == []
        for client in (stranger, sender):
            refused(client.post("/getEdoc", [("docId", row["docId"])], content=b"{}"), "25")
            refused(client.post("/updateStatus", [("docid", row["docId"]), ("status", "done")]), "25")
            refused(
                client.http.get(hub.url + "/downloadEdoc", headers=client.headers([("docId", row["docId"])])),
                "25",
            )


@pytest.mark.parametrize("back", ["initial", "processing", "fail"])
def test_the_transport_status_never_moves_backwards(sender, recipient, make, back):
    sender.send(make())
    [row] = recipient.listed()
    for word in ("processing", "done", "DONE"):
        answer = recipient.post("/updateStatus", [("docid", row["docId"]), ("status", word)], content=b"{}")
        assert answer.json()["status"] == "OK"
    refused(recipient.post("/updateStatus", [("docid", row["docId"]), ("status", back)], content=b"{}"), "27")


def test_unknown_paths_and_methods(sender):
    assert sender.http.get(sender.url + "/sendEdoc").status_code == 405
    assert sender.http.post(sender.url + "/nothing").status_code == 404


def test_trouble_inside_is_not_shown_and_worth_another_try(
    hub, sender, recipient, make, tmp_path, monkeypatch
):
    def broken(*_args, **_kwargs):
        raise OSError(28, "TEST no space left", str(tmp_path))

    monkeypatch.setattr(hub.store.payloads, "put", broken)
    content = make()
    response = sender.send(content)
    text = refused(response, "20", status=500)
    assert "TEST no space" not in text
    assert str(tmp_path) not in response.text
    with VXPConnector(hub.url, "TEST.A", secret=lambda _: sender.secret, clock=sender.clock) as connector:
        (tmp_path / "again").write_bytes(content)
        with pytest.raises(ConnectorError):
            connector.send(tmp_path / "again", sender_code=SENDER, kind=PackageKind.DOCUMENT)
    monkeypatch.undo()
    assert sender.send(content).json()["status"] == "OK"


def begin_sending(client, content):
    """Open a connection and send only the beginning of a package."""
    parameters = [
        ("messagetype", "edoc"),
        ("hash-file", hashlib.sha256(content).hexdigest()),
        ("from", SENDER),
    ]
    headers = client.headers(parameters, content_type="application/octet-stream")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = ["POST /sendEdoc HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *lines, "", ""]
    host, port = client.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall("\r\n".join(head).encode() + content[:500])
    return connection


def test_a_caller_that_hangs_up_leaves_nothing(hub, sender, make):
    begin_sending(sender, make()).close()
    # The next request is answered as if nothing had been.
    assert sender.post("/getAgenciesList").json()["status"] == "OK"
    assert hub.store.stats().documents == 0


def test_a_caller_that_stops_half_way_is_given_up(tmp_path, clock, make, monkeypatch):
    monkeypatch.setattr("vnedoc.exchange.hub.answering._DRAIN_TIMEOUT_S", 0.05)
    options = HubOptions(upload_timeout_s=0.05)
    with running_hub(tmp_path / "slow", clock=clock, options=options) as hub:
        client = Client(hub.url, "TEST.A", hub.add_system("TEST.A", SENDER), clock)
        with client.http, begin_sending(client, make()) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert not list((tmp_path / "slow" / "payloads" / "incoming").iterdir())
        assert hub.store.stats().documents == 0


# Statuses


def status_package(tmp_path, document, *, sender, code, receiver=None):
    header = reply_header(
        document,
        sender=make_organization(sender),
        status_code=code,
        at=datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC),
        description="TEST",
        receiver=receiver,
    )
    write_package(header, [], tmp_path / "status.edxml")
    return (tmp_path / "status.edxml").read_bytes()


def test_a_status_goes_to_the_sender_of_the_document(sender, recipient, tmp_path):
    document = make_package(tmp_path / "d.edxml", sender=SENDER, recipients=[RECIPIENT])
    content = status_package(tmp_path, document, sender=RECIPIENT, code=StatusCode.ACCEPTED)
    assert recipient.send(content, sender=RECIPIENT, kind="status").json()["status"] == "OK"
    assert sender.listed() == []
    [row] = sender.listed("status")
    assert (row["from"], row["to"], row["messageType"]) == (RECIPIENT, SENDER, "status")


def test_a_request_to_give_back_goes_to_the_receiver(sender, recipient, tmp_path):
    document = make_package(tmp_path / "d.edxml", sender=SENDER, recipients=[RECIPIENT])
    content = status_package(tmp_path, document, sender=SENDER, code=StatusCode.TAKE_BACK, receiver=RECIPIENT)
    assert sender.send(content, kind="status").json()["status"] == "OK"
    [row] = recipient.listed("status")
    assert (row["from"], row["to"]) == (SENDER, RECIPIENT)


def test_a_document_announced_as_a_status(sender, recipient, tmp_path):
    document = make_package(tmp_path / "d.edxml", sender=SENDER, recipients=[RECIPIENT])
    content = status_package(tmp_path, document, sender=RECIPIENT, code=StatusCode.ACCEPTED)
    refused(recipient.send(content, sender=RECIPIENT), "22")


# Durability

SERVER = """
import sys
from pathlib import Path
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.serving import ServeSettings, listen, serve_sockets
settings = ServeSettings(folder=Path(sys.argv[1]), options=HubOptions(), drain_s=0)
serve_sockets(settings, wires=listen("127.0.0.1", int(sys.argv[2])))
"""


def start(folder, port):
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder), str(port)])
    for _ in range(2000):
        assert process.poll() is None
        try:
            httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5)
        except httpx2.HTTPError:
            threading.Event().wait(0.01)
        else:
            return process
    process.kill()
    raise AssertionError("the hub did not start")


def test_what_was_answered_for_survives_a_kill(tmp_path):
    folder = tmp_path / "hub"
    store = HubStore.open(folder)
    store.add_system("TEST.A", name="TEST", secret="S" * 72, at=utc_now())
    store.register_agencies("TEST.A", [HubAgency(SENDER, "TEST"), HubAgency(RECIPIENT, "TEST")])
    store.close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    receipts = {}
    for number in range(3):
        process = start(folder, port)
        try:
            with VXPConnector(f"http://127.0.0.1:{port}", "TEST.A", secret=lambda _: "S" * 72) as connector:
                for step in range(3):
                    package = tmp_path / f"{number}-{step}.edxml"
                    make_package(package, sender=SENDER, recipients=[RECIPIENT], number=10 * number + step)
                    receipts[package] = connector.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    process = start(folder, port)
    try:
        with VXPConnector(f"http://127.0.0.1:{port}", "TEST.A", secret=lambda _: "S" * 72) as connector:
            sent = {
                report.receiver_doc_id: report.sender_doc_id
                for report in connector.list_sent(PackageKind.DOCUMENT)
            }
            fetched = {}
            for message in connector.list_received(PackageKind.DOCUMENT):
                output = tmp_path / "fetched"
                connector.fetch(message.doc_id, output)
                fetched[sent[message.doc_id]] = output.read_bytes()
            assert fetched == {doc_id: path.read_bytes() for path, doc_id in receipts.items()}
            # And the receipts are the same for who sends again.
            for path, doc_id in receipts.items():
                assert connector.send(path, sender_code=SENDER, kind=PackageKind.DOCUMENT) == doc_id
    finally:
        process.terminate()
        process.wait(20)


def test_the_secret_is_in_no_answer(sender, recipient, make):
    content = make()
    texts = [
        sender.send(content).text,
        json.dumps(recipient.listed()),
        sender.post("/getAgenciesList").text,
        sender.post("/getAgenciesList", secret="TEST-WRONG").text,
    ]
    assert not any(sender.secret in text or recipient.secret in text for text in texts)


# Its language


@pytest.mark.parametrize("language", Language)
def test_why_a_package_cannot_be_read_is_told_in_the_language_of_the_hub(tmp_path, clock, make, language):
    """Whole sentences, in one language: also what the reader and the parser say."""
    package = make()
    wrong = {
        "not xml": b"TEST",
        "no base64": package.replace(b"JVBERi", b"*VBERi"),
        "cut": package[: len(package) // 2],
        "invalid": package.replace(b"H99.1<", b"H99.1 *<"),
    }
    options = HubOptions(language=language)
    with running_hub(tmp_path / "hub", clock=clock, options=options) as hub:
        client = Client(hub.url, "TEST.A", hub.add_system("TEST.A", SENDER), clock)
        with client.http:
            told = {name: client.send(content).json()["ErrorDesc"] for name, content in wrong.items()}
    other = {Language.VI: r"\b(the|is|not|cannot|of|has|package)\b", Language.EN: "[à-ỹđ]"}[language]
    for name, text in told.items():
        start = messages.text("hub.unreadable-package", language, reason="")
        assert text.startswith(start), (name, text)
        assert not re.search(other, text.replace("QĐ", "").lower()), (name, text)
        assert str(tmp_path) not in text
