"""Count documents: how many were sent and received, with paper or without, by level, by day, refused, late.

What was sent and what was received are two countings; nothing here adds them. A document to ten recipients is one
document that was sent, and ten deliveries; the levels count deliveries.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

from vnedoc._internal.clock import vietnam
from vnedoc.exchange.codes import BusinessKind, StatusCode
from vnedoc.exchange.deadlines import DeadlineKind
from vnedoc.exchange.states import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vnedoc.exchange.deadlines import Deadline
    from vnedoc.exchange.facts import ReceivedFacts, SentFacts

__all__ = ["UNKNOWN_LEVEL", "ReceivedCounts", "SentCounts", "count_received", "count_sent"]

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
    deliveries: int
    """Recipients of them."""
    updates: int
    """Of the documents, those that update another."""
    replacements: int
    """Of the documents, those that replace others."""
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


def count_sent(
    facts: Iterable[SentFacts], *, late: Iterable[Deadline], level_of: Callable[[str, str], str]
) -> SentCounts:
    """Count what was sent.

    Args:
        facts: The documents.
        late: The deadlines that passed.
        level_of: Tells the level of an agency by its code and name.
    """
    everything = list(facts)
    passed = list(late)
    documents = [item for item in everything if item.business_kind != BusinessKind.RECALL]
    sent = [item for item in documents if item.sent_at is not None]
    unsent = [{state.delivery for state in item.recipients} for item in documents if item.sent_at is None]
    deliveries = [recipient for item in sent for recipient in item.recipients]
    stopped = {DeliveryState.PARKED, DeliveryState.EXPIRED}
    waiting = {DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING}
    return SentCounts(
        documents=len(sent),
        **_paper(sent),
        deliveries=len(deliveries),
        updates=_of_kind(sent, BusinessKind.UPDATE),
        replacements=_of_kind(sent, BusinessKind.REPLACE),
        recalls=sum(
            item.business_kind == BusinessKind.RECALL and item.sent_at is not None for item in everything
        ),
        waiting=sum(bool(states & waiting) for states in unsent),
        stopped=sum(bool(states & stopped) for states in unsent),
        refused_by_axis=sum(DeliveryState.REFUSED in states for states in unsent),
        taken_back_unsent=sum(states == {DeliveryState.RECALLED} for states in unsent),
        returned=sum(item.progress == StatusCode.REFUSED for item in deliveries),
        failed=sum(item.delivery is DeliveryState.FAILED for item in deliveries),
        late=_messages(passed, DeadlineKind.SENDING),
        recipients_late=sum(item.kind is DeadlineKind.THEIR_RECEIPT_NOTICE for item in passed),
        by_level=_tally(level_of(item.code, item.name) for item in deliveries),
        by_day=_tally(f"{vietnam(item.sent_at).date()}" for item in sent if item.sent_at is not None),
    )


def count_received(
    facts: Iterable[ReceivedFacts], *, late: Iterable[Deadline], level_of: Callable[[str, str], str]
) -> ReceivedCounts:
    """Count what was received.

    Args:
        facts: The documents.
        late: The deadlines that passed.
        level_of: Tells the level of an agency by its code and name.
    """
    everything = list(facts)
    passed = list(late)
    kept = [item for item in everything if item.delivery is not DeliveryState.QUARANTINED]
    documents = [item for item in kept if item.business_kind != BusinessKind.RECALL]
    return ReceivedCounts(
        documents=len(documents),
        **_paper(documents),
        updates=_of_kind(documents, BusinessKind.UPDATE),
        replacements=_of_kind(documents, BusinessKind.REPLACE),
        recalls=len(kept) - len(documents),
        recalled=sum(item.delivery is DeliveryState.CANCELLED for item in documents),
        refused=sum(item.progress == StatusCode.REFUSED for item in documents),
        quarantined=len(everything) - len(kept),
        late=_messages(passed, DeadlineKind.RECEIPT_NOTICE, DeadlineKind.ANSWER),
        by_level=_tally(level_of(item.sender_code, item.sender_name) for item in documents),
        by_day=_tally(f"{vietnam(item.received_at).date()}" for item in documents),
    )


def _paper(facts: Iterable[SentFacts | ReceivedFacts]) -> dict[str, int]:
    counts = collections.Counter(item.paper for item in facts)
    return {
        "electronic_only": counts[False],
        "with_paper": counts[True],
        "paper_unknown": counts[None],
    }


def _of_kind(facts: Iterable[SentFacts | ReceivedFacts], kind: BusinessKind) -> int:
    return sum(item.business_kind == kind for item in facts)


def _messages(late: Iterable[Deadline], *kinds: DeadlineKind) -> int:
    return len({item.message_id for item in late if item.kind in kinds})


def _tally(keys: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(keys).items()))
