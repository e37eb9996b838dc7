"""Pruning while two processes of a hub are under load: nothing goes that is not finished, nothing accepted is lost.

The hub prunes by itself as it begins, and an administrator prunes again and again with the shortest age there is, so
that what is finished goes at once. Many of the packages lie already in the store, as a process that was killed left
them two days ago: whoever searches for leavings and whoever sends them race for the same files.
"""

import collections
import contextlib
import datetime
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.hub_clients import HubClient, Packages, free_port, serving_processes, wait_until_answers
from tests.hubs import audit_problems, package
from vnedoc._internal.clock import utc_now
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.exchange.stores.hub_retention import HubRetention

OLD, LEAST, LIMIT_S = 40, 40, 90
LONG_AGO = datetime.timedelta(days=100)
SECRET = "S" * 72
# TEST.C says at once that it is done; TEST.D fetches nothing before all is over.
AGENCIES = {"TEST.A": "H99", "TEST.C": "H98", "TEST.D": "H97"}
KINDS = {"quick": ["H98"], "slow": ["H97"], "both": ["H98", "H97"]}
PRUNE = [sys.executable, "-c", "from vnedoc._cli.main import run; run()", "hub"]


@pytest.fixture
def store(hub_url, tmp_path):
    store = HubStore.open(tmp_path / "hub", url=hub_url)
    for system_id, code in AGENCIES.items():
        store.add_system(system_id, name=system_id, secret=SECRET, at=utc_now())
        store.register_agencies(system_id, [HubAgency(code, code)])
    yield store
    store.close()


@pytest.fixture
def port(store, hub_url, tmp_path):
    """A hub of two processes that has to remove by itself what was finished long ago."""
    then = utc_now() - LONG_AGO
    for number in range(OLD):
        payload = adopted(store, b"TEST %d of long ago" % number)
        store.take(package(number, "H98"), payload, system_id="TEST.A", at=then, receipt=str)
    for row in store.waiting("TEST.C", PackageKind.DOCUMENT):
        store.deliveries.move("TEST.C", row.doc_id, TransportStatus.DONE, at=then)
    config, log, port = tmp_path / "vnedoc.toml", tmp_path / "log", free_port()
    config.write_text("[hub]\nkeep_payloads_days = 90\n", encoding="utf-8")
    options = ("--database", hub_url, "--port", str(port), "--processes", "2")
    with serving_processes(tmp_path / "hub", *options, config=config, log=log) as process:
        wait_until_answers(port, process, log=log)
        yield port
    assert "Traceback" not in log.read_text(encoding="utf-8")


