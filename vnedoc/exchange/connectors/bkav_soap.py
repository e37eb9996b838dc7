"""The eDoc platform by its SOAP service: documents as SOAP messages with attachments, statuses as traces.

The service asks by organization, not by system: each call names one organization and its token. What its wire does
not have, this connector does not make up:

* It tells nothing of packages that were sent; that one arrived is known from the status 01 that receiving makes.
* There is no word for a package that is unusable: it is confirmed as received, or it would be listed for ever.
* Statuses have no ids and are not acknowledged. They are asked for over a window of time, and those that were
  acknowledged here are left out of later lists.
* A document that is sent twice is refused. Where an answer was lost, this connector takes the refusal of the second
  try for the answer of the first.

A package changes its form on the way: header and attachments arrive, its own XML signature does not.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import logging
import re
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal import transfers
from vnedoc._internal.clock import utc_now
from vnedoc._internal.multipart import ContentChangedError
from vnedoc.errors import ConfigurationError, InputError, PackageError, RefusedError, RemoteError
from vnedoc.exchange._edxml.dates import format_time
from vnedoc.exchange._edxml.tree import serialized
from vnedoc.exchange._soap.blocks import key_block, status_block
from vnedoc.exchange._soap.envelope import SoapVersion, child_text, escaped, wrapped
from vnedoc.exchange._soap.message import (
    AttachmentMismatchError,
    document_message,
    document_of,
    status_of,
    write_document,
    write_status,
)
from vnedoc.exchange._soap.names import OPERATIONS, OperationName, ReportCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors._bkav_soap_answers import MAX_ENVELOPE_BYTES, AnswerReader
from vnedoc.exchange.connectors._bkav_soap_zeep import AnswerError, SmallCalls
from vnedoc.exchange.connectors._http import HTTPConnector, HTTPOptions, KeptSecret
from vnedoc.exchange.connectors.base import Objection, RemoteAgency, RemoteMessage
from vnedoc.exchange.models import DocumentHeader, StatusHeader
from vnedoc.exchange.package import read_package
from vnedoc.exchange.states import TransportStatus

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from vnedoc._internal import http
    from vnedoc._internal.multipart import MultipartWriter
    from vnedoc.exchange._edxml.tree import Node
    from vnedoc.exchange._soap.envelope import Envelope
    from vnedoc.exchange.models import Package
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["BkavSoapConnector", "BkavSoapOptions"]

logger = logging.getLogger("vnedoc.exchange")

MAX_LIST_BYTES = 256 * 1024 * 1024
MAX_STATUSES = 20_000
_ORGAN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STATUS_PREFIX = "status-"
_OBJECTIONS = {
    ReportCode.ORGAN_ID.value: Objection.SENDER,
    ReportCode.RECIPIENT.value: Objection.RECIPIENT,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BkavSoapOptions(HTTPOptions):
    """How to speak to one service."""

    organ_ids: tuple[str, ...] = ()
    """The organizations that are received for; empty: the one that the system id names."""
    soap12: bool = False
    """Speak SOAP 1.2; the service takes both."""
    status_window: datetime.timedelta = datetime.timedelta(days=30)
    """How far back statuses are asked for."""


class BkavSoapConnector(HTTPConnector):
    """A system's way to an eDoc platform, or to a hub that speaks its SOAP service.

    Args:
        url: Address of the service.
        system_id: The organization whose token the secret is.
        secret: Returns the token.
        name: What errors and attempts call it.
        options: How to speak to this service.
        tls_passphrase: Returns the passphrase of an encrypted client key.
        clock: Tells the time.

    Raises:
        ConfigurationError: The address, an organization or a TLS file cannot be used.
        MissingExtraError: The extra ``soap`` is not installed.
    """

    reports_sent = False
    acknowledges_failure = False
    tells_recipient = False
    keeps_bytes = False
    objections = _OBJECTIONS

    def __init__(
        self,
        url: str,
        system_id: str,
        *,
        secret: SecretCallback,
        name: str = "bkav-soap",
        options: BkavSoapOptions = BkavSoapOptions(),
        tls_passphrase: SecretCallback | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self._organ_ids = options.organ_ids or (system_id,)
        for organ_id in (system_id, *self._organ_ids):
            if not _ORGAN_ID.fullmatch(organ_id):
                raise ConfigurationError(
                    "connector.bad-option", name=name, key="organ_ids", reason=organ_id[:80]
                )
        self._token = KeptSecret(secret, f"{name}: {system_id}", name=name, system_id=system_id)
        super().__init__(
            url, secrets=(self._token,), name=name, options=options, tls_passphrase=tls_passphrase
        )
        self._own_id = system_id
        self._options = options
        self._clock = clock
        self._version = SoapVersion.V12 if options.soap12 else SoapVersion.V11
        self._small = SmallCalls(self._version)
        self._answers = AnswerReader(name)
        self._lock = threading.Lock()
        self._acknowledged: set[str] = set()
        self._unsure: set[str] = set()

    def __repr__(self) -> str:
        return f"BkavSoapConnector({self._base_url!r}, {self._own_id!r})"

    def check_permission(self) -> None:
        """Ask whether the organization and its token are good.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: They are not.
        """
        self._simple(
            OperationName.CHECK_PERMISSION, lambda token: ({}, {"CheckPermission": self._caller(token)})
        )

    # What the base asks for

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        listed: list[RemoteMessage] = []
        for organ_id in self._organ_ids:
            ids = self._pending(organ_id) if kind is PackageKind.DOCUMENT else self._new_statuses(organ_id)
            listed += [
                RemoteMessage(
                    # The platform's id names the document; each recipient's copy is one of its own here.
                    doc_id=f"{organ_id}:{remote_id}",
                    kind=kind,
                    sender_code=None,
                    recipient_code=organ_id,
                    status=TransportStatus.INITIAL,
                    created_at=None,
                )
                for remote_id in ids
            ]
        return listed

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        organ_id, remote_id = self._taken_apart(doc_id)
        if remote_id.startswith(_STATUS_PREFIX):
            found = self._statuses(organ_id).get(remote_id)
            if found is None:
                raise RefusedError(
                    "connector.refused",
                    name=self.name,
                    remote_code=ReportCode.NOT_ALLOWED.value,
                    remote_message=doc_id,
                )
            write_status(found, stream)
            return
        body = self._asking("GetDocumentRequest", organ_id, {"DocumentId": remote_id})
        self._perform(
            lambda _: self._post(OperationName.GET_DOCUMENT, wrapped(self._version, body())),
            lambda answer: self._read_document(answer, stream),
        )

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        organ_id, remote_id = self._taken_apart(doc_id)
        if status is TransportStatus.PROCESSING:
            return
        if remote_id.startswith(_STATUS_PREFIX):
            with self._lock:
                self._acknowledged.add(doc_id)
            return
        values = {"OrganId": organ_id, "DocumentId": remote_id}
        self._simple(OperationName.CONFIRM_RECEIVED, lambda token: ({**values, "Token": token}, None))

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        if kind is PackageKind.STATUS:
            return self._send_status(path, sender_code)
        with tempfile.TemporaryDirectory(prefix="vnedoc-soap-") as folder:
            package = self._read_package(path, Path(folder))
            if not isinstance(package.header, DocumentHeader):
                raise InputError("soap.wrong-kind", path=path)
            document_id = package.header.document_id

            def request(_: object) -> contextlib.AbstractContextManager[http.StreamedAnswer]:
                key = key_block(self._key_owner(sender_code), self._token.value())
                message = document_message(package, version=self._version, key=key)
                return self._post(
                    OperationName.SEND_DOCUMENT,
                    _telling(message.body, size),
                    content_type=message.content_type,
                    size=message.body.size,
                )

            try:
                return self._perform(request, self._read_sent)
            except ContentChangedError as exc:
                raise InputError("connector.file-changed", path=path) from exc
            except RemoteError:
                with self._lock:
                    self._unsure.add(document_id)
                raise
            except RefusedError as error:
                if not self._was_taken_before(document_id, error):
                    raise
                return f"exists-{hashlib.sha256(document_id.encode()).hexdigest()[:32]}"

    def _agencies(self) -> list[RemoteAgency]:
        found: list[RemoteAgency] = []

        def take(row: Node) -> None:
            code, new_code = child_text(row, "OrganId"), child_text(row, "domain_new")
            if code:
                found.append(
                    RemoteAgency(
                        code=new_code or code,
                        name=child_text(row, "OrganName") or code,
                        email=child_text(row, "Email"),
                        old_code=code if new_code else None,
                    )
                )

        self._list(
            OperationName.GET_ORGANIZATIONS, self._own_id, row="Organization", take=take, clear=found.clear
        )
        return found

    # Calls

    def _pending(self, organ_id: str) -> list[str]:
        found = self._simple(
            OperationName.GET_PENDING, lambda token: ({"OrganId": organ_id, "Token": token}, None)
        )
        return [text for text in found if text.isascii() and text.isdigit()]

    def _new_statuses(self, organ_id: str) -> list[str]:
        ids = list(self._statuses(organ_id))
        prefix = f"{organ_id}:"
        with self._lock:
            # What the window does not show any more need not be remembered.
            gone = {item for item in self._acknowledged if item.startswith(prefix)} - {
                prefix + key for key in ids
            }
            self._acknowledged -= gone
            return [item for item in ids if prefix + item not in self._acknowledged]

    def _statuses(self, organ_id: str) -> dict[str, StatusHeader]:
        found: dict[str, StatusHeader] = {}

        def take(row: Node) -> None:
            digest = hashlib.sha256(serialized(row)).hexdigest()[:32]
            try:
                found[f"{_STATUS_PREFIX}{digest}"] = status_of(row)
            except PackageError as error:
                # One that cannot be read must not hide the others.
                logger.warning("%s: a status for %s cannot be read: %s", self.name, organ_id, error)

        since = format_time(self._clock() - self._options.status_window)
        self._list(
            OperationName.GET_TRACES,
            organ_id,
            row="Status",
            take=take,
            clear=found.clear,
            more={"TimeStamp": since},
            max_rows=MAX_STATUSES,
        )
        return found

    def _send_status(self, path: Path, sender_code: str) -> str:
        header = self._read_package(path, None).header
        if not isinstance(header, StatusHeader):
            raise InputError("soap.wrong-kind", path=path)
        body = status_block(header, qualified=False)
        digest = hashlib.sha256(body).hexdigest()[:32]

        def envelope() -> bytes:
            key = key_block(self._key_owner(sender_code), self._token.value())
            return wrapped(self._version, body, header=key)

        try:
            self._perform(
                lambda _: self._post(OperationName.UPDATE_TRACES, envelope()),
                lambda answer: self._checked(answer, OperationName.UPDATE_TRACES),
            )
        except RefusedError as error:
            # The platform takes no status twice: it has this one.
            if error.values.get("remote_code") != ReportCode.UPDATE_TRACES.value:
                raise
        return f"{_STATUS_PREFIX}{digest}"

    def _read_package(self, path: Path, folder: Path | None) -> Package:
        try:
            return read_package(path, folder=folder)
        except PackageError as exc:
            # This wire carries what a package says, so what says nothing can never go.
            raise RefusedError(
                "soap.unreadable", name=self.name, path=path, remote_code=exc.code, remote_message=str(exc)
            ) from exc

    def _key_owner(self, sender_code: str) -> str:
        return sender_code if sender_code in self._organ_ids else self._own_id

    def _was_taken_before(self, document_id: str, error: RefusedError) -> bool:
        """Tell whether a refusal means that an earlier try, whose answer was lost, had succeeded."""
        with self._lock:
            known = document_id in self._unsure
            self._unsure.discard(document_id)
        return known and error.values.get("remote_code") == ReportCode.EXIST.value

    def _taken_apart(self, doc_id: str) -> tuple[str, str]:
        organ_id, colon, remote_id = doc_id.rpartition(":")
        # An id that was stored before the settings changed may name another organization; ask all the same.
        return (organ_id, remote_id) if colon else (self._own_id, doc_id)

    def _caller(self, token: str) -> dict[str, str]:
        return {"OrganId": self._own_id, "Token": token}

    def _simple(
        self,
        operation: OperationName,
        values: Callable[[str], tuple[dict[str, str], dict[str, object] | None]],
    ) -> list[str]:
        """Make a call that zeep writes and reads; return the ids in the answer, if it has some."""

        def envelope() -> bytes:
            said, header = values(self._token.value())
            return self._small.request(operation, said, header=header)

        def read(answer: http.StreamedAnswer) -> list[str]:
            content = self._answers.envelope_bytes(answer)
            self._answers.checked(content, element=OPERATIONS[operation].response)
            try:
                return self._small.ids(operation, content)
            except AnswerError as exc:
                raise self._answers.bad(str(exc)) from exc

        return self._perform(lambda _: self._post(operation, envelope()), read)

    def _list(
        self,
        operation: OperationName,
        organ_id: str,
        *,
        row: str,
        take: Callable[[Node], None],
        clear: Callable[[], None],
        more: dict[str, str] | None = None,
        max_rows: int = 1_000_000,
    ) -> None:
        """Make a call whose answer is a list; each row is handed over while it arrives."""
        body = self._asking(operation.value, organ_id, more or {})

        def read(answer: http.StreamedAnswer) -> None:
            # A call may be made again with another token.
            clear()
            self._answers.rows(
                answer,
                element=OPERATIONS[operation].response,
                row=row,
                take=take,
                max_bytes=MAX_LIST_BYTES,
                max_rows=max_rows,
            )

        self._perform(lambda _: self._post(operation, wrapped(self._version, body())), read)

    def _asking(self, element: str, organ_id: str, more: dict[str, str]) -> Callable[[], bytes]:
        """Return what writes the body of a question, with the token of the moment."""

        def body() -> bytes:
            fields = {"OrganId": organ_id, "Token": self._token.value(), **more}
            inside = "".join(f"<{name}>{escaped(text)}</{name}>" for name, text in fields.items())
            return f"<{element}>{inside}</{element}>".encode()

        return body

    def _post(
        self,
        operation: OperationName,
        content: bytes | Iterable[bytes],
        *,
        content_type: str | None = None,
        size: int | None = None,
    ) -> contextlib.AbstractContextManager[http.StreamedAnswer]:
        action = operation.value
        kind = content_type or f"{self._version.media_type}; charset=UTF-8"
        headers = {}
        if self._version is SoapVersion.V12:
            kind = f'{kind}; action="{action}"'
        else:
            headers["SOAPAction"] = f'"{action}"'
        if size is not None:
            headers["Content-Length"] = str(size)
        return self._open("POST", "", {"Content-Type": kind, **headers}, content)

    def _checked(self, answer: http.StreamedAnswer, operation: OperationName) -> Envelope:
        return self._answers.checked(
            self._answers.envelope_bytes(answer), element=OPERATIONS[operation].response
        )

    def _read_sent(self, answer: http.StreamedAnswer) -> str:
        content = self._checked(answer, OperationName.SEND_DOCUMENT).content
        doc_id = child_text(content, "DocumentId") if content is not None else None
        if not doc_id:
            raise self._answers.bad("no DocumentId")
        return doc_id

    def _read_document(self, answer: http.StreamedAnswer, stream: BinaryIO) -> None:
        with tempfile.TemporaryDirectory(prefix="vnedoc-soap-") as folder:
            parts = self._answers.parts(
                answer,
                Path(folder) / "message",
                # The parts are base64, a third larger than what they carry.
                max_bytes=self.max_package_bytes * 3 // 2 + MAX_ENVELOPE_BYTES,
                max_envelope_bytes=MAX_ENVELOPE_BYTES,
            )
            envelope = self._answers.checked(parts.envelope, element="Manifest")
            try:
                header, attachments = document_of(envelope, parts.parts)
            except (PackageError, AttachmentMismatchError) as exc:
                raise self._answers.bad(str(exc)) from exc
            stream.seek(0)
            stream.truncate()
            write_document(header, attachments, stream)


def _telling(body: MultipartWriter, size: int) -> Iterator[bytes]:
    """Yield a body and tell how far it is, in bytes of the package: without base64 the body is shorter."""
    sent = told = 0
    for chunk in body:
        yield chunk
        sent += len(chunk)
        now = sent * size // body.size
        transfers.moved(now - told)
        told = now
