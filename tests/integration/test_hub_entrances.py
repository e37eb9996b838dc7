"""What lets a system in ends at once, on every wire and in both databases: also while a package comes in."""

import abc
import base64
import contextlib
import dataclasses
import datetime
import itertools
import json
import socket
import threading

import httpx2
import pytest
import sqlalchemy as sa

from tests import edxml
from tests.clocks import Clock
from tests.hub_clients import HubClient
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.exchange import _vxp
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.blocks import key_block, status_block
from vnedoc.exchange._soap.envelope import SoapVersion, parse_envelope, wrapped
from vnedoc.exchange._soap.message import document_message
from vnedoc.exchange._soap.report import read_report
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.hub._bkav_numbers import number_of
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.options import PUBLIC_WIRES, HubOptions
from vnedoc.exchange.package import read_package, reply_header
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.exchange.stores.payloads import FolderPayloads
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_organization, make_package

SYSTEM, PEER, OTHER = "T:GOV:A:S", "T:GOV:B:S", "T:GOV:C:S"
# The system sends for one agency and receives for another: an agency with packages goes to nobody else.
SENDER, RECEIVER, PARTNER = "H99", "H99.2", "H99.1"
CERTIFICATE_HEADER, CERTIFICATE = "X-Client-Certificate", "ab" * 32
LIMIT_S = 60.0
JSON = {"Content-Type": "application/json"}
REGISTERED = json.dumps({"code": f"{SENDER}.9", "pcode": SENDER, "name": "TEST"}).encode()


@pytest.fixture
def clock():
    return Clock(utc_now())


@pytest.fixture
def hub(tmp_path, hub_url, clock):
    options = HubOptions(
        wires=(*PUBLIC_WIRES, "xroad"), proxies=("127.0.0.1",), certificate_header=CERTIFICATE_HEADER
    )
    with running_hub(tmp_path / "hub", clock=clock, database=hub_url, options=options) as hub:
        yield hub


@pytest.fixture
def other(hub, hub_url, clock):
    """Changes things in another process's view of the same hub."""
    with contextlib.closing(HubStore.open(hub.folder, url=hub_url)) as store:
        yield Administration(store, actor="test.admin", clock=clock)


@pytest.fixture
def systems(hub, other):
    """The secrets of two systems; one must show a certificate."""
    secrets = {SYSTEM: hub.add_system(SYSTEM, SENDER, RECEIVER), PEER: hub.add_system(PEER, PARTNER)}
    hub.add_system(OTHER, "H98")
    other.change_system(SYSTEM, certificates=[CERTIFICATE])
    return secrets


@pytest.fixture
def program(request, hub, systems, tmp_path):
    """The program of the system, on the wire that a test names."""
    return request.param(hub, systems[SYSTEM], tmp_path)


# How the right of a system ends. Where the time ends it, the time comes before the rest of the body.


def no_secret(other, _clock):
    other.rotate_secret(SYSTEM, overlap=datetime.timedelta(0))


def no_secret_in_time(other, clock):
    other.rotate_secret(SYSTEM, overlap=datetime.timedelta(minutes=10))
    clock.go_on(minutes=11)


def no_agency(other, _clock):
    other.remove_agency(SENDER)
    other.register_agencies(OTHER, [HubAgency(SENDER, SENDER)])


