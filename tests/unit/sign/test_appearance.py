"""Pictures and texts as values, and the fonts behind them."""

from __future__ import annotations

import contextlib
import gc
import io
import struct
import unicodedata
import weakref
import zlib
from typing import TYPE_CHECKING

import pytest
from fontTools.ttLib import TTFont
from PIL import Image
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from tests.drawing import blank_pdf, png, seal_png, signature_png
from vnedoc.errors import InputError, UsageError
from vnedoc.sign._pyhanko.appearance import render_appearance
from vnedoc.sign.appearance import (
    MAX_PICTURE_BYTES,
    TextBlock,
    load_picture,
    parse_picture,
    picture_appearance,
    text_appearance,
    text_width,
    wrap_text,
)
from vnedoc.sign.fonts import FontStyle, load_font
from vnedoc.sign.pages import open_pages

if TYPE_CHECKING:
    from pathlib import Path

# Base letters with the marks that make other letters of them; each takes no tone or one of five.
VOWELS = ("a", "a\u0306", "a\u0302", "e", "e\u0302", "i", "o", "o\u0302", "o\u031b", "u", "u\u031b", "y")
TONES = ("", "\u0300", "\u0309", "\u0303", "\u0301", "\u0323")
VIETNAMESE = "đ" + "".join(unicodedata.normalize("NFC", vowel + tone) for vowel in VOWELS for tone in TONES)


def jpeg(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def test_a_transparent_png_is_read() -> None:
    picture = parse_picture(seal_png(margin=50, dpi=300))
    assert (picture.width_px, picture.height_px, picture.ratio) == (700, 700, 1)
    assert picture.has_alpha
    assert picture.warnings == ()
    assert picture.dpi == pytest.approx(300, abs=0.1)
    assert picture.ink_px == (50, 50, 650, 650)


def test_the_samples_are_those_of_the_picture() -> None:
    image = Image.new("RGBA", (3, 2), (10, 20, 30, 255))
    image.putpixel((1, 1), (200, 0, 0, 128))
    picture = parse_picture(png(image))
    # Predictor bytes aside, nothing is lost: PDF readers undo the prediction as PNG readers do.
    assert len(zlib.decompress(picture.colours)) == 2 * (1 + 3 * 3)
    assert picture.alpha is not None
    assert len(zlib.decompress(picture.alpha)) == 2 * (1 + 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK"])
def test_an_opaque_picture_is_read_with_a_warning(mode: str) -> None:
    image = Image.new("RGB", (40, 20), (255, 255, 255))
    image.paste((0, 0, 200), (5, 6, 30, 15))
    content = jpeg(image.convert(mode)) if mode == "CMYK" else png(image.convert(mode))
    picture = parse_picture(content)
    assert not picture.has_alpha
    assert picture.warnings == ("appearance.picture-not-transparent",)


def test_the_ink_of_an_opaque_picture_is_what_is_not_white() -> None:
    image = Image.new("RGB", (40, 20), (250, 250, 250))
    image.paste((0, 0, 200), (5, 6, 30, 15))
    assert parse_picture(png(image)).ink_px == (5, 6, 30, 15)


def test_an_alpha_channel_that_hides_nothing_is_no_transparency() -> None:
    assert not parse_picture(png(Image.new("RGBA", (4, 4), (0, 0, 0, 255)))).has_alpha


def test_a_palette_picture_with_transparency_is_read() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 255, 255, 200, 0, 0])
    image.putpixel((0, 0), 0)
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=0)
    assert parse_picture(stream.getvalue()).has_alpha


