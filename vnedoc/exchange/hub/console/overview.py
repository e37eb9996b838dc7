"""The first page: today, thirty days, levels, what to do, certificates that end."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.console import charts
from vnedoc.exchange.hub.console.charts import Bar
from vnedoc.exchange.hub.console.site import Remembered
from vnedoc.exchange.stores.hub_retention import HubRetention
from vnedoc.exchange.stores.pruning import PruneLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup
    from starlette.responses import Response

    from vnedoc.exchange.hub.console.door import Visit
    from vnedoc.exchange.hub.console.site import Site
    from vnedoc.exchange.hub.console.words import Words
    from vnedoc.exchange.stores.hub_reports import DayCounts, LevelCounts

__all__ = ["Overview"]

DAYS = 30
_SHOWN = 5
_MOST_REASONS = 3
# Days that are over hardly change; today is counted at each look.
_PAST_LASTS = datetime.timedelta(minutes=5)
_LEVELS_LAST = datetime.timedelta(minutes=2)


@dataclasses.dataclass(frozen=True, slots=True)
class _Graph:
    title: str
    note: str
    svg: Markup


class Overview:
    """The first page.

    Args:
        site: What pages share.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._past: Remembered[list[DayCounts]] = Remembered(_PAST_LASTS)
        self._levels: Remembered[list[LevelCounts]] = Remembered(_LEVELS_LAST)

    def show(self, visit: Visit) -> Response:
        """Show it."""
        site, words = self._site, visit.words
        now, today = site.now(), site.today()
        first, yesterday = today - datetime.timedelta(days=DAYS - 1), today - datetime.timedelta(days=1)
        past = self._past.get(today, now, lambda: site.reports.days(first, yesterday))
        levels = self._levels.get(today, now, lambda: site.reports.levels(first, today))
        (current,) = site.reports.days(today, today)
        days = [*past, current]
        reasons = list(site.reports.refusals(today, today).items())
        certificates, _ = site.watch.look(now)
        ending = [item for item in certificates if item.is_ending(now, site.options.warn_before)]
        return site.page(
            visit,
            "overview.html",
            here="overview",
            now=now,
            today=today,
            current=current,
            yesterday=past[-1],
            days=days,
            levels=levels,
            refused=sum(count for _, count in reasons),
            refused_else=sum(count for _, count in reasons[_MOST_REASONS:]),
            reasons=reasons,
            reasons_shown=reasons[:_MOST_REASONS],
            standing=site.reports.standing(late_before=site.late_before()),
            troubles=site.reports.troubles(late_before=site.late_before(), limit=_SHOWN).rows,
            ending=ending[:_SHOWN],
            ending_count=len(ending),
            late_after=words.lasting(site.options.late_after),
            by_day=_by_day(words, days, today),
            by_level=_by_level(words, levels),
            retention=_retention(words, site),
        )


def _retention(words: Words, site: Site) -> str:
    """Return how long all is kept, and what was removed last."""

    def lasting(age: datetime.timedelta | None) -> str:
        if age is None:
            return words.text("console.retention-forever")
        return words.text(
            "console.retention-days", count=words.number(round(age / datetime.timedelta(days=1)))
        )

    limits = site.hub.options.retention or PruneLimits()
    payloads = limits.payloads_older_than or limits.metadata_older_than
    text = words.text(
        "console.retention", payloads=lasting(payloads), metadata=lasting(limits.metadata_older_than)
    )
    last = HubRetention(site.hub.store).last()
    if last is None:
        return text
    removed = words.text(
        "console.retention-last",
        time=words.exact_time(last.at),
        payloads=words.number(last.report.payloads),
        size=words.size(last.report.payload_bytes),
        messages=words.number(last.report.messages),
    )
    return f"{text} {removed}"


def _by_day(words: Words, days: Sequence[DayCounts], today: datetime.date) -> list[_Graph]:
    def graph(name: str, colour: str, value: Callable[[DayCounts], int]) -> _Graph:
        title = words.text(f"console.chart-{name}")
        numbers = [value(day) for day in days]
        bars = [
            Bar(
                number,
                words.number(number),
                words.long_day(day.day),
                # Mondays: a week at a glance.
                tick=words.short_day(day.day) if day.day.weekday() == 0 else "",
                is_now=day.day == today,
            )
            for day, number in zip(days, numbers, strict=True)
        ]
        best = max(range(len(days)), key=numbers.__getitem__)
        told = words.text(
            "console.chart-told",
            total=words.number(sum(numbers)),
            most=words.number(numbers[best]),
            day=words.day(days[best].day),
            today=words.number(numbers[-1]),
        )
        lines = [words.number(line) for line in charts.scale(max(numbers))]
        svg = charts.columns(
            bars, chart_id=f"chart-{name}", title=title, description=told, colour=colour, lines=lines
        )
        return _Graph(title, told, svg)

    return [
        graph("documents", "sent", lambda day: day.documents),
        graph("delivered", "delivered", lambda day: day.delivered),
    ]


def _by_level(words: Words, levels: Sequence[LevelCounts]) -> list[_Graph]:
    def graph(name: str, colour: str, value: Callable[[LevelCounts], int]) -> _Graph:
        title = words.text(f"console.chart-{name}")
        bars = [Bar(value(level), words.number(value(level)), words.level(level.level)) for level in levels]
        told = "; ".join(f"{bar.label}: {bar.shown}" for bar in bars)
        svg = charts.rows(bars, chart_id=f"chart-{name}", title=title, description=told, colour=colour)
        return _Graph(title, "", svg)

    return [
        graph("level-sent", "sent", lambda level: level.sent),
        graph("level-delivered", "delivered", lambda level: level.delivered),
    ]
