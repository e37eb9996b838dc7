"""PDFs signed by stock pyHanko, and what may be done to them afterwards: the material of the verification tests."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pikepdf
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.timestamps import HTTPTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.testing.pki import Identity

BOX = (100, 100, 200, 150)


def blank(pages: int = 2, *, text_field: str | None = None) -> bytes:
    """Return a PDF of empty pages, on request with a text field."""
    pdf = pikepdf.new()
    for _ in range(pages):
        pdf.add_blank_page(page_size=(595, 842))
    pdf.pages[0].Contents = pdf.make_stream(b"BT /F1 12 Tf 72 700 Td (TEST) Tj ET")
    if text_field is not None:
        field = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot,
                Subtype=pikepdf.Name.Widget,
                FT=pikepdf.Name.Tx,
                T=text_field,
                V="",
                Rect=[300, 700, 400, 720],
                F=4,
                P=pdf.pages[0].obj,
                DA="/Helv 10 Tf 0 g",
            )
        )
        pdf.pages[0].Annots = pikepdf.Array([field])
        pdf.Root.AcroForm = pdf.make_indirect(pikepdf.Dictionary(Fields=[field], DA="/Helv 10 Tf 0 g"))
    return saved(pdf)


def saved(pdf: pikepdf.Pdf, **options: Any) -> bytes:
    """Return the bytes of a PDF."""
    stream = io.BytesIO()
    pdf.save(stream, **{"compress_streams": False, **options})
    return stream.getvalue()


def signer_of(identity: Identity, *, pss: bool = False) -> signers.SimpleSigner:
    """Return pyHanko's signer for an identity; like government tools it embeds only the signer's certificate."""
    return signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(identity.certificate.public_bytes(Encoding.DER)),
        signing_key=asn1_keys.PrivateKeyInfo.load(
            identity.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        ),
        cert_registry=SimpleCertificateStore(),
        prefer_pss=pss,
        embed_roots=False,
    )


def sign(
    content: bytes,
    identity: Identity,
    field: str = "Signature1",
    *,
    box: tuple[int, int, int, int] | None = BOX,
    subfilter: SigSeedSubFilter = SigSeedSubFilter.PADES,
    pss: bool = False,
    digest: str = "sha256",
    tsa_url: str | None = None,
    certify: bool = False,
    before: Callable[[IncrementalPdfFileWriter], None] | None = None,
    **metadata: Any,
) -> bytes:
    """Sign as stock pyHanko does, in a revision of its own."""
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    if before is not None:
        before(writer)
    output = io.BytesIO()
    signers.PdfSigner(
        signers.PdfSignatureMetadata(
            field_name=field, subfilter=subfilter, md_algorithm=digest, certify=certify, **metadata
        ),
        signer_of(identity, pss=pss),
        new_field_spec=SigFieldSpec(field, on_page=0, box=box),
        timestamper=HTTPTimeStamper(tsa_url) if tsa_url is not None else None,
    ).sign_pdf(writer, output=output, bytes_reserved=16384)
    return output.getvalue()


def add_document_timestamp(content: bytes, tsa_url: str, field: str = "Timestamp1") -> bytes:
    """Add a document time-stamp in a revision of its own."""
    output = io.BytesIO()
    signers.PdfTimeStamper(HTTPTimeStamper(tsa_url), field_name=field).timestamp_pdf(
        IncrementalPdfFileWriter(io.BytesIO(content)), "sha256", output=output, bytes_reserved=16384
    )
    return output.getvalue()


def revised(content: bytes, change: Callable[[IncrementalPdfFileWriter], None]) -> bytes:
    """Append a revision with a change."""
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    change(writer)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


def change_content(writer: IncrementalPdfFileWriter) -> None:
    """Put other text on page 1."""
    page = writer.root["/Pages"]["/Kids"][0]
    page[generic.pdf_name("/Contents")] = writer.add_object(
        generic.StreamObject(stream_data=b"BT /F1 12 Tf 72 700 Td (OTHER) Tj ET")
    )
    writer.mark_update(writer.root["/Pages"]["/Kids"].raw_get(0))


def add_annotation(writer: IncrementalPdfFileWriter) -> None:
    """Put a note on page 1."""
    page = writer.root["/Pages"]["/Kids"][0]
    note = writer.add_object(
        generic.DictionaryObject(
            {
                generic.pdf_name("/Type"): generic.pdf_name("/Annot"),
                generic.pdf_name("/Subtype"): generic.pdf_name("/FreeText"),
                generic.pdf_name("/Rect"): generic.ArrayObject(map(generic.NumberObject, (10, 10, 90, 90))),
                generic.pdf_name("/Contents"): generic.pdf_string("TEST"),
            }
        )
    )
    annotations = page["/Annots"] if "/Annots" in page else generic.ArrayObject()
    page[generic.pdf_name("/Annots")] = generic.ArrayObject([*annotations, note])
    writer.mark_update(writer.root["/Pages"]["/Kids"].raw_get(0))


def fill(value: str) -> Callable[[IncrementalPdfFileWriter], None]:
    """Return a change that fills the first text field."""

    def change(writer: IncrementalPdfFileWriter) -> None:
        for reference in writer.root["/AcroForm"]["/Fields"]:
            field = reference.get_object()
            if field.get("/FT") == "/Tx":
                field[generic.pdf_name("/V")] = generic.pdf_string(value)
                writer.mark_update(reference)

    return change


def last_signature(content: bytes) -> re.Match[bytes]:
    """Return where the Contents of the last signature stands; group 1 are its digits."""
    *_, match = re.finditer(rb"/Contents <([0-9A-Fa-f]{1000,})>", content)
    return match


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes that occur once by as many others."""
    assert content.count(old) == 1
    assert len(old) == len(new)
    return content.replace(old, new)
