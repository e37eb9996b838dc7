"""Keys that can sign: one module a kind, found by the scheme of a URI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["open_signer"]


def open_signer(uri: str, *, secret: SecretCallback, mechanism: SignatureMechanism | None = None) -> Signer:
    """Open a signer by its URI.

    Args:
        uri: ``pkcs12:PATH``. A secret never stands in it.
        secret: Called with what to ask for when a passphrase is needed.
        mechanism: How bytes are signed; ``None`` chooses what government tools use for this kind of key.

    Raises:
        UsageError: The scheme is unknown.
        CredentialError: The key cannot be opened.
        InputError: The file cannot be read.
    """
    scheme, separator, rest = uri.partition(":")
    if not separator or scheme.lower() not in _OPENERS:
        raise UsageError("signer.unknown-scheme", uri=uri, known=", ".join(f"{name}:" for name in _OPENERS))
    return _OPENERS[scheme.lower()](rest, secret, mechanism)


def _open_pkcs12(rest: str, secret: SecretCallback, mechanism: SignatureMechanism | None) -> Signer:
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

    path = Path(unquote(rest.removeprefix("//")))
    return PKCS12Signer.from_file(path, secret=secret, mechanism=mechanism)


_OPENERS = {"pkcs12": _open_pkcs12}
