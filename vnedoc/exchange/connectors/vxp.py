"""The national axis by its adapter API (VXP): HTTP calls whose headers are signed with HMAC-SHA256."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

from vnedoc._internal import http
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, CredentialError, InputError, RefusedError, UsageError
from vnedoc.exchange import _vxp
from vnedoc.exchange.connectors._vxp_wire import EnvelopeError, split_envelope
from vnedoc.exchange.connectors.base import (
    DEFAULT_MAX_PACKAGE_BYTES,
    Connector,
    RemoteAgency,
    RemoteMessage,
    SentReport,
)
from vnedoc.exchange.states import TransportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["VXPConnector", "VXPOptions"]

CHUNK_BYTES = 256 * 1024
# "Try again" in words of HTTP, although they are numbers of the 4xx family.
_PASSING_TROUBLE = frozenset({408, 425, 429})
# The axis's own client sends the folder of its disk here; a constant says nothing of ours.
_FILE_PATH = "store"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VXPOptions:
    """How to speak to one adapter."""

    timeout_s: float = 60.0
    """Time limit for each step of a call: connecting, one read, one write."""
    max_package_bytes: int = DEFAULT_MAX_PACKAGE_BYTES
    """The largest package that is sent or fetched."""
    padded_file_hash: bool = False
    """Write ``hash-file`` with the leading zero of each byte; the axis's own client does not."""
    use_download: bool = False
    """Fetch with ``downloadEdoc`` (raw bytes, newer adapters) in place of ``getEdoc``."""


