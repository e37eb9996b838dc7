"""Remove what is old and finished: first payloads, much later the messages themselves.

Finished means that nobody has anything to do any more. A sent message: the axis has it and told how it ended for
every recipient, or refused it, or we took it back. A received one: it was laid out for people, the axis was told, and
the office said its last word (02 refused, 06 done, 15 taken back); in quarantine or cancelled, the axis was told.
What was put aside or expired waits for a person, however old it is.

A payload goes when no message names it any more, in three steps, so that a message that comes in at this moment can
never name one that is gone: it is marked under the lock of the log's head, which everybody takes who adds a message;
then it is removed; then the mark is. A message that is removed leaves an event in the log, so that the chain holds.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from vnedoc.errors import UsageError
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.states import DeliveryState, OrderKind
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores.models import (
    AttemptRow,
    ConsignmentRow,
    DocumentOrderRow,
    LogHeadRow,
    PayloadRemovalRow,
    ReceivedIdRow,
    ReceivedRow,
    SentRow,
    StatusEventRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["MIN_METADATA_AGE", "PruneLimits", "PruneReport", "prune_store"]

MIN_METADATA_AGE = datetime.timedelta(days=30)
"""Messages younger than this are never removed: by them we know a package that comes once more."""
ORPHAN_AGE = datetime.timedelta(days=1)
"""A payload that no message names may belong to one that is just being taken in; after this time it does not."""
_BATCH = 100
_OVER = (
    DeliveryState.DELIVERED.value,
    DeliveryState.FAILED.value,
    DeliveryState.REFUSED.value,
    DeliveryState.RECALLED.value,
)
_Row = TypeVar("_Row", SentRow, ReceivedRow)
_LAST_WORDS = (StatusCode.REFUSED.value, StatusCode.COMPLETED.value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PruneLimits:
    """What is old enough. Both count from the last change of a message's states."""

    payloads_older_than: datetime.timedelta | None = None
    """Age at which the package goes; ``None`` keeps packages."""
    metadata_older_than: datetime.timedelta | None = None
    """Age at which the message goes; ``None`` keeps messages."""
    confirmed_is_finished: bool = False
    """Whether a received document is finished once the office confirmed it (03), as where 06 is never sent."""

    def check(self) -> None:
        """Refuse limits that would remove what is still needed.

        Raises:
            UsageError: There is none; one is negative; messages would go before their packages, or too early.
        """
        payloads, metadata = self.payloads_older_than, self.metadata_older_than
        if payloads is None and metadata is None:
            raise UsageError("store.prune-nothing")
        if metadata is not None and metadata < MIN_METADATA_AGE:
            raise UsageError("store.prune-too-early", days=MIN_METADATA_AGE.days)
        if payloads is not None and payloads < datetime.timedelta(0):
            raise UsageError("store.prune-too-early", days=0)
        if metadata is not None and payloads is not None and metadata < payloads:
            raise UsageError("store.prune-order")


@dataclasses.dataclass(frozen=True, slots=True)
class PruneReport:
    """What was removed, or would be."""

    released: int
    """Messages whose package is not needed any more."""
    payloads: int
    """Packages removed: those that no other message names, and those of no message at all."""
    payload_bytes: int
    """Their size together."""
    messages: int
    """Messages removed."""
    unfinished: int
    """Messages old enough for the first of the two that stay because they are not finished."""


def prune_store(
    store: AgencyStore, limits: PruneLimits, *, now: datetime.datetime, dry_run: bool = False
) -> PruneReport:
    """Remove what is old and finished. Others may go on working with the store.

    Args:
        store: The store.
        limits: What is old enough.
        now: The time.
        dry_run: Count, and remove nothing.

    Raises:
        UsageError: The limits make no sense.
        InputError: The store cannot be read or written.
        RemoteError: The database server or the object store does not answer.
    """
    limits.check()
    ages = [age for age in (limits.payloads_older_than, limits.metadata_older_than) if age is not None]
    releases, removals = now - min(ages), None
    if limits.metadata_older_than is not None:
        removals = now - limits.metadata_older_than
    unfinished = _count_unfinished(store, limits, before=releases)
    orphans = _orphans(store, now=now)
    if dry_run:
        return _foresee(store, limits, releases, removals, orphans=orphans, unfinished=unfinished)
    # What an earlier run was killed over.
    with store.database.reading() as session:
        begun = dict.fromkeys(session.scalars(sa.select(PayloadRemovalRow.sha256)), 0)
    _take_away(store, begun, marked=True, now=now)
    released, named = _release(store, limits, before=releases, now=now)
    count, size = _take_away(store, named | orphans, marked=False, now=now)
    messages = 0 if removals is None else _remove(store, limits, before=removals, now=now)
    return PruneReport(released, count, size, messages, unfinished)


