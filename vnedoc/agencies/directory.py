"""The agency directory: who had which code and name on which day, and who came after.

Immutable in memory; on the disk a JSON file with the schema ``vnedoc.directory/1``. The country has about 125,000
agencies, and the axis hands them out in one answer: reading is kept quick, looking up takes one step.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from vnedoc._internal import files
from vnedoc.agencies.codes import Level
from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "Agency",
    "AgencyDirectory",
    "CertificatePin",
    "dump_directory",
    "load_directory",
    "normalize_name",
    "parse_directory",
]

SCHEMA = "vnedoc.directory/1"
MAX_DIRECTORY_BYTES = 256 * 1024 * 1024
_MAX_SUCCESSORS = 20


@dataclasses.dataclass(frozen=True, slots=True)
class CertificatePin:
    """A certificate that an agency is known to sign with."""

    sha256: str
    """SHA-256 of the DER certificate, lower-case hexadecimal."""
    valid_from: datetime.date | None = None
    """First day on which the pin counts."""
    valid_to: datetime.date | None = None
    """Last day on which the pin counts."""

    def holds_on(self, day: datetime.date) -> bool:
        """Tell whether the pin counts on a day."""
        return _within(day, self.valid_from, self.valid_to)


@dataclasses.dataclass(frozen=True, slots=True)
class Agency:
    """One agency, as it was during a span of time."""

    organ_id: str
    """Its code."""
    name: str
    """Its name."""
    parent: str | None = None
    """Code of the agency above it."""
    level: Level | None = None
    """Its level of government."""
    old_code: str | None = None
    """Its code by QCVN 102:2016, if it had one; never computed from the new one."""
    valid_from: datetime.date | None = None
    """First day of this entry."""
    valid_to: datetime.date | None = None
    """Last day of this entry."""
    successor: str | None = None
    """Code of the agency that took over its work."""
    tax_code: str | None = None
    """Mã số thuế, as in ``UID=MST:…`` of its certificate."""
    budget_code: str | None = None
    """Mã quan hệ ngân sách, as in ``UID=MNS:…`` of its certificate."""
    mail_domain: str | None = None
    """Domain of its official mail addresses."""
    names: tuple[str, ...] = ()
    """Further names that its certificates may carry."""
    organizations: tuple[str, ...] = ()
    """Names of the parent body (O) that its certificates may carry; empty: not compared."""
    pins: tuple[CertificatePin, ...] = ()
    """Certificates it is known to sign with."""

    def exists_on(self, day: datetime.date) -> bool:
        """Tell whether the entry is good for a day."""
        return _within(day, self.valid_from, self.valid_to)


class AgencyDirectory:
    """Agencies by code, at a date. Immutable.

    Args:
        agencies: The entries; the same code may occur several times for different spans of time.
    """

    def __init__(self, agencies: Iterable[Agency]) -> None:
        self._agencies = tuple(agencies)

    @property
    def agencies(self) -> tuple[Agency, ...]:
        """All entries, in the order of the file."""
        return self._agencies

    @functools.cached_property
    def _by_code(self) -> Mapping[str, list[Agency]]:
        index: dict[str, list[Agency]] = {}
        for agency in self._agencies:
            index.setdefault(agency.organ_id, []).append(agency)
            if agency.old_code and agency.old_code != agency.organ_id:
                index.setdefault(agency.old_code, []).append(agency)
        return index

    def entries(self, code: str) -> tuple[Agency, ...]:
        """Return all entries with a code of either scheme, whatever their days; none is no error."""
        return tuple(self._by_code.get(code, ()))

    def resolve(self, code: str, *, at: datetime.date | None = None) -> Agency:
        """Return the agency with a code of either scheme.

        Args:
            code: The code.
            at: The day to look at; ``None`` takes the newest entry.

        Raises:
            ConfigurationError: The directory has no such agency, or not on that day.
        """
        entries = self._by_code.get(code, ())
        if not entries:
            raise ConfigurationError("directory.unknown-agency", code=code)
        if at is None:
            return max(entries, key=lambda agency: agency.valid_from or datetime.date.min)
        for agency in entries:
            if agency.exists_on(at):
                return agency
        raise ConfigurationError("directory.not-on-that-day", code=code, day=at.isoformat())

    def heirs(self, agency: Agency, *, at: datetime.date) -> tuple[Agency, ...]:
        """Return who took over an agency's work, one after the other, as far as a day.

        Empty if it still exists on that day, or nobody is known. A circle of successors ends where it closes.
        """
        found: list[Agency] = []
        seen = {agency.organ_id}
        while not agency.exists_on(at) and agency.successor and len(found) < _MAX_SUCCESSORS:
            # The heir as it was when it took over, or later: it may have been merged itself since.
            later = [entry for entry in self.entries(agency.successor) if entry.organ_id not in seen]
            if not later:
                break
            agency = next((entry for entry in later if entry.exists_on(at)), later[-1])
            seen.add(agency.organ_id)
            found.append(agency)
        return tuple(found)

    def ancestors(self, agency: Agency, *, at: datetime.date | None = None) -> tuple[Agency, ...]:
        """Return the agencies above an agency, the nearest first; a circle ends where it closes."""
        found: list[Agency] = []
        seen = {agency.organ_id}
        while agency.parent is not None:
            above = [entry for entry in self.entries(agency.parent) if entry.organ_id not in seen]
            if not above:
                break
            agency = next((entry for entry in above if at is None or entry.exists_on(at)), above[-1])
            seen.add(agency.organ_id)
            found.append(agency)
        return tuple(found)


def normalize_name(name: str) -> str:
    """Return a name as names are compared: NFC, case folded, white space folded."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def load_directory(path: Path) -> AgencyDirectory:
    """Read an agency directory from a JSON file with the schema ``vnedoc.directory/1``.

    Raises:
        InputError: The file cannot be read.
        ConfigurationError: It is not an agency directory.
    """
    return parse_directory(files.read_bytes(path, max_bytes=MAX_DIRECTORY_BYTES), name=str(path))


