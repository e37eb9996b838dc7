"""Time-stamp tokens from a time-stamping authority: RFC 3161 over HTTP.

What comes back is checked before it is used: the status, the imprint, the nonce, and the authority's signature
with a certificate that may sign time-stamps at that time. Whether the authority is *trusted* is decided when a
document is verified.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any, Self

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from vnedoc._internal import http
from vnedoc.errors import RemoteError, TimestampError, UsageError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence
    from types import TracebackType

    import httpx2

__all__ = ["TimestampClient", "TimestampToken"]

MAX_TOKEN_BYTES = 64 * 1024
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


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
        urls: Addresses of the authorities, the preferred one first.
        timeout_s: Time limit for one authority, in seconds.
    """

    def __init__(self, urls: Sequence[str], *, timeout_s: float = 10.0) -> None:
        if not urls:
            raise UsageError("timestamp.no-authority")
        self._urls = tuple(urls)
        self._timeout_s = timeout_s
        self._client: httpx2.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def token(self, imprint: bytes, digest_algorithm: str = "sha256") -> TimestampToken:
        """Return a token over a digest.

        Args:
            imprint: The digest.
            digest_algorithm: The algorithm it was made with.

        Raises:
            TimestampError: No authority gave a good token; it says which were asked and why each failed.
        """
        failures = []
        for url in self._urls:
            try:
                return self._ask(url, imprint, digest_algorithm)
            except RemoteError as exc:
                failures.append(exc)
        if len(failures) == 1:
            raise TimestampError(
                "timestamp.failed", url=self._urls[0], reason=str(failures[0])
            ) from failures[0]
        reasons = " ".join(str(failure) for failure in failures)
        raise TimestampError("timestamp.all-failed", urls=", ".join(self._urls), reasons=reasons)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, url: str, imprint: bytes, digest_algorithm: str) -> TimestampToken:
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
        status, media_type, body = http.post_bytes(
            self._client,
            url,
            request.dump(),
            headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
            max_bytes=MAX_TOKEN_BYTES,
        )
        if status != 200:
            raise TimestampError("timestamp.http-status", url=url, status=status)
        if media_type != "application/timestamp-reply":
            raise TimestampError("timestamp.not-a-token", url=url)
        return _check(body, url=url, imprint=imprint, digest_algorithm=digest_algorithm, nonce=nonce)


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
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        # asn1crypto raises these on bytes that are not what they claim to be.
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
