"""``vnedoc worker`` and ``retry``: deliver what is due, and let what was put aside be tried again."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli import _exchange_view as view
from vnedoc._cli import _office as office
from vnedoc.errors import ConfigurationError, ConnectorError, ExitCode, UsageError, VnedocError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.service import Exchange
    from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage
    from vnedoc.exchange.stores.store import AgencyStore
    from vnedoc.exchange.worker import Round, Worker

__all__ = ["retry", "worker"]

_path = click.Path(path_type=Path)
_ENOUGH = 5
"""After so many failures in a row an axis is left alone, as the worker does it."""


@click.command(short_help="Deliver what is due, until it is stopped.")
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
@click.option("--receive", "receives", is_flag=True, help="Take in what waits on the axis, too.")
@click.option(
    "-d",
    "--directory",
    "folder",
    type=_path,
    default=Path("received"),
    show_default=True,
    metavar="DIR",
    help="With --receive: where documents are laid out.",
)
@click.option("--unverified", is_flag=True, help="Take documents in without verifying their signatures.")
@click.option("--via", metavar="NAME", help="Only this connection of the settings (default: all).")
@click.option(
    "--poll",
    type=click.FloatRange(min=0.05),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it looks for what is due.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="With --receive: the time between two questions to the axis.",
)
@office.format_option
@click.pass_obj
def worker(
    state: CLIState,
    /,
    *,
    once: bool,
    receives: bool,
    folder: Path,
    unverified: bool,
    via: str | None,
    poll: float,
    interval: float,
    form: str,
) -> int:
    """Deliver what is due, and with --receive take in what waits, until it is stopped.

    What fails is tried again after 10 seconds at most, then three times longer each time, up to an hour, until a
    day has passed. Several workers may share one store. SIGTERM and Ctrl+C let the package that is under way be
    finished; a second one does not. In JSON every round in which something happened is a line of its own.

    \b
    Exit codes: 0 stopped; with --once everything that was due has left · with --once: 1 something is in quarantine ·
    5 settings · 6 something could not be sent or fetched now · 7 the axis refused something.
    """
    names = _names(state, via)
    if unverified and receives:
        click.echo(state.text("exchange.unverified"), err=True)
    with contextlib.ExitStack() as stack:
        stop = threading.Event() if once else stack.enter_context(office.at_work(state, names))
        judge = None if unverified or not receives else state.config()
        workers = [
            stack.enter_context(
                _open_worker(
                    state,
                    name,
                    folder=folder if receives else None,
                    verified=judge is not None,
                    poll=poll,
                    interval=interval,
                    stop=stop,
                )
            )
            for name in names
        ]
        if once:
            return _run_once(state, workers, form)
        _run(state, workers, form)
    return ExitCode.DONE


@click.command(short_help="Try messages again that were put aside or gave up.")
@click.argument("message_ids", nargs=-1, metavar="[ID…]")
@click.option("--parked", is_flag=True, help="All that are parked.")
@office.format_option
@click.option("--dry-run", is_flag=True, help="Show the messages; try nothing.")
@click.pass_obj
def retry(state: CLIState, /, *, message_ids: tuple[str, ...], parked: bool, form: str, dry_run: bool) -> int:
    """Try messages again that are parked, have expired or wait.

    Their count of attempts begins anew, and they are handed to the axis at once. What the axis refused is not tried
    again: send a corrected package.

    \b
    Exit codes: 0 the axis has all of them · 1 one cannot be tried again · 2 no such message ·
    6 kept, not sent yet · 7 the axis refused.
    """
    if bool(message_ids) == parked:
        raise UsageError("exchange.ids-or-parked")
    codes = {ExitCode.DONE}
    with office.open_store(state.config()) as store:
        found = _parked(store) if parked else [store.find(message_id) for message_id in message_ids]
        if not found:
            click.echo(state.text("exchange.none-parked"), err=True)
        tried: list[str] = [] if not dry_run else [message.id for message in found]
        for name in () if dry_run else dict.fromkeys(message.connection for message in found):
            with office.open_exchange(state, name, store=store) as exchange:
                of_this = [message.id for message in found if message.connection == name]
                tried += _try_again(state, exchange, of_this, codes)
        results = [view.plain(store.find(message_id)) for message_id in tried]
    view.show_results(results, form, state)
    return office.gravest(codes)


def _parked(store: AgencyStore) -> list[SentMessage | ReceivedMessage]:
    """Return all messages that are parked."""
    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.states import DeliveryState
    from vnedoc.exchange.stores.records import MessageFilter

    found: list[SentMessage | ReceivedMessage] = []
    for kind in PackageKind:
        after = None
        while True:
            page = store.page(
                "sent", MessageFilter(kind=kind, state=DeliveryState.PARKED), limit=1000, after=after
            )
            found += page.items
            after = page.next
            if after is None:
                break
    return found


def _try_again(
    state: CLIState, exchange: Exchange, message_ids: list[str], codes: set[ExitCode]
) -> list[str]:
    """Hand messages to the axis once more; return those that can be tried again.

    An axis that did not answer several times in a row is not asked for each of the others.
    """
    due = []
    for message_id in message_ids:
        try:
            retried = exchange.retry([message_id])
        except VnedocError as error:
            codes.add(error.exit_code)
            office.complain(state, error)
            continue
        due += retried
        if not retried:
            codes.add(ExitCode.NO)
            click.echo(state.text("exchange.not-retried", id=message_id), err=True)
    failures = 0
    for number, message_id in enumerate(due):
        try:
            exchange.deliver(message_id)
            failures = 0
        except VnedocError as error:
            codes.add(error.exit_code)
            office.complain(state, error)
            failures = failures + 1 if isinstance(error, ConnectorError) else 0
            office.say_if_parked(state, exchange.status(message_id))
        left = len(due) - number - 1
        if failures >= _ENOUGH and left:
            click.echo(state.text("exchange.not-tried", count=left), err=True)
            break
    return due


def _names(state: CLIState, via: str | None) -> list[str]:
    connections = state.config().connections
    if via is not None:
        state.config().connection(via)
        return [via]
    if not connections:
        raise ConfigurationError("config.no-connection")
    return list(connections)


@contextlib.contextmanager
def _open_worker(
    state: CLIState,
    name: str,
    *,
    folder: Path | None,
    verified: bool,
    poll: float,
    interval: float,
    stop: threading.Event,
) -> Iterator[Worker]:
    from vnedoc.exchange.service import NoProgress
    from vnedoc.exchange.worker import Worker, WorkerOptions

    if verified:
        # A wrong setting ends the command now, not the first reception.
        with office.open_judge(state.config()):
            pass
    with office.open_exchange(state, name, progress=NoProgress()) as exchange:
        yield Worker(
            exchange,
            folder=folder,
            open_judge=(lambda: office.open_judge(state.config())) if verified else None,
            options=WorkerOptions(poll_s=poll, receive_every_s=interval),
            stop=stop,
        )


def _run_once(state: CLIState, workers: list[Worker], form: str) -> ExitCode:
    codes: set[ExitCode] = {ExitCode.DONE}
    rounds = [item.run_once() for item in workers]
    for done in rounds:
        _tell(state, done, form)
        codes |= _codes(done)
    if form == "text" and all(done.is_empty for done in rounds):
        click.echo(state.text("exchange.nothing-due"), err=True)
    return office.gravest(codes)


def _run(state: CLIState, workers: list[Worker], form: str) -> None:
    lock = threading.Lock()

    def tell(done: Round) -> None:
        with lock:
            _tell(state, done, form)

    # Each connection by itself: a long transfer on one does not keep the others waiting.
    threads = [
        threading.Thread(target=item.run, args=(tell,), name=f"vnedoc-worker-{number}", daemon=True)
        for number, item in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            # With a limit: a signal is seen between two waits on every system.
            thread.join(0.5)


def _codes(done: Round) -> set[ExitCode]:
    from vnedoc._cli.exchange import reception_code

    codes = {error.exit_code for _, error in done.delivered if error is not None}
    if done.error is not None:
        codes.add(done.error.exit_code)
    return codes | {reception_code(list(done.received))}


def _tell(state: CLIState, done: Round, form: str) -> None:
    if done.is_empty:
        return
    if form == "json":
        document = {
            "schema": "vnedoc.round/1",
            "delivered": [
                {"message": view.sent_plain(message), "error": _error(state, error)}
                for message, error in done.delivered
            ],
            "received": view.received_plain(done.received, state),
            "error": _error(state, done.error),
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for message, error in done.delivered:
        view.show_results([view.plain(message)], "text", state)
        if error is not None:
            office.complain(state, error)
            office.say_if_parked(state, message)
    if done.received:
        view.show_received(done.received, "text", state)
    if done.error is not None:
        office.complain(state, done.error)


def _error(state: CLIState, error: VnedocError | None) -> dict[str, str] | None:
    return None if error is None else {"id": error.code, "text": error.text(state.language)}
