"""The HTML report in a real browser: the verdict, the pictures, nothing loaded, nothing run."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests import signed_pdfs
from tests.cli import vnedoc
from tests.unit.sign.test_reports import Page, hostile, report_of
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, FileReport
from vnedoc.sign.reports import pictures
from vnedoc.sign.reports.html import render_html
from vnedoc.sign.reports.pictures import MAX_HEIGHT, MAX_PAGES, MAX_WIDTH, draw_pages
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_files

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage")


class Browser:
    """Chromium without a window."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile

    def run(self, page: Path, *flags: str) -> str:
        command = ["chromium", *FLAGS, f"--user-data-dir={self._profile}", *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8")

    def document(self, page: Path) -> str:
        """Return the page as the browser understood it."""
        return self.run(page, "--dump-dom")

    def picture(
        self, page: Path, target: Path, *, width: int, height: int = 1200, dark: bool = False
    ) -> Image.Image:
        scheme = ("--blink-settings=preferredColorScheme=0",) if dark else ()
        self.run(page, f"--screenshot={target}", f"--window-size={width},{height}", *scheme)
        return Image.open(target).convert("RGB")


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path / "profile")


class _Verdicts(html.parser.HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._conclusion: str | None = None
        self.feed(document)

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._conclusion = attributes.get("data-conclusion") if attributes.get("class") == "verdict" else None

    def handle_data(self, data: str) -> None:
        if self._conclusion is not None:
            self.found.append((self._conclusion, data))
            self._conclusion = None


def judged(pki: TestPKI, path: Path) -> FileReport:
    policy = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
    (report,) = verify_files([path], trust=TrustStore.from_certificates(pki.ca_certificates), policy=policy)
    return report


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_browser_shows_the_verdicts(
    issued: bytes, pki: TestPKI, roots: Path, tmp_path: Path, browser: Browser, lang: str
) -> None:
    good, bad, plain = tmp_path / "good.pdf", tmp_path / "bad.pdf", tmp_path / "plain.pdf"
    good.write_bytes(issued)
    bad.write_bytes(signed_pdfs.revised(issued, signed_pdfs.add_annotation))
    plain.write_bytes(signed_pdfs.blank())
    page = tmp_path / "report.html"
    outcome = vnedoc(
        "verify", good, bad, plain, "--trust", roots, "--allow-host", "127.0.0.1",
        "--policy", "shipped:vn-issued", "--format", "html", "-o", page, lang=lang,
    )  # fmt: skip
    assert outcome.code == 1
    document = browser.document(page)
    words = {
        "vi": ("Hợp lệ:", "Không hợp lệ:", "Không có chữ ký số."),
        "en": ("Valid:", "Not valid:", "There is no digital signature."),
    }[lang]
    found = _Verdicts(document).found
    assert [conclusion for conclusion, _ in found] == ["TOTAL-PASSED", "TOTAL-FAILED", "NO-SIGNATURE"]
    assert all(text.startswith(word) for (_, text), word in zip(found, words, strict=True)), found
    assert f'<html lang="{lang}">' in document
    # Two pages of each decision and two of the plain file, with the boxes of the signatures.
    assert document.count("data:image/png;base64,") == 6
    assert document.count('class="box own') == 4


@pytest.mark.needs("chromium")
def test_light_dark_narrow_and_on_paper(
    issued: bytes, pki: TestPKI, tmp_path: Path, browser: Browser
) -> None:
    path = tmp_path / "issued.pdf"
    path.write_bytes(issued)
    report = judged(pki, path)
    page = tmp_path / "report.html"
    page.write_text(render_html(report_of(report), pictures=draw_pages([report])), encoding="utf-8")
    light = browser.picture(page, tmp_path / "light.png", width=1100)
    dark = browser.picture(page, tmp_path / "dark.png", width=1100, dark=True)
    assert min(light.getpixel((4, 4))) > 200
    assert max(dark.getpixel((4, 4))) < 60
    # On a narrow screen nothing sticks out: the right edge is ground, all the way down.
    narrow = browser.picture(page, tmp_path / "narrow.png", width=500, height=3000)
    edge = [sum(narrow.getpixel((498, y))) for y in range(0, 3000, 5)]
    # But for the faintest end of a shadow.
    assert max(edge) - min(edge) <= 6
    browser.run(page, f"--print-to-pdf={tmp_path / 'print.pdf'}", "--no-pdf-header-footer")
    import pypdfium2

    document = pypdfium2.PdfDocument(tmp_path / "print.pdf")
    text = "".join(document[number].get_textpage().get_text_range() for number in range(len(document)))
    document.close()
    assert "Hợp lệ" in text
    assert "NGUYỄN VĂN TEST" in text


@pytest.mark.needs("chromium")
def test_hostile_names_run_nothing(tmp_path: Path, browser: Browser) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(report_of(hostile())), encoding="utf-8")
    document = browser.document(page)
    understood = Page(document)
    assert "script" not in {name for name, _ in understood.elements}
    assert not [key for _, attributes in understood.elements for key in attributes if key.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(understood.words)
    assert [conclusion for conclusion, _ in _Verdicts(document).found] == ["INDETERMINATE"]


def test_pictures_mark_what_came_after_the_signatures(pki: TestPKI, issued: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(issued)
    first, second = draw_pages([judged(pki, path)])[str(path)]
    # Number, day and month were filled after the leader signed and before the clerk did.
    assert len(first.added) == 3
    assert all(item.is_signed for item in first.added)
    assert not second.added
    path.write_bytes(signed_pdfs.revised(issued, _draw_over))
    first, _ = draw_pages([judged(pki, path)])[str(path)]
    late = [item.box for item in first.added if not item.is_signed]
    assert len(late) == 1
    assert (late[0].x, late[0].y) == pytest.approx((50, 40), abs=3)
    assert (late[0].width, late[0].height) == pytest.approx((100, 30), abs=3)


def _draw_over(writer: signed_pdfs.IncrementalPdfFileWriter) -> None:
    from pyhanko.pdf_utils import generic

    page_reference = writer.root["/Pages"]["/Kids"].raw_get(0)
    page = page_reference.get_object()
    added = writer.add_object(generic.StreamObject(stream_data=b"Q Q q 1 0 0 rg 50 40 100 30 re f Q"))
    before = page.raw_get("/Contents")
    parts = list(before) if isinstance(before, generic.ArrayObject) else [before]
    saved = writer.add_object(generic.StreamObject(stream_data=b"q q "))
    page[generic.pdf_name("/Contents")] = generic.ArrayObject([saved, *parts, added])
    writer.mark_update(page_reference)


def test_pictures_are_few_and_small(pki: TestPKI, tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(40), pki.agency))
    drawn = draw_pages([judged(pki, path)])[str(path)]
    assert len(drawn) == MAX_PAGES
    for picture in drawn:
        image = Image.open(io.BytesIO(picture.png))
        assert image.width <= MAX_WIDTH + 1
        assert image.height <= MAX_HEIGHT + 1


def test_a_huge_page_is_drawn_small(tmp_path: Path, pki: TestPKI) -> None:
    import pikepdf

    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(14400, 14400))
    path = tmp_path / "huge.pdf"
    path.write_bytes(signed_pdfs.saved(pdf))
    (picture,) = draw_pages([judged(pki, path)])[str(path)]
    assert Image.open(io.BytesIO(picture.png)).size == (MAX_WIDTH, MAX_WIDTH)


