"""What every key behind a service does, whatever its protocol: sign what was asked, or say clearly why not."""

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.remote_signing import KINDS, Clock, Kind
from vnedoc import messages
from vnedoc.errors import (
    CredentialError,
    ExitCode,
    RefusedError,
    RemoteError,
    UsageError,
    VnedocError,
)
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers.base import SecretCallback, Signer, verify_raw_signature
from vnedoc.testing._loopback import Answer, Silence
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import FakeCSCService, FakeService, json_answer
from vnedoc.testing.signers import SignerContract

CONTENTS = [b"van ban TEST 1", b"van ban TEST 2", b"van ban TEST 3"]
WITH_TOKEN = [kind for kind in KINDS if kind.has_token]
WITH_PERSON = [kind for kind in KINDS if kind.declines]
SPEAKING_JSON = [kind for kind in KINDS if kind.name != "mss"]
POLLED = [kind for kind in KINDS if kind.poll_call]


def _of(kinds: list[Kind] | tuple[Kind, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(kind: Kind, pki: TestPKI, clock: Clock) -> Iterator[FakeService]:
    with kind.make(pki.leader, clock) as running:
        yield running


def _good(pki: TestPKI, signature: bytes, content: bytes) -> bool:
    return verify_raw_signature(
        pki.leader.certificate,
        signature,
        content,
        digest_algorithm="sha256",
        mechanism=SignatureMechanism.RSA_PKCS1_V15,
    )


@_of(KINDS)
def test_it_signs_with_the_key_of_its_certificate(kind: Kind, service: FakeService, pki: TestPKI) -> None:
    with kind.open(service) as signer:
        assert signer.certificate == pki.leader.certificate
        assert signer.certificate_chain == (pki.leader.certificate, *pki.leader.chain)
        signature = signer.sign(CONTENTS[0])
    assert _good(pki, signature, CONTENTS[0])
    assert len(signature) <= signer.max_signature_bytes


@_of(KINDS)
def test_several_are_signed_in_order_with_one_authorization(
    kind: Kind, service: FakeService, pki: TestPKI
) -> None:
    with kind.open(service) as signer:
        signatures = signer.sign_many(CONTENTS)
    assert [_good(pki, value, content) for value, content in zip(signatures, CONTENTS, strict=True)] == [
        True
    ] * 3
    requests = sum(path.endswith(kind.sign_call) for path in service.seen)
    assert requests == (1 if kind.one_confirmation else 3)
    if isinstance(service, FakeCSCService):
        assert service.authorizations == 1


@_of(KINDS)
def test_nothing_to_sign_asks_nobody(kind: Kind, service: FakeService) -> None:
    with kind.open(service) as signer:
        before = list(service.seen)
        assert signer.sign_many([]) == []
    assert service.seen == before


@_of(KINDS)
def test_fewer_signatures_than_hashes_are_refused(kind: Kind, service: FakeService) -> None:
    service.lost_signatures = 1
    with kind.open(service) as signer, pytest.raises(RemoteError) as caught:
        signer.sign_many(CONTENTS)
    assert caught.value.code == "remote-signing.wrong-count"
    assert caught.value.exit_code is ExitCode.REMOTE


@_of(KINDS)
def test_a_signature_by_another_key_is_refused(kind: Kind, service: FakeService, pki: TestPKI) -> None:
    service.signing_identity = pki.other_agency
    with kind.open(service) as signer:
        for sign in (lambda: signer.sign(CONTENTS[0]), lambda: signer.sign_many(CONTENTS)):
            with pytest.raises(CredentialError) as caught:
                sign()
            assert caught.value.code == "signer.key-mismatch"


@_of(WITH_PERSON)
def test_a_holder_who_declines(kind: Kind, service: FakeService) -> None:
    service.holder.decision = "decline"
    with kind.open(service) as signer, pytest.raises(RefusedError) as caught:
        signer.sign(CONTENTS[0])
    assert caught.value.code == "remote-signing.declined"
    assert caught.value.exit_code is ExitCode.REFUSED
    assert caught.value.values["remote_code"]
    assert caught.value.values["remote_message"]
    assert service.holder.asked == 1


@_of(POLLED)
def test_a_slow_holder_is_waited_for(kind: Kind, service: FakeService, clock: Clock, pki: TestPKI) -> None:
    service.holder.hesitates = 3
    with kind.open(service, options=clock.options(poll_interval_s=2.0)) as signer:
        assert _good(pki, signer.sign(CONTENTS[0]), CONTENTS[0])
    assert clock.pauses[:4] == [2.0] * 4


@_of(POLLED)
def test_a_holder_who_never_answers_is_not_waited_for_longer_than_told(
    kind: Kind, service: FakeService, clock: Clock
) -> None:
    service.holder.decision = "ignore"
    options = clock.options(poll_interval_s=7.0, confirmation_timeout_s=60.0)
    with kind.open(service, options=options) as signer, pytest.raises(RemoteError) as caught:
        signer.sign(CONTENTS[0])
    assert caught.value.code == "remote-signing.not-confirmed"
    assert caught.value.exit_code is ExitCode.REMOTE
    assert sum(clock.pauses) <= 60.0


@_of(POLLED)
def test_the_server_says_when_to_ask_again(kind: Kind, service: FakeService, clock: Clock) -> None:
    assert kind.poll_call is not None
    busy = json_answer({"error": "busy"}, 503, headers={"Retry-After": "17"})
    service.mishap(kind.poll_call, busy)
    with kind.open(service, options=clock.options(poll_interval_s=2.0)) as signer:
        signer.sign(CONTENTS[0])
    assert clock.pauses[:2] == [2.0, 17.0]


@_of(POLLED)
def test_an_answer_lost_while_waiting_is_forgiven_a_few_times(
    kind: Kind, service: FakeService, clock: Clock
) -> None:
    assert kind.poll_call is not None
    broken = Answer(json_answer({}, 502).status, "text/html", b"<h1>Bad gateway</h1>")
    service.mishap(kind.poll_call, *[broken] * 4)
    with kind.open(service, options=clock.options()) as signer:
        signer.sign(CONTENTS[0])
        service.mishap(kind.poll_call, *[broken] * 5)
        with pytest.raises(RemoteError) as caught:
            signer.sign(CONTENTS[0])
    assert caught.value.code == "remote-signing.unavailable"


@_of(WITH_TOKEN)
def test_an_expired_token_is_renewed_once(
    kind: Kind, service: FakeService, clock: Clock, pki: TestPKI
) -> None:
    with kind.open(service, options=clock.options()) as signer:
        assert service.sign_ins == 1
        clock.moment += 3601
        assert _good(pki, signer.sign(CONTENTS[0]), CONTENTS[0])
        # The service forgot it before its time: that shows only when it is used.
        service.forget_tokens()
        assert _good(pki, signer.sign(CONTENTS[0]), CONTENTS[0])
    assert service.sign_ins == 3


@_of(WITH_TOKEN)
def test_a_service_that_refuses_every_token_is_asked_no_more_than_twice(
    kind: Kind, service: FakeService
) -> None:
    with kind.open(service) as signer:
        refused = json_answer({"error": "invalid_token"}, 401)
        service.mishap(kind.sign_call, refused, refused, refused)
        with pytest.raises(CredentialError) as caught:
            signer.sign(CONTENTS[0])
        assert sum(path.endswith(kind.sign_call) for path in service.seen) == 2
    assert caught.value.code == "remote-signing.token-refused"


@_of(KINDS)
def test_wrong_credentials_are_sent_once_and_shown_to_nobody(
    kind: Kind, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = []

    def secret(prompt: str) -> str:
        asked.append(prompt)
        return "bi-mat-SAI-TEST"

    with pytest.raises(CredentialError) as caught:
        kind.open(service, secret)
    assert caught.value.code == "remote-signing.wrong-secret"
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert len(asked) == 1
    _assert_hidden({"bi-mat-SAI-TEST"}, caught.value, caplog)


@_of(KINDS)
def test_credentials_that_were_changed_meanwhile(kind: Kind, service: FakeService) -> None:
    with kind.open(service) as signer:
        signer.sign(CONTENTS[0])
        service.forget_tokens()
        options = vars(service)["options"]
        secret = str(getattr(options, kind.service_secret))
        setattr(options, kind.service_secret, "bi-mat-MOI-TEST")
        with pytest.raises(CredentialError) as caught:
            signer.sign(CONTENTS[0])
        assert caught.value.code == "remote-signing.wrong-secret"
        assert secret not in repr(caught.value)
        # The person is asked for the new one, and it is used.
        assert signer.sign(CONTENTS[0])


@_of(KINDS)
def test_no_secret_at_all(kind: Kind, service: FakeService) -> None:
    with pytest.raises(CredentialError) as caught:
        kind.open(service, lambda _prompt: None)
    assert caught.value.code == "remote-signing.no-secret"


@_of(KINDS)
def test_secrets_are_in_no_error_log_or_repr(
    kind: Kind, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    person = kind.person(service)
    with kind.open(service, person) as signer:
        signer.sign(CONTENTS[0])
        given = set(person.given)
        words = " ".join(["you sent", *given])
        service.mishap(kind.sign_call, json_answer({"error": "x", "error_description": words}, 400))
        with pytest.raises(VnedocError) as caught:
            signer.sign(CONTENTS[0])
        assert given
        assert not any(value in repr(signer) for value in given)
        _assert_hidden(given | person.given, caught.value, caplog)


def _assert_hidden(secrets: set[str], error: VnedocError, caplog: pytest.LogCaptureFixture) -> None:
    shown = [repr(error), error.text("vi"), error.text("en"), repr(error.values), caplog.text]
    assert not [value for value in secrets for text in shown if value in text]


@_of(KINDS)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (json_answer({"error": "temporarily_unavailable"}, 503), "remote-signing.unavailable"),
        (
            Answer(json_answer({}, 502).status, "text/html", b"<h1>Bad gateway</h1>"),
            "remote-signing.unavailable",
        ),
        (json_answer({}, 429), "remote-signing.unavailable"),
        (json_answer({}, 302, headers={"Location": "https://evil.example/"}), "remote-signing.bad-answer"),
        (Answer(json_answer({}).status, "text/html", b"<html>dang nhap</html"), "remote-signing.bad-answer"),
        (Answer(json_answer({}).status, "application/json", b"[" * 100_000), "remote-signing.bad-answer"),
        (Answer(json_answer({}).status, "application/json", b"\xff\xfe"), "remote-signing.bad-answer"),
        (json_answer({}), "remote-signing.bad-answer"),
        (json_answer([1, None]), "remote-signing.bad-answer"),
        (json_answer({"signatures": ["%%%"], "data": [], "SAD": 5}), "remote-signing.bad-answer"),
    ],
    ids=["503", "502-html", "429", "redirect", "html", "deep", "no-utf8", "empty", "list", "no-base64"],
)
def test_a_service_that_does_not_answer_sensibly(
    kind: Kind, service: FakeService, answer: Answer, code: str
) -> None:
    with kind.open(service) as signer:
        service.mishap(kind.sign_call, answer)
        with pytest.raises(RemoteError) as caught:
            signer.sign(CONTENTS[0])
        assert caught.value.code == code
        assert caught.value.exit_code is ExitCode.REMOTE
        for language in messages.Language:
            assert caught.value.text(language)
        # It was a passing fault; the request was not sent again behind our back.
        assert sum(path.endswith(kind.sign_call) for path in service.seen) == 1
        assert signer.sign(CONTENTS[0])


@_of(KINDS)
def test_a_service_that_says_nothing(kind: Kind, service: FakeService, clock: Clock) -> None:
    options = clock.options(timeout_s=0.3, confirmation_timeout_s=0.3, poll_interval_s=0.01)
    with pytest.MonkeyPatch.context() as patch, kind.open(service, options=options) as signer:
        patch.setattr("vnedoc.sign.signers.mss.GRACE_S", 0.0)
        service.mishap(kind.sign_call, Silence())
        with pytest.raises(RemoteError) as caught:
            signer.sign(CONTENTS[0])
    assert caught.value.code == "remote.timeout"


@_of(KINDS)
def test_a_service_that_is_not_there(kind: Kind, pki: TestPKI, clock: Clock) -> None:
    with kind.make(pki.leader, clock) as service:
        person = kind.person(service)
    with pytest.raises(RemoteError) as caught:
        kind.open(service, person)
    assert caught.value.code == "remote.unreachable"


@_of(SPEAKING_JSON)
def test_a_refusal_keeps_the_words_of_the_service(kind: Kind, service: FakeService) -> None:
    words = "Hết lượt ký\r\n\x1b[31m" + "!" * 1000
    with kind.open(service) as signer:
        service.mishap(
            kind.sign_call, json_answer({"error": "4005", "error_description": words, "message": words}, 403)
        )
        with pytest.raises(RefusedError) as caught:
            signer.sign(CONTENTS[0])
    assert caught.value.code == "remote-signing.refused"
    message = str(caught.value.values["remote_message"])
    assert message.startswith("Hết lượt ký [31m!")
    assert message.isprintable()
    assert len(message) <= 200


@_of(KINDS)
@pytest.mark.parametrize("mechanism", [SignatureMechanism.RSA_PSS, SignatureMechanism.ECDSA])
def test_a_way_of_signing_that_the_key_does_not_offer(
    kind: Kind, service: FakeService, mechanism: SignatureMechanism
) -> None:
    def sign() -> None:
        with kind.open(service, mechanism=mechanism) as signer:
            signer.sign(CONTENTS[0])

    with pytest.raises(CredentialError) as caught:
        sign()
    assert caught.value.code in {"remote-signing.algorithm-not-offered", "signer.unfit-mechanism"}
    assert not any(path.endswith(kind.sign_call) for path in service.seen)


@_of(KINDS)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda address: address + "&pin=246810", "remote-signing.unknown-option"),
        (lambda address: address.replace("//", "//vanthu:246810@"), "remote-signing.bad-address"),
        (lambda address: address + "#246810", "remote-signing.bad-address"),
        (lambda address: address + "&wait=0", "remote-signing.bad-option"),
        (lambda address: address + "&wait=nhanh", "remote-signing.bad-option"),
        (lambda address: address + "&wait=5&wait=6", "remote-signing.bad-address"),
        (lambda address: address + "&client-key=/tmp/khoa.pem", "remote-signing.missing-option"),
        (lambda address: address + "&ca=/nowhere/ca.pem", "remote-signing.tls-file"),
        (lambda address: address.replace("127.0.0.1", "ky.example"), "remote-signing.not-encrypted"),
        (lambda address: address.replace("+http", "+ftp"), "remote-signing.bad-address"),
        (lambda address: address.partition("+")[0] + "+https://", "remote-signing.bad-address"),
        (lambda address: address.partition("+")[0] + "+https://host:port/?", "remote-signing.bad-address"),
        (lambda address: address.partition("+")[0] + "+https://ky.example", "remote-signing.missing-option"),
    ],
)
def test_addresses_that_are_refused(
    kind: Kind, service: FakeService, change: Callable[[str], str], code: str
) -> None:
    address = change(kind.address(service))
    with pytest.raises((UsageError, CredentialError)) as caught:
        kind.opener(address, secret=kind.person(service))
    assert caught.value.code == code
    assert "246810" not in caught.value.text("vi")
    assert service.seen == []


