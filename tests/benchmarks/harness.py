"""Measure tasks in fresh processes, in turn, so that a drift of the machine's speed touches all alike.

A task is a function ``module:name`` that takes the folder with the material and returns the function to time.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Measure:
    """What a task took."""

    seconds: float
    """Median over all rounds of the median of a round."""
    peak_mib: float
    """Largest peak of the resident set, in MiB."""
    base_mib: float
    """The resident set's peak before the task ran: imports and material."""


def measure(tasks: dict[str, str], folder: Path, *, repeat: int, rounds: int = ROUNDS) -> dict[str, Measure]:
    """Run every task ``repeat`` times a round, the tasks in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    peaks: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            command = [sys.executable, "-m", "tests.benchmarks.harness", task, str(folder), str(repeat)]
            outcome = subprocess.run(command, check=True, capture_output=True, text=True)
            answer = json.loads(outcome.stdout.splitlines()[-1])
            seconds[name].append(answer["seconds"])
            peaks[name].append((answer["peak_mib"], answer["base_mib"]))
    return {
        name: Measure(
            seconds=statistics.median(seconds[name]),
            peak_mib=max(peak for peak, _ in peaks[name]),
            base_mib=max(base for _, base in peaks[name]),
        )
        for name in tasks
    }


def peak_mib() -> float:
    """Return the peak of this process's resident set so far.

    ``ru_maxrss`` would not do: a child begins with its parent's peak.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell the peak of a process")


def print_table(title: str, rows: list[tuple[str, str, str, str, str]]) -> None:
    """Print a table: what, ours, theirs, ratio, peak memory."""
    print(f"\n{title}")
    print(f"  {'':34} {'vnedoc':>12} {'other':>12} {'ratio':>9} {'peak RSS':>10}")
    for row in rows:
        print(f"  {row[0]:34} {row[1]:>12} {row[2]:>12} {row[3]:>9} {row[4]:>10}")


def main() -> None:
    """Run one task in this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("folder", type=Path)
    parser.add_argument("repeat", type=int)
    given = parser.parse_args()
    module, _, name = given.task.partition(":")
    run = getattr(importlib.import_module(module), name)(given.folder)
    if given.repeat > 1:
        run()  # what is done once per process is not what is measured
    base = peak_mib()
    taken = []
    for _ in range(given.repeat):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(taken), "peak_mib": peak_mib(), "base_mib": base}))


if __name__ == "__main__":
    main()
