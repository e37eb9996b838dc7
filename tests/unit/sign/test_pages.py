"""Page geometry in all its turns, and finding texts however a page draws them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pikepdf
import pypdfium2
import pytest

from tests.drawing import Words, blank_pdf, write_words
from vnedoc.errors import DocumentError, UsageError
from vnedoc.sign.fonts import FontStyle, text_width
from vnedoc.sign.models import Box, Occurrence
from vnedoc.sign.pages import MAX_SEARCHED_PAGES, PageGeometry, open_pages
from vnedoc.testing.documents import document_path

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Nguyễn Văn TEST"


def geometry_of(content: bytes, page: int = 1) -> PageGeometry:
    with open_pages(content) as pages:
        return pages.geometry(page)


@pytest.mark.parametrize(
    ("rotate", "expected"),
    [
        # A box at (30, 40), 20 wide and 10 high, on a page with the crop box [100 200 500 800].
        (0, (130, 240, 150, 250)),
        (90, (450, 230, 460, 250)),
        (180, (450, 750, 470, 760)),
        (270, (140, 750, 150, 770)),
        (-90, (140, 750, 150, 770)),
        (-360, (130, 240, 150, 250)),
        (450, (450, 230, 460, 250)),
    ],
)
def test_a_box_is_found_on_a_turned_and_cropped_page(rotate: int, expected: tuple[float, ...]) -> None:
    geometry = geometry_of(blank_pdf(media=(0, 0, 700, 900), crop=(100, 200, 500, 800), rotate=rotate))
    box = Box(30, 40, 20, 10)
    assert geometry.to_pdf(box) == pytest.approx(expected)
    back = geometry.to_shown(geometry.to_pdf(box))
    assert (back.x, back.y, back.width, back.height) == pytest.approx((30, 40, 20, 10))


@pytest.mark.parametrize(
    ("rotate", "size"), [(0, (400, 600)), (90, (600, 400)), (180, (400, 600)), (270, (600, 400))]
)
def test_the_shown_size_follows_the_rotation(rotate: int, size: tuple[float, float]) -> None:
    geometry = geometry_of(blank_pdf(media=(0, 0, 700, 900), crop=(100, 200, 500, 800), rotate=rotate))
    assert (geometry.width, geometry.height) == pytest.approx(size)


def test_rectangles_with_swapped_corners_are_put_right() -> None:
    geometry = geometry_of(blank_pdf(media=(595, 842, 0, 0)))
    assert geometry.media_box == (0, 0, 595, 842)
    assert geometry.to_shown((30, 60, 10, 20)) == Box(10, 20, 20, 40)


def test_a_crop_box_counts_only_within_the_page() -> None:
    geometry = geometry_of(blank_pdf(media=(0, 0, 600, 800), crop=(-50, 100, 500, 1000)))
    assert geometry.crop_box == (0, 100, 500, 800)


def test_a_crop_box_beside_the_page_is_ignored() -> None:
    assert geometry_of(blank_pdf(media=(0, 0, 600, 800), crop=(700, 900, 800, 1000))).crop_box == (
        0,
        0,
        600,
        800,
    )


def test_rotation_and_boxes_are_inherited() -> None:
    geometry = geometry_of(
        blank_pdf(media=(0, 0, 600, 800), crop=(10, 20, 500, 700), rotate=90, inherited=True, pages=3), 3
    )
    assert (geometry.rotate, geometry.crop_box, geometry.index) == (90, (10, 20, 500, 700), 2)


def test_a_user_unit_scales_the_page() -> None:
    geometry = geometry_of(blank_pdf(media=(0, 0, 300, 400), user_unit=2.0))
    assert (geometry.width, geometry.height) == (600, 800)
    assert geometry.to_pdf(Box(100, 200, 50, 60)) == (50, 100, 75, 130)
    assert geometry.to_shown((50, 100, 75, 130)) == Box(100, 200, 50, 60)


@pytest.mark.parametrize(("page", "index"), [(1, 0), (3, 2), (-1, 2), (-3, 0)])
def test_pages_count_from_both_ends(page: int, index: int) -> None:
    assert geometry_of(blank_pdf(pages=3), page).index == index


@pytest.mark.parametrize("page", [0, 4, -4])
def test_there_is_no_such_page(page: int) -> None:
    with open_pages(blank_pdf(pages=3)) as pages, pytest.raises(UsageError) as caught:
        pages.geometry(page)
    assert caught.value.code == "appearance.no-such-page"
    assert "3" in caught.value.text("vi")


@pytest.mark.parametrize("box", [Box(0, 0, 595, 842), Box(500, 800, 95, 42)])
def test_a_box_on_the_page_passes(box: Box) -> None:
    with open_pages(blank_pdf()) as pages:
        pages.require_inside(1, box)


@pytest.mark.parametrize(
    "box", [Box(-1, 0, 10, 10), Box(0, -1, 10, 10), Box(590, 0, 10, 10), Box(0, 840, 10, 10)]
)
def test_a_box_beyond_the_page_is_refused(box: Box) -> None:
    with open_pages(blank_pdf()) as pages, pytest.raises(UsageError) as caught:
        pages.require_inside(-1, box)
    assert caught.value.code == "appearance.box-outside-page"


def test_a_box_is_checked_against_what_is_shown() -> None:
    with open_pages(blank_pdf(rotate=90)) as pages:
        pages.require_inside(1, Box(800, 0, 42, 595))
        with pytest.raises(UsageError):
            pages.require_inside(1, Box(0, 800, 595, 42))


def test_geometry_alone_does_not_start_pdfium() -> None:
    with open_pages(blank_pdf()) as pages:
        pages.geometry(1)
        pages.require_inside(1, Box(0, 0, 1, 1))
        assert pages._reader is None


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize(
    "words", ["nguyen van test", "NGUYỄN  VĂN TEST", "Nguye\u0302\u0303n Va\u0306n TEST"]
)
def test_a_name_is_found_where_it_is_shown(rotate: int, words: str) -> None:
    content = write_words(
        blank_pdf(media=(-30, 40, 700, 900), crop=(20, 60, 620, 860), rotate=rotate), [Words(210, 320, NAME)]
    )
    with open_pages(content) as pages:
        (hit,) = pages.find(words)
    assert hit.text == NAME
    assert hit.page == 1
    assert hit.box.x == pytest.approx(210, abs=0.5)
    assert hit.box.width == pytest.approx(text_width(NAME, 14), abs=0.5)
    assert hit.box.y < 320 < hit.box.top
    assert 14 <= hit.box.height <= 18


def test_places_scale_with_the_user_unit() -> None:
    content = write_words(blank_pdf(media=(0, 0, 300, 400), user_unit=2.0), [Words(210, 320, NAME)])
    with open_pages(content) as pages:
        (hit,) = pages.find(NAME)
    assert hit.box.x == pytest.approx(210, abs=0.5)
    assert hit.box.width == pytest.approx(text_width(NAME, 14), abs=0.5)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_name_drawn_letter_by_letter_is_found(backwards: bool) -> None:
    x, letters = 100.0, []
    for letter in "NGUYỄN VĂN TEST":
        if letter != " ":
            letters.append(Words(x, 500, letter, style=FontStyle.BOLD))
        x += text_width(letter, 14, FontStyle.BOLD) + 4.5
    content = write_words(blank_pdf(), letters[::-1] if backwards else letters)
    with open_pages(content) as pages:
        (hit,) = pages.find(NAME)
    assert hit.box.x == pytest.approx(100, abs=0.5)
    assert hit.box.right == pytest.approx(x - 4.5, abs=0.5)


def test_a_name_is_not_found_in_a_longer_one() -> None:
    content = write_words(
        blank_pdf(),
        [Words(100, 500, "Nguyễn Văn TESTA"), Words(100, 400, "LNguyễn Văn TEST"), Words(100, 300, NAME)],
    )
    with open_pages(content) as pages:
        (hit,) = pages.find(NAME)
    assert hit.box.y < 300 < hit.box.top


def test_a_letter_spaced_name_is_not_found_in_a_longer_one() -> None:
    letters = [Words(100 + 16 * n, 500, letter) for n, letter in enumerate("TRANVANANH")]
    with open_pages(write_words(blank_pdf(), letters)) as pages:
        assert pages.find("Trần Văn An") == []
        assert len(pages.find("Trần Văn Anh")) == 1


def test_the_very_diacritics_win_over_folded_ones() -> None:
    content = write_words(blank_pdf(), [Words(100, 500, "Trần Văn Ân"), Words(100, 300, "Trần Văn An")])
    with open_pages(content) as pages:
        (hit,) = pages.find("TRẦN VĂN AN")
        assert hit.box.y < 300 < hit.box.top
        assert len(pages.find("Tran Van An")) == 2


def test_a_mark_that_is_no_letter_is_found_within_words() -> None:
    with open_pages(write_words(blank_pdf(), [Words(100, 500, "ký#đây")])) as pages:
        (hit,) = pages.find("#")
    assert hit.box.x == pytest.approx(100 + text_width("ký", 14), abs=0.5)


def test_a_text_does_not_run_across_columns() -> None:
    content = write_words(blank_pdf(), [Words(50, 500, "Nguyễn"), Words(350, 500, "Văn TEST")])
    with open_pages(content) as pages:
        assert pages.find(NAME) == []


def test_a_watermark_across_the_page_marks_no_place() -> None:
    with pikepdf.open(io.BytesIO(write_words(blank_pdf(), [Words(100, 100, NAME)]))) as document:
        page = document.pages[0]
        page.Contents = document.make_stream(b"q 0.7 0.7 -0.7 0.7 100 100 cm /Words Do Q")
        stream = io.BytesIO()
        document.save(stream)
    with open_pages(stream.getvalue()) as pages:
        assert pages.find(NAME) == []


def test_hits_come_in_reading_order() -> None:
    content = write_words(
        blank_pdf(pages=2), [Words(50, 200, NAME), Words(300, 700, NAME), Words(50, 700, NAME)], page=2
    )
    content = write_words(content, [Words(50, 100, NAME)])
    with open_pages(content) as pages:
        hits = pages.find(NAME)
        assert [(hit.page, round(hit.box.x), hit.box.y > 400) for hit in hits] == [
            (1, 50, False),
            (2, 50, True),
            (2, 300, True),
            (2, 50, False),
        ]
        assert len(pages.find(NAME, page=1)) == 1
        assert len(pages.find(NAME, page=-1)) == 3


def test_a_text_at_several_places_is_ambiguous_unless_it_is_said_which() -> None:
    content = write_words(blank_pdf(), [Words(50, 700, NAME), Words(60, 200, NAME)])
    with open_pages(content) as pages:
        with pytest.raises(UsageError) as caught:
            pages.find_one(NAME)
        assert caught.value.code == "appearance.anchor-ambiguous"
        assert "1: 50,697" in caught.value.text("vi")
        assert pages.find_one(NAME, occurrence=Occurrence.FIRST).box.x == pytest.approx(50, abs=0.5)
        assert pages.find_one(NAME, occurrence=Occurrence.LAST).box.x == pytest.approx(60, abs=0.5)


def test_a_text_that_is_nowhere_is_an_error() -> None:
    with open_pages(blank_pdf()) as pages, pytest.raises(UsageError) as caught:
        pages.find_one(NAME)
    assert caught.value.code == "appearance.anchor-not-found"


def test_lines_are_read_from_the_top_and_columns_apart() -> None:
    content = write_words(
        blank_pdf(),
        [
            Words(350, 500, "TM. ỦY BAN NHÂN DÂN", 13),
            Words(50, 500, "Nơi nhận:", 12),
            Words(50, 700, "Điều 1."),
        ],
    )
    with open_pages(content) as pages:
        lines = pages.lines(1)
    assert [line.text for line in lines] == ["Điều 1.", "Nơi nhận:", "TM. ỦY BAN NHÂN DÂN"]
    assert [line.baseline for line in lines] == pytest.approx([700, 500, 500], abs=0.1)
    assert [line.font_size for line in lines] == pytest.approx([14, 12, 13], abs=0.1)


def test_office_documents_are_read_as_they_are_written() -> None:
    with open_pages(document_path("quyet-dinh.pdf")) as pages:
        texts = [line.text for line in pages.lines(1)]
    assert "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM" in texts
    assert "Độc lập - Tự do - Hạnh phúc" in texts
    assert texts.index("QUYẾT ĐỊNH") > texts.index("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM")


@pytest.mark.parametrize("as_path", [True, False])
@pytest.mark.parametrize("content", [b"", b"TEST", b"%PDF-1.7\n%%EOF\n", b"%PDF-1.7\n" + bytes(5000)])
def test_what_is_no_pdf_is_refused(content: bytes, as_path: bool, tmp_path: Path) -> None:
    path = tmp_path / "broken.pdf"
    path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        open_pages(path if as_path else content)
    assert caught.value.code == "appearance.cannot-read-document"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        open_pages(tmp_path / "missing.pdf")


@pytest.mark.parametrize(("user", "owner"), [("TEST", "TEST"), ("", "TEST")])
def test_an_encrypted_pdf_is_refused(user: str, owner: str) -> None:
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(blank_pdf())) as document:
        document.save(stream, encryption=pikepdf.Encryption(user=user, owner=owner))
    with pytest.raises(DocumentError) as caught:
        open_pages(stream.getvalue())
    assert caught.value.code == "appearance.encrypted"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("/MediaBox", pikepdf.Array([0, 0, 0, 0])),
        ("/MediaBox", pikepdf.Array([0, 0, 10**12, 800])),
        ("/CropBox", pikepdf.Dictionary()),
        ("/Rotate", 45),
        ("/Rotate", pikepdf.String("TEST")),
        ("/UserUnit", 0),
        ("/UserUnit", -1),
        ("/UserUnit", pikepdf.Name("/TEST")),
    ],
)
def test_a_page_with_impossible_measures_is_refused(key: str, value: object) -> None:
    with pikepdf.open(io.BytesIO(blank_pdf())) as document:
        document.pages[0].obj[key] = value
        stream = io.BytesIO()
        document.save(stream)
    with open_pages(stream.getvalue()) as pages, pytest.raises(DocumentError) as caught:
        pages.geometry(1)
    assert caught.value.code == "appearance.cannot-read-page"


@pytest.mark.parametrize(
    "value",
    [None, pikepdf.Array([0, 0, 600]), pikepdf.String("TEST"), pikepdf.Array([0, 0, pikepdf.Name("/T"), 8])],
)
def test_a_page_that_states_no_size_is_as_large_as_a_viewer_shows_it(value: object) -> None:
    with pikepdf.open(io.BytesIO(blank_pdf())) as document:
        if value is None:
            del document.pages[0].obj.MediaBox
        else:
            document.pages[0].obj.MediaBox = value
        stream = io.BytesIO()
        document.save(stream)
    geometry = geometry_of(stream.getvalue())
    with pypdfium2.PdfDocument(stream.getvalue()) as document:
        assert document[0].get_size() == (geometry.width, geometry.height)


def test_too_many_pages_are_not_searched() -> None:
    with open_pages(blank_pdf(pages=MAX_SEARCHED_PAGES + 1)) as pages:
        with pytest.raises(DocumentError) as caught:
            pages.find(NAME)
        assert caught.value.code == "appearance.too-many-pages"
        assert pages.find(NAME, page=1) == []


def test_too_much_text_is_not_searched_but_one_page_is() -> None:
    with pikepdf.open(io.BytesIO(write_words(blank_pdf(), [Words(100, 100, "a" * 100)]))) as document:
        document.pages[0].Contents = document.make_stream(b"/Words Do " * 900)
        for _ in range(12):
            document.pages.append(document.pages[0])
        stream = io.BytesIO()
        document.save(stream)
    with open_pages(stream.getvalue()) as pages:
        with pytest.raises(DocumentError) as caught:
            pages.find(NAME)
        assert caught.value.code == "appearance.too-much-text"
        assert pages.find(NAME, page=1) == []


def test_a_page_with_too_many_letters_is_not_read() -> None:
    with pikepdf.open(io.BytesIO(write_words(blank_pdf(), [Words(100, 100, "a" * 100)]))) as document:
        document.pages[0].Contents = document.make_stream(b"/Words Do " * 1001)
        stream = io.BytesIO()
        document.save(stream)
    with open_pages(stream.getvalue()) as pages, pytest.raises(DocumentError) as caught:
        pages.find(NAME)
    assert caught.value.code == "appearance.page-too-full"


def test_a_loop_in_the_page_tree_ends() -> None:
    with pikepdf.open(io.BytesIO(blank_pdf())) as document:
        node = document.Root.Pages
        del document.pages[0].obj.MediaBox
        node.Parent = node
        stream = io.BytesIO()
        document.save(stream)
    # Neither endless nor a traceback: a size where none is stated, or a refusal.
    try:
        with open_pages(stream.getvalue()) as pages:
            assert pages.geometry(1).width == 612
    except DocumentError:
        pass
