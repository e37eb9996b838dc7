"""Agencies that a system registers and takes off by itself, over whichever wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc._internal.clock import vietnam
from vnedoc.errors import ConfigurationError, NotAllowedError, UsageError
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub.administration import checked_agency
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.stores.hub_administration import HubAdministration

if TYPE_CHECKING:
    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.stores.hub import HubAgency

__all__ = ["MAX_OWN_AGENCIES", "REGISTRATIONS_PER_S", "register", "unregister"]

MAX_OWN_AGENCIES = 10_000
"""A system that has so many agencies registers no new one by itself."""
REGISTRATIONS_PER_S = 1.0
"""How many calls of a system go on without end, after a load of all its agencies: each may be an audit entry."""
_ERROR_CODES = {
    "hub.not-yours": ErrorCode.UNKNOWN_SENDER,
    "hub.not-your-parent": ErrorCode.UNKNOWN_SENDER,
}


def register(hub: Hub, system_id: str, agency: HubAgency) -> None:
    """Let a system register an agency below one of its own, or change one that it has.

    What is so already changes nothing. An old code that the call does not name stays.

    Raises:
        RefusalError: It is not the caller's to register, or not what an agency should be; the caller has too many, or
            calls too often.
    """
    _count(hub, system_id)
    now = hub.clock()
    day = vietnam(now).date()
    try:
        claim = checked_agency(agency)
        HubAdministration(hub.store).run(
            By(f"system:{system_id}", now),
            lambda changes: changes.claim_agency(system_id, claim, day=day, most=MAX_OWN_AGENCIES),
        )
    except (NotAllowedError, UsageError) as exc:
        raise _refusal(exc) from exc


def unregister(hub: Hub, system_id: str, code: str) -> None:
    """Take an agency of the caller off the hub, by its code of either scheme.

    Raises:
        RefusalError: It is not the caller's; packages for it are still kept, or it is to take over from another; or
            the caller calls too often.
    """
    _count(hub, system_id)
    owner = hub.lookup.owner(code)
    registered = code if owner is None else owner[0]
    try:
        HubAdministration(hub.store).run(
            By(f"system:{system_id}", hub.clock()),
            lambda changes: changes.remove_agency(registered, system_id=system_id),
        )
    except ConfigurationError as exc:
        raise RefusalError(ErrorCode.UNKNOWN_SENDER, "hub.not-yours", code=code) from exc
    except NotAllowedError as exc:
        raise _refusal(exc) from exc


def _count(hub: Hub, system_id: str) -> None:
    wait_s = hub.registrations.take(system_id)
    if wait_s:
        hub.metrics.limited("rate")
        raise RefusalError(ErrorCode.BUSY, "hub.too-many-requests", status=429).again_after(wait_s)


def _refusal(error: NotAllowedError | UsageError) -> RefusalError:
    code = _ERROR_CODES.get(error.code, ErrorCode.BAD_PARAMETER)
    return RefusalError(code, error.code, status=200, **error.values)
