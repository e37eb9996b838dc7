"""The tests that the compliance page names exist."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compliance.md"


def _named() -> list[tuple[str, str]]:
    """Return files and tests; a name that starts with :: belongs to the file before it."""
    found, file = [], ""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", PAGE.read_text(encoding="utf-8")):
        file = path or file
        if path or name:
            found.append((file, name))
    return found


def test_the_page_names_tests() -> None:
    assert len(_named()) > 30


@pytest.mark.parametrize(("file", "name"), sorted(set(_named())))
def test_what_is_named_exists(file: str, name: str) -> None:
    content = (PAGE.parents[2] / file).read_text(encoding="utf-8")
    assert f"def {name}(" in content if name else "def test_" in content


def test_every_row_of_article_5_is_answered() -> None:
    rows = set(re.findall(r"^\| (T15-S\d+) ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == {f"T15-S{number}" for number in range(1, 15)}
