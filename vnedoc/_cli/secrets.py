"""Secrets: from a variable, a file descriptor or a prompt; never an option value, never a log line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

import click

from vnedoc.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["passphrase_options", "read_secret"]

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


def read_secret(prompt: str, *, env: str | None, fd: int | None, confirm: bool = False) -> str:
    """Return a secret from where the user said it is, or ask for it on the terminal.

    Args:
        prompt: What to ask for.
        env: Name of an environment variable.
        fd: Number of a file descriptor; one line is read.
        confirm: Ask twice (when a new secret is chosen).

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
        raise CredentialError("cli.no-terminal")
    answer = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
    return str(answer)
