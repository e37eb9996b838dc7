"""The verdict on one signature: time, cryptography, chain, revocation, level (ETSI EN 319 102-1, 5.3 to 5.6).

Every signature is judged by itself; what another signature did or said never leaks in, except that a valid later
document time-stamp proves that an earlier signature existed.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.sign._pyhanko.validation import Judge, UnusableCMSError, digests, parse_cms
from vnedoc.sign.certificates import display_name, guess_role, summarize
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.policy import RevocationRule
from vnedoc.sign.report import (
    Changes,
    Conclusion,
    Coverage,
    Finding,
    Revocation,
    RevocationStatus,
    SignatureKind,
    SignatureReport,
    SignatureTrace,
    SignerRole,
)

if TYPE_CHECKING:
    from cryptography import x509

    from vnedoc.agencies import AgencyDirectory
    from vnedoc.sign._pyhanko.validation import ChainStatus, CMSObject, Outcome
    from vnedoc.sign._structure import SignatureField, SignedRange
    from vnedoc.sign.policy import Policy

__all__ = ["Draft", "judge_field", "pdf_date"]

# Which encodings are judged; any other, such as adbe.pkcs7.sha1 or adbe.x509.rsa_sha1, is never taken for valid
# (CVE-2025-43903 shows what comes of that).
_ENCODINGS = {
    "adbe.pkcs7.detached": "PKCS7",
    "ETSI.CAdES.detached": SignatureLevel.B_B.value,
    "ETSI.RFC3161": "document-timestamp",
}
_LEVELS = {
    SignatureLevel.B_B.value: (
        SignatureLevel.B_T.value,
        SignatureLevel.B_LT.value,
        SignatureLevel.B_LTA.value,
    ),
    "PKCS7": ("PKCS7-T", "PKCS7-LT", "PKCS7-LTA"),
}
NO_LEVEL = "none"
_HASHES = frozenset(
    {"sha1", "sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256"}
    | {"sha3_224", "sha3_256", "sha3_384", "sha3_512", "md5"}
)
_VIETNAM_OFFSET = datetime.timedelta(hours=7)
_GRAVITY = (Conclusion.TOTAL_PASSED, Conclusion.INDETERMINATE, Conclusion.TOTAL_FAILED)
_PDF_DATE = re.compile(r"D:(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(?:Z|([+-])(\d{2})'?(\d{2})?'?)")


@dataclasses.dataclass(slots=True)
class Draft:
    """A verdict in the making."""

    field: SignatureField
    covered: SignedRange | None
    conclusion: Conclusion = Conclusion.TOTAL_PASSED
    sub_indication: str | None = None
    level: str = NO_LEVEL
    cms: CMSObject | None = None
    role: SignerRole = SignerRole.UNKNOWN
    anchor: str | None = None
    tree: str | None = None
    proven_time: datetime.datetime | None = None
    claimed_time: datetime.datetime | None = None
    intact: bool = False
    covers: Coverage = Coverage.PART
    revision: int | None = None
    changes: Changes = Changes.NONE
    revocation: Revocation = dataclasses.field(default_factory=Revocation)
    warnings: list[Finding] = dataclasses.field(default_factory=list)
    errors: list[Finding] = dataclasses.field(default_factory=list)

    @property
    def is_timestamp(self) -> bool:
        """Whether it is a document time-stamp."""
        return self.field.kind is SignatureKind.DOCUMENT_TIMESTAMP

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong so far but that revocation may be unknown."""
        return self.conclusion is Conclusion.TOTAL_PASSED or self.sub_indication == "TRY_LATER"

    @property
    def certificate(self) -> x509.Certificate | None:
        """The signing certificate, if it was found."""
        return self.cms.certificate if self.cms is not None else None

    def fail(self, sub_indication: str, finding: Finding) -> None:
        """Add a reason why the signature is wrong."""
        self._worsen(Conclusion.TOTAL_FAILED, sub_indication, finding)

    def doubt(self, sub_indication: str, finding: Finding) -> None:
        """Add a reason why it cannot be told whether the signature is right."""
        self._worsen(Conclusion.INDETERMINATE, sub_indication, finding)

    def _worsen(self, conclusion: Conclusion, sub_indication: str, finding: Finding) -> None:
        if _GRAVITY.index(conclusion) > _GRAVITY.index(self.conclusion):
            self.conclusion = conclusion
            self.sub_indication = sub_indication
        self.errors.append(finding)

    def _trace(self) -> SignatureTrace | None:
        cms = self.cms
        if cms is None:
            return None
        return SignatureTrace(cms.signature_value, cms.certificate.public_bytes(Encoding.DER))

    def report(self) -> SignatureReport:
        """Return the verdict as it is reported."""
        certificate = self.certificate
        cms = self.cms
        return SignatureReport(
            field=self.field.name,
            kind=self.field.kind,
            role=self.role,
            conclusion=self.conclusion,
            sub_indication=self.sub_indication,
            level=self.level,
            subfilter=self.field.subfilter,
            digest_algorithm=cms.digest_algorithm if cms else None,
            signature_algorithm=cms.signature_algorithm if cms else None,
            signer=summarize(certificate) if certificate else None,
            trust_anchor=self.anchor,
            trust_tree=self.tree,
            signing_time=self.proven_time or self.claimed_time,
            time_source="timestamp" if self.proven_time else "claimed",
            best_signature_time=self.proven_time,
            certificate_not_before=certificate.not_valid_before_utc if certificate else None,
            certificate_not_after=certificate.not_valid_after_utc if certificate else None,
            integrity=self.intact,
            covers=self.covers,
            changes_after=self.changes,
            revocation=self.revocation,
            box=self.field.box,
            trace=self._trace(),
            warnings=tuple(self.warnings),
            errors=tuple(self.errors),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Stamp:
    """A time that a valid token proves."""

    time: datetime.datetime
    embedded: bool
    """Whether the file's own data show that nothing in the token's chain was revoked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Circumstances:
    """What a verdict depends on beside the signature itself."""

    judge: Judge
    policy: Policy
    now: datetime.datetime
    """The time of the verification."""
    directory: AgencyDirectory | None
    """Helps to tell agencies from persons."""


def judge_field(
    file: bytes,
    draft: Draft,
    encoded: bytes,
    around: Circumstances,
    *,
    later_stamps: tuple[Draft, ...],
) -> None:
    """Judge one signature or document time-stamp whose bytes are in order; the verdict goes into the draft.

    Args:
        file: The whole file.
        draft: The verdict in the making, with the covered range.
        encoded: The CMS object.
        around: What else the verdict depends on.
        later_stamps: The document time-stamps that cover this signature, judged already.
    """
    base_level = _ENCODINGS.get(draft.field.subfilter or "")
    if base_level is None or draft.is_timestamp != (base_level == "document-timestamp"):
        draft.doubt("GENERIC", Finding("verify.unsupported-kind", {"kind": draft.field.subfilter or "?"}))
        return
    try:
        cms = parse_cms(encoded)
    except UnusableCMSError as exc:
        draft.fail("FORMAT_FAILURE", exc.finding)
        return
    draft.cms = cms
    if draft.is_timestamp:
        _judge_timestamp(file, draft, cms, around, later_stamps)
    else:
        _judge_signature(file, draft, cms, around, later_stamps, base_level)


def _judge_timestamp(
    file: bytes, draft: Draft, cms: CMSObject, around: Circumstances, later: tuple[Draft, ...]
) -> None:
    draft.claimed_time = cms.gen_time
    at = _earliest_proof(later) or around.now
    stamped: dict[str, bytes] = {}
    if cms.imprint is not None and cms.imprint[0] in _HASHES:
        stamped[cms.imprint[0]] = _covered_digest(file, draft, cms.imprint[0])
    outcome = around.judge.judge_token(cms, stamped, at=at)
    _take(draft, outcome)
    if cms.gen_time is not None and cms.gen_time > around.now + around.policy.time_tolerance:
        draft.doubt("TIMESTAMP_ORDER_FAILURE", Finding("verify.timestamp-from-future"))
    _check_revocation(draft, outcome, around, at=at)
    if draft.conclusion is Conclusion.TOTAL_PASSED:
        draft.level = "document-timestamp"
        draft.proven_time = cms.gen_time


def _judge_signature(
    file: bytes,
    draft: Draft,
    cms: CMSObject,
    around: Circumstances,
    later: tuple[Draft, ...],
    base_level: str,
) -> None:
    around = dataclasses.replace(around, judge=around.judge.knowing(cms.evidence))
    draft.claimed_time = cms.signing_time or pdf_date(draft.field.claimed_time)
    draft.role = guess_role(cms.certificate, around.directory)
    if cms.digest_algorithm not in _HASHES:
        draft.doubt(
            "CRYPTO_CONSTRAINTS_FAILURE",
            Finding("verify.weak-algorithm", {"algorithm": cms.digest_algorithm}),
        )
        return
    stamps = _signature_stamps(draft, cms, around, later)
    proofs = [stamp.time for stamp in stamps]
    stamp_of_file = _earliest_proof(later)
    if stamp_of_file is not None:
        proofs.append(stamp_of_file)
    draft.proven_time = min(proofs, default=None)
    at = draft.proven_time or around.now
    outcome = around.judge.judge_signature(cms, _covered_digest(file, draft, cms.digest_algorithm), at=at)
    _take(draft, outcome)
    if outcome.sub_indication == "NOT_YET_VALID" and draft.proven_time is not None:
        # Proven to exist before its certificate did: no later evidence can mend that (EN 319 102-1, 5.5.4).
        draft.conclusion = Conclusion.TOTAL_FAILED
    chain = _check_revocation(draft, outcome, around, at=at)
    _check_claimed_time(draft, cms, around)
    if base_level != "PKCS7" and not cms.has_certificate_reference:
        # EN 319 142-1, 6.3: without this attribute it is no PAdES signature, whatever its name says.
        draft.warnings.append(Finding("verify.no-certificate-reference"))
        base_level = "PKCS7"
    if draft.intact and draft.conclusion is not Conclusion.TOTAL_FAILED:
        draft.level = _level(draft, base_level, chain, stamps, later)


def _level(
    draft: Draft,
    base_level: str,
    chain: ChainStatus | None,
    stamps: tuple[_Stamp, ...],
    later: tuple[Draft, ...],
) -> str:
    """Return the highest level all of whose parts were verified (EN 319 142-1, clause 6)."""
    with_time, long_term, archival = _LEVELS[base_level]
    if draft.proven_time is None:
        return base_level
    sound = [stamp for stamp in later if stamp.conclusion is Conclusion.TOTAL_PASSED]
    embedded = chain is not None and chain.sub_indication is None and chain.embedded
    if not embedded or not (all(stamp.embedded for stamp in stamps) and (stamps or sound)):
        return with_time
    return archival if sound else long_term


def _signature_stamps(
    draft: Draft, cms: CMSObject, around: Circumstances, later: tuple[Draft, ...]
) -> tuple[_Stamp, ...]:
    if not cms.tokens:
        return ()
    at = _earliest_proof(later) or around.now
    expected = digests(cms.signature_value)
    stamps: list[_Stamp] = []
    for token in cms.tokens:
        try:
            found = parse_cms(token.dump())
        except UnusableCMSError as exc:
            draft.warnings.append(Finding("verify.timestamp-unusable", {"reason": exc.finding}))
            continue
        outcome = around.judge.judge_token(found, expected, at=at)
        problem = next(iter(outcome.findings), None)
        chain = None
        if outcome.conclusion is Conclusion.TOTAL_PASSED and outcome.path is not None:
            if around.policy.revocation is not RevocationRule.IGNORE:
                chain = around.judge.check_chain(outcome.path, at=at)
                if chain.sub_indication is not None and not (
                    chain.sub_indication == "TRY_LATER"
                    and around.policy.revocation is RevocationRule.WHEN_AVAILABLE
                ):
                    problem = _revocation_finding(chain)
            if found.gen_time is not None and found.gen_time > around.now + around.policy.time_tolerance:
                problem = Finding("verify.timestamp-from-future")
        if problem is not None or found.gen_time is None:
            # A token that cannot be relied on proves nothing; the signature then stands on its claimed time.
            reason = problem or Finding("verify.not-a-timestamp")
            draft.warnings.append(Finding("verify.timestamp-unusable", {"reason": reason}))
            if reason.id == "verify.timestamp-imprint":
                # A token over other data does not get here by mistake: somebody put it here.
                draft.doubt("SIG_CONSTRAINTS_FAILURE", Finding("verify.timestamp-of-other-data"))
            continue
        stamps.append(_Stamp(found.gen_time, embedded=chain is not None and chain.embedded))
    return tuple(stamps)


def _take(draft: Draft, outcome: Outcome) -> None:
    draft.intact = outcome.intact
    for finding in outcome.findings:
        worsen = draft.fail if outcome.conclusion is Conclusion.TOTAL_FAILED else draft.doubt
        worsen(outcome.sub_indication or "GENERIC", finding)
    if outcome.anchor is not None:
        draft.anchor = display_name(outcome.anchor.certificate.subject)
        draft.tree = outcome.anchor.tree.value


def _check_revocation(
    draft: Draft, outcome: Outcome, around: Circumstances, *, at: datetime.datetime
) -> ChainStatus | None:
    if outcome.path is None:
        return None
    rule = around.policy.revocation
    if rule is RevocationRule.IGNORE:
        draft.warnings.append(Finding("verify.revocation-ignored"))
        return None
    chain = around.judge.check_chain(outcome.path, at=at)
    draft.revocation = Revocation(chain.leaf.status, chain.leaf.source)
    if chain.sub_indication is None:
        return chain
    finding = _revocation_finding(chain)
    if chain.sub_indication == "TRY_LATER":
        for attempt in chain.attempts:
            if attempt.problem is not None:
                draft.warnings.append(
                    Finding("verify.revocation-tried", {"url": attempt.url, "reason": attempt.problem})
                )
        if rule is RevocationRule.WHEN_AVAILABLE:
            draft.warnings.append(finding)
        else:
            draft.doubt("TRY_LATER", finding)
        return chain
    own = chain.leaf.status is RevocationStatus.REVOKED and chain.sub_indication == "REVOKED_NO_POE"
    if own and _says_after(draft, chain.revoked_at):
        # The signer's own time and every proof lie after the revocation: nothing is left to wait for.
        draft.fail("REVOKED", finding)
    else:
        draft.doubt(chain.sub_indication, finding)
    return chain


def _says_after(draft: Draft, revoked_at: datetime.datetime | None) -> bool:
    # A claimed time is never believed in the signer's favour, but it may be held against him.
    claimed = draft.claimed_time
    return revoked_at is not None and claimed is not None and claimed >= revoked_at


def _revocation_finding(chain: ChainStatus) -> Finding:
    if chain.sub_indication == "TRY_LATER":
        return Finding("verify.revocation-unknown")
    time = chain.revoked_at.isoformat() if chain.revoked_at else "?"
    which = "verify.revoked" if chain.sub_indication == "REVOKED_NO_POE" else "verify.authority-revoked"
    return Finding(which, {"time": time})


def _check_claimed_time(draft: Draft, cms: CMSObject, around: Circumstances) -> None:
    claimed, proven = draft.claimed_time, draft.proven_time
    if claimed is None:
        if proven is None:
            draft.warnings.append(Finding("verify.no-time"))
        return
    if proven is not None:
        times: dict[str, object] = {"claimed": claimed.isoformat(), "proven": proven.isoformat()}
        # Some tools write local time (+7 h) as if it were UTC; the token decides.
        if abs(abs(claimed - proven) - _VIETNAM_OFFSET) <= 2 * around.policy.time_tolerance:
            draft.warnings.append(Finding("verify.clock-seven-hours", times))
        elif claimed > proven + around.policy.time_tolerance:
            draft.warnings.append(Finding("verify.claimed-after-timestamp", times))
    if proven is None:
        draft.warnings.append(Finding("verify.time-only-claimed"))
        certificate = cms.certificate
        if not certificate.not_valid_before_utc <= claimed <= certificate.not_valid_after_utc:
            draft.warnings.append(
                Finding("verify.claimed-outside-validity", {"claimed": claimed.isoformat()})
            )


def _earliest_proof(later: tuple[Draft, ...]) -> datetime.datetime | None:
    times = [
        stamp.proven_time
        for stamp in later
        if stamp.conclusion is Conclusion.TOTAL_PASSED and stamp.proven_time is not None
    ]
    return min(times, default=None)


def _covered_digest(file: bytes, draft: Draft, algorithm: str) -> bytes:
    covered = draft.covered
    assert covered is not None
    view = memoryview(file)
    state = hashlib.new(algorithm)
    state.update(view[: covered.gap_start])
    state.update(view[covered.gap_end : covered.end])
    return state.digest()


def pdf_date(value: str | None) -> datetime.datetime | None:
    """Return the moment that a date of a PDF means (ISO 32000-1, 7.9.4); ``None`` if it does not say one."""
    match = _PDF_DATE.match(value) if value else None
    if match is None:
        # Without a zone it cannot be said which moment is meant.
        return None
    offset = datetime.timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0))
    zone = datetime.timezone(-offset if match[7] == "-" else offset) if offset else datetime.UTC
    try:
        moment = datetime.datetime(*(int(match[group]) for group in range(1, 7)), tzinfo=zone)  # type: ignore[misc, arg-type] # six numbers
    except ValueError:
        return None
    return moment.astimezone(datetime.UTC)
