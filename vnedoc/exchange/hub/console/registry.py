"""Systems, agencies, certificates and the audit log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.console.door import PageError
from vnedoc.exchange.hub.console.site import address

if TYPE_CHECKING:
    from starlette.responses import Response

    from vnedoc.exchange.hub.console.door import Visit
    from vnedoc.exchange.hub.console.site import Site

__all__ = ["Registry"]

PAGE = 50
_MAX_NUMBER_DIGITS = 18
_SOON = 20


class Registry:
    """The pages about who is there and who changed what.

    Args:
        site: What pages share.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def systems(self, visit: Visit) -> Response:
        """Show systems by their ids."""
        after = visit.asked("after")
        found = self._site.registry.systems(at=self._site.now(), after=after, limit=PAGE + 1)
        shown = found[:PAGE]
        return self._site.page(
            visit,
            "systems.html",
            here="systems",
            systems=shown,
            seen=self._site.reports.sightings([system.id for system in shown]),
            is_first=not after,
            first_page=address("/systems"),
            next_page=address("/systems", after=shown[-1].id) if len(found) > PAGE else None,
        )

    def system(self, visit: Visit) -> Response:
        """Show one system; never its secrets."""
        system_id = visit.request.path_params["system_id"]
        found = self._site.registry.system(system_id, at=self._site.now())
        if found is None:
            raise PageError(404, "console.no-system")
        certificates, _ = self._site.watch.look(self._site.now())
        return self._site.page(
            visit,
            "system.html",
            here="systems",
            system=found,
            seen=self._site.reports.sightings([found.id]).get(found.id),
            known={item.sha256: item for item in certificates},
            agencies=self._site.registry.agencies(system_id=found.id, limit=_SOON),
        )

    def agencies(self, visit: Visit) -> Response:
        """Show agencies by their codes."""
        text, system_id, after = visit.asked("text"), visit.asked("system"), visit.asked("after")
        found = self._site.registry.agencies(
            text=text or None, system_id=system_id or None, after=after, limit=PAGE + 1
        )
        shown = found[:PAGE]
        return self._site.page(
            visit,
            "agencies.html",
            here="agencies",
            text=text,
            system_id=system_id,
            agencies=shown,
            today=self._site.today(),
            is_first=not after,
            first_page=address("/agencies", text=text, system=system_id),
            next_page=address("/agencies", text=text, system=system_id, after=shown[-1].code)
            if len(found) > PAGE
            else None,
        )

    def agency(self, visit: Visit) -> Response:
        """Show one agency, by its code of either scheme."""
        code = visit.request.path_params["code"]
        owner = self._site.hub.lookup.owner(code)
        found = None if owner is None else self._site.registry.agency(owner[0])
        if found is None:
            raise PageError(404, "console.no-agency")
        relatives = [item for item in (found.parent_code, found.successor_code) if item is not None]
        return self._site.page(
            visit,
            "agency.html",
            here="agencies",
            agency=found,
            names=self._site.reports.names(relatives),
            today=self._site.today(),
            seen=self._site.reports.sightings([found.system_id]).get(found.system_id),
        )

    def certificates(self, visit: Visit) -> Response:
        """Show certificates, the first to end first."""
        now = self._site.now()
        found, unreadable = self._site.watch.look(now)
        warn_before = self._site.options.warn_before
        kind = visit.asked("show")
        ending = [item for item in found if item.is_ending(now, warn_before)]
        shown = found if kind == "all" else ending
        return self._site.page(
            visit,
            "certificates.html",
            here="certificates",
            certificates=shown[:500],
            count=len(shown),
            ending_count=len(ending),
            all_count=len(found),
            is_all=kind == "all",
            unreadable=unreadable,
            now=now,
            warn_days=warn_before.days,
        )

    def audit(self, visit: Visit) -> Response:
        """Show the audit log, the newest entry first."""
        before = visit.asked("before")
        if before and not (before.isascii() and before.isdecimal() and len(before) <= _MAX_NUMBER_DIGITS):
            raise PageError(400, "console.no-page")
        found = self._site.audit.latest(before=int(before) if before else None, limit=PAGE + 1)
        shown = found[:PAGE]
        return self._site.page(
            visit,
            "audit.html",
            here="audit",
            entries=[
                (entry, [(name, _shown(value)) for name, value in entry.detail.items()]) for entry in shown
            ],
            is_first=not before,
            first_page=address("/audit"),
            next_page=address("/audit", before=shown[-1].number) if len(found) > PAGE else None,
        )


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)
