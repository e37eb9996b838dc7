"""What the parser does not tell: on which line each element stands, and how the header was written byte by byte.

The bytes of a package run through here before they reach the parser. Only tags, comments and the like are looked at;
whether they are well-formed XML is for the parser to say, and what the parser saw is what counts.
"""

from __future__ import annotations

import collections
import re

__all__ = ["Scanner"]

# A tag. A quoted value may hold the sign that ends it.
_TAG = re.compile(rb"<[^!?](?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")
# How other markup begins, and how it ends.
_ENDS = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
# A tag that goes on is looked at again from its beginning; nobody honest has a long one.
_MAX_TAG_BYTES = 1024 * 1024
_NAME = re.compile(rb"</?\s*([^\s/>]+)")
# Elements whose text is an attachment; it never belongs to what is kept.
_CONTENT = frozenset({b"contenttransferencoded"})
_MAX_PREFIXES = 16
_MAX_ALL_PREFIXES = 2000


class Scanner:
    """Goes through the bytes of a package as they come.

    Args:
        first_line: The line on which the first byte stands.
        max_bytes: How much of the package without its attachments is kept.
    """

    def __init__(self, *, first_line: int = 1, max_bytes: int) -> None:
        self._line = first_line
        self._max_bytes = max_bytes
        self._rest = b""
        self._searched = 0
        self._lines: collections.deque[tuple[int, str | None]] = collections.deque()
        self._kept: bytearray | None = bytearray()
        self._sound = True
        self._in_content = False
        self._depth = 0
        self._prefixes = 0
        self._ended = False

    @property
    def line(self) -> int | None:
        """The line that was reached; ``None`` if lines are not known."""
        return self._line if self._sound else None

    @property
    def skeleton(self) -> bytes | None:
        """The package as written, without the text of its attachments; ``None`` if too large or unclear."""
        if self._kept is None or not self._sound or not self._ended:
            return None
        return bytes(self._kept)

    def give_up(self) -> None:
        """Look at nothing any more: the bytes are not what they seem."""
        self._sound = False
        self._kept = None
        self._rest = b""
        self._lines.clear()

    def feed(self, chunk: bytes) -> None:
        """Go through further bytes."""
        if not self._sound:
            return
        content = self._rest + chunk if self._rest else chunk
        self._rest = b""
        position = 0
        while True:
            start = content.find(b"<", position)
            if start < 0:
                self._text(content, position, len(content))
                return
            self._text(content, position, start)
            end = self._end_of(content, start)
            if end < 0:
                self._wait(content[start:])
                return
            self._markup(content[start:end])
            self._searched = 0
            position = end

    def _end_of(self, content: bytes, start: int) -> int:
        """Return where markup ends; less than 0 if that is not there yet."""
        for opening, closing in _ENDS:
            if content.startswith(opening, start):
                # What was searched before is not searched again: a comment may be as long as the parser lets it.
                first = max(start + len(opening), start + self._searched)
                end = content.find(closing, first)
                self._searched = max(0, len(content) - start - len(closing))
                return end + len(closing) if end >= 0 else -1
        found = _TAG.match(content, start)
        return -1 if found is None else found.end()

    def _wait(self, rest: bytes) -> None:
        """Keep the beginning of markup that is not there as a whole."""
        is_tag = rest[1:2] not in {b"!", b"?"}
        if len(rest) > (min(_MAX_TAG_BYTES, self._max_bytes) if is_tag else self._max_bytes):
            self.give_up()
            return
        self._rest = rest

    def next_line(self, name: str) -> int | None:
        """Return the line of the next element that begins.

        Args:
            name: Its name as the parser has it; if another one stands here, nothing is known any more.
        """
        if not self._sound or not self._lines:
            return None
        line, seen = self._lines.popleft()
        if seen is not None and seen != name:
            self.give_up()
            return None
        return line

    def _text(self, content: bytes, start: int, end: int) -> None:
        self._line += content.count(b"\n", start, end)
        if not self._in_content:
            self._keep(content[start:end])

    def _markup(self, markup: bytes) -> None:
        kind = markup[1:2]
        # What a comment inside an attachment says belongs to the attachment.
        if not (self._in_content and kind in {b"!", b"?"}):
            self._keep(markup)
        if kind not in {b"!", b"?"}:
            self._count_prefixes(markup.count(b"xmlns"))
            found = _NAME.match(markup)
            name = found[1] if found else b""
            local = name.rpartition(b":")[2]
            if kind == b"/":
                self._in_content = False
                self._depth -= 1
            else:
                self._lines.append((self._line, _read_name(local)))
                closed = markup.endswith(b"/>")
                self._in_content = local.lower() in _CONTENT and not closed
                self._depth += not closed
            self._ended = self._ended or self._depth <= 0
        self._line += markup.count(b"\n")

    def _count_prefixes(self, count: int) -> None:
        # Canonical form takes the square of them; nobody honest has many.
        self._prefixes += count
        if count > _MAX_PREFIXES or self._prefixes > _MAX_ALL_PREFIXES:
            self._kept = None

    def _keep(self, content: bytes) -> None:
        if self._kept is None or self._ended:
            return
        if len(self._kept) + len(content) > self._max_bytes:
            self._kept = None
            return
        self._kept += content


def _read_name(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        # In an encoding that only the parser knows.
        return None
