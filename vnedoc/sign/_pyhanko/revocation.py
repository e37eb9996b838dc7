"""Deciding on revocation from bytes: is this certificate good, revoked or unknown at a time?

Follows RFC 5280, 6.3 and RFC 6960 through pyhanko-certvalidator, which never gets near a network here. One response
or list is looked at after the other, each at the time it speaks for.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, TypeVar

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.errors import (
    CRLValidationError,
    OCSPValidationError,
    PathBuildingError,
    RevokedError,
    ValidationError,
)
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo, ValidationTimingParams
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy
from pyhanko_certvalidator.revinfo.validate_crl import verify_crl
from pyhanko_certvalidator.revinfo.validate_ocsp import verify_ocsp_response

from vnedoc.sign._pyhanko.algorithms import DatedAlgorithms, anchor_fingerprint
from vnedoc.sign._pyhanko.reading import FOREIGN_ERRORS
from vnedoc.sign.report import RevocationStatus

if TYPE_CHECKING:
    import datetime
    from collections.abc import Coroutine, Iterable

    from asn1crypto import x509
    from pyhanko_certvalidator.authority import TrustAnchor
    from pyhanko_certvalidator.path import ValidationPath

    from vnedoc.sign.policy import Policy

__all__ = ["RevocationAnswer", "algorithm_policy", "check_with_crls", "check_with_ocsp", "run_to_end"]

_NO_ANSWER: tuple[type[Exception], ...] = (
    CRLValidationError,
    OCSPValidationError,
    ValidationError,
    PathBuildingError,
    *FOREIGN_ERRORS,
)
MAX_ITEMS = 100
"""How many responses or lists are looked at for one certificate."""

_MAX_REMEMBERED_BYTES = 256 * 1024
# The identifiers of deltaCRLIndicator and issuingDistributionPoint, encoded.
_MARKS_OF_PARTS = (bytes.fromhex("0603551d1b"), bytes.fromhex("0603551d1c"))

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True)
class RevocationAnswer:
    """What the data say about one certificate."""

    status: RevocationStatus
    source: str
    """``ocsp``, ``crl`` or ``none``."""
    revoked_at: datetime.datetime | None = None
    """When it was revoked, if it was."""
    signers: tuple[ValidationPath, ...] = ()
    """Paths to the certificates, outside of the chain, that signed the lists which say so."""


def run_to_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine that never waits for anything, without an event loop.

    Nothing is fetched here, so nothing is waited for; and a verification must also work inside a program that has
    its own event loop running.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return] # StopIteration is not generic
    work.close()
    raise RuntimeError("a validation step waited although nothing may be fetched")


def algorithm_policy(policy: Policy, anchor: TrustAnchor | None = None) -> DatedAlgorithms:
    """Return which algorithms are accepted below an anchor, in the words of the validator; without one, at all."""
    return DatedAlgorithms(policy, None if anchor is None else anchor_fingerprint(anchor))


def check_with_ocsp(
    certificate: x509.Certificate,
    path: ValidationPath,
    responses: Iterable[bytes],
    *,
    at: datetime.datetime,
    others: Iterable[x509.Certificate],
    policy: Policy,
) -> RevocationAnswer | None:
    """Return what OCSP responses say of a certificate at a time; ``None`` if nothing usable."""

    def issued(encoded: bytes) -> datetime.datetime:
        response = asn1_ocsp.OCSPResponse.load(encoded)
        return max(  # type: ignore[no-any-return] # asn1crypto has no types
            single["this_update"].native
            for single in response["response_bytes"]["response"].parsed["tbs_response_data"]["responses"]
        )

    async def check(context: ValidationContext) -> None:
        await verify_ocsp_response(certificate, path, context)

    groups = [(response,) for response in list(responses)[:MAX_ITEMS]]
    return _check("ocsp", certificate, path, groups, issued, check, at=at, others=others, policy=policy)


def check_with_crls(
    certificate: x509.Certificate,
    path: ValidationPath,
    lists: Iterable[bytes],
    *,
    at: datetime.datetime,
    others: Iterable[x509.Certificate],
    policy: Policy,
) -> RevocationAnswer | None:
    """Return what CRLs say of a certificate at a time; ``None`` if nothing usable."""

    def issued(encoded: bytes) -> datetime.datetime:
        return asn1_crl.CertificateList.load(encoded)["tbs_cert_list"]["this_update"].native  # type: ignore[no-any-return] # asn1crypto has no types

    async def check(context: ValidationContext) -> None:
        await verify_crl(certificate, path, context)

    relevant = list(lists)[:MAX_ITEMS]
    if not _names_other_issuers(certificate):
        # Looking into a list takes long; most lists at hand are those of other authorities.
        relevant = [encoded for encoded in relevant if _may_be_from(encoded, certificate.issuer)]
    groups: list[tuple[bytes, ...]] = [(encoded,) for encoded in relevant]
    if len(relevant) > 1 and any(map(_is_part, relevant)):
        # Only together do they say something: a list and its changes, or lists for some reasons each.
        groups.append(tuple(relevant))
    return _check("crl", certificate, path, groups, issued, check, at=at, others=others, policy=policy)


def _is_part(encoded: bytes) -> bool:
    """Tell whether a list is one for some reasons only, or says what changed in another (RFC 5280, 5.2)."""
    if not any(mark in encoded for mark in _MARKS_OF_PARTS):
        return False
    try:
        found = asn1_crl.CertificateList.load(encoded)
        point = found.issuing_distribution_point_value
        return found.delta_crl_indicator_value is not None or bool(
            point is not None and point["only_some_reasons"].native
        )
    except FOREIGN_ERRORS:
        return False


def _names_other_issuers(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate points to lists of authorities other than its own (RFC 5280, 4.2.1.13)."""
    try:
        points = certificate.crl_distribution_points_value or ()
        return any(point["crl_issuer"].native is not None for point in points)
    except FOREIGN_ERRORS:
        return True


