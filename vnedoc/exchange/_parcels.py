"""The steps of sending and receiving that need no network: read, judge, describe, lay out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import shutil
import time
from typing import TYPE_CHECKING

from vnedoc._internal import files
from vnedoc.errors import InputError, PackageError
from vnedoc.exchange._identity import package_identity
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.package import read_package, reply_header, write_package
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores.records import NewReceived, NewSent, Recipient, StatusNews
from vnedoc.exchange.validation import Level, validate_package
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.exchange.codes import StatusCode
    from vnedoc.exchange.connectors.base import RemoteMessage
    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.models import Organization, Package, StatusHeader
    from vnedoc.exchange.package import Dialect
    from vnedoc.exchange.stores.payloads import PayloadStore, StoredPayload
    from vnedoc.exchange.stores.records import ReceivedMessage

__all__ = [
    "Parcel",
    "judged",
    "new_sent",
    "place",
    "publish",
    "read_sendable",
    "status_parcel",
    "sweep",
]

QUARANTINE = "quarantine"


@dataclasses.dataclass(frozen=True, slots=True)
class Parcel:
    """A package that came in, with the judgement on it."""

    new: NewReceived
    """What is kept of it."""
    package: Package | None
    """The package; ``None`` if it cannot be read."""
    is_from_whom_the_axis_says: bool
    """Whether the package and the axis name the same sender."""

    def as_conflict(self) -> NewReceived:
        """Return what is kept of it if another package has its identity."""
        reason = Finding("exchange.received-conflict", {"document_id": self.new.document_id})
        return dataclasses.replace(self.new, accepted=False, reasons=(reason, *self.new.reasons))


def read_sendable(path: Path, *, name: Path) -> Package:
    """Read a package that is to be sent, and refuse what no axis could deliver.

    Args:
        path: The package.
        name: What errors call it.

    Raises:
        PackageError: It cannot be read, or lacks what an axis needs.
    """
    try:
        with path.open("rb") as stream:
            package = read_package(stream, folder=None)
        validate_package(package, level=Level.AXIS).raise_for_status()
    except OSError as exc:
        raise InputError("file.cannot-read", path=name, reason=exc.strerror) from exc
    except PackageError as exc:
        exc.values.setdefault("path", name)
        raise
    return package


def new_sent(package: Package, payload: StoredPayload) -> NewSent:
    """Return what the outbox must know of a package."""
    header = package.header
    if isinstance(header, DocumentHeader):
        recipients = tuple(Recipient(item.organ_id, item.organ_name) for item in header.recipients)
        document_id, code, subject = header.document_id, header.code, header.subject
    else:
        about = header.response_for
        recipients = (Recipient(about.organ_id or "", about.organ_id or ""),)
        document_id, code, subject = about.document_id or "", about.code or "", str(header.status_code)
    return NewSent(
        kind=package.kind,
        identity=package_identity(package),
        sender_code=header.sender.organ_id,
        recipients=recipients,
        document_id=document_id,
        code=code,
        subject=subject,
        payload=payload,
    )


def status_parcel(
    package: Package,
    code: StatusCode,
    reason: str | None,
    *,
    organization: Organization,
    dialect: Dialect,
    payloads: PayloadStore,
    at: datetime.datetime,
) -> tuple[NewSent, StatusNews]:
    """Write a status about a received document; return what the outbox must know, and what it says."""
    header = reply_header(package, sender=organization, status_code=code, at=at, description=reason)
    with payloads.temporary() as path:
        write_package(header, [], path, dialect=dialect)
        status = read_package(path, folder=None)
        payload = payloads.adopt(path)
    return new_sent(status, payload), _news(header)


@contextlib.contextmanager
def judged(
    remote: RemoteMessage,
    payload: StoredPayload,
    payloads: PayloadStore,
    folder: Path,
    verify: Judge | None,
) -> Iterator[Parcel]:
    """Read and judge a package that came in; its attachments are on the disk until the block ends.

    Raises:
        InputError: The folder cannot be written to.
    """
    with _workspace(folder, payload.sha256) as work:
        package, reasons = _read(payloads.path(payload.sha256), work, remote.kind)
        warnings: tuple[Finding, ...] = ()
        same_sender = package is not None and remote.sender_code in {None, package.header.sender.organ_id}
        if package is not None:
            if not same_sender:
                reasons = (*reasons, _other_sender(package, remote))
            if verify is not None and not reasons:
                judgement = verify(package)
                warnings = judgement.warnings
                reasons = judgement.reasons
                if not judgement.accepted and not reasons:
                    reasons = (Finding("exchange.not-accepted"),)
        yield Parcel(_describe(remote, payload, package, reasons, warnings), package, same_sender)


def sweep(folder: Path, *, older_than_s: float = 24 * 3600.0) -> None:
    """Remove what a killed process left half laid out; younger leftovers may belong to one that is at work."""
    limit = time.time() - older_than_s
    for work in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if work.is_dir() and work.stat().st_mtime <= limit:
                shutil.rmtree(work)


def place(message: ReceivedMessage, folder: Path) -> Path:
    """Return where a message is laid out for people."""
    if message.delivery is DeliveryState.QUARANTINED:
        folder = folder / QUARANTINE
    return folder / f"{message.id}.edxml"


def publish(message: ReceivedMessage, payloads: PayloadStore, folder: Path) -> None:
    """Lay a message out for people: the package and its attachments, or, apart, the package and the reasons.

    Doing it again does it right: what a killed process left half done is replaced.

    Raises:
        InputError: The folder cannot be written to.
    """
    target = place(message, folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if message.delivery is DeliveryState.QUARANTINED:
            _write_reasons(message, target.with_suffix(".json"))
        elif message.kind is PackageKind.DOCUMENT:
            _unpack(message, payloads, folder)
        with payloads.open(message.payload.sha256) as source, files.atomic_write(target) as output:
            shutil.copyfileobj(source, output)
    except OSError as exc:
        raise InputError("file.cannot-write", path=target, reason=exc.strerror) from exc


def _unpack(message: ReceivedMessage, payloads: PayloadStore, folder: Path) -> None:
    final = folder / message.id
    if final.exists():
        return
    with _workspace(folder, message.id) as work:
        read_package(payloads.path(message.payload.sha256), folder=work)
        work.mkdir(exist_ok=True)
        work.replace(final)


def _write_reasons(message: ReceivedMessage, path: Path) -> None:
    reasons = [
        {"id": finding.id, "vi": finding.text("vi"), "en": finding.text("en")} for finding in message.reasons
    ]
    document = {
        "schema": "vnedoc.quarantine/1",
        "id": message.id,
        "doc_id": message.remote_doc_id,
        "from": message.sender_code,
        "document_id": message.document_id,
        "sha256": message.payload.sha256,
        "reasons": reasons,
    }
    files.write_bytes(path, json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n")


@contextlib.contextmanager
def _workspace(folder: Path, name: str) -> Iterator[Path]:
    """Name a folder to work in, beside the final place so that a rename moves it there; removed at the end."""
    work = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield work
    except OSError as exc:
        raise InputError("file.cannot-write", path=folder, reason=exc.strerror) from exc
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(path: Path, work: Path, kind: PackageKind) -> tuple[Package | None, tuple[Finding, ...]]:
    try:
        with path.open("rb") as stream:
            package = read_package(stream, folder=work)
    except PackageError as exc:
        return None, (Finding(exc.code, dict(exc.values)),)
    findings = [
        Finding(item.id, {"element": item.element, **item.values})
        for item in validate_package(package, level=Level.LENIENT).errors
    ]
    if package.kind is not kind:
        findings.append(Finding("exchange.other-kind"))
    return package, tuple(findings)


def _other_sender(package: Package, remote: RemoteMessage) -> Finding:
    return Finding(
        "exchange.other-sender",
        {"code": package.header.sender.organ_id, "axis_code": remote.sender_code or ""},
    )


def _describe(
    remote: RemoteMessage,
    payload: StoredPayload,
    package: Package | None,
    reasons: tuple[Finding, ...],
    warnings: tuple[Finding, ...],
) -> NewReceived:
    kind, news = remote.kind, None
    sender_code, sender_name = remote.sender_code or "", ""
    document_id = code = subject = ""
    identity = payload.sha256
    if package is not None:
        header = package.header
        kind, identity = package.kind, package_identity(package)
        sender_code, sender_name = header.sender.organ_id, header.sender.organ_name
        if isinstance(header, DocumentHeader):
            document_id, code, subject = header.document_id, header.code, header.subject
        else:
            news = _news(header)
            document_id, code, subject = news.document_id, news.document_code, news.code
    return NewReceived(
        remote_doc_id=remote.doc_id,
        kind=kind,
        identity=identity,
        accepted=not reasons,
        reasons=reasons or warnings,
        sender_code=sender_code,
        sender_name=sender_name,
        document_id=document_id,
        code=code,
        subject=subject,
        payload=payload,
        news=news,
    )


def _news(header: StatusHeader) -> StatusNews:
    about = header.response_for
    return StatusNews(
        code=str(header.status_code),
        reporter=header.sender.organ_id,
        about=about.organ_id or "",
        document_id=about.document_id or "",
        document_code=about.code or "",
        description=header.description,
        reported_at=header.timestamp,
    )
