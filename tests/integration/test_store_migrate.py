"""Moving a store to another database, there and back: nothing lost, nothing twice, whatever is killed."""

import json

import pytest
import sqlalchemy as sa

from tests.stores import LEASE, NOW, after, queue, receive, receive_status, send
from vnedoc.errors import ConfigurationError, InputError, NotAllowedError, VnedocError
from vnedoc.exchange.stores import migration
from vnedoc.exchange.stores.checking import check_store
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.migration import copy_payloads, migrate_store
from vnedoc.exchange.stores.models import (
    AgencyTables,
    AttemptRow,
    ConsignmentRow,
    EventRow,
    StoreInfoRow,
)
from vnedoc.exchange.stores.payloads import FolderPayloads
from vnedoc.exchange.stores.store import AgencyStore


@pytest.fixture(params=["to postgresql", "to sqlite"])
def places(request, tmp_path, postgresql):
    """The URLs of a source and of an empty target."""
    urls = [f"sqlite:///{tmp_path}/TEST.sqlite3", postgresql.create()]
    yield urls if request.param == "to postgresql" else urls[::-1]
    postgresql.drop(urls[1])


@pytest.fixture
def payloads(tmp_path):
    return tmp_path / "payloads"


@pytest.fixture
def filled(places, payloads):
    """A store with messages in all kinds of states."""
    store = AgencyStore.open(places[0], payloads)
    for number in range(7):
        send(store, f"sent-{number}", recipients=3)
    queue(store, "queued", expires_at=after(hours=24), priority=2)
    held = queue(store, "held")
    store.begin_attempt(held.id, now=NOW, lease=LEASE, owner="TEST")
    for number in range(4):
        receive(store, f"received-{number}", subject="Về việc Đại hội TEST “x”\n dòng 2")
    receive_status(store, "sent-1", "03")
    yield store
    store.close()


def content(database):
    """All rows of all tables, but for what a store knows of itself."""
    with database.reading() as session:
        return {
            table.name: sorted(map(repr, session.execute(sa.select(table)).all()))
            for table in AgencyTables.metadata.sorted_tables
            if table.name != "store_info"
        }


def move(places, **options):
    source, target = (Database(url, branch="agency") for url in places)
    try:
        return migrate_store(source, target, **options)
    finally:
        source.close()
        target.close()


def test_everything_arrives_and_the_new_store_goes_on(places, filled, payloads):
    before, head = content(filled.database), check_store(filled).head
    told = []
    report = move(places, progress=lambda *step: told.append(step))
    assert report.head == head
    assert not report.resumed
    assert report.rows["sent_messages"] == 9
    assert report.rows["consignments"] == 7 * 3 + 2
    assert ("event_log", head.number, head.number) in told
    store = AgencyStore.open(places[1], payloads)
    assert content(store.database) == before
    assert check_store(store, content=True, anchor=head).is_whole
    send(store, "after")
    assert check_store(store, anchor=head).is_whole
    store.close()


def test_the_old_store_says_where_its_messages_went(places, filled, payloads):
    move(places)
    with pytest.raises(ConfigurationError) as caught:
        AgencyStore.open(places[0], payloads)
    assert caught.value.code == "store.moved"


def test_moving_once_more_changes_nothing(places, filled, payloads):
    first = move(places)
    store = AgencyStore.open(places[1], payloads)
    send(store, "after")
    before = content(store.database)
    again = move(places)
    assert again.head == first.head
    assert content(store.database) == before
    store.close()


def test_it_cannot_be_moved_to_two_places(places, filled, tmp_path):
    move(places)
    with pytest.raises(NotAllowedError) as caught:
        move([places[0], f"sqlite:///{tmp_path}/other.sqlite3"])
    assert caught.value.code == "store.moved"


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("steps", [1, 3, 5, 8, 11])
def test_a_move_that_was_killed_goes_on(places, filled, payloads, monkeypatch, steps):
    monkeypatch.setattr(migration, "_BATCH", 2)
    before = content(filled.database)
    count = 0

    def die(_table, _done, _all):
        nonlocal count
        count += 1
        if count == steps:
            raise KilledError

    with pytest.raises(KilledError):
        move(places, progress=die)
    # Neither is the store meanwhile ambiguous: the old one works, the new one refuses to.
    with pytest.raises(ConfigurationError) as caught:
        AgencyStore.open(places[1], payloads)
    assert caught.value.code == "store.half-moved"
    AgencyStore.open(places[0], payloads).close()
    assert move(places).resumed
    target = Database(places[1], branch="agency")
    assert content(target) == before
    target.close()


