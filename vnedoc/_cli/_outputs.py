"""Where results go: ``-o FILE``, ``-d DIR`` or ``--in-place``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pair_outputs"]


def pair_outputs(
    sources: tuple[Path, ...], *, output: Path | None, directory: Path | None, in_place: bool
) -> list[tuple[Path, Path]]:
    """Pair each input with its output; two files never share one, and no input is lost by accident.

    Raises:
        UsageError: No output or several ways are named, or a file would be overwritten without being asked.
    """
    ways = [output is not None, directory is not None, in_place]
    if sum(ways) != 1 or (output is not None and len(sources) != 1):
        raise UsageError("signing.name-the-output")
    if in_place:
        pairs = [(source, source) for source in sources]
    elif output is not None:
        pairs = [(sources[0], output)]
    else:
        assert directory is not None
        if not directory.is_dir():
            raise UsageError("signing.no-directory", path=directory)
        pairs = [(source, directory / source.name) for source in sources]
    if len({target.resolve() for _, target in pairs}) != len(pairs):
        raise UsageError("signing.same-output")
    for source, target in pairs:
        if not in_place and target.exists() and target.resolve() == source.resolve():
            raise UsageError("signing.would-overwrite", path=source)
    return pairs
