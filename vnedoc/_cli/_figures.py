"""Names and numbers on a terminal."""

from __future__ import annotations

import textwrap

import click

__all__ = ["number_text", "row", "sentence", "size_text", "whole"]

WIDTH = 80
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_COMMA_AND_POINT = str.maketrans(",.", ".,")


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


def number_text(number: int, language: str) -> str:
    """Return a number with its thousands apart, as it is written in a language."""
    return _written(f"{number:,}", language)


def size_text(count: int, language: str) -> str:
    """Return a number of bytes as people read it in a language."""
    size, unit = float(count), "B"
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} B" if unit == "B" else f"{_written(f'{size:.1f}', language)} {unit}"


def _written(number: str, language: str) -> str:
    """Exchange comma and point where the language does."""
    return number.translate(_COMMA_AND_POINT) if language == "vi" else number
