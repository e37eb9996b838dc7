"""Multipart bodies: what is written is read again, whatever the pieces; what is hostile ends in one error."""

import base64
import email
import email.policy
import io
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnedoc._internal.multipart import (
    Base64Decoder,
    ContentChangedError,
    MultipartError,
    MultipartLimits,
    MultipartReader,
    MultipartWriter,
    OutgoingPart,
    TooManyPartsError,
    content_id,
    parse_content_type,
)


class Parts:
    """Keeps the parts of a body."""

    def __init__(self):
        self.found = []
        self._open = None

    def part_begin(self, headers):
        assert self._open is None
        self._open = (dict(headers), bytearray())

    def part_data(self, content):
        self._open[1].extend(content)

    def part_end(self):
        headers, content = self._open
        self.found.append((headers, bytes(content)))
        self._open = None


def read(body, boundary="b", *, step=None, **limits):
    parts = Parts()
    reader = MultipartReader(boundary, parts, limits=MultipartLimits(**limits))
    for start in range(0, len(body), step or len(body) or 1):
        reader.feed(body[start : start + (step or len(body))])
    reader.finish()
    return parts.found


BODY = (
    b"preamble\r\n--b\r\nContent-Type: text/xml\r\nContent-ID: <root>\r\n\r\n<x/>\r\n"
    b"--b\r\ncontent-id: <a>\r\n\r\n\x00\r\n--bx\r\n--\r\n--b--\r\nepilogue --b"
)
PARTS = [
    ({"content-type": "text/xml", "content-id": "<root>"}, b"<x/>"),
    ({"content-id": "<a>"}, b"\x00\r\n--bx\r\n--"),
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, None])
def test_a_body_is_the_same_in_pieces_of_any_size(step):
    # A line that only begins like the boundary belongs to the content.
    assert read(BODY, step=step) == PARTS


HOSTILE = {
    "empty": b"",
    "no boundary": b"x" * 100,
    "a long preamble": b"x" * 10_000 + b"\r\n--b\r\n\r\n\r\n--b--\r\n",
    "breaks off in a header": b"--b\r\nContent-Type: te",
    "breaks off in the content": b"--b\r\n\r\nabc",
    "breaks off before the end": b"--b\r\n\r\nabc\r\n--b\r\n",
    "no part": b"--b--\r\n",
    "line feeds alone": b"--b\nA: b\n\nabc\n--b--\n",
    "a folded header": b"--b\r\nA: b\r\n c\r\n\r\nabc\r\n--b--\r\n",
    "a header without a name": b"--b\r\n: b\r\n\r\nabc\r\n--b--\r\n",
    "a header with a space in its name": b"--b\r\nA b: c\r\n\r\nabc\r\n--b--\r\n",
    "a header twice": b"--b\r\nContent-ID: <a>\r\nContent-Id: <b>\r\n\r\nabc\r\n--b--\r\n",
    "many headers": b"--b\r\n" + b"A: b\r\n" * 17 + b"\r\nabc\r\n--b--\r\n",
    "a long header": b"--b\r\nA: " + b"b" * 5000 + b"\r\n\r\nabc\r\n--b--\r\n",
    "a long name of a header": b"--b\r\n" + b"A" * 5000 + b": b\r\n\r\nabc\r\n--b--\r\n",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("step", [1, None])
def test_what_is_no_multipart_is_refused(body, step):
    with pytest.raises(MultipartError):
        read(body, step=step)


@pytest.mark.parametrize("boundary", ["", "b" * 71, "b\r\nX: y", "ü", "a b", '"'])
def test_what_is_no_boundary_is_refused(boundary):
    with pytest.raises(MultipartError):
        MultipartReader(boundary, Parts())


def test_ten_thousand_parts_are_refused_at_once():
    body = (
        b"".join(b"--b\r\nContent-ID: <%d>\r\n\r\nx\r\n" % number for number in range(10_000)) + b"--b--\r\n"
    )
    parts = Parts()
    reader = MultipartReader("b", parts)
    started = time.perf_counter()
    with pytest.raises(TooManyPartsError):
        reader.feed(body)
    assert len(parts.found) == MultipartLimits().max_parts
    assert time.perf_counter() - started < 2


def test_memory_does_not_grow_with_a_part():
    class Nothing(Parts):
        def part_data(self, content):
            pass

    chunk = bytes(range(256)) * 256
    reader = MultipartReader("b", Nothing())
    tracemalloc.start()
    try:
        reader.feed(b"--b\r\n\r\n")
        for _ in range(512):
            reader.feed(chunk)
        reader.feed(b"\r\n--b--\r\n")
        reader.finish()
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


HEADERS = st.lists(
    st.tuples(
        st.from_regex(r"X-[A-Za-z]{1,10}", fullmatch=True), st.from_regex(r"[!-~]{0,30}", fullmatch=True)
    ),
    max_size=4,
    unique_by=lambda row: row[0].lower(),
)


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.tuples(HEADERS, st.binary(max_size=300), st.booleans()), min_size=1, max_size=5),
    step=st.integers(1, 400),
)
def test_what_is_written_is_read_again(parts, step):
    writer = MultipartWriter(
        [
            OutgoingPart(headers, content, len(content), as_base64=encoded)
            for headers, content, encoded in parts
        ]
    )
    body = b"".join(writer)
    assert len(body) == writer.size
    expected = [
        ({name.lower(): value for name, value in headers}, base64.b64encode(content) if encoded else content)
        for headers, content, encoded in parts
    ]
    assert read(body, writer.boundary, step=step) == expected


