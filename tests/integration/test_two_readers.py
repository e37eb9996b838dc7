"""Both readers, and the shortcut of the first one, read the same out of the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from tests import signed_pdfs
from vnedoc.errors import DocumentError
from vnedoc.sign._pyhanko.reading import open_reader, read_with_pyhanko
from vnedoc.sign._qpdf import read_with_qpdf
from vnedoc.sign._structure import EncodedLengthError, encoded_length, same_signatures

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI


@pytest.fixture(scope="module")
def signed(pki: TestPKI) -> bytes:
    first = signed_pdfs.sign(signed_pdfs.blank(text_field="Số"), pki.leader, "Chữ ký")
    return signed_pdfs.sign(first, pki.agency, "Con dấu", box=None, reason="(/Contents <" + "ab" * 200 + ">)")


def test_they_agree_on_a_good_file(signed: bytes) -> None:
    one, two = read_with_pyhanko(open_reader(signed)), read_with_qpdf(signed)
    assert one.pages == two.pages == 2
    assert same_signatures(one.signatures, two.signatures)
    assert one.signature_field_names == two.signature_field_names == {"Chữ ký", "Con dấu"}
    assert not two.complaints
    assert [field.box is not None for field in two.signatures] == [True, False]


def test_the_shortcut_reads_what_stock_pyhanko_reads(signed: bytes) -> None:
    # The second signature carries a text that looks like its Contents.
    stock = PdfFileReader(io.BytesIO(signed))
    own = open_reader(signed)
    for field in read_with_pyhanko(own).signatures:
        assert field.value_id is not None
        from pyhanko.pdf_utils.generic import Reference

        expected = stock.get_object(Reference(*field.value_id, stock))
        found = own.get_object(Reference(*field.value_id, own))
        assert found.keys() == expected.keys()
        for key in expected:
            assert repr(found.raw_get(key)) == repr(expected.raw_get(key))
        assert field.contents == expected["/Contents"].original_bytes


def test_boxes_are_as_shown(pki: TestPKI) -> None:
    import pikepdf

    for rotation, expected in ((0, "90,80,100,50"), (90, "80,350,50,100"), (180, "350,550,100,50")):
        with pikepdf.open(io.BytesIO(signed_pdfs.blank())) as pdf:
            pdf.pages[0].Rotate = rotation
            pdf.pages[0].CropBox = [10, 20, 550, 700]
            content = signed_pdfs.saved(pdf)
        reading = read_with_qpdf(signed_pdfs.sign(content, pki.agency))
        assert reading.signatures[0].box == (1, expected)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\n%%EOF", b"\0" * 99])
def test_they_refuse_with_an_error_of_ours(content: bytes) -> None:
    with pytest.raises(DocumentError):
        open_reader(content)
    with pytest.raises(DocumentError):
        read_with_qpdf(content)


def test_endless_nesting_ends() -> None:
    with pytest.raises(EncodedLengthError):
        encoded_length(b"\x30\x80" * 200_000)
