"""Programs of others that look at what we wrote; tests that ask one carry ``@pytest.mark.needs``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def pdfsig(path: Path) -> str:
    """Return what poppler says of the signatures in a PDF."""
    return subprocess.run(["pdfsig", path], capture_output=True, text=True).stdout


def assert_sound(path: Path) -> None:
    """Let qpdf find nothing wrong with the structure of a PDF."""
    check = subprocess.run(["qpdf", "--check", path], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
