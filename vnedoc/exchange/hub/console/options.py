"""What the console is told: how long is late, and which certificates it keeps an eye on."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ConsoleOptions"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    """How the console behaves."""

    late_after: datetime.timedelta = datetime.timedelta(hours=24)
    """How long a delivery may wait for its recipient before it counts as late."""
    warn_before: datetime.timedelta = datetime.timedelta(days=60)
    """How long before its end a certificate is shown as about to expire."""
    trust: tuple[str, ...] = ("shipped:vn-government", "shipped:vn-national")
    """Trust anchors whose ends are watched, as :func:`vnedoc.sign.trust.load_trust` names them."""
    certificate_files: tuple[Path, ...] = ()
    """PEM or DER files with further certificates: the TLS server's, those of clients."""
    directory: Path | None = None
    """An agency directory; the certificates that it pins to agencies are watched."""
