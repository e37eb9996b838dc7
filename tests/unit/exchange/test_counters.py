import dataclasses
import datetime

from tests.unit.exchange.test_deadlines import at, received, sent
from vnedoc.exchange.codes import BusinessKind
from vnedoc.exchange.counters import count_received, count_sent, tally_received, tally_sent
from vnedoc.exchange.deadlines import find_late
from vnedoc.exchange.facts import RecipientFacts
from vnedoc.exchange.states import DeliveryState

LEVELS = {"G99": "central", "H99": "province", "H99.1": "province", "H99.2": "commune"}


def level_of(code, _name):
    return LEVELS.get(code, "unknown")


def to(code, delivery=DeliveryState.DELIVERED, progress="01"):
    return RecipientFacts(code, "TEST", delivery, progress, at(20, 11) if progress else None)


def only(counts):
    """The counts that are not zero."""
    return {name: value for name, value in dataclasses.asdict(counts).items() if value}


def test_nothing_is_nothing():
    assert only(count_sent(tally_sent([]), late=[], level_of=level_of)) == {}
    assert only(count_received(tally_received([]), late=[], level_of=level_of)) == {}


def test_what_was_sent():
    facts = [
        sent(recipients=(to("H99.1"), to("H99.2", progress="02"))),
        sent(message_id="2", paper=True, recipients=(to("G99", DeliveryState.FAILED, None),)),
        sent(message_id="3", paper=None, business_kind=BusinessKind.REPLACE, sent_at=at(21, 0, 30)),
        sent(message_id="4", business_kind=BusinessKind.UPDATE, recipients=(to("X"),)),
        sent(message_id="5", business_kind=BusinessKind.RECALL),
        sent(message_id="6", sent_at=None, recipients=(to("H99.1", DeliveryState.WAITING, None),)),
        sent(message_id="7", sent_at=None, recipients=(to("H99.1", DeliveryState.PARKED, None),)),
        sent(message_id="8", sent_at=None, recipients=(to("H99.1", DeliveryState.REFUSED, None),)),
        sent(message_id="9", sent_at=None, recipients=(to("H99.1", DeliveryState.RECALLED, None),)),
    ]
    late = find_late(facts, [], now=at(23, 15))
    assert only(count_sent(tally_sent(facts), late=late, level_of=level_of)) == {
        "documents": 4,
        "electronic_only": 2,
        "with_paper": 1,
        "paper_unknown": 1,
        "deliveries": 5,
        "updates": 1,
        "replacements": 1,
        "recalls": 1,
        "waiting": 1,
        "stopped": 1,
        "refused_by_axis": 1,
        "taken_back_unsent": 1,
        "returned": 1,
        "failed": 1,
        "late": 2,
        "by_level": {"central": 1, "commune": 1, "province": 2, "unknown": 1},
        "by_day": {"2026-11-20": 3, "2026-11-21": 1},
    }


def test_what_was_received():
    facts = [
        received(),
        received(message_id="3", sender_code="G99", paper=True, delivery=DeliveryState.CANCELLED),
        received(message_id="4", progress="02", noticed_at=at(21, 9), received_at=at(20, 23, 50)),
        received(
            message_id="5", business_kind=BusinessKind.UPDATE, received_at=at(21, 1), noticed_at=at(21, 1)
        ),
        received(message_id="6", business_kind=BusinessKind.RECALL),
        received(message_id="7", delivery=DeliveryState.QUARANTINED, noticed_at=None),
    ]
    late = find_late([], facts, now=at(22, 9))
    assert only(count_received(tally_received(facts), late=late, level_of=level_of)) == {
        "documents": 4,
        "electronic_only": 3,
        "with_paper": 1,
        "updates": 1,
        "recalls": 1,
        "recalled": 1,
        "refused": 1,
        "quarantined": 1,
        "late": 1,
        "by_level": {"central": 1, "province": 3},
        "by_day": {"2026-11-20": 3, "2026-11-21": 1},
    }


def test_a_message_that_is_late_twice_is_one_late_message():
    facts = [received(noticed_at=None, due_on=datetime.date(2026, 11, 20))]
    late = find_late([], facts, now=at(25, 9))
    assert len(late) == 2
    assert count_received(tally_received(facts), late=late, level_of=level_of).late == 1
