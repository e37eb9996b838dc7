"""The hub's Bkav REST wire: the calls of eDoc 2.0 under ``/EdocService``, one agency a caller.

The form is that of the platform's open sources. A caller names an agency in ``organid`` and shows the secret of the
system that serves it in ``authorization``. What the sources leave open, or do in a way that would lose documents, is
a choice of this hub:

* Ids are numbers there. Here they are the first 60 bits of the hub's own.
* The same package again gets the same answer; ``ExistDoc`` is for another one with the same document identifier.
* ``hash-edoc`` is not checked, as on that platform: no two of its clients are known to write it alike.
* ``organId`` of what waits is the agency that it waits for.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import answering
from vnedoc.exchange.hub.core import bad_parameter, unknown_document
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.states import TransportStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.hub import HubDelivery

__all__ = ["routes"]

_BASE = "/EdocService"
_KINDS = {"EDOC": PackageKind.DOCUMENT, "STATUS": PackageKind.STATUS}
_HEX_DIGITS = 15
_NUMBER = re.compile(r"[0-9]{1,19}")
# Codes seen on that platform; for what it has no code for, words of the same make.
_CODES = {
    ErrorCode.CONFLICT: "ExistDoc",
    ErrorCode.INTERNAL: "InternalServer",
    ErrorCode.BAD_PARAMETER: "BadRequest",
    ErrorCode.UNKNOWN_DOCUMENT: "DocID",
    ErrorCode.INVALID_FILE: "EdocFile",
    ErrorCode.INVALID_PACKAGE: "EdocFile",
    ErrorCode.UNKNOWN_SENDER: "OrganId",
    ErrorCode.UNKNOWN_RECIPIENT: "Receiver",
    ErrorCode.UNAUTHENTICATED: "Unauthorized",
    ErrorCode.BACKWARDS: "ConfirmReceived",
    ErrorCode.BUSY: "Busy",
}


def routes(hub: Hub) -> list[Route]:
    """Return the routes of all calls."""
    wire = _BkavWire(hub)
    calls = [
        ("/sendDocument", "POST", wire.send),
        ("/getPendingDocIds", "GET", wire.pending),
        ("/getDocument", "POST", wire.fetch),
        ("/confirmReceived", "POST", wire.confirm),
        ("/getOrganizations", "GET", wire.organizations),
        ("/checkExistDocument", "POST", wire.exists),
    ]
    return [Route(_BASE + path, wire.guarded(call), methods=[method]) for path, method, call in calls]


class _BkavWire:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def guarded(
        self, call: Callable[[Request, str, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            system_id, code = await run_in_threadpool(self._let_in, request)
            return await call(request, system_id, code)

        return answering.guarded(answer, refuse=self._refuse)

    def _refuse(self, refusal: RefusalError) -> Response:
        text = refusal.answer(self._hub.options.language).error_text
        errors = [{"code": _CODES[refusal.error_code], "description": text}]
        word = "Error" if refusal.status >= 500 else "Fail"
        return JSONResponse({"status": word, "code": "9999", "errors": errors}, status_code=refusal.status)

    def _let_in(self, request: Request) -> tuple[str, str]:
        organ_id = request.headers.get("organid", "")
        owner = self._hub.lookup.owner(organ_id)
        # A stranger's code costs the same as a wrong token.
        self._hub.check_secret("" if owner is None else owner[1], request.headers.get("authorization", ""))
        assert owner is not None
        return owner[1], owner[0]

    async def send(self, request: Request, system_id: str, _code: str) -> Response:
        kind = _kind(request)
        with self._hub.store.payloads.temporary() as path:
            await self._receive_body(request, path)
            receipt = await run_in_threadpool(
                self._hub.take, path, kind=kind, sender=None, system_id=system_id
            )
        return _success(docId=_number(receipt.doc_id))

    async def _receive_body(self, request: Request, path: Path) -> None:
        with path.open("xb") as stream:
            limit = self._hub.options.max_package_bytes
            async for chunk in answering.body_chunks(request, self._hub, limit=limit):
                stream.write(chunk)

    async def pending(self, request: Request, system_id: str, code: str) -> Response:
        rows = await run_in_threadpool(self._hub.store.waiting, system_id, _kind(request))
        data = [
            {"docId": _number(row.doc_id), "organId": row.recipient_code}
            for row in rows
            if row.recipient_code == code
        ]
        return _success(data=data)

    async def fetch(self, request: Request, system_id: str, code: str) -> Response:
        delivery = await run_in_threadpool(self._delivery, request, system_id, code)
        head, tail = json.dumps({**_fields(), "data": "|"}).encode().split(b"|")
        return answering.encoded_file(self._hub, delivery.payload, head, tail, media_type="application/json")

    async def confirm(self, request: Request, system_id: str, code: str) -> Response:
        delivery = await run_in_threadpool(self._delivery, request, system_id, code)
        if delivery.status is not TransportStatus.FAIL:
            await run_in_threadpool(self._hub.move, system_id, delivery.doc_id, TransportStatus.DONE)
        return _success()

    def _delivery(self, request: Request, system_id: str, code: str) -> HubDelivery:
        word = request.headers.get("docid", "")
        found = []
        if _NUMBER.fullmatch(word) and int(word) < 16**_HEX_DIGITS:
            found = self._hub.lookup.doc_ids(system_id, f"{int(word):0{_HEX_DIGITS}x}")
        if len(found) != 1:
            raise unknown_document(word[:64])
        delivery = self._hub.delivery(system_id, found[0])
        if delivery.recipient_code != code:
            raise unknown_document(word[:64])
        return delivery

    async def organizations(self, _request: Request, _system_id: str, _code: str) -> Response:
        rows = [
            {
                "organId": agency.code,
                "organizationInCharge": agency.parent_code or "",
                "organName": agency.name,
                "organAdd": "",
                "email": agency.email or "",
                "telephone": "",
                "fax": "",
                "website": "",
            }
            for agency in await run_in_threadpool(self._hub.agencies)
        ]
        return _success(organizations=rows)

    async def exists(self, request: Request, _system_id: str, code: str) -> Response:
        fields = _object(await answering.read_small_body(request, self._hub))
        sender, recipient, notation = (
            str(fields.get(key) or "") for key in ("fromOrgan", "toOrgan", "docCode")
        )
        # Who asks about the mail of others learns nothing.
        found = code in {sender, recipient} and await run_in_threadpool(
            self._hub.lookup.exists, sender, recipient, notation
        )
        return _success(isExist=found)


def _number(doc_id: str) -> int:
    return int(doc_id[:_HEX_DIGITS], 16)


def _fields() -> dict[str, object]:
    return {"status": "Success", "code": "0", "errors": []}


def _success(**values: object) -> Response:
    return JSONResponse({**_fields(), **values})


def _kind(request: Request) -> PackageKind:
    word = request.headers.get("type", "")
    kind = _KINDS.get(word)
    if kind is None:
        raise bad_parameter("type", word)
    return kind


def _object(body: bytes) -> dict[str, Any]:  # JSON
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise RefusalError(ErrorCode.BAD_PARAMETER, "hub.not-json", reason=str(exc)[:200]) from exc
    if not isinstance(fields, dict):
        raise RefusalError(ErrorCode.BAD_PARAMETER, "hub.not-json", reason="object")
    return fields
