"""Keys on tokens: SoftHSM2 for real, with what only hardware does put in at the border of the library."""

import concurrent.futures
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.second_tools import pdfsig
from tests.token_faults import USER, TokenFaults
from tests.token_fixtures import (
    COMPOSED,
    DECOMPOSED,
    PIN,
    Desk,
    Opener,
    is_signed,
    told,
)
from vnedoc.errors import CredentialError
from vnedoc.sign.models import Role, SignatureMechanism
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers._pkcs11_mechanisms import ecdsa_as_der, signing_steps
from vnedoc.sign.signers.base import SecretPrompt
from vnedoc.sign.signers.pkcs11 import describe_tokens
from vnedoc.sign.signing import sign_pdf
from vnedoc.testing import documents

pytestmark = pytest.mark.needs("softhsm2-util")

WRONG_PIN = "sai-pin-TEST"


# What is on a token, and how it is chosen


def test_a_token_shows_itself_without_a_pin(desk: Desk, faults: TokenFaults) -> None:
    (token,) = describe_tokens(desk["rsa"].uri)
    assert (token.label, token.serial, token.pin) == (COMPOSED, desk["rsa"].serial, "ok")
    assert [entry.is_authority for entry in token.certificates].count(False) == 1
    assert {"SHA256_RSA_PKCS", "RSA_PKCS", "ECDSA"} <= set(token.mechanisms)
    assert faults.logins == []


def test_sessions_do_not_pile_up(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    describe_tokens(f"pkcs11:?module-path={desk.folder.module}")
    opened(desk["rsa"].uri).close()
    assert faults.count("C_OpenSession") == faults.count("C_CloseSession") > 0
    assert faults.count("C_Logout") == 1


@pytest.mark.parametrize("label", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("module", ["module-path", "module-name"])
def test_a_vietnamese_label_is_found_in_either_form(
    desk: Desk, opened: Opener, label: str, module: str
) -> None:
    where = "module-name=softhsm" if module == "module-name" else f"module-path={desk.folder.module}"
    signer = opened(f"pkcs11:token={label}?{where}")
    assert signer.certificate == desk.leader.certificate


def test_without_a_module_the_installed_ones_are_searched(desk: Desk, opened: Opener) -> None:
    assert opened(f"pkcs11:serial={desk['rsa'].serial}").certificate == desk.leader.certificate


@pytest.mark.parametrize(
    "name",
    ["rsa", "ec", "ec-by-id", "ec-by-label", "ec-by-public-key", "ec-alone", "hidden", "pin-each-time"],
)
def test_the_key_of_the_certificate_is_found(desk: Desk, opened: Opener, name: str) -> None:
    signer = opened(desk[name].uri)
    assert is_signed(signer, signer.sign(b"TEST"), b"TEST")


@pytest.mark.parametrize("who", ["leader", "other"])
def test_the_numbers_of_a_key_count_more_than_its_names(desk: Desk, opened: Opener, who: str) -> None:
    # Ids and labels on this token are crossed.
    certificate = getattr(desk, who).certificate
    signer = opened(desk["rsa-by-numbers"].uri_with(cert_serial=certificate.serial_number))
    assert signer.certificate == certificate
    assert is_signed(signer, signer.sign(b"TEST"), b"TEST")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("ec-by-label", {"object": DECOMPOSED}),
        ("ec-by-label", {"object": COMPOSED}),
        ("ec-by-id", {"object": "Chứng thư"}),
        ("ec-by-id", {"object": "Chứng thư", "type": "cert"}),
        ("ec-by-id", {"id": b"\x05"}),
        ("ec-by-id", {"id": b"\x05", "type": "cert"}),
        # The names of the key, which are not those of the certificate.
        ("ec-by-public-key", {"object": "Khóa"}),
        ("ec-by-public-key", {"object": "Khóa", "type": "public"}),
        ("ec-by-public-key", {"id": b"\x02"}),
        ("ec-by-id", {"object": "Khóa"}),
        ("ec-by-id", {"object": "Khóa", "type": "private"}),
        ("two", {"object": "Mới"}),
        ("two", {"id": b"\x02"}),
    ],
)
def test_an_object_is_chosen(desk: Desk, opened: Opener, name: str, attributes: dict[str, object]) -> None:
    signer = opened(desk[name].uri_with(**attributes))
    expected = desk.other if name == "two" else desk.elliptic
    assert signer.certificate == expected.certificate
    assert is_signed(signer, signer.sign(b"TEST"), b"TEST")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("rsa", {"object": "chứng thư"}),
        ("rsa", {"id": b"\x02"}),
        ("rsa", {"cert_serial": 1}),
        ("rsa", {"object": "Chứng thư CA 1"}),
        ("ec-by-public-key", {"object": "Khóa", "type": "cert"}),
        ("two", {"object": "Cũ", "id": b"\x02"}),
        # The key of that name is of another kind than the certificate of that name.
        ("wrong-key", {"object": "TEST", "type": "private"}),
    ],
)
def test_an_object_that_is_not_there(
    desk: Desk, opened: Opener, name: str, attributes: dict[str, object]
) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(desk[name].uri_with(**attributes))
    assert caught.value.code == "token.no-such-certificate"
    assert told(caught.value)


