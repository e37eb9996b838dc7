"""Decide whether a VXP request comes from the system that it names, unchanged and now. No I/O."""

from __future__ import annotations

import dataclasses
import hmac
from typing import TYPE_CHECKING

from vnedoc.exchange import _vxp
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.secret_keys import NOBODYS_KEY
from vnedoc.exchange.stores.hub import Request

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Caller", "authenticate"]


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what was signed."""

    system_id: str
    """The id of the system."""
    parameters: Mapping[str, str]
    """The signed parameters, keys in lower case."""
    request: Request
    """The request; the same one twice is a replay."""

    def parameter(self, key: str) -> str:
        """Return a signed parameter.

        Raises:
            RefusalError: It was not sent, or not signed.
        """
        value = self.parameters.get(key.lower(), "")
        if not value:
            raise RefusalError(_vxp.ErrorCode.BAD_PARAMETER, "hub.missing-parameter", name=key)
        return value


def authenticate(
    headers: Mapping[str, str],
    *,
    keys_of: Callable[[str], Sequence[bytes]],
    now: datetime.datetime,
    window: datetime.timedelta,
) -> Caller:
    """Return who calls.

    Args:
        headers: The headers of the request; look-up must not depend on letter case.
        keys_of: Returns the keys of a system, two during a rotation; none if there is no such system.
        now: The time.
        window: How far the clock of the caller may be off.

    Raises:
        RefusalError: Not signed, not by that system, or not now.
    """
    try:
        signed = _vxp.read_signed(headers)
    except _vxp.HeaderError as exc:
        raise _not_let_in("hub.not-signed") from exc
    given = headers.get(_vxp.HASH_HEADER, "").strip().lower()
    system_id = signed.get("systemid", "")
    keys = keys_of(system_id) if system_id else ()
    # An unknown system costs the same work as a wrong secret, so that nobody can find out which ids exist.
    signatures = [_vxp.sign(headers[_vxp.SIGN_HEADER], key) for key in keys or (NOBODYS_KEY,)]
    # All are compared, whichever is the right one.
    same = [hmac.compare_digest(signature.encode(), given.encode()) for signature in signatures]
    if not keys or not any(same):
        raise _not_let_in("hub.wrong-signature")
    try:
        moment = _vxp.parse_timestamp(signed.get("timestamp", ""))
    except ValueError as exc:
        raise _not_let_in("hub.no-timestamp") from exc
    if abs(moment - now) > window:
        raise _not_let_in("hub.clock", minutes=int(window.total_seconds() // 60))
    return Caller(system_id, signed, Request(given, moment + window))


def _not_let_in(message_id: str, **values: object) -> RefusalError:
    return RefusalError(_vxp.ErrorCode.UNAUTHENTICATED, message_id, status=401, **values)
