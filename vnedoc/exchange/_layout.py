"""Lay messages out for people: the package and its attachments; apart, what is in quarantine; and what was recalled.

Doing it again does it right: what a killed process left half done is replaced.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc._internal import files
from vnedoc._internal.clock import vietnam
from vnedoc.errors import InputError
from vnedoc.exchange._parcels import workspace
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.package import read_package
from vnedoc.exchange.states import DeliveryState, OrderKind

if TYPE_CHECKING:
    from vnedoc.exchange.stores.payloads import PayloadStore
    from vnedoc.exchange.stores.records import DocumentOrder, ReceivedMessage

__all__ = ["CANCELLED", "QUARANTINE", "place", "post_notice", "publish", "published_in"]

QUARANTINE = "quarantine"
CANCELLED = "cancelled"
"""Folder that what was laid out is moved to when its sender takes it back."""
# For people who look into the folder, in the language of the documents.
_NOTICES = {
    OrderKind.RECALL: "DA-THU-HOI",
    OrderKind.TAKE_BACK: "DA-THU-HOI",
    OrderKind.UPDATE: "DA-CAP-NHAT",
    OrderKind.REPLACE: "DA-THAY-THE",
}


def place(message: ReceivedMessage, folder: Path) -> Path:
    """Return where a message is laid out for people; for one that was recalled, its notice."""
    if message.delivery is DeliveryState.CANCELLED:
        return _notice_path(message, OrderKind.RECALL, folder)
    if message.delivery is DeliveryState.QUARANTINED:
        folder = folder / QUARANTINE
    return folder / f"{message.id}.edxml"


def published_in(message: ReceivedMessage) -> Path | None:
    """Return the folder in which a message was laid out; ``None`` if it is not on this machine."""
    folder = None if message.published_in is None else Path(message.published_in)
    return folder if folder is not None and folder.is_dir() else None


def publish(message: ReceivedMessage, payloads: PayloadStore, folder: Path) -> None:
    """Lay a message out; of one that was recalled nothing.

    Raises:
        InputError: The folder cannot be written to.
    """
    if message.delivery is DeliveryState.CANCELLED:
        return
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


def post_notice(message: ReceivedMessage, order: DocumentOrder, folder: Path) -> Path:
    """Say beside the files of a document what became of it; move away what was recalled.

    Raises:
        InputError: The folder cannot be written to.
    """
    path = _notice_path(message, order.kind, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The notice first: nobody finds the folder empty without knowing why.
        files.write_bytes(path, _notice(message, order).encode())
        if order.kind.cancels:
            _move_away(message, folder)
    except OSError as exc:
        raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc
    return path


def _notice_path(message: ReceivedMessage, kind: OrderKind, folder: Path) -> Path:
    return folder / f"{message.id}.{_NOTICES[kind]}.txt"


def _notice(message: ReceivedMessage, order: DocumentOrder) -> str:
    ordered_at = order.settled_at or order.created_at
    values = {
        "code": _line(message.code),
        "document_id": _line(message.document_id),
        "subject": _line(message.subject),
        "sender": _line(f"{message.sender_name} ({message.sender_code})"),
        "reason": _line(order.reason or "-"),
        "time": f"{vietnam(ordered_at):%d/%m/%Y %H:%M}",
        "order": order.order_id or "-",
        "folder": CANCELLED,
    }
    texts = {
        OrderKind.RECALL: "exchange.notice-recalled",
        OrderKind.TAKE_BACK: "exchange.notice-recalled",
        OrderKind.UPDATE: "exchange.notice-updated",
        OrderKind.REPLACE: "exchange.notice-replaced",
    }
    return messages.text(texts[order.kind], "vi", **values) + "\n"


def _line(text: str) -> str:
    """Return a text of a stranger as one line, so that it cannot look like another part of the notice."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _move_away(message: ReceivedMessage, folder: Path) -> None:
    aside = folder / CANCELLED
    names = (f"{message.id}.edxml", f"{message.id}.json", message.id)
    for source in (place / name for place in (folder, folder / QUARANTINE) for name in names):
        target = aside / source.name
        if not source.exists():
            continue
        aside.mkdir(exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target)
        source.replace(target)


def _unpack(message: ReceivedMessage, payloads: PayloadStore, folder: Path) -> None:
    final = folder / message.id
    if final.exists():
        return
    with workspace(folder, message.id) as work, payloads.local(message.payload.sha256) as path:
        read_package(path, folder=work)
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