def test_a_file_that_is_no_longer_the_one_that_was_judged_gets_no_pictures(
    pki: TestPKI, tmp_path: Path
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(signed_pdfs.blank())
    report = judged(pki, path)
    path.write_bytes(signed_pdfs.blank(3))
    assert draw_pages([report]) == {str(path): ()}
    path.unlink()
    assert draw_pages([report]) == {str(path): ()}
    unread = dataclasses.replace(report, conclusion=Conclusion.UNREADABLE, sha256=None)
    assert draw_pages([unread]) == {}
    without = render_html(report_of(report), pictures={}, language="en")
    assert "data:image" not in without
    assert "There are no pictures" in without
    assert "There are no pictures" not in render_html(report_of(report), language="en")


def test_of_many_files_those_that_did_not_pass_are_drawn(
    pki: TestPKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_FILES", 2)
    good, plain, other = (tmp_path / name for name in ("good.pdf", "plain.pdf", "other.pdf"))
    good.write_bytes(signed_pdfs.sign(signed_pdfs.blank(1), pki.agency))
    plain.write_bytes(signed_pdfs.blank(1))
    other.write_bytes(signed_pdfs.blank(2))
    assert set(draw_pages([judged(pki, path) for path in (good, plain, other)])) == {str(plain), str(other)}
