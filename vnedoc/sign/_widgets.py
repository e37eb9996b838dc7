"""Which pages a revision can have touched, and the form fields on a page, read by qpdf (ISO 32000-2, 12.5, 12.7)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pikepdf

from vnedoc.sign._lineage import lineage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_VISITED", "Widget", "parts_of", "touched_pages", "widgets_of"]

MAX_VISITED = 2_000_000
"""So many objects are walked through to find the pages that were touched."""
MAX_PART_LENGTH = 4096
_UPWARDS = frozenset(
    {"/Parent", "/P", "/StructParent", "/Dest", "/A", "/AA", "/Popup", "/IRT", "/B", "/V", "/Lock"}
)
"""Entries that lead away from what a page draws."""
_INHERITED = ("/Resources", "/MediaBox", "/CropBox", "/Rotate")


@dataclasses.dataclass(frozen=True, slots=True)
class Widget:
    """A form field where a page shows it."""

    name: str
    """Fully qualified name."""
    is_signature: bool
    """Whether it is a signature field."""
    value: str | None
    """What it holds, in a form that can be compared; ``None`` when it is empty."""
    box: tuple[float, float, float, float] | None
    """Left, lower, right, upper as shown; ``None`` when nothing is to be seen."""


def touched_pages(pdf: pikepdf.Pdf, written: frozenset[int]) -> list[int]:
    """Return the pages, from 0, that draw something which one of these objects holds.

    Raises:
        ValueError: The file has too many objects to tell.
    """
    budget = MAX_VISITED
    found = []
    layers = pdf.Root.get("/OCProperties")
    everywhere = False
    if layers is not None:
        everywhere, budget = _reaches(layers, written, budget)
    for index, page in enumerate(pdf.pages):
        touched = everywhere
        for node in lineage(page.obj.get("/Parent")):
            if touched:
                break
            touched = node.objgen[0] in written
            for key in _INHERITED:
                part = node.get(key)
                if part is not None and not touched:
                    touched, budget = _reaches(part, written, budget)
        if not touched:
            touched, budget = _reaches(page.obj, written, budget)
        if touched:
            found.append(index)
    return found


def parts_of(start: pikepdf.Object, budget: int) -> Iterator[pikepdf.Object]:
    """Yield what can be reached from an object without going up; each indirect object once.

    Raises:
        ValueError: There are too many.
    """
    waiting: list[object] = [start]
    seen: set[tuple[int, int]] = set()
    while waiting:
        budget -= 1
        if budget < 0:
            raise ValueError("too many objects")
        item = waiting.pop()
        if not isinstance(item, pikepdf.Object):
            continue
        number = item.objgen
        if number[0]:
            if number in seen:
                continue
            seen.add((number[0], number[1]))
        yield item
        if isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            waiting += [item.get(key) for key in item.keys() if key not in _UPWARDS]  # noqa: SIM118 - no mapping
        elif isinstance(item, pikepdf.Array):
            waiting += list(item)


def _reaches(start: pikepdf.Object, written: frozenset[int], budget: int) -> tuple[bool, int]:
    """Tell whether one of these objects can be reached, and how many steps are left."""
    for item in parts_of(start, budget):
        budget -= 1
        if item.objgen[0] in written:
            return True, budget
    return False, budget


def widgets_of(pdf: pikepdf.Pdf, index: int) -> dict[object, Widget]:
    """Return the form fields on a page by their object numbers."""
    page = pdf.pages[index]
    annotations = page.obj.get("/Annots")
    found: dict[object, Widget] = {}
    if not isinstance(annotations, pikepdf.Array):
        return found
    for position, node in enumerate(annotations):
        if not isinstance(node, pikepdf.Dictionary) or node.get("/Subtype") != pikepdf.Name.Widget:
            continue
        line = list(lineage(node))
        names = [
            str(part)
            for part in (ancestor.get("/T") for ancestor in line)
            if isinstance(part, pikepdf.String)
        ]
        name = ".".join(reversed(names))
        key: object = node.objgen if node.objgen[0] else (name, position)
        found[key] = Widget(
            name=name,
            is_signature=_first(line, "/FT") == pikepdf.Name.Sig,
            value=_value(_first(line, "/V")),
            box=_box(page, node),
        )
    return found


def _first(line: list[pikepdf.Object], key: str) -> pikepdf.Object | None:
    return next((value for value in (node.get(key) for node in line) if value is not None), None)


def _value(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, pikepdf.Dictionary):
        return f"object {value.objgen}"
    return (bytes(value).hex() if isinstance(value, pikepdf.String) else str(value))[:MAX_PART_LENGTH]


def _box(page: pikepdf.Page, node: pikepdf.Object) -> tuple[float, float, float, float] | None:
    rectangle = node.get("/Rect")
    if not isinstance(rectangle, pikepdf.Array) or len(rectangle) != 4:
        return None
    numbers = [float(number) for number in list(rectangle)]
    crop = [float(number) for number in list(page.cropbox)]
    left, right = sorted((numbers[0], numbers[2]))
    lower, upper = sorted((numbers[1], numbers[3]))
    if right <= left or upper <= lower:
        return None
    x0, x1 = sorted((crop[0], crop[2]))
    y0, y1 = sorted((crop[1], crop[3]))
    match int(_rotation(page)) % 360:
        case 90:
            shown = (lower - y0, x1 - right, upper - y0, x1 - left)
        case 180:
            shown = (x1 - right, y1 - upper, x1 - left, y1 - lower)
        case 270:
            shown = (y1 - upper, left - x0, y1 - lower, right - x0)
        case _:
            shown = (left - x0, lower - y0, right - x0, upper - y0)
    return shown


def _rotation(page: pikepdf.Page) -> int:
    for node in lineage(page.obj):
        value: object = node.get("/Rotate")
        if isinstance(value, int):
            return value
    return 0
