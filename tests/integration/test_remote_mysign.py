"""Keys at Viettel MySign, by both of its faces."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote_signing import Clock, assert_signs_the_decision
from vnedoc.errors import CredentialError, RefusedError, RemoteError, UsageError, VnedocError
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.mysign import RemoteOptions, open_mysign
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import FakeMySignService, json_answer

FAST = RemoteOptions(poll_interval_s=0.001, timeout_s=5.0)
FACES = pytest.mark.parametrize("face", ["vtss", "adss"])


@pytest.fixture
def service(pki: TestPKI) -> Iterator[FakeMySignService]:
    with FakeMySignService(pki.leader) as running:
        yield running


def _open(
    service: FakeMySignService, face: str = "vtss", query: str = "", *, options: RemoteOptions = FAST
) -> Signer:
    return open_mysign(
        f"{service.address}&face={face}{query}",
        secret=lambda _: service.options.client_secret,
        options=options,
    )


@FACES
@pytest.mark.needs("pdfsig")
def test_a_document_is_signed(service: FakeMySignService, tmp_path: Path, face: str) -> None:
    with _open(service, face) as signer:
        assert_signs_the_decision(signer, tmp_path / "signed.pdf")


@FACES
def test_one_of_several_keys_is_chosen(service: FakeMySignService, face: str) -> None:
    service.options.credential_ids = ("KHOA-TEST-1", "KHOA-TEST-2")
    with pytest.raises(CredentialError) as caught:
        _open(service, face)
    assert caught.value.code == "remote-signing.choose-credential"
    assert "KHOA-TEST-2" in caught.value.text("vi")
    with _open(service, face, "&credential=KHOA-TEST-2") as signer:
        assert signer.sign(b"TEST")


@FACES
@pytest.mark.parametrize(
    ("query", "code"),
    [("&credential=KHONG-CO", "remote-signing.no-credential"), ("", "remote-signing.no-certificate")],
)
def test_no_key(service: FakeMySignService, face: str, query: str, code: str) -> None:
    service.options.credential_ids = ("KHOA-TEST-1",) if query else ()
    with pytest.raises(CredentialError) as caught:
        _open(service, face, query)
    assert caught.value.code == code


@FACES
def test_a_certificate_that_expired(service: FakeMySignService, face: str) -> None:
    service.options.certificate_status = "expired"
    with pytest.raises(CredentialError) as caught:
        _open(service, face)
    assert caught.value.code == "remote-signing.credential-disabled"


@FACES
@pytest.mark.parametrize("name", ["client", "user", "profile"])
def test_a_name_that_the_service_does_not_know(service: FakeMySignService, face: str, name: str) -> None:
    setattr(service.options, name, "ten-khac-TEST")
    address = service.address.replace("ten-khac-TEST", "ten-sai-TEST")
    with pytest.raises(CredentialError) as caught:
        open_mysign(
            f"{address}&face={face}",
            secret=lambda _: service.options.client_secret,
            options=FAST,
        )
    assert caught.value.code == "remote-signing.wrong-secret"
    assert caught.value.values["remote_code"] in {"58007", "58008"}


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        ("4001", RemoteError, "remote-signing.not-confirmed"),
        (4002, RefusedError, "remote-signing.declined"),
        ("4004", RefusedError, "remote-signing.refused"),
        ("4005", RefusedError, "remote-signing.refused"),
        ("13004", CredentialError, "remote-signing.credential-disabled"),
        ("50000", RemoteError, "remote-signing.unavailable"),
        ("mới", RefusedError, "remote-signing.refused"),
    ],
)
def test_states_of_a_request(
    service: FakeMySignService, state: object, kind: type[VnedocError], code: str
) -> None:
    answers = [json_answer({"status": "0"}), json_answer({"status": "6000"}), json_answer({"status": state})]
    # Some states are said once more while the service is asked again.
    with _open(service, options=Clock().options()) as signer:
        service.mishap("requests/status", *answers, *answers[2:] * 5)
        with pytest.raises(kind) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == code


def test_a_certificate_revoked_meanwhile(service: FakeMySignService) -> None:
    service.options.revoked = True
    with _open(service) as signer, pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.credential-disabled"
    assert caught.value.values["status"] == "Certificate is revoked or expired"


@pytest.mark.parametrize("answer", [{}, {"transactionId": 5}, {"transactionId": ""}, [], None])
def test_a_request_without_a_name(service: FakeMySignService, answer: object) -> None:
    with _open(service) as signer:
        service.mishap("service/signHash", json_answer(answer))
        with pytest.raises(RemoteError) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.bad-answer"


@FACES
def test_a_digest_that_is_not_offered(service: FakeMySignService, face: str) -> None:
    with _open(service, face) as signer:
        if face == "vtss":
            with pytest.raises(CredentialError) as caught:
                signer.sign(b"TEST", digest_algorithm="sha512")
            assert caught.value.code == "remote-signing.algorithm-not-offered"
        else:
            # The face of the CSC has names for it; whether it signs is for the service to say.
            with pytest.raises(RefusedError) as refused:
                signer.sign(b"TEST", digest_algorithm="sha512")
            assert refused.value.values["remote_code"] == "57003"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?face=csc&client=a&user=b", "remote-signing.bad-option"),
        ("?client=a", "remote-signing.missing-option"),
        ("?user=b", "remote-signing.missing-option"),
    ],
)
def test_an_address_that_is_wrong(service: FakeMySignService, query: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_mysign(f"mysign+{service.base_url}{query}", secret=lambda _: "x")
    assert caught.value.code == code
