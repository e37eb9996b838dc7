"""Two offices and a hub, and what must be true of them whatever was killed."""

from __future__ import annotations

import atexit
import collections
import contextlib
import datetime
import functools
import itertools
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tests.crashes.jobs import CONNECTION, Account, judge, open_exchange
from tests.tls import Authority
from vnedoc._internal.clock import utc_now
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.exchange.package import read_package
from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores.checking import check_store
from vnedoc.exchange.stores.payloads import FolderPayloads
from vnedoc.exchange.stores.records import SentMessage
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.exchange.worker import Worker
from vnedoc.testing.faults import Faults
from vnedoc.testing.hub import RunningHub, running_hub
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["AFTER_LEASE_S", "KeptStore", "Office", "World", "running_hub_on"]

AFTER_LEASE_S = 61.0
FAR = datetime.timedelta(days=30)
_ROUNDS = 8
_NUMBERS = itertools.count(1)
# As many requests and connections as anybody likes, but no more than a few hundred packages that come at a time.
_LIMITS = Limits(
    requests_per_s=1e6,
    request_burst=1_000_000,
    connections=4000,
    connections_per_address=4000,
    uploads=480,
    uploads_per_system=480,
)
_FINISHED = {DeliveryState.DELIVERED, DeliveryState.RECALLED}


@contextlib.contextmanager
def running_hub_on(
    url: str, folder: Path, clock: Callable[[], datetime.datetime] = utc_now
) -> Iterator[tuple[RunningHub, Faults]]:
    """Run a hub whose database is at a URL, with faults in front of it; one caller may ask as often as it likes."""
    folder.mkdir(parents=True, exist_ok=True)
    faults = Faults()
    options = HubOptions(limits=_LIMITS)
    with running_hub(folder, database=url, options=options, faults=faults, clock=clock) as hub:
        yield hub, faults


