"""The outbox and inbox of an agency's store: the same promises on SQLite and on PostgreSQL."""

import collections
import datetime
import itertools
import threading

import pytest
import sqlalchemy as sa

from tests.stores import (
    CONNECTION,
    LEASE,
    NOW,
    after,
    new_received,
    new_sent,
    put_payload,
    queue,
    receive,
    receive_status,
    send,
    try_often,
)
from vnedoc.errors import InputError, NotAllowedError, UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import SentReport
from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores.models import AttemptRow, PayloadRemovalRow
from vnedoc.exchange.stores.payloads import StoredPayload
from vnedoc.exchange.stores.records import MessageFilter
from vnedoc.exchange.stores.store import AgencyStore


@pytest.fixture
def store(agency_store):
    return agency_store


@pytest.fixture
def second(store, store_url, tmp_path):
    """The same store in another process, as far as the database can tell."""
    opened = AgencyStore.open(store_url, tmp_path / "payloads")
    yield opened
    opened.close()


def states(message):
    return [item.delivery for item in message.consignments]


def together(*works):
    """Do several things at the same time; return what each returned or raised."""
    barrier = threading.Barrier(len(works))
    outcomes = [None] * len(works)

    def run(number, work):
        barrier.wait()
        try:
            outcomes[number] = work()
        except Exception as error:  # noqa: BLE001 - told to the test
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def claim(store, *, owner="A", now=NOW, limit=20):
    return store.claim_due(connection=CONNECTION, now=now, lease=LEASE, owner=owner, limit=limit)


# Queueing


def test_the_same_package_is_one_message(store, second):
    new = new_sent(store, "1", recipients=3)
    outcomes = together(
        *(
            lambda place=place: place.queue(new, connection=CONNECTION, at=NOW)
            for place in [store, second] * 4
        )
    )
    assert len({message.id for message in outcomes}) == 1
    assert len(store.sent()) == 1


def test_another_package_with_the_same_identity_is_a_conflict(store):
    queue(store, "1")
    other = put_payload(store, b"TEST other")
    with pytest.raises(NotAllowedError) as caught:
        queue(store, "1", payload=other)
    assert caught.value.code == "exchange.sent-conflict"


def test_a_package_that_is_not_stored_is_not_queued(store):
    with pytest.raises(InputError) as caught:
        queue(store, "1", payload=StoredPayload("0" * 64, 4))
    assert caught.value.code == "store.payload-missing"
    assert store.sent() == []


def test_a_package_that_is_being_pruned_is_not_queued(store):
    new = new_sent(store, "1")
    with store.database.writing() as session:
        session.add(PayloadRemovalRow(sha256=new.payload.sha256, marked_at=NOW))
    with pytest.raises(InputError) as caught:
        store.queue(new, connection=CONNECTION, at=NOW)
    assert caught.value.code == "store.payload-leaving"


def test_a_thousand_recipients_share_one_payload(store, tmp_path):
    message = queue(store, "1", recipients=1000)
    assert len(message.consignments) == 1000
    assert len(list((tmp_path / "payloads" / "sha256").rglob("*/*"))) == 1
    again = store.find(message.id)
    assert again == message


# Claims and leases


def test_the_most_urgent_is_claimed_first_then_the_longest_waiting(store):
    names = {"late": (3, 0), "early": (1, 0), "urgent": (2, 5)}
    ids = {
        queue(store, name, at=after(seconds=seconds), priority=priority).id: name
        for name, (seconds, priority) in names.items()
    }
    claimed = claim(store, now=after(seconds=10))
    assert [ids[message.id] for message in claimed] == ["urgent", "early", "late"]
    assert {state for message in claimed for state in states(message)} == {DeliveryState.SENDING}
    assert [message.attempts[-1].outcome for message in claimed] == ["started"] * 3
    assert {message.due_at for message in claimed} == {after(seconds=70)}


def test_nothing_is_claimed_before_it_is_due_or_by_another_connection(store):
    queue(store, "1", at=after(seconds=1))
    assert claim(store) == []
    assert store.claim_due(connection="OTHER", now=after(hours=1), lease=LEASE, owner="A") == []


def test_many_workers_never_claim_the_same_message(store, second):
    for number in range(30):
        queue(store, str(number))
    owners = itertools.count()

    def work(place):
        owner = f"worker-{next(owners)}"
        mine = []
        while batch := claim(place, owner=owner, limit=4):
            mine += [message.id for message in batch]
        return mine

    outcomes = together(*(lambda place=place: work(place) for place in [store, second] * 3))
    claimed = collections.Counter(message_id for mine in outcomes for message_id in mine)
    assert len(claimed) == 30
    assert set(claimed.values()) == {1}


