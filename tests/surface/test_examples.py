"""The examples run as a newcomer runs them, without a warning, and use public names only."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))
EXPECTED = {
    "01_make_a_test_pki.py": "time-stamps at http://127.0.0.1:",
    "02_sign_as_leader.py": "PAdES-B-T, field vnedoc-approve-1, page 2",
    "03_number_and_issue.py": "36.0 mm wide",
    "04_sign_an_appendix.py": "phu-luc-ngang.pdf: page 1",
    "05_verify.py": "one byte changed: TOTAL-FAILED",
    "06_pack_and_unpack.py": "phu-luc.pdf: 67375 bytes, unchanged",
    "07_send_and_receive.py": "received 15/QĐ-UBND: accepted",
    "08_reply_and_status.py": "statuses: 01, 03",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_example(name: str) -> None:
    outcome = subprocess.run([sys.executable, "-W", "error", FOLDER / name], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    assert EXPECTED[name] in outcome.stdout


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_examples_use_public_names_only(path: Path) -> None:
    imported = re.findall(
        r"(?:from|import) (vnedoc[\w.]*)(?: import ([\w, ]+))?", path.read_text(encoding="utf-8")
    )
    for module, names in imported:
        assert not any(part.startswith("_") for part in module.split(".")), module
        assert not any(name.strip().startswith("_") for name in names.split(",")), names


def test_every_example_is_in_the_list() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"`(\d\d_\w+\.py)`", readme)) == SCRIPTS
