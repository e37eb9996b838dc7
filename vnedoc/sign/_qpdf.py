"""The second PDF reader: what qpdf sees, read without any help from pyHanko.

A file whose two readers disagree can be made to show one thing and to prove another. So nothing here is shared
with the first reader but the shape of the result.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import re
from typing import TYPE_CHECKING, BinaryIO

import pikepdf

from vnedoc.errors import DocumentError
from vnedoc.sign._lineage import lineage
from vnedoc.sign._structure import MAX_CONTENTS_BYTES, Reading, SignatureField
from vnedoc.sign.report import SignatureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["has_security_store", "opens_with", "read_with_qpdf"]

# qpdf's log says what the complaints say; without a handler Python would print it, too.
logging.getLogger("pikepdf").addHandler(logging.NullHandler())

MAX_NODES = 100_000
"""How many nodes of the form, and how many annotations, are looked at."""
MAX_COMPLAINTS = 20
MAX_CLAIM_PARTS = 2000
"""How many parts of a signature dictionary are looked at."""
_SPEAKER = re.compile(r"^stream <[^>]*>(?: \([^)]*\))?[:,] ")
_LARGE_SIZE = re.compile(
    r"reported number of objects \((\d+)\) is not one plus the highest object number \((\d+)\)"
)
_FOREIGN_ERRORS = (
    pikepdf.PdfError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    NotImplementedError,
)


def read_with_qpdf(file: bytes | BinaryIO, *, password: str | None = None) -> Reading:
    """Read what matters for signatures from the bytes of a PDF.

    Args:
        file: The bytes, or an open file, of which only the needed parts are read.
        password: Opens an encrypted file; without one it is refused, even if it would open without.

    Raises:
        DocumentError: ``verify.encrypted``, or ``verify.second-reader`` when qpdf cannot open the file.
    """
    try:
        stream = io.BytesIO(file) if isinstance(file, bytes) else file
        with pikepdf.open(stream, password=password or "", suppress_warnings=True) as pdf:
            if pdf.is_encrypted and password is None:
                raise DocumentError("verify.encrypted")
            signatures, names = _signatures(pdf)
            previous: object = pdf.trailer.get("/Prev")
            promised: object = pdf.Root.Pages.get("/Count")
            reading = Reading(
                pages=len(pdf.pages),
                signatures=signatures,
                signature_field_names=names,
                # Asked last: reading lazily, qpdf complains only about what it has looked at.
                complaints=tuple(_complaints(pdf)),
                previous_section=previous if isinstance(previous, int) else None,
                promised_pages=promised if isinstance(promised, int) else None,
                usage_rights=_usage_rights(pdf),
                encryption=_claims(pdf.trailer.Encrypt) if "/Encrypt" in pdf.trailer else "",
            )
            return _with_plain_tokens(reading, stream) if pdf.is_encrypted else reading
    except pikepdf.PasswordError as exc:
        raise DocumentError("verify.encrypted") from exc
    except _FOREIGN_ERRORS as exc:
        raise DocumentError("verify.second-reader", reason=_short(exc)) from exc


def _with_plain_tokens(reading: Reading, stream: BinaryIO) -> Reading:
    """Give document time-stamps in an encrypted file their Contents as they stand there.

    Contents is not enciphered (ISO 32000-2, 7.6.2). qpdf knows that of signatures, and deciphers that of time-stamps.
    """
    return dataclasses.replace(
        reading, signatures=tuple(_with_plain_token(field, stream) for field in reading.signatures)
    )


def _with_plain_token(field: SignatureField, stream: BinaryIO) -> SignatureField:
    covered = field.byte_range
    if field.kind is not SignatureKind.DOCUMENT_TIMESTAMP or covered is None or len(covered) != 4:
        return field
    start, end = covered[1], covered[2]
    if not 0 < start < end <= start + 2 * MAX_CONTENTS_BYTES + 2:
        return field
    stream.seek(start)
    written = stream.read(end - start)
    try:
        contents = bytes.fromhex(written[1:-1].decode("ascii"))
    except ValueError:
        return field
    plain = written[:1] + written[-1:] == b"<>"
    return dataclasses.replace(field, contents=contents) if plain else field


def _usage_rights(pdf: pikepdf.Pdf) -> int:
    """Count the signatures that switch on functions of Adobe's reader (ISO 32000-1, 12.8.2.3); in no field."""
    permissions = pdf.Root.get("/Perms")
    if not isinstance(permissions, pikepdf.Dictionary):
        return 0
    found = {
        (value.objgen[0] or key)
        for key in ("/UR3", "/UR")
        if isinstance(value := permissions.get(key), pikepdf.Dictionary) and "/ByteRange" in value
    }
    return len(found)


