"""Agencies that were merged: files and packages of before and after, against one directory."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

import pytest

from tests import signed_pdfs
from tests.cli import vnedoc
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import write_package
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.sign.signers.pkcs12 import PKCS12Signer
    from vnedoc.testing.pki import TestPKI

YESTERDAY = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=2)


@pytest.fixture
def asked(pki: TestPKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    monkeypatch.chdir(tmp_path)
    pki.write(tmp_path / "pki", passphrase="x")
    agencies = [
        {
            "organ_id": "H98",
            "name": "SỞ TEST KHÁC",
            "valid_to": YESTERDAY.isoformat(),
            "successor": "H99",
        },
        {"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST"},
    ]
    directory = tmp_path / "directory.json"
    directory.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    return ("--trust", tmp_path / "pki", "--allow-host", "127.0.0.1", "--directory", directory)


def test_the_heir_signs_under_the_old_code(pki: TestPKI, asked: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    outcome = vnedoc("verify", path, *asked, "--sender", "H98", "--format", "json")
    assert outcome.code == 0, outcome
    sender = outcome.json()["files"][0]["sender"]
    assert sender["agency"] == "ỦY BAN NHÂN DÂN TỈNH TEST"
    assert sender["successor_of"] == "H98"
    page = vnedoc("verify", path, *asked, "--sender", "H98", "--format", "html")
    assert "H98" in page.out


def test_the_old_key_is_no_longer_good_and_the_report_says_why(
    pki: TestPKI, asked: tuple[object, ...], tmp_path: Path
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.other_agency))
    outcome = vnedoc("verify", path, *asked, "--sender", "H98", "--format", "json")
    assert outcome.code == 1
    (file,) = outcome.json()["files"]
    assert [warning["id"] for warning in file["warnings"]] == ["verify.sender-predecessor"]


def test_a_package_of_the_old_code_signed_by_the_heir(
    asked: tuple[object, ...], tmp_path: Path, issued: bytes, clerk: PKCS12Signer
) -> None:
    path = tmp_path / "a.edxml"
    header = make_package(path, sender="H98", recipients=["H01"])
    write_package(header, [Attachment("main.pdf", issued)], path, signer=clerk)
    outcome = vnedoc("verify", path, *asked, "--format", "json")
    assert outcome.code == 0, outcome
    package, main = outcome.json()["files"]
    assert package["sender"]["successor_of"] == main["sender"]["successor_of"] == "H98"
