"""``vnedoc hub``: only where there is a hub, in the name of who runs the command, with a word on what was done."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli import vnedoc
from vnedoc._cli._hub_folder import actor
from vnedoc.errors import ConfigurationError
from vnedoc.exchange.hub.sealing import KEY_FILE_NAME
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.hub_presence import check_hub_is_there

PASSWORD = "TEST-mật-khẩu-đủ-dài"
COMMANDS = [
    "stats",
    "audit --check",
    "system add TEST.X",
    "user list",
    "key show",
    "prune",
    "agency reopen H99",
]


@pytest.fixture(autouse=True)
def without_key(monkeypatch):
    monkeypatch.delenv("VNEDOC_HUB_KEY", raising=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path) -> str:
    """A database that is there and holds nothing."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    path = tmp_path / "TEST.sqlite3"
    path.touch()
    return f"sqlite:///{path}"


def tables(url: str) -> list[str]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        return sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


# Where the hub is


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_without_a_hub_stays_as_it_is(empty_url, tmp_path, command):
    data = tmp_path / "data"
    done = vnedoc("hub", "--data", data, "--database", empty_url, *command.split())
    assert (done.code, done.out) == (5, ""), done.err
    assert "There is no hub in the database" in done.err
    assert tables(empty_url) == []
    assert not data.exists()


def test_a_database_of_an_agency_is_no_hub(empty_url, tmp_path):
    Database(empty_url, branch="agency").close()
    before = tables(empty_url)
    done = vnedoc("hub", "--data", tmp_path / "data", "--database", empty_url, "stats")
    assert done.code == 5
    assert tables(empty_url) == before


def test_the_password_of_the_database_is_not_shown(postgresql_url):
    url = postgresql_url.replace("postgres@", "postgres:TEST-PASSWORD@")
    with pytest.raises(ConfigurationError) as caught:
        check_hub_is_there(url)
    assert "postgres" in caught.value.text("en")
    assert "TEST-PASSWORD" not in caught.value.text("en")


@pytest.mark.parametrize("command", ["stats", "system add TEST.X"])
def test_only_init_makes_a_key(hub_url, tmp_path, command):
    data = tmp_path / "data"
    place = ("hub", "--data", data, "--database", hub_url)
    done = vnedoc(*place, *command.split())
    assert (done.code, done.out) == (5, "")
    assert str(data / KEY_FILE_NAME) in done.err
    assert "hub init" in done.err
    assert not data.exists()
    assert vnedoc(*place, "init").code == 0
    assert (data / KEY_FILE_NAME).is_file()
    assert vnedoc(*place, *command.split()).code == 0


def test_init_makes_a_hub_where_there_is_nothing(empty_url, tmp_path):
    place = ("hub", "--data", tmp_path / "data", "--database", empty_url)
    assert vnedoc(*place, "init").code == 0
    assert vnedoc(*place, "stats").code == 0


# Who works on it


def test_a_variable_is_not_an_account(monkeypatch):
    account = f"local:{pwd.getpwuid(os.getuid()).pw_name}"
    for name in ("SUDO_USER", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "chi.tran")
    assert actor() == account
    other = next(entry for entry in pwd.getpwall() if entry.pw_uid != os.getuid())
    monkeypatch.setenv("SUDO_USER", other.pw_name)
    # Sudo says both, and they belong together.
    for wrong in ("", "x", "²", str(other.pw_uid + 1)):
        monkeypatch.setenv("SUDO_UID", wrong)
        assert actor() == account
    monkeypatch.setenv("SUDO_UID", str(other.pw_uid))
    assert actor() == f"{account} (sudo {other.pw_name})"
    monkeypatch.setenv("SUDO_USER", "no-such-account-TEST")
    assert actor() == account


def test_the_log_names_the_account(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "chi.tran")
    place = ("hub", "--data", tmp_path / "own")
    assert vnedoc(*place, "init").code == 0
    assert vnedoc(*place, "system", "add", "TEST.A").code == 0
    (entry,) = map(json.loads, vnedoc(*place, "audit", "--format", "json").out.splitlines())
    assert entry["actor"] == actor()
    assert "chi.tran" not in entry["actor"]


# What was done


