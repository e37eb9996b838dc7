"""The words of the console: the language of a visitor, and numbers, times and sizes as that language writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc._internal.clock import vietnam
from vnedoc.messages import Language

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

__all__ = ["Words", "choose_language"]

MAX_HEADER_CHARS = 1000
_STEP = 1024
_UNITS = ("B", "KB", "MB", "GB", "TB")
# What statuses, levels and the like are called; what is not here is shown as it is.
_STATUSES = frozenset({"initial", "processing", "done", "fail", "parked", "expired", "late"})
_EVENTS = frozenset({"received", "retried", "initial", "processing", "done", "fail", "parked", "expired"})
_ROLES = frozenset({"viewer", "operator", "admin"})
_KINDS = frozenset({"document", "status"})
_CERTIFICATES = frozenset({"anchor", "intermediate", "file", "pin"})
_CHANGES = frozenset(
    {
        "system-add",
        "system-change",
        "secret-rotate",
        "secret-remove",
        "secrets-seal",
        "key-add",
        "key-rotate",
        "prune-begin",
        "prune-end",
        "agency-register",
        "agency-remove",
        "agency-close",
        "agency-reopen",
        "delivery-retry",
        "user-add",
        "user-change",
        "user-remove",
        "access-token-add",
        "access-token-remove",
    }
)
_MAX_LEVEL = 4


class Words:
    """Texts and forms of one language.

    Args:
        language: The language.
    """

    def __init__(self, language: Language) -> None:
        self.language = language

    def text(self, message_id: str, /, **values: object) -> str:
        """Return a text of the catalogue."""
        return messages.text(message_id, self.language, **values)

    def status(self, status: str) -> str:
        """Return what a status of a delivery is called."""
        return self.text(f"console.status-{status}") if status in _STATUSES else status

    def happened(self, kind: str) -> str:
        """Return what an event of a message's history is called."""
        return self.text(f"console.event-{kind}") if kind in _EVENTS else self.status(kind)

    def kind(self, kind: str) -> str:
        """Return what a kind of package is called."""
        return self.text(f"console.kind-{kind}") if kind in _KINDS else kind

    def role(self, role: str) -> str:
        """Return what a role is called."""
        return self.text(f"console.role-{role}") if role in _ROLES else role

    def certificate(self, kind: str) -> str:
        """Return what a kind of certificate is called."""
        return self.text(f"console.certificate-{kind}") if kind in _CERTIFICATES else kind

    def level(self, level: int | None) -> str:
        """Return what a level of agencies is called."""
        if level is None:
            return self.text("console.level-none")
        return (
            self.text(f"console.level-{level}") if level <= _MAX_LEVEL else self.text("console.level-deeper")
        )

    def reason(self, message_id: str) -> str:
        """Return why the hub said no: the first sentence, with dots for what it names."""
        area, _, name = message_id.partition(".")
        entry = messages.load_area(area).get(name) if area in messages.areas() else None
        if entry is None:
            return message_id
        text = re.sub(r"\{\w+\}", "…", entry[self.language.value])
        first = re.split(r"(?<=[\w…”)])[.] ", text, maxsplit=1)[0]
        return re.sub(r"(?:: …|\s*\(…\))?\.?$", "", first)

    def change(self, action: str) -> str:
        """Return what a change in the audit log is called."""
        name = action.replace(".", "-")
        return self.text(f"console.change-{name}") if name in _CHANGES else action

    def number(self, number: int) -> str:
        """Return a number with its thousands apart."""
        text = f"{number:,}"
        return text.replace(",", ".") if self.language is Language.VI else text

    def count(self, number: int, *, most: int) -> str:
        """Return a number whose counting stopped at some point."""
        return f"{self.number(number)}+" if number >= most else self.number(number)

    def size(self, size: int) -> str:
        """Return a size in bytes, short."""
        value, unit = float(size), _UNITS[0]
        for unit in _UNITS:
            if value < _STEP or unit == _UNITS[-1]:
                break
            value /= _STEP
        text = f"{value:.0f}" if unit == "B" or value >= 100 else f"{value:.1f}"
        return f"{text.replace('.', ',') if self.language is Language.VI else text} {unit}"

    def day(self, day: datetime.date | None) -> str:
        """Return a day."""
        if day is None:
            return "–"
        return f"{day:%d/%m/%Y}" if self.language is Language.VI else day.isoformat()

    def short_day(self, day: datetime.date) -> str:
        """Return a day without its year."""
        return f"{day:%d/%m}" if self.language is Language.VI else f"{day:%m-%d}"

    def long_day(self, day: datetime.date) -> str:
        """Return a day with its weekday."""
        weekday = self.text("console.weekdays").split(",")[day.weekday()].strip()
        return f"{weekday}, {self.day(day)}"

    def time(self, moment: datetime.datetime | None) -> str:
        """Return a time, in Vietnam time."""
        if moment is None:
            return "–"
        local = vietnam(moment)
        return (
            f"{local:%H:%M} {self.day(local.date())}"
            if self.language is Language.VI
            else f"{local:%Y-%m-%d %H:%M}"
        )

    def exact_time(self, moment: datetime.datetime) -> str:
        """Return a time to the second, in Vietnam time."""
        local = vietnam(moment)
        clock = f"{local:%H:%M:%S}"
        if self.language is Language.VI:
            return f"{clock} {self.day(local.date())}"
        return f"{local:%Y-%m-%d} {clock}"

    def lasting(self, lasting: datetime.timedelta) -> str:
        """Return how long something takes: minutes, hours or days, whichever says enough."""
        minutes = max(int(lasting.total_seconds() // 60), 0)
        if minutes < 120:
            return self.text("console.minutes", count=minutes)
        if minutes < 48 * 60:
            return self.text("console.hours", count=minutes // 60)
        return self.text("console.days", count=self.number(minutes // (24 * 60)))


def choose_language(
    query: Mapping[str, str], cookies: Mapping[str, str], *, accepted: str, cookie: str
) -> Language:
    """Return the language of a visitor: what they chose, else what their browser wants, else Vietnamese.

    Args:
        query: The query of the request; ``lang`` chooses.
        cookies: What the browser remembers.
        accepted: The header ``Accept-Language``.
        cookie: The name of the cookie that remembers a choice.
    """
    known = {language.value: language for language in Language}
    for choice in (query.get("lang"), cookies.get(cookie)):
        if choice in known:
            return known[choice]
    best, best_weight = Language.VI, 0.0
    for part in accepted[:MAX_HEADER_CHARS].split(","):
        tag, _, rest = part.strip().partition(";")
        language = known.get(tag.strip().lower().partition("-")[0])
        weight = _weight(rest)
        # The first of equals is the one that the browser names first.
        if language is not None and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameters: str) -> float:
    found = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters)
    return float(found[1]) if found else float(not parameters.strip())
