"""Packages are taken over: those that arrive together in one transaction, with few statements for all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vnedoc._internal.clock import vietnam
from vnedoc.errors import VnedocError
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._hub_removals import LeftOutError, PayloadGoneError, announce, reclaim
from vnedoc.exchange.stores._hub_routing import ClosedRecipientsError, Routes, UnknownRecipientsError
from vnedoc.exchange.stores._search import document_key, folded
from vnedoc.exchange.stores._together import Failed, Together
from vnedoc.exchange.stores._types import table_of
from vnedoc.exchange.stores.hub_flow_models import HubEventRow
from vnedoc.exchange.stores.hub_secrets import stamps
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow
from vnedoc.exchange.stores.pruning import ORPHAN_AGE

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Collection, Sequence

    from vnedoc.exchange.stores._hub_admission import Admission, Request
    from vnedoc.exchange.stores.database import Database
    from vnedoc.exchange.stores.hub import HubPackage
    from vnedoc.exchange.stores.payloads import StoredPayload

__all__ = ["AccessChangedError", "Arrival", "ConflictError", "Intake", "ReplayedError", "UnknownSenderError"]

# Made once: what SQLAlchemy does to write a statement down is most of what a short one costs.
_MESSAGES = table_of(HubMessageRow)
_KNOWN = sa.select(
    _MESSAGES.c.sender_code,
    _MESSAGES.c.identity,
    _MESSAGES.c.payload_sha256,
    _MESSAGES.c.receipt,
    _MESSAGES.c.payload_pruned_at,
).where(_MESSAGES.c.identity.in_(sa.bindparam("given_identities", expanding=True)))
_NEW_EVENTS = sa.insert(table_of(HubEventRow))
_NEW_DELIVERIES = sa.insert(table_of(HubDeliveryRow))
# How often a package is tried whose payload somebody wants to remove at the same time.
_ATTEMPTS = 3
# A few times what a package of 100 KB takes from its last byte to here.
_PATIENCE_S = 0.015


class AccessChangedError(Exception):
    """How the system gets in is not what it was when it was let in."""


class UnknownSenderError(Exception):
    """The sender's code is not registered for the system."""


class ConflictError(Exception):
    """The sender sent another package under the same identity."""


