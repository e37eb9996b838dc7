"""``vnedoc sign``: exit codes, sentences, and files that appear whole or not at all."""

import datetime
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pikepdf
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli import vnedoc
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
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


def _copies(desk: Path, count: int) -> list[str]:
    (desk / "in").mkdir()
    (desk / "out").mkdir()
    for number in range(count):
        shutil.copy(desk / documents.LETTER, desk / "in" / f"{number}.pdf")
    return [f"in/{number}.pdf" for number in range(count)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_with_a_line_for_each_file(desk: Path, jobs: int) -> None:
    files = _copies(desk, 4)
    (desk / "in" / "2.pdf").write_bytes(b"no PDF")
    outcome = vnedoc(*_invisible(*files, "-d", "out", "--jobs", jobs))
    assert outcome.code == 4
    lines = outcome.out.splitlines()
    assert sorted(line.split(" ")[0] for line in lines) == ["in/0.pdf", "in/1.pdf", "in/3.pdf"]
    assert "in/2.pdf: in/2.pdf is not a PDF." in outcome.err
    assert "Signed 3, already signed 0, failed 1, not tried 0." in outcome.err
    assert "\x1b" not in outcome.out + outcome.err


def test_a_batch_can_be_started_again(desk: Path) -> None:
    files = _copies(desk, 3)
    assert vnedoc(*_invisible(*files[:2], "-d", "out")).code == 0
    before = {path.name: path.read_bytes() for path in (desk / "out").iterdir()}
    outcome = vnedoc(*_invisible(*files, "-d", "out", "--format", "json"))
    assert outcome.code == 0
    assert [file["state"] for file in outcome.json()["files"]] == [
        "already-signed",
        "already-signed",
        "signed",
    ]
    assert {name: (desk / "out" / name).read_bytes() for name in before} == before
    text = vnedoc(*_invisible(*files, "-d", "out"))
    assert text.out.count("signed already") == 3
    again = vnedoc(*_invisible(*files, "-d", "out", "--again", "--format", "json"))
    assert [file["state"] for file in again.json()["files"]] == ["signed"] * 3


def test_a_named_output_is_made_anew(desk: Path) -> None:
    for _ in range(2):
        outcome = vnedoc(*_invisible(documents.LETTER, "-o", "out.pdf", "--format", "json"))
        assert outcome.json()["files"][0]["state"] == "signed"


def test_in_place_twice_is_signed_once(desk: Path) -> None:
    for state in ("signed", "already-signed"):
        outcome = vnedoc(*_invisible(documents.LETTER, "--in-place", "--format", "json"))
        assert outcome.code == 0
        assert outcome.json()["files"][0]["state"] == state
    assert (desk / documents.LETTER).read_bytes().count(b"/ByteRange") == 1


def test_a_key_that_fails_stops_the_batch(desk: Path, pki: TestPKI) -> None:
    now = datetime.datetime.now(datetime.UTC)
    expired = pki.issue_person(
        common_name="TEST",
        organization="TEST",
        not_before=now - datetime.timedelta(days=9),
        not_after=now - datetime.timedelta(days=1),
    )
    (desk / "leader.p12").write_bytes(expired.pkcs12(PASSPHRASE))
    files = _copies(desk, 3)
    outcome = vnedoc(*_invisible(*files, "-d", "out", "--format", "json"))
    assert outcome.code == 5
    assert [file["state"] for file in outcome.json()["files"]] == ["failed", "not-tried", "not-tried"]
    assert list((desk / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"0.pdf": b"no PDF"}, 4),
        ({"0.pdf": b"no PDF", "1.pdf": "certified"}, 1),
    ],
)
def test_the_gravest_code_of_a_batch(desk: Path, bad: dict[str, object], code: int) -> None:
    files = _copies(desk, 3)
    for name, content in bad.items():
        if content == "certified":
            locked = vnedoc(*_invisible(f"in/{name}", "--certify", "-o", f"in/x{name}"))
            assert locked.code == 0
            data = (desk / "in" / f"x{name}").read_bytes()
            # P = 1 instead of 2; whether the signature is right does not matter here.
            assert data.count(b"/P 2\n") == 1
            content = data.replace(b"/P 2\n", b"/P 1\n")
        assert isinstance(content, bytes)
        (desk / "in" / name).write_bytes(content)
    assert vnedoc(*_invisible(*files, "-d", "out")).code == code


def test_a_secret_for_other_processes_is_nowhere_to_be_seen(desk: Path) -> None:
    files = _copies(desk, 40)
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    command = [
        sys.executable, "-c", "from vnedoc._cli.main import run; run()", "-v", "sign", *files, "-d", "out",
        "--jobs", "2", "--signer", "pkcs12:leader.p12", "--role", "invisible", "--passphrase-fd", str(read),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if value != PASSPHRASE}
    # Coverage measures subprocesses by a variable of its own; it has nothing to do with secrets.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[read], env=environment
    ) as process:
        os.close(read)
        seen = set()
        while process.poll() is None and len(seen) < 3:
            for pid in _family(process.pid):
                texts = [_proc(pid, name) for name in ("cmdline", "environ")]
                assert not any(PASSPHRASE.encode() in text for text in texts)
                if all(texts):
                    seen.add(pid)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert len(seen) == 3
    assert PASSPHRASE.encode() not in out + err
    assert len(list((desk / "out").iterdir())) == 40


