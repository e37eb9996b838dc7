"""The tables: what an agency keeps of its messages, and what a hub keeps of those of others.

No column is specific to one database. Times are stored in UTC. Payloads are not in the tables but in a
:class:`~vnedoc.exchange.stores.payloads.PayloadStore`; rows name them by SHA-256.
"""

from __future__ import annotations

import datetime  # noqa: TC003 - the mapping reads the annotations

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from vnedoc.exchange.stores._types import BoundedText, Name, PlainText, UTCTime

__all__ = [
    "AgencyTables",
    "AttemptRow",
    "ConsignmentRow",
    "DocumentOrderRow",
    "EventRow",
    "HubAgencyRow",
    "HubDeliveryRow",
    "HubMessageRow",
    "HubSystemRow",
    "HubTables",
    "LogHeadRow",
    "PayloadRemovalRow",
    "ReceivedIdRow",
    "ReceivedRow",
    "SeenRequestRow",
    "SentRow",
    "StatusEventRow",
    "StoreInfoRow",
]


# Constraints with names can be changed by later migrations on every database.
_NAMES = {"fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}
# An index of PostgreSQL takes 2,704 bytes; a character has up to four.
MAX_KEY_CHARS = 600
# Twice what the standard allows a subject.
MAX_SHOWN_CHARS = 1000
_LONG_AGO = sa.text("'1970-01-01 00:00:00'")
_IS_UNANSWERED = sa.text("answer IS NOT NULL AND answer_id IS NULL")
_IS_UNNOTICED = sa.text("noticed_at IS NULL")
_IS_DUE = sa.text("due_at IS NOT NULL")
_IS_OPEN = sa.text("status <> 'done'")
_IS_KEPT = sa.text("payload_pruned_at IS NULL")


class AgencyTables(DeclarativeBase):
    """The tables of an agency's store."""

    metadata = sa.MetaData(naming_convention=_NAMES)


class SentRow(AgencyTables):
    """A package to send: the outbox and, when nothing is due any more, the register of what was sent."""

    __tablename__ = "sent_messages"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    connection: Mapped[str] = mapped_column(Name(64))
    kind: Mapped[str] = mapped_column(Name(16))
    # Empty once the axis refused it: a corrected package may take its place.
    identity: Mapped[str | None] = mapped_column(Name(64))
    sender_code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    document_id: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    subject: Mapped[str] = mapped_column(PlainText())
    payload_sha256: Mapped[str] = mapped_column(Name(64))
    payload_size: Mapped[int] = mapped_column(sa.BigInteger())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    # While somebody tries it: the end of the lease.
    due_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    expires_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    lease_owner: Mapped[str | None] = mapped_column(Name(64))
    attempt_count: Mapped[int] = mapped_column(default=0)
    # Attempts since a person last asked to try again.
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    remote_doc_id: Mapped[str | None] = mapped_column(Name(128))
    answers: Mapped[str | None] = mapped_column(sa.ForeignKey("received_messages.id"))
    search_text: Mapped[str] = mapped_column(PlainText(), default="", server_default="")
    payload_pruned_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    # What the header says that counters and deadlines go by.
    business_kind: Mapped[int | None] = mapped_column()
    paper: Mapped[bool | None] = mapped_column()
    issued_on: Mapped[datetime.date | None] = mapped_column()
    # The end of the first attempt that came off.
    sent_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    consignments: Mapped[list[ConsignmentRow]] = relationship(
        order_by="ConsignmentRow.position", back_populates="message", lazy="selectin"
    )
    attempts: Mapped[list[AttemptRow]] = relationship(order_by="AttemptRow.number", lazy="selectin")

    __table_args__ = (
        sa.UniqueConstraint("connection", "identity", name="uq_sent_identity"),
        # Small: of a hundred thousand messages a few are due.
        sa.Index("ix_sent_due", "due_at", sqlite_where=_IS_DUE, postgresql_where=_IS_DUE),
        sa.Index("ix_sent_claim", "connection", "due_at", sqlite_where=_IS_DUE, postgresql_where=_IS_DUE),
        sa.Index("ix_sent_remote", "remote_doc_id", "connection"),
        sa.Index("ix_sent_listing", "kind", "created_at", "id"),
        sa.Index("ix_sent_payload", "payload_sha256"),
        sa.Index("ix_sent_document", "document_id"),
        sa.Index("ix_sent_code", "code"),
        sa.Index("ix_sent_answers", "answers", "sent_at"),
    )


class ConsignmentRow(AgencyTables):
    """A sent package on its way to one recipient, with the three states."""

    __tablename__ = "consignments"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("sent_messages.id"))
    position: Mapped[int] = mapped_column()
    recipient_code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    recipient_name: Mapped[str] = mapped_column(PlainText())
    remote_doc_id: Mapped[str | None] = mapped_column(Name(128))
    delivery_state: Mapped[str] = mapped_column(Name(16))
    transport_status: Mapped[str | None] = mapped_column(Name(16))
    progress: Mapped[str | None] = mapped_column(Name(2))
    change: Mapped[str | None] = mapped_column(Name(2))
    updated_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    # Never changes; here again so that messages in a state are found in their order by one index.
    queued_at: Mapped[datetime.datetime] = mapped_column(UTCTime(), server_default=_LONG_AGO)
    # When the first of 01 to 06 came.
    noticed_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    message: Mapped[SentRow] = relationship(back_populates="consignments")
    events: Mapped[list[StatusEventRow]] = relationship(order_by="StatusEventRow.number", lazy="selectin")

    __table_args__ = (
        sa.UniqueConstraint("message_id", "recipient_code", name="uq_consignment_recipient"),
        sa.Index("ix_consignment_transport", "transport_status"),
        sa.Index("ix_consignment_listing", "delivery_state", "queued_at", "message_id"),
    )


