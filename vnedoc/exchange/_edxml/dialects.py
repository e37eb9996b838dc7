"""How the systems of the field write edXML: order of elements, status holder, attachments, media types.

The standard leaves much open and its consumers are brittle, so a package is written the way its receiver's own
kit would have written it. ``vnpt`` is the kit of the national axis, ``net`` that of .NET consumers and provincial
axes, ``bkav`` that of the eDoc platform.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BKAV", "DIALECTS", "NET", "VNPT", "Dialect"]

_STAFF_STANDARD = ("Department", "DepartmentId", "Staff", "StaffId", "Mobile", "Email")

_VNPT_ORDER: Mapping[str, tuple[str, ...]] = {
    # A status uses the same holder; its elements keep this order too.
    "MessageHeader": (
        *("From", "To", "DocumentId", "Code", "PromulgationInfo", "DocumentType", "Subject", "Content"),
        *("SignerInfo", "DueDate", "OtherInfo", "ResponseFor", "SteeringType", "ResponseForTask"),
        *("ApplicationType", "ToPlaces", "StaffInfo", "StatusCode", "Description", "Timestamp"),
    ),
    "DocumentType": ("Type", "TypeDetail", "TypeName"),
    "OtherInfo": (
        *("Priority", "SphereOfPromulgation", "TyperNotation", "PromulgationAmount", "PageAmount"),
        *("ReplyFors", "Direction", "ReferenceCodes", "Appendixes"),
    ),
    "TraceHeaderList": ("Paper", "Bussiness", "TraceHeader"),
    "Bussiness": (
        *("DocumentId", "BussinessDocType", "BussinessDocReason", "Paper", "BussinessDocumentInfo"),
        *("ReplacementInfoList", "StaffInfo"),
    ),
    "StaffInfo": ("Department", "DepartmentId", "Staff", "StaffId", "Email", "Mobile"),
    "Reference": ("ContentId", "ContentType", "Description", "AttachmentName"),
    "Attachment": ("ContentId", "AttachmentName", "Description", "ContentType", "ContentTransferEncoded"),
}
_STANDARD_ORDER: Mapping[str, tuple[str, ...]] = {
    "MessageHeader": (
        *("From", "To", "Code", "PromulgationInfo", "DocumentType", "Subject", "Content", "SignerInfo"),
        *("DueDate", "ToPlaces", "OtherInfo", "ResponseFor", "SteeringType", "ResponseForTask"),
        *("ApplicationType", "DocumentId", "StaffInfo", "StatusCode", "Description", "Timestamp"),
    ),
    "Status": ("ResponseFor", "From", "StatusCode", "Description", "Timestamp", "StaffInfo"),
    "DocumentType": ("Type", "TypeName", "TypeDetail"),
    "OtherInfo": (
        *("Priority", "SphereOfPromulgation", "TyperNotation", "PromulgationAmount", "PageAmount"),
        *("Appendixes", "ReplyFors", "Direction", "ReferenceCodes"),
    ),
    "TraceHeaderList": ("TraceHeader", "Bussiness", "Paper"),
    "Bussiness": (
        *("BussinessDocType", "BussinessDocReason", "DocumentId", "BussinessDocumentInfo"),
        *("ReplacementInfoList", "StaffInfo", "Paper"),
    ),
    "StaffInfo": _STAFF_STANDARD,
    "Reference": ("Description", "AttachmentName", "ContentType", "ContentId"),
    "Attachment": ("ContentType", "ContentId", "Description", "ContentTransferEncoded", "AttachmentName"),
}
_REGISTERED_TYPES: Mapping[str, str] = {
    ".pdf": "application/pdf",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".zip": "application/zip",
    ".xml": "application/xml",
    ".txt": "text/plain",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
_VNPT_TYPES: Mapping[str, str] = {
    # Not the registered names: these are what the kit's readers compare with.
    ".pdf": "application/pdf",
    ".doc": "application/doc",
    ".docx": "application/docx",
    ".zip": "application/zip",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """The way one family of systems writes packages."""

    name: str
    """Its name: ``vnpt``, ``net`` or ``bkav``."""
    order: Mapping[str, tuple[str, ...]]
    """Element name to the order of its children; what is not listed comes last, in its own order."""
    media_types: Mapping[str, str]
    """File extension to media type."""
    encoding_label: str = "UTF-8"
    """How the XML declaration spells the encoding."""
    status_holder: str = "MessageHeader"
    """The element that holds a status."""
    padded_status: bool = True
    """Whether a status code has two digits."""
    zips: bool = False
    """Whether files of other than the listed media types travel in a zip archive of their own."""
    cid_in_attachment: bool = False
    """Whether ``ContentId`` has ``cid:`` also beside the content."""
    prefixed_content: bool = False
    """Whether the element of the content has the prefix, unlike its neighbours."""
    xlinks: bool = False
    """Whether references carry link attributes and the list of stations its SOAP ones."""
    empty_signature: bool = False
    """Whether an empty ``DigitalSignature`` ends the header."""
    empty_address: bool = False
    """Whether ``OrganAdd`` is there even when it is empty."""
    always_direction: bool = False
    """Whether ``OtherInfo/Direction`` is there even when it is false."""

    def is_zipped(self, name: str) -> bool:
        """Tell whether a file travels in a zip archive of its own."""
        return self.zips and _extension(name) not in self.media_types

    def media_type(self, name: str) -> str:
        """Return the media type that a file is declared with."""
        if self.is_zipped(name):
            return "application/zip"
        return self.media_types.get(_extension(name), "application/octet-stream")


VNPT = Dialect(
    "vnpt",
    _VNPT_ORDER,
    _VNPT_TYPES,
    zips=True,
    cid_in_attachment=True,
    prefixed_content=True,
    always_direction=True,
)
"""The Java kit of the national axis."""
NET = Dialect(
    "net",
    _STANDARD_ORDER,
    _REGISTERED_TYPES,
    encoding_label="utf-8",
    xlinks=True,
    empty_signature=True,
    empty_address=True,
)
"""The .NET kit and the provincial axes that follow it."""
BKAV = Dialect("bkav", _STANDARD_ORDER, _REGISTERED_TYPES, status_holder="Status", padded_status=False)
"""The eDoc platform."""

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (VNPT, NET, BKAV)}
"""Name to dialect."""


def _extension(name: str) -> str:
    return pathlib.PurePath(name).suffix.lower()
