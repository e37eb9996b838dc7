"""``vnedoc pack``, ``unpack`` and ``validate``: edXML packages on this machine; nothing is sent."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._verification import means, sender_directory, sender_options, verification_options
from vnedoc._cli.secrets import open_asked_signer, secret_options
from vnedoc.errors import ExitCode, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnedoc._cli._verification import VerificationMeans
    from vnedoc._cli.main import CLIState
    from vnedoc.agencies import AgencyDirectory
    from vnedoc.exchange.headers import DocumentHeader
    from vnedoc.exchange.models import Package, PackageFinding, WrittenPackage
    from vnedoc.exchange.xmlsig import PackageSignatureReport
    from vnedoc.sign.signers.base import Signer

__all__ = ["PLAIN", "look_at_files", "pack", "pack_files", "say_finding", "unpack", "validate"]

PACKING_SCHEMA = "vnedoc.packing/1"
PACKAGE_SCHEMA = "vnedoc.package/1"
VALIDATION_SCHEMA = "vnedoc.validation/1"
GRAVEST_FIRST = (ExitCode.NO, ExitCode.CANNOT_TELL, ExitCode.UNREADABLE, ExitCode.DONE)
DIALECT_NAMES = ("vnpt", "net", "bkav")
LEVELS = ("strict", "axis", "lenient")
# The reader can only say that it did not look at the signature.
_SAID_BY_SIGNATURE = frozenset({"edxml.signature-unchecked", "edxml.signature-decorative"})

# What packing goes by when only the settings say something.
PLAIN: Mapping[str, Any] = {  # click's values
    "keep_names": False,
    "accept_unverified": False,
    "signer_uri": None,
    "trust_sources": (),
    "offline": False,
    "crl_paths": (),
    "crl_cache": None,
    "allowed_hosts": (),
}

_path = click.Path(path_type=Path)


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
@click.option("--signer", "signer_uri", metavar="URI", help="Sign header and attachments: pkcs12:PATH.")
@click.option(
    "--accept-unverified",
    is_flag=True,
    help="Pack documents whose signatures do not verify, were not verified, or are missing, without a word.",
)
@click.option("--keep-names", is_flag=True, help="Keep file names as they are: not cleaned for receivers.")
@verification_options
@secret_options
@format_option
@click.pass_obj
def pack(
    state: CLIState,
    /,
    *,
    header_path: Path,
    files: tuple[Path, ...],
    output: Path,
    dialect: str,
    form: str,
    **given: Any,  # click's values
) -> int:
    """Put a document and its attachments into an edXML package.

    The header file uses the snake_case of the element names; unknown keys are refused. A document that has no
    station on its way yet gets its sender as the first one. Signed PDFs come first; their signatures are verified
    with --trust before they are packed. Where a document has a number and a date of issue, an unsigned PDF is packed
    with a warning. File names become ASCII of at most 50 characters; the original name stays in the description.

    \b
      vnedoc pack --header header.toml signed.pdf appendix.xlsx -o document.edxml \
             --trust shipped:vn-government --signer pkcs12:agency.p12

    \b
    Exit codes: 0 written · 1 a signature in a document is not valid · 2 wrong usage ·
    3 it cannot be told whether one is · 4 the header or a file cannot be used ·
    5 no trust given for signed documents; key, passphrase or certificate.
    """
    header, written, unsigned = pack_files(state, header_path, files, output, dialect=dialect, given=given)
    if form == "json":
        rows = [
            {"name": item.name, "content_id": item.content_id, "size": item.size, "sha256": item.sha256}
            for item in written.attachments
        ]
        facts = {
            "document_id": header.document_id,
            "size": written.size,
            "sha256": written.sha256,
            "signed": given["signer_uri"] is not None,
        }
        warnings = [_finding(state, finding) for finding in unsigned]
        echo_document(PACKING_SCHEMA, path=str(output), **facts, attachments=rows, warnings=warnings)
    else:
        values = {"path": output, "count": len(written.attachments), "size": written.size}
        click.echo(state.text("package.packed", **values))
    return ExitCode.DONE


@click.command(short_help="Take the files out of an edXML package.")
@click.argument("source", type=_path, metavar="FILE.edxml")
@click.option("-d", "--folder", type=_path, required=True, metavar="DIR", help="Made if missing.")
@verification_options
@sender_options
@format_option
@click.pass_obj
def unpack(
    state: CLIState,
    /,
    *,
    source: Path,
    folder: Path,
    form: str,
    **given: Any,  # click's values
) -> int:
    """Take the files out of an edXML package of any known dialect.

    Files get safe names and never replace one that is there. What was odd about the package is said on stderr.
    The signature over the package is verified with --trust; the signatures in the documents are not checked here:
    use verify. With --directory, who signed the package is compared with the sender that it names; with --sender,
    that must be this agency.

    \b
    Exit codes: 0 done · 1 done, but the signature over the package is not valid or not the sender's ·
    2 wrong usage · 3 done, but nothing proves that it is from --sender ·
    4 not a package, or the folder cannot be written · 5 a source of trust or the directory cannot be used.
    """
    from vnedoc.exchange.package import read_package

    directory = sender_directory(state, given)
    with means(state, given) as verifying:
        try:
            package = read_package(source, folder=folder)
        except InputError as exc:
            row = _refused(state, source, exc, form=form)
            if form == "json":
                echo_document(PACKAGE_SCHEMA, **row)
            return exc.exit_code
        report = _signature(package, verifying, directory, given["sender"])
    code = _signature_code(report, given["sender"])
    if form == "json":
        facts = _package_facts(state, package)
        signature = report.to_dict(state.language)
        echo_document(PACKAGE_SCHEMA, path=str(source), **facts, signature=signature)
        return code
    for line in _lines(state, package):
        click.echo(line)
    click.echo(_signature_line(state, report))
    click.echo(state.text("package.unpacked", count=len(package.attachments), folder=folder))
    for finding in package.warnings:
        if finding.id not in _SAID_BY_SIGNATURE:
            say_finding(state, source, "package.word-warning", finding)
    signed = report.form != "none" or code
    for reason in (*report.errors, *report.warnings) if signed else ():
        label = state.text("package.word-error" if code is ExitCode.NO else "package.word-warning")
        click.echo(f"{source}: {label}: {reason.text(state.language)} [{reason.id}]", err=True)
    return code


@click.command(short_help="Check the structure of edXML packages.")
@click.argument("files", nargs=-1, required=True, type=_path, metavar="FILE.edxml…")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="strict",
    show_default=True,
    help="What the standard, the axis, or a reader needs.",
)
@verification_options
@sender_options
@format_option
@click.pass_obj
def validate(
    state: CLIState,
    /,
    *,
    files: tuple[Path, ...],
    level: str,
    form: str,
    **given: Any,  # click's values
) -> int:
    """Check the structure of edXML packages against the standard, and the signature over each.

    A package whose signature is broken is not valid at any level. Whether the signer is trusted is told with
    --trust and does not count here. With --directory, who signed is compared with the sender that the package names;
    with --sender, that must be this agency, and a valid signature must prove it. Packages that answer each other in
    a ring are reported.

    \b
    Exit codes: 0 all are valid · 1 one is not valid, or not from the sender · 2 wrong usage ·
    3 nothing proves that one is from --sender · 4 one cannot be read ·
    5 a source of trust or the directory cannot be used.
    Many files: all are checked; the gravest code in the order 1, 3, 4, 0 wins.
    """
    from vnedoc.exchange.package import read_package
    from vnedoc.exchange.validation import Level, find_thread_faults, validate_package

    rows: list[dict[str, Any]] = []  # JSON
    codes = set()
    directory = sender_directory(state, given)
    packages: dict[Path, Package] = {}
    failures: dict[Path, InputError] = {}
    for path in files:
        try:
            packages[path] = read_package(path, folder=None)
        except InputError as exc:
            failures[path] = exc
    rings = find_thread_faults(packages)
    with means(state, given) as verifying:
        for path in dict.fromkeys(files):
            if path in failures:
                codes.add(ExitCode.UNREADABLE)
                rows.append(_refused(state, path, failures[path], form=form))
                continue
            package = packages[path]
            report = validate_package(package, level=Level(level))
            signature = _signature(package, verifying, directory, given["sender"])
            errors = [*report.errors, *rings.get(path, ())]
            code = _signature_code(signature, given["sender"])
            valid = not errors and code is not ExitCode.NO
            codes.add(code if valid else ExitCode.NO)
            rows.append(
                {
                    "path": str(path),
                    "kind": package.kind.value,
                    "level": level,
                    "valid": valid,
                    "errors": [_finding(state, finding) for finding in errors],
                    "warnings": [_finding(state, finding) for finding in report.warnings],
                    "signature": signature.to_dict(state.language),
                }
            )
            if form == "text":
                click.echo(
                    state.text("package.valid" if valid else "package.not-valid", path=path, level=level)
                )
                _say_all(state, path, errors, report.warnings, signature)
    if form == "json":
        echo_document(VALIDATION_SCHEMA, files=rows)
    return next(code for code in GRAVEST_FIRST if code in codes)


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


def _finding(state: CLIState, finding: PackageFinding) -> dict[str, str | int | None]:
    return {
        "id": finding.id,
        "element": finding.element,
        "line": finding.line,
        "text": finding.text(state.language),
    }


def say_finding(state: CLIState, path: Path, label: str, finding: PackageFinding) -> None:
    """Say on stderr what was found in a package, and where."""
    place = path if finding.line is None else f"{path}:{finding.line}"
    click.echo(f"{place}: {state.text(label)}: {finding.text(state.language)} [{finding.id}]", err=True)


def _say_all(
    state: CLIState,
    path: Path,
    errors: list[PackageFinding],
    warnings: tuple[PackageFinding, ...],
    signature: PackageSignatureReport,
) -> None:
    shown = signature.form != "none" or signature.conclusion != "NO-SIGNATURE"
    if shown:
        click.echo(f"  {_signature_line(state, signature)}")
    for finding in errors:
        say_finding(state, path, "package.word-error", finding)
    for finding in warnings:
        if finding.id not in _SAID_BY_SIGNATURE:
            say_finding(state, path, "package.word-warning", finding)
    label = "package.word-error" if signature.conclusion == "TOTAL-FAILED" else "package.word-warning"
    for reason in signature.errors if shown else ():
        click.echo(f"{path}: {state.text(label)}: {reason.text(state.language)} [{reason.id}]", err=True)


def _refused(state: CLIState, path: Path, error: InputError, *, form: str) -> dict[str, Any]:  # JSON
    found = error.values.get("line")
    line = found if isinstance(found, int) else None
    if form == "text":
        is_unread = error.code != "file.cannot-write"
        click.echo(state.text("package.unreadable" if is_unread else "package.not-unpacked", path=path))
        place = path if line is None else f"{path}:{line}"
        label = state.text("package.word-error")
        click.echo(f"{place}: {label}: {error.text(state.language)} [{error.code}]", err=True)
    return {
        "path": str(path),
        "error": {"id": error.code, "line": line, "text": error.text(state.language)},
    }


def look_at_files(
    state: CLIState,
    source: Path,
    header: DocumentHeader,
    files: tuple[Path, ...],
    given: Mapping[str, Any] = PLAIN,  # click's values
) -> tuple[PackageFinding, ...]:
    """Verify the signatures of documents before they leave, and say on stderr where one was to be expected.

    Every command that makes a package of files goes by it.

    Args:
        state: The command line.
        source: What the words name as their place.
        header: The header under which the files leave.
        files: The files.
        given: How it is verified.

    Returns:
        Which signatures were missed.

    Raises:
        VnedocError: A signature is not valid, or it cannot be told.
    """
    from vnedoc.exchange.packing import check_issued, find_unsigned, is_signed_pdf

    if any(is_signed_pdf(path) for path in files):
        with means(state, given) as verifying:
            check_issued(files, trust=verifying.trust, revocation=verifying.revocation)
    unsigned = find_unsigned(header, files)
    for finding in unsigned:
        say_finding(state, source, "package.word-warning", finding)
    return unsigned


def pack_files(
    state: CLIState,
    header_path: Path,
    files: tuple[Path, ...],
    output: Path,
    *,
    dialect: str = "vnpt",
    given: Mapping[str, Any] = PLAIN,  # click's values
) -> tuple[DocumentHeader, WrittenPackage, tuple[PackageFinding, ...]]:
    """Pack files under the header of a file; ``send --header`` does it, too.

    Returns:
        The header, what was written, and which signatures were missed; that is said on stderr, too.

    Raises:
        VnedocError: The header or a file cannot be used, or a signature in a document is not valid.
    """
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange.header_files import load_header
    from vnedoc.exchange.models import StatusHeader
    from vnedoc.exchange.package import DIALECTS, write_package
    from vnedoc.exchange.packing import arrange

    header = load_header(header_path)
    if isinstance(header, StatusHeader):
        raise UsageError("package.header-is-status")
    if output.resolve() in {path.resolve() for path in (*files, header_path)}:
        raise UsageError("package.would-overwrite", path=output)
    if not header.trace:
        header = header.with_trace(header.sender.organ_id, at=utc_now())
    attachments = arrange(files, keep_names=given["keep_names"])
    unsigned: tuple[PackageFinding, ...] = ()
    if not given["accept_unverified"]:
        unsigned = look_at_files(state, header_path, header, files, given)
    with _signer(state, given) as signer:
        written = write_package(header, attachments, output, dialect=DIALECTS[dialect], signer=signer)
    return header, written, unsigned


@contextlib.contextmanager
def _signer(state: CLIState, given: Mapping[str, Any]) -> Iterator[Signer | None]:  # click's values
    if given["signer_uri"] is None:
        yield None
        return
    with open_asked_signer(state, given) as signer:
        yield signer


def _signature(
    package: Package, verifying: VerificationMeans, directory: AgencyDirectory | None, sender: str | None
) -> PackageSignatureReport:
    from vnedoc.exchange.verification import verify_origin
    from vnedoc.sign.trust import TrustStore

    return verify_origin(
        package,
        trust=verifying.trust or TrustStore(()),
        directory=directory,
        sender=sender,
        revocation=verifying.revocation,
    )


def _signature_code(report: PackageSignatureReport, sender: str | None) -> ExitCode:
    if report.conclusion == "TOTAL-FAILED":
        return ExitCode.NO
    # No signature, and one by a signer who is not known here, is nothing that a package can be blamed for; but it
    # proves nothing to somebody who asked.
    return report.exit_code if sender is not None else ExitCode.DONE


def _signature_line(state: CLIState, report: PackageSignatureReport) -> str:
    from vnedoc.sign.reports.text import printable

    label = state.text("package.word-signature")
    sub = f", {report.sub_indication}" if report.sub_indication else ""
    name = f", {printable(report.signer.common_name)}" if report.signer else ""
    word = state.text(f"package.signature-{report.form.value}")
    line = f"{label}: {word} ({report.conclusion.value}{sub}){name}"
    if report.sender is None:
        return line
    sender = state.text(
        "verify.line-sender", organ_id=report.sender.organ_id, match=report.sender.match.value
    )
    return f"{line}; {sender}"
