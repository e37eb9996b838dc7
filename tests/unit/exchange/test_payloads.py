import hashlib
import os
import stat
import threading

import pytest

from vnedoc.errors import InputError
from vnedoc.exchange.stores.payloads import FolderPayloads, StoredPayload

CONTENT = b"TEST" * 1000


@pytest.fixture
def store(tmp_path):
    return FolderPayloads(tmp_path / "payloads")


def adopt(store, content=CONTENT):
    with store.temporary() as path:
        path.write_bytes(content)
        return store.adopt(path)


def test_a_payload_is_named_by_its_content(store):
    payload = adopt(store)
    assert payload == StoredPayload(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    with store.open(payload.sha256) as stream:
        assert stream.read() == CONTENT


def test_the_same_content_is_kept_once(store, tmp_path):
    assert adopt(store) == adopt(store)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_damaged_payload_is_mended_by_the_same_content(store):
    payload = adopt(store)
    store.path(payload.sha256).write_bytes(b"damaged")
    adopt(store)
    assert store.path(payload.sha256).read_bytes() == CONTENT


def test_nothing_is_left_of_what_was_not_adopted(store, tmp_path):
    with pytest.raises(RuntimeError), store.temporary() as path:
        path.write_bytes(CONTENT)
        raise RuntimeError
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_payloads_are_for_their_owner_only(store):
    path = store.path(adopt(store).sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_is_copied_in_and_stays(store, tmp_path):
    source = tmp_path / "a.edxml"
    source.write_bytes(CONTENT)
    payload = store.copy_in(source)
    assert source.read_bytes() == CONTENT
    assert store.path(payload.sha256).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["missing.edxml", "."])
def test_a_source_that_cannot_be_read(store, tmp_path, name):
    with pytest.raises(InputError) as caught:
        store.copy_in(tmp_path / name)
    assert caught.value.code == "file.cannot-read"


def test_a_missing_payload_cannot_be_opened(store):
    with pytest.raises(InputError):
        store.open("0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_only_digests_are_names(store, name):
    with pytest.raises(ValueError, match="digest"):
        store.path(name)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        adopt(FolderPayloads(tmp_path / "file" / "payloads"))
    assert caught.value.code == "file.cannot-write"


def test_the_sweep_removes_only_what_is_old(store, tmp_path):
    adopt(store)
    incoming = tmp_path / "payloads" / "incoming"
    old, young = incoming / "old", incoming / "young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert store.sweep() == 1
    assert [path.name for path in incoming.iterdir()] == ["young"]


def test_the_sweep_of_a_new_store(store):
    assert store.sweep() == 0


def test_many_writers_of_one_content(store):
    failures = []

    def work():
        try:
            for _ in range(20):
                adopt(store)
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.path(hashlib.sha256(CONTENT).hexdigest()).read_bytes() == CONTENT
