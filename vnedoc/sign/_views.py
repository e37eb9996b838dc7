"""What a signed revision showed against what the file shows now: pages as pictures and as text.

The comparison of objects believes what a revision says it is: a filled field, a new signature. Shadow documents and
sneaky signatures live on that (Mainka et al., NDSS 2021; Rohlmann et al., IEEE S&P 2021). So the pages that a later
revision can have touched are drawn twice by PDFium. Outside of the fields that were signed or filled later, nothing
may look different; inside, nothing that could be read may be covered.
"""

from __future__ import annotations

import ctypes
import dataclasses
import io
import logging
import time
from typing import TYPE_CHECKING

import pikepdf
import pypdfium2
import pypdfium2.raw as pdfium

from vnedoc.sign._page_text import _PDFIUM_LOCK
from vnedoc.sign._weight import is_too_heavy
from vnedoc.sign._widgets import Widget, touched_pages, widgets_of
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

__all__ = ["Drawing", "SeenChanges", "ViewLimitError", "compare_views"]

Drawing = tuple["Image.Image", str, tuple[float, float]]
"""A page: its picture, its text, and its width and height."""

# It warns of forms that it cannot draw; without a handler Python would print that.
logging.getLogger("pypdfium2").addHandler(logging.NullHandler())

MAX_COMPARED_PAGES = 60
"""So many pages are drawn for one signature."""
MAX_KEPT_PAGES = 16
"""So many pages of the current file are kept for the next signature."""
MAX_CHARACTERS = 200_000
"""The text of a page may be so long."""
MAX_SECONDS = 6.0
"""So long the drawing for one signature may take: less than the ten seconds that a small file has in all."""
_PIXELS_PER_POINT = 60 / 72
_MAX_PIXELS = 2_000_000
_SAME = 16
"""Two channels that differ by less look alike."""
_INK = 140
"""A pixel darker than this is ink."""
_FADED = 70
"""Ink that becomes so much lighter is gone."""
_MIN_HIDDEN = 4
"""So many pixels of ink must be gone before something counts as covered."""
_LEGAL_SHARE = 0.5
"""The seal lies over a third of the signature on its left (Decree 30/2020/NĐ-CP, Annex I, part I, II.8a); pictures
have margins, so up to a half of the box is taken for that."""
_ANY_SHARE = 0.02
_FILLERS = " .…_-–—/\\\n\r\t\u00a0\u2026\x02\x00"


