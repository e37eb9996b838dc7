"""``vnedoc verify`` in builds: policies, formats, baselines, evidence, many files, quiet logs."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from tests import signed_pdfs
from tests.cli import Outcome, vnedoc
from tests.unit.sign.test_reports import SARIF_SCHEMA
from vnedoc._internal.xml import parse_bytes
from vnedoc.sign import bulk_verification
from vnedoc.sign.bulk_verification import Task, verify_many
from vnedoc.sign.policies import load_policy
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import load_trust

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

ONLINE = ("--allow-host", "127.0.0.1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def roots(pki: TestPKI, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki") / "pki"
    pki.write(folder, passphrase="x")
    return folder


@pytest.fixture
def docs(pki: TestPKI, issued: bytes, tmp_path: Path) -> Path:
    """One good original, one that nobody but the agency signed, one changed, one without signature."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "issued.pdf").write_bytes(issued)
    agency = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    (folder / "agency.pdf").write_bytes(agency)
    (folder / "changed.pdf").write_bytes(signed_pdfs.revised(agency, signed_pdfs.change_content))
    (folder / "plain.pdf").write_bytes(signed_pdfs.blank())
    return folder


def verify(*arguments: object, roots: Path, lang: str = "en") -> Outcome:
    return vnedoc("verify", *arguments, "--trust", roots, *ONLINE, lang=lang)


@pytest.mark.parametrize(
    ("policy", "name", "code", "errors"),
    [
        ("shipped:vn-issued", "issued.pdf", 0, []),
        ("shipped:vn-copy", "issued.pdf", 0, []),
        ("shipped:any", "issued.pdf", 0, []),
        ("shipped:vn-issued", "agency.pdf", 1, ["policy.not-person-signed"]),
        ("shipped:vn-copy", "agency.pdf", 0, []),
        ("shipped:legacy-g1", "agency.pdf", 0, []),
        ("shipped:any", "plain.pdf", 3, ["verify.no-signature"]),
        ("shipped:vn-issued", "plain.pdf", 3, ["verify.no-signature"]),
    ],
)
def test_policies(docs: Path, roots: Path, policy: str, name: str, code: int, errors: list[str]) -> None:
    outcome = verify(docs / name, "--policy", policy, "--format", "json", roots=roots)
    assert outcome.code == code, outcome
    (file,) = outcome.json()["files"]
    assert [error["id"] for error in file["errors"]] == errors
    assert file["policy"] == policy.removeprefix("shipped:")
    assert outcome.json()["basis"]["trees"] == ["custom"]


def test_a_policy_of_ones_own_with_its_own_words(docs: Path, roots: Path, tmp_path: Path) -> None:
    policy = tmp_path / "our.toml"
    policy.write_text(
        'schema = "vnedoc.policy/1"\nname = "our"\n'
        '[checks]\nperson-signed = { level = "fail", vi = "Lời TEST.", en = "TEST words." }\n',
        encoding="utf-8",
    )
    outcome = verify(docs / "agency.pdf", "--policy", policy, roots=roots, lang="vi")
    assert outcome.code == 1
    assert "Lời TEST." in outcome.out
    policy.write_text('schema = "vnedoc.policy/1"\nname = "our"\ncolour = 1\n', encoding="utf-8")
    outcome = verify(docs / "agency.pdf", "--policy", policy, roots=roots)
    assert outcome.code == 5
    assert "colour" in outcome.err
    assert verify(docs / "agency.pdf", "--policy", "nowhere.toml", roots=roots).code == 5


def test_junit_and_sarif_and_the_exit_code(docs: Path, roots: Path, tmp_path: Path) -> None:
    files = sorted(docs.iterdir())
    junit = verify(*files, "--format", "junit", "-o", tmp_path / "junit.xml", roots=roots)
    assert (junit.code, junit.out) == (1, "")
    suite = parse_bytes((tmp_path / "junit.xml").read_bytes())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "2", "0")
    # Real seconds, more than none for each file.
    times = [float(case.get("time")) for case in suite]
    assert all(0 < time < 60 for time in times)
    assert float(suite.get("time")) == pytest.approx(sum(times), abs=0.01)
    sarif = verify(*files, "--format", "sarif", roots=roots)
    assert sarif.code == 1
    jsonschema.Draft4Validator(SARIF_SCHEMA).validate(sarif.json())
    assert sarif.json()["runs"][0]["invocations"][0]["exitCode"] == 1


