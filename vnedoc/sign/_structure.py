"""What must hold of the bytes around a signature before any cryptography (ISO 32000-2, 12.8.1; EN 319 142-1, 5.1).

Each check answers a published attack: signatures without a usable ByteRange or Contents, ranges that leave a hole
to inject into, data hidden behind the CMS object, one signature value shown in two fields. A check never repairs
and never skips: what does not fit gets a finding.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Protocol, overload

from vnedoc.sign.report import Finding, SignatureKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ByteSource",
    "EncodedLengthError",
    "Reading",
    "SignatureField",
    "SignedRange",
    "check_field",
    "encoded_length",
    "find_overlaps",
    "find_shared_values",
    "same_signatures",
]

MAX_CONTENTS_BYTES = 4 * 1024 * 1024
"""The largest /Contents that is looked at; real ones stay under 64 KiB."""
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureField:
    """A filled signature field as one reader sees it."""

    name: str
    """Fully qualified name of the field."""
    value_id: tuple[int, int] | None
    """Object and generation number of the value; ``None`` when it is a direct object."""
    kind: SignatureKind
    """What the value says it is."""
    subfilter: str | None
    """The encoding, without its slash."""
    byte_range: tuple[int, ...] | None
    """The ByteRange; ``None`` when it is missing or not an array of integers."""
    contents: bytes | None
    """The Contents; ``None`` when it is missing or not a string."""
    claimed_time: str | None = None
    """The date that the dictionary claims (M), as written."""
    box: tuple[int, str] | None = None
    """Page number and box where it is shown."""
    from_form: bool = True
    """Whether the interactive form lists the field; if not, only a page shows it."""
    claims: str = ""
    """All that the signature dictionary says beside its Contents, in one form; the second reader tells."""

    @property
    def identity(self) -> tuple[object, ...]:
        """What two readers must agree on."""
        return (self.name, self.subfilter, self.byte_range, self.contents)


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What one reader sees in a file."""

    pages: int
    """Number of pages."""
    signatures: tuple[SignatureField, ...]
    """Filled signature fields."""
    signature_field_names: frozenset[str]
    """Names of all signature fields, filled or not."""
    complaints: tuple[str, ...] = ()
    """What the reader found wrong with the file or had to repair."""
    previous_section: int | None = None
    """Where the cross-reference section before the last one is said to be; the second reader tells."""
    promised_pages: int | None = None
    """How many pages the page tree says it has (Count); the second reader tells."""
    usage_rights: int = 0
    """How many signatures for Adobe's usage rights the catalog names (Perms); the second reader tells."""
    encryption: str = ""
    """How the file is encrypted (Encrypt), in one form; the second reader tells."""


@dataclasses.dataclass(frozen=True, slots=True)
class SignedRange:
    """The bytes that a signature covers: all from the start to ``end`` except its own Contents."""

    gap_start: int
    """Offset of the ``<`` of Contents."""
    gap_end: int
    """Offset behind the ``>`` of Contents."""
    end: int
    """Offset behind the last covered byte."""


class ByteSource(Protocol):
    """Bytes that can be looked at in places; a large file need not be in memory for that."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...


class EncodedLengthError(ValueError):
    """The bytes do not start with a complete BER or DER object."""


def check_field(
    file: ByteSource, field: SignatureField
) -> tuple[SignedRange | None, bytes | None, tuple[Finding, ...]]:
    """Check one signature field against the bytes of the file.

    Returns:
        The covered range, the CMS object without its padding, and what is wrong. With anything wrong the range or
        the object may be ``None``, and neither may be relied on.
    """
    contents = field.contents
    if contents is None or not contents.strip(b"\0"):
        return None, None, (Finding("verify.no-contents"),)
    if len(contents) > MAX_CONTENTS_BYTES:
        return None, None, (Finding("verify.contents-too-large", {"limit": MAX_CONTENTS_BYTES}),)
    covered, problem = _check_range(file, field.byte_range, contents)
    if problem is not None:
        return None, None, (problem,)
    try:
        length = encoded_length(contents)
    except EncodedLengthError:
        return covered, None, (Finding("verify.not-cms"),)
    if contents[length:].strip(b"\0"):
        # Anything but zeros behind the CMS object is a place to hide data that no hash covers.
        return covered, None, (Finding("verify.hidden-in-contents"),)
    return covered, contents[:length], ()


def _check_range(
    file: ByteSource, byte_range: tuple[int, ...] | None, contents: bytes
) -> tuple[SignedRange | None, Finding | None]:
    if byte_range is None:
        return None, Finding("verify.no-byte-range")
    if len(byte_range) != 4 or byte_range[0] != 0 or min(byte_range) < 0:
        return None, Finding("verify.bad-byte-range")
    _, first_length, second_start, second_length = byte_range
    end = second_start + second_length
    # A point outside the file makes every later sum meaningless (CVE-2026-97892 is such a case).
    if not 0 < first_length < second_start <= end <= len(file):
        return None, Finding("verify.bad-byte-range")
    if file[first_length] != ord("<") or file[second_start - 1] != ord(">"):
        return None, Finding("verify.gap-not-contents")
    digits = file[first_length + 1 : second_start - 1]
    # bytes.fromhex would accept white space: room for bytes that no hash covers.
    if len(digits) != 2 * len(contents) or not _HEX_DIGITS.issuperset(digits):
        return None, Finding("verify.gap-not-contents")
    if bytes.fromhex(digits.decode("ascii")) != contents:
        return None, Finding("verify.gap-not-contents")
    return SignedRange(first_length, second_start, end), None


def encoded_length(encoded: bytes) -> int:
    """Return the length of the BER or DER object that the bytes start with (X.690, 8.1).

    Raises:
        EncodedLengthError: There is no complete object.
    """
    from asn1crypto import parser

    try:
        # Universal, constructed, SEQUENCE: every CMS object (RFC 5652, 3) starts with this octet.
        if encoded[:1] != b"\x30":
            raise EncodedLengthError
        return int(parser.peek(encoded))
    except (ValueError, RecursionError) as exc:
        # Indefinite lengths can be nested without end.
        raise EncodedLengthError from exc


def find_shared_values(fields: Sequence[SignatureField]) -> frozenset[int]:
    """Return the positions of fields that show a value which another field shows, too.

    A new field that points to an old signature makes that signature appear where nobody signed.
    """
    owners: dict[object, list[int]] = {}
    for position, field in enumerate(fields):
        if field.value_id is not None:
            owners.setdefault(("id", field.value_id), []).append(position)
        if field.byte_range is not None and field.contents is not None:
            owners.setdefault(("bytes", field.byte_range, field.contents), []).append(position)
    return frozenset(
        position for positions in owners.values() if len(positions) > 1 for position in positions
    )


def find_overlaps(ranges: Sequence[SignedRange | None]) -> frozenset[int]:
    """Return the positions of ranges that do not follow one another.

    In an untouched file each later signature covers every earlier one whole, Contents included; its own Contents
    starts behind the end of what the earlier one covers.
    """
    known = sorted(
        (covered.end, position, covered) for position, covered in enumerate(ranges) if covered is not None
    )
    found: set[int] = set()
    for (_, earlier, first), (_, later, second) in itertools.pairwise(known):
        if second.gap_start < first.end:
            found |= {earlier, later}
    return frozenset(found)


def same_signatures(first: Iterable[SignatureField], second: Iterable[SignatureField]) -> bool:
    """Tell whether two readers see the same signatures."""
    return sorted(repr(field.identity) for field in first) == sorted(repr(field.identity) for field in second)
