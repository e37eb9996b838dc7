"""``vnedoc hub system`` and ``vnedoc hub agency``: who may call a hub, and for whom."""

from __future__ import annotations

import dataclasses
import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._hub_folder import administration, say
from vnedoc.errors import CredentialError, ExitCode, UsageError

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.stores.hub_administration import NewSecret, SystemRecord

__all__ = ["agency", "system"]

MAX_OVERLAP_HOURS = 90 * 24

_secret_env = click.option(
    "--secret-env",
    metavar="NAME",
    help="Variable with its secret, 65 to 256 characters (default: a new secret is made).",
)


@click.group(short_help="Systems that may call the hub.")
def system() -> None:
    """Systems that may call the hub."""


@system.command("add", short_help="Let a system call the hub.")
@click.argument("system_id", metavar="ID")
@click.option("--name", help="What people call it (default: its id).")
@_secret_env
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    help="A network it may call from; may be repeated (default: any).",
)
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    metavar="SHA256",
    help="A client certificate it may show; may be repeated (default: it needs none).",
)
@click.pass_obj
def add_system(
    state: CLIState,
    *,
    system_id: str,
    name: str | None,
    secret_env: str | None,
    networks: tuple[str, ...],
    certificates: tuple[str, ...],
) -> int:
    """Let a system call the hub, and print its secret if a new one was made.

    Of a secret, made here or brought along, the hub keeps only the SHA-256, sealed with the hub's key (hub.key, or
    VNEDOC_HUB_KEY); it is never shown again.

    \b
    Exit codes: 0 added · 2 not an id, a network or a fingerprint · 5 there is no hub, or the system is there already.
    """
    with administration() as admin:
        _, made = admin.add_system(
            system_id,
            name=name,
            secret=_given_secret(secret_env),
            networks=networks,
            certificates=certificates,
        )
    say("hub.system-added", system_id=system_id)
    if secret_env is None:
        _show_secret(state, system_id, made)
    return ExitCode.DONE


@system.command("list", short_help="Show the systems.")
@format_option
@click.pass_obj
def list_systems(state: CLIState, *, form: str) -> int:
    """Show the systems; never their secrets.

    \b
    Exit codes: 0 shown · 5 there is no hub.
    """
    with administration() as admin:
        systems: list[SystemRecord] = []
        while page := admin.systems(after=systems[-1].id if systems else ""):
            systems += page
    if form == "json":
        echo_document("vnedoc.hub-systems/1", systems=[dataclasses.asdict(item) for item in systems])
    else:
        disabled = state.text("hub.disabled")
        for item in systems:
            note = f"  [{disabled}]" if item.disabled_at is not None else ""
            click.echo(f"{item.id:<24}  {item.agency_count:>6}  {item.name}"[:80] + note)
    return ExitCode.DONE


@system.command("rotate", short_help="Give a system a new secret.")
@click.argument("system_id", metavar="ID")
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, MAX_OVERLAP_HOURS),
    default=24,
    show_default=True,
    help="How long the secret before stays good; 0 ends it at once.",
)
@_secret_env
@click.pass_obj
def rotate_secret(state: CLIState, *, system_id: str, overlap_hours: int, secret_env: str | None) -> int:
    """Give a system a new secret, and print it if it was made here.

    The secret before stays good for a time, so that the system can be changed over without a gap; older ones end
    now. After a leak, take --overlap-hours 0.

    \b
    Exit codes: 0 done · 5 there is no hub, or no such system.
    """
    from vnedoc._internal.clock import vietnam

    with administration() as admin:
        made = admin.rotate_secret(
            system_id,
            secret=_given_secret(secret_env),
            overlap=datetime.timedelta(hours=overlap_hours),
        )
    if made.older_until is not None:
        until = vietnam(made.older_until).isoformat(sep=" ", timespec="minutes")
        click.echo(state.text("hub.older-until", system_id=system_id, until=until), err=True)
    if secret_env is None:
        _show_secret(state, system_id, made)
    return ExitCode.DONE


@system.command("disable", short_help="Let a system call no more.")
@click.argument("system_id", metavar="ID")
def disable_system(*, system_id: str) -> int:
    """Let a system call no more, from now on; its agencies stay, and packages for them wait.

    \b
    Exit codes: 0 done · 5 there is no hub, or no such system.
    """
    with administration() as admin:
        admin.change_system(system_id, disabled=True)
    say("hub.system-disabled", system_id=system_id)
    return ExitCode.DONE


@system.command("enable", short_help="Let a disabled system call again.")
@click.argument("system_id", metavar="ID")
def enable_system(*, system_id: str) -> int:
    """Let a disabled system call again, with the secrets it had.

    \b
    Exit codes: 0 done · 5 there is no hub, or no such system.
    """
    with administration() as admin:
        admin.change_system(system_id, disabled=False)
    say("hub.system-enabled", system_id=system_id)
    return ExitCode.DONE