ENDINGS = {
    "disabled": lambda other, _clock: other.change_system(SYSTEM, disabled=True),
    "network": lambda other, _clock: other.change_system(SYSTEM, networks=["10.9.0.0/16"]),
    "certificate": lambda other, _clock: other.change_system(SYSTEM, certificates=["cd" * 32]),
    "secret": no_secret,
    "secret in time": no_secret_in_time,
    "agency": no_agency,
}
CHANGES = {
    "network": lambda other: other.change_system(SYSTEM, networks=["127.0.0.0/8"]),
    "certificate": lambda other: other.change_system(SYSTEM, certificates=["cd" * 32, CERTIFICATE]),
    "secret": lambda other: other.rotate_secret(SYSTEM, overlap=datetime.timedelta(hours=1)),
}
UNKNOWN_SENDER = "unknown sender"
NOT_LET_IN = "not let in"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as a program sends it."""

    method: str
    path: str
    headers: dict
    body: bytes = b""

    def whole(self):
        given = {
            "Host": "127.0.0.1",
            CERTIFICATE_HEADER: CERTIFICATE,
            "Connection": "close",
            **self.headers,
            "Content-Length": str(len(self.body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


class Program(abc.ABC):
    """What a system's program says on one wire, built before anything ends."""

    has_secret = True
    """Whether the caller shows a secret."""

    def __init__(self, hub, secret, folder):
        self.hub, self.secret, self.folder = hub, secret, folder
        self.numbers = itertools.count(1)
        self.log_in()

    def log_in(self):  # noqa: B027 - only wires with tokens have a login
        pass

    def post(self, path, **options):
        with httpx2.Client(timeout=LIMIT_S, headers={CERTIFICATE_HEADER: CERTIFICATE}) as client:
            return client.post(self.hub.url + path, **options).json()

    def package(self, *, sender=SENDER, recipient=PARTNER):
        path = self.folder / f"TEST-{next(self.numbers)}.edxml"
        content = b"%PDF-1.7 TEST " + bytes(100_000)
        make_package(path, sender=sender, recipients=[recipient], number=next(self.numbers), content=content)
        return path

    def put(self):
        """Let a package wait for the system; return its id."""
        package = self.package(sender=PARTNER, recipient=RECEIVER)
        with self.hub.store.payloads.temporary() as path:
            path.write_bytes(package.read_bytes())
            self.hub.hub.take(path, kind=PackageKind.DOCUMENT, sender=PARTNER, system_id=PEER, entrance=None)
        [waiting] = self.hub.store.waiting(SYSTEM, PackageKind.DOCUMENT)
        return waiting.doc_id

    @abc.abstractmethod
    def upload(self):
        """Return the request that brings a package."""

    @abc.abstractmethod
    def calls(self, doc_id):
        """Return the requests that list, fetch and acknowledge."""

    @abc.abstractmethod
    def told(self, status, body):
        """Return what an answer says: ``None`` if it is no refusal of those that a right that ended has."""


def form(name, **fields):
    parts = [
        f'--TEST\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    head = f'--TEST\r\nContent-Disposition: form-data; name="{name}"; filename="TEST.edxml"\r\n\r\n'
    return lambda content: "".join([*parts, head]).encode() + content + b"\r\n--TEST--\r\n"


FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=TEST"}


class VXP(Program):
    def signed(self, method, path, parameters, body=b""):
        whole = HubClient([0], SYSTEM, self.secret).request(method, path, parameters, body)
        lines = whole.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in lines)
        return Request(method, path, headers, body)

    def upload(self):
        client = HubClient([0], SYSTEM, self.secret)
        return self.signed(*client.package(self.package().read_bytes(), sender=SENDER))

    def calls(self, doc_id):
        listed = [("servicetype", "eDoc"), ("messagetype", "edoc")]
        return [
            self.signed("POST", _vxp.RECEIVED_PATH, listed),
            self.signed("POST", _vxp.SENT_PATH, listed),
            self.signed("POST", _vxp.FETCH_PATH, [("docId", doc_id)]),
            self.signed("GET", _vxp.DOWNLOAD_PATH, [("docId", doc_id)]),
            self.signed("POST", _vxp.STATUS_PATH, [("docId", doc_id), ("status", "processing")]),
            self.signed("POST", _vxp.AGENCY_PATH, []),
            self.signed("POST", _vxp.REGISTER_PATH, [("agencycode", f"{SENDER}.9")], REGISTERED),
            self.signed("POST", _vxp.UNREGISTER_PATH, [("agencycode", f"{SENDER}.9")]),
        ]

    def told(self, status, body):
        if status == 401:
            return NOT_LET_IN if json.loads(body)["ErrorCode"] == "15" else None
        return UNKNOWN_SENDER if b'"ErrorCode":"19"' in body else None