def test_what_is_begun_by_many_is_begun_by_one(store, second):
    message = queue(store, "1")
    outcomes = together(
        *(
            lambda place=place, owner=owner: place.begin_attempt(
                message.id, now=NOW, lease=LEASE, owner=str(owner), early=True
            )
            for owner, place in enumerate([store, second] * 4)
        )
    )
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(store.find(message.id).attempts) == 1


def test_the_work_of_a_dead_worker_is_taken_up_after_the_lease(store):
    message = queue(store, "1")
    claim(store, owner="DEAD")
    assert claim(store, owner="B", now=after(seconds=59)) == []
    [taken] = claim(store, owner="B", now=after(seconds=60))
    assert taken.id == message.id
    assert [attempt.outcome for attempt in taken.attempts] == ["started", "started"]


def test_a_lease_can_be_renewed_by_its_holder_only(store):
    message = queue(store, "1")
    claim(store, owner="A")
    assert store.renew(message.id, owner="A", now=after(seconds=50), lease=LEASE)
    assert not store.renew(message.id, owner="B", now=after(seconds=50), lease=LEASE)
    assert claim(store, owner="B", now=after(seconds=100)) == []
    assert len(claim(store, owner="B", now=after(seconds=110))) == 1
    assert not store.renew(message.id, owner="A", now=after(seconds=111), lease=LEASE)


def lost(store):
    """Return a message whose lease A lost to B."""
    message = queue(store, "1")
    claim(store, owner="A")
    [held] = claim(store, owner="B", now=after(seconds=60))
    assert held.id == message.id
    return held


ENDS = {
    "sent": lambda store, message: store.end_attempt_sent(
        message.id, owner="A", remote_doc_id="axis-A", at=after(seconds=61)
    ),
    "trouble": lambda store, message: store.end_attempt_trouble(
        message.id, owner="A", error_code="TEST", due_at=after(hours=1), at=after(seconds=61)
    ),
    "refused": lambda store, message: store.end_attempt_refused(
        message.id, owner="A", error_code="TEST", remote=("E1", "TEST"), at=after(seconds=61)
    ),
    "parked": lambda store, message: store.park(
        message.id, owner="A", error_code="TEST", at=after(seconds=61)
    ),
}


@pytest.mark.parametrize("outcome", ENDS)
def test_who_lost_the_lease_changes_nothing_but_the_attempt(store, outcome):
    held = lost(store)
    ENDS[outcome](store, held)
    now = store.find(held.id)
    assert (now.due_at, now.remote_doc_id, states(now)) == (held.due_at, None, [DeliveryState.SENDING])
    assert [attempt.outcome for attempt in now.attempts] == [outcome, "started"]
    store.end_attempt_sent(held.id, owner="B", remote_doc_id="axis-B", at=after(seconds=62))
    assert states(store.find(held.id)) == [DeliveryState.SENT]


def test_what_the_axis_confirmed_late_is_sent_all_the_same(store):
    message = queue(store, "1", expires_at=NOW)
    try_often(store, message, at=NOW, times=4)
    claim(store, owner="A")
    assert store.expire(after(seconds=61)) == [message.id]
    store.end_attempt_sent(message.id, owner="A", remote_doc_id="axis-1", at=after(seconds=62))
    now = store.find(message.id)
    assert (states(now), now.remote_doc_id) == ([DeliveryState.SENT], "axis-1")


def test_trouble_waits_and_is_tried_again(store):
    message = queue(store, "1")
    claim(store)
    store.end_attempt_trouble(
        message.id,
        owner="A",
        error_code="TEST",
        remote=("E\x00" + "9" * 100, "half \ud800 a letter"),
        due_at=after(minutes=5),
        at=NOW,
    )
    waiting = store.find(message.id)
    assert states(waiting) == [DeliveryState.WAITING]
    assert len(waiting.attempts[0].remote_code) == 64
    assert "\ufffd" in waiting.attempts[0].remote_message
    assert store.begin_attempt(message.id, now=NOW, lease=LEASE, owner="B") is None
    assert store.begin_attempt(message.id, now=NOW, lease=LEASE, owner="B", early=True) is not None


