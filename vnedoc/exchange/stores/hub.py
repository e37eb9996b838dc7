"""What a hub keeps: systems, agencies, packages taken over, and one delivery for each recipient.

Every method is one transaction. When :meth:`HubStore.take` returns, the package is on the disk and its row is
committed; before, nothing of it is visible.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa
from sqlalchemy import exc

from vnedoc.errors import ConfigurationError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.models import (
    HubAgencyRow,
    HubDeliveryRow,
    HubMessageRow,
    HubSystemRow,
    SeenRequestRow,
)
from vnedoc.exchange.stores.payloads import PayloadStore, StoredPayload

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from sqlalchemy import orm

__all__ = [
    "ConflictError",
    "HubAgency",
    "HubDelivery",
    "HubPackage",
    "HubStats",
    "HubStore",
    "HubSystem",
    "UnknownRecipientsError",
    "UnknownSenderError",
]

DATABASE_NAME = "hub.sqlite3"
PAYLOAD_FOLDER = "payloads"
MAX_WAITING_LISTED = 1000
MAX_SENT_LISTED = 10_000
_WAITING = (TransportStatus.INITIAL.value, TransportStatus.PROCESSING.value)
# Databases limit the parameters of one statement.
_BATCH = 500


class UnknownSenderError(Exception):
    """The sender's code is not registered for the system."""


class UnknownRecipientsError(Exception):
    """Recipients are not registered; ``codes`` holds them."""

    def __init__(self, codes: Sequence[str]) -> None:
        super().__init__(codes)
        self.codes = tuple(codes)


class ConflictError(Exception):
    """The sender sent another package under the same identity."""


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


@dataclasses.dataclass(frozen=True, slots=True)
class HubDelivery:
    """One package on its way to one recipient."""

    doc_id: str
    """Its id for the recipient."""
    sender_doc_id: str
    """Its id for the sender."""
    kind: PackageKind
    """What it carries."""
    sender_code: str
    """Who sent it."""
    recipient_code: str
    """Who it is for."""
    status: TransportStatus
    """How far it is."""
    status_text: str | None
    """What the recipient's system said of it."""
    title: str
    """What it is about."""
    notation: str
    """Number and notation."""
    received_at: datetime.datetime
    """When the hub took it."""
    updated_at: datetime.datetime
    """When its status changed last."""
    payload: StoredPayload
    """The package."""


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
    """Their size together, each counted once."""
    deliveries: dict[str, int]
    """Deliveries by transport status."""


