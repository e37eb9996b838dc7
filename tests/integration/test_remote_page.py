"""What the page about remote services says to type works, on a service that keeps the protocol's rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vnedoc
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.remote_signing import CSCServiceOptions, FakeCSCService

PAGE = Path(vnedoc.__file__).parents[1] / "docs" / "how-to" / "sign-with-a-remote-service.md"


def _commands(address: str) -> str:
    section = PAGE.read_text(encoding="utf-8").split("\n## Step by step\n")[1].split("\n## ")[0]
    commands = "\n".join(line[4:] for line in section.split("\n") if line.startswith("    "))
    changed = re.sub(r'"csc\+https://[^"]*"', f'"{address}"', commands).replace("VĂN A", "VĂN TEST")
    assert address in changed
    return changed


@pytest.mark.needs("bash")
@pytest.mark.parametrize("pin", ["right", "missing"])
def test_the_steps_with_a_csc_service(pki: TestPKI, tmp_path: Path, pin: str) -> None:
    for name, target in ((documents.LETTER, "draft.pdf"), (documents.LEADER_SIGNATURE, "signature.png")):
        shutil.copy(documents.document_path(name), tmp_path / target)
    with FakeCSCService(pki.leader, CSCServiceOptions(api="v1", factors=("pin",))) as service:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "APP_SECRET": service.options.client_secret,
            **({"SIGN_PIN": service.options.pin} if pin == "right" else {}),
        }
        outcome = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _commands(f"{service.address}&client=app-TEST")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    assert "NGUYỄN VĂN TEST" in outcome.stdout
    if pin == "missing":
        assert outcome.returncode == 5
        assert not (tmp_path / "signed.pdf").exists()
        return
    assert outcome.returncode == 0, outcome.stderr
    trust = TrustStore.from_certificates(pki.ca_certificates)
    assert verify_pdf(tmp_path / "signed.pdf", trust=trust).files[0].signatures[0].integrity
