"""Hand what is in the outbox to the axis, and sort what can go wrong: never, later, busy, ours.

While a package is on its way its lease is renewed, so that a long transfer is not taken for a dead worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import random
import threading
from typing import TYPE_CHECKING

from vnedoc._internal import transfers
from vnedoc.errors import ConnectorError, InternalError, RefusedError, UsageError, VnedocError
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange.codes import BusinessKind, PackageKind
from vnedoc.exchange.connectors.base import Fault, fault_of, is_not_let_in
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.states import DeliveryState, OrderKind
from vnedoc.exchange.stores.records import SentMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from vnedoc.exchange._desk import Desk
    from vnedoc.exchange.models import Package
    from vnedoc.exchange.stores.records import NewSent

__all__ = [
    "deliver",
    "deliver_all",
    "deliver_due",
    "examine",
    "mind_clock",
    "queue",
    "queue_parcel",
    "refresh",
    "retry",
]

logger = logging.getLogger("vnedoc.exchange")

# More in one call would keep receiving waiting.
_MAX_ROUND = 1000
_ORDER_KINDS = {
    int(BusinessKind.RECALL): OrderKind.RECALL,
    int(BusinessKind.UPDATE): OrderKind.UPDATE,
    int(BusinessKind.REPLACE): OrderKind.REPLACE,
}


def examine(desk: Desk, path: Path, *, name: Path) -> Package:
    """Check that a package could be sent, and return it."""
    package = parcels.read_sendable(path, name=name)
    sender = package.header.sender.organ_id
    if sender not in desk.codes:
        own = desk.organization.organ_id
        raise UsageError("exchange.not-ours", path=name, code=sender, own=own)
    return package


def queue(desk: Desk, path: Path) -> SentMessage:
    """Put a package into the outbox; an order about a document that we sent is tied to it."""
    # What is judged is our own copy: the file may change while we look at it.
    payload = desk.store.payloads.copy_in(path)
    with desk.store.payloads.local(payload.sha256) as copy:
        package = examine(desk, copy, name=path)
    header = package.header
    targets: list[str] = []
    kind = None
    if isinstance(header, DocumentHeader):
        kind = _ORDER_KINDS.get(header.business.kind)
        targets = desk.store.sent_documents(header.targets, connection=desk.name)
    reason = header.business.reason if isinstance(header, DocumentHeader) else None
    return queue_parcel(desk, parcels.new_sent(package, payload), kind=kind, targets=targets, reason=reason)


def queue_parcel(
    desk: Desk,
    new: NewSent,
    *,
    kind: OrderKind | None = None,
    targets: Iterable[str] = (),
    reason: str | None = None,
) -> SentMessage:
    """Put what is known of a package into the outbox."""
    now = desk.clock()
    new = dated(desk, new, at=now)
    about = list(targets)
    if kind is None or not about:
        return desk.store.queue(new, connection=desk.name, at=now)
    return desk.store.give_order(new, kind, about, connection=desk.name, reason=reason, at=now)


def dated(desk: Desk, new: NewSent, *, at: datetime.datetime) -> NewSent:
    """Return what is known of a package, with the time at which it is given up."""
    return dataclasses.replace(new, expires_at=at + desk.options.expires_after)


def deliver(desk: Desk, message_id: str) -> SentMessage:
    """Hand one message to the axis now, because a person wants it: also one that waits, is parked or has expired."""
    known = desk.store.find(message_id)
    if not isinstance(known, SentMessage):
        raise UsageError("exchange.not-sent", id=message_id)
    mind_clock(desk)
    now = desk.clock()
    if _is_put_aside(known):
        desk.store.requeue([known.id], at=now, expires_at=now + desk.options.expires_after)
    message = desk.store.begin_attempt(
        known.id, now=now, lease=desk.options.lease, owner=desk.owner, early=True
    )
    if message is None:
        found = desk.store.find(known.id)
        assert isinstance(found, SentMessage)
        return found
    return _attempt(desk, message)


def deliver_all(desk: Desk, messages: Iterable[SentMessage]) -> list[SentMessage]:
    """Hand over messages that are queued; all are tried before an error is raised."""
    done: list[SentMessage] = []
    failure: VnedocError | None = None
    for message in messages:
        try:
            done.append(deliver(desk, message.id))
        except VnedocError as error:
            failure = error
    if failure is not None:
        raise failure
    return done


def deliver_due(
    desk: Desk, *, stop: Callable[[], bool] = lambda: False
) -> list[tuple[SentMessage, VnedocError | None]]:
    """Hand over every message whose time has come; one that fails does not stop the others.

    An axis that did not answer several times in a row is left alone for a while.
    """
    mind_clock(desk)
    for message_id in desk.store.expire(desk.clock()):
        logger.warning("message %s was not sent in its time and is not tried any more", message_id)
    outcomes: list[tuple[SentMessage, VnedocError | None]] = []
    while len(outcomes) < _MAX_ROUND and not stop():
        now = desk.clock()
        if not desk.breaker.try_enter(now):
            break
        # One at a time: what is claimed and not tried would wait for nothing.
        claimed = desk.store.claim_due(
            connection=desk.name, now=now, lease=desk.options.lease, owner=desk.owner, limit=1
        )
        if not claimed:
            desk.breaker.note_nothing()
            break
        outcomes.append(_attempt_or_error(desk, claimed[0]))
    return outcomes


def retry(desk: Desk, message_ids: Iterable[str] | None) -> list[str]:
    """Let messages be tried again from the beginning; ``None`` for all that are parked."""
    ids = None
    if message_ids is not None:
        found = [desk.store.find(message_id) for message_id in message_ids]
        for message in found:
            if not isinstance(message, SentMessage):
                raise UsageError("exchange.not-sent", id=message.id)
            desk.check_connection(message)
        ids = [message.id for message in found]
    now = desk.clock()
    return desk.store.requeue(ids, at=now, expires_at=now + desk.options.expires_after, connection=desk.name)


def refresh(desk: Desk) -> int:
    """Ask the axis how far our packages came; return how many moved."""
    moved = 0
    for kind in PackageKind if desk.connector.reports_sent else ():
        if desk.store.awaits_transport(kind, connection=desk.name):
            reports = desk.connector.list_sent(kind)
            moved += desk.store.note_transport(reports, connection=desk.name, at=desk.clock())
    return moved


def mind_clock(desk: Desk) -> None:
    """Take up what a clock that was set back since has put off or given up."""
    now = desk.clock()
    if desk.clock_watch.is_due(now):
        for message_id in desk.store.set_right(now, lease=desk.options.lease):
            logger.warning("message %s is tried now: the clock was set back", message_id)


def _is_put_aside(message: SentMessage) -> bool:
    return any(
        item.delivery in {DeliveryState.PARKED, DeliveryState.EXPIRED} for item in message.consignments
    )


def _attempt_or_error(desk: Desk, message: SentMessage) -> tuple[SentMessage, VnedocError | None]:
    error: VnedocError
    try:
        return _attempt(desk, message), None
    except VnedocError as caught:
        error = caught
    except Exception as caught:
        # The edge of a worker: one message that nobody thought of must not stop the others. It is parked.
        logger.exception("message %s", message.id)
        error = InternalError("exchange.unexpected", id=message.id, reason=type(caught).__name__)
    found = desk.store.find(message.id)
    assert isinstance(found, SentMessage)
    return found, error


def _attempt(desk: Desk, message: SentMessage) -> SentMessage:
    """Hand over a message that is claimed."""
    try:
        with (
            _held(desk, message.id),
            desk.store.payloads.local(message.payload.sha256) as path,
            desk.progress.transfer(message.code or message.id, message.payload.size) as tell,
            transfers.watched(tell),
        ):
            remote_doc_id = desk.connector.send(path, sender_code=message.sender_code, kind=message.kind)
    except Exception as error:
        _note_failure(desk, message, error)
        if isinstance(error, ConnectorError):
            raise ConnectorError("exchange.kept", id=message.id, reason=error.code) from error
        raise
    except BaseException as error:
        # Somebody stopped us: that says nothing of the message.
        desk.breaker.note_nothing()
        _wait(desk, message, type(error).__name__, wait=datetime.timedelta())
        raise
    desk.breaker.note_success()
    return desk.store.end_attempt_sent(
        message.id, owner=desk.owner, remote_doc_id=remote_doc_id, at=desk.clock()
    )


@contextlib.contextmanager
def _held(desk: Desk, message_id: str) -> Iterator[None]:
    """Renew the lease of a message until the block ends."""
    done = threading.Event()
    lease = desk.options.lease

    def renew() -> None:
        while not done.wait(lease.total_seconds() / 3):
            try:
                if not desk.store.renew(message_id, owner=desk.owner, now=desk.clock(), lease=lease):
                    # Somebody took it over, or a person recalled it; how our attempt ends is noted all the same.
                    logger.warning("message %s: the lease was lost while it was being sent", message_id)
                    return
            except VnedocError as error:
                logger.warning("message %s: the lease was not renewed: %s", message_id, error)

    thread = threading.Thread(target=renew, name=f"vnedoc-lease-{message_id[:8]}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _note_failure(desk: Desk, message: SentMessage, error: Exception) -> None:
    code = (error.code if isinstance(error, VnedocError) else type(error).__name__)[:64]
    fault = fault_of(error)
    if fault in {Fault.LATER, Fault.BUSY}:
        desk.breaker.note_failure(desk.clock())
    elif isinstance(error, RefusedError):
        desk.breaker.note_success()
    else:
        desk.breaker.note_nothing()
    if isinstance(error, RefusedError):
        remote = (str(error.values.get("remote_code", "")), str(error.values.get("remote_message", "")))
        if is_not_let_in(error):
            # The secret or the clock is wrong, not the message: it goes when that is mended.
            _wait(desk, message, code, remote=remote)
        else:
            desk.store.end_attempt_refused(
                message.id, owner=desk.owner, error_code=code, remote=remote, at=desk.clock()
            )
    elif fault is Fault.OURS:
        desk.store.park(message.id, owner=desk.owner, error_code=code, at=desk.clock())
    else:
        pause = error.retry_after_s if isinstance(error, ConnectorError) else None
        _wait(
            desk,
            message,
            code,
            at_least=None if pause is None else datetime.timedelta(seconds=max(0.0, pause)),
        )


def _wait(
    desk: Desk,
    message: SentMessage,
    error_code: str,
    *,
    remote: tuple[str, str] | None = None,
    at_least: datetime.timedelta | None = None,
    wait: datetime.timedelta | None = None,
) -> None:
    """End an attempt that did not come off: the message waits.

    Args:
        desk: The desk.
        message: The message.
        error_code: Why.
        remote: What the axis said.
        at_least: How long the axis asks to be left alone.
        wait: The longest wait; ``None`` computes it from the number of attempts.
    """
    now = desk.clock()
    if wait is None:
        first = desk.options.first_wait(message.priority)
        wait = min(first * 3 ** min(max(message.tries - 1, 0), 20), desk.options.longest_retry)
    # Full jitter: a thousand systems that lost the axis together do not come back together.
    pause = (at_least or datetime.timedelta()) + wait * random.random()  # noqa: S311 - no secret
    due_at = now + pause
    if message.expires_at is not None and now < message.expires_at:
        # Not beyond its time: then it is tried once more before it expires, and a person sees it.
        due_at = min(due_at, message.expires_at)
    desk.store.end_attempt_trouble(
        message.id, owner=desk.owner, error_code=error_code[:64], remote=remote, due_at=due_at, at=now
    )
