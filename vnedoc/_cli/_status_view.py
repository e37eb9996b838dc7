"""How deadlines and counters are shown: tables of at most 80 columns."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

import click

from vnedoc._cli._exchange_view import cut, padded, shown_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.counters import ReceivedCounts, SentCounts
    from vnedoc.exchange.deadlines import Deadline

__all__ = ["show_late", "show_summary"]

_LABEL = 44
_BAR = 24
_LEVELS = ("central", "province", "district", "commune", "unknown")
_DAYS = 31
"""So many days are shown one by one, the last ones; those before are one line."""


def show_late(found: Sequence[Deadline], state: CLIState) -> None:
    """Show deadlines that have passed, first what is still to be done."""
    if not found:
        click.echo(state.text("exchange.nothing-late"), err=True)
        return
    headings = [state.text(f"exchange.late-heading-{name}") for name in ("id", "due", "code", "what")]
    click.echo(cut("  ".join(padded(*pair) for pair in zip(headings, (8, 16, 18, 0), strict=True)).rstrip()))
    for item in found:
        when = _due(item.due_at)
        word = state.text(f"exchange.late-{item.kind.value}")
        click.echo(cut(f"{item.message_id[:8]}  {padded(when, 16)}  {padded(item.code, 18)}  {word}"))
        parts = [] if item.priority == 0 else [state.text(f"exchange.priority-{item.priority}")]
        if item.met_at is None:
            parts.append(state.text("exchange.late-open"))
        else:
            parts.append(state.text("exchange.late-met", time=shown_time(item.met_at)[:16]))
        about = "  ".join(filter(None, [", ".join(parts), item.counterpart, item.subject]))
        click.echo(cut(f"          {about}"))


def _due(moment: datetime.datetime) -> str:
    """Return a deadline as people say it: the end of a day belongs to that day."""
    shown = shown_time(moment)[:16]
    if not shown.endswith(" 00:00"):
        return shown
    return f"{shown_time(moment - datetime.timedelta(days=1))[:10]} 24:00"


def show_summary(sent: SentCounts, received: ReceivedCounts, state: CLIState) -> None:
    """Show the two countings, one below the other."""
    click.echo(state.text("exchange.heading-sent"))
    _show_counts("sent", sent, state)
    click.echo(state.text("exchange.heading-received"))
    _show_counts("received", received, state)


def _show_counts(side: str, counts: SentCounts | ReceivedCounts, state: CLIState) -> None:
    for field in dataclasses.fields(counts):
        value = getattr(counts, field.name)
        if isinstance(value, int):
            word = f"{side}-{field.name.replace('_', '-')}"
            _show_count(state.text(f"exchange.count-{word}"), value)
    for level in sorted(counts.by_level, key=_LEVELS.index):
        name = state.text(f"exchange.level-{level}")
        _show_count(state.text(f"exchange.count-{side}-level", level=name), counts.by_level[level])
    _show_days(side, counts.by_day, state)


def _show_days(side: str, by_day: Mapping[str, int], state: CLIState) -> None:
    if not by_day:
        return
    click.echo(f"  {state.text(f'exchange.count-{side}-days')}")
    days = sorted(by_day)
    shown = days[-_DAYS:]
    if earlier := sum(by_day[day] for day in days[:-_DAYS]):
        _show_count("  " + state.text("exchange.count-earlier", day=shown[0]), earlier)
    most = max(by_day[day] for day in shown)
    for day in shown:
        bar = "#" * max(1, round(by_day[day] * _BAR / most))
        click.echo(f"    {padded(day, 12)} {by_day[day]:>9}  {bar}")


def _show_count(label: str, count: int) -> None:
    click.echo(f"  {padded(label, _LABEL)} {count:>9}")
