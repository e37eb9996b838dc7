"""What people do at a hub, on the command line, by the API or in the console: one class for all three.

Here is decided what a system, a network, a fingerprint or a secret may be; the store writes the change and the audit
log in one transaction (:mod:`vnedoc.exchange.stores.hub_administration`).
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import ipaddress
import re
from typing import TYPE_CHECKING, TypeVar

from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.secret_keys import checked_secret, made_secret
from vnedoc.exchange.stores.hub import HubAgency
from vnedoc.exchange.stores.hub_administration import HubAdministration, HubChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from vnedoc.agencies import AgencyDirectory
    from vnedoc.exchange.stores._hub_agencies import AgencyRecord, Registered
    from vnedoc.exchange.stores.hub import HubStore
    from vnedoc.exchange.stores.hub_administration import NewSecret, Once, Retried, SystemRecord

__all__ = [
    "DEFAULT_OVERLAP",
    "MAX_CODE_CHARS",
    "MAX_OVERLAP",
    "Administration",
    "checked_agency",
    "checked_certificates",
    "checked_networks",
]

MAX_CODE_CHARS = 64
MAX_NAME_CHARS = 500
MAX_EMAIL_CHARS = 320
MAX_NETWORKS = 100
MAX_RETRIES = 1000
"""How many deliveries one order may name."""
DEFAULT_OVERLAP = datetime.timedelta(days=1)
"""How long the old secret of a system stays good when it gets a new one."""
MAX_OVERLAP = datetime.timedelta(days=90)
_SYSTEM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
# Levels joined by dots. Codes of either scheme are narrower; those of tests and of connected systems are not.
_AGENCY_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_Result = TypeVar("_Result")


class Administration:
    """Changes at a hub in somebody's name.

    Args:
        store: The memory of the hub.
        actor: Who changes, for the audit log: the name of an account, ``token:`` and its id, or ``local:`` and the
            account of the machine.
        clock: Tells the time.
    """

    def __init__(
        self, store: HubStore, *, actor: str, clock: Callable[[], datetime.datetime] = utc_now
    ) -> None:
        self.rows = HubAdministration(store)
        """What there is to be changed, for those who look."""
        self._actor = actor
        self._clock = clock
        self._within: HubChanges | None = None

    def once(
        self, once: Once, change: Callable[[Administration, HubChanges], dict[str, object]]
    ) -> tuple[dict[str, object], bool]:
        """Make changes in one transaction, unless the same call was made before.

        Args:
            once: The call.
            change: Makes the changes with what it is given, and returns the answer, which JSON can hold.

        Returns:
            The answer, and whether it is that of an earlier call.

        Raises:
            UsageError: The same name was given to another call.
        """
        return self.rows.once(self._by(), once, lambda changes: change(self._bound(changes), changes))

    def together(self, change: Callable[[Administration, HubChanges], _Result]) -> _Result:
        """Make several changes in one transaction: all of them or none."""
        return self._run(lambda changes: change(self._bound(changes), changes))

    def add_system(
        self,
        system_id: str,
        *,
        name: str | None = None,
        secret: str | None = None,
        networks: Iterable[str] = (),
        certificates: Iterable[str] = (),
    ) -> tuple[SystemRecord, NewSecret]:
        """Let a system call the hub.

        Args:
            system_id: Its id: letters without diacritics, digits and ``. _ : -``, at most 64.
            name: What people call it; ``None`` is its id.
            secret: Its secret, 65 to 256 visible ASCII characters; ``None`` makes one. Of a shorter one HMAC would
                not take the hash, so the hub could not keep the hash alone.
            networks: The networks it may call from, as CIDR; none is any.
            certificates: SHA-256 of the client certificates that it may show; none: it needs none.

        Raises:
            UsageError: One of them is not what it should be.
            ConfigurationError: There is a system with this id.
        """
        if not _SYSTEM_ID.fullmatch(system_id):
            raise UsageError("hub.bad-system-id", system_id=system_id[:100])
        title = _checked_name(name or system_id)
        given = made_secret() if secret is None else checked_secret(secret)
        cidrs, prints = checked_networks(networks), checked_certificates(certificates)
        return self._run(
            lambda changes: changes.add_system(
                system_id, name=title, secret=given, networks=cidrs, certificates=prints
            )
        )

    def change_system(
        self,
        system_id: str,
        *,
        name: str | None = None,
        networks: Iterable[str] | None = None,
        certificates: Iterable[str] | None = None,
        disabled: bool | None = None,
        version: int | None = None,
    ) -> SystemRecord:
        """Change what is given of a system; ``version`` refuses it if somebody else was quicker.

        Raises:
            UsageError: A value is not what it should be.
            ConfigurationError: There is no such system.
            NotAllowedError: The system has another version.
        """
        title = None if name is None else _checked_name(name)
        cidrs = None if networks is None else checked_networks(networks)
        prints = None if certificates is None else checked_certificates(certificates)
        return self._run(
            lambda changes: changes.change_system(
                system_id, name=title, networks=cidrs, certificates=prints, disabled=disabled, version=version
            )
        )

    def rotate_secret(
        self,
        system_id: str,
        *,
        secret: str | None = None,
        overlap: datetime.timedelta = DEFAULT_OVERLAP,
        version: int | None = None,
    ) -> NewSecret:
        """Give a system a new secret.

        Args:
            system_id: The system.
            secret: The secret, as in :meth:`add_system`; ``None`` makes one.
            overlap: How long the one before stays good; nothing ends it at once. Older ones end now.
            version: What the system's version must be; ``None`` is any.

        Raises:
            UsageError: The secret or the time will not do.
            ConfigurationError: There is no such system.
            NotAllowedError: The system has another version.
        """
        given = made_secret() if secret is None else checked_secret(secret)
        if not datetime.timedelta(0) <= overlap <= MAX_OVERLAP:
            raise UsageError("hub.bad-overlap", days=MAX_OVERLAP.days)
        return self._run(
            lambda changes: changes.rotate_secret(system_id, secret=given, overlap=overlap, version=version)
        )

    def remove_secret(self, system_id: str, secret_id: str) -> None:
        """End a secret at once.

        Raises:
            ConfigurationError: There is no such system or secret.
            NotAllowedError: It is the only one that stays.
        """
        self._run(lambda changes: changes.remove_secret(system_id, secret_id))

    def register_agencies(self, system_id: str, agencies: Iterable[HubAgency]) -> Registered:
        """Let a system send and receive for agencies; an agency moves if another system had it.

        Raises:
            UsageError: A code, a name or a mail address is not what it should be.
            ConfigurationError: There is no such system.
        """
        wanted = [checked_agency(agency) for agency in agencies]
        return self._run(lambda changes: changes.register_agencies(system_id, wanted))

    def import_directory(
        self, system_id: str, directory: AgencyDirectory, *, only: Collection[str] = ()
    ) -> tuple[Registered, tuple[str, ...]]:
        """Register the agencies of a directory that exist today, and close those of the system that end.

        An entry with a last day closes its agency on the day after, with the successor that the entry names if the
        hub knows it.

        Args:
            system_id: The system that serves them.
            directory: The directory.
            only: Codes of either scheme; none is all.

        Returns:
            What was registered, and the codes that were closed.

        Raises:
            ConfigurationError: There is no such system, or a code in ``only`` names nobody today.
        """
        today = vietnam(self._clock()).date()
        for code in only:
            directory.resolve(code, at=today)
        picked = [
            entry for entry in directory.agencies if not only or {entry.organ_id, entry.old_code} & set(only)
        ]
        present = {
            entry.organ_id: HubAgency(entry.organ_id, entry.name, entry.parent, None, entry.old_code)
            for entry in picked
            if entry.exists_on(today)
        }
        ends: dict[str, tuple[datetime.date, str | None]] = {}
        for entry in sorted(picked, key=lambda entry: entry.valid_to or datetime.date.max):
            if entry.valid_to is None or entry.valid_to == datetime.date.max:
                ends.pop(entry.organ_id, None)
            elif entry.valid_to >= today or entry.organ_id not in present:
                ends[entry.organ_id] = (entry.valid_to + datetime.timedelta(days=1), entry.successor)

        def change(bound: Administration, changes: HubChanges) -> tuple[Registered, tuple[str, ...]]:
            done = bound.register_agencies(system_id, present.values())
            return done, changes.close_agencies(system_id, ends)

        return self.together(change)

    def remove_agency(self, code: str, *, version: int | None = None) -> None:
        """Take an agency off the hub that no package was ever for.

        Raises:
            ConfigurationError: There is no such agency.
            NotAllowedError: Packages for it are kept: close it; or it is a successor, or has another version.
        """
        self._run(lambda changes: changes.remove_agency(code, version=version))

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

        Args:
            code: The agency.
            on: The first day on which it is no more (Vietnam time).
            successor: Who takes over its work; named to those who still send to the agency.
            forwards: Whether packages for it go to the successor; else they are refused.
            version: What the agency's version must be; ``None`` is any.

        Raises:
            ConfigurationError: There is no such agency, or no such successor.
            UsageError: It would succeed itself; or packages should go on to nobody.
            NotAllowedError: The agency has another version.
        """
        return self._run(
            lambda changes: changes.close_agency(
                code, on=on, successor=successor, forwards=forwards, version=version
            )
        )

    def reopen_agency(self, code: str, *, version: int | None = None) -> AgencyRecord:
        """Take the closing of an agency back.

        Raises:
            ConfigurationError: There is no such agency.
            NotAllowedError: The agency has another version.
        """
        return self._run(lambda changes: changes.reopen_agency(code, version=version))

    def retry_deliveries(self, doc_ids: Collection[str]) -> Retried:
        """Let deliveries that failed, were parked or expired wait for their recipients again.

        Raises:
            UsageError: There are more than 1,000.
        """
        if len(doc_ids) > MAX_RETRIES:
            raise UsageError("hub.too-many-deliveries", most=MAX_RETRIES)
        return self._run(lambda changes: changes.retry_deliveries(doc_ids))

    def system(self, system_id: str) -> SystemRecord:
        """Return a system.

        Raises:
            ConfigurationError: There is no such system.
        """
        found = self.rows.system(system_id, at=self._clock())
        if found is None:
            raise ConfigurationError("hub.unknown-system", system_id=system_id)
        return found

    def systems(self, *, after: str = "", limit: int = 500) -> list[SystemRecord]:
        """Return systems by their ids."""
        return self.rows.systems(at=self._clock(), after=after, limit=limit)

    def agency(self, code: str) -> AgencyRecord:
        """Return an agency.

        Raises:
            ConfigurationError: There is no such agency.
        """
        found = self.rows.agency(code)
        if found is None:
            raise ConfigurationError("hub.no-agency", code=code)
        return found

    def _run(self, change: Callable[[HubChanges], _Result]) -> _Result:
        if self._within is not None:
            return change(self._within)
        return self.rows.run(self._by(), change)

    def _by(self) -> By:
        return By(self._actor, self._clock())

    def _bound(self, changes: HubChanges) -> Administration:
        bound = copy.copy(self)
        bound._within = changes  # noqa: SLF001 - a copy of our own
        return bound


