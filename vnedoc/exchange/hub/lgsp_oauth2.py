"""The hub's OAuth2 facade: client credentials (RFC 6749, 4.4), then the calls of the axis behind an API gateway.

The operations are those of the province of Quảng Nam on WSO2 API Manager. Its generated client hides how arguments
travel, so these are choices of this hub:

* ``secretDonVi`` is read from the header of that name, or from the query. It is the secret of the system, which is
  the consumer secret too.
* ``POST /vanbans`` takes JSON: ``{"loaiVanBan": "edoc", "file": "<base64>"}``.
* ``GET /vanbans`` lists documents and statuses together; ``status`` is a word in capital letters, as in ``PUT``.
* A missing or expired token gets 401 with the ``fault`` of the gateway (900902 or 900901).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vnedoc.exchange import _vxp
from vnedoc.exchange._vxp import Answer
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import answering, registration
from vnedoc.exchange.hub._wires import Wire, kind_of, parse_object, read_parameters, token_holder
from vnedoc.exchange.hub.core import bad_parameter
from vnedoc.exchange.hub.secret_keys import key_of
from vnedoc.exchange.hub.tokens import make_token
from vnedoc.exchange.stores.hub import HubAgency

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.hub.entrances import Entrance
    from vnedoc.exchange.hub.refusals import RefusalError
    from vnedoc.exchange.stores.hub import ListedDelivery

__all__ = ["routes"]

_WIRE = "lgsp-oauth2"
_TOKEN_LIFE = datetime.timedelta(hours=1)
_API = "/truclienthong/v1.0.0"


def routes(hub: Hub) -> list[Route]:
    """Return the routes of all calls."""
    wire = _OAuth2Wire(hub)
    calls = [
        ("/vanbans", "GET", wire.received),
        ("/vanbans/{doc_id}", "GET", wire.fetch),
        ("/vanbans/{doc_id}", "PUT", wire.status),
        ("/donvilienthongs", "GET", wire.agencies),
        ("/donvilienthongs", "PUT", wire.unregister),
    ]
    bringing = [("/vanbans", "POST", wire.send), ("/donvilienthongs", "POST", wire.register)]
    token = Route("/token", answering.guarded(wire.token, refuse=_refuse_client), methods=["POST"])
    return [token, *wire.routes(calls, prefix=_API), *wire.routes_with_bodies(bringing, prefix=_API)]


class _OAuth2Wire(Wire[str]):
    def _refuse(self, refusal: RefusalError) -> Response:
        if refusal.status == 401:
            missing = refusal.message_id == "hub.no-bearer"
            fault = {
                "code": 900902 if missing else 900901,
                "message": "Missing Credentials" if missing else "Invalid Credentials",
                "description": refusal.answer(self._hub.options.language).error_text,
            }
            return JSONResponse({"fault": fault}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return _envelope(refusal.answer(self._hub.options.language), status=refusal.status)

    def _let_in(self, request: Request) -> tuple[str, str]:
        holder = token_holder(request, self._hub, wire=_WIRE)
        given = request.headers.get("secretdonvi") or request.query_params.get("secretDonVi", "")
        access = self._hub.let_in(holder, given)
        return access.id, access.stamp

    async def token(self, request: Request) -> Response:
        body = await answering.read_small_body(request, self._hub)
        if parse_qs(body.decode("utf-8", "replace")).get("grant_type") != ["client_credentials"]:
            raise bad_parameter("grant_type", "")
        system_id, secret = _basic(request)
        await run_in_threadpool(self._hub.check_secret, system_id, secret)
        expires_at = self._hub.clock() + _TOKEN_LIFE
        return JSONResponse(
            {
                "access_token": make_token(system_id, key=key_of(secret), wire=_WIRE, expires_at=expires_at),
                "scope": "default",
                "token_type": "Bearer",
                "expires_in": int(_TOKEN_LIFE.total_seconds()),
            },
            headers={"Cache-Control": "no-store"},
        )

    async def received(self, _request: Request, system_id: str) -> Response:
        return await run_in_threadpool(
            lambda: _listed(
                _row(row) for kind in PackageKind for row in self._hub.store.waiting(system_id, kind)
            )
        )

    async def send(self, request: Request, system_id: str, entrance: Entrance) -> Response:
        with self._hub.store.payloads.temporary() as path:
            fields = parse_object(await answering.read_json_body(request, self._hub, path, key="file"))
            kind = kind_of(str(fields.get("loaiVanBan") or ""), name="loaiVanBan")
            receipt = await run_in_threadpool(
                self._hub.take, path, kind=kind, sender=None, system_id=system_id, entrance=entrance
            )
        return _envelope(Answer(ok=True, doc_id=receipt.doc_id))

    async def fetch(self, request: Request, system_id: str) -> Response:
        delivery = await run_in_threadpool(self._hub.delivery, system_id, request.path_params["doc_id"])
        head, tail = json.dumps(_fields(Answer(ok=True, data="|"))).encode().split(b"|")
        return answering.encoded_file(self._hub, delivery.payload, head, tail, media_type="application/json")

    async def status(self, request: Request, system_id: str) -> Response:
        status = self._hub.transport_status(request.query_params.get("status", ""))
        await run_in_threadpool(self._hub.move, system_id, request.path_params["doc_id"], status)
        return _envelope(Answer(ok=True))

    async def agencies(self, _request: Request, _system_id: str) -> Response:
        return await run_in_threadpool(lambda: _listed(map(_agency_row, self._hub.agencies())))

    async def register(self, request: Request, system_id: str, entrance: Entrance) -> Response:
        fields = parse_object(await read_parameters(request, self._hub, entrance))
        code = str(fields.get("code") or "")
        if not code:
            raise bad_parameter("code", code)
        agency = HubAgency(
            code,
            str(fields.get("name") or code),
            str(fields.get("pcode") or "") or None,
            str(fields.get("email") or "") or None,
        )
        await run_in_threadpool(registration.register, self._hub, system_id, agency)
        return _envelope(Answer(ok=True))

    async def unregister(self, request: Request, system_id: str) -> Response:
        code = request.query_params.get("agencyCode", "")
        await run_in_threadpool(registration.unregister, self._hub, system_id, code)
        return _envelope(Answer(ok=True))


def _agency_row(agency: HubAgency) -> dict[str, str]:
    return {
        "id": agency.code,
        "pid": agency.parent_code or "",
        "code": agency.code,
        "name": agency.name,
        "mail": agency.email or "",
    }


def _row(row: ListedDelivery) -> dict[str, str]:
    return {
        "serviceType": _vxp.SERVICE_TYPE,
        "messageType": _vxp.MESSAGE_TYPES[row.kind],
        "statusDesc": row.status_text or "",
        "docId": row.doc_id,
        "from": row.sender_code,
        "to": row.recipient_code,
        "status": row.status.value.upper(),
        "createdTime": _vxp.list_time(row.received_at),
    }


def _fields(answer: Answer) -> dict[str, object]:
    fields: dict[str, object] = {
        "status": "OK" if answer.ok else "FAIL",
        "errorCode": answer.error_code,
        "errorDesc": answer.error_text,
    }
    if answer.doc_id is not None:
        fields["docId"] = answer.doc_id
    if answer.data is not None:
        fields["data"] = answer.data
    return fields


def _listed(rows: Iterable[dict[str, str]]) -> Response:
    """Write rows down; it is called in a thread, for others must not wait while thousands are written."""
    return _envelope(Answer(ok=True, data=list(rows)))


def _envelope(answer: Answer, *, status: int = 200) -> Response:
    return JSONResponse(_fields(answer), status_code=status)


def _refuse_client(refusal: RefusalError) -> Response:
    # RFC 6749, 5.2.
    if refusal.status == 401:
        return JSONResponse(
            {"error": "invalid_client"}, status_code=401, headers={"WWW-Authenticate": "Basic"}
        )
    if refusal.status in {429, 503}:
        # RFC 6749, 4.1.2.1, has a word for it; 5.2 has none.
        return JSONResponse({"error": "temporarily_unavailable"}, status_code=refusal.status)
    if refusal.status >= 500:
        return JSONResponse({"error": "server_error"}, status_code=refusal.status)
    return JSONResponse({"error": "unsupported_grant_type"}, status_code=400)


def _basic(request: Request) -> tuple[str, str]:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    if scheme.lower() != "basic" or ":" not in text:
        return "", ""
    system_id, _, secret = text.partition(":")
    # RFC 6749, 2.3.1: both parts are encoded, so that a colon does not end the first.
    return unquote(system_id), unquote(secret)
