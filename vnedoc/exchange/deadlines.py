"""Deadlines of sending and answering, as warnings: nothing is stopped because a deadline has passed.

* Decision 28/2018/QĐ-TTg, article 6.2: a document is sent on the day it was signed, at the latest on the morning of
  the next working day; urgent ones at once and first.
* Decree 30/2020/NĐ-CP, article 21.2(c): the recipient tells the sender on the same day that a document came.
* The header of a document may say until when an answer is due (``DueDate``).

"At once" has no figure in the law: :class:`DeadlineRules` sets one for the warning.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import TYPE_CHECKING

from vnedoc._internal.working_days import WorkingCalendar, load_calendar
from vnedoc.exchange.codes import BusinessKind, Priority
from vnedoc.exchange.states import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnedoc.exchange.facts import ReceivedFacts, SentFacts

__all__ = [
    "Deadline",
    "DeadlineKind",
    "DeadlineRules",
    "WorkingCalendar",
    "find_late",
    "load_calendar",
]

_GIVEN_UP = frozenset({DeliveryState.RECALLED, DeliveryState.REFUSED})


class DeadlineKind(enum.StrEnum):
    """What has to be done in time."""

    SENDING = "sending"
    """We hand a document that was signed to the axis."""
    RECEIPT_NOTICE = "receipt-notice"
    """We tell the sender that a document came."""
    THEIR_RECEIPT_NOTICE = "their-receipt-notice"
    """A recipient tells us that a document came."""
    ANSWER = "answer"
    """We finish with a document whose sender set a date."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRules:
    """The figures that the law leaves open."""

    calendar: WorkingCalendar = WorkingCalendar()
    """Working days."""
    urgent_grace: datetime.timedelta = datetime.timedelta(minutes=15)
    """How long an urgent document may wait before there is a warning; the law says "at once"."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A deadline that has passed."""

    kind: DeadlineKind
    """What had to be done."""
    message_id: str
    """The message."""
    code: str
    """Number and notation."""
    subject: str
    """What it is about."""
    counterpart: str
    """The agency at the other end; empty where it concerns all."""
    priority: int
    """How urgent."""
    due_at: datetime.datetime
    """The deadline."""
    met_at: datetime.datetime | None
    """When it was done after all; ``None`` if it is still to be done."""


def find_late(
    sent: Iterable[SentFacts],
    received: Iterable[ReceivedFacts],
    *,
    now: datetime.datetime,
    rules: DeadlineRules = DeadlineRules(),
) -> list[Deadline]:
    """Return the deadlines that have passed: first what is still to be done, the most urgent and oldest first."""
    found = [
        deadline
        for deadline in (
            *(item for facts in sent for item in _of_sent(facts, rules)),
            *(item for facts in received for item in _of_received(facts, rules)),
        )
        if (now if deadline.met_at is None else deadline.met_at) > deadline.due_at
    ]
    return sorted(found, key=lambda item: (item.met_at is not None, -item.priority, item.due_at))


def _of_sent(facts: SentFacts, rules: DeadlineRules) -> Iterator[Deadline]:
    states = {recipient.delivery for recipient in facts.recipients}
    if facts.sent_at is None and states and states <= _GIVEN_UP:
        return
    calendar = rules.calendar
    day = facts.issued_on or calendar.day_of(facts.queued_at)
    due_at = calendar.end_of_morning(calendar.next_working_day(day))
    if facts.priority >= Priority.URGENT:
        due_at = min(due_at, facts.queued_at + rules.urgent_grace)
    yield _deadline(DeadlineKind.SENDING, facts, counterpart="", due_at=due_at, met_at=facts.sent_at)
    if facts.sent_at is None:
        return
    # When the recipient's system took it is not known to the minute: what was sent before closing time may
    # have come in the next morning, and that day is then the same day.
    due_at = calendar.end_of_day(calendar.next_working_day(calendar.day_of(facts.sent_at)))
    for recipient in facts.recipients:
        # A recall is answered when it is carried out, not when it comes; the law sets no figure.
        if facts.business_kind == BusinessKind.RECALL or recipient.delivery is DeliveryState.FAILED:
            continue
        yield _deadline(
            DeadlineKind.THEIR_RECEIPT_NOTICE,
            facts,
            counterpart=recipient.code,
            due_at=due_at,
            met_at=recipient.noticed_at,
        )


def _of_received(facts: ReceivedFacts, rules: DeadlineRules) -> Iterator[Deadline]:
    calendar = rules.calendar
    if facts.delivery is DeliveryState.QUARANTINED:
        # Whether it is answered at all is a question of policy.
        return
    due_at = calendar.end_of_day(calendar.day_of(facts.received_at))
    if facts.priority >= Priority.URGENT:
        due_at = min(due_at, facts.received_at + rules.urgent_grace)
    yield _deadline(
        DeadlineKind.RECEIPT_NOTICE,
        facts,
        counterpart=facts.sender_code,
        due_at=due_at,
        met_at=facts.noticed_at,
    )
    if facts.due_on is not None:
        yield _deadline(
            DeadlineKind.ANSWER,
            facts,
            counterpart=facts.sender_code,
            due_at=calendar.end_of_day(facts.due_on),
            met_at=facts.finished_at,
        )


def _deadline(
    kind: DeadlineKind,
    facts: SentFacts | ReceivedFacts,
    *,
    counterpart: str,
    due_at: datetime.datetime,
    met_at: datetime.datetime | None,
) -> Deadline:
    return Deadline(
        kind=kind,
        message_id=facts.message_id,
        code=facts.code,
        subject=facts.subject,
        counterpart=counterpart,
        priority=facts.priority,
        due_at=due_at,
        met_at=met_at,
    )