def adopted(store, content, *, age=None):
    with store.payloads.temporary() as path:
        path.write_bytes(content)
        payload = store.payloads.adopt(path)
    if age is not None:
        moment = (utc_now() - age).timestamp()
        os.utime(store.payloads.path(payload.sha256), (moment, moment))
    return payload


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Load:
    """Somebody who sends, two who receive, and two who prune."""

    def __init__(self, store, port, folder, url):
        self.store, self.port, self.folder, self.url = store, port, folder, url
        self.made = {
            kind: Packages(folder, sender="H99", recipients=recipients, size=20_000)
            for kind, recipients in KINDS.items()
        }
        self.numbers = itertools.count(1)
        self.packages = {}
        self.receipts = {}
        self.fetched = collections.defaultdict(set)
        self.reports = []
        self.errors = []
        self.is_sent, self.is_over = threading.Event(), threading.Event()
        self.deadline = time.monotonic() + LIMIT_S

    def package(self, number):
        """Return the kind of a package and its content."""
        kind = list(KINDS)[number % len(KINDS)]
        return kind, self.made[kind].number(number)

    def is_enough(self):
        """Tell whether pruning met the load often enough."""
        return len(self.receipts) > LEAST and sum(report["released"] > 0 for report in self.reports) > 1

    def run(self):
        senders = [self.started(self.send) for _ in range(4)]
        others = [self.started(self.receive, "TEST.C", self.is_sent)]
        pruners = [self.started(self.prune, *options) for options in ((), ("--search-store",))]
        for thread in senders:
            thread.join()
        self.is_sent.set()
        for thread in others:
            thread.join()
        self.is_over.set()
        for thread in pruners:
            thread.join()
        assert not self.errors, self.errors

    def started(self, call, *arguments):
        def guarded():
            try:
                call(*arguments)
            except BaseException as error:  # noqa: BLE001 - told to whoever runs all
                self.errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def ask(self, client, call, *given, **named):
        while time.monotonic() < self.deadline and not self.errors:
            reply = getattr(client, call)(*given, **named)
            if reply.status == 200:
                return reply
            # A package that went between store and tables is to be sent again.
            assert reply.status in {429, 503}, reply
            time.sleep(0.05)
        raise AssertionError("it did not end in time")

    def client(self, system_id):
        return contextlib.closing(HubClient([self.port], system_id, SECRET, timeout_s=20))

    def send(self):
        with self.client("TEST.A") as client:
            while not self.is_enough():
                number = next(self.numbers)
                self.packages[number] = self.package(number)
                reply = self.ask(client, "send", self.packages[number][1], sender="H99")
                assert reply.envelope()["status"] == "OK", reply
                self.receipts[number] = reply.body
                # In one burst there would be nothing to prune meanwhile.
                self.is_over.wait(0.05 if len(self.receipts) < LEAST else 0.5)

    def receive(self, system_id, is_last):
        with self.client(system_id) as client:
            while True:
                ends = is_last.is_set()
                rows = self.ask(client, "listed").envelope()["data"]
                for row in rows:
                    self.fetched[system_id].add(digest(self.ask(client, "download", row["docId"]).body))
                    assert self.ask(client, "done", row["docId"]).envelope()["status"] == "OK"
                if ends and not rows:
                    return
                self.is_sent.wait(0.02)

    def prune(self, *options):
        command = [*PRUNE, "--data", str(self.folder / "hub"), "--database", self.url]
        command += ["prune", "--payloads-older-than", "0d", "--format", "json", *options]
        for number in itertools.count():
            if number and self.is_over.is_set():
                return
            done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
            assert (done.returncode, done.stderr) == (0, b""), done
            self.reports.append(json.loads(done.stdout))


def test_nothing_goes_that_is_not_finished_and_nothing_accepted_is_lost(store, port, tmp_path, hub_url):
    load = Load(store, port, tmp_path, hub_url)
    for number in range(1, LEAST, 2):
        adopted(store, load.package(number)[1], age=datetime.timedelta(days=2))
    load.run()

    wanted = collections.defaultdict(set)
    for kind, content in load.packages.values():
        wanted[kind].add(digest(content))
    assert load.receipts.keys() == load.packages.keys()
    # Each was there, byte for byte, when its recipient asked for it.
    assert load.fetched["TEST.C"] == wanted["quick"] | wanted["both"]
    # Pruning met what it may not take.
    assert any(report["unfinished"] for report in load.reports)

    # What nobody fetched stays and is whole; of the rest nothing is left, that of long ago neither.
    load.prune()
    assert {item.sha256 for item in store.payloads.listed()} == wanted["slow"] | wanted["both"]
    last = HubRetention(store).last()
    assert last is not None
    ours = [report["released"] for report in load.reports]
    assert sum(ours) + last.report.released == OLD + len(wanted["quick"])
    load.receive("TEST.D", load.is_sent)
    assert load.fetched["TEST.D"] == wanted["slow"] | wanted["both"]

    # Whoever sends again, what is gone as what is there, gets the same receipt, and nobody gets anything new.
    with load.client("TEST.A") as client:
        for number in range(1, len(load.packages), 7):
            again = load.ask(client, "send", load.packages[number][1], sender="H99")
            assert again.body == load.receipts[number]
    for system_id in ("TEST.C", "TEST.D"):
        assert store.waiting(system_id, PackageKind.DOCUMENT) == []
    assert audit_problems(store) == []
