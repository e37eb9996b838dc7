"""Which algorithms are accepted when, and below which anchor, in the words of the validator.

Circular 15/2025/TT-BKHCN, annex I; a policy may accept what was good once up to a date.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pyhanko_certvalidator.policy_decl import AlgorithmUsageConstraint, DisallowWeakAlgorithmsPolicy

from vnedoc._internal import clock

if TYPE_CHECKING:
    import datetime

    from asn1crypto import algos, keys
    from pyhanko_certvalidator.authority import TrustAnchor

    from vnedoc.sign.policy import Policy

__all__ = ["DatedAlgorithms", "anchor_fingerprint"]


class DatedAlgorithms(DisallowWeakAlgorithmsPolicy):
    """The algorithms of a policy.

    Args:
        policy: The policy.
        anchor: Fingerprint of the anchor above; ``None`` where the question is about a document.
    """

    def __init__(self, policy: Policy, anchor: str | None = None) -> None:
        super().__init__(  # type: ignore[no-untyped-call] # pyHanko leaves it untyped
            weak_hash_algos=policy.weak_digests, rsa_key_size_threshold=policy.min_rsa_bits
        )
        self._policy = policy
        self._anchor = anchor

    def digest_algorithm_allowed(
        self, algo: algos.DigestAlgorithm, moment: datetime.datetime | None
    ) -> AlgorithmUsageConstraint:
        """Tell whether a digest algorithm may be used at a time; no time means now."""
        allowed = self._policy.accepts_digest(
            str(algo["algorithm"].native), moment or clock.utc_now(), anchor=self._anchor
        )
        return AlgorithmUsageConstraint(allowed)

    def signature_algorithm_allowed(
        self,
        algo: algos.SignedDigestAlgorithm,
        moment: datetime.datetime | None,
        public_key: keys.PublicKeyInfo | None,
    ) -> AlgorithmUsageConstraint:
        """Tell whether a signature algorithm may be used at a time with a key."""
        if (
            public_key is not None
            and public_key.algorithm == "ec"
            and public_key.bit_size < self._policy.min_ec_bits
        ):
            return AlgorithmUsageConstraint(allowed=False, failure_reason="the elliptic curve is too small")
        return super().signature_algorithm_allowed(algo, moment, public_key)


def anchor_fingerprint(anchor: TrustAnchor) -> str | None:
    """Return the SHA-256 of an anchor's certificate in lower-case hexadecimal; ``None`` if it has none."""
    certificate: Any = getattr(anchor.authority, "certificate", None)  # asn1crypto has no types
    return None if certificate is None else hashlib.sha256(certificate.dump()).hexdigest()
