"""Packages, named by their content: one object for any number of recipients, attempts and copies.

In a folder a payload is written under a temporary name, reaches the disk, and takes its name by a rename; then the
folder reaches the disk. When :meth:`PayloadStore.adopt` returns, a power failure does not take the payload away. The
other place is an object store: :mod:`vnedoc.exchange.stores.s3`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

__all__ = [
    "FolderPayloads",
    "ListedPayload",
    "PayloadStore",
    "StoredPayload",
    "check_digest",
    "open_payloads",
]

logger = logging.getLogger("vnedoc.exchange")

CHUNK_BYTES = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700


@dataclasses.dataclass(frozen=True, slots=True)
class StoredPayload:
    """A payload that is safe on the disk."""

    sha256: str
    """SHA-256 of its bytes in lower-case hexadecimal; its name in the store."""
    size: int
    """Its size in bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class ListedPayload:
    """A payload as a listing of the store shows it."""

    sha256: str
    """Its name."""
    size: int
    """Its size in bytes."""
    modified_at: datetime.datetime
    """When it was last taken into the store."""


class PayloadStore(abc.ABC):
    """A place for payloads; several processes may use it at the same time. No payload is ever whole in memory."""

    _incoming: Path
    """A folder on this machine for what is on its way."""

    @abc.abstractmethod
    def temporary(self) -> AbstractContextManager[Path]:
        """Name a local file to write a payload to; what is left of it is removed at the end.

        Raises:
            InputError: Its folder cannot be made.
        """

    @abc.abstractmethod
    def adopt(self, path: Path, *, sha256: str | None = None) -> StoredPayload:
        """Take a file of :meth:`temporary` into the store, durably.

        Args:
            path: The file.
            sha256: Its SHA-256 in lower-case hexadecimal, if its bytes were just hashed.

        Raises:
            InputError: The file cannot be read, or the store not written.
            RemoteError: The store does not answer.
        """

    def put(self, content: bytes, *, sha256: str | None = None) -> StoredPayload:
        """Take the bytes of a small payload into the store, durably.

        Args:
            content: The bytes.
            sha256: Their SHA-256 in lower-case hexadecimal, if they were just hashed.

        Raises:
            InputError: The store cannot be written.
            RemoteError: The store does not answer.
        """
        with self.temporary() as path:
            try:
                path.write_bytes(content)
            except OSError as exc:
                raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc
            return self.adopt(path, sha256=sha256)

    def copy_in(self, source: Path) -> StoredPayload:
        """Copy a file into the store, durably.

        Raises:
            InputError: The file cannot be read, or the store not written.
            RemoteError: The store does not answer.
        """
        with self.temporary() as path:
            try:
                with path.open("xb") as stream:
                    for chunk in _chunks(source):
                        stream.write(chunk)
            except OSError as exc:
                raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc
            return self.adopt(path)

    @abc.abstractmethod
    def local(self, sha256: str) -> AbstractContextManager[Path]:
        """Give a payload as a local file, for those who need one; it may be gone when the block ends.

        Raises:
            InputError: It is missing or cannot be read.
            RemoteError: The store does not answer.
        """

    @abc.abstractmethod
    def open(self, sha256: str) -> BinaryIO:
        """Open a payload for reading from its beginning to its end.

        Raises:
            InputError: It is missing or cannot be read.
            RemoteError: The store does not answer.
        """

    @abc.abstractmethod
    def size(self, sha256: str) -> int | None:
        """Return the size of a payload in bytes, or ``None`` if it is not there.

        Raises:
            InputError: The store cannot be read.
            RemoteError: The store does not answer.
        """

    @abc.abstractmethod
    def listed(self) -> Iterator[ListedPayload]:
        """List all payloads, in no order.

        Raises:
            InputError: The store cannot be read.
            RemoteError: The store does not answer.
        """

    @abc.abstractmethod
    def remove(self, sha256: str) -> None:
        """Remove a payload; one that is not there is removed already.

        Raises:
            InputError: It cannot be removed.
            RemoteError: The store does not answer.
        """

    def prepare(self) -> None:  # noqa: B027 - not every place has something to make ready
        """Make ready for many payloads, so that the first of them take no longer than the others.

        Raises:
            InputError: The store cannot be written.
        """

    def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """Remove what a killed process left half written on this machine; return how much of it went.

        What cannot be removed stays, and the log says so: nobody has to wait for room that is only untidy.

        Args:
            older_than_s: What is younger may belong to a process that is still at work.
        """
        limit = time.time() - older_than_s
        return sum(_remove_old(path, limit) for path in _left_in(self._incoming))


def open_payloads(place: Path | str) -> PayloadStore:
    """Open the place where payloads are.

    Args:
        place: A folder, or ``s3://BUCKET/PREFIX`` with the options of
            :meth:`vnedoc.exchange.stores.s3.S3Payloads.from_address`.

    Raises:
        ConfigurationError: The address is wrong.
        MissingExtraError: The part for object stores is not installed.
    """
    text = str(place)
    if text.startswith("s3:/"):
        from vnedoc.exchange.stores.s3 import S3Payloads

        return S3Payloads.from_address(text)
    return FolderPayloads(Path(place))


