"""Questions to a hub's tables that single wires ask: whose agency, which delivery by a short id, how many wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.models import HubAgencyRow, HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["HubLookup"]

_WAITING = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)


class HubLookup:
    """Further questions to the memory of a hub.

    Args:
        store: The memory; its database is shared.
    """

    def __init__(self, store: HubStore) -> None:
        self._database = store.database

    def owner(self, code: str) -> tuple[str, str] | None:
        """Return the registered code of an agency and its system, by its code of either scheme."""
        query = (
            sa.select(HubAgencyRow.code, HubAgencyRow.system_id)
            .where(sa.or_(HubAgencyRow.code == code, HubAgencyRow.old_code == code))
            # A code in force comes before one that another agency had once.
            .order_by(HubAgencyRow.code != code)
            .limit(1)
        )
        with self._database.reading() as session:
            row = session.execute(query).first()
            return None if row is None else (row[0], row[1])

    def system_of(self, code: str) -> str | None:
        """Return the system that serves an agency, by its code of either scheme."""
        owner = self.owner(code)
        return None if owner is None else owner[1]

    def exists(self, sender_code: str, recipient_code: str, notation: str) -> bool:
        """Tell whether a document with this number and notation went from one agency to another."""
        query = (
            sa.select(HubDeliveryRow.doc_id)
            .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
            .where(
                HubMessageRow.sender_code == sender_code,
                HubMessageRow.notation == notation,
                HubDeliveryRow.recipient_code == recipient_code,
            )
            .limit(1)
        )
        with self._database.reading() as session:
            return session.scalar(query) is not None

    def doc_ids(self, system_id: str, prefix: str) -> list[str]:
        """Return the ids of deliveries for a system that begin with some hexadecimal digits, at most two."""
        query = (
            sa.select(HubDeliveryRow.doc_id)
            .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
            .where(
                HubAgencyRow.system_id == system_id,
                HubDeliveryRow.doc_id >= prefix,
                # "g" stands behind every hexadecimal digit: the range is what begins with the prefix.
                HubDeliveryRow.doc_id < prefix + "g",
            )
            .limit(2)
        )
        with self._database.reading() as session:
            return list(session.scalars(query))

    def count_waiting(self, system_id: str, kind: PackageKind) -> int:
        """Count what waits for a system."""
        query = (
            sa.select(sa.func.count())
            .select_from(HubDeliveryRow)
            .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
            .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
            .where(
                HubAgencyRow.system_id == system_id,
                HubMessageRow.kind == kind.value,
                HubDeliveryRow.status.in_(_WAITING),
                HubMessageRow.payload_pruned_at.is_(None),
            )
        )
        with self._database.reading() as session:
            return session.scalar(query) or 0
