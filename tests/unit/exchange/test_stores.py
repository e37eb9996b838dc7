import datetime
import sqlite3

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql

from vnedoc.errors import ConfigurationError, InputError, UsageError
from vnedoc.exchange.stores import models
from vnedoc.exchange.stores.database import Database

BRANCHES = {"agency": models.AgencyTables, "hub": models.HubTables}


@pytest.fixture(params=sorted(BRANCHES))
def branch(request):
    return request.param


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/folder/TEST.sqlite3"


def test_migrations_make_the_tables_of_the_models(branch, url):
    database = Database(url, branch=branch)
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
