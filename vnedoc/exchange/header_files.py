"""Headers as people write them: TOML or JSON with the snake_case of the element names.

::

    code_number = "15"
    code_notation = "UBND-VX"
    promulgation_date = 2026-11-21
    subject = "…"

    [sender]
    organ_id = "H01"
    organ_name = "…"

    [[recipients]]
    organ_id = "H01.02"
    organ_name = "…"

    [business]
    kind = "new"

Unknown keys are refused, so that a misspelt one does not get lost. A header with ``status_code`` is one of a status.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from vnedoc._internal.clock import VIETNAM
from vnedoc._internal.files import read_bytes
from vnedoc.errors import PackageError, UsageError
from vnedoc.exchange.codes import BusinessKind, Priority, ReceiverType, SteeringType, parse_status_code
from vnedoc.exchange.models import (
    Business,
    BusinessDocumentInfo,
    DocumentHeader,
    DocumentType,
    Organization,
    OtherInfo,
    Receiver,
    ReplacementInfo,
    ResponseFor,
    SignerInfo,
    StaffInfo,
    StatusHeader,
    TraceHeader,
    build_document_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import TypeAlias

    Convert: TypeAlias = Callable[[object, str], Any]  # a value of a field

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_NUMBER",
    "field_names",
    "header_from_dict",
    "header_to_dict",
    "load_header",
    "plain",
    "required_names",
]

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""The largest header file that is read; one with a thousand recipients has far less."""

MAX_NUMBER = 10**9 - 1
"""The largest number that a field may have."""

T = TypeVar("T")


def load_header(path: Path) -> DocumentHeader | StatusHeader:
    """Read a header from a ``.toml`` or ``.json`` file.

    Raises:
        InputError: The file cannot be read.
        PackageError: It is no TOML or JSON, or not a header.
        UsageError: The file has neither extension.
    """
    suffix = path.suffix.lower()
    if suffix not in {".toml", ".json"}:
        raise UsageError("package.header-format", path=path)
    content = read_bytes(path, max_bytes=MAX_HEADER_BYTES)
    try:
        text = content.decode("utf-8-sig")
        values = tomllib.loads(text) if suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise PackageError(
            "package.header-unreadable", path=path, reason=str(exc) or type(exc).__name__
        ) from exc
    if not isinstance(values, dict):
        raise PackageError("package.header-not-table", key="-")
    return header_from_dict(values)


def header_from_dict(values: Mapping[str, object]) -> DocumentHeader | StatusHeader:
    """Return the header that a table describes.

    The identifier of a document is made from its sender, date, number and notation where it is not given.

    Raises:
        PackageError: A key is unknown or missing, or a value is of the wrong kind.
    """
    if "status_code" in values:
        return _build(StatusHeader, values, "", _STATUS)
    filled = dict(values)
    if "document_id" not in filled:
        filled["document_id"] = ""
    header = _build(DocumentHeader, filled, "", _DOCUMENT)
    if header.document_id or header.promulgation_date is None:
        return header
    made = build_document_id(
        header.sender.organ_id, header.promulgation_date, header.code_number, header.code_notation
    )
    return _build(DocumentHeader, {**filled, "document_id": made}, "", _DOCUMENT)


def header_to_dict(header: DocumentHeader | StatusHeader) -> dict[str, Any]:  # JSON
    """Return a header as a table that :func:`header_from_dict` reads; what is empty is left out.

    What an axis added (errors) and what the standard does not know is left out, too.
    """
    rows = _STATUS if isinstance(header, StatusHeader) else _DOCUMENT
    table = plain(header)
    return {name: value for name, value in table.items() if name in rows}


def field_names(kind: type[object]) -> frozenset[str] | None:
    """Return the keys that a table of a class may have in a header file; ``None`` if it stands in none."""
    if kind is DocumentHeader or kind is StatusHeader:
        return frozenset(_STATUS if kind is StatusHeader else _DOCUMENT)
    if kind not in _REQUIRED:
        return None
    return frozenset(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type] # all are dataclasses


def required_names(kind: type[object]) -> tuple[str, ...]:
    """Return the keys that a table of a class must have in a header file."""
    return _REQUIRED.get(kind, ())


def plain(value: object, *, keep_empty: bool = False) -> Any:  # JSON
    """Return a value of the model as JSON has it.

    Args:
        value: A header, a part of one, or a report.
        keep_empty: Keep keys whose value is empty.
    """
    if isinstance(value, datetime.datetime):
        return value.astimezone(VIETNAM).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [plain(item, keep_empty=keep_empty) for item in value]
    slots = getattr(type(value), "__dataclass_fields__", None)
    if slots is None:
        return value
    pairs = ((name, plain(getattr(value, name), keep_empty=keep_empty)) for name in slots)
    return {name: item for name, item in pairs if keep_empty or item not in (None, [], {}, "")}


def _build(kind: type[T], value: object, key: str, fields: Mapping[str, Convert]) -> T:
    if not isinstance(value, dict):
        raise PackageError("package.header-not-table", key=key)
    unknown = sorted(str(name) for name in value if name not in fields)
    if unknown:
        raise PackageError(
            "package.header-unknown-key", key=_join(key, unknown[0]), known=", ".join(sorted(fields))
        )
    converted = {
        name: fields[name](item, _join(key, name)) for name, item in value.items() if item is not None
    }
    try:
        return kind(**converted)
    except TypeError as exc:
        missing = next((name for name in _REQUIRED[kind] if name not in converted), None)
        if missing is None:
            raise
        raise PackageError("package.header-missing-key", key=_join(key, missing)) from exc


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise PackageError("package.header-not-text", key=key)
    return value


