"""The facts of the VXP wire: names, signing string, time format, file hash. Connector and hub both stand on it.

The national axis signs every request with HMAC-SHA256 over a compact JSON text of some of its headers. This
module builds and takes apart that text; it does no I/O and holds no secret.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import hashlib
import hmac
import json
import re
from typing import TYPE_CHECKING

from vnedoc._internal.clock import VIETNAM, vietnam
from vnedoc.exchange.codes import PackageKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "AGENCY_PATH",
    "AGENCY_QD20_PATH",
    "BODY_TAIL",
    "CONTENT_TYPE",
    "COUNT_DOCUMENTS_PATH",
    "COUNT_STATUSES_PATH",
    "DOWNLOAD_PATH",
    "FETCH_PATH",
    "HASH_HEADER",
    "JSON_TYPE",
    "MESSAGE_TYPES",
    "OCTET_TYPE",
    "PREFIX",
    "RECEIVED_PATH",
    "REGISTER_PATH",
    "SEND_PATH",
    "SENT_PATH",
    "SERVICE_TYPE",
    "SIGN_HEADER",
    "SIGN_HEADER_KEY",
    "STATUS_PATH",
    "UNITS_PATH",
    "UNREGISTER_PATH",
    "VERSION",
    "Answer",
    "ErrorCode",
    "HeaderError",
    "file_hash",
    "is_file_hash",
    "list_time",
    "parse_timestamp",
    "read_signed",
    "request_headers",
    "sign",
    "sign_text",
    "timestamp",
]

PREFIX = "XroadVnpt-"
VERSION = "3.0.201608"
SERVICE_TYPE = "eDoc"
MESSAGE_TYPES = {PackageKind.DOCUMENT: "edoc", PackageKind.STATUS: "status"}
"""How the wire calls what a package carries (``messagetype``)."""
CONTENT_TYPE = "Content-Type"
JSON_TYPE = "application/json"
OCTET_TYPE = "application/octet-stream"
SIGN_HEADER_KEY = PREFIX + "sign-header-key"
SIGN_HEADER = PREFIX + "sign-header"
HASH_HEADER = PREFIX + "hash-header"
BODY_TAIL = b"\r\n"
"""What the axis's own client appends to the file in the body of sendEdoc."""

SEND_PATH = "/sendEdoc"
RECEIVED_PATH = "/getReceivedEdocList"
SENT_PATH = "/getSentEdocList"
FETCH_PATH = "/getEdoc"
DOWNLOAD_PATH = "/downloadEdoc"
STATUS_PATH = "/updateStatus"
AGENCY_PATH = "/getAgenciesList"
AGENCY_QD20_PATH = "/getAgenciesListQD20"
UNITS_PATH = "/getSynchronizeUnit"
REGISTER_PATH = "/registerAgency"
UNREGISTER_PATH = "/deleteAgency"
COUNT_DOCUMENTS_PATH = "/countReceiveEdoc"
COUNT_STATUSES_PATH = "/countReceiveStatus"

MAX_SIGNED_KEYS = 32
_TIMESTAMP = re.compile(r"(\d{8}T\d{6})\+(\d{4})")


class ErrorCode(enum.StrEnum):
    """The ``ErrorCode`` of answers.

    The national axis publishes no table. 10 to 22 are those of a provincial axis that republishes its calls;
    24 and above are the hub's own.
    """

    OK = "0"
    """Done."""
    INVALID_FILE = "10"
    """The body is not the file that was signed for, or is too large."""
    UNAUTHENTICATED = "15"
    """Unknown system, wrong signature, clock too far off, or a request seen before."""
    UNKNOWN_RECIPIENT = "18"
    """At least one recipient is not registered; the whole package is refused."""
    UNKNOWN_SENDER = "19"
    """The sender's code is not registered for the calling system."""
    INTERNAL = "20"
    """The hub had trouble; try again."""
    INVALID_PACKAGE = "22"
    """The file is not an edXML package that can be routed."""
    CONFLICT = "24"
    """This sender sent another package with the same document identifier before."""
    UNKNOWN_DOCUMENT = "25"
    """The caller has no package with this id."""
    BAD_PARAMETER = "26"
    """A parameter is missing or not understood."""
    BACKWARDS = "27"
    """The transport status would move backwards."""
    BUSY = "28"
    """The hub takes nothing more from the caller now; try again after ``Retry-After``."""
    GONE = "29"
    """The hub has delivered the package long ago and does not keep it any more."""


class HeaderError(ValueError):
    """The signed headers of a request do not hold together."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The envelope of every answer but a downloaded file."""

    ok: bool
    error_code: str = "0"
    error_text: str = ""
    doc_id: str | None = None
    data: object = None
    count: int | None = None

    def to_json(self) -> str:
        """Return the envelope as compact JSON."""
        fields: dict[str, object] = {
            "status": "OK" if self.ok else "FAIL",
            "ErrorCode": self.error_code,
            "ErrorDesc": self.error_text,
            "DocId": self.doc_id,
            "data": self.data,
        }
        if self.count is not None:
            fields["count"] = self.count
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, content: bytes) -> Answer:
        """Read an envelope; letter case of the keys is free, and codes may be numbers.

        Raises:
            ValueError: The bytes are not an envelope.
        """
        envelope = json.loads(content)
        fields = (
            {str(key).lower(): value for key, value in envelope.items()} if isinstance(envelope, dict) else {}
        )
        status = fields.get("status")
        if not isinstance(status, str) or status.upper() not in {"OK", "FAIL"}:
            raise ValueError("the answer has no status")
        doc_id = fields.get("docid")
        count = str(fields.get("count", ""))
        return cls(
            ok=status.upper() == "OK",
            error_code=str(fields.get("errorcode") or "0"),
            error_text=str(fields.get("errordesc") or ""),
            doc_id=None if doc_id is None else str(doc_id),
            data=fields.get("data"),
            count=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None,
        )


