"""Which agencies a system may register by itself, judged in the transaction that registers them.

Who may register a code gets the packages for it. So a system may have what it has already, and what stands by its own
form below an agency of the system: nobody's word is taken for it. Everything else is registered by whoever runs the
hub.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.agencies import OrganId
from vnedoc.errors import NotAllowedError
from vnedoc.exchange.stores.models import HubAgencyRow

if TYPE_CHECKING:
    import datetime

    from sqlalchemy import orm

    from vnedoc.exchange.stores.hub import HubAgency

__all__ = ["granted"]


def granted(
    session: orm.Session, system_id: str, claim: HubAgency, *, day: datetime.date, most: int
) -> HubAgency:
    """Return what a system may register of what it claims. An old code that it does not name stays.

    Args:
        session: The transaction; nobody else changes agencies until it ends.
        system_id: The system.
        claim: The agency.
        day: Today.
        most: How many agencies a system may have, and still register new ones.

    Raises:
        NotAllowedError: The code or the old code is of another system, or does not stand below an agency of this one
            that is there today; or the parent that is named is no such agency; or the system has too many.
    """
    row = session.get(HubAgencyRow, claim.code)
    if row is None:
        _check_code(session, system_id, claim.code, day=day)
        _check_count(session, system_id, most=most)
    elif row.system_id != system_id:
        raise NotAllowedError("hub.not-yours", code=claim.code)
    old_code, parent_code = (None, None) if row is None else (row.old_code, row.parent_code)
    if claim.parent_code not in {None, parent_code}:
        _check_parent(session, system_id, claim, day=day)
    if claim.old_code in {None, old_code}:
        return dataclasses.replace(claim, old_code=old_code)
    # Packages for it arrive as those for the code do.
    _check_code(session, system_id, str(claim.old_code), day=day)
    return claim


def _check_code(session: orm.Session, system_id: str, code: str, *, day: datetime.date) -> None:
    """See to it that a code is free, and that the nearest agency above it that stands for anybody is the system's."""
    ancestors = OrganId(code).ancestors
    holders = _Holders(session, (code, *ancestors))
    if all(row.system_id == system_id for row in holders.all_of(code)):
        for ancestor in ancestors:
            found = holders.of(ancestor)
            if any(row.system_id != system_id for row in found):
                break
            if any(_is_there(row, day) for row in found):
                return
    raise NotAllowedError("hub.not-yours", code=code)


def _check_parent(session: orm.Session, system_id: str, claim: HubAgency, *, day: datetime.date) -> None:
    parent = str(claim.parent_code)
    found = _Holders(session, (parent,)).of(parent)
    if parent == claim.code or not any(row.system_id == system_id and _is_there(row, day) for row in found):
        raise NotAllowedError("hub.not-your-parent", code=claim.code, parent=parent)


def _check_count(session: orm.Session, system_id: str, *, most: int) -> None:
    count = sa.select(sa.func.count()).where(HubAgencyRow.system_id == system_id)
    if (session.scalar(count) or 0) >= most:
        raise NotAllowedError("hub.too-many-agencies", most=most)


def _is_there(row: HubAgencyRow, day: datetime.date) -> bool:
    return row.closed_on is None or row.closed_on > day


class _Holders:
    """The agencies behind some codes of either scheme, whether they are closed or not."""

    def __init__(self, session: orm.Session, codes: tuple[str, ...]) -> None:
        query = sa.select(HubAgencyRow).where(
            sa.or_(HubAgencyRow.code.in_(codes), HubAgencyRow.old_code.in_(codes))
        )
        self._rows = session.scalars(query).all()

    def of(self, code: str) -> list[HubAgencyRow]:
        """Return who a code stands for; one in force comes before one that others had once."""
        in_force = [row for row in self._rows if row.code == code]
        return in_force or self.all_of(code)

    def all_of(self, code: str) -> list[HubAgencyRow]:
        """Return all that have a code, or had it once."""
        return [row for row in self._rows if code in {row.code, row.old_code}]
