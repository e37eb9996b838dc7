"""Trust anchors: always given, never the system's.

A CMS object of a government signature holds only the signer's certificate, so the certificates between it and the
anchor must be given, too (RFC 5280, 6.1; Circular 15/2025/TT-BKHCN, articles 5.5 and 6.3).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import clock, files
from vnedoc.errors import ConfigurationError, InputError, UsageError
from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS, display_name, fingerprint

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

__all__ = [
    "SHIPPED",
    "CheckedCertificate",
    "TrustAnchor",
    "TrustStore",
    "TrustTree",
    "check_trust",
    "fingerprint",
    "is_issued_by",
    "is_self_signed",
    "load_certificates",
    "load_trust",
    "parse_fingerprint",
    "same_name",
    "trust_files",
]

MAX_TRUST_FILE_BYTES = 8 * 1024 * 1024
_NOT_ISSUED_ERRORS: tuple[type[Exception], ...] = (InvalidSignature, *MALFORMED_CERTIFICATE_ERRORS)
_SUFFIXES = {".pem", ".crt", ".cer", ".der"}


class TrustTree(enum.StrEnum):
    """Which hierarchy an anchor heads."""

    VN_GOVERNMENT = "vn-government"
    """The government's own (Decree 68/2024/NĐ-CP)."""
    VN_NATIONAL = "vn-national"
    """The national root for licensed public authorities (Decree 23/2025/NĐ-CP)."""
    CUSTOM = "custom"
    """Given by the caller."""


SHIPPED = {
    "shipped:vn-government": TrustTree.VN_GOVERNMENT,
    "shipped:vn-national": TrustTree.VN_NATIONAL,
}
"""The sources that come with vnedoc. Compare their fingerprints first; see ``trust_anchors/ORIGIN.md``."""


@dataclasses.dataclass(frozen=True, slots=True)
class TrustAnchor:
    """A certificate that is trusted because the caller says so."""

    certificate: x509.Certificate
    """The self-signed certificate."""
    tree: TrustTree
    """The hierarchy it heads."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrustStore:
    """What a verification trusts, and what helps to get there. Compared by identity."""

    anchors: tuple[TrustAnchor, ...]
    """The certificates that are trusted."""
    intermediates: tuple[x509.Certificate, ...] = ()
    """Certificates that may stand between a signer and an anchor; not trusted by themselves."""

    @classmethod
    def from_certificates(
        cls, certificates: Iterable[x509.Certificate], *, tree: TrustTree = TrustTree.CUSTOM
    ) -> TrustStore:
        """Return a store in which the self-signed certificates are anchors and the others intermediates."""
        return _store((certificate, tree) for certificate in certificates)

    def __reduce__(self) -> tuple[object, ...]:
        # Certificates do not pickle; their encoding does. A batch hands its options to other processes.
        anchors = tuple((_encoded(anchor.certificate), anchor.tree) for anchor in self.anchors)
        return (_restored, (anchors, tuple(map(_encoded, self.intermediates))))


def _encoded(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _restored(anchors: tuple[tuple[bytes, TrustTree], ...], intermediates: tuple[bytes, ...]) -> TrustStore:
    load = x509.load_der_x509_certificate
    return TrustStore(
        tuple(TrustAnchor(load(encoded), tree) for encoded, tree in anchors),
        tuple(load(encoded) for encoded in intermediates),
    )


def load_trust(*sources: str) -> TrustStore:
    """Read trust anchors and intermediate certificates.

    There is no default, and the roots of the operating system are never used: they are for web servers.

    Args:
        sources: PEM or DER files, folders of such files, or ``shipped:vn-government``, ``shipped:vn-national``.

    Raises:
        ConfigurationError: A source is missing or holds no certificate, or no source holds a self-signed one.
    """
    if not sources:
        raise ConfigurationError("trust.none-given")
    found = [pair for source in sources for pair in _read_source(source)]
    store = _store(found)
    if not store.anchors:
        raise ConfigurationError("trust.no-anchor", sources=", ".join(sources))
    return store


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedCertificate:
    """One certificate of a store, looked at."""

    name: str
    """Its common name."""
    fingerprint: str
    """SHA-256 of the DER certificate, lower-case hexadecimal."""
    is_anchor: bool
    """Whether it is trusted by itself."""
    tree: TrustTree | None
    """The hierarchy that it heads; ``None`` for an intermediate certificate."""
    anchor: str | None
    """Fingerprint of the anchor that it leads to; ``None`` if it leads to none."""
    not_before: datetime.datetime
    """Start of its validity."""
    not_after: datetime.datetime
    """End of its validity."""
    state: str
    """``good``, ``expired`` or ``not-yet-valid`` at the time of the check."""
    is_weak: bool
    """Whether it is signed with SHA-1 or worse; an anchor's own signature proves nothing and does not count."""

    @property
    def is_sound(self) -> bool:
        """Whether it is in its validity and leads to an anchor."""
        return self.state == "good" and self.anchor is not None


