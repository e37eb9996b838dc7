"""``vnedoc hub key``: the key that seals the secrets of systems."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from vnedoc._cli._figures import sentence
from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._hub_folder import actor, opened_hub
from vnedoc.errors import ExitCode

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.hub.audit import By

__all__ = ["key"]


@click.group(short_help="The key that seals the secrets of systems.")
def key() -> None:
    """The key that seals the secrets of systems; it is never shown, only its id."""


@key.command(short_help="Show which keys there are.")
@format_option
@click.pass_obj
def show(state: CLIState, *, form: str) -> int:
    """Show which keys there are, which of them seals, and how many secrets each has sealed.

    \b
    Exit codes: 0 shown · 5 there is no hub, or not its key.
    """
    from vnedoc.exchange.stores.hub_keys import HubKeys

    with opened_hub() as store:
        found = HubKeys(store).state()
    if form == "json":
        echo_document("vnedoc.hub-key/1", **dataclasses.asdict(found))
    else:
        for key_id in found.known:
            seals = state.text("hub.key-seals") if key_id == found.current else ""
            click.echo(f"{key_id}  {found.secrets.get(key_id, 0):>6}  {seals}".rstrip())
    return ExitCode.DONE


@key.command(short_help="Add a key that opens, and does not seal yet.")
@click.pass_obj
def add(state: CLIState) -> int:
    """Add a new key to the key file; it opens from now on, and seals after “vnedoc hub key rotate”.

    Only a hub on several machines needs this: bring the file to all of them before the rotation.

    \b
    Exit codes: 0 added · 2 the key is in a variable · 5 there is no hub, or the file cannot be written.
    """
    from vnedoc.exchange.stores.hub_keys import HubKeys

    with opened_hub() as store:
        key_id = HubKeys(store).add(by=_by())
    sentence(state.text("hub.key-added", key=key_id))
    return ExitCode.DONE


@key.command(short_help="Seal all secrets with a new key.")
@click.option(
    "--keep-old", is_flag=True, help="Leave the old key in the file, until all machines have the new one."
)
@click.option(
    "--one-machine",
    is_flag=True,
    help="No other machine has processes of this hub: a key is made here, though the database is on a server.",
)
@format_option
@click.pass_obj
def rotate(state: CLIState, *, keep_old: bool, one_machine: bool, form: str) -> int:
    """Seal all secrets of systems with a new key, and take the old one out of the key file.

    All is sealed anew in one transaction; a hub may run meanwhile and goes on. A rotation that was broken off is
    brought to its end by the next. Keep the old key as long as copies of the database from before: they need it.

    With several machines: “vnedoc hub key add”, bring the file to all of them, “vnedoc hub key rotate”, and bring it
    to all of them again. Where the key is in VNEDOC_HUB_KEY, put the new one behind the old one, separated by a
    blank, and start all processes anew; rotate; then leave the old one out.

    \b
    Exit codes: 0 done · 2 the new key must be made elsewhere first · 5 there is no hub, the key file cannot be
    written, or something cannot be opened · 6 the database does not answer.
    """
    from vnedoc.exchange.stores.hub_keys import HubKeys

    with opened_hub() as store:
        done = HubKeys(store).rotate(by=_by(), keep_old=keep_old, on_one_machine=one_machine)
    if form == "json":
        echo_document("vnedoc.hub-key-rotation/1", **dataclasses.asdict(done))
    else:
        sentence(state.text("hub.key-rotated", key=done.now, count=done.secrets))
        others = [key_id for key_id in done.known if key_id != done.now]
        if others:
            sentence(state.text("hub.key-others", keys=", ".join(others)))
    return ExitCode.DONE


def _by() -> By:
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange.hub.audit import By

    return By(actor(), utc_now())