def _chunks(source: Path) -> Iterator[bytes]:
    """Read a file; its troubles are told apart from those of whoever writes what is read."""
    try:
        with source.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise InputError("file.cannot-read", path=source, reason=exc.strerror) from exc


def check_digest(sha256: str) -> str:
    """Return a SHA-256 in lower-case hexadecimal; it becomes part of a path.

    Raises:
        ValueError: It is something else.
    """
    if not _DIGEST.fullmatch(sha256):
        raise ValueError("not a SHA-256 digest")
    return sha256


class FolderPayloads(PayloadStore):
    """A folder of payloads.

    Args:
        folder: The folder; made if it is missing, readable for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._sorted = folder / "sha256"

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Name a file in the store's own folder: from there a payload takes its name by a rename."""
        path = self._new_path()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _new_path(self) -> Path:
        try:
            _make_folder(self._incoming)
        except OSError as exc:
            raise InputError("file.cannot-write", path=self._incoming, reason=exc.strerror) from exc
        return self._incoming / secrets.token_hex(16)

    def adopt(self, path: Path, *, sha256: str | None = None) -> StoredPayload:
        """Take a file of :meth:`temporary` into the store, durably."""
        try:
            with path.open("rb+") as stream:
                digest = sha256 or hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.seek(0, os.SEEK_END)
                os.fchmod(stream.fileno(), _FILE_MODE)
                os.fsync(stream.fileno())
            self._name(path, digest)
        except OSError as exc:
            raise self._not_written(exc) from exc
        return StoredPayload(digest, size)

    def put(self, content: bytes, *, sha256: str | None = None) -> StoredPayload:
        """Take the bytes of a small payload into the store, durably; opened once, and by few calls."""
        digest = sha256 or hashlib.sha256(content).hexdigest()
        path = self._new_path()
        try:
            try:
                _write_durably(path, content)
                self._name(path, digest)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise self._not_written(exc) from exc
        return StoredPayload(digest, len(content))

    def _name(self, path: Path, sha256: str) -> None:
        """Give a file that is on the disk its name, durably."""
        final = self.path(sha256)
        _make_folder(final.parent)
        # The same content under the same name: replacing it changes nothing, and mends a damaged file.
        path.replace(final)
        _sync_folder(final.parent)

    def _not_written(self, error: OSError) -> InputError:
        return InputError("file.cannot-write", path=self._folder, reason=error.strerror)

    def path(self, sha256: str) -> Path:
        """Return where a payload lies, whether it is there or not.

        Raises:
            ValueError: It is not a SHA-256 in lower-case hexadecimal.
        """
        return self._sorted / check_digest(sha256)[:2] / sha256

    @contextlib.contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        """Give the file itself."""
        path = self.path(sha256)
        if not path.is_file():
            raise InputError("file.cannot-read", path=path, reason=os.strerror(errno.ENOENT))
        yield path

    def open(self, sha256: str) -> BinaryIO:
        """Open a payload for reading."""
        path = self.path(sha256)
        try:
            return path.open("rb")
        except OSError as exc:
            raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc

    def size(self, sha256: str) -> int | None:
        """Return the size of a payload in bytes, or ``None`` if it is not there."""
        path = self.path(sha256)
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc

    def listed(self) -> Iterator[ListedPayload]:
        """List all payloads, in no order; those that come or go meanwhile may be among them or not."""
        for path in self._sorted.glob("??/*"):
            if not _DIGEST.fullmatch(path.name):
                continue
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                moment = datetime.datetime.fromtimestamp(about.st_mtime, datetime.UTC)
                yield ListedPayload(path.name, about.st_size, moment)

    def remove(self, sha256: str) -> None:
        """Remove a payload; one that is not there is removed already."""
        path = self.path(sha256)
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc

    def prepare(self) -> None:
        """Make all folders: one wait for the disk instead of one for each of them."""
        try:
            _make_folder(self._incoming)
            _make_folder(self._sorted)
            missing = [
                folder
                for folder in (self._sorted / f"{number:02x}" for number in range(256))
                if not folder.is_dir()
            ]
            for folder in missing:
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            if missing:
                _sync_folder(self._sorted)
        except OSError as exc:
            raise self._not_written(exc) from exc


def _left_in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning("what killed processes left cannot be listed", extra={"reason": error.strerror})
        return []


def _remove_old(path: Path, limit: float) -> bool:
    try:
        about = path.lstat()
        if about.st_mtime > limit:
            return False
        # A wire that sends attachments apart takes packages apart in a folder of its own.
        if stat.S_ISDIR(about.st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        # Another process sweeps, too.
        return False
    except OSError as error:
        logger.warning("what a killed process left cannot be removed", extra={"reason": error.strerror})
        return False
    return True


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, durably."""
    if os.path.isdir(folder):  # noqa: PTH112 - asked for each payload, and much quicker than pathlib
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    # The new name must survive a power failure too.
    _sync_folder(folder.parent)


def _write_durably(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE_MODE)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
