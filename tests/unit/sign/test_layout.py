"""Places and words of the roles, against Decree 30/2020/NĐ-CP, Annex I."""

from __future__ import annotations

import datetime

import pytest

from tests.drawing import MM, Words, blank_pdf, seal_png, signature_png, write_words
from vnedoc.errors import UsageError
from vnedoc.sign.appearance import PlacedText, parse_picture
from vnedoc.sign.fonts import FontStyle, text_width
from vnedoc.sign.layout import (
    INCOMING_HEIGHT,
    INCOMING_WIDTH,
    Blank,
    CopyKind,
    DateParts,
    appendix_text,
    blank_appearance,
    blank_boxes,
    blank_font_size,
    copy_text,
    corner_appearance,
    corner_lines,
    corner_text_box,
    date_parts,
    fit_box,
    incoming_appearance,
    person_box,
    seal_box,
    seal_diameter_pt,
)
from vnedoc.sign.models import Box, Occurrence, Placement
from vnedoc.sign.pages import PageGeometry, open_pages

A4 = PageGeometry(0, (0, 0, 595, 842), (0, 0, 595, 842))
SIGNATURE = parse_picture(signature_png())
NAME = "NGUYỄN VĂN TEST"
AT = datetime.datetime(2026, 11, 21, 10, 26, 56, tzinfo=datetime.UTC)

HARD_SPACES = "\u00a0" * 6

HEAD = [
    Words(60, 780, "ỦY BAN NHÂN DÂN TỈNH TEST", 12, FontStyle.BOLD),
    Words(70, 700, "Căn cứ Luật TEST ngày 19 tháng 6 năm 2015;", 14),
]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (2.0, Box(10, 45, 100, 50)),
        (1.0, Box(10, 20, 100, 100)),
        (0.5, Box(35, 20, 50, 100)),
        (4, Box(10, 57.5, 100, 25)),
    ],
)
def test_a_picture_fits_in_its_ratio(ratio: float, expected: Box) -> None:
    assert fit_box(Box(10, 20, 100, 100), ratio) == expected


def test_a_box_takes_the_persons_picture_in_its_ratio() -> None:
    with open_pages(blank_pdf(pages=2)) as pages:
        page, box = person_box(pages, Placement(page=-1, box=Box(100, 100, 200, 200)), SIGNATURE)
    assert page == 2
    assert box == Box(100, 160, 200, 80)


def test_a_box_beyond_the_page_is_refused() -> None:
    with open_pages(blank_pdf()) as pages, pytest.raises(UsageError) as caught:
        person_box(pages, Placement(page=1, box=Box(500, 100, 200, 200)), SIGNATURE)
    assert caught.value.code == "appearance.box-outside-page"


def test_a_name_places_the_picture_in_the_gap_over_it() -> None:
    content = write_words(
        blank_pdf(),
        [
            Words(330, 400, "TM. ỦY BAN NHÂN DÂN", 14, FontStyle.BOLD),
            Words(380, 380, "CHỦ TỊCH", 14, FontStyle.BOLD),
            # The other column comes nearer than the title, but not over the name.
            Words(60, 330, "- Chủ tịch, các Phó Chủ tịch;", 11),
            Words(355, 310, NAME, 14, FontStyle.BOLD),
        ],
    )
    with open_pages(content) as pages:
        page, box = person_box(pages, Placement(anchor="Nguyễn Văn TEST"), SIGNATURE)
        name = pages.find_one(NAME)
    assert page == 1
    assert box.width / box.height == pytest.approx(2.5)
    assert box.x + box.width / 2 == pytest.approx(name.box.x + name.box.width / 2)
    assert name.box.top < box.y
    assert box.top < 380 - 0.2 * 14
    # As high as the gap allows, and in its middle.
    assert box.height == pytest.approx(380 - 0.216 * 14 - name.box.top - 4, abs=0.5)


def test_a_name_that_occurs_twice_needs_a_choice() -> None:
    content = write_words(blank_pdf(), [Words(100, 700, f"Giao ông {NAME}"), Words(355, 310, NAME)])
    with open_pages(content) as pages:
        last = Placement(anchor=NAME, occurrence=Occurrence.LAST)
        assert person_box(pages, last, SIGNATURE)[1].y < 400
        with pytest.raises(UsageError) as caught:
            person_box(pages, Placement(anchor=NAME), SIGNATURE)
    assert caught.value.code == "appearance.anchor-ambiguous"


def test_no_room_over_the_name_is_an_error() -> None:
    content = write_words(blank_pdf(), [Words(355, 340, "CHỦ TỊCH"), Words(355, 310, NAME)])
    with open_pages(content) as pages, pytest.raises(UsageError) as caught:
        person_box(pages, Placement(anchor=NAME), SIGNATURE)
    assert caught.value.code == "appearance.no-room"


