"""Secrets at rest: sealed, bound to their system, and one clear error where the key is wrong or missing."""

import hashlib
import os
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.clocks import NOW
from tests.hubs import KEY, open_store
from vnedoc.errors import ConfigurationError, CredentialError
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.sealing import KEY_FILE_NAME, KEY_VARIABLE, HubKey, load_key, make_key_file
from vnedoc.exchange.hub.secret_keys import key_of
from vnedoc.exchange.stores.hub import HubStore

SECRET = "a-secret-of-TEST-0123456789" * 3


def test_what_is_sealed_opens_for_its_owner_only() -> None:
    sealed = KEY.seal(SECRET, owner="system:TEST.A")
    assert SECRET not in sealed
    assert KEY.open(sealed, owner="system:TEST.A") == SECRET
    assert KEY.seal(SECRET, owner="system:TEST.A") != sealed, "each with a nonce of its own"
    changed = sealed[:20] + ("A" if sealed[20] != "A" else "B") + sealed[21:]
    for key, text, owner in [
        (KEY, sealed, "system:TEST.B"),
        (HubKey(bytes(32)), sealed, "system:TEST.A"),
        (KEY, changed, "system:TEST.A"),
        (KEY, sealed[:12], "system:TEST.A"),
        (KEY, "no base64!", "system:TEST.A"),
        (KEY, "", "system:TEST.A"),
    ]:
        with pytest.raises(CredentialError, match="cannot be opened") as caught:
            key.open(text, owner=owner)
        assert SECRET not in str(caught.value)
    assert bytes(range(32)).hex() not in repr(KEY)


def test_a_key_file_is_for_its_owner_and_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "hub" / KEY_FILE_NAME
    assert load_key(path, environment={}) is None
    keys: list[HubKey] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        keys.append(make_key_file(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.id for key in keys}) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == [KEY_FILE_NAME]
    found = load_key(path, environment={})
    assert found is not None
    assert found.id == keys[0].id


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE_NAME
    make_key_file(path)
    path.chmod(0o640)
    with pytest.raises(CredentialError) as caught:
        load_key(path, environment={})
    assert caught.value.code == "hub.open-key"


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"zz" * 32, b"00" * 31, b"00" * 33, b"\xff" * 64, b"0" * 5000]
)
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CredentialError) as caught:
        load_key(path, environment={})
    assert caught.value.code == "hub.bad-key"


def test_the_variable_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE_NAME
    make_key_file(path)
    found = load_key(path, environment={KEY_VARIABLE: bytes(range(32)).hex()})
    assert found is not None
    assert found.id == KEY.id
    with pytest.raises(CredentialError) as caught:
        load_key(path, environment={KEY_VARIABLE: "not-a-key-TEST"})
    assert caught.value.code == "hub.bad-key"
    assert "not-a-key" not in str(caught.value)


def test_a_hub_opens_with_its_key_and_with_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    folder = tmp_path / "hub"
    store = HubStore.open(folder)
    store.add_system("TEST.A", name="TEST", secret=SECRET, at=NOW)
    store.close()
    path = folder / KEY_FILE_NAME
    kept = path.read_bytes()
    for content in folder.iterdir():
        if content.is_file():
            assert SECRET.encode() not in content.read_bytes(), content.name

    path.unlink()
    with pytest.raises(CredentialError) as caught:
        HubStore.open(folder)
    assert caught.value.code == "hub.missing-key"
    assert not path.exists(), "a new key would hide the loss"

    path.write_text("11" * 32)
    path.chmod(0o600)
    with pytest.raises(CredentialError) as caught:
        HubStore.open(folder)
    assert caught.value.code == "hub.wrong-key"
    assert caught.value.hint("vi")

    path.write_bytes(kept)
    store = HubStore.open(folder)
    access = store.system_secrets.access("TEST.A", at=NOW)
    store.close()
    assert access is not None
    assert access.keys == (key_of(SECRET),)
    assert SECRET not in repr(access)


def test_of_a_secret_that_the_hub_made_nobody_gets_more_than_its_hash(hub_url: str, tmp_path: Path) -> None:
    """Not even who has the database and its key; and the hash lets nobody in who shows it."""
    store = open_store(hub_url, tmp_path)
    _, made = Administration(store, actor="TEST").add_system("TEST.A")
    with store.database.engine.connect() as connection:
        (sealed,) = connection.scalars(sa.text("SELECT sealed FROM hub_secrets"))
    kept = KEY.open(sealed, owner="system:TEST.A")
    assert kept == f"sha256:{hashlib.sha256(made.secret.encode()).hexdigest()}"
    hub = Hub(store)
    hub.check_secret("TEST.A", made.secret)
    for shown in (kept, kept.removeprefix("sha256:"), made.secret[:-1], ""):
        with pytest.raises(RefusalError):
            hub.check_secret("TEST.A", shown)
    store.close()


