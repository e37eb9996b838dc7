"""The document security store of a PDF (ISO 32000-2, 12.8.4.3; ETSI EN 319 142-1, 5.4.2).

It is extended in the very revision that carries the signature or the document time-stamp; what stands in it already
stays, and nothing is put in twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1

from vnedoc.sign._pyhanko.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    from vnedoc.sign._pyhanko.validation import Evidence

__all__ = ["add_to_store"]

_PDF_2 = (2, 0)


def add_to_store(writer: IncrementalPdfFileWriter, evidence: Evidence) -> None:
    """Put certificates and revocation data into the document security store of a revision.

    Raises:
        PdfError, ValueError, TypeError: The store that is there cannot be read.
    """
    store = value_of(writer.root, "/DSS")
    if not isinstance(store, generic.DictionaryObject):
        store = generic.DictionaryObject({pdf_name("/Type"): pdf_name("/DSS")})
        writer.root[pdf_name("/DSS")] = writer.add_object(store)
        writer.update_root()
    certificates = [certificate.public_bytes(Encoding.DER) for certificate in evidence.certificates]
    for key, items in (("/Certs", certificates), ("/OCSPs", evidence.ocsp), ("/CRLs", evidence.crls)):
        _add_streams(writer, store, key, items)
    if writer.output_version < _PDF_2:
        # EN 319 142-1, 5.6: the store belongs to PDF 2.0; an older file says that it uses it.
        if "/Extensions" not in writer.root:
            writer.update_root()
        writer.register_extension(ESIC_EXTENSION_1)


def _add_streams(
    writer: IncrementalPdfFileWriter, store: generic.DictionaryObject, key: str, items: Sequence[bytes]
) -> None:
    entries = value_of(store, key)
    present: set[bytes] = set()
    if isinstance(entries, generic.ArrayObject):
        streams = [entry.get_object() for entry in entries]
        present = {stream.data for stream in streams if isinstance(stream, generic.StreamObject)}
    missing = [item for item in dict.fromkeys(items) if item not in present]
    if not missing:
        return
    if not isinstance(entries, generic.ArrayObject):
        entries = generic.ArrayObject()
        store[pdf_name(key)] = entries
        writer.update_container(store)
    for item in missing:
        entries.append(writer.add_object(generic.StreamObject(stream_data=item)))
    writer.update_container(entries)
