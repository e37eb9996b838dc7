"""Who is at the other end of a connection: its address and its client certificate. No I/O.

Behind a proxy both are what the proxy says. It is believed only if the connection itself comes from a network of
trusted proxies: anyone can write a header. ``X-Forwarded-For`` is read from its end, for each proxy appends whom it
talks to; the first address that is no trusted proxy is the caller, and what stands before it is the caller's own
words. What cannot be read is nobody: a system with allowed networks is not let in from there.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["NOBODY", "Network", "Peer", "caller_of", "parse_networks", "place_of"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
"""A network."""
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAX_HOPS = 32
_IPV6_PREFIX = 64
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*\Z")
_MAX_CERTIFICATE_CHARS = 32_768


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """Who calls."""

    address: _Address | None = None
    """The address; ``None`` if it is not known."""
    certificate: str | None = None
    """SHA-256 of the client certificate in lower-case hexadecimal; ``None`` if none was shown."""
    is_by_proxy: bool = False
    """Whether a trusted proxy says so."""

    def is_within(self, networks: Iterable[str]) -> bool:
        """Tell whether the caller is in one of the networks; no networks are any."""
        wanted = parse_networks(networks)
        return not wanted or (self.address is not None and _is_in(self.address, wanted))

    def shows(self, certificates: Sequence[str]) -> bool:
        """Tell whether the caller shows one of the certificates; no certificates are any, and none."""
        given = (self.certificate or "").encode()
        # All are compared, whichever is the right one.
        same = [hmac.compare_digest(item.lower().encode(), given) for item in certificates]
        return not same or any(same)


NOBODY = Peer()
"""Somebody of whom nothing is known."""


def parse_networks(networks: Iterable[str]) -> tuple[Network, ...]:
    """Return networks by their CIDR.

    Raises:
        ValueError: One is none.
    """
    return tuple(ipaddress.ip_network(network, strict=False) for network in networks)


def caller_of(
    host: str | None,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    certificate: str | None,
    proxies: Sequence[Network],
    certificate_header: str | None,
) -> Peer:
    """Return who calls.

    Args:
        host: The address that the connection comes from.
        headers: The headers of the request, with names in lower case.
        certificate: SHA-256 of the certificate that was shown on this very connection.
        proxies: Networks of trusted proxies.
        certificate_header: The header in which they say which certificate was shown to them.
    """
    address = _address(host or "")
    if address is None or not _is_in(address, proxies):
        return Peer(address, certificate)
    # The certificate of this connection is the proxy's.
    shown = None if certificate_header is None else _certificate(_values(headers, certificate_header))
    hops = [hop.strip() for value in _values(headers, "x-forwarded-for") for hop in value.split(",")]
    if len(hops) > _MAX_HOPS:
        return Peer(None, shown, is_by_proxy=True)
    for hop in reversed(hops):
        address = _address(hop)
        if address is None or not _is_in(address, proxies):
            return Peer(address, shown, is_by_proxy=True)
    return Peer(address, shown, is_by_proxy=True)


def place_of(address: _Address | None) -> str:
    """Return what is counted as one place: an address, of IPv6 a network, for one caller has a whole one."""
    if address is None:
        return "?"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def _values(headers: Sequence[tuple[bytes, bytes]], name: str) -> list[str]:
    wanted = name.lower().encode("latin-1", "replace")
    return [value.decode("latin-1") for key, value in headers if key == wanted]


def _address(text: str) -> _Address | None:
    # Some proxies append a port.
    text = re.sub(r"^\[([0-9A-Fa-f:.]+)\](:\d+)?$", r"\1", text)
    text = re.sub(r"^(\d+\.\d+\.\d+\.\d+):\d+$", r"\1", text)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_in(address: _Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _certificate(values: Sequence[str]) -> str | None:
    # Two of them: one is the caller's own, and nobody knows which.
    if len(values) != 1 or len(values[0]) > _MAX_CERTIFICATE_CHARS:
        return None
    value = values[0].strip().strip(":")
    digest = value.replace(":", "")
    if _DIGEST.fullmatch(digest):
        return digest.lower()
    found = _PEM.match(unquote(value))
    if found is None:
        return None
    try:
        content = base64.b64decode("".join(found[1].split()), validate=True)
    except binascii.Error:
        return None
    return hashlib.sha256(content).hexdigest()
