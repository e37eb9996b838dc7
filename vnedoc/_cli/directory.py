"""``vnedoc directory``: the list of agencies that senders are checked and packages are addressed by."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._exchange_view import plain, say_wrapped
from vnedoc.errors import ConfigurationError, ExitCode, UsageError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable

    from vnedoc._cli.main import CLIState
    from vnedoc.agencies import Agency, AgencyDirectory
    from vnedoc.agencies.checks import DirectoryFinding
    from vnedoc.agencies.imports import Merged

__all__ = ["directory"]

WIDTH = 80

_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
_file = click.option(
    "--directory",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The directory (default: that of the settings).",
)


def _at(help_text: str) -> Callable[[Any], Any]:  # click's decorators are untyped
    return click.option("--at", metavar="DATE", help=help_text)


@click.group(short_help="The agencies that documents come from and go to.")
def directory() -> None:
    """The agencies that documents come from and go to, with their codes, their days and their successors."""


@directory.command(short_help="Count the entries, or list some of them.")
@_file
@click.option("--text", "needle", metavar="TEXT", help="List entries with this in the name or the code.")
@click.option("--under", metavar="CODE", help="List the agencies directly under this one.")
@_at("As of this day (YYYY-MM-DD; default: today).")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List at most so many."
)
@_format
@click.pass_obj
def show(
    state: CLIState,
    *,
    file: Path | None,
    needle: str | None,
    under: str | None,
    at: str | None,
    limit: int,
    form: str,
) -> int:
    """Count the entries by level, or list some of them.

    \b
    Exit codes: 0 shown · 4 the file cannot be read · 5 it is no directory.
    """
    agencies = _load(state, file)
    day = _day(at)
    present = [entry for entry in agencies.agencies if entry.exists_on(day)]
    if needle is None and under is None:
        _show_counts(state, agencies, present, form)
        return ExitCode.DONE
    chosen = [entry for entry in present if _is_chosen(entry, needle, under)]
    if form == "json":
        document = {
            "schema": "vnedoc.directory-list/1",
            "day": day.isoformat(),
            "count": len(chosen),
            "agencies": plain(chosen[:limit]),
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return ExitCode.DONE
    for entry in chosen[:limit]:
        click.echo(_line(entry))
    if len(chosen) > limit:
        click.echo(f"… {len(chosen) - limit}", err=True)
    return ExitCode.DONE


@directory.command(short_help="Look an agency up by a code of either scheme.")
@click.argument("code")
@_at("As of this day (YYYY-MM-DD; default: the newest entry).")
@_file
@_format
@click.pass_obj
def resolve(state: CLIState, *, code: str, at: str | None, file: Path | None, form: str) -> int:
    """Look an agency up by a code of either scheme, with those above it and those that came after it.

    \b
    Exit codes: 0 found · 1 there is none, or not on that day · 4 the file cannot be read ·
    5 it is no directory.
    """
    agencies = _load(state, file)
    today = _day(None)
    try:
        agency = agencies.resolve(code, at=None if at is None else _day(at))
    except ConfigurationError as exc:
        click.echo(state.text("cli.error", text=exc.text(state.language)), err=True)
        if at is not None:
            _say_when(state, agencies, code, _day(at))
        return ExitCode.NO
    above = agencies.ancestors(agency, at=agency.valid_to or today)
    heirs = agencies.heirs(agency, at=today)
    if form == "json":
        document = {
            "schema": "vnedoc.directory-entry/1",
            "agency": plain(agency),
            "above": [plain(item) for item in above],
            "heirs": [plain(item) for item in heirs],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return ExitCode.DONE
    for key, value in plain(agency).items():
        if value and not isinstance(value, list):
            shown = state.text(f"exchange.level-{value}") if key == "level" else value
            label = state.text(f"directory.field-{key}")
            click.echo(f"{label:<22} {shown}")
    for label, entries in (("^", above), (">", heirs)):
        for entry in entries:
            click.echo(f"{label} {_line(entry)}"[:WIDTH])
    return ExitCode.DONE


def _say_when(state: CLIState, agencies: AgencyDirectory, code: str, day: datetime.date) -> None:
    """Say of a code that was not in force on a day when it was, and who came after it."""
    for entry in agencies.entries(code):
        if entry.valid_to is not None and entry.valid_to < day:
            heirs = ", ".join(f"{heir.organ_id} ({heir.name})" for heir in agencies.heirs(entry, at=day))
            told = state.text(
                "directory.only-until", code=code, last=entry.valid_to.isoformat(), heirs=heirs or "-"
            )
        elif entry.valid_from is not None and entry.valid_from > day:
            told = state.text("directory.only-from", code=code, first=entry.valid_from.isoformat())
        else:
            continue
        say_wrapped(f"  {told}", indent=2, err=True)


@directory.command("import", short_help="Take in the list of an axis, or a CSV, JSON or XML file.")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[SOURCE...]")
@click.option("--via", metavar="NAME", help="Ask the axis of this connection for its agencies.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The directory (default: that of the settings)."
)
@click.option("--on", "on_day", metavar="DATE", help="First day on which the list holds (default: today).")
@click.option("--close-missing", is_flag=True, help="Agencies that are not in the list ended the day before.")
@click.option("--dry-run", is_flag=True, help="Say what would change; write nothing.")
@_format
@click.pass_obj
def import_(
    state: CLIState,
    *,
    sources: tuple[Path, ...],
    via: str | None,
    output: Path | None,
    on_day: str | None,
    close_missing: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Take in the list of an axis, or a CSV, JSON or XML file.

    The directory grows: an agency that got another name keeps its earlier entry, closed on the day before, and what
    only this directory knows (certificates, tax codes, successors) stays.

    \b
    Exit codes: 0 done · 2 no source · 4 a file cannot be read · 5 a file is no list of agencies ·
    6 the axis cannot be asked now · 7 the axis said no.
    """
    from vnedoc._internal import files
    from vnedoc.agencies import AgencyDirectory, dump_directory, load_directory
    from vnedoc.agencies.imports import merge_agencies

    if not sources and via is None:
        raise UsageError("directory.name-a-source")
    target = output or state.config().directory
    if target is None:
        raise ConfigurationError("directory.not-named")
    base = load_directory(target) if target.exists() else AgencyDirectory(())
    found = list(_gather(state, sources, via))
    merged = merge_agencies(base, found, day=_day(on_day), close_missing=close_missing)
    if not dry_run and merged.directory.agencies != base.agencies:
        files.write_bytes(target, dump_directory(merged.directory))
    _show_merged(state, merged, target, dry_run=dry_run, form=form)
    return ExitCode.DONE


