"""``--format``: results as text for people, or as one JSON document with its schema for programs."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["echo_document", "echo_line", "format_option"]

format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


def echo_document(schema: str, /, **fields: object) -> None:
    """Print a JSON document.

    Args:
        schema: Its schema and version; the first of its fields.
        fields: The others; days and times may be among them.
    """
    document = {"schema": schema, **fields}
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))


def echo_line(entry: Mapping[str, object]) -> None:
    """Print one of many entries as a line of JSON; days and times may be in it."""
    click.echo(json.dumps(entry, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    assert isinstance(value, datetime.date)
    return value.isoformat()
