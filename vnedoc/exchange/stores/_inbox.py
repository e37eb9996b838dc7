"""Keeping what came in, once; each function works in a transaction that is open."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.stores import _changes as changes
from vnedoc.exchange.stores import _log
from vnedoc.exchange.stores import _reports as reports
from vnedoc.exchange.stores import _steps as steps
from vnedoc.exchange.stores._rows import received_record
from vnedoc.exchange.stores.models import ReceivedIdRow, ReceivedRow

if TYPE_CHECKING:
    import datetime

    from sqlalchemy import orm

    from vnedoc.exchange.stores.records import NewReceived, NewSent, ReceivedMessage, StatusNews

__all__ = ["Kept", "keep"]


class Kept:
    """What became of a package that came in."""

    def __init__(self, message: ReceivedMessage, *, repeated: bool = False, matched: bool = True) -> None:
        self.message = message
        """The message; for a repeated one, the first."""
        self.repeated = repeated
        """Whether the same package was there before."""
        self.matched = matched
        """For a status: whether the document was found that it is about."""


def keep(
    session: orm.Session,
    new: NewReceived,
    *,
    connection: str,
    at: datetime.datetime,
    conflict: NewReceived,
    reply: tuple[NewSent, StatusNews] | None,
) -> Kept:
    """Keep a package, or find the message that it repeats; see :meth:`AgencyStore.keep`.

    That nothing is kept twice is up to the unique keys: who loses a race meets an ``IntegrityError``, and finds the
    message when it is called again.
    """
    seen = session.get(ReceivedIdRow, (connection, new.remote_doc_id))
    if seen is not None:
        return Kept(received_record(seen.message), repeated=True)
    if new.accepted:
        known = session.scalar(
            sa.select(ReceivedRow).where(
                ReceivedRow.connection == connection, ReceivedRow.identity == new.identity
            )
        )
        if known is not None and known.payload_sha256 == new.payload.sha256:
            session.add(steps.received_id(connection, new.remote_doc_id, known.id))
            _log.append(session, "repeated", at=at, message_id=known.id, remote_doc_id=new.remote_doc_id)
            return Kept(received_record(known), repeated=True)
        if known is not None and changes.is_sent_anew(session, known, new):
            # Its own name from now on: it was let in once, and is not what comes now.
            known.identity = hashlib.sha256(f"{known.identity} {known.id}".encode()).hexdigest()
            session.flush()
        elif known is not None:
            new, reply = conflict, None
    objection = changes.stranger_finding(session, new, connection=connection) if new.accepted else None
    if objection is not None:
        reasons = (objection, *new.reasons)
        new, reply = dataclasses.replace(new, accepted=False, reasons=reasons), None
    row = steps.received_row(new, connection=connection, at=at)
    session.add(row)
    session.flush()
    session.add(steps.received_id(connection, new.remote_doc_id, row.id))
    _log.append(
        session,
        "received",
        at=at,
        message_id=row.id,
        remote_doc_id=new.remote_doc_id,
        sha256=new.payload.sha256,
        reasons=[item.id for item in new.reasons],
    )
    matched = True
    if new.accepted:
        matched = changes.take_in(session, row, new.orders, at=at)
    else:
        changes.take_aside(session, row, at=at)
    if reply is not None:
        message, news = reply
        steps.queue(session, message, connection=connection, at=at, answers=row.id)
        steps.record_news(session, row, news, at=at)
    if new.accepted and new.news is not None and new.news.code != StatusCode.TAKE_BACK:
        matched = reports.apply_report(session, new.news, connection=connection, at=at)
    session.flush()
    return Kept(received_record(row), matched=matched)
