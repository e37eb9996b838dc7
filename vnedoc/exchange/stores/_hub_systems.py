"""The systems of a hub within a transaction, as people see them: without their secrets."""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - dataclasses are looked into
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.stores.hub_models import HubSecretRow
from vnedoc.exchange.stores.models import HubAgencyRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.stores.models import HubSystemRow

__all__ = ["NEWEST_FIRST", "NewSecret", "SecretRecord", "SystemRecord", "is_good", "system_records"]

NEWEST_FIRST = (
    # Which of two is newer is told by the end of the older one, should their times be the same.
    HubSecretRow.expires_at.is_not(None),
    HubSecretRow.created_at.desc(),
    HubSecretRow.id,
)
"""How secrets are put in order."""


@dataclasses.dataclass(frozen=True, slots=True)
class SecretRecord:
    """That a system has a secret; never the secret."""

    id: str
    """How people call it."""
    created_at: datetime.datetime
    """When it was made."""
    expires_at: datetime.datetime | None
    """When it ends; ``None`` for the one that stays."""


@dataclasses.dataclass(frozen=True, slots=True)
class SystemRecord:
    """A system, as people see it."""

    id: str
    """Its id."""
    name: str
    """What people call it."""
    created_at: datetime.datetime
    """When it was added."""
    disabled_at: datetime.datetime | None
    """Since when it may not call; ``None`` if it may."""
    networks: tuple[str, ...]
    """The networks it may call from, as CIDR; empty is any."""
    certificates: tuple[str, ...]
    """SHA-256 of the client certificates that it may show; empty: it needs none."""
    agency_count: int
    """How many agencies it sends and receives for."""
    secrets: tuple[SecretRecord, ...]
    """Its secrets that have not ended, the newest first."""
    version: int
    """Counts its changes."""


@dataclasses.dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that was just made or given; it is not shown again."""

    id: str
    """How people call it."""
    secret: str = dataclasses.field(repr=False)
    """The secret."""
    older_until: datetime.datetime | None = None
    """Until when the one before is good, too; ``None`` if there is none."""


def system_records(
    session: orm.Session, rows: Sequence[HubSystemRow], *, at: datetime.datetime
) -> list[SystemRecord]:
    """Return systems as people see them."""
    ids = [row.id for row in rows]
    counted = (
        sa.select(HubAgencyRow.system_id, sa.func.count())
        .where(HubAgencyRow.system_id.in_(ids))
        .group_by(HubAgencyRow.system_id)
    )
    counts = {row[0]: int(row[1]) for row in session.execute(counted)}
    kept: dict[str, list[HubSecretRow]] = {}
    query = sa.select(HubSecretRow).where(HubSecretRow.system_id.in_(ids))
    for item in session.scalars(query.order_by(*NEWEST_FIRST)):
        kept.setdefault(item.system_id, []).append(item)
    return [_system_record(row, kept.get(row.id, []), counts.get(row.id, 0), at=at) for row in rows]


def _system_record(
    row: HubSystemRow, kept: Sequence[HubSecretRow], count: int, *, at: datetime.datetime
) -> SystemRecord:
    return SystemRecord(
        row.id,
        row.name,
        row.created_at,
        row.disabled_at,
        tuple(row.networks.split()),
        tuple(row.certificates.split()),
        count,
        tuple(SecretRecord(item.id, item.created_at, item.expires_at) for item in kept if is_good(item, at)),
        row.version,
    )


def is_good(row: HubSecretRow, at: datetime.datetime) -> bool:
    """Tell whether a secret has not ended."""
    return row.expires_at is None or row.expires_at > at
