"""What signers behind a service share: secrets, JSON calls with a token, waiting for a person.

Two rules hold for all of them. A request that signs or authorises is never sent twice, except after a refused token,
when nothing was done; a wrong PIN or one-time code is never tried again. And whatever a server says is shortened,
cleaned of control characters and of every secret before it gets into an error.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm

from vnedoc._internal import http
from vnedoc.errors import CredentialError, RefusedError, RemoteError, UsageError, VnedocError
from vnedoc.sign.signers._remote_secrets import Secrets
from vnedoc.sign.signers._remote_values import parse_retry_after, text_of
from vnedoc.sign.signers.base import SecretPrompt, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import httpx2
    from cryptography import x509

    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers._remote_address import RemoteAddress, RemoteOptions

__all__ = [
    "JSON",
    "Connection",
    "JSONService",
    "Pending",
    "Refusal",
    "RemoteSigner",
    "Reply",
    "Secrets",
    "error_for",
    "make_remote_client",
    "wait_for_person",
]

MAX_REPLY_BYTES = 1024 * 1024
DEFAULT_TOKEN_LIFETIME_S = 3600.0
"""How long a token lives if the service does not say (CSC API 1.0.4.0, 11.2)."""
TOKEN_MARGIN_S = 30.0
"""How long before its end a token is renewed."""
MAX_FAILED_POLLS = 5
"""How many polls in a row may fail on the way while a person is being waited for."""

JSON: TypeAlias = dict[str, Any]  # values are whatever the other side sent; each is checked where it is used
_TOKEN_ERRORS = frozenset({"expired_token", "invalid_token"})
_BUSY = frozenset({408, 425, 429})
_LOST_ON_THE_WAY = frozenset(
    {"remote.timeout", "remote.unreachable", "remote.broken-off", "remote-signing.unavailable"}
)
_Outcome = TypeVar("_Outcome")


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said instead of doing it; already cleaned."""

    service: str
    """The service."""
    status: int
    """The HTTP status."""
    code: str
    """The server's own code; the HTTP status if it gave none."""
    message: str
    """The server's own words; never empty."""

    def values(self) -> dict[str, object]:
        """Return what messages name."""
        return {"service": self.service, "remote_code": self.code, "remote_message": self.message}


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """An answer in JSON."""

    status: int
    """The HTTP status."""
    data: Any = dataclasses.field(repr=False)  # any JSON value
    """The value; ``None`` when there was no body."""
    retry_after_s: float | None
    """How long the server wants to be left alone."""

    @property
    def members(self) -> JSON:
        """The members of the object; none if it is not one."""
        return self.data if isinstance(self.data, dict) else {}

    def text(self, name: str) -> str | None:
        """Return a member that is a text and not empty."""
        return text_of(self.members, name)


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """That a person has not decided yet."""

    retry_after_s: float | None = None
    """How long the server wants to be left alone."""