def test_several_certificates_are_named_before_a_pin_is_asked_for(desk: Desk, faults: TokenFaults) -> None:
    asked: list[str] = []
    with pytest.raises(CredentialError) as caught:
        open_signer(desk["two"].uri, secret=asked.append)
    assert caught.value.code == "token.several-certificates"
    words = told(caught.value)
    for identity in (desk.leader, desk.other):
        assert f"x-cert-serial={identity.certificate.serial_number:x}" in words
        assert identity.common_name in words
    assert (asked, faults.logins) == ([], [])


def test_two_tokens_of_one_name_are_told_apart_by_serial(desk: Desk, opened: Opener) -> None:
    uri = f"pkcs11:token=TWIN%20TEST?module-path={desk.folder.module}"
    with pytest.raises(CredentialError) as caught:
        opened(uri)
    assert caught.value.code == "token.several-certificates"
    assert all(f"serial={desk[name].serial}" in told(caught.value) for name in ("twin-1", "twin-2"))
    assert opened(desk["twin-1"].uri).certificate == desk.leader.certificate
    assert opened(desk["twin-2"].uri).certificate == desk.other.certificate
    by_certificate = uri.replace("?", f";x-cert-serial={desk.other.certificate.serial_number:x}?")
    assert opened(by_certificate).certificate == desk.other.certificate


def test_several_tokens_that_show_nothing(desk: Desk, opened: Opener) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(f"pkcs11:object=none?module-path={desk.folder.module}")
    assert caught.value.code == "token.several-tokens"
    assert desk["rsa"].serial in told(caught.value)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no-key", "token.no-private-key"),
        ("may-not-sign", "token.key-may-not-sign"),
        ("no-certificate", "token.no-certificate"),
    ],
)
def test_what_a_token_lacks(desk: Desk, opened: Opener, name: str, code: str) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(desk[name].uri)
    assert caught.value.code == code
    assert name in told(caught.value)


def test_a_key_of_another_kind_is_not_taken(desk: Desk, opened: Opener) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(desk["wrong-key"].uri_with(cert_serial=desk.leader.certificate.serial_number))
    assert caught.value.code == "token.no-private-key"


@pytest.mark.parametrize(
    "attribute", ["token=none", "serial=0", "model=x", "slot-id=1", "library-version=99", "manufacturer=x"]
)
def test_a_token_that_is_not_there(desk: Desk, opened: Opener, attribute: str) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(f"pkcs11:{attribute}?module-path={desk.folder.module}")
    assert caught.value.code == "token.no-such-token"
    assert desk["rsa"].serial in told(caught.value)


@pytest.mark.parametrize("attribute", ["model=SoftHSM%20v2", "manufacturer=SoftHSM%20project"])
def test_other_attributes_that_fit(desk: Desk, opened: Opener, attribute: str) -> None:
    signer = opened(f"pkcs11:serial={desk['rsa'].serial};{attribute}?module-path={desk.folder.module}")
    assert signer.certificate == desk.leader.certificate


def test_the_chain_comes_from_the_token(desk: Desk, opened: Opener) -> None:
    assert list(opened(desk["rsa"].uri).certificate_chain[1:]) == list(desk.leader.chain)
    assert opened(desk["twin-1"].uri).certificate_chain == (desk.leader.certificate,)


# Signing


