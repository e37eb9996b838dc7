"""The agencies of a hub within a transaction: registered in bulk, looked for, and who may succeed whom."""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - dataclasses are looked into
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.exchange.stores._search import contains_words, folded
from vnedoc.exchange.stores.models import HubAgencyRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.stores.hub import HubAgency

__all__ = ["AgencyRecord", "Registered", "checked_successor", "found", "lock", "record", "register"]

_BATCH = 500
_LOCK = 5_310_417


@dataclasses.dataclass(frozen=True, slots=True)
class AgencyRecord:
    """An agency, as people see it."""

    code: str
    """Its code."""
    name: str
    """Its name."""
    parent_code: str | None
    """Code of the agency above it."""
    email: str | None
    """Its mail address."""
    old_code: str | None
    """Its code by QCVN 102:2016; packages addressed to it arrive too."""
    system_id: str
    """The system that sends and receives for it."""
    closed_on: datetime.date | None
    """The first day on which it is no more."""
    successor_code: str | None
    """Code of the agency that took over its work."""
    forwards: bool
    """Whether packages for it go to the successor from that day on; else they are refused."""
    version: int
    """Counts its changes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Registered:
    """What became of a registration."""

    count: int
    """How many agencies there were."""
    added: tuple[str, ...]
    """Codes that are new."""
    changed: tuple[str, ...]
    """Codes whose agency was there and is not the same now."""
    moved: dict[str, str]
    """Codes that another system had, and that system; they are among the changed."""

    @property
    def touched(self) -> tuple[str, ...]:
        """All codes that are new or changed."""
        return (*self.added, *self.changed)


def lock(session: orm.Session) -> None:
    """Let nobody else change agencies until the transaction ends.

    Who may have a code depends on rows of other codes, and on rows that are not there: no lock of a row keeps those.
    """
    if session.get_bind().dialect.name != "sqlite":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def register(session: orm.Session, system_id: str, agencies: Iterable[HubAgency]) -> Registered:
    """Register agencies for a system. What is closed stays closed."""
    wanted = {agency.code: agency for agency in agencies}
    codes = list(wanted)
    added: list[str] = []
    changed: list[str] = []
    moved: dict[str, str] = {}
    for start in range(0, len(codes), _BATCH):
        batch = codes[start : start + _BATCH]
        query = sa.select(HubAgencyRow).where(HubAgencyRow.code.in_(batch)).with_for_update()
        known = {row.code: row for row in session.scalars(query)}
        new = [code for code in batch if code not in known]
        if new:
            session.execute(
                sa.insert(HubAgencyRow),
                [_values(wanted[code], system_id) | {"version": 1} for code in new],
            )
        added += new
        for code, row in known.items():
            before = row.system_id
            values = _values(wanted[code], system_id)
            if all(getattr(row, name) == value for name, value in values.items()):
                continue
            for name, value in values.items():
                setattr(row, name, value)
            row.version += 1
            changed.append(code)
            if before != system_id:
                moved[code] = before
        session.flush()
    return Registered(len(codes), tuple(added), tuple(changed), moved)


def _values(agency: HubAgency, system_id: str) -> dict[str, object]:
    text = folded(agency.code, agency.old_code or "", agency.name)
    return dataclasses.asdict(agency) | {"system_id": system_id, "search_text": text}


def checked_successor(session: orm.Session, code: str, successor: str) -> str:
    """Return the registered code of who takes over an agency.

    Raises:
        ConfigurationError: There is no such agency.
        UsageError: The agency would succeed itself, directly or by others.
    """
    row = session.get(HubAgencyRow, successor)
    if row is None:
        raise ConfigurationError("hub.no-agency", code=successor)
    seen = [row.code]
    while row is not None:
        if row.code == code:
            raise UsageError("hub.succession-circle", code=code, chain=" → ".join((code, *seen)))
        row = None if row.successor_code is None else session.get(HubAgencyRow, row.successor_code)
        if row is not None:
            if row.code in seen:
                break
            seen.append(row.code)
    return successor


def found(
    session: orm.Session, *, system_id: str | None, text: str | None, after: str, limit: int
) -> list[AgencyRecord]:
    """Return agencies by their codes.

    Args:
        session: The transaction.
        system_id: Only those of this system.
        text: Only those with all these words in a code or the name; marks and case do not matter.
        after: Only those with a higher code.
        limit: How many at most.
    """
    query = sa.select(HubAgencyRow).where(HubAgencyRow.code > after)
    if system_id is not None:
        query = query.where(HubAgencyRow.system_id == system_id)
    if text:
        query = query.where(contains_words(HubAgencyRow.search_text, text))
    return [record(row) for row in session.scalars(query.order_by(HubAgencyRow.code).limit(limit))]


def record(row: HubAgencyRow) -> AgencyRecord:
    """Return a row as people see it."""
    return AgencyRecord(
        **{field.name: getattr(row, field.name) for field in dataclasses.fields(AgencyRecord)}
    )


def codes_of(session: orm.Session, codes: Sequence[str]) -> set[str]:
    """Return those of some codes that are registered."""
    known: set[str] = set()
    for start in range(0, len(codes), _BATCH):
        query = sa.select(HubAgencyRow.code).where(HubAgencyRow.code.in_(codes[start : start + _BATCH]))
        known.update(session.scalars(query))
    return known
