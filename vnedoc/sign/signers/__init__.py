"""Keys that can sign: one module a kind, found by the scheme of a URI.

Packages add kinds with an entry point in the group ``vnedoc.signers``: its name is the scheme, its value a function
that is called like :func:`open_signer` with the whole URI. A kind of our own cannot be replaced.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from vnedoc.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["ENTRY_POINT_GROUP", "open_signer", "signer_schemes"]

ENTRY_POINT_GROUP = "vnedoc.signers"
"""The group of entry points by which packages add kinds of keys."""


def open_signer(
    uri: str,
    *,
    secret: SecretCallback,
    mechanism: SignatureMechanism | None = None,
    browser: Callable[[str], object] | None = None,
) -> Signer:
    """Open a signer by its URI.

    Args:
        uri: ``pkcs12:PATH``, ``pkcs11:…`` (RFC 7512), ``csc+https:``, ``smartca+https:``, ``mysign+https:``,
            ``mss+https:``, or what an installed package adds. A secret never stands in it.
        secret: Called with what to ask for when a passphrase or a PIN is needed.
        mechanism: How bytes are signed; ``None`` chooses what government tools use for this kind of key.
        browser: Shows an address to the person, where a service asks in the browser; ``None`` opens it there.

    Raises:
        UsageError: The scheme is unknown, or the URI is malformed.
        CredentialError: The key cannot be opened.
        ConfigurationError: What the kind of key needs is missing or does not work.
        MissingExtraError: An optional part of vnedoc is not installed.
        InputError: A file cannot be read.
    """
    scheme, separator, _ = uri.partition(":")
    scheme = scheme.lower()
    if separator and scheme in _OPENERS:
        module, _, name = _OPENERS[scheme].partition(":")
        opener = getattr(importlib.import_module(module), name)
    elif separator and scheme in _added():
        opener = _load_added(scheme)
    else:
        # Only the scheme is repeated: what follows may be a secret in the wrong place.
        shown = f"{scheme}:…" if separator else uri
        raise UsageError(
            "signer.unknown-scheme", uri=shown, known=", ".join(f"{known}:" for known in signer_schemes())
        )
    further: dict[str, object] = {}
    if browser is not None and scheme in _IN_BROWSER:
        from vnedoc.sign.signers._remote_address import RemoteOptions

        further["options"] = RemoteOptions(browser=browser)
    signer: Signer = opener(uri, secret=secret, mechanism=mechanism, **further)
    return signer


def signer_schemes() -> tuple[str, ...]:
    """Return the schemes that :func:`open_signer` knows, our own first."""
    return tuple(dict.fromkeys([*_OPENERS, *sorted(_added())]))


def open_pkcs12(uri: str, *, secret: SecretCallback, mechanism: SignatureMechanism | None = None) -> Signer:
    """Open a key file: ``pkcs12:PATH``, percent-encoded where needed.

    Raises:
        CredentialError: The passphrase is wrong, or the file holds no key.
        InputError: The file cannot be read.
    """
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

    path = Path(unquote(uri.partition(":")[2].removeprefix("//")))
    return PKCS12Signer.from_file(path, secret=secret, mechanism=mechanism)


def open_pkcs11(uri: str, *, secret: SecretCallback, mechanism: SignatureMechanism | None = None) -> Signer:
    """Open a key on a token: ``pkcs11:…``.

    Raises:
        MissingExtraError: The extra ``pkcs11`` is not installed.
        UsageError: The URI is malformed or carries a PIN.
        ConfigurationError: The module is missing or unusable.
        CredentialError: No such token or certificate, several of them, or the PIN is not accepted.
    """
    from vnedoc.sign.signers.pkcs11 import PKCS11Signer

    return PKCS11Signer.from_uri(uri, secret=secret, mechanism=mechanism)


# Where each kind is opened; its module is imported when it is asked for. Plain HTTP is for this machine only, which
# the services see to.
_OPENERS = {
    "pkcs12": "vnedoc.sign.signers:open_pkcs12",
    "pkcs11": "vnedoc.sign.signers:open_pkcs11",
    "csc+https": "vnedoc.sign.signers.csc:open_csc",
    "csc+http": "vnedoc.sign.signers.csc:open_csc",
    "smartca+https": "vnedoc.sign.signers.smartca:open_smartca",
    "smartca+http": "vnedoc.sign.signers.smartca:open_smartca",
    "mysign+https": "vnedoc.sign.signers.mysign:open_mysign",
    "mysign+http": "vnedoc.sign.signers.mysign:open_mysign",
    "mss+https": "vnedoc.sign.signers.mss:open_mss",
    "mss+http": "vnedoc.sign.signers.mss:open_mss",
}
_IN_BROWSER = frozenset({"csc+https", "csc+http"})


def _added() -> dict[str, metadata.EntryPoint]:
    return {point.name.lower(): point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _load_added(scheme: str) -> Callable[..., Signer]:
    point = _added()[scheme]
    try:
        opener = point.load()
    except Exception as exc:
        raise ConfigurationError(
            "signer.plugin-failed", scheme=scheme, place=point.value, reason=type(exc).__name__
        ) from exc
    if not callable(opener):
        raise ConfigurationError(
            "signer.plugin-failed", scheme=scheme, place=point.value, reason="not callable"
        )
    added: Callable[..., Signer] = opener
    return added
