"""What a signer is: a certificate, its chain, and the means to sign bytes.

A signer holds its key, or a session with whatever holds it, for as long as it is open; the key is prepared
once and used for any number of signatures.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from vnedoc import messages
from vnedoc.errors import CredentialError, RemoteError
from vnedoc.sign.models import SignatureMechanism

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from cryptography import x509

__all__ = ["DIGESTS", "SecretCallback", "SecretPrompt", "Signer", "verify_raw_signature"]

SecretCallback: TypeAlias = Callable[[str], str | None]
"""Called with a prompt that says which secret is wanted; returns it, or ``None`` if there is none.

A signer that can want more than one secret asks with a :class:`SecretPrompt`.
"""


class SecretPrompt(messages.Sentence):
    """What a secret is asked for: an English sentence that knows which message it came from.

    A program that holds several secrets tells by its ``code`` which one is wanted; it never changes its meaning. Its
    ``values`` are never secrets.
    """

    __slots__ = ()


DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
"""The digest algorithms that are used for signing (Circular 15/2025/TT-BKHCN, Annex I)."""


class Signer(abc.ABC):
    """A key that can sign, with its certificate.

    Implementers write :meth:`_sign`; users call :meth:`sign`, which checks what came back with the public key
    of the certificate before anything is built on it.

    Args:
        certificate: The signing certificate.
        chain: The certificates above it that are known, nearest issuer first; may be empty.
        mechanism: How bytes are signed; ``None`` chooses what government tools use for this kind of key.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        chain: Sequence[x509.Certificate] = (),
        *,
        mechanism: SignatureMechanism | None = None,
    ) -> None:
        self._certificate = certificate
        self._chain = tuple(chain)
        self._mechanism = _fitting_mechanism(certificate, mechanism)

    @property
    def certificate(self) -> x509.Certificate:
        """The signing certificate."""
        return self._certificate

    @property
    def certificate_chain(self) -> tuple[x509.Certificate, ...]:
        """The signing certificate, then the certificates above it that are known."""
        return (self._certificate, *self._chain)

    @property
    def mechanism(self) -> SignatureMechanism:
        """How bytes are signed."""
        return self._mechanism

    @property
    def max_signature_bytes(self) -> int:
        """An upper bound for the size of one signature value."""
        key = self._certificate.public_key()
        bits = key.key_size if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else 0
        # An ECDSA value is two integers of the curve's size in a DER sequence.
        return bits // 8 if isinstance(key, rsa.RSAPublicKey) else 2 * (bits // 8 + 1) + 16

    @property
    def batch_size(self) -> int:
        """How many signatures one authorisation covers: more than 1 where a person agrees to several at once."""
        return 1

    def sign(self, content: bytes, *, digest_algorithm: str = "sha256") -> bytes:
        """Sign bytes and return the signature value.

        Args:
            content: What is signed; it is hashed by the signer.
            digest_algorithm: One of :data:`DIGESTS`.

        Raises:
            CredentialError: The key cannot sign, or what it returned does not match the certificate.
            RemoteError: A remote service did not answer.
            RefusedError: A remote service, or the person who holds the key, said no.
        """
        signature = self._sign(content, digest_algorithm)
        self._check(signature, content, digest_algorithm)
        return signature

    def sign_many(self, contents: Sequence[bytes], *, digest_algorithm: str = "sha256") -> list[bytes]:
        """Sign several byte strings and return their signature values, in the same order.

        A signer that asks a person to agree asks once for as many as its service allows. If one fails, all fail.

        Args:
            contents: What is signed; each is hashed by the signer.
            digest_algorithm: One of :data:`DIGESTS`.

        Raises:
            CredentialError: The key cannot sign, or what it returned does not match the certificate.
            RemoteError: A remote service did not answer, or not with one signature for each content.
            RefusedError: A remote service, or the person who holds the key, said no.
        """
        signatures = self._sign_many(contents, digest_algorithm)
        if len(signatures) != len(contents):
            raise RemoteError("remote-signing.wrong-count", expected=len(contents), actual=len(signatures))
        for signature, content in zip(signatures, contents, strict=True):
            self._check(signature, content, digest_algorithm)
        return signatures

    @abc.abstractmethod
    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        """Return the signature value over the bytes, made by :attr:`mechanism`."""

    def _sign_many(self, contents: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        """Return the signature values; signers that can authorise several at once do better."""
        return [self._sign(content, digest_algorithm) for content in contents]

    def _check(self, signature: bytes, content: bytes, digest_algorithm: str) -> None:
        """Refuse a signature that was not made with the key of the certificate."""
        if not verify_raw_signature(
            self._certificate,
            signature,
            content,
            digest_algorithm=digest_algorithm,
            mechanism=self._mechanism,
        ):
            raise CredentialError("signer.key-mismatch", subject=self._certificate.subject.rfc4514_string())

    def close(self) -> None:  # noqa: B027 - a key in memory has nothing to let go of
        """Let go of the key or of the session that holds it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def verify_raw_signature(
    certificate: x509.Certificate,
    signature: bytes,
    content: bytes,
    *,
    digest_algorithm: str,
    mechanism: SignatureMechanism,
) -> bool:
    """Tell whether a signature value over bytes was made with the key of a certificate."""
    key = certificate.public_key()
    digest = DIGESTS[digest_algorithm]()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            scheme = (
                padding.PKCS1v15()
                if mechanism is SignatureMechanism.RSA_PKCS1_V15
                else padding.PSS(padding.MGF1(digest), digest.digest_size)
            )
            key.verify(signature, content, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _fitting_mechanism(
    certificate: x509.Certificate, wanted: SignatureMechanism | None
) -> SignatureMechanism:
    key = certificate.public_key()
    possible: tuple[SignatureMechanism, ...]
    if isinstance(key, rsa.RSAPublicKey):
        possible = (SignatureMechanism.RSA_PKCS1_V15, SignatureMechanism.RSA_PSS)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        possible = (SignatureMechanism.ECDSA,)
    else:
        raise CredentialError("signer.unsupported-key", subject=certificate.subject.rfc4514_string())
    if wanted is None:
        return possible[0]
    if wanted not in possible:
        raise CredentialError("signer.unfit-mechanism", mechanism=wanted.value)
    return wanted
