"""What a hub keeps of the people and programs that run it: accounts, who is logged in, tokens.

No password and no token is kept, only what they can be checked against. Every method is one transaction; what
changes who may do what is written into the audit log in the same one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.stores import hub_audit
from vnedoc.exchange.stores.hub_models import HubSessionRow, HubTokenRow, HubUserRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from sqlalchemy import orm

    from vnedoc.exchange.stores.database import Database

__all__ = [
    "HubAccounts",
    "NewSessionRecord",
    "SessionRecord",
    "TokenRecord",
    "UserRecord",
    "insert_token",
    "take_token",
]


@dataclasses.dataclass(frozen=True, slots=True)
class UserRecord:
    """An account."""

    name: str
    """The name to log in with."""
    role: str
    """``viewer``, ``operator`` or ``admin``."""
    password: str = dataclasses.field(repr=False)
    """What a password is checked against."""
    created_at: datetime.datetime
    """When it was made."""
    failures: int
    """Wrong passwords in a row."""
    locked_until: datetime.datetime | None
    """Until when nobody gets in."""


@dataclasses.dataclass(frozen=True, slots=True)
class SessionRecord:
    """Somebody who is logged in."""

    user_name: str
    """Who."""
    role: str
    """What they may do, as the account says now."""
    csrf: str = dataclasses.field(repr=False)
    """The value that forms of this session carry."""
    created_at: datetime.datetime
    """When they logged in."""
    seen_at: datetime.datetime
    """When they last did something."""


@dataclasses.dataclass(frozen=True, slots=True)
class NewSessionRecord:
    """The session of somebody whose password was right."""

    user_name: str
    """Who."""
    token_sha256: str
    """What the token of the session is found by."""
    csrf: str = dataclasses.field(repr=False)
    """The value that forms of this session carry."""
    at: datetime.datetime
    """When they logged in."""


@dataclasses.dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token of a program."""

    id: str
    """How people call it; not secret."""
    label: str
    """What it is for."""
    role: str
    """What it may do."""
    created_at: datetime.datetime
    """When it was made."""
    expires_at: datetime.datetime | None
    """When it ends."""


