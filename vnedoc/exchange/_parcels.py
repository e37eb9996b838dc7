"""The steps of sending and receiving that need no network: read, judge, describe."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Any

from vnedoc.errors import InputError, PackageError
from vnedoc.exchange._identity import package_identity
from vnedoc.exchange._received_orders import orders_in
from vnedoc.exchange.codes import BusinessKind, PackageKind, Priority
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.package import read_package, reply_header, write_package
from vnedoc.exchange.stores.records import NewReceived, NewSent, Recipient, StatusNews
from vnedoc.exchange.validation import Level, validate_package
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.exchange._desk import ExchangeOptions
    from vnedoc.exchange.codes import StatusCode
    from vnedoc.exchange.connectors.base import RemoteMessage
    from vnedoc.exchange.judgement import Judge
    from vnedoc.exchange.models import Organization, Package, StatusHeader
    from vnedoc.exchange.package import Dialect
    from vnedoc.exchange.stores.payloads import PayloadStore, StoredPayload

__all__ = [
    "Parcel",
    "judged",
    "new_sent",
    "read_sendable",
    "status_parcel",
    "sweep",
    "workspace",
]


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
    facts: dict[str, Any] = {}  # fields of NewSent
    if isinstance(header, DocumentHeader):
        recipients = tuple(Recipient(item.organ_id, item.organ_name) for item in header.recipients)
        document_id, code, subject = header.document_id, header.code, header.subject
        facts = _facts(header)
        if header.business.kind not in {BusinessKind.NEW, BusinessKind.REPLACE}:
            # A recall and an update bear the date of the document that they are about.
            facts["issued_on"] = None
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
        **facts,
    )


def _facts(header: DocumentHeader) -> dict[str, Any]:  # fields of NewSent and NewReceived
    priority = header.other_info.priority
    return {
        "business_kind": header.business.kind,
        # Numbers that only their sender knows say nothing of urgency.
        "priority": priority if priority is not None and priority in set(Priority) else Priority.NORMAL.value,
        "paper": header.business.paper if header.business.paper is not None else header.trace_list_paper,
        "issued_on": header.promulgation_date,
    }


def status_parcel(
    package: Package,
    code: StatusCode,
    reason: str | None,
    *,
    organization: Organization,
    dialect: Dialect,
    payloads: PayloadStore,
    at: datetime.datetime,
    receiver: str | None = None,
) -> tuple[NewSent, StatusNews]:
    """Write a status about a document; return what the outbox must know, and what it says.

    Args:
        package: The document that was received; for status 13 the one that was sent.
        code: What became of it.
        reason: In words.
        organization: Who reports.
        dialect: How it is written.
        payloads: Where it is kept.
        at: When.
        receiver: For status 13: who is asked.
    """
    header = reply_header(
        package, sender=organization, status_code=code, at=at, description=reason, receiver=receiver
    )
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
    *,
    codes: frozenset[str],
    options: ExchangeOptions,
) -> Iterator[Parcel]:
    """Read and judge a package that came in; its attachments are on the disk until the block ends.

    Raises:
        InputError: The folder cannot be written to.
    """
    with workspace(folder, payload.sha256) as work, payloads.local(payload.sha256) as path:
        package, reasons = _read(path, work, remote.kind)
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
        new = _describe(remote, payload, package, reasons, warnings)
        if package is not None:
            orders = orders_in(package.header, codes=codes, options=options)
            new = dataclasses.replace(
                new, recipient_code=_addressed(remote, package.header, codes), orders=orders
            )
        yield Parcel(new, package, same_sender)


def _addressed(
    remote: RemoteMessage, header: DocumentHeader | StatusHeader, codes: frozenset[str]
) -> str | None:
    """Return which of our codes a package is addressed to."""
    if remote.recipient_code in codes:
        return remote.recipient_code
    if isinstance(header, DocumentHeader):
        return next((item.organ_id for item in header.recipients if item.organ_id in codes), None)
    return header.response_for.organ_id


def sweep(folder: Path, *, older_than_s: float = 24 * 3600.0) -> None:
    """Remove what a killed process left half laid out; younger leftovers may belong to one that is at work."""
    limit = time.time() - older_than_s
    for work in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if work.stat().st_mtime > limit:
                continue
            # A folder with attachments, or a file that never got its name.
            if work.is_dir():
                shutil.rmtree(work)
            else:
                work.unlink()


@contextlib.contextmanager
def workspace(folder: Path, name: str) -> Iterator[Path]:
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
    facts: dict[str, Any] = {}  # fields of NewReceived
    sender_code, sender_name = remote.sender_code or "", ""
    document_id = code = subject = ""
    identity = payload.sha256
    if package is not None:
        header = package.header
        kind, identity = package.kind, package_identity(package)
        sender_code, sender_name = header.sender.organ_id, header.sender.organ_name
        if isinstance(header, DocumentHeader):
            document_id, code, subject = header.document_id, header.code, header.subject
            first = next((item.timestamp for item in header.trace if item.timestamp is not None), None)
            facts = {**_facts(header), "due_on": header.due_date, "dispatched_at": first}
        else:
            news = _news(header)
            facts = {"dispatched_at": header.timestamp}
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
        **facts,
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
