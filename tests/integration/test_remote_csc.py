"""Keys at services of the Cloud Signature Consortium: both versions, every way to sign in and to authorise."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.remote_signing import Clock, Person, assert_signs_the_decision
from vnedoc.errors import CredentialError, RefusedError, RemoteError, UsageError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers.base import SecretPrompt, Signer, verify_raw_signature
from vnedoc.sign.signers.csc import RemoteOptions, open_csc
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import CSCServiceOptions, FakeCSCService, json_answer

Start = Callable[..., FakeCSCService]
FAST = RemoteOptions(poll_interval_s=0.001, timeout_s=5.0)
RSA, PSS = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"


@pytest.fixture
def start(pki: TestPKI) -> Iterator[Start]:
    """Start a service with some options."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            FakeCSCService(options.pop("identity", pki.leader), CSCServiceOptions(**options))
        )


def _knows(service: FakeCSCService, **other: str | None) -> Person:
    def answer(kind: str) -> str | None:
        options = service.options
        known = {
            "client-secret": options.client_secret,
            "password": options.password,
            "pin": options.pin,
            "otp": service.holder.messages[-1] if service.holder.messages else None,
        }
        return {**known, **other}.get(kind)

    return Person(answer)


def _open(
    service: FakeCSCService,
    secret: Person | None = None,
    *,
    query: str = "&client=app-TEST",
    mechanism: SignatureMechanism | None = None,
    options: RemoteOptions = FAST,
) -> Signer:
    return open_csc(
        service.address + query, secret=secret or _knows(service), mechanism=mechanism, options=options
    )


def _good(signer: Signer, signature: bytes, content: bytes, digest_algorithm: str = "sha256") -> bool:
    return verify_raw_signature(
        signer.certificate,
        signature,
        content,
        digest_algorithm=digest_algorithm,
        mechanism=signer.mechanism,
    )


@pytest.mark.needs("pdfsig")
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_document_is_signed(start: Start, tmp_path: Path, api: str) -> None:
    service = start(api=api, factors=("pin", "sent-otp"))
    with _open(service, _knows_messages(service)) as signer:
        assert_signs_the_decision(signer, tmp_path / "signed.pdf")


def _knows_messages(service: FakeCSCService) -> Person:
    """Somebody who reads the code on the phone at the moment it is asked for."""

    def answer(kind: str) -> str | None:
        return service.holder.messages[-1] if kind == "otp" else _knows(service)._answers(kind)

    return Person(answer)


@pytest.mark.parametrize(
    ("api", "factors", "asked"),
    [
        ("v1", (), []),
        ("v1", ("pin",), ["pin"]),
        ("v1", ("pin", "sent-otp"), ["pin", "otp"]),
        ("v2", (), []),
        ("v2", ("pin",), ["pin"]),
        ("v2", ("sent-otp",), ["otp"]),
        ("v2", ("pin", "challenge"), ["pin", "challenge"]),
        ("v2", ("app",), []),
    ],
)
def test_each_way_to_authorize(start: Start, api: str, factors: tuple[str, ...], asked: list[str]) -> None:
    service = start(api=api, factors=factors)
    person = _knows_messages(service)
    answers = person._answers
    person._answers = lambda kind: service.holder.messages[-1] if kind == "challenge" else answers(kind)
    with _open(service, person) as signer:
        assert person.asked == ["client-secret"]
        assert _good(signer, signer.sign(b"TEST"), b"TEST")
    assert person.asked == ["client-secret", *asked]
    assert service.authorizations == 1


def test_a_pin_is_asked_once_and_a_code_each_time(start: Start) -> None:
    service = start(factors=("pin", "sent-otp"))
    person = _knows_messages(service)
    with _open(service, person) as signer:
        signer.sign(b"1")
        signer.sign(b"2")
    assert person.asked == ["client-secret", "pin", "otp", "otp"]


def test_prompts_say_which_secret_is_wanted_in_both_languages(start: Start) -> None:
    service = start(factors=("pin",))
    prompts = []

    def secret(prompt: str) -> str | None:
        prompts.append(prompt)
        return _knows(service)(prompt)

    with open_csc(service.address + "&client=app-TEST", secret=secret) as signer:
        signer.sign(b"TEST")
    pin = prompts[1]
    assert isinstance(pin, SecretPrompt)
    assert pin.code == "remote-signing.prompt-pin"
    assert pin == f"PIN of the signing key KHOA-TEST-1 at {service.host}"
    assert pin.text("vi") == f"Mã PIN của khóa ký KHOA-TEST-1 tại {service.host}"


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_wrong_pin_is_never_tried_again(start: Start, api: str) -> None:
    service = start(api=api, factors=("pin",))
    pins = iter(["000000", service.options.pin])
    person = _knows(service)
    person._answers = lambda kind: next(pins) if kind == "pin" else service.options.client_secret
    with _open(service, person) as signer:
        with pytest.raises(CredentialError) as caught:
            signer.sign(b"TEST")
        assert (
            caught.value.code == {"v1": "remote-signing.wrong-pin", "v2": "remote-signing.wrong-factor"}[api]
        )
        assert service.wrong_pins == 1
        # The next signature asks the person again.
        assert signer.sign(b"TEST")
    assert person.asked.count("pin") == 2


