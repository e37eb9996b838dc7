"""The authorization server of a signing service: a page where the person agrees, codes, tokens.

It is as strict as RFC 6749, 7636 and 7009 allow: the redirect URI is registered (on loopback any port will do: RFC
8252, 7.3); a code is good once, for a minute, for the client, the redirect URI and the verifier it was asked with;
and a code that comes a second time takes back what it gave the first time.
"""

from __future__ import annotations

import base64
import hashlib
import html
import http
import re
import secrets
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vnedoc._internal.http import make_client
from vnedoc.testing._loopback import Answer
from vnedoc.testing.remote_signing._service import DIGESTS, RefusedRequest, decode_hash, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.testing._loopback import Request
    from vnedoc.testing.remote_signing._service import Decision
    from vnedoc.testing.remote_signing.csc import FakeCSCService

__all__ = ["AuthorizationServer", "FakeBrowser"]

CODE_LIFETIME_S = 60.0
REFRESH_LIFETIME_S = 24 * 3600.0
MAX_STEPS = 8


@dataclass
class _Grant:
    """What a person agreed to."""

    client: str
    redirect_uri: str
    challenge: str
    scope: str
    state: str | None
    credential_id: str = ""
    count: int = 0
    hashes: frozenset[str] = frozenset()
    good_until: float = 0.0
    used: bool = False
    tokens: list[str] = field(default_factory=list)


