"""The tables of an agency's store, as they were at first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agency_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "received_messages",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("connection", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("identity", sa.String(length=64), nullable=True),
        sa.Column("remote_doc_id", sa.String(length=128), nullable=False),
        sa.Column("sender_code", sa.Text(), nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("payload_size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivery_state", sa.String(length=16), nullable=False),
        sa.Column("transport_status", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.String(length=2), nullable=True),
        sa.Column("change", sa.String(length=2), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_received_messages")),
        sa.UniqueConstraint("connection", "identity", name="uq_received_identity"),
    )
    op.create_index("ix_received_remote", "received_messages", ["connection", "remote_doc_id"], unique=False)
    op.create_table(
        "received_ids",
        sa.Column("connection", sa.String(length=64), nullable=False),
        sa.Column("remote_doc_id", sa.String(length=128), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["received_messages.id"], name=op.f("fk_received_ids_message_id")
        ),
        sa.PrimaryKeyConstraint("connection", "remote_doc_id", name=op.f("pk_received_ids")),
    )
    op.create_table(
        "sent_messages",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("connection", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("identity", sa.String(length=64), nullable=True),
        sa.Column("sender_code", sa.Text(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("payload_size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("remote_doc_id", sa.String(length=128), nullable=True),
        sa.Column("answers", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["answers"], ["received_messages.id"], name=op.f("fk_sent_messages_answers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_messages")),
        sa.UniqueConstraint("connection", "identity", name="uq_sent_identity"),
    )
    op.create_index("ix_sent_due", "sent_messages", ["due_at"], unique=False)
    op.create_index("ix_sent_remote", "sent_messages", ["connection", "remote_doc_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("remote_code", sa.String(length=64), nullable=True),
        sa.Column("remote_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["sent_messages.id"], name=op.f("fk_attempts_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("message_id", "number", name="uq_attempt_number"),
    )
    op.create_table(
        "consignments",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("recipient_code", sa.Text(), nullable=False),
        sa.Column("recipient_name", sa.Text(), nullable=False),
        sa.Column("remote_doc_id", sa.String(length=128), nullable=True),
        sa.Column("delivery_state", sa.String(length=16), nullable=False),
        sa.Column("transport_status", sa.String(length=16), nullable=True),
        sa.Column("progress", sa.String(length=2), nullable=True),
        sa.Column("change", sa.String(length=2), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["sent_messages.id"], name=op.f("fk_consignments_message_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consignments")),
        sa.UniqueConstraint("message_id", "recipient_code", name="uq_consignment_recipient"),
    )
    op.create_index("ix_consignment_transport", "consignments", ["transport_status"], unique=False)
    op.create_table(
        "status_events",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("consignment_id", sa.String(length=32), nullable=True),
        sa.Column("received_id", sa.String(length=32), nullable=True),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["consignment_id"], ["consignments.id"], name=op.f("fk_status_events_consignment_id")
        ),
        sa.ForeignKeyConstraint(
            ["received_id"], ["received_messages.id"], name=op.f("fk_status_events_received_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_status_events")),
    )
    op.create_index("ix_event_consignment", "status_events", ["consignment_id"], unique=False)
    op.create_index("ix_event_received", "status_events", ["received_id"], unique=False)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index("ix_event_received", table_name="status_events")
    op.drop_index("ix_event_consignment", table_name="status_events")
    op.drop_table("status_events")
    op.drop_index("ix_consignment_transport", table_name="consignments")
    op.drop_table("consignments")
    op.drop_table("attempts")
    op.drop_index("ix_sent_remote", table_name="sent_messages")
    op.drop_index("ix_sent_due", table_name="sent_messages")
    op.drop_table("sent_messages")
    op.drop_table("received_ids")
    op.drop_index("ix_received_remote", table_name="received_messages")
    op.drop_table("received_messages")
