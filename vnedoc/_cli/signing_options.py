"""The options that say how a document is signed: shared by the commands ``sign`` and ``prepare``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vnedoc._cli._verification import means, verification_options
from vnedoc.errors import UsageError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.timestamps import TimestampClient

__all__ = ["LEVELS", "ROLES", "open_options", "open_timestamps", "role_options", "timestamp_options"]

ROLES = (
    "approve",
    "issue",
    "appendix",
    "copy",
    "initial",
    "number",
    "date",
    "incoming",
    "comment",
    "invisible",
)
LEVELS = ("b-b", "b-t", "b-lt", "b-lta")

_Command = TypeVar("_Command", bound="Callable[..., object]")

_ROLE_OPTIONS = (
    click.option("--role", type=click.Choice(ROLES), required=True, help="What the signature means."),
    click.option(
        "--level",
        type=click.Choice(LEVELS),
        default=None,
        help="Default: b-t with a time-stamping authority, else b-b.",
    ),
    click.option(
        "--mechanism",
        type=click.Choice(["rsassa_pkcs1v15", "rsassa_pss", "ecdsa"]),
        default=None,
        help="How the digest is signed. Default: what government tools use for this kind of key.",
    ),
    click.option(
        "--digest",
        "digest_algorithm",
        type=click.Choice(["sha256", "sha384", "sha512"]),
        default="sha256",
        show_default=True,
        help="The digest that is signed.",
    ),
    click.option(
        "--image", type=click.Path(path_type=Path), metavar="PNG", help="Signature picture or seal."
    ),
    click.option("--seal-diameter-mm", type=float, metavar="N", help="True diameter of the seal."),
    click.option("--page", type=int, metavar="N", help="Page, from 1; negative counts from the end."),
    click.option(
        "--box", metavar="X,Y,W,H", help="Place on the page as shown, in points from the lower left."
    ),
    click.option("--anchor", metavar="TEXT", help="Place by a text on the page, such as the signer's name."),
    click.option(
        "--occurrence",
        type=click.Choice(["first", "last"]),
        help="Which place is meant when the anchor stands at several; without it that is an error.",
    ),
    click.option(
        "--number", metavar="TEXT", help="Number (issue, number) or number and code of the main document."
    ),
    click.option(
        "--date", "issue_date", type=click.DateTime(["%Y-%m-%d"]), help="Date of the document or its arrival."
    ),
    click.option("--copy-kind", type=click.Choice(["sao-y", "sao-luc", "trich-sao"]), help="Kind of copy."),
    click.option(
        "--agency", metavar="NAME", help="Agency that makes the copy, or that received the document."
    ),
    click.option("--text", metavar="TEXT", help="Text of a comment."),
    click.option(
        "--reserve-numbering",
        is_flag=True,
        help="With approve or initial: make empty fields for number and date, which issue fills in its own revision.",
    ),
    click.option(
        "--reserve-seal-mm",
        type=float,
        metavar="N",
        help="With approve: make the agency's signature field, for a seal of this diameter.",
    ),
    click.option(
        "--certify", is_flag=True, help="Certify: only form filling and signatures are allowed afterwards."
    ),
    click.option(
        "--legacy",
        is_flag=True,
        help="Sign as adbe.pkcs7.detached, for receivers that know nothing newer; no PAdES.",
    ),
    click.option(
        "--without-person", is_flag=True, help="With issue: allow it although no person has signed."
    ),
    click.option(
        "--allow-outside-decree",
        is_flag=True,
        help="With copy: make a sao y or sao luc of a signed document, which Decree 30/2020 does not know.",
    ),
    click.option(
        "--document-password-env",
        metavar="NAME",
        help="Environment variable with the password of an encrypted PDF.",
    ),
)
_TIMESTAMP_OPTIONS = (
    click.option(
        "--tsa", "tsa_urls", multiple=True, metavar="URL", help="Time-stamping authority; several in order."
    ),
    click.option("--tsa-user", metavar="NAME", help="Name that the authorities know the caller by."),
    click.option("--tsa-password-env", metavar="NAME", help="Environment variable with the password for it."),
)


def role_options(command: _Command) -> _Command:
    """Add the options that say what a signature means and how it is shown."""
    command = verification_options(command)
    for option in reversed(_ROLE_OPTIONS):
        command = option(command)
    return command


def timestamp_options(command: _Command) -> _Command:
    """Add the options that say who puts a time on the signature."""
    for option in reversed(_TIMESTAMP_OPTIONS):
        command = option(command)
    return command


class KnownSecret:
    """Answers every question with one secret; unlike a lambda it reaches other processes."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, _question: str) -> str:
        return self._value


