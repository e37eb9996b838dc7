"""Time-stamp tokens from a time-stamping authority: RFC 3161 over HTTP.

What comes back is checked before it is used: the status, the imprint, the nonce, and the authority's signature
with a certificate that may sign time-stamps at that time. Whether the authority is *trusted* is decided when a
document is verified, or when long-term data is gathered for one.

Authorities are busy or down more often than anything else in signing, so several are asked in order, each with its
own time limit, all together within a budget; a level that needs a time-stamp is never reached without one.
"""

from __future__ import annotations

import base64
import dataclasses
import secrets
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from vnedoc._internal import http
from vnedoc.errors import CredentialError, RemoteError, TimestampError, UsageError
from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence
    from types import TracebackType

    import httpx2

    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["TimestampClient", "TimestampServer", "TimestampToken"]

MAX_TOKEN_BYTES = 64 * 1024
COOL_DOWN_S = 60.0
"""How long an authority that did not answer is asked last, so that each of fifty documents does not wait for it."""
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}

# What asn1crypto and cryptography raise on bytes that are not what they claim to be.
_NOT_WHAT_IT_CLAIMS: tuple[type[Exception], ...] = (
    KeyError, AttributeError, IndexError, OverflowError, RecursionError, *MALFORMED_CERTIFICATE_ERRORS,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class TimestampServer:
    """A time-stamping authority that wants to know who asks (HTTP basic authentication, RFC 7617).

    Raises:
        UsageError: The address carries a secret, a user has no password, or the password would go over the network
            in the clear.
    """

    url: str
    """Its address; never with a user or a password in it."""
    user: str | None = None
    """The name it knows the caller by; ``None`` asks without a name."""
    password: SecretCallback | None = dataclasses.field(default=None, repr=False)
    """Called for the password when it is first needed."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, with_secret = parts.hostname or "", parts.username is not None or parts.password is not None
        except ValueError as exc:
            raise UsageError("timestamp.bad-url") from exc
        if with_secret or "@" in parts.netloc:
            # An address is shown and logged; what is in it cannot be a secret.
            raise UsageError("timestamp.secret-in-url", host=host)
        if self.user is None:
            return
        if self.password is None or ":" in self.user:
            raise UsageError("timestamp.needs-password", url=self.url)
        if parts.scheme != "https" and host not in {"127.0.0.1", "::1", "localhost"}:
            raise UsageError("timestamp.password-needs-https", url=self.url)


@dataclasses.dataclass(frozen=True, slots=True)
class TimestampToken:
    """A token that passed the checks."""

    der: bytes
    """The token: a ContentInfo in DER."""
    time: datetime.datetime
    """genTime, in UTC."""
    url: str
    """The authority that gave it."""


class _Response(core.Sequence):  # type: ignore[misc] # asn1crypto has no types
    """TimeStampResp (RFC 3161, 2.4.2): a refusal has no token, which asn1crypto's own class does not know."""

    _fields = [  # noqa: RUF012 - asn1crypto's way
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


class TimestampClient:
    """Asks time-stamping authorities in order of preference until one gives a good token.

    It keeps its connections open between tokens; use it in a ``with`` block, or call :meth:`close`.

    Args:
        urls: The authorities, the preferred one first: addresses, or :class:`TimestampServer` with a name.
        timeout_s: Time limit for one authority, in seconds.
        budget_s: Time limit for one token, all authorities and repetitions together.
        rounds: How often an authority is asked that did not answer, or is busy. One that gave a bad answer is not
            asked again.
        pause_s: How long to wait before a repetition.
    """

    def __init__(
        self,
        urls: Sequence[str | TimestampServer],
        *,
        timeout_s: float = 10.0,
        budget_s: float = 60.0,
        rounds: int = 2,
        pause_s: float = 0.25,
    ) -> None:
        if not urls:
            raise UsageError("timestamp.no-authority")
        self._servers = tuple(TimestampServer(url) if isinstance(url, str) else url for url in urls)
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._rounds = max(1, rounds)
        self._pause_s = pause_s
        self._client: httpx2.Client | None = None
        self._headers: dict[TimestampServer, dict[str, str]] = {}
        self._silent_since: dict[str, float] = {}
        self._latest: TimestampToken | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, object]:
        # To another process goes what was asked for, not the connections and not the passwords that were given.
        return {**self.__dict__, "_client": None, "_headers": {}, "_silent_since": {}, "_latest": None}

    @property
    def latest(self) -> TimestampToken | None:
        """The token that was given last: it shows whose certificates the next one will need."""
        return self._latest

    def token(self, imprint: bytes, digest_algorithm: str = "sha256") -> TimestampToken:
        """Return a token over a digest.

        Args:
            imprint: The digest.
            digest_algorithm: The algorithm it was made with.

        Raises:
            TimestampError: No authority gave a good token; it says which were asked and why each failed.
            CredentialError: A password is wanted, and there is none.
        """
        deadline = time.monotonic() + self._budget_s
        failures: dict[str, RemoteError] = {}
        waiting = sorted(self._servers, key=self._was_silent)
        for turn in range(self._rounds):
            if turn:
                time.sleep(max(0.0, min(self._pause_s, deadline - time.monotonic())))
            for server in tuple(waiting):
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    failures.setdefault(server.url, TimestampError("timestamp.not-asked", url=server.url))
                    continue
                try:
                    self._latest = self._ask(
                        server, imprint, digest_algorithm, timeout_s=min(self._timeout_s, remaining_s)
                    )
                except RemoteError as exc:
                    failures[server.url] = exc
                    self._silent_since[server.url] = time.monotonic()
                    if not _may_pass(exc):
                        waiting.remove(server)
                else:
                    self._silent_since.pop(server.url, None)
                    return self._latest
            if not waiting or time.monotonic() >= deadline:
                break
        raise self._failure(failures)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _was_silent(self, server: TimestampServer) -> bool:
        since = self._silent_since.get(server.url)
        return since is not None and time.monotonic() - since < COOL_DOWN_S

    def _failure(self, failures: dict[str, RemoteError]) -> TimestampError:
        if len(failures) == 1:
            ((url, failure),) = failures.items()
            error = TimestampError("timestamp.failed", url=url, reason=failure)
            error.__cause__ = failure
            return error
        urls = ", ".join(server.url for server in self._servers)
        return TimestampError("timestamp.all-failed", urls=urls, reasons=tuple(failures.values()))

    def _ask(
        self, server: TimestampServer, imprint: bytes, digest_algorithm: str, *, timeout_s: float
    ) -> TimestampToken:
        if self._client is None:
            self._client = http.make_client(timeout_s=self._timeout_s)
        nonce = secrets.randbits(64)
        request = tsp.TimeStampReq(
            {
                "version": 1,
                "message_imprint": {
                    "hash_algorithm": {"algorithm": digest_algorithm},
                    "hashed_message": imprint,
                },
                "nonce": nonce,
                "cert_req": True,
            }
        )
        answer = http.post(
            self._client,
            server.url,
            request.dump(),
            headers=self._headers_for(server),
            timeout_s=timeout_s,
            max_bytes=MAX_TOKEN_BYTES,
        )
        if answer.status != 200:
            raise TimestampError("timestamp.http-status", url=server.url, status=answer.status)
        if answer.media_type != "application/timestamp-reply":
            raise TimestampError("timestamp.not-a-token", url=server.url)
        return _check(
            answer.body, url=server.url, imprint=imprint, digest_algorithm=digest_algorithm, nonce=nonce
        )

    def _headers_for(self, server: TimestampServer) -> dict[str, str]:
        headers = self._headers.get(server)
        if headers is None:
            headers = {
                "Content-Type": "application/timestamp-query",
                "Accept": "application/timestamp-reply",
            }
            if server.user is not None:
                credentials = f"{server.user}:{_password(server)}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode('ascii')}"
            self._headers[server] = headers
        return headers


def _password(server: TimestampServer) -> str:
    from vnedoc.sign.signers.base import SecretPrompt

    assert server.password is not None
    password = server.password(SecretPrompt("timestamp.prompt-password", url=server.url, user=server.user))
    if password is None:
        raise CredentialError("timestamp.no-password", url=server.url)
    return password


def _may_pass(failure: RemoteError) -> bool:
    """Tell whether the same question can get another answer a moment later."""
    if failure.code == "timestamp.http-status":
        status = failure.values["status"]
        return isinstance(status, int) and (status >= 500 or status == 429)
    return failure.code.startswith("remote.")


def _check(body: bytes, *, url: str, imprint: bytes, digest_algorithm: str, nonce: int) -> TimestampToken:
    try:
        response = _Response.load(body, strict=True)
        granted = response["status"]["status"].native
        if granted not in {"granted", "granted_with_mods"}:
            failure = response["status"]["fail_info"].native
            raise TimestampError("timestamp.rejected", url=url, reason=_words(granted, failure))
        token = response["time_stamp_token"]
        signed_data = token["content"]
        content = signed_data["encap_content_info"]
        if token["content_type"].native != "signed_data" or content["content_type"].native != "tst_info":
            raise TimestampError("timestamp.not-a-token", url=url)
        info = content["content"].parsed
        if (
            info["message_imprint"]["hash_algorithm"]["algorithm"].native != digest_algorithm
            or info["message_imprint"]["hashed_message"].native != imprint
        ):
            raise TimestampError("timestamp.wrong-imprint", url=url)
        if info["nonce"].native != nonce:
            raise TimestampError("timestamp.wrong-nonce", url=url)
        moment: datetime.datetime = info["gen_time"].native
        _check_signature(signed_data, moment, url=url)
        return TimestampToken(der=token.dump(), time=moment, url=url)
    except _NOT_WHAT_IT_CLAIMS as exc:
        raise TimestampError("timestamp.not-a-token", url=url) from exc


def _check_signature(signed_data: cms.SignedData, moment: datetime.datetime, *, url: str) -> None:
    """Check the authority's signature over the token (RFC 3161, section 2.4.2)."""
    (signer,) = signed_data["signer_infos"]
    certificate = _signing_certificate(signed_data, signer, url=url)
    content = signed_data["encap_content_info"]["content"].contents
    digest_algorithm = signer["digest_algorithm"]["algorithm"].native
    digest = _HASHES.get(digest_algorithm)
    attributes = {item["type"].native: item["values"] for item in signer["signed_attrs"]}
    if digest is None:
        raise TimestampError("timestamp.weak-algorithm", url=url, algorithm=digest_algorithm)
    hasher = hashes.Hash(digest())
    hasher.update(content)
    if attributes["message_digest"][0].native != hasher.finalize():
        raise TimestampError("timestamp.bad-signature", url=url)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise TimestampError("timestamp.certificate-not-valid", url=url)
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.5.29.37.0")])
    if x509.oid.ExtendedKeyUsageOID.TIME_STAMPING not in usage:
        raise TimestampError("timestamp.certificate-not-for-timestamps", url=url)
    try:
        _verify(certificate, signer, digest())
    except InvalidSignature as exc:
        raise TimestampError("timestamp.bad-signature", url=url) from exc


def _verify(certificate: x509.Certificate, signer: cms.SignerInfo, digest: hashes.HashAlgorithm) -> None:
    # The signature is over the attributes as a SET OF, not as the [0] that stands in the structure (RFC 5652, 5.4).
    signed = signer["signed_attrs"].untag().dump()
    value = signer["signature"].native
    key: Any = certificate.public_key()  # one of several unrelated classes, told apart below
    if isinstance(key, rsa.RSAPublicKey):
        scheme: Any = padding.PKCS1v15()  # PSS and v1.5 share no base class
        if signer["signature_algorithm"]["algorithm"].native == "rsassa_pss":
            scheme = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
        key.verify(value, signed, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(value, signed, ec.ECDSA(digest))
    else:
        raise InvalidSignature


def _signing_certificate(
    signed_data: cms.SignedData, signer: cms.SignerInfo, *, url: str
) -> x509.Certificate:
    wanted = signer["sid"]
    for choice in signed_data["certificates"]:
        candidate = choice.chosen
        if wanted.name == "issuer_and_serial_number":
            found = (
                candidate.serial_number == wanted.chosen["serial_number"].native
                and candidate.issuer == wanted.chosen["issuer"]
            )
        else:
            found = candidate.key_identifier == wanted.chosen.native
        if found:
            return x509.load_der_x509_certificate(candidate.dump())
    raise TimestampError("timestamp.no-certificate", url=url)


def _words(status: str, failure: set[str] | None) -> str:
    return ", ".join([status, *sorted(failure or ())])