def test_a_refused_message_makes_room_for_a_corrected_one(store):
    message = queue(store, "1")
    claim(store)
    store.end_attempt_refused(message.id, owner="A", error_code="TEST", remote=("E", "TEST"), at=NOW)
    assert states(store.find(message.id)) == [DeliveryState.REFUSED]
    assert queue(store, "1", payload=put_payload(store, b"corrected")).id != message.id


def test_what_is_parked_waits_for_a_person(store):
    message = queue(store, "1")
    claim(store)
    parked = store.park(message.id, owner="A", error_code="TEST", at=NOW)
    assert states(parked) == [DeliveryState.PARKED]
    assert parked.attempts[-1].outcome == "parked"
    assert claim(store, now=after(days=9)) == []
    assert store.requeue(at=after(days=9)) == [message.id]
    [again] = claim(store, now=after(days=9))
    assert (again.tries, len(again.attempts)) == (1, 2)


def test_only_what_waits_for_somebody_is_queued_again(store):
    waiting, sent, sending = queue(store, "1"), send(store, "2"), queue(store, "3")
    store.begin_attempt(sending.id, now=NOW, lease=LEASE, owner="A")
    store.begin_attempt(waiting.id, now=NOW, lease=LEASE, owner="A")
    store.end_attempt_trouble(waiting.id, owner="A", error_code="TEST", due_at=after(hours=1), at=NOW)
    assert store.requeue([waiting.id, sent.id, sending.id], at=NOW) == [waiting.id]
    assert store.requeue(at=NOW, connection="OTHER") == []


def test_what_was_not_sent_in_its_time_is_given_up(store):
    message = queue(store, "1", expires_at=after(hours=24))
    keeps = queue(store, "2")
    held = queue(store, "3", expires_at=after(hours=24))
    for item in (message, held):
        try_often(store, item, at=after(hours=23), times=4)
        try_often(store, item, at=after(hours=24))
    store.begin_attempt(held.id, now=after(hours=24), lease=LEASE, owner="A")
    assert store.expire(after(hours=23)) == []
    assert store.expire(after(hours=24)) == [message.id]
    assert states(store.find(message.id)) == [DeliveryState.EXPIRED]
    assert [item.id for item in claim(store, now=after(hours=24))] == [keeps.id]
    assert store.requeue([message.id], at=after(hours=25), expires_at=after(hours=48)) == [message.id]
    assert store.find(message.id).expires_at == after(hours=48)


@pytest.mark.parametrize(
    ("before", "late"), [(0, 0), (9, 0), (0, 4), (3, 1)], ids=["never", "not since", "four times", "seldom"]
)
def test_nothing_is_given_up_before_it_was_tried_often_and_late(store, before, late):
    """The clock may have jumped ahead: time alone says nothing."""
    message = queue(store, "1", expires_at=after(hours=24))
    try_often(store, message, at=after(hours=1), times=before)
    try_often(store, message, at=after(hours=30), times=late)
    assert store.expire(after(hours=48)) == []
    assert [item.id for item in claim(store, now=after(hours=48))] == [message.id]
    store.end_attempt_trouble(
        message.id, owner="A", error_code="TEST", due_at=after(hours=49), at=after(hours=48)
    )
    assert store.expire(after(hours=48)) == ([message.id] if before + late >= 4 else [])


def test_what_had_its_time_and_its_tries_is_not_claimed(store):
    message = queue(store, "1", expires_at=after(seconds=5))
    try_often(store, message, at=after(seconds=5), times=5)
    assert claim(store, now=after(seconds=5)) == []


# A clock that was ahead, and was set back


def by_a_clock_ahead(store, state):
    """Put a message into a state by a clock that is a day ahead."""
    day = datetime.timedelta(days=1)
    then = NOW + day
    if state == "queued":
        return store.queue(new_sent(store, "1"), connection=CONNECTION, at=then)
    message = queue(store, "1", expires_at=after(hours=23))
    if state == "requeued":
        try_often(store, message, at=NOW)
        store.requeue([message.id], at=then, expires_at=then + day)
    elif state == "held":
        store.begin_attempt(message.id, now=then, lease=LEASE, owner="dead")
    elif state == "waiting":
        try_often(store, message, at=then)
        store.begin_attempt(message.id, now=then, lease=LEASE, owner="A", early=True)
        store.end_attempt_trouble(
            message.id, owner="A", error_code="TEST", due_at=then + datetime.timedelta(hours=1), at=then
        )
    else:
        try_often(store, message, at=then, times=5)
        assert store.expire(then) == [message.id]
    return message


