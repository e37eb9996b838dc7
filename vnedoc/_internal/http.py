"""The one place where HTTP clients are made: a time limit on every call, no redirects, a size limit on answers."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import ssl
import time
from typing import TYPE_CHECKING

import httpx2

from vnedoc._internal import transfers
from vnedoc._internal.clock import utc_now
from vnedoc._internal.version import USER_AGENT
from vnedoc.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "MAX_ANSWER_BYTES",
    "Answer",
    "Client",
    "StreamedAnswer",
    "make_client",
    "make_tls_context",
    "open_answer",
    "parse_retry_after",
    "post",
    "post_bytes",
]

Client = httpx2.Client
"""What :func:`make_client` returns."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""The largest answer that is read when the caller sets no other limit."""


def parse_retry_after(value: str | None, *, limit_s: float) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), a number or a date; ``None`` if it says nothing.

    Args:
        value: The header.
        limit_s: No server keeps us waiting for longer.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), limit_s)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return min(max((moment - utc_now()).total_seconds(), 0.0), limit_s)


def make_client(
    *, timeout_s: float = 10.0, connect_timeout_s: float = 5.0, tls: ssl.SSLContext | None = None
) -> httpx2.Client:
    """Return a client whose every call ends in bounded time.

    Redirects are not followed: a signed request, or one with credentials, goes where it was meant to go.

    Args:
        timeout_s: Time limit for each read and each write.
        connect_timeout_s: Time limit for making a connection.
        tls: How servers are authenticated, and with which certificate the client is; see
            :func:`make_tls_context`. ``None``: the usual authorities, no client certificate.
    """
    return httpx2.Client(
        timeout=httpx2.Timeout(timeout_s, connect=connect_timeout_s),
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT},
        verify=True if tls is None else tls,
    )


def make_tls_context(
    *,
    authorities: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    passphrase: Callable[[], str] | None = None,
) -> ssl.SSLContext:
    """Return a TLS context for a service with its own authority, or one that wants a client certificate.

    Args:
        authorities: A PEM file with the only authorities to accept; ``None`` accepts the usual ones.
        certificate: A PEM file with the client's certificate and the ones above it.
        key: A PEM file with its key; ``None``: it is in the same file.
        passphrase: Called if the key is encrypted.

    Raises:
        OSError: A file cannot be read, or does not hold what it should; :class:`ssl.SSLError` is one.
    """
    context = ssl.create_default_context(cafile=authorities)
    if certificate is not None:
        # Without a function OpenSSL itself would ask on the terminal.
        context.load_cert_chain(certificate, key, passphrase or str)
    return context


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    url: str
    """Where it comes from."""
    status: int
    """The status code."""
    media_type: str
    """The media type, lower case, without parameters."""
    retry_after: str | None
    """What the server said of trying again."""
    body: bytes = dataclasses.field(repr=False)
    """The body; it may hold secrets."""


def post(
    client: httpx2.Client,
    url: str,
    content: bytes,
    *,
    headers: Mapping[str, str],
    timeout_s: float,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """Post bytes and read the answer; the whole call takes no longer than a time limit.

    Raises:
        RemoteError: No connection, no answer in time, or an answer over the limit.
    """
    with open_answer(
        client, "POST", url, headers=headers, content=content, timeout_s=timeout_s, total_timeout_s=timeout_s
    ) as answer:
        return Answer(
            answer.url,
            answer.status,
            answer.media_type,
            answer.retry_after,
            answer.read(max_bytes=max_bytes),
        )


def post_bytes(
    client: httpx2.Client,
    url: str,
    content: bytes,
    *,
    headers: Mapping[str, str],
    max_bytes: int = MAX_ANSWER_BYTES,
) -> tuple[int, str, bytes]:
    """Post bytes and return the status code, the media type and the body of the answer.

    Raises:
        RemoteError: No connection, no answer in time, or an answer over the limit.
    """
    try:
        with client.stream("POST", url, content=content, headers=dict(headers)) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    raise RemoteError("remote.answer-too-large", url=url, limit=max_bytes)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return response.status_code, media_type, bytes(body)
    except httpx2.TimeoutException as exc:
        raise RemoteError("remote.timeout", url=url) from exc
    except httpx2.HTTPError as exc:
        raise _lost(exc, url) from exc
    except httpx2.InvalidURL as exc:
        raise RemoteError("remote.bad-url", url=url) from exc


def _lost(error: httpx2.HTTPError, url: str) -> RemoteError:
    """Return the error for a connection that was never made, or was lost: then the request may have arrived.

    So it may, as far as can be told, where TLS 1.3 asks for a client's certificate: the client writes already then.
    """
    code = "remote.unreachable" if isinstance(error, httpx2.ConnectError) else "remote.broken-off"
    return RemoteError(code, url=url, reason=str(error) or type(error).__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose body is still on its way; good inside the block of :func:`open_answer` only."""

    url: str
    """Where it comes from."""
    status: int
    """The status code."""
    media_type: str
    """The media type, lower case, without parameters."""
    retry_after: str | None
    """What the server said of trying again."""
    _response: httpx2.Response
    _deadline: float

    def header(self, name: str) -> str | None:
        """Return one header of the answer, or ``None``."""
        value: str | None = self._response.headers.get(name)
        return value

    def headers(self) -> dict[str, str]:
        """Return all headers of the answer."""
        return dict(self._response.headers.items())

    def chunks(self, *, max_bytes: int = MAX_ANSWER_BYTES) -> Iterator[bytes]:
        """Yield the body piece by piece.

        Raises:
            RemoteError: The body is over the limit, stops short, or drips for longer than the call may take.
        """
        count = 0
        for chunk in self._response.iter_bytes():
            count += len(chunk)
            if count > max_bytes:
                raise RemoteError("remote.answer-too-large", url=self.url, limit=max_bytes)
            if time.monotonic() > self._deadline:
                raise RemoteError("remote.timeout", url=self.url)
            transfers.moved(len(chunk))
            yield chunk

    def read(self, *, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            RemoteError: See :meth:`chunks`.
        """
        return b"".join(self.chunks(max_bytes=max_bytes))


@contextlib.contextmanager
def open_answer(
    client: httpx2.Client,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | Iterable[bytes] | None = None,
    timeout_s: float | None = None,
    total_timeout_s: float = 3600.0,
) -> Iterator[StreamedAnswer]:
    """Make a request whose body and answer are streamed.

    A streamed body needs a ``Content-Length`` among the headers: several axes do not read chunked bodies.
    A ``timeout_s`` takes the place of the client's own limit for each read and each write.

    Raises:
        RemoteError: No connection, no answer in time, or an answer that breaks off.
    """
    deadline = time.monotonic() + total_timeout_s
    # What errors show: a query may hold a secret.
    shown = url.partition("?")[0]
    timeout = client.timeout
    if timeout_s is not None:
        timeout = httpx2.Timeout(timeout_s, connect=timeout.connect)
    try:
        with client.stream(method, url, content=content, headers=dict(headers), timeout=timeout) as response:
            yield StreamedAnswer(
                url=shown,
                status=response.status_code,
                media_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                retry_after=response.headers.get("Retry-After"),
                _response=response,
                _deadline=deadline,
            )
    except httpx2.TimeoutException as exc:
        raise RemoteError("remote.timeout", url=shown) from exc
    except httpx2.HTTPError as exc:
        raise _lost(exc, shown) from exc
    except httpx2.InvalidURL as exc:
        raise RemoteError("remote.bad-url", url=shown) from exc
