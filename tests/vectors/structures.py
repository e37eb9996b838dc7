"""Attacks on the structure of the file: what one reader sees and another does not."""

from __future__ import annotations

import io
import re
import zlib

import pikepdf

from tests.vectors.attack import FAILED, PARSERS, UNSURE, Attack
from tests.vectors.forging import (
    CONTENT,
    FALSE_TEXT,
    HEADER,
    body,
    last_startxref,
    objects_of_page,
    signed_again,
    signed_once,
    size_of,
    stream,
    table,
    text,
    trailer,
    updated,
)

FALSE_CONTENT = {CONTENT: stream(text(FALSE_TEXT))}


def _with_object_stream(content: bytes, objects: dict[int, bytes], *, hybrid: bool) -> bytes:
    """Append a revision whose objects stand in an object stream; with a classic table beside it if hybrid."""
    head, inner = b"", b""
    for number, value in objects.items():
        head += b"%d %d " % (number, len(inner))
        inner += value + b" "
    packed = zlib.compress(head + inner)
    entries = b"/Type /ObjStm /N %d /First %d /Filter /FlateDecode " % (len(objects), len(head))
    start = len(content)
    container = b"35 0 obj\n" + stream(packed, entries) + b"\nendobj\n"
    place = start + len(container)
    rows = {number: (2, 35, index) for index, number in enumerate(objects)}
    rows |= {35: (1, start, 0), 36: (1, place, 0)}
    data = b"".join(
        kind.to_bytes(1, "big") + offset.to_bytes(4, "big") + index.to_bytes(2, "big")
        for _, (kind, offset, index) in sorted(rows.items())
    )
    index = b" ".join(b"%d 1" % number for number in sorted(rows))
    section = b"36 0 obj\n%s\nendobj\n" % stream(
        data,
        b"/Type /XRef /Size 37 /Root 1 0 R /W [1 4 2] /Index [%s] %s"
        % (index, b"" if hybrid else b"/Prev %d " % last_startxref(content)),
    )
    if not hybrid:
        return content + container + section + b"startxref\n%d\n%%%%EOF\n" % place
    classic = place + len(section)
    more = b"/XRefStm %d " % place
    return (
        content
        + container
        + section
        + b"xref\n0 0\n"
        + trailer(37, classic, prev=last_startxref(content), more=more)
    )


_FALSE_PAGE = {
    3: objects_of_page()[3].replace(b"4 0 R", b"34 0 R").replace(b"/Annots [", b"/Annots [7 0 R "),
}


def _clobbered() -> bytes:
    content = updated(signed_once(), {34: stream(text(FALSE_TEXT))})
    return _with_object_stream(content, _FALSE_PAGE, hybrid=False)


def _hybrid() -> bytes:
    content = updated(signed_once(), {34: stream(text(FALSE_TEXT))})
    return _with_object_stream(content, _FALSE_PAGE, hybrid=True)


def _two_startxrefs() -> bytes:
    content = signed_once()
    added, offsets = body(FALSE_CONTENT, len(content))
    start = len(content) + len(added)
    return (
        content
        + added
        + table(offsets)
        + trailer(size_of(content), start, prev=last_startxref(content))
        + b"startxref\n%d\n%%%%EOF\n" % last_startxref(content)
    )


def _eof_in_trailer() -> bytes:
    content = signed_once()
    added, offsets = body(FALSE_CONTENT, len(content))
    start = len(content) + len(added)
    return (
        content
        + added
        + table(offsets)
        + trailer(size_of(content), start, prev=last_startxref(content), more=b"/Note (%%EOF) \n%%EOF\n ")
    )


def _eof_in_signed_revision() -> bytes:
    """Behind a later signature the first revision seems to end elsewhere."""
    first = signed_once()
    return signed_again(first + b"startxref\n%d\n%%%%EOF\n" % last_startxref(first))


def _linearized_appended() -> bytes:
    content = signed_once()
    changed = dict(FALSE_CONTENT)
    changed[37] = b"<< /Linearized 1 /L %010d /H [0 0] /O 3 /E 0 /N 1 /T 0 >>" % 0
    return updated(content, changed)


