"""OCSP, CRLs and certificates over HTTP, asked by OpenSSL and by hand."""

from __future__ import annotations

import base64
import datetime
import http.client
import socket
import subprocess
import threading
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from asn1crypto import core
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from vnedoc.errors import ConfigurationError
from vnedoc.testing.pki import TestPKI, running_pki

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.testing.pki import Identity

OCSP_TYPE = "application/ocsp-request"


def ask(
    pki: TestPKI,
    method: str,
    path: str,
    body: bytes | None = None,
    media_type: str | None = None,
    timeout_s: float = 10,
) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(pki.base_url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request(method, path, body, {} if media_type is None else {"Content-Type": media_type})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()


def ocsp_request(
    identity: Identity,
    issuer: x509.Certificate | None = None,
    *,
    nonce: bytes | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        identity.certificate, issuer or identity.chain[0], algorithm or hashes.SHA1()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


def ocsp_response(pki: TestPKI, request: bytes) -> ocsp.OCSPResponse:
    status, media_type, body = ask(pki, "POST", "/ocsp", request, OCSP_TYPE)
    assert (status, media_type) == (200, "application/ocsp-response")
    return ocsp.load_der_ocsp_response(body)


def someone(pki: TestPKI) -> Identity:
    return pki.issue_person(common_name="PHẠM VĂN TEST", organization="SỞ TEST")


@pytest.fixture(scope="module")
def stranger() -> TestPKI:
    return TestPKI.create(base_url="http://127.0.0.1:9")


@pytest.fixture
def openssl(pki: TestPKI, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    (tmp_path / "root.pem").write_bytes(pki.root.certificate_pem())
    (tmp_path / "state.pem").write_bytes(pki.state_ca.certificate_pem())
    (tmp_path / "services.pem").write_bytes(pki.services_ca.certificate_pem())
    (tmp_path / "cas.pem").write_bytes(pki.state_ca.certificate_pem() + pki.services_ca.certificate_pem())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
        )

    return run


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("digest", ["-sha1", "-sha256", "-sha384"])
def test_openssl_hears_good(pki, openssl, tmp_path, digest: str) -> None:
    (tmp_path / "leaf.pem").write_bytes(pki.leader.certificate_pem())
    question = ("ocsp", "-issuer", "state.pem", digest, "-cert", "leaf.pem", "-url", pki.ocsp_url)
    result = openssl(*question, "-CAfile", "root.pem", "-verify_other", "state.pem")
    assert "Response verify OK" in result.stderr
    assert "no nonce" not in result.stderr
    assert "leaf.pem: good" in result.stdout


@pytest.mark.needs("openssl")
def test_openssl_hears_revoked(pki, openssl, tmp_path) -> None:
    person = someone(pki)
    pki.revoke(person, reason="superseded")
    (tmp_path / "leaf.pem").write_bytes(person.certificate_pem())
    question = ("ocsp", "-issuer", "state.pem", "-cert", "leaf.pem", "-url", pki.ocsp_url)
    result = openssl(*question, "-CAfile", "root.pem", "-verify_other", "state.pem")
    assert "Response verify OK" in result.stderr
    assert "leaf.pem: revoked" in result.stdout
    assert "superseded" in result.stdout


@pytest.mark.needs("openssl")
def test_openssl_asks_for_several_at_once(pki, openssl, tmp_path) -> None:
    person = someone(pki)
    pki.revoke(person)
    (tmp_path / "good.pem").write_bytes(pki.agency.certificate_pem())
    (tmp_path / "bad.pem").write_bytes(person.certificate_pem())
    question = ("ocsp", "-issuer", "state.pem", "-cert", "good.pem", "-cert", "bad.pem", "-url", pki.ocsp_url)
    result = openssl(*question, "-CAfile", "root.pem", "-verify_other", "state.pem")
    assert "good.pem: good" in result.stdout
    assert "bad.pem: revoked" in result.stdout


@pytest.mark.needs("openssl")
def test_openssl_does_not_trust_the_responder_of_another_pki(pki, stranger, openssl, tmp_path) -> None:
    (tmp_path / "leaf.pem").write_bytes(pki.leader.certificate_pem())
    (tmp_path / "root.pem").write_bytes(stranger.root.certificate_pem())
    question = ("ocsp", "-issuer", "state.pem", "-cert", "leaf.pem", "-url", pki.ocsp_url)
    assert "Response Verify Failure" in openssl(*question, "-CAfile", "root.pem").stderr


@pytest.mark.parametrize("role", ["leader", "tsa", "state_ca", "services_ca"])
def test_every_authority_has_its_own_responder(pki: TestPKI, role: str) -> None:
    identity: Identity = getattr(pki, role)
    response = ocsp_response(pki, ocsp_request(identity))
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    (responder,) = response.certificates
    responder.verify_directly_issued_by(identity.chain[0])
    assert "TEST" in responder.subject.rfc4514_string()
    purposes = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert responder.extensions.get_extension_for_class(x509.OCSPNoCheck)


def test_a_serial_number_that_was_never_issued_is_unknown(pki: TestPKI, stranger: TestPKI) -> None:
    response = ocsp_response(pki, ocsp_request(stranger.leader, pki.state_ca.certificate))
    assert response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_other_issuers_are_unauthorized(pki: TestPKI, stranger: TestPKI) -> None:
    response = ocsp_response(pki, ocsp_request(stranger.leader))
    assert response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("nonce", [b"\0", b"n" * 32, b"n" * 128])
def test_the_nonce_comes_back(pki: TestPKI, nonce: bytes) -> None:
    response = ocsp_response(pki, ocsp_request(pki.leader, nonce=nonce))
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


def test_no_nonce_comes_back_that_was_not_sent(pki: TestPKI) -> None:
    assert len(ocsp_response(pki, ocsp_request(pki.leader)).extensions) == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"\x30",
        b"\x30\x03\x02\x01\x00",
        b"garbage",
        b"\x30\x80" * 5000,
        asn1_ocsp.OCSPRequest({"tbs_request": {"request_list": []}}).dump(),
    ],
    ids=["empty", "cut", "not a request", "text", "deep", "nothing asked"],
)
def test_a_malformed_request_is_said_so(pki: TestPKI, request_bytes: bytes) -> None:
    response = ocsp_response(pki, request_bytes)
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_a_nonce_over_the_limit_of_rfc_9654_is_malformed(pki: TestPKI) -> None:
    response = ocsp_response(pki, ocsp_request(pki.leader, nonce=b"n" * 129))
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_two_issuers_in_one_request_are_unauthorized(pki: TestPKI) -> None:
    one, two = (asn1_ocsp.OCSPRequest.load(ocsp_request(who)) for who in (pki.leader, pki.tsa))
    both = [entry for request in (one, two) for entry in request["tbs_request"]["request_list"]]
    mixed = asn1_ocsp.OCSPRequest({"tbs_request": {"request_list": both}})
    assert ocsp_response(pki, mixed.dump()).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("safe", ["", "/+="])
