"""Judging a signing certificate by itself, for signatures that are not in PDFs.

The judgement is that of :func:`vnedoc.sign.verification.verify_pdf` on a certificate: path to an anchor, key usage,
validity, algorithms, revocation, at a given time (ETSI EN 319 102-1, 5.2.6).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from vnedoc._internal import clock
from vnedoc.sign.certificates import display_name
from vnedoc.sign.policy import DEFAULT_POLICY, Policy, RevocationRule
from vnedoc.sign.report import Conclusion, Finding, Revocation, RevocationStatus

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc.sign._pyhanko.validation import ChainStatus
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import TrustStore

__all__ = ["CertificateVerdict", "judge_certificate"]


@dataclasses.dataclass(frozen=True, slots=True)
class CertificateVerdict:
    """Whether a certificate could sign at a time."""

    conclusion: Conclusion
    """TOTAL-PASSED, INDETERMINATE, or TOTAL-FAILED where the signer's own time lies after the revocation."""
    sub_indication: str | None
    """The sub-indication of EN 319 102-1; ``None`` when passed."""
    trust_anchor: str | None
    """Name of the anchor that the chain ends in."""
    trust_tree: str | None
    """``vn-government``, ``vn-national`` or ``custom``."""
    revocation: Revocation
    """What is known of its revocation."""
    errors: tuple[Finding, ...] = ()
    """Why it did not pass."""
    warnings: tuple[Finding, ...] = ()
    """What is worth saying."""


def judge_certificate(
    certificate: x509.Certificate,
    *,
    trust: TrustStore,
    others: Sequence[x509.Certificate] = (),
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    claimed: datetime.datetime | None = None,
    revocation: RevocationSource | None = None,
) -> CertificateVerdict:
    """Judge whether a certificate could sign documents at a time.

    Args:
        certificate: The signing certificate.
        trust: The trust anchors.
        others: Certificates that came along and may stand in the chain; not trusted by themselves.
        policy: What is demanded; ``None`` is the strict default.
        at: The time; ``None`` is now.
        claimed: The time at which the signer claims to have signed; never believed in his favour.
        revocation: Where revocation data may be asked for; ``None`` asks nobody.

    Raises:
        UsageError: A time has no zone.
    """
    from vnedoc.sign._pyhanko.chains import judge_path
    from vnedoc.sign._pyhanko.validation import Evidence, Judge

    policy = policy or DEFAULT_POLICY
    moment = clock.utc_now() if at is None else clock.as_utc(at)
    key = certificate.public_key()
    if (isinstance(key, rsa.RSAPublicKey) and key.key_size < policy.min_rsa_bits) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < policy.min_ec_bits
    ):
        return _doubt("CRYPTO_CONSTRAINTS_FAILURE", Finding("verify.weak-algorithms"))
    if moment < certificate.not_valid_before_utc:
        finding = Finding("verify.not-yet-valid", {"time": certificate.not_valid_before_utc.isoformat()})
        return _doubt("NOT_YET_VALID", finding)
    outcome = judge_path(certificate, others, trust=trust, policy=policy, at=moment, revocation=revocation)
    if outcome.path is None:
        return _doubt(outcome.sub_indication or "GENERIC", *outcome.findings)
    passed = CertificateVerdict(
        conclusion=Conclusion.TOTAL_PASSED,
        sub_indication=None,
        trust_anchor=display_name(outcome.anchor.certificate.subject) if outcome.anchor else None,
        trust_tree=outcome.anchor.tree.value if outcome.anchor else None,
        revocation=Revocation(),
    )
    if policy.revocation is RevocationRule.IGNORE:
        return dataclasses.replace(passed, warnings=(Finding("verify.revocation-ignored"),))
    evidence = Evidence(certificates=tuple(others))
    judge = Judge(trust=trust, policy=policy, revocation=revocation, evidence=evidence)
    chain = judge.check_chain(outcome.path, at=moment)
    passed = dataclasses.replace(passed, revocation=Revocation(chain.leaf.status, chain.leaf.source))
    return _with_revocation(passed, chain, policy, claimed)


def _with_revocation(
    passed: CertificateVerdict, chain: ChainStatus, policy: Policy, claimed: datetime.datetime | None
) -> CertificateVerdict:
    if chain.sub_indication is None:
        return passed
    if chain.sub_indication == "TRY_LATER":
        finding = Finding("verify.revocation-unknown")
        tried = tuple(
            Finding("verify.revocation-tried", {"url": attempt.url, "reason": attempt.problem})
            for attempt in chain.attempts
            if attempt.problem is not None
        )
        if policy.revocation is RevocationRule.WHEN_AVAILABLE:
            return dataclasses.replace(passed, warnings=(*tried, finding))
        return dataclasses.replace(
            passed,
            conclusion=Conclusion.INDETERMINATE,
            sub_indication="TRY_LATER",
            errors=(finding,),
            warnings=tried,
        )
    own = chain.sub_indication == "REVOKED_NO_POE" and chain.leaf.status is RevocationStatus.REVOKED
    revoked_at = chain.revoked_at
    finding = Finding(
        "verify.revoked" if own else "verify.authority-revoked",
        {"time": revoked_at.isoformat() if revoked_at else "?"},
    )
    # The signer's own time lies after the revocation: nothing is left to wait for.
    proven = own and claimed is not None and revoked_at is not None and claimed >= revoked_at
    return dataclasses.replace(
        passed,
        conclusion=Conclusion.TOTAL_FAILED if proven else Conclusion.INDETERMINATE,
        sub_indication="REVOKED" if proven else chain.sub_indication,
        errors=(finding,),
    )


def _doubt(sub_indication: str, *findings: Finding) -> CertificateVerdict:
    return CertificateVerdict(
        conclusion=Conclusion.INDETERMINATE,
        sub_indication=sub_indication,
        trust_anchor=None,
        trust_tree=None,
        revocation=Revocation(),
        errors=findings,
    )
