"""One certificate judged by itself, as a signing certificate outside of CMS: path and key usage at a time.

The judge is the one of signatures in PDFs (EN 319 102-1, 5.2.6). Nothing is fetched, but
where the caller wants missing certificates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.sign._pyhanko.cms_objects import Evidence
from vnedoc.sign._pyhanko.validation import Judge

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc.sign._pyhanko.validation import Outcome
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import TrustStore

__all__ = ["judge_path"]


def judge_path(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    *,
    trust: TrustStore,
    policy: Policy,
    at: datetime.datetime,
    revocation: RevocationSource | None = None,
) -> Outcome:
    """Judge whether a certificate leads to an anchor and may sign documents at a time; revocation aside.

    Args:
        certificate: The signing certificate.
        others: Certificates that came with the signature and may stand in the chain.
        trust: What is trusted.
        policy: What is demanded.
        at: The time.
        revocation: Where missing certificates may be fetched, if it says so.
    """
    judge = Judge(trust=trust, policy=policy, revocation=revocation, evidence=Evidence())
    return judge.judge_certificate(certificate, others, at=at)
