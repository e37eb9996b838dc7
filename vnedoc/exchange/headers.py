"""The headers of edXML packages: that of a document, and that of a status.

The fields are the snake_case of the element names of QCVN 102:2016/BTTTT with SĐ1:2022. The values are plain: a
header that was received is kept as it came, with its gaps; :mod:`vnedoc.exchange.validation` judges it, and
nothing incomplete is ever written. Times are aware and in UTC.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc._internal.clock import as_utc
from vnedoc.errors import UsageError
from vnedoc.exchange.codes import BusinessKind, StatusCode

if TYPE_CHECKING:
    import datetime

__all__ = [
    "Business",
    "BusinessDocumentInfo",
    "DocumentHeader",
    "DocumentType",
    "HeaderError",
    "Organization",
    "OtherInfo",
    "Receiver",
    "ReplacementInfo",
    "ResponseFor",
    "SignerInfo",
    "StaffInfo",
    "StatusHeader",
    "TraceHeader",
    "UnknownElement",
    "build_document_id",
]


@dataclasses.dataclass(frozen=True, slots=True)
class UnknownElement:
    """An element that the standard does not know; it is kept, and written again where it was."""

    parent: str
    """The path of the element it was found in, such as ``MessageHeader/From``."""
    xml: bytes
    """The element as XML that stands on its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Organization:
    """An agency that sends or receives (``From``, ``To``)."""

    organ_id: str
    """Its code; opaque, up to 35 characters."""
    organ_name: str
    """Its name."""
    organization_in_charge: str | None = None
    """The body above it: a code or a name."""
    organ_add: str | None = None
    """Its address."""
    email: str | None = None
    """Its e-mail address."""
    telephone: str | None = None
    """Its telephone number."""
    fax: str | None = None
    """Its fax number."""
    website: str | None = None
    """Its web site."""


@dataclasses.dataclass(frozen=True, slots=True)
class DocumentType:
    """The kind of a document; the name is what people go by, the codes differ between systems."""

    type: int | None = None
    """The group: 1 legal, 2 administrative (:class:`~vnedoc.exchange.codes.DocumentGroup`)."""
    type_detail: int | None = None
    """The number in the group."""
    type_name: str | None = None
    """The name, such as “Công văn”."""


@dataclasses.dataclass(frozen=True, slots=True)
class SignerInfo:
    """Who signed the document."""

    competence: str | None = None
    """In whose place: TM., KT., TL., TUQ., Q."""
    position: str | None = None
    """The office held."""
    full_name: str | None = None
    """The name."""


@dataclasses.dataclass(frozen=True, slots=True)
class StaffInfo:
    """The member of staff who sent the package."""

    department: str | None = None
    """The unit."""
    department_id: str | None = None
    """The code of the unit."""
    staff: str | None = None
    """The name."""
    staff_id: str | None = None
    """The code of the member of staff."""
    mobile: str | None = None
    """The telephone number."""
    email: str | None = None
    """The e-mail address."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherInfo:
    """Further description of a document."""

    priority: int | None = None
    """How urgent: a :class:`~vnedoc.exchange.codes.Priority`, or a number that only its sender knows."""
    sphere_of_promulgation: str | None = None
    """Who may see it."""
    typer_notation: str | None = None
    """The drafter's mark."""
    promulgation_amount: int | None = None
    """How many copies were issued."""
    page_amount: int | None = None
    """How many pages it has."""
    reply_fors: str | None = None
    """Numbers of documents it answers, as text."""
    direction: bool = False
    """Whether it steers others, as some systems mark it."""
    reference_codes: str | None = None
    """Codes of related documents, as text."""
    appendixes: tuple[str, ...] = ()
    """Names of its annexes."""


@dataclasses.dataclass(frozen=True, slots=True)
class ResponseFor:
    """Which document a package is about: every field exactly as its sender wrote it.

    Receivers find the document by different fields, so none is ever rewritten, not even a date.
    """

    organ_id: str | None = None
    """The sender of that document; for status 13 the receiver that is asked."""
    code: str | None = None
    """Its number and notation, such as ``15/UBND-VX``."""
    document_id: str | None = None
    """Its identifier."""
    promulgation_date: str | None = None
    """Its date, as text."""


