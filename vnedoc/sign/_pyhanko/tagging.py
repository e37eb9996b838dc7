"""Form fields in the structure tree of a tagged document (ISO 32000-2, 14.7 and 14.8.4.7.3).

A field is shown by an annotation; in a tagged document a reader that speaks finds it through a structure element
``Form`` with a reference to that object (ISO 14289-1, 7.18.4). The element is added at the end of the document, the
place of the field in the tree of parents behind all others: nothing that is there changes or moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.misc import PdfReadError

from vnedoc.sign._pyhanko.conformance import claims_pdfua
from vnedoc.sign._pyhanko.form_objects import entry, made
from vnedoc.sign._pyhanko.hybrid import is_hybrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

__all__ = ["MAX_TREE_NODES", "add_to_structure", "document_element", "is_tagged", "last_key", "tag_field"]

_TREE = "/StructTreeRoot"
MAX_TREE_NODES = 10_000
"""So many nodes of a tree of parents are looked at."""
MAX_PAGES = 1000
"""So many pages of a PDF/UA document are told to be read by structure."""


def tag_field(
    writer: IncrementalPdfFileWriter,
    *,
    page: generic.IndirectObject,
    widget: generic.IndirectObject,
    is_shown: bool,
    is_signed: Callable[[], bool],
) -> None:
    """Put a new field into the structure tree of a tagged document, and have its page read by structure.

    After a signature that is done only where the document claims to be PDF/UA, which asks for it (ISO 14289-1, 7.18):
    some of today's checkers take every change of the structure for a change of the document.

    Args:
        writer: The writer of the document.
        page: The page of the field.
        widget: The field, with its annotation in it; an object of its own.
        is_shown: Whether it has a place on the page; what has none is nothing to be read.
        is_signed: Tells whether the document has a signature already.

    Raises:
        PdfReadError: The structure tree is not as it should be.
    """
    if _TREE not in writer.root:
        return
    accessible = claims_pdfua(writer)
    if not is_shown and not accessible:
        return
    if not is_tagged(writer.root) or is_hybrid(writer.prev):
        # In a hybrid-reference file only some readers have the structure tree; what is added would be seen by all.
        return
    signed = is_signed()
    if is_shown and (accessible or not signed):
        add_to_structure(writer, page=page, widget=widget)
    if signed:
        # Nothing of a signed page may change; the pages were told with the first signature.
        return
    pages = [page]
    if accessible:
        count = int(writer.root["/Pages"]["/Count"])
        pages = [writer.find_page_for_modification(index)[0] for index in range(min(count, MAX_PAGES))]
    for reference in pages:
        node = reference.get_object()
        if "/Tabs" not in node:
            # ISO 14289-1, 7.18.3.
            node[pdf_name("/Tabs")] = pdf_name("/S")
            writer.mark_update(reference)


def is_tagged(root: generic.DictionaryObject) -> bool:
    """Tell whether a document says that it is tagged, and has a structure tree of its own object."""
    marks = entry(root, "/MarkInfo")
    tree = root.raw_get(_TREE) if _TREE in root else None
    return (
        isinstance(marks, generic.DictionaryObject)
        and bool(entry(marks, "/Marked", default=False))
        and isinstance(tree, generic.IndirectObject)
        and isinstance(tree.get_object(), generic.DictionaryObject)
    )


def add_to_structure(
    writer: IncrementalPdfFileWriter,
    *,
    page: generic.IndirectObject,
    widget: generic.IndirectObject,
) -> None:
    """Add the annotation of a field to the structure tree of a tagged document.

    Args:
        writer: The writer of the document.
        page: The page that shows the annotation.
        widget: The annotation; an object of its own.

    Raises:
        PdfReadError: The structure tree is not as it should be.
    """
    reference = writer.root.raw_get(_TREE)
    tree = reference.get_object()
    parent_reference = document_element(tree) or reference
    element = writer.add_object(
        generic.DictionaryObject(
            {
                pdf_name("/Type"): pdf_name("/StructElem"),
                pdf_name("/S"): pdf_name("/Form"),
                pdf_name("/P"): _fresh(parent_reference, writer),
                pdf_name("/Pg"): _fresh(page, writer),
                pdf_name("/K"): generic.DictionaryObject(
                    {
                        pdf_name("/Type"): pdf_name("/OBJR"),
                        pdf_name("/Obj"): _fresh(widget, writer),
                        pdf_name("/Pg"): _fresh(page, writer),
                    }
                ),
            }
        )
    )
    _append_kid(writer, parent_reference.get_object(), element)
    key = _next_key(tree)
    _append_parent(writer, tree, key, element)
    if "/ParentTreeNextKey" in tree:
        tree[pdf_name("/ParentTreeNextKey")] = generic.NumberObject(key + 1)
        writer.update_container(tree)
    annotation = widget.get_object()
    annotation[pdf_name("/StructParent")] = generic.NumberObject(key)
    writer.update_container(annotation)


def _fresh(reference: generic.IndirectObject, writer: IncrementalPdfFileWriter) -> generic.IndirectObject:
    return generic.IndirectObject(reference.idnum, reference.generation, writer)


def document_element(tree: generic.DictionaryObject) -> generic.IndirectObject | None:
    """Return the one element under the root that holds the whole document, if there is one."""
    if "/K" not in tree:
        return None
    kids = tree.raw_get("/K")
    if isinstance(kids, generic.IndirectObject) and isinstance(kids.get_object(), generic.ArrayObject):
        kids = kids.get_object()
    only = kids.raw_get(0) if isinstance(kids, generic.ArrayObject) and len(kids) == 1 else kids
    if not isinstance(only, generic.IndirectObject):
        return None
    element = only.get_object()
    if not isinstance(element, generic.DictionaryObject):
        return None
    kind = entry(element, "/S")
    role = entry(entry(tree, "/RoleMap", {}), str(kind), kind)
    return only if role == "/Document" else None


def _append_kid(
    writer: IncrementalPdfFileWriter, parent: generic.DictionaryObject, element: generic.IndirectObject
) -> None:
    if "/K" not in parent:
        parent[pdf_name("/K")] = generic.ArrayObject([element])
        writer.update_container(parent)
        return
    kids = parent["/K"]
    if isinstance(kids, generic.ArrayObject):
        kids.append(element)
        writer.update_container(kids)
        return
    # A single kid stands there without an array around it.
    parent[pdf_name("/K")] = generic.ArrayObject([parent.raw_get("/K"), element])
    writer.update_container(parent)


def _next_key(tree: generic.DictionaryObject) -> int:
    known = last_key(entry(tree, "/ParentTree"))
    promised = entry(tree, "/ParentTreeNextKey", 0)
    return max(int(promised), known + 1)


def last_key(node: generic.PdfObject | None) -> int:
    """Return the largest key of a tree of parents; -1 if it is empty (ISO 32000-2, 7.9.7).

    Raises:
        PdfReadError: It is no such tree, or too large.
    """
    largest = -1
    waiting, seen = [node], 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if part is None:
            continue
        if seen > MAX_TREE_NODES or not isinstance(part, generic.DictionaryObject):
            raise PdfReadError("The tree of parents is no number tree")
        numbers = entry(part, "/Nums")
        if isinstance(numbers, generic.ArrayObject):
            largest = max([largest, *(int(numbers[index]) for index in range(0, len(numbers), 2))])
        kids = entry(part, "/Kids")
        if isinstance(kids, generic.ArrayObject):
            waiting += [kid.get_object() for kid in kids]
    return largest


def _append_parent(
    writer: IncrementalPdfFileWriter,
    tree: generic.DictionaryObject,
    key: int,
    element: generic.IndirectObject,
) -> None:
    if "/ParentTree" not in tree:
        tree[pdf_name("/ParentTree")] = generic.DictionaryObject()
        writer.update_container(tree)
    root = tree["/ParentTree"]
    pair = [generic.NumberObject(key), element]
    if "/Kids" not in root:
        numbers = made(root, "/Nums", generic.ArrayObject())
        numbers.extend(pair)
        writer.update_container(numbers if numbers.container_ref is not None else root)
        return
    limits = generic.ArrayObject([generic.NumberObject(key), generic.NumberObject(key)])
    leaf = generic.DictionaryObject(
        {pdf_name("/Limits"): limits, pdf_name("/Nums"): generic.ArrayObject(pair)}
    )
    kids = root["/Kids"]
    kids.append(writer.add_object(leaf))
    writer.update_container(kids)
