"""``vnedoc store``: look after the place where messages are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._figures import row, sentence, whole
from vnedoc._cli._pruning import age, age_options, show_prune_report
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.errors import ConfigurationError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.config import StoreConfig
    from vnedoc.exchange.stores.checking import LogHead
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["store"]

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")

_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group(short_help="Look after the store of messages.")
def store() -> None:
    """Look after the store that the settings name: its size, its soundness, its place, its age."""


@store.command(short_help="Show what the store holds.")
@_format
@click.pass_obj
def info(state: CLIState, *, form: str) -> int:
    """Show what the store holds, and the end of its event log.

    Write the end of the log down elsewhere: with it “vnedoc store check --anchor” shows whether anything was taken
    out later, even by somebody who may write to the database.

    \b
    Exit codes: 0 done · 4 the store cannot be read · 5 the settings name none · 6 no answer from a server.
    """
    from vnedoc.exchange.stores.facts import store_facts

    with _opened(state) as opened:
        facts = store_facts(opened)
    if form == "json":
        _show_json("vnedoc.store/1", {**dataclasses.asdict(facts), "head": str(facts.head)})
        return ExitCode.DONE
    span = " … ".join(
        f"{vietnam(at):%Y-%m-%d %H:%M}" for at in (facts.oldest, facts.newest) if at is not None
    )
    whole(state.text("store.info-database"), facts.url)
    for name, value in (
        ("database-size", state.size(facts.database_bytes)),
        ("span", span or "-"),
        ("sent", state.number(facts.sent)),
        ("due", state.number(facts.due)),
        ("received", state.number(facts.received)),
        ("payloads", f"{state.number(facts.payloads)} · {state.size(facts.payload_bytes)}"),
        ("released", state.number(facts.released)),
        ("events", state.number(facts.head.number)),
    ):
        row(state.text(f"store.info-{name}"), value)
    for heading, counts in (("consignments", facts.consignments), ("inbox", facts.inbox)):
        if counts:
            click.echo(state.text(f"store.info-{heading}") + ":")
        for name, count in counts.items():
            row("  " + state.text(f"exchange.state-{name}"), state.number(count))
    whole(state.text("store.info-head"), str(facts.head))
    return ExitCode.DONE


@store.command(short_help="Check that the store is whole.")
@click.option("--payloads", "content", is_flag=True, help="Read every package and compare it with its name.")
@click.option(
    "--anchor",
    metavar="NUMBER:HASH",
    help="An end of the log that “store info” showed earlier; it must be in the log still.",
)
@_format
@click.pass_obj
def check(state: CLIState, *, content: bool, anchor: str | None, form: str) -> int:
    """Check the chain of the event log, the states and attempts of all messages, and that every package is there.

    Others may go on working with the store meanwhile.

    \b
    Exit codes: 0 whole · 1 something is wrong · 4 the store cannot be read · 5 the settings name none ·
    6 no answer from a server.
    """
    from vnedoc.exchange.stores.checking import check_store

    with _opened(state) as opened, _progress(state) as told:
        found = check_store(
            opened,
            content=content,
            anchor=None if anchor is None else _head(anchor),
            progress=lambda what, count: told(f"{_stage(state, what)} {state.number(count)}"),
        )
    if form == "json":
        document = {
            **dataclasses.asdict(found),
            "head": str(found.head),
            "whole": found.is_whole,
            "problems": [
                {"id": item.id, "text": item.text(state.language), "values": dict(item.values)}
                for item in found.problems
            ],
        }
        _show_json("vnedoc.store-check/1", document)
    else:
        for problem in found.problems:
            sentence(problem.text(state.language))
        if found.problem_count > len(found.problems):
            sentence(state.text("store.more-problems", count=found.problem_count - len(found.problems)))
        sentence(
            state.text(
                "store.checked",
                events=state.number(found.head.number),
                messages=state.number(found.messages),
                payloads=state.number(found.payloads),
                size=state.size(found.payload_bytes),
            )
        )
        if found.unnamed:
            sentence(state.text("store.unnamed", count=state.number(found.unnamed)))
        verdict = "store.whole" if found.is_whole else "store.not-whole"
        sentence(state.text(verdict, count=state.number(found.problem_count)))
    return ExitCode.DONE if found.is_whole else ExitCode.NO


@store.command(short_help="Move all messages to another database.")
@click.option("--to", "url", required=True, metavar="URL", help="The new database.")
@click.option("--payloads-to", metavar="PLACE", help="Copy the packages, too: to a folder, or to s3://….")
@_format
@click.pass_obj
def migrate(state: CLIState, *, url: str, payloads_to: str | None, form: str) -> int:
    """Move all messages to another database: from SQLite to PostgreSQL, or back.

    Stop workers and servers first: nobody can write to the old store meanwhile. A move that was broken off goes on
    when the command is run again. Afterwards the old store refuses to work; change the settings to the new one.
    Packages stay where they are unless --payloads-to is given; the old ones are never removed.

    The password of a PostgreSQL database does not belong into the URL: use ~/.pgpass or PGPASSWORD.

    \b
    Exit codes: 0 moved · 1 the target holds other data, or the messages moved elsewhere before ·
    4 a store cannot be read or written, or what arrived differs · 5 settings or URL · 6 no answer from a server.
    """
    from vnedoc.exchange.stores.database import Database
    from vnedoc.exchange.stores.migration import copy_payloads, migrate_store
    from vnedoc.exchange.stores.payloads import open_payloads

    settings = _settings(state)
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(_progress(state))
        copied = None
        if payloads_to is not None:
            # First: a message must not be in the new store before its package is.
            copied = copy_payloads(
                open_payloads(settings.place),
                open_payloads(payloads_to),
                progress=lambda count: told(f"{_stage(state, 'payloads')} {state.number(count)}"),
            )
        databases = []
        for place in (settings.url, url):
            databases.append(Database(place, branch="agency"))
            stack.callback(databases[-1].close)
        source, target = databases
        report = migrate_store(
            source,
            target,
            progress=lambda table, done, total: told(f"{table} {state.number(done)} / {state.number(total)}"),
        )
        shown = target.shown_url
    if form == "json":
        document = {**dataclasses.asdict(report), "head": str(report.head), "to": shown, "payloads": copied}
        _show_json("vnedoc.store-migration/1", document)
        return ExitCode.DONE
    for table, count in report.rows.items():
        row(table, state.number(count))
    if copied is not None:
        row(state.text("store.info-payloads"), state.number(copied))
    sentence(state.text("store.migrated", events=state.number(report.head.number)))
    click.echo(f"  {report.head}")
    whole(state.text("store.change-settings"), shown)
    return ExitCode.DONE


@store.command(short_help="Remove what is old and finished.")
@age_options
@click.option(
    "--confirmed-is-finished",
    is_flag=True,
    help="A received document is finished once it was confirmed (03), not only when it is done (06).",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_format
@click.pass_obj
def prune(
    state: CLIState,
    *,
    payloads_older_than: str | None,
    metadata_older_than: str | None,
    confirmed_is_finished: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Remove packages, and much later messages, that are old and finished.

    Finished is a sent message whose end is known for every recipient, and a received one that was laid out,
    acknowledged and answered with 02, 06 or 15. What waits for a person stays, however old it is. The age counts from
    the last change. Files laid out for people by “vnedoc receive” are not touched. The event log keeps an event for
    every message removed.

    \b
    Exit codes: 0 done · 2 the ages make no sense · 4 the store cannot be read or written ·
    5 the settings name none · 6 no answer from a server.
    """
    from vnedoc.exchange.stores.pruning import PruneLimits, prune_store

    limits = PruneLimits(
        payloads_older_than=age(payloads_older_than),
        metadata_older_than=age(metadata_older_than),
        confirmed_is_finished=confirmed_is_finished,
    )
    limits.check()
    with _opened(state) as opened:
        report = prune_store(opened, limits, now=utc_now(), dry_run=dry_run)
    show_prune_report(state, report, form=form, schema="vnedoc.store-prune/1", is_trial=dry_run)
    return ExitCode.DONE


def _settings(state: CLIState) -> StoreConfig:
    settings = state.config().store
    if settings is None:
        raise ConfigurationError("exchange.no-store")
    return settings


@contextlib.contextmanager
def _opened(state: CLIState) -> Iterator[AgencyStore]:
    from vnedoc.exchange.stores.store import AgencyStore

    settings = _settings(state)
    opened = AgencyStore.open(settings.url, settings.place)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def _progress(state: CLIState) -> Iterator[Callable[[str], None]]:
    """Show on one line of the terminal how far it is; elsewhere, and with ``-q``, nothing."""
    if state.verbosity < 0 or not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("…") as status:
        yield status.update


def _head(text: str) -> LogHead:
    from vnedoc.exchange.stores.checking import LogHead

    found = _HEAD.fullmatch(text)
    if found is None:
        raise UsageError("store.bad-anchor", value=text)
    return LogHead(int(found[1]), found[2])


def _show_json(schema: str, document: dict[str, Any]) -> None:  # what JSON can hold
    click.echo(json.dumps({"schema": schema, **document}, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def _stage(state: CLIState, what: str) -> str:
    return state.text(f"store.at-{what}")