def test_a_baseline_lets_the_known_pass_and_shows_the_new(
    pki: TestPKI, docs: Path, roots: Path, tmp_path: Path
) -> None:
    files = sorted(docs.iterdir())
    known = tmp_path / "known.json"
    written = verify(*files, "--write-baseline", known, roots=roots)
    assert written.code == 1
    assert "known.json" in written.err
    passed = verify(*files, "--baseline", known, roots=roots)
    assert passed.code == 0, passed
    assert "TOTAL-FAILED" in passed.out
    # The same fault in a new file counts, and so does another fault in the same file.
    shutil.copy(docs / "changed.pdf", docs / "new.pdf")
    assert verify(*files, docs / "new.pdf", "--baseline", known, roots=roots).code == 1
    (docs / "plain.pdf").write_bytes(signed_pdfs.blank(3))
    assert verify(*files, "--baseline", known, roots=roots).code == 3
    # What is mended needs no entry any more.
    (docs / "plain.pdf").write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    mended = verify(*files, "--baseline", known, roots=roots)
    assert mended.code == 0
    assert "docs/plain.pdf" in mended.err
    assert verify(*files, "--baseline", tmp_path / "nowhere.json", roots=roots).code == 4


def test_evidence_gives_the_same_verdicts_offline(
    pki: TestPKI, docs: Path, roots: Path, tmp_path: Path
) -> None:
    files = sorted(docs.iterdir())
    directory = tmp_path / "directory.json"
    agencies = [{"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST"}]
    directory.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    kept = tmp_path / "evidence"
    asked = ("--policy", "shipped:vn-issued", "--sender", "H99", "--directory", directory, "--format", "json")
    first = verify(*files, *asked, "--evidence", kept, roots=roots)
    assert first.code == 1
    assert "evidence" in first.err
    index = json.loads((kept / "evidence.json").read_text(encoding="utf-8"))
    assert index["schema"] == "vnedoc.evidence/1"
    assert list((kept / "ocsp").iterdir())
    assert list((kept / "certificates").iterdir())
    assert json.loads((kept / "report.json").read_text(encoding="utf-8"))["files"] == first.json()["files"]
    # No server answers any more, and the settings are gone.
    shutil.rmtree(roots)
    directory.unlink()
    with pki.services.failing(ocsp="http-500", crl="http-500"):
        again = vnedoc("verify", *files, "--from-evidence", kept, "--format", "json")
    pki.write(roots, passphrase="x")
    assert again.code == 1
    assert again.json()["files"] == first.json()["files"]
    # A folder that is used is not written over.
    assert verify(*files, "--evidence", kept, roots=roots).code == 2


def test_evidence_does_not_stand_for_another_file(docs: Path, roots: Path, tmp_path: Path) -> None:
    kept = tmp_path / "evidence"
    assert verify(docs / "agency.pdf", "--evidence", kept, roots=roots).code == 0
    other = vnedoc("verify", docs / "issued.pdf", "--from-evidence", kept, "--format", "json")
    assert other.code == 3
    assert "evidence.other-file" in {error["id"] for error in other.json()["files"][0]["errors"]}


def test_evidence_that_was_changed(docs: Path, roots: Path, tmp_path: Path) -> None:
    kept = tmp_path / "evidence"
    assert verify(docs / "agency.pdf", "--evidence", kept, roots=roots).code == 0
    asked = ("verify", docs / "agency.pdf", "--from-evidence", kept)
    assert vnedoc(*asked).code == 0
    assert vnedoc(*asked, "--trust", roots).code == 2
    (kept / "policy.toml").write_bytes((kept / "policy.toml").read_bytes() + b"\n")
    outcome = vnedoc(*asked)
    assert outcome.code == 4
    assert "policy.toml" in outcome.err
    assert vnedoc("verify", docs / "agency.pdf", "--from-evidence", tmp_path / "nowhere").code == 4


def test_many_files_in_processes_keep_their_order(docs: Path, roots: Path, tmp_path: Path) -> None:
    files = []
    for number in range(12):
        for name in ("issued.pdf", "plain.pdf", "changed.pdf"):
            path = tmp_path / f"{number:02}-{name}"
            shutil.copy(docs / name, path)
            files.append(path)
    files.append(tmp_path / "missing.pdf")
    one = verify(*files, "--format", "json", roots=roots)
    several = verify(*files, "--format", "json", "--jobs", 2, roots=roots)
    assert (one.code, several.code) == (1, 1)
    assert [file["path"] for file in several.json()["files"]] == [str(path) for path in files]
    assert several.json()["files"] == one.json()["files"]
    assert not several.err


