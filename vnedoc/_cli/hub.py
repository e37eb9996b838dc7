"""``vnedoc hub``: run an exchange hub of one's own, and say who may use it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._figures import row
from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._hub_folder import PLACE_KEY, HubPlace, hub_place, opened_hub
from vnedoc._cli.hub_keep import prune
from vnedoc._cli.hub_key import key
from vnedoc._cli.hub_people import audit, token, user
from vnedoc._cli.hub_serve import serve
from vnedoc._cli.hub_systems import agency, system
from vnedoc.errors import ExitCode

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState

__all__ = ["hub"]


@click.group(short_help="Run an exchange hub.")
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="VNEDOC_HUB_DATA",
    metavar="DIR",
    help="Where the hub lives (default: hub).",
)
@click.option(
    "--database",
    envvar="VNEDOC_HUB_DATABASE",
    metavar="URL",
    help="Database, such as postgresql://vnedoc@db.internal/hub (default: a SQLite file in DIR).",
)
@click.option(
    "--payloads",
    envvar="VNEDOC_HUB_PAYLOADS",
    metavar="FOLDER|s3://…",
    help="Where packages are kept (default: in DIR).",
)
@click.pass_context
def hub(ctx: click.Context, *, folder: Path | None, database: str | None, payloads: str | None) -> None:
    """Run an exchange hub that speaks the APIs of the axes.

    What no option says is taken from the section [hub] of the settings. A password for the database belongs in the
    environment (PGPASSWORD, PGPASSFILE), not in the URL on a command line.

    Only “init” and “serve” make tables and a key; every other command wants a hub that is there.
    """
    ctx.meta[PLACE_KEY] = HubPlace(folder, database, payloads)


@hub.command(short_help="Make a hub.")
@click.pass_obj
def init(state: CLIState) -> int:
    """Make a hub, or leave the one that is there as it is.

    \b
    Exit codes: 0 ready · 4 the folder or the database cannot be written to · 5 wrong settings, or not its key ·
    6 the database does not answer.
    """
    with opened_hub(make=True):
        click.echo(state.text("hub.ready", folder=hub_place().folder), err=True)
    return ExitCode.DONE


@hub.command(short_help="Count what the hub holds.")
@format_option
@click.pass_obj
def stats(state: CLIState, *, form: str) -> int:
    """Count what the hub holds.

    \b
    Exit codes: 0 shown · 4 the database cannot be read · 5 there is no hub · 6 the database does not answer.
    """
    with opened_hub() as store:
        counted = dataclasses.asdict(store.stats())
    if form == "json":
        echo_document("vnedoc.hub-stats/1", **counted)
    else:
        deliveries = counted.pop("deliveries")
        for name, count in counted.items():
            row(state.text(f"hub.stats-{name.replace('_', '-')}"), f"{state.number(count):>16}")
        for word, count in deliveries.items():
            status = state.text(f"console.status-{word}")
            row(state.text("hub.stats-deliveries", status=status), f"{state.number(count):>16}")
    return ExitCode.DONE


for command in (serve, system, agency, user, token, audit, key, prune):
    hub.add_command(command)