def _make_old(url: str, folder: Path) -> None:
    """Leave a system as an older version kept it."""
    store = open_store(url, folder)
    with store.database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO hub_systems (id, name, secret, created_at)"
                " VALUES ('TEST.OLD', 'TEST', :secret, '2026-01-01 00:00:00+00:00')"
            ),
            {"secret": SECRET},
        )
    # Old processes may go on for a while beside a new one.
    access = store.system_secrets.access("TEST.OLD", at=NOW)
    store.close()
    assert access is not None
    assert access.keys == (key_of(SECRET),)


def test_old_plain_secrets_are_sealed_when_the_hub_starts(hub_url: str, tmp_path: Path) -> None:
    _make_old(hub_url, tmp_path)
    for _ in range(2):
        store = open_store(hub_url, tmp_path)
        access = store.system_secrets.access("TEST.OLD", at=NOW)
        assert access is not None
        assert access.keys == (key_of(SECRET),)
        with store.database.engine.connect() as connection:
            (left,) = connection.scalars(sa.text("SELECT secret FROM hub_systems"))
            assert left != SECRET
            assert len(left) == 64, "nothing that an old process would take"
            assert connection.scalar(sa.text("SELECT count(*) FROM hub_audit")) == 1
            assert SECRET not in str(connection.execute(sa.text("SELECT * FROM hub_secrets")).all())
        store.close()


def test_nothing_of_them_is_left_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, bytes(range(32)).hex())

    def forget_nothing(connection, _record) -> None:
        # Some builds of SQLite overwrite what is deleted without being told.
        connection.execute("PRAGMA secure_delete = OFF")

    sa.event.listen(sa.Engine, "connect", forget_nothing)
    request.addfinalizer(lambda: sa.event.remove(sa.Engine, "connect", forget_nothing))
    folder = tmp_path / "hub"
    _make_old(f"sqlite:///{folder}/hub.sqlite3", folder)
    # So many that what is written anew does not happen to stand where the old was.
    with sqlite3.connect(folder / "hub.sqlite3") as other:
        other.executemany(
            "INSERT INTO hub_systems (id, name, secret, created_at) VALUES (?, 'TEST', ?, '2026-01-01 00:00:00')",
            [(f"TEST.{number}", f"{SECRET}-{number}") for number in range(40)],
        )
    other.close()

    def occurs() -> bool:
        return any(SECRET.encode() in path.read_bytes() for path in folder.iterdir() if path.is_file())

    assert occurs()
    # Another process reads: the log stays until it is emptied.
    with sqlite3.connect(folder / "hub.sqlite3") as other:
        other.execute("SELECT 1 FROM hub_systems").fetchall()
        store = HubStore.open(folder)
        assert not occurs()
        store.close()
    other.close()
    assert not (folder / KEY_FILE_NAME).exists(), "the key came from the variable"


def test_without_a_key_everything_else_works(hub_url: str, tmp_path: Path) -> None:
    store = open_store(hub_url, tmp_path)
    store.add_system("TEST.A", name="TEST", secret=SECRET, at=NOW)
    store.close()
    store = open_store(hub_url, tmp_path, key=None)
    assert [system.id for system in store.systems()] == ["TEST.A"]
    with pytest.raises(ConfigurationError) as caught:
        store.system_secrets.access("TEST.A", at=NOW)
    assert caught.value.code == "hub.no-key"
    store.close()


def test_a_secret_moved_to_another_system_does_not_open(hub_url: str, tmp_path: Path) -> None:
    store = open_store(hub_url, tmp_path)
    store.add_system("TEST.A", name="TEST", secret=SECRET, at=NOW)
    store.add_system("TEST.B", name="TEST", secret="another-secret-of-TEST" * 3, at=NOW)
    with store.database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE hub_secrets SET sealed = (SELECT sealed FROM hub_secrets WHERE system_id = 'TEST.A')"
                " WHERE system_id = 'TEST.B'"
            )
        )
    with pytest.raises(CredentialError):
        store.system_secrets.access("TEST.B", at=NOW)
    store.close()


def test_files_need_no_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_key_file(tmp_path / KEY_FILE_NAME)
    finally:
        os.umask(before)
    assert (tmp_path / KEY_FILE_NAME).stat().st_mode & 0o777 == 0o600
