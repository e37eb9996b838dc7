"""``vnedoc verify`` of packages: every PDF, the package's own signature, and who says to have sent it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import signed_packages, signed_pdfs
from tests.cli import Outcome, vnedoc
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import read_package, write_package
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.sign.signers.pkcs12 import PKCS12Signer
    from vnedoc.testing.pki import TestPKI


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def asked(pki: TestPKI, tmp_path: Path) -> tuple[object, ...]:
    pki.write(tmp_path / "pki", passphrase="x")
    agencies = [
        {"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST"},
        {"organ_id": "H98", "name": "SỞ TEST KHÁC"},
    ]
    directory = tmp_path / "directory.json"
    directory.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    return ("--trust", tmp_path / "pki", "--allow-host", "127.0.0.1", "--directory", directory)


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    def pack(
        *attachments: tuple[str, bytes], sender: str = "H99", signer: PKCS12Signer | None = None
    ) -> Path:
        path = tmp_path / "TEST.edxml"
        header = make_package(path, sender=sender, recipients=["H98"])
        write_package(
            header, [Attachment(name, content) for name, content in attachments], path, signer=signer
        )
        return path

    return pack


@pytest.fixture(scope="module")
def appendix(pki: TestPKI) -> bytes:
    return signed_pdfs.sign(signed_pdfs.blank(1), pki.agency)


def report(outcome: Outcome) -> list[dict[str, Any]]:
    return list(outcome.json()["files"])


def ids(file: dict[str, Any]) -> list[str]:
    return [error["id"] for error in file["errors"]]


def test_a_good_package(
    asked: tuple[object, ...], pack: Callable[..., Path], issued: bytes, appendix: bytes
) -> None:
    path = pack(("main.pdf", issued), ("phụ lục.pdf", appendix), ("data.txt", b"TEST"))
    outcome = vnedoc("verify", path, *asked, "--policy", "shipped:vn-issued", "--format", "json")
    assert outcome.code == 0, outcome
    package, main, other = report(outcome)
    assert [file["path"] for file in (package, main, other)] == [
        str(path),
        f"{path}!/main.pdf",
        f"{path}!/phụ lục.pdf",
    ]
    assert {file["conclusion"] for file in (package, main, other)} == {"TOTAL-PASSED"}
    assert {warning["id"] for warning in package["warnings"]} == {"exchange.not-verifiable", "xmlsig.none"}
    assert main["sender"]["match"] == other["sender"]["match"] == "named"
    assert package["sha256"] == read_package(path, folder=None).sha256
    # Of an appendix no person's signature is asked.
    assert "person-signed" in {check["id"] for check in main["checks"]}
    assert "person-signed" not in {check["id"] for check in other["checks"]}


def test_a_package_that_somebody_signed(
    asked: tuple[object, ...], pack: Callable[..., Path], issued: bytes, clerk: PKCS12Signer
) -> None:
    path = pack(("main.pdf", issued), signer=clerk)
    outcome = vnedoc("verify", path, *asked, "--format", "json")
    assert outcome.code == 0, outcome
    package, _ = report(outcome)
    (signature,) = package["signatures"]
    assert (signature["level"], signature["role"], signature["integrity"]) == ("XAdES-B-B", "agency", True)
    assert package["sender"]["match"] == "named"


def test_a_signed_package_that_was_changed(
    asked: tuple[object, ...], pack: Callable[..., Path], issued: bytes, clerk: PKCS12Signer
) -> None:
    path = pack(("main.pdf", issued), signer=clerk)

    def change(tree: signed_packages.Tree) -> None:
        tree.part("Subject").text = "V/v TEST khác"

    path.write_bytes(signed_packages.changed(path.read_bytes(), change))
    outcome = vnedoc("verify", path, *asked, "--format", "json")
    assert outcome.code == 1
    package, main = report(outcome)
    assert package["conclusion"] == "TOTAL-FAILED"
    assert main["conclusion"] == "TOTAL-PASSED"


@pytest.mark.parametrize(
    ("sender", "options", "code", "errors"),
    [
        # From is another agency than the one that signed the documents.
        ("H98", (), 1, []),
        ("H01", (), 1, ["directory.unknown-agency"]),
        ("H99", ("--sender", "H99"), 0, []),
        ("H99", ("--sender", "H98"), 1, ["verify.package-other-sender"]),
    ],
)
def test_from_against_the_signature(
    asked: tuple[object, ...],
    pack: Callable[..., Path],
    issued: bytes,
    sender: str,
    options: tuple[str, ...],
    code: int,
    errors: list[str],
) -> None:
    path = pack(("main.pdf", issued), sender=sender)
    outcome = vnedoc("verify", path, *asked, *options, "--format", "json")
    assert outcome.code == code, outcome
    package, main = report(outcome)
    assert ids(package) == errors
    if sender == "H98":
        assert ids(main) == ["verify.sender-mismatch"]


def test_without_a_directory_that_is_said(
    pki: TestPKI, asked: tuple[object, ...], pack: Callable[..., Path], issued: bytes
) -> None:
    outcome = vnedoc("verify", pack(("main.pdf", issued)), *asked[:-2], "--format", "json")
    assert outcome.code == 0
    package, _ = report(outcome)
    assert "verify.package-sender-unchecked" in {warning["id"] for warning in package["warnings"]}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("a.pdf", signed_pdfs.blank(), 3), ("a.pdf", b"no PDF", 4), ("a.txt", b"TEST", 1)],
)
def test_what_is_in_it_counts(
    asked: tuple[object, ...], pack: Callable[..., Path], name: str, content: bytes, code: int
) -> None:
    outcome = vnedoc("verify", pack((name, content)), *asked, "--format", "json")
    assert outcome.code == code, outcome


def test_what_is_no_package(asked: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.EDXML"
    path.write_bytes(b"<a/>")
    outcome = vnedoc("verify", path, *asked, "--format", "json")
    assert outcome.code == 4
    assert report(outcome)[0]["conclusion"] == "UNREADABLE"
    assert vnedoc("verify", tmp_path / "missing.edxml", *asked).code == 4


def test_packages_and_pdfs_together_in_order_with_pictures_and_evidence(
    asked: tuple[object, ...], pack: Callable[..., Path], issued: bytes, appendix: bytes, tmp_path: Path
) -> None:
    path = pack(("main.pdf", issued), ("other.pdf", appendix))
    alone = tmp_path / "alone.pdf"
    alone.write_bytes(issued)
    page = tmp_path / "report.html"
    kept = tmp_path / "evidence"
    outcome = vnedoc(
        "verify", alone, path, alone, *asked, "--jobs", 2, "--format", "html", "-o", page, "--evidence", kept
    )
    assert outcome.code == 0, outcome
    text = page.read_text(encoding="utf-8")
    assert text.count('class="verdict"') == 5
    assert text.count("data:image/png;base64,") == 4 * 2 - 1
    again = vnedoc("verify", alone, path, "--from-evidence", kept, "--format", "json")
    assert again.code == 0, again
    assert [file["path"].rpartition("/")[2] for file in report(again)][:3] == [
        "alone.pdf",
        "TEST.edxml",
        "main.pdf",
    ]
