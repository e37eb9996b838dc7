"""``vnedoc send``, ``receive`` and ``reply``: the clerk's side of the exchange."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli import _exchange_view as view
from vnedoc._cli import _office as office
from vnedoc.errors import ExitCode, InputError, RefusedError, RemoteError, UsageError, VnedocError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.service import Received
    from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage

__all__ = ["receive", "reply", "send"]

_path = click.Path(path_type=Path)


@click.command(short_help="Send packages to the axis.")
@click.argument("files", nargs=-1, required=True, type=_path, metavar="FILE.edxml… | DOC…")
@click.option(
    "--header",
    "header_path",
    type=_path,
    metavar="FILE",
    help="Pack the files as documents under this header (TOML or JSON) first.",
)
@office.via_option
@office.format_option
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
    documents are verified with the trust of the settings. A warning says which PDFs of an issued document are not
    signed.

    \b
    Exit codes: 0 the axis has all of them · 1 another package with the same identifier was sent ·
    4 a file cannot be read · 5 settings · 6 kept, not sent yet · 7 the axis refused.
    """
    codes: set[ExitCode] = {ExitCode.DONE}
    results: list[object] = []
    with contextlib.ExitStack() as stack:
        if header_path is not None:
            files = (_packed(state, header_path, files, stack),)
        exchange = stack.enter_context(office.open_exchange(state, via))
        for path in files:
            found: SentMessage | ReceivedMessage | None = None
            try:
                if dry_run:
                    results.append(view.package_plain(path, exchange.examine(path)))
                    _warn_of_unsigned(state, path, is_finished=header_path is None)
                    continue
                message = exchange.queue(path)
                _warn_of_unsigned(state, path, is_finished=header_path is None)
                try:
                    message = exchange.deliver(message.id)
                finally:
                    found = exchange.status(message.id)
                    results.append(view.plain(found))
            except VnedocError as error:
                codes.add(error.exit_code)
                office.complain(state, error, path)
                if found is not None:
                    office.say_if_parked(state, found)
        if not dry_run:
            for _message, late in exchange.deliver_due():
                if late is not None:
                    office.complain(state, late)
    view.show_results(results, form, state)
    return office.gravest(codes)


@click.command(short_help="Take in what waits on the axis.")
@office.via_option
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
@office.format_option
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
    reason. A recall cancels its document: the files are moved to cancelled/, a notice is laid beside, and the
    sender is answered with 15, unless the settings leave that to a person. Messages in the outbox that are due are
    sent, too. With --follow an axis that does not answer is asked again; in JSON each round is a document of its own.

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
        return reception_code(outcomes)
    with office.at_work(state, [_connection_name(state, via)]) as stop:
        _follow(state, via, folder, unverified=unverified, form=form, interval=interval, stop=stop)
    return ExitCode.DONE


def reception_code(outcomes: list[Received]) -> ExitCode:
    """Return the code with which a reception ends."""
    codes: set[ExitCode] = {ExitCode.DONE}
    for outcome in outcomes:
        if outcome.error is not None:
            codes.add(outcome.error.exit_code)
        elif outcome.message is not None and view.is_quarantined(outcome.message):
            codes.add(ExitCode.NO)
    return office.gravest(codes)


def _connection_name(state: CLIState, via: str | None) -> str:
    """Return the name of a connection of the settings, which must be there before anybody waits for it."""
    state.config().connection(via)
    return next(iter(state.config().connections)) if via is None else via


def _follow(
    state: CLIState,
    via: str | None,
    folder: Path,
    *,
    unverified: bool,
    form: str,
    interval: float,
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        try:
            outcomes = _take_in(state, via, folder, unverified=unverified, stop=stop.is_set)
            if outcomes:
                view.show_received(outcomes, form, state)
        except (RemoteError, RefusedError) as error:
            office.complain(state, error)
        stop.wait(interval)


def _take_in(
    state: CLIState,
    via: str | None,
    folder: Path,
    *,
    unverified: bool,
    stop: Callable[[], bool] = lambda: False,
) -> list[Received]:
    # Opened anew each time: revocation data must be fresh, and a secret may have been changed.
    with contextlib.ExitStack() as stack:
        exchange = stack.enter_context(office.open_exchange(state, via))
        judge = None if unverified else stack.enter_context(office.open_judge(state.config()))
        return exchange.receive(folder, verify=judge, stop=stop)


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
@office.format_option
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

    15 and 16 decide on a recall, a request to give back or an update that waits for a person; 15 carries it out.

    \b
    Exit codes: 0 the axis has the status · 1 the document has come further already, or was recalled ·
    2 no such document, or the reason is missing · 6 kept, not sent yet · 7 the axis refused.
    """
    from vnedoc.exchange.codes import StatusCode

    if dry_run:
        with office.open_store(state.config()) as store:
            view.show_results([view.plain(store.find(message_id))], form, state)
        return ExitCode.DONE
    # A document is answered the way it came.
    with office.open_way_of(state, message_id, via) as (_found, exchange):
        message = exchange.reply(message_id, StatusCode(code), reason=reason)
    view.show_results([view.plain(message)], form, state)
    return ExitCode.DONE


def _warn_of_unsigned(state: CLIState, path: Path, *, is_finished: bool) -> None:
    """Say where a signature was to be expected in a package that others made; packing it here said so already."""
    if not is_finished:
        return
    from vnedoc._cli.package import say_finding
    from vnedoc.exchange.models import DocumentHeader
    from vnedoc.exchange.package import read_package
    from vnedoc.exchange.packing import find_unsigned

    try:
        # In files, because an attachment may be larger than the memory.
        with tempfile.TemporaryDirectory(prefix="vnedoc-") as folder:
            package = read_package(path, folder=Path(folder) / "files", lines=False)
            files = [item.path for item in package.attachments if item.path is not None]
            # An order without files is about a document that was sent before.
            if files and isinstance(package.header, DocumentHeader):
                for finding in find_unsigned(package.header, files):
                    say_finding(state, path, "package.word-warning", finding)
    except (VnedocError, OSError) as error:
        # It is in the outbox: no room to look at it is no reason to keep it there.
        if isinstance(error, OSError):
            place = error.filename or "-"
            error = InputError("file.cannot-write", path=place, reason=error.strerror or str(error))
        office.complain(state, error, path)


def _packed(state: CLIState, header_path: Path, files: tuple[Path, ...], stack: contextlib.ExitStack) -> Path:
    """Pack files into a folder that is there until the stack ends; the outbox keeps a copy of its own."""
    from vnedoc._cli.package import pack_files

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-")))
    package = folder / f"{header_path.stem}.edxml"
    pack_files(state, header_path, files, package)
    return package
