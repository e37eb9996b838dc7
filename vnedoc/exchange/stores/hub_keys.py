"""Change the key that seals the secrets of a hub, while the hub runs.

Which key seals is said by a row of the database, which every transaction that seals holds on to. The file holds one
key, and two while it is changed: the new one is added, then everything is sealed anew in one transaction that also
says so in the row, then the old one is taken out. Whoever is killed in between leaves a file that opens everything;
the next try goes on from there. A process that finds a secret that it cannot open reads the file again.

The audit log names a key before the file holds it. Whoever is killed then leaves an entry of a key that there is not,
never a key that nobody knows where it is from.

Several machines have files of their own. There the new key is added on one of them and brought to all, before
anything is sealed with it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import CredentialError, UsageError
from vnedoc.exchange.hub.sealing import (
    KEY_VARIABLE,
    HubKey,
    add_key,
    keep_only,
    load_key,
    locked_folder,
    new_key,
)
from vnedoc.exchange.stores import hub_audit
from vnedoc.exchange.stores.hub_models import HubAnswerRow, HubSealingRow, HubSecretRow

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import orm

    from vnedoc.exchange.hub.audit import By
    from vnedoc.exchange.stores.hub import HubStore

__all__ = ["HubKeys", "KeyState", "Rotation"]


@dataclasses.dataclass(frozen=True, slots=True)
class KeyState:
    """Which keys there are."""

    current: str
    """Id of the one that seals."""
    known: tuple[str, ...]
    """Ids of those that are in the file, or the variable, in their order."""
    secrets: dict[str, int]
    """How many secrets of systems each has sealed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rotation:
    """What a change of the key did."""

    was: str
    """Id of the key before."""
    now: str
    """Id of the key that seals now."""
    secrets: int
    """How many secrets were sealed anew; 0 where only an earlier change was brought to its end."""
    known: tuple[str, ...]
    """Ids of the keys that are in the file, or the variable, now."""


class HubKeys:
    """The keys of a hub.

    Args:
        store: The memory of the hub.
    """

    def __init__(self, store: HubStore) -> None:
        self._database = store.database
        self._secrets = store.system_secrets

    def state(self) -> KeyState:
        """Return which keys there are."""
        count = sa.select(HubSecretRow.key_id, sa.func.count()).group_by(HubSecretRow.key_id)
        with self._database.reading() as session:
            secrets = {row[0]: int(row[1]) for row in session.execute(count)}
            current = session.scalar(sa.select(HubSealingRow.key_id).where(HubSealingRow.id == 1))
        known = self._secrets.key.ids
        # Before a key was written down, all secrets were sealed with one.
        return KeyState(current or next(iter(secrets), known[0]), known, secrets)

    def add(self, *, by: By) -> str:
        """Put a new key into the file, which opens from now on, and seals after a rotation; return its id.

        Raises:
            UsageError: The keys come from the variable.
            CredentialError: The file cannot be read or written.
        """
        path = self._file()
        with locked_folder(path):
            return self._add(path, by)

    def _add(self, path: Path, by: By) -> str:
        key = new_key()
        key_id = HubKey(key).id
        self._database.run(lambda session: hub_audit.append(session, by, "key.add", "hub", key=key_id))
        self._secrets.use(add_key(path, key))
        return key_id

    def rotate(self, *, by: By, keep_old: bool = False, on_one_machine: bool = False) -> Rotation:
        """Seal everything with the last key of the file; with a new one if the last one seals already.

        Args:
            by: Who does it, for the audit log.
            keep_old: Whether the file keeps the key before, for as long as other machines may need it.
            on_one_machine: That no other machine has processes of this hub; without it, a hub on a database server
                takes no key that could not have been brought to the others.

        Raises:
            UsageError: A new key is needed, and it cannot be made here.
            CredentialError: The file cannot be read or written, or something cannot be opened.
        """
        path = self._secrets.key.source
        if path is None:
            return self._rotate(None, by, keep_old=True, may_make=False)
        with locked_folder(path):
            key = load_key(path, environment={})
            if key is None:
                raise CredentialError("hub.missing-key", path=path)
            self._secrets.use(key)
            return self._rotate(
                path, by, keep_old=keep_old, may_make=on_one_machine or self._database.is_sqlite
            )

    def _rotate(self, path: Path | None, by: By, *, keep_old: bool, may_make: bool) -> Rotation:
        before = self.state()
        target = before.known[-1]
        count = 0
        if target != before.current or len(before.known) == 1:
            if target == before.current:
                if path is None:
                    raise UsageError("hub.key-in-variable", name=KEY_VARIABLE)
                if not may_make:
                    raise UsageError("hub.key-not-everywhere")
                target = self._add(path, by)
            count = self._database.run(lambda session: self._seal_again(session, target, by))
            self._secrets.empty_log()
        if path is not None and not keep_old:
            if set(self.state().secrets) - {target}:
                raise CredentialError("hub.wrong-key")
            self._secrets.use(keep_only(path, target))
        return Rotation(before.current, target, count, self._secrets.key.ids)

    def _seal_again(self, session: orm.Session, key_id: str, by: By) -> int:
        self._secrets.overwrite(session)
        # Whoever seals at this moment is waited for, and who comes after waits.
        row = session.get_one(HubSealingRow, 1, with_for_update=True, populate_existing=True)
        new = self._secrets.key.sealing_with(key_id)
        assert new is not None
        sealed = session.scalars(sa.select(HubSecretRow).order_by(HubSecretRow.id).with_for_update()).all()
        was = row.key_id or next((item.key_id for item in sealed), None)
        for item in sealed:
            item.sealed, item.key_id = _again(new, item.sealed, f"system:{item.system_id}"), key_id
        for answer in session.scalars(sa.select(HubAnswerRow).with_for_update()):
            answer.sealed = _again(new, answer.sealed, f"answer:{answer.actor}:{answer.key}")
        row.key_id, row.changed_at = key_id, by.at
        hub_audit.append(session, by, "key.rotate", "hub", was=was, now=key_id, secrets=len(sealed))
        return len(sealed)

    def _file(self) -> Path:
        path = self._secrets.key.source
        if path is None:
            raise UsageError("hub.key-in-variable", name=KEY_VARIABLE)
        return path


def _again(key: HubKey, sealed: str, owner: str) -> str:
    return key.seal(key.open(sealed, owner=owner), owner=owner)
