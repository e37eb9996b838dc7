"""Small PDFs written by hand, byte for byte, so that every attack can put its bytes where it needs them."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from tests.vectors import identities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
CATALOG, PAGES, PAGE, CONTENT, FONT, FORM = 1, 2, 3, 4, 5, 6
TRUE_TEXT = b"PAY 1000 VND"
FALSE_TEXT = b"PAY 9999 VND"
RESERVED = 2048
"""Bytes kept for a signature; as many digits twice."""

Objects = dict[int, bytes]


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """Return the body of a stream object."""
    return b"<< /Length %d %s>>\nstream\n%s\nendstream" % (len(content), entries, content)


def text(words: bytes, *, y: int = 740, x: int = 60) -> bytes:
    """Return the content of a page that shows some words."""
    return b"BT /F1 18 Tf %d %d Td (%s) Tj ET" % (x, y, words)


def appearance(content: bytes, width: int, height: int) -> bytes:
    """Return a form XObject."""
    entries = b"/Type /XObject /Subtype /Form /BBox [0 0 %d %d] /Resources << /Font << /F1 5 0 R >> >> " % (
        width,
        height,
    )
    return stream(content, entries)


OPAQUE = b"q 1 1 1 rg 0 0 300 40 re f Q BT /F1 18 Tf 5 10 Td (PAY 9999 VND) Tj ET"
"""A white sheet with other words on it."""


def objects_of_page(
    content: bytes | None = None,
    *,
    fields: bytes = b"",
    annots: bytes = b"",
    page: bytes = b"",
    **more: bytes,
) -> Objects:
    """Return the objects of a document of one page with an interactive form."""
    return {
        CATALOG: b"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R >>",
        PAGES: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 800] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> %s >> /Annots [%s] >>" % (page, annots),
        CONTENT: stream(content if content is not None else text(TRUE_TEXT)),
        FONT: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        FORM: b"<< /Fields [%s] /SigFlags 3 /DA (/F1 12 Tf 0 g) /DR << /Font << /F1 5 0 R >> >> >>" % fields,
    }


def table(offsets: Mapping[int, int], *, free: tuple[int, ...] = ()) -> bytes:
    """Return a cross-reference table without its trailer."""
    lines = [b"xref\n"]
    entries = {number: b"%010d 00000 n \n" % offset for number, offset in offsets.items()}
    entries |= dict.fromkeys(free, b"0000000000 00001 f \n")
    lines += [b"%d 1\n%s" % (number, entries[number]) for number in sorted(entries)]
    return b"".join(lines)


def body(objects: Mapping[int, bytes], start: int) -> tuple[bytes, dict[int, int]]:
    """Return objects one after the other, and where each begins."""
    out, offsets = b"", {}
    for number, content in objects.items():
        offsets[number] = start + len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    return out, offsets


def trailer(
    size: int, start: int, *, prev: int | None = None, more: bytes = b"", root: int = CATALOG
) -> bytes:
    """Return a trailer with its startxref."""
    back = b"/Prev %d " % prev if prev is not None else b""
    return b"trailer\n<< /Size %d /Root %d 0 R %s%s>>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        root,
        back,
        more,
        start,
    )


def build(objects: Mapping[int, bytes], *, header: bytes = HEADER) -> bytes:
    """Return a PDF of one revision."""
    written, offsets = body(objects, len(header))
    start = len(header) + len(written)
    head = b"xref\n0 1\n0000000000 65535 f \n" + table(offsets).removeprefix(b"xref\n")
    return header + written + head + trailer(max(objects) + 1, start)


def last_startxref(content: bytes) -> int:
    """Return where the last cross-reference section stands."""
    return int(re.findall(rb"startxref\n(\d+)", content)[-1])


def size_of(content: bytes) -> int:
    """Return the largest /Size so far."""
    return max(map(int, re.findall(rb"/Size (\d+)", content)))


def updated(
    content: bytes,
    objects: Mapping[int, bytes],
    *,
    more: bytes = b"",
    root: int = CATALOG,
    free: tuple[int, ...] = (),
) -> bytes:
    """Append a well-formed revision."""
    written, offsets = body(objects, len(content))
    start = len(content) + len(written)
    size = max(size_of(content), max(objects, default=0) + 1)
    return (
        content
        + written
        + table(offsets, free=free)
        + trailer(size, start, prev=last_startxref(content), more=more, root=root)
    )


@dataclasses.dataclass(frozen=True)
class Gap:
    """Where the Contents of a signature stands, angle brackets included."""

    start: int
    end: int


def gap_of(content: bytes, which: int = -1) -> Gap:
    """Return the gap of the last signature, or of another."""
    match = list(re.finditer(rb"/Contents (<[0-9a-fA-F]{1000,}>)", content))[which]
    return Gap(match.start(1), match.end(1))


def contents_of(content: bytes, which: int = -1) -> bytes:
    """Return the CMS object of a signature with its padding."""
    gap = gap_of(content, which)
    return bytes.fromhex(content[gap.start + 1 : gap.end - 1].decode())


_PLACE = b"[0 0000000000 0000000000 0000000000]"


def signature_dictionary(
    *,
    subfilter: bytes = b"/ETSI.CAdES.detached",
    kind: bytes = b"/Sig",
    reason: bytes = b"(Approved TEST)",
    level: int | None = None,
) -> bytes:
    """Return a signature dictionary to be completed by :func:`complete`."""
    reference = b""
    if level is not None:
        reference = (
            b" /Reference [<< /Type /SigRef /TransformMethod /DocMDP /TransformParams"
            b" << /Type /TransformParams /P %d /V /1.2 >> >>]" % level
        )
    about = b"" if kind == b"/DocTimeStamp" else b" /M (D:20260601020000Z) /Name (TEST) /Reason " + reason
    return b"<< /Type %s /Filter /Adobe.PPKLite /SubFilter %s%s%s /Contents <%s> /ByteRange %s >>" % (
        kind,
        subfilter,
        about,
        reference,
        b"0" * (2 * RESERVED),
        _PLACE,
    )


def complete(
    content: bytes,
    identity: identities.Identity = identities.AGENCY,
    *,
    make: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Fill in the ByteRange and the Contents of the signature dictionary that is still open.

    Args:
        content: The file.
        identity: Who signs.
        make: Makes the CMS object from the covered bytes; by default a plain detached signature.
    """
    gap = gap_of(content)
    assert content[gap.start + 1 : gap.end - 1].strip(b"0") == b""
    byte_range = b"[0 %010d %010d %010d]" % (gap.start, gap.end, len(content) - gap.end)
    assert content.count(_PLACE) == 1
    content = content.replace(_PLACE, byte_range)
    covered = content[: gap.start] + content[gap.end :]
    encoded = make(covered) if make else detached(identity, covered)
    digits = encoded.hex().encode().ljust(2 * RESERVED, b"0")
    assert len(digits) == 2 * RESERVED, "the signature needs more room"
    return content[: gap.start + 1] + digits + content[gap.end - 1 :]


