"""The typeface of administrative documents: metrics, and the subset that goes into a PDF.

Decree 30/2020/NĐ-CP, Annex I, asks for Times New Roman. Tinos has its metrics, may be shipped, and has every
Vietnamese letter. Letters are set one by one with the advance widths of the font, as a word processor does by
default: no kerning, no ligatures, no shaping. Precomposed Vietnamese needs none.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import io
import itertools
import struct
import unicodedata
from importlib import resources
from typing import TYPE_CHECKING

from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Font", "FontStyle", "FontSubset", "load_font", "text_width"]


class FontStyle(enum.StrEnum):
    """A style of the typeface; the value is the end of the file name."""

    REGULAR = "Regular"
    """Upright."""
    BOLD = "Bold"
    """Upright bold."""
    ITALIC = "Italic"
    """Italic: place and date (Annex I, part I, II.4)."""
    BOLD_ITALIC = "BoldItalic"
    """Italic bold."""


class FontSubset:
    """A font program with only some glyphs, which keep their numbers.

    Args:
        name: The PostScript name with its tag, for example ``ABCDEF+Tinos``.
        program: The TrueType file.
        glyph_count: How many glyphs it numbers; most of them are empty.
    """

    __slots__ = ("glyph_count", "name", "program")

    def __init__(self, name: str, program: bytes, glyph_count: int) -> None:
        self.name = name
        self.program = program
        self.glyph_count = glyph_count


class Font:
    """One style of the typeface, read once in a process.

    Args:
        content: A TrueType file with ``glyf`` outlines.
    """

    def __init__(self, content: bytes) -> None:
        # Imported here: reading a font is the only thing that needs it, and it takes a while.
        from fontTools.ttLib import TTFont

        with TTFont(io.BytesIO(content), lazy=True) as program:
            head, metrics = program["head"], program["hhea"]
            self.units_per_em: int = head.unitsPerEm
            self.ascent: float = metrics.ascent / head.unitsPerEm
            self.descent: float = metrics.descent / head.unitsPerEm
            self.cap_height: float = program["OS/2"].sCapHeight / head.unitsPerEm
            self.bounding_box = tuple(
                value * 1000 / head.unitsPerEm for value in (head.xMin, head.yMin, head.xMax, head.yMax)
            )
            self.italic_angle: float = program["post"].italicAngle
            self.postscript_name: str = program["name"].getDebugName(6)
            order = {name: number for number, name in enumerate(program.getGlyphOrder())}
            self._glyph_of: Mapping[int, int] = {
                code: order[name] for code, name in program.getBestCmap().items()
            }
            advances = program["hmtx"].metrics
            self._metrics: list[tuple[int, int]] = [advances[name] for name in program.getGlyphOrder()]
            offsets = list(program["loca"])
            outlines = program.getTableData("glyf")
            self._outlines = [outlines[start:end] for start, end in itertools.pairwise(offsets)]
            glyphs = program["glyf"]
            self._components = {
                number: tuple(order[name] for name in glyphs[glyph].getComponentNames(glyphs))
                for glyph, number in order.items()
                if glyphs[glyph].isComposite()
            }
            self._head = program.getTableData("head")
            self._hhea = program.getTableData("hhea")
            self._maxp = program.getTableData("maxp")

    def glyph(self, character: str) -> int:
        """Return the number of the glyph of a character.

        Raises:
            UsageError: The font has no such glyph. A box in its place would be a false document.
        """
        number = self._glyph_of.get(ord(character))
        if number is None:
            shown = character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
            raise UsageError("appearance.missing-glyph", character=shown, code=f"U+{ord(character):04X}")
        return number

    def glyphs(self, text: str) -> list[int]:
        """Return the numbers of the glyphs of a text, which is composed (NFC) first.

        Raises:
            UsageError: See :meth:`glyph`.
        """
        return [self.glyph(character) for character in unicodedata.normalize("NFC", text)]

    def advance(self, glyph: int) -> float:
        """Return the advance width of a glyph, in thousandths of the font size."""
        return self._metrics[glyph][0] * 1000 / self.units_per_em

    def width(self, text: str, size: float) -> float:
        """Return the width of a text in points.

        Raises:
            UsageError: See :meth:`glyph`.
        """
        return sum(self._metrics[glyph][0] for glyph in self.glyphs(text)) * size / self.units_per_em

    def subset(self, glyphs: Iterable[int]) -> FontSubset:
        """Return a font program with only these glyphs.

        The same glyphs always give the same bytes and the same tag (ISO 32000-1, 9.6.4).
        """
        wanted = {0}
        pending = list(glyphs)
        while pending:
            glyph = pending.pop()
            if glyph not in wanted:
                wanted.add(glyph)
                pending.extend(self._components.get(glyph, ()))
        return self._subset(frozenset(wanted))

    # Fifty papers in a row share most of their letters sets: the date, the agency, the digits.
    @functools.lru_cache(maxsize=128)  # noqa: B019 (a font lives as long as the process)
    def _subset(self, glyphs: frozenset[int]) -> FontSubset:
        count = max(glyphs) + 1
        outlines, offsets, length = [], [0], 0
        for glyph in range(count):
            if glyph in glyphs:
                # Short offsets count in words, so each outline ends on an even byte; four is what readers like.
                outline = self._outlines[glyph] + bytes(-len(self._outlines[glyph]) % 4)
                outlines.append(outline)
                length += len(outline)
            offsets.append(length)
        advances = b"".join(
            struct.pack(">Hh", *(self._metrics[glyph] if glyph in glyphs else (0, 0)))
            for glyph in range(count)
        )
        tables = {
            b"glyf": b"".join(outlines),
            # checkSumAdjustment 0 until the whole is known; indexToLocFormat 1: long offsets.
            b"head": self._head[:8] + bytes(4) + self._head[12:50] + struct.pack(">h", 1) + self._head[52:],
            b"hhea": self._hhea[:34] + struct.pack(">H", count),
            b"hmtx": advances,
            b"loca": struct.pack(f">{count + 1}L", *offsets),
            b"maxp": self._maxp[:4] + struct.pack(">H", count) + self._maxp[6:],
        }
        program = _write_sfnt(tables)
        seed = hashlib.sha256(self.postscript_name.encode() + repr(sorted(glyphs)).encode()).digest()
        tag = "".join(chr(ord("A") + byte % 26) for byte in seed[:6])
        return FontSubset(f"{tag}+{self.postscript_name}", program, count)


def _checksum(content: bytes) -> int:
    padded = content + bytes(-len(content) % 4)
    words: tuple[int, ...] = struct.unpack(f">{len(padded) // 4}L", padded)
    return sum(words) & 0xFFFFFFFF


def _write_sfnt(tables: Mapping[bytes, bytes]) -> bytes:
    """Return a TrueType file (ISO/IEC 14496-22, 4.5) with these tables."""
    power = len(tables).bit_length() - 1
    header = struct.pack(
        ">LHHHH", 0x00010000, len(tables), 16 << power, power, 16 * len(tables) - (16 << power)
    )
    directory, body = [], []
    position = len(header) + 16 * len(tables)
    head_position = 0
    for tag, content in sorted(tables.items()):
        if tag == b"head":
            head_position = position
        directory.append(struct.pack(">4sLLL", tag, _checksum(content), position, len(content)))
        padded = content + bytes(-len(content) % 4)
        body.append(padded)
        position += len(padded)
    whole = bytearray(b"".join((header, *directory, *body)))
    struct.pack_into(">L", whole, head_position + 8, (0xB1B0AFBA - _checksum(bytes(whole))) & 0xFFFFFFFF)
    return bytes(whole)


@functools.cache
def load_font(style: FontStyle) -> Font:
    """Return a style of the typeface."""
    return Font((resources.files(__name__) / f"Tinos-{FontStyle(style).value}.ttf").read_bytes())


def text_width(text: str, size: float, style: FontStyle = FontStyle.REGULAR) -> float:
    """Return the width of a text in points.

    Raises:
        UsageError: The typeface lacks a character of the text.
    """
    return load_font(style).width(text, size)
