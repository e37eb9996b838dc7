"""Leases, the event log, columns and indexes for listing, and what a store knows of itself."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

from vnedoc.exchange.stores._log import FIRST_HASH, canonical, seal
from vnedoc.exchange.stores._search import folded
from vnedoc.exchange.stores._types import UTCTime

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

revision = "agency_0002"
down_revision = "agency_0001"
branch_labels = None
depends_on = None

# The tables as far as this migration works with their rows; the models may look different by then.
_SENT = sa.table(
    "sent_messages",
    sa.column("id"),
    sa.column("created_at", UTCTime()),
    sa.column("code"),
    sa.column("subject"),
    sa.column("document_id"),
    sa.column("search_text"),
    sa.column("attempt_count"),
    sa.column("tries"),
)
_CONSIGNMENTS = sa.table(
    "consignments",
    sa.column("message_id"),
    sa.column("position"),
    sa.column("recipient_code"),
    sa.column("recipient_name"),
    sa.column("delivery_state"),
    sa.column("transport_status"),
    sa.column("progress"),
    sa.column("change"),
    sa.column("queued_at", UTCTime()),
)
_RECEIVED = sa.table(
    "received_messages",
    sa.column("id"),
    sa.column("received_at", UTCTime()),
    sa.column("code"),
    sa.column("subject"),
    sa.column("document_id"),
    sa.column("sender_code"),
    sa.column("sender_name"),
    sa.column("search_text"),
    sa.column("delivery_state"),
    sa.column("transport_status"),
    sa.column("progress"),
    sa.column("change"),
)


def upgrade() -> None:
    """Add what is new, and begin the log with what is there."""
    time = sa.DateTime(timezone=True)
    long_ago = sa.text("'1970-01-01 00:00:00'")
    added: dict[str, list[sa.Column[Any]]] = {  # of any type
        "sent_messages": [
            sa.Column("expires_at", time, nullable=True),
            sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("lease_owner", sa.String(length=64), nullable=True),
            sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("search_text", sa.Text(), nullable=False, server_default=""),
            sa.Column("payload_pruned_at", time, nullable=True),
        ],
        "attempts": [sa.Column("owner", sa.String(length=64), nullable=True)],
        "consignments": [sa.Column("queued_at", time, nullable=False, server_default=long_ago)],
        "received_messages": [
            sa.Column("search_text", sa.Text(), nullable=False, server_default=""),
            sa.Column("payload_pruned_at", time, nullable=True),
        ],
    }
    for table, columns in added.items():
        for column in columns:
            op.add_column(table, column)
    op.drop_index("ix_sent_due", table_name="sent_messages")
    op.drop_index("ix_sent_remote", table_name="sent_messages")
    op.drop_index("ix_received_remote", table_name="received_messages")
    due = sa.text("due_at IS NOT NULL")
    for name, keys in (("ix_sent_due", ["due_at"]), ("ix_sent_claim", ["connection", "due_at"])):
        op.create_index(name, "sent_messages", keys, sqlite_where=due, postgresql_where=due)
    for name, table, keys in (
        ("ix_sent_remote", "sent_messages", ["remote_doc_id", "connection"]),
        ("ix_sent_listing", "sent_messages", ["kind", "created_at", "id"]),
        ("ix_sent_payload", "sent_messages", ["payload_sha256"]),
        ("ix_sent_document", "sent_messages", ["document_id"]),
        ("ix_sent_code", "sent_messages", ["code"]),
        ("ix_sent_answers", "sent_messages", ["answers"]),
        ("ix_consignment_listing", "consignments", ["delivery_state", "queued_at", "message_id"]),
        ("ix_received_remote", "received_messages", ["remote_doc_id", "connection"]),
        ("ix_received_listing", "received_messages", ["kind", "received_at", "id"]),
        ("ix_received_state", "received_messages", ["delivery_state", "received_at", "id"]),
        ("ix_received_payload", "received_messages", ["payload_sha256"]),
        ("ix_received_document", "received_messages", ["document_id"]),
        ("ix_received_id_message", "received_ids", ["message_id"]),
    ):
        op.create_index(name, table, keys, unique=False)
    log = op.create_table(
        "event_log",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UTCTime(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.Column("consignment_id", sa.String(length=32), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_event_log")),
    )
    op.create_index("ix_event_log_message", "event_log", ["message_id", "number"], unique=False)
    head = op.create_table(
        "event_log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_log_head")),
    )
    info = op.create_table(
        "store_info",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_store_info")),
    )
    op.create_table(
        "payload_removals",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("marked_at", time, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_payload_removals")),
    )
    connection = op.get_bind()
    number, last = _take_over(connection, log)
    connection.execute(head.insert(), [{"id": 1, "number": number, "hash": last}])
    connection.execute(info.insert(), [{"name": "store_id", "value": uuid.uuid4().hex}])


def _take_over(connection: sa.Connection, log: sa.Table) -> tuple[int, str]:
    """Fill the new columns of what is there, and begin the log with its states."""
    number, previous = 0, FIRST_HASH
    for message_id, at, moved in (*_sent(connection), *_received(connection)):
        number += 1
        row: dict[str, Any] = {  # a row of the log
            "number": number,
            "at": at,
            "kind": "taken-over",
            "message_id": message_id,
            "consignment_id": None,
            "detail": canonical({"moved": moved}),
            "previous_hash": previous,
        }
        previous = seal(**row)
        connection.execute(log.insert(), [row | {"hash": previous}])
    return number, previous


def _sent(connection: sa.Connection) -> Iterable[tuple[str, datetime.datetime, list[dict[str, Any]]]]:
    events = []
    for message in connection.execute(sa.select(_SENT).order_by(_SENT.c.created_at, _SENT.c.id)).all():
        query = sa.select(_CONSIGNMENTS).where(_CONSIGNMENTS.c.message_id == message.id)
        recipients = connection.execute(query.order_by(_CONSIGNMENTS.c.position)).all()
        names = [part for item in recipients[:20] for part in (item.recipient_code, item.recipient_name)]
        connection.execute(
            sa.update(_SENT)
            .where(_SENT.c.id == message.id)
            .values(
                search_text=folded(message.code, message.subject, message.document_id, *names),
                tries=message.attempt_count,
            )
        )
        connection.execute(
            sa.update(_CONSIGNMENTS)
            .where(_CONSIGNMENTS.c.message_id == message.id)
            .values(queued_at=message.created_at)
        )
        moved = [{"set": _states(item), "only": [item.position]} for item in recipients]
        events.append((message.id, message.created_at, moved))
    return events


def _received(connection: sa.Connection) -> Iterable[tuple[str, datetime.datetime, list[dict[str, Any]]]]:
    events = []
    query = sa.select(_RECEIVED).order_by(_RECEIVED.c.received_at, _RECEIVED.c.id)
    for message in connection.execute(query).all():
        text = folded(
            message.code, message.subject, message.document_id, message.sender_code, message.sender_name
        )
        connection.execute(sa.update(_RECEIVED).where(_RECEIVED.c.id == message.id).values(search_text=text))
        events.append((message.id, message.received_at, [{"set": _states(message)}]))
    return events


def _states(row: Any) -> dict[str, str]:  # a row of consignments or received_messages
    states = {
        "delivery": row.delivery_state,
        "transport": row.transport_status,
        "progress": row.progress,
        "change": row.change,
    }
    return {name: value for name, value in states.items() if value is not None}
