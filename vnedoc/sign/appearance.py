"""Pictures and texts as values: what a signature shows, before it becomes PDF.

Decree 30/2020/NĐ-CP, Annex I: a blue picture of the handwritten signature, a red picture of the seal at true size,
or text of 10 points in Times New Roman. All measures are in points, upright as the reader sees them.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import io
import struct
import unicodedata
import zlib
from typing import TYPE_CHECKING, TypeAlias

from vnedoc._internal.files import read_bytes
from vnedoc.errors import InputError
from vnedoc.sign.fonts import FontStyle, load_font, text_width

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.Image import Image

__all__ = [
    "BLACK",
    "MAX_PICTURE_BYTES",
    "MAX_PICTURE_PIXELS",
    "RED",
    "Align",
    "Appearance",
    "Colour",
    "Element",
    "Frame",
    "Picture",
    "PlacedPicture",
    "PlacedText",
    "TextBlock",
    "load_picture",
    "parse_picture",
    "picture_appearance",
    "stencil_mask",
    "text_appearance",
    "text_width",
    "wrap_text",
]

MAX_PICTURE_BYTES = 10 * 1024 * 1024
"""The largest picture file that is read."""
MAX_PICTURE_PIXELS = 25_000_000
"""The most pixels a picture may have: an A4 page at 500 dpi, and far below a decompression bomb."""
MAX_SIDE_PX = 2000
"""Larger pictures are scaled down once: 2000 pixels over a 50 mm seal are 1000 dpi, more than any printer shows."""
# Fainter than this is the edge of a brush or the grain of a scan, not ink.
INK_ALPHA = 24
INK_LUMINANCE = 235
STENCIL_ALPHA = 128

Colour: TypeAlias = tuple[float, float, float]
"""Red, green and blue from 0 to 1."""
BLACK: Colour = (0.0, 0.0, 0.0)
RED: Colour = (0.85, 0.0, 0.0)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """A picture that is ready to go into any number of PDFs: it is decoded and compressed once."""

    width_px: int
    """Width in pixels."""
    height_px: int
    """Height in pixels."""
    colours: bytes = dataclasses.field(repr=False)
    """The RGB samples, PNG-predicted and deflated (ISO 32000-1, 7.4.4)."""
    alpha: bytes | None = dataclasses.field(repr=False)
    """The opacity samples in the same form; ``None``: the picture is opaque."""
    dpi: float | None
    """The resolution that the file states, or ``None``."""
    ink_px: tuple[int, int, int, int]
    """Left, upper, right and lower limit of what is visible, in pixels from the upper left corner."""
    digest: str
    """A name for the content: equal pictures have equal digests."""

    @property
    def has_alpha(self) -> bool:
        """Whether anything behind the picture shows through."""
        return self.alpha is not None

    @property
    def ratio(self) -> float:
        """Width over height."""
        return self.width_px / self.height_px

    @property
    def warnings(self) -> tuple[str, ...]:
        """Message ids of what does not meet Annex I although it can be used."""
        return () if self.has_alpha else ("appearance.picture-not-transparent",)


class Align(enum.StrEnum):
    """Where the lines of a text stand in their column."""

    LEFT = "left"
    """At the left edge."""
    CENTRE = "centre"
    """In the middle."""
    RIGHT = "right"
    """At the right edge."""


@dataclasses.dataclass(frozen=True, slots=True)
class TextBlock:
    """Lines of text in one style. Lines are shown as they are; see :func:`wrap_text`."""

    lines: tuple[str, ...]
    """The lines, from the top."""
    font_size: float = 10.0
    """Size in points; Annex I: 10 for appendix and copy, 13 for the number, 13 to 14 for the date."""
    style: FontStyle = FontStyle.REGULAR
    """Style of the typeface."""
    colour: Colour = BLACK
    """Colour of the letters."""
    align: Align = Align.LEFT
    """Where the lines stand in their column."""
    leading: float = 1.15
    """Distance of the baselines, in font sizes."""

    @property
    def width(self) -> float:
        """Width of the longest line in points."""
        return max((text_width(line, self.font_size, self.style) for line in self.lines), default=0.0)

    @property
    def ascent(self) -> float:
        """Height of the first line over its baseline in points."""
        return load_font(self.style).ascent * self.font_size

    @property
    def height(self) -> float:
        """Height from the top of the first line to the bottom of the last in points."""
        font = load_font(self.style)
        between = self.leading * self.font_size * max(len(self.lines) - 1, 0)
        return (font.ascent - font.descent) * self.font_size + between


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedPicture:
    """A picture in an appearance, stretched to a rectangle."""

    picture: Picture
    """The picture."""
    x: float
    """Left edge."""
    y: float
    """Lower edge."""
    width: float
    """Width."""
    height: float
    """Height."""


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedText:
    """A text in an appearance, in a column."""

    block: TextBlock
    """The text."""
    x: float
    """Left edge of the column."""
    baseline: float
    """Baseline of the first line."""
    width: float
    """Width of the column, in which lines are aligned."""


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle of lines in an appearance, as around an incoming stamp."""

    x: float
    """Left edge, in the middle of the line."""
    y: float
    """Lower edge."""
    width: float
    """Width."""
    height: float
    """Height."""
    line_width: float = 1.0
    """Width of the line."""
    colour: Colour = BLACK
    """Colour of the line."""


