"""Appearances as PDF objects.

A form XObject (ISO 32000-1, 8.10) that is upright on pages with /Rotate; pictures with a soft mask, stored once in
a file; fonts as a subset in a composite font (9.7) with /ToUnicode, so that the text can be found and copied. The
same appearance always gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
import weakref
import zlib
from typing import TYPE_CHECKING

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name

from vnedoc.sign._pyhanko.conformance import pdfa_part
from vnedoc.sign.appearance import (
    Align,
    Appearance,
    Frame,
    PlacedPicture,
    PlacedText,
    TextBlock,
    stencil_mask,
)
from vnedoc.sign.fonts import FontStyle, load_font

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyhanko.pdf_utils.writer import BasePdfFileWriter

    from vnedoc.sign.appearance import Colour, Picture
    from vnedoc.sign.pages import PageGeometry

__all__ = [
    "EmbeddedFont",
    "TextFieldAppearance",
    "embed_font",
    "render_appearance",
    "render_nothing",
    "render_text_field",
]

# The object numbers of pictures that a file has already, by the writer that makes the file. Not the references
# themselves: they hold on to the writer, which then would never go.
_written: weakref.WeakKeyDictionary[BasePdfFileWriter, dict[str, tuple[int, int]]] = (
    weakref.WeakKeyDictionary()
)


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddedFont:
    """A font in a file."""

    name: str
    """Its name as a resource, with its slash."""
    font: generic.IndirectObject
    """The font."""


@dataclasses.dataclass(frozen=True, slots=True)
class TextFieldAppearance:
    """What a text form field needs beside its value."""

    stream: generic.IndirectObject
    """The normal appearance: the value of /N in the field's /AP."""
    default_appearance: str
    """The value of the field's /DA (ISO 32000-1, 12.7.3.3)."""
    font_name: str
    """The name of the font in /DA and in the resources of the stream, with its slash."""
    font: generic.IndirectObject
    """The font, for the /DR of the form where a field must name it there."""


def render_appearance(
    writer: BasePdfFileWriter, appearance: Appearance, geometry: PageGeometry
) -> generic.IndirectObject:
    """Add an appearance to a file.

    The rectangle of the annotation that shows it is ``geometry.to_pdf(box)`` with a box of the same width and height.

    Returns:
        The form XObject: the value of /N in the annotation's /AP.

    Raises:
        UsageError: The typeface lacks a character of a text.
    """
    fonts = _Fonts(writer)
    pictures: dict[generic.NameObject, generic.PdfObject] = {}
    content: list[str] = ["q"]
    for element in appearance.elements:
        if isinstance(element, PlacedPicture):
            name = f"/Im{len(pictures)}"
            pictures[pdf_name(name)] = _picture(writer, element.picture)
            matrix = _numbers(element.width, 0, 0, element.height, element.x, element.y)
            content.append(f"q {matrix} cm {name} Do Q")
        elif isinstance(element, PlacedText):
            content += _text_operators(element, fonts)
        else:
            content.append(_frame_operators(element))
    content.append("Q")
    resources = _dictionary({"/XObject": pictures, "/Font": fonts.write()})
    return writer.add_object(_form(content, appearance.width, appearance.height, geometry.rotate, resources))


def render_nothing(writer: BasePdfFileWriter) -> generic.IndirectObject:
    """Add the appearance of a field that has no place on its page."""
    return writer.add_object(_form([], 0, 0, 0, generic.DictionaryObject()))


def embed_font(writer: BasePdfFileWriter, letters: str, style: FontStyle = FontStyle.REGULAR) -> EmbeddedFont:
    """Add a font with some letters to a file, for what somebody else may type.

    Raises:
        UsageError: The typeface lacks one of the letters.
    """
    fonts = _Fonts(writer)
    name = fonts.name(style)
    fonts.show(style, letters)
    return EmbeddedFont(name, fonts.write()[pdf_name(name)])


