"""Signing a PDF in a role: one signature, one revision.

The order of an act is fixed: the certificate is checked, the document's own restrictions are checked, what the
role shows is laid out, the revision is written with room for the signature, the attributes are signed and the
signature is verified with the public key, the time-stamp is fetched, and only then does a file appear. Long-term data
is gathered before and written in the signature's own revision; see :mod:`vnedoc.sign.long_term`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO

from vnedoc._internal import clock, files
from vnedoc.errors import InputError, InternalError, TimestampError, UsageError
from vnedoc.sign._cms import SignedDataBuilder
from vnedoc.sign._pyhanko.embedding import Revision
from vnedoc.sign._writing import write_composition
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.pages import open_pages
from vnedoc.sign.presign import LONG_TERM_LEVELS, check_signer
from vnedoc.sign.roles import compose

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.sign._pyhanko.validation import Evidence
    from vnedoc.sign.long_term import LongTermData
    from vnedoc.sign.models import Box, Role
    from vnedoc.sign.presign import SignerCheck
    from vnedoc.sign.report import Finding
    from vnedoc.sign.roles import Composition, SigningOptions
    from vnedoc.sign.signers.base import Signer
    from vnedoc.sign.timestamps import TimestampToken

__all__ = [
    "LegacyLevel",
    "SigningPlan",
    "SigningResult",
    "opened_source",
    "plan_pdf",
    "reached_level",
    "sign_pdf",
]

TOKEN_BYTES = 12 * 1024
"""Room for a time-stamp token; the tokens of the government's authority are about 4 KB."""
SPARE_BYTES = 1024
MAX_PDF_BYTES = 2**31
"""Larger files are refused before anything is read."""
MAX_TRIES = 4
"""How often it is signed again: for a larger token, or for one from an authority that was not expected."""


class LegacyLevel(enum.StrEnum):
    """What an ``adbe.pkcs7.detached`` signature comes to; it is never called PAdES."""

    PKCS7 = "PKCS7"
    """The signature alone."""
    PKCS7_T = "PKCS7-T"
    """With a time-stamp."""
    PKCS7_LT = "PKCS7-LT"
    """With what is needed to verify it later."""
    PKCS7_LTA = "PKCS7-LTA"
    """With a document time-stamp over that."""


