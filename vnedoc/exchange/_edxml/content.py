"""The content of attachments on its way out: wrapped where the dialect wants it, in Base64, hashed as it goes.

No attachment is ever whole in memory, and none is trusted to stay the same between two readings.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Protocol, cast

from vnedoc._internal import base64
from vnedoc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from vnedoc.exchange.models import Attachment, ContentSource

__all__ = ["Base64Output", "ContentDigest", "Sink", "digest_content", "send_content"]

# A multiple of 3, so that every piece of base64 stands on its own.
CHUNK_BYTES = 3 * 64 * 1024
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class Sink(Protocol):
    """What bytes can be written to."""

    def write(self, content: bytes, /) -> object:
        """Take bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class ContentDigest:
    """What was read, and what was made of it."""

    size: int
    """The size of the file."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    payload_sha256: str
    """SHA-256 of what travels: the wrapping archive, or the file itself."""


def send_content(attachment: Attachment, entry_name: str | None, sink: Sink) -> ContentDigest:
    """Write the content of an attachment to a sink, piece by piece.

    Args:
        attachment: The attachment.
        entry_name: The name inside a wrapping archive; ``None`` for none.
        sink: What takes the bytes.

    Raises:
        InputError: The file cannot be read.
    """
    payload = _Hashed(sink)
    # Where the file travels as it is, one digest is enough.
    chunks = _zipped(attachment, entry_name, payload) if entry_name else _plain(attachment, sink)
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    own = digest.hexdigest()
    return ContentDigest(size, own, payload.digest.hexdigest() if entry_name else own)


def digest_content(attachment: Attachment, entry_name: str | None) -> ContentDigest:
    """Return what :func:`send_content` will return, without sending anything.

    Raises:
        InputError: The file cannot be read.
    """
    return send_content(attachment, entry_name, _Nowhere())


class _Nowhere:
    def write(self, content: bytes) -> int:
        return len(content)


class _Hashed:
    """Passes bytes on and hashes them."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        self._sink.write(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing; zipfile asks for it."""


class Base64Output:
    """Encodes what is written to it, piece by piece.

    Args:
        sink: What takes the text.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = b""

    def write(self, content: bytes) -> int:
        """Take bytes; what is not a multiple of three waits for more."""
        pending = self._rest + content if self._rest else content
        whole = len(pending) - len(pending) % 3
        self._sink.write(base64.encode(memoryview(pending)[:whole]))
        self._rest = pending[whole:]
        return len(content)

    def finish(self) -> None:
        """Write what is left."""
        self._sink.write(base64.encode(self._rest))
        self._rest = b""


def _plain(attachment: Attachment, sink: Sink) -> Iterator[bytes]:
    for chunk in _chunks(attachment.content):
        sink.write(chunk)
        yield chunk


def _zipped(attachment: Attachment, entry_name: str, sink: _Hashed) -> Iterator[bytes]:
    entry = zipfile.ZipInfo(entry_name, ZIP_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # zipfile would write which system it runs on.
    entry.create_system = 0
    # A sink that cannot seek makes zipfile stream: sizes follow the data, as in the archives of the kit.
    large = _size(attachment.content) >= zipfile.ZIP64_LIMIT
    with (
        zipfile.ZipFile(cast("BinaryIO", sink), "w") as archive,
        archive.open(entry, "w", force_zip64=large) as inside,
    ):
        for chunk in _chunks(attachment.content):
            inside.write(chunk)
            yield chunk


def _size(content: ContentSource) -> int:
    try:
        return len(content) if isinstance(content, bytes) else content.stat().st_size
    except OSError as exc:
        raise InputError("file.cannot-read", path=content, reason=exc.strerror) from exc


def _chunks(content: ContentSource) -> Iterator[bytes]:
    try:
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise InputError("file.cannot-read", path=content, reason=exc.strerror) from exc