@functools.cache
def one_authority() -> Path:
    """Write the certificate of an authority that nobody asks."""
    folder = tempfile.mkdtemp(prefix="vnedoc-TEST-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority(Path(folder), "TEST").certificate


class Office:
    """An office of the world, open in this process, too."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        account: Account,
        clock: Callable[[], datetime.datetime],
        store: AgencyStore,
    ) -> None:
        self.account = account
        self.code, self.inbox = account.code, account.inbox
        self.exchange, self.store = stack.enter_context(open_exchange(account, clock=clock, store=store))

    @property
    def reports_sent(self) -> bool:
        """Whether its wire tells how far the recipients of a package are."""
        return self.exchange._desk.connector.reports_sent

    def work(self) -> None:
        """Do one round."""
        done = Worker(
            self.exchange, folder=self.inbox, open_judge=lambda: contextlib.nullcontext(judge)
        ).run_once()
        assert done.error is None, done.error
        failed = [str(item.error) for item in done.received if item.error]
        assert not failed, failed


class KeptStore:
    """A store that is used for one row after the other, each time empty: opening one takes longer than a row.

    Args:
        url: Its database.
        folder: A folder for its payloads as long as nobody uses it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._store = AgencyStore.open(url, folder)
        self._tables = sa.MetaData()
        engine = self._store.database.engine
        self._tables.reflect(engine)
        with engine.connect() as connection:
            # What a store without messages has: its version, its id, the head of its log.
            self._first = {
                table: [dict(row._mapping) for row in connection.execute(sa.select(table))]
                for table in self._tables.sorted_tables
            }

    def empty(self, payloads: Path) -> AgencyStore:
        """Return the store, empty, with its payloads in a folder."""
        with self._store.database.engine.begin() as connection:
            for table in reversed(self._tables.sorted_tables):
                connection.execute(sa.delete(table))
            for table, rows in self._first.items():
                if rows:
                    connection.execute(sa.insert(table), rows)
        self._store.payloads = FolderPayloads(payloads)
        self._store.database.require_payloads(self._store.payloads.size)
        return self._store

    def close(self) -> None:
        """Close it."""
        self._store.close()


class World:
    """Two offices of their own for one row of the matrix, on a hub that all rows share.

    Args:
        stack: Closes what is opened.
        hub: The hub.
        folder: Where the files are.
        stores: Their stores.
        wire: How they speak to the hub.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        hub: RunningHub,
        folder: Path,
        stores: Sequence[KeptStore],
        *,
        wire: str = "vxp",
    ) -> None:
        self.hub, self.folder, self.wire = hub, folder, wire
        # Whether a recall overtook its document: then nothing was laid out that could be moved away.
        self.overtaken = False
        self.ahead = datetime.timedelta()
        folder.mkdir(parents=True)
        number = next(_NUMBERS)
        self.a, self.b = (
            self._office(stack, f"H99.{number}.{part}", kept) for part, kept in enumerate(stores, 1)
        )

    def now(self) -> datetime.datetime:
        """Return the time of both offices."""
        return utc_now() + self.ahead

    def outlast_leases(self) -> None:
        """Let so much time go by that whoever was killed holds nothing any more."""
        self.ahead = datetime.timedelta(seconds=AFTER_LEASE_S)

    def _office(self, stack: contextlib.ExitStack, code: str, kept: KeptStore) -> Office:
        folder = self.folder / code
        folder.mkdir()
        secret = self.hub.add_system(f"TEST.{code}", code)
        account = Account(code, secret, self.hub.url, kept.url, str(folder), str(one_authority()), self.wire)
        return Office(stack, account, self.now, kept.empty(folder / "payloads"))

    def package(self, number: int = 1, *, size: int = 200_000) -> Path:
        """Write a document from A to B; its content is random, so that a part of it is not the whole."""
        path = self.folder / f"{number}.edxml"
        content = b"%PDF-1.7 TEST\n" + secrets.token_bytes(size) + b"\n%%EOF\n"
        make_package(path, sender=self.a.code, recipients=[self.b.code], number=number, content=content)
        return path

    def settle(self) -> None:
        """Let both offices work until there is nothing left to do."""
        for office in [self.b, self.a] * _ROUNDS:
            if self.is_quiet():
                return
            office.work()
        assert self.is_quiet(), "there is no end to the work"

    def is_quiet(self) -> bool:
        """Tell whether nothing is due, nothing waits on the hub, and the end of every transport is known."""
        return not any(
            office.store.due(connection=CONNECTION, now=utc_now() + FAR)
            or office.store.unanswered_orders(connection=CONNECTION)
            or office.store.unnoticed_orders(connection=CONNECTION)
            or any(
                self.hub.store.waiting(f"TEST.{office.code}", kind)
                or (office.reports_sent and office.store.awaits_transport(kind, connection=CONNECTION))
                for kind in PackageKind
            )
            for office in (self.a, self.b)
        )

    # What must be true

    def problems_now(self) -> list[str]:
        """Return what is wrong at any moment, also right after a kill."""
        found: list[str] = []
        for office in (self.a, self.b):
            check = check_store(office.store, content=True)
            found += [f"{office.code}: {item.text('en')}" for item in check.problems]
            found += self._acknowledged_but_missing(office)
            found += self._half_written(office)
        return found

    def problems(self) -> list[str]:
        """Return what is wrong when all work is done."""
        found = self.problems_now()
        for sender, recipient in ((self.a, self.b), (self.b, self.a)):
            found += self._on_the_hub(sender)
            found += self._arrived(sender, recipient)
            found += self._leftovers(sender)
        return found

    def _acknowledged_but_missing(self, office: Office) -> list[str]:
        """What the hub was told that the office has, the office has."""
        found = []
        for other in (self.a, self.b):
            for kind in PackageKind:
                for row in self.hub.store.sent(f"TEST.{other.code}", kind):
                    if row.recipient_code != office.code or row.status is not TransportStatus.DONE:
                        continue
                    known = office.store.find_remote(row.doc_id, connection=CONNECTION)
                    if known is None:
                        found.append(f"{office.code}: {row.doc_id} was acknowledged and is not there")
                    elif kind is PackageKind.DOCUMENT and known[0].published_at is None:
                        found.append(f"{office.code}: {row.doc_id} was acknowledged and is not laid out")
        return found

    def _half_written(self, office: Office) -> list[str]:
        """What stands in the folder under a name for people is whole."""
        found = []
        messages = {item.id: item for item in office.store.received()}
        for path in _visible(office.inbox):
            message = messages.get(path.name.partition(".")[0])
            if path.name in {"cancelled", "quarantine"}:
                continue
            if message is None:
                found.append(f"{office.code}: nobody knows {path.name}")
                continue
            with office.store.payloads.open(message.payload.sha256) as stream:
                whole = stream.read()
            if path.suffix == ".edxml" and path.read_bytes() != whole:
                found.append(f"{office.code}: {path.name} is not the package")
            if path.is_dir() and _contents(path) != self._attachments(office, message.payload.sha256):
                found.append(f"{office.code}: {path.name} has not the attachments of the package")
            if path.suffix == ".txt" and not path.read_text(encoding="utf-8").endswith("\n"):
                found.append(f"{office.code}: {path.name} is cut short")
        return found

    def _attachments(self, office: Office, sha256: str) -> dict[str, bytes]:
        work = self.folder / f"unpacked-{secrets.token_hex(4)}"
        with office.store.payloads.local(sha256) as path:
            read_package(path, folder=work)
        return _contents(work)

    def _on_the_hub(self, office: Office) -> list[str]:
        """What the office sent is on the hub once."""
        found = []
        for kind in PackageKind:
            sent = [item for item in office.store.sent(kind=kind) if not _was_taken_back(item)]
            there = [row.sender_doc_id for row in self.hub.store.sent(f"TEST.{office.code}", kind)]
            known = [item.remote_doc_id for item in sent]
            if collections.Counter(there) != collections.Counter(known):
                found.append(f"{office.code}: {kind} on the hub {there}, in the outbox {known}")
            for item in sent:
                states = {one.delivery for one in item.consignments}
                finished = set(_FINISHED)
                if kind is PackageKind.STATUS and not office.reports_sent:
                    # Nobody answers a status, and this wire does not tell whether it was fetched.
                    finished.add(DeliveryState.SENT)
                if not states <= finished or item.due_at is not None:
                    found.append(f"{office.code}: {kind} {item.id} ended as {states}, due {item.due_at}")
                outcomes = [attempt.outcome for attempt in item.attempts]
                if outcomes.count("sent") > 1 or "refused" in outcomes:
                    found.append(f"{office.code}: attempts of {item.id}: {outcomes}")
        return found

    def _arrived(self, sender: Office, recipient: Office) -> list[str]:
        """What the one sent the other has: once, and the same bytes."""
        found = []
        for kind in PackageKind:
            sent = collections.Counter(
                item.payload.sha256 for item in sender.store.sent(kind=kind) if not _was_taken_back(item)
            )
            came = collections.Counter(item.payload.sha256 for item in recipient.store.received(kind=kind))
            if sent != came:
                found.append(f"{kind} from {sender.code} to {recipient.code}: sent {sent}, came {came}")
        for message in recipient.store.received():
            if message.delivery is DeliveryState.QUARANTINED:
                found.append(f"{recipient.code}: {message.id} is in quarantine")
            names = {f"{message.id}.edxml", message.id}
            place = recipient.inbox
            if message.delivery is DeliveryState.CANCELLED:
                place, notice = recipient.inbox / "cancelled", f"{message.id}.DA-THU-HOI.txt"
                if not (recipient.inbox / notice).is_file():
                    found.append(f"{recipient.code}: no notice for {message.id}")
                if any((recipient.inbox / name).exists() for name in names):
                    found.append(f"{recipient.code}: the files of {message.id} were not moved away")
            there = [name for name in names if (place / name).exists()]
            if len(there) != (0 if self.overtaken and place != recipient.inbox else len(names)):
                found.append(f"{recipient.code}: {message.id} is not laid out in {place.name}")
        return found

    def _leftovers(self, office: Office) -> list[str]:
        """What killed processes left under hidden names goes when it is old enough."""
        for place in (office.inbox, office.inbox / "quarantine"):
            parcels.sweep(place, older_than_s=0)
        office.store.payloads.sweep(older_than_s=0)
        left = [*office.inbox.rglob(".*"), *(Path(office.account.folder) / "payloads/incoming").glob("*")]
        return [f"{office.code}: {path} stays for ever" for path in left]

    # What is shown

    def sent_by_a(self) -> SentMessage:
        """Return the newest document of A."""
        return self.a.store.sent()[-1]


def _was_taken_back(message: SentMessage) -> bool:
    return {item.delivery for item in message.consignments} == {DeliveryState.RECALLED}


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _contents(folder: Path) -> dict[str, Any]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