def render_text_field(
    writer: BasePdfFileWriter,
    text: str,
    *,
    width: float,
    height: float,
    geometry: PageGeometry,
    font_size: float = 13.0,
    style: FontStyle = FontStyle.REGULAR,
    align: Align = Align.CENTRE,
    baseline: float | None = None,
) -> TextFieldAppearance:
    """Add the appearance of a text form field (ISO 32000-1, 12.7.4.3) that shows one line.

    Args:
        writer: The file.
        text: The value of the field; empty for a field that waits for its value.
        width: Width of the field as shown, in points.
        height: Height of the field as shown, in points.
        geometry: The page of the field.
        font_size: Size in points.
        style: Style of the typeface.
        align: Where the text stands in the field.
        baseline: Height of the baseline over the lower edge; ``None``: the text stands in the middle.

    Raises:
        UsageError: The typeface lacks a character of the text.
    """
    font = load_font(style)
    block = TextBlock((text,), font_size=font_size, style=style, align=align)
    if baseline is None:
        baseline = (height - (font.ascent + font.descent) * font_size) / 2
    fonts = _Fonts(writer)
    content = ["/Tx BMC", "q"]
    name = fonts.name(style)
    content += _text_operators(PlacedText(block, 0.0, baseline, width), fonts)
    content += ["Q", "EMC"]
    written = fonts.write()
    resources = _dictionary({"/Font": written})
    stream = writer.add_object(_form(content, width, height, geometry.rotate, resources))
    return TextFieldAppearance(
        stream=stream,
        default_appearance=f"{name} {_numbers(font_size)} Tf 0 g",
        font_name=name,
        font=written[pdf_name(name)],
    )


class _Fonts:
    """The fonts of one appearance: styles are named as they are met, and written when all letters are known."""

    def __init__(self, writer: BasePdfFileWriter) -> None:
        self._writer = writer
        self._letters: dict[FontStyle, dict[int, str]] = {}

    def name(self, style: FontStyle) -> str:
        """Return the resource name of a style and remember that it is used."""
        self._letters.setdefault(style, {})
        return f"/Tinos{style.value}"

    def show(self, style: FontStyle, text: str) -> str:
        """Return the string operand that shows a text."""
        font = load_font(style)
        codes = []
        for character in unicodedata.normalize("NFC", text):
            glyph = font.glyph(character)
            # Two characters can share a glyph (space and no-break space); the first one is what is copied.
            self._letters[style].setdefault(glyph, character)
            codes.append(f"{glyph:04X}")
        return f"<{''.join(codes)}>"

    def write(self) -> dict[generic.NameObject, generic.IndirectObject]:
        """Add the fonts to the file and return them by resource name."""
        return {
            pdf_name(self.name(style)): _font(self._writer, style, letters)
            for style, letters in self._letters.items()
        }


def _text_operators(element: PlacedText, fonts: _Fonts) -> list[str]:
    block = element.block
    name = fonts.name(block.style)
    font = load_font(block.style)
    operators = ["BT", f"{name} {_numbers(block.font_size)} Tf", f"{_colour(block.colour)} rg"]
    for number, line in enumerate(block.lines):
        spare = element.width - font.width(line, block.font_size)
        shift = {Align.LEFT: 0.0, Align.CENTRE: spare / 2, Align.RIGHT: spare}[block.align]
        baseline = element.baseline - number * block.leading * block.font_size
        operators.append(
            f"1 0 0 1 {_numbers(element.x + shift, baseline)} Tm {fonts.show(block.style, line)} Tj"
        )
    operators.append("ET")
    return operators


def _frame_operators(frame: Frame) -> str:
    rectangle = _numbers(frame.x, frame.y, frame.width, frame.height)
    return f"{_colour(frame.colour)} RG {_numbers(frame.line_width)} w {rectangle} re S"


def _form(
    content: Iterable[str], width: float, height: float, rotate: int, resources: generic.DictionaryObject
) -> generic.StreamObject:
    # The viewer turns the page clockwise by /Rotate, so the appearance turns the other way by as much; it then
    # moves and scales the turned bounding box to the annotation's rectangle (ISO 32000-1, 12.5.5).
    matrix = {
        0: (1, 0, 0, 1, 0, 0),
        90: (0, 1, -1, 0, 0, 0),
        180: (-1, 0, 0, -1, 0, 0),
        270: (0, -1, 1, 0, 0, 0),
    }
    entries: dict[str, generic.PdfObject] = {
        "/Type": pdf_name("/XObject"),
        "/Subtype": pdf_name("/Form"),
        "/BBox": _array(0, 0, width, height),
        "/Resources": resources,
    }
    if rotate:
        entries["/Matrix"] = _array(*matrix[rotate])
    return _stream(entries, "\n".join(content).encode("ascii"))


