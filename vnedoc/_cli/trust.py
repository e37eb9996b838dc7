"""``vnedoc trust``: look at trust anchors before relying on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.sign.trust import CheckedCertificate

__all__ = ["trust"]


@click.group()
def trust() -> None:
    """Look at trust anchors before relying on them."""


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