def _family(pid: int) -> list[int]:
    children = _proc(pid, f"task/{pid}/children").split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def test_a_bar_on_a_terminal_and_none_in_a_log(desk: Path) -> None:
    files = _copies(desk, 3)
    arguments = ["sign", *files, "--signer", "pkcs12:leader.p12", "--role", "invisible"]
    command = [sys.executable, "-c", "from vnedoc._cli.main import run; run()", *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*command, "-d", "out", "--passphrase-env", "KEY_PASSPHRASE"],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment,
    ) as process:
        os.close(slave)
        out = process.communicate()[0]
    shown = b""
    while piece := _read_terminal(master):
        shown += piece
    os.close(master)
    assert process.returncode == 0
    assert b"3/3" in shown
    assert out.decode().count("PAdES-B-B") == 3
    assert b"\x1b" not in out
    logged = subprocess.run(
        [*command, "-d", "out", "--again", "--passphrase-env", "KEY_PASSPHRASE"],
        capture_output=True,
        env=environment,
    )
    assert logged.returncode == 0
    assert b"3/3" not in logged.stderr
    assert b"\x1b" not in logged.stderr


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the other end is closed.
        return b""


def test_an_encrypted_document_with_its_password(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUMENT", "TEST")
    files = _copies(desk, 2)
    for name in files:
        with pikepdf.open(name, allow_overwriting_input=True) as pdf:
            pdf.save(name, encryption=pikepdf.Encryption(owner="TEST", user="TEST"))
    assert vnedoc(*_invisible(files[0], "-o", "out.pdf")).code == 4
    password = ("--document-password-env", "DOCUMENT")
    assert vnedoc(*_invisible(*files, "-d", "out", "--jobs", 2, *password)).code == 0


@pytest.mark.parametrize("more", [("--jobs", "0"), ("--jobs", "x")])
def test_a_number_of_processes_that_cannot_be(desk: Path, more: tuple[str, ...]) -> None:
    assert vnedoc(*_invisible(documents.LETTER, "-o", "out.pdf", *more)).code == 2


def test_long_term_with_trust(desk: Path, pki: TestPKI) -> None:
    (desk / "roots.pem").write_bytes(
        b"".join(item.public_bytes(Encoding.PEM) for item in pki.ca_certificates)
    )
    more = ("--tsa", pki.tsa_url, "--trust", "roots.pem", "--allow-host", "127.0.0.1")
    outcome = vnedoc(*_invisible(documents.LETTER, "-o", "out.pdf", "--level", "b-lt", *more))
    assert outcome.code == 0, outcome.err
    assert "PAdES-B-LT" in outcome.out
    assert (
        vnedoc(*_invisible(documents.LETTER, "-o", "x.pdf", "--level", "b-lt", "--tsa", pki.tsa_url)).code
        == 2
    )
    assert not (desk / "x.pdf").exists()
    legacy = vnedoc(*_invisible(documents.LETTER, "-o", "y.pdf", "--legacy"))
    assert "PKCS7" in legacy.out


MANY = Path(__file__).parents[2] / "docs" / "how-to" / "sign-many-documents.md"


def test_the_page_about_many_documents_works(desk: Path) -> None:
    text = MANY.read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (sample,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (desk / "inbox").mkdir()
    for number in range(3):
        shutil.copy(desk / documents.LETTER, desk / "inbox" / f"{number}.pdf")
    (desk / "sample.py").write_text(sample, encoding="utf-8")
    (desk / "passphrase.txt").write_text(PASSPHRASE, encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "VNEDOC_LANG": "en",
    }
    outcome = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([*blocks, "python sample.py"])],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert len(blocks) == 3
    assert outcome.stderr.count("Signed 3,") == 2
    assert outcome.stderr.count("already signed 3,") == 1
    assert outcome.stdout.count(".pdf signed") == 3


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("mechanism", "digest"), [("rsassa_pss", "sha512"), ("rsassa_pkcs1v15", "sha384"), (None, "sha256")]
)
def test_the_way_of_signing_is_chosen(
    desk: Path, pki: TestPKI, jobs: int, mechanism: str | None, digest: str
) -> None:
    (desk / "out").mkdir()
    chosen = () if mechanism is None else ("--mechanism", mechanism)
    documents_given = (documents.DECISION, documents.LETTER)
    outcome = vnedoc(*_invisible(*documents_given, *chosen, "--digest", digest, "-d", "out", "--jobs", jobs))
    assert outcome.code == 0, outcome.err
    trust = TrustStore.from_certificates(pki.ca_certificates)
    for name in documents_given:
        (signature,) = verify_pdf(desk / "out" / name, trust=trust).files[0].signatures
        assert signature.integrity
        assert signature.digest_algorithm == digest
        assert signature.signature_algorithm == (mechanism or "rsassa_pkcs1v15")


def test_a_way_of_signing_that_the_key_does_not_have(desk: Path) -> None:
    outcome = vnedoc(*_invisible(documents.DECISION, "--mechanism", "ecdsa", "-o", "signed.pdf"))
    assert (outcome.code, (desk / "signed.pdf").exists()) == (5, False)
