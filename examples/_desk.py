"""What the examples share: a test PKI, two signers, and a folder that is removed at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import vnedoc
from vnedoc.exchange.headers import DocumentHeader, DocumentType, Organization, build_document_id
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import write_package
from vnedoc.testing import documents
from vnedoc.testing.pki import AGENCY_TAX_CODE, TestPKI, running_pki

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.sign.signers.base import Signer

PASSPHRASE = "vnedoc-TEST"
DATE = datetime.date(2026, 11, 21)


@dataclasses.dataclass(frozen=True)
class Desk:
    """What lies on the desk."""

    folder: Path
    pki: TestPKI
    leader: Signer
    clerk: Signer
    timestamps: vnedoc.TimestampClient

    def approved(self) -> Path:
        """Return the sample decision, signed by the leader."""
        path = self.folder / "approved.pdf"
        options = vnedoc.SigningOptions(
            role=vnedoc.Role.APPROVE,
            level=vnedoc.SignatureLevel.B_T,
            timestamps=self.timestamps,
            placement=vnedoc.Placement(anchor=documents.LEADER_NAME),
            picture=vnedoc.load_picture(documents.document_path(documents.LEADER_SIGNATURE)),
            reserve_numbering=True,
        )
        source = documents.document_path(documents.DECISION)
        vnedoc.sign_pdf(source, path, signer=self.leader, options=options)
        return path

    def issued(self) -> Path:
        """Return the sample decision, issued."""
        path = self.folder / "quyet-dinh.pdf"
        options = vnedoc.SigningOptions(
            role=vnedoc.Role.ISSUE,
            level=vnedoc.SignatureLevel.B_T,
            timestamps=self.timestamps,
            picture=vnedoc.load_picture(documents.document_path(documents.AGENCY_SEAL)),
            seal_diameter_mm=36,
            number="15/QĐ-UBND",
            date=DATE,
        )
        vnedoc.sign_pdf(self.approved(), path, signer=self.clerk, options=options)
        return path

    def packed(self) -> Path:
        """Return the issued decision as a package to the commune."""
        path = self.folder / "15.edxml"
        header = DocumentHeader(
            sender=Organization("H99", documents.AGENCY_NAME),
            recipients=(Organization("H99.15", "ỦY BAN NHÂN DÂN XÃ TEST"),),
            code_number="15",
            code_notation="QĐ-UBND",
            document_id=build_document_id("H99", DATE, "15", "QĐ-UBND"),
            promulgation_date=DATE,
            document_type=DocumentType(type=2, type_detail=2, type_name="Quyết định"),
            subject="Phê duyệt Kế hoạch TEST",
        )
        write_package(header, [Attachment.from_file(self.issued())], path)
        return path

    def trust(self) -> vnedoc.TrustStore:
        """Return the trust in the test PKI, and in nothing else."""
        return vnedoc.load_trust(
            str(self.folder / "pki" / "root.pem"), str(self.folder / "pki" / "ca-chain.pem")
        )

    def directory(self) -> vnedoc.AgencyDirectory:
        """Return a directory that knows the sending agency by its tax code."""
        agency = vnedoc.Agency("H99", documents.AGENCY_NAME, tax_code=AGENCY_TAX_CODE)
        return vnedoc.AgencyDirectory([agency])


@contextlib.contextmanager
def open_desk() -> Iterator[Desk]:
    """Lay the desk."""
    with tempfile.TemporaryDirectory() as name, running_pki() as pki:
        folder = Path(name)
        pki.write(folder / "pki", passphrase=PASSPHRASE)
        with (
            vnedoc.open_signer(
                f"pkcs12:{folder / 'pki' / 'leader.p12'}", secret=lambda _: PASSPHRASE
            ) as leader,
            vnedoc.open_signer(
                f"pkcs12:{folder / 'pki' / 'agency.p12'}", secret=lambda _: PASSPHRASE
            ) as clerk,
            vnedoc.TimestampClient([pki.tsa_url]) as timestamps,
        ):
            yield Desk(folder, pki, leader, clerk, timestamps)
