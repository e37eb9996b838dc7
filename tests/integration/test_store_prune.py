"""Pruning: only what is finished, packages before messages, and nothing that anybody needs."""

import datetime
import os
import threading

import pytest
import sqlalchemy as sa

from tests.stores import (
    CONNECTION,
    LEASE,
    NOW,
    after,
    new_sent,
    put_payload,
    queue,
    receive,
    receive_status,
    send,
    status_news,
    try_often,
)
from vnedoc.errors import InputError, UsageError, VnedocError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import SentReport
from vnedoc.exchange.states import OrderKind, TransportStatus
from vnedoc.exchange.stores import pruning
from vnedoc.exchange.stores.checking import check_store
from vnedoc.exchange.stores.models import (
    AgencyTables,
    EventRow,
    PayloadRemovalRow,
    ReceivedRow,
    SentRow,
)
from vnedoc.exchange.stores.pruning import PruneLimits, PruneReport, prune_store
from vnedoc.exchange.stores.store import AgencyStore

DAYS = datetime.timedelta(days=1)
LATER = after(days=100)
PACKAGES = PruneLimits(payloads_older_than=90 * DAYS)
BOTH = PruneLimits(payloads_older_than=60 * DAYS, metadata_older_than=90 * DAYS)


@pytest.fixture
def store(agency_store):
    return agency_store


def deliver(store, name, **changes):
    message = send(store, name, **changes)
    for item in message.consignments:
        report = SentReport(f"axis-{name}", None, item.recipient.code, TransportStatus.DONE)
        store.note_transport([report], connection=CONNECTION, at=NOW)
    return message


def take(store, name, *, words=("06",), **changes):
    """Receive a document, lay it out, tell the axis, and say what the office did."""
    message = receive(store, name, **changes).message
    store.note_published(message.id, at=NOW)
    store.note_acknowledged(f"axis-{name}", TransportStatus.DONE, connection=CONNECTION, at=NOW)
    for word in words:
        answer = new_sent(store, f"{name}-{word}", kind=PackageKind.STATUS)
        sent = store.reply(message.id, answer, status_news(name, word), connection=CONNECTION, at=NOW)
        store.begin_attempt(sent.id, now=NOW, lease=LEASE, owner="TEST")
        store.end_attempt_sent(sent.id, owner="TEST", remote_doc_id=f"axis-{name}-{word}", at=NOW)
        report = SentReport(f"axis-{name}-{word}", None, "000.00.0000.H99", TransportStatus.DONE)
        store.note_transport([report], connection=CONNECTION, at=NOW)
    return message


def left(store):
    with store.database.reading() as session:
        return {
            *session.scalars(sa.select(SentRow.code).where(SentRow.payload_pruned_at.is_(None))),
            *session.scalars(sa.select(ReceivedRow.code).where(ReceivedRow.payload_pruned_at.is_(None))),
        }


def test_the_package_of_a_finished_message_goes_and_the_message_stays(store):
    message = deliver(store, "1")
    size = message.payload.size
    report = prune_store(store, PACKAGES, now=LATER)
    assert report == PruneReport(released=1, payloads=1, payload_bytes=size, messages=0, unfinished=0)
    assert store.payloads.size(message.payload.sha256) is None
    assert store.find(message.id).payload_pruned_at == LATER
    assert prune_store(store, PACKAGES, now=LATER).payloads == 0


def test_what_is_too_young_stays(store):
    deliver(store, "1")
    assert prune_store(store, PACKAGES, now=after(days=90)).released == 0
    # A report that came later makes it young again.
    receive_status(store, "1", "03", at=after(days=50))
    assert prune_store(store, PACKAGES, now=after(days=100)).released == 0
    assert prune_store(store, PACKAGES, now=after(days=141)).released == 1


