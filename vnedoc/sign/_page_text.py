"""The letters of a page with their places, through PDFium.

The order in which a page draws its letters says little: justified text, tabs and letter-spaced headings come as
loose letters. So letters are put on rows by their baseline, and words, gaps and columns follow from where they
stand.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import dataclasses
import itertools
import math
import statistics
import threading
import unicodedata
from typing import TYPE_CHECKING, TypeAlias

import pypdfium2
import pypdfium2.raw as pdfium

from vnedoc.errors import DocumentError
from vnedoc.sign.models import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Gap", "Match", "PageText", "Rectangle", "Run", "TextReader", "fold", "fold_case"]

Rectangle: TypeAlias = tuple[float, float, float, float]
"""Left, lower, right, upper."""

MAX_PAGE_CHARACTERS = 100_000
"""A page with more characters is not read: A4 in 10 points holds about 6,000."""
# In font sizes. A space is 0.25 wide and a justified one seldom below 0.18; letter-spaced type seldom exceeds 0.5.
WORD_GAP = 0.16
COLUMN_GAP = 1.2
MATCH_GAP = 2.5
# How far type reaches over and under its baseline, in font sizes: Times New Roman with a mark on a capital. What a
# font file states about itself is often wrong.
ASCENT = 0.93
DESCENT = 0.216
MAX_FONT_SIZE = 2000.0
MAX_FOLLOWING = 200
# PDFium must not be called by two threads at a time, not even for two documents.
_PDFIUM_LOCK = threading.Lock()
# What blanks to write on are made of.
LEADERS = frozenset("._…․‥·_ \N{NO-BREAK SPACE}\t")


def fold(text: str) -> str:
    """Return a text without diacritics, case and white space; đ becomes d."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(
        "d" if letter == "đ" else letter
        for letter in decomposed
        if not unicodedata.combining(letter) and not letter.isspace()
    )


def fold_case(text: str) -> str:
    """Return a text without case and white space, but with its diacritics."""
    return "".join(letter for letter in unicodedata.normalize("NFC", text.casefold()) if not letter.isspace())


@dataclasses.dataclass(frozen=True, slots=True)
class Glyph:
    """A letter as shown, with the marks that combine with it."""

    text: str
    left: float
    right: float
    baseline: float
    size: float
    after_space: bool

    @property
    def lower(self) -> float:
        return self.baseline - DESCENT * self.size

    @property
    def upper(self) -> float:
        return self.baseline + ASCENT * self.size


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """Where a text was found."""

    text: str
    """The text as it stands there."""
    box: Box
    """Its place."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Letters on one baseline without a wide gap."""

    text: str
    """The text."""
    box: Box
    """Its place."""
    baseline: float
    """Height of the baseline."""
    font_size: float
    """Size of the type in points."""


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """A blank after a text."""

    start: float
    """Left edge."""
    end: float
    """Right edge."""
    baseline: float
    """Height of the baseline."""
    font_size: float
    """Size of the type before it."""
    following: str
    """The text after it, up to the next wide gap."""


class PageText:
    """The letters of one page.

    Args:
        glyphs: The letters in the order in which the page draws them.
    """

    def __init__(self, glyphs: Sequence[Glyph]) -> None:
        self._rows = _rows(glyphs)

    def find(self, anchor: str) -> list[Match]:
        """Return where a text stands, ignoring diacritics, case and white space, from the top."""
        wanted = fold(anchor)
        return [match for row in self._rows for match, _ in _matches(row, wanted)]

    def lines(self) -> list[Run]:
        """Return the text by lines, from the top; columns are lines of their own."""
        return [_run(part) for row in self._rows for part in _columns(row)]

    def edge_above(self, box: Box) -> float | None:
        """Return the lower edge of the nearest letters over a place, or ``None``."""
        # The baseline counts: marks under and over letters reach into the next line.
        return min(
            (
                glyph.lower
                for row in self._rows
                for glyph in row
                if glyph.baseline > box.top and glyph.left < box.right and glyph.right > box.x
            ),
            default=None,
        )

    def gaps_after(self, label: str, *, limit: float) -> list[Gap]:
        """Return the blanks that follow a text on its row.

        Args:
            label: The text.
            limit: Where a row ends that nothing follows on.
        """
        wanted = fold(label)
        gaps = []
        for row in self._rows:
            for _, end in _matches(row, wanted):
                position = end
                while position < len(row) and row[position].text in LEADERS:
                    position += 1
                rest = next(_columns(row[position : position + MAX_FOLLOWING]), [])
                stop = rest[0].left if rest else limit
                last = row[end - 1]
                gaps.append(Gap(last.right, stop, last.baseline, last.size, _join(rest)))
        return gaps


