"""What a reader sees: appearances on all kinds of pages, measured in the renderings of two programs."""

from __future__ import annotations

import io
import subprocess
from typing import TYPE_CHECKING

import pikepdf
import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from tests.drawing import (
    BLACK,
    BLUE,
    MM,
    RED,
    annotate,
    asymmetric_png,
    blank_pdf,
    extent_mm,
    render_pdfium,
    render_poppler,
    seal_png,
    show,
    show_all,
    signature_png,
)
from vnedoc.sign._pyhanko.appearance import render_appearance, render_text_field
from vnedoc.sign.appearance import (
    Align,
    Appearance,
    Frame,
    PlacedText,
    TextBlock,
    parse_picture,
    picture_appearance,
    text_appearance,
    text_width,
)
from vnedoc.sign.fonts import FontStyle
from vnedoc.sign.layout import (
    CopyKind,
    blank_appearance,
    blank_boxes,
    copy_text,
    corner_appearance,
    fit_box,
    person_box,
    seal_appearance,
    seal_box,
    seal_diameter_pt,
)
from vnedoc.sign.models import Box, Placement
from vnedoc.sign.pages import open_pages
from vnedoc.testing.documents import document_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.Image import Image

TOLERANCE_MM = 0.4

PAGES = {
    "portrait": blank_pdf(),
    "landscape": blank_pdf(media=(0, 0, 842, 595)),
    "rotate 90": blank_pdf(rotate=90),
    "rotate 180": blank_pdf(rotate=180),
    "rotate 270": blank_pdf(rotate=270),
    "rotate -90": blank_pdf(rotate=-90),
    "inherited rotate": blank_pdf(rotate=90, inherited=True),
    "offset origin": blank_pdf(media=(-200, 100, 395, 942)),
    "cropped": blank_pdf(media=(0, 0, 700, 900), crop=(50, 30, 600, 830)),
    "cropped beyond the page": blank_pdf(media=(10, 20, 605, 862), crop=(-50, -50, 500, 700)),
    "cropped, offset, rotate 90": blank_pdf(media=(-100, -50, 600, 900), crop=(-40, 20, 560, 820), rotate=90),
    "cropped, offset, rotate 180": blank_pdf(
        media=(-100, -50, 600, 900), crop=(-40, 20, 560, 820), rotate=180
    ),
    "cropped, offset, rotate 270": blank_pdf(
        media=(-100, -50, 600, 900), crop=(-40, 20, 560, 820), rotate=270
    ),
}


@pytest.fixture(params=["pdfium", pytest.param("poppler", marks=pytest.mark.needs("pdftoppm"))])
def render(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Image]:
    program = {"pdfium": render_pdfium, "poppler": render_poppler}[request.param]
    return lambda content, page=1: program(content, tmp_path, page=page)


def close(measured: tuple[float, ...], expected_pt: tuple[float, ...]) -> bool:
    return measured == pytest.approx(tuple(value / MM for value in expected_pt), abs=TOLERANCE_MM)


@pytest.mark.parametrize("subtype", ["/Stamp", "/Widget"])
@pytest.mark.parametrize("kind", PAGES)
def test_a_picture_stands_upright_in_its_box(kind: str, subtype: str, render: Callable[..., Image]) -> None:
    content = PAGES[kind]
    picture = parse_picture(asymmetric_png())
    box = Box(120, 210, 200, 100)
    shown = show(content, box, picture_appearance(picture, box.width, box.height), subtype=subtype)
    with open_pages(content) as pages:
        geometry = pages.geometry(1)
    image = render(shown)
    assert image.width * 72 / 150 == pytest.approx(geometry.width, abs=1)
    assert image.height * 72 / 150 == pytest.approx(geometry.height, abs=1)
    # Red in the upper left corner, blue at the lower right: any turn or mirroring moves them.
    assert close(extent_mm(image, RED), (box.x, box.top - 50, box.x + 50, box.top))
    assert close(extent_mm(image, BLUE), (box.x + 100, box.y, box.right, box.y + 25))


