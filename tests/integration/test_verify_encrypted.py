"""Signed files that are encrypted: a verdict in full for who has the password, and the same attacks answered."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pikepdf
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter

from tests import signed_pdfs
from tests.cli import vnedoc
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Changes, Conclusion, FileReport
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

POLICY = Policy(revocation=RevocationRule.IGNORE)
WORD = "TEST mở"


def encrypted(revision: int = 6, user: str = WORD) -> bytes:
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(signed_pdfs.blank())) as pdf:
        how = pikepdf.Encryption(
            owner="TEST owner", user=user, R=revision, aes=revision >= 4, metadata=revision >= 4
        )
        pdf.save(stream, encryption=how)
    return stream.getvalue()


def signed(content: bytes, pki: TestPKI, *, user: str = WORD, count: int = 2) -> bytes:
    for number, identity in enumerate((pki.leader, pki.agency)[:count], start=1):
        writer = IncrementalPdfFileWriter(io.BytesIO(content))
        writer.encrypt(user)
        metadata = signers.PdfSignatureMetadata(
            field_name=f"S{number}", subfilter=SigSeedSubFilter.PADES, reason="Lý do TEST"
        )
        spec = SigFieldSpec(f"S{number}", box=(100 * number, 100, 100 * number + 80, 150))
        signer = signers.PdfSigner(metadata, signed_pdfs.signer_of(identity), new_field_spec=spec)
        content = signer.sign_pdf(writer).getvalue()
    return content


def judged(content: bytes, pki: TestPKI, word: str | None = WORD) -> FileReport:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    password = None if word is None else lambda _path: word
    return verify_pdf(content, trust=trust, policy=POLICY, password=password).files[0]


@pytest.mark.parametrize("revision", [3, 4, 6])
def test_who_has_the_password_gets_the_verdict_in_full(pki: TestPKI, revision: int) -> None:
    word = "TEST" if revision < 6 else WORD
    content = signed(encrypted(revision, word), pki, user=word)
    report = judged(content, pki, word)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()
    assert report.readers_agree
    first, last = report.signatures
    assert (first.changes_after, last.changes_after) == (Changes.SIGNATURES, Changes.NONE)
    # What the dictionary says is encrypted, too.
    assert first.signing_time is not None
    assert first.box == (1, "100,100,80,50")


@pytest.mark.parametrize(
    ("word", "finding"), [(None, "verify.encrypted"), ("other", "verify.wrong-password")]
)
def test_who_has_not_learns_nothing(pki: TestPKI, word: str | None, finding: str) -> None:
    report = judged(signed(encrypted(), pki), pki, word)
    assert (report.conclusion, report.signatures) == (Conclusion.UNREADABLE, ())
    assert [error.id for error in report.errors] == [finding]


@pytest.mark.parametrize("word", [None, "not needed"])
def test_what_every_reader_opens_needs_no_password(pki: TestPKI, word: str | None) -> None:
    report = judged(signed(encrypted(user=""), pki, user=""), pki, word)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()


def revised(content: bytes, change: Callable[[IncrementalPdfFileWriter], None]) -> bytes:
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    writer.encrypt(WORD)
    change(writer)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


@pytest.mark.parametrize("change", [signed_pdfs.change_content, signed_pdfs.add_annotation])
def test_a_change_afterwards_is_found(
    pki: TestPKI, change: Callable[[IncrementalPdfFileWriter], None]
) -> None:
    report = judged(revised(signed(encrypted(), pki), change), pki)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert report.signatures[-1].changes_after in {Changes.CONTENT, Changes.ANNOTATIONS}


def test_a_flipped_bit_is_found(pki: TestPKI) -> None:
    content = signed(encrypted(), pki, count=1)
    place = content.index(b"stream\n") + 20
    broken = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    assert judged(broken, pki).signatures[0].sub_indication == "HASH_FAILURE"


def test_another_encryption_afterwards_is_found(pki: TestPKI) -> None:
    """A later /Encrypt decides how the signed objects read."""

    def change(writer: IncrementalPdfFileWriter) -> None:
        writer.add_object(generic.TextStringObject("TEST"))

    content = revised(signed(encrypted(), pki), change)
    place = content.rindex(b"/Encrypt ")
    number = re.match(rb"/Encrypt (\d+) 0 R", content[place:])
    assert number is not None
    # One more revision writes that dictionary anew: strings are said not to be encrypted.
    start = content.rindex(b"\n" + number[1] + b" 0 obj", 0, place) + 1
    own = content[start : content.index(b"endobj", start) + 6]
    assert b"/StrF" in own
    changed = own.replace(b"/StrF /StdCF", b"/StrF /Identity")
    assert changed != own
    xref = content.rindex(b"startxref")
    section = int(content[xref + 9 :].split()[0])
    added = content + b"\n"
    offset = len(added)
    trailer = content[content.rindex(b"trailer") :].split(b"startxref")[0]
    trailer = re.sub(rb"/Prev \d+", b"/Prev %d" % section, trailer)
    added += changed + b"\n"
    table = len(added)
    added += b"xref\n%d 1\n%010d 00000 n \n" % (int(number[1]), offset)
    added += trailer + b"startxref\n%d\n%%%%EOF\n" % table
    report = judged(added, pki)
    assert report.conclusion is not Conclusion.TOTAL_PASSED
    errors = {error.id for error in report.all_errors()}
    assert "verify.encryption-changed" in errors or not report.readers_agree


def test_the_command_reads_the_password_from_a_variable(
    pki: TestPKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plain, roots = tmp_path / "locked.pdf", tmp_path / "plain.pdf", tmp_path / "roots"
    path.write_bytes(signed(encrypted(), pki))
    plain.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    roots.mkdir()
    from cryptography.hazmat.primitives.serialization import Encoding

    for number, certificate in enumerate(pki.ca_certificates):
        (roots / f"{number}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'schema = "vnedoc.policy/1"\nname = "test"\n[demands]\nrevocation = "ignore"\n', encoding="utf-8"
    )
    asked = ("verify", "--trust", roots, "--policy", policy, "--offline")
    assert vnedoc(*asked, path).code == 4
    monkeypatch.setenv("TEST_WORD", WORD)
    named = (*asked, "--document-password-env", "TEST_WORD")
    assert vnedoc(*named, path, plain, "--jobs", 2).code == 0
    page = vnedoc(*named, path, "--format", "html")
    assert page.code == 0
    assert "data:image/png" in page.out
    assert WORD not in page.out + page.err
    assert vnedoc(*named, path, "--evidence", tmp_path / "kept").code == 0
    assert WORD.encode() not in b"".join(
        part.read_bytes() for part in (tmp_path / "kept").rglob("*") if part.is_file()
    )
    replayed = ("verify", path, "--from-evidence", tmp_path / "kept")
    assert vnedoc(*replayed).code == 4
    assert vnedoc(*replayed, "--document-password-env", "TEST_WORD").code == 0
    monkeypatch.setenv("TEST_WORD", "other")
    assert vnedoc(*named, path).code == 4
    monkeypatch.delenv("TEST_WORD")
    assert vnedoc(*named, path).code == 5
