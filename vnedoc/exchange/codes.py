"""The code lists of edXML: business kinds, status codes, priorities, kinds of documents.

QCVN 102:2016/BTTTT as amended by SĐ1:2022 (Circular 01/2022/TT-BTTTT), and the Government Office's package kit for
the status codes. A number that no public text confirms is left open, never guessed.
"""

from __future__ import annotations

import dataclasses
import enum
import unicodedata

from vnedoc import messages

__all__ = [
    "DOCUMENT_KINDS",
    "BusinessKind",
    "DocumentGroup",
    "DocumentKind",
    "PackageKind",
    "Priority",
    "ReceiverType",
    "StatusCode",
    "SteeringType",
    "find_document_kind",
    "parse_status_code",
    "status_name",
]


class PackageKind(enum.StrEnum):
    """What a package carries."""

    DOCUMENT = "document"
    """A document with its attachments, or an order about one (recall, update, replacement)."""
    STATUS = "status"
    """What became of a document."""


class BusinessKind(enum.IntEnum):
    """Why a document is sent (``BussinessDocType``)."""

    NEW = 0
    """A new document."""
    RECALL = 1
    """Take back a document (Decision 28/2018/QĐ-TTg, article 8.2)."""
    UPDATE = 2
    """Other metadata, other receivers or a new version of a document."""
    REPLACE = 3
    """A new document that takes the place of others."""


class StatusCode(enum.StrEnum):
    """What became of a document (``StatusCode``); 07 to 12 and 14 are not assigned."""

    ARRIVED = "01"
    """In the receiver's system, not yet handled by the clerk."""
    REFUSED = "02"
    """Refused or returned, with a reason."""
    ACCEPTED = "03"
    """Entered in the register of incoming documents."""
    ASSIGNED = "04"
    """Assigned to somebody."""
    PROCESSING = "05"
    """Being dealt with; may be sent again."""
    COMPLETED = "06"
    """Dealt with."""
    TAKE_BACK = "13"
    """The sender asks to take the document back, with a reason."""
    CHANGE_AGREED = "15"
    """The receiver agrees to an update or to giving the document back."""
    CHANGE_REFUSED = "16"
    """The receiver does not agree to it."""


class Priority(enum.IntEnum):
    """How urgent a document is."""

    NORMAL = 0
    """Thường."""
    URGENT = 1
    """Khẩn."""
    VERY_URGENT = 2
    """Thượng khẩn."""
    EXPRESS = 3
    """Hỏa tốc."""
    EXPRESS_TIMED = 4
    """Hỏa tốc hẹn giờ."""


class SteeringType(enum.IntEnum):
    """Whether a document steers others (``SteeringType``)."""

    NONE = 1
    """Not a steering document."""
    STEERING = 2
    """A steering document."""
    REPORT = 3
    """A report on one."""


class ReceiverType(enum.IntEnum):
    """What an update does to a receiver (``ReceiverType``)."""

    REMOVED = 0
    """No longer a receiver."""
    ADDED = 1
    """A new receiver."""


class DocumentGroup(enum.IntEnum):
    """The two groups of documents (``DocumentType/Type``)."""

    LEGAL = 1
    """Legal normative documents (văn bản quy phạm pháp luật)."""
    ADMINISTRATIVE = 2
    """Administrative documents (văn bản hành chính)."""


@dataclasses.dataclass(frozen=True, slots=True)
class DocumentKind:
    """One kind of document."""

    group: DocumentGroup
    """Its group; numbers restart in each."""
    detail: int | None
    """Its number in the group (``TypeDetail``); ``None`` where no public text confirms one."""
    name: str
    """Its Vietnamese name (``TypeName``)."""


def _kinds(
    group: DocumentGroup, names: dict[int, str], unnumbered: tuple[str, ...] = ()
) -> list[DocumentKind]:
    numbered = [DocumentKind(group, detail, name) for detail, name in names.items()]
    return numbered + [DocumentKind(group, None, name) for name in unnumbered]


DOCUMENT_KINDS: tuple[DocumentKind, ...] = (
    *_kinds(
        DocumentGroup.LEGAL,
        {
            1: "Hiến pháp",
            2: "Luật",
            3: "Pháp lệnh",
            4: "Lệnh",
            5: "Nghị quyết",
            6: "Nghị quyết liên tịch",
            7: "Nghị định",
            8: "Quyết định",
            9: "Thông tư",
            10: "Thông tư liên tịch",
            11: "Chỉ thị",
            12: "Bộ luật",
            13: "Văn bản quy phạm pháp luật của đơn vị hành chính - kinh tế đặc biệt",
        },
    ),
    *_kinds(
        DocumentGroup.ADMINISTRATIVE,
        {
            1: "Nghị quyết",
            2: "Quyết định",
            3: "Chỉ thị",
            4: "Quy chế",
            5: "Quy định",
            6: "Thông cáo",
            7: "Thông báo",
            8: "Hướng dẫn",
            9: "Chương trình",
            18: "Công văn",
            19: "Công điện",
            20: "Bản ghi nhớ",
            21: "Bản cam kết",
            22: "Bản thỏa thuận",
            23: "Giấy chứng nhận",
            24: "Giấy ủy quyền",
            25: "Giấy mời",
            26: "Giấy giới thiệu",
        },
        # Decree 30/2020/NĐ-CP, article 7, knows these; their numbers in the table are not confirmed.
        (
            "Kế hoạch",
            "Phương án",
            "Đề án",
            "Dự án",
            "Báo cáo",
            "Biên bản",
            "Tờ trình",
            "Hợp đồng",
            "Giấy nghỉ phép",
            "Phiếu gửi",
            "Phiếu chuyển",
            "Phiếu báo",
            "Thư công",
        ),
    ),
)
"""The kinds of documents that SĐ1:2022 numbers and Decree 30/2020/NĐ-CP, article 7, names."""


def find_document_kind(name: str, *, group: DocumentGroup | None = None) -> DocumentKind | None:
    """Return the kind of document with a name, whatever its letter case; an administrative one wins over a legal one.

    Args:
        name: Its Vietnamese name.
        group: Look only in this group.
    """
    wanted = _folded(name)
    found = [kind for kind in DOCUMENT_KINDS if _folded(kind.name) == wanted and group in {None, kind.group}]
    return max(found, key=lambda kind: kind.group, default=None)


def parse_status_code(value: str) -> StatusCode | str:
    """Return the status code for a text with or without the leading zero.

    Systems also use numbers of their own, such as 103 or 999: they come back as text.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        text = f"{int(text[:9]):02d}" if len(text) <= 9 else text
    try:
        return StatusCode(text)
    except ValueError:
        return text


def status_name(code: str, language: messages.Language | str = messages.Language.VI) -> str:
    """Return what a status code says, in words."""
    try:
        known = StatusCode(code)
    except ValueError:
        return messages.text("package.status-other", language, code=code)
    return messages.text(f"package.status-{known.value}", language)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())