def checked_agency(agency: HubAgency) -> HubAgency:
    """Return an agency as it may be registered, whoever registers it and by whatever way.

    Raises:
        UsageError: A code, the name or the mail address is not what it should be.
    """
    for code in (agency.code, agency.parent_code, agency.old_code):
        if code is not None and not (len(code) <= MAX_CODE_CHARS and _AGENCY_CODE.fullmatch(code)):
            raise UsageError("hub.bad-agency-code", code=code[:100], most=MAX_CODE_CHARS)
    if agency.email is not None and len(agency.email) > MAX_EMAIL_CHARS:
        raise UsageError("hub.bad-email", most=MAX_EMAIL_CHARS)
    return dataclasses.replace(agency, name=_checked_name(agency.name))


def checked_networks(networks: Iterable[str]) -> Sequence[str]:
    """Return networks as CIDR in one form, each once.

    Raises:
        UsageError: One is none, such as one whose address has bits outside its mask; or there are more than 100.
    """
    found = []
    for text in networks:
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError as exc:
            raise UsageError("hub.bad-network", value=text[:100]) from exc
        if ipaddress.ip_interface(text.strip()).ip != network.network_address:
            raise UsageError("hub.network-host-bits", value=text.strip(), network=network)
        found.append(str(network))
    if len(found) > MAX_NETWORKS:
        raise UsageError("hub.too-many-networks", most=MAX_NETWORKS)
    return list(dict.fromkeys(found))


def checked_certificates(certificates: Iterable[str]) -> Sequence[str]:
    """Return fingerprints of certificates in one form, each once: SHA-256 as hexadecimal, with or without colons.

    Raises:
        UsageError: One is none, or there are more than 100.
    """
    found = []
    for text in certificates:
        plain = text.strip().replace(":", "").lower()
        if not _FINGERPRINT.fullmatch(plain):
            raise UsageError("hub.bad-fingerprint", value=text[:100])
        found.append(plain)
    if len(found) > MAX_NETWORKS:
        raise UsageError("hub.too-many-networks", most=MAX_NETWORKS)
    return list(dict.fromkeys(found))


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise UsageError("hub.bad-name", most=MAX_NAME_CHARS)
    return name.strip()
