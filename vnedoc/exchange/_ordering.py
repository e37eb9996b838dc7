"""Order something about a document that we sent: take it back, update it, replace it.

Decision 28/2018/QĐ-TTg, article 8.2; Decree 30/2020/NĐ-CP, article 18.3 and 18.4(b). What has not left is taken back
here, and nothing goes out. What has left is taken back by a package of its own.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc.errors import NotAllowedError, UsageError
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange import _sending as sending
from vnedoc.exchange._desk import RecallForm
from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.models import DocumentHeader, StatusHeader
from vnedoc.exchange.orders import recall_header, replacing, update_header
from vnedoc.exchange.package import read_package, write_package
from vnedoc.exchange.states import DeliveryState, OrderKind, OrderState, may_have_left
from vnedoc.exchange.stores.records import SentMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vnedoc.exchange._desk import Desk
    from vnedoc.exchange.models import Attachment, Organization, Package

__all__ = ["recall", "replace", "update"]

_GONE = frozenset({DeliveryState.REFUSED, DeliveryState.RECALLED})
# Times in packages have no fractions of seconds.
_TICK = datetime.timedelta(seconds=1)


def recall(
    desk: Desk,
    message_id: str,
    *,
    reason: str,
    form: RecallForm,
    recipients: Sequence[str] | None,
    ordered_by: tuple[DocumentHeader, Sequence[Attachment]] | None,
) -> list[SentMessage]:
    """Take a document back from its recipients, or some of them."""
    if not reason.strip():
        raise UsageError("exchange.recall-needs-reason")
    versions = _versions(desk, message_id, or_unfinished=True)
    everybody = {item.recipient.code for version in versions for item in version.consignments}
    for code in recipients or ():
        if code not in everybody:
            raise UsageError("package.no-receiver", organ_id=code)
    asked, pending = _recalls(desk, versions)
    remaining = (everybody if recipients is None else set(recipients)) - asked
    if not remaining and pending:
        # The same order once more: it is finished, not doubled.
        return sending.deliver_all(desk, pending)
    if not remaining:
        raise NotAllowedError("exchange.recalled-already", id=versions[-1].id)
    if asked:
        recipients = sorted(remaining)
    left: list[SentMessage] = []
    # What a worker holds until tomorrow, by a clock that was set back, is held by nobody.
    sending.mind_clock(desk)
    for version in versions:
        if recipients is not None:
            # Only some: what has not left cannot leave without the others.
            _check_left(version)
            left.append(version)
            continue
        taken_back, may_have_left = desk.store.recall_unsent(version.id, reason=reason, at=desk.clock())
        if may_have_left:
            left.append(taken_back)
    if not left:
        return [_sent(desk, version.id) for version in versions]
    targets = [item.id for item in left]
    newest = left[-1]
    queued: list[SentMessage] = []
    if form in {RecallForm.ORDER, RecallForm.BOTH}:
        queued.append(
            _queue_recall(desk, newest, targets, reason=reason, recipients=recipients, ordered_by=ordered_by)
        )
    if form in {RecallForm.REQUEST, RecallForm.BOTH}:
        queued += _queue_requests(desk, newest, targets, reason=reason, recipients=recipients)
    return sending.deliver_all(desk, queued)


def update(
    desk: Desk,
    message_id: str,
    *,
    changed: DocumentHeader | None,
    attachments: Sequence[Attachment] | None,
    added: Sequence[Organization],
    removed: Sequence[str],
    reason: str | None,
) -> SentMessage:
    """Send another version of a document, or other receivers of it."""
    version = _current(desk, message_id)
    with _unpacked(desk, version) as package:
        assert isinstance(package.header, DocumentHeader)
        if attachments is not None and changed is None:
            changed = package.header
        files = [item.as_attachment() for item in package.attachments] if attachments is None else attachments
        header = update_header(package, changed=changed, added=added, removed=removed, reason=reason)
        at = _time_after(desk, package.header)
        return _queue_package(
            desk, header, files, kind=OrderKind.UPDATE, targets=[version.id], reason=reason, at=at
        )


def replace(
    desk: Desk,
    message_ids: Sequence[str],
    *,
    header: DocumentHeader,
    attachments: Sequence[Attachment],
    reason: str | None,
) -> SentMessage:
    """Send a document that takes the place of others."""
    versions = [_current(desk, message_id) for message_id in dict.fromkeys(message_ids)]
    if header.sender.organ_id not in desk.codes:
        own = desk.organization.organ_id
        raise UsageError("exchange.not-ours", path="-", code=header.sender.organ_id, own=own)
    replaced = [_header_of(desk, version) for version in versions]
    new = replacing(header, *replaced, reason=reason)
    targets = [version.id for version in versions]
    at = _time_after(desk, *replaced)
    return _queue_package(
        desk, new, attachments, kind=OrderKind.REPLACE, targets=targets, reason=reason, at=at
    )


def _queue_recall(
    desk: Desk,
    newest: SentMessage,
    targets: Sequence[str],
    *,
    reason: str,
    recipients: Sequence[str] | None,
    ordered_by: tuple[DocumentHeader, Sequence[Attachment]] | None,
) -> SentMessage:
    original = _header_of(desk, newest)
    chosen = [item for item in original.recipients if recipients is None or item.organ_id in recipients]
    order_header, attachments = (None, ()) if ordered_by is None else ordered_by
    header = recall_header(original, reason=reason, ordered_by=order_header, recipients=chosen)
    at = _time_after(desk, original)
    return _queue_written(
        desk, header, attachments, kind=OrderKind.RECALL, targets=targets, reason=reason, at=at
    )


def _queue_requests(
    desk: Desk,
    newest: SentMessage,
    targets: Sequence[str],
    *,
    reason: str,
    recipients: Sequence[str] | None,
) -> Iterator[SentMessage]:
    package = _package_of(desk, newest)
    assert isinstance(package.header, DocumentHeader)
    at = _time_after(desk, package.header)
    for item in newest.consignments:
        code = item.recipient.code
        if item.delivery is DeliveryState.REFUSED or (recipients is not None and code not in recipients):
            continue
        new, _ = parcels.status_parcel(
            package,
            StatusCode.TAKE_BACK,
            reason,
            organization=desk.under(newest.sender_code),
            dialect=desk.options.dialect,
            payloads=desk.store.payloads,
            at=at,
            receiver=code,
        )
        yield sending.queue_parcel(desk, new, kind=OrderKind.TAKE_BACK, targets=targets, reason=reason)


def _queue_package(
    desk: Desk,
    header: DocumentHeader,
    attachments: Sequence[Attachment],
    *,
    kind: OrderKind,
    targets: Sequence[str],
    reason: str | None,
    at: datetime.datetime,
) -> SentMessage:
    queued = _queue_written(desk, header, attachments, kind=kind, targets=targets, reason=reason, at=at)
    return sending.deliver(desk, queued.id)


def _queue_written(
    desk: Desk,
    header: DocumentHeader,
    attachments: Sequence[Attachment],
    *,
    kind: OrderKind,
    targets: Sequence[str],
    reason: str | None,
    at: datetime.datetime,
) -> SentMessage:
    """Write the package of an order into the store, and put it into the outbox."""
    if not header.trace:
        header = header.with_trace(header.sender.organ_id, at=at)
    with desk.store.payloads.temporary() as path:
        write_package(header, attachments, path, dialect=desk.options.dialect)
        package = sending.examine(desk, path, name=path)
        payload = desk.store.payloads.adopt(path)
    new = parcels.new_sent(package, payload)
    return sending.queue_parcel(desk, new, kind=kind, targets=targets, reason=reason)


def _time_after(desk: Desk, *about: DocumentHeader) -> datetime.datetime:
    """Return the time that an order bears: after what it is about, also if our clock was set back since.

    Receivers go by these times to tell which versions an order was meant for.
    """
    now = desk.clock()
    times = [item.timestamp for header in about for item in header.trace if item.timestamp is not None]
    # The last second that can be written has no next.
    ahead = [time for time in times if time >= now and time.year < datetime.MAXYEAR]
    return max(ahead) + _TICK if ahead else now


def _sent(desk: Desk, message_id: str) -> SentMessage:
    message = desk.store.find(message_id)
    if not isinstance(message, SentMessage) or message.kind is not PackageKind.DOCUMENT:
        raise UsageError("exchange.not-sent", id=message_id)
    desk.check_connection(message)
    return message


def _versions(desk: Desk, message_id: str, *, or_unfinished: bool = False) -> list[SentMessage]:
    """Return the versions of a document that live, the oldest first.

    Args:
        desk: Whose document.
        message_id: One of them.
        or_unfinished: Also those that were taken back here and may have left, if their recall was not queued because
            the process died between the two.

    Raises:
        NotAllowedError: The axis refused all of them, or they were taken back; or it is a recall itself.
    """
    message = _sent(desk, message_id)
    if message.business_kind == BusinessKind.RECALL:
        # Its recipients would take the document for theirs again, which no clause foresees.
        raise NotAllowedError("exchange.not-a-document", id=message.id)
    versions = [_sent(desk, item) for item in desk.store.versions(message.id)]
    living = [
        version
        for version in versions
        if not all(item.delivery in _GONE for item in version.consignments)
        or (or_unfinished and _is_unfinished(desk, version))
    ]
    if not living:
        raise NotAllowedError("exchange.nothing-to-recall", id=message.id)
    return living


def _is_unfinished(desk: Desk, version: SentMessage) -> bool:
    if not may_have_left(attempt.error_code for attempt in version.attempts):
        return False
    recalls = [
        order
        for order in desk.store.orders_of([version.id])
        if order.is_ours and order.kind is OrderKind.RECALL and order.target_id == version.id
    ]
    return bool(recalls) and all(order.order_id is None for order in recalls)


def _current(desk: Desk, message_id: str) -> SentMessage:
    """Return the version of a document that is in force; it has left, and was not taken back or replaced.

    Raises:
        NotAllowedError: It has not left, or was taken back or replaced.
    """
    versions = _versions(desk, message_id)
    current = versions[-1]
    asked, _ = _recalls(desk, versions)
    if {item.recipient.code for item in current.consignments} <= asked:
        raise NotAllowedError("exchange.recalled-already", id=current.id)
    for order in desk.store.orders_of([version.id for version in versions]):
        if order.is_ours and order.kind is OrderKind.REPLACE and order.target_id in {v.id for v in versions}:
            carrier = None if order.order_id is None else _sent(desk, order.order_id)
            if carrier is not None and not all(item.delivery in _GONE for item in carrier.consignments):
                raise NotAllowedError("exchange.superseded", id=current.id, by=carrier.id)
    _check_left(current)
    return current


def _check_left(version: SentMessage) -> None:
    if version.remote_doc_id is None and all(item.delivery.is_in_outbox for item in version.consignments):
        raise NotAllowedError("exchange.not-sent-yet", id=version.id)


def _recalls(desk: Desk, versions: Sequence[SentMessage]) -> tuple[set[str], list[SentMessage]]:
    """Return from whom a document was asked back and who did not refuse, and the recalls still in the outbox."""
    ids = {version.id for version in versions}
    asked: set[str] = set()
    pending: dict[str, SentMessage] = {}
    for order in desk.store.orders_of(sorted(ids)):
        if not order.is_ours or not order.kind.cancels or order.target_id not in ids:
            continue
        if order.state is OrderState.REFUSED or order.order_id is None:
            continue
        carrier = desk.store.find(order.order_id)
        assert isinstance(carrier, SentMessage)
        live = [item for item in carrier.consignments if item.delivery not in _GONE]
        asked |= {item.recipient.code for item in live}
        if any(item.delivery.is_in_outbox for item in live):
            pending[carrier.id] = carrier
    # Who refused may be asked again.
    refused = {
        item.recipient.code
        for item in versions[-1].consignments
        if item.business.change == StatusCode.CHANGE_REFUSED
    }
    return asked - refused, list(pending.values())


def _package_of(desk: Desk, message: SentMessage) -> Package:
    with desk.store.payloads.local(message.payload.sha256) as path:
        return read_package(path, folder=None)


def _header_of(desk: Desk, message: SentMessage) -> DocumentHeader:
    header = _package_of(desk, message).header
    assert not isinstance(header, StatusHeader)
    return header


@contextlib.contextmanager
def _unpacked(desk: Desk, message: SentMessage) -> Iterator[Package]:
    """Read a package with its attachments on the disk until the block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="vnedoc-") as folder,
        desk.store.payloads.local(message.payload.sha256) as path,
    ):
        yield read_package(path, folder=Path(folder) / "files")
