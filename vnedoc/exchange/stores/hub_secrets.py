"""The secrets of systems as a hub's database holds them: sealed, with the old plain ones sealed when a hub starts."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vnedoc._internal.clock import utc_now
from vnedoc.errors import CredentialError
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.sealing import load_key, make_key_file
from vnedoc.exchange.hub.secret_keys import kept_key, to_keep
from vnedoc.exchange.stores import hub_audit
from vnedoc.exchange.stores._hub_systems import NEWEST_FIRST
from vnedoc.exchange.stores._types import UTCTime
from vnedoc.exchange.stores.hub_models import HubSealingRow, HubSecretRow
from vnedoc.exchange.stores.models import HubAgencyRow, HubSystemRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from sqlalchemy import orm

    from vnedoc.exchange.hub.sealing import HubKey
    from vnedoc.exchange.stores.database import Database

__all__ = ["HubSecrets", "SystemAccess", "add_sealed", "key_for", "stamps"]

_ID_BYTES = 4
_SYSTEMS, _SECRETS = HubSystemRow.__table__, HubSecretRow.__table__
_AGENCIES = HubAgencyRow.__table__
# What decides who gets in, and the secrets in force.
_IN_FORCE = (
    sa.select(
        _SYSTEMS.c.id,
        _SYSTEMS.c.secret,
        _SYSTEMS.c.sealed,
        _SYSTEMS.c.disabled_at,
        _SYSTEMS.c.networks,
        _SYSTEMS.c.certificates,
        _SECRETS.c.sealed.label("text"),
    )
    .select_from(
        _SYSTEMS.outerjoin(
            _SECRETS,
            sa.and_(
                _SECRETS.c.system_id == _SYSTEMS.c.id,
                sa.or_(
                    _SECRETS.c.expires_at.is_(None),
                    _SECRETS.c.expires_at > sa.bindparam("given_at", type_=UTCTime()),
                ),
            ),
        )
    )
    .order_by(*NEWEST_FIRST)
)
# One statement, for strangers, too: the time must not tell which ids there are.
_ACCESS = _IN_FORCE.add_columns(
    sa.exists()
    .where(
        _AGENCIES.c.system_id == _SYSTEMS.c.id,
        sa.or_(
            _AGENCIES.c.code == sa.bindparam("given_sender"),
            _AGENCIES.c.old_code == sa.bindparam("given_sender"),
        ),
    )
    .label("sends"),
).where(_SYSTEMS.c.id == sa.bindparam("given_system"))
_KEY_IN_FORCE = sa.select(HubSealingRow.key_id).where(HubSealingRow.id == 1)
_STAMPS = _IN_FORCE.where(_SYSTEMS.c.id.in_(sa.bindparam("given_systems", expanding=True)))


@dataclasses.dataclass(frozen=True, slots=True)
class SystemAccess:
    """How a system gets in."""

    id: str
    """Its id."""
    keys: tuple[bytes, ...] = dataclasses.field(repr=False)
    """The keys that its secrets in force are, the newest first; none if it is disabled."""
    networks: tuple[str, ...]
    """The networks it may call from, as CIDR; empty is any."""
    certificates: tuple[str, ...]
    """SHA-256 of the client certificates it may show, in lower-case hexadecimal; empty: it needs none."""
    is_disabled: bool
    """Whether it may not call."""
    sends: bool
    """Whether it sends for the agency that was asked about."""
    stamp: str = dataclasses.field(repr=False)
    """Changes whenever anything of it changes, the agencies excepted."""


class HubSecrets:
    """The secrets of systems.

    Args:
        database: The database of the hub.
        key: What seals them; ``None`` where nobody asks for a secret.
    """

    def __init__(self, database: Database, key: HubKey | None) -> None:
        self._database = database
        self._key = key

    @property
    def key(self) -> HubKey:
        """The key that seals.

        Raises:
            CredentialError: There is none.
        """
        if self._key is None:
            raise CredentialError("hub.no-key")
        return self._key

    def open(self, sealed: str, *, owner: str) -> str:
        """Return what was sealed; the key may have been changed since this process began.

        Raises:
            CredentialError: None of the keys opens it.
        """
        try:
            return self.key.open(sealed, owner=owner)
        except CredentialError:
            if not self._reload():
                raise
        return self.key.open(sealed, owner=owner)

    def sealer(self, session: orm.Session) -> HubKey:
        """Return the key that seals now, in a transaction; whoever wants to change it waits until that ends.

        Where none is in force yet, ours is from now on: of several machines with keys of their own the one that seals
        first decides, and the others seal nothing.

        Raises:
            CredentialError: It is not among the keys that are known here.
        """
        if session.scalar(_KEY_IN_FORCE) is None:
            self._put_in_force(session)
        current = session.scalar(_KEY_IN_FORCE.with_for_update(read=True))
        assert current is not None
        found = self.key.sealing_with(current)
        if found is None and self._reload():
            found = self.key.sealing_with(current)
        if found is None:
            raise CredentialError("hub.wrong-key")
        return found

    def _put_in_force(self, session: orm.Session) -> None:
        """Let our key be the one in force, unless another was quicker."""
        row = session.get_one(HubSealingRow, 1, with_for_update=True, populate_existing=True)
        if row.key_id is None:
            # Secrets from before the first key was written down were all sealed with one.
            self._require_ours(session)
            row.key_id = self.key.id
            session.flush()

    def _require_ours(self, session: orm.Session) -> None:
        """See to it that all keys that were used, and the one in force, are known here.

        Raises:
            CredentialError: One is not.
        """
        for column in (HubSealingRow.key_id, HubSecretRow.key_id):
            if session.scalar(sa.select(column).where(column.not_in(self.key.ids)).limit(1)) is not None:
                raise CredentialError("hub.wrong-key")

    def use(self, key: HubKey) -> None:
        """Use other keys from now on."""
        self._key = key

    def _reload(self) -> bool:
        """Read the key file again; tell whether there are other keys in it now."""
        source = None if self._key is None else self._key.source
        key = None if source is None else load_key(source, environment={})
        if key is None or key.ids == self.key.ids:
            return False
        self._key = key
        return True

    def access(self, system_id: str, *, at: datetime.datetime, sender: str = "") -> SystemAccess | None:
        """Return how a system gets in; ``None`` if there is no such system.

        Args:
            system_id: Its id.
            at: When.
            sender: The code of an agency that it may send for.

        Raises:
            CredentialError: Its secret cannot be opened.
        """
        with self._database.single() as connection:
            rows = connection.execute(
                _ACCESS, {"given_system": system_id, "given_at": at, "given_sender": sender}
            ).all()
        if not rows:
            return None
        first = rows[0]
        sealed = [] if first.disabled_at is not None else [row.text for row in rows if row.text is not None]
        # A process of the version before may add one while the upgrade goes on.
        plain = () if first.sealed or first.disabled_at is not None else (first.secret,)
        return SystemAccess(
            first.id,
            tuple(map(kept_key, (*plain, *(self.open(text, owner=_owner(system_id)) for text in sealed)))),
            tuple(first.networks.split()),
            tuple(first.certificates.split()),
            first.disabled_at is not None,
            bool(first.sends),
            _stamp(rows),
        )

    def check_key(self) -> None:
        """See to it that the key is the one in force, and the one that the secrets were sealed with.

        Raises:
            CredentialError: It is another.
        """
        with self._database.reading() as session:
            self._require_ours(session)

    def is_empty(self) -> bool:
        """Tell whether nothing was sealed yet."""
        with self._database.reading() as session:
            sealed = session.scalar(sa.select(HubSecretRow.id).limit(1))
            return sealed is None and session.scalar(_KEY_IN_FORCE) is None

    def seal_old(self) -> int:
        """Seal the secrets that an older version kept in plain; return how many."""
        unsealed = sa.select(HubSystemRow.id).where(HubSystemRow.sealed.is_(False)).limit(1)
        with self._database.reading() as session:
            if session.scalar(unsealed) is None:
                return 0
        count = self._database.run(self._seal_old)
        self.empty_log()
        return count

    def overwrite(self, session: orm.Session) -> None:
        """See to it that what a transaction replaces does not stay in the free space of a page."""
        if self._database.is_sqlite:
            session.execute(sa.text("PRAGMA secure_delete = ON"))

    def empty_log(self) -> None:
        """Empty the log beside a SQLite file: what was overwritten is still in it."""
        if self._database.is_sqlite:
            connection = self._database.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def _seal_old(self, session: orm.Session) -> int:
        self.overwrite(session)
        query = sa.select(HubSystemRow).where(HubSystemRow.sealed.is_(False)).with_for_update()
        rows = session.scalars(query).all()
        now = utc_now()
        key = self.sealer(session)
        for row in rows:
            add_sealed(session, row.id, row.secret, key=key, at=row.created_at)
            row.secret, row.sealed = unusable(), True
        if rows:
            hub_audit.append(session, By("hub", now), "secrets.seal", "hub", systems=[row.id for row in rows])
        return len(rows)


def stamps(
    connection: sa.Connection, system_ids: Collection[str], *, at: datetime.datetime
) -> dict[str, str]:
    """Return the stamps of how systems get in, in a transaction.

    Args:
        connection: Where to ask.
        system_ids: The systems; who does not exist has no stamp.
        at: When.
    """
    found: dict[str, list[Any]] = {}
    for row in connection.execute(_STAMPS, {"given_systems": sorted(system_ids), "given_at": at}):
        found.setdefault(row.id, []).append(row)
    return {system_id: _stamp(rows) for system_id, rows in found.items()}


def add_sealed(
    session: orm.Session, system_id: str, secret: str, *, key: HubKey, at: datetime.datetime
) -> HubSecretRow:
    """Add a secret to a system in a transaction; return its row."""
    row = HubSecretRow(
        id=secrets.token_hex(_ID_BYTES),
        system_id=system_id,
        key_id=key.id,
        sealed=key.seal(to_keep(secret), owner=_owner(system_id)),
        created_at=at,
    )
    session.add(row)
    return row


def unusable() -> str:
    """Return what stands where secrets stood: letters that nobody has ever seen."""
    return secrets.token_hex(32)


def key_for(database: Database, path: Path) -> HubKey:
    """Return the key of a hub, from ``VNEDOC_HUB_KEY`` or a file; a hub without secrets gets a new file.

    Args:
        database: The database of the hub.
        path: The file.

    Raises:
        CredentialError: The key is missing, wrong, or others can read it.
    """
    key = load_key(path)
    if key is None and HubSecrets(database, None).is_empty():
        key = make_key_file(path)
    # Another process may have made it just now.
    key = key or load_key(path)
    if key is None:
        raise CredentialError("hub.missing-key", path=path)
    HubSecrets(database, key).check_key()
    return key


def _stamp(rows: Sequence[Any]) -> str:
    first = rows[0]
    fixed = (first.secret, first.sealed, first.disabled_at, first.networks, first.certificates)
    return repr((*fixed, *(row.text for row in rows)))


def _owner(system_id: str) -> str:
    return f"system:{system_id}"
