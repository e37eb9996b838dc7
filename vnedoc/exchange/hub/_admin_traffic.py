"""The administration API: messages, deliveries that are tried again, sums."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from vnedoc._internal.clock import vietnam
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub._admin_calls import (
    DEFAULT_PAGE,
    IdInPath,
    Limit,
    Moment,
    read_cursor,
    refusals,
    write_cursor,
)
from vnedoc.exchange.hub._admin_gate import Operator, Viewer
from vnedoc.exchange.hub._admin_problems import ProblemError
from vnedoc.exchange.hub._admin_views import (
    DayView,
    DeliveryView,
    HistoryView,
    MessagePage,
    MessageView,
    PruneView,
    RetentionView,
    RetryOrder,
    RetryResult,
    StatsView,
    SummaryView,
    WholeMessage,
)
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_deliveries import HubDeliveries, HubStatus
from vnedoc.exchange.stores.hub_retention import HubRetention
from vnedoc.exchange.stores.hub_traffic import HubTraffic, MessageFilter
from vnedoc.exchange.stores.pruning import PruneLimits

if TYPE_CHECKING:
    from vnedoc.exchange.stores.hub import HubStore
    from vnedoc.exchange.stores.hub_traffic import MessageDetail

__all__ = ["router"]

router = APIRouter(tags=["traffic"])

MAX_DAYS = 366
DEFAULT_DAYS = 30
_MAX_HISTORY_DELIVERIES = 100
_Word = Annotated[str | None, Query(max_length=64)]


@router.get("/messages", responses=refusals())
def list_messages(
    desk: Viewer,
    kind: PackageKind | None = None,
    sender: _Word = None,
    recipient: _Word = None,
    system: _Word = None,
    status: HubStatus | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    text: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = DEFAULT_PAGE,
) -> MessagePage:
    """List messages, the newest first. Role: viewer.

    `status` is that of any delivery; `system` sent the message or serves a recipient; `text` is a part of the title,
    the number and notation, or the identifier of the document, or the beginning of an id that the hub gave.
    """
    wanted = MessageFilter(
        kind=kind,
        sender_code=sender,
        recipient_code=recipient,
        system_id=system,
        status=None if status is None else status.value,
        since=since,
        until=until,
        text=text,
    )
    found = HubTraffic(desk.hub.store).messages(wanted, before=read_cursor(after), limit=limit)
    last = found[-1] if len(found) == limit else None
    return MessagePage(
        items=[MessageView.model_validate(item) for item in found],
        next=None if last is None else write_cursor(last.received_at, last.id),
    )


@router.get("/messages/{message_id}", responses=refusals(404))
def show_message(desk: Viewer, message_id: IdInPath) -> WholeMessage:
    """Show one message with its receipt, its deliveries and its history. Role: viewer."""
    found = HubTraffic(desk.hub.store).message(message_id)
    if found is None:
        raise ProblemError(404, "hub.no-message", id=message_id)
    return WholeMessage(
        message=MessageView.model_validate(found.summary),
        sha256=found.sha256,
        receipt=found.receipt,
        deliveries=[DeliveryView.model_validate(item) for item in found.recipients],
        history=_history(desk.hub.store, found),
        payload_pruned_at=found.payload_pruned_at,
    )


def _history(store: HubStore, found: MessageDetail) -> list[HistoryView]:
    events = [
        HistoryView(
            at=event.at,
            kind=event.kind,
            doc_id=event.doc_id,
            by=None if event.system_id is None else f"system:{event.system_id}",
            detail=event.detail,
        )
        for event in HubDeliveries(store.database).history(found.summary.id)
    ]
    audit = HubAudit(store.database)
    for item in found.recipients[:_MAX_HISTORY_DELIVERIES]:
        events.extend(
            HistoryView(at=entry.at, kind=entry.action, doc_id=item.doc_id, by=entry.actor, detail=None)
            for entry in audit.entries(subject=f"delivery:{item.doc_id}")
        )
    return sorted(events, key=lambda event: event.at)


@router.post("/deliveries/retry", responses=refusals(413))
def retry_deliveries(desk: Operator, wanted: RetryOrder) -> RetryResult:
    """Let deliveries that failed, were parked or expired wait for their recipients again. Role: operator.

    The same order twice does no harm: what waits already is among those that are left.
    """
    return RetryResult.model_validate(desk.administration.retry_deliveries(wanted.doc_ids))


@router.get("/stats", responses=refusals())
def show_stats(desk: Viewer) -> StatsView:
    """Count what the hub holds. Role: viewer."""
    return StatsView.model_validate(desk.hub.store.stats())


@router.get("/retention", responses=refusals())
def show_retention(desk: Viewer) -> RetentionView:
    """Show how long the hub keeps what is done, and what it removed last. Role: viewer."""
    limits = desk.hub.options.retention or PruneLimits()
    last = HubRetention(desk.hub.store).last()
    return RetentionView(
        keep_payloads_days=_days(limits.payloads_older_than),
        keep_metadata_days=_days(limits.metadata_older_than),
        last=None if last is None else PruneView(at=last.at, **dataclasses.asdict(last.report)),
    )


def _days(age: datetime.timedelta | None) -> float | None:
    return None if age is None else age / datetime.timedelta(days=1)


@router.get("/summary", responses=refusals())
def show_summary(
    desk: Viewer, first: datetime.date | None = None, last: datetime.date | None = None
) -> SummaryView:
    """Sum up what went through the hub by day (Vietnam time), level of the sender, and kind. Role: viewer.

    Without days the last thirty; at most 366.
    """
    until = last or vietnam(desk.hub.clock()).date()
    if not datetime.date(2000, 1, 2) <= until <= datetime.date(2200, 1, 1):
        raise ProblemError(422, "hub.bad-days", most=MAX_DAYS)
    since = first or until - datetime.timedelta(days=DEFAULT_DAYS - 1)
    if not datetime.timedelta(0) <= until - since < datetime.timedelta(days=MAX_DAYS):
        raise ProblemError(422, "hub.bad-days", most=MAX_DAYS)
    days = HubTraffic(desk.hub.store).days(first=since, last=until)
    return SummaryView(first=since, last=until, days=[DayView.model_validate(item) for item in days])
