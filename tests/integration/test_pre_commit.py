"""The hook for pre-commit, run by pre-commit itself in a repository made for the test.

Its own environment would be installed from a package index; here the installed ``vnedoc`` runs instead, so that the
test works offline. Everything else is the definition as it is shipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.signed_pdfs import blank

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.needs("git"), pytest.mark.needs("pre-commit")]

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
BIN = Path(sys.executable).parent
CONFIG = """\
repos:
  - repo: {hooks}
    rev: v0
    hooks:
      - id: vnedoc-verify
        language: system
        args: [--trust, trust.pem, --at, "2026-07-01T00:00:00Z", --policy, policy.toml]
        files: ^documents/.*\\.(pdf|edxml)$
"""
POLICY = 'schema = "vnedoc.policy/1"\nname = "test"\n[demands]\nrevocation = "ignore"\n'


@pytest.fixture
def commit(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what commits files to a repository that has the hook."""
    environment = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "VNEDOC_LANG": "en",
        # No server is there: an attempt to install something would fail.
        "PIP_NO_INDEX": "1",
    }

    def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    def git(folder: Path, *arguments: str) -> None:
        identity = ("-c", "user.name=TEST", "-c", "user.email=test@example.test")
        found = run(folder, "git", *identity, *arguments)
        assert found.returncode == 0, found.stderr

    hooks, work = tmp_path / "hooks", tmp_path / "work"
    for folder in (hooks, work):
        folder.mkdir()
        git(folder, "init", "--quiet")
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    git(hooks, "add", ".")
    git(hooks, "commit", "--quiet", "-m", "TEST")
    git(hooks, "tag", "v0")
    (work / ".pre-commit-config.yaml").write_text(CONFIG.format(hooks=hooks), encoding="utf-8")
    (work / "policy.toml").write_text(POLICY, encoding="utf-8")
    shutil.copy(VECTORS / "trust.pem", work)
    (work / "documents").mkdir()
    installed = run(work, "pre-commit", "install")
    assert installed.returncode == 0, installed.stderr

    def committed(**files: bytes) -> subprocess.CompletedProcess[str]:
        for name, content in files.items():
            (work / "documents" / f"{name}.pdf").write_bytes(content)
        git(work, "add", ".")
        return run(
            work, "git", "-c", "user.name=TEST", "-c", "user.email=t@example.test", "commit", "-m", "TEST"
        )

    return committed


def test_a_sound_document_is_committed(commit: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    found = commit(good=(VECTORS / "honest" / "once" / "document.pdf").read_bytes())
    assert found.returncode == 0, found.stdout + found.stderr
    assert "verify signed documents" in found.stderr
    assert "Passed" in found.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (blank(), "NO-SIGNATURE"),
        ((VECTORS / "attacks" / "shadow-hide-object" / "document.pdf").read_bytes(), "TOTAL-FAILED"),
    ],
)
def test_a_document_that_does_not_pass_stops_the_commit(
    content: bytes, said: str, commit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    found = commit(good=(VECTORS / "honest" / "once" / "document.pdf").read_bytes(), bad=content)
    assert found.returncode != 0
    assert said in found.stderr
    assert "Failed" in found.stderr