@contextlib.contextmanager
def open_timestamps(state: CLIState, given: dict[str, Any]) -> Iterator[TimestampClient]:  # click's values
    """Open the time-stamping authorities that were named, or those of the settings.

    Raises:
        UsageError: There are none, or an address cannot be used.
    """
    from vnedoc._cli.secrets import read_secret
    from vnedoc.sign.timestamps import TimestampClient, TimestampServer

    user, variable = given["tsa_user"], given["tsa_password_env"]
    password = KnownSecret(read_secret("", env=variable, fd=None)) if variable is not None else None
    urls = given["tsa_urls"] or state.config().signing.tsa
    if password is not None and len(urls) > 1:
        # A password is for one server; it is never sent to the others.
        raise UsageError("timestamp.password-for-several")
    servers = [TimestampServer(url, user=user, password=password) for url in urls]
    with TimestampClient(servers) as client:
        yield client


@contextlib.contextmanager
def open_options(
    state: CLIState,
    given: dict[str, Any],
    *,
    stamping: bool = True,  # click's values
) -> Iterator[SigningOptions]:
    """Turn the values of the options into those of the library; what they open is closed at the end.

    Args:
        state: The settings.
        given: The values.
        stamping: Whether the time-stamp is fetched now; not when the signature is made elsewhere.

    Raises:
        VnedocError: They do not fit together, or a file they name cannot be read.
    """
    from vnedoc._cli.secrets import read_secret
    from vnedoc.sign.appearance import load_picture
    from vnedoc.sign.models import Box, Occurrence, Placement, Role, SignatureLevel
    from vnedoc.sign.roles import CopyKind, SigningOptions

    level = given["level"] or ("b-t" if given["tsa_urls"] or state.config().signing.tsa else "b-b")
    placement = None
    if given["box"] is not None or given["anchor"] is not None:
        box = None if given["box"] is None else Box.parse(given["box"])
        occurrence = Occurrence(given["occurrence"] or "only")
        placement = Placement(page=given["page"], box=box, anchor=given["anchor"], occurrence=occurrence)
    password = None
    if given["document_password_env"] is not None:
        password = KnownSecret(read_secret("", env=given["document_password_env"], fd=None))
    issue_date: datetime.datetime | None = given["issue_date"]
    with contextlib.ExitStack() as stack:
        client = None
        if stamping and level != "b-b":
            client = stack.enter_context(open_timestamps(state, given))
        checking = stack.enter_context(means(state, given))
        yield SigningOptions(
            role=Role(given["role"]),
            level=SignatureLevel.from_option(level),
            timestamps=client,
            trust=checking.trust,
            revocation=None if checking.trust is None else checking.revocation,
            legacy=given["legacy"],
            digest_algorithm=given["digest_algorithm"],
            placement=placement,
            picture=None if given["image"] is None else load_picture(given["image"]),
            seal_diameter_mm=given["seal_diameter_mm"],
            number=given["number"],
            date=None if issue_date is None else issue_date.date(),
            copy_kind=None if given["copy_kind"] is None else CopyKind(given["copy_kind"]),
            agency=given["agency"],
            text=given["text"],
            reserve_numbering=given["reserve_numbering"],
            reserve_seal_mm=given["reserve_seal_mm"],
            certify=given["certify"],
            without_person=given["without_person"],
            allow_outside_decree=given["allow_outside_decree"],
            password=password,
        )
