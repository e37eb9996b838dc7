"""Log in and out of the console."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from vnedoc.exchange.hub._admin_gate import FailureLimit
from vnedoc.exchange.hub.accounts import FREE_FAILURES, LockedError
from vnedoc.exchange.hub.console.door import (
    LOGIN_PATH,
    PREFIX,
    PageError,
    drop_cookie,
    is_same,
    login_cookie,
    lost_its_cookie,
    safe_next,
    session_cookie,
    set_private_cookie,
)
from vnedoc.exchange.hub.visits import note_account, note_reason

if TYPE_CHECKING:
    from starlette.responses import Response

    from vnedoc.exchange.hub.accounts import NewSession
    from vnedoc.exchange.hub.console.door import Visit
    from vnedoc.exchange.hub.console.site import Site

__all__ = ["SignIn"]

# Accounts lock themselves; this is against one name after the other from one place.
MAX_FAILURES = 20
FAILURE_WINDOW_S = 60.0


class SignIn:
    """The pages to log in and out.

    Args:
        site: What pages share.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._failures = FailureLimit(most=MAX_FAILURES, window_s=FAILURE_WINDOW_S)

    def show(self, visit: Visit) -> Response:
        """Show the form."""
        target = safe_next(visit.asked("next", most=3000))
        if visit.principal is not None:
            return RedirectResponse(target, status_code=303)
        return self._form(visit, target=target)

    def log_in(self, visit: Visit) -> Response:
        """Let somebody in."""
        request = visit.request
        target = safe_next(visit.field("next"))
        if not is_same(visit.field("csrf"), request.cookies.get(login_cookie(request), "")):
            wrong = "console.needs-https" if lost_its_cookie(request) else "console.stale-login"
            return self._form(visit, target=target, wrong=wrong, status=403)
        name = visit.field("name").strip().lower()
        note_account(self._site.accounts.known_name(name))
        # The door of the hub has put the caller's address there, also behind a proxy.
        place = request.client.host if request.client else ""
        wait_s = self._failures.wait(place)
        if wait_s is not None:
            self._site.hub.metrics.login("late")
            response = self._form(visit, target=target, wrong="console.too-many-logins", status=429)
            response.headers["Retry-After"] = str(int(wait_s) + 1)
            return response
        made = self._checked(name, visit.field("password"), place)
        if made is None:
            self._failures.note(place)
            return self._form(visit, target=target, name=name[:64], wrong="console.wrong-login", status=403)
        # Whoever sat here before is out; a token that was there before the login is never the session's.
        before = request.cookies.get(session_cookie(request), "")
        if before:
            self._site.accounts.logout(before)
        response = RedirectResponse(target, status_code=303)
        set_private_cookie(request, response, session_cookie(request), made.token)
        drop_cookie(request, response, login_cookie(request))
        return response

    def _checked(self, name: str, password: str, place: str) -> NewSession | None:
        try:
            made = self._site.accounts.login(name, password, address=place or None)
        except LockedError:
            # Said in the same words as a wrong password: only names that exist are ever locked.
            self._site.hub.metrics.login("locked")
            return None
        self._site.hub.metrics.login("wrong" if made is None else "right")
        return made

    def log_out(self, visit: Visit) -> Response:
        """End a session."""
        request = visit.request
        if visit.principal is not None:
            if not is_same(visit.field("csrf"), visit.principal.csrf):
                raise PageError(403, "console.stale-form")
            self._site.accounts.logout(request.cookies[session_cookie(request)])
        response = RedirectResponse(LOGIN_PATH, status_code=303)
        drop_cookie(request, response, session_cookie(request))
        return response

    def _form(
        self, visit: Visit, *, target: str, name: str = "", wrong: str = "", status: int = 200
    ) -> Response:
        if wrong:
            note_reason(wrong)
        request = visit.request
        token = secrets.token_urlsafe(32)
        response = self._site.page(
            visit,
            "login.html",
            status=status,
            token=token,
            target="" if target == f"{PREFIX}/" else target,
            name=name,
            wrong=visit.words.text(wrong, free=FREE_FAILURES) if wrong else "",
        )
        set_private_cookie(request, response, login_cookie(request), token)
        return response
