"""Which certificates end soon: trust anchors, files that were named, those that a directory pins to agencies.

A hub knows the certificates of its clients by their fingerprint only, which says nothing about their end; whoever
wants to see that names their files, too.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import threading
from typing import TYPE_CHECKING

from vnedoc._internal.clock import VIETNAM
from vnedoc.agencies import load_directory
from vnedoc.errors import VnedocError
from vnedoc.sign.certificates import display_name, fingerprint
from vnedoc.sign.trust import load_certificates, load_trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

    from vnedoc.exchange.hub.console.options import ConsoleOptions

__all__ = ["Watch", "WatchedCertificate"]

logger = logging.getLogger("vnedoc.hub")

_READ_AGAIN = datetime.timedelta(minutes=5)
_MAX_PINS = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class WatchedCertificate:
    """A certificate whose end matters."""

    kind: str
    """``anchor``, ``intermediate``, ``file`` or ``pin``."""
    name: str
    """Whose it is: its common name, or the agency that it is pinned to."""
    source: str
    """Where it was found: a file, a name of shipped anchors, the code of an agency."""
    sha256: str
    """SHA-256 of the DER certificate, in hexadecimal."""
    not_after: datetime.datetime
    """When it ends."""

    def is_over(self, now: datetime.datetime) -> bool:
        """Tell whether it has ended."""
        return self.not_after <= now

    def is_ending(self, now: datetime.datetime, warn_before: datetime.timedelta) -> bool:
        """Tell whether it ends soon, or has ended."""
        return self.not_after - now <= warn_before


class Watch:
    """Reads the certificates to be watched, and reads them again when some minutes have passed.

    Args:
        options: Which.
    """

    def __init__(self, options: ConsoleOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._read_at: datetime.datetime | None = None
        self._found: tuple[WatchedCertificate, ...] = ()
        self._unreadable: tuple[str, ...] = ()

    def look(self, now: datetime.datetime) -> tuple[tuple[WatchedCertificate, ...], tuple[str, ...]]:
        """Return all certificates, the first to end first, and the sources that could not be read."""
        with self._lock:
            if self._read_at is None or not datetime.timedelta() <= now - self._read_at < _READ_AGAIN:
                self._read()
                self._read_at = now
            return self._found, self._unreadable

    def _read(self) -> None:
        found: dict[tuple[str, str], WatchedCertificate] = {}
        unreadable = []
        sources = [
            *((source, self._trusted) for source in self._options.trust),
            *((path, self._in_file) for path in self._options.certificate_files),
            *((path, self._pinned) for path in [self._options.directory] if path is not None),
        ]
        for source, read in sources:
            try:
                for item in read(source):  # type: ignore[operator]  # each reads its own kind of source
                    found.setdefault((item.sha256, item.source), item)
            except VnedocError as error:
                logger.warning("certificates of %s cannot be watched: %s", source, error)
                unreadable.append(str(source))
        self._found = tuple(sorted(found.values(), key=lambda item: (item.not_after, item.name)))
        self._unreadable = tuple(unreadable)

    def _trusted(self, source: str) -> Iterator[WatchedCertificate]:
        store = load_trust(source)
        for anchor in store.anchors:
            yield _watched("anchor", anchor.certificate, source)
        for certificate in store.intermediates:
            yield _watched("intermediate", certificate, source)

    def _in_file(self, path: Path) -> Iterator[WatchedCertificate]:
        for certificate in load_certificates(path):
            yield _watched("file", certificate, path.name)

    def _pinned(self, path: Path) -> Iterator[WatchedCertificate]:
        count = 0
        for agency in load_directory(path).agencies:
            for pin in agency.pins:
                # A pin says itself until when it counts; what has no end there is not about to end.
                if pin.valid_to is None or pin.valid_to == datetime.date.max:
                    continue
                count += 1
                if count > _MAX_PINS:
                    return
                end = datetime.datetime.combine(
                    pin.valid_to + datetime.timedelta(days=1), datetime.time(), VIETNAM
                )
                yield WatchedCertificate("pin", agency.name, agency.organ_id, pin.sha256, end)


def _watched(kind: str, certificate: x509.Certificate, source: str) -> WatchedCertificate:
    return WatchedCertificate(
        kind,
        display_name(certificate.subject),
        source,
        fingerprint(certificate),
        certificate.not_valid_after_utc,
    )