def _picture(writer: BasePdfFileWriter, picture: Picture) -> generic.IndirectObject:
    written = _written.setdefault(writer, {})
    if picture.digest not in written:
        entries: dict[str, generic.PdfObject] = {}
        if picture.alpha is not None and pdfa_part(writer) == 1:
            # ISO 19005-1, 6.4: no transparency. A stencil shows what is behind just as well (ISO 32000-1, 8.9.6.3).
            entries["/Mask"] = writer.add_object(_stencil(picture))
        elif picture.alpha is not None:
            entries["/SMask"] = writer.add_object(_image(picture, picture.alpha, "/DeviceGray", channels=1))
        added = writer.add_object(_image(picture, picture.colours, "/DeviceRGB", channels=3, entries=entries))
        written[picture.digest] = (added.idnum, added.generation)
    number, generation = written[picture.digest]
    return generic.IndirectObject(number, generation, writer)


def _image(
    picture: Picture,
    content: bytes,
    colour_space: str,
    *,
    channels: int,
    entries: Mapping[str, generic.PdfObject] | None = None,
) -> generic.StreamObject:
    parameters = {
        "/Predictor": generic.NumberObject(15),
        "/Colors": generic.NumberObject(channels),
        "/BitsPerComponent": generic.NumberObject(8),
        "/Columns": generic.NumberObject(picture.width_px),
    }
    whole = {
        "/Type": pdf_name("/XObject"),
        "/Subtype": pdf_name("/Image"),
        "/Width": generic.NumberObject(picture.width_px),
        "/Height": generic.NumberObject(picture.height_px),
        "/ColorSpace": pdf_name(colour_space),
        "/BitsPerComponent": generic.NumberObject(8),
        "/Filter": pdf_name("/FlateDecode"),
        "/DecodeParms": _dictionary(parameters),
        **(entries or {}),
    }
    return generic.StreamObject(_dictionary(whole), encoded_data=content)


def _stencil(picture: Picture) -> generic.StreamObject:
    entries = {
        "/Type": pdf_name("/XObject"),
        "/Subtype": pdf_name("/Image"),
        "/Width": generic.NumberObject(picture.width_px),
        "/Height": generic.NumberObject(picture.height_px),
        "/ImageMask": generic.BooleanObject(value=True),
        "/BitsPerComponent": generic.NumberObject(1),
        "/Filter": pdf_name("/FlateDecode"),
    }
    return generic.StreamObject(_dictionary(entries), encoded_data=stencil_mask(picture))


