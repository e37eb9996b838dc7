"""Run the command line in this process, as the entry point does."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from typing import Any

from vnedoc._cli.main import call


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what was printed as JSON."""
        return json.loads(self.out)


def vnedoc(*arguments: object, lang: str = "en") -> Outcome:
    """Run one command in a language."""
    return run(["--lang", lang, *map(str, arguments)])


def run(arguments: list[str]) -> Outcome:
    """Run one command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call(arguments)
    return Outcome(int(code), out.getvalue(), err.getvalue())