@dataclasses.dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver that an update adds or removes."""

    organ_id: str
    """Its code."""
    receiver_type: int
    """0 removed, 1 added (:class:`~vnedoc.exchange.codes.ReceiverType`)."""


@dataclasses.dataclass(frozen=True, slots=True)
class BusinessDocumentInfo:
    """What an update changes."""

    document_info: bool = False
    """The metadata changed."""
    document_receiver: bool = False
    """The list of receivers changed."""
    receiver_list: tuple[Receiver, ...] = ()
    """The receivers that were added or removed."""


@dataclasses.dataclass(frozen=True, slots=True)
class ReplacementInfo:
    """A document that is replaced."""

    document_id: str
    """Its identifier."""
    organ_id_list: tuple[str, ...] = ()
    """The codes of the agencies that had received it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Business:
    """Why a document is sent (``Bussiness``; real files spell it so)."""

    kind: int = BusinessKind.NEW
    """A :class:`~vnedoc.exchange.codes.BusinessKind`, or a number that only its sender knows."""
    reason: str | None = None
    """The reason, as text."""
    document_id: str | None = None
    """The document that is recalled or updated."""
    paper: bool | None = None
    """Whether paper follows."""
    document_info: BusinessDocumentInfo | None = None
    """What an update changes."""
    replacement_info_list: tuple[ReplacementInfo, ...] = ()
    """The documents that are replaced."""
    staff_info: StaffInfo | None = None
    """Who sent it."""

    @classmethod
    def new(cls, *, reason: str | None = None, paper: bool = False) -> Business:
        """Return what a new document carries."""
        return cls(BusinessKind.NEW, reason, paper=paper)

    @classmethod
    def recall(cls, document_id: str, *, reason: str) -> Business:
        """Return what the recall of a document carries.

        Raises:
            UsageError: No document is named, or no reason given.
        """
        _require(document_id, "Bussiness/DocumentId")
        _require(reason, "Bussiness/BussinessDocReason")
        return cls(BusinessKind.RECALL, reason, document_id, paper=False)

    @classmethod
    def update(
        cls, document_id: str, *, document_info: BusinessDocumentInfo, reason: str | None = None
    ) -> Business:
        """Return what the update of a document carries.

        Raises:
            UsageError: No document is named, nothing changed, or receivers changed but none is listed.
        """
        _require(document_id, "Bussiness/DocumentId")
        if not (document_info.document_info or document_info.document_receiver):
            raise UsageError("edxml.update-of-nothing", element="Bussiness/BussinessDocumentInfo")
        if document_info.document_receiver != bool(document_info.receiver_list):
            raise UsageError(
                "edxml.receivers-unlisted", element="Bussiness/BussinessDocumentInfo/ReceiverList"
            )
        return cls(BusinessKind.UPDATE, reason, document_id, paper=False, document_info=document_info)

    @classmethod
    def replace(cls, *replaced: ReplacementInfo, reason: str | None = None) -> Business:
        """Return what a document carries that takes the place of others.

        Raises:
            UsageError: No replaced document is named.
        """
        if not replaced:
            raise UsageError("edxml.missing", element="Bussiness/ReplacementInfoList")
        for info in replaced:
            _require(info.document_id, "Bussiness/ReplacementInfoList/ReplacementInfo/DocumentId")
        return cls(BusinessKind.REPLACE, reason, paper=False, replacement_info_list=tuple(replaced))


@dataclasses.dataclass(frozen=True, slots=True)
class TraceHeader:
    """One station on the way of a package."""

    organ_id: str | None = None
    """Its code; the national axis writes none."""
    timestamp: datetime.datetime | None = None
    """When; aware."""

    def __post_init__(self) -> None:
        _settle_time(self, "timestamp")


