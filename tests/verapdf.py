"""veraPDF, the validator of PDF/A and PDF/UA, fetched by Maven in a fixed version with a fixed digest."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CANNOT_FETCH", "VeraPDF"]

VERSION = "1.28.2"
SHA256 = "687d4d8bcfec48c9f7e931cf78ed061f1eeccfba55d4cdc000ba9b4d8aa46ce6"
CANNOT_FETCH = "veraPDF could not be fetched"
"""How the skip is called that no installation of tools can prevent."""
_MAIN = "org.verapdf.apps.GreenfieldCliWrapper"
_VERDICT = re.compile(r"^(PASS|FAIL|ERROR) (.+) (\w+)$")


class VeraPDF:
    """Runs veraPDF on files.

    Args:
        jar: The program.
    """

    def __init__(self, jar: Path) -> None:
        self._jar = jar

    @classmethod
    def fetched(cls) -> VeraPDF:
        """Return it, fetched if it is not there; without a way to fetch it the test is skipped."""
        jar = (
            Path.home() / ".m2/repository/org/verapdf/apps/greenfield-apps" / VERSION
            / f"greenfield-apps-{VERSION}.jar"
        )  # fmt: skip
        for _ in range(2):
            if jar.is_file():
                break
            artifact = f"org.verapdf.apps:greenfield-apps:{VERSION}"
            command = [
                "mvn", "--batch-mode", "--quiet", "dependency:get", f"-Dartifact={artifact}",
                "-Dtransitive=false", f"-Dmaven.repo.local={jar.parents[5]}",
            ]  # fmt: skip
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=240)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                continue
        if not jar.is_file():
            pytest.skip(CANNOT_FETCH)
        assert hashlib.sha256(jar.read_bytes()).hexdigest() == SHA256, "another file than the one we know"
        return cls(jar)

    def broken_rules(
        self, contents: Mapping[str, bytes], folder: Path, *, flavour: str = "0"
    ) -> dict[str, tuple[str, frozenset[str]]]:
        """Validate documents.

        Args:
            contents: The documents by name.
            folder: Where to put them.
            flavour: What they should follow; ``0`` takes what they claim.

        Returns:
            For each what it was held against, and the clauses that it breaks.
        """
        paths = []
        for number, content in enumerate(contents.values()):
            paths.append(folder / f"{number}.pdf")
            paths[-1].write_bytes(content)
        command = ["java", "-cp", str(self._jar), _MAIN, "--format", "text", "-v", "-f", flavour]
        answer = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, timeout=300)
        found: dict[str, tuple[str, set[str]]] = {}
        current: set[str] = set()
        for line in answer.stdout.splitlines():
            verdict = _VERDICT.match(line)
            if verdict is not None and verdict[1] != "ERROR":
                current = set()
                found[verdict[2]] = (verdict[3], current)
            elif line.startswith("  FAIL "):
                current.add(line.split()[1])
        assert set(found) == set(map(str, paths)), answer.stdout + answer.stderr
        return {
            name: (found[str(path)][0], frozenset(found[str(path)][1]))
            for name, path in zip(contents, paths, strict=True)
        }