def parse_directory(content: bytes, *, name: str) -> AgencyDirectory:
    """Read an agency directory from the bytes of its JSON file.

    Raises:
        ConfigurationError: The bytes are not an agency directory.
    """
    try:
        document = json.loads(content)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ConfigurationError("directory.bad-schema", name=name, schema=SCHEMA)
        return AgencyDirectory(_agency(entry) for entry in document["agencies"])
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigurationError("directory.unreadable", name=name, reason=str(exc)) from exc


_TEXTS = ("parent", "old_code", "successor", "tax_code", "budget_code", "mail_domain")


def dump_directory(directory: AgencyDirectory) -> bytes:
    """Return a directory as the bytes of its JSON file: one line an entry, so that versions can be compared."""
    lines = (json.dumps(_plain(agency), ensure_ascii=False) for agency in directory.agencies)
    body = ",\n".join(lines)
    return f'{{"schema": "{SCHEMA}", "agencies": [\n{body}\n]}}\n'.encode()


def _plain(agency: Agency) -> dict[str, Any]:  # JSON
    values = {field: getattr(agency, field) for field in _FIELDS}
    if agency.pins:
        values["pins"] = [dict(_filled(dataclasses.asdict(pin))) for pin in agency.pins]
    return dict(_filled(values))


def _filled(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:  # JSON
    for key, value in values.items():
        if isinstance(value, datetime.date):
            yield key, value.isoformat()
        elif value is not None and value != ():
            yield key, value


def _agency(entry: dict[str, Any]) -> Agency:  # JSON
    # Without loops over the fields: a directory has a hundred thousand entries.
    if not entry.keys() <= _KEYS:
        raise ValueError(f"unknown key {min(entry.keys() - _KEYS)!r}")
    get = entry.get
    organ_id, name, level = entry["organ_id"], entry["name"], get("level")
    if type(organ_id) is not str or not organ_id:
        raise ValueError("organ_id must be a text")
    if type(name) is not str or not name:
        raise ValueError(f"{organ_id}: name must be a text")
    parent, old_code, successor, tax_code, budget_code, mail_domain = texts = tuple(map(get, _TEXTS))
    for text in texts:
        if text is not None and type(text) is not str:
            raise ValueError(f"{organ_id}: {text!r} is not a text")
    first, last, names, organizations, pins = map(get, ("valid_from", "valid_to", *_LISTS))
    return Agency(
        organ_id,
        name,
        parent,
        None if level is None else _LEVELS[level],
        old_code,
        None if first is None else _date(first),
        None if last is None else _date(last),
        successor,
        tax_code,
        budget_code,
        mail_domain,
        tuple(map(str, _list(names))) if names else (),
        tuple(map(str, _list(organizations))) if organizations else (),
        tuple(map(_pin, _list(pins))) if pins else (),
    )


def _list(value: object) -> list[Any]:  # JSON
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _pin(pin: dict[str, Any]) -> CertificatePin:  # JSON
    first, last = pin.get("valid_from"), pin.get("valid_to")
    return CertificatePin(
        sha256=_fingerprint(pin["sha256"]),
        valid_from=None if first is None else _date(first),
        valid_to=None if last is None else _date(last),
    )


def _fingerprint(value: str) -> str:
    plain = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError(f"{value!r} is not a SHA-256 fingerprint")
    return plain


# Most agencies of a directory share a few days: those of the reforms.
@functools.lru_cache(maxsize=1024)
def _date(value: str) -> datetime.date:
    return datetime.date.fromisoformat(value)


def _within(day: datetime.date, first: datetime.date | None, last: datetime.date | None) -> bool:
    return (first is None or first <= day) and (last is None or day <= last)


_FIELDS = tuple(field.name for field in dataclasses.fields(Agency))
_KEYS = frozenset(_FIELDS)
_LISTS = ("names", "organizations", "pins")
_LEVELS = {level.value: level for level in Level}
