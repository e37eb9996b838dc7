"""The main job, end to end: what ``vnedoc demo`` tells is what lies in its folder."""

import re
from pathlib import Path

import pikepdf
import pytest

from tests.cli import Outcome, vnedoc
from tests.second_tools import pdfsig
from vnedoc.exchange.package import read_package
from vnedoc.testing import documents


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("demo") / "vnedoc-demo"
    outcome = vnedoc("demo", "--dir", folder)
    assert outcome.code == 0, outcome.out + outcome.err
    return folder, outcome


def test_all_seven_steps_are_told(told: tuple[Path, Outcome]) -> None:
    _, outcome = told
    assert re.findall(r"^(\d)\. ", outcome.out, re.MULTILINE) == list("1234567")


def test_both_signatures_pass_at_every_receiver(told: tuple[Path, Outcome]) -> None:
    _, outcome = told
    step = outcome.out.partition("\n5. ")[2].partition("\n6. ")[0]
    assert step.count("(person): TOTAL-PASSED, PAdES-B-T") == 2
    assert step.count("(agency): TOTAL-PASSED, PAdES-B-T") == 6
    assert step.count("that of H99? match: coded") == 6


def test_the_sender_sees_both_statuses(told: tuple[Path, Outcome]) -> None:
    _, outcome = told
    assert "The sender sees of G99 BỘ TEST: 01, 03" in outcome.out
    assert "The sender sees of H99.15 ỦY BAN NHÂN DÂN XÃ TEST: 01, 03" in outcome.out


def test_each_refusal_has_its_own_reason(told: tuple[Path, Outcome]) -> None:
    folder, outcome = told
    step = outcome.out.partition("\n6. ")[2]
    changed, _, rest = step.partition("wrong-agency.pdf")
    wrong, _, unsigned = rest.partition("unsigned.pdf")
    assert "digest does not match" in changed
    assert "sending agency" in wrong
    assert "digest does not match" not in wrong
    assert "No digital signature was found" in unsigned
    assert step.count("did not accept") == 3
    kept = sorted((folder / "5-commune" / "inbox" / "quarantine").glob("*.edxml"))
    assert len(kept) == 3


def test_what_arrived_is_what_was_signed(told: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = told
    for office in ("5-central", "5-commune"):
        (package,) = (folder / office / "inbox").glob("*.edxml")
        received = read_package(package, folder=tmp_path / office)
        assert [item.name for item in received.attachments] == [
            documents.DECISION, documents.APPENDIX, documents.LANDSCAPE,
        ]  # fmt: skip
        for item in received.attachments:
            assert item.path is not None
            assert item.path.read_bytes() == (folder / "3-signed" / item.name).read_bytes()


@pytest.mark.parametrize("name", [documents.DECISION, documents.LETTER, documents.ROTATED])
def test_signed_documents_carry_both_signatures(told: tuple[Path, Outcome], name: str) -> None:
    with pikepdf.open(told[0] / "3-signed" / name) as pdf:
        signed = [str(field.T) for field in pdf.Root.AcroForm.Fields if field.FT == "/Sig"]
    assert signed == ["vnedoc-approve-1", "vnedoc-issue-1"]


@pytest.mark.needs("pdfsig")
def test_pdfsig_agrees(told: tuple[Path, Outcome]) -> None:
    for path in sorted((told[0] / "3-signed").glob("*.pdf")):
        words = pdfsig(path)
        assert words.count("Signature is Valid.") == words.count("Signature #") > 0


def test_no_secret_is_told(told: tuple[Path, Outcome]) -> None:
    folder, outcome = told
    for office in ("5-sender", "5-central", "5-commune"):
        secret_file = folder / office / "axis.secret"
        assert secret_file.stat().st_mode & 0o077 == 0
        assert secret_file.read_text() not in outcome.out


def test_it_can_be_told_again_in_vietnamese(told: tuple[Path, Outcome]) -> None:
    outcome = vnedoc("demo", "--dir", told[0], lang="vi")
    assert outcome.code == 0, outcome.err
    assert "Bên gửi thấy G99 BỘ TEST: 01, 03" in outcome.out


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    outcome = vnedoc("demo", "--dir", tmp_path)
    assert outcome.code == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