def _number(value: object, key: str) -> int:
    # True is an integer to Python, never a number of pages.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise PackageError("package.header-not-number", key=key)
    return value


def _code(codes: type[enum.IntEnum]) -> Convert:
    def convert(value: object, key: str) -> int:
        number = _number(value, key)
        return codes(number) if number in set(codes) else number

    return convert


def _flag(value: object, key: str) -> bool:
    if not isinstance(value, bool):
        raise PackageError("package.header-not-flag", key=key)
    return value


def _date(value: object, key: str) -> datetime.date:
    if isinstance(value, str):
        try:
            value = datetime.date.fromisoformat(value.replace("/", "-"))
        except ValueError as exc:
            raise PackageError("package.header-not-date", key=key) from exc
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise PackageError("package.header-not-date", key=key)
    return value


def _time(value: object, key: str) -> datetime.datetime:
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError as exc:
            raise PackageError("package.header-not-time", key=key) from exc
    if not isinstance(value, datetime.datetime):
        raise PackageError("package.header-not-time", key=key)
    return value if value.tzinfo else value.replace(tzinfo=VIETNAM)


def _kind(value: object, key: str) -> int:
    if isinstance(value, str) and value.upper() in BusinessKind.__members__:
        return BusinessKind[value.upper()]
    if isinstance(value, str):
        raise PackageError("package.header-not-business", key=key)
    return int(_code(BusinessKind)(value, key)) if not isinstance(value, BusinessKind) else value


def _status_code(value: object, key: str) -> str:
    return parse_status_code(str(value) if isinstance(value, int) else _text(value, key))


def _many(convert: Convert) -> Convert:
    def convert_all(value: object, key: str) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise PackageError("package.header-not-list", key=key)
        return tuple(convert(item, f"{key}[{index}]") for index, item in enumerate(value, start=1))

    return convert_all


def _table(kind: type[object], fields: Mapping[str, Convert]) -> Convert:
    def convert(value: object, key: str) -> object:
        return _build(kind, value, key, fields)

    return convert


def _all_text(*names: str) -> dict[str, Convert]:
    return dict.fromkeys(names, _text)


_ORGANIZATION = _table(
    Organization,
    _all_text(
        *("organ_id", "organ_name", "organization_in_charge", "organ_add"),
        *("email", "telephone", "fax", "website"),
    ),
)
_RESPONSE_FOR = _table(ResponseFor, _all_text("organ_id", "code", "document_id", "promulgation_date"))
_STAFF = _table(StaffInfo, _all_text("department", "department_id", "staff", "staff_id", "mobile", "email"))
_RECEIVER = _table(Receiver, {"organ_id": _text, "receiver_type": _code(ReceiverType)})
_BUSINESS = _table(
    Business,
    {
        "kind": _kind,
        "reason": _text,
        "document_id": _text,
        "paper": _flag,
        "document_info": _table(
            BusinessDocumentInfo,
            {"document_info": _flag, "document_receiver": _flag, "receiver_list": _many(_RECEIVER)},
        ),
        "replacement_info_list": _many(
            _table(ReplacementInfo, {"document_id": _text, "organ_id_list": _many(_text)})
        ),
        "staff_info": _STAFF,
    },
)
_OTHER_INFO = _table(
    OtherInfo,
    {
        "priority": _code(Priority),
        "promulgation_amount": _number,
        "page_amount": _number,
        "direction": _flag,
        "appendixes": _many(_text),
        **_all_text("sphere_of_promulgation", "typer_notation", "reply_fors", "reference_codes"),
    },
)
_DOCUMENT: Mapping[str, Convert] = {
    "sender": _ORGANIZATION,
    "recipients": _many(_ORGANIZATION),
    "promulgation_date": _date,
    "document_type": _table(DocumentType, {"type": _number, "type_detail": _number, "type_name": _text}),
    "signer_info": _table(SignerInfo, _all_text("competence", "position", "full_name")),
    "due_date": _date,
    "to_places": _many(_text),
    "other_info": _OTHER_INFO,
    "response_for": _many(_RESPONSE_FOR),
    "steering_type": _code(SteeringType),
    "response_for_task": _many(_text),
    "business": _BUSINESS,
    "trace": _many(_table(TraceHeader, {"organ_id": _text, "timestamp": _time})),
    "trace_list_paper": _flag,
    **_all_text(
        *("code_number", "code_notation", "document_id", "subject", "promulgation_place"),
        *("promulgation_date_text", "content", "application_type", "trace_list_id", "trace_list_version"),
    ),
}
_STATUS: Mapping[str, Convert] = {
    "sender": _ORGANIZATION,
    "response_for": _RESPONSE_FOR,
    "status_code": _status_code,
    "timestamp": _time,
    "description": _text,
    "staff_info": _STAFF,
}
_REQUIRED: Mapping[type[object], tuple[str, ...]] = {
    Organization: ("organ_id", "organ_name"),
    Receiver: ("organ_id", "receiver_type"),
    ReplacementInfo: ("document_id",),
    TraceHeader: (),
    DocumentHeader: ("sender", "recipients", "code_number", "code_notation", "promulgation_date", "subject"),
    StatusHeader: ("sender", "response_for", "timestamp"),
    DocumentType: (),
    SignerInfo: (),
    StaffInfo: (),
    OtherInfo: (),
    ResponseFor: (),
    Business: (),
    BusinessDocumentInfo: (),
}
