"""Files appear whole or not at all."""

import stat
from pathlib import Path

import pytest

from tests.full_disks import room_for
from vnedoc._internal.files import atomic_write, read_bytes, write_bytes
from vnedoc.errors import InputError


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_write(target) as stream:
        stream.write(b"half")
        assert not target.exists()
        stream.write(b" done")
    assert target.read_bytes() == b"half done"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert stat.S_IMODE(target.stat().st_mode) & 0o077 != 0, "an ordinary file, not one for the owner alone"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="cut"), atomic_write(target) as stream:
        stream.write(b"half")
        raise RuntimeError("cut")
    assert target.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_bytes(tmp_path / "none" / "out", b"")
    assert caught.value.code == "file.cannot-write"


# What fits into the buffer is written at the end, and what does not at once.
@pytest.mark.parametrize("size", [2_000, 3_000_000])
def test_a_full_disk_is_one_clear_error(tmp_path: Path, size: int) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"before")
    with room_for(1_000), pytest.raises(InputError) as caught:
        write_bytes(target, bytes(size))
    assert caught.value.code == "file.cannot-write"
    assert caught.value.values["path"] == target
    assert target.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_name_that_is_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        write_bytes(tmp_path / "out", b"content")
    assert caught.value.code == "file.cannot-write"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_the_writer_meets_elsewhere_is_not_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out"):
        (tmp_path / "none").stat()
    assert list(tmp_path.iterdir()) == []


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"12345")
    assert read_bytes(path, max_bytes=5) == b"12345"
    with pytest.raises(InputError) as caught:
        read_bytes(path, max_bytes=4)
    assert caught.value.code == "file.too-large"


@pytest.mark.parametrize("name", ["none", "."])
def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path / name, max_bytes=10)
    assert caught.value.code == "file.cannot-read"
