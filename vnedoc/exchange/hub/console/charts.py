"""Charts as SVG for a page without scripts and inline styles: bars by day, bars by level.

The drawings have no fixed width: places across are percentages, so that letters keep their size on a narrow screen.
Colours are classes of the style sheet. What a chart says stands in its title and description, too, and beneath it in
a table.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Bar", "columns", "rows", "scale"]

HEIGHT = 190
_TOP, _BOTTOM = 14, 26
# Percent of the width that the numbers at the left take.
_LEFT = 9.0
_ROW_HEIGHT = 46


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    value: int
    """How high it is."""
    shown: str
    """The value as the language writes it."""
    label: str
    """What it stands for."""
    tick: str = ""
    """What stands at the axis beneath it; empty: nothing."""
    is_now: bool = False
    """Whether it is of a time that is not over."""


def scale(largest: int) -> tuple[int, ...]:
    """Return the values at which lines are drawn: nought to a round number that nothing exceeds."""
    if largest <= 4:
        return tuple(range(max(largest, 1) + 1))
    step = 10 ** math.floor(math.log10(largest / 2))
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor * 4 >= largest)
    step = max(step, 1)
    return tuple(range(0, math.ceil(largest / step) * step + 1, step))


def columns(
    bars: Sequence[Bar], *, chart_id: str, title: str, description: str, colour: str, lines: Sequence[str]
) -> Markup:
    """Return standing bars, one beside the other.

    Args:
        bars: From left to right.
        chart_id: Tells the charts of a page apart; letters only.
        title: What the chart shows.
        description: What it says, for those who do not see it.
        colour: The class of the bars.
        lines: The numbers at the left, for the values of :func:`scale`.
    """
    values = scale(max((bar.value for bar in bars), default=0))
    room = HEIGHT - _TOP - _BOTTOM

    def down(value: int) -> float:
        return _TOP + room * (1 - value / values[-1])

    def parts() -> Iterator[Markup]:
        for value, line in zip(values, lines, strict=True):
            y = down(value)
            yield Markup('<line class="grid" x1="{}%" x2="100%" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, y, y
            )
            yield Markup('<text class="tick" x="{}%" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT - 1, y + 4, line
            )
        width = (100 - _LEFT) / max(len(bars), 1)
        for place, bar in enumerate(bars):
            x = _LEFT + place * width
            height = max(HEIGHT - _BOTTOM - down(bar.value), 2 if bar.value else 0)
            yield Markup(
                '<g><title>{}</title><rect class="hit" x="{:.3f}%" y="{}" width="{:.3f}%" height="{}"/>'
                '<rect class="{}" x="{:.3f}%" y="{:.1f}" width="{:.3f}%" height="{:.1f}" rx="2"/></g>'
            ).format(
                f"{bar.label}: {bar.shown}",
                x,
                _TOP,
                width,
                room,
                f"{colour} now" if bar.is_now else colour,
                x + width * 0.14,
                HEIGHT - _BOTTOM - height,
                width * 0.72,
                height,
            )
            if bar.tick:
                yield Markup('<text class="tick" x="{:.3f}%" y="{}" text-anchor="middle">{}</text>').format(
                    min(max(x + width / 2, _LEFT + 3), 96), HEIGHT - 7, bar.tick
                )

    return _drawing(parts(), HEIGHT, chart_id=chart_id, title=title, description=description)


def rows(bars: Sequence[Bar], *, chart_id: str, title: str, description: str, colour: str) -> Markup:
    """Return lying bars, one beneath the other, each with its label above it and its value at its end."""
    largest = max((bar.value for bar in bars), default=0) or 1

    def parts() -> Iterator[Markup]:
        for place, bar in enumerate(bars):
            y = place * _ROW_HEIGHT
            # The value stands at the end of the bar: room is left for it.
            length = max(82 * bar.value / largest, 0.6 if bar.value else 0)
            yield Markup(
                '<text class="label" x="0" y="{}">{}</text>'
                '<rect class="{}" x="0" y="{}" width="{:.2f}%" height="14" rx="3"/>'
                '<text class="value" x="{:.2f}%" y="{}">{}</text>'
            ).format(y + 14, bar.label, colour, y + 22, length, length + 1.2, y + 34, bar.shown)

    height = max(len(bars), 1) * _ROW_HEIGHT
    return _drawing(parts(), height, chart_id=chart_id, title=title, description=description)


def _drawing(parts: Iterator[Markup], height: int, *, chart_id: str, title: str, description: str) -> Markup:
    head = Markup(
        '<svg class="chart" width="100%" height="{}" role="img" aria-labelledby="{}-title {}-text">'
        '<title id="{}-title">{}</title><desc id="{}-text">{}</desc>'
    ).format(height, *itertools.repeat(chart_id, 3), title, chart_id, description)
    return head + Markup("").join(parts) + Markup("</svg>")