def timestamp(moment: datetime.datetime) -> str:
    """Return a time as the wire has it: ``21112026T173048+0236``; the ``+0236`` are milliseconds, not a zone."""
    local = vietnam(moment)
    return f"{local:%d%m%YT%H%M%S}+{local.microsecond // 1000:04d}"


def parse_timestamp(text: str) -> datetime.datetime:
    """Read a time as the wire has it; Vietnam time.

    Raises:
        ValueError: It is not such a time.
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None or int(match[2]) > 999:
        raise ValueError("not a timestamp")
    naive = datetime.datetime.strptime(match[1], "%d%m%YT%H%M%S").replace(tzinfo=VIETNAM)
    return (naive + datetime.timedelta(milliseconds=int(match[2]))).astimezone(datetime.UTC)


def list_time(moment: datetime.datetime) -> str:
    """Return a time as the lists of the wire have it: ``2026/11/21 17:30:48``, in Vietnam time."""
    return f"{vietnam(moment):%Y/%m/%d %H:%M:%S}"


def file_hash(digest: bytes, *, padded: bool = False) -> str:
    """Return a SHA-256 digest as ``hash-file``.

    The axis's own client writes each byte in hexadecimal without a leading zero, so 0x5f 0xf1 0x06 becomes
    ``5ff16``; that form is the default.
    """
    return digest.hex() if padded else "".join(f"{byte:x}" for byte in digest)


def is_file_hash(value: str, digest: bytes) -> bool:
    """Tell whether a ``hash-file`` is that of a digest, with or without the leading zeros."""
    given = value.lower()
    return any(
        hmac.compare_digest(given.encode(), file_hash(digest, padded=padded).encode())
        for padded in (True, False)
    )


def sign_text(parameters: Iterable[tuple[str, str]]) -> str:
    """Return the text that is signed: compact JSON of the prefixed headers, in their order."""
    return json.dumps(
        {PREFIX + key: value for key, value in parameters}, ensure_ascii=False, separators=(",", ":")
    )


def sign(text: str, secret: str | bytes) -> str:
    """Return ``hash-header``: HMAC-SHA256 over the signed text, in hexadecimal."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def request_headers(parameters: Sequence[tuple[str, str]], secret: str) -> dict[str, str]:
    """Return all headers of a request whose parameters are signed in the order given.

    Args:
        parameters: Key and value, keys without the prefix; ``Content-Type`` is one of them.
        secret: The secret of the system.

    Raises:
        ValueError: A value cannot stand in an HTTP header.
    """
    for key, value in parameters:
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError(f"{key} cannot stand in a header")
    text = sign_text(parameters)
    headers = {PREFIX + key: value for key, value in parameters}
    headers[CONTENT_TYPE] = headers[PREFIX + CONTENT_TYPE]
    headers[SIGN_HEADER_KEY] = ";".join(key for key, _ in parameters)
    headers[SIGN_HEADER] = text
    headers[HASH_HEADER] = sign(text, secret)
    headers[PREFIX + "version"] = VERSION
    return headers


def read_signed(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that the signature of a request covers, keys in lower case without the prefix.

    Only these may be used: a header beside them can be changed by anyone on the way. The signature itself is
    not checked here.

    Args:
        headers: The headers of the request; look-up must not depend on letter case.

    Raises:
        HeaderError: A part is missing, or the headers differ from what was signed.
    """
    text, listed = headers.get(SIGN_HEADER), headers.get(SIGN_HEADER_KEY)
    if text is None or listed is None:
        raise HeaderError("not signed")
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as exc:
        raise HeaderError("the signed text is not JSON") from exc
    if not isinstance(pairs, list) or not 0 < len(pairs) <= MAX_SIGNED_KEYS:
        raise HeaderError("the signed text is not an object")
    signed: dict[str, str] = {}
    names: list[str] = []
    for pair in pairs:
        if not isinstance(pair, tuple) or not isinstance(pair[1], str) or not pair[0].startswith(PREFIX):
            raise HeaderError("the signed text is not an object of headers")
        key = pair[0].removeprefix(PREFIX)
        if key.lower() in signed:
            raise HeaderError(f"{key} is signed twice")
        names.append(key)
        signed[key.lower()] = pair[1]
        # What was signed must be what was sent, or two readers of one request could see two requests.
        if headers.get(PREFIX + key) != pair[1]:
            raise HeaderError(f"{key} differs from what was signed")
    if names != listed.split(";"):
        raise HeaderError("the list of signed keys differs from the signed text")
    return signed
