"""Packages as SOAP messages with attachments, and back.

SOAP Messages with Attachments (W3C Note, 2000): the envelope is the first part of a ``multipart/related`` body, each
attachment a part of its own that the manifest names by ``cid:``. The envelope is small; attachments go from file to
body and from body to file, piece by piece.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from vnedoc._internal.multipart import (
    Base64Decoder,
    MultipartError,
    MultipartWriter,
    OutgoingPart,
    content_id,
    make_boundary,
)
from vnedoc.exchange._edxml import names as edxml
from vnedoc.exchange._edxml.dialects import BKAV, VNPT
from vnedoc.exchange._edxml.tree import Node, Warnings
from vnedoc.exchange._edxml.understanding import understand
from vnedoc.exchange._edxml.writer import write
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.blocks import document_blocks
from vnedoc.exchange._soap.envelope import SoapVersion, escaped, wrapped
from vnedoc.exchange.models import Attachment, DocumentHeader, StatusHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.exchange._soap.envelope import Envelope
    from vnedoc.exchange.models import Package, WrittenPackage

__all__ = [
    "AttachmentMismatchError",
    "EnvelopeNotFirstError",
    "MessageParts",
    "OutgoingMessage",
    "ReceivedPart",
    "document_message",
    "document_of",
    "message_content_type",
    "status_of",
    "write_document",
    "write_status",
]

ROOT_ID = "root.message@vnedoc"
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
_CONTENT_ID = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]{1,200}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*")


class AttachmentMismatchError(ValueError):
    """Manifest and parts do not go together."""


class EnvelopeNotFirstError(MultipartError):
    """An attachment stands before the envelope, which alone says whose it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to be sent."""

    content_type: str
    """The content type of the body."""
    body: MultipartWriter
    """The body."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedPart:
    """One attachment of a message that was received."""

    content_id: str
    """Its id, without brackets."""
    content_type: str
    """Its media type as the message says."""
    path: Path
    """Where its content lies."""


def document_message(
    package: Package, *, version: SoapVersion, key: bytes = b"", encoded: bool = False
) -> OutgoingMessage:
    """Return a document as a message.

    Args:
        package: The package, with its attachments on the disk.
        version: The version of SOAP.
        key: The header block that authenticates the call; none in answers.
        encoded: Whether attachments are base64 without saying so, as the platform's answers have them.

    Raises:
        TypeError: The package carries no document.
    """
    header = package.header
    if not isinstance(header, DocumentHeader):
        raise TypeError("only documents travel as messages")
    references, parts = [], []
    taken: set[str] = set()
    for number, attachment in enumerate(package.attachments, start=1):
        assert attachment.path is not None
        cid = attachment.content_id or ""
        if not _CONTENT_ID.fullmatch(cid) or cid in taken | {ROOT_ID}:
            cid = f"attachment-{number}@vnedoc"
        taken.add(cid)
        kind = attachment.detected_type or attachment.content_type or ""
        if not _MEDIA_TYPE.fullmatch(kind) or attachment.was_zipped:
            kind = BKAV.media_type(attachment.file_name)
        references.append(_reference(cid, kind, attachment.name, attachment.description))
        headers = [
            ("Content-Type", kind),
            ("Content-Transfer-Encoding", "binary"),
            ("Content-ID", f"<{cid}>"),
        ]
        parts.append(OutgoingPart(headers, attachment.path, attachment.size, as_base64=encoded))
    manifest = f"<{names.PREFIX}:Manifest>{''.join(references)}</{names.PREFIX}:Manifest>".encode()
    envelope = wrapped(version, manifest, header=document_blocks(header) + key)
    boundary = make_boundary()
    root = [
        ("Content-Type", f"{version.media_type}; charset=UTF-8"),
        ("Content-Transfer-Encoding", "binary"),
        ("Content-ID", f"<{ROOT_ID}>"),
    ]
    return OutgoingMessage(
        message_content_type(version, boundary),
        MultipartWriter([OutgoingPart(root, envelope, len(envelope)), *parts], boundary=boundary),
    )