def detached(identity: identities.Identity, covered: bytes) -> bytes:
    """Return a plain detached signature over some bytes."""
    import hashlib

    return identities.signed_data(identity, hashlib.sha256(covered).digest())


def stamped(identity: identities.Identity, covered: bytes) -> bytes:
    """Return a signature with a time-stamp."""
    import hashlib

    digest = hashlib.sha256(covered).digest()
    plain = identities.signed_data(identity, digest)
    token = identities.timestamp_token(identities.signature_value(plain))
    return identities.signed_data(identity, digest, tokens=(token,))


def widget(
    name: bytes, value: int, *, rect: bytes = b"[0 0 0 0]", look: int | None = None, more: bytes = b""
) -> bytes:
    """Return a signature field that is its own widget."""
    shown = b" /AP << /N %d 0 R >>" % look if look is not None else b""
    filled = b" /V %d 0 R" % value if value else b""
    return b"<< /Type /Annot /Subtype /Widget /FT /Sig /T (%s) /F 132 /P 3 0 R /Rect %s%s%s%s >>" % (
        name,
        rect,
        filled,
        shown,
        more,
    )


def signed_once(
    objects: Objects | None = None,
    *,
    identity: identities.Identity = identities.AGENCY,
    level: int | None = None,
    make: Callable[[bytes], bytes] | None = None,
    extra: Objects | None = None,
    dictionary: bytes | None = None,
    header: bytes = HEADER,
    annots: bytes = b"",
    fields: bytes = b"",
) -> bytes:
    """Return a document of one page whose first revision is signed in the field ``Seal``."""
    parts = dict(objects or objects_of_page())
    parts[FORM] = parts[FORM].replace(b"/Fields [", b"/Fields [7 0 R %s" % fields)
    parts[PAGE] = parts[PAGE].replace(b"/Annots [", b"/Annots [7 0 R %s" % annots)
    parts[7] = widget(b"Seal", 8)
    parts |= extra or {}
    if level is not None:
        parts[CATALOG] = parts[CATALOG].replace(b" >>", b" /Perms << /DocMDP 8 0 R >> >>")
    # The dictionary goes last: what follows its Contents is short.
    parts[8] = dictionary or signature_dictionary(level=level)
    return complete(build(parts, header=header), identity, make=make)


def signed_again(
    content: bytes,
    identity: identities.Identity = identities.INSIDER,
    *,
    name: bytes = b"Second",
    number: int = 20,
    rect: bytes = b"[0 0 0 0]",
    look: bytes | None = None,
    objects: Objects | None = None,
    make: Callable[[bytes], bytes] | None = None,
    dictionary: bytes | None = None,
    annots: bytes = b"7 0 R",
    fields: bytes = b"7 0 R",
) -> bytes:
    """Append a revision with a further signature in a new field."""
    base = objects_of_page()
    changed: Objects = {
        PAGE: base[PAGE].replace(b"/Annots [", b"/Annots [%s %d 0 R" % (annots, number)),
        FORM: base[FORM].replace(b"/Fields [", b"/Fields [%s %d 0 R" % (fields, number)),
    }
    changed |= objects or {}
    if look is not None:
        changed[number + 2] = look
    changed[number] = widget(name, number + 1, rect=rect, look=number + 2 if look is not None else None)
    changed[number + 1] = dictionary or signature_dictionary()
    return complete(updated(content, changed), identity, make=make)