def _finished_sent(before: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        SentRow.created_at < before,
        SentRow.due_at.is_(None),
        ~sa.exists().where(
            ConsignmentRow.message_id == SentRow.id,
            sa.or_(ConsignmentRow.delivery_state.not_in(_OVER), ConsignmentRow.updated_at >= before),
        ),
        ~_ordered(SentRow.id),
    )


def _finished_received(before: datetime.datetime, limits: PruneLimits) -> sa.ColumnElement[bool]:
    # Without NULL, so that "not finished" is the opposite of "finished".
    progress = sa.func.coalesce(ReceivedRow.progress, "")
    change = sa.func.coalesce(ReceivedRow.change, "")
    confirmed: sa.ColumnElement[bool] = progress.in_(_LAST_WORDS)
    if limits.confirmed_is_finished:
        confirmed = progress.not_in(("", StatusCode.ARRIVED.value))
    answered = sa.or_(
        ReceivedRow.kind != PackageKind.DOCUMENT.value,
        ReceivedRow.delivery_state != DeliveryState.ACCEPTED.value,
        sa.and_(
            ReceivedRow.published_at.is_not(None),
            sa.or_(confirmed, change == StatusCode.CHANGE_AGREED.value),
        ),
    )
    return sa.and_(
        ReceivedRow.received_at < before,
        ReceivedRow.updated_at < before,
        answered,
        ~sa.exists().where(
            ReceivedIdRow.message_id == ReceivedRow.id, ReceivedIdRow.acknowledged_at.is_(None)
        ),
        ~_ordered(ReceivedRow.id),
    )


def _ordered(message_id: orm.InstrumentedAttribute[str]) -> sa.ColumnElement[bool]:
    """Return the condition that an order about a message, or that it carries, is not settled."""
    return sa.exists().where(
        DocumentOrderRow.settled_at.is_(None),
        # Nobody answers a replacement that we sent.
        ~sa.and_(DocumentOrderRow.is_ours, DocumentOrderRow.kind == OrderKind.REPLACE.value),
        sa.or_(DocumentOrderRow.target_id == message_id, DocumentOrderRow.order_id == message_id),
    )


def _count_unfinished(store: AgencyStore, limits: PruneLimits, *, before: datetime.datetime) -> int:
    sent = (SentRow.created_at < before, ~_finished_sent(before))
    received = (ReceivedRow.received_at < before, ~_finished_received(before, limits))
    with store.database.reading() as session:
        return sum(
            session.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0
            for table, conditions in ((SentRow, sent), (ReceivedRow, received))
        )


def _orphans(store: AgencyStore, *, now: datetime.datetime) -> dict[str, int]:
    """Return payloads that a killed process left, with their sizes."""
    old = {item.sha256: item.size for item in store.payloads.listed() if item.modified_at < now - ORPHAN_AGE}
    with store.database.reading() as session:
        for table in (SentRow, ReceivedRow):
            query = sa.select(table.payload_sha256).distinct().where(table.payload_pruned_at.is_(None))
            for sha256 in session.scalars(query):
                old.pop(sha256, None)
    return old


def _release(
    store: AgencyStore, limits: PruneLimits, *, before: datetime.datetime, now: datetime.datetime
) -> tuple[int, dict[str, int]]:
    """Let finished messages name their payloads no more; return how many, and the payloads with their sizes."""
    released: list[tuple[str, int]] = []
    steps: tuple[Callable[[orm.Session], list[tuple[str, int]]], ...] = (
        functools.partial(_release_some, SentRow, _finished_sent(before), now=now),
        functools.partial(_release_some, ReceivedRow, _finished_received(before, limits), now=now),
    )
    for step in steps:
        while batch := store.database.run(step):
            released += batch
    return len(released), dict(released)


def _release_some(
    table: type[_Row],
    finished: sa.ColumnElement[bool],
    session: orm.Session,
    *,
    now: datetime.datetime,
) -> list[tuple[str, int]]:
    query = sa.select(table).where(table.payload_pruned_at.is_(None), finished).order_by(table.id)
    rows = session.scalars(query.limit(_BATCH).with_for_update(skip_locked=True)).all()
    for row in rows:
        row.payload_pruned_at = now
        _log.append(session, "payload-pruned", at=now, message_id=row.id, sha256=row.payload_sha256)
    return [(row.payload_sha256, row.payload_size) for row in rows]


def _take_away(
    store: AgencyStore, payloads: dict[str, int], *, marked: bool, now: datetime.datetime
) -> tuple[int, int]:
    """Remove those payloads that no message names; return how many, and their size together."""
    count = size = 0
    digests = sorted(payloads)
    for start in range(0, len(digests), _BATCH):
        batch: Sequence[str] = digests[start : start + _BATCH]
        if not marked:
            batch = store.database.run(functools.partial(_mark, digests=batch, now=now))
        for sha256 in batch:
            store.payloads.remove(sha256)
            count, size = count + 1, size + payloads[sha256]
        store.database.run(functools.partial(_unmark, digests=batch))
    return count, size


