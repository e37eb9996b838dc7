"""SOAP 1.1 and 1.2 envelopes: read into small trees within limits, written as text; faults both ways.

SOAP 1.1, section 4; SOAP 1.2 part 1, section 5. A document of the service may be huge, its envelope may not: what is
large travels beside it. Lists of any length are read row by row.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TYPE_CHECKING

from vnedoc._internal.xml import DoctypeRefusedError, StreamTarget, XMLRefusedError, parse_into
from vnedoc.exchange._edxml.tree import Node
from vnedoc.exchange._soap import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "DEFAULT_LIMITS",
    "Envelope",
    "EnvelopeError",
    "EnvelopeLimits",
    "FaultCode",
    "SoapFault",
    "SoapVersion",
    "child",
    "child_text",
    "escaped",
    "parse_envelope",
    "wrapped",
]


class SoapVersion(enum.Enum):
    """The two versions of SOAP."""

    V11 = names.SOAP11
    """SOAP 1.1."""
    V12 = names.SOAP12
    """SOAP 1.2."""

    @property
    def media_type(self) -> str:
        """The media type of an envelope that travels alone."""
        return "text/xml" if self is SoapVersion.V11 else "application/soap+xml"


class FaultCode(enum.StrEnum):
    """Whose fault it is, in the words of SOAP 1.1."""

    CLIENT = "Client"
    """The caller's: the same again will fail again."""
    SERVER = "Server"
    """Ours: the same may work later."""
    VERSION_MISMATCH = "VersionMismatch"
    """The envelope is of no known version."""
    MUST_UNDERSTAND = "MustUnderstand"
    """A header block that must be understood is not."""

    @property
    def in_soap12(self) -> str:
        """The same in SOAP 1.2."""
        return {"Client": "Sender", "Server": "Receiver"}.get(self.value, self.value)


class EnvelopeError(ValueError):
    """The envelope cannot be read, or asks for more than it may.

    Args:
        code: What is wrong, for machines.
        text: The same in words.
        fault: Whose fault it is.
    """

    def __init__(self, code: str, text: str, *, fault: FaultCode = FaultCode.CLIENT) -> None:
        super().__init__(text)
        self.code = code
        self.fault = fault


@dataclasses.dataclass(frozen=True, slots=True)
class EnvelopeLimits:
    """How much an envelope may ask of this machine."""

    max_depth: int = 32
    """How deep elements may nest."""
    max_elements: int = 50_000
    """How many elements it may have, without rows."""
    max_attributes: int = 32
    """How many attributes an element may have."""
    max_text_chars: int = 4 * 1024 * 1024
    """All text and attributes, without rows."""
    max_rows: int = 1_000_000
    """How many rows."""
    max_row_chars: int = 64 * 1024
    """All text and attributes of one row."""


DEFAULT_LIMITS = EnvelopeLimits()
# XML 1.0, production 2: what no XML document may hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that was read."""

    version: SoapVersion
    """Its version."""
    header: tuple[Node, ...]
    """Its header blocks."""
    body: tuple[Node, ...]
    """What is in its body."""

    def block(self, name: str) -> Node | None:
        """Return the header block of a name, in the namespace of the service or in none."""
        return _named(self.header, name)

    @property
    def content(self) -> Node | None:
        """The first element of the body."""
        return self.body[0] if self.body else None

    def fault(self) -> SoapFault | None:
        """Return the fault in the body, if there is one."""
        content = self.content
        if content is None or content.name != "Fault" or content.namespace != self.version.value:
            return None
        return SoapFault.from_node(content, self.version)


