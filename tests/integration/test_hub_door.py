"""The door of a hub: who is let in from where, how much they may send, and what the log says of it."""

import contextlib
import json
import logging
import os
import socket
import threading
import time

import httpx2
import pytest
import sqlalchemy as sa

from tests.hub_logs import recorded
from tests.integration.test_hub_vxp import Client
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, VnedocError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.exchange.models import Business
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.models import HubMessageRow
from vnedoc.testing.axes import running_axis
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

WIRES = ("vxp", "lgsp", "lgsp-oauth2", "bkav-rest", "bkav-soap", "xroad")
SENDER, RECIPIENT = "H99", "H99.1"
SYSTEMS = {"sender": "TEST:GOV:A:DOCS", "recipient": "TEST:GOV:B:DOCS"}
FINGERPRINT = "ab" * 32


def change(hub, system_id, **changes):
    Administration(hub.store, actor="TEST").change_system(system_id, **changes)


def outcome(axis, **options):
    """What a call of the sender comes to: nothing, or everything that an error says."""
    with axis.open("sender", **options) as connector:
        try:
            connector.agencies()
        except VnedocError as error:
            return type(error), error.code, {**error.values, "name": ""}
    return None


@pytest.fixture(scope="module", params=WIRES)
def axis(request):
    with running_axis(request.param) as axis:
        yield axis


@pytest.mark.parametrize(
    "changes",
    [{"networks": ["192.0.2.0/24", "2001:db8::/32"]}, {"certificates": [FINGERPRINT]}, {"disabled": True}],
)
def test_who_may_not_come_in_is_told_what_a_stranger_is_told(axis, changes):
    system_id = SYSTEMS["sender"]
    assert outcome(axis) is None
    change(axis.hub, system_id, **changes)
    try:
        refused = outcome(axis)
        if axis.has_secret:
            stranger = outcome(axis, secret=lambda _: "x" * 64)
        else:
            change(axis.hub, system_id, networks=[], certificates=[], disabled=True)
            stranger = outcome(axis)
        assert refused is not None
        assert refused == stranger
    finally:
        change(axis.hub, system_id, networks=[], certificates=[], disabled=False)
    assert outcome(axis) is None
    change(axis.hub, system_id, networks=["192.0.2.0/24", "127.0.0.0/8"])
    try:
        assert outcome(axis) is None
    finally:
        change(axis.hub, system_id, networks=[])


def test_a_system_over_its_rate_is_told_to_wait_in_the_words_of_each_wire():
    limits = Limits(requests_per_s=0.05, request_burst=3, slow_down_s=0.0)
    for kind in WIRES:
        with running_axis(kind, options=HubOptions(limits=limits)) as axis:
            found = [outcome(axis) for _ in range(6)]
            assert found[0] is None
            error, code, values = found[-1]
            assert (error, code) == (ConnectorError, "connector.busy"), kind
            assert 1 <= values["retry_after_s"] <= 20, kind
            # The other system has a bucket of its own.
            with axis.open("recipient") as other:
                other.agencies()


@pytest.mark.parametrize("kind", WIRES)
def test_a_full_disk_means_later_not_never(kind, tmp_path):
    with running_axis(kind, options=HubOptions(limits=Limits(min_free_bytes=1 << 62))) as axis:
        deadline = time.monotonic() + 20
        while axis.hub.hub.has_room and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        make_package(tmp_path / "x.edxml", sender=axis.sender_code, recipients=[axis.recipient_code])
        with axis.open("sender") as connector, pytest.raises(ConnectorError) as caught:
            connector.send(tmp_path / "x.edxml", sender_code=axis.sender_code, kind=PackageKind.DOCUMENT)
        assert caught.value.code == "connector.busy"
        assert httpx2.get(axis.hub.url + "/health/accepting").status_code == 503
        assert httpx2.get(axis.hub.url + "/health/ready").status_code == 200
        assert axis.hub.store.stats().documents == 0


# Proxies


