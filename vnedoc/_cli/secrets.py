"""Secrets: from a variable, a file descriptor or a prompt; never an option value, never a log line.

A remote signing service asks for several secrets. Each has a kind, and the answer to one is never given to another:
a client secret sent as a PIN would count as a wrong try.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from vnedoc.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers.base import Signer

__all__ = [
    "Again",
    "chosen_mechanism",
    "open_asked_signer",
    "passphrase_options",
    "read_secret",
    "secret_options",
]

MAX_SECRET_BYTES = 4096

_Command = TypeVar("_Command", bound="Callable[..., object]")


def passphrase_options(command: _Command) -> _Command:
    """Add ``--passphrase-env`` and ``--passphrase-fd`` to a command."""
    command = click.option(
        "--passphrase-env", metavar="NAME", help="Environment variable that holds the passphrase."
    )(command)
    return click.option(
        "--passphrase-fd", type=int, metavar="N", help="File descriptor to read the passphrase from."
    )(command)


# Which secret a question of a signer is about; what is not here is the passphrase of a file or the PIN of a token.
_KINDS = {
    "token.prompt-signing-pin": "signing-pin",
    "remote-signing.prompt-challenge": "challenge",
    "remote-signing.prompt-client-secret": "client-secret",
    "remote-signing.prompt-otp": "otp",
    "remote-signing.prompt-password": "password",
    "remote-signing.prompt-pin": "pin",
    "remote-signing.prompt-tls-passphrase": "tls-passphrase",
}


def secret_options(command: _Command) -> _Command:
    """Add the options that say where the secrets of a signer come from."""
    return click.option(
        "--secret-env",
        "secret_variables",
        multiple=True,
        metavar="KIND=NAME",
        help=f"Environment variable with one of several secrets: {', '.join(sorted(_KINDS.values()))}.",
    )(passphrase_options(command))


@contextlib.contextmanager
def open_asked_signer(
    state: CLIState,
    given: Mapping[str, Any],  # click's values
    answers: dict[str, str | None] | None = None,
) -> Iterator[Signer]:
    """Open the signer of ``--signer``; its questions are answered from the options, or on the terminal.

    Args:
        state: The settings.
        given: The values of ``--signer`` and of :func:`secret_options`; ``--mechanism``, where a command has it.
        answers: Filled with each question and its answer, for other processes that open the same signer.

    Raises:
        UsageError: ``--secret-env`` is not ``KIND=NAME``.
        CredentialError: A secret is not where it was said to be, or the key cannot be opened.
    """
    from vnedoc.sign.signers import open_signer
    from vnedoc.sign.signers.base import SecretPrompt

    variables = _variables(given["secret_variables"])

    def ask(question: str) -> str | None:
        kind = _KINDS.get(question.code) if isinstance(question, SecretPrompt) else None
        if isinstance(question, SecretPrompt):
            prompt = question.text(state.language)
        else:
            prompt = state.text("signer.passphrase-prompt", name=question)
        if kind is None:
            answer = read_secret(prompt, env=given["passphrase_env"], fd=given["passphrase_fd"])
        elif kind in variables or sys.stdin.isatty():
            answer = read_secret(prompt, env=variables.get(kind), fd=None)
        else:
            raise CredentialError("cli.secret-not-named", kind=kind, prompt=prompt)
        if answers is not None:
            answers[question] = answer
        return answer

    def show(address: str) -> None:
        from vnedoc.sign.signers._browser import open_in_browser

        opened = open_in_browser(address)
        code = "remote-signing.browser-opened" if opened else "remote-signing.open-address"
        click.echo(state.text(code, address=address), err=True)

    with open_signer(
        given["signer_uri"], secret=ask, mechanism=chosen_mechanism(given), browser=show
    ) as signer:
        yield signer


def chosen_mechanism(given: Mapping[str, Any]) -> SignatureMechanism | None:  # click's values
    """Return the way of signing that ``--mechanism`` names; ``None`` where the key's usual one is meant."""
    from vnedoc.sign.models import SignatureMechanism

    name = given.get("mechanism")
    return None if name is None else SignatureMechanism(name)


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        kind, separator, name = pair.partition("=")
        if not separator or not name or kind not in _KINDS.values():
            raise UsageError("cli.bad-secret-option", value=kind, kinds=", ".join(sorted(_KINDS.values())))
        variables[kind] = name
    return variables


@dataclasses.dataclass(frozen=True, slots=True)
class Again:
    """How a new secret is asked for a second time."""

    prompt: str
    """What to ask."""
    differs: str
    """What to say if the two are not the same."""

    @classmethod
    def told_by(cls, state: CLIState) -> Self:
        """Return it in the user's language."""
        return cls(state.text("cli.repeat-secret"), state.text("cli.secrets-differ"))


def read_secret(
    prompt: str,
    *,
    env: str | None,
    fd: int | None,
    option: str = "--passphrase",
    again: Again | None = None,
) -> str:
    """Return a secret from where the user said it is, or ask for it on the terminal.

    Args:
        prompt: What to ask for.
        env: Name of an environment variable.
        fd: Number of a file descriptor; one line is read.
        option: What the options that name these begin with, to say so where there is no terminal.
        again: Ask twice, as for a new secret; ``None`` asks once.

    Raises:
        CredentialError: The variable is not set, the descriptor cannot be read, or there is no terminal.
    """
    if env is not None:
        value = os.environ.get(env)
        if value is None:
            raise CredentialError("cli.no-secret-variable", name=env)
        return value
    if fd is not None:
        try:
            with os.fdopen(fd, "rb", closefd=False) as stream:
                return stream.readline(MAX_SECRET_BYTES).decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise CredentialError("cli.no-secret-descriptor", fd=fd) from exc
    if not sys.stdin.isatty():
        raise CredentialError("cli.no-terminal", option=option)
    while True:
        answer = _ask(prompt)
        if again is None or _ask(again.prompt) == answer:
            return answer
        click.echo(again.differs, err=True)


def _ask(prompt: str) -> str:
    return str(click.prompt(prompt, hide_input=True, err=True))
