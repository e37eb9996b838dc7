"""Which messages of a hub are old and finished, and the small transactions that let go of them.

Who tries a delivery again, or reports about one that has expired, takes a shared lock of the message and looks
whether its package is still there; what is here takes the lock for itself alone, and looks at the deliveries after.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._hub_removals import announce
from vnedoc.exchange.stores._types import table_of
from vnedoc.exchange.stores.hub_deliveries import EXPIRED
from vnedoc.exchange.stores.hub_flow_models import HubEventRow
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow
from vnedoc.exchange.stores.payloads import StoredPayload

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from sqlalchemy import orm

__all__ = ["PAGE", "OldMessage", "batches", "old_messages", "release", "remove"]

PAGE = 200
"""How many messages are looked at together."""
# How many deliveries the messages have together that one transaction changes; one with more has its own.
_DELIVERIES_AT_ONCE = 500
_OVER = (TransportStatus.DONE.value, TransportStatus.FAIL.value, EXPIRED)
_MESSAGES, _DELIVERIES = table_of(HubMessageRow), table_of(HubDeliveryRow)


class OldMessage(NamedTuple):
    """A message that came long enough ago."""

    id: str
    """Its id."""
    received_at: datetime.datetime
    """When it came."""
    is_finished: bool
    """Whether nothing is to be done for any recipient, since long enough."""
    deliveries: int
    """How many recipients it has."""
    payload: StoredPayload
    """Its package."""


def old_messages(
    session: orm.Session,
    before: datetime.datetime,
    *,
    are_kept: bool | None,
    after: OldMessage | None = None,
) -> list[OldMessage]:
    """Return some of the messages that came before a time, the oldest first.

    Args:
        session: A transaction that reads.
        before: The time; what is finished was finished before it, too.
        are_kept: Only those whose package is kept, or is not; ``None`` is both.
        after: The last of the ones before.
    """
    place = (_MESSAGES.c.received_at, _MESSAGES.c.id)
    mine = _DELIVERIES.c.message_id == _MESSAGES.c.id
    count = sa.select(sa.func.count()).where(mine).scalar_subquery()
    query = sa.select(
        *reversed(place),
        ~sa.exists().where(mine, ~_is_over(before)),
        count,
        _MESSAGES.c.payload_sha256,
        _MESSAGES.c.payload_size,
    ).where(_MESSAGES.c.received_at < before)
    if are_kept is not None:
        pruned_at = _MESSAGES.c.payload_pruned_at
        query = query.where(pruned_at.is_(None) if are_kept else pruned_at.is_not(None))
    if after is not None:
        known = sa.tuple_(sa.literal(after.received_at, place[0].type), sa.literal(after.id, place[1].type))
        query = query.where(sa.tuple_(*place) > known)
    rows = session.execute(query.order_by(*place).limit(PAGE))
    return [OldMessage(row[0], row[1], bool(row[2]), row[3], StoredPayload(row[4], row[5])) for row in rows]


def batches(messages: Sequence[OldMessage]) -> Iterator[list[OldMessage]]:
    """Divide messages so that no transaction has much to do."""
    batch: list[OldMessage] = []
    size = 0
    for message in messages:
        if batch and size + message.deliveries > _DELIVERIES_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.deliveries
    if batch:
        yield batch


def release(
    session: orm.Session, batch: Sequence[OldMessage], *, before: datetime.datetime, now: datetime.datetime
) -> int:
    """Let messages name their packages no more, if they are still finished; return how many did."""
    connection = session.connection()
    ids = [message.id for message in batch]
    query = (
        sa.select(_MESSAGES.c.id, _MESSAGES.c.payload_sha256, _MESSAGES.c.payload_size)
        .where(_MESSAGES.c.id.in_(ids), _MESSAGES.c.payload_pruned_at.is_(None))
        .order_by(_MESSAGES.c.id)
        .with_for_update(skip_locked=True, key_share=True)
    )
    held = {row.id: StoredPayload(row.payload_sha256, row.payload_size) for row in connection.execute(query)}
    open_ones = sa.select(_DELIVERIES.c.message_id).where(
        _DELIVERIES.c.message_id.in_(held), ~_is_over(before)
    )
    for message_id in set(connection.scalars(open_ones)):
        del held[message_id]
    if held:
        change = sa.update(_MESSAGES).where(_MESSAGES.c.id.in_(held)).values(payload_pruned_at=now)
        connection.execute(change)
        announce(connection, held.values(), due_at=now)
    return len(held)


def remove(session: orm.Session, batch: Sequence[OldMessage], *, before: datetime.datetime) -> int:
    """Remove messages with all that hangs on them, if they are still finished; return how many."""
    connection = session.connection()
    deliveries = (
        sa.select(_DELIVERIES.c.message_id)
        .where(_DELIVERIES.c.message_id.in_([message.id for message in batch]), _is_over(before))
        .order_by(_DELIVERIES.c.doc_id)
        # Who reports has the delivery first and the message after. Here nothing is waited for.
        .with_for_update(skip_locked=True)
    )
    over = collections.Counter(connection.scalars(deliveries))
    query = (
        sa.select(_MESSAGES.c.id)
        .where(
            _MESSAGES.c.id.in_([message.id for message in batch if over[message.id] == message.deliveries]),
            _MESSAGES.c.payload_pruned_at.is_not(None),
        )
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.scalars(query))
    if ids:
        events = table_of(HubEventRow)
        connection.execute(sa.delete(events).where(events.c.message_id.in_(ids)))
        connection.execute(sa.delete(_DELIVERIES).where(_DELIVERIES.c.message_id.in_(ids)))
        connection.execute(sa.delete(_MESSAGES).where(_MESSAGES.c.id.in_(ids)))
    return len(ids)


def _is_over(before: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_DELIVERIES.c.status.in_(_OVER), _DELIVERIES.c.updated_at < before)