def test_the_request_may_come_by_get(pki: TestPKI, safe: str) -> None:
    encoded = urllib.parse.quote(base64.b64encode(ocsp_request(pki.leader)), safe=safe)
    status, media_type, body = ask(pki, "GET", f"/ocsp/{encoded}")
    assert (status, media_type) == (200, "application/ocsp-response")
    assert ocsp.load_der_ocsp_response(body).certificate_status is ocsp.OCSPCertStatus.GOOD


def test_a_get_that_is_not_base64_is_refused(pki: TestPKI) -> None:
    assert ask(pki, "GET", "/ocsp/not*base64")[0] == 400


def test_revocation_counts_from_its_time_on(pki: TestPKI) -> None:
    person = someone(pki)
    at = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)
    pki.revoke(person, at=at)
    with pki.clock_at(at - datetime.timedelta(seconds=1)):
        before = ocsp_response(pki, ocsp_request(person))
        listed_before = revoked_serials(pki)
    with pki.clock_at(at):
        after = ocsp_response(pki, ocsp_request(person))
        listed_after = revoked_serials(pki)
    assert before.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert after.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert after.revocation_time_utc == at
    assert after.revocation_reason is x509.ReasonFlags.key_compromise
    assert person.certificate.serial_number in listed_after - listed_before


def test_times_of_responses_follow_the_clock(pki: TestPKI) -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.UTC)
    with pki.clock_at(moment):
        response = ocsp_response(pki, ocsp_request(pki.leader))
        crl = fetch_crl(pki)
    seconds = moment.replace(microsecond=0)
    assert response.produced_at_utc == response.this_update_utc == crl.last_update_utc == seconds
    assert response.next_update_utc > seconds
    assert crl.next_update_utc > seconds


