"""Run all benchmarks, or those named: ``python -m tests.benchmarks signing verification``.

``--long`` runs the full form of those that have one: ``python -m tests.benchmarks hub --long``.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
from pathlib import Path

from vnedoc.testing.pki import TestPKI

MODULES = ("startup", "signing", "batch", "verification", "packages", "directory", "store", "hub")


def main() -> None:
    """Measure and print."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        TestPKI.create(base_url="http://127.0.0.1:9").write(folder / "pki", passphrase="TEST")
        for file in (folder / "pki").iterdir():
            file.rename(folder / file.name)
        named = [word for word in sys.argv[1:] if word != "--long"]
        for name in named or MODULES:
            module = importlib.import_module(f"tests.benchmarks.{name}")
            run = getattr(module, "run_long", module.run) if "--long" in sys.argv else module.run
            run(folder)


if __name__ == "__main__":
    main()
