"""Small files that are a lot of work: loops, bombs, depth, and numbers that promise more than there is."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tests.vectors import forging
from tests.vectors.attack import Attack
from tests.vectors.make_attacks import ALL

if TYPE_CHECKING:
    from collections.abc import Callable

_ATTACKS: dict[str, Attack] = {attack.id: attack for attack in ALL}


def attack(name: str) -> bytes:
    """Return the file of a vector, made again."""
    return _ATTACKS[name].make()


def deep_page_tree(depth: int) -> bytes:
    """A page tree in which every node has one child."""
    parts = forging.objects_of_page()
    parts[forging.PAGES] = b"<< /Type /Pages /Kids [100 0 R] /Count 1 >>"
    for level in range(depth):
        parent = 99 + level if level else forging.PAGES
        child = 101 + level if level < depth - 1 else forging.PAGE
        parts[100 + level] = b"<< /Type /Pages /Parent %d 0 R /Kids [%d 0 R] /Count 1 >>" % (parent, child)
    return forging.signed_once(parts)


def nested_arrays(depth: int) -> bytes:
    """An array in an array in an array."""
    parts = forging.objects_of_page()
    parts[forging.CATALOG] = parts[forging.CATALOG].replace(b" >>", b" /Deep 9 0 R >>")
    return forging.signed_once(parts, extra={9: b"[" * depth + b"]" * depth})


def huge_size() -> bytes:
    """A table that says it knows a milliard objects."""
    return forging.build(forging.objects_of_page()).replace(b"/Size 7", b"/Size 999999999")


def huge_table() -> bytes:
    """A table that says it has a hundred million lines."""
    return forging.build(forging.objects_of_page()).replace(b"xref\n0 1\n", b"xref\n0 99999999\n")


def many_revisions(count: int) -> bytes:
    """A signature and many revisions after it."""
    content = forging.signed_once()
    for number in range(count):
        content = forging.updated(content, {50 + number: b"(TEST)"})
    return content


def many_objects(count: int) -> bytes:
    """A lot of objects that nobody needs."""
    return forging.signed_once(extra={100 + number: b"<< /A 1 >>" for number in range(count)})


def many_fields(count: int) -> bytes:
    """Empty signature fields."""
    parts = forging.objects_of_page(fields=b" ".join(b"%d 0 R" % (100 + number) for number in range(count)))
    parts |= {100 + number: b"<< /FT /Sig /T (a%d) >>" % number for number in range(count)}
    return forging.build(parts)


def many_signatures(count: int) -> bytes:
    """Signatures that are none."""
    value = b"/V << /SubFilter /ETSI.CAdES.detached /Contents <3000> /ByteRange [0 1 2 3] >>"
    parts = forging.objects_of_page(fields=b" ".join(b"%d 0 R" % (100 + number) for number in range(count)))
    parts |= {100 + number: b"<< /FT /Sig /T (a%d) %s >>" % (number, value) for number in range(count)}
    return forging.build(parts)


def _later(parts: forging.Objects, number: int) -> bytes:
    """Return a file whose page a later signature touches, so that it must be drawn."""
    page = parts[forging.PAGE].replace(b"/Annots [", b"/Annots [7 0 R %d 0 R" % number)
    return forging.signed_again(forging.signed_once(parts), number=number, objects={forging.PAGE: page})


def content_bomb() -> bytes:
    """A page whose content unpacks to half a gigabyte."""
    parts = forging.objects_of_page()
    packed = zlib.compress(b"0 0 1 1 re f " * 40_000_000, 9)
    parts[forging.CONTENT] = forging.stream(packed, b"/Filter /FlateDecode ")
    return _later(parts, 20)


def forms_that_multiply(depth: int) -> bytes:
    """A form that calls another ten times, which calls another ten times."""
    parts = forging.objects_of_page(b"/X0 Do", page=b"/XObject << /X0 50 0 R >>")
    look = b"/Type /XObject /Subtype /Form /BBox [0 0 400 800] "
    for level in range(depth):
        resources = b"/Resources << /XObject << /X0 %d 0 R >> >> " % (51 + level)
        parts[50 + level] = forging.stream(b"/X0 Do " * 10, look + resources)
    parts[50 + depth] = forging.stream(b"0 0 400 800 re f ", look)
    return _later(parts, 80)


def huge_picture() -> bytes:
    """A picture that says it has ten milliard pixels."""
    parts = forging.objects_of_page(b"/X0 Do", page=b"/XObject << /X0 50 0 R >>")
    entries = b"/Type /XObject /Subtype /Image /Width 100000 /Height 100000 /ColorSpace /DeviceGray"
    parts[50] = forging.stream(b"\0" * 9, entries + b" /BitsPerComponent 8 ")
    return _later(parts, 80)


def metadata_bomb() -> bytes:
    """Metadata whose entities grow a thousandfold of a thousandfold, changed after signing."""
    entities = b'<!ENTITY b0 "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY b%d "%s">' % (level, b"&b%d;" % (level - 1) * 10) for level in range(1, 12)
    )
    document = (
        b'<?xml version="1.0"?><!DOCTYPE a [%s]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b11;</x:xmpmeta>'
        % entities
    )
    parts = forging.objects_of_page()
    parts[forging.CATALOG] = parts[forging.CATALOG].replace(b" >>", b" /Metadata 9 0 R >>")
    look = b"/Type /Metadata /Subtype /XML "
    signed = forging.signed_once(parts, extra={9: forging.stream(document, look)})
    return forging.updated(signed, {9: forging.stream(document + b" ", look)})


HOSTILE: dict[str, Callable[[], bytes]] = {
    "deep-page-tree": lambda: deep_page_tree(500),
    "very-deep-page-tree": lambda: deep_page_tree(20_000),
    "nested-arrays": lambda: nested_arrays(100_000),
    "huge-size": huge_size,
    "huge-table": huge_table,
    "many-revisions": lambda: many_revisions(300),
    "many-objects": lambda: many_objects(20_000),
    "many-fields": lambda: many_fields(10_000),
    "many-signatures": lambda: many_signatures(3_000),
    "content-bomb": content_bomb,
    "forms-that-multiply": lambda: forms_that_multiply(9),
    "huge-picture": huge_picture,
    "metadata-bomb": metadata_bomb,
    "object-stream-bomb": lambda: attack("attacks/bomb-object-stream"),
    "startxref-loop": lambda: attack("attacks/startxref-loop"),
}
"""Every hostile file by its name."""