def test_a_picture_keeps_its_ratio_in_a_box_of_another(render: Callable[..., Image]) -> None:
    box = Box(50, 400, 300, 100)
    picture = parse_picture(signature_png())
    image = render(show(PAGES["portrait"], box, picture_appearance(picture, box.width, box.height)))
    fitted = fit_box(box, picture.ratio)
    assert fitted.width / fitted.height == pytest.approx(300 / 120)
    assert close(extent_mm(image, BLUE), (fitted.x, fitted.y, fitted.right, fitted.top))


def test_what_lies_behind_a_transparent_picture_is_seen(render: Callable[..., Image]) -> None:
    box = Box(100, 400, 150, 60)
    behind = Appearance(150, 60, (Frame(40, 20, 60, 20, line_width=3),))
    over = picture_appearance(parse_picture(signature_png()), 150, 60)
    image = render(show_all(PAGES["portrait"], [(box, behind), (box, over)]))
    assert close(extent_mm(image, BLACK), (138.5, 418.5, 201.5, 441.5))


@pytest.mark.parametrize("kind", ["portrait", "landscape", "rotate 90", "cropped, offset, rotate 270"])
@pytest.mark.parametrize("margin", [0, 75])
def test_the_seal_has_its_true_size_and_covers_a_third(
    kind: str, margin: int, render: Callable[..., Image]
) -> None:
    content = PAGES[kind]
    seal = parse_picture(seal_png(margin=margin))
    signature = parse_picture(signature_png())
    signature_box = Box(250, 200, 150, 60)
    diameter = seal_diameter_pt(seal, 36)
    with open_pages(content) as pages:
        box = seal_box(pages.geometry(1), signature_box, diameter)
    image = render(
        show_all(
            content,
            [
                (signature_box, picture_appearance(signature, signature_box.width, signature_box.height)),
                (box, seal_appearance(seal, diameter)),
            ],
        )
    )
    left, lower, right, upper = extent_mm(image, RED)
    assert right - left == pytest.approx(36, abs=TOLERANCE_MM)
    assert upper - lower == pytest.approx(36, abs=TOLERANCE_MM)
    # Decree 30/2020/NĐ-CP, Annex I, part I, II.8a.
    assert right == pytest.approx((signature_box.x + signature_box.width / 3) / MM, abs=TOLERANCE_MM)
    assert (lower + upper) / 2 == pytest.approx((signature_box.y + 30) / MM, abs=TOLERANCE_MM)
    assert left < extent_mm(image, BLUE)[0]


@pytest.mark.parametrize("kind", ["portrait", "rotate 90", "rotate 180", "rotate 270"])
def test_text_is_black_upright_and_as_wide_as_measured(kind: str, render: Callable[..., Image]) -> None:
    content = PAGES[kind]
    # No side bearing to speak of: H begins 0.02 and ends 0.02 em within its width, and stands on the baseline.
    block = TextBlock(("HHHHHHHHHH",), font_size=24)
    box = Box(100, 300, 300, 40)
    image = render(show(content, box, Appearance(300, 40, (PlacedText(block, 0, 10, 300),))))
    left, lower, right, upper = extent_mm(image, BLACK)
    assert right - left == pytest.approx(text_width("H" * 10, 24) / MM - 0.04 * 24 / MM, abs=TOLERANCE_MM)
    assert lower == pytest.approx(310 / MM, abs=TOLERANCE_MM)
    assert upper - lower == pytest.approx(0.662 * 24 / MM, abs=TOLERANCE_MM)


