"""Where a matrix runs: a hub, databases of one kind for the offices, and the process that others are copied from."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crashes.hub_process import HubProcess, hub_process
from tests.crashes.world import KeptStore, World, running_hub_on
from tests.database_fixtures import PostgreSQL
from vnedoc.exchange.stores.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crashes.zygote import Zygote
    from vnedoc.testing.faults import Faults
    from vnedoc.testing.hub import RunningHub

__all__ = ["STORES", "Place", "databases", "running_place", "running_postgresql"]

STORES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
"""The kinds of databases, and their names."""


@dataclass(frozen=True)
class Place:
    """Everything that rows share."""

    hub: RunningHub
    """The hub."""
    faults: Faults
    """What goes wrong in front of it."""
    zygote: Zygote
    """Starts processes."""
    folder: Path
    """Where files are."""
    stores: tuple[KeptStore, KeptStore]
    """The stores of the two offices."""
    hub_process: HubProcess
    """Another hub, in a process of its own; it runs once a row has started it."""

    @contextlib.contextmanager
    def world(self, hub: RunningHub | None = None, *, wire: str = "vxp") -> Iterator[World]:
        """Open two offices of their own.

        Args:
            hub: The hub between them; ``None``: the one that rows share.
            wire: How they speak to it.
        """
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="row-", dir=self.folder))
            stack.callback(shutil.rmtree, folder)
            yield World(stack, hub or self.hub, folder / "world", self.stores, wire=wire)


@contextlib.contextmanager
def databases(server: PostgreSQL | None, folder: Path) -> Iterator[Callable[[str], str]]:
    """Give a function that makes a database of a branch: in a server, or as a file."""
    made: list[str] = []
    numbers = itertools.count(1)
    templates: dict[str, Path] = {}

    def make(branch: str) -> str:
        if server is not None:
            made.append(server.create_migrated(branch))
            return made[-1]
        if branch not in templates:
            templates[branch] = folder / f"{branch}.sqlite3"
            Database(f"sqlite:///{templates[branch]}", branch=branch).close()
        path = folder / f"{branch}-{next(numbers)}.sqlite3"
        shutil.copy(templates[branch], path)
        return f"sqlite:///{path}"

    try:
        yield make
    finally:
        for url in made:
            server.drop(url)


@contextlib.contextmanager
def running_place(server: PostgreSQL | None, zygote: Zygote) -> Iterator[Place]:
    """Run a hub on a kind of database until the block ends.

    Args:
        server: Where databases are made; ``None``: SQLite files.
        zygote: Starts processes.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-crash-")))
        make = stack.enter_context(databases(server, folder))
        hub, faults = stack.enter_context(running_hub_on(make("hub"), folder / "hub"))
        first, second = (KeptStore(make("agency"), folder / "payloads") for _ in range(2))
        stack.callback(second.close)
        stack.callback(first.close)
        other = stack.enter_context(hub_process(folder / "hub-process", make("hub")))
        yield Place(hub, faults, zygote, folder, (first, second), other)


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server outside of pytest."""
    with tempfile.TemporaryDirectory(prefix="vnedoc-pg-") as name:
        folder = Path(name) / "data"
        folder.mkdir(mode=0o700)
        server = PostgreSQL(folder)
        try:
            yield server
        finally:
            server.stop()
