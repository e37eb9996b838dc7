"""Accounts of people and tokens of programs that run a hub."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vnedoc.exchange.stores._types import PlainText, UTCTime

revision = "hub_0003"
down_revision = "hub_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "hub_users",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", UTCTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hub_users")),
    )
    op.create_table(
        "hub_sessions",
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("seen_at", UTCTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_name"], ["hub_users.name"], name=op.f("fk_hub_sessions_user_name")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_hub_sessions")),
    )
    op.create_index("ix_hub_session_user", "hub_sessions", ["user_name"], unique=False)
    op.create_index("ix_hub_session_seen", "hub_sessions", ["seen_at"], unique=False)
    op.create_table(
        "hub_tokens",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("label", PlainText(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("expires_at", UTCTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_tokens")),
        sa.UniqueConstraint("token_sha256"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("hub_tokens")
    op.drop_table("hub_sessions")
    op.drop_table("hub_users")
