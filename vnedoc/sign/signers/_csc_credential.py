"""What a service says of one of its credentials: its certificates, and what its holder must give.

Version 1.0.4.0 of the API describes PIN and one-time code by name (clause 11.4); version 2.0.0.2 lists
authentication objects (clause 11.5). Both become the same thing here.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TYPE_CHECKING, Self

from vnedoc.sign.signers._chains import order_chain
from vnedoc.sign.signers._remote_values import parse_certificate, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

__all__ = ["CSCCredential", "CSCFactor", "FactorKind"]

MAX_BATCH = 100
"""The largest batch that is sent at once, whatever a service allows: one says 2147483647."""
MAX_CERTIFICATES = 10
MAX_FACTORS = 8


class FactorKind(enum.Enum):
    """What the holder of a key gives."""

    PIN = "pin"
    """A PIN or a password: the same each time."""
    CODE = "code"
    """A one-time code that the holder has already, from an app or a device."""
    SENT_CODE = "sent-code"
    """A one-time code that the service sends when asked (``credentials/sendOTP``)."""
    ANSWER = "answer"
    """The answer to a challenge (``credentials/getChallenge``)."""
    APP = "app"
    """Nothing here: the holder confirms on the phone."""


@dataclasses.dataclass(frozen=True, slots=True)
class CSCFactor:
    """One thing that the holder gives."""

    name: str
    """Its name in the call."""
    kind: FactorKind
    """What it is."""
    required: bool = True
    """Whether the service can do without it."""


@dataclasses.dataclass(frozen=True, slots=True)
class CSCCredential:
    """A key at a service."""

    credential_id: str
    """Its id."""
    certificate: x509.Certificate
    """The signing certificate."""
    chain: tuple[x509.Certificate, ...]
    """The certificates above it, nearest first."""
    algorithms: frozenset[str]
    """The object identifiers of the signature algorithms it offers."""
    multisign: int
    """How many signatures one authorisation may cover."""
    factors: tuple[CSCFactor, ...]
    """What its holder gives."""
    alternatives: bool
    """Whether some of the factors are enough."""
    needs_browser: bool
    """Whether it is authorised by OAuth2 in a browser only."""
    trouble: str | None
    """Why it cannot sign: the status of its key or its certificate; ``None`` if it can."""

    @classmethod
    def parse(cls, credential_id: str, members: Mapping[str, object]) -> Self:
        """Read the answer of ``credentials/info``.

        Raises:
            ValueError: Something that must be there is not.
        """
        key, cert = _object(members, "key"), _object(members, "cert")
        certificates = cert.get("certificates")
        if not isinstance(certificates, list) or not 0 < len(certificates) <= MAX_CERTIFICATES:
            raise ValueError("no certificates")
        leaf, *others = (parse_certificate(item) for item in certificates)
        algorithms = key.get("algo")
        if not isinstance(algorithms, list):
            raise ValueError("no key/algo")  # noqa: TRY004 - what came is wrong, not how we call
        auth = members.get("auth")
        if isinstance(auth, dict):
            mode = text_of(auth, "mode")
            factors = _factors_2(auth) if mode == "explicit" else ()
            expression = text_of(auth, "expression") or ""
        else:
            mode = text_of(members, "authMode")
            factors = _factors_1(members) if mode == "explicit" else ()
            expression = ""
        alternatives = re.search(r"\b(?:X?OR)\b", expression) is not None
        if alternatives:
            factors = tuple(dataclasses.replace(factor, required=False) for factor in factors)
        return cls(
            credential_id=credential_id,
            certificate=leaf,
            chain=tuple(order_chain(leaf, others)),
            algorithms=frozenset(item for item in algorithms if isinstance(item, str)),
            multisign=_batch_size(members.get("multisign")),
            factors=factors,
            alternatives=alternatives,
            needs_browser=mode == "oauth2code",
            trouble=_trouble(text_of(key, "status"), text_of(cert, "status")),
        )


def _factors_1(members: Mapping[str, object]) -> tuple[CSCFactor, ...]:
    factors = []
    for name in ("PIN", "OTP"):
        description = members.get(name)
        if not isinstance(description, dict):
            continue
        # The presence is "true", "false" or "optional"; some services send a boolean.
        presence = str(description.get("presence", "false")).lower()
        if presence not in {"true", "optional"}:
            continue
        kind = FactorKind.PIN
        if name == "OTP":
            kind = FactorKind.SENT_CODE if description.get("type") == "online" else FactorKind.CODE
        factors.append(CSCFactor(name, kind, presence == "true"))
    return tuple(factors)


def _factors_2(auth: Mapping[str, object]) -> tuple[CSCFactor, ...]:
    objects = auth.get("objects")
    if not isinstance(objects, list) or len(objects) > MAX_FACTORS:
        raise ValueError("no auth/objects")
    factors = []
    for item in objects:
        name = text_of(item, "id") if isinstance(item, dict) else None
        if name is None:
            raise ValueError("an auth/object without id")
        match item.get("type"):
            case "Password":
                # A password that something generates is good once.
                kind = FactorKind.CODE if item.get("generator") else FactorKind.PIN
            case "ChallengeResponse":
                kind = FactorKind.ANSWER
            case _:
                kind = FactorKind.APP
        factors.append(CSCFactor(name, kind))
    return tuple(factors)


def _batch_size(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:10])
    return min(max(value, 1), MAX_BATCH) if isinstance(value, int) and not isinstance(value, bool) else 1


def _trouble(key_status: str | None, certificate_status: str | None) -> str | None:
    if key_status is not None and key_status != "enabled":
        return key_status
    if certificate_status is not None and certificate_status != "valid":
        return certificate_status
    return None


def _object(members: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = members.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"no {name}")  # noqa: TRY004 - what came is wrong, not how we call
    return value
