"""What people look at: searchable text, indexes for counts by day, refusals by day, when a system was heard of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vnedoc.exchange.stores._search import document_key, folded
from vnedoc.exchange.stores._types import Name, PlainText, UTCTime

revision = "hub_0006"
down_revision = "hub_0005"
branch_labels = None
depends_on = None

_IS_OPEN = sa.text("status <> 'done'")
_BATCH = 1000
# What can be found, by table: the key, and the columns that make the text.
_SEARCHABLE = {
    "hub_agencies": ("code", ("code", "old_code", "name")),
    "hub_messages": ("id", ("notation", "document_id", "title")),
}


def upgrade() -> None:
    """Make the columns, tables and indexes, and the text of what is there already."""
    op.add_column("hub_messages", sa.Column("document_key", Name(32), server_default="", nullable=False))
    for table, (key, columns) in _SEARCHABLE.items():
        op.add_column(table, sa.Column("search_text", PlainText(), server_default="", nullable=False))
        _fill(table, key, columns)
    op.create_index("ix_hub_message_document", "hub_messages", ["document_key"], unique=False)
    op.create_index(
        "ix_hub_delivery_updated", "hub_deliveries", ["updated_at", "status", "recipient_code"], unique=False
    )
    op.create_index(
        "ix_hub_delivery_open",
        "hub_deliveries",
        ["status", "updated_at", "doc_id"],
        unique=False,
        sqlite_where=_IS_OPEN,
        postgresql_where=_IS_OPEN,
    )
    op.create_table(
        "hub_refusal_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reason", Name(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "reason", name=op.f("pk_hub_refusal_counts")),
    )
    op.create_table(
        "hub_sightings",
        sa.Column("system_id", Name(64), nullable=False),
        sa.Column("seen_at", UTCTime(), nullable=False),
        sa.ForeignKeyConstraint(["system_id"], ["hub_systems.id"], name=op.f("fk_hub_sightings_system_id")),
        sa.PrimaryKeyConstraint("system_id", name=op.f("pk_hub_sightings")),
    )


def _fill(table: str, key: str, columns: tuple[str, ...]) -> None:
    connection = op.get_bind()
    has_document = "document_id" in columns
    rows = sa.table(
        table, sa.column(key), sa.column("search_text"), sa.column("document_key"), *map(sa.column, columns)
    )
    change = rows.update().where(rows.c[key] == sa.bindparam("at")).values(search_text=sa.bindparam("text"))
    if has_document:
        change = change.values(document_key=sa.bindparam("document"))
    last = ""
    while True:
        query = sa.select(rows).with_only_columns(rows.c[key], *(rows.c[name] for name in columns))
        batch = connection.execute(query.where(rows.c[key] > last).order_by(rows.c[key]).limit(_BATCH)).all()
        if not batch:
            return
        values = []
        for row in batch:
            value = {"at": row[0], "text": folded(*(text or "" for text in row[1:]))}
            if has_document:
                value["document"] = document_key(row.document_id)
            values.append(value)
        connection.execute(change, values)
        last = batch[-1][0]


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("hub_sightings")
    op.drop_table("hub_refusal_counts")
    op.drop_index("ix_hub_delivery_open", table_name="hub_deliveries")
    op.drop_index("ix_hub_delivery_updated", table_name="hub_deliveries")
    op.drop_index("ix_hub_message_document", table_name="hub_messages")
    for table in _SEARCHABLE:
        op.drop_column(table, "search_text")
    op.drop_column("hub_messages", "document_key")
