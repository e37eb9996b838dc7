"""Bkav eDoc 2.0 by its REST API: one agency a connection, told by ``organid`` and a token in ``authorization``.

The form is that of the open sources of the platform (Tây Ninh and Lâm Đồng, 2020 and 2021). Its wire is thin:

* What waits is a list of numbers. Documents and statuses are numbered apart, so ids here begin with the kind.
* There is one word for "received" and none for "being processed" or "unusable".
* Nothing tells how far the recipients of a sent package are.
* A new document that was sent before is refused with ``ExistDoc``, even to the very system that sent it. After an
  answer that was lost this cannot be told from a conflict: the message is refused and a person must look, unless
  ``accept_existing`` says that nobody else sends for the agency.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from vnedoc._internal import http
from vnedoc.errors import RefusedError, UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors._http import (
    JSON_TYPE,
    MAX_DIRECTORY_BYTES,
    HTTPConnector,
    HTTPOptions,
    KeptSecret,
    file_chunks,
    file_digest,
)
from vnedoc.exchange.connectors._json_rows import text_of
from vnedoc.exchange.connectors.base import (
    Fault,
    Objection,
    RemoteAgency,
    RemoteMessage,
    error_for_code,
)
from vnedoc.exchange.states import TransportStatus

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["BkavRESTConnector", "BkavRESTOptions"]

_BASE = "/EdocService"
_KINDS = {PackageKind.DOCUMENT: "EDOC", PackageKind.STATUS: "STATUS"}
_FAULTS = {"InternalServer": Fault.LATER, "GetPending": Fault.LATER}
# Codes name the field that is wrong.
_OBJECTIONS = {"OrganId": Objection.SENDER, "Receiver": Objection.RECIPIENT}
_EXISTS = "ExistDoc"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BkavRESTOptions(HTTPOptions):
    """How to speak to one eDoc platform."""

    accept_existing: bool = False
    """Take ``ExistDoc`` for the receipt of an earlier attempt."""


class BkavRESTConnector(HTTPConnector):
    """An agency's way to a Bkav eDoc platform.

    Args:
        base_url: Address of the platform, without ``/EdocService``.
        organ_id: The code of the agency.
        secret: Returns its token.
        name: What errors and attempts call it.
        options: How to speak to this platform.
        tls_passphrase: Returns the passphrase of an encrypted client key.

    Raises:
        ConfigurationError: The address or a TLS file cannot be used.
    """

    reports_sent = False
    acknowledges_failure = False
    tells_recipient = False
    objections = _OBJECTIONS

    def __init__(
        self,
        base_url: str,
        organ_id: str,
        *,
        secret: SecretCallback,
        name: str = "bkav-rest",
        options: BkavRESTOptions = BkavRESTOptions(),
        tls_passphrase: SecretCallback | None = None,
    ) -> None:
        self._secret = KeptSecret(secret, f"{name}: {organ_id}", name=name, system_id=organ_id)
        super().__init__(
            base_url, secrets=[self._secret], name=name, options=options, tls_passphrase=tls_passphrase
        )
        self._organ_id = organ_id
        self._options = options

    def _credentials(self) -> tuple[dict[str, str], bool]:
        return {"organid": self._organ_id, "authorization": self._secret.value()}, False

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        answer = self._call("GET", "/getPendingDocIds", {"type": _KINDS[kind]})
        rows = answer.get("data")
        if rows is None:
            # An older release lists the bare numbers.
            rows = answer.get("docIDs") or []
        if not isinstance(rows, list):
            raise self._bad_answer("data")
        numbers = [text_of(row if isinstance(row, dict) else {"docId": row}, "docId") for row in rows]
        return [
            RemoteMessage(f"{_KINDS[kind]}-{number}", kind, None, None, TransportStatus.INITIAL, None)
            for number in numbers
            if number
        ]

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        headers = {**_place(doc_id), "Content-Length": "0"}
        self._perform(
            lambda credentials: self._open("POST", f"{_BASE}/getDocument", {**credentials, **headers}),
            lambda answer: self._read_package(answer, stream),
        )

    def _read_package(self, answer: http.StreamedAnswer, stream: BinaryIO) -> None:
        self._raise_for_status(answer)
        self._checked(self._unwrap(answer, stream, json.loads))

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        if status is TransportStatus.PROCESSING:
            return
        # An unusable package was received too; otherwise it would be listed for ever.
        self._call("POST", "/confirmReceived", {**_place(doc_id), "Content-Length": "0"})

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        # The platform takes the sender from the package.
        del sender_code
        digest = file_digest(path).hex()
        headers = {
            "type": _KINDS[kind],
            "hash-edoc": digest,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }
        try:
            answer = self._perform(
                lambda credentials: self._open(
                    "POST", f"{_BASE}/sendDocument", {**credentials, **headers}, file_chunks(path, size)
                ),
                self._read_object,
            )
        except RefusedError as error:
            if self._options.accept_existing and error.values.get("remote_code") == _EXISTS:
                return f"{_KINDS[kind]}-{_EXISTS}-{digest[:32]}"
            raise
        number = text_of(answer, "docId")
        return f"{_KINDS[kind]}-{number}" if number else ""

    def _agencies(self) -> list[RemoteAgency]:
        path = "/getOrganizations?" + urlencode({"organId": self._organ_id})
        answer = self._call("GET", path, {}, max_bytes=MAX_DIRECTORY_BYTES)
        rows = answer.get("organizations")
        if rows is None:
            rows = answer.get("data") or []
        if not isinstance(rows, list):
            raise self._bad_answer("organizations")
        return [
            RemoteAgency(
                code=text_of(row, "organId") or "",
                name=text_of(row, "organName") or "",
                email=text_of(row, "email"),
            )
            for row in rows
            if isinstance(row, dict)
        ]

    def _call(
        self, method: str, path: str, headers: dict[str, str], *, max_bytes: int = http.MAX_ANSWER_BYTES
    ) -> dict[str, Any]:  # JSON
        return self._perform(
            lambda credentials: self._open(method, _BASE + path, {**credentials, **headers}),
            lambda answer: self._read_object(answer, max_bytes=max_bytes),
        )

    def _read_object(
        self, answer: http.StreamedAnswer, *, max_bytes: int = http.MAX_ANSWER_BYTES
    ) -> dict[str, Any]:  # JSON
        if not 200 <= answer.status < 300 and answer.media_type != JSON_TYPE:
            self._raise_for_status(answer)
        fields = self._read_json(answer, max_bytes=max_bytes)
        if not 200 <= answer.status < 300:
            code, message = _reason(fields) if isinstance(fields, dict) else (None, "")
            self._raise_for_status(answer, code=code, message=message)
        return self._checked(fields)

    def _checked(self, fields: object) -> dict[str, Any]:  # JSON
        if not isinstance(fields, dict) or text_of(fields, "status") is None:
            raise self._bad_answer("status")
        # A status that could not be added is answered with code 0 and the word "Error": the word counts.
        if text_of(fields, "status") != "Success":
            code, message = _reason(fields)
            fault = _FAULTS.get(code or "", Fault.NEVER)
            raise error_for_code(self.name, code or text_of(fields, "code") or "-", message, fault)
        return fields


def _reason(fields: dict[str, Any]) -> tuple[str | None, str]:  # JSON
    errors = fields.get("errors")
    rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
    message = "; ".join(text_of(row, "description") or "" for row in rows)
    return (text_of(rows[0], "code") if rows else None), message


def _place(doc_id: str) -> dict[str, str]:
    kind, _, number = doc_id.partition("-")
    if kind not in _KINDS.values() or not number:
        raise UsageError("connector.bad-doc-id", doc_id=doc_id)
    return {"type": kind, "docid": number}
