"""From the tree of a package to its header: any order, any spelling the field uses, every oddity noted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc.errors import PackageError
from vnedoc.exchange._edxml import names
from vnedoc.exchange._edxml.dates import format_date, read_date, read_time
from vnedoc.exchange._edxml.tree import View, serialized
from vnedoc.exchange.codes import (
    BusinessKind,
    Priority,
    ReceiverType,
    StatusCode,
    SteeringType,
    parse_status_code,
)
from vnedoc.exchange.models import (
    Business,
    BusinessDocumentInfo,
    DocumentHeader,
    DocumentType,
    HeaderError,
    Organization,
    OtherInfo,
    Receiver,
    ReplacementInfo,
    ResponseFor,
    SignerInfo,
    StaffInfo,
    StatusHeader,
    TraceHeader,
    UnknownElement,
)

if TYPE_CHECKING:
    import datetime
    import enum
    from collections.abc import Mapping

    from vnedoc.exchange._edxml.tree import Node, Warnings

__all__ = ["Reference", "Understood", "understand"]

_SIGNATURES = frozenset({"signature", "digitalsignature"})


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """One entry of the manifest."""

    content_id: str | None
    """The id of the attachment, without ``cid:``."""
    name: str | None
    """Its name."""
    description: str | None
    """What it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Understood:
    """What a package says, apart from its attachments."""

    header: DocumentHeader | StatusHeader
    """The header."""
    references: tuple[Reference, ...]
    """The manifest."""
    signature: bytes | None
    """The signature element as XML, if it holds anything."""
    has_signature: bool
    """Whether there is an element of that name anywhere, at its place or not."""


def understand(root: Node, warnings: Warnings) -> Understood:
    """Read the header and the manifest from a tree.

    Raises:
        PackageError: This is no edXML package.
    """
    if root.name == "Envelope" and root.namespace in names.SOAP:
        _unwrap_soap(root)
        warnings.add("edxml.soap-envelope", names.ENVELOPE, line=root.line)
    elif root.name.lower() not in names.ROOTS:
        raise PackageError("edxml.wrong-root", found=root.name[:80], **_at(root))
    unknown: list[UnknownElement] = []
    top = View(root, names.ROOT, warnings, unknown)
    if root.namespace != names.NAMESPACE:
        warnings.add("edxml.namespace", names.ROOT, found=root.namespace[:200])
    if root.name.lower() == names.ENVELOPE.lower():
        warnings.add("edxml.no-outer-element", names.ENVELOPE)
    bare = root.name.lower() == names.ENVELOPE.lower() and not top.has(names.ENVELOPE)
    envelope = top if bare else _inside(top, names.ENVELOPE)
    header_view = _inside(envelope, names.HEADER)
    header, signature = _header(header_view, warnings, unknown)
    references = _references(envelope, warnings)
    for view in (header_view, envelope, top):
        # The parts of a mail message that some systems leave here, and the attachments, are read elsewhere.
        for found in view.all("AttachmentEncoded"):
            group = View(found.node, "AttachmentEncoded", warnings, unknown)
            group.all("Attachment")
            group.close()
        for name in ("Boundary", "ContentId", "ContentType"):
            view.all(name)
        view.close()
    header = dataclasses.replace(header, unknown=tuple(unknown))
    return Understood(header, references, signature, _holds_signature(root))


def _at(node: Node) -> dict[str, object]:
    return {} if node.line is None else {"line": node.line}


def _unwrap_soap(root: Node) -> None:
    """Give the parts of a SOAP envelope, the form of 2012 and of web services, the names of a package's.

    Attachments travelled beside the envelope, in a mail or as parts of the request, and are not in the file.
    """
    root.name, root.namespace = names.ENVELOPE, names.NAMESPACE
    for child in root.children:
        child.name = {"Header": names.HEADER, "Body": names.BODY}.get(child.name, child.name)


def _holds_signature(root: Node) -> bool:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.name.lower() in _SIGNATURES and any(node.children):
            return True
        waiting += node.children
    return False


