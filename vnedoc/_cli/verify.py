"""``vnedoc verify`` and ``vnedoc inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.inspection import PDFContents
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.senders import ExpectedSender

__all__ = ["inspect", "verify"]


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trust_sources",
    metavar="SRC",
    multiple=True,
    help="PEM file, folder, shipped:vn-government or shipped:vn-national; there is no default.",
)
@click.option("--at", metavar="TIME", help="Verify as of this time (ISO 8601; without a zone: Vietnam).")
@click.option("--offline", is_flag=True, help="Ask no server; use the file's own data and --crl.")
@click.option(
    "--crl", "crl_paths", metavar="FILE", multiple=True, type=click.Path(path_type=Path), help="A CRL."
)
@click.option("--sender", metavar="ORGANID", help="The agency that is said to have sent the document.")
@click.option("--directory", "directory_path", type=click.Path(path_type=Path), help="The agency directory.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="HOST",
    multiple=True,
    help="Revocation server that may be asked although its address is private.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the report to a file.")
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    paths: tuple[Path, ...],
    trust_sources: tuple[str, ...],
    at: str | None,
    offline: bool,
    crl_paths: tuple[Path, ...],
    sender: str | None,
    directory_path: Path | None,
    allowed_hosts: tuple[str, ...],
    form: str,
    output: Path | None,
) -> None:
    """Verify the signatures of PDFs, and whether the signer is the sender.

    \b
    Exit codes: 0 every file passed · 1 a signature is not valid or not the sender's ·
    3 it cannot be told, or there is no signature · 4 a file cannot be read ·
    5 trust, directory or settings are wrong. Of many files the gravest counts.
    """
    from vnedoc._internal import clock, files
    from vnedoc.sign.report import VerificationReport
    from vnedoc.sign.trust import load_trust
    from vnedoc.sign.verification import verify_files

    state: CLIState = ctx.obj
    moment = clock.parse_time(at) if at is not None else None
    trust = load_trust(*(trust_sources or state.config().trust))
    expected = _sender(state, sender, directory_path)
    source = _revocation(state, crl_paths, allowed_hosts, offline=offline)
    try:
        report = VerificationReport(
            tuple(verify_files(paths, trust=trust, at=moment, sender=expected, revocation=source))
        )
    finally:
        source.close()
    if form == "json":
        from vnedoc.sign.reports.json import render_json

        text = render_json(report, language=state.language)
    else:
        from vnedoc.sign.reports.text import render_text

        text = render_text(report, language=state.language)
    if output is None:
        click.echo(text, nl=False)
    else:
        files.write_bytes(output, text.encode("utf-8"))
    ctx.exit(int(report.exit_code))


def _sender(state: CLIState, organ_id: str | None, directory_path: Path | None) -> ExpectedSender | None:
    if organ_id is None:
        return None
    from vnedoc.agencies import load_directory
    from vnedoc.errors import UsageError
    from vnedoc.sign.senders import ExpectedSender

    path = directory_path or state.config().directory
    if path is None:
        raise UsageError("verify.needs-directory")
    return ExpectedSender(organ_id=organ_id, directory=load_directory(path))


def _revocation(
    state: CLIState, crl_paths: tuple[Path, ...], allowed_hosts: tuple[str, ...], *, offline: bool
) -> RevocationSource:
    from vnedoc.sign.revocation import RevocationSource, load_crl

    return RevocationSource(
        crls=[load_crl(path) for path in crl_paths],
        online=not offline,
        allowed_hosts=(*allowed_hosts, *state.config().verification.allowed_hosts),
    )


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_context
def inspect(ctx: click.Context, *, paths: tuple[Path, ...]) -> None:
    """Show what is inside PDFs, without any judgement.

    \b
    Exit codes: 0 done · 4 a file cannot be read.
    """
    from vnedoc.errors import ExitCode, InputError
    from vnedoc.sign.inspection import inspect_pdf

    state: CLIState = ctx.obj
    code = ExitCode.DONE
    for path in paths:
        try:
            contents = inspect_pdf(path)
        except InputError as exc:
            # The other files are still wanted.
            click.echo(f"{path}: {exc.text(state.language)}", err=True)
            code = ExitCode.UNREADABLE
            continue
        for line in _inspection(contents, state):
            click.echo(line)
    click.echo(state.text("verify.inspect-note"), err=True)
    ctx.exit(int(code))


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
