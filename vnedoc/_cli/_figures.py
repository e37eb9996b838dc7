"""Names and numbers on a terminal."""

from __future__ import annotations

import textwrap

import click

__all__ = ["row", "sentence", "size_text", "whole"]

WIDTH = 80


def row(name: str, value: str) -> None:
    """Print a name and a value; what is too long for the line goes below."""
    if 34 + len(value) <= WIDTH and len(name) < 34:
        click.echo(f"{name:<34}{value}")
        return
    if len(name) + 2 + len(value) <= WIDTH:
        click.echo(f"{name}  {value}")
        return
    click.echo(name)
    for line in _lines(value, WIDTH - 2):
        click.echo(f"  {line}")


def whole(name: str, value: str) -> None:
    """Print a name and what is there to be copied: an address, a hash. It stays whole, on a line of its own."""
    click.echo(f"{name}:")
    click.echo(f"  {value}")


def sentence(text: str) -> None:
    """Print a sentence, broken into lines between words."""
    for line in _lines(text, WIDTH):
        click.echo(line)


def _lines(text: str, width: int) -> list[str]:
    # A path, an address or an id is there to be copied.
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def size_text(count: int) -> str:
    """Return a number of bytes as people read it."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
