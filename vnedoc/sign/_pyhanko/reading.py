"""The first PDF reader: pyHanko's, strict, with the long hexadecimal string of a signature read in one go."""

from __future__ import annotations

import io
import logging
import re
import secrets
import zlib
from typing import TYPE_CHECKING, Any

from pyhanko.pdf_utils import generic, misc
from pyhanko.pdf_utils.crypt import AuthStatus, StandardSecurityHandler
from pyhanko.pdf_utils.decode_limits import DecodeLimits, StreamDecodeLimits
from pyhanko.pdf_utils.reader import PdfFileReader

from vnedoc.errors import DocumentError
from vnedoc.sign._pyhanko import tables, tokens
from vnedoc.sign._pyhanko.hybrid import find_trouble, is_hybrid
from vnedoc.sign._structure import Reading, SignatureField
from vnedoc.sign.report import SignatureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyhanko.pdf_utils.reader import HistoricalResolver

__all__ = [
    "FOREIGN_ERRORS",
    "LONG_CONTENTS",
    "ORPHANED_GENERATION",
    "form_nodes",
    "has_one_generation_each",
    "open_reader",
    "password_of",
    "read_with_pyhanko",
    "short_reason",
    "value_of",
]

tables.install()
tokens.install()

# pyHanko logs what it also reports; without a handler Python would print that, tracebacks included.
for _name in ("pyhanko", "pyhanko_certvalidator"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    misc.PdfError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    EOFError,
    OSError,
    zlib.error,
)
"""What pyHanko, asn1crypto and what they call raise on hostile input; each ends in a verdict."""

MAX_NODES = 100_000
_MIB = 1024 * 1024
# What is unpacked here are tables, objects and certificates, never pictures.
_DECODE_LIMITS = DecodeLimits(per_stream=StreamDecodeLimits(max_output_size=64 * _MIB))
ORPHANED_GENERATION = "orphaned generation"
"""What pyHanko says of an object whose earlier generations nobody freed."""
_FREE_HEAD = re.compile(rb"(\bxref[ \t]*[\r\n]+0 \d{1,10}[ \t]*[\r\n]+0000000000 )65536( f)")
LONG_CONTENTS = re.compile(rb"/Contents\s*<([0-9A-Fa-f]{256,})>")


def short_reason(error: BaseException) -> str:
    """Return what a foreign error says, short enough for a report."""
    return (str(error) or type(error).__name__)[:200]


def value_of(dictionary: generic.DictionaryObject, key: str) -> Any:  # a PDF object of any kind
    """Return the value of a key, followed through references; ``None`` where there is none.

    The ``get`` of pyHanko's dictionaries is Python's and does not follow references.
    """
    try:
        value = dictionary[key]
    except KeyError:
        return None
    return None if isinstance(value, generic.NullObject) else value


