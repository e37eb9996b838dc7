"""Orders about documents and statuses about them, in the store itself, on SQLite and PostgreSQL."""

import contextlib
import dataclasses
import datetime
import threading

import pytest

from tests.stores import CONNECTION, NOW, OWN, after, new_received, new_sent, queue, receive, send
from vnedoc.errors import NotAllowedError
from vnedoc.exchange.codes import BusinessKind, PackageKind
from vnedoc.exchange.counters import tally_received, tally_sent
from vnedoc.exchange.deadlines import find_late
from vnedoc.exchange.states import BusinessState, DeliveryState, OrderKind, OrderState
from vnedoc.exchange.stores.records import NewOrder, StatusNews
from vnedoc.exchange.stores.store import AgencyStore

SENDER, RECIPIENT = "000.00.01.H99", "000.00.0000.H99"


@pytest.fixture
def store(store_url, tmp_path):
    with contextlib.closing(AgencyStore.open(store_url, tmp_path / "payloads")) as store:
        yield store


def order(kind, name, **changes):
    values = {"document_code": "", "reason": "TEST", "automatic": True}
    return NewOrder(kind=kind, document_id=f"TEST-in-{name}", **{**values, **changes})


def report(store, code, *, name="1", at=NOW, reported_at=None, number=[0]):  # noqa: B006 - counts
    """A status of the recipient about the document that was sent, in a package of its own."""
    number[0] += 1
    news = StatusNews(code, RECIPIENT, OWN, f"TEST-{name}", f"{name}/QĐ-TEST", None, reported_at)
    return receive(
        store,
        f"status-{number[0]}",
        at=at,
        kind=PackageKind.STATUS,
        sender_code=RECIPIENT,
        document_id=news.document_id,
        subject=code,
        news=news,
    )


def business(store, message):
    return store.find(message.id).consignments[0].business


def give(store, name, kind, targets, *, at, business_kind):
    new = new_sent(store, name, document_id="TEST-1", code="1/QĐ-TEST", business_kind=business_kind)
    message = store.give_order(new, kind, targets, connection=CONNECTION, reason="TEST", at=at)
    store.begin_attempt(message.id, now=at, lease=datetime.timedelta(minutes=1), owner="TEST")
    return store.end_attempt_sent(message.id, owner="TEST", remote_doc_id=f"axis-{name}", at=at)


# Which package a status is about


def test_each_package_with_the_same_identifier_gets_its_own_arrival(store):
    first = send(store, "1", business_kind=BusinessKind.NEW)
    second = give(store, "u", OrderKind.UPDATE, [first.id], at=after(hours=1), business_kind=2)
    report(store, "01", at=after(hours=1))
    assert (business(store, first).progress, business(store, second).progress) == ("01", None)
    report(store, "01", at=after(hours=1))
    assert (business(store, first).progress, business(store, second).progress) == ("01", "01")


def test_work_is_reported_on_the_newest_version_that_came(store):
    first = send(store, "1", business_kind=BusinessKind.NEW)
    report(store, "01")
    second = give(store, "u", OrderKind.UPDATE, [first.id], at=after(hours=1), business_kind=2)
    # The update is on the axis, and nothing says that it came: the work is on the first version.
    report(store, "03", at=after(hours=2), reported_at=after(hours=2))
    assert business(store, first).progress == "03"
    report(store, "15", at=after(hours=3))
    report(store, "01", at=after(hours=3))
    report(store, "06", at=after(hours=4), reported_at=after(hours=4))
    assert business(store, first) == BusinessState("03")
    assert business(store, second) == BusinessState("06", "15")
    assert store.orders_of([second.id])[0].state is OrderState.APPLIED


def test_a_report_from_before_a_version_is_about_an_earlier_one(store):
    first = send(store, "1", business_kind=BusinessKind.NEW)
    second = give(store, "u", OrderKind.UPDATE, [first.id], at=after(hours=1), business_kind=2)
    report(store, "01", at=after(hours=1))
    report(store, "01", at=after(hours=1))
    # Written before the update existed, and held up on the way.
    report(store, "05", at=after(hours=9), reported_at=after(minutes=30))
    assert (business(store, first).progress, business(store, second).progress) == ("05", "01")