@pytest.mark.parametrize(("align", "left_pt"), [(Align.LEFT, 0.0), (Align.CENTRE, 0.5), (Align.RIGHT, 1.0)])
def test_text_is_aligned_in_its_column(align: Align, left_pt: float, render: Callable[..., Image]) -> None:
    block = TextBlock(("HH",), font_size=20, align=align)
    image = render(show(PAGES["portrait"], Box(100, 300, 200, 30), text_appearance(block, 200, 30)))
    spare = 200 - text_width("HH", 20)
    assert extent_mm(image, BLACK)[0] == pytest.approx((100 + spare * left_pt) / MM, abs=TOLERANCE_MM)


@pytest.mark.parametrize("kind", ["portrait", "landscape", "rotate 90", "cropped"])
def test_a_copy_text_stands_top_right_in_the_margin(
    kind: str, render: Callable[..., Image], signing_time: object
) -> None:
    content = PAGES[kind]
    text = copy_text(CopyKind.SAO_Y, "ỦY BAN NHÂN DÂN TỈNH TEST", signing_time)
    with open_pages(content) as pages:
        geometry = pages.geometry(1)
        box, appearance = corner_appearance(geometry, text)
        pages.require_inside(1, box)
    image = render(show(content, box, appearance))
    left, lower, right, upper = extent_mm(image, BLACK)
    width_mm, height_mm = geometry.width / MM, geometry.height / MM
    assert 14.5 <= width_mm - right <= 20
    assert upper <= height_mm - 7.6
    assert lower >= height_mm - 20
    assert left >= width_mm / 3


@pytest.fixture
def signing_time() -> object:
    import datetime

    return datetime.datetime(2026, 11, 21, 10, 26, 56, tzinfo=datetime.UTC)


@pytest.mark.needs("pdftotext")
@pytest.mark.needs("pdffonts")
@pytest.mark.parametrize("style", list(FontStyle))
def test_text_can_be_copied_and_its_font_is_embedded(style: FontStyle, tmp_path: Path) -> None:
    text = "Số: 123/QĐ-UBND; ỦY BAN NHÂN DÂN TỈNH TEST; Nguyễn Thị Hường; đặng, ữ ẵ ỵ"
    block = TextBlock((text,), font_size=10, style=style)
    path = tmp_path / "text.pdf"
    path.write_bytes(show(PAGES["portrait"], Box(50, 300, 500, 20), text_appearance(block, 500, 20)))
    copied = subprocess.run(
        ["pdftotext", "-layout", path, "-"], check=True, capture_output=True
    ).stdout.decode()
    assert text in copied
    fonts = subprocess.run(["pdffonts", path], check=True, capture_output=True).stdout.decode().splitlines()
    assert len(fonts) == 3
    assert "CID TrueType" in fonts[2]
    # Embedded, a subset, with a map to Unicode.
    assert fonts[2].split("Identity-H")[1].split()[:3] == ["yes", "yes", "yes"]


def test_the_same_appearance_gives_the_same_bytes() -> None:
    def make() -> bytes:
        appearance = text_appearance(TextBlock(("Số: 05/QĐ-UBND", "đ")), 200, 30)
        with open_pages(PAGES["portrait"]) as pages:
            writer = IncrementalPdfFileWriter(io.BytesIO(PAGES["portrait"]))
            reference = render_appearance(writer, appearance, pages.geometry(1))
        streams = []
        for number in range(reference.idnum, 0, -1):
            if (0, number) in writer.objects:
                stream = io.BytesIO()
                writer.objects[(0, number)].write_to_stream(stream, None)
                streams.append(stream.getvalue())
        assert streams
        return b"".join(streams)

    assert make() == make()


def test_a_picture_that_is_shown_twice_is_stored_once() -> None:
    appearance = picture_appearance(parse_picture(asymmetric_png()), 100, 50)
    again = picture_appearance(parse_picture(asymmetric_png()), 60, 30)
    shown = show_all(PAGES["portrait"], [(Box(10, 10, 100, 50), appearance), (Box(200, 10, 60, 30), again)])
    with pikepdf.open(io.BytesIO(shown)) as document:
        images = [
            item for item in document.objects if isinstance(item, pikepdf.Stream) and "/ColorSpace" in item
        ]
        assert sorted(str(item.ColorSpace) for item in images) == ["/DeviceGray", "/DeviceRGB"]


