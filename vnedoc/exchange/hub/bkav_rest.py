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
from typing import TYPE_CHECKING, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import answering
from vnedoc.exchange.hub._bkav_numbers import digits_of, number_of
from vnedoc.exchange.hub._wires import Wire, parse_object, read_parameters
from vnedoc.exchange.hub.core import bad_parameter, unknown_document
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub_traces import HubTraces

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import Route

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.hub.entrances import Entrance
    from vnedoc.exchange.hub.refusals import RefusalError
    from vnedoc.exchange.stores.hub import HubAgency, HubDelivery

__all__ = ["routes"]

_BASE = "/EdocService"
_KINDS = {"EDOC": PackageKind.DOCUMENT, "STATUS": PackageKind.STATUS}
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
    ErrorCode.GONE: "DocID",
}


class _Caller(NamedTuple):
    system_id: str
    code: str


def routes(hub: Hub) -> list[Route]:
    """Return the routes of all calls."""
    wire = _BkavWire(hub)
    calls = [
        ("/getPendingDocIds", "GET", wire.pending),
        ("/getDocument", "POST", wire.fetch),
        ("/confirmReceived", "POST", wire.confirm),
        ("/getOrganizations", "GET", wire.organizations),
    ]
    bringing = [("/sendDocument", "POST", wire.send), ("/checkExistDocument", "POST", wire.exists)]
    return [*wire.routes(calls, prefix=_BASE), *wire.routes_with_bodies(bringing, prefix=_BASE)]


class _BkavWire(Wire[_Caller]):
    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._traces = HubTraces(hub.store)

    def _refuse(self, refusal: RefusalError) -> Response:
        text = refusal.answer(self._hub.options.language).error_text
        errors = [{"code": _CODES[refusal.error_code], "description": text}]
        word = "Error" if refusal.status >= 500 else "Fail"
        return JSONResponse({"status": word, "code": "9999", "errors": errors}, status_code=refusal.status)

    def _let_in(self, request: Request) -> tuple[_Caller, str]:
        organ_id = request.headers.get("organid", "")
        owner = self._hub.lookup.owner(organ_id)
        # A stranger's code costs the same as a wrong token.
        access = self._hub.check_secret(
            "" if owner is None else owner[1], request.headers.get("authorization", "")
        )
        assert owner is not None
        return _Caller(owner[1], owner[0]), access.stamp

    async def send(self, request: Request, caller: _Caller, entrance: Entrance) -> Response:
        kind = _kind(request)
        with self._hub.store.payloads.temporary() as path:
            await self._receive_body(request, path)
            receipt = await run_in_threadpool(
                self._hub.take,
                path,
                kind=kind,
                sender=None,
                system_id=caller.system_id,
                entrance=entrance,
            )
        return _success(docId=number_of(receipt.doc_id))

    async def _receive_body(self, request: Request, path: Path) -> None:
        with path.open("xb") as stream:
            limit = self._hub.options.max_package_bytes
            async for chunk in answering.body_chunks(request, self._hub, limit=limit):
                stream.write(chunk)

    async def pending(self, request: Request, caller: _Caller) -> Response:
        kind = _kind(request)
        return await run_in_threadpool(
            lambda: _success(
                data=[
                    {"docId": number_of(doc_id), "organId": caller.code}
                    for doc_id, _ in self._traces.waiting(caller.code, kind)
                ]
            )
        )

    async def fetch(self, request: Request, caller: _Caller) -> Response:
        delivery = await run_in_threadpool(self._delivery, request, caller)
        head, tail = json.dumps({**_fields(), "data": "|"}).encode().split(b"|")
        return answering.encoded_file(self._hub, delivery.payload, head, tail, media_type="application/json")

    async def confirm(self, request: Request, caller: _Caller) -> Response:
        delivery = await run_in_threadpool(self._delivery, request, caller, is_fetched=False)
        if delivery.status is not TransportStatus.FAIL:
            await run_in_threadpool(self._hub.move, caller.system_id, delivery.doc_id, TransportStatus.DONE)
        return _success()

    def _delivery(self, request: Request, caller: _Caller, *, is_fetched: bool = True) -> HubDelivery:
        word = request.headers.get("docid", "")
        digits = digits_of(int(word)) if _NUMBER.fullmatch(word) else None
        found = self._hub.lookup.doc_ids(caller.system_id, digits) if digits else []
        if len(found) != 1:
            raise unknown_document(word[:64])
        delivery = self._hub.delivery(caller.system_id, found[0], is_fetched=is_fetched)
        if delivery.recipient_code != caller.code:
            raise unknown_document(word[:64])
        return delivery

    async def organizations(self, _request: Request, _caller: _Caller) -> Response:
        return await run_in_threadpool(
            lambda: _success(organizations=[_organization(agency) for agency in self._hub.agencies()])
        )

    async def exists(self, request: Request, caller: _Caller, entrance: Entrance) -> Response:
        fields = parse_object(await read_parameters(request, self._hub, entrance))
        sender, recipient, notation = (
            str(fields.get(key) or "") for key in ("fromOrgan", "toOrgan", "docCode")
        )
        # Who asks about the mail of others learns nothing.
        found = caller.code in {sender, recipient} and await run_in_threadpool(
            self._hub.lookup.exists, sender, recipient, notation
        )
        return _success(isExist=found)


def _organization(agency: HubAgency) -> dict[str, str]:
    return {
        "organId": agency.code,
        "organizationInCharge": agency.parent_code or "",
        "organName": agency.name,
        "organAdd": "",
        "email": agency.email or "",
        "telephone": "",
        "fax": "",
        "website": "",
    }


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
