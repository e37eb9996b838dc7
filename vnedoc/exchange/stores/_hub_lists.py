"""The lists that systems ask a hub for: of each delivery what a list shows, and no more is read for it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._types import table_of
from vnedoc.exchange.stores.hub_deliveries import axis_status
from vnedoc.exchange.stores.models import HubAgencyRow, HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.codes import PackageKind

    _Row = sa.Row[*tuple[Any, ...]]  # columns of the tables below
    _Page = sa.Select[*tuple[Any, ...]]

__all__ = ["ListedDelivery", "SentDelivery", "sent", "waiting"]

MAX_WAITING_LISTED = 1000
MAX_SENT_LISTED = 10_000
_SENT_PAGE = 500
_WAITING = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)
_MESSAGES, _DELIVERIES, _AGENCIES = table_of(HubMessageRow), table_of(HubDeliveryRow), table_of(HubAgencyRow)
_COPY = (
    _DELIVERIES.c.doc_id,
    _DELIVERIES.c.message_id,
    _DELIVERIES.c.recipient_code,
    _DELIVERIES.c.status,
    _DELIVERIES.c.status_text,
    _DELIVERIES.c.updated_at,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListedDelivery:
    """One package on its way to one recipient, as a list shows it."""

    doc_id: str
    """Its id for the recipient."""
    sender_doc_id: str
    """Its id for the sender."""
    kind: PackageKind
    """What it carries."""
    sender_code: str
    """Who sent it."""
    recipient_code: str
    """Who it is for."""
    status: TransportStatus
    """How far it is."""
    status_text: str | None
    """What the recipient's system said of it."""
    received_at: datetime.datetime
    """When the hub took it."""
    updated_at: datetime.datetime
    """When its status changed last."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SentDelivery(ListedDelivery):
    """One package on its way to one recipient, as its sender sees it."""

    title: str
    """What it is about."""
    notation: str
    """Number and notation."""


def waiting(
    session: orm.Session,
    system_id: str,
    kind: PackageKind,
    *,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
) -> list[ListedDelivery]:
    """Return what waits for a system, the oldest first.

    Args:
        session: The transaction.
        system_id: The system.
        kind: What is asked for.
        since: Only what was taken over at this time or later.
        until: Only what was taken over before this time.
    """
    query = (
        sa.select(*_COPY, _MESSAGES.c.sender_code, _MESSAGES.c.received_at)
        .select_from(_DELIVERIES)
        .join(_MESSAGES, _MESSAGES.c.id == _DELIVERIES.c.message_id)
        .join(_AGENCIES, _AGENCIES.c.code == _DELIVERIES.c.recipient_code)
        .where(
            _AGENCIES.c.system_id == system_id,
            _DELIVERIES.c.status.in_(_WAITING),
            _MESSAGES.c.kind == kind.value,
            _MESSAGES.c.payload_pruned_at.is_(None),
        )
        .order_by(_MESSAGES.c.received_at, _DELIVERIES.c.doc_id)
        .limit(MAX_WAITING_LISTED)
    )
    # Before the limit, so that what is not asked for hides nothing.
    if since is not None:
        query = query.where(_MESSAGES.c.received_at >= since)
    if until is not None:
        query = query.where(_MESSAGES.c.received_at < until)
    return [ListedDelivery(**_listed(row, row, kind)) for row in session.execute(query)]


def sent(session: orm.Session, system_id: str, kind: PackageKind) -> list[SentDelivery]:
    """Return what a system sent, the newest first.

    Args:
        session: The transaction.
        system_id: The system.
        kind: What is asked for.
    """
    found: list[SentDelivery] = []
    query = _sent_page(system_id, kind)
    while len(found) < MAX_SENT_LISTED and (page := session.execute(query).all()):
        messages = _first(page, most=MAX_SENT_LISTED - len(found))
        copies = _copies(session, [message.id for message in messages])
        found += [
            SentDelivery(**_listed(copy, message, kind), title=message.title, notation=message.notation)
            for message in messages
            for copy in copies[message.id]
        ]
        query = _sent_page(system_id, kind, before=page[-1])
    return found[:MAX_SENT_LISTED]


def _sent_page(system_id: str, kind: PackageKind, *, before: _Row | None = None) -> _Page:
    """Return the query for some of what a system sent, the newest first: the end of an index, and nothing sorted.

    Args:
        system_id: The system.
        kind: What is asked for.
        before: The last of the ones before.
    """
    place = (_MESSAGES.c.received_at, _MESSAGES.c.id)
    fanned = sa.select(sa.func.count()).where(_DELIVERIES.c.message_id == _MESSAGES.c.id).correlate(_MESSAGES)
    query = sa.select(
        *place,
        _MESSAGES.c.sender_code,
        _MESSAGES.c.title,
        _MESSAGES.c.notation,
        fanned.scalar_subquery().label("fanned"),
    ).where(_MESSAGES.c.sender_system == system_id, _MESSAGES.c.kind == kind.value)
    if before is not None:
        known = (
            sa.literal(before.received_at, _MESSAGES.c.received_at.type),
            sa.literal(before.id, _MESSAGES.c.id.type),
        )
        query = query.where(sa.tuple_(*place) < sa.tuple_(*known))
    return query.order_by(*(column.desc() for column in place)).limit(_SENT_PAGE)


def _first(page: Sequence[_Row], *, most: int) -> list[_Row]:
    """Return the first messages of a page, as many as make up a number of deliveries: each may have thousands."""
    before = itertools.accumulate((message.fanned for message in page), initial=0)
    return [message for message, count in zip(page, before, strict=False) if count < most]


def _copies(session: orm.Session, message_ids: Sequence[str]) -> dict[str, list[_Row]]:
    copies: dict[str, list[_Row]] = {message_id: [] for message_id in message_ids}
    query = sa.select(*_COPY).where(_DELIVERIES.c.message_id.in_(message_ids))
    for row in session.execute(query.order_by(_DELIVERIES.c.position)):
        copies[row.message_id].append(row)
    return copies


def _listed(copy: _Row, message: _Row, kind: PackageKind) -> dict[str, Any]:  # fields of ListedDelivery
    return {
        "doc_id": copy.doc_id,
        "sender_doc_id": copy.message_id,
        "kind": kind,
        "sender_code": message.sender_code,
        "recipient_code": copy.recipient_code,
        "status": axis_status(copy.status),
        "status_text": copy.status_text,
        "received_at": message.received_at,
        "updated_at": copy.updated_at,
    }