def test_a_photograph_is_turned_as_its_camera_says() -> None:
    image = Image.new("RGB", (40, 20), (0, 0, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = parse_picture(jpeg(image, exif=exif.tobytes()))
    assert (picture.width_px, picture.height_px) == (20, 40)


def test_equal_pictures_have_equal_digests() -> None:
    assert parse_picture(signature_png()).digest == parse_picture(signature_png()).digest
    assert parse_picture(signature_png()).digest != parse_picture(seal_png()).digest


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(5001, 5000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(InputError) as caught:
        parse_picture(bomb(*size))
    assert caught.value.code == "appearance.picture-too-large"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    content = signature_png() + bytes(MAX_PICTURE_BYTES)
    with pytest.raises(InputError) as caught:
        parse_picture(content)
    assert caught.value.code == "appearance.picture-too-large"
    path = tmp_path / "large.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_picture(path)
    assert caught.value.code == "file.too-large"


GOOD = signature_png()
PHOTO = jpeg(Image.new("RGB", (40, 20), (0, 0, 200)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"TEST",
        b"%PDF-1.7",
        GOOD[:40],
        GOOD[: len(GOOD) // 2],
        PHOTO[: len(PHOTO) // 2],
        bomb(100, 100),
        bomb(0, 10),
        GOOD.replace(b"IDAT", b"IDAX"),
        GOOD[:60] + bytes(20) + GOOD[80:],
        b"GIF89a" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_picture(content, name="TEST.png")
    assert caught.value.code == "appearance.bad-picture"
    assert "TEST.png" in caught.value.text("vi")


@pytest.mark.parametrize("position", range(8, len(GOOD), max(1, len(GOOD) // 60)))
def test_a_flipped_byte_never_ends_in_a_traceback(position: int) -> None:
    broken = bytearray(GOOD)
    broken[position] ^= 0xFF
    with contextlib.suppress(InputError):
        parse_picture(bytes(broken))


@pytest.mark.parametrize(
    "image", [Image.new("RGBA", (10, 10), (0, 0, 0, 0)), Image.new("RGB", (10, 10), (255, 255, 255))]
)
def test_a_picture_that_shows_nothing_is_refused(image: Image.Image) -> None:
    with pytest.raises(InputError) as caught:
        parse_picture(png(image))
    assert caught.value.code == "appearance.empty-picture"


@pytest.mark.parametrize("style", list(FontStyle))
def test_every_vietnamese_letter_is_in_every_style(style: FontStyle) -> None:
    letters = VIETNAMESE + VIETNAMESE.upper()
    assert len(set(letters)) == 146
    assert text_width(letters, 10, style) > 0
    assert text_width("–—“”‘’…•₫€§°²³½×÷±≤≥→←", 10, style) > 0


@pytest.mark.parametrize(
    ("text", "character", "code"),
    [
        ("漢", "漢", "U+6F22"),
        ("a😀", "😀", "U+1F600"),
        ("a\tb", "\N{REPLACEMENT CHARACTER}", "U+0009"),
        ("x\u0335", "\u0335", "U+0335"),
    ],
)
def test_a_missing_glyph_is_an_error_that_names_it(text: str, character: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        text_width(text, 10)
    assert caught.value.code == "appearance.missing-glyph"
    assert code in caught.value.text()
    assert character in caught.value.text("vi")


def test_a_missing_glyph_stops_the_drawing() -> None:
    with open_pages(blank_pdf()) as pages, pytest.raises(UsageError):
        writer = IncrementalPdfFileWriter(io.BytesIO(blank_pdf()))
        render_appearance(writer, text_appearance(TextBlock(("漢",)), 10, 10), pages.geometry(1))


def test_decomposed_and_composed_text_are_the_same() -> None:
    composed = "ỦY BAN NHÂN DÂN"
    assert text_width(unicodedata.normalize("NFD", composed), 12) == text_width(composed, 12)


def test_widths_are_those_of_times_new_roman() -> None:
    # Advance widths of Times New Roman in 1/2048 em: digits 1024, M 1821, i 569, space 512.
    assert text_width("0123", 2048) == 4 * 1024
    assert text_width("Mi ", 2048) == 1821 + 569 + 512


@pytest.mark.parametrize("style", list(FontStyle))
def test_a_subset_is_a_font_with_just_the_letters(style: FontStyle) -> None:
    font = load_font(style)
    glyphs = font.glyphs("Số ỦY đ")
    subset = font.subset(glyphs)
    with TTFont(io.BytesIO(subset.program)) as program:
        drawn = [
            number
            for number, name in enumerate(program.getGlyphOrder())
            if program["glyf"][name].numberOfContours != 0
        ]
        assert {glyph for glyph in glyphs if glyph != font.glyph(" ")} <= set(drawn)
        assert len(drawn) < 25
        for glyph in glyphs:
            name = program.getGlyphOrder()[glyph]
            assert program["hmtx"][name][0] * 1000 / 2048 == pytest.approx(font.advance(glyph))
    assert len(subset.program) < 12_000


def test_the_tag_of_a_subset_follows_from_its_letters() -> None:
    font = load_font(FontStyle.REGULAR)
    first, again, other = (font.subset(font.glyphs(text)) for text in ("abc", "cba", "abd"))
    assert first.name == again.name != other.name
    tag, _, name = first.name.partition("+")
    assert len(tag) == 6
    assert tag.isupper()
    assert name == "Tinos"


def test_text_is_broken_into_lines_that_fit() -> None:
    text = "ỦY BAN NHÂN DÂN TỈNH TEST; 21/11/2026; 17:26:56; +07:00"
    lines = wrap_text(text, 120, 10)
    assert len(lines) > 1
    assert " ".join(lines) == text
    assert all(text_width(line, 10) <= 120 for line in lines)


def test_line_breaks_stay_and_long_words_are_cut() -> None:
    assert wrap_text("a\n\nb", 100, 10) == ("a", "", "b")
    lines = wrap_text("x " + "W" * 100 + " y", 95, 10)
    assert "".join(lines).replace(" ", "") == "x" + "W" * 100 + "y"
    assert all(text_width(line, 10) <= 95 for line in lines)


def test_a_block_knows_its_measures() -> None:
    block = TextBlock(("aa", "a"), font_size=10, leading=1.2)
    assert block.width == text_width("aa", 10)
    # One baseline distance, and Times New Roman reaches 0.891 over and 0.216 under the baseline.
    assert block.height == pytest.approx(12 + 11.07, abs=0.01)


def test_a_finished_writer_is_not_kept() -> None:
    content = blank_pdf()
    with open_pages(content) as pages:
        geometry = pages.geometry(1)
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    render_appearance(writer, picture_appearance(parse_picture(signature_png()), 10, 10), geometry)
    kept = weakref.ref(writer)
    del writer
    gc.collect()
    assert kept() is None
