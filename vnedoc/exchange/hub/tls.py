"""TLS of a hub: its certificate, whose client certificates it takes, and files that are renewed while it runs.

TLS 1.2 and later, HTTP/1.1. New connections follow what the files say now; nobody has to restart anything. Files that
do not fit together, as while somebody is replacing them one after the other, leave all as it was.

A certificate on a list of revoked ones (RFC 5280, clause 5) is turned away in the handshake. A list that is out of
date says nothing any more: then all certificates of that authority are turned away until there is a newer one.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import ssl
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509

from vnedoc.errors import ConfigurationError
from vnedoc.messages import Sentence

if TYPE_CHECKING:
    import datetime
    from pathlib import Path

__all__ = ["RenewedTLS", "TLSFiles", "tls_context"]

logger = logging.getLogger("vnedoc.hub")

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class TLSFiles:
    """How a hub speaks TLS."""

    certificate: Path
    """PEM file with its certificate, and the ones above it."""
    key: Path
    """PEM file with its key."""
    passphrase: str | None = dataclasses.field(default=None, repr=False)
    """The passphrase of the key."""
    client_authorities: Path | None = None
    """PEM file with the authorities of clients; ``None``: no certificate is asked for."""
    client_required: bool = False
    """Whether a client without a certificate is turned away before it can say anything."""
    client_crls: Path | None = None
    """PEM file with the lists of revoked certificates of these authorities, one of each; ``None``: nobody looks."""


def tls_context(files: TLSFiles) -> ssl.SSLContext:
    """Return how TLS is spoken, by what the files say now.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    path = files.certificate
    try:
        # Without a function, OpenSSL would ask at the terminal.
        context.load_cert_chain(files.certificate, files.key, password=lambda: files.passphrase or "")
        if files.client_authorities is not None:
            path = files.client_authorities
            context.load_verify_locations(path)
            context.verify_mode = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
        if files.client_crls is not None:
            path = files.client_crls
            _read_crls(path)
            context.load_verify_locations(path)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as exc:
        # The words of OpenSSL name no secret, but no file either.
        if path == files.certificate and path.is_file() and not files.key.is_file():
            path = files.key
        reason = str(exc) or Sentence("reason.tls-no-pem")
        raise ConfigurationError("hub.bad-tls", path=path, reason=reason) from exc
    return context


class RenewedTLS(ssl.SSLContext):
    """A context whose new connections follow the files: each renewal is a context of its own behind it.

    So a session that was begun before cannot be resumed after it: who was revoked meanwhile comes in by no ticket.

    Args:
        files: The files.

    Raises:
        ConfigurationError: One of them cannot be used.
    """

    def __new__(cls, _files: TLSFiles) -> Self:
        """Make what asyncio takes for a context; what it asks of it is answered by the one behind."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._seen = _state(files)
        self._clients_seen = self._seen[2:]
        self._now = tls_context(files)
        self.certificate_ends_at: datetime.datetime | None = None
        """When the certificate in use ends."""
        self.crls_end_at: datetime.datetime | None = None
        """When the first of the lists in use is out of date; ``None`` if there are none."""
        self._note_ends()

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # what asyncio gives
        """Begin a connection."""
        return self._now.wrap_bio(*args, **kwargs)

    def look(self, *, anyway: bool = False) -> bool:
        """Look whether files were renewed, and use them if they are good.

        Args:
            anyway: Read them again even if they look as before.

        Returns:
            Whether other client certificates are taken now than before.
        """
        seen = _state(self._files)
        if seen == self._seen and not anyway:
            return False
        self._seen = seen
        try:
            self._now = tls_context(self._files)
        except ConfigurationError as error:
            reason = error.values.get("reason")
            logger.error("new TLS files cannot be used; the old ones stay", extra={"reason": reason})  # noqa: TRY400 - ours
            return False
        self._note_ends()
        logger.info(
            "TLS files were read again",
            extra={"certificate": str(self._files.certificate), "ends_at": self.certificate_ends_at},
        )
        is_other = seen[2:] != self._clients_seen
        self._clients_seen = seen[2:]
        return is_other

    def _note_ends(self) -> None:
        try:
            first = x509.load_pem_x509_certificates(self._files.certificate.read_bytes())[0]
            self.certificate_ends_at = first.not_valid_after_utc
            if self._files.client_crls is not None:
                ends = [crl.next_update_utc for crl in _read_crls(self._files.client_crls)]
                self.crls_end_at = min((end for end in ends if end is not None), default=None)
        except (OSError, ValueError):
            # OpenSSL takes what this library does not; then nobody knows.
            self.certificate_ends_at = self.crls_end_at = None


def _read_crls(path: Path) -> list[x509.CertificateRevocationList]:
    lists = [x509.load_pem_x509_crl(block) for block in _CRL.findall(path.read_bytes())]
    if not lists:
        # A file without any would turn all clients away.
        raise ValueError
    return lists


def _state(files: TLSFiles) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what tells whether files are still the same, those about clients from the third on."""
    paths = (files.certificate, files.key, files.client_authorities, files.client_crls)
    return tuple(None if path is None else _stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