@system.command("networks", short_help="Say from where a system may call.")
@click.argument("system_id", metavar="ID")
@click.argument("networks", metavar="[CIDR]...", nargs=-1)
@click.option("--any", "anywhere", is_flag=True, help="From anywhere.")
def set_networks(*, system_id: str, networks: tuple[str, ...], anywhere: bool) -> int:
    """Say from which networks a system may call, in place of those before; without any, show them.

    \b
    Exit codes: 0 done · 2 not a network · 5 there is no hub, or no such system.
    """
    if networks and anywhere:
        raise UsageError("hub.networks-or-any")
    with administration() as admin:
        if networks or anywhere:
            admin.change_system(system_id, networks=networks)
            say("hub.networks-set", system_id=system_id, count=len(networks))
        else:
            for network in admin.system(system_id).networks:
                click.echo(network)
    return ExitCode.DONE


@system.command("certificates", short_help="Say which client certificates a system shows.")
@click.argument("system_id", metavar="ID")
@click.argument("certificates", metavar="[SHA256]...", nargs=-1)
@click.option("--none", "needs_none", is_flag=True, help="It needs none.")
def set_certificates(*, system_id: str, certificates: tuple[str, ...], needs_none: bool) -> int:
    """Say which client certificates a system may show, in place of those before; without any, show them.

    A certificate is named by its SHA-256 (openssl x509 -fingerprint -sha256).

    \b
    Exit codes: 0 done · 2 not a fingerprint · 5 there is no hub, or no such system.
    """
    if certificates and needs_none:
        raise UsageError("hub.certificates-or-none")
    with administration() as admin:
        if certificates or needs_none:
            admin.change_system(system_id, certificates=certificates)
            say("hub.certificates-set", system_id=system_id, count=len(certificates))
        else:
            for certificate in admin.system(system_id).certificates:
                click.echo(certificate)
    return ExitCode.DONE


@click.group(short_help="Agencies that the hub delivers to.")
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

    Entries that are not good for today are left out. An agency that another system served moves to this one. An
    agency of this system whose entry has a last day is closed on the day after, with the successor that it names.

    \b
    Exit codes: 0 registered · 2 a code or name will not do · 4 the file cannot be read · 5 no hub, no such system,
    or not a directory.
    """
    from vnedoc.agencies import load_directory

    directory = load_directory(file)
    with administration() as admin:
        done, closed = admin.import_directory(system_id, directory, only=only)
    click.echo(state.text("hub.imported", count=done.count, system_id=system_id), err=True)
    if closed:
        click.echo(state.text("hub.imported-closed", codes=", ".join(closed)), err=True)
    return ExitCode.DONE


@agency.command("close", short_help="Close an agency from a day on.")
@click.argument("code")
@click.option(
    "--on",
    "day",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The first day on which it is no more.",
)
@click.option(
    "--successor", metavar="CODE", help="Who takes over its work; named to those who still send to it."
)
@click.option("--forward", "forwards", is_flag=True, help="Deliver packages for it to the successor.")
def close_agency(*, code: str, day: datetime.datetime, successor: str | None, forwards: bool) -> int:
    """Close an agency from a day on (Vietnam time).

    From that day packages for it are refused with the name of its successor, or delivered to the successor. What
    already waits for it stays with its system.

    \b
    Exit codes: 0 done · 2 it would succeed itself, or nobody is named to deliver to · 5 no hub, or no such agency.
    """
    with administration() as admin:
        admin.close_agency(code, on=day.date(), successor=successor, forwards=forwards)
    say("hub.agency-closed", code=code, day=day.date())
    return ExitCode.DONE


@agency.command("reopen", short_help="Take the closing of an agency back.")
@click.argument("code")
def reopen_agency(*, code: str) -> int:
    """Take the closing of an agency back.

    \b
    Exit codes: 0 done · 5 there is no hub, or no such agency.
    """
    with administration() as admin:
        admin.reopen_agency(code)
    say("hub.agency-reopened", code=code)
    return ExitCode.DONE


@agency.command("remove", short_help="Take an agency off the hub.")
@click.argument("code")
def remove_agency(*, code: str) -> int:
    """Take an agency off the hub that no package was ever for; close any other.

    \b
    Exit codes: 0 done · 1 packages for it are kept, or it succeeds another · 5 there is no hub, or no such agency.
    """
    with administration() as admin:
        admin.remove_agency(code)
    return ExitCode.DONE


def _show_secret(state: CLIState, system_id: str, made: NewSecret) -> None:
    click.echo(state.text("hub.secret-shown-once", system_id=system_id), err=True)
    click.echo(made.secret)


def _given_secret(variable: str | None) -> str | None:
    if variable is None:
        return None
    secret = os.environ.get(variable, "")
    if not secret:
        raise CredentialError("hub.no-secret", name=variable)
    return secret