def test_a_name_that_is_not_there_never_gets_a_default_place() -> None:
    with open_pages(write_words(blank_pdf(), HEAD)) as pages, pytest.raises(UsageError) as caught:
        person_box(pages, Placement(anchor=NAME), SIGNATURE)
    assert caught.value.code == "appearance.anchor-not-found"


def test_the_picture_stays_on_the_page_at_its_edge() -> None:
    content = write_words(blank_pdf(), [Words(480, 310, NAME)])
    with open_pages(content) as pages:
        page, box = person_box(pages, Placement(anchor=NAME), SIGNATURE)
        pages.require_inside(page, box)


@pytest.mark.parametrize("diameter", [15, 36, 42, 60])
def test_the_given_diameter_is_taken(diameter: float) -> None:
    assert seal_diameter_pt(parse_picture(seal_png(dpi=600)), diameter) == pytest.approx(diameter * MM)


@pytest.mark.parametrize("margin", [0, 100])
def test_a_measured_resolution_tells_the_diameter_of_the_ink(margin: int) -> None:
    # 600 pixels of ink at 400 dpi.
    seal = parse_picture(seal_png(margin=margin, dpi=400))
    assert seal_diameter_pt(seal) == pytest.approx(600 / 400 * 72, rel=0.01)


def test_scaling_a_large_picture_down_keeps_its_true_size() -> None:
    seal = parse_picture(seal_png(size=3000, dpi=2000))
    assert seal.width_px == 2000
    assert seal_diameter_pt(seal) == pytest.approx(1.5 * 72, rel=0.01)


@pytest.mark.parametrize("dpi", [None, 72, 96, 50])
def test_a_resolution_that_nobody_measured_is_not_trusted(dpi: float | None) -> None:
    with pytest.raises(UsageError) as caught:
        seal_diameter_pt(parse_picture(seal_png(dpi=dpi)))
    assert caught.value.code == "appearance.seal-size-unknown"


@pytest.mark.parametrize(
    ("given", "dpi"), [(14.9, None), (60.1, None), (0, None), (-36, None), (None, 150), (None, 1200)]
)
def test_what_is_not_the_size_of_a_seal_is_refused(given: float | None, dpi: float | None) -> None:
    with pytest.raises(UsageError) as caught:
        seal_diameter_pt(parse_picture(seal_png(dpi=dpi)), given)
    assert caught.value.code == "appearance.seal-size-strange"


def test_a_picture_that_is_not_round_has_no_diameter() -> None:
    with pytest.raises(UsageError) as caught:
        seal_diameter_pt(SIGNATURE, 36)
    assert caught.value.code == "appearance.seal-not-round"


def test_the_seal_covers_the_left_third_of_the_signature() -> None:
    box = seal_box(A4, Box(300, 200, 150, 60), 100)
    assert (box.width, box.height) == (100, 100)
    assert box.right == 350
    assert box.y + box.height / 2 == 230


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (Box(0, 200, 150, 60), Box(0, 180, 100, 100)),
        (Box(300, 0, 150, 60), Box(250, 0, 100, 100)),
        (Box(300, 780, 150, 60), Box(250, 742, 100, 100)),
    ],
)
def test_at_the_edge_the_seal_is_moved_and_not_scaled(signature: Box, expected: Box) -> None:
    assert seal_box(A4, signature, 100) == expected


def test_a_page_smaller_than_the_seal_is_refused() -> None:
    small = PageGeometry(0, (0, 0, 90, 500), (0, 0, 90, 500))
    with pytest.raises(UsageError) as caught:
        seal_box(small, Box(10, 10, 20, 20), 100)
    assert caught.value.code == "appearance.seal-larger-than-page"


def test_the_text_of_an_appendix() -> None:
    assert appendix_text(" 123/QĐ-UBND ", AT) == "Số: 123/QĐ-UBND; 21/11/2026; 17:26:56; +07:00"


@pytest.mark.parametrize(
    ("kind", "words"),
    [(CopyKind.SAO_Y, "SAO Y"), (CopyKind.SAO_LUC, "SAO LỤC"), (CopyKind.TRICH_SAO, "TRÍCH SAO")],
)
def test_the_text_of_a_copy(kind: CopyKind, words: str) -> None:
    assert copy_text(kind, "SỞ TEST", AT) == f"{words}; SỞ TEST; 21/11/2026; 17:26:56; +07:00"