@pytest.mark.parametrize("kind", ["portrait", "rotate 90", "rotate 270"])
def test_a_text_field_shows_its_value(kind: str, render: Callable[..., Image]) -> None:
    content = PAGES[kind]
    box = Box(100, 500, 80, 20)
    with open_pages(content) as pages:
        geometry = pages.geometry(1)
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    field = render_text_field(writer, "HHH", width=80, height=20, geometry=geometry, baseline=5)
    annotate(writer, geometry, box, field.stream)
    output = io.BytesIO()
    writer.write(output)
    left, lower, right, _ = extent_mm(render(output.getvalue()), BLACK)
    assert (left + right) / 2 == pytest.approx(140 / MM, abs=TOLERANCE_MM)
    assert lower == pytest.approx(505 / MM, abs=TOLERANCE_MM)
    assert field.default_appearance == "/TinosRegular 13 Tf 0 g"


@pytest.mark.parametrize("name", ["quyet-dinh.pdf", "cong-van.pdf", "trang-xoay.pdf", "trang-cat.pdf"])
def test_a_draft_is_filled_where_a_clerk_would_write(name: str, render: Callable[..., Image]) -> None:
    content = document_path(name).read_bytes()
    before = render(content)
    with open_pages(content) as pages:
        blanks = blank_boxes(pages)
    assert blanks.month is not None
    assert blanks.year is None
    filled = show_all(
        content,
        [
            (blank.box, _red(blank_appearance(blank, "H")))
            for blank in (blanks.number, blanks.day, blanks.month)
        ],
    )
    image = render(filled)
    left, lower, right, upper = extent_mm(image, RED)
    number, month = blanks.number, blanks.month
    assert left == pytest.approx(
        (number.box.x + (number.box.width - text_width("H", 13)) / 2) / MM, abs=TOLERANCE_MM
    )
    assert right < (month.box.right) / MM
    # All on one baseline, and nothing that was printed is touched.
    assert lower == pytest.approx((number.box.y + number.baseline) / MM, abs=TOLERANCE_MM)
    assert upper - lower == pytest.approx(0.662 * 13 / MM, abs=TOLERANCE_MM)
    assert extent_mm(image, BLACK) == extent_mm(before, BLACK)


def _red(appearance: Appearance) -> Appearance:
    import dataclasses

    (placed,) = appearance.elements
    assert isinstance(placed, PlacedText)
    block = dataclasses.replace(placed.block, colour=(0.9, 0.0, 0.0))
    return dataclasses.replace(appearance, elements=(dataclasses.replace(placed, block=block),))


@pytest.mark.parametrize("name", ["quyet-dinh.pdf", "cong-van.pdf", "trang-xoay.pdf", "trang-cat.pdf"])
def test_the_leaders_picture_stands_between_title_and_name(name: str, render: Callable[..., Image]) -> None:
    content = document_path(name).read_bytes()
    picture = parse_picture(signature_png())
    with open_pages(content) as pages:
        page, box = person_box(pages, Placement(anchor="Nguyễn Văn TEST"), picture)
        hit = pages.find_one("nguyễn văn test")
        (title,) = [found for found in pages.find("CHỦ TỊCH", page=page) if found.text == "CHỦ TỊCH"]
        pages.require_inside(page, box)
    image = render(show(content, box, picture_appearance(picture, box.width, box.height), page=page), page)
    left, lower, right, upper = extent_mm(image, BLUE)
    assert (left + right) / 2 == pytest.approx((hit.box.x + hit.box.width / 2) / MM, abs=TOLERANCE_MM)
    assert lower >= hit.box.top / MM
    assert upper <= title.box.y / MM
