"""Every signer keeps the contract that comes with vnedoc."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.remote_signing import KINDS, Clock, Kind
from tests.token_fixtures import PIN, Desk, make_desk
from vnedoc.errors import CredentialError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signers.base import DIGESTS, SecretCallback, SecretPrompt, Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.testing.pki import Identity, TestPKI
from vnedoc.testing.remote_signing import FakeCSCService
from vnedoc.testing.signers import SignerContract

PASSPHRASE = "mật khẩu TEST"
ON_TOKENS = frozenset({"rsa", "ec", "pin-each-time"})


@pytest.fixture(scope="module")
def desk(pki: TestPKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = make_desk(tmp_path_factory.mktemp("tokens"), pki, only=ON_TOKENS)
    with made.folder.in_this_process():
        yield made


class _PKCS12Contract(SignerContract):
    secret = PASSPHRASE
    wrong_secret = "sai-TEST"
    mechanism: SignatureMechanism | None = None
    kind: str = "leader"

    @pytest.fixture(autouse=True)
    def _key_file(self, pki: TestPKI) -> None:
        self.content = self.identity(pki).pkcs12(PASSPHRASE)

    def identity(self, pki: TestPKI) -> Identity:
        return pki.leader

    def open(self, secret: SecretCallback) -> Signer:
        passphrase = secret("key file")
        if passphrase is None:
            raise CredentialError("signer.wrong-passphrase", path="TEST")
        return PKCS12Signer(self.content, passphrase=passphrase, mechanism=self.mechanism)


class TestPKCS12(_PKCS12Contract):
    pass


class TestPKCS12WithPSS(_PKCS12Contract):
    mechanism = SignatureMechanism.RSA_PSS


class TestPKCS12WithECDSA(_PKCS12Contract):
    def identity(self, pki: TestPKI) -> Identity:
        return pki.issue_person(common_name="EC TEST", organization="TEST", key="ec-p256")


@pytest.mark.needs("softhsm2-util")
class _PKCS11Contract(SignerContract):
    secret = PIN
    wrong_secret = "sai-pin-TEST"
    mechanism: SignatureMechanism | None = None
    token = "rsa"

    @pytest.fixture(autouse=True)
    def _token(self, desk: Desk) -> None:
        self.uri = desk[self.token].uri

    def open(self, secret: SecretCallback) -> Signer:
        return open_signer(self.uri, secret=secret, mechanism=self.mechanism)


class TestPKCS11(_PKCS11Contract):
    pass


class TestPKCS11WithPSS(_PKCS11Contract):
    mechanism = SignatureMechanism.RSA_PSS


class TestPKCS11WithECDSA(_PKCS11Contract):
    token = "ec"


class TestPKCS11WithPINForEachSignature(_PKCS11Contract):
    token = "pin-each-time"
    max_questions = 2


ACCOUNTS = frozenset({"remote-signing.prompt-client-secret", "remote-signing.prompt-password"})
"""What is asked once; PINs and codes are the holder's, and a code is asked for with each authorisation."""


class TestRemote(SignerContract):
    """Every remote service; the secret is that of the account."""

    wrong_secret = "sai-TEST"
    digest_algorithms = frozenset({"sha256"})

    @pytest.fixture(autouse=True, params=KINDS, ids=lambda kind: kind.name)
    def _service(self, request: pytest.FixtureRequest, pki: TestPKI) -> Iterator[None]:
        self.kind: Kind = request.param
        with self.kind.make(pki.leader, Clock()) as self.service:
            self.secret = str(getattr(vars(self.service)["options"], self.kind.service_secret))
            if isinstance(self.service, FakeCSCService):
                self.digest_algorithms = frozenset(DIGESTS)
            yield

    def open(self, secret: SecretCallback) -> Signer:
        holder = self.kind.person(self.service)

        def answer(question: str) -> str | None:
            assert isinstance(question, SecretPrompt)
            return secret(question) if question.code in ACCOUNTS else holder(question)

        return self.kind.open(self.service, answer)


class _Broken(Signer):
    """Signs, but not with the key of its certificate, asks too often and says its secret."""

    def __init__(self, identity: Identity, other: Identity, secret: SecretCallback) -> None:
        super().__init__(identity.certificate)
        self._other, self._ask = other, secret

    def __repr__(self) -> str:
        return f"<signer with {self._ask('again')}>"

    def sign(self, content: bytes, *, digest_algorithm: str = "sha256") -> bytes:
        self._ask(f"PIN for {digest_algorithm}")
        return self._other.sign(content)

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        # Abstract in the base; sign() above is what is called.
        raise NotImplementedError


@pytest.mark.parametrize(
    "broken",
    [
        "test_a_signature_verifies_for_each_digest",
        "test_content_of_any_size_is_signed",
        "test_many_signatures_need_one_secret",
        "test_threads_may_share_a_signer",
        "test_two_signers_do_not_disturb_each_other",
        "test_a_secret_is_never_shown",
        "test_a_wrong_secret_is_tried_once",
        "test_no_secret_is_an_error",
    ],
)
def test_the_contract_finds_a_signer_that_breaks_it(pki: TestPKI, broken: str) -> None:
    class Contract(SignerContract):
        secret = "đúng-TEST"
        wrong_secret = "sai-TEST"

        def open(self, secret: SecretCallback) -> Signer:
            return _Broken(pki.leader, pki.agency, secret)

    with pytest.raises(AssertionError):
        getattr(Contract(), broken)()
