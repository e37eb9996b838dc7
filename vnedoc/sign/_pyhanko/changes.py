"""What was changed after a signature: revision by revision, through pyHanko's difference analysis.

The pattern of today's government tools, a new visible signature field after a certification with P=2 (ISO 32000-2,
12.8.2.2), is allowed; everything else is as strict as pyHanko's standard policy. Revisions are found through the
cross-reference sections, never by splitting the file at ``%%EOF``: anybody can write that.
"""

from __future__ import annotations

import bisect
import dataclasses
import io
import re
from typing import TYPE_CHECKING, Any

from pyhanko.pdf_utils import generic, misc
from pyhanko.pdf_utils.xref import read_object_header
from pyhanko.sign.diff_analysis import ModificationLevel, StandardDiffPolicy, SuspiciousModification
from pyhanko.sign.diff_analysis.form_rules_api import FormUpdatingRule
from pyhanko.sign.diff_analysis.policies import DEFAULT_DIFF_POLICY
from pyhanko.sign.diff_analysis.rules.form_field_rules import (
    GenericFieldModificationRule,
    SigFieldCreationRule,
    SigFieldModificationRule,
)
from pyhanko.sign.fields import FieldMDPSpec, enumerate_sig_fields

from vnedoc.sign._pyhanko.reading import (
    FOREIGN_ERRORS,
    LONG_CONTENTS,
    form_nodes,
    password_of,
    short_reason,
    value_of,
)
from vnedoc.sign._pyhanko.structure_rule import StructureRule
from vnedoc.sign.report import Changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader

__all__ = ["GRAVITY", "MAX_ANALYSED", "Permissions", "RevisionChange", "RevisionHistory"]

MAX_ANALYSED = 100
MAX_UNLISTED = 50
MAX_FIELD_DEPTH = 32
MAX_WAITING_FIELDS = 10_000
GRAVITY = (
    Changes.NONE,
    Changes.LONG_TERM_DATA,
    Changes.SIGNATURES,
    Changes.FORM,
    Changes.ANNOTATIONS,
    Changes.CONTENT,
)
"""The kinds of change, the gravest last."""

_POLICY = StandardDiffPolicy(
    global_rules=DEFAULT_DIFF_POLICY.global_rules,
    form_rule=FormUpdatingRule(
        field_rules=[
            SigFieldCreationRule(allow_new_visible_after_certify=True),
            SigFieldModificationRule(),
            GenericFieldModificationRule(),
            StructureRule(),
        ]
    ),
)
_REVISION_END = re.compile(rb"startxref[\r\n ]+(\d{1,20})[\r\n ]+%%EOF[\r\n]*\Z")
_COMMENT_LINE = re.compile(rb"%[\t\x20-\x7e]{0,200}\r?\n")
_SECTION_TAIL = re.compile(
    rb"(?:\s|endstream|endobj|%[\t\x20-\x7e]{0,200}\r?\n){0,20}?startxref\s{1,10}\d{1,20}\s{1,10}%%EOF"
)
_SPACE = b"\0\t\n\f\r "


