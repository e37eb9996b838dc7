"""A verification report as JUnit XML, as GitLab and Jenkins read it: one test case a file.

A file that TOTAL-FAILED, is INDETERMINATE or has no signature is a failure; one that cannot be read is an error; one
whose findings are all in the baseline is skipped. There is no attribute that the schema ``junit-10.xsd`` of Jenkins'
xUnit plugin does not know; the path is the name of the case, which is what GitLab shows and compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from vnedoc import messages
from vnedoc.sign.report import Conclusion, FileReport, VerificationReport
from vnedoc.sign.reports.text import printable, render_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["render_junit"]

SUITE = "vnedoc.verify"


def render_junit(
    report: VerificationReport, *, language: messages.Language | str = messages.Language.EN
) -> str:
    """Return a report as JUnit XML."""
    counts = _counts(report.files)
    root = etree.Element("testsuites", {"name": "vnedoc", **counts})
    suite = etree.SubElement(root, "testsuite", {"name": SUITE, **counts, "skipped": _skipped(report.files)})
    if report.basis is not None:
        suite.set("timestamp", report.basis.at.replace(tzinfo=None).isoformat(timespec="seconds"))
    for file in report.files:
        _case(suite, file, language)
    text = etree.tostring(root, encoding="unicode", pretty_print=True)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text


def _counts(files: Sequence[FileReport]) -> dict[str, str]:
    counted = [file for file in files if not file.in_baseline]
    errors = sum(file.conclusion is Conclusion.UNREADABLE for file in counted)
    failures = sum(file.conclusion is not Conclusion.TOTAL_PASSED for file in counted) - errors
    return {
        "tests": str(len(files)),
        "failures": str(failures),
        "errors": str(errors),
        "time": _seconds(sum(file.seconds or 0.0 for file in files)),
    }


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _skipped(files: Sequence[FileReport]) -> str:
    return str(sum(file.in_baseline for file in files))


def _case(suite: etree._Element, file: FileReport, language: messages.Language | str) -> None:
    path = printable(file.path)
    case = etree.SubElement(suite, "testcase", classname=SUITE, name=path, time=_seconds(file.seconds or 0.0))
    lines = printable(render_text(VerificationReport((file,)), language=language), keep="\n", limit=None)
    if file.in_baseline:
        etree.SubElement(case, "skipped", message=messages.text("baseline.known", language))
    elif file.conclusion is not Conclusion.TOTAL_PASSED:
        errors = file.all_errors()
        reason = printable(errors[0].text(language)) if errors else file.conclusion.value
        kind = "error" if file.conclusion is Conclusion.UNREADABLE else "failure"
        problem = etree.SubElement(
            case, kind, message=f"{file.conclusion.value}: {reason}", type=file.conclusion.value
        )
        problem.text = lines
        return
    etree.SubElement(case, "system-out").text = lines
