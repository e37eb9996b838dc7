"""``vnedoc hub user``, ``token`` and ``audit``: who may look at a hub and run it, and what they did."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import echo_document, echo_line, format_option
from vnedoc._cli._hub_folder import actor, opened_hub, say
from vnedoc._cli.secrets import Again, read_secret
from vnedoc.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.hub.accounts import Accounts

__all__ = ["audit", "token", "user"]

# As in vnedoc.exchange.hub.accounts, which is loaded only when a command runs.
_ROLES = click.Choice(["viewer", "operator", "admin"])
MAX_TOKEN_DAYS = 3660
_role = click.option("--role", type=_ROLES, required=True, help="What it may do.")


def _password_options(command: Callable[..., object]) -> Callable[..., object]:
    command = click.option("--password-env", metavar="NAME", help="Variable that holds the password.")(
        command
    )
    return click.option("--password-fd", type=int, metavar="N", help="File descriptor to read it from.")(
        command
    )


@click.group(short_help="People who look at the hub or run it.")
def user() -> None:
    """People who look at the hub (viewer), try deliveries again (operator), or change everything (admin)."""


@user.command("add", short_help="Add a person.")
@click.argument("name")
@_role
@_password_options
@click.pass_obj
def add_user(
    state: CLIState, *, name: str, role: str, password_env: str | None, password_fd: int | None
) -> int:
    """Add a person with a password of at least 12 characters, which is asked for.

    \b
    Exit codes: 0 added · 2 the name or the password will not do, or the name is taken · 5 no hub, or no password.
    """
    from vnedoc.exchange.hub.accounts import Role

    with _accounts() as accounts:
        password = _read_password(state, name, password_env, password_fd)
        accounts.add_user(name, password, Role(role))
    say("hub.user-added", name=name, role=role)
    return ExitCode.DONE


@user.command("list", short_help="Show the people.")
@format_option
def list_users(*, form: str) -> int:
    """Show the people; never what their passwords are checked against.

    \b
    Exit codes: 0 shown · 5 there is no hub.
    """
    with _accounts() as accounts:
        users = accounts.users()
    if form == "json":
        items = [
            {
                "name": item.name,
                "role": item.role,
                "created_at": item.created_at,
                "locked_until": item.locked_until,
            }
            for item in users
        ]
        echo_document("vnedoc.hub-users/1", users=items)
    else:
        for item in users:
            click.echo(f"{item.name:<32}  {item.role}")
    return ExitCode.DONE


@user.command("remove", short_help="Remove a person.")
@click.argument("name")
def remove_user(*, name: str) -> int:
    """Remove a person; whoever is logged in under the name is logged out.

    \b
    Exit codes: 0 removed · 5 there is no hub, or no such person.
    """
    with _accounts() as accounts:
        accounts.remove_user(name)
    say("hub.user-removed", name=name)
    return ExitCode.DONE


@user.command("password", short_help="Give a person a new password.")
@click.argument("name")
@_password_options
@click.pass_obj
def set_password(state: CLIState, *, name: str, password_env: str | None, password_fd: int | None) -> int:
    """Give a person a new password, which is asked for; ends a lock, and logs them out.

    \b
    Exit codes: 0 done · 2 the password will not do · 5 there is no hub, or no such person.
    """
    with _accounts() as accounts:
        accounts.set_password(name, _read_password(state, name, password_env, password_fd))
    say("hub.password-set", name=name)
    return ExitCode.DONE


@user.command("role", short_help="Give a person another role.")
@click.argument("name")
@click.argument("role", type=_ROLES)
def set_role(*, name: str, role: str) -> int:
    """Give a person another role; logs them out.

    \b
    Exit codes: 0 done · 5 there is no hub, or no such person.
    """
    from vnedoc.exchange.hub.accounts import Role

    with _accounts() as accounts:
        accounts.set_role(name, Role(role))
    say("hub.role-set", name=name, role=role)
    return ExitCode.DONE


@click.group(short_help="Tokens of programs that call the administration API.")
def token() -> None:
    """Tokens of programs that call the administration API."""


@token.command("add", short_help="Make a token.")
@click.argument("label")
@_role
@click.option(
    "--days", type=click.IntRange(1, MAX_TOKEN_DAYS), help="How long it is good for (default: until removed)."
)
@click.pass_obj
def add_token(state: CLIState, *, label: str, role: str, days: int | None) -> int:
    """Make a token for a program and print it, this once; LABEL says what it is for.

    \b
    Exit codes: 0 made · 5 there is no hub.
    """
    from vnedoc.exchange.hub.accounts import Role

    with _accounts() as accounts:
        lasts = None if days is None else datetime.timedelta(days=days)
        token_id, secret = accounts.add_token(label, Role(role), lasts=lasts)
    click.echo(state.text("hub.token-shown-once", id=token_id), err=True)
    click.echo(secret)
    return ExitCode.DONE


@token.command("list", short_help="Show the tokens.")
@format_option
def list_tokens(*, form: str) -> int:
    """Show the tokens by their ids; never the tokens themselves.

    \b
    Exit codes: 0 shown · 5 there is no hub.
    """
    with _accounts() as accounts:
        tokens = accounts.tokens()
    if form == "json":
        items = [dataclasses.asdict(item) for item in tokens]
        echo_document("vnedoc.hub-tokens/1", tokens=items)
    else:
        for item in tokens:
            until = "-" if item.expires_at is None else item.expires_at.date().isoformat()
            click.echo(f"{item.id:<10}  {item.role:<8}  {until:<10}  {item.label}")
    return ExitCode.DONE


@token.command("remove", short_help="Remove a token.")
@click.argument("token_id", metavar="ID")
def remove_token(*, token_id: str) -> int:
    """Remove a token; it is no good any more from now on.

    \b
    Exit codes: 0 removed · 5 there is no hub, or no such token.
    """
    with _accounts() as accounts:
        accounts.remove_token(token_id)
    say("hub.token-removed", id=token_id)
    return ExitCode.DONE


@click.command(short_help="Show who changed what at the hub.")
@click.option("--since", metavar="TIME", help="Only what was done at this time or later (ISO 8601).")
@click.option("--check", is_flag=True, help="Check that nothing was changed in the log, and print its end.")
@click.option(
    "--head", metavar="NUMBER:HASH", help="An end that an earlier check printed; it must be there still."
)
@format_option
@click.pass_obj
def audit(state: CLIState, *, since: str | None, check: bool, head: str | None, form: str) -> int:
    """Show who changed what at the hub: systems, agencies, people, tokens, deliveries tried again.

    Each entry carries the hash of the one before it, so that --check finds what was altered or taken out. Whoever
    may write to the database could make a new chain: write the end that --check prints down elsewhere, and give it
    as --head the next time.

    \b
    Exit codes: 0 shown, or the log is whole · 1 the log was changed · 2 not a time or an end · 5 there is no hub.
    """
    from vnedoc._internal.clock import parse_time, vietnam
    from vnedoc.exchange.hub.audit import AuditHead
    from vnedoc.exchange.stores.hub_audit import HubAudit

    known = None if head is None else AuditHead.parse(head)
    moment = None if since is None else parse_time(since)
    with opened_hub() as store:
        log = HubAudit(store.database)
        if check or known is not None:
            found = log.check(known_head=known)
            if form == "json":
                plain = dataclasses.asdict(found) | {"head": str(found.head), "is_whole": found.is_whole}
                echo_document("vnedoc.hub-audit-check/1", **plain)
            else:
                click.echo(str(found.head))
            code = "hub.audit-whole" if found.is_whole else "hub.audit-broken"
            click.echo(state.text(code, count=found.head.number), err=True)
            for number in found.wrong:
                click.echo(state.text("hub.audit-wrong-entry", number=number), err=True)
            return ExitCode.DONE if found.is_whole else ExitCode.NO
        after = 0
        while page := log.entries(since=moment, after=after):
            for entry in page:
                if form == "json":
                    echo_line(dataclasses.asdict(entry))
                    continue
                at = vietnam(entry.at).isoformat(sep=" ", timespec="seconds")
                detail = json.dumps(dict(entry.detail), ensure_ascii=False)
                click.echo(
                    f"{entry.number:>6}  {at}  {entry.actor}  {entry.action}  {entry.subject}  {detail}"
                )
            after = page[-1].number
    return ExitCode.DONE


@contextlib.contextmanager
def _accounts() -> Iterator[Accounts]:
    with opened_hub() as store:
        from vnedoc.exchange.hub.accounts import Accounts

        yield Accounts(store, actor=actor())


def _read_password(state: CLIState, name: str, env: str | None, fd: int | None) -> str:
    prompt = state.text("hub.password-prompt", name=name)
    return read_secret(prompt, env=env, fd=fd, option="--password", again=Again.told_by(state))
