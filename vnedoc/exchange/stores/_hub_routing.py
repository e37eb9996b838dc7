"""Whom a code stands for on a day: codes of either scheme, agencies that are no more, and their successors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vnedoc.exchange.stores._types import table_of
from vnedoc.exchange.stores.models import HubAgencyRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Sequence

    _Route = sa.Row[Any, Any, Any, Any, Any, Any]  # the columns of _ROUTES

__all__ = ["ClosedRecipientsError", "Routes", "UnknownRecipientsError", "is_open", "is_registered"]

# Databases limit the parameters of one statement.
_BATCH = 500
# Made once: what SQLAlchemy does to write a statement down is most of what a short one costs.
_AGENCIES = table_of(HubAgencyRow)
_REGISTERED = (
    sa.select(_AGENCIES.c.code)
    .where(
        _AGENCIES.c.system_id == sa.bindparam("given_system"),
        sa.or_(
            _AGENCIES.c.code == sa.bindparam("given_code"), _AGENCIES.c.old_code == sa.bindparam("given_code")
        ),
    )
    .limit(1)
)
_ROUTES = sa.select(
    _AGENCIES.c.code,
    _AGENCIES.c.old_code,
    _AGENCIES.c.closed_on,
    _AGENCIES.c.forwards,
    _AGENCIES.c.successor_code,
    _AGENCIES.c.system_id,
)
_NAMED = _ROUTES.where(
    sa.or_(
        _AGENCIES.c.code.in_(sa.bindparam("given_codes", expanding=True)),
        _AGENCIES.c.old_code.in_(sa.bindparam("given_codes", expanding=True)),
    )
)
_ONE = _ROUTES.where(_AGENCIES.c.code == sa.bindparam("given_code"))
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


def is_registered(connection: sa.Connection, system_id: str, code: str) -> bool:
    """Tell whether a system sends for an agency."""
    return connection.scalar(_REGISTERED, {"given_system": system_id, "given_code": code}) is not None


def is_open(day: datetime.date) -> sa.ColumnElement[bool]:
    """Return the condition that an agency is there on a day."""
    return sa.or_(HubAgencyRow.closed_on.is_(None), HubAgencyRow.closed_on > day)


class Routes:
    """The agencies behind some codes of either scheme, asked for once.

    Args:
        connection: Where to ask; successors are asked for later.
        codes: The codes of senders and recipients.
    """

    def __init__(self, connection: sa.Connection, codes: Collection[str]) -> None:
        self._connection = connection
        self._known: dict[str, _Route] = {}
        self._registered: set[tuple[str, str]] = set()
        wanted = list(dict.fromkeys(codes))
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            for row in connection.execute(_NAMED, {"given_codes": batch}):
                self._known.setdefault(row.old_code or row.code, row)
                # A code in force comes before one that another agency had once.
                self._known[row.code] = row
                self._registered |= {(row.system_id, row.code), (row.system_id, row.old_code)}

    def is_registered(self, system_id: str, code: str) -> bool:
        """Tell whether a system sends for an agency."""
        return (system_id, code) in self._registered

    def resolve(self, codes: Collection[str], *, day: datetime.date) -> list[str]:
        """Return the registered codes for some of the codes, each once, in the order given.

        Raises:
            UnknownRecipientsError: Codes are not registered.
            ClosedRecipientsError: Agencies are no more, and their packages do not go to a successor by themselves.
        """
        wanted = list(dict.fromkeys(codes))
        unknown = [code for code in wanted if code not in self._known]
        if unknown or not wanted:
            raise UnknownRecipientsError(unknown)
        closed: list[tuple[str, str | None]] = []
        resolved: list[str] = []
        for code in wanted:
            heir = _heir(self._connection, self._known[code], day)
            if heir is None:
                closed.append((code, self._known[code].successor_code))
            else:
                resolved.append(heir)
        if closed:
            raise ClosedRecipientsError(closed)
        return list(dict.fromkeys(resolved))


def _heir(connection: sa.Connection, row: _Route, day: datetime.date) -> str | None:
    """Return who gets the packages of an agency on a day: itself, or who took over; ``None``: nobody."""
    seen = {row.code}
    while row.closed_on is not None and row.closed_on <= day:
        if not row.forwards or row.successor_code is None or len(seen) > MAX_SUCCESSIONS:
            return None
        successor = connection.execute(_ONE, {"given_code": row.successor_code}).first()
        if successor is None or successor.code in seen:
            return None
        seen.add(successor.code)
        row = successor
    return str(row.code)