@pytest.mark.parametrize("state", ["queued", "requeued", "held", "waiting", "expired"])
def test_what_a_clock_that_was_ahead_put_off_is_taken_up_again(store, state):
    message = by_a_clock_ahead(store, state)
    now = after(minutes=1)
    assert claim(store, now=now, owner="B") == []
    assert store.set_right(now, lease=LEASE) == [message.id]
    assert store.set_right(now, lease=LEASE) == []
    assert [item.id for item in claim(store, now=now, owner="B")] == [message.id]
    # It waits as others do from now on.
    store.end_attempt_trouble(message.id, owner="B", error_code="TEST", due_at=after(hours=1), at=now)
    assert store.set_right(after(minutes=2), lease=LEASE) == []
    assert store.expire(after(minutes=2)) == []


def test_what_waits_as_it_should_is_left_alone(store):
    """Also what another machine does whose clock is four minutes ahead."""
    waiting, held, given_up = (queue(store, str(number), expires_at=NOW) for number in range(3))
    ahead = after(minutes=4)
    try_often(store, given_up, at=ahead, times=5)
    assert store.expire(ahead) == [given_up.id]
    for message in (waiting, held):
        store.begin_attempt(message.id, now=ahead, lease=LEASE, owner="A")
    store.end_attempt_trouble(waiting.id, owner="A", error_code="TEST", due_at=after(hours=1), at=ahead)
    assert store.set_right(NOW, lease=LEASE) == []


def test_who_holds_a_message_while_the_clock_is_set_back_keeps_it(store):
    day = datetime.timedelta(days=1)
    message = queue(store, "1")
    store.begin_attempt(message.id, now=NOW + day, lease=LEASE, owner="A")
    store.set_right(NOW, lease=LEASE)
    assert store.renew(message.id, owner="A", now=NOW, lease=LEASE)
    assert claim(store, owner="B") == []
    store.end_attempt_sent(message.id, owner="A", remote_doc_id="axis-1", at=NOW)
    assert states(store.find(message.id)) == [DeliveryState.SENT]


# What others say


def test_reports_and_the_end_of_the_attempt_come_in_any_order(store, second):
    """A business status that overtakes the axis's answer is not undone by it, however the two are mixed."""
    for number in range(10):
        message = queue(store, f"race-{number}")
        store.begin_attempt(message.id, now=NOW, lease=LEASE, owner="A")
        outcomes = together(
            lambda message=message, number=number: store.end_attempt_sent(
                message.id, owner="A", remote_doc_id=f"axis-race-{number}", at=NOW
            ),
            lambda number=number: receive_status(second, f"race-{number}", "03"),
        )
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert states(store.find(message.id)) == [DeliveryState.DELIVERED]


