"""Writes edXML packages: the header in the order of a dialect, attachments straight from their files.

The same header, attachments and dialect always give the same bytes. No attachment is ever whole in memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vnedoc.errors import PackageError
from vnedoc.exchange._edxml import names
from vnedoc.exchange._edxml.content import Base64Output, digest_content, send_content
from vnedoc.exchange._edxml.layout import Node, header_nodes, text_nodes
from vnedoc.exchange._edxml.signing import (
    BUSINESS_ID,
    HEADER_ID,
    MANIFEST_ID,
    Payload,
    SigningKey,
    build_signature,
)
from vnedoc.exchange.models import AttachmentDigest, DocumentHeader, WrittenPackage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vnedoc.exchange._edxml.content import ContentDigest
    from vnedoc.exchange._edxml.dialects import Dialect
    from vnedoc.exchange.models import Attachment, StatusHeader, UnknownElement

__all__ = ["write"]

NEWLINE = "\r\n"
ID_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, names.NAMESPACE)

# XML 1.0, production 2: what no XML document may hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    attachment: Attachment
    content_id: str
    content_type: str
    entry_name: str | None

    @property
    def description(self) -> str:
        # Consumers of the field read this element without looking whether it is there.
        return self.attachment.description or self.attachment.name


def write(
    stream: BinaryIO,
    header: DocumentHeader | StatusHeader,
    attachments: Sequence[Attachment],
    dialect: Dialect,
    *,
    key: SigningKey | None = None,
) -> WrittenPackage:
    """Write a package to a stream.

    Args:
        stream: Where it is written.
        header: What it says.
        attachments: What is in it.
        dialect: How it is written.
        key: What it is signed with; ``None`` leaves it unsigned.

    Raises:
        PackageError: A text holds what XML cannot, two attachments share a name or an id, or one changed while the
            package was signed.
        InputError: An attachment cannot be read.
        CredentialError: The key cannot sign.
    """
    items = _items(header, attachments, dialect)
    head = _Head(header, items, dialect)
    expected: list[ContentDigest] | None = None
    signature = ""
    if key is not None:
        # The signature stands before the attachments, so their digests must be known first.
        expected = [digest_content(item.attachment, item.entry_name) for item in items]
        payloads = [
            Payload(item.content_id, found.payload_sha256)
            for item, found in zip(items, expected, strict=True)
        ]
        signature = build_signature(head.render, payloads, key)
    out = _Output(stream)
    head.write(out, signature, signed=key is not None)
    digests = _write_attachments(out, items, dialect, expected, head.unknown)
    _write_unknown(out, 1, names.ROOT, head.unknown)
    out.line(0, f"</{names.ROOT}>")
    return WrittenPackage(out.size, out.digest.hexdigest(), digests)


class _Head:
    """Everything before the attachments."""

    def __init__(
        self, header: DocumentHeader | StatusHeader, items: Sequence[_Item], dialect: Dialect
    ) -> None:
        self._header = header
        self._items = items
        self._dialect = dialect
        self.unknown = _by_parent(header.unknown)

    def render(self, signature: str) -> bytes:
        """Return a signed package without its attachments."""
        stream = io.BytesIO()
        out = _Output(stream)
        self.write(out, signature, signed=True)
        _write_unknown(out, 1, names.ROOT, self.unknown)
        out.line(0, f"</{names.ROOT}>")
        return stream.getvalue()

    def write(self, out: _Output, signature: str, *, signed: bool) -> None:
        """Write it, with marks for what is signed."""
        out.line(0, f'<?xml version="1.0" encoding="{self._dialect.encoding_label}"?>')
        out.line(0, f'<{names.ROOT} xmlns="{names.NAMESPACE}">')
        out.line(1, f'<{names.PREFIX}:{names.ENVELOPE} xmlns:{names.PREFIX}="{names.NAMESPACE}">')
        out.line(2, f"<{names.PREFIX}:{names.HEADER}>")
        for node in header_nodes(self._header, self._dialect):
            _make_room(node, self.unknown)
            _write_node(out, 3, _marked(node) if signed else node, "", self._dialect, self.unknown)
        _write_unknown(out, 3, names.HEADER, self.unknown)
        out.write(signature.encode())
        if self._dialect.empty_signature:
            out.line(3, f"<{names.PREFIX}:DigitalSignature />")
        out.line(2, f"</{names.PREFIX}:{names.HEADER}>")
        if isinstance(self._header, DocumentHeader):
            _write_body(out, self._items, self._dialect, self.unknown, signed=signed)
        _write_unknown(out, 2, names.ENVELOPE, self.unknown)
        out.line(1, f"</{names.PREFIX}:{names.ENVELOPE}>")


def _marked(node: Node) -> Node:
    """Give the parts of the header that are signed their ids; the list of stations grows on the way and has none."""
    if node.name in {"MessageHeader", "Status"}:
        node.attributes = {**node.attributes, "Id": HEADER_ID}
    for child in node.children:
        if node.name == "TraceHeaderList" and child.name == "Bussiness":
            child.attributes = {**child.attributes, "Id": BUSINESS_ID}
    return node


class _Output:
    """The stream with its running size and digest."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._stream.write(content)
        self.digest.update(content)
        self.size += len(content)

    def line(self, depth: int, text: str) -> None:
        self.write(f"{'  ' * depth}{text}{NEWLINE}".encode())


