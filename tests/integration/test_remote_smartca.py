"""Keys at VNPT SmartCA."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote_signing import Clock, assert_signs_the_decision
from vnedoc.errors import CredentialError, RefusedError, RemoteError, UsageError
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.smartca import RemoteOptions, open_smartca
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import FakeSmartCAService, SmartCAServiceOptions, json_answer

FAST = RemoteOptions(poll_interval_s=0.001, timeout_s=5.0)


@pytest.fixture
def service(pki: TestPKI) -> Iterator[FakeSmartCAService]:
    with FakeSmartCAService(pki.leader) as running:
        yield running


def _open(service: FakeSmartCAService, query: str = "", *, options: RemoteOptions = FAST) -> Signer:
    return open_smartca(service.address + query, secret=lambda _: service.options.password, options=options)


@pytest.mark.needs("pdfsig")
def test_a_document_is_signed(service: FakeSmartCAService, tmp_path: Path) -> None:
    service.holder.hesitates = 2
    with _open(service) as signer:
        assert_signs_the_decision(signer, tmp_path / "signed.pdf")


@pytest.mark.parametrize("by_transaction", [False, True])
def test_the_state_is_asked_for_as_the_service_wants(pki: TestPKI, by_transaction: bool) -> None:
    options = SmartCAServiceOptions(by_transaction=by_transaction)
    right, wrong = ("transaction_id", "tran_code") if by_transaction else ("tran_code", "transaction_id")
    with FakeSmartCAService(pki.leader, options) as service:
        with _open(service, f"&status-by={right}") as signer:
            assert signer.sign(b"TEST")
        with _open(service, f"&status-by={wrong}") as signer, pytest.raises(RefusedError) as caught:
            signer.sign(b"TEST")
    assert caught.value.values["remote_code"] == "NOT_FOUND"


def test_one_of_several_certificates_is_chosen(service: FakeSmartCAService) -> None:
    service.options.certificates = 2
    with pytest.raises(CredentialError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.choose-credential"
    assert all(serial in caught.value.text("vi") for serial in service.serials)
    with _open(service, f"&serial={service.serials[1].upper()}") as signer:
        assert signer.sign(b"TEST")


@pytest.mark.parametrize(("query", "owner"), [("&serial=5401", "000000000017 / 5401"), ("", "000000000017")])
def test_no_certificate(service: FakeSmartCAService, query: str, owner: str) -> None:
    service.options.certificates = 1 if query else 0
    with pytest.raises(CredentialError) as caught:
        _open(service, query)
    assert caught.value.code == "remote-signing.no-certificate"
    assert caught.value.values["owner"] == owner


def test_a_certificate_that_may_not_be_used_any_more(service: FakeSmartCAService) -> None:
    service.options.certificate_valid = False
    with _open(service) as signer, pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.credential-disabled"
    assert caught.value.values["status"] == "CREDENTIAL_STATUS_INVALID"


def test_a_refusal_inside_a_success(service: FakeSmartCAService) -> None:
    with _open(service) as signer:
        service.mishap("signatures/sign", json_answer({"status_code": 403, "message": "HET_LUOT_KY"}, 200))
        with pytest.raises(RefusedError) as caught:
            signer.sign(b"TEST")
    assert caught.value.values["remote_code"] == "HET_LUOT_KY"


def test_a_request_that_expired(pki: TestPKI) -> None:
    clock = Clock()
    with FakeSmartCAService(pki.leader, now=clock.now) as service:
        service.holder.decision = "ignore"
        options = clock.options(confirmation_timeout_s=600.0)
        with _open(service, options=options) as signer, pytest.raises(RemoteError) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.not-confirmed"
    assert caught.value.values["remote_code"] == "EXPIRED"
    assert sum(clock.pauses) <= 302.0


def test_the_time_to_wait_stands_in_the_address(pki: TestPKI) -> None:
    clock = Clock()
    with FakeSmartCAService(pki.leader, now=clock.now) as service:
        service.holder.decision = "ignore"
        with _open(service, "&wait=9", options=clock.options()) as signer, pytest.raises(RemoteError):
            signer.sign(b"TEST")
    assert 4.0 <= sum(clock.pauses) <= 9.0


@pytest.mark.parametrize(
    "signatures",
    [
        [{"doc_id": "another", "signature_value": "AAAA"}],
        [{"signature_value": "AAAA"}],
        ["AAAA"],
        [],
    ],
)
def test_signatures_of_other_documents(service: FakeSmartCAService, signatures: list[object]) -> None:
    answer = {"status_code": 200, "message": "SUCCESS", "data": {"signatures": signatures}}
    with _open(service) as signer:
        service.mishap("/status", json_answer(answer))
        with pytest.raises(RemoteError) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.wrong-count"


@pytest.mark.parametrize("code", ["../../credentials/get_certificate", "a b", "", 5, None])
def test_a_code_that_would_change_the_address(service: FakeSmartCAService, code: object) -> None:
    with _open(service) as signer:
        service.mishap("signatures/sign", json_answer({"status_code": 200, "data": {"tran_code": code}}))
        with pytest.raises(RemoteError) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.bad-answer"


def test_a_digest_that_cannot_be_named(service: FakeSmartCAService) -> None:
    with _open(service) as signer, pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST", digest_algorithm="sha512")
    assert caught.value.code == "remote-signing.algorithm-not-offered"


@pytest.mark.parametrize("missing", ["sp", "user"])
def test_an_address_that_lacks_something(service: FakeSmartCAService, missing: str) -> None:
    address = service.address.replace(f"{missing}=", f"{missing}=&description=")
    with pytest.raises(UsageError) as caught:
        open_smartca(address, secret=lambda _: "x")
    assert caught.value.code == "remote-signing.missing-option"
