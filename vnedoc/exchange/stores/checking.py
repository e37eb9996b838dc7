"""Check that a store is whole: the chain of the event log, the states, the attempts, and the payloads.

A chain proves that nothing *inside* it was changed. Whoever may write to the database can cut off its end and set
the head back: that shows only against a head that was written down elsewhere, which is what ``anchor`` is for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vnedoc.errors import InputError
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores.models import (
    AttemptRow,
    ConsignmentRow,
    EventRow,
    LogHeadRow,
    ReceivedRow,
    SentRow,
)
from vnedoc.exchange.stores.payloads import CHUNK_BYTES
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database
    from vnedoc.exchange.stores.payloads import PayloadStore
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["LogHead", "StoreCheck", "check_store", "walk_log"]

MAX_PROBLEMS = 1000
"""How many problems are kept; all are counted."""
_BATCH = 500
_ROWS = 2000
# What a worker will do without being told.
_AT_WORK = (DeliveryState.QUEUED.value, DeliveryState.SENDING.value, DeliveryState.WAITING.value)
_BEGINNINGS = ("queued", "received", "taken-over")
_States = dict[str, str | None]


@dataclasses.dataclass(frozen=True, slots=True)
class LogHead:
    """The end of the event log; written down elsewhere it proves what was there."""

    number: int
    """How many events there are."""
    hash: str
    """The hash of the last one."""

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclasses.dataclass(frozen=True, slots=True)
class StoreCheck:
    """What was found."""

    head: LogHead
    """The end of the event log."""
    messages: int
    """How many messages were compared with the log."""
    payloads: int
    """How many payloads are named by messages and were looked at."""
    payload_bytes: int
    """Their size together."""
    unnamed: int
    """Payloads that no message names; a killed process left them, ``store prune`` removes them."""
    problems: tuple[Finding, ...]
    """The problems, at most :data:`MAX_PROBLEMS`."""
    problem_count: int
    """How many there are."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


class _Problems:
    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.count = 0

    def add(self, finding_id: str, **values: object) -> None:
        self.count += 1
        if len(self.found) < MAX_PROBLEMS:
            self.found.append(Finding(finding_id, values))


