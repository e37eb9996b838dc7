"""Connect to a database, bring its tables up to date, and hold transactions that mean what they say.

SQLite is the default: write-ahead log, and ``synchronous=FULL`` so that a commit that returned is on the disk. A
writing transaction takes the write lock when it begins, so that it cannot lose a race half way. Everything else is
plain SQL that PostgreSQL understands too.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, exc, orm

from vnedoc.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database"]

_MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 30_000
# As many as a server has threads that work with the database.
POOL_SIZE = 20


class Database:
    """One database with the tables of one kind of store.

    Args:
        url: A database URL of SQLAlchemy, such as ``sqlite:////srv/vnedoc/store.sqlite3``.
        branch: Whose tables: ``agency`` or ``hub``.

    Raises:
        ConfigurationError: The URL is wrong, its driver is missing, or the tables are newer than this version.
        InputError: The database cannot be opened.
    """

    def __init__(self, url: str, *, branch: str) -> None:
        self._branch = branch
        try:
            self._url = sa.make_url(url)
            self._engine = sa.create_engine(self._url, **self._options())
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            # The URL may hold a password; the reason of SQLAlchemy may repeat the URL.
            raise ConfigurationError("exchange.store-url", branch=branch) from error
        if self._is_sqlite:
            _keep_private(self._url.database)
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._sessions = orm.sessionmaker(self._engine, expire_on_commit=False)
        self._migrate()

    @property
    def engine(self) -> sa.Engine:
        """The engine, for tests and tools that look at the tables."""
        return self._engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[orm.Session]:
        """Open a transaction that sees one state of the database and changes nothing."""
        with _translated(), self._sessions() as session:
            yield session
            session.rollback()

    @contextlib.contextmanager
    def writing(self) -> Iterator[orm.Session]:
        """Open a transaction that is on the disk when the block ends well, and never was when it raises."""
        with _translated(), self._sessions() as session:
            session.connection(execution_options={"vnedoc_writing": True})
            yield session
            session.commit()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _options(self) -> dict[str, Any]:  # keyword arguments of create_engine
        if self._is_sqlite:
            return {
                "connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000},
                "pool_size": POOL_SIZE,
                "max_overflow": POOL_SIZE,
            }
        return {"pool_pre_ping": True, "pool_size": POOL_SIZE, "max_overflow": POOL_SIZE}

    def _migrate(self) -> None:
        import alembic.command
        import alembic.config
        import alembic.util

        config = alembic.config.Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", str(_MIGRATIONS / self._branch))
        try:
            with _translated(), self._engine.connect() as connection:
                # Two processes that start together: the second waits, and finds the work done.
                connection = connection.execution_options(vnedoc_writing=True)
                config.attributes["connection"] = connection
                with connection.begin():
                    alembic.command.upgrade(config, "head")
        except alembic.util.CommandError as error:
            raise ConfigurationError("exchange.store-revision", branch=self._branch) from error


def _keep_private(database: str | None) -> None:
    """Make the file readable for its owner only: it holds secrets of systems and personal data."""
    if not database or database == ":memory:":
        return
    path = Path(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise InputError("file.cannot-write", path=path, reason=error.strerror) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:  # a DBAPI connection
    # The begin event decides how a transaction starts; the driver must not start its own.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("vnedoc_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        raise InputError("exchange.store-trouble", reason=str(error.orig)) from error
