"""Stop cleanly: the first signal asks to stop, and what is under way is finished; the second one ends the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["stop_on_signals"]


@contextlib.contextmanager
def stop_on_signals(announce: Callable[[], object] = lambda: None) -> Iterator[threading.Event]:
    """Give an event that is set by SIGINT (Ctrl+C) and SIGTERM until the block ends.

    Args:
        announce: Called once, when the first signal comes.
    """
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # A terminal that is gone, or is being written to at this moment, must not keep us from stopping.
        with contextlib.suppress(OSError, RuntimeError):
            announce()

    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop
    except KeyboardInterrupt:
        # Asked twice: what was under way is taken up by the next process.
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