def has_security_store(file: bytes | BinaryIO, *, password: str | None = None) -> bool:
    """Tell whether a file has a document security store (ISO 32000-2, 12.8.4.3); one that is broken has none."""
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        with pikepdf.open(stream, password=password or "", suppress_warnings=True) as pdf:
            return isinstance(pdf.Root.get("/DSS"), pikepdf.Dictionary)
    except _FOREIGN_ERRORS:
        return False


def opens_with(file: bytes, password: str) -> bool:
    """Tell whether a password opens a file; one that is broken is for the readers to refuse."""
    try:
        with pikepdf.open(io.BytesIO(file), password=password, suppress_warnings=True):
            return True
    except pikepdf.PasswordError:
        return False
    except _FOREIGN_ERRORS:
        return True


def _complaints(pdf: pikepdf.Pdf) -> Iterator[str]:
    for warning in pdf.get_warnings()[:MAX_COMPLAINTS]:
        text = _without_speaker(str(warning))
        size = _LARGE_SIZE.search(text)
        # A /Size that promises more than there is hides nothing; one that is too small makes objects vanish for
        # strict readers (ISO 32000-2, table 15).
        if size is None or int(size[1]) <= int(size[2]):
            yield text


def _without_speaker(text: str) -> str:
    """Return what qpdf says without the place in memory it says it of: a report must not differ each time."""
    return _SPEAKER.sub("", text)


def _short(error: Exception) -> str:
    return _without_speaker(str(error) or type(error).__name__)[:200]


def _signatures(pdf: pikepdf.Pdf) -> tuple[tuple[SignatureField, ...], frozenset[str]]:
    places = _places(pdf)
    found: dict[object, SignatureField] = {}
    names: set[str] = set()
    nodes = [(node, name, True) for node, name in _form_nodes(pdf)]
    nodes += [(widget, _climbed_name(widget), False) for widget, _ in places.values()]
    for node, name, from_form in nodes:
        value = _inherited(node, "/V")
        is_dictionary = isinstance(value, pikepdf.Dictionary)
        is_signature = _inherited(node, "/FT") == pikepdf.Name.Sig or (
            isinstance(value, pikepdf.Dictionary) and "/ByteRange" in value
        )
        if not is_signature:
            continue
        names.add(name)
        if value is None:
            continue
        # A widget of a field that was met already is the same signature, only seen from its page.
        key = (name, tuple(value.objgen) if is_dictionary else repr(value))
        known = found.get(key)
        box = _box(pdf, node, places)
        if known is None:
            found[key] = _field(name, value, box=box, from_form=from_form)
        elif known.box is None and box is not None:
            found[key] = _with_box(known, box)
    return tuple(found.values()), frozenset(names)


def _field(
    name: str, value: pikepdf.Object, *, box: tuple[int, str] | None, from_form: bool
) -> SignatureField:
    if not isinstance(value, pikepdf.Dictionary):
        return SignatureField(
            name, None, SignatureKind.SIGNATURE, None, None, None, box=box, from_form=from_form
        )
    subfilter = value.get("/SubFilter")
    is_timestamp = value.get("/Type") == pikepdf.Name.DocTimeStamp or subfilter == pikepdf.Name(
        "/ETSI.RFC3161"
    )
    contents = value.get("/Contents")
    claimed = value.get("/M")
    number, generation = value.objgen
    return SignatureField(
        name=name,
        value_id=(number, generation) if number else None,
        kind=SignatureKind.DOCUMENT_TIMESTAMP if is_timestamp else SignatureKind.SIGNATURE,
        subfilter=str(subfilter).removeprefix("/") if isinstance(subfilter, pikepdf.Name) else None,
        byte_range=_integers(value.get("/ByteRange")),
        contents=bytes(contents) if isinstance(contents, pikepdf.String) else None,
        claimed_time=str(claimed)[:64] if isinstance(claimed, pikepdf.String) else None,
        box=box,
        from_form=from_form,
        claims=_claims(value),
    )


def _claims(value: pikepdf.Object) -> str:
    """Return what a dictionary says, a signature without its Contents, followed through references."""
    budget = [MAX_CLAIM_PARTS]

    def plain(part: object, depth: int) -> str:
        budget[0] -= 1
        if budget[0] < 0 or depth > 16:
            raise ValueError("a signature dictionary with too many parts")
        if isinstance(part, pikepdf.Dictionary):
            # What a reference points its transform at (Data) is the document, not the dictionary.
            keys = sorted(str(key) for key in part.keys() if key not in {"/Contents", "/Data"})  # noqa: SIM118 - no mapping
            return f"<<{' '.join(f'{key} {plain(part.get(key), depth + 1)}' for key in keys)}>>"
        if isinstance(part, pikepdf.Array):
            return f"[{' '.join(plain(item, depth + 1) for item in list(part))}]"
        if isinstance(part, pikepdf.Stream):
            return f"stream {part.read_raw_bytes().hex()[:4096]}"
        return f"({bytes(part).hex()})" if isinstance(part, pikepdf.String) else str(part)

    return plain(value, 0)


