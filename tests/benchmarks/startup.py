"""How long it takes until something can begin: importing vnedoc, and ``vnedoc --version``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.benchmarks.harness import print_table

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import vnedoc"],
    "version": [sys.executable, "-c", "from vnedoc._cli.main import run; run()", "--version"],
    "pyhanko": [sys.executable, "-c", "import pyhanko.sign.signers"],
}


def run(folder: Path) -> None:
    """Measure and print."""
    del folder
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(15):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            taken[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    bare, pyhanko = seconds["python"], seconds["pyhanko"]
    print_table(
        f"Start-up (bare Python {bare * 1000:.0f} ms; other: import pyHanko, over bare Python)",
        [
            (
                label,
                f"+{(seconds[name] - bare) * 1000:.0f} ms",
                f"+{(pyhanko - bare) * 1000:.0f} ms",
                f"1/{(pyhanko - bare) / max(seconds[name] - bare, 1e-4):.0f}",
                "",
            )
            for label, name in (("import vnedoc", "import"), ("vnedoc --version", "version"))
        ],
    )
