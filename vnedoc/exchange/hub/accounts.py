"""Who may look at a hub and run it: people with a password and a session, programs with a token.

Passwords are kept as scrypt hashes (RFC 7914), tokens as SHA-256: a copy of the database lets nobody in. A name that
does not exist, and an account that is locked, cost the same work as a wrong password. Wrong passwords lock an account
for a growing time, in all processes of the hub at once. A login and a lock are in the log and in the audit log.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime
import enum
import hashlib
import hmac
import logging
import re
import secrets
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.stores.hub_accounts import HubAccounts, NewSessionRecord, TokenRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.exchange.stores.hub import HubStore
    from vnedoc.exchange.stores.hub_accounts import UserRecord
    from vnedoc.exchange.stores.hub_administration import HubChanges

__all__ = ["Accounts", "LockedError", "NewSession", "Principal", "Role"]

logger = logging.getLogger("vnedoc.hub")

SESSION_LASTS = datetime.timedelta(hours=12)
SESSION_IDLE = datetime.timedelta(minutes=30)
# A session is not written to the database at every click.
_TOUCH_AFTER = datetime.timedelta(minutes=1)
FREE_FAILURES = 5
"""Wrong passwords in a row before an account is locked."""
_FIRST_LOCK = datetime.timedelta(seconds=30)
_LONGEST_LOCK = datetime.timedelta(hours=1)
MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")
# OWASP's choice for scrypt: 16 MiB and about 50 ms.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 5
_MEMORY = 64 * 1024 * 1024
_SALT_BYTES = 16
TOKEN_PREFIX = "vnedoc_"  # noqa: S105 - lets scanners find a token that was published by mistake
_TOKEN = re.compile(rf"{TOKEN_PREFIX}([0-9a-f]{{8}})_.*", re.DOTALL)


class Role(enum.StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Try deliveries again, let them expire."""
    ADMIN = "admin"
    """Add and remove systems, agencies, people and tokens."""

    def includes(self, other: Role) -> bool:
        """Tell whether this role may do what another may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class LockedError(Exception):
    """The account is locked; ``until`` says how long."""

    def __init__(self, until: datetime.datetime) -> None:
        super().__init__(until)
        self.until = until


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that was let in."""

    name: str
    """The account; ``token:`` and its id for a program."""
    role: Role
    """What they may do."""
    csrf: str = dataclasses.field(default="", repr=False)
    """What forms of this session carry; empty for a token, which no browser sends by itself."""

    def may(self, role: Role) -> bool:
        """Tell whether they may do what needs a role."""
        return self.role.includes(role)


@dataclasses.dataclass(frozen=True, slots=True)
class NewSession:
    """A login that worked."""

    token: str = dataclasses.field(repr=False)
    """The secret of the session, for the browser's cookie."""
    principal: Principal
    """Who logged in."""


