"""The key that seals the secrets of a hub is changed while it runs, and whenever somebody is killed over it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from tests.cli import vnedoc
from tests.clocks import NOW
from tests.hubs import audit_problems, fill
from vnedoc.errors import CredentialError, UsageError
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.sealing import (
    KEY_FILE_NAME,
    KEY_VARIABLE,
    HubKey,
    add_key,
    keep_only,
    load_key,
    make_key_file,
    new_key,
)
from vnedoc.exchange.hub.secret_keys import key_of
from vnedoc.exchange.stores import hub_keys
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.exchange.stores.hub_administration import Once
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_keys import HubKeys
from vnedoc.exchange.stores.hub_models import HubSealingRow, HubSecretRow
from vnedoc.exchange.stores.hub_secrets import HubSecrets

SECRET = "a-secret-of-TEST-0123456789" * 3
BY = By("TEST", NOW)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "hub"


@pytest.fixture
def path(folder):
    return folder / KEY_FILE_NAME


@pytest.fixture
def new_store(hub_url, folder):
    opened = []

    def new():
        opened.append(HubStore.open(folder, url=hub_url))
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store):
    store = new_store()
    Administration(store, actor="TEST").add_system("TEST.A", secret=SECRET)
    return store


def keys_of(store, system_id="TEST.A"):
    return store.system_secrets.access(system_id, at=NOW).keys


def keys(*secrets):
    return tuple(map(key_of, secrets))


def sealed(store):
    with store.database.reading() as session:
        return set(session.scalars(sa.select(HubSecretRow.key_id)))


def keys_in(path):
    return path.read_text().split()


def test_everything_is_sealed_with_a_new_key(store, new_store, path):
    before = store.system_secrets.key.id
    running = new_store()
    other = Administration(running, actor="TEST")
    once = Once("TEST", "0" * 64)
    answer, _ = other.once(once, lambda bound, _changes: {"secret": bound.rotate_secret("TEST.A").secret})
    done = HubKeys(store).rotate(by=BY, on_one_machine=True)
    assert (done.was, done.secrets, done.known) == (before, 2, (done.now,))
    assert done.now != before
    assert sealed(store) == {done.now}
    assert len(keys_in(path)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    # The other process has the old key only, and finds the new one by itself.
    assert running.system_secrets.key.ids == (before,)
    assert keys_of(running) == keys(answer["secret"], SECRET)
    assert running.system_secrets.key.ids == (done.now,)
    assert other.once(once, lambda *_: {}) == (answer, True)
    assert keys_of(new_store()) == keys(answer["secret"], SECRET)
    entry = HubAudit(store.database).latest(limit=1)[0]
    assert (entry.action, entry.detail) == ("key.rotate", {"was": before, "now": done.now, "secrets": 2})
    assert HubAudit(store.database).check().is_whole


def test_who_seals_after_the_change_seals_with_the_new_key(store, new_store):
    running = new_store()
    done = HubKeys(store).rotate(by=BY, on_one_machine=True)
    # This process has read nothing since.
    made = Administration(running, actor="TEST").rotate_secret("TEST.A")
    assert sealed(store) == {done.now}
    assert keys_of(new_store()) == keys(made.secret, SECRET)


def test_who_seals_while_it_is_changed_is_waited_for_or_waits(store, new_store):
    """Many make systems while the key is changed again and again; in the end one key opens all."""
    errors = []

    def make(mine, number):
        try:
            administration = Administration(mine, actor="TEST")
            for turn in range(6):
                administration.add_system(f"TEST.{number}.{turn}", secret=f"{SECRET}-{number}-{turn}")
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=make, args=(new_store(), number)) for number in range(3)]
    for thread in threads:
        thread.start()
    changes = 0
    while changes < 3 or any(thread.is_alive() for thread in threads):
        HubKeys(store).rotate(by=BY, on_one_machine=True)
        changes += 1
    for thread in threads:
        thread.join()
    assert errors == []
    fresh = new_store()
    assert len(sealed(fresh)) == 1
    for number in range(3):
        for turn in range(6):
            assert keys_of(fresh, f"TEST.{number}.{turn}") == keys(f"{SECRET}-{number}-{turn}")


# A SQLite file is on one machine.
@pytest.mark.parametrize("new_hub_url", ["postgresql"], indirect=True)
def test_several_machines(store, new_store, folder, hub_url, path, tmp_path):
    with pytest.raises(UsageError) as caught:
        HubKeys(store).rotate(by=BY)
    assert caught.value.code == "hub.key-not-everywhere"
    elsewhere = tmp_path / "elsewhere" / KEY_FILE_NAME
    elsewhere.parent.mkdir()

    def bring():
        elsewhere.write_bytes(path.read_bytes())
        elsewhere.chmod(0o600)

    bring()
    other = HubStore.open(folder, url=hub_url, key_file=elsewhere)
    old = HubKeys(store).state().current
    added = HubKeys(store).add(by=BY)
    assert HubKeys(store).state().current == old
    # Not yet brought there: it goes on with the old key, as does this one.
    assert Administration(other, actor="TEST").rotate_secret("TEST.A")
    assert sealed(store) == {old}
    bring()
    assert HubKeys(store).rotate(by=BY).now == added
    assert len(keys_of(other)) == 2
    Administration(other, actor="TEST").rotate_secret("TEST.A")
    assert sealed(store) == {added}
    bring()
    assert len(keys_in(elsewhere)) == 1
    fresh = HubStore.open(folder, url=hub_url, key_file=elsewhere)
    assert len(keys_of(fresh)) == 2
    for each in (other, fresh):
        each.close()


def own_store(folder, url, name):
    """Open the hub on a machine that has made a key of its own."""
    return HubStore.open(folder, url=url, key_file=folder / name / KEY_FILE_NAME)


def test_of_two_machines_with_keys_of_their_own_the_first_that_seals_decides(hub_url, folder):
    one, two = (own_store(folder, hub_url, name) for name in ("one", "two"))
    assert one.system_secrets.key.id != two.system_secrets.key.id, "both began with an empty database"
    Administration(one, actor="TEST").add_system("TEST.A", secret=SECRET)
    with pytest.raises(CredentialError) as caught:
        Administration(two, actor="TEST").add_system("TEST.B", secret=SECRET)
    assert caught.value.code == "hub.wrong-key"
    assert sealed(one) == {one.system_secrets.key.id}
    assert two.system_secrets.access("TEST.B", at=NOW) is None
    for store in (one, two):
        store.close()
    with pytest.raises(CredentialError) as caught:
        own_store(folder, hub_url, "two")
    assert caught.value.code == "hub.wrong-key"
    one = own_store(folder, hub_url, "one")
    assert keys_of(one) == keys(SECRET)
    assert HubKeys(one).state().current == one.system_secrets.key.id
    one.close()


def test_of_two_machines_that_seal_at_once_one_does(hub_url, folder):
    stores = [own_store(folder, hub_url, name) for name in ("one", "two")]
    begin, outcomes = threading.Barrier(2), []

    def seal(store, system_id):
        begin.wait()
        try:
            Administration(store, actor="TEST").add_system(system_id, secret=SECRET)
        except CredentialError as error:
            outcomes.append(error.code)
        else:
            outcomes.append(system_id)

    threads = [
        threading.Thread(target=seal, args=(store, name))
        for store, name in zip(stores, ("TEST.A", "TEST.B"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [done] = [outcome for outcome in outcomes if outcome != "hub.wrong-key"]
    assert len(outcomes) == 2
    assert len(sealed(stores[0])) == 1
    [owner] = [store for store in stores if {store.system_secrets.key.id} == sealed(store)]
    assert keys_of(owner, done) == keys(SECRET)
    for store in stores:
        store.close()


def test_what_an_older_version_sealed_is_not_passed_over(store, hub_url, folder):
    """It wrote down changes of the key only, not the first one."""
    stranger = HubSecrets(store.database, HubKey(bytes(32)))
    with store.database.writing() as session:
        session.execute(sa.update(HubSealingRow).values(key_id=None))
    with pytest.raises(CredentialError), store.database.writing() as session:
        stranger.sealer(session)
    made = Administration(store, actor="TEST").rotate_secret("TEST.A")
    assert keys_of(store) == keys(made.secret, SECRET)
    with store.database.reading() as session:
        assert session.scalar(sa.select(HubSealingRow.key_id)) == store.system_secrets.key.id


def test_the_log_names_a_key_before_the_file_holds_it(store, path, monkeypatch):
    """Whoever is killed then leaves an entry of a key that there is not, never a key without an entry."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hub_keys, "add_key", killed)
        with pytest.raises(KeyboardInterrupt):
            HubKeys(store).add(by=BY)
    entry = HubAudit(store.database).latest(limit=1)[0]
    assert entry.action == "key.add"
    assert HubKeys(store).state().known == (store.system_secrets.key.id,)
    assert entry.detail["key"] not in HubKeys(store).state().known
    added = HubKeys(store).add(by=BY)
    done = HubKeys(store).rotate(by=BY, on_one_machine=True)
    again = HubKeys(store).rotate(by=BY, on_one_machine=True)
    assert [
        (entry.action, entry.detail.get("key", entry.detail.get("now")))
        for entry in reversed(HubAudit(store.database).latest(limit=4))
    ] == [("key.add", added), ("key.rotate", added), ("key.add", again.now), ("key.rotate", again.now)]
    assert done.now == added


