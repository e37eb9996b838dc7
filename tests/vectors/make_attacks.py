"""Make the vectors: ``python -m tests.vectors.make_attacks``. Made again, they have the same bytes.

Each vector is a folder with its file and ``case.json``. With ``--check`` nothing is written; it only says which
vectors differ from what would be made.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vectors import back_again, forgeries, honest, identities, revisions, structures

if TYPE_CHECKING:
    from tests.vectors.attack import Attack

HERE = Path(__file__).parent
FILE = "document.pdf"
VALIDATION_TIME = "2026-07-01T00:00:00+00:00"
ALL: tuple[Attack, ...] = (
    *honest.HONEST,
    *forgeries.ATTACKS,
    *revisions.ATTACKS,
    *structures.ATTACKS,
    *back_again.ATTACKS,
)


def case(attack: Attack) -> bytes:
    """Return what is written about an attack."""
    values = {
        "id": attack.id,
        "description": attack.description,
        "source": attack.source,
        "importance": attack.importance,
        "validation_time": VALIDATION_TIME,
        "expected": {
            "conclusion": attack.conclusion,
            "errors": list(attack.errors),
            "warnings": list(attack.warnings),
        },
        "second_tool": {
            "tool": attack.tool,
            "shows": list(attack.shows),
            "shows_not": list(attack.hides),
        },
    }
    return (json.dumps(values, ensure_ascii=False, indent=2) + "\n").encode()


def main() -> int:
    """Make every vector, or tell which differ."""
    only_check = "--check" in sys.argv[1:]
    wanted = {HERE / "trust.pem": identities.trust_pem()}
    for attack in ALL:
        folder = HERE / attack.id
        wanted |= {folder / FILE: attack.make(), folder / "case.json": case(attack)}
    known = {path for kind in ("attacks", "honest") for path in (HERE / kind).rglob("*") if path.is_file()}
    different = [
        path for path, content in wanted.items() if not path.exists() or path.read_bytes() != content
    ]
    different += sorted(known - wanted.keys())
    for path in different:
        print(path.relative_to(HERE))
        if only_check:
            continue
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
        else:
            path.unlink()
    return 1 if only_check and different else 0


if __name__ == "__main__":
    sys.exit(main())
