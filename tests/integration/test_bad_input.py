"""Each mistake a person can make: the exit code of the table, one sentence, what to do, and nothing touched."""

from __future__ import annotations

import datetime
import io
import re
import shutil
from typing import TYPE_CHECKING

import pikepdf
import pytest

from tests.cli import vnedoc
from vnedoc.testing import documents
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

PASSPHRASE = "TEST"
DAY = datetime.timedelta(days=1)


@pytest.fixture
def desk(tmp_path: Path, pki: TestPKI, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good and bad keys and documents, and settings for a hub that is down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", PASSPHRASE)
    monkeypatch.setenv("WRONG", "not TEST")
    now = datetime.datetime.now(datetime.UTC)
    names = {"common_name": "TEST", "organization": "TEST"}
    keys = {
        "good": pki.leader,
        "expired": pki.issue_person(**names, not_before=now - 9 * DAY, not_after=now - DAY),
        "early": pki.issue_person(**names, not_before=now + DAY, not_after=now + 9 * DAY),
        "encipher": pki.issue_person(**names, key_usage=("key_encipherment",)),
    }
    for name, identity in keys.items():
        (tmp_path / f"{name}.p12").write_bytes(identity.pkcs12(PASSPHRASE))
    shutil.copy(documents.document_path(documents.LETTER), tmp_path / "letter.pdf")
    (tmp_path / "photo.pdf").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pikepdf.open(tmp_path / "letter.pdf") as pdf:
        pdf.save(tmp_path / "encrypted.pdf", encryption=pikepdf.Encryption(owner="x", user="y"))
    (tmp_path / "closed.pdf").write_bytes(_certified_without_changes(tmp_path / "letter.pdf"))
    make_package(tmp_path / "out.edxml", sender="H99", recipients=["H99.15"])
    (tmp_path / "vnedoc.toml").write_text(
        '[agency]\norgan_id = "H99"\norgan_name = "TEST"\n'
        '[store]\nurl = "sqlite:///store/vnedoc.sqlite3"\npayload_folder = "store/payloads"\n'
        '[connections.axis]\nkind = "vxp"\nurl = "http://127.0.0.1:9"\nsystem_id = "SYS"\nsecret_env = "KEY"\n'
    )
    (tmp_path / "store").mkdir()
    return tmp_path


def _certified_without_changes(path: Path) -> bytes:
    with pikepdf.open(path) as pdf:
        parameters = pikepdf.Dictionary(Type=pikepdf.Name.TransformParams, P=1)
        reference = pikepdf.Dictionary(TransformMethod=pikepdf.Name.DocMDP, TransformParams=parameters)
        value = pdf.make_indirect(
            pikepdf.Dictionary(Type=pikepdf.Name.Sig, Contents=b"", Reference=[reference])
        )
        field = pdf.make_indirect(pikepdf.Dictionary(FT=pikepdf.Name.Sig, T="Certification", V=value))
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=[field])
        output = io.BytesIO()
        pdf.save(output)
        return output.getvalue()


def _sign(document: str = "letter.pdf", *, key: str = "good", env: str = "KEY", more: str = "") -> list[str]:
    base = f"sign {document} --signer pkcs12:{key}.p12 --passphrase-env {env} -o signed.pdf"
    return [*base.split(), *(more or "--role invisible").split()]


BOX_OUTSIDE = (
    f"--role approve --image {documents.document_path(documents.LEADER_SIGNATURE)} --box 550,10,90,40"
)

CASES: dict[str, tuple[Callable[[], list[str]], int, str]] = {
    "wrong passphrase": (lambda: _sign(env="WRONG"), 5, "passphrase"),
    "expired certificate": (lambda: _sign(key="expired"), 5, "expired"),
    "certificate not yet valid": (lambda: _sign(key="early"), 5, "valid only from"),
    "certificate that may not sign": (lambda: _sign(key="encipher"), 5, "may not sign"),
    "encrypted PDF": (lambda: _sign("encrypted.pdf"), 4, "encrypted"),
    "not a PDF": (lambda: _sign("photo.pdf"), 4, "not a PDF"),
    "certified no changes": (lambda: _sign("closed.pdf"), 1, "forbids every change"),
    "box outside the page": (lambda: _sign(more=BOX_OUTSIDE), 2, "not within page"),
    "unknown role": (lambda: _sign(more="--role king"), 2, "king"),
    "TSA that does not answer": (
        lambda: _sign(more="--role invisible --tsa http://127.0.0.1:9/tsa"),
        6,
        "127.0.0.1:9",
    ),
    "hub that is down": (lambda: ["send", "out.edxml"], 6, "outbox"),
}


@pytest.mark.parametrize("case", CASES)
def test_mistake(desk: Path, case: str) -> None:
    arguments, code, sentence = CASES[case]
    before = {path: path.read_bytes() for path in desk.iterdir() if path.is_file()}
    outcome = vnedoc(*arguments())
    assert outcome.code == code, outcome.err
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    said = [line for line in outcome.err.splitlines() if line.strip()]
    # The error, then what to do about it; click prints its usage with a pointer to --help instead.
    assert len(said) >= 2
    assert {path: path.read_bytes() for path in desk.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("case", [case for case in CASES if case != "unknown role"])
def test_mistake_in_vietnamese(desk: Path, case: str) -> None:
    arguments, code, _ = CASES[case]
    outcome = vnedoc(*arguments(), lang="vi")
    assert outcome.code == code
    assert re.search("Lỗi: |Trục liên thông chưa nhận", outcome.err)
