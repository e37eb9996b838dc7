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
* ``level`` of ``getAgenciesListQD20`` is how many groups a code has; without it, or with 0, all are listed.
* ``registerAgency`` takes what a system may register by itself (:mod:`vnedoc.exchange.hub.registration`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from vnedoc.exchange import _vxp
from vnedoc.exchange._vxp import Answer, ErrorCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import answering, registration
from vnedoc.exchange.hub._wires import Wire, kind_of, load_json, read_parameters
from vnedoc.exchange.hub.auth import Caller, authenticate
from vnedoc.exchange.hub.core import bad_parameter, unknown_sender
from vnedoc.exchange.hub.entrances import Entrance
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import HubAgency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from vnedoc.exchange.hub.core import Hub, Receipt
    from vnedoc.exchange.stores.hub import HubDelivery, ListedDelivery, SentDelivery
    from vnedoc.exchange.stores.hub_secrets import SystemAccess

__all__ = ["routes"]

# What is smaller is not worth a file before it is judged; how many there are at a time is limited.
_MAX_BYTES_IN_MEMORY = 1024 * 1024


def routes(hub: Hub) -> list[Route]:
    """Return the routes of all calls."""
    wire = _VXPWire(hub)
    calls = [
        (_vxp.RECEIVED_PATH, "POST", wire.received),
        (_vxp.SENT_PATH, "POST", wire.sent),
        (_vxp.FETCH_PATH, "POST", wire.fetch),
        (_vxp.DOWNLOAD_PATH, "GET", wire.download),
        (_vxp.STATUS_PATH, "POST", wire.status),
        (_vxp.AGENCY_PATH, "POST", wire.agencies),
        (_vxp.AGENCY_QD20_PATH, "POST", wire.agencies_by_level),
        (_vxp.UNITS_PATH, "POST", wire.units),
        (_vxp.UNREGISTER_PATH, "POST", wire.unregister),
        (_vxp.COUNT_DOCUMENTS_PATH, "POST", wire.count_documents),
        (_vxp.COUNT_STATUSES_PATH, "POST", wire.count_statuses),
    ]
    register = wire.routes_with_bodies([(_vxp.REGISTER_PATH, "POST", wire.register)])
    return [wire.send_route(), *wire.routes(calls), *register]


@dataclasses.dataclass(frozen=True, slots=True)
class _Sender:
    """Who sends."""

    caller: Caller
    """The caller."""
    access: SystemAccess
    """How it got in."""


class _VXPWire(Wire[Caller]):
    def _refuse(self, refusal: RefusalError) -> Response:
        return _envelope(refusal.answer(self._hub.options.language), status=refusal.status)

    def send_route(self) -> Route:
        """Return the route of the one call whose request is remembered together with what it brings."""
        return Route(
            _vxp.SEND_PATH, answering.guarded(self._answer_send, refuse=self._refuse), methods=["POST"]
        )

    def _let_in(self, request: Request) -> tuple[Caller, str]:
        found = self._let_in_sender(request)
        self._hub.remember(found.caller.request)
        return found.caller, found.access.stamp

    def _let_in_again(self, request: Request) -> str:
        return self._let_in_sender(request).access.stamp

    def _authenticated(self, request: Request, keys_of: Callable[[str], Sequence[bytes]]) -> Caller:
        return authenticate(
            request.headers,
            keys_of=keys_of,
            now=self._hub.clock(),
            window=self._hub.options.clock_window,
        )

    def _let_in_sender(self, request: Request) -> _Sender:
        """Return who calls, and whether it sends for the agency it names: one question to the database."""
        sender = self._sender(request, self._hub.access)
        self._hub.enter(sender.caller.system_id)
        return sender

    def _known_sender(self, request: Request) -> _Sender | None:
        """Return who calls if the database was asked about it a moment ago."""
        try:
            sender = self._sender(request, self._hub.known_access)
        except RefusalError:
            # It may be known by a secret that is not its newest; what is said to strangers, the database decides.
            return None
        self._hub.enter(sender.caller.system_id)
        return sender

    def _sender(self, request: Request, access_of: Callable[..., SystemAccess | None]) -> _Sender:
        named = request.headers.get(_vxp.PREFIX + "from", "")
        found: SystemAccess | None = None

        def keys_of(system_id: str) -> tuple[bytes, ...]:
            nonlocal found
            found = access_of(system_id, sender=named)
            return () if found is None else found.keys

        caller = self._authenticated(request, keys_of)
        assert found is not None
        return _Sender(caller, found)

    async def _answer_send(self, request: Request) -> Response:
        sender = self._known_sender(request)
        if sender is None:
            sender = await run_in_threadpool(self._let_in_sender, request)
        caller = sender.caller
        with contextlib.ExitStack() as stack:
            try:
                _kind(caller)
                # What was signed is what was sent, so this is the code that was asked about.
                code, expected_hash = caller.parameter("from"), caller.parameter("hash-file")
                if not sender.access.sends:
                    # Known from the headers alone; so no body of a stranger's name is read.
                    raise unknown_sender(code)
                source = await self._receive(request, expected_hash, stack)
            except RefusalError as refusal:
                # Who is to come back later has not been judged, and a flood must not become a flood of writes.
                if refusal.error_code is not ErrorCode.BUSY:
                    await run_in_threadpool(self._hub.remember, caller.request)
                raise
            entrance = Entrance(sender.access.stamp, lambda: self._let_in_again(request))
            receipt = await run_in_threadpool(self._take, caller, source, entrance)
        return Response(receipt.text, media_type=_vxp.JSON_TYPE)

    def _take(self, caller: Caller, source: Path | bytes, entrance: Entrance) -> Receipt:
        if isinstance(source, bytes):
            try:
                source = _without_tail(source, caller.parameter("hash-file"))
            except RefusalError:
                self._hub.remember(caller.request)
                raise
        return self._hub.take(
            source,
            kind=_kind(caller),
            sender=caller.parameter("from"),
            system_id=caller.system_id,
            request=caller.request,
            entrance=entrance,
        )

    async def _receive(
        self, request: Request, expected_hash: str, stack: contextlib.ExitStack
    ) -> Path | bytes:
        """Return the file in the body of sendEdoc, or all of the body if it is small."""
        if 0 < answering.announced_bytes(request) <= _MAX_BYTES_IN_MEMORY:
            limit = self._hub.options.max_package_bytes + len(_vxp.BODY_TAIL)
            return b"".join([chunk async for chunk in answering.body_chunks(request, self._hub, limit=limit)])
        path = stack.enter_context(self._hub.store.payloads.temporary())
        await self._receive_body(request, path, expected_hash)
        return path

    async def _receive_body(self, request: Request, path: Path, expected_hash: str) -> None:
        """Write the file in the body of sendEdoc; the appended line end is not part of it."""
        limit = self._hub.options.max_package_bytes
        tail_length = len(_vxp.BODY_TAIL)
        digest = hashlib.sha256()
        tail = b""
        with path.open("xb") as stream:
            async for chunk in answering.body_chunks(request, self._hub, limit=limit + tail_length):
                tail += chunk
                piece, tail = tail[:-tail_length], tail[-tail_length:]
                digest.update(piece)
                stream.write(piece)
            # Clients that do not append the line end signed the whole body.
            if not (tail == _vxp.BODY_TAIL and _vxp.is_file_hash(expected_hash, digest.digest())):
                digest.update(tail)
                stream.write(tail)
                if not _vxp.is_file_hash(expected_hash, digest.digest()):
                    raise RefusalError(ErrorCode.INVALID_FILE, "hub.wrong-file-hash")

    async def received(self, _request: Request, caller: Caller) -> Response:
        kind = _kind(caller)
        return await run_in_threadpool(
            lambda: _listed(map(_received_row, self._hub.store.waiting(caller.system_id, kind)))
        )

    async def sent(self, _request: Request, caller: Caller) -> Response:
        kind = _kind(caller)
        return await run_in_threadpool(
            lambda: _listed(map(_sent_row, self._hub.store.sent(caller.system_id, kind)))
        )

    async def fetch(self, _request: Request, caller: Caller) -> Response:
        delivery = await self._delivery(caller)
        envelope = Answer(ok=True, doc_id=delivery.doc_id, data="|").to_json().encode()
        head, tail = envelope.split(b"|", maxsplit=1)
        return answering.encoded_file(self._hub, delivery.payload, head, tail, media_type=_vxp.JSON_TYPE)

    async def download(self, _request: Request, caller: Caller) -> Response:
        delivery = await self._delivery(caller)
        return answering.raw_file(self._hub, delivery.payload, media_type=_vxp.OCTET_TYPE)

    async def _delivery(self, caller: Caller) -> HubDelivery:
        return await run_in_threadpool(self._hub.delivery, caller.system_id, caller.parameter("docId"))

    async def status(self, _request: Request, caller: Caller) -> Response:
        doc_id = caller.parameter("docId")
        status = self._hub.transport_status(caller.parameter("status"))
        text = caller.parameters.get("description")
        await run_in_threadpool(self._hub.move, caller.system_id, doc_id, status, text=text)
        return _envelope(Answer(ok=True, doc_id=doc_id))

    async def agencies(self, _request: Request, _caller: Caller) -> Response:
        return await run_in_threadpool(lambda: _listed(map(_agency_row, self._hub.agencies())))

    async def agencies_by_level(self, _request: Request, caller: Caller) -> Response:
        word = caller.parameters.get("level", "") or "0"
        if not (word.isascii() and word.isdigit() and len(word) < 3):
            raise bad_parameter("level", word)
        return await run_in_threadpool(
            lambda: _listed(
                {**_agency_row(agency), "code102": agency.old_code or ""}
                for agency in self._hub.agencies()
                if int(word) in {0, agency.code.count(".") + 1}
            )
        )

    async def units(self, _request: Request, _caller: Caller) -> Response:
        further = {"version": "", "centerCode": "", "deleted": "0", "modifyDate": "", "isAgency": "1"}
        return await run_in_threadpool(
            lambda: _listed({**_agency_row(agency), **further} for agency in self._hub.agencies())
        )

    async def register(self, request: Request, caller: Caller, entrance: Entrance) -> Response:
        code = caller.parameter("agencycode")
        fields = _fields(await read_parameters(request, self._hub, entrance))
        if fields.get("code", code) != code:
            raise bad_parameter("code", fields["code"])
        agency = HubAgency(
            code,
            fields.get("name") or code,
            fields.get("pcode") or fields.get("pid") or None,
            fields.get("mail") or None,
        )
        await run_in_threadpool(registration.register, self._hub, caller.system_id, agency)
        return _envelope(Answer(ok=True))

    async def unregister(self, _request: Request, caller: Caller) -> Response:
        code = caller.parameter("agencycode")
        await run_in_threadpool(registration.unregister, self._hub, caller.system_id, code)
        return _envelope(Answer(ok=True))

    async def count_documents(self, _request: Request, caller: Caller) -> Response:
        kind = _kind(caller) if caller.parameters.get("messagetype") else PackageKind.DOCUMENT
        return await self._count(caller, kind)

    async def count_statuses(self, _request: Request, caller: Caller) -> Response:
        return await self._count(caller, PackageKind.STATUS)

    async def _count(self, caller: Caller, kind: PackageKind) -> Response:
        count = await run_in_threadpool(self._hub.lookup.count_waiting, caller.system_id, kind)
        return _envelope(Answer(ok=True, count=count))


def _without_tail(content: bytes, expected_hash: str) -> bytes:
    """Return a body without the line end that clients append, or as it is if they signed all of it.

    Raises:
        RefusalError: Neither is what was signed.
    """
    for candidate in (content.removesuffix(_vxp.BODY_TAIL), content):
        if _vxp.is_file_hash(expected_hash, hashlib.sha256(candidate).digest()):
            return candidate
    raise RefusalError(ErrorCode.INVALID_FILE, "hub.wrong-file-hash")


def _received_row(row: ListedDelivery) -> dict[str, str]:
    return {
        "docId": row.doc_id,
        "serviceType": _vxp.SERVICE_TYPE,
        "messageType": _vxp.MESSAGE_TYPES[row.kind],
        "created_time": _vxp.list_time(row.received_at),
        "updated_time": _vxp.list_time(row.updated_at),
        "from": row.sender_code,
        "to": row.recipient_code,
        "status": row.status.value,
        "status_desc": row.status_text or "",
    }


def _sent_row(row: SentDelivery) -> dict[str, str]:
    return {
        "serviceType": _vxp.SERVICE_TYPE,
        "messageType": _vxp.MESSAGE_TYPES[row.kind],
        "senderDocId": row.sender_doc_id,
        "receiverDocId": row.doc_id,
        "fromCode": row.sender_code,
        "toCode": row.recipient_code,
        "title": row.title,
        "notation": row.notation,
        "sentTime": _vxp.list_time(row.received_at),
        "sendStatus": TransportStatus.DONE.value,
        "sendStatusDesc": "",
        "receivedTime": _vxp.list_time(row.updated_at) if row.status is TransportStatus.DONE else "",
        "receiveStatus": row.status.value,
        "receiveStatusDesc": row.status_text or "",
    }


def _agency_row(agency: HubAgency) -> dict[str, str]:
    return {
        # The code serves as id: it is unique, and a parent need not be registered to be named.
        "id": agency.code,
        "pid": agency.parent_code or "",
        "code": agency.code,
        "name": agency.name,
        "mail": agency.email or "",
        "oldCode": agency.old_code or "",
    }


def _fields(body: bytes) -> dict[str, str]:
    try:
        fields = load_json(body)
    except ValueError as exc:
        raise bad_parameter("body", "") from exc
    if not isinstance(fields, dict):
        raise bad_parameter("body", "")
    return {key: str(value) for key, value in fields.items() if isinstance(value, str | int)}


def _kind(caller: Caller) -> PackageKind:
    return kind_of(caller.parameter("messagetype"), name="messagetype")


def _listed(rows: Iterable[dict[str, str]]) -> Response:
    """Write rows down; it is called in a thread, for others must not wait while thousands are written."""
    return _envelope(Answer(ok=True, data=list(rows)))


def _envelope(answer: Answer, *, status: int = 200) -> Response:
    return Response(answer.to_json(), status_code=status, media_type=_vxp.JSON_TYPE)
