"""The commands that administer a hub, as a person runs them."""

import json
import os
import pty
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from tests.cli import vnedoc
from vnedoc.exchange.hub.accounts import Accounts
from vnedoc.exchange.hub.sealing import KEY_FILE_NAME
from vnedoc.exchange.stores.hub import HubStore

PASSWORD = "một mật khẩu TEST"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("VNEDOC_HUB_KEY", raising=False)
    monkeypatch.setattr("vnedoc.exchange.hub.accounts._COST", 2)
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)

    def run(*arguments, lang="en"):
        return vnedoc("hub", "--data", tmp_path / "own", *arguments, lang=lang)

    assert run("init").code == 0
    return run


@pytest.fixture
def store(run, tmp_path):
    store = HubStore.open(tmp_path / "own")
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "directory.json"
    agencies = [
        {"organ_id": "H99", "name": "UBND TEST"},
        {"organ_id": "H99.1", "name": "SỞ TEST"},
        {"organ_id": "H99.2", "name": "SỞ TEST HAI", "valid_to": "2099-12-31", "successor": "H99.1"},
    ]
    path.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    return path


def actions(run):
    lines = run("audit", "--format", "json").out.splitlines()
    return [(entry["action"], entry["subject"]) for entry in map(json.loads, lines)]


# Systems and agencies


def test_a_system_with_networks_and_certificates(run, tmp_path):
    added = run("system", "add", "TEST.A", "--network", "10.1.0.0/16", "--certificate", "AB" * 32)
    assert added.code == 0
    secret = added.out.strip()
    assert run("system", "networks", "TEST.A").out == "10.1.0.0/16\n"
    assert run("system", "networks", "TEST.A", "10.2.0.0/16", "10.3.0.0/16").code == 0
    assert run("system", "networks", "TEST.A").out == "10.2.0.0/16\n10.3.0.0/16\n"
    assert run("system", "networks", "TEST.A", "--any").code == 0
    assert run("system", "networks", "TEST.A").out == ""
    assert run("system", "certificates", "TEST.A").out == "ab" * 32 + "\n"
    assert run("system", "certificates", "TEST.A", "--none").code == 0
    assert run("system", "certificates", "TEST.A").out == ""
    key = tmp_path / "own" / KEY_FILE_NAME
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for path in (tmp_path / "own").iterdir():
        if path.is_file():
            assert secret.encode() not in path.read_bytes()


def test_a_new_secret_beside_the_old_one(run, store):
    old = run("system", "add", "TEST.A").out.strip()
    rotated = run("system", "rotate", "TEST.A", "--overlap-hours", "2")
    assert rotated.code == 0
    assert "stays good until" in rotated.err
    listed = run("system", "list", "--format", "json").json()
    assert listed["schema"] == "vnedoc.hub-systems/1"
    (item,) = listed["systems"]
    assert [secret["expires_at"] is None for secret in item["secrets"]] == [True, False]
    now_only = run("system", "rotate", "TEST.A", "--overlap-hours", "0")
    assert "stays good" not in now_only.err
    text = run("system", "list", "--format", "json").out + run("audit").out
    for secret in (old, rotated.out.strip(), now_only.out.strip()):
        assert len(secret) == 72
        assert secret not in text


def test_a_disabled_system_is_shown_as_such(run):
    run("system", "add", "TEST.A")
    assert run("system", "disable", "TEST.A").code == 0
    assert "disabled" in run("system", "list").out
    assert "đã ngừng" in run("system", "list", lang="vi").out
    assert run("system", "enable", "TEST.A").code == 0
    assert "disabled" not in run("system", "list").out


