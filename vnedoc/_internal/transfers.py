"""Tell how far a transfer is: who moves bytes calls :func:`moved`, who wants to know uses :func:`watched`.

The two do not know each other, so no function between them carries the question. It goes no further than the thread.
"""

from __future__ import annotations

import contextlib
import contextvars
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["moved", "watched"]

_watcher: contextvars.ContextVar[Callable[[int], object] | None] = contextvars.ContextVar(
    "vnedoc_transfer", default=None
)


@contextlib.contextmanager
def watched(tell: Callable[[int], object]) -> Iterator[None]:
    """Call a function with the number of bytes each time some were moved, until the block ends."""
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


def moved(count: int) -> None:
    """Say that so many bytes were sent or received."""
    tell = _watcher.get()
    if tell is not None:
        tell(count)