def test_the_shown_time_is_vietnams_across_midnight() -> None:
    at = datetime.datetime(2026, 12, 31, 18, 0, 5, tzinfo=datetime.UTC)
    assert appendix_text("1/QĐ", at).endswith("01/01/2027; 01:00:05; +07:00")


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError):
        appendix_text("1/QĐ", datetime.datetime(2026, 11, 21))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("date", "parts"),
    [
        ((2020, 1, 5), DateParts("05", "01", "2020")),
        ((2020, 2, 10), DateParts("10", "02", "2020")),
        ((2019, 6, 29), DateParts("29", "6", "2019")),
        ((2026, 3, 9), DateParts("09", "3", "2026")),
        ((2026, 11, 21), DateParts("21", "11", "2026")),
    ],
)
def test_dates_are_written_as_the_decree_writes_them(date: tuple[int, int, int], parts: DateParts) -> None:
    assert date_parts(datetime.date(*date)) == parts


def test_a_short_text_has_one_line_and_a_long_one_two() -> None:
    assert len(corner_lines(A4, appendix_text("123/QĐ-UBND", AT))) == 1
    assert len(corner_lines(A4, copy_text(CopyKind.SAO_Y, "ỦY BAN NHÂN DÂN TỈNH TEST", AT))) == 2
    long_name = "BAN QUẢN LÝ DỰ ÁN ĐẦU TƯ XÂY DỰNG CÔNG TRÌNH GIAO THÔNG VÀ NÔNG NGHIỆP TỈNH TEST"
    assert len(corner_lines(A4, copy_text(CopyKind.SAO_Y, long_name, AT))) == 2


def test_a_text_that_does_not_fit_top_right_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        corner_lines(A4, "ỦY BAN " * 60)
    assert caught.value.code == "appearance.text-too-long"


@pytest.mark.parametrize("size", [(595, 842), (842, 595)])
def test_the_corner_is_top_right_within_the_margins(size: tuple[float, float]) -> None:
    geometry = PageGeometry(0, (0, 0, *size), (0, 0, *size))
    box = corner_text_box(geometry, ["SAO Y; SỞ TEST;", "21/11/2026"])
    assert box.width == 230
    assert 20 <= box.height <= 26
    assert 14.99 <= (size[0] - box.right) / MM <= 20
    assert box.top < size[1]
    assert (size[1] - box.y) / MM <= 20


def test_the_corner_text_is_10_points_upright_and_black() -> None:
    _, appearance = corner_appearance(A4, appendix_text("123/QĐ-UBND", AT))
    (placed,) = appearance.elements
    assert isinstance(placed, PlacedText)
    assert (placed.block.font_size, placed.block.style, placed.block.colour) == (
        10,
        FontStyle.REGULAR,
        (0, 0, 0),
    )


MARGIN = 1.0  # points that a field keeps from the words beside it


def draft(number: str, date: str) -> bytes:
    return write_words(
        blank_pdf(), [*HEAD, Words(80, 740, number, 13), Words(300, 740, date, 13, FontStyle.ITALIC)]
    )


@pytest.mark.parametrize(
    ("number", "date"),
    [
        ("Số:          /QĐ-UBND", "TEST, ngày       tháng       năm 2026"),
        ("Số: ........../QĐ-UBND", "TEST, ngày ..... tháng ..... năm 2026"),
        (
            "Số:\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0/QĐ-UBND",
            "TEST, ngày\u00a0\u00a0\u00a0\u00a0\u00a0tháng\u00a0\u00a0\u00a0\u00a0\u00a0năm 2026",
        ),
        ("Số: …………/QĐ-UBND", "TEST, ngày …… tháng …… năm 2026"),
        ("Số: ______/QĐ-UBND", "TEST, ngày ____ tháng ____ năm 2026"),
        ("SỐ:          /QĐ-UBND", "TEST, Ngày       Tháng       Năm 2026"),
    ],
)
def test_blanks_are_found_whatever_they_are_made_of(number: str, date: str) -> None:
    with open_pages(draft(number, date)) as pages:
        blanks = blank_boxes(pages)
    assert blanks.number.following == "/QĐ-UBND"
    assert blanks.number.style is FontStyle.REGULAR
    assert blanks.number.box.x == pytest.approx(80 + text_width(number[:3], 13) + MARGIN, abs=0.5)
    assert blanks.number.box.right == pytest.approx(
        80 + text_width(number[: number.index("/")], 13) - MARGIN, abs=0.5
    )
    assert blanks.month is not None
    assert blanks.year is None
    for blank in (blanks.number, blanks.day, blanks.month):
        assert blank.page == 1
        assert blank.font_size == pytest.approx(13, abs=0.1)
        assert blank.box.y + blank.baseline == pytest.approx(740, abs=0.1)
        assert 13 < blank.box.height < 16
    assert blanks.day.style is FontStyle.ITALIC
    day, month = date.index("ày") + 2, date.index("áng")
    assert blanks.day.box.x == pytest.approx(
        300 + text_width(date[:day], 13, FontStyle.ITALIC) + MARGIN, abs=0.5
    )
    assert blanks.day.box.right == pytest.approx(
        300 + text_width(date[: month - 2], 13, FontStyle.ITALIC) - MARGIN, abs=0.5
    )


