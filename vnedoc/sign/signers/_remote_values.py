"""What remote signing services send, decoded: certificates, signatures, waiting times."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography import x509

from vnedoc._internal import http
from vnedoc.sign.signers._remote_address import MAX_WAIT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DIGEST_OIDS",
    "decode_signature",
    "parse_certificate",
    "parse_retry_after",
    "text_of",
]

DIGEST_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
"""Object identifiers of the digest algorithms (RFC 5754)."""


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), at most an hour; ``None`` if it says nothing."""
    return http.parse_retry_after(value, limit_s=MAX_WAIT_S)


def parse_certificate(value: object) -> x509.Certificate:
    """Return a certificate that a service sent as base64, with or without PEM lines.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str):
        raise ValueError("a certificate that is no text")  # noqa: TRY004 - what came is wrong, not how we call
    text = "".join(line for line in value.splitlines() if not line.startswith("-----"))
    content = base64.b64decode("".join(text.split()), validate=True)
    try:
        certificate = x509.load_der_x509_certificate(content)
    except x509.InvalidVersion as exc:
        raise ValueError(str(exc)) from exc
    # Names are parsed when they are first read; what is wrong with them shall show here.
    _ = certificate.subject, certificate.issuer
    return certificate


def decode_signature(value: object) -> bytes:
    """Return a signature that a service sent as base64; some break it into lines.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str):
        raise ValueError("a signature that is no text")  # noqa: TRY004 - what came is wrong, not how we call
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError as exc:
        raise ValueError("a signature that is no base64") from exc


def text_of(members: Mapping[str, object], name: str) -> str | None:
    """Return a member of a JSON object that is a text and not empty."""
    value = members.get(name)
    return value if isinstance(value, str) and value else None
