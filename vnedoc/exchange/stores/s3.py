"""Payloads in an object store that speaks S3, with a bounded cache of files on this machine.

An upload appears as a whole or not at all, and small ones only if nothing is there yet (``If-None-Match: *``): the
name is the content, so who comes second has nothing to do. Keys are never in the address: they come from where the
tools of AWS look for them, ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` or the machine's own role.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import ipaddress
import os
import secrets
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal.version import VERSION
from vnedoc.errors import ConfigurationError, CredentialError, InputError, MissingExtraError, RemoteError
from vnedoc.exchange.stores.payloads import (
    CHUNK_BYTES,
    ListedPayload,
    PayloadStore,
    StoredPayload,
    check_digest,
)

try:
    import obstore
    import obstore.exceptions
    import obstore.store
except ModuleNotFoundError as exc:
    raise MissingExtraError("store.no-s3") from exc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = ["S3Payloads"]

DEFAULT_CACHE_BYTES = 2 * 1024**3
"""How much of the local disk copies of payloads may take."""
# What is larger is sent in parts; parts must be at least 5 MiB.
_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
_OPTIONS = frozenset({"endpoint", "region", "cache", "cache_mib", "ca_file"})


class S3Payloads(PayloadStore):
    """A prefix of a bucket.

    Args:
        bucket: The bucket, as obstore opens it, at the prefix.
        cache: A folder of this machine, for files on their way and for copies; made if it is missing.
        max_cache_bytes: How much copies may take; those not used for longest go first.
    """

    def __init__(
        self, bucket: obstore.store.S3Store, *, cache: Path, max_cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> None:
        self._bucket = bucket
        self._cache = cache
        self._incoming = cache / "incoming"
        self._max_cache_bytes = max_cache_bytes
        self._added_bytes: int | None = None

    @classmethod
    def from_address(cls, address: str) -> S3Payloads:
        """Open the place that an address names.

        Args:
            address: ``s3://BUCKET/PREFIX``, and as a query: ``endpoint`` (``https://…``; plain HTTP only on this
                machine), ``region``, ``ca_file`` (authorities that the endpoint's certificate is checked against,
                instead of the system's), ``cache`` (a folder) and ``cache_mib``.

        Raises:
            ConfigurationError: The address is wrong.
        """
        parts = urllib.parse.urlsplit(address)
        options = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if not parts.hostname or parts.username or parts.fragment or not options.keys() <= _OPTIONS:
            raise ConfigurationError("store.s3-address")
        endpoint = options.get("endpoint")
        plain = endpoint is not None and _is_plain_loopback(endpoint)
        if endpoint is not None and not plain and not endpoint.startswith("https://"):
            raise ConfigurationError("store.s3-address")
        prefix = parts.path.strip("/")
        try:
            config: obstore.store.S3Config = {"region": options.get("region", "us-east-1")}
            if endpoint is not None:
                config["endpoint"] = endpoint
            client: obstore.store.ClientConfig = {
                "allow_http": plain,
                "connect_timeout": "10s",
                # From one piece to the next, not for a whole payload.
                "read_timeout": "60s",
                "timeout": "1h",
                "user_agent": f"vnedoc/{VERSION}",
            }
            if "ca_file" in options:
                client["root_certificate"] = Path(options["ca_file"]).read_bytes()
            bucket = obstore.store.S3Store(
                parts.netloc,
                prefix=prefix or None,
                config=config,
                client_options=client,
                retry_config={"max_retries": 4, "retry_timeout": datetime.timedelta(seconds=60)},
            )
            max_cache_bytes = int(options.get("cache_mib", DEFAULT_CACHE_BYTES // 1024**2)) * 1024**2
        except (OSError, ValueError, obstore.exceptions.BaseError) as exc:
            raise ConfigurationError("store.s3-address") from exc
        cache = Path(options["cache"]) if "cache" in options else _default_cache(address)
        return cls(bucket, cache=cache, max_cache_bytes=max_cache_bytes)

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Name a file in the cache: what is written there is uploaded from there."""
        with _as_input_error(self._cache):
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._incoming / secrets.token_hex(16)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def adopt(self, path: Path, *, sha256: str | None = None) -> StoredPayload:
        """Take a file of :meth:`temporary` into the store, durably; a copy stays in the cache."""
        with _as_input_error(path), path.open("rb") as stream:
            digest = sha256 or hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.seek(0, os.SEEK_END)
        name = _name(digest)
        with _as_no_bucket(), _translated(digest):
            if size <= _PART_BYTES:
                self._create(name, path, size)
            elif self.size(digest) != size:
                # In parts there is no condition; the same content twice does no harm.
                obstore.put(self._bucket, name, path, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
        with _as_input_error(self._cache):
            self._cached(digest, path)
        self._trim(added=size)
        return StoredPayload(digest, size)

    def _create(self, name: str, path: Path, size: int) -> None:
        try:
            obstore.put(self._bucket, name, path.read_bytes(), mode="create")
        except obstore.exceptions.AlreadyExistsError:
            there = None
            with contextlib.suppress(FileNotFoundError):
                there = obstore.head(self._bucket, name)["size"]
            if there != size:
                # Damaged, or removed since: the same content under the same name mends it.
                obstore.put(self._bucket, name, path.read_bytes())

    @contextlib.contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        """Give a copy in the cache, which is fetched if it is not there, and checked."""
        path = self._cache_path(sha256)
        with self.temporary() as own:
            # Under a name of our own nobody takes it away while it is used.
            try:
                os.link(path, own)
            except FileNotFoundError:
                self._fetch(sha256, own)
                with _as_input_error(self._cache):
                    self._cached(sha256, own)
                self._trim(added=own.stat().st_size)
            except OSError as exc:
                raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
            else:
                with contextlib.suppress(OSError):
                    os.utime(path)
            yield own

    def _fetch(self, sha256: str, output: Path) -> None:
        with self.open(sha256) as stream, _as_input_error(output), output.open("xb") as file:
            while chunk := stream.read(CHUNK_BYTES):
                file.write(chunk)

    def open(self, sha256: str) -> BinaryIO:
        """Open a payload for reading once; at the end its content is checked against its name."""
        with _translated(sha256):
            answer = obstore.get(self._bucket, _name(sha256))
            chunks = answer.stream(min_chunk_size=CHUNK_BYTES)
        return io.BufferedReader(_CheckedStream(chunks, sha256), CHUNK_BYTES)

    def size(self, sha256: str) -> int | None:
        """Return the size of a payload in bytes, or ``None`` if it is not there."""
        try:
            with _translated(sha256):
                return int(obstore.head(self._bucket, _name(sha256))["size"])
        except InputError:
            return None

    def listed(self) -> Iterator[ListedPayload]:
        """List all payloads, in no order."""
        with _translated(""):
            for batch in obstore.list(self._bucket, "sha256/"):
                for item in batch:
                    digest = item["path"].rpartition("/")[2]
                    with contextlib.suppress(ValueError):
                        yield ListedPayload(check_digest(digest), item["size"], item["last_modified"])

    def remove(self, sha256: str) -> None:
        """Remove a payload and its copy here; one that is not there is removed already."""
        with contextlib.suppress(FileNotFoundError), _translated(sha256, keep_missing=True):
            obstore.delete(self._bucket, _name(sha256))
        with contextlib.suppress(OSError):
            self._cache_path(sha256).unlink(missing_ok=True)

    def _cache_path(self, sha256: str) -> Path:
        return self._cache / "sha256" / check_digest(sha256)[:2] / sha256

    def _cached(self, sha256: str, path: Path) -> None:
        """Keep a file as a copy, too; another process may do the same."""
        final = self._cache_path(sha256)
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.chmod(0o600)
            os.link(path, final)

    def _trim(self, *, added: int) -> None:
        """Remove the copies that were not used for longest, until they take no more than they may.

        Counting them takes a while, so it is not done for every small one.
        """
        if self._added_bytes is not None and self._added_bytes + added <= self._max_cache_bytes // 20:
            self._added_bytes += added
            return
        self._added_bytes = 0
        copies = []
        for path in (self._cache / "sha256").glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                copies.append((about.st_mtime, about.st_size, path))
        excess = sum(size for _, size, _ in copies) - self._max_cache_bytes
        for _, size, path in sorted(copies):
            if excess <= 0:
                return
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            excess -= size


class _CheckedStream(io.RawIOBase):
    """A payload that is read from its beginning to its end, and checked there."""

    def __init__(self, chunks: obstore.BytesStream, sha256: str) -> None:
        super().__init__()
        self._chunks = chunks
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # what BufferedReader gives
        """Fill a buffer with what comes next."""
        if not self._rest:
            with _translated(self._sha256):
                chunk = next(self._chunks, None)
            if chunk is None:
                if self._digest.hexdigest() != self._sha256:
                    raise InputError("store.payload-damaged", sha256=self._sha256)
                return 0
            self._digest.update(chunk)
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _name(sha256: str) -> str:
    return f"sha256/{check_digest(sha256)[:2]}/{sha256}"


def _default_cache(address: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "vnedoc" / ("payloads-" + hashlib.sha256(address.encode()).hexdigest()[:16])


def _is_plain_loopback(endpoint: str) -> bool:
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


@contextlib.contextmanager
def _translated(sha256: str, *, keep_missing: bool = False) -> Iterator[None]:
    """Translate the errors of obstore."""
    try:
        yield
    except FileNotFoundError as exc:
        if keep_missing:
            raise
        raise InputError("store.payload-missing", sha256=sha256) from exc
    except (
        obstore.exceptions.PermissionDeniedError,
        obstore.exceptions.UnauthenticatedError,
    ) as exc:
        raise CredentialError("store.s3-credentials") from exc
    except (obstore.exceptions.BaseError, OSError) as exc:
        said = str(exc)
        if "NoSuchBucket" in said:
            raise ConfigurationError("store.s3-no-bucket") from exc
        # What follows the first line, or begins there as XML, is the answer of the service word for word.
        first = said.strip().partition("\n")[0].partition("<?x")[0].rstrip(": ")
        raise RemoteError("store.s3-trouble", reason=first[:200] or type(exc).__name__) from exc


@contextlib.contextmanager
def _as_no_bucket() -> Iterator[None]:
    """Read “not there” as said of the bucket: what is being written cannot be missing."""
    try:
        yield
    except InputError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            raise ConfigurationError("store.s3-no-bucket") from exc
        raise


@contextlib.contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InputError("file.cannot-write", path=path, reason=exc.strerror) from exc
