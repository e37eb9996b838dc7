"""Packages on their way, on SQLite and PostgreSQL: parked, expired, late; one sweep of many; tables ahead of us."""

import datetime
import threading

import pytest
import sqlalchemy as sa

from tests.clocks import NOW
from tests.hubs import open_store, take
from vnedoc.errors import ConfigurationError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import registration
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.chores import expire_old
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.database import Database
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

DAYS = datetime.timedelta(days=1)
INITIAL, PROCESSING, DONE, FAIL = TransportStatus


@pytest.fixture
def store(filled_hub_store):
    return filled_hub_store


@pytest.fixture
def new_hub(clock):
    return lambda store, **options: Hub(store, options=HubOptions(**options), clock=clock)


def delivery(store):
    [row] = store.waiting("TEST.B", PackageKind.DOCUMENT)
    return row.doc_id


def statuses(store):
    return {word: count for word, count in store.stats().deliveries.items() if count}


def test_a_failed_delivery_is_parked_and_an_operator_lets_it_try_again(store, new_hub, clock):
    hub = new_hub(store)
    sender_doc_id = take(store, 1, "H98")
    doc_id = delivery(store)
    hub.move("TEST.B", doc_id, PROCESSING)
    hub.move("TEST.B", doc_id, FAIL, text="disk full TEST")
    assert statuses(store) == {"parked": 1}
    assert store.waiting("TEST.B", PackageKind.DOCUMENT) == []
    # The axis has no word for it: to both sides it is "fail", and it stays so.
    [sent] = store.sent("TEST.A", PackageKind.DOCUMENT)
    assert (sent.status, sent.status_text) == (FAIL, "disk full TEST")
    hub.move("TEST.B", doc_id, FAIL)
    with pytest.raises(RefusalError):
        hub.move("TEST.B", doc_id, DONE)
    Administration(store, actor="TEST", clock=clock).retry_deliveries([doc_id])
    hub.move("TEST.B", doc_id, DONE)
    assert statuses(store) == {"done": 1}
    kinds = [(event.kind, event.doc_id, event.system_id) for event in store.deliveries.history(sender_doc_id)]
    assert kinds == [
        ("received", None, "TEST.A"),
        ("processing", doc_id, "TEST.B"),
        ("fail", doc_id, "TEST.B"),
        ("parked", doc_id, None),
        ("done", doc_id, "TEST.B"),
    ]


def test_before_it_is_parked_it_may_fail_so_often(store, new_hub):
    hub = new_hub(store, park_after_fails=3)
    take(store, 1, "H98")
    doc_id = delivery(store)
    for _ in range(2):
        hub.move("TEST.B", doc_id, PROCESSING)
        hub.move("TEST.B", doc_id, FAIL)
        assert delivery(store) == doc_id
    hub.move("TEST.B", doc_id, FAIL)
    assert statuses(store) == {"parked": 1}


def test_what_nobody_fetches_expires_and_late_news_is_still_news(store, new_hub, clock):
    hub = new_hub(store, expire_after=30 * DAYS)
    take(store, 1, "H98", at=NOW)
    old = delivery(store)
    clock.go_on(days=29)
    take(store, 2, "H98.1", at=clock())
    assert expire_old(hub) == 0
    clock.go_on(days=2)
    assert expire_old(hub) == 1
    assert statuses(store) == {"expired": 1, "initial": 1}
    assert {row.status for row in store.sent("TEST.A", PackageKind.DOCUMENT)} == {FAIL, INITIAL}
    # The package is there for who knows its id.
    assert hub.delivery("TEST.B", old).doc_id == old
    hub.move("TEST.B", old, PROCESSING)
    assert statuses(store) == {"expired": 1, "initial": 1}
    hub.move("TEST.B", old, DONE)
    assert statuses(store) == {"done": 1, "initial": 1}


def test_what_was_tried_again_gets_its_time_again(store, new_hub, clock):
    hub = new_hub(store, expire_after=30 * DAYS)
    take(store, 1, "H98", at=NOW)
    doc_id = delivery(store)
    clock.go_on(days=31)
    assert expire_old(hub) == 1
    Administration(store, actor="TEST", clock=clock).retry_deliveries([doc_id])
    clock.go_on(days=29)
    assert expire_old(hub) == 0
    clock.go_on(days=2)
    assert expire_old(hub) == 1


def test_without_a_limit_nothing_expires(store, new_hub, clock):
    take(store, 1, "H98", at=NOW)
    clock.go_on(days=3650)
    assert expire_old(new_hub(store, expire_after=None)) is None
    assert statuses(store) == {"initial": 1}


def together(calls):
    barrier = threading.Barrier(len(calls))
    outcomes = []

    def run(call):
        barrier.wait(20)
        outcomes.append(call())

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_of_many_processes_one_sweeps(hub_url, store, tmp_path, clock):
    stores = [store, *(open_store(hub_url, tmp_path) for _ in range(3))]
    try:
        every = datetime.timedelta(minutes=5)
        claims = [
            lambda one=one: one.deliveries.claim("TEST", now=clock(), every=every) for one in stores * 2
        ]
        assert sorted(together(claims)) == [False] * 7 + [True]
        assert sorted(together(claims)) == [False] * 8
        clock.go_on(minutes=5)
        assert sorted(together(claims)) == [False] * 7 + [True]
    finally:
        for one in stores[1:]:
            one.close()


