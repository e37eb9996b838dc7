"""Time-stamps are checked before they are used; a bad one never gets into a signature."""

import hashlib

import pytest

from vnedoc.errors import ExitCode, TimestampError, UsageError
from vnedoc.sign.timestamps import TimestampClient, TimestampToken
from vnedoc.testing.pki import TestPKI


def _token(
    urls: list[str], imprint: bytes, algorithm: str = "sha256", timeout_s: float = 5
) -> TimestampToken:
    with TimestampClient(urls, timeout_s=timeout_s) as client:
        return client.token(imprint, algorithm)


IMPRINT = hashlib.sha256(b"TEST").digest()


def test_a_token_comes_back_with_its_time(pki: TestPKI) -> None:
    token = _token([pki.tsa_url], IMPRINT)
    assert token.url == pki.tsa_url
    assert token.time.utcoffset() is not None
    assert hashlib.sha256(b"TEST").digest() in token.der


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_digest_algorithms(pki: TestPKI, algorithm: str) -> None:
    imprint = hashlib.new(algorithm, b"TEST").digest()
    assert imprint in _token([pki.tsa_url], imprint, algorithm).der


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("http-500", "HTTP 500"),
        ("wrong-imprint", "wrong imprint"),
        ("rejected", "refused"),
        ("garbage", "RFC 3161"),
        ("silent", "in time"),
    ],
)
def test_a_bad_answer_is_refused_with_its_reason(pki: TestPKI, fault: str, reason: str) -> None:
    with pki.services.failing(tsa=fault), pytest.raises(TimestampError, match=reason) as caught:
        _token([pki.tsa_url], IMPRINT, timeout_s=0.5)
    assert caught.value.code == "timestamp.failed"
    assert caught.value.exit_code is ExitCode.REMOTE
    assert caught.value.retryable


def test_the_next_authority_is_asked(pki: TestPKI) -> None:
    token = _token(["http://127.0.0.1:9", pki.tsa_url], IMPRINT, timeout_s=2)
    assert token.url == pki.tsa_url


def test_all_that_failed_are_named() -> None:
    with pytest.raises(TimestampError, match=r"127\.0\.0\.1:9.*127\.0\.0\.1:10") as caught:
        _token(["http://127.0.0.1:9", "http://127.0.0.1:10"], IMPRINT, timeout_s=2)
    assert caught.value.code == "timestamp.all-failed"


def test_no_authority_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        TimestampClient([])