class ReplayedError(Exception):
    """The request that brought the package was seen before."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A package that came."""

    package: HubPackage
    """How to route it."""
    payload: StoredPayload
    """Where it lies; already durable."""
    system_id: str
    """The system that brought it."""
    at: datetime.datetime
    """When."""
    receipt: Callable[[str], str]
    """Makes the receipt for an id."""
    request: Request | None = None
    """The request that brought it, if that shall not come again."""
    stamp: str | None = None
    """How the system got in, if that must still hold."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return self.package.sender_code, self.package.identity


class Intake:
    """Takes packages over.

    Args:
        database: The tables of a hub.
        admission: The memory of requests.
        payload_size: Tells the size of a payload, or ``None`` if it is not there.
    """

    def __init__(
        self, database: Database, admission: Admission, *, payload_size: Callable[[str], int | None]
    ) -> None:
        self._database = database
        self._payload_size = payload_size
        self._admission = admission
        insert = sqlite.insert if database.is_sqlite else postgresql.insert
        self._new_messages = (
            insert(_MESSAGES)
            .on_conflict_do_nothing(index_elements=["sender_code", "identity"])
            .returning(_MESSAGES.c.id)
        )
        self._together: Together[Arrival, str] = Together(self._take_all, patience_s=_PATIENCE_S)

    def coming(self) -> contextlib.AbstractContextManager[None]:
        """Say that a small package is here and will be taken over in this thread, or refused, in a moment."""
        return self._together.coming()

    def take(self, arrival: Arrival) -> str:
        """Take a package over for all of its recipients; return the receipt when all of it is on the disk.

        Raises:
            AccessChangedError: See the class; the request was not remembered.
            UnknownSenderError: See the class.
            UnknownRecipientsError: See the class; nothing was taken over.
            ClosedRecipientsError: See the class; nothing was taken over.
            ConflictError: See the class.
            ReplayedError: See the class.
            PayloadGoneError: See the class.
        """
        payload = arrival.payload
        for _ in range(_ATTEMPTS):
            try:
                return self._together.run(arrival)
            except LeftOutError:
                # The request was remembered.
                arrival = dataclasses.replace(arrival, request=None)
                self._database.run(
                    lambda session: reclaim(session.connection(), payload, size=self._payload_size)
                )
            except Exception:
                # Whatever the reason, nobody names this payload: it may go after a day.
                self._let_go(arrival)
                raise
        raise PayloadGoneError

    def _let_go(self, arrival: Arrival) -> None:
        """See to it that what was not taken over is not kept, either."""
        due_at = arrival.at + ORPHAN_AGE
        with contextlib.suppress(VnedocError, sa.exc.SQLAlchemyError):
            self._database.run(
                lambda session: announce(session.connection(), [arrival.payload], due_at=due_at)
            )

    def _take_all(self, arrivals: Sequence[Arrival]) -> list[str | Failed]:
        return self._database.run_core(lambda connection: self._take_in(connection, arrivals))

    def _take_in(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> list[str | Failed]:
        outcomes: dict[int, str | Failed] = {}
        for place in _changed(connection, arrivals):
            outcomes[place] = Failed(AccessChangedError())
        for place in self._replayed(connection, arrivals, apart_from=set(outcomes)):
            outcomes[place] = Failed(ReplayedError())
        routes = Routes(connection, [code for arrival in arrivals for code in _codes(arrival)])
        recipients: dict[int, list[str]] = {}
        astray: dict[int, Failed] = {}
        for place, arrival in enumerate(arrivals):
            if place in outcomes:
                continue
            package = arrival.package
            if not routes.is_registered(arrival.system_id, package.sender_code):
                outcomes[place] = Failed(UnknownSenderError())
                continue
            try:
                recipients[place] = routes.resolve(package.recipient_codes, day=vietnam(arrival.at).date())
            except (UnknownRecipientsError, ClosedRecipientsError) as error:
                astray[place] = Failed(error)
        outcomes |= self._insert(connection, arrivals, recipients)
        asked = [place for place in (*recipients, *astray) if place not in outcomes]
        known = _known(connection, [arrivals[place] for place in asked])
        late: list[StoredPayload] = []
        for place in asked:
            found = known.get(arrivals[place].key)
            if found is None:
                outcomes[place] = astray.get(place, Failed(LeftOutError()))
                continue
            # Who sends again what was taken once gets its receipt, whatever became of the recipients since.
            sha256, receipt, pruned_at = found
            outcomes[place] = _again(arrivals[place], sha256, receipt)
            if pruned_at is not None:
                late.append(arrivals[place].payload)
        # What comes again after its package was pruned is not needed.
        announce(connection, late, due_at=max(arrival.at for arrival in arrivals) + ORPHAN_AGE)
        return [outcomes[place] for place in range(len(arrivals))]

    def _replayed(
        self, connection: sa.Connection, arrivals: Sequence[Arrival], *, apart_from: Collection[int]
    ) -> list[int]:
        """Remember the requests, and return the places of those that were known."""
        first = {
            arrival.request.hash_header: (place, arrival.request)
            for place, arrival in reversed(list(enumerate(arrivals)))
            if arrival.request is not None and place not in apart_from
        }
        if not first:
            return []
        # All processes lock rows in the same order.
        requests = [request for _, (_, request) in sorted(first.items())]
        new = self._admission.remember(connection, requests, now=min(arrival.at for arrival in arrivals))
        return [
            place
            for place, arrival in enumerate(arrivals)
            if arrival.request is not None
            and place not in apart_from
            and (arrival.request.hash_header not in new or first[arrival.request.hash_header][0] != place)
        ]

    def _insert(
        self, connection: sa.Connection, arrivals: Sequence[Arrival], recipients: dict[int, list[str]]
    ) -> dict[int, str | Failed]:
        """Write down what is new; return its receipts."""
        if not recipients:
            return {}
        ids = {place: uuid.uuid4().hex for place in recipients}
        receipts = {place: arrivals[place].receipt(ids[place]) for place in recipients}
        ordered = sorted(recipients, key=lambda place: arrivals[place].key)
        rows = [_message_row(arrivals[place], ids[place], receipts[place]) for place in ordered]
        made = set(connection.scalars(self._new_messages, rows))
        new = [place for place in recipients if ids[place] in made]
        if new:
            connection.execute(_NEW_EVENTS, [_event_row(arrivals[place], ids[place]) for place in new])
            connection.execute(
                _NEW_DELIVERIES,
                [
                    _delivery_row(arrivals[place], ids[place], position, code)
                    for place in new
                    for position, code in enumerate(recipients[place])
                ],
            )
        return {place: receipts[place] for place in new}


def _changed(connection: sa.Connection, arrivals: Sequence[Arrival]) -> list[int]:
    """Return the places of those whose systems do not get in any more as they did."""
    asked = {arrival.system_id for arrival in arrivals if arrival.stamp is not None}
    if not asked:
        return []
    now = stamps(connection, asked, at=max(arrival.at for arrival in arrivals))
    return [
        place
        for place, arrival in enumerate(arrivals)
        if arrival.stamp is not None and arrival.stamp != now.get(arrival.system_id)
    ]


def _codes(arrival: Arrival) -> tuple[str, ...]:
    return (arrival.package.sender_code, *arrival.package.recipient_codes)


def _known(
    connection: sa.Connection, arrivals: Sequence[Arrival]
) -> dict[tuple[str, str], tuple[str, str, datetime.datetime | None]]:
    if not arrivals:
        return {}
    identities = sorted({arrival.package.identity for arrival in arrivals})
    return {
        (row.sender_code, row.identity): (row.payload_sha256, row.receipt, row.payload_pruned_at)
        for row in connection.execute(_KNOWN, {"given_identities": identities})
    }


def _again(arrival: Arrival, payload_sha256: str, receipt: str) -> str | Failed:
    return receipt if payload_sha256 == arrival.payload.sha256 else Failed(ConflictError())


def _message_row(arrival: Arrival, message_id: str, receipt: str) -> dict[str, object]:
    package, payload = arrival.package, arrival.payload
    return {
        "id": message_id,
        "kind": package.kind.value,
        "identity": package.identity,
        # As the package has it: recipients compare the two.
        "sender_code": package.sender_code,
        "sender_system": arrival.system_id,
        "document_id": package.document_id,
        "title": package.title,
        "notation": package.notation,
        "payload_sha256": payload.sha256,
        "payload_size": payload.size,
        "received_at": arrival.at,
        "receipt": receipt,
        "document_key": document_key(package.document_id),
        "search_text": folded(package.notation, package.document_id, package.title),
    }


def _event_row(arrival: Arrival, message_id: str) -> dict[str, object]:
    return {
        "message_id": message_id,
        "at": arrival.at,
        "kind": "received",
        "system_id": arrival.system_id,
    }


def _delivery_row(arrival: Arrival, message_id: str, position: int, code: str) -> dict[str, object]:
    return {
        "doc_id": uuid.uuid4().hex,
        "message_id": message_id,
        "position": position,
        "recipient_code": code,
        "status": TransportStatus.INITIAL.value,
        "updated_at": arrival.at,
    }
