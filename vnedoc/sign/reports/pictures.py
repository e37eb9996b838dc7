"""Pictures of the pages of a verified PDF, with what was added after its signatures.

Both the file as it was signed and the file as it is are drawn, and the pixels compared: what differs outside the
signatures' own boxes was added later. Number and size of the pictures are bounded.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal import files
from vnedoc._internal.workers import Lost, run_isolated
from vnedoc.errors import InputError
from vnedoc.sign.models import Box
from vnedoc.sign.policy import DEFAULT_POLICY
from vnedoc.sign.report import Conclusion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image

    from vnedoc.sign.report import FileReport
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.sign.verification import TwoReadings

__all__ = ["Added", "PagePicture", "draw_pages"]

MAX_FILES = 40
"""Of how many files pages are drawn; those that did not pass go first."""
MAX_PAGES = 12
MAX_WIDTH = 900
MAX_HEIGHT = 1300
MAX_ADDED = 20
LIMIT_S = 60.0
MAX_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
_CELL = 6
"""Width of the squares, in pixels, in which differences are gathered."""
_DIFFERENCE = 24
"""How much a colour must differ to count; drawing is not exact to the last bit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Added:
    """A place on a page that changed after a signature."""

    box: Box
    """Where, in points as shown."""
    is_signed: bool
    """Whether a later signature covers the change."""


