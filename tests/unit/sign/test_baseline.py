"""A baseline lets known findings of the same file pass, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.unit.sign.test_report import SIGNATURE
from vnedoc.errors import ExitCode, InputError
from vnedoc.sign.baseline import load_baseline, write_baseline
from vnedoc.sign.report import Conclusion, FileReport, Finding, VerificationReport


def report(path: Path, *errors: str, sha256: str | None = "ab" * 32) -> FileReport:
    signature = dataclasses.replace(SIGNATURE, errors=(Finding("verify.hash-failure"),))
    return FileReport(
        str(path),
        Conclusion.TOTAL_FAILED,
        True,
        None,
        (signature,),
        errors=tuple(Finding(error) for error in errors),
        sha256=sha256,
    )


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A baseline of one file with two findings."""
    path = tmp_path / "ci" / "known.json"
    path.parent.mkdir()
    assert write_baseline(path, [report(tmp_path / "docs" / "a.pdf", "verify.stray-bytes")]) == 1
    return path


def exit_code(*files: FileReport) -> ExitCode:
    return VerificationReport(files).exit_code


def test_what_was_known_passes_and_is_still_shown(known: Path, tmp_path: Path) -> None:
    same = load_baseline(known).mark(report(tmp_path / "docs" / "a.pdf", "verify.stray-bytes"))
    assert same.in_baseline
    assert same.conclusion is Conclusion.TOTAL_FAILED
    assert exit_code(same) is ExitCode.DONE
    VerificationReport((same,)).raise_for_status()


def test_one_finding_less_passes_too(known: Path, tmp_path: Path) -> None:
    assert load_baseline(known).mark(report(tmp_path / "docs" / "a.pdf")).in_baseline


@pytest.mark.parametrize(
    "change",
    [
        {"errors": (Finding("verify.no-signature"),)},
        {"sha256": "cd" * 32},
        {"sha256": None},
        {"conclusion": Conclusion.INDETERMINATE},
        {"signatures": (dataclasses.replace(SIGNATURE, errors=(Finding("verify.revoked"),)),)},
        {
            "signatures": (
                dataclasses.replace(SIGNATURE, field="Other", errors=(Finding("verify.hash-failure"),)),
            )
        },
    ],
)
def test_anything_new_does_not_pass(known: Path, tmp_path: Path, change: dict[str, object]) -> None:
    before = report(tmp_path / "docs" / "a.pdf", "verify.stray-bytes")
    marked = load_baseline(known).mark(dataclasses.replace(before, **change))  # type: ignore[arg-type] # any field
    assert not marked.in_baseline
    assert exit_code(marked) is not ExitCode.DONE


def test_another_file_with_the_same_fault_does_not_pass(known: Path, tmp_path: Path) -> None:
    other = load_baseline(known).mark(report(tmp_path / "docs" / "b.pdf", "verify.stray-bytes"))
    assert not other.in_baseline


def test_paths_are_relative_to_the_baseline(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(known.read_text(encoding="utf-8"))["files"][0]["path"] == "../docs/a.pdf"
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    assert load_baseline(known).mark(report(Path("a.pdf"), "verify.stray-bytes")).in_baseline


def test_a_file_that_passes_needs_no_entry(known: Path, tmp_path: Path) -> None:
    good = dataclasses.replace(
        report(tmp_path / "docs" / "a.pdf"), conclusion=Conclusion.TOTAL_PASSED, signatures=()
    )
    baseline = load_baseline(known)
    assert not baseline.mark(good).in_baseline
    assert baseline.outdated([baseline.mark(good)]) == ("../docs/a.pdf",)
    assert baseline.outdated([]) == ()
    assert write_baseline(tmp_path / "b.json", [good, report(tmp_path / "c.pdf", sha256=None)]) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": "vnedoc.baseline/1"}',
        b'{"schema": "vnedoc.baseline/2", "files": []}',
        b'{"schema": "vnedoc.baseline/1", "files": [{}]}',
        b'{"schema": "vnedoc.baseline/1", "files": [{"path": "a", "sha256": "b", "conclusion": "?"}]}',
        b"\xff",
    ],
)
def test_what_is_no_baseline(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "known.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_baseline(path)
    assert caught.value.text("vi")
    with pytest.raises(InputError):
        load_baseline(tmp_path / "nowhere.json")
