"""Connect to a database, bring its tables up to date, and hold transactions that mean what they say.

SQLite is the default: write-ahead log, and ``synchronous=FULL`` so that a commit that returned is on the disk. A
writing transaction takes the write lock when it begins, so that it cannot lose a race half way.

On PostgreSQL a reading transaction sees one state of the database (``REPEATABLE READ``); a writing one works under
``READ COMMITTED``, locks the rows that it decides upon, and is run again by :meth:`Database.run` when another took
what it wanted between its look and its write.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import select
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc, orm

from vnedoc.errors import ConfigurationError, InputError, MissingExtraError, RemoteError
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores._together import Failed, Together, behind_savepoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Database"]

_MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 30_000
CONNECT_TIMEOUT_S = 10
# As many as a server has threads that work with the database. Four processes share the hundred connections that
# PostgreSQL gives by default.
POOL_SIZE = 20
POSTGRESQL_POOL_SIZE = 10
ATTEMPTS = 5
# How long a connection to PostgreSQL may have been idle and is used without a question: what lies between may have
# forgotten it without a word.
_TRUSTED_IDLE_S = 20.0
# Serialization failure and deadlock: the other one goes on, we begin again.
_AGAIN = frozenset({"40001", "40P01"})
# Any number, the same in all processes: who holds it brings the tables up to date.
_MIGRATION_LOCK = 7_061_952
_IDLE_SINCE = "vnedoc.idle-since"
_Result = TypeVar("_Result")
_Tables = TypeVar("_Tables")


class Database:
    """One database with the tables of one kind of store.

    Args:
        url: A database URL of SQLAlchemy, such as ``sqlite:////srv/vnedoc/store.sqlite3`` or
            ``postgresql://vnedoc@db.internal/vnedoc``.
        branch: Whose tables: ``agency`` or ``hub``.
        migrate: Whether the tables are made or brought up to date; else the database is taken as it is.

    Raises:
        ConfigurationError: The URL is wrong, its driver is missing, or the tables are newer than this version.
        InputError: The database cannot be opened.
        RemoteError: The database server does not answer.
    """

    def __init__(self, url: str, *, branch: str, migrate: bool = True) -> None:
        self._branch = branch
        try:
            self._url = sa.make_url(url)
            if self._url.drivername in {"postgresql", "postgres"}:
                self._url = self._url.set(drivername="postgresql+psycopg")
            self._engine = sa.create_engine(self._url, **self._options())
        except ModuleNotFoundError as error:
            if error.name == "psycopg":
                raise MissingExtraError("exchange.no-postgresql") from error
            raise ConfigurationError("exchange.store-url", branch=branch) from error
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            # The URL may hold a password; the reason of SQLAlchemy may repeat the URL.
            raise ConfigurationError("exchange.store-url", branch=branch) from error
        if self.is_sqlite:
            _keep_private(self._url.database)
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            event.listen(self._engine, "checkin", _end_sqlite)
        else:
            event.listen(self._engine, "connect", _prepare_postgresql)
            event.listen(self._engine, "checkin", _note_idle)
            event.listen(self._engine, "checkout", self._check_alive)
        # One statement that is a transaction of its own costs one journey to the server; else it is three.
        self._single = (
            self._engine if self.is_sqlite else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        # Who waits for the write lock in SQLite itself sleeps, and asks again, and sleeps for longer.
        self._writers = threading.RLock()
        self._together: Together[Callable[[orm.Session], Any], Any] = Together(self._take_steps)
        self._sessions = orm.sessionmaker(self._engine, expire_on_commit=False)
        if branch == "agency":
            _log.watch(self._sessions)
        if not migrate:
            return
        try:
            self._migrate()
        except BaseException:
            self._engine.dispose()
            raise

    @property
    def engine(self) -> sa.Engine:
        """The engine, for tests and tools that look at the tables."""
        return self._engine

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def shown_url(self) -> str:
        """The URL without the password."""
        return self._url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[orm.Session]:
        """Open a transaction that sees one state of the database and changes nothing."""
        with self._translated(), self._sessions() as session:
            if not self.is_sqlite:
                session.connection(
                    execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                )
            yield session
            session.rollback()

    @contextlib.contextmanager
    def single(self) -> Iterator[sa.Connection]:
        """Open a connection for one statement that is a transaction of its own: the least that a question costs.

        On SQLite it can only read.
        """
        with self._translated(), self._single.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[orm.Session]:
        """Open a transaction that is on the disk when the block ends well, and never was when it raises."""
        with self._translated(), self._in_turn(), self._sessions() as session:
            session.connection(execution_options={"vnedoc_writing": True})
            yield session
            session.commit()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[orm.Session]:
        """Open a transaction during which nobody else writes: neither other processes nor other threads."""
        with self.writing() as session:
            if not self.is_sqlite:
                names = session.scalars(
                    sa.text(
                        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()"
                    )
                ).all()
                # Others may read, but neither change anything nor freeze it, too.
                session.execute(sa.text(f"LOCK TABLE {', '.join(sorted(names))} IN EXCLUSIVE MODE"))
            yield session

    def run(self, step: Callable[[orm.Session], _Result]) -> _Result:
        """Run a step in a writing transaction; begin again if another one got in its way.

        Args:
            step: What to do. It may be called several times, and must not keep rows for later.

        Returns:
            What the step returned, when it is on the disk.
        """
        return self._insist(self.writing, step)

    def run_core(self, step: Callable[[sa.Connection], _Result]) -> _Result:
        """Run a step like :meth:`run`, but on a connection: a session costs as much as three statements.

        Args:
            step: What to do, without mapped objects. It may be called several times.

        Returns:
            What the step returned, when it is on the disk.
        """
        return self._insist(self._writing_core, step)

    @contextlib.contextmanager
    def _writing_core(self) -> Iterator[sa.Connection]:
        with self._translated(), self._in_turn(), self._engine.connect() as connection:
            connection = connection.execution_options(vnedoc_writing=True)
            with connection.begin():
                yield connection

    def _insist(
        self,
        transaction: Callable[[], contextlib.AbstractContextManager[_Tables]],
        step: Callable[[_Tables], _Result],
    ) -> _Result:
        for _ in range(ATTEMPTS - 1):
            try:
                with transaction() as tables:
                    return step(tables)
            except (exc.IntegrityError, _AgainError):
                # The other one is done or about to be: now there is something to be found.
                time.sleep(random.random() * 0.02)  # noqa: S311 - no secret
        with transaction() as tables:
            return step(tables)

    def run_together(self, step: Callable[[orm.Session], _Result]) -> _Result:
        """Run a step like :meth:`run`; on SQLite in one transaction with those of other threads.

        For what many threads do at the same time, and what does not ask for the session it is given: the rows of a
        hub, not those whose changes are watched.

        Args:
            step: What to do. It may be called several times, and must not keep rows for later.

        Returns:
            What the step returned, when it is on the disk.
        """
        if not self.is_sqlite:
            return self.run(step)
        try:
            result: _Result = self._together.run(step)
        except exc.IntegrityError:
            # Another process was quicker: now there is something to be found.
            return self.run(step)
        return result

    def _take_steps(self, steps: Sequence[Callable[[orm.Session], _Result]]) -> list[_Result | Failed]:
        with self.writing() as session:
            return behind_savepoints(session, steps)

    def require_payloads(self, size: Callable[[str], int | None]) -> None:
        """Let no message name a payload that is not there.

        Args:
            size: Tells the size of a payload, or ``None`` if it is not there.
        """
        self._sessions.configure(info={_log.PAYLOAD_SIZE: size})

    def is_current(self) -> bool:
        """Tell whether the database answers and this program works with its tables."""
        with self._translated(), self._engine.connect() as connection:
            return _is_current(connection, self._branch)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _options(self) -> dict[str, Any]:  # keyword arguments of create_engine
        if self.is_sqlite:
            return {
                "connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000},
                "pool_size": POOL_SIZE,
                "max_overflow": POOL_SIZE,
                # Each keeps up to 2 MB of pages: use as few as the load needs.
                "pool_use_lifo": True,
            }
        return {
            "connect_args": {}
            if "connect_timeout" in self._url.query
            else {"connect_timeout": CONNECT_TIMEOUT_S},
            "pool_size": POSTGRESQL_POOL_SIZE,
            "max_overflow": POSTGRESQL_POOL_SIZE,
        }

    def _migrate(self) -> None:
        with self._translated(), self._engine.connect() as connection:
            if _is_current(connection, self._branch):
                return
        import alembic.command
        import alembic.config
        import alembic.util

        config = alembic.config.Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", str(_MIGRATIONS / self._branch))
        try:
            with self._translated(), self._engine.connect() as connection:
                # Two processes that start together: the second waits, and finds the work done.
                connection = connection.execution_options(vnedoc_writing=True)
                config.attributes["connection"] = connection
                with connection.begin():
                    if not self.is_sqlite:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                    alembic.command.upgrade(config, "head")
        except alembic.util.CommandError as error:
            raise ConfigurationError("exchange.store-revision", branch=self._branch) from error

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Wait until no other thread writes to the SQLite file; other processes are SQLite's business."""
        is_ours = self.is_sqlite and self._writers.acquire(timeout=BUSY_TIMEOUT_MS / 1000)
        try:
            yield
        finally:
            if is_ours:
                self._writers.release()

    def _check_alive(self, connection: Any, record: Any, _proxy: object) -> None:  # what SQLAlchemy gives
        """Let the pool replace a connection that the server has closed, without asking it each time."""
        since = record.info.get(_IDLE_SINCE)
        if since is None:
            return
        try:
            # A server has nothing to say to a client that asks nothing, but good-bye.
            good = not _has_something_to_say(connection.fileno())
            if good and time.monotonic() - since > _TRUSTED_IDLE_S:
                good = self._engine.dialect.do_ping(connection)
        except (exc.DBAPIError, OSError, ValueError, self._engine.dialect.loaded_dbapi.Error) as error:
            raise exc.DisconnectionError from error
        if not good:
            raise exc.DisconnectionError

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _AGAIN:
                raise _AgainError("exchange.store-away", reason=_reason(error.orig)) from error
            if not self.is_sqlite and isinstance(error, exc.OperationalError | exc.InterfaceError):
                raise RemoteError("exchange.store-away", reason=_reason(error.orig)) from error
            raise InputError("exchange.store-trouble", reason=_reason(error.orig)) from error
        except exc.TimeoutError as error:
            raise RemoteError("exchange.store-busy") from error


