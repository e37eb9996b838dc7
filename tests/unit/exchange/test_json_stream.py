"""One long string is taken out of JSON while it arrives."""

import base64
import io
import json

import pytest

from vnedoc.exchange._json_stream import MAX_OTHER_STRING, MAX_REST_BYTES, EnvelopeError, split_envelope

CONTENT = bytes(range(256)) * 40


def envelope(data, *, before="", after=""):
    return f'{{{before}"status":"OK",  "data" :\n "{data}","DocId":"D1"{after}}}'.encode()


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 64, 10_000_000])
def test_base64_is_decoded_in_pieces_of_any_size(step):
    text = envelope(base64.b64encode(CONTENT).decode())
    output = io.BytesIO()
    rest, count = split_envelope((text[i : i + step] for i in range(0, len(text), step)), output)
    assert output.getvalue() == CONTENT
    assert count == len(CONTENT)
    assert json.loads(rest) == {"status": "OK", "data": "", "DocId": "D1"}


@pytest.mark.parametrize("step", [1, 3, 4096])
def test_escaped_slashes_and_line_ends_in_base64(step):
    plain = base64.b64encode(b"\xff\xff\xff" * 300).decode()
    folded = "\\r\\n".join(plain[i : i + 76] for i in range(0, len(plain), 76)).replace("/", "\\/")
    text = envelope(folded)
    output = io.BytesIO()
    split_envelope((text[i : i + step] for i in range(0, len(text), step)), output)
    assert output.getvalue() == b"\xff\xff\xff" * 300


@pytest.mark.parametrize(
    "before",
    [
        '"inner":{"data":"QUJD"},',
        '"list":["data","QUJD"],',
        '"note":"\\"data\\":\\"QUJD",',
        '"datum":"QUJD",',
        '"key":"data",',
    ],
)
def test_only_the_data_of_the_envelope_itself_counts(before):
    output = io.BytesIO()
    split_envelope([envelope("REVG", before=before)], output)
    assert output.getvalue() == b"DEF"


def test_a_second_data_is_not_decoded():
    output = io.BytesIO()
    split_envelope([envelope("REVG", after=',"data":"QUJD"')], output)
    assert output.getvalue() == b"DEF"


def test_data_that_is_no_string_is_left_alone():
    text = b'{"status":"FAIL","ErrorCode":"25","data":null}'
    assert split_envelope([text], io.BytesIO()) == (text, 0)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"status":"OK","data":"QUJD"',
        b'{"status":"OK","data":"QUJ',
        envelope("QUJ"),
        envelope("QU=DQUJD"),
        envelope("QQ==QUJD"),
        envelope("Q*JD"),
        envelope("QUJD\\u00e9AAA"),
        envelope("QUJD\\u00"),
        envelope("QUJD\\q"),
        b"[" * 100,
        b'{"x":[' + b"1," * (MAX_REST_BYTES // 2) + b"1]}",
        b"<html>",
    ],
)
def test_broken_envelopes_are_refused(text):
    with pytest.raises(EnvelopeError):
        split_envelope((text[i : i + 4096] for i in range(0, len(text), 4096)), io.BytesIO())


# Answers that carry the package deeper, as base64 or as text, beside copies of the attachments.

XML = '<?xml version="1.0"?>\n<edXML>Số 15 – “TEST” 😀 \\ & \u2028</edXML>' + "đ" * 5000


@pytest.mark.parametrize("step", [1, 2, 3, 7, 4096, 10_000_000])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_text_is_taken_as_it_is(step, ascii_only):
    text = json.dumps(
        {"success": True, "data": {"docId": "D", "edxml": XML}}, ensure_ascii=ascii_only
    ).encode()
    output = io.BytesIO()
    rest, count = split_envelope(
        (text[i : i + step] for i in range(0, len(text), step)),
        output,
        path=("data", "edxml"),
        text_allowed=True,
    )
    assert output.getvalue().decode() == XML
    assert count == len(XML.encode())
    assert json.loads(rest) == {"success": True, "data": {"docId": "D", "edxml": ""}}


@pytest.mark.parametrize("step", [1, 5, 10_000_000])
def test_base64_is_told_from_text(step):
    # .NET writes "+" as an escape.
    data = base64.b64encode(b"\xfb\xef\xbe" * 100).decode().replace("+", "\\u002B")
    text = f'{{"data":{{"edxml":"{data}"}}}}'.encode()
    output = io.BytesIO()
    chunks = (text[i : i + step] for i in range(0, len(text), step))
    split_envelope(chunks, output, path=("data", "edxml"), text_allowed=True)
    assert output.getvalue() == b"\xfb\xef\xbe" * 100


def test_attachments_beside_the_package_are_cut_short():
    big = "A" * (4 * MAX_REST_BYTES)
    text = json.dumps({"data": {"attachments": [{"fileContent": big}], "edxml": "QUJD"}}).encode()
    output = io.BytesIO()
    rest, count = split_envelope(
        (text[i : i + 65536] for i in range(0, len(text), 65536)), output, path=("data", "edxml")
    )
    assert (output.getvalue(), count) == (b"ABC", 3)
    assert len(json.loads(rest)["data"]["attachments"][0]["fileContent"]) == MAX_OTHER_STRING


def test_no_more_is_written_than_may_be():
    output = io.BytesIO()
    with pytest.raises(EnvelopeError):
        split_envelope([envelope(base64.b64encode(CONTENT).decode())], output, max_bytes=1000)
    assert len(output.getvalue()) <= 1000


def test_half_a_pair_of_surrogates_is_no_text():
    with pytest.raises(EnvelopeError):
        split_envelope([b'{"data":"<x>\\ud83d"}'], io.BytesIO(), text_allowed=True)
