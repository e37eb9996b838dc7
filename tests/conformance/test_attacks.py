"""Every vector of ``tests/vectors`` ends in the verdict that its case says, and shows what the attack is about."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from tests.vectors import make_attacks
from tests.vectors.attack import Attack
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

VECTORS = Path(make_attacks.__file__).parent
FOLDERS = sorted(
    path.parent for kind in ("attacks", "honest") for path in (VECTORS / kind).rglob("case.json")
)
MAX_CORPUS_BYTES = 3 * 1024 * 1024
COMMANDS = {
    "pdftotext": ["pdftotext", "-layout", "{}", "-"],
    "pdfsig": ["pdfsig", "-nocert", "{}"],
    "qpdf": ["qpdf", "--check", "{}"],
}
# How often each published attack is there, at least.
FAMILIES = {
    "usf-": 7,
    "isa-": 9,
    "swa-": 5,
    "shadow-hide": 1,
    "shadow-replace": 1,
    "shadow-swap": 1,
    "eaa-": 1,
    "ssa-": 1,
}

# What zlib and qpdf make depends on their builds; everything else is written byte for byte.
BY_OTHERS = {
    "attacks/bomb-object-stream",
    "attacks/hybrid-reference",
    "attacks/object-stream-clobber",
    "attacks/saved-anew",
    "honest/cross-reference-stream",
}

# Revocation is another matter; the vectors bring no data for it.
POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE)


def name_of(folder: Path) -> str:
    return folder.relative_to(VECTORS).as_posix()


@pytest.fixture(scope="module")
def trust() -> TrustStore:
    return TrustStore.from_certificates(x509.load_pem_x509_certificates((VECTORS / "trust.pem").read_bytes()))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_verdict(folder: Path, trust: TrustStore) -> None:
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    at = datetime.datetime.fromisoformat(case["validation_time"])
    (report,) = verify_pdf(folder / make_attacks.FILE, trust=trust, policy=POLICY, at=at).files
    expected = case["expected"]
    errors = {finding.id for finding in report.all_errors()}
    warnings = {finding.id for finding in report.warnings}
    warnings |= {finding.id for signature in report.signatures for finding in signature.warnings}
    assert (report.conclusion.value, errors) == (expected["conclusion"], errors | set(expected["errors"]))
    assert set(expected["warnings"]) <= warnings
    if folder.parent.name == "attacks":
        assert report.conclusion is not Conclusion.TOTAL_PASSED
        assert errors, "a verdict without a reason"


@pytest.mark.needs("pdftotext")
@pytest.mark.needs("pdfsig")
@pytest.mark.needs("qpdf")
@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_second_tool_sees_what_the_attack_shows(folder: Path) -> None:
    second = json.loads((folder / "case.json").read_text(encoding="utf-8"))["second_tool"]
    command = [part.format(folder / make_attacks.FILE) for part in COMMANDS[second["tool"]]]
    done = subprocess.run(command, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode("utf-8", errors="replace")
    for words in second["shows"]:
        assert words in said
    for words in second["shows_not"]:
        assert words not in said


@pytest.mark.parametrize(("prefix", "count"), FAMILIES.items())
def test_every_family_is_there(prefix: str, count: int) -> None:
    assert sum(folder.name.startswith(prefix) for folder in FOLDERS) >= count


@pytest.mark.parametrize("attack", make_attacks.ALL, ids=lambda attack: attack.id)
def test_made_again_the_bytes_are_the_same(attack: Attack) -> None:
    folder = VECTORS / attack.id
    assert (folder / "case.json").read_bytes() == make_attacks.case(attack)
    if attack.id not in BY_OTHERS:
        assert (folder / make_attacks.FILE).read_bytes() == attack.make()


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in VECTORS.rglob("*") if path.is_file()) < MAX_CORPUS_BYTES


def test_every_folder_is_made_by_the_script() -> None:
    assert {name_of(folder) for folder in FOLDERS} == {attack.id for attack in make_attacks.ALL}
