"""Whether a document was signed already, so that a batch can be started again without signing anything twice.

A file name proves nothing. The signature itself is looked for: by this certificate, in this role, over these bytes.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pikepdf

from vnedoc._internal import files
from vnedoc.errors import InputError
from vnedoc.sign._pyhanko.validation import UnusableCMSError, parse_cms
from vnedoc.sign._qpdf import read_with_qpdf
from vnedoc.sign._structure import check_field
from vnedoc.sign.models import SignatureLevel, SignatureMechanism
from vnedoc.sign.report import SignatureKind
from vnedoc.sign.signers.base import DIGESTS, verify_raw_signature

if TYPE_CHECKING:
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
        options: The role, the level and the encoding that are wanted.
    """
    level = options.level
    prefix = f"vnedoc-{options.role.value}-"
    subfilter = "adbe.pkcs7.detached" if options.legacy else "ETSI.CAdES.detached"
    try:
        if not output.is_file():
            return None
        signed = files.read_bytes(output, max_bytes=MAX_BYTES)
        in_place = source.resolve() == output.resolve()
        original_size = 0 if in_place else _common_size(source, signed)
        reading = read_with_qpdf(signed)
    except InputError:
        # Not a file that signing could have made; signing again will replace it, or say what is wrong.
        return None
    if original_size is None or reading.complaints:
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


def _common_size(source: Path, signed: bytes) -> int | None:
    # Signing only appends: an output that does not begin with its source was made from something else.
    position, view = 0, memoryview(signed)
    try:
        with source.open("rb") as stream:
            while piece := stream.read(CHUNK_BYTES):
                if view[position : position + len(piece)] != piece:
                    return None
                position += len(piece)
    except OSError:
        return None
    return position if position < len(signed) else None


def _is_last(
    signed: bytes, reading: Reading, field: SignatureField, covered: SignedRange, level: SignatureLevel
) -> bool:
    """Tell whether nothing follows the signature but the document time-stamp of its own level."""
    if level in {SignatureLevel.B_LT, SignatureLevel.B_LTA} and not _has_long_term_data(signed):
        return False
    if level is not SignatureLevel.B_LTA:
        return covered.end == len(signed)
    for other in reading.signatures:
        later, _, problems = check_field(signed, other)
        if other is not field and later is not None and not problems and later.end == len(signed):
            return other.kind is SignatureKind.DOCUMENT_TIMESTAMP and later.gap_start > covered.end
    return False


def _has_long_term_data(signed: bytes) -> bool:
    with pikepdf.open(io.BytesIO(signed), suppress_warnings=True) as pdf:
        return "/DSS" in pdf.Root


def _is_intact(
    signed: bytes, encoded: bytes, covered: SignedRange, certificate: x509.Certificate, level: SignatureLevel
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


def _digest_matches(signed: bytes, covered: SignedRange, found: CMSObject) -> bool:
    digest = hashlib.new(found.digest_algorithm)
    view = memoryview(signed)
    digest.update(view[: covered.gap_start])
    digest.update(view[covered.gap_end : covered.end])
    claimed = [
        bytes(value.native)
        for attribute in found.signer_info["signed_attrs"]
        if attribute["type"].native == "message_digest"
        for value in attribute["values"]
    ]
    return claimed == [digest.digest()]
