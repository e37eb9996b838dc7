"""The gate of the administration API: who calls, how much they may send, and what they may do.

The gate stands before everything else: a stranger's body is not read. Only ``Authorization: Bearer`` lets in, never a
cookie, so that no page in a browser can make calls in somebody's name. Wrong tokens are answered with 401, too many
of them from one address with 429; a right token gets in all the same, for an office may sit behind one address.
"""

from __future__ import annotations

import collections
import dataclasses
import ipaddress
import logging
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from vnedoc import messages
from vnedoc.errors import RemoteError, VnedocError
from vnedoc.exchange.hub._admin_problems import RETRY_AFTER_S, ProblemError, language_of, problem
from vnedoc.exchange.hub.accounts import Principal, Role
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.visits import note_account

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vnedoc.exchange.hub.accounts import Accounts
    from vnedoc.exchange.hub.core import Hub

__all__ = ["Admin", "Desk", "FailureLimit", "Gate", "Office", "Operator", "Viewer"]

logger = logging.getLogger("vnedoc.hub")

OPEN_PATHS = frozenset({"/openapi.json"})
"""What everybody may read."""
LARGE_PATHS = frozenset({"/v1/agencies/import"})
"""What takes a whole directory."""
MAX_BODY_BYTES = 256 * 1024
MAX_LARGE_BODY_BYTES = 64 * 1024 * 1024
MAX_FAILURES = 10
FAILURE_WINDOW_S = 60.0
MAX_ADDRESSES = 10_000
_IPV6_PREFIX = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Office:
    """What the API works with."""

    hub: Hub
    """The hub."""
    accounts: Accounts
    """Who may call."""


@dataclasses.dataclass(frozen=True, slots=True)
class Desk:
    """One call by somebody who was let in."""

    principal: Principal
    """Who calls."""
    hub: Hub
    """The hub."""
    administration: Administration
    """Changes in their name."""
    accounts: Accounts
    """Accounts, changed in their name."""


class FailureLimit:
    """Counts failures by address, in this process, within a sliding window.

    Args:
        most: How many are free.
        window_s: Within how many seconds.
    """

    def __init__(self, *, most: int = MAX_FAILURES, window_s: float = FAILURE_WINDOW_S) -> None:
        self._most = most
        self._window_s = window_s
        self._seen: collections.OrderedDict[str, collections.deque[float]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str) -> float | None:
        """Return how many seconds an address has to wait, without noting anything; ``None`` if it is free."""
        now = time.monotonic()
        with self._lock:
            times = [
                moment for moment in self._seen.get(_place(address), ()) if now - moment <= self._window_s
            ]
        return self._window_s - (now - times[0]) if len(times) >= self._most else None

    def note(self, address: str) -> float | None:
        """Note a failure; return how many seconds the address has to wait, ``None`` if it is still free."""
        now = time.monotonic()
        place = _place(address)
        with self._lock:
            times = self._seen.setdefault(place, collections.deque())
            self._seen.move_to_end(place)
            if len(self._seen) > MAX_ADDRESSES:
                self._seen.popitem(last=False)
            while times and now - times[0] > self._window_s:
                times.popleft()
            if len(times) >= self._most:
                return self._window_s - (now - times[0])
            times.append(now)
            return None


class Gate:
    """Lets callers with a token in, and takes no more from them than there is room for.

    Args:
        app: What is behind the gate.
        office: Knows the tokens.
    """

    def __init__(self, app: ASGIApp, *, office: Office) -> None:
        self._app = app
        self._office = office
        self._failures = FailureLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = Headers(scope=scope)
        try:
            if path not in OPEN_PATHS:
                principal = await self._let_in(headers, (scope.get("client") or ("", 0))[0])
                scope.setdefault("state", {})["principal"] = principal
            body = _Body(receive, MAX_LARGE_BODY_BYTES if path in LARGE_PATHS else MAX_BODY_BYTES)
            body.check_length(headers.get("content-length", ""))
            await self._app(scope, body.read, _private(body.unless_too_large(send)))
            body.check()
        except ProblemError as error:
            await self._refuse(error, headers)(scope, receive, _private(send))
        except VnedocError as error:
            # The token could not be looked up; what is behind the gate answers its own errors.
            logger.exception("a call failed", extra={"refusal": error.code})
            await self._refuse(_trouble(error), headers)(scope, receive, _private(send))

    def _refuse(self, error: ProblemError, headers: Headers) -> Response:
        language = language_of(headers.get("accept-language", ""), self._office.hub.options.language)
        text = messages.text(error.code, language, **error.values)
        return problem(error.status, error.code, text, headers=error.headers)

    async def _let_in(self, headers: Headers, address: str) -> Principal:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        principal = await run_in_threadpool(self._office.accounts.bearer, given) if given else None
        if principal is not None:
            note_account(principal.name)
            return principal
        note_account(await run_in_threadpool(self._office.accounts.known_token, given))
        wait_s = self._failures.note(address)
        if wait_s is not None:
            raise ProblemError(429, "hub.too-many-tries", headers={"Retry-After": str(int(wait_s) + 1)})
        # RFC 6750, 3.1: who sent nothing is not told of an error.
        challenge = 'Bearer realm="vnedoc hub"' + (', error="invalid_token"' if given else "")
        raise ProblemError(401, "hub.no-access", headers={"WWW-Authenticate": challenge})


class _Body:
    """A body that ends at a limit.

    The framework answers an error that comes while it reads with words of its own, so that answer is held back.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._count = 0

    def check_length(self, length: str) -> None:
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise ProblemError(413, "hub.large-body", limit=self._limit)

    def check(self) -> None:
        if self._count > self._limit:
            raise ProblemError(413, "hub.large-body", limit=self._limit)

    async def read(self) -> Message:
        message = await self._receive()
        self._count += len(message.get("body", b""))
        self.check()
        return message

    def unless_too_large(self, send: Send) -> Send:
        async def answer(message: Message) -> None:
            if self._count <= self._limit:
                await send(message)

        return answer


def _trouble(error: VnedocError) -> ProblemError:
    if isinstance(error, RemoteError):
        return ProblemError(503, "hub.internal", headers={"Retry-After": str(RETRY_AFTER_S)})
    return ProblemError(500, "hub.internal")


def _private(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Cache-Control"] = "no-store"
            headers["X-Content-Type-Options"] = "nosniff"
        await send(message)

    return answer


def _place(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        # One caller has a whole network of these.
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


class _Needs:
    """A dependency: the desk of a caller who has a role."""

    def __init__(self, role: Role) -> None:
        self._role = role

    def __call__(self, request: Request) -> Desk:
        office: Office = request.app.state.office
        state: Any = request.state  # starlette's own bag
        principal: Principal = state.principal
        if not principal.may(self._role):
            raise ProblemError(403, "hub.role-too-low", role=self._role.value)
        hub = office.hub
        administration = Administration(hub.store, actor=principal.name, clock=hub.clock)
        return Desk(principal, hub, administration, office.accounts.acting(principal.name))


Viewer = Annotated[Desk, Depends(_Needs(Role.VIEWER))]
"""The desk of somebody who may look."""
Operator = Annotated[Desk, Depends(_Needs(Role.OPERATOR))]
"""The desk of somebody who may try deliveries again."""
Admin = Annotated[Desk, Depends(_Needs(Role.ADMIN))]
"""The desk of somebody who may change everything."""
