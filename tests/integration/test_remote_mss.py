"""Keys on SIM cards, by a mobile signature service; and the TLS certificate of the one who asks."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from tests.remote_signing import assert_signs_the_decision
from vnedoc.errors import CredentialError, RefusedError, RemoteError, UsageError, VnedocError
from vnedoc.sign.signers.base import SecretPrompt, Signer
from vnedoc.sign.signers.mss import RemoteOptions, open_mss
from vnedoc.testing._loopback import Answer
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import FakeMSSService, MSSServiceOptions, json_answer

FAST = RemoteOptions(timeout_s=5.0, confirmation_timeout_s=5.0)
OK = json_answer(None).status
ENVELOPE = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://uri.etsi.org/TS102204/v1.1.2#">'
    "<s:Body>{}</s:Body></s:Envelope>"
)


@pytest.fixture
def service(pki: TestPKI) -> Iterator[FakeMSSService]:
    with FakeMSSService(pki.leader) as running:
        yield running


def _open(service: FakeMSSService, query: str = "") -> Signer:
    return open_mss(service.address + query, secret=lambda _: service.options.password, options=FAST)


@pytest.mark.needs("pdfsig")
def test_a_document_is_signed(service: FakeMSSService, tmp_path: Path) -> None:
    with _open(service, "&display=Ky so 07/QD-UBND") as signer:
        assert_signs_the_decision(signer, tmp_path / "signed.pdf")
    assert service.shown == ["Ky so 07/QD-UBND"]


@pytest.mark.parametrize("success", ["408", "500", "502"])
@pytest.mark.parametrize("wrapper", ["", "http://services.test.example/mss"])
def test_services_differ(pki: TestPKI, success: str, wrapper: str) -> None:
    options = MSSServiceOptions(success=success, wrapper=wrapper)
    with FakeMSSService(pki.leader, options) as service, _open(service, f"&wrapper={wrapper}") as signer:
        assert signer.sign(b"TEST")


@pytest.mark.parametrize(
    ("change", "kind", "code", "remote_code"),
    [
        ({"decision": "decline"}, RefusedError, "remote-signing.declined", "401"),
        ({"decision": "ignore"}, RemoteError, "remote-signing.not-confirmed", "208"),
        ({"pin_blocked": True}, CredentialError, "remote-signing.locked", "402"),
        ({"profile": "http://another.example"}, RefusedError, "remote-signing.refused", "109"),
        ({"msisdn": "84000000025"}, CredentialError, "remote-signing.no-credential", "105"),
    ],
)
def test_the_service_says_no(
    service: FakeMSSService,
    change: dict[str, object],
    kind: type[VnedocError],
    code: str,
    remote_code: str,
) -> None:
    with _open(service) as signer:
        for name, value in change.items():
            setattr(service.holder if name == "decision" else service.options, name, value)
        with pytest.raises(kind) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == code
    assert caught.value.values["remote_code"] == remote_code


def test_a_phone_without_a_certificate(service: FakeMSSService) -> None:
    service.options.registered = False
    with pytest.raises(CredentialError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.no-credential"
    assert "84000000017" in caught.value.text("vi")


def test_an_empty_registration(service: FakeMSSService) -> None:
    content = ENVELOPE.format('<m:StatusCode Value="408"/>').encode()
    service.mishap("RegistrationPort", Answer(OK, "text/xml", content))
    with pytest.raises(CredentialError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.no-certificate"


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        ("", RemoteError, "remote-signing.bad-answer"),
        ("<html>", RemoteError, "remote-signing.bad-answer"),
        (ENVELOPE.format(""), RemoteError, "remote-signing.bad-answer"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', RemoteError, "remote-signing.bad-answer"),
        (ENVELOPE.format("<m:Status><m:StatusCode/></m:Status>"), RefusedError, "remote-signing.refused"),
        (ENVELOPE.format('<m:StatusCode Value="504"/>'), RefusedError, "remote-signing.refused"),
        (ENVELOPE.format('<m:StatusCode Value="408"/>'), RemoteError, "remote-signing.wrong-count"),
        (
            ENVELOPE.format(
                '<m:StatusCode Value="408"/>' + "<m:Base64Signature>AAAA</m:Base64Signature>" * 2
            ),
            RemoteError,
            "remote-signing.wrong-count",
        ),
        (
            ENVELOPE.format('<m:StatusCode Value="408"/><m:Base64Signature>?</m:Base64Signature>'),
            RemoteError,
            "remote-signing.bad-answer",
        ),
        (ENVELOPE.format("<s:Fault/>"), RefusedError, "remote-signing.refused"),
        (
            ENVELOPE.format("<s:Fault><detail><x>mss:_900</x></detail></s:Fault>"),
            RemoteError,
            "remote-signing.unavailable",
        ),
        (
            ENVELOPE.format(
                "<s:Fault><s:Code><s:Subcode><s:Value>mss:_401</s:Value></s:Subcode></s:Code></s:Fault>"
            ),
            RefusedError,
            "remote-signing.declined",
        ),
    ],
)
def test_answers_that_are_no_signature(
    service: FakeMSSService, content: str, kind: type[VnedocError], code: str
) -> None:
    with _open(service) as signer:
        service.mishap("SignaturePort", Answer(OK, "text/xml", content.encode()))
        with pytest.raises(kind) as caught:
            signer.sign(b"TEST")
    assert caught.value.code == code
    assert caught.value.text("vi")


def test_a_password_that_xml_cannot_carry(service: FakeMSSService) -> None:
    with pytest.raises(CredentialError) as caught:
        open_mss(service.address, secret=lambda _: "mat-khau\x00", options=FAST)
    assert caught.value.code == "remote-signing.no-secret"
    assert service.seen == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("&signature-port=../a", "remote-signing.bad-option"),
        ("&wrapper=a}b", "remote-signing.bad-option"),
        ("&display=a%0Ab", "remote-signing.bad-option"),
    ],
)
def test_an_address_that_is_wrong(service: FakeMSSService, query: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        _open(service, query)
    assert caught.value.code == code


def test_a_number_that_is_none(service: FakeMSSService) -> None:
    address = service.address.replace("84000000017", "0912-TEST")
    with pytest.raises(UsageError) as caught:
        open_mss(address, secret=lambda _: "x")
    assert caught.value.code == "remote-signing.bad-option"


class _TLS:
    """A certificate for 127.0.0.1 that is its own authority, and one for the application provider."""

    def __init__(self, folder: Path, passphrase: str | None = None) -> None:
        self.server = _write_certificate(folder / "server.pem", NoEncryption())
        encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode())
        self.client = _write_certificate(folder / "client.pem", encryption)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        context.load_verify_locations(self.client)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _write_certificate(path: Path, encryption: KeySerializationEncryption) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"TEST {path.stem}")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        + certificate.public_bytes(Encoding.PEM)
    )
    return path


def _code(prompt: str) -> str:
    assert isinstance(prompt, SecretPrompt)
    return prompt.code


def _https(service: FakeMSSService) -> str:
    return service.address.replace("mss+http:", "mss+https:")


@pytest.fixture
def tls_service(pki: TestPKI, tmp_path: Path) -> Iterator[tuple[FakeMSSService, _TLS]]:
    tls = _TLS(tmp_path, "mat-khau-TLS-TEST")
    service = FakeMSSService(pki.leader)
    server = vars(vars(service)["_server"])["_server"]
    server.socket = tls.context().wrap_socket(server.socket, server_side=True)
    with service:
        yield service, tls


def test_the_application_provider_shows_its_certificate(tls_service: tuple[FakeMSSService, _TLS]) -> None:
    service, tls = tls_service
    asked = []

    def secret(prompt: str) -> str:
        assert isinstance(prompt, SecretPrompt)
        asked.append(prompt.code)
        tls_key = prompt.code == "remote-signing.prompt-tls-passphrase"
        return "mat-khau-TLS-TEST" if tls_key else service.options.password

    address = f"{_https(service)}&ca={tls.server}&client-cert={tls.client}"
    with open_mss(address, secret=secret, options=FAST) as signer:
        assert signer.sign(b"TEST")
    assert asked == ["remote-signing.prompt-tls-passphrase", "remote-signing.prompt-client-secret"]


@pytest.mark.parametrize("query", ["&ca={server}", "&client-cert={client}", ""])
def test_without_certificate_or_authority_there_is_no_connection(
    tls_service: tuple[FakeMSSService, _TLS], query: str
) -> None:
    service, tls = tls_service
    secrets = {"remote-signing.prompt-tls-passphrase": "mat-khau-TLS-TEST"}
    address = _https(service) + query.format(server=tls.server, client=tls.client)
    with pytest.raises(RemoteError) as caught:
        open_mss(
            address, secret=lambda prompt: secrets.get(_code(prompt), service.options.password), options=FAST
        )
    # What a server of TLS 1.3 thinks of the client's certificate is heard when the client has written already.
    assert caught.value.code == ("remote.broken-off" if "{server}" in query else "remote.unreachable")
    assert service.seen == []


def test_a_wrong_passphrase_of_the_tls_key(tls_service: tuple[FakeMSSService, _TLS]) -> None:
    service, tls = tls_service
    with pytest.raises(CredentialError) as caught:
        open_mss(f"{_https(service)}&client-cert={tls.client}", secret=lambda _: "mat-khau-SAI", options=FAST)
    assert caught.value.code == "remote-signing.tls-file"
    assert str(tls.client) in caught.value.text("vi")
    assert "mat-khau-SAI" not in caught.value.text("vi")
