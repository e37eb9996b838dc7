"""Count documents: how many were sent and received, with paper or without, by level, by day, refused, late.

What was sent and what was received are two countings; nothing here adds them. A document to ten recipients is one
document that was sent, and ten deliveries; the levels count deliveries.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, TypeVar

from vnedoc._internal.clock import vietnam
from vnedoc.exchange.codes import BusinessKind, StatusCode
from vnedoc.exchange.deadlines import DeadlineKind
from vnedoc.exchange.facts import ReceivedTallies, SentTallies
from vnedoc.exchange.states import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vnedoc.exchange.deadlines import Deadline
    from vnedoc.exchange.facts import ReceivedFacts, SentFacts

__all__ = [
    "UNKNOWN_LEVEL",
    "ReceivedCounts",
    "SentCounts",
    "count_received",
    "count_sent",
    "tally_received",
    "tally_sent",
]

_Key = TypeVar("_Key")
UNKNOWN_LEVEL = "unknown"
"""The level of an agency that neither the directory nor its name tells."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SentCounts:
    """What was sent, or is to be sent."""

    documents: int
    """Documents that the axis confirmed; updates count, recalls do not."""
    electronic_only: int
    """Of them, those that no paper follows."""
    with_paper: int
    """Of them, those that paper follows."""
    paper_unknown: int
    """Of them, those whose package does not say."""
    updates: int
    """Of them, those that update another."""
    replacements: int
    """Of them, those that replace others."""
    deliveries: int
    """Recipients of the documents."""
    recalls: int
    """Recalls that the axis confirmed."""
    waiting: int
    """Documents that are still in the outbox."""
    stopped: int
    """Documents that are parked or have expired: a person must act."""
    refused_by_axis: int
    """Documents that the axis refused."""
    taken_back_unsent: int
    """Documents that were taken back before they left."""
    returned: int
    """Deliveries that the recipient refused (02)."""
    failed: int
    """Deliveries that the recipient's system could not take."""
    late: int
    """Documents that were not sent in time."""
    recipients_late: int
    """Deliveries that the recipient did not confirm in time."""
    by_level: Mapping[str, int]
    """Deliveries by the level of the recipient."""
    by_day: Mapping[str, int]
    """Documents by the day in Vietnam on which the axis confirmed them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCounts:
    """What was received."""

    documents: int
    """Documents that were accepted, also those that their senders took back later; recalls do not count."""
    electronic_only: int
    """Of them, those that no paper follows."""
    with_paper: int
    """Of them, those that paper follows."""
    paper_unknown: int
    """Of them, those whose package does not say."""
    updates: int
    """Of them, those that update another."""
    replacements: int
    """Of them, those that replace others."""
    recalls: int
    """Recalls that came in."""
    recalled: int
    """Documents that their senders took back."""
    refused: int
    """Documents that we refused (02)."""
    quarantined: int
    """Packages that were kept apart."""
    late: int
    """Documents that we did not confirm in time, or not answer by the date their senders set."""
    by_level: Mapping[str, int]
    """Documents by the level of the sender."""
    by_day: Mapping[str, int]
    """Documents by the day in Vietnam on which they came."""


def tally_sent(facts: Iterable[SentFacts]) -> SentTallies:
    """Tally documents that are at hand one by one; a store does it for all that it holds."""
    documents: collections.Counter[tuple[int, bool | None, str]] = collections.Counter()
    deliveries: collections.Counter[tuple[str, str, DeliveryState, str | None]] = collections.Counter()
    unsent: collections.Counter[frozenset[DeliveryState]] = collections.Counter()
    for item in facts:
        is_recall = item.business_kind == BusinessKind.RECALL
        if item.sent_at is not None:
            documents[item.business_kind, item.paper, f"{vietnam(item.sent_at).date()}"] += 1
            if not is_recall:
                deliveries.update((to.code, to.name, to.delivery, to.progress) for to in item.recipients)
        elif not is_recall:
            unsent[frozenset(to.delivery for to in item.recipients)] += 1
    return SentTallies(documents=documents, deliveries=deliveries, unsent=unsent)


def tally_received(facts: Iterable[ReceivedFacts]) -> ReceivedTallies:
    """Tally documents that are at hand one by one; a store does it for all that it holds."""
    return ReceivedTallies(
        collections.Counter(
            (
                item.business_kind,
                item.paper,
                item.delivery,
                item.progress,
                item.sender_code,
                item.sender_name,
                f"{vietnam(item.received_at).date()}",
            )
            for item in facts
        )
    )


def count_sent(
    tallies: SentTallies, *, late: Iterable[Deadline], level_of: Callable[[str, str], str]
) -> SentCounts:
    """Count what was sent.

    Args:
        tallies: The documents.
        late: The deadlines that passed.
        level_of: Tells the level of an agency by its code and name.
    """
    passed = list(late)
    sent = {key: count for key, count in tallies.documents.items() if key[0] != BusinessKind.RECALL}
    stopped = {DeliveryState.PARKED, DeliveryState.EXPIRED}
    waiting = {DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING}
    return SentCounts(
        documents=sum(sent.values()),
        **_paper((paper, count) for (_, paper, _), count in sent.items()),
        updates=_of_kind(BusinessKind.UPDATE, ((kind, count) for (kind, _, _), count in sent.items())),
        replacements=_of_kind(BusinessKind.REPLACE, ((kind, count) for (kind, _, _), count in sent.items())),
        deliveries=sum(tallies.deliveries.values()),
        recalls=sum(tallies.documents.values()) - sum(sent.values()),
        waiting=sum(count for states, count in tallies.unsent.items() if states & waiting),
        stopped=sum(count for states, count in tallies.unsent.items() if states & stopped),
        refused_by_axis=sum(
            count for states, count in tallies.unsent.items() if DeliveryState.REFUSED in states
        ),
        taken_back_unsent=tallies.unsent.get(frozenset({DeliveryState.RECALLED}), 0),
        returned=sum(
            count
            for (_, _, _, progress), count in tallies.deliveries.items()
            if progress == StatusCode.REFUSED
        ),
        failed=sum(
            count
            for (_, _, delivery, _), count in tallies.deliveries.items()
            if delivery is DeliveryState.FAILED
        ),
        late=_messages(passed, DeadlineKind.SENDING),
        recipients_late=sum(item.kind is DeadlineKind.THEIR_RECEIPT_NOTICE for item in passed),
        by_level=_tally(
            (level_of(code, name), count) for (code, name, _, _), count in tallies.deliveries.items()
        ),
        by_day=_tally((day, count) for (_, _, day), count in sent.items()),
    )


def count_received(
    tallies: ReceivedTallies, *, late: Iterable[Deadline], level_of: Callable[[str, str], str]
) -> ReceivedCounts:
    """Count what was received.

    Args:
        tallies: The documents.
        late: The deadlines that passed.
        level_of: Tells the level of an agency by its code and name.
    """
    passed = list(late)
    everything = tallies.documents
    kept = {key: count for key, count in everything.items() if key[2] is not DeliveryState.QUARANTINED}
    documents = {key: count for key, count in kept.items() if key[0] != BusinessKind.RECALL}
    kinds = [(key[0], count) for key, count in documents.items()]
    return ReceivedCounts(
        documents=sum(documents.values()),
        **_paper((key[1], count) for key, count in documents.items()),
        updates=_of_kind(BusinessKind.UPDATE, kinds),
        replacements=_of_kind(BusinessKind.REPLACE, kinds),
        recalls=sum(kept.values()) - sum(documents.values()),
        recalled=sum(count for key, count in documents.items() if key[2] is DeliveryState.CANCELLED),
        refused=sum(count for key, count in documents.items() if key[3] == StatusCode.REFUSED),
        quarantined=sum(everything.values()) - sum(kept.values()),
        late=_messages(passed, DeadlineKind.RECEIPT_NOTICE, DeadlineKind.ANSWER),
        by_level=_tally((level_of(key[4], key[5]), count) for key, count in documents.items()),
        by_day=_tally((key[6], count) for key, count in documents.items()),
    )


def _paper(found: Iterable[tuple[bool | None, int]]) -> dict[str, int]:
    counts = _sums(found)
    return {
        "electronic_only": counts[False],
        "with_paper": counts[True],
        "paper_unknown": counts[None],
    }


def _of_kind(wanted: BusinessKind, found: Iterable[tuple[int, int]]) -> int:
    return sum(count for kind, count in found if kind == wanted)


def _messages(late: Iterable[Deadline], *kinds: DeadlineKind) -> int:
    return len({item.message_id for item in late if item.kind in kinds})


def _tally(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(_sums(found).items()))


def _sums(found: Iterable[tuple[_Key, int]]) -> collections.Counter[_Key]:
    counts: collections.Counter[_Key] = collections.Counter()
    for key, count in found:
        counts[key] += count
    return counts
