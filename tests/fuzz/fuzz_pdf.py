"""PDFs from strangers: every damaged file ends in a verdict, and none of them passes that was not signed so.

The mutations keep the bytes of a good file together with other bytes; a file that passes must cover all its bytes,
or have nothing behind what is covered but further signatures.
"""

from __future__ import annotations

import datetime
import functools

from tests.fuzz import PDF_PIECES
from tests.vectors import forging, honest, identities, make_attacks
from vnedoc import messages
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Changes, Conclusion, Coverage
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

__all__ = ["PIECES", "one", "seeds"]

PIECES = PDF_PIECES
AT = datetime.datetime.fromisoformat(make_attacks.VALIDATION_TIME)
POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE, max_bytes=8 * 1024 * 1024)
_HARMLESS = {Changes.NONE, Changes.SIGNATURES, Changes.LONG_TERM_DATA, Changes.FORM}


@functools.cache
def _trust() -> TrustStore:
    return TrustStore.from_certificates([identities.ROOT.certificate])


@functools.cache
def _signed_bytes() -> tuple[bytes, ...]:
    """Return the parts of the seeds that somebody signed, without the signature itself."""
    parts = []
    for content in seeds():
        for number in range(content.count(b"/ByteRange [")):
            gap = forging.gap_of(content, number)
            parts.append(content[: gap.start])
    return tuple(parts)


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
    from tests.fuzz.__main__ import run_one

    run_one("pdf")
