"""Between HTTP and a wire: bodies that are streamed to a file, and an end for errors that shows nothing inside.

A body is written to a temporary file while it arrives, never held in memory; a limit on its size and on its time
holds for every wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING, Protocol, Self

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from vnedoc._internal import base64
from vnedoc.exchange._json_stream import EnvelopeError, JSONStringSplitter
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.visits import current_visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from pathlib import Path

    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.payloads import StoredPayload

__all__ = [
    "Pieces",
    "StrangersBody",
    "StreamedAnswer",
    "announced_bytes",
    "body_chunks",
    "drain",
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
                await drain(request)
            response = refuse(refusal)
            if refusal.retry_after_s is not None:
                response.headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after_s)))
            return response
        except ClientDisconnect:
            # Nobody is left to read this; nothing was taken over.
            return Response(status_code=400)
        except Exception:
            trouble = RefusalError(ErrorCode.INTERNAL, "hub.internal", status=500)
            logger.exception("a call failed", extra={"refusal": trouble.message_id})
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
    body = _Body(request, hub, limit=limit)
    if limit > _MAX_SMALL_BODY_BYTES:
        await body.begin_upload()
    async for chunk in body.chunks():
        yield chunk


class _Body:
    """A body that comes no longer and no more slowly than the options allow.

    Args:
        request: The request.
        hub: Its options say how slow is too slow.
        limit: The largest body.

    Raises:
        RefusalError: It is too large.
    """

    def __init__(self, request: Request, hub: Hub, *, limit: int) -> None:
        self._announced = announced_bytes(request)
        if self._announced > limit:
            raise too_large(hub)
        self._request = request
        self._hub = hub
        self._limit = limit
        self._count = 0
        self._visit = current_visit()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def begin_upload(self) -> None:
        """Wait for room for a package; only then the time of its caller runs.

        Raises:
            RefusalError: There is none now.
        """
        if self._visit is not None:
            await self._hub.begin_upload(self._visit, self._announced)
        self._began = self._loop.time()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield it piece by piece.

        Raises:
            RefusalError: It is too large, or comes too slowly.
        """
        stream = self._request.stream()
        while True:
            try:
                async with asyncio.timeout_at(self._ends_at()):
                    chunk = await anext(stream, None)
            except TimeoutError as exc:
                raise RefusalError(ErrorCode.INVALID_FILE, "hub.too-slow", status=408) from exc
            if chunk is None:
                return
            self._count += len(chunk)
            if self._count > self._limit:
                raise too_large(self._hub)
            if self._visit is not None:
                self._hub.note_bytes(self._visit, len(chunk))
            yield chunk

    def _ends_at(self) -> float:
        # A caller that drips holds a connection and a file, but not for ever.
        limits = self._hub.options.limits
        slowest = limits.min_rate_grace_s + self._count / limits.min_bytes_per_s
        return self._began + min(self._hub.options.upload_timeout_s, slowest)


class StrangersBody(_Body):
    """A body that says itself who sends it: until then it takes the room of strangers, for a short time.

    Enter it before it is read; :meth:`let_in` as soon as the caller is known.
    """

    def __init__(self, request: Request, hub: Hub, *, limit: int) -> None:
        super().__init__(request, hub, limit=limit)
        self._room = contextlib.AsyncExitStack()
        self.is_strangers = True
        """Whether nobody was let in yet."""

    async def __aenter__(self) -> Self:
        if self._visit is not None:
            await self._hub.begin_envelope(self._visit, until=self._room)
        self._began = self._loop.time()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._room.aclose()

    async def let_in(self) -> None:
        """Give the room of strangers back, and wait for that of the system which the caller proved to be.

        Raises:
            RefusalError: There is none now.
        """
        await self._room.aclose()
        await self.begin_upload()
        self.is_strangers = False

    def _ends_at(self) -> float:
        ends_at = super()._ends_at()
        if self.is_strangers:
            return min(ends_at, self._began + self._hub.options.limits.envelope_timeout_s)
        return ends_at


class Pieces(Protocol):
    """The content of an answer: pieces, and an end for whatever they come from, also if no piece was asked for."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""

    def __next__(self) -> bytes:
        """Return the next piece."""

    def close(self) -> None:
        """Give back what was held for it."""


class StreamedAnswer(StreamingResponse):
    """An answer that is sent piece by piece; what its pieces come from is closed when it is over, however it ends.

    Where a caller hangs up, Starlette leaves that to the garbage collector: files stay open, and on the disk.

    Args:
        pieces: The content.
        media_type: Its content type.
        size: How many bytes it has; ``None`` if nobody knows.
        background: What is done afterwards.
    """

    def __init__(
        self,
        pieces: Pieces,
        *,
        media_type: str,
        size: int | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        headers = {} if size is None else {"Content-Length": str(size)}
        super().__init__(pieces, media_type=media_type, headers=headers, background=background)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # In a thread: to remove a folder takes its time. A server that is stopped by force leaves its threads at
            # work; what they hold goes with the process.
            with contextlib.suppress(ValueError):
                await run_in_threadpool(self._pieces.close)


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
    return StreamedAnswer(_encoded(hub, payload, head, tail), media_type=media_type, size=length)


def raw_file(hub: Hub, payload: StoredPayload, *, media_type: str) -> Response:
    """Return an answer that is a package, streamed."""
    return StreamedAnswer(_chunks(hub, payload), media_type=media_type, size=payload.size)


def _encoded(hub: Hub, payload: StoredPayload, head: bytes, tail: bytes) -> Generator[bytes, None, None]:
    yield head
    with contextlib.closing(_chunks(hub, payload)) as chunks:
        for chunk in chunks:
            yield base64.encode(chunk)
    yield tail


def _chunks(hub: Hub, payload: StoredPayload) -> Generator[bytes, None, None]:
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


async def drain(request: Request) -> None:
    """Read what is left of a small body: a connection cut while the caller writes hides our answer from it.

    Args:
        request: The request; nothing happens if all of it was read.

    Raises:
        ClientDisconnect: The caller hung up.
    """
    count = 0
    with contextlib.suppress(RuntimeError, TimeoutError):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _DRAIN_BYTES:
                    return