def _items(
    header: DocumentHeader | StatusHeader, attachments: Sequence[Attachment], dialect: Dialect
) -> list[_Item]:
    items = []
    key = header.document_id if isinstance(header, DocumentHeader) else ""
    for index, attachment in enumerate(attachments, start=1):
        made = uuid.uuid5(ID_SPACE, f"{key}\n{index}\n{attachment.name}")
        content_id = (attachment.content_id or str(made)).removeprefix("cid:")
        entry_name = f"{made}{Path(attachment.name).suffix}" if dialect.is_zipped(attachment.name) else None
        content_type = (
            "application/zip"
            if entry_name
            else attachment.content_type or dialect.media_type(attachment.name)
        )
        items.append(_Item(attachment, content_id, content_type, entry_name))
    return items


def _write_node(
    out: _Output,
    depth: int,
    node: Node,
    path: str,
    dialect: Dialect,
    unknown: Mapping[str, list[bytes]],
    index: int = 1,
) -> None:
    here = names.path_of(path, node.name, index)
    attributes = "".join(
        f' {name}="{_escaped(value, here, quoted=True)}"' for name, value in node.attributes.items()
    )
    tag = f"{names.PREFIX}:{node.name}"
    extra = unknown.get(here, [])
    if node.text is not None:
        text = _escaped(node.text.strip(), here) + b"".join(extra).decode()
        out.line(depth, f"<{tag}{attributes}>{text}</{tag}>" if text else f"<{tag}{attributes} />")
        return
    if not node.children and not extra:
        out.line(depth, f"<{tag}{attributes} />")
        return
    out.line(depth, f"<{tag}{attributes}>")
    counts: dict[str, int] = {}
    for child in _ordered(node.children, dialect.order.get(node.name, ())):
        counts[child.name] = counts.get(child.name, 0) + 1
        _write_node(out, depth + 1, child, here, dialect, unknown, counts[child.name])
    _write_unknown(out, depth + 1, here, unknown)
    out.line(depth, f"</{tag}>")


def _make_room(top: Node, unknown: Mapping[str, list[bytes]]) -> None:
    """Add the elements that would be left out as empty, but hold something unknown."""
    for parent in unknown:
        first, *steps = parent.split("/")
        if first != top.name:
            continue
        node = top
        for step in steps:
            name, _, index = step.removesuffix("]").partition("[")
            equals = [child for child in node.children if child.name == name]
            if len(equals) < int(index or 1):
                equals.append(Node(name))
                node.children.append(equals[-1])
            node = equals[min(int(index or 1), len(equals)) - 1]


def _ordered(children: list[Node], order: Sequence[str]) -> list[Node]:
    rank = {name: place for place, name in enumerate(order)}
    return sorted(children, key=lambda child: rank.get(child.name, len(rank)))


def _by_parent(unknown: Iterable[UnknownElement]) -> dict[str, list[bytes]]:
    table: dict[str, list[bytes]] = {}
    for element in unknown:
        # A status stands in one of two holders; what was in the one goes into the other.
        parent = element.parent
        for holder in ("MessageHeader", "Status"):
            if parent == holder or parent.startswith(f"{holder}/"):
                rest = parent.removeprefix(holder)
                table.setdefault(f"MessageHeader{rest}", []).append(element.xml)
                table.setdefault(f"Status{rest}", []).append(element.xml)
                break
        else:
            table.setdefault(parent, []).append(element.xml)
    return table


def _write_unknown(out: _Output, depth: int, path: str, unknown: Mapping[str, list[bytes]]) -> None:
    for xml in unknown.get(path, []):
        out.write(b"  " * depth + xml + NEWLINE.encode())


