"""The hub as a web application: one store, the wires of the axes in front of it.

A wire is a module with a function ``routes(hub)`` that returns its routes; the options say which wires are spoken.
What all of them share is in :mod:`vnedoc.exchange.hub.core`. This module puts them together and adds health.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConfigurationError, MissingExtraError
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions

try:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
except ImportError as exc:
    raise MissingExtraError("hub.missing-server") from exc

if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["WIRES", "make_app", "serve"]

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

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # What a killed hub left half written was never answered for.
        store.payloads.sweep()
        yield

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok")

    hub = Hub(store, options=options, clock=clock)
    routes: list[BaseRoute] = [Route("/health", live, methods=["GET"])]
    if options.admin:
        try:
            from vnedoc.exchange.hub.accounts import Accounts
            from vnedoc.exchange.hub.admin import admin_routes
        except ImportError as exc:
            raise MissingExtraError("hub.missing-server") from exc
        routes.extend(admin_routes(hub, Accounts(store, clock=clock)))
    for name in options.wires:
        if name not in WIRES:
            raise ConfigurationError("hub.unknown-wire", name=name, known=", ".join(WIRES))
        try:
            wire = importlib.import_module(WIRES[name])
        except ImportError as exc:
            raise MissingExtraError("hub.missing-server") from exc
        routes.extend(wire.routes(hub))
    return Starlette(routes=routes, lifespan=lifespan)


def serve(store: HubStore, *, host: str, port: int, options: HubOptions = HubOptions()) -> None:
    """Answer until the process is told to stop.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc
    uvicorn.run(
        make_app(store, options=options), host=host, port=port, log_level="warning", server_header=False
    )
