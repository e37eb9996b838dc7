"""Rows about disks that are full."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crashes.looking import error_of, expect_whole, receive
from vnedoc.errors import VnedocError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crashes.places import Place

__all__ = ["disk_full", "disk_full_sending"]

# Its package has 8 MB: more than the small disk, and more than the databases of a hub grow to here.
TOO_LARGE_BYTES = 6_000_000
FILE_SIZE_LIMIT = 5 * 1024 * 1024


def disk_full(place: Place) -> str:
    """The disk of the receiver is full while it takes a package in."""
    with place.world() as world, _small_disk(world.folder / "disk") as disk:
        world.a.exchange.send(world.package(size=TOO_LARGE_BYTES))
        inbox = world.b.inbox
        if disk is None:
            # RLIMIT_FSIZE stands for it where a process may not mount: files end at a size, with another error code.
            with _file_size_limit(FILE_SIZE_LIMIT):
                outcomes = receive(world.b)
        else:
            payloads = Path(world.b.account.folder) / "payloads"
            shutil.rmtree(payloads, ignore_errors=True)
            payloads.symlink_to(disk / "payloads")
            inbox.symlink_to(disk / "received")
            (disk / "received").mkdir()
            (disk / "payloads").mkdir(mode=0o700)
            outcomes = receive(world.b)
        [taken] = outcomes
        assert isinstance(taken.error, VnedocError)
        assert taken.error.code == "file.cannot-write"
        assert world.b.store.received() == []
        assert world.problems_now() == []
        if disk is not None:
            # Room for the payload, none for the files for people.
            _resize(disk, "9m")
            assert any(item.error is not None for item in receive(world.b))
            assert world.problems_now() == []
            _resize(disk, "64m")
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return "refused cleanly, not acknowledged; once there is room: once" + (
            "" if disk else " (by a limit of file sizes)"
        )


def disk_full_sending(place: Place) -> str:
    """The disk of the sender is full while a package is queued."""
    with place.world() as world, _small_disk(world.folder / "disk") as disk:
        path = world.package(size=TOO_LARGE_BYTES)
        if disk is None:
            with _file_size_limit(FILE_SIZE_LIMIT):
                error = error_of(lambda: world.a.exchange.queue(path))
        else:
            (Path(world.a.account.folder) / "payloads").symlink_to(disk / "payloads")
            (disk / "payloads").mkdir(mode=0o700)
            error = error_of(lambda: world.a.exchange.queue(path))
        assert error.code.startswith("file."), error.code
        assert world.a.store.sent() == []
        assert world.problems_now() == []
        if disk is not None:
            _resize(disk, "64m")
        world.a.exchange.send(path)
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return "refused cleanly, nothing queued; once there is room: once"


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk of 1 MB; ``None`` where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = False
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount"):
        mounted = subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True, timeout=30)


def _resize(disk: Path, size: str) -> None:
    command = ["mount", "-o", f"remount,size={size}", str(disk)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """Let writes beyond a size fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
