"""Remove from a hub what is old and finished: first packages, much later the messages themselves.

Finished is a message whose every delivery is done, has failed for good or has expired, all of them for long enough;
what was parked waits for a person, however old it is. Ages and words are those of an agency's store
(:mod:`vnedoc.exchange.stores.pruning`). A message whose package is gone still gives the same receipt to who sends the
package again.

Packages that were refused after they had been taken into the store go the same way, a day later. How a package can
go while it is being taken over once more is told in :mod:`vnedoc.exchange.stores._hub_removals`.

All is done in small transactions with rests between them, and may be broken off at any time, or done by several
processes at once: what one has its hand on, the others pass over.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import time
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from vnedoc.exchange.stores import hub_audit
from vnedoc.exchange.stores._hub_pruning import PAGE, OldMessage, batches, old_messages, release, remove
from vnedoc.exchange.stores._hub_removals import announce, lock_payload
from vnedoc.exchange.stores.hub_flow_models import HubChoreRow, HubPayloadRemovalRow
from vnedoc.exchange.stores.models import HubMessageRow
from vnedoc.exchange.stores.payloads import StoredPayload
from vnedoc.exchange.stores.pruning import ORPHAN_AGE, PruneLimits, PruneReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.hub.audit import By
    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["CHORE", "HubRetention", "LastPrune"]

CHORE = "retention"
"""The name of the chore."""
_PAYLOADS_AT_ONCE = 20
# A transaction that removes packages ends when it has lasted this long: on SQLite all others wait for it.
_LASTS_S = 0.05
_LONGEST_REST_S = 1.0
# How long a removed package is remembered: until then, who had it taken into the store before is surely gone.
_REMEMBERED = datetime.timedelta(days=7)
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True)
class LastPrune:
    """What the hub did by itself the last time."""

    at: datetime.datetime
    """When it was finished."""
    report: PruneReport
    """What was removed."""


class HubRetention:
    """Removes what is old from a hub.

    Args:
        store: The memory of the hub.
        rest: Called after each transaction with the seconds that it took; rests, and tells whether to go on.
            ``None`` rests as long as the work took.
    """

    def __init__(self, store: HubStore, *, rest: Callable[[float], bool] | None = None) -> None:
        self._database = store.database
        self._payloads = store.payloads
        self._rest = rest or _rest
        self._goes_on = True

    def prune(
        self, limits: PruneLimits | None, *, by: By, search_store: bool = False, dry_run: bool = False
    ) -> PruneReport:
        """Remove what is old and finished, and packages that were refused. Others may go on working with the hub.

        Args:
            limits: What is old enough; ``None``: only packages that were refused go.
            by: Who removes, for the audit log, and what time it is.
            search_store: Whether packages are looked for, too, that no message names and nobody refused: those of
                processes that were killed. Everything else that is in the same place would go with them.
            dry_run: Count, and remove nothing.

        Returns:
            What was removed, or would be.

        Raises:
            UsageError: The limits make no sense.
            InputError: The database or the store cannot be read or written.
            RemoteError: The database server or the object store does not answer.
        """
        releases = removals = None
        if limits is not None:
            limits.check()
            ages = (limits.payloads_older_than, limits.metadata_older_than)
            releases = by.at - min(age for age in ages if age is not None)
            removals = None if ages[1] is None else by.at - ages[1]
        if dry_run:
            return self._foresee(releases, removals, by.at, search_store=search_store)
        log = _Log(self._database.run, by, limits)
        released = unfinished = messages = 0
        if releases is not None:
            for page in self._old(releases, are_kept=True):
                unfinished += sum(not message.is_finished for message in page)
                released += self._each(page, log, functools.partial(release, before=releases, now=by.at))
        if search_store:
            for batch in self._strays(by.at):
                self._work(functools.partial(_announce, payloads=batch, now=by.at))
        payloads, size = self._remove_payloads(by.at)
        if removals is not None:
            for page in self._old(removals, are_kept=False):
                messages += self._each(page, log, functools.partial(remove, before=removals))
        report = PruneReport(released, payloads, size, messages, unfinished)
        log.end(report)
        return report

    def note(self, report: PruneReport, *, at: datetime.datetime) -> None:
        """Write down what the chore did, for those who look."""
        outcome = json.dumps(dataclasses.asdict(report))

        def step(session: orm.Session) -> None:
            change = sa.update(HubChoreRow).where(HubChoreRow.name == CHORE)
            session.execute(change.values(finished_at=at, outcome=outcome))

        self._database.run(step)

    def last(self) -> LastPrune | None:
        """Return what the hub did by itself the last time; ``None``: nothing yet."""
        query = sa.select(HubChoreRow.finished_at, HubChoreRow.outcome).where(HubChoreRow.name == CHORE)
        with self._database.reading() as session:
            found = session.execute(query).first()
        if found is None or found.finished_at is None or found.outcome is None:
            return None
        return LastPrune(found.finished_at, PruneReport(**json.loads(found.outcome)))

    def _old(self, before: datetime.datetime, *, are_kept: bool | None) -> Iterator[list[OldMessage]]:
        """Yield messages that are old enough, the oldest first, finished or not."""
        last: OldMessage | None = None
        while self._goes_on:
            with self._database.reading() as session:
                page = old_messages(session, before, are_kept=are_kept, after=last)
            if not page:
                return
            yield page
            last = page[-1]

    def _each(
        self,
        page: Iterable[OldMessage],
        log: _Log,
        step: Callable[[orm.Session, Sequence[OldMessage]], int],
    ) -> int:
        count = 0
        for batch in batches([message for message in page if message.is_finished]):
            if self._goes_on:
                log.begin()
                count += self._work(functools.partial(_on, batch=batch, step=step))
        return count

    def _work(self, step: Callable[[orm.Session], _Result]) -> _Result:
        start = time.monotonic()
        result = self._database.run(step)
        self._goes_on = self._rest(time.monotonic() - start)
        return result

    def _remove_payloads(self, now: datetime.datetime) -> tuple[int, int]:
        """Remove packages that may go; return how many, and their size together."""
        count = size = 0
        due = (
            sa.select(HubPayloadRemovalRow.sha256)
            .where(HubPayloadRemovalRow.removed_at.is_(None), HubPayloadRemovalRow.due_at <= now)
            .order_by(HubPayloadRemovalRow.sha256)
            .limit(_PAYLOADS_AT_ONCE)
        )
        while self._goes_on:
            with self._database.reading() as session:
                batch = session.scalars(due).all()
            if not batch:
                break
            sizes = self._work(functools.partial(self._remove_some, digests=batch, now=now))
            count, size = count + len(sizes), size + sum(sizes)
        self._database.run(functools.partial(_forget, before=now - _REMEMBERED))
        return count, size

    def _remove_some(
        self, session: orm.Session, *, digests: Sequence[str], now: datetime.datetime
    ) -> list[int]:
        """Remove packages that no message names; return their sizes."""
        start = time.monotonic()
        sizes: list[int] = []
        for sha256 in digests:
            lock_payload(session.connection(), sha256)
            # Only now it is sure that what others were about to commit is there to be seen.
            row = session.get(HubPayloadRemovalRow, sha256, populate_existing=True)
            if row is None or row.removed_at is not None or row.due_at > now:
                continue
            if _named(session, [sha256]):
                session.delete(row)
            else:
                self._payloads.remove(sha256)
                row.removed_at = now
                sizes.append(row.size)
            session.flush()
            if time.monotonic() - start > _LASTS_S:
                break
        return sizes

    def _strays(self, now: datetime.datetime) -> Iterator[list[StoredPayload]]:
        """Yield packages that no message names, and that nobody can be about to name."""
        old = [
            StoredPayload(item.sha256, item.size)
            for item in self._payloads.listed()
            if item.modified_at < now - ORPHAN_AGE
        ]
        for start in range(0, len(old), PAGE):
            batch = old[start : start + PAGE]
            with self._database.reading() as session:
                named = _named(session, [payload.sha256 for payload in batch])
            yield [payload for payload in batch if payload.sha256 not in named]

    def _foresee(
        self,
        releases: datetime.datetime | None,
        removals: datetime.datetime | None,
        now: datetime.datetime,
        *,
        search_store: bool,
    ) -> PruneReport:
        """Count what would be done."""
        released = unfinished = messages = 0
        going: dict[str, int] = {}
        leaving: dict[str, int] = {}
        for page in () if releases is None else self._old(releases, are_kept=True):
            for message in page:
                released += message.is_finished
                unfinished += not message.is_finished
                if message.is_finished:
                    going[message.payload.sha256] = message.payload.size
                    leaving[message.payload.sha256] = leaving.get(message.payload.sha256, 0) + 1
        refused = sa.select(HubPayloadRemovalRow.sha256, HubPayloadRemovalRow.size).where(
            HubPayloadRemovalRow.removed_at.is_(None), HubPayloadRemovalRow.due_at <= now
        )
        with self._database.reading() as session:
            going |= {row[0]: row[1] for row in session.execute(refused)}
        for batch in self._strays(now) if search_store else ():
            going |= {payload.sha256: payload.size for payload in batch}
        for page in () if removals is None else self._old(removals, are_kept=None):
            messages += sum(message.is_finished for message in page)
        for start in range(0, len(digests := list(going)), PAGE):
            with self._database.reading() as session:
                named = _named(session, digests[start : start + PAGE])
            for sha256, count in named.items():
                if count > leaving.get(sha256, 0):
                    del going[sha256]
        return PruneReport(released, len(going), sum(going.values()), messages, unfinished)


class _Log:
    """Says in the audit log that messages are being removed, before the first one is, and what came of it."""

    def __init__(
        self, run: Callable[[Callable[[orm.Session], None]], None], by: By, limits: PruneLimits | None
    ) -> None:
        self._run = run
        self._by = by
        self._limits = limits
        self._has_begun = False

    def begin(self) -> None:
        if not self._has_begun and self._limits is not None:
            ages = (self._limits.payloads_older_than, self._limits.metadata_older_than)
            days = [None if age is None else age / datetime.timedelta(days=1) for age in ages]
            self._append("prune.begin", keep_payloads_days=days[0], keep_metadata_days=days[1])
            self._has_begun = True

    def end(self, report: PruneReport) -> None:
        if self._has_begun:
            self._append("prune.end", **dataclasses.asdict(report))

    def _append(self, action: str, **detail: object) -> None:
        self._run(lambda session: hub_audit.append(session, self._by, action, "hub", **detail))


def _on(
    session: orm.Session,
    *,
    batch: Sequence[OldMessage],
    step: Callable[[orm.Session, Sequence[OldMessage]], int],
) -> int:
    return step(session, batch)


def _announce(session: orm.Session, *, payloads: Sequence[StoredPayload], now: datetime.datetime) -> None:
    announce(session.connection(), payloads, due_at=now)


def _forget(session: orm.Session, *, before: datetime.datetime) -> None:
    session.execute(sa.delete(HubPayloadRemovalRow).where(HubPayloadRemovalRow.removed_at < before))


def _named(session: orm.Session, digests: Sequence[str]) -> dict[str, int]:
    """Return which packages messages name, and how many messages."""
    query = (
        sa.select(HubMessageRow.payload_sha256, sa.func.count())
        .where(HubMessageRow.payload_sha256.in_(digests), HubMessageRow.payload_pruned_at.is_(None))
        .group_by(HubMessageRow.payload_sha256)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def _rest(seconds: float) -> bool:
    time.sleep(min(seconds, _LONGEST_REST_S))
    return True
