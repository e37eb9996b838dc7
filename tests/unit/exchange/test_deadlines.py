import datetime

import pytest

from vnedoc.exchange.codes import BusinessKind
from vnedoc.exchange.deadlines import DeadlineKind, DeadlineRules, WorkingCalendar, find_late
from vnedoc.exchange.facts import ReceivedFacts, RecipientFacts, SentFacts
from vnedoc.exchange.states import DeliveryState

# 20 November 2026 is a Friday, the 23rd a Monday, and the 24th a holiday.
FRIDAY, MONDAY = datetime.date(2026, 11, 20), datetime.date(2026, 11, 23)


def at(day, hour, minute=0):
    """A time of day in Vietnam."""
    return datetime.datetime(
        2026, 11, day, hour, minute, tzinfo=datetime.timezone(datetime.timedelta(hours=7))
    )


def sent(**changes):
    values = {
        "message_id": "1",
        "code": "15/TEST",
        "subject": "TEST",
        "business_kind": BusinessKind.NEW,
        "priority": 0,
        "paper": False,
        "issued_on": FRIDAY,
        "queued_at": at(20, 10),
        "sent_at": at(20, 10),
        "recipients": (RecipientFacts("H99.1", "TEST", DeliveryState.DELIVERED, "01", at(20, 11)),),
    }
    return SentFacts(**{**values, **changes})


def received(**changes):
    values = {
        "message_id": "2",
        "code": "15/TEST",
        "subject": "TEST",
        "sender_code": "H99",
        "sender_name": "TEST",
        "business_kind": BusinessKind.NEW,
        "priority": 0,
        "paper": False,
        "delivery": DeliveryState.ACCEPTED,
        "progress": "01",
        "received_at": at(20, 10),
        "noticed_at": at(20, 10),
        "due_on": None,
        "finished_at": None,
    }
    return ReceivedFacts(**{**values, **changes})


def kinds(sent=(), received=(), *, now, rules=None):
    return [item.kind for item in find_late(sent, received, now=now, rules=rules or DeadlineRules())]


@pytest.mark.parametrize(
    ("sent_at", "late"),
    [
        (at(20, 23), False),
        (at(23, 11, 30), False),  # the morning of the next working day
        (at(23, 11, 31), True),
        (at(23, 14), True),
        (None, True),
    ],
)
def test_a_document_is_sent_at_the_latest_the_next_working_morning(sent_at, late):
    found = kinds([sent(sent_at=sent_at, recipients=())], now=at(23, 15))
    assert found == ([DeadlineKind.SENDING] if late else [])


def test_what_waits_is_not_late_before_its_time():
    assert kinds([sent(sent_at=None, recipients=())], now=at(23, 11)) == []


def test_the_date_of_the_document_counts_not_the_day_it_was_queued():
    old = sent(issued_on=datetime.date(2026, 11, 16))
    assert kinds([old], now=at(20, 12)) == [DeadlineKind.SENDING]


@pytest.mark.parametrize("priority", [1, 2, 3, 4])
def test_urgent_documents_are_sent_at_once(priority):
    slow = sent(priority=priority, sent_at=at(20, 10, 16))
    assert kinds([slow], now=at(20, 12)) == [DeadlineKind.SENDING]
    assert kinds([sent(priority=priority, sent_at=at(20, 10, 15))], now=at(20, 12)) == []
    patient = DeadlineRules(urgent_grace=datetime.timedelta(hours=1))
    assert kinds([slow], now=at(20, 12), rules=patient) == []


@pytest.mark.parametrize("state", [DeliveryState.RECALLED, DeliveryState.REFUSED])
def test_what_was_given_up_is_not_late(state):
    recipients = (RecipientFacts("H99.1", "TEST", state, None, None),)
    assert kinds([sent(sent_at=None, recipients=recipients)], now=at(30, 12)) == []


def test_a_recipient_confirms_by_the_end_of_the_next_working_day():
    silent = (RecipientFacts("H99.1", "TEST", DeliveryState.SENT, None, None),)
    assert kinds([sent(recipients=silent)], now=at(23, 23)) == []
    [late] = find_late([sent(recipients=silent)], [], now=at(25, 0, 1))
    assert (late.kind, late.counterpart, late.met_at) == (DeadlineKind.THEIR_RECEIPT_NOTICE, "H99.1", None)
    # A recall is answered when it is carried out; the law sets no figure.
    assert kinds([sent(recipients=silent, business_kind=BusinessKind.RECALL)], now=at(25, 1)) == []


@pytest.mark.parametrize(
    ("noticed_at", "late"), [(at(20, 23, 59), False), (at(21, 0, 1), True), (None, True)]
)
def test_receipt_is_confirmed_on_the_same_day(noticed_at, late):
    found = kinds((), [received(noticed_at=noticed_at)], now=at(21, 8))
    assert found == ([DeadlineKind.RECEIPT_NOTICE] if late else [])
    # Whether what is in quarantine is answered is a question of policy.
    kept_apart = received(noticed_at=noticed_at, delivery=DeliveryState.QUARANTINED)
    assert kinds((), [kept_apart], now=at(21, 8)) == []


def test_urgent_documents_are_confirmed_at_once():
    assert kinds((), [received(priority=3, noticed_at=None)], now=at(20, 10, 16)) == [
        DeadlineKind.RECEIPT_NOTICE
    ]


@pytest.mark.parametrize(("finished_at", "late"), [(at(23, 23), False), (at(24, 1), True), (None, True)])
def test_the_date_that_the_sender_set(finished_at, late):
    found = kinds((), [received(due_on=MONDAY, finished_at=finished_at)], now=at(25, 8))
    assert found == ([DeadlineKind.ANSWER] if late else [])


def test_an_agencys_calendar_moves_deadlines():
    closed = DeadlineRules(calendar=WorkingCalendar(closed=frozenset({MONDAY})))
    assert kinds([sent(sent_at=at(25, 9))], now=at(25, 10), rules=closed) == []
    assert kinds([sent(sent_at=at(25, 9))], now=at(25, 10)) == [DeadlineKind.SENDING]


def test_what_is_still_to_be_done_comes_first_then_urgency_then_age():
    done = sent(message_id="done", sent_at=at(23, 15), recipients=())
    new = sent(message_id="new", sent_at=None, recipients=(), issued_on=MONDAY, queued_at=at(23, 9))
    old = sent(message_id="old", sent_at=None, recipients=())
    urgent = sent(message_id="urgent", sent_at=None, recipients=(), priority=2, queued_at=at(25, 9))
    found = find_late([done, new, old, urgent], [], now=at(26, 9))
    assert [item.message_id for item in found] == ["urgent", "old", "new", "done"]
