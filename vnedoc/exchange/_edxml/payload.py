"""What is inside an attachment: base64 decoded piece by piece, one zip archive taken off, a safe file name.

Attachments come from strangers: their media types are often wrong, their names may aim outside the folder, and an
archive may unfold into far more than it weighs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import struct
import unicodedata
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from vnedoc._internal import base64
from vnedoc.errors import InputError, PackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.models import Limits

__all__ = [
    "Budget",
    "ContentSink",
    "Unwrapped",
    "detect_type",
    "safe_name",
    "unique_name",
    "unwrap",
    "write_piece",
]

CHUNK_BYTES = 1024 * 1024
HEAD_BYTES = 4096
# An archive with more than this in its table of contents is no wrapper of one file.
MAX_DIRECTORY_BYTES = 64 * 1024
# Where the ratio of an archive starts to count; a small file may well be very even.
RATIO_FREE_BYTES = 1024 * 1024
MAX_NAME_CHARS = 120
MAX_NAME_BYTES = 200

# Kinds of file that are zip archives themselves.
_ARCHIVES = frozenset(
    {".zip", ".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".pptm", ".odt", ".ods", ".odp", ".epub", ".jar"}
)
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"{\\rtf", "application/rtf"),
    (b"<?xml", "application/xml"),
)
# How much base64 is decoded at a time.
_PIECE_CHARS = 64 * 1024
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE
)

# What zipfile raises on archives that are none; an empty name gives an IndexError, a password a RuntimeError.
_BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OSError),
    *(LookupError, ArithmeticError),
)


@dataclasses.dataclass(slots=True)
class Budget:
    """How many bytes all attachments of a package may still unfold into."""

    limits: Limits
    """The limits of the package."""
    spent: int = 0
    """What was used so far."""

    def spend(self, count: int, *, so_far: int, name: str) -> None:
        """Take bytes off the budget.

        Raises:
            PackageError: The attachment, or all together, are over the limit.
        """
        self.spent += count
        if so_far > self.limits.max_attachment_bytes:
            raise PackageError(
                "edxml.attachment-too-large", name=name, limit=self.limits.max_attachment_bytes
            )
        if self.spent > self.limits.max_total_bytes:
            raise PackageError("edxml.attachments-too-large", limit=self.limits.max_total_bytes)


class ContentSink:
    """Decodes the base64 of one attachment as it comes.

    Args:
        open_file: Gives a new file for the decoded bytes.
        keep: Whether every attachment is written; otherwise only those that may be wrapped archives.
        budget: What the attachments may unfold into.
        name: How messages call the attachment.
    """

    def __init__(self, open_file: Callable[[], BinaryIO], *, keep: bool, budget: Budget, name: str) -> None:
        self._open_file = open_file
        self._keep = keep
        self._budget = budget
        self._name = name
        self._pieces: list[str] = []
        self._waiting_chars = 0
        self._rest = b""
        self._ended = False
        self._digest = hashlib.sha256()
        self.unpadded = False
        self.size = 0
        self.head = b""
        self.file: BinaryIO | None = None

    @property
    def sha256(self) -> str:
        """The digest of what was decoded so far."""
        return self._digest.hexdigest()

    def feed(self, text: str) -> None:
        """Take more base64.

        Raises:
            PackageError: It is no base64, or over a limit.
        """
        # The parser gives a kilobyte at a time.
        self._pieces.append(text)
        self._waiting_chars += len(text)
        if self._waiting_chars >= _PIECE_CHARS:
            self._work()

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            PackageError: The base64 breaks off in the middle of a byte.
        """
        self._work()
        if self._rest:
            self.unpadded = True
            padded, self._rest = self._rest.ljust(4, b"="), b""
            self._decode(padded)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self.file is not None:
            self.file.close()

    def _work(self) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._waiting_chars = 0
        try:
            pending = self._rest + base64.without_space(text.encode("ascii"))
        except UnicodeEncodeError as exc:
            raise PackageError("edxml.bad-base64", name=self._name) from exc
        whole = len(pending) - len(pending) % 4
        self._rest = pending[whole:]
        self._decode(pending[:whole])

    def _decode(self, content: bytes) -> None:
        if not content:
            return
        if self._ended:
            raise PackageError("edxml.bad-base64", name=self._name)
        try:
            decoded = base64.decode(content)
        except ValueError as exc:
            raise PackageError("edxml.bad-base64", name=self._name) from exc
        self._ended = content.endswith(b"=")
        self.size += len(decoded)
        self._budget.spend(len(decoded), so_far=self.size, name=self._name)
        self._digest.update(decoded)
        if len(self.head) < HEAD_BYTES:
            self.head += decoded[: HEAD_BYTES - len(self.head)]
        if self.file is None and (self._keep or (self.size == len(decoded) and self.head[:2] == b"PK")):
            self.file = self._open_file()
        if self.file is not None:
            write_piece(self.file, decoded)


@dataclasses.dataclass(frozen=True, slots=True)
class Unwrapped:
    """What was inside a wrapping archive."""

    file: BinaryIO | None
    """The file; ``None`` where nothing is kept."""
    size: int
    """Its size."""
    sha256: str
    """Its digest."""
    head: bytes
    """Its first bytes."""


