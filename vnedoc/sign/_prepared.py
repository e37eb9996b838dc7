"""A document that waits for its signature, and the file it waits in.

The file is JSON; its schema is ``vnedoc.prepared/1``. It holds no secret and not the source, but what will be
appended to it. Nothing in it is believed: :mod:`vnedoc.sign.external` says how each part is checked.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import clock, files
from vnedoc._internal.version import VERSION
from vnedoc.errors import InputError, VerificationError, VnedocError
from vnedoc.sign.models import Role, SignatureLevel, SignatureMechanism
from vnedoc.sign.signers.base import DIGESTS

if TYPE_CHECKING:
    import datetime

    from vnedoc.sign.report import Finding

__all__ = ["MAX_INCREMENT_BYTES", "PreparedSignature", "load_prepared", "save_prepared"]

SCHEMA = "vnedoc.prepared/1"
MAX_STATE_BYTES = 64 * 1024 * 1024
MAX_INCREMENT_BYTES = 64 * 1024 * 1024
MAX_CHAIN = 10
# What a state that somebody meddled with makes its parsers raise.
_MALFORMED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, VnedocError, zlib.error,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedSignature:
    """A document that waits for its signature."""

    source: Path
    """Where the source was."""
    source_size: int
    """Its size."""
    source_sha256: str
    """Its SHA-256, in hexadecimal."""
    increment: bytes = dataclasses.field(repr=False)
    """What signing appends to it, with zeros where the signature goes."""
    gap: tuple[int, int]
    """Where the signature goes in the signed file: the offsets of ``<`` and behind ``>``."""
    certificate_chain: tuple[x509.Certificate, ...]
    """The signing certificate, then those above it that are known."""
    mechanism: SignatureMechanism
    """How the digest must be signed."""
    digest_algorithm: str
    """What the digest was made with."""
    role: Role
    """The role of the signature."""
    level: SignatureLevel
    """The level that completing reaches."""
    legacy: bool
    """Whether it is an ``adbe.pkcs7.detached`` signature."""
    signing_time: datetime.datetime
    """The claimed time, in Vietnam time."""
    created: datetime.datetime
    """When it was prepared."""
    attributes: bytes = dataclasses.field(repr=False)
    """What is signed: the DER of the signed attributes, for a key that hashes by itself."""
    warnings: tuple[Finding, ...] = ()
    """What the signer must be told; not kept in the state file."""

    @property
    def digest(self) -> bytes:
        """What is signed by a key that takes a digest."""
        return hashlib.new(self.digest_algorithm, self.attributes).digest()


def save_prepared(prepared: PreparedSignature, path: Path) -> None:
    """Write a state file. It holds no secret, but what will be appended to the document, pictures included.

    Raises:
        InputError: It cannot be written.
    """
    state = {
        "schema": SCHEMA,
        "producer": f"vnedoc {VERSION}",
        "created": prepared.created.isoformat(),
        "source": {
            "path": str(prepared.source),
            "size": prepared.source_size,
            "sha256": prepared.source_sha256,
        },
        "role": prepared.role.value,
        "level": prepared.level.value,
        "legacy": prepared.legacy,
        "signing_time": prepared.signing_time.isoformat(),
        "mechanism": prepared.mechanism.value,
        "digest_algorithm": prepared.digest_algorithm,
        "attributes": _text(prepared.attributes),
        "digest": prepared.digest.hex(),
        "certificate_chain": [
            _text(certificate.public_bytes(Encoding.DER)) for certificate in prepared.certificate_chain
        ],
        "gap": list(prepared.gap),
        "increment": _text(zlib.compress(prepared.increment, 9)),
    }
    files.write_bytes(path, (json.dumps(state, ensure_ascii=False, indent=1) + "\n").encode())


def load_prepared(path: Path) -> PreparedSignature:
    """Read a state file.

    Raises:
        InputError: It cannot be read or is not a state file of a known kind.
        VerificationError: What is to be signed does not have the digest that was given out.
    """
    content = files.read_bytes(path, max_bytes=MAX_STATE_BYTES)
    try:
        state = json.loads(content)
        known = isinstance(state, dict) and state.get("schema") == SCHEMA
    except (ValueError, RecursionError) as exc:
        raise InputError("external.not-a-state", path=path) from exc
    if not known:
        raise InputError("external.not-a-state", path=path)
    try:
        prepared, digest = _parse(state), bytes.fromhex(state["digest"])
    except _MALFORMED as exc:
        raise InputError("external.not-a-state", path=path) from exc
    if prepared.digest != digest:
        raise VerificationError("external.tampered", path=path)
    return prepared


def _parse(state: dict[str, Any]) -> PreparedSignature:  # JSON
    chain = tuple(
        x509.load_der_x509_certificate(_bytes(item)) for item in state["certificate_chain"][:MAX_CHAIN]
    )
    decompressor = zlib.decompressobj()
    increment = decompressor.decompress(_bytes(state["increment"]), MAX_INCREMENT_BYTES)
    start, end = state["gap"]
    size, legacy = state["source"]["size"], state["legacy"]
    digest_algorithm, sha256 = state["digest_algorithm"], state["source"]["sha256"]
    right_types = all(type(number) is int for number in (start, end, size)) and type(legacy) is bool
    if not (right_types and decompressor.eof and chain and isinstance(sha256, str)):
        raise ValueError("not as it was written")
    if digest_algorithm not in DIGESTS:
        raise ValueError("an algorithm that this schema does not have")
    return PreparedSignature(
        source=Path(state["source"]["path"]),
        source_size=size,
        source_sha256=sha256,
        increment=increment,
        gap=(start, end),
        certificate_chain=chain,
        mechanism=SignatureMechanism(state["mechanism"]),
        digest_algorithm=digest_algorithm,
        role=Role(state["role"]),
        level=SignatureLevel(state["level"]),
        legacy=legacy,
        signing_time=clock.vietnam(clock.parse_time(state["signing_time"])),
        created=clock.parse_time(state["created"]),
        attributes=_bytes(state["attributes"]),
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