class _AgainError(RemoteError):
    """PostgreSQL ended the transaction so that another could go on."""


def _reason(error: BaseException | None) -> str:
    """Return the first line of what a driver says: what follows may repeat the statement with its values."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@functools.cache
def _newest(branch: str) -> str:
    """Return the newest revision that this program knows.

    It is looked up once, when the database is opened: an upgrade puts newer files beside a program that is running,
    and what that one works with stays what it was.
    """
    # A file of a migration begins with its number, and its revision is named after the branch and that number.
    return f"{branch}_{max(path.name[:4] for path in (_MIGRATIONS / branch).glob('[0-9]*.py'))}"


def _is_current(connection: sa.Connection, branch: str) -> bool:
    """Tell whether there is nothing to do, without loading Alembic and without a lock: most times it is so.

    There is nothing to do, too, where a newer program has brought the tables further and says that this one may still
    work with them: old processes end their work while new ones begin theirs, and may have to start once more.
    """
    inspector = sa.inspect(connection)
    if not inspector.has_table("alembic_version"):
        return False
    ours = _newest(branch)
    versions = connection.scalars(sa.text("SELECT version_num FROM alembic_version")).all()
    if list(versions) == [ours]:
        return True
    is_newer = len(versions) == 1 and versions[0].startswith(f"{branch}_") and versions[0] > ours
    if not is_newer or not inspector.has_table(f"{branch}_compatibility"):
        return False
    oldest = connection.scalar(sa.text(f"SELECT oldest FROM {branch}_compatibility WHERE id = 1"))  # noqa: S608 - our own words
    return isinstance(oldest, str) and oldest <= ours


def _keep_private(database: str | None) -> None:
    """Make the file readable for its owner only: it holds secrets of systems and personal data."""
    if not database or database == ":memory:":
        return
    path = Path(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One that is there is not opened: to close it gives up all locks that this process has on it (POSIX).
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        path.chmod(0o600)
    except OSError as error:
        raise InputError("file.cannot-write", path=path, reason=error.strerror) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:  # a DBAPI connection
    # The begin event decides how a transaction starts; the driver must not start its own.
    connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    _write_ahead(connection)


def _write_ahead(connection: Any) -> None:  # a DBAPI connection
    """Switch the file to its write-ahead log.

    It stays switched. While several begin with a new file, SQLite does not wait for its turn here, whatever the busy
    timeout says.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.random() * 0.02)  # noqa: S311 - no secret
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("vnedoc_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _end_sqlite(connection: Any, _record: object) -> None:  # a DBAPI connection, or None
    # A COMMIT that failed leaves the transaction open, with the write lock that all others wait for.
    if connection is not None and connection.in_transaction:
        connection.rollback()


def _has_something_to_say(handle: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([handle], [], [], 0)[0])
    # Of select, a process may only ask about its first thousand files.
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def _note_idle(_connection: object, record: Any) -> None:  # what SQLAlchemy gives
    record.info[_IDLE_SINCE] = time.monotonic()


def _prepare_postgresql(connection: Any, _record: object) -> None:  # a DBAPI connection
    with connection.cursor() as cursor:
        # A commit that returned must be on the disk, whatever the server's default; stronger settings stay.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        # Who waits longer for a lock waits for somebody who is gone.
        cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("SET timezone = 'UTC'")
    connection.commit()
