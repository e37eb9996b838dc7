"""What a hub remembers of systems: it spares questions to the database, and outlives no change of how they get in."""

import contextlib
import datetime
import itertools

import pytest
import sqlalchemy as sa

from tests.integration.test_hub_vxp import Client, refused
from vnedoc.exchange.hub import known_systems
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

SENDER, RECIPIENT = "H99", "H99.1"
NOT_LET_IN, UNKNOWN_SENDER = "15", "19"


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request, tmp_path, clock):
    database = request.getfixturevalue("postgresql").create() if request.param == "postgresql" else None
    with running_hub(tmp_path / "hub", clock=clock, database=database) as hub:
        hub.add_system("TEST.B", RECIPIENT)
        yield hub


@pytest.fixture
def other(hub, clock):
    """Changes things in another process's view of the same hub."""
    url = None if hub.store.database.is_sqlite else hub.store.database.engine.url
    url = url and url.render_as_string(hide_password=False)
    with contextlib.closing(HubStore.open(hub.folder, url=url)) as store:
        yield Administration(store, actor="test.admin", clock=clock)


@pytest.fixture
def sender(hub, clock):
    client = Client(hub.url, "TEST.A", hub.add_system("TEST.A", SENDER), clock)
    with client.http:
        yield client


@pytest.fixture
def make(tmp_path):
    numbers = itertools.count(1)

    def make(*, sender=SENDER, size=1_000):
        path, content = tmp_path / "TEST.edxml", b"%PDF-1.7 TEST " + b"x" * size
        make_package(path, sender=sender, recipients=[RECIPIENT], number=next(numbers), content=content)
        return path.read_bytes()

    return make


@contextlib.contextmanager
def questions():
    """Collect the questions who a caller is that a hub asks its database."""
    found = []

    def note(_connection, _cursor, statement, *_rest):
        if "hub_systems" in statement and "exists" in statement.lower():
            found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def taken(hub):
    return hub.store.stats().documents


def test_who_sends_again_is_not_asked_about_again(sender, make):
    with questions() as asked:
        for _ in range(5):
            assert sender.send(make()).json()["status"] == "OK"
    assert len(asked) == 1


def test_after_a_while_the_database_is_asked_again(sender, make, monkeypatch):
    monkeypatch.setattr(known_systems, "_FOR_S", -1.0)
    with questions() as asked:
        for _ in range(3):
            assert sender.send(make()).json()["status"] == "OK"
    assert len(asked) == 3


def test_only_so_many_are_remembered(hub, sender, make, monkeypatch):
    monkeypatch.setattr(known_systems, "_MAX_KNOWN", 1)
    hub.store.register_agencies("TEST.A", [HubAgency("H98", "H98")])
    with questions() as asked:
        for _ in range(2):
            assert sender.send(make()).json()["status"] == "OK"
            assert sender.send(make(sender="H98"), sender="H98").json()["status"] == "OK"
    assert len(asked) == 4


def test_the_wrong_secret_is_as_wrong_as_before(hub, sender, make):
    assert sender.send(make()).json()["status"] == "OK"
    refused(sender.send(make(), secret="TEST-WRONG"), NOT_LET_IN, status=401)
    assert taken(hub) == 1


@pytest.mark.parametrize("size", [1_000, 1_500_000])
@pytest.mark.parametrize(
    "change",
    [
        lambda other: other.change_system("TEST.A", disabled=True),
        lambda other: other.change_system("TEST.A", networks=["10.9.0.0/16"]),
        lambda other: other.change_system("TEST.A", certificates=["ab" * 32]),
        lambda other: other.rotate_secret("TEST.A", overlap=datetime.timedelta(0)),
    ],
    ids=["disabled", "network", "certificate", "secret"],
)
def test_who_may_not_call_any_more_brings_nothing_in(hub, sender, other, make, change, size):
    assert sender.send(make()).json()["status"] == "OK"
    change(other)
    refused(sender.send(make(size=size)), NOT_LET_IN, status=401)
    assert taken(hub) == 1


@pytest.mark.parametrize("size", [1_000, 1_500_000])
@pytest.mark.parametrize(
    "change",
    [
        lambda other: other.change_system("TEST.A", networks=["127.0.0.0/8"]),
        lambda other: other.rotate_secret("TEST.A", overlap=datetime.timedelta(hours=1)),
    ],
    ids=["network", "secret"],
)
def test_who_gets_in_in_another_way_goes_on(hub, sender, other, make, change, size):
    """Its package is there already when that turns out; it is taken over, once."""
    assert sender.send(make()).json()["status"] == "OK"
    change(other)
    content = make(size=size)
    with questions() as asked:
        answer = sender.send(content).json()
        assert answer["status"] == "OK"
        assert sender.send(content).json()["DocId"] == answer["DocId"]
    assert len(asked) == 1
    assert taken(hub) == 2


def test_a_new_secret_is_good_at_once(hub, sender, other, make):
    assert sender.send(make()).json()["status"] == "OK"
    made = other.rotate_secret("TEST.A", overlap=datetime.timedelta(0))
    sender.secret = made.secret
    assert sender.send(make()).json()["status"] == "OK"
    assert taken(hub) == 2


def test_a_secret_ends_when_its_time_is_over(hub, sender, other, make, clock):
    other.rotate_secret("TEST.A", overlap=datetime.timedelta(minutes=10))
    assert sender.send(make()).json()["status"] == "OK"
    clock.now += datetime.timedelta(minutes=11)
    refused(sender.send(make()), NOT_LET_IN, status=401)
    assert taken(hub) == 1


def test_an_agency_that_went_to_another_system_is_not_sent_for(hub, sender, other, make):
    assert sender.send(make()).json()["status"] == "OK"
    other.remove_agency(SENDER)
    hub.store.register_agencies("TEST.B", [HubAgency(SENDER, SENDER)])
    refused(sender.send(make()), UNKNOWN_SENDER)
    assert taken(hub) == 1


def test_a_refused_request_of_a_known_system_does_not_come_again(sender, make):
    assert sender.send(make()).json()["status"] == "OK"
    content = b"TEST no package"
    headers = sender.headers(
        [("servicetype", "eDoc"), ("messagetype", "edoc"), ("hash-file", "0"), ("from", SENDER)],
        content_type="application/octet-stream",
    )
    first = sender.post("/sendEdoc", headers=headers, content=content)
    assert first.json()["status"] == "FAIL"
    refused(sender.post("/sendEdoc", headers=headers, content=content), NOT_LET_IN, status=401)
