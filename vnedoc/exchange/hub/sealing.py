"""Secrets at rest: sealed with a key that is not in the database.

A secret that signs requests (HMAC) cannot be hashed: who checks a signature needs the secret itself. So it is kept
encrypted with AES-256-GCM (NIST SP 800-38D), bound to the system it belongs to: a copy of the database alone gives
nobody a secret, and a sealed value moved to another system does not open. There is no hash beside it: one would
protect nothing more, and let whoever has a copy of the database try words against it.

The key is 32 random bytes: in the variable ``VNEDOC_HUB_KEY``, or in a file that only its owner can read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vnedoc.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KEY_FILE_NAME", "KEY_VARIABLE", "HubKey", "load_key", "make_key_file"]

KEY_FILE_NAME = "hub.key"
KEY_VARIABLE = "VNEDOC_HUB_KEY"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_MAX_FILE_BYTES = 1024


class HubKey:
    """The key that seals what a hub keeps secret.

    Args:
        key: 32 bytes.
    """

    __slots__ = ("_cipher", "id")

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise CredentialError("hub.bad-key", place=KEY_VARIABLE)
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"vnedoc hub key id\0" + key).hexdigest()[:16]
        """Tells keys apart without telling them."""

    def seal(self, text: str, *, owner: str) -> str:
        """Return a text sealed for its owner.

        Args:
            text: What is secret.
            owner: Whose it is; it opens for nobody else.
        """
        # Random nonces are safe for 2**32 messages of one key; a hub seals one for each secret.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, _bytes(text), _bytes(owner))).decode(
            "ascii"
        )

    def open(self, sealed: str, *, owner: str) -> str:
        """Return what was sealed.

        Raises:
            CredentialError: It was sealed with another key, for another owner, or was changed.
        """
        try:
            content = base64.b64decode(sealed, validate=True)
            plain = self._cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], _bytes(owner))
        except (InvalidTag, binascii.Error, ValueError) as exc:
            raise CredentialError("hub.cannot-unseal", owner=owner) from exc
        return plain.decode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return f"HubKey(id={self.id!r})"


def load_key(path: Path, *, environment: Mapping[str, str] | None = None) -> HubKey | None:
    """Return the key of a hub: from ``VNEDOC_HUB_KEY`` if that is set, or else from a file.

    Args:
        path: The file; one line with 64 hexadecimal digits.
        environment: The variables; ``None`` is those of the process.

    Returns:
        The key; ``None`` if the variable is not set and the file is not there.

    Raises:
        CredentialError: What is there is no key, or others than its owner can read the file.
    """
    text = (os.environ if environment is None else environment).get(KEY_VARIABLE)
    if text:
        return _parse(text, place=KEY_VARIABLE)
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise CredentialError("hub.unreadable-key", path=path, reason=exc.strerror) from exc
    if os.name == "posix" and mode & 0o077:
        raise CredentialError("hub.open-key", path=path)
    return _parse(content.decode("ascii", "replace"), place=str(path))


def make_key_file(path: Path) -> HubKey:
    """Make a key and keep it in a new file for its owner only; return the key that is there in the end.

    Of several processes that begin at once all get the same key: a file that is there is never replaced.

    Raises:
        CredentialError: The file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".hub-key-", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_hex(_KEY_BYTES).encode("ascii") + b"\n")
                stream.flush()
                # A secret sealed with a key that a power cut takes away is lost.
                os.fsync(stream.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            else:
                _sync_folder(path.parent)
        finally:
            temporary.unlink()
    except OSError as exc:
        raise CredentialError("hub.unwritable-key", path=path, reason=exc.strerror) from exc
    key = load_key(path, environment={})
    assert key is not None
    return key


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _parse(text: str, *, place: str) -> HubKey:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as exc:
        raise CredentialError("hub.bad-key", place=place) from exc
    if len(key) != _KEY_BYTES:
        raise CredentialError("hub.bad-key", place=place)
    return HubKey(key)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
