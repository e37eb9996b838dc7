"""The hub that the commands of ``vnedoc hub`` work on, and who works on it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import format_option
from vnedoc.errors import ConfigurationError, CredentialError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.hub.administration import Administration
    from vnedoc.exchange.stores.hub import HubStore

__all__ = [
    "PLACE_KEY",
    "HubPlace",
    "actor",
    "administration",
    "format_option",
    "hub_place",
    "opened_hub",
    "say",
]

PLACE_KEY = "vnedoc.hub.place"
"""Where the group keeps what its options say of where the hub is."""


@dataclasses.dataclass(frozen=True, slots=True)
class HubPlace:
    """Where a hub is."""

    folder: Path | None = None
    """Where all is that is not elsewhere."""
    database: str | None = dataclasses.field(default=None, repr=False)
    """A database URL; ``None``: a SQLite file in the folder."""
    payloads: str | None = None
    """A folder for the packages, or the address of an object store; ``None``: in the folder."""
    key_file: Path | None = None
    """The key that seals secrets; ``None``: in the folder."""


def hub_place() -> HubPlace:
    """Return where the hub is: what the options say, then the section ``[hub]`` of the settings."""
    given = click.get_current_context().meta[PLACE_KEY]
    assert isinstance(given, HubPlace)
    config = _state().config().hub
    payloads = given.payloads or config.payloads
    # A mistyped address would be a folder of that name.
    if payloads is not None and "://" in payloads and not payloads.startswith("s3://"):
        raise ConfigurationError("hub.unknown-payloads", value=payloads.partition("://")[0])
    return HubPlace(
        given.folder or config.data or Path("hub"),
        given.database or config.database,
        payloads,
        config.key_file,
    )


def say(message_id: str, /, **values: object) -> None:
    """Tell whoever runs the command what was done; results go elsewhere."""
    click.echo(_state().text(message_id, **values), err=True)


def _state() -> CLIState:
    from vnedoc._cli.main import CLIState

    state = click.get_current_context().find_object(CLIState)
    assert state is not None
    return state


@contextlib.contextmanager
def opened_hub(*, make: bool = False) -> Iterator[HubStore]:
    """Open the hub.

    Args:
        make: Whether its tables and its key are made where there are none.

    Raises:
        ConfigurationError: There is no hub, and none is to be made.
        CredentialError: Its key is missing, wrong, or others can read it.
        InputError: The database cannot be opened.
        RemoteError: The database server does not answer.
    """
    from vnedoc.exchange.stores.hub import HubStore

    place = hub_place()
    folder = place.folder or Path("hub")
    if not make:
        _check_is_there(place, folder)
    store = HubStore.open(folder, url=place.database, payloads=place.payloads, key_file=place.key_file)
    try:
        yield store
    finally:
        store.close()


def _check_is_there(place: HubPlace, folder: Path) -> None:
    """Refuse what opening a hub would make: its tables in a database that was meant otherwise, and a new key."""
    from vnedoc.exchange.hub.sealing import KEY_FILE_NAME, load_key
    from vnedoc.exchange.stores.hub import DATABASE_NAME
    from vnedoc.exchange.stores.hub_presence import check_hub_is_there

    if place.database is None and not (folder / DATABASE_NAME).is_file():
        raise ConfigurationError("hub.no-hub", folder=folder)
    check_hub_is_there(place.database or f"sqlite:///{(folder / DATABASE_NAME).absolute()}")
    key_file = place.key_file or folder / KEY_FILE_NAME
    if load_key(key_file) is None:
        raise CredentialError("hub.missing-key", path=key_file)


@contextlib.contextmanager
def administration() -> Iterator[Administration]:
    """Open the hub in the folder for changes in the name of whoever runs the command."""
    with opened_hub() as store:
        from vnedoc.exchange.hub.administration import Administration

        yield Administration(store, actor=actor())


def actor() -> str:
    """Return who runs the command, for the audit log: the account that runs it, and who sudo says is behind it.

    Variables such as LOGNAME are not asked: everybody may set them.
    """
    account = _account()
    behind = _sudo_user()
    return f"local:{account}" if behind is None else f"local:{account} (sudo {behind})"


def _account() -> str:
    if not hasattr(os, "getuid"):
        try:
            return os.getlogin()
        except OSError:
            return "?"
    # In a container the number may have no name.
    return _name_of(os.getuid()) or str(os.getuid())


def _sudo_user() -> str | None:
    """Return who called sudo, by its own word; ``None`` if it says nothing, or a name and a number that differ."""
    name, number = os.environ.get("SUDO_USER"), os.environ.get("SUDO_UID", "")
    if not name or not hasattr(os, "getuid") or not (number.isascii() and number.isdigit()):
        return None
    # An account may have several names; sudo tells one of them.
    return name if _uid_of(name) == int(number) != os.getuid() else None


def _name_of(uid: int) -> str | None:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _uid_of(name: str) -> int | None:
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None
