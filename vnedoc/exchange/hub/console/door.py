"""The door of the console: who comes in, with which cookie, from where, and what all answers carry.

* The session's cookie is ``HttpOnly`` and ``SameSite=Strict``; it is ``Secure``, named ``__Host-…``, unless the
  browser talks to its own machine in plain HTTP (RFC 6265bis, 4.1.3).
* A form is taken only from our own pages: ``Sec-Fetch-Site`` or ``Origin`` say so, and it carries the CSRF token of
  the session. ``Referrer-Policy`` is not ``no-referrer``, for then browsers would not say where a form comes from.
* No page runs scripts or loads anything from elsewhere; none is kept by a browser or shown in a frame.

Pages have few threads of their own, so that people who look do not slow the wires down.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hmac
import ipaddress
import logging
import re
import urllib.parse
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from vnedoc.errors import RemoteError, VnedocError
from vnedoc.exchange.hub.accounts import Role
from vnedoc.exchange.hub.console.words import Words, choose_language
from vnedoc.exchange.hub.visits import note_account, note_reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request

    from vnedoc.exchange.hub.accounts import Accounts, Principal

__all__ = ["LOGIN_PATH", "PREFIX", "Door", "PageError", "Visit", "harden", "safe_next"]

logger = logging.getLogger("vnedoc.hub")

PREFIX = "/console"
LOGIN_PATH = f"{PREFIX}/login"
MAX_FORM_BYTES = 64 * 1024
MAX_FIELDS = 500
FORM_TIMEOUT_S = 15.0
THREADS = 8
# A password costs 50 ms and 16 MiB: two at a time are enough for people, and too few to wear the machine out.
LOGIN_THREADS = 2
_LANGUAGE_COOKIE = "vnedoc-language"
_LANGUAGE_LASTS_S = 365 * 24 * 3600
_NEXT = re.compile(r"/console(?:/[A-Za-z0-9._~:-]+)*/?(?:\?[A-Za-z0-9._~%=&:+-]*)?")
_MAX_NEXT = 2000
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class PageError(Exception):
    """A page that says why there is no page.

    Args:
        status: The HTTP status.
        message_id: The id of its sentence.
        values: What the sentence names.
    """

    def __init__(self, status: int, message_id: str, **values: object) -> None:
        super().__init__(message_id)
        self.status = status
        self.message_id = message_id
        self.values = values


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """One request of a visitor."""

    request: Request
    """The request."""
    words: Words
    """The words of their language."""
    principal: Principal | None
    """Who is logged in."""
    form: Mapping[str, Sequence[str]]
    """The fields of a form that was sent."""

    @property
    def who(self) -> Principal:
        """Who is logged in, where somebody must be."""
        assert self.principal is not None
        return self.principal

    def asked(self, name: str, *, most: int = 200) -> str:
        """Return a parameter of the address, without spaces around it, cut to a length."""
        return self.request.query_params.get(name, "").strip()[:most]

    def field(self, name: str) -> str:
        """Return a field of the form."""
        return next(iter(self.form.get(name, ())), "")


class Door:
    """Lets visitors in.

    Args:
        accounts: Who may come in.
        show_error: Writes the page for an error.
    """

    def __init__(self, accounts: Accounts, *, show_error: Callable[[Visit, PageError], Response]) -> None:
        self._accounts = accounts
        self._show_error = show_error
        self._threads: anyio.CapacityLimiter | None = None
        self._login_threads: anyio.CapacityLimiter | None = None

    def page(
        self, show: Callable[[Visit], Response], *, role: Role | None = Role.VIEWER
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a page.

        Args:
            show: Writes it, in a thread.
            role: Who may see it; ``None`` is everybody.
        """

        async def endpoint(request: Request) -> Response:
            return await self._answer(request, show, role=role, is_form=False, is_login=False)

        return endpoint

    def action(
        self, do: Callable[[Visit], Response], *, role: Role | None, is_login: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a form.

        Args:
            do: Does it, in a thread.
            role: Who may; ``None`` is everybody, and ``do`` looks at the CSRF token itself.
            is_login: Whether a password is checked.
        """

        async def endpoint(request: Request) -> Response:
            return await self._answer(request, do, role=role, is_form=True, is_login=is_login)

        return endpoint

    async def _answer(
        self,
        request: Request,
        call: Callable[[Visit], Response],
        *,
        role: Role | None,
        is_form: bool,
        is_login: bool,
    ) -> Response:
        language = choose_language(
            request.query_params,
            request.cookies,
            accepted=request.headers.get("accept-language", ""),
            cookie=_LANGUAGE_COOKIE,
        )
        visit = Visit(request, Words(language), None, {})
        try:
            if is_form:
                if not _is_from_here(request):
                    raise PageError(403, "console.other-site")
                visit = dataclasses.replace(visit, form=await _read_form(request))
            response = await anyio.to_thread.run_sync(
                functools.partial(self._in_thread, visit, call, role=role, is_form=is_form),
                limiter=self._limiter(is_login=is_login),
            )
        except PageError as error:
            response = self._refuse(visit, error)
        except ClientDisconnect:
            return Response(status_code=400)
        except RemoteError:
            logger.warning("a page of the console could not be made: the database is away", exc_info=True)
            response = self._refuse(visit, PageError(503, "console.away"))
        except Exception:
            logger.exception("a page of the console failed", extra={"refusal": "console.failed"})
            response = self._refuse(visit, PageError(500, "console.failed"))
        if request.query_params.get("lang") == language.value:
            response.set_cookie(
                _LANGUAGE_COOKIE,
                language.value,
                max_age=_LANGUAGE_LASTS_S,
                path=PREFIX,
                secure=is_secure(request),
                httponly=True,
                samesite="strict",
            )
        return harden(response)

    def _in_thread(
        self,
        visit: Visit,
        call: Callable[[Visit], Response],
        *,
        role: Role | None,
        is_form: bool,
    ) -> Response:
        request = visit.request
        token = request.cookies.get(session_cookie(request), "")
        principal = self._accounts.session(token) if token else None
        visit = dataclasses.replace(visit, principal=principal)
        if role is not None:
            note_account(None if principal is None else principal.name)
            if principal is None:
                return _to_login(request, is_form=is_form)
            try:
                if is_form and not is_same(visit.field("csrf"), principal.csrf):
                    raise PageError(403, "console.stale-form")
                if not principal.may(role):
                    raise PageError(403, "console.not-allowed", role=visit.words.role(role.value))
            except PageError as error:
                # Here it is known who looks: the page has their menu.
                return self._refuse(visit, error)
        try:
            return call(visit)
        except PageError as error:
            return self._refuse(visit, error)
        except VnedocError as error:
            if isinstance(error, RemoteError):
                raise
            # What somebody asked for cannot be done; the error says why, in their language.
            logger.info("the console refused an action", extra={"refusal": error.code})
            return self._refuse(visit, PageError(422, error.code, **error.values))

    def _refuse(self, visit: Visit, error: PageError) -> Response:
        note_reason(error.message_id)
        return self._show_error(visit, error)

    def _limiter(self, *, is_login: bool) -> anyio.CapacityLimiter:
        # Made when the event loop runs: an application may be made before it.
        if self._threads is None or self._login_threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
            self._login_threads = anyio.CapacityLimiter(LOGIN_THREADS)
        return self._login_threads if is_login else self._threads


def harden(response: Response) -> Response:
    """Give an answer the headers of all pages; what was not meant to be kept is not kept."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def session_cookie(request: Request) -> str:
    """Return the name of the cookie that holds the session."""
    return "__Host-vnedoc-console" if is_secure(request) else "vnedoc-console"


def login_cookie(request: Request) -> str:
    """Return the name of the cookie that a form to log in belongs to."""
    return "__Host-vnedoc-login" if is_secure(request) else "vnedoc-login"


def set_private_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """Set a cookie that ends with the browser and that no script and no other site gets to use."""
    response.set_cookie(name, value, path="/", secure=is_secure(request), httponly=True, samesite="strict")


def drop_cookie(request: Request, response: Response, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(name, path="/", secure=is_secure(request), httponly=True, samesite="strict")


def is_secure(request: Request) -> bool:
    """Tell whether cookies are for TLS only: always, but on a browser's own machine in plain HTTP.

    A proxy that ends TLS talks plain HTTP to us; what the browser talks to is what ``Host`` names.
    """
    return request.url.scheme == "https" or not _is_loopback(request.url.hostname or "")


def lost_its_cookie(request: Request) -> bool:
    """Tell whether a browser threw the cookie of the login away, because its own address is not ``https``.

    Browsers say ``Sec-Fetch-Site`` to a place that they trust, so also to a proxy that ends TLS before us.
    """
    is_plain = request.url.scheme != "https" and "sec-fetch-site" not in request.headers
    return is_plain and is_secure(request) and login_cookie(request) not in request.cookies


def is_same(given: str, expected: str) -> bool:
    """Compare two tokens in constant time; an empty one is never right."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def safe_next(text: str) -> str:
    """Return where to go after the login: a page of the console, whatever the address says."""
    if (
        len(text) <= _MAX_NEXT
        and _NEXT.fullmatch(text)
        and not text.startswith((LOGIN_PATH, f"{PREFIX}/logout"))
    ):
        return text
    return f"{PREFIX}/"


def _to_login(request: Request, *, is_form: bool) -> Response:
    path = request.url.path
    if is_form:
        return RedirectResponse(LOGIN_PATH, status_code=303)
    if request.url.query:
        path = f"{path}?{request.url.query}"
    query = "" if safe_next(path) in {PREFIX, f"{PREFIX}/"} else "?" + urllib.parse.urlencode({"next": path})
    return RedirectResponse(LOGIN_PATH + query, status_code=303)


def _is_from_here(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None
    try:
        place = urllib.parse.urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    # The scheme is not compared: behind a proxy that ends TLS we see another than the browser.
    return place == request.headers.get("host", "").lower() != ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _read_form(request: Request) -> dict[str, list[str]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise PageError(415, "console.bad-form")
    body = b""
    try:
        async with asyncio.timeout(FORM_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM_BYTES:
                    raise PageError(413, "console.bad-form")
    except TimeoutError as exc:
        raise PageError(408, "console.bad-form") from exc
    try:
        return urllib.parse.parse_qs(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MAX_FIELDS
        )
    except ValueError as exc:
        raise PageError(400, "console.bad-form") from exc