def parse_envelope(
    chunks: Iterable[bytes],
    *,
    limits: EnvelopeLimits = DEFAULT_LIMITS,
    row: str | None = None,
    on_row: Callable[[Node], None] | None = None,
) -> Envelope:
    """Read an envelope.

    Args:
        chunks: Its bytes.
        limits: How much it may ask for.
        row: The name of elements that are handed over one by one and not kept.
        on_row: What takes them.

    Raises:
        EnvelopeError: It is no envelope, or over a limit.
    """
    target = _EnvelopeTarget(limits, row, on_row)
    try:
        parse_into(target, chunks)
    except DoctypeRefusedError as exc:
        raise EnvelopeError("doctype", "a document type declaration is not accepted") from exc
    except XMLRefusedError as exc:
        raise EnvelopeError("not-xml", f"not well-formed XML: {str(exc)[:200]}") from exc
    return _understood(target.root)


def _understood(root: Node | None) -> Envelope:
    if root is None or root.name != "Envelope":
        raise EnvelopeError("no-envelope", "the root element is not a SOAP envelope")
    try:
        version = SoapVersion(root.namespace)
    except ValueError as exc:
        raise EnvelopeError(
            "version", "the envelope is neither of SOAP 1.1 nor of SOAP 1.2", fault=FaultCode.VERSION_MISMATCH
        ) from exc
    parts = {name: [node for node in root.children if node.name == name] for name in ("Header", "Body")}
    foreign = [node for nodes in parts.values() for node in nodes if node.namespace != root.namespace]
    # With two bodies each reader would act on another one.
    if foreign or len(parts["Header"]) > 1 or len(parts["Body"]) != 1:
        raise EnvelopeError("bad-envelope", "the envelope has not one Body and at most one Header")
    header = [node for part in parts["Header"] for node in part.children]
    return Envelope(version, tuple(header), tuple(parts["Body"][0].children))


class _EnvelopeTarget(StreamTarget):
    """Builds the tree of an envelope within limits; rows are handed over and let go."""

    def __init__(
        self, limits: EnvelopeLimits, row: str | None, on_row: Callable[[Node], None] | None
    ) -> None:
        self.root: Node | None = None
        self._limits = limits
        self._row = row
        self._on_row = on_row
        self._open: list[Node] = []
        self._row_depth: int | None = None
        self._rows = 0
        self._elements = 0
        self._chars = 0
        self._row_elements = 0
        self._row_chars = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        limits = self._limits
        if len(self._open) >= limits.max_depth:
            raise EnvelopeError("too-deep", f"elements nest deeper than {limits.max_depth}")
        if len(attributes) > limits.max_attributes:
            raise EnvelopeError("too-many-attributes", f"more than {limits.max_attributes} attributes")
        namespace, _, name = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
        if self._row_depth is None and name == self._row:
            self._begin_row()
        self._count(len(tag) + sum(len(key) + len(value) for key, value in attributes.items()), elements=1)
        # A prefix that was never declared stays part of the name; it says nothing.
        node = Node(name.rpartition(":")[2], namespace, dict(attributes))
        if not self._open:
            self.root = node
        elif self._row_depth != len(self._open):
            self._open[-1].pieces.append(node)
        self._open.append(node)

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser has matched the names
        node = self._open.pop()
        if self._row_depth == len(self._open):
            self._row_depth = None
            if self._on_row is not None:
                self._on_row(node)

    def data(self, text: str) -> None:
        # White space between rows would pile up in their parent.
        if self._open and (self._row is None or text.strip()):
            self._count(len(text), elements=0)
            self._open[-1].pieces.append(text)

    def _begin_row(self) -> None:
        self._row_depth = len(self._open)
        self._row_elements = self._row_chars = 0
        self._rows += 1
        if self._rows > self._limits.max_rows:
            raise EnvelopeError("too-many-rows", f"more than {self._limits.max_rows} rows")

    def _count(self, chars: int, *, elements: int) -> None:
        limits = self._limits
        if self._row_depth is not None:
            self._row_chars += chars
            self._row_elements += elements
            if self._row_chars > limits.max_row_chars or self._row_elements > limits.max_elements:
                raise EnvelopeError("too-large", "a row of the answer is too large")
            return
        self._chars += chars
        self._elements += elements
        if self._elements > limits.max_elements:
            raise EnvelopeError("too-many-elements", f"more than {limits.max_elements} elements")
        if self._chars > limits.max_text_chars:
            raise EnvelopeError("too-large", f"more than {limits.max_text_chars} characters of text")


