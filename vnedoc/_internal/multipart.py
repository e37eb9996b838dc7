"""Multipart bodies (RFC 2046, RFC 2387), read and written piece by piece; no part is ever whole in memory.

The reader stands on the parser of python-multipart and adds what a server needs against strangers: how many parts,
how many and how long headers, a preamble of bounded length, and an error for a body that breaks off. A folded header
line, which RFC 9112 forbids in HTTP itself, is refused.
"""

from __future__ import annotations

import dataclasses
import email.message
import re
import secrets
from typing import TYPE_CHECKING, Protocol

from vnedoc._internal import base64

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

__all__ = [
    "Base64Decoder",
    "ContentChangedError",
    "MultipartError",
    "MultipartLimits",
    "MultipartReader",
    "MultipartWriter",
    "OutgoingPart",
    "PartHandler",
    "TooManyPartsError",
    "content_id",
    "make_boundary",
    "parse_content_type",
]

# A multiple of three bytes becomes base64 without padding, so that pieces can be joined.
CHUNK_BYTES = 3 * 64 * 1024
MAX_PREAMBLE_BYTES = 4096
MAX_CONTENT_TYPE_CHARS = 2000
# RFC 2046, 5.1.1, without the space: no known writer uses one, and its place at the end would be ambiguous.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")


class MultipartError(ValueError):
    """The body is not the multipart that was announced, or asks for more than it may."""


class TooManyPartsError(MultipartError):
    """There are more parts than a body may have."""


class ContentChangedError(Exception):
    """A file has another size than when the body was announced."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


@dataclasses.dataclass(frozen=True, slots=True)
class MultipartLimits:
    """How much a multipart body may ask of this machine."""

    max_parts: int = 501
    """How many parts."""
    max_headers: int = 16
    """How many headers a part may have."""
    max_header_bytes: int = 4096
    """How long one header may be."""


class PartHandler(Protocol):
    """What takes the parts of a body, one after the other."""

    def part_begin(self, headers: Mapping[str, str]) -> None:
        """A part begins; the names of its headers are in lower case."""

    def part_data(self, content: bytes) -> None:
        """A piece of its content, as it stands in the body."""

    def part_end(self) -> None:
        """The part ended."""


class MultipartReader:
    """Takes a multipart body apart while it arrives.

    Args:
        boundary: The parameter of the content type.
        handler: What takes the parts; errors that it raises come out as they are.
        limits: How much the body may ask for.

    Raises:
        MultipartError: The boundary is none.
    """

    def __init__(
        self, boundary: str, handler: PartHandler, *, limits: MultipartLimits = MultipartLimits()
    ) -> None:
        # An extra brings it; nothing else needs it.
        from python_multipart import MultipartParser

        if not _BOUNDARY.fullmatch(boundary):
            raise MultipartError("the boundary is not one of RFC 2046")
        self._handler = handler
        self._limits = limits
        self._delimiter = b"--" + boundary.encode("ascii")
        self._preamble: bytes | None = b""
        self._headers: dict[str, str] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._count = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": handler.part_end,
                "on_end": self._end,
            },
            max_header_count=limits.max_headers,
            max_header_size=limits.max_header_bytes,
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            MultipartError: The body is malformed, or over a limit.
        """
        from python_multipart.exceptions import MultipartParseError

        if self._preamble is not None:
            chunk = self._without_preamble(chunk)
        # What stands behind the last boundary says nothing (RFC 2046, 5.1.1).
        if not chunk or self._ended:
            return
        try:
            self._parser.write(chunk)
        except MultipartParseError as exc:
            raise MultipartError(str(exc)) from exc

    def finish(self) -> None:
        """Tell that the body ended.

        Raises:
            MultipartError: It broke off before its last boundary, or had no part.
        """
        if not self._ended:
            raise MultipartError("the body breaks off before its last boundary")
        if not self._count:
            raise MultipartError("the body has no part")

    def _without_preamble(self, chunk: bytes) -> bytes:
        pending = (self._preamble or b"") + chunk
        start = pending.find(self._delimiter)
        while start > 0 and pending[start - 1 : start] != b"\n":
            start = pending.find(self._delimiter, start + 1)
        if start >= 0:
            if start > MAX_PREAMBLE_BYTES:
                raise MultipartError("the preamble is too long")
            self._preamble = None
            return pending[start:]
        if len(pending) > MAX_PREAMBLE_BYTES + len(self._delimiter):
            raise MultipartError("the body does not begin with its boundary")
        self._preamble = pending
        return b""

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > self._limits.max_parts:
            raise TooManyPartsError(f"more than {self._limits.max_parts} parts")
        self._headers = {}

    def _header_field(self, content: bytes, start: int, end: int) -> None:
        self._name += content[start:end]

    def _header_value(self, content: bytes, start: int, end: int) -> None:
        self._value += content[start:end]

    def _header_end(self) -> None:
        name = self._name.decode("latin-1").lower()
        # Two readers of one part must not see two contents.
        if name in self._headers and name.startswith("content-"):
            raise MultipartError(f"{name} stands twice in a part")
        self._headers[name] = self._value.decode("utf-8", "replace").strip()
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        self._handler.part_begin(self._headers)

    def _part_data(self, content: bytes, start: int, end: int) -> None:
        self._handler.part_data(content[start:end])

    def _end(self) -> None:
        self._ended = True


