"""A test PKI in a folder: what ``vnedoc pki make-test`` writes and ``vnedoc pki serve`` reads.

Keys are encrypted (PKCS #8, PKCS #12) and readable by their owner only; ``pki.json`` is written last, so that a
folder with it is complete.
"""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from vnedoc._internal.files import read_bytes, write_bytes
from vnedoc.errors import ConfigurationError, CredentialError, InputError, UsageError
from vnedoc.testing._authority import Authority, Identity, PrivateKey

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["StoredPKI", "read", "write"]

_SCHEMA = "vnedoc.test-pki/1"
_INDEX = "pki.json"
_MAX_FILE_BYTES = 16 * 1024 * 1024

_DESCRIPTIONS = {
    "root.pem": "the root: the trust anchor",
    "state-ca.pem": "the authority for state agencies",
    "services-ca.pem": "the authority for services",
    "ca-chain.pem": "all authorities in one file",
    "leader.pem": "the certificate of a person with authority",
    "agency.pem": "the certificate of the agency",
    "other-agency.pem": "the certificate of another agency",
    "tsa.pem": "the certificate of the time-stamping authority",
    "leader.p12": "certificate, key and chain of a person with authority",
    "agency.p12": "certificate, key and chain of the agency",
    "other-agency.p12": "certificate, key and chain of another agency",
    "root-key.pem": "the key of the root",
    "state-ca-key.pem": "the key of the authority for state agencies",
    "services-ca-key.pem": "the key of the authority for services",
    "tsa-key.pem": "the key of the time-stamping authority",
}
_SIGNERS = ("leader", "agency", "other-agency")


@dataclass(frozen=True)
class StoredPKI:
    """What a folder holds."""

    authorities: Mapping[str, Authority]
    """The authorities by role, the root first."""
    identities: Mapping[str, Identity]
    """The identities by role."""
    base_url: str
    """Where the services answer."""


def write(stored: StoredPKI, folder: Path, *, passphrase: str, replace: bool) -> tuple[str, ...]:
    """Write a PKI into a folder and return the names of the files.

    Raises:
        UsageError: One of the files is there and may not be replaced.
        CredentialError: The passphrase is empty.
        InputError: The folder cannot be written to.
    """
    public, private = _contents(stored, passphrase)
    names = (*public, *private, _INDEX)
    there = [name for name in names if (folder / name).exists()]
    if there and not replace:
        raise UsageError("pki.folder-in-use", path=folder, name=there[0])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # While files are replaced, the folder is not one that can be served.
        (folder / _INDEX).unlink(missing_ok=True)
        for name, content in private.items():
            _write_private(folder / name, content)
    except OSError as exc:
        raise InputError("file.cannot-write", path=folder, reason=exc.strerror) from exc
    for name, content in public.items():
        write_bytes(folder / name, content)
    index = json.dumps(_index(stored, (*public, *private)), ensure_ascii=False, indent=2)
    write_bytes(folder / _INDEX, f"{index}\n".encode())
    return names


def read(folder: Path, *, passphrase: str) -> StoredPKI:
    """Read a PKI from a folder.

    Raises:
        ConfigurationError: The folder holds no test PKI, or a damaged one.
        CredentialError: The passphrase is wrong.
    """
    index_path = folder / _INDEX
    if not index_path.is_file():
        raise ConfigurationError("pki.not-a-pki", path=folder)
    try:
        return _read(folder, json.loads(read_bytes(index_path, max_bytes=_MAX_FILE_BYTES)), passphrase)
    except (InputError, UsageError) as exc:
        raise ConfigurationError("pki.damaged", path=folder, reason=exc) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigurationError("pki.damaged", path=folder, reason=f"{type(exc).__name__}: {exc}") from exc


