"""What a document claims to be, as far as a signature could break it: PDF/A (ISO 19005)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError

from vnedoc._internal.xml import XMLRefusedError, parse_bytes

if TYPE_CHECKING:
    from pyhanko.pdf_utils.writer import BasePdfFileWriter

__all__ = ["pdfa_part"]

MAX_METADATA_BYTES = 4 * 1024 * 1024
_PART = "{http://www.aiim.org/pdfa/ns/id/}part"
_DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"

_known: weakref.WeakKeyDictionary[BasePdfFileWriter, int | None] = weakref.WeakKeyDictionary()


def pdfa_part(writer: BasePdfFileWriter) -> int | None:
    """Return the part of ISO 19005 that the document of a writer claims to follow, or ``None``.

    Metadata that cannot be read claims nothing.
    """
    if writer not in _known:
        _known[writer] = _read(writer)
    return _known[writer]


def _read(writer: BasePdfFileWriter) -> int | None:
    try:
        root = writer.root
        # pyHanko resolves references in [] but not in get.
        stream = root["/Metadata"] if "/Metadata" in root else None  # noqa: SIM401
        if not isinstance(stream, generic.StreamObject) or len(stream.data) > MAX_METADATA_BYTES:
            return None
        # ISO 16684-1, 7.3.2: an XMP packet may have white space around it.
        document = parse_bytes(stream.data.strip(b"\0 \t\r\n"))
    except (PdfError, XMLRefusedError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for description in document.iter(_DESCRIPTION):
        part = description.get(_PART) or description.findtext(_PART)
        if part is not None and part.strip().isdigit():
            return int(part)
    return None
