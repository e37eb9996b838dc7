"""Packages as files, named by their content: one file for any number of recipients, attempts and copies.

A payload is written under a temporary name, reaches the disk, and takes its name by a rename; then the folder
reaches the disk. When :meth:`PayloadStore.adopt` returns, a power failure does not take the payload away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import secrets
import time
from typing import TYPE_CHECKING

from vnedoc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["PayloadStore", "StoredPayload"]

CHUNK_BYTES = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, slots=True)
class StoredPayload:
    """A payload that is safe on the disk."""

    sha256: str
    """SHA-256 of its bytes in lower-case hexadecimal; its name in the store."""
    size: int
    """Its size in bytes."""


class PayloadStore:
    """A folder of payloads; several processes may use it at the same time.

    Args:
        folder: The folder; made if it is missing, readable for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Name a file in the store's own folder to write a payload to; what is left of it is removed at the end.

        Raises:
            InputError: The folder cannot be made.
        """
        try:
            _make_folder(self._folder)
            _make_folder(self._incoming)
        except OSError as exc:
            raise InputError("file.cannot-write", path=self._incoming, reason=exc.strerror) from exc
        path = self._incoming / secrets.token_hex(16)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def adopt(self, path: Path) -> StoredPayload:
        """Take a file of :meth:`temporary` into the store, durably.

        Raises:
            InputError: The file cannot be read, or the store not written.
        """
        try:
            with path.open("rb+") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.tell()
                os.fchmod(stream.fileno(), 0o600)
                os.fsync(stream.fileno())
            final = self.path(digest)
            _make_folder(final.parent.parent)
            _make_folder(final.parent)
            # The same content under the same name: replacing it changes nothing, and mends a damaged file.
            path.replace(final)
            _sync_folder(final.parent)
        except OSError as exc:
            raise InputError("file.cannot-write", path=self._folder, reason=exc.strerror) from exc
        return StoredPayload(digest, size)

    def copy_in(self, source: Path) -> StoredPayload:
        """Copy a file into the store, durably.

        Raises:
            InputError: The file cannot be read, or the store not written.
        """
        with self.temporary() as path:
            try:
                with source.open("rb") as original, path.open("xb") as stream:
                    while chunk := original.read(CHUNK_BYTES):
                        stream.write(chunk)
            except OSError as exc:
                raise InputError("file.cannot-read", path=source, reason=exc.strerror) from exc
            return self.adopt(path)

    def path(self, sha256: str) -> Path:
        """Return where a payload lies, whether it is there or not.

        Raises:
            ValueError: It is not a SHA-256 in lower-case hexadecimal.
        """
        if not _DIGEST.fullmatch(sha256):
            raise ValueError("not a SHA-256 digest")
        return self._folder / "sha256" / sha256[:2] / sha256

    def open(self, sha256: str) -> BinaryIO:
        """Open a payload for reading.

        Raises:
            InputError: It is missing or cannot be read.
        """
        path = self.path(sha256)
        try:
            return path.open("rb")
        except OSError as exc:
            raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc

    def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """Remove what a killed process left half written; return how many files.

        Args:
            older_than_s: Younger files may belong to a process that is still at work.
        """
        count = 0
        limit = time.time() - older_than_s
        for path in self._incoming.iterdir() if self._incoming.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime <= limit:
                    path.unlink()
                    count += 1
        return count


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The new name must survive a power failure too.
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
