"""What is checked of a signer before anything is signed.

Circular 15/2025/TT-BKHCN, article 5.1a and 5.2, with annex II, part 1: the certificate is in time and may sign, its
chain is complete to an anchor, and it is not revoked. Where revocation cannot be checked the signer is warned
(annex II, 1.2) and the levels without long-term data are still possible; the others are not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import clock
from vnedoc.errors import CredentialError, RemoteError, UsageError
from vnedoc.sign.certificates import check_can_sign, display_name
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.policy import DEFAULT_POLICY
from vnedoc.sign.report import Finding, RevocationStatus

if TYPE_CHECKING:
    import datetime

    from vnedoc.sign._pyhanko.validation import Evidence
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.signers.base import Signer
    from vnedoc.sign.trust import TrustStore

__all__ = ["LONG_TERM_LEVELS", "SignerCheck", "check_signer"]

LONG_TERM_LEVELS = frozenset({SignatureLevel.B_LT, SignatureLevel.B_LTA})
"""The levels that keep revocation data."""


@dataclasses.dataclass(frozen=True, slots=True)
class SignerCheck:
    """What was found out about the signer before signing; a record to keep (Circular 15/2025/TT-BKHCN, art. 5.4)."""

    checked_at: datetime.datetime
    """When, in UTC."""
    certificate: bytes = dataclasses.field(repr=False)
    """The signing certificate, DER."""
    chain: tuple[bytes, ...] = dataclasses.field(default=(), repr=False)
    """The certificates above it, DER, the anchor last; empty if the chain was not checked."""
    revocation: RevocationStatus = RevocationStatus.UNKNOWN
    """Whether the certificate was revoked."""
    source: str = "none"
    """Who said so: ``ocsp``, ``crl`` or ``none``."""
    ocsp: tuple[bytes, ...] = dataclasses.field(default=(), repr=False)
    """The OCSP responses, DER."""
    crls: tuple[bytes, ...] = dataclasses.field(default=(), repr=False)
    """The revocation lists, DER."""
    warnings: tuple[Finding, ...] = ()
    """What the signer must be told."""


_CHAIN_NOT_CHECKED = (Finding("signing.chain-not-checked"),)
_REVOCATION_NOT_CHECKED = (Finding("signing.revocation-not-checked"),)


def check_signer(
    signer: Signer,
    *,
    trust: TrustStore | None,
    revocation: RevocationSource | None,
    level: SignatureLevel,
    at: datetime.datetime,
) -> tuple[SignerCheck, Evidence | None]:
    """Check that a signer may sign at a time, at a level.

    Args:
        signer: Who is to sign.
        trust: What the chain must lead to; ``None`` checks the certificate alone, and warns.
        revocation: Where revocation is asked for; ``None`` does not ask, and warns.
        level: The level of the signature to come.
        at: The time of signing.

    Returns:
        What was found out, and the long-term data on the signer's chain, if it was asked for.

    Raises:
        UsageError: The level needs trust anchors and revocation data, and they were not given.
        CredentialError: The certificate is out of time, may not sign, leads to no anchor, or is revoked.
        RemoteError: The level needs revocation data, and nobody gave it.
    """
    certificate = signer.certificate
    check_can_sign(certificate, at)
    if level in LONG_TERM_LEVELS and (trust is None or revocation is None):
        raise UsageError("signing.needs-trust", level=level.value)
    moment = clock.as_utc(at)
    encoded = certificate.public_bytes(Encoding.DER)
    if trust is None:
        return SignerCheck(moment, encoded, warnings=_CHAIN_NOT_CHECKED), None
    return _check_chain(signer, encoded, trust=trust, revocation=revocation, level=level, at=moment)


def _check_chain(
    signer: Signer,
    encoded: bytes,
    *,
    trust: TrustStore,
    revocation: RevocationSource | None,
    level: SignatureLevel,
    at: datetime.datetime,
) -> tuple[SignerCheck, Evidence | None]:
    from vnedoc.sign._pyhanko.chains import judge_path
    from vnedoc.sign.long_term import EvidenceCollector, check_revocation, describe

    subject = display_name(signer.certificate.subject)
    outcome = judge_path(
        signer.certificate, signer.certificate_chain[1:], trust=trust, policy=DEFAULT_POLICY, at=at
    )
    path = outcome.path
    if path is None:
        if outcome.sub_indication == "NO_CERTIFICATE_CHAIN_FOUND":
            issuer = display_name(signer.certificate.issuer)
            raise CredentialError("signing.no-chain", subject=subject, issuer=issuer)
        raise CredentialError("signing.bad-chain", subject=subject, reason=outcome.findings[0])
    above = [certificate.dump() for certificate in path.iter_certs(include_root=True)][:-1]
    chain = tuple(reversed(above))
    if revocation is None:
        return SignerCheck(at, encoded, chain, warnings=_REVOCATION_NOT_CHECKED), None
    collector = EvidenceCollector(revocation, at=at)
    status = check_revocation(path, collector, trust=trust, at=at)
    if status.revoked_at is not None:
        time = clock.vietnam(status.revoked_at).isoformat()
        own = status.leaf.status is RevocationStatus.REVOKED and status.leaf.revoked_at == status.revoked_at
        raise CredentialError(
            "signing.revoked" if own else "signing.authority-revoked", subject=subject, time=time
        )
    warnings: tuple[Finding, ...] = ()
    if status.sub_indication is not None:
        values = describe(collector.unanswered())
        if level in LONG_TERM_LEVELS:
            raise RemoteError("signing.no-revocation-data", **values)
        warnings = (Finding("signing.revocation-unknown", values),)
    evidence = collector.evidence()
    check = SignerCheck(
        checked_at=at,
        certificate=encoded,
        chain=chain,
        revocation=status.leaf.status,
        source=status.leaf.source,
        ocsp=evidence.ocsp,
        crls=evidence.crls,
        warnings=warnings,
    )
    return check, evidence
