"""An exchange service behind X-Road security servers (NDXP's technology), by the X-Road Message Protocol for REST.

Each request goes to our own security server, names us in ``X-Road-Client`` and the service in its path:
``/r1/INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE/…``. Our security server is the only one that we authenticate to, with a
TLS client certificate where it asks for one; there is no secret of ours on the wire.

Sending is as a pilot in Vietnam has it: ``POST document/edocs/new`` and ``document/status/new``, a form with the
package in ``file``, answered with 201. That pilot pushes packages to each recipient; no call for fetching is known.
The calls for receiving, acknowledging and listing agencies are those of vnedoc's own hub.
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vnedoc._internal import http
from vnedoc.errors import ConfigurationError
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors._http import (
    JSON_TYPE,
    MAX_DIRECTORY_BYTES,
    Form,
    HTTPConnector,
    HTTPOptions,
)
from vnedoc.exchange.connectors._json_rows import message_of, object_rows, text_of
from vnedoc.exchange.connectors.base import (
    Fault,
    Objection,
    RemoteAgency,
    RemoteMessage,
    error_for_code,
    is_doc_id,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.exchange.states import TransportStatus
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["XRoadConnector", "XRoadOptions", "is_client_id", "is_service_id"]

_PATHS = {PackageKind.DOCUMENT: "document/edocs", PackageKind.STATUS: "document/status"}
# X-Road forbids control characters, "%" is left to the encoding, and dots alone would climb in a path.
_PART = r"(?!\.{1,2}(?:/|$))[^\x00-\x20\x7f/\\;:%]{1,100}"
_CLIENT = re.compile(rf"{_PART}(?:/{_PART}){{2,3}}")
_SERVICE = re.compile(rf"{_PART}(?:/{_PART}){{3,4}}")
# The last word of an error of X-Road that a person must see to; what begins with "Client" is a fault of ours too.
_OURS = frozenset(
    {
        "AccessDenied",
        "AuthenticationFailed",
        "SslAuthenticationFailed",
        "UnknownMember",
        "UnknownService",
    }
)
# Of vnedoc's own hub; no code of another service is known.
_OBJECTIONS = {
    ErrorCode.UNKNOWN_SENDER.value: Objection.SENDER,
    ErrorCode.UNKNOWN_RECIPIENT.value: Objection.RECIPIENT,
}


def is_client_id(value: str) -> bool:
    """Tell whether a text names a client: instance, class, member and, if there is one, subsystem."""
    return _CLIENT.fullmatch(value) is not None


def is_service_id(value: str) -> bool:
    """Tell whether a text names a service: that of its provider, and the code of the service."""
    return _SERVICE.fullmatch(value) is not None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class XRoadOptions(HTTPOptions):
    """Which service, behind which security server."""

    service: str
    """The service: ``INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE``; the subsystem may be missing."""


class XRoadConnector(HTTPConnector):
    """A system's way to an exchange service over X-Road.

    Args:
        base_url: Address of our own security server.
        client: Who we are: ``INSTANCE/CLASS/MEMBER/SUBSYSTEM``.
        name: What errors and attempts call it.
        options: Which service.
        tls_passphrase: Returns the passphrase of an encrypted client key.

    Raises:
        ConfigurationError: An identifier, the address or a TLS file cannot be used.
    """

    reports_sent = False
    objections = _OBJECTIONS

    def __init__(
        self,
        base_url: str,
        client: str,
        *,
        options: XRoadOptions,
        name: str = "xroad",
        tls_passphrase: SecretCallback | None = None,
    ) -> None:
        if not is_client_id(client):
            raise ConfigurationError("connector.bad-option", name=name, key="system_id", reason=client)
        if not is_service_id(options.service):
            raise ConfigurationError("connector.bad-option", name=name, key="service", reason=options.service)
        super().__init__(base_url, secrets=(), name=name, options=options, tls_passphrase=tls_passphrase)
        # Each part is encoded by itself (protocol, 4.2); the slashes between them are not.
        self._client_id = quote(client, safe="/")
        self._prefix = f"/r1/{quote(options.service, safe='/')}/"

    def _credentials(self) -> tuple[dict[str, str], bool]:
        return {"X-Road-Client": self._client_id, "X-Road-Id": str(uuid.uuid4())}, False

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        return [
            dataclasses.replace(message, doc_id=f"{kind.value}-{message.doc_id}")
            for row in object_rows(self._call("GET", _PATHS[kind]), name=self.name)
            for message in [message_of(row, kind)]
        ]

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        path = _place(doc_id)

        def read(answer: http.StreamedAnswer) -> None:
            if not 200 <= answer.status < 300:
                self._read(answer)
            stream.writelines(answer.chunks(max_bytes=self.max_package_bytes))

        self._perform(lambda credentials: self._open("GET", self._prefix + path, credentials), read)

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        body = json.dumps({"status": status.value}).encode()
        answer = self._call("PUT", f"{_place(doc_id)}/status", body)
        if not isinstance(answer, dict) or text_of(answer, "status") != status.value:
            raise self._bad_answer("status")

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        form = Form({}, "file", path, size)
        headers = {"from": sender_code, **form.headers()}
        place = f"{self._prefix}{_PATHS[kind]}/new"

        def read(answer: http.StreamedAnswer) -> str:
            fields = self._read(answer)
            if answer.status != 201:
                raise self._bad_answer(f"HTTP {answer.status}")
            number = text_of(fields, "docId") if isinstance(fields, dict) else None
            # A service that gives no id of its own: the message has one in X-Road's logs on both sides.
            number = number or answer.header("X-Road-Id") or ""
            return f"{kind.value}-{number}" if is_doc_id(number) else ""

        return self._perform(
            lambda credentials: self._open("POST", place, {**credentials, **headers}, form.chunks()), read
        )

    def _agencies(self) -> list[RemoteAgency]:
        rows = self._call("GET", "agencies", max_bytes=MAX_DIRECTORY_BYTES)
        return [
            RemoteAgency(
                code=text_of(row, "code") or "",
                name=text_of(row, "name") or "",
                parent_code=text_of(row, "parentCode"),
                email=text_of(row, "email"),
                old_code=text_of(row, "oldCode"),
            )
            for row in object_rows(rows, name=self.name)
        ]

    def _call(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        max_bytes: int = http.MAX_ANSWER_BYTES,
    ) -> Any:  # JSON
        headers = {} if content is None else {"Content-Type": JSON_TYPE}
        return self._perform(
            lambda credentials: self._open(method, self._prefix + path, {**credentials, **headers}, content),
            lambda answer: self._read(answer, max_bytes=max_bytes),
        )

    def _read(self, answer: http.StreamedAnswer, *, max_bytes: int = http.MAX_ANSWER_BYTES) -> Any:  # JSON
        road_error = answer.header("X-Road-Error")
        if road_error is None and answer.media_type != JSON_TYPE:
            self._raise_for_status(answer)
            # To its end: an answer that breaks off confirms nothing.
            answer.read(max_bytes=max_bytes)
            return None
        fields = self._read_json(answer, max_bytes=max_bytes)
        described = fields if isinstance(fields, dict) else {}
        if road_error is not None:
            # It happened on the way; the service never saw the message, or its answer was lost.
            message = text_of(described, "message") or f"HTTP {answer.status}"
            ours = road_error.startswith("Client.") or road_error.rpartition(".")[2] in _OURS
            raise error_for_code(self.name, road_error, message, Fault.OURS if ours else Fault.LATER)
        self._raise_for_status(
            answer, code=text_of(described, "code"), message=text_of(described, "message") or ""
        )
        return fields


def _place(doc_id: str) -> str:
    for kind, path in _PATHS.items():
        if doc_id.startswith(f"{kind.value}-"):
            return f"{path}/{quote(doc_id.removeprefix(f'{kind.value}-'))}"
    return f"{_PATHS[PackageKind.DOCUMENT]}/{quote(doc_id)}"
