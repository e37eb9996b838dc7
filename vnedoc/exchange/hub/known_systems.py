"""How systems get in, as the database said a moment ago: who sends much is not asked about each time.

What is remembered lets a body be read, no more. Whether it still holds is asked in the very transaction that takes
the package over: so a secret that was ended brings in nothing from that moment on, in all processes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnedoc.exchange.stores.hub_secrets import SystemAccess

__all__ = ["KnownSystems"]

_FOR_S = 10.0
_MAX_KNOWN = 4096


class KnownSystems:
    """The systems that were asked about lately, each with the agency that it sends for."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, SystemAccess]] = {}

    def note(self, sender: str, access: SystemAccess) -> None:
        """Note how a system gets in that sends for an agency."""
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[access.id, sender] = time.monotonic() + _FOR_S, access

    def find(self, system_id: str, sender: str) -> SystemAccess | None:
        """Return how a system gets in that sends for an agency, if it was asked about a moment ago."""
        until, access = self._known.get((system_id, sender), (0.0, None))
        return access if until > time.monotonic() else None
