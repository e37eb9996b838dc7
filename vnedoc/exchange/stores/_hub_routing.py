"""Whom a code stands for on a day: codes of either scheme, agencies that are no more, and their successors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.stores.models import HubAgencyRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import orm

__all__ = ["ClosedRecipientsError", "UnknownRecipientsError", "is_open", "is_registered", "resolve"]

# Databases limit the parameters of one statement.
_BATCH = 500
MAX_SUCCESSIONS = 16
"""How many agencies in a row a package follows."""


class UnknownRecipientsError(Exception):
    """Recipients are not registered; ``codes`` holds them."""

    def __init__(self, codes: Sequence[str]) -> None:
        super().__init__(codes)
        self.codes = tuple(codes)


class ClosedRecipientsError(Exception):
    """Recipients are no more; ``agencies`` holds their codes, each with its successor's or ``None``."""

    def __init__(self, agencies: Sequence[tuple[str, str | None]]) -> None:
        super().__init__(agencies)
        self.agencies = tuple(agencies)


def is_registered(session: orm.Session, system_id: str, code: str) -> bool:
    """Tell whether a system sends for an agency."""
    query = sa.select(HubAgencyRow.code).where(
        HubAgencyRow.system_id == system_id,
        sa.or_(HubAgencyRow.code == code, HubAgencyRow.old_code == code),
    )
    return session.scalars(query).first() is not None


def is_open(day: datetime.date) -> sa.ColumnElement[bool]:
    """Return the condition that an agency is there on a day."""
    return sa.or_(HubAgencyRow.closed_on.is_(None), HubAgencyRow.closed_on > day)


def resolve(session: orm.Session, codes: Collection[str], *, day: datetime.date) -> list[str]:
    """Return the registered codes for codes of either scheme, each once, in the order given.

    Raises:
        UnknownRecipientsError: Codes are not registered.
        ClosedRecipientsError: Agencies are no more, and their packages do not go to a successor by themselves.
    """
    wanted = list(dict.fromkeys(codes))
    known = _found(session, wanted)
    unknown = [code for code in wanted if code not in known]
    if unknown or not wanted:
        raise UnknownRecipientsError(unknown)
    closed: list[tuple[str, str | None]] = []
    resolved: list[str] = []
    for code in wanted:
        row = _heir(session, known[code], day)
        if row is None:
            closed.append((code, known[code].successor_code))
        else:
            resolved.append(row.code)
    if closed:
        raise ClosedRecipientsError(closed)
    return list(dict.fromkeys(resolved))


def _found(session: orm.Session, wanted: Sequence[str]) -> dict[str, HubAgencyRow]:
    known: dict[str, HubAgencyRow] = {}
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        query = sa.select(HubAgencyRow).where(
            sa.or_(HubAgencyRow.code.in_(batch), HubAgencyRow.old_code.in_(batch))
        )
        _note(known, session.scalars(query))
    return known


def _note(known: dict[str, HubAgencyRow], rows: Iterable[HubAgencyRow]) -> None:
    for row in rows:
        known.setdefault(row.old_code or row.code, row)
        # A code in force comes before one that another agency had once.
        known[row.code] = row


def _heir(session: orm.Session, row: HubAgencyRow, day: datetime.date) -> HubAgencyRow | None:
    """Return who gets the packages of an agency on a day: itself, or who took over; ``None``: nobody."""
    seen = {row.code}
    while row.closed_on is not None and row.closed_on <= day:
        if not row.forwards or row.successor_code is None or len(seen) > MAX_SUCCESSIONS:
            return None
        successor = session.get(HubAgencyRow, row.successor_code)
        if successor is None or successor.code in seen:
            return None
        seen.add(successor.code)
        row = successor
    return row
