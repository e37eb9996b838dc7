"""Honest files of other producers: what they sign is not refused.

Poppler runs here. What LibreOffice, PDFBox and endesive write was tried by hand; docs/explanation/known-limits.md
says with which versions and what came out.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import signed_pdfs
from tests.second_tools import pdfsig
from tests.vectors import forging
from vnedoc.errors import DocumentError
from vnedoc.sign.models import Box, Placement, Role
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.sign.appearance import Picture
    from vnedoc.sign.report import FileReport
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer
    from vnedoc.testing.pki import TestPKI

POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
pytestmark = [pytest.mark.needs("pdfsig"), pytest.mark.needs("certutil")]


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def database(pki: TestPKI, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A key database of NSS with the keys of leader and agency."""
    folder = tmp_path_factory.mktemp("nss")
    name = f"sql:{folder}"
    run("certutil", "-N", "-d", name, "--empty-password")
    for number, identity in enumerate((pki.leader, pki.agency)):
        path = folder / f"{number}.p12"
        path.write_bytes(identity.pkcs12("TEST"))
        run("pk12util", "-i", str(path), "-d", name, "-W", "TEST")
    for number, certificate in enumerate(pki.ca_certificates):
        path = folder / f"{number}.der"
        path.write_bytes(certificate.public_bytes(Encoding.DER))
        run("certutil", "-A", "-d", name, "-n", f"ca{number}", "-t", "C,C,C", "-i", str(path))
    return name


def sign_with_poppler(database: str, source: Path, output: Path, nickname: str) -> None:
    command = ["pdfsig", "-nssdir", database, "-add-signature", "-nick", nickname, str(source), str(output)]
    # It complains about its own shutdown, and tells that as a failure; the file is what counts.
    subprocess.run(command, capture_output=True, timeout=60)
    assert output.exists()


def judge(path: Path, pki: TestPKI) -> FileReport:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    (report,) = verify_pdf(path, trust=trust, policy=POLICY).files
    return report


@pytest.mark.parametrize("source", [documents.document_bytes(documents.DECISION), signed_pdfs.blank()])
def test_poppler_signs_once_and_again(source: bytes, database: str, pki: TestPKI, tmp_path: Path) -> None:
    path, once, twice = (tmp_path / name for name in ("source.pdf", "once.pdf", "twice.pdf"))
    path.write_bytes(source)
    sign_with_poppler(database, path, once, "NGUYỄN VĂN TEST")
    assert judge(once, pki).conclusion is Conclusion.TOTAL_PASSED
    sign_with_poppler(database, once, twice, "ỦY BAN NHÂN DÂN TỈNH TEST")
    report = judge(twice, pki)
    assert [signature.conclusion for signature in report.signatures] == [Conclusion.TOTAL_PASSED] * 2
    assert report.conclusion is Conclusion.TOTAL_PASSED


@pytest.mark.parametrize("source", [documents.document_bytes(documents.DECISION), signed_pdfs.blank()])
def test_we_sign_after_poppler(
    source: bytes, database: str, pki: TestPKI, clerk: PKCS12Signer, seal_picture: Picture, tmp_path: Path
) -> None:
    path, once, twice = (tmp_path / name for name in ("source.pdf", "once.pdf", "twice.pdf"))
    path.write_bytes(source)
    sign_with_poppler(database, path, once, "NGUYỄN VĂN TEST")
    # Some of its objects have the generation 1, and no table frees an earlier one.
    assert re.search(rb"\n\d+ 1 obj", once.read_bytes())
    options = SigningOptions(
        role=Role.ISSUE,
        picture=seal_picture,
        seal_diameter_mm=36,
        placement=Placement(page=1, box=Box(20, 20, 110, 110)),
    )
    for target in (twice, twice):
        content = sign_pdf(once, signer=clerk, options=options).content
        assert content is not None
        target.write_bytes(content)
        once = target
    report = judge(twice, pki)
    assert [signature.conclusion for signature in report.signatures] == [Conclusion.TOTAL_PASSED] * 3
    assert report.readers_agree
    words = pdfsig(twice)
    assert words.count("Signature is Valid.") == 3


@pytest.mark.parametrize("generation", [1, 2])
def test_two_objects_of_one_number_are_not_signed(generation: int, clerk: PKCS12Signer) -> None:
    content = forging.signed_once()
    number, value = forging.CONTENT, forging.stream(forging.text(b"TEST"))
    start = len(content)
    added = b"%d %d obj\n%s\nendobj\n" % (number, generation, value)
    table = b"xref\n%d 1\n%010d %05d n \n" % (number, start, generation)
    end = forging.trailer(forging.size_of(content), start + len(added), prev=forging.last_startxref(content))
    with pytest.raises(DocumentError) as caught:
        sign_pdf(content + added + table + end, signer=clerk, options=SigningOptions(role=Role.INVISIBLE))
    assert caught.value.code == "pdf.broken"


def test_poppler_after_pyhanko(database: str, pki: TestPKI, tmp_path: Path) -> None:
    path, output = tmp_path / "source.pdf", tmp_path / "output.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.leader))
    sign_with_poppler(database, path, output, "ỦY BAN NHÂN DÂN TỈNH TEST")
    report = judge(output, pki)
    # Poppler 22.12 forgets the fields that were there before: the first signature is no longer in the form.
    assert report.conclusion is not Conclusion.UNREADABLE
    assert len(report.signatures) == 2


def test_an_object_with_a_later_generation_cannot_replace_one(pki: TestPKI) -> None:
    # What Poppler's files are allowed, a new object of generation 1, must not be a way to have two of one number.
    content = forging.signed_once()
    start = len(content)
    added, offsets = forging.body({forging.CONTENT: forging.stream(forging.text(forging.FALSE_TEXT))}, start)
    table = forging.table(offsets).replace(b" 00000 n", b" 00001 n")
    tail = forging.trailer(9, start + len(added), prev=forging.last_startxref(content))
    forged = content + added.replace(b"4 0 obj", b"4 1 obj") + table + tail
    (report,) = verify_pdf(
        forged, trust=TrustStore.from_certificates(pki.ca_certificates), policy=POLICY
    ).files
    assert "verify.first-reader" in {error.id for error in report.errors}
    assert report.conclusion is not Conclusion.TOTAL_PASSED
