"""Packages from strangers: reading, validating and verifying end with a result or one of our errors.

And with nothing outside of the folder, nothing in it after a refusal, and no signature that passes over other words.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import shutil
import tempfile
from pathlib import Path

from tests import edxml
from tests.signed_packages import signed
from vnedoc import messages
from vnedoc.errors import PackageError
from vnedoc.exchange.header_files import header_to_dict
from vnedoc.exchange.models import DocumentHeader, Limits, Package, StatusHeader
from vnedoc.exchange.package import DIALECTS, read_package, write_package
from vnedoc.exchange.validation import Level, validate_package
from vnedoc.exchange.xmlsig import SignedContent, verify_package_signature
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.trust import TrustStore
from vnedoc.testing.pki import TestPKI

__all__ = ["one", "seeds"]

LIMITS = Limits(
    max_package_bytes=16 * 1024**2, max_total_bytes=64 * 1024**2, max_attachment_bytes=32 * 1024**2
)
SOUND = Policy(revocation=RevocationRule.IGNORE)


@functools.cache
def _signed() -> tuple[bytes, bytes, TrustStore]:
    pki = TestPKI.create(base_url="http://127.0.0.1:9")
    signer = PKCS12Signer(pki.agency.pkcs12("TEST"), passphrase="TEST")
    document = signed(signer, edxml.document(), edxml.attachments()[:2])
    return document, signed(signer, edxml.status(), []), TrustStore.from_certificates(pki.ca_certificates)


@functools.cache
def _truths() -> tuple[SignedContent, ...]:
    document, status, trust = _signed()
    return tuple(
        verify_package_signature(
            read_package(content, folder=None), trust=trust, policy=SOUND
        ).raise_for_status()
        for content in (document, status)
    )


def seeds() -> list[bytes]:
    """Return packages of every dialect and kind, clean, dirty and signed."""
    found = []
    for dialect in DIALECTS.values():
        for header, files in (
            (edxml.full_document(), edxml.attachments()),
            (edxml.document(business=edxml.updating()), []),
            (edxml.document(business=edxml.replacing()), edxml.attachments()[:1]),
            (edxml.status(), []),
        ):
            stream = io.BytesIO()
            write_package(header, files, stream, dialect=dialect)
            found.append(stream.getvalue())
    found.append(b"1212" + edxml.package(edxml.attached("a.xlsx", edxml.zipped("a.txt", b"TEST"))))
    document, status, _ = _signed()
    return [*found, document, status]


def one(content: bytes) -> None:
    """Read one input in every way; raise if something is wrong with the code."""
    place = Path(tempfile.mkdtemp(prefix="vnedoc-fuzz-"))
    try:
        _read(content, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _read(content: bytes, place: Path) -> None:
    folder = place / "in"
    try:
        package = read_package(content, folder=folder, limits=LIMITS)
    except PackageError as exc:
        assert exc.text("vi")
        assert not list(place.iterdir()), "a refused package left something behind"
        return
    outside = [path for path in place.rglob("*") if path.is_file() and path.parent != folder]
    assert not outside, f"outside of the folder: {outside}"
    assert len(list(folder.iterdir())) == len(package.attachments)
    for level in Level:
        for finding in validate_package(package, level=level).errors:
            assert finding.element
            assert finding.line
            for language in messages.Language:
                assert finding.text(language)
    header_to_dict(package.header)
    _write_again(package)
    _, _, trust = _signed()
    report = verify_package_signature(package, trust=trust, policy=SOUND)
    if report.conclusion is Conclusion.TOTAL_PASSED:
        headers = [truth.header for truth in _truths()]
        assert report.raise_for_status().header in headers, "a signature passed over other words"


def _write_again(package: Package) -> None:
    files = (
        []
        if isinstance(package.header, StatusHeader)
        else [item.as_attachment() for item in package.attachments]
    )
    stream = io.BytesIO()
    try:
        write_package(package.header, files, stream)
    except PackageError:
        # Not everything that can be read may be sent.
        return
    again = read_package(stream.getvalue(), folder=None, limits=LIMITS)
    assert _known(again.header) == _known(package.header), "what was written reads differently"
    # What stood in an element that is empty otherwise is gone with it; nothing may come from nowhere.
    assert {item.xml for item in again.header.unknown} <= {item.xml for item in package.header.unknown}


def _known(header: DocumentHeader | StatusHeader) -> DocumentHeader | StatusHeader:
    return dataclasses.replace(header, unknown=())
