"""``vnedoc pki``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from vnedoc._cli.main import call
from vnedoc.errors import ExitCode
from vnedoc.testing.pki import TestPKI

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "VNEDOC_TEST_PASSPHRASE"


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "TEST passphrase")


def pki_command(name: str, folder: Path, *options: str) -> int:
    return call(["--lang", "en", "pki", name, str(folder), "--passphrase-env", VARIABLE, *options])


def test_make_test_writes_a_pki_and_says_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pki_command("make-test", tmp_path) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(str(path) for path in tmp_path.iterdir())
    assert "legal value" in err
    made = TestPKI.load(tmp_path, passphrase="TEST passphrase")
    assert made.leader.common_name == "NGUYỄN VĂN TEST"


def test_make_test_takes_the_passphrase_from_a_descriptor(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe\n")
    os.close(writing)
    try:
        assert call(["pki", "make-test", str(tmp_path), "--passphrase-fd", str(reading)]) == ExitCode.DONE
    finally:
        os.close(reading)
    assert TestPKI.load(tmp_path, passphrase="from a pipe")


def test_make_test_names_the_port_it_was_told(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert pki_command("make-test", tmp_path, "--port", str(port)) == ExitCode.DONE
    assert json.loads((tmp_path / "pki.json").read_text("utf-8"))["port"] == port


def test_make_test_replaces_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pki_command("make-test", tmp_path) == ExitCode.DONE
    before = (tmp_path / "root.pem").read_bytes()
    assert pki_command("make-test", tmp_path) == ExitCode.USAGE
    assert (tmp_path / "root.pem").read_bytes() == before
    assert "--force" in capsys.readouterr().err
    assert pki_command("make-test", tmp_path, "--force") == ExitCode.DONE
    assert (tmp_path / "root.pem").read_bytes() != before


def test_a_missing_passphrase_is_a_matter_of_configuration(tmp_path: Path) -> None:
    assert (
        call(["pki", "make-test", str(tmp_path), "--passphrase-env", "VNEDOC_TEST_UNSET"])
        == ExitCode.CONFIGURATION
    )
    assert list(tmp_path.iterdir()) == []


def test_no_passphrase_in_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pki_command("make-test", tmp_path)
    out, err = capsys.readouterr()
    assert "TEST passphrase" not in out + err + (tmp_path / "pki.json").read_text("utf-8")


def test_serve_needs_a_pki(tmp_path: Path) -> None:
    assert pki_command("serve", tmp_path) == ExitCode.CONFIGURATION


def test_serve_needs_the_right_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pki_command("make-test", tmp_path) == ExitCode.DONE
    monkeypatch.setenv(VARIABLE, "wrong")
    assert pki_command("serve", tmp_path) == ExitCode.CONFIGURATION


def test_serve_answers_until_interrupted(tmp_path: Path) -> None:
    assert pki_command("make-test", tmp_path) == ExitCode.DONE
    command = [
        sys.executable,
        "-c",
        "from vnedoc._cli.main import run; run()",
        "--lang",
        "en",
        "pki",
        "serve",
    ]
    with subprocess.Popen(
        [*command, str(tmp_path), "--passphrase-env", VARIABLE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            addresses = [process.stdout.readline().split() for _ in range(5)]
            assert "Ctrl+C" in process.stderr.readline()
            for name, url in addresses:
                if name == "crl":
                    with urllib.request.urlopen(url, timeout=10) as answer:
                        assert answer.status == 200
            tsa_url = dict(addresses)["tsa"]
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(tsa_url, timeout=10)
            caught.value.close()
            assert caught.value.code == 403
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == ExitCode.DONE
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
