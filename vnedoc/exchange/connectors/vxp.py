"""The national axis by its adapter API (VXP): HTTP calls whose headers are signed with HMAC-SHA256."""

from __future__ import annotations

import dataclasses
import datetime
import json
import threading
from typing import TYPE_CHECKING, Any

from vnedoc._internal import http
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConfigurationError
from vnedoc.exchange import _vxp
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors._http import (
    MAX_DIRECTORY_BYTES,
    HTTPConnector,
    HTTPOptions,
    KeptSecret,
    file_chunks,
    file_digest,
)
from vnedoc.exchange.connectors._json_rows import message_of, object_rows, status_of, text_of
from vnedoc.exchange.connectors.base import (
    Fault,
    Objection,
    RemoteAgency,
    RemoteMessage,
    SentReport,
    error_for_code,
)

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.exchange.states import TransportStatus
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["AGENCY_CALLS", "VXPConnector", "VXPOptions"]

# The axis's own client sends the folder of its disk here; a constant says nothing of ours.
_FILE_PATH = "store"
AGENCY_CALLS = ("list", "qd20", "units")
"""Which call gives the agencies: ``getAgenciesList``, ``getAgenciesListQD20`` by level, ``getSynchronizeUnit``."""
_LEVELS = ("1", "2", "3", "4")
# Codes of answers that say "try again". The national axis publishes no table; 20 is "trouble of the axis" on a
# provincial axis that republishes its calls. Every other code says no.
_FAULTS = {_vxp.ErrorCode.INTERNAL.value: Fault.LATER}
# Of the same table, and of vnedoc's own hub; what the national axis itself answers with is not published.
_OBJECTIONS = {
    _vxp.ErrorCode.UNKNOWN_SENDER.value: Objection.SENDER,
    _vxp.ErrorCode.UNKNOWN_RECIPIENT.value: Objection.RECIPIENT,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VXPOptions(HTTPOptions):
    """How to speak to one adapter."""

    padded_file_hash: bool = False
    """Write ``hash-file`` with the leading zero of each byte; the axis's own client does not."""
    use_download: bool = False
    """Fetch with ``downloadEdoc`` (raw bytes, newer adapters) in place of ``getEdoc``."""
    agency_call: str = "list"
    """Which call gives the agencies; one of :data:`AGENCY_CALLS`."""


class VXPConnector(HTTPConnector):
    """A system's way to the national axis, or to a hub that speaks its API.

    Args:
        base_url: Address of the adapter; the names of the calls are appended to it.
        system_id: The id that the axis gave to this system.
        secret: Returns the secret of the system; called when it is first needed, and again when it does not work.
        name: What errors and attempts call it.
        options: How to speak to this adapter.
        tls_passphrase: Returns the passphrase of an encrypted client key.
        clock: Tells the time.

    Raises:
        ConfigurationError: The address, a TLS file or an option cannot be used.
    """

    objections = _OBJECTIONS

    def __init__(
        self,
        base_url: str,
        system_id: str,
        *,
        secret: SecretCallback,
        name: str = "vxp",
        options: VXPOptions = VXPOptions(),
        tls_passphrase: SecretCallback | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        if options.agency_call not in AGENCY_CALLS:
            raise ConfigurationError(
                "connector.bad-option", name=name, key="agency_call", reason=", ".join(AGENCY_CALLS)
            )
        self._secret = KeptSecret(secret, f"{name}: {system_id}", name=name, system_id=system_id)
        super().__init__(
            base_url, secrets=[self._secret], name=name, options=options, tls_passphrase=tls_passphrase
        )
        self._system_id = system_id
        self._options = options
        self._clock = clock
        self._last_timestamp: datetime.datetime | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"VXPConnector({self._base_url!r}, {self._system_id!r})"

    def count_received(self, kind: PackageKind) -> int:
        """Return how many packages of a kind wait for this system; newer adapters only.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        if kind is PackageKind.STATUS:
            answer = self._call(_vxp.COUNT_STATUSES_PATH, [], b"{}")
        else:
            answer = self._call(_vxp.COUNT_DOCUMENTS_PATH, [("messagetype", _vxp.MESSAGE_TYPES[kind])], b"{}")
        if answer.count is None:
            raise self._bad_answer("count")
        return answer.count

    def register_agency(self, agency: RemoteAgency) -> None:
        """Register an agency below one of this system's.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        fields = {
            "id": "",
            "pcode": agency.parent_code or "",
            "code": agency.code,
            "name": agency.name,
            "mail": agency.email or "",
            "mobile": "",
            "fax": "",
        }
        body = json.dumps(fields, ensure_ascii=False).encode()
        self._call(_vxp.REGISTER_PATH, [("agencycode", agency.code)], body)

    def delete_agency(self, code: str) -> None:
        """Take an agency of this system off the axis.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        self._call(_vxp.UNREGISTER_PATH, [("agencycode", code)], b"{}")

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        return [
            message_of(row, kind, created_key="created_time") for row in self._list(_vxp.RECEIVED_PATH, kind)
        ]

    def _list_sent(self, kind: PackageKind) -> list[SentReport]:
        return [
            SentReport(
                sender_doc_id=text_of(row, "senderDocId") or "",
                receiver_doc_id=text_of(row, "receiverDocId"),
                recipient_code=text_of(row, "toCode") or "",
                status=status_of(text_of(row, "receiveStatus")),
            )
            for row in self._list(_vxp.SENT_PATH, kind)
        ]

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        parameters = [("docId", doc_id), ("filePath", _FILE_PATH)]
        if self._options.use_download:
            self._perform(
                lambda _: self._open("GET", _vxp.DOWNLOAD_PATH, self._headers(parameters)),
                lambda answer: self._read_file(answer, stream),
            )
        else:
            self._perform(
                lambda _: self._open("POST", _vxp.FETCH_PATH, self._headers(parameters), b"{}"),
                lambda answer: self._read_encoded(answer, stream),
            )

    def _read_file(self, answer: http.StreamedAnswer, stream: BinaryIO) -> None:
        if answer.status != 200 or answer.media_type == _vxp.JSON_TYPE:
            self._read_envelope(answer)
            raise self._bad_answer("no file")
        stream.writelines(answer.chunks(max_bytes=self.max_package_bytes))

    def _read_encoded(self, answer: http.StreamedAnswer, stream: BinaryIO) -> None:
        if answer.status != 200:
            self._read_envelope(answer)
        self._raise_refusal(self._unwrap(answer, stream, _vxp.Answer.from_json), answer)

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        # The order and the spelling "docid" are those of the axis's own client.
        self._call(_vxp.STATUS_PATH, [("docid", doc_id)], b"{}", after=[("status", status.value)])

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        parameters = [
            ("servicetype", _vxp.SERVICE_TYPE),
            ("messagetype", _vxp.MESSAGE_TYPES[kind]),
            ("hash-file", _vxp.file_hash(file_digest(path), padded=self._options.padded_file_hash)),
            ("from", sender_code),
        ]
        length = str(size + len(_vxp.BODY_TAIL))

        def request(_: object) -> contextlib.AbstractContextManager[http.StreamedAnswer]:
            headers = self._headers(parameters, content_type=_vxp.OCTET_TYPE)
            return self._open(
                "POST", _vxp.SEND_PATH, {**headers, "Content-Length": length}, _body(path, size)
            )

        return self._perform(request, self._read_envelope).doc_id or ""

    def _agencies(self) -> list[RemoteAgency]:
        call = self._options.agency_call
        if call == "qd20":
            requests = [(_vxp.AGENCY_QD20_PATH, [("level", level)]) for level in _LEVELS]
        else:
            requests = [(_vxp.UNITS_PATH if call == "units" else _vxp.AGENCY_PATH, [])]
        answers = [
            self._call(path, parameters, b"", max_bytes=MAX_DIRECTORY_BYTES) for path, parameters in requests
        ]
        rows = [row for answer in answers for row in object_rows(answer.data, name=self.name)]
        codes = {text_of(row, "id"): text_of(row, "code") for row in rows}
        return [
            RemoteAgency(
                code=text_of(row, "code") or "",
                name=text_of(row, "name") or "",
                parent_code=codes.get(text_of(row, "pid")),
                email=text_of(row, "mail"),
                old_code=text_of(row, "code102") or text_of(row, "oldCode"),
            )
            for row in rows
            if text_of(row, "deleted") not in {"1", "true"}
        ]

    def _list(self, path: str, kind: PackageKind) -> list[dict[str, Any]]:  # JSON
        parameters = [("servicetype", _vxp.SERVICE_TYPE), ("messagetype", _vxp.MESSAGE_TYPES[kind])]
        return object_rows(self._call(path, parameters, b"").data, name=self.name)

    def _call(
        self,
        path: str,
        parameters: list[tuple[str, str]],
        content: bytes,
        *,
        after: list[tuple[str, str]] | None = None,
        max_bytes: int = http.MAX_ANSWER_BYTES,
    ) -> _vxp.Answer:
        return self._perform(
            lambda _: self._open("POST", path, self._headers(parameters, after=after or []), content),
            lambda answer: self._read_envelope(answer, max_bytes=max_bytes),
        )

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
        return _vxp.request_headers(signed, self._secret.value())

    def _timestamp(self) -> str:
        """Return the time, never the same millisecond twice: equal requests would look like a replay."""
        with self._lock:
            now = self._clock()
            now -= datetime.timedelta(microseconds=now.microsecond % 1000)
            if self._last_timestamp is not None and now <= self._last_timestamp:
                now = self._last_timestamp + datetime.timedelta(milliseconds=1)
            self._last_timestamp = now
        return _vxp.timestamp(now)

    def _read_envelope(
        self, answer: http.StreamedAnswer, *, max_bytes: int = http.MAX_ANSWER_BYTES
    ) -> _vxp.Answer:
        if not 400 <= answer.status < 500:
            # Of other trouble an envelope says nothing that would change what is done.
            self._raise_for_status(answer)
        try:
            envelope = _vxp.Answer.from_json(answer.read(max_bytes=max_bytes))
        except (ValueError, RecursionError) as exc:
            self._raise_for_status(answer)
            raise self._bad_answer(str(exc)) from exc
        self._raise_refusal(envelope, answer)
        return envelope

    def _raise_refusal(self, envelope: _vxp.Answer, answer: http.StreamedAnswer) -> None:
        code = None if envelope.ok else envelope.error_code
        self._raise_for_status(answer, code=code, message=envelope.error_text)
        if not envelope.ok:
            fault = _FAULTS.get(envelope.error_code, Fault.NEVER)
            message = envelope.error_text or f"HTTP {answer.status}"
            raise error_for_code(self.name, envelope.error_code, message, fault)


def _body(path: Path, size: int) -> Iterator[bytes]:
    yield from file_chunks(path, size)
    yield _vxp.BODY_TAIL
