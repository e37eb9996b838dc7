"""Read lists of agencies as others hand them out, and take them into a directory.

Three kinds are read: the JSON answers of the axes (national and provincial forms), the XML answer of the SOAP axes
(``GetOrganizationsResponse``), and tables (CSV with a first row of names, in English or Vietnamese). Nothing is
computed that the list does not say: an old code is taken from the list, never derived from the new one, and a level
only where the code or the name leaves no doubt.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import json
from typing import TYPE_CHECKING, Any

from vnedoc._internal import files, xml
from vnedoc.agencies.codes import CodeScheme, Level, OrganId
from vnedoc.agencies.directory import (
    MAX_DIRECTORY_BYTES,
    SCHEMA,
    Agency,
    AgencyDirectory,
    normalize_name,
    parse_directory,
)
from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Merged", "merge_agencies", "read_agencies", "told_level"]

# The names that the known axes give to the same thing; the first that is there and not empty counts.
_CODE = ("code", "orgCode", "organId", "OrganId")
_NAME = ("name", "orgName", "organName", "OrganName")
_PARENT = ("pcode", "parentCode")
_OLD_CODE = ("code102", "oldCode")
_NEW_CODE = ("domain_new", "domainNew")
# Where an answer keeps its rows.
_ROWS = ("data", "agencies", "organizations", "result")

_COLUMNS = {
    "mã định danh": "organ_id",
    "mã định danh điện tử": "organ_id",
    "mã cơ quan": "organ_id",
    # As the lists of the axes have it.
    "code": "organ_id",
    "tên cơ quan": "name",
    "mã cơ quan cấp trên": "parent",
    "cấp": "level",
    "mã cũ": "old_code",
    "có hiệu lực từ": "valid_from",
    "hiệu lực từ": "valid_from",
    "từ ngày": "valid_from",
    "từ": "valid_from",
    "có hiệu lực đến": "valid_to",
    "hiệu lực đến": "valid_to",
    "đến hết ngày": "valid_to",
    "đến ngày": "valid_to",
    "đến": "valid_to",
    "mã cơ quan kế thừa": "successor",
    "mã số thuế": "tax_code",
    "mã quan hệ ngân sách": "budget_code",
    "tên miền thư": "mail_domain",
}
_LEVEL_WORDS = {
    "trung ương": Level.CENTRAL,
    "tỉnh": Level.PROVINCE,
    "huyện": Level.DISTRICT,
    "xã": Level.COMMUNE,
}
_COMMUNES = ("xã ", "phường ", "đặc khu ", "thị trấn ")
_DISTRICTS = ("huyện ", "quận ")
_COMMITTEES = ("ủy ban nhân dân ", "uỷ ban nhân dân ", "ubnd ")


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """A directory after a list was taken in, and what the list changed; each as codes in the order of the list."""

    directory: AgencyDirectory
    """The directory."""
    added: tuple[str, ...] = ()
    """New codes."""
    changed: tuple[str, ...] = ()
    """Codes whose name or place changed; the entry before was closed on the day before."""
    completed: tuple[str, ...] = ()
    """Codes of which only something unknown became known."""
    missing: tuple[str, ...] = ()
    """Codes of the directory that exist on the day but are not in the list."""
    closed: tuple[str, ...] = ()
    """Those of the missing ones that were closed."""


def read_agencies(path: Path) -> tuple[Agency, ...]:
    """Read a list of agencies from a file: JSON, XML or CSV, told apart by how it begins.

    Raises:
        InputError: The file cannot be read.
        ConfigurationError: It is no list of agencies.
    """
    content = files.read_bytes(path, max_bytes=MAX_DIRECTORY_BYTES)
    name = str(path)
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    try:
        if start in {b"{", b"["}:
            document = json.loads(content.decode("utf-8-sig"))
            if isinstance(document, dict) and document.get("schema") == SCHEMA:
                return parse_directory(content.removeprefix(b"\xef\xbb\xbf"), name=name).agencies
            return tuple(_from_axis(_rows(document)))
        if start == b"<":
            return tuple(_from_axis(_xml_rows(content)))
        return tuple(_from_table(content.decode("utf-8-sig")))
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as exc:
        raise ConfigurationError("directory.no-list", name=name, reason=str(exc)) from exc


def told_level(organ_id: str, name: str) -> Level | None:
    """Return the level of government that a code or a name leaves no doubt about; ``None`` otherwise.

    Codes of the Government's tree (``G…``) are central, the code of a province itself (``H41``) is the province's.
    Below a province a code does not tell a department from a commune (Decision 20/2020/QĐ-TTg leaves the groups to
    their owner), so only the name of a people's committee does.
    """
    code = OrganId(organ_id)
    plain = normalize_name(name)
    committee = next((plain.removeprefix(word) for word in _COMMITTEES if plain.startswith(word)), None)
    if committee is not None and committee.startswith(_COMMUNES):
        return Level.COMMUNE
    if committee is not None and committee.startswith(_DISTRICTS):
        return Level.DISTRICT
    owner = code.level_one or ""
    if owner.startswith("G"):
        return Level.CENTRAL
    if owner.startswith("H") and code.scheme is CodeScheme.QD20 and organ_id == owner:
        return Level.PROVINCE
    return Level.PROVINCE if owner.startswith("H") and plain.startswith("sở ") else None


def merge_agencies(
    directory: AgencyDirectory,
    found: Iterable[Agency],
    *,
    day: datetime.date,
    close_missing: bool = False,
) -> Merged:
    """Take a list of agencies into a directory.

    A code that is new is added without a first day: since when it exists is not in the list. Where the name or the
    agency above differ, the entry is closed on the day before and a new one begins; certificates, tax codes and what
    else the list does not know are carried over. Entries of the list that have days of their own replace what the
    directory had of their code.

    Args:
        directory: The directory.
        found: The list.
        day: The first day on which the list holds.
        close_missing: Whether agencies that are not in the list ended on the day before.
    """
    entries: dict[str, list[Agency]] = {}
    for agency in directory.agencies:
        entries.setdefault(agency.organ_id, []).append(agency)
    report: dict[str, dict[str, None]] = {kind: {} for kind in ("added", "changed", "completed")}
    listed: dict[str, list[Agency]] = {}
    for agency in found:
        listed.setdefault(agency.organ_id, []).append(agency)
    for code, news in listed.items():
        known = entries.get(code)
        if known is None:
            entries[code] = list(dict.fromkeys(news))
            report["added"][code] = None
        elif any(item.valid_from or item.valid_to for item in news):
            spans = [_carry_over(known[-1], item) for item in dict.fromkeys(news)]
            if spans != known:
                entries[code] = spans
                report["changed"][code] = None
        else:
            kind = _take_in(known, news[-1], day)
            if kind is not None:
                report[kind][code] = None
    missing, closed = _missing(entries, set(listed), day=day, close=close_missing)
    merged = AgencyDirectory(agency for spans in entries.values() for agency in spans)
    return Merged(
        merged,
        added=tuple(report["added"]),
        changed=tuple(report["changed"]),
        completed=tuple(report["completed"]),
        missing=missing,
        closed=closed,
    )


def _missing(
    entries: dict[str, list[Agency]], listed: set[str], *, day: datetime.date, close: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    missing: list[str] = []
    closed: list[str] = []
    for code, spans in entries.items():
        last = spans[-1]
        if code in listed or not last.exists_on(day):
            continue
        missing.append(code)
        # What begins on that very day cannot have ended before it.
        if close and (last.valid_from is None or last.valid_from < day):
            spans[-1] = dataclasses.replace(last, valid_to=_day_before(day))
            closed.append(code)
    return tuple(missing), tuple(closed)


def _take_in(known: list[Agency], news: Agency, day: datetime.date) -> str | None:
    """Take the entry of a list into the entries of its code; return what it changed."""
    position = next((index for index, item in enumerate(known) if item.exists_on(day)), None)
    if position is None:
        # It was closed, and is there again.
        known.append(dataclasses.replace(_carry_over(known[-1], news), valid_from=day, successor=None))
        return "changed"
    current = known[position]
    moved = normalize_name(current.name) != normalize_name(news.name) or (
        news.parent is not None and current.parent is not None and current.parent != news.parent
    )
    updated = _carry_over(current, news)
    if moved and (current.valid_from is None or current.valid_from < day):
        known[position] = dataclasses.replace(current, valid_to=_day_before(day))
        known.insert(position + 1, dataclasses.replace(updated, valid_from=day, valid_to=current.valid_to))
        return "changed"
    updated = dataclasses.replace(updated, valid_from=current.valid_from, valid_to=current.valid_to)
    if updated == current:
        return None
    known[position] = updated
    return "changed" if moved else "completed"


def _carry_over(before: Agency, news: Agency) -> Agency:
    """Return the news, with what was known before where it says nothing."""
    kept = {
        field: getattr(before, field)
        for field in (
            "parent",
            "level",
            "old_code",
            "successor",
            "tax_code",
            "budget_code",
            "mail_domain",
            "names",
            "organizations",
            "pins",
        )
        if not getattr(news, field)
    }
    return dataclasses.replace(news, **kept)


def _day_before(day: datetime.date) -> datetime.date:
    return day - datetime.timedelta(days=1)


def _rows(document: object) -> Sequence[object]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        for key in _ROWS:
            if isinstance(document.get(key), list):
                rows: list[object] = document[key]
                return rows
    raise ValueError("no list of agencies in it")


def _xml_rows(content: bytes) -> Iterator[dict[str, str]]:
    root = xml.parse_bytes(content)
    found = False
    for element in root.iter("{*}Organization"):
        found = True
        # "{*}*" leaves comments out.
        children = element.iterchildren("{*}*")
        yield {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in children}
    if not found:
        raise ValueError("no Organization in it")


def _from_axis(rows: Iterable[object]) -> Iterator[Agency]:
    plain = [_row(row) for row in rows]
    # The national form names the agency above by the number of its row.
    by_row_id = {str(row["id"]): _first(row, _CODE) for row in plain if row.get("id") is not None}
    for number, row in enumerate(plain, start=1):
        if str(row.get("deleted", "")).lower() in {"1", "true"}:
            continue
        code, name = _first(row, _CODE), _first(row, _NAME)
        if code is None or name is None:
            raise ValueError(f"row {number} has no code or no name")
        new_code = _first(row, _NEW_CODE)
        parent = _first(row, _PARENT) or by_row_id.get(str(row.get("pid")))
        old_code = code if new_code else _first(row, _OLD_CODE)
        yield _agency(
            new_code or code,
            name,
            parent=parent,
            old_code=old_code,
        )


def _row(row: object) -> dict[str, Any]:  # JSON
    if not isinstance(row, dict):
        raise TypeError("a row is not an object")
    return row


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:  # JSON
    for key in keys:
        value = row.get(key)
        if value is not None and str(value).strip():
            return str(value).strip()
    return None


def _agency(organ_id: str, name: str, *, parent: str | None, old_code: str | None) -> Agency:
    return Agency(
        organ_id,
        name,
        parent=None if parent == organ_id else parent,
        level=told_level(organ_id, name),
        old_code=None if old_code == organ_id else old_code,
    )


def _from_table(text: str) -> Iterator[Agency]:
    first_line = text.partition("\n")[0]
    # Spreadsheets of a Vietnamese system write semicolons, because the comma is the decimal sign.
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    fields = {field.name for field in dataclasses.fields(Agency)} - {"names", "organizations", "pins"}
    columns: dict[str, str] = {}
    for title in reader.fieldnames or ():
        key = _COLUMNS.get(normalize_name(title), title.strip())
        if key not in fields:
            raise ValueError(f"unknown column “{title[:100]}”; known are {_known_columns()}")
        columns[title] = key
    if not {"organ_id", "name"} <= set(columns.values()):
        raise ValueError("the columns organ_id and name are needed")
    for row in _table_rows(reader):
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num}: not as many values as columns")
        yield _table_row({columns[title]: value.strip() for title, value in row.items()}, reader.line_num)


def _known_columns() -> str:
    """Return the names of the columns, each with the first of its Vietnamese ones."""
    names: dict[str, str] = {}
    for title, field in _COLUMNS.items():
        names.setdefault(field, title)
    return ", ".join(f"{field} ({title})" for field, title in names.items())


def _table_rows(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as exc:
        # Where the row begins; it may go on to the end of the file.
        raise ValueError(f"line {reader.line_num + 1}: {exc}") from exc


def _table_row(row: dict[str, str], line: int) -> Agency:
    values: dict[str, Any] = {key: value or None for key, value in row.items()}  # by field
    if values["organ_id"] is None or values["name"] is None:
        raise ValueError(f"line {line}: no code or no name")
    level = values.get("level")
    try:
        if level is not None:
            values["level"] = _LEVEL_WORDS.get(normalize_name(level)) or _level(level)
        for key in ("valid_from", "valid_to"):
            if values.get(key) is not None:
                values[key] = _day(values[key])
    except ValueError as exc:
        raise ValueError(f"line {line}: {exc}") from exc
    if values.get("level") is None:
        values["level"] = told_level(values["organ_id"], values["name"])
    return Agency(**values)


def _day(text: str) -> datetime.date:
    """Read a day as ISO 8601 writes it, or as people in Vietnam do (``01/07/2025``)."""
    try:
        if "/" in text:
            day, month, year = map(int, text.split("/"))
            return datetime.date(year, month, day)
        return datetime.date.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(f"“{text[:100]}” is no day") from exc


def _level(text: str) -> Level:
    try:
        return Level(text)
    except ValueError as exc:
        raise ValueError(f"“{text[:100]}” is no level of government") from exc
