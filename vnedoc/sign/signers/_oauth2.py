"""OAuth 2.0 with a person: authorization codes with PKCE, refresh tokens, revocation (RFC 6749, 7636, 8252, 7009).

The person signs in and agrees in the browser, at the service; neither the password nor a one-time code ever comes by
here. What comes back is a code that only the holder of the verifier can turn into a token, once.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import logging
import secrets
import urllib.parse
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError, RefusedError, RemoteError, VnedocError
from vnedoc.sign.signers._browser import LoopbackReceiver, show_address
from vnedoc.sign.signers._remote import Reply
from vnedoc.sign.signers._remote_address import is_loopback
from vnedoc.sign.signers.base import SecretPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vnedoc.sign.signers._remote import JSONService

__all__ = ["AuthorizationCodeFlow", "OAuth2Endpoints", "check_endpoint"]

_LOG = logging.getLogger(__name__)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
REVOCATION_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class OAuth2Endpoints:
    """Where a service does OAuth 2.0."""

    token: str
    """Gives tokens."""
    authorize: str | None = None
    """Asks the person; ``None`` if that is not known."""
    revoke: str | None = None
    """Takes tokens back; ``None`` if that is not known."""


def check_endpoint(service: JSONService, url: str) -> str:
    """Return an address for secrets and browsers, which is as safe as the one of the service itself.

    Raises:
        RemoteError: It is none.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if (
            not (safe and parts.hostname and url.isascii() and url.isprintable() and " " not in url)
            or parts.fragment
        ):
            raise ValueError(url)
    except ValueError as exc:
        raise service.bad_answer("an OAuth2 address that is no https") from exc
    return url


class AuthorizationCodeFlow:
    """Lets a person sign in to a service, and agree to signatures, in the browser.

    Args:
        service: The service.
        endpoints: Where it does that; the authorization endpoint must be known.
        client: The id that the service gave to the application.
        confidential: Whether it gave a secret, too (RFC 6749, 2.1).
        port: The port that the browser comes back to; 0 takes a free one.
        fault: Turns a refusal of the service into an error.
    """

    def __init__(
        self,
        service: JSONService,
        endpoints: OAuth2Endpoints,
        *,
        client: str,
        confidential: bool,
        port: int,
        fault: Callable[[Reply], VnedocError],
    ) -> None:
        assert endpoints.authorize is not None
        self._service = service
        self._endpoints = endpoints
        self._authorize = endpoints.authorize
        self._client = client
        self._confidential = confidential
        self._port = port
        self._fault = fault
        self._access: str | None = None
        self._refresh: str | None = None

    def sign_in(self, scope: str) -> tuple[str, float]:
        """Return a token for the service, and how many seconds it lives; without the person where that will do.

        Raises:
            VnedocError: See :meth:`authorize`.
        """
        reply = self._refreshed()
        if reply is None:
            reply = self.authorize({"scope": scope})
        token, lifetime_s = self._service.token_in(reply)
        refresh = reply.text("refresh_token")
        if refresh is not None:
            self._service.secrets.hide(refresh)
            self._refresh = refresh
        self._access = token
        return token, lifetime_s

    def authorize(self, wanted: Mapping[str, str]) -> Reply:
        """Ask the person, and return the answer of the token endpoint.

        Args:
            wanted: What is asked for: the scope, and what belongs to it.

        Raises:
            RefusedError: The person or the service said no, or the code is not accepted.
            CredentialError: The service does not know the application.
            RemoteError: Nobody confirmed in time, or the service did not answer.
            ConfigurationError: The port is taken.
        """
        authentication = self._authentication()  # before the person is sent away
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest())
        options = self._service.options
        with LoopbackReceiver(state, port=self._port) as receiver:
            request = {
                "response_type": "code",
                "client_id": self._client,
                "redirect_uri": receiver.redirect_uri,
                **wanted,
                "state": state,
                "code_challenge": challenge.decode("ascii").rstrip("="),
                "code_challenge_method": "S256",
            }
            separator = "&" if urllib.parse.urlsplit(self._authorize).query else "?"
            address = f"{self._authorize}{separator}{urllib.parse.urlencode(request)}"
            (options.browser or show_address)(address)
            answer = receiver.wait(options.confirmation_timeout_s)
            strangers = receiver.strangers
        if answer is None:
            code = "remote-signing.wrong-state" if strangers else "remote-signing.not-confirmed"
            raise RemoteError(code, service=self._service.name)
        if "code" not in answer:
            raise self._fault(Reply(400, dict(answer), None))
        self._service.secrets.hide(answer["code"])
        self._service.secrets.hide(verifier)
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": request["redirect_uri"],
            "code_verifier": verifier,
            **authentication,
        }
        reply = self._post(self._endpoints.token, form)
        if reply.status == 200:
            return reply
        if reply.text("error") == "invalid_grant":
            refusal = self._service.refusal(reply)
            raise RefusedError("remote-signing.code-refused", **refusal.values())
        raise self._token_fault(reply)

    def revoke(self) -> None:
        """Take back the tokens: who closes the signer is signed out. That a service does not answer is no error."""
        token, kind = self._refresh, "refresh_token"
        if token is None:
            token, kind = self._access, "access_token"
        self._refresh = self._access = None
        if token is None or self._endpoints.revoke is None:
            return
        try:
            form = {"token": token, "token_type_hint": kind, **self._authentication()}
            self._post(self._endpoints.revoke, form, timeout_s=REVOCATION_TIMEOUT_S)
        except VnedocError as exc:
            _LOG.debug("%s: a token could not be revoked: %s", self._service.name, exc.code)

    def _refreshed(self) -> Reply | None:
        """Return the answer to the refresh token; ``None`` if there is none that is good."""
        token, self._refresh = self._refresh, None
        if token is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": token, **self._authentication()}
        reply = self._post(self._endpoints.token, form)
        if reply.status == 200:
            # A service that gives no new one lets the old one live on (RFC 6749, 6).
            self._refresh = token
            return reply
        if reply.text("error") == "invalid_grant":
            return None
        raise self._token_fault(reply)

    def _token_fault(self, reply: Reply) -> VnedocError:
        if reply.status in {400, 401, 403}:
            self._service.secrets.forget()
            return CredentialError("remote-signing.wrong-secret", **self._service.refusal(reply).values())
        return self._fault(reply)

    def _authentication(self) -> dict[str, str]:
        if not self._confidential:
            return {"client_id": self._client}
        prompt = SecretPrompt(
            "remote-signing.prompt-client-secret", client=self._client, service=self._service.name
        )
        return {"client_id": self._client, "client_secret": self._service.secrets.keep(prompt)}

    def _post(self, url: str, form: Mapping[str, str], *, timeout_s: float | None = None) -> Reply:
        content = urllib.parse.urlencode(form).encode("ascii")
        return self._service.post_plain(url, content, headers=_FORM, timeout_s=timeout_s)
