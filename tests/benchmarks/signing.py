"""Signing a two-page PDF many times in one process, and a 100 MB PDF from file to file."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pikepdf

from tests.benchmarks.harness import measure, print_table
from vnedoc.testing import documents

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = "tests.benchmarks.signing"
LARGE_BYTES = 100 * 1024 * 1024


def prepare(folder: Path) -> None:
    """Make the material."""
    with pikepdf.open(documents.document_path(documents.LETTER)) as pdf:
        # What is large in offices is scanned pages: bytes that do not compress.
        block = hashlib.sha512(b"TEST").digest() * 16384
        pdf.Root.Scans = pikepdf.Array([pdf.make_stream(block) for _ in range(LARGE_BYTES // len(block))])
        pdf.save(folder / "large.pdf", compress_streams=False)


def vnedoc_invisible(folder: Path) -> Callable[[], object]:
    """Sign with vnedoc; nothing is shown."""
    return _vnedoc(folder, picture=False)


def vnedoc_picture(folder: Path) -> Callable[[], object]:
    """Sign with vnedoc and the leader's picture."""
    return _vnedoc(folder, picture=True)


def _vnedoc(folder: Path, *, picture: bool) -> Callable[[], object]:
    from vnedoc.sign.appearance import load_picture
    from vnedoc.sign.models import Box, Placement, Role
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signing import sign_pdf

    signer = _signer(folder)
    source = documents.document_bytes(documents.DECISION)
    options = SigningOptions(role=Role.INVISIBLE)
    if picture:
        options = SigningOptions(
            role=Role.APPROVE,
            picture=load_picture(documents.document_path(documents.LEADER_SIGNATURE)),
            placement=Placement(page=2, box=Box(350, 115, 150, 80)),
        )
    return lambda: sign_pdf(source, signer=signer, options=options)


def vnedoc_large(folder: Path) -> Callable[[], object]:
    """Sign a large file with vnedoc."""
    from vnedoc.sign.models import Role
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signing import sign_pdf

    signer = _signer(folder)
    options = SigningOptions(role=Role.INVISIBLE)
    return lambda: sign_pdf(folder / "large.pdf", folder / "large.signed.pdf", signer=signer, options=options)


def _signer(folder: Path) -> object:
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

    return PKCS12Signer((folder / "leader.p12").read_bytes(), passphrase="TEST")


def pyhanko(folder: Path) -> Callable[[], object]:
    """Sign with pyHanko as its documentation shows it."""
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import signers
    from pyhanko.sign.fields import SigSeedSubFilter

    signer = signers.SimpleSigner.load_pkcs12(str(folder / "leader.p12"), passphrase=b"TEST")
    assert signer is not None
    source = documents.document_bytes(documents.DECISION)
    metadata = signers.PdfSignatureMetadata(
        field_name="Signature1", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES
    )
    return lambda: signers.sign_pdf(IncrementalPdfFileWriter(io.BytesIO(source)), metadata, signer=signer)


def hash_and_copy(folder: Path) -> Callable[[], object]:
    """Read a large file once, hash it and write it: the least that signing it can take."""

    def run() -> None:
        digest = hashlib.sha256()
        with (folder / "large.pdf").open("rb") as source, (folder / "large.copy").open("wb") as target:
            while chunk := source.read(1024 * 1024):
                digest.update(chunk)
                target.write(chunk)

    return run


def hash_copy_and_sync(folder: Path) -> Callable[[], object]:
    """Do the same and wait until it is on the disk, as a signed file is before it takes its name."""
    plain = hash_and_copy(folder)

    def run() -> None:
        plain()
        with (folder / "large.copy").open("rb") as target:
            os.fsync(target.fileno())

    return run


def run(folder: Path) -> None:
    """Measure and print."""
    prepare(folder)
    small = measure(
        {
            "invisible": f"{HERE}:vnedoc_invisible",
            "picture": f"{HERE}:vnedoc_picture",
            "stock": f"{HERE}:pyhanko",
        },
        folder,
        repeat=20,
    )
    stock = small["stock"]
    print_table(
        "Sign a 2-page PDF, B-B, RSA-2048 (other: stock pyHanko)",
        [
            (
                label,
                f"{small[name].seconds * 1000:.2f} ms",
                f"{stock.seconds * 1000:.2f} ms",
                f"1/{stock.seconds / small[name].seconds:.1f}",
                f"{small[name].peak_mib:.0f} MiB",
            )
            for label, name in (("nothing shown", "invisible"), ("with the leader's picture", "picture"))
        ],
    )
    # The first of the three in each process is not counted: it loads what is loaded once, and fills the page cache.
    large = measure(
        {
            "ours": f"{HERE}:vnedoc_large",
            "copy": f"{HERE}:hash_and_copy",
            "safe copy": f"{HERE}:hash_copy_and_sync",
        },
        folder,
        repeat=3,
        rounds=3,
    )
    ours = large["ours"]
    print_table(
        "Sign a 100 MB PDF, file to file",
        [
            (
                label,
                f"{ours.seconds:.2f} s",
                f"{large[name].seconds:.2f} s",
                f"{ours.seconds / large[name].seconds:.2f}x",
                f"{ours.peak_mib:.0f} MiB",
            )
            for label, name in (
                ("other: hash and copy", "copy"),
                ("other: hash and copy, on the disk", "safe copy"),
            )
        ],
    )