class _RemoteContract(SignerContract):
    """The contract of all signers; the ones that ask for a code each time cannot be asked once."""

    kind: Kind
    wrong_secret = "bi-mat-SAI-TEST"

    @pytest.fixture(autouse=True)
    def _service(self, pki: TestPKI) -> Iterator[None]:
        with self.kind.make(pki.leader, Clock()) as service:
            self.service = service
            yield

    @property
    def secret(self) -> str:  # type: ignore[override] # each service has its own
        return str(getattr(vars(self.service)["options"], self.kind.service_secret))

    def open(self, secret: SecretCallback) -> Signer:
        return self.kind.open(self.service, secret)


class TestCSC(_RemoteContract):
    kind = next(kind for kind in KINDS if kind.name == "csc-v1-login")


class TestCSCConfirmedOnThePhone(_RemoteContract):
    kind = next(kind for kind in KINDS if kind.name == "csc-v2-app")


class _SHA256Only(_RemoteContract):
    def test_a_signature_verifies_for_each_digest(self) -> None:
        with self._opened() as signer:
            assert self._verifies(signer, signer.sign(b"TEST"), b"TEST", "sha256")
            for digest_algorithm in ("sha384", "sha512"):
                with pytest.raises(CredentialError) as caught:
                    signer.sign(b"TEST", digest_algorithm=digest_algorithm)
                assert caught.value.code == "remote-signing.algorithm-not-offered"


class TestSmartCA(_SHA256Only):
    kind = next(kind for kind in KINDS if kind.name == "smartca")


class TestMySign(_SHA256Only):
    kind = next(kind for kind in KINDS if kind.name == "mysign-vtss")


class TestMSS(_SHA256Only):
    kind = next(kind for kind in KINDS if kind.name == "mss")
