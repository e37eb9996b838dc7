"""Time-stamps are checked before they are used; a bad one never gets into a signature."""

import hashlib
import pickle
import random

import pytest

from tests.levels import ScriptedAuthority, asking, running, trust_of
from vnedoc.errors import CredentialError, ExitCode, RemoteError, TimestampError, UsageError
from vnedoc.sign._pyhanko.validation import Evidence
from vnedoc.sign.long_term import LongTermData
from vnedoc.sign.timestamps import TimestampClient, TimestampServer, TimestampToken
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


def test_an_authority_that_recovers_is_asked_again(pki: TestPKI) -> None:
    authority = ScriptedAuthority(pki, [503, pki.tsa])
    with running(authority) as url, TimestampClient([url], pause_s=0) as client:
        assert client.token(IMPRINT).url == url
    assert authority.requests == 2


@pytest.mark.parametrize(("status", "requests"), [(500, 3), (429, 3), (400, 1), (403, 1)])
def test_only_what_may_pass_is_tried_again(pki: TestPKI, status: int, requests: int) -> None:
    authority = ScriptedAuthority(pki, [status])
    with (
        running(authority) as url,
        TimestampClient([url], rounds=3, pause_s=0) as client,
        pytest.raises(TimestampError, match=f"HTTP {status}"),
    ):
        client.token(IMPRINT)
    assert authority.requests == requests


def test_the_budget_ends_the_asking(pki: TestPKI) -> None:
    asked = ScriptedAuthority(pki, [pki.tsa])
    with (
        pki.services.failing(tsa="silent"),
        running(asked) as url,
        TimestampClient([pki.tsa_url, url], timeout_s=30, budget_s=0.5, pause_s=0) as client,
        pytest.raises(TimestampError) as caught,
    ):
        client.token(IMPRINT)
    assert asked.requests == 0
    assert "in time" in caught.value.text()
    assert f"Chưa hỏi máy chủ {url}" in caught.value.text("vi")


def test_an_authority_that_did_not_answer_is_asked_last_for_a_while(pki: TestPKI) -> None:
    first, second = ScriptedAuthority(pki, [500]), ScriptedAuthority(pki, [pki.tsa])
    with running(first) as one, running(second) as two, TimestampClient([one, two], pause_s=0) as client:
        for _ in range(5):
            assert client.token(IMPRINT).url == two
        assert client.latest is not None
    assert (first.requests, second.requests) == (1, 5)


def test_reasons_are_told_in_the_readers_language(pki: TestPKI) -> None:
    with pki.services.failing(tsa="rejected"), pytest.raises(TimestampError) as caught:
        _token([pki.tsa_url], IMPRINT)
    assert "từ chối" in caught.value.text("vi")
    assert "refused" in caught.value.text("en")


def test_a_name_and_a_password_are_sent_to_who_wants_them(pki: TestPKI) -> None:
    authority = ScriptedAuthority(pki, [pki.tsa], credentials=("clerk", "TEST mật khẩu"))
    asked: list[str] = []

    def password(prompt: str) -> str:
        asked.append(prompt)
        return "TEST mật khẩu"

    with running(authority) as url:
        server = TimestampServer(url, user="clerk", password=password)
        with TimestampClient([server]) as client:
            assert client.token(IMPRINT).url == url
            client.token(IMPRINT)
        with TimestampClient([url]) as client, pytest.raises(TimestampError, match="HTTP 401"):
            client.token(IMPRINT)
        wrong = TimestampServer(url, user="clerk", password=lambda _: "wrong")
        with TimestampClient([wrong]) as client, pytest.raises(TimestampError, match="HTTP 401") as caught:
            client.token(IMPRINT)
        nothing = TimestampServer(url, user="clerk", password=lambda _: None)
        with TimestampClient([nothing]) as client, pytest.raises(CredentialError):
            client.token(IMPRINT)
    assert len(asked) == 1
    assert "clerk" in asked[0]
    assert "mật khẩu" not in repr(server)
    assert "wrong" not in caught.value.text()


@pytest.mark.parametrize(
    ("url", "user", "password", "code"),
    [
        ("http://a:TESTSECRET@tsa.example/", None, None, "timestamp.secret-in-url"),
        ("http://TESTSECRET@tsa.example/", None, None, "timestamp.secret-in-url"),
        ("http://[tsa.example/", None, None, "timestamp.bad-url"),
        ("https://tsa.example/", "clerk", None, "timestamp.needs-password"),
        ("https://tsa.example/", "cl:erk", "x", "timestamp.needs-password"),
        ("http://tsa.example/", "clerk", "x", "timestamp.password-needs-https"),
    ],
)
def test_an_address_that_cannot_be_used(url: str, user: str | None, password: str | None, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        TimestampServer(url, user=user, password=None if password is None else lambda _: password)
    assert caught.value.code == code
    assert "TESTSECRET" not in caught.value.text("vi") + repr(caught.value)


def test_a_client_reaches_other_processes(pki: TestPKI) -> None:
    with TimestampClient([pki.tsa_url], timeout_s=3) as client:
        client.token(IMPRINT)
        copy = pickle.loads(pickle.dumps(client))
    with copy:
        assert copy.token(IMPRINT).url == pki.tsa_url


def test_damaged_answers_end_in_an_error_of_ours(pki: TestPKI) -> None:
    # Bytes on the way are anybody's; whatever they are, a signer gets one sentence and no traceback.
    authority = ScriptedAuthority(pki, [pki.tsa], damage=random.Random(20261121))
    refused = 0
    with running(authority) as url, TimestampClient([url], rounds=1) as client, asking() as revocation:
        for _ in range(200):
            try:
                token = client.token(IMPRINT)
                # What is not signed, such as the certificates that come along, is judged with the chain.
                LongTermData(
                    trust=trust_of(pki),
                    revocation=revocation,
                    timestamps=client,
                    digest_algorithm="sha256",
                    evidence=Evidence(),
                ).admit(token)
            except RemoteError:
                refused += 1
    assert refused > 100