def check_trust(store: TrustStore, *, at: datetime.datetime | None = None) -> tuple[CheckedCertificate, ...]:
    """Look at every certificate of a store: validity, chain, algorithm."""
    moment = clock.utc_now() if at is None else clock.as_utc(at)
    anchors = [_check(anchor.certificate, store, moment, anchor.tree) for anchor in store.anchors]
    others = [_check(certificate, store, moment, None) for certificate in store.intermediates]
    return (*anchors, *others)


def _check(
    certificate: x509.Certificate, store: TrustStore, moment: datetime.datetime, tree: TrustTree | None
) -> CheckedCertificate:
    state = "good"
    if moment > certificate.not_valid_after_utc:
        state = "expired"
    elif moment < certificate.not_valid_before_utc:
        state = "not-yet-valid"
    digest = certificate.signature_hash_algorithm
    return CheckedCertificate(
        name=display_name(certificate.subject),
        fingerprint=fingerprint(certificate),
        is_anchor=tree is not None,
        tree=tree,
        anchor=_anchor_above(certificate, store),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        state=state,
        is_weak=tree is None and isinstance(digest, hashes.SHA1 | hashes.MD5),
    )


def _anchor_above(certificate: x509.Certificate, store: TrustStore) -> str | None:
    anchors = {fingerprint(anchor.certificate) for anchor in store.anchors}
    above = [*(anchor.certificate for anchor in store.anchors), *store.intermediates]
    current = certificate
    # No chain is longer than the store is large; a ring of cross-certificates ends here.
    for _ in range(len(above) + 1):
        if fingerprint(current) in anchors:
            return fingerprint(current)
        issuer = next((candidate for candidate in above if is_issued_by(current, candidate)), None)
        if issuer is None:
            return None
        current = issuer
    return None


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a certificate names another as its issuer and is signed with its key."""
    try:
        if not same_name(certificate.issuer, issuer.subject):
            return False
        key = issuer.public_key()
        if isinstance(key, rsa.RSAPublicKey) and isinstance(
            certificate.signature_hash_algorithm, hashes.SHA1
        ):
            # The first government generation; cryptography no longer verifies it as a certificate. Whether it may
            # be relied on is for the policy to say, not for this question.
            key.verify(
                certificate.signature,
                certificate.tbs_certificate_bytes,
                padding.PKCS1v15(),
                hashes.SHA1(),  # noqa: S303 - see above
            )
        elif certificate.issuer.public_bytes() == issuer.subject.public_bytes():
            certificate.verify_directly_issued_by(issuer)
        else:
            # That would refuse names that are the same only by the rules of RFC 5280.
            _verify_signature(certificate, key)
    except _NOT_ISSUED_ERRORS:
        return False
    return True


def same_name(first: x509.Name, second: x509.Name) -> bool:
    """Tell whether two names are the same: white space, case and string type do not count (RFC 5280, 7.1)."""
    if first == second:
        return True
    return len(first.rdns) == len(second.rdns) and _prepared(first) == _prepared(second)


@functools.lru_cache(maxsize=1024)
def _prepared(name: x509.Name) -> str:
    from asn1crypto import x509 as asn1_x509

    # The preparation of strings is that of RFC 4518; a name that cannot be prepared raises ValueError.
    return str(asn1_x509.Name.load(name.public_bytes()).hashable)


def _verify_signature(certificate: x509.Certificate, key: object) -> None:
    digest = certificate.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and digest is not None:
        scheme = certificate.signature_algorithm_parameters
        if not isinstance(scheme, padding.PKCS1v15 | padding.PSS):
            raise ValueError("a signature of another kind than the key")
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(digest))
    else:
        raise ValueError("a key of a kind that signs no certificates here")


def parse_fingerprint(value: str) -> str:
    """Read a SHA-256 fingerprint as people write it, with or without colons and spaces.

    Raises:
        UsageError: It is none.
    """
    plain = re.sub(r"[:\s]", "", value).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise UsageError("trust.bad-fingerprint", value=value)
    return plain


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is signed with its own key."""
    return is_issued_by(certificate, certificate)