def _unmark(session: orm.Session, *, digests: Sequence[str]) -> None:
    session.execute(sa.delete(PayloadRemovalRow).where(PayloadRemovalRow.sha256.in_(digests)))


def _mark(session: orm.Session, *, digests: Sequence[str], now: datetime.datetime) -> list[str]:
    """Mark payloads as being removed, but for those that a message names."""
    session.get_one(LogHeadRow, 1, with_for_update=True, populate_existing=True)
    free = set(digests)
    for table in (SentRow, ReceivedRow):
        query = (
            sa.select(table.payload_sha256)
            .distinct()
            .where(table.payload_pruned_at.is_(None), table.payload_sha256.in_(free))
        )
        free -= set(session.scalars(query))
    for sha256 in free:
        session.merge(PayloadRemovalRow(sha256=sha256, marked_at=now))
    return sorted(free)


def _remove(
    store: AgencyStore, limits: PruneLimits, *, before: datetime.datetime, now: datetime.datetime
) -> int:
    """Remove finished messages with all that hangs on them, and leave an event for each."""
    removed = 0

    def sent(session: orm.Session) -> int:
        rows = session.execute(
            sa.select(SentRow.id, SentRow.kind, SentRow.payload_sha256)
            .where(SentRow.payload_pruned_at.is_not(None), _finished_sent(before))
            .order_by(SentRow.id)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        ids = [row.id for row in rows]
        consignments = sa.select(ConsignmentRow.id).where(ConsignmentRow.message_id.in_(ids))
        session.execute(sa.delete(StatusEventRow).where(StatusEventRow.consignment_id.in_(consignments)))
        session.execute(sa.delete(ConsignmentRow).where(ConsignmentRow.message_id.in_(ids)))
        session.execute(sa.delete(AttemptRow).where(AttemptRow.message_id.in_(ids)))
        session.execute(sa.delete(SentRow).where(SentRow.id.in_(ids)))
        for row in rows:
            _leave(session, row.id, row.kind, row.payload_sha256, "sent", at=now)
        return len(rows)

    def received(session: orm.Session) -> int:
        rows = session.execute(
            sa.select(ReceivedRow.id, ReceivedRow.kind, ReceivedRow.payload_sha256)
            .where(
                ReceivedRow.payload_pruned_at.is_not(None),
                _finished_received(before, limits),
                # What answers it goes first.
                ~sa.exists().where(SentRow.answers == ReceivedRow.id),
            )
            .order_by(ReceivedRow.id)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        ids = [row.id for row in rows]
        session.execute(sa.delete(StatusEventRow).where(StatusEventRow.received_id.in_(ids)))
        session.execute(sa.delete(ReceivedIdRow).where(ReceivedIdRow.message_id.in_(ids)))
        session.execute(sa.delete(ReceivedRow).where(ReceivedRow.id.in_(ids)))
        for row in rows:
            _leave(session, row.id, row.kind, row.payload_sha256, "received", at=now)
        return len(rows)

    for step in (sent, received):
        while count := store.database.run(step):
            removed += count
    return removed


def _leave(
    session: orm.Session, message_id: str, kind: str, sha256: str, direction: str, *, at: datetime.datetime
) -> None:
    _log.append(
        session, "pruned", at=at, message_id=message_id, package=kind, direction=direction, sha256=sha256
    )


def _foresee(
    store: AgencyStore,
    limits: PruneLimits,
    releases: datetime.datetime,
    removals: datetime.datetime | None,
    *,
    orphans: dict[str, int],
    unfinished: int,
) -> PruneReport:
    """Count what would be done."""
    released = messages = 0
    going: dict[str, int] = dict(orphans)
    staying: set[str] = set()
    with store.database.reading() as session:
        for table, condition in (
            (SentRow, _finished_sent),
            (ReceivedRow, lambda before: _finished_received(before, limits)),
        ):
            there = table.payload_pruned_at.is_(None)
            query = sa.select(table.payload_sha256, table.payload_size)
            for sha256, size in session.execute(query.where(there, condition(releases))):
                released += 1
                going[sha256] = size
            staying.update(
                session.scalars(sa.select(table.payload_sha256).where(there, ~condition(releases)))
            )
            if removals is not None:
                count = sa.select(sa.func.count()).select_from(table).where(condition(removals))
                if table is ReceivedRow:
                    kept = sa.exists().where(SentRow.answers == ReceivedRow.id, ~_finished_sent(removals))
                    count = count.where(~kept)
                messages += session.scalar(count) or 0
    left = {sha256: size for sha256, size in going.items() if sha256 not in staying}
    return PruneReport(released, len(left), sum(left.values()), messages, unfinished)