class ViewLimitError(Exception):
    """The pages cannot be compared.

    Args:
        finding: Why.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.id)
        self.finding = finding


@dataclasses.dataclass(frozen=True, slots=True)
class SeenChanges:
    """What looks different."""

    differences: tuple[Finding, ...] = ()
    """What no later field accounts for."""
    covered: tuple[Finding, ...] = ()
    """What later fields cover."""
    notes: tuple[Finding, ...] = ()
    """Later fields that lie over something without hiding it."""


def compare_views(
    signed: bytes,
    current: bytes,
    written: frozenset[int],
    *,
    seals: frozenset[str] = frozenset(),
    drawn: dict[int, Drawing] | None = None,
    password: str = "",
) -> SeenChanges:
    """Compare the pages of a signed revision with those of the file.

    Args:
        signed: The file up to the end of the signed revision.
        current: The whole file.
        written: Numbers of the objects that later revisions wrote.
        seals: Names of the fields that hold the signature of an agency; they may lie over a part of a person's.
        drawn: Pages of the current file that were drawn before; more are added.
        password: What opens the file, if it is encrypted.

    Raises:
        ViewLimitError: There is too much to compare, or a page cannot be drawn.
    """
    deadline = time.monotonic() + MAX_SECONDS
    try:
        with pikepdf.open(io.BytesIO(current), password=password, suppress_warnings=True) as now:
            pages = touched_pages(now, written)
            if len(pages) > MAX_COMPARED_PAGES:
                raise ViewLimitError(Finding("verify.too-many-changed-pages", {"limit": MAX_COMPARED_PAGES}))
            if not pages:
                return SeenChanges()
            _refuse_heavy(now, pages)
            new = {page: widgets_of(now, page) for page in pages}
        with pikepdf.open(io.BytesIO(signed), password=password, suppress_warnings=True) as then:
            if len(then.pages) <= max(pages):
                return SeenChanges(
                    differences=(Finding("verify.shown-differently", {"page": max(pages) + 1}),)
                )
            _refuse_heavy(then, pages)
            old = {page: widgets_of(then, page) for page in pages}
    except (pikepdf.PdfError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as exc:
        raise ViewLimitError(Finding("verify.not-compared", {"reason": type(exc).__name__})) from exc
    return _compare((signed, current), password, old, new, seals, {} if drawn is None else drawn, deadline)


def _refuse_heavy(pdf: pikepdf.Pdf, pages: Sequence[int]) -> None:
    if any(is_too_heavy(pdf.pages[page]) for page in pages):
        raise ViewLimitError(Finding("verify.not-compared", {"reason": "a page unpacks to too much"}))


def _compare(
    files: tuple[bytes, bytes],
    password: str,
    old: Mapping[int, Mapping[object, Widget]],
    new: Mapping[int, Mapping[object, Widget]],
    seals: frozenset[str],
    drawn: dict[int, Drawing],
    deadline: float,
) -> SeenChanges:
    differences: list[Finding] = []
    covered: list[Finding] = []
    notes: list[Finding] = []
    with _PDFIUM_LOCK:
        try:
            before, after = (pypdfium2.PdfDocument(file, password=password or None) for file in files)
        except pypdfium2.PdfiumError as exc:
            raise ViewLimitError(Finding("verify.not-compared", {"reason": str(exc)})) from exc
        try:
            for document in (before, after):
                # Without this PDFium leaves out form fields, signatures among them. It runs no scripts.
                document.init_forms()
            for page in sorted(new):
                view = _PageView(before, after, page, drawn, deadline)
                later = _later_fields(old[page], new[page])
                if not view.is_same_outside(later):
                    differences.append(Finding("verify.shown-differently", {"page": page + 1}))
                # What lies over the picture of a signature is judged by itself.
                pictures = [widget.box for widget in _signed_widgets(old[page])]
                for field in later:
                    view.look_under(field, pictures, covered, notes)
                _over_signatures(view, old[page], later, seals, covered, notes)
        except (pypdfium2.PdfiumError, IndexError) as exc:
            raise ViewLimitError(Finding("verify.not-compared", {"reason": str(exc)})) from exc
        finally:
            before.close()
            after.close()
    return SeenChanges(tuple(differences), tuple(covered), tuple(notes))


def _later_fields(old: Mapping[object, Widget], new: Mapping[object, Widget]) -> list[Widget]:
    """Return the widgets that were signed or filled later, each where it stood when it was first seen."""
    later = []
    for key, widget in new.items():
        known = old.get(key)
        if known is None:
            later.append(widget)
        elif known.value != widget.value:
            # A widget that grew is not excused by its new size.
            later.append(dataclasses.replace(widget, box=known.box))
    return [widget for widget in later if widget.box is not None]


def _over_signatures(
    view: _PageView,
    old: Mapping[object, Widget],
    later: Sequence[Widget],
    seals: frozenset[str],
    covered: list[Finding],
    notes: list[Finding],
) -> None:
    for earlier in _signed_widgets(old):
        for field in later:
            share = _share(earlier.box, field.box)
            if share < _ANY_SHARE or field.name == earlier.name:
                continue
            values: dict[str, object] = {"field": field.name, "other": earlier.name, "page": view.number}
            is_legal = field.name in seals and earlier.name not in seals and share <= _LEGAL_SHARE
            if not is_legal and view.hides(field, within=earlier.box):
                covered.append(Finding("verify.covers-signature", values))
            elif not is_legal:
                notes.append(Finding("verify.field-over-signature", values))


def _signed_widgets(widgets: Mapping[object, Widget]) -> list[Widget]:
    return [
        widget
        for widget in widgets.values()
        if widget.is_signature and widget.value is not None and widget.box is not None
    ]


_Box = tuple[float, float, float, float]


def _share(of: _Box | None, under: _Box | None) -> float:
    """Return which part of a box lies under another."""
    if of is None or under is None:
        return 0.0
    width = min(of[2], under[2]) - max(of[0], under[0])
    height = min(of[3], under[3]) - max(of[1], under[1])
    area = (of[2] - of[0]) * (of[3] - of[1])
    return max(width, 0.0) * max(height, 0.0) / area if area > 0 else 0.0


class _PageView:
    """One page, drawn as it was signed and as it is now."""

    def __init__(
        self,
        before: pypdfium2.PdfDocument,
        after: pypdfium2.PdfDocument,
        index: int,
        drawn: dict[int, Drawing],
        deadline: float,
    ) -> None:
        self.number = index + 1
        self._old, self._old_text, self._size = _drawn(before, index, deadline)
        now = drawn.get(index) or _drawn(after, index, deadline)
        if len(drawn) < MAX_KEPT_PAGES:
            drawn[index] = now
        self._new, self._new_text, new_size = now
        self._same_size = self._size == new_size
        self._document = before
        self._index = index

    def is_same_outside(self, fields: Sequence[Widget]) -> bool:
        """Tell whether the page looks and reads the same but for some fields."""
        from PIL import ImageChops

        if not self._same_size or self._old_text != self._new_text:
            return False
        difference = ImageChops.difference(self._old, self._new).convert("L")
        for field in fields:
            difference.paste(0, self._pixels(field.box, margin=2))
        return difference.point([0] * _SAME + [255] * (256 - _SAME)).getbbox() is None

    def look_under(
        self,
        field: Widget,
        pictures: Sequence[_Box | None],
        covered: list[Finding],
        notes: list[Finding],
    ) -> None:
        """Find out whether a later field covers what could be read before."""
        if not self._same_size or field.box is None:
            return
        text = self._text_under(field.box)
        values: dict[str, object] = {"field": field.name, "page": self.number, "text": text or "…"}
        is_filler = not text.strip(_FILLERS)
        if self.hides(field, without=pictures) and not (is_filler and text):
            covered.append(Finding("verify.covers-content", values))
        elif text.strip():
            notes.append(Finding("verify.field-over-content", values))

    def hides(
        self, field: Widget, *, within: _Box | None = None, without: Sequence[_Box | None] = ()
    ) -> bool:
        """Tell whether ink that was under a field can no longer be seen."""
        from PIL import ImageChops, ImageFilter

        if field.box is None or not self._same_size:
            return False
        pixels = self._pixels(field.box, margin=0)
        if within is not None:
            other = self._pixels(within, margin=0)
            pixels = (
                max(pixels[0], other[0]),
                max(pixels[1], other[1]),
                min(pixels[2], other[2]),
                min(pixels[3], other[3]),
            )
        if pixels[2] <= pixels[0] or pixels[3] <= pixels[1]:
            return False
        old, new = (view.crop(pixels).convert("L") for view in (self._old, self._new))
        for box in without:
            if box is not None:
                left, upper, right, lower = self._pixels(box, margin=1)
                place = (left - pixels[0], upper - pixels[1], right - pixels[0], lower - pixels[1])
                old.paste(255, place)
                new.paste(255, place)
        ink = old.point([255] * _INK + [0] * (256 - _INK))
        faded = ImageChops.subtract(new, old).point([0] * _FADED + [255] * (256 - _FADED))
        if ImageChops.darker(ink, faded).histogram()[255] >= _MIN_HIDDEN:
            return True
        if ink.histogram()[255] < _MIN_HIDDEN:
            return False
        # Ink on a sheet that has become as dark as the ink cannot be read either.
        around = ImageChops.subtract(ink.filter(ImageFilter.MaxFilter(5)), ink)
        darkened = ImageChops.darker(around, new.point([255] * _INK + [0] * (256 - _INK)))
        return bool(darkened.histogram()[255] > 0.6 * max(around.histogram()[255], 1))

    def _text_under(self, box: _Box) -> str:
        """Return the beginning of the text of the signed page under a box as shown."""
        page = self._document[self._index]
        try:
            x0, y0 = self._to_page(page, box[0], box[1])
            x1, y1 = self._to_page(page, box[2], box[3])
            text = page.get_textpage()
            try:
                found = text.get_text_bounded(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            finally:
                text.close()
        finally:
            page.close()
        return " ".join(str(found).split())[:60]

    def _to_page(self, page: pypdfium2.PdfPage, x: float, y: float) -> tuple[float, float]:
        """Return a place as shown in the coordinates of the page, whatever its rotation and crop box."""
        width, height = self._size
        fine = 100
        across, up = ctypes.c_double(), ctypes.c_double()
        pdfium.FPDF_DeviceToPage(
            page,
            0,
            0,
            round(width * fine),
            round(height * fine),
            0,
            round(x * fine),
            round((height - y) * fine),
            across,
            up,
        )
        return across.value, up.value

    def _pixels(self, box: _Box | None, *, margin: int) -> tuple[int, int, int, int]:
        assert box is not None
        width, height = self._old.size
        across, down = width / self._size[0], height / self._size[1]
        return (
            max(int(box[0] * across) - margin, 0),
            max(int((self._size[1] - box[3]) * down) - margin, 0),
            min(int(box[2] * across + 1) + margin, width),
            min(int((self._size[1] - box[1]) * down + 1) + margin, height),
        )


def _drawn(document: pypdfium2.PdfDocument, index: int, deadline: float) -> Drawing:
    """Draw a page with its annotations and return it with its text and its size."""
    page = document[index]
    try:
        width, height = page.get_size()
        if width <= 0 or height <= 0:
            raise ViewLimitError(Finding("verify.not-compared", {"reason": "a page without a size"}))
        scale = min(_PIXELS_PER_POINT, (_MAX_PIXELS / (width * height)) ** 0.5)
        across, down = max(round(width * scale), 1), max(round(height * scale), 1)
        bitmap = pypdfium2.PdfBitmap.new_native(across, down, pdfium.FPDFBitmap_BGRx)
        try:
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, across, down)
            _draw(bitmap, page, across, down, deadline)
            picture = bitmap.to_pil().convert("RGB")
        finally:
            bitmap.close()
        text = page.get_textpage()
        try:
            if text.count_chars() > MAX_CHARACTERS:
                raise ViewLimitError(Finding("verify.not-compared", {"reason": "too much text"}))
            words = str(text.get_text_range()) if text.count_chars() else ""
        finally:
            text.close()
        return picture, words, (width, height)
    finally:
        page.close()


def _draw(
    bitmap: pypdfium2.PdfBitmap, page: pypdfium2.PdfPage, width: int, height: int, deadline: float
) -> None:
    pause = pdfium.IFSDK_PAUSE()
    pause.version = 1

    def is_late(_: object) -> int:
        return int(time.monotonic() > deadline)

    pdfium_type = dict(pdfium.IFSDK_PAUSE._fields_)["NeedToPauseNow"]
    pause.NeedToPauseNow = pdfium_type(is_late)
    status = pdfium.FPDF_RenderPageBitmap_Start(
        bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT, ctypes.byref(pause)
    )
    pdfium.FPDF_RenderPage_Close(page)
    if page.formenv is not None:
        pdfium.FPDF_FFLDraw(page.formenv, bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT)
    if status != pdfium.FPDF_RENDER_DONE:
        raise ViewLimitError(Finding("verify.not-compared", {"reason": "the page takes too long to draw"}))