Element: TypeAlias = PlacedPicture | PlacedText | Frame
"""One thing in an appearance."""


@dataclasses.dataclass(frozen=True, slots=True)
class Appearance:
    """What a signature shows, in a rectangle whose lower left corner is (0, 0). Nothing shows outside it."""

    width: float
    """Width in points."""
    height: float
    """Height in points."""
    elements: tuple[Element, ...]
    """What is shown, from back to front."""


def picture_appearance(picture: Picture, width: float, height: float) -> Appearance:
    """Return an appearance that shows a whole picture, as large as fits, in its own ratio, centred."""
    scale = min(width / picture.width_px, height / picture.height_px)
    shown_width, shown_height = picture.width_px * scale, picture.height_px * scale
    placed = PlacedPicture(
        picture, (width - shown_width) / 2, (height - shown_height) / 2, shown_width, shown_height
    )
    return Appearance(width, height, (placed,))


def text_appearance(block: TextBlock, width: float, height: float) -> Appearance:
    """Return an appearance that shows a text from the top of a rectangle downwards.

    Raises:
        UsageError: The typeface lacks a character of the text.
    """
    placed = PlacedText(block, 0.0, height - block.ascent, width)
    return Appearance(width, height, (placed,))


def wrap_text(
    text: str, width: float, font_size: float, style: FontStyle = FontStyle.REGULAR
) -> tuple[str, ...]:
    """Break a text into lines that are not wider than a column.

    Line breaks of the text are kept. A word that is wider than the column stands on a line of its own, cut into
    pieces that fit.

    Raises:
        UsageError: The typeface lacks a character of the text.
    """
    measure = functools.partial(text_width, size=font_size, style=style)
    space = measure(" ")
    lines: list[str] = []
    for paragraph in unicodedata.normalize("NFC", text).splitlines():
        line, used = "", 0.0
        for word in paragraph.split():
            for piece in _pieces(word, width, measure):
                needed = measure(piece)
                if line and used + space + needed <= width:
                    line, used = f"{line} {piece}", used + space + needed
                    continue
                if line:
                    lines.append(line)
                line, used = piece, needed
        lines.append(line)
    return tuple(lines)


