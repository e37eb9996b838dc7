"""Write the list of findings in ``docs/reference/verification-json.md`` from the code: ``make docs``."""

from __future__ import annotations

import re
import string
from pathlib import Path

from vnedoc import messages
from vnedoc.sign.checks import CHECKS

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docs" / "reference" / "verification-json.md"
START, END = "<!-- findings: made by `make docs` -->\n", "<!-- end of findings -->\n"
_AREAS = ("verify", "policy", "evidence", "xmlsig", "exchange", "directory", "file", "edxml", "package")
_NOT_FINDINGS = re.compile(
    r"verify\.(word|line|inspect|changes|progress|asks|needs|not-a-crl|not-passed|bad-limit)|xmlsig\.not-passed|policy\.check-"
)


def finding_ids() -> list[str]:
    """Return the ids of everything that a report on a PDF or package can say."""
    places = [*(ROOT / "vnedoc" / "sign").rglob("*.py"), ROOT / "vnedoc/exchange/verification.py"]
    places += [ROOT / "vnedoc/exchange/xmlsig.py", ROOT / "vnedoc/exchange/_edxml/signed.py"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in places)
    known = {f"{area}.{name}" for area in _AREAS for name in messages.load_area(area)}
    named = set(re.findall(r'"([a-z]+\.[a-z0-9-]+)"', source)) & known
    named = {name for name in named if name.startswith(("verify.", "evidence.other", "xmlsig.", "exchange."))}
    named |= {f"policy.not-{check}" for check in CHECKS} | {"policy.undecided"}
    named |= {name for name in known if name.startswith("verify.worker-")}
    named |= {"file.cannot-read", "file.too-large", "directory.unknown-agency", "directory.not-on-that-day"}
    # What a changes-after value is called is no finding, but "changes-unknown" is one.
    return sorted(name for name in named if not _NOT_FINDINGS.match(name) or name == "verify.changes-unknown")


def render() -> str:
    """Return the list."""
    lines = ["| Id | What it says |", "|---|---|"]
    for name in finding_ids():
        area, _, rest = name.partition(".")
        text = messages.load_area(area)[rest]["en"]
        shown = "".join(
            literal + (f"`{value}`" if value is not None else "")
            for literal, value, _, _ in string.Formatter().parse(text)
        )
        lines.append(f"| `{name}` | {shown.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def updated(page: str) -> str:
    """Return the page with the list as it should be."""
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    return head + START + render() + END + tail


if __name__ == "__main__":
    PATH.write_text(updated(PATH.read_text(encoding="utf-8")), encoding="utf-8")
