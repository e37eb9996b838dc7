"""The sample documents are what a government office would export, and can be made again from their sources."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pikepdf
import pypdfium2
import pytest
from PIL import Image

from vnedoc.testing import documents

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "examples" / "documents" / "build.py"
A4 = (595.3, 841.9)
A4_LANDSCAPE = (841.9, 595.3)
HEAD = (
    "ỦY BAN NHÂN DÂN TỈNH TEST CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM Độc lập - Tự do - Hạnh phúc",
    "Tỉnh TEST, ngày tháng năm 2026",
)
FOOT = ("Nơi nhận:", "TM. ỦY BAN NHÂN DÂN CHỦ TỊCH NGUYỄN VĂN TEST")
LETTER_TEXT = (
    *HEAD,
    "Số: /UBND-VX",
    "V/v triển khai",
    "Kính gửi: - Các sở",
    "Phụ lục gửi kèm (tệp riêng)",
    *FOOT,
)
ATTACHED = "(Kèm theo Quyết định số /QĐ-UBND ngày tháng năm 2026 của Ủy ban nhân dân tỉnh TEST)"


class Expected(NamedTuple):
    pages: int
    size: tuple[float, float]
    rotation: int
    texts: tuple[str, ...]


EXPECTED = {
    documents.DECISION: Expected(
        2,
        A4,
        0,
        (
            *HEAD,
            "Số: /QĐ-UBND",
            "QUYẾT ĐỊNH Phê duyệt Kế hoạch trao đổi văn bản điện tử",
            "Căn cứ Nghị định số 30/2020/NĐ-CP",
            "QUYẾT ĐỊNH: Điều 1.",
            "Phụ lục I kèm theo",
            "Phụ lục II kèm theo",
            "chịu trách nhiệm thi hành Quyết định này./.",
            *FOOT,
        ),
    ),
    documents.LETTER: Expected(1, A4, 0, LETTER_TEXT),
    documents.APPENDIX: Expected(1, A4, 0, ("Phụ lục I DANH MỤC MÃ ĐỊNH DANH", ATTACHED, "H99.23")),
    documents.LANDSCAPE: Expected(1, A4_LANDSCAPE, 0, ("Phụ lục II TIẾN ĐỘ THỰC HIỆN", ATTACHED, "Thời hạn")),
    documents.ROTATED: Expected(1, A4, 90, LETTER_TEXT),
    documents.CROPPED: Expected(1, A4, 0, LETTER_TEXT),
}


def page_texts(content: bytes) -> list[str]:
    """The text of every page, with every run of white space as one space."""
    document = pypdfium2.PdfDocument(content)
    try:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]
    finally:
        document.close()


def boxes(name: str, page: int, text: str) -> list[tuple[float, float, float, float]]:
    """Where a text stands on a page: left, lower, right, upper edge of each occurrence."""
    document = pypdfium2.PdfDocument(documents.document_bytes(name))
    try:
        glyphs = document[page].get_textpage()
        search = glyphs.search(text, match_case=True)
        found = []
        while (hit := search.get_next()) is not None:
            edges = [glyphs.get_charbox(index) for index in range(hit[0], hit[0] + hit[1])]
            left, lower, right, upper = zip(*edges, strict=True)
            found.append((min(left), min(lower), max(right), max(upper)))
        return found
    finally:
        document.close()


def ink(name: str, page: int, region: tuple[float, float, float, float]) -> bool:
    """Whether anything is drawn in a region of a page as it is shown (left, lower, right, upper)."""
    document = pypdfium2.PdfDocument(documents.document_bytes(name))
    try:
        height = document[page].get_height()
        picture = document[page].render(scale=2).to_pil().convert("L")
    finally:
        document.close()
    left, lower, right, upper = region
    part = picture.crop((int(left * 2), int((height - upper) * 2), int(right * 2), int((height - lower) * 2)))
    return part.getextrema()[0] < 200


def test_the_lists_name_every_file_of_the_folder() -> None:
    folder = documents.document_path(documents.DECISION).parent
    files = {path.name for path in folder.iterdir() if path.suffix in {".pdf", ".png"}}
    assert files == {*documents.DOCUMENTS, *documents.PICTURES}
    assert set(EXPECTED) == set(documents.DOCUMENTS)


@pytest.mark.parametrize("name", ["khong-co.pdf", "../documents/quyet-dinh.pdf", "__init__.py", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no sample"):
        documents.document_path(name)


def test_the_documents_are_small() -> None:
    sizes = {name: len(documents.document_bytes(name)) for name in documents.DOCUMENTS}
    assert sum(sizes.values()) < 400_000, sizes


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_pages_sizes_and_text(name: str) -> None:
    expected = EXPECTED[name]
    document = pypdfium2.PdfDocument(documents.document_bytes(name))
    try:
        assert len(document) == expected.pages
        for page in document:
            assert page.get_size() == pytest.approx(expected.size, abs=0.1)
            assert page.get_rotation() == expected.rotation
    finally:
        document.close()
    text = " ".join(page_texts(documents.document_bytes(name)))
    assert text == unicodedata.normalize("NFC", text)
    for wanted in expected.texts:
        assert wanted in text


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_nothing_active_and_nothing_signed(name: str) -> None:
    with pikepdf.open(io.BytesIO(documents.document_bytes(name))) as pdf:
        assert not {"/AcroForm", "/AA"} & set(pdf.Root.keys())
        assert not pdf.attachments
        for item in pdf.objects:
            if isinstance(item, pikepdf.Dictionary):
                assert not {"/JS", "/JavaScript", "/AA", "/ByteRange"} & set(item.keys())
                assert item.get("/S") not in {"/JavaScript", "/Launch", "/URI", "/SubmitForm"}
        assert b"20261102010000" in bytes(pdf.docinfo["/CreationDate"])


def test_page_numbers_stand_in_the_upper_margin_from_page_2_on() -> None:
    first, second = page_texts(documents.document_bytes(documents.DECISION))
    assert re.match(r"2 2\. Nhiệm vụ", second)
    assert not re.match(r"\d", first)
    left, lower, right, upper = boxes(documents.DECISION, 1, "2")[0]
    assert A4[1] - 20 * 72 / 25.4 < lower < upper < A4[1] - 10 * 72 / 25.4
    # The middle of the text area: 30 mm are free on the left, 15 mm on the right.
    assert (left + right) / 2 == pytest.approx((30 + 195) / 2 * 72 / 25.4, abs=1)


@pytest.mark.parametrize(
    ("name", "before", "after", "width"),
    [
        (documents.DECISION, "Số:", "/QĐ-UBND", (35, 40)),
        (documents.DECISION, "Tỉnh TEST, ngày", "tháng", (22, 28)),
        (documents.DECISION, "tháng", "năm 2026", (22, 28)),
        (documents.LETTER, "Số:", "/UBND-VX", (35, 40)),
        (documents.LETTER, "Tỉnh TEST, ngày", "tháng", (22, 28)),
    ],
)
def test_gaps_for_number_and_date_are_real(
    name: str, before: str, after: str, width: tuple[float, float]
) -> None:
    left, right = boxes(name, 0, before)[0], boxes(name, 0, after)[0]
    assert width[0] <= right[0] - left[2] <= width[1]
    assert not ink(name, 0, (left[2] + 1, left[1], right[0] - 1, left[3]))


@pytest.mark.parametrize(("name", "page"), [(documents.DECISION, 1), (documents.LETTER, 0)])
def test_signature_and_seal_have_room(name: str, page: int) -> None:
    title = boxes(name, page, "CHỦ TỊCH")[-1]
    person = boxes(name, page, documents.LEADER_NAME)[0]
    assert 85 <= title[1] - person[3] <= 100
    # A picture of 200 pt centred over the name, and the seal over its left third: both on blank paper.
    centre = (person[0] + person[2]) / 2
    seal = documents.SEAL_DIAMETER_MM * 72 / 25.4
    left = centre - 100 + 200 / 3 - seal
    assert not ink(name, page, (left, person[3] + 1, centre + 100, title[1] - 1))


@pytest.mark.parametrize("name", [documents.APPENDIX, documents.LANDSCAPE])
def test_the_corner_of_an_appendix_is_free(name: str) -> None:
    width, height = EXPECTED[name].size
    right = width - 15 * 72 / 25.4
    assert not ink(name, 0, (right - 230, height - 45, right, height))
    # The same look at the page finds its text: the check above can fail.
    assert ink(name, 0, (0, 0, width, height))


def test_the_rotated_and_the_cropped_page_show_the_letter() -> None:
    pictures = []
    for name in (documents.LETTER, documents.ROTATED, documents.CROPPED):
        document = pypdfium2.PdfDocument(documents.document_bytes(name))
        pictures.append(document[0].render(scale=0.25).to_pil().convert("L"))
        document.close()
    letter = pictures[0]
    for picture in pictures[1:]:
        assert picture.size == letter.size
        differences = [abs(a - b) for a, b in zip(picture.tobytes(), letter.tobytes(), strict=True)]
        assert sum(differences) / len(differences) < 2
    turned = letter.rotate(180)
    differences = [abs(a - b) for a, b in zip(turned.tobytes(), letter.tobytes(), strict=True)]
    assert sum(differences) / len(differences) > 4


def test_the_boxes_of_the_odd_pages_are_odd() -> None:
    with pikepdf.open(io.BytesIO(documents.document_bytes(documents.CROPPED))) as pdf:
        media = [float(number) for number in pdf.pages[0].mediabox]
        crop = [float(number) for number in pdf.pages[0].cropbox]
    assert media[0] < 0 < media[1]
    assert all(value != 0 for value in crop[:2])
    assert media[0] < crop[0] < crop[2] < media[2]
    assert media[1] < crop[1] < crop[3] < media[3]
    with pikepdf.open(io.BytesIO(documents.document_bytes(documents.ROTATED))) as pdf:
        media = [float(number) for number in pdf.pages[0].mediabox]
    assert media[2] > media[3]


@pytest.mark.needs("pdffonts")
@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_all_fonts_are_embedded(name: str) -> None:
    done = subprocess.run(
        ["pdffonts", str(documents.document_path(name))],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = done.stdout.splitlines()[2:]
    assert rows
    for row in rows:
        assert re.match(r"[A-Z]{6}\+Tinos", row), row
        embedded, subset, to_unicode = row.split()[-5:-2]
        assert (embedded, subset, to_unicode) == ("yes", "yes", "yes")


@pytest.mark.needs("qpdf")
@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_qpdf_finds_no_fault(name: str) -> None:
    done = subprocess.run(
        ["qpdf", "--check", str(documents.document_path(name))], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No syntax or stream encoding errors found" in done.stdout


@pytest.mark.parametrize(
    ("name", "size", "dpi", "strongest"),
    [(documents.LEADER_SIGNATURE, (900, 400), 300, 2), (documents.AGENCY_SEAL, (850, 850), 600, 0)],
)
def test_pictures(name: str, size: tuple[int, int], dpi: int, strongest: int) -> None:
    content = documents.document_bytes(name)
    assert len(content) < 80_000
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
    assert picture.format == "PNG"
    assert picture.mode == "RGBA"
    assert picture.size == size
    assert picture.info["dpi"] == pytest.approx((dpi, dpi), abs=0.01)
    alpha = picture.getchannel("A")
    assert alpha.getextrema() == (0, 255)
    assert all(alpha.getpixel((x, y)) == 0 for x in (0, size[0] - 1) for y in (0, size[1] - 1))
    opaque = [pixel[:3] for _, pixel in picture.getcolors(maxcolors=1 << 20) if pixel[3] == 255]
    for colour in opaque:
        others = [value for index, value in enumerate(colour) if index != strongest]
        assert colour[strongest] > 2 * max(others)


def test_the_seal_has_its_true_size() -> None:
    with Image.open(documents.document_path(documents.AGENCY_SEAL)) as picture:
        left, upper, right, lower = picture.getchannel("A").getbbox()
        dots = picture.info["dpi"][0]
    for pixels in (right - left, lower - upper):
        assert pixels / dots * 25.4 == pytest.approx(documents.SEAL_DIAMETER_MM, abs=0.25)


@pytest.mark.needs("soffice")
def test_building_again_gives_the_same_documents(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        done = subprocess.run(
            [sys.executable, str(BUILD), "--output", str(folder)], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for name in (*documents.DOCUMENTS, *documents.PICTURES):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    for name in documents.DOCUMENTS:
        assert page_texts((first / name).read_bytes()) == page_texts(documents.document_bytes(name)), name