def test_the_old_key_is_kept_until_it_is_not_needed(store, path):
    done = HubKeys(store).rotate(by=BY, keep_old=True, on_one_machine=True)
    assert done.known == (done.was, done.now)
    assert HubKeys(store).state().secrets == {done.now: 1}
    ended = HubKeys(store).rotate(by=BY)
    assert (ended.now, ended.secrets, ended.known) == (done.now, 0, (done.now,))
    assert len(keys_in(path)) == 1


def test_a_key_in_the_variable(hub_url, folder, monkeypatch):
    first, second = bytes(range(32)).hex(), bytes(range(1, 33)).hex()
    monkeypatch.setenv(KEY_VARIABLE, first)
    store = HubStore.open(folder, url=hub_url)
    Administration(store, actor="TEST").add_system("TEST.A", secret=SECRET)
    for call in (HubKeys(store).rotate, HubKeys(store).add):
        with pytest.raises(UsageError) as caught:
            call(by=BY)
        assert caught.value.code == "hub.key-in-variable"
    store.close()
    monkeypatch.setenv(KEY_VARIABLE, f"{first} {second}")
    store = HubStore.open(folder, url=hub_url)
    done = HubKeys(store).rotate(by=BY)
    assert (done.was, done.now) == (HubKey(bytes.fromhex(first)).id, HubKey(bytes.fromhex(second)).id)
    store.close()
    monkeypatch.setenv(KEY_VARIABLE, second)
    store = HubStore.open(folder, url=hub_url)
    assert keys_of(store) == keys(SECRET)
    store.close()
    monkeypatch.setenv(KEY_VARIABLE, first)
    with pytest.raises(CredentialError) as caught:
        HubStore.open(folder, url=hub_url)
    assert caught.value.code == "hub.wrong-key"