def fetch_crl(pki: TestPKI, name: str = "cpcag2") -> x509.CertificateRevocationList:
    status, media_type, body = ask(pki, "GET", f"/crl/{name}.crl")
    assert (status, media_type) == (200, "application/pkix-crl")
    return x509.load_der_x509_crl(body)


def revoked_serials(pki: TestPKI) -> set[int]:
    return {entry.serial_number for entry in fetch_crl(pki)}


@pytest.mark.needs("openssl")
def test_openssl_checks_a_chain_with_the_lists(pki, openssl, tmp_path) -> None:
    person = someone(pki)
    (tmp_path / "leaf.pem").write_bytes(person.certificate_pem())
    check = (
        "verify",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "cas.pem",
        "-CRLfile",
        "crls.pem",
        "-crl_check_all",
    )

    def fetch() -> None:
        lists = [
            fetch_crl(pki, name).public_bytes(serialization.Encoding.PEM) for name in ("rootcag2", "cpcag2")
        ]
        (tmp_path / "crls.pem").write_bytes(b"".join(lists))

    fetch()
    assert openssl(*check, "leaf.pem").returncode == 0
    pki.revoke(person)
    fetch()
    after = openssl(*check, "leaf.pem")
    assert after.returncode != 0
    assert "certificate revoked" in after.stderr


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("name", "issuer"), [("rootcag2", "root.pem"), ("cpcag2", "state.pem"), ("ssg2", "services.pem")]
)
def test_openssl_verifies_the_lists(pki, openssl, tmp_path, name: str, issuer: str) -> None:
    (tmp_path / "list.crl").write_bytes(ask(pki, "GET", f"/crl/{name}.crl")[2])
    check = ("crl", "-inform", "DER", "-in", "list.crl", "-noout", "-CAfile")
    assert "verify OK" in openssl(*check, issuer).stderr
    other = "state.pem" if issuer != "state.pem" else "root.pem"
    assert "verify OK" not in openssl(*check, other).stderr


def test_an_authority_can_be_revoked(pki: TestPKI) -> None:
    with running_pki() as own:
        own.revoke(own.services_ca, reason="ca_compromise")
        (entry,) = fetch_crl(own, "rootcag2")
        assert entry.serial_number == own.services_ca.certificate.serial_number


def test_the_urls_in_a_certificate_lead_where_they_say(pki: TestPKI) -> None:
    certificate = pki.leader.certificate
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    path = point.full_name[0].value.removeprefix(pki.base_url)
    assert x509.load_der_x509_crl(ask(pki, "GET", path)[2]).issuer == certificate.issuer
    ways = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    path = ways[0].access_location.value.removeprefix(pki.base_url)
    status, media_type, body = ask(pki, "GET", path)
    assert (status, media_type) == (200, "application/pkix-cert")
    assert x509.load_der_x509_certificate(body) == pki.state_ca.certificate


@pytest.mark.parametrize(
    "path", ["/", "/crl/other.crl", "/crl/cpcag2.crt", "/crt/cpcag2.crl", "/ocsp", "/../etc/passwd"]
)
def test_other_paths_are_not_found(pki: TestPKI, path: str) -> None:
    assert ask(pki, "GET", path)[0] == 404


def test_posts_elsewhere_are_not_found(pki: TestPKI) -> None:
    assert ask(pki, "POST", "/crl/cpcag2.crl", b"x")[0] == 404


def test_another_media_type_is_refused(pki: TestPKI) -> None:
    assert ask(pki, "POST", "/ocsp", ocsp_request(pki.leader), "text/plain")[0] == 415


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"", b"411"), (b"Content-Length: -1\r\n", b"411"), (b"Content-Length: 99999999\r\n", b"413")],
)
def test_a_post_needs_a_length_within_the_limit(pki: TestPKI, header: bytes, status: bytes) -> None:
    host, _, port = pki.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /ocsp HTTP/1.1\r\nHost: test\r\n" + header + b"\r\n")
        assert connection.makefile("rb").readline().split()[1] == status


