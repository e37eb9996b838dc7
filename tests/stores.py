"""An agency's store with TEST messages in it."""

from __future__ import annotations

import datetime
import hashlib

from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.stores.payloads import StoredPayload
from vnedoc.exchange.stores.records import NewReceived, NewSent, Recipient, SentMessage, StatusNews
from vnedoc.exchange.stores.store import AgencyStore

NOW = datetime.datetime(2026, 11, 21, 2, 0, tzinfo=datetime.UTC)
LEASE = datetime.timedelta(seconds=60)
OWN = "000.00.00.H99"
CONNECTION = "TEST"


def after(**units: float) -> datetime.datetime:
    return NOW + datetime.timedelta(**units)


def put_payload(store: AgencyStore, content: bytes) -> StoredPayload:
    with store.payloads.temporary() as path:
        path.write_bytes(content)
        return store.payloads.adopt(path)


def new_sent(store: AgencyStore, name: str, *, recipients: int = 1, **changes: object) -> NewSent:
    values = {
        "kind": PackageKind.DOCUMENT,
        "identity": hashlib.sha256(name.encode()).hexdigest(),
        "sender_code": OWN,
        "recipients": tuple(
            Recipient(f"000.00.{number:04}.H99", f"Sở TEST {number}") for number in range(recipients)
        ),
        "document_id": f"TEST-{name}",
        "code": f"{name}/QĐ-TEST",
        "subject": f"Quyết định TEST {name}",
        "payload": changes.pop("payload", None) or put_payload(store, f"TEST {name}".encode()),
    }
    return NewSent(**(values | changes))


def queue(store: AgencyStore, name: str, *, at: datetime.datetime = NOW, **changes: object):
    return store.queue(new_sent(store, name, **changes), connection=CONNECTION, at=at)


def send(store: AgencyStore, name: str, *, at: datetime.datetime = NOW, **changes: object):
    message = queue(store, name, at=at, **changes)
    claimed = store.begin_attempt(message.id, now=at, lease=LEASE, owner="TEST")
    assert claimed is not None
    return store.end_attempt_sent(message.id, owner="TEST", remote_doc_id=f"axis-{name}", at=at)


def new_received(store: AgencyStore, name: str, **changes: object) -> NewReceived:
    values = {
        "remote_doc_id": f"axis-{name}",
        "kind": PackageKind.DOCUMENT,
        "identity": hashlib.sha256(b"in" + name.encode()).hexdigest(),
        "accepted": True,
        "reasons": (),
        "sender_code": "000.00.01.H99",
        "sender_name": "Ủy ban TEST",
        "document_id": f"TEST-in-{name}",
        "code": f"{name}/CV-TEST",
        "subject": f"Công văn TEST {name}",
        "payload": changes.pop("payload", None) or put_payload(store, f"TEST in {name}".encode()),
    }
    return NewReceived(**(values | changes))


def try_often(
    store: AgencyStore, message: SentMessage, *, at: datetime.datetime, times: int = 1, owner: str = "A"
) -> None:
    """Try a message without success; it stays due."""
    for _ in range(times):
        assert store.begin_attempt(message.id, now=at, lease=LEASE, owner=owner, early=True)
        store.end_attempt_trouble(message.id, owner=owner, error_code="TEST", due_at=at, at=at)


def receive(store: AgencyStore, name: str, *, at: datetime.datetime = NOW, reply=None, **changes: object):
    new = new_received(store, name, **changes)
    return store.keep(new, conflict=new, connection=CONNECTION, at=at, reply=reply)


def status_news(name: str, code: str, *, reporter: str = "000.00.0000.H99") -> StatusNews:
    return StatusNews(code, reporter, OWN, f"TEST-{name}", f"{name}/QĐ-TEST", None, None)


def receive_status(store: AgencyStore, name: str, code: str, *, at: datetime.datetime = NOW):
    news = status_news(name, code)
    new = new_received(
        store,
        f"status-{name}-{code}",
        kind=PackageKind.STATUS,
        sender_code=news.reporter,
        document_id=news.document_id,
        code=news.document_code,
        subject=code,
        news=news,
    )
    return store.keep(new, conflict=new, connection=CONNECTION, at=at, reply=None)
