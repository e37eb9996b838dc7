"""Locks on a SQLite file hold against other processes, whoever else opens it in this one."""

import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa

from vnedoc.errors import InputError
from vnedoc.exchange.stores.database import Database

_VISITOR = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM hub_systems").fetchone()[0])
connection.close()
"""


def test_opening_a_file_again_gives_up_no_lock(tmp_path):
    path, log = tmp_path / "hub.sqlite3", tmp_path / "hub.sqlite3-wal"
    first = Database(f"sqlite:///{path}", branch="hub")
    with first.reading() as session:
        session.execute(sa.text("SELECT 1 FROM hub_systems"))
        second = Database(f"sqlite:///{path}", branch="hub")
        log_before = log.stat().st_ino
        done = subprocess.run(
            [sys.executable, "-c", _VISITOR, str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.stdout, done.stderr) == ("0\n", "")
        # Who leaves last takes the log away: that was not the visitor.
        assert log.stat().st_ino == log_before
    second.close()
    first.close()
    assert not log.exists()


def test_the_file_is_for_its_owner_only(tmp_path):
    made, found = tmp_path / "made.sqlite3", tmp_path / "found.sqlite3"
    sqlite3.connect(found).close()
    found.touch()
    found.chmod(0o644)
    for path in (made, found):
        Database(f"sqlite:///{path}", branch="hub").close()
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_is_no_database_and_stays_as_it_is(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    with pytest.raises(InputError) as caught:
        Database(f"sqlite:///{folder}", branch="hub")
    assert caught.value.code == "file.cannot-write"
    assert folder.stat().st_mode & 0o777 == 0o755