def test_killed_after_the_last_step_it_is_finished_by_the_next(places, filled, payloads, monkeypatch):
    def die(*_args):
        raise KilledError

    monkeypatch.setattr(
        migration,
        "write_info",
        lambda session, name, value: (
            die() if name == "moved_to" else session.merge(StoreInfoRow(name=name, value=value))
        ),
    )
    with pytest.raises(KilledError):
        move(places)
    monkeypatch.undo()
    AgencyStore.open(places[1], payloads).close()
    move(places)
    with pytest.raises(ConfigurationError):
        AgencyStore.open(places[0], payloads)


def test_a_target_with_other_data_is_refused(places, filled, tmp_path):
    other = AgencyStore.open(places[1], tmp_path / "other")
    queue(other, "TEST")
    other.close()
    before = content(filled.database)
    with pytest.raises(NotAllowedError) as caught:
        move(places)
    assert caught.value.code == "store.target-not-empty"
    assert content(filled.database) == before
    AgencyStore.open(places[0], tmp_path / "payloads").close()


def test_a_half_moved_target_is_not_for_another_store(places, filled, payloads, tmp_path):
    def die(*_step):
        raise KilledError

    with pytest.raises(KilledError):
        move(places, progress=die)
    third = f"sqlite:///{tmp_path}/third.sqlite3"
    AgencyStore.open(third, payloads).close()
    with pytest.raises(NotAllowedError) as caught:
        move([third, places[1]])
    assert caught.value.code == "store.target-not-empty"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (sa.delete(AttemptRow), "store.move-differs"),
        (sa.update(EventRow).where(EventRow.number == 3).values(detail="{}"), "store.move-broken"),
    ],
)
def test_what_does_not_arrive_whole_does_not_become_the_store(places, filled, payloads, spoil, code):
    target = Database(places[1], branch="agency")

    def change(table, done, total):
        if table == "status_events" and done == total:
            with target.writing() as session:
                session.execute(spoil)

    with pytest.raises(InputError) as caught:
        move(places, progress=change)
    assert caught.value.code == code
    target.close()
    AgencyStore.open(places[0], payloads).close()


def test_a_broken_chain_is_not_carried_on(places, filled, payloads):
    with filled.database.engine.begin() as connection:
        connection.execute(sa.update(EventRow).where(EventRow.number == 2).values(kind="TEST"))
    with pytest.raises(InputError) as caught:
        move(places)
    assert caught.value.code == "store.move-broken"
    AgencyStore.open(places[0], payloads).close()


def test_nobody_writes_to_the_old_store_meanwhile(places, filled, monkeypatch):
    from vnedoc.exchange.stores import database

    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    outcome = []

    def write(table, _done, _all):
        if table == "consignments":
            other = Database(places[0], branch="agency")
            try:
                with other.writing() as session:
                    session.execute(sa.update(ConsignmentRow).values(position=ConsignmentRow.position))
            except VnedocError as error:
                outcome.append(error.code)
            with other.reading() as session:
                outcome.append(session.scalar(sa.select(sa.func.count()).select_from(ConsignmentRow)))
            other.close()

    move(places, progress=write)
    assert outcome[0] in {"exchange.store-trouble", "exchange.store-away"}
    assert outcome[1] == 7 * 3 + 2


def test_text_that_sqlite_took_and_postgresql_does_not_is_cut(tmp_path, postgresql):
    places = [f"sqlite:///{tmp_path}/TEST.sqlite3", postgresql.create()]
    store = AgencyStore.open(places[0], tmp_path / "payloads")
    send(store, "1")
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attempts SET remote_code = ?", ("E" * 99,))
        connection.exec_driver_sql("UPDATE attempts SET remote_message = ?", ("a\x00b",))
    store.close()
    move(places)
    store = AgencyStore.open(places[1], tmp_path / "payloads")
    [attempt] = store.sent()[0].attempts
    assert (attempt.remote_code, attempt.remote_message) == ("E" * 64, "a\ufffdb")
    store.close()
    postgresql.drop(places[1])


def test_payloads_are_copied_once(filled, payloads, tmp_path):
    source, target = FolderPayloads(payloads), FolderPayloads(tmp_path / "elsewhere")
    listed = {item.sha256 for item in source.listed()}
    assert copy_payloads(source, target) == len(listed)
    assert {item.sha256 for item in target.listed()} == listed
    stamps = {item.sha256: item.modified_at for item in target.listed()}
    copy_payloads(source, target)
    assert {item.sha256: item.modified_at for item in target.listed()} == stamps


def test_a_damaged_payload_is_not_copied(filled, payloads, tmp_path):
    source, target = FolderPayloads(payloads), FolderPayloads(tmp_path / "elsewhere")
    victim = next(iter(source.listed()))
    source.path(victim.sha256).write_bytes(b"damaged")
    with pytest.raises(InputError) as caught:
        copy_payloads(source, target)
    assert caught.value.code == "store.payload-damaged"
    assert json.dumps([item.sha256 for item in target.listed()]).count(victim.sha256) == 0