def test_what_was_done_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("vnedoc.exchange.hub.accounts._COST", 2)
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("TEST_SECRET", "TEST-" * 20)
    directory = tmp_path / "directory.json"
    agencies = [{"organ_id": "H99", "name": "UBND TEST"}]
    directory.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    place = ("hub", "--data", tmp_path / "own")
    assert vnedoc(*place, "init").code == 0
    for lang in ("vi", "en"):
        name = f"test.{lang}"
        for command, named in (
            (["system", "add", name, "--secret-env", "TEST_SECRET"], name),
            (["system", "disable", name], name),
            (["system", "enable", name], name),
            (["system", "networks", name, "10.0.0.0/8", "10.1.0.0/16"], "2"),
            (["system", "certificates", name, "--none"], name),
            (["agency", "import", directory, "--system", name], name),
            (["agency", "close", "H99", "--on", "2099-01-01"], "2099-01-01"),
            (["agency", "reopen", "H99"], "H99"),
            (["user", "add", name, "--role", "viewer", "--password-env", "TEST_PASSWORD"], name),
            (["user", "role", name, "admin"], "admin"),
            (["user", "password", name, "--password-env", "TEST_PASSWORD"], name),
            (["user", "remove", name], name),
        ):
            done = vnedoc(*place, *command, lang=lang)
            assert (done.code, done.out) == (0, ""), done.err
            assert named in done.err
            assert done.err.count("\n") == 1
            assert PASSWORD not in done.err


# A password that is asked for


@pytest.mark.parametrize(
    "command", [["user", "add", "test.x", "--role", "viewer"], ["user", "password", "test.x"]]
)
def test_without_a_terminal_the_right_options_are_named(tmp_path, command):
    place = ("hub", "--data", tmp_path / "own")
    assert vnedoc(*place, "init").code == 0
    done = vnedoc(*place, *command)
    assert done.code == 5
    assert "--password-env" in done.err
    assert "--password-fd" in done.err


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, folder: Path, lang: str, *arguments: str) -> None:
        self.shown = ""
        self._parent, child = pty.openpty()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from vnedoc._cli.main import run; run()", "--lang", lang),
                *("hub", "--data", str(folder), *arguments),
            ],
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)

    def answer(self, *answers: str | None) -> int:
        """Answer each question; ``None`` is Ctrl+C. Return how the command ended."""
        waiting = list(answers)
        read = bytearray()
        # What hangs ends here, and so does the reading.
        guard = threading.Timer(60, self._process.kill)
        guard.start()
        with contextlib.suppress(OSError):
            while chunk := os.read(self._parent, 1000):
                read += chunk
                if read.rstrip(b" ").endswith(b":") and waiting:
                    given = waiting.pop(0)
                    if given is None:
                        self._process.send_signal(signal.SIGINT)
                    else:
                        os.write(self._parent, given.encode() + b"\n")
        code = self._process.wait()
        guard.cancel()
        os.close(self._parent)
        self.shown = read.decode()
        return code


def test_a_password_that_is_typed_in_two_ways_is_asked_for_again(tmp_path):
    folder = tmp_path / "own"
    assert vnedoc("hub", "--data", folder, "init").code == 0
    terminal = Terminal(folder, "vi", "user", "add", "test.typed", "--role", "viewer")
    assert terminal.answer(PASSWORD, "TEST-khác", PASSWORD, PASSWORD) == 0, terminal.shown
    assert "Nhập lại để xác nhận" in terminal.shown
    assert "Hai lần nhập không giống nhau" in terminal.shown
    assert "entered values" not in terminal.shown
    assert PASSWORD not in terminal.shown
    assert "test.typed" in vnedoc("hub", "--data", folder, "user", "list").out


def test_who_stops_at_the_question_is_not_told_of_wrong_usage(tmp_path):
    folder = tmp_path / "own"
    assert vnedoc("hub", "--data", folder, "init").code == 0
    terminal = Terminal(folder, "en", "user", "add", "test.typed", "--role", "viewer")
    assert terminal.answer(None) == 130, terminal.shown
    assert "Stopped as asked" in terminal.shown
    assert vnedoc("hub", "--data", folder, "user", "list").out == ""