@dataclasses.dataclass(frozen=True, slots=True)
class RevisionChange:
    """What one revision changed."""

    kind: Changes
    """The gravest kind of change."""
    fields: frozenset[str] = frozenset()
    """Names of form fields, other than signature fields, that changed."""
    refilled: frozenset[str] = frozenset()
    """Those of them that held a value before and now hold another."""
    reason: str = ""
    """What the analysis found, for logs."""
    is_known: bool = True
    """Whether it was analysed; with too many revisions it is not, to end in bounded time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Permissions:
    """What a signature allows to be changed after it."""

    level: int | None
    """P of DocMDP (ISO 32000-2, 12.8.2.2): 1 nothing, 2 forms and signatures, 3 annotations, too."""
    locked: FieldMDPSpec | None
    """Which fields are locked (ISO 32000-2, 12.8.2.4)."""

    def locks(self, names: frozenset[str]) -> bool:
        """Tell whether one of these fields may not change."""
        return self.locked is not None and any(self.locked.is_locked(name) for name in names)


class RevisionHistory:
    """The revisions of one file; each is analysed once, when it is first asked about.

    Args:
        reader: The opened file.
        file: Its bytes.
        signature_fields: Names of all signature fields.
    """

    def __init__(self, reader: PdfFileReader, file: bytes, signature_fields: frozenset[str]) -> None:
        self._reader = reader
        self._file = file
        self._signature_fields = signature_fields
        self._changes: dict[int, RevisionChange] = {}
        self.count: int = reader.xrefs.total_revisions
        """How many revisions the file has."""
        self.password: str = password_of(reader)
        """What the file was opened with, if it is encrypted."""

    def ending_at(self, end: int) -> int | None:
        """Return the revision, from 0, that ends at an offset; ``None`` if none does."""
        match = _REVISION_END.search(self._file, max(0, end - 1024), end)
        if match is None:
            return None
        xrefs = self._reader.xrefs
        places = [xrefs.get_xref_container_info(number) for number in range(self.count)]
        revision = next(
            (number for number, place in enumerate(places) if place.declared_startxref == int(match[1])), None
        )
        if revision is None:
            return None
        # A section that lies elsewhere than its place in the chain says is the mark of a made-up history.
        ordered = all(place.end_location <= end for place in places[: revision + 1]) and all(
            place.declared_startxref >= end for place in places[revision + 1 :]
        )
        return revision if ordered else None

    def last_change_of(self, value_id: tuple[int, int]) -> int | None:
        """Return the revision that last wrote an object."""
        try:
            return int(self._reader.xrefs.get_last_change(self._reference(value_id)))
        except FOREIGN_ERRORS:
            return None

    def permissions_of(self, value_id: tuple[int, int] | None) -> Permissions | None:
        """Return what the signature with this value allows; ``None`` if that cannot be read."""
        if value_id is None:
            return Permissions(None, None)
        try:
            return _permissions(self._reader.get_object(self._reference(value_id)))
        except FOREIGN_ERRORS:
            return None

    def change_in(self, revision: int) -> RevisionChange:
        """Return what a revision changed against the one before it."""
        if revision not in self._changes:
            self._changes[revision] = self._analyse(revision)
        return self._changes[revision]

    def section_before(self, revision: int) -> int | None:
        """Return where the cross-reference section of the revision before one stands."""
        if revision <= 0:
            return None
        return int(self._reader.xrefs.get_xref_container_info(revision - 1).declared_startxref)

    def end_of(self, revision: int) -> int | None:
        """Return the offset behind a revision, ``%%EOF`` included; ``None`` if it cannot be told."""
        try:
            return self._section_end(self._reader.xrefs.get_xref_container_info(revision))
        except FOREIGN_ERRORS:
            return None

    def written_after(self, revision: int) -> frozenset[int]:
        """Return the numbers of the objects that later revisions wrote or freed."""
        found: set[int] = set()
        for later in range(revision + 1, self.count):
            data = self._reader.xrefs.get_xref_data(later)
            found.update(number for number, _ in data.explicit_refs_in_revision)
            found.update(data.freed)
        return frozenset(found)

    def unlisted(self, places: Mapping[int, int]) -> frozenset[int]:
        """Return the numbers of the objects that stand somewhere in the file without any table knowing.

        Args:
            places: Offset to number of what looks like the beginning of an object.
        """
        listed = sorted({offset for number in range(self.count) for offset in self._offsets(number)})
        found: set[int] = set()
        for place, number in sorted(places.items()):
            position = bisect.bisect_right(listed, place) - 1
            if position >= 0 and (listed[position] == place or self._reaches(listed[position], place)):
                continue
            found.add(number)
            if len(found) >= MAX_UNLISTED:
                break
        return frozenset(found)

    def _reaches(self, offset: int, place: int) -> bool:
        # An uncompressed PDF inside of a stream has objects of its own.
        try:
            return self._object_end(offset) > place
        except FOREIGN_ERRORS:
            return True

    def stray_bytes_after(self, start: int) -> bool:
        """Tell whether bytes behind an offset belong to no object and no cross-reference section.

        Objects that no table lists are what incremental saving attacks are made of.
        """
        try:
            spans = self._spans(start)
        except FOREIGN_ERRORS:
            return True
        position = start
        for first, last in sorted(spans):
            if first > position and not _is_inert(self._file[position:first]):
                return True
            position = max(position, last)
        # Between revisions a producer may leave a comment; behind the last one nothing speaks for it.
        return self._file[position:].strip(_SPACE) not in {b"", b"%%EOF"}

    def _reference(self, value_id: tuple[int, int]) -> generic.Reference:
        return generic.Reference(*value_id, self._reader)

    def _spans(self, start: int) -> list[tuple[int, int]]:
        spans = []
        for number in range(self.count):
            place = self._reader.xrefs.get_xref_container_info(number)
            # Where the table starts with its keyword; pyHanko's own start lies behind that.
            if place.declared_startxref < start:
                continue
            spans.append((place.declared_startxref, self._section_end(place)))
            spans += [
                (offset, self._object_end(offset)) for offset in self._offsets(number) if offset >= start
            ]
        return spans

    def _offsets(self, revision: int) -> list[int]:
        listed = self._reader.xrefs.get_xref_data(revision).standard_xrefs.values()
        return [offset for _, offset in listed]

    def _object_end(self, offset: int) -> int:
        # A signature's Contents is long and dull: it is left out, and its length counted. Where that was no value
        # of a signature after all, the object does not end where it should, and the bytes behind it are strays.
        match = LONG_CONTENTS.search(self._file, offset, offset + 65536)
        first_end = self._file.find(b"endobj", offset, offset + 65536)
        if match is not None and 0 <= first_end < match.start():
            match = None
        skipped = 0
        stream = io.BytesIO(self._file)
        if match is not None:
            last = self._file.find(b"endobj", match.end(), match.end() + 65536)
            if last >= 0:
                skipped = match.end(1) - match.start(1)
                text = self._file[offset : match.start(1)] + self._file[match.end(1) : last + 6]
                stream = io.BytesIO(text)
        base = offset if skipped else 0
        stream.seek(offset - base)
        number, generation = read_object_header(stream, strict=True)
        generic.read_object(stream, generic.Reference(number, generation, self._reader))
        misc.read_non_whitespace(stream, seek_back=True)
        if stream.read(6) != b"endobj":
            raise ValueError("an object without an end")
        return base + stream.tell() + skipped

    def _section_end(self, place: Any) -> int:  # pyHanko's description of a section
        """Return where a cross-reference section ends, with its trailer and its ``startxref``."""
        position = int(place.end_location)
        if place.stream_ref is None:
            # pyHanko's end of a table lies behind the keyword "trailer".
            stream = io.BytesIO(self._file)
            stream.seek(position)
            misc.read_non_whitespace(stream, seek_back=True)
            generic.read_object(stream, generic.Reference(0, 0, self._reader))
            position = stream.tell()
        match = _SECTION_TAIL.match(self._file, position)
        return match.end() if match else position

    def _analyse(self, revision: int) -> RevisionChange:
        if len(self._changes) >= MAX_ANALYSED:
            return RevisionChange(Changes.CONTENT, reason="too many revisions", is_known=False)
        try:
            old = self._reader.get_historical_resolver(revision - 1)
            new = self._reader.get_historical_resolver(revision)
        except FOREIGN_ERRORS as exc:
            return RevisionChange(Changes.CONTENT, reason=short_reason(exc))
        try:
            result = _POLICY.apply(old=old, new=new)
        except SuspiciousModification as exc:
            return RevisionChange(_gravest_change(old, new), reason=short_reason(exc))
        except FOREIGN_ERRORS as exc:
            return RevisionChange(Changes.CONTENT, reason=short_reason(exc))
        if result.modification_level <= ModificationLevel.LTA_UPDATES:
            # An invisible signature field looks like long-term data to the analysis.
            grown = _signature_field_count(new) != _signature_field_count(old)
            return RevisionChange(Changes.SIGNATURES if grown else Changes.LONG_TERM_DATA)
        others = frozenset(result.changed_form_fields) - self._signature_fields
        others -= self._untouched(new, revision, others)
        if others:
            return RevisionChange(Changes.FORM, fields=others, refilled=_refilled(old, new, others))
        if result.modification_level is ModificationLevel.FORM_FILLING:
            return RevisionChange(Changes.SIGNATURES)
        return RevisionChange(Changes.ANNOTATIONS)

    def _untouched(
        self, resolver: HistoricalResolver, revision: int, names: frozenset[str]
    ) -> frozenset[str]:
        """Return those of the fields of which a revision wrote no part.

        pyHanko names every text field whose appearance was last written before the previous revision, touched or not:
        two signatures after the one that filled in number and date would look like a change of both.
        """
        if not names:
            return frozenset()
        try:
            written = set(self._reader.xrefs.explicit_refs_in_revision(revision))
            parts = _parts_of_fields(resolver, names)
        except FOREIGN_ERRORS:
            return frozenset()
        return frozenset(name for name, refs in parts.items() if not refs & written)


def _parts_of_fields(
    resolver: HistoricalResolver, names: frozenset[str]
) -> dict[str, set[generic.Reference]]:
    """Return the objects that make up form fields: themselves, what they inherit from, values and appearances."""
    found: dict[str, set[generic.Reference]] = {}
    waiting: list[tuple[str, frozenset[generic.Reference], Any, int]] = [
        ("", frozenset(), item, 0) for item in resolver.root["/AcroForm"]["/Fields"]
    ]
    while waiting:
        prefix, above, item, depth = waiting.pop()
        if depth > MAX_FIELD_DEPTH or len(waiting) > MAX_WAITING_FIELDS:
            raise ValueError("a form that is too deep or too wide")
        field = item.get_object()
        partial = value_of(field, "/T")
        name = ".".join(part for part in (prefix, str(partial) if partial is not None else "") if part)
        if not isinstance(item, generic.IndirectObject):
            # Written with whatever holds it; nobody can tell from the objects whether it changed.
            raise TypeError("a field that is no object of its own")
        own = {*above, item.reference}
        waiting += [(name, frozenset(own), kid, depth + 1) for kid in value_of(field, "/Kids") or ()]
        if name in names:
            for key in ("/V", "/AP"):
                if key in field:
                    own |= resolver.collect_dependencies(field.raw_get(key))
            found[name] = found.get(name, set()) | own
    return found


def _refilled(old: HistoricalResolver, new: HistoricalResolver, names: frozenset[str]) -> frozenset[str]:
    """Return the fields that were filled before and hold another value now.

    To fill an empty field is what forms are for; to fill a full one again is how a shadow document shows its other
    face.
    """
    before, after = _values(old), _values(new)
    return frozenset(
        name for name in names if not _is_blank(before.get(name)) and before.get(name) != after.get(name)
    )


def _values(resolver: HistoricalResolver) -> dict[str, str]:
    return {name: repr(value_of(node, "/V")) for node, name in form_nodes(resolver) if "/V" in node}


def _is_blank(value: str | None) -> bool:
    # Dots and underscores are the line that a value is written on; a button that is off holds nothing.
    return value is None or value in {"None", "'/Off'"} or not value.strip("'\"()[]{} .…_-/\\")


def _signature_field_count(resolver: HistoricalResolver) -> int:
    return sum(1 for _ in enumerate_sig_fields(resolver))


def _is_inert(between: bytes) -> bool:
    return not _COMMENT_LINE.sub(b"", between.strip(_SPACE) + b"\n").strip(_SPACE)


def _permissions(value: generic.DictionaryObject) -> Permissions:
    level: int | None = None
    locked: FieldMDPSpec | None = None
    references = value_of(value, "/Reference")
    if isinstance(references, generic.ArrayObject):
        for entry in references:
            reference = entry.get_object()
            parameters = reference["/TransformParams"]
            if reference["/TransformMethod"] == "/DocMDP":
                # ISO 32000-2, table 257: without P it is 2.
                level = int(value_of(parameters, "/P") or 2)
            elif reference["/TransformMethod"] == "/FieldMDP":
                locked = FieldMDPSpec.from_pdf_object(parameters)
    return Permissions(level, locked)


def _gravest_change(old: HistoricalResolver, new: HistoricalResolver) -> Changes:
    """Tell annotations and form fields from the rest, for the report; the change fails either way."""
    gravest = Changes.NONE
    try:
        # Every tool writes its date into the information dictionary; that is no change of the document.
        about = {_info_number(resolver) for resolver in (old, new)}
        for reference in new.explicit_refs_in_revision():
            if old.is_ref_unassignable(reference) or reference.idnum in about:
                continue
            kind = _kind_of_change(_value(old, reference), _value(new, reference))
            gravest = max(gravest, kind, key=GRAVITY.index)
    except FOREIGN_ERRORS:
        return Changes.CONTENT
    return gravest if gravest is not Changes.NONE else Changes.CONTENT


def _info_number(resolver: HistoricalResolver) -> int | None:
    """Return the object number of the information dictionary."""
    entry = _raw(resolver.trailer_view, "/Info")
    return int(entry.idnum) if isinstance(entry, generic.IndirectObject) else None


def _value(resolver: HistoricalResolver, reference: generic.Reference) -> Any:  # a PDF object of any kind
    try:
        return resolver(reference)
    except FOREIGN_ERRORS:
        return None


def _kind_of_change(before: Any, after: Any) -> Changes:  # PDF objects of any kind
    if isinstance(before, generic.ArrayObject) and isinstance(after, generic.ArrayObject):
        kinds = {_kind_of_entry(entry) for entry in after}
        return max(kinds, key=GRAVITY.index) if kinds else Changes.CONTENT
    if not isinstance(before, generic.DictionaryObject) or not isinstance(after, generic.DictionaryObject):
        return Changes.CONTENT
    if isinstance(after, generic.StreamObject):
        return Changes.CONTENT
    # References of two revisions never compare equal; written out they do.
    changed = {
        key for key in before.keys() | after.keys() if repr(_raw(before, key)) != repr(_raw(after, key))
    }
    if value_of(before, "/Type") == "/Page" and changed <= {"/Annots"}:
        return Changes.ANNOTATIONS
    if value_of(before, "/Type") == "/Catalog":
        return Changes.FORM if changed <= {"/AcroForm", "/DSS", "/Perms", "/Extensions"} else Changes.CONTENT
    if "/FT" in before or "/Fields" in before:
        return Changes.FORM
    if value_of(before, "/Subtype") == "/Widget":
        return Changes.FORM
    return Changes.ANNOTATIONS if "/Rect" in before and "/Subtype" in before else Changes.CONTENT


def _kind_of_entry(entry: Any) -> Changes:  # a PDF object of any kind
    value = entry.get_object()
    if isinstance(value, generic.DictionaryObject):
        if "/FT" in value or value_of(value, "/Subtype") == "/Widget":
            return Changes.FORM
        if "/Rect" in value and "/Subtype" in value:
            return Changes.ANNOTATIONS
    return Changes.CONTENT


def _raw(dictionary: generic.DictionaryObject, key: str) -> Any:  # a PDF object of any kind
    try:
        return dictionary.raw_get(key)
    except KeyError:
        return None
