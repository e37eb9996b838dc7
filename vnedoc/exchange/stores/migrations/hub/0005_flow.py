"""What happened to packages, how often a delivery failed, sweeps of which one process does each, and who may run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vnedoc.exchange.stores._types import Name, PlainText, UTCTime

revision = "hub_0005"
down_revision = "hub_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and the column."""
    op.add_column("hub_deliveries", sa.Column("fail_count", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "hub_events",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("message_id", Name(32), nullable=False),
        sa.Column("doc_id", Name(32), nullable=True),
        sa.Column("at", UTCTime(), nullable=False),
        sa.Column("kind", Name(16), nullable=False),
        sa.Column("system_id", Name(64), nullable=True),
        sa.Column("detail", PlainText(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["hub_messages.id"], name=op.f("fk_hub_events_message_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_hub_events")),
    )
    op.create_index("ix_hub_event_message", "hub_events", ["message_id", "number"], unique=False)
    op.create_table(
        "hub_chores",
        sa.Column("name", Name(32), nullable=False),
        sa.Column("due_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hub_chores")),
    )
    compatibility = op.create_table(
        "hub_compatibility",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("oldest", Name(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_compatibility")),
    )
    # The oldest program that works with these tables. A migration that only adds leaves it as it is.
    op.bulk_insert(compatibility, [{"id": 1, "oldest": "hub_0005"}])


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("hub_compatibility")
    op.drop_table("hub_chores")
    op.drop_table("hub_events")
    op.drop_column("hub_deliveries", "fail_count")
