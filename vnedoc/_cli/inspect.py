"""``vnedoc inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._verification import document_password, document_password_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.inspection import PDFContents
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["inspect"]


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trust_sources",
    metavar="SRC",
    multiple=True,
    help="Say why a file is not long-term, for chains that lead to these anchors.",
)
@document_password_option
@click.pass_context
def inspect(
    ctx: click.Context,
    *,
    paths: tuple[Path, ...],
    trust_sources: tuple[str, ...],
    document_password_env: str | None,
) -> None:
    """Show what is inside PDFs, without any judgement.

    It also says why a file cannot be verified for years from itself alone; all of it only with --trust, or trust in
    the settings.

    \b
    Exit codes: 0 done · 4 a file cannot be read.
    """
    from vnedoc.errors import ExitCode, InputError
    from vnedoc.sign.inspection import inspect_pdf

    state: CLIState = ctx.obj
    sources = trust_sources or state.config().trust
    password = document_password(document_password_env)
    code = ExitCode.DONE
    for path in paths:
        try:
            contents = inspect_pdf(path, password=password)
        except InputError as exc:
            # The other files are still wanted.
            click.echo(f"{path}: {exc.text(state.language)}", err=True)
            hint = exc.hint(state.language)
            if hint:
                click.echo(f"  {hint}", err=True)
            code = ExitCode.UNREADABLE
            continue
        for line in _inspection(contents, state):
            click.echo(line)
        for line in _long_term(path, sources, state, password) if sources else _visible_gaps(contents, state):
            click.echo(line)
    click.echo(state.text("verify.inspect-note"), err=True)
    ctx.exit(int(code))


def _long_term(
    path: Path, sources: tuple[str, ...], state: CLIState, password: SecretCallback | None
) -> Iterator[str]:
    from vnedoc.sign.extension import long_term_gaps
    from vnedoc.sign.reports.text import printable
    from vnedoc.sign.trust import load_trust

    gaps = long_term_gaps(path, trust=load_trust(*sources), password=password)
    yield "  " + state.text("verify.inspect-short-term" if gaps else "verify.inspect-long-term")
    for gap in gaps:
        yield "    - " + printable(gap.text(state.language))


def _visible_gaps(contents: PDFContents, state: CLIState) -> Iterator[str]:
    """Say what shows without trust anchors; that nothing shows is no promise, so nothing is said then."""
    from vnedoc.sign.reports.text import printable

    gaps = contents.visible_gaps()
    if gaps:
        yield "  " + state.text("verify.inspect-short-term")
    for gap in gaps:
        yield "    - " + printable(gap.text(state.language))


def _inspection(contents: PDFContents, state: CLIState) -> Iterator[str]:
    from vnedoc.sign.reports.text import printable, show_time

    def say(message_id: str, **values: object) -> str:
        shown = {key: printable(str(value)) for key, value in values.items()}
        return state.text(f"verify.{message_id}", **shown)

    yield say("inspect-file", path=contents.path, pages=contents.pages, count=len(contents.signatures))
    for problem in contents.problems:
        yield "  " + say("inspect-problem", text=problem.text(state.language))
    for found in contents.signatures:
        yield "  " + say(
            "inspect-signature", field=found.field, kind=found.kind.value, subfilter=found.subfilter or "-"
        )
        if found.signer is not None:
            yield "    " + say("line-signer", name=found.signer.common_name)
            yield "    " + say("line-organization", name=found.signer.organization or "-")
            yield "    " + say("line-issuer", name=found.signer.issuer)
            yield "    " + say(
                "inspect-algorithms", signature=found.signature_algorithm, digest=found.digest_algorithm
            )
            yield "    " + say("inspect-timestamps", count=found.timestamps)
        if found.claimed_time is not None:
            yield "    " + say("line-time-claimed", time=show_time(found.claimed_time))
        if found.covered_end is not None:
            yield "    " + say("inspect-covered", end=found.covered_end, size=contents.size)
        if found.box is not None:
            yield "    " + say("line-place", page=found.box[0], box=found.box[1])
        for finding in found.findings:
            yield "    " + say("line-warning", text=finding.text(state.language))
