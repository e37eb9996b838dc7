"""The levels with long-term data, for a signature whose key is elsewhere (ETSI EN 319 142-1, 5.4 and 6).

The data belongs into the signature's own revision, so it is gathered before the signature is there: the certificate
is known, and whose time-stamp is to be expected, too. Days may pass then. So the certificate is checked again, and
what comes out is verified from the document alone before it is called B-LT or B-LTA.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, BinaryIO

from vnedoc.errors import IndeterminateError, UsageError
from vnedoc.sign.certificates import check_can_sign
from vnedoc.sign.extension import has_level
from vnedoc.sign.long_term import LongTermData, stamp_document
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.presign import LONG_TERM_LEVELS, check_signer
from vnedoc.sign.report import Conclusion
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    import datetime

    from vnedoc.sign._prepared import PreparedSignature
    from vnedoc.sign._pyhanko.validation import Evidence
    from vnedoc.sign.presign import SignerCheck
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signers.base import Signer
    from vnedoc.sign.timestamps import TimestampClient, TimestampToken
    from vnedoc.sign.trust import TrustStore

__all__ = ["Completion", "LongTermMeans", "check_again", "finish_long_term", "gather_long_term_data"]


@dataclasses.dataclass(frozen=True, slots=True)
class LongTermMeans:
    """What completing a signature at B-LT or B-LTA needs beside time-stamps."""

    trust: TrustStore
    """What every chain must lead to."""
    revocation: RevocationSource
    """Where revocation is asked for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Completion:
    """A signature that stands in its document, and its time-stamp with it."""

    prepared: PreparedSignature
    """What was prepared."""
    field: str
    """Its field."""
    token: TimestampToken
    """The time-stamp over it."""
    password: str | None = dataclasses.field(repr=False)
    """Opens the document, if it is encrypted."""

    def unlock(self, _document: str) -> str | None:
        """Return the password."""
        return self.password


def gather_long_term_data(options: SigningOptions, evidence: Evidence | None) -> LongTermData:
    """Return what goes into the signature's own revision: of the signer's chain, and of the expected authority's.

    Raises:
        TimestampError: No authority answers, or its chain is not trusted or revoked.
        RemoteError: Nobody says whether its chain was revoked.
    """
    assert options.trust is not None
    assert options.revocation is not None
    assert options.timestamps is not None
    assert evidence is not None
    means = LongTermMeans(options.trust, options.revocation)
    data = _long_term_data(options.digest_algorithm, evidence, means, options.timestamps)
    data.prepare()
    return data


def check_again(
    prepared: PreparedSignature, key: Signer, means: LongTermMeans | None, *, at: datetime.datetime
) -> tuple[SignerCheck | None, Evidence | None]:
    """Check the certificate at the time of completion: it may have been revoked while the state waited.

    Raises:
        UsageError: The level needs trust and revocation.
        CredentialError: The certificate is not valid any more, or was revoked.
        RemoteError: The level needs revocation data, and nobody gave it.
    """
    if prepared.level not in LONG_TERM_LEVELS:
        check_can_sign(key.certificate, at)
        return None, None
    if means is None:
        raise UsageError("signing.needs-trust", level=prepared.level.value)
    return check_signer(key, trust=means.trust, revocation=means.revocation, level=prepared.level, at=at)


def finish_long_term(
    done: Completion,
    target: BinaryIO,
    *,
    evidence: Evidence,
    means: LongTermMeans,
    timestamps: TimestampClient,
    at: datetime.datetime,
) -> None:
    """Add the archive time-stamp at B-LTA, and verify from the document alone that the level is reached.

    Args:
        done: The signature.
        target: The document; readable and writable.
        evidence: Fresh data on the signer's chain.
        means: Trust and revocation.
        timestamps: The authorities.
        at: The time of completion.

    Raises:
        TimestampError: No authority gave a time-stamp.
        RemoteError: Revocation data on an authority is missing.
        IndeterminateError: The level is not reached.
    """
    prepared, times = done.prepared, [at, done.token.time]
    if prepared.level is SignatureLevel.B_LTA:
        data = _long_term_data(prepared.digest_algorithm, evidence, means, timestamps)
        data.admit(done.token)
        archive = stamp_document(
            target,
            name=str(prepared.source),
            timestamps=timestamps,
            digest_algorithm=prepared.digest_algorithm,
            data=data,
            password=done.unlock,
        )
        times.append(archive.time)
    target.seek(0)
    report = verify_pdf(target.read(), trust=means.trust, at=max(times), password=done.unlock).files[0]
    signature = next((item for item in report.signatures if item.field == done.field), None)
    passed = signature is not None and signature.conclusion is Conclusion.TOTAL_PASSED
    if passed and signature is not None and has_level(signature, prepared.level):
        return
    errors = (*report.errors, *(signature.errors if signature is not None else ()))
    reason: object = errors[0] if errors else signature.level if signature is not None else "-"
    raise IndeterminateError(
        "external.level-not-reached", path=prepared.source, level=prepared.level.value, reason=reason
    )


def _long_term_data(
    digest_algorithm: str, evidence: Evidence, means: LongTermMeans, timestamps: TimestampClient
) -> LongTermData:
    return LongTermData(
        trust=means.trust,
        revocation=means.revocation,
        timestamps=timestamps,
        digest_algorithm=digest_algorithm,
        evidence=evidence,
    )