class LGSP(Program):
    def log_in(self):
        answer = self.post("/v1/auth/login", json={"username": SYSTEM, "password": self.secret})
        self.headers = {
            "Authorization": f"Bearer {answer['data']['token']}",
            "X-SystemId": SYSTEM,
            "X-SecretKey": self.secret,
        }

    def upload(self):
        body = form("edocFile", messageType="edoc")(self.package().read_bytes())
        return Request("POST", "/v1/sendEdoc", {**self.headers, **FORM_TYPE}, body)

    def calls(self, doc_id):
        day = f"{vietnam(self.hub.hub.clock()):%Y/%m/%d}"
        dates = f"fromDate={day}&toDate={day}"
        status = json.dumps({"docId": doc_id, "status": "processing"}).encode()
        return [
            Request("GET", f"/v1/syncReceivedEdocList?messageType=edoc&{dates}", self.headers),
            Request("GET", f"/v1/getEdoc?docId={doc_id}", self.headers),
            Request("POST", "/v1/updateStatus", {**self.headers, **JSON}, status),
            Request("GET", "/v1/getAgenciesList", self.headers),
        ]

    def told(self, status, body):
        if status == 401:
            return NOT_LET_IN if body == b"Unauthorized" else None
        return UNKNOWN_SENDER if b'"errorCode":"19"' in body else None


class OAuth2(Program):
    api = "/truclienthong/v1.0.0"

    def log_in(self):
        pair = f"{SYSTEM.replace(':', '%3A')}:{self.secret}".encode()
        basic = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        answer = self.post("/token", headers=basic, data={"grant_type": "client_credentials"})
        self.headers = {"Authorization": f"Bearer {answer['access_token']}", "secretDonVi": self.secret}

    def upload(self):
        file = base64.b64encode(self.package().read_bytes()).decode()
        body = json.dumps({"loaiVanBan": "edoc", "file": file}).encode()
        return Request("POST", f"{self.api}/vanbans", {**self.headers, **JSON}, body)

    def calls(self, doc_id):
        return [
            Request("GET", f"{self.api}/vanbans", self.headers),
            Request("GET", f"{self.api}/vanbans/{doc_id}", self.headers),
            Request("PUT", f"{self.api}/vanbans/{doc_id}?status=PROCESSING", self.headers),
            Request("GET", f"{self.api}/donvilienthongs", self.headers),
            Request("POST", f"{self.api}/donvilienthongs", {**self.headers, **JSON}, REGISTERED),
            Request("PUT", f"{self.api}/donvilienthongs?agencyCode={SENDER}.9", self.headers),
        ]

    def told(self, status, body):
        if status == 401:
            return NOT_LET_IN if json.loads(body)["fault"]["code"] == 900901 else None
        return UNKNOWN_SENDER if b'"errorCode":"19"' in body else None


class BkavREST(Program):
    def headers(self, organ_id, **more):
        return {"organid": organ_id, "authorization": self.secret, **more}

    def upload(self):
        headers = self.headers(SENDER, type="EDOC")
        return Request("POST", "/EdocService/sendDocument", headers, self.package().read_bytes())

    def calls(self, doc_id):
        numbered = self.headers(RECEIVER, docid=str(number_of(doc_id)))
        question = json.dumps({"fromOrgan": PARTNER, "toOrgan": RECEIVER, "docCode": "x"}).encode()
        asked = self.headers(RECEIVER, **JSON)
        return [
            Request("GET", "/EdocService/getPendingDocIds", self.headers(RECEIVER, type="EDOC")),
            Request("POST", "/EdocService/getDocument", numbered),
            Request("POST", "/EdocService/confirmReceived", numbered),
            Request("POST", "/EdocService/checkExistDocument", asked, question),
            self.agencies(),
        ]

    def agencies(self):
        return Request("GET", f"/EdocService/getOrganizations?organId={SENDER}", self.headers(SENDER))

    def told(self, _status, body):
        [error] = json.loads(body)["errors"] or [{"code": None}]
        return {"Unauthorized": NOT_LET_IN, "OrganId": UNKNOWN_SENDER}.get(error["code"])


