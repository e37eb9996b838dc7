"""Take one long string out of a JSON object while it arrives: a package as base64 or as text, never held in memory.

Three axes answer with the package inside JSON, at ``data`` or ``data.edxml``, and one takes it that way. Only one
string is long; the rest of the object is small and is returned for :mod:`json` to read.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING

from vnedoc._internal import base64

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

__all__ = ["MAX_REST_BYTES", "EnvelopeError", "JSONStringSplitter", "split_envelope"]

MAX_REST_BYTES = 1024 * 1024
"""How much of an object there may be beside the string."""
MAX_OTHER_STRING = 64 * 1024
"""Other strings are kept up to this length: some axes repeat each attachment beside the package."""

_SNIFF = 64
_MAX_DEPTH = 32
# What a JSON string is made of; possessive, so that hostile text costs linear time.
_PIECES = re.compile(r'[^"\\]*+(?:\\(?:[^u]|u[0-9a-fA-F]{4})[^"\\]*+)*+')
_LONGEST_ESCAPE = 6


class EnvelopeError(ValueError):
    """The text is not such an object, or its string is not what it should be."""


def split_envelope(
    chunks: Iterable[bytes],
    output: BinaryIO,
    *,
    path: Sequence[str] = ("data",),
    text_allowed: bool = False,
    max_bytes: int | None = None,
) -> tuple[bytes, int]:
    """Decode one string of a JSON object into a stream; return the rest of the object, and the count.

    Args:
        chunks: The JSON text, in pieces of any size.
        output: Where the decoded bytes go.
        path: The keys that lead to the string, in any case of letters.
        text_allowed: Whether the string may be XML itself in place of base64.
        max_bytes: The most that is written.

    Returns:
        The object with an empty string in place of the one that was taken out, and how many bytes were written. If
        there is no string at that place, the object is as it came and the count is 0.

    Raises:
        EnvelopeError: The text ends early, is no object, has too much beside the string, or that is not base64.
    """
    splitter = JSONStringSplitter(output, path=path, text_allowed=text_allowed, max_bytes=max_bytes)
    for chunk in chunks:
        splitter.feed(chunk)
    return splitter.finish()


class _Content:
    """Decodes the string: base64, or text that is told by a "<" near its beginning, which base64 never has."""

    def __init__(self, output: BinaryIO, *, text_allowed: bool, max_bytes: int | None) -> None:
        self._output = output
        self._text_allowed = text_allowed
        self._max_bytes = max_bytes
        self._is_text: bool | None = None if text_allowed else False
        self._pending = ""
        self._ended = False
        self.count = 0
        self.is_over_limit = False

    def feed(self, text: str) -> None:
        self._pending += text
        if self._is_text is None:
            if len(self._pending.lstrip()) < _SNIFF:
                return
            self._sniff()
        self._work()

    def finish(self) -> None:
        if self._is_text is None:
            self._sniff()
        self._work()
        if self._pending:
            raise EnvelopeError("base64 ends in the middle of a group")

    def _sniff(self) -> None:
        self._is_text = "<" in self._pending.lstrip()[:_SNIFF]

    def _work(self) -> None:
        if self._is_text:
            text, self._pending = self._pending, ""
            try:
                self._write(text.encode())
            except UnicodeEncodeError as exc:
                raise EnvelopeError("the text is not Unicode") from exc
            return
        text = "".join(self._pending.split())
        usable = len(text) - len(text) % 4
        self._pending = text[usable:]
        if not usable:
            return
        if self._ended:
            raise EnvelopeError("base64 goes on after its end")
        part = text[:usable]
        try:
            decoded = base64.decode(part.encode("ascii"))
        except ValueError as exc:
            raise EnvelopeError("not base64") from exc
        self._ended = part.endswith("=")
        self._write(decoded)

    def _write(self, content: bytes) -> None:
        self.count += len(content)
        if self._max_bytes is not None and self.count > self._max_bytes:
            self.is_over_limit = True
            raise EnvelopeError("more than may be taken")
        self._output.write(content)


class JSONStringSplitter:
    """Walks through JSON just far enough to know where one string begins and ends; see :func:`split_envelope`.

    Args:
        output: Where the decoded bytes go.
        path: The keys that lead to the string.
        text_allowed: Whether the string may be XML itself.
        max_bytes: The most that is written.
    """

    def __init__(
        self,
        output: BinaryIO,
        *,
        path: Sequence[str],
        text_allowed: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self._content = _Content(output, text_allowed=text_allowed, max_bytes=max_bytes)
        self._path = tuple(key.lower() for key in path)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._rest: list[str] = []
        self._rest_length = 0
        self._carry = ""
        # One entry for each open bracket: the key that is being read, or None in a list.
        self._keys: list[str | None] = []
        self._expects_key = False
        self._string = ""
        self._state = "between"
        self._complete = False
        self._taken = False

    @property
    def is_over_limit(self) -> bool:
        """Whether the string was longer than may be taken."""
        return self._content.is_over_limit

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the JSON text.

        Raises:
            EnvelopeError: See :func:`split_envelope`.
        """
        try:
            text = self._carry + self._decoder.decode(chunk)
        except UnicodeDecodeError as exc:
            raise EnvelopeError("not UTF-8") from exc
        self._carry = ""
        position = 0
        while position < len(text):
            step = self._between if self._state == "between" else self._in_string
            position = step(text, position)
        if self._rest_length > MAX_REST_BYTES:
            raise EnvelopeError("the object is too large")

    def finish(self) -> tuple[bytes, int]:
        """Return the rest of the object, and how many bytes were written.

        Raises:
            EnvelopeError: See :func:`split_envelope`.
        """
        if not self._complete or self._state != "between":
            raise EnvelopeError("the object breaks off")
        return "".join(self._rest).encode("utf-8", "replace"), self._content.count

    def _keep(self, text: str) -> None:
        self._rest.append(text)
        self._rest_length += len(text)

    def _between(self, text: str, position: int) -> int:
        char = text[position]
        if char == '"':
            self._string = ""
            if self._keys and self._keys[-1] is not None and self._expects_key:
                self._state = "key"
            elif not self._taken and self._keys and tuple(self._keys) == self._path:
                self._state, self._taken = "content", True
            else:
                self._state = "value"
        elif char in "{[":
            self._keys.append("" if char == "{" else None)
            self._expects_key = char == "{"
            if len(self._keys) > _MAX_DEPTH:
                raise EnvelopeError("too deep")
        elif char in "}]":
            if not self._keys:
                raise EnvelopeError("not an object")
            self._keys.pop()
            self._expects_key = False
            self._complete = not self._keys
        elif char == ",":
            self._expects_key = bool(self._keys) and self._keys[-1] is not None
        elif char == ":":
            self._expects_key = False
        self._keep(char)
        return position + 1

    def _in_string(self, text: str, position: int) -> int:
        match = _PIECES.match(text, position)
        end = position if match is None else match.end()
        raw = text[position:end]
        closed = end < len(text) and text[end] == '"'
        if not closed and end < len(text):
            # An escape that is cut in two by the end of the chunk, or one that JSON does not have.
            if len(text) - end >= _LONGEST_ESCAPE:
                raise EnvelopeError("a broken escape")
            self._carry = text[end:]
        decoded = _unescaped(raw)
        if decoded and not closed and 0xD800 <= ord(decoded[-1]) <= 0xDBFF:
            # Its other half comes with the next chunk.
            decoded, self._carry = decoded[:-1], raw[-_LONGEST_ESCAPE:] + self._carry
        if self._state == "content":
            self._content.feed(decoded)
        elif len(self._string) < MAX_OTHER_STRING:
            self._string += decoded[: MAX_OTHER_STRING - len(self._string)]
        if not closed:
            return len(text)
        if self._state == "content":
            self._content.finish()
        elif self._state == "key":
            self._keys[-1] = self._string.lower()
        # The opening quote is there already.
        self._keep(json.dumps(self._string, ensure_ascii=True)[1:])
        self._state = "between"
        return end + 1


def _unescaped(raw: str) -> str:
    if "\\" not in raw:
        return raw
    try:
        text = json.loads(f'"{raw}"', strict=False)
    except ValueError as exc:
        raise EnvelopeError("a broken escape") from exc
    assert isinstance(text, str)
    return text
