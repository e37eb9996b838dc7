"""Raising the level of signatures that exist, and renewing it years later.

Follows ETSI EN 319 142-1, clauses 5.4 and 6: a document time-stamp proves when everything before it existed, and a
document security store holds what is needed to verify it later. The signature time-stamp of PAdES-B-T cannot be put
into a signature afterwards without writing over bytes of the file that a later signature covers, and a file that was
signed is only ever appended to; so here, B-T too is reached by a document time-stamp.

Everything goes into one further revision: store and time-stamp together. Checkers of the government's line that are
in use today count revisions and call a document modified when anything follows its last signature, whatever it is.
So extend the copy that is stored, and send the document as it was issued.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from typing import TYPE_CHECKING, BinaryIO

from vnedoc._internal import clock, files
from vnedoc.errors import (
    IndeterminateError,
    InputError,
    NotAllowedError,
    RemoteError,
    UsageError,
    VerificationError,
)
from vnedoc.sign.long_term import EvidenceCollector, LongTermData, describe, stamp_document
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.policy import DEFAULT_POLICY, RevocationRule
from vnedoc.sign.report import Conclusion, Finding, SignatureKind
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.sign.report import FileReport, SignatureReport
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.sign.timestamps import TimestampClient
    from vnedoc.sign.trust import TrustStore

__all__ = ["ExtensionResult", "extend_pdf", "has_level", "long_term_gaps"]

_RANKS = {"": 0, "T": 1, "LT": 2, "LTA": 3}
_WANTED = {SignatureLevel.B_T: 1, SignatureLevel.B_LT: 2, SignatureLevel.B_LTA: 3}
_FOR_WANT_OF_DATA = frozenset({"verify.revocation-unknown", "verify.vouched-for-in-doubt"})
"""What a verification finds when nobody says whether a certificate was revoked, and what follows from it."""
_TIME_ONLY = dataclasses.replace(DEFAULT_POLICY, revocation=RevocationRule.WHEN_AVAILABLE)


@dataclasses.dataclass(frozen=True, slots=True)
class ExtensionResult:
    """What was extended, and what came out."""

    path: Path | None
    """The extended file; ``None`` when the bytes were asked for."""
    content: bytes | None = dataclasses.field(repr=False)
    """The extended bytes, when no output file was named."""
    levels: tuple[tuple[str, str], ...]
    """The field of each signature and the level it is verified at now. With a store it is B-LTA even where B-LT was
    asked for: the time-stamp covers the store that is in its own revision."""
    timestamp_time: datetime.datetime
    """The time of the document time-stamp, in UTC."""


def extend_pdf(
    source: Path | bytes,
    output: Path | None = None,
    *,
    level: SignatureLevel,
    trust: TrustStore,
    timestamps: TimestampClient,
    revocation: RevocationSource | None = None,
    digest_algorithm: str = "sha256",
    at: datetime.datetime | None = None,
    password: SecretCallback | None = None,
) -> ExtensionResult:
    """Raise every signature of a PDF to a level, or renew B-LTA, by one further revision.

    Existing signatures stay intact; a document with a signature that is not valid is refused. What was made is
    verified from its own data alone before a file appears. Asking for B-LTA on a document that is there already adds
    fresh data and another time-stamp: do that before the certificate of the last one expires.

    Mind that today's government checkers call a document modified when a revision follows its last signature: extend
    the stored copy, send the original.

    Args:
        source: The signed document: a file, or its bytes.
        output: Where the extended document goes, may be the source; ``None`` returns its bytes in the result.
        level: B-T, B-LT or B-LTA.
        trust: What every chain must lead to.
        timestamps: The authorities.
        revocation: Where revocation is asked for; needed from B-LT.
        digest_algorithm: The digest that is stamped.
        at: The time of the extension; ``None`` takes the clock.
        password: Called once, with the name, if the document is encrypted.

    Returns:
        What was made.

    Raises:
        UsageError: The level cannot be asked for, or needs revocation data.
        InputError: The document cannot be read, is encrypted and the password is missing or wrong, or the output
            cannot be written.
        NotAllowedError: There is no signature, all have the level already, or the password does not allow it.
        VerificationError: A signature is not valid.
        IndeterminateError: It cannot be told whether a signature is valid, or the level was not reached.
        TimestampError: No authority gave a time-stamp, or its chain is not trusted or revoked.
        RemoteError: Revocation data is missing; it says whose, and who was asked.
    """
    wanted = _WANTED.get(level)
    if wanted is None:
        raise UsageError("extension.level", level=level.value)
    long_term = level is not SignatureLevel.B_T
    if long_term and revocation is None:
        raise UsageError("signing.needs-trust", level=level.value)
    name = "PDF" if isinstance(source, bytes) else str(source)
    file = (
        source if isinstance(source, bytes) else files.read_bytes(source, max_bytes=DEFAULT_POLICY.max_bytes)
    )
    now = clock.utc_now() if at is None else clock.as_utc(at)
    policy = DEFAULT_POLICY if long_term else _TIME_ONLY
    collector = EvidenceCollector(revocation, at=now)
    unlock = None if password is None else _AskedOnce(password, name)
    report = verify_pdf(
        file, trust=trust, policy=policy, at=now, revocation=collector, password=unlock
    ).files[0]
    _check_extensible(report, collector, name=name)
    if level is not SignatureLevel.B_LTA and all(_rank(signature) >= wanted for signature in _signed(report)):
        raise NotAllowedError("extension.already-there", path=name, level=level.value)
    data = None
    if long_term:
        assert revocation is not None
        data = LongTermData(
            trust=trust,
            revocation=revocation,
            timestamps=timestamps,
            digest_algorithm=digest_algorithm,
            evidence=collector.evidence(),
        )
        data.prepare()
    with _opened(output) as target:
        target.write(file)
        token = stamp_document(
            target,
            name=name,
            timestamps=timestamps,
            digest_algorithm=digest_algorithm,
            data=data,
            password=unlock,
        )
        target.seek(0)
        content = target.read()
        after = verify_pdf(
            content, trust=trust, policy=policy, at=max(now, token.time), password=unlock
        ).files[0]
        levels = _reached(after, name=name, wanted=wanted)
    return ExtensionResult(
        path=output,
        content=content if output is None else None,
        levels=levels,
        timestamp_time=token.time,
    )


def long_term_gaps(
    source: Path | bytes, *, trust: TrustStore, password: SecretCallback | None = None
) -> tuple[Finding, ...]:
    """Say why the signatures of a PDF cannot be verified for years from the file alone.

    Nobody is asked. The question is put for the time of the file's last time-stamp: what was enough then is kept.

    Args:
        source: The document: a file, or its bytes.
        trust: What the chains must lead to.
        password: Called once, with the name, if the document is encrypted.

    Returns:
        What is missing; empty if every signature is at B-LT or above.

    Raises:
        InputError: The document cannot be read.
    """
    name = "PDF" if isinstance(source, bytes) else str(source)
    file = (
        source if isinstance(source, bytes) else files.read_bytes(source, max_bytes=DEFAULT_POLICY.max_bytes)
    )
    now = clock.utc_now()
    unlock = None if password is None else _AskedOnce(password, name)
    first = verify_pdf(file, trust=trust, policy=_TIME_ONLY, at=now, password=unlock).files[0]
    at = max((moment for moment in map(_proven_time, first.signatures) if moment is not None), default=now)
    collector = EvidenceCollector(None, at=at)
    report = verify_pdf(file, trust=trust, at=at, revocation=collector, password=unlock).files[0]
    if report.conclusion is Conclusion.UNREADABLE:
        raise _unreadable(report, name)
    signatures = _signed(report)
    if not signatures:
        return (Finding("extension.gap-no-signature"),)
    gaps: list[Finding] = []
    for signature in signatures:
        if _rank(signature) >= _WANTED[SignatureLevel.B_LT]:
            continue
        if signature.best_signature_time is None and not _has_time(first, signature.field):
            gaps.append(Finding("extension.gap-no-timestamp", {"field": signature.field}))
        gaps += [
            Finding("extension.gap-problem", {"field": signature.field, "reason": error})
            for error in signature.errors
            if error.id not in _FOR_WANT_OF_DATA
        ]
    gaps += [
        Finding("extension.gap-no-data", {"subject": missing.subject}) for missing in collector.unanswered()
    ]
    return tuple(gaps)


def _check_extensible(report: FileReport, collector: EvidenceCollector, *, name: str) -> None:
    match report.conclusion:
        case Conclusion.TOTAL_PASSED:
            return
        case Conclusion.UNREADABLE:
            raise _unreadable(report, name)
        case Conclusion.NO_SIGNATURE:
            raise NotAllowedError("extension.no-signature", path=name)
    reason = next(iter(report.all_errors()))
    if report.conclusion is Conclusion.TOTAL_FAILED:
        raise VerificationError("extension.not-valid", path=name, reason=reason)
    unanswered = collector.unanswered()
    others = [error for error in report.all_errors() if error.id not in _FOR_WANT_OF_DATA]
    if unanswered and not others:
        # Fetching again can mend this; anything else cannot.
        raise RemoteError("extension.no-revocation-data", path=name, **describe(unanswered))
    reason = others[0] if others else reason
    raise IndeterminateError("extension.not-valid", path=name, reason=reason)


class _AskedOnce:
    """Asks for a password when it is first needed, and keeps the answer."""

    def __init__(self, ask: SecretCallback, name: str) -> None:
        self._ask, self._name = ask, name
        self._answers: list[str | None] = []

    def __call__(self, _document: str) -> str | None:
        if not self._answers:
            self._answers.append(self._ask(self._name))
        return self._answers[0]


def _reached(report: FileReport, *, name: str, wanted: int) -> tuple[tuple[str, str], ...]:
    """Return the level of each signature, as it was verified from the file alone.

    Raises:
        IndeterminateError: One is lower than what was wanted.
    """
    signatures = _signed(report)
    for signature in signatures:
        if report.conclusion is not Conclusion.TOTAL_PASSED or _rank(signature) < wanted:
            found = next(iter(report.all_errors()), None)
            reason = signature.level if found is None else found
            raise IndeterminateError("extension.not-reached", path=name, field=signature.field, reason=reason)
    return tuple((signature.field, signature.level) for signature in signatures)


def _signed(report: FileReport) -> tuple[SignatureReport, ...]:
    return tuple(signature for signature in report.signatures if signature.kind is SignatureKind.SIGNATURE)


def has_level(signature: SignatureReport, level: SignatureLevel) -> bool:
    """Tell whether a verified signature is at a level, or above: ``PAdES-B-LT`` and ``PKCS7-LT`` alike."""
    return _rank(signature) >= _WANTED.get(level, 0)


def _rank(signature: SignatureReport) -> int:
    return _RANKS.get(signature.level.removeprefix("PAdES-B-").removeprefix("PKCS7").removeprefix("-"), 0)


def _proven_time(signature: SignatureReport) -> datetime.datetime | None:
    return signature.best_signature_time


def _has_time(report: FileReport, field: str) -> bool:
    return any(
        signature.field == field and signature.best_signature_time is not None
        for signature in report.signatures
    )


def _unreadable(report: FileReport, name: str) -> InputError:
    found = report.errors[0]
    return InputError(found.id, **{"path": name, **found.values})


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield io.BytesIO()
        return
    with files.atomic_write(output) as stream:
        yield stream
