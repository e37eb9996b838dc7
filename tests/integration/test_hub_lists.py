"""What a hub lists: bounded whatever others sent, nothing hidden by what nobody asked for, written in threads."""

import base64
import dataclasses
import datetime
import hashlib
import io
import re
import threading

import httpx2
import pytest
import sqlalchemy as sa
import starlette.responses

from tests.clocks import NOW
from tests.hub_clients import HubClient, Reply
from tests.hubs import fill, open_store, package
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.exchange import _vxp
from vnedoc.exchange._edxml.dialects import VNPT
from vnedoc.exchange._edxml.writer import write
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.options import PUBLIC_WIRES, HubOptions
from vnedoc.exchange.package import reply_header
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores import _hub_lists, hub_traces
from vnedoc.exchange.stores.hub_deliveries import HubDeliveries
from vnedoc.exchange.stores.hub_lookup import HubLookup
from vnedoc.exchange.stores.hub_traffic import HubTraffic
from vnedoc.exchange.stores.models import MAX_KEY_CHARS, MAX_SHOWN_CHARS
from vnedoc.exchange.stores.payloads import StoredPayload
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_organization, make_package

DOCUMENT = PackageKind.DOCUMENT
SENDER, RECIPIENT, OTHER = "H99", "H98", "H98.1"
DAY = datetime.timedelta(days=1)
SHORT = "T" * (MAX_SHOWN_CHARS - 1) + "…"


@pytest.fixture
def store(hub_url, tmp_path):
    store = open_store(hub_url, tmp_path)
    fill(Administration(store, actor="TEST"))
    yield store
    store.close()


def keep(store, number, *, at=NOW, recipients=(RECIPIENT,), **changes):
    made = package(number, *recipients)
    values = {name: getattr(made, name) for name in made.__slots__} | changes
    payload = StoredPayload(hashlib.sha256(str(number).encode()).hexdigest(), 1000)
    return store.take(type(made)(**values), payload, system_id="TEST.A", at=at, receipt=str)


# Bounded


def test_texts_are_kept_as_long_as_lists_show_them(store):
    doc_id = keep(store, 1, title="T" * 5000)
    [row] = store.waiting("TEST.B", DOCUMENT)
    store.deliveries.move("TEST.B", row.doc_id, TransportStatus.DONE, text="T" * 5000, at=NOW)
    [sent] = store.sent("TEST.A", DOCUMENT)
    assert (sent.title, sent.status_text) == (SHORT, SHORT)
    assert store.delivery("TEST.B", row.doc_id).title == SHORT
    assert HubTraffic(store).message(doc_id).summary.title == SHORT
    assert [event.detail for event in HubDeliveries(store.database).history(doc_id)] == [None, SHORT]
    for column, table in (("title", "messages"), ("status_text", "deliveries"), ("detail", "events")):
        with store.database.reading() as session:
            query = f"SELECT max(length({column})) FROM hub_{table}"
            assert session.scalar(sa.text(query)) == MAX_SHOWN_CHARS


def test_a_text_that_is_not_too_long_stays_as_it_is(store):
    title = "ộ" * MAX_SHOWN_CHARS
    keep(store, 1, title=title)
    assert store.sent("TEST.A", DOCUMENT)[0].title == title


def test_rows_that_an_older_version_wrote_are_cut_where_they_are_read(store):
    message_id = keep(store, 1)
    [row] = store.waiting("TEST.B", DOCUMENT)
    with store.database.writing() as session:
        long = {"text": "T" * 5000, "id": message_id}
        session.execute(
            sa.text(
                "UPDATE hub_messages SET title = :text, notation = :text, document_id = :text WHERE id = :id"
            ),
            long,
        )
        session.execute(sa.text("UPDATE hub_deliveries SET status_text = :text"), {"text": "T" * 5000})
    name = "T" * (MAX_KEY_CHARS - 1) + "…"
    [waiting], [sent] = store.waiting("TEST.B", DOCUMENT), store.sent("TEST.A", DOCUMENT)
    assert waiting.status_text == SHORT
    assert (sent.title, sent.notation, sent.status_text) == (SHORT, name, SHORT)
    detail = HubTraffic(store).message(message_id)
    assert (detail.summary.title, detail.summary.document_id) == (SHORT, name)
    assert detail.recipients[0].status_text == SHORT
    assert [item.title for item in HubTraffic(store).messages()] == [SHORT]
    assert store.delivery("TEST.B", row.doc_id).notation == name


