"""Tables, names and references read at once give what pyHanko's own reader gives, entry by entry, error by error."""

import io
import random
import re

import pytest
from pyhanko.pdf_utils import generic, xref
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader

from vnedoc.sign._pyhanko import tables, tokens
from vnedoc.testing import documents

LINE, FREE = b"0000000016 00000 n \n", b"0000000000 65535 f \n"
TABLES = {
    "one section": b"\n0 2\n" + FREE + LINE + b"trailer\n<<",
    "two sections": b"\n0 1\n" + FREE + b"7 2\n" + LINE * 2 + b"trailer <<",
    "CRLF": b"\r\n0 2\r\n0000000000 65535 f\r\n0000000016 00000 n\r\ntrailer\r\n<<",
    "a comment before the trailer": b"\n0 1\n" + FREE + b"% TEST\ntrailer\n<<",
    "nothing": b"\n0 0\ntrailer\n<<",
    "short lines": b"\n0 2\n0000000000 65535 f\n0000000016 00000 n\ntrailer\n<<",
    "long lines": b"\n0 2\n0000000000 65535 f \r\n0000000016 00000 n \r\ntrailer\n<<",
    "spaces": b"\n 0   2 \n" + FREE + LINE + b"trailer\n<<",
    "another mark": b"\n0 2\n" + FREE + b"0000000016 00000 x \ntrailer\n<<",
    "letters": b"\n0 2\n" + FREE + b"00000000AB 00000 n \ntrailer\n<<",
    "more promised than there is": b"\n0 9\n" + FREE + LINE + b"trailer\n<<",
    "less promised than there is": b"\n0 1\n" + FREE + LINE + b"trailer\n<<",
    "far too many": b"\n0 9999999\n" + FREE + b"trailer\n<<",
    "no trailer": b"\n0 1\n" + FREE,
    "the second section is odd": b"\n0 1\n" + FREE + b"7 1\n0000000016 00000 n\ntrailer\n<<",
    "empty": b"",
}


def _read(reader: object, content: bytes, *, strict: bool) -> tuple[list[tuple[object, ...]], object]:
    """Return the entries, and how it ended: where the stream stands, or the error."""
    stream = io.BytesIO(content)
    found: list[tuple[object, ...]] = []
    try:
        for entry in reader(stream, strict):  # type: ignore[operator] # one of two functions
            found.append((entry.xref_type, entry.location, entry.idnum, entry.generation))  # noqa: PERF401
    except (PdfError, ValueError, IndexError, TypeError) as exc:
        return found, type(exc)
    return found, stream.tell()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("table", TABLES)
def test_every_table_reads_the_same(table: str, strict: bool) -> None:
    content = TABLES[table]
    expected = _read(tables._read_by_pyhanko, content, strict=strict)
    assert _read(tables.parse_table, content, strict=strict) == expected
    if table == "one section":
        assert len(expected[0]) == 2


def test_damaged_tables_read_the_same() -> None:
    chance = random.Random(20)
    whole = b"\n0 3\n" + FREE + LINE * 2 + b"9 1\n" + LINE + b"trailer\n<<"
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(damaged))
            match chance.randrange(3):
                case 0:
                    damaged[place] = chance.choice(b"0 \n\rnftx%-9")
                case 1:
                    del damaged[place]
                case _:
                    damaged.insert(place, chance.choice(b"0 \n\rn"))
        content = bytes(damaged)
        expected = _read(tables._read_by_pyhanko, content, strict=True)
        assert _read(tables.parse_table, content, strict=True) == expected, content


def test_pyhanko_reads_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Should pyHanko look for its tables in another way, this says so.
    assert xref.parse_xref_table is tables.parse_table
    content = documents.document_bytes(documents.DECISION)
    reader = PdfFileReader(io.BytesIO(content))
    quick = reader.xrefs.get_xref_data(0).standard_xrefs
    assert len(quick) == len(re.findall(rb"\n\d+ 0 obj", content))
    asked = []
    monkeypatch.setattr(tables, "_section", asked.append)
    slow = PdfFileReader(io.BytesIO(content)).xrefs.get_xref_data(0).standard_xrefs
    assert asked
    assert slow == quick


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"Type",
        b"A#20B",
        b"#23",
        b"A#2",
        b"A#",
        b"A#ZZ",
        b"A B",
        b"T\xc3\xadn",
        b"T#C3#ADn",
        b"#FF",
        b"a" * 500,
    ],
)
def test_every_name_reads_and_writes_the_same(encoded: bytes) -> None:
    found = []
    for read in (tokens._decode_by_pyhanko, generic._decode_name, generic._decode_name):
        try:
            name = read(encoded)
        except PdfError as exc:
            found.append((type(exc), str(exc)))
            continue
        written = io.BytesIO(), io.BytesIO()
        tokens._write_by_pyhanko(name, written[0])
        name.write_to_stream(written[1])
        assert written[0].getvalue() == written[1].getvalue()
        found.append((type(name), str(name)))
    assert len(set(found)) == 1


def test_a_name_is_not_shared_between_files() -> None:
    first, second = (generic.NameObject.read_from_stream(io.BytesIO(b"/TEST ")) for _ in range(2))
    assert first == second
    assert first is not second
    first.container_ref = "somewhere"
    assert second.container_ref is None


@pytest.mark.parametrize("text", ["TEST", "", "Tên"])
def test_what_is_no_name_is_still_refused(text: str) -> None:
    for write in (tokens._write_by_pyhanko, tokens._write):
        with pytest.raises((PdfError, StopIteration)):
            write(generic.NameObject(text), io.BytesIO())


@pytest.mark.parametrize(
    "encoded",
    [
        b"12 0 R ", b"12 0 R]", b"1234567890 65535 R", b"12  0 R ", b"12 0  R ", b"12\r0\nR", b"12\r\n0 R", b"0 0 R ",
        b"012 0 R ", b"12 0 ", b"12", b"", b"12 0 X", b"12 0 %TEST\nR ", b"12345678901 0 R ", b"1 123456 R",
        b"-1 0 R", b" 12 0 R",
    ],
)  # fmt: skip
def test_every_reference_reads_the_same(encoded: bytes) -> None:
    holder = generic.TrailerReference(None)
    found = []
    for read in (tokens._refer_by_pyhanko, generic.IndirectObject.read_from_stream):
        stream = io.BytesIO(encoded)
        try:
            reference = read(stream, holder)
        except (PdfError, ValueError) as exc:
            found.append((type(exc), "refused"))
            continue
        found.append((reference.idnum, reference.generation, stream.tell()))
    assert found[0] == found[1]
    assert generic.IndirectObject.read_from_stream is not tokens._refer_by_pyhanko
