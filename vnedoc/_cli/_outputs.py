"""Files on the command line, and where results go: ``-o FILE``, ``-d DIR`` or ``--in-place``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["file_option", "output_options", "pair_outputs"]

_Command = TypeVar("_Command", bound="Callable[..., object]")

file_option = functools.partial(click.option, type=click.Path(path_type=Path), metavar="FILE")
"""Makes an option whose value is a path."""


def output_options(form: str) -> Callable[[_Command], _Command]:
    """Return the options for where results go.

    Args:
        form: What was done to the files, as the help says it: ``signed``.
    """
    options = (
        file_option("-o", "--output", help=f"{form.capitalize()} file (one input)."),
        file_option("-d", "--directory", metavar="DIR", help=f"Folder for {form} files."),
        click.option("--in-place", is_flag=True, help=f"Replace each input by its {form} form."),
    )

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


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
