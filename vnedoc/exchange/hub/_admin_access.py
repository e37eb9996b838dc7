"""The administration API: who calls, tokens of programs, the audit log."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from vnedoc.exchange.hub._admin_calls import (
    DEFAULT_PAGE,
    IdempotencyKey,
    IdInPath,
    Limit,
    Moment,
    create,
    refusals,
)
from vnedoc.exchange.hub._admin_gate import Admin, Viewer
from vnedoc.exchange.hub._admin_models import PrincipalView
from vnedoc.exchange.hub._admin_views import (
    AuditCheckView,
    AuditPage,
    AuditView,
    NewToken,
    TokenMade,
    TokenPage,
    TokenView,
)
from vnedoc.exchange.hub.audit import AuditHead
from vnedoc.exchange.stores.hub_audit import HubAudit

if TYPE_CHECKING:
    from vnedoc.exchange.hub.administration import Administration
    from vnedoc.exchange.stores.hub_administration import HubChanges

__all__ = ["router"]

router = APIRouter()

_MAX_NUMBER = 2**63 - 1


@router.get("/me", tags=["access"], responses=refusals())
def show_me(desk: Viewer) -> PrincipalView:
    """Show who calls. Role: viewer."""
    return PrincipalView.model_validate(desk.principal)


@router.get("/tokens", tags=["access"], responses=refusals())
def list_tokens(desk: Admin) -> TokenPage:
    """List the tokens of programs. Role: admin."""
    return TokenPage(items=[TokenView.model_validate(item) for item in desk.accounts.tokens()])


@router.post("/tokens", tags=["access"], status_code=201, response_model=TokenMade, responses=refusals(413))
def add_token(
    desk: Admin, request: Request, wanted: NewToken, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make a token for a program; it is in the answer, this once. Role: admin."""
    lasts = None if wanted.days is None else datetime.timedelta(days=wanted.days)

    def change(_bound: Administration, changes: HubChanges) -> tuple[TokenMade, None]:
        token_id, token = desk.accounts.add_token(wanted.label, wanted.role, lasts=lasts, within=changes)
        view = TokenView(
            id=token_id,
            label=wanted.label,
            role=wanted.role,
            created_at=changes.at,
            expires_at=None if lasts is None else changes.at + lasts,
        )
        return TokenMade(token=view, secret=token), None

    return create(desk, request, idempotency_key, wanted, change)


@router.delete("/tokens/{token_id}", tags=["access"], status_code=204, responses=refusals(404))
def remove_token(desk: Admin, token_id: IdInPath) -> None:
    """Remove a token; it is no good any more from now on. Role: admin."""
    desk.accounts.remove_token(token_id)


@router.get("/audit", tags=["audit"], responses=refusals())
def list_audit(
    desk: Admin,
    since: Moment | None = None,
    subject: Annotated[str | None, Query(max_length=200, description="Such as `system:H99.SYS`.")] = None,
    after: Annotated[int, Query(ge=0, le=_MAX_NUMBER)] = 0,
    limit: Limit = DEFAULT_PAGE,
) -> AuditPage:
    """List the audit log, the oldest first. Role: admin."""
    found = HubAudit(desk.hub.store.database).entries(since=since, subject=subject, after=after, limit=limit)
    items = [AuditView.model_validate(item) for item in found]
    return AuditPage(items=items, next=items[-1].number if len(items) == limit else None)


@router.get("/audit/check", tags=["audit"], responses=refusals())
def check_audit(
    desk: Admin,
    head: Annotated[
        str | None, Query(max_length=100, description="An end of the log that was written down earlier.")
    ] = None,
) -> AuditCheckView:
    """Check that nothing was changed in the audit log. Role: admin."""
    known = None if head is None else AuditHead.parse(head)
    check = HubAudit(desk.hub.store.database).check(known_head=known)
    return AuditCheckView(
        is_whole=check.is_whole,
        head=str(check.head),
        wrong=list(check.wrong),
        is_cut=check.is_cut,
        holds_known_head=check.holds_known_head,
    )
