"""The remote signing services and how each is opened, for tests that run against all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from tests.second_tools import pdfsig
from vnedoc.sign.models import Role, SignatureMechanism
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import SecretCallback, SecretPrompt, Signer
from vnedoc.sign.signers.csc import RemoteOptions, open_csc
from vnedoc.sign.signers.mss import open_mss
from vnedoc.sign.signers.mysign import open_mysign
from vnedoc.sign.signers.smartca import open_smartca
from vnedoc.sign.signing import sign_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import Identity
from vnedoc.testing.remote_signing import (
    CSCServiceOptions,
    FakeBrowser,
    FakeCSCService,
    FakeMSSService,
    FakeMySignService,
    FakeService,
    FakeSmartCAService,
)


class Clock:
    """A clock that stands still but for those who sleep."""

    def __init__(self) -> None:
        self.moment = 1000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.moment += seconds

    def options(self, **changes: float) -> RemoteOptions:
        return RemoteOptions(clock=self.now, sleep=self.sleep, **{"timeout_s": 5.0, **changes})


class Person:
    """Who is asked for secrets: knows those of one service, and remembers what was asked."""

    def __init__(self, answers: Callable[[str], str | None]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.given: set[str] = set()

    def __call__(self, prompt: str) -> str | None:
        assert isinstance(prompt, SecretPrompt)
        kind = prompt.code.removeprefix("remote-signing.prompt-")
        self.asked.append(kind)
        answer = self._answers(kind)
        if answer:
            self.given.add(answer)
        return answer


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of service."""

    name: str
    make: Callable[[Identity, Clock], FakeService]
    opener: Callable[..., Signer]
    address: Callable[[FakeService], str]
    service_secret: str
    """The attribute of the options with the secret of the caller."""
    sign_call: str
    """The end of the path that makes signatures."""
    has_token: bool = True
    one_confirmation: bool = True
    """Whether one confirmation covers several hashes."""
    poll_call: str | None = None
    """The end of the path that asks whether the person confirmed."""
    declines: bool = True
    """Whether there is a person who can decline."""
    in_browser: bool = False
    """Whether the person is asked in the browser."""

    def open(
        self,
        service: FakeService,
        secret: SecretCallback | None = None,
        *,
        options: RemoteOptions | None = None,
        mechanism: SignatureMechanism | None = None,
    ) -> Signer:
        options = options or RemoteOptions(poll_interval_s=0.001, timeout_s=5.0)
        if self.in_browser:
            assert isinstance(service, FakeCSCService)
            options = dataclasses.replace(options, browser=FakeBrowser(service))
        return self.opener(
            self.address(service),
            secret=secret or self.person(service),
            mechanism=mechanism,
            options=options,
        )

    def person(self, service: FakeService) -> Person:
        """Return somebody who knows every secret of the service."""

        def answer(kind: str) -> str | None:
            options = vars(service)["options"]
            if kind in {"client-secret", "password"}:
                return str(getattr(options, self.service_secret))
            if kind == "pin":
                return str(options.pin)
            assert isinstance(service, FakeCSCService)
            return service.holder.messages[-1] if service.holder.messages else service.new_code()

        return Person(answer)


def _csc(
    **changes: object,
) -> Callable[[Identity, Clock], FakeService]:
    return lambda identity, clock: FakeCSCService(
        identity,
        CSCServiceOptions(**changes),  # type: ignore[arg-type] # the fields of the dataclass
        now=clock.now,
    )


def _with(query: str) -> Callable[[FakeService], str]:
    return lambda service: f"{service.address}{query}"


KINDS = (
    Kind(
        "csc-v1",
        _csc(api="v1", factors=("pin", "sent-otp")),
        open_csc,
        _with("&client=app-TEST"),
        "client_secret",
        "signatures/signHash",
        declines=False,
    ),
    Kind(
        "csc-v1-login",
        _csc(api="v1"),
        open_csc,
        _with("&user=vanthu-TEST"),
        "password",
        "signatures/signHash",
        declines=False,
    ),
    Kind(
        "csc-v2",
        _csc(api="v2", factors=("pin", "otp")),
        open_csc,
        _with("&client=app-TEST"),
        "client_secret",
        "signatures/signHash",
        declines=False,
    ),
    Kind(
        "csc-v2-app",
        _csc(api="v2", factors=("app",), asynchronous=True),
        open_csc,
        _with("&client=app-TEST"),
        "client_secret",
        "signatures/signHash",
        poll_call="credentials/authorizeCheck",
    ),
    Kind(
        "csc-v2-browser",
        _csc(api="v2", mode="oauth2code"),
        open_csc,
        _with("&client=app-TEST"),
        "client_secret",
        "signatures/signHash",
        in_browser=True,
    ),
    Kind(
        "smartca",
        lambda identity, clock: FakeSmartCAService(identity, now=clock.now),
        open_smartca,
        _with(""),
        "password",
        "signatures/sign",
        has_token=False,
        poll_call="/status",
    ),
    Kind(
        "mysign-vtss",
        lambda identity, clock: FakeMySignService(identity, now=clock.now),
        open_mysign,
        _with("&face=vtss"),
        "client_secret",
        "service/signHash",
        poll_call="requests/status",
    ),
    Kind(
        "mysign-adss",
        lambda identity, clock: FakeMySignService(identity, now=clock.now),
        open_mysign,
        _with("&face=adss"),
        "client_secret",
        "signatures/signHash",
    ),
    Kind(
        "mss",
        lambda identity, clock: FakeMSSService(identity, now=clock.now),
        open_mss,
        _with(""),
        "password",
        "MSS_SignaturePort",
        has_token=False,
        one_confirmation=False,
    ),
)


def assert_signs_the_decision(signer: Signer, path: Path) -> None:
    """Sign the sample decision to a file; a program of others finds the signature valid, over the whole document."""
    sign_pdf(
        documents.document_bytes(documents.DECISION),
        path,
        signer=signer,
        options=SigningOptions(role=Role.INVISIBLE),
    )
    words = pdfsig(path)
    assert words.count("Signature is Valid.") == 1
    assert words.count("Total document signed") == 1
