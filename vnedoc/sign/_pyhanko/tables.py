"""Cross-reference tables read a section at a time (ISO 32000-2, 7.5.4).

pyHanko reads a table with one call after the other for each of its lines, which takes longer than everything else it
does to open an ordinary document. A section whose lines all have the form of the standard is read here at once;
whatever else there is goes on to pyHanko's own reader, at the place where it stands, so that what is accepted and
what is refused stays the same.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from pyhanko.pdf_utils import misc, xref
from pyhanko.pdf_utils.xref import XRefType

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Entry", "install", "parse_table"]

MAX_LINES = 1_000_000
"""A section that promises more lines is left to pyHanko."""
_LINE_BYTES = 20
_HEADER = re.compile(rb"(\d{1,10}) (\d{1,7}) ?(?:\r\n|\n|\r)(?=\d)")
_LINES = re.compile(rb"(?:\d{10} \d{5} [nf](?: \n|\r\n| \r))*")
_read_by_pyhanko: Any = xref.parse_xref_table  # pyHanko declares no types here


class Entry(NamedTuple):
    """The same as pyHanko's ``XRefEntry``; a tuple is made in a third of the time."""

    xref_type: XRefType
    """Whether the object is in use or free."""
    location: int | None
    """Where it stands."""
    idnum: int
    """Its number."""
    generation: int
    """Its generation."""


def install() -> None:
    """Have pyHanko read its tables with :func:`parse_table`; once is enough."""
    xref.parse_xref_table = parse_table


def parse_table(stream: BinaryIO, strict: bool) -> Iterator[Any]:  # noqa: FBT001 - pyHanko's signature
    """Yield the entries of a table; the stream stands behind the keyword ``xref``, and then behind ``trailer``."""
    used, free = XRefType.STANDARD, XRefType.FREE
    misc.read_non_whitespace(stream, seek_back=True)
    while True:
        start = stream.tell()
        block = _section(stream)
        if block is None:
            stream.seek(start)
            yield from _read_by_pyhanko(stream, strict)
            return
        first, words = block
        for number, (offset, generation, kind) in enumerate(
            zip(words[0::3], words[1::3], words[2::3], strict=True), start=first
        ):
            if kind == b"n":
                yield Entry(used, int(offset), number, int(generation))
            else:
                yield Entry(free, None, number, int(generation))
        misc.read_non_whitespace(stream, seek_back=True)
        keyword = stream.read(7)
        if keyword == b"trailer":
            misc.read_non_whitespace(stream, seek_back=True)
            return
        stream.seek(-len(keyword), os.SEEK_CUR)


def _section(stream: BinaryIO) -> tuple[int, list[bytes]] | None:
    """Return the first object number of a section and the words of its lines; ``None`` if it is an odd one."""
    start = stream.tell()
    header = _HEADER.match(stream.read(32))
    if header is None or not 0 < int(header[2]) <= MAX_LINES:
        return None
    stream.seek(start + header.end())
    length = _LINE_BYTES * int(header[2])
    lines = stream.read(length)
    if len(lines) != length or _LINES.fullmatch(lines) is None:
        return None
    return int(header[1]), lines.split()
