"""``vnedoc sign``: sign PDFs in a role."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli.secrets import passphrase_options, read_secret
from vnedoc.errors import ExitCode, UsageError, VnedocError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signers.base import Signer
    from vnedoc.sign.signing import SigningPlan, SigningResult

__all__ = ["sign"]

ROLES = ("approve", "issue", "appendix", "copy", "initial", "number", "date", "incoming", "comment", "invisible")
SCHEMA = "vnedoc.signing/1"


@click.command(short_help="Sign PDFs in a role.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--signer", "signer_uri", required=True, metavar="URI", help="The key: pkcs12:PATH.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the signature means.")
@click.option(
    "--level", type=click.Choice(["b-b", "b-t"]), default=None, help="Default: b-t with --tsa, else b-b."
)
@click.option(
    "--tsa", "tsa_urls", multiple=True, metavar="URL", help="Time-stamping authority; several in order."
)
@click.option("--image", type=click.Path(path_type=Path), metavar="PNG", help="Signature picture or seal.")
@click.option("--seal-diameter-mm", type=float, metavar="N", help="True diameter of the seal.")
@click.option("--page", type=int, metavar="N", help="Page, from 1; negative counts from the end.")
@click.option("--box", metavar="X,Y,W,H", help="Place on the page as shown, in points from the lower left.")
@click.option("--anchor", metavar="TEXT", help="Place by a text on the page, such as the signer's name.")
@click.option(
    "--number", metavar="TEXT", help="Number (issue, number) or number and code of the main document."
)
@click.option("--date", "issue_date", type=click.DateTime(["%Y-%m-%d"]), help="Date of the document.")
@click.option("--copy-kind", type=click.Choice(["sao-y", "sao-luc", "trich-sao"]), help="Kind of copy.")
@click.option("--agency", metavar="NAME", help="Agency that makes the copy.")
@click.option("--text", metavar="TEXT", help="Text of a comment.")
@click.option(
    "--reserve-numbering",
    is_flag=True,
    help="With approve: make empty fields for number and date, which issue fills in its own revision.",
)
@click.option(
    "--certify", is_flag=True, help="Certify: only form filling and signatures are allowed afterwards."
)
@click.option("--without-person", is_flag=True, help="With issue: allow it although no person has signed.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Signed file (one input)."
)
@click.option(
    "-d", "--directory", type=click.Path(path_type=Path), metavar="DIR", help="Folder for signed files."
)
@click.option("--in-place", is_flag=True, help="Replace each input by its signed form.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, write nothing.")
@passphrase_options
@click.pass_obj
def sign(state: CLIState, /, files: tuple[Path, ...], **given: Any) -> int:  # the options, as click names them
    """Sign PDFs as Decree 30/2020/NĐ-CP wants them signed and shown.

    \b
      vnedoc sign draft.pdf --signer pkcs12:leader.p12 --role approve \
             --image signature.png --anchor "NGUYỄN VĂN A" -o signed.pdf

    \b
    Exit codes: 0 signed · 1 the document or the Decree does not allow it · 2 wrong usage ·
    4 not a PDF, broken or encrypted · 5 key, passphrase or certificate · 6 no time-stamp, try again.
    Many files: all are tried; the gravest code in the order 1, 4, 6, 0 wins.
    """
    targets = _targets(
        files, output=given["output"], directory=given["directory"], in_place=given["in_place"]
    )
    results = []
    codes = set()
    with _signer(state, given) as signer, _options(state, given) as options:
        for source, target in targets:
            try:
                outcome = _sign_one(source, target, signer=signer, options=options, dry_run=given["dry_run"])
            except VnedocError as exc:
                if exc.exit_code in {ExitCode.CONFIGURATION, ExitCode.USAGE} or len(targets) == 1:
                    # The key itself, or the call, is wrong: the next file would fare no better.
                    raise
                codes.add(exc.exit_code)
                results.append(
                    {"path": str(source), "error": {"id": exc.code, "text": exc.text(state.language)}}
                )
                click.echo(f"{source}: {exc.text(state.language)}", err=True)
                continue
            codes.add(ExitCode.DONE)
            results.append(_plain(source, outcome))
            if given["form"] == "text":
                click.echo(_sentence(state, source, outcome))
    if given["form"] == "json":
        click.echo(json.dumps({"schema": SCHEMA, "files": results}, ensure_ascii=False, indent=2))
    gravest = (ExitCode.NO, ExitCode.UNREADABLE, ExitCode.REFUSED, ExitCode.REMOTE, ExitCode.DONE)
    return next(code for code in gravest if code in codes)


def _targets(
    sources: tuple[Path, ...], *, output: Path | None, directory: Path | None, in_place: bool
) -> list[tuple[Path, Path]]:
    """Pair each input with its output; two files never share one, and no input is lost by accident."""
    ways = [output is not None, directory is not None, in_place]
    if sum(ways) != 1 or (output is not None and len(sources) != 1):
        raise UsageError("signing.name-the-output")
    if in_place:
        return [(source, source) for source in sources]
    if output is not None:
        pairs = [(sources[0], output)]
    else:
        assert directory is not None
        if not directory.is_dir():
            raise UsageError("signing.no-directory", path=directory)
        pairs = [(source, directory / source.name) for source in sources]
    if len({target.resolve() for _, target in pairs}) != len(pairs):
        raise UsageError("signing.same-output")
    for source, target in pairs:
        if target.exists() and target.resolve() == source.resolve():
            raise UsageError("signing.would-overwrite", path=source)
    return pairs


@contextlib.contextmanager
def _signer(state: CLIState, given: dict[str, Any]) -> Iterator[Signer]:  # click's values
    from vnedoc.sign.signers import open_signer

    def ask(name: str) -> str:
        prompt = state.text("signer.passphrase-prompt", name=name)
        return read_secret(prompt, env=given["passphrase_env"], fd=given["passphrase_fd"])

    with open_signer(given["signer_uri"], secret=ask) as signer:
        yield signer


@contextlib.contextmanager
def _options(state: CLIState, given: dict[str, Any]) -> Iterator[SigningOptions]:  # click's values
    from vnedoc.sign.appearance import load_picture
    from vnedoc.sign.models import Box, Placement, Role, SignatureLevel
    from vnedoc.sign.roles import CopyKind, SigningOptions
    from vnedoc.sign.timestamps import TimestampClient

    urls = given["tsa_urls"] or (state.config().signing.tsa if given["level"] == "b-t" else ())
    level = given["level"] or ("b-t" if urls else "b-b")
    placement = None
    if given["box"] is not None or given["anchor"] is not None:
        box = None if given["box"] is None else Box.parse(given["box"])
        placement = Placement(page=given["page"], box=box, anchor=given["anchor"])
    issue_date: datetime.datetime | None = given["issue_date"]
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(TimestampClient(urls)) if urls and level == "b-t" else None
        yield SigningOptions(
            role=Role(given["role"]),
            level=SignatureLevel.from_option(level),
            timestamps=client,
            placement=placement,
            picture=None if given["image"] is None else load_picture(given["image"]),
            seal_diameter_mm=given["seal_diameter_mm"],
            number=given["number"],
            date=None if issue_date is None else issue_date.date(),
            copy_kind=None if given["copy_kind"] is None else CopyKind(given["copy_kind"]),
            agency=given["agency"],
            text=given["text"],
            reserve_numbering=given["reserve_numbering"],
            certify=given["certify"],
            without_person=given["without_person"],
        )


def _sign_one(
    source: Path, target: Path, *, signer: Signer, options: SigningOptions, dry_run: bool
) -> SigningResult | SigningPlan:
    from vnedoc.sign.signing import plan_pdf, sign_pdf

    if dry_run:
        return plan_pdf(source, signer=signer, options=options)
    return sign_pdf(source, target, signer=signer, options=options)


def _plain(source: Path, outcome: SigningResult | SigningPlan) -> dict[str, Any]:  # JSON
    from vnedoc.sign.signing import SigningResult

    plain: dict[str, Any] = {  # JSON
        "path": str(source),
        "field": outcome.field,
        "page": outcome.page,
        "box": None if outcome.box is None else outcome.box.as_text(),
    }
    if isinstance(outcome, SigningResult):
        plain |= {
            "output": str(outcome.path),
            "role": outcome.role.value,
            "level": outcome.level.value,
            "signing_time": outcome.signing_time.isoformat(),
            "timestamp_time": None if outcome.timestamp_time is None else outcome.timestamp_time.isoformat(),
        }
    return plain


def _sentence(state: CLIState, source: Path, outcome: SigningResult | SigningPlan) -> str:
    from vnedoc.sign.signing import SigningResult

    if outcome.box is None:
        place = state.text("signing.not-shown")
    else:
        place = state.text("signing.shown", page=outcome.page, box=outcome.box.as_text())
    if isinstance(outcome, SigningResult):
        level, path = outcome.level.value, outcome.path
        return state.text(
            "signing.done", source=source, path=path, level=level, field=outcome.field, place=place
        )
    return state.text("signing.would-sign", source=source, field=outcome.field, place=place)