class HubAccounts:
    """The accounts in a hub's database.

    Args:
        database: The database of the hub.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_user(self, name: str, *, role: str, password: str, by: By) -> bool:
        """Add an account; tell whether it is new."""

        def step(session: orm.Session) -> bool:
            if session.get(HubUserRow, name) is not None:
                return False
            session.add(HubUserRow(name=name, role=role, password=password, created_at=by.at))
            session.flush()
            hub_audit.append(session, by, "user.add", f"user:{name}", role=role)
            return True

        return self._database.run(step)

    def change_user(self, name: str, *, by: By, role: str | None = None, password: str | None = None) -> bool:
        """Change an account and end its sessions; tell whether it is there."""
        with self._database.writing() as session:
            row = session.get(HubUserRow, name, with_for_update=True)
            if row is None:
                return False
            row.role = role or row.role
            if password is not None:
                row.password, row.failures, row.locked_until = password, 0, None
            session.execute(sa.delete(HubSessionRow).where(HubSessionRow.user_name == name))
            changed = {"role": role} if role is not None else {}
            hub_audit.append(
                session, by, "user.change", f"user:{name}", **changed, password_changed=password is not None
            )
            return True

    def remove_user(self, name: str, *, by: By) -> bool:
        """Remove an account and its sessions; tell whether it was there."""
        with self._database.writing() as session:
            # A login that is under way is waited for, or waits.
            row = session.get(HubUserRow, name, with_for_update=True)
            session.execute(sa.delete(HubSessionRow).where(HubSessionRow.user_name == name))
            if row is not None:
                session.delete(row)
                session.flush()
                hub_audit.append(session, by, "user.remove", f"user:{name}")
            return row is not None

    def users(self) -> list[UserRecord]:
        """Return all accounts, by name."""
        with self._database.reading() as session:
            return [_user(row) for row in session.scalars(sa.select(HubUserRow).order_by(HubUserRow.name))]

    def user(self, name: str) -> UserRecord | None:
        """Return one account."""
        with self._database.reading() as session:
            row = session.get(HubUserRow, name)
            return None if row is None else _user(row)

    def note_failure(
        self,
        name: str,
        *,
        at: datetime.datetime,
        lock: Callable[[int], datetime.datetime | None],
        address: str | None,
    ) -> datetime.datetime | None:
        """Count a wrong password, and lock the account if it was one too many.

        The audit log gets an entry for the lock, not for each password: a stranger must not be able to fill it.

        Args:
            name: The account.
            at: When.
            lock: Tells until when so many wrong passwords in a row lock it; ``None``: they do not.
            address: Where the password came from.

        Returns:
            Until when the account is locked since this password; ``None`` if it is not, or was already.
        """

        def step(session: orm.Session) -> datetime.datetime | None:
            row = session.get(HubUserRow, name, with_for_update=True)
            # Of many that come at once, those after the lock were tried in vain.
            if row is None or _is_locked(row, at):
                return None
            row.failures += 1
            until = lock(row.failures)
            if until is not None:
                row.locked_until = until
                detail = {"until": until.isoformat(), "failures": row.failures, "address": address}
                hub_audit.append(session, By("hub", at), "user.lock", f"user:{name}", **detail)
            return until

        return self._database.run(step)

    def begin_session(
        self, new: NewSessionRecord, *, checked: str, ended_before: datetime.datetime, address: str | None
    ) -> str | None:
        """Keep that somebody logged in; forget wrong passwords, and sessions that were last seen before a time.

        Args:
            new: The session.
            checked: What the password was checked against. To check takes a while, in which the password may be
                changed, or the account be locked or removed: then there is no session.
            ended_before: The time.
            address: Where the login came from.

        Returns:
            The role of the account; ``None`` if there is no session.
        """

        def step(session: orm.Session) -> str | None:
            row = session.get(HubUserRow, new.user_name, with_for_update=True)
            if row is None or row.password != checked or _is_locked(row, new.at):
                return None
            row.failures, row.locked_until = 0, None
            session.execute(sa.delete(HubSessionRow).where(HubSessionRow.seen_at < ended_before))
            session.add(
                HubSessionRow(
                    token_sha256=new.token_sha256,
                    user_name=new.user_name,
                    csrf=new.csrf,
                    created_at=new.at,
                    seen_at=new.at,
                )
            )
            session.flush()
            by = By(new.user_name, new.at)
            hub_audit.append(session, by, "user.log-in", f"user:{new.user_name}", address=address)
            return row.role

        return self._database.run(step)

    def session(self, token_sha256: str) -> SessionRecord | None:
        """Return who is logged in with a token."""
        query = (
            sa.select(HubSessionRow, HubUserRow.role)
            .join(HubUserRow, HubUserRow.name == HubSessionRow.user_name)
            .where(HubSessionRow.token_sha256 == token_sha256)
        )
        with self._database.reading() as session:
            found = session.execute(query).first()
            if found is None:
                return None
            row, role = found
            return SessionRecord(row.user_name, role, row.csrf, row.created_at, row.seen_at)

    def touch_session(self, token_sha256: str, *, at: datetime.datetime) -> None:
        """Note that a session is in use."""
        statement = sa.update(HubSessionRow).where(HubSessionRow.token_sha256 == token_sha256)
        with self._database.writing() as session:
            session.execute(statement.values(seen_at=at))

    def end_session(self, token_sha256: str) -> None:
        """End a session."""
        with self._database.writing() as session:
            session.execute(sa.delete(HubSessionRow).where(HubSessionRow.token_sha256 == token_sha256))

    def add_token(self, record: TokenRecord, *, token_sha256: str, by: By) -> None:
        """Add a token of a program."""
        with self._database.writing() as session:
            insert_token(session, record, token_sha256=token_sha256, by=by)

    def remove_token(self, token_id: str, *, by: By) -> bool:
        """Remove a token; tell whether it was there."""
        with self._database.writing() as session:
            return take_token(session, token_id, by=by)

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, by their ids."""
        with self._database.reading() as session:
            return [_token(row) for row in session.scalars(sa.select(HubTokenRow).order_by(HubTokenRow.id))]

    def has_token(self, token_id: str) -> bool:
        """Tell whether there is a token that people call so."""
        with self._database.reading() as session:
            return session.get(HubTokenRow, token_id) is not None

    def token(self, token_sha256: str) -> TokenRecord | None:
        """Return the token with a digest."""
        with self._database.reading() as session:
            row = session.scalar(sa.select(HubTokenRow).where(HubTokenRow.token_sha256 == token_sha256))
            return None if row is None else _token(row)


def insert_token(session: orm.Session, record: TokenRecord, *, token_sha256: str, by: By) -> None:
    """Add a token of a program in a transaction."""
    session.add(
        HubTokenRow(
            id=record.id,
            token_sha256=token_sha256,
            label=record.label,
            role=record.role,
            created_at=record.created_at,
            expires_at=record.expires_at,
        )
    )
    session.flush()
    until = None if record.expires_at is None else record.expires_at.isoformat()
    hub_audit.append(
        session,
        by,
        "access-token.add",
        f"token:{record.id}",
        label=record.label,
        role=record.role,
        expires_at=until,
    )


def take_token(session: orm.Session, token_id: str, *, by: By) -> bool:
    """Remove a token of a program in a transaction; tell whether it was there."""
    row = session.get(HubTokenRow, token_id)
    if row is None:
        return False
    session.delete(row)
    session.flush()
    hub_audit.append(session, by, "access-token.remove", f"token:{token_id}")
    return True


def _is_locked(row: HubUserRow, at: datetime.datetime) -> bool:
    return row.locked_until is not None and at < row.locked_until


def _user(row: HubUserRow) -> UserRecord:
    return UserRecord(row.name, row.role, row.password, row.created_at, row.failures, row.locked_until)


def _token(row: HubTokenRow) -> TokenRecord:
    return TokenRecord(row.id, row.label, row.role, row.created_at, row.expires_at)
