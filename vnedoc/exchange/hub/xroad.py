"""The hub as a service behind an X-Road security server.

The security server has authenticated the caller and says who it is in ``X-Road-Client``. Anyone else who reaches
this wire could say the same, so it is not among a hub's usual wires, and its port must be open to the security server
only.

Sending is as a pilot in Vietnam has it: ``POST document/edocs/new`` and ``document/status/new``, a form with the
package in ``file`` and the sender's code in the header ``from``, answered with 201. The other calls are this hub's
own. A system is known here by the identifier of its client with colons: ``CS:GOV:MEMBER:SUBSYSTEM``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from vnedoc._internal.clock import vietnam
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import answering, forms
from vnedoc.exchange.hub._wires import Wire, load_json, read_parameters
from vnedoc.exchange.hub.core import unknown_document
from vnedoc.exchange.hub.refusals import RefusalError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.hub.entrances import Entrance
    from vnedoc.exchange.stores.hub import HubAgency, ListedDelivery

__all__ = ["routes", "system_id_of"]

_PATHS = {"/document/edocs": PackageKind.DOCUMENT, "/document/status": PackageKind.STATUS}
_STATUSES = {
    ErrorCode.UNKNOWN_DOCUMENT: 404,
    ErrorCode.GONE: 410,
    ErrorCode.CONFLICT: 409,
    ErrorCode.BACKWARDS: 409,
    ErrorCode.UNKNOWN_SENDER: 422,
    ErrorCode.UNKNOWN_RECIPIENT: 422,
    ErrorCode.INVALID_PACKAGE: 422,
}


def system_id_of(client: str) -> str:
    """Return the id under which a hub knows an X-Road client: its parts, joined by colons."""
    return ":".join(unquote(part) for part in client.split("/"))


def routes(hub: Hub) -> list[Route]:
    """Return the routes of all calls, as the security server maps the service to them."""
    found: list[Route] = []
    for path, kind in _PATHS.items():
        wire = _XRoadWire(hub, kind)
        calls = [
            ("", "GET", wire.received),
            ("/{doc_id}", "GET", wire.fetch),
        ]
        bringing = [("/new", "POST", wire.send), ("/{doc_id}/status", "PUT", wire.status)]
        found += [*wire.routes(calls, prefix=path), *wire.routes_with_bodies(bringing, prefix=path)]
    wire = _XRoadWire(hub, PackageKind.DOCUMENT)
    return [*found, *wire.routes([("/agencies", "GET", wire.agencies)])]


class _XRoadWire(Wire[str]):
    def __init__(self, hub: Hub, kind: PackageKind) -> None:
        super().__init__(hub)
        self._kind = kind

    def _let_in(self, request: Request) -> tuple[str, str]:
        access = self._hub.access(system_id_of(request.headers.get("x-road-client", "")))
        if access is None or not access.keys:
            raise RefusalError(ErrorCode.UNAUTHENTICATED, "hub.wrong-secret", status=403)
        self._hub.enter(access.id)
        return access.id, access.stamp

    def _refuse(self, refusal: RefusalError) -> Response:
        status = refusal.status if refusal.status != 200 else _STATUSES.get(refusal.error_code, 400)
        text = refusal.answer(self._hub.options.language).error_text
        return JSONResponse({"code": refusal.error_code.value, "message": text}, status_code=status)

    async def send(self, request: Request, system_id: str, entrance: Entrance) -> Response:
        sender = request.headers.get("from") or None
        with self._hub.store.payloads.temporary() as path:
            await forms.read_form(request, self._hub, path, file_field="file")
            receipt = await run_in_threadpool(
                self._hub.take,
                path,
                kind=self._kind,
                sender=sender,
                system_id=system_id,
                entrance=entrance,
            )
        return JSONResponse({"docId": receipt.doc_id}, status_code=201)

    async def received(self, _request: Request, system_id: str) -> Response:
        return await run_in_threadpool(
            lambda: JSONResponse([_row(row) for row in self._hub.store.waiting(system_id, self._kind)])
        )

    async def fetch(self, request: Request, system_id: str) -> Response:
        delivery = await run_in_threadpool(self._hub.delivery, system_id, request.path_params["doc_id"])
        if delivery.kind is not self._kind:
            raise unknown_document(delivery.doc_id)
        return answering.raw_file(self._hub, delivery.payload, media_type="application/xml")

    async def status(self, request: Request, system_id: str, entrance: Entrance) -> Response:
        body = await read_parameters(request, self._hub, entrance)
        try:
            word = str(load_json(body)["status"])
        except (ValueError, KeyError, TypeError) as exc:
            raise RefusalError(ErrorCode.BAD_PARAMETER, "hub.not-json", reason="status") from exc
        status = self._hub.transport_status(word)
        await run_in_threadpool(self._hub.move, system_id, request.path_params["doc_id"], status)
        return JSONResponse({"status": status.value})

    async def agencies(self, _request: Request, _system_id: str) -> Response:
        return await run_in_threadpool(
            lambda: JSONResponse([_agency_row(agency) for agency in self._hub.agencies()])
        )


def _agency_row(agency: HubAgency) -> dict[str, str | None]:
    return {
        "code": agency.code,
        "name": agency.name,
        "parentCode": agency.parent_code,
        "email": agency.email,
        "oldCode": agency.old_code,
    }


def _row(row: ListedDelivery) -> dict[str, str]:
    return {
        "docId": row.doc_id,
        "from": row.sender_code,
        "to": row.recipient_code,
        "status": row.status.value,
        "createdTime": f"{vietnam(row.received_at):%Y-%m-%dT%H:%M:%S%z}",
    }
