"""What a file brings for its own verification: the document security store (ISO 32000-2, 12.8.4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from pyhanko.pdf_utils import generic

from vnedoc.sign._pyhanko.cms_objects import Evidence
from vnedoc.sign._pyhanko.reading import FOREIGN_ERRORS, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyhanko.pdf_utils.reader import PdfFileReader

__all__ = ["read_evidence"]

MAX_EVIDENCE_ITEMS = 500


def read_evidence(reader: PdfFileReader) -> Evidence:
    """Read the document security store (ISO 32000-2, 12.8.4.3); what cannot be read is left out."""
    try:
        store = value_of(reader.root, "/DSS")
        if not isinstance(store, generic.DictionaryObject):
            return Evidence()
        certificates = []
        for encoded in _streams(store, "/Certs"):
            try:
                certificates.append(x509.load_der_x509_certificate(encoded))
            except ValueError:
                continue
        return Evidence(
            tuple(certificates), tuple(_streams(store, "/OCSPs")), tuple(_streams(store, "/CRLs"))
        )
    except FOREIGN_ERRORS:
        return Evidence()


def _streams(store: generic.DictionaryObject, key: str) -> Sequence[bytes]:
    entries = value_of(store, key)
    if not isinstance(entries, generic.ArrayObject):
        return []
    found = []
    for entry in list(entries)[:MAX_EVIDENCE_ITEMS]:
        value = entry.get_object()
        if isinstance(value, generic.StreamObject):
            found.append(value.data)
    return found
