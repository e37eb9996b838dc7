"""Long lists stay quick: the same questions to a store of 2,000 messages and to one of 200,000, on both databases.

A question is good if it costs about the same in both: the ratio is what counts, the times are for orientation. Three
read everything, as they must: a text that is nowhere, the deadlines, the counters. And one document to 1,000
recipients is queued in less than a second, with one stored payload.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tests.benchmarks.harness import peak_mib
from tests.database_fixtures import PostgreSQL
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.counters import count_received, count_sent
from vnedoc.exchange.deadlines import find_late
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores._search import folded
from vnedoc.exchange.stores.models import (
    AttemptRow,
    ConsignmentRow,
    EventRow,
    LogHeadRow,
    ReceivedIdRow,
    ReceivedRow,
    SentRow,
)
from vnedoc.exchange.stores.records import MessageFilter, NewSent, Recipient
from vnedoc.exchange.stores.store import AgencyStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.exchange.deadlines import Deadline
    from vnedoc.exchange.stores.payloads import StoredPayload

SIZES = (2_000, 200_000)
NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
LEASE = datetime.timedelta(seconds=60)
_BATCH = 5_000
_ROUNDS = 5
_PARKED_EVERY = 1_000
_DUE = 50
_MOVED = {
    state: _log.canonical({"moved": [{"set": {"delivery": state}}]})
    for state in ("queued", "parked", "delivered", "accepted")
}


def run(folder: Path) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="vnedoc-pg-") as name:
        data = Path(name) / "data"
        data.mkdir(mode=0o700)
        server = PostgreSQL(data, durable=True)
        try:
            for kind in ("SQLite", "PostgreSQL"):
                _measure(kind, folder, server)
        finally:
            server.stop()


def _late(store: AgencyStore) -> list[Deadline]:
    """Do what “vnedoc status --late” does."""
    return find_late(store.sent_facts(late_at=NOW), store.received_facts(late_at=NOW), now=NOW)


def _count(store: AgencyStore) -> object:
    """Do what “vnedoc status --summary” does."""
    late = _late(store)
    sent = count_sent(store.sent_tallies(), late=late, level_of=_level)
    return sent, count_received(store.received_tallies(), late=late, level_of=_level)


def _level(code: str, name: str) -> str:
    """Tell a level; what is looked up where is not measured."""
    return "province" if code and name else "unknown"


def _measure(kind: str, folder: Path, server: PostgreSQL) -> None:
    started = time.perf_counter()
    stores, questions = [], []
    for size in SIZES:
        url = server.create() if kind == "PostgreSQL" else f"sqlite:///{folder}/bench-{size}.sqlite3"
        store = AgencyStore.open(url, folder / f"payloads-{kind}-{size}")
        stores.append(store)
        questions.append(_questions(store, _fill(store, size)))
    taken = time.perf_counter() - started
    print(f"\nStore on {kind}: {SIZES[0]:,} and {SIZES[1]:,} messages, written in {taken:.0f} s")
    print(f"  {'':44} {'small':>10} {'large':>10} {'ratio':>8}")
    for label in questions[0]:
        small, large = _in_turn(*(asked[label] for asked in questions))
        print(f"  {label:44} {small * 1000:>7.2f} ms {large * 1000:>7.2f} ms {large / small:>7.1f}x")
    print(f"  peak RSS {peak_mib():.0f} MiB")
    for store in stores:
        store.close()


def _questions(store: AgencyStore, middle: datetime.datetime) -> dict[str, Callable[[], object]]:
    numbers = iter(range(1_000_000))
    payload = _payload(store)
    [some] = store.page("sent", MessageFilter(until=middle), limit=1).items

    def queue(recipients: int) -> object:
        number = next(numbers)
        new = NewSent(
            kind=PackageKind.DOCUMENT,
            identity=hashlib.sha256(f"bench {number}".encode()).hexdigest(),
            sender_code="H99",
            recipients=tuple(Recipient(f"H98.{place}", f"XÃ TEST {place}") for place in range(recipients)),
            document_id=f"TEST-bench-{number}",
            code="1/TEST",
            subject="TEST",
            payload=payload,
        )
        return store.queue(new, connection="OTHER", at=NOW)

    return {
        "newest 50": lambda: store.page("sent"),
        "50 from the middle": lambda: store.page("sent", MessageFilter(until=middle)),
        "received, newest 50": lambda: store.page("received"),
        "state most are in, 50": lambda: store.page("sent", MessageFilter(state=DeliveryState.DELIVERED)),
        "state 1 in 1,000 is in, 2": lambda: store.page(
            "sent", MessageFilter(state=DeliveryState.PARKED), limit=2
        ),
        "state nobody is in": lambda: store.page("sent", MessageFilter(state=DeliveryState.FAILED)),
        "text found in many, 50": lambda: store.page("sent", MessageFilter(text="quyết định")),
        "text found nowhere (reads all of them)": lambda: store.page("sent", MessageFilter(text="không có")),
        "one by the beginning of its id": lambda: store.find(some.id[:12]),
        "one by its id on the axis": lambda: store.find(some.remote_doc_id or ""),
        "deadlines that passed (reads all of them)": lambda: _late(store),
        "deadlines and counters (reads all of them)": lambda: _count(store),
        "claim 1 of 50 due": lambda: store.claim_due(
            connection="BENCH", now=NOW, lease=LEASE, owner="bench", limit=1
        ),
        "queue for 1 recipient, durable": lambda: queue(1),
        "queue for 1,000 recipients, durable": lambda: queue(1000),
    }


def _in_turn(*asked: Callable[[], object]) -> list[float]:
    """Ask in turn, so that a drift of the machine's speed touches all alike; return the medians."""
    taken: list[list[float]] = [[] for _ in asked]
    for number in range(_ROUNDS + 1):
        for place, question in enumerate(asked):
            started = time.perf_counter()
            question()
            if number:  # what is done once is not what is measured
                taken[place].append(time.perf_counter() - started)
    return [statistics.median(times) for times in taken]


