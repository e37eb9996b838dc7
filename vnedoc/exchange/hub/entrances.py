"""How a system got in, for as long as what it brings is not taken over."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.stores.hub import AccessChangedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Entrance"]

_MAX_ENTRANCES = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Entrance:
    """How a system got in."""

    stamp: str
    """What the database said of it."""
    again: Callable[[], str]
    """Lets it in once more, as things are now; returns the stamp, or raises
    :class:`~vnedoc.exchange.hub.refusals.RefusalError`."""

    def bring(self, take: Callable[[str | None], str]) -> str:
        """Return what comes of a take-over; a system that gets in another way by now is asked again who it is.

        Args:
            take: Takes over what the system brings if its stamp still holds.

        Raises:
            RefusalError: The system may not call any more, or how it gets in changes again and again.
        """
        stamp = self.stamp
        for _ in range(_MAX_ENTRANCES):
            try:
                return take(stamp)
            except AccessChangedError:
                stamp = self.again()
        raise RefusalError(ErrorCode.BUSY, "hub.send-again", status=503).again_after(1)
