"""Turn rows of an agency's store into records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import BusinessState, DeliveryState, OrderKind, OrderState, TransportStatus
from vnedoc.exchange.stores.payloads import StoredPayload
from vnedoc.exchange.stores.records import (
    Attempt,
    Consignment,
    DocumentOrder,
    ReceivedMessage,
    Recipient,
    SentMessage,
    StatusEvent,
)
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnedoc.exchange.stores.models import (
        AttemptRow,
        ConsignmentRow,
        DocumentOrderRow,
        ReceivedRow,
        SentRow,
        StatusEventRow,
    )

__all__ = ["dump_findings", "order_record", "received_record", "sent_record"]


def sent_record(row: SentRow) -> SentMessage:
    """Return the record of a row of the outbox."""
    return SentMessage(
        id=row.id,
        connection=row.connection,
        kind=PackageKind(row.kind),
        sender_code=row.sender_code,
        document_id=row.document_id,
        code=row.code,
        subject=row.subject,
        payload=StoredPayload(row.payload_sha256, row.payload_size),
        created_at=row.created_at,
        due_at=row.due_at,
        remote_doc_id=row.remote_doc_id,
        consignments=tuple(_consignment(item) for item in row.consignments),
        attempts=tuple(_attempt(item) for item in row.attempts),
        business_kind=row.business_kind,
        priority=row.priority,
        expires_at=row.expires_at,
        tries=row.tries,
        payload_pruned_at=row.payload_pruned_at,
    )


def received_record(row: ReceivedRow) -> ReceivedMessage:
    """Return the record of a row of the inbox."""
    return ReceivedMessage(
        id=row.id,
        connection=row.connection,
        kind=PackageKind(row.kind),
        remote_doc_id=row.remote_doc_id,
        sender_code=row.sender_code,
        sender_name=row.sender_name,
        document_id=row.document_id,
        code=row.code,
        subject=row.subject,
        payload=StoredPayload(row.payload_sha256, row.payload_size),
        received_at=row.received_at,
        reasons=_load_findings(row.reasons),
        published_at=row.published_at,
        delivery=DeliveryState(row.delivery_state),
        transport=TransportStatus(row.transport_status),
        business=BusinessState(row.progress, row.change),
        updated_at=row.updated_at,
        events=tuple(_event(item) for item in row.events),
        recipient_code=row.recipient_code,
        business_kind=row.business_kind,
        priority=row.priority,
        due_on=row.due_on,
        published_in=row.published_in,
        payload_pruned_at=row.payload_pruned_at,
    )


def dump_findings(findings: Iterable[Finding]) -> str:
    """Return findings as the text that a column holds."""
    plain = [
        {"id": item.id, "values": {key: _plain(value) for key, value in item.values.items()}}
        for item in findings
    ]
    return json.dumps(plain, ensure_ascii=False)


def _load_findings(text: str) -> tuple[Finding, ...]:
    items: list[dict[str, Any]] = json.loads(text)  # what dump_findings wrote
    return tuple(Finding(item["id"], item["values"]) for item in items)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _consignment(row: ConsignmentRow) -> Consignment:
    return Consignment(
        id=row.id,
        recipient=Recipient(row.recipient_code, row.recipient_name),
        remote_doc_id=row.remote_doc_id,
        delivery=DeliveryState(row.delivery_state),
        transport=None if row.transport_status is None else TransportStatus(row.transport_status),
        business=BusinessState(row.progress, row.change),
        updated_at=row.updated_at,
        events=tuple(_event(item) for item in row.events),
    )


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        number=row.number,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        error_code=row.error_code,
        remote_code=row.remote_code,
        remote_message=row.remote_message,
    )


def _event(row: StatusEventRow) -> StatusEvent:
    return StatusEvent(
        code=row.code,
        description=row.description,
        reported_at=row.reported_at,
        recorded_at=row.recorded_at,
        taken=row.taken,
    )


def order_record(row: DocumentOrderRow) -> DocumentOrder:
    """Return the record of a row."""
    return DocumentOrder(
        id=row.id,
        kind=OrderKind(row.kind),
        state=OrderState(row.state),
        is_ours=row.is_ours,
        orderer_code=row.orderer_code,
        document_id=row.document_id,
        document_code=row.document_code,
        reason=row.reason,
        order_id=row.order_id,
        target_id=row.target_id,
        created_at=row.created_at,
        settled_at=row.settled_at,
        answer=row.answer,
        answer_id=row.answer_id,
    )
