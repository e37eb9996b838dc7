"""The hub as a web application: one store, the wires of the axes in front of it.

A wire is a module with a function ``routes(hub)`` that returns its routes; the options say which wires are spoken.
What all of them share is in :mod:`vnedoc.exchange.hub.core`. This module puts them together, behind one door
(:mod:`vnedoc.exchange.hub.door`), and adds health, metrics and what is for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConfigurationError, MissingExtraError
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions

try:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware

    from vnedoc.exchange.hub.chores import keep_house
    from vnedoc.exchange.hub.door import Door
    from vnedoc.exchange.hub.health import health_routes, live_route, metrics_route
except ImportError as exc:
    raise MissingExtraError("hub.missing-server") from exc

if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import ModuleType

    from starlette.routing import BaseRoute

    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["WIRES", "make_admin_app", "make_app", "make_wires_app"]

WIRES = {
    "vxp": "vnedoc.exchange.hub.vxp",
    "lgsp": "vnedoc.exchange.hub.lgsp",
    "lgsp-oauth2": "vnedoc.exchange.hub.lgsp_oauth2",
    "bkav-rest": "vnedoc.exchange.hub.bkav_rest",
    "bkav-soap": "vnedoc.exchange.hub.bkav_soap",
    "xroad": "vnedoc.exchange.hub.xroad",
}
"""The wires by their names in the options; each module has a function ``routes(hub)``."""


def make_app(
    store: HubStore,
    *,
    options: HubOptions = HubOptions(),
    clock: Callable[[], datetime.datetime] = utc_now,
) -> Starlette:
    """Return the hub as an ASGI application.

    Args:
        store: Its memory; stays open when the application ends.
        options: How it behaves.
        clock: Tells the time.

    Raises:
        ConfigurationError: The options name a wire that there is not.
        MissingExtraError: A part of the extra ``server`` is not installed.
    """
    hub = Hub(store, options=options, clock=clock)
    return make_wires_app(hub, with_health=True)


def make_wires_app(hub: Hub, *, with_health: bool) -> Starlette:
    """Return the application that systems call; it keeps house for the hub while it runs, and closes it at its end.

    Args:
        hub: The hub; found again as ``app.state.hub``.
        with_health: Whether it says how the hub is. Else it says no more than that it is there.

    Raises:
        ConfigurationError: The options name a wire that there is not.
        MissingExtraError: A part of the extra ``server`` is not installed.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # What a killed hub left half written was never answered for.
        hub.store.payloads.sweep()
        chores = asyncio.create_task(keep_house(hub))
        try:
            yield
        finally:
            chores.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await chores
            await asyncio.to_thread(hub.close)

    routes: list[BaseRoute] = [live_route()]
    if with_health:
        routes += health_routes(hub)
    if hub.options.admin:
        routes += [metrics_route(hub), *_admin_routes(hub)]
    if with_health:
        routes += _console_routes(hub)
    calls: dict[Callable[..., object], tuple[str, str]] = {}
    for name in hub.options.wires:
        for route in _wire(name).routes(hub):
            calls[route.endpoint] = (name, route.path)
            routes.append(route)
    app = _application(hub, routes, calls=calls, lifespan=lifespan)
    app.state.hub = hub
    return app


def make_admin_app(hub: Hub) -> Starlette:
    """Return the application for those who run the hub: health, metrics, the administration API, the console.

    Args:
        hub: The hub, which also answers systems elsewhere.

    Raises:
        MissingExtraError: A part of the extra ``server`` is not installed.
    """
    routes: list[BaseRoute] = [live_route(), *health_routes(hub), metrics_route(hub)]
    routes += [*_admin_routes(hub), *_console_routes(hub, has_port=True)]
    return _application(hub, routes)


def _application(
    hub: Hub,
    routes: list[BaseRoute],
    *,
    calls: Mapping[Callable[..., object], tuple[str, str]] | None = None,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    app = Starlette(
        routes=routes, lifespan=lifespan, middleware=[Middleware(Door, hub=hub, calls=calls or {})]
    )
    # A path with a slash too many is no path of ours. The framework would send a package and its secret elsewhere: to
    # whatever address the caller's ``Host`` names, in plain HTTP behind a proxy that ends TLS.
    app.router.redirect_slashes = False
    return app


def _wire(name: str) -> ModuleType:
    if name not in WIRES:
        raise ConfigurationError("hub.unknown-wire", name=name, known=", ".join(WIRES))
    try:
        return importlib.import_module(WIRES[name])
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc


def _admin_routes(hub: Hub) -> list[BaseRoute]:
    try:
        from vnedoc.exchange.hub.accounts import Accounts
        from vnedoc.exchange.hub.admin import admin_routes
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc
    return admin_routes(hub, Accounts(hub.store, clock=hub.clock))


def _console_routes(hub: Hub, *, has_port: bool = False) -> list[BaseRoute]:
    if hub.options.console is None:
        return []
    try:
        from vnedoc.exchange.hub.accounts import Accounts
        from vnedoc.exchange.hub.console.routes import console_routes
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc
    accounts = Accounts(hub.store, clock=hub.clock)
    return console_routes(hub, accounts, options=hub.options.console, has_port=has_port)
