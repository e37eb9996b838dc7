"""What a hub keeps: systems, agencies, packages taken over, and one delivery for each recipient.

Every method is one transaction. When :meth:`HubStore.take` returns, the package is on the disk and its row is
committed; before, nothing of it is visible.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from vnedoc._internal.clock import utc_now
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.sealing import KEY_FILE_NAME
from vnedoc.exchange.hub.secret_keys import checked_secret
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._hub_admission import Admission, Request
from vnedoc.exchange.stores._hub_intake import (
    AccessChangedError,
    Arrival,
    ConflictError,
    Intake,
    ReplayedError,
    UnknownSenderError,
)
from vnedoc.exchange.stores._hub_lists import ListedDelivery, SentDelivery, sent, waiting
from vnedoc.exchange.stores._hub_removals import PayloadGoneError
from vnedoc.exchange.stores._hub_routing import (
    ClosedRecipientsError,
    UnknownRecipientsError,
    is_open,
    is_registered,
)
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.hub_administration import HubAdministration
from vnedoc.exchange.stores.hub_deliveries import EXPIRED, PARKED, HubDeliveries, axis_status
from vnedoc.exchange.stores.hub_secrets import HubSecrets, key_for
from vnedoc.exchange.stores.models import (
    HubAgencyRow,
    HubDeliveryRow,
    HubMessageRow,
    HubSystemRow,
)
from vnedoc.exchange.stores.payloads import PayloadStore, StoredPayload, open_payloads

if TYPE_CHECKING:
    import contextlib
    import datetime
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sqlalchemy import orm

    from vnedoc.exchange.hub.sealing import HubKey

__all__ = [
    "AccessChangedError",
    "ClosedRecipientsError",
    "ConflictError",
    "HubAgency",
    "HubDelivery",
    "HubPackage",
    "HubStats",
    "HubStore",
    "HubSystem",
    "ListedDelivery",
    "PayloadGoneError",
    "ReplayedError",
    "Request",
    "SentDelivery",
    "UnknownRecipientsError",
    "UnknownSenderError",
]

DATABASE_NAME = "hub.sqlite3"
PAYLOAD_FOLDER = "payloads"


@dataclasses.dataclass(frozen=True, slots=True)
class HubSystem:
    """A system that may call the hub."""

    id: str
    """Its id."""
    name: str
    """What people call it."""
    agency_count: int
    """How many agencies it sends and receives for."""


@dataclasses.dataclass(frozen=True, slots=True)
class HubAgency:
    """An agency that the hub delivers to."""

    code: str
    """Its code."""
    name: str
    """Its name."""
    parent_code: str | None = None
    """Code of the agency above it."""
    email: str | None = None
    """Its mail address."""
    old_code: str | None = None
    """Its code by QCVN 102:2016; packages addressed to it arrive too."""


@dataclasses.dataclass(frozen=True, slots=True)
class HubPackage:
    """What the hub must know of a package to route it."""

    kind: PackageKind
    """What it carries."""
    identity: str
    """What makes it the same package when it is sent again: a SHA-256 in hexadecimal."""
    sender_code: str
    """Code in ``From``."""
    recipient_codes: tuple[str, ...]
    """Codes it is for, in the order of the package."""
    document_id: str
    """Identifier of the document."""
    title: str
    """What it is about."""
    notation: str
    """Number and notation."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubDelivery(SentDelivery):
    """One package on its way to one recipient, with the package."""

    payload: StoredPayload
    """The package."""
    payload_pruned_at: datetime.datetime | None = None
    """Since when the package is not kept any more; ``None``: it is there."""


@dataclasses.dataclass(frozen=True, slots=True)
class HubStats:
    """How much a hub holds."""

    systems: int
    """Systems that may call."""
    agencies: int
    """Agencies it delivers to."""
    documents: int
    """Document packages taken over."""
    statuses: int
    """Status packages taken over."""
    payload_bytes: int
    """The size of those that are kept, each counted once."""
    deliveries: dict[str, int]
    """Deliveries by status: the words of the axis, and the hub's own ``parked`` and ``expired``."""


