"""Known old findings that a build lets pass, without hiding new ones.

A baseline names files by path and SHA-256, and for each what is wrong with it. A file is let pass only if it is the
same file, byte for byte, and nothing is wrong with it that was not wrong before. The report still shows its verdict.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from vnedoc._internal import files
from vnedoc.errors import InputError
from vnedoc.sign.report import Conclusion

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vnedoc.sign.report import FileReport

__all__ = ["Baseline", "KnownFile", "load_baseline", "write_baseline"]

SCHEMA = "vnedoc.baseline/1"
MAX_BASELINE_BYTES = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class KnownFile:
    """What was known about one file."""

    path: str
    """Its path, relative to the folder of the baseline, with slashes."""
    sha256: str
    """SHA-256 of its bytes."""
    conclusion: str
    """The verdict that was accepted."""
    findings: frozenset[tuple[str, str]]
    """What was wrong: the field, empty for the file itself, and the id."""


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """Known findings of many files."""

    folder: Path
    """What the paths are relative to."""
    known: tuple[KnownFile, ...]
    """The files."""

    def mark(self, report: FileReport) -> FileReport:
        """Return a report that says whether all that is wrong was known."""
        if report.conclusion is Conclusion.TOTAL_PASSED or report.sha256 is None:
            return report
        path = _relative(report.path, self.folder)
        known = any(
            entry.path == path
            and entry.sha256 == report.sha256
            and entry.conclusion == report.conclusion.value
            and _findings(report) <= entry.findings
            for entry in self.known
        )
        return dataclasses.replace(report, in_baseline=True) if known else report

    def outdated(self, reports: Iterable[FileReport]) -> tuple[str, ...]:
        """Return the paths of files that were looked at and need no exception any more."""
        looked_at = {
            _relative(report.path, self.folder): report for report in reports if not report.in_baseline
        }
        return tuple(sorted({entry.path for entry in self.known if entry.path in looked_at}))


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        InputError: It cannot be read, or is none.
    """
    content = files.read_bytes(path, max_bytes=MAX_BASELINE_BYTES)
    try:
        document = json.loads(content)
        if document["schema"] != SCHEMA:
            raise InputError("baseline.bad-schema", path=path, schema=SCHEMA)
        known = tuple(
            KnownFile(
                path=str(entry["path"]),
                sha256=str(entry["sha256"]),
                conclusion=Conclusion(entry["conclusion"]).value,
                findings=frozenset((str(item["field"]), str(item["id"])) for item in entry["findings"]),
            )
            for entry in document["files"]
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError("baseline.malformed", path=path, reason=f"{type(exc).__name__}: {exc}") from exc
    return Baseline(path.resolve().parent, known)


def write_baseline(path: Path, reports: Iterable[FileReport]) -> int:
    """Write what is wrong with files now, so that it is known next time.

    Files that passed need no entry; a file that could not be read can have none.

    Returns:
        The number of files in the baseline.

    Raises:
        InputError: It cannot be written.
    """
    folder = path.resolve().parent
    entries = [
        {
            "path": _relative(report.path, folder),
            "sha256": report.sha256,
            "conclusion": report.conclusion.value,
            "findings": [{"field": field, "id": name} for field, name in sorted(_findings(report))],
        }
        for report in reports
        if report.conclusion is not Conclusion.TOTAL_PASSED and report.sha256 is not None
    ]
    entries.sort(key=lambda entry: str(entry["path"]))
    text = json.dumps({"schema": SCHEMA, "files": entries}, ensure_ascii=False, indent=2)
    files.write_bytes(path, f"{text}\n".encode())
    return len(entries)


def _findings(report: FileReport) -> frozenset[tuple[str, str]]:
    own = {("", finding.id) for finding in report.errors}
    return frozenset(
        own | {(item.field, finding.id) for item in report.signatures for finding in item.errors}
    )


def _relative(path: str, folder: Path) -> str:
    # The same file may be named in several ways; a build runs in another folder than the one who wrote the baseline.
    return os.path.relpath(os.path.abspath(path), folder).replace(os.sep, "/")  # noqa: PTH100 - links stay as they are
