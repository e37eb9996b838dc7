"""The event log, and what ``store check`` sees: every kind of damage, on SQLite and on PostgreSQL."""

import datetime
import json
import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.stores import LEASE, NOW, after, put_payload, queue, receive, receive_status, send
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores.checking import LogHead, check_store
from vnedoc.exchange.stores.models import (
    AttemptRow,
    ConsignmentRow,
    EventRow,
    LogHeadRow,
    ReceivedRow,
    SentRow,
)
from vnedoc.exchange.stores.store import AgencyStore


@pytest.fixture
def store(store_url, tmp_path):
    opened = AgencyStore.open(store_url, tmp_path / "payloads")
    send(opened, "1", recipients=3)
    queue(opened, "2")
    receive(opened, "3")
    receive_status(opened, "1", "03", at=after(hours=1))
    yield opened
    opened.close()


def problems(store, **options):
    checked = check_store(store, **options)
    assert checked.problem_count == len(checked.problems)
    assert checked.is_whole == (not checked.problems)
    # Every problem has a sentence in both languages.
    assert all(problem.text(language) for problem in checked.problems for language in ("vi", "en"))
    return [problem.id for problem in checked.problems]


def change(store, statement):
    with store.database.engine.begin() as connection:
        connection.execute(statement)


def events(store):
    with store.database.reading() as session:
        return [
            (row.kind, json.loads(row.detail))
            for row in session.scalars(sa.select(EventRow).order_by(EventRow.number))
        ]


def test_a_store_at_work_is_whole(store):
    checked = check_store(store, content=True)
    assert checked.is_whole
    assert (checked.messages, checked.payloads, checked.unnamed) == (4, 4, 0)
    assert check_store(store, anchor=checked.head).is_whole
    assert check_store(store, anchor=LogHead(0, _log.FIRST_HASH)).is_whole


def test_the_log_tells_what_happened_and_what_moved(store):
    told = [(kind, detail["moved"]) for kind, detail in events(store) if "moved" in detail]
    assert told[0] == ("queued", [{"set": {"delivery": "queued"}}])
    assert told[2] == ("sent", [{"set": {"delivery": "sent", "transport": "initial"}}])
    assert told[-1] == ("status", [{"set": {"delivery": "delivered", "progress": "03"}, "only": [0]}])


def test_a_movement_that_nobody_told_of_is_logged_all_the_same(store):
    with store.database.writing() as session:
        row = session.scalars(sa.select(ReceivedRow)).first()
        row.delivery_state = DeliveryState.CANCELLED.value
    assert events(store)[-1] == ("moved", {"moved": [{"set": {"delivery": "cancelled"}}]})
    assert problems(store) == []


def test_what_is_rolled_back_is_not_logged(store):
    before = events(store)
    with pytest.raises(RuntimeError), store.database.writing() as session:
        session.scalars(sa.select(ReceivedRow)).first().delivery_state = "cancelled"
        _log.append(session, "TEST", at=NOW)
        session.flush()
        raise RuntimeError
    assert events(store) == before


def test_the_log_holds_no_content_of_documents(store):
    text = json.dumps(events(store), ensure_ascii=False)
    assert "Quyết định" not in text
    assert "Sở TEST" not in text


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("detail", "{}"),
        ("kind", "sent"),
        ("at", after(days=1)),
        ("message_id", "0" * 32),
        ("consignment_id", "0" * 32),
        ("hash", "0" * 64),
        ("previous_hash", "1" * 64),
    ],
)
def test_a_changed_event(store, column, value):
    change(store, sa.update(EventRow).where(EventRow.number == 2).values({column: value}))
    found = problems(store)
    assert {"store.log-changed", "store.log-broken"} & set(found)


def test_an_event_that_was_taken_out(store):
    change(store, sa.delete(EventRow).where(EventRow.number == 2))
    assert "store.log-gap" in problems(store)