def _may_be_from(encoded: bytes, issuer: x509.Name) -> bool:
    find = _issuer_of if len(encoded) > _MAX_REMEMBERED_BYTES else _remembered_issuer_of
    try:
        return find(encoded) == str(issuer.hashable)
    except FOREIGN_ERRORS:
        return False


def _issuer_of(encoded: bytes) -> str:
    return str(asn1_crl.CertificateList.load(encoded)["tbs_cert_list"]["issuer"].hashable)


# The same few lists are at hand for every signature of a batch.
_remembered_issuer_of = functools.lru_cache(maxsize=64)(_issuer_of)


def _check(
    source: str,
    certificate: x509.Certificate,
    path: ValidationPath,
    groups: Iterable[tuple[bytes, ...]],
    issued: Any,  # one of the functions above
    check: Any,  # one of the functions above
    *,
    at: datetime.datetime,
    others: Iterable[x509.Certificate],
    policy: Policy,
) -> RevocationAnswer | None:
    good: RevocationAnswer | None = None
    expires = certificate.not_valid_after
    for group in groups:
        try:
            this_update = max(map(issued, group))
            context = _context(source, group, path, moment=max(at, this_update), others=others, policy=policy)
        except _NO_ANSWER:
            continue
        try:
            run_to_end(check(context))
        except RevokedError as exc:
            # A certificate revoked after the time in question was good then (RFC 5280, 6.3.3).
            if exc.revocation_dt <= at:
                return RevocationAnswer(RevocationStatus.REVOKED, source, exc.revocation_dt)
            good = RevocationAnswer(RevocationStatus.GOOD, source, signers=_list_signers(context, path))
        except _NO_ANSWER:
            # Not about this certificate, not signed by who may, or too old: no answer.
            continue
        else:
            # An authority may drop expired certificates from its lists: silence after expiry proves nothing.
            if this_update <= expires:
                good = RevocationAnswer(RevocationStatus.GOOD, source, signers=_list_signers(context, path))
    return good


def _list_signers(context: ValidationContext, path: ValidationPath) -> tuple[ValidationPath, ...]:
    """Return the paths to those who signed the lists with a certificate that is not in the path itself."""
    known = {certificate.dump() for certificate in path.iter_certs(include_root=True)}
    found = []
    for encoded in context.revinfo_manager.crls:
        signer = context.revinfo_manager.check_crl_issuer(encoded)
        if signer is not None and signer.dump() not in known:
            found.append(path.truncate_to_issuer_and_append(signer))
    return tuple(found)


def _context(
    source: str,
    group: tuple[bytes, ...],
    path: ValidationPath,
    *,
    moment: datetime.datetime,
    others: Iterable[x509.Certificate],
    policy: Policy,
) -> ValidationContext:
    context = ValidationContext(
        trust_roots=[path.trust_anchor],
        other_certs=list(others),
        moment=moment,
        allow_fetching=False,
        ocsps=list(group) if source == "ocsp" else [],
        crls=list(group) if source == "crl" else [],
        revinfo_policy=CertRevTrustPolicy(NO_REVOCATION, retroactive_revinfo=True),
        algorithm_usage_policy=algorithm_policy(policy, path.trust_anchor),
        time_tolerance=policy.time_tolerance,
    )
    # The validator would drop a revocation later than the moment without saying so. It must be told of each;
    # which of them count is decided above.
    context.timing_params = ValidationTimingParams(
        ValidationTimingInfo(
            validation_time=moment, best_signature_time=moment, point_in_time_validation=False
        ),
        time_tolerance=policy.time_tolerance,
    )
    return context