@settings(max_examples=300, deadline=None)
@given(
    body=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"--b", b"--b--", b"\r\n", b"\r\n--b\r\n", b"A: b\r\n", b"\r\n\r\n", b"--", b"-"]
            ),
        ),
        max_size=30,
    ),
    step=st.integers(1, 64),
)
def test_any_bytes_are_read_or_refused_and_the_pieces_do_not_matter(body, step):
    content = b"".join(body)

    def outcome(size):
        try:
            return read(content, step=size)
        except MultipartError:
            return None

    assert outcome(step) == outcome(None)


def test_a_second_reader_sees_the_same_parts():
    writer = MultipartWriter(
        [
            OutgoingPart([("Content-Type", "text/xml")], b"<x/>", 4),
            OutgoingPart(
                [("Content-ID", "<a>"), ("Content-Transfer-Encoding", "base64")], b"\x00" * 99, 99, True
            ),
        ]
    )
    head = f"Content-Type: multipart/related; boundary={writer.boundary}\r\n\r\n".encode()
    message = email.message_from_bytes(head + b"".join(writer), policy=email.policy.default)
    first, second = message.iter_parts()
    assert first.get_payload(decode=True) == b"<x/>"
    assert second.get_payload(decode=True) == b"\x00" * 99


@pytest.mark.parametrize("change", [b"", b"shorter", b"much longer than it was before"])
def test_a_file_that_changed_is_not_sent_as_if_it_had_not(tmp_path, change):
    path = tmp_path / "a"
    path.write_bytes(b"what it was")
    writer = MultipartWriter([OutgoingPart([], path, 11)])
    path.write_bytes(change)
    with pytest.raises(ContentChangedError):
        b"".join(writer)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "Tỉnh", "\x00"])
def test_a_header_cannot_smuggle_another(value):
    with pytest.raises(ValueError, match="Content-ID"):
        MultipartWriter([OutgoingPart([("Content-ID", value)], b"", 0)])


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=500), step=st.integers(1, 50), width=st.integers(1, 80))
def test_base64_is_decoded_in_pieces_of_any_size(content, step, width):
    text = base64.b64encode(content)
    text = b"\r\n".join(text[start : start + width] for start in range(0, len(text), width))
    output = io.BytesIO()
    decoder = Base64Decoder(output)
    for start in range(0, len(text), step):
        decoder.feed(text[start : start + step])
    decoder.finish()
    assert output.getvalue() == content
    assert decoder.size == len(content)


@pytest.mark.parametrize("text", [b"abc", b"ab=c", b"YQ==YQ==", b"****", b"YQ=", b"Y"])
def test_what_is_no_base64_is_refused(text):
    decoder = Base64Decoder(io.BytesIO())
    with pytest.raises(MultipartError):
        for byte in text:
            decoder.feed(bytes([byte]))
        decoder.finish()


@pytest.mark.parametrize(
    ("value", "media_type", "parameters"),
    [
        ("", "", {}),
        ("text/xml", "text/xml", {}),
        (
            'Multipart/Related; Type="text/xml"; BOUNDARY=b',
            "multipart/related",
            {"type": "text/xml", "boundary": "b"},
        ),
        ("a/b; boundary=x; boundary=y", "a/b", {"boundary": "x"}),
        ('a/b; start="<a;b>"', "a/b", {"start": "<a;b>"}),
        ("a/b; name*=utf-8''x", "a/b", {}),
        ("a/b;\r\n c=d", "a/b", {"c": "d"}),
    ],
)
def test_content_types(value, media_type, parameters):
    assert parse_content_type(value) == (media_type, parameters)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_content_type_is_read_or_refused(value):
    try:
        media_type, parameters = parse_content_type(f"a/b; {value}")
    except MultipartError:
        return
    assert media_type == "a/b"
    assert all(isinstance(text, str) for text in parameters.values())


def test_a_content_type_may_not_be_a_book():
    with pytest.raises(MultipartError):
        parse_content_type("a/b; c=" + "d" * 3000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), ("<a@b>", "a@b"), (" <a> ", "a"), ("a", "a"), ("<>", None), ("", None)],
)
def test_content_ids_lose_their_brackets(value, expected):
    assert content_id(value) == expected
