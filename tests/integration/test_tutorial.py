"""The tutorial's commands, run as they stand on its page; only the port of its hub is a free one."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-document.md"


@pytest.mark.needs("bash")
def test_the_tutorial_works(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    folder = tmp_path / "desk"
    folder.mkdir()
    programs = Path(sys.executable).parent
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    transcript = tmp_path / "transcript"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = "\n".join(blocks).replace("18280", str(port))
    command = [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script]
    with transcript.open("wb") as output:
        # The servers that the page starts in the background belong to the script's group and end with it.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    said = transcript.read_text(encoding="utf-8")
    assert code == 0, said
    assert said.count("TOTAL-PASSED") >= 3, said
    assert re.search(r"\b01\b[\s\S]*\b03\b", said.rpartition("inbox")[2]), said
    assert len(list((folder / "commune" / "inbox").glob("*.edxml"))) == 1
