"""Keys at CSC services that ask the person in the browser: OAuth 2.0 authorization codes with PKCE."""

import http.client
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli import vnedoc
from tests.remote_signing import Person
from vnedoc.errors import ConfigurationError, CredentialError, RefusedError, RemoteError, UsageError
from vnedoc.sign.models import Role
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers import _browser, open_signer
from vnedoc.sign.signers.base import Signer, verify_raw_signature
from vnedoc.sign.signers.csc import RemoteOptions, open_csc
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import CSCServiceOptions, FakeBrowser, FakeCSCService, json_answer

Start = Callable[..., FakeCSCService]
BROWSER = "&client=app-TEST&sign-in=browser"


@pytest.fixture
def start(pki: TestPKI) -> Iterator[Start]:
    """Start a service with some options."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(FakeCSCService(pki.leader, CSCServiceOptions(**options)))


def _person(service: FakeCSCService) -> Person:
    known = {"client-secret": service.options.client_secret, "pin": service.options.pin}
    return Person(known.get)


def _open(
    service: FakeCSCService,
    browser: Callable[[str], object],
    *,
    query: str = BROWSER,
    secret: Person | None = None,
    wait_s: float = 20.0,
) -> Signer:
    options = RemoteOptions(
        poll_interval_s=0.001, timeout_s=5.0, confirmation_timeout_s=wait_s, browser=browser
    )
    return open_csc(service.address + query, secret=secret or _person(service), options=options)


def _query(address: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))


def _good(signer: Signer, signature: bytes, content: bytes) -> bool:
    return verify_raw_signature(
        signer.certificate, signature, content, digest_algorithm="sha256", mechanism=signer.mechanism
    )


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_person_signs_in_and_agrees_in_the_browser(start: Start, pki: TestPKI, api: str) -> None:
    service = start(api=api, mode="oauth2code")
    browser = FakeBrowser(service)
    with _open(service, browser) as signer:
        result = sign_pdf(
            documents.document_bytes(documents.DECISION),
            signer=signer,
            options=SigningOptions(role=Role.INVISIBLE),
        )
    assert result.content is not None
    trust = TrustStore.from_certificates(pki.leader.chain)
    (signature,) = verify_pdf(result.content, trust=trust).files[0].signatures
    assert signature.integrity
    sign_in, agree = map(_query, browser.addresses)
    assert (sign_in["scope"], agree["scope"]) == ("service", "credential")
    assert agree["credentialID"] == "KHOA-TEST-1"
    assert agree["numSignatures"] == "1"
    assert ("hashAlgorithmOID" in agree) == (api == "v2")
    for asked in (sign_in, agree):
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/vnedoc", asked["redirect_uri"])
        assert "app-TEST" not in asked["state"]
    # Nothing of one request serves for another.
    assert not {sign_in[name] for name in ("state", "code_challenge")} & set(agree.values())
    assert browser.statuses == [200, 200]


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_one_agreement_covers_several_hashes_and_no_others(start: Start, api: str) -> None:
    service = start(api=api, mode="oauth2code", multisign=3)
    browser = FakeBrowser(service)
    contents = [b"1", b"2", b"3", b"4"]
    with _open(service, browser) as signer:
        signatures = signer.sign_many(contents)
        assert all(_good(signer, value, content) for value, content in zip(signatures, contents, strict=True))
        assert service.authorizations == 2
        calls, credential = vars(signer)["_calls"], vars(signer)["_credential"]
        sad = calls.authorize(credential, [b"1" * 32], "sha256")
        with pytest.raises(RefusedError) as caught:
            calls.sign_hashes(
                credential, [b"2" * 32], sad=sad, mechanism=signer.mechanism, digest_algorithm="sha256"
            )
        assert sad not in repr(caught.value)
    assert [_query(address).get("numSignatures") for address in browser.addresses] == [None, "3", "1", "1"]


def test_a_browser_for_the_service_and_a_pin_for_the_key(start: Start) -> None:
    service = start(factors=("pin",))
    browser, person = FakeBrowser(service), _person(service)
    with _open(service, browser, secret=person) as signer:
        assert _good(signer, signer.sign(b"TEST"), b"TEST")
    assert person.asked == ["client-secret", "pin"]
    assert len(browser.addresses) == 1


def test_client_credentials_for_the_service_and_a_browser_for_the_key(start: Start) -> None:
    service = start(mode="oauth2code")
    browser = FakeBrowser(service)
    with _open(service, browser, query="&client=app-TEST") as signer:
        assert _good(signer, signer.sign(b"TEST"), b"TEST")
    assert [_query(address)["scope"] for address in browser.addresses] == ["credential"]
    assert service.oauth2.revoked == []


def test_a_public_client_has_no_secret(start: Start) -> None:
    service = start(public_client=True)
    person = _person(service)
    with _open(service, FakeBrowser(service), query=f"{BROWSER}&client-type=public", secret=person) as signer:
        assert _good(signer, signer.sign(b"TEST"), b"TEST")
    assert person.asked == []


def test_a_client_without_its_secret_is_refused(start: Start) -> None:
    service = start()
    with pytest.raises(CredentialError) as caught:
        _open(service, FakeBrowser(service), query=f"{BROWSER}&client-type=public")
    assert caught.value.code == "remote-signing.wrong-secret"


def test_a_refresh_token_spares_the_person(start: Start) -> None:
    service = start()
    browser = FakeBrowser(service)
    with _open(service, browser) as signer:
        for _ in range(2):
            service.forget_tokens()
            assert signer.sign(b"TEST")
    assert len(browser.addresses) == 1
    assert service.sign_ins == 3


@pytest.mark.parametrize("refresh_tokens", [True, False])
def test_without_a_good_refresh_token_the_person_is_asked_again(start: Start, refresh_tokens: bool) -> None:
    service = start(refresh_tokens=refresh_tokens)
    browser = FakeBrowser(service)
    with _open(service, browser) as signer:
        service.forget_tokens()
        service.oauth2.expire_refresh_tokens()
        assert signer.sign(b"TEST")
    assert len(browser.addresses) == 2


@pytest.mark.parametrize(("refresh_tokens", "kind"), [(True, "refresh_token"), (False, "access_token")])
def test_who_closes_the_signer_is_signed_out(start: Start, refresh_tokens: bool, kind: str) -> None:
    service = start(refresh_tokens=refresh_tokens)
    signer = _open(service, FakeBrowser(service))
    assert len(service._tokens) == 1
    signer.close()
    signer.close()
    assert service.oauth2.revoked == [kind]
    assert service._tokens == {}


def test_a_service_that_cannot_sign_out_does_no_harm(start: Start) -> None:
    service = start()
    signer = _open(service, FakeBrowser(service))
    service.mishap("/oauth2/revoke", json_answer({"error": "server_error"}, 503))
    signer.close()


def test_a_person_declines(start: Start) -> None:
    service = start(mode="oauth2code")
    browser = FakeBrowser(service)
    with _open(service, browser) as signer:
        browser.decision = "decline"
        with pytest.raises(RefusedError) as caught:
            signer.sign(b"TEST")
        assert caught.value.code == "remote-signing.declined"
        assert service.authorizations == 0
        # Declined once is not declined for ever.
        browser.decision = "confirm"
        assert signer.sign(b"TEST")


def test_nobody_does_anything(start: Start) -> None:
    service = start()
    with pytest.raises(RemoteError) as caught:
        _open(service, FakeBrowser(service, decision="ignore"), wait_s=0.2)
    assert caught.value.code == "remote-signing.not-confirmed"
    assert "/oauth2/token" not in service.seen


def test_a_wrong_password_is_the_services_affair(start: Start) -> None:
    service = start()
    browser = FakeBrowser(service)
    browser.password = "sai-TEST"
    with pytest.raises(RemoteError) as caught:
        _open(service, browser, wait_s=0.2)
    assert caught.value.code == "remote-signing.not-confirmed"
    assert browser.statuses == [403]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda place: re.sub(r"state=[^&]+", "state=khac", place),
        lambda place: re.sub(r"[&?]state=[^&]+", "", place),
        lambda place: re.sub(r"state=[^&]+", "state=", place),
        lambda place: place + "&code=khac",
        lambda place: place + "&state=khac",
    ],
)
def test_an_answer_with_a_wrong_state_is_not_used(start: Start, tamper: Callable[[str], str]) -> None:
    service = start()
    browser = FakeBrowser(service)
    browser.tamper = tamper
    with pytest.raises(RemoteError) as caught:
        _open(service, browser, wait_s=0.2)
    assert caught.value.code == "remote-signing.wrong-state"
    assert browser.statuses == [400]
    assert "/oauth2/token" not in service.seen


def test_a_strangers_answer_does_not_end_the_wait(start: Start) -> None:
    service = start()
    browser = FakeBrowser(service)

    def first_a_stranger(address: str) -> None:
        place = _query(address)["redirect_uri"]
        port = urllib.parse.urlsplit(place).port
        assert port is not None
        for path in ("/vnedoc?code=x&state=y", "/", "/vnedoc?error=access_denied"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            assert connection.getresponse().status in {400, 404}
            connection.close()
        browser(address)

    with _open(service, first_a_stranger) as signer:
        assert signer.sign(b"TEST")


def _codes_spy(service: FakeCSCService) -> FakeBrowser:
    """Return a browser that keeps the code it carries."""
    browser = FakeBrowser(service)
    seen: list[str] = []
    browser.tamper = lambda place: seen.append(_query(place)["code"]) or place  # type: ignore[func-returns-value] # for its effect
    vars(browser)["codes"] = seen
    return browser


def test_a_code_is_good_once(start: Start) -> None:
    service = start()
    browser = _codes_spy(service)
    with _open(service, browser):
        (code,) = vars(browser)["codes"]
        assert len(service._tokens) == 1
        connection = http.client.HTTPConnection(service.host, timeout=5)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": "app-TEST",
            "client_secret": service.options.client_secret,
        }
        connection.request(
            "POST",
            "/oauth2/token",
            urllib.parse.urlencode(form),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert connection.getresponse().status == 400
        connection.close()
        assert service._tokens == {}


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (lambda service: service.oauth2.expire_codes(), "expired"),
        (lambda service: _change(service, challenge="x" * 43), "verifier"),
        (lambda service: _change(service, redirect_uri="http://127.0.0.1:1/vnedoc"), "redirect_uri"),
        (lambda service: _change(service, used=True), "expired"),
    ],
    ids=["expired", "verifier", "redirect-uri", "used"],
)
def test_a_code_that_is_not_accepted(
    start: Start, trouble: Callable[[FakeCSCService], None], words: str
) -> None:
    service = start()
    browser = FakeBrowser(service)

    def tamper(place: str) -> str:
        trouble(service)
        return place

    browser.tamper = tamper
    with pytest.raises(RefusedError) as caught:
        _open(service, browser)
    assert caught.value.code == "remote-signing.code-refused"
    assert words in str(caught.value.values["remote_message"])


def _change(service: FakeCSCService, **values: object) -> None:
    (grant,) = service.oauth2._codes.values()
    for name, value in values.items():
        setattr(grant, name, value)


def test_a_redirect_uri_that_is_not_registered(start: Start) -> None:
    service = start(redirect_uris=("https://e-office.example/vnedoc",))
    browser = FakeBrowser(service)
    with pytest.raises(RemoteError):
        _open(service, browser, wait_s=0.2)
    # The service shows a page and sends nobody anywhere.
    assert browser.statuses == [400]


def test_a_service_that_wants_the_port_registered(start: Start) -> None:
    service = start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            _open(service, FakeBrowser(service), query=f"{BROWSER}&redirect-port={port}")
        assert caught.value.code == "remote-signing.port-taken"
    browser = FakeBrowser(service)
    with _open(service, browser, query=f"{BROWSER}&redirect-port={port}"):
        assert _query(browser.addresses[0])["redirect_uri"] == f"http://127.0.0.1:{port}/vnedoc"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("access_denied", RefusedError, "remote-signing.declined"),
        ("temporarily_unavailable", RemoteError, "remote-signing.unavailable"),
        ("unauthorized_client", CredentialError, "remote-signing.wrong-secret"),
        ("invalid_scope", RefusedError, "remote-signing.refused"),
    ],
)
def test_errors_that_come_by_the_browser(start: Start, error: str, kind: type[Exception], code: str) -> None:
    service = start()
    browser = FakeBrowser(service)
    browser.tamper = lambda place: re.sub(r"code=[^&]+", f"error={error}", place)
    with pytest.raises(kind) as caught:
        _open(service, browser)
    assert vars(caught.value)["code"] == code


def test_no_secret_gets_into_an_error(start: Start) -> None:
    service = start()
    browser = _codes_spy(service)
    words = "{}"
    service.mishap("/oauth2/token", json_answer({"error": "invalid_grant", "error_description": words}, 400))
    with pytest.raises(RefusedError):
        _open(service, browser)
    (code,) = vars(browser)["codes"]

    def repeat_the_code(place: str) -> str:
        code = _query(place)["code"]
        service.mishap(
            "/oauth2/token", json_answer({"error": "invalid_grant", "error_description": f"no {code}"}, 400)
        )
        return place

    browser.tamper = repeat_the_code
    with pytest.raises(RefusedError) as caught:
        _open(service, browser)
    assert caught.value.values["remote_message"] == "no ***"
    assert code not in repr(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "&sign-in=browser",
        "&client=app-TEST&sign-in=khac",
        f"{BROWSER}&client-type=khac",
        f"{BROWSER}&redirect-port=70000",
        f"{BROWSER}&redirect-port=x",
    ],
)
def test_addresses_that_make_no_sense(start: Start, query: str) -> None:
    service = start()
    with pytest.raises(UsageError):
        _open(service, FakeBrowser(service), query=query)
    assert service.seen == []


@pytest.mark.parametrize(
    "url", ["http://khac.example/authorize", "file:///etc/passwd", "-x", "https://a b/", "https://"]
)
def test_a_browser_is_not_sent_to_a_strange_place(start: Start, url: str) -> None:
    service = start()
    browser = FakeBrowser(service)
    with pytest.raises(RemoteError) as caught:
        _open(service, browser, query=f"{BROWSER}&authorize-url={urllib.parse.quote(url)}")
    assert caught.value.code == "remote-signing.bad-answer"
    assert browser.addresses == []


def test_an_issuer_without_addresses_needs_them_from_us(start: Start) -> None:
    service = start(mode="oauth2code")
    issuer = json_answer({"oauth2Issuer": "https://issuer.example"})
    token = f"&token-url={service.base_url}/oauth2/token"
    service.mishap("/csc/v1/info", issuer, issuer, issuer)
    with pytest.raises(UsageError):
        _open(service, FakeBrowser(service), query=BROWSER + token)
    with pytest.raises(CredentialError) as caught:
        _open(service, FakeBrowser(service), query=f"&client=app-TEST{token}")
    assert caught.value.code == "remote-signing.needs-browser"
    query = f"{BROWSER}{token}&authorize-url={service.base_url}/oauth2/authorize"
    with _open(service, FakeBrowser(service), query=query) as signer:
        assert signer.sign(b"TEST")
    # Where tokens are taken back is not known.
    assert service.oauth2.revoked == []


def test_a_service_that_does_not_offer_the_browser(start: Start) -> None:
    service = start(auth_types=("oauth2client",))
    with pytest.raises(CredentialError) as caught:
        _open(service, FakeBrowser(service))
    assert caught.value.code == "remote-signing.no-sign-in"


def test_the_address_is_written_where_there_is_no_browser(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(_name: str | None = None) -> object:
        raise _browser.webbrowser.Error

    monkeypatch.setattr(_browser.webbrowser, "get", none)
    service = start()
    browser = FakeBrowser(service)

    class Screen:
        def write(self, text: str) -> int:
            address = re.search(r"http://127\.0\.0\.1:\d+/oauth2/authorize\S+", text)
            assert address is not None
            browser(address[0])
            return len(text)

    monkeypatch.setattr(_browser.sys, "stderr", Screen())
    with open_signer(service.address + BROWSER, secret=_person(service)) as signer:
        assert signer.sign(b"TEST")
    assert len(browser.addresses) == 1


def test_a_browser_of_the_terminal_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_browser.webbrowser, "get", lambda: _browser.webbrowser.GenericBrowser("lynx"))
    assert not _browser.open_in_browser("https://example.invalid/")


@pytest.mark.parametrize("opened", [True, False])
def test_on_the_command_line(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    service = start(mode="oauth2code")
    browser = FakeBrowser(service)
    monkeypatch.setattr(_browser, "open_in_browser", lambda address: browser(address) and opened)
    monkeypatch.setenv("CLIENT_SECRET", service.options.client_secret)
    source = tmp_path / "draft.pdf"
    source.write_bytes(documents.document_bytes(documents.DECISION))
    outcome = vnedoc(
        "sign", source, "--signer", service.address + BROWSER, "--secret-env", "client-secret=CLIENT_SECRET",
        "--role", "invisible", "-o", tmp_path / "signed.pdf",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "signed.pdf").exists()
    assert ("A browser was opened" if opened else "Open this address") in outcome.err
    assert outcome.err.count("/oauth2/authorize?") == len(browser.addresses) == 2
    assert service.oauth2.revoked == ["refresh_token"]


def test_connections_that_say_nothing_hold_nobody_up(start: Start) -> None:
    service = start()
    browser = FakeBrowser(service)
    with ExitStack() as stack:

        def with_idle_connections(address: str) -> None:
            port = urllib.parse.urlsplit(_query(address)["redirect_uri"]).port
            assert port is not None
            for _ in range(3):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            browser(address)

        before = threading.active_count()
        with _open(service, with_idle_connections, wait_s=10.0) as signer:
            assert signer.sign(b"TEST")
    assert threading.active_count() <= before + 4
