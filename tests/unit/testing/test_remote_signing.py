"""The remote signing services of vnedoc.testing say no where the real ones would."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.remote_signing import Clock
from vnedoc._internal import http
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import (
    CSCServiceOptions,
    FakeCSCService,
    FakeMSSService,
    FakeMySignService,
    FakeService,
    FakeSmartCAService,
)

HASH = base64.b64encode(b"1" * 32).decode()
OTHER_HASH = base64.b64encode(b"2" * 32).decode()
RSA, PSS, SHA256 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "2.16.840.1.101.3.4.2.1"
GONE = object()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with http.make_client() as made:
        yield made


class _Caller:
    """Sends JSON as it is."""

    def __init__(self, client: httpx2.Client, service: FakeService) -> None:
        self._client = client
        self._service = service
        self.token = ""

    def __call__(self, path: str, body: object, *, content_type: str = "application/json") -> tuple[int, Any]:
        answer = http.post(
            self._client,
            f"{self._service.base_url}/{path}",
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Authorization": f"Bearer {self.token or None}"},
            timeout_s=5.0,
        )
        return answer.status, json.loads(answer.body) if answer.body else None


def _changed(body: dict[str, object], change: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**body, **change}.items() if value is not GONE}


@pytest.fixture(params=["v1", "v2"])
def csc(request: pytest.FixtureRequest, pki: TestPKI) -> Iterator[FakeCSCService]:
    with FakeCSCService(
        pki.leader, CSCServiceOptions(api=request.param, algorithms=(RSA, PSS)), now=Clock().now
    ) as service:
        yield service


@pytest.fixture
def call(client: httpx2.Client, csc: FakeCSCService) -> _Caller:
    caller = _Caller(client, csc)
    form = f"grant_type=client_credentials&client_id=app-TEST&client_secret={csc.options.client_secret}"
    status, token = caller("oauth2/token", form.encode(), content_type="application/x-www-form-urlencoded")
    assert status == 200
    caller.token = token["access_token"]
    return caller


def _authorize_body(csc: FakeCSCService) -> dict[str, object]:
    name = "hash" if csc.options.api == "v1" else "hashes"
    return {
        "credentialID": "KHOA-TEST-1",
        "numSignatures": 1,
        name: [HASH],
        "hashAlgorithmOID": SHA256,
    }


def _sign_body(csc: FakeCSCService, sad: str) -> dict[str, object]:
    names = ("hash", "hashAlgo") if csc.options.api == "v1" else ("hashes", "hashAlgorithmOID")
    return {
        "credentialID": "KHOA-TEST-1",
        "SAD": sad,
        names[0]: [HASH],
        names[1]: SHA256,
        "signAlgo": RSA,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"credentialID": GONE}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": "KHONG-CO"}, "Invalid parameter credentialID"),
        ({"numSignatures": GONE}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": True}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": 0}, "Invalid value for parameter numSignatures"),
        ({"numSignatures": 11}, "Numbers of signatures is too high"),
        ({"hash": ["%"], "hashes": ["%"]}, "Invalid Base64 hash string parameter"),
        ({"hash": [], "hashes": []}, "Missing (or invalid type) array parameter"),
        (
            {"PIN": "1", "authData": [{"id": "PIN", "value": "1"}]},
            "Missing (or invalid type) string parameter",
        ),
    ],
)
def test_csc_refuses_to_authorize(
    csc: FakeCSCService, call: _Caller, change: dict[str, object], words: str
) -> None:
    body = _changed(_authorize_body(csc), change)
    status, answer = call(f"csc/{csc.options.api}/credentials/authorize", body)
    assert (status, answer["error"]) == (400, "invalid_request")
    assert answer["error_description"].startswith(words)
    assert csc.authorizations == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SAD": GONE}, "Invalid parameter SAD"),
        ({"SAD": "another"}, "Invalid parameter SAD"),
        ({"hash": GONE, "hashes": GONE}, "Missing (or invalid type) array parameter"),
        ({"hash": [], "hashes": []}, "Empty hash array"),
        ({"hash": [OTHER_HASH], "hashes": [OTHER_HASH]}, "Hash is not authorized by the SAD"),
        ({"hash": [HASH, HASH], "hashes": [HASH, HASH]}, "Numbers of signatures is too high"),
        ({"signAlgo": "1.2.840.10045.4.3.2"}, "Invalid parameter signAlgo"),
        ({"signAlgo": PSS}, "Missing (or invalid type) string parameter signAlgoParams"),
        ({"signAlgo": PSS, "signAlgoParams": "AAAA"}, "Invalid parameter signAlgoParams"),
        ({"signAlgo": PSS, "signAlgoParams": "MAA="}, "Invalid parameter signAlgoParams"),
        ({"hashAlgo": GONE, "hashAlgorithmOID": GONE}, "Missing (or invalid type) string parameter hashAlgo"),
        ({"hashAlgo": "1.3.14.3.2.26", "hashAlgorithmOID": "1.3.14.3.2.26"}, "Invalid parameter hashAlgo"),
        (
            {"hashAlgo": "2.16.840.1.101.3.4.2.3", "hashAlgorithmOID": "2.16.840.1.101.3.4.2.3"},
            "Invalid digest value length",
        ),
    ],
)
def test_csc_refuses_to_sign(
    csc: FakeCSCService, call: _Caller, change: dict[str, object], words: str
) -> None:
    path = f"csc/{csc.options.api}/"
    _, authorized = call(f"{path}credentials/authorize", _authorize_body(csc))
    status, answer = call(f"{path}signatures/signHash", _changed(_sign_body(csc, authorized["SAD"]), change))
    assert (status, answer["error"]) == (400, "invalid_request")
    assert answer["error_description"].startswith(words)


def test_csc_signs_once_for_an_authorization_of_one(csc: FakeCSCService, call: _Caller) -> None:
    path = f"csc/{csc.options.api}/"
    _, authorized = call(f"{path}credentials/authorize", _authorize_body(csc))
    body = _sign_body(csc, authorized["SAD"])
    assert call(f"{path}signatures/signHash", body)[0] == 200
    assert call(f"{path}signatures/signHash", body)[0] == 400


def test_csc_knows_its_tokens(csc: FakeCSCService, call: _Caller) -> None:
    path = f"csc/{csc.options.api}/credentials/list"
    assert call(path, {})[0] == 200
    call.token = "another"
    assert call(path, {}) == (
        401,
        {"error": "invalid_token", "error_description": "The access token is not valid"},
    )


def test_a_one_time_code_is_good_once(client: httpx2.Client, pki: TestPKI) -> None:
    with FakeCSCService(pki.leader, CSCServiceOptions(factors=("otp",))) as service:
        call = _Caller(client, service)
        form = (
            f"grant_type=client_credentials&client_id=app-TEST&client_secret={service.options.client_secret}"
        )
        _, token = call("oauth2/token", form.encode(), content_type="application/x-www-form-urlencoded")
        call.token = token["access_token"]
        body = {**_authorize_body(service), "OTP": service.new_code()}
        assert call("csc/v1/credentials/authorize", body)[0] == 200
        status, answer = call("csc/v1/credentials/authorize", body)
    assert (status, answer["error"]) == (400, "invalid_otp")


def _smartca_body(service: FakeSmartCAService) -> dict[str, object]:
    return {
        "sp_id": service.options.provider,
        "sp_password": service.options.password,
        "user_id": service.options.user,
        "transaction_id": "TEST-1",
        "serial_number": service.serials[0],
        "time_stamp": "20260105010203Z",
        "sign_files": [
            {"doc_id": "1", "file_type": "pdf", "sign_type": "hash", "data_to_be_signed": "11" * 32}
        ],
    }


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"sp_id": "x"}, 401, "SP_CREDENTIAL_INVALID"),
        ({"sp_password": GONE}, 401, "SP_CREDENTIAL_INVALID"),
        ({"user_id": "x"}, 401, "SP_CREDENTIAL_INVALID"),
        ({"transaction_id": ""}, 400, "BAD_REQUEST transaction_id"),
        ({"serial_number": "1"}, 400, "BAD_REQUEST serial_number"),
        ({"time_stamp": "2026-01-05"}, 400, "BAD_REQUEST time_stamp"),
        ({"sign_files": []}, 400, "BAD_REQUEST sign_files"),
        (
            {"sign_files": [{"doc_id": "1", "file_type": "pdf", "sign_type": "file"}]},
            400,
            "BAD_REQUEST sign_files",
        ),
        (
            {
                "sign_files": [
                    {"doc_id": "1", "file_type": "pdf", "sign_type": "hash", "data_to_be_signed": HASH}
                ]
            },
            400,
            "BAD_REQUEST data_to_be_signed",
        ),
    ],
)
def test_smartca_refuses(
    client: httpx2.Client, pki: TestPKI, change: dict[str, object], status: int, message: str
) -> None:
    with FakeSmartCAService(pki.leader) as service:
        call = _Caller(client, service)
        answer = call("sca/sp769/v1/signatures/sign", _changed(_smartca_body(service), change))
    assert (answer[0], answer[1]["message"]) == (status, message)
    assert service.holder.asked == 0


def test_smartca_wants_a_new_transaction_each_time(client: httpx2.Client, pki: TestPKI) -> None:
    with FakeSmartCAService(pki.leader) as service:
        call = _Caller(client, service)
        body = _smartca_body(service)
        assert call("sca/sp769/v1/signatures/sign", body)[0] == 200
        assert call("sca/sp769/v1/signatures/sign", body)[0] == 400
        assert call("sca/sp769/v1/signatures/sign/another/status", {})[0] == 404
        assert call("sca/sp769/v1/another", {})[0] == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_secret": "x"}, "86024"),
        ({"async": 0}, "57001"),
        ({"credentialID": "KHONG-CO"}, "57002"),
        ({"hashAlgo": "1.3.14.3.2.26"}, "57003"),
        ({"hash": []}, "57004"),
        ({"hash": ["AAAA"]}, "57004"),
        ({"numSignatures": 2}, "57005"),
        ({"documents": []}, "57009"),
        ({"documents": [{"document_id": "1", "document_name": "A" * 100}]}, "57009"),
        ({"documents": [{"document_id": "1", "document_name": "Quyết định"}]}, "57010"),
        ({"documents": [{"document_id": "1", "document_name": "Lz8/"}]}, "57010"),
    ],
)
def test_mysign_refuses(client: httpx2.Client, pki: TestPKI, change: dict[str, object], code: str) -> None:
    with FakeMySignService(pki.leader) as service:
        call = _Caller(client, service)
        options = service.options
        names = {
            "client_id": options.client,
            "client_secret": options.client_secret,
            "user_id": options.user,
            "profile_id": options.profile,
        }
        assert call("vtss/service/signHash", {})[0] == 401
        _, token = call("vtss/service/ras/v1/login", names)
        call.token = token["access_token"]
        body = {
            **names,
            "credentialID": "KHOA-TEST-1",
            "numSignatures": 1,
            "documents": [{"document_id": "1", "document_name": "VEVTVA=="}],
            "hash": [HASH],
            "hashAlgo": SHA256,
            "signAlgo": RSA,
            "async": 1,
        }
        assert call("vtss/service/signHash", body)[0] == 200
        status, answer = call("vtss/service/signHash", _changed(body, change))
    assert (status, answer["error"]) == (400, code)
    assert service.holder.asked == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{}", "text/plain"), (b"{", "application/json"), (b"[]", "application/json")],
)
@pytest.mark.parametrize("kind", [FakeCSCService, FakeSmartCAService, FakeMySignService])
def test_what_is_no_request(
    client: httpx2.Client, pki: TestPKI, kind: type[FakeCSCService], body: bytes, content_type: str
) -> None:
    with kind(pki.leader) as service:
        path = "csc/v1/info" if kind is FakeCSCService else "info"
        assert _Caller(client, service)(path, body, content_type=content_type)[0] == 400


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("<m:MSISDN>", "<m:MSISDN>1"), "105"),
        (('AP_PWD="', 'AP_PWD="x'), "104"),
        (('AP_TransID="V', 'AP_TransID="1'), "101"),
        (('MajorVersion="1"', 'MajorVersion="2"'), "108"),
        (("<m:URI>", "<m:URI>x"), "101"),
        (("m:MobileUser", "m:MobileUsers"), "101"),
        (('Encoding="base64"', 'Encoding="hex"'), "107"),
        (("MDEwDQYJ", "MDEwDQYK"), "101"),
        (("<m:mssURI>http://mobile-id", "<m:mssURI>http://another"), "109"),
        (("#PKCS1", "#PKCS7"), "101"),
        (("synch", "asynch"), "101"),
        (("</m:MSS_SignatureReq>", ""), "101"),
        (("m:MSS_SignatureReq", "m:MSS_StatusReq"), "102"),
    ],
)
def test_mss_refuses(client: httpx2.Client, pki: TestPKI, change: tuple[str, str], code: str) -> None:
    digest_info = base64.b64encode(
        bytes.fromhex("3031300d060960864801650304020105000420") + b"1" * 32
    ).decode()
    with FakeMSSService(pki.leader) as service:
        options = service.options
        request = (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:m="http://uri.etsi.org/TS102204/v1.1.2#"><s:Body><MSS_Signature>'
            '<m:MSS_SignatureReq MajorVersion="1" MinorVersion="1" MessagingMode="synch" TimeOut="300">'
            f'<m:AP_Info AP_ID="{options.application}" AP_PWD="{options.password}" AP_TransID="V%d" Instant="x"/>'
            f"<m:MSSP_Info><m:MSSP_ID><m:URI>{options.service}</m:URI></m:MSSP_ID></m:MSSP_Info>"
            f"<m:MobileUser><m:MSISDN>{options.msisdn}</m:MSISDN></m:MobileUser>"
            f'<m:DataToBeSigned MimeType="application/octet-stream" Encoding="base64">{digest_info}'
            "</m:DataToBeSigned><m:DataToBeDisplayed>TEST</m:DataToBeDisplayed>"
            f"<m:SignatureProfile><m:mssURI>{options.profile}</m:mssURI></m:SignatureProfile>"
            "<m:MSS_Format><m:mssURI>http://uri.etsi.org/TS102204/v1.1.2#PKCS1</m:mssURI></m:MSS_Format>"
            "</m:MSS_SignatureReq></MSS_Signature></s:Body></s:Envelope>"
        )
        answers = []
        for number, text in enumerate((request, request.replace(*change))):
            answer = http.post(
                client,
                f"{service.base_url}/soap/services/MSS_SignaturePort",
                text.replace("%d", str(number)).encode(),
                headers={"Content-Type": "text/xml"},
                timeout_s=5.0,
            )
            answers.append((answer.status, answer.body.decode()))
    assert request != request.replace(*change)
    assert answers[0][0] == 200
    assert "Base64Signature" in answers[0][1]
    assert answers[1][0] == 500
    assert f"mss:_{code}<" in answers[1][1]