@dataclasses.dataclass(frozen=True, slots=True)
class PagePicture:
    """One page."""

    number: int
    """Its number, from 1."""
    width: float
    """Width in points, as shown."""
    height: float
    """Height in points, as shown."""
    png: bytes
    """The picture."""
    added: tuple[Added, ...] = ()
    """What was added after the first signature."""

    def as_uri(self) -> str:
        """Return the picture as a ``data:`` address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def draw_pages(
    reports: Sequence[FileReport],
    paths: Mapping[str, Path] | None = None,
    *,
    password: SecretCallback | None = None,
) -> dict[str, tuple[PagePicture, ...]]:
    """Draw the pages of files that were verified, in a process of its own.

    A file that cannot be drawn in time, or is no longer the file that was judged, gets no pictures.

    Args:
        reports: The verdicts.
        paths: Where a file lies, by the path in its verdict, if it lies elsewhere.
        password: Called with the path of an encrypted file.

    Returns:
        The path in the verdict to the pictures.
    """
    places = paths or {}
    wanted = [
        _Wanted(report.path, str(places.get(report.path, report.path)), report.sha256, _boxes(report))
        for report in sorted(reports, key=lambda report: report.conclusion is Conclusion.TOTAL_PASSED)
        if report.sha256
    ][:MAX_FILES]
    drawn: dict[str, tuple[PagePicture, ...]] = {}
    if not wanted:
        return drawn
    answers = run_isolated(
        _open, password, wanted, jobs=1, limit_s=lambda _: LIMIT_S, max_memory_bytes=MAX_MEMORY_BYTES
    )
    for position, answer in answers:
        if not isinstance(answer, Lost):
            drawn[wanted[position].shown] = answer
    return drawn


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    shown: str
    path: str
    sha256: str | None
    boxes: tuple[tuple[int, Box], ...]


def _boxes(report: FileReport) -> tuple[tuple[int, Box], ...]:
    found = []
    for signature in report.signatures:
        if signature.box is not None:
            with contextlib.suppress(InputError, ValueError):
                found.append((signature.box[0], Box.parse(signature.box[1])))
    return tuple(found)


@contextlib.contextmanager
def _open(password: SecretCallback | None) -> Iterator[Callable[[_Wanted], tuple[PagePicture, ...]]]:
    yield lambda wanted: _draw(wanted, password)


def _draw(wanted: _Wanted, password: SecretCallback | None) -> tuple[PagePicture, ...]:
    import pypdfium2

    try:
        content = files.read_bytes(Path(wanted.path), max_bytes=DEFAULT_POLICY.max_bytes)
        if hashlib.sha256(content).hexdigest() != wanted.sha256:
            return ()
        from vnedoc.sign.verification import read_pdf

        readings = read_pdf(content, password=password, name=wanted.path)
        ends = _covered_ends(content, readings)
        with contextlib.ExitStack() as stack:

            def opened(part: bytes) -> _Document:
                return stack.enter_context(_document(part, readings.password))

            now = opened(content)
            first = opened(content[: ends[0]]) if ends else None
            last = opened(content[: ends[-1]]) if len(set(ends)) > 1 else first
            numbers = _numbers(len(now), [page for page, _ in wanted.boxes])
            return tuple(_page(number, now, first, last, wanted) for number in numbers)
    except (InputError, pypdfium2.PdfiumError):
        # Pictures help people; the verdict stands without them.
        return ()


def _covered_ends(content: bytes, readings: TwoReadings) -> list[int]:
    from vnedoc.sign._structure import check_field

    covered = (check_field(content, field)[0] for field in readings.signatures)
    return sorted(found.end for found in covered if found is not None)


def _numbers(count: int, with_signatures: Sequence[int]) -> list[int]:
    # Pages with signatures first, then from the start.
    chosen = [number for number in dict.fromkeys(with_signatures) if 1 <= number <= count][:MAX_PAGES]
    for number in range(1, count + 1):
        if len(chosen) >= MAX_PAGES:
            break
        if number not in chosen:
            chosen.append(number)
    return sorted(chosen)


@contextlib.contextmanager
def _document(content: bytes, password: str) -> Iterator[_Document]:
    import pypdfium2

    document = pypdfium2.PdfDocument(content, password=password or None)
    try:
        document.init_forms()
        yield document
    finally:
        document.close()


def _page(
    number: int, now: _Document, first: _Document | None, last: _Document | None, wanted: _Wanted
) -> PagePicture:
    width, height, picture = _picture(now, number)
    own = [box for page, box in wanted.boxes if page == number]
    added: list[Added] = []
    if first is not None and last is not None:
        after_last = _changed(picture, _picture_or_none(last, number), width, height)
        if after_last is None or first is last:
            added += [Added(box, is_signed=False) for box in after_last or ()]
        else:
            added += [Added(box, is_signed=False) for box in after_last]
            before = _picture_or_none(last, number)
            assert before is not None
            between = _changed(before, _picture_or_none(first, number), width, height)
            added += [Added(box, is_signed=True) for box in between or ()]
    outside = [item for item in added if not any(_within(item.box, box) for box in own)]
    palette = picture.quantize(128)
    stream = io.BytesIO()
    palette.save(stream, "PNG", optimize=True)
    return PagePicture(number, width, height, stream.getvalue(), tuple(outside[:MAX_ADDED]))


def _picture(document: _Document, number: int) -> tuple[float, float, Image.Image]:
    page = document[number - 1]
    try:
        width, height = page.get_size()
        scale = min(MAX_WIDTH / max(width, 1.0), MAX_HEIGHT / max(height, 1.0), 4.0)
        return width, height, page.render(scale=scale, may_draw_forms=True).to_pil().convert("RGB")
    finally:
        page.close()


def _picture_or_none(document: _Document, number: int) -> Image.Image | None:
    return _picture(document, number)[2] if number <= len(document) else None


def _changed(now: Image.Image, before: Image.Image | None, width: float, height: float) -> list[Box] | None:
    """Return where two pictures differ; the whole page if it is new or has another size."""
    from PIL import ImageChops

    if before is None or before.size != now.size:
        return [Box(0, 0, width, height)]
    difference = (
        ImageChops.difference(now, before).convert("L").point(lambda value: 255 * (value > _DIFFERENCE))
    )
    if difference.getbbox() is None:
        return []
    columns, rows = -(-now.width // _CELL), -(-now.height // _CELL)
    small = difference.resize((columns, rows), resample=_box_filter())
    values = small.tobytes()
    cells = {(at % columns, at // columns) for at, value in enumerate(values) if value}
    across, up = width / now.width, height / now.height
    found = []
    for first_column, first_row, last_column, last_row in _clusters(cells):
        square = (first_column * _CELL, first_row * _CELL, (last_column + 1) * _CELL, (last_row + 1) * _CELL)
        exact = difference.crop(square).getbbox()
        if exact is None:
            continue
        left, right = square[0] + exact[0], square[0] + exact[2]
        top, bottom = square[1] + exact[1], square[1] + exact[3]
        x, y = left * across, height - bottom * up
        found.append(Box(x, y, (right - left) * across, (bottom - top) * up))
    return found


def _box_filter() -> int:
    from PIL import Image

    return Image.Resampling.BOX


def _clusters(cells: set[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Gather squares that touch, or nearly, into rectangles."""
    while cells:
        waiting = [cells.pop()]
        members = list(waiting)
        while waiting:
            column, row = waiting.pop()
            near = {
                (column + dx, row + dy) for dx in range(-3, 4) for dy in range(-2, 3) if (dx, dy) != (0, 0)
            } & cells
            cells -= near
            waiting += near
            members += near
        columns, rows = [column for column, _ in members], [row for _, row in members]
        yield min(columns), min(rows), max(columns), max(rows)


def _within(inner: Box, outer: Box) -> bool:
    # A drawn line is wider than the box that it was drawn from.
    slack = 3.0
    return (
        inner.x >= outer.x - slack
        and inner.y >= outer.y - slack
        and inner.right <= outer.right + slack
        and inner.top <= outer.top + slack
    )


if TYPE_CHECKING:
    from typing import Any, TypeAlias

    _Document: TypeAlias = Any  # pypdfium2 has no types
