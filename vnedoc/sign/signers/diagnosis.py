"""Whether a key is fit to sign documents: tried out, and its certificate looked at."""

from __future__ import annotations

import dataclasses
import datetime
import secrets
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from vnedoc._internal import clock
from vnedoc.errors import CredentialError
from vnedoc.sign.certificates import check_can_sign, display_name
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from vnedoc.sign.signers.base import Signer

__all__ = ["SignerDiagnosis", "check_certificate", "check_signer", "is_authority"]

SOON = datetime.timedelta(days=30)
# Circular 15/2025/TT-BKHCN, annex I.
MIN_RSA_BITS = 2048


@dataclasses.dataclass(frozen=True, slots=True)
class SignerDiagnosis:
    """What was found out about a key."""

    problems: tuple[Finding, ...]
    """Why it must not sign documents; empty if it may."""
    notes: tuple[Finding, ...]
    """What its holder should know."""


def check_signer(signer: Signer, *, at: datetime.datetime | None = None) -> SignerDiagnosis:
    """Sign random bytes, verify the signature, and look at the certificate.

    Args:
        signer: The open key.
        at: The time to look at the certificate for; ``None`` means now.

    Raises:
        CredentialError: The key cannot sign, or what it returned does not match the certificate.
        RemoteError: A remote service did not answer.
        RefusedError: A remote service, or the person who holds the key, said no.
    """
    # The signer verifies what it made.
    signer.sign(secrets.token_bytes(32))
    diagnosis = check_certificate(signer.certificate, at=at)
    top = signer.certificate_chain[-1]
    if top.subject == top.issuer:
        return diagnosis
    missing = Finding("token.chain-incomplete", {"issuer": display_name(top.issuer)})
    return dataclasses.replace(diagnosis, notes=(*diagnosis.notes, missing))


def check_certificate(
    certificate: x509.Certificate, *, at: datetime.datetime | None = None
) -> SignerDiagnosis:
    """Look at validity, key usage and key size of a certificate."""
    moment = clock.utc_now() if at is None else clock.as_utc(at)
    problems: dict[str, Finding] = {}
    # The check stops at the first problem; a moment within the validity lets it reach the next.
    for time in (moment, certificate.not_valid_before_utc):
        try:
            check_can_sign(certificate, time)
        except CredentialError as exc:
            problems.setdefault(exc.code, Finding(exc.code, exc.values))
    subject = display_name(certificate.subject)
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        problems["token.weak-key"] = Finding("token.weak-key", {"subject": subject, "bits": key.key_size})
    notes = []
    if moment <= certificate.not_valid_after_utc < moment + SOON:
        until = clock.vietnam(certificate.not_valid_after_utc).isoformat()
        notes.append(Finding("token.expires-soon", {"subject": subject, "time": until}))
    return SignerDiagnosis(tuple(problems.values()), tuple(notes))


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate belongs to a certification authority (RFC 5280, 4.2.1.9), not to a signer."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.value.ca
