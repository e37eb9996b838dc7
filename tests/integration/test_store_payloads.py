"""Where packages are kept: one suite for a folder and for an object store that speaks S3."""

import contextlib
import errno
import hashlib
import io
import os
import re
import resource
import shutil
import stat
import threading

import pytest

from tests.stores import queue
from vnedoc.errors import ConfigurationError, InputError, RemoteError, VnedocError
from vnedoc.exchange.stores.checking import check_store
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.migration import copy_payloads
from vnedoc.exchange.stores.payloads import FolderPayloads, StoredPayload, open_payloads
from vnedoc.exchange.stores.s3 import S3Payloads
from vnedoc.exchange.stores.store import AgencyStore

SMALL = b"TEST " * 1000
# More than one part of an upload.
LARGE = os.urandom(1024) * (20 * 1024)
NOTHING = "0" * 64


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    if request.param == "folder":
        return FolderPayloads(tmp_path / "payloads")
    return open_payloads(request.getfixturevalue("s3_address"))


def adopt(store, content=SMALL):
    with store.temporary() as path:
        path.write_bytes(content)
        return store.adopt(path)


def put(store, content):
    return store.put(content)


@pytest.mark.parametrize("way", [adopt, put])
@pytest.mark.parametrize("content", [b"", b"x", SMALL, LARGE], ids=["empty", "one byte", "small", "large"])
def test_what_goes_in_comes_out(store, content, way):
    payload = way(store, content)
    assert payload == StoredPayload(hashlib.sha256(content).hexdigest(), len(content))
    assert store.size(payload.sha256) == len(content)
    with store.open(payload.sha256) as stream:
        assert stream.read() == content
    with store.local(payload.sha256) as path:
        assert path.read_bytes() == content


def test_the_same_content_is_kept_once(store):
    assert adopt(store) == adopt(store)
    assert len(list(store.listed())) == 1


def test_many_adopt_the_same_content_at_once(store):
    outcomes = []
    barrier = threading.Barrier(6)

    def work():
        barrier.wait()
        try:
            outcomes.append(adopt(store))
        except VnedocError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(outcomes) == {StoredPayload(hashlib.sha256(SMALL).hexdigest(), len(SMALL))}


def test_what_is_missing(store):
    assert store.size(NOTHING) is None
    with pytest.raises(InputError), store.local(NOTHING):
        pass
    with pytest.raises(InputError):
        store.open(NOTHING)
    store.remove(NOTHING)


@pytest.mark.parametrize("name", ["", "../" * 20 + "etc/passwd", "A" * 64, "0" * 63, NOTHING + "\n"])
def test_a_name_is_a_digest(store, name):
    for call in (store.size, store.open, store.remove):
        with pytest.raises(ValueError, match="digest"):
            call(name)


def test_what_is_removed_is_gone(store):
    payload = adopt(store)
    store.remove(payload.sha256)
    assert store.size(payload.sha256) is None
    assert list(store.listed()) == []
    with pytest.raises(InputError), store.local(payload.sha256):
        pass
    assert adopt(store) == payload


def test_a_listing_tells_size_and_time(store):
    payloads = {adopt(store, content).sha256: len(content) for content in (SMALL, b"x", b"")}
    listed = list(store.listed())
    assert {item.sha256: item.size for item in listed} == payloads
    assert all(item.modified_at.tzinfo is not None for item in listed)


def test_nothing_is_left_of_what_was_not_adopted(store, tmp_path):
    with pytest.raises(RuntimeError), store.temporary() as path:
        path.write_bytes(SMALL)
        raise RuntimeError
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == SMALL]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_nothing_is_left_of_what_could_not_be_put(tmp_path, monkeypatch, call):
    store = FolderPayloads(tmp_path / "payloads")
    store.prepare()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(InputError) as caught:
        patch.setattr(os, call, full)
        store.put(SMALL)
    assert caught.value.code == "file.cannot-write"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.put(SMALL).size == len(SMALL)


