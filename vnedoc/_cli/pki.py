"""``vnedoc pki``: a throw-away PKI for trials and tests."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from vnedoc._cli.secrets import Again, passphrase_options, read_secret

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.testing.pki import TestPKI

__all__ = ["pki"]

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def pki() -> None:
    """Make and serve a throw-away PKI for trials; nothing signed with it has any legal value."""


@pki.command("make-test")
@_FOLDER
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port on 127.0.0.1 that the certificates name; 0 takes a free one.",
)
@click.option("--force", is_flag=True, help="Replace a test PKI that is in DIR.")
@passphrase_options
@click.pass_context
def make_test(
    context: click.Context,
    folder: Path,
    *,
    port: int,
    force: bool,
    passphrase_env: str | None,
    passphrase_fd: int | None,
) -> None:
    """Make a test PKI in DIR: authorities, a leader, two agencies, a time-stamping authority.

    Prints the files that were written. Exit codes: 0 made; 2 DIR holds one already; 4 DIR cannot be
    written to; 5 no passphrase, or the port is taken.
    """
    from vnedoc.testing.pki import running_pki

    state = _state(context)
    passphrase = read_secret(
        state.text("pki.prompt-passphrase"), env=passphrase_env, fd=passphrase_fd, again=Again.told_by(state)
    )
    with running_pki(port=port) as made:
        names = made.write(folder, passphrase=passphrase, replace=force)
    for name in names:
        click.echo(str(folder / name))
    click.echo(state.text("pki.made", path=folder), err=True)


@pki.command()
@_FOLDER
@passphrase_options
@click.pass_context
def serve(
    context: click.Context, folder: Path, *, passphrase_env: str | None, passphrase_fd: int | None
) -> None:
    """Answer for the test PKI in DIR until interrupted: OCSP, CRLs, certificates and timestamps.

    Prints the addresses. Exit codes: 0 interrupted; 5 DIR holds no test PKI, the passphrase is wrong,
    or the port is taken.
    """
    from vnedoc.testing.pki import TestPKI

    state = _state(context)
    passphrase = read_secret(state.text("pki.prompt-passphrase"), env=passphrase_env, fd=passphrase_fd)
    with TestPKI.load(folder, passphrase=passphrase).serving() as serving:
        for name, url in _addresses(serving):
            click.echo(f"{name}\t{url}")
        click.echo(state.text("pki.serving"), err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo(state.text("pki.stopped"), err=True)


def _addresses(serving: TestPKI) -> list[tuple[str, str]]:
    return [
        ("tsa", serving.tsa_url),
        ("ocsp", serving.ocsp_url),
        *(("crl", url) for url in serving.crl_urls),
    ]


def _state(context: click.Context) -> CLIState:
    return cast("CLIState", context.obj)