def _inside(view: View, name: str) -> View:
    every = [found for found in view.all(name) if any(found.node.children)]
    if len(every) > 1:
        # Each reader would take another one for the true header.
        raise PackageError("edxml.two-headers", element=every[0].path, **_at(every[1].node))
    if not every:
        view.warnings.add("edxml.missing-container", view.path, name=name)
        return view
    found = every[0]
    return View(found.node, name, view.warnings, view.unknown)


def _header(
    view: View, warnings: Warnings, unknown: list[UnknownElement]
) -> tuple[DocumentHeader | StatusHeader, bytes | None]:
    holders = {name: view.all(name) for name in ("Status", "MessageHeader")}
    every = [found for group in holders.values() for found in group if any(found.node.children)]
    if len(every) > 1:
        raise PackageError("edxml.two-headers", element=every[0].path, **_at(every[1].node))
    if not every:
        raise PackageError("edxml.no-header", **_at(view.node))
    holder, status = every[0], every[0] if every[0] in holders["Status"] else None
    holder = View(holder.node, holder.node.name if status is None else "Status", warnings, unknown)
    header: DocumentHeader | StatusHeader
    if status is not None or holder.has("StatusCode"):
        header = _status(holder)
    else:
        traces = view.one("TraceHeaderList")
        if traces is not None:
            traces = View(traces.node, "TraceHeaderList", warnings, unknown)
        header = _document(holder, traces)
    errors = view.one("ErrorList")
    if errors is not None:
        rows = []
        for row in errors.all("Error"):
            rows.append(HeaderError(row.text("Code") or "", row.text("Description")))
            row.close()
        errors.close()
        header = dataclasses.replace(header, errors=tuple(rows))
    return header, _signature(view, warnings)


def _signature(view: View, warnings: Warnings) -> bytes | None:
    first: bytes | None = None
    for name in ("Signature", "DigitalSignature"):
        for found in view.all(name):
            if not (found.node.text or any(found.node.children)):
                continue
            real = found.node.namespace == names.XMLDSIG and name == "Signature"
            warning = "edxml.signature-unchecked" if real else "edxml.signature-decorative"
            warnings.add(warning, found.path)
            first = first or serialized(found.node)
    return first


def _document(view: View, traces: View | None) -> DocumentHeader:
    sender = view.one("From")
    code, place, kind = view.one("Code"), view.one("PromulgationInfo"), view.one("DocumentType")
    signer, to_places = view.one("SignerInfo"), view.one("ToPlaces")
    tasks = view.one("ResponseForTask")
    date_text = place.text("PromulgationDate") if place else None
    date = _date(date_text, view, "PromulgationInfo/PromulgationDate")
    exact = date is None or date_text == format_date(date)
    fields: dict[str, object] = {}
    if traces is not None:
        fields = _trace_fields(traces)
    else:
        view.warnings.add("edxml.missing-element", names.HEADER, name="TraceHeaderList")
    document = DocumentHeader(
        sender=_organization(sender) if sender else _nobody(view, "From"),
        recipients=tuple(_organization(recipient) for recipient in view.all("To")),
        code_number=(code.text("CodeNumber") if code else None) or "",
        code_notation=(code.text("CodeNotation") if code else None) or "",
        document_id=view.text("DocumentId") or "",
        promulgation_date=date,
        promulgation_date_text=date_text if date_text is not None and (date is None or not exact) else None,
        promulgation_place=place.text("Place") if place else None,
        document_type=_document_type(kind) if kind else DocumentType(),
        subject=view.text("Subject") or "",
        content=view.text("Content"),
        signer_info=_signer(signer),
        due_date=_date(view.text("DueDate"), view, "DueDate"),
        to_places=_texts(to_places, "Place"),
        other_info=_other_info(view.one("OtherInfo")),
        response_for=tuple(_response_for(item) for item in view.all("ResponseFor")),
        steering_type=_number(view, "SteeringType", SteeringType),
        response_for_task=_texts(tasks, "TaskCode"),
        application_type=view.text("ApplicationType"),
    )
    for group in (code, place):
        if group is not None:
            group.close()
    view.close()
    return dataclasses.replace(document, **fields)  # type: ignore[arg-type] # built one function below