def test_one_connection_carries_many_requests(pki: TestPKI) -> None:
    connection = http.client.HTTPConnection(pki.base_url.removeprefix("http://"), timeout=10)
    try:
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("GET", "/crt/cpcag2.crt")
            assert connection.getresponse().read()
            assert connection.sock is first
    finally:
        connection.close()


@pytest.mark.parametrize("service", ["ocsp", "crl"])
def test_services_fail_as_told_and_recover(pki: TestPKI, service: str) -> None:
    question = {
        "ocsp": ("POST", "/ocsp", ocsp_request(pki.leader), OCSP_TYPE),
        "crl": ("GET", "/crl/cpcag2.crl"),
    }[service]
    load = {"ocsp": ocsp.load_der_ocsp_response, "crl": x509.load_der_x509_crl}[service]
    with pki.services.failing(**{service: "http-500"}):
        assert ask(pki, *question)[0] == 500
    with pki.services.failing(**{service: "garbage"}):
        status, _, body = ask(pki, *question)
        assert status == 200
        with pytest.raises(ValueError):
            load(body)
    with pki.services.failing(**{service: "silent"}), pytest.raises(TimeoutError):
        ask(pki, *question, timeout_s=0.2)
    with pki.services.failing(**{service: "stale"}):
        stale = load(ask(pki, *question)[2])
        assert stale.next_update_utc < datetime.datetime.now(datetime.UTC)
    fresh = load(ask(pki, *question)[2])
    assert fresh.next_update_utc > datetime.datetime.now(datetime.UTC)


def test_the_responder_can_ask_to_come_back_later(pki: TestPKI) -> None:
    with pki.services.failing(ocsp="try-later"):
        response = ocsp_response(pki, ocsp_request(pki.leader))
    assert response.response_status is ocsp.OCSPResponseStatus.TRY_LATER


@pytest.mark.parametrize("attribute", ["tsa_fault", "ocsp_fault", "crl_fault"])
def test_a_misspelt_fault_is_refused(pki: TestPKI, attribute: str) -> None:
    with pytest.raises(ValueError, match="unknown fault 'slient'"):
        setattr(pki.services, attribute, "slient")
    assert getattr(pki.services, attribute) is None


def test_faults_end_with_their_block_even_after_an_error(pki: TestPKI) -> None:
    pki.services.ocsp_fault = "try-later"
    try:
        with pytest.raises(KeyError), pki.services.failing(ocsp="silent", tsa="silent"):
            raise KeyError
        assert pki.services.ocsp_fault == "try-later"
        assert pki.services.tsa_fault is None
    finally:
        pki.services.ocsp_fault = None


def test_stopping_does_not_wait_for_silent_or_idle_connections() -> None:
    ended = threading.Event()

    def live() -> None:
        with running_pki() as own:
            idle = socket.create_connection(("127.0.0.1", int(own.base_url.rpartition(":")[2])))
            with own.services.failing(tsa="silent"), pytest.raises(TimeoutError):
                ask(own, "POST", "/tsa", b"x", "application/timestamp-query", timeout_s=0.1)
        # The server cut it: end of stream instead of waiting for ever.
        idle.settimeout(10)
        assert idle.recv(1) == b""
        idle.close()
        ended.set()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert ended.is_set()


def test_a_taken_port_is_said_so(pki: TestPKI) -> None:
    with pytest.raises(ConfigurationError) as caught, pki.serving():
        pass
    assert caught.value.code == "pki.port-taken"


def test_the_port_is_free_again_afterwards() -> None:
    with running_pki() as first:
        port = int(first.base_url.rpartition(":")[2])
    with running_pki(port=port) as second:
        assert second.base_url == first.base_url


def test_services_answer_on_loopback_only(pki: TestPKI) -> None:
    assert urllib.parse.urlsplit(pki.base_url).hostname == "127.0.0.1"


def test_the_nonce_is_an_octet_string_inside_the_extension(pki: TestPKI) -> None:
    # RFC 9654, clause 2.1: the value of the extension is the DER of an OCTET STRING.
    body = ask(pki, "POST", "/ocsp", ocsp_request(pki.leader, nonce=b"n" * 32), OCSP_TYPE)[2]
    basic = asn1_ocsp.OCSPResponse.load(body)["response_bytes"]["response"].parsed
    (extension,) = basic["tbs_response_data"]["response_extensions"]
    assert extension["extn_value"].contents == core.OctetString(b"n" * 32).dump()
