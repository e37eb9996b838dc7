"""From the fields of a header to its elements; the order is the dialect's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc.exchange._edxml import names
from vnedoc.exchange._edxml.dates import format_date, format_time
from vnedoc.exchange.models import StatusHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vnedoc.exchange._edxml.dialects import Dialect
    from vnedoc.exchange.models import (
        Business,
        DocumentHeader,
        Organization,
        OtherInfo,
        ResponseFor,
        StaffInfo,
        TraceHeader,
    )

__all__ = ["Node", "header_nodes", "text_nodes"]


@dataclasses.dataclass(slots=True)
class Node:
    """An element to be written: with text, or with children."""

    name: str
    """Its local name."""
    text: str | None = None
    """Its text."""
    children: list[Node] = dataclasses.field(default_factory=list)
    """Its children, in no order yet."""
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Its attributes."""


def header_nodes(header: DocumentHeader | StatusHeader, dialect: Dialect) -> Iterator[Node]:
    """Yield the elements of the header of a package."""
    if isinstance(header, StatusHeader):
        yield Node(dialect.status_holder, children=list(_status(header, dialect)))
    else:
        yield Node("MessageHeader", children=list(_document(header, dialect)))
        yield _trace_list(header, dialect)
    if header.errors:
        rows = [
            Node("Error", children=text_nodes({"Code": row.code, "Description": row.description}))
            for row in header.errors
        ]
        yield Node("ErrorList", children=rows)


def _document(header: DocumentHeader, dialect: Dialect) -> Iterator[Node]:
    yield _organization("From", header.sender, dialect)
    yield from (_organization("To", recipient, dialect) for recipient in header.recipients)
    yield Node("DocumentId", header.document_id)
    yield from _group("Code", {"CodeNumber": header.code_number, "CodeNotation": header.code_notation})
    date = header.promulgation_date_text
    if date is None and header.promulgation_date is not None:
        # What was received is passed on as it came: receivers look documents up by this text.
        date = format_date(header.promulgation_date)
    yield from _group("PromulgationInfo", {"Place": header.promulgation_place, "PromulgationDate": date})
    kind = header.document_type
    yield from _group(
        "DocumentType",
        {"Type": _number(kind.type), "TypeDetail": _number(kind.type_detail), "TypeName": kind.type_name},
    )
    yield from text_nodes({"Subject": header.subject, "Content": header.content})
    if header.signer_info is not None:
        yield from _group("SignerInfo", _fields(header.signer_info, names.SIGNER_INFO))
    if header.due_date is not None:
        yield Node("DueDate", format_date(header.due_date))
    other = _other_info(header.other_info, dialect)
    if other.children:
        yield other
    yield from (_response_for(item) for item in header.response_for)
    yield from text_nodes({"SteeringType": _number(header.steering_type)})
    if header.response_for_task:
        yield Node("ResponseForTask", children=_list("TaskCode", header.response_for_task))
    yield from text_nodes({"ApplicationType": header.application_type})
    if header.to_places:
        yield Node("ToPlaces", children=_list("Place", header.to_places))


def _status(header: StatusHeader, dialect: Dialect) -> Iterator[Node]:
    yield _organization("From", header.sender, dialect)
    yield _response_for(header.response_for)
    if header.staff_info is not None:
        yield from _staff(header.staff_info)
    code = str(header.status_code)
    yield Node("StatusCode", code if dialect.padded_status or not code.isdigit() else str(int(code)))
    yield from text_nodes({"Description": header.description})
    if header.timestamp is not None:
        yield Node("Timestamp", format_time(header.timestamp))


def _other_info(info: OtherInfo, dialect: Dialect) -> Node:
    texts: dict[str, str | None] = {
        "Priority": _number(info.priority),
        "PromulgationAmount": _number(info.promulgation_amount),
        "PageAmount": _number(info.page_amount),
    }
    texts.update(_fields(info, names.OTHER_INFO))
    if info.direction or dialect.always_direction:
        texts["Direction"] = "true" if info.direction else "false"
    children = text_nodes(texts)
    if info.appendixes:
        children.append(Node("Appendixes", children=_list("Appendix", info.appendixes)))
    return Node("OtherInfo", children=children)