def _payload(store: AgencyStore) -> StoredPayload:
    with store.payloads.temporary() as path:
        path.write_bytes(b"TEST")
        return store.payloads.adopt(path)


def _fill(store: AgencyStore, size: int) -> datetime.datetime:
    """Write messages as they are after years: delivered, received, a few parked, a few due. Return the middle."""
    payload = _payload(store)
    number = 0
    begin = NOW - datetime.timedelta(minutes=size)
    for start in range(0, size, _BATCH):
        rows: dict[type[Any], list[dict[str, Any]]] = {
            table: [] for table in (ReceivedRow, SentRow, ConsignmentRow, AttemptRow, ReceivedIdRow, EventRow)
        }
        for place in range(start, min(start + _BATCH, size)):
            at = begin + datetime.timedelta(minutes=place)
            message_id = uuid.uuid4().hex
            if place % 2:
                state = _add_received(rows, message_id, place, at, payload)
            else:
                state = _add_sent(rows, message_id, place, at, payload, is_due=size - place <= 2 * _DUE)
            number += 1
            rows[EventRow].append(
                {
                    "number": number,
                    "at": at,
                    "kind": "taken-over",
                    "message_id": message_id,
                    "consignment_id": None,
                    "detail": _MOVED[state],
                    # Nobody checks the chain here; each of its links is as long as a real one.
                    "previous_hash": f"{number - 1:064x}",
                    "hash": f"{number:064x}",
                }
            )
        with store.database.writing() as session:
            for table, values in rows.items():
                _load(session.connection(), table.__table__, values)
    with store.database.writing() as session:
        session.execute(sa.update(LogHeadRow).values(number=number, hash=f"{number:064x}"))
        if not store.database.is_sqlite:
            session.execute(sa.text("ANALYZE"))
    return begin + datetime.timedelta(minutes=size // 2)


def _load(connection: sa.Connection, table: sa.Table, values: list[dict[str, Any]]) -> None:
    """Write rows in the quickest way of each database; a million of them are not what is measured."""
    if not values:
        return
    written = [table.c[name] for name in values[0]]
    prepared = [
        (column.name, column.type.dialect_impl(connection.dialect).bind_processor) for column in written
    ]
    convert = [(name, processor(connection.dialect)) for name, processor in prepared]
    names = ", ".join(f'"{column.name}"' for column in written)
    driver: Any = connection.connection.driver_connection  # sqlite3's or psycopg's
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" for _ in convert)
        driver.executemany(
            f"INSERT INTO {table.name} ({names}) VALUES ({marks})",
            (
                [row[name] if change is None else change(row[name]) for name, change in convert]
                for row in values
            ),
        )
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in values:
            copy.write_row([row[name] if change is None else change(row[name]) for name, change in convert])


def _add_sent(
    rows: dict[type[Any], list[dict[str, Any]]],
    message_id: str,
    place: int,
    at: datetime.datetime,
    payload: StoredPayload,
    *,
    is_due: bool,
) -> str:
    state = "queued" if is_due else "parked" if place % (2 * _PARKED_EVERY) == 0 else "delivered"
    code, subject = f"{place}/QĐ-UBND", f"Quyết định TEST về việc giao nhiệm vụ số {place}"
    rows[SentRow].append(
        _common(message_id, place, code, subject, payload)
        | {
            "connection": "BENCH",
            "created_at": at,
            "due_at": NOW - datetime.timedelta(hours=1) if is_due else None,
            "expires_at": None,
            "attempt_count": 0 if is_due else 1,
            "remote_doc_id": None if is_due else uuid.uuid4().hex,
            "search_text": folded(code, subject, "H98 UBND TEST"),
            "answers": None,
            "sent_at": at if state == "delivered" else None,
        }
    )
    rows[ConsignmentRow].append(
        {
            "id": uuid.uuid4().hex,
            "message_id": message_id,
            "position": 0,
            "recipient_code": "H98",
            "recipient_name": "UBND TEST",
            "delivery_state": state,
            "transport_status": "done" if state == "delivered" else None,
            "progress": "01" if state == "delivered" else None,
            "noticed_at": at if state == "delivered" else None,
            "updated_at": at,
            "queued_at": at,
        }
    )
    if not is_due:
        rows[AttemptRow].append(_attempt(message_id, at))
    return state


def _add_received(
    rows: dict[type[Any], list[dict[str, Any]]],
    message_id: str,
    place: int,
    at: datetime.datetime,
    payload: StoredPayload,
) -> str:
    code, subject = f"{place}/CV-SNV", f"Công văn TEST về việc báo cáo số {place}"
    remote_doc_id = uuid.uuid4().hex
    rows[ReceivedRow].append(
        _common(message_id, place, code, subject, payload)
        | {
            "connection": "BENCH",
            "remote_doc_id": remote_doc_id,
            "sender_name": "SỞ TEST",
            "received_at": at,
            "reasons": json.dumps([]),
            "published_at": at,
            "delivery_state": "accepted",
            "transport_status": "done",
            "progress": "01",
            "updated_at": at,
            "search_text": folded(code, subject, "H97 SỞ TEST"),
        }
    )
    # Its sender was told with 01 that it came.
    answer_id = uuid.uuid4().hex
    rows[SentRow].append(
        _common(answer_id, place, code, subject, payload)
        | {
            "kind": PackageKind.STATUS.value,
            "identity": hashlib.sha256(f"status {place}".encode()).hexdigest(),
            "connection": "BENCH",
            "created_at": at,
            "due_at": None,
            "expires_at": None,
            "attempt_count": 1,
            "remote_doc_id": uuid.uuid4().hex,
            "search_text": "",
            "answers": message_id,
            "sent_at": at,
        }
    )
    rows[AttemptRow].append(_attempt(answer_id, at))
    rows[ReceivedIdRow].append(
        {
            "connection": "BENCH",
            "remote_doc_id": remote_doc_id,
            "message_id": message_id,
            "acknowledged_at": at,
        }
    )
    return "accepted"


def _attempt(message_id: str, at: datetime.datetime) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "message_id": message_id,
        "number": 1,
        "started_at": at,
        "ended_at": at,
        "outcome": "sent",
    }


def _common(message_id: str, place: int, code: str, subject: str, payload: StoredPayload) -> dict[str, Any]:
    return {
        "id": message_id,
        "kind": PackageKind.DOCUMENT.value,
        "identity": hashlib.sha256(str(place).encode()).hexdigest(),
        "sender_code": "H99" if place % 2 == 0 else "H97",
        "document_id": f"TEST-{place}",
        "code": code,
        "subject": subject,
        "payload_sha256": payload.sha256,
        "payload_size": payload.size,
        "priority": 0,
    }
