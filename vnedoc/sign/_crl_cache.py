"""Revocation lists on disk, so that the same megabytes are not fetched for every document.

A list is kept by the address it came from and the time its successor is due. Only lists that the issuer really signed
are kept: a forged one, once on disk, would stand in the way until it is due. They are checked again whenever they are
used. Files appear whole or not at all, so several processes may share a folder; the ones used longest ago go first
when the folder grows over its budget.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from vnedoc._internal import clock, files
from vnedoc.errors import InputError
from vnedoc.sign.revocation import MAX_CRL_BYTES, RevocationData, RevocationSource, crl_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CRLCache", "CachingRevocationSource", "default_folder"]

BUDGET_BYTES = 64 * 1024 * 1024
MAX_AGE = datetime.timedelta(days=1)
"""Older lists are fetched again although they are still in force: the newest one counts (Circular 15/2025/TT-BKHCN,
annex II, 1.2)."""


def default_folder() -> Path:
    """Return where lists are kept when nothing else is said (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    # The specification says to ignore relative paths.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "vnedoc" / "crl"


class CRLCache:
    """Revocation lists in a folder.

    Args:
        folder: Where; made when the first list is kept.
        budget_bytes: How large all lists together may be; a larger single list is not kept.
        max_age: How old a list may be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        budget_bytes: int = BUDGET_BYTES,
        max_age: datetime.timedelta = MAX_AGE,
    ) -> None:
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._max_age = max_age

    def get(self, url: str, *, at: datetime.datetime) -> bytes | None:
        """Return the list from an address that is in force at a time, or ``None``."""
        moment = clock.as_utc(at)
        for path, next_update in self._versions(url):
            if next_update <= moment:
                _remove(path)
                continue
            try:
                encoded = files.read_bytes(path, max_bytes=self._budget_bytes)
                crl = x509.load_der_x509_crl(encoded)
            except (InputError, ValueError):
                # Damaged, or taken away by another process just now.
                _remove(path)
                continue
            if not crl.last_update_utc <= moment < crl.last_update_utc + self._max_age:
                continue
            with contextlib.suppress(OSError):
                os.utime(path)
            return encoded
        return None

    def put(self, url: str, encoded: bytes, *, issuer: x509.Certificate) -> bool:
        """Keep a list, if its issuer signed it and says when the next one is due; tell whether it was kept."""
        if len(encoded) > self._budget_bytes:
            return False
        try:
            crl = x509.load_der_x509_crl(encoded)
            signed = crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type] # other keys raise
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        if not signed or crl.next_update_utc is None or crl.issuer != issuer.subject:
            return False
        path = self._folder / f"{_name(url)}.{crl.next_update_utc:%Y%m%dT%H%M%SZ}.crl"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, encoded)
        except (OSError, InputError):
            # A cache that cannot be written to is no reason not to sign.
            return False
        for older, _ in self._versions(url):
            if older != path:
                _remove(older)
        self._keep_budget(path)
        return True

    def _versions(self, url: str) -> list[tuple[Path, datetime.datetime]]:
        """Return the lists from an address, the one that is due last first."""
        try:
            found = [(path, _due(path)) for path in self._folder.glob(f"{_name(url)}.*.crl")]
        except OSError:
            return []
        return sorted(found, key=lambda item: item[1], reverse=True)

    def _keep_budget(self, newest: Path) -> None:
        kept = []
        with contextlib.suppress(OSError):
            for path in self._folder.glob("*.crl"):
                state = path.stat()
                kept.append((path != newest, state.st_mtime_ns, state.st_size, path))
        # The newest first, then by the time of last use.
        kept.sort(key=lambda item: (item[0], -item[1]))
        total = 0
        for _, _, size, path in kept:
            total += size
            if total > self._budget_bytes:
                _remove(path)


class CachingRevocationSource(RevocationSource):
    """A source that looks for lists on disk before it fetches them.

    Takes what :class:`~vnedoc.sign.revocation.RevocationSource` takes, and the cache.

    Args:
        cache: Where lists are kept.
        crls: CRLs, DER, that are at hand.
        online: Whether servers may be asked; lists on disk are used either way.
        allowed_hosts: Names or addresses that may be asked although they are private or loopback.
        only_hosts: If any are named, no others are asked but these and ``allowed_hosts``.
        timeout_s: Time limit for one call.
        max_crl_bytes: The largest list that is accepted.
        fetch_issuers: Whether certificates that miss in a chain may be fetched, too.
    """

    def __init__(
        self,
        cache: CRLCache,
        *,
        crls: Iterable[bytes] = (),
        online: bool = True,
        allowed_hosts: Iterable[str] = (),
        only_hosts: Iterable[str] = (),
        timeout_s: float = 10.0,
        max_crl_bytes: int = MAX_CRL_BYTES,
        fetch_issuers: bool = False,
    ) -> None:
        super().__init__(
            crls=crls,
            online=online,
            allowed_hosts=allowed_hosts,
            only_hosts=only_hosts,
            timeout_s=timeout_s,
            max_crl_bytes=max_crl_bytes,
            fetch_issuers=fetch_issuers,
        )
        self._cache = cache
        self._issuers: dict[bytes, x509.Certificate] = {}

    def ocsp_for(self, certificate: x509.Certificate, issuer: x509.Certificate) -> RevocationData:
        """Ask the OCSP responders that a certificate names."""
        # Always asked for before lists are; it tells whose key a list must be signed with.
        self._issuers[_key(certificate)] = issuer
        return super().ocsp_for(certificate, issuer)

    def crls_for(self, certificate: x509.Certificate) -> RevocationData:
        """Return the lists about a certificate, from disk where they are there."""
        now = clock.utc_now()
        for url in crl_addresses(certificate):
            kept = self._cache.get(url, at=now)
            if kept is not None:
                return RevocationData(crls=(*self.crls, kept))
        fetched = super().crls_for(certificate)
        issuer = self._issuers.get(_key(certificate))
        answered = [attempt.url for attempt in fetched.attempts if attempt.problem is None]
        if issuer is not None and answered and len(fetched.crls) > len(self.crls):
            self._cache.put(answered[0], fetched.crls[-1], issuer=issuer)
        return fetched


def _name(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def _due(path: Path) -> datetime.datetime:
    try:
        return datetime.datetime.strptime(path.name.split(".")[1], "%Y%m%dT%H%M%S%z")
    except ValueError:
        # Not a name of ours: it was due long ago.
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