def test_what_cannot_be_opened_stops_the_change(store, path):
    with store.database.writing() as session:
        row = session.scalars(sa.select(HubSecretRow)).one()
        row.sealed = HubKey(bytes(32)).seal(SECRET, owner="system:TEST.A")
    before = sealed(store)
    with pytest.raises(CredentialError):
        HubKeys(store).rotate(by=BY, on_one_machine=True)
    assert sealed(store) == before
    assert len(keys_in(path)) == 2, "the new one is there and does no harm"


_KILLED = """
import os, signal, sys
from vnedoc.exchange.hub import sealing
from vnedoc.exchange.stores import hub_audit, hub_keys
from vnedoc.exchange.stores.database import Database

def trap(place, name, turn, after):
    original, calls = getattr(place, name), []
    def wrapped(*args, **options):
        calls.append(1)
        if len(calls) == turn and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if len(calls) == turn and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(place, name, wrapped)

STEP
from vnedoc._cli.main import run
sys.argv = ["vnedoc", "hub", "key", "rotate", "--one-machine"]
run()
"""
_STEPS = {
    "the new file is written beside the old one": "trap(sealing.Path, 'replace', 1, False)",
    "the file has both keys": "trap(sealing.Path, 'replace', 1, True)",
    "the log is about to name the new key": "trap(hub_audit, 'append', 1, True)",
    "all is sealed anew and not committed": "trap(hub_audit, 'append', 2, True)",
    "all is sealed anew": "trap(hub_keys.HubKeys, '_seal_again', 1, True)",
    "it is committed": "trap(hub_keys, 'keep_only', 1, False)",
    "the file without the old key is written": "trap(sealing.Path, 'replace', 2, False)",
    "the old key is taken out": "trap(sealing.Path, 'replace', 2, True)",
}


