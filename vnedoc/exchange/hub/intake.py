"""Read and judge a package, and say how it is routed."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from vnedoc.errors import PackageError
from vnedoc.exchange._identity import package_identity
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import MAX_CODE_CHARS
from vnedoc.exchange.hub.refusals import RefusalError, unreadable_package
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.package import read_package
from vnedoc.exchange.stores.hub import HubPackage
from vnedoc.exchange.stores.models import MAX_KEY_CHARS
from vnedoc.exchange.validation import Level, validate_package

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.exchange.models import Package, StatusHeader

__all__ = ["Routed", "route_package"]


@dataclasses.dataclass(frozen=True, slots=True)
class Routed:
    """A package that was read and judged."""

    package: HubPackage
    """What the hub must know of it."""
    sha256: str
    """SHA-256 of its bytes in lower-case hexadecimal."""


def route_package(
    source: Path | bytes, *, kind: PackageKind, sender: str | None, level: Level = Level.AXIS
) -> Routed:
    """Return what the hub must know of a package.

    Args:
        source: The package: a file, or its bytes if it is small.
        kind: What the caller says it carries.
        sender: The code that the caller says it is from; ``None`` where a wire does not say.
        level: How valid it must be.

    Raises:
        RefusalError: It is not a package of that kind from that sender, names nobody to deliver to, or has a code or
            an identifier that is longer than any that the hub keeps.
    """
    package = _read(source, level)
    if package.kind is not kind:
        raise RefusalError(ErrorCode.INVALID_PACKAGE, "hub.wrong-kind")
    header = package.header
    _check_lengths(header)
    if sender is not None and header.sender.organ_id != sender:
        raise RefusalError(
            ErrorCode.UNKNOWN_SENDER, "hub.other-sender", code=sender, package_code=header.sender.organ_id
        )
    routed = _document(package, header) if isinstance(header, DocumentHeader) else _status(package, header)
    return Routed(routed, package.sha256)


def _read(source: Path | bytes, level: Level) -> Package:
    with contextlib.suppress(PackageError):
        return _judged(source, level, lines=False)
    try:
        # What is said of it names the line, which takes longer to find out.
        return _judged(source, level, lines=True)
    except PackageError as exc:
        raise unreadable_package(exc) from exc


def _judged(source: Path | bytes, level: Level, *, lines: bool) -> Package:
    package = read_package(source, folder=None, lines=lines)
    validate_package(package, level=level).raise_for_status()
    return package


def _check_lengths(header: DocumentHeader | StatusHeader) -> None:
    """See to it that what others ask by is kept whole; texts for people are cut, see stores/_types.py."""
    texts: list[tuple[str, str | None, int]]
    if isinstance(header, DocumentHeader):
        # How long the codes of From and To are, was looked at with the rest.
        texts = [("DocumentId", header.document_id, MAX_KEY_CHARS), ("Code", header.code, MAX_KEY_CHARS)]
    else:
        about = header.response_for
        texts = [
            ("ResponseFor/OrganId", about.organ_id, MAX_CODE_CHARS),
            ("ResponseFor/DocumentId", about.document_id, MAX_KEY_CHARS),
            ("ResponseFor/Code", about.code, MAX_KEY_CHARS),
        ]
    for element, text, limit in texts:
        if text is not None and len(text) > limit:
            raise RefusalError(
                ErrorCode.INVALID_PACKAGE,
                "edxml.too-long",
                element=f"MessageHeader/{element}",
                length=len(text),
                limit=limit,
            )


def _document(package: Package, header: DocumentHeader) -> HubPackage:
    return HubPackage(
        kind=PackageKind.DOCUMENT,
        identity=package_identity(package),
        sender_code=header.sender.organ_id,
        recipient_codes=tuple(recipient.organ_id for recipient in header.recipients),
        document_id=header.document_id,
        title=header.subject,
        notation=header.code,
    )


def _status(package: Package, header: StatusHeader) -> HubPackage:
    # The sender of the document for 01 to 06, 15 and 16; for 13 its receiver: in both cases whom it is for.
    recipient = header.response_for.organ_id or ""
    return HubPackage(
        kind=PackageKind.STATUS,
        identity=package_identity(package),
        sender_code=header.sender.organ_id,
        recipient_codes=(recipient,),
        document_id=header.response_for.document_id or "",
        title=header.description or "",
        notation=header.response_for.code or "",
    )
