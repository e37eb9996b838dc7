"""What makes a package the same package when it comes again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vnedoc.exchange.codes import BusinessKind
from vnedoc.exchange.models import DocumentHeader

if TYPE_CHECKING:
    from vnedoc.exchange.models import Package

__all__ = ["package_identity"]


def package_identity(package: Package) -> str:
    """Return what makes a package the same when it is sent again: a SHA-256 in hexadecimal.

    A new document and a replacement have an identifier of their own: the same identifier with other content is a
    conflict. A recall or an update names the document that it is about, and statuses have no identifier: only the
    very same bytes are the same package.
    """
    header = package.header
    if isinstance(header, DocumentHeader) and header.business.kind in {
        BusinessKind.NEW,
        BusinessKind.REPLACE,
    }:
        parts = ["document", header.document_id]
    else:
        parts = ["bytes", package.sha256]
    return hashlib.sha256("\n".join([header.sender.organ_id, *parts]).encode()).hexdigest()
