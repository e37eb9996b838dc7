"""Small packages for tests and demonstrations: every field is invented, and every name carries the word TEST."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from vnedoc.exchange.models import (
    Attachment,
    Business,
    DocumentHeader,
    DocumentType,
    Organization,
    build_document_id,
)
from vnedoc.exchange.package import write_package

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vnedoc.exchange.models import ContentSource

__all__ = ["make_organization", "make_package"]

NEW = Business()
DATE = datetime.date(2026, 11, 20)


def make_organization(organ_id: str) -> Organization:
    """Return an agency of this name and code."""
    return Organization(organ_id, f"CƠ QUAN TEST {organ_id}", organ_add="Số 1, đường TEST")


def make_package(
    output: Path,
    *,
    sender: str,
    recipients: Sequence[str],
    number: int = 15,
    business: Business = NEW,
    content: ContentSource = b"%PDF-1.7\n% TEST\n%%EOF\n",
    name: str = "van-ban-TEST.pdf",
) -> DocumentHeader:
    """Write the package of a document with one attachment, and return its header.

    Args:
        output: The package.
        sender: Code in ``From``.
        recipients: Codes in ``To``.
        number: The number of the document; with the sender it makes the identifier.
        business: Why it is sent.
        content: The attachment.
        name: The name of the attachment.
    """
    header = DocumentHeader(
        sender=make_organization(sender),
        recipients=tuple(make_organization(code) for code in recipients),
        code_number=str(number),
        code_notation="UBND-TEST",
        document_id=build_document_id(sender, DATE, str(number), "UBND-TEST"),
        promulgation_date=DATE,
        promulgation_place="Tỉnh TEST",
        subject=f"V/v TEST gửi nhận văn bản điện tử số {number}",
        document_type=DocumentType(2, 18, "Công văn"),
        business=business,
    )
    header = header.with_trace(sender, at=datetime.datetime(2026, 11, 20, 2, 0, tzinfo=datetime.UTC))
    write_package(header, [Attachment(name, content)], output)
    return header
