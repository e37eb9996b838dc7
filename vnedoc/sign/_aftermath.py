"""What may happen to a document after a signature, and what did.

After the last seal of an agency nothing may follow but further signatures, time-stamps and long-term data
(Decree 30/2020/NĐ-CP, articles 5 and 18.3: a signed document is replaced, never edited). Before it a form field may
be filled, such as the number of the document, if a later valid signature vouches for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.sign._pyhanko.changes import GRAVITY
from vnedoc.sign.report import Changes, Conclusion, Coverage, Finding, SignerRole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnedoc.sign._judgement import Draft
    from vnedoc.sign._pyhanko.changes import RevisionChange, RevisionHistory
    from vnedoc.sign._views import Drawing

__all__ = ["check_aftermath", "place_in_history"]

# The level of DocMDP (ISO 32000-2, 12.8.2.2) that each kind of change needs.
_NEEDED_LEVEL = {
    Changes.NONE: 1,
    Changes.LONG_TERM_DATA: 1,
    Changes.SIGNATURES: 2,
    Changes.FORM: 2,
    Changes.ANNOTATIONS: 3,
    Changes.CONTENT: 4,
}


def place_in_history(file: bytes, draft: Draft, history: RevisionHistory | None) -> None:
    """Find out how much of the file a signature covers."""
    covered = draft.covered
    if covered is None:
        return
    if covered.end == len(file):
        draft.covers = Coverage.WHOLE_FILE
        draft.revision = history.count - 1 if history is not None else None
        return
    draft.revision = history.ending_at(covered.end) if history is not None else None
    if draft.revision is None:
        if history is not None:
            draft.fail("FORMAT_FAILURE", Finding("verify.covers-part"))
        return
    draft.covers = Coverage.REVISION
    value_id = draft.field.value_id
    written = history.last_change_of(value_id) if history is not None and value_id is not None else None
    if written is not None and written > draft.revision:
        # Reason, name or time shown to the reader would then not be what was signed.
        draft.fail("FORMAT_FAILURE", Finding("verify.value-replaced"))


def check_aftermath(file: bytes, drafts: Sequence[Draft], history: RevisionHistory | None) -> None:
    """Judge what was changed after each signature; the last signature goes first.

    Args:
        file: The whole file.
        drafts: The signatures and document time-stamps whose bytes are in order.
        history: The revisions; ``None`` if the first reader could not read the file.
    """
    placed = sorted((draft for draft in drafts if draft.covered is not None), key=_end, reverse=True)
    agency_revisions = [
        draft.revision for draft in placed if draft.role is SignerRole.AGENCY and draft.revision is not None
    ]
    last_seal = max(agency_revisions, default=None)
    drawn: dict[int, Drawing] = {}
    for draft in placed:
        if draft.covers is Coverage.WHOLE_FILE:
            continue
        if history is None:
            draft.doubt("GENERIC", Finding("verify.changes-unknown"))
            draft.changes = Changes.CONTENT
            continue
        if draft.revision is None:
            draft.changes = Changes.CONTENT
            continue
        _check_one(draft, placed, history, last_seal)
        if _is_worth_looking_at(draft):
            _check_views(file, draft, placed, history, drawn)


def _is_worth_looking_at(draft: Draft) -> bool:
    # Pages are drawn only where everything else is in order: who has no trusted key cannot make us draw.
    return draft.is_sound and draft.changes is not Changes.NONE


def _check_views(
    file: bytes,
    draft: Draft,
    placed: Sequence[Draft],
    history: RevisionHistory,
    drawn: dict[int, Drawing],
) -> None:
    """Compare what the signed revision showed with what the file shows now."""
    from vnedoc.sign._views import ViewLimitError, compare_views

    assert draft.revision is not None
    seals = frozenset(other.field.name for other in placed if other.role is SignerRole.AGENCY)
    try:
        seen = compare_views(
            file[: _end(draft)],
            file,
            history.written_after(draft.revision),
            seals=seals,
            drawn=drawn,
            password=history.password,
        )
    except ViewLimitError as exc:
        draft.doubt("GENERIC", exc.finding)
        return
    for finding in seen.differences:
        draft.fail("FORMAT_FAILURE", finding)
    for finding in seen.covered:
        draft.doubt("GENERIC", finding)
    draft.warnings += seen.notes


def _end(draft: Draft) -> int:
    return draft.covered.end if draft.covered is not None else 0


def _check_one(
    draft: Draft, placed: Sequence[Draft], history: RevisionHistory, last_seal: int | None
) -> None:
    assert draft.revision is not None
    permissions = history.permissions_of(draft.field.value_id)
    if permissions is None:
        draft.doubt("GENERIC", Finding("verify.permissions-unreadable"))
    for revision in range(draft.revision + 1, history.count):
        change = history.change_in(revision)
        if not change.is_known:
            draft.doubt("GENERIC", Finding("verify.changes-unknown"))
            draft.changes = Changes.CONTENT
            return
        kind = _kind(change, revision, placed)
        draft.changes = max(draft.changes, kind, key=GRAVITY.index)
        _check_revision(draft, change, kind, revision, placed, last_seal)
        if permissions is None:
            continue
        # Today's tools certify with P=2 and go on signing with new visible fields: level 2 covers that.
        if permissions.level is not None and _NEEDED_LEVEL[kind] > permissions.level:
            draft.fail("FORMAT_FAILURE", Finding("verify.not-permitted", {"level": permissions.level}))
        if change.fields and permissions.locks(change.fields):
            draft.fail(
                "FORMAT_FAILURE", Finding("verify.locked-field", {"fields": ", ".join(sorted(change.fields))})
            )


def _kind(change: RevisionChange, revision: int, placed: Sequence[Draft]) -> Changes:
    """Tell a signature from a document time-stamp; to the difference analysis they look alike."""
    own = [draft for draft in placed if draft.revision == revision]
    if change.kind is Changes.LONG_TERM_DATA and any(not draft.is_timestamp for draft in own):
        return Changes.SIGNATURES
    if change.kind is Changes.SIGNATURES and own and all(draft.is_timestamp for draft in own):
        return Changes.LONG_TERM_DATA
    return change.kind


def _check_revision(
    draft: Draft,
    change: RevisionChange,
    kind: Changes,
    revision: int,
    placed: Sequence[Draft],
    last_seal: int | None,
) -> None:
    match kind:
        case Changes.CONTENT:
            draft.fail("FORMAT_FAILURE", Finding("verify.content-changed", {"revision": revision + 1}))
        case Changes.ANNOTATIONS:
            draft.fail("FORMAT_FAILURE", Finding("verify.annotation-added", {"revision": revision + 1}))
        case Changes.FORM:
            _check_filled(draft, change, revision, placed, last_seal)
        case Changes.SIGNATURES:
            # Whether that signature is valid is its own matter; but a field that nobody signed has no place here.
            if not any(other.revision is not None and other.revision >= revision for other in placed):
                draft.fail("FORMAT_FAILURE", Finding("verify.unsigned-field", {"revision": revision + 1}))
        case _:
            return


def _check_filled(
    draft: Draft, change: RevisionChange, revision: int, placed: Sequence[Draft], last_seal: int | None
) -> None:
    finding = Finding("verify.form-changed", {"fields": ", ".join(sorted(change.fields)) or "?"})
    if change.refilled:
        draft.fail(
            "FORMAT_FAILURE", Finding("verify.filled-again", {"fields": ", ".join(sorted(change.refilled))})
        )
    # Filling belongs to issuing the document: it ends with the agency's last seal.
    if last_seal is not None and revision > last_seal:
        draft.fail("FORMAT_FAILURE", finding)
        return
    # The last signature is judged first, so those that may vouch for the revision are judged already.
    vouching = {
        other.conclusion
        for other in placed
        if other is not draft
        and not other.is_timestamp
        and other.revision is not None
        and other.revision >= revision
    }
    if Conclusion.TOTAL_PASSED in vouching:
        return
    if Conclusion.INDETERMINATE in vouching:
        draft.doubt("GENERIC", Finding("verify.vouched-for-in-doubt", {"revision": revision + 1}))
    else:
        draft.fail("FORMAT_FAILURE", finding)
