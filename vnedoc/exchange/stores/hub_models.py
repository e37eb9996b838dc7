"""Tables of a hub for its administration: accounts, sealed secrets, the audit log, repeatable answers, counts.

What is counted is what people look at and no package tells: refusals by day, when a system was heard of last.
"""

from __future__ import annotations

import datetime  # noqa: TC003 - the mapping reads the annotations

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from vnedoc.exchange.stores._types import Name, PlainText, UTCTime
from vnedoc.exchange.stores.models import HubTables

__all__ = [
    "HubAnswerRow",
    "HubAuditHeadRow",
    "HubAuditRow",
    "HubRefusalCountRow",
    "HubSealingRow",
    "HubSecretRow",
    "HubSessionRow",
    "HubSightingRow",
    "HubTokenRow",
    "HubUserRow",
]


class HubSecretRow(HubTables):
    """A secret of a system, sealed with a key that is not in the database; two during a rotation."""

    __tablename__ = "hub_secrets"

    id: Mapped[str] = mapped_column(Name(16), primary_key=True)
    system_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_systems.id"))
    key_id: Mapped[str] = mapped_column(Name(16))
    sealed: Mapped[str] = mapped_column(sa.Text())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    expires_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    __table_args__ = (
        sa.Index("ix_hub_secret_system", "system_id"),
        sa.Index("ix_hub_secret_key", "key_id"),
    )


class HubSealingRow(HubTables):
    """Which key seals, in one row: who seals reads it under a lock, so that no old key is used after a change."""

    __tablename__ = "hub_sealing"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    # None: nothing was sealed yet, or all of it by a version that wrote down only changes of the key.
    key_id: Mapped[str | None] = mapped_column(Name(16))
    changed_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())


class HubAuditRow(HubTables):
    """What somebody changed. Never altered and never removed: the database refuses, and the chain would show it."""

    __tablename__ = "hub_audit"

    number: Mapped[int] = mapped_column(sa.BigInteger(), primary_key=True, autoincrement=False)
    at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    actor: Mapped[str] = mapped_column(PlainText())
    action: Mapped[str] = mapped_column(Name(32))
    subject: Mapped[str] = mapped_column(PlainText())
    detail: Mapped[str] = mapped_column(sa.Text())
    previous_hash: Mapped[str] = mapped_column(sa.String(64))
    hash: Mapped[str] = mapped_column(sa.String(64))

    __table_args__ = (
        sa.Index("ix_hub_audit_at", "at"),
        sa.Index("ix_hub_audit_subject", "subject"),
    )


class HubAuditHeadRow(HubTables):
    """The end of the audit log, in one row: who appends locks it."""

    __tablename__ = "hub_audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(sa.BigInteger())
    hash: Mapped[str] = mapped_column(sa.String(64))


class HubAnswerRow(HubTables):
    """What a call with an Idempotency-Key was answered; sealed, for it may hold a new secret."""

    __tablename__ = "hub_answers"

    actor: Mapped[str] = mapped_column(Name(80), primary_key=True)
    key: Mapped[str] = mapped_column(Name(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(sa.String(64))
    sealed: Mapped[str] = mapped_column(sa.Text())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    __table_args__ = (sa.Index("ix_hub_answer_created", "created_at"),)


class HubRefusalCountRow(HubTables):
    """How often the hub said no on a day, for one reason. What was refused is not kept."""

    __tablename__ = "hub_refusal_counts"

    # Vietnam's day.
    day: Mapped[datetime.date] = mapped_column(sa.Date(), primary_key=True)
    reason: Mapped[str] = mapped_column(Name(64), primary_key=True)
    count: Mapped[int] = mapped_column(sa.BigInteger())


class HubSightingRow(HubTables):
    """When a system was let in last; exact to some seconds, for it is not written at every call."""

    __tablename__ = "hub_sightings"

    system_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_systems.id"), primary_key=True)
    seen_at: Mapped[datetime.datetime] = mapped_column(UTCTime())


class HubUserRow(HubTables):
    """A person who may look at a hub, or run it."""

    __tablename__ = "hub_users"

    name: Mapped[str] = mapped_column(Name(64), primary_key=True)
    role: Mapped[str] = mapped_column(Name(16))
    # "scrypt$cost$salt$hash"; never the password.
    password: Mapped[str] = mapped_column(sa.Text())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    # Wrong passwords in a row, and until when nobody gets in: the same for all processes of a hub.
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    locked_until: Mapped[datetime.datetime | None] = mapped_column(UTCTime())


class HubSessionRow(HubTables):
    """Somebody who is logged in. The token itself is only in their browser."""

    __tablename__ = "hub_sessions"

    token_sha256: Mapped[str] = mapped_column(Name(64), primary_key=True)
    user_name: Mapped[str] = mapped_column(sa.ForeignKey("hub_users.name"))
    csrf: Mapped[str] = mapped_column(Name(64))
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    seen_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    __table_args__ = (
        sa.Index("ix_hub_session_user", "user_name"),
        sa.Index("ix_hub_session_seen", "seen_at"),
    )


class HubTokenRow(HubTables):
    """A token with which a program calls the administration; only its digest is kept."""

    __tablename__ = "hub_tokens"

    id: Mapped[str] = mapped_column(Name(16), primary_key=True)
    token_sha256: Mapped[str] = mapped_column(Name(64), unique=True)
    label: Mapped[str] = mapped_column(PlainText())
    role: Mapped[str] = mapped_column(Name(16))
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    expires_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
