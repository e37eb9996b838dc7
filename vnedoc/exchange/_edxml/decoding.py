"""In which encoding a package is, and its bytes as UTF-8: what reads it further knows one encoding only.

XML 1.0, appendix F: a byte order mark or the shape of the first bytes tells more than the declaration, which
programs copy from elsewhere. A declaration counts only if it reads the same in the encoding that it names.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
from typing import TYPE_CHECKING

from vnedoc._internal.xml import XMLRefusedError
from vnedoc.errors import PackageError
from vnedoc.exchange._edxml import names

if TYPE_CHECKING:
    from vnedoc.exchange._edxml.tree import Warnings

__all__ = ["Opening", "Transcoder", "open_text"]

_DECLARED = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_UTF8_LABELS = frozenset({b"utf-8", b"utf8", b"us-ascii"})
# What the first bytes say, longest first: with a byte order mark, or a "<" in an encoding of wide units.
_WIDE: tuple[tuple[bytes, str, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (b"<\0\0\0", "utf-32-le", "UTF-32"),
    (b"\0\0\0<", "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
    (b"<\0", "utf-16-le", "UTF-16"),
    (b"\0<", "utf-16-be", "UTF-16"),
)
# Where these are declared in plain ASCII letters, the declaration was copied from elsewhere.
_WIDE_LABELS = ("utf-16", "utf16", "utf-32", "utf32", "ucs-", "unicode", "iso-10646")
# Python calls these encodings; nobody stores a text in them.
_NO_ENCODINGS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """How a package begins, and how it goes on."""

    content: bytes
    """Its first bytes as UTF-8, from the first element or declaration on."""
    first_line: int
    """The line of the file on which they begin."""
    transcoder: Transcoder | None = None
    """What the bytes that follow go through; ``None`` where they are taken as they are."""


class Transcoder:
    """Turns the bytes of one encoding into UTF-8, piece by piece.

    Args:
        codec: The encoding.
    """

    def __init__(self, codec: codecs.CodecInfo) -> None:
        self._codec = codec
        self._decoder = codec.incrementaldecoder()
        self.fault: XMLRefusedError | None = None
        """Why nothing more comes out: from here on, the bytes are no text."""

    def feed(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Return what further bytes say."""
        if self.fault is not None:
            return b""
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as exc:
            self.fault = XMLRefusedError(f"no text in {self._codec.name}")
            # What stands before the fault may be the whole package.
            text = self._codec.decode(bytes(exc.object[: exc.start]))[0]
        # What is no character is for the parser to refuse.
        return text.encode("utf-8", "surrogatepass")


def open_text(first: bytes, warnings: Warnings, *, max_leading_bytes: int) -> Opening:
    """Tell the encoding of a package from its first bytes, and pass over what stands before the XML.

    Raises:
        PackageError: It is empty, or no XML begins in what may stand before it.
    """
    if not first:
        raise PackageError("edxml.empty")
    transcoder: Transcoder | None = None
    wide = next((row for row in _WIDE if first.startswith(row[0])), None)
    marked = first.startswith(codecs.BOM_UTF8)
    if wide is not None:
        warnings.add("edxml.encoding", names.ROOT, line=1, encoding=wide[2])
        transcoder = Transcoder(codecs.lookup(wide[1]))
        first = transcoder.feed(first).removeprefix(codecs.BOM_UTF8)
    elif marked:
        warnings.add("edxml.byte-order-mark", names.ROOT, line=1)
        first = first.removeprefix(codecs.BOM_UTF8)
    start = first.find(b"<", 0, max_leading_bytes)
    if start < 0:
        raise PackageError("edxml.not-xml", reason="no element", line=1)
    if first[:start].strip():
        warnings.add("edxml.leading-junk", names.ROOT, line=1, count=start)
    opening = Opening(first[start:], 1 + first.count(b"\n", 0, start), transcoder)
    declared = _DECLARED.match(opening.content)
    if declared is None or declared[1].lower() in _UTF8_LABELS:
        return opening
    label = declared[1].decode("ascii")
    line = opening.first_line + opening.content.count(b"\n", 0, declared.start(1))
    if wide is not None:
        return _relabelled(opening, declared)
    codec = None if marked else _find_codec(label)
    if codec is None and not marked and not label.lower().startswith(_WIDE_LABELS):
        # Left to the parser, which knows some that Python does not; markup is ASCII in all of them.
        warnings.add("edxml.encoding", names.ROOT, line=line, encoding=label)
        return opening
    if codec is None or codec.name == "utf-8" or not _reads_the_same(declared[0], codec):
        warnings.add("edxml.encoding-label", names.ROOT, line=line, declared=label)
        return _relabelled(opening, declared)
    warnings.add("edxml.encoding", names.ROOT, line=line, encoding=label)
    transcoder = Transcoder(codec)
    content = transcoder.feed(opening.content)
    return _relabelled(dataclasses.replace(opening, content=content, transcoder=transcoder), declared)


def _relabelled(opening: Opening, declared: re.Match[bytes]) -> Opening:
    """Let the declaration say what the bytes are now; it is ASCII and has kept its place."""
    content = opening.content
    content = content[: declared.start(1)] + b"UTF-8" + content[declared.end(1) :]
    return dataclasses.replace(opening, content=content)


def _find_codec(label: str) -> codecs.CodecInfo | None:
    try:
        codec = codecs.lookup(label)
        # This refuses what turns bytes into something else than text.
        b"a".decode(label)
    except (LookupError, UnicodeError):
        return None
    return None if codec.name in _NO_ENCODINGS or codec.incrementaldecoder is None else codec


def _reads_the_same(declaration: bytes, codec: codecs.CodecInfo) -> bool:
    try:
        return codec.decode(declaration)[0] == declaration.decode("ascii")
    except UnicodeError:
        return False
