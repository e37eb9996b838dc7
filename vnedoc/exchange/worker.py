"""Deliver what is due and take in what waits, round after round, until somebody asks to stop.

Several workers may share one store: what one of them claimed the others leave alone, and what a dead one claimed
becomes due again after its lease. A stop is obeyed between two packages; the one that is under way is finished.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING

from vnedoc.errors import InternalError, VnedocError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.service import Exchange, Received
    from vnedoc.exchange.stores.records import SentMessage

__all__ = ["Round", "Worker", "WorkerOptions"]

logger = logging.getLogger("vnedoc.exchange")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker behaves."""

    poll_s: float = 1.0
    """How often it looks for what is due."""
    receive_every_s: float = 60.0
    """How often it asks the axis for what waits, and how far our packages came."""
    pause_after_trouble_s: float = 10.0
    """How long it pauses when a round could not be made at all, for example without a database."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did."""

    delivered: tuple[tuple[SentMessage, VnedocError | None], ...] = ()
    """Messages that were tried, each with what went wrong."""
    received: tuple[Received, ...] = ()
    """Packages that were listed."""
    error: VnedocError | None = None
    """Why the round ended early; the next one tries again."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not self.delivered and not self.received and self.error is None


class Worker:
    """Works for one connection.

    Args:
        exchange: The exchange.
        folder: Where packages that come in are laid out; ``None`` only delivers.
        open_judge: Opens what judges packages that come in, anew for each reception so that revocation data is
            fresh; ``None`` accepts every package that can be read.
        options: How it behaves.
        stop: Set by whoever wants it to stop.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        folder: Path | None = None,
        open_judge: Callable[[], contextlib.AbstractContextManager[Judge]] | None = None,
        options: WorkerOptions | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._exchange = exchange
        self._folder = folder
        self._open_judge = open_judge
        self._options = options or WorkerOptions()
        self._stop = stop or threading.Event()
        self._receive_at = time.monotonic()

    def run_once(self) -> Round:
        """Do everything that is due now: deliver, and receive if there is a folder."""
        self._receive_at = time.monotonic()
        return self._round()

    def run(self, tell: Callable[[Round], object] = lambda _: None) -> None:
        """Work until somebody asks to stop.

        Args:
            tell: Called after each round in which something happened.
        """
        while not self._stop.is_set():
            done = self._round()
            if not done.is_empty:
                tell(done)
            self._stop.wait(
                self._options.poll_s if done.error is None else self._options.pause_after_trouble_s
            )

    def _round(self) -> Round:
        delivered: tuple[tuple[SentMessage, VnedocError | None], ...] = ()
        received: tuple[Received, ...] = ()
        try:
            delivered = tuple(self._exchange.deliver_due(stop=self._stop.is_set))
            if self._folder is not None and time.monotonic() >= self._receive_at and not self._stop.is_set():
                # Also after trouble: an axis that does not answer is not asked every second.
                self._receive_at = time.monotonic() + self._options.receive_every_s
                received = tuple(self._receive(self._folder))
        except VnedocError as error:
            return Round(delivered=delivered, received=received, error=error)
        except Exception as caught:
            # The edge of a worker: a round that nobody thought of must not end the work.
            logger.exception("worker for %s", self._exchange.name)
            reason = type(caught).__name__
            bug = InternalError("exchange.unexpected", id=self._exchange.name, reason=reason)
            return Round(delivered=delivered, received=received, error=bug)
        return Round(delivered=delivered, received=received)

    def _receive(self, folder: Path) -> list[Received]:
        with contextlib.ExitStack() as stack:
            judge = None if self._open_judge is None else stack.enter_context(self._open_judge())
            return self._exchange.receive(folder, verify=judge, stop=self._stop.is_set)
