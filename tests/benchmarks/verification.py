"""Verifying small signed PDFs offline: signed once, and three times in a chain. The other is stock pyHanko.

Both get the same trust and the same CRLs, and both look at what was changed after each signature. vnedoc also reads
the file with a second reader, checks every byte, and draws the pages that later revisions touched.
"""

from __future__ import annotations

import datetime
import io
from typing import TYPE_CHECKING

from tests.benchmarks.harness import Measure, measure, print_table
from vnedoc.testing import documents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HERE = "tests.benchmarks.verification"


def prepare(folder: Path) -> None:
    """Make the material."""
    from vnedoc.sign.models import Role
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer
    from vnedoc.sign.signing import sign_pdf
    from vnedoc.testing.pki import TestPKI

    pki = TestPKI.load(folder, passphrase="TEST")
    now = pki.now()
    for number, authority in enumerate(pki._authorities.values()):
        (folder / f"{number}.crl").write_bytes(authority.crl(now, now + datetime.timedelta(days=1)))
    leader, agency = (
        PKCS12Signer((folder / f"{name}.p12").read_bytes(), passphrase="TEST")
        for name in ("leader", "agency")
    )
    content = documents.document_bytes(documents.DECISION)
    for number, signer in enumerate((leader, agency, agency), start=1):
        result = sign_pdf(content, signer=signer, options=SigningOptions(role=Role.INVISIBLE))
        assert result.content is not None
        content = result.content
        (folder / f"signed-{number}.pdf").write_bytes(content)


def vnedoc_once(folder: Path) -> Callable[[], object]:
    """Verify one signature with vnedoc."""
    return _vnedoc(folder, 1)


def vnedoc_chain(folder: Path) -> Callable[[], object]:
    """Verify a chain of three with vnedoc."""
    return _vnedoc(folder, 3)


def pyhanko_once(folder: Path) -> Callable[[], object]:
    """Verify one signature with pyHanko as its documentation shows it."""
    return _pyhanko(folder, 1)


def pyhanko_chain(folder: Path) -> Callable[[], object]:
    """Verify a chain of three with pyHanko as its documentation shows it."""
    return _pyhanko(folder, 3)


def _vnedoc(folder: Path, count: int) -> Callable[[], object]:
    from vnedoc.sign.report import Conclusion
    from vnedoc.sign.revocation import RevocationSource, load_crl
    from vnedoc.sign.trust import TrustStore
    from vnedoc.sign.verification import verify_pdf
    from vnedoc.testing.pki import TestPKI

    pki = TestPKI.load(folder, passphrase="TEST")
    trust = TrustStore.from_certificates(pki.ca_certificates)
    source = RevocationSource(crls=[load_crl(path) for path in sorted(folder.glob("*.crl"))], online=False)
    content = (folder / f"signed-{count}.pdf").read_bytes()

    def run() -> None:
        (report,) = verify_pdf(content, trust=trust, revocation=source).files
        assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()
        assert len(report.signatures) == count

    return run


def _pyhanko(folder: Path, count: int) -> Callable[[], object]:
    from asn1crypto import x509 as asn1_x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    from vnedoc.testing.pki import TestPKI

    pki = TestPKI.load(folder, passphrase="TEST")
    authorities = [
        asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
        for certificate in pki.ca_certificates
    ]
    roots = [certificate for certificate in authorities if certificate.self_issued]
    crls = [path.read_bytes() for path in sorted(folder.glob("*.crl"))]
    content = (folder / f"signed-{count}.pdf").read_bytes()

    def run() -> None:
        reader = PdfFileReader(io.BytesIO(content))
        assert len(reader.embedded_signatures) == count
        for signature in reader.embedded_signatures:
            context = ValidationContext(
                trust_roots=roots, other_certs=authorities, crls=crls, revocation_mode="hard-fail"
            )
            status = validate_pdf_signature(signature, context)
            assert status.intact
            assert status.valid
            assert status.trusted

    return run


def run(folder: Path) -> None:
    """Measure and print."""
    prepare(folder)
    found = measure(
        {
            "once": f"{HERE}:vnedoc_once",
            "once-stock": f"{HERE}:pyhanko_once",
            "chain": f"{HERE}:vnedoc_chain",
            "chain-stock": f"{HERE}:pyhanko_chain",
        },
        folder,
        repeat=10,
    )
    print_table(
        "Verify a 2-page PDF offline with CRLs (other: stock pyHanko with its difference analysis)",
        [
            _row("signed once", found["once"], found["once-stock"]),
            _row("signed three times", found["chain"], found["chain-stock"]),
        ],
    )


def _row(label: str, ours: Measure, theirs: Measure) -> tuple[str, str, str, str, str]:
    return (
        label,
        f"{ours.seconds * 1000:.2f} ms",
        f"{theirs.seconds * 1000:.2f} ms",
        f"1/{theirs.seconds / ours.seconds:.1f}",
        f"{ours.peak_mib:.0f} MiB",
    )