class _SignatureReader(PdfFileReader):
    """Reads like its parent; only a long /Contents is not read one letter at a time."""

    def __init__(self, file: bytes, *, strict: bool = True) -> None:
        # The parent begins to read at once.
        self._file = file
        self.used_password = ""
        # The strings of an encrypted file are for the ordinary way of reading.
        self._is_quick = b"/Encrypt" not in file
        super().__init__(io.BytesIO(file), strict=strict, decode_limits=_DECODE_LIMITS)

    def _read_object(
        self,
        ref: Any,  # pyHanko declares its own types loosely
        marker: Any,
        never_decrypt: bool = False,  # noqa: FBT001, FBT002 - pyHanko's signature
        as_metadata_stream: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        if isinstance(marker, int) and self._is_quick:
            quick = self._read_signature_dictionary(ref, marker)
            if quick is not None:
                return quick
        return super()._read_object(
            ref, marker, never_decrypt=never_decrypt, as_metadata_stream=as_metadata_stream
        )

    def _read_signature_dictionary(self, ref: Any, offset: int) -> generic.DictionaryObject | None:
        """Read a signature dictionary with a stand-in for its /Contents, then put the real one back.

        Returns ``None`` for everything that is not clearly a plain signature dictionary: the ordinary way decides.
        """
        end = self._file.find(b"endobj", offset, offset + 512)
        if end >= 0:
            return None
        match = LONG_CONTENTS.search(self._file, offset, offset + 65536)
        if match is None:
            return None
        end = self._file.find(b"endobj", match.end(), match.end() + 65536)
        if end < 0 or b"endobj" in self._file[offset : match.start()]:
            return None
        # A random stand-in shows whether the match really was the value of /Contents, and not text in a string.
        stand_in = secrets.token_bytes(16)
        text = b"".join(
            (
                self._file[offset : match.start(1)],
                stand_in.hex().encode("ascii"),
                self._file[match.end(1) : end + 6],
            )
        )
        stream = io.BytesIO(text)
        header = re.match(rb"(\d+)\s+(\d+)\s+obj\b", text)
        if header is None or (int(header[1]), int(header[2])) != (ref.idnum, ref.generation):
            return None
        stream.seek(header.end())
        misc.read_non_whitespace(stream, seek_back=True)
        value = generic.read_object(stream, generic.Reference(ref.idnum, ref.generation, self))
        if not isinstance(value, generic.DictionaryObject) or isinstance(value, generic.StreamObject):
            return None
        held = value_of(value, "/Contents")
        if not isinstance(held, generic.TextStringObject | generic.ByteStringObject):
            return None
        if held.original_bytes != stand_in or misc.read_non_whitespace(stream) != b"e":
            return None
        contents = generic.ByteStringObject(_from_hex(match[1]))
        contents.container_ref = generic.Reference(ref.idnum, ref.generation, self)
        value[generic.pdf_name("/Contents")] = contents
        return value


def _from_hex(digits: bytes) -> bytes:
    # ISO 32000-2, 7.3.4.3: a missing last digit is zero.
    return bytes.fromhex((digits if len(digits) % 2 == 0 else digits + b"0").decode("ascii"))


def open_reader(file: bytes, *, password: str = "") -> PdfFileReader:
    """Open a PDF strictly.

    Args:
        file: Its bytes.
        password: What opens it, if it is encrypted; many such files open without any.

    Raises:
        DocumentError: ``verify.encrypted``, or ``verify.first-reader`` when pyHanko cannot read the file.
    """
    try:
        reader = _opened(file)
        locked = reader.encrypted and not _unlock(reader, password)
        trouble = find_trouble(reader) if is_hybrid(reader) and not locked else None
    except FOREIGN_ERRORS as exc:
        raise _refusal(exc) from exc
    if locked:
        raise DocumentError("verify.encrypted")
    if trouble is not None:
        # Such a file has two tables of objects; which one counts depends on the reader (ISO 32000-2, 7.5.8.4).
        raise DocumentError("verify.first-reader", reason=f"hybrid-reference file: {trouble.value}")
    return reader


def password_of(reader: PdfFileReader) -> str:
    """Return what an encrypted file was opened with; nothing for one that is not encrypted."""
    return reader.used_password if isinstance(reader, _SignatureReader) else ""


def _unlock(reader: PdfFileReader, password: str) -> bool:
    if not isinstance(reader.security_handler, StandardSecurityHandler):
        return False
    if isinstance(reader, _SignatureReader):
        reader.used_password = password
    return bool(reader.decrypt(password).status is not AuthStatus.FAILED)


def _opened(file: bytes) -> PdfFileReader:
    # Pillow gives the head of the list of free objects a generation one too high. Object 0 is never used, so nothing
    # can be read two ways; every other number stays as it is, and so does the length of the file.
    if b" 65536 f" in file:
        file = _FREE_HEAD.sub(rb"\g<1>65535\g<2>", file)
    try:
        return _SignatureReader(file)
    except misc.PdfStrictReadError as exc:
        if ORPHANED_GENERATION not in str(exc):
            raise
        # Poppler gives some of the objects that it adds the generation 1. The check that refuses this is the last
        # one of the strict reading of all tables, so reading them again leniently reads the same; objects are then
        # read strictly again.
        reader = _SignatureReader(file, strict=False)
        reader.strict = True
        if not has_one_generation_each(reader):
            raise
        return reader


def has_one_generation_each(reader: PdfFileReader) -> bool:
    """Tell whether every object number stands for one object, whatever its generation is called.

    A number that is used again with another generation can be an object for one reader and nothing for the next.
    """
    known: dict[int, int] = {}
    for number in range(reader.xrefs.total_revisions):
        data = reader.xrefs.get_xref_data(number)
        if data.hybrid is not None:
            return False
        for idnum, generation in data.explicit_refs_in_revision:
            if known.setdefault(idnum, generation) != generation and (generation > 0 or known[idnum] > 0):
                return False
        known.update(dict.fromkeys(data.freed, -1))
    return True


def read_with_pyhanko(reader: PdfFileReader) -> Reading:
    """Read what matters for signatures.

    Raises:
        DocumentError: ``verify.first-reader`` when pyHanko cannot make sense of the file.
    """
    try:
        return _read(reader)
    except FOREIGN_ERRORS as exc:
        raise _refusal(exc) from exc


def _refusal(error: BaseException) -> DocumentError:
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            break
        if isinstance(cause, misc.PdfDecodeLimitError):
            return DocumentError("verify.too-costly")
        cause = cause.__cause__ or cause.__context__
    return DocumentError("verify.first-reader", reason=short_reason(error))


def _read(reader: PdfFileReader) -> Reading:
    pages = 0
    widgets: list[generic.DictionaryObject] = []
    for page in _pages(reader):
        pages += 1
        annotations = value_of(page, "/Annots")
        if isinstance(annotations, generic.ArrayObject):
            for entry in annotations:
                annotation = entry.get_object()
                if (
                    isinstance(annotation, generic.DictionaryObject)
                    and value_of(annotation, "/Subtype") == "/Widget"
                ):
                    widgets.append(annotation)
        if len(widgets) > MAX_NODES:
            raise ValueError("too many annotations")
    found: dict[object, SignatureField] = {}
    names: set[str] = set()
    nodes = [(node, name, True) for node, name in form_nodes(reader)]
    nodes += [(widget, _climbed_name(widget), False) for widget in widgets]
    for node, name, from_form in nodes:
        raw = _inherited(node, "/V")
        value = raw.get_object() if raw is not None else None
        if isinstance(value, generic.NullObject):
            value = None
        kind = _inherited(node, "/FT")
        kind = kind.get_object() if kind is not None else None
        if kind != "/Sig" and not (isinstance(value, generic.DictionaryObject) and "/ByteRange" in value):
            continue
        names.add(name)
        if value is None:
            continue
        value_id = (raw.idnum, raw.generation) if isinstance(raw, generic.IndirectObject) else None
        found.setdefault(
            (name, value_id if value_id is not None else id(value)),
            _field(name, value, value_id, from_form=from_form),
        )
    return Reading(pages=pages, signatures=tuple(found.values()), signature_field_names=frozenset(names))


def _field(
    name: str, value: Any, value_id: tuple[int, int] | None, *, from_form: bool
) -> SignatureField:  # a PDF object of any kind
    if not isinstance(value, generic.DictionaryObject):
        return SignatureField(name, None, SignatureKind.SIGNATURE, None, None, None, from_form=from_form)
    subfilter = value_of(value, "/SubFilter")
    is_timestamp = value_of(value, "/Type") == "/DocTimeStamp" or subfilter == "/ETSI.RFC3161"
    contents = _contents(value)
    claimed = value_of(value, "/M")
    strings = generic.TextStringObject | generic.ByteStringObject
    return SignatureField(
        name=name,
        value_id=value_id,
        kind=SignatureKind.DOCUMENT_TIMESTAMP if is_timestamp else SignatureKind.SIGNATURE,
        subfilter=str(subfilter).removeprefix("/") if isinstance(subfilter, generic.NameObject) else None,
        byte_range=_integers(value_of(value, "/ByteRange")),
        contents=contents.original_bytes if isinstance(contents, strings) else None,
        claimed_time=str(claimed)[:64] if isinstance(claimed, generic.TextStringObject) else None,
        from_form=from_form,
    )


def _contents(value: generic.DictionaryObject) -> Any:  # a PDF object of any kind
    """Return the signature itself, which is never encrypted (ISO 32000-2, 7.6.2)."""
    try:
        found = value.raw_get("/Contents", decrypt=generic.EncryptedObjAccess.RAW)
    except KeyError:
        return None
    return found.get_object() if isinstance(found, generic.IndirectObject) else found


def _integers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, generic.ArrayObject) or len(value) > 16:
        return None
    items = [item.get_object() for item in value]
    if any(not isinstance(item, generic.NumberObject) for item in items):
        return None
    return tuple(int(item) for item in items)


