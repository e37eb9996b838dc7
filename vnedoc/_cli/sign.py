"""``vnedoc sign``: sign PDFs in a role."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._outputs import output_options, pair_outputs
from vnedoc._cli.secrets import chosen_mechanism, open_asked_signer, secret_options
from vnedoc._cli.signing_options import open_options, role_options, timestamp_options
from vnedoc.errors import ConfigurationError, VnedocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.batch import JobOutcome, SigningJob
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signing import SigningPlan, SigningResult

__all__ = ["SCHEMA", "done_sentence", "plain_result", "sign"]

SCHEMA = "vnedoc.signing/1"


@click.command(short_help="Sign PDFs in a role.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option(
    "--signer",
    "signer_uri",
    required=True,
    metavar="URI",
    help="The key: pkcs12:PATH, pkcs11:…, csc+https:…, smartca+https:…, mysign+https:…, mss+https:…",
)
@role_options
@timestamp_options
@output_options("signed")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Processes."
)
@click.option(
    "--again", is_flag=True, help="With -d or --in-place: sign also what has this signature already."
)
@format_option
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, write nothing.")
@secret_options
@click.pass_obj
def sign(
    state: CLIState, /, files: tuple[Path, ...], **given: Any
) -> int:  # the options, as click names them
    """Sign PDFs as Decree 30/2020/NĐ-CP wants them signed and shown.

    \b
      vnedoc sign draft.pdf --signer pkcs12:leader.p12 --role approve \
             --image signature.png --anchor "NGUYỄN VĂN A" -o signed.pdf
      vnedoc sign *.pdf --signer pkcs12:leader.p12 --role initial … -d signed

    With many files the passphrase is asked for once and every file has its own result. What fails does not
    stop the others, unless the key itself fails. A batch can be started again: with -d and --in-place, what
    is signed already is skipped.

    \b
    Exit codes: 0 signed · 1 the document or the Decree does not allow it · 2 wrong usage ·
    4 not a PDF, broken or encrypted · 5 key, passphrase or certificate · 6 no time-stamp, try again ·
    7 a remote service, or the person who holds the key, said no.
    Many files: the gravest code in the order 5, 1, 4, 2, 7, 6, 0 wins.
    """
    from vnedoc.sign.batch import SigningJob, gravest_code

    jobs = [
        SigningJob(source, target)
        for source, target in pair_outputs(
            files, output=given["output"], directory=given["directory"], in_place=given["in_place"]
        )
    ]
    with open_options(state, given) as options:
        if given["dry_run"]:
            outcomes = _plan_all(state, jobs, options=options, given=given)
        else:
            outcomes = _sign_all(state, jobs, options=options, given=given)
    if len(outcomes) == 1 and outcomes[0].error is not None:
        raise outcomes[0].error
    return gravest_code(outcomes)


def _sign_all(
    state: CLIState, jobs: list[SigningJob], *, options: SigningOptions, given: dict[str, Any]
) -> list[JobOutcome]:
    from vnedoc.sign.batch import SignerAccess, process_pool, sign_many

    lines = _Lines(state, text=given["form"] == "text", single=len(jobs) == 1)
    # A single output that was named is made anew: its place or picture may have been wrong.
    again = given["again"] or given["output"] is not None
    processes = min(given["jobs"], len(jobs))
    answers: dict[str, str | None] = {}
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as key:
        # Opened here even if other processes sign: a wrong passphrase shows before anything is started.
        signer = key.enter_context(open_asked_signer(state, given, answers))
        tell = stack.enter_context(_progress(state, len(jobs), lines))
        if processes == 1:
            outcomes = sign_many(jobs, options=options, signer=signer, again=again, on_outcome=tell)
        else:
            key.close()
            access = SignerAccess(given["signer_uri"], answers, mechanism=chosen_mechanism(given))
            pool = stack.enter_context(process_pool(processes))
            outcomes = sign_many(
                jobs, options=options, signer_factory=access, executor=pool, again=again, on_outcome=tell
            )
    _warn(state, outcomes)
    if given["form"] == "json":
        files = [_plain(state, outcome) for outcome in outcomes]
        echo_document(SCHEMA, files=files)
    elif len(outcomes) > 1:
        _summarize(state, outcomes)
    return outcomes


def _plan_all(
    state: CLIState, jobs: list[SigningJob], *, options: SigningOptions, given: dict[str, Any]
) -> list[JobOutcome]:
    from vnedoc.sign.batch import JobOutcome, JobState
    from vnedoc.sign.signing import plan_pdf

    outcomes: list[JobOutcome] = []
    files = []
    with open_asked_signer(state, given) as signer:
        for job in jobs:
            try:
                plan = plan_pdf(job.source, signer=signer, options=options)
            except VnedocError as exc:
                if len(jobs) == 1 or isinstance(exc, ConfigurationError):
                    raise
                outcomes.append(JobOutcome(job, JobState.FAILED, error=exc))
                files.append({"path": str(job.source), "error": _plain_error(state, exc)})
                click.echo(f"{job.source}: {exc.text(state.language)}", err=True)
                continue
            outcomes.append(JobOutcome(job, JobState.NOT_TRIED, field=plan.field))
            files.append({"path": str(job.source), **_plain_place(plan)})
            if given["form"] == "text":
                click.echo(
                    state.text(
                        "signing.would-sign", source=job.source, field=plan.field, place=_place(state, plan)
                    )
                )
    if given["form"] == "json":
        echo_document(SCHEMA, files=files)
    return outcomes


class _Lines:
    """One line a file: at once, or held back while a progress bar is on the screen."""

    def __init__(self, state: CLIState, *, text: bool, single: bool) -> None:
        self._state = state
        self._text = text
        self._single = single
        self.held: list[tuple[str, bool]] | None = None

    def tell(self, outcome: JobOutcome) -> None:
        """Say what became of a file."""
        if outcome.error is not None and not self._single:
            self._write(_sentence(self._state, outcome), err=True)
        elif outcome.error is None and self._text:
            self._write(_sentence(self._state, outcome), err=False)

    def flush(self) -> None:
        """Write what was held back."""
        held, self.held = self.held or [], None
        for line, err in held:
            click.echo(line, err=err)

    def _write(self, line: str, *, err: bool) -> None:
        if self.held is None:
            click.echo(line, err=err)
        else:
            self.held.append((line, err))


@contextlib.contextmanager
def _progress(state: CLIState, count: int, lines: _Lines) -> Iterator[Callable[[JobOutcome], object]]:
    """Show a bar on a terminal; a log gets lines only."""
    if count == 1 or state.verbosity < 0 or not sys.stderr.isatty():
        yield lines.tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    lines.held = []
    try:
        with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task(state.text("batch.progress"), total=count)

            def tell(outcome: JobOutcome) -> None:
                lines.tell(outcome)
                bar.advance(task)

            yield tell
    finally:
        # Also when the user stopped: what was signed is said.
        lines.flush()


def _summarize(state: CLIState, outcomes: list[JobOutcome]) -> None:
    from vnedoc.sign.batch import JobState

    counts = {kind: sum(outcome.state is kind for outcome in outcomes) for kind in JobState}
    click.echo(
        state.text(
            "batch.summary",
            signed=counts[JobState.SIGNED],
            present=counts[JobState.PRESENT],
            failed=counts[JobState.FAILED],
            untried=counts[JobState.NOT_TRIED],
        ),
        err=True,
    )


def _warn(state: CLIState, outcomes: list[JobOutcome]) -> None:
    """Say once what the signer must be told, however many documents it is true for."""
    warnings = {
        warning.text(state.language)
        for outcome in outcomes
        if outcome.result is not None
        for warning in outcome.result.warnings
    }
    for text in sorted(warnings):
        click.echo(text, err=True)


def _plain(state: CLIState, outcome: JobOutcome) -> dict[str, Any]:  # JSON
    plain: dict[str, Any] = {"path": str(outcome.job.source), "state": outcome.state.value}  # JSON
    if outcome.error is not None:
        return plain | {"error": _plain_error(state, outcome.error)}
    plain |= {"output": str(outcome.job.output), "field": outcome.field}
    if outcome.result is not None:
        plain |= plain_result(outcome.job.source, outcome.result, language=state.language)
    return plain


def plain_result(source: Path, result: SigningResult, *, language: str) -> dict[str, Any]:  # JSON
    """Return what was signed as JSON values."""
    return {
        "path": str(source),
        "output": str(result.path),
        **_plain_place(result),
        "role": result.role.value,
        "level": result.level.value,
        "signing_time": result.signing_time.isoformat(),
        "timestamp_time": None if result.timestamp_time is None else result.timestamp_time.isoformat(),
        "warnings": [{"id": warning.id, "text": warning.text(language)} for warning in result.warnings],
    }


def _plain_place(shown: SigningResult | SigningPlan) -> dict[str, Any]:  # JSON
    box = None if shown.box is None else shown.box.as_text()
    return {"field": shown.field, "page": shown.page, "box": box}


def _plain_error(state: CLIState, error: VnedocError) -> dict[str, str]:
    return {"id": error.code, "text": error.text(state.language)}


def _sentence(state: CLIState, outcome: JobOutcome) -> str:
    from vnedoc.sign.batch import JobState

    source, path = outcome.job.source, outcome.job.output
    if outcome.state is JobState.NOT_TRIED:
        return state.text("batch.not-tried", source=source)
    if outcome.error is not None:
        return f"{source}: {outcome.error.text(state.language)}"
    if outcome.result is None:
        return state.text("batch.already-signed", source=source, path=path, field=outcome.field)
    return done_sentence(state, source, outcome.result)


def done_sentence(state: CLIState, source: Path, result: SigningResult) -> str:
    """Return the line that says what was signed."""
    return state.text(
        "signing.done",
        source=source,
        path=result.path,
        level=result.level.value,
        field=result.field,
        place=_place(state, result),
    )


def _place(state: CLIState, shown: SigningResult | SigningPlan) -> str:
    if shown.box is None:
        return state.text("signing.not-shown")
    return state.text("signing.shown", page=shown.page, box=shown.box.as_text())
