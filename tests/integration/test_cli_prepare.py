"""``vnedoc prepare`` and ``vnedoc complete``, with OpenSSL as the key that is elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cli import vnedoc
from tests.second_tools import pdfsig
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import Identity, TestPKI

PREPARE = (
    "prepare", documents.DECISION, "--certificate", "leader.pem", "--role", "approve",
    "--image", documents.LEADER_SIGNATURE, "--anchor", documents.LEADER_NAME, "--state", "x.state",
)  # fmt: skip
COMPLETE = ("complete", "--state", "x.state", "--signature", "x.sig", "-o", "signed.pdf")


def _write_identity(folder: Path, name: str, identity: Identity) -> None:
    chain = (identity.certificate, *identity.chain[:-1])
    (folder / f"{name}.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in chain))
    key = identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(key)


@pytest.fixture
def desk(tmp_path: Path, pki: TestPKI, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a draft, the leader's certificate, and the key for OpenSSL."""
    monkeypatch.chdir(tmp_path)
    _write_identity(tmp_path, "leader", pki.leader)
    for name in (documents.DECISION, documents.LEADER_SIGNATURE):
        shutil.copy(documents.document_path(name), tmp_path / name)
    return tmp_path


def _openssl(*arguments: object) -> None:
    outcome = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr


def _with_dgst(folder: Path, key: str, *options: str) -> None:
    """Sign the bytes; OpenSSL hashes."""
    _openssl("dgst", "-sha256", "-sign", folder / key, *options, "-out", folder / "x.sig", folder / "x.tbs")


def _with_pkeyutl(folder: Path, key: str, *options: str) -> None:
    """Sign the digest, as a token or a service does."""
    _openssl(
        "pkeyutl", "-sign", "-inkey", folder / key, "-in", folder / "x.digest", "-out", folder / "x.sig",
        "-pkeyopt", "digest:sha256", *options,
    )  # fmt: skip


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("sign", [_with_dgst, _with_pkeyutl])
@pytest.mark.parametrize(
    ("key", "mechanism", "dgst", "pkeyutl"),
    [
        ("rsa-2048", None, (), ()),
        (
            "rsa-3072",
            "rsassa_pss",
            ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"),
            ("-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"),
        ),
        ("ec-p256", None, (), ()),
    ],
)
def test_openssl_signs_what_was_prepared(
    desk: Path,
    pki: TestPKI,
    sign: Callable[..., None],
    key: str,
    mechanism: str | None,
    dgst: tuple[str, ...],
    pkeyutl: tuple[str, ...],
) -> None:
    identity = pki.issue_person(common_name="NGUYỄN VĂN TEST", organization="TEST", key=key)
    _write_identity(desk, "other", identity)
    more = ("--mechanism", mechanism) if mechanism else ()
    prepared = vnedoc(*PREPARE, "--certificate", "other.pem", "--content", "x.tbs", *more)
    assert prepared.code == 0, prepared.err
    assert prepared.out == json.loads((desk / "x.state").read_bytes())["digest"] + "\n"
    assert not (desk / "signed.pdf").exists()
    (desk / "x.digest").write_bytes(bytes.fromhex(prepared.out))
    sign(desk, "other.key", *(dgst if sign is _with_dgst else pkeyutl))
    completed = vnedoc(*COMPLETE, "--format", "json")
    assert completed.code == 0, completed.err
    (file,) = completed.json()["files"]
    assert completed.json()["schema"] == "vnedoc.signing/1"
    assert (file["field"], file["role"], file["level"], file["page"]) == (
        "vnedoc-approve-1",
        "approve",
        "PAdES-B-B",
        2,
    )
    trust = TrustStore.from_certificates(pki.leader.chain)
    (signature,) = verify_pdf(desk / "signed.pdf", trust=trust).files[0].signatures
    assert signature.integrity


