"""Stop cleanly: the first signal asks to stop, and what is under way is finished; the second one ends the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["stop_on_signals"]


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that is set by SIGINT (Ctrl+C) and SIGTERM until the block ends."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop
    except KeyboardInterrupt:
        # Asked twice: what was under way is taken up by the next process.
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