UNFINISHED = {
    "queued": lambda store: queue(store, "x"),
    "sent": lambda store: send(store, "x"),
    "one of two": lambda store: [
        send(store, "x", recipients=2),
        store.note_transport(
            [SentReport("axis-x", None, "000.00.0000.H99", TransportStatus.DONE)],
            connection=CONNECTION,
            at=NOW,
        ),
    ],
    "parked": lambda store: store.park(queue(store, "x").id, owner=None, error_code="TEST", at=NOW),
    "expired": lambda store: [
        try_often(store, queue(store, "x", expires_at=NOW), at=NOW, times=5),
        store.expire(NOW),
    ],
    "not acknowledged": lambda store: receive(store, "x"),
    "not laid out": lambda store: [
        receive(store, "x"),
        store.note_acknowledged("axis-x", TransportStatus.DONE, connection=CONNECTION, at=NOW),
    ],
    "not answered": lambda store: take(store, "x", words=()),
    "not done": lambda store: take(store, "x", words=("03", "05")),
    "quarantined, not acknowledged": lambda store: receive(store, "x", accepted=False),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_is_not_finished_stays_however_old(store, name):
    UNFINISHED[name](store)
    before = {code for code in left(store) if code.startswith(("x/", "x-"))}
    report = prune_store(store, PruneLimits(payloads_older_than=DAYS), now=after(days=5000))
    assert report.unfinished >= 1
    assert {code for code in left(store) if code.startswith("x/")} == {
        code for code in before if code.startswith("x/")
    }
    assert all(store.payloads.size(item.payload.sha256) for item in [*store.sent(), *store.received()])


FINISHED = {
    "refused by the axis": lambda store: [
        message := queue(store, "x"),
        store.begin_attempt(message.id, now=NOW, lease=LEASE, owner="A"),
        store.end_attempt_refused(message.id, owner="A", error_code="TEST", remote=("", ""), at=NOW),
    ],
    "replaced": lambda store: [
        target := deliver(store, "x"),
        store.give_order(
            new_sent(store, "x2", code="x/QĐ-TEST"),
            OrderKind.REPLACE,
            [target.id],
            connection=CONNECTION,
            reason="TEST",
            at=NOW,
        ),
        deliver(store, "x2", code="x/QĐ-TEST"),
    ],
    "done": lambda store: take(store, "x", words=("03", "06")),
    "refused by the office": lambda store: take(store, "x", words=("02",)),
    "quarantined": lambda store: [
        receive(store, "x", accepted=False),
        store.note_acknowledged("axis-x", TransportStatus.FAIL, connection=CONNECTION, at=NOW),
    ],
}


@pytest.mark.parametrize("name", FINISHED)
def test_what_is_finished_goes(store, name):
    FINISHED[name](store)
    assert "x/QĐ-TEST" in left(store) or "x/CV-TEST" in left(store)
    assert prune_store(store, PACKAGES, now=LATER).unfinished == 0
    assert left(store) == set()


def test_a_document_may_be_finished_when_it_is_confirmed(store):
    take(store, "x", words=("03",))
    assert prune_store(store, PACKAGES, now=LATER).unfinished == 1
    limits = PruneLimits(payloads_older_than=90 * DAYS, confirmed_is_finished=True)
    assert prune_store(store, limits, now=LATER).unfinished == 0


def test_a_package_that_another_message_names_stays(store):
    payload = put_payload(store, b"TEST shared")
    deliver(store, "1", payload=payload)
    queue(store, "2", payload=payload)
    report = prune_store(store, PACKAGES, now=LATER)
    assert (report.released, report.payloads) == (1, 0)
    assert store.payloads.size(payload.sha256) == payload.size


def test_messages_go_later_and_leave_an_event(store):
    sent, received = deliver(store, "1", recipients=3), take(store, "2", words=("03", "06"))
    receive_status(store, "1", "03")
    store.note_acknowledged("axis-status-1-03", TransportStatus.DONE, connection=CONNECTION, at=NOW)
    assert prune_store(store, BOTH, now=after(days=61)).messages == 0
    report = prune_store(store, BOTH, now=LATER)
    assert report.messages == 5
    for message in (sent, received):
        with pytest.raises(UsageError):
            store.find(message.id)
        with store.database.reading() as session:
            kinds = session.scalars(
                sa.select(EventRow.kind).where(EventRow.message_id == message.id).order_by(EventRow.number)
            ).all()
        assert kinds[0] in {"queued", "received"}
        assert kinds[-2:] == ["payload-pruned", "pruned"]


def test_every_table_that_names_a_message_is_known_to_pruning():
    """A table that a later version adds must not make removing a message fail."""
    naming = {
        (table.name, key.target_fullname)
        for table in AgencyTables.metadata.sorted_tables
        for key in table.foreign_keys
    }
    assert naming == {
        ("sent_messages", "received_messages.id"),
        ("received_ids", "received_messages.id"),
        ("attempts", "sent_messages.id"),
        ("consignments", "sent_messages.id"),
        ("status_events", "consignments.id"),
        ("status_events", "received_messages.id"),
    }


def test_a_dry_run_foretells_and_changes_nothing(store):
    deliver(store, "1", recipients=2)
    take(store, "2", words=("03", "06"))
    send(store, "3")
    shared = put_payload(store, b"TEST shared")
    deliver(store, "4", payload=shared)
    queue(store, "5", payload=shared)
    before = check_store(store)
    for now in (after(days=61), LATER):
        expected = prune_store(store, BOTH, now=now, dry_run=True)
        assert expected.released or expected.messages
        assert check_store(store) == before
    assert prune_store(store, BOTH, now=LATER) == expected


def test_what_a_killed_process_left_goes(store):
    left_over = put_payload(store, b"TEST left")
    deliver(store, "1")
    now = datetime.datetime.now(datetime.UTC)
    assert prune_store(store, PACKAGES, now=now).payloads == 0
    old = (now - 2 * DAYS).timestamp()
    os.utime(store.payloads.path(left_over.sha256), (old, old))
    assert prune_store(store, PruneLimits(payloads_older_than=5000 * DAYS), now=now).payloads == 1
    assert store.payloads.size(left_over.sha256) is None


def test_a_run_that_was_killed_is_carried_on(store, monkeypatch):
    """Killed between the mark and the removal, or between the removal and the end: the next run finishes."""
    messages = [deliver(store, str(number)) for number in range(3)]

    def die(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.payloads, "remove", die)
    with pytest.raises(KeyboardInterrupt):
        prune_store(store, PACKAGES, now=LATER)
    monkeypatch.undo()
    with store.database.reading() as session:
        assert len(session.scalars(sa.select(PayloadRemovalRow)).all()) == 3
    # Nothing can begin to name them meanwhile.
    with pytest.raises(InputError):
        queue(store, "again", payload=messages[0].payload)
    prune_store(store, PACKAGES, now=LATER)
    assert [store.payloads.size(item.payload.sha256) for item in messages] == [None] * 3
    with store.database.reading() as session:
        assert session.scalars(sa.select(PayloadRemovalRow)).all() == []


def test_a_package_that_comes_again_while_it_is_pruned_is_never_lost(store, store_url, tmp_path):
    """Whoever wins: either the message is not kept, or its package is there."""
    second = AgencyStore.open(store_url, tmp_path / "payloads")
    for number in range(8):
        content = f"TEST again {number}".encode()
        deliver(store, f"old-{number}", payload=put_payload(store, content))
        barrier = threading.Barrier(2)
        errors = []

        def come_again(number=number, content=content, barrier=barrier, errors=errors):
            barrier.wait()
            try:
                receive(second, f"new-{number}", payload=put_payload(second, content))
            except VnedocError as error:
                errors.append(error.code)

        thread = threading.Thread(target=come_again)
        thread.start()
        barrier.wait()
        prune_store(store, PACKAGES, now=LATER)
        thread.join(60)
        assert set(errors) <= {"store.payload-leaving", "store.payload-missing"}
    second.close()
    # The fixture checks that every payload that is named is there.


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (PruneLimits(), "store.prune-nothing"),
        (PruneLimits(metadata_older_than=29 * DAYS), "store.prune-too-early"),
        (PruneLimits(payloads_older_than=-DAYS), "store.prune-too-early"),
        (PruneLimits(payloads_older_than=90 * DAYS, metadata_older_than=60 * DAYS), "store.prune-order"),
    ],
)
def test_limits_that_make_no_sense(store, limits, code):
    with pytest.raises(UsageError) as caught:
        prune_store(store, limits, now=LATER)
    assert caught.value.code == code


def test_more_than_one_batch(store, monkeypatch):
    monkeypatch.setattr(pruning, "_BATCH", 2)
    for number in range(5):
        deliver(store, str(number))
    report = prune_store(store, BOTH, now=LATER)
    assert (report.released, report.payloads, report.messages) == (5, 5, 5)


def test_a_received_message_waits_for_its_answer(store):
    take(store, "1", words=("06",))
    answer = new_sent(store, "1-late", kind=PackageKind.STATUS)
    received = store.received()[0]
    store.reply(received.id, answer, status_news("1", "13"), connection=CONNECTION, at=NOW)
    report = prune_store(store, BOTH, now=LATER)
    assert report.unfinished == 1
    assert store.find(received.id).id == received.id
