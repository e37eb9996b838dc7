"""Between HTTP and a wire: bodies that are streamed to a file, and an end for errors that shows nothing inside.

A body is written to a temporary file while it arrives, never held in memory; a limit on its size and on its time
holds for every wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from vnedoc._internal import base64
from vnedoc.exchange._json_stream import EnvelopeError, JSONStringSplitter
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.visits import current_visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.payloads import StoredPayload

__all__ = [
    "announced_bytes",
    "body_chunks",
    "encoded_file",
    "guarded",
    "raw_file",
    "read_json_body",
    "read_small_body",
    "too_large",
]

logger = logging.getLogger("vnedoc.hub")

# A multiple of three bytes becomes base64 without padding, so that pieces can be joined.
_CHUNK_BYTES = 3 * 64 * 1024
# How much of an unwanted body is read, so that the caller gets to read our answer.
_DRAIN_BYTES = 1024 * 1024
_DRAIN_TIMEOUT_S = 5.0
_MAX_SMALL_BODY_BYTES = 64 * 1024


def guarded(
    call: Callable[[Request], Awaitable[Response]], *, refuse: Callable[[RefusalError], Response]
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that answers every refusal and every trouble in the words of its wire.

    Args:
        call: Answers a request, or raises :class:`~vnedoc.exchange.hub.refusals.RefusalError`.
        refuse: Writes a refusal as the wire has it.
    """

    async def answer(request: Request) -> Response:
        try:
            return await call(request)
        except RefusalError as refusal:
            _note(refusal)
            with contextlib.suppress(ClientDisconnect):
                await _drain(request)
            response = refuse(refusal)
            if refusal.retry_after_s is not None:
                response.headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after_s)))
            return response
        except ClientDisconnect:
            # Nobody is left to read this; nothing was taken over.
            return Response(status_code=400)
        except Exception:
            logger.exception("a request to %s failed", request.url.path)
            trouble = RefusalError(ErrorCode.INTERNAL, "hub.internal", status=500)
            _note(trouble)
            return refuse(trouble)

    return answer


async def body_chunks(request: Request, hub: Hub, *, limit: int) -> AsyncIterator[bytes]:
    """Yield a body piece by piece, no longer and no more slowly than the options allow.

    Args:
        request: The request.
        hub: Its options say how slow is too slow.
        limit: The largest body.

    Raises:
        RefusalError: It is too large, comes too slowly, or there is no room for it now.
    """
    announced = announced_bytes(request)
    if announced > limit:
        raise too_large(hub)
    visit = current_visit()
    if visit is not None and limit > _MAX_SMALL_BODY_BYTES:
        await hub.begin_upload(visit, announced)
    count = 0
    stream = request.stream()
    loop = asyncio.get_running_loop()
    start = loop.time()
    limits = hub.options.limits
    while True:
        # A caller that drips holds a connection and a file, but not for ever.
        slowest = start + limits.min_rate_grace_s + count / limits.min_bytes_per_s
        try:
            async with asyncio.timeout_at(min(start + hub.options.upload_timeout_s, slowest)):
                chunk = await anext(stream, None)
        except TimeoutError as exc:
            raise RefusalError(ErrorCode.INVALID_FILE, "hub.too-slow", status=408) from exc
        if chunk is None:
            return
        count += len(chunk)
        if count > limit:
            raise too_large(hub)
        if visit is not None:
            hub.note_bytes(visit, len(chunk))
        yield chunk


def announced_bytes(request: Request) -> int:
    """Return how many bytes of a body are said to come; 0 if nobody says."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() and length.isascii() else 0


def too_large(hub: Hub) -> RefusalError:
    """Return the refusal for a package over the limit."""
    limit = hub.options.max_package_bytes
    return RefusalError(ErrorCode.INVALID_FILE, "hub.too-large", status=413, limit=limit)


async def read_small_body(request: Request, hub: Hub) -> bytes:
    """Return a body that holds parameters, no package.

    Raises:
        RefusalError: It is far larger than parameters are.
    """
    chunks = [chunk async for chunk in body_chunks(request, hub, limit=_MAX_SMALL_BODY_BYTES)]
    return b"".join(chunks)


async def read_json_body(request: Request, hub: Hub, path: Path, *, key: str) -> bytes:
    """Write the package that a JSON body carries as base64 to a file; return the JSON without it.

    Raises:
        RefusalError: The body is no such JSON, too large or too slow.
    """
    limit = hub.options.max_package_bytes
    with path.open("xb") as stream:
        splitter = JSONStringSplitter(stream, path=(key,), max_bytes=limit)
        try:
            async for chunk in body_chunks(request, hub, limit=limit * 3 // 2 + _MAX_SMALL_BODY_BYTES):
                await run_in_threadpool(splitter.feed, chunk)
            rest, count = splitter.finish()
        except EnvelopeError as exc:
            if splitter.is_over_limit:
                raise too_large(hub) from exc
            raise RefusalError(ErrorCode.INVALID_FILE, "hub.not-json", reason=str(exc)) from exc
    if count == 0:
        raise RefusalError(ErrorCode.INVALID_FILE, "hub.no-file", name=key)
    return rest


def encoded_file(hub: Hub, payload: StoredPayload, head: bytes, tail: bytes, *, media_type: str) -> Response:
    """Return an answer with a package as base64 between two pieces of text, streamed."""
    length = len(head) + 4 * -(-payload.size // 3) + len(tail)
    return StreamingResponse(
        _encoded(hub, payload, head, tail), media_type=media_type, headers={"Content-Length": str(length)}
    )


def raw_file(hub: Hub, payload: StoredPayload, *, media_type: str) -> Response:
    """Return an answer that is a package, streamed."""
    return StreamingResponse(
        _chunks(hub, payload), media_type=media_type, headers={"Content-Length": str(payload.size)}
    )


def _encoded(hub: Hub, payload: StoredPayload, head: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    for chunk in _chunks(hub, payload):
        yield base64.encode(chunk)
    yield tail


def _chunks(hub: Hub, payload: StoredPayload) -> Iterator[bytes]:
    with hub.store.payloads.open(payload.sha256) as stream:
        left = b""
        while chunk := stream.read(_CHUNK_BYTES):
            # Object stores may give less than was asked for; all pieces but the last have the full size.
            left += chunk
            if len(left) >= _CHUNK_BYTES:
                yield left[:_CHUNK_BYTES]
                left = left[_CHUNK_BYTES:]
        if left:
            yield left


def _note(refusal: RefusalError) -> None:
    visit = current_visit()
    if visit is not None:
        visit.refusal = refusal
        visit.is_stranger |= refusal.error_code is ErrorCode.UNAUTHENTICATED


async def _drain(request: Request) -> None:
    """Read what is left of a small body: a connection cut while the caller writes hides our answer from it."""
    count = 0
    with contextlib.suppress(RuntimeError, TimeoutError):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _DRAIN_BYTES:
                    return
