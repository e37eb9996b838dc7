"""Each secret of a signing service goes to its own question, never to another."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from vnedoc._cli import secrets
from vnedoc._cli.main import CLIState
from vnedoc.errors import CredentialError, UsageError
from vnedoc.sign.signers.base import SecretPrompt

PIN = SecretPrompt("remote-signing.prompt-pin", credential="TEST", service="TEST")
TOKEN_PIN = SecretPrompt("token.prompt-pin", token="TEST")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a signer that asks questions, and return its answers."""
    monkeypatch.setenv("MAIN", "passphrase")
    monkeypatch.setenv("MY_PIN", "1234")

    def ask(*questions: str, env: str | None = "MAIN", named: tuple[str, ...] = ()) -> list[str | None]:
        answers: list[str | None] = []

        @contextlib.contextmanager
        def open_signer(_uri: str, *, secret: Any, **_: Any) -> Iterator[None]:
            answers.extend(secret(question) for question in questions)
            yield

        monkeypatch.setattr("vnedoc.sign.signers.open_signer", open_signer)
        given = {"signer_uri": "x:", "passphrase_env": env, "passphrase_fd": None, "secret_variables": named}
        with secrets.open_asked_signer(CLIState(language="en"), given):
            return answers

    return ask


def test_a_file_and_a_token_take_the_passphrase(asked: Any) -> None:
    assert asked("leader.p12", TOKEN_PIN) == ["passphrase", "passphrase"]


def test_a_named_secret_answers_its_question(asked: Any) -> None:
    assert asked(PIN, named=("pin=MY_PIN",)) == ["1234"]


def test_the_passphrase_is_never_sent_as_a_pin(asked: Any) -> None:
    with pytest.raises(CredentialError, match="--secret-env pin=NAME") as caught:
        asked(PIN)
    assert caught.value.code == "cli.secret-not-named"
    assert "passphrase" not in repr(caught.value.values)


@pytest.mark.parametrize("named", ["pin", "pin=", "word=MY_PIN", "MY_PIN"])
def test_a_malformed_option(asked: Any, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked(PIN, named=(named,))
    assert caught.value.code == "cli.bad-secret-option"


def test_a_missing_variable(asked: Any) -> None:
    with pytest.raises(CredentialError) as caught:
        asked(PIN, named=("pin=NOT_SET",))
    assert caught.value.code == "cli.no-secret-variable"


def test_a_descriptor_is_read_line_by_line() -> None:
    read, write = os.pipe()
    os.write(write, "mật khẩu\nnext\n".encode())
    os.close(write)
    try:
        assert secrets.read_secret("", env=None, fd=read) == "mật khẩu"
    finally:
        os.close(read)
    with pytest.raises(CredentialError) as caught:
        secrets.read_secret("", env=None, fd=read)
    assert caught.value.code == "cli.no-secret-descriptor"