def message_content_type(version: SoapVersion, boundary: str) -> str:
    """Return the content type of a message whose envelope is its first part (RFC 2387)."""
    return f'multipart/related; boundary="{boundary}"; type="{version.media_type}"; start="<{ROOT_ID}>"'


def _reference(cid: str, kind: str, name: str, description: str | None) -> str:
    tag = f"{names.PREFIX}:Reference"
    links = f'xmlns:xlink="{edxml.XLINK}" xlink:href="cid:{escaped(cid)}" xlink:type="simple"'
    texts = {
        "AttachmentName": name,
        "Description": description or name,
        "ContentType": kind,
        "ContentId": f"cid:{cid}",
    }
    inside = "".join(
        f"<{names.PREFIX}:{key}>{escaped(text)}</{names.PREFIX}:{key}>" for key, text in texts.items()
    )
    return f"<{tag} {links}>{inside}</{tag}>"


class MessageParts:
    """Takes the parts of a message: the envelope into memory, each attachment into a file.

    Args:
        prefix: Where the files are made: a path to which a dot and a number are added.
        start: The parameter of the content type that names the envelope; ``None``: it is the first part.
        max_envelope_bytes: The largest envelope.
        sniff: Whether parts that look like base64 are decoded although nothing says that they are.
        admit: Asked as soon as the envelope is there; if it says no, attachments that follow are forgotten. None may
            stand before it then. ``None``: all are taken, wherever they stand.
    """

    def __init__(
        self,
        prefix: Path,
        *,
        start: str | None,
        max_envelope_bytes: int,
        sniff: bool,
        admit: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.envelope = b""
        self.parts: list[ReceivedPart] = []
        self.is_admitted: bool | None = None
        """What ``admit`` said; ``None`` while it was not asked."""
        self._admit = admit
        self._prefix = prefix
        self._start = content_id(start)
        self._max_envelope_bytes = max_envelope_bytes
        self._sniff = sniff
        self._has_envelope = False
        self._ids: set[str] = set()
        self._part: _Part | None = None
        self._root: bytearray | None = None
        self._count = 0

    def part_begin(self, headers: Mapping[str, str]) -> None:
        """A part begins."""
        self._count += 1
        cid = content_id(headers.get("content-id"))
        encoding = headers.get("content-transfer-encoding", "binary").strip().lower()
        if encoding not in {"binary", "8bit", "7bit", "base64", ""}:
            raise MultipartError(f"a part has the encoding {encoding[:40]!r}")
        if cid is not None:
            # Two parts of one id: each reader would take another one for the document.
            if cid in self._ids:
                raise MultipartError("two parts have the same Content-ID")
            self._ids.add(cid)
        if not self._has_envelope and (self._start is None or cid == self._start):
            if encoding == "base64":
                raise MultipartError("the envelope is encoded")
            self._has_envelope = True
            self._root = bytearray()
            return
        if not self._has_envelope and self._admit is not None:
            # Of a stranger nothing is kept, so its attachments could only be thrown away.
            raise EnvelopeNotFirstError("an attachment stands before the envelope")
        if cid is None:
            raise MultipartError("an attachment has no Content-ID")
        if self.is_admitted is False:
            return
        self._part = _Part(
            self._prefix.with_name(f"{self._prefix.name}.{self._count}"),
            cid,
            headers.get("content-type", "").partition(";")[0].strip(),
            encoded=True if encoding == "base64" else None if self._sniff else False,
        )

    def part_data(self, content: bytes) -> None:
        """A piece of its content."""
        if self._root is not None:
            self._root += content
            if len(self._root) > self._max_envelope_bytes:
                raise MultipartError("the envelope is too large")
        elif self._part is not None:
            self._part.feed(content)

    def part_end(self) -> None:
        """It ended."""
        if self._root is not None:
            self.envelope, self._root = bytes(self._root), None
            if self._admit is not None:
                self.is_admitted = self._admit(self.envelope)
        elif self._part is not None:
            self.parts.append(self._part.finish())
            self._part = None

    def discard(self) -> None:
        """Remove the files, that of a part that never ended too."""
        if self._part is not None:
            self._part.close()
            self._part.path.unlink(missing_ok=True)
            self._part = None
        for part in self.parts:
            part.path.unlink(missing_ok=True)


class _Part:
    """One attachment on its way into a file."""

    def __init__(self, path: Path, cid: str, kind: str, *, encoded: bool | None) -> None:
        self.path = path
        self._cid = cid
        self._kind = kind
        self._encoded = encoded
        self._stream: BinaryIO = path.open("xb")
        self._decoder = Base64Decoder(self._stream)
        self._count = 0

    def feed(self, content: bytes) -> None:
        if self._encoded is None and content:
            # Documents begin with bytes that base64 does not have; the platform's base64 says nowhere that it is.
            self._encoded = _BASE64.fullmatch(content[:4096]) is not None
        if self._encoded:
            self._decoder.feed(content)
        else:
            self._stream.write(content)

    def finish(self) -> ReceivedPart:
        try:
            if self._encoded:
                self._decoder.finish()
        finally:
            self.close()
        return ReceivedPart(self._cid, self._kind, self.path)

    def close(self) -> None:
        self._stream.close()


def document_of(
    envelope: Envelope, parts: Sequence[ReceivedPart]
) -> tuple[DocumentHeader, tuple[Attachment, ...]]:
    """Return the document of a message: its header, and its attachments in the order of the manifest.

    Raises:
        PackageError: The header cannot be read.
        AttachmentMismatchError: Manifest and parts do not go together.
    """
    manifest = [node for node in envelope.body if node.name == "Manifest"]
    blocks = [
        node for node in envelope.header if node.name in {"MessageHeader", "TraceHeaderList", "ErrorList"}
    ]
    for block in blocks:
        _rename(block)
    understood = understand(_tree(blocks, manifest), Warnings())
    header = understood.header
    if not isinstance(header, DocumentHeader):
        raise AttachmentMismatchError("the message carries a status, not a document")
    waiting = {part.content_id: part for part in parts}
    attachments = []
    for number, reference in enumerate(understood.references, start=1):
        part = waiting.pop(reference.content_id or "", None)
        if part is None:
            name = reference.name or reference.content_id or str(number)
            raise AttachmentMismatchError(f"there is no part for the reference {name[:200]!r}")
        attachments.append(
            Attachment(
                reference.name or f"attachment-{number}",
                part.path,
                reference.description,
                part.content_type if _MEDIA_TYPE.fullmatch(part.content_type) else None,
                part.content_id,
            )
        )
    if waiting:
        raise AttachmentMismatchError(f"{len(waiting)} parts stand in no reference")
    return header, tuple(attachments)


def status_of(node: Node) -> StatusHeader:
    """Return the status in an element ``Status``.

    Raises:
        PackageError: It cannot be read.
    """
    header = understand(_tree([dataclasses.replace(node, name="Status")], []), Warnings()).header
    assert isinstance(header, StatusHeader)
    return header


def write_document(
    header: DocumentHeader, attachments: Sequence[Attachment], stream: BinaryIO
) -> WrittenPackage:
    """Write the package that a message stands for; the same message always gives the same bytes.

    It is in the dialect of the national axis, which most receivers read best. What the sender left out is left out:
    whether it may be is judged where packages are judged.
    """
    return write(stream, header, attachments, VNPT)


def write_status(header: StatusHeader, stream: BinaryIO) -> WrittenPackage:
    """Write the package that a status stands for."""
    return write(stream, header, (), VNPT)


def _rename(block: Node) -> None:
    """Undo a spelling that the platform's answers have and its requests do not."""
    for node in block.children:
        for field in node.children:
            if field.name == "OrganInCharge":
                field.name = "OrganizationInCharge"


def _tree(blocks: Iterable[Node], manifest: Iterable[Node]) -> Node:
    pieces: list[str | Node] = [Node(edxml.HEADER, edxml.NAMESPACE, {}, None, list(blocks))]
    content: list[str | Node] = list(manifest)
    if content:
        pieces.append(Node(edxml.BODY, edxml.NAMESPACE, {}, None, content))
    inside = Node(edxml.ENVELOPE, edxml.NAMESPACE, {}, None, pieces)
    return Node(edxml.ROOT, edxml.NAMESPACE, {}, None, [inside])
