"""The reference of attacks names findings, vectors and tests that exist, and every vector has its row."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/attacks.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)
VECTORS = {path.parent.name for path in (ROOT / "tests/vectors/attacks").glob("*/case.json")}


def test_every_finding_is_in_the_catalogue() -> None:
    catalogue = tomllib.loads((ROOT / "vnedoc/messages/catalogue/verify.toml").read_text(encoding="utf-8"))
    named = {quoted.removeprefix("verify.") for quoted in QUOTED if re.fullmatch(r"verify\.[a-z-]+", quoted)}
    assert named
    assert named <= catalogue.keys()


def test_every_vector_has_a_row_and_every_row_its_vectors() -> None:
    patterns = [quoted for quoted in QUOTED if re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:-\*)?", quoted)]
    matched: set[str] = set()
    for pattern in patterns:
        matched |= {name for name in VECTORS if re.fullmatch(pattern.replace("*", ".*"), name)}
    # Damage of a plain kind stands in no paper.
    assert VECTORS - matched <= {"saved-anew", "truncated", "bomb-object-stream"}


def test_every_test_exists() -> None:
    tests = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    everything = "\n".join(tests.values())
    for quoted in QUOTED:
        if match := re.fullmatch(r"(test_\w+\.py)(?:::(test_\w+))?", quoted):
            assert match[1] in tests, quoted
            assert match[2] is None or f"def {match[2]}(" in tests[match[1]], quoted
        elif re.fullmatch(r"test_\w+", quoted):
            assert f"def {quoted}(" in everything, quoted
