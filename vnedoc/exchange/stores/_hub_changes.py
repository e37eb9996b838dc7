"""Changes at a hub within one transaction; each writes the audit log in it.

There is no change without an entry, and no entry without a change. What is allowed is decided in
:mod:`vnedoc.exchange.hub.administration`.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vnedoc.errors import ConfigurationError, NotAllowedError, UsageError
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores import _hub_agencies, _hub_claims, hub_audit
from vnedoc.exchange.stores._hub_systems import NEWEST_FIRST, NewSecret, is_good, system_records
from vnedoc.exchange.stores.hub_accounts import insert_token
from vnedoc.exchange.stores.hub_deliveries import is_payload_pruned
from vnedoc.exchange.stores.hub_models import HubSecretRow
from vnedoc.exchange.stores.hub_secrets import add_sealed, unusable
from vnedoc.exchange.stores.models import HubAgencyRow, HubDeliveryRow, HubSystemRow

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import orm

    from vnedoc.exchange.hub.audit import By
    from vnedoc.exchange.stores._hub_agencies import AgencyRecord, Registered
    from vnedoc.exchange.stores._hub_systems import SystemRecord
    from vnedoc.exchange.stores.hub import HubAgency
    from vnedoc.exchange.stores.hub_accounts import TokenRecord
    from vnedoc.exchange.stores.hub_secrets import HubSecrets

__all__ = ["RETRYABLE", "HubChanges", "Retried"]

RETRYABLE = frozenset({TransportStatus.FAIL.value, "parked", "expired"})
"""Statuses of a delivery that a person may set back to ``initial``."""
MAX_SECRETS = 2
"""How many secrets of a system are in force at once."""
_BATCH = 500
_MAX_NAMED = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Retried:
    """What became of an order to try deliveries again."""

    again: tuple[str, ...]
    """Ids that wait for their recipients again."""
    left: tuple[str, ...]
    """Ids that there is nothing to be tried about, whose package was pruned, or that nothing is known of."""


class HubChanges:
    """Changes within one transaction.

    Args:
        session: The transaction.
        by: Who changes, and when.
        secrets: Seals the secrets of systems.
    """

    def __init__(self, session: orm.Session, *, by: By, secrets: HubSecrets) -> None:
        self._session = session
        self._by = by
        self._secrets = secrets

    @property
    def at(self) -> datetime.datetime:
        """When the changes are made."""
        return self._by.at

    def add_system(
        self,
        system_id: str,
        *,
        name: str,
        secret: str,
        networks: Sequence[str] = (),
        certificates: Sequence[str] = (),
    ) -> tuple[SystemRecord, NewSecret]:
        """Let a system call the hub.

        Raises:
            ConfigurationError: There is a system with this id.
        """
        if self._session.get(HubSystemRow, system_id) is not None:
            raise ConfigurationError("hub.system-exists", system_id=system_id)
        row = HubSystemRow(
            id=system_id,
            name=name,
            secret=unusable(),
            sealed=True,
            created_at=self._by.at,
            networks="\n".join(networks),
            certificates="\n".join(certificates),
            version=1,
        )
        self._session.add(row)
        self._session.flush()
        kept = add_sealed(
            self._session, system_id, secret, key=self._secrets.sealer(self._session), at=self._by.at
        )
        self._audit(
            "system.add",
            _system(system_id),
            name=name,
            networks=list(networks),
            certificates=list(certificates),
            secret_id=kept.id,
        )
        return self._record(row), NewSecret(kept.id, secret)

    def change_system(
        self,
        system_id: str,
        *,
        name: str | None = None,
        networks: Sequence[str] | None = None,
        certificates: Sequence[str] | None = None,
        disabled: bool | None = None,
        version: int | None = None,
    ) -> SystemRecord:
        """Change what is given of a system.

        Raises:
            ConfigurationError: There is no such system.
            NotAllowedError: Somebody else changed it since that version.
        """
        row = self._system_row(system_id, version=version)
        changed: dict[str, object] = {}
        if name is not None and name != row.name:
            changed["name"] = row.name = name
        if networks is not None and list(networks) != row.networks.split():
            changed["networks"], row.networks = list(networks), "\n".join(networks)
        if certificates is not None and list(certificates) != row.certificates.split():
            changed["certificates"], row.certificates = list(certificates), "\n".join(certificates)
        if disabled is not None and disabled != (row.disabled_at is not None):
            changed["disabled"], row.disabled_at = disabled, self._by.at if disabled else None
        if changed:
            row.version += 1
            self._audit("system.change", _system(system_id), **changed)
        return self._record(row)

    def rotate_secret(
        self, system_id: str, *, secret: str, overlap: datetime.timedelta, version: int | None = None
    ) -> NewSecret:
        """Give a system a new secret; the one before stays good for a time, older ones end now.

        Raises:
            ConfigurationError: There is no such system.
            NotAllowedError: Somebody else changed it since that version.
        """
        row = self._system_row(system_id, version=version)
        kept = add_sealed(
            self._session, system_id, secret, key=self._secrets.sealer(self._session), at=self._by.at
        )
        until: datetime.datetime | None = None
        ended = []
        older = [item for item in self._secret_rows(system_id) if item.id != kept.id]
        for place, item in enumerate(older):
            if place < MAX_SECRETS - 1 and overlap and is_good(item, self._by.at):
                until = min(filter(None, (item.expires_at, self._by.at + overlap)))
                item.expires_at = until
            else:
                self._session.delete(item)
                ended.append(item.id)
        row.version += 1
        self._audit(
            "secret.rotate", _system(system_id), secret_id=kept.id, older_until=_iso(until), ended=ended
        )
        return NewSecret(kept.id, secret, until)

    def remove_secret(self, system_id: str, secret_id: str) -> None:
        """End a secret at once.

        Raises:
            ConfigurationError: There is no such system or secret.
            NotAllowedError: It is the only one that stays: give the system a new one first, or disable the system.
        """
        system = self._system_row(system_id)
        rows = self._secret_rows(system_id)
        found = next((item for item in rows if item.id == secret_id), None)
        if found is None:
            raise ConfigurationError("hub.no-secret-id", system_id=system_id, id=secret_id)
        if not any(item is not found and item.expires_at is None for item in rows):
            raise NotAllowedError("hub.last-secret", system_id=system_id)
        self._session.delete(found)
        system.version += 1
        self._audit("secret.remove", _system(system_id), secret_id=secret_id)

    def register_agencies(self, system_id: str, agencies: Iterable[HubAgency]) -> Registered:
        """Let a system send and receive for agencies; an agency moves if another system had it.

        Raises:
            ConfigurationError: There is no such system.
        """
        _hub_agencies.lock(self._session)
        self._system_row(system_id)
        done = _hub_agencies.register(self._session, system_id, agencies)
        if done.touched:
            self._audit(
                "agency.register",
                _system(system_id),
                added=len(done.added),
                changed=len(done.changed),
                moved=dict(itertools.islice(done.moved.items(), _MAX_NAMED)),
                moved_count=len(done.moved),
                codes=done.touched[:_MAX_NAMED],
            )
        return done

    def claim_agency(self, system_id: str, agency: HubAgency, *, day: datetime.date, most: int) -> Registered:
        """Let a system register an agency by itself; see :func:`vnedoc.exchange.stores._hub_claims.granted`.

        Raises:
            ConfigurationError: There is no such system.
            NotAllowedError: The agency is not its to register, or it has too many.
        """
        _hub_agencies.lock(self._session)
        claim = _hub_claims.granted(self._session, system_id, agency, day=day, most=most)
        return self.register_agencies(system_id, [claim])

    def agency_version(self, code: str) -> int | None:
        """Return the version of an agency and keep others from it; ``None`` if there is none."""
        _hub_agencies.lock(self._session)
        row = self._session.get(HubAgencyRow, code, with_for_update=True)
        return None if row is None else row.version

    def remove_agency(self, code: str, *, system_id: str | None = None, version: int | None = None) -> None:
        """Remove an agency.

        Args:
            code: The agency.
            system_id: The system that it must be of; ``None`` is any.
            version: What its version must be; ``None`` is any.

        Raises:
            ConfigurationError: There is no such agency, or it is not of that system.
            NotAllowedError: Packages for it are kept, it is to take over from another, or somebody else changed it
                since that version.
        """
        row = self._agency_row(code, version=version)
        if system_id is not None and row.system_id != system_id:
            raise ConfigurationError("hub.no-agency", code=code)
        used = sa.select(HubDeliveryRow.doc_id).where(HubDeliveryRow.recipient_code == row.code).limit(1)
        if self._session.scalar(used) is not None:
            raise NotAllowedError("hub.agency-in-use", code=row.code)
        # Whoever registered its code next would get what was for the one that it succeeds.
        before = sa.select(HubAgencyRow.code).where(HubAgencyRow.successor_code == row.code)
        closed = self._session.scalar(before.order_by(HubAgencyRow.code).limit(1))
        if closed is not None:
            raise NotAllowedError("hub.agency-succeeds", code=row.code, closed=closed)
        self._session.delete(row)
        self._session.flush()
        self._audit("agency.remove", _agency(row.code), system=row.system_id)

    def close_agency(
        self,
        code: str,
        *,
        on: datetime.date,
        successor: str | None = None,
        forwards: bool = False,
        version: int | None = None,
    ) -> AgencyRecord:
        """Close an agency from a day on.

        Raises:
            ConfigurationError: There is no such agency, or no such successor.
            UsageError: It would succeed itself, directly or by others; or packages should go on to nobody.
            NotAllowedError: Somebody else changed it since that version.
        """
        row = self._agency_row(code, version=version)
        if successor is None and forwards:
            raise UsageError("hub.forwards-to-nobody", code=row.code)
        if successor is not None:
            successor = _hub_agencies.checked_successor(self._session, row.code, successor)
        if (row.closed_on, row.successor_code, row.forwards) != (on, successor, forwards):
            row.closed_on, row.successor_code, row.forwards = on, successor, forwards
            row.version += 1
            self._session.flush()
            self._audit(
                "agency.close", _agency(row.code), on=on.isoformat(), successor=successor, forwards=forwards
            )
        return _hub_agencies.record(row)

    def close_agencies(
        self, system_id: str, ends: Mapping[str, tuple[datetime.date, str | None]]
    ) -> tuple[str, ...]:
        """Close agencies of a system that have an end; return those that are changed by it.

        Args:
            system_id: The system; agencies of others are left alone.
            ends: The first day on which each is no more, and its successor, who is left out if the hub does not
                know them.
        """
        _hub_agencies.lock(self._session)
        known = _hub_agencies.codes_of(
            self._session, [*ends, *(heir for _, heir in ends.values() if heir is not None)]
        )
        closed = []
        for code, (day, heir) in ends.items():
            row = self._session.get(HubAgencyRow, code) if code in known else None
            # What somebody decided by hand stands.
            if row is None or row.system_id != system_id or row.closed_on is not None:
                continue
            self.close_agency(code, on=day, successor=heir if heir in known else None, forwards=False)
            closed.append(code)
        return tuple(closed)

    def reopen_agency(self, code: str, *, version: int | None = None) -> AgencyRecord:
        """Take the closing of an agency back.

        Raises:
            ConfigurationError: There is no such agency.
            NotAllowedError: Somebody else changed it since that version.
        """
        row = self._agency_row(code, version=version)
        if row.closed_on is not None:
            row.closed_on, row.successor_code, row.forwards = None, None, False
            row.version += 1
            self._session.flush()
            self._audit("agency.reopen", _agency(row.code))
        return _hub_agencies.record(row)

    def retry_deliveries(self, doc_ids: Collection[str]) -> Retried:
        """Let deliveries that failed, were parked or expired wait for their recipients again.

        Those whose package was pruned stay as they are: there is nothing to be fetched.
        """
        wanted = list(dict.fromkeys(doc_ids))
        again: dict[str, str] = {}
        for start in range(0, len(wanted), _BATCH):
            query = (
                sa.select(HubDeliveryRow)
                .where(
                    HubDeliveryRow.doc_id.in_(wanted[start : start + _BATCH]),
                    HubDeliveryRow.status.in_(RETRYABLE),
                )
                .order_by(HubDeliveryRow.doc_id)
                .with_for_update()
            )
            for row in self._session.scalars(query).all():
                if is_payload_pruned(self._session, row.message_id):
                    continue
                again[row.doc_id] = row.status
                row.status, row.status_text, row.fail_count = TransportStatus.INITIAL.value, None, 0
                row.updated_at = self._by.at
        self._session.flush()
        for doc_id in wanted:
            if doc_id in again:
                self._audit("delivery.retry", f"delivery:{doc_id}", was=again[doc_id])
        return Retried(
            tuple(doc_id for doc_id in wanted if doc_id in again),
            tuple(doc_id for doc_id in wanted if doc_id not in again),
        )

    def add_token(self, record: TokenRecord, *, token_sha256: str) -> None:
        """Add a token of a program."""
        insert_token(self._session, record, token_sha256=token_sha256, by=self._by)

    def _audit(self, action: str, subject: str, **detail: object) -> None:
        hub_audit.append(self._session, self._by, action, subject, **detail)

    def _system_row(self, system_id: str, *, version: int | None = None) -> HubSystemRow:
        row = self._session.get(HubSystemRow, system_id, with_for_update=True)
        if row is None:
            raise ConfigurationError("hub.unknown-system", system_id=system_id)
        _compare(version, row.version, _system(system_id))
        return row

    def _agency_row(self, code: str, *, version: int | None) -> HubAgencyRow:
        _hub_agencies.lock(self._session)
        row = self._session.get(HubAgencyRow, code, with_for_update=True)
        if row is None:
            raise ConfigurationError("hub.no-agency", code=code)
        _compare(version, row.version, _agency(code))
        return row

    def _secret_rows(self, system_id: str) -> list[HubSecretRow]:
        self._session.flush()
        query = sa.select(HubSecretRow).where(HubSecretRow.system_id == system_id)
        return list(self._session.scalars(query.order_by(*NEWEST_FIRST)))

    def _record(self, row: HubSystemRow) -> SystemRecord:
        self._session.flush()
        return system_records(self._session, [row], at=self._by.at)[0]


def _compare(expected: int | None, found: int, subject: str) -> None:
    if expected is not None and expected != found:
        raise NotAllowedError("hub.outdated", subject=subject)


def _system(system_id: str) -> str:
    return f"system:{system_id}"


def _agency(code: str) -> str:
    return f"agency:{code}"


def _iso(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
