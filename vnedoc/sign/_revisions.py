"""Each signed revision, read by itself by the second reader, and held against the file as it is now.

A signature vouches for the first so many bytes of a file. Whoever cuts the file there has the document as it was
signed (ISO 32000-2, 7.5.6). What the second reader finds in it must be what the whole file still shows: the same
signatures with the same dictionaries, and the same chain of cross-reference sections that the first reader follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.errors import DocumentError
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
    ends = {
        (draft.covered.end, draft.revision)
        for draft in placed
        if draft.covered and draft.revision is not None
    }
    for end, revision in sorted(ends):
        if end == len(file):
            continue
        try:
            then = read_with_qpdf(file[:end])
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
        _compare(then, [draft for draft in placed if draft.covered and draft.covered.end == end], drafts, end)
    return tuple(problems.values())


def _compare(then: Reading, signed_here: Sequence[Draft], drafts: Sequence[Draft], end: int) -> None:
    claims = {field.identity: field.claims for field in then.signatures}
    known = {draft.field.identity for draft in drafts}
    for draft in signed_here:
        said = claims.get(draft.field.identity)
        if said is None or said != draft.field.claims:
            _replaced(draft)
    # A signature that was there when this one was made must still be there, and still say the same.
    gone = [field for field in then.signatures if field.identity not in known]
    for draft in signed_here:
        for field in gone:
            draft.fail("FORMAT_FAILURE", Finding("verify.signature-removed", {"field": field.name}))
    for draft in drafts:
        if draft.covered is not None and draft.covered.end < end:
            said = claims.get(draft.field.identity)
            if said is not None and said != draft.field.claims:
                _replaced(draft)


def _replaced(draft: Draft) -> None:
    finding = Finding("verify.value-replaced")
    if finding not in draft.errors:
        draft.fail("FORMAT_FAILURE", finding)