def test_two_sweeps_at_once_expire_each_delivery_once(hub_url, store, tmp_path, clock):
    recipients = [f"H98.{number}" for number in range(2, 1202)]
    from vnedoc.exchange.stores.hub import HubAgency

    store.register_agencies("TEST.B", [HubAgency(code, "TEST") for code in recipients])
    message_id = take(store, 1, *recipients)
    other = open_store(hub_url, tmp_path)
    try:
        later = NOW + DAYS
        counts = together(
            [lambda one=one: one.deliveries.expire(waiting_since=later, at=later) for one in (store, other)]
        )
    finally:
        other.close()
    # On PostgreSQL one may pass over what the other holds; what was given up is counted once.
    store.deliveries.expire(waiting_since=later, at=later)
    assert sum(counts) <= len(recipients)
    assert statuses(store) == {"expired": len(recipients)}
    events = [event for event in store.deliveries.history(message_id) if event.kind == "expired"]
    assert len(events) == len({event.doc_id for event in events}) == len(recipients)


# Tables that a newer program has brought further


def go_ahead(url, *, oldest):
    """What an additive migration of the next release does."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in ("hub_messages", "hub_deliveries", "hub_systems", "hub_agencies", "hub_events"):
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN test_new TEXT"))
            connection.execute(
                sa.text(f"ALTER TABLE {table} ADD COLUMN test_flag INTEGER NOT NULL DEFAULT 0")
            )
        connection.execute(sa.text("CREATE TABLE test_news (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("CREATE INDEX test_ix ON hub_messages (test_flag)"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'hub_9999'"))
        connection.execute(sa.text(f"UPDATE hub_compatibility SET oldest = '{oldest}'"))
    engine.dispose()


def exchange(url, tmp_path, number):
    with running_hub(tmp_path / "hub", database=url) as hub:
        if not hub.store.systems():
            hub.add_system("TEST.A", "H99")
            hub.add_system("TEST.B", "H98")
        path = tmp_path / "x.edxml"
        make_package(path, sender="H99", recipients=["H98"], number=number)
        with hub.store.payloads.temporary() as temporary:
            temporary.write_bytes(path.read_bytes())
            hub.hub.take(
                temporary, kind=PackageKind.DOCUMENT, sender="H99", system_id="TEST.A", entrance=None
            )
        doc_id = hub.store.waiting("TEST.B", PackageKind.DOCUMENT)[0].doc_id
        hub.hub.move("TEST.B", doc_id, DONE)
        Administration(hub.store, actor="TEST").rotate_secret("TEST.A", overlap=datetime.timedelta(0))
        registration.register(hub.hub, "TEST.A", _agency(f"H99.{number}"))
        assert hub.store.database.is_current()
        return hub.store.stats().documents


def _agency(code):
    from vnedoc.exchange.stores.hub import HubAgency

    return HubAgency(code, "TEST", "H99")


def test_a_running_program_goes_on_when_the_tables_are_brought_further(hub_url, tmp_path):
    with running_hub(tmp_path / "hub", database=hub_url) as hub:
        hub.add_system("TEST.A", "H99")
        assert hub.store.database.is_current()
        go_ahead(hub_url, oldest="hub_0005")
        assert hub.store.database.is_current()
        hub.add_system("TEST.B", "H98")
        take(hub.store, 1, "H98")
        hub.hub.move("TEST.B", delivery(hub.store), DONE)
    # It may be started once more meanwhile, and works.
    assert exchange(hub_url, tmp_path, 2) == 2


def test_a_program_that_is_too_old_for_the_tables_says_so(hub_url, tmp_path):
    store = open_store(hub_url, tmp_path)
    go_ahead(hub_url, oldest="hub_9000")
    # One that runs is not ready any more; one that starts does not.
    assert not store.database.is_current()
    store.close()
    with pytest.raises(ConfigurationError) as caught:
        Database(hub_url, branch="hub")
    assert caught.value.code == "exchange.store-revision"


def test_a_program_that_runs_does_not_look_at_the_files_of_the_next_one(hub_url, tmp_path, monkeypatch):
    database = Database(hub_url, branch="hub")
    # What an upgrade in place does to the folder of a running program.
    folder = tmp_path / "migrations" / "hub"
    folder.mkdir(parents=True)
    (folder / "9999_next.py").touch()
    monkeypatch.setattr("vnedoc.exchange.stores.database._MIGRATIONS", folder.parent)
    assert database.is_current()
    database.close()


def test_programs_that_start_together_migrate_once(tmp_path, request, postgresql):
    for url in (f"sqlite:///{tmp_path / 'empty.sqlite3'}", postgresql.create()):
        databases = together([lambda url=url: Database(url, branch="hub") for _ in range(4)])
        assert [database.is_current() for database in databases] == [True] * 4
        for database in databases:
            database.close()
