"""``vnedoc pack``, ``unpack`` and ``validate``: edXML packages on this machine; nothing is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc.errors import ExitCode, InputError, UsageError

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.models import Package, PackageFinding

__all__ = ["pack", "unpack", "validate"]

PACKING_SCHEMA = "vnedoc.packing/1"
PACKAGE_SCHEMA = "vnedoc.package/1"
VALIDATION_SCHEMA = "vnedoc.validation/1"
DIALECT_NAMES = ("vnpt", "net", "bkav")
LEVELS = ("strict", "axis", "lenient")

_path = click.Path(path_type=Path)
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.command(short_help="Put a document and its attachments into an edXML package.")
@click.option("--header", "header_path", type=_path, required=True, metavar="FILE", help="TOML or JSON.")
@click.argument("files", nargs=-1, required=True, type=_path, metavar="DOC [ATTACHMENT…]")
@click.option("-o", "--output", type=_path, required=True, metavar="FILE.edxml", help="The package.")
@click.option(
    "--dialect",
    type=click.Choice(DIALECT_NAMES),
    default="vnpt",
    show_default=True,
    help="The kit that the receiver reads with.",
)
@_format
@click.pass_obj
def pack(
    state: CLIState, *, header_path: Path, files: tuple[Path, ...], output: Path, dialect: str, form: str
) -> int:
    r"""Put a document and its attachments into an edXML package.

    The header file uses the snake_case of the element names; unknown keys are refused. A document that has no
    station on its way yet gets its sender as the first one.

    \b
      vnedoc pack --header header.toml signed.pdf appendix.xlsx -o document.edxml

    \b
    Exit codes: 0 written · 2 wrong usage · 4 the header or a file cannot be used.
    """
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange.header_files import load_header
    from vnedoc.exchange.models import Attachment, StatusHeader
    from vnedoc.exchange.package import DIALECTS, write_package

    header = load_header(header_path)
    if isinstance(header, StatusHeader):
        raise UsageError("package.header-is-status")
    if output.resolve() in {path.resolve() for path in (*files, header_path)}:
        raise UsageError("package.would-overwrite", path=output)
    if not header.trace:
        header = header.with_trace(header.sender.organ_id, at=utc_now())
    attachments = [Attachment.from_file(path) for path in files]
    written = write_package(header, attachments, output, dialect=DIALECTS[dialect])
    if form == "json":
        rows = [
            {"name": item.name, "content_id": item.content_id, "size": item.size, "sha256": item.sha256}
            for item in written.attachments
        ]
        facts = {"document_id": header.document_id, "size": written.size, "sha256": written.sha256}
        _print_json({"schema": PACKING_SCHEMA, "path": str(output), **facts, "attachments": rows})
    else:
        values = {"path": output, "count": len(written.attachments), "size": written.size}
        click.echo(state.text("package.packed", **values))
    return ExitCode.DONE


@click.command(short_help="Take the files out of an edXML package.")
@click.argument("source", type=_path, metavar="FILE.edxml")
@click.option("-d", "--directory", type=_path, required=True, metavar="DIR", help="Made if missing.")
@_format
@click.pass_obj
def unpack(state: CLIState, *, source: Path, directory: Path, form: str) -> int:
    r"""Take the files out of an edXML package of any known dialect.

    Files get safe names and never replace one that is there. What was odd about the package is said on stderr;
    the signatures in the documents are not checked here: use verify.

    \b
    Exit codes: 0 done · 2 wrong usage · 4 not a package, or the folder cannot be written.
    """
    from vnedoc.exchange.package import read_package

    package = read_package(source, folder=directory)
    if form == "json":
        _print_json({"schema": PACKAGE_SCHEMA, "path": str(source), **_package_facts(state, package)})
        return ExitCode.DONE
    for line in _lines(state, package):
        click.echo(line)
    click.echo(state.text("package.unpacked", count=len(package.attachments), folder=directory))
    for finding in package.warnings:
        _say(state, source, "package.word-warning", finding)
    return ExitCode.DONE


@click.command(short_help="Check the structure of edXML packages.")
@click.argument("files", nargs=-1, required=True, type=_path, metavar="FILE.edxml…")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="strict",
    show_default=True,
    help="What the standard, the axis, or a reader needs.",
)
@_format
@click.pass_obj
def validate(state: CLIState, *, files: tuple[Path, ...], level: str, form: str) -> int:
    r"""Check the structure of edXML packages against the standard.

    \b
    Exit codes: 0 all are valid · 1 one is not valid · 2 wrong usage · 4 one cannot be read.
    Many files: all are checked; the gravest code in the order 1, 4, 0 wins.
    """
    from vnedoc.exchange.package import read_package
    from vnedoc.exchange.validation import Level, validate_package

    rows: list[dict[str, Any]] = []  # JSON
    codes = set()
    for path in files:
        try:
            package = read_package(path, folder=None)
        except InputError as exc:
            codes.add(ExitCode.UNREADABLE)
            rows.append({"path": str(path), "error": {"id": exc.code, "text": exc.text(state.language)}})
            if form == "text":
                click.echo(state.text("package.unreadable", path=path))
                click.echo(f"  {exc.text(state.language)}", err=True)
            continue
        report = validate_package(package, level=Level(level))
        codes.add(ExitCode.DONE if report.is_valid else ExitCode.NO)
        rows.append(
            {
                "path": str(path),
                "kind": package.kind.value,
                "level": level,
                "valid": report.is_valid,
                "errors": [_finding(state, finding) for finding in report.errors],
                "warnings": [_finding(state, finding) for finding in report.warnings],
            }
        )
        if form == "text":
            verdict = "package.valid" if report.is_valid else "package.not-valid"
            click.echo(state.text(verdict, path=path, level=level))
            for finding in report.errors:
                _say(state, path, "package.word-error", finding)
            for finding in report.warnings:
                _say(state, path, "package.word-warning", finding)
    if form == "json":
        _print_json({"schema": VALIDATION_SCHEMA, "files": rows})
    return next(code for code in (ExitCode.NO, ExitCode.UNREADABLE, ExitCode.DONE) if code in codes)


def _package_facts(state: CLIState, package: Package) -> dict[str, Any]:  # JSON
    from vnedoc.exchange.header_files import header_to_dict

    return {
        "kind": package.kind.value,
        "size": package.size,
        "sha256": package.sha256,
        "header": header_to_dict(package.header),
        "attachments": [
            {
                "name": item.name,
                "path": None if item.path is None else str(item.path),
                "size": item.size,
                "sha256": item.sha256,
                "content_id": item.content_id,
                "description": item.description,
                "content_type": item.content_type,
                "detected_type": item.detected_type,
                "was_zipped": item.was_zipped,
            }
            for item in package.attachments
        ],
        "warnings": [_finding(state, finding) for finding in package.warnings],
    }


def _lines(state: CLIState, package: Package) -> list[str]:
    from vnedoc.exchange.codes import status_name
    from vnedoc.exchange.models import StatusHeader

    header = package.header
    if isinstance(header, StatusHeader):
        rows = [
            (
                "package.word-status",
                f"{header.status_code} ({status_name(header.status_code, state.language)})",
            ),
            ("package.word-sender", f"{header.sender.organ_id} {header.sender.organ_name}"),
            ("package.word-document-id", header.response_for.document_id or "-"),
        ]
    else:
        rows = [
            ("package.word-document", header.code),
            ("package.word-document-id", header.document_id),
            ("package.word-subject", header.subject),
            ("package.word-sender", f"{header.sender.organ_id} {header.sender.organ_name}"),
            *(("package.word-recipient", f"{to.organ_id} {to.organ_name}") for to in header.recipients),
        ]
    rows += [
        ("package.word-attachment", f"{item.path}  {item.size}  {item.sha256}")
        for item in package.attachments
    ]
    return [f"{state.text(label)}: {value}" for label, value in rows]


def _finding(state: CLIState, finding: PackageFinding) -> dict[str, str]:
    return {"id": finding.id, "element": finding.element, "text": finding.text(state.language)}


def _say(state: CLIState, path: Path, label: str, finding: PackageFinding) -> None:
    click.echo(f"{path}: {state.text(label)}: {finding.text(state.language)} [{finding.id}]", err=True)


def _print_json(content: dict[str, Any]) -> None:  # JSON
    click.echo(json.dumps(content, ensure_ascii=False, indent=2))
