"""Remember requests, so that nobody is let in twice with the same one; no request waits for another's clean-up."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vnedoc.exchange.stores._types import UTCTime, table_of
from vnedoc.exchange.stores.models import SeenRequestRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from vnedoc.exchange.stores.database import Database

__all__ = ["Admission", "Request"]

# Rows are removed now and then, and never so many that a request waits for it.
_EVERY = 256
_BATCH = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request that shall not come again."""

    hash_header: str
    """Its signature."""
    expires_at: datetime.datetime
    """Until when it would be let in again if it were not remembered."""


class Admission:
    """The memory of requests.

    Args:
        database: The tables of a hub.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since_removal = 0
        insert = sqlite.insert if database.is_sqlite else postgresql.insert
        table = table_of(SeenRequestRow)
        row = insert(table)
        # What is forgotten, but not yet gone, is let in again; a row that stands comes back with nothing.
        self._remember = row.on_conflict_do_update(
            index_elements=["hash_header"],
            set_={"expires_at": row.excluded.expires_at},
            where=table.c.expires_at < sa.bindparam("given_now", type_=UTCTime()),
        ).returning(table.c.hash_header)

    def admit(self, request: Request, *, now: datetime.datetime) -> bool:
        """Remember a request; return ``False`` if it was seen before and that is not yet forgotten."""
        values = _values(request, now)
        if self._database.is_sqlite:
            is_new = self._database.run_together(
                lambda session: session.connection().scalar(self._remember, values) is not None
            )
        else:
            with self._database.single() as connection:
                is_new = connection.scalar(self._remember, values) is not None
        self.tidy(1, now=now)
        return is_new

    def remember(
        self, connection: sa.Connection, requests: Sequence[Request], *, now: datetime.datetime
    ) -> set[str]:
        """Remember requests, each another one, in a transaction; return the signatures of those that are new."""
        return set(connection.scalars(self._remember, [_values(request, now) for request in requests]))

    def tidy(self, count: int, *, now: datetime.datetime) -> None:
        """Note how many were remembered, and forget old ones now and then; not inside a transaction."""
        # Threads may count wrongly together; then rows go a little earlier or later.
        self._since_removal += count
        if self._since_removal >= _EVERY:
            self._since_removal = 0
            self._remove_old(now)

    def _remove_old(self, now: datetime.datetime) -> None:
        old = (
            sa.select(SeenRequestRow.hash_header)
            .where(SeenRequestRow.expires_at < now)
            .order_by(SeenRequestRow.expires_at)
            .limit(_BATCH)
            # What another process removes at this moment is passed over, not waited for.
            .with_for_update(skip_locked=True)
            .cte("old")
        )
        gone = sa.delete(SeenRequestRow).where(SeenRequestRow.hash_header.in_(sa.select(old.c.hash_header)))
        with self._database.writing() as session:
            session.execute(gone, execution_options={"synchronize_session": False})


def _values(request: Request, now: datetime.datetime) -> dict[str, object]:
    return {"hash_header": request.hash_header, "expires_at": request.expires_at, "given_now": now}