class XRoad(Program):
    has_secret = False

    def log_in(self):
        self.headers = {"X-Road-Client": SYSTEM.replace(":", "/")}

    def upload(self):
        body = form("file")(self.package().read_bytes())
        headers = {**self.headers, **FORM_TYPE, "from": SENDER}
        return Request("POST", "/document/edocs/new", headers, body)

    def calls(self, doc_id):
        status = json.dumps({"status": "processing"}).encode()
        return [
            Request("GET", "/document/edocs", self.headers),
            Request("GET", f"/document/edocs/{doc_id}", self.headers),
            Request("PUT", f"/document/edocs/{doc_id}/status", {**self.headers, **JSON}, status),
            Request("GET", "/agencies", self.headers),
        ]

    def told(self, status, body):
        code = json.loads(body).get("code") if status in {403, 422} else None
        return {(403, "15"): NOT_LET_IN, (422, "19"): UNKNOWN_SENDER}.get((status, code))


class BkavSOAP(Program):
    def message(self, content, header=b""):
        body = wrapped(SoapVersion.V11, content, header=header)
        return Request("POST", names.PATH, {"Content-Type": "text/xml; charset=UTF-8"}, body)

    def ask(self, element, organ_id, **fields):
        fields = {"OrganId": organ_id, "Token": self.secret, **fields}
        inside = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
        return self.message(f"<{element}>{inside}</{element}>".encode())

    def upload(self):
        path = self.package()
        package = read_package(path, folder=path.with_suffix(".parts"))
        message = document_message(package, version=SoapVersion.V11, key=key_block(SENDER, self.secret))
        return Request("POST", names.PATH, {"Content-Type": message.content_type}, b"".join(message.body))

    def status(self):
        """Return the request that brings a status."""
        path = self.package(sender=PARTNER, recipient=SENDER)
        about = read_package(path, folder=path.with_suffix(".parts"))
        status = reply_header(
            about, sender=make_organization(SENDER), status_code=StatusCode.ACCEPTED, at=edxml.AT
        )
        return self.message(status_block(status, qualified=False), header=key_block(SENDER, self.secret))

    def confirm(self, doc_id):
        """Return the request that confirms a document, and so brings a status, too."""
        return self.ask("ConfirmReceived", RECEIVER, DocumentId=number_of(doc_id))

    def calls(self, doc_id):
        return [
            self.ask("GetPendingDocumentIdsRequest", RECEIVER),
            self.ask("GetDocumentRequest", RECEIVER, DocumentId=number_of(doc_id)),
            self.ask("GetTraces", RECEIVER),
            self.agencies(),
            self.status(),
            self.confirm(doc_id),
        ]

    def agencies(self):
        return self.ask("GetOrganizations", SENDER)

    def told(self, status, body):
        if not body.startswith(b"<"):
            return None
        content = parse_envelope([body]).content if status == 200 else None
        report = None if content is None else read_report(content)
        codes = [] if report is None else [code for code, _text in report.errors]
        return {"Permission": NOT_LET_IN, "M.OrganId": UNKNOWN_SENDER}.get(*codes) if codes else None


PROGRAMS = [VXP, LGSP, OAuth2, BkavREST, XRoad, BkavSOAP]
on_every_wire = pytest.mark.parametrize("program", PROGRAMS, indirect=True)


def endings(programs=PROGRAMS, *, apart_from=()):
    found = [
        pytest.param(program, ENDINGS[name], name, id=f"{program.__name__}-{name}")
        for program in programs
        for name in ENDINGS
        if name not in apart_from and (program.has_secret or not name.startswith("secret"))
    ]
    return pytest.mark.parametrize(("program", "end", "name"), found, indirect=["program"])


def connect(hub):
    return socket.create_connection(("127.0.0.1", int(hub.url.rpartition(":")[2])), LIMIT_S)


