"""Send, receive and answer packages without losing or doubling one.

Outgoing: durable in the outbox first, then handed to the axis, as often as it takes; the axis recognises what it has.
Incoming: listed, fetched, read, judged, kept in one transaction, laid out for people, and only then acknowledged.
Whatever is killed in between, the next call goes on where this one ended.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import random
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, NotAllowedError, RefusedError, UsageError, VnedocError
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.package import VNPT, Dialect, read_package
from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.exchange.connectors.base import Connector, RemoteMessage
    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.models import Organization, Package
    from vnedoc.exchange.stores.records import NewReceived, NewSent, StatusNews
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["Exchange", "ExchangeOptions", "Received"]

logger = logging.getLogger("vnedoc.exchange")

REPLY_CODES = frozenset(StatusCode) - {StatusCode.TAKE_BACK}
_NEEDS_REASON = frozenset({StatusCode.REFUSED, StatusCode.CHANGE_REFUSED})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """How an exchange behaves."""

    dialect: Dialect = VNPT
    """How status packages are written."""
    answer_quarantined: bool = False
    """Whether the sender of a package that is kept apart is told so with status 02."""
    first_retry: datetime.timedelta = datetime.timedelta(seconds=10)
    """The longest wait before the second attempt; it is three times longer before each further one."""
    longest_retry: datetime.timedelta = datetime.timedelta(hours=1)
    """The longest wait between two attempts."""


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
    """The package as it was laid out for people; ``None`` for a status."""
    repeated: bool = False
    """Whether it was there before."""
    matched: bool = True
    """For a status: whether the document was found that it is about."""
    error: VnedocError | None = None
    """What went wrong; it is tried again by the next call."""


class Exchange:
    """One agency's exchange over one connection.

    Args:
        connector: The way to the axis; its name is the name of the connection.
        store: The memory.
        organization: The agency that sends and receives.
        options: How it behaves.
        clock: Tells the time.
    """

    def __init__(
        self,
        connector: Connector,
        store: AgencyStore,
        *,
        organization: Organization,
        options: ExchangeOptions = ExchangeOptions(),
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self._connector = connector
        self._store = store
        self._organization = organization
        self._options = options
        self._clock = clock

    def send(self, path: Path) -> SentMessage:
        """Queue a package durably and hand it to the axis.

        Sending the same package again does nothing but finish what is unfinished.

        Returns:
            The message with one consignment for each recipient.

        Raises:
            PackageError: The file is no package that the axis could deliver.
            UsageError: It is not from this agency.
            NotAllowedError: Another package with the same document identifier was sent.
            ConnectorError: The axis did not take it now. It is queued, and due again soon.
            RefusedError: The axis said no; the message is recorded as refused.
        """
        return self.deliver(self.queue(path).id)

    def queue(self, path: Path) -> SentMessage:
        """Queue a package durably, without going to the network.

        Raises:
            PackageError: The file is no package that the axis could deliver.
            UsageError: It is not from this agency.
            NotAllowedError: Another package with the same document identifier was sent.
        """
        # What is judged is our own copy: the file may change while we look at it.
        payload = self._store.payloads.copy_in(path)
        package = self._examine(self._store.payloads.path(payload.sha256), name=path)
        return self._store.queue(
            parcels.new_sent(package, payload), connection=self._connector.name, at=self._clock()
        )

    def examine(self, path: Path) -> Package:
        """Check that a package could be sent, and return it; nothing is queued.

        Raises:
            PackageError: The file is no package that the axis could deliver.
            UsageError: It is not from this agency.
        """
        return self._examine(path, name=path)

    def deliver(self, message_id: str) -> SentMessage:
        """Hand one queued message to the axis now, even if its next attempt is due later.

        Raises:
            ConnectorError: The axis did not take it now. It stays queued.
            RefusedError: The axis said no.
        """
        now = self._clock()
        known = self._store.find(message_id)
        assert isinstance(known, SentMessage)
        # A large package takes its time; nobody else may try it meanwhile.
        lease = datetime.timedelta(seconds=60 + known.payload.size // 65536)
        message = self._store.begin_attempt(known.id, now=now, lease=lease, early=True)
        if message is None:
            return known
        path = self._store.payloads.path(message.payload.sha256)
        try:
            remote_doc_id = self._connector.send(path, sender_code=message.sender_code, kind=message.kind)
        except RefusedError as error:
            self._note_refusal(message, error)
            raise
        except ConnectorError as error:
            self._note_trouble(message, error.code)
            raise ConnectorError("exchange.kept", id=message.id, reason=error.code) from error
        except BaseException as error:
            # An interrupt, a missing payload: whatever it was, the message is not lost.
            self._note_trouble(
                message, error.code if isinstance(error, VnedocError) else type(error).__name__
            )
            raise
        return self._store.end_attempt_sent(message.id, remote_doc_id=remote_doc_id, at=self._clock())

    def deliver_due(self) -> list[tuple[SentMessage, VnedocError | None]]:
        """Hand over every message whose time has come; one that fails does not stop the others."""
        outcomes: list[tuple[SentMessage, VnedocError | None]] = []
        for message_id in self._store.due(connection=self._connector.name, now=self._clock()):
            try:
                outcomes.append((self.deliver(message_id), None))
            except VnedocError as error:
                message = self._store.find(message_id)
                assert isinstance(message, SentMessage)
                outcomes.append((message, error))
        return outcomes

    def receive(self, folder: Path, *, verify: Judge | None = None) -> list[Received]:
        """Take in what waits on the axis: documents, then statuses; then note how far our own packages came.

        An accepted document is laid out as ``<id>.edxml`` and ``<id>/`` with its attachments, acknowledged as done,
        and answered with status 01. One that is not is laid out in ``quarantine/`` with its reasons, and
        acknowledged as failed.

        Args:
            folder: Where packages are laid out; made if it is missing.
            verify: Judges a package whose attachments are on the disk, for example by
                :func:`vnedoc.exchange.judgement.judge_package`; ``None`` accepts every package that can be read.

        Returns:
            What became of each package; look at ``error`` of each.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
            InputError: The folder cannot be written to.
        """
        parcels.sweep(folder)
        outcomes = [
            self._take_in(remote, folder, verify)
            for kind in (PackageKind.DOCUMENT, PackageKind.STATUS)
            for remote in self._connector.list_received(kind)
            if remote.recipient_code in {None, self._organization.organ_id}
        ]
        for message, error in self.deliver_due():
            if error is not None:
                logger.warning("message %s stays in the outbox: %s", message.id, error)
        self.refresh()
        return outcomes

    def refresh(self) -> int:
        """Ask the axis how far our packages came; return how many moved.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        name = self._connector.name
        moved = 0
        for kind in PackageKind:
            if not self._store.awaits_transport(kind, connection=name):
                continue
            reports = self._connector.list_sent(kind)
            moved += self._store.note_transport(reports, connection=name, at=self._clock())
        return moved

    def reply(self, message_id: str, status_code: StatusCode, *, reason: str | None = None) -> SentMessage:
        """Tell the sender of a received document what was done with it.

        Args:
            message_id: The document.
            status_code: What was done.
            reason: In words; required for 02 and 16.

        Returns:
            The status message.

        Raises:
            UsageError: There is no such received document, the code is no reply, or the reason is missing.
            NotAllowedError: The document has come further than this status, or is in quarantine.
            ConnectorError: The axis did not take it now. It is queued, and due again soon.
            RefusedError: The axis said no.
        """
        if status_code not in REPLY_CODES:
            raise UsageError("exchange.not-a-reply", status=status_code)
        if status_code in _NEEDS_REASON and not (reason and reason.strip()):
            raise UsageError("exchange.reason-required", status=status_code.value)
        message = self._store.find(message_id)
        if not isinstance(message, ReceivedMessage) or message.kind is not PackageKind.DOCUMENT:
            raise UsageError("exchange.not-received", id=message_id)
        name = self._connector.name
        if message.connection != name:
            raise UsageError("exchange.other-connection", id=message.id, came=message.connection, name=name)
        if message.delivery is DeliveryState.QUARANTINED and status_code is not StatusCode.REFUSED:
            raise NotAllowedError("exchange.in-quarantine", id=message.id)
        package = read_package(self._store.payloads.path(message.payload.sha256), folder=None)
        new, news = self._status_of(package, status_code, reason)
        sent = self._store.reply(message.id, new, news, connection=name, at=self._clock())
        return self.deliver(sent.id)

    def status(self, message_id: str) -> SentMessage | ReceivedMessage:
        """Return one message by its id, the beginning of its id, or its id on the axis.

        Raises:
            UsageError: There is none, or more than one.
        """
        return self._store.find(message_id)

    def _examine(self, path: Path, *, name: Path) -> Package:
        package = parcels.read_sendable(path, name=name)
        own = self._organization.organ_id
        if package.header.sender.organ_id != own:
            raise UsageError("exchange.not-ours", path=name, code=package.header.sender.organ_id, own=own)
        return package

    def _take_in(self, remote: RemoteMessage, folder: Path, verify: Judge | None) -> Received:
        try:
            return self._take_in_or_raise(remote, folder, verify)
        except VnedocError as error:
            # One package must not stand in the way of the others; the next call tries it again.
            return Received(remote.doc_id, remote.kind, None, error=error)

    def _take_in_or_raise(self, remote: RemoteMessage, folder: Path, verify: Judge | None) -> Received:
        name = self._connector.name
        known = self._store.find_remote(remote.doc_id, connection=name)
        matched = True
        if known is None:
            with self._store.payloads.temporary() as path:
                self._connector.fetch(remote.doc_id, path)
                payload = self._store.payloads.adopt(path)
            with parcels.judged(remote, payload, self._store.payloads, folder, verify) as parcel:
                kept = self._store.keep(
                    parcel.new,
                    conflict=parcel.as_conflict(),
                    connection=name,
                    at=self._clock(),
                    reply=self._first_reply(parcel.new, parcel),
                )
            message, repeated, matched = kept.message, kept.repeated, kept.matched
        else:
            message, repeated = known[0], True
        path_for_people = None
        if message.kind is PackageKind.DOCUMENT or message.delivery is DeliveryState.QUARANTINED:
            path_for_people = parcels.place(message, folder)
            if message.published_at is None:
                parcels.publish(message, self._store.payloads, folder)
                self._store.note_published(message.id, at=self._clock())
        accepted = message.delivery is DeliveryState.ACCEPTED
        if known is None or not known[1]:
            status = TransportStatus.DONE if accepted else TransportStatus.FAIL
            self._connector.acknowledge(remote.doc_id, status)
            self._store.note_acknowledged(remote.doc_id, status, connection=name, at=self._clock())
        found = self._store.find(message.id)
        assert isinstance(found, ReceivedMessage)
        return Received(remote.doc_id, remote.kind, found, path_for_people, repeated, matched)

    def _first_reply(self, new: NewReceived, parcel: parcels.Parcel) -> tuple[NewSent, StatusNews] | None:
        if new.kind is not PackageKind.DOCUMENT or parcel.package is None:
            return None
        if new.accepted:
            return self._status_of(parcel.package, StatusCode.ARRIVED, None)
        if self._options.answer_quarantined and parcel.is_from_whom_the_axis_says:
            reason = "; ".join(finding.text("vi") for finding in new.reasons)
            return self._status_of(parcel.package, StatusCode.REFUSED, reason[:1000])
        return None

    def _status_of(
        self, package: Package, code: StatusCode, reason: str | None
    ) -> tuple[NewSent, StatusNews]:
        return parcels.status_parcel(
            package,
            code,
            reason,
            organization=self._organization,
            dialect=self._options.dialect,
            payloads=self._store.payloads,
            at=self._clock(),
        )

    def _note_refusal(self, message: SentMessage, error: RefusedError) -> None:
        remote = (str(error.values.get("remote_code", "")), str(error.values.get("remote_message", "")))
        if error.code == "connector.not-let-in":
            # The secret or the clock is wrong, not the message.
            self._note_trouble(message, error.code, remote=remote)
        else:
            self._store.end_attempt_refused(
                message.id, error_code=error.code, remote=remote, at=self._clock()
            )

    def _note_trouble(
        self, message: SentMessage, error_code: str, *, remote: tuple[str, str] | None = None
    ) -> None:
        now = self._clock()
        wait = min(
            self._options.first_retry * 3 ** min(len(message.attempts) - 1, 20), self._options.longest_retry
        )
        # Full jitter: a thousand systems that lost the axis together do not come back together.
        due_at = now + wait * random.random()  # noqa: S311 - no secret
        self._store.end_attempt_trouble(
            message.id, error_code=error_code[:64], remote=remote, due_at=due_at, at=now
        )
