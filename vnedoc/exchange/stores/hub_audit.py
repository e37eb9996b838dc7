"""Write and read the audit log of a hub. What makes a chain is decided in :mod:`vnedoc.exchange.hub.audit`."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.hub.audit import (
    AuditCheck,
    AuditEntry,
    AuditHead,
    By,
    canonical_detail,
    check_chain,
    entry_hash,
)
from vnedoc.exchange.stores._types import plain
from vnedoc.exchange.stores.hub_models import HubAuditHeadRow, HubAuditRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database

__all__ = ["MAX_LISTED", "HubAudit", "append"]

MAX_LISTED = 1000
"""How many entries one list holds."""
_HEAD_ID = 1
_ROWS = 1000
_MAX_ACTOR_CHARS = 80
_MAX_SUBJECT_CHARS = 200


def append(session: orm.Session, by: By, action: str, subject: str, **detail: object) -> None:
    """Write what a transaction changes into the audit log, in that transaction.

    Call it last: who appends waits for the others who do.

    Args:
        session: The transaction.
        by: Who does it, and when.
        action: What, such as ``system.add``.
        subject: To what, such as ``system:H99.SYS``.
        detail: What else is to be known, as JSON can hold it; never a secret.
    """
    head = session.get_one(HubAuditHeadRow, _HEAD_ID, with_for_update=True, populate_existing=True)
    row = HubAuditRow(
        number=head.number + 1,
        at=by.at,
        # As the database gives it back: what is hashed is what is read.
        actor=plain(by.actor, _MAX_ACTOR_CHARS),
        action=action,
        subject=plain(subject, _MAX_SUBJECT_CHARS),
        detail=canonical_detail(detail),
        previous_hash=head.hash,
    )
    row.hash = entry_hash(
        number=row.number,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
        previous_hash=row.previous_hash,
    )
    session.add(row)
    head.number, head.hash = row.number, row.hash
    session.flush()


class HubAudit:
    """The audit log in a hub's database.

    Args:
        database: The database of the hub.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(
        self,
        *,
        since: datetime.datetime | None = None,
        subject: str | None = None,
        after: int = 0,
        limit: int = MAX_LISTED,
    ) -> list[AuditEntry]:
        """Return entries by their numbers.

        Args:
            since: Only those of this time or later.
            subject: Only those about this.
            after: Only those with a higher number.
            limit: How many at most.
        """
        query = sa.select(HubAuditRow).where(HubAuditRow.number > after)
        if since is not None:
            query = query.where(HubAuditRow.at >= since)
        if subject is not None:
            query = query.where(HubAuditRow.subject == subject)
        query = query.order_by(HubAuditRow.number).limit(min(limit, MAX_LISTED))
        with self._database.reading() as session:
            return [_entry(row) for row in session.scalars(query)]

    def latest(self, *, before: int | None = None, limit: int = MAX_LISTED) -> list[AuditEntry]:
        """Return entries, the newest first.

        Args:
            before: Only those with a lower number.
            limit: How many at most.
        """
        query = sa.select(HubAuditRow).order_by(HubAuditRow.number.desc()).limit(min(limit, MAX_LISTED))
        if before is not None:
            query = query.where(HubAuditRow.number < before)
        with self._database.reading() as session:
            return [_entry(row) for row in session.scalars(query)]

    def check(self, *, known_head: AuditHead | None = None) -> AuditCheck:
        """Check the whole log.

        Args:
            known_head: An earlier end of it that was written down elsewhere.
        """
        with self._database.reading() as session:
            head = session.get_one(HubAuditHeadRow, _HEAD_ID)
            return check_chain(_walk(session), AuditHead(head.number, head.hash), known_head=known_head)


def _walk(session: orm.Session) -> Iterator[AuditEntry]:
    query = sa.select(HubAuditRow).order_by(HubAuditRow.number).execution_options(yield_per=_ROWS)
    for row in session.scalars(query):
        yield _entry(row)


def _entry(row: HubAuditRow) -> AuditEntry:
    # What is no JSON was not written by us; the check says so, and a list still shows it.
    detail: object = {"?": row.detail}
    with contextlib.suppress(ValueError, RecursionError):
        detail = json.loads(row.detail)
    return AuditEntry(
        number=row.number,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=detail if isinstance(detail, dict) else {"?": detail},
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