def test_an_end_that_was_cut_off(store):
    head = check_store(store).head
    change(store, sa.delete(EventRow).where(EventRow.number > 5))
    assert "store.log-cut" in problems(store)
    # Who sets the head back, too, is found out by what was written down elsewhere.
    with store.database.reading() as session:
        last = session.execute(sa.select(EventRow.number, EventRow.hash).where(EventRow.number == 5)).one()
    change(store, sa.update(LogHeadRow).values(number=last.number, hash=last.hash))
    assert not [name for name in problems(store) if name.startswith("store.log")]
    assert "store.log-anchor" in problems(store, anchor=head)


@pytest.mark.parametrize("values", [{"hash": "0" * 64}, {"number": 1}])
def test_a_changed_head(store, values):
    change(store, sa.update(LogHeadRow).values(values))
    assert "store.log-head" in problems(store)


def test_a_head_that_is_gone(store):
    change(store, sa.delete(LogHeadRow))
    assert "store.log-head" in problems(store)


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(ConsignmentRow).where(ConsignmentRow.position == 1).values(delivery_state="delivered"),
        sa.update(ConsignmentRow).where(ConsignmentRow.position == 1).values(progress="06"),
        sa.update(ConsignmentRow).where(ConsignmentRow.position == 2).values(transport_status=None),
        sa.delete(ConsignmentRow).where(ConsignmentRow.position == 2),
        sa.update(ReceivedRow).values(change="15"),
    ],
)
def test_states_that_were_changed_behind_the_store(store, statement):
    change(store, statement)
    assert "store.states-differ" in problems(store)


def test_a_message_that_vanished(store):
    message = queue(store, "4")
    change(store, sa.delete(ConsignmentRow).where(ConsignmentRow.message_id == message.id))
    change(store, sa.delete(SentRow).where(SentRow.id == message.id))
    assert problems(store) == ["store.message-gone"]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (sa.update(SentRow).values(due_at=None), "store.due-differs"),
        (sa.update(SentRow).values(due_at=NOW), "store.due-differs"),
        (sa.update(SentRow).values(lease_owner="TEST"), "store.due-differs"),
        (sa.delete(AttemptRow), "store.attempts-differ"),
        (sa.update(AttemptRow).values(number=7), "store.attempts-differ"),
        (sa.update(SentRow).values(attempt_count=3), "store.attempts-differ"),
    ],
)
def test_attempts_and_due_times_fit_the_states(store, statement, problem):
    change(store, statement)
    assert problem in problems(store)


def payload_path(store, name="1"):
    [message] = [item for item in store.sent() if item.code.startswith(name)]
    return store.payloads.path(message.payload.sha256)


def test_a_payload_that_is_missing(store):
    payload_path(store).unlink()
    assert problems(store) == ["store.payload-missing"]


def test_a_payload_that_was_cut(store):
    os.truncate(payload_path(store), 3)
    assert problems(store) == ["store.payload-damaged"]


def test_a_payload_that_was_changed_shows_when_it_is_read(store):
    path = payload_path(store)
    path.write_bytes(b"x" * path.stat().st_size)
    assert problems(store) == []
    assert problems(store, content=True) == ["store.payload-damaged"]


def test_a_payload_that_nobody_names_is_counted(store):
    put_payload(store, b"left by a killed process")
    assert check_store(store).unnamed == 1


def test_progress_is_told(store):
    told = []
    check_store(store, progress=lambda what, count: told.append((what, count)))
    assert told[0] == ("log", check_store(store).head.number)
    assert ("messages", 4) in told
    assert told[-1] == ("payloads", 4)


def upgrade(connection, revision):
    """Make the tables of an earlier version."""
    from alembic import command, config

    folder = str(Path(_log.__file__).parent / "migrations")
    settings = config.Config()
    settings.set_main_option("script_location", folder)
    settings.set_main_option("path_separator", "os")
    settings.set_main_option("version_locations", f"{folder}/agency")
    settings.attributes["connection"] = connection
    command.upgrade(settings, revision)


