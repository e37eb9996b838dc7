"""The hub's VXP wire: the calls of the national axis's adapter API, answered from the store.

Only signed parameters are used, and the body only after its hash was compared with the signed one. A package is
taken over in this order: body to a temporary file, hash, read and judged, durable payload, committed rows, answer.
Whatever is killed, an answer was given only for what is on the disk.

The national axis publishes its calls, not its rules. These are choices of this hub:

* A package with a recipient that is not registered is refused as a whole, with the codes in ``ErrorDesc``: a sender
  that was told "OK" must not have to find out later who was left out.
* Refusals come with HTTP 200 and ``FAIL``, as clients of the axis expect; only a request that is not let in (401),
  too large (413), too slow (408) or met by trouble of the hub itself (500) has a status of its own.
* The lists show deliveries that are ``initial`` or ``processing``, the oldest first, a thousand at a time.
* ``hash-file`` is checked, with or without leading zeros, over the body with or without the appended line end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from vnedoc._internal.clock import vietnam
from vnedoc.exchange import _vxp
from vnedoc.exchange._vxp import Answer, ErrorCode
from vnedoc.exchange.hub import intake
from vnedoc.exchange.hub.auth import authenticate
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import ConflictError, UnknownRecipientsError, UnknownSenderError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.hub.auth import Caller
    from vnedoc.exchange.hub.options import HubOptions
    from vnedoc.exchange.stores.hub import HubDelivery, HubStore

__all__ = ["VXPWire"]

logger = logging.getLogger("vnedoc.hub")

# A multiple of three bytes becomes base64 without padding, so that pieces can be joined.
_CHUNK_BYTES = 3 * 64 * 1024
# How much of an unwanted body is read, so that the caller gets to read our answer.
_DRAIN_BYTES = 1024 * 1024
_DRAIN_TIMEOUT_S = 5.0
_KINDS = {text: kind for kind, text in _vxp.MESSAGE_TYPES.items()}
_MAX_ERROR_CODES = 50


class VXPWire:
    """Answers the VXP calls.

    Args:
        store: The memory of the hub.
        options: How it behaves.
        clock: Tells the time.
    """

    def __init__(
        self, store: HubStore, *, options: HubOptions, clock: Callable[[], datetime.datetime]
    ) -> None:
        self._store = store
        self._options = options
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes of all calls."""
        calls = [
            (_vxp.SEND_PATH, "POST", self._send),
            (_vxp.RECEIVED_PATH, "POST", self._received),
            (_vxp.SENT_PATH, "POST", self._sent),
            (_vxp.FETCH_PATH, "POST", self._fetch),
            (_vxp.DOWNLOAD_PATH, "GET", self._download),
            (_vxp.STATUS_PATH, "POST", self._status),
            (_vxp.AGENCY_PATH, "POST", self._agencies),
        ]
        return [Route(path, self._guarded(call), methods=[method]) for path, method, call in calls]

    def _guarded(
        self, call: Callable[[Request, Caller], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                caller = await run_in_threadpool(self._let_in, request)
                return await call(request, caller)
            except RefusalError as refusal:
                with contextlib.suppress(ClientDisconnect):
                    await _drain(request)
                return _envelope(refusal.answer(self._options.language), status=refusal.status)
            except ClientDisconnect:
                # Nobody is left to read this; nothing was taken over.
                return Response(status_code=400)
            except Exception:
                logger.exception("a request to %s failed", request.url.path)
                trouble = RefusalError(ErrorCode.INTERNAL, "hub.internal", status=500)
                return _envelope(trouble.answer(self._options.language), status=trouble.status)

        return answer

    def _let_in(self, request: Request) -> Caller:
        now = self._clock()
        caller = authenticate(
            request.headers, secret_of=self._store.secret, now=now, window=self._options.clock_window
        )
        if not self._store.admit(caller.hash_header, now=now, expires_at=caller.expires_at):
            raise RefusalError(ErrorCode.UNAUTHENTICATED, "hub.replayed", status=401)
        return caller

    async def _send(self, request: Request, caller: Caller) -> Response:
        kind = _kind(caller)
        sender = caller.parameter("from")
        expected_hash = caller.parameter("hash-file")
        # Known from the headers alone; so no body of a stranger's name is read.
        if not await run_in_threadpool(self._store.is_registered, caller.system_id, sender):
            raise _unknown_sender(sender)
        with self._store.payloads.temporary() as path:
            try:
                # A caller that drips holds a connection and a file, but not for ever.
                async with asyncio.timeout(self._options.upload_timeout_s):
                    await self._receive_body(request, path, expected_hash)
            except TimeoutError as exc:
                raise RefusalError(ErrorCode.INVALID_FILE, "hub.too-slow", status=408) from exc
            receipt = await run_in_threadpool(self._take, path, caller, kind, sender)
        return Response(receipt, media_type=_vxp.JSON_TYPE)

    async def _receive_body(self, request: Request, path: Path, expected_hash: str) -> None:
        """Write the file in the body of sendEdoc; the appended line end is not part of it."""
        limit = self._options.max_package_bytes
        tail_length = len(_vxp.BODY_TAIL)
        digest = hashlib.sha256()
        size = 0
        tail = b""
        with path.open("xb") as stream:
            async for chunk in request.stream():
                tail += chunk
                piece, tail = tail[:-tail_length], tail[-tail_length:]
                size += len(piece)
                if size > limit:
                    raise RefusalError(ErrorCode.INVALID_FILE, "hub.too-large", status=413, limit=limit)
                digest.update(piece)
                stream.write(piece)
            # Clients that do not append the line end signed the whole body.
            if not (tail == _vxp.BODY_TAIL and _vxp.is_file_hash(expected_hash, digest.digest())):
                digest.update(tail)
                stream.write(tail)
                if not _vxp.is_file_hash(expected_hash, digest.digest()):
                    raise RefusalError(ErrorCode.INVALID_FILE, "hub.wrong-file-hash")

    def _take(self, path: Path, caller: Caller, kind: PackageKind, sender: str) -> str:
        package = intake.route_package(path, kind=kind, sender=sender)
        payload = self._store.payloads.adopt(path)
        try:
            return self._store.take(
                package,
                payload,
                system_id=caller.system_id,
                at=self._clock(),
                receipt=lambda doc_id: Answer(ok=True, doc_id=doc_id).to_json(),
            )
        except UnknownSenderError as exc:
            raise _unknown_sender(sender) from exc
        except UnknownRecipientsError as exc:
            codes = ", ".join(exc.codes[:_MAX_ERROR_CODES]) or "-"
            raise RefusalError(ErrorCode.UNKNOWN_RECIPIENT, "hub.unknown-recipients", codes=codes) from exc
        except ConflictError as exc:
            raise RefusalError(ErrorCode.CONFLICT, "hub.conflict", document_id=package.document_id) from exc

    async def _received(self, _request: Request, caller: Caller) -> Response:
        rows = await run_in_threadpool(self._store.waiting, caller.system_id, _kind(caller))
        return _envelope(
            Answer(
                ok=True,
                data=[
                    {
                        "docId": row.doc_id,
                        "serviceType": _vxp.SERVICE_TYPE,
                        "messageType": _vxp.MESSAGE_TYPES[row.kind],
                        "created_time": _time(row.received_at),
                        "updated_time": _time(row.updated_at),
                        "from": row.sender_code,
                        "to": row.recipient_code,
                        "status": row.status.value,
                        "status_desc": row.status_text or "",
                    }
                    for row in rows
                ],
            )
        )

    async def _sent(self, _request: Request, caller: Caller) -> Response:
        rows = await run_in_threadpool(self._store.sent, caller.system_id, _kind(caller))
        return _envelope(
            Answer(
                ok=True,
                data=[
                    {
                        "serviceType": _vxp.SERVICE_TYPE,
                        "messageType": _vxp.MESSAGE_TYPES[row.kind],
                        "senderDocId": row.sender_doc_id,
                        "receiverDocId": row.doc_id,
                        "fromCode": row.sender_code,
                        "toCode": row.recipient_code,
                        "title": row.title,
                        "notation": row.notation,
                        "sentTime": _time(row.received_at),
                        "sendStatus": TransportStatus.DONE.value,
                        "sendStatusDesc": "",
                        "receivedTime": _time(row.updated_at) if row.status is TransportStatus.DONE else "",
                        "receiveStatus": row.status.value,
                        "receiveStatusDesc": row.status_text or "",
                    }
                    for row in rows
                ],
            )
        )

    async def _fetch(self, _request: Request, caller: Caller) -> Response:
        delivery = await self._delivery(caller)
        head, tail = (
            Answer(ok=True, doc_id=delivery.doc_id, data="|").to_json().encode().split(b"|", maxsplit=1)
        )
        path = self._store.payloads.path(delivery.payload.sha256)
        length = len(head) + 4 * -(-delivery.payload.size // 3) + len(tail)
        return StreamingResponse(
            _encoded(path, head, tail),
            media_type=_vxp.JSON_TYPE,
            headers={"Content-Length": str(length)},
        )

    async def _download(self, _request: Request, caller: Caller) -> Response:
        delivery = await self._delivery(caller)
        return FileResponse(self._store.payloads.path(delivery.payload.sha256), media_type=_vxp.OCTET_TYPE)

    async def _delivery(self, caller: Caller) -> HubDelivery:
        doc_id = caller.parameter("docId")
        delivery = await run_in_threadpool(self._store.delivery, caller.system_id, doc_id)
        if delivery is None:
            raise RefusalError(ErrorCode.UNKNOWN_DOCUMENT, "hub.unknown-document", doc_id=doc_id)
        return delivery

    async def _status(self, _request: Request, caller: Caller) -> Response:
        doc_id, word = caller.parameter("docId"), caller.parameter("status")
        try:
            status = TransportStatus(word.lower())
        except ValueError as exc:
            raise RefusalError(
                ErrorCode.BAD_PARAMETER, "hub.bad-parameter", name="status", value=word
            ) from exc
        moved = await run_in_threadpool(
            lambda: self._store.set_status(
                caller.system_id,
                doc_id,
                status,
                text=caller.parameters.get("description"),
                at=self._clock(),
            )
        )
        if moved is None:
            raise RefusalError(ErrorCode.UNKNOWN_DOCUMENT, "hub.unknown-document", doc_id=doc_id)
        if not moved:
            raise RefusalError(ErrorCode.BACKWARDS, "hub.backwards", doc_id=doc_id, word=status.value)
        return _envelope(Answer(ok=True, doc_id=doc_id))

    async def _agencies(self, _request: Request, _caller: Caller) -> Response:
        agencies = await run_in_threadpool(self._store.agencies)
        return _envelope(
            Answer(
                ok=True,
                data=[
                    {
                        # The code serves as id: it is unique, and a parent need not be registered to be named.
                        "id": agency.code,
                        "pid": agency.parent_code or "",
                        "code": agency.code,
                        "name": agency.name,
                        "mail": agency.email or "",
                        "oldCode": agency.old_code or "",
                    }
                    for agency in agencies
                ],
            )
        )


def _kind(caller: Caller) -> PackageKind:
    word = caller.parameter("messagetype")
    kind = _KINDS.get(word.lower())
    if kind is None:
        raise RefusalError(ErrorCode.BAD_PARAMETER, "hub.bad-parameter", name="messagetype", value=word)
    return kind


def _unknown_sender(code: str) -> RefusalError:
    return RefusalError(ErrorCode.UNKNOWN_SENDER, "hub.unknown-sender", code=code)


def _envelope(answer: Answer, *, status: int = 200) -> Response:
    return Response(answer.to_json(), status_code=status, media_type=_vxp.JSON_TYPE)


def _time(moment: datetime.datetime) -> str:
    return f"{vietnam(moment):%Y/%m/%d %H:%M:%S}"


def _encoded(path: Path, head: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield base64.b64encode(chunk)
    yield tail


async def _drain(request: Request) -> None:
    """Read what is left of a small body: a connection cut while the caller writes hides our answer from it."""
    count = 0
    with contextlib.suppress(RuntimeError, TimeoutError):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _DRAIN_BYTES:
                    return
