"""Payloads that go before their messages, what was sent as an index, chores that tell, the key that seals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vnedoc.exchange.stores._types import Name, UTCTime

revision = "hub_0007"
down_revision = "hub_0006"
branch_labels = None
depends_on = None

_IS_KEPT = sa.text("payload_pruned_at IS NULL")
# The lock is that of stores/_hub_removals.py. The row is left out. An old process, which does not look whether it is
# there, fails at the next one, which refers to it: nothing is taken over, and its caller sends once more.
_SQLITE_TRIGGER = (
    "CREATE TRIGGER hub_message_payload BEFORE INSERT ON hub_messages "
    "WHEN EXISTS (SELECT 1 FROM hub_payload_removals WHERE sha256 = NEW.payload_sha256) "
    "BEGIN SELECT RAISE(IGNORE); END"
)
_POSTGRESQL_FUNCTION = (
    "CREATE FUNCTION hub_message_payload() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
    "PERFORM pg_advisory_xact_lock_shared(7240119, hashtext(NEW.payload_sha256) & 1023); "
    "IF EXISTS (SELECT 1 FROM hub_payload_removals WHERE sha256 = NEW.payload_sha256) THEN "
    "RETURN NULL; END IF; RETURN NEW; END$$"
)
_POSTGRESQL_TRIGGER = (
    "CREATE TRIGGER hub_message_payload BEFORE INSERT ON hub_messages "
    "FOR EACH ROW EXECUTE FUNCTION hub_message_payload()"
)


def upgrade() -> None:
    """Make the columns, tables, indexes and triggers."""
    op.add_column("hub_messages", sa.Column("payload_pruned_at", UTCTime(), nullable=True))
    op.drop_index("ix_hub_message_sender", table_name="hub_messages")
    op.create_index(
        "ix_hub_message_sender", "hub_messages", ["sender_system", "kind", "received_at", "id"], unique=False
    )
    for name, columns in (
        ("ix_hub_message_kept", ["received_at", "id"]),
        ("ix_hub_message_payload", ["payload_sha256"]),
    ):
        op.create_index(
            name,
            "hub_messages",
            columns,
            unique=False,
            sqlite_where=_IS_KEPT,
            postgresql_where=_IS_KEPT,
        )
    op.add_column("hub_chores", sa.Column("finished_at", UTCTime(), nullable=True))
    op.add_column("hub_chores", sa.Column("outcome", sa.Text(), nullable=True))
    op.create_table(
        "hub_payload_removals",
        sa.Column("sha256", Name(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("due_at", UTCTime(), nullable=False),
        sa.Column("removed_at", UTCTime(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_hub_payload_removals")),
    )
    op.create_index("ix_hub_payload_removal_due", "hub_payload_removals", ["due_at"], unique=False)
    sealing = op.create_table(
        "hub_sealing",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", Name(16), nullable=True),
        sa.Column("changed_at", UTCTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_sealing")),
    )
    op.bulk_insert(sealing, [{"id": 1, "key_id": None, "changed_at": None}])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE_TRIGGER)
    else:
        op.execute(_POSTGRESQL_FUNCTION)
        op.execute(_POSTGRESQL_TRIGGER)


def downgrade() -> None:
    """Drop them again."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER hub_message_payload")
    else:
        op.execute("DROP TRIGGER hub_message_payload ON hub_messages")
        op.execute("DROP FUNCTION hub_message_payload()")
    op.drop_table("hub_sealing")
    op.drop_table("hub_payload_removals")
    op.drop_column("hub_chores", "outcome")
    op.drop_column("hub_chores", "finished_at")
    op.drop_index("ix_hub_message_payload", table_name="hub_messages")
    op.drop_index("ix_hub_message_kept", table_name="hub_messages")
    op.drop_index("ix_hub_message_sender", table_name="hub_messages")
    op.create_index("ix_hub_message_sender", "hub_messages", ["sender_system", "kind"], unique=False)
    op.drop_column("hub_messages", "payload_pruned_at")