def _contents(stored: StoredPKI, passphrase: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    public: dict[str, bytes] = {}
    private: dict[str, bytes] = {}
    for role, authority in stored.authorities.items():
        public[f"{role}.pem"] = authority.identity.certificate_pem()
        private[f"{role}-key.pem"] = authority.identity.private_key_pem(passphrase)
    public["ca-chain.pem"] = b"".join(public.values())
    for role in _SIGNERS:
        public[f"{role}.pem"] = stored.identities[role].certificate_pem()
        private[f"{role}.p12"] = stored.identities[role].pkcs12(passphrase)
    public["tsa.pem"] = stored.identities["tsa"].certificate_pem()
    private["tsa-key.pem"] = stored.identities["tsa"].private_key_pem(passphrase)
    return public, private


def _index(stored: StoredPKI, names: tuple[str, ...]) -> dict[str, object]:
    base_url = stored.base_url
    return {
        "schema": _SCHEMA,
        "note": "TEST: a throw-away PKI; nothing signed with it has any legal value.",
        "base_url": base_url,
        "port": int(base_url.rpartition(":")[2]),
        "urls": {
            "tsa": f"{base_url}/tsa",
            "ocsp": f"{base_url}/ocsp",
            "crl": [authority.crl_url for authority in stored.authorities.values()],
        },
        "files": {name: _DESCRIPTIONS[name] for name in names},
        "authorities": {
            role: {
                "name": authority.name,
                "issued": [f"{serial:X}" for serial in authority.issued],
                "revoked": [
                    {"serial": f"{entry.serial:X}", "at": entry.at.isoformat(), "reason": entry.reason}
                    for entry in authority.revocations()
                ],
            }
            for role, authority in stored.authorities.items()
        },
    }


def _read(folder: Path, index: Any, passphrase: str) -> StoredPKI:  # JSON can be anything
    if index["schema"] != _SCHEMA:
        raise ValueError("unknown schema")
    base_url = f"http://127.0.0.1:{int(index['port'])}"
    authorities: dict[str, Authority] = {}
    root: x509.Certificate | None = None
    for role in ("root", "state-ca", "services-ca"):
        state = index["authorities"][role]
        certificate = _certificate(folder / f"{role}.pem")
        key = _key(folder / f"{role}-key.pem", passphrase)
        identity = Identity(certificate, key, () if root is None else (root,))
        root = root or certificate
        authorities[role] = Authority(identity, name=state["name"], base_url=base_url)
        authorities[role].adopt(int(serial, 16) for serial in state["issued"])
        for entry in state["revoked"]:
            at = datetime.datetime.fromisoformat(entry["at"])
            authorities[role].revoke(int(entry["serial"], 16), at=at, reason=entry["reason"])
    identities = {role: _signer(folder / f"{role}.p12", passphrase) for role in _SIGNERS}
    services = authorities["services-ca"].identity
    identities["tsa"] = Identity(
        _certificate(folder / "tsa.pem"),
        _key(folder / "tsa-key.pem", passphrase),
        (services.certificate, *services.chain),
    )
    return StoredPKI(authorities, identities, base_url)


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(read_bytes(path, max_bytes=_MAX_FILE_BYTES))


def _key(path: Path, passphrase: str) -> PrivateKey:
    content = read_bytes(path, max_bytes=_MAX_FILE_BYTES)
    try:
        key = serialization.load_pem_private_key(content, passphrase.encode())
    except (ValueError, TypeError) as exc:
        # A wrong passphrase and damage look the same from outside; the first is by far the commoner.
        raise CredentialError("pki.wrong-passphrase", path=path) from exc
    return _fit(key)


def _signer(path: Path, passphrase: str) -> Identity:
    content = read_bytes(path, max_bytes=_MAX_FILE_BYTES)
    try:
        loaded = pkcs12.load_pkcs12(content, passphrase.encode())
    except (ValueError, TypeError) as exc:
        raise CredentialError("pki.wrong-passphrase", path=path) from exc
    if loaded.cert is None:
        raise ValueError(f"{path.name} holds no certificate")
    chain = tuple(extra.certificate for extra in loaded.additional_certs)
    return Identity(loaded.cert.certificate, _fit(loaded.key), chain)


def _fit(key: object) -> PrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("a key is neither RSA nor elliptic-curve")
    return key


def _write_private(path: Path, content: bytes) -> None:
    # mkstemp opens for the owner only; the rename keeps that.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