def test_agencies_are_imported_closed_and_reopened(run, directory, store):
    run("system", "add", "TEST.A")
    imported = run("agency", "import", directory, "--system", "TEST.A")
    assert (imported.code, imported.out) == (0, "")
    assert "3 agencies" in imported.err
    assert "H99.2" in imported.err
    assert run("agency", "close", "H99.1", "--on", "2026-12-01", "--successor", "H99", "--forward").code == 0
    assert run("agency", "remove", "H99").code == 1
    assert run("agency", "reopen", "H99.1").code == 0
    assert run("agency", "remove", "H99").code == 0
    assert actions(run) == [
        ("system.add", "system:TEST.A"),
        ("agency.register", "system:TEST.A"),
        ("agency.close", "agency:H99.2"),
        ("agency.close", "agency:H99.1"),
        ("agency.reopen", "agency:H99.1"),
        ("agency.remove", "agency:H99"),
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["system", "add", "TEST.B", "--network", "10.1.0.1/16"], 2),
        (["system", "add", "TEST.B", "--certificate", "x"], 2),
        (["system", "rotate", "TEST.X"], 5),
        (["system", "rotate", "TEST.A", "--overlap-hours", "99999"], 2),
        (["system", "rotate", "TEST.A", "--secret-env", "TEST_NOT_SET"], 5),
        (["system", "disable", "TEST.X"], 5),
        (["system", "enable", "TEST.X"], 5),
        (["system", "networks", "TEST.X"], 5),
        (["system", "networks", "TEST.A", "10.0.0.0/8", "--any"], 2),
        (["system", "certificates", "TEST.A", "ab", "--none"], 2),
        (["agency", "close", "H00", "--on", "2026-12-01"], 5),
        (["agency", "close", "H99", "--on", "yesterday"], 2),
        (["agency", "close", "H99", "--on", "2026-12-01", "--forward"], 2),
        (["agency", "close", "H99", "--on", "2026-12-01", "--successor", "H99"], 2),
        (["agency", "reopen", "H00"], 5),
        (["agency", "remove", "H00"], 5),
        (["user", "add", "test", "--role", "king"], 2),
        (["user", "add", "Test", "--role", "viewer", "--password-env", "TEST_PASSWORD"], 2),
        (["user", "add", "test.other", "--role", "viewer", "--password-env", "TEST_NOT_SET"], 5),
        (["user", "add", "test.other", "--role", "viewer"], 5),
        (["user", "remove", "nobody"], 5),
        (["user", "role", "nobody", "viewer"], 5),
        (["user", "password", "nobody", "--password-env", "TEST_PASSWORD"], 5),
        (["token", "add", "TEST", "--role", "viewer", "--days", "0"], 2),
        (["token", "remove", "00000000"], 5),
        (["audit", "--since", "yesterday"], 2),
        (["audit", "--head", "x"], 2),
    ],
)
def test_wrong_calls(run, directory, arguments, code):
    run("system", "add", "TEST.A")
    run("agency", "import", directory, "--system", "TEST.A", "--only", "H99")
    before = actions(run)
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err
    assert actions(run) == before


@pytest.mark.parametrize(
    "arguments", [["user", "list"], ["token", "list"], ["audit"], ["system", "disable", "TEST.A"]]
)
def test_where_there_is_no_hub(arguments, tmp_path):
    assert vnedoc("hub", "--data", tmp_path / "none", *arguments).code == 5
    assert not (tmp_path / "none").exists()


# The key


def test_a_hub_without_its_key_says_what_to_do(run, tmp_path):
    run("system", "add", "TEST.A")
    key = tmp_path / "own" / KEY_FILE_NAME
    content = key.read_text()
    key.unlink()
    outcome = run("system", "list")
    assert outcome.code == 5
    assert "VNEDOC_HUB_KEY" in outcome.err
    key.write_text("0" * 64)
    key.chmod(0o600)
    assert "not the key" in run("system", "list").err
    key.chmod(0o644)
    assert "chmod 600" in run("system", "list").err
    key.chmod(0o600)
    key.write_text(content)
    assert run("system", "list").code == 0


def test_the_key_may_come_from_the_variable(run, tmp_path, monkeypatch):
    monkeypatch.setenv("VNEDOC_HUB_KEY", "ab" * 32)
    other = ("hub", "--data", tmp_path / "other")
    assert vnedoc(*other, "init").code == 0
    assert vnedoc(*other, "system", "add", "TEST.A").code == 0
    assert not (tmp_path / "other" / KEY_FILE_NAME).exists()
    monkeypatch.setenv("VNEDOC_HUB_KEY", "cd" * 32)
    assert vnedoc(*other, "system", "list").code == 5


