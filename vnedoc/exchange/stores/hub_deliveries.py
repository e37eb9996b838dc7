"""Packages on their way through a hub: moved forward by their recipients, parked, expired, and their history."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub_flow_models import HubChoreRow, HubEventRow
from vnedoc.exchange.stores.hub_models import HubAuditRow
from vnedoc.exchange.stores.models import HubAgencyRow, HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database

__all__ = [
    "EXPIRED",
    "PARKED",
    "HubDeliveries",
    "HubEvent",
    "HubStatus",
    "Moved",
    "OpenDeliveries",
    "axis_status",
    "is_payload_pruned",
]

EXPIRED = "expired"
"""The status of a delivery that nobody fetched in time."""
PARKED = "parked"
"""The status of a delivery that its recipient's system failed on too often."""


class HubStatus(enum.StrEnum):
    """All statuses that a delivery in a hub can have: what the axis calls them, and two that only the hub knows."""

    INITIAL = TransportStatus.INITIAL.value
    """It waits for its recipient's system."""
    PROCESSING = TransportStatus.PROCESSING.value
    """Its recipient's system has begun to fetch it."""
    DONE = TransportStatus.DONE.value
    """Its recipient's system has it."""
    FAIL = TransportStatus.FAIL.value
    """Its recipient's system failed on it."""
    PARKED = PARKED
    """Its recipient's system failed on it too often."""
    EXPIRED = EXPIRED
    """Nobody fetched it in time."""


_WAITING = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)
# The condition of the index ix_hub_delivery_open, in its very words, so that databases see that it serves.
_IS_OPEN = sa.text("hub_deliveries.status <> 'done'")
_BATCH = 500
_MAX_EVENTS = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Moved:
    """What became of a report about a delivery."""

    allowed: bool
    """Whether it moved or stands there already; ``False``: that would be backwards."""
    changed: bool = False
    """Whether something changed."""
    status: str = ""
    """The status it has now."""
    waited: datetime.timedelta = datetime.timedelta(0)
    """How long ago the hub took the package over."""


@dataclasses.dataclass(frozen=True, slots=True)
class HubEvent:
    """Something that happened to a package."""

    at: datetime.datetime
    """When."""
    kind: str
    """``received``, the status that was reported, ``parked`` or ``expired``."""
    doc_id: str | None
    """The delivery that it happened to; ``None`` for the package."""
    system_id: str | None
    """The system that did it; ``None`` for the hub itself."""
    detail: str | None
    """What it said."""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenDeliveries:
    """How much is on its way."""

    counts: dict[str, int]
    """Deliveries that are not done, by status."""
    oldest: datetime.datetime | None
    """Since when the one has waited that waits for longest; ``None`` if nothing waits."""
    audit_head_at: datetime.datetime | None
    """When the audit log was last added to."""


def axis_status(word: str) -> TransportStatus:
    """Return how the axis calls a status: it has no words for what is parked or has expired."""
    return TransportStatus.FAIL if word in {EXPIRED, PARKED} else TransportStatus(word)