def _with_box(field: SignatureField, box: tuple[int, str]) -> SignatureField:
    return dataclasses.replace(field, box=box)


def _integers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, pikepdf.Array) or len(value) > 16:
        return None
    # pikepdf turns PDF integers into int and booleans into bool, which Python takes for an int.
    items: list[object] = list(value)
    numbers = tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))
    return numbers if len(numbers) == len(items) else None


def _form_nodes(pdf: pikepdf.Pdf) -> Iterator[tuple[pikepdf.Object, str]]:
    form = pdf.Root.get("/AcroForm")
    fields = form.get("/Fields") if isinstance(form, pikepdf.Dictionary) else None
    if not isinstance(fields, pikepdf.Array):
        return
    waiting = [(node, "") for node in reversed(list(fields))]
    seen: set[tuple[int, int]] = set()
    count = 0
    while waiting:
        node, prefix = waiting.pop()
        count += 1
        if count > MAX_NODES:
            raise ValueError("too many form fields")
        if not isinstance(node, pikepdf.Dictionary):
            continue
        if node.objgen[0]:
            if node.objgen in seen:
                continue
            seen.add(node.objgen)
        name = _joined(prefix, node.get("/T"))
        yield node, name
        kids = node.get("/Kids")
        if isinstance(kids, pikepdf.Array):
            waiting += [(kid, name) for kid in reversed(list(kids))]


def _joined(prefix: str, partial: object) -> str:
    if not isinstance(partial, pikepdf.String):
        return prefix
    return f"{prefix}.{partial}" if prefix else str(partial)


def _climbed_name(node: pikepdf.Object) -> str:
    parts: list[str] = []
    for ancestor in lineage(node):
        partial = ancestor.get("/T")
        if isinstance(partial, pikepdf.String):
            parts.append(str(partial))
    return ".".join(reversed(parts))


def _inherited(node: pikepdf.Object, key: str) -> pikepdf.Object | None:
    for ancestor in lineage(node):
        value = ancestor.get(key)
        if value is not None:
            return value
    return None


def _places(pdf: pikepdf.Pdf) -> dict[tuple[int, int], tuple[pikepdf.Object, int]]:
    """Return the widgets on pages by object number, each with the number of its page."""
    places: dict[tuple[int, int], tuple[pikepdf.Object, int]] = {}
    count = 0
    for number, page in enumerate(pdf.pages, start=1):
        annotations = page.obj.get("/Annots")
        if not isinstance(annotations, pikepdf.Array):
            continue
        for annotation in annotations:
            count += 1
            if count > MAX_NODES:
                raise ValueError("too many annotations")
            if (
                isinstance(annotation, pikepdf.Dictionary)
                and annotation.get("/Subtype") == pikepdf.Name.Widget
            ):
                # A direct widget has no number; it stands for itself.
                key = tuple(annotation.objgen) if annotation.objgen[0] else (0, -count)
                places.setdefault((key[0], key[1]), (annotation, number))
    return places


def _box(
    pdf: pikepdf.Pdf, node: pikepdf.Object, places: dict[tuple[int, int], tuple[pikepdf.Object, int]]
) -> tuple[int, str] | None:
    place = places.get((node.objgen[0], node.objgen[1])) if node.objgen[0] else None
    if place is None or not isinstance(node.get("/Rect"), pikepdf.Array):
        return None
    page = pdf.pages[place[1] - 1]
    try:
        box = _as_shown(_numbers(node.Rect), _numbers(page.cropbox), int(page.obj.get("/Rotate", 0)))
    except (ValueError, TypeError):
        return None
    return None if box is None else (place[1], box)


def _numbers(rectangle: pikepdf.Object) -> tuple[float, float, float, float]:
    left, lower, right, upper = (float(value) for value in list(rectangle))
    return min(left, right), min(lower, upper), max(left, right), max(lower, upper)


def _as_shown(
    rectangle: tuple[float, float, float, float], crop: tuple[float, float, float, float], rotation: int
) -> str | None:
    """Return a rectangle as a reader of the page sees it, or ``None`` if nothing is to be seen."""
    left, lower, right, upper = rectangle
    width, height = right - left, upper - lower
    if width <= 0 or height <= 0:
        return None
    match rotation % 360:
        case 90:
            shown = (lower - crop[1], crop[2] - right, height, width)
        case 180:
            shown = (crop[2] - right, crop[3] - upper, width, height)
        case 270:
            shown = (crop[3] - upper, left - crop[0], height, width)
        case _:
            shown = (left - crop[0], lower - crop[1], width, height)
    return ",".join(f"{number:.6g}" for number in shown)
