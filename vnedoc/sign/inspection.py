"""What is inside a PDF, without any judgement: fields, encodings, names, claimed times."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc._internal import files
from vnedoc.sign._judgement import pdf_date
from vnedoc.sign._pyhanko.validation import UnusableCMSError, parse_cms
from vnedoc.sign._qpdf import has_security_store
from vnedoc.sign._structure import check_field
from vnedoc.sign.certificates import summarize
from vnedoc.sign.policy import DEFAULT_POLICY
from vnedoc.sign.report import Finding, SignatureKind
from vnedoc.sign.verification import read_pdf

if TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from vnedoc.sign._structure import SignatureField
    from vnedoc.sign.report import CertificateSummary
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["FoundSignature", "PDFContents", "inspect_pdf"]


@dataclasses.dataclass(frozen=True, slots=True)
class FoundSignature:
    """One signature as it stands there; nothing of it was checked."""

    field: str
    """Name of the signature field."""
    kind: SignatureKind
    """What it says it is."""
    subfilter: str | None
    """Its encoding."""
    covered_end: int | None
    """Where the bytes that it says it covers end."""
    box: tuple[int, str] | None
    """Page and box where it is shown."""
    signer: CertificateSummary | None
    """What its certificate says; ``None`` if it cannot be read."""
    claimed_time: datetime.datetime | None
    """The time that it claims."""
    digest_algorithm: str | None
    """Its digest algorithm."""
    signature_algorithm: str | None
    """Its signature algorithm."""
    timestamps: int
    """How many time-stamp tokens it carries."""
    findings: tuple[Finding, ...]
    """What is odd about its bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class PDFContents:
    """What is inside a PDF."""

    path: str
    """The file."""
    size: int
    """Its size in bytes."""
    pages: int
    """Number of pages."""
    signatures: tuple[FoundSignature, ...]
    """Its signatures, in the order in which they were made."""
    problems: tuple[Finding, ...]
    """Where the two readers do not agree."""
    has_security_store: bool = False
    """Whether it has a document security store (ISO 32000-2, 12.8.4.3)."""

    def visible_gaps(self) -> tuple[Finding, ...]:
        """Say why it is not long-term, as far as that shows without trust anchors; nothing is no promise."""
        signatures = [item for item in self.signatures if item.kind is SignatureKind.SIGNATURE]
        stamped = max(
            (
                item.covered_end or 0
                for item in self.signatures
                if item.kind is SignatureKind.DOCUMENT_TIMESTAMP
            ),
            default=0,
        )
        gaps = [
            Finding("extension.gap-no-timestamp", {"field": item.field})
            for item in signatures
            if not item.timestamps and stamped <= (item.covered_end or 0)
        ]
        if signatures and not self.has_security_store:
            gaps.append(Finding("extension.gap-no-store"))
        return tuple(gaps)


def inspect_pdf(path: Path, *, password: SecretCallback | None = None) -> PDFContents:
    """Look into a PDF and judge nothing.

    Args:
        path: The file.
        password: Called with the path if the file is encrypted; what anybody can open needs none.

    Raises:
        InputError: The file cannot be read, is encrypted and the password is missing or wrong, or is no PDF.
    """
    file = files.read_bytes(path, max_bytes=DEFAULT_POLICY.max_bytes)
    readings = read_pdf(file, password=password, name=str(path))
    reading = readings.first or readings.second
    assert reading is not None
    return PDFContents(
        path=str(path),
        size=len(file),
        pages=reading.pages,
        signatures=tuple(
            sorted(
                (_look_at(file, field) for field in readings.signatures[: DEFAULT_POLICY.max_signatures]),
                key=lambda found: (found.covered_end is None, found.covered_end or 0),
            )
        ),
        problems=readings.problems,
        has_security_store=has_security_store(file, password=readings.password),
    )


def _look_at(file: bytes, field: SignatureField) -> FoundSignature:
    covered, encoded, findings = check_field(file, field)
    cms = None
    if encoded is not None:
        try:
            cms = parse_cms(encoded)
        except UnusableCMSError as exc:
            findings = (*findings, exc.finding)
    return FoundSignature(
        field=field.name,
        kind=field.kind,
        subfilter=field.subfilter,
        covered_end=covered.end if covered is not None else None,
        box=field.box,
        signer=summarize(cms.certificate) if cms is not None else None,
        # In PAdES the dictionary says it; an attribute for it must not be there (EN 319 142-1, 6.3).
        claimed_time=(cms and (cms.signing_time or cms.gen_time)) or pdf_date(field.claimed_time),
        digest_algorithm=cms.digest_algorithm if cms is not None else None,
        signature_algorithm=cms.signature_algorithm if cms is not None else None,
        timestamps=len(cms.tokens) if cms is not None else 0,
        findings=findings,
    )
