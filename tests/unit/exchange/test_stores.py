import datetime
import importlib
import pkgutil
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql

from vnedoc.errors import ConfigurationError, InputError, RemoteError, UsageError
from vnedoc.exchange import stores
from vnedoc.exchange.stores import models
from vnedoc.exchange.stores.database import _MIGRATIONS, Database

# Tables stand in several modules; each must be known before they are compared with what migrations make.
for _module in pkgutil.iter_modules(stores.__path__, f"{stores.__name__}."):
    if not _module.ispkg:
        importlib.import_module(_module.name)

BRANCHES = {"agency": models.AgencyTables, "hub": models.HubTables}


@pytest.fixture(params=sorted(BRANCHES))
def branch(request):
    return request.param


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/folder/TEST.sqlite3"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, url):
    """An empty database, on SQLite and on PostgreSQL."""
    return url if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


# An index over an expression cannot be compared on every database; that it is used is seen in the plans.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_migrations_make_the_tables_of_the_models(branch, empty_url):
    database = Database(empty_url, branch=branch)
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, BRANCHES[branch].metadata) == []
    database.close()


def test_opening_again_keeps_what_is_there(url):
    moment = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    for _ in range(2):
        database = Database(url, branch="hub")
        with database.writing() as session:
            session.merge(models.HubSystemRow(id="TEST", name="TEST", secret="-", created_at=moment))
        database.close()
    database = Database(url, branch="hub")
    with database.reading() as session:
        row = session.get_one(models.HubSystemRow, "TEST")
        assert row.created_at == moment
        assert row.created_at.tzinfo is not None
    database.close()


def test_commits_are_on_the_disk(url):
    database = Database(url, branch="hub")
    with database.reading() as session:
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(sa.text("PRAGMA synchronous")) == 2
        assert session.scalar(sa.text("PRAGMA foreign_keys")) == 1
    database.close()


def test_the_file_is_for_its_owner_only(url, tmp_path):
    Database(url, branch="hub").close()
    assert (tmp_path / "folder" / "TEST.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_block_that_raises_never_was(url):
    database = Database(url, branch="hub")
    moment = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    with pytest.raises(RuntimeError), database.writing() as session:
        session.add(models.HubSystemRow(id="TEST", name="TEST", secret="-", created_at=moment))
        session.flush()
        raise RuntimeError
    with database.reading() as session:
        assert session.get(models.HubSystemRow, "TEST") is None
    database.close()


def test_naive_times_are_refused(url):
    database = Database(url, branch="hub")
    with pytest.raises((UsageError, sa.exc.StatementError)), database.writing() as session:
        session.add(
            models.HubSystemRow(
                id="TEST",
                name="TEST",
                secret="-",
                created_at=datetime.datetime(2026, 11, 21),  # noqa: DTZ001 - naive on purpose
            )
        )
    database.close()


@pytest.mark.parametrize("bad", ["", "nothing", "unknowndb://x/y", "sqlite+unknown:///x"])
def test_bad_addresses_are_a_matter_of_settings(bad):
    with pytest.raises(ConfigurationError) as caught:
        Database(bad, branch="agency")
    assert caught.value.code == "exchange.store-url"


def test_an_address_with_a_password_is_not_repeated():
    with pytest.raises(ConfigurationError) as caught:
        Database("unknowndb://user:TEST-PASSWORD@host/db", branch="agency")
    assert "TEST-PASSWORD" not in str(caught.value)


def test_a_database_of_the_other_kind_is_refused(url):
    Database(url, branch="hub").close()
    with pytest.raises(ConfigurationError) as caught:
        Database(url, branch="agency")
    assert caught.value.code == "exchange.store-revision"


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.sqlite3").write_bytes(b"TEST" * 1000)
    with pytest.raises(InputError) as caught:
        Database(f"sqlite:///{tmp_path}/x.sqlite3", branch="agency")
    assert caught.value.code == "exchange.store-trouble"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError):
        Database(f"sqlite:///{tmp_path}/file/x.sqlite3", branch="agency")


