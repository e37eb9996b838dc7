"""What the connectors over HTTP share: TLS, secrets that can change while we run, tokens, and how an answer is read.

A secret is asked for when it is first needed and kept. When the axis does not let us in, it is asked for again: if it
has changed since, the call is made once more, so that an administrator can rotate it in its file or variable without
a restart. A token that was got for an earlier call is renewed once before that.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import secrets as randomness
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from vnedoc._internal import http, transfers
from vnedoc.errors import ConfigurationError, ConnectorError, CredentialError, InputError, RefusedError
from vnedoc.exchange._json_stream import EnvelopeError, split_envelope
from vnedoc.exchange.connectors.base import (
    DEFAULT_MAX_PACKAGE_BYTES,
    Connector,
    error_for_status,
    is_not_let_in,
)

if TYPE_CHECKING:
    import contextlib
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.sign.signers.base import SecretCallback

__all__ = [
    "JSON_TYPE",
    "MAX_DIRECTORY_BYTES",
    "Form",
    "HTTPConnector",
    "HTTPOptions",
    "KeptSecret",
    "Token",
    "TokenConnector",
    "file_chunks",
    "file_digest",
    "tls_context",
]

JSON_TYPE = "application/json"
MAX_DIRECTORY_BYTES = 256 * 1024 * 1024
"""The largest list of agencies that is read: 125,000 entries are about 30 MB."""
CHUNK_BYTES = 256 * 1024

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HTTPOptions:
    """How to speak to an axis over HTTP."""

    timeout_s: float = 60.0
    """Time limit for each step of a call: connecting, one read, one write."""
    max_package_bytes: int = DEFAULT_MAX_PACKAGE_BYTES
    """The largest package that is sent or fetched."""
    ca_file: Path | None = None
    """PEM file with the only authorities to accept for the axis; ``None`` accepts those of this computer."""
    client_certificate: Path | None = None
    """PEM file with our certificate for the axis, and the ones above it."""
    client_key: Path | None = None
    """PEM file with its key; ``None``: it is in the same file."""


class KeptSecret:
    """A secret that is asked for when it is first needed, and again when it does not work any more.

    Args:
        ask: Reads it from where it is kept.
        question: What to ask for.
        name: The name of the connection.
        system_id: Whose secret it is.
    """

    def __init__(self, ask: SecretCallback, question: str, *, name: str, system_id: str) -> None:
        self._ask, self._question = ask, question
        self._name, self._system_id = name, system_id
        self._value: str | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "KeptSecret()"

    def value(self) -> str:
        """Return the secret.

        Raises:
            CredentialError: There is none.
        """
        with self._lock:
            if self._value is None:
                secret = self._ask(self._question)
                if not secret:
                    raise CredentialError("connector.no-secret", name=self._name, system_id=self._system_id)
                self._value = secret
            return self._value

    def has_changed(self, used: str | None) -> bool:
        """Ask again; tell whether the secret is another one than was used."""
        with self._lock:
            if self._value != used:
                # Another thread asked already.
                return self._value is not None
            secret = self._ask(self._question)
            if not secret or secret == used:
                return False
            self._value = secret
            return True


class HTTPConnector(Connector):
    """A connector over HTTP.

    Args:
        base_url: Address of the axis; paths are appended to it.
        secrets: Its secrets.
        name: What errors and attempts call it.
        options: How to speak to this axis.
        tls_passphrase: Returns the passphrase of an encrypted client key.

    Raises:
        ConfigurationError: The address or a TLS file cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        secrets: Iterable[KeptSecret],
        name: str,
        options: HTTPOptions,
        tls_passphrase: SecretCallback | None = None,
    ) -> None:
        super().__init__(name, max_package_bytes=options.max_package_bytes)
        self._base_url = _checked_url(base_url, name)
        self._secrets = tuple(secrets)
        self._client = http.make_client(
            timeout_s=options.timeout_s, tls=tls_context(options, name, tls_passphrase)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _credentials(self) -> tuple[dict[str, str], bool]:
        """Return the headers that let us in, and whether they hold a token from an earlier call."""
        return {}, False

    def _forget(self, credentials: Mapping[str, str]) -> None:
        """Let go of a token that was not accepted."""

    def _perform(
        self,
        request: Callable[[dict[str, str]], contextlib.AbstractContextManager[http.StreamedAnswer]],
        read: Callable[[http.StreamedAnswer], _Result],
    ) -> _Result:
        """Make a call; once more with a new token, once more with a new secret.

        Args:
            request: Makes the request with the headers that let us in.
            read: Reads the answer, or raises.
        """
        for last in (False, False, True):
            used = [secret.value() for secret in self._secrets]
            credentials: dict[str, str] = {}
            is_old = False
            try:
                credentials, is_old = self._credentials()
                with request(credentials) as answer:
                    return read(answer)
            except RefusedError as error:
                if not is_not_let_in(error):
                    raise
                self._forget(credentials)
                # All of them are asked for anew, not only up to the first that changed.
                news = [secret.has_changed(old) for secret, old in zip(self._secrets, used, strict=True)]
                changed = any(news)
                if last or not (is_old or changed):
                    raise
        raise AssertionError("the last round returns or raises")

    def _open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None = None,
    ) -> contextlib.AbstractContextManager[http.StreamedAnswer]:
        # An answer that unpacks to a thousand times its size would slip past the limits.
        sent = {"Accept-Encoding": "identity", **headers}
        return http.open_answer(self._client, method, self._base_url + path, headers=sent, content=content)

    def _raise_for_status(
        self, answer: http.StreamedAnswer, *, code: str | None = None, message: str = ""
    ) -> None:
        """Let success through.

        Raises:
            ConnectorError: Trouble that passes.
            RefusedError: The axis said no.
        """
        if not 200 <= answer.status < 300:
            raise error_for_status(
                self.name, answer.status, retry_after=answer.retry_after, code=code, message=message
            )

    def _read_json(
        self, answer: http.StreamedAnswer, *, max_bytes: int = http.MAX_ANSWER_BYTES
    ) -> Any:  # JSON
        """Return the JSON of an answer of any status.

        Raises:
            ConnectorError: It is none, although the status says success.
            RefusedError: It is none, and the status says no.
        """
        content = answer.read(max_bytes=max_bytes)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as exc:
            self._raise_for_status(answer)
            raise self._bad_answer(str(exc)) from exc

    def _unwrap(
        self,
        answer: http.StreamedAnswer,
        stream: BinaryIO,
        parse: Callable[[bytes], _Result],
        *,
        path: Sequence[str] = ("data",),
        text_allowed: bool = False,
        max_bytes: int | None = None,
    ) -> _Result:
        """Write the package that a JSON answer carries as base64; return the answer without it.

        Args:
            answer: The answer.
            stream: Where the package goes.
            parse: Reads the JSON that is left.
            path: The keys that lead to the package.
            text_allowed: Whether it may be XML itself in place of base64.
            max_bytes: The largest answer; ``None`` leaves room for base64 with line ends.

        Raises:
            ConnectorError: It is no such answer.
        """
        # Base64 is a third larger than what it carries.
        chunks = answer.chunks(max_bytes=max_bytes or self.max_package_bytes * 3 // 2 + 4096)
        try:
            rest, _count = split_envelope(chunks, stream, path=path, text_allowed=text_allowed)
            return parse(rest)
        except (EnvelopeError, ValueError, RecursionError) as exc:
            raise self._bad_answer(str(exc)) from exc

    def _bad_answer(self, reason: str) -> ConnectorError:
        return ConnectorError("connector.bad-answer", name=self.name, reason=reason[:200])


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """What an axis gave for our credentials."""

    value: str = dataclasses.field(repr=False)
    """The token."""
    expires_at: float | None
    """When it ends, on the monotonic clock; ``None`` if the axis did not say."""


class TokenConnector(HTTPConnector):
    """A connector that gets a token first, and renews it when it ends or is not accepted any more."""

    def __init__(
        self,
        base_url: str,
        *,
        secrets: Iterable[KeptSecret],
        name: str,
        options: HTTPOptions,
        tls_passphrase: SecretCallback | None = None,
    ) -> None:
        super().__init__(base_url, secrets=secrets, name=name, options=options, tls_passphrase=tls_passphrase)
        self._token: Token | None = None
        self._token_lock = threading.Lock()

    @abc.abstractmethod
    def _log_in(self) -> Token:
        """Get a token."""

    def _bearer(self) -> tuple[str, bool]:
        """Return a token, and whether it is from an earlier call."""
        with self._token_lock:
            token = self._token
            if token is not None and (token.expires_at is None or time.monotonic() < token.expires_at):
                return token.value, True
            self._token = self._log_in()
            return self._token.value, False

    def _forget(self, credentials: Mapping[str, str]) -> None:
        with self._token_lock:
            # Another thread may have a new one by now.
            if self._token is not None and credentials.get("Authorization") in {
                None,
                f"Bearer {self._token.value}",
            }:
                self._token = None


def file_chunks(path: Path, size: int) -> Iterator[bytes]:
    """Yield a file in pieces, exactly as much as was announced.

    Raises:
        InputError: It cannot be read, or is shorter than it was.
    """
    try:
        with path.open("rb") as stream:
            while size > 0:
                chunk = stream.read(min(size, CHUNK_BYTES))
                if not chunk:
                    raise InputError("connector.file-changed", path=path)
                size -= len(chunk)
                yield chunk
                transfers.moved(len(chunk))
    except OSError as exc:
        raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as exc:
        raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """A ``multipart/form-data`` body (RFC 7578) with one file, which is read while it is sent.

    Its length is announced: provincial axes end a body without one with "Unexpected end of Stream".
    """

    fields: Mapping[str, str]
    """Further fields; names and values are plain ASCII."""
    file_field: str
    """The name of the field with the file."""
    path: Path
    """The file."""
    size: int
    """Its size."""
    boundary: str = dataclasses.field(default_factory=lambda: randomness.token_hex(16))
    """What stands between the parts; random, so that no file can contain it on purpose."""

    def headers(self) -> dict[str, str]:
        """Return the headers of the body."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(len(self._head()) + self.size + len(self._tail())),
        }

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces.

        Raises:
            InputError: The file cannot be read.
        """
        yield self._head()
        yield from file_chunks(self.path, self.size)
        yield self._tail()

    def _head(self) -> bytes:
        parts = [
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields.items()
        ]
        # The name of the file on our disk is nobody's business; axes look at its ending.
        parts.append(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{self.file_field}"; '
            f'filename="{self.boundary}.edxml"\r\nContent-Type: application/xml\r\n\r\n'
        )
        return "".join(parts).encode("ascii")

    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode("ascii")


def _checked_url(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        # The address is not repeated: what makes it unusable may be a password in it.
        raise ConfigurationError("connector.bad-url", name=name)
    return url.rstrip("/")


def tls_context(options: HTTPOptions, name: str, passphrase: SecretCallback | None) -> ssl.SSLContext | None:
    """Return how a server is authenticated and who we are; ``None``: by the usual authorities, and nobody.

    Raises:
        ConfigurationError: A file cannot be read, or does not hold what it should.
    """
    if options.ca_file is None and options.client_certificate is None:
        return None
    try:
        return http.make_tls_context(
            authorities=options.ca_file,
            certificate=options.client_certificate,
            key=options.client_key,
            passphrase=None if passphrase is None else (lambda: passphrase(f"{name}: TLS") or ""),
        )
    except (OSError, ValueError) as exc:
        raise ConfigurationError("connector.bad-tls", name=name, reason=str(exc)) from exc