class TextReader:
    """Reads the text of pages; PDFium holds the document open.

    Args:
        source: The document.
        password: Its password, if it is encrypted.

    Raises:
        DocumentError: PDFium cannot open the document.
    """

    def __init__(self, source: Path | bytes, *, password: str | None = None) -> None:
        try:
            with _PDFIUM_LOCK:
                self._document = pypdfium2.PdfDocument(source, password=password)
        except (pypdfium2.PdfiumError, OSError) as exc:
            name = "-" if isinstance(source, bytes) else source
            raise DocumentError("appearance.cannot-read-document", path=name) from exc

    def close(self) -> None:
        """Let go of the document."""
        with _PDFIUM_LOCK:
            self._document.close()

    def skim(self, index: int) -> str:
        """Return the text of a page in the order in which it is drawn.

        Raises:
            DocumentError: The page cannot be read.
        """
        with _PDFIUM_LOCK, _opened_text(self._document, index) as (text, count):
            buffer = (ctypes.c_ushort * (count + 1))()
            pdfium.FPDFText_GetText(text, 0, count, buffer)
            return bytes(buffer).decode("utf-16-le", errors="replace").partition("\0")[0]

    def read(
        self, index: int, to_shown: Callable[[float, float], tuple[float, float]], user_unit: float
    ) -> PageText:
        """Return the letters of a page with their places as shown.

        Raises:
            DocumentError: The page cannot be read.
        """
        with _PDFIUM_LOCK, _opened_text(self._document, index) as (text, count):
            return PageText(list(_glyphs(text, count, to_shown, user_unit)))


@contextlib.contextmanager
def _opened_text(document: pypdfium2.PdfDocument, index: int) -> Iterator[tuple[object, int]]:
    """Open the text of a page and count its characters."""
    try:
        page = document[index]
    except (pypdfium2.PdfiumError, IndexError) as exc:
        raise DocumentError("appearance.cannot-read-page", page=index + 1, path="-") from exc
    with contextlib.closing(page):
        try:
            text = page.get_textpage()
        except pypdfium2.PdfiumError as exc:
            raise DocumentError("appearance.cannot-read-page", page=index + 1, path="-") from exc
        with contextlib.closing(text):
            count = pdfium.FPDFText_CountChars(text)
            if not 0 <= count <= MAX_PAGE_CHARACTERS:
                raise DocumentError("appearance.page-too-full", page=index + 1, limit=MAX_PAGE_CHARACTERS)
            yield text, count


def _glyphs(
    text: object, count: int, to_shown: Callable[[float, float], tuple[float, float]], user_unit: float
) -> Iterator[Glyph]:
    box, matrix = pdfium.FS_RECTF(), pdfium.FS_MATRIX()
    x, y = ctypes.c_double(), ctypes.c_double()
    space = False
    pending: Glyph | None = None
    for number in range(count):
        letter = _letter(pdfium.FPDFText_GetUnicode(text, number))
        if letter.isspace() or not letter.isprintable():
            space = True
            continue
        if unicodedata.combining(letter) and pending is not None:
            # A mark that is drawn by itself belongs to the letter before it.
            pending = dataclasses.replace(pending, text=unicodedata.normalize("NFC", pending.text + letter))
            continue
        if not (
            pdfium.FPDFText_GetLooseCharBox(text, number, box)
            and pdfium.FPDFText_GetCharOrigin(text, number, x, y)
            and pdfium.FPDFText_GetMatrix(text, number, matrix)
        ):
            continue
        baseline_x, baseline = to_shown(x.value, y.value)
        ahead_x, ahead_y = to_shown(x.value + matrix.a, y.value + matrix.b)
        # Only type that stands upright marks a place; a watermark across the page does not.
        if not abs(ahead_y - baseline) < 0.02 * (ahead_x - baseline_x):
            continue
        # Some producers scale the matrix and leave the font at 1 point.
        size = pdfium.FPDFText_GetFontSize(text, number) * math.hypot(matrix.c, matrix.d) * user_unit
        left, right = sorted((to_shown(box.left, box.bottom)[0], to_shown(box.right, box.top)[0]))
        if not (0 < size < MAX_FONT_SIZE and max(abs(left), abs(right), abs(baseline)) < 1e6):
            continue  # Not a number, or far off any page.
        if pending is not None:
            yield pending
        pending = Glyph(letter, left, right, baseline, size, space)
        space = False
    if pending is not None:
        yield pending