class Base64Decoder:
    """Decodes base64 piece by piece into a stream; white space is skipped.

    Args:
        output: Where the decoded bytes go.
    """

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._pending = b""
        self._padded = False
        self.size = 0

    def feed(self, text: bytes) -> None:
        """Take more of it.

        Raises:
            MultipartError: It is not base64.
        """
        pending = self._pending + base64.without_space(text)
        whole = len(pending) - len(pending) % 4
        self._pending = pending[whole:]
        if not whole:
            return
        if self._padded:
            raise MultipartError("base64 goes on after its end")
        try:
            decoded = base64.decode(pending[:whole])
        except ValueError as exc:
            raise MultipartError("a part is not base64") from exc
        self._padded = pending[:whole].endswith(b"=")
        self.size += len(decoded)
        self._output.write(decoded)

    def finish(self) -> None:
        """Tell that the text ended.

        Raises:
            MultipartError: It ended in the middle of a group.
        """
        if self._pending:
            raise MultipartError("base64 ends in the middle of a group")


@dataclasses.dataclass(frozen=True, slots=True)
class OutgoingPart:
    """One part of a body to be written."""

    headers: Sequence[tuple[str, str]]
    """Its headers."""
    content: bytes | Path
    """Its content: bytes, or a file that is read piece by piece."""
    size: int
    """The size of the content, before any encoding."""
    as_base64: bool = False
    """Whether the content is written as base64."""

    @property
    def written_size(self) -> int:
        """How many bytes of the body the content takes."""
        return 4 * -(-self.size // 3) if self.as_base64 else self.size


class MultipartWriter:
    """A multipart body of known size, to be iterated over.

    Args:
        parts: What is in it.
        boundary: What stands between the parts; ``None`` makes one.

    Raises:
        ValueError: A header holds what cannot stand in one.
    """

    def __init__(self, parts: Sequence[OutgoingPart], *, boundary: str | None = None) -> None:
        self.boundary = boundary or make_boundary()
        self._parts = parts
        self._heads = [self._head(part) for part in parts]
        self._tail = f"--{self.boundary}--\r\n".encode("ascii")

    @property
    def size(self) -> int:
        """The size of the body in bytes."""
        heads = sum(len(head) for head in self._heads)
        return heads + sum(part.written_size + 2 for part in self._parts) + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body piece by piece.

        Raises:
            ContentChangedError: A file is not as long as it was.
            OSError: A file cannot be read.
        """
        for head, part in zip(self._heads, self._parts, strict=True):
            yield head
            if isinstance(part.content, bytes):
                yield base64.encode(part.content) if part.as_base64 else part.content
            else:
                yield from _file_chunks(part.content, part.size, as_base64=part.as_base64)
            yield b"\r\n"
        yield self._tail

    def _head(self, part: OutgoingPart) -> bytes:
        lines = [f"--{self.boundary}"]
        for name, value in part.headers:
            # A line end would smuggle headers, or a whole part, into the body.
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"{name} cannot stand in a header")
            lines.append(f"{name}: {value}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def make_boundary() -> str:
    """Return a boundary that stands in no content."""
    return f"vnedoc-{secrets.token_hex(16)}"


def parse_content_type(value: str) -> tuple[str, dict[str, str]]:
    """Return the media type in lower case, and its parameters with their names in lower case.

    Raises:
        MultipartError: It is too long to be one, or cannot be read.
    """
    if len(value) > MAX_CONTENT_TYPE_CHARS:
        raise MultipartError("the content type is too long")
    message = email.message.Message()
    message["Content-Type"] = value.replace("\r", " ").replace("\n", " ")
    parameters: dict[str, str] = {}
    try:
        found = message.get_params() or []
    except (ValueError, LookupError) as exc:
        raise MultipartError("the content type cannot be read") from exc
    for name, text in found[1:]:
        # A value in the form of RFC 2231 is three values; no parameter that matters here needs one.
        if isinstance(text, str):
            parameters.setdefault(name.lower(), text)
    return value.partition(";")[0].strip().lower(), parameters


def content_id(value: str | None) -> str | None:
    """Return a ``Content-ID`` without its angle brackets (RFC 2392), or ``None`` if there is none."""
    if value is None:
        return None
    return value.strip().removeprefix("<").removesuffix(">").strip() or None


def _file_chunks(path: Path, size: int, *, as_base64: bool) -> Iterator[bytes]:
    with path.open("rb") as stream:
        left = size
        while left > 0:
            chunk = stream.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise ContentChangedError(path)
            left -= len(chunk)
            yield base64.encode(chunk) if as_base64 else chunk
        if stream.read(1):
            raise ContentChangedError(path)
