"""Writing DER (ITU-T X.690): just what a CMS needs, from parts that are encoded already.

General libraries build an object for every element; for a signature, whose parts hardly change from one to the
next, that is most of the time it takes.
"""

from __future__ import annotations

import functools

__all__ = ["explicit", "implicit", "integer", "null", "octet_string", "oid", "sequence", "set_of", "tlv"]

_INTEGER, _OCTET_STRING, _NULL, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
_CONSTRUCTED, _CONTEXT = 0x20, 0x80


def tlv(tag: int, content: bytes) -> bytes:
    """Return one element: tag, length, content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of encoded elements."""
    return tlv(_SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """Return a SET OF encoded elements, in the order that DER wants (X.690, 11.6)."""
    return tlv(_SET, b"".join(sorted(parts)))


def explicit(number: int, element: bytes) -> bytes:
    """Return an element within an explicit context tag."""
    return tlv(_CONTEXT | _CONSTRUCTED | number, element)


def implicit(number: int, element: bytes) -> bytes:
    """Return a constructed element under an implicit context tag instead of its own."""
    return bytes((_CONTEXT | _CONSTRUCTED | number,)) + element[1:]


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octet_string(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(_OCTET_STRING, content)


def null() -> bytes:
    """Return a NULL."""
    return bytes((_NULL, 0))


@functools.cache
def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        content += bytes(reversed(groups))
    return tlv(_OID, bytes(content))