def _write_body(
    out: _Output,
    items: Sequence[_Item],
    dialect: Dialect,
    unknown: Mapping[str, list[bytes]],
    *,
    signed: bool,
) -> None:
    tag = f"{names.PREFIX}:{names.BODY}"
    out.line(2, f"<{tag}>")
    references = [_reference(item, dialect) for item in items]
    attributes = {"version": "1.0", "Id": MANIFEST_ID} if signed else {"version": "1.0"}
    manifest = Node(names.MANIFEST, children=references, attributes=attributes)
    _write_node(out, 3, manifest, names.BODY, dialect, unknown)
    _write_unknown(out, 3, names.BODY, unknown)
    out.line(2, f"</{tag}>")


def _reference(item: _Item, dialect: Dialect) -> Node:
    children = text_nodes(
        {
            "ContentId": f"cid:{item.content_id}",
            "ContentType": item.content_type,
            "Description": item.description,
            "AttachmentName": item.attachment.name,
        }
    )
    attributes = {}
    if dialect.xlinks:
        attributes = {
            "xmlns:xlink": names.XLINK,
            "xlink:href": f"cid:{item.content_id}",
            "xlink:role": "XLinkRole",
            "xlink:type": "simple",
        }
    return Node("Reference", children=children, attributes=attributes)


def _write_attachments(
    out: _Output,
    items: Sequence[_Item],
    dialect: Dialect,
    expected: Sequence[ContentDigest] | None,
    unknown: Mapping[str, list[bytes]],
) -> tuple[AttachmentDigest, ...]:
    if not items and "AttachmentEncoded" not in unknown:
        return ()
    digests = []
    out.line(1, "<AttachmentEncoded>")
    for number, item in enumerate(items, start=1):
        out.line(2, "<Attachment>")
        found = _write_attachment(out, number, item, dialect)
        if expected is not None and found != expected[number - 1]:
            raise PackageError("edxml.attachment-changed", name=item.attachment.name)
        digests.append(AttachmentDigest(item.attachment.name, item.content_id, found.size, found.sha256))
        out.line(2, "</Attachment>")
    _write_unknown(out, 2, "AttachmentEncoded", unknown)
    out.line(1, "</AttachmentEncoded>")
    return tuple(digests)


def _write_attachment(out: _Output, number: int, item: _Item, dialect: Dialect) -> ContentDigest:
    unknown = _by_parent(item.attachment.unknown)
    here = names.path_of("AttachmentEncoded", "Attachment", number)
    texts = {
        "ContentId": f"cid:{item.content_id}" if dialect.cid_in_attachment else item.content_id,
        "AttachmentName": item.attachment.name,
        "Description": item.description,
        "ContentType": item.content_type,
    }
    lines = {}
    for name, text in texts.items():
        inside = b"".join(unknown.pop(f"Attachment/{name}", ())).decode()
        lines[name] = f"<{name}>{_escaped(text.strip(), f'{here}/{name}')}{inside}</{name}>"
    order = dialect.order["Attachment"]
    place = order.index("ContentTransferEncoded")
    for name in order[:place]:
        out.line(3, lines[name])
    found = _write_content(out, item, dialect)
    for name in order[place + 1 :]:
        out.line(3, lines[name])
    # What stood in an element that this dialect does not have is not lost.
    for parent in unknown:
        _write_unknown(out, 3, parent, unknown)
    return found


def _write_content(out: _Output, item: _Item, dialect: Dialect) -> ContentDigest:
    name, declaration = "ContentTransferEncoded", ""
    if dialect.prefixed_content:
        name = f"{names.PREFIX}:{name}"
        declaration = f' xmlns:{names.PREFIX}="{names.NAMESPACE}"'
    out.write(f"      <{name}{declaration}>".encode())
    encoder = Base64Output(out)
    found = send_content(item.attachment, item.entry_name, encoder)
    encoder.finish()
    out.write(f"</{name}>{NEWLINE}".encode())
    return found


def _escaped(text: str, element: str, *, quoted: bool = False) -> str:
    found = _FORBIDDEN.search(text)
    if found:
        raise PackageError("edxml.illegal-character", element=element, code=f"U+{ord(found[0]):04X}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if quoted:
        return (
            text.replace('"', "&quot;").replace("\r", "&#xD;").replace("\n", "&#xA;").replace("\t", "&#x9;")
        )
    # Line ends inside a text become those of the file; a reader turns both back into one line feed.
    return text.replace("\r\n", "\n").replace("\r", "&#xD;").replace("\n", NEWLINE)
