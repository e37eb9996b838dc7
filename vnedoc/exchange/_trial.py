"""A package for nobody: offered to an axis, its refusal tells whether our code is registered to our system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc._internal.clock import vietnam
from vnedoc.exchange.models import Attachment, DocumentHeader, Organization, build_document_id
from vnedoc.exchange.package import write_package
from vnedoc.messages import Language

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable
    from pathlib import Path

    from vnedoc.exchange.connectors.base import RemoteAgency

__all__ = ["NOBODY", "is_somebody", "write_trial"]

NOBODY = "Z99.KHONG.CO.THAT"
"""A code of the right form that no agency can have: those of level 1 begin with a letter from A to Y (Decision
20/2020/QĐ-TTg, article 4.2)."""
_NOTATION = "KIEMTRA-DANGKY"
_FILE_NAME = "goi-tin-thu.txt"


def is_somebody(agencies: Iterable[RemoteAgency]) -> bool:
    """Tell whether an axis has an agency under that code all the same."""
    return any(NOBODY in {(code or "").upper() for code in (row.code, row.old_code)} for row in agencies)


def write_trial(path: Path, *, sender: Organization, at: datetime.datetime) -> None:
    """Write a package that says of itself that it is a trial, for an agency that does not exist.

    An axis takes no new document without a file, so there is one, of one sentence.

    Args:
        path: The package.
        sender: The agency whose code is tried.
        at: The time. It makes the number, so that no trial looks like another one that an axis took.

    Raises:
        PackageError: The name or the code of the agency cannot stand in a package.
        InputError: The file cannot be written.
    """
    # Whoever finds it on an axis in Vietnam reads Vietnamese.
    said = messages.text("doctor.trial-subject", Language.VI)
    day, number = vietnam(at).date(), f"{vietnam(at):%H%M%S}"
    header = DocumentHeader(
        sender=sender,
        recipients=(Organization(NOBODY, messages.text("doctor.trial-recipient", Language.VI)),),
        code_number=number,
        code_notation=_NOTATION,
        document_id=build_document_id(sender.organ_id, day, number, _NOTATION),
        promulgation_date=day,
        subject=said,
    ).with_trace(sender.organ_id, at=at)
    write_package(header, [Attachment(_FILE_NAME, f"{said}.\n".encode())], path)
