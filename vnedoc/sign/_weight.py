"""How heavy a page is before anything draws it: what it unpacks to, and how often its parts are repeated.

What draws pages has no limits of its own. A few kilobytes can unpack to gigabytes, or call a form ten times that
calls another ten times, nine deep; the process then ends, or never does.
"""

from __future__ import annotations

import re
import zlib

import pikepdf

from vnedoc.sign._widgets import MAX_VISITED, parts_of

__all__ = ["is_too_heavy"]

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""So much may come out of all that a page draws."""
MAX_PICTURE_PIXELS = 200_000_000
"""A picture may have so many pixels: A3 at 1200 dpi."""
_CHUNK = 4 * 1024 * 1024

MAX_DRAWN_BYTES = 512 * 1024 * 1024
"""So long may the drawing instructions be, each form counted as often as it is called."""
_FLATE = frozenset({"/FlateDecode", "/Fl"})
_PACKING = _FLATE | {"/LZWDecode", "/LZW", "/RunLengthDecode", "/RL"}
_CALL = re.compile(rb"[\s>\])]Do(?![A-Za-z])")
_MAX_DEPTH = 64


def is_too_heavy(page: pikepdf.Page) -> bool:
    """Tell whether what a page draws unpacks to more than may be drawn.

    What draws it has no limit of its own, and ends the whole process where memory ends.
    """
    left = MAX_UNPACKED_BYTES
    for item in parts_of(page.obj, MAX_VISITED):
        if not isinstance(item, pikepdf.Stream):
            continue
        width: object = item.get("/Width")
        height: object = item.get("/Height")
        if isinstance(width, int) and isinstance(height, int) and width * height > MAX_PICTURE_PIXELS:
            return True
        left -= _unpacked_size(item, left)
        if left < 0:
            return True
    return _drawn_size(page) > MAX_DRAWN_BYTES


def _drawn_size(page: pikepdf.Page) -> int:
    """Return how long the drawing instructions of a page are at most, with everything they call."""
    known: dict[tuple[int, int], int] = {}

    def size(content: bytes, resources: object, depth: int) -> int:
        calls = len(_CALL.findall(content))
        heaviest = 0
        forms = resources.get("/XObject") if isinstance(resources, pikepdf.Dictionary) else None
        if calls and isinstance(forms, pikepdf.Dictionary) and depth < _MAX_DEPTH:
            heaviest = max((form_size(forms.get(key), depth + 1) for key in forms.keys()), default=0)  # noqa: SIM118 - no mapping
        return len(content) + calls * heaviest

    def form_size(form: object, depth: int) -> int:
        if not isinstance(form, pikepdf.Stream) or form.get("/Subtype") != pikepdf.Name.Form:
            return 1
        number = (form.objgen[0], form.objgen[1])
        if number not in known:
            # A form that calls itself is drawn once.
            known[number] = 0
            known[number] = size(_content(form), form.get("/Resources"), depth)
        return known[number]

    listed = page.obj.get("/Contents")
    streams = list(listed) if isinstance(listed, pikepdf.Array) else [listed]
    content = b"\n".join(_content(stream) for stream in streams if isinstance(stream, pikepdf.Stream))
    total = size(content, page.obj.get("/Resources"), 0)
    annotations = page.obj.get("/Annots")
    for annotation in list(annotations) if isinstance(annotations, pikepdf.Array) else []:
        looks = annotation.get("/AP") if isinstance(annotation, pikepdf.Dictionary) else None
        if looks is not None:
            total += sum(
                form_size(look, 0)
                for look in parts_of(looks, MAX_VISITED)
                if isinstance(look, pikepdf.Stream)
            )
    return total


def _content(stream: pikepdf.Stream) -> bytes:
    try:
        return bytes(stream.read_bytes())
    except (pikepdf.PdfError, RuntimeError):
        # What qpdf cannot unpack is counted as it stands.
        return bytes(stream.read_raw_bytes())


def _unpacked_size(stream: pikepdf.Stream, limit: int) -> int:
    """Return how much a stream unpacks to; with more than a limit, anything above it."""
    filters = stream.get("/Filter")
    listed = list(filters) if isinstance(filters, pikepdf.Array) else [filters] if filters is not None else []
    names = [str(name) for name in listed]
    content = stream.read_raw_bytes()
    if len([name for name in names if name in _PACKING]) > 1:
        # Packed twice, little becomes much too much; no honest producer does that.
        return limit + 1
    if not names or names[-1] not in _FLATE:
        return len(content)
    unpacker, size = zlib.decompressobj(), 0
    try:
        while content and not unpacker.eof:
            size += len(unpacker.decompress(content, _CHUNK))
            if size > limit:
                break
            content = unpacker.unconsumed_tail
    except zlib.error:
        # What can be read of it was counted.
        return size
    return size