def test_times_that_an_earlier_version_did_not_keep_are_taken_from_its_attempts_and_statuses(tmp_path):
    url = f"sqlite:///{tmp_path}/old.sqlite3"
    engine = sa.create_engine(url)
    first, second, third = (f"2026-01-0{day} 00:00:00.000000" for day in (1, 2, 3))
    common = f"'TEST', 'document', 'TEST-1', '1/QĐ', 'TEST', '{'0' * 64}', 1"
    names = "connection, kind, document_id, code, subject, payload_sha256, payload_size"
    with engine.begin() as connection:
        upgrade(connection, "agency_0003")
        for statement in (
            (
                f"INSERT INTO sent_messages (id, {names}, sender_code, created_at, attempt_count) VALUES"
                f" ('a', {common}, 'x', '{first}', 2)"
            ),
            (
                "INSERT INTO consignments (id, message_id, position, recipient_code, recipient_name,"
                " delivery_state, updated_at, queued_at) VALUES"
                f" ('c', 'a', 0, 'y', 'Sở', 'sent', '{first}', '{first}')"
            ),
            (
                f"INSERT INTO received_messages (id, {names}, remote_doc_id, sender_code, sender_name, received_at,"
                f" reasons, delivery_state, transport_status, updated_at) VALUES ('b', {common}, 'axis-1', 'y', 'Xã',"
                f" '{first}', '[]', 'accepted', 'done', '{first}')"
            ),
            (
                "INSERT INTO attempts (id, message_id, number, started_at, ended_at, outcome) VALUES"
                f" ('1', 'a', 1, '{first}', '{first}', 'trouble'), ('2', 'a', 2, '{second}', '{second}', 'sent')"
            ),
            (
                "INSERT INTO status_events (id, number, consignment_id, received_id, code, recorded_at, taken) VALUES"
                f" ('1', 1, 'c', NULL, '13', '{first}', 1), ('2', 2, 'c', NULL, '01', '{third}', 1),"
                f" ('3', 1, NULL, 'b', '03', '{second}', 1), ('4', 2, NULL, 'b', '06', '{third}', 1)"
            ),
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    store = AgencyStore.open(url, tmp_path / "payloads")
    [sent], [received] = store.sent_facts(), store.received_facts()
    assert sent.sent_at == datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert sent.recipients[0].noticed_at == datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)
    assert received.finished_at == datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)
    store.close()


def test_a_store_of_an_earlier_version_gets_a_log_of_what_is_there(tmp_path):
    """The first version kept no log: its messages are taken over with the states that they have."""
    url = f"sqlite:///{tmp_path}/old.sqlite3"
    engine = sa.create_engine(url)
    moment = "2026-01-01 00:00:00.000000"
    with engine.begin() as connection:
        upgrade(connection, "agency_0001")
        connection.exec_driver_sql(
            "INSERT INTO sent_messages (id, connection, kind, sender_code, document_id, code, subject,"
            " payload_sha256, payload_size, created_at, due_at, attempt_count) VALUES"
            f" ('a', 'TEST', 'document', 'x', 'TEST-1', '1/QĐ', 'Quyết định', '{'0' * 64}', 1,"
            f" '{moment}', '{moment}', 0)"
        )
        for position in range(2):
            connection.exec_driver_sql(
                "INSERT INTO consignments (id, message_id, position, recipient_code, recipient_name,"
                f" delivery_state, updated_at) VALUES ('c{position}', 'a', {position}, 'r{position}', 'Sở',"
                f" 'queued', '{moment}')"
            )
        connection.exec_driver_sql(
            "INSERT INTO received_messages (id, connection, kind, remote_doc_id, sender_code, sender_name,"
            " document_id, code, subject, payload_sha256, payload_size, received_at, reasons, delivery_state,"
            " transport_status, progress, updated_at) VALUES"
            f" ('b', 'TEST', 'document', 'axis-1', 'y', 'Xã', 'TEST-2', '2/CV', 'Công văn', '{'0' * 64}', 1,"
            f" '{moment}', '[]', 'accepted', 'done', '03', '{moment}')"
        )
    engine.dispose()
    store = AgencyStore.open(url, tmp_path / "payloads")
    checked = check_store(store)
    assert [problem.id for problem in checked.problems] == ["store.payload-missing"]
    assert checked.head.number == 2
    assert [item.id for item in store.page("sent").items] == ["a"]
    claimed = store.claim_due(connection="TEST", now=NOW, lease=LEASE, owner="A")
    assert [item.delivery for item in claimed[0].consignments] == [DeliveryState.SENDING] * 2
    assert "store.states-differ" not in problems(store)
    store.close()
