"""What the wires share whose calls are HTTP requests with JSON answers: callers are let in first, bodies are objects.

A call of such a wire is a method that gets the request and its caller; it runs only after the caller was let in, and
whatever it refuses is written in the words of the wire. A call with a body gets the entrance of its caller, too:
while the body comes, what let the caller in may end. The forms of the answers are left to each wire: they are
those of different axes, and look alike by chance.
"""

from __future__ import annotations

import abc
import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from vnedoc.exchange import _vxp
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub import answering
from vnedoc.exchange.hub.core import bad_parameter
from vnedoc.exchange.hub.entrances import Entrance
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.tokens import check_token
from vnedoc.exchange.stores._types import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.hub_secrets import SystemAccess

__all__ = ["Wire", "kind_of", "load_json", "parse_object", "read_object", "read_parameters", "token_holder"]

_Caller = TypeVar("_Caller")
_KINDS = {word: kind for kind, word in _vxp.MESSAGE_TYPES.items()}


class Wire(abc.ABC, Generic[_Caller]):
    """A wire whose callers are let in before they are answered.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(
        self,
        calls: Iterable[tuple[str, str, Callable[[Request, _Caller], Awaitable[Response]]]],
        *,
        prefix: str = "",
    ) -> list[Route]:
        """Return the routes of calls.

        Args:
            calls: Path, method, and what answers.
            prefix: What all paths begin with.
        """
        return [Route(prefix + path, self._guarded(call), methods=[method]) for path, method, call in calls]

    def routes_with_bodies(
        self,
        calls: Iterable[tuple[str, str, Callable[[Request, _Caller, Entrance], Awaitable[Response]]]],
        *,
        prefix: str = "",
    ) -> list[Route]:
        """Return the routes of calls that act on what their bodies say.

        Args:
            calls: Path, method, and what answers; it sees to it that the entrance still holds.
            prefix: What all paths begin with.
        """
        return [
            Route(prefix + path, self._guarded_with_body(call), methods=[method])
            for path, method, call in calls
        ]

    def _guarded(
        self, call: Callable[[Request, _Caller], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            caller, _ = await run_in_threadpool(self._let_in, request)
            return await call(request, caller)

        return answering.guarded(answer, refuse=self._refuse)

    def _guarded_with_body(
        self, call: Callable[[Request, _Caller, Entrance], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            caller, stamp = await run_in_threadpool(self._let_in, request)
            return await call(request, caller, Entrance(stamp, lambda: self._let_in_again(request)))

        return answering.guarded(answer, refuse=self._refuse)

    @abc.abstractmethod
    def _let_in(self, request: Request) -> tuple[_Caller, str]:
        """Return who calls, and the stamp of how it got in, or raise RefusalError; no body was read yet."""

    def _let_in_again(self, request: Request) -> str:
        """Return the stamp of how the caller gets in now, or raise RefusalError."""
        return self._let_in(request)[1]

    @abc.abstractmethod
    def _refuse(self, refusal: RefusalError) -> Response:
        """Write a refusal as the wire has it."""


def token_holder(request: Request, hub: Hub, *, wire: str) -> SystemAccess | None:
    """Return how the system gets in that a bearer token is for (RFC 6750, 2.1); ``None``: it is not good.

    Args:
        request: The request.
        hub: The hub, which gave the token.
        wire: Which wire it was sent to.

    Raises:
        RefusalError: There is none.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise RefusalError(ErrorCode.UNAUTHENTICATED, "hub.no-bearer", status=401)
    found: SystemAccess | None = None

    def keys_of(system_id: str) -> tuple[bytes, ...]:
        nonlocal found
        found = hub.access(system_id)
        return () if found is None else found.keys

    holder = check_token(token.strip(), keys_of=keys_of, wire=wire, now=hub.clock())
    return None if holder is None else found


def kind_of(word: str, *, name: str) -> PackageKind:
    """Return what a package carries, by the national axis's word for it.

    Args:
        word: The word, in any case of letters.
        name: The parameter that it stands in.

    Raises:
        RefusalError: It is another word.
    """
    kind = _KINDS.get(word.lower())
    if kind is None:
        raise bad_parameter(name, word)
    return kind


async def read_object(request: Request, hub: Hub) -> dict[str, Any]:  # JSON
    """Return the JSON object of a body that holds parameters, no package.

    Raises:
        RefusalError: It is none, or far larger than parameters are.
    """
    return parse_object(await answering.read_small_body(request, hub))


async def read_parameters(request: Request, hub: Hub, entrance: Entrance) -> bytes:
    """Return a body that holds parameters, no package; when it is there, its caller must still get in.

    Args:
        request: The request.
        hub: The hub.
        entrance: How the caller got in.

    Raises:
        RefusalError: It is far larger than parameters are, or the caller may not call any more.
    """
    body = await answering.read_small_body(request, hub)
    await run_in_threadpool(entrance.again)
    return body


def load_json(body: bytes) -> Any:  # JSON
    """Return what a body says as JSON; what is no text in it, such as half a surrogate pair, is U+FFFD.

    Raises:
        ValueError: It is no JSON, or goes too deep.
    """
    try:
        return _told(json.loads(body))
    except RecursionError as exc:
        raise ValueError("too deep") from exc


def _told(value: Any) -> Any:  # JSON
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_told(item) for item in value]
    if isinstance(value, dict):
        return {plain(name): _told(item) for name, item in value.items()}
    return value


def parse_object(body: bytes) -> dict[str, Any]:  # JSON
    """Return the JSON object of a body.

    Raises:
        RefusalError: It is none.
    """
    try:
        fields = load_json(body)
    except ValueError as exc:
        raise RefusalError(ErrorCode.BAD_PARAMETER, "hub.not-json", reason=str(exc)[:200]) from exc
    if not isinstance(fields, dict):
        raise RefusalError(ErrorCode.BAD_PARAMETER, "hub.not-json", reason="not an object")
    return fields
