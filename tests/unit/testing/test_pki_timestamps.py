"""The time-stamping authority of the test PKI, asked by OpenSSL and by hand."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import subprocess
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from asn1crypto import cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

QUERY_TYPE = "application/timestamp-query"
MESSAGE = b"TEST"


def post(pki: TestPKI, body: bytes, media_type: str = QUERY_TYPE) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(pki.base_url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", "/tsa", body, {"Content-Type": media_type})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()


def query(algorithm: str = "sha256", imprint: bytes | None = None, **fields: object) -> bytes:
    hashed = hashlib.new(algorithm, MESSAGE).digest() if imprint is None else imprint
    content = {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": hashed},
        **fields,
    }
    return tsp.TimeStampReq(content).dump()


class Response(tsp.TimeStampResp):
    # The class of asn1crypto insists on a token, which a rejection does not have.
    _fields: ClassVar = [
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


def reply(pki: TestPKI, request: bytes) -> Any:
    status, media_type, body = post(pki, request)
    assert (status, media_type) == (200, "application/timestamp-reply")
    return Response.load(body, strict=True)


def signed_data(pki: TestPKI, request: bytes) -> Any:
    answer = reply(pki, request)
    assert answer["status"]["status"].native == "granted"
    return answer["time_stamp_token"]["content"]


def info(signed: Any) -> Any:
    return signed["encap_content_info"]["content"].parsed


@pytest.fixture
def openssl(pki: TestPKI, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    (tmp_path / "data").write_bytes(MESSAGE)
    (tmp_path / "root.pem").write_bytes(pki.root.certificate_pem())
    (tmp_path / "other.pem").write_bytes(pki.tsa.certificate_pem() + pki.services_ca.certificate_pem())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
        )

    return run


VERIFY = ("ts", "-verify", "-in", "reply.tsr", "-CAfile", "root.pem")


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("digest", ["-sha256", "-sha384", "-sha512"])
def test_openssl_asks_and_verifies(pki, openssl, tmp_path, digest: str) -> None:
    assert openssl("ts", "-query", "-data", "data", digest, "-cert", "-out", "query.tsq").returncode == 0
    (tmp_path / "reply.tsr").write_bytes(post(pki, (tmp_path / "query.tsq").read_bytes())[2])
    for against in (("-queryfile", "query.tsq"), ("-data", "data")):
        result = openssl(*VERIFY, *against)
        assert result.returncode == 0, result.stderr
    (tmp_path / "data").write_bytes(b"other")
    assert openssl(*VERIFY, "-data", "data").returncode != 0


@pytest.mark.needs("openssl")
def test_without_certificates_openssl_needs_them_from_elsewhere(pki, openssl, tmp_path) -> None:
    openssl("ts", "-query", "-data", "data", "-sha256", "-out", "query.tsq")
    (tmp_path / "reply.tsr").write_bytes(post(pki, (tmp_path / "query.tsq").read_bytes())[2])
    assert openssl(*VERIFY, "-queryfile", "query.tsq").returncode != 0
    assert openssl(*VERIFY, "-queryfile", "query.tsq", "-untrusted", "other.pem").returncode == 0


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    "mistake", ["wrong-imprint", "wrong-nonce", "broken-signature", "rejected", "garbage"]
)
def test_openssl_notices_every_mistake(pki, openssl, tmp_path, mistake: str) -> None:
    openssl("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query.tsq")
    with pki.services.failing(tsa=mistake):
        status, _, body = post(pki, (tmp_path / "query.tsq").read_bytes())
    assert status == 200
    (tmp_path / "reply.tsr").write_bytes(body)
    assert openssl(*VERIFY, "-queryfile", "query.tsq").returncode != 0


def test_certificates_come_only_when_asked_for(pki: TestPKI) -> None:
    asked = signed_data(pki, query(cert_req=True))
    expected = [pki.tsa.certificate, pki.services_ca.certificate]
    assert sorted(choice.dump() for choice in asked["certificates"]) == sorted(
        certificate.public_bytes(serialization.Encoding.DER) for certificate in expected
    )
    assert not signed_data(pki, query())["certificates"].native


@pytest.mark.parametrize("nonce", [0, 1, 2**64 - 1, 2**159])
def test_the_nonce_comes_back(pki: TestPKI, nonce: int) -> None:
    assert info(signed_data(pki, query(nonce=nonce)))["nonce"].native == nonce


def test_no_nonce_comes_back_that_was_not_sent(pki: TestPKI) -> None:
    assert info(signed_data(pki, query()))["nonce"].native is None


def test_serial_numbers_differ(pki: TestPKI) -> None:
    serials = {info(signed_data(pki, query()))["serial_number"].native for _ in range(5)}
    assert len(serials) == 5


def test_the_token_says_the_time_of_the_clock(pki: TestPKI) -> None:
    moment = datetime.datetime(
        2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.timezone(datetime.timedelta(hours=7))
    )
    with pki.clock_at(moment):
        content = info(signed_data(pki, query()))
    assert content["gen_time"].contents == b"20260101200405Z"
    assert content["accuracy"]["seconds"].native == 1
    assert content["policy"].native == "1.3.6.1.4.1.32473.1.1"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_the_imprint_comes_back(pki: TestPKI, algorithm: str) -> None:
    imprint = info(signed_data(pki, query(algorithm)))["message_imprint"]
    assert imprint["hash_algorithm"]["algorithm"].native == algorithm
    assert imprint["hashed_message"].native == hashlib.new(algorithm, MESSAGE).digest()


def test_signed_attributes_bind_content_and_certificate(pki: TestPKI) -> None:
    signed = signed_data(pki, query())
    (signer,) = signed["signer_infos"]
    attributes = {attribute["type"].native: attribute["values"][0] for attribute in signer["signed_attrs"]}
    assert attributes["content_type"].native == "tst_info"
    content = signed["encap_content_info"]["content"].contents
    assert attributes["message_digest"].native == hashlib.sha256(content).digest()
    (reference,) = attributes["signing_certificate_v2"]["certs"]
    encoded = pki.tsa.certificate.public_bytes(serialization.Encoding.DER)
    assert reference["cert_hash"].native == hashlib.sha256(encoded).digest()
    assert reference["issuer_serial"]["serial_number"].native == pki.tsa.certificate.serial_number
    # RFC 5652, clause 5.4: signed is the DER of the attributes as a SET OF.
    pki.tsa.certificate.public_key().verify(
        signer["signature"].native,
        cms.CMSAttributes.load(signer["signed_attrs"].untag().dump(force=True)).dump(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )


def test_the_token_names_its_authority(pki: TestPKI) -> None:
    encoded = pki.tsa.certificate.public_bytes(serialization.Encoding.DER)
    name = info(signed_data(pki, query()))["tsa"]
    assert name.chosen == asn1_x509.Certificate.load(encoded).subject


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (query("sha1"), "bad_alg"),
        (query("md5"), "bad_alg"),
        (query("sha224"), "bad_alg"),
        (query(imprint=b"x" * 31), "bad_data_format"),
        (query("sha512", imprint=b"x" * 32), "bad_data_format"),
        (query(imprint=b""), "bad_data_format"),
        (query(req_policy="1.2.3"), "unaccepted_policy"),
        (query(version="v2"), "bad_request"),
        (query(extensions=[{"extn_id": "1.2.3", "extn_value": b"\x05\x00"}]), "unaccepted_extensions"),
    ],
    ids=["sha1", "md5", "sha224", "short", "other length", "empty", "policy", "version", "extension"],
)
def test_what_cannot_be_granted_is_rejected(pki: TestPKI, request_bytes: bytes, reason: str) -> None:
    answer = reply(pki, request_bytes)
    assert answer["status"]["status"].native == "rejection"
    assert answer["status"]["fail_info"].native == {reason}
    assert answer["time_stamp_token"].native is None


def test_the_policy_may_be_asked_for(pki: TestPKI) -> None:
    signed = signed_data(pki, query(req_policy="1.3.6.1.4.1.32473.1.1"))
    assert info(signed)["policy"].native == "1.3.6.1.4.1.32473.1.1"


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"\x30\x00", b"\x30\x80" * 5000, query()[:-1], query() + b"\0"],
    ids=["empty", "text", "empty sequence", "deep", "cut", "trailing"],
)
def test_bytes_that_are_no_request_are_a_bad_request(pki: TestPKI, body: bytes) -> None:
    assert post(pki, body)[0] == 400


def test_another_media_type_is_a_bad_request(pki: TestPKI) -> None:
    assert post(pki, query(), "application/octet-stream")[0] == 400


def test_get_is_forbidden(pki: TestPKI) -> None:
    connection = http.client.HTTPConnection(pki.base_url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/tsa")
        assert connection.getresponse().status == 403
    finally:
        connection.close()


def test_the_authority_can_break_down(pki: TestPKI) -> None:
    with pki.services.failing(tsa="http-500"):
        assert post(pki, query())[0] == 500
    assert post(pki, query())[0] == 200


def test_told_to_reject_it_gives_no_token(pki: TestPKI) -> None:
    with pki.services.failing(tsa="rejected"):
        answer = reply(pki, query())
    assert answer["status"]["status"].native == "rejection"
    assert answer["status"]["status_string"].native == ["TEST: yêu cầu bị từ chối"]
