"""What several test modules of the exchange begin with; fixtures are made known by ``tests/conftest.py``.

``hub``, ``offices`` and ``package`` are three agencies of one province with a hub between them, all real. A module
that needs them otherwise has fixtures of the same names.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from typing import TYPE_CHECKING

import pytest

from tests.clocks import Clock
from tests.hubs import fill, open_store
from tests.office_commands import CommandOffice
from tests.offices import COMMUNE, DEPARTMENT, PROVINCE, Office
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.stores.checking import check_store
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.testing.faults import Faults
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vnedoc.exchange.stores.hub import HubStore
    from vnedoc.testing.hub import RunningHub


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until the test moves it."""
    return Clock()


@pytest.fixture
def axis_faults() -> Faults:
    """What goes wrong between the offices and the hub: nothing, until a test plans something."""
    return Faults()


@pytest.fixture
def hub(tmp_path: Path, axis_faults: Faults) -> Iterator[RunningHub]:
    """A hub on loopback that knows nobody yet."""
    with running_hub(tmp_path / "hub", faults=axis_faults) as hub:
        yield hub


@pytest.fixture
def offices(hub: RunningHub, tmp_path: Path) -> Iterator[list[Office]]:
    """A province, a department and a commune, each with its store and its way to the hub."""
    with contextlib.ExitStack() as stack:
        yield [Office(stack, hub, code, tmp_path) for code in (PROVINCE, DEPARTMENT, COMMUNE)]


@pytest.fixture
def open_office(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hub: RunningHub
) -> Callable[..., CommandOffice]:
    """A function that opens an agency, by its code, whose people work on the command line."""
    return functools.partial(CommandOffice, tmp_path, monkeypatch, capsys, hub)


@pytest.fixture
def dead_url() -> str:
    """An address at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A document of the province for the department and the commune."""
    path = tmp_path / "TEST.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT, COMMUNE])
    return path


@pytest.fixture
def agency_store(store_url: str, tmp_path: Path) -> Iterator[AgencyStore]:
    """An agency's store, on SQLite and on PostgreSQL."""
    with contextlib.closing(AgencyStore.open(store_url, tmp_path / "payloads")) as store:
        yield store
        # Whatever a test did, the log tells of all of it.
        assert [problem.text() for problem in check_store(store, content=True).problems] == []


@pytest.fixture
def hub_store(hub_url: str, tmp_path: Path) -> Iterator[HubStore]:
    """A hub's store, on SQLite and on PostgreSQL."""
    with contextlib.closing(open_store(hub_url, tmp_path)) as store:
        yield store


@pytest.fixture
def filled_hub_store(hub_store: HubStore, clock: Clock) -> HubStore:
    """A hub's store with two systems and their agencies."""
    fill(Administration(hub_store, actor="test.admin", clock=clock))
    return hub_store
