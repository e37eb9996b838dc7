"""The administration of a hub: changes, each in a transaction of its own, and what there is to be changed.

The changes themselves are those of :mod:`vnedoc.exchange.stores._hub_changes`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from vnedoc.errors import UsageError
from vnedoc.exchange.stores import _hub_agencies
from vnedoc.exchange.stores._hub_changes import RETRYABLE, HubChanges, Retried
from vnedoc.exchange.stores._hub_systems import NewSecret, SecretRecord, SystemRecord, system_records
from vnedoc.exchange.stores.hub_models import HubAnswerRow
from vnedoc.exchange.stores.models import HubAgencyRow, HubSystemRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import orm

    from vnedoc.exchange.hub.audit import By
    from vnedoc.exchange.stores._hub_agencies import AgencyRecord
    from vnedoc.exchange.stores.hub import HubStore

__all__ = [
    "RETRYABLE",
    "HubAdministration",
    "HubChanges",
    "NewSecret",
    "Once",
    "Retried",
    "SecretRecord",
    "SystemRecord",
]

ANSWERS_LAST = datetime.timedelta(hours=24)
"""How long an answer to an ``Idempotency-Key`` is kept."""
_BATCH = 500
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True)
class Once:
    """A call that must not be done twice."""

    key: str
    """What the caller named it."""
    request_sha256: str
    """What was called, so that another call does not get its answer."""


class HubAdministration:
    """Changes at a hub, each in a transaction of its own, and what there is to be changed.

    Args:
        store: The memory of the hub.
    """

    def __init__(self, store: HubStore) -> None:
        self._database = store.database
        self._secrets = store.system_secrets

    def run(self, by: By, change: Callable[[HubChanges], _Result]) -> _Result:
        """Make changes in one transaction; all of them or none.

        Args:
            by: Who changes, and when.
            change: Makes the changes. It may be called several times.
        """
        return self._database.run(lambda session: change(HubChanges(session, by=by, secrets=self._secrets)))

    def once(
        self, by: By, once: Once, change: Callable[[HubChanges], dict[str, object]]
    ) -> tuple[dict[str, object], bool]:
        """Make changes in one transaction, unless the same call was made before.

        The answer is kept in the same transaction, so that there is no time in which the change is made and the
        answer is not there. A second call that comes meanwhile waits for the first.

        Args:
            by: Who changes, and when.
            once: The call.
            change: Makes the changes and returns the answer, which JSON can hold.

        Returns:
            The answer, and whether it is that of an earlier call.

        Raises:
            UsageError: The same name was given to another call.
        """
        owner = f"answer:{by.actor}:{once.key}"

        def step(session: orm.Session) -> tuple[dict[str, object], bool]:
            session.execute(sa.delete(HubAnswerRow).where(HubAnswerRow.created_at < by.at - ANSWERS_LAST))
            kept = session.get(HubAnswerRow, (by.actor, once.key))
            if kept is not None:
                if kept.request_sha256 != once.request_sha256:
                    raise UsageError("hub.other-request")
                answer: dict[str, object] = json.loads(self._secrets.open(kept.sealed, owner=owner))
                return answer, True
            row = HubAnswerRow(
                actor=by.actor, key=once.key, request_sha256=once.request_sha256, sealed="", created_at=by.at
            )
            session.add(row)
            # Who calls at the same time with the same name waits here until we are done.
            session.flush()
            answer = change(HubChanges(session, by=by, secrets=self._secrets))
            row.sealed = self._secrets.sealer(session).seal(json.dumps(answer), owner=owner)
            return answer, False

        return self._database.run(step)

    def systems(self, *, at: datetime.datetime, after: str = "", limit: int = _BATCH) -> list[SystemRecord]:
        """Return systems by their ids.

        Args:
            at: Now; secrets that ended are left out.
            after: Only those with a higher id.
            limit: How many at most.
        """
        query = sa.select(HubSystemRow).where(HubSystemRow.id > after).order_by(HubSystemRow.id).limit(limit)
        with self._database.reading() as session:
            return system_records(session, session.scalars(query).all(), at=at)

    def system(self, system_id: str, *, at: datetime.datetime) -> SystemRecord | None:
        """Return one system."""
        with self._database.reading() as session:
            row = session.get(HubSystemRow, system_id)
            return None if row is None else system_records(session, [row], at=at)[0]

    def agencies(
        self,
        *,
        system_id: str | None = None,
        text: str | None = None,
        after: str = "",
        limit: int = _BATCH,
    ) -> list[AgencyRecord]:
        """Return agencies by their codes; see :func:`vnedoc.exchange.stores._hub_agencies.found`."""
        with self._database.reading() as session:
            return _hub_agencies.found(session, system_id=system_id, text=text, after=after, limit=limit)

    def agency(self, code: str) -> AgencyRecord | None:
        """Return one agency, by its code in force."""
        with self._database.reading() as session:
            row = session.get(HubAgencyRow, code)
            return None if row is None else _hub_agencies.record(row)