class HubStore:
    """The memory of a hub.

    Args:
        database: Its tables.
        payloads: Its packages.
    """

    def __init__(self, database: Database, payloads: PayloadStore) -> None:
        self._database = database
        self.payloads = payloads

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the hub that lives in a folder; make it if there is none."""
        database = Database(f"sqlite:///{(folder / DATABASE_NAME).absolute()}", branch="hub")
        return cls(database, PayloadStore(folder / PAYLOAD_FOLDER))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def add_system(self, system_id: str, *, name: str, secret: str, at: datetime.datetime) -> None:
        """Let a system call the hub.

        Raises:
            ConfigurationError: There is a system with this id.
        """
        try:
            with self._database.writing() as session:
                session.add(HubSystemRow(id=system_id, name=name, secret=secret, created_at=at))
        except exc.IntegrityError as error:
            raise ConfigurationError("hub.system-exists", system_id=system_id) from error

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
        with self._database.reading() as session:
            return [HubSystem(row[0], row[1], int(row[2])) for row in session.execute(query)]

    def secret(self, system_id: str) -> str | None:
        """Return the secret of a system, or ``None`` if there is no such system."""
        with self._database.reading() as session:
            return session.scalar(sa.select(HubSystemRow.secret).where(HubSystemRow.id == system_id))

    def register_agencies(self, system_id: str, agencies: Iterable[HubAgency]) -> int:
        """Let a system send and receive for agencies; an agency moves if another system had it. Return how many.

        Raises:
            ConfigurationError: There is no such system.
        """
        count = 0
        with self._database.writing() as session:
            if session.get(HubSystemRow, system_id) is None:
                raise ConfigurationError("hub.unknown-system", system_id=system_id)
            for agency in agencies:
                session.merge(HubAgencyRow(**dataclasses.asdict(agency), system_id=system_id))
                count += 1
        return count

    def agencies(self) -> list[HubAgency]:
        """Return all agencies that can be delivered to."""
        query = sa.select(HubAgencyRow).order_by(HubAgencyRow.code)
        with self._database.reading() as session:
            return [
                HubAgency(row.code, row.name, row.parent_code, row.email, row.old_code)
                for row in session.scalars(query)
            ]

    def admit(self, hash_header: str, *, now: datetime.datetime, expires_at: datetime.datetime) -> bool:
        """Remember a request; return ``False`` if it was seen before."""
        try:
            with self._database.writing() as session:
                session.execute(sa.delete(SeenRequestRow).where(SeenRequestRow.expires_at < now))
                session.add(SeenRequestRow(hash_header=hash_header, expires_at=expires_at))
        except exc.IntegrityError:
            return False
        return True

    def is_registered(self, system_id: str, code: str) -> bool:
        """Tell whether a system sends for an agency."""
        with self._database.reading() as session:
            return _is_registered(session, system_id, code)

    def take(
        self,
        package: HubPackage,
        payload: StoredPayload,
        *,
        system_id: str,
        at: datetime.datetime,
        receipt: Callable[[str], str],
    ) -> str:
        """Take over a package for all of its recipients; return the receipt.

        Args:
            package: How to route it.
            payload: Where it lies; already durable.
            system_id: The system that brought it.
            at: When.
            receipt: Makes the receipt for an id. It is stored; who sends the same again gets it again.

        Raises:
            UnknownSenderError: See the class.
            UnknownRecipientsError: See the class; nothing was taken over.
            ConflictError: See the class.
        """
        try:
            return self._take(package, payload, system_id=system_id, at=at, receipt=receipt)
        except exc.IntegrityError:
            # Another process took the same package between our look and our insert: now it is there to be found.
            return self._take(package, payload, system_id=system_id, at=at, receipt=receipt)

    def _take(
        self,
        package: HubPackage,
        payload: StoredPayload,
        *,
        system_id: str,
        at: datetime.datetime,
        receipt: Callable[[str], str],
    ) -> str:
        with self._database.writing() as session:
            if not _is_registered(session, system_id, package.sender_code):
                raise UnknownSenderError
            known = session.scalar(
                sa.select(HubMessageRow).where(
                    HubMessageRow.sender_code == package.sender_code,
                    HubMessageRow.identity == package.identity,
                )
            )
            if known is not None:
                if known.payload_sha256 != payload.sha256:
                    raise ConflictError
                return known.receipt
            recipients = _resolve(session, package.recipient_codes)
            message = HubMessageRow(
                id=uuid.uuid4().hex,
                kind=package.kind.value,
                identity=package.identity,
                # As the package has it: recipients compare the two.
                sender_code=package.sender_code,
                sender_system=system_id,
                document_id=package.document_id,
                title=package.title,
                notation=package.notation,
                payload_sha256=payload.sha256,
                payload_size=payload.size,
                received_at=at,
                receipt="",
            )
            message.receipt = receipt(message.id)
            session.add(message)
            session.flush()
            session.execute(
                sa.insert(HubDeliveryRow),
                [
                    {
                        "doc_id": uuid.uuid4().hex,
                        "message_id": message.id,
                        "position": position,
                        "recipient_code": code,
                        "status": TransportStatus.INITIAL.value,
                        "updated_at": at,
                    }
                    for position, code in enumerate(recipients)
                ],
            )
            return message.receipt

    def waiting(self, system_id: str, kind: PackageKind) -> list[HubDelivery]:
        """Return what waits for a system, the oldest first: deliveries that are ``initial`` or ``processing``."""
        query = (
            _deliveries(kind)
            .where(
                HubAgencyRow.system_id == system_id,
                HubDeliveryRow.status.in_(_WAITING),
            )
            .order_by(HubMessageRow.received_at, HubDeliveryRow.doc_id)
            .limit(MAX_WAITING_LISTED)
        )
        with self._database.reading() as session:
            return [_delivery(row, message) for row, message in session.execute(query)]

    def sent(self, system_id: str, kind: PackageKind) -> list[HubDelivery]:
        """Return what a system sent, the newest first."""
        query = (
            _deliveries(kind)
            .where(HubMessageRow.sender_system == system_id)
            .order_by(HubMessageRow.received_at.desc(), HubMessageRow.id, HubDeliveryRow.position)
            .limit(MAX_SENT_LISTED)
        )
        with self._database.reading() as session:
            return [_delivery(row, message) for row, message in session.execute(query)]

    def delivery(self, system_id: str, doc_id: str) -> HubDelivery | None:
        """Return one delivery if it is for an agency of the system."""
        query = _deliveries(None).where(HubAgencyRow.system_id == system_id, HubDeliveryRow.doc_id == doc_id)
        with self._database.reading() as session:
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
        with self._database.writing() as session:
            query = (
                sa.select(HubDeliveryRow)
                .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
                .where(HubAgencyRow.system_id == system_id, HubDeliveryRow.doc_id == doc_id)
                .with_for_update(of=HubDeliveryRow)
            )
            row = session.scalar(query)
            if row is None:
                return None
            current = TransportStatus(row.status)
            if not current.may_become(status):
                return False
            if status is not current:
                row.status, row.status_text, row.updated_at = status.value, text, at
            return True

    def stats(self) -> HubStats:
        """Count what the hub holds."""
        with self._database.reading() as session:
            kinds = _counts(session, HubMessageRow.kind)
            states = _counts(session, HubDeliveryRow.status)
            payloads = (
                sa.select(HubMessageRow.payload_sha256, HubMessageRow.payload_size).distinct().subquery()
            )
            return HubStats(
                systems=session.scalar(sa.select(sa.func.count()).select_from(HubSystemRow)) or 0,
                agencies=session.scalar(sa.select(sa.func.count()).select_from(HubAgencyRow)) or 0,
                documents=kinds.get(PackageKind.DOCUMENT.value, 0),
                statuses=kinds.get(PackageKind.STATUS.value, 0),
                payload_bytes=int(session.scalar(sa.select(sa.func.sum(payloads.c.payload_size))) or 0),
                deliveries={status.value: states.get(status.value, 0) for status in TransportStatus},
            )


def _deliveries(kind: PackageKind | None) -> sa.Select[HubDeliveryRow, HubMessageRow]:
    query = (
        sa.select(HubDeliveryRow, HubMessageRow)
        .join(HubMessageRow, HubMessageRow.id == HubDeliveryRow.message_id)
        .join(HubAgencyRow, HubAgencyRow.code == HubDeliveryRow.recipient_code)
    )
    return query if kind is None else query.where(HubMessageRow.kind == kind.value)


def _delivery(row: HubDeliveryRow, message: HubMessageRow) -> HubDelivery:
    return HubDelivery(
        doc_id=row.doc_id,
        sender_doc_id=message.id,
        kind=PackageKind(message.kind),
        sender_code=message.sender_code,
        recipient_code=row.recipient_code,
        status=TransportStatus(row.status),
        status_text=row.status_text,
        title=message.title,
        notation=message.notation,
        received_at=message.received_at,
        updated_at=row.updated_at,
        payload=StoredPayload(message.payload_sha256, message.payload_size),
    )


def _counts(session: orm.Session, column: orm.InstrumentedAttribute[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in session.execute(sa.select(column, sa.func.count()).group_by(column))}


def _is_registered(session: orm.Session, system_id: str, code: str) -> bool:
    query = sa.select(HubAgencyRow.code).where(
        HubAgencyRow.system_id == system_id,
        sa.or_(HubAgencyRow.code == code, HubAgencyRow.old_code == code),
    )
    return session.scalars(query).first() is not None


def _resolve(session: orm.Session, codes: Collection[str]) -> list[str]:
    """Return the registered codes for codes of either scheme, each once, in the order given."""
    wanted = list(dict.fromkeys(codes))
    known: dict[str, str] = {}
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        query = sa.select(HubAgencyRow.code, HubAgencyRow.old_code).where(
            sa.or_(HubAgencyRow.code.in_(batch), HubAgencyRow.old_code.in_(batch))
        )
        for code, old_code in session.execute(query):
            known.setdefault(old_code or code, code)
            known[code] = code
    unknown = [code for code in wanted if code not in known]
    if unknown or not wanted:
        raise UnknownRecipientsError(unknown)
    return list(dict.fromkeys(known[code] for code in wanted))
