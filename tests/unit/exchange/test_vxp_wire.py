import datetime

import pytest
from starlette.datastructures import Headers

from vnedoc.exchange import _vxp

SECRET = "SECRET1"
PARAMETERS = [
    ("systemid", "SYS1"),
    ("docid", "DOC1"),
    ("timestamp", "21112026T173048+0236"),
    ("Content-Type", "application/json"),
    ("status", "done"),
]
SIGNATURE = "aad648572e2ba3c096bbab35d418238be36ded35555e3d2693e1d989274c4476"
MOMENT = datetime.datetime(2026, 11, 21, 10, 30, 48, 236_000, tzinfo=datetime.UTC)


def headers(**changes):
    sent = _vxp.request_headers(PARAMETERS, SECRET)
    sent.update({name.replace("__", "-"): value for name, value in changes.items()})
    return Headers(sent)


def test_known_signature_of_the_axis_client():
    text = _vxp.sign_text(PARAMETERS)
    assert text == (
        '{"XroadVnpt-systemid":"SYS1","XroadVnpt-docid":"DOC1","XroadVnpt-timestamp":"21112026T173048+0236",'
        '"XroadVnpt-Content-Type":"application/json","XroadVnpt-status":"done"}'
    )
    assert _vxp.sign(text, SECRET) == SIGNATURE


def test_request_headers_are_those_of_the_axis_client():
    sent = _vxp.request_headers(PARAMETERS, SECRET)
    assert sent["XroadVnpt-sign-header-key"] == "systemid;docid;timestamp;Content-Type;status"
    assert sent["XroadVnpt-hash-header"] == SIGNATURE
    assert sent["Content-Type"] == sent["XroadVnpt-Content-Type"] == "application/json"
    assert sent["XroadVnpt-version"] == "3.0.201608"
    assert sent["XroadVnpt-docid"] == "DOC1"
    assert SECRET not in "".join(sent.values())


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "văn bản", " a", "a\t"])
def test_values_that_break_headers_are_refused(value):
    with pytest.raises(ValueError, match="docid"):
        _vxp.request_headers([("docid", value), *PARAMETERS[2:]], SECRET)


def test_timestamp_is_vietnam_time_with_milliseconds():
    assert _vxp.timestamp(MOMENT) == "21112026T173048+0236"
    assert _vxp.parse_timestamp("21112026T173048+0236") == MOMENT


@pytest.mark.parametrize(
    "text", ["", "21112026T173048", "21112026T173048+1000", "31022026T173048+0000", "21112026T173048+07:00"]
)
def test_other_timestamps_are_refused(text):
    with pytest.raises(ValueError):
        _vxp.parse_timestamp(text)


def test_file_hash_lacks_leading_zeros():
    digest = bytes([0x5F, 0xF1, 0x06, 0x0A, 0x00]) + bytes(range(100, 127))
    assert _vxp.file_hash(digest).startswith("5ff16a0")
    assert _vxp.file_hash(digest, padded=True) == digest.hex()
    assert _vxp.is_file_hash(_vxp.file_hash(digest), digest)
    assert _vxp.is_file_hash(digest.hex().upper(), digest)
    assert not _vxp.is_file_hash(_vxp.file_hash(digest)[:-1], digest)
    assert not _vxp.is_file_hash("é", digest)


def test_signed_parameters_are_read_whatever_the_letter_case_of_header_names():
    sent = {name.lower(): value for name, value in headers().items()}
    assert _vxp.read_signed(Headers(sent))["docid"] == "DOC1"


@pytest.mark.parametrize(
    "changes",
    [
        {"XroadVnpt__docid": "DOC2"},
        {"XroadVnpt__sign__header__key": "systemid;docid;timestamp;Content-Type"},
        {"XroadVnpt__sign__header__key": "systemid;timestamp;docid;Content-Type;status"},
        {"XroadVnpt__sign__header": "[]"},
        {"XroadVnpt__sign__header": "{}"},
        {"XroadVnpt__sign__header": '"text"'},
        {"XroadVnpt__sign__header": "not json"},
        {"XroadVnpt__sign__header": "[" * 5000},
        {"XroadVnpt__sign__header": '{"XroadVnpt-systemid":1}'},
        {"XroadVnpt__sign__header": '{"systemid":"SYS1"}'},
        {"XroadVnpt__sign__header": '{"XroadVnpt-systemid":"SYS1","XroadVnpt-SystemId":"SYS1"}'},
        {"XroadVnpt__sign__header": '{"XroadVnpt-absent":"x"}', "XroadVnpt__sign__header__key": "absent"},
    ],
)
def test_headers_that_differ_from_what_was_signed_are_refused(changes):
    with pytest.raises(_vxp.HeaderError):
        _vxp.read_signed(headers(**changes))


def test_an_unsigned_header_is_not_a_parameter():
    assert "filepath" not in _vxp.read_signed(headers(XroadVnpt__filePath="C:/x"))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b'{"status":"MAYBE"}', b'{"status":1}', b"\xff", b"[" * 100_000],
)
def test_what_is_no_envelope_is_refused(content):
    with pytest.raises((ValueError, RecursionError)):
        _vxp.Answer.from_json(content)


def test_envelope_reads_numbers_and_other_letter_case():
    answer = _vxp.Answer.from_json(b'{"Status":"fail","errorCode":15,"errorDesc":null,"docId":7}')
    assert answer == _vxp.Answer(ok=False, error_code="15", error_text="", doc_id="7")
    assert _vxp.Answer.from_json(answer.to_json().encode()) == answer
