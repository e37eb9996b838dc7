"""What an edXML package is made of: its header, its attachments, what was odd about it.

All the value types of packages can be had here; those of the headers are in :mod:`vnedoc.exchange.headers`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vnedoc import messages
from vnedoc.errors import UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.headers import (
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
    build_document_id,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Attachment",
    "AttachmentDigest",
    "Business",
    "BusinessDocumentInfo",
    "ContentSource",
    "DocumentHeader",
    "DocumentType",
    "HeaderError",
    "Limits",
    "Organization",
    "OtherInfo",
    "Package",
    "PackageFinding",
    "ReceivedAttachment",
    "Receiver",
    "ReplacementInfo",
    "ResponseFor",
    "SignerInfo",
    "StaffInfo",
    "StatusHeader",
    "TraceHeader",
    "UnknownElement",
    "WrittenPackage",
    "build_document_id",
]

ContentSource: TypeAlias = Path | bytes
"""Where the bytes of an attachment are: a file, which is read piece by piece, or bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class PackageFinding:
    """One thing that is wrong or odd in a package, with a stable id."""

    id: str
    """The id of its message, such as ``edxml.namespace``."""
    element: str = ""
    """The path of the element it is about, such as ``MessageHeader/To[2]/OrganId``; may be empty."""
    values: dict[str, object] = dataclasses.field(default_factory=dict)
    """What the message names."""
    line: int | None = None
    """The line of the file on which the element, or the nearest one around it, begins; ``None`` where there is no
    file, or it cannot be told."""

    def text(self, language: messages.Language | str = messages.Language.EN) -> str:
        """Return the sentence in a language."""
        return messages.text(self.id, language, **{"element": self.element, **self.values})


@dataclasses.dataclass(frozen=True, slots=True)
class Attachment:
    """A file to put into a package."""

    name: str
    """The name the receiver sees, with its extension."""
    content: ContentSource
    """Its bytes."""
    description: str | None = None
    """What it is."""
    content_type: str | None = None
    """Its media type; ``None`` takes the one the dialect has for the extension."""
    content_id: str | None = None
    """Its id in the package; ``None`` makes one that is the same for the same header and place."""
    unknown: tuple[UnknownElement, ...] = ()
    """What stands beside its content that the standard does not know; see :attr:`ReceivedAttachment.unknown`."""

    @classmethod
    def from_file(cls, path: Path, *, description: str | None = None) -> Attachment:
        """Return a file as an attachment under its own name."""
        return cls(path.name, path, description)


@dataclasses.dataclass(frozen=True, slots=True)
class AttachmentDigest:
    """One attachment of a package that was written."""

    name: str
    """Its name."""
    content_id: str
    """Its id in the package."""
    size: int
    """Its size in bytes."""
    sha256: str
    """SHA-256 of its bytes, in hexadecimal."""


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenPackage:
    """A package that was written."""

    size: int
    """Its size in bytes."""
    sha256: str
    """SHA-256 of the whole file, in hexadecimal."""
    attachments: tuple[AttachmentDigest, ...]
    """What is in it."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedAttachment:
    """A file that was in a package."""

    name: str
    """The name as the package gives it; never use it as a path."""
    file_name: str
    """A safe name, unique in the package, for any file system."""
    size: int
    """Its size in bytes, unpacked."""
    sha256: str
    """SHA-256 of its bytes, unpacked, in hexadecimal."""
    content_id: str | None
    """Its id in the package, without ``cid:``."""
    description: str | None
    """What it is, as the package says."""
    content_type: str | None
    """Its media type as the package says; often wrong."""
    detected_type: str | None
    """Its media type as its first bytes tell; ``None`` if they tell nothing."""
    was_zipped: bool
    """Whether it was wrapped in a zip archive of its own, which was taken off."""
    path: Path | None
    """Where it was written; ``None`` if the package was only looked at."""
    payload_sha256: str = ""
    """SHA-256 of what was sent, in hexadecimal: of the wrapping archive where there was one."""
    unknown: tuple[UnknownElement, ...] = ()
    """What stood beside its content that the standard does not know, by the path from ``Attachment`` on; no
    signature covers it."""

    def as_attachment(self) -> Attachment:
        """Return the file for another package, under the same id and with what stood beside it.

        The media type is left to the dialect of that package.

        Raises:
            UsageError: It was not written to a folder.
        """
        if self.path is None:
            raise UsageError("package.not-extracted", name=self.name)
        return Attachment(
            self.name, self.path, self.description, content_id=self.content_id, unknown=self.unknown
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """A package that was read."""

    header: DocumentHeader | StatusHeader
    """What it says."""
    attachments: tuple[ReceivedAttachment, ...]
    """What is in it, in its order."""
    warnings: tuple[PackageFinding, ...]
    """What was odd, and how it was understood."""
    size: int
    """The size of the package in bytes."""
    sha256: str
    """SHA-256 of the package as received, in hexadecimal."""
    signature: bytes | None = None
    """The signature element of the header as XML; not verified."""
    skeleton: bytes | None = dataclasses.field(default=None, repr=False)
    """Where there is a signature: the package as written, without the text of its attachments."""
    lines: Mapping[str, int] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """Path of each known element to the line on which it begins."""

    @property
    def kind(self) -> PackageKind:
        """Whether it carries a document or a status."""
        return PackageKind.STATUS if isinstance(self.header, StatusHeader) else PackageKind.DOCUMENT


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much a package may ask of the machine that reads it."""

    max_package_bytes: int = 4 * 1024**3
    """The package itself."""
    max_attachments: int = 500
    """How many attachments."""
    max_attachment_bytes: int = 2 * 1024**3
    """One attachment, unpacked."""
    max_total_bytes: int = 4 * 1024**3
    """All attachments together, unpacked."""
    max_ratio: int = 200
    """How many times larger a zipped attachment may become (beyond its first MiB)."""
    max_depth: int = 32
    """How deep elements may nest."""
    max_elements: int = 100_000
    """How many elements."""
    max_attributes: int = 32
    """How many attributes one element may have."""
    max_text_chars: int = 8 * 1024**2
    """All text and attributes apart from the attachments."""
    max_leading_bytes: int = 4096
    """How much junk may stand before the XML."""