def test_a_401_for_a_wrong_pin_is_not_taken_for_an_old_token(start: Start) -> None:
    service = start(factors=("pin",))
    with _open(service) as signer:
        service.mishap(
            "credentials/authorize", json_answer({"error": "invalid_request", "message": "sai PIN"}, 401)
        )
        with pytest.raises(CredentialError):
            signer.sign(b"TEST")
    assert sum(path.endswith("authorize") for path in service.seen) == 1


def test_an_old_token_is_renewed_before_a_pin_is_sent(start: Start) -> None:
    service = start(factors=("pin",))
    with _open(service) as signer:
        service.forget_tokens()
        assert signer.sign(b"TEST")
    assert (service.sign_ins, service.wrong_pins, service.authorizations) == (2, 0, 1)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_wrong_code_is_never_tried_again(start: Start, api: str) -> None:
    service = start(api=api, factors=("sent-otp",))
    person = _knows(service, otp="000000")
    with _open(service, person) as signer, pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == {"v1": "remote-signing.wrong-otp", "v2": "remote-signing.wrong-factor"}[api]
    assert person.asked.count("otp") == 1


def test_a_locked_key(start: Start) -> None:
    service = start(factors=("pin",))
    service.wrong_pins = 3
    with _open(service) as signer, pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.locked"


def test_more_hashes_than_one_authorization_covers(start: Start) -> None:
    service = start(multisign=2, factors=("pin",))
    contents = [b"%d" % number for number in range(5)]
    with _open(service) as signer:
        signatures = signer.sign_many(contents)
        assert all(_good(signer, value, content) for value, content in zip(signatures, contents, strict=True))
    assert service.authorizations == 3


def test_an_authorization_is_good_for_its_hashes_only(start: Start) -> None:
    service = start(scal="2")
    with _open(service) as signer:
        calls = vars(signer)["_calls"]
        credential = vars(signer)["_credential"]
        sad = calls.authorize(credential, [b"1" * 32], "sha256")
        with pytest.raises(RefusedError) as caught:
            calls.sign_hashes(
                credential, [b"2" * 32], sad=sad, mechanism=signer.mechanism, digest_algorithm="sha256"
            )
    assert caught.value.values["remote_message"] == "Hash is not authorized by the SAD"


def test_an_authorization_that_grew_old(start: Start) -> None:
    service = start()
    with _open(service) as signer:
        calls = vars(signer)["_calls"]
        credential = vars(signer)["_credential"]
        sad = calls.authorize(credential, [b"1" * 32], "sha256")
        service.expire_sads()
        with pytest.raises(RefusedError) as caught:
            calls.sign_hashes(
                credential, [b"1" * 32], sad=sad, mechanism=signer.mechanism, digest_algorithm="sha256"
            )
    assert caught.value.values["remote_message"] == "SAD expired"
    assert sad not in repr(caught.value)


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("algorithms", [(RSA,), ("1.2.840.113549.1.1.11", "1.2.840.113549.1.1.13"), (PSS,)])
@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha512"])
def test_algorithms(start: Start, api: str, algorithms: tuple[str, ...], digest_algorithm: str) -> None:
    service = start(api=api, algorithms=algorithms)
    with _open(service) as signer:
        expected = SignatureMechanism.RSA_PSS if PSS in algorithms else SignatureMechanism.RSA_PKCS1_V15
        assert signer.mechanism is expected
        signature = signer.sign(b"TEST", digest_algorithm=digest_algorithm)
        assert _good(signer, signature, b"TEST", digest_algorithm)


def test_pss_by_choice(start: Start) -> None:
    service = start(algorithms=(RSA, PSS))
    with _open(service, mechanism=SignatureMechanism.RSA_PSS) as signer:
        assert _good(signer, signer.sign(b"TEST"), b"TEST")


@pytest.mark.parametrize("algorithms", [("1.2.840.10045.2.1",), ("1.2.840.10045.4.3.2",)])
def test_an_elliptic_curve(start: Start, pki: TestPKI, algorithms: tuple[str, ...]) -> None:
    identity = pki.issue_person(common_name="EC TEST", organization="TEST", key="ec-p256")
    service = start(identity=identity, algorithms=algorithms)
    with _open(service) as signer:
        assert signer.mechanism is SignatureMechanism.ECDSA
        assert _good(signer, signer.sign(b"TEST"), b"TEST")


def test_a_digest_that_is_not_offered(start: Start) -> None:
    service = start(algorithms=("1.2.840.113549.1.1.11",), factors=("pin",))
    person = _knows(service)
    with _open(service, person) as signer, pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST", digest_algorithm="sha384")
    assert caught.value.code == "remote-signing.algorithm-not-offered"
    assert "pin" not in person.asked


