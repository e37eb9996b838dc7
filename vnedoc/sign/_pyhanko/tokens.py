"""Names and references read and written at once (ISO 32000-2, 7.3.5 and 7.3.10).

pyHanko takes them apart letter by letter, and a small document has hundreds of the same few names and a structure
tree full of references. What a name comes to does not change, so it is worked out once, by pyHanko itself; a
reference in its usual form is read with one look. Whatever has another form goes to pyHanko's own reader.
"""

from __future__ import annotations

import functools
import io
import re
from typing import IO, Any, BinaryIO

from pyhanko.pdf_utils import generic

__all__ = ["install"]

MAX_KEPT_LENGTH = 127
"""Longer names are not kept; PDF/A-1 knows none."""
_KEPT = 4096
_REFERENCE = re.compile(rb"([1-9]\d{0,9})[ \t\r\n](\d{1,5})[ \t\r\n]R")
_LONGEST_REFERENCE = 18
_decode_by_pyhanko: Any = generic._decode_name  # noqa: SLF001 - there is no public way in
_write_by_pyhanko: Any = generic.NameObject.write_to_stream
_refer_by_pyhanko: Any = generic.IndirectObject.read_from_stream


def install() -> None:
    """Have pyHanko read and write names and references with what is here; once is enough."""
    generic._decode_name = _decode  # noqa: SLF001
    generic.NameObject.write_to_stream = _write  # type: ignore[method-assign] # that is the purpose
    generic.IndirectObject.read_from_stream = staticmethod(_refer)  # type: ignore[method-assign]


def _decode(name_bytes: bytes) -> generic.NameObject:
    if len(name_bytes) > MAX_KEPT_LENGTH:
        name: generic.NameObject = _decode_by_pyhanko(name_bytes)
        return name
    # Never the same object twice: pyHanko notes in it where it was read.
    return generic.NameObject(_decoded(name_bytes))


@functools.lru_cache(maxsize=_KEPT)
def _decoded(encoded: bytes) -> str:
    return str(_decode_by_pyhanko(encoded))


def _write(
    self: generic.NameObject, stream: IO[bytes], handler: object = None, container_ref: object = None
) -> None:
    if len(self) > MAX_KEPT_LENGTH:
        _write_by_pyhanko(self, stream, handler, container_ref)
        return
    # Kept by its text alone: the object leads to the whole file that it was read from.
    stream.write(_encoded(str(self)))


@functools.lru_cache(maxsize=_KEPT)
def _encoded(name: str) -> bytes:
    output = io.BytesIO()
    _write_by_pyhanko(generic.NameObject(name), output)
    return output.getvalue()


def _refer(stream: BinaryIO, container_ref: generic.Dereferenceable) -> generic.IndirectObject:
    start = stream.tell()
    match = _REFERENCE.match(stream.read(_LONGEST_REFERENCE))
    if match is None:
        stream.seek(start)
        reference: generic.IndirectObject = _refer_by_pyhanko(stream, container_ref)
        return reference
    stream.seek(start + match.end())
    return generic.IndirectObject(int(match[1]), int(match[2]), container_ref.get_pdf_handler())
