"""The hub as a web application: one store, the wires of the axes in front of it.

A wire is a list of routes with a handler each; :mod:`vnedoc.exchange.hub.vxp` is the first. This module adds what
all of them need: options, health, and an end for errors that tells the caller nothing about our insides.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import MissingExtraError
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

    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["make_app", "serve"]

logger = logging.getLogger("vnedoc.hub")


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
    """
    from vnedoc.exchange.hub.vxp import VXPWire

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # What a killed hub left half written was never answered for.
        store.payloads.sweep()
        yield

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok")

    wire = VXPWire(store, options=options, clock=clock)
    return Starlette(routes=[Route("/health", live, methods=["GET"]), *wire.routes()], lifespan=lifespan)


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