# People and programs


def test_a_person_from_beginning_to_end(run, store):
    accounts = Accounts(store)
    added = run("user", "add", "test.person", "--role", "viewer", "--password-env", "TEST_PASSWORD")
    assert (added.code, added.out) == (0, "")
    assert accounts.login("test.person", PASSWORD).principal.role == "viewer"
    assert run("user", "list").out.split() == ["test.person", "viewer"]
    assert run("user", "role", "test.person", "admin").code == 0
    assert accounts.login("test.person", PASSWORD).principal.role == "admin"
    listed = run("user", "list", "--format", "json")
    assert listed.json()["users"][0]["role"] == "admin"
    assert "scrypt" not in listed.out
    reader, writer = os.pipe()
    os.write(writer, "mật khẩu mới TEST\n".encode())
    os.close(writer)
    assert run("user", "password", "test.person", "--password-fd", reader).code == 0
    os.close(reader)
    assert accounts.login("test.person", PASSWORD) is None
    assert accounts.login("test.person", "mật khẩu mới TEST") is not None
    assert run("user", "add", "test.person", "--role", "viewer", "--password-env", "TEST_PASSWORD").code == 2
    assert run("user", "remove", "test.person").code == 0
    assert run("user", "list").out == ""
    assert PASSWORD not in run("audit").out


