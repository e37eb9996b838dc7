"""The hub that the commands of ``vnedoc hub`` work on, and who works on it."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import format_option
from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.exchange.hub.administration import Administration
    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["PLACE_KEY", "HubPlace", "actor", "administration", "format_option", "hub_place", "opened_hub"]

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
    from vnedoc._cli.main import CLIState

    context = click.get_current_context()
    given = context.meta[PLACE_KEY]
    assert isinstance(given, HubPlace)
    state = context.find_object(CLIState)
    assert state is not None
    config = state.config().hub
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


@contextlib.contextmanager
def opened_hub(*, make: bool = False) -> Iterator[HubStore]:
    """Open the hub.

    Raises:
        ConfigurationError: There is none, and none is to be made.
    """
    from vnedoc.exchange.stores.hub import DATABASE_NAME, HubStore

    place = hub_place()
    folder = place.folder or Path("hub")
    if not make and place.database is None and not (folder / DATABASE_NAME).is_file():
        raise ConfigurationError("hub.no-hub", folder=folder)
    if not make and place.database is not None:
        _check_is_there(place.database)
    store = HubStore.open(folder, url=place.database, payloads=place.payloads, key_file=place.key_file)
    try:
        yield store
    finally:
        store.close()


def _check_is_there(database: str) -> None:
    """Refuse a mistyped address of a SQLite file: opening it would make an empty hub, folders and all."""
    path = database.partition("?")[0].removeprefix("sqlite:///")
    if database.startswith("sqlite:///") and path not in {"", ":memory:"} and not Path(path).is_file():
        raise ConfigurationError("hub.no-database", path=path)


@contextlib.contextmanager
def administration() -> Iterator[Administration]:
    """Open the hub in the folder for changes in the name of whoever runs the command."""
    with opened_hub() as store:
        from vnedoc.exchange.hub.administration import Administration

        yield Administration(store, actor=actor())


def actor() -> str:
    """Return who runs the command, for the audit log."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # In a container the number may have no name.
        name = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return f"local:{name}"
