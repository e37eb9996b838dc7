"""Find what is wrong in an agency directory before a verdict or a delivery relies on it."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import itertools
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc.agencies.codes import CodeScheme, Level, OrganId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnedoc.agencies.directory import Agency, AgencyDirectory

__all__ = ["DirectoryFinding", "Severity", "check_directory"]

# Law 72/2025/QH15: two levels of local government, without districts.
DISTRICTS_ENDED = datetime.date(2025, 7, 1)


class Severity(enum.StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Looking up can give a wrong agency."""
    WARNING = "warning"
    """Something is missing or old."""


@dataclasses.dataclass(frozen=True, slots=True)
class DirectoryFinding:
    """Something wrong in a directory."""

    id: str
    """What it is; stable."""
    severity: Severity
    """How much it matters."""
    values: Mapping[str, str]
    """What the text names; ``code`` is always there."""

    def text(self, language: str) -> str:
        """Return the sentence in a language."""
        return messages.text(self.id, language, **self.values)


def check_directory(directory: AgencyDirectory, *, day: datetime.date) -> tuple[DirectoryFinding, ...]:
    """Check a directory as of a day.

    Errors: two entries of one code for the same day, one old code for two agencies on the same day, a last day before
    the first, a circle of parents or of successors. Warnings: an agency above or a successor that the directory does
    not have, an agency that ended without a successor, a district that goes on after 30 June 2025, a code of neither
    scheme, an old agency above one that exists.
    """
    by_code: dict[str, list[Agency]] = {}
    by_old_code: dict[str, list[Agency]] = {}
    for agency in directory.agencies:
        by_code.setdefault(agency.organ_id, []).append(agency)
        if agency.old_code is not None:
            by_old_code.setdefault(agency.old_code, []).append(agency)
    found = [
        *_overlaps(by_code, "directory.doubled"),
        *_overlaps(by_old_code, "directory.old-code-doubled"),
        *_circles(by_code, "parent", "directory.parent-circle"),
        *_circles(by_code, "successor", "directory.successor-circle"),
    ]
    for agency in directory.agencies:
        found += _of_one(agency, by_code, by_old_code, day)
    return tuple(found)


def _of_one(
    agency: Agency,
    by_code: Mapping[str, list[Agency]],
    by_old_code: Mapping[str, list[Agency]],
    day: datetime.date,
) -> Iterator[DirectoryFinding]:
    code = agency.organ_id
    first, last = agency.valid_from, agency.valid_to
    if first is not None and last is not None and last < first:
        yield _error("directory.ends-before-it-begins", code=code, first=first, last=last)
    if OrganId(code).scheme is CodeScheme.OTHER:
        yield _warning("directory.odd-code", code=code)
    for kind, other in (("parent", agency.parent), ("successor", agency.successor)):
        if other is not None and other not in by_code and other not in by_old_code:
            yield _warning(f"directory.unknown-{kind}", code=code, other=other)
    ended = last is not None and last < day
    # A later entry of the same code is the agency under a new name: it has not ended.
    if ended and agency.successor is None and by_code[code][-1] is agency:
        yield _warning("directory.no-successor", code=code, last=last)
    if agency.exists_on(day) and agency.level is Level.DISTRICT and day >= DISTRICTS_ENDED:
        yield _warning("directory.district", code=code)
    above = by_code.get(agency.parent or "", ())
    if above and agency.exists_on(day) and not any(item.exists_on(day) for item in above):
        yield _warning("directory.parent-ended", code=code, other=agency.parent)


def _overlaps(groups: Mapping[str, list[Agency]], finding_id: str) -> Iterator[DirectoryFinding]:
    for code, entries in groups.items():
        spans = sorted(entries, key=lambda item: item.valid_from or datetime.date.min)
        for earlier, later in itertools.pairwise(spans):
            begin = later.valid_from or datetime.date.min
            if earlier.valid_to is None or begin <= earlier.valid_to:
                yield _error(finding_id, code=code, day=max(begin, earlier.valid_from or begin))
                break


def _circles(groups: Mapping[str, list[Agency]], field: str, finding_id: str) -> Iterator[DirectoryFinding]:
    done: set[str] = set()
    for start in groups:
        path: dict[str, None] = {}
        code: str | None = start
        while code is not None and code in groups and code not in done:
            if code in path:
                yield _error(finding_id, code=code)
                break
            path[code] = None
            code = getattr(groups[code][-1], field)
        done.update(path)


def _error(finding_id: str, **values: object) -> DirectoryFinding:
    return DirectoryFinding(finding_id, Severity.ERROR, _texts(values))


def _warning(finding_id: str, **values: object) -> DirectoryFinding:
    return DirectoryFinding(finding_id, Severity.WARNING, _texts(values))


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: _shown(value) for key, value in values.items()}


def _shown(value: object) -> str:
    if value == datetime.date.min:
        return "…"
    return value.isoformat() if isinstance(value, datetime.date) else str(value)