class AuthorizationServer:
    """What a :class:`FakeCSCService` does below ``/oauth2``.

    Args:
        service: The service; its options say who is known.
    """

    def __init__(self, service: FakeCSCService) -> None:
        self._service = service
        self._waiting: dict[str, _Grant] = {}
        self._codes: dict[str, _Grant] = {}
        self._refresh: dict[str, tuple[_Grant, float]] = {}
        self.revoked: list[str] = []
        """What kinds of tokens were taken back, in order."""

    def expire_codes(self) -> None:
        """Make every code old."""
        for grant in self._codes.values():
            grant.good_until = self._service.now()

    def expire_refresh_tokens(self) -> None:
        """Make every refresh token old."""
        self._refresh = {token: (grant, self._service.now()) for token, (grant, _) in self._refresh.items()}

    def visit(self, path: str) -> Answer:
        """Answer GET: the page where the person signs in and agrees."""
        place, _, query = path.partition("?")
        if place != "/oauth2/authorize":
            return _page("not found", http.HTTPStatus.NOT_FOUND)
        given = dict(urllib.parse.parse_qsl(query))
        options = self._service.options
        redirect_uri = given.get("redirect_uri", "")
        if given.get("client_id") != options.client or not self._is_registered(redirect_uri):
            # RFC 6749, 4.1.2.1: with a client or an address that is not known, nobody is sent anywhere.
            return _page("unknown client or redirect URI", http.HTTPStatus.BAD_REQUEST)
        grant = _Grant(
            client=given["client_id"],
            redirect_uri=redirect_uri,
            challenge=given.get("code_challenge", ""),
            scope=given.get("scope", "service"),
            state=given.get("state"),
        )
        problem = self._problem(given, grant)
        if problem is not None:
            return _redirect(grant, error=problem[0], error_description=problem[1])
        session = secrets.token_urlsafe(16)
        self._waiting[session] = grant
        form = (
            '<form method="post" action="/oauth2/authorize">'
            f'<input type="hidden" name="session" value="{html.escape(session)}">'
            '<input name="user"><input name="password" type="password">'
            '<button name="decision" value="confirm">Đồng ý</button>'
            '<button name="decision" value="decline">Từ chối</button></form>'
        )
        return _page(form, http.HTTPStatus.OK)

    def call(self, path: str, request: Request) -> Answer:
        """Answer POST."""
        form = dict(urllib.parse.parse_qsl(request.body.decode("ascii"), keep_blank_values=True))
        match path:
            case "/oauth2/authorize":
                return self._decide(form)
            case "/oauth2/token":
                return self._token(form)
            case "/oauth2/revoke":
                return self._revoke(form)
        raise RefusedRequest(404, {"error": "not_found"})

    def _is_registered(self, redirect_uri: str) -> bool:
        try:
            parts = urllib.parse.urlsplit(redirect_uri)
            port = parts.port
        except ValueError:
            return False
        plain = redirect_uri.replace(f":{port}", "", 1) if parts.hostname == "127.0.0.1" else redirect_uri
        return plain in self._service.options.redirect_uris

    def _problem(self, given: dict[str, str], grant: _Grant) -> tuple[str, str] | None:
        """Return why a request is refused; what it asks for goes into the grant."""
        options = self._service.options
        if given.get("response_type") != "code":
            return "unsupported_response_type", "The response type is not supported"
        if not re.fullmatch(r"[A-Za-z0-9_-]{43}", grant.challenge) or given.get("code_challenge_method") != (
            "S256"
        ):
            return "invalid_request", "Missing or invalid parameter code_challenge"
        if grant.scope not in {"service", "credential"}:
            return "invalid_scope", "The scope is not known"
        if grant.scope == "service":
            return None
        name = "hash" if options.api == "v1" else "hashes"
        hashes = [base64.b64encode(_from_base64url(item)) for item in given.get(name, "").split(",") if item]
        grant.hashes = frozenset(value.decode("ascii") for value in hashes)
        grant.credential_id = given.get("credentialID", "")
        if grant.credential_id not in options.credential_ids:
            return "invalid_request", "Invalid parameter credentialID"
        count = given.get("numSignatures", "")
        if not count.isdigit() or not 1 <= int(count) <= options.multisign:
            return "invalid_request", "Invalid parameter numSignatures"
        grant.count = int(count)
        if options.scal == "2" and len(hashes) != grant.count:
            return "invalid_request", f"Invalid parameter {name}"
        if any(not decode_hash(value) for value in grant.hashes):
            return "invalid_request", "Invalid Base64 hash string parameter"
        if options.api == "v2" and given.get("hashAlgorithmOID") not in DIGESTS:
            return "invalid_request", "Invalid parameter hashAlgorithmOID"
        return None

    def _decide(self, form: dict[str, str]) -> Answer:
        options = self._service.options
        grant = self._waiting.pop(form.get("session", ""), None)
        if grant is None:
            return _page("unknown session", http.HTTPStatus.BAD_REQUEST)
        if form.get("decision") != "confirm":
            return _redirect(grant, error="access_denied", error_description="The user denied the request")
        if (form.get("user"), form.get("password")) != (options.user, options.password):
            return _page("wrong password", http.HTTPStatus.FORBIDDEN)
        code = secrets.token_urlsafe(24)
        grant.good_until = self._service.now() + CODE_LIFETIME_S
        self._codes[code] = grant
        return _redirect(grant, code=code)

    def _token(self, form: dict[str, str]) -> Answer:
        grant_type = form.get("grant_type")
        if grant_type == "client_credentials":
            self._check_client(form, secret_needed=True)
            token = self._service.new_token()
            return json_answer({"access_token": token, "token_type": "Bearer", "expires_in": 3600})
        self._check_client(form, secret_needed=not self._service.options.public_client)
        if grant_type == "authorization_code":
            return self._exchange(form)
        if grant_type == "refresh_token":
            return self._renew(form)
        raise RefusedRequest(400, {"error": "unsupported_grant_type"})

    def _check_client(self, form: dict[str, str], *, secret_needed: bool) -> None:
        options = self._service.options
        known = form.get("client_id") == options.client
        if not known or (secret_needed and form.get("client_secret") != options.client_secret):
            # A careless service: it repeats what it was sent.
            words = f"wrong secret {form.get('client_secret')}"
            raise RefusedRequest(401, {"error": "invalid_client", "error_description": words})

    def _exchange(self, form: dict[str, str]) -> Answer:
        grant = self._codes.get(form.get("code", ""))
        if grant is None or grant.client != form.get("client_id"):
            raise _no_grant("Invalid parameter code")
        if grant.used:
            # RFC 6749, 4.1.2: what the code gave the first time is taken back.
            self._service.take_back(grant.tokens)
            raise _no_grant("Authorization code is invalid or expired")
        grant.used = True
        if grant.good_until <= self._service.now():
            raise _no_grant("Authorization code is invalid or expired")
        if form.get("redirect_uri") != grant.redirect_uri:
            raise _no_grant("redirect_uri parameter does not match")
        digest = hashlib.sha256(form.get("code_verifier", "").encode("ascii")).digest()
        if base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=") != grant.challenge:
            raise _no_grant("The code verifier does not match")
        if grant.scope == "credential":
            token, lifetime_s = self._service.issue_sad(grant.hashes, grant.count, grant.credential_id)
            kind = "SAD" if self._service.options.api == "v1" else "Bearer"
            return json_answer({"access_token": token, "token_type": kind, "expires_in": lifetime_s})
        return self._tokens(grant)

    def _renew(self, form: dict[str, str]) -> Answer:
        # A refresh token is good once; the next one comes with the answer (RFC 6749, 6).
        grant, good_until = self._refresh.pop(form.get("refresh_token", ""), (None, 0.0))
        if grant is None or good_until <= self._service.now():
            raise _no_grant("Invalid parameter refresh_token")
        return self._tokens(grant)

    def _tokens(self, grant: _Grant) -> Answer:
        token = self._service.new_token()
        grant.tokens.append(token)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        if self._service.options.refresh_tokens:
            refresh = secrets.token_urlsafe(24)
            self._refresh[refresh] = (grant, self._service.now() + REFRESH_LIFETIME_S)
            answer["refresh_token"] = refresh
        return json_answer(answer)

    def _revoke(self, form: dict[str, str]) -> Answer:
        self._check_client(form, secret_needed=not self._service.options.public_client)
        token = form.get("token", "")
        grant, _ = self._refresh.pop(token, (None, 0.0))
        self._service.take_back([token] if grant is None else grant.tokens)
        self.revoked.append("access_token" if grant is None else "refresh_token")
        # RFC 7009, 2.2: a token that is not known is no error.
        return json_answer(None, 204)


