"""An index for codes of the old scheme: a hub of 125,000 agencies looks recipients up by either code."""

from __future__ import annotations

from alembic import op

revision = "hub_0002"
down_revision = "hub_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_hub_agency_old_code", "hub_agencies", ["old_code"], unique=False)


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_hub_agency_old_code", table_name="hub_agencies")