class AttemptRow(AgencyTables):
    """One attempt to hand a package to the axis."""

    __tablename__ = "attempts"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("sent_messages.id"))
    number: Mapped[int] = mapped_column()
    owner: Mapped[str | None] = mapped_column(Name(64))
    started_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    ended_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    outcome: Mapped[str] = mapped_column(Name(16))
    error_code: Mapped[str | None] = mapped_column(Name(64))
    remote_code: Mapped[str | None] = mapped_column(Name(64))
    remote_message: Mapped[str | None] = mapped_column(PlainText())

    __table_args__ = (sa.UniqueConstraint("message_id", "number", name="uq_attempt_number"),)


class ReceivedRow(AgencyTables):
    """A package that was received."""

    __tablename__ = "received_messages"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    connection: Mapped[str] = mapped_column(Name(64))
    kind: Mapped[str] = mapped_column(Name(16))
    # Empty for what is in quarantine: a forged document must not take the place of the real one.
    identity: Mapped[str | None] = mapped_column(Name(64))
    remote_doc_id: Mapped[str] = mapped_column(Name(128))
    sender_code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    sender_name: Mapped[str] = mapped_column(PlainText())
    document_id: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    subject: Mapped[str] = mapped_column(PlainText())
    payload_sha256: Mapped[str] = mapped_column(Name(64))
    payload_size: Mapped[int] = mapped_column(sa.BigInteger())
    received_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    reasons: Mapped[str] = mapped_column(PlainText())
    published_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    delivery_state: Mapped[str] = mapped_column(Name(16))
    transport_status: Mapped[str] = mapped_column(Name(16))
    progress: Mapped[str | None] = mapped_column(Name(2))
    change: Mapped[str | None] = mapped_column(Name(2))
    updated_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    search_text: Mapped[str] = mapped_column(PlainText(), default="", server_default="")
    payload_pruned_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    # Which of our codes it is addressed to: under this one it is answered.
    recipient_code: Mapped[str | None] = mapped_column(PlainText(MAX_KEY_CHARS))
    business_kind: Mapped[int | None] = mapped_column()
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    paper: Mapped[bool | None] = mapped_column()
    issued_on: Mapped[datetime.date | None] = mapped_column()
    due_on: Mapped[datetime.date | None] = mapped_column()
    # When its sender's system let it go, as its first trace says: tells what a recall was meant for.
    dispatched_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    published_in: Mapped[str | None] = mapped_column(PlainText())
    # When 02 or 06 was first reported.
    finished_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    events: Mapped[list[StatusEventRow]] = relationship(order_by="StatusEventRow.number", lazy="selectin")

    __table_args__ = (
        sa.UniqueConstraint("connection", "identity", name="uq_received_identity"),
        sa.Index("ix_received_remote", "remote_doc_id", "connection"),
        sa.Index("ix_received_listing", "kind", "received_at", "id"),
        sa.Index("ix_received_state", "delivery_state", "received_at", "id"),
        sa.Index("ix_received_payload", "payload_sha256"),
        sa.Index("ix_received_document", "document_id"),
    )


