"""Agencies: their codes in both schemes, their place among the levels, and a directory that knows dates.

Codes follow Decision 20/2020/QĐ-TTg (amended by Decision 09/2025/QĐ-TTg) and, for older documents, QCVN
102:2016/BTTTT. A code is opaque where it is only carried along; :class:`OrganId` shows what can be read from it.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from vnedoc._internal import files
from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "Agency",
    "AgencyDirectory",
    "CertificatePin",
    "CodeScheme",
    "Level",
    "OrganId",
    "load_directory",
    "normalize_name",
    "parse_directory",
]

SCHEMA = "vnedoc.directory/1"
MAX_DIRECTORY_BYTES = 256 * 1024 * 1024

# Four groups, the most specific first: 000.21.31.H53 (QCVN 102:2016; Decision 28/2018/QĐ-TTg, art. 10.2a).
_OLD = re.compile(r"\d{3}\.\d{2}\.\d{2}\.[A-Z]\d{2}")
# Level 1 first, letters A to Y, then groups of the owner's choice (Decision 20/2020/QĐ-TTg, art. 4).
_NEW = re.compile(r"[A-Y]\d{2}(\.[0-9A-Z]+)*")
_MAX_NEW = 35


class CodeScheme(enum.StrEnum):
    """Which rule a code follows."""

    QD20 = "qd20"
    """Decision 20/2020/QĐ-TTg: ``H41.17``."""
    QCVN102 = "qcvn102"
    """QCVN 102:2016/BTTTT: ``000.00.17.H41``."""
    OTHER = "other"
    """Neither: a test code, a virtual system, a business registration number."""


class Level(enum.StrEnum):
    """A level of government."""

    CENTRAL = "central"
    PROVINCE = "province"
    DISTRICT = "district"
    """Abolished on 1 July 2025; old documents still name districts."""
    COMMUNE = "commune"


@dataclasses.dataclass(frozen=True, slots=True)
class OrganId:
    """An agency code, kept as it was received, with what can be read from it."""

    value: str
    """The code."""

    @property
    def scheme(self) -> CodeScheme:
        """Which rule the code follows."""
        if _OLD.fullmatch(self.value):
            return CodeScheme.QCVN102
        if len(self.value) <= _MAX_NEW and _NEW.fullmatch(self.value):
            return CodeScheme.QD20
        return CodeScheme.OTHER

    @property
    def level_one(self) -> str | None:
        """The code of the level-1 agency it belongs to, such as ``H41``; ``None`` if it cannot be read."""
        groups = self.value.split(".")
        match self.scheme:
            case CodeScheme.QCVN102:
                return groups[-1]
            case CodeScheme.QD20:
                return groups[0]
            case _:
                return None

    def __str__(self) -> str:
        return self.value


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
    def _by_code(self) -> Mapping[str, tuple[Agency, ...]]:
        index: dict[str, tuple[Agency, ...]] = {}
        for agency in self._agencies:
            for code in {agency.organ_id, agency.old_code} - {None}:
                index[str(code)] = (*index.get(str(code), ()), agency)
        return index

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


def _agency(entry: dict[str, Any]) -> Agency:  # JSON
    known = {field.name for field in dataclasses.fields(Agency)}
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    values: dict[str, Any] = dict(entry)  # JSON
    for key in ("organ_id", "name"):
        if not isinstance(values[key], str) or not values[key]:
            raise ValueError(f"{key} must be a text")
    for key in ("valid_from", "valid_to"):
        values[key] = _date(values.get(key))
    for key in ("names", "organizations"):
        values[key] = tuple(str(item) for item in values.get(key, ()))
    if values.get("level") is not None:
        values["level"] = Level(values["level"])
    values["pins"] = tuple(
        CertificatePin(
            sha256=_fingerprint(pin["sha256"]),
            valid_from=_date(pin.get("valid_from")),
            valid_to=_date(pin.get("valid_to")),
        )
        for pin in values.get("pins", ())
    )
    return Agency(**values)


def _fingerprint(value: str) -> str:
    plain = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError(f"{value!r} is not a SHA-256 fingerprint")
    return plain


def _date(value: str | None) -> datetime.date | None:
    return None if value is None else datetime.date.fromisoformat(value)


def _within(day: datetime.date, first: datetime.date | None, last: datetime.date | None) -> bool:
    return (first is None or first <= day) and (last is None or day <= last)
