"""The hub's own API for administration: REST with JSON under ``/admin/api/v1``, described by OpenAPI 3.1.

It is no wire of an axis: programs of whoever runs the hub call it, with a token of ``vnedoc hub token add``.

* Three roles: a viewer looks, an operator tries deliveries again, an admin changes systems, agencies and tokens.
* Refusals are problem details (RFC 9457); changes of what somebody else may be changing take ``If-Match``; calls that
  create take ``Idempotency-Key``.
* A secret is in the answer to the call that made it, and nowhere else.

The description is served at ``/admin/api/openapi.json``, to everybody: it says nothing about this hub.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.routing import Mount

from vnedoc._internal.version import VERSION
from vnedoc.exchange.hub import _admin_access, _admin_agencies, _admin_systems, _admin_traffic
from vnedoc.exchange.hub._admin_gate import Gate, Office
from vnedoc.exchange.hub._admin_problems import add_handlers, check_path, check_query

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from vnedoc.exchange.hub.accounts import Accounts
    from vnedoc.exchange.hub.core import Hub

__all__ = ["PATH", "admin_routes", "describe"]

PATH = "/admin/api"
"""Where the API is."""

_SUMMARY = "Administration of a vnedoc hub"
_TEXT = (
    "Systems, agencies, messages, deliveries, tokens and the audit log of a hub. Every call but the one for this "
    "description takes `Authorization: Bearer` with a token of `vnedoc hub token add`."
)


def admin_routes(hub: Hub, accounts: Accounts) -> list[BaseRoute]:
    """Return the routes of the API, for the application of a hub or for one of their own.

    Args:
        hub: The hub.
        accounts: Who may call.
    """
    app = _app()
    app.state.office = Office(hub, accounts)
    mount = Mount(PATH, app=Gate(app, office=app.state.office))
    # A path may hold line ends, too; it must not pass the gate by.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    return [mount]


def describe() -> dict[str, Any]:  # OpenAPI
    """Return the OpenAPI 3.1 description of the API."""
    return _app().openapi()


class _API(FastAPI):
    """The framework's application, with a description that says what is meant."""

    def openapi(self) -> dict[str, Any]:  # OpenAPI
        """Return the description."""
        if self.openapi_schema is None:
            self.openapi_schema = _tidied(super().openapi())
        return self.openapi_schema


def _tidied(document: dict[str, Any]) -> dict[str, Any]:  # OpenAPI
    """Take out of a description what is not so: parameters that are null, refusals as plain JSON."""
    for methods in document["paths"].values():
        for call in methods.values():
            for parameter in call.get("parameters", ()):
                schema = parameter["schema"]
                kinds = [kind for kind in schema.pop("anyOf", ()) if kind.get("type") != "null"]
                for kind in kinds:
                    schema.update(kind)
            for status, answer in call["responses"].items():
                if status.startswith(("4", "5")):
                    answer["content"].pop("application/json", None)
    return document


def _app() -> FastAPI:
    app = _API(
        title=_SUMMARY,
        description=_TEXT,
        version=VERSION,
        servers=[{"url": PATH}],
        root_path_in_servers=False,
        # Their pages load programs from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    # The gate has let the caller in before; this says so in the description.
    bearer = HTTPBearer(
        auto_error=False, scheme_name="token", description="A token of `vnedoc hub token add`."
    )
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(check_path), Depends(bearer), Depends(check_query)])
    for module in (_admin_systems, _admin_agencies, _admin_traffic, _admin_access):
        v1.include_router(module.router)
    app.include_router(v1)
    add_handlers(app)
    return app
