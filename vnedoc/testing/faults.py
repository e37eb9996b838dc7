"""Make a server on loopback misbehave, once or a few times, as networks and axes do.

A :class:`Faults` stands in front of an application; without a plan it lets everything through, and it is no part of
what it stands in front of::

    faults = Faults()
    with running_hub(faults=faults) as hub:
        faults.plan(LostAnswer(), path="/sendEdoc")
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping

__all__ = ["Answered", "CutAnswer", "CutRequest", "Delayed", "Fault", "Faults", "Flooded", "LostAnswer"]

# The shapes of ASGI 3.
if TYPE_CHECKING:
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_FLOOD_CHUNK = b" " * 65536


@dataclasses.dataclass(frozen=True, slots=True)
class Delayed:
    """The answer comes, but late."""

    seconds: float
    """How late."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """Something else is answered, and the application is not asked."""

    status: int
    """The status."""
    body: bytes = b""
    """The body."""
    media_type: str = "text/plain"
    """The media type of the body."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Further headers, such as ``Retry-After``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Flooded:
    """An endless answer begins, and goes on for so many bytes."""

    size: int
    """How many."""


@dataclasses.dataclass(frozen=True, slots=True)
class CutAnswer:
    """The connection breaks in the middle of the answer."""

    after_bytes: int = 1
    """After so many bytes of the body."""


@dataclasses.dataclass(frozen=True, slots=True)
class CutRequest:
    """The connection breaks while the request is sent; the application never sees it."""

    after_bytes: int = 0
    """After so many bytes of the body."""


@dataclasses.dataclass(frozen=True, slots=True)
class LostAnswer:
    """The application does what was asked, and the answer is lost."""


Fault = Delayed | Answered | Flooded | CutAnswer | CutRequest | LostAnswer
"""What can go wrong."""


@dataclasses.dataclass(slots=True)
class _Planned:
    fault: Fault
    path: str
    method: str | None
    times: int


class Faults:
    """A plan of what goes wrong, and a list of what was asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self.requests: list[str] = []
        """Method and path of every request, in order."""

    def plan(self, fault: Fault, *, path: str = "", method: str | None = None, times: int = 1) -> None:
        """Let the next requests go wrong.

        Args:
            fault: How.
            path: Only requests whose path has this in it.
            method: Only requests with this method.
            times: How many of them.
        """
        with self._lock:
            self._planned.append(_Planned(fault, path, method, times))

    def clear(self) -> None:
        """Forget the plan and the list."""
        with self._lock:
            self._planned.clear()
            self.requests.clear()

    @contextlib.contextmanager
    def planned(self, fault: Fault, *, path: str = "", times: int = 1_000_000) -> Iterator[None]:
        """Let requests go wrong until the block ends."""
        self.plan(fault, path=path, times=times)
        try:
            yield
        finally:
            with self._lock:
                self._planned = [item for item in self._planned if item.fault is not fault]

    def around(self, app: App) -> App:
        """Return an application that misbehaves in front of another one."""

        async def faulty(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            fault = self._next(scope)
            if fault is None:
                await app(scope, receive, send)
            else:
                await _misbehave(fault, app, scope, receive, send)

        return faulty

    def _next(self, scope: MutableMapping[str, Any]) -> Fault | None:
        if scope["type"] != "http":
            return None
        with self._lock:
            self.requests.append(f"{scope['method']} {scope['path']}")
            for item in self._planned:
                if item.times > 0 and item.path in scope["path"] and item.method in {None, scope["method"]}:
                    item.times -= 1
                    return item.fault
        return None


async def _misbehave(
    fault: Fault, app: App, scope: MutableMapping[str, Any], receive: Receive, send: Send
) -> None:
    if isinstance(fault, Delayed):
        await asyncio.sleep(fault.seconds)
        await app(scope, receive, send)
    elif isinstance(fault, Answered):
        await _read(receive)
        headers = {
            "Content-Type": fault.media_type,
            "Content-Length": str(len(fault.body)),
            **fault.headers,
        }
        await send(_start(fault.status, headers))
        await send({"type": "http.response.body", "body": fault.body})
    elif isinstance(fault, Flooded):
        await _read(receive)
        await send(_start(200, {"Content-Type": "application/json"}))
        for _ in range(0, fault.size, len(_FLOOD_CHUNK)):
            await send({"type": "http.response.body", "body": _FLOOD_CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    elif isinstance(fault, CutAnswer):
        await app(scope, receive, _cutting(send, fault.after_bytes))
    elif isinstance(fault, CutRequest):
        await _read(receive, at_most=fault.after_bytes)
        await _cut(send)
    else:
        await app(scope, receive, _swallow)
        await _cut(send)


async def _swallow(_message: Message) -> None:
    """Lose a piece of an answer."""


async def _cut(send: Send) -> None:
    # An answer that announces more than it brings: the server closes the connection after it.
    await send(_start(200, {"Content-Length": "1000000"}))


def _cutting(send: Send, limit: int) -> Send:
    left = limit

    async def cutting(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
        elif left > 0:
            body = message.get("body", b"")[:left]
            left -= len(body)
            await send({"type": "http.response.body", "body": body, "more_body": True})

    return cutting


async def _read(receive: Receive, *, at_most: int | None = None) -> None:
    count = 0
    while at_most is None or count < at_most:
        message = await receive()
        count += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _start(status: int, headers: Mapping[str, str]) -> Message:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
