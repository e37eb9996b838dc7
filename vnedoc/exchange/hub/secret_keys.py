"""What a hub keeps of the secret of a system: enough to check what it signs, and its hash where HMAC allows that.

HMAC takes the hash of a key in place of one that is longer than a block of the hash function (RFC 2104, clause 2):
64 bytes for SHA-256. Of such a secret, as a hub makes them, SHA-256 alone is kept: it checks every signature and
every secret that is shown, and nobody gets the secret from it. A shorter one, brought along from another axis, is
itself the key, so it is kept as it is. Both are sealed (:mod:`vnedoc.exchange.hub.sealing`).
"""

from __future__ import annotations

import hashlib
import re
import secrets

__all__ = ["NOBODYS_KEY", "kept_key", "key_of", "made_secret", "to_keep"]

_BLOCK_BYTES = 64
_MADE_BYTES = 36
_HASHED = "sha256:"
_IS_HASHED = re.compile(_HASHED + "[0-9a-f]{64}")
NOBODYS_KEY = b"-" * 32
"""Takes the place of a key where there is none: whether a system exists must not show in the time."""


def made_secret() -> str:
    """Return a new secret: 288 bits in hexadecimal, long enough to be kept as a hash."""
    return secrets.token_hex(_MADE_BYTES)


def key_of(secret: str) -> bytes:
    """Return the key of HMAC-SHA256 that a secret is."""
    # JSON can show half a character, which is a wrong secret like any other.
    key = secret.encode(errors="surrogatepass")
    return hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key


def to_keep(secret: str) -> str:
    """Return what is kept of a secret."""
    return f"{_HASHED}{key_of(secret).hex()}" if len(secret.encode()) > _BLOCK_BYTES else secret


def kept_key(kept: str) -> bytes:
    """Return the key of HMAC-SHA256 from what was kept; not to be asked of what somebody shows."""
    return bytes.fromhex(kept.removeprefix(_HASHED)) if _IS_HASHED.fullmatch(kept) else key_of(kept)