def test_transport_moves_forward_only(store, second):
    message = send(store, "1", recipients=3)

    def report(place, status):
        reports = [
            SentReport("axis-1", f"remote-{item.recipient.code}", item.recipient.code, status)
            for item in message.consignments
        ]
        return place.note_transport(reports, connection=CONNECTION, at=after(minutes=1))

    outcomes = together(
        *(
            lambda place=place, status=status: report(place, status)
            for place in (store, second)
            for status in (TransportStatus.PROCESSING, TransportStatus.DONE)
        )
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    now = store.find(message.id)
    assert states(now) == [DeliveryState.DELIVERED] * 3
    assert {item.transport for item in now.consignments} == {TransportStatus.DONE}
    assert not store.awaits_transport(PackageKind.DOCUMENT, connection=CONNECTION)


def test_a_package_that_comes_to_many_at_once_is_kept_once(store, second):
    new = new_received(store, "1")
    outcomes = together(
        *(
            lambda place=place: place.keep(new, conflict=new, connection=CONNECTION, at=NOW, reply=None)
            for place in [store, second] * 4
        )
    )
    assert [kept.repeated for kept in outcomes].count(False) == 1
    assert len(store.received()) == 1


def test_the_same_package_under_many_ids_is_kept_once(store, second):
    payload = put_payload(store, b"TEST twin")
    news = [new_received(store, str(number), payload=payload, identity="a" * 64) for number in range(8)]
    outcomes = together(
        *(
            lambda place=place, new=new: place.keep(
                new, conflict=new, connection=CONNECTION, at=NOW, reply=None
            )
            for place, new in zip([store, second] * 4, news, strict=True)
        )
    )
    assert {kept.message.id for kept in outcomes} == {store.received()[0].id}
    assert len(store.received()) == 1


def test_an_identifier_without_end_is_kept(store):
    """An index of PostgreSQL takes 2,704 bytes; a hostile package must not be kept out by it."""
    long = "".join(chr(0x4E00 + number % 5000) for number in range(20_000))
    kept = receive(store, "1", document_id=long, code=long, sender_code=long, sender_name=long, subject=long)
    assert store.find(kept.message.id).subject == long


# Listing


@pytest.fixture
def many(store):
    messages = [queue(store, f"{number:02}", at=after(minutes=number // 2)) for number in range(25)]
    for number in range(0, 25, 5):
        claimed = store.begin_attempt(
            messages[number].id, now=after(hours=1), lease=LEASE, owner="A", early=True
        )
        store.park(claimed.id, owner="A", error_code="TEST", at=after(hours=1))
    return messages


def pages(store, direction, where=MessageFilter(), *, limit=4):  # noqa: B008 - frozen
    after_, ids = None, []
    while True:
        page = store.page(direction, where, limit=limit, after=after_)
        ids += [item.id for item in page.items]
        assert len(page.items) <= limit
        if page.next is None:
            return ids
        after_ = page.next


def newest_first(messages):
    return [item.id for item in sorted(messages, key=lambda item: (item.created_at, item.id), reverse=True)]


def test_pages_hold_everything_once_and_in_order(store, many):
    assert pages(store, "sent") == newest_first(many)
    assert pages(store, "sent", limit=25) == newest_first(many)


def test_pages_of_one_state(store, many):
    parked = MessageFilter(state=DeliveryState.PARKED)
    assert pages(store, "sent", parked, limit=2) == newest_first(many[::5])
    assert len(pages(store, "sent", MessageFilter(state=DeliveryState.QUEUED))) == 20
    assert pages(store, "sent", MessageFilter(state=DeliveryState.FAILED)) == []


def test_a_message_in_one_state_for_many_recipients_is_listed_once(store):
    message = queue(store, "1", recipients=30)
    assert pages(store, "sent", MessageFilter(state=DeliveryState.QUEUED), limit=1) == [message.id]


def test_pages_of_a_time(store, many):
    where = MessageFilter(since=after(minutes=3), until=after(minutes=5))
    assert pages(store, "sent", where) == newest_first(many[6:10])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("quyet dinh test 07", 1),
        ("QUYẾT ĐỊNH", 25),
        ("so test 0", 25),
        ("07/QĐ", 1),
        ("0000.h99", 25),
        ("100%", 0),
        ("nothing", 0),
    ],
)
def test_pages_by_text(store, many, text, count):
    assert len(pages(store, "sent", MessageFilter(text=text), limit=50)) == count


def test_pages_of_received_messages(store):
    kept = [receive(store, str(number), at=after(minutes=number)).message for number in range(5)]
    apart = receive(store, "bad", accepted=False, at=after(minutes=9)).message
    receive_status(store, "unknown", "03")
    assert pages(store, "received", limit=2) == [apart.id, *(item.id for item in reversed(kept))]
    assert pages(store, "received", MessageFilter(state=DeliveryState.QUARANTINED)) == [apart.id]
    assert pages(store, "received", MessageFilter(text="cong van test 3")) == [kept[3].id]
    assert len(pages(store, "received", MessageFilter(kind=PackageKind.STATUS))) == 1
    assert pages(store, "received", MessageFilter(connection="OTHER")) == []


@pytest.mark.parametrize("after_", ["", "x", "2026-11-21_x", "2026-11-21T00:00:00+00:00_", "_1"])
def test_what_is_no_place_in_a_list(store, after_):
    with pytest.raises(UsageError) as caught:
        store.page("sent", after=after_)
    assert caught.value.code == "store.bad-cursor"


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_limit(store, limit):
    with pytest.raises(UsageError):
        store.page("sent", limit=limit)


def test_a_message_is_found_by_the_beginning_of_its_id(store):
    message = send(store, "1")
    assert store.find(message.id[:8]).id == message.id
    assert store.find("axis-1").id == message.id
    for unknown in (message.id[:7], "f" * 8, "", "x" * 40, "\x00"):
        with pytest.raises(UsageError):
            store.find(unknown)


def test_times_come_back_as_they_were(store):
    moment = datetime.datetime(2026, 11, 21, 9, 0, 0, 123456, datetime.timezone(datetime.timedelta(hours=7)))
    message = queue(store, "1", at=moment)
    assert store.find(message.id).created_at == moment
    with store.database.reading() as session:
        assert session.scalars(sa.select(AttemptRow)).all() == []