def reached_level(level: SignatureLevel, *, legacy: bool) -> SignatureLevel | LegacyLevel:
    """Return what a level comes to, in the encoding that was chosen."""
    return list(LegacyLevel)[list(SignatureLevel).index(level)] if legacy else level


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
    level: SignatureLevel | LegacyLevel
    """The level that was reached: always the one that was asked for."""
    signing_time: datetime.datetime
    """The claimed signing time, in Vietnam time, to the second."""
    timestamp_time: datetime.datetime | None
    """The time the authority put on it, in UTC; ``None`` at B-B."""
    page: int | None
    """The page it is shown on, from 1; ``None`` if it is not shown."""
    box: Box | None
    """Its place on that page."""
    check: SignerCheck | None = None
    """What was found out about the signer before signing; to be kept with the document."""
    shown_warnings: tuple[Finding, ...] = ()
    """What is odd about how it is shown, such as a picture without transparency."""

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What the signer must be told, such as that revocation could not be checked."""
        return (*(() if self.check is None else self.check.warnings), *self.shown_warnings)


@dataclasses.dataclass(frozen=True, slots=True)
class SigningPlan:
    """What would be signed, without signing."""

    field: str
    """Name of the signature field."""
    page: int | None
    """The page it would be shown on, from 1."""
    box: Box | None
    """Its place on that page."""
    warnings: tuple[Finding, ...] = ()
    """What the signer must be told."""


def sign_pdf(
    source: Path | bytes, output: Path | None = None, *, signer: Signer, options: SigningOptions
) -> SigningResult:
    """Sign a PDF in a role.

    Everything that can be wrong is found before a file appears; what is at ``output`` stays untouched when it
    is. The output may be the source.

    From B-LT on, the key may be asked twice for one document: when the time-stamp comes from an authority whose chain
    is not the expected one, its data must go into the revision, and that changes what is signed.

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
        RemoteError: The level needs revocation data that nobody gave; nothing is written.
    """
    now = clock.vietnam(options.signing_time or clock.utc_now()).replace(microsecond=0)
    check, evidence = _check(signer, options, now)
    data = _long_term_data(options, evidence)
    builder = SignedDataBuilder(signer, options.digest_algorithm)
    with _opened_output(output) as target:
        act = _sign_complete(
            source, target, signer=signer, options=options, now=now, builder=builder, data=data
        )
        if options.level is SignatureLevel.B_LTA:
            _stamp(target, name=_name(source), options=options, data=data)
        content = target.getvalue() if isinstance(target, io.BytesIO) else None
    return SigningResult(
        path=output,
        content=content,
        field=act.composition.field,
        role=options.role,
        level=reached_level(options.level, legacy=options.legacy),
        signing_time=now,
        timestamp_time=None if act.token is None else act.token.time,
        page=act.composition.page,
        box=act.composition.box,
        shown_warnings=act.composition.warnings,
        check=check,
    )


def plan_pdf(source: Path | bytes, *, signer: Signer, options: SigningOptions) -> SigningPlan:
    """Check everything that :func:`sign_pdf` checks before it signs, and say what would be shown where.

    Raises:
        The errors of :func:`sign_pdf`, except those of the key and of time-stamps.
    """
    now = clock.vietnam(options.signing_time or clock.utc_now()).replace(microsecond=0)
    check, _ = _check(signer, options, now)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(opened_source(source))
        revision = Revision(stream, name=_name(source), password=options.password)
        pages = stack.enter_context(open_pages(source, password=revision.password))
        composition = compose(revision, pages, options=options, signer=signer, now=now, name=_name(source))
    return SigningPlan(
        field=composition.field,
        page=composition.page,
        box=composition.box,
        warnings=(*check.warnings, *composition.warnings),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Act:
    composition: Composition
    token: TimestampToken | None
    missing_room: int = 0


def _sign_complete(
    source: Path | bytes,
    target: BinaryIO,
    *,
    signer: Signer,
    options: SigningOptions,
    now: datetime.datetime,
    builder: SignedDataBuilder,
    data: LongTermData | None,
) -> _Act:
    """Sign until everything that belongs to the level is in the one revision."""
    room = builder.max_bytes + (0 if options.level is SignatureLevel.B_B else TOKEN_BYTES)
    missing_room = 0
    for _ in range(MAX_TRIES):
        target.seek(0)
        target.truncate()
        evidence = None if data is None else data.evidence
        act = _sign(
            source,
            target,
            signer=signer,
            options=options,
            now=now,
            builder=builder,
            room=room,
            evidence=evidence,
        )
        missing_room = act.missing_room
        if missing_room:
            # A time-stamp token larger than any seen: sign again with room for it, and for one a little larger.
            room += missing_room + SPARE_BYTES
        elif data is None or act.token is None or data.admit(act.token):
            return act
    if missing_room:
        raise InternalError("pdf.no-room-for-signature", size=room)
    raise TimestampError("timestamp.changing-authorities")


def _sign(
    source: Path | bytes,
    target: BinaryIO,
    *,
    signer: Signer,
    options: SigningOptions,
    now: datetime.datetime,
    builder: SignedDataBuilder,
    room: int,
    evidence: Evidence | None,
) -> _Act:
    with opened_source(source) as stream:
        revision = Revision(stream, name=_name(source), password=options.password)
        with open_pages(source, password=revision.password) as pages:
            composition = compose(
                revision, pages, options=options, signer=signer, now=now, name=_name(source)
            )
        if evidence is not None:
            revision.add_long_term_data(evidence)
        prepared = write_composition(revision, target, composition, options=options, now=now, room=room)
        attributes = builder.attributes_for(
            prepared.document_digest, signing_time=now if options.legacy else None
        )
        signature = signer.sign(attributes, digest_algorithm=options.digest_algorithm)
        token = None
        if options.level is not SignatureLevel.B_B:
            assert options.timestamps is not None
            imprint = hashlib.new(options.digest_algorithm, signature).digest()
            token = options.timestamps.token(imprint, options.digest_algorithm)
        content = builder.assemble(attributes, signature, timestamp_token=token.der if token else None)
        if len(content) > room:
            return _Act(composition, token, missing_room=len(content) - room)
        prepared.complete(content)
        return _Act(composition, token)


def _check(
    signer: Signer, options: SigningOptions, now: datetime.datetime
) -> tuple[SignerCheck, Evidence | None]:
    if options.level is not SignatureLevel.B_B and options.timestamps is None:
        raise UsageError("timestamp.no-authority")
    return check_signer(
        signer, trust=options.trust, revocation=options.revocation, level=options.level, at=now
    )


def _long_term_data(options: SigningOptions, evidence: Evidence | None) -> LongTermData | None:
    if options.level not in LONG_TERM_LEVELS:
        return None
    from vnedoc.sign.long_term import LongTermData

    assert options.trust is not None
    assert options.revocation is not None
    assert options.timestamps is not None
    assert evidence is not None
    data = LongTermData(
        trust=options.trust,
        revocation=options.revocation,
        timestamps=options.timestamps,
        digest_algorithm=options.digest_algorithm,
        evidence=evidence,
    )
    data.prepare()
    return data


def _stamp(target: BinaryIO, *, name: str, options: SigningOptions, data: LongTermData | None) -> None:
    from vnedoc.sign.long_term import stamp_document

    assert options.timestamps is not None
    stamp_document(
        target,
        name=name,
        timestamps=options.timestamps,
        digest_algorithm=options.digest_algorithm,
        data=data,
        password=options.password,
    )


@contextlib.contextmanager
def opened_source(source: Path | bytes) -> Iterator[BinaryIO]:
    """Open a document for reading.

    Raises:
        InputError: It cannot be read, is no file, or is too large.
    """
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
