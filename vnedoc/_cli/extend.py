"""``vnedoc extend``: raise the level of signatures that exist, or renew it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._outputs import output_options, pair_outputs
from vnedoc._cli._verification import (
    document_password,
    document_password_option,
    means,
    verification_options,
)
from vnedoc._cli.signing_options import open_timestamps, timestamp_options
from vnedoc.errors import ConfigurationError, ExitCode, UsageError, VnedocError

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.sign.extension import ExtensionResult

__all__ = ["SCHEMA", "extend"]

SCHEMA = "vnedoc.extension/1"
_GRAVEST_FIRST = (
    ExitCode.NO, ExitCode.CANNOT_TELL, ExitCode.UNREADABLE, ExitCode.REFUSED, ExitCode.REMOTE, ExitCode.DONE,
)  # fmt: skip


@click.command(short_help="Raise the level of signatures, or renew it.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--level", type=click.Choice(["b-t", "b-lt", "b-lta"]), required=True, help="What to reach.")
@timestamp_options
@verification_options
@document_password_option
@output_options("extended")
@format_option
@click.pass_obj
def extend(
    state: CLIState, /, files: tuple[Path, ...], **given: Any
) -> int:  # the options, as click names them
    """Raise every signature of PDFs to a level, or renew b-lta, by one further revision.

    \b
      vnedoc extend issued.pdf --level b-lta --tsa http://tsa.ca.gov.vn --trust shipped:vn-government \
             -d archive

    Today's government checkers call a document modified when anything follows its last signature: extend the
    copy that is stored, send the document as it was issued.

    \b
    Exit codes: 0 extended · 1 a signature is not valid, there is none, or the level is there already ·
    2 wrong usage · 3 it cannot be told whether a signature is valid · 4 not a PDF, broken, or encrypted without the
    password · 5 trust or settings · 6 no time-stamp or no revocation data, try again.
    Many files: all are tried; the gravest code in the order 1, 3, 4, 6, 0 wins.
    """
    from vnedoc.sign.extension import extend_pdf
    from vnedoc.sign.models import SignatureLevel

    pairs = pair_outputs(
        files, output=given["output"], directory=given["directory"], in_place=given["in_place"]
    )
    level = SignatureLevel.from_option(given["level"])
    password = document_password(given["document_password_env"])
    codes: set[ExitCode] = set()
    results: list[dict[str, Any]] = []  # JSON
    with open_timestamps(state, given) as timestamps, means(state, given) as verifying:
        if verifying.trust is None:
            raise ConfigurationError("trust.none-given")
        for source, target in pairs:
            try:
                result = extend_pdf(
                    source,
                    target,
                    level=level,
                    trust=verifying.trust,
                    timestamps=timestamps,
                    revocation=verifying.revocation,
                    password=password,
                )
            except VnedocError as exc:
                if len(pairs) == 1 or isinstance(exc, ConfigurationError | UsageError):
                    raise
                codes.add(exc.exit_code)
                results.append(
                    {"path": str(source), "error": {"id": exc.code, "text": exc.text(state.language)}}
                )
                click.echo(f"{source}: {exc.text(state.language)}", err=True)
                hint = exc.hint(state.language)
                if hint:
                    click.echo(f"  {hint}", err=True)
                continue
            codes.add(ExitCode.DONE)
            results.append(_plain(source, result))
            if given["form"] == "text":
                click.echo(_sentence(state, source, result))
    if given["form"] == "json":
        echo_document(SCHEMA, files=results)
    if ExitCode.DONE in codes:
        click.echo(state.text("extension.checkers-note"), err=True)
    return next(code for code in _GRAVEST_FIRST if code in codes)


def _plain(source: Path, result: ExtensionResult) -> dict[str, Any]:  # JSON
    return {
        "path": str(source),
        "output": str(result.path),
        "timestamp_time": result.timestamp_time.isoformat(),
        "signatures": [{"field": field, "level": level} for field, level in result.levels],
    }


def _sentence(state: CLIState, source: Path, result: ExtensionResult) -> str:
    from vnedoc._internal import clock

    levels = ", ".join(f"“{field}” {level}" for field, level in result.levels)
    time = clock.vietnam(result.timestamp_time).isoformat()
    return state.text("extension.done", source=source, path=result.path, time=time, levels=levels)
