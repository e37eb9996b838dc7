"""The names of the eDoc SOAP service: namespaces, operations, and the codes of its reports.

The platform ships no WSDL; everything here stands in what its published programs read and write. Requests carry
elements without a namespace, answers and the header blocks stand in the platform's own.
"""

from __future__ import annotations

import dataclasses
import enum

__all__ = [
    "FAULT_NAMESPACE",
    "NAMESPACE",
    "OPERATIONS",
    "PATH",
    "PREFIX",
    "SOAP11",
    "SOAP12",
    "Operation",
    "OperationName",
    "ReportCode",
]

NAMESPACE = "http://www.e-doc.vn/Schema/"
"""The namespace of the service, of 2012; packages as files have another."""
PREFIX = "edXML"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
FAULT_NAMESPACE = "urn:vnedoc:fault"
"""The namespace of the machine code in the detail of a fault; the hub's own."""
PATH = "/services/EdocService"
"""Where the hub answers. The platform's ESB publishes a service below ``/services/``; its name differs by site."""


class OperationName(enum.StrEnum):
    """The operations, as ``SOAPAction`` names them."""

    SEND_DOCUMENT = "SendDocument"
    """Hand over a document with its attachments."""
    GET_PENDING = "GetPendingDocumentIds"
    """Ask for the ids of documents that wait for an organization."""
    GET_DOCUMENT = "GetDocument"
    """Fetch one of them."""
    GET_TRACES = "GetTraces"
    """Ask for statuses of documents that an organization sent."""
    UPDATE_TRACES = "UpdateTraces"
    """Hand over a status."""
    CONFIRM_RECEIVED = "ConfirmReceived"
    """Tell that a document was received; makes a status 01."""
    CHECK_PERMISSION = "CheckPermission"
    """Ask whether a token is good."""
    GET_ORGANIZATIONS = "GetOrganizations"
    """Ask for the address book."""


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the service."""

    name: OperationName
    """Its ``SOAPAction``."""
    request: str
    """The element that stands first in the body of its request."""

    @property
    def response(self) -> str:
        """The element that holds the answer; the answer of GetDocument has none."""
        return f"{self.name.value}Response"


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(OperationName.SEND_DOCUMENT, "Manifest"),
        Operation(OperationName.GET_PENDING, "GetPendingDocumentIdsRequest"),
        Operation(OperationName.GET_DOCUMENT, "GetDocumentRequest"),
        Operation(OperationName.GET_TRACES, "GetTraces"),
        Operation(OperationName.UPDATE_TRACES, "Status"),
        Operation(OperationName.CONFIRM_RECEIVED, "ConfirmReceived"),
        Operation(OperationName.CHECK_PERMISSION, "CheckPermission"),
        Operation(OperationName.GET_ORGANIZATIONS, "GetOrganizations"),
    )
}
"""Operations by name."""


class ReportCode(enum.StrEnum):
    """Codes of ``Report/ErrorList/Error`` that mean something to a program.

    Beside these stand codes made of a letter and the path of an element: ``N.`` it is missing, ``R.`` it is out of
    range, ``T.`` it is of the wrong type.
    """

    PERMISSION = "Permission"
    """Organization and token do not go together; the platform itself leaves the list of errors empty then."""
    CHECK_PERMISSION = "M.CheckPermission"
    """Organization or token are missing."""
    CHECK_SIGNATURE = "M.CheckSignature"
    """The same, where they stand in the header."""
    EXIST = "M.Exist"
    """Another document was sent with this identifier."""
    NOT_ALLOWED = "M.GetDocumentCheckAllow"
    """No such document waits for the organization."""
    ORGAN_ID = "M.OrganId"
    """The organization is missing, or not registered for the caller."""
    DOCUMENT_ID = "M.DocumentId"
    """The id of the document is missing, or none."""
    RECIPIENT = "M.MessageHeader.To.OrganId"
    """A recipient is not registered."""
    ATTACHMENT = "M.Attachment"
    """Manifest and attachments do not go together."""
    UPDATE_TRACES = "M.UpdateTraces"
    """The same status was there before; it is not taken twice."""
    CONFIRM_RECEIVED = "M.ConfirmReceived"
    """The document to be confirmed is not there."""
    SEND_DOCUMENT = "M.SendDocument"
    """The package cannot be taken."""
