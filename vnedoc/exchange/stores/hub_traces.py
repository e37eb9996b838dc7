"""What a hub holds for one agency: the wires that ask by agency, not by system, need no more and no less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    import datetime

    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["MAX_LISTED", "MAX_SINCE", "HubTraces", "Trace"]

MAX_LISTED = 1000
"""How many deliveries that wait one list names; the next ones come when these are done."""
MAX_SINCE = 10_000
"""How many statuses since a time one list names: the newest, because who asks by time has seen the others before."""
_WAITING = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)

Trace = tuple[str, str]
"""The id of a delivery, and the SHA-256 of its package."""


class HubTraces:
    """Questions of single agencies to the memory of a hub.

    Args:
        store: The memory; its database is shared.
    """

    def __init__(self, store: HubStore) -> None:
        self._database = store.database

    def waiting(self, code: str, kind: PackageKind) -> list[Trace]:
        """Return what waits for an agency, the oldest first."""
        query = _traces(code, kind).where(HubDeliveryRow.status.in_(_WAITING))
        query = query.order_by(HubMessageRow.received_at, HubDeliveryRow.doc_id).limit(MAX_LISTED)
        return self._listed(query)

    def since(self, code: str, moment: datetime.datetime) -> list[Trace]:
        """Return the statuses for an agency that came at a time or later, the newest first."""
        query = _traces(code, PackageKind.STATUS).where(HubMessageRow.received_at >= moment)
        query = query.order_by(HubMessageRow.received_at.desc(), HubDeliveryRow.doc_id).limit(MAX_SINCE)
        return self._listed(query)

    def _listed(self, query: sa.Select[str, str]) -> list[Trace]:
        with self._database.reading() as session:
            return [(row[0], row[1]) for row in session.execute(query)]

    def statuses_about(self, code: str, *, sender_code: str, document_id: str, notation: str) -> list[str]:
        """Return the SHA-256 of the statuses for an agency, from another, about one document."""
        query = (
            sa.select(HubMessageRow.payload_sha256)
            .join(HubDeliveryRow, HubMessageRow.id == HubDeliveryRow.message_id)
            .where(
                HubDeliveryRow.recipient_code == code,
                HubMessageRow.kind == PackageKind.STATUS.value,
                HubMessageRow.sender_code == sender_code,
                # Numbers begin anew each year, and identifiers are left out by some.
                HubMessageRow.document_id == document_id,
                HubMessageRow.notation == notation,
                HubMessageRow.payload_pruned_at.is_(None),
            )
            .limit(MAX_LISTED)
        )
        with self._database.reading() as session:
            return list(session.scalars(query))


def _traces(code: str, kind: PackageKind) -> sa.Select[str, str]:
    return (
        sa.select(HubDeliveryRow.doc_id, HubMessageRow.payload_sha256)
        .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
        .where(
            HubDeliveryRow.recipient_code == code,
            HubMessageRow.kind == kind.value,
            # What is asked for is in the packages.
            HubMessageRow.payload_pruned_at.is_(None),
        )
    )
