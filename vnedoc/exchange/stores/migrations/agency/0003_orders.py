"""Orders about documents, and what of a header counters and deadlines go by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agency_0003"
down_revision = "agency_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new."""
    time = sa.DateTime(timezone=True)
    for table in ("sent_messages", "received_messages"):
        op.add_column(table, sa.Column("business_kind", sa.Integer(), nullable=True))
        op.add_column(table, sa.Column("paper", sa.Boolean(), nullable=True))
        op.add_column(table, sa.Column("issued_on", sa.Date(), nullable=True))
    op.add_column("received_messages", sa.Column("recipient_code", sa.Text(), nullable=True))
    op.add_column(
        "received_messages", sa.Column("priority", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("received_messages", sa.Column("due_on", sa.Date(), nullable=True))
    op.add_column("received_messages", sa.Column("dispatched_at", time, nullable=True))
    op.add_column("received_messages", sa.Column("published_in", sa.Text(), nullable=True))
    op.create_table(
        "document_orders",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("connection", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("is_ours", sa.Boolean(), nullable=False),
        sa.Column("orderer_code", sa.Text(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("document_code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("order_id", sa.String(length=32), nullable=True),
        sa.Column("target_id", sa.String(length=32), nullable=True),
        sa.Column("dispatched_at", time, nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("settled_at", time, nullable=True),
        sa.Column("answer", sa.String(length=2), nullable=True),
        sa.Column("answer_id", sa.String(length=32), nullable=True),
        sa.Column("noticed_at", time, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_orders")),
    )
    op.create_index("ix_order_document", "document_orders", ["document_id"], unique=False)
    op.create_index("ix_order_order", "document_orders", ["order_id"], unique=False)
    op.create_index("ix_order_target", "document_orders", ["target_id"], unique=False)
    for name, condition in (
        ("ix_order_unanswered", sa.text("answer IS NOT NULL AND answer_id IS NULL")),
        ("ix_order_unnoticed", sa.text("noticed_at IS NULL")),
    ):
        op.create_index(
            name,
            "document_orders",
            ["connection"],
            unique=False,
            sqlite_where=condition,
            postgresql_where=condition,
        )
    info = sa.table("store_info", sa.column("name"), sa.column("value"))
    # Locked by those who take in documents and orders; see vnedoc.exchange.stores._changes.
    op.bulk_insert(info, [{"name": "orders", "value": ""}])