def _status(view: View) -> StatusHeader:
    sender, answered = view.one("From"), view.one("ResponseFor")
    if answered is None:
        view.warnings.add("edxml.missing-element", view.path, name="ResponseFor")
    text = view.text("StatusCode") or ""
    code = parse_status_code(text)
    if not isinstance(code, StatusCode):
        view.warnings.add("edxml.unknown-code", f"{view.path}/StatusCode", value=text[:80])
    elif text != code.value:
        view.warnings.add("edxml.unpadded-status", f"{view.path}/StatusCode", value=text[:80])
    header = StatusHeader(
        sender=_organization(sender) if sender else _nobody(view, "From"),
        response_for=_response_for(answered) if answered else ResponseFor(),
        status_code=code,
        description=view.text("Description"),
        timestamp=_time(view.text("Timestamp"), view, "Timestamp"),
        staff_info=_staff(view.one("StaffInfo")),
    )
    view.close()
    return header


def _trace_fields(view: View) -> dict[str, object]:
    stations = []
    for station in view.all("TraceHeader"):
        stations.append(
            TraceHeader(station.text("OrganId"), _time(station.text("Timestamp"), station, "Timestamp"))
        )
        station.close()
    paper = _flag(view, "Paper")
    business = view.one("Bussiness")
    if business is None:
        view.warnings.add("edxml.missing-element", view.path, name="Bussiness")
    attributes = {name.rpartition("}")[2]: value for name, value in view.node.attributes.items()}
    fields: dict[str, object] = {
        "trace": tuple(stations),
        "trace_list_paper": paper,
        "trace_list_id": attributes.get("id") or None,
        "trace_list_version": attributes.get("version") or "1.0",
    }
    if business is not None:
        fields["business"] = _business(business)
    view.close()
    return fields


def _business(view: View) -> Business:
    kind = _number(view, "BussinessDocType", BusinessKind)
    if kind is None:
        view.warnings.add("edxml.missing-element", view.path, name="BussinessDocType")
    changes, replaced = view.one("BussinessDocumentInfo"), view.one("ReplacementInfoList")
    business = Business(
        BusinessKind.NEW if kind is None else kind,
        view.text("BussinessDocReason"),
        view.text("DocumentId"),
        paper=_flag(view, "Paper"),
        document_info=_changes(changes) if changes else None,
        replacement_info_list=tuple(_replacement(item) for item in replaced.all("ReplacementInfo"))
        if replaced
        else (),
        staff_info=_staff(view.one("StaffInfo")),
    )
    if replaced is not None:
        replaced.close()
    view.close()
    return business


def _changes(view: View) -> BusinessDocumentInfo:
    receivers = view.one("ReceiverList")
    found = []
    for item in receivers.all("Receiver") if receivers else ():
        change = _number(item, "ReceiverType", ReceiverType)
        found.append(Receiver(item.text("OrganId") or "", ReceiverType.ADDED if change is None else change))
        if change is None:
            item.warnings.add("edxml.missing-element", item.path, name="ReceiverType")
        item.close()
    if receivers is not None:
        receivers.close()
    info = BusinessDocumentInfo(
        document_info=_flag(view, "DocumentInfo") or False,
        document_receiver=_flag(view, "DocumentReceiver") or False,
        receiver_list=tuple(found),
    )
    view.close()
    return info


def _replacement(view: View) -> ReplacementInfo:
    organs = view.one("OrganIdList")
    info = ReplacementInfo(view.text("DocumentId") or "", _texts(organs, "OrganId"))
    view.close()
    return info


def _organization(view: View) -> Organization:
    fields = _fields(view, names.ORGANIZATION)
    organ_id, organ_name = fields.pop("organ_id"), fields.pop("organ_name")
    return Organization(organ_id or "", organ_name or "", **fields)


def _nobody(view: View, name: str) -> Organization:
    view.warnings.add("edxml.missing-element", view.path, name=name)
    return Organization("", "")


def _document_type(view: View) -> DocumentType:
    kind = DocumentType(_number(view, "Type"), _number(view, "TypeDetail"), view.text("TypeName"))
    view.close()
    return kind


