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


@dataclasses.dataclass(frozen=True)
class Job:
    """What one client process does."""

    kind: str
    """``send`` or ``fetch``."""
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


class _Worker:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._next = 0
        self.times: list[float] = []
        self.bytes = 0
        self.refused: dict[str, int] = {}
        self.last_at = 0.0

    def run(self) -> None:
        run = self._send if self._job.kind == "send" else self._fetch
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
        with tempfile.TemporaryDirectory() as name:
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

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= self._job.count:
                return None
            self._next += 1
            return self._next - 1

    def _wait(self) -> None:
        time.sleep(max(0.0, self._job.start_at - time.time()))

    def _note(self, started: float, size: int, refusal: bytes) -> None:
        now = time.perf_counter()
        with self._lock:
            if refusal:
                word = refusal.decode(errors="replace")[:200]
                self.refused[word] = self.refused.get(word, 0) + 1
                return
            self.times.append(now - started)
            self.bytes += size
            self.last_at = time.time()


def main() -> None:
    """Do the job on standard input."""
    fields = json.load(sys.stdin)
    fields["systems"] = tuple(map(tuple, fields["systems"]))
    fields["recipients"] = tuple(map(tuple, fields["recipients"]))
    worker = _Worker(Job(**fields))
    cpu = time.process_time()
    worker.run()
    cpu = time.process_time() - cpu
    print(
        json.dumps(
            {
                "times": worker.times,
                "bytes": worker.bytes,
                "refused": worker.refused,
                "last_at": worker.last_at,
                "cpu_s": cpu,
            }
        )
    )


if __name__ == "__main__":
    main()
