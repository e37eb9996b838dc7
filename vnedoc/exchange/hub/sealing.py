"""Secrets at rest: sealed with a key that is not in the database.

What checks a signature (HMAC) could make one: the hash of a secret (:mod:`vnedoc.exchange.hub.secret_keys`) as well
as the secret. So it is kept encrypted with AES-256-GCM (NIST SP 800-38D), bound to the system it belongs to: a copy
of the database alone gives nobody anything, and a sealed value moved to another system does not open. Nothing stands
beside it in plain: whoever has a copy of the database could try words against it.

The key is 32 random bytes: in the variable ``VNEDOC_HUB_KEY``, or in a file that only its owner can read. While it is
changed there are two: all of them open, and one seals. Which one that is, is said in the database
(:mod:`vnedoc.exchange.stores.hub_keys`) by whoever seals first; with the first of its keys.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
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
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "KEY_FILE_NAME",
    "KEY_VARIABLE",
    "HubKey",
    "add_key",
    "keep_only",
    "load_key",
    "locked_folder",
    "make_key_file",
    "new_key",
]

KEY_FILE_NAME = "hub.key"
KEY_VARIABLE = "VNEDOC_HUB_KEY"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_MAX_FILE_BYTES = 1024
_PREFIX = ".hub-key-"


class HubKey:
    """The key that seals what a hub keeps secret, and others that open it, too.

    Args:
        key: 32 bytes.
        others: Further keys, which only open.
        source: The file that they came from.
    """

    __slots__ = ("_ciphers", "id", "source")

    def __init__(self, key: bytes, *others: bytes, source: Path | None = None) -> None:
        if any(len(item) != _KEY_BYTES for item in (key, *others)):
            raise CredentialError("hub.bad-key", place=KEY_VARIABLE)
        self._ciphers = {_id_of(item): AESGCM(item) for item in (key, *others)}
        self.id = next(iter(self._ciphers))
        """Tells the key that seals from others without telling it."""
        self.source = source
        """The file that it came from; ``None``: there is none that could be read again."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, in the order in which they were given."""
        return tuple(self._ciphers)

    def sealing_with(self, key_id: str) -> HubKey | None:
        """Return the same keys with one of them as the one that seals; ``None`` if it is not among them."""
        if key_id not in self._ciphers:
            return None
        other = object.__new__(HubKey)
        other._ciphers, other.id, other.source = self._ciphers, key_id, self.source
        return other

    def seal(self, text: str, *, owner: str) -> str:
        """Return a text sealed for its owner.

        Args:
            text: What is secret.
            owner: Whose it is; it opens for nobody else.
        """
        # Random nonces are safe for 2**32 messages of one key; a hub seals one for each secret.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self.id].encrypt(nonce, _bytes(text), _bytes(owner))
        return base64.b64encode(nonce + sealed).decode("ascii")

    def open(self, sealed: str, *, owner: str) -> str:
        """Return what was sealed.

        Raises:
            CredentialError: It was sealed with another key, for another owner, or was changed.
        """
        try:
            content = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise CredentialError("hub.cannot-unseal", owner=owner) from exc
        for cipher in self._ciphers.values():
            with contextlib.suppress(InvalidTag, ValueError):
                plain = cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], _bytes(owner))
                return plain.decode("utf-8", "surrogatepass")
        raise CredentialError("hub.cannot-unseal", owner=owner)

    def __repr__(self) -> str:
        return f"HubKey(ids={self.ids!r}, id={self.id!r})"


def load_key(path: Path, *, environment: Mapping[str, str] | None = None) -> HubKey | None:
    """Return the key of a hub: from ``VNEDOC_HUB_KEY`` if that is set, or else from a file.

    Args:
        path: The file; a line with 64 hexadecimal digits for each key.
        environment: The variables; ``None`` is those of the process.

    Returns:
        The key; ``None`` if the variable is not set and the file is not there.

    Raises:
        CredentialError: What is there is no key, or others than its owner can read the file.
    """
    text = (os.environ if environment is None else environment).get(KEY_VARIABLE)
    if text:
        return HubKey(*_parse(text, place=KEY_VARIABLE))
    keys = _read(path)
    return None if keys is None else HubKey(*keys, source=path)


def _read(path: Path) -> list[bytes] | None:
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
    with _as_unwritable(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _written(path, [new_key()]) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            else:
                _sync_folder(path.parent)
    return _loaded(path)


def new_key() -> bytes:
    """Return a key that nobody has yet."""
    return secrets.token_bytes(_KEY_BYTES)


def add_key(path: Path, key: bytes) -> HubKey:
    """Put a key behind those of a file; return all of them.

    Raises:
        CredentialError: The file cannot be read or written.
    """
    _replace(path, [*_known(path), key])
    return _loaded(path)


def keep_only(path: Path, key_id: str) -> HubKey:
    """Take all keys but one out of a file, and return that.

    Raises:
        CredentialError: The file cannot be read or written, or does not hold the key.
    """
    keys = [key for key in _known(path) if _id_of(key) == key_id]
    if not keys:
        raise CredentialError("hub.missing-key", path=path)
    _replace(path, keys)
    return _loaded(path)


@contextlib.contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Let nobody else on this machine change the key file while the block lasts.

    Raises:
        CredentialError: The folder of the file cannot be opened.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    with _as_unwritable(path):
        handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _known(path: Path) -> list[bytes]:
    keys = _read(path)
    if keys is None:
        raise CredentialError("hub.missing-key", path=path)
    return keys


def _loaded(path: Path) -> HubKey:
    return HubKey(*_known(path), source=path)


def _replace(path: Path, keys: Sequence[bytes]) -> None:
    with _as_unwritable(path), _written(path, keys) as temporary:
        before = path.stat()
        if os.name == "posix" and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            # An administrator may change it whose hub runs under an account of its own.
            os.chown(temporary, before.st_uid, before.st_gid)
        temporary.replace(path)
        _sync_folder(path.parent)
        # Who was killed here before left keys behind. Nobody else writes now, see locked_folder().
        for left in path.parent.glob(f"{_PREFIX}*"):
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def _written(path: Path, keys: Sequence[bytes]) -> Iterator[Path]:
    """Write keys to a file beside another one, for its owner only; whatever still has its name at the end goes."""
    handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(b"".join(key.hex().encode("ascii") + b"\n" for key in keys))
            stream.flush()
            # A secret sealed with a key that a power cut takes away is lost.
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _as_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise CredentialError("hub.unwritable-key", path=path, reason=exc.strerror) from exc


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _parse(text: str, *, place: str) -> list[bytes]:
    try:
        keys = [bytes.fromhex(word) for word in text.split()]
    except ValueError as exc:
        raise CredentialError("hub.bad-key", place=place) from exc
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise CredentialError("hub.bad-key", place=place)
    return keys


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"vnedoc hub key id\0" + key).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
