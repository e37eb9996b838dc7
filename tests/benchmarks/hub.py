"""A hub under load: client processes on loopback send packages and fetch them, on SQLite and on PostgreSQL.

``run`` is the short form; ``run_long`` (``python -m tests.benchmarks hub --long``) has more of everything. On a
machine with two cores clients, hub and database server share them, so the rates are those of all of it together; the
processor time of hub and database for each package is what plans are made from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tests.benchmarks.hub_load import Job, Outcome
from tests.database_fixtures import PostgreSQL
from tests.hub_clients import free_port, serving_processes, wait_until_answers
from vnedoc._internal.clock import utc_now
from vnedoc.exchange.hub.secret_keys import made_secret
from vnedoc.exchange.stores.hub import HubAgency, HubStore

if TYPE_CHECKING:
    from collections.abc import Iterator

_SENDERS = 64
_CONNECTIONS = 16
_RECIPIENTS = 8
_CLIENTS = 2
_START_AFTER_S = 1.5
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Load:
    """One load on one hub."""

    label: str
    """What it is called."""
    count: int
    """How many packages."""
    size: int = 100_000
    """How many bytes each has, about."""
    recipients: int = 1
    """How many recipients each has."""
    connections: int = _CONNECTIONS
    """How many connections send."""
    is_fetched: bool = False
    """Whether the deliveries are fetched and confirmed afterwards."""


SHORT = (
    Load("100 KB to 1", 600, is_fetched=True),
    Load("100 KB to 1, 64 connections", 1_200, connections=64),
    Load("1 MB to 1", 40, size=1_000_000),
    Load("100 MB to 1", 1, size=100_000_000, connections=1),
    Load("100 KB to 1,000", 6, recipients=1_000),
)
LONG = (
    Load("100 KB to 1", 10_000, is_fetched=True),
    Load("100 KB to 1, one connection", 300, connections=1),
    Load("100 KB to 1, 64 connections", 10_000, connections=64),
    Load("100 KB to 10", 2_000, recipients=10),
    Load("1 MB to 1", 500, size=1_000_000),
    Load("100 MB to 1", 3, size=100_000_000, connections=1),
    Load("100 KB to 1,000", 100, recipients=1_000),
)


def run(folder: Path) -> None:
    """Measure and print, the short form."""
    _run(folder, SHORT)


def run_long(folder: Path) -> None:
    """Measure and print, the full form."""
    _run(folder, LONG)


def _run(folder: Path, loads: tuple[Load, ...]) -> None:
    print("\nHub under load, clients on the same machine (durable: fsync and commit before the answer)")
    print(
        f"  {'':40} {'per s':>8} {'MB/s':>6} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7}"
        f" {'hub CPU':>9} {'db CPU':>8} {'RSS MiB':>8} {'db KiB':>7}"
    )
    with tempfile.TemporaryDirectory(prefix="vnedoc-pg-") as name:
        data = Path(name) / "data"
        data.mkdir(mode=0o700)
        server = PostgreSQL(data, durable=True)
        try:
            for label, url, processes in (
                ("SQLite", None, 1),
                ("PostgreSQL, 1 process", server.create(), 1),
                ("PostgreSQL, 4 processes", server.create(), 4),
            ):
                # Not deleted before all is measured: a new file costs more for minutes where many were deleted.
                place = Path(tempfile.mkdtemp(dir=folder, prefix="hub-"))
                _measure(label, place, url, processes, loads)
        finally:
            server.stop()


def _measure(label: str, folder: Path, url: str | None, processes: int, loads: tuple[Load, ...]) -> None:
    senders = [(f"TEST.S{number}", made_secret(), f"H99.{number}") for number in range(_SENDERS)]
    readers = [(f"TEST.R{number}", made_secret(), f"H98.{number}") for number in range(_RECIPIENTS)]
    crowd = [f"H97.{number}" for number in range(1_000)]
    with contextlib.closing(HubStore.open(folder, url=url)) as store:
        for system_id, secret, agency in senders + readers:
            store.add_system(system_id, name=system_id, secret=secret, at=utc_now())
            store.register_agencies(system_id, [HubAgency(agency, agency)])
        store.add_system("TEST.CROWD", name="TEST", secret=made_secret(), at=utc_now())
        store.register_agencies("TEST.CROWD", [HubAgency(code, code) for code in crowd])
        port, log = free_port(), folder / "hub.log"
        arguments = ["--port", str(port), "--processes", str(processes)]
        if url is not None:
            arguments += ["--database", url]
        with serving_processes(folder, *arguments, log=log) as process:
            wait_until_answers(port, process, log=log)
            first = 0
            for load in loads:
                addresses: list[tuple[str, ...]] = (
                    [(code,) for _, _, code in readers]
                    if load.recipients == 1
                    else [tuple(crowd[: load.recipients])]
                )
                with _watched(f"{label}: {load.label}", store, process.pid, load.count) as outcome:
                    outcome += _send(port, senders, addresses, load, first)
                first += load.count
                if load.is_fetched:
                    with _watched(f"{label}: fetched, confirmed", store, process.pid, load.count) as outcome:
                        outcome += _read("fetch", port, readers, 0)
                    with _watched(f"{label}: asked in vain", store, process.pid, load.count) as outcome:
                        outcome += _read("poll", port, readers, load.count)


def _send(
    port: int,
    senders: list[tuple[str, str, str]],
    addresses: list[tuple[str, ...]],
    load: Load,
    first: int,
) -> list[Outcome]:
    clients = min(_CLIENTS, load.connections)
    shares = [load.count // clients + (number < load.count % clients) for number in range(clients)]
    jobs = [
        Job(
            "send",
            port,
            tuple(senders[: load.connections][number::clients]),
            tuple(addresses),
            load.size,
            first + sum(shares[:number]),
            shares[number],
            time.time() + _START_AFTER_S,
        )
        for number in range(clients)
    ]
    return _clients(jobs)


def _read(kind: str, port: int, readers: list[tuple[str, str, str]], count: int) -> list[Outcome]:
    begin = time.time() + _START_AFTER_S
    return _clients(
        [
            Job(kind, port, tuple(readers[number::_CLIENTS]), count=count // _CLIENTS, start_at=begin)
            for number in range(_CLIENTS)
        ]
    )


def _clients(jobs: list[Job]) -> list[Outcome]:
    running = []
    for job in jobs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.hub_load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(dataclasses.asdict(job)))
        process.stdin.close()
        running.append(process)
    outcomes = []
    for process in running:
        assert process.stdout is not None
        outcomes.append(Outcome(**json.loads(process.stdout.read())))
        assert process.wait() == 0
    return outcomes


@contextlib.contextmanager
def _watched(label: str, store: HubStore, pid: int, count: int) -> Iterator[list[Outcome]]:
    """Print a row about what happens in the block."""
    outcomes: list[Outcome] = []
    hub_before, server_before = _cpu_s(_family(pid)), _cpu_s(_server(store))
    size_before = _database_bytes(store)
    yield outcomes
    family = _family(pid)
    hub_cpu, server_cpu = _cpu_s(family) - hub_before, _cpu_s(_server(store)) - server_before
    times = sorted(item for outcome in outcomes for item in outcome.times)
    refused = {key: value for outcome in outcomes for key, value in outcome.refused.items()}
    if refused or not times:
        raise RuntimeError(f"{label}: {len(times)} done, refused {refused}")
    seconds = max(item.last_at for item in outcomes) - min(item.first_at for item in outcomes)
    moved = sum(item.bytes for item in outcomes)
    p50, p95, p99 = (
        times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.95, 0.99)
    )
    done = len(times)
    grown = (_database_bytes(store) - size_before) / done / 1024
    print(
        f"  {label:40} {done / seconds:>8.2f} {moved / seconds / 1e6:>6.1f} {p50:>7.1f} {p95:>7.1f} {p99:>7.1f}"
        f" {hub_cpu / done * 1000:>6.2f} ms {server_cpu / done * 1000:>5.2f} ms"
        f" {_rss_mib(family):>8.0f} {grown:>7.1f}",
        flush=True,
    )


def _family(pid: int) -> list[int]:
    """Return a process and all that come from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text(encoding="ascii").split())
    return found


def _server(store: HubStore) -> list[int]:
    if store.database.is_sqlite:
        return []
    with store.database.reading() as session:
        backend = session.scalar(sa.text("SELECT pg_backend_pid()"))
    return _family(int(_stat(int(str(backend)))[1]))


def _stat(pid: int) -> list[str]:
    """Return the fields of a process from its state on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()


def _cpu_s(pids: list[int]) -> float:
    """Return the processor time of processes, with that of those they waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(map(int, _stat(pid)[11:15]))
    return total / _TICKS


def _rss_mib(pids: list[int]) -> float:
    """Return the largest peak of the resident set among processes."""
    peak = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    peak = max(peak, int(line.split()[1]) / 1024)
    return peak


def _database_bytes(store: HubStore) -> int:
    with store.database.reading() as session:
        if store.database.is_sqlite:
            pages = session.scalar(sa.text("PRAGMA page_count"))
            return int(str(pages)) * int(str(session.scalar(sa.text("PRAGMA page_size"))))
        return int(str(session.scalar(sa.text("SELECT pg_database_size(current_database())"))))
