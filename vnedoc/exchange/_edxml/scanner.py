"""What the parser does not tell: on which line each element stands, and how the header was written byte by byte.

The bytes of a package run through here before they reach the parser. Only tags, comments and the like are looked at;
whether they are well-formed XML is for the parser to say, and what the parser saw is what counts.
"""

from __future__ import annotations

import collections
import re

__all__ = ["Scanner"]

# One piece of markup. A quoted value may hold the sign that ends a tag.
_MARKUP = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<[^!?](?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>", re.DOTALL
)
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
        self._lines: collections.deque[tuple[int, str]] = collections.deque()
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
            found = _MARKUP.match(content, start)
            if found is None:
                self._rest = content[start:]
                if len(self._rest) > self._max_bytes:
                    self.give_up()
                return
            self._markup(found[0])
            position = found.end()

    def next_line(self, name: str) -> int | None:
        """Return the line of the next element that begins.

        Args:
            name: Its name as the parser has it; if another one stands here, nothing is known any more.
        """
        if not self._sound or not self._lines:
            return None
        line, seen = self._lines.popleft()
        if seen != name:
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
                self._lines.append((self._line, local.decode("utf-8", "replace")))
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