def _store(found: Iterable[tuple[x509.Certificate, TrustTree]]) -> TrustStore:
    anchors: dict[str, TrustAnchor] = {}
    intermediates: dict[str, x509.Certificate] = {}
    for certificate, tree in found:
        if is_self_signed(certificate):
            name = fingerprint(certificate)
            # Given twice, by file and shipped, it is one anchor, of the tree that is known.
            if name not in anchors or anchors[name].tree is TrustTree.CUSTOM:
                anchors[name] = TrustAnchor(certificate, tree)
        else:
            intermediates.setdefault(fingerprint(certificate), certificate)
    return TrustStore(tuple(anchors.values()), tuple(intermediates.values()))


def _read_source(source: str) -> Iterator[tuple[x509.Certificate, TrustTree]]:
    tree = SHIPPED.get(source)
    if tree is not None:
        folder = resources.files("vnedoc.sign") / "trust_anchors" / tree.value
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            for certificate in _parse(entry.read_bytes(), source):
                yield certificate, tree
        return
    if source.startswith("shipped:"):
        raise ConfigurationError("trust.unknown-shipped", source=source, known=", ".join(SHIPPED))
    path = Path(source)
    paths = [path]
    if path.is_dir():
        paths = list(trust_files(path))
    count = 0
    for file in paths:
        for certificate in load_certificates(file, must_hold=not path.is_dir()):
            count += 1
            yield certificate, TrustTree.CUSTOM
    if count == 0:
        raise ConfigurationError("trust.no-certificate", source=source)


def trust_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that may hold certificates, by name.

    Raises:
        ConfigurationError: The folder cannot be read.
    """
    try:
        return tuple(sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in _SUFFIXES))
    except OSError as exc:
        raise ConfigurationError("trust.unreadable", source=folder, reason=exc.strerror) from exc


def load_certificates(path: Path, *, must_hold: bool = True) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM or DER file.

    Args:
        path: The file.
        must_hold: Refuse a PEM file with other things only.

    Raises:
        ConfigurationError: The file cannot be read or holds no certificate.
    """
    try:
        content = files.read_bytes(path, max_bytes=MAX_TRUST_FILE_BYTES)
    except InputError as exc:
        raise ConfigurationError("trust.unreadable", source=path, reason=exc) from exc
    # A folder may hold keys and other PEM objects beside the certificates.
    if not must_hold and b"-----BEGIN" in content and b"-----BEGIN CERTIFICATE-----" not in content:
        return ()
    return _parse(content, str(path))


def _parse(content: bytes, source: str) -> tuple[x509.Certificate, ...]:
    try:
        if b"-----BEGIN" in content:
            return tuple(x509.load_pem_x509_certificates(content))
        return (x509.load_der_x509_certificate(content),)
    except ValueError as exc:
        raise ConfigurationError("trust.no-certificate", source=source) from exc
