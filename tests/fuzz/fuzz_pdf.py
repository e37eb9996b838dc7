"""PDFs from strangers: every damaged file ends in a verdict, and none of them passes that was not signed so.

The mutations keep the bytes of a good file together with other bytes; a file that passes must cover all its bytes,
or have nothing behind what is covered but further signatures.
"""

from __future__ import annotations

import datetime
import functools
import re

from tests.vectors import honest, identities, make_attacks
from vnedoc import messages
from vnedoc.sign.checks import HIDDEN
from vnedoc.sign.policy import CheckLevel, Policy, PolicyCheck, RevocationRule
from vnedoc.sign.report import Changes, Conclusion, Coverage
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

__all__ = ["PIECES", "one", "seeds"]

PIECES = (
    *(b"<<", b">>", b"[", b"]", b"(", b")", b"<", b">", b"/", b"%", b"\x00", b"\xff", b"\n", b" R ", b" 0 R"),
    *(b" obj\n", b"endobj\n", b"stream\n", b"endstream", b"xref\n", b"trailer\n", b"startxref\n", b"%%EOF\n"),
    *(
        b"/Contents ",
        b"/ByteRange ",
        b"/V ",
        b"/Kids ",
        b"/Parent ",
        b"/Prev ",
        b"/Size ",
        b"/Type ",
        b"/Sig ",
    ),
    *(
        b"/AcroForm ",
        b"/Annots ",
        b"/Fields ",
        b"/XRefStm ",
        b"/Length ",
        b"/Filter /FlateDecode ",
        b"/ObjStm ",
    ),
    *(b"0000000000 65535 f \n", b"-1", b"4294967296", b"9" * 40, b"1 0 R", b"8 0 R", b"[" * 20, b"<<" * 20),
)
AT = datetime.datetime.fromisoformat(make_attacks.VALIDATION_TIME)
POLICY = Policy(
    revocation=RevocationRule.WHEN_AVAILABLE,
    max_bytes=8 * 1024 * 1024,
    # Looking for what is hidden reads the file in further ways.
    checks=tuple(PolicyCheck(check, CheckLevel.INFORM) for check in HIDDEN),
)
_CONTENTS = re.compile(rb"/Contents (<[0-9a-fA-F]{1000,}>)")
_HARMLESS = {Changes.NONE, Changes.SIGNATURES, Changes.LONG_TERM_DATA, Changes.FORM}


@functools.cache
def _trust() -> TrustStore:
    return TrustStore.from_certificates([identities.ROOT.certificate])


@functools.cache
def _signed_bytes() -> tuple[bytes, ...]:
    """Return the parts of the seeds that somebody signed, without the signature itself."""
    return tuple(content[: match.start(1)] for content in seeds() for match in _CONTENTS.finditer(content))


@functools.cache
def _seeds() -> tuple[bytes, ...]:
    attacks = [attack.make() for attack in make_attacks.ALL if "bomb" not in attack.id]
    return (*(attack.make() for attack in honest.HONEST), *attacks, b"%PDF-1.7\n")


def seeds() -> list[bytes]:
    """Return honest files and attacks."""
    return list(_seeds())


def one(content: bytes) -> None:
    """Verify one input; raise if something is wrong with the code."""
    (report,) = verify_pdf(content, trust=_trust(), policy=POLICY, at=AT).files
    for language in messages.Language:
        for finding in (*report.all_errors(), *report.warnings):
            assert finding.text(language)
    if report.conclusion is not Conclusion.TOTAL_PASSED:
        assert report.all_errors(), "a verdict without a reason"
        return
    assert report.readers_agree
    assert report.signatures
    for signature in report.signatures:
        assert signature.integrity
        assert signature.covers in {Coverage.WHOLE_FILE, Coverage.REVISION}
        assert signature.changes_after in _HARMLESS
    # Whatever passes begins with bytes that were signed.
    assert any(content.startswith(part) for part in _signed_bytes()), "passed, and nobody signed it"


if __name__ == "__main__":
    import sys

    from tests.fuzz.__main__ import main

    main(["pdf", *sys.argv[1:]])
