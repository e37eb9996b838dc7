"""What a document claims to be, as far as a signature could break it: PDF/A (ISO 19005), PDF/UA (ISO 14289)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError

from vnedoc._internal.xml import XMLRefusedError, parse_bytes

if TYPE_CHECKING:
    from pyhanko.pdf_utils.writer import BasePdfFileWriter

__all__ = ["claims_pdfua", "pdfa_part"]

MAX_METADATA_BYTES = 4 * 1024 * 1024
_PART = "{http://www.aiim.org/pdfa/ns/id/}part"
_ACCESSIBLE_PART = "{http://www.aiim.org/pdfua/ns/id/}part"
_DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"


class _Claims(NamedTuple):
    archive: int | None
    accessible: int | None


_known: weakref.WeakKeyDictionary[BasePdfFileWriter, _Claims] = weakref.WeakKeyDictionary()


def pdfa_part(writer: BasePdfFileWriter) -> int | None:
    """Return the part of ISO 19005 that the document of a writer claims to follow, or ``None``.

    Metadata that cannot be read claims nothing.
    """
    return _claims(writer).archive


def claims_pdfua(writer: BasePdfFileWriter) -> bool:
    """Tell whether the document of a writer claims to follow ISO 14289, of any part."""
    return _claims(writer).accessible is not None


def _claims(writer: BasePdfFileWriter) -> _Claims:
    if writer not in _known:
        _known[writer] = _read(writer)
    return _known[writer]


def _read(writer: BasePdfFileWriter) -> _Claims:
    try:
        root = writer.root
        # pyHanko resolves references in [] but not in get.
        stream = root["/Metadata"] if "/Metadata" in root else None  # noqa: SIM401
        if not isinstance(stream, generic.StreamObject) or len(stream.data) > MAX_METADATA_BYTES:
            return _Claims(None, None)
        # ISO 16684-1, 7.3.2: an XMP packet may have white space around it.
        document = parse_bytes(stream.data.strip(b"\0 \t\r\n"))
    except (PdfError, XMLRefusedError, ValueError, KeyError, TypeError, AttributeError):
        return _Claims(None, None)
    archive = accessible = None
    for description in document.iter(_DESCRIPTION):
        archive = archive or _part(description.get(_PART) or description.findtext(_PART))
        accessible = accessible or _part(
            description.get(_ACCESSIBLE_PART) or description.findtext(_ACCESSIBLE_PART)
        )
    return _Claims(archive, accessible)


def _part(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None
