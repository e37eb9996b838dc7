"""The event log: what happened to every message, in a chain that shows when something was changed or taken out.

Each event carries the SHA-256 of the one before it. Events are written in the transaction of the change they tell
of, last of all, so that those who append wait for one another as short as possible; on PostgreSQL the lock of the
row of ``event_log_head`` puts them in a line, on SQLite the write lock of the database.

Who changes the state of a message calls :func:`append` and says what happened; *which* states moved is noted by the
store itself, for every :class:`~vnedoc.exchange.stores.models.ConsignmentRow` and
:class:`~vnedoc.exchange.stores.models.ReceivedRow` that is changed through the session::

    {"moved": [{"set": {"delivery": "sent", "transport": "initial"}, "only": [0, 4]}], "remote_doc_id": "…"}

``only`` holds the positions of the consignments; without it, all of the message's. A movement that nobody told of is
written as an event of the kind ``moved``. ``vnedoc store check`` plays the log back and compares.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.orm import attributes
from sqlalchemy.orm.base import PassiveFlag

from vnedoc._internal.clock import as_utc
from vnedoc.errors import InputError
from vnedoc.exchange.stores.models import (
    ConsignmentRow,
    EventRow,
    LogHeadRow,
    PayloadRemovalRow,
    ReceivedRow,
    SentRow,
)

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Collection, Mapping

__all__ = [
    "FIRST_HASH",
    "PAYLOAD_SIZE",
    "STATE_FIELDS",
    "append",
    "canonical",
    "note_locked",
    "note_new",
    "seal",
    "watch",
]

FIRST_HASH = "0" * 64
"""What the first event names as the hash before it."""

STATE_FIELDS = {
    "delivery": "delivery_state",
    "transport": "transport_status",
    "progress": "progress",
    "change": "change",
}
"""The states by the names of the log, and the columns that hold them."""

PAYLOAD_SIZE = "vnedoc_payload_size"
"""Under this name the ``info`` of a session holds what tells the size of a payload."""

_PENDING = "vnedoc_events"
_MOVES = "vnedoc_moves"
_PAYLOADS = "vnedoc_payloads"
_LOCKED = "vnedoc_locked"
_HEAD_ID = 1
_MAX_KIND = 32


@dataclasses.dataclass(slots=True)
class _Pending:
    kind: str
    at: datetime.datetime
    message_id: str | None
    consignment_id: str | None
    detail: dict[str, Any]  # what JSON can hold


@dataclasses.dataclass(slots=True)
class _Moves:
    """What moved of one message: by position of the consignment, or ``None`` for a received message."""

    at: datetime.datetime
    states: dict[int | None, dict[str, str | None]] = dataclasses.field(default_factory=dict)


def append(
    session: orm.Session,
    kind: str,
    *,
    at: datetime.datetime,
    message_id: str | None = None,
    consignment_id: str | None = None,
    **detail: object,
) -> None:
    """Tell what happens in a transaction; it is written when the transaction ends well.

    Args:
        session: A session of :meth:`vnedoc.exchange.stores.database.Database.writing`.
        kind: What happened, in one word of at most 32 characters: ``queued``, ``sent``, ``parked``.
        at: When.
        message_id: The message that it happened to.
        consignment_id: The consignment, if it concerns one recipient only.
        detail: What else is to be remembered, as JSON can hold it. No content of documents and no names of people:
            the log outlives what is pruned.
    """
    assert len(kind) <= _MAX_KIND
    pending: list[_Pending] = session.info.setdefault(_PENDING, [])
    pending.append(_Pending(kind, at, message_id, consignment_id, dict(detail)))


def note_new(
    session: orm.Session,
    message_id: str,
    count: int,
    states: Mapping[str, str | None],
    *,
    at: datetime.datetime,
) -> None:
    """Note the consignments of a new message that were inserted at once, past the unit of work.

    Args:
        session: The transaction.
        message_id: Their message.
        count: How many they are.
        states: The state fields of each that are set; see :data:`STATE_FIELDS`.
        at: When.
    """
    moves: dict[str, _Moves] = session.info.setdefault(_MOVES, {})
    moves[message_id] = _Moves(at, {position: dict(states) for position in range(count)})


def note_locked(session: orm.Session, row: SentRow) -> None:
    """Keep a message in mind whose consignments move: "all of them" is shorter than a thousand positions."""
    session.info.setdefault(_LOCKED, {})[row.id] = row


def canonical(value: object) -> str:
    """Return a value as JSON in the one form that is hashed: sorted keys, no spaces, letters as they are."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)