class FakeBrowser:
    """The browser of a person who signs in at a service and agrees; give it as ``browser``.

    Args:
        service: Whose pages are opened.
        decision: What the person does; ``None``: what the holder of the service does.
    """

    def __init__(self, service: FakeCSCService, *, decision: Decision | None = None) -> None:
        self._service = service
        self.decision = decision
        """What the person does; ``None``: what the holder of the service does."""
        self.password: str | None = None
        """What the person types; ``None`` is the right one."""
        self.tamper: Callable[[str], str] = lambda address: address
        """Changes the address that the service sends the browser back to."""
        self.addresses: list[str] = []
        """What was to be opened."""
        self.statuses: list[int] = []
        """How the last page of each visit was answered."""

    def __call__(self, address: str) -> bool:
        """Open an address, and do what the person does."""
        self.addresses.append(address)
        self._service.holder.asked += 1
        decision = self.decision or self._service.holder.decision
        if decision == "ignore":
            return True
        with make_client() as client:
            answer = client.get(address)
            session = re.search(r'name="session" value="([^"]+)"', answer.text)
            if session is not None:
                options = self._service.options
                form = {
                    "session": session[1],
                    "user": options.user,
                    "password": options.password if self.password is None else self.password,
                    "decision": decision,
                }
                answer = client.post(f"{self._service.base_url}/oauth2/authorize", data=form)
            for _ in range(MAX_STEPS):
                place = answer.headers.get("Location")
                if place is None:
                    break
                answer = client.get(self.tamper(place))
            self.statuses.append(answer.status_code)
        return True


def _redirect(grant: _Grant, **parameters: str) -> Answer:
    if grant.state is not None:
        parameters["state"] = grant.state
    location = f"{grant.redirect_uri}?{urllib.parse.urlencode(parameters)}"
    return Answer(http.HTTPStatus.FOUND, headers={"Location": location})


def _page(content: str, status: http.HTTPStatus) -> Answer:
    body = f"<!doctype html><title>Dịch vụ ký số TEST</title>{content}"
    return Answer(status, "text/html; charset=utf-8", body.encode())


def _from_base64url(value: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return b""


def _no_grant(words: str) -> RefusedRequest:
    return RefusedRequest(400, {"error": "invalid_grant", "error_description": words})
