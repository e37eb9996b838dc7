"""How a hub behaves, whatever it speaks."""

from __future__ import annotations

import dataclasses
import datetime

from vnedoc.exchange.connectors.base import DEFAULT_MAX_PACKAGE_BYTES
from vnedoc.messages import Language

__all__ = ["HubOptions"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How a hub behaves."""

    max_package_bytes: int = DEFAULT_MAX_PACKAGE_BYTES
    """The largest package it takes."""
    clock_window: datetime.timedelta = datetime.timedelta(minutes=15)
    """How far the clock of a caller may be off."""
    upload_timeout_s: float = 1800.0
    """How long a caller may take to send a package."""
    language: Language = Language.VI
    """The language of its refusals."""
