"""Sealed secrets, networks and certificates of systems; closed agencies; the audit log; repeated answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vnedoc.exchange.stores._types import Name, PlainText, UTCTime

revision = "hub_0004"
down_revision = "hub_0003"
branch_labels = None
depends_on = None

_SQLITE_TRIGGERS = (
    "CREATE TRIGGER hub_audit_no_{0} BEFORE {0} ON hub_audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
)
_POSTGRESQL_FUNCTION = (
    "CREATE FUNCTION hub_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'the audit log is append-only'; END$$"
)
_POSTGRESQL_TRIGGER = (
    "CREATE TRIGGER hub_audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON hub_audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION hub_audit_refuse()"
)


def upgrade() -> None:
    """Make the tables, columns and triggers."""
    op.add_column("hub_systems", sa.Column("sealed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("hub_systems", sa.Column("networks", sa.Text(), server_default="", nullable=False))
    op.add_column("hub_systems", sa.Column("certificates", sa.Text(), server_default="", nullable=False))
    op.add_column("hub_systems", sa.Column("disabled_at", UTCTime(), nullable=True))
    op.add_column("hub_systems", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "hub_secrets",
        sa.Column("id", Name(16), nullable=False),
        sa.Column("system_id", Name(64), nullable=False),
        sa.Column("key_id", Name(16), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("expires_at", UTCTime(), nullable=True),
        sa.ForeignKeyConstraint(["system_id"], ["hub_systems.id"], name=op.f("fk_hub_secrets_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_secrets")),
    )
    op.create_index("ix_hub_secret_system", "hub_secrets", ["system_id"], unique=False)
    op.create_index("ix_hub_secret_key", "hub_secrets", ["key_id"], unique=False)
    op.add_column("hub_agencies", sa.Column("closed_on", sa.Date(), nullable=True))
    op.add_column("hub_agencies", sa.Column("successor_code", Name(64), nullable=True))
    op.add_column(
        "hub_agencies", sa.Column("forwards", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("hub_agencies", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.create_index("ix_hub_message_received", "hub_messages", ["received_at", "id"], unique=False)
    op.create_table(
        "hub_audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UTCTime(), nullable=False),
        sa.Column("actor", PlainText(), nullable=False),
        sa.Column("action", Name(32), nullable=False),
        sa.Column("subject", PlainText(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_hub_audit")),
    )
    op.create_index("ix_hub_audit_at", "hub_audit", ["at"], unique=False)
    op.create_index("ix_hub_audit_subject", "hub_audit", ["subject"], unique=False)
    head = op.create_table(
        "hub_audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "hash": "0" * 64}])
    op.create_table(
        "hub_answers",
        sa.Column("actor", Name(80), nullable=False),
        sa.Column("key", Name(255), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("actor", "key", name=op.f("pk_hub_answers")),
    )
    op.create_index("ix_hub_answer_created", "hub_answers", ["created_at"], unique=False)
    # A bug or a careless statement must not rewrite the log; against its owner's malice there is the chain.
    if op.get_bind().dialect.name == "sqlite":
        for word in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_TRIGGERS.format(word))
    else:
        op.execute(_POSTGRESQL_FUNCTION)
        op.execute(_POSTGRESQL_TRIGGER)


def downgrade() -> None:
    """Drop them again. Sealed secrets are lost: systems need new ones."""
    op.drop_table("hub_answers")
    op.drop_table("hub_audit_head")
    op.drop_table("hub_audit")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION hub_audit_refuse()")
    op.drop_index("ix_hub_message_received", table_name="hub_messages")
    for column in ("version", "forwards", "successor_code", "closed_on"):
        op.drop_column("hub_agencies", column)
    op.drop_table("hub_secrets")
    for column in ("version", "disabled_at", "certificates", "networks", "sealed"):
        op.drop_column("hub_systems", column)
