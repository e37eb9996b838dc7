"""One client process of the load on a hub: sends packages, or fetches what waits, and prints what it saw as JSON.

Each connection has a thread of its own. Packages are made before the clock runs; the answer is checked each time.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.hub_clients import HubClient, Packages

# Where files were deleted, ext4 looks at each of them before it makes a new one, for minutes: the hub would pay.
_SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclasses.dataclass(frozen=True)
class Job:
    """What one client process does."""

    kind: str
    """``send``, ``fetch``, or ``poll``: ask what waits where nothing does."""
    port: int
    """Where the hub answers."""
    systems: tuple[tuple[str, str, str], ...]
    """Id, secret and agency of the systems that it speaks for, one connection each."""
    recipients: tuple[tuple[str, ...], ...] = ()
    """To send: for each package in turn, the codes it is for."""
    size: int = 100_000
    """To send: about how many bytes each package has."""
    first: int = 0
    """To send: the number of the first package."""
    count: int = 0
    """How many packages, or deliveries, all connections of this process together."""
    start_at: float = 0.0
    """When to begin, in seconds since 1970, so that all processes begin together."""


@dataclasses.dataclass
class Outcome:
    """What one client process saw."""

    times: list[float] = dataclasses.field(default_factory=list)
    """How long each took, in seconds."""
    bytes: int = 0
    """The packages together."""
    refused: dict[str, int] = dataclasses.field(default_factory=dict)
    """What the hub said when it said no, and how often."""
    first_at: float = 0.0
    """When the first request began; making packages before took what it took."""
    last_at: float = 0.0
    """When the last answer was there."""
    cpu_s: float = 0.0
    """Processor time of the client."""


class _Worker:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._next = 0
        self.outcome = Outcome()

    def run(self) -> None:
        run = {"send": self._send, "fetch": self._fetch, "poll": self._poll}[self._job.kind]
        threads = [
            threading.Thread(target=run, args=(number, *system))
            for number, system in enumerate(self._job.systems)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, place: int, system_id: str, secret: str, agency: str) -> None:
        job = self._job
        client = HubClient([job.port], system_id, secret, first=place, timeout_s=300)
        with tempfile.TemporaryDirectory(dir=_SCRATCH) as name:
            kinds = [
                Packages(Path(name), sender=agency, recipients=codes, size=job.size)
                for codes in job.recipients
            ]
        self._wait()
        while (number := self._take()) is not None:
            content = kinds[number % len(kinds)].number(job.first + number)
            started = time.perf_counter()
            reply = client.send(content, sender=agency)
            self._note(started, len(content), reply.body if reply.envelope()["status"] != "OK" else b"")
        client.close()

    def _fetch(self, place: int, system_id: str, secret: str, agency: str) -> None:
        client = HubClient([self._job.port], system_id, secret, first=place, timeout_s=300)
        self._wait()
        while rows := [row for row in client.listed().envelope()["data"] if row["to"] == agency]:
            for row in rows:
                started = time.perf_counter()
                reply = client.download(row["docId"])
                done = client.done(row["docId"])
                good = reply.status == 200 and done.envelope()["status"] == "OK"
                self._note(started, len(reply.body), b"" if good else done.body)
        client.close()

    def _poll(self, place: int, system_id: str, secret: str, _agency: str) -> None:
        client = HubClient([self._job.port], system_id, secret, first=place, timeout_s=300)
        self._wait()
        while self._take() is not None:
            started = time.perf_counter()
            reply = client.listed()
            self._note(started, len(reply.body), b"" if reply.envelope()["data"] == [] else reply.body)
        client.close()

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= self._job.count:
                return None
            self._next += 1
            return self._next - 1

    def _wait(self) -> None:
        time.sleep(max(0.0, self._job.start_at - time.time()))

    def _note(self, started: float, size: int, refusal: bytes) -> None:
        now, seen = time.perf_counter(), self.outcome
        with self._lock:
            if refusal:
                word = refusal.decode(errors="replace")[:200]
                seen.refused[word] = seen.refused.get(word, 0) + 1
                return
            seen.times.append(now - started)
            seen.bytes += size
            seen.last_at = time.time()
            seen.first_at = seen.first_at or seen.last_at - (now - started)


def main() -> None:
    """Do the job on standard input."""
    fields = json.load(sys.stdin)
    fields["systems"] = tuple(map(tuple, fields["systems"]))
    fields["recipients"] = tuple(map(tuple, fields["recipients"]))
    worker = _Worker(Job(**fields))
    began = time.process_time()
    worker.run()
    worker.outcome.cpu_s = time.process_time() - began
    print(json.dumps(dataclasses.asdict(worker.outcome)))


if __name__ == "__main__":
    main()