def _signer(view: View | None) -> SignerInfo | None:
    signer = SignerInfo(**_fields(view, names.SIGNER_INFO)) if view else None
    return signer if signer != SignerInfo() else None


def _staff(view: View | None) -> StaffInfo | None:
    staff = StaffInfo(**_fields(view, names.STAFF_INFO)) if view else None
    return staff if staff != StaffInfo() else None


def _response_for(view: View) -> ResponseFor:
    return ResponseFor(**_fields(view, names.RESPONSE_FOR))


def _other_info(view: View | None) -> OtherInfo:
    if view is None:
        return OtherInfo()
    appendixes = view.one("Appendixes")
    info = OtherInfo(
        priority=_number(view, "Priority", Priority),
        sphere_of_promulgation=view.text("SphereOfPromulgation"),
        typer_notation=view.text("TyperNotation"),
        promulgation_amount=_number(view, "PromulgationAmount"),
        page_amount=_number(view, "PageAmount"),
        reply_fors=view.text("ReplyFors"),
        direction=_flag(view, "Direction") or False,
        reference_codes=view.text("ReferenceCodes"),
        appendixes=_texts(appendixes, "Appendix"),
    )
    view.close()
    return info


def _references(envelope: View, warnings: Warnings) -> tuple[Reference, ...]:
    body = envelope.one(names.BODY)
    if body is None:
        return ()
    # Paths of unknown elements count from the body, as the writer does.
    body = View(body.node, names.BODY, warnings, envelope.unknown)
    manifest = body.one(names.MANIFEST) or body.one("Manifest")
    found = []
    if manifest is not None:
        for item in manifest.all("Reference"):
            found.append(
                Reference(
                    _content_id(item.text("ContentId") or item.node.attributes.get(names.XLINK_HREF)),
                    item.text("AttachmentName"),
                    item.text("Description"),
                )
            )
            item.all("ContentType")
            item.close()
        manifest.all("Attachment")
        manifest.close()
    body.close()
    return tuple(found)


def _content_id(text: str | None) -> str | None:
    return text.removeprefix("cid:") if text else None


def _fields(view: View, table: Mapping[str, str]) -> dict[str, str | None]:
    fields = {field: view.text(name) for name, field in table.items()}
    view.close()
    return fields


def _texts(view: View | None, name: str) -> tuple[str, ...]:
    if view is None:
        return ()
    found = tuple(text for text in (item.own_text() for item in view.all(name)) if text)
    view.close()
    return found


def _number(view: View, name: str, codes: type[enum.IntEnum] | None = None) -> int | None:
    text = view.text(name)
    if text is None:
        return None
    path = names.path_of(view.path, name, 1)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        view.warnings.add("edxml.not-a-number", path, value=text[:80])
        return None
    number = int(text)
    if codes is None:
        return number
    try:
        return codes(number)
    except ValueError:
        view.warnings.add("edxml.unknown-code", path, value=text)
        return number


def _flag(view: View, name: str) -> bool | None:
    text = view.text(name)
    if text is None:
        return None
    known = {"0": False, "1": True, "false": False, "true": True}
    if text.lower() not in known:
        view.warnings.add("edxml.unknown-code", names.path_of(view.path, name, 1), value=text[:80])
    return known.get(text.lower())


def _date(text: str | None, view: View, name: str) -> datetime.date | None:
    if text is None:
        return None
    date = read_date(text)
    if date.value is None:
        view.warnings.add("edxml.not-a-date", names.path_of(view.path, name, 1), value=text[:80])
    elif not date.exact:
        view.warnings.add("edxml.date-form", names.path_of(view.path, name, 1), value=text[:80])
    return date.value


def _time(text: str | None, view: View, name: str) -> datetime.datetime | None:
    if text is None:
        return None
    moment = read_time(text)
    if moment.value is None:
        view.warnings.add("edxml.not-a-date", names.path_of(view.path, name, 1), value=text[:80])
    elif not moment.exact:
        view.warnings.add("edxml.date-form", names.path_of(view.path, name, 1), value=text[:80])
    return moment.value
