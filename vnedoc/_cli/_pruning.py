"""What the commands share that remove what is old: ages, and what was removed."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import TYPE_CHECKING, TypeVar

import click

from vnedoc._cli._figures import row, sentence
from vnedoc._cli._formats import echo_document
from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.stores.pruning import PruneReport

__all__ = ["age", "age_options", "show_prune_report"]

_AGE = re.compile(r"(\d{1,5})([dwy])")
# A year of 366 days: what has to be kept for ten years is never removed some days early.
_DAYS = {"d": 1, "w": 7, "y": 366}
_Command = TypeVar("_Command", bound="Callable[..., object]")


def age_options(command: _Command) -> _Command:
    """Add the options that say what is old enough."""
    for option in (
        click.option("--metadata-older-than", metavar="AGE", help="Remove messages this old, such as 10y."),
        click.option(
            "--payloads-older-than", metavar="AGE", help="Remove packages this old, such as 90d or 26w."
        ),
    ):
        command = option(command)
    return command


def age(text: str | None) -> datetime.timedelta | None:
    """Return an age, such as ``90d``.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    found = _AGE.fullmatch(text)
    if found is None:
        raise UsageError("store.bad-age", value=text)
    return datetime.timedelta(days=int(found[1]) * _DAYS[found[2]])


def show_prune_report(
    state: CLIState, report: PruneReport, *, form: str, schema: str, is_trial: bool
) -> None:
    """Print what was removed, or would be."""
    if form == "json":
        echo_document(schema, **dataclasses.asdict(report), dry_run=is_trial)
        return
    for name, value in (
        ("released", state.number(report.released)),
        ("payloads", f"{state.number(report.payloads)} · {state.size(report.payload_bytes)}"),
        ("messages", state.number(report.messages)),
        ("unfinished", state.number(report.unfinished)),
    ):
        row(state.text(f"store.prune-{name}"), value)
    if is_trial:
        sentence(state.text("store.dry-run"))
