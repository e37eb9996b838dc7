"""Addresses of remote signing services, and how long to wait for them. An address never holds a secret."""

from __future__ import annotations

import dataclasses
import ipaddress
import time
import urllib.parse
from typing import TYPE_CHECKING, Self

from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["MAX_WAIT_S", "RemoteAddress", "RemoteOptions", "is_loopback"]

MAX_WAIT_S = 3600.0
"""The longest that anything here waits for one signature."""

_COMMON_OPTIONS = frozenset({"wait", "ca", "client-cert", "client-key"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How long to wait for a service, and for the person who confirms."""

    timeout_s: float = 30.0
    """Time limit for one call."""
    confirmation_timeout_s: float = 300.0
    """How long a person may take to confirm on the phone."""
    poll_interval_s: float = 2.0
    """Shortest pause between two questions whether the person confirmed; a server can ask for a longer one."""
    sleep: Callable[[float], None] = time.sleep
    """Pauses for some seconds."""
    clock: Callable[[], float] = time.monotonic
    """Tells the seconds since some fixed moment."""
    browser: Callable[[str], object] | None = None
    """Shows an address to the person, who signs in and agrees there; ``None`` opens it in the browser of this
    machine, or writes it to the standard error stream where there is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteAddress:
    """Where a service is and whom it signs for: ``KIND+https://HOST/PATH?name=value``. It holds no secret."""

    kind: str
    """The kind of service, such as ``csc``."""
    base_url: str
    """The address without its query, without a slash at the end."""
    options: Mapping[str, str]
    """What stood in the query."""

    @classmethod
    def parse(cls, kind: str, uri: str, *, known: frozenset[str]) -> Self:
        """Read an address.

        Args:
            kind: The kind of service.
            uri: ``KIND+https://HOST/PATH?name=value``; ``KIND+http`` for this machine.
            known: The names that the kind knows beside the common ones.

        Raises:
            UsageError: It is no such address, has unknown names, or would send secrets in the clear.
        """
        scheme, _, rest = uri.partition(":")
        transport = scheme.lower().removeprefix(f"{kind}+")
        if transport not in {"https", "http"}:
            raise UsageError("remote-signing.bad-address", address=_without_user(uri.partition("?")[0]))
        shown = f"{kind}+{transport}:{rest.partition('?')[0]}"
        try:
            parts = urllib.parse.urlsplit(f"{transport}:{rest}")
            host, port = parts.hostname, parts.port
            pairs = urllib.parse.parse_qsl(
                parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=64
            )
        except ValueError as exc:
            raise UsageError("remote-signing.bad-address", address=_without_user(shown)) from exc
        if not host or parts.fragment or "@" in parts.netloc or port == 0:
            raise UsageError("remote-signing.bad-address", address=_without_user(shown))
        if transport != "https" and not is_loopback(host):
            raise UsageError("remote-signing.not-encrypted", host=host)
        allowed = known | _COMMON_OPTIONS
        options = dict(pairs)
        for name in options:
            if name not in allowed:
                raise UsageError(
                    "remote-signing.unknown-option", name=name, kind=kind, known=", ".join(sorted(allowed))
                )
        for name, value in pairs:
            # They get into headers, XML and what people read.
            if not value.isprintable():
                raise UsageError("remote-signing.bad-option", name=name, value=ascii(value))
        if len(options) != len(pairs):
            raise UsageError("remote-signing.bad-address", address=shown)
        base_url = urllib.parse.urlunsplit((transport, parts.netloc, parts.path.rstrip("/"), "", ""))
        return cls(kind, base_url, options)

    @property
    def host(self) -> str:
        """The host, which people know the service by."""
        return urllib.parse.urlsplit(self.base_url).netloc

    def get(self, name: str) -> str | None:
        """Return an option, or ``None`` if it is not there or empty."""
        return self.options.get(name) or None

    def require(self, name: str) -> str:
        """Return an option that must be there.

        Raises:
            UsageError: It is not.
        """
        value = self.get(name)
        if value is None:
            raise UsageError("remote-signing.missing-option", kind=self.kind, name=name)
        return value

    def choose(self, name: str, choices: Sequence[str]) -> str:
        """Return an option that has one of some values; the first is the default.

        Raises:
            UsageError: It has another.
        """
        value = self.get(name) or choices[0]
        if value not in choices:
            raise UsageError("remote-signing.bad-option", name=name, value=value)
        return value

    def apply_to(self, options: RemoteOptions) -> RemoteOptions:
        """Return the options with the waiting time of the address.

        Raises:
            UsageError: ``wait`` is not a number of seconds between 1 and 3600.
        """
        wait = self.get("wait")
        if wait is None:
            return options
        if not (wait.isascii() and wait.isdigit() and 1 <= int(wait[:5]) <= MAX_WAIT_S and len(wait) < 5):
            raise UsageError("remote-signing.bad-option", name="wait", value=wait)
        return dataclasses.replace(options, confirmation_timeout_s=float(wait))


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_user(address: str) -> str:
    # Somebody may have written a password into the address after all.
    head, separator, tail = address.partition("//")
    return head + separator + tail.rpartition("@")[2]
