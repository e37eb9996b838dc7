"""Remember requests, so that nobody is let in twice with the same one; no request waits for another's clean-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import exc

from vnedoc.exchange.stores.models import SeenRequestRow

if TYPE_CHECKING:
    import datetime

    from vnedoc.exchange.stores.database import Database

__all__ = ["Admission"]

# Rows are removed now and then, and never so many that a request waits for it.
_EVERY = 256
_BATCH = 1000


class Admission:
    """The memory of requests.

    Args:
        database: The tables of a hub.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since_removal = 0

    def admit(self, hash_header: str, *, now: datetime.datetime, expires_at: datetime.datetime) -> bool:
        """Remember a request; return ``False`` if it was seen before and that is not yet forgotten."""
        try:
            with self._database.writing() as session:
                session.add(SeenRequestRow(hash_header=hash_header, expires_at=expires_at))
        except exc.IntegrityError:
            return self._renewed(hash_header, now=now, expires_at=expires_at)
        # Threads may count wrongly together; then rows go a little earlier or later.
        self._since_removal += 1
        if self._since_removal >= _EVERY:
            self._since_removal = 0
            self._remove_old(now)
        return True

    def _renewed(self, hash_header: str, *, now: datetime.datetime, expires_at: datetime.datetime) -> bool:
        forgotten = (
            sa.update(SeenRequestRow)
            .where(SeenRequestRow.hash_header == hash_header, SeenRequestRow.expires_at < now)
            .values(expires_at=expires_at)
            .returning(SeenRequestRow.hash_header)
            .execution_options(synchronize_session=False)
        )
        return self._database.run(lambda session: session.scalar(forgotten) is not None)

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