@contextlib.contextmanager
def hub_with(folder, **options):
    with running_hub(folder, options=HubOptions(**options)) as hub:
        secret = hub.add_system("TEST.A", SENDER)
        hub.add_system("TEST.B", RECIPIENT)
        client = Client(hub.url, "TEST.A", secret, utc_now)
        with client.http:
            yield hub, client


def knocked(client, **headers):
    signed = client.headers([])
    return client.post("/getAgenciesList", headers={**signed, **headers}).status_code


def test_a_header_is_believed_of_a_trusted_proxy_only(tmp_path):
    with hub_with(tmp_path / "a") as (hub, client):
        change(hub, "TEST.A", networks=["192.0.2.0/24"])
        assert knocked(client, **{"X-Forwarded-For": "192.0.2.7"}) == 401
    with hub_with(tmp_path / "b", proxies=("127.0.0.0/8",)) as (hub, client):
        change(hub, "TEST.A", networks=["192.0.2.0/24"])
        assert knocked(client, **{"X-Forwarded-For": "192.0.2.7"}) == 200
        assert knocked(client, **{"X-Forwarded-For": "192.0.2.7, 198.51.100.1"}) == 401
        assert knocked(client) == 401


def test_a_fingerprint_is_believed_of_a_trusted_proxy_only(tmp_path):
    header = "X-Client-Sha256"
    with hub_with(tmp_path / "a", certificate_header=header) as (hub, client):
        change(hub, "TEST.A", certificates=[FINGERPRINT])
        assert knocked(client, **{header: FINGERPRINT}) == 401
    with hub_with(tmp_path / "b", certificate_header=header, proxies=("127.0.0.1",)) as (hub, client):
        change(hub, "TEST.A", certificates=["cd" * 32, FINGERPRINT])
        assert knocked(client, **{header: FINGERPRINT}) == 200
        assert knocked(client, **{header: FINGERPRINT.upper()}) == 200
        assert knocked(client, **{header: "ef" * 32}) == 401
        assert knocked(client) == 401


# Slow and many


