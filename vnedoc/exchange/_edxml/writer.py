"""Writes edXML packages: the header in the order of a dialect, attachments straight from their files.

The same header, attachments and dialect always give the same bytes. No attachment is ever whole in memory.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import re
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from vnedoc.errors import InputError, PackageError
from vnedoc.exchange._edxml import names
from vnedoc.exchange._edxml.layout import Node, header_nodes, text_nodes
from vnedoc.exchange.models import AttachmentDigest, DocumentHeader, WrittenPackage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vnedoc.exchange._edxml.dialects import Dialect
    from vnedoc.exchange.models import Attachment, ContentSource, StatusHeader, UnknownElement

__all__ = ["write"]

NEWLINE = "\r\n"
# A multiple of 3, so that every piece of base64 stands on its own.
CHUNK_BYTES = 3 * 64 * 1024
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
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
) -> WrittenPackage:
    """Write a package to a stream.

    Raises:
        PackageError: A text holds what XML cannot, or two attachments share a name or an id.
        InputError: An attachment cannot be read.
    """
    items = _items(header, attachments, dialect)
    out = _Output(stream)
    unknown = _by_parent(header.unknown)
    out.line(0, f'<?xml version="1.0" encoding="{dialect.encoding_label}"?>')
    out.line(0, f'<{names.ROOT} xmlns="{names.NAMESPACE}">')
    out.line(1, f'<{names.PREFIX}:{names.ENVELOPE} xmlns:{names.PREFIX}="{names.NAMESPACE}">')
    out.line(2, f"<{names.PREFIX}:{names.HEADER}>")
    for node in header_nodes(header, dialect):
        _write_node(out, 3, node, "", dialect, unknown)
    _write_unknown(out, 3, names.HEADER, unknown)
    if dialect.empty_signature:
        out.line(3, f"<{names.PREFIX}:DigitalSignature />")
    out.line(2, f"</{names.PREFIX}:{names.HEADER}>")
    if isinstance(header, DocumentHeader):
        _write_body(out, items, dialect, unknown)
    _write_unknown(out, 2, names.ENVELOPE, unknown)
    out.line(1, f"</{names.PREFIX}:{names.ENVELOPE}>")
    digests = _write_attachments(out, items, dialect)
    _write_unknown(out, 1, names.ROOT, unknown)
    out.line(0, f"</{names.ROOT}>")
    return WrittenPackage(out.size, out.digest.hexdigest(), digests)


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
    if node.text is not None:
        text = _escaped(node.text.strip(), here)
        out.line(depth, f"<{tag}{attributes}>{text}</{tag}>" if text else f"<{tag}{attributes} />")
        return
    extra = unknown.get(here, [])
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
    out: _Output, items: Sequence[_Item], dialect: Dialect, unknown: Mapping[str, list[bytes]]
) -> None:
    tag = f"{names.PREFIX}:{names.BODY}"
    out.line(2, f"<{tag}>")
    references = [_reference(item, dialect) for item in items]
    manifest = Node(names.MANIFEST, children=references, attributes={"version": "1.0"})
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
    out: _Output, items: Sequence[_Item], dialect: Dialect
) -> tuple[AttachmentDigest, ...]:
    if not items:
        return ()
    digests = []
    out.line(1, "<AttachmentEncoded>")
    for number, item in enumerate(items, start=1):
        out.line(2, "<Attachment>")
        texts = {
            "ContentId": f"cid:{item.content_id}" if dialect.cid_in_attachment else item.content_id,
            "AttachmentName": item.attachment.name,
            "Description": item.description,
            "ContentType": item.content_type,
        }
        for name in dialect.order["Attachment"]:
            if name == "ContentTransferEncoded":
                digests.append(_write_content(out, item, dialect))
            else:
                path = names.path_of("AttachmentEncoded/Attachment", name, number)
                out.line(3, f"<{name}>{_escaped(texts[name].strip(), path)}</{name}>")
        out.line(2, "</Attachment>")
    out.line(1, "</AttachmentEncoded>")
    return tuple(digests)


def _write_content(out: _Output, item: _Item, dialect: Dialect) -> AttachmentDigest:
    name, declaration = "ContentTransferEncoded", ""
    if dialect.prefixed_content:
        name = f"{names.PREFIX}:{name}"
        declaration = f' xmlns:{names.PREFIX}="{names.NAMESPACE}"'
    out.write(f"      <{name}{declaration}>".encode())
    encoder = _Base64Output(out)
    digest = hashlib.sha256()
    size = 0
    for chunk in _zipped_chunks(item, encoder) if item.entry_name else _plain_chunks(item, encoder):
        digest.update(chunk)
        size += len(chunk)
    encoder.finish()
    out.write(f"</{name}>{NEWLINE}".encode())
    return AttachmentDigest(item.attachment.name, item.content_id, size, digest.hexdigest())


class _Sink(Protocol):
    def write(self, content: bytes, /) -> object: ...


def _plain_chunks(item: _Item, sink: _Sink) -> Iterator[bytes]:
    for chunk in _chunks(item.attachment):
        sink.write(chunk)
        yield chunk


def _zipped_chunks(item: _Item, sink: _Base64Output) -> Iterator[bytes]:
    entry = zipfile.ZipInfo(item.entry_name or "", ZIP_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # zipfile would write which system it runs on.
    entry.create_system = 0
    # A sink that cannot seek makes zipfile stream: sizes follow the data, as in the archives of the kit.
    large = _size(item.attachment.content) >= zipfile.ZIP64_LIMIT
    with (
        zipfile.ZipFile(cast("BinaryIO", sink), "w") as archive,
        archive.open(entry, "w", force_zip64=large) as inside,
    ):
        for chunk in _chunks(item.attachment):
            inside.write(chunk)
            yield chunk


def _size(content: ContentSource) -> int:
    try:
        return len(content) if isinstance(content, bytes) else content.stat().st_size
    except OSError as exc:
        raise InputError("file.cannot-read", path=content, reason=exc.strerror) from exc


def _chunks(attachment: Attachment) -> Iterator[bytes]:
    content = attachment.content
    try:
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise InputError("file.cannot-read", path=content, reason=exc.strerror) from exc


class _Base64Output:
    """Encodes what is written to it, piece by piece."""

    def __init__(self, out: _Output) -> None:
        self._out = out
        self._rest = b""

    def write(self, content: bytes) -> int:
        pending = self._rest + content
        whole = len(pending) - len(pending) % 3
        self._out.write(base64.b64encode(memoryview(pending)[:whole]))
        self._rest = pending[whole:]
        return len(content)

    def flush(self) -> None:
        """Do nothing: what is not a multiple of three waits for more."""

    def finish(self) -> None:
        self._out.write(base64.b64encode(self._rest))
        self._rest = b""


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