def test_a_worker_that_dies_gives_a_verdict(docs: Path, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vnedoc._internal import workers

    monkeypatch.setattr(workers, "_PROGRAM", "raise SystemExit")
    outcome = verify(*sorted(docs.iterdir()), "--jobs", 2, "--format", "json", roots=roots)
    assert outcome.code == 3
    found = outcome.json()["files"]
    assert [file["conclusion"] for file in found] == ["INDETERMINATE"] * 4
    assert {error["id"] for file in found for error in file["errors"]} == {"verify.worker-died"}


@pytest.mark.parametrize("given", [(), ("--jobs", 2)])
def test_one_file_is_read_in_a_process_of_its_own(
    docs: Path, roots: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[object, ...]
) -> None:
    from vnedoc._internal import workers

    # The process starts, gets ready, and dies of the file.
    dying = workers._PROGRAM.replace("serve()", "import os, vnedoc.sign.verification as v")
    monkeypatch.setattr(
        workers, "_PROGRAM", dying + "\nv.verify_files = lambda *_, **__: os._exit(9)\nserve()\n"
    )
    outcome = verify(docs / "agency.pdf", *given, "--format", "json", roots=roots)
    (found,) = outcome.json()["files"]
    assert (outcome.code, found["conclusion"]) == (3, "INDETERMINATE")
    assert [error["id"] for error in found["errors"]] == ["verify.worker-died"]


def test_what_takes_too_long_is_stopped(docs: Path, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_verification, "SECONDS_PER_MB", 0.0)
    anchors, intermediates = Task.pack_trust(load_trust(str(roots)))
    policy = load_policy("shipped:any")
    from vnedoc._internal.clock import utc_now

    task = Task(anchors=anchors, intermediates=intermediates, policy=policy, at=utc_now())
    found = verify_many(sorted(docs.iterdir()), task, jobs=2)
    assert {item.report.conclusion for item in found} == {Conclusion.INDETERMINATE}
    assert {error.id for item in found for error in item.report.errors} == {"verify.worker-slow"}


def test_in_ci_nobody_is_asked_unless_somebody_says_so(
    docs: Path, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("verify", docs / "agency.pdf", "--trust", roots)
    monkeypatch.setenv("CI", "true")
    quiet = vnedoc(*asked)
    assert quiet.code == 3
    assert "--online" in quiet.err
    assert vnedoc(*asked, *ONLINE).code == 0
    # Loopback is a private address: --online alone does not open it.
    assert vnedoc(*asked, "--online").code == 3


def _bytes_of(process: subprocess.Popen[bytes], terminal: int) -> bytes:
    found = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        found += piece
    process.wait()
    return found


def test_progress_is_for_terminals_only(docs: Path, roots: Path) -> None:
    files = sorted(docs.iterdir())
    program = Path(sys.executable).with_name("vnedoc")
    command = [program, "--lang", "en", "verify", *files, "--trust", roots, "--offline"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("CI", None)
    log = subprocess.run(command, capture_output=True, env=environment)
    assert log.stderr == b""
    assert b"TOTAL-FAILED" in log.stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = _bytes_of(process, ours)
    os.close(ours)
    assert b"Verifying" in shown
    assert b"4/4" in shown


def test_the_hook_for_pre_commit_runs_as_it_is_written(docs: Path, roots: Path) -> None:
    text = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    hook = dict(re.findall(r"^(?:- |  )(\w+): (.+)$", text, re.MULTILINE))
    assert set(hook) >= {"id", "name", "entry", "language", "files"}
    assert all(re.search(hook["files"], name) for name in ("docs/a.pdf", "b.edxml"))
    assert not re.search(hook["files"], "a.pdf.txt")
    program, *arguments = hook["entry"].split()
    assert program == "vnedoc"
    # pre-commit puts the arguments of the user behind the entry, and the files last.
    assert vnedoc(*arguments, "--trust", roots, *sorted(docs.iterdir())).code == 1
    assert vnedoc(*arguments, "--trust", roots, docs / "plain.pdf").code == 3


def test_lists_are_kept_and_used_again(pki: TestPKI, docs: Path, roots: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    asked = (docs / "agency.pdf", "--crl-cache", cache)
    with pki.services.failing(ocsp="http-500"):
        assert verify(*asked, roots=roots).code == 0
    assert list(cache.iterdir())
    with pki.services.failing(ocsp="http-500", crl="http-500"):
        assert verify(*asked, roots=roots).code == 0
        assert verify(docs / "agency.pdf", roots=roots).code == 3


def test_no_other_servers_are_asked_but_those_that_are_named(docs: Path, roots: Path, tmp_path: Path) -> None:
    asked = ("verify", docs / "agency.pdf", "--trust", roots, "--online", "--format", "json")
    outcome = vnedoc(*asked, "--only-host", "ocsp.test.example")
    assert outcome.code == 3
    assert "not among those to be asked" in outcome.out
    named = (*asked, "--only-host", "ocsp.test.example", *ONLINE)
    assert vnedoc(*named, "--evidence", tmp_path / "kept").code == 0
    replayed = ("verify", docs / "agency.pdf", "--from-evidence", tmp_path / "kept")
    assert vnedoc(*replayed).code == 0
    assert vnedoc(*replayed, "--only-host", "ocsp.test.example").code == 2