def _pages(reader: PdfFileReader) -> Iterator[generic.DictionaryObject]:
    waiting = [reader.root.raw_get("/Pages")]
    seen: set[tuple[int, int]] = set()
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, generic.IndirectObject):
            key = (entry.idnum, entry.generation)
            if key in seen:
                raise ValueError("a loop in the page tree")
            seen.add(key)
        node = entry.get_object()
        if not isinstance(node, generic.DictionaryObject):
            raise TypeError("a page is not a dictionary")
        kids = value_of(node, "/Kids")
        if isinstance(kids, generic.ArrayObject):
            waiting += reversed(kids)
        else:
            yield node


def form_nodes(
    reader: PdfFileReader | HistoricalResolver,
) -> Iterator[tuple[generic.DictionaryObject, str]]:
    """Yield the nodes of the interactive form, each with its fully qualified name."""
    form = value_of(reader.root, "/AcroForm")
    fields = value_of(form, "/Fields") if isinstance(form, generic.DictionaryObject) else None
    if not isinstance(fields, generic.ArrayObject):
        return
    waiting = [(node, "") for node in reversed(fields)]
    seen: set[tuple[int, int]] = set()
    count = 0
    while waiting:
        entry, prefix = waiting.pop()
        count += 1
        if count > MAX_NODES:
            raise ValueError("too many form fields")
        if isinstance(entry, generic.IndirectObject):
            if (entry.idnum, entry.generation) in seen:
                continue
            seen.add((entry.idnum, entry.generation))
        node = entry.get_object()
        if not isinstance(node, generic.DictionaryObject):
            continue
        partial = value_of(node, "/T")
        name = prefix
        if isinstance(partial, generic.TextStringObject):
            name = f"{prefix}.{partial}" if prefix else str(partial)
        yield node, name
        kids = value_of(node, "/Kids")
        if isinstance(kids, generic.ArrayObject):
            waiting += [(kid, name) for kid in reversed(kids)]


def _climbed_name(node: generic.DictionaryObject) -> str:
    parts = [
        str(partial)
        for ancestor in _line(node)
        if isinstance(partial := value_of(ancestor, "/T"), generic.TextStringObject)
    ]
    return ".".join(reversed(parts))


def _inherited(node: generic.DictionaryObject, key: str) -> Any:  # a PDF object of any kind
    for ancestor in _line(node):
        try:
            return ancestor.raw_get(key)
        except KeyError:
            continue
    return None


def _line(node: Any) -> Iterator[generic.DictionaryObject]:  # a PDF object of any kind
    for _ in range(64):
        if not isinstance(node, generic.DictionaryObject):
            return
        yield node
        node = value_of(node, "/Parent")