@pytest.mark.needs("openssl")
@pytest.mark.needs("pdfsig")
def test_days_later_in_another_place_with_a_timestamp(desk: Path, pki: TestPKI) -> None:
    prepared = vnedoc(*PREPARE, "--level", "b-t", "--content", "x.tbs")
    assert prepared.code == 0, prepared.err
    _with_dgst(desk, "leader.key")
    elsewhere = desk / "elsewhere"
    elsewhere.mkdir()
    for name in ("x.state", "x.sig", documents.DECISION):
        (desk / name).rename(elsewhere / name)
    state, signature, output = elsewhere / "x.state", elsewhere / "x.sig", elsewhere / "signed.pdf"
    arguments = ("complete", "--state", state, "--signature", signature, "-o", output)
    assert vnedoc(*arguments).code == 2
    with pki.services.failing(tsa="silent"):
        assert vnedoc(*arguments, "--tsa", "http://127.0.0.1:9/tsa").code == 6
    assert not output.exists()
    # The source lies beside the state here.
    completed = vnedoc(*arguments, "--tsa", pki.tsa_url)
    assert completed.code == 0, completed.err
    assert "PAdES-B-T" in completed.out
    words = pdfsig(output)
    assert "Signature is Valid." in words


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (lambda desk: (desk / "x.sig").write_bytes(b"TEST"), 1, "does not fit"),
        (lambda desk: (desk / documents.DECISION).write_bytes(b"%PDF-1.7"), 1, "bytes differ"),
        (lambda desk: (desk / documents.DECISION).unlink(), 4, "cannot be read"),
        (lambda desk: (desk / "x.sig").unlink(), 4, "cannot be read"),
        (lambda desk: (desk / "x.state").unlink(), 4, "cannot be read"),
        (lambda desk: (desk / "x.state").write_text("{}"), 4, "state file"),
        (
            lambda desk: (desk / "x.state").write_text(
                (desk / "x.state").read_text().replace('"approve"', '"initial"')
            ),
            1,
            "",
        ),
    ],
)
@pytest.mark.needs("openssl")
def test_what_does_not_belong_together_is_not_written(
    desk: Path, change: Callable[[Path], object], code: int, sentence: str
) -> None:
    assert vnedoc(*PREPARE, "--content", "x.tbs").code == 0
    _with_dgst(desk, "leader.key")
    change(desk)
    outcome = vnedoc(*COMPLETE)
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert not (desk / "signed.pdf").exists()


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        (("--certificate", "none.pem"), 4, "none.pem"),
        (("--certificate", documents.DECISION), 4, "no certificate"),
        (("--anchor", "TRẦN VĂN VẮNG"), 2, "VẮNG"),
        (("--level", "b-lt", "--tsa", "http://127.0.0.1:9/tsa"), 2, "trust"),
        (("--mechanism", "ecdsa"), 5, "ecdsa"),
        (("--state", documents.DECISION), 2, "overwrite"),
        (("--content", documents.DECISION), 2, "overwrite"),
    ],
)
def test_what_cannot_be_prepared(desk: Path, more: tuple[str, ...], code: int, sentence: str) -> None:
    before = {path.name: path.read_bytes() for path in desk.iterdir()}
    outcome = vnedoc(*PREPARE, *more)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert sentence in outcome.err
    assert {path.name: path.read_bytes() for path in desk.iterdir()} == before


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sign-in-two-steps.md"


@pytest.mark.needs("openssl")
@pytest.mark.needs("xxd")
def test_the_page_about_two_steps_works(desk: Path, pki: TestPKI) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    shutil.copy(desk / documents.DECISION, desk / "draft.pdf")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    outcome = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert len((desk / "draft.digest").read_text().strip()) == 64
    (signature,) = (
        verify_pdf(desk / "signed.pdf", trust=TrustStore.from_certificates(pki.leader.chain))
        .files[0]
        .signatures
    )
    assert signature.integrity


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("level", ["b-lt", "b-lta"])
def test_a_long_term_level(desk: Path, pki: TestPKI, level: str) -> None:
    (desk / "root.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in pki.ca_certificates))
    means = ("--trust", "root.pem", "--tsa", pki.tsa_url, "--allow-host", "127.0.0.1", "--crl-cache", "crl")
    without = vnedoc(*PREPARE, "--level", level, "--tsa", pki.tsa_url)
    assert (without.code, without.out) == (2, "")
    outcome = vnedoc(*PREPARE, "--level", level, *means, "--content", "x.tbs")
    assert outcome.code == 0, outcome.err
    _with_dgst(desk, "leader.key")
    assert vnedoc(*COMPLETE, "--tsa", pki.tsa_url).code == 2
    assert not (desk / "signed.pdf").exists()
    outcome = vnedoc(*COMPLETE, *means, "--format", "json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["files"][0]["level"] == f"PAdES-{level.upper()}"
    trust = TrustStore.from_certificates(pki.ca_certificates)
    signature, *_ = verify_pdf(desk / "signed.pdf", trust=trust).files[0].signatures
    assert signature.level == f"PAdES-{level.upper()}"