class Accounts:
    """The people and programs that may run a hub.

    Args:
        store: The memory of the hub.
        clock: Tells the time.
        actor: Who changes accounts and tokens, for the audit log; see :meth:`acting`.
    """

    def __init__(
        self, store: HubStore, *, clock: Callable[[], datetime.datetime] = utc_now, actor: str = "local"
    ) -> None:
        self._rows = HubAccounts(store.database)
        self._clock = clock
        self._actor = actor
        # Made once, so that an unknown name costs what a wrong password costs, not more.
        self._nobody = _hash_password(secrets.token_hex(16))

    def acting(self, actor: str) -> Accounts:
        """Return the same accounts, changed in somebody's name."""
        other = copy.copy(self)
        other._actor = actor  # noqa: SLF001 - a copy of our own
        return other

    def _by(self) -> By:
        return By(self._actor, self._clock())

    def add_user(self, name: str, password: str, role: Role) -> None:
        """Add an account.

        Args:
            name: Lower-case letters, digits and ``. _ @ -``; 2 to 64 characters.
            password: At least 12 characters.
            role: What they may do.

        Raises:
            UsageError: The name or the password will not do, or the name is taken.
        """
        if not _NAME.fullmatch(name):
            raise UsageError("hub.bad-user-name", name=name)
        hashed = _hash_password(_checked(password, name))
        if not self._rows.add_user(name, role=role.value, password=hashed, by=self._by()):
            raise UsageError("hub.user-exists", name=name)

    def set_password(self, name: str, password: str) -> None:
        """Give an account a new password; whoever is logged in is logged out.

        Raises:
            UsageError: The password will not do.
            ConfigurationError: There is no such account.
        """
        hashed = _hash_password(_checked(password, name))
        if not self._rows.change_user(name, password=hashed, by=self._by()):
            raise ConfigurationError("hub.no-user", name=name)

    def set_role(self, name: str, role: Role) -> None:
        """Give an account another role; whoever is logged in is logged out.

        Raises:
            ConfigurationError: There is no such account.
        """
        if not self._rows.change_user(name, role=role.value, by=self._by()):
            raise ConfigurationError("hub.no-user", name=name)

    def remove_user(self, name: str) -> None:
        """Remove an account.

        Raises:
            ConfigurationError: There is no such account.
        """
        if not self._rows.remove_user(name, by=self._by()):
            raise ConfigurationError("hub.no-user", name=name)

    def users(self) -> list[UserRecord]:
        """Return all accounts."""
        return self._rows.users()

    def login(self, name: str, password: str, *, address: str | None = None) -> NewSession | None:
        """Let somebody in by password.

        Args:
            name: The account.
            password: The password.
            address: Where they come from, for the logs.

        Returns:
            The session; ``None`` if the name or the password is wrong, without saying which.

        Raises:
            LockedError: Too many wrong passwords; nobody gets in for now.
        """
        now = self._clock()
        user = self._user(name)
        right = len(password) <= MAX_PASSWORD_CHARS and _matches(
            password, self._nobody if user is None else user.password
        )
        if user is None:
            return None
        if user.locked_until is not None and now < user.locked_until:
            # Only now: how long it takes must not tell that there is such an account.
            raise LockedError(user.locked_until)
        if not right:
            self._note_failure(name, now, address)
            return None
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        new = NewSessionRecord(name, _digest(token), csrf, now)
        role = self._rows.begin_session(
            new, checked=user.password, ended_before=now - SESSION_LASTS, address=address
        )
        if role is None:
            return None
        logger.info("somebody logged in", extra={"account": name, "address": address})
        return NewSession(token, Principal(name, Role(role), csrf))

    def _note_failure(self, name: str, now: datetime.datetime, address: str | None) -> None:
        until = self._rows.note_failure(
            name, at=now, lock=lambda failures: _lock(failures, now), address=address
        )
        if until is not None:
            seen = {"account": name, "address": address, "until": until.isoformat()}
            logger.warning("an account is locked", extra=seen)

    def _user(self, name: str) -> UserRecord | None:
        return self._rows.user(name) if _NAME.fullmatch(name) else None

    def known_name(self, name: str) -> str | None:
        """Return a name that was given, for the log; ``None`` if there is no such account.

        What is no account may be a password that was typed into the wrong field.
        """
        return None if self._user(name) is None else name

    def known_token(self, token: str) -> str | None:
        """Return how people call a token that lets nobody in, for the log; ``None`` if there is none of that id."""
        found = _TOKEN.fullmatch(token)
        return f"token:{found[1]}" if found and self._rows.has_token(found[1]) else None

    def session(self, token: str) -> Principal | None:
        """Return who is logged in with the token of a cookie; ``None`` if the session is over, or never was."""
        digest, now = _digest(token), self._clock()
        found = self._rows.session(digest)
        if found is None:
            return None
        if now - found.created_at > SESSION_LASTS or now - found.seen_at > SESSION_IDLE:
            self._rows.end_session(digest)
            return None
        if now - found.seen_at > _TOUCH_AFTER:
            self._rows.touch_session(digest, at=now)
        return Principal(found.user_name, Role(found.role), found.csrf)

    def logout(self, token: str) -> None:
        """End a session."""
        self._rows.end_session(_digest(token))

    def add_token(
        self,
        label: str,
        role: Role,
        *,
        lasts: datetime.timedelta | None = None,
        within: HubChanges | None = None,
    ) -> tuple[str, str]:
        """Make a token for a program.

        Args:
            label: What it is for.
            role: What it may do.
            lasts: How long it is good for; ``None`` is until it is removed.
            within: The transaction to add it in; ``None`` is one of its own.

        Returns:
            Its id and the token itself, which is shown this once.
        """
        by = self._by()
        token_id = secrets.token_hex(4)
        token = f"{TOKEN_PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        expires_at = None if lasts is None else by.at + lasts
        record = TokenRecord(token_id, label, role.value, by.at, expires_at)
        if within is None:
            self._rows.add_token(record, token_sha256=_digest(token), by=by)
        else:
            within.add_token(record, token_sha256=_digest(token))
        return token_id, token

    def remove_token(self, token_id: str) -> None:
        """Remove a token.

        Raises:
            ConfigurationError: There is none with this id.
        """
        if not self._rows.remove_token(token_id, by=self._by()):
            raise ConfigurationError("hub.no-service-token", id=token_id)

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, without what is secret."""
        return self._rows.tokens()

    def bearer(self, token: str) -> Principal | None:
        """Return what a token of a program may do; ``None`` if it is over, or never was."""
        found = self._rows.token(_digest(token))
        if found is None or (found.expires_at is not None and self._clock() >= found.expires_at):
            return None
        return Principal(f"token:{found.id}", Role(found.role))


def _checked(password: str, name: str) -> str:
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise UsageError("hub.bad-password", least=MIN_PASSWORD_CHARS, most=MAX_PASSWORD_CHARS)
    # The two that are tried first: the name, and one letter over and over.
    if name in password.lower() or len(set(password)) == 1:
        raise UsageError("hub.weak-password", name=name)
    return password


def _lock(failures: int, now: datetime.datetime) -> datetime.datetime | None:
    if failures < FREE_FAILURES:
        return None
    # The exponent is bounded before the multiplication: the counter is in a stranger's hand.
    doublings = 1 << min(failures - FREE_FAILURES, 10)
    return now + min(_FIRST_LOCK * doublings, _LONGEST_LOCK)


def _hash_password(password: str) -> str:
    salt = secrets.token_bytes(_SALT_BYTES)
    return "$".join(("scrypt", str(_COST), _text(salt), _text(_scrypt(password, salt, _COST))))


def _matches(password: str, hashed: str) -> bool:
    _, cost, salt, expected = hashed.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(cost))
    return hmac.compare_digest(found, base64.b64decode(expected))


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=cost,
        r=_BLOCK,
        p=_PARALLEL,
        maxmem=_MEMORY,
        dklen=32,
    )


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