class ReceivedIdRow(AgencyTables):
    """An id of the axis that was seen, and whether the axis was told; several may stand for one message."""

    __tablename__ = "received_ids"

    connection: Mapped[str] = mapped_column(Name(64), primary_key=True)
    remote_doc_id: Mapped[str] = mapped_column(Name(128), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("received_messages.id"))
    acknowledged_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    message: Mapped[ReceivedRow] = relationship()

    __table_args__ = (sa.Index("ix_received_id_message", "message_id"),)


class StatusEventRow(AgencyTables):
    """One business status that was received or sent; the history, which is only added to."""

    __tablename__ = "status_events"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    number: Mapped[int] = mapped_column()
    consignment_id: Mapped[str | None] = mapped_column(sa.ForeignKey("consignments.id"))
    received_id: Mapped[str | None] = mapped_column(sa.ForeignKey("received_messages.id"))
    code: Mapped[str] = mapped_column(Name(16))
    description: Mapped[str | None] = mapped_column(PlainText())
    reported_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    recorded_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    taken: Mapped[bool] = mapped_column()

    __table_args__ = (
        sa.Index("ix_event_consignment", "consignment_id"),
        sa.Index("ix_event_received", "received_id"),
    )


class DocumentOrderRow(AgencyTables):
    """An order about one document: to take it back, to update it, to replace it.

    It names messages without foreign keys: what is known of a recall is kept when the messages are pruned.
    """

    __tablename__ = "document_orders"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    connection: Mapped[str] = mapped_column(Name(64))
    kind: Mapped[str] = mapped_column(Name(16))
    state: Mapped[str] = mapped_column(Name(16))
    is_ours: Mapped[bool] = mapped_column()
    orderer_code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    document_id: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    document_code: Mapped[str] = mapped_column(PlainText(MAX_KEY_CHARS))
    reason: Mapped[str | None] = mapped_column(PlainText())
    # Whether the settings of its time say that it is carried out without a person.
    automatic: Mapped[bool] = mapped_column()
    # The message that carries it; none for what was taken back before it left.
    order_id: Mapped[str | None] = mapped_column(Name(32))
    # The message of the document; none while the document has not come.
    target_id: Mapped[str | None] = mapped_column(Name(32))
    dispatched_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    settled_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    # What we answer, and the message that says so.
    answer: Mapped[str | None] = mapped_column(Name(2))
    answer_id: Mapped[str | None] = mapped_column(Name(32))
    # When the files laid out for people were marked.
    noticed_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    __table_args__ = (
        sa.Index("ix_order_document", "document_id"),
        sa.Index("ix_order_order", "order_id"),
        sa.Index("ix_order_target", "target_id"),
        # Small: what has to be finished is finished soon.
        sa.Index(
            "ix_order_unanswered",
            "connection",
            sqlite_where=_IS_UNANSWERED,
            postgresql_where=_IS_UNANSWERED,
        ),
        sa.Index(
            "ix_order_unnoticed", "connection", sqlite_where=_IS_UNNOTICED, postgresql_where=_IS_UNNOTICED
        ),
    )