@pytest.mark.parametrize("step", _STEPS)
def test_killed_between_the_steps(store, new_store, folder, path, hub_url, step):
    running = new_store()
    environment = {
        **os.environ,
        "VNEDOC_HUB_DATA": str(folder),
        "VNEDOC_HUB_DATABASE": hub_url,
        "HOME": str(folder),
    }
    script = _KILLED.replace("STEP", _STEPS[step])
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert audit_problems(running) == []
    assert path.stat().st_mode & 0o777 == 0o600
    # Whatever was done: what runs goes on, what starts starts, and what is sealed now is opened later.
    assert keys_of(running) == keys(SECRET)
    fresh = new_store()
    assert keys_of(fresh) == keys(SECRET)
    made = [Administration(each, actor="TEST").rotate_secret("TEST.A").secret for each in (running, fresh)]
    assert keys_of(new_store()) == keys(made[1], made[0])
    done = HubKeys(new_store()).rotate(by=BY, on_one_machine=True)
    assert keys_in(path) == [line for line in keys_in(path) if HubKey(bytes.fromhex(line)).id == done.now]
    assert list(folder.glob(".hub-key-*")) == []
    assert sealed(fresh) == {done.now}
    assert keys_of(fresh) == keys(made[1], made[0])
    assert keys_of(running) == keys(made[1], made[0])
    assert audit_problems(running) == []


def test_nothing_of_the_old_seal_stays_in_a_file(folder):
    store = HubStore.open(folder)
    Administration(store, actor="TEST").add_system("TEST.A", secret=SECRET)
    with sqlite3.connect(folder / "hub.sqlite3") as connection:
        [[old]] = connection.execute("SELECT sealed FROM hub_secrets")
    connection.close()
    HubKeys(store).rotate(by=BY)
    store.close()
    for file in folder.glob("hub.sqlite3*"):
        assert old.encode() not in file.read_bytes()


def test_keys_of_a_file(tmp_path):
    path = tmp_path / KEY_FILE_NAME
    first = make_key_file(path)
    both = add_key(path, new_key())
    assert both.ids == (first.id, both.ids[1])
    assert both.id == first.id
    assert both.sealing_with("0" * 16) is None
    second = both.sealing_with(both.ids[1])
    text = second.seal(SECRET, owner="TEST")
    assert both.open(text, owner="TEST") == SECRET
    with pytest.raises(CredentialError):
        first.open(text, owner="TEST")
    with pytest.raises(CredentialError):
        keep_only(path, "0" * 16)
    assert keep_only(path, both.ids[1]).ids == (both.ids[1],)
    assert load_key(path, environment={}).open(text, owner="TEST") == SECRET
    assert [item.name for item in tmp_path.iterdir()] == [KEY_FILE_NAME]
    path.unlink()
    with pytest.raises(CredentialError) as caught:
        add_key(path, new_key())
    assert caught.value.code == "hub.missing-key"


def test_the_commands(folder, path, monkeypatch):
    monkeypatch.setenv("VNEDOC_HUB_DATA", str(folder))
    store = HubStore.open(folder)
    fill(Administration(store, actor="TEST"))
    state = vnedoc("hub", "key", "show", "--format", "json").json()
    assert state["known"] == [state["current"]]
    assert state["secrets"] == {state["current"]: 2}
    added = vnedoc("hub", "key", "add")
    assert added.code == 0
    shown = vnedoc("hub", "key", "show").out.splitlines()
    assert shown[0].split() == [state["current"], "2", "seals"]
    assert shown[1].split()[1:] == ["0"]
    done = vnedoc("hub", "key", "rotate", "--keep-old")
    assert "2 secrets were sealed anew" in done.out
    assert state["current"] in done.out
    ended = vnedoc("hub", "key", "rotate", "--format", "json").json()
    assert (ended["secrets"], len(ended["known"])) == (0, 1)
    text = path.read_text().strip()
    for outcome in (added, done):
        assert text not in outcome.out + outcome.err
    store.close()