def _letter(code: int) -> str:
    # PDFium gives surrogates one by one, and 0xFFFE for a hyphen at the end of a line.
    return "\N{REPLACEMENT CHARACTER}" if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)


def _rows(glyphs: Sequence[Glyph]) -> list[list[Glyph]]:
    """Put letters on rows by their baseline, rows from the top, letters from the left."""
    rows: list[tuple[float, list[Glyph]]] = []
    for glyph in sorted(glyphs, key=lambda glyph: -glyph.baseline):
        # Type in different sizes on one line has one baseline; footnote marks and rounding shift it a little.
        if rows and rows[-1][0] - glyph.baseline <= min(2.0, 0.2 * glyph.size):
            rows[-1][1].append(glyph)
        else:
            rows.append((glyph.baseline, [glyph]))
    return [sorted(row, key=lambda glyph: glyph.left) for _, row in rows]


def _columns(row: Sequence[Glyph]) -> Iterator[list[Glyph]]:
    part: list[Glyph] = []
    for glyph in row:
        if part and glyph.left - part[-1].right > COLUMN_GAP * max(glyph.size, part[-1].size):
            yield part
            part = []
        part.append(glyph)
    if part:
        yield part


def _join(glyphs: Sequence[Glyph]) -> str:
    parts = []
    for number, glyph in enumerate(glyphs):
        gap = glyph.left - glyphs[number - 1].right if number else 0.0
        if gap > WORD_GAP * glyph.size or (number and glyph.after_space and gap > 0.05 * glyph.size):
            parts.append(" ")
        parts.append(glyph.text)
    return unicodedata.normalize("NFC", "".join(parts))


def _box(glyphs: Sequence[Glyph]) -> Box:
    left, right = min(glyph.left for glyph in glyphs), max(glyph.right for glyph in glyphs)
    lower, upper = min(glyph.lower for glyph in glyphs), max(glyph.upper for glyph in glyphs)
    return Box(left, lower, max(right - left, 0.01), max(upper - lower, 0.01))


def _run(glyphs: Sequence[Glyph]) -> Run:
    return Run(
        _join(glyphs),
        _box(glyphs),
        statistics.median(glyph.baseline for glyph in glyphs),
        statistics.median(glyph.size for glyph in glyphs),
    )


def _matches(row: Sequence[Glyph], wanted: str) -> Iterator[tuple[Match, int]]:
    """Yield where a folded text stands on a row, with the number of the letter after it."""
    pieces = [fold(glyph.text) for glyph in row]
    starts: list[int] = []
    length = 0
    for piece in pieces:
        starts.append(length)
        length += len(piece)
    whole = "".join(pieces)
    position = whole.find(wanted) if wanted else -1
    while position >= 0:
        first = bisect.bisect_right(starts, position) - 1
        end = bisect.bisect_left(starts, position + len(wanted))
        found = row[first:end]
        if _together(found) and _alone(row, first, end, wanted):
            yield Match(_join(found), _box(found)), end
            position = whole.find(wanted, position + len(wanted))
        else:
            position = whole.find(wanted, position + 1)


def _together(found: Sequence[Glyph]) -> bool:
    """Whether letters stand in one column."""
    return all(
        after.left - before.right <= MATCH_GAP * before.size for before, after in itertools.pairwise(found)
    )


def _alone(row: Sequence[Glyph], first: int, end: int, wanted: str) -> bool:
    """Whether what was found is not a part of a longer word."""
    # In letter-spaced type only a gap wider than between its letters ends a word.
    inner = [
        after.left - before.right
        for before, after in zip(row[first : end - 1], row[first + 1 : end], strict=True)
    ]
    usual = statistics.median(inner) if inner else 0.0
    before, after = row[first - 1] if first else None, row[end] if end < len(row) else None

    def joined(left: Glyph | None, right: Glyph | None) -> bool:
        if left is None or right is None or not (left.text[-1].isalnum() and right.text[0].isalnum()):
            return False
        gap = right.left - left.right
        return gap <= max(1.5 * usual, WORD_GAP * right.size) and not (
            right.after_space and usual < 0.05 * right.size
        )

    return not (wanted[0].isalnum() and joined(before, row[first])) and not (
        wanted[-1].isalnum() and joined(row[end - 1], after)
    )
