from __future__ import annotations

import pytest

from vnedoc.sign._structure import (
    EncodedLengthError,
    SignatureField,
    SignedRange,
    check_field,
    encoded_length,
    find_overlaps,
    find_shared_values,
    same_signatures,
)
from vnedoc.sign.report import SignatureKind

DER = b"\x30\x03\x02\x01\x05"
CONTENTS = DER + b"\0\0"


def made(gap: bytes = b"<" + CONTENTS.hex().encode() + b">") -> tuple[bytes, tuple[int, ...]]:
    file = b"before" + gap + b"after"
    return file, (0, 6, 6 + len(gap), 5)


def field(
    byte_range: tuple[int, ...] | None, contents: bytes | None = CONTENTS, **other: object
) -> SignatureField:
    values: dict[str, object] = {"name": "A", "value_id": (1, 0), "subfilter": None, **other}
    return SignatureField(
        kind=SignatureKind.SIGNATURE,
        byte_range=byte_range,
        contents=contents,
        **values,
    )


def test_a_sound_field() -> None:
    file, byte_range = made()
    covered, encoded, findings = check_field(file, field(byte_range))
    assert covered == SignedRange(6, 6 + 2 * len(CONTENTS) + 2, len(file))
    assert encoded == DER
    assert findings == ()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda _: None, "verify.no-byte-range"),
        (lambda _: (), "verify.bad-byte-range"),
        (lambda r: (*r, 0), "verify.bad-byte-range"),
        (lambda r: (1, *r[1:]), "verify.bad-byte-range"),
        (lambda r: (0, -6, r[2], r[3]), "verify.bad-byte-range"),
        (lambda r: (0, r[1], r[2], r[3] + 1), "verify.bad-byte-range"),
        (lambda r: (0, r[1], 10**30, 5), "verify.bad-byte-range"),
        (lambda r: (0, r[2], r[1], r[3]), "verify.bad-byte-range"),
        (lambda r: (0, r[1] + 1, r[2], r[3]), "verify.gap-not-contents"),
        (lambda r: (0, r[1], r[2] - 1, r[3] + 1), "verify.gap-not-contents"),
        (lambda r: (0, r[1] - 1, r[2], r[3]), "verify.gap-not-contents"),
    ],
)
def test_ranges_that_do_not_fit(change: object, finding: str) -> None:
    file, byte_range = made()
    _, encoded, findings = check_field(file, field(change(byte_range)))
    assert encoded is None
    assert [found.id for found in findings] == [finding]


@pytest.mark.parametrize(
    "gap",
    [
        b"<30030201050000 >",
        b"<30 030201050000>",
        b"<3003020105000000>",
        b"<30030201060000>",
        b"(3003020105000)",
    ],
)
def test_a_gap_that_is_not_exactly_the_contents(gap: bytes) -> None:
    file, byte_range = made(gap)
    _, encoded, findings = check_field(file, field(byte_range))
    assert encoded is None
    assert [found.id for found in findings] == ["verify.gap-not-contents"]


@pytest.mark.parametrize(
    ("contents", "finding"),
    [
        (None, "verify.no-contents"),
        (b"", "verify.no-contents"),
        (b"\0" * 9, "verify.no-contents"),
        (b"\x30\x20\x02", "verify.not-cms"),
        (b"\x04\x01\x00", "verify.not-cms"),
        (DER + b"\0x\0", "verify.hidden-in-contents"),
    ],
)
def test_contents_that_do_not_fit(contents: bytes | None, finding: str) -> None:
    file, byte_range = made(b"<" + (contents or b"").hex().encode() + b">")
    _, encoded, findings = check_field(file, field(byte_range, contents))
    assert encoded is None
    assert [found.id for found in findings] == [finding]


def test_length_of_an_encoded_object() -> None:
    assert encoded_length(DER + b"rest") == len(DER)
    # BER with indefinite length, as some older tools write it.
    assert encoded_length(b"\x30\x80\x02\x01\x05\x00\x00\x00") == 7
    with pytest.raises(EncodedLengthError):
        encoded_length(b"\x30")


def test_shared_values_are_found_by_object_and_by_bytes() -> None:
    same_object = [field((0, 1, 2, 3), b"a"), field((0, 1, 2, 4), b"b", name="B")]
    assert find_shared_values(same_object) == {0, 1}
    same_bytes = [field((0, 1, 2, 3)), field((0, 1, 2, 3), value_id=(2, 0)), field(None, value_id=(3, 0))]
    assert find_shared_values(same_bytes) == {0, 1}


def test_later_ranges_hold_earlier_ones() -> None:
    first, second = SignedRange(10, 20, 30), SignedRange(40, 50, 60)
    assert find_overlaps([second, None, first]) == frozenset()
    inside = SignedRange(25, 28, 60)
    assert find_overlaps([first, inside]) == {0, 1}


def test_two_readers_must_see_the_same() -> None:
    one, two = field((0, 1, 2, 3)), field((0, 1, 2, 3), name="B")
    assert same_signatures([one, two], [two, one])
    assert not same_signatures([one], [one, two])
    assert not same_signatures([one], [field((0, 1, 2, 4))])
    # Where it stands in the file may be told apart by number; what it is may not.
    assert same_signatures([one], [field((0, 1, 2, 3), value_id=(9, 0))])
