"""Run all benchmarks, or those named: ``python -m tests.benchmarks signing verification``."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
from pathlib import Path

from vnedoc.testing.pki import TestPKI

MODULES = ("startup", "signing", "batch", "verification", "packages", "directory", "store")


def main() -> None:
    """Measure and print."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        TestPKI.create(base_url="http://127.0.0.1:9").write(folder / "pki", passphrase="TEST")
        for file in (folder / "pki").iterdir():
            file.rename(folder / file.name)
        for module in sys.argv[1:] or MODULES:
            importlib.import_module(f"tests.benchmarks.{module}").run(folder)


if __name__ == "__main__":
    main()
