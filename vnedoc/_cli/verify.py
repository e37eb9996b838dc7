"""``vnedoc verify``."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._outputs import file_option
from vnedoc._cli._verification import document_password, document_password_option
from vnedoc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vnedoc._cli.main import CLIState
    from vnedoc.agencies import AgencyDirectory
    from vnedoc.sign._crew import VerificationCrew
    from vnedoc.sign.bulk_verification import Judged, Task
    from vnedoc.sign.evidence import Evidence
    from vnedoc.sign.report import FileReport, VerificationReport
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["verify"]

PACKAGE_SUFFIX = ".edxml"
MAX_DIRECTORY_BYTES = 256 * 1024 * 1024
FORMATS = ("text", "json", "junit", "sarif", "html", "etsi-xml")


@click.command(short_help="Verify the signatures of PDFs and packages, and who sent them.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trust_sources",
    metavar="SRC",
    multiple=True,
    help="PEM file, folder, shipped:vn-government or shipped:vn-national; there is no default.",
)
@click.option(
    "--policy",
    metavar="FILE",
    help="Policy file, or shipped:vn-issued, shipped:vn-copy, shipped:legacy-g1; default: shipped:any.",
)
@click.option("--at", metavar="TIME", help="Verify as of this time (ISO 8601; without a zone: Vietnam).")
@click.option(
    "--online/--offline",
    default=None,
    help="Ask servers about revocation, or only use the file's own data and --crl. Default: online; in CI offline.",
)
@file_option("--crl", "crl_paths", multiple=True, help="A CRL.")
@file_option(
    "--crl-cache", metavar="DIR", help="Keep fetched CRLs there for a day, and use those that are there."
)
@click.option(
    "--fetch-issuers",
    is_flag=True,
    help="Fetch certificates that miss in a chain from where the certificates say; needs --online in CI.",
)
@click.option("--sender", metavar="ORGANID", help="The agency that is said to have sent the document.")
@file_option("--directory", "directory_path", help="The agency directory.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="HOST",
    multiple=True,
    help="Revocation server that may be asked although its address is private; implies --online.",
)
@click.option(
    "--only-host",
    "only_hosts",
    metavar="HOST",
    multiple=True,
    help="Ask no other server but these and those of --allow-host.",
)
@document_password_option
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Processes."
)
@file_option("--baseline", "baseline_path", help="Known findings that do not count.")
@file_option("--write-baseline", help="Write what is wrong now.")
@file_option(
    "--evidence", "evidence_path", metavar="DIR", help="Keep what was used to decide in a new folder."
)
@file_option(
    "--from-evidence", "replayed_path", metavar="DIR", help="Decide once more from such a folder, offline."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@file_option("-o", "--output", help="Write the report to a file.")
@click.pass_obj
def verify(
    state: CLIState, /, paths: tuple[Path, ...], **given: Any
) -> int:  # the options, as click names them
    """Verify the signatures of PDFs, and whether the signer is the sender.

    Of an .edxml package every PDF is verified, its own signature if it has one, and with a directory whether the
    sender that it names is the agency that signed.

    \b
    Exit codes: 0 every file passed · 1 a signature is not valid or not the sender's ·
    3 it cannot be told, or there is no signature · 4 a file cannot be read ·
    5 trust, policy, directory or settings are wrong. Of many files the gravest counts.
    """
    from vnedoc.sign._crew import verification_crew

    # Whatever a file does to the process that reads it, the others and this one go on. The first process gets ready
    # while everything else is read here.
    with verification_crew(jobs=given["jobs"]) as crew:
        crew.warm_up()
        return _verify(state, paths, crew, given)


def _verify(
    state: CLIState, paths: Sequence[Path], crew: VerificationCrew, given: dict[str, Any]
) -> int:  # click's values
    from vnedoc._internal import files
    from vnedoc.sign.baseline import load_baseline, write_baseline
    from vnedoc.sign.evidence import check_folder, load_evidence, write_evidence
    from vnedoc.sign.report import VerificationReport

    if given["evidence_path"] is not None:
        check_folder(given["evidence_path"])
    replayed = load_evidence(given["replayed_path"]) if given["replayed_path"] is not None else None
    question = _question(state, given) if replayed is None else _replayed_question(replayed, given)
    baseline = load_baseline(given["baseline_path"]) if given["baseline_path"] is not None else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-")))
        judged, places = _judge_all(state, paths, question, folder, crew, given)
        reports = [_finished(item.report, replayed) for item in judged]
        if baseline is not None:
            reports = [baseline.mark(report) for report in reports]
        report = VerificationReport(tuple(reports), question.basis())
        text = _render(state, report, given["form"], places, question.task.password)
    if given["output"] is None:
        click.echo(text, nl=False)
    else:
        files.write_bytes(given["output"], text.encode("utf-8"))
    if given["evidence_path"] is not None:
        write_evidence(given["evidence_path"], question.evidence(judged), report)
        click.echo(state.text("evidence.written", path=given["evidence_path"]), err=True)
    if baseline is not None:
        for path in baseline.outdated(reports):
            click.echo(state.text("baseline.outdated", path=path), err=True)
    if given["write_baseline"] is not None:
        count = write_baseline(given["write_baseline"], reports)
        click.echo(state.text("baseline.written", path=given["write_baseline"], count=count), err=True)
    return int(report.exit_code)


@dataclasses.dataclass(frozen=True)
class _Question:
    """What is asked, and the bytes it was read from."""

    task: Task
    policy: bytes
    directory: AgencyDirectory | None
    directory_bytes: bytes | None

    def basis(self) -> Any:  # a Basis; the module loads on demand
        from vnedoc._internal.version import VERSION
        from vnedoc.sign.report import Basis
        from vnedoc.sign.trust import fingerprint

        anchors = self.task.trust().anchors
        return Basis(
            at=self.task.at,
            policy=self.task.policy.name,
            trees=tuple(dict.fromkeys(anchor.tree.value for anchor in anchors)),
            anchors=tuple(fingerprint(anchor.certificate) for anchor in anchors),
            online=self.task.online,
            version=VERSION,
        )

    def evidence(self, judged: Sequence[Judged]) -> Evidence:
        from cryptography import x509

        from vnedoc.sign.evidence import Evidence, merged

        sender = self.task.sender
        ders = dict.fromkeys(der for item in judged for der in item.certificates)
        return Evidence(
            at=self.task.at,
            trust=self.task.trust(),
            policy=self.policy,
            inquiries=self.task.recorded or merged(item.inquiries for item in judged),
            crls=self.task.crls,
            certificates=tuple(x509.load_der_x509_certificate(der) for der in ders),
            sender=None if sender is None else (sender.organ_id, sender.required),
            directory=self.directory_bytes,
        )


def _question(state: CLIState, given: dict[str, Any]) -> _Question:  # click's values
    from vnedoc._internal import clock, files
    from vnedoc.agencies import parse_directory
    from vnedoc.sign.bulk_verification import Task
    from vnedoc.sign.policies import parse_policy, read_policy
    from vnedoc.sign.revocation import load_crl
    from vnedoc.sign.senders import ExpectedSender
    from vnedoc.sign.trust import load_trust

    at = clock.parse_time(given["at"]) if given["at"] is not None else clock.utc_now()
    trust = load_trust(*(given["trust_sources"] or state.config().trust))
    policy_name = given["policy"] or "shipped:any"
    policy_bytes = read_policy(policy_name)
    policy = parse_policy(policy_bytes, name=policy_name)
    path = given["directory_path"] or state.config().directory
    content = files.read_bytes(path, max_bytes=MAX_DIRECTORY_BYTES) if path is not None else None
    directory = parse_directory(content, name=str(path)) if content is not None else None
    sender = None
    if given["sender"] is not None:
        if directory is None:
            raise UsageError("verify.needs-directory")
        sender = ExpectedSender(given["sender"], directory, policy.sender_match)
        sender.check_known()
    anchors, intermediates = Task.pack_trust(trust)
    task = Task(
        anchors=anchors,
        intermediates=intermediates,
        policy=policy,
        at=at,
        sender=sender,
        crls=tuple(load_crl(path) for path in given["crl_paths"]),
        online=_is_online(state, given),
        crl_cache=given["crl_cache"],
        fetch_issuers=given["fetch_issuers"],
        allowed_hosts=(*given["allowed_hosts"], *state.config().verification.allowed_hosts),
        only_hosts=given["only_hosts"],
        password=document_password(given["document_password_env"]),
    )
    return _Question(task, policy_bytes, directory, content)


def _is_online(state: CLIState, given: dict[str, Any]) -> bool:  # click's values
    if given["online"] is not None:
        return bool(given["online"])
    # A build must not depend on what a server says today, unless somebody asked for that.
    named = given["allowed_hosts"] or state.config().verification.allowed_hosts
    if os.environ.get("CI", "").casefold() in {"true", "1"} and not named:
        click.echo(state.text("verify.asks-nobody"), err=True)
        return False
    return True


def _replayed_question(evidence: Evidence, given: dict[str, Any]) -> _Question:  # click's values
    from vnedoc.sign.bulk_verification import Task

    for name, option in (
        ("trust_sources", "--trust"),
        ("policy", "--policy"),
        ("at", "--at"),
        ("online", "--online"),
        ("crl_paths", "--crl"),
        ("crl_cache", "--crl-cache"),
        ("fetch_issuers", "--fetch-issuers"),
        ("sender", "--sender"),
        ("directory_path", "--directory"),
        ("allowed_hosts", "--allow-host"),
        ("only_hosts", "--only-host"),
    ):
        if given[name]:
            raise UsageError("evidence.conflict", option=option)
    anchors, intermediates = Task.pack_trust(evidence.trust)
    task = Task(
        anchors=anchors,
        intermediates=intermediates,
        policy=evidence.parsed_policy(),
        at=evidence.at,
        sender=evidence.expected_sender(),
        crls=evidence.crls,
        recorded=evidence.inquiries,
        password=document_password(given["document_password_env"]),
    )
    return _Question(task, evidence.policy, evidence.agency_directory(), evidence.directory)


def _finished(report: FileReport, replayed: Evidence | None) -> FileReport:
    from vnedoc.sign.evidence import compare_with_evidence

    return report if replayed is None else compare_with_evidence(report, replayed)


def _judge_all(
    state: CLIState,
    paths: Sequence[Path],
    question: _Question,
    folder: Path,
    crew: VerificationCrew,
    given: dict[str, Any],  # click's values
) -> tuple[list[Judged], dict[str, Path]]:
    """Verify everything, in the order in which it was named; also say where the PDFs of packages lie."""
    from vnedoc.sign.bulk_verification import verify_many

    keep_evidence = given["evidence_path"] is not None
    plain = [path for path in paths if path.suffix.casefold() != PACKAGE_SUFFIX]
    found: list[Judged] = []
    places: dict[str, Path] = {}
    with _progress(state, len(paths)) as tell:
        answers = iter(
            verify_many(plain, question.task, crew=crew, keep_evidence=keep_evidence, on_done=tell)
        )
        for number, path in enumerate(paths):
            if path.suffix.casefold() != PACKAGE_SUFFIX:
                found.append(next(answers))
                continue
            from vnedoc.exchange.verification import verify_package

            package = verify_package(
                path,
                folder=folder / str(number),
                task=question.task,
                directory=question.directory,
                crew=crew,
                keep_evidence=keep_evidence,
            )
            found += package.judged
            places |= package.paths
            tell(package.judged[0].report)
    return found, places


@contextlib.contextmanager
def _progress(state: CLIState, count: int) -> Iterator[Callable[[FileReport], None]]:
    # A bar is for people who wait; in a log it would be noise.
    if count < 2 or state.verbosity < 0 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(state.text("verify.progress"), total=count)
        yield lambda _: bar.advance(task)


def _render(
    state: CLIState,
    report: VerificationReport,
    form: str,
    places: dict[str, Path],
    password: SecretCallback | None,
) -> str:
    language = state.language
    match form:
        case "json":
            from vnedoc.sign.reports.json import render_json

            return render_json(report, language=language)
        case "junit":
            from vnedoc.sign.reports.junit import render_junit

            return render_junit(report, language=language)
        case "sarif":
            from vnedoc.sign.reports.sarif import render_sarif

            return render_sarif(report, language=language)
        case "etsi-xml":
            from vnedoc.sign.reports.etsi import render_etsi

            return render_etsi(report, language=language)
        case "html":
            from vnedoc.sign.reports.html import render_html
            from vnedoc.sign.reports.pictures import draw_pages

            pictures = draw_pages(report.files, places, password=password)
            return render_html(report, language=language, pictures=pictures)
        case _:
            from vnedoc.sign.reports.text import render_text

            return render_text(report, language=language)
