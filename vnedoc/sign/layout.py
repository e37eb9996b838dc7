"""Where on a page a role is shown, and with which words.

Decree 30/2020/NĐ-CP, Annex I: the person's picture between title and name (part I, II.7); the seal at true size over
a third of it, on its left (II.8a); the text of an appendix or a copy top right on page 1 (II.8b; part II, I.3); the
number and the date in their blanks (II.3, II.4). Everything here is computed, nothing is written.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

from vnedoc._internal.clock import vietnam
from vnedoc.errors import UsageError
from vnedoc.sign.appearance import (
    RED,
    Align,
    Appearance,
    Frame,
    PlacedPicture,
    PlacedText,
    TextBlock,
    text_appearance,
    wrap_text,
)
from vnedoc.sign.fonts import FontStyle, load_font, text_width
from vnedoc.sign.models import POINTS_PER_MM, Box

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from vnedoc.sign.appearance import Picture
    from vnedoc.sign.models import Placement
    from vnedoc.sign.pages import AnchorHit, PageGeometry, Pages, TextGap

__all__ = [
    "INCOMING_HEIGHT",
    "INCOMING_WIDTH",
    "Blank",
    "CopyKind",
    "DateParts",
    "NumberingBlanks",
    "appendix_text",
    "blank_appearance",
    "blank_boxes",
    "blank_font_size",
    "copy_text",
    "corner_appearance",
    "corner_lines",
    "corner_text_box",
    "date_parts",
    "fit_box",
    "incoming_appearance",
    "person_box",
    "points_of_seal",
    "seal_appearance",
    "seal_box",
    "seal_diameter_pt",
]

MIN_SIGNATURE_GAP = 20.0
MAX_SIGNATURE_HEIGHT = 85.0
MAX_SIGNATURE_WIDTH = 170.0
SIGNATURE_MARGIN = 2.0
# How far over the name a title is looked for: the gap for a signature has four to six lines.
MAX_TITLE_DISTANCE = 180.0
MIN_SEAL_MM, MAX_SEAL_MM = 15.0, 60.0
# A seal is round; a picture that is not about square around its ink is a wrong crop, and its size cannot be told.
MAX_SEAL_RATIO = 1.1
# What drawing programs and screens write when nobody measured anything.
UNTRUSTWORTHY_DPI = (72, 96)
CORNER_WIDTH = 230.0
CORNER_FONT_SIZE = 10.0
CORNER_RIGHT_MARGIN = 15 * POINTS_PER_MM
CORNER_TOP_MARGIN = 8 * POINTS_PER_MM
CORNER_LEFT_MARGIN = 30 * POINTS_PER_MM
MAX_CORNER_LINES = 2
INCOMING_WIDTH, INCOMING_HEIGHT = 50 * POINTS_PER_MM, 35 * POINTS_PER_MM
"""Size of the incoming stamp in points: 35 by 50 mm (Decree 30/2020/NĐ-CP, Annex IV, part V)."""
MIN_BLANK_WIDTH = 8.0
BLANK_MARGIN = 1.0
MIN_NUMBER_WIDTH = 12.0
MIN_BLANK_FONT_SIZE = 10.0


class CopyKind(enum.StrEnum):
    """A kind of copy (Decree 30/2020/NĐ-CP, article 3, clauses 10 to 12)."""

    SAO_Y = "sao-y"
    """Sao y: of an original or main copy, whole."""
    SAO_LUC = "sao-luc"
    """Sao lục: of a sao y copy, whole."""
    TRICH_SAO = "trich-sao"
    """Trích sao: of a part."""

    @property
    def heading(self) -> str:
        """The words that are shown."""
        return {"sao-y": "SAO Y", "sao-luc": "SAO LỤC", "trich-sao": "TRÍCH SAO"}[self.value]


@dataclasses.dataclass(frozen=True, slots=True)
class DateParts:
    """A date as it is written on a document."""

    day: str
    """The day; below 10 with a zero before it."""
    month: str
    """The month; January and February with a zero before them."""
    year: str
    """The year."""


@dataclasses.dataclass(frozen=True, slots=True)
class Blank:
    """A blank on a line of the draft, to be filled with text."""

    page: int
    """Number of the page from 1."""
    box: Box
    """Its place; high enough for the type of the line."""
    baseline: float
    """Height of the baseline of the line over the lower edge of the box."""
    font_size: float
    """Size of the type of the line."""
    style: FontStyle
    """Style to fill it with: upright for the number, italic for the date (Annex I, part I, II.3 and II.4)."""
    following: str
    """The text after it, such as ``/QĐ-UBND``."""


@dataclasses.dataclass(frozen=True, slots=True)
class NumberingBlanks:
    """The blanks for number and date of a draft."""

    number: Blank
    """After ``Số:``."""
    day: Blank
    """After ``ngày``."""
    month: Blank | None
    """After ``tháng``; ``None``: the month is printed."""
    year: Blank | None
    """After ``năm``; ``None``: the year is printed."""


def fit_box(outer: Box, ratio: float) -> Box:
    """Return the largest box of a ratio (width over height) within another, centred."""
    width = min(outer.width, outer.height * ratio)
    height = width / ratio
    return Box(outer.x + (outer.width - width) / 2, outer.y + (outer.height - height) / 2, width, height)


def person_box(pages: Pages, placement: Placement, picture: Picture) -> tuple[int, Box]:
    """Return the page and the place of the picture of a person's signature.

    With a box: as large as fits into the box, centred. With an anchor, which is the name of the signer: centred
    over the name, between it and the title above.

    Args:
        pages: The document.
        placement: A box on a page, or the name.
        picture: The picture.

    Raises:
        UsageError: No such page, a box that is not on the page, a name that is not found, or no room over it.
        DocumentError: The text of the document cannot be read.
    """
    if placement.box is not None:
        page = pages.number(placement.page if placement.page is not None else 1)
        pages.require_inside(page, placement.box)
        return page, fit_box(placement.box, picture.ratio)
    assert placement.anchor is not None  # Placement has exactly one of the two.
    hit = pages.find_one(placement.anchor, page=placement.page, occurrence=placement.occurrence)
    geometry = pages.geometry(hit.page)
    centre = hit.box.x + hit.box.width / 2
    lower = hit.box.top + SIGNATURE_MARGIN
    upper = _title_edge(pages, hit, geometry) - SIGNATURE_MARGIN
    if upper - lower < MIN_SIGNATURE_GAP - 2 * SIGNATURE_MARGIN:
        raise UsageError(
            "appearance.no-room", anchor=placement.anchor, page=hit.page, room=f"{max(upper - lower, 0):.0f}"
        )
    middle = (lower + upper) / 2
    height = min(upper - lower, MAX_SIGNATURE_HEIGHT)
    # Centred on the name also near the edge of the page.
    width = min(MAX_SIGNATURE_WIDTH, 2 * centre, 2 * (geometry.width - centre))
    outer = Box(centre - width / 2, middle - height / 2, width, height)
    return hit.page, fit_box(outer, picture.ratio)


def _title_edge(pages: Pages, hit: AnchorHit, geometry: PageGeometry) -> float:
    """Return the lower edge of the title over a name."""
    highest = min(hit.box.top + MAX_TITLE_DISTANCE, geometry.height)
    edge = pages.edge_above(hit.page, hit.box)
    return highest if edge is None else min(edge, highest)


def seal_diameter_pt(picture: Picture, diameter_mm: float | None = None) -> float:
    """Return the true diameter of a seal in points.

    Annex I, part I, II.8a asks for the true size, so it is never guessed: it is given, or the resolution that the
    picture states tells it.

    Raises:
        UsageError: It is not known, or not the size of a seal, or the picture is not a tight square.
    """
    left, upper, right, lower = picture.ink_px
    across, down = right - left, lower - upper
    if max(across, down) > MAX_SEAL_RATIO * min(across, down):
        raise UsageError("appearance.seal-not-round", width=across, height=down)
    if diameter_mm is None:
        if (
            picture.dpi is None
            or any(abs(picture.dpi - dpi) < 1 for dpi in UNTRUSTWORTHY_DPI)
            or picture.dpi < 72
        ):
            raise UsageError("appearance.seal-size-unknown")
        diameter_mm = max(across, down) / picture.dpi * 25.4
    return points_of_seal(diameter_mm)


def points_of_seal(diameter_mm: float) -> float:
    """Return a diameter in points.

    Raises:
        UsageError: It is not the size of a seal.
    """
    if not MIN_SEAL_MM <= diameter_mm <= MAX_SEAL_MM:
        raise UsageError(
            "appearance.seal-size-strange",
            diameter=f"{diameter_mm:.1f}",
            lowest=f"{MIN_SEAL_MM:.0f}",
            highest=f"{MAX_SEAL_MM:.0f}",
        )
    return diameter_mm * POINTS_PER_MM


def seal_box(geometry: PageGeometry, signature_box: Box, diameter_pt: float) -> Box:
    """Return the place of the seal: over a third of the signature's picture, on its left, halfway up.

    Where the page ends, the seal is moved, never scaled.

    Raises:
        UsageError: The page is smaller than the seal.
    """
    if diameter_pt > min(geometry.width, geometry.height):
        raise UsageError(
            "appearance.seal-larger-than-page", width=f"{geometry.width:.0f}", height=f"{geometry.height:.0f}"
        )
    x = signature_box.x + signature_box.width / 3 - diameter_pt
    y = signature_box.y + signature_box.height / 2 - diameter_pt / 2
    return Box(
        min(max(x, 0.0), geometry.width - diameter_pt),
        min(max(y, 0.0), geometry.height - diameter_pt),
        diameter_pt,
        diameter_pt,
    )


def seal_appearance(picture: Picture, diameter_pt: float) -> Appearance:
    """Return the appearance of a seal whose ink is as wide as its true diameter; blank margins do not count."""
    left, upper, right, lower = picture.ink_px
    scale = diameter_pt / max(right - left, lower - upper)
    x = diameter_pt / 2 - (left + right) / 2 * scale
    y = diameter_pt / 2 - (picture.height_px - (upper + lower) / 2) * scale
    placed = PlacedPicture(picture, x, y, picture.width_px * scale, picture.height_px * scale)
    return Appearance(diameter_pt, diameter_pt, (placed,))


def corner_lines(geometry: PageGeometry, text: str) -> tuple[str, ...]:
    """Return a text for the top right of page 1 in lines that fit there.

    Raises:
        UsageError: It does not fit on two lines, or the typeface lacks a character.
    """
    widest = geometry.width - CORNER_LEFT_MARGIN - CORNER_RIGHT_MARGIN
    for width in (CORNER_WIDTH, widest):
        lines = wrap_text(text, min(width, widest), CORNER_FONT_SIZE)
        if len(lines) <= MAX_CORNER_LINES:
            return lines
    raise UsageError("appearance.text-too-long", text=text)


def corner_text_box(geometry: PageGeometry, lines: Sequence[str]) -> Box:
    """Return the place of the text of an appendix or a copy: top right, within the top margin.

    Raises:
        UsageError: The typeface lacks a character, or the page is too small.
    """
    block = TextBlock(tuple(lines), font_size=CORNER_FONT_SIZE)
    width = max(CORNER_WIDTH, block.width)
    right = geometry.width - CORNER_RIGHT_MARGIN
    top = geometry.height - CORNER_TOP_MARGIN
    if width > right or block.height > top:
        raise UsageError("appearance.text-too-long", text="; ".join(lines))
    return Box(right - width, top - block.height, width, block.height)


def corner_appearance(geometry: PageGeometry, text: str) -> tuple[Box, Appearance]:
    """Return the place and the look of the text of an appendix or a copy: 10 points, upright, black.

    Raises:
        UsageError: See :func:`corner_lines` and :func:`corner_text_box`.
    """
    lines = corner_lines(geometry, text)
    box = corner_text_box(geometry, lines)
    block = TextBlock(lines, font_size=CORNER_FONT_SIZE, align=Align.RIGHT)
    return box, text_appearance(block, box.width, box.height)


def appendix_text(number: str, at: datetime.datetime) -> str:
    """Return the text on an appendix in its own file: number and code of the main document, time of signing."""
    return f"Số: {number.strip()}; {_time_text(at)}"


def copy_text(kind: CopyKind, agency: str, at: datetime.datetime) -> str:
    """Return the text on an electronic copy: its form, the agency that copies, time of signing."""
    return f"{CopyKind(kind).heading}; {agency.strip()}; {_time_text(at)}"


def _time_text(at: datetime.datetime) -> str:
    local = vietnam(at)
    return f"{local:%d/%m/%Y; %H:%M:%S}; +07:00"


def incoming_appearance(agency: str, number: str, date: datetime.date) -> Appearance:
    """Return the incoming stamp (Decree 30/2020/NĐ-CP, Annex IV, part V), :data:`INCOMING_WIDTH` wide.

    Args:
        agency: Name of the receiving agency.
        number: The incoming number.
        date: The day of receipt.

    Raises:
        UsageError: A text is too long for the stamp, or the typeface lacks a character.
    """
    margin, column = 5.0, INCOMING_WIDTH - 10.0
    name = wrap_text(agency, column, 8.5, FontStyle.BOLD)
    parts = date_parts(date)
    fields = (
        f"Số: {number}",
        f"Ngày: {parts.day}/{parts.month}/{parts.year}",
        "Chuyển: " + "." * 40,
        "Số và ký hiệu HS: " + "." * 20,
    )
    if len(name) > 2 or text_width(fields[0], 9) > column:
        raise UsageError("appearance.text-too-long", text=f"{agency}; {number}")
    top = INCOMING_HEIGHT - 12.0
    return Appearance(
        INCOMING_WIDTH,
        INCOMING_HEIGHT,
        (
            Frame(0.75, 0.75, INCOMING_WIDTH - 1.5, INCOMING_HEIGHT - 1.5, line_width=1.5, colour=RED),
            PlacedText(TextBlock(name, 8.5, FontStyle.BOLD, RED, Align.CENTRE), margin, top, column),
            PlacedText(TextBlock(("ĐẾN",), 13, FontStyle.BOLD, RED, Align.CENTRE), margin, top - 24, column),
            PlacedText(TextBlock(fields, 9, FontStyle.REGULAR, RED, leading=1.4), margin, top - 40, column),
        ),
    )


def date_parts(date: datetime.date) -> DateParts:
    """Return a date as Annex I, part I, II.4 writes it: a zero before days under 10 and the months 1 and 2."""
    return DateParts(
        day=f"{date.day:02d}",
        month=f"{date.month:02d}" if date.month <= 2 else str(date.month),
        year=f"{date.year:04d}",
    )


def blank_boxes(pages: Pages) -> NumberingBlanks:
    """Return the blanks for number and date on the upper half of page 1 of a draft.

    Raises:
        UsageError: There is no such blank.
        DocumentError: The text of the page cannot be read.
    """
    half = pages.geometry(1).height / 2

    def upper(label: str, min_width: float) -> list[TextGap]:
        return [gap for gap in pages.gaps_after(label, page=1, min_width=min_width) if gap.baseline > half]

    numbers = [gap for gap in upper("Số:", MIN_NUMBER_WIDTH) if gap.following.startswith(("/", "-"))]
    if not numbers:
        raise UsageError("appearance.no-number-blank")
    months = upper("tháng", MIN_BLANK_WIDTH)
    years = upper("năm", MIN_BLANK_WIDTH)
    for day in upper("ngày", MIN_BLANK_WIDTH):
        words = day.following.casefold().split()
        # The place and date line, not the date of a law among the legal bases: its day is printed.
        if words[:1] != ["tháng"]:
            continue
        month = _on_line(months, day)
        year = _on_line(years, day)
        return NumberingBlanks(
            number=_blank(numbers[0], FontStyle.REGULAR),
            day=_blank(day, FontStyle.ITALIC),
            month=_blank(month, FontStyle.ITALIC) if month is not None and month.following else None,
            year=_blank(year, FontStyle.ITALIC)
            if year is not None and not year.following[:1].isdigit()
            else None,
        )
    raise UsageError("appearance.no-date-blank")


def _on_line(gaps: Sequence[TextGap], first: TextGap) -> TextGap | None:
    return next((gap for gap in gaps if abs(gap.baseline - first.baseline) < 1 and gap.x > first.x), None)


def _blank(gap: TextGap, style: FontStyle) -> Blank:
    font = load_font(style)
    size = gap.font_size
    width = gap.width
    if gap.following_x is None:
        # Nothing follows: room for four digits, not up to the edge of the page.
        width = min(width, text_width(" 0000", size, style))
    lower = gap.baseline + font.descent * size
    # The field touches neither the word before it nor the one after it: readers report what lies over text.
    margin = min(BLANK_MARGIN, width / 8)
    box = Box(gap.x + margin, lower, width - 2 * margin, (font.ascent - font.descent) * size)
    return Blank(gap.page, box, gap.baseline - lower, size, style, gap.following)


def blank_appearance(blank: Blank, text: str) -> Appearance:
    """Return the look of a text in a blank: on the line's baseline, in the middle of the blank, in the line's size.

    Raises:
        UsageError: The blank is too narrow, or the typeface lacks a character.
    """
    size = blank_font_size(blank, text)
    block = TextBlock((text,), font_size=size, style=blank.style, align=Align.CENTRE)
    return Appearance(
        blank.box.width, blank.box.height, (PlacedText(block, 0.0, blank.baseline, blank.box.width),)
    )


def blank_font_size(blank: Blank, text: str) -> float:
    """Return the size in which a text fits into a blank: the line's own, or down to 10 points.

    Raises:
        UsageError: The blank is too narrow, or the typeface lacks a character.
    """
    wanted = text_width(text, 1.0, blank.style)
    size = min(blank.font_size, blank.box.width / wanted) if wanted else blank.font_size
    if size < min(MIN_BLANK_FONT_SIZE, blank.font_size):
        raise UsageError("appearance.blank-too-narrow", text=text, room=f"{blank.box.width:.0f}")
    return size