@directory.command(short_help="Find what is wrong in a directory.")
@click.argument("file", type=click.Path(path_type=Path), metavar="[FILE]", required=False)
@_at("As of this day (YYYY-MM-DD; default: today).")
@_format
@click.pass_obj
def check(state: CLIState, *, file: Path | None, at: str | None, form: str) -> int:
    """Find what is wrong in a directory: doubled codes, circles, agencies that ended without a successor.

    \b
    Exit codes: 0 no errors (warnings may be there) · 1 errors · 4 the file cannot be read ·
    5 it is no directory.
    """
    from vnedoc.agencies.checks import Severity, check_directory

    agencies = _load(state, file)
    found = check_directory(agencies, day=_day(at))
    errors = sum(item.severity is Severity.ERROR for item in found)
    if form == "json":
        document = {
            "schema": "vnedoc.directory-check/1",
            "entries": len(agencies.agencies),
            "errors": errors,
            "findings": [_finding(item, state) for item in found],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        for item in found:
            click.echo(f"{item.severity.value}: {item.text(state.language)}")
        if not found:
            click.echo(state.text("directory.sound", count=len(agencies.agencies)))
    return ExitCode.NO if errors else ExitCode.DONE


def _gather(state: CLIState, sources: Iterable[Path], via: str | None) -> Iterable[Agency]:
    from vnedoc.agencies.imports import read_agencies

    for source in sources:
        found = read_agencies(source)
        if not found:
            # An axis in trouble answers with an empty list; that nobody exists any more is never meant.
            raise ConfigurationError("directory.empty-source", name=source)
        yield from found
    if via is not None:
        from vnedoc._cli._connections import open_connection
        from vnedoc.agencies import Agency
        from vnedoc.agencies.imports import told_level

        with open_connection(state, via) as connector:
            agencies = [
                Agency(row.code, row.name, row.parent_code, told_level(row.code, row.name), row.old_code)
                for row in connector.agencies()
            ]
        if not agencies:
            raise ConfigurationError("directory.empty-source", name=via)
        yield from agencies


def _load(state: CLIState, file: Path | None) -> AgencyDirectory:
    from vnedoc.agencies import load_directory

    path = file or state.config().directory
    if path is None:
        raise ConfigurationError("directory.not-named")
    return load_directory(path)


def _day(value: str | None) -> datetime.date:
    import datetime

    from vnedoc._internal.clock import utc_now, vietnam

    if value is None:
        return vietnam(utc_now()).date()
    try:
        return datetime.date.fromisoformat(value)
    except ValueError as exc:
        raise UsageError("usage.bad-date", value=value) from exc


def _is_chosen(entry: Agency, needle: str | None, under: str | None) -> bool:
    from vnedoc.agencies import normalize_name

    if under is not None and entry.parent != under:
        return False
    if needle is None:
        return True
    wanted = normalize_name(needle)
    return any(wanted in normalize_name(text) for text in (entry.organ_id, entry.old_code or "", entry.name))


def _line(entry: Agency) -> str:
    return f"{entry.organ_id:<20} {entry.old_code or '':<14} {entry.name}"[:WIDTH]


def _show_counts(state: CLIState, agencies: AgencyDirectory, present: list[Agency], form: str) -> None:
    from vnedoc.agencies import Level

    found = collections.Counter(entry.level for entry in present)
    levels = {level.value: found[level] for level in Level if found[level]}
    if found[None]:
        levels["unknown"] = found[None]
    counts = {
        "entries": len(agencies.agencies),
        "present": len(present),
        "with_old_code": sum(entry.old_code is not None for entry in present),
        "with_pins": sum(bool(entry.pins) for entry in present),
    }
    if form == "json":
        document = {"schema": "vnedoc.directory-counts/1", **counts, "levels": levels}
        click.echo(json.dumps(document, indent=2))
        return
    rows = {state.text(f"directory.count-{name}"): count for name, count in counts.items()}
    for name, count in levels.items():
        rows[state.text("exchange.count-level", level=state.text(f"exchange.level-{name}"))] = count
    for label, count in rows.items():
        click.echo(f"{label:<40} {count:>10}")


def _show_merged(state: CLIState, merged: Merged, target: Path, *, dry_run: bool, form: str) -> None:
    names = ("added", "changed", "completed", "missing", "closed")
    if form == "json":
        document = {
            "schema": "vnedoc.directory-import/1",
            "written": not dry_run,
            **{name: list(getattr(merged, name)) for name in names},
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    counts = {name: len(getattr(merged, name)) for name in names}
    if dry_run:
        click.echo(state.text("directory.would-import", path=target, **counts))
    else:
        click.echo(state.text("directory.imported", path=target, **counts))


def _finding(item: DirectoryFinding, state: CLIState) -> dict[str, Any]:  # JSON
    return {**dataclasses.asdict(item), "values": dict(item.values), "text": item.text(state.language)}