@dataclasses.dataclass(frozen=True, slots=True)
class SoapFault:
    """A fault."""

    code: FaultCode | str
    """Whose fault it is; text if it is a word of the other side's own."""
    reason: str
    """In words."""
    detail_code: str | None = None
    """What is wrong, for machines."""

    def to_envelope(self, version: SoapVersion) -> bytes:
        """Return the fault in an envelope."""
        detail = ""
        if self.detail_code:
            detail = (
                f'<code xmlns="{names.FAULT_NAMESPACE}">{escaped(self.detail_code)}</code>'
                f'<reason xmlns="{names.FAULT_NAMESPACE}">{escaped(self.reason)}</reason>'
            )
        code = self.code
        if version is SoapVersion.V11:
            content = (
                f"<soap:Fault><faultcode>soap:{escaped(str(code))}</faultcode>"
                f"<faultstring>{escaped(self.reason)}</faultstring>"
                f"{f'<detail>{detail}</detail>' if detail else ''}</soap:Fault>"
            )
        else:
            word = code.in_soap12 if isinstance(code, FaultCode) else code
            content = (
                f"<soap:Fault><soap:Code><soap:Value>soap:{escaped(word)}</soap:Value></soap:Code>"
                f'<soap:Reason><soap:Text xml:lang="vi">{escaped(self.reason)}</soap:Text></soap:Reason>'
                f"{f'<soap:Detail>{detail}</soap:Detail>' if detail else ''}</soap:Fault>"
            )
        return wrapped(version, content.encode())

    @classmethod
    def from_node(cls, node: Node, version: SoapVersion) -> SoapFault:
        """Read a fault, tolerant of what it lacks."""
        if version is SoapVersion.V11:
            code, reason = child_text(node, "faultcode"), child_text(node, "faultstring")
            detail = child(node, "detail")
        else:
            holder, text = child(node, "Code"), child(node, "Reason")
            code = child_text(holder, "Value") if holder else None
            reason = child_text(text, "Text") if text else None
            detail = child(node, "Detail")
        word = (code or "").rpartition(":")[2]
        known = {item.in_soap12: item for item in FaultCode} | {item.value: item for item in FaultCode}
        detail_code = child_text(detail, "code") if detail else None
        return cls(known.get(word.partition(".")[0], word), reason or "", detail_code)


def child(node: Node, name: str) -> Node | None:
    """Return the first child of a name, whatever its namespace."""
    return next((found for found in node.children if found.name == name), None)


def child_text(node: Node, name: str) -> str | None:
    """Return the text of the first child of a name; ``None`` if there is none or it is empty.

    Letter case does not count: the platform itself writes ``DocumentId`` and reads ``documentId``.
    """
    wanted = name.lower()
    for found in node.children:
        if found.name.lower() == wanted:
            return found.text or None
    return None


def wrapped(version: SoapVersion, body: bytes, *, header: bytes = b"") -> bytes:
    """Return an envelope around the XML of its body, and of its header blocks if there are any."""
    root = f'<soap:Envelope xmlns:soap="{version.value}" xmlns:{names.PREFIX}="{names.NAMESPACE}">'
    parts = [
        b'<?xml version="1.0" encoding="UTF-8"?>\n',
        root.encode(),
        b"<soap:Header>" + header + b"</soap:Header>" if header else b"",
    ]
    return b"".join([*parts, b"<soap:Body>", body, b"</soap:Body></soap:Envelope>"])


def escaped(text: str) -> str:
    """Return text as it may stand in an element or an attribute; what XML cannot hold becomes a question mark."""
    clean = _FORBIDDEN.sub("?", text)
    for char, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        clean = clean.replace(char, escape)
    return clean


def _named(nodes: Iterable[Node], name: str) -> Node | None:
    return next(
        (node for node in nodes if node.name == name and node.namespace in {names.NAMESPACE, ""}), None
    )
