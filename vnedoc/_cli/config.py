"""``vnedoc config``: what the settings say, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc.errors import ConfigurationError, ExitCode, VnedocError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.config import Config

__all__ = ["config"]

_HIDDEN = "***"
# Settings name where secrets are and never hold them; these are the places where people put them all the same.
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^@\s]*(?=@)")
_SECRET_KEY = re.compile(r"(secret|password|token|key|pin)$", re.IGNORECASE)


@click.group(short_help="Show and check the settings.")
def config() -> None:
    """Show the settings as they are understood, or check them; nothing goes to the network."""


@config.command(short_help="Show the settings.")
@format_option
@click.pass_obj
def show(state: CLIState, *, form: str) -> int:
    """Show the settings as they are understood, defaults included; never a secret.

    \b
    Exit codes: 0 shown · 5 the settings are unreadable or wrong.
    """
    plain = _plain(dataclasses.asdict(state.config()))
    if form == "json":
        echo_document("vnedoc.config/1", settings=plain)
    else:
        for line in _lines(plain, ""):
            click.echo(line)
    return ExitCode.DONE


@config.command(short_help="Check the settings.")
@format_option
@click.pass_obj
def check(state: CLIState, *, form: str) -> int:
    """Check that what the settings name is there and fits together.

    Every connection could be opened and has its secrets, trust and directory can be read, and a hub could be served:
    its values make sense, and its TLS files can be used. All that is wrong is said at once; an unknown key, or a
    value of the wrong kind, is said first and alone.

    \b
    Exit codes: 0 nothing is wrong · 5 something is.
    """
    # The hub and the rest of the settings may name the same file.
    found = list({(error.code, error.text()): error for error in _faults(state.config())}.values())
    if form == "json":
        faults = [
            {"id": error.code, "text": error.text(state.language), "hint": error.hint(state.language)}
            for error in found
        ]
        path = state.config().path
        echo_document("vnedoc.config-check/1", path=None if path is None else str(path), faults=faults)
    else:
        for error in found:
            click.echo(error.text(state.language))
            hint = error.hint(state.language)
            if hint:
                click.echo(f"  {hint}")
        if not found:
            click.echo(state.text("config.fine", count=len(state.config().connections)))
    return ExitCode.CONFIGURATION if found else ExitCode.DONE


def _faults(settings: Config) -> Iterator[VnedocError]:
    from vnedoc.agencies import load_directory
    from vnedoc.exchange.connectors import check_connection
    from vnedoc.exchange.hub.configuration import hub_faults
    from vnedoc.sign.trust import load_trust

    if settings.connections and settings.agency is None:
        yield ConfigurationError("exchange.no-agency")
    for name, connection in settings.connections.items():
        yield from check_connection(connection, name=name)
    yield from hub_faults(settings)
    try:
        if settings.trust:
            load_trust(*settings.trust)
    except VnedocError as error:
        yield error
    try:
        if settings.directory is not None:
            load_directory(settings.directory)
    except VnedocError as error:
        yield error


def _plain(value: object, key: str = "") -> object:
    """Return a value as JSON can hold it, with nothing in it that looks like a secret."""
    if isinstance(value, dict):
        return {str(name): _plain(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, key) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        if _SECRET_KEY.search(key) and key != "client_key":
            return _HIDDEN
        return _PASSWORD_IN_URL.sub(rf"\1:{_HIDDEN}", value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _lines(value: object, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _lines(item, f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for item in value:
            yield f"{where} = {item}"
    elif value is not None:
        yield f"{where} = {value}"