def answer(connection):
    """Return status and body; the hub closes the connection after them."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def ask(hub, request):
    with contextlib.closing(connect(hub)) as connection:
        connection.sendall(request.whole())
        return answer(connection)


@contextlib.contextmanager
def asked_who():
    """Give an event for: the hub asked its database who a caller is, and has the answer."""
    asked = threading.Event()

    def note(_connection, _cursor, statement, *_rest):
        if "hub_systems" in statement and "exists" in statement.lower():
            asked.set()

    sa.event.listen(sa.Engine, "after_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", note)


def in_two_halves(hub, request, between):
    """Send a request; in the middle of its body, after the caller was let in, do something."""
    whole = request.whole()
    middle = len(whole) - len(request.body) // 2
    with contextlib.closing(connect(hub)) as connection:
        with asked_who() as asked:
            connection.sendall(whole[:middle])
            assert asked.wait(LIMIT_S)
        between()
        connection.sendall(whole[middle:])
        return answer(connection)


def taken(hub):
    stats = hub.store.stats()
    return stats.documents + stats.statuses


@endings()
def test_what_ends_while_a_package_comes_in_brings_nothing_in(hub, program, other, clock, end, name):
    status, body = in_two_halves(hub, program.upload(), lambda: end(other, clock))
    # Who is let in as an agency in the envelope, after the body, is a stranger by then.
    ended = UNKNOWN_SENDER if name == "agency" and not isinstance(program, BkavSOAP) else NOT_LET_IN
    assert program.told(status, body) == ended, (status, body)
    assert taken(hub) == 0


@pytest.fixture
def before_the_end(monkeypatch):
    """Let something happen when a package was judged and is about to be taken over."""

    def arrange(act):
        kept = FolderPayloads.adopt

        def adopt(store, *args, **options):
            monkeypatch.setattr(FolderPayloads, "adopt", kept)
            act()
            return kept(store, *args, **options)

        monkeypatch.setattr(FolderPayloads, "adopt", adopt)

    return arrange


@pytest.mark.parametrize("program", [BkavSOAP], indirect=True)
@pytest.mark.parametrize("bring", ["upload", "status", "confirm"])
@pytest.mark.parametrize("name", [name for name in ENDINGS if name != "agency"])
def test_soap_what_ends_after_the_envelope_was_read(hub, program, other, clock, before_the_end, bring, name):
    doc_id = program.put()
    request = program.confirm(doc_id) if bring == "confirm" else getattr(program, bring)()
    before_the_end(lambda: ENDINGS[name](other, clock))
    status, body = ask(hub, request)
    assert program.told(status, body) == NOT_LET_IN, (status, body)
    assert taken(hub) == 1
    assert [row.status.value for row in hub.store.waiting(SYSTEM, PackageKind.DOCUMENT)] == ["initial"]


@on_every_wire
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_who_gets_in_in_another_way_goes_on(hub, program, other, change):
    request = program.upload()
    status, _body = in_two_halves(hub, request, lambda: change(other))
    assert status in {200, 201}
    assert taken(hub) == 1


@pytest.mark.parametrize("program", [XRoad], indirect=True)
def test_a_security_server_shows_no_secret(hub, program, other):
    status, _body = in_two_halves(
        hub, program.upload(), lambda: other.rotate_secret(SYSTEM, overlap=datetime.timedelta(0))
    )
    assert status == 201
    assert taken(hub) == 1


@endings(apart_from={"agency"})
def test_no_call_is_answered_after_the_end(hub, program, other, clock, end, name):
    doc_id = program.put()
    for request in program.calls(doc_id):
        status, body = ask(hub, request)
        assert status in {200, 201}, request.path
        assert program.told(status, body) is None, (request.path, body)
    requests = program.calls(doc_id)
    end(other, clock)
    for request in requests:
        status, body = ask(hub, request)
        assert program.told(status, body) == NOT_LET_IN, (request.path, status, body)


# Of the SOAP service, the envelope says who calls: nobody is asked about before it is there.
@endings([VXP, LGSP, OAuth2, BkavREST, XRoad], apart_from={"agency"})
def test_no_parameters_that_come_to_their_end_after_the_end(hub, program, other, clock, end, name):
    doc_id = program.put()
    [request] = [request for request in program.calls(doc_id) if request.body]
    before = hub.store.waiting(SYSTEM, PackageKind.DOCUMENT), hub.store.agencies()
    status, body = in_two_halves(hub, request, lambda: end(other, clock))
    assert program.told(status, body) == NOT_LET_IN, (status, body)
    assert (hub.store.waiting(SYSTEM, PackageKind.DOCUMENT), hub.store.agencies()) == before


@pytest.mark.parametrize("program", [BkavREST, BkavSOAP], indirect=True)
def test_who_calls_as_an_agency_must_still_have_it(hub, program, other, clock):
    request = program.agencies()
    assert program.told(*ask(hub, request)) is None
    no_agency(other, clock)
    assert program.told(*ask(hub, request)) == NOT_LET_IN
