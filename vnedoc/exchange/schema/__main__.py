"""Writes the shipped schemas anew: ``python -m vnedoc.exchange.schema``."""

from __future__ import annotations

from pathlib import Path

from vnedoc._internal.files import write_bytes
from vnedoc.exchange.schema import NAMES, rendered

for name in NAMES:
    write_bytes(Path(__file__).parent / f"{name}.json", rendered(name).encode())
