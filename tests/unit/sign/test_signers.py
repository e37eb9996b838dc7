"""Keys in PKCS#12 files: parsed once, checked against their certificate, clear about what is wrong."""

import datetime
import itertools
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.errors import CredentialError, ExitCode, InputError, UsageError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signers.base import Signer, verify_raw_signature
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.testing.pki import TestPKI

PASSPHRASE = "mật khẩu TEST"


@pytest.fixture
def key_file(tmp_path: Path, pki: TestPKI) -> Path:
    path = tmp_path / "khóa lãnh đạo.p12"
    path.write_bytes(pki.leader.pkcs12(PASSPHRASE))
    return path


def test_a_key_file_opens_by_uri_and_asks_once(key_file: Path, pki: TestPKI) -> None:
    asked = []

    def secret(name: str) -> str:
        asked.append(name)
        return PASSPHRASE

    with open_signer(f"pkcs12:{key_file}", secret=secret) as signer:
        for content in (b"one", b"two"):
            signature = signer.sign(content)
            assert verify_raw_signature(
                pki.leader.certificate,
                signature,
                content,
                digest_algorithm="sha256",
                mechanism=SignatureMechanism.RSA_PKCS1_V15,
            )
    assert asked == [str(key_file)]
    assert signer.certificate == pki.leader.certificate
    assert list(signer.certificate_chain[1:]) == list(pki.leader.chain)


def test_a_wrong_passphrase(key_file: Path) -> None:
    with pytest.raises(CredentialError) as caught:
        open_signer(f"pkcs12:{key_file}", secret=lambda _: "sai-TEST")
    assert caught.value.code == "signer.wrong-passphrase"
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert "sai-TEST" not in repr(caught.value)


def test_a_file_that_is_no_key_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.p12"
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(CredentialError) as caught:
        open_signer(f"pkcs12:{path}", secret=lambda _: "x")
    assert caught.value.code == "signer.not-pkcs12"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_signer(f"pkcs12:{tmp_path / 'none.p12'}", secret=lambda _: "x")


@pytest.mark.parametrize("uri", ["", "leader.p12", "smoke:signal"])
def test_an_unknown_kind_of_key(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_signer(uri, secret=lambda _: "x")
    assert caught.value.code == "signer.unknown-scheme"


@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("mechanism", [SignatureMechanism.RSA_PKCS1_V15, SignatureMechanism.RSA_PSS])
def test_rsa_mechanisms(pki: TestPKI, mechanism: SignatureMechanism, digest_algorithm: str) -> None:
    signer = PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x", mechanism=mechanism)
    signature = signer.sign(b"TEST", digest_algorithm=digest_algorithm)
    assert len(signature) <= signer.max_signature_bytes
    other = (set(SignatureMechanism) - {mechanism, SignatureMechanism.ECDSA}).pop()
    assert not verify_raw_signature(
        signer.certificate, signature, b"TEST", digest_algorithm=digest_algorithm, mechanism=other
    )


def test_ecdsa(pki: TestPKI) -> None:
    identity = pki.issue_person(common_name="EC TEST", organization="TEST", key="ec-p256")
    signer = PKCS12Signer(identity.pkcs12("x"), passphrase="x")
    assert signer.mechanism is SignatureMechanism.ECDSA
    assert len(signer.sign(b"TEST")) <= signer.max_signature_bytes
    with pytest.raises(CredentialError) as caught:
        PKCS12Signer(identity.pkcs12("x"), passphrase="x", mechanism=SignatureMechanism.RSA_PSS)
    assert caught.value.code == "signer.unfit-mechanism"


class _SignerWithAnotherKey(Signer):
    """What a confused token or a hostile remote service would be."""

    def __init__(self, certificate: x509.Certificate, key_holder: Signer) -> None:
        super().__init__(certificate)
        self._key_holder = key_holder

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        return self._key_holder.sign(content, digest_algorithm=digest_algorithm)


def test_a_signature_by_another_key_is_caught(pki: TestPKI) -> None:
    other = PKCS12Signer(pki.other_agency.pkcs12("x"), passphrase="x")
    signer = _SignerWithAnotherKey(pki.agency.certificate, other)
    with pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "signer.key-mismatch"


def test_the_chain_is_put_in_order(pki: TestPKI) -> None:
    signer = PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x")
    chain = signer.certificate_chain
    assert len(chain) >= 2
    for below, above in itertools.pairwise(chain):
        below.verify_directly_issued_by(above)
    assert chain[-1].public_bytes(Encoding.DER) == pki.root.certificate.public_bytes(Encoding.DER)
    assert datetime.datetime.now(datetime.UTC) < chain[0].not_valid_after_utc