class VXPConnector(Connector):
    """A system's way to the national axis, or to a hub that speaks its API.

    Args:
        base_url: Address of the adapter; the names of the calls are appended to it.
        system_id: The id that the axis gave to this system.
        secret: Returns the secret of the system; called once, when it is first needed.
        name: What errors and attempts call it.
        options: How to speak to this adapter.
        clock: Tells the time.
    """

    def __init__(
        self,
        base_url: str,
        system_id: str,
        *,
        secret: SecretCallback,
        name: str = "vxp",
        options: VXPOptions = VXPOptions(),
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        super().__init__(name, max_package_bytes=options.max_package_bytes)
        self._base_url = base_url.rstrip("/")
        self._system_id = system_id
        self._ask_secret = secret
        self._secret: str | None = None
        self._options = options
        self._clock = clock
        self._last_timestamp: datetime.datetime | None = None
        self._lock = threading.Lock()
        self._client = http.make_client(timeout_s=options.timeout_s)

    def __repr__(self) -> str:
        return f"VXPConnector({self._base_url!r}, {self._system_id!r})"

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        return [
            RemoteMessage(
                doc_id=_text(row, "docId") or "",
                kind=kind,
                sender_code=_text(row, "from"),
                recipient_code=_text(row, "to"),
                status=_status(_text(row, "status")),
                created_at=_text(row, "created_time"),
            )
            for row in self._list(_vxp.RECEIVED_PATH, kind)
        ]

    def _list_sent(self, kind: PackageKind) -> list[SentReport]:
        return [
            SentReport(
                sender_doc_id=_text(row, "senderDocId") or "",
                receiver_doc_id=_text(row, "receiverDocId"),
                recipient_code=_text(row, "toCode") or "",
                status=_status(_text(row, "receiveStatus")),
            )
            for row in self._list(_vxp.SENT_PATH, kind)
        ]

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        parameters = [("docId", doc_id), ("filePath", _FILE_PATH)]
        if self._options.use_download:
            headers = self._headers(parameters)
            with http.open_answer(
                self._client, "GET", self._base_url + _vxp.DOWNLOAD_PATH, headers=headers
            ) as answer:
                if answer.status != 200 or answer.media_type == _vxp.JSON_TYPE:
                    self._read_envelope(answer)
                    raise ConnectorError("connector.bad-answer", name=self.name, reason="no file")
                count = 0
                for chunk in answer.chunks(max_bytes=self.max_package_bytes):
                    stream.write(chunk)
                    count += len(chunk)
        else:
            with http.open_answer(
                self._client,
                "POST",
                self._base_url + _vxp.FETCH_PATH,
                headers=self._headers(parameters),
                content=b"{}",
            ) as answer:
                self._check_status(answer)
                # Base64 is a third larger than what it carries; line ends may add to it.
                chunks = answer.chunks(max_bytes=self.max_package_bytes * 3 // 2 + 4096)
                try:
                    rest, count = split_envelope(chunks, stream)
                    envelope = _vxp.Answer.from_json(rest)
                except (EnvelopeError, ValueError, RecursionError) as exc:
                    raise ConnectorError("connector.bad-answer", name=self.name, reason=str(exc)) from exc
                self._raise_refusal(envelope, answer.status)
        if count == 0:
            raise ConnectorError("connector.bad-answer", name=self.name, reason="no data")

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        if status is TransportStatus.INITIAL:
            raise UsageError("connector.bad-acknowledgement", status=status.value)
        # The order and the spelling "docid" are those of the axis's own client.
        self._call(_vxp.STATUS_PATH, [("docid", doc_id)], b"{}", after=[("status", status.value)])

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
        except OSError as exc:
            raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
        parameters = [
            ("servicetype", _vxp.SERVICE_TYPE),
            ("messagetype", _vxp.MESSAGE_TYPES[kind]),
            ("hash-file", _vxp.file_hash(digest, padded=self._options.padded_file_hash)),
            ("from", sender_code),
        ]
        headers = self._headers(parameters, content_type=_vxp.OCTET_TYPE)
        headers["Content-Length"] = str(size + len(_vxp.BODY_TAIL))
        with http.open_answer(
            self._client,
            "POST",
            self._base_url + _vxp.SEND_PATH,
            headers=headers,
            content=_body(path, size),
        ) as answer:
            return self._read_envelope(answer).doc_id or ""

    def _agencies(self) -> list[RemoteAgency]:
        rows = _rows(self._call(_vxp.AGENCY_PATH, [], b""), name=self.name)
        codes = {_text(row, "id"): _text(row, "code") for row in rows}
        return [
            RemoteAgency(
                code=_text(row, "code") or "",
                name=_text(row, "name") or "",
                parent_code=codes.get(_text(row, "pid")),
                email=_text(row, "mail"),
                old_code=_text(row, "oldCode"),
            )
            for row in rows
        ]

    def _list(self, path: str, kind: PackageKind) -> list[dict[str, Any]]:  # JSON
        parameters = [("servicetype", _vxp.SERVICE_TYPE), ("messagetype", _vxp.MESSAGE_TYPES[kind])]
        return _rows(self._call(path, parameters, b""), name=self.name)

    def _call(
        self,
        path: str,
        parameters: list[tuple[str, str]],
        content: bytes,
        *,
        after: list[tuple[str, str]] | None = None,
    ) -> _vxp.Answer:
        headers = self._headers(parameters, after=after or [])
        with http.open_answer(
            self._client, "POST", self._base_url + path, headers=headers, content=content
        ) as answer:
            return self._read_envelope(answer)

    def _headers(
        self,
        parameters: list[tuple[str, str]],
        *,
        after: list[tuple[str, str]] | None = None,
        content_type: str = _vxp.JSON_TYPE,
    ) -> dict[str, str]:
        signed = [
            ("systemid", self._system_id),
            *parameters,
            ("timestamp", self._timestamp()),
            (_vxp.CONTENT_TYPE, content_type),
            *(after or []),
        ]
        headers = _vxp.request_headers(signed, self._secret_text())
        # An answer that unpacks to a thousand times its size would slip past the limits.
        headers["Accept-Encoding"] = "identity"
        return headers

    def _timestamp(self) -> str:
        """Return the time, never the same millisecond twice: equal requests would look like a replay."""
        with self._lock:
            now = self._clock()
            now -= datetime.timedelta(microseconds=now.microsecond % 1000)
            if self._last_timestamp is not None and now <= self._last_timestamp:
                now = self._last_timestamp + datetime.timedelta(milliseconds=1)
            self._last_timestamp = now
        return _vxp.timestamp(now)

    def _secret_text(self) -> str:
        if self._secret is None:
            secret = self._ask_secret(f"{self.name}: {self._system_id}")
            if not secret:
                raise CredentialError("connector.no-secret", name=self.name, system_id=self._system_id)
            self._secret = secret
        return self._secret

    def _read_envelope(self, answer: http.StreamedAnswer) -> _vxp.Answer:
        self._check_status(answer)
        try:
            envelope = _vxp.Answer.from_json(answer.read())
        except (ValueError, RecursionError) as exc:
            if 400 <= answer.status < 500:
                raise self._refusal(str(answer.status), f"HTTP {answer.status}", answer.status) from exc
            raise ConnectorError("connector.bad-answer", name=self.name, reason=str(exc)) from exc
        self._raise_refusal(envelope, answer.status)
        return envelope

    def _check_status(self, answer: http.StreamedAnswer) -> None:
        """Let through what carries an envelope: 200, and refusals."""
        status = answer.status
        if status == 200 or (400 <= status < 500 and status not in _PASSING_TROUBLE):
            return
        raise ConnectorError("connector.trouble", name=self.name, status=status)

    def _raise_refusal(self, envelope: _vxp.Answer, status: int) -> None:
        if envelope.ok and status == 200:
            return
        code = str(status) if envelope.ok else envelope.error_code
        raise self._refusal(code, envelope.error_text or f"HTTP {status}", status)

    def _refusal(self, code: str, message: str, status: int) -> RefusedError:
        # A wrong secret or clock is no fault of the message: it keeps its place in the queue.
        kind = "connector.not-let-in" if status in {401, 403} else "connector.refused"
        return RefusedError(
            kind, name=self.name, remote_code=_shown(code, 64), remote_message=_shown(message, 1000)
        )


def _body(path: Path, size: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            # Exactly as much as was announced, or the request would be malformed.
            while size > 0:
                chunk = stream.read(min(size, CHUNK_BYTES))
                if not chunk:
                    raise InputError("connector.file-changed", path=path)
                size -= len(chunk)
                yield chunk
    except OSError as exc:
        raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
    yield _vxp.BODY_TAIL


def _rows(answer: _vxp.Answer, *, name: str) -> list[dict[str, Any]]:  # JSON
    rows: object = answer.data
    if isinstance(rows, str):
        # Some adapters put the list as JSON text into the envelope.
        try:
            rows = json.loads(rows)
        except (ValueError, RecursionError) as exc:
            raise ConnectorError("connector.bad-answer", name=name, reason=str(exc)) from exc
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise ConnectorError("connector.bad-answer", name=name, reason="data")
    return [row for row in rows if isinstance(row, dict)]


def _shown(text: str, limit: int) -> str:
    """Return a text of the other side as it may stand on a terminal and in a log."""
    return "".join(char if char.isprintable() else " " for char in text[:limit])


def _text(row: dict[str, Any], key: str) -> str | None:  # JSON
    value = row.get(key)
    return None if value is None or value == "" else str(value)


def _status(value: str | None) -> TransportStatus | None:
    try:
        return TransportStatus((value or "").lower())
    except ValueError:
        return None
