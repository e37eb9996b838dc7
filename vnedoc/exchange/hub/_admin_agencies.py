"""The administration API: agencies, their closing, and whole directories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from vnedoc.agencies import parse_directory
from vnedoc.exchange.hub._admin_calls import (
    DEFAULT_PAGE,
    CodeInPath,
    IdempotencyKey,
    IfMatch,
    KnownCodeInPath,
    Limit,
    create,
    expected_version,
    refusals,
    with_tag,
)
from vnedoc.exchange.hub._admin_gate import Admin, Viewer
from vnedoc.exchange.hub._admin_models import (
    AgencyPage,
    AgencyView,
    Closing,
    DirectoryImport,
    ImportResult,
    WantedAgency,
)
from vnedoc.exchange.hub._admin_problems import ProblemError
from vnedoc.exchange.stores.hub import HubAgency

if TYPE_CHECKING:
    from vnedoc.exchange.hub.administration import Administration
    from vnedoc.exchange.stores.hub_administration import HubChanges

__all__ = ["router"]

router = APIRouter(prefix="/agencies", tags=["agencies"])


@router.get("", responses=refusals())
def list_agencies(
    desk: Viewer,
    system: Annotated[str | None, Query(max_length=64, description="Only those of this system.")] = None,
    text: Annotated[str | None, Query(max_length=200, description="A part of a code or of the name.")] = None,
    after: Annotated[str, Query(description="The code that the page before ended with.")] = "",
    limit: Limit = DEFAULT_PAGE,
) -> AgencyPage:
    """List the agencies. Role: viewer."""
    found = desk.administration.rows.agencies(system_id=system, text=text, after=after, limit=limit)
    items = [AgencyView.model_validate(item) for item in found]
    return AgencyPage(items=items, next=items[-1].code if len(items) == limit else None)


@router.post("/import", status_code=201, response_model=ImportResult, responses=refusals(413))
def import_directory(
    desk: Admin, request: Request, wanted: DirectoryImport, idempotency_key: IdempotencyKey = None
) -> Response:
    """Register the agencies of a directory file for a system, and close those that end. Role: admin.

    Agencies that another system served move to this one.
    """
    directory = parse_directory(json.dumps(wanted.directory).encode(), name="directory")

    def change(bound: Administration, _changes: HubChanges) -> tuple[ImportResult, None]:
        done, closed = bound.import_directory(wanted.system_id, directory, only=wanted.only)
        result = ImportResult(
            count=done.count,
            added=len(done.added),
            changed=len(done.changed),
            moved=len(done.moved),
            closed=list(closed),
        )
        return result, None

    return create(desk, request, idempotency_key, wanted, change)


@router.get("/{code}", response_model=AgencyView, responses=refusals(404))
def show_agency(desk: Viewer, code: KnownCodeInPath) -> Response:
    """Show an agency. Role: viewer."""
    record = desk.administration.agency(code)
    return with_tag(AgencyView.model_validate(record), record.version)


@router.put(
    "/{code}",
    response_model=AgencyView,
    responses={201: {"model": AgencyView, "description": "It is new."}, **refusals(412, 413, 428)},
)
def put_agency(desk: Admin, code: CodeInPath, wanted: WantedAgency, if_match: IfMatch = None) -> Response:
    """Register an agency, or change it (with `If-Match`); it moves if another system had it. Role: admin."""

    def change(bound: Administration, changes: HubChanges) -> bool:
        found = changes.agency_version(code)
        if found is None and if_match is not None:
            raise ProblemError(412, "hub.other-version")
        if found is not None and expected_version(if_match) not in {None, found}:
            raise ProblemError(412, "hub.other-version")
        agency = HubAgency(code, wanted.name, wanted.parent_code, wanted.email, wanted.old_code)
        bound.register_agencies(wanted.system_id, [agency])
        return found is None

    is_new = desk.administration.together(change)
    record = desk.administration.agency(code)
    return with_tag(AgencyView.model_validate(record), record.version, status=201 if is_new else 200)


@router.delete("/{code}", status_code=204, responses=refusals(404, 409, 412, 428))
def remove_agency(desk: Admin, code: KnownCodeInPath, if_match: IfMatch = None) -> None:
    """Take off an agency that no package was ever for and that succeeds none; close any other. Role: admin."""
    desk.administration.remove_agency(code, version=expected_version(if_match))


@router.put("/{code}/closing", response_model=AgencyView, responses=refusals(404, 412, 413, 428))
def close_agency(desk: Admin, code: KnownCodeInPath, wanted: Closing, if_match: IfMatch = None) -> Response:
    """Close an agency from a day on, with its successor. Role: admin."""
    record = desk.administration.close_agency(
        code,
        on=wanted.on,
        successor=wanted.successor_code,
        forwards=wanted.forwards,
        version=expected_version(if_match),
    )
    return with_tag(AgencyView.model_validate(record), record.version)


@router.delete("/{code}/closing", response_model=AgencyView, responses=refusals(404, 412, 428))
def reopen_agency(desk: Admin, code: KnownCodeInPath, if_match: IfMatch = None) -> Response:
    """Take the closing of an agency back. Role: admin."""
    record = desk.administration.reopen_agency(code, version=expected_version(if_match))
    return with_tag(AgencyView.model_validate(record), record.version)
