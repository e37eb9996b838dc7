"""How a hub behaves, whatever it speaks."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from vnedoc.exchange.connectors.base import DEFAULT_MAX_PACKAGE_BYTES
from vnedoc.messages import Language

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.exchange.hub.console.options import ConsoleOptions
    from vnedoc.exchange.stores.pruning import PruneLimits

__all__ = ["PUBLIC_WIRES", "HubOptions", "Limits", "Proofs"]

PUBLIC_WIRES = ("vxp", "lgsp", "lgsp-oauth2", "bkav-rest", "bkav-soap")
"""The wires that a hub speaks when nothing else is said. Each of them authenticates its callers itself."""

_MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a hub takes at once; every number is for one process."""

    requests_per_s: float = 200.0
    """Requests of one system each second, over time."""
    request_burst: int = 400
    """Requests of one system that may come at once."""
    uploads: int = 64
    """Packages that come in at the same time, from all systems together."""
    uploads_per_system: int = 16
    """Packages that come in at the same time, from one system."""
    bytes_in_flight: int = 8192 * _MIB
    """Bytes of packages that are coming in, from all systems together."""
    bytes_in_flight_per_system: int = 2048 * _MIB
    """Bytes of packages that are coming in, from one system. One package alone may have more."""
    upload_wait_s: float = 5.0
    """How long an upload waits for its turn before the system is told to come later."""
    strangers: int = 64
    """Callers whose requests must be read before anybody knows who they are: SOAP, up to the end of the envelope."""
    strangers_per_address: int = 16
    """Such callers from one address (of IPv6, one /64)."""
    envelope_timeout_s: float = 15.0
    """How long such a caller may take to say who it is."""
    min_bytes_per_s: float = 1024.0
    """How fast a body must come, measured from a while after its beginning."""
    min_rate_grace_s: float = 15.0
    """How long that while is."""
    header_timeout_s: float = 15.0
    """How long the head of a request may take."""
    send_timeout_s: float = 60.0
    """How long a caller may take to accept one piece of an answer."""
    connections: int = 1000
    """Connections that are open at the same time."""
    connections_per_address: int = 250
    """Connections from one address (of IPv6, one /64); trusted proxies have no such limit."""
    refused_per_minute: int = 30
    """Requests of one address that are not let in, before further ones are answered late."""
    slow_down_s: float = 0.5
    """How late they, and requests over the rate of a system, are answered."""
    min_free_bytes: int = 256 * _MIB
    """Room on the disk of the packages below which nothing is taken."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What a hub asks of the PDFs in a package before it takes it."""

    trust: tuple[str, ...]
    """The trust anchors, as ``--trust`` has them."""
    directory: Path
    """The agency directory, which ties senders to certificates."""
    required_match: str = "named"
    """The weakest match of certificate and sender: ``pinned``, ``coded``, ``named`` or ``domain``."""
    person_on_main: bool = True
    """Whether the main document needs a person's signature beside the agency's."""
    refuse_other_formats: bool = False
    """Whether attachments that cannot be verified are a reason to refuse."""
    online: bool = True
    """Whether revocation is asked for at the services that certificates name; else only what the files bring."""
    allowed_hosts: tuple[str, ...] = ()
    """Such services that may be asked although they are on a private or loopback address."""
    workers: int = 2
    """Processes that verify."""
    limit_s: float = 60.0
    """How long one package may take."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How a hub behaves."""

    wires: tuple[str, ...] = PUBLIC_WIRES
    """The wires it speaks. ``xroad`` is not among the usual ones: it trusts the header of a security server, so
    nobody but that server may reach the port."""
    max_package_bytes: int = DEFAULT_MAX_PACKAGE_BYTES
    """The largest package it takes."""
    clock_window: datetime.timedelta = datetime.timedelta(minutes=15)
    """How far the clock of a caller may be off."""
    upload_timeout_s: float = 1800.0
    """How long a caller may take to send a package."""
    admin: bool = False
    """Whether the administration API (:mod:`vnedoc.exchange.hub.admin`) is on the port of the wires, too."""
    console: ConsoleOptions | None = None
    """How the console for people (:mod:`vnedoc.exchange.hub.console.routes`) behaves; ``None``: there is none."""
    watched_certificates: tuple[Path, ...] = ()
    """Files with further certificates whose ends matter, such as that of a balancer that ends TLS."""
    language: Language = Language.VI
    """The language of its refusals."""
    strict: bool = False
    """Whether it takes only what validates at the level ``strict``; else ``axis`` is enough."""
    proofs: Proofs | None = None
    """What it asks of the PDFs in a package; ``None``: they are the recipient's business."""
    limits: Limits = Limits()
    """How much it takes at once."""
    proxies: tuple[str, ...] = ()
    """Networks of proxies, as CIDR, that are believed when they say who calls (``X-Forwarded-For``)."""
    certificate_header: str | None = None
    """The header in which such a proxy says which client certificate it checked: its SHA-256, or its PEM."""
    expire_after: datetime.timedelta | None = datetime.timedelta(days=30)
    """How long a package waits for its recipient; ``None``: for ever."""
    retention: PruneLimits | None = None
    """How long packages, and what is known of them, are kept after all is done; ``None``: for ever."""
    park_after_fails: int = 1
    """How often a recipient's system may fail on a package before only an operator can let it try again."""
