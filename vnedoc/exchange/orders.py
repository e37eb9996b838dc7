"""Headers made from a document that was sent or received: an answer, a recall, an update, a replacement.

Receivers find the document that is meant by different fields (its identifier, its number and date, the codes of both
agencies), so every field that names it is exactly as it was sent (QCVN 102:2016/BTTTT; Decision 28/2018/QĐ-TTg,
articles 8 and 9). A status is made by :func:`vnedoc.exchange.package.reply_header`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc.errors import UsageError
from vnedoc.exchange.codes import ReceiverType
from vnedoc.exchange.models import (
    Business,
    BusinessDocumentInfo,
    DocumentHeader,
    Organization,
    Package,
    Receiver,
    ReplacementInfo,
    ResponseFor,
    UnknownElement,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vnedoc.exchange.models import StaffInfo

__all__ = ["answering", "name_document", "recall_header", "replacing", "update_header"]

# Where a package lists and holds its files.
_FILES = ("edXMLBody", "AttachmentEncoded")


def name_document(original: Package | DocumentHeader) -> ResponseFor:
    """Return the fields that name a document, exactly as its sender wrote them.

    Raises:
        UsageError: It is a status, not a document.
    """
    header = _document(original)
    return ResponseFor(
        header.sender.organ_id or None, header.code or None, header.document_id or None, header.date_text
    )


def answering(header: DocumentHeader, *originals: Package | DocumentHeader) -> DocumentHeader:
    """Return the header of a document that answers others.

    Raises:
        UsageError: One of them is a status.
    """
    named = tuple(name_document(original) for original in originals)
    return dataclasses.replace(header, response_for=(*header.response_for, *named))


def recall_header(
    original: Package | DocumentHeader,
    *,
    reason: str,
    ordered_by: DocumentHeader | None = None,
    recipients: Sequence[Organization] | None = None,
    staff_info: StaffInfo | None = None,
) -> DocumentHeader:
    """Return the header of the recall of a document that was sent.

    Args:
        original: The document, as it was sent.
        reason: Why, in words.
        ordered_by: Another document that orders the recall, if there is one: the package then carries that
            document, and names the recalled one as the one it responds to.
        recipients: From whom it is recalled; ``None`` is everybody it was sent to.
        staff_info: Who sends the recall.

    Raises:
        UsageError: The reason is missing, or the original is a status or has no identifier.
    """
    header = _document(original)
    business = Business.recall(header.document_id, reason=reason)
    base = header if ordered_by is None else ordered_by
    return dataclasses.replace(
        base,
        recipients=tuple(header.recipients if recipients is None else recipients),
        business=dataclasses.replace(business, staff_info=staff_info),
        response_for=() if ordered_by is None else (name_document(header),),
        trace=(),
        errors=(),
        unknown=_about_header(base),
    )


def update_header(
    original: Package | DocumentHeader,
    *,
    changed: DocumentHeader | None = None,
    added: Iterable[Organization] = (),
    removed: Iterable[str] = (),
    reason: str | None = None,
    staff_info: StaffInfo | None = None,
) -> DocumentHeader:
    """Return the header of an update of a document that was sent.

    The package goes to everybody who had the document and to everybody who is added.

    Args:
        original: The document, as it was sent.
        changed: The header with other metadata; ``None`` if only receivers change. What names the document stays.
        added: New receivers.
        removed: Codes of receivers that it is taken from.
        reason: Why, in words.
        staff_info: Who sends the update.

    Raises:
        UsageError: Nothing changed, a code is no receiver of the document, or the original is a status or has no
            identifier.
    """
    header = _document(original)
    new, gone = tuple(added), tuple(removed)
    known = {recipient.organ_id for recipient in header.recipients}
    for code in gone:
        if code not in known:
            raise UsageError("package.no-receiver", organ_id=code)
    receivers = [Receiver(recipient.organ_id, ReceiverType.ADDED) for recipient in new]
    receivers += [Receiver(code, ReceiverType.REMOVED) for code in gone]
    info = BusinessDocumentInfo(
        document_info=changed is not None,
        document_receiver=bool(receivers),
        receiver_list=tuple(receivers),
    )
    business = Business.update(header.document_id, document_info=info, reason=reason)
    base = header if changed is None else changed
    return dataclasses.replace(
        base,
        sender=header.sender,
        code_number=header.code_number,
        code_notation=header.code_notation,
        document_id=header.document_id,
        promulgation_date=header.promulgation_date,
        promulgation_date_text=header.promulgation_date_text,
        recipients=(*header.recipients, *new),
        business=dataclasses.replace(business, staff_info=staff_info),
        trace=(),
        errors=(),
        unknown=_about_header(base),
    )


def replacing(
    header: DocumentHeader, *replaced: Package | DocumentHeader, reason: str | None = None
) -> DocumentHeader:
    """Return the header of a document that takes the place of others.

    Args:
        header: The new document.
        replaced: The documents that it replaces, as they were sent.
        reason: Why, in words.

    Raises:
        UsageError: None is named, or one is a status or has no identifier.
    """
    named = [_document(original) for original in replaced]
    rows = [
        ReplacementInfo(item.document_id, tuple(recipient.organ_id for recipient in item.recipients))
        for item in named
    ]
    business = Business.replace(*rows, reason=reason)
    return dataclasses.replace(
        header, business=dataclasses.replace(business, staff_info=header.business.staff_info)
    )


def _about_header(header: DocumentHeader) -> tuple[UnknownElement, ...]:
    """Return what is unknown and does not belong to the list of files of another package."""
    return tuple(item for item in header.unknown if not item.parent.startswith(_FILES))


def _document(original: Package | DocumentHeader) -> DocumentHeader:
    header = original.header if isinstance(original, Package) else original
    if not isinstance(header, DocumentHeader):
        raise UsageError("package.status-of-status", code=str(header.status_code))
    return header
