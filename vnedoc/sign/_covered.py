"""Text on a page that lies under a picture or a form drawn later (ISO 32000-2, 8.10, 8.9): seen through PDFium."""

from __future__ import annotations

import contextlib
import ctypes
import time
from typing import TYPE_CHECKING, Any

import pypdfium2
import pypdfium2.raw as pdfium

from vnedoc.sign._page_text import _PDFIUM_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["covered_text"]

MAX_PARTS = 20_000
"""So many things drawn on one page are looked at."""
MAX_AREA = 20_000_000.0
"""A picture of so many points is not drawn: twice A0."""
_INVISIBLE = 3
"""Text rendering mode 3 (ISO 32000-2, table 104): what text recognition puts under, or over, a scanned page."""
_COVERED = 0.9
_OPAQUE = 255
_SEE_THROUGH = bytes(int(alpha < 200) for alpha in range(256))
_CLEAR = 0.1
"""A picture of which so much shines through hides nothing: signatures and seals are such pictures."""
_Box = tuple[float, float, float, float]


def covered_text(
    file: bytes, pages: Iterable[int], *, deadline: float, password: str = ""
) -> Iterator[tuple[int, str]]:
    """Yield the pages, from 0, on which visible text lies under something opaque, with the beginning of that text.

    Args:
        file: The PDF.
        pages: The pages that are looked at; none of them may be too heavy to be drawn.
        deadline: When to stop, on the clock of ``time.monotonic``.
        password: What opens the file, if it is encrypted.
    """
    numbers = list(pages)
    if not numbers:
        return
    with _PDFIUM_LOCK:
        try:
            document = pypdfium2.PdfDocument(file, password=password or None)
        except pypdfium2.PdfiumError:
            return
        with contextlib.closing(document):
            for number in numbers:
                if time.monotonic() > deadline:
                    return
                with contextlib.suppress(pypdfium2.PdfiumError, IndexError):
                    words = _under_covers(document, document[number])
                    if words:
                        yield number, words


def _under_covers(document: Any, page: Any) -> str:  # pypdfium2 has no types
    with contextlib.closing(page), contextlib.closing(page.get_textpage()) as text:
        waiting: list[tuple[_Box, Any]] = []
        hidden: list[str] = []
        for position in range(min(pdfium.FPDFPage_CountObjects(page), MAX_PARTS)):
            part = pdfium.FPDFPage_GetObject(page, position)
            kind, box = pdfium.FPDFPageObj_GetType(part), _bounds(part)
            if box is None:
                continue
            if kind == pdfium.FPDF_PAGEOBJ_TEXT:
                if pdfium.FPDFTextObj_GetTextRenderMode(part) != _INVISIBLE:
                    waiting.append((box, part))
                continue
            under = [item for item in waiting if _share(item[0], box) >= _COVERED]
            # Whether something shines through is only asked where there is something below: it takes long.
            if under and _covers(part, kind, document, page):
                hidden += [_words(item, text) for _, item in under]
                waiting = [item for item in waiting if item not in under]
        return " ".join("".join(hidden).split())[:60]


def _bounds(part: Any) -> _Box | None:  # a page object of PDFium
    sides = tuple(ctypes.c_float() for _ in range(4))
    if not pdfium.FPDFPageObj_GetBounds(part, *sides):
        return None
    left, lower, right, upper = (side.value for side in sides)
    return (left, lower, right, upper) if right > left and upper > lower else None


def _covers(part: Any, kind: int, document: Any, page: Any, *, inside: bool = False) -> bool:  # PDFium's
    """Tell whether something is a picture, or a form with a picture or a filled shape, that hides what lies below."""
    if pdfium.FPDFPageObj_HasTransparency(part):
        return False
    if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
        return _is_opaque(part, document, page)
    if kind == pdfium.FPDF_PAGEOBJ_PATH:
        # On the page itself shapes cannot be exchanged apart from the text; in a form they can.
        return inside and _is_filled(part)
    if kind != pdfium.FPDF_PAGEOBJ_FORM or inside:
        return False
    for position in range(min(pdfium.FPDFFormObj_CountObjects(part), MAX_PARTS)):
        child = pdfium.FPDFFormObj_GetObject(part, position)
        if _covers(child, pdfium.FPDFPageObj_GetType(child), document, page, inside=True):
            return True
    return False


def _is_opaque(image: Any, document: Any, page: Any) -> bool:  # PDFium's
    box = _bounds(image)
    if box is None or (box[2] - box[0]) * (box[3] - box[1]) > MAX_AREA:
        # Drawn at that size it would take all memory; whatever it shows, it is no seal.
        return True
    bitmap = pdfium.FPDFImageObj_GetRenderedBitmap(document, page, image)
    if not bitmap:
        return False
    try:
        if pdfium.FPDFBitmap_GetFormat(bitmap) != pdfium.FPDFBitmap_BGRA:
            return True
        width, height = pdfium.FPDFBitmap_GetWidth(bitmap), pdfium.FPDFBitmap_GetHeight(bitmap)
        stride = pdfium.FPDFBitmap_GetStride(bitmap)
        content = ctypes.string_at(pdfium.FPDFBitmap_GetBuffer(bitmap), stride * height)
        clear = sum(
            row[3 : 4 * width : 4].translate(_SEE_THROUGH).count(1)
            for row in (content[start : start + stride] for start in range(0, len(content), stride))
        )
        return bool(clear < _CLEAR * width * height)
    finally:
        pdfium.FPDFBitmap_Destroy(bitmap)


def _is_filled(path: Any) -> bool:  # a page object of PDFium
    mode, stroke = ctypes.c_int(), ctypes.c_int()
    colour = tuple(ctypes.c_uint() for _ in range(4))
    return bool(
        pdfium.FPDFPath_GetDrawMode(path, mode, stroke)
        and mode.value
        and pdfium.FPDFPageObj_GetFillColor(path, *colour)
        and colour[3].value == _OPAQUE
    )


def _words(part: Any, text: Any) -> str:  # a text object, and the text of its page
    size = pdfium.FPDFTextObj_GetText(part, text, None, 0)
    if size < 2 or size > 4096:
        return ""
    buffer = ctypes.create_string_buffer(size)
    pdfium.FPDFTextObj_GetText(part, text, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw.decode("utf-16-le", errors="replace").rstrip("\0") + " "


def _share(of: _Box, under: _Box) -> float:
    width = min(of[2], under[2]) - max(of[0], under[0])
    height = min(of[3], under[3]) - max(of[1], under[1])
    area = (of[2] - of[0]) * (of[3] - of[1])
    return max(width, 0.0) * max(height, 0.0) / area
