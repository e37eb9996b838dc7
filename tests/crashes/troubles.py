"""The other rows of the matrix: answers lost, connections cut, disks full, clocks wrong, packages that overtake."""

from __future__ import annotations

import collections
import contextlib
import datetime
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crashes.jobs import CONNECTION, REASON, Job, judge
from tests.crashes.traps import RECEIVE, Trap
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, RefusedError, VnedocError
from vnedoc.exchange import _vxp
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions
from vnedoc.exchange.service import Exchange, RecallForm
from vnedoc.exchange.states import BusinessState, DeliveryState
from vnedoc.testing.faults import LostAnswer
from vnedoc.testing.packages import make_organization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crashes.places import Place
    from tests.crashes.world import Office, World

__all__ = ["TROUBLES"]

PIECE_BYTES = 64 * 1024
LARGE_BYTES = 1_000_000
# Its package has 8 MB: more than the small disk, and more than the databases of a hub grow to here.
TOO_LARGE_BYTES = 6_000_000
FILE_SIZE_LIMIT = 5 * 1024 * 1024
DUPLICATES = 1000
DAY = datetime.timedelta(days=1)


def _lost_answers(place: Place) -> str:
    """The hub did it, and nobody heard: for every call that changes something."""
    with place.world() as world:
        message = world.a.exchange.queue(world.package())
        place.faults.plan(LostAnswer(), path=_vxp.SEND_PATH)
        with contextlib.suppress(ConnectorError):
            world.a.exchange.deliver(message.id)
        _expect(world.a, message.id, DeliveryState.WAITING)
        world.a.exchange.deliver(message.id)
        place.faults.plan(LostAnswer(), path=_vxp.STATUS_PATH)
        [taken] = [item for item in _receive(world.b) if item.kind is PackageKind.DOCUMENT]
        assert isinstance(taken.error, ConnectorError)
        world.outlast_leases()
        world.settle()
        _whole(world)
        attempts = [item.outcome for item in world.a.store.find(message.id).attempts]
        assert attempts == ["trouble", "sent"]
        return "sent again, recognised; acknowledged again; once"


