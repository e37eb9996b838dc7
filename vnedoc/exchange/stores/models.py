"""The tables: what an agency keeps of its messages, and what a hub keeps of those of others.

No column is specific to one database. Times are stored in UTC. Payloads are not in the tables but in a
:class:`~vnedoc.exchange.stores.payloads.PayloadStore`; rows name them by SHA-256.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from vnedoc._internal.clock import as_utc

__all__ = [
    "AgencyTables",
    "AttemptRow",
    "ConsignmentRow",
    "HubAgencyRow",
    "HubDeliveryRow",
    "HubMessageRow",
    "HubSystemRow",
    "HubTables",
    "ReceivedIdRow",
    "ReceivedRow",
    "SeenRequestRow",
    "SentRow",
    "StatusEventRow",
    "UTCTime",
]


class UTCTime(sa.types.TypeDecorator[datetime.datetime]):
    """An aware time, in UTC whatever the database does with zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime.datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> Any:  # DBAPI value
        """Refuse naive times, store the others in UTC."""
        return None if value is None else as_utc(value)

    def process_result_value(
        self,
        value: Any,  # DBAPI value
        dialect: sa.Dialect,  # noqa: ARG002 - part of the protocol
    ) -> datetime.datetime | None:
        """Give the zone back that SQLite does not keep."""
        if value is None:
            return None
        return as_utc(value if value.tzinfo else value.replace(tzinfo=datetime.UTC))


# Constraints with names can be changed by later migrations on every database.
_NAMES = {"fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}


class AgencyTables(DeclarativeBase):
    """The tables of an agency's store."""

    metadata = sa.MetaData(naming_convention=_NAMES)


class SentRow(AgencyTables):
    """A package to send: the outbox and, when nothing is due any more, the register of what was sent."""

    __tablename__ = "sent_messages"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    connection: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[str] = mapped_column(sa.String(16))
    # Empty once the axis refused it: a corrected package may take its place.
    identity: Mapped[str | None] = mapped_column(sa.String(64))
    sender_code: Mapped[str] = mapped_column(sa.Text())
    document_id: Mapped[str] = mapped_column(sa.Text())
    code: Mapped[str] = mapped_column(sa.Text())
    subject: Mapped[str] = mapped_column(sa.Text())
    payload_sha256: Mapped[str] = mapped_column(sa.String(64))
    payload_size: Mapped[int] = mapped_column(sa.BigInteger())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    due_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    attempt_count: Mapped[int] = mapped_column(default=0)
    remote_doc_id: Mapped[str | None] = mapped_column(sa.String(128))
    answers: Mapped[str | None] = mapped_column(sa.ForeignKey("received_messages.id"))

    consignments: Mapped[list[ConsignmentRow]] = relationship(
        order_by="ConsignmentRow.position", back_populates="message", lazy="selectin"
    )
    attempts: Mapped[list[AttemptRow]] = relationship(order_by="AttemptRow.number", lazy="selectin")

    __table_args__ = (
        sa.UniqueConstraint("connection", "identity", name="uq_sent_identity"),
        sa.Index("ix_sent_due", "due_at"),
        sa.Index("ix_sent_remote", "connection", "remote_doc_id"),
    )


class ConsignmentRow(AgencyTables):
    """A sent package on its way to one recipient, with the three states."""

    __tablename__ = "consignments"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("sent_messages.id"))
    position: Mapped[int] = mapped_column()
    recipient_code: Mapped[str] = mapped_column(sa.Text())
    recipient_name: Mapped[str] = mapped_column(sa.Text())
    remote_doc_id: Mapped[str | None] = mapped_column(sa.String(128))
    delivery_state: Mapped[str] = mapped_column(sa.String(16))
    transport_status: Mapped[str | None] = mapped_column(sa.String(16))
    progress: Mapped[str | None] = mapped_column(sa.String(2))
    change: Mapped[str | None] = mapped_column(sa.String(2))
    updated_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    message: Mapped[SentRow] = relationship(back_populates="consignments")
    events: Mapped[list[StatusEventRow]] = relationship(order_by="StatusEventRow.number", lazy="selectin")

    __table_args__ = (
        sa.UniqueConstraint("message_id", "recipient_code", name="uq_consignment_recipient"),
        sa.Index("ix_consignment_transport", "transport_status"),
    )


class AttemptRow(AgencyTables):
    """One attempt to hand a package to the axis."""

    __tablename__ = "attempts"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("sent_messages.id"))
    number: Mapped[int] = mapped_column()
    started_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    ended_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    outcome: Mapped[str] = mapped_column(sa.String(16))
    error_code: Mapped[str | None] = mapped_column(sa.String(64))
    remote_code: Mapped[str | None] = mapped_column(sa.String(64))
    remote_message: Mapped[str | None] = mapped_column(sa.Text())

    __table_args__ = (sa.UniqueConstraint("message_id", "number", name="uq_attempt_number"),)


