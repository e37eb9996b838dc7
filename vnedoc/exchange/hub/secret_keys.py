"""What the secret of a system may be, and what a hub keeps of it: a hash, which checks what the secret signs.

HMAC takes the hash of a key in place of one that is longer than a block of the hash function (RFC 2104, clause 2):
64 bytes for SHA-256. So a secret is longer than that, and SHA-256 alone is kept: it checks every signature and every
secret that is shown, and nobody gets the secret from it. It is sealed (:mod:`vnedoc.exchange.hub.sealing`), for
whoever has it can sign. Versions before took shorter ones, which HMAC takes as they are: those stay as they are,
sealed, until their systems get new ones.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from vnedoc.errors import UsageError

__all__ = [
    "MAX_SECRET_CHARS",
    "MIN_SECRET_CHARS",
    "NOBODYS_KEY",
    "checked_secret",
    "kept_key",
    "key_of",
    "made_secret",
    "to_keep",
]

_BLOCK_BYTES = 64
MIN_SECRET_CHARS = _BLOCK_BYTES + 1
"""The least that HMAC-SHA256 takes the hash of."""
MAX_SECRET_CHARS = 256
_MADE_BYTES = 36
_HASHED = "sha256:"
_IS_HASHED = re.compile(_HASHED + "[0-9a-f]{64}")
NOBODYS_KEY = b"-" * 32
"""Takes the place of a key where there is none: whether a system exists must not show in the time."""


def made_secret() -> str:
    """Return a new secret: 288 bits in hexadecimal, long enough to be kept as a hash."""
    return secrets.token_hex(_MADE_BYTES)


def checked_secret(secret: str) -> str:
    """Return a secret that somebody chose, if it will do.

    Raises:
        UsageError: It is shorter or longer than it may be, or has other characters than visible ASCII.
    """
    # It travels in headers and is typed into other programs: what cannot be seen is a mistake.
    if (
        not MIN_SECRET_CHARS <= len(secret) <= MAX_SECRET_CHARS
        or not secret.isprintable()
        or not secret.isascii()
    ):
        raise UsageError("hub.bad-secret", least=MIN_SECRET_CHARS, most=MAX_SECRET_CHARS)
    return secret


def key_of(secret: str) -> bytes:
    """Return the key of HMAC-SHA256 that a secret is."""
    # JSON can show half a character, which is a wrong secret like any other.
    key = secret.encode(errors="surrogatepass")
    return hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key


def to_keep(secret: str) -> str:
    """Return what is kept of a secret: its hash, but of a short one of a version before the secret itself."""
    return f"{_HASHED}{key_of(secret).hex()}" if len(secret.encode()) > _BLOCK_BYTES else secret


def kept_key(kept: str) -> bytes:
    """Return the key of HMAC-SHA256 from what was kept; not to be asked of what somebody shows."""
    return bytes.fromhex(kept.removeprefix(_HASHED)) if _IS_HASHED.fullmatch(kept) else key_of(kept)
