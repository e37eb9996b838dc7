"""Signing in two steps, when the key is elsewhere: prepare here, sign there, complete days later on another machine.

The first step writes everything but the signature and keeps it in a small state without secrets; the second puts the
signature in. Nobody has to trust the state in between:

- The signature is over the signed attributes. They bind the digest of the whole document with its new revision, the
  certificate (RFC 5035) and the algorithms (RFC 6211). All are computed anew from the source and the state, so a
  change of any of them is a signature that does not verify with the public key.
- The level and the chain decide how much room the signature has in the file. That room is fixed by the ByteRange,
  which is signed, and must be what they ask for.
- From B-LT on, the long-term data is gathered in the first step, because it belongs into the signature's own revision
  and the certificate is known. In the second step the certificate's status is asked for again, and the level is
  verified from the completed document alone: data that grew too old meanwhile, or the chain of another time-stamping
  authority, ends in a refusal at B-LT. At B-LTA the archive time-stamp brings fresh data with it.
- What is reported at the end (field, role, place, time) is read from the completed document.
- Time-stamping authorities are never taken from the state.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import tempfile
from typing import TYPE_CHECKING, BinaryIO

import pikepdf
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import clock, files
from vnedoc.errors import (
    CredentialError,
    InputError,
    UsageError,
    VerificationError,
    VnedocError,
)
from vnedoc.sign._cms import SignedDataBuilder
from vnedoc.sign._external_levels import (
    Completion,
    LongTermMeans,
    check_again,
    finish_long_term,
    gather_long_term_data,
)
from vnedoc.sign._prepared import MAX_INCREMENT_BYTES, PreparedSignature, load_prepared, save_prepared
from vnedoc.sign._pyhanko.embedding import Revision
from vnedoc.sign._writing import write_composition
from vnedoc.sign.models import SignatureLevel, SignatureMechanism
from vnedoc.sign.pages import Pages, open_pages
from vnedoc.sign.presign import LONG_TERM_LEVELS, check_signer
from vnedoc.sign.roles import compose
from vnedoc.sign.signers.base import Signer, verify_raw_signature
from vnedoc.sign.signing import SigningResult, opened_source, reached_level

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography import x509

    from vnedoc.sign.models import Box
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.sign.timestamps import TimestampClient, TimestampToken

__all__ = [
    "LongTermMeans",
    "PreparedSignature",
    "complete_pdf",
    "load_prepared",
    "prepare_pdf",
    "save_prepared",
]

# Part of the schema: how much room a signature gets. With other numbers it would be another schema. Each level has
# its own, so that the level in a state is bound by what was signed.
FIXED_BYTES = 4096
TOKEN_BYTES = {
    SignatureLevel.B_B: 0,
    SignatureLevel.B_T: 16 * 1024,
    SignatureLevel.B_LT: 17 * 1024,
    SignatureLevel.B_LTA: 18 * 1024,
}
MAX_SIGNATURE_BYTES = 64 * 1024
CHUNK_BYTES = 1024 * 1024
# What a document that somebody meddled with makes its reader raise.
_MALFORMED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError, VnedocError,
)  # fmt: skip
_FIELD = re.compile(r"vnedoc-([a-z]+)-[1-9][0-9]*")


def prepare_pdf(
    source: Path,
    *,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate] = (),
    options: SigningOptions,
    mechanism: SignatureMechanism | None = None,
) -> PreparedSignature:
    """Do everything but sign; nothing is written.

    Args:
        source: The document.
        certificate: The certificate of the key that will sign.
        chain: The certificates above it, nearest issuer first; may be empty.
        options: The role, and what it needs. Time-stamping authorities are given when the signature is there; from
            B-LT on they are needed here, too, because data on their chain goes into the document.
        mechanism: How the digest will be signed; ``None`` chooses what government tools use for this kind of key.

    Raises:
        UsageError: The options do not fit the role or the document; or the level is B-LT or B-LTA and trust,
            revocation or time-stamping authorities are missing.
        InputError: The document cannot be read.
        CredentialError: The certificate may not sign now.
        NotAllowedError: The document or Decree 30/2020/NĐ-CP does not allow this signature.
        TimestampError: The level is B-LT or B-LTA, and no authority answers, or its chain is not trusted.
        RemoteError: The level is B-LT or B-LTA, and revocation data is missing.
    """
    now = clock.vietnam(options.signing_time or clock.utc_now()).replace(microsecond=0)
    if options.level in LONG_TERM_LEVELS and options.timestamps is None:
        raise UsageError("timestamp.no-authority")
    key = _KeyElsewhere(certificate, chain, mechanism=mechanism)
    check, evidence = check_signer(
        key, trust=options.trust, revocation=options.revocation, level=options.level, at=now
    )
    data = gather_long_term_data(options, evidence) if options.level in LONG_TERM_LEVELS else None
    name = str(source)
    with opened_source(source) as stream, tempfile.TemporaryFile() as target:
        revision = Revision(stream, name=name, password=options.password)
        with open_pages(source, password=revision.password) as pages:
            composition = compose(revision, pages, options=options, signer=key, now=now, name=name)
        if data is not None:
            revision.add_long_term_data(data.evidence)
        prepared = write_composition(
            revision, target, composition, options=options, now=now, room=_room(key, options.level)
        )
        size = stream.seek(0, 2)
        target.seek(size)
        increment = target.read()
        source_digest = hashlib.sha256()
        for piece in _pieces(stream):
            source_digest.update(piece)
    if len(increment) > MAX_INCREMENT_BYTES:
        raise UsageError("external.too-large", limit=MAX_INCREMENT_BYTES)
    return PreparedSignature(
        source=source.resolve(),
        source_size=size,
        source_sha256=source_digest.hexdigest(),
        increment=increment,
        gap=prepared.gap,
        certificate_chain=key.certificate_chain,
        mechanism=key.mechanism,
        digest_algorithm=options.digest_algorithm,
        role=options.role,
        level=options.level,
        legacy=options.legacy,
        signing_time=now,
        created=clock.utc_now().replace(microsecond=0),
        attributes=_attributes(
            key, options.digest_algorithm, prepared.document_digest, now if options.legacy else None
        ),
        warnings=check.warnings,
    )


def complete_pdf(
    prepared: PreparedSignature,
    signature: bytes,
    output: Path,
    *,
    source: Path | None = None,
    timestamps: TimestampClient | None = None,
    long_term: LongTermMeans | None = None,
    password: SecretCallback | None = None,
    at: datetime.datetime | None = None,
) -> SigningResult:
    """Put a signature into the document that was prepared for it.

    Everything is checked before the file appears; see the module for what is bound to what.

    Args:
        prepared: What :func:`prepare_pdf` returned.
        signature: The signature value: raw, in hexadecimal or in base64.
        output: Where the signed document goes.
        source: Where the source is now; ``None``: where it was.
        timestamps: The time-stamping authorities; needed from B-T on.
        long_term: Trust and revocation; needed from B-LT on.
        password: Called with the name of an encrypted document.
        at: The time at which the certificate must be valid; ``None`` is now.

    Raises:
        VerificationError: The source or the state was changed, or the signature is not over it by this key.
        UsageError: The level needs a time-stamping authority, or trust and revocation.
        InputError: The source cannot be read, or the output cannot be written.
        CredentialError: The certificate is not valid any more, or was revoked.
        TimestampError: No authority gave a time-stamp; nothing is written.
        RemoteError: Revocation data is missing at B-LT or B-LTA; nothing is written.
        IndeterminateError: The document does not reach B-LT or B-LTA; nothing is written.
    """
    if prepared.level is not SignatureLevel.B_B and timestamps is None:
        raise UsageError("timestamp.no-authority")
    key = _key(prepared)
    moment = clock.as_utc(at) if at is not None else clock.utc_now()
    check, evidence = check_again(prepared, key, long_term, at=moment)
    start, end = _checked_gap(prepared, key)
    place = source or prepared.source
    with opened_source(place) as stream, files.atomic_write(output) as target:
        attributes = _write(prepared, key, stream, target)
        value = _signature_value(prepared, key, signature, attributes)
        token: TimestampToken | None = None
        if prepared.level is not SignatureLevel.B_B:
            assert timestamps is not None
            imprint = hashlib.new(prepared.digest_algorithm, value).digest()
            token = timestamps.token(imprint, prepared.digest_algorithm)
        builder = SignedDataBuilder(key, prepared.digest_algorithm)
        content = builder.assemble(attributes, value, timestamp_token=token.der if token else None)
        room = end - start - 2
        if 2 * len(content) > room:
            raise UsageError("external.no-room", size=len(content))
        target.seek(start + 1)
        target.write(content.hex().upper().encode("ascii").ljust(room, b"0"))
        secret = password(str(place)) if password is not None else None
        field, page, box = _shown(prepared, target, password=secret)
        if evidence is not None:
            assert long_term is not None
            assert timestamps is not None
            assert token is not None
            finish_long_term(
                Completion(prepared, field, token, password=secret),
                target,
                evidence=evidence,
                means=long_term,
                timestamps=timestamps,
                at=moment,
            )
    return SigningResult(
        path=output,
        content=None,
        field=field,
        role=prepared.role,
        level=reached_level(prepared.level, legacy=prepared.legacy),
        signing_time=prepared.signing_time,
        timestamp_time=None if token is None else token.time,
        page=page,
        box=box,
        check=check,
    )


class _KeyElsewhere(Signer):
    """A signer without its key: what a revision must know of it."""

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        del content, digest_algorithm
        raise CredentialError("external.key-elsewhere")


def _key(prepared: PreparedSignature) -> _KeyElsewhere:
    certificate, *chain = prepared.certificate_chain
    for lower, upper in zip(prepared.certificate_chain, chain, strict=False):
        try:
            lower.verify_directly_issued_by(upper)
        except (ValueError, TypeError, InvalidSignature) as exc:
            # The chain is not signed; so it must at least lead up from the certificate, which is.
            raise VerificationError("external.tampered", path=prepared.source) from exc
    return _KeyElsewhere(certificate, chain, mechanism=prepared.mechanism)


def _room(key: Signer, level: SignatureLevel) -> int:
    certificates = sum(len(item.public_bytes(Encoding.DER)) + 8 for item in key.certificate_chain)
    return certificates + key.max_signature_bytes + FIXED_BYTES + TOKEN_BYTES[level]


def _attributes(
    key: Signer, digest_algorithm: str, document_digest: bytes, signing_time: datetime.datetime | None
) -> bytes:
    builder = SignedDataBuilder(key, digest_algorithm)
    return builder.attributes_for(document_digest, signing_time=signing_time)


def _checked_gap(prepared: PreparedSignature, key: Signer) -> tuple[int, int]:
    """Check that the place for the signature is where and as large as it must be."""
    start, end = prepared.gap
    size = prepared.source_size + len(prepared.increment)
    fits = prepared.source_size <= start < end <= size
    if not fits or end - start - 2 != 2 * _room(key, prepared.level):
        raise VerificationError("external.tampered", path=prepared.source)
    empty = prepared.increment[start - prepared.source_size : end - prepared.source_size]
    if empty != b"<" + b"0" * (end - start - 2) + b">":
        raise VerificationError("external.tampered", path=prepared.source)
    return start, end


def _write(prepared: PreparedSignature, key: Signer, source: BinaryIO, target: BinaryIO) -> bytes:
    """Write the document with the empty place and return the attributes over it, computed anew."""
    start, end = prepared.gap
    digest = hashlib.new(prepared.digest_algorithm)
    source_digest = hashlib.sha256()
    size = 0
    for piece in _pieces(source):
        size += len(piece)
        source_digest.update(piece)
        digest.update(piece)
        target.write(piece)
    if size != prepared.source_size or source_digest.hexdigest() != prepared.source_sha256:
        raise VerificationError("external.source-changed", path=prepared.source)
    digest.update(prepared.increment[: start - size])
    digest.update(prepared.increment[end - size :])
    target.write(prepared.increment)
    attributes = _attributes(
        key, prepared.digest_algorithm, digest.digest(), prepared.signing_time if prepared.legacy else None
    )
    if attributes != prepared.attributes:
        raise VerificationError("external.tampered", path=prepared.source)
    return attributes


def _signature_value(prepared: PreparedSignature, key: Signer, signature: bytes, attributes: bytes) -> bytes:
    for value in _readings(signature, key.certificate):
        if verify_raw_signature(
            key.certificate,
            value,
            attributes,
            digest_algorithm=prepared.digest_algorithm,
            mechanism=key.mechanism,
        ):
            return value
    raise VerificationError("external.wrong-signature", subject=key.certificate.subject.rfc4514_string())


def _readings(signature: bytes, certificate: x509.Certificate) -> Iterator[bytes]:
    """Yield what a signature value may mean; only one that verifies is used, so trying is safe."""
    if len(signature) > MAX_SIGNATURE_BYTES:
        return
    readings = [signature]
    compact = b"".join(signature.split())
    with contextlib.suppress(ValueError):
        readings.append(bytes.fromhex(compact.decode("ascii")))
    with contextlib.suppress(ValueError):
        readings.append(base64.b64decode(compact, validate=True))
    for reading in readings:
        yield reading
        public_key = certificate.public_key()
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            # Tokens and services give two integers side by side; a CMS wants them in DER (RFC 5753, 2.1.1).
            half = (public_key.key_size + 7) // 8
            if len(reading) == 2 * half:
                yield encode_dss_signature(
                    int.from_bytes(reading[:half], "big"), int.from_bytes(reading[half:], "big")
                )


def _shown(
    prepared: PreparedSignature, target: BinaryIO, *, password: str | None
) -> tuple[str, int | None, Box | None]:
    """Read from the completed document what was signed there, and refuse a state that says otherwise."""
    start, end = prepared.gap
    target.seek(0)
    size = prepared.source_size + len(prepared.increment)
    wanted = [0, start, end, size - end]
    refused = VerificationError("external.tampered", path=prepared.source)
    try:
        pdf = pikepdf.open(target, password=password or "")
    except pikepdf.PasswordError as exc:
        raise InputError("pdf.encrypted", path=prepared.source) from exc
    except (pikepdf.PdfError, ValueError, RuntimeError) as exc:
        raise refused from exc
    with pdf:
        try:
            (field,) = [
                item
                for item in pdf.Root.AcroForm.Fields
                if "/V" in item
                and "/ByteRange" in item.V
                and [int(number) for number in item.V.ByteRange] == wanted
            ]
            name = str(field.T)
            match = _FIELD.fullmatch(name)
            time = f"D:{prepared.signing_time:%Y%m%d%H%M%S}+07'00'"
            if match is None or match[1] != prepared.role.value or str(field.V.M) != time:
                raise refused
            rectangle = [float(number) for number in field.Rect]
            if rectangle[0] == rectangle[2]:
                return name, None, None
            number = 1 + next(
                index
                for index, page in enumerate(pdf.pages)
                if any(item.objgen == field.objgen for item in page.get("/Annots", ()))
            )
            return name, number, Pages(prepared.source, pdf).geometry(number).to_shown(rectangle)
        except (*_MALFORMED, pikepdf.PdfError, StopIteration) as exc:
            raise refused from exc


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    stream.seek(0)
    while piece := stream.read(CHUNK_BYTES):
        yield piece
