"""Options of commands that verify on the way: what is trusted, and where revocation data may be asked for."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vnedoc._cli.main import CLIState
    from vnedoc.agencies import AgencyDirectory
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.sign.trust import TrustStore

__all__ = [
    "VerificationMeans", "document_password", "document_password_option", "means", "sender_directory",
    "sender_options", "verification_options",
]  # fmt: skip

_Command = TypeVar("_Command", bound="Callable[..., object]")


@dataclasses.dataclass(frozen=True, slots=True)
class VerificationMeans:
    """What a verification works with."""

    trust: TrustStore | None
    """The trust anchors; ``None`` where none are given."""
    revocation: RevocationSource
    """Where revocation data comes from."""


def verification_options(command: _Command) -> _Command:
    """Add ``--trust``, ``--offline``, ``--crl``, ``--crl-cache`` and ``--allow-host`` to a command."""
    for option in (
        click.option(
            "--allow-host", "allowed_hosts", metavar="HOST", multiple=True,
            help="Revocation server that may be asked although its address is private.",
        ),
        click.option(
            "--crl-cache", metavar="DIR", type=click.Path(path_type=Path),
            help="Where fetched CRLs are kept. Default: vnedoc/crl in the user's cache folder.",
        ),
        click.option(
            "--crl", "crl_paths", metavar="FILE", multiple=True, type=click.Path(path_type=Path),
            help="A CRL that is at hand.",
        ),
        click.option("--offline", is_flag=True, help="Ask no server; use the file's own data and --crl."),
        click.option(
            "--trust", "trust_sources", metavar="SRC", multiple=True,
            help="PEM file, folder, shipped:vn-government or shipped:vn-national.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def document_password_option(command: _Command) -> _Command:
    """Add ``--document-password-env`` to a command."""
    return click.option(
        "--document-password-env",
        metavar="NAME",
        help="Environment variable with the password of encrypted PDFs.",
    )(command)


def document_password(variable: str | None) -> SecretCallback | None:
    """Return what answers with the password in a variable; ``None`` where none is named.

    Raises:
        CredentialError: The variable is not set.
    """
    from vnedoc._cli.secrets import read_secret
    from vnedoc._cli.signing_options import KnownSecret

    return None if variable is None else KnownSecret(read_secret("", env=variable, fd=None))


def sender_options(command: _Command) -> _Command:
    """Add ``--sender`` and ``--directory`` to a command."""
    for option in (
        click.option(
            "--directory", "directory_path", metavar="FILE", type=click.Path(path_type=Path),
            help="The agency directory.",
        ),
        click.option("--sender", metavar="ORGANID", help="The agency that is said to have sent the package."),
    ):  # fmt: skip
        command = option(command)
    return command


def sender_directory(state: CLIState, given: Mapping[str, Any]) -> AgencyDirectory | None:  # click's values
    """Read the agency directory that the options or the settings name; ``None`` where none is.

    Raises:
        UsageError: A sender is named, and no directory.
        ConfigurationError: The directory cannot be used, or does not know the sender that is named.
    """
    from vnedoc.agencies import load_directory
    from vnedoc.errors import UsageError
    from vnedoc.sign.senders import ExpectedSender

    path = given["directory_path"] or state.config().directory
    directory = None if path is None else load_directory(path)
    if given["sender"] is not None:
        if directory is None:
            raise UsageError("verify.needs-directory")
        ExpectedSender(given["sender"], directory).check_known()
    return directory


@contextlib.contextmanager
def means(state: CLIState, given: Mapping[str, Any]) -> Iterator[VerificationMeans]:  # click's values
    """Open what the options and the settings name.

    Raises:
        ConfigurationError: A source of trust cannot be used.
    """
    from vnedoc.sign._crl_cache import CachingRevocationSource, CRLCache, default_folder
    from vnedoc.sign.revocation import load_crl
    from vnedoc.sign.trust import load_trust

    sources = given["trust_sources"] or state.config().trust
    revocation = CachingRevocationSource(
        CRLCache(given["crl_cache"] or default_folder()),
        crls=[load_crl(path) for path in given["crl_paths"]],
        online=not given["offline"],
        allowed_hosts=(*given["allowed_hosts"], *state.config().verification.allowed_hosts),
    )
    with revocation:
        yield VerificationMeans(load_trust(*sources) if sources else None, revocation)
