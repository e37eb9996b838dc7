"""The commands of the how-to pages about packages, run as they stand there, one page after the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import edxml

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = ("pack-a-document", "read-a-package", "recall-a-document")


@pytest.mark.needs("bash")
def test_the_pages_work(tmp_path: Path, pki: TestPKI, issued: bytes) -> None:
    (tmp_path / "trust").mkdir()
    for number, authority in enumerate(pki.ca_certificates):
        (tmp_path / "trust" / f"{number}.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    (tmp_path / "vnedoc.toml").write_text('[verification]\nallowed_hosts = ["127.0.0.1"]\n', encoding="utf-8")
    (tmp_path / "agency.p12").write_bytes(pki.agency.pkcs12("x"))
    (tmp_path / "issued.pdf").write_bytes(issued)
    (tmp_path / "Số liệu kèm theo.xlsx").write_bytes(edxml.many_entries())
    agencies = [{"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST"}]
    directory = json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies})
    (tmp_path / "directory.json").write_text(directory, encoding="utf-8")
    programs = Path(sys.executable).parent
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AGENCY_PASSPHRASE": "x",
        "VNEDOC_LANG": "en",
        "PYTHONUTF8": "1",
    }
    said = ""
    for page in PAGES:
        blocks = re.findall(
            r"^```(sh|python)\n(.*?)^```",
            (FOLDER / f"{page}.md").read_text(encoding="utf-8"),
            re.MULTILINE | re.DOTALL,
        )
        assert len(blocks) >= 3
        script = "\n".join(
            text if kind == "sh" else f"python - <<'PAGE'\n{text}\nPAGE\n" for kind, text in blocks
        )
        command = [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script]
        outcome = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert outcome.returncode == 0, f"{page}: {outcome.stdout}\n{outcome.stderr}"
        said += outcome.stdout
    assert "valid at level strict" in said
    assert "Package signature: over the header and the files (TOTAL-PASSED)" in said
    assert "Sender: H99 (match: named)" in said
    assert (tmp_path / "inbox" / "So-lieu-kem-theo.xlsx").read_bytes() == edxml.many_entries()
    assert {path.name for path in tmp_path.glob("*.edxml")} == {
        *("15.edxml", "recall-15.edxml", "update-15.edxml", "17.edxml")
    }
