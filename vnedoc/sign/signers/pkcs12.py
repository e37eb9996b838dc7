"""Keys in PKCS#12 files (RFC 7292): ``pkcs12:PATH``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from vnedoc._internal import files
from vnedoc.errors import CredentialError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers._chains import order_chain
from vnedoc.sign.signers.base import DIGESTS, Signer

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["PKCS12Signer"]

MAX_FILE_BYTES = 1024 * 1024


class PKCS12Signer(Signer):
    """A key from a PKCS#12 file. The file is decrypted and the key parsed once, when the signer is made.

    Args:
        content: The bytes of the file.
        passphrase: Its passphrase; ``None`` for a file without one.
        mechanism: See :class:`~vnedoc.sign.signers.base.Signer`.
        name: How errors call the file.

    Raises:
        CredentialError: The passphrase is wrong, the file is no PKCS#12, or it holds no key with a certificate.
    """

    def __init__(
        self,
        content: bytes,
        *,
        passphrase: str | None,
        mechanism: SignatureMechanism | None = None,
        name: str = "PKCS#12",
    ) -> None:
        secret = None if passphrase is None else passphrase.encode("utf-8")
        try:
            store = pkcs12.load_pkcs12(content, secret)
        except ValueError as exc:
            # OpenSSL reports both cases as a ValueError; a file that is one begins with a DER sequence.
            code = "signer.wrong-passphrase" if _looks_like_pkcs12(content) else "signer.not-pkcs12"
            raise CredentialError(code, path=name) from exc
        key, leaf = store.key, store.cert
        if key is None or leaf is None:
            raise CredentialError("signer.no-key", path=name)
        certificate = leaf.certificate
        others = [entry.certificate for entry in store.additional_certs]
        super().__init__(certificate, order_chain(certificate, others), mechanism=mechanism)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise CredentialError("signer.unsupported-key", subject=certificate.subject.rfc4514_string())
        self._key = key

    @classmethod
    def from_file(
        cls, path: Path, *, secret: SecretCallback, mechanism: SignatureMechanism | None = None
    ) -> Self:
        """Open a file; the passphrase is asked for once.

        Raises:
            InputError: The file cannot be read.
            CredentialError: See the class.
        """
        content = files.read_bytes(path, max_bytes=MAX_FILE_BYTES)
        return cls(content, passphrase=secret(str(path)), mechanism=mechanism, name=str(path))

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        digest = DIGESTS[digest_algorithm]()
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(content, ec.ECDSA(digest))
        if self.mechanism is SignatureMechanism.RSA_PSS:
            return self._key.sign(content, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return self._key.sign(content, padding.PKCS1v15(), digest)


def _looks_like_pkcs12(content: bytes) -> bool:
    # PFX ::= SEQUENCE { version INTEGER {v3(3)}, ... } (RFC 7292, section 4); the length octets vary.
    return content[:1] == b"\x30" and b"\x02\x01\x03" in content[:8]