class HubDeliveries:
    """Deliveries of a hub.

    Args:
        database: Its tables.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def move(
        self,
        system_id: str,
        doc_id: str,
        status: TransportStatus,
        *,
        text: str | None = None,
        at: datetime.datetime,
        park_after_fails: int = 1,
    ) -> Moved | None:
        """Note what a recipient's system reports.

        Args:
            system_id: The system.
            doc_id: The delivery.
            status: What it reports.
            text: What it says of it.
            at: When.
            park_after_fails: How often it may fail; before, the delivery waits for it again.

        Returns:
            What became of it, or ``None`` if the system has no such delivery.
        """
        return self._database.run_together(
            lambda session: _move(session, system_id, doc_id, status, text, at, park_after_fails)
        )

    def expire(self, *, waiting_since: datetime.datetime, at: datetime.datetime) -> int:
        """Give up deliveries that nothing happened to since a time; return how many.

        Several processes may do this together: what one has its hand on, the others pass over.
        """
        count = 0
        while True:
            batch = self._database.run(lambda session: _expire(session, waiting_since, at))
            count += batch
            if batch < _BATCH:
                return count

    def open(self) -> OpenDeliveries:
        """Count what is on its way."""
        by_status = (
            sa.select(HubDeliveryRow.status, sa.func.count()).where(_IS_OPEN).group_by(HubDeliveryRow.status)
        )
        oldest = (
            sa.select(sa.func.min(HubDeliveryRow.updated_at))
            .where(_IS_OPEN, HubDeliveryRow.status.in_(_WAITING))
            .select_from(HubDeliveryRow)
        )
        head = sa.select(HubAuditRow.at).order_by(HubAuditRow.number.desc()).limit(1)
        with self._database.reading() as session:
            return OpenDeliveries(
                {row[0]: int(row[1]) for row in session.execute(by_status)},
                session.scalar(oldest),
                session.scalar(head),
            )

    def history(self, message_id: str) -> list[HubEvent]:
        """Return what happened to a package, the oldest first."""
        query = sa.select(HubEventRow).where(HubEventRow.message_id == message_id)
        with self._database.reading() as session:
            return [
                HubEvent(row.at, row.kind, row.doc_id, row.system_id, row.detail)
                for row in session.scalars(query.order_by(HubEventRow.number).limit(_MAX_EVENTS))
            ]

    def claim(self, chore: str, *, now: datetime.datetime, every: datetime.timedelta) -> bool:
        """Tell whether a chore is due and nobody else does it; who is told so does it."""
        return self._database.run(lambda session: _claim(session, chore, now, every))


def _move(
    session: orm.Session,
    system_id: str,
    doc_id: str,
    status: TransportStatus,
    text: str | None,
    at: datetime.datetime,
    park_after_fails: int,
) -> Moved | None:
    query = (
        sa.select(HubDeliveryRow, HubMessageRow.received_at)
        .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
        .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
        .where(HubAgencyRow.system_id == system_id, HubDeliveryRow.doc_id == doc_id)
        .with_for_update(of=HubDeliveryRow)
    )
    found = session.execute(query).first()
    if found is None:
        return None
    row, received_at = found
    # Late news of what has expired is still news: somebody fetched it after all.
    current = TransportStatus.PROCESSING if row.status == EXPIRED else axis_status(row.status)
    waited = at - received_at
    if not current.may_become(status):
        return Moved(allowed=False, status=row.status, waited=waited)
    if status is current:
        return Moved(allowed=True, status=row.status, waited=waited)
    _note(session, row, at, status.value, system_id=system_id, detail=text)
    word = status.value
    if status is TransportStatus.FAIL:
        row.fail_count += 1
        if is_payload_pruned(session, row.message_id):
            # It had expired long before. Nothing is left that could be tried again.
            word = status.value
        else:
            word = PARKED if row.fail_count >= park_after_fails else TransportStatus.INITIAL.value
    row.status, row.status_text, row.updated_at = word, text, at
    if word == PARKED:
        _note(session, row, at, PARKED)
    return Moved(allowed=True, changed=True, status=word, waited=waited)


def is_payload_pruned(session: orm.Session, message_id: str) -> bool:
    """Tell whether the package of a message is kept no more; that changes only after the transaction."""
    row = session.get_one(HubMessageRow, message_id, with_for_update={"read": True}, populate_existing=True)
    return row.payload_pruned_at is not None


def _expire(session: orm.Session, waiting_since: datetime.datetime, at: datetime.datetime) -> int:
    query = (
        sa.select(HubDeliveryRow)
        .where(
            _IS_OPEN,
            HubDeliveryRow.status.in_(_WAITING),
            HubDeliveryRow.updated_at < waiting_since,
        )
        .order_by(HubDeliveryRow.updated_at)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = session.scalars(query).all()
    for row in rows:
        row.status, row.updated_at = EXPIRED, at
        _note(session, row, at, EXPIRED)
    return len(rows)


def _note(
    session: orm.Session,
    row: HubDeliveryRow,
    at: datetime.datetime,
    kind: str,
    *,
    system_id: str | None = None,
    detail: str | None = None,
) -> None:
    session.add(
        HubEventRow(
            message_id=row.message_id,
            doc_id=row.doc_id,
            at=at,
            kind=kind,
            system_id=system_id,
            detail=detail,
        )
    )


def _claim(session: orm.Session, chore: str, now: datetime.datetime, every: datetime.timedelta) -> bool:
    due = (
        sa.update(HubChoreRow)
        .where(HubChoreRow.name == chore, HubChoreRow.due_at <= now)
        .values(due_at=now + every)
        .returning(HubChoreRow.name)
        .execution_options(synchronize_session=False)
    )
    if session.scalar(due) is not None:
        return True
    if session.get(HubChoreRow, chore) is not None:
        return False
    # Who comes second breaks the primary key, begins again, and finds it done.
    session.add(HubChoreRow(name=chore, due_at=now + every))
    session.flush()
    return True
