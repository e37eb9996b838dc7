"""Fetching what says whether a certificate was revoked: OCSP first, then CRLs; on request missing issuers, too.

Deciding happens elsewhere. What comes back is only bytes; whether they are signed, fresh and about this certificate
is decided with the trust of the verification (RFC 5280, 6.3; RFC 6960). The addresses stand in certificates, so in
what an attacker may have written: only http and https, no private or loopback address that was not named, a limit on
size, time and number.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from vnedoc._internal import files, http
from vnedoc.errors import InputError, RemoteError
from vnedoc.messages import Sentence
from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import httpx2

__all__ = [
    "Attempt",
    "RevocationData",
    "RevocationSource",
    "crl_addresses",
    "issuer_addresses",
    "load_crl",
    "ocsp_addresses",
    "parse_certificates",
    "parse_crl",
]

MAX_CRL_BYTES = 64 * 1024 * 1024
MAX_OCSP_BYTES = 256 * 1024
MAX_WAIT_S = 45.0
MAX_ISSUER_BYTES = 256 * 1024
MAX_ISSUERS = 10
MAX_ADDRESSES = 4
"""How many addresses of one kind are tried for one certificate."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One address that was asked."""

    url: str
    """The address."""
    problem: str | None = None
    """What went wrong, in English; a :class:`~vnedoc.messages.Sentence` where it is told in other languages, too;
    ``None`` if an answer came."""


@dataclasses.dataclass(frozen=True, slots=True)
class RevocationData:
    """What is known about one certificate, unchecked."""

    ocsp: tuple[bytes, ...] = ()
    """OCSP responses, DER."""
    crls: tuple[bytes, ...] = ()
    """Certificate revocation lists, DER."""
    attempts: tuple[Attempt, ...] = ()
    """What was asked."""
    certificates: tuple[bytes, ...] = ()
    """Certificates of the issuer, DER, where these were asked for."""