@pytest.mark.needs("pdfsig")
@pytest.mark.parametrize("name", ["rsa", "ec"])
def test_a_pdf_is_signed(desk: Desk, opened: Opener, tmp_path: Path, name: str) -> None:
    path = tmp_path / "signed.pdf"
    options = SigningOptions(role=Role.INVISIBLE)
    sign_pdf(documents.document_path(documents.LETTER), path, signer=opened(desk[name].uri), options=options)
    words = pdfsig(path)
    assert words.count("Signature is Valid.") == 1
    assert "TEST" in words


def test_fifty_signatures_need_one_login(desk: Desk, faults: TokenFaults) -> None:
    asked: list[str] = []

    def secret(question: str) -> str:
        asked.append(question)
        return PIN

    options = SigningOptions(role=Role.INVISIBLE)
    letter = documents.document_bytes(documents.LETTER)
    with open_signer(desk["rsa"].uri, secret=secret) as signer:
        for _ in range(50):
            assert sign_pdf(letter, None, signer=signer, options=options).content
    assert len(asked) == 1
    assert faults.logins == [(USER, PIN.encode())]
    assert faults.count("C_Sign") >= 50


def test_the_question_says_which_pin_in_both_languages(desk: Desk) -> None:
    asked: list[str] = []

    def secret(question: str) -> str:
        asked.append(question)
        return PIN

    with open_signer(desk["pin-each-time"].uri, secret=secret) as signer:
        signer.sign(b"1")
        signer.sign(b"2")
    assert [question.code for question in asked if isinstance(question, SecretPrompt)] == [
        "token.prompt-pin",
        "token.prompt-signing-pin",
    ]
    assert all("pin-each-time" in question for question in asked)


@pytest.mark.parametrize("mechanism", [SignatureMechanism.RSA_PKCS1_V15, SignatureMechanism.RSA_PSS])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_a_token_hashes_by_itself_where_it_can(
    desk: Desk, faults: TokenFaults, opened: Opener, mechanism: SignatureMechanism, digest: str
) -> None:
    signer = opened(desk["rsa"].uri, mechanism=mechanism)
    signer.sign(b"TEST", digest_algorithm=digest)
    assert faults.mechanisms == [int(signing_steps(mechanism, digest)[0].mechanism)]


@pytest.mark.parametrize(
    ("mechanism", "raw"),
    [(SignatureMechanism.RSA_PKCS1_V15, "RSA_PKCS"), (SignatureMechanism.RSA_PSS, "RSA_PKCS_PSS")],
)
def test_a_token_that_lists_what_it_cannot_do_gets_a_digest(
    desk: Desk, opened: Opener, mechanism: SignatureMechanism, raw: str
) -> None:
    signer = opened(desk["rsa"].uri, mechanism=mechanism)

    class _Refusing(type(signer._key)):  # type: ignore[misc] # made by python-pkcs11 for each object
        def sign(self, data: bytes, **options: object) -> bytes:
            if options["mechanism"] is not cryptoki.Mechanism[raw]:
                raise cryptoki.MechanismInvalid
            value: bytes = super().sign(data, **options)
            return value

    signer._key = _Refusing(signer._key.wrapper)
    for digest in ("sha256", "sha384", "sha512"):
        assert signer.sign(b"TEST" * 1000, digest_algorithm=digest)


def test_ecdsa_values_become_der() -> None:
    pair = (1 << 255, 7)
    side_by_side = pair[0].to_bytes(32, "big") + pair[1].to_bytes(32, "big")
    assert decode_dss_signature(ecdsa_as_der(side_by_side, 32, "TEST")) == pair
    already = encode_dss_signature(*pair)
    assert ecdsa_as_der(already, 32, "TEST") == already
    for value in (b"", b"\x30", side_by_side[1:], side_by_side + b"\0"):
        with pytest.raises(CredentialError) as caught:
            ecdsa_as_der(value, 32, "TEST")
        assert caught.value.code == "token.bad-signature"


def test_a_token_that_can_do_nothing_of_it(desk: Desk, opened: Opener) -> None:
    signer = opened(desk["rsa"].uri)
    signer._offered = frozenset({int(cryptoki.Mechanism.ECDSA)})
    with pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "token.no-mechanism"


def test_threads_share_a_signer(desk: Desk, opened: Opener) -> None:
    signers = [opened(desk["rsa"].uri), opened(desk["ec"].uri)]
    contents = [str(n).encode() for n in range(40)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for signer in signers:
            for content, value in zip(contents, pool.map(signer.sign, contents), strict=True):
                assert is_signed(signer, value, content)
