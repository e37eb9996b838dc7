"""The XML spelling of edXML: namespaces, element names, and which field each simple element belongs to.

QCVN 102:2016/BTTTT. No other module of the house knows these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BODY",
    "ENVELOPE",
    "HEADER",
    "MANIFEST",
    "NAMESPACE",
    "ORGANIZATION",
    "OTHER_INFO",
    "PREFIX",
    "RESPONSE_FOR",
    "ROOT",
    "ROOTS",
    "SIGNER_INFO",
    "SOAP",
    "STAFF_INFO",
    "XLINK",
    "XLINK_HREF",
    "XMLDSIG",
    "line_of",
    "path_of",
]

NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
"""The namespace of everything in a package."""
XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"
"""The namespace of a signature that means something; the kits of the field write theirs in that of the standard."""
XLINK = "http://www.w3.org/1999/xlink"
"""The namespace of the link attributes that the .NET dialect puts on references."""
PREFIX = "edXML"
"""The prefix inside the envelope. The standard leaves it free; consumers that look for the text of the tag do not."""

ROOT = "edXML"
ENVELOPE = "edXMLEnvelope"
HEADER = "edXMLHeader"
BODY = "edXMLBody"
MANIFEST = "edXMLManifest"

SOAP = frozenset({"http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"})
"""The namespaces of SOAP 1.1 and 1.2."""
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
ROOTS = frozenset({ROOT.lower(), ENVELOPE.lower()})
"""Lower-case names that the root of a readable package may have; some systems leave the outer element out."""

ORGANIZATION = {
    "OrganId": "organ_id",
    "OrganizationInCharge": "organization_in_charge",
    "OrganName": "organ_name",
    "OrganAdd": "organ_add",
    "Email": "email",
    "Telephone": "telephone",
    "Fax": "fax",
    "Website": "website",
}
SIGNER_INFO = {"Competence": "competence", "Position": "position", "FullName": "full_name"}
STAFF_INFO = {
    "Department": "department",
    "DepartmentId": "department_id",
    "Staff": "staff",
    "StaffId": "staff_id",
    "Email": "email",
    "Mobile": "mobile",
}
RESPONSE_FOR = {
    "OrganId": "organ_id",
    "Code": "code",
    "DocumentId": "document_id",
    "PromulgationDate": "promulgation_date",
}
OTHER_INFO = {
    "SphereOfPromulgation": "sphere_of_promulgation",
    "TyperNotation": "typer_notation",
    "ReplyFors": "reply_fors",
    "ReferenceCodes": "reference_codes",
}
"""The elements of ``OtherInfo`` that are plain text."""


def path_of(parent: str, name: str, index: int) -> str:
    """Return the path of an element: its parent's, its name, and its place among its equals from the second on."""
    step = name if index == 1 else f"{name}[{index}]"
    return f"{parent}/{step}" if parent else step


def line_of(path: str, lines: Mapping[str, int]) -> int | None:
    """Return the line of an element; of the nearest one around it, if it is missing itself."""
    step = path
    while step:
        if step in lines:
            return lines[step]
        if step.partition("/")[0] == "MessageHeader" and "MessageHeader" not in lines:
            # A status may stand in a holder of its own.
            step = "Status" + step.removeprefix("MessageHeader")
            continue
        step = step.rpartition("/")[0]
    return lines.get(ROOT)
