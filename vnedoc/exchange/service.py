"""Send, receive, answer and take back packages without losing or doubling one.

Outgoing: durable in the outbox first, then handed to the axis, as often as it takes; the axis recognises what it has.
Incoming: listed, fetched, read, judged, kept in one transaction, laid out for people, and only then acknowledged.
Whatever is killed in between, the next call goes on where this one ended.

The steps are in the modules beside this one; :class:`Exchange` ties them to one connection and one store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.exchange import _ordering as ordering
from vnedoc.exchange import _receiving as receiving
from vnedoc.exchange import _replies as replies
from vnedoc.exchange import _sending as sending
from vnedoc.exchange._desk import Desk, ExchangeOptions, NoProgress, Progress, RecallForm
from vnedoc.exchange._receiving import Received
from vnedoc.exchange._replies import REPLY_CODES
from vnedoc.exchange.codes import StatusCode

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from vnedoc.errors import VnedocError
    from vnedoc.exchange.connectors.base import Connector
    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.models import Attachment, DocumentHeader, Organization, Package
    from vnedoc.exchange.stores.records import DocumentOrder, ReceivedMessage, SentMessage
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = [
    "REPLY_CODES",
    "Exchange",
    "ExchangeOptions",
    "NoProgress",
    "Progress",
    "RecallForm",
    "Received",
]


def _never() -> bool:
    return False


class Exchange:
    """One agency's exchange over one connection.

    Args:
        connector: The way to the axis; its name is the name of the connection.
        store: The memory.
        organization: The agency that sends and receives, under its present code.
        also: Its other codes: those it had before a reorganisation, and those it works for. What is addressed to them
            is taken in, and answered under them.
        options: How it behaves.
        progress: Shows how far transfers are; ``None`` shows nothing.
        clock: Tells the time.
    """

    def __init__(
        self,
        connector: Connector,
        store: AgencyStore,
        *,
        organization: Organization,
        also: Iterable[str] = (),
        options: ExchangeOptions = ExchangeOptions(),
        progress: Progress | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self._desk = Desk(
            connector=connector,
            store=store,
            organization=organization,
            codes=frozenset({organization.organ_id, *also}),
            options=options,
            clock=clock,
            progress=progress or NoProgress(),
        )

    @property
    def name(self) -> str:
        """The name of the connection."""
        return self._desk.name

    # Sending

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
        return sending.queue(self._desk, path)

    def examine(self, path: Path) -> Package:
        """Check that a package could be sent, and return it; nothing is queued.

        Raises:
            PackageError: The file is no package that the axis could deliver.
            UsageError: It is not from this agency.
        """
        return sending.examine(self._desk, path, name=path)

    def deliver(self, message_id: str) -> SentMessage:
        """Hand one message to the axis now, even if its next attempt is due later, or it was put aside.

        Raises:
            UsageError: There is no such message to send.
            ConnectorError: The axis did not take it now. It waits, and is due again later.
            RefusedError: The axis said no.
            VnedocError: Something on our side is wrong; the message is parked until a person tries it again.
        """
        return sending.deliver(self._desk, message_id)

    def deliver_due(
        self, *, stop: Callable[[], bool] = _never
    ) -> list[tuple[SentMessage, VnedocError | None]]:
        """Hand over every message whose time has come; one that fails does not stop the others.

        Messages whose time is over are given up first. An axis that did not answer several times in a row is left
        alone for a while; what is due then stays due.

        Args:
            stop: Asked before each message; the one that is under way is finished.
        """
        return sending.deliver_due(self._desk, stop=stop)

    def retry(self, message_ids: Iterable[str] | None = None) -> list[str]:
        """Let messages that are parked, expired or waiting be tried again from the beginning; nothing is sent yet.

        Args:
            message_ids: The messages; ``None`` for all that are parked.

        Returns:
            The ids of those that are due now; what was sent, refused or taken back is not tried again.

        Raises:
            UsageError: One is unknown, was received, or goes by another connection.
        """
        return sending.retry(self._desk, message_ids)

    def refresh(self) -> int:
        """Ask the axis how far our packages came; return how many moved.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        return sending.refresh(self._desk)

    # Receiving

    def receive(
        self, folder: Path, *, verify: Judge | None = None, stop: Callable[[], bool] = _never
    ) -> list[Received]:
        """Take in what waits on the axis: documents, then statuses; then note how far our own packages came.

        An accepted document is laid out as ``<id>.edxml`` and ``<id>/`` with its attachments, acknowledged as done,
        and answered with status 01. One that is not is laid out in ``quarantine/`` with its reasons, and
        acknowledged as failed. A recall cancels its document, whose files are moved to ``cancelled/``; an update and
        a replacement take the place of theirs. A notice beside the files says so.

        Args:
            folder: Where packages are laid out; made if it is missing.
            verify: Judges a package whose attachments are on the disk, for example by
                :func:`vnedoc.exchange.judgement.judge_package`; ``None`` accepts every package that can be read.
            stop: Asked before each package; the one that is under way is finished.

        Returns:
            What became of each package; look at ``error`` of each.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
            InputError: The folder cannot be written to.
        """
        return receiving.receive(self._desk, folder, verify=verify, stop=stop)

    def confirm(self, message_id: str) -> SentMessage:
        """Tell the sender of a received document that it was entered in the register (03).

        Raises:
            UsageError: There is no such received document.
            NotAllowedError: It has come further, is in quarantine, was cancelled or superseded.
            ConnectorError: The axis did not take the status now. It is queued, and due again soon.
            RefusedError: The axis said no.
        """
        return self.reply(message_id, StatusCode.ACCEPTED)

    def reply(self, message_id: str, status_code: StatusCode, *, reason: str | None = None) -> SentMessage:
        """Tell the sender of a received document what was done with it.

        15 and 16 decide on a recall, a request to give back or an update that waits for a person: 15 carries it out.

        Args:
            message_id: The document; for 15 and 16 also the message that carries the order.
            status_code: What was done.
            reason: In words; required for 02 and 16.

        Returns:
            The status message.

        Raises:
            UsageError: There is no such received document, the code is no reply, or the reason is missing.
            NotAllowedError: The document has come further than this status, is in quarantine, was cancelled or
                superseded; it is a recall, which only 15 and 16 answer; or nobody asked for what they answer.
            ConnectorError: The axis did not take it now. It is queued, and due again soon.
            RefusedError: The axis said no.
        """
        return replies.reply(self._desk, message_id, status_code, reason=reason)

    # Orders about documents that were sent

    def recall(
        self,
        message_id: str,
        *,
        reason: str,
        form: RecallForm = RecallForm.ORDER,
        recipients: Sequence[str] | None = None,
        ordered_by: tuple[DocumentHeader, Sequence[Attachment]] | None = None,
    ) -> list[SentMessage]:
        """Take a document back.

        What is still in the outbox is taken back here: nothing leaves, its state is ``recalled``. For what has left,
        or may have left when an attempt ended without an answer, the recipients are told; all versions of the
        document are meant.

        Args:
            message_id: The document, or an update of it.
            reason: Why, in words.
            form: How the recipients are told.
            recipients: Codes of the recipients it is taken back from; ``None`` for all.
            ordered_by: Another document that orders the recall, with its files: the package then carries it.

        Returns:
            The messages that tell it; the document itself if nothing had to leave.

        Raises:
            UsageError: There is no such sent document, no reason, or a code is none of its recipients.
            NotAllowedError: It was taken back before, never went out, or is being sent at this moment.
            ConnectorError: The axis did not take the recall now. It is queued, and due again soon.
            RefusedError: The axis said no.
        """
        return ordering.recall(
            self._desk, message_id, reason=reason, form=form, recipients=recipients, ordered_by=ordered_by
        )

    def update(
        self,
        message_id: str,
        *,
        changed: DocumentHeader | None = None,
        attachments: Sequence[Attachment] | None = None,
        added: Sequence[Organization] = (),
        removed: Sequence[str] = (),
        reason: str | None = None,
    ) -> SentMessage:
        """Send another version of a document, or change its recipients.

        Args:
            message_id: The document, or an update of it.
            changed: The header with other metadata; what names the document stays.
            attachments: The files of the new version; ``None`` sends those of the present one again.
            added: New recipients.
            removed: Codes of recipients that it is taken from.
            reason: Why, in words.

        Returns:
            The message that carries the new version.

        Raises:
            UsageError: There is no such sent document, nothing changed, or a code is none of its recipients.
            NotAllowedError: It has not left yet, was taken back, or another document took its place.
            ConnectorError: The axis did not take it now. It is queued, and due again soon.
            RefusedError: The axis said no.
        """
        return ordering.update(
            self._desk,
            message_id,
            changed=changed,
            attachments=attachments,
            added=added,
            removed=removed,
            reason=reason,
        )

    def replace(
        self,
        *message_ids: str,
        header: DocumentHeader,
        attachments: Sequence[Attachment],
        reason: str | None = None,
    ) -> SentMessage:
        """Send a new document that takes the place of others.

        Args:
            message_ids: The documents that it replaces.
            header: The new document.
            attachments: Its files.
            reason: Why, in words.

        Returns:
            The message that carries the new document.

        Raises:
            UsageError: There is no such sent document, or the new one is not from this agency.
            NotAllowedError: One has not left yet, was taken back, or was replaced before.
            ConnectorError: The axis did not take it now. It is queued, and due again soon.
            RefusedError: The axis said no.
        """
        return ordering.replace(
            self._desk, message_ids, header=header, attachments=attachments, reason=reason
        )

    # Looking

    def status(self, message_id: str) -> SentMessage | ReceivedMessage:
        """Return one message by its id, the beginning of its id, or its id on the axis.

        Raises:
            UsageError: There is none, or more than one.
        """
        return self._desk.store.find(message_id)

    def orders(self, message_id: str) -> list[DocumentOrder]:
        """Return the orders that a message carries, and those about it: recalls, updates, replacements."""
        return self._desk.store.orders_of([self._desk.store.find(message_id).id])