def test_a_password_is_asked_for_twice_on_a_terminal_and_not_shown(run, tmp_path):
    def ask(*answers):
        parent, child = pty.openpty()
        arguments = [
            "hub",
            "--data",
            str(tmp_path / "own"),
            "user",
            "add",
            "test.typed",
            "--role",
            "operator",
        ]
        process = subprocess.Popen(
            [sys.executable, "-c", "from vnedoc._cli.main import run; run()", "--lang", "en", *arguments],
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        shown = bytearray()
        waiting = list(answers)

        def read():
            while True:
                try:
                    chunk = os.read(parent, 1000)
                except OSError:
                    return
                if not chunk:
                    return
                shown.extend(chunk)
                if chunk.rstrip().endswith(b":") and waiting:
                    os.write(parent, waiting.pop(0).encode() + b"\n")

        reader = threading.Thread(target=read)
        reader.start()
        code = process.wait(60)
        reader.join(10)
        os.close(parent)
        return code, shown.decode()

    code, shown = ask(PASSWORD, PASSWORD)
    assert code == 0, shown
    assert "Password of test.typed" in shown
    assert PASSWORD not in shown
    assert run("user", "list").out.split() == ["test.typed", "operator"]


def test_a_token_is_printed_once(run, store):
    made = run("token", "add", "sao lưu TEST", "--role", "viewer", "--days", "30")
    assert made.code == 0
    assert "this once" in made.err
    principal = Accounts(store).bearer(made.out.strip())
    assert principal.role == "viewer"
    token_id = principal.name.removeprefix("token:")
    listed = run("token", "list")
    assert token_id in listed.out
    assert "sao lưu TEST" in listed.out
    as_json = run("token", "list", "--format", "json")
    assert as_json.json()["tokens"][0]["id"] == token_id
    assert made.out.strip() not in listed.out + as_json.out + run("audit").out
    assert run("token", "remove", token_id).code == 0
    assert Accounts(store).bearer(made.out.strip()) is None


# The audit log


def test_the_log_names_who_ran_the_command(run):
    run("system", "add", "TEST.A")
    (line,) = run("audit").out.splitlines()
    assert "local:" in line
    assert "system.add" in line
    (entry,) = map(json.loads, run("audit", "--format", "json").out.splitlines())
    assert entry["actor"].startswith("local:")
    assert run("audit", "--since", entry["at"]).out.splitlines() == [line]
    assert run("audit", "--since", "2099-01-01").out == ""


def test_a_changed_log_is_found_out(run, tmp_path):
    for number in range(3):
        run("system", "add", f"TEST.{number}")
    whole = run("audit", "--check")
    assert whole.code == 0
    head = whole.out.strip()
    assert head.startswith("3:")
    run("system", "add", "TEST.4")
    assert run("audit", "--head", head).code == 0
    assert run("audit", "--check", "--format", "json").json()["is_whole"]
    with sqlite3.connect(tmp_path / "own" / "hub.sqlite3") as connection:
        connection.execute("DROP TRIGGER hub_audit_no_UPDATE")
        connection.execute("UPDATE hub_audit SET actor = 'nobody' WHERE number = 2")
    connection.close()
    broken = run("audit", "--check")
    assert broken.code == 1
    assert "entry 2" in broken.err
    found = run("audit", "--check", "--format", "json")
    assert (found.code, found.json()["wrong"], found.json()["is_whole"]) == (1, [2], False)
    assert run("audit", "--head", f"3:{'0' * 64}").code == 1


# What is wrong is said in one sentence, in the language of whoever asks


@pytest.mark.parametrize("lang", ["vi", "en"])
@pytest.mark.parametrize("command", ["stats", "system list", "prune", "audit", "key show", "user list"])
def test_a_mistyped_address_makes_no_hub(tmp_path, command, lang):
    path = tmp_path / "none" / "x.sqlite3"
    done = vnedoc("hub", "--data", tmp_path, "--database", f"sqlite:///{path}", *command.split(), lang=lang)
    assert (done.code, done.out) == (5, "")
    assert str(path) in done.err.splitlines()[0]
    assert list(tmp_path.iterdir()) == []


def test_packages_are_in_a_folder_or_an_object_store(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = vnedoc("hub", "--data", "own", "--payloads", "s4://TEST", "stats")
    assert (done.code, "s4://" in done.err) == (5, True)
    assert not (tmp_path / "s4:").exists()


@pytest.mark.parametrize(
    ("lang", "expected"),
    [("vi", "tệp không phải là cơ sở dữ liệu"), ("en", "file is not a database")],
)
def test_a_file_that_is_no_database(tmp_path, lang, expected):
    (tmp_path / "hub.sqlite3").write_text(
        "TEST, and no database at all, however long it is", encoding="utf-8"
    )
    done = vnedoc("hub", "--data", tmp_path, "stats", lang=lang)
    assert done.code == 4
    assert done.err.strip().endswith(f": {expected}.")


def test_a_database_server_that_is_not_there(tmp_path):
    url = "postgresql://127.0.0.1:1/TEST?connect_timeout=2"
    done = vnedoc("hub", "--data", tmp_path, "--database", url, "stats", lang="vi")
    assert done.code == 6
    assert "không kết nối được tới 127.0.0.1, cổng 1: máy chủ từ chối kết nối" in done.err


def test_what_the_hub_holds_is_counted_in_both_languages(run):
    run("system", "add", "TEST.A")
    for lang, name, status in (("vi", "Hệ thống", "Lượt giao: "), ("en", "systems", "deliveries: ")):
        lines = run("stats", lang=lang).out.splitlines()
        assert lines[0].split("  ")[0] == name
        assert lines[0].endswith(" 1")
        assert len(lines) == 5 + 6
        assert sum(line.startswith(status) for line in lines) == 6


def test_two_add_the_same_system_at_once(run, tmp_path):
    """One of them gets it, and the others are told so in one sentence."""
    command = [sys.executable, "-c", "from vnedoc._cli.main import run; run()", "--lang", "vi", "hub"]
    command += ["--data", str(tmp_path / "own"), "system", "add", "TEST.A"]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ended = [(*process.communicate(timeout=100), process.returncode) for process in started]
    assert sorted(code for _, _, code in ended) == [0, 5, 5]
    for out, err, code in ended:
        assert (len(out.strip()) == 0) == (code == 5)
        assert "Traceback" not in err
        assert code == 0 or err == "Lỗi: Hệ thống TEST.A đã được đăng ký.\n"
