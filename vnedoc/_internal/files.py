"""Files: written whole or not at all, and never outside the folder that was named."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from vnedoc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_write", "read_bytes", "write_bytes"]

# What only a write can meet. Whoever writes may also read elsewhere meanwhile, and has words of his own for that.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when the block ends well.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name by a rename. When the
    block raises, the temporary file is removed and whatever stood under the name before is untouched.

    Raises:
        InputError: The folder is missing or may not be written to, or the disk is full.
    """
    with _as_cannot_write(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with _as_cannot_write(path, only=_NO_ROOM), os.fdopen(handle, "w+b") as stream:
            yield cast("BinaryIO", stream)
            with _as_cannot_write(path):
                stream.flush()
                os.fsync(stream.fileno())
        with _as_cannot_write(path):
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _as_cannot_write(path: Path, *, only: frozenset[int] | None = None) -> Iterator[None]:
    """Say of an error of the system that a file cannot be written; ``only`` names the errors that say so."""
    try:
        yield
    except OSError as exc:
        if only is not None and exc.errno not in only:
            raise
        raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or nothing."""
    with atomic_write(path) as stream:
        stream.write(content)


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """Read a whole file that must not be larger than it may be.

    Raises:
        InputError: The file is missing, is not a regular file, cannot be read, or is too large.
    """
    try:
        with path.open("rb") as stream:
            # A read reserves what it is asked for: the limit may be a thousand times the file.
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(min(size, max_bytes) + 1)
            if len(content) > size:
                # It has grown, or it is a pipe that has no size.
                content += stream.read(max_bytes + 1 - len(content))
    except OSError as exc:
        raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
    if len(content) > max_bytes:
        raise InputError("file.too-large", path=path, limit=max_bytes)
    return content