def _trace_list(header: DocumentHeader, dialect: Dialect) -> Node:
    attributes: dict[str, str] = {}
    if header.trace_list_id:
        attributes["id"] = header.trace_list_id
    if dialect.xlinks or attributes or header.trace_list_version != "1.0":
        attributes["version"] = header.trace_list_version
    if dialect.xlinks:
        # What .NET consumers inherited from SOAP.
        attributes |= {"mustUnderstand": "1", "actor": "http://schemas.xmlsoap.org/soap/actor/next"}
    children = [_trace(station) for station in header.trace]
    children += text_nodes({"Paper": _flag(header.trace_list_paper)})
    children.append(_business(header.business))
    return Node("TraceHeaderList", children=children, attributes=attributes)


def _trace(station: TraceHeader) -> Node:
    moment = None if station.timestamp is None else format_time(station.timestamp)
    return Node("TraceHeader", children=text_nodes({"OrganId": station.organ_id, "Timestamp": moment}))


def _business(business: Business) -> Node:
    children = text_nodes(
        {
            "BussinessDocType": str(int(business.kind)),
            "BussinessDocReason": business.reason,
            "DocumentId": business.document_id,
            "Paper": _flag(business.paper),
        }
    )
    info = business.document_info
    if info is not None:
        changed = text_nodes(
            {"DocumentInfo": _flag(info.document_info), "DocumentReceiver": _flag(info.document_receiver)}
        )
        receivers = [
            Node(
                "Receiver",
                children=text_nodes({"OrganId": item.organ_id, "ReceiverType": str(int(item.receiver_type))}),
            )
            for item in info.receiver_list
        ]
        if receivers:
            changed.append(Node("ReceiverList", children=receivers))
        children.append(Node("BussinessDocumentInfo", children=changed))
    replaced = []
    for item in business.replacement_info_list:
        inner = text_nodes({"DocumentId": item.document_id})
        if item.organ_id_list:
            inner.append(Node("OrganIdList", children=_list("OrganId", item.organ_id_list)))
        replaced.append(Node("ReplacementInfo", children=inner))
    if replaced:
        children.append(Node("ReplacementInfoList", children=replaced))
    if business.staff_info is not None:
        children += _staff(business.staff_info)
    return Node("Bussiness", children=children)


def _organization(name: str, organization: Organization, dialect: Dialect) -> Node:
    children = text_nodes(_fields(organization, names.ORGANIZATION))
    if dialect.empty_address and not organization.organ_add:
        place = next((n for n, child in enumerate(children) if child.name == "OrganName"), -1) + 1
        children.insert(place, Node("OrganAdd", ""))
    return Node(name, children=children)


def _staff(staff: StaffInfo) -> list[Node]:
    return _group("StaffInfo", _fields(staff, names.STAFF_INFO))


def _response_for(item: ResponseFor) -> Node:
    return Node("ResponseFor", children=text_nodes(_fields(item, names.RESPONSE_FOR)))


def _fields(holder: object, table: Mapping[str, str]) -> dict[str, str | None]:
    return {name: getattr(holder, field) for name, field in table.items()}


def text_nodes(values: Mapping[str, str | None]) -> list[Node]:
    """Return an element for each text that is not empty."""
    # Empty elements are left out: the kits do, and their readers take an empty one for a value.
    return [Node(name, text) for name, text in values.items() if text is not None and text.strip()]


def _group(name: str, values: Mapping[str, str | None]) -> list[Node]:
    children = text_nodes(values)
    return [Node(name, children=children)] if children else []


def _list(name: str, values: Iterable[str]) -> list[Node]:
    return [Node(name, value) for value in values if value.strip()]


def _number(value: int | None) -> str | None:
    return None if value is None else str(int(value))


def _flag(value: bool | None) -> str | None:  # noqa: FBT001 - a value to be written, not an option
    return None if value is None else str(int(value))
