"""A small X-Road security server for tests: it enforces the message protocol for REST in front of a service.

It stands for both servers of the real thing, that of the client and that of the provider: it reads the service from
the path (``/r1/…``) and the client from ``X-Road-Client``, lets through who has the right to, replaces what a
security server replaces, and answers its own errors with ``X-Road-Error`` and the body that goes with it (X-Road:
Message Protocol for REST, version 1.0, sections 4.1 to 4.6 and 4.8). It signs and time-stamps nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from vnedoc._internal import http
from vnedoc.errors import MissingExtraError, RemoteError
from vnedoc.exchange.connectors.xroad import is_client_id, is_service_id
from vnedoc.testing._serving import ServerTLS, serving

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route
except ImportError as exc:
    raise MissingExtraError("hub.missing-server") from exc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from vnedoc.testing.faults import Faults

__all__ = ["running_security_server"]

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_MAX_ANSWER_BYTES = 4 * 1024 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
# Hop-by-hop headers and those that tell of the machine behind (4.3); the X-Road headers are set anew.
_NOT_PASSED = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-road-error",
        "x-road-request-hash",
        "x-road-request-id",
        "x-road-service",
    }
)


@contextlib.contextmanager
def running_security_server(
    services: Mapping[str, str],
    *,
    rights: Mapping[str, Collection[str]],
    faults: Faults | None = None,
    tls: ServerTLS | None = None,
) -> Iterator[str]:
    """Run a security server on loopback until the block ends; yields its address.

    Args:
        services: Addresses of services by identifier: ``INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE``.
        rights: Which clients may call each service; each client is ``INSTANCE/CLASS/MEMBER/SUBSYSTEM``.
        faults: What goes wrong in front of it.
        tls: How it speaks TLS; ``None``: plain HTTP.
    """
    with http.make_client(timeout_s=60.0) as client:
        server = _SecurityServer(services, rights, client)
        app = Starlette(routes=[Route("/{path:path}", server.answer, methods=_METHODS)])
        with serving(app if faults is None else faults.around(app), tls=tls) as url:
            yield url


class _RoadError(Exception):
    """An error of X-Road itself: its type, and the HTTP status that goes with it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        # Section 4.6: 400 for a request that does not comply, 500 for everything else.
        self.status = 400 if kind.startswith("Client.") else 500


class _SecurityServer:
    def __init__(
        self, services: Mapping[str, str], rights: Mapping[str, Collection[str]], client: http.Client
    ) -> None:
        self._services = services
        self._rights = rights
        self._client = client

    async def answer(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except _RoadError as error:
            body = {"type": error.kind, "message": str(error), "detail": str(uuid.uuid4())}
            return JSONResponse(body, status_code=error.status, headers={"X-Road-Error": error.kind})

    async def _answer(self, request: Request) -> Response:
        client = self._caller(request)
        service, path = self._service(request)
        if client not in self._rights.get(service, ()):
            raise _RoadError("Server.ServerProxy.AccessDenied", f"Request is not allowed: {service}")
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED}
        message_id = headers.setdefault("x-road-id", str(uuid.uuid4()))
        # A message is signed as a whole, so a security server has all of it before it passes it on.
        with contextlib.ExitStack() as stack:
            spooled = Path(stack.enter_context(tempfile.NamedTemporaryFile(delete=False)).name)
            stack.callback(spooled.unlink, missing_ok=True)
            digest = hashlib.sha512()
            with spooled.open("wb") as stream:
                async for chunk in request.stream():
                    digest.update(chunk)
                    stream.write(chunk)
            url = self._services[service] + path + (f"?{request.url.query}" if request.url.query else "")
            closing = contextlib.ExitStack()
            try:
                answer = await run_in_threadpool(
                    closing.enter_context, self._passed_on(request.method, url, headers, spooled)
                )
            except RemoteError as exc:
                raise _RoadError(
                    "Server.ServerProxy.NetworkError", "Connection to the service failed"
                ) from exc
            passed = {
                name: value for name, value in answer.headers().items() if name.lower() not in _NOT_PASSED
            }
            length = answer.header("Content-Length")
            if length is not None:
                passed["Content-Length"] = length
            passed |= {
                "X-Road-Client": quote(client, safe="/"),
                "X-Road-Service": quote(service, safe="/"),
                "X-Road-Id": message_id,
                "X-Road-Request-Id": str(uuid.uuid4()),
                "X-Road-Request-Hash": base64.b64encode(digest.digest()).decode("ascii"),
            }
            return StreamingResponse(_relayed(answer, closing), status_code=answer.status, headers=passed)

    def _caller(self, request: Request) -> str:
        values = request.headers.getlist("x-road-client")
        # Section 4.3: with several of them the last one counts.
        client = unquote(values[-1]) if values else ""
        if not is_client_id(client):
            raise _RoadError("Client.BadRequest", "X-Road-Client is missing or malformed")
        return client

    def _service(self, request: Request) -> tuple[str, str]:
        """Return the service that a path begins with, and the rest of the path; the parts are encoded one by one."""
        raw = request.scope["raw_path"].decode("ascii").partition("?")[0]
        version, _, rest = raw.lstrip("/").partition("/")
        if version != "r1":
            raise _RoadError("Client.BadRequest", "the path does not begin with /r1")
        parts = rest.split("/")
        for count in (5, 4):
            service = "/".join(unquote(part) for part in parts[:count])
            if len(parts) >= count and is_service_id(service) and service in self._services:
                return service, "/" + "/".join(parts[count:])
        raise _RoadError("Server.ServerProxy.UnknownService", "Unknown service")

    @contextlib.contextmanager
    def _passed_on(
        self, method: str, url: str, headers: Mapping[str, str], body: Path
    ) -> Iterator[http.StreamedAnswer]:
        size = body.stat().st_size
        with body.open("rb") as stream:
            content = iter(lambda: stream.read(_CHUNK_BYTES), b"") if size else None
            sent = {**headers, "Content-Length": str(size)} if size else dict(headers)
            with http.open_answer(self._client, method, url, headers=sent, content=content) as answer:
                yield answer


def _relayed(answer: http.StreamedAnswer, closing: contextlib.ExitStack) -> Iterator[bytes]:
    with closing:
        yield from answer.chunks(max_bytes=_MAX_ANSWER_BYTES)
