"""``vnedoc verify``, ``vnedoc inspect`` and ``vnedoc trust`` as people call them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests import signed_pdfs
from tests.cli import vnedoc

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No settings of the machine.
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def signed(pki: TestPKI, tmp_path: Path) -> Path:
    path = tmp_path / "signed.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=pki.tsa_url))
    return path


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_good_file(signed: Path, roots: Path, lang: str) -> None:
    outcome = vnedoc("verify", signed, "--trust", roots, "--allow-host", "127.0.0.1", lang=lang)
    assert outcome.code == 0, outcome
    assert "TOTAL-PASSED" in outcome.out
    assert ("HỢP LỆ" if lang == "vi" else "VALID") in outcome.out
    assert not outcome.err


def test_json_to_a_file(signed: Path, roots: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    outcome = vnedoc(
        "verify", signed, "--trust", roots, "--allow-host", "127.0.0.1", "--format", "json", "-o", report
    )
    assert (outcome.code, outcome.out) == (0, "")
    (file,) = json.loads(report.read_text(encoding="utf-8"))["files"]
    assert (file["path"], file["conclusion"]) == (str(signed), "TOTAL-PASSED")


def test_exit_codes(signed: Path, roots: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.pdf"
    changed.write_bytes(signed.read_bytes().replace(b"(TEST)", b"(REST)"))
    plain = tmp_path / "plain.pdf"
    plain.write_bytes(signed_pdfs.blank())
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"no PDF")
    asked = ("--trust", roots, "--allow-host", "127.0.0.1")
    assert vnedoc("verify", changed, *asked).code == 1
    assert vnedoc("verify", plain, *asked).code == 3
    assert vnedoc("verify", broken, *asked).code == 4
    assert vnedoc("verify", tmp_path / "missing.pdf", *asked).code == 4
    # All are done; the gravest counts.
    many = vnedoc("verify", broken, signed, plain, changed, *asked, "--format", "json")
    assert many.code == 1
    assert [file["conclusion"] for file in many.json()["files"]] == [
        "UNREADABLE",
        "TOTAL-PASSED",
        "NO-SIGNATURE",
        "TOTAL-FAILED",
    ]


def test_offline_nothing_is_asked_and_a_list_at_hand_is_enough(
    pki: TestPKI, roots: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plain-time.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    lists: list[object] = []
    for number, url in enumerate(pki.crl_urls[:2]):
        crl = tmp_path / f"{number}.crl"
        crl.write_bytes(httpx2.get(url).content)
        lists += ["--crl", crl]
    with pki.services.failing(ocsp="http-500", crl="http-500"):
        assert vnedoc("verify", path, "--trust", roots, "--offline").code == 3
        assert vnedoc("verify", path, "--trust", roots, "--offline", *lists).code == 0


def test_trust_must_be_given(signed: Path) -> None:
    outcome = vnedoc("verify", signed)
    assert outcome.code == 5
    assert "--trust" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--trust", "nowhere.pem"], 5),
        (["--trust", "shipped:vn-national", "--crl", "nowhere.crl"], 4),
        (["--trust", "shipped:vn-national", "--at", "yesterday"], 2),
        (["--trust", "shipped:vn-national", "--sender", "H99"], 2),
        (["--trust", "shipped:vn-national", "--format", "xml"], 2),
        (["--trust", "shipped:vn-national", "--policy", "x"], 5),
    ],
)
def test_wrong_questions(signed: Path, arguments: list[str], code: int) -> None:
    outcome = vnedoc("verify", signed, *arguments)
    assert outcome.code == code, outcome
    assert outcome.err
    assert "Traceback" not in outcome.err


def test_the_sender(signed: Path, roots: Path, tmp_path: Path) -> None:
    directory = tmp_path / "directory.json"
    directory.write_text(
        json.dumps(
            {
                "schema": "vnedoc.directory/1",
                "agencies": [
                    {"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST"},
                    {"organ_id": "H98", "name": "SỞ TEST KHÁC"},
                ],
            }
        ),
        encoding="utf-8",
    )
    asked = ("verify", signed, "--trust", roots, "--allow-host", "127.0.0.1", "--directory", directory)
    right = vnedoc(*asked, "--sender", "H99", "--format", "json")
    assert right.code == 0
    sender = right.json()["files"][0]["sender"]
    assert (sender["organ_id"], sender["match"], sender["required"]) == ("H99", "named", True)
    assert sender["agency"] == "ỦY BAN NHÂN DÂN TỈNH TEST"
    wrong = vnedoc(*asked, "--sender", "H98", "--format", "json")
    assert wrong.code == 1
    assert wrong.json()["files"][0]["errors"][0]["id"] == "verify.sender-mismatch"
    assert vnedoc(*asked, "--sender", "H97").code == 5


def test_at_another_time(signed: Path, roots: Path) -> None:
    outcome = vnedoc(
        "verify", signed, "--trust", roots, "--offline", "--at", "2020-01-01", "--format", "json"
    )
    assert outcome.code == 3
    assert outcome.json()["files"][0]["signatures"][0]["sub_indication"] == "NOT_YET_VALID"


def test_inspect_judges_nothing(signed: Path, tmp_path: Path) -> None:
    outcome = vnedoc("inspect", signed)
    assert outcome.code == 0
    assert "ỦY BAN NHÂN DÂN TỈNH TEST" in outcome.out
    assert "ETSI.CAdES.detached" in outcome.out
    assert "PASSED" not in outcome.out
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"no PDF")
    both = vnedoc("inspect", broken, signed)
    assert both.code == 4
    assert "ETSI.CAdES.detached" in both.out


def test_trust_list_show_check(pki: TestPKI, roots: Path) -> None:
    listed = vnedoc("trust", "list")
    assert listed.code == 0
    assert "shipped:vn-government: 2" in listed.out
    shown = vnedoc("trust", "show", "shipped:vn-government")
    assert "f04ba4b459a7c9a1b971ad9b1cb833e695a80c79aea63b174b66a70edfe2fdb8" in shown.out
    good = ("trust", "check", "shipped:vn-government", "--at", "2026-01-01")
    assert vnedoc(*good).code == 0
    right = "F0:4B:A4:B4:59:A7:C9:A1:B9:71:AD:9B:1C:B8:33:E6:95:A8:0C:79:AE:A6:3B:17:4B:66:A7:0E:DF:E2:FD:B8"
    assert vnedoc(*good, "--fingerprint", right).code == 0
    assert vnedoc(*good, "--fingerprint", "ab" * 32).code == 1
    assert vnedoc(*good, "--fingerprint", "ab").code == 2
    assert vnedoc("trust", "check", "shipped:vn-government", "--at", "2049-01-01").code == 1
    assert vnedoc("trust", "check", roots).code == 0
    assert vnedoc("trust", "check", "nowhere.pem").code == 5