def test_a_database_of_a_newer_version_is_refused(url, tmp_path):
    Database(url, branch="agency").close()
    with sqlite3.connect(tmp_path / "folder" / "TEST.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'agency_9999'")
    connection.close()
    with pytest.raises(ConfigurationError) as caught:
        Database(url, branch="agency")
    assert caught.value.code == "exchange.store-revision"


def test_the_tables_can_be_made_on_postgresql(branch):
    for table in BRANCHES[branch].metadata.sorted_tables:
        text = str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "TIMESTAMP WITHOUT" not in text


def test_many_that_open_a_new_database_at_once_migrate_it_once(branch, empty_url):
    def work():
        try:
            Database(empty_url, branch=branch).close()
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    errors = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_opening_a_current_database_needs_no_lock(url, tmp_path):
    Database(url, branch="agency").close()
    with sqlite3.connect(tmp_path / "folder" / "TEST.sqlite3", isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        Database(url, branch="agency").close()
        connection.execute("ROLLBACK")
    connection.close()


def test_postgresql_keeps_what_it_confirmed(postgresql_url):
    """A server may be set up to confirm what is not on the disk yet; we ask for more."""
    database = Database(postgresql_url, branch="agency")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
    database.close()
    database = Database(postgresql_url, branch="agency")
    with database.reading() as session:
        assert session.scalar(sa.text("SHOW synchronous_commit")) == "on"
        assert session.scalar(sa.text("SHOW transaction_isolation")) == "repeatable read"
        assert session.scalar(sa.text("SHOW transaction_read_only")) == "on"
    with database.writing() as session:
        assert session.scalar(sa.text("SHOW transaction_isolation")) == "read committed"
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER ROLE CURRENT_USER RESET synchronous_commit")
    database.close()


def test_a_server_that_does_not_answer_is_worth_another_try():
    with pytest.raises(RemoteError) as caught:
        Database("postgresql://TEST:TEST-PASSWORD@127.0.0.1:9/TEST", branch="agency")
    assert caught.value.code == "exchange.store-away"
    assert caught.value.retryable
    assert "TEST-PASSWORD" not in str(caught.value)


def test_a_connection_that_was_cut_is_made_again(postgresql, postgresql_url):
    database = Database(postgresql_url, branch="agency")
    with database.reading() as session:
        session.execute(sa.text("SELECT 1"))
    other = Database(postgresql_url, branch="agency")
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with other.engine.begin() as connection:
        connection.exec_driver_sql(cut)
    with database.reading() as session:
        assert session.scalar(sa.text("SELECT 1")) == 1
    with pytest.raises(RemoteError), database.writing() as session:
        session.execute(sa.text("SELECT 1"))
        with other.engine.begin() as connection:
            connection.exec_driver_sql(cut)
        session.execute(sa.text("SELECT 1"))
    other.close()
    database.close()


def test_a_deadlock_is_tried_again(postgresql_url):
    database = Database(postgresql_url, branch="agency")
    with database.writing() as session:
        session.add_all([models.StoreInfoRow(name=name, value="0") for name in "ab"])
    barrier = threading.Barrier(2)
    waited = set()

    def work(names):
        def step(session):
            for name in names:
                row = session.get_one(models.StoreInfoRow, name, with_for_update=True)
                row.value = str(int(row.value) + 1)
                session.flush()
                if names not in waited:
                    waited.add(names)
                    barrier.wait(10)

        database.run(step)

    threads = [threading.Thread(target=work, args=(names,)) for names in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.reading() as session:
        assert [session.get_one(models.StoreInfoRow, name).value for name in "ab"] == ["2", "2"]
    database.close()


def test_every_migration_is_named_after_its_file(branch):
    """By that an up-to-date database is known without loading Alembic."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(_MIGRATIONS / branch))
    for script in ScriptDirectory.from_config(config).walk_revisions():
        assert script.revision == f"{branch}_{Path(script.path).name[:4]}"
