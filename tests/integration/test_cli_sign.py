"""``vnedoc sign``: exit codes, sentences, and files that appear whole or not at all."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import vnedoc
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

PASSPHRASE = "mật khẩu TEST"


@pytest.fixture
def desk(tmp_path: Path, pki: TestPKI, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two keys, a draft and the pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY_PASSPHRASE", PASSPHRASE)
    (tmp_path / "leader.p12").write_bytes(pki.leader.pkcs12(PASSPHRASE))
    (tmp_path / "agency.p12").write_bytes(pki.agency.pkcs12(PASSPHRASE))
    for name in (documents.DECISION, documents.LETTER, documents.LEADER_SIGNATURE, documents.AGENCY_SEAL):
        shutil.copy(documents.document_path(name), tmp_path / name)
    return tmp_path


def _approve(*more: object) -> tuple[object, ...]:
    return (
        "sign", documents.DECISION, "--signer", "pkcs12:leader.p12", "--passphrase-env", "KEY_PASSPHRASE",
        "--role", "approve", "--image", documents.LEADER_SIGNATURE, "--anchor", documents.LEADER_NAME, *more,
    )  # fmt: skip


def _invisible(*more: object) -> tuple[object, ...]:
    return (
        "sign", "--signer", "pkcs12:leader.p12", "--passphrase-env", "KEY_PASSPHRASE", "--role", "invisible", *more,
    )  # fmt: skip


def test_leader_then_clerk(desk: Path, pki: TestPKI) -> None:
    approved = vnedoc(*_approve("--reserve-numbering", "--tsa", pki.tsa_url, "-o", "approved.pdf"))
    assert approved.code == 0, approved.err
    assert "PAdES-B-T" in approved.out
    issued = vnedoc(
        "sign", "approved.pdf", "--signer", "pkcs12:agency.p12", "--passphrase-env", "KEY_PASSPHRASE",
        "--role", "issue", "--image", documents.AGENCY_SEAL, "--seal-diameter-mm", 36,
        "--number", "15/QĐ-UBND", "--date", "2026-11-21", "-o", "issued.pdf", "--format", "json",
    )  # fmt: skip
    assert issued.code == 0, issued.err
    (file,) = issued.json()["files"]
    assert issued.json()["schema"] == "vnedoc.signing/1"
    assert (file["field"], file["role"], file["level"], file["page"]) == (
        "vnedoc-issue-1",
        "issue",
        "PAdES-B-B",
        2,
    )
    assert (desk / "issued.pdf").read_bytes().startswith((desk / "approved.pdf").read_bytes())


def test_as_a_program_with_a_passphrase_from_a_descriptor(desk: Path) -> None:
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    arguments = [
        "sign",
        documents.LETTER,
        "--signer",
        "pkcs12:leader.p12",
        "--role",
        "invisible",
        "-o",
        "out.pdf",
    ]
    outcome = subprocess.run(
        [
            sys.executable,
            "-c",
            "from vnedoc._cli.main import run; run()",
            *arguments,
            "--passphrase-fd",
            str(read),
        ],
        capture_output=True,
        text=True,
        pass_fds=[read],
    )
    os.close(read)
    assert outcome.returncode == 0, outcome.stderr
    assert "đã ký PAdES-B-B" in outcome.stdout
    assert (desk / "out.pdf").is_file()


def test_in_place(desk: Path) -> None:
    before = (desk / documents.LETTER).read_bytes()
    assert vnedoc(*_invisible(documents.LETTER, "--in-place")).code == 0
    assert (desk / documents.LETTER).read_bytes().startswith(before)
    assert len((desk / documents.LETTER).read_bytes()) > len(before)


def test_a_dry_run_writes_nothing(desk: Path) -> None:
    outcome = vnedoc(*_approve("-o", "out.pdf", "--dry-run"))
    assert outcome.code == 0
    assert "page 2" in outcome.out
    assert not (desk / "out.pdf").exists()


def test_many_files_all_are_tried_and_the_gravest_code_wins(desk: Path) -> None:
    (desk / "bad.pdf").write_bytes(b"no PDF")
    (desk / "out").mkdir()
    outcome = vnedoc(
        *_invisible("bad.pdf", documents.LETTER, documents.DECISION, "-d", "out", "--format", "json")
    )
    assert outcome.code == 4
    bad, letter, decision = json.loads(outcome.out)["files"]
    assert bad["error"]["id"] == "pdf.not-a-pdf"
    assert "error" not in letter
    assert "error" not in decision
    assert sorted(path.name for path in (desk / "out").iterdir()) == [documents.LETTER, documents.DECISION]


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        (("--passphrase-env", "NONE", "-o", "out.pdf"), 5, "NONE is not set"),
        (("--passphrase-env", "PATH", "-o", "out.pdf"), 5, "passphrase of the key file leader.p12 is wrong"),
        (("--signer", "pkcs12:none.p12", "-o", "out.pdf"), 4, "none.p12 cannot be read"),
        (("--signer", "leader.p12", "-o", "out.pdf"), 2, "kind of key"),
        (("--role", "king", "-o", "out.pdf"), 2, "king"),
        (("--level", "b-t", "-o", "out.pdf"), 2, "--tsa"),
        (("--tsa", "http://127.0.0.1:9/tsa", "-o", "out.pdf"), 6, "nothing was signed"),
        (("--anchor", "TRẦN VĂN VẮNG", "-o", "out.pdf"), 2, "VẮNG"),
        (("--image", "none.png", "-o", "out.pdf"), 4, "none.png"),
        (("--image", "leader.p12", "-o", "out.pdf"), 4, "leader.p12"),
        (("--page", "1", "--box", "1,2,3", "-o", "out.pdf"), 2, "box"),
        ((), 2, "exactly one place"),
        (("-o", "out.pdf", "--in-place"), 2, "exactly one place"),
        (("-d", "none"), 2, "no folder"),
        (("-d", "."), 2, "--in-place"),
        (("-o", "none/out.pdf"), 4, "cannot be written"),
    ],
)
def test_every_mistake_is_one_sentence(desk: Path, more: tuple[str, ...], code: int, sentence: str) -> None:
    before = {path.name: path.read_bytes() for path in desk.iterdir()}
    arguments = _approve(*more)
    if "--box" in more:
        arguments = tuple(item for item in arguments if item not in ("--anchor", documents.LEADER_NAME))
    outcome = vnedoc(*arguments)
    assert outcome.code == code, outcome.err
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert {path.name: path.read_bytes() for path in desk.iterdir()} == before


def test_messages_are_vietnamese_by_default(desk: Path) -> None:
    outcome = vnedoc(*_approve("--passphrase-env", "PATH", "-o", "out.pdf"), lang="vi")
    assert outcome.code == 5
    assert "Mật khẩu của tệp khóa leader.p12 không đúng." in outcome.err


def test_two_inputs_of_one_name_do_not_overwrite_each_other(desk: Path) -> None:
    (desk / "a").mkdir()
    (desk / "out").mkdir()
    shutil.copy(desk / documents.LETTER, desk / "a" / documents.LETTER)
    outcome = vnedoc(*_invisible(documents.LETTER, f"a/{documents.LETTER}", "-d", "out"))
    assert outcome.code == 2
    assert list((desk / "out").iterdir()) == []
