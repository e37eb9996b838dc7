"""Signing a PDF in a role: one signature, one revision.

The order of an act is fixed: the certificate is checked, the document's own restrictions are checked, what the
role shows is laid out, the revision is written with room for the signature, the attributes are signed and the
signature is verified with the public key, the time-stamp is fetched, and only then does a file appear.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO

from vnedoc._internal import clock, files
from vnedoc.errors import InputError, InternalError, UsageError
from vnedoc.sign._cms import SignedDataBuilder
from vnedoc.sign._pyhanko.embedding import Revision, SignatureSettings
from vnedoc.sign.certificates import check_can_sign
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.pages import open_pages
from vnedoc.sign.roles import compose

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.sign.models import Box, Role
    from vnedoc.sign.roles import Composition, SigningOptions
    from vnedoc.sign.signers.base import Signer
    from vnedoc.sign.timestamps import TimestampToken

__all__ = ["SigningResult", "plan_pdf", "sign_pdf"]

TOKEN_BYTES = 12 * 1024
"""Room for a time-stamp token; the tokens of the government's authority are about 4 KB."""
SPARE_BYTES = 1024
MAX_PDF_BYTES = 2**31
"""Larger files are refused before anything is read."""


@dataclasses.dataclass(frozen=True, slots=True)
class SigningResult:
    """What was signed, and how it came out."""

    path: Path | None
    """The signed file; ``None`` when the bytes were asked for."""
    content: bytes | None = dataclasses.field(repr=False)
    """The signed bytes, when no output file was named."""
    field: str
    """Name of the signature field."""
    role: Role
    """The role it was signed in."""
    level: SignatureLevel
    """The level that was reached: always the one that was asked for."""
    signing_time: datetime.datetime
    """The claimed signing time, in Vietnam time, to the second."""
    timestamp_time: datetime.datetime | None
    """The time the authority put on it, in UTC; ``None`` at B-B."""
    page: int | None
    """The page it is shown on, from 1; ``None`` if it is not shown."""
    box: Box | None
    """Its place on that page."""


@dataclasses.dataclass(frozen=True, slots=True)
class SigningPlan:
    """What would be signed, without signing."""

    field: str
    """Name of the signature field."""
    page: int | None
    """The page it would be shown on, from 1."""
    box: Box | None
    """Its place on that page."""


def sign_pdf(
    source: Path | bytes, output: Path | None = None, *, signer: Signer, options: SigningOptions
) -> SigningResult:
    """Sign a PDF in a role.

    Everything that can be wrong is found before a file appears; what is at ``output`` stays untouched when it
    is. The output may be the source.

    Args:
        source: The document: a file, or its bytes.
        output: Where the signed document goes; ``None`` returns its bytes in the result.
        signer: Who signs.
        options: The role, and what it needs.

    Returns:
        What was signed.

    Raises:
        UsageError: The options do not fit the role or the document (a box outside the page, no anchor).
        InputError: The document cannot be read (not a PDF, broken, encrypted) or the output cannot be written.
        CredentialError: The certificate is not valid now or may not sign, or the key failed.
        NotAllowedError: The document or Decree 30/2020/NĐ-CP does not allow this signature.
        TimestampError: No authority gave a time-stamp; nothing is written.
    """
    now = clock.vietnam(options.signing_time or clock.utc_now()).replace(microsecond=0)
    _check(signer, options, now)
    builder = SignedDataBuilder(signer, options.digest_algorithm)
    room = builder.max_bytes + (TOKEN_BYTES if options.level is SignatureLevel.B_T else 0)
    with _opened_output(output) as target:
        act = _sign(source, target, signer=signer, options=options, now=now, builder=builder, room=room)
        if act.missing_room:
            # A time-stamp token larger than any seen: sign again with room for it, and for one a little larger.
            target.seek(0)
            target.truncate()
            room += act.missing_room + SPARE_BYTES
            act = _sign(source, target, signer=signer, options=options, now=now, builder=builder, room=room)
            if act.missing_room:
                raise InternalError("pdf.no-room-for-signature", size=room + act.missing_room)
        content = target.getvalue() if isinstance(target, io.BytesIO) else None
    return SigningResult(
        path=output,
        content=content,
        field=act.composition.field,
        role=options.role,
        level=options.level,
        signing_time=now,
        timestamp_time=None if act.token is None else act.token.time,
        page=act.composition.page,
        box=act.composition.box,
    )