def _polyglot(header: bytes) -> bytes:
    return signed_once(header=header + HEADER)


def _loop() -> bytes:
    content = signed_once()
    start = len(content)
    return content + b"xref\n0 0\n" + trailer(size_of(content), start, prev=start)


def _between_revisions() -> bytes:
    """An object that no table lists stands between two revisions; a good signature follows."""
    first = signed_once()
    return signed_again(first + body({38: stream(text(FALSE_TEXT))}, len(first))[0])


def _overlapping_offsets() -> bytes:
    """An object of the later revision begins inside of a stream of the signed one."""
    hidden = stream(b"4 0 obj\n" + stream(text(FALSE_TEXT)) + b"\nendobj\n")
    content = signed_once(extra={9: hidden})
    offset = content.index(b"4 0 obj\n<<", content.index(b"9 0 obj"))
    start = len(content)
    return content + table({CONTENT: offset}) + trailer(size_of(content), start, prev=last_startxref(content))


def _page_for_one() -> bytes:
    """/Count says one page more than the tree has."""
    parts = objects_of_page()
    parts[2] = parts[2].replace(b"/Count 1", b"/Count 7")
    return signed_once(parts)


def _double_key() -> bytes:
    """A page dictionary has two entries for its content: the first counts for one reader, the last for another."""
    parts = objects_of_page()
    parts[3] = parts[3].replace(b"/Contents 4 0 R", b"/Contents 9 0 R /Contents 4 0 R")
    return signed_once(parts, extra={9: stream(text(FALSE_TEXT))})


def _bomb() -> bytes:
    """An object stream that unpacks to 134 megabytes."""
    content = signed_once()
    packed = zlib.compress(b"34 0 " + b" " * (1 << 27), 9)
    start = len(content)
    container = (
        b"35 0 obj\n" + stream(packed, b"/Type /ObjStm /N 1 /First 5 /Filter /FlateDecode ") + b"\nendobj\n"
    )
    place = start + len(container)
    rows = {3: (2, 35, 0), 35: (1, start, 0), 36: (1, place, 0)}
    data = b"".join(
        kind.to_bytes(1, "big") + offset.to_bytes(4, "big") + index.to_bytes(2, "big")
        for _, (kind, offset, index) in sorted(rows.items())
    )
    section = b"36 0 obj\n%s\nendobj\n" % stream(
        data,
        b"/Type /XRef /Size 37 /Root 1 0 R /W [1 4 2] /Index [3 1 35 2] /Prev %d " % last_startxref(content),
    )
    return content + container + section + b"startxref\n%d\n%%%%EOF\n" % place


def _saved_anew() -> bytes:
    with pikepdf.open(io.BytesIO(signed_once())) as pdf:
        stream_out = io.BytesIO()
        pdf.save(stream_out, deterministic_id=True)
    return stream_out.getvalue()


def _truncated() -> bytes:
    content = signed_once()
    return content[: content.rindex(b"startxref")]


def _version_in_root() -> bytes:
    """A revision changes only what the catalog says: an action that runs when the file is opened."""
    content = signed_once()
    found = re.search(rb"1 0 obj\n<< (.*?) >>\nendobj", content, re.DOTALL)
    assert found
    return updated(
        content, {1: b"<< %s /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> >>" % found[1]}
    )


_TRUE = {"shows": ("PAY 1000 VND",)}
_FALSE = {"shows": ("PAY 9999 VND",)}