def seal(
    *,
    number: int,
    at: datetime.datetime,
    kind: str,
    message_id: str | None,
    consignment_id: str | None,
    detail: str,
    previous_hash: str,
) -> str:
    """Return the hash of an event: SHA-256 over the canonical JSON of everything else in its row."""
    content = {
        "number": number,
        "at": as_utc(at).isoformat(timespec="microseconds"),
        "kind": kind,
        "message_id": message_id,
        "consignment_id": consignment_id,
        "detail": detail,
        "previous_hash": previous_hash,
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def watch(sessions: orm.sessionmaker[orm.Session]) -> None:
    """Let all sessions of a factory write the log."""
    event.listen(sessions, "before_flush", _note_moves)
    event.listen(sessions, "before_commit", _write)
    event.listen(sessions, "after_rollback", _forget)


def _note_moves(session: orm.Session, _context: object, _instances: object) -> None:
    for row in session.new:
        if isinstance(row, SentRow | ReceivedRow):
            session.info.setdefault(_PAYLOADS, set()).add(row.payload_sha256)
    for row in itertools.chain(session.new, session.dirty):
        if isinstance(row, ConsignmentRow):
            message_id = row.message_id or row.message.id
            _note_move(session, row, message_id, row.position)
        elif isinstance(row, ReceivedRow):
            _note_move(session, row, row.id, None)


def _note_move(
    session: orm.Session, row: ConsignmentRow | ReceivedRow, message_id: str, position: int | None
) -> None:
    changed: dict[str, str | None] = {}
    for name, column in STATE_FIELDS.items():
        history = attributes.get_history(row, column, PassiveFlag.PASSIVE_NO_INITIALIZE)
        # What a new row leaves empty did not move.
        if history.added and (history.added[0] is not None or any(history.deleted)):
            changed[name] = history.added[0]
    if not changed:
        return
    moves: dict[str, _Moves] = session.info.setdefault(_MOVES, {})
    known = moves.setdefault(message_id, _Moves(row.updated_at))
    known.at = max(known.at, row.updated_at)
    known.states.setdefault(position, {}).update(changed)


def _write(session: orm.Session) -> None:
    session.flush()
    pending: list[_Pending] = session.info.pop(_PENDING, [])
    moves: dict[str, _Moves] = session.info.pop(_MOVES, {})
    payloads: set[str] = session.info.pop(_PAYLOADS, set())
    for message_id, moved in moves.items():
        told = next((item for item in pending if item.message_id == message_id), None)
        if told is None:
            told = _Pending("moved", moved.at, message_id, None, {})
            pending.append(told)
        told.detail["moved"] = _grouped(moved, _consignment_count(session, message_id))
    if pending:
        head = session.get_one(LogHeadRow, _HEAD_ID, with_for_update=True, populate_existing=True)
        _refuse_leaving(session, payloads)
        _chain(session, head, pending)
        session.flush()


def _refuse_leaving(session: orm.Session, payloads: Collection[str]) -> None:
    """Refuse to name a payload that is not there, or is being pruned at this moment.

    Who prunes marks it under the lock of the head, too: either our row is seen there, or the mark here. See
    :mod:`vnedoc.exchange.stores.pruning`.
    """
    if not payloads:
        return
    query = sa.select(PayloadRemovalRow.sha256).where(PayloadRemovalRow.sha256.in_(payloads))
    for sha256 in session.scalars(query):
        raise InputError("store.payload-leaving", sha256=sha256)
    size: Callable[[str], int | None] | None = session.info.get(PAYLOAD_SIZE)
    for sha256 in payloads:
        if size is not None and size(sha256) is None:
            raise InputError("store.payload-missing", sha256=sha256)


def _forget(session: orm.Session) -> None:
    for name in (_PENDING, _MOVES, _PAYLOADS, _LOCKED):
        session.info.pop(name, None)


def _grouped(moves: _Moves, count: int | None) -> list[dict[str, Any]]:
    groups: dict[str, tuple[dict[str, str | None], list[int]]] = {}
    for position, states in moves.states.items():
        _, positions = groups.setdefault(canonical(states), (states, []))
        if position is not None:
            positions.append(position)
    plain: list[dict[str, Any]] = []
    for states, positions in groups.values():
        item: dict[str, Any] = {"set": states}
        if positions and len(positions) != count:
            item["only"] = sorted(positions)
        plain.append(item)
    return plain


def _consignment_count(session: orm.Session, message_id: str) -> int | None:
    """Return how many consignments a message has, if somebody locked or queued it here."""
    row = session.info.get(_LOCKED, {}).get(message_id)
    return None if row is None else len(row.consignments)


def _chain(session: orm.Session, head: LogHeadRow, pending: list[_Pending]) -> None:
    rows = []
    for item in pending:
        row: dict[str, Any] = {  # a row of the log
            "number": head.number + 1,
            "at": item.at,
            "kind": item.kind,
            "message_id": item.message_id,
            "consignment_id": item.consignment_id,
            "detail": canonical(item.detail),
            "previous_hash": head.hash,
        }
        head.number, head.hash = row["number"], seal(**row)
        rows.append(row | {"hash": head.hash})
    session.execute(sa.insert(EventRow), rows)
