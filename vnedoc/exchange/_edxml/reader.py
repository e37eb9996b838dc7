"""Reads edXML packages from anybody: tolerant of what the field writes, deaf to what an attacker writes.

The package is read once from front to back. Attachments are decoded as they come, into a working folder inside the
target folder; they take their names only when everything was read, so a failure leaves nothing behind.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from vnedoc._internal.xml import DoctypeRefusedError, XMLRefusedError, parse_into, parse_whole_into
from vnedoc.errors import InputError, PackageError
from vnedoc.exchange._edxml import names
from vnedoc.exchange._edxml.decoding import open_text
from vnedoc.exchange._edxml.payload import Budget, ContentSink, detect_type, safe_name, unique_name, unwrap
from vnedoc.exchange._edxml.scanner import Scanner
from vnedoc.exchange._edxml.tree import Node, TreeTarget, View, Warnings
from vnedoc.exchange._edxml.understanding import understand
from vnedoc.exchange.models import DocumentHeader, Package, ReceivedAttachment, UnknownElement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vnedoc.exchange._edxml.understanding import Reference
    from vnedoc.exchange.models import Limits

__all__ = ["read"]

CHUNK_BYTES = 256 * 1024
# The parser counts its lines from where the XML begins; what is said is the line of the file.
_PLACE = re.compile(r",\s+line \d+, column \d+.*$|\s+line \d+\b", re.DOTALL)
_CONTENT_NAMES = ("ContentTransferEncoded", "Content")
# Bytes that were decoded and encoded as text hold many replacement characters; no PDF does by chance.
_REPLACED = b"\xef\xbf\xbd"


def read(
    source: BinaryIO, *, folder: Path | None, limits: Limits, lines: bool = True, small: bool = False
) -> Package:
    """Read a package from a stream.

    Args:
        source: The stream.
        folder: Where attachments are written; ``None`` only looks.
        limits: How much the package may ask of this machine.
        lines: Whether it is told on which lines things stand, and how the header was written.
        small: Whether the package is in memory anyway, and so small that a copy of it may be, too.

    Raises:
        PackageError: This is no package, or it asks for more than the limits allow.
        InputError: The folder cannot be written to.
    """
    if folder is None:
        with _Looking() as place:
            return _read(source, place, limits, lines=lines, small=small)
    with _Writing(folder) as place:
        package = _read(source, place, limits, lines=lines, small=small)
        return dataclasses.replace(package, attachments=place.publish(package.attachments))


class _Looking:
    """Where decoded bytes go when nothing is kept: nowhere, or to nameless files for archives."""

    keep = False

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def __enter__(self) -> _Looking:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def open_file(self) -> BinaryIO:
        return cast("BinaryIO", self._open.enter_context(tempfile.TemporaryFile("w+b")))

    def settle(self, file: BinaryIO | None) -> Path | None:
        if file is not None:
            file.close()
        return None


class _Writing:
    """A working folder inside the target folder; what is in it is moved at the end, or thrown away."""

    keep = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Path] = []
        self._files: list[BinaryIO] = []

    def __enter__(self) -> _Writing:
        try:
            missing = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
            self._made = missing
            self._work = Path(tempfile.mkdtemp(prefix=".vnedoc-", dir=self._folder))
        except OSError as exc:
            raise InputError("file.cannot-write", path=self._folder, reason=exc.strerror) from exc
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self._work, ignore_errors=True)
        if kind is not None:
            for path in self._made:
                # A folder that was made for this package and is still empty goes too.
                with contextlib.suppress(OSError):
                    path.rmdir()

    def open_file(self) -> BinaryIO:
        path = self._work / f"{len(self._files)}.part"
        try:
            file = path.open("w+b")
        except OSError as exc:
            raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc
        self._files.append(file)
        return file

    def settle(self, file: BinaryIO | None) -> Path | None:
        if file is None:
            return None
        path = Path(file.name)
        try:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        except OSError as exc:
            raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc
        return path

    def publish(self, attachments: Sequence[ReceivedAttachment]) -> tuple[ReceivedAttachment, ...]:
        """Move every attachment to its name; a name that is taken in the folder is not touched."""
        mask = os.umask(0)
        os.umask(mask)
        moved: list[Path] = []
        result = []
        try:
            taken: set[str] = set()
            for attachment in attachments:
                target = self._reserve(attachment.file_name, taken)
                moved.append(target)
                if attachment.path is not None:
                    attachment.path.chmod(0o666 & ~mask)
                    attachment.path.replace(target)
                result.append(dataclasses.replace(attachment, file_name=target.name, path=target))
        except BaseException as exc:
            for path in moved:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            if isinstance(exc, OSError):
                raise InputError("file.cannot-write", path=self._folder, reason=exc.strerror) from exc
            raise
        return tuple(result)

    def _reserve(self, name: str, taken: set[str]) -> Path:
        while True:
            target = self._folder / unique_name(name, taken)
            try:
                # Fails on whatever stands there, a dangling link included.
                target.open("xb").close()
            except FileExistsError:
                continue
            return target


class _Attachments:
    """Decodes the attachments of one package as the parser comes by them."""

    def __init__(self, place: _Looking | _Writing, limits: Limits, warnings: Warnings) -> None:
        self.found: list[ReceivedAttachment] = []
        self._place = place
        self._limits = limits
        self._warnings = warnings
        self._budget = Budget(limits)
        self._sink: ContentSink | None = None

    def begin(self, attachment: Node) -> Callable[[str], None]:
        if self._sink is not None:
            self._refuse_second(attachment)
        if len(self.found) >= self._limits.max_attachments:
            raise PackageError("edxml.too-many-attachments", limit=self._limits.max_attachments)
        self._sink = ContentSink(
            self._place.open_file, keep=self._place.keep, budget=self._budget, name=self._label(attachment)
        )
        return self._sink.feed

    def content_end(self, attachment: Node) -> None:  # noqa: ARG002 - the sink knows
        if self._sink is not None:
            self._sink.finish()

    def end(self, attachment: Node) -> None:
        sink, self._sink = self._sink, None
        number = len(self.found) + 1
        path = names.path_of("AttachmentEncoded", "Attachment", number)
        self._warnings.place(path, attachment.line)
        if sink is None:
            self._warnings.add("edxml.missing-element", path, name="ContentTransferEncoded")
            return
        unknown: list[UnknownElement] = []
        view = View(attachment, path, self._warnings, unknown)
        name = view.text("AttachmentName") or view.text("FileName") or ""
        texts = {
            "content_id": view.text("ContentId"),
            "description": view.text("Description"),
            "content_type": view.text("ContentType") or view.text("FileType"),
        }
        for known in ("FieldName", "MimeType"):
            view.keep(known)
        for content in _CONTENT_NAMES:
            view.all(content)
        view.close()
        file_name = safe_name(name, index=number)
        if not name:
            self._warnings.add("edxml.missing-element", path, name="AttachmentName")
        elif file_name != name:
            self._warnings.add("edxml.unsafe-name", path, name=name[:200], safe=file_name)
        if sink.unpadded:
            self._warnings.add("edxml.base64-padding", path, name=file_name)
        if sink.size == 0:
            self._warnings.add("edxml.empty-attachment", path, name=file_name)
        found = self._decoded(sink, path, name, file_name, texts)
        # Where it stands in this package says nothing about where it will stand in another one.
        own = tuple(
            dataclasses.replace(item, parent="Attachment" + item.parent.removeprefix(path))
            for item in unknown
        )
        self.found.append(dataclasses.replace(found, unknown=own))

    def _decoded(
        self, sink: ContentSink, path: str, name: str, file_name: str, texts: dict[str, str | None]
    ) -> ReceivedAttachment:
        declared, content_id = texts["content_type"], texts["content_id"]
        if sink.file is None and self._place.keep:
            sink.file = self._place.open_file()
        outer_type = detect_type(sink.head)
        inner = unwrap(
            sink,
            file_name,
            open_file=self._place.open_file if self._place.keep else None,
            budget=self._budget,
        )
        if isinstance(inner, str):
            self._warnings.add(inner, path, name=file_name)
            inner = None
        file, size, sha256, head = sink.file, sink.size, sink.sha256, sink.head
        if inner is not None:
            sink.close()
            file, size, sha256, head = inner.file, inner.size, inner.sha256, inner.head
        self._check_type(path, file_name, declared, outer_type, head, zipped=inner is not None)
        return ReceivedAttachment(
            name=name,
            file_name=file_name,
            size=size,
            sha256=sha256,
            content_id=content_id.removeprefix("cid:") if content_id else None,
            description=texts["description"],
            content_type=declared,
            detected_type=detect_type(head),
            was_zipped=inner is not None,
            path=self._place.settle(file),
            payload_sha256=sink.sha256,
        )

    def _check_type(
        self, path: str, name: str, declared: str | None, outer: str | None, head: bytes, *, zipped: bool
    ) -> None:
        says_zip = (declared or "").lower() in {"application/zip", "application/x-zip-compressed"}
        if zipped and not says_zip:
            self._warnings.add(
                "edxml.content-type", path, name=name, declared=declared or "-", found=outer or "-"
            )
        elif says_zip and outer != "application/zip":
            found = outer or "application/octet-stream"
            self._warnings.add("edxml.content-type", path, name=name, declared=declared or "-", found=found)
        if name.lower().endswith(".pdf") and head and detect_type(head) != "application/pdf":
            self._warnings.add("edxml.not-a-pdf", path, name=name)
        elif head.startswith(b"%PDF-") and head.count(_REPLACED) >= 4:
            self._warnings.add("edxml.damaged-bytes", path, name=name)

    def _refuse_second(self, attachment: Node) -> None:
        raise PackageError("edxml.two-contents", name=self._label(attachment))

    def _label(self, attachment: Node) -> str:
        names = [child.text for child in attachment.children if child.name.lower() == "attachmentname"]
        return safe_name(names[0] if names else "", index=len(self.found) + 1)


class _Source:
    """The bytes of the package with their size and digest, without what stands before the XML."""

    def __init__(self, stream: BinaryIO, limits: Limits, warnings: Warnings, *, lines: bool) -> None:
        self._stream = stream
        self._limits = limits
        self._warnings = warnings
        self._digest = hashlib.sha256()
        self.size = 0
        self.first_line = 1
        self._scanner = Scanner(max_bytes=4 * limits.max_text_chars) if lines else None

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        first = self._next()
        while len(first) < self._limits.max_leading_bytes and (more := self._next()):
            first += more
        opening = open_text(first, self._warnings, max_leading_bytes=self._limits.max_leading_bytes)
        self.first_line = opening.first_line
        if self._scanner is not None:
            self._scanner = Scanner(first_line=opening.first_line, max_bytes=4 * self._limits.max_text_chars)
        yield self._scanned(opening.content)
        transcoder = opening.transcoder
        while chunk := self._next():
            yield self._scanned(chunk if transcoder is None else transcoder.feed(chunk))
            if transcoder is not None and transcoder.fault is not None:
                raise transcoder.fault
        if transcoder is not None:
            yield self._scanned(transcoder.feed(b"", final=True))
            if transcoder.fault is not None:
                raise transcoder.fault

    def _scanned(self, chunk: bytes) -> bytes:
        if self._scanner is not None:
            self._scanner.feed(chunk)
        return chunk

    @property
    def line(self) -> int | None:
        """The line that was reached; ``None`` if lines are not known."""
        return None if self._scanner is None else self._scanner.line

    @property
    def skeleton(self) -> bytes | None:
        """The package as written, without the text of its attachments; ``None`` if that is not known."""
        return None if self._scanner is None else self._scanner.skeleton

    def next_line(self, name: str) -> int | None:
        """Return the line of the next element that begins."""
        return None if self._scanner is None else self._scanner.next_line(name)

    def drain(self) -> None:
        """Read what is left, so that the digest is that of the whole file."""
        while self._next():
            pass

    def _next(self) -> bytes:
        chunk = self._stream.read(CHUNK_BYTES)
        self.size += len(chunk)
        if self.size > self._limits.max_package_bytes:
            raise PackageError("edxml.package-too-large", limit=self._limits.max_package_bytes)
        self._digest.update(chunk)
        return chunk


def _read(
    stream: BinaryIO, place: _Looking | _Writing, limits: Limits, *, lines: bool, small: bool
) -> Package:
    warnings = Warnings()
    source = _Source(stream, limits, warnings, lines=lines)
    attachments = _Attachments(place, limits, warnings)
    target = TreeTarget(
        limits,
        line_of=source.next_line,
        on_content=attachments.begin,
        on_content_end=attachments.content_end,
        on_attachment_end=attachments.end,
    )
    try:
        _parse(source, target, warnings, small=small and not lines)
    except PackageError as exc:
        if target.line is not None:
            exc.values.setdefault("line", target.line)
        raise
    except OSError as exc:
        raise InputError("file.cannot-read", path=getattr(stream, "name", "-"), reason=exc.strerror) from exc
    if target.root is None:
        raise PackageError("edxml.not-xml", reason="no element", line=source.first_line)
    understood = understand(target.root, warnings)
    found = _unique(attachments.found)
    if isinstance(understood.header, DocumentHeader) or found:
        _compare(understood.references, found, warnings)
    return Package(
        header=understood.header,
        attachments=found,
        warnings=tuple(warnings),
        size=source.size,
        sha256=source.sha256,
        signature=understood.signature,
        skeleton=source.skeleton if understood.has_signature else None,
        lines=warnings.lines,
    )


def _parse(source: _Source, target: TreeTarget, warnings: Warnings, *, small: bool) -> None:
    chunks: Iterable[bytes] = source.chunks()
    if small:
        content = b"".join(chunks)
        try:
            parse_whole_into(target, content)
        except XMLRefusedError:
            # What is wrong with it is found out below, and whether it stands behind the package only.
            chunks = [content]
        else:
            return
    try:
        parse_into(target, chunks)
    except DoctypeRefusedError as exc:
        # The scanner does not get past a declaration of this kind.
        raise PackageError("edxml.doctype", line=source.line) from exc
    except XMLRefusedError as exc:
        if target.ended:
            # The package itself was whole; something stands behind it.
            warnings.add("edxml.trailing-bytes", names.ROOT, line=source.line)
            source.drain()
            return
        reason = _PLACE.sub("", str(exc)).splitlines()[0][:200]
        line = source.first_line + exc.line - 1 if exc.line else source.line
        raise PackageError("edxml.not-xml", reason=reason, line=line) from exc


def _unique(found: Sequence[ReceivedAttachment]) -> tuple[ReceivedAttachment, ...]:
    taken: set[str] = set()
    return tuple(
        dataclasses.replace(attachment, file_name=unique_name(attachment.file_name, taken))
        for attachment in found
    )


def _compare(
    references: Sequence[Reference], found: Sequence[ReceivedAttachment], warnings: Warnings
) -> None:
    """Note where the manifest and the attachments do not agree."""
    listed_ids = {reference.content_id for reference in references if reference.content_id}
    listed_names = {reference.name for reference in references if reference.name}
    ids = collections.Counter(attachment.content_id for attachment in found if attachment.content_id)
    attached_names = {attachment.name for attachment in found}
    for content_id in sorted(item for item, count in ids.items() if count > 1):
        warnings.add("edxml.duplicate-content-id", "AttachmentEncoded", content_id=content_id[:200])
    for number, reference in enumerate(references, start=1):
        if reference.content_id not in ids and reference.name not in attached_names:
            label = reference.name or reference.content_id or str(number)
            warnings.add("edxml.missing-attachment", "edXMLBody/edXMLManifest", name=label[:200])
    for attachment in found:
        if attachment.content_id not in listed_ids and attachment.name not in listed_names:
            warnings.add("edxml.unlisted-attachment", "AttachmentEncoded", name=attachment.file_name)
