"""The routes of the console, for the application of a hub or for one of their own."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vnedoc.exchange.hub.accounts import Role
from vnedoc.exchange.hub.console.door import LOGIN_PATH, PREFIX, Door, PageError, harden
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.console.overview import Overview
from vnedoc.exchange.hub.console.registry import Registry
from vnedoc.exchange.hub.console.sign_in import SignIn
from vnedoc.exchange.hub.console.site import Site
from vnedoc.exchange.hub.console.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from vnedoc.exchange.hub.accounts import Accounts
    from vnedoc.exchange.hub.console.door import Visit
    from vnedoc.exchange.hub.core import Hub

__all__ = ["console_routes"]

_STATIC = {"console.css": "text/css", "mark.svg": "image/svg+xml"}


def console_routes(
    hub: Hub, accounts: Accounts, *, options: ConsoleOptions = ConsoleOptions(), has_port: bool = False
) -> list[BaseRoute]:
    """Return the routes of the console, all of them under ``/console``.

    Args:
        hub: The hub.
        accounts: The people who may look.
        options: How the console behaves.
        has_port: Whether the port is for those who run the hub: then its root leads to the console.
    """
    site = Site(hub, accounts, options)
    door = Door(accounts, show_error=site.error)
    sign_in, traffic, registry = SignIn(site), Traffic(site), Registry(site)
    pages = {
        "/": Overview(site).show,
        "/messages": traffic.messages,
        "/messages/{message_id}": traffic.message,
        "/to-do": traffic.to_do,
        "/systems": registry.systems,
        "/systems/{system_id}": registry.system,
        "/agencies": registry.agencies,
        "/agencies/{code}": registry.agency,
        "/certificates": registry.certificates,
    }

    async def home(_request: Request) -> Response:
        return harden(RedirectResponse(f"{PREFIX}/", status_code=308))

    def missing(_visit: Visit) -> Response:
        raise PageError(404, "console.no-page")

    return [
        *(Route(path, home, methods=["GET"]) for path in ([PREFIX, "/"] if has_port else [PREFIX])),
        *(Route(f"{PREFIX}/static/{name}", _file(name), methods=["GET"]) for name in _STATIC),
        Route(LOGIN_PATH, door.page(sign_in.show, role=None), methods=["GET"]),
        Route(LOGIN_PATH, door.action(sign_in.log_in, role=None, is_login=True), methods=["POST"]),
        Route(f"{PREFIX}/logout", door.action(sign_in.log_out, role=None), methods=["POST"]),
        Route(f"{PREFIX}/retry", door.action(traffic.retry, role=Role.OPERATOR), methods=["POST"]),
        *(Route(PREFIX + path, door.page(show), methods=["GET"]) for path, show in pages.items()),
        Route(f"{PREFIX}/audit", door.page(registry.audit, role=Role.ADMIN), methods=["GET"]),
        # To strangers all pages look the same, those that there are not, too.
        Route(f"{PREFIX}/{{rest:path}}", door.page(missing), methods=["GET"]),
    ]


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    content = (resources.files(__package__) / "static" / name).read_bytes()

    async def answer(_request: Request) -> Response:
        # The address of a page's style carries the version: a new one is fetched anew.
        headers = {"Cache-Control": "public, max-age=86400"}
        return harden(Response(content, media_type=_STATIC[name], headers=headers))

    return answer