class EventRow(AgencyTables):
    """One link of the event log; see :mod:`vnedoc.exchange.stores._log`. Rows are never changed or removed."""

    __tablename__ = "event_log"

    number: Mapped[int] = mapped_column(sa.BigInteger(), primary_key=True, autoincrement=False)
    at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    kind: Mapped[str] = mapped_column(Name(32))
    message_id: Mapped[str | None] = mapped_column(Name(32))
    consignment_id: Mapped[str | None] = mapped_column(Name(32))
    # What the hash covers is this text as it is, so it is never written anew.
    detail: Mapped[str] = mapped_column(sa.Text())
    previous_hash: Mapped[str] = mapped_column(Name(64))
    hash: Mapped[str] = mapped_column(Name(64))

    __table_args__ = (sa.Index("ix_event_log_message", "message_id", "number"),)


class LogHeadRow(AgencyTables):
    """The last link of the event log: one row, whose lock puts those who append in a line."""

    __tablename__ = "event_log_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(sa.BigInteger())
    hash: Mapped[str] = mapped_column(Name(64))


class StoreInfoRow(AgencyTables):
    """What a store knows of itself: its id, and whether it is moving to another database."""

    __tablename__ = "store_info"

    name: Mapped[str] = mapped_column(Name(32), primary_key=True)
    value: Mapped[str] = mapped_column(sa.Text())


class PayloadRemovalRow(AgencyTables):
    """A payload that is being removed; no message may begin to name it until it is gone."""

    __tablename__ = "payload_removals"

    sha256: Mapped[str] = mapped_column(Name(64), primary_key=True)
    marked_at: Mapped[datetime.datetime] = mapped_column(UTCTime())


class HubTables(DeclarativeBase):
    """The tables of a hub."""

    metadata = sa.MetaData(naming_convention=_NAMES)


class HubSystemRow(HubTables):
    """A system that may call the hub."""

    __tablename__ = "hub_systems"

    id: Mapped[str] = mapped_column(Name(64), primary_key=True)
    name: Mapped[str] = mapped_column(PlainText())
    # What older versions kept here in plain; once it is sealed in hub_secrets, random letters stand here. Not an
    # empty text: an old process that still runs during an upgrade must find nothing that anybody could give.
    secret: Mapped[str] = mapped_column(PlainText())
    sealed: Mapped[bool] = mapped_column(server_default=sa.false(), default=False)
    created_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    # Lines: networks as CIDR, SHA-256 of client certificates. Empty is any network, no certificate.
    networks: Mapped[str] = mapped_column(sa.Text(), server_default="", default="")
    certificates: Mapped[str] = mapped_column(sa.Text(), server_default="", default="")
    disabled_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())
    # Counts changes, so that two people do not overwrite each other.
    version: Mapped[int] = mapped_column(server_default="1", default=1)


class HubAgencyRow(HubTables):
    """An agency and the system that sends and receives for it."""

    __tablename__ = "hub_agencies"

    code: Mapped[str] = mapped_column(Name(64), primary_key=True)
    name: Mapped[str] = mapped_column(PlainText())
    parent_code: Mapped[str | None] = mapped_column(Name(64))
    email: Mapped[str | None] = mapped_column(PlainText())
    old_code: Mapped[str | None] = mapped_column(Name(64))
    system_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_systems.id"))
    # The first day on which it is no more, who took over its work, and whether packages go there by themselves.
    closed_on: Mapped[datetime.date | None] = mapped_column(sa.Date())
    successor_code: Mapped[str | None] = mapped_column(Name(64))
    forwards: Mapped[bool] = mapped_column(server_default=sa.false(), default=False)
    version: Mapped[int] = mapped_column(server_default="1", default=1)
    # Codes and name as people type them, see stores/_search.py.
    search_text: Mapped[str] = mapped_column(PlainText(), default="", server_default="")

    __table_args__ = (
        sa.Index("ix_hub_agency_system", "system_id"),
        sa.Index("ix_hub_agency_old_code", "old_code"),
    )


