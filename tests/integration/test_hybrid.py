"""Hybrid-reference files: signed where both kinds of readers see one document, refused where they do not."""

import dataclasses
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter

from tests.hybrid_pdfs import hybrid, structure_numbers, with_second_table
from tests.second_tools import assert_sound, pdfsig
from tests.signed_pdfs import blank, signer_of
from vnedoc.errors import DocumentError
from vnedoc.sign.models import Role, SignatureLevel
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, FileReport
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

DECISION = documents.document_bytes(documents.DECISION)
INVISIBLE = SigningOptions(role=Role.INVISIBLE)
POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE)


def _sign(source: bytes, signer: Signer, options: SigningOptions) -> bytes:
    content = sign_pdf(source, signer=signer, options=options).content
    assert content is not None
    return content


def _report(content: bytes, pki: TestPKI) -> FileReport:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    (file,) = verify_pdf(content, trust=trust, policy=POLICY).files
    return file


def _plain(content: bytes) -> bytes:
    output = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(output, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return output.getvalue()


HONEST: dict[str, Callable[[], bytes]] = {
    "as Word writes them": lambda: hybrid(DECISION),
    "free entries of generation 0": lambda: hybrid(DECISION, free_generation=0),
    "nothing hidden": lambda: hybrid(DECISION, hidden=set()),
    "a second table at the end": lambda: with_second_table(_plain(DECISION)),
}


@pytest.mark.needs("qpdf")
@pytest.mark.needs("pdfsig")
@pytest.mark.needs("pdftotext")
@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_one_is_signed_and_verified(
    pki: TestPKI,
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    approve_options: SigningOptions,
    issue_options: SigningOptions,
    tmp_path: Path,
    kind: str,
) -> None:
    source, path = HONEST[kind](), tmp_path / "issued.pdf"
    content = _sign(_sign(source, leader, approve_options), clerk, issue_options)
    assert content.startswith(source)
    # The new revisions are plain tables, which both kinds of readers follow.
    assert b"/XRefStm" not in content[len(source) :]
    path.write_bytes(content)
    assert_sound(path)
    words = pdfsig(path)
    assert words.count("Signature is Valid.") == 2
    assert words.count("Total document signed") == 1
    file = _report(content, pki)
    assert file.conclusion is Conclusion.TOTAL_PASSED, file
    assert file.readers_agree
    texts = []
    for old_reader in (False, True):
        with pikepdf.open(path, ignore_xref_streams=old_reader) as pdf:
            names = [str(field.T) for field in pdf.Root.AcroForm.Fields if "/V" in field]
            assert {"vnedoc-approve-1", "vnedoc-issue-1", "vnedoc-number"} <= set(names)
            saved = tmp_path / f"{old_reader}.pdf"
            pdf.save(saved)
            # Only the structure is hidden from old readers.
            assert (pdf.Root.get("/StructTreeRoot") is None) is (old_reader and "Word" in kind) or (
                kind == "free entries of generation 0"
            )
        command = ["pdftotext", saved, "-"]
        texts.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert texts[0] == texts[1]
    assert "07" in texts[0]


def test_long_term_data_and_a_document_time_stamp(
    pki: TestPKI, leader: PKCS12Signer, approve_options: SigningOptions
) -> None:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    with TimestampClient([pki.tsa_url]) as client, RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        options = dataclasses.replace(
            approve_options, level=SignatureLevel.B_LTA, timestamps=client, trust=trust, revocation=source
        )
        (file,) = verify_pdf(_sign(hybrid(DECISION), leader, options), trust=trust, revocation=source).files
    assert file.conclusion is Conclusion.TOTAL_PASSED
    assert [str(signature.level) for signature in file.signatures] == ["PAdES-B-LTA", "document-timestamp"]


def _number_of(find: Callable[[pikepdf.Pdf], pikepdf.Object]) -> int:
    with pikepdf.open(io.BytesIO(DECISION)) as pdf:
        return int(find(pdf).objgen[0])


def _hidden_font() -> set[int]:
    fonts = _number_of(
        lambda pdf: pdf.pages[0].Resources.Font["/" + min(pdf.pages[0].Resources.Font.keys())[1:]]
    )
    return structure_numbers(DECISION) | {fonts}


def _other_page() -> bytes:
    with pikepdf.open(io.BytesIO(DECISION)) as pdf:
        page = pdf.pages[0].obj
        page.Contents = pdf.pages[1].obj.Contents
        return page.unparse(resolved=True)


def _redefined() -> bytes:
    return hybrid(DECISION, redefined={_number_of(lambda pdf: pdf.pages[0].obj): _other_page()})


def _uncovered() -> bytes:
    """Later on, a table lists what only new readers saw before: old readers then see something new."""
    writer = IncrementalPdfFileWriter(io.BytesIO(hybrid(DECISION, hidden=_hidden_font())), strict=False)
    font = _number_of(
        lambda pdf: pdf.pages[0].Resources.Font["/" + min(pdf.pages[0].Resources.Font.keys())[1:]]
    )
    writer.mark_update(generic.Reference(font, 0, writer))
    return _written(writer)


def _stream_later() -> bytes:
    writer = IncrementalPdfFileWriter(io.BytesIO(hybrid(DECISION)))
    writer.stream_xrefs = True
    writer.update_root()
    return _written(writer)


def _written(writer: IncrementalPdfFileWriter) -> bytes:
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "another page for new readers": (_redefined, "pdf.hybrid-redefined"),
    "a font that old readers lack": (lambda: hybrid(DECISION, hidden=_hidden_font()), "pdf.hybrid-hidden"),
    "a font that old readers get later": (_uncovered, "pdf.hybrid-hidden"),
    "freed, not hidden": (lambda: hybrid(DECISION, free_generation=1), "pdf.hybrid-mixed"),
    "a stream in place of the last table": (_stream_later, "pdf.hybrid-mixed"),
}


@pytest.mark.parametrize("lie", LIES)
def test_one_that_is_two_documents_is_refused(pki: TestPKI, leader: PKCS12Signer, lie: str) -> None:
    make, code = LIES[lie]
    content = make()
    with pytest.raises(DocumentError) as caught:
        _sign(content, leader, INVISIBLE)
    assert caught.value.code == code
    assert "qpdf" in (caught.value.hint("vi") or "")
    # Signed by a careless tool, it does not pass.
    output = io.BytesIO()
    signers.PdfSigner(
        signers.PdfSignatureMetadata(
            field_name="Signature1", subfilter=SigSeedSubFilter.PADES, md_algorithm="sha256"
        ),
        signer_of(pki.leader),
        new_field_spec=SigFieldSpec("Signature1"),
    ).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(content), strict=False), output=output, bytes_reserved=16384
    )
    file = _report(output.getvalue(), pki)
    assert file.conclusion is not Conclusion.TOTAL_PASSED
    assert "verify.first-reader" in [finding.id for finding in file.errors]


def test_what_the_hint_says_helps(leader: PKCS12Signer) -> None:
    assert _sign(_plain(_redefined()), leader, INVISIBLE)


def test_a_second_table_behind_a_signature(pki: TestPKI, leader: PKCS12Signer, clerk: PKCS12Signer) -> None:
    content = with_second_table(_sign(blank(), leader, INVISIBLE))
    with pytest.raises(DocumentError) as caught:
        _sign(content, clerk, INVISIBLE)
    assert caught.value.code == "pdf.hybrid-after-signature"
    file = _report(content, pki)
    assert file.conclusion is Conclusion.INDETERMINATE
    assert "verify.first-reader" in [finding.id for finding in file.errors]