ATTACKS = (
    Attack(
        "attacks/object-stream-clobber",
        "A revision with a cross-reference stream replaces the page from inside an object stream.",
        PARSERS,
        _clobbered,
        FAILED,
        ("verify.content-changed",),
        **_FALSE,
    ),
    Attack(
        "attacks/hybrid-reference",
        "A classic table for old readers, a stream for new ones: they see different pages.",
        PARSERS,
        _hybrid,
        UNSURE,
        ("verify.first-reader",),
    ),
    Attack(
        "attacks/two-startxrefs",
        "A revision with another amount, and behind it a startxref that leads past it.",
        PARSERS,
        _two_startxrefs,
        UNSURE,
    ),
    Attack(
        "attacks/eof-in-trailer",
        "The marks %%EOF inside a trailer, to fool readers that split revisions at it.",
        "iText before 9.8.1 (DEVSIX-10280, DEVSIX-10338)",
        _eof_in_trailer,
        FAILED,
        ("verify.content-changed",),
        **_FALSE,
    ),
    Attack(
        "attacks/eof-between-revisions",
        "A startxref and %%EOF of nobody between two signed revisions.",
        "iText before 9.8.1 (DEVSIX-10280, DEVSIX-10338)",
        _eof_in_signed_revision,
        UNSURE,
        ("verify.stray-bytes",),
        **_TRUE,
    ),
    Attack(
        "attacks/linearized-appended",
        "A revision with another amount says that the file is linearized.",
        "iText before 9.8.1 (DEVSIX-10280, DEVSIX-10338)",
        _linearized_appended,
        FAILED,
        ("verify.content-changed",),
        **_FALSE,
    ),
    Attack(
        "attacks/polyglot-zip",
        "Before the header there is the start of a ZIP file.",
        PARSERS,
        lambda: _polyglot(b"PK\x03\x04TEST\n"),
        UNSURE,
        ("verify.not-at-start",),
        **_TRUE,
    ),
    Attack(
        "attacks/polyglot-html",
        "Before the header there is a web page in a comment.",
        PARSERS,
        lambda: _polyglot(b"%<html><body>PAY 9999 VND</body></html>\n"),
        UNSURE,
        ("verify.not-at-start",),
        **_TRUE,
    ),
    Attack(
        "attacks/object-after-eof",
        "An object behind the end of the file.",
        PARSERS,
        lambda: signed_once() + body({38: stream(text(FALSE_TEXT))}, 0)[0],
        UNSURE,
        ("verify.stray-bytes",),
        importance="medium",
    ),
    Attack(
        "attacks/bytes-after-eof",
        "The whole file once more behind its end.",
        "ninja-labs verify-pdf, issue 108",
        lambda: signed_once() * 2,
        UNSURE,
        ("verify.stray-bytes",),
        importance="medium",
    ),
    Attack(
        "attacks/object-between-revisions",
        "An object that no table lists between two signed revisions.",
        PARSERS,
        _between_revisions,
        UNSURE,
        ("verify.stray-bytes",),
        **_TRUE,
    ),
    Attack(
        "attacks/object-inside-stream",
        "A table leads into a stream of the signed part, where another page content waits.",
        PARSERS,
        _overlapping_offsets,
        FAILED,
        ("verify.content-changed",),
        **_FALSE,
    ),
    Attack(
        "attacks/startxref-loop",
        "A cross-reference section that names itself as the one before.",
        "pypdf CVE-2026-22690 and the like",
        _loop,
        UNSURE,
        importance="medium",
    ),
    Attack(
        "attacks/page-count",
        "/Count promises pages that are not there.",
        PARSERS,
        _page_for_one,
        UNSURE,
        ("verify.page-count-wrong",),
        importance="medium",
    ),
    Attack(
        "attacks/double-key",
        "A page with two entries for its content.",
        PARSERS,
        _double_key,
        UNSURE,
    ),
    Attack(
        "attacks/bomb-object-stream",
        "An object stream of 134 megabytes.",
        "pyHanko 0.38 (decode limits); PDF bombs",
        _bomb,
        "UNREADABLE",
        ("verify.too-costly",),
        importance="medium",
    ),
    Attack(
        "attacks/saved-anew",
        "A signed file that a tool wrote anew.",
        "PdfSharp and others that rewrite the whole file",
        _saved_anew,
        FAILED,
        importance="medium",
        **_TRUE,
    ),
    Attack(
        "attacks/truncated",
        "The end of the file is missing.",
        PARSERS,
        _truncated,
        FAILED,
        importance="medium",
    ),
    Attack(
        "attacks/open-action",
        "After signing a script is added that runs when the file is opened.",
        "Rohlmann et al.: Breaking the Specification, IEEE S&P 2021 (code injection)",
        _version_in_root,
        FAILED,
        ("verify.content-changed",),
        **_TRUE,
    ),
)
