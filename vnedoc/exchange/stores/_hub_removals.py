"""Payloads that go while packages come in: no message may ever name one that is gone.

A payload is in the store before the message that names it is committed, and nobody may look at the store for every
package that comes in. So whoever wants to remove a payload says so first, by a row of ``hub_payload_removals`` that
is committed before anything is removed, and stays for some days. While it stands, a trigger leaves messages out that
name the payload. Who finds that begins again, and looks for the payload under its lock: if it is there, the row goes,
and the message is taken; if not, the caller sends once more.

On PostgreSQL the trigger and whoever removes hold a lock of the payload (shared, and for oneself alone) until their
transactions end: who removes waits for messages that are about to be committed, and then sees them. On SQLite one
transaction writes at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vnedoc.exchange.stores._types import table_of
from vnedoc.exchange.stores.hub_flow_models import HubPayloadRemovalRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable

    from vnedoc.exchange.stores.payloads import StoredPayload

__all__ = ["PAYLOAD_LOCKS", "LeftOutError", "PayloadGoneError", "announce", "lock_payload", "reclaim"]

# The trigger has these numbers, too.
PAYLOAD_LOCKS = 7_240_119
"""The first of the two numbers of an advisory lock: what tells locks of payloads from others."""
# Payloads share them: a server has room for some thousands, whatever one transaction brings.
_LOCK_COUNT = 1024
_REMOVALS = table_of(HubPayloadRemovalRow)


class LeftOutError(Exception):
    """The message was not written down: its payload is being removed, or was."""


class PayloadGoneError(Exception):
    """The payload was removed after it had been taken into the store; nothing was taken over."""


def announce(
    connection: sa.Connection, payloads: Iterable[StoredPayload], *, due_at: datetime.datetime
) -> None:
    """Say that payloads may go, in a transaction; nobody removes them before it is committed.

    Args:
        connection: The transaction.
        payloads: The payloads.
        due_at: When they may go, if no message names them then.
    """
    sizes = {payload.sha256: payload.size for payload in payloads}
    if not sizes:
        return
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = insert(_REMOVALS)
    again = row.on_conflict_do_update(
        index_elements=["sha256"], set_={"due_at": row.excluded.due_at, "removed_at": None}
    )
    # Always in the same order: who comes second waits, and neither waits for the other.
    connection.execute(
        again, [{"sha256": sha256, "size": sizes[sha256], "due_at": due_at} for sha256 in sorted(sizes)]
    )


def lock_payload(connection: sa.Connection, sha256: str) -> None:
    """Wait until no other transaction has a hand on a payload, and let none until this one ends."""
    if connection.dialect.name != "sqlite":
        number = sa.func.hashtext(sha256).op("&", return_type=sa.Integer())(_LOCK_COUNT - 1)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(PAYLOAD_LOCKS, number)))


def reclaim(connection: sa.Connection, payload: StoredPayload, *, size: Callable[[str], int | None]) -> None:
    """See to it, in a transaction, that a message may name a payload.

    Args:
        connection: The transaction.
        payload: The payload, which was taken into the store before.
        size: Tells the size of a payload, or ``None`` if it is not there.

    Raises:
        PayloadGoneError: Somebody has removed it since.
    """
    lock_payload(connection, payload.sha256)
    mine = _REMOVALS.c.sha256 == payload.sha256
    if connection.scalar(sa.select(_REMOVALS.c.sha256).where(mine)) is None:
        return
    if size(payload.sha256) != payload.size:
        raise PayloadGoneError
    connection.execute(sa.delete(_REMOVALS).where(mine))