def test_what_is_put_is_written_to_its_end(tmp_path, monkeypatch):
    store, write = FolderPayloads(tmp_path / "payloads"), os.write
    # A file system may take less than it is given.
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[:1000]))
    payload = store.put(SMALL)
    with store.open(payload.sha256) as stream:
        assert stream.read() == SMALL


def test_a_store_that_is_prepared_has_its_folders(store, tmp_path):
    store.prepare()
    store.prepare()
    payload = store.put(SMALL)
    assert adopt(store) == payload
    if isinstance(store, FolderPayloads):
        assert {stat.S_IMODE(path.stat().st_mode) for path in store.path("ff" * 32).parents[1].iterdir()} == {
            0o700
        }
        assert len(list(store.path("ff" * 32).parents[1].iterdir())) == 256
        assert stat.S_IMODE(store.path(payload.sha256).stat().st_mode) == 0o600


def test_folders_that_went_missing_are_made_again(tmp_path):
    store = FolderPayloads(tmp_path / "payloads")
    store.put(SMALL)
    shutil.rmtree(tmp_path / "payloads")
    assert store.size(store.put(SMALL).sha256) == len(SMALL)


def test_what_a_killed_process_left_is_swept(store):
    with store.temporary() as path:
        path.write_bytes(SMALL)
        assert store.sweep() == 0
        assert store.sweep(older_than_s=-1) == 1


def test_folders_that_a_killed_process_left_are_swept(store):
    """A wire that sends attachments apart takes packages apart in folders of its own."""
    with store.temporary() as path:
        folder = path.with_suffix(".parts")
        folder.mkdir()
        (folder / "1").write_bytes(SMALL)
        assert store.sweep() == 0
        assert store.sweep(older_than_s=-1) == 1
        assert not folder.exists()


def test_what_cannot_be_swept_is_said_and_stops_nothing(store, caplog):
    with store.temporary() as path:
        pass
    path.parent.rmdir()
    path.parent.write_text("TEST: no folder")
    assert store.sweep(older_than_s=-1) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_file_is_copied_in(store, tmp_path):
    source = tmp_path / "a.edxml"
    source.write_bytes(SMALL)
    assert store.copy_in(source).size == len(SMALL)
    with pytest.raises(InputError):
        store.copy_in(tmp_path / "missing")


def test_an_agency_s_store_works_on_either(store, store_url):
    opened = AgencyStore(Database(store_url, branch="agency"), store)
    message = queue(opened, "1")
    assert check_store(opened, content=True).is_whole
    store.remove(message.payload.sha256)
    assert [item.id for item in check_store(opened).problems] == ["store.payload-missing"]
    opened.close()


# What only an object store has


@pytest.fixture
def bucket(s3_address):
    return open_payloads(s3_address)


def cached(payloads):
    return [path for path in (payloads._cache / "sha256").rglob("*") if path.is_file()]


def another_machine(s3_address, tmp_path, *, cache_mib=100):
    """Open the same bucket with a cache of its own."""
    return S3Payloads.from_address(
        re.sub("cache=[^&]*", f"cache={tmp_path}/elsewhere&cache_mib={cache_mib}", s3_address)
    )


def test_another_machine_fetches_once(bucket, s3_address, tmp_path):
    payload = adopt(bucket)
    other = another_machine(s3_address, tmp_path)
    with other.local(payload.sha256) as path:
        assert path.read_bytes() == SMALL
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    bucket.remove(payload.sha256)
    # From the copy.
    with other.local(payload.sha256) as path:
        assert path.read_bytes() == SMALL


def test_copies_take_no_more_than_they_may(bucket, s3_address, tmp_path):
    payloads = [adopt(bucket, bytes([number]) * 600_000) for number in range(5)]
    other = another_machine(s3_address, tmp_path, cache_mib=1)
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(other.local(payload.sha256)) for payload in payloads]
        assert sum(path.stat().st_size for path in cached(other)) <= 1024**2
        # What is in use stays, whatever the others do.
        assert [path.read_bytes()[:1] for path in paths] == [bytes([number]) for number in range(5)]
    assert list((other._cache / "incoming").iterdir()) == []


