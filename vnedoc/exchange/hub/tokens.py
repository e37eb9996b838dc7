"""Tokens that a hub gives for credentials: JSON Web Tokens (RFC 7519) with HMAC-SHA256, checked without a memory.

The key of a token is made of the secret of its system: who gets a new secret has no valid token any more. Any process
of a hub can check what another one gave.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.secret_keys import NOBODYS_KEY

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Sequence

__all__ = ["check_token", "make_token"]

_MAX_TOKEN_CHARS = 4096


def make_token(system_id: str, *, key: bytes, wire: str, expires_at: datetime.datetime) -> str:
    """Return a token for a system.

    Args:
        system_id: Whom it is for.
        key: The key that the secret of the system is.
        wire: Which wire it is good for.
        expires_at: Until when it is good.
    """
    header = _encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    claims = {"sub": system_id, "aud": wire, "exp": int(expires_at.timestamp())}
    text = f"{header}.{_encoded(json.dumps(claims).encode())}"
    return f"{text}.{_encoded(_mac(text, key, wire))}"


def check_token(
    token: str, *, keys_of: Callable[[str], Sequence[bytes]], wire: str, now: datetime.datetime
) -> str | None:
    """Return the system that a token is for, or ``None`` if it is not good.

    Args:
        token: What the caller sent.
        keys_of: Returns the keys of a system, two during a rotation; none if there is no such system.
        wire: Which wire it was sent to.
        now: The time.
    """
    text, _, signature = token.rpartition(".")
    if len(token) > _MAX_TOKEN_CHARS or text.count(".") != 1:
        return None
    try:
        claims = json.loads(_decoded(text.partition(".")[2]))
        given = _decoded(signature)
    except (ValueError, RecursionError):
        return None
    if not isinstance(claims, dict):
        return None
    system_id, expires_at = claims.get("sub"), claims.get("exp")
    if not isinstance(system_id, str) or not isinstance(expires_at, int):
        return None
    keys = keys_of(system_id)
    # The algorithm is ours, whatever the header of the token says (RFC 8725, 3.1). All keys are tried,
    # whichever is the right one.
    same = [hmac.compare_digest(_mac(text, item, wire), given) for item in keys or (NOBODYS_KEY,)]
    good = any(same) and bool(keys) and claims.get("aud") == wire and now.timestamp() < expires_at
    return system_id if good else None


def _mac(text: str, key: bytes, wire: str) -> bytes:
    # A key of its own: a token must not be a signature that the same secret makes for anything else.
    own = hmac.new(key, f"vnedoc hub token: {wire}".encode(), hashlib.sha256).digest()
    return hmac.new(own, text.encode(), hashlib.sha256).digest()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ValueError("not base64") from exc
