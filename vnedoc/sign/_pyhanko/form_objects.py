"""Small questions to the objects of a form: an entry, a place, who signed."""

from __future__ import annotations

from typing import Any

from asn1crypto import cms
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name

__all__ = ["entry", "identity_of", "inherited", "made", "rectangle_of", "signing_certificate", "widget_of"]


def entry(container: Any, key: str, default: Any = None) -> Any:  # any PDF object
    """Return an entry, not a reference to it: pyHanko resolves references in ``[]`` but not in ``get``."""
    return container[key] if key in container else default  # noqa: SIM401 - see above


def made(container: generic.DictionaryObject, key: str, fresh: generic.PdfObject) -> Any:  # any PDF object
    """Return an entry of a dictionary, made if it is not there."""
    if key not in container:
        container[pdf_name(key)] = fresh
    return container[key]


def inherited(field: generic.DictionaryObject, key: str) -> object:
    """Return an entry of a field or of the nearest field above it that has one (ISO 32000-2, 12.7.4)."""
    for _ in range(32):
        if key in field:
            return field[key]
        parent = entry(field, "/Parent")
        if not isinstance(parent, generic.DictionaryObject):
            return None
        field = parent
    return None


def widget_of(field: generic.DictionaryObject) -> generic.DictionaryObject | None:
    """Return the annotation that shows a field, if there is just one."""
    if entry(field, "/Subtype") == "/Widget" or "/Rect" in field:
        return field
    kids = entry(field, "/Kids", ())
    return kids[0].get_object() if len(kids) == 1 else None


def rectangle_of(annotation: generic.DictionaryObject | None) -> tuple[float, float, float, float] | None:
    """Return where an annotation is shown: left, lower, right, upper; ``None`` if it is not shown."""
    values = None if annotation is None else entry(annotation, "/Rect")
    if values is None:
        return None
    x1, y1, x2, y2 = (float(value) for value in values)
    shown = x1 != x2 and y1 != y2
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) if shown else None


def identity_of(annotation: generic.DictionaryObject) -> tuple[int, int]:
    """Return object and generation number of an annotation."""
    reference = annotation.container_ref
    return (reference.idnum, reference.generation) if isinstance(reference, generic.Reference) else (0, 0)


def signing_certificate(signature: generic.DictionaryObject) -> bytes | None:
    """Return the certificate of a signature without judging it."""
    try:
        signed_data = cms.ContentInfo.load(bytes(signature.raw_get("/Contents")))["content"]
        wanted = signed_data["signer_infos"][0]["sid"].chosen
        for choice in signed_data["certificates"]:
            certificate = choice.chosen
            if certificate.serial_number == wanted["serial_number"].native:
                content: bytes = certificate.dump()
                return content
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        # Not a CMS that can be read; whoever verifies the document will say so.
        return None
    return None