def test_who_asks_by_a_long_notation_does_not_find_another(store):
    keep(store, 1, notation="T" * MAX_KEY_CHARS)
    lookup = HubLookup(store)
    assert lookup.exists(SENDER, RECIPIENT, "T" * MAX_KEY_CHARS)
    assert not lookup.exists(SENDER, RECIPIENT, "T" * (MAX_KEY_CHARS + 1))


def test_a_list_of_what_waits_reads_no_titles(store):
    keep(store, 1)
    asked = []

    def note(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    assert len(store.waiting("TEST.B", DOCUMENT)) == 1
    [query] = [statement for statement in asked if "hub_deliveries" in statement]
    for name in ("title", "notation", "search_text", "receipt", "document_id"):
        assert name not in query


def test_what_was_sent_ends_in_the_middle_of_a_package(store, monkeypatch):
    monkeypatch.setattr(_hub_lists, "MAX_SENT_LISTED", 5)
    ids = [keep(store, n, at=NOW + n * DAY, recipients=(RECIPIENT, OTHER)) for n in range(4)]
    rows = store.sent("TEST.A", DOCUMENT)
    wanted = [(ids[number], code) for number in (3, 2, 1) for code in (RECIPIENT, OTHER)]
    assert [(row.sender_doc_id, row.recipient_code) for row in rows] == wanted[:5]


def test_no_more_recipients_are_read_than_are_listed(store, monkeypatch):
    monkeypatch.setattr(_hub_lists, "MAX_SENT_LISTED", 3)
    for number in range(10):
        keep(store, number, recipients=(RECIPIENT, OTHER))
    read = []
    real = _hub_lists._copies

    def copies(session, message_ids):
        found = real(session, message_ids)
        read.append(sum(map(len, found.values())))
        return found

    monkeypatch.setattr(_hub_lists, "_copies", copies)
    assert len(store.sent("TEST.A", DOCUMENT)) == 3
    assert read == [4]


# On the wires


class Site:
    """A hub with two systems, over all its wires."""

    def __init__(self, hub, http):
        self.hub, self.http, self.url = hub, http, hub.url
        self.secrets = {"TEST.A": hub.add_system("TEST.A", SENDER)}
        self.secrets["TEST.B"] = hub.add_system("TEST.B", RECIPIENT, OTHER)
        port = int(hub.url.rsplit(":", 1)[1])
        self.sender, self.recipient = (
            HubClient([port], system_id, secret) for system_id, secret in self.secrets.items()
        )

    def get(self, path, **headers):
        return self.http.get(self.url + path, headers=headers)

    def lgsp(self, path):
        login = {"username": "TEST.B", "password": self.secrets["TEST.B"]}
        token = self.http.post(self.url + "/v1/auth/login", json=login).json()["data"]["token"]
        headers = {"X-SystemId": "TEST.B", "X-SecretKey": self.secrets["TEST.B"]}
        return self.get(path, Authorization=f"Bearer {token}", **headers)

    def oauth2(self, path):
        basic = base64.b64encode(f"TEST.B:{self.secrets['TEST.B']}".encode()).decode()
        token = self.http.post(
            self.url + "/token",
            content="grant_type=client_credentials",
            headers={"Authorization": f"Basic {basic}"},
        ).json()["access_token"]
        return self.get(
            "/truclienthong/v1.0.0" + path,
            Authorization=f"Bearer {token}",
            secretDonVi=self.secrets["TEST.B"],
        )

    def bkav(self, path, code):
        return self.get(
            "/EdocService" + path, organid=code, authorization=self.secrets["TEST.B"], type="EDOC"
        )


@pytest.fixture
def site(hub_url):
    options = HubOptions(wires=(*PUBLIC_WIRES, "xroad"), language=Language.EN)
    with running_hub(options=options, database=hub_url) as hub, httpx2.Client(timeout=60) as http:
        site = Site(hub, http)
        yield site
        site.sender.close()
        site.recipient.close()


@pytest.fixture
def make(tmp_path):
    def make(number, *recipients, **texts):
        path = tmp_path / "x.edxml"
        path.unlink(missing_ok=True)
        make_package(path, sender=SENDER, recipients=recipients or [RECIPIENT], number=number)
        content = path.read_bytes()
        for element, text in texts.items():
            pattern = rf"(<(?:\w+:)?{element}>)[^<]*(</)".encode()
            content, count = re.subn(pattern, rb"\g<1>" + text.encode() + rb"\g<2>", content)
            assert count
        return content

    return make


def test_a_long_subject_stays_in_the_package_and_out_of_the_lists(site, make):
    content = make(1, Subject="T" * 1_000_000)
    assert site.sender.send(content, sender=SENDER).envelope()["status"] == "OK"
    [row] = site.recipient.listed().envelope()["data"]
    assert site.recipient.download(row["docId"]).body == content
    answer = site.sender.call("POST", _vxp.SENT_PATH, [("messagetype", "edoc")])
    assert len(answer.body) < 10 * MAX_SHOWN_CHARS
    assert answer.envelope()["data"][0]["title"] == SHORT


def test_what_a_recipient_says_of_it_is_bounded(site, make):
    site.sender.send(make(1), sender=SENDER)
    [row] = site.recipient.listed().envelope()["data"]
    said = [("docId", row["docId"]), ("status", "done"), ("description", "T" * 20_000)]
    assert site.recipient.call("POST", _vxp.STATUS_PATH, said).envelope()["status"] == "OK"
    [sent] = site.sender.call("POST", _vxp.SENT_PATH, [("messagetype", "edoc")]).envelope()["data"]
    assert (sent["receiveStatus"], sent["receiveStatusDesc"]) == ("done", SHORT)


@pytest.mark.parametrize("element", ["DocumentId", "CodeNumber"])
def test_what_is_compared_is_never_cut_but_refused(site, make, element):
    content = make(1, **{element: "1" * (MAX_KEY_CHARS + 1)})
    answer = site.sender.send(content, sender=SENDER).envelope()
    assert (answer["status"], answer["ErrorCode"]) == ("FAIL", _vxp.ErrorCode.INVALID_PACKAGE.value)
    assert f"the limit is {MAX_KEY_CHARS}" in answer["ErrorDesc"]
    assert site.hub.store.stats().documents == 0


@pytest.mark.parametrize(
    ("field", "limit"), [("document_id", MAX_KEY_CHARS), ("code", MAX_KEY_CHARS), ("organ_id", 64)]
)
def test_so_it_is_of_what_a_status_is_about(site, tmp_path, field, limit):
    document = make_package(tmp_path / "x.edxml", sender=RECIPIENT, recipients=[SENDER])
    status = reply_header(
        document, sender=make_organization(SENDER), status_code=StatusCode.PROCESSING, at=utc_now()
    )
    about = dataclasses.replace(status.response_for, **{field: "1" * (limit + 1)})
    stream = io.BytesIO()
    write(stream, dataclasses.replace(status, response_for=about), (), VNPT)
    answer = site.sender.send(stream.getvalue(), sender=SENDER, kind="status").envelope()
    assert (answer["status"], answer["ErrorCode"]) == ("FAIL", _vxp.ErrorCode.INVALID_PACKAGE.value)
    assert f"the limit is {limit}" in answer["ErrorDesc"]
    assert site.hub.store.stats().statuses == 0


def test_the_longest_identifier_is_found_whole(site, make):
    content = make(1, DocumentId="1" * MAX_KEY_CHARS)
    assert site.sender.send(content, sender=SENDER).envelope()["status"] == "OK"
    [message] = HubTraffic(site.hub.store).messages()
    assert message.document_id == "1" * MAX_KEY_CHARS


# Nothing is hidden


def test_what_waits_for_one_agency_does_not_hide_what_waits_for_another(site, make, monkeypatch):
    monkeypatch.setattr(_hub_lists, "MAX_WAITING_LISTED", 3)
    monkeypatch.setattr(hub_traces, "MAX_LISTED", 3)
    for number in range(3):
        site.sender.send(make(number + 1, RECIPIENT), sender=SENDER)
    site.sender.send(make(9, OTHER), sender=SENDER)
    assert len(site.bkav("/getPendingDocIds", RECIPIENT).json()["data"]) == 3
    [row] = site.bkav("/getPendingDocIds", OTHER).json()["data"]
    assert row["organId"] == OTHER


def test_what_waits_since_long_does_not_hide_what_came_today(site, make, monkeypatch):
    monkeypatch.setattr(_hub_lists, "MAX_WAITING_LISTED", 3)
    for number in range(3):
        site.sender.send(make(number + 1), sender=SENDER)
    with site.hub.store.database.writing() as session:
        session.execute(
            sa.text("UPDATE hub_messages SET received_at = :at").bindparams(
                sa.bindparam("at", site.hub.hub.clock() - 2 * DAY, type_=sa.DateTime(timezone=True))
            )
        )
    site.sender.send(make(9), sender=SENDER)
    [newest] = [row for row in site.hub.store.sent("TEST.A", DOCUMENT) if row.notation.startswith("9/")]
    today = f"{vietnam(newest.received_at):%Y/%m/%d}"

    def listed(first, last):
        path = f"/v1/syncReceivedEdocList?messageType=edoc&fromDate={first}&toDate={last}"
        return site.lgsp(path).json()["data"]

    assert [row["docId"] for row in listed(today, today)] == [newest.doc_id]
    assert len(listed("0001/01/01", "9999/12/31")) == 3
    assert listed(today, "2020/01/01") == []


def test_a_day_ends_at_midnight_in_vietnam(store):
    midnight = datetime.datetime(2026, 11, 20, 17, tzinfo=datetime.UTC)
    for number, second in enumerate((-1, 0)):
        keep(store, number, at=midnight + datetime.timedelta(seconds=second))
    rows = store.waiting("TEST.B", DOCUMENT, since=midnight)
    assert [row.received_at for row in rows] == [midnight]
    rows = store.waiting("TEST.B", DOCUMENT, until=midnight)
    assert [row.received_at for row in rows] == [midnight - datetime.timedelta(seconds=1)]


# Written in threads


def test_lists_are_written_where_nobody_waits_for_them(site, make, monkeypatch):
    site.sender.send(make(1), sender=SENDER)
    calls = {
        "received": site.recipient.listed,
        "sent": lambda: site.sender.call("POST", _vxp.SENT_PATH, [("messagetype", "edoc")]),
        "agencies": lambda: site.sender.call("POST", _vxp.AGENCY_PATH, []),
        "levels": lambda: site.sender.call("POST", _vxp.AGENCY_QD20_PATH, []),
        "units": lambda: site.sender.call("POST", _vxp.UNITS_PATH, []),
        "lgsp": lambda: site.lgsp(
            "/v1/syncReceivedEdocList?messageType=edoc&fromDate=2020/01/01&toDate=9999/12/31"
        ),
        "lgsp-agencies": lambda: site.lgsp("/v1/getAgenciesList"),
        "oauth2": lambda: site.oauth2("/vanbans"),
        "oauth2-agencies": lambda: site.oauth2("/donvilienthongs"),
        "bkav": lambda: site.bkav("/getPendingDocIds", RECIPIENT),
        "bkav-agencies": lambda: site.bkav("/getOrganizations", RECIPIENT),
        "xroad": lambda: site.get("/document/edocs", **{"X-Road-Client": "TEST.B"}),
        "xroad-agencies": lambda: site.get("/agencies", **{"X-Road-Client": "TEST.B"}),
    }
    made = []
    real = starlette.responses.Response.__init__

    def note(self, *values, **options):
        made.append(threading.current_thread().name)
        real(self, *values, **options)

    monkeypatch.setattr(starlette.responses.Response, "__init__", note)
    for name, call in calls.items():
        answer = call()
        assert RECIPIENT.encode() in (answer.body if isinstance(answer, Reply) else answer.content), name
        assert made[-1].startswith("AnyIO worker thread"), name
