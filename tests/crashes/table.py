"""The table of the matrix: run all of it, print it, write it into ``docs/explanation/delivery.md``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crashes.hub_rows import HUB_STEPS, run_hub_step
from tests.crashes.places import STORES, running_place, running_postgresql
from tests.crashes.rows import run_step
from tests.crashes.steps import MORE_STEPS, OTHER_WIRE_STEPS, STEPS
from tests.crashes.troubles import TROUBLES
from tests.crashes.zygote import running_zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crashes.hub_rows import HUB_STEPS, run_hub_step
from tests.crashes.places import Place

__all__ = ["BEGIN", "END", "PAGE", "main", "row_names"]

PAGE = Path(__file__).parents[2] / "docs/explanation/delivery.md"
BEGIN = "<!-- crash matrix: written by `make crash-matrix` -->"
END = "<!-- end of the crash matrix -->"
_OFFICE_STEPS = (*STEPS, *MORE_STEPS, *OTHER_WIRE_STEPS)
HEAD = ("Killed at, or trouble", *STORES.values())


def row_names() -> list[str]:
    """Return the names of all rows, in the order of the table."""
    return [*(step.title for step in (*_OFFICE_STEPS, *HUB_STEPS)), *TROUBLES]


def _rows() -> Iterator[tuple[str, Callable[[Place], str]]]:
    for step in _OFFICE_STEPS:
        yield step.title, lambda place, step=step: str(run_step(step, place))  # type: ignore[misc] # bound now
    for hub_step in HUB_STEPS:
        yield hub_step.title, lambda place, step=hub_step: str(run_hub_step(step, place))  # type: ignore[misc] # the same
    yield from TROUBLES.items()


def _run() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_postgresql())
        zygote = stack.enter_context(running_zygote())
        for kind in STORES:
            with running_place(server if kind == "postgresql" else None, zygote) as place:
                for name, row in _rows():
                    try:
                        cell = row(place)
                    except Exception as error:  # noqa: BLE001 - a row that fails must not hide the others
                        cell = f"**{type(error).__name__}: {' '.join(str(error).split())}**"
                    found.setdefault(name, {})[kind] = cell
                    print(f"{STORES[kind]:10} | {name} | {cell}", file=sys.stderr, flush=True)
    return found


def _table(found: dict[str, dict[str, str]]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    lines += [
        f"| {name} | {' | '.join(cells[kind].replace('|', '/') for kind in STORES)} |"
        for name, cells in found.items()
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the matrix; return 1 if something was lost, doubled or broken."""
    found = _run()
    table = _table(found)
    print(table)
    bad = [name for name, cells in found.items() if any(cell.startswith("**") for cell in cells.values())]
    if bad:
        print(f"{len(bad)} rows are not as they should be; the page stays as it is", file=sys.stderr)
        return 1
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    return 0
