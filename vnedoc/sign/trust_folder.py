"""A user's own folder of trusted authorities: adding, removing, listing (Circular 15/2025/TT-BKHCN, 5.5 and 6.3).

A certificate is added as a file of its own, whole or not at all, after somebody compared its fingerprint. What comes
with vnedoc is never touched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import files
from vnedoc.errors import ConfigurationError, InputError, NotAllowedError, UsageError
from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS, display_name, fingerprint
from vnedoc.sign.trust import (
    MAX_TRUST_FILE_BYTES,
    SHIPPED,
    is_self_signed,
    load_certificates,
    load_trust,
    trust_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["TrustFolder", "check_authority", "find_shipped", "same_fingerprints"]

MIN_PREFIX_DIGITS = 8
"""Fewer digits of a fingerprint name nothing."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


def check_authority(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is not an authority's (RFC 5280, 4.2.1.9 and 4.2.1.3).

    Raises:
        NotAllowedError: It may not issue certificates, or calls itself its own issuer and is not.
    """
    name = display_name(certificate.subject)
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        authority = constraints.ca
    except MALFORMED_CERTIFICATE_ERRORS:
        authority = False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        authority = authority and usage.key_cert_sign
    except x509.ExtensionNotFound:
        pass
    except MALFORMED_CERTIFICATE_ERRORS:
        authority = False
    if not authority:
        raise NotAllowedError("trust.not-an-authority", name=name, fingerprint=fingerprint(certificate))
    if certificate.subject == certificate.issuer and not is_self_signed(certificate):
        raise NotAllowedError("trust.bad-self-signature", name=name, fingerprint=fingerprint(certificate))


def find_shipped(wanted: str) -> str | None:
    """Return the shipped source that holds a certificate whose fingerprint begins so, or ``None``."""
    for source in SHIPPED:
        store = load_trust(source)
        held = (*(anchor.certificate for anchor in store.anchors), *store.intermediates)
        if any(fingerprint(certificate).startswith(wanted) for certificate in held):
            return source
    return None


class TrustFolder:
    """A folder of authorities that a user trusts.

    Args:
        path: The folder; it need not exist before something is added.

    Raises:
        UsageError: It is a source that comes with vnedoc, or a file.
    """

    def __init__(self, path: Path) -> None:
        if str(path).startswith("shipped:") or (path.exists() and not path.is_dir()):
            raise UsageError("trust.not-a-folder", path=path)
        self._path = path

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def find(self, wanted: str = "") -> list[tuple[x509.Certificate, Path]]:
        """Return the certificates whose fingerprint begins so, each with its file.

        Raises:
            ConfigurationError: A file cannot be read.
        """
        if not self._path.is_dir():
            return []
        return [
            (certificate, file)
            for file in trust_files(self._path)
            for certificate in load_certificates(file, must_hold=False)
            if fingerprint(certificate).startswith(wanted)
        ]

    def add(self, certificate: x509.Certificate) -> Path | None:
        """Add an authority; return its new file, or ``None`` if it is there already.

        Raises:
            NotAllowedError: It is no authority.
            InputError: The folder cannot be made or written to.
        """
        check_authority(certificate)
        name = fingerprint(certificate)
        if self.find(name):
            return None
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise InputError("file.cannot-write", path=self._path, reason=exc.strerror) from exc
        file = self._path / f"{name}.pem"
        files.write_bytes(file, certificate.public_bytes(Encoding.PEM))
        return file

    def choose(self, prefix: str) -> x509.Certificate:
        """Return the one certificate whose fingerprint begins so.

        Args:
            prefix: At least eight hexadecimal digits, with or without colons and spaces.

        Raises:
            UsageError: It is no beginning of a fingerprint, or several certificates begin so.
            NotAllowedError: It comes with vnedoc.
            ConfigurationError: There is none.
        """
        wanted = re.sub(r"[:\s]", "", prefix).lower()
        if not re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX_DIGITS},64}}", wanted):
            raise UsageError("trust.bad-prefix", value=prefix, digits=MIN_PREFIX_DIGITS)
        found = {fingerprint(certificate): certificate for certificate, _ in self.find(wanted)}
        if len(found) > 1:
            raise UsageError("trust.several", value=prefix, known=", ".join(sorted(found)))
        if found:
            return next(iter(found.values()))
        shipped = find_shipped(wanted)
        if shipped is not None:
            raise NotAllowedError("trust.shipped-stays", source=shipped, fingerprint=wanted)
        raise ConfigurationError("trust.not-found", fingerprint=wanted)

    def remove(self, certificate: x509.Certificate) -> tuple[Path, ...]:
        """Remove a certificate from every file that holds it, and return the files.

        A file that holds nothing else is deleted; of a file with other certificates the others stay.

        Raises:
            NotAllowedError: A file holds keys or other things beside certificates; nothing is changed.
            InputError: A file cannot be changed.
        """
        wanted = fingerprint(certificate)
        holding = list(dict.fromkeys(file for _, file in self.find(wanted)))
        kept = {file: self._others(file, wanted) for file in holding}
        for file, others in kept.items():
            if others:
                files.write_bytes(file, b"".join(other.public_bytes(Encoding.PEM) for other in others))
                continue
            try:
                file.unlink()
            except OSError as exc:
                raise InputError("file.cannot-write", path=file, reason=exc.strerror) from exc
        return tuple(holding)

    def _others(self, file: Path, wanted: str) -> list[x509.Certificate]:
        content = files.read_bytes(file, max_bytes=MAX_TRUST_FILE_BYTES)
        if set(_BLOCK.findall(content)) - {b"CERTIFICATE"}:
            raise NotAllowedError("trust.mixed-file", path=file)
        return [item for item in load_certificates(file) if fingerprint(item) != wanted]


def same_fingerprints(certificates: Iterable[x509.Certificate], given: Iterable[str]) -> tuple[str, ...]:
    """Return the fingerprints that only one of the two names: what was not compared, and what is not there."""
    return tuple(sorted({fingerprint(item) for item in certificates} ^ set(given)))
