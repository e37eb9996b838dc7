"""``vnedoc send``, ``receive``, ``reply`` and ``status``: the clerk's side of the exchange."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli import _exchange_view as view
from vnedoc.errors import (
    ConfigurationError,
    ExitCode,
    RefusedError,
    RemoteError,
    UsageError,
    VnedocError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.config import Config
    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.service import Exchange, Received
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["receive", "reply", "send", "status"]

GRAVEST_FIRST = (
    ExitCode.NO,
    ExitCode.CANNOT_TELL,
    ExitCode.UNREADABLE,
    ExitCode.CONFIGURATION,
    ExitCode.USAGE,
    ExitCode.REFUSED,
    ExitCode.REMOTE,
    ExitCode.DONE,
)
MAX_SECRET_BYTES = 4096

_path = click.Path(path_type=Path)
_via = click.option("--via", metavar="NAME", help="Connection of the settings (default: the first).")
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.command(short_help="Send packages to the axis.")
@click.argument("files", nargs=-1, required=True, type=_path, metavar="FILE.edxml… | DOC…")
@click.option(
    "--header",
    "header_path",
    type=_path,
    metavar="FILE",
    help="Pack the files as documents under this header (TOML or JSON) first.",
)
@_via
@_format
@click.option("--dry-run", is_flag=True, help="Check the packages; queue and send nothing.")
@click.pass_obj
def send(
    state: CLIState,
    *,
    files: tuple[Path, ...],
    header_path: Path | None,
    via: str | None,
    form: str,
    dry_run: bool,
) -> int:
    """Send packages to the axis.

    A package is kept in the outbox before anything is sent, and stays there until the axis has it. Sending the
    same package again is safe. With --header the files are packed as ``vnedoc pack`` does it, then sent; signed
    documents are verified with the trust of the settings.

    \b
    Exit codes: 0 the axis has all of them · 1 another package with the same identifier was sent ·
    4 a file cannot be read · 5 settings · 6 kept, not sent yet · 7 the axis refused.
    """
    codes: set[ExitCode] = {ExitCode.DONE}
    results: list[object] = []
    with contextlib.ExitStack() as stack:
        if header_path is not None:
            files = (_packed(state, header_path, files, stack),)
        exchange = stack.enter_context(_opened(state, via))
        for path in files:
            try:
                if dry_run:
                    results.append(view.package_plain(path, exchange.examine(path)))
                    continue
                message = exchange.queue(path)
                try:
                    message = exchange.deliver(message.id)
                finally:
                    found = exchange.status(message.id)
                    results.append(view.plain(found))
            except VnedocError as error:
                codes.add(error.exit_code)
                _complain(state, error, path)
        if not dry_run:
            for _message, late in exchange.deliver_due():
                if late is not None:
                    _complain(state, late)
    view.show_results(results, form, state)
    return next(code for code in GRAVEST_FIRST if code in codes)


@click.command(short_help="Take in what waits on the axis.")
@_via
@click.option(
    "-d",
    "--directory",
    "folder",
    type=_path,
    default=Path("received"),
    show_default=True,
    metavar="DIR",
    help="Where documents are laid out.",
)
@click.option(
    "--once", is_flag=True, help="Ask the axis once and end; this is what happens without --follow."
)
@click.option("--follow", is_flag=True, help="Go on asking until interrupted (Ctrl+C).")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="With --follow: the time between two questions.",
)
@click.option("--unverified", is_flag=True, help="Take documents in without verifying their signatures.")
@_format
@click.pass_obj
def receive(
    state: CLIState,
    *,
    via: str | None,
    folder: Path,
    once: bool,
    follow: bool,
    interval: float,
    unverified: bool,
    form: str,
) -> int:
    """Take in what waits on the axis: documents and statuses.

    Each document is verified with the trust anchors and the agency directory of the settings. What passes is laid
    out in the folder, acknowledged, and answered with status 01; what does not is kept in quarantine/ with the
    reason. Messages in the outbox that are due are sent, too. With --follow an axis that does not answer is asked
    again; in JSON each round is a document of its own.

    \b
    Exit codes: 0 everything was taken in, or interrupted · 1 something is in quarantine · 5 settings ·
    6 something could not be fetched now · 7 the axis refused.
    """
    if once and follow:
        raise UsageError("exchange.once-or-follow")
    if unverified:
        click.echo(state.text("exchange.unverified"), err=True)
    if not follow:
        outcomes = _take_in(state, via, folder, unverified=unverified)
        view.show_received(outcomes, form, state)
        return _reception_code(outcomes)
    try:
        while True:
            try:
                outcomes = _take_in(state, via, folder, unverified=unverified)
                if outcomes:
                    view.show_received(outcomes, form, state)
            except (RemoteError, RefusedError) as error:
                _complain(state, error)
            time.sleep(interval)
    except KeyboardInterrupt:
        return ExitCode.DONE


def _take_in(state: CLIState, via: str | None, folder: Path, *, unverified: bool) -> list[Received]:
    # Opened anew each time: revocation data must be fresh, and a secret may have been changed.
    with contextlib.ExitStack() as stack:
        exchange = stack.enter_context(_opened(state, via))
        judge = None if unverified else stack.enter_context(_judge(state.config()))
        return exchange.receive(folder, verify=judge)


def _reception_code(outcomes: list[Received]) -> ExitCode:
    codes: set[ExitCode] = {ExitCode.DONE}
    for outcome in outcomes:
        if outcome.error is not None:
            codes.add(outcome.error.exit_code)
        elif outcome.message is not None and view.is_quarantined(outcome.message):
            codes.add(ExitCode.NO)
    return next(code for code in GRAVEST_FIRST if code in codes)


@click.command(short_help="Tell the sender what was done with a document.")
@click.argument("message_id", metavar="ID")
@click.option(
    "--status",
    "code",
    required=True,
    type=click.Choice(["02", "03", "04", "05", "06", "15", "16"]),
    help="02 refused, 03 accepted, 04 assigned, 05 in progress, 06 completed, "
    "15 agrees to giving back or updating, 16 does not.",
)
@click.option("--reason", metavar="TEXT", help="Why; required for 02 and 16.")
@click.option("--via", metavar="NAME", help="Connection of the settings (default: the one it came by).")
@_format
@click.option("--dry-run", is_flag=True, help="Show the document; send nothing.")
@click.pass_obj
def reply(
    state: CLIState,
    *,
    message_id: str,
    code: str,
    reason: str | None,
    via: str | None,
    form: str,
    dry_run: bool,
) -> int:
    """Tell the sender what was done with a document.

    \b
    Exit codes: 0 the axis has the status · 1 the document has come further already ·
    2 no such document, or the reason is missing · 6 kept, not sent yet · 7 the axis refused.
    """
    from vnedoc.exchange.codes import StatusCode

    with _store(state.config()) as store:
        found = store.find(message_id)
    if dry_run:
        view.show_results([view.plain(found)], form, state)
        return ExitCode.DONE
    # A document is answered the way it came.
    with _opened(state, via or found.connection) as exchange:
        message = exchange.reply(message_id, StatusCode(code), reason=reason)
    view.show_results([view.plain(message)], form, state)
    return ExitCode.DONE


@click.command(short_help="Show what became of messages.")
@click.argument("message_id", required=False, metavar="[ID]")
@click.option("--history", is_flag=True, help="Show attempts and every status.")
@_format
@click.pass_obj
def status(state: CLIState, *, message_id: str | None, history: bool, form: str) -> int:
    """Show what became of messages, from the store of this machine.

    Three states are shown and never mixed: what was done here, what the axis says of the package, and what the
    recipient's office reports.

    \b
    Exit codes: 0 shown · 2 no such message · 5 settings.
    """
    with _store(state.config()) as store:
        if message_id is None:
            sent, received = store.sent(), store.received()
        else:
            found = store.find(message_id)
            sent, received = view.sorted_by_direction(found)
    if form == "json":
        document = {
            "schema": "vnedoc.status/1",
            "sent": [view.plain(message) for message in sent],
            "received": [view.plain(message) for message in received],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        view.show_status(sent, received, state, history=history)
    return ExitCode.DONE


def _packed(state: CLIState, header_path: Path, files: tuple[Path, ...], stack: contextlib.ExitStack) -> Path:
    """Pack files into a folder that is there until the stack ends; the outbox keeps a copy of its own."""
    from vnedoc._cli.package import pack_files

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-")))
    package = folder / f"{header_path.stem}.edxml"
    pack_files(state, header_path, files, package)
    return package


@contextlib.contextmanager
def _opened(state: CLIState, via: str | None) -> Iterator[Exchange]:
    """Open the exchange that the settings describe."""
    from vnedoc._cli._connections import open_connection
    from vnedoc.exchange.models import Organization
    from vnedoc.exchange.service import Exchange

    config = state.config()
    agency = config.agency
    if agency is None:
        raise ConfigurationError("exchange.no-agency")
    organization = Organization(
        agency.organ_id,
        agency.organ_name,
        agency.organization_in_charge,
        agency.organ_add,
        agency.email,
        agency.telephone,
    )
    connector = open_connection(state, via)
    with connector, _store(config) as store:
        yield Exchange(connector, store, organization=organization)


@contextlib.contextmanager
def _store(config: Config) -> Iterator[AgencyStore]:
    from vnedoc.exchange.stores.store import AgencyStore

    if config.store is None:
        raise ConfigurationError("exchange.no-store")
    store = AgencyStore.open(config.store.url, config.store.payload_folder)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def _judge(config: Config) -> Iterator[Judge]:
    from vnedoc.agencies import load_directory
    from vnedoc.exchange.judgement import judge_package
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import load_trust

    if not config.trust or config.directory is None:
        raise ConfigurationError("exchange.no-trust")
    trust, directory = load_trust(*config.trust), load_directory(config.directory)
    with RevocationSource(allowed_hosts=config.verification.allowed_hosts) as revocation:
        yield lambda package: judge_package(package, trust=trust, directory=directory, revocation=revocation)


def _complain(state: CLIState, error: VnedocError, path: Path | None = None) -> None:
    """Say what is wrong with one of many; for what is kept, first say why it could not be sent."""
    prefix = "" if path is None else f"{path.name}: "
    if isinstance(error.__cause__, VnedocError) and error.code == "exchange.kept":
        click.echo(f"{prefix}{error.__cause__.text(state.language)}", err=True)
    click.echo(f"{prefix}{error.text(state.language)}", err=True)
    hint = error.hint(state.language)
    if hint:
        click.echo(f"  {hint}", err=True)
