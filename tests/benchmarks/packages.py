"""Packing and unpacking 500 MiB of attachments, against the least it can take: read, hash, encode, write."""

from __future__ import annotations

import binascii
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from tests import edxml
from tests.benchmarks.harness import Measure, measure, print_table
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import NET, VNPT, read_package, write_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


HERE = "tests.benchmarks.packages"
FILES = 5
FILE_BYTES = 100 * 1024 * 1024
CHUNK_BYTES = 3 * 64 * 1024
BUDGET_MIB = 64


def prepare(folder: Path) -> None:
    """Make the material: scans, which do not compress, as PDFs; and the same as files that the axis' kit zips."""
    block = os.urandom(1024 * 1024)
    for number in range(FILES):
        with (folder / f"scan-{number}.pdf").open("wb") as stream:
            stream.write(b"%PDF-1.7\n")
            for _ in range(FILE_BYTES // len(block)):
                stream.write(block)
    write_package(edxml.document(), _files(folder), folder / "large.edxml", dialect=NET)
    with (folder / "zipped.bin").open("wb") as stream:
        for _ in range(FILE_BYTES // len(block)):
            stream.write(block)
    zipped = [Attachment("so-lieu.bin", folder / "zipped.bin")]
    write_package(edxml.document(), zipped, folder / "zipped.edxml", dialect=VNPT)


def _files(folder: Path) -> list[Attachment]:
    return [Attachment.from_file(folder / f"scan-{number}.pdf") for number in range(FILES)]


def pack(folder: Path) -> Callable[[], object]:
    """Write the package."""
    return lambda: write_package(edxml.document(), _files(folder), folder / "out.edxml", dialect=NET)


def pack_signed(folder: Path) -> Callable[[], object]:
    """Write the package and sign it: the files are read twice."""
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

    signer = PKCS12Signer((folder / "agency.p12").read_bytes(), passphrase="TEST")
    return lambda: write_package(
        edxml.document(), _files(folder), folder / "out.edxml", dialect=NET, signer=signer
    )


def pack_zipped(folder: Path) -> Callable[[], object]:
    """Write a package with a file that travels zipped."""
    files = [Attachment("so-lieu.bin", folder / "zipped.bin")]
    return lambda: write_package(edxml.document(), files, folder / "out.edxml", dialect=VNPT)


def unpack(folder: Path) -> Callable[[], object]:
    """Read the package and write the files."""
    return _unpack(folder, "large.edxml")


def unpack_zipped(folder: Path) -> Callable[[], object]:
    """Read the package with the zipped file."""
    return _unpack(folder, "zipped.edxml")


def _unpack(folder: Path, name: str) -> Callable[[], object]:
    target = folder / "in"

    def run() -> None:
        shutil.rmtree(target, ignore_errors=True)
        read_package(folder / name, folder=target)

    return run


def look(folder: Path) -> Callable[[], object]:
    """Read the package without writing the files."""
    return lambda: read_package(folder / "large.edxml", folder=None)


def least_out(folder: Path) -> Callable[[], object]:
    """Read, hash, encode, hash what is written, write, and bring it to the disk."""

    def run() -> None:
        whole = hashlib.sha256()
        with (folder / "least.out").open("wb") as target:
            for number in range(FILES):
                digest = hashlib.sha256()
                with (folder / f"scan-{number}.pdf").open("rb") as source:
                    while chunk := source.read(CHUNK_BYTES):
                        digest.update(chunk)
                        text = binascii.b2a_base64(chunk, newline=False)
                        whole.update(text)
                        target.write(text)
            target.flush()
            os.fsync(target.fileno())

    return run


def least_in(folder: Path) -> Callable[[], object]:
    """Read, hash, decode, hash what comes out, write, and bring it to the disk."""
    with (folder / "least.out").open("wb") as target:
        for number in range(FILES):
            with (folder / f"scan-{number}.pdf").open("rb") as source:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(binascii.b2a_base64(chunk, newline=False))

    def run() -> None:
        whole, digest = hashlib.sha256(), hashlib.sha256()
        with (folder / "least.out").open("rb") as source, (folder / "least.in").open("wb") as target:
            while text := source.read(256 * 1024):
                whole.update(text)
                chunk = binascii.a2b_base64(text)
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())

    return run


def run(folder: Path) -> None:
    """Measure and print."""
    prepare(folder)
    tasks = ("pack", "pack_signed", "unpack", "look", "pack_zipped", "unpack_zipped", "least_out", "least_in")
    found = measure({name: f"{HERE}:{name}" for name in tasks}, folder, repeat=1, rounds=3)
    print_table(
        f"{FILES * FILE_BYTES // 1024**2} MiB of attachments (other: Base64, two hashes and a copy)",
        [
            _row("pack", found["pack"], found["least_out"]),
            _row("pack and sign", found["pack_signed"], found["least_out"]),
            _row("unpack", found["unpack"], found["least_in"]),
            _row("look, write nothing", found["look"], found["least_in"]),
        ],
    )
    print_table(
        f"{FILE_BYTES // 1024**2} MiB that travel zipped",
        [_row("pack", found["pack_zipped"], None), _row("unpack", found["unpack_zipped"], None)],
    )
    worst = max(found[name].peak_mib - found[name].base_mib for name in tasks if not name.startswith("least"))
    print(f"\n  memory beyond imports: at most {worst:.0f} MiB (budget {BUDGET_MIB} MiB)")


def _row(label: str, ours: Measure, other: Measure | None) -> tuple[str, str, str, str, str]:
    extra = f"+{ours.peak_mib - ours.base_mib:.0f} MiB"
    if other is None:
        return (label, f"{ours.seconds:.2f} s", "", "", extra)
    return (
        label,
        f"{ours.seconds:.2f} s",
        f"{other.seconds:.2f} s",
        f"{ours.seconds / other.seconds:.2f}x",
        extra,
    )
