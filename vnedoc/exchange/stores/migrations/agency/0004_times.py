"""Times that counters and deadlines go by, beside what they are about: they need not be looked up row by row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agency_0004"
down_revision = "agency_0003"
branch_labels = None
depends_on = None

_FIRST_SENT = """
UPDATE sent_messages SET sent_at = (
    SELECT min(attempts.ended_at) FROM attempts
    WHERE attempts.message_id = sent_messages.id AND attempts.outcome = 'sent')
"""
_FIRST_NOTICE = """
UPDATE consignments SET noticed_at = (
    SELECT min(status_events.recorded_at) FROM status_events
    WHERE status_events.consignment_id = consignments.id
      AND status_events.code IN ('01', '02', '03', '04', '05', '06'))
"""
_FINISHED = """
UPDATE received_messages SET finished_at = (
    SELECT min(status_events.recorded_at) FROM status_events
    WHERE status_events.received_id = received_messages.id AND status_events.code IN ('02', '06'))
"""


def upgrade() -> None:
    """Add what is new, and fill it from the attempts and statuses that are there."""
    time = sa.DateTime(timezone=True)
    op.add_column("sent_messages", sa.Column("sent_at", time, nullable=True))
    op.add_column("consignments", sa.Column("noticed_at", time, nullable=True))
    op.add_column("received_messages", sa.Column("finished_at", time, nullable=True))
    for statement in (_FIRST_SENT, _FIRST_NOTICE, _FINISHED):
        op.execute(statement)
    op.drop_index("ix_sent_answers", table_name="sent_messages")
    op.create_index("ix_sent_answers", "sent_messages", ["answers", "sent_at"], unique=False)
