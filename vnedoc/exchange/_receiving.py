"""Take in what waits on the axis: list, fetch, read, judge, keep, lay out, and only then acknowledge.

Decision 28/2018/QĐ-TTg, article 9.1: completeness, integrity and origin are checked before a document is accepted.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from vnedoc._internal import transfers
from vnedoc.errors import InternalError, VnedocError
from vnedoc.exchange import _layout as layout
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange import _replies as replies
from vnedoc.exchange import _sending as sending
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores.records import ReceivedMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.exchange._desk import Desk
    from vnedoc.exchange.connectors.base import RemoteMessage
    from vnedoc.exchange.judgement import Judge

__all__ = ["Received", "receive"]

logger = logging.getLogger("vnedoc.exchange")

_TAKEN = frozenset({DeliveryState.ACCEPTED, DeliveryState.CANCELLED})


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """What became of one package that was listed on the axis."""

    remote_doc_id: str
    """Its id on the axis."""
    kind: PackageKind
    """What it carries."""
    message: ReceivedMessage | None
    """The message; ``None`` if it could not be taken in now."""
    path: Path | None = None
    """The package as it was laid out for people, or the notice that it was recalled; ``None`` for a status."""
    repeated: bool = False
    """Whether it was there before."""
    matched: bool = True
    """For a status, and for an order: whether the document was found that it is about."""
    error: VnedocError | None = None
    """What went wrong; it is tried again by the next call."""


def receive(
    desk: Desk, folder: Path, *, verify: Judge | None, stop: Callable[[], bool] = lambda: False
) -> list[Received]:
    """Take in documents, then statuses; answer; hand over what is due; ask how far our packages came."""
    for place in (folder, folder / layout.QUARANTINE):
        parcels.sweep(place)
    replies.settle_orders(desk, folder)
    outcomes: list[Received] = []
    for kind in (PackageKind.DOCUMENT, PackageKind.STATUS):
        for remote in desk.connector.list_received(kind):
            if stop():
                return outcomes
            if remote.recipient_code is None or remote.recipient_code in desk.codes:
                outcomes.append(_take_in(desk, remote, folder, verify))
    for message, error in sending.deliver_due(desk, stop=stop):
        if error is not None:
            logger.warning("message %s stays in the outbox: %s", message.id, error)
    if not stop():
        sending.refresh(desk)
    return outcomes


def _take_in(desk: Desk, remote: RemoteMessage, folder: Path, verify: Judge | None) -> Received:
    error: VnedocError
    try:
        return _take_in_or_raise(desk, remote, folder, verify)
    except VnedocError as caught:
        # One package must not stand in the way of the others; the next call tries it again.
        error = caught
    except Exception as caught:
        # The edge of a worker: the same for a package that nobody thought of.
        logger.exception("package %s", remote.doc_id)
        error = InternalError("exchange.unexpected", id=remote.doc_id, reason=type(caught).__name__)
    return Received(remote.doc_id, remote.kind, None, error=error)


def _take_in_or_raise(desk: Desk, remote: RemoteMessage, folder: Path, verify: Judge | None) -> Received:
    store = desk.store
    known = store.find_remote(remote.doc_id, connection=desk.name)
    matched = True
    if known is None:
        with store.payloads.temporary() as path:
            with desk.progress.transfer(remote.doc_id, None) as tell, transfers.watched(tell):
                desk.connector.fetch(remote.doc_id, path)
            payload = store.payloads.adopt(path)
        with parcels.judged(
            remote, payload, store.payloads, folder, verify, codes=desk.codes, options=desk.options
        ) as parcel:
            kept = store.keep(
                parcel.new,
                conflict=parcel.as_conflict(),
                connection=desk.name,
                at=desk.clock(),
                reply=replies.first_reply(desk, parcel),
            )
        message, repeated, matched = kept.message, kept.repeated, kept.matched
    else:
        message, repeated = known[0], True
    path_for_people = _lay_out(desk, message, folder)
    replies.settle_orders(desk, folder)
    if known is None or not known[1]:
        status = TransportStatus.DONE if message.delivery in _TAKEN else TransportStatus.FAIL
        desk.connector.acknowledge(remote.doc_id, status)
        store.note_acknowledged(remote.doc_id, status, connection=desk.name, at=desk.clock())
    found = store.find(message.id)
    assert isinstance(found, ReceivedMessage)
    return Received(remote.doc_id, remote.kind, found, path_for_people, repeated, matched)


def _lay_out(desk: Desk, message: ReceivedMessage, folder: Path) -> Path | None:
    if message.kind is not PackageKind.DOCUMENT and message.delivery is not DeliveryState.QUARANTINED:
        return None
    if message.published_at is None:
        layout.publish(message, desk.store.payloads, folder)
        desk.store.note_published(message.id, at=desk.clock(), folder=folder)
    return layout.place(message, folder)
