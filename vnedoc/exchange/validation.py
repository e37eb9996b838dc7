"""Is a header what the standard, the axis, or plain sense asks for?

``strict`` asks for what QCVN 102:2016/BTTTT with SĐ1:2022 and Decree 30/2020/NĐ-CP, annex VI, lay down (required
fields, lengths, code lists); ``axis`` for what the national axis needs to deliver; ``lenient`` for what a reader
needs to tell which document it is and who sent it.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import unicodedata
from typing import TYPE_CHECKING, Never, TypeVar

from vnedoc.errors import PackageError
from vnedoc.exchange._edxml.names import line_of
from vnedoc.exchange.codes import BusinessKind, Priority, ReceiverType, StatusCode, SteeringType
from vnedoc.exchange.models import DocumentHeader, PackageFinding, StatusHeader
from vnedoc.exchange.threads import earlier_documents, find_rings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vnedoc.exchange.models import Attachment, Organization, Package

__all__ = [
    "Level",
    "ValidationReport",
    "check_sendable",
    "find_thread_faults",
    "validate_header",
    "validate_package",
]

T = TypeVar("T")

_OLD_CODE = re.compile(r"[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2}")
_NEW_CODE = re.compile(r"[A-Z][0-9]{2}(\.[0-9A-Z]+)*")
_ENTERPRISE_CODE = re.compile(r"[0-9]{10}(-?[0-9]{3})?")
MAX_ORGAN_ID = 35

# Oddities of a package that the standard has nothing against.
_HARMLESS = frozenset({"edxml.signature-unchecked", "edxml.signature-decorative"})
# The systems that put a status into a holder of its own count with integers; two digits are the habit of the others.
_INTEGER_STATUS = ("edxml.unpadded-status", "Status/StatusCode")


class Level(enum.StrEnum):
    """How much is asked."""

    STRICT = "strict"
    """What the standard lays down."""
    AXIS = "axis"
    """What the national axis needs."""
    LENIENT = "lenient"
    """What a reader needs."""


@dataclasses.dataclass(frozen=True, slots=True)
class ValidationReport:
    """What is wrong with a header or a package.

    A report is not a truth value: look at :attr:`is_valid`, or call :meth:`raise_for_status`.
    """

    level: Level
    """How much was asked."""
    errors: tuple[PackageFinding, ...]
    """What is wrong at this level."""
    warnings: tuple[PackageFinding, ...] = ()
    """What is odd, and was understood anyway."""

    def __bool__(self) -> Never:
        raise TypeError("a report is not a truth value: look at is_valid, or call raise_for_status()")

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    def raise_for_status(self) -> None:
        """Do nothing if nothing is wrong; raise the first error otherwise.

        Raises:
            PackageError: Something is wrong.
        """
        for finding in self.errors:
            raise PackageError(finding.id, **{"element": finding.element, **finding.values})


def validate_package(package: Package, *, level: Level = Level.STRICT) -> ValidationReport:
    """Validate a package that was read: its header, what it carries, and how it was written."""
    errors = list(validate_header(package.header, level=level).errors)
    if level is not Level.LENIENT:
        errors += _carried(package.header, len(package.attachments))
    errors = [_placed(finding, package) for finding in errors]
    warnings = [_placed(finding, package) for finding in (*package.warnings, *_own_answers(package.header))]
    if level is Level.STRICT:
        errors += [finding for finding in warnings if not _is_harmless(finding)]
        warnings = [finding for finding in warnings if _is_harmless(finding)]
    # The reader and the header may both have stumbled over the same value.
    unique = {(finding.id, finding.element): finding for finding in errors}
    return ValidationReport(level, tuple(unique.values()), tuple(warnings))


def find_thread_faults(packages: Mapping[T, Package]) -> dict[T, list[PackageFinding]]:
    """Find packages that answer or replace each other in a ring.

    Args:
        packages: The packages, under names of the caller's choice.

    Returns:
        The findings of each package that stands on a ring of two or more.
    """
    headers = {key: package.header for key, package in packages.items()}
    documents = [header for header in headers.values() if isinstance(header, DocumentHeader)]
    found: dict[T, list[PackageFinding]] = {}
    for ring in find_rings(documents):
        if len(ring) < 2:
            # A document that answers itself is found without its neighbours.
            continue
        shown = " → ".join((*ring[:10], ring[0]))
        for key, header in headers.items():
            if isinstance(header, DocumentHeader) and header.document_id in ring:
                finding = PackageFinding(
                    "edxml.cyclic-response", "MessageHeader/ResponseFor", {"ring": shown[:1000]}
                )
                found.setdefault(key, []).append(_placed(finding, packages[key]))
    return found


def _is_harmless(finding: PackageFinding) -> bool:
    return finding.id in _HARMLESS or (finding.id, finding.element) == _INTEGER_STATUS


def _placed(finding: PackageFinding, package: Package) -> PackageFinding:
    if finding.line is not None:
        return finding
    return dataclasses.replace(finding, line=line_of(finding.element, package.lines))


def _own_answers(header: DocumentHeader | StatusHeader) -> Iterator[PackageFinding]:
    if isinstance(header, DocumentHeader) and header.document_id in earlier_documents(header):
        yield PackageFinding(
            "edxml.answers-itself", "MessageHeader/DocumentId", {"value": header.document_id[:200]}
        )


def validate_header(
    header: DocumentHeader | StatusHeader, *, level: Level = Level.STRICT
) -> ValidationReport:
    """Validate a header by itself."""
    found = _document(header, level) if isinstance(header, DocumentHeader) else _status(header, level)
    return ValidationReport(level, tuple(found))


def check_sendable(header: DocumentHeader | StatusHeader, attachments: Sequence[Attachment]) -> None:
    """Refuse what no axis could deliver or no receiver could use.

    Raises:
        PackageError: Something is missing or does not fit together; the code says what.
    """
    findings = [*validate_header(header, level=Level.AXIS).errors, *_carried(header, len(attachments))]
    if isinstance(header, DocumentHeader):
        if header.promulgation_date is None:
            findings.append(_missing("MessageHeader/PromulgationInfo/PromulgationDate"))
        findings += _business(header)
    elif header.timestamp is None:
        findings.append(_missing("MessageHeader/Timestamp"))
    findings += _names(attachments)
    ValidationReport(Level.AXIS, tuple(findings)).raise_for_status()


def _document(header: DocumentHeader, level: Level) -> Iterator[PackageFinding]:
    top = "MessageHeader"
    yield from _organization(header.sender, f"{top}/From", level)
    named = bool(header.document_id) or bool(header.code_number and header.code_notation)
    if level is Level.LENIENT:
        if not named:
            yield _missing(f"{top}/DocumentId")
        return
    if not header.recipients:
        yield _missing(f"{top}/To")
    for index, recipient in enumerate(header.recipients, start=1):
        yield from _organization(recipient, _indexed(f"{top}/To", index), level)
    if not header.document_id:
        yield _missing(f"{top}/DocumentId")
    if not header.subject:
        yield _missing(f"{top}/Subject")
    yield from _known(header.business.kind, BusinessKind, "TraceHeaderList/Bussiness/BussinessDocType")
    if level is Level.STRICT:
        yield from _strict_document(header, top)
        yield from _business(header)


def _strict_document(header: DocumentHeader, top: str) -> Iterator[PackageFinding]:
    for value, path in (
        (header.code_number, f"{top}/Code/CodeNumber"),
        (header.code_notation, f"{top}/Code/CodeNotation"),
        (header.date_text, f"{top}/PromulgationInfo/PromulgationDate"),
    ):
        if not value:
            yield _missing(path)
    if header.date_text and header.promulgation_date is None:
        yield PackageFinding(
            "edxml.not-a-date", f"{top}/PromulgationInfo/PromulgationDate", {"value": header.date_text[:80]}
        )
    signer, kind, other = header.signer_info, header.document_type, header.other_info
    for text, limit, path in (
        (header.code_number, 11, "Code/CodeNumber"),
        (header.code_notation, 30, "Code/CodeNotation"),
        (header.promulgation_place, 50, "PromulgationInfo/Place"),
        (kind.type_name, 100, "DocumentType/TypeName"),
        (header.subject, 500, "Subject"),
        (header.content, 500, "Content"),
        (signer.competence if signer else None, 100, "SignerInfo/Competence"),
        (signer.position if signer else None, 100, "SignerInfo/Position"),
        (signer.full_name if signer else None, 50, "SignerInfo/FullName"),
        (other.sphere_of_promulgation, 100, "OtherInfo/SphereOfPromulgation"),
        ("".join(header.to_places), 1000, "ToPlaces"),
    ):
        yield from _length(text, limit, f"{top}/{path}")
    for index, place in enumerate(header.to_places, start=1):
        yield from _length(place, 150, _indexed(f"{top}/ToPlaces/Place", index))
    for index, answered in enumerate(header.response_for, start=1):
        yield from _length(
            answered.organ_id, MAX_ORGAN_ID, _indexed(f"{top}/ResponseFor", index) + "/OrganId"
        )
    for number, digits, path in (
        (other.promulgation_amount, 3, "PromulgationAmount"),
        # The decree says 3; the ministry's data model of 2025 has come to need a fourth.
        (other.page_amount, 4, "PageAmount"),
    ):
        yield from _length(None if number is None else str(number), digits, f"{top}/OtherInfo/{path}")
    if kind.type not in {None, 1, 2}:
        yield _unknown(str(kind.type), f"{top}/DocumentType/Type")
    if other.priority is not None:
        yield from _known(other.priority, Priority, f"{top}/OtherInfo/Priority")
    if header.steering_type is not None:
        yield from _known(header.steering_type, SteeringType, f"{top}/SteeringType")


def _business(header: DocumentHeader) -> Iterator[PackageFinding]:
    """What each kind of business needs."""
    business, top = header.business, "TraceHeaderList/Bussiness"
    if business.kind == BusinessKind.RECALL:
        if not (business.reason and business.reason.strip()):
            yield _missing(f"{top}/BussinessDocReason")
        if not (business.document_id or any(item.document_id for item in header.response_for)):
            yield _missing(f"{top}/DocumentId")
    elif business.kind == BusinessKind.UPDATE:
        info = business.document_info
        if not business.document_id:
            yield _missing(f"{top}/DocumentId")
        if info is None or not (info.document_info or info.document_receiver):
            yield PackageFinding("edxml.update-of-nothing", f"{top}/BussinessDocumentInfo")
        elif info.document_receiver != bool(info.receiver_list):
            yield PackageFinding("edxml.receivers-unlisted", f"{top}/BussinessDocumentInfo/ReceiverList")
    elif business.kind == BusinessKind.REPLACE and not business.replacement_info_list:
        yield _missing(f"{top}/ReplacementInfoList")
    if business.document_info is not None:
        for index, item in enumerate(business.document_info.receiver_list, start=1):
            path = _indexed(f"{top}/BussinessDocumentInfo/ReceiverList/Receiver", index)
            if not item.organ_id:
                yield _missing(f"{path}/OrganId")
            yield from _known(item.receiver_type, ReceiverType, f"{path}/ReceiverType")
    for index, replaced in enumerate(business.replacement_info_list, start=1):
        if not replaced.document_id:
            yield _missing(_indexed(f"{top}/ReplacementInfoList/ReplacementInfo", index) + "/DocumentId")


def _status(header: StatusHeader, level: Level) -> Iterator[PackageFinding]:
    top = "MessageHeader"
    yield from _organization(header.sender, f"{top}/From", level)
    about = header.response_for
    if not header.status_code:
        yield _missing(f"{top}/StatusCode")
    if level is Level.LENIENT:
        if not (about.document_id or about.code):
            yield _missing(f"{top}/ResponseFor/DocumentId")
        return
    for value, name in (
        (about.organ_id, "OrganId"),
        (about.code, "Code"),
        (about.document_id, "DocumentId"),
        (about.promulgation_date, "PromulgationDate"),
    ):
        if not value:
            yield _missing(f"{top}/ResponseFor/{name}")
    if header.status_code and header.status_code not in set(StatusCode):
        yield _unknown(str(header.status_code)[:80], f"{top}/StatusCode")
    if header.status_code in {StatusCode.REFUSED, StatusCode.TAKE_BACK} and not header.description:
        yield _missing(f"{top}/Description")
    if level is Level.STRICT:
        yield from _length(about.organ_id, MAX_ORGAN_ID, f"{top}/ResponseFor/OrganId")
        if header.timestamp is None:
            yield _missing(f"{top}/Timestamp")


def _organization(organization: Organization, path: str, level: Level) -> Iterator[PackageFinding]:
    code = organization.organ_id
    if not code.strip():
        yield _missing(f"{path}/OrganId")
    elif level is not Level.LENIENT:
        yield from _length(code, MAX_ORGAN_ID, f"{path}/OrganId")
        known_form = any(form.fullmatch(code) for form in (_OLD_CODE, _NEW_CODE, _ENTERPRISE_CODE))
        if any(char.isspace() for char in code) or (level is Level.STRICT and not known_form):
            yield PackageFinding("edxml.organ-id-form", f"{path}/OrganId", {"value": code[:80]})
    if level is Level.STRICT:
        if not organization.organ_name:
            yield _missing(f"{path}/OrganName")
        for text, limit, name in (
            (organization.organ_name, 200, "OrganName"),
            (organization.organization_in_charge, 500, "OrganizationInCharge"),
            (organization.organ_add, 500, "OrganAdd"),
            (organization.email, 100, "Email"),
            (organization.telephone, 20, "Telephone"),
            (organization.fax, 20, "Fax"),
        ):
            yield from _length(text, limit, f"{path}/{name}")


def _carried(header: DocumentHeader | StatusHeader, count: int) -> Iterator[PackageFinding]:
    if isinstance(header, StatusHeader):
        if count:
            yield PackageFinding("edxml.status-with-attachments", "AttachmentEncoded")
    elif count == 0 and header.business.kind in {BusinessKind.NEW, BusinessKind.REPLACE}:
        yield _missing("AttachmentEncoded/Attachment")


def _names(attachments: Sequence[Attachment]) -> Iterator[PackageFinding]:
    seen: dict[str, set[str]] = {"name": set(), "id": set()}
    for index, attachment in enumerate(attachments, start=1):
        path = _indexed("AttachmentEncoded/Attachment", index)
        name = attachment.name
        if not name.strip() or name != name.strip() or any(_is_unfit(char) for char in name):
            yield PackageFinding("edxml.bad-name", f"{path}/AttachmentName", {"name": name[:200]})
        key = unicodedata.normalize("NFKD", name.casefold())
        if key in seen["name"]:
            yield PackageFinding("edxml.duplicate-name", f"{path}/AttachmentName", {"name": name[:200]})
        seen["name"].add(key)
        content_id = attachment.content_id
        if content_id is not None:
            content_id = content_id.removeprefix("cid:")
            if content_id in seen["id"] or not content_id.strip():
                yield PackageFinding(
                    "edxml.duplicate-id", f"{path}/ContentId", {"content_id": content_id[:200]}
                )
            seen["id"].add(content_id)


def _is_unfit(char: str) -> bool:
    return char in '/\\:*?"<>|' or unicodedata.category(char)[0] == "C"


def _length(text: str | None, limit: int, path: str) -> Iterator[PackageFinding]:
    if text and len(text) > limit:
        yield PackageFinding("edxml.too-long", path, {"limit": limit, "length": len(text)})


def _known(number: int, codes: Callable[[int], object], path: str) -> Iterator[PackageFinding]:
    try:
        codes(number)
    except ValueError:
        yield _unknown(str(number), path)


def _unknown(value: str, path: str) -> PackageFinding:
    return PackageFinding("edxml.unknown-code", path, {"value": value})


def _missing(path: str) -> PackageFinding:
    return PackageFinding("edxml.missing", path)


def _indexed(path: str, index: int) -> str:
    return path if index == 1 else f"{path}[{index}]"
