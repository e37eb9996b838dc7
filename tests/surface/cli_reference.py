"""Write ``docs/reference/cli.md`` from the commands' own help: ``make docs``."""

from __future__ import annotations

from pathlib import Path

import click

from vnedoc._cli.main import cli

PATH = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAD = """\
# The command line

Made from the commands' own help by `make docs`. Results go to standard output, words and progress to standard error.
"""


def render() -> str:
    """Return the page."""
    parts = [HEAD]
    # The settings of the entry point: what a command shows must not depend on whether it was run before.
    context = click.Context(cli, info_name="vnedoc", **{**cli.context_settings, "max_content_width": 100})
    _add(parts, cli, context, depth=2)
    return "\n".join(parts)


def _add(parts: list[str], command: click.Command, context: click.Context, *, depth: int) -> None:
    context.terminal_width = 100
    parts.append(f"{'#' * depth} {context.command_path}\n")
    parts.append("```text\n" + command.get_help(context).rstrip() + "\n```\n")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            _add(parts, child, click.Context(child, info_name=name, parent=context), depth=min(depth + 1, 4))


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
