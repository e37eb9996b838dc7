"""What the page about trusting an authority says works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.sign.trust import fingerprint, load_trust
from vnedoc.testing.pki import TestPKI

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "trust-an-authority.md"


@pytest.mark.needs("bash")
def test_the_page_about_authorities_works(tmp_path: Path, pki: TestPKI) -> None:
    text = PAGE.read_text(encoding="utf-8")
    *commands, last = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (program,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(commands) == 2
    (tmp_path / "root.pem").write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "FINGERPRINT": fingerprint(pki.root.certificate),
    }

    def run(*command: str) -> None:
        outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr

    run("bash", "-euo", "pipefail", "-c", "\n".join(commands))
    assert len(load_trust(str(tmp_path / "anchors")).anchors) == 1
    run("bash", "-euo", "pipefail", "-c", last)
    assert list((tmp_path / "anchors").iterdir()) == []
    run(sys.executable, "-c", program)
    assert len(load_trust(str(tmp_path / "anchors")).anchors) == 1