class RevocationSource:
    """Gets revocation data for certificates; keeps each answer for as long as it lives.

    Use it as a context manager, or call :meth:`close`.

    Args:
        crls: CRLs, DER, that are at hand.
        online: Whether servers may be asked; ``False`` uses only ``crls``.
        allowed_hosts: Names or addresses that may be asked although they are private or loopback.
        only_hosts: If any are named, no others are asked but these and ``allowed_hosts``.
        timeout_s: Time limit for one call.
        max_crl_bytes: The largest CRL that is accepted.
        max_wait_s: How long servers are waited for in all, for one document.
        fetch_issuers: Whether certificates that miss in a chain may be fetched, too; only if servers may be asked.
    """

    def __init__(
        self,
        *,
        crls: Iterable[bytes] = (),
        online: bool = True,
        allowed_hosts: Iterable[str] = (),
        only_hosts: Iterable[str] = (),
        timeout_s: float = 10.0,
        max_crl_bytes: int = MAX_CRL_BYTES,
        max_wait_s: float = MAX_WAIT_S,
        fetch_issuers: bool = False,
    ) -> None:
        self._crls = tuple(crls)
        self._online = online
        self._allowed_hosts = frozenset(host.casefold() for host in allowed_hosts)
        self._only_hosts = frozenset(host.casefold() for host in only_hosts)
        self._timeout_s = timeout_s
        self._max_crl_bytes = max_crl_bytes
        self._max_wait_s = max_wait_s
        self._left_s = max_wait_s
        self._fetch_issuers = fetch_issuers and online
        self._issuer_answers: dict[str, bytes | str] = {}
        self._client: httpx2.Client | None = None
        self._ocsp_answers: dict[tuple[str, bytes], bytes | str] = {}
        self._crl_answers: dict[str, bytes | str] = {}

    @property
    def crls(self) -> tuple[bytes, ...]:
        """The CRLs that were given."""
        return self._crls

    def ocsp_for(self, certificate: x509.Certificate, issuer: x509.Certificate) -> RevocationData:
        """Ask the OCSP responders that a certificate names."""
        if not self._online:
            return RevocationData()
        request = (
            # Many responders know certificates by SHA-1 only (RFC 6960, 4.3). It is a name here, not a signature.
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - see above
            .build()
            .public_bytes(serialization.Encoding.DER)
        )
        return self._first_answer(
            ocsp_addresses(certificate), lambda url: self._ask_ocsp(url, request), is_ocsp=True
        )

    def crls_for(self, certificate: x509.Certificate) -> RevocationData:
        """Fetch the CRLs that a certificate names; those given at the start come with them."""
        if not self._online:
            return RevocationData(crls=self._crls)
        fetched = self._first_answer(crl_addresses(certificate), self._fetch_crl, is_ocsp=False)
        return dataclasses.replace(fetched, crls=(*self._crls, *fetched.crls))

    def issuers_of(self, certificate: x509.Certificate) -> RevocationData:
        """Fetch the issuers that a certificate points to (RFC 5280, 4.2.2.1), if that was asked for."""
        if not self._fetch_issuers:
            return RevocationData()
        attempts: list[Attempt] = []
        for url in issuer_addresses(certificate):
            if url not in self._issuer_answers:
                self._issuer_answers[url] = self._call(url, None, max_bytes=MAX_ISSUER_BYTES)
            answer = self._issuer_answers[url]
            found = parse_certificates(answer) if isinstance(answer, bytes) else ()
            if found:
                attempts.append(Attempt(url))
                return RevocationData(attempts=tuple(attempts), certificates=found)
            attempts.append(
                Attempt(url, answer if isinstance(answer, str) else Sentence("revocation.not-a-certificate"))
            )
        return RevocationData(attempts=tuple(attempts))

    def begin_document(self) -> None:
        """Say that what is asked from now on is about another document."""
        self._left_s = self._max_wait_s

    def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> RevocationSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first_answer(self, urls: Iterable[str], ask: _Ask, *, is_ocsp: bool) -> RevocationData:
        attempts: list[Attempt] = []
        for url in urls:
            answer = ask(url)
            if isinstance(answer, str):
                attempts.append(Attempt(url, answer))
                continue
            attempts.append(Attempt(url))
            return RevocationData(
                ocsp=(answer,) if is_ocsp else (),
                crls=() if is_ocsp else (answer,),
                attempts=tuple(attempts),
            )
        return RevocationData(attempts=tuple(attempts))

    def _ask_ocsp(self, url: str, request: bytes) -> bytes | str:
        key = (url, request)
        if key not in self._ocsp_answers:
            self._ocsp_answers[key] = self._call(url, request, max_bytes=MAX_OCSP_BYTES)
        return self._ocsp_answers[key]

    def _fetch_crl(self, url: str) -> bytes | str:
        if url not in self._crl_answers:
            answer = self._call(url, None, max_bytes=self._max_crl_bytes)
            if isinstance(answer, bytes):
                try:
                    answer = parse_crl(answer)
                except ValueError:
                    answer = Sentence("revocation.not-a-list")
            self._crl_answers[url] = answer
        return self._crl_answers[url]

    def _call(self, url: str, request: bytes | None, *, max_bytes: int) -> bytes | str:
        """Return the answer, or what went wrong."""
        if self._left_s <= 0:
            return Sentence("revocation.no-time-left")
        began = time.monotonic()
        try:
            return self._called(url, request, max_bytes=max_bytes)
        finally:
            self._left_s -= time.monotonic() - began

    def _called(self, url: str, request: bytes | None, *, max_bytes: int) -> bytes | str:
        try:
            place = _place(url, self._allowed_hosts, self._only_hosts)
        except _RefusedAddressError as exc:
            return exc.reason
        if self._client is None:
            self._client = http.make_client(timeout_s=self._timeout_s)
        headers = {"Host": place.host_header}
        if request is not None:
            headers |= {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
        try:
            with http.open_answer(
                self._client,
                "GET" if request is None else "POST",
                place.url,
                headers=headers,
                content=request,
                total_timeout_s=min(3 * self._timeout_s, self._left_s),
            ) as answer:
                if answer.status != 200:
                    return Sentence("revocation.http-status", status=answer.status)
                return answer.read(max_bytes=max_bytes)
        except RemoteError as exc:
            return Sentence(exc.code, **exc.values)


class _Ask(Protocol):
    def __call__(self, url: str, /) -> bytes | str: ...


def load_crl(path: Path) -> bytes:
    """Read a CRL from a file, DER or PEM, and return it as DER.

    Raises:
        InputError: The file cannot be read or holds no CRL.
    """
    content = files.read_bytes(path, max_bytes=MAX_CRL_BYTES)
    try:
        return parse_crl(content)
    except ValueError as exc:
        raise InputError("verify.not-a-crl", path=path) from exc


def parse_crl(content: bytes) -> bytes:
    """Return the DER of a CRL in DER or PEM.

    Raises:
        ValueError: It is neither.
    """
    crl = (
        x509.load_pem_x509_crl(content)
        if content.lstrip().startswith(b"-----BEGIN")
        else x509.load_der_x509_crl(content)
    )
    return crl.public_bytes(serialization.Encoding.DER)


def parse_certificates(content: bytes) -> tuple[bytes, ...]:
    """Return the certificates, DER, in a file of one or of several (RFC 5280, 4.2.2.1); none if it is neither."""
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            found = x509.load_pem_x509_certificates(content)
        else:
            try:
                found = [x509.load_der_x509_certificate(content)]
            except ValueError:
                found = pkcs7.load_der_pkcs7_certificates(content)
        return tuple(item.public_bytes(serialization.Encoding.DER) for item in found[:MAX_ISSUERS])
    except MALFORMED_CERTIFICATE_ERRORS:
        return ()


def ocsp_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the OCSP responders that a certificate names (RFC 5280, 4.2.2.1)."""
    return _access_addresses(certificate, AuthorityInformationAccessOID.OCSP)


def issuer_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return where a certificate says that its issuer's certificates are (RFC 5280, 4.2.2.1)."""
    return _access_addresses(certificate, AuthorityInformationAccessOID.CA_ISSUERS)


def _access_addresses(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
    except MALFORMED_CERTIFICATE_ERRORS:
        return ()
    assert isinstance(extension.value, x509.AuthorityInformationAccess)
    return tuple(
        _addresses(access.access_location for access in extension.value if access.access_method == method)
    )[:MAX_ADDRESSES]


def crl_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the CRLs that a certificate names (RFC 5280, 4.2.1.13)."""
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    except MALFORMED_CERTIFICATE_ERRORS:
        return ()
    assert isinstance(extension.value, x509.CRLDistributionPoints)
    names = (name for point in extension.value for name in point.full_name or ())
    return tuple(_addresses(names))[:MAX_ADDRESSES]


def _addresses(names: Iterable[x509.GeneralName]) -> Iterator[str]:
    for name in names:
        if isinstance(name, x509.UniformResourceIdentifier) and name.value.casefold().startswith(
            ("http://", "https://")
        ):
            yield name.value


class _RefusedAddressError(ValueError):
    """An address that is not asked."""

    def __init__(self, code: str) -> None:
        self.reason = Sentence(code)
        super().__init__(self.reason)


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    url: str
    host_header: str


def _place(url: str, allowed_hosts: frozenset[str], only_hosts: frozenset[str] = frozenset()) -> _Place:
    """Return where to connect: the address that was checked, not the name, which can mean another one next time.

    Raises:
        _RefusedAddressError: The address is malformed, unknown, or not to be asked.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise _RefusedAddressError("revocation.bad-address") from exc
    if not host or parts.username is not None:
        raise _RefusedAddressError("revocation.bad-address")
    if only_hosts and host.casefold() not in only_hosts | allowed_hosts:
        # Not even its name is looked up: that, too, would tell somebody that the document is being read.
        raise _RefusedAddressError("revocation.other-host")
    port = port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise _RefusedAddressError("revocation.unknown-host") from exc
    addresses = [str(entry[4][0]) for entry in found]
    if host.casefold() not in allowed_hosts and not all(_is_public(address) for address in addresses):
        # A certificate must not be able to make this machine call its own network (server-side request forgery).
        raise _RefusedAddressError("revocation.private-address")
    shown = f"[{host}]" if ":" in host else host
    host_header = f"{shown}:{parts.port}" if parts.port else shown
    if parts.scheme == "https":
        # Here the name in the server's certificate holds the connection to the host that was checked.
        return _Place(url, host_header)
    literal = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    query = f"?{parts.query}" if parts.query else ""
    return _Place(f"http://{literal}:{port}{parts.path or '/'}{query}", host_header)


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    return parsed.is_global and not parsed.is_multicast
