"""``vnedoc verify`` and what goes wrong: broken lists, wrong clocks, unknown authorities, files that vanish."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pikepdf
import pytest

from tests import signed_pdfs
from tests.cli import vnedoc
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import SignatureReport
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustStore, TrustTree, load_trust
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing.pki import running_pki

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

SHIPPED = "shipped:vn-government"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def signed(pki: TestPKI, tmp_path: Path) -> Path:
    path = tmp_path / "signed.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=pki.tsa_url))
    return path


def test_a_directory_without_the_agency_says_so(signed: Path, roots: Path, tmp_path: Path) -> None:
    directory = tmp_path / "directory.json"
    directory.write_text('{"schema": "vnedoc.directory/1", "agencies": []}', encoding="utf-8")
    outcome = vnedoc(
        "verify", signed, "--trust", roots, "--sender", "H99", "--directory", directory, lang="vi"
    )
    assert outcome.code == 5
    assert "H99" in outcome.err
    assert "danh mục" in outcome.err.casefold()
    directory.write_text("[", encoding="utf-8")
    assert vnedoc("verify", signed, "--trust", roots, "--sender", "H99", "--directory", directory).code == 5


@pytest.mark.parametrize(
    "content", [b"", b"TEST", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"\x30\x80" * 50]
)
def test_a_broken_list_is_named(signed: Path, roots: Path, tmp_path: Path, content: bytes) -> None:
    crl = tmp_path / "broken.crl"
    crl.write_bytes(content)
    outcome = vnedoc("verify", signed, "--trust", roots, "--offline", "--crl", crl)
    assert outcome.code == 4
    assert "broken.crl" in outcome.err


def test_a_broken_list_from_a_server_is_no_answer(pki: TestPKI, tmp_path: Path, roots: Path) -> None:
    path = tmp_path / "plain-time.pdf"
    path.write_bytes(signed_pdfs.sign(signed_pdfs.blank(), pki.agency))
    with pki.services.failing(ocsp="http-500", crl="garbage"):
        outcome = vnedoc("verify", path, "--trust", roots, "--allow-host", "127.0.0.1", "--format", "json")
    assert outcome.code == 3
    (signature,) = outcome.json()["files"][0]["signatures"]
    assert signature["sub_indication"] == "TRY_LATER"
    reasons = [item["text"] for item in signature["warnings"] if item["id"] == "verify.revocation-tried"]
    assert any("not a CRL" in reason for reason in reasons), reasons


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (7, "verify.clock-seven-hours"),
        (-7, "verify.clock-seven-hours"),
        (7.1, "verify.clock-seven-hours"),
        (3, "verify.claimed-after-timestamp"),
        (-3, None),
        (0, None),
    ],
)
def test_a_clock_that_is_seven_hours_wrong_is_noted(pki: TestPKI, hours: float, expected: str | None) -> None:
    now = datetime.datetime.now(datetime.UTC)
    # The signer's clock is the one that is wrong; to the reports it looks the same the other way round.
    with pki.clock_at(now - datetime.timedelta(hours=hours)):
        content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=pki.tsa_url)
    (report,) = verify_pdf(
        content,
        trust=TrustStore.from_certificates(pki.ca_certificates),
        policy=Policy(revocation=RevocationRule.WHEN_AVAILABLE),
        at=now + datetime.timedelta(hours=8),
    ).files
    (signature,) = report.signatures
    noted = {item.id for item in signature.warnings} & {
        "verify.clock-seven-hours",
        "verify.claimed-after-timestamp",
    }
    assert noted == ({expected} if expected else set())
    # The token decides, not the clock.
    assert signature.time_source == "timestamp"
    assert signature.conclusion == "TOTAL-PASSED"


def test_an_unknown_time_stamping_authority(
    pki: TestPKI, online: RevocationSource, tmp_path: Path, roots: Path
) -> None:
    with running_pki() as stranger:
        content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=stranger.tsa_url)
    signature = _only(content, pki, online)
    # The signature stands without the token, on its claimed time, and says why.
    assert signature.time_source == "claimed"
    assert signature.level == "PAdES-B-B"
    (warning,) = [item for item in signature.warnings if item.id == "verify.timestamp-unusable"]
    assert "chain" in warning.text("en")


def _only(content: bytes, pki: TestPKI, source: RevocationSource) -> SignatureReport:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    (report,) = verify_pdf(content, trust=trust, revocation=source).files
    return report.signatures[0]


def test_trust_given_twice_is_given_once(signed: Path, roots: Path, tmp_path: Path) -> None:
    asked = ("verify", signed, "--trust", roots, "--trust", roots, "--allow-host", "127.0.0.1")
    outcome = vnedoc(*asked, "--trust", SHIPPED, "--format", "json")
    assert outcome.code == 0
    basis = outcome.json()["basis"]
    assert basis["trees"] == ["custom", "vn-government"]
    assert len(set(basis["anchors"])) == len(basis["anchors"])
    # The same root by file and shipped, in either order, keeps its tree.
    from importlib import resources

    root = tmp_path / "root.pem"
    shipped = resources.files("vnedoc.sign") / "trust_anchors/vn-government/root-g2.pem"
    root.write_bytes(shipped.read_bytes())
    for sources in ((str(root), SHIPPED), (SHIPPED, str(root))):
        store = load_trust(*sources)
        assert {anchor.tree for anchor in store.anchors} == {TrustTree.VN_GOVERNMENT}
        assert len(store.anchors) == len(load_trust(SHIPPED).anchors)
    assert {anchor.tree for anchor in load_trust(str(root)).anchors} == {TrustTree.CUSTOM}


def test_both_trees_are_shown_and_the_one_that_matched(signed: Path, roots: Path) -> None:
    asked = ("verify", signed, "--trust", roots, "--trust", SHIPPED, "--trust", "shipped:vn-national")
    outcome = vnedoc(*asked, "--allow-host", "127.0.0.1", "--format", "json")
    assert outcome.json()["basis"]["trees"] == ["custom", "vn-government", "vn-national"]
    assert outcome.json()["files"][0]["signatures"][0]["trust_tree"] == "custom"


@pytest.mark.parametrize("jobs", [1, 2])
def test_files_that_vanish_while_others_are_read(
    signed: Path, roots: Path, tmp_path: Path, jobs: int
) -> None:
    copies = [tmp_path / f"{number}.pdf" for number in range(12)]
    for copy in copies:
        shutil.copy(signed, copy)
    for copy in copies[::2]:
        copy.unlink()
    copies[1].unlink()
    copies[1].mkdir()
    outcome = vnedoc(
        "verify", *copies, "--trust", roots, "--allow-host", "127.0.0.1", "--jobs", jobs, "--format", "html"
    )
    assert outcome.code == 4
    assert outcome.out.count('data-conclusion="UNREADABLE"') == 7
    assert outcome.out.count('data-conclusion="TOTAL-PASSED"') == 5


def test_a_file_that_is_cut_while_it_is_read(signed: Path, roots: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pdf"
    os.mkfifo(pipe)
    content = signed.read_bytes()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write_bytes(content[: len(content) // 2])

    writer = threading.Thread(target=write)
    writer.start()
    outcome = vnedoc("verify", pipe, "--trust", roots, "--offline", "--format", "json")
    writer.join()
    assert outcome.code in {3, 4}
    assert outcome.json()["files"][0]["conclusion"] != "TOTAL-PASSED"


def test_a_picture_of_a_seal_is_no_signature(roots: Path, tmp_path: Path) -> None:
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(595, 842))
    image = pdf.make_stream(
        b"\xff\x00\x00",
        Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Image, Width=1, Height=1, BitsPerComponent=8,
        ColorSpace=pikepdf.Name.DeviceRGB,
    )  # fmt: skip
    page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Seal=image))
    page.Contents = pdf.make_stream(b"q 100 0 0 100 300 100 cm /Seal Do Q")
    path = tmp_path / "seal.pdf"
    path.write_bytes(signed_pdfs.saved(pdf))
    outcome = vnedoc("verify", path, "--trust", roots, "--format", "json")
    assert outcome.code == 3
    (file,) = outcome.json()["files"]
    assert file["conclusion"] == "NO-SIGNATURE"
    assert json.dumps(file["errors"]).count("verify.no-signature") == 1