def _font(writer: BasePdfFileWriter, style: FontStyle, letters: Mapping[int, str]) -> generic.IndirectObject:
    name, program, length, to_unicode = _font_streams(style, tuple(sorted(letters.items())))
    font = load_font(style)
    flags = 1 << 5 | 1 << 1 | (1 << 6 if font.italic_angle else 0)  # nonsymbolic, serif, italic
    bold = style in {FontStyle.BOLD, FontStyle.BOLD_ITALIC}
    file = generic.StreamObject(
        _dictionary({"/Filter": pdf_name("/FlateDecode"), "/Length1": generic.NumberObject(length)}),
        encoded_data=program,
    )
    descriptor = {
        "/Type": pdf_name("/FontDescriptor"),
        "/FontName": pdf_name(f"/{name}"),
        "/Flags": generic.NumberObject(flags),
        "/FontBBox": _array(*(round(value) for value in font.bounding_box)),
        "/ItalicAngle": _number(font.italic_angle),
        "/Ascent": _number(font.ascent * 1000),
        "/Descent": _number(font.descent * 1000),
        "/CapHeight": _number(font.cap_height * 1000),
        "/StemV": generic.NumberObject(140 if bold else 80),
        "/FontFile2": writer.add_object(file),
    }
    if pdfa_part(writer) == 1:
        # ISO 19005-1, 6.3.5: a subset says which glyphs it has; all up to the last are there, most of them empty.
        count = font.subset(letters).glyph_count
        bits = ((1 << count) - 1) << (-count % 8)
        present = bits.to_bytes((count + 7) // 8, "big")
        descriptor["/CIDSet"] = writer.add_object(_stream({}, present))
    widths = generic.ArrayObject()
    for glyph in sorted(letters):
        widths += [generic.NumberObject(glyph), _array(font.advance(glyph))]
    system = {
        "/Registry": generic.TextStringObject("Adobe"),
        "/Ordering": generic.TextStringObject("Identity"),
        "/Supplement": generic.NumberObject(0),
    }
    descendant = {
        "/Type": pdf_name("/Font"),
        "/Subtype": pdf_name("/CIDFontType2"),
        "/BaseFont": pdf_name(f"/{name}"),
        "/CIDSystemInfo": _dictionary(system),
        "/FontDescriptor": writer.add_object(_dictionary(descriptor)),
        "/CIDToGIDMap": pdf_name("/Identity"),
        "/DW": generic.NumberObject(1000),
        "/W": widths,
    }
    mapping = generic.StreamObject(
        _dictionary({"/Filter": pdf_name("/FlateDecode")}), encoded_data=to_unicode
    )
    composite = {
        "/Type": pdf_name("/Font"),
        "/Subtype": pdf_name("/Type0"),
        "/BaseFont": pdf_name(f"/{name}"),
        "/Encoding": pdf_name("/Identity-H"),
        "/DescendantFonts": generic.ArrayObject([writer.add_object(_dictionary(descendant))]),
        "/ToUnicode": writer.add_object(mapping),
    }
    return writer.add_object(_dictionary(composite))


@functools.lru_cache(maxsize=128)
def _font_streams(style: FontStyle, letters: tuple[tuple[int, str], ...]) -> tuple[str, bytes, int, bytes]:
    """Return the name, the deflated program, its plain length and the deflated /ToUnicode of a subset."""
    subset = load_font(style).subset(glyph for glyph, _ in letters)
    return (
        subset.name,
        zlib.compress(subset.program, 9),
        len(subset.program),
        zlib.compress(_to_unicode(letters).encode("ascii"), 9),
    )


def _to_unicode(letters: tuple[tuple[int, str], ...]) -> str:
    """Return a CMap from codes to characters (ISO 32000-1, 9.10.3)."""
    lines = [
        "/CIDInit /ProcSet findresource begin",
        "12 dict begin",
        "begincmap",
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
        "/CMapName /Adobe-Identity-UCS def",
        "/CMapType 2 def",
        "1 begincodespacerange",
        "<0000> <FFFF>",
        "endcodespacerange",
    ]
    # No section may have more than 100 entries.
    for start in range(0, len(letters), 100):
        part = letters[start : start + 100]
        lines.append(f"{len(part)} beginbfchar")
        lines += [f"<{glyph:04X}> <{letter.encode('utf-16-be').hex().upper()}>" for glyph, letter in part]
        lines.append("endbfchar")
    lines += ["endcmap", "CMapName currentdict /CMap defineresource pop", "end", "end"]
    return "\n".join(lines)


def _stream(entries: Mapping[str, generic.PdfObject], content: bytes) -> generic.StreamObject:
    whole = {**entries, "/Filter": pdf_name("/FlateDecode")}
    return generic.StreamObject(_dictionary(whole), encoded_data=zlib.compress(content))


def _dictionary(entries: Mapping[str, object]) -> generic.DictionaryObject:
    """Return a dictionary; empty values are left out."""
    return generic.DictionaryObject(
        {
            pdf_name(name): generic.DictionaryObject(value) if type(value) is dict else value
            for name, value in entries.items()
            if value or value == 0
        }
    )


def _number(value: float) -> generic.PdfObject:
    return generic.FloatObject(_numbers(value))


def _array(*values: float) -> generic.ArrayObject:
    return generic.ArrayObject([_number(value) for value in values])


def _numbers(*values: float) -> str:
    # Never in exponential form, which PDF does not know; 1/10000 point is far below what can be seen.
    return " ".join(f"{round(value, 4) + 0.0:.4f}".rstrip("0").rstrip(".") for value in values)


def _colour(colour: Colour) -> str:
    return _numbers(*colour)
