"""Whether a document was signed already, so that a batch can be started again without signing anything twice.

A file name proves nothing. The signature itself is looked for: by this certificate, in this role, over these bytes.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, overload

from vnedoc.errors import InputError
from vnedoc.sign._pyhanko.validation import UnusableCMSError, parse_cms
from vnedoc.sign._qpdf import has_security_store, read_with_qpdf
from vnedoc.sign._structure import check_field
from vnedoc.sign.models import SignatureLevel, SignatureMechanism
from vnedoc.sign.report import SignatureKind
from vnedoc.sign.signers.base import DIGESTS, verify_raw_signature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

    from vnedoc.sign._pyhanko.validation import CMSObject
    from vnedoc.sign._structure import Reading, SignatureField, SignedRange
    from vnedoc.sign.roles import SigningOptions

__all__ = ["find_finished"]

MAX_BYTES = 2**31
CHUNK_BYTES = 1024 * 1024
_MECHANISMS = {
    "rsassa_pkcs1v15": SignatureMechanism.RSA_PKCS1_V15,
    "rsassa_pss": SignatureMechanism.RSA_PSS,
    "ecdsa": SignatureMechanism.ECDSA,
}


class _File:
    """The bytes of an open file, read where they are asked for: a large one is never in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._size = stream.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...

    def __getitem__(self, place: int | slice, /) -> int | bytes:
        if isinstance(place, int):
            return self[place : place + 1][0]
        start, stop, _ = place.indices(self._size)
        self.stream.seek(start)
        return self.stream.read(max(0, stop - start))

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield a part, piece by piece."""
        for position in range(start, stop, CHUNK_BYTES):
            yield self[position : min(position + CHUNK_BYTES, stop)]


def find_finished(
    source: Path, output: Path, *, certificate: x509.Certificate, options: SigningOptions
) -> str | None:
    """Return the field of the signature that signing the source would make, if the output has it already.

    It must be intact, made with the key of the certificate, in a field of the role, over at least the whole source,
    and nothing but what its level adds may follow it. Trust is not asked for: the certificate is the signer's own.

    Args:
        source: What is to be signed; the output itself when a file is signed in its place.
        output: What may have been made of it.
        certificate: The signer's certificate.
        options: The role, the level and the encoding that are wanted; and the password, asked for if the output is
            encrypted.
    """
    try:
        if not output.is_file():
            return None
        in_place = source.resolve() == output.resolve()
        with output.open("rb") as stream:
            signed = _File(stream)
            if len(signed) > MAX_BYTES:
                return None
            original_size = 0 if in_place else _common_size(source, signed)
            if original_size is None:
                return None
            reading, password = _read(stream, options, name=str(source))
            return _find(signed, reading, password, original_size, certificate=certificate, options=options)
    except (InputError, OSError):
        # Not a file that signing could have made; signing again will replace it, or say what is wrong.
        return None


def _read(stream: BinaryIO, options: SigningOptions, *, name: str) -> tuple[Reading, str | None]:
    try:
        return read_with_qpdf(stream), None
    except InputError as exc:
        if exc.code != "verify.encrypted" or options.password is None:
            raise
    password = options.password(name)
    return read_with_qpdf(stream, password=password), password


def _find(
    signed: _File,
    reading: Reading,
    password: str | None,
    original_size: int,
    *,
    certificate: x509.Certificate,
    options: SigningOptions,
) -> str | None:
    level = options.level
    prefix = f"vnedoc-{options.role.value}-"
    subfilter = "adbe.pkcs7.detached" if options.legacy else "ETSI.CAdES.detached"
    long_term = level in {SignatureLevel.B_LT, SignatureLevel.B_LTA}
    if reading.complaints or (long_term and not has_security_store(signed.stream, password=password)):
        return None
    for field in reading.signatures:
        covered, encoded, problems = check_field(signed, field)
        if problems or covered is None or encoded is None:
            continue
        if not field.name.startswith(prefix) or field.subfilter != subfilter:
            continue
        if covered.gap_start < original_size or not _is_last(signed, reading, field, covered, level):
            continue
        if _is_intact(signed, encoded, covered, certificate, level):
            return field.name
    return None


def _common_size(source: Path, signed: _File) -> int | None:
    # Signing only appends: an output that does not begin with its source was made from something else.
    position = 0
    with source.open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            if signed[position : position + len(piece)] != piece:
                return None
            position += len(piece)
    return position if position < len(signed) else None


def _is_last(
    signed: _File, reading: Reading, field: SignatureField, covered: SignedRange, level: SignatureLevel
) -> bool:
    """Tell whether nothing follows the signature but the document time-stamp of its own level."""
    if level is not SignatureLevel.B_LTA:
        return covered.end == len(signed)
    for other in reading.signatures:
        later, _, problems = check_field(signed, other)
        if other is not field and later is not None and not problems and later.end == len(signed):
            return other.kind is SignatureKind.DOCUMENT_TIMESTAMP and later.gap_start > covered.end
    return False


def _is_intact(
    signed: _File, encoded: bytes, covered: SignedRange, certificate: x509.Certificate, level: SignatureLevel
) -> bool:
    try:
        found = parse_cms(encoded)
    except UnusableCMSError:
        return False
    if found.certificate != certificate or found.digest_algorithm not in DIGESTS:
        return False
    if level is not SignatureLevel.B_B and not found.tokens:
        return False
    mechanism = _MECHANISMS.get(found.signature_algorithm)
    # Signatures of ours always say which certificate is meant; without that attribute it is another's.
    if (
        mechanism is None
        or not found.has_certificate_reference
        or not _digest_matches(signed, covered, found)
    ):
        return False
    return verify_raw_signature(
        certificate,
        found.signature_value,
        # The attributes are signed as a SET OF, not under their context tag (RFC 5652, 5.4).
        b"\x31" + found.signer_info["signed_attrs"].dump()[1:],
        digest_algorithm=found.digest_algorithm,
        mechanism=mechanism,
    )


def _digest_matches(signed: _File, covered: SignedRange, found: CMSObject) -> bool:
    digest = hashlib.new(found.digest_algorithm)
    for start, stop in ((0, covered.gap_start), (covered.gap_end, covered.end)):
        for piece in signed.pieces(start, stop):
            digest.update(piece)
    claimed = [
        bytes(value.native)
        for attribute in found.signer_info["signed_attrs"]
        if attribute["type"].native == "message_digest"
        for value in attribute["values"]
    ]
    return claimed == [digest.digest()]
