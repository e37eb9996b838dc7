"""edXML packages: write one, read one, answer one.

QCVN 102:2016/BTTTT with SĐ1:2022. What is written is strict and in the dialect of its receiver; what is read may
be as dirty as the field, and every oddity comes back as a warning.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vnedoc._internal import clock
from vnedoc._internal.files import atomic_write
from vnedoc.errors import InputError, PackageError, UsageError
from vnedoc.exchange._edxml.dialects import BKAV, DIALECTS, NET, VNPT, Dialect
from vnedoc.exchange._edxml.reader import read
from vnedoc.exchange._edxml.writer import write
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.models import (
    DocumentHeader,
    Limits,
    Organization,
    Package,
    ResponseFor,
    StatusHeader,
    WrittenPackage,
)
from vnedoc.exchange.validation import check_sendable

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from vnedoc.exchange.models import Attachment, StaffInfo
    from vnedoc.sign.signers.base import Signer

__all__ = ["BKAV", "DIALECTS", "NET", "VNPT", "Dialect", "read_package", "reply_header", "write_package"]

NEEDS_REASON = frozenset({StatusCode.REFUSED, StatusCode.TAKE_BACK})


def write_package(
    header: DocumentHeader | StatusHeader,
    attachments: Sequence[Attachment],
    output: Path | BinaryIO,
    *,
    dialect: Dialect = VNPT,
    signer: Signer | None = None,
    signing_time: datetime.datetime | None = None,
) -> WrittenPackage:
    """Write a package.

    The same header, attachments and dialect give the same bytes. Attachments are read piece by piece; the file
    appears under its name only when it is whole.

    Args:
        header: What the package says.
        attachments: What is in it; none for a status.
        output: A path, or a stream that is written to as it goes.
        dialect: How the receiver's system writes packages.
        signer: Signs header and attachments; see :mod:`vnedoc.exchange.xmlsig`. The attachments are then read twice.
        signing_time: The time that the signature claims; ``None`` is now.

    Raises:
        PackageError: The header lacks what its kind needs, or a text cannot stand in XML.
        InputError: An attachment cannot be read, or the output cannot be written.
        CredentialError: The certificate may not sign, or the key cannot.
        UsageError: ``signing_time`` has no time zone.
    """
    check_sendable(header, attachments)
    key = None
    if signer is not None:
        from vnedoc.exchange._edxml.signing import SigningKey

        key = SigningKey(signer, clock.utc_now() if signing_time is None else clock.as_utc(signing_time))
    if not isinstance(output, Path):
        return write(output, header, attachments, dialect, key=key)
    with atomic_write(output) as stream:
        return write(stream, header, attachments, dialect, key=key)


def read_package(
    source: Path | BinaryIO | bytes,
    *,
    folder: Path | None,
    limits: Limits | None = None,
    lines: bool = True,
) -> Package:
    """Read a package of any known dialect.

    Args:
        source: A path, a stream, or the bytes of a small package.
        folder: Where attachments are written, under safe names and never over a file that is there; it is made if
            it is missing. ``None`` only looks: sizes and digests, no files.
        limits: How much the package may ask of this machine.
        lines: Whether findings and errors say on which line things stand. Without, reading takes a third less time,
            and the signature of the package cannot be verified.

    Raises:
        PackageError: This is no package, or it asks for more than the limits allow; nothing was left in the folder.
        InputError: The source cannot be read or the folder not written to.
    """
    with _opened(source) as stream:
        return read(
            stream, folder=folder, limits=limits or Limits(), lines=lines, small=isinstance(source, bytes)
        )


def reply_header(
    original: Package | DocumentHeader | StatusHeader,
    *,
    sender: Organization,
    status_code: StatusCode,
    at: datetime.datetime,
    description: str | None = None,
    staff_info: StaffInfo | None = None,
    receiver: str | None = None,
) -> StatusHeader:
    """Return the header of a status about a document.

    Every field that names the document is exactly as its sender wrote it, because systems find the document by
    different ones.

    Args:
        original: The document that was received, or the status 13 that is answered; for a status 13 of one's own,
            the document that was sent.
        sender: Who reports.
        status_code: What became of it.
        at: When.
        description: In words; a reason is required for 02 and 13.
        staff_info: Who did it.
        receiver: For status 13 only: the code of the receiver that is asked.

    Raises:
        UsageError: A reason or the receiver is missing, or there is no document to report on.
    """
    header = original.header if isinstance(original, Package) else original
    if status_code in NEEDS_REASON and not (description and description.strip()):
        raise UsageError("package.reason-required", code=status_code.value)
    if (status_code is StatusCode.TAKE_BACK) != (receiver is not None):
        raise UsageError("package.receiver-of-take-back", code=status_code.value)
    if isinstance(header, DocumentHeader):
        about = ResponseFor(
            receiver or header.sender.organ_id or None,
            header.code or None,
            header.document_id or None,
            header.date_text,
        )
    elif header.status_code == StatusCode.TAKE_BACK:
        # A take-back comes from the sender of the document but names its receiver.
        about = dataclasses.replace(header.response_for, organ_id=header.sender.organ_id or None)
    else:
        raise UsageError("package.status-of-status", code=str(header.status_code))
    return StatusHeader(
        sender=sender,
        response_for=about,
        status_code=status_code,
        timestamp=at,
        description=description,
        staff_info=staff_info,
    )


@contextlib.contextmanager
def _opened(source: Path | BinaryIO | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        import io

        yield io.BytesIO(source)
        return
    if not isinstance(source, Path):
        yield source
        return
    try:
        stream = source.open("rb")
    except OSError as exc:
        raise InputError("file.cannot-read", path=source, reason=exc.strerror) from exc
    with stream:
        try:
            yield stream
        except PackageError as exc:
            exc.values.setdefault("path", source)
            raise