def unwrap(
    sink: ContentSink, name: str, *, open_file: Callable[[], BinaryIO] | None, budget: Budget
) -> Unwrapped | str | None:
    """Take the archive off a file that travels in one of its own.

    Args:
        sink: The decoded attachment.
        name: The name of the attachment; its extension tells whether the archive is meant to stay.
        open_file: Gives a new file for what is inside; ``None`` only measures it.
        budget: What the attachments may unfold into.

    Returns:
        What was inside; or the id of a warning if there is an archive that cannot be taken off; or ``None`` if
        there is none to take off.

    Raises:
        PackageError: The archive unfolds into more than is allowed.
    """
    suffix = pathlib.PurePath(name).suffix.lower()
    if not sink.head.startswith(b"PK\x03\x04") or sink.file is None or suffix == ".zip":
        return None
    own_archive = suffix in _ARCHIVES
    with _writing(sink.file):
        sink.file.flush()
    if not _is_small_archive(sink.file):
        return None if own_archive else "edxml.zip-many-entries"
    try:
        with zipfile.ZipFile(sink.file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) != 1:
                return None if own_archive else "edxml.zip-many-entries"
            entry = entries[0]
            if own_archive and pathlib.PurePath(entry.filename).suffix.lower() != suffix:
                return None
            # Others than these two can ask for a great deal of memory before the first byte comes out.
            if entry.flag_bits & 1 or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                return "edxml.zip-unreadable"
            return _extract(archive, entry, sink.size, name, open_file=open_file, budget=budget)
    except _BROKEN_ARCHIVE:
        return "edxml.zip-unreadable"


def _extract(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    packed_bytes: int,
    name: str,
    *,
    open_file: Callable[[], BinaryIO] | None,
    budget: Budget,
) -> Unwrapped:
    digest = hashlib.sha256()
    size, head = 0, b""
    target = open_file() if open_file is not None else None
    try:
        with archive.open(entry) as stream:
            # The sizes in an archive are claims; what comes out is what counts.
            while chunk := stream.read(CHUNK_BYTES):
                size += len(chunk)
                budget.spend(len(chunk), so_far=size, name=name)
                if size > RATIO_FREE_BYTES and size > packed_bytes * budget.limits.max_ratio:
                    raise PackageError("edxml.zip-bomb", name=name, ratio=budget.limits.max_ratio)
                digest.update(chunk)
                head = head or chunk[:HEAD_BYTES]
                if target is not None:
                    write_piece(target, chunk)
    except BaseException:
        if target is not None:
            target.close()
        raise
    return Unwrapped(target, size, digest.hexdigest(), head)


def _is_small_archive(file: BinaryIO) -> bool:
    """Tell whether the table of contents is small enough to be read at all."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - 66_000)
    file.seek(start)
    tail = file.read(end - start)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < 22:
        return False
    count, directory_bytes = struct.unpack_from("<HI", tail, place + 10)
    # A 64-bit table of contents would make this check look at the wrong numbers.
    big = tail[max(0, place - 20) : place].startswith(b"PK\x06\x07")
    return not big and count <= 64 and directory_bytes <= MAX_DIRECTORY_BYTES


def write_piece(file: BinaryIO, content: bytes) -> None:
    """Write to a file of the target folder.

    Raises:
        InputError: The disk is full, or else does not take it.
    """
    with _writing(file):
        file.write(content)


@contextlib.contextmanager
def _writing(file: BinaryIO) -> Iterator[None]:
    """Let what a disk does not take not be taken for a fault of the package."""
    try:
        yield
    except OSError as exc:
        raise InputError("file.cannot-write", path=file.name, reason=exc.strerror) from exc


def detect_type(head: bytes) -> str | None:
    """Return the media type that the first bytes of a file tell."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def safe_name(name: str, *, index: int) -> str:
    """Return a name that is only a name, on every file system.

    Args:
        name: The name as the package gives it.
        index: The place of the attachment, for a name of which nothing is left.
    """
    text = unicodedata.normalize("NFC", name)
    text = re.split(r"[/\\]", text)[-1]
    # Control and format characters can hide an extension or turn the writing direction.
    text = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    text = re.sub(r'[<>:"|?*]', "_", text)
    text = re.sub(r"\s+", " ", text).strip(" .")
    if not text:
        return f"attachment-{index}"
    if text.startswith("-") or _RESERVED.match(text):
        text = f"_{text}"
    return _shortened(text)


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name that differs from all others even where letter case does not count, and take it."""
    candidate, number = name, 1
    while (key := _key(candidate)) in taken:
        number += 1
        path = pathlib.PurePath(name)
        candidate = _shortened(f"{path.stem}-{number}{path.suffix}", reserve=len(str(number)) + 1)
    taken.add(key)
    return candidate


def _key(name: str) -> str:
    # Some file systems fold case, others normalize: a name must be unique on both.
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())


def _shortened(name: str, *, reserve: int = 0) -> str:
    path = pathlib.PurePath(name)
    suffix = path.suffix if len(path.suffix) <= 16 and len(path.suffix.encode()) <= 32 else ""
    stem = name.removesuffix(suffix)
    tail = stem[len(stem) - reserve :] if reserve else ""
    stem = stem[: len(stem) - reserve] if reserve else stem
    while stem and (
        len(stem) + len(tail) + len(suffix) > MAX_NAME_CHARS
        or len((stem + tail + suffix).encode()) > MAX_NAME_BYTES
    ):
        stem = stem[:-1]
    return stem.rstrip(" .") + tail + suffix
