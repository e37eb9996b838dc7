"""What the eDoc SOAP service does: each operation from its envelope to its reply. No HTTP.

The platform's ids are whole numbers of 64 bits and its clients read them as such, so an id of this hub is shown as
the number that its first sixty bits make.

Choices of this hub, where the platform's programs show none or lose something:

* A document that comes again, byte for byte, gets the first answer again; with other content it is refused as
  ``M.Exist``. The platform refuses both.
* A status that comes again, byte for byte, is taken as done; the same status with other words is ``M.UpdateTraces``.
* Statuses asked for without a time are handed out once, as the platform does, but only counted as handed out after
  the answer was written to its end.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from typing import TYPE_CHECKING, NamedTuple

from vnedoc import messages
from vnedoc.errors import InputError, PackageError, RemoteError
from vnedoc.exchange._edxml.dates import read_time
from vnedoc.exchange._soap.blocks import REQUIRED, status_block
from vnedoc.exchange._soap.envelope import child, child_text, escaped, wrapped
from vnedoc.exchange._soap.message import (
    AttachmentMismatchError,
    document_message,
    document_of,
    status_of,
    write_document,
    write_status,
)
from vnedoc.exchange._soap.names import OperationName, ReportCode
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.hub._bkav_numbers import digits_of, number_of
from vnedoc.exchange.hub._bkav_soap_replies import (
    PREFIX,
    Message,
    Reply,
    ReportError,
    ReportRow,
    Unpacked,
    done,
    inside,
    report,
    small,
)
from vnedoc.exchange.hub.core import gone, unknown_document
from vnedoc.exchange.hub.entrances import Entrance
from vnedoc.exchange.hub.refusals import RefusalError, unreadable_package
from vnedoc.exchange.models import DocumentHeader, Organization, StatusHeader
from vnedoc.exchange.package import read_package, reply_header
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub_traces import HubTraces

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from vnedoc.exchange._edxml.tree import Node
    from vnedoc.exchange._soap.envelope import Envelope, SoapVersion
    from vnedoc.exchange._soap.message import ReceivedPart
    from vnedoc.exchange._soap.names import Operation
    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.hub import HubAgency, HubDelivery

__all__ = ["Calls"]

logger = logging.getLogger("vnedoc.hub")

MAX_TRACES_BYTES = 16 * 1024 * 1024
_SHOWN_CODES = 50


class _Caller(NamedTuple):
    system_id: str
    organ_id: str
    entrance: Entrance


class Calls:
    """Does what the operations ask for.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._traces = HubTraces(hub.store)

    def answer(
        self, operation: OperationName, envelope: Envelope, parts: Sequence[ReceivedPart], prefix: Path
    ) -> Reply:
        """Do one operation.

        Args:
            operation: Which one.
            envelope: The request.
            parts: Its attachments.
            prefix: A path of the payload store; files may be made there, and beside it under longer names.

        Raises:
            ReportError: The service says no.
            RefusalError: The hub says no.
        """
        match operation:
            case OperationName.SEND_DOCUMENT:
                return self._send(envelope, parts, prefix)
            case OperationName.UPDATE_TRACES:
                return self._update_traces(envelope, prefix)
            case OperationName.CHECK_PERMISSION:
                question = envelope.block("CheckPermission") or envelope.content
                self._let_in(question, ReportCode.CHECK_PERMISSION)
                return done(operation)
            case _:
                content = envelope.content
                assert content is not None
                caller = self._let_in(content, ReportCode.CHECK_PERMISSION)
                system_id, organ_id, _ = caller
                match operation:
                    case OperationName.GET_PENDING:
                        return self._pending(organ_id)
                    case OperationName.GET_DOCUMENT:
                        return self._document(self._delivery(content, system_id, organ_id), prefix)
                    case OperationName.CONFIRM_RECEIVED:
                        delivery = self._delivery(content, system_id, organ_id)
                        return self._confirm(delivery, caller, prefix)
                    case OperationName.GET_TRACES:
                        return self._get_traces(content, system_id, organ_id)
                    case _:
                        return self._organizations()

    def lets_in(self, envelope: Envelope) -> bool:
        """Tell whether the header of a request names an organization and its token."""
        try:
            self._let_in_by_key(envelope)
        except (ReportError, RefusalError):
            return False
        return True

    def report(self, operation: Operation, rows: Iterable[tuple[str, str]]) -> Reply:
        """Return a report that says no.

        Args:
            operation: The operation.
            rows: Codes and sentences.
        """
        content = report(rows)
        # The answer of GetDocument has no element around it, a report neither.
        if operation.name is not OperationName.GET_DOCUMENT:
            content = inside(operation.response, content)
        return small(content)

    def _let_in(self, holder: Node | None, code: ReportCode) -> _Caller:
        organ_id = child_text(holder, "OrganId") if holder is not None else None
        token = child_text(holder, "Token") if holder is not None else None
        if not organ_id or not token:
            raise ReportError(ReportRow(code.value, "soap.no-credentials", {}))
        owner = self._hub.lookup.owner(organ_id)
        # A stranger's code costs the same as a wrong token.
        access = self._hub.check_secret("" if owner is None else owner[1], token)
        assert owner is not None
        entrance = Entrance(access.stamp, lambda: self._let_in(holder, code).entrance.stamp)
        return _Caller(owner[1], owner[0], entrance)

    def _registered(self, code: str) -> str | None:
        """Return the code under which an agency is registered, by its code of either scheme."""
        owner = self._hub.lookup.owner(code)
        return None if owner is None else owner[0]

    def _let_in_by_key(self, envelope: Envelope) -> _Caller:
        signature = envelope.block("Signature")
        key = child(signature, "KeyInfo") if signature is not None else None
        return self._let_in(key, ReportCode.CHECK_SIGNATURE)

    def _delivery(self, content: Node, system_id: str, organ_id: str) -> HubDelivery:
        text = child_text(content, "DocumentId") or ""
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            row = ReportRow(
                ReportCode.DOCUMENT_ID.value, "hub.bad-parameter", {"name": "DocumentId", "value": text[:80]}
            )
            raise ReportError(row)
        digits = digits_of(int(text))
        found = self._hub.lookup.doc_ids(system_id, digits) if digits else []
        delivery = self._hub.store.delivery(system_id, found[0]) if len(found) == 1 else None
        known = delivery is not None and delivery.recipient_code == organ_id
        if delivery is None or not known or delivery.kind is not PackageKind.DOCUMENT:
            raise unknown_document(text)
        return delivery

    def _send(self, envelope: Envelope, parts: Sequence[ReceivedPart], prefix: Path) -> Reply:
        _check_elements(envelope)
        caller = self._let_in_by_key(envelope)
        try:
            header, attachments = document_of(envelope, parts)
        except PackageError as exc:
            raise unreadable_package(exc) from exc
        except AttachmentMismatchError as exc:
            raise ReportError(
                ReportRow(ReportCode.ATTACHMENT.value, "soap.attachments", {"reason": str(exc)})
            ) from exc
        limit = self._hub.options.max_package_bytes
        # As a package its attachments are base64.
        if sum(part.path.stat().st_size for part in parts) * 4 // 3 > limit:
            raise RefusalError(ErrorCode.INVALID_FILE, "hub.too-large", status=413, limit=limit)
        try:
            with prefix.open("xb") as stream:
                write_document(header, attachments, stream)
        except PackageError as exc:
            raise unreadable_package(exc) from exc
        receipt = self._hub.take(
            prefix,
            kind=PackageKind.DOCUMENT,
            sender=header.sender.organ_id,
            system_id=caller.system_id,
            entrance=caller.entrance,
        )
        number = f"<{{0}}DocumentId>{number_of(receipt.doc_id)}</{{0}}DocumentId>".replace("{0}", PREFIX)
        return small(inside("SendDocumentResponse", report(()) + number.encode()))

    def _pending(self, organ_id: str) -> Reply:
        rows = self._traces.waiting(organ_id, PackageKind.DOCUMENT)
        ids = "".join(
            f"<{PREFIX}DocumentId>{number_of(doc_id)}</{PREFIX}DocumentId>" for doc_id, _sha256 in rows
        )
        content = f"<{PREFIX}DocumentIds>{ids}</{PREFIX}DocumentIds>".encode()
        return small(inside("GetPendingDocumentIdsResponse", content))

    def _document(self, delivery: HubDelivery, prefix: Path) -> Reply:
        if delivery.payload_pruned_at is not None:
            raise gone(str(number_of(delivery.doc_id)))
        folder = prefix.with_name(f"{prefix.name}.parts")

        def message(version: SoapVersion) -> Message:
            try:
                with self._hub.store.payloads.open(delivery.payload.sha256) as stream:
                    package = read_package(stream, folder=folder)
                outgoing = document_message(package, version=version, encoded=True)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return Message(Unpacked(outgoing.body, folder), outgoing.content_type, outgoing.body.size)

        return Reply(message, unpacked_bytes=delivery.payload.size)

    def _confirm(self, delivery: HubDelivery, caller: _Caller, prefix: Path) -> Reply:
        # Who said before that it failed may say now that it has it; neither takes the other's place.
        if not delivery.status.has_ended:
            # First the status, then the mark: who is killed between the two sends 01 twice, never not at all.
            self._tell_arrived(delivery, caller, prefix)
            self._hub.move(caller.system_id, delivery.doc_id, TransportStatus.DONE)
        return done(OperationName.CONFIRM_RECEIVED)

    def _tell_arrived(self, delivery: HubDelivery, caller: _Caller, prefix: Path) -> None:
        if delivery.payload_pruned_at is not None:
            # It expired long ago: what it was is not known any more.
            logger.warning("no status 01 for %s: its package is not kept", delivery.doc_id)
            return
        with self._hub.store.payloads.open(delivery.payload.sha256) as stream:
            header = read_package(stream, folder=None).header
        assert isinstance(header, DocumentHeader)
        addressed = next(
            (
                item
                for item in header.recipients
                if self._registered(item.organ_id) == delivery.recipient_code
            ),
            Organization(delivery.recipient_code, delivery.recipient_code),
        )
        status = reply_header(
            header,
            sender=addressed,
            status_code=StatusCode.ARRIVED,
            at=self._hub.clock(),
            description=messages.text("soap.arrived", self._hub.options.language),
        )
        try:
            self._take_status(status, caller, prefix)
        except RefusalError as refusal:
            if refusal.status != 200:
                # Whoever confirms may not call any more, or the hub has no time: nothing is confirmed.
                raise
            # The sender is not registered any more: nobody is there to be told.
            logger.warning("no status 01 for %s: %s", delivery.doc_id, refusal.message_id)

    def _update_traces(self, envelope: Envelope, prefix: Path) -> Reply:
        caller = self._let_in_by_key(envelope)
        content = envelope.content
        assert content is not None
        try:
            header = status_of(content)
        except PackageError as exc:
            raise unreadable_package(exc) from exc
        self._take_status(header, caller, prefix, once=True)
        return done(OperationName.UPDATE_TRACES)

    def _take_status(
        self, header: StatusHeader, caller: _Caller, prefix: Path, *, once: bool = False
    ) -> None:
        try:
            with prefix.open("xb") as stream:
                written = write_status(header, stream)
        except PackageError as exc:
            raise unreadable_package(exc) from exc
        if once and header.status_code != StatusCode.PROCESSING:
            self._refuse_repeated(header, written.sha256)
        self._hub.take(
            prefix,
            kind=PackageKind.STATUS,
            sender=header.sender.organ_id,
            system_id=caller.system_id,
            entrance=caller.entrance,
        )

    def _refuse_repeated(self, header: StatusHeader, sha256: str) -> None:
        about, code = header.response_for, str(header.status_code)
        recipient = self._registered(about.organ_id or "")
        if recipient is None:
            return
        known = self._traces.statuses_about(
            recipient,
            sender_code=header.sender.organ_id,
            document_id=about.document_id or "",
            notation=about.code or "",
        )
        if sha256 not in known and any(self._code_of(digest) == code for digest in known):
            values: dict[str, object] = {"code": code, "document": (about.code or "-")[:200]}
            raise ReportError(ReportRow(ReportCode.UPDATE_TRACES.value, "soap.status-repeated", values))

    def _code_of(self, sha256: str) -> str | None:
        header = self._status(sha256)
        return None if header is None else str(header.status_code)

    def _status(self, sha256: str) -> StatusHeader | None:
        try:
            with self._hub.store.payloads.open(sha256) as stream:
                header = read_package(stream, folder=None, lines=False).header
        except (InputError, RemoteError):
            logger.exception("the status %s cannot be read", sha256)
            return None
        return header if isinstance(header, StatusHeader) else None

    def _get_traces(self, content: Node, system_id: str, organ_id: str) -> Reply:
        text = child_text(content, "TimeStamp")
        since = read_time(text).value if text else None
        if text and since is None:
            raise ReportError(ReportRow("T.GetTraces.TimeStamp", "soap.bad-time", {"value": text[:80]}))
        rows = (
            self._traces.waiting(organ_id, PackageKind.STATUS)
            if since is None
            else self._traces.since(organ_id, since)
        )
        blocks: list[bytes] = []
        shown: list[str] = []
        size = 0
        for doc_id, sha256 in rows:
            header = self._status(sha256)
            block = b"" if header is None else status_block(header, qualified=True)
            size += len(block)
            if shown and size > MAX_TRACES_BYTES:
                break
            shown.append(doc_id)
            blocks.append(block)
        if since is not None:
            blocks.reverse()
        traces = f"<{PREFIX}Traces>".encode() + b"".join(blocks) + f"</{PREFIX}Traces>".encode()

        def hand_out() -> None:
            for doc_id in shown:
                self._hub.store.set_status(system_id, doc_id, TransportStatus.DONE, at=self._hub.clock())

        reply = small(inside("GetTracesResponse", traces))
        return reply if since is not None else dataclasses.replace(reply, after=hand_out)

    def _organizations(self) -> Reply:
        agencies = self._hub.agencies()
        names_by_code = {agency.code: agency.name for agency in agencies}

        def rows(version: SoapVersion) -> Generator[bytes, None, None]:
            around = wrapped(version, inside("GetOrganizationsResponse", b"\0"))
            head, tail = around.split(b"\0")
            yield head + f"<{PREFIX}Organizations>".encode()
            for agency in agencies:
                yield _organization(agency, names_by_code)
            yield f"</{PREFIX}Organizations>".encode() + tail

        def message(version: SoapVersion) -> Message:
            return Message(rows(version), f"{version.media_type}; charset=UTF-8")

        return Reply(message)


