"""The parts of a header as XML of the eDoc service: complete with empty elements, because the platform counts them.

The platform refuses a document in whose header an element is missing, even where it may be empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.exchange._edxml.dialects import BKAV
from vnedoc.exchange._edxml.layout import Node, header_nodes
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.envelope import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vnedoc.exchange.models import DocumentHeader, StatusHeader, UnknownElement

__all__ = ["REQUIRED", "document_blocks", "key_block", "status_block"]

_ORGANIZATION = ("OrganId", "OrganName", "OrganAdd", "Email", "Telephone", "Fax", "Website")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "MessageHeader": (
        *("From", "To", "Code", "PromulgationInfo", "DocumentType", "Subject", "Content", "SignerInfo"),
        *("DueDate", "ToPlaces", "OtherInfo"),
    ),
    "From": ("OrganizationInCharge", *_ORGANIZATION),
    "To": _ORGANIZATION,
    "Code": ("CodeNumber", "CodeNotation"),
    "PromulgationInfo": ("Place", "PromulgationDate"),
    "DocumentType": ("Type", "TypeName"),
    "SignerInfo": ("Competence", "FullName", "Position"),
    "OtherInfo": (
        *("Priority", "SphereOfPromulgation", "TyperNotation", "PromulgationAmount", "PageAmount"),
        "Appendixes",
    ),
}
"""Element to the elements that must be in it, empty or not."""


def document_blocks(header: DocumentHeader) -> bytes:
    """Return the header blocks of a document: MessageHeader, TraceHeaderList, ErrorList."""
    unknown = _by_parent(header.unknown)
    blocks: dict[str, Node] = {node.name: node for node in header_nodes(header, BKAV)}
    _complete(blocks["MessageHeader"])
    if not header.trace:
        # The sender is the first station; when it sent is not known here, and a time of now would make the same
        # document another one each time it is sent.
        station = Node(
            "TraceHeader", children=[Node("OrganId", header.sender.organ_id), Node("Timestamp", "")]
        )
        blocks["TraceHeaderList"].children.append(station)
    blocks.setdefault("ErrorList", Node("ErrorList"))
    return b"".join(
        _xml(blocks[name], f"{names.PREFIX}:", unknown, name)
        for name in ("MessageHeader", "TraceHeaderList", "ErrorList")
    )


def status_block(header: StatusHeader, *, qualified: bool) -> bytes:
    """Return a status.

    Args:
        header: The status.
        qualified: Whether it stands in the namespace of the service, as in answers; requests have it in none.
    """
    status = next(node for node in header_nodes(header, BKAV) if node.name == BKAV.status_holder)
    unknown = {
        parent.replace("MessageHeader", "Status", 1): found
        for parent, found in _by_parent(header.unknown).items()
    }
    return _xml(status, f"{names.PREFIX}:" if qualified else "", unknown, "Status")


def key_block(organ_id: str, token: str) -> bytes:
    """Return the header block that authenticates a call: a signature in name only."""
    content = f"<{{0}}OrganId>{escaped(organ_id)}</{{0}}OrganId><{{0}}Token>{escaped(token)}</{{0}}Token>"
    text = f"<{{0}}Signature><{{0}}KeyInfo>{content}</{{0}}KeyInfo></{{0}}Signature>"
    return text.replace("{0}", f"{names.PREFIX}:").encode()


def _complete(node: Node) -> None:
    # ``ResponseFor/Code`` is text; only ``MessageHeader/Code`` has parts.
    if node.text is not None:
        return
    present = {child.name for child in node.children}
    for name in REQUIRED.get(node.name, ()):
        if name not in present:
            node.children.append(Node(name))
    for child in node.children:
        _complete(child)


def _xml(node: Node, prefix: str, unknown: Mapping[str, list[bytes]], path: str) -> bytes:
    rank = {name: place for place, name in enumerate(BKAV.order.get(node.name, ()))}
    inside = [escaped(node.text.strip()).encode()] if node.text else []
    counts: dict[str, int] = {}
    for child in sorted(node.children, key=lambda item: rank.get(item.name, len(rank))):
        number = counts[child.name] = counts.get(child.name, 0) + 1
        step = child.name if number == 1 else f"{child.name}[{number}]"
        inside.append(_xml(child, prefix, unknown, f"{path}/{step}"))
    inside += unknown.get(path, ())
    attributes = "".join(f' {name}="{escaped(value)}"' for name, value in node.attributes.items())
    tag = f"{prefix}{node.name}"
    return f"<{tag}{attributes}>".encode() + b"".join(inside) + f"</{tag}>".encode()


def _by_parent(unknown: Iterable[UnknownElement]) -> dict[str, list[bytes]]:
    table: dict[str, list[bytes]] = {}
    for element in unknown:
        table.setdefault(element.parent, []).append(element.xml)
    return table
