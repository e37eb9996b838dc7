"""Throw mutated input at a target: ``python -m tests.fuzz package --minutes 5``.

With atheris (https://github.com/google/atheris) installed, what the code does guides the mutations; without it, they
are random from a seed that is printed, so that a find can be had again. A find is written to a file and named.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import pkgutil
import random
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import tests.fuzz

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TARGETS = sorted(
    module.name.removeprefix("fuzz_")
    for module in pkgutil.iter_modules(tests.fuzz.__path__)
    if module.name.startswith("fuzz_")
)
MAX_SECONDS = 20.0
"""A single input that takes longer is a find, too."""
_PIECES = (
    *(
        b"<",
        b">",
        b"&",
        b'"',
        b"'",
        b"</",
        b"/>",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?",
        b"\x00",
        b"\xff",
    ),
    *(
        b"\xef\xbb\xbf",
        b"&#0;",
        b"&#x202e;",
        b"../",
        b"=",
        b"==",
        b"PK\x03\x04",
        b"%PDF-",
        b"\r\n",
        b"edXML:",
    ),
    *(b"MessageHeader", b"Status", b"Attachment", b' Id="vnedoc-header"', b"<!DOCTYPE a>", b"9" * 40),
)


def mutate(
    content: bytes, others: list[bytes], generator: random.Random, pieces: Sequence[bytes] = _PIECES
) -> bytes:
    """Return a content with a few random changes."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 3, 8))):
        place = generator.randrange(len(changed) + 1)
        length = generator.choice((1, 2, 8, 64, 700))
        match generator.randrange(7):
            case 0 if changed:
                changed[place - 1] = generator.randrange(256)
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = generator.choice(pieces)
            case 3:
                changed[place:place] = changed[place : place + length]
            case 4:
                other = generator.choice(others)
                start = generator.randrange(len(other) + 1)
                changed[place : place + length] = other[start : start + length]
            case 5:
                start = generator.randrange(len(changed) + 1)
                piece = changed[start : start + length]
                del changed[start : start + length]
                place = min(place, len(changed))
                changed[place:place] = piece
            case _:
                changed[place:place] = generator.choice(pieces) * generator.choice((2, 50, 3000))
    return bytes(changed)


def run_randomly(name: str, *, seconds: float, seed: int) -> int:
    """Run a target on random mutations; return how many inputs it was given.

    Raises:
        SystemExit: Something was found.
    """
    target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    seeds: list[bytes] = target.seeds()
    pieces: Sequence[bytes] = getattr(target, "PIECES", _PIECES)
    generator = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    for content in seeds:
        _one(name, target.one, content)
    while time.monotonic() < end:
        _one(name, target.one, mutate(generator.choice(seeds), seeds, generator, pieces))
        count += 1
    return count


def _one(name: str, target: Callable[[bytes], object], content: bytes) -> None:
    start = time.monotonic()
    try:
        target(content)
        taken = time.monotonic() - start
        if taken <= MAX_SECONDS:
            return
        print(f"{name}: took {taken:.1f} s", file=sys.stderr)
    except Exception:  # noqa: BLE001 - whatever comes out is the find
        traceback.print_exc()
    path = Path(f"crash-{name}-{hashlib.sha256(content).hexdigest()[:16]}")
    path.write_bytes(content)
    raise SystemExit(f"{name}: found; the input is {path}")


def run_guided(name: str, *, seconds: float, folder: Path) -> None:
    """Run a target under atheris; does not return."""
    import atheris

    with atheris.instrument_imports(include=["vnedoc"]):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    folder.mkdir(parents=True, exist_ok=True)
    for content in target.seeds():
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    arguments = [
        f"-max_total_time={int(seconds)}",
        f"-timeout={int(MAX_SECONDS)}",
        "-rss_limit_mb=2048",
        str(folder),
    ]
    atheris.Setup([sys.argv[0], *arguments], target.one)
    atheris.Fuzz()


def main(arguments: list[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz one target, or all in turn."
    )
    parser.add_argument("target", choices=TARGETS, nargs="?")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seconds", type=float, default=None, help="for each target; instead of --minutes")
    parser.add_argument("--seed", type=int, default=None, help="for random mutations; default: the time")
    parser.add_argument("--random", action="store_true", help="random mutations although atheris is there")
    parser.add_argument("--corpus", type=Path, default=None, help="folder for atheris; default: .fuzz/TARGET")
    given = parser.parse_args(arguments)
    seconds = given.minutes * 60 if given.seconds is None else given.seconds
    guided = not given.random and importlib.util.find_spec("atheris") is not None
    if guided and given.target is not None:
        run_guided(given.target, seconds=seconds, folder=given.corpus or Path(".fuzz") / given.target)
        return
    # Atheris ends the process: all targets in turn are mutated at random.
    seed = int(time.time()) if given.seed is None else given.seed
    for name in TARGETS if given.target is None else [given.target]:
        print(f"{name}: random mutations, seed {seed}")
        count = run_randomly(name, seconds=seconds, seed=seed)
        print(f"{name}: {count} inputs, nothing found")


if __name__ == "__main__":
    main()
