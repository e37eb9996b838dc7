"""Write down what no package tells: how often the hub said no, and when systems were let in last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vnedoc.exchange.stores.hub_models import HubRefusalCountRow, HubSightingRow
from vnedoc.exchange.stores.models import HubSystemRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database

__all__ = ["HubTallies"]


class HubTallies:
    """Counts in a hub's database, written by many processes.

    Args:
        database: The database of the hub.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        *,
        refusals: Mapping[tuple[datetime.date, str], int],
        sightings: Mapping[str, datetime.datetime],
    ) -> None:
        """Add to what is there.

        Args:
            refusals: How many, by Vietnam's day and reason.
            sightings: When each system was let in last.
        """
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert

        def step(session: orm.Session) -> None:
            # Always in the same order: processes that write the same rows wait for each other in a line.
            for (day, reason), count in sorted(refusals.items()):
                row = insert(HubRefusalCountRow).values(day=day, reason=reason, count=count)
                session.execute(
                    row.on_conflict_do_update(
                        index_elements=["day", "reason"],
                        set_={"count": HubRefusalCountRow.count + row.excluded.count},
                    )
                )
            known = set(session.scalars(sa.select(HubSystemRow.id).where(HubSystemRow.id.in_(sightings))))
            for system_id in sorted(known):
                seen = insert(HubSightingRow).values(system_id=system_id, seen_at=sightings[system_id])
                session.execute(
                    seen.on_conflict_do_update(
                        index_elements=["system_id"],
                        set_={"seen_at": seen.excluded.seen_at},
                        where=HubSightingRow.seen_at < seen.excluded.seen_at,
                    )
                )

        self._database.run(step)