def test_signatures_that_are_ready_later(start: Start) -> None:
    service = start(api="v2", asynchronous=True)
    service.holder.hesitates = 3
    with _open(service) as signer:
        assert _good(signer, signer.sign(b"TEST"), b"TEST")
    assert sum(path.endswith("signPolling") for path in service.seen) == 4


def test_signatures_that_are_never_ready(start: Start) -> None:
    clock = Clock()
    service = start(api="v2", asynchronous=True)
    service.holder.decision = "ignore"
    options = clock.options(confirmation_timeout_s=20.0)
    with _open(service, options=options) as signer, pytest.raises(RemoteError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "remote-signing.not-confirmed"
    assert sum(clock.pauses) <= 20.0


@pytest.mark.parametrize("query", ["&client=app-TEST", "&user=vanthu-TEST"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_the_only_credential_need_not_be_named(start: Start, api: str, query: str) -> None:
    service = start(api=api)
    address = f"csc+{service.base_url}/?api={api}{query}"
    with open_csc(address, secret=_knows(service), options=FAST) as signer:
        assert signer.sign(b"TEST")


@pytest.mark.parametrize(
    ("ids", "code"),
    [(("A-TEST", "B-TEST"), "remote-signing.choose-credential"), ((), "remote-signing.no-certificate")],
)
def test_a_credential_must_be_named(start: Start, ids: tuple[str, ...], code: str) -> None:
    service = start(credential_ids=ids)
    with pytest.raises(CredentialError) as caught:
        open_csc(f"csc+{service.base_url}?client=app-TEST", secret=_knows(service), options=FAST)
    assert caught.value.code == code


def test_a_credential_that_is_not_there(start: Start) -> None:
    service = start()
    with pytest.raises(CredentialError) as caught:
        open_csc(
            f"csc+{service.base_url}?client=app-TEST&credential=KHONG-CO",
            secret=_knows(service),
            options=FAST,
        )
    assert caught.value.code == "remote-signing.no-credential"
    assert caught.value.values["remote_message"] == "Invalid parameter credentialID"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"key_status": "disabled"}, "remote-signing.credential-disabled"),
        ({"certificate_status": "revoked"}, "remote-signing.credential-disabled"),
        ({"certificate_status": "expired", "api": "v2"}, "remote-signing.credential-disabled"),
        ({"auth_types": ("basic",)}, "remote-signing.no-sign-in"),
    ],
)
def test_a_credential_that_cannot_sign_here(start: Start, options: dict[str, str], code: str) -> None:
    service = start(**options)
    with pytest.raises(CredentialError) as caught:
        _open(service)
    assert caught.value.code == code


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_credential_that_wants_a_browser_wants_to_know_the_application(start: Start, api: str) -> None:
    service = start(api=api, mode="oauth2code")
    with pytest.raises(CredentialError) as caught:
        _open(service, query="&user=vanthu-TEST")
    assert caught.value.code == "remote-signing.needs-browser"


def test_a_service_without_signing(start: Start) -> None:
    service = start()
    service.mishap("/info", json_answer({"methods": ["info"], "authType": ["basic"]}))
    with pytest.raises(RefusedError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.method-missing"


@pytest.mark.parametrize("oauth2", ["ftp://127.0.0.1", "javascript:1", ""])
def test_a_secret_is_not_sent_to_a_strange_place(start: Start, oauth2: str) -> None:
    service = start()
    service.mishap("/info", json_answer({"oauth2": oauth2}))
    person = _knows(service)
    with pytest.raises(RemoteError):
        _open(service, person)
    assert person.asked == []


def test_an_issuer_without_address_needs_one_from_us(start: Start) -> None:
    service = start()
    service.mishap("/info", json_answer({"oauth2Issuer": "https://issuer.example"}))
    with pytest.raises(UsageError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.missing-option"
    service.mishap("/info", json_answer({"oauth2Issuer": "https://issuer.example"}))
    url = f"{service.base_url}/oauth2/token"
    with _open(service, query=f"&client=app-TEST&token-url={url}") as signer:
        assert signer.sign(b"TEST")


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a ", "mã", 7, None])
def test_a_token_that_would_break_a_header(start: Start, token: object) -> None:
    service = start()
    service.mishap("/oauth2/token", json_answer({"access_token": token}))
    with pytest.raises(RemoteError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.bad-answer"


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"key": {}, "cert": {"certificates": []}},
        {"key": {"algo": [RSA]}, "cert": {"certificates": ["AAAA"]}},
        {"key": {"algo": [RSA]}, "cert": {"certificates": [7]}},
        {"key": {"algo": [RSA]}, "cert": {"certificates": ["AAAA"] * 1000}},
        {"key": [], "cert": "x"},
    ],
)
def test_a_credential_that_is_not_described(start: Start, info: object) -> None:
    service = start()
    service.mishap("credentials/info", json_answer(info))
    with pytest.raises(RemoteError) as caught:
        _open(service)
    assert caught.value.code == "remote-signing.bad-answer"


def test_a_name_that_cannot_be_told_from_a_password(start: Start) -> None:
    service = start()
    with pytest.raises(UsageError):
        _open(service, query="&user=a:b")
    assert service.seen == []
