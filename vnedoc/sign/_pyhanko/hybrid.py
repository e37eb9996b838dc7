"""Hybrid-reference files: two tables of objects in one document (ISO 32000-2, 7.5.8.4).

A reader from before PDF 1.5 takes the classic tables alone; any other also takes the streams that ``/XRefStm`` names.
Word writes such files: what a tagged document has beyond a plain one, its structure tree, stands in the streams. A
signature is over both views. So it has to be sure that they show the same document, at every revision: no object is
one thing here and another there, and nothing that is seen or filled in leads to an object that only one of them has.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.xref import XRefSectionType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.pdf_utils.xref import XRefSectionData

__all__ = ["HybridTrouble", "find_trouble", "is_hybrid"]

MAX_OBJECTS = 500_000
"""So many objects are walked through to find out what leads to hidden ones."""
# What older readers do not know and nobody sees.
_UNSEEN = frozenset({"/StructTreeRoot", "/MarkInfo", "/Metadata"})
# Generations of free entries that stand for "look into the stream" (65535), or for nothing at all (0).
_PLACEHOLDERS = frozenset({0, 65535})
_Location = tuple[str, int, int]


class HybridTrouble(enum.StrEnum):
    """Why a hybrid-reference file is more than one document."""

    REDEFINED = "redefined"
    """An object is one thing in the tables, and another in the streams."""
    HIDDEN = "hidden"
    """What is shown needs an object that only the streams have."""
    MIXED = "mixed"
    """Its tables are of a kind that readers understand differently."""
    AFTER_SIGNATURE = "after-signature"
    """A signature stands before a table of that kind."""


def is_hybrid(reader: PdfFileReader) -> bool:
    """Tell whether a file has tables of both kinds beside each other."""
    return bool(reader.xrefs.hybrid_xrefs_present)


def find_trouble(reader: PdfFileReader) -> HybridTrouble | None:
    """Tell why the two views of a hybrid-reference file differ; ``None`` if they are one document.

    Args:
        reader: The opened file; its stream holds the whole of it.
    """
    if reader.encrypted:
        return HybridTrouble.MIXED
    views = _Views()
    for number in range(reader.xrefs.total_revisions):
        place = reader.xrefs.get_xref_container_info(number)
        data = reader.xrefs.get_xref_data(number)
        if place.xref_section_type is XRefSectionType.STREAM:
            # Readers that know no streams do not get past it.
            return HybridTrouble.MIXED
        trouble = views.add(data)
        if trouble is not None:
            return trouble
    highest = max(views.numbers(), default=0)
    if highest >= int(reader.trailer["/Size"]):
        return HybridTrouble.MIXED
    if _leads_to(reader, views.hidden()):
        return HybridTrouble.HIDDEN
    return HybridTrouble.AFTER_SIGNATURE if _is_signed_before(reader) else None


class _Views:
    """Where each object stands for readers of tables, and for those of streams, too."""

    def __init__(self) -> None:
        self._old: dict[int, _Location | None] = {}
        self._new: dict[int, _Location | None] = {}
        self._freed: dict[int, int] = {}
        self._hidden: set[int] = set()

    def add(self, table: XRefSectionData) -> HybridTrouble | None:
        """Add the next section; tell if its two views differ."""
        touched = set(table.standard_xrefs) | set(table.freed)
        self._freed.update(table.freed)
        if table.hybrid is not None:
            stream = table.hybrid.xref_data
            listed = dict(_locations(stream))
            touched |= set(listed) | set(stream.freed)
            self._new.update(dict.fromkeys(stream.freed))
            self._new.update(listed)
            if any(self._freed.get(number, 0) not in _PLACEHOLDERS for number in listed):
                return HybridTrouble.MIXED
            stands = table.hybrid.meta_info.stream_ref
            if stands is not None:
                self._new.setdefault(stands.idnum, ("at", stands.generation, -1))
        else:
            listed = {}
        for number in table.freed:
            self._old[number] = None
            if number not in listed:
                self._new[number] = None
        for number, location in _locations(table):
            self._freed.pop(number, None)
            self._old[number] = self._new[number] = location
            if number in listed and listed[number] != location:
                return HybridTrouble.REDEFINED
        for number in touched:
            if self._old.get(number) is not None and self._old[number] != self._new.get(number):
                return HybridTrouble.REDEFINED
        self._hidden |= {
            number
            for number in touched
            if self._new.get(number) is not None and self._old.get(number) is None
        }
        return None

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all objects."""
        yield from self._new
        yield from self._old

    def hidden(self) -> frozenset[int]:
        """Return the numbers of the objects that at some revision only readers of streams saw.

        Who brings a hidden object to light later shows an old reader another document than the one that was signed.
        """
        return frozenset(self._hidden)


def _locations(data: XRefSectionData) -> Iterator[tuple[int, _Location]]:
    for number, (generation, offset) in data.standard_xrefs.items():
        yield number, ("at", generation, offset)
    for number, place in data.xrefs_in_objstm.items():
        yield number, ("in", place.obj_stream_id, place.ix_in_stream)


def _leads_to(reader: PdfFileReader, hidden: frozenset[int]) -> bool:
    """Tell whether something that is shown, filled in or done leads to one of these objects."""
    root = reader.root
    waiting: list[Any] = [root.raw_get(key) for key in root.keys() - _UNSEEN]
    if "/Info" in reader.trailer:
        waiting.append(reader.trailer.raw_get("/Info"))
    if reader.root_ref.idnum in hidden:
        return True
    # A signature that locks fields leads back to the catalog.
    seen: set[tuple[int, int]] = {(reader.root_ref.idnum, reader.root_ref.generation)}
    budget = MAX_OBJECTS
    while waiting:
        budget -= 1
        if budget < 0:
            return True
        item = waiting.pop()
        if isinstance(item, generic.IndirectObject):
            key = (item.idnum, item.generation)
            if item.idnum in hidden:
                return True
            if key in seen:
                continue
            seen.add(key)
            item = item.get_object()
        if isinstance(item, generic.DictionaryObject):
            waiting += [item.raw_get(key) for key in item]
        elif isinstance(item, generic.ArrayObject):
            waiting += [item.raw_get(index) for index in range(len(item))]
    return False


def _is_signed_before(reader: PdfFileReader) -> bool:
    """Tell whether a signature stands before the last of the streams that tables name."""
    end = max(
        place.meta_info.start_location
        for number in range(reader.xrefs.total_revisions)
        if (place := reader.xrefs.get_xref_data(number).hybrid) is not None
    )
    mark, step, rest = b"/ByteRange", 1024 * 1024, b""
    reader.stream.seek(0)
    while end > 0 and (chunk := reader.stream.read(min(step, end))):
        end -= len(chunk)
        if mark in rest + chunk:
            return True
        rest = chunk[-len(mark) :]
    return False