def test_an_answer_goes_to_what_was_asked_last(store):
    first = send(store, "1", business_kind=BusinessKind.NEW)
    update = give(store, "u", OrderKind.UPDATE, [first.id], at=after(hours=1), business_kind=2)
    recall = give(store, "r", OrderKind.RECALL, [first.id, update.id], at=after(hours=2), business_kind=1)
    report(store, "16", at=after(hours=3))
    assert business(store, recall).change == "16"
    assert business(store, first).change == "16"
    states = {item.kind: item.state for item in store.orders_of([recall.id])}
    assert states == {OrderKind.RECALL: OrderState.REFUSED}


def test_what_the_axis_refused_is_not_reported_on(store):
    refused = queue(store, "1", business_kind=BusinessKind.NEW)
    store.begin_attempt(refused.id, now=NOW, lease=datetime.timedelta(minutes=1), owner="TEST")
    store.end_attempt_refused(refused.id, owner="TEST", error_code="TEST", remote=("18", "TEST"), at=NOW)
    corrected = send(
        store, "2", document_id="TEST-1", code="1/QĐ-TEST", at=after(hours=1), business_kind=BusinessKind.NEW
    )
    report(store, "01", at=after(hours=1))
    assert business(store, refused) == BusinessState()
    assert business(store, corrected) == BusinessState("01")


def test_an_old_answer_of_some_systems_to_a_recall(store):
    # 03 on a document that was accepted before can only mean that the recall was.
    first = send(store, "1", business_kind=BusinessKind.NEW)
    report(store, "03")
    give(store, "r", OrderKind.RECALL, [first.id], at=after(hours=1), business_kind=1)
    assert business(store, first).change == "13"
    report(store, "03", at=after(hours=2))
    assert business(store, first) == BusinessState("03", "15")
    # On one that was not, it is an ordinary acceptance.
    other = send(store, "2", business_kind=BusinessKind.NEW)
    new = new_sent(store, "r2", document_id="TEST-2", code="2/QĐ-TEST", business_kind=1)
    store.give_order(
        new, OrderKind.RECALL, [other.id], connection=CONNECTION, reason="TEST", at=after(hours=1)
    )
    report(store, "03", name="2", at=after(hours=2))
    assert business(store, other) == BusinessState("03", "13")


def test_a_status_without_an_identifier_is_about_the_newest_of_that_number(store):
    old = send(store, "1", business_kind=BusinessKind.NEW)
    new = send(
        store,
        "2",
        document_id="TEST-new",
        code="1/QĐ-TEST",
        at=after(days=365),
        business_kind=BusinessKind.NEW,
    )
    news = StatusNews("01", RECIPIENT, OWN, "", "1/QĐ-TEST", None, None)
    receive(store, "s", kind=PackageKind.STATUS, sender_code=RECIPIENT, news=news, at=after(days=365))
    assert (business(store, old), business(store, new)) == (BusinessState(), BusinessState("01"))


# Orders that come in