def plan_pdf(source: Path | bytes, *, signer: Signer, options: SigningOptions) -> SigningPlan:
    """Check everything that :func:`sign_pdf` checks before it signs, and say what would be shown where.

    Raises:
        The errors of :func:`sign_pdf`, except those of the key and of time-stamps.
    """
    now = clock.vietnam(options.signing_time or clock.utc_now()).replace(microsecond=0)
    _check(signer, options, now)
    with _opened_source(source) as stream, open_pages(source) as pages:
        revision = Revision(stream, name=_name(source))
        composition = compose(revision, pages, options=options, signer=signer, now=now, name=_name(source))
    return SigningPlan(field=composition.field, page=composition.page, box=composition.box)


@dataclasses.dataclass(frozen=True, slots=True)
class _Act:
    composition: Composition
    token: TimestampToken | None
    missing_room: int = 0


def _sign(
    source: Path | bytes,
    target: BinaryIO,
    *,
    signer: Signer,
    options: SigningOptions,
    now: datetime.datetime,
    builder: SignedDataBuilder,
    room: int,
) -> _Act:
    with _opened_source(source) as stream:
        revision = Revision(stream, name=_name(source))
        with open_pages(source) as pages:
            composition = compose(
                revision, pages, options=options, signer=signer, now=now, name=_name(source)
            )
        prepared = revision.write(
            target,
            field=composition.field,
            settings=SignatureSettings(
                signing_time=now,
                digest_algorithm=options.digest_algorithm,
                max_cms_bytes=room,
                certify=options.certify,
                locked_fields=composition.locked_fields,
                reason=options.reason,
                location=options.location,
            ),
            page=composition.page or 1,
            rectangle=composition.rectangle,
            appearance=composition.appearance,
        )
        attributes = builder.attributes_for(prepared.document_digest)
        signature = signer.sign(attributes, digest_algorithm=options.digest_algorithm)
        token = None
        if options.level is SignatureLevel.B_T:
            assert options.timestamps is not None
            imprint = hashlib.new(options.digest_algorithm, signature).digest()
            token = options.timestamps.token(imprint, options.digest_algorithm)
        content = builder.assemble(attributes, signature, timestamp_token=token.der if token else None)
        if len(content) > room:
            return _Act(composition, token, missing_room=len(content) - room)
        prepared.complete(content)
        return _Act(composition, token)


def _check(signer: Signer, options: SigningOptions, now: datetime.datetime) -> None:
    if options.level not in {SignatureLevel.B_B, SignatureLevel.B_T}:
        raise UsageError("signing.level-not-offered", level=options.level.value)
    if options.level is SignatureLevel.B_T and options.timestamps is None:
        raise UsageError("timestamp.no-authority")
    check_can_sign(signer.certificate, now)


@contextlib.contextmanager
def _opened_source(source: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        stream = source.open("rb")
    except OSError as exc:
        raise InputError("file.cannot-read", path=source, reason=exc.strerror) from exc
    with stream:
        if not source.is_file():
            raise InputError("file.not-a-file", path=source)
        if source.stat().st_size > MAX_PDF_BYTES:
            raise InputError("file.too-large", path=source, limit=MAX_PDF_BYTES)
        yield stream


@contextlib.contextmanager
def _opened_output(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield io.BytesIO()
        return
    with files.atomic_write(output) as stream:
        yield stream


def _name(source: Path | bytes) -> str:
    return "PDF" if isinstance(source, bytes) else str(source)
