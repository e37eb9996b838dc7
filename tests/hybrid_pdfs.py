"""Hybrid-reference files as Word writes them, and some that lie (ISO 32000-2, 7.5.8.4).

A classic table lists what every reader sees and calls the rest free; a second, empty table names a stream that lists
everything, and the rest in an object stream.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

import pikepdf

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["hybrid", "structure_numbers", "with_second_table"]


def structure_numbers(content: bytes) -> set[int]:
    """Return the numbers of the objects that only the structure tree leads to."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        seen = _reached(pdf, without={"/StructTreeRoot"})
        return {
            item.objgen[0]
            for item in pdf.objects
            if isinstance(item, pikepdf.Dictionary | pikepdf.Array) and item.objgen[0] not in seen
        } & _reached(pdf, without=set())


def _reached(pdf: pikepdf.Pdf, *, without: set[str]) -> set[int]:
    found: set[int] = {pdf.Root.objgen[0]}
    waiting = [pdf.Root.get(key) for key in pdf.Root.keys() - without]
    while waiting:
        item = waiting.pop()
        if not isinstance(item, pikepdf.Object):
            continue
        if item.objgen[0]:
            if item.objgen[0] in found:
                continue
            found.add(item.objgen[0])
        if isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            waiting += [item.get(key) for key in item.keys()]  # noqa: SIM118 - no mapping
        elif isinstance(item, pikepdf.Array):
            waiting += list(item)
    return found


def hybrid(
    content: bytes,
    *,
    hidden: set[int] | None = None,
    redefined: Mapping[int, bytes] | None = None,
    free_generation: int = 65535,
) -> bytes:
    """Return a document as a hybrid-reference file.

    Args:
        content: The document.
        hidden: Numbers of the objects that only the stream lists; ``None``: the structure tree.
        redefined: Other values, by number, that the stream has for objects of the table.
        free_generation: What the table says of hidden objects.
    """
    hidden = structure_numbers(content) if hidden is None else hidden
    redefined = {} if redefined is None else redefined
    with pikepdf.open(io.BytesIO(content)) as pdf:
        values = {
            item.objgen[0]: _text(item)
            for item in pdf.objects
            if isinstance(item, pikepdf.Object) and item.objgen[0]
        }
        root = pdf.Root.objgen[0]
    highest = max(values)
    packed, cross, size = highest + 1, highest + 2, highest + 3
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    rows: dict[int, tuple[int, int, int]] = {}
    for number, value in sorted(values.items()):
        if number not in hidden:
            rows[number] = (1, len(out), 0)
            out += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    table_at = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        if number in rows:
            out += b"%010d 00000 n \n" % rows[number][1]
        else:
            out += b"%010d %05d f \n" % (0, free_generation)
    out += b"trailer\n<< /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, root, table_at)
    compressed = {number: values[number] for number in sorted(hidden)} | dict(redefined)
    head, body = b"", b""
    for index, (number, value) in enumerate(compressed.items()):
        head += b"%d %d " % (number, len(body))
        body += value + b" "
        rows[number] = (2, packed, index)
    rows[packed] = (1, len(out), 0)
    stream = zlib.compress(head + body)
    entries = b"/Type /ObjStm /N %d /First %d /Filter /FlateDecode" % (len(compressed), len(head))
    out += _stream(packed, entries, stream)
    stream_at = len(out)
    data = b"".join(
        kind.to_bytes(1, "big") + place.to_bytes(4, "big") + index.to_bytes(2, "big")
        for number in range(1, size - 1)
        for kind, place, index in [rows.get(number, (0, 0, 0))]
    )
    entries = b"/Type /XRef /Size %d /Index [1 %d] /W [1 4 2] /Root %d 0 R" % (size, size - 2, root)
    out += _stream(cross, entries, data)
    second_at = len(out)
    out += b"xref\n0 0\ntrailer\n<< /Size %d /Root %d 0 R /Prev %d /XRefStm %d >>\nstartxref\n%d\n%%%%EOF\n" % (
        size, root, table_at, stream_at, second_at
    )  # fmt: skip
    return bytes(out)


def _text(item: pikepdf.Object) -> bytes:
    if isinstance(item, pikepdf.Stream):
        raw = item.read_raw_bytes()
        # What stands for the dictionary of a stream is the stream; its length goes with it.
        entries = b" ".join(
            key.encode() + b" " + _value(item.get(key))
            for key in item.keys()  # noqa: SIM118 - no mapping
            if key != "/Length"
        )
        return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(raw), raw)
    return item.unparse(resolved=True)


def _stream(number: int, entries: bytes, data: bytes) -> bytes:
    return b"%d 0 obj\n<< %s /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (
        number,
        entries,
        len(data),
        data,
    )


def _value(item: object) -> bytes:
    if isinstance(item, pikepdf.Object):
        return item.unparse()
    return pikepdf.Array([item]).unparse()[1:-1].strip()


def with_second_table(content: bytes) -> bytes:
    """Append to a plain file an empty table and a stream that lists only itself."""
    last = int(content.rsplit(b"startxref", 1)[1].split()[0])
    with pikepdf.open(io.BytesIO(content)) as pdf:
        size, root = int(pdf.trailer.Size), pdf.Root.objgen[0]
    stream_at = len(content)
    entry = bytes((1,)) + stream_at.to_bytes(4, "big") + bytes(2)
    stream = _stream(size, b"/Type /XRef /Size %d /Index [%d 1] /W [1 4 2]" % (size + 1, size), entry)
    end = b"xref\n0 0\ntrailer\n<< /Size %d /Root %d 0 R /Prev %d /XRefStm %d >>\nstartxref\n%d\n%%%%EOF\n" % (
        size + 1, root, last, stream_at, stream_at + len(stream)
    )  # fmt: skip
    return content + stream + end
