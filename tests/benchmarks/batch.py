"""Signing a folder of 50 PDFs with the leader's key and picture: in one process, and in two."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.harness import measure, print_table
from vnedoc.testing import documents

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = "tests.benchmarks.batch"
COUNT = 50
_OPEN = contextlib.ExitStack()  # until this process ends


def prepare(folder: Path) -> None:
    """Make the material."""
    (folder / "batch").mkdir(exist_ok=True)
    (folder / "batch-out").mkdir(exist_ok=True)
    content = documents.document_bytes(documents.DECISION)
    for number in range(COUNT):
        (folder / "batch" / f"{number:02}.pdf").write_bytes(content)


def one_process(folder: Path) -> Callable[[], object]:
    """Sign here."""
    from vnedoc.sign.batch import sign_many
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

    signer = PKCS12Signer((folder / "leader.p12").read_bytes(), passphrase="TEST")
    return lambda: sign_many(_jobs(folder), options=_options(), signer=signer, again=True)


def already_signed(folder: Path) -> Callable[[], object]:
    """Start a finished batch again: every file is checked and skipped."""
    from vnedoc.sign.batch import sign_many
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

    signer = PKCS12Signer((folder / "leader.p12").read_bytes(), passphrase="TEST")
    sign_many(_jobs(folder), options=_options(), signer=signer)
    return lambda: sign_many(_jobs(folder), options=_options(), signer=signer)


def two_processes(folder: Path) -> Callable[[], object]:
    """Sign in two processes that are there already; starting them is shown apart."""
    from vnedoc.sign.batch import SignerAccess, process_pool, sign_many

    access = SignerAccess(f"pkcs12:{folder / 'leader.p12'}", {str(folder / "leader.p12"): "TEST"})
    pool = _OPEN.enter_context(process_pool(2))
    return lambda: sign_many(
        _jobs(folder), options=_options(), signer_factory=access, executor=pool, again=True
    )


def _jobs(folder: Path) -> list[object]:
    from vnedoc.sign.batch import SigningJob

    return [
        SigningJob(path, folder / "batch-out" / path.name) for path in sorted((folder / "batch").iterdir())
    ]


def _options() -> object:
    from vnedoc.sign.appearance import load_picture
    from vnedoc.sign.models import Box, Placement, Role
    from vnedoc.sign.roles import SigningOptions

    return SigningOptions(
        role=Role.APPROVE,
        picture=load_picture(documents.document_path(documents.LEADER_SIGNATURE)),
        placement=Placement(page=2, box=Box(350, 115, 150, 80)),
    )


def _start_seconds(folder: Path) -> float:
    """Return how long it takes until two fresh processes have signed one document."""
    from vnedoc.sign.batch import SignerAccess, process_pool, sign_many

    access = SignerAccess(f"pkcs12:{folder / 'leader.p12'}", {str(folder / "leader.p12"): "TEST"})
    start = time.perf_counter()
    with process_pool(2) as pool:
        sign_many(_jobs(folder)[:1], options=_options(), signer_factory=access, executor=pool, again=True)
    return time.perf_counter() - start


def run(folder: Path) -> None:
    """Measure and print."""
    prepare(folder)
    found = measure(
        {
            "one": f"{HERE}:one_process",
            "two": f"{HERE}:two_processes",
            "again": f"{HERE}:already_signed",
        },
        folder,
        repeat=3,
        rounds=3,
    )
    one = found["one"]
    print_table(
        f"Sign {COUNT} PDFs with a picture (other: --jobs 1; starting two processes: {_start_seconds(folder):.1f} s)",
        [
            (
                label,
                f"{COUNT / found[name].seconds:.0f}/s",
                f"{COUNT / one.seconds:.0f}/s",
                f"{one.seconds / found[name].seconds:.2f}x",
                f"{found[name].peak_mib:.0f} MiB",
            )
            for label, name in (
                ("--jobs 1", "one"),
                ("--jobs 2", "two"),
                ("started again, all done", "again"),
            )
        ],
    )