class ReceivedRow(AgencyTables):
    """A package that was received."""

    __tablename__ = "received_messages"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    connection: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[str] = mapped_column(sa.String(16))
    # Empty for what is in quarantine: a forged document must not take the place of the real one.
    identity: Mapped[str | None] = mapped_column(sa.String(64))
    remote_doc_id: Mapped[str] = mapped_column(sa.String(128))
    sender_code: Mapped[str] = mapped_column(sa.Text())
    sender_name: Mapped[str] = mapped_column(sa.Text())
    document_id: Mapped[str] = mapped_column(sa.Text())
    code: Mapped[str] = mapped_column(sa.Text())
    subject: Mapped[str] = mapped_column(sa.Text())
    payload_sha256: Mapped[str] = mapped_column(sa.String(64))
    payload_size: Mapped[int] = mapped_column(sa.BigInteger())
    received_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    reasons: Mapped[str] = mapped_column(sa.Text())
    published_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    delivery_state: Mapped[str] = mapped_column(sa.String(16))
    transport_status: Mapped[str] = mapped_column(sa.String(16))
    progress: Mapped[str | None] = mapped_column(sa.String(2))
    change: Mapped[str | None] = mapped_column(sa.String(2))
    updated_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    events: Mapped[list[StatusEventRow]] = relationship(order_by="StatusEventRow.number", lazy="selectin")

    __table_args__ = (
        sa.UniqueConstraint("connection", "identity", name="uq_received_identity"),
        sa.Index("ix_received_remote", "connection", "remote_doc_id"),
    )


class ReceivedIdRow(AgencyTables):
    """An id of the axis that was seen, and whether the axis was told; several may stand for one message."""

    __tablename__ = "received_ids"

    connection: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    remote_doc_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("received_messages.id"))
    acknowledged_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    message: Mapped[ReceivedRow] = relationship()


class StatusEventRow(AgencyTables):
    """One business status that was received or sent; the history, which is only added to."""

    __tablename__ = "status_events"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    number: Mapped[int] = mapped_column()
    consignment_id: Mapped[str | None] = mapped_column(sa.ForeignKey("consignments.id"))
    received_id: Mapped[str | None] = mapped_column(sa.ForeignKey("received_messages.id"))
    code: Mapped[str] = mapped_column(sa.String(16))
    description: Mapped[str | None] = mapped_column(sa.Text())
    reported_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    recorded_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    taken: Mapped[bool] = mapped_column()

    __table_args__ = (
        sa.Index("ix_event_consignment", "consignment_id"),
        sa.Index("ix_event_received", "received_id"),
    )


class HubTables(DeclarativeBase):
    """The tables of a hub."""

    metadata = sa.MetaData(naming_convention=_NAMES)


class HubSystemRow(HubTables):
    """A system that may call the hub."""

    __tablename__ = "hub_systems"

    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text())
    # HMAC is checked with the secret itself; a digest of it would not do. The file is for its owner only.
    secret: Mapped[str] = mapped_column(sa.Text())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())


class HubAgencyRow(HubTables):
    """An agency and the system that sends and receives for it."""

    __tablename__ = "hub_agencies"

    code: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text())
    parent_code: Mapped[str | None] = mapped_column(sa.String(64))
    email: Mapped[str | None] = mapped_column(sa.Text())
    old_code: Mapped[str | None] = mapped_column(sa.String(64))
    system_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_systems.id"))

    __table_args__ = (sa.Index("ix_hub_agency_system", "system_id"),)


class HubMessageRow(HubTables):
    """A package that the hub took over, with the receipt it gave."""

    __tablename__ = "hub_messages"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    identity: Mapped[str] = mapped_column(sa.String(64))
    sender_code: Mapped[str] = mapped_column(sa.String(64))
    sender_system: Mapped[str] = mapped_column(sa.ForeignKey("hub_systems.id"))
    document_id: Mapped[str] = mapped_column(sa.Text())
    title: Mapped[str] = mapped_column(sa.Text())
    notation: Mapped[str] = mapped_column(sa.Text())
    payload_sha256: Mapped[str] = mapped_column(sa.String(64))
    payload_size: Mapped[int] = mapped_column(sa.BigInteger())
    received_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    receipt: Mapped[str] = mapped_column(sa.Text())

    deliveries: Mapped[list[HubDeliveryRow]] = relationship(
        order_by="HubDeliveryRow.position", back_populates="message"
    )

    __table_args__ = (
        sa.UniqueConstraint("sender_code", "identity", name="uq_hub_message_identity"),
        sa.Index("ix_hub_message_sender", "sender_system", "kind"),
    )


class HubDeliveryRow(HubTables):
    """One recipient's copy of a package: the same payload under an id of its own."""

    __tablename__ = "hub_deliveries"

    doc_id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_messages.id"))
    position: Mapped[int] = mapped_column()
    recipient_code: Mapped[str] = mapped_column(sa.ForeignKey("hub_agencies.code"))
    status: Mapped[str] = mapped_column(sa.String(16))
    status_text: Mapped[str | None] = mapped_column(sa.Text())
    updated_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    message: Mapped[HubMessageRow] = relationship(back_populates="deliveries")

    __table_args__ = (
        sa.UniqueConstraint("message_id", "recipient_code", name="uq_hub_delivery_recipient"),
        sa.Index("ix_hub_delivery_waiting", "recipient_code", "status"),
    )


class SeenRequestRow(HubTables):
    """A request that was let in; the same one is not let in again while its time is within the window."""

    __tablename__ = "hub_seen_requests"

    hash_header: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    expires_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    __table_args__ = (sa.Index("ix_hub_seen_expires", "expires_at"),)