class JSONService:
    """A service that is spoken to by POSTs of JSON, with a bearer token where it wants one.

    Args:
        base_url: Where its calls begin.
        name: What errors call it.
        client: The way there.
        secrets: The secrets of the signer.
        options: How long to wait.
        sign_in: Returns a new token and how many seconds it lives; ``None`` for a service that wants none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str,
        client: httpx2.Client,
        secrets: Secrets,
        options: RemoteOptions,
        sign_in: Callable[[], tuple[str, float]] | None = None,
    ) -> None:
        self.base_url = base_url
        self.name = name
        self.secrets = secrets
        self.options = options
        self.sign_in = sign_in
        self.sign_out: Callable[[], None] | None = None
        """Called before the connection is closed; takes tokens back."""
        self._client = client
        self._token: str | None = None
        self._good_until = 0.0

    def post(self, path: str, body: JSON, *, patient: bool = False, once: bool = False) -> Reply:
        """Call with the token; if the token is refused, get a new one once.

        Args:
            path: The call, below the base address.
            body: Its parameters.
            patient: The call may take as long as a person does.
            once: The call carries a PIN or a one-time code. Services answer 401 to a wrong one too, so it is made
                again only if the service says in so many words that it was the token.

        Raises:
            RemoteError: See :meth:`post_plain`.
            CredentialError: The service refuses a token that it has just given.
        """
        if self.sign_in is None:
            return self.post_plain(path, body, patient=patient)
        reply = self._post_with_token(path, body, patient=patient)
        if _is_token_refused(reply):
            self._token = None
            if once and reply.text("error") not in _TOKEN_ERRORS:
                return reply
            reply = self._post_with_token(path, body, patient=patient)
            if _is_token_refused(reply):
                raise CredentialError("remote-signing.token-refused", **self.refusal(reply).values())
        return reply

    def post_plain(
        self,
        path: str,
        body: JSON | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
        timeout_s: float | None = None,
    ) -> Reply:
        """Call without a token; a body of bytes says its own type in the headers.

        A ``timeout_s`` takes the place of the options' own limit.

        Raises:
            RemoteError: No connection, no answer in time, or an answer that is not JSON.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if timeout_s is None:
            timeout_s = self.options.confirmation_timeout_s if patient else self.options.timeout_s
        answer = http.post(
            self._client,
            f"{self.base_url}/{path}" if "://" not in path else path,
            content,
            headers={"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
            timeout_s=timeout_s,
            max_bytes=MAX_REPLY_BYTES,
        )
        try:
            data = json.loads(answer.body) if answer.body.strip() else None
        except (ValueError, RecursionError) as exc:
            if answer.status < 300:
                raise self.bad_answer("no JSON") from exc
            data = None
        return Reply(answer.status, data, parse_retry_after(answer.retry_after))

    def refusal(self, reply: Reply) -> Refusal:
        """Read what a server says instead of doing it, under any of the names in use."""
        code = _first_of(reply.members, ("error", "error_code", "errorCode", "code", "status_code"))
        words = _first_of(
            reply.members,
            ("error_description", "errorDescription", "message", "description", "error_message"),
        )
        return Refusal(
            self.name,
            reply.status,
            self.secrets.clean(code or reply.status),
            self.secrets.clean(words or f"HTTP {reply.status}"),
        )

    def token_in(self, reply: Reply) -> tuple[str, float]:
        """Return the token of an answer, and how many seconds it lives.

        Raises:
            RemoteError: There is none.
        """
        token = reply.text("access_token")
        # It becomes part of a header.
        if token is None or not (token.isascii() and token.isprintable()) or " " in token:
            raise self.bad_answer("no access_token")
        self.secrets.hide(token)
        lifetime = reply.members.get("expires_in")
        # A number; at some services a number in a text.
        if isinstance(lifetime, str) and lifetime.isascii() and lifetime.isdigit():
            lifetime = int(lifetime[:9])
        if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or not 0 < lifetime < 10**9:
            lifetime = DEFAULT_TOKEN_LIFETIME_S
        return token, float(lifetime)

    def close(self) -> None:
        """Sign out where that is possible, close the connection, and forget secrets and token."""
        self._token = None
        if self.sign_out is not None:
            sign_out, self.sign_out = self.sign_out, None
            sign_out()
        self.secrets.close()
        self._client.close()

    def bad_answer(self, reason: str) -> RemoteError:
        """Return the error for an answer that does not keep to the protocol."""
        return RemoteError("remote-signing.bad-answer", service=self.name, reason=reason)

    def _post_with_token(self, path: str, body: JSON, *, patient: bool) -> Reply:
        assert self.sign_in is not None
        if self._token is None or self.options.clock() > self._good_until:
            asked = self.options.clock()
            self._token, lifetime_s = self.sign_in()
            self._good_until = asked + lifetime_s - min(TOKEN_MARGIN_S, lifetime_s / 2)
        return self.post_plain(
            path, body, headers={"Authorization": f"Bearer {self._token}"}, patient=patient
        )


class Connection(Protocol):
    """A way to a service."""

    def close(self) -> None:
        """Close it, and forget secrets."""
        ...


class RemoteSigner(Signer):
    """A key at a service: hashes go there, signatures come back.

    Implementers write :meth:`_sign_hashes`; one call of it is one authorisation.

    Args:
        certificate: The signing certificate, as the service gave it.
        chain: The certificates above it.
        mechanism: See :class:`~vnedoc.sign.signers.base.Signer`.
        service: The way to the service; closed with the signer.
        batch_size: How many hashes one authorisation may cover.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        chain: Sequence[x509.Certificate],
        *,
        mechanism: SignatureMechanism | None,
        service: Connection,
        batch_size: int = 1,
    ) -> None:
        try:
            certificate.public_key()
        except (ValueError, UnsupportedAlgorithm) as exc:
            subject = certificate.subject.rfc4514_string()
            raise CredentialError("signer.unsupported-key", subject=subject) from exc
        super().__init__(certificate, chain, mechanism=mechanism)
        self._service = service
        self._batch_size = max(1, batch_size)
        # A service counts authorisations, and a person reads one prompt at a time.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.certificate.subject.rfc4514_string()!r})"

    @property
    def batch_size(self) -> int:
        """How many hashes one authorisation covers."""
        return self._batch_size

    def close(self) -> None:
        """Close the connection and forget the secrets."""
        self._service.close()

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        return self._sign_many([content], digest_algorithm)[0]

    def _sign_many(self, contents: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        digests = [hashlib.new(digest_algorithm, content).digest() for content in contents]
        signatures: list[bytes] = []
        with self._lock:
            for start in range(0, len(digests), self.batch_size):
                batch = digests[start : start + self.batch_size]
                values = self._sign_hashes(batch, digest_algorithm)
                if len(values) != len(batch):
                    raise RemoteError("remote-signing.wrong-count", expected=len(batch), actual=len(values))
                signatures += values
        return signatures

    @abc.abstractmethod
    def _sign_hashes(self, hashes: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        """Return one signature for each hash, in their order, with one authorisation."""


def make_remote_client(address: RemoteAddress, *, secrets: Secrets, options: RemoteOptions) -> httpx2.Client:
    """Return a client for a service, with the TLS files that the address names.

    Raises:
        CredentialError: A file cannot be used.
    """
    paths = {
        name: Path(value) for name in ("ca", "client-cert", "client-key") if (value := address.get(name))
    }
    if not paths:
        return http.make_client(timeout_s=options.timeout_s)
    certificate = paths.get("client-cert")
    if certificate is None and "client-key" in paths:
        raise UsageError("remote-signing.missing-option", kind=address.kind, name="client-cert")
    key = paths.get("client-key", certificate)
    prompt = SecretPrompt("remote-signing.prompt-tls-passphrase", path=str(key))
    try:
        context = http.make_tls_context(
            authorities=paths.get("ca"),
            certificate=certificate,
            key=paths.get("client-key"),
            passphrase=lambda: secrets.ask(prompt),
        )
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        shown = ", ".join(str(path) for path in paths.values())
        raise CredentialError("remote-signing.tls-file", path=shown, reason=reason) from exc
    return http.make_client(timeout_s=options.timeout_s, tls=context)


def wait_for_person(
    ask: Callable[[], _Outcome | Pending],
    *,
    options: RemoteOptions,
    service: str,
    first: Pending = Pending(),
) -> _Outcome:
    """Ask until the person has decided, within a limit.

    An answer lost on the way does not undo what the person does on the phone, so a few are forgiven.

    Args:
        ask: Returns the outcome, or that it is still pending.
        options: How long to wait.
        service: What errors call the service.
        first: What the request itself was answered with.

    Raises:
        RemoteError: The person did not decide in time, or the service stopped answering.
    """
    deadline = options.clock() + options.confirmation_timeout_s
    failures = 0
    pending = first
    while True:
        pause = max(options.poll_interval_s, pending.retry_after_s or 0.0)
        if options.clock() + pause > deadline:
            raise RemoteError("remote-signing.not-confirmed", service=service)
        options.sleep(pause)
        try:
            outcome = ask()
        except RemoteError as exc:
            failures += 1
            if exc.code not in _LOST_ON_THE_WAY or failures >= MAX_FAILED_POLLS:
                raise
            waiting = exc.values.get("retry_after_s")
            pending = Pending(waiting if isinstance(waiting, float) else None)
            continue
        if not isinstance(outcome, Pending):
            return outcome
        failures = 0
        pending = outcome


def error_for(refusal: Refusal, *, retry_after_s: float | None = None) -> VnedocError:
    """Return the error for a refusal that no table of a protocol knows."""
    if refusal.status in _BUSY or refusal.status >= 500:
        return RemoteError("remote-signing.unavailable", **refusal.values(), retry_after_s=retry_after_s)
    if refusal.status < 200 or 300 <= refusal.status < 400:
        return RemoteError(
            "remote-signing.bad-answer", service=refusal.service, reason=f"HTTP {refusal.status}"
        )
    if refusal.status == 401:
        return CredentialError("remote-signing.wrong-secret", **refusal.values())
    return RefusedError("remote-signing.refused", **refusal.values())


def _first_of(members: Mapping[str, object], names: Iterable[str]) -> str | None:
    for name in names:
        value = members.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return None


def _is_token_refused(reply: Reply) -> bool:
    # CSC 2.0.0.2, table 3: the error may come with either status.
    return reply.status == 401 or (reply.status == 400 and reply.text("error") in _TOKEN_ERRORS)
