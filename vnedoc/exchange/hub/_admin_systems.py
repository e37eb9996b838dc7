"""The administration API: systems and their secrets."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from vnedoc.exchange.hub._admin_calls import (
    DEFAULT_PAGE,
    IdempotencyKey,
    IdInPath,
    IfMatch,
    Limit,
    create,
    expected_version,
    refusals,
    with_tag,
)
from vnedoc.exchange.hub._admin_gate import Admin, Viewer
from vnedoc.exchange.hub._admin_models import (
    NewSystem,
    Rotation,
    SecretMade,
    SystemChange,
    SystemMade,
    SystemPage,
    SystemView,
)

if TYPE_CHECKING:
    from vnedoc.exchange.hub.administration import Administration
    from vnedoc.exchange.stores.hub_administration import HubChanges

__all__ = ["router"]

router = APIRouter(prefix="/systems", tags=["systems"])

_USUAL = Rotation()


@router.get("", responses=refusals())
def list_systems(
    desk: Viewer, after: Annotated[str, Query(max_length=64)] = "", limit: Limit = DEFAULT_PAGE
) -> SystemPage:
    """List the systems. Role: viewer."""
    found = desk.administration.systems(after=after, limit=limit)
    items = [SystemView.model_validate(item) for item in found]
    return SystemPage(items=items, next=items[-1].id if len(items) == limit else None)


@router.post("", status_code=201, response_model=SystemMade, responses=refusals(409, 413))
def add_system(
    desk: Admin, request: Request, wanted: NewSystem, idempotency_key: IdempotencyKey = None
) -> Response:
    """Add a system; its secret is in the answer, this once. Role: admin."""

    def change(bound: Administration, _changes: HubChanges) -> tuple[SystemMade, str]:
        record, made = bound.add_system(
            wanted.id, name=wanted.name, networks=wanted.networks, certificates=wanted.certificates
        )
        view = SystemView.model_validate(record)
        return SystemMade(system=view, secret_id=made.id, secret=made.secret), f"/systems/{record.id}"

    return create(desk, request, idempotency_key, wanted, change)


@router.get("/{system_id}", response_model=SystemView, responses=refusals(404))
def show_system(desk: Viewer, system_id: IdInPath) -> Response:
    """Show a system. Role: viewer."""
    record = desk.administration.system(system_id)
    return with_tag(SystemView.model_validate(record), record.version)


@router.patch("/{system_id}", response_model=SystemView, responses=refusals(404, 412, 413, 428))
def change_system(
    desk: Admin, system_id: IdInPath, wanted: SystemChange, if_match: IfMatch = None
) -> Response:
    """Change a system: its name, its networks, its certificates, whether it may call. Role: admin."""
    record = desk.administration.change_system(
        system_id,
        name=wanted.name,
        networks=wanted.networks,
        certificates=wanted.certificates,
        disabled=wanted.disabled,
        version=expected_version(if_match),
    )
    return with_tag(SystemView.model_validate(record), record.version)


@router.post(
    "/{system_id}/secrets", status_code=201, response_model=SecretMade, responses=refusals(404, 412, 413)
)
def rotate_secret(
    desk: Admin,
    request: Request,
    system_id: IdInPath,
    wanted: Rotation = _USUAL,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give a system a new secret, which is in the answer, this once. Role: admin."""
    version = expected_version(if_match, required=False)
    overlap = datetime.timedelta(hours=wanted.overlap_hours)

    def change(bound: Administration, _changes: HubChanges) -> tuple[SecretMade, None]:
        made = bound.rotate_secret(system_id, overlap=overlap, version=version)
        return SecretMade(secret_id=made.id, secret=made.secret, older_until=made.older_until), None

    return create(desk, request, idempotency_key, wanted, change)


@router.delete("/{system_id}/secrets/{secret_id}", status_code=204, responses=refusals(404, 409))
def remove_secret(desk: Admin, system_id: IdInPath, secret_id: IdInPath) -> None:
    """End a secret at once, but not the only one that stays. Role: admin."""
    desk.administration.remove_secret(system_id, secret_id)
