"""What all wires of a hub share: its store, its options, its clock, and the decisions that do not depend on a wire.

A wire is a module with a function ``routes(hub)``; it reads requests, calls a method here, and writes the answer in
its own words. Every refusal is a :class:`~vnedoc.exchange.hub.refusals.RefusalError` with one code for one reason; a
wire translates the codes. Nothing here knows HTTP.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import logging
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.errors import VnedocError
from vnedoc.exchange._vxp import Answer, ErrorCode
from vnedoc.exchange.hub import intake
from vnedoc.exchange.hub.judging import Jury
from vnedoc.exchange.hub.known_systems import KnownSystems
from vnedoc.exchange.hub.limits import BusyError, FairShare, Rates, strangers_limits
from vnedoc.exchange.hub.metrics import HubMetrics
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.peers import NOBODY, parse_networks
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.registration import MAX_OWN_AGENCIES, REGISTRATIONS_PER_S
from vnedoc.exchange.hub.secret_keys import NOBODYS_KEY, key_of
from vnedoc.exchange.hub.tally import Tally
from vnedoc.exchange.hub.visits import current_visit
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import (
    ClosedRecipientsError,
    ConflictError,
    PayloadGoneError,
    ReplayedError,
    UnknownRecipientsError,
    UnknownSenderError,
)
from vnedoc.exchange.stores.hub_lookup import HubLookup
from vnedoc.exchange.validation import Level

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.hub.entrances import Entrance
    from vnedoc.exchange.hub.limits import Share
    from vnedoc.exchange.hub.peers import Peer
    from vnedoc.exchange.hub.visits import Visit
    from vnedoc.exchange.stores.hub import HubAgency, HubDelivery, HubPackage, HubStore, Request
    from vnedoc.exchange.stores.hub_secrets import SystemAccess
    from vnedoc.exchange.stores.payloads import StoredPayload

__all__ = ["Hub", "Receipt", "bad_parameter", "gone", "unknown_document", "unknown_sender"]

logger = logging.getLogger("vnedoc.hub")

_MAX_ERROR_CODES = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """That the hub has a package."""

    doc_id: str
    """The id it gave to the sender."""
    text: str
    """The receipt as it is stored, in the words of the VXP wire; whoever sends the same again gets it again."""


class Hub:
    """One hub, whatever it speaks.

    Args:
        store: Its memory.
        options: How it behaves.
        clock: Tells the time.
    """

    def __init__(
        self,
        store: HubStore,
        *,
        options: HubOptions = HubOptions(),
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self.store = store
        self.options = options
        self.clock = clock
        self.lookup = HubLookup(store)
        self.known = KnownSystems()
        """How systems get in, as the database said a moment ago."""
        self.metrics = HubMetrics(store, clock=clock)
        self.shares = self.metrics.shares = FairShare(options.limits)
        self.strangers = FairShare(strangers_limits(options.limits))
        """The room for callers whom nobody knows yet: they stand in the way of nobody else."""
        self.unpacked = FairShare(options.limits)
        """The room for packages that are unpacked to be sent: as much as for those that come in."""
        self.tally = Tally(store.database, clock=clock)
        self.proxies = parse_networks(options.proxies)
        self.is_stopping = False
        """Whether it was told to stop; what is under way is finished."""
        self.has_room = True
        """Whether there was room on the disk when it was last looked at."""
        self._rates = Rates(per_s=options.limits.requests_per_s, burst=options.limits.request_burst)
        self.registrations = Rates(per_s=REGISTRATIONS_PER_S, burst=MAX_OWN_AGENCIES)
        """How many agencies each system may still register or take off."""
        self._jury = None if options.proofs is None else Jury(options.proofs)

    def close(self) -> None:
        """End what works for the hub; the store stays open."""
        with contextlib.suppress(VnedocError):
            self.tally.flush()
        if self._jury is not None:
            self._jury.close()

    def check_secret(self, system_id: str, given: str) -> SystemAccess:
        """Let a system in by its secret; return how it got in.

        Raises:
            RefusalError: There is no such system, or the secret is not its own.
        """
        return self.let_in(self.access(system_id), given)

    def let_in(self, access: SystemAccess | None, given: str) -> SystemAccess:
        """Let a system in by its secret, compared in constant time; return how it got in.

        Args:
            access: What the database said of it; ``None`` if it may not call.
            given: The secret that was shown.

        Raises:
            RefusalError: It may not call, or the secret is not its own.
        """
        known, shown = () if access is None else access.keys, key_of(given)
        # All are compared, whichever is the right one; an unknown system costs the same work as a wrong secret.
        same = [hmac.compare_digest(key, shown) for key in known or (NOBODYS_KEY,)]
        if access is None or not known or not any(same):
            visit = current_visit()
            if visit is not None:
                visit.is_stranger = True
            raise RefusalError(ErrorCode.UNAUTHENTICATED, "hub.wrong-secret", status=401)
        self.enter(access.id)
        return access

    def access(self, system_id: str, *, sender: str = "") -> SystemAccess | None:
        """Return how a system gets in; ``None`` if it may not call.

        It may not if it is disabled, or if the request does not come from one of its networks, with one of its client
        certificates. To the caller this is the same as a wrong secret: who tries from elsewhere learns nothing.

        Args:
            system_id: Its id.
            sender: The code of an agency, to learn whether the system sends for it.
        """
        access = self.store.system_secrets.access(system_id, at=self.clock(), sender=sender)
        if access is None:
            return None
        peer = _peer()
        if not _is_at_home(peer, access):
            logger.warning(
                "a system was not let in from elsewhere",
                extra={"system": system_id, "address": str(peer.address), "certificate": peer.certificate},
            )
            return None
        if access.sends:
            self.known.note(sender, access)
        return access

    def known_access(self, system_id: str, *, sender: str) -> SystemAccess | None:
        """Return how a system gets in if the database was asked about it and its agency a moment ago.

        Whoever takes something over on its strength makes sure that it still holds.

        Args:
            system_id: Its id.
            sender: The code of the agency, for which it sends.
        """
        access = self.known.find(system_id, sender)
        return access if access is not None and _is_at_home(_peer(), access) else None

    def enter(self, system_id: str) -> None:
        """Note that the caller proved to be a system.

        Raises:
            RefusalError: It sends more requests than it may.
        """
        visit = current_visit()
        if visit is None:
            return
        if visit.system_id is None:
            visit.system_id = system_id
            wait_s = self._rates.take(system_id)
            if wait_s:
                self.metrics.limited("rate")
                refusal = RefusalError(ErrorCode.BUSY, "hub.too-many-requests", status=429)
                visit.over_rate = refusal.again_after(wait_s)
        if visit.over_rate is not None:
            raise visit.over_rate

    async def begin_upload(self, visit: Visit, size: int) -> None:
        """Wait for room for a package; it is given back when the visit ends.

        Args:
            visit: The request that brings it.
            size: How many bytes are said to come; 0 if nobody says.

        Raises:
            RefusalError: There is none now.
        """
        self._check_disk()
        if visit.share is not None:
            return
        visit.share = await self._enter(self.shares, visit, size, until=visit.ending, limit="uploads")
        if visit.bytes_in:
            # Some of it came before anybody knew whose it is.
            self._note_share(visit.share, visit.bytes_in)

    async def begin_envelope(self, visit: Visit, *, until: contextlib.AsyncExitStack) -> None:
        """Wait for room for a caller who must be read before anybody knows who it is.

        Args:
            visit: The request.
            until: What gives the room back when it ends.

        Raises:
            RefusalError: There is none now.
        """
        await self._enter(self.strangers, visit, 0, until=until, limit="strangers-at-once")

    async def begin_unpacking(self, visit: Visit, size: int) -> None:
        """Wait for room for a package that is unpacked to be sent; it is given back when the visit ends.

        Args:
            visit: The request that asks for it.
            size: How large it is.

        Raises:
            RefusalError: There is none now.
        """
        self._check_disk()
        await self._enter(self.unpacked, visit, size, until=visit.ending, limit="unpacked")

    async def _enter(
        self, room: FairShare, visit: Visit, size: int, *, until: contextlib.AsyncExitStack, limit: str
    ) -> Share:
        try:
            return await until.enter_async_context(room.upload(visit.key, size))
        except BusyError as exc:
            raise self._busy(exc, limit) from exc

    def _check_disk(self) -> None:
        if not self.has_room:
            self.metrics.limited("disk")
            raise RefusalError(ErrorCode.BUSY, "hub.not-accepting", status=503).again_after(60)

    def note_bytes(self, visit: Visit, count: int) -> None:
        """Note bytes of a body.

        Raises:
            RefusalError: There is no room for them now.
        """
        visit.bytes_in += count
        if visit.share is not None:
            self._note_share(visit.share, count)

    def _note_share(self, share: Share, count: int) -> None:
        try:
            share.came(count)
        except BusyError as exc:
            raise self._busy(exc, "uploads") from exc

    def _busy(self, error: BusyError, limit: str) -> RefusalError:
        self.metrics.limited(limit)
        return RefusalError(ErrorCode.BUSY, "hub.busy", status=429).again_after(error.retry_after_s)

    def agencies(self) -> list[HubAgency]:
        """Return the agencies that can be delivered to now."""
        return self.store.agencies(on=vietnam(self.clock()).date())

    def check_sender(self, system_id: str, code: str) -> None:
        """See to it that a system sends for an agency.

        Raises:
            RefusalError: It does not.
        """
        if not self.store.is_registered(system_id, code):
            raise unknown_sender(code)

    def remember(self, request: Request) -> None:
        """See to it that a request does not come again.

        Raises:
            RefusalError: It has come before.
        """
        if not self.store.admit(request, now=self.clock()):
            raise _replayed()

    def take(
        self,
        source: Path | bytes,
        *,
        kind: PackageKind,
        sender: str | None,
        system_id: str,
        entrance: Entrance | None,
        request: Request | None = None,
    ) -> Receipt:
        """Judge a package, keep it durably and queue it for all of its recipients.

        When this returns, the package and its rows are on the disk: only now may a wire answer "OK".

        Args:
            source: The package: in a temporary file of the payload store, or its bytes if it is small.
            kind: What the caller says it carries.
            sender: The code that the caller says it is from, one that it sends for; ``None`` where the wire does not
                say.
            system_id: Who brings it.
            entrance: How the system got in, which must still hold; ``None`` where it came in by no wire.
            request: The request that brings it, if that shall not come again.

        Raises:
            RefusalError: It is not taken; nothing of it is kept.
        """
        # A large one takes its time, and nobody shall wait for it.
        moment = self.store.coming() if isinstance(source, bytes) else contextlib.nullcontext()
        try:
            with moment:
                try:
                    package, payload = self._keep(source, kind=kind, sender=sender, system_id=system_id)
                except RefusalError:
                    # Who takes the package over remembers the request; a refused one must not come again either.
                    if request is not None:
                        self.remember(request)
                    raise
                return self._queue(package, payload, system_id=system_id, request=request, entrance=entrance)
        except RefusalError as refusal:
            self.metrics.rejected(refusal.message_id)
            raise

    def _keep(
        self, source: Path | bytes, *, kind: PackageKind, sender: str | None, system_id: str
    ) -> tuple[HubPackage, StoredPayload]:
        level = Level.STRICT if self.options.strict else Level.AXIS
        routed = intake.route_package(source, kind=kind, sender=sender, level=level)
        if sender is None:
            self.check_sender(system_id, routed.package.sender_code)
        payloads = self.store.payloads
        if isinstance(source, bytes) and self._jury is None:
            return routed.package, payloads.put(source, sha256=routed.sha256)
        with contextlib.ExitStack() as stack:
            if isinstance(source, bytes):
                path = stack.enter_context(payloads.temporary())
                path.write_bytes(source)
            else:
                path = source
            if self._jury is not None:
                self._jury.judge(path, language=self.options.language)
            return routed.package, payloads.adopt(path, sha256=routed.sha256)

    def _queue(
        self,
        package: HubPackage,
        payload: StoredPayload,
        *,
        system_id: str,
        request: Request | None,
        entrance: Entrance | None,
    ) -> Receipt:
        made: list[str] = []

        def receipt(doc_id: str) -> str:
            made.append(doc_id)
            return Answer(ok=True, doc_id=doc_id).to_json()

        def take(stamp: str | None) -> str:
            return self.store.take(
                package,
                payload,
                system_id=system_id,
                at=self.clock(),
                receipt=receipt,
                request=request,
                stamp=stamp,
            )

        try:
            text = take(None) if entrance is None else entrance.bring(take)
        except UnknownSenderError as exc:
            raise unknown_sender(package.sender_code) from exc
        except UnknownRecipientsError as exc:
            codes = ", ".join(exc.codes[:_MAX_ERROR_CODES]) or "-"
            raise RefusalError(ErrorCode.UNKNOWN_RECIPIENT, "hub.unknown-recipients", codes=codes) from exc
        except ClosedRecipientsError as exc:
            pairs = (
                code if heir is None else f"{code} → {heir}" for code, heir in exc.agencies[:_MAX_ERROR_CODES]
            )
            raise RefusalError(
                ErrorCode.UNKNOWN_RECIPIENT, "hub.closed-recipients", codes=", ".join(pairs)
            ) from exc
        except PayloadGoneError as exc:
            # It was in the store already, from an earlier try, and was removed at this very moment.
            raise RefusalError(ErrorCode.BUSY, "hub.send-again", status=503).again_after(1) from exc
        except ConflictError as exc:
            raise RefusalError(ErrorCode.CONFLICT, "hub.conflict", document_id=package.document_id) from exc
        except ReplayedError as exc:
            raise _replayed() from exc
        doc_id = Answer.from_json(text.encode()).doc_id or ""
        if doc_id in made:
            self.metrics.received(
                package.kind.value, size=payload.size, recipients=len(set(package.recipient_codes))
            )
        else:
            self.metrics.duplicate()
        return Receipt(doc_id, text)

    def delivery(self, system_id: str, doc_id: str, *, is_fetched: bool = True) -> HubDelivery:
        """Return one delivery that is for an agency of the system.

        Args:
            system_id: The system.
            doc_id: The delivery.
            is_fetched: Whether its package is wanted, too.

        Raises:
            RefusalError: There is none, or its package is not kept any more.
        """
        delivery = self.store.delivery(system_id, doc_id)
        if delivery is None:
            raise unknown_document(doc_id)
        if is_fetched and delivery.payload_pruned_at is not None:
            raise gone(doc_id)
        return delivery

    def move(self, system_id: str, doc_id: str, status: TransportStatus, *, text: str | None = None) -> None:
        """Note how far the recipient's system is with a delivery; the same status twice is no error.

        Raises:
            RefusalError: The system has no such delivery, or that would be backwards.
        """
        moved = self.store.deliveries.move(
            system_id,
            doc_id,
            status,
            text=text,
            at=self.clock(),
            park_after_fails=self.options.park_after_fails,
        )
        if moved is None:
            raise unknown_document(doc_id)
        if moved.changed:
            self.metrics.moved(
                status.value, waited=moved.waited, again=moved.status == TransportStatus.INITIAL.value
            )
        if not moved.allowed:
            raise RefusalError(ErrorCode.BACKWARDS, "hub.backwards", doc_id=doc_id, word=status.value)

    def transport_status(self, word: str) -> TransportStatus:
        """Return a transport status by its word, in any case of letters.

        Raises:
            RefusalError: There is no such status.
        """
        try:
            return TransportStatus(word.strip().lower())
        except ValueError as exc:
            raise bad_parameter("status", word) from exc


def _peer() -> Peer:
    visit = current_visit()
    return NOBODY if visit is None else visit.peer


def _is_at_home(peer: Peer, access: SystemAccess) -> bool:
    """Tell whether somebody calls from where a system may call from, with a certificate of its own."""
    return peer.is_within(access.networks) and peer.shows(access.certificates)


def unknown_document(doc_id: str) -> RefusalError:
    """Return the refusal for an id that the caller has nothing under."""
    return RefusalError(ErrorCode.UNKNOWN_DOCUMENT, "hub.unknown-document", doc_id=doc_id)


def gone(doc_id: str) -> RefusalError:
    """Return the refusal for a package that was delivered, and is not kept any more."""
    return RefusalError(ErrorCode.GONE, "hub.package-pruned", doc_id=doc_id)


def bad_parameter(name: str, value: str) -> RefusalError:
    """Return the refusal for a parameter that is not understood."""
    return RefusalError(ErrorCode.BAD_PARAMETER, "hub.bad-parameter", name=name, value=value[:200])


def _replayed() -> RefusalError:
    return RefusalError(ErrorCode.UNAUTHENTICATED, "hub.replayed", status=401)


def unknown_sender(code: str) -> RefusalError:
    """Return the refusal for an agency that the caller does not send for."""
    return RefusalError(ErrorCode.UNKNOWN_SENDER, "hub.unknown-sender", code=code)
