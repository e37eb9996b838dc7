"""``vnedoc status``: what became of messages, what is late, how many there are."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

import click

from vnedoc._cli import _exchange_view as view
from vnedoc._cli import _office as office
from vnedoc._cli import _status_view as tables
from vnedoc.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc._cli.main import CLIState
    from vnedoc.config import Config
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["status"]

_STATES = (
    "queued", "sending", "waiting", "sent", "delivered", "failed", "refused", "parked", "expired", "recalled",
    "accepted", "quarantined", "cancelled",
)  # fmt: skip
_day = click.DateTime(formats=["%Y-%m-%d"])


@click.command(short_help="Show what became of messages, what is late, and how many there are.")
@click.argument("message_id", required=False, metavar="[ID]")
@click.option("--history", is_flag=True, help="Show attempts and every status.")
@click.option("--late", is_flag=True, help="Show the deadlines that have passed.")
@click.option(
    "--summary", is_flag=True, help="Show how many were sent and how many received: two countings, never one."
)
@click.option("--state", "wanted", type=click.Choice(_STATES), help="Only messages in this state.")
@click.option("--search", metavar="TEXT", help="Only messages with this text in number, subject or agencies.")
@click.option("--since", type=_day, metavar="YYYY-MM-DD", help="Queued or received on this day or later.")
@click.option("--until", type=_day, metavar="YYYY-MM-DD", help="Queued or received on this day or earlier.")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1000),
    default=50,
    show_default=True,
    help="How many messages of each direction are listed, the newest.",
)
@office.format_option
@click.pass_obj
def status(
    state: CLIState,
    /,
    *,
    message_id: str | None,
    history: bool,
    late: bool,
    summary: bool,
    form: str,
    limit: int,
    **where: object,
) -> int:
    """Show what became of messages, from the store of this machine; days are those of Vietnam.

    Three states are shown and never mixed: what was done here, what the axis says of the package, and what the
    recipient's office reports. Below a message stand the recalls, updates and replacements of it.

    \b
    --late lists what should have been done by now:
      send on the day of signing, at the latest the next working morning; urgent ones at once
      (Decision 28/2018/QĐ-TTg, article 6.2); confirm receipt on the same day (Decree 30/2020/NĐ-CP,
      article 21.2(c)); answer by the date that the sender set.

    \b
    Exit codes: 0 shown; with --late nothing is late · 1 with --late: something is late and still to be done ·
    2 no such message · 5 settings.
    """
    if sum((message_id is not None, late, summary)) > 1:
        raise UsageError("exchange.one-view")
    with office.open_store(state.config()) as store:
        if late:
            return _late(state, store, where, form)
        if summary:
            return _summary(state, store, where, form)
        if message_id is not None:
            sent, received = view.sorted_by_direction(store.find(message_id))
            more = False
        else:
            from vnedoc.exchange.states import DeliveryState
            from vnedoc.exchange.stores.records import MessageFilter

            since, until = _span(where)
            text, chosen = where["search"], where["wanted"]
            wanted = MessageFilter(
                state=None if chosen is None else DeliveryState(str(chosen)),
                since=since,
                until=until,
                text=None if text is None else str(text),
            )
            first, second = (store.page(side, wanted, limit=limit) for side in ("sent", "received"))
            sent, received = view.split(first, second)
            more = first.next is not None or second.next is not None
        orders = store.orders_of([*(item.id for item in sent), *(item.id for item in received)])
    if form == "json":
        document = {
            "schema": "vnedoc.status/1",
            "sent": [view.sent_plain(message) for message in sent],
            "received": [view.plain(message) for message in received],
            "orders": [view.plain(order) for order in orders],
            "more": more,
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        chosen = any(value is not None for value in where.values())
        view.show_status(sent, received, orders, state, history=history, chosen=chosen)
        if more:
            click.echo(state.text("exchange.more", limit=limit), err=True)
    return ExitCode.DONE


def _late(state: CLIState, store: AgencyStore, where: dict[str, object], form: str) -> int:
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange.deadlines import find_late

    since, until = _span(where)
    now = utc_now()
    found = find_late(
        store.sent_facts(since=since, until=until, late_at=now),
        store.received_facts(since=since, until=until, late_at=now),
        now=now,
        rules=office.deadline_rules(state.config()),
    )
    if form == "json":
        document = {
            "schema": "vnedoc.late/1",
            "at": now.isoformat(),
            "deadlines": [view.plain(item) for item in found],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        tables.show_late(found, state)
    return ExitCode.NO if any(item.met_at is None for item in found) else ExitCode.DONE


def _summary(state: CLIState, store: AgencyStore, where: dict[str, object], form: str) -> int:
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange.counters import count_received, count_sent
    from vnedoc.exchange.deadlines import find_late

    since, until = _span(where)
    now = utc_now()
    late = find_late(
        store.sent_facts(since=since, until=until, late_at=now),
        store.received_facts(since=since, until=until, late_at=now),
        now=now,
        rules=office.deadline_rules(state.config()),
    )
    level_of = _level_of(state.config())
    sent = store.sent_tallies(since=since, until=until)
    received = store.received_tallies(since=since, until=until)
    outgoing = count_sent(sent, late=late, level_of=level_of)
    incoming = count_received(received, late=late, level_of=level_of)
    if form == "json":
        document = {
            "schema": "vnedoc.summary/1",
            "since": None if since is None else since.isoformat(),
            "until": None if until is None else until.isoformat(),
            "sent": view.plain(outgoing),
            "received": view.plain(incoming),
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        tables.show_summary(outgoing, incoming, state)
    return ExitCode.DONE


def _level_of(config: Config) -> Callable[[str, str], str]:
    """Return what tells the level of an agency: the directory of the settings, else its name and code."""
    import functools

    from vnedoc.agencies import load_directory
    from vnedoc.agencies.imports import told_level
    from vnedoc.exchange.counters import UNKNOWN_LEVEL

    directory = None if config.directory is None else load_directory(config.directory)

    @functools.cache
    def level_of(code: str, name: str) -> str:
        entries = () if directory is None else directory.entries(code)
        known = next((entry.level for entry in reversed(entries) if entry.level is not None), None)
        level = known or told_level(code, name)
        return UNKNOWN_LEVEL if level is None else level.value

    return level_of


def _span(where: dict[str, object]) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """Return the days of the options as times: from the beginning of the first to the end of the last."""
    from vnedoc._internal.clock import VIETNAM

    def moment(value: object, *, days: int) -> datetime.datetime | None:
        if not isinstance(value, datetime.datetime):
            return None
        return (value + datetime.timedelta(days=days)).replace(tzinfo=VIETNAM).astimezone(datetime.UTC)

    return moment(where["since"], days=0), moment(where["until"], days=1)
