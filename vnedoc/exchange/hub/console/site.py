"""What the pages of the console share: the hub behind them, their templates, and how a page is put together."""

from __future__ import annotations

import functools
import threading
import urllib.parse
from importlib import resources
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import jinja2
from starlette.responses import HTMLResponse

from vnedoc._internal.clock import vietnam
from vnedoc._internal.version import VERSION
from vnedoc.exchange.hub.accounts import Role
from vnedoc.exchange.hub.console.certificates import Watch
from vnedoc.exchange.hub.console.door import PREFIX
from vnedoc.exchange.stores.hub_administration import HubAdministration
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_reports import HubReports
from vnedoc.exchange.stores.hub_traffic import HubTraffic

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping

    from starlette.responses import Response

    from vnedoc.exchange.hub.accounts import Accounts
    from vnedoc.exchange.hub.console.door import PageError, Visit
    from vnedoc.exchange.hub.console.options import ConsoleOptions
    from vnedoc.exchange.hub.core import Hub

__all__ = ["Remembered", "Site", "address"]

_Value = TypeVar("_Value")
# The menu: the name of a page, its path, and who sees it.
_MENU = (
    ("overview", "/", Role.VIEWER),
    ("messages", "/messages", Role.VIEWER),
    ("to-do", "/to-do", Role.VIEWER),
    ("systems", "/systems", Role.VIEWER),
    ("agencies", "/agencies", Role.VIEWER),
    ("certificates", "/certificates", Role.VIEWER),
    ("audit", "/audit", Role.ADMIN),
)


class Remembered(Generic[_Value]):
    """A value that is worked out again when some time has passed.

    Args:
        lasts: How long it is good for.
    """

    def __init__(self, lasts: datetime.timedelta) -> None:
        self._lasts = lasts
        self._lock = threading.Lock()
        self._kept: tuple[object, datetime.datetime, _Value] | None = None

    def get(self, key: object, now: datetime.datetime, work_out: Callable[[], _Value]) -> _Value:
        """Return the value for a key; only the one for the last key is remembered."""
        with self._lock:
            kept = self._kept
            if kept is not None and kept[0] == key and abs(now - kept[1]) < self._lasts:
                return kept[2]
            # Under the lock: ten who look at the same time count once.
            value = work_out()
            self._kept = (key, now, value)
            return value


class Site:
    """The console of one hub.

    Args:
        hub: The hub.
        accounts: The people who may look.
        options: How the console behaves.
    """

    def __init__(self, hub: Hub, accounts: Accounts, options: ConsoleOptions) -> None:
        self.hub = hub
        self.accounts = accounts
        self.options = options
        self.reports = HubReports(hub.store)
        self.traffic = HubTraffic(hub.store)
        self.registry = HubAdministration(hub.store)
        self.audit = HubAudit(hub.store.database)
        self.deliveries = hub.store.deliveries
        self.watch = Watch(options)
        # As the hub begins, and not while the first visitor waits.
        for name in _templates().list_templates():
            _templates().get_template(name)
        self.watch.look(self.now())

    def now(self) -> datetime.datetime:
        """Return the time."""
        return self.hub.clock()

    def today(self) -> datetime.date:
        """Return the day in Vietnam."""
        return vietnam(self.now()).date()

    def late_before(self) -> datetime.datetime:
        """Return the time before which what waits is late."""
        return self.now() - self.options.late_after

    def page(
        self, visit: Visit, name: str, /, *, status: int = 200, here: str = "", **values: Any
    ) -> Response:
        """Return a page.

        Args:
            visit: Who looks.
            name: The name of its template.
            status: The HTTP status.
            here: The entry of the menu that it belongs to.
            values: What the template shows.
        """
        words = visit.words
        principal = visit.principal
        menu = [
            (entry, PREFIX + path, entry == here)
            for entry, path, role in _MENU
            if principal is not None and principal.may(role)
        ]
        text = (
            _templates()
            .get_template(name)
            .render(
                **values,
                w=words,
                t=words.text,
                lang=words.language.value,
                other=_other_language(visit),
                principal=principal,
                may_retry=principal is not None and principal.may(Role.OPERATOR),
                csrf="" if principal is None else principal.csrf,
                menu=[(words.text(f"console.menu-{entry}"), path, is_here) for entry, path, is_here in menu],
                prefix=PREFIX,
                version=VERSION,
            )
        )
        return HTMLResponse(text, status_code=status)

    def error(self, visit: Visit, error: PageError) -> Response:
        """Return the page for an error."""
        text = visit.words.text(error.message_id, **error.values)
        return self.page(visit, "error.html", status=error.status, sentence=text, number=error.status)


def address(path: str, /, **values: object) -> str:
    """Return an address with a query; what is empty is left out."""
    query = urllib.parse.urlencode({name: value for name, value in values.items() if value not in {"", None}})
    return f"{PREFIX}{path}?{query}" if query else PREFIX + path


def _other_language(visit: Visit) -> str:
    request = visit.request
    wanted = "en" if visit.words.language.value == "vi" else "vi"
    # A page that a form was sent to cannot be asked for.
    path = request.url.path if request.method == "GET" else f"{PREFIX}/"
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    return f"{path}?{urllib.parse.urlencode([*query, ('lang', wanted)])}"


@functools.cache
def _templates() -> jinja2.Environment:
    folder: Mapping[str, str] = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in (resources.files(__package__) / "templates").iterdir()
        if entry.name.endswith(".html")
    }
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(folder),
        autoescape=True,
        # A page with a hole is a mistake, not an empty field.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["address"] = address
    return environment
