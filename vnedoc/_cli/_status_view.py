"""How deadlines and counters are shown: tables of at most 80 columns."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from vnedoc._cli._exchange_view import cut, padded, shown_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.counters import ReceivedCounts, SentCounts
    from vnedoc.exchange.deadlines import Deadline

__all__ = ["show_late", "show_summary"]

_LABEL = 44
_BAR = 24


def show_late(found: Sequence[Deadline], state: CLIState) -> None:
    """Show deadlines that have passed, first what is still to be done."""
    if not found:
        click.echo(state.text("exchange.nothing-late"), err=True)
    for item in found:
        when = shown_time(item.due_at)[:16]
        word = state.text(f"exchange.late-{item.kind.value}")
        click.echo(cut(f"{item.message_id[:8]}  {padded(when, 16)}  {padded(item.code, 18)}  {word}"))
        parts = [] if item.priority == 0 else [state.text(f"exchange.priority-{item.priority}")]
        if item.met_at is None:
            parts.append(state.text("exchange.late-open"))
        else:
            parts.append(state.text("exchange.late-met", time=shown_time(item.met_at)[:16]))
        click.echo(cut(f"          {', '.join(parts)}  {item.counterpart}  {item.subject}".rstrip()))


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
    for level, count in counts.by_level.items():
        name = state.text(f"exchange.level-{level}")
        _show_count(state.text("exchange.count-level", level=name), count)
    most = max(counts.by_day.values(), default=1)
    for day, count in counts.by_day.items():
        bar = "#" * max(1, round(count * _BAR / most))
        click.echo(f"  {padded(day, 12)} {count:>9}  {bar}")


def _show_count(label: str, count: int) -> None:
    click.echo(f"  {padded(label, _LABEL)} {count:>9}")
