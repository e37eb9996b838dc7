"""The entry point: instant answers, bugs without tracebacks, help for every command."""

import logging
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.cli import run, vnedoc
from vnedoc._cli import main
from vnedoc._internal.version import VERSION


def test_version_is_instant() -> None:
    code = (
        "import sys; from vnedoc._cli.main import call; call(['--version']);"
        "heavy = {'pyhanko', 'cryptography', 'lxml', 'sqlalchemy', 'httpx2', 'pikepdf', 'rich'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == f"vnedoc {VERSION}\n"


def test_importing_vnedoc_loads_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); import vnedoc;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names - {'vnedoc'};"
        "sys.exit(f'loaded: {new}' if new else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_every_command_has_help(command: str) -> None:
    outcome = vnedoc(command, "--help")
    assert outcome.code == 0, outcome.err
    assert f"vnedoc {command}" in outcome.out


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["--colour", "sign"], ["--lang", "fr", "sign"], ["sign"]]
)
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    outcome = vnedoc(*arguments)
    assert outcome.code == 2
    assert "Usage:" in outcome.err


def test_a_bug_is_a_sentence_and_code_70(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> object:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(main, "importlib", types.SimpleNamespace(import_module=broken))
    outcome = vnedoc("sign", "--help")
    assert outcome.code == 70
    assert "ZeroDivisionError" in outcome.err
    assert "Traceback" not in outcome.err
    assert "Traceback" in vnedoc("-vv", "sign", "--help").err


def test_the_language_of_the_settings_counts_unless_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VNEDOC_LANG", raising=False)
    (tmp_path / "vnedoc.toml").write_text('language = "en"')
    arguments = ["demo", "--dir", str(tmp_path)]
    assert "holds other files" in run(arguments).err
    assert "đang chứa tệp khác" in run(["--lang", "vi", *arguments]).err
    (tmp_path / "vnedoc.toml").write_text('language = "fr"')
    assert run(arguments).code == 5


@pytest.mark.parametrize(
    ("options", "heard"),
    [
        ([], ["warning"]),
        (["-q"], []),
        (["-v"], ["information", "warning"]),
        (["-vv"], ["detail", "information", "warning"]),
    ],
)
def test_how_much_is_said(
    options: list[str], heard: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def speak(_folder: Path, *, say: object) -> None:
        logger = logging.getLogger("vnedoc.test")
        logger.debug("detail")
        logger.info("information")
        logger.warning("warning")
        logging.getLogger("httpx2").warning("of a library")

    monkeypatch.setattr("vnedoc.testing.story.tell_story", speak)
    outcome = run(["--lang", "en", *options, "demo", "--dir", str(tmp_path)])
    assert outcome.code == 0
    assert outcome.err.split() == heard
    assert logging.getLogger("vnedoc").propagate, "the caller's own log is as it was"
