"""The directory of the whole country: 125,000 agencies read from their file, then looked up by code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.benchmarks.harness import measure, print_table
from vnedoc.agencies import Agency, AgencyDirectory, Level, dump_directory, load_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AGENCIES = 125_000
PROVINCES = 34
LOOK_UPS = 100_000
FILE = "agencies.json"


def run(folder: Path) -> None:
    """Measure and print."""
    (folder / FILE).write_bytes(
        dump_directory(AgencyDirectory(_agency(number) for number in range(AGENCIES)))
    )
    tasks = {name: f"tests.benchmarks.directory:{name}" for name in ("load", "plain_json", "look_up")}
    taken = measure(tasks, folder, repeat=3, rounds=3)
    load, plain, look_up = taken["load"], taken["plain_json"], taken["look_up"]
    each_us = look_up.seconds / LOOK_UPS * 1e6
    print_table(
        f"Agency directory of {AGENCIES:,} entries (other: json.loads of the same file)",
        [
            (
                "load, ready to look up",
                f"{load.seconds:.2f} s",
                f"{plain.seconds:.2f} s",
                f"{load.seconds / plain.seconds:.1f}x",
                f"{load.peak_mib:.0f} MiB",
            ),
            ("look up by either code", f"{each_us:.2f} us", "", "", f"{look_up.peak_mib:.0f} MiB"),
        ],
    )


def load(folder: Path) -> Callable[[], object]:
    """Read the file, and look one agency up: the index is made then."""
    return lambda: load_directory(folder / FILE).resolve(_code(AGENCIES - 1))


def plain_json(folder: Path) -> Callable[[], object]:
    """Only parse the file."""
    return lambda: json.loads((folder / FILE).read_bytes())


def look_up(folder: Path) -> Callable[[], object]:
    """Look many agencies up."""
    directory = load_directory(folder / FILE)
    codes = [_code(number % AGENCIES) for number in range(LOOK_UPS)]

    def task() -> None:
        for code in codes:
            directory.resolve(code)

    return task


def _code(number: int) -> str:
    return f"H{number % PROVINCES + 1:02d}.{number // PROVINCES}"


def _agency(number: int) -> Agency:
    province, unit = number % PROVINCES + 1, number // PROVINCES
    return Agency(
        _code(number),
        f"Ủy ban nhân dân xã TEST {unit}",
        parent=f"H{province:02d}",
        level=Level.COMMUNE,
        old_code=f"{unit // 10_000:03d}.{unit // 100 % 100:02d}.{unit % 100:02d}.H{province:02d}",
    )
