"""The parts of signing with a service that need no service."""

import base64
import contextlib
import datetime
import email.utils
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.errors import CredentialError, RemoteError
from vnedoc.sign.signers._chains import order_chain
from vnedoc.sign.signers._remote import RemoteSigner, Secrets
from vnedoc.sign.signers._remote_values import (
    decode_signature,
    parse_certificate,
    parse_retry_after,
)
from vnedoc.sign.signers.base import SecretPrompt, Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.testing.pki import TestPKI

PIN = SecretPrompt("remote-signing.prompt-pin", credential="KHOA-TEST", service="ky.example")


class _Forgetful(Signer):
    """Returns fewer values than it was asked for."""

    def __init__(self, key_holder: Signer) -> None:
        super().__init__(key_holder.certificate)
        self._key_holder = key_holder

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        return self._key_holder.sign(content, digest_algorithm=digest_algorithm)

    def _sign_many(self, contents: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        return super()._sign_many(contents[1:], digest_algorithm)


def test_a_key_at_hand_signs_several_one_after_another(pki: TestPKI) -> None:
    signer = PKCS12Signer(pki.leader.pkcs12("x"), passphrase="x")
    assert signer.sign_many([b"1", b"2"]) == [signer.sign(b"1"), signer.sign(b"2")]
    assert signer.sign_many([]) == []


def test_fewer_values_than_contents_are_refused(pki: TestPKI) -> None:
    signer = _Forgetful(PKCS12Signer(pki.leader.pkcs12("x"), passphrase="x"))
    with pytest.raises(RemoteError) as caught:
        signer.sign_many([b"1"])
    assert caught.value.code == "remote-signing.wrong-count"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("999999999999", 3600.0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2001 00:00:00", 0.0),
        ("\u0663", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    seconds = parse_retry_after(email.utils.format_datetime(moment, usegmt=True))
    assert seconds is not None
    assert 80 < seconds <= 90


@pytest.mark.parametrize("value", ["AAAA\r\nBBBB\r\n", " AAAABBBB "])
def test_signatures_may_be_broken_into_lines(value: str) -> None:
    assert decode_signature(value) == base64.b64decode("AAAABBBB")


@pytest.mark.parametrize("value", [None, 5, ["AAAA"], "AAA", "A*AA", "ả"])
def test_what_is_no_signature(value: object) -> None:
    with pytest.raises(ValueError, match="signature"):
        decode_signature(value)


def test_certificates_with_or_without_pem_lines(pki: TestPKI) -> None:
    certificate = pki.leader.certificate
    pem = certificate.public_bytes(Encoding.PEM).decode()
    bare = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    assert parse_certificate(pem) == parse_certificate(bare) == certificate


@pytest.mark.parametrize("value", [None, 5, "", "AAAA", "ả", "-----BEGIN CERTIFICATE-----"])
def test_what_is_no_certificate(value: object) -> None:
    with pytest.raises(ValueError):
        parse_certificate(value)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_hostile_certificate_is_no_certificate(pki: TestPKI) -> None:
    content = pki.leader.certificate.public_bytes(Encoding.DER)
    for position in range(4, 200):
        for value in (0x00, 0xFF, content[position] ^ 0x01):
            changed = content[:position] + bytes([value]) + content[position + 1 :]
            with contextlib.suppress(ValueError):
                parse_certificate(base64.b64encode(changed).decode())


class _Nowhere:
    def close(self) -> None:
        """Nothing is open."""


class _Anywhere(RemoteSigner):
    def _sign_hashes(self, hashes: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        return [digest_algorithm.encode() for _ in hashes]


def test_a_certificate_with_a_broken_key_cannot_sign(pki: TestPKI) -> None:
    content = pki.leader.certificate.public_bytes(Encoding.DER)
    rsa_encryption = bytes.fromhex("06092a864886f70d010101")
    assert content.count(rsa_encryption) == 1
    unknown = content.replace(rsa_encryption, bytes.fromhex("06092a864886f70d010163"))
    certificate = parse_certificate(base64.b64encode(unknown).decode())
    with pytest.raises(CredentialError) as caught:
        _Anywhere(certificate, (), mechanism=None, service=_Nowhere())
    assert caught.value.code == "signer.unsupported-key"


def test_a_chain_is_put_in_order(pki: TestPKI) -> None:
    leaf, chain = pki.leader.certificate, list(pki.leader.chain)
    assert order_chain(leaf, [*chain[::-1], leaf, pki.other_agency.certificate]) == chain
    assert order_chain(leaf, chain[1:]) == []


def test_secrets_are_cleaned_out_of_what_servers_say() -> None:
    secrets = Secrets(lambda _: "24 6810")
    secrets.keep(PIN)
    secrets.hide("24 6810 99")
    said = "PIN  24 6810 sai;\ttoken 24 6810 99\r\n\x1b[2J" + "x" * 500
    assert secrets.clean(said).startswith("PIN *** sai; token *** [2Jx")
    assert len(secrets.clean(said)) == 200
    assert "24" not in repr(secrets)


@pytest.mark.parametrize("answer", [None, "", "m\udcffk"])
def test_no_secret_that_can_be_sent(answer: str | None) -> None:
    with pytest.raises(CredentialError) as caught:
        Secrets(lambda _: answer).ask(PIN)
    assert caught.value.code == "remote-signing.no-secret"
    assert caught.value.text("vi") == "Chưa nhập: Mã PIN của khóa ký KHOA-TEST tại ky.example."
