"""Offices that share a folder: the same five calls and the same guarantees, without an axis.

Each office has a box in the folder, named after its code::

    ROOT/offices/H99.1/office.json      who it is
    ROOT/offices/H99.1/packages/ID.json what waits: written before the package
    ROOT/offices/H99.1/packages/ID.edxml
    ROOT/offices/H99.1/receipts/ID.done what the office made of it (processing, done, fail)
    ROOT/offices/H99.1/sent/ID.json     what the office sent, and to whom

A file appears under its name only when it is whole and on the disk (temporary name, fsync, rename, fsync of the
folder). An id is made of the document's identity, its content and its recipient, so a package that is sent
again lands on its own name: nothing arrives twice, whoever was killed when. A receipt is written before the package
goes; a package whose receipt is there is neither listed nor written again.

The folder is trusted as far as its permissions go: who may write to a box can put a package there in anyone's name.
The signatures of the documents tell who sent them, as everywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vnedoc._internal import files, transfers
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.errors import ConnectorError, InputError, PackageError, RefusedError
from vnedoc.exchange._identity import package_identity
from vnedoc.exchange.connectors.base import (
    DEFAULT_MAX_PACKAGE_BYTES,
    Connector,
    Fault,
    Objection,
    RemoteAgency,
    RemoteMessage,
    SentReport,
    error_for_code,
)
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.package import read_package
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.validation import Level, validate_package

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.models import Package

__all__ = ["FolderConnector", "FolderOptions"]

_CHUNK_BYTES = 1024 * 1024
_MAX_NOTE_BYTES = 1024 * 1024
_NOTE = re.compile(r"([0-9a-f]{32})\.json")
# No such file, a file in place of a folder, a link.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
# The furthest first.
_RECEIPTS = (TransportStatus.DONE, TransportStatus.FAIL, TransportStatus.PROCESSING)
# Codes as the provincial axes have them, so that people and logs need to know one table only.
_UNKNOWN_RECIPIENT, _UNKNOWN_SENDER, _INVALID, _CONFLICT, _UNKNOWN, _BACKWARDS = (
    "18",
    "19",
    "22",
    "24",
    "25",
    "27",
)
_OBJECTIONS = {_UNKNOWN_SENDER: Objection.SENDER, _UNKNOWN_RECIPIENT: Objection.RECIPIENT}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """Which office uses the folder, and how."""

    max_package_bytes: int = DEFAULT_MAX_PACKAGE_BYTES
    """The largest package that is sent or fetched."""
    organ_name: str | None = None
    """Name of the office, for the list of agencies; ``None``: its code."""
    old_code: str | None = None
    """Its code by QCVN 102:2016; packages for it arrive too."""


class FolderConnector(Connector):
    """An office's way to the others that share a folder.

    Args:
        root: The folder. It must be there: a folder that is missing is a share that is not mounted.
        code: The code of the office; its box is made when it is first needed.
        name: What errors and attempts call it.
        options: Which office.
        clock: Tells the time.
    """

    objections = _OBJECTIONS

    def __init__(
        self,
        root: Path,
        code: str,
        *,
        name: str = "folder",
        options: FolderOptions = FolderOptions(),
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        super().__init__(name, max_package_bytes=options.max_package_bytes)
        self._root = root
        self._code = code
        self._options = options
        self._clock = clock
        self._known_note: bytes | None = None

    def __repr__(self) -> str:
        return f"FolderConnector({str(self._root)!r}, {self._code!r})"

    def close(self) -> None:
        """Nothing is held open."""

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        with self._reaching():
            box = self._own_box()
            found = []
            for doc_id, note in self._notes(box / "packages"):
                payload = box / "packages" / f"{doc_id}.edxml"
                if note.get("kind") != kind.value or not payload.exists():
                    continue
                status = _status(box, doc_id)
                if status.has_ended:
                    # A second attempt of the sender ended after our receipt: there is nothing new in it.
                    payload.unlink(missing_ok=True)
                    continue
                found.append(
                    RemoteMessage(
                        doc_id,
                        kind,
                        _text(note, "from"),
                        _text(note, "to"),
                        status,
                        _text(note, "created_time"),
                    )
                )
        return sorted(found, key=lambda message: (message.created_at or "", message.doc_id))

    def _list_sent(self, kind: PackageKind) -> list[SentReport]:
        reports = []
        with self._reaching():
            for sender_doc_id, note in self._notes(self._own_box() / "sent"):
                recipients = note.get("recipients")
                if note.get("kind") != kind.value or not isinstance(recipients, dict):
                    continue
                for code, doc_id in recipients.items():
                    status = _status(self._box(code), str(doc_id))
                    reports.append(SentReport(sender_doc_id, str(doc_id), code, status))
        return reports

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        with self._reaching():
            note = self._note(self._own_box() / "packages" / f"{doc_id}.json")
        if note is None:
            raise self._refusal(_UNKNOWN, f"no package {doc_id}")
        digest = hashlib.sha256()
        # Written outside the block that speaks of the share: our own disk is another matter.
        for chunk in self._payload_chunks(doc_id):
            digest.update(chunk)
            stream.write(chunk)
            transfers.moved(len(chunk))
        if digest.hexdigest() != note.get("sha256"):
            # Some programs that copy shares between machines are not as careful as a rename.
            raise ConnectorError("connector.bad-answer", name=self.name, reason="SHA-256")

    def _payload_chunks(self, doc_id: str) -> Iterator[bytes]:
        with contextlib.ExitStack() as stack:
            with self._reaching():
                source = stack.enter_context(_opened(self._own_box() / "packages" / f"{doc_id}.edxml"))
            if source is None:
                raise self._refusal(_UNKNOWN, f"no package {doc_id}")
            while True:
                with self._reaching():
                    chunk = source.read(_CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        with self._reaching():
            box = self._own_box()
            current = _status(box, doc_id)
            if current is TransportStatus.INITIAL and self._note(box / "packages" / f"{doc_id}.json") is None:
                raise self._refusal(_UNKNOWN, f"no package {doc_id}")
            if not current.may_become(status):
                raise self._refusal(_BACKWARDS, f"{doc_id} is {current.value}")
            if status is not current:
                _write(box / "receipts" / f"{doc_id}.{status.value}", self._now().encode())
            if status.has_ended:
                # After the receipt is on the disk: who looks in between finds one of the two.
                for ending in ("edxml", "json"):
                    (box / "packages" / f"{doc_id}.{ending}").unlink(missing_ok=True)

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        package = self._sendable(path, sender_code, kind)
        with self._reaching():
            boxes = self._recipients(package)
            identity = package_identity(package)
            # Both names are as long as a digest is safe; a path has its limits.
            sender_doc_id = _digest(identity)
            doc_ids = {code: _digest(identity, package.sha256, code) for code in boxes}
            note = self._own_box() / "sent" / f"{sender_doc_id}.json"
            known = self._note(note)
            if known is not None and known.get("sha256") != package.sha256:
                raise self._refusal(_CONFLICT, f"another package with the identity of {path.name} was sent")
            sent = {"kind": kind.value, "sha256": package.sha256, "recipients": doc_ids, "at": self._now()}
            if known is None:
                _write(note, _json(sent))
            for code, box in boxes.items():
                # All copies together are one transfer, of the size of the package.
                self._deliver(path, size, package, box, doc_ids[code], code, copies=len(boxes))
        return sender_doc_id

    def _deliver(
        self, path: Path, size: int, package: Package, box: Path, doc_id: str, code: str, *, copies: int
    ) -> None:
        payload = box / "packages" / f"{doc_id}.edxml"
        # In this order: an office writes its receipt before it removes the package.
        if payload.exists() or _status(box, doc_id).has_ended:
            return
        note = {
            "kind": package.kind.value,
            "from": package.header.sender.organ_id,
            "to": code,
            "sha256": package.sha256,
            "size": size,
            "created_time": self._now(),
        }
        _write(box / "packages" / f"{doc_id}.json", _json(note))
        digest = hashlib.sha256()
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(path.open("rb"))
            except OSError as exc:
                raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
            target = stack.enter_context(files.atomic_write(payload))
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
                transfers.moved(len(chunk) // copies)
            if digest.hexdigest() != package.sha256:
                raise InputError("connector.file-changed", path=path)
        _sync(payload.parent)

    def _agencies(self) -> list[RemoteAgency]:
        with self._reaching():
            self._own_box()
            return [
                RemoteAgency(code, _text(note, "name") or code, old_code=_text(note, "old_code"))
                for code, note in self._offices()
            ]

    def _sendable(self, path: Path, sender_code: str, kind: PackageKind) -> Package:
        try:
            with path.open("rb") as stream:
                package = read_package(stream, folder=None)
            validate_package(package, level=Level.AXIS).raise_for_status()
        except OSError as exc:
            raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
        except PackageError as exc:
            raise self._refusal(_INVALID, str(exc)) from exc
        if package.kind is not kind:
            raise self._refusal(_INVALID, f"the package is a {package.kind.value}")
        own = {self._code, self._options.old_code}
        for code in (sender_code, package.header.sender.organ_id):
            if code not in own:
                raise self._refusal(_UNKNOWN_SENDER, f"{code} is not the office {self._code}")
        return package

    def _recipients(self, package: Package) -> dict[str, Path]:
        header = package.header
        if isinstance(header, DocumentHeader):
            wanted = [recipient.organ_id for recipient in header.recipients]
        else:
            wanted = [header.response_for.organ_id or ""]
        known: dict[str, str] = {}
        for code, note in self._offices():
            known.setdefault(_text(note, "old_code") or code, code)
            known[code] = code
        unknown = [code for code in wanted if code not in known]
        if unknown or not wanted:
            # As a whole: a sender that was told "sent" must not find out later who was left out.
            raise self._refusal(_UNKNOWN_RECIPIENT, ", ".join(unknown) or "-")
        return {known[code]: self._box(known[code]) for code in wanted}

    def _offices(self) -> Iterator[tuple[str, dict[str, Any]]]:  # JSON
        for folder in sorted((self._root / "offices").iterdir()):
            note = self._note(folder / "office.json")
            code = None if note is None else _text(note, "code")
            # The box and what it says of itself must agree.
            if note is not None and code is not None and _box_name(code) == folder.name:
                yield code, note

    def _box(self, code: str) -> Path:
        return self._root / "offices" / _box_name(code)

    def _own_box(self) -> Path:
        box = self._box(self._code)
        note = _json(
            {
                "schema": "vnedoc.folder/1",
                "code": self._code,
                "name": self._options.organ_name or self._code,
                "old_code": self._options.old_code,
            }
        )
        if self._known_note != note or not box.is_dir():
            if not self._root.is_dir():
                raise ConnectorError(
                    "connector.folder-away", name=self.name, path=self._root, reason="not mounted"
                )
            for part in ("packages", "receipts", "sent"):
                (box / part).mkdir(parents=True, exist_ok=True)
            _write(box / "office.json", note)
            _sync(box.parent)
            self._known_note = note
        return box

    def _notes(self, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:  # JSON
        for path in list(folder.iterdir()):
            match = _NOTE.fullmatch(path.name)
            note = None if match is None else self._note(path)
            if match is not None and note is not None:
                yield match[1], note

    def _note(self, path: Path) -> dict[str, Any] | None:  # JSON
        with _opened(path) as stream:
            if stream is None:
                return None
            content = stream.read(_MAX_NOTE_BYTES)
        try:
            note = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return note if isinstance(note, dict) else None

    def _now(self) -> str:
        return f"{vietnam(self._clock()):%Y/%m/%d %H:%M:%S}"

    def _refusal(self, code: str, message: str) -> RefusedError:
        error = error_for_code(self.name, code, message, Fault.NEVER)
        assert isinstance(error, RefusedError)
        return error

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn trouble with the share into an error that is worth another try."""
        try:
            yield
        except OSError as exc:
            raise ConnectorError(
                "connector.folder-away", name=self.name, path=self._root, reason=exc.strerror or str(exc)
            ) from exc
        except InputError as exc:
            if exc.code != "file.cannot-write":
                raise
            raise ConnectorError(
                "connector.folder-away", name=self.name, path=self._root, reason=exc.values.get("reason")
            ) from exc


def _box_name(code: str) -> str:
    # Percent signs keep what would be a path; a dot in front would hide the folder, or climb.
    name = quote(code, safe="")
    return "%2E" + name[1:] if name.startswith(".") else name


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, indent=1).encode()


def _text(note: dict[str, Any], key: str) -> str | None:  # JSON
    value = note.get(key)
    return value if isinstance(value, str) and value else None


def _status(box: Path, doc_id: str) -> TransportStatus:
    for status in _RECEIPTS:
        if (box / "receipts" / f"{doc_id}.{status.value}").exists():
            return status
    return TransportStatus.INITIAL


def _write(path: Path, content: bytes) -> None:
    files.write_bytes(path, content)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    """Open a regular file of the share; ``None`` if there is none. A link could point at a file of this machine."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno not in _NOT_THERE:
            raise
        yield None
        return
    with os.fdopen(handle, "rb") as stream:
        yield stream if stat.S_ISREG(os.fstat(handle).st_mode) else None
