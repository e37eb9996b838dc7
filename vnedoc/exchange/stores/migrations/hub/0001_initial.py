"""The tables of a hub, as they were at first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "hub_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "hub_seen_requests",
        sa.Column("hash_header", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash_header", name=op.f("pk_hub_seen_requests")),
    )
    op.create_index("ix_hub_seen_expires", "hub_seen_requests", ["expires_at"], unique=False)
    op.create_table(
        "hub_systems",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_systems")),
    )
    op.create_table(
        "hub_agencies",
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_code", sa.String(length=64), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("old_code", sa.String(length=64), nullable=True),
        sa.Column("system_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["system_id"], ["hub_systems.id"], name=op.f("fk_hub_agencies_system_id")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_hub_agencies")),
    )
    op.create_index("ix_hub_agency_system", "hub_agencies", ["system_id"], unique=False)
    op.create_table(
        "hub_messages",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("identity", sa.String(length=64), nullable=False),
        sa.Column("sender_code", sa.String(length=64), nullable=False),
        sa.Column("sender_system", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("notation", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("payload_size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sender_system"], ["hub_systems.id"], name=op.f("fk_hub_messages_sender_system")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_messages")),
        sa.UniqueConstraint("sender_code", "identity", name="uq_hub_message_identity"),
    )
    op.create_index("ix_hub_message_sender", "hub_messages", ["sender_system", "kind"], unique=False)
    op.create_table(
        "hub_deliveries",
        sa.Column("doc_id", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("recipient_code", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_text", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["hub_messages.id"], name=op.f("fk_hub_deliveries_message_id")
        ),
        sa.ForeignKeyConstraint(
            ["recipient_code"], ["hub_agencies.code"], name=op.f("fk_hub_deliveries_recipient_code")
        ),
        sa.PrimaryKeyConstraint("doc_id", name=op.f("pk_hub_deliveries")),
        sa.UniqueConstraint("message_id", "recipient_code", name="uq_hub_delivery_recipient"),
    )
    op.create_index("ix_hub_delivery_waiting", "hub_deliveries", ["recipient_code", "status"], unique=False)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index("ix_hub_delivery_waiting", table_name="hub_deliveries")
    op.drop_table("hub_deliveries")
    op.drop_index("ix_hub_message_sender", table_name="hub_messages")
    op.drop_table("hub_messages")
    op.drop_index("ix_hub_agency_system", table_name="hub_agencies")
    op.drop_table("hub_agencies")
    op.drop_table("hub_systems")
    op.drop_index("ix_hub_seen_expires", table_name="hub_seen_requests")
    op.drop_table("hub_seen_requests")
