"""The hub's provincial REST wire: login for a JWT, then calls with the system's id and secret beside it.

The form is that of the province of Lạng Sơn (integration guide, version 2.2), with its error codes. What the guide
leaves open is a choice of this hub:

* A system logs in with its id as ``username`` and its secret as ``password``; ``X-SecretKey`` is the same secret.
* A call without a token gets 401 ``licenseInfo:invalid``; a wrong or expired one, or a wrong secret, a plain 401.
* Refusals come with HTTP 200 and ``success: false``.
* A body without ``Content-Length`` is refused, as that axis does: it ends with "Unexpected end of Stream".
* The list shows what waits, between the two dates; ``messageType`` is ``edoc`` or ``status``.
"""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vnedoc.exchange import _vxp
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub import answering, forms
from vnedoc.exchange.hub._wires import Wire, kind_of, parse_object, read_object, read_parameters, token_holder
from vnedoc.exchange.hub.core import bad_parameter
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.secret_keys import key_of
from vnedoc.exchange.hub.tokens import make_token
from vnedoc.exchange.stores._days import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.hub.entrances import Entrance
    from vnedoc.exchange.stores.hub import HubAgency, ListedDelivery

__all__ = ["routes"]

_WIRE = "lgsp"
_TOKEN_LIFE = datetime.timedelta(minutes=30)
# The guide's table knows no more than these: what it has no code for is "file cannot be processed".
_CODES = frozenset({"10", "15", "18", "19", "20", "22"})
_OTHER_CODE = "21"


def routes(hub: Hub) -> list[Route]:
    """Return the routes of all calls."""
    wire = _LGSPWire(hub)
    calls = [
        ("/v1/syncReceivedEdocList", "GET", wire.received),
        ("/v1/getEdoc", "GET", wire.fetch),
        ("/v1/getAgenciesList", "GET", wire.agencies),
    ]
    bringing = [("/v1/sendEdoc", "POST", wire.send), ("/v1/updateStatus", "POST", wire.status)]
    return [wire.login_route(), *wire.routes(calls), *wire.routes_with_bodies(bringing)]


class _LGSPWire(Wire[str]):
    def login_route(self) -> Route:
        return Route("/v1/auth/login", answering.guarded(self._login, refuse=self._refuse), methods=["POST"])

    def _refuse(self, refusal: RefusalError) -> Response:
        if refusal.status == 401:
            return PlainTextResponse(
                "licenseInfo:invalid" if refusal.message_id == "hub.no-bearer" else "Unauthorized",
                status_code=401,
            )
        code = refusal.error_code.value if refusal.error_code.value in _CODES else _OTHER_CODE
        text = refusal.answer(self._hub.options.language).error_text
        data = {"docId": None, "status": "error", "errorCode": code, "errorDesc": text}
        return JSONResponse({"success": False, "message": text, "data": data}, status_code=refusal.status)

    def _let_in(self, request: Request) -> tuple[str, str]:
        holder = token_holder(request, self._hub, wire=_WIRE)
        if holder is not None and holder.id != request.headers.get("x-systemid", ""):
            holder = None
        access = self._hub.let_in(holder, request.headers.get("x-secretkey", ""))
        return access.id, access.stamp

    async def _login(self, request: Request) -> Response:
        fields = await read_object(request, self._hub)
        username, password = str(fields.get("username") or ""), str(fields.get("password") or "")
        await run_in_threadpool(self._hub.check_secret, username, password)
        token = make_token(
            username, key=key_of(password), wire=_WIRE, expires_at=self._hub.clock() + _TOKEN_LIFE
        )
        data = {"token": token, "id": username, "username": username, "name": username}
        return JSONResponse({"code": 200, "message": "OK", "data": data})

    async def send(self, request: Request, system_id: str, entrance: Entrance) -> Response:
        if "content-length" not in request.headers:
            raise RefusalError(
                ErrorCode.INVALID_FILE, "hub.not-a-form", status=400, reason="Unexpected end of Stream"
            )
        with self._hub.store.payloads.temporary() as path:
            fields = await forms.read_form(request, self._hub, path, file_field="edocFile")
            receipt = await run_in_threadpool(
                self._hub.take,
                path,
                kind=_kind(fields),
                sender=None,
                system_id=system_id,
                entrance=entrance,
            )
        return JSONResponse({"success": True, "message": "OK", "docId": receipt.doc_id})

    async def received(self, request: Request, system_id: str) -> Response:
        kind = _kind(request.query_params)
        first, last = _date(request, "fromDate"), _date(request, "toDate")
        since, until = span(first, last)

        def listed() -> Response:
            waiting = self._hub.store.waiting(system_id, kind, since=since, until=until)
            rows = [_row(row) for row in waiting]
            return JSONResponse({"success": True, "message": "OK", "count": len(rows), "data": rows})

        return await run_in_threadpool(listed)

    async def fetch(self, request: Request, system_id: str) -> Response:
        doc_id = request.query_params.get("docId", "")
        delivery = await run_in_threadpool(self._hub.delivery, system_id, doc_id)
        data = {
            "docId": delivery.doc_id,
            "from": delivery.sender_code,
            "edocCode": delivery.notation,
            "edocAbstract": delivery.title,
            "edxml": "",
        }
        text = json.dumps({"success": True, "data": data}, ensure_ascii=True)
        # The package is the last of all values.
        head, tail = text[:-3].encode(), text[-3:].encode()
        return answering.encoded_file(self._hub, delivery.payload, head, tail, media_type="application/json")

    async def status(self, request: Request, system_id: str, entrance: Entrance) -> Response:
        fields = parse_object(await read_parameters(request, self._hub, entrance))
        doc_id = str(fields.get("docId") or "")
        status = self._hub.transport_status(str(fields.get("status") or ""))
        await run_in_threadpool(self._hub.move, system_id, doc_id, status)
        return JSONResponse({"success": True, "message": "OK", "data": {"docId": doc_id}})

    async def agencies(self, _request: Request, _system_id: str) -> Response:
        return await run_in_threadpool(
            lambda: JSONResponse([_agency_row(agency) for agency in self._hub.agencies()])
        )


def _agency_row(agency: HubAgency) -> dict[str, str]:
    return {
        "orgCode": agency.code,
        "orgName": agency.name,
        "parentCode": agency.parent_code or "",
        "address": "",
        "email": agency.email or "",
        "phone": "",
    }


def _row(row: ListedDelivery) -> dict[str, str]:
    return {
        "serviceType": _vxp.SERVICE_TYPE,
        "createdTime": _vxp.list_time(row.received_at),
        "updatedTime": _vxp.list_time(row.updated_at),
        "messageType": _vxp.MESSAGE_TYPES[row.kind],
        "docId": row.doc_id,
        "from": row.sender_code,
        "to": row.recipient_code,
        "status": row.status.value,
        "statusDesc": row.status_text or "",
    }


def _kind(fields: Mapping[str, str]) -> PackageKind:
    return kind_of(fields.get("messageType", ""), name="messageType")


def _date(request: Request, name: str) -> datetime.date:
    word = request.query_params.get(name, "")
    try:
        return datetime.datetime.strptime(word, "%Y/%m/%d").replace(tzinfo=datetime.UTC).date()
    except ValueError as exc:
        raise bad_parameter(name, word) from exc
