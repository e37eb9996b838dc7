"""Show on a terminal how far a transfer is; a log gets nothing of it, and neither does a short transfer."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as Bars

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.service import Progress

__all__ = ["terminal_progress"]

# Below this a bar would only flicker.
_LONG_BYTES = 1024 * 1024


@contextlib.contextmanager
def terminal_progress(state: CLIState) -> Iterator[Progress]:
    """Open what shows transfers, until the block ends."""
    from vnedoc.exchange.service import NoProgress

    if state.verbosity < 0 or not sys.stderr.isatty():
        yield NoProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        yield _Bars(bars)
    finally:
        bars.stop()


class _Bars:
    """Bars of rich, one for each transfer that is long."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextlib.contextmanager
    def transfer(self, label: str, size: int | None) -> Iterator[Callable[[int], object]]:
        """Show one transfer, once it is known to be long."""
        shown = "".join(char if char.isprintable() else " " for char in label)[:24]
        task = self._bars.add_task(shown.replace("[", "("), total=size, visible=False)
        count = 0

        def tell(moved: int) -> None:
            nonlocal count
            count += moved
            if max(count, size or 0) >= _LONG_BYTES:
                self._bars.update(task, completed=count, visible=True)
                # Does nothing once it is shown.
                self._bars.start()

        try:
            yield tell
        finally:
            self._bars.remove_task(task)
            if not self._bars.tasks:
                self._bars.stop()