@dataclasses.dataclass(frozen=True, slots=True)
class HeaderError:
    """An error that an axis wrote into the header (``ErrorList/Error``)."""

    code: str
    """Its code."""
    description: str | None = None
    """What it says."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentHeader:
    """The header of a package that carries a document, or an order about one."""

    sender: Organization
    """The agency that sends (``From``)."""
    recipients: tuple[Organization, ...]
    """The agencies it is addressed to (``To``)."""
    code_number: str
    """The number, such as ``15``."""
    code_notation: str
    """The notation, such as ``UBND-VX``."""
    document_id: str
    """The identifier of the document; :func:`build_document_id` makes one."""
    promulgation_date: datetime.date | None
    """The date of issue; ``None`` only where a received one is missing or not a date."""
    subject: str
    """What it is about (trích yếu)."""
    promulgation_place: str | None = None
    """The place of issue."""
    promulgation_date_text: str | None = None
    """The date as received, where it was not written ``yyyy/MM/dd``."""
    document_type: DocumentType = DocumentType()
    """The kind of document."""
    content: str | None = None
    """A summary."""
    signer_info: SignerInfo | None = None
    """Who signed it."""
    due_date: datetime.date | None = None
    """When an answer is due."""
    to_places: tuple[str, ...] = ()
    """Other places it goes to, as the document lists them."""
    other_info: OtherInfo = OtherInfo()
    """Further description."""
    response_for: tuple[ResponseFor, ...] = ()
    """The documents it answers, or recalls."""
    steering_type: int | None = None
    """A :class:`~vnedoc.exchange.codes.SteeringType`, or a number that only its sender knows."""
    response_for_task: tuple[str, ...] = ()
    """Codes of tasks it answers."""
    application_type: str | None = None
    """The kind of application that sent it."""
    business: Business = Business()
    """Why it is sent."""
    trace: tuple[TraceHeader, ...] = ()
    """The way so far; each station adds itself."""
    trace_list_id: str | None = None
    """The ``id`` of the list of stations."""
    trace_list_version: str = "1.0"
    """The ``version`` of that list."""
    trace_list_paper: bool | None = None
    """A second mark that paper follows, as some systems write beside the list."""
    errors: tuple[HeaderError, ...] = ()
    """Errors that an axis wrote into the header."""
    unknown: tuple[UnknownElement, ...] = ()
    """What the standard does not know."""

    @property
    def code(self) -> str:
        """Number and notation together, such as ``15/UBND-VX``."""
        return "/".join(part for part in (self.code_number, self.code_notation) if part)

    @property
    def date_text(self) -> str | None:
        """The date of issue as the sender wrote it."""
        if self.promulgation_date_text is not None:
            return self.promulgation_date_text
        return None if self.promulgation_date is None else f"{self.promulgation_date:%Y/%m/%d}"

    @property
    def targets(self) -> tuple[str, ...]:
        """The identifiers of the documents that a recall, an update or a replacement is about.

        Systems name them in different places; the first of these that is filled counts: the list of replaced
        documents, ``Bussiness/DocumentId``, ``ResponseFor``, the identifier in the header itself.
        """
        if self.business.kind == BusinessKind.NEW:
            return ()
        replaced = tuple(info.document_id for info in self.business.replacement_info_list if info.document_id)
        if replaced:
            return replaced
        if self.business.document_id:
            return (self.business.document_id,)
        answered = tuple(item.document_id for item in self.response_for if item.document_id)
        return answered or ((self.document_id,) if self.document_id else ())

    def with_trace(self, organ_id: str, *, at: datetime.datetime) -> DocumentHeader:
        """Return the header with one more station on its way."""
        return dataclasses.replace(self, trace=(*self.trace, TraceHeader(organ_id, at)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StatusHeader:
    """The header of a package that says what became of a document."""

    sender: Organization
    """The agency that reports (``From``)."""
    response_for: ResponseFor
    """The document it is about."""
    status_code: StatusCode | str
    """What became of it; a text where the code is private to its sender."""
    timestamp: datetime.datetime | None
    """When; ``None`` only where a received one is missing or not a time."""
    description: str | None = None
    """In words: usually who, which unit, and what."""
    staff_info: StaffInfo | None = None
    """Who did it."""
    errors: tuple[HeaderError, ...] = ()
    """Errors that an axis wrote into the header."""
    unknown: tuple[UnknownElement, ...] = ()
    """What the standard does not know."""

    def __post_init__(self) -> None:
        _settle_time(self, "timestamp")


def build_document_id(
    organ_id: str, promulgation_date: datetime.date, code_number: str, code_notation: str
) -> str:
    """Return the identifier of a document as agencies write it: ``organ,yyyy/MM/dd,number/notation``."""
    code = "/".join(part for part in (code_number, code_notation) if part)
    return f"{organ_id},{promulgation_date:%Y/%m/%d},{code}"


def _require(value: str | None, element: str) -> None:
    if not (value and value.strip()):
        raise UsageError("edxml.missing", element=element)


def _settle_time(holder: TraceHeader | StatusHeader, field: str) -> None:
    moment = getattr(holder, field)
    if moment is not None:
        # The wire knows whole seconds; the same value must come back that went out.
        object.__setattr__(holder, field, as_utc(moment).replace(microsecond=0))
