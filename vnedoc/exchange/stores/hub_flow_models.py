"""Tables of a hub about packages on their way: what happened to them, and sweeps that one of many processes does."""

from __future__ import annotations

import datetime  # noqa: TC003 - the mapping reads the annotations

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from vnedoc.exchange.stores._types import BoundedText, Name, UTCTime
from vnedoc.exchange.stores.models import MAX_SHOWN_CHARS, HubTables

__all__ = ["HubChoreRow", "HubCompatibilityRow", "HubEventRow", "HubPayloadRemovalRow"]


class HubEventRow(HubTables):
    """Something that happened to a package, or to one recipient's copy of it; only added to."""

    __tablename__ = "hub_events"

    number: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_messages.id"))
    doc_id: Mapped[str | None] = mapped_column(Name(32))
    at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    kind: Mapped[str] = mapped_column(Name(16))
    system_id: Mapped[str | None] = mapped_column(Name(64))
    detail: Mapped[str | None] = mapped_column(BoundedText(MAX_SHOWN_CHARS))

    __table_args__ = (sa.Index("ix_hub_event_message", "message_id", "number"),)


class HubChoreRow(HubTables):
    """Work that is done now and then, by whichever process comes first."""

    __tablename__ = "hub_chores"

    name: Mapped[str] = mapped_column(Name(32), primary_key=True)
    due_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    # When it was done last, and what came of it, as JSON.
    finished_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    outcome: Mapped[str | None] = mapped_column(sa.Text())


class HubPayloadRemovalRow(HubTables):
    """A payload that may go, or has gone: while this stands, a message must not name it without looking for it."""

    __tablename__ = "hub_payload_removals"

    sha256: Mapped[str] = mapped_column(Name(64), primary_key=True)
    size: Mapped[int] = mapped_column(sa.BigInteger())
    due_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    removed_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    __table_args__ = (sa.Index("ix_hub_payload_removal_due", "due_at"),)


class HubCompatibilityRow(HubTables):
    """The oldest program, by the newest migration that it knows, that works with the tables."""

    __tablename__ = "hub_compatibility"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    oldest: Mapped[str] = mapped_column(Name(16))