class HubStore:
    """The memory of a hub.

    Args:
        database: Its tables.
        payloads: Its packages.
        key: What seals the secrets of systems; ``None`` where nobody asks for one. Secrets that an older version kept
            in plain are sealed now.

    Raises:
        CredentialError: The key is not the one that the secrets were sealed with.
    """

    def __init__(self, database: Database, payloads: PayloadStore, *, key: HubKey | None = None) -> None:
        self.database = database
        self.payloads = payloads
        self._admission = Admission(database)
        self._intake = Intake(database, self._admission, payload_size=payloads.size)
        self.deliveries = HubDeliveries(database)
        self.system_secrets = HubSecrets(database, key)
        if key is not None:
            self.system_secrets.check_key()
            self.system_secrets.seal_old()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        url: str | None = None,
        payloads: Path | str | None = None,
        key_file: Path | None = None,
    ) -> Self:
        """Open the hub that lives in a folder; make it, with a key, if there is none.

        Args:
            folder: Where all is that is not said to be elsewhere.
            url: A database URL of SQLAlchemy; ``None``: a SQLite file in the folder.
            payloads: A folder for the packages, or ``s3://BUCKET/PREFIX``; ``None``: a folder in the folder.
            key_file: The key that seals secrets; ``None``: a file in the folder.

        Raises:
            ConfigurationError: The URL or the address of the object store is wrong.
            CredentialError: The key is missing, wrong, or others can read it.
            RemoteError: The database server does not answer.
        """
        database = Database(url or f"sqlite:///{(folder / DATABASE_NAME).absolute()}", branch="hub")
        try:
            place = open_payloads(folder / PAYLOAD_FOLDER if payloads is None else payloads)
            return cls(database, place, key=key_for(database, key_file or folder / KEY_FILE_NAME))
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def add_system(self, system_id: str, *, name: str, secret: str, at: datetime.datetime) -> None:
        """Let a system call the hub.

        Raises:
            UsageError: The secret will not do.
            ConfigurationError: There is a system with this id.
        """
        given = checked_secret(secret)
        HubAdministration(self).run(
            By("local", at), lambda changes: changes.add_system(system_id, name=name, secret=given)
        )

    def systems(self) -> list[HubSystem]:
        """Return all systems."""
        counted = (
            sa.select(HubAgencyRow.system_id, sa.func.count().label("agencies"))
            .group_by(HubAgencyRow.system_id)
            .subquery()
        )
        query = (
            sa.select(HubSystemRow.id, HubSystemRow.name, sa.func.coalesce(counted.c.agencies, 0))
            .outerjoin(counted, counted.c.system_id == HubSystemRow.id)
            .order_by(HubSystemRow.id)
        )
        with self.database.reading() as session:
            return [HubSystem(row[0], row[1], int(row[2])) for row in session.execute(query)]

    def register_agencies(
        self, system_id: str, agencies: Iterable[HubAgency], *, by: By | None = None
    ) -> int:
        """Let a system send and receive for agencies; an agency moves if another system had it. Return how many.

        Raises:
            ConfigurationError: There is no such system.
        """
        wanted = list(agencies)
        change = HubAdministration(self).run
        return change(
            by or By("local", utc_now()), lambda changes: changes.register_agencies(system_id, wanted).count
        )

    def agencies(self, *, on: datetime.date | None = None) -> list[HubAgency]:
        """Return all agencies, or only those that can be delivered to on a day."""
        shown = (getattr(HubAgencyRow, field.name) for field in dataclasses.fields(HubAgency))
        query = sa.select(*shown).order_by(HubAgencyRow.code)
        if on is not None:
            query = query.where(sa.or_(is_open(on), HubAgencyRow.forwards))
        with self.database.reading() as session:
            return [HubAgency(*row) for row in session.execute(query)]

    def admit(self, request: Request, *, now: datetime.datetime) -> bool:
        """Remember a request; return ``False`` if it was seen before."""
        return self._admission.admit(request, now=now)

    def is_registered(self, system_id: str, code: str) -> bool:
        """Tell whether a system sends for an agency."""
        with self.database.single() as connection:
            return is_registered(connection, system_id, code)

    def coming(self) -> contextlib.AbstractContextManager[None]:
        """Say that this thread will call :meth:`take` in a moment, or find that there is nothing to take over.

        Packages that come together are taken over together, which costs a fraction; so they are waited for, a moment.
        """
        return self._intake.coming()

    def take(
        self,
        package: HubPackage,
        payload: StoredPayload,
        *,
        system_id: str,
        at: datetime.datetime,
        receipt: Callable[[str], str],
        request: Request | None = None,
        stamp: str | None = None,
    ) -> str:
        """Take over a package for all of its recipients; return the receipt.

        Args:
            package: How to route it.
            payload: Where it lies; already durable.
            system_id: The system that brought it.
            at: When.
            receipt: Makes the receipt for an id. It is stored; who sends the same again gets it again.
            request: The request that brings it, if that shall not come again. It is remembered also if the package is
                not taken over.
            stamp: The stamp of how the system got in, if that must still hold.

        Raises:
            AccessChangedError: See the class; nothing was taken over, and the request was not remembered.
            UnknownSenderError: See the class.
            UnknownRecipientsError: See the class; nothing was taken over.
            ClosedRecipientsError: See the class; nothing was taken over.
            ConflictError: See the class.
            ReplayedError: See the class.
            PayloadGoneError: See the class; the package must be sent once more.
        """
        arrival = Arrival(
            package=package,
            payload=payload,
            system_id=system_id,
            at=at,
            receipt=receipt,
            request=request,
            stamp=stamp,
        )
        text = self._intake.take(arrival)
        if request is not None:
            self._admission.tidy(1, now=at)
        return text

    def waiting(
        self,
        system_id: str,
        kind: PackageKind,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
    ) -> list[ListedDelivery]:
        """Return what waits for a system, the oldest first: deliveries that are ``initial`` or ``processing``.

        Args:
            system_id: The system.
            kind: What is asked for.
            since: Only what was taken over at this time or later.
            until: Only what was taken over before this time.
        """
        with self.database.reading() as session:
            return waiting(session, system_id, kind, since=since, until=until)

    def sent(self, system_id: str, kind: PackageKind) -> list[SentDelivery]:
        """Return what a system sent, the newest first."""
        with self.database.reading() as session:
            return sent(session, system_id, kind)

    def delivery(self, system_id: str, doc_id: str) -> HubDelivery | None:
        """Return one delivery if it is for an agency of the system."""
        query = (
            sa.select(HubDeliveryRow, HubMessageRow)
            .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
            .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
            .where(HubAgencyRow.system_id == system_id, HubDeliveryRow.doc_id == doc_id)
        )
        with self.database.reading() as session:
            found = session.execute(query).first()
            return None if found is None else _delivery(found[0], found[1])

    def set_status(
        self,
        system_id: str,
        doc_id: str,
        status: TransportStatus,
        *,
        text: str | None = None,
        at: datetime.datetime,
    ) -> bool | None:
        """Move a delivery forward.

        Returns:
            ``True`` if it moved or stands there already, ``False`` if that would be backwards, ``None`` if the system
            has no such delivery.
        """
        moved = self.deliveries.move(system_id, doc_id, status, text=text, at=at)
        return None if moved is None else moved.allowed

    def stats(self) -> HubStats:
        """Count what the hub holds."""
        with self.database.reading() as session:
            kinds = _counts(session, HubMessageRow.kind)
            states = _counts(session, HubDeliveryRow.status)
            payloads = (
                sa.select(HubMessageRow.payload_sha256, HubMessageRow.payload_size)
                .where(HubMessageRow.payload_pruned_at.is_(None))
                .distinct()
                .subquery()
            )
            return HubStats(
                systems=session.scalar(sa.select(sa.func.count()).select_from(HubSystemRow)) or 0,
                agencies=session.scalar(sa.select(sa.func.count()).select_from(HubAgencyRow)) or 0,
                documents=kinds.get(PackageKind.DOCUMENT.value, 0),
                statuses=kinds.get(PackageKind.STATUS.value, 0),
                payload_bytes=int(session.scalar(sa.select(sa.func.sum(payloads.c.payload_size))) or 0),
                deliveries={
                    word: states.get(word, 0)
                    for word in (*(status.value for status in TransportStatus), PARKED, EXPIRED)
                },
            )


def _delivery(row: HubDeliveryRow, message: HubMessageRow) -> HubDelivery:
    return HubDelivery(
        doc_id=row.doc_id,
        sender_doc_id=message.id,
        kind=PackageKind(message.kind),
        sender_code=message.sender_code,
        recipient_code=row.recipient_code,
        status=axis_status(row.status),
        status_text=row.status_text,
        title=message.title,
        notation=message.notation,
        received_at=message.received_at,
        updated_at=row.updated_at,
        payload=StoredPayload(message.payload_sha256, message.payload_size),
        payload_pruned_at=message.payload_pruned_at,
    )


def _counts(session: orm.Session, column: orm.InstrumentedAttribute[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in session.execute(sa.select(column, sa.func.count()).group_by(column))}