def _cut_sending(place: Place) -> str:
    """The connection breaks after every 64 KB of a package of 1 MB that is sent."""
    with place.world() as world:
        path = world.package(size=LARGE_BYTES * 3 // 4)
        size = path.stat().st_size
        with _cutting_proxy(world.hub.url) as proxy, _office_by(world.a, proxy.url) as exchange:
            message = exchange.queue(path)
            cuts = range(0, size, PIECE_BYTES)
            for limit in cuts:
                proxy.cut(up=limit)
                with contextlib.suppress(ConnectorError):
                    exchange.deliver(message.id)
                _expect(world.a, message.id, DeliveryState.WAITING)
        assert world.hub.store.sent(f"TEST.{world.a.code}", PackageKind.DOCUMENT) == []
        world.a.exchange.deliver(message.id)
        world.outlast_leases()
        world.settle()
        _whole(world)
        return f"{len(cuts)} cuts, {len(cuts)} retries; once"


def _cut_fetching(place: Place) -> str:
    """The connection breaks after every 64 KB of a package of 1 MB that is fetched."""
    with place.world() as world:
        path = world.package(size=LARGE_BYTES * 3 // 4)
        world.a.exchange.send(path)
        with _cutting_proxy(world.hub.url) as proxy, _office_by(world.b, proxy.url) as exchange:
            cuts = range(PIECE_BYTES, path.stat().st_size, PIECE_BYTES)
            for limit in cuts:
                proxy.cut(down=limit)
                with contextlib.suppress(ConnectorError):
                    outcomes = exchange.receive(world.b.inbox, verify=judge)
                    assert all(item.error is not None for item in outcomes)
                assert world.b.store.received() == []
                assert world.problems_now() == []
        world.outlast_leases()
        world.settle()
        _whole(world)
        return f"{len(cuts)} cuts, nothing half kept; once"


def _disk_full(place: Place) -> str:
    """The disk of the receiver is full while it takes a package in."""
    with place.world() as world, _small_disk(world.folder / "disk") as disk:
        world.a.exchange.send(world.package(size=TOO_LARGE_BYTES))
        inbox = world.b.inbox
        if disk is None:
            # RLIMIT_FSIZE stands for it where a process may not mount: files end at a size, with another error code.
            with _file_size_limit(FILE_SIZE_LIMIT):
                outcomes = _receive(world.b)
        else:
            payloads = Path(world.b.account.folder) / "payloads"
            shutil.rmtree(payloads, ignore_errors=True)
            payloads.symlink_to(disk / "payloads")
            inbox.symlink_to(disk / "received")
            (disk / "received").mkdir()
            (disk / "payloads").mkdir(mode=0o700)
            outcomes = _receive(world.b)
        [taken] = outcomes
        assert isinstance(taken.error, VnedocError)
        assert taken.error.code == "file.cannot-write"
        assert world.b.store.received() == []
        assert world.problems_now() == []
        if disk is not None:
            # Room for the payload, none for the files for people.
            _resize(disk, "9m")
            assert any(item.error is not None for item in _receive(world.b))
            assert world.problems_now() == []
            _resize(disk, "64m")
        world.outlast_leases()
        world.settle()
        _whole(world)
        return "refused cleanly, not acknowledged; once there is room: once" + (
            "" if disk else " (by a limit of file sizes)"
        )


def _disk_full_sending(place: Place) -> str:
    """The disk of the sender is full while a package is queued."""
    with place.world() as world, _small_disk(world.folder / "disk") as disk:
        path = world.package(size=TOO_LARGE_BYTES)
        if disk is None:
            with _file_size_limit(FILE_SIZE_LIMIT):
                error = _error_of(lambda: world.a.exchange.queue(path))
        else:
            (Path(world.a.account.folder) / "payloads").symlink_to(disk / "payloads")
            (disk / "payloads").mkdir(mode=0o700)
            error = _error_of(lambda: world.a.exchange.queue(path))
        assert error.code.startswith("file."), error.code
        assert world.a.store.sent() == []
        assert world.problems_now() == []
        if disk is not None:
            _resize(disk, "64m")
        world.a.exchange.send(path)
        world.outlast_leases()
        world.settle()
        _whole(world)
        return "refused cleanly, nothing queued; once there is room: once"


def _clock_off(days: int) -> Callable[[Place], str]:
    def row(place: Place) -> str:
        """The clocks of both offices are a day off, then they are set right."""
        off = DAY * days
        with place.world() as world:
            path = world.package()
            with _office_by(world.a, world.hub.url, off=off, wrong_axis_clock=True) as exchange:
                # The hub lets nobody in whose clock is off; that is no fault of the message.
                message = exchange.queue(path)
                with contextlib.suppress(ConnectorError, RefusedError):
                    exchange.deliver(message.id)
                _expect(world.a, message.id, DeliveryState.WAITING)
            # The clock is right again; what was put off or gave up by the wrong one is tried when somebody asks.
            for _, error in world.a.exchange.deliver_due():
                assert error is None
            state = world.a.store.find(message.id).consignments[0].delivery
            assert state in {DeliveryState.SENT, DeliveryState.WAITING, DeliveryState.EXPIRED}
            world.a.exchange.deliver(message.id)
            with _office_by(world.b, world.hub.url, off=off) as exchange:
                assert [item.error for item in exchange.receive(world.b.inbox, verify=judge)] == [None]
            if days > 0:
                # What B queued by a clock that was ahead is due at once all the same, if a person asks.
                for reply in world.b.store.sent(kind=PackageKind.STATUS):
                    world.b.exchange.deliver(reply.id)
            world.outlast_leases()
            world.settle()
            _whole(world)
            return f"{state.value} when the clock is right again; once"

    return row


def _two_workers(place: Place) -> str:
    """Two workers on one store; one is killed in the middle, then two more finish."""
    with place.world() as world:
        messages = [world.a.exchange.queue(world.package(number, size=1000)).id for number in range(1, 13)]
        account = world.a.account
        dies = Trap(RECEIVE, "before", 3, "vnedoc.exchange.connectors.base:Connector.send")
        killed, other = place.zygote.run(Job(account, (("work",),), dies), Job(account, (("work",),)))
        assert other.how == "exit 0", other.said
        assert killed.was_killed or killed.how == "exit 0", killed.said
        assert world.problems_now() == []
        ended = place.zygote.run(
            Job(account, (("work",),), ahead_s=61), Job(account, (("work",),), ahead_s=61)
        )
        assert [item.how for item in ended] == ["exit 0", "exit 0"], ended
        world.outlast_leases()
        world.settle()
        _whole(world)
        attempts = collections.Counter(len(world.a.store.find(item).attempts) for item in messages)
        assert set(attempts) <= {1, 2}
        assert attempts[2] <= 1
        return f"{len(messages)} messages, each once"


def _duplicates(place: Place) -> str:
    """A thousand duplicates of one package reach the hub at the same time."""
    with place.world() as world:
        path = world.package(size=1000)
        with ThreadPoolExecutor(40) as pool:
            ids = set(
                pool.map(
                    lambda _: world.a.exchange._desk.connector.send(
                        path, sender_code=world.a.code, kind=PackageKind.DOCUMENT
                    ),
                    range(DUPLICATES),
                )
            )
        assert len(ids) == 1
        assert len(world.hub.store.sent(f"TEST.{world.a.code}", PackageKind.DOCUMENT)) == 1
        message = world.a.exchange.send(path)
        assert {message.remote_doc_id} == ids
        world.outlast_leases()
        world.settle()
        _whole(world)
        return f"{DUPLICATES} receipts, all the same; once"


def _poison(place: Place) -> str:
    """One package that breaks whoever looks at it, among good ones; on both sides."""
    with place.world() as world:
        numbers = range(1, 6)
        messages = [world.a.exchange.queue(world.package(number, size=1000)) for number in numbers]
        poison = messages[2]
        # The sender: its payload is gone.
        payloads = world.a.store.payloads
        with payloads.open(poison.payload.sha256) as stream:
            content = stream.read()
        payloads.remove(poison.payload.sha256)
        outcomes = world.a.exchange.deliver_due()
        assert [error is None for _, error in outcomes].count(False) == 1
        _expect(world.a, poison.id, DeliveryState.PARKED)
        for good in messages:
            if good is not poison:
                _expect(world.a, good.id, DeliveryState.SENT)
        with payloads.temporary() as path:
            path.write_bytes(content)
            payloads.adopt(path)
        world.a.exchange.retry()
        assert [error for _, error in world.a.exchange.deliver_due()] == [None]

        # The receiver: the judge meets what nobody thought of.
        def breaks(package: Any) -> Any:
            if package.header.document_id == poison.document_id:
                raise ZeroDivisionError("TEST")
            return judge(package)

        taken = world.b.exchange.receive(world.b.inbox, verify=breaks)
        assert [item.error is None for item in taken].count(False) == 1
        assert len(world.b.store.received()) == len(messages) - 1
        assert world.problems_now() == []
        world.outlast_leases()
        world.settle()
        _whole(world)
        return "parked, and left on the hub; the others go through; then once"


def _status_first(place: Place) -> str:
    """The answer of B comes before A knows that the hub has its document."""
    with place.world() as world:
        path = world.package()
        died = Trap("vnedoc.exchange.connectors.base:Connector.send", "after")
        [killed] = place.zygote.run(Job(world.a.account, (("queue", str(path)), ("work",)), died))
        assert killed.was_killed, killed.said
        world.b.work()
        # A receives, and its own attempt is still open: nobody took it up yet.
        _receive(world.a)
        message = world.sent_by_a()
        assert message.consignments[0].business == BusinessState("01")
        _expect(world.a, message.id, DeliveryState.DELIVERED)
        world.outlast_leases()
        world.settle()
        _whole(world)
        return "delivered 01 while it was being sent; never back; once"


def _recall_first(place: Place) -> str:
    """A recall reaches B before its document."""
    return _overtaken(place, lambda world, message: world.a.exchange.recall(message, reason=REASON))


def _take_back_first(place: Place) -> str:
    """A request to give back (13) reaches B before its document."""
    return _overtaken(
        place,
        lambda world, message: world.a.exchange.recall(message, reason=REASON, form=RecallForm.REQUEST),
        cancels=False,
    )


def _overtaken(place: Place, order: Callable[[World, str], Any], *, cancels: bool = True) -> str:
    with place.world() as world:
        world.overtaken = True
        message = world.a.exchange.send(world.package())
        order(world, message.id)
        connector = world.b.exchange._desk.connector
        listed = connector.list_received
        first = next(row.doc_id for row in listed(PackageKind.DOCUMENT))
        # The hub lists the document later.
        connector.list_received = lambda kind: [row for row in listed(kind) if row.doc_id != first]
        [taken] = [item for item in _receive(world.b) if not item.matched]
        assert taken.error is None
        assert world.problems_now() == []
        connector.list_received = listed
        world.b.work()
        document = next(item for item in world.b.store.received() if item.document_id and item.code)
        assert world.problems_now() == []
        if not cancels:
            # Only asked: a person decides, and says no.
            assert document.delivery is DeliveryState.ACCEPTED
            world.b.exchange.reply(document.id, StatusCode.CHANGE_REFUSED, reason="TEST")
        world.outlast_leases()
        world.settle()
        _whole(world)
        found = [item for item in world.b.store.received() if item.business_kind != 1]
        assert [item.delivery for item in found] == [
            DeliveryState.CANCELLED if cancels else DeliveryState.ACCEPTED
        ]
        sent = world.a.store.find(message.id)
        assert sent.consignments[0].business == BusinessState("01", "15" if cancels else "16")
        return "waits for its document, then " + ("cancels it; once" if cancels else "asks; once")


TROUBLES: dict[str, Callable[[Place], str]] = {
    "the answer is lost after the hub did it": _lost_answers,
    "the connection breaks after every 64 KB sent of 1 MB": _cut_sending,
    "the connection breaks after every 64 KB fetched of 1 MB": _cut_fetching,
    "the disk of the sender is full": _disk_full_sending,
    "the disk of the receiver is full": _disk_full,
    "the clocks are one day ahead": _clock_off(1),
    "the clocks are one day behind": _clock_off(-1),
    "two workers on one store, one is killed": _two_workers,
    "1,000 duplicates at the same time": _duplicates,
    "a poison message among good ones": _poison,
    "a status overtakes the receipt of its document": _status_first,
    "a recall overtakes its document": _recall_first,
    "a request to give back overtakes its document": _take_back_first,
}
"""The rows by their names."""


def _receive(office: Office) -> list[Any]:
    return office.exchange.receive(office.inbox, verify=judge)


def _expect(office: Office, message_id: str, state: DeliveryState) -> None:
    found = {item.delivery for item in office.store.find(message_id).consignments}
    assert found == {state}, found


def _whole(world: World) -> None:
    problems = world.problems()
    assert problems == [], problems


def _error_of(call: Callable[[], object]) -> VnedocError:
    try:
        call()
    except VnedocError as error:
        return error
    raise AssertionError("it went well")


@contextlib.contextmanager
def _office_by(
    office: Office,
    url: str,
    *,
    off: datetime.timedelta = datetime.timedelta(),
    wrong_axis_clock: bool = False,
) -> Iterator[Exchange]:
    """Open an office by another way, with another clock."""

    def clock() -> datetime.datetime:
        return utc_now() + off

    with VXPConnector(
        url,
        f"TEST.{office.code}",
        secret=lambda _: office.account.secret,
        name=CONNECTION,
        options=VXPOptions(ca_file=Path(office.account.ca_file)),
        clock=clock if wrong_axis_clock else utc_now,
    ) as connector:
        yield Exchange(connector, office.store, organization=make_organization(office.code), clock=clock)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk of 1 MB; ``None`` where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = False
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount"):
        mounted = subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True, timeout=30)


def _resize(disk: Path, size: str) -> None:
    command = ["mount", "-o", f"remount,size={size}", str(disk)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """Let writes beyond a size fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class _CuttingProxy:
    """A way to a server that breaks after so many bytes of one direction."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._limits: dict[str, int | None] = {"up": None, "down": None}
        self._sockets: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self, *, up: int | None = None, down: int | None = None) -> None:
        """Break the next connections after so many bytes."""
        self._limits = {"up": up, "down": down}

    def close(self) -> None:
        """Cut everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for end in self._sockets:
            _cut(end)
        for pump in self._pumps:
            pump.join(10)
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            for source, sink, way in ((client, server, "up"), (server, client, "down")):
                pump = threading.Thread(
                    target=self._pump, args=(source, sink, self._limits[way]), daemon=True
                )
                self._pumps.append(pump)
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                piece = data if limit is None else data[: max(0, limit - passed)]
                passed += len(piece)
                sink.sendall(piece)
                if len(piece) < len(data):
                    break
        _cut(source)
        _cut(sink)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _cutting_proxy(target: str) -> Iterator[_CuttingProxy]:
    proxy = _CuttingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