def raw(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_slowloris_is_cut_off_and_others_are_served_meanwhile(tmp_path):
    limits = Limits(header_timeout_s=1.0, connections_per_address=40)
    with hub_with(tmp_path, limits=limits) as (hub, client), contextlib.ExitStack() as stack:
        slow = [stack.enter_context(raw(hub.url)) for _ in range(20)]
        began = time.monotonic()
        for connection in slow:
            connection.sendall(b"POST /sendEdoc HTTP/1.1\r\nHost: TEST\r\nX-a: ")
        assert knocked(client) == 200
        while time.monotonic() - began < 0.8:
            for connection in slow:
                connection.sendall(b"b")
            threading.Event().wait(0.1)
        for connection in slow:
            connection.settimeout(15)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 15
        assert knocked(client) == 200


def test_a_second_request_on_a_connection_must_come_in_time_too(tmp_path):
    with hub_with(tmp_path, limits=Limits(header_timeout_s=0.5)) as (hub, _), raw(hub.url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: TEST\r\n\r\n")
        assert b"200 OK" in connection.recv(1000)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost:")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1000):
                answer += piece
        assert b" 408 " in answer


def test_a_body_that_drips_is_given_up(tmp_path):
    limits = Limits(min_rate_grace_s=0.4, min_bytes_per_s=100_000)
    with hub_with(tmp_path / "hub", limits=limits) as (hub, client):
        make_package(tmp_path / "x.edxml", sender=SENDER, recipients=[RECIPIENT])
        content = (tmp_path / "x.edxml").read_bytes()
        enough = threading.Event()

        def dripping():
            for at in range(0, len(content), 30):
                yield content[at : at + 30]
                if enough.wait(0.02):
                    return

        began = time.monotonic()
        answer = client.send(content, body=dripping())
        enough.set()
        assert answer.status_code == 408
        assert time.monotonic() - began < 10
        assert not list((hub.folder / "payloads" / "incoming").iterdir())
        assert client.send(content).json()["status"] == "OK"


def test_connections_are_so_many_and_no_more(tmp_path):
    limits = Limits(connections=50, connections_per_address=10)
    with hub_with(tmp_path, limits=limits) as (hub, _), contextlib.ExitStack() as stack:
        kept = [stack.enter_context(raw(hub.url)) for _ in range(10)]
        for connection in kept:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: TEST\r\n\r\n")
            assert b"200 OK" in connection.recv(1000)
        with raw(hub.url) as further:
            assert further.recv(1000).startswith(b"HTTP/1.1 503 ")
        kept.pop().close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with raw(hub.url) as again:
                again.sendall(b"GET /health HTTP/1.1\r\nHost: TEST\r\n\r\n")
                if b"200 OK" in again.recv(1000):
                    return
        raise AssertionError("the place of a closed connection was not given to another")


def test_strangers_are_answered_late_when_they_hammer(tmp_path):
    limits = Limits(refused_per_minute=3, slow_down_s=0.4)
    with hub_with(tmp_path, limits=limits) as (_, client):
        wrong = Client(client.url, "TEST.A", "x" * 64, utc_now)
        with wrong.http:
            for _ in range(3):
                assert knocked(wrong) == 401
            began = time.monotonic()
            assert knocked(wrong) == 401
            assert time.monotonic() - began >= 0.4
            # Whoever belongs here comes in from the same address all the same.
            assert knocked(client) == 200


def uploading(client, content, stop):
    """Send a package of which the end does not come until told."""

    def body():
        yield content[:100]
        stop.wait(20)
        yield content[100:]

    return client.send(content, body=body())


def test_uploads_at_once_are_so_many_for_each_system(tmp_path):
    limits = Limits(uploads_per_system=2, upload_wait_s=0.3, slow_down_s=0.0)
    with hub_with(tmp_path / "hub", limits=limits) as (hub, client):
        contents = []
        for number in range(3):
            make_package(tmp_path / "x.edxml", sender=SENDER, recipients=[RECIPIENT], number=number + 1)
            contents.append((tmp_path / "x.edxml").read_bytes())
        stop = threading.Event()
        answers = []
        threads = [
            threading.Thread(target=lambda c=content: answers.append(uploading(client, c, stop)))
            for content in contents[:2]
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while hub.hub.shares.uploads < 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        third = client.send(contents[2])
        assert third.status_code == 429
        assert third.json()["ErrorCode"] == "28"
        assert int(third.headers["Retry-After"]) >= 1
        # Requests that bring no package are answered meanwhile.
        assert knocked(client) == 200
        stop.set()
        for thread in threads:
            thread.join(20)
        assert [answer.json()["status"] for answer in answers] == ["OK", "OK"]
        assert client.send(contents[2]).json()["status"] == "OK"
        # Room is given back right after the answer.
        deadline = time.monotonic() + 10
        while hub.hub.shares.uploads and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert (hub.hub.shares.uploads, hub.hub.shares.bytes) == (0, 0)


def test_a_flood_of_one_system_does_not_starve_another(tmp_path):
    # One place for all, and nobody gives up waiting: so the order in which packages come in is whose turn it was.
    many = 12
    limits = Limits(
        uploads=1, uploads_per_system=many, upload_wait_s=60, requests_per_s=1000, request_burst=1000
    )
    with hub_with(tmp_path / "hub", limits=limits) as (hub, flooder), contextlib.ExitStack() as stack:
        senders = {SENDER: flooder}
        for system_id, code in (("TEST.C", "H98"), ("TEST.D", "H97")):
            client = Client(hub.url, system_id, hub.add_system(system_id, code), utc_now)
            senders[code] = client
            stack.enter_context(client.http)
        answers, threads = [], []
        held = threading.Event()

        def content(code, number):
            path = tmp_path / f"{code}-{number}.edxml"
            make_package(path, sender=code, recipients=[RECIPIENT], number=number)
            return path.read_bytes()

        def begin(call, *arguments, **options):
            threads.append(
                threading.Thread(target=lambda: answers.append(call(*arguments, **options).json()["status"]))
            )
            threads[-1].start()

        def wait_for(condition):
            deadline = time.monotonic() + 30
            while not condition():
                assert time.monotonic() < deadline
                threading.Event().wait(0.005)

        begin(uploading, flooder, content(SENDER, 1), held)
        wait_for(lambda: hub.hub.shares.uploads == 1)
        for number in range(many):
            begin(flooder.send, content(SENDER, 2 + number))
        wait_for(lambda: hub.hub.shares.waiting == many)
        # The flood has a line of its own, of some length; who stands further behind comes later, and others do not.
        refused = flooder.send(content(SENDER, 100))
        assert (refused.status_code, int(refused.headers["Retry-After"]) >= 1) == (429, True)
        for step, code in enumerate(("H98", "H97"), 1):
            begin(senders[code].send, content(code, 1), sender=code)
            wait_for(lambda step=step: hub.hub.shares.waiting == many + step)
        held.set()
        for thread in threads:
            thread.join(60)
        assert answers == ["OK"] * (1 + many + 2)
        with hub.store.database.reading() as session:
            rows = session.execute(sa.select(HubMessageRow.sender_code).order_by(HubMessageRow.received_at))
            order = rows.scalars().all()
        # What held the place, then one of each line.
        assert order == [SENDER, SENDER, "H98", "H97"] + [SENDER] * (many - 1)


# Health, metrics, log


def test_health_and_metrics(tmp_path):
    with hub_with(tmp_path / "hub", admin=True) as (hub, client):
        make_package(tmp_path / "x.edxml", sender=SENDER, recipients=[RECIPIENT])
        content = (tmp_path / "x.edxml").read_bytes()
        for _ in range(2):
            assert client.send(content).json()["status"] == "OK"
        assert client.send(b"TEST").json()["status"] == "FAIL"
        [row] = hub.store.waiting("TEST.B", PackageKind.DOCUMENT)
        hub.hub.move("TEST.B", row.doc_id, TransportStatus.FAIL)
        for path in ("/health", "/health/live", "/health/ready", "/health/accepting"):
            assert httpx2.get(hub.url + path).status_code == 200, path
        found = dict(
            line.rsplit(" ", 1)
            for line in httpx2.get(hub.url + "/metrics").text.splitlines()
            if not line.startswith("#")
        )
        wanted = {
            'vnedoc_hub_inbound_received_total{kind="document"}': 1,
            "vnedoc_hub_duplicate_detected_total": 1,
            'vnedoc_hub_inbound_verify_rejected_total{reason="hub.unreadable-package"}': 1,
            "vnedoc_hub_payload_bytes_total": len(content),
            "vnedoc_hub_outbound_submitted_total": 1,
            'vnedoc_hub_outbound_attempts_total{outcome="fail"}': 1,
            'vnedoc_hub_delivery_seconds_count{stage="fail"}': 1,
            "vnedoc_hub_parked_messages": 1,
            'vnedoc_hub_deliveries{status="parked"}': 1,
            "vnedoc_hub_outbox_oldest_age_seconds": 0,
            "vnedoc_hub_uploads_in_flight": 0,
            'vnedoc_hub_requests_total{status="200",wire="vxp"}': 3,
        }
        assert {name: float(found[name]) for name in wanted} == wanted
        assert float(found["vnedoc_hub_store_disk_free_bytes"]) > 0
        assert float(found["vnedoc_hub_audit_chain_head_age_seconds"]) >= 0
        hub.hub.is_stopping = True
        assert httpx2.get(hub.url + "/health/ready").status_code == 503
        assert httpx2.get(hub.url + "/health/live").status_code == 200


@pytest.fixture
def log():
    with recorded(logging.DEBUG) as stream:
        yield stream


def test_a_hub_whose_database_is_away_is_alive_and_not_ready_and_says_why_once(tmp_path, monkeypatch, log):
    with hub_with(tmp_path) as (hub, _):

        def away():
            raise VnedocError("exchange.store-away", reason="TEST")

        def told():
            lines = [json.loads(line) for line in log.getvalue().splitlines()]
            return [
                (line["message"], line.get("reason")) for line in lines if line.get("check") == "database"
            ]

        monkeypatch.setattr(hub.store.database, "is_current", away)
        for _ in range(3):
            answer = httpx2.get(hub.url + "/health/ready")
            assert (answer.status_code, answer.json()["checks"]["database"]) == (503, False)
        assert httpx2.get(hub.url + "/health/live").status_code == 200
        assert told() == [("not ready", "exchange.store-away: TEST")]
        monkeypatch.setattr(hub.store.database, "is_current", lambda: True)
        for _ in range(2):
            assert httpx2.get(hub.url + "/health/ready").status_code == 200
        assert told()[1:] == [("ready again", None)]


@pytest.mark.parametrize("kind", WIRES)
def test_the_log_of_a_whole_exchange_holds_no_document_and_no_secret(kind, tmp_path, log, monkeypatch):
    with running_axis(kind) as axis:
        make_package(
            tmp_path / "x.edxml",
            sender=axis.sender_code,
            recipients=[axis.recipient_code],
            name="Nguyễn Văn MẬT TEST.pdf",
        )
        with axis.open("sender") as sender, axis.open("recipient") as recipient:
            sender.send(tmp_path / "x.edxml", sender_code=axis.sender_code, kind=PackageKind.DOCUMENT)
            [message] = recipient.list_received(PackageKind.DOCUMENT)
            recipient.fetch(message.doc_id, tmp_path / "fetched")
            recipient.acknowledge(message.doc_id, TransportStatus.DONE)

            # And what goes wrong inside, with words of the package in the exception.
            def broken(*_arguments, **_options):
                raise RuntimeError("Quyết định MẬT TEST")

            monkeypatch.setattr(axis.hub.store, "agencies", broken)
            with pytest.raises(VnedocError):
                sender.agencies()
        written = log.getvalue()
        lines = [json.loads(line) for line in written.splitlines()]
        calls = [line for line in lines if line["logger"] == "vnedoc.hub.access" and line["wire"] == kind]
        assert {line["system"] for line in calls} >= set(SYSTEMS.values())
        [trouble] = [line for line in lines if line.get("error") == "builtins.RuntimeError"]
        assert (trouble["message"], trouble["refusal"]) == ("a call failed", "hub.internal")
        assert trouble["at"][-1].endswith("broken")
        secrets = [axis.secret(role) for role in SYSTEMS] if axis.has_secret else []
        for word in (
            "MẬT",
            "V/v TEST",
            "UBND-TEST",
            "văn bản điện tử",
            *secrets,
            os.fspath(tmp_path / "x.edxml"),
        ):
            assert word not in written, word
            assert json.dumps(word)[1:-1] not in written, word


# What passes through


def test_a_recall_goes_to_those_who_got_the_document(tmp_path):
    with hub_with(tmp_path / "hub") as (hub, client):
        header = make_package(tmp_path / "x.edxml", sender=SENDER, recipients=[RECIPIENT])
        make_package(
            tmp_path / "y.edxml",
            sender=SENDER,
            recipients=[RECIPIENT],
            business=Business.recall(header.document_id, reason="TEST"),
        )
        receipts = [
            client.send((tmp_path / name).read_bytes()).json()["DocId"]
            for name in ("x.edxml", "y.edxml", "y.edxml")
        ]
        # A recall is a package of its own, and it too gets the same receipt again.
        assert receipts[0] != receipts[1] == receipts[2]
        waiting = hub.store.waiting("TEST.B", PackageKind.DOCUMENT)
        assert {row.sender_doc_id for row in waiting} == set(receipts)
        assert {row.recipient_code for row in waiting} == {RECIPIENT}
