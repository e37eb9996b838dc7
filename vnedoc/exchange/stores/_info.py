"""What a store knows of itself: its id, and whether it is moving to another database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import ConfigurationError
from vnedoc.exchange.stores.models import StoreInfoRow

if TYPE_CHECKING:
    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database

__all__ = [
    "MOVED_TO",
    "MOVING_FROM",
    "STORE_ID",
    "read_info",
    "refuse_moved",
    "remove_info",
    "write_info",
]

STORE_ID = "store_id"
"""The id; it goes with the messages when they move."""
MOVED_TO = "moved_to"
"""Where the messages went."""
MOVING_FROM = "moving_from"
"""The id of the store that is being copied here."""


def read_info(session: orm.Session) -> dict[str, str]:
    """Return all that the store knows of itself."""
    return {row.name: row.value for row in session.scalars(sa.select(StoreInfoRow))}


def write_info(session: orm.Session, name: str, value: str) -> None:
    """Remember one thing."""
    session.merge(StoreInfoRow(name=name, value=value))


def remove_info(session: orm.Session, *names: str) -> None:
    """Forget some things."""
    session.execute(sa.delete(StoreInfoRow).where(StoreInfoRow.name.in_(names)))


def refuse_moved(database: Database) -> None:
    """Refuse to work with a store whose messages are elsewhere: two that go on apart can never be joined again.

    Raises:
        ConfigurationError: Its messages moved, or are only being copied here.
    """
    with database.reading() as session:
        info = read_info(session)
    if MOVED_TO in info:
        raise ConfigurationError("store.moved", url=info[MOVED_TO])
    if MOVING_FROM in info:
        raise ConfigurationError("store.half-moved")
