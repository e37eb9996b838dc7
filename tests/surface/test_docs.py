"""The docs say what is true: commands, links, options and files that they name exist."""

import re
from pathlib import Path

import pytest

from tests.surface.cli_reference import PATH, render
from vnedoc._cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_docs_exist_with_their_options(page: Path) -> None:
    if page == PATH:
        return
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    for line in re.findall(
        r"^(?: {4}|\$ |\t).*?\bvnedoc (?:--\w+ \w+ )*([a-z-]+(?: .*)?)$", text, re.MULTILINE
    ):
        words = line.split()
        assert words[0] in COMMANDS, line
        command = cli.get_command(None, words[0])  # type: ignore[arg-type] # no context is needed
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words[1:]:
            inner = getattr(command, "commands", {}).get(word)
            if inner is not None:
                command = inner
                known |= {option for parameter in command.params for option in parameter.opts}
        assert not getattr(command, "commands", {}), f"{line}: no such command"
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known | {"--help"}, f"{line}: {used - known}"
