"""``vnedoc demo``: the whole story on this machine, with a throw-away PKI and hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState

__all__ = ["demo"]


@click.command(short_help="The whole story on this machine.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("vnedoc-demo"),
    show_default=True,
    help="Where the files go; an earlier demo there is replaced.",
)
@click.pass_obj
def demo(state: CLIState, /, folder: Path) -> int:
    """Sign a decision, send it to two agencies, check and answer it, and refuse what is not right.

    Real keys, files and servers, on this machine only; every name carries the word TEST.
    """
    from vnedoc.testing.story import tell_story

    step = ""

    def say(message_id: str, /, **values: object) -> None:
        nonlocal step
        area, _, name = message_id.partition(".")
        number, _, _ = name.partition("-")
        if area == "demo" and number != step:
            step = number
            heading = state.text(f"demo.step-{step}")
            click.secho(f"\n{step}. {heading}", bold=True)
        # Reasons of a verdict belong to the line before them.
        indent = "   " if area == "demo" else "     - "
        click.echo(indent + state.text(message_id, **values))

    tell_story(folder, say=say)
    return 0
