"""What the pages of a PDF look like to a reader: their size, and where a text stands on them.

Sizes come from qpdf, texts from PDFium, which is started only when a text is asked for. All places are
:class:`~vnedoc.sign.models.Box`: points, as shown, after /Rotate and within the crop box (ISO 32000-1, 7.7.3.3,
14.11.2).
"""

from __future__ import annotations

import dataclasses
import io
import math
from typing import TYPE_CHECKING, Self

import pikepdf

from vnedoc.errors import DocumentError, UsageError
from vnedoc.sign._page_text import PageText, TextReader, fold, fold_case
from vnedoc.sign.models import Box, Occurrence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from vnedoc.sign._page_text import Rectangle

__all__ = ["AnchorHit", "PageGeometry", "Pages", "TextGap", "TextLine", "open_pages"]

MAX_SEARCHED_PAGES = 500
"""A text is searched on at most so many pages."""
MAX_SEARCHED_CHARACTERS = 1_000_000
"""The pages on which a text seems to stand may have so many characters: about 300 full pages."""
MAX_PAGE_TREE_DEPTH = 64
# What qpdf, PDFium and Poppler take for a page without a usable /MediaBox.
LETTER = (0.0, 0.0, 612.0, 792.0)


@dataclasses.dataclass(frozen=True, slots=True)
class PageGeometry:
    """How a page is shown."""

    index: int
    """Number of the page from 0."""
    media_box: Rectangle
    """/MediaBox: left, lower, right, upper in user space."""
    crop_box: Rectangle
    """What is shown of it: /CropBox within /MediaBox."""
    rotate: int = 0
    """By how many degrees the page is turned clockwise when shown: 0, 90, 180 or 270."""
    user_unit: float = 1.0
    """Size of a unit of user space in points."""

    @property
    def width(self) -> float:
        """Width as shown, in points."""
        x0, y0, x1, y1 = self.crop_box
        return (y1 - y0 if self.rotate % 180 else x1 - x0) * self.user_unit

    @property
    def height(self) -> float:
        """Height as shown, in points."""
        x0, y0, x1, y1 = self.crop_box
        return (x1 - x0 if self.rotate % 180 else y1 - y0) * self.user_unit

    def to_pdf(self, box: Box) -> Rectangle:
        """Return a place on the page in default user space: left, lower, right, upper."""
        first = self._point_to_pdf(box.x, box.y)
        second = self._point_to_pdf(box.right, box.top)
        return _normalised((*first, *second))

    def to_shown(self, rectangle: Sequence[float]) -> Box:
        """Return where a rectangle of default user space is shown.

        Raises:
            UsageError: The rectangle has no area.
        """
        x0, y0, x1, y1 = rectangle
        left, lower, right, upper = _normalised((*self.point_to_shown(x0, y0), *self.point_to_shown(x1, y1)))
        return Box(left, lower, right - left, upper - lower)

    def point_to_shown(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of default user space is shown."""
        x0, y0, x1, y1 = self.crop_box
        across, up = {
            0: (x - x0, y - y0),
            90: (y - y0, x1 - x),
            180: (x1 - x, y1 - y),
            270: (y1 - y, x - x0),
        }[self.rotate]
        return across * self.user_unit, up * self.user_unit

    def _point_to_pdf(self, across: float, up: float) -> tuple[float, float]:
        x0, y0, x1, y1 = self.crop_box
        across, up = across / self.user_unit, up / self.user_unit
        return {
            0: (x0 + across, y0 + up),
            90: (x1 - up, y0 + across),
            180: (x1 - across, y1 - up),
            270: (x0 + up, y1 - across),
        }[self.rotate]

    def contains(self, box: Box) -> bool:
        """Whether a place is on the page as a whole."""
        slack = 0.01  # Rounding in a template is not a mistake.
        return (
            box.x >= -slack
            and box.y >= -slack
            and box.right <= self.width + slack
            and box.top <= self.height + slack
        )


@dataclasses.dataclass(frozen=True, slots=True)
class AnchorHit:
    """A place where a text was found."""

    page: int
    """Number of the page from 1."""
    box: Box
    """The place of the text: from descenders to ascenders."""
    text: str
    """The text as it stands there."""


@dataclasses.dataclass(frozen=True, slots=True)
class TextLine:
    """Text on one baseline without a wide gap in it."""

    text: str
    """The text."""
    box: Box
    """Its place: from descenders to ascenders."""
    baseline: float
    """Height of the baseline."""
    font_size: float
    """Size of the type in points."""


@dataclasses.dataclass(frozen=True, slots=True)
class TextGap:
    """A blank to fill on a line of text."""

    page: int
    """Number of the page from 1."""
    x: float
    """Left edge."""
    width: float
    """Width."""
    baseline: float
    """Height of the baseline of the line."""
    font_size: float
    """Size of the type before it."""
    following: str
    """The text after it, up to the next wide gap; may be empty."""
    following_x: float | None
    """Left edge of that text."""


class Pages:
    """The pages of a document; see :func:`open_pages`."""

    def __init__(self, source: Path | bytes, document: pikepdf.Pdf, *, password: str | None = None) -> None:
        self._source = source
        self._password = password
        self._document = document
        self._geometries: dict[int, PageGeometry] = {}
        self._texts: dict[int, PageText] = {}
        self._reader: TextReader | None = None
        try:
            self._count = len(document.pages)
        except _QPDF_ERRORS as exc:
            raise DocumentError("appearance.cannot-read-page", page=1, path=_name(source)) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the document."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._document.close()

    @property
    def count(self) -> int:
        """How many pages there are."""
        return self._count

    def number(self, page: int) -> int:
        """Return the number of a page from 1, for one that may count from the end.

        Raises:
            UsageError: There is no such page.
        """
        number = page if page > 0 else self._count + 1 + page
        if page == 0 or not 1 <= number <= self._count:
            raise UsageError("appearance.no-such-page", page=page, count=self._count)
        return number

    def geometry(self, page: int) -> PageGeometry:
        """Return how a page is shown.

        Args:
            page: Its number from 1; negative counts from the end.

        Raises:
            UsageError: There is no such page.
            DocumentError: The page has no usable size.
        """
        number = self.number(page)
        if number not in self._geometries:
            try:
                self._geometries[number] = _read_geometry(self._document, number - 1)
            except (*_QPDF_ERRORS, ArithmeticError) as exc:
                raise DocumentError(
                    "appearance.cannot-read-page", page=number, path=_name(self._source)
                ) from exc
        return self._geometries[number]

    def require_inside(self, page: int, box: Box) -> None:
        """Check that a place is on a page as a whole.

        Raises:
            UsageError: It is not.
        """
        geometry = self.geometry(page)
        if not geometry.contains(box):
            raise UsageError(
                "appearance.box-outside-page",
                box=box.as_text(),
                page=self.number(page),
                width=f"{geometry.width:.1f}",
                height=f"{geometry.height:.1f}",
            )

    def find(self, anchor: str, *, page: int | None = None) -> list[AnchorHit]:
        """Return the places where a text stands, in reading order.

        Case, white space and the way letters are drawn do not matter. Where the text stands with its very
        diacritics, only those places count; otherwise diacritics do not matter either. A name is not found within
        a longer word.

        Args:
            anchor: The text, on one line.
            page: Only on this page; ``None``: on all.

        Raises:
            UsageError: There is no such page.
            DocumentError: The text of a page cannot be read, or there is too much of it.
        """
        numbers = [self.number(page)] if page is not None else range(1, self._count + 1)
        if len(numbers) > MAX_SEARCHED_PAGES:
            raise DocumentError("appearance.too-many-pages", count=len(numbers), limit=MAX_SEARCHED_PAGES)
        # Reading where each letter stands costs far more than reading the letters, so most pages are only skimmed.
        wanted = fold(anchor)
        likely: dict[int, int] = {}
        unlikely: dict[int, int] = {}
        for number in numbers:
            text = self._text_reader().skim(number - 1)
            (likely if wanted in fold(text) else unlikely)[number] = len(text)
        # A page may draw its letters in another order than they are read, so the others are not passed over.
        for group in (likely, unlikely):
            if sum(group.values()) > MAX_SEARCHED_CHARACTERS:
                raise DocumentError("appearance.too-much-text", limit=MAX_SEARCHED_CHARACTERS)
            exact: list[AnchorHit] = []
            folded: list[AnchorHit] = []
            for number in group:
                for match in self._text(number).find(anchor):
                    hit = AnchorHit(number, match.box, match.text)
                    folded.append(hit)
                    if fold_case(anchor) in fold_case(match.text):
                        exact.append(hit)
            if folded:
                return exact or folded
        return []

    def find_one(
        self, anchor: str, *, page: int | None = None, occurrence: Occurrence = Occurrence.ONLY
    ) -> AnchorHit:
        """Return the place where a text stands.

        Args:
            anchor: See :meth:`find`.
            page: See :meth:`find`.
            occurrence: Which place is meant when there are several.

        Raises:
            UsageError: The text is not there, or at several places and it was not said which.
            DocumentError: See :meth:`find`.
        """
        hits = self.find(anchor, page=page)
        if not hits:
            raise UsageError("appearance.anchor-not-found", anchor=anchor)
        if len(hits) > 1 and occurrence is Occurrence.ONLY:
            shown = hits[:10]
            places = "; ".join(f"{hit.page}: {hit.box.x:.0f},{hit.box.y:.0f}" for hit in shown)
            raise UsageError("appearance.anchor-ambiguous", anchor=anchor, count=len(hits), places=places)
        return hits[-1 if occurrence is Occurrence.LAST else 0]

    def lines(self, page: int) -> list[TextLine]:
        """Return the lines of text of a page, from the top; columns are lines of their own.

        Raises:
            UsageError: There is no such page.
            DocumentError: The text of the page cannot be read, or there is too much of it.
        """
        return [
            TextLine(line.text, line.box, line.baseline, line.font_size)
            for line in self._text(self.number(page)).lines()
        ]

    def edge_above(self, page: int, box: Box) -> float | None:
        """Return the lower edge of the nearest text straight over a place, or ``None`` if there is none.

        Raises:
            UsageError: There is no such page.
            DocumentError: The text of the page cannot be read, or there is too much of it.
        """
        return self._text(self.number(page)).edge_above(box)

    def gaps_after(self, label: str, *, page: int, min_width: float = 8.0) -> list[TextGap]:
        """Return the blanks that follow a text on its line, from the top of the page.

        A blank is white space, or dots or underscores to write on, wider than a space between words.

        Args:
            label: The text before the blank.
            page: Number of the page.
            min_width: The narrowest blank in points.

        Raises:
            UsageError: There is no such page.
            DocumentError: The text of the page cannot be read, or there is too much of it.
        """
        number = self.number(page)
        limit = self.geometry(number).width
        return [
            TextGap(
                page=number,
                x=gap.start,
                width=gap.end - gap.start,
                baseline=gap.baseline,
                font_size=gap.font_size,
                following=gap.following,
                following_x=gap.end if gap.following else None,
            )
            for gap in self._text(number).gaps_after(label, limit=limit)
            if gap.end - gap.start >= min_width
        ]

    def _text(self, number: int) -> PageText:
        if number not in self._texts:
            geometry = self.geometry(number)
            self._texts[number] = self._text_reader().read(
                number - 1, geometry.point_to_shown, geometry.user_unit
            )
        return self._texts[number]

    def _text_reader(self) -> TextReader:
        if self._reader is None:
            self._reader = TextReader(self._source, password=self._password)
        return self._reader


# What qpdf's Python binding raises on a broken or hostile object where another was expected.
_QPDF_ERRORS = (pikepdf.PdfError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError)


def open_pages(source: Path | bytes, *, password: str | None = None) -> Pages:
    """Open a PDF to see its pages; use it in a ``with`` block.

    Raises:
        DocumentError: The file cannot be read, or is encrypted and the password is missing or wrong.
    """
    try:
        # To copy what pages inherit into each of them takes longer than everything else; here they are asked for it.
        document = pikepdf.open(
            io.BytesIO(source) if isinstance(source, bytes) else source,
            password=password or "",
            inherit_page_attributes=False,
        )
    except pikepdf.PasswordError as exc:
        raise DocumentError("appearance.encrypted", path=_name(source)) from exc
    except (OSError, pikepdf.PdfError, RuntimeError, ValueError) as exc:
        raise DocumentError("appearance.cannot-read-document", path=_name(source)) from exc
    if document.is_encrypted and password is None:
        document.close()
        raise DocumentError("appearance.encrypted", path=_name(source))
    try:
        return Pages(source, document, password=password)
    except BaseException:
        document.close()
        raise


def _name(source: Path | bytes) -> str:
    return "-" if isinstance(source, bytes) else str(source)


def _read_geometry(document: pikepdf.Pdf, index: int) -> PageGeometry:
    page = document.pages[index].obj
    media = _rectangle(_inherited(page, "/MediaBox")) or LETTER
    crop = _rectangle(_inherited(page, "/CropBox")) or media
    shown = (max(media[0], crop[0]), max(media[1], crop[1]), min(media[2], crop[2]), min(media[3], crop[3]))
    if shown[0] >= shown[2] or shown[1] >= shown[3]:
        # A crop box beside the page shows nothing; viewers then show the media box.
        shown = media
    rotate = _inherited(page, "/Rotate")
    degrees = 0 if rotate is None else int(rotate)
    unit = page.get("/UserUnit")
    user_unit = 1.0 if unit is None else float(unit)
    if degrees % 90 or not 0 < user_unit <= 1000:
        raise ValueError("a rotation or unit that no page has")
    return PageGeometry(index, media, shown, degrees % 360, user_unit)


def _inherited(page: pikepdf.Object, key: str) -> pikepdf.Object | None:
    node: pikepdf.Object | None = page
    for _ in range(MAX_PAGE_TREE_DEPTH):
        if node is None:
            return None
        value = node.get(key)
        if value is not None:
            return value
        node = node.get("/Parent")
    return None


def _rectangle(value: pikepdf.Object | None) -> Rectangle | None:
    if value is None:
        return None
    numbers = [float(part) for part in value]
    if len(numbers) != 4 or not all(math.isfinite(number) and abs(number) < 1e6 for number in numbers):
        raise ValueError("not a rectangle")
    left, lower, right, upper = _normalised((numbers[0], numbers[1], numbers[2], numbers[3]))
    if left >= right or lower >= upper:
        raise ValueError("an empty rectangle")
    return left, lower, right, upper


def _normalised(rectangle: Rectangle) -> Rectangle:
    x0, y0, x1, y1 = rectangle
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
