"""Which change of the structure tree comes with a new signature field, and no other (ISO 32000-2, 14.7).

A tagged document that stays accessible gets a structure element ``Form`` for each signature that is shown
(ISO 14289-1, 7.18.4). What a signer saw must not be told differently later, so only this is taken for a part of a
signature: new elements behind all others, each of which holds nothing but the reference to a new signature field, and
their keys behind all others in the tree of parents.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.diff_analysis.form_rules_api import FieldMDPRule, FormUpdate
from pyhanko.sign.diff_analysis.rules_api import Context

from vnedoc.sign._pyhanko.tagging import document_element, last_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyhanko.pdf_utils.reader import HistoricalResolver
    from pyhanko.sign.diff_analysis.form_rules_api import FieldComparisonContext

__all__ = ["StructureRule"]

_TREE = "/StructTreeRoot"
_ELEMENT_KEYS = frozenset({"/Type", "/S", "/P", "/Pg", "/K"})
_REFERENCE_KEYS = frozenset({"/Type", "/Obj", "/Pg"})
_LEAF_KEYS = frozenset({"/Limits", "/Nums"})
_Id = tuple[int, int]


class _OtherChangeError(Exception):
    """The tree was changed in another way; nothing is said about it then."""


class StructureRule(FieldMDPRule):
    """Allows new signature fields to be added to the structure tree."""

    def apply(self, context: FieldComparisonContext) -> Iterable[tuple[ModificationLevel, FormUpdate]]:
        """Yield the objects that the new signature fields changed or brought in the structure tree."""
        fields = [
            spec.new_field
            for spec in context.field_specs.values()
            if spec.field_type == "/Sig" and spec.old_field_ref is None and spec.new_field is not None
        ]
        if not fields or _TREE not in context.old.root or _TREE not in context.new.root:
            return
        try:
            changed, added = _Comparison(context.old, context.new, dict(_widgets(fields))).run()
        except (_OtherChangeError, PdfReadError):
            return
        level = ModificationLevel.FORM_FILLING
        for number, generation in added:
            yield level, FormUpdate(generic.Reference(number, generation, context.new))
        for number, generation in changed:
            reference = generic.Reference(number, generation, context.old)
            for path in context.old._get_usages_of_ref(reference):  # noqa: SLF001 - pyHanko's own rules ask it, too
                # Where the same object is used outside of the tree as well, nobody speaks for the change.
                if path.path[:2] == ("/Root", _TREE):
                    checked = Context.from_absolute(context.old, path)
                    yield level, FormUpdate(reference, context_checked=checked)


def _widgets(fields: Iterable[generic.DictionaryObject]) -> Iterator[tuple[_Id, generic.DictionaryObject]]:
    for field in fields:
        kids = [kid.get_object() for kid in field["/Kids"]] if "/Kids" in field else []
        for widget in kids or [field]:
            holder = widget.container_ref
            if isinstance(holder, generic.Reference):
                yield (holder.idnum, holder.generation), widget


class _Comparison:
    def __init__(
        self,
        old: HistoricalResolver,
        new: HistoricalResolver,
        widgets: dict[_Id, generic.DictionaryObject],
    ) -> None:
        self._old, self._new, self._widgets = old, new, widgets
        self._written = {(ref.idnum, ref.generation) for ref in new.explicit_refs_in_revision()}
        self._changed: set[_Id] = set()
        self._elements: dict[_Id, generic.DictionaryObject] = {}
        self._added: set[_Id] = set()

    def run(self) -> tuple[set[_Id], set[_Id]]:
        """Return the objects that changed and those that were added."""
        old_tree, new_tree = self._pair(self._old.root, self._new.root, _TREE)
        reference = _id(self._old.root.raw_get(_TREE))
        self._same_but(old_tree, new_tree, "/K", "/ParentTree", "/ParentTreeNextKey")
        whole = document_element(old_tree)
        self._compare_kids(old_tree, new_tree, reference)
        if whole is not None:
            key = _id(whole)
            old_whole, new_whole = self._object(self._old, key), self._object(self._new, key)
            self._same_but(old_whole, new_whole, "/K")
            self._note(key)
            self._compare_kids(old_whole, new_whole, key)
        keys = self._compare_parents(old_tree, new_tree)
        promised = _entry(new_tree, "/ParentTreeNextKey")
        if promised is not None and keys and int(promised) <= max(keys):
            raise _OtherChangeError
        if "/ParentTreeNextKey" in old_tree and "/ParentTreeNextKey" not in new_tree:
            raise _OtherChangeError
        shown = {_id(element["/K"].raw_get("/Obj")): key for key, element in self._elements.items()}
        if len(shown) != len(self._elements) or set(keys.values()) != set(self._elements):
            raise _OtherChangeError
        for widget, element in shown.items():
            key = _entry(self._widgets[widget], "/StructParent")
            if not isinstance(key, generic.NumberObject) or keys.get(int(key)) != element:
                raise _OtherChangeError
        return self._changed & self._written, self._added

    def _pair(
        self, old: generic.DictionaryObject, new: generic.DictionaryObject, key: str
    ) -> tuple[generic.DictionaryObject, generic.DictionaryObject]:
        """Return the dictionaries under a key, which must be the same object, or direct in both revisions."""
        before, after = old.raw_get(key), new.raw_get(key)
        if isinstance(before, generic.IndirectObject):
            if not isinstance(after, generic.IndirectObject) or _id(before) != _id(after):
                raise _OtherChangeError
            self._note(_id(before))
        elif isinstance(after, generic.IndirectObject):
            raise _OtherChangeError
        return _dictionary(before.get_object()), _dictionary(after.get_object())

    def _object(self, resolver: HistoricalResolver, key: _Id) -> generic.DictionaryObject:
        return _dictionary(resolver(generic.Reference(*key, resolver)))

    def _note(self, key: _Id) -> None:
        self._changed.add(key)

    def _same_but(self, old: generic.DictionaryObject, new: generic.DictionaryObject, *ignored: str) -> None:
        names = (old.keys() | new.keys()) - set(ignored)
        if any(key not in old or key not in new for key in names):
            raise _OtherChangeError
        if any(_text(old.raw_get(key)) != _text(new.raw_get(key)) for key in names):
            raise _OtherChangeError

    def _list(self, holder: generic.DictionaryObject, key: str) -> list[Any]:
        """Return the entries of an array, or the one entry that stands for it, as they are written."""
        if key not in holder:
            return []
        value = holder.raw_get(key)
        target = value.get_object() if isinstance(value, generic.IndirectObject) else value
        if not isinstance(target, generic.ArrayObject):
            return [value]
        if target is not value:
            self._note(_id(value))
        return [target.raw_get(index) for index in range(len(target))]

    def _appended(self, old: generic.DictionaryObject, new: generic.DictionaryObject, key: str) -> list[Any]:
        """Return what was added behind the entries of an array that are there still."""
        if key in old and key in new:
            before, after = old.raw_get(key), new.raw_get(key)
            moved = isinstance(before, generic.IndirectObject) != isinstance(after, generic.IndirectObject)
            is_list = isinstance(before.get_object(), generic.ArrayObject)
            if is_list and (
                moved or (isinstance(before, generic.IndirectObject) and _id(before) != _id(after))
            ):
                raise _OtherChangeError
        before, after = self._list(old, key), self._list(new, key)
        if [_text(item) for item in after[: len(before)]] != [_text(item) for item in before]:
            raise _OtherChangeError
        return after[len(before) :]

    def _compare_kids(
        self, old: generic.DictionaryObject, new: generic.DictionaryObject, parent: _Id
    ) -> None:
        for item in self._appended(old, new, "/K"):
            element = self._fresh(item)
            if not element.keys() <= _ELEMENT_KEYS or _entry(element, "/S") != "/Form":
                raise _OtherChangeError
            if _id(element.raw_get("/P")) != parent:
                raise _OtherChangeError
            kid = element.raw_get("/K")
            if not isinstance(kid, generic.DictionaryObject) or not kid.keys() <= _REFERENCE_KEYS:
                raise _OtherChangeError
            for holder in (element, kid):
                # A page is an object of its own; anything else would be room for something to be told.
                if "/Pg" in holder:
                    _id(holder.raw_get("/Pg"))
            if _entry(kid, "/Type") != "/OBJR" or _id(kid.raw_get("/Obj")) not in self._widgets:
                raise _OtherChangeError
            self._elements[_id(item)] = element

    def _fresh(self, item: Any) -> generic.DictionaryObject:  # any PDF object
        """Return the dictionary of an object that this revision brought."""
        key = _id(item)
        if not self._old.is_ref_unassignable(generic.Reference(*key, self._old)):
            raise _OtherChangeError
        self._added.add(key)
        return _dictionary(item.get_object())

    def _compare_parents(
        self, old_tree: generic.DictionaryObject, new_tree: generic.DictionaryObject
    ) -> dict[int, _Id]:
        """Return which keys were added to the tree of parents, each with its element."""
        old, new = self._pair(old_tree, new_tree, "/ParentTree")
        self._same_but(old, new, "/Nums", "/Kids")
        pairs = self._appended(old, new, "/Nums")
        for item in self._appended(old, new, "/Kids"):
            leaf = self._fresh(item)
            if not leaf.keys() <= _LEAF_KEYS:
                raise _OtherChangeError
            pairs += self._list(leaf, "/Nums")
        if len(pairs) % 2:
            raise _OtherChangeError
        largest = last_key(old)
        keys: dict[int, _Id] = {}
        for key, element in zip(pairs[0::2], pairs[1::2], strict=True):
            if not isinstance(key, generic.NumberObject) or int(key) <= largest:
                raise _OtherChangeError
            largest = int(key)
            keys[largest] = _id(element)
        return keys


def _id(item: Any) -> _Id:  # any PDF object
    if not isinstance(item, generic.IndirectObject):
        raise _OtherChangeError
    return item.idnum, item.generation


def _entry(holder: generic.DictionaryObject, key: str) -> Any:  # any PDF object
    return holder[key] if key in holder else None  # noqa: SIM401 - get does not follow references


def _dictionary(value: Any) -> generic.DictionaryObject:  # any PDF object
    if not isinstance(value, generic.DictionaryObject) or isinstance(value, generic.StreamObject):
        raise _OtherChangeError
    return value


def _text(value: generic.PdfObject) -> bytes:
    """Return an object as it is written: references of two revisions are never equal, their text is."""
    output = io.BytesIO()
    value.write_to_stream(output, None)
    return output.getvalue()