def spoil(bucket, payload, content):
    import obstore

    digest = payload.sha256
    obstore.put(bucket._bucket, f"sha256/{digest[:2]}/{digest}", io.BytesIO(content))


@pytest.mark.parametrize("content", [b"x" * len(SMALL), SMALL[:-1], b""], ids=["changed", "cut", "empty"])
def test_a_damaged_object_is_not_given_out(bucket, s3_address, tmp_path, content):
    payload = adopt(bucket)
    spoil(bucket, payload, content)
    other = another_machine(s3_address, tmp_path)
    with pytest.raises(InputError) as caught, other.local(payload.sha256):
        pass
    assert caught.value.code == "store.payload-damaged"
    assert cached(other) == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_an_object_that_was_cut_is_mended_by_the_same_content(bucket, s3_address, tmp_path, content):
    payload = adopt(bucket, content)
    spoil(bucket, payload, b"cut")
    adopt(bucket, content)
    with another_machine(s3_address, tmp_path).local(payload.sha256) as path:
        assert path.read_bytes() == content


def test_a_foreign_object_is_passed_over(bucket):
    import obstore

    adopt(bucket)
    obstore.put(bucket._bucket, "sha256/zz/notes.txt", b"TEST")
    assert len(list(bucket.listed())) == 1


def test_from_a_folder_to_an_object_store(bucket, s3_address, tmp_path):
    folder = FolderPayloads(tmp_path / "payloads")
    payloads = [adopt(folder, content) for content in (SMALL, LARGE)]
    assert copy_payloads(folder, bucket) == 2
    other = another_machine(s3_address, tmp_path)
    for payload, content in zip(payloads, (SMALL, LARGE), strict=True):
        with other.local(payload.sha256) as path:
            assert path.read_bytes() == content


@pytest.mark.parametrize(
    "address",
    [
        "s3://",
        "s3:/bucket",
        "s3://key:secret@bucket/",
        "s3://bucket/#x",
        "s3://bucket/?unknown=1",
        "s3://bucket/?endpoint=http://s3.example.vn",
        "s3://bucket/?endpoint=ftp://127.0.0.1",
        "s3://bucket/?cache_mib=many",
        "s3://bucket/?ca_file=/nonexistent/TEST.pem",
    ],
)
def test_addresses_that_are_wrong(address):
    with pytest.raises(ConfigurationError) as caught:
        open_payloads(address)
    assert caught.value.code == "store.s3-address"
    assert "secret" not in str(caught.value)


def test_an_address_may_name_everything(tmp_path):
    payloads = open_payloads(
        f"s3://bucket/a/b?endpoint=https://s3.example.vn&region=vn-1&cache={tmp_path}/c&cache_mib=5"
    )
    assert isinstance(payloads, S3Payloads)
    assert payloads._max_cache_bytes == 5 * 1024**2


def test_a_store_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TEST")
    payloads = open_payloads(f"s3://bucket/?endpoint=http://127.0.0.1:9&cache={tmp_path}")
    with pytest.raises(RemoteError) as caught:
        adopt(payloads)
    assert caught.value.code == "store.s3-trouble"
    assert caught.value.retryable


def test_a_bucket_that_is_not_there(s3_address, tmp_path):
    address = s3_address.replace("s3://test-", "s3://missing-")
    store = open_payloads(address)
    # Also what goes in parts, and a list: nobody is told that a package of theirs is lost.
    for use in (adopt, lambda store: adopt(store, LARGE), lambda store: list(store.listed())):
        with pytest.raises(ConfigurationError) as caught:
            use(store)
        assert caught.value.code == "store.s3-no-bucket"


def test_a_copy_that_cannot_be_written_is_not_said_of_the_file(store, tmp_path):
    source = tmp_path / "TEST.edxml"
    source.write_bytes(b"TEST" * 100_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk: the write fails, the file could be read.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InputError) as caught:
            store.copy_in(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "file.cannot-write"
    with pytest.raises(InputError) as caught:
        store.copy_in(tmp_path / "nothing.edxml")
    assert (caught.value.code, caught.value.values["path"]) == (
        "file.cannot-read",
        tmp_path / "nothing.edxml",
    )