def check_store(
    store: AgencyStore,
    *,
    content: bool = False,
    anchor: LogHead | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> StoreCheck:
    """Check a store while others may go on working with it.

    Args:
        store: The store.
        content: Whether every payload is read and compared with its name; takes as long as reading them takes.
        anchor: An end of the log that was written down earlier, and must be in it still.
        progress: Is told what is being looked at (``log``, ``messages``, ``payloads``), and how many so far.

    Raises:
        InputError: The store cannot be read.
        RemoteError: The database server or the object store does not answer.
    """
    problems = _Problems()
    told = progress or (lambda _what, _count: None)
    with store.database.reading() as session:
        _check_file(session, store.database, problems)
        head = _check_log(session, problems, anchor=anchor, told=told)
        messages = _check_states(session, problems, told=told)
        _check_attempts(session, problems)
    payloads, payload_bytes, unnamed = _check_payloads(store, problems, content=content, told=told)
    return StoreCheck(head, messages, payloads, payload_bytes, unnamed, tuple(problems.found), problems.count)


def walk_log(session: orm.Session, *, after: int = 0) -> Iterator[tuple[LogHead, str | None]]:
    """Go through the log; yield every event with what is wrong with it: the id of a finding, or ``None``.

    Args:
        session: An open transaction.
        after: The number of an event to begin behind; its own hash is believed.
    """
    columns = (
        EventRow.number,
        EventRow.at,
        EventRow.kind,
        EventRow.message_id,
        EventRow.consignment_id,
        EventRow.detail,
        EventRow.previous_hash,
        EventRow.hash,
    )
    before = session.scalar(sa.select(EventRow.hash).where(EventRow.number == after)) if after else None
    previous = before or _log.FIRST_HASH
    expected = after + 1
    query = sa.select(*columns).where(EventRow.number > after).order_by(EventRow.number)
    with session.execute(query.execution_options(yield_per=_ROWS)) as rows:
        for row in rows:
            values = row._asdict()
            own = values.pop("hash")
            trouble = None
            if row.number != expected:
                trouble = "store.log-gap"
            elif row.previous_hash != previous:
                trouble = "store.log-broken"
            elif _log.seal(**values) != own:
                trouble = "store.log-changed"
            yield LogHead(row.number, own), trouble
            previous, expected = own, row.number + 1


def _check_file(session: orm.Session, database: Database, problems: _Problems) -> None:
    if not database.is_sqlite:
        return
    for line in session.scalars(sa.text("PRAGMA quick_check(10)")):
        if line != "ok":
            problems.add("store.file-damaged", reason=line)


def _check_log(
    session: orm.Session,
    problems: _Problems,
    *,
    anchor: LogHead | None,
    told: Callable[[str, int], None],
) -> LogHead:
    last = LogHead(0, _log.FIRST_HASH)
    anchored = anchor is None or anchor == last
    for event, trouble in walk_log(session):
        if trouble is not None:
            problems.add(trouble, number=event.number)
        anchored = anchored or event == anchor
        last = event
        if event.number % _ROWS == 0:
            told("log", event.number)
    told("log", last.number)
    row = session.scalars(sa.select(LogHeadRow)).first()
    head = None if row is None else LogHead(row.number, row.hash)
    if head is None or (head.number <= last.number and head != last):
        problems.add("store.log-head", number=last.number)
    elif head.number > last.number:
        problems.add("store.log-cut", number=last.number, missing=head.number - last.number)
    if not anchored:
        problems.add("store.log-anchor", number=anchor.number if anchor else 0)
    return last


def _check_states(session: orm.Session, problems: _Problems, *, told: Callable[[str, int], None]) -> int:
    count = 0
    for table in (SentRow, ReceivedRow):
        last = ""
        while True:
            query = sa.select(table.id).where(table.id > last).order_by(table.id).limit(_BATCH)
            ids = session.scalars(query).all()
            if not ids:
                break
            _compare(session, problems, ids, is_sent=table is SentRow)
            count += len(ids)
            last = ids[-1]
            told("messages", count)
    pruned = sa.orm.aliased(EventRow)
    gone = (
        sa.select(EventRow.message_id)
        .distinct()
        .where(
            EventRow.kind.in_(_BEGINNINGS),
            ~sa.exists().where(SentRow.id == EventRow.message_id),
            ~sa.exists().where(ReceivedRow.id == EventRow.message_id),
            ~sa.exists().where(pruned.message_id == EventRow.message_id, pruned.kind == "pruned"),
        )
    )
    for message_id in session.scalars(gone):
        problems.add("store.message-gone", id=message_id)
    return count


def _compare(session: orm.Session, problems: _Problems, ids: Iterable[str], *, is_sent: bool) -> None:
    """Compare the states in the tables with those that the log leads to."""
    source = ConsignmentRow if is_sent else ReceivedRow
    key: Any = ConsignmentRow.message_id if is_sent else ReceivedRow.id  # a column
    place: Any = ConsignmentRow.position if is_sent else sa.literal(0)  # a column
    states = [getattr(source, column) for column in _log.STATE_FIELDS.values()]
    there: dict[str, dict[int, _States]] = {message_id: {} for message_id in ids}
    for message_id, position, *values in session.execute(sa.select(key, place, *states).where(key.in_(ids))):
        there[message_id][position] = dict(zip(_log.STATE_FIELDS, values, strict=True))
    logged: dict[str, dict[int, _States]] = {
        message_id: {position: dict.fromkeys(_log.STATE_FIELDS) for position in found}
        for message_id, found in there.items()
    }
    events = (
        sa.select(EventRow.message_id, EventRow.detail)
        .where(EventRow.message_id.in_(ids))
        .order_by(EventRow.number)
    )
    recipients: dict[str, int] = {}
    for found_id, text in session.execute(events):
        message_id = found_id or ""
        try:
            detail: dict[str, Any] = json.loads(
                text
            )  # what the log wrote; the chain tells if somebody else did
            if "recipients" in detail:
                recipients[message_id] = int(detail["recipients"])
            for moved in detail.get("moved", ()):
                for position in moved.get("only", logged[message_id]):
                    logged[message_id].setdefault(position, dict.fromkeys(_log.STATE_FIELDS))
                    logged[message_id][position].update(moved["set"])
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.add("store.event-unreadable", id=message_id)
    for message_id, found in there.items():
        whole = not is_sent or len(found) == recipients.get(message_id, len(found))
        if found != logged[message_id] or not whole:
            problems.add("store.states-differ", id=message_id)


def _check_attempts(session: orm.Session, problems: _Problems) -> None:
    at_work = sa.exists().where(
        ConsignmentRow.message_id == SentRow.id, ConsignmentRow.delivery_state.in_(_AT_WORK)
    )
    idle = sa.or_(
        sa.and_(SentRow.due_at.is_(None), at_work),
        sa.and_(SentRow.due_at.is_not(None), ~at_work),
        sa.and_(SentRow.due_at.is_(None), SentRow.lease_owner.is_not(None)),
    )
    for message_id in session.scalars(sa.select(SentRow.id).where(idle)):
        problems.add("store.due-differs", id=message_id)
    counted = (
        sa.select(
            AttemptRow.message_id,
            sa.func.count().label("count"),
            sa.func.max(AttemptRow.number).label("last"),
            sa.func.min(AttemptRow.number).label("first"),
        )
        .group_by(AttemptRow.message_id)
        .subquery()
    )
    odd = (
        sa.select(SentRow.id)
        .outerjoin(counted, counted.c.message_id == SentRow.id)
        .where(
            sa.or_(
                sa.func.coalesce(counted.c.count, 0) != SentRow.attempt_count,
                sa.func.coalesce(counted.c.last, 0) != SentRow.attempt_count,
                sa.func.coalesce(counted.c.first, 1) != 1,
            )
        )
    )
    for message_id in session.scalars(odd):
        problems.add("store.attempts-differ", id=message_id)


def _check_payloads(
    store: AgencyStore,
    problems: _Problems,
    *,
    content: bool,
    told: Callable[[str, int], None],
) -> tuple[int, int, int]:
    there = {item.sha256: item.size for item in store.payloads.listed()}
    # After the listing: what came in meanwhile is in the one, and what is in the other was there before.
    with store.database.reading() as session:
        named = _named(session)
    checked = checked_bytes = 0
    for sha256, size in named.items():
        found = there.get(sha256, store.payloads.size(sha256))
        trouble = None
        if found is None:
            trouble = "store.payload-missing"
        elif found != size:
            trouble = "store.payload-damaged"
        elif content:
            trouble = _read(store.payloads, sha256)
        if trouble is not None and _is_named(store, sha256):
            problems.add(trouble, sha256=sha256)
        checked, checked_bytes = checked + 1, checked_bytes + size
        if checked % 100 == 0:
            told("payloads", checked)
    told("payloads", checked)
    return checked, checked_bytes, len(there.keys() - named.keys())


def _named(session: orm.Session, sha256: str | None = None) -> dict[str, int]:
    named: dict[str, int] = {}
    for table in (SentRow, ReceivedRow):
        query = sa.select(table.payload_sha256, table.payload_size).where(table.payload_pruned_at.is_(None))
        if sha256 is not None:
            query = query.where(table.payload_sha256 == sha256)
        named.update((row[0], row[1]) for row in session.execute(query.distinct()))
    return named


def _is_named(store: AgencyStore, sha256: str) -> bool:
    """Look again: it may have been pruned meanwhile."""
    with store.database.reading() as session:
        return bool(_named(session, sha256))


def _read(payloads: PayloadStore, sha256: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with payloads.open(sha256) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    except InputError as error:
        return error.code if error.code.startswith("store.") else "store.payload-damaged"
    return None if digest.hexdigest() == sha256 else "store.payload-damaged"
