"""Four processes of one hub on one PostgreSQL and one place for packages; two are killed under load.

Nobody sticks to a process: every request of every client goes to whichever comes next, those that answer no more
among them. What was acknowledged is in the hub once and reaches each recipient once, whoever was killed when. The
audit log, which all processes append to meanwhile, stays one chain.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
import signal
import threading
import time

import pytest
import sqlalchemy as sa

from tests.hub_clients import HubClient, Packages, free_port, serving_processes, wait_until_answers
from tests.hubs import audit_problems
from vnedoc._internal.clock import utc_now
from vnedoc.exchange import _vxp
from vnedoc.exchange.hub.secret_keys import made_secret
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.exchange.stores.hub_audit import HubAudit

PROCESSES = 4
# For each kind of place; the packages in a bucket are the slower ones, so they meet the kills in more ways.
PACKAGES = {"folder": 32, "s3": 64}
SENDERS = {"TEST.A": "H99", "TEST.B": "H97"}
RECIPIENTS = {"TEST.C": "H98", "TEST.D": "H96"}
LIMIT_S = 120


class Axis:
    """A hub of several processes, some of which may be dead."""

    def __init__(self, store, processes, ports, *, packages):
        self.store, self.processes, self.ports, self.packages = store, processes, ports, packages
        self.secrets = {}
        self.deadline = time.monotonic() + LIMIT_S
        self._place = itertools.count()

    def add(self, system_id, agency):
        self.secrets[system_id] = made_secret()
        self.store.add_system(system_id, name=system_id, secret=self.secrets[system_id], at=utc_now())
        self.store.register_agencies(system_id, [HubAgency(agency, agency)])

    def ask(self, system_id, call, *given, **named):
        """Ask one process after the other until one answers; each time on a new connection."""
        while time.monotonic() < self.deadline:
            client = HubClient(
                self.ports, system_id, self.secrets[system_id], first=next(self._place), timeout_s=20
            )
            with contextlib.closing(client), contextlib.suppress(OSError):
                reply = getattr(client, call)(*given, **named)
                if reply.status == 200:
                    return reply
                # What a process says that is told to wait, or whose neighbours died, is worth another try.
                assert reply.status >= 429, reply
            time.sleep(0.01)
        raise AssertionError("no process answers")


@pytest.fixture(params=["folder", "s3"])
def axis(request, tmp_path, postgresql_url):
    payloads = request.getfixturevalue("s3_address") if request.param == "s3" else str(tmp_path / "payloads")
    folder = tmp_path / "hub"
    ports = [free_port() for _ in range(PROCESSES)]
    with contextlib.ExitStack() as stack:
        # The database is empty: all four come to make its tables, and its key, at the same time.
        processes = [
            stack.enter_context(
                serving_processes(
                    folder,
                    *("--database", postgresql_url, "--payloads", payloads, "--port", str(port)),
                    log=tmp_path / f"{port}.log",
                )
            )
            for port in ports
        ]
        for process, port in zip(processes, ports, strict=True):
            wait_until_answers(port, process, log=tmp_path / f"{port}.log")
        store = HubStore.open(folder, url=postgresql_url, payloads=payloads)
        stack.callback(store.close)
        yield Axis(store, processes, ports, packages=PACKAGES[request.param])
        # All are told before one is waited for.
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait(30)
        for path in tmp_path.glob("*.log"):
            assert "Traceback" not in path.read_text(encoding="utf-8"), path.read_text(encoding="utf-8")


class Load:
    """Senders and recipients at work, and somebody who kills processes."""

    def __init__(self, axis, folder):
        self.axis = axis
        self.packages = {
            (system_id, number): content
            for system_id, agency in SENDERS.items()
            for size in (2_000, 100_000)
            for made in [Packages(folder, sender=agency, recipients=list(RECIPIENTS.values()), size=size)]
            for number in range(axis.packages // 4)
            for number, content in [(number + size, made.number(number + size))]
        }
        self.todo = collections.deque(self.packages)
        self.receipts = {}
        self.fetched = {system_id: collections.defaultdict(set) for system_id in RECIPIENTS}
        self.registered = set()
        self.errors = []
        self.all_sent = threading.Event()

    def run(self):
        senders = [threading.Thread(target=self.guard, args=(self.send,)) for _ in range(6)]
        others = [threading.Thread(target=self.guard, args=(self.kill,))]
        others += [
            threading.Thread(target=self.guard, args=(self.register, *item)) for item in SENDERS.items()
        ]
        others += [
            threading.Thread(target=self.guard, args=(self.receive, system_id)) for system_id in RECIPIENTS
        ]
        for thread in senders + others:
            thread.start()
        for thread in senders:
            thread.join()
        self.all_sent.set()
        for thread in others:
            thread.join()
        assert not self.errors, self.errors

    def guard(self, call, *arguments):
        try:
            call(*arguments)
        except BaseException as error:  # noqa: BLE001 - told to whoever runs all
            self.errors.append(error)

    def send(self):
        with contextlib.suppress(IndexError):
            while not self.errors:
                key = self.todo.popleft()
                system_id = key[0]
                content = self.packages[key]
                sender = SENDERS[system_id]
                reply = self.axis.ask(system_id, "send", content, sender=sender)
                assert reply.envelope()["status"] == "OK", reply
                self.receipts[key] = reply.body

    def kill(self):
        for share, process in ((3, self.axis.processes[1]), (2, self.axis.processes[2])):
            while len(self.receipts) < len(self.packages) // share:
                assert not self.errors
                assert time.monotonic() < self.axis.deadline
                time.sleep(0.002)
            process.kill()

    def register(self, system_id, parent):
        """Register agencies: each is an entry of the audit log, from whichever process."""
        for number in itertools.count(1):
            if self.all_sent.wait(0.01) or self.errors:
                return
            code = f"{parent}.{number}"
            body = json.dumps({"code": code, "name": f"XÃ TEST {number}", "pcode": parent}).encode()
            reply = self.axis.ask(system_id, "call", "POST", _vxp.REGISTER_PATH, [("agencycode", code)], body)
            assert reply.envelope()["status"] == "OK", reply
            self.registered.add(code)

    def receive(self, system_id):
        while not self.errors:
            is_last = self.all_sent.is_set()
            rows = self.axis.ask(system_id, "listed").envelope()["data"]
            for row in rows:
                content = self.axis.ask(system_id, "download", row["docId"]).body
                self.fetched[system_id][hashlib.sha256(content).hexdigest()].add(row["docId"])
                reply = self.axis.ask(system_id, "done", row["docId"])
                assert reply.envelope()["status"] == "OK", reply
            if is_last and not rows:
                return
            if not rows:
                # Whoever asks without a pause takes the machine's time from those who send.
                self.all_sent.wait(0.05)


def test_two_of_four_are_killed_and_nothing_is_lost_or_doubled(axis, tmp_path):
    for system_id, agency in {**SENDERS, **RECIPIENTS}.items():
        axis.add(system_id, agency)
    load = Load(axis, tmp_path)
    load.run()
    assert [process.poll() is None for process in axis.processes] == [True, False, False, True]

    # Everything was acknowledged at last, and each package is there once, with all of its bytes.
    assert load.receipts.keys() == load.packages.keys()
    digests = {hashlib.sha256(content).hexdigest(): len(content) for content in load.packages.values()}
    assert {digest: axis.store.payloads.size(digest) for digest in digests} == digests
    with axis.store.database.reading() as session:
        rows = session.execute(sa.text("SELECT payload_sha256, count(*) FROM hub_messages GROUP BY 1")).all()
        assert dict(rows) == dict.fromkeys(digests, 1)
        states = session.execute(sa.text("SELECT status, count(*) FROM hub_deliveries GROUP BY 1")).all()
        assert states == [("done", len(digests) * len(RECIPIENTS))]
        assert session.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar() == 1

    # Each recipient got each of them, under one id: fetched twice, it may be, but never delivered twice.
    for fetched in load.fetched.values():
        assert {digest: len(ids) for digest, ids in fetched.items()} == dict.fromkeys(digests, 1)

    # Whoever sends again gets the same receipt, from whichever process, and nobody gets anything new.
    for (system_id, number), content in list(load.packages.items())[::4]:
        again = axis.ask(system_id, "send", content, sender=SENDERS[system_id])
        assert again.body == load.receipts[system_id, number]
    for system_id in RECIPIENTS:
        assert axis.ask(system_id, "listed").envelope()["data"] == []

    # Whoever was killed while it wrote, the audit log is one chain, with all that was acknowledged.
    assert audit_problems(axis.store) == []
    assert load.registered
    entries = HubAudit(axis.store.database).entries()
    logged = {
        code for entry in entries if entry.action == "agency.register" for code in entry.detail["codes"]
    }
    assert load.registered <= logged