def test_an_order_and_its_document_that_come_at_the_same_moment(store):
    # On PostgreSQL two transactions do not see each other's rows before they end.
    for number in range(8):
        name = f"{number}"
        document = new_received(store, name, business_kind=BusinessKind.NEW, dispatched_at=NOW)
        recall = new_received(
            store,
            f"r{name}",
            document_id=document.document_id,
            business_kind=BusinessKind.RECALL,
            dispatched_at=after(hours=1),
            orders=(order(OrderKind.RECALL, name),),
        )
        together = threading.Barrier(2)

        def keep(new, together=together):
            together.wait(20)
            store.keep(new, conflict=new, connection=CONNECTION, at=NOW)

        threads = [threading.Thread(target=keep, args=(new,)) for new in (document, recall)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        found, _ = store.find_remote(document.remote_doc_id, connection=CONNECTION)
        assert found.delivery is DeliveryState.CANCELLED
    assert len(store.unanswered_orders(connection=CONNECTION)) == 8
    assert len(store.unnoticed_orders(connection=CONNECTION)) == 8


def test_an_answer_is_queued_once_whoever_does_it(store):
    receive(store, "1", business_kind=BusinessKind.NEW, dispatched_at=NOW)
    receive(
        store,
        "r",
        document_id="TEST-in-1",
        business_kind=BusinessKind.RECALL,
        dispatched_at=after(hours=1),
        orders=(order(OrderKind.RECALL, "1"),),
    )
    [asked] = store.unanswered_orders(connection=CONNECTION)
    news = StatusNews("15", OWN, SENDER, "TEST-in-1", "1/CV-TEST", None, NOW)
    answers = [
        store.answer_order(
            asked, new_sent(store, f"a{number}", kind=PackageKind.STATUS), news, connection=CONNECTION, at=NOW
        )
        for number in range(2)
    ]
    assert answers[0].id == answers[1].id
    assert store.unanswered_orders(connection=CONNECTION) == []


@pytest.mark.parametrize("known", [True, False])
def test_an_order_of_a_stranger_is_kept_apart_if_the_document_is_somebody_elses(store, known):
    if known:
        receive(store, "1", business_kind=BusinessKind.NEW)
    kept = receive(
        store,
        "r",
        document_id="TEST-in-1",
        sender_code="000.00.99.H99",
        business_kind=BusinessKind.RECALL,
        orders=(order(OrderKind.RECALL, "1"),),
    )
    if known:
        assert kept.message.delivery is DeliveryState.QUARANTINED
    else:
        # Nothing is known yet; when the document comes from another agency, the order does not touch it.
        document = receive(store, "1", business_kind=BusinessKind.NEW).message
        assert document.delivery is DeliveryState.ACCEPTED
        assert store.orders_of([kept.message.id])[0].state is OrderState.WAITING


def test_an_order_that_claims_to_be_older_than_the_document_does_not_cancel_it_by_itself(store):
    document = receive(store, "1", business_kind=BusinessKind.NEW, dispatched_at=NOW).message
    receive(
        store,
        "r",
        document_id="TEST-in-1",
        business_kind=BusinessKind.RECALL,
        dispatched_at=after(hours=-1),
        orders=(order(OrderKind.RECALL, "1"),),
    )
    assert store.find(document.id).delivery is DeliveryState.ACCEPTED


def recall(store, name, about, **changes):
    """A recall of a document that came, or will come."""
    values = {"document_id": f"TEST-in-{about}", "orders": (order(OrderKind.RECALL, about),)}
    return receive(
        store,
        name,
        **{"business_kind": BusinessKind.RECALL, "dispatched_at": after(hours=1), **values, **changes},
    ).message


def answers(store):
    """The answers that senders of orders get, by the message that carries the order."""
    return {order.order_id: order.answer for order in store.unanswered_orders(connection=CONNECTION)}


BAD = {"accepted": False, "business_kind": BusinessKind.NEW, "dispatched_at": NOW}


def test_a_recall_of_what_was_not_let_in_cancels_it_and_is_answered(store):
    document = receive(store, "1", **BAD).message
    recalled = recall(store, "r", "1")
    assert store.find(document.id).delivery is DeliveryState.CANCELLED
    assert answers(store) == {recalled.id: "15"}


def test_a_recall_that_overtakes_what_is_not_let_in_is_answered(store):
    recalled = recall(store, "r", "1")
    assert answers(store) == {}
    document = receive(store, "1", **BAD).message
    assert store.find(document.id).delivery is DeliveryState.CANCELLED
    assert answers(store) == {recalled.id: "15"}


def test_what_is_not_let_in_does_not_take_a_recall_off_the_document(store):
    recall(store, "r", "1")
    receive(store, "bad", document_id="TEST-in-1", **BAD)
    document = receive(store, "1", business_kind=BusinessKind.NEW, dispatched_at=NOW).message
    assert store.find(document.id).delivery is DeliveryState.CANCELLED


def test_what_is_not_let_in_does_not_make_a_stranger_of_who_recalls(store):
    receive(store, "bad", document_id="TEST-in-1", sender_code="000.00.02.H99", **BAD)
    recall(store, "other", "1", sender_code="000.00.02.H99")
    assert recall(store, "r", "1").delivery is DeliveryState.ACCEPTED


def test_an_update_of_what_was_not_let_in_does_not_let_it_in(store):
    document = receive(store, "1", **BAD).message
    receive(
        store,
        "u",
        document_id="TEST-in-1",
        business_kind=BusinessKind.UPDATE,
        dispatched_at=after(hours=1),
        orders=(order(OrderKind.UPDATE, "1"),),
    )
    assert store.find(document.id).delivery is DeliveryState.QUARANTINED
    assert answers(store) == {}


@pytest.mark.parametrize("automatic", [True, False])
def test_who_recalls_once_more_hears_once_more_that_it_is_done(store, automatic):
    document = receive(store, "1", business_kind=BusinessKind.NEW, dispatched_at=NOW).message
    first = recall(store, "r", "1")
    since = store.find(document.id).updated_at
    again = (order(OrderKind.TAKE_BACK, "1", automatic=automatic),)
    second = recall(store, "s", "1", dispatched_at=after(hours=2), at=after(hours=2), orders=again)
    assert answers(store) == {first.id: "15", second.id: "15"}
    # What was done once is not done again: a document that is sent anew is told from it by its time.
    assert store.find(document.id).updated_at == since


def test_two_recalls_that_wait_for_a_document_are_both_answered(store):
    first = recall(store, "r", "1")
    second = recall(
        store,
        "s",
        "1",
        dispatched_at=after(hours=2),
        orders=(order(OrderKind.TAKE_BACK, "1", automatic=False),),
    )
    document = receive(store, "1", business_kind=BusinessKind.NEW, dispatched_at=NOW).message
    assert store.find(document.id).delivery is DeliveryState.CANCELLED
    assert answers(store) == {first.id: "15", second.id: "15"}


def test_the_log_tells_of_orders_and_its_chain_verifies(store):
    from vnedoc.exchange.stores.checking import check_store

    message = send(store, "1", business_kind=BusinessKind.NEW)
    give(store, "r", OrderKind.RECALL, [message.id], at=after(hours=1), business_kind=1)
    report(store, "15", at=after(hours=2))
    queued = queue(store, "2", business_kind=BusinessKind.NEW)
    store.recall_unsent(queued.id, reason="TEST", at=after(hours=1))
    receive(store, "1", business_kind=BusinessKind.NEW, dispatched_at=NOW)
    receive(
        store,
        "r",
        document_id="TEST-in-1",
        business_kind=BusinessKind.RECALL,
        dispatched_at=after(hours=1),
        orders=(order(OrderKind.RECALL, "1"),),
    )
    report_of_store = check_store(store)
    assert report_of_store.problems == ()


def test_what_was_sent_cannot_be_taken_back_here(store):
    message = send(store, "1", business_kind=BusinessKind.NEW)
    found, may_have_left = store.recall_unsent(message.id, reason="TEST", at=after(hours=1))
    assert may_have_left
    assert {item.delivery for item in found.consignments} == {DeliveryState.SENT}


def test_a_frozen_document_is_not_answered_even_if_it_was_cancelled_a_moment_ago(store):
    document = receive(store, "1", business_kind=BusinessKind.NEW).message
    receive(
        store,
        "r",
        document_id="TEST-in-1",
        business_kind=BusinessKind.RECALL,
        orders=(order(OrderKind.RECALL, "1"),),
    )
    new = dataclasses.replace(new_sent(store, "a"), kind=PackageKind.STATUS)
    news = StatusNews("03", OWN, SENDER, "TEST-in-1", "1/CV-TEST", None, NOW)
    with pytest.raises(NotAllowedError) as caught:
        store.reply(document.id, new, news, connection=CONNECTION, at=NOW)
    assert caught.value.code == "exchange.cancelled"


# Facts


def test_facts_of_what_was_sent_and_received(store):
    message = send(store, "1", business_kind=BusinessKind.NEW, paper=True, issued_on=NOW.date(), recipients=2)
    report(store, "01", at=after(hours=1))
    [facts] = store.sent_facts()
    assert (facts.message_id, facts.sent_at, facts.paper, facts.issued_on) == (
        message.id, NOW, True, NOW.date(),
    )  # fmt: skip
    assert [item.noticed_at for item in facts.recipients] == [after(hours=1), None]
    new, news = (
        new_sent(store, "a", kind=PackageKind.STATUS),
        StatusNews("01", OWN, SENDER, "", "", None, NOW),
    )
    kept = receive(store, "1", business_kind=BusinessKind.NEW, due_on=NOW.date(), reply=(new, news)).message
    [facts] = store.received_facts()
    assert (facts.message_id, facts.noticed_at, facts.due_on, facts.progress) == (
        kept.id, None, NOW.date(), "01",
    )  # fmt: skip
    [answer] = store.sent(kind=PackageKind.STATUS)
    store.begin_attempt(answer.id, now=after(hours=2), lease=datetime.timedelta(minutes=1), owner="TEST")
    store.end_attempt_sent(answer.id, owner="TEST", remote_doc_id="axis-a", at=after(hours=2))
    assert store.received_facts()[0].noticed_at == after(hours=2)
    assert store.sent_facts(since=after(hours=1)) == store.received_facts(until=NOW) == []


@pytest.fixture
def busy(store):
    """A store with documents of many kinds: in time and late, urgent, unanswered, recalled, parked, apart."""
    send(store, "1", recipients=2, business_kind=BusinessKind.NEW, paper=True, issued_on=NOW.date())
    report(store, "01", at=after(hours=1))
    report(store, "06", at=after(days=2))
    send(store, "2", at=after(hours=1), issued_on=NOW.date() - datetime.timedelta(days=9))
    report(store, "02", name="2", at=after(days=3))
    send(store, "3", priority=2, paper=False)
    report(store, "01", name="3", at=after(days=9))
    send(store, "4", business_kind=BusinessKind.RECALL)
    send(store, "5", at=after(days=1), business_kind=BusinessKind.UPDATE)
    queue(store, "6", business_kind=BusinessKind.REPLACE)
    store.park(queue(store, "7").id, owner=None, error_code="TEST", at=NOW)
    for number, changes in enumerate(
        (
            {"business_kind": BusinessKind.NEW, "paper": True},
            {"priority": 1},
            {"due_on": NOW.date() - datetime.timedelta(days=1)},
            {"due_on": NOW.date() + datetime.timedelta(days=2)},
            {"business_kind": BusinessKind.RECALL},
            {"accepted": False},
        )
    ):
        kept = receive(store, f"r{number}", at=after(hours=number), **changes).message
        for place, word in enumerate(("01", "06")[: number % 3]):
            at = after(days=place * number, hours=number)
            new = new_sent(store, f"answer-{number}-{word}", kind=PackageKind.STATUS)
            news = StatusNews(word, OWN, SENDER, f"TEST-in-r{number}", f"r{number}/CV-TEST", None, at)
            answer = store.reply(kept.id, new, news, connection=CONNECTION, at=at)
            store.begin_attempt(answer.id, now=at, lease=datetime.timedelta(minutes=1), owner="TEST")
            store.end_attempt_sent(answer.id, owner="TEST", remote_doc_id=f"a-{number}-{word}", at=at)
    return store


def test_a_store_tallies_as_one_would_by_hand(busy):
    for span in ({}, {"since": after(hours=1)}, {"until": after(hours=2)}):
        assert busy.sent_tallies(**span) == tally_sent(busy.sent_facts(**span))
        assert busy.received_tallies(**span) == tally_received(busy.received_facts(**span))
    assert sum(busy.sent_tallies().documents.values()) == 5
    assert sum(busy.received_tallies().documents.values()) == 6


@pytest.mark.parametrize(
    "passed", [{}, {"minutes": 20}, {"hours": 14}, {"days": 1}, {"days": 2}, {"days": 30}]
)
def test_what_may_be_late_holds_all_that_is_late(busy, passed):
    now = after(**passed)
    everything = find_late(busy.sent_facts(), busy.received_facts(), now=now)
    chosen = busy.sent_facts(late_at=now), busy.received_facts(late_at=now)
    assert find_late(*chosen, now=now) == everything
    if passed == {"days": 30}:
        assert {item.kind.value for item in everything} == {
            "sending", "their-receipt-notice", "receipt-notice", "answer",
        }  # fmt: skip
        # What was kept in time was not even looked at.
        assert len(chosen[1]) < len(busy.received_facts())
