"""Open what the commands of the exchange work with: store, connection, judge, calendar, as the settings say."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import format_option
from vnedoc.errors import ConfigurationError, ExitCode, VnedocError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vnedoc._cli.main import CLIState
    from vnedoc.config import AgencyConfig, Config
    from vnedoc.exchange.deadlines import DeadlineRules
    from vnedoc.exchange.headers import Organization
    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.service import Exchange, Progress
    from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = [
    "at_work",
    "complain",
    "deadline_rules",
    "format_option",
    "gravest",
    "open_exchange",
    "open_judge",
    "open_store",
    "open_way_of",
    "organization_of",
    "say_if_parked",
    "via_option",
]

_GRAVEST_FIRST = (
    ExitCode.BUG,
    ExitCode.NO,
    ExitCode.CANNOT_TELL,
    ExitCode.UNREADABLE,
    ExitCode.CONFIGURATION,
    ExitCode.USAGE,
    ExitCode.REFUSED,
    ExitCode.REMOTE,
    ExitCode.DONE,
)

via_option = click.option("--via", metavar="NAME", help="Connection of the settings (default: the first).")


def gravest(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the code with which a command ends that did many things."""
    found = set(codes)
    return next((code for code in _GRAVEST_FIRST if code in found), ExitCode.DONE)


@contextlib.contextmanager
def open_store(config: Config) -> Iterator[AgencyStore]:
    """Open the store of the settings."""
    from vnedoc.exchange.stores.store import AgencyStore

    if config.store is None:
        raise ConfigurationError("exchange.no-store")
    store = AgencyStore.open(config.store.url, config.store.place)
    try:
        yield store
    finally:
        store.close()


def organization_of(agency: AgencyConfig) -> Organization:
    """Return our own agency as packages name it."""
    from vnedoc.exchange.models import Organization

    return Organization(
        agency.organ_id,
        agency.organ_name,
        agency.organization_in_charge,
        agency.organ_add,
        agency.email,
        agency.telephone,
    )


@contextlib.contextmanager
def open_exchange(
    state: CLIState, via: str | None, *, store: AgencyStore | None = None, progress: Progress | None = None
) -> Iterator[Exchange]:
    """Open the exchange that the settings describe.

    Args:
        state: The global options.
        via: The connection; ``None`` for the first.
        store: A store that is open already.
        progress: Shows transfers; ``None`` shows them on a terminal.
    """
    import datetime

    from vnedoc._cli._connections import open_connection
    from vnedoc._cli._transfers import terminal_progress
    from vnedoc.exchange.service import Exchange, ExchangeOptions

    config = state.config()
    agency, chosen = config.agency, config.exchange
    if agency is None:
        raise ConfigurationError("exchange.no-agency")
    options = ExchangeOptions(
        answer_quarantined=chosen.answer_quarantined,
        apply_recalls=chosen.apply_recalls,
        apply_take_backs=chosen.apply_take_backs,
        apply_updates=chosen.apply_updates,
        expires_after=datetime.timedelta(hours=chosen.expires_after_hours),
    )
    with contextlib.ExitStack() as stack:
        connector = stack.enter_context(open_connection(state, via))
        opened = stack.enter_context(open_store(config)) if store is None else store
        yield Exchange(
            connector,
            opened,
            organization=organization_of(agency),
            also=agency.also,
            options=options,
            progress=progress or stack.enter_context(terminal_progress(state)),
        )


@contextlib.contextmanager
def open_way_of(
    state: CLIState, message_id: str, via: str | None
) -> Iterator[tuple[SentMessage | ReceivedMessage, Exchange]]:
    """Open the connection that a message went or came by, or another one if it is named."""
    with open_store(state.config()) as store:
        found = store.find(message_id)
        with open_exchange(state, via or found.connection, store=store) as exchange:
            yield found, exchange


@contextlib.contextmanager
def open_judge(config: Config) -> Iterator[Judge]:
    """Open what judges packages that come in: trust anchors, directory, revocation data."""
    from vnedoc.agencies import load_directory
    from vnedoc.exchange.judgement import judge_package
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import load_trust

    if not config.trust or config.directory is None:
        raise ConfigurationError("exchange.no-trust")
    trust, directory = load_trust(*config.trust), load_directory(config.directory)
    with RevocationSource(allowed_hosts=config.verification.allowed_hosts) as revocation:
        yield lambda package: judge_package(package, trust=trust, directory=directory, revocation=revocation)


def deadline_rules(config: Config) -> DeadlineRules:
    """Return what deadlines go by: the calendar of the settings, or the public one."""
    import datetime

    from vnedoc.exchange.deadlines import DeadlineRules, WorkingCalendar, load_calendar

    calendar = WorkingCalendar() if config.calendar is None else load_calendar(config.calendar)
    grace = datetime.timedelta(minutes=config.exchange.urgent_grace_minutes)
    return DeadlineRules(calendar=calendar, urgent_grace=grace)


@contextlib.contextmanager
def at_work(state: CLIState, names: Iterable[str]) -> Iterator[threading.Event]:
    """Say for which connections something goes on, and give an event that is set when it is to stop."""
    from vnedoc._cli._stopping import stop_on_signals

    def announce() -> None:
        _say_quietly(state, "exchange.stopping")

    with stop_on_signals(announce) as stop:
        _say_quietly(state, "exchange.working", names=", ".join(names))
        yield stop


def _say_quietly(state: CLIState, message_id: str, **values: object) -> None:
    if state.verbosity >= 0:
        click.echo(state.text(message_id, **values), err=True)


def say_if_parked(state: CLIState, message: SentMessage | ReceivedMessage) -> None:
    """Say what to do about a message that is not tried any more because of a fault on our side."""
    from vnedoc.exchange.states import DeliveryState
    from vnedoc.exchange.stores.records import SentMessage

    if isinstance(message, SentMessage) and any(
        item.delivery is DeliveryState.PARKED for item in message.consignments
    ):
        click.echo("  " + state.text("exchange.mend-and-retry", id=message.id), err=True)


def complain(state: CLIState, error: VnedocError, path: Path | None = None) -> None:
    """Say what is wrong with one of many; for what is kept, first say why it could not be sent."""
    prefix = "" if path is None else f"{path.name}: "
    if isinstance(error.__cause__, VnedocError) and error.code == "exchange.kept":
        click.echo(f"{prefix}{error.__cause__.text(state.language)}", err=True)
    click.echo(f"{prefix}{error.text(state.language)}", err=True)
    hint = error.hint(state.language)
    if hint:
        click.echo(f"  {hint}", err=True)
