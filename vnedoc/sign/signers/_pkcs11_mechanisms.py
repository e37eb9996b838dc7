"""How a token is told to sign, and what is made of its answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from vnedoc.errors import CredentialError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers.base import DIGESTS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["USED_MECHANISMS", "SigningStep", "ecdsa_as_der", "signing_steps"]


@dataclasses.dataclass(frozen=True, slots=True)
class SigningStep:
    """One way to have a token sign."""

    mechanism: cryptoki.Mechanism
    """What the token is told to do."""
    prepare: Callable[[bytes], bytes] = dataclasses.field(repr=False)
    """Makes what the token is given from what is signed."""
    parameter: tuple[object, ...] | None = None
    """The parameter of the mechanism."""


def signing_steps(mechanism: SignatureMechanism, digest_algorithm: str) -> tuple[SigningStep, ...]:
    """Return the ways to have a token sign, best first.

    RSA is left to the token as a whole where it can: some cards insist on hashing themselves. Without that it gets
    the DigestInfo of RFC 8017, 9.2, or the digest for PSS. ECDSA is asked for on a digest, which every token knows.
    """
    known = cryptoki.Mechanism
    short = digest_algorithm.upper()

    def whole(content: bytes) -> bytes:
        return content

    def digest(content: bytes) -> bytes:
        state = hashes.Hash(DIGESTS[digest_algorithm]())
        state.update(content)
        return state.finalize()

    if mechanism is SignatureMechanism.RSA_PKCS1_V15:
        prefix = _DIGEST_INFO_PREFIXES[digest_algorithm]
        return (
            SigningStep(known[f"{short}_RSA_PKCS"], whole),
            SigningStep(known.RSA_PKCS, lambda content: prefix + digest(content)),
        )
    if mechanism is SignatureMechanism.RSA_PSS:
        size = DIGESTS[digest_algorithm]().digest_size
        parameter = (known[short], cryptoki.MGF[short], size)
        return (
            SigningStep(known[f"{short}_RSA_PKCS_PSS"], whole, parameter),
            SigningStep(known.RSA_PKCS_PSS, digest, parameter),
        )
    return (SigningStep(known.ECDSA, digest), SigningStep(known[f"ECDSA_{short}"], whole))


def ecdsa_as_der(value: bytes, size: int, token: str) -> bytes:
    """Return an ECDSA value as a CMS wants it: the DER SEQUENCE of r and s (RFC 5480, appendix A).

    PKCS#11 2.40, 2.3.1 gives both numbers side by side; some tokens give the sequence.

    Args:
        value: What the token returned.
        size: The length of one number in bytes.
        token: How errors call the token.

    Raises:
        CredentialError: It is neither.
    """
    if len(value) == 2 * size:
        return encode_dss_signature(int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big"))
    try:
        decode_dss_signature(value)
    except ValueError as exc:
        raise CredentialError("token.bad-signature", token=token) from exc
    return value


# DER of DigestInfo up to the digest (RFC 8017, 9.2, note 1).
_DIGEST_INFO_PREFIXES = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}

USED_MECHANISMS = tuple(
    dict.fromkeys(
        step.mechanism
        for mechanism in SignatureMechanism
        for algorithm in DIGESTS
        for step in signing_steps(mechanism, algorithm)
    )
)