class HubMessageRow(HubTables):
    """A package that the hub took over, with the receipt it gave."""

    __tablename__ = "hub_messages"

    id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    kind: Mapped[str] = mapped_column(Name(16))
    identity: Mapped[str] = mapped_column(Name(64))
    sender_code: Mapped[str] = mapped_column(Name(64))
    sender_system: Mapped[str] = mapped_column(sa.ForeignKey("hub_systems.id"))
    document_id: Mapped[str] = mapped_column(BoundedText(MAX_KEY_CHARS, is_compared=True))
    title: Mapped[str] = mapped_column(BoundedText(MAX_SHOWN_CHARS))
    notation: Mapped[str] = mapped_column(BoundedText(MAX_KEY_CHARS, is_compared=True))
    payload_sha256: Mapped[str] = mapped_column(Name(64))
    payload_size: Mapped[int] = mapped_column(sa.BigInteger())
    received_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    receipt: Mapped[str] = mapped_column(PlainText())
    # A digest of the document's identifier, which may be longer than an index takes.
    document_key: Mapped[str] = mapped_column(Name(32), default="", server_default="")
    # Title, notation and identifier as people type them, see stores/_search.py.
    search_text: Mapped[str] = mapped_column(PlainText(), default="", server_default="")
    # Since when the package is not needed any more; the row still says what came, and gives the same receipt again.
    payload_pruned_at: Mapped[datetime.datetime | None] = mapped_column(UTCTime())

    deliveries: Mapped[list[HubDeliveryRow]] = relationship(
        order_by="HubDeliveryRow.position", back_populates="message"
    )

    __table_args__ = (
        sa.UniqueConstraint("sender_code", "identity", name="uq_hub_message_identity"),
        # The list of what a system sent is this index from its end.
        sa.Index("ix_hub_message_sender", "sender_system", "kind", "received_at", "id"),
        sa.Index("ix_hub_message_received", "received_at", "id"),
        sa.Index("ix_hub_message_document", "document_key"),
        # What may grow old enough to be pruned, and whether anybody still names a payload.
        sa.Index(
            "ix_hub_message_kept", "received_at", "id", sqlite_where=_IS_KEPT, postgresql_where=_IS_KEPT
        ),
        sa.Index(
            "ix_hub_message_payload", "payload_sha256", sqlite_where=_IS_KEPT, postgresql_where=_IS_KEPT
        ),
    )


class HubDeliveryRow(HubTables):
    """One recipient's copy of a package: the same payload under an id of its own."""

    __tablename__ = "hub_deliveries"

    doc_id: Mapped[str] = mapped_column(Name(32), primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("hub_messages.id"))
    position: Mapped[int] = mapped_column()
    recipient_code: Mapped[str] = mapped_column(sa.ForeignKey("hub_agencies.code"))
    status: Mapped[str] = mapped_column(Name(16))
    status_text: Mapped[str | None] = mapped_column(BoundedText(MAX_SHOWN_CHARS))
    updated_at: Mapped[datetime.datetime] = mapped_column(UTCTime())
    # How often its recipient's system failed on it.
    fail_count: Mapped[int] = mapped_column(server_default="0", default=0)

    message: Mapped[HubMessageRow] = relationship(back_populates="deliveries")

    __table_args__ = (
        sa.UniqueConstraint("message_id", "recipient_code", name="uq_hub_delivery_recipient"),
        sa.Index("ix_hub_delivery_waiting", "recipient_code", "status"),
        sa.Index("ix_hub_delivery_updated", "updated_at", "status", "recipient_code"),
        # Small: of a hundred thousand deliveries a few are on their way or in trouble.
        sa.Index(
            "ix_hub_delivery_open",
            "status",
            "updated_at",
            "doc_id",
            sqlite_where=_IS_OPEN,
            postgresql_where=_IS_OPEN,
        ),
    )


class SeenRequestRow(HubTables):
    """A request that was let in; the same one is not let in again while its time is within the window."""

    __tablename__ = "hub_seen_requests"

    hash_header: Mapped[str] = mapped_column(Name(64), primary_key=True)
    expires_at: Mapped[datetime.datetime] = mapped_column(UTCTime())

    __table_args__ = (sa.Index("ix_hub_seen_expires", "expires_at"),)
