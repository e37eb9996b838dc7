"""``vnedoc hub``: run an exchange hub of one's own, and say who may use it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc.errors import ConfigurationError, CredentialError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["hub"]

MIN_SECRET_CHARS = 16
_SYSTEM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group(short_help="Run an exchange hub.")
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("hub"),
    show_default=True,
    envvar="VNEDOC_HUB_DATA",
    metavar="DIR",
    help="Where the hub lives.",
)
@click.pass_context
def hub(ctx: click.Context, *, folder: Path) -> None:
    """Run an exchange hub that speaks the API of the national axis (VXP)."""
    ctx.meta["vnedoc.hub.folder"] = folder


@hub.command(short_help="Make a hub.")
@click.pass_obj
def init(state: CLIState) -> int:
    """Make a hub, or leave the one that is there as it is.

    \b
    Exit codes: 0 ready · 4 the folder cannot be written to.
    """
    with _opened(make=True):
        click.echo(state.text("hub.ready", folder=_folder()), err=True)
    return ExitCode.DONE


@hub.command(short_help="Answer requests.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8280, show_default=True)
@click.option(
    "--max-package-mb",
    type=click.IntRange(1, 4096),
    default=512,
    show_default=True,
    help="The largest package that is taken, in MiB.",
)
@click.pass_obj
def serve(state: CLIState, *, host: str, port: int, max_package_mb: int) -> int:
    """Answer requests until it is stopped.

    The wire is HTTP without TLS, as the axis's own network has it; on any other network put a TLS proxy before it.

    \b
    Exit codes: 0 stopped · 5 there is no hub, or the extra “server” is missing.
    """
    from vnedoc.exchange.hub.app import serve as serve_hub
    from vnedoc.exchange.hub.options import HubOptions

    with _opened() as store:
        click.echo(state.text("hub.listening", host=host, port=port), err=True)
        options = HubOptions(max_package_bytes=max_package_mb * 1024 * 1024)
        serve_hub(store, host=host, port=port, options=options)
    return ExitCode.DONE


@hub.group(short_help="Systems that may call the hub.")
def system() -> None:
    """Systems that may call the hub."""


@system.command("add", short_help="Let a system call the hub.")
@click.argument("system_id", metavar="ID")
@click.option("--name", help="What people call it (default: its id).")
@click.option(
    "--secret-env", metavar="NAME", help="Variable with its secret (default: a new secret is made)."
)
@click.pass_obj
def add_system(state: CLIState, *, system_id: str, name: str | None, secret_env: str | None) -> int:
    """Let a system call the hub, and print its secret if a new one was made.

    The hub must know the secret itself to check signatures; it is kept in the hub's data file, which only its owner
    can read.

    \b
    Exit codes: 0 added · 2 not an id · 5 there is no hub, or the system is there already.
    """
    import secrets

    from vnedoc._internal.clock import utc_now

    if not _SYSTEM_ID.fullmatch(system_id):
        raise UsageError("hub.bad-system-id", system_id=system_id)
    if secret_env is None:
        secret = secrets.token_hex(32)
    else:
        secret = os.environ.get(secret_env, "")
        if len(secret) < MIN_SECRET_CHARS:
            raise CredentialError("hub.no-secret", name=secret_env, minimum=MIN_SECRET_CHARS)
    with _opened() as store:
        store.add_system(system_id, name=name or system_id, secret=secret, at=utc_now())
    if secret_env is None:
        click.echo(state.text("hub.secret-shown-once", system_id=system_id), err=True)
        click.echo(secret)
    return ExitCode.DONE


@system.command("list", short_help="Show the systems.")
@_format
def list_systems(*, form: str) -> int:
    """Show the systems; never their secrets.

    \b
    Exit codes: 0 shown · 5 there is no hub.
    """
    with _opened() as store:
        systems = store.systems()
    if form == "json":
        document = {
            "schema": "vnedoc.hub-systems/1",
            "systems": [dataclasses.asdict(item) for item in systems],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        for item in systems:
            click.echo(f"{item.id:<24}  {item.agency_count:>6}  {item.name}"[:80])
    return ExitCode.DONE


@hub.group(short_help="Agencies that the hub delivers to.")
def agency() -> None:
    """Agencies that the hub delivers to."""


@agency.command("import", short_help="Register the agencies of a directory file.")
@click.argument("file", type=click.Path(path_type=Path), metavar="DIRECTORY.json")
@click.option("--system", "system_id", required=True, metavar="ID", help="The system that serves them.")
@click.option(
    "--only", "only", multiple=True, metavar="CODE", help="Register only this one; may be repeated."
)
@click.pass_obj
def import_agencies(state: CLIState, *, file: Path, system_id: str, only: tuple[str, ...]) -> int:
    """Register the agencies of a directory file (vnedoc.directory/1) for a system.

    Entries that are not good for today are left out. An agency that another system served moves to this one.

    \b
    Exit codes: 0 registered · 4 the file cannot be read · 5 no hub, no such system, or not a directory.
    """
    from vnedoc._internal.clock import utc_now, vietnam
    from vnedoc.agencies import load_directory
    from vnedoc.exchange.stores.hub import HubAgency

    directory = load_directory(file)
    today = vietnam(utc_now()).date()
    for code in only:
        directory.resolve(code, at=today)
    found = {
        entry.organ_id: HubAgency(entry.organ_id, entry.name, entry.parent, None, entry.old_code)
        for entry in directory.agencies
        if entry.exists_on(today) and (not only or {entry.organ_id, entry.old_code} & set(only))
    }
    with _opened() as store:
        count = store.register_agencies(system_id, found.values())
    click.echo(state.text("hub.imported", count=count, system_id=system_id), err=True)
    return ExitCode.DONE


@hub.command(short_help="Count what the hub holds.")
@_format
def stats(*, form: str) -> int:
    """Count what the hub holds.

    \b
    Exit codes: 0 shown · 5 there is no hub.
    """
    with _opened() as store:
        counted = dataclasses.asdict(store.stats())
    if form == "json":
        click.echo(json.dumps({"schema": "vnedoc.hub-stats/1", **counted}, indent=2))
    else:
        deliveries = counted.pop("deliveries")
        for name, count in {
            **counted,
            **{f"deliveries {word}": count for word, count in deliveries.items()},
        }.items():
            click.echo(f"{name:<24}  {count:>16}")
    return ExitCode.DONE


def _folder() -> Path:
    folder = click.get_current_context().meta["vnedoc.hub.folder"]
    assert isinstance(folder, Path)
    return folder


@contextlib.contextmanager
def _opened(*, make: bool = False) -> Iterator[HubStore]:
    from vnedoc.exchange.stores.hub import DATABASE_NAME, HubStore

    folder = _folder()
    if not make and not (folder / DATABASE_NAME).is_file():
        raise ConfigurationError("hub.no-hub", folder=folder)
    store = HubStore.open(folder)
    try:
        yield store
    finally:
        store.close()
