"""Take the answer of getEdoc apart while it arrives: base64 out of a JSON envelope, without holding it in memory."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

__all__ = ["EnvelopeError", "split_envelope"]

MAX_REST_BYTES = 1024 * 1024
"""How much of an envelope there may be beside its ``data``."""

_QUOTE, _BACKSLASH = 0x22, 0x5C
_OPEN, _CLOSE = b"{[", b"}]"
_SPACE = b" \t\r\n"


class EnvelopeError(ValueError):
    """The answer is not an envelope, or its data is not base64."""


def split_envelope(chunks: Iterable[bytes], output: BinaryIO) -> tuple[bytes, int]:
    """Decode the string ``data`` of a JSON object into a stream; return the rest of the object, and the count.

    Args:
        chunks: The JSON text, in pieces of any size.
        output: Where the decoded bytes go.

    Returns:
        The object with an empty ``data`` in place of the string, and how many bytes were written. If ``data`` is
        not a string, the object is as it came and the count is 0.

    Raises:
        EnvelopeError: The text ends early, is no object, has too much beside ``data``, or ``data`` is not base64.
    """
    scanner = _Scanner(output)
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.finish()


class _Base64Writer:
    """Decodes base64 in pieces; white space and JSON's escaped slash and line ends are skipped or undone."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._pending = b""
        self._ended = False
        self.count = 0

    def feed(self, text: bytes) -> None:
        text = self._pending + text.translate(None, _SPACE)
        usable = len(text) - len(text) % 4
        self._pending = text[usable:]
        if not usable:
            return
        if self._ended:
            raise EnvelopeError("base64 goes on after its end")
        part = text[:usable]
        try:
            decoded = base64.b64decode(part, validate=True)
        except binascii.Error as exc:
            raise EnvelopeError("data is not base64") from exc
        self._ended = part.endswith(b"=")
        self.count += len(decoded)
        self._output.write(decoded)

    def finish(self) -> None:
        if self._pending:
            raise EnvelopeError("base64 ends in the middle of a group")


class _Scanner:
    """Walks through JSON just far enough to know where the string of the top-level key ``data`` begins and ends."""

    def __init__(self, output: BinaryIO) -> None:
        self._data = _Base64Writer(output)
        self._rest = bytearray()
        self._depth = 0
        self._key = bytearray()
        self._expect_key = False
        self._after_data_key = False
        self._in_string = False
        self._in_key = False
        self._in_data = False
        self._escaped = False
        self._seen_data = False
        self._complete = False

    def feed(self, chunk: bytes) -> None:
        position = 0
        while position < len(chunk):
            position = self._in_data_step(chunk, position) if self._in_data else self._step(chunk, position)
        if len(self._rest) > MAX_REST_BYTES:
            raise EnvelopeError("the envelope is too large")

    def finish(self) -> tuple[bytes, int]:
        if not self._complete:
            raise EnvelopeError("the envelope breaks off")
        self._data.finish()
        return bytes(self._rest), self._data.count

    def _in_data_step(self, chunk: bytes, position: int) -> int:
        """Take base64 up to the closing quote, an escape, or the end of the chunk."""
        if self._escaped:
            self._escaped = False
            # "\/" is a slash; "\n", "\r" and "\t" are line folding; nothing else belongs into base64.
            byte = chunk[position]
            if byte == 0x2F:
                self._data.feed(b"/")
            elif byte not in b"nrt":
                raise EnvelopeError("data is not base64")
            return position + 1
        quote = chunk.find(b'"', position)
        end = len(chunk) if quote < 0 else quote
        backslash = chunk.find(b"\\", position, end)
        if backslash >= 0:
            self._data.feed(chunk[position:backslash])
            self._escaped = True
            return backslash + 1
        self._data.feed(chunk[position:end])
        if quote < 0:
            return end
        self._in_data = False
        self._rest += b'""'
        return quote + 1

    def _step(self, chunk: bytes, position: int) -> int:
        byte = chunk[position]
        if self._in_string:
            self._string_byte(byte)
            return position + 1
        if byte == _QUOTE:
            if self._after_data_key and not self._seen_data:
                self._after_data_key = False
                self._in_data = self._seen_data = True
                return position + 1
            self._in_string = True
            self._in_key = self._depth == 1 and self._expect_key
            self._key.clear()
        elif byte in _OPEN:
            self._depth += 1
            self._expect_key = self._depth == 1
        elif byte in _CLOSE:
            self._depth -= 1
            self._complete = self._depth == 0
        elif byte == 0x2C and self._depth == 1:
            self._expect_key = True
        elif byte == 0x3A and self._depth == 1:
            self._expect_key = False
        if byte not in _SPACE and byte != 0x3A:
            self._after_data_key = False
        self._rest.append(byte)
        return position + 1

    def _string_byte(self, byte: int) -> None:
        self._rest.append(byte)
        if self._escaped:
            self._escaped = False
        elif byte == _BACKSLASH:
            self._escaped = True
        elif byte == _QUOTE:
            self._in_string = False
            if self._in_key:
                self._after_data_key = bytes(self._key).lower() == b"data"
                self._in_key = False
            return
        if self._in_key and len(self._key) <= 8:
            self._key.append(byte)