def _pieces(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Cut a word that is wider than a column into pieces that are not."""
    if measure(word) <= width:
        return [word]
    pieces = [""]
    used = 0.0
    for letter in word:
        needed = measure(letter)
        if pieces[-1] and used + needed > width:
            pieces.append("")
            used = 0.0
        pieces[-1] += letter
        used += needed
    return pieces


def load_picture(path: Path) -> Picture:
    """Read a PNG or JPEG file.

    Raises:
        InputError: The file cannot be read, is not a picture, or is too large.
    """
    return parse_picture(read_bytes(path, max_bytes=MAX_PICTURE_BYTES), name=str(path))


def parse_picture(content: bytes, *, name: str = "-") -> Picture:
    """Read the bytes of a PNG or JPEG file.

    Args:
        content: The file.
        name: What errors call the picture.

    Raises:
        InputError: It is not a picture, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(content) > MAX_PICTURE_BYTES:
        raise InputError(
            "appearance.picture-too-large", name=name, pixels=MAX_PICTURE_PIXELS, size=MAX_PICTURE_BYTES
        )
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    # Pillow meets hostile bytes with any of these; none of them is a fault of ours.
    broken = (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        struct.error,
        zlib.error,
    )
    try:
        # The size is in the first bytes; the pixels are decoded only when there are not too many.
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > MAX_PICTURE_PIXELS:
                raise InputError(
                    "appearance.picture-too-large",
                    name=name,
                    pixels=MAX_PICTURE_PIXELS,
                    size=MAX_PICTURE_BYTES,
                )
            dpi = _stated_dpi(opened)
            image = ImageOps.exif_transpose(opened)
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except bombs as exc:
        raise InputError(
            "appearance.picture-too-large", name=name, pixels=MAX_PICTURE_PIXELS, size=MAX_PICTURE_BYTES
        ) from exc
    except broken as exc:
        raise InputError("appearance.bad-picture", name=name) from exc
    return _encode(image, dpi, name)


def _encode(image: Image, dpi: float | None, name: str) -> Picture:
    from PIL import Image

    longest = max(image.size)
    if longest > MAX_SIDE_PX:
        scale = MAX_SIDE_PX / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
        dpi = None if dpi is None else dpi * scale
    alpha: bytes | None = None
    ink: tuple[int, int, int, int] | None = None
    if image.mode == "RGBA":
        opacity = image.getchannel("A")
        ink = opacity.point(lambda value: 255 if value >= INK_ALPHA else 0).getbbox()
        if opacity.getextrema() != (255, 255):
            alpha = _deflate(opacity)
        # What is fully transparent has no colour worth storing.
        nothing = opacity.point(lambda value: 255 if value == 0 else 0)
        image = image.convert("RGB")
        image.paste((255, 255, 255), mask=nothing)
    if alpha is None:
        ink = image.convert("L").point(lambda value: 255 if value < INK_LUMINANCE else 0).getbbox()
    if ink is None:
        # Nothing to see: a wrong file, and a signature that shows nothing.
        raise InputError("appearance.empty-picture", name=name)
    samples = image.tobytes()
    digest = hashlib.sha256(struct.pack(">LL", *image.size) + samples + (alpha or b"")).hexdigest()
    colours = _deflate(image)
    return Picture(image.width, image.height, colours, alpha, dpi, ink, digest)


@functools.lru_cache(maxsize=8)
def stencil_mask(picture: Picture) -> bytes:
    """Return a mask with one bit a pixel, deflated, for files that may have no transparency: 1 hides a pixel.

    Half-transparent edges become hard; at the resolution of a seal nobody sees it.
    """
    from PIL import Image

    assert picture.alpha is not None
    header = struct.pack(">LLBBBBB", picture.width_px, picture.height_px, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", picture.alpha), (b"IEND", b""))
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    with Image.open(io.BytesIO(file)) as opacity:
        mask = opacity.point(lambda value: 255 if value < STENCIL_ALPHA else 0, "1")
    return zlib.compress(mask.tobytes(), 9)


def _stated_dpi(image: Image) -> float | None:
    """Return the resolution that the file states, if it is the same both ways."""
    stated = image.info.get("dpi")
    if not (isinstance(stated, tuple) and len(stated) == 2):
        return None
    try:
        across, down = float(stated[0]), float(stated[1])
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 1 < across < 10_000 or abs(across - down) > 1:
        return None
    return across


def _deflate(image: Image) -> bytes:
    """Return the samples of a picture, PNG-predicted and deflated.

    That is what the IDAT chunks of a PNG file hold (ISO/IEC 15948, 11.2.3), and Pillow writes them fast.
    """
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=9)
    content = file.getvalue()
    parts = []
    position = 8
    while position < len(content):
        length, kind = struct.unpack_from(">L4s", content, position)
        if kind == b"IDAT":
            parts.append(content[position + 8 : position + 8 + length])
        position += length + 12
    return b"".join(parts)