def _check_elements(envelope: Envelope) -> None:
    """See to it that every element is there, as the platform does before it looks at anything."""
    missing = [
        f"MessageHeader.{name}" if name != "MessageHeader" else name
        for name in _missing(envelope.block("MessageHeader"), "MessageHeader")
    ]
    traces = envelope.block("TraceHeaderList")
    if traces is None:
        missing.append("MessageHeader.TraceHeaderList")
    elif child(traces, "TraceHeader") is None:
        missing.append("MessageHeader.TraceHeaderList.TraceHeader")
    if envelope.block("ErrorList") is None:
        missing.append("MessageHeader.ErrorList")
    if missing:
        raise ReportError(
            *(
                ReportRow(f"N.{path}", "soap.missing-element", {"path": path})
                for path in missing[:_SHOWN_CODES]
            )
        )


def _missing(node: Node | None, name: str) -> Iterator[str]:
    if node is None:
        yield name
        return
    for wanted in REQUIRED[name]:
        found = [item for item in node.children if item.name == wanted]
        if not found:
            yield wanted
        for item in found if wanted in REQUIRED else ():
            yield from (f"{wanted}.{path}" for path in _missing(item, wanted))


def _organization(agency: HubAgency, names_by_code: dict[str, str]) -> bytes:
    parent = agency.parent_code or ""
    fields = {
        # The platform knows an agency by its code of 2016 and shows the one of 2020 beside it.
        "OrganId": agency.old_code or agency.code,
        "OrganizationInCharge": names_by_code.get(parent, parent),
        "OrganName": agency.name,
        "OrganAdd": "",
        "Email": agency.email or "",
        "Telephone": "",
        "Fax": "",
        "Website": "",
        "agency": "true",
        "send_vpcp": "false",
        "is_integrator_center": "false",
        "domain_new": agency.code if agency.old_code else "",
    }
    inside = "".join(f"<{PREFIX}{name}>{escaped(text)}</{PREFIX}{name}>" for name, text in fields.items())
    return f"<{PREFIX}Organization>{inside}</{PREFIX}Organization>".encode()