def test_a_year_that_is_not_printed_is_a_blank() -> None:
    with open_pages(draft("Số:       /UBND", "TEST, ngày      tháng      năm")) as pages:
        blanks = blank_boxes(pages)
    assert blanks.year is not None
    assert 26 < blanks.year.box.width < 40
    assert blank_font_size(blanks.year, "2026") == pytest.approx(13, abs=0.1)


def test_a_month_that_is_printed_is_no_blank() -> None:
    with open_pages(draft("Số:       /UBND", "TEST, ngày      tháng 11 năm 2026")) as pages:
        blanks = blank_boxes(pages)
    assert blanks.month is None
    assert blanks.year is None
    assert blanks.day.following == "tháng 11 năm 2026"


def test_a_tab_is_a_blank_too() -> None:
    content = write_words(
        blank_pdf(),
        [
            Words(80, 740, "Số:", 13),
            Words(140, 740, "/QĐ-UBND", 13),
            Words(300, 740, "ngày", 13),
            Words(350, 740, "tháng", 13),
            Words(410, 740, "năm 2026", 13),
        ],
    )
    with open_pages(content) as pages:
        blanks = blank_boxes(pages)
    assert blanks.number.box.right == pytest.approx(140 - MARGIN, abs=0.5)
    assert blanks.day.box.right == pytest.approx(350 - MARGIN, abs=0.5)
    assert blanks.month is not None
    assert blanks.month.box.right == pytest.approx(410 - MARGIN, abs=0.5)


@pytest.mark.parametrize(
    ("number", "date", "code"),
    [
        ("Số: 15/QĐ-UBND", "TEST, ngày      tháng      năm 2026", "appearance.no-number-blank"),
        ("Số:/QĐ-UBND", "TEST, ngày      tháng      năm 2026", "appearance.no-number-blank"),
        ("QUYẾT ĐỊNH", "TEST, ngày      tháng      năm 2026", "appearance.no-number-blank"),
        ("Số:       /QĐ-UBND", "TEST, ngày 21 tháng 11 năm 2026", "appearance.no-date-blank"),
        ("Số:       /QĐ-UBND", "TEST, ngày tháng năm 2026", "appearance.no-date-blank"),
        ("Số:       /QĐ-UBND", "TEST", "appearance.no-date-blank"),
    ],
)
def test_a_draft_without_blanks_is_refused(number: str, date: str, code: str) -> None:
    with open_pages(draft(number, date)) as pages, pytest.raises(UsageError) as caught:
        blank_boxes(pages)
    assert caught.value.code == code


def test_blanks_on_the_lower_half_do_not_count() -> None:
    words = [Words(80, 140, "Số:        /QĐ-UBND", 13), Words(300, 140, "ngày      tháng      năm 2026", 13)]
    with open_pages(write_words(blank_pdf(), words)) as pages, pytest.raises(UsageError):
        blank_boxes(pages)


def blank(width: float) -> Blank:
    return Blank(1, Box(0, 0, width, 15), 3, 13, FontStyle.REGULAR, "/QĐ-UBND")


def test_a_text_is_centred_in_its_blank_on_the_baseline() -> None:
    appearance = blank_appearance(blank(40), "123")
    (placed,) = appearance.elements
    assert isinstance(placed, PlacedText)
    assert (placed.x, placed.baseline, placed.width) == (0, 3, 40)
    assert placed.block.font_size == 13


def test_in_a_narrow_blank_the_text_is_smaller_but_not_below_10_points() -> None:
    width = text_width("123", 11)
    assert blank_font_size(blank(width), "123") == pytest.approx(11)
    with pytest.raises(UsageError) as caught:
        blank_font_size(blank(text_width("123", 9.9)), "123")
    assert caught.value.code == "appearance.blank-too-narrow"


def test_the_incoming_stamp_has_its_size_and_words() -> None:
    stamp = incoming_appearance("SỞ TEST", "15", datetime.date(2026, 2, 5))
    assert pytest.approx((50, 35)) == (INCOMING_WIDTH / MM, INCOMING_HEIGHT / MM)
    assert (stamp.width, stamp.height) == (INCOMING_WIDTH, INCOMING_HEIGHT)
    lines = [
        line for element in stamp.elements if isinstance(element, PlacedText) for line in element.block.lines
    ]
    assert lines[:4] == ["SỞ TEST", "ĐẾN", "Số: 15", "Ngày: 05/02/2026"]
    for element in stamp.elements:
        if isinstance(element, PlacedText):
            assert element.block.width <= element.width


def test_an_agency_name_too_long_for_the_stamp_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        incoming_appearance("ỦY BAN NHÂN DÂN " * 6, "15", datetime.date(2026, 2, 5))
    assert caught.value.code == "appearance.text-too-long"
