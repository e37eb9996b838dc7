"""Two offices and a hub, and what must be true of them whatever was killed."""

from __future__ import annotations

import collections
import contextlib
import itertools
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crashes.jobs import CONNECTION, Account, judge, open_exchange
from vnedoc._internal.clock import utc_now
from vnedoc.exchange import _parcels as parcels
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.app import make_app
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.exchange.package import read_package
from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores.checking import check_store
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.exchange.stores.records import SentMessage
from vnedoc.testing._serving import serving
from vnedoc.testing.faults import Faults
from vnedoc.testing.hub import RunningHub
from vnedoc.testing.packages import make_package
from vnedoc.exchange.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["AFTER_LEASE_S", "Office", "World", "running_hub_on"]

AFTER_LEASE_S = 61.0
_ROUNDS = 8
_NUMBERS = itertools.count(1)
_LARGE = Limits(requests_per_s=1e6, request_burst=1_000_000, uploads=512, uploads_per_system=512)
_FINISHED = {DeliveryState.DELIVERED, DeliveryState.RECALLED}


@contextlib.contextmanager
def running_hub_on(url: str, folder: Path) -> Iterator[tuple[RunningHub, Faults]]:
    """Run a hub whose database is at a URL, with faults in front of it."""
    folder.mkdir(parents=True, exist_ok=True)
    faults = Faults()
    store = HubStore.open(folder, url=url)
    with contextlib.closing(store):
        app = make_app(store, options=HubOptions(limits=_LARGE))
        with serving(faults.around(app)) as address:
            yield RunningHub(address, folder, store), faults


class Office:
    """An office of the world, open in this process, too."""

    def __init__(self, stack: contextlib.ExitStack, account: Account) -> None:
        self.account = account
        self.code, self.inbox = account.code, account.inbox
        self._stack = stack
        self.exchange, self.store = stack.enter_context(open_exchange(account, ahead_s=AFTER_LEASE_S))

    def work(self) -> bool:
        """Do one round; return whether there was something to do.

        The lease of whoever was killed is over, for the clock of this office is that far ahead.
        """
        done = Worker(
            self.exchange, folder=self.inbox, open_judge=lambda: contextlib.nullcontext(judge)
        ).run_once()
        assert done.error is None, done.error
        assert [item.error for item in done.received if item.error] == []
        return not done.is_empty


class World:
    """Two offices of their own for one row of the matrix, on a hub that all rows share.

    Args:
        stack: Closes what is opened.
        hub: The hub.
        folder: Where the files are.
        new_store_url: Makes databases.
    """

    def __init__(
        self, stack: contextlib.ExitStack, hub: RunningHub, folder: Path, new_store_url: Callable[[], str]
    ) -> None:
        self.hub, self.folder = hub, folder
        folder.mkdir(parents=True)
        number = next(_NUMBERS)
        self.a, self.b = (
            Office(stack, self._account(f"H99.{number}.{part}", new_store_url())) for part in (1, 2)
        )

    def _account(self, code: str, store_url: str) -> Account:
        folder = self.folder / code
        folder.mkdir()
        secret = self.hub.add_system(f"TEST.{code}", code)
        return Account(code, secret, self.hub.url, store_url, str(folder))

    def package(self, number: int = 1, *, size: int = 200_000) -> Path:
        """Write a document from A to B; its content is random, so that a part of it is not the whole."""
        path = self.folder / f"{number}.edxml"
        content = b"%PDF-1.7 TEST\n" + secrets.token_bytes(size) + b"\n%%EOF\n"
        make_package(path, sender=self.a.code, recipients=[self.b.code], number=number, content=content)
        return path

    def settle(self) -> None:
        """Let both offices work until there is nothing left to do."""
        quiet = 0
        for _ in range(_ROUNDS):
            busy = [office.work() for office in (self.a, self.b)]
            quiet = 0 if any(busy) else quiet + 1
            if quiet:
                return
        raise AssertionError("there is no end to the work")

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
                if not states <= _FINISHED or item.due_at is not None:
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
            if any(not (place / name).exists() for name in names):
                found.append(f"{recipient.code}: {message.id} is not laid out in {place.name}")
        return found

    def _leftovers(self, office: Office) -> list[str]:
        """What killed processes left under hidden names goes when it is old enough."""
        parcels.sweep(office.inbox, older_than_s=0)
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


def utc() -> str:
    """Return the time for people."""
    return f"{utc_now():%H:%M:%S}"
