"""``vnedoc trust``: look at trust anchors before relying on them, and keep a folder of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.trust import CheckedCertificate
    from vnedoc.sign.trust_folder import TrustFolder

__all__ = ["trust"]


@click.group()
def trust() -> None:
    """Look at trust anchors before relying on them, and keep a folder of your own."""


@trust.command("list")
@click.pass_context
def list_sources(ctx: click.Context) -> None:
    """List the sources: those of the settings, and those that come with vnedoc."""
    from vnedoc.sign.trust import SHIPPED, load_trust

    state: CLIState = ctx.obj
    for source in dict.fromkeys((*state.config().trust, *SHIPPED)):
        store = load_trust(source)
        click.echo(
            f"{source}: {len(store.anchors)} {state.text('trust.anchor')}, "
            f"{len(store.intermediates)} {state.text('trust.intermediate')}"
        )
    click.echo(state.text("trust.compare"), err=True)


@trust.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.pass_context
def show(ctx: click.Context, *, sources: tuple[str, ...]) -> None:
    """Show every certificate of a source with its fingerprint."""
    from vnedoc.sign.trust import check_trust, load_trust

    state: CLIState = ctx.obj
    for checked in check_trust(load_trust(*sources)):
        _show(checked, state)
    click.echo(state.text("trust.compare"), err=True)


@trust.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option(
    "--fingerprint",
    "fingerprints",
    metavar="SHA256",
    multiple=True,
    help="One of the certificates must have this SHA-256 fingerprint.",
)
@click.option("--at", metavar="TIME", help="Check as of this time (ISO 8601; without a zone: Vietnam).")
@click.pass_context
def check(
    ctx: click.Context, *, sources: tuple[str, ...], fingerprints: tuple[str, ...], at: str | None
) -> None:
    """Check dates, chains and, with --fingerprint, that the right certificates are there.

    \b
    Exit codes: 0 all is well · 1 a certificate is out of its validity or leads to no anchor,
    or a fingerprint is missing · 5 a source is wrong.
    """
    from vnedoc._internal import clock
    from vnedoc.errors import ExitCode
    from vnedoc.sign.trust import check_trust, load_trust, parse_fingerprint

    state: CLIState = ctx.obj
    wanted = [parse_fingerprint(value) for value in fingerprints]
    found = check_trust(load_trust(*sources), at=clock.parse_time(at) if at is not None else None)
    for checked in found:
        _show(checked, state)
    known = {checked.fingerprint: checked for checked in found}
    missing = [value for value in wanted if value not in known]
    for value in wanted:
        if value in known:
            click.echo(state.text("trust.fingerprint-found", name=known[value].name, fingerprint=value))
        else:
            click.echo(state.text("trust.not-found", fingerprint=value), err=True)
    click.echo(state.text("trust.compare"), err=True)
    good = not missing and all(checked.is_sound for checked in found)
    ctx.exit(int(ExitCode.DONE if good else ExitCode.NO))


_FOLDER = click.option(
    "--trust",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder. Default: trust_folder of the settings.",
)


@trust.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@_FOLDER
@click.option(
    "--sha256",
    "fingerprints",
    metavar="HEX",
    multiple=True,
    help="SHA-256 fingerprint of the certificate, from another channel; once for each certificate in the file.",
)
@click.option("--yes", is_flag=True, help="Do not ask; needs --sha256.")
@click.pass_obj
def add(
    state: CLIState, /, file: Path, *, folder: Path | None, fingerprints: tuple[str, ...], yes: bool
) -> int:
    """Add the authorities of a PEM or DER file to your own folder.

    \b
      vnedoc trust add root.pem
      vnedoc trust add root.pem --trust anchors --yes --sha256 F0:4B:…

    Name, fingerprint and validity are shown, and you are asked. Only certificates of authorities are added; all of
    the file, or none.

    \b
    Exit codes: 0 added, or there already · 1 a fingerprint does not match, no authority, or you said no ·
    2 wrong usage · 4 the folder cannot be written to · 5 the file or the folder is wrong.
    """
    from vnedoc.errors import ExitCode, UsageError, VerificationError
    from vnedoc.sign.trust import fingerprint, load_certificates, parse_fingerprint
    from vnedoc.sign.trust_folder import check_authority, find_shipped, same_fingerprints

    own = _folder(state, folder)
    if yes and not fingerprints:
        raise UsageError("trust.needs-fingerprint")
    compared = [parse_fingerprint(value) for value in fingerprints]
    certificates = load_certificates(file)
    for certificate in certificates:
        check_authority(certificate)
    if compared and (different := same_fingerprints(certificates, compared)):
        raise VerificationError("trust.wrong-fingerprint", path=file, fingerprints=", ".join(different))
    new = []
    for certificate in dict.fromkeys(certificates):
        if held := own.find(fingerprint(certificate)):
            click.echo(state.text("trust.present", name=_name(certificate), path=held[0][1]))
        else:
            new.append(certificate)
    if not new:
        return ExitCode.DONE
    _show_all(new, own, state)
    for certificate in new:
        source = find_shipped(fingerprint(certificate))
        if source is not None:
            click.echo(state.text("trust.also-shipped", source=source), err=True)
    if not yes and not _agrees("trust.ask-add", state):
        return ExitCode.NO
    for certificate in new:
        click.echo(state.text("trust.added", name=_name(certificate), path=own.add(certificate)))
    return ExitCode.DONE


@trust.command()
@click.argument("fingerprint", metavar="SHA256")
@_FOLDER
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(state: CLIState, /, fingerprint: str, *, folder: Path | None, yes: bool) -> int:
    """Remove an authority from your own folder, by the first digits of its fingerprint (eight or more).

    What comes with vnedoc is never removed: leave its source out of --trust.

    \b
    Exit codes: 0 removed · 1 it comes with vnedoc, its file holds other things, or you said no · 2 wrong usage,
    or several begin so · 4 the folder cannot be written to · 5 there is none, or the folder is wrong.
    """
    from vnedoc.errors import ExitCode

    own = _folder(state, folder)
    certificate = own.choose(fingerprint)
    _show_all([certificate], own, state)
    if not yes and not _agrees("trust.ask-remove", state):
        return ExitCode.NO
    for path in own.remove(certificate):
        click.echo(state.text("trust.removed", name=_name(certificate), path=path))
    return ExitCode.DONE


def _folder(state: CLIState, named: Path | None) -> TrustFolder:
    from vnedoc.errors import ConfigurationError
    from vnedoc.sign.trust_folder import TrustFolder

    path = named or state.config().trust_folder
    if path is None:
        raise ConfigurationError("trust.no-folder")
    return TrustFolder(path)


def _agrees(question: str, state: CLIState) -> bool:
    from vnedoc.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("trust.needs-answer")
    agreed = click.confirm(state.text(question), err=True)
    if not agreed:
        click.echo(state.text("trust.declined"), err=True)
    return agreed


def _name(certificate: x509.Certificate) -> str:
    from vnedoc.sign.certificates import display_name
    from vnedoc.sign.reports.text import printable

    return printable(display_name(certificate.subject))


def _show_all(certificates: Sequence[x509.Certificate], own: TrustFolder, state: CLIState) -> None:
    from vnedoc.sign.trust import TrustStore, check_trust, fingerprint

    # Whether one leads to an anchor depends on what is there already.
    store = TrustStore.from_certificates([*certificates, *(held for held, _ in own.find())])
    shown = {fingerprint(certificate) for certificate in certificates}
    for checked in check_trust(store):
        if checked.fingerprint in shown:
            _show(checked, state)
    click.echo(state.text("trust.compare"), err=True)


def _show(checked: CheckedCertificate, state: CLIState) -> None:
    from vnedoc.sign.reports.text import printable, show_time

    kind = state.text("trust.anchor" if checked.is_anchor else "trust.intermediate")
    tree = f", {checked.tree.value}" if checked.tree is not None else ""
    remarks = [checked.state]
    remarks += ["no-path"] if checked.anchor is None else []
    remarks += ["weak"] if checked.is_weak else []
    said = "; ".join(state.text(f"trust.{remark}") for remark in remarks)
    click.echo(f"{printable(checked.name)} ({kind}{tree})")
    click.echo(f"  {checked.fingerprint}")
    click.echo(f"  {show_time(checked.not_before)} - {show_time(checked.not_after)}: {said}")
