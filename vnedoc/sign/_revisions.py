"""Each signed revision, and each after it, read by the second reader and held against the file as it is now.

A signature vouches for the first so many bytes of a file. Whoever cuts the file there has the document as it was
signed (ISO 32000-2, 7.5.6). What the second reader finds in it must be what the whole file still shows: the same
signatures with the same dictionaries, and the same chain of cross-reference sections that the first reader follows.
That holds for every revision in between, too: what was taken away in one and put back in the next was gone for
whoever got the file at that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.errors import DocumentError
from vnedoc.sign._pyhanko.changes import MAX_ANALYSED
from vnedoc.sign._qpdf import read_with_qpdf
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnedoc.sign._judgement import Draft
    from vnedoc.sign._pyhanko.changes import RevisionHistory
    from vnedoc.sign._structure import Reading

__all__ = ["check_revisions"]


def check_revisions(
    file: bytes, drafts: Sequence[Draft], history: RevisionHistory | None, now: Reading | None
) -> tuple[Finding, ...]:
    """Compare every signed revision with the file as it is now.

    Args:
        file: The whole file.
        drafts: The signatures; those whose dictionary is not the signed one fail.
        history: The revisions as the first reader sees them.
        now: What the second reader sees in the whole file.

    Returns:
        Why the two readers do not agree about the history; empty if they do.
    """
    if history is None or now is None:
        return ()
    problems: dict[str, Finding] = {}
    if now.previous_section != history.section_before(history.count - 1):
        problems["verify.chains-differ"] = Finding("verify.chains-differ")
    placed = [draft for draft in drafts if draft.covered is not None and draft.revision is not None]
    for end, revision in _ends(placed, history, len(file)):
        try:
            then = read_with_qpdf(file[:end], password=history.password)
        except DocumentError as exc:
            problems[exc.code] = Finding(
                "verify.revision-unreadable", {"reason": Finding(exc.code, dict(exc.values))}
            )
            continue
        if then.complaints:
            reason = Finding("verify.second-reader-complains", {"reason": then.complaints[0]})
            problems["complaint"] = Finding("verify.revision-unreadable", {"reason": reason})
        if then.previous_section != history.section_before(revision):
            problems["verify.chains-differ"] = Finding("verify.chains-differ")
        signed_here = [draft for draft in placed if draft.covered and draft.covered.end == end]
        if then.encryption != now.encryption:
            # With another key, what was signed reads as something else.
            for draft in signed_here:
                draft.fail("FORMAT_FAILURE", Finding("verify.encryption-changed"))
        _compare(then, signed_here, drafts, end)
    return tuple(problems.values())


def _ends(placed: Sequence[Draft], history: RevisionHistory, size: int) -> list[tuple[int, int]]:
    """Return where the signed revisions end, and those after the first signature, with their numbers."""
    signed = {
        (draft.covered.end, draft.revision)
        for draft in placed
        if draft.covered and draft.revision is not None and draft.covered.end < size
    }
    known = {revision for _, revision in signed}
    if not known:
        return []
    # More are not analysed by the first reader either, and end in doubt.
    between = range(min(known) + 1, min(history.count - 1, min(known) + MAX_ANALYSED))
    found = ((history.end_of(revision), revision) for revision in between if revision not in known)
    return sorted({*signed, *((end, revision) for end, revision in found if end is not None and end < size)})


def _compare(then: Reading, signed_here: Sequence[Draft], drafts: Sequence[Draft], end: int) -> None:
    claims = {field.identity: field.claims for field in then.signatures}
    known = {draft.field.identity for draft in drafts}
    # Whatever was signed up to here must be here, and say what it says now.
    for draft in drafts:
        if draft.covered is None or draft.covered.end > end:
            continue
        said = claims.get(draft.field.identity)
        if said == draft.field.claims:
            continue
        if said is None and draft not in signed_here:
            _fail_once(draft, Finding("verify.signature-removed", {"field": draft.field.name}))
        else:
            _fail_once(draft, Finding("verify.value-replaced"))
    # A signature that was there when this one was made must still be there.
    gone = [field for field in then.signatures if field.identity not in known]
    for draft in signed_here:
        for field in gone:
            draft.fail("FORMAT_FAILURE", Finding("verify.signature-removed", {"field": field.name}))


def _fail_once(draft: Draft, finding: Finding) -> None:
    if finding not in draft.errors:
        draft.fail("FORMAT_FAILURE", finding)
