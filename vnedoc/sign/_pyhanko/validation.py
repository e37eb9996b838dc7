"""Judging CMS signatures and time-stamp tokens: cryptography and certificate paths, through pyHanko.

Follows RFC 5652, ETSI EN 319 122-1 and EN 319 102-1, 5.2 and 5.3; PDF does not occur here. Nothing is fetched.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import itertools
from typing import TYPE_CHECKING

from asn1crypto import algos, core
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.ades.report import AdESIndeterminate, AdESStatus, AdESSubIndic
from pyhanko.sign.general import CMSStructuralError
from pyhanko.sign.validation import generic_cms
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.utils import CMSAlgorithmUsagePolicy
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy
from pyhanko_certvalidator.validate import async_validate_path

from vnedoc.sign._chains import fetch_chains, find_chains
from vnedoc.sign._pyhanko.cms_objects import (
    MAX_CERTIFICATES,
    CMSObject,
    Evidence,
    UnusableCMSError,
    digests,
    parse_cms,
    to_asn1,
    to_pyca,
)
from vnedoc.sign._pyhanko.material import material_of, trust_anchor
from vnedoc.sign._pyhanko.reading import FOREIGN_ERRORS, short_reason
from vnedoc.sign._pyhanko.revocation import (
    RevocationAnswer,
    algorithm_policy,
    check_with_crls,
    check_with_ocsp,
    run_to_end,
)
from vnedoc.sign.report import Conclusion, Finding, RevocationStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography import x509

    from vnedoc.sign.policy import Policy
    from vnedoc.sign.revocation import Attempt, RevocationSource
    from vnedoc.sign.trust import TrustAnchor, TrustStore

__all__ = [
    "CMSObject",
    "ChainStatus",
    "Evidence",
    "Judge",
    "Outcome",
    "UnusableCMSError",
    "digests",
    "parse_cms",
]


MAX_SIGNER_DEPTH = 3
"""A list may be signed by somebody whose own list is signed by somebody else, so often."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The judgement on one CMS object at one time, revocation aside."""

    intact: bool
    """Whether digest and signature value are right."""
    conclusion: Conclusion
    sub_indication: str | None
    findings: tuple[Finding, ...]
    path: ValidationPath | None
    anchor: TrustAnchor | None


@dataclasses.dataclass(frozen=True, slots=True)
class ChainStatus:
    """What is known about the revocation of a chain."""

    leaf: RevocationAnswer
    """The signing certificate."""
    sub_indication: str | None
    """``None`` if all is well; else what is wrong, in the words of EN 319 102-1."""
    revoked_at: datetime.datetime | None
    """When the certificate that is in the way was revoked."""
    embedded: bool
    """Whether the file's own data gave every answer."""
    attempts: tuple[Attempt, ...] = ()
    """What was asked in vain."""


class Judge:
    """Judges CMS objects under one trust, one policy and one source of revocation data.

    Args:
        trust: What is trusted.
        policy: What is demanded.
        revocation: Where revocation data may be asked for; ``None``: only what the file brings.
        evidence: What the file brings.
    """

    def __init__(
        self,
        *,
        trust: TrustStore,
        policy: Policy,
        revocation: RevocationSource | None,
        evidence: Evidence,
    ) -> None:
        self._trust = trust
        self._material = material_of(trust)
        self._policy = policy
        self._revocation = revocation
        self._evidence = evidence
        self._algorithms = algorithm_policy(policy)

    def knowing(self, more: Evidence) -> Judge:
        """Return a judge that looks at more evidence, too."""
        if not (more.certificates or more.ocsp or more.crls):
            return self
        own = self._evidence
        return Judge(
            trust=self._trust,
            policy=self._policy,
            revocation=self._revocation,
            evidence=Evidence(
                own.certificates + more.certificates, own.ocsp + more.ocsp, own.crls + more.crls
            ),
        )

    def judge_signature(self, found: CMSObject, digest: bytes, *, at: datetime.datetime) -> Outcome:
        """Judge a detached signature over content with this digest, at a time."""
        usage = KeyUsageConstraints(key_usage=self._policy.key_usage or None)
        return self._judge(found, digest, at=at, usage=usage)

    def judge_token(
        self, found: CMSObject, stamped: Mapping[str, bytes], *, at: datetime.datetime
    ) -> Outcome:
        """Judge a time-stamp token (RFC 3161) at a time.

        Args:
            found: The token.
            stamped: Digest of what must have been stamped, by algorithm.
            at: The time at which its chain must hold.
        """
        if found.imprint is None or found.gen_time is None:
            return _failed("FORMAT_FAILURE", Finding("verify.not-a-timestamp"))
        algorithm, imprint = found.imprint
        if not self._policy.accepts_digest(algorithm, at):
            finding = Finding("verify.weak-algorithm", {"algorithm": algorithm})
            return _indeterminate("CRYPTO_CONSTRAINTS_FAILURE", finding, intact=True)
        if stamped.get(algorithm) != imprint:
            return _failed("HASH_FAILURE", Finding("verify.timestamp-imprint"))
        usage = KeyUsageConstraints(extd_key_usage={"time_stamping"}, explicit_extd_key_usage_required=True)
        outcome = self._judge(found, None, at=at, usage=usage)
        certificate = found.certificate
        if outcome.conclusion is Conclusion.TOTAL_PASSED and not (
            certificate.not_valid_before_utc <= found.gen_time <= certificate.not_valid_after_utc
        ):
            return dataclasses.replace(
                outcome,
                conclusion=Conclusion.INDETERMINATE,
                sub_indication="TIMESTAMP_ORDER_FAILURE",
                findings=(Finding("verify.timestamp-outside-validity"),),
            )
        return outcome

    def check_chain(self, path: ValidationPath, *, at: datetime.datetime) -> ChainStatus:
        """Find out whether a certificate of a chain was revoked at a time."""
        answers: list[RevocationAnswer] = []
        attempts: list[Attempt] = []
        embedded = True
        chain = list(path.iter_certs(include_root=True))
        for issuer, certificate in itertools.pairwise(chain):
            answer, from_file, asked = self._check_one(certificate, issuer, path, at=at)
            answers.append(answer)
            attempts += asked
            embedded &= from_file
        leaf = answers[-1] if answers else RevocationAnswer(RevocationStatus.GOOD, "none")
        authorities = answers[:-1]
        for answer in authorities:
            if answer.status is RevocationStatus.REVOKED:
                return ChainStatus(leaf, "REVOKED_CA_NO_POE", answer.revoked_at, embedded=False)
        if leaf.status is RevocationStatus.REVOKED:
            return ChainStatus(leaf, "REVOKED_NO_POE", leaf.revoked_at, embedded=False)
        if any(answer.status is RevocationStatus.UNKNOWN for answer in answers):
            return ChainStatus(leaf, "TRY_LATER", None, embedded=False, attempts=tuple(attempts))
        return ChainStatus(leaf, None, None, embedded=embedded and bool(answers))

    def _check_one(
        self,
        certificate: asn1_x509.Certificate,
        issuer: asn1_x509.Certificate,
        path: ValidationPath,
        *,
        at: datetime.datetime,
        depth: int = 0,
    ) -> tuple[RevocationAnswer, bool, tuple[Attempt, ...]]:
        source = self._revocation
        given = source.crls if source is not None else ()

        def ask(kind: str, items: Sequence[bytes]) -> RevocationAnswer | None:
            answer = self._ask(kind, certificate, path, items, at=at)
            return answer if answer is not None and self._is_reliable(answer, at=at, depth=depth) else None

        from_file = (ask("ocsp", self._evidence.ocsp), ask("crl", self._evidence.crls))
        answers = [*from_file, ask("crl", given)]
        attempts: tuple[Attempt, ...] = ()
        if source is not None and not any(answers):
            fetched = source.ocsp_for(to_pyca(certificate), to_pyca(issuer))
            attempts = fetched.attempts
            answers.append(ask("ocsp", fetched.ocsp))
            if not any(answers):
                fetched = source.crls_for(to_pyca(certificate))
                attempts += fetched.attempts
                answers.append(ask("crl", fetched.crls))
        known = [answer for answer in answers if answer is not None]
        # One "revoked" outweighs any number of "good".
        known.sort(key=lambda answer: answer.status is not RevocationStatus.REVOKED)
        if not known:
            return RevocationAnswer(RevocationStatus.UNKNOWN, "none"), False, attempts
        return known[0], any(from_file), attempts

    def _is_reliable(self, answer: RevocationAnswer, *, at: datetime.datetime, depth: int) -> bool:
        """Tell whether those who signed a list with a certificate of its own could do so (RFC 5280, 6.3.3 f)."""
        for path in answer.signers:
            issuer, signer = list(path.iter_certs(include_root=True))[-2:]
            if depth >= MAX_SIGNER_DEPTH:
                return False
            found, _, _ = self._check_one(signer, issuer, path, at=at, depth=depth + 1)
            if found.status is not RevocationStatus.GOOD:
                return False
        return True

    def _ask(
        self,
        source: str,
        certificate: asn1_x509.Certificate,
        path: ValidationPath,
        items: Sequence[bytes],
        *,
        at: datetime.datetime,
    ) -> RevocationAnswer | None:
        if not items:
            return None
        check = check_with_ocsp if source == "ocsp" else check_with_crls
        # Whoever signed a list may have come with the file, as the certificates of the chain may.
        others = (*path.iter_certs(include_root=True), *self._brought, *self._material.intermediates)
        return check(certificate, path, items, at=at, others=others, policy=self._policy)

    @functools.cached_property
    def _brought(self) -> tuple[asn1_x509.Certificate, ...]:
        return tuple(map(to_asn1, self._evidence.certificates[:MAX_CERTIFICATES]))

    def _judge(
        self, found: CMSObject, digest: bytes | None, *, at: datetime.datetime, usage: KeyUsageConstraints
    ) -> Outcome:
        content = found.signed_data["encap_content_info"]
        try:
            if digest is None:
                digest = hashlib.new(found.digest_algorithm, bytes(content["content"])).digest()
            elif not isinstance(content["content"], core.Void):
                # Two contents, of which a verifier could pick the one it likes (RFC 5652, 5.2).
                return _failed("FORMAT_FAILURE", Finding("verify.content-in-detached"))
            intact, valid = generic_cms.validate_sig_integrity(
                found.signer_info,
                found.asn1_certificate,
                expected_content_type=content["content_type"].native,
                actual_digest=digest,
            )
        except (SignatureValidationError, CMSStructuralError) as exc:
            problem = getattr(exc, "ades_subindication", None)
            return _from_problem(problem, Finding("verify.bad-cms", {"reason": short_reason(exc)}))
        except FOREIGN_ERRORS as exc:
            return _failed("FORMAT_FAILURE", Finding("verify.bad-cms", {"reason": short_reason(exc)}))
        if not intact:
            return _failed("HASH_FAILURE", Finding("verify.hash-failure"))
        if not valid:
            return _failed("SIG_CRYPTO_FAILURE", Finding("verify.signature-failure"))
        return self._judge_trust(found, at=at, usage=usage)

    def judge_certificate(
        self, certificate: x509.Certificate, others: Sequence[x509.Certificate] = (), *, at: datetime.datetime
    ) -> Outcome:
        """Judge whether a certificate leads to an anchor and may sign documents at a time; revocation aside.

        For signatures that are no CMS objects. Only certificates that hang below an anchor by a checked signature
        are walked through, so a mesh of cross-certificates costs nothing.

        Args:
            certificate: The signing certificate.
            others: Certificates that came with the signature and may stand in the chain.
            at: The time.
        """
        usage = KeyUsageConstraints(key_usage=self._policy.key_usage or None)
        return self._judge_chain(certificate, to_asn1(certificate), others, "signature", at=at, usage=usage)

    def _judge_trust(self, found: CMSObject, *, at: datetime.datetime, usage: KeyUsageConstraints) -> Outcome:
        try:
            accepted = self._accepts_algorithms(found, at)
        except FOREIGN_ERRORS:
            accepted = False
        if not accepted:
            return _indeterminate(
                "CRYPTO_CONSTRAINTS_FAILURE", Finding("verify.weak-algorithms"), intact=True
            )
        purpose = "time-stamp" if found.gen_time is not None else "signature"
        return self._judge_chain(
            found.certificate,
            found.asn1_certificate,
            found.evidence.certificates,
            purpose,
            at=at,
            usage=usage,
        )

    def _judge_chain(
        self,
        certificate: x509.Certificate,
        converted: asn1_x509.Certificate,
        others: Sequence[x509.Certificate],
        purpose: str,
        *,
        at: datetime.datetime,
        usage: KeyUsageConstraints,
    ) -> Outcome:
        known = self._material.recall(certificate, self._policy, purpose, at)
        if known is not None:
            return self._sound(known)
        problem: AdESSubIndic | None = None
        try:
            brought = (*others, *self._evidence.certificates)
            chains = find_chains(certificate, self._trust, brought)
            if not chains and self._revocation is not None:
                chains = fetch_chains(certificate, self._trust, brought, source=self._revocation)
            if not chains:
                return _indeterminate("NO_CERTIFICATE_CHAIN_FOUND", Finding("verify.no-chain"), intact=True)
            for chain in chains:
                path = self._path(chain, converted)
                problem = self._validate(path, converted, at=at, usage=usage)
                if problem is None:
                    self._material.remember(chain, self._policy, purpose, path)
                    return self._sound(path)
        except FOREIGN_ERRORS:
            return _indeterminate(
                "CERTIFICATE_CHAIN_GENERAL_FAILURE", Finding("verify.bad-chain"), intact=True
            )
        if at < certificate.not_valid_before_utc:
            # The validator has no sub-indication of its own for this.
            finding = Finding("verify.not-yet-valid", {"time": certificate.not_valid_before_utc.isoformat()})
            return _indeterminate("NOT_YET_VALID", finding, intact=True)
        indication = str(problem.standard_name) if problem is not None else "GENERIC"
        return _indeterminate(indication, _explain(indication, certificate), intact=True)

    def _sound(self, path: ValidationPath) -> Outcome:
        return Outcome(
            intact=True,
            conclusion=Conclusion.TOTAL_PASSED,
            sub_indication=None,
            findings=(),
            path=path,
            anchor=self._anchor(path),
        )

    def _accepts_algorithms(self, found: CMSObject, at: datetime.datetime) -> bool:
        policy = CMSAlgorithmUsagePolicy.lift_policy(self._algorithms)
        signature = found.signer_info["signature_algorithm"]
        digest = found.signer_info["digest_algorithm"]
        return bool(
            policy.signature_algorithm_allowed(
                signature, moment=at, public_key=found.asn1_certificate.public_key
            )
            and policy.digest_algorithm_allowed(digest, moment=at)
            # Compared as encoded: parameters may be NULL or absent, and mean the same (RFC 5754, 2).
            and policy.digest_combination_allowed(
                signature, algos.DigestAlgorithm({"algorithm": found.digest_algorithm}), moment=at
            )
        )

    def _path(
        self, chain: tuple[x509.Certificate, ...], certificate: asn1_x509.Certificate
    ) -> ValidationPath:
        anchor = trust_anchor(self._material.converted(chain[-1]))
        if len(chain) == 1:
            return ValidationPath(trust_anchor=anchor, interm=[], leaf=None)
        between = [self._material.converted(link) for link in reversed(chain[1:-1])]
        return ValidationPath(trust_anchor=anchor, interm=between, leaf=certificate)

    def _validate(
        self,
        path: ValidationPath,
        certificate: asn1_x509.Certificate,
        *,
        at: datetime.datetime,
        usage: KeyUsageConstraints,
    ) -> AdESSubIndic | None:
        context = ValidationContext(
            trust_roots=[path.trust_anchor],
            moment=at,
            allow_fetching=False,
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            algorithm_usage_policy=algorithm_policy(self._policy, path.trust_anchor),
            # Validity periods are exact; clocks differ only between machines (see Policy.time_tolerance).
            time_tolerance=datetime.timedelta(seconds=1),
        )

        async def check() -> None:
            await async_validate_path(context, path)
            usage.validate(certificate)

        result = run_to_end(generic_cms.handle_certvalidator_errors(certificate, check()))
        return result.error_subindic

    def _anchor(self, path: ValidationPath) -> TrustAnchor | None:
        authority = path.trust_anchor.authority
        certificate = getattr(authority, "certificate", None)
        return None if certificate is None else self._material.anchors.get(certificate.dump())


_EXPLANATIONS = {
    "NO_CERTIFICATE_CHAIN_FOUND": "verify.no-chain",
    "OUT_OF_BOUNDS_NO_POE": "verify.expired",
    "CHAIN_CONSTRAINTS_FAILURE": "verify.key-usage",
    "CRYPTO_CONSTRAINTS_FAILURE": "verify.weak-algorithms",
    "CRYPTO_CONSTRAINTS_FAILURE_NO_POE": "verify.weak-algorithms",
    "NO_SIGNING_CERTIFICATE_FOUND": "verify.no-signing-certificate",
}


def _explain(name: str, certificate: x509.Certificate) -> Finding:
    message = _EXPLANATIONS.get(name, "verify.bad-chain")
    if message == "verify.expired":
        return Finding(message, {"time": certificate.not_valid_after_utc.isoformat()})
    return Finding(message)


def _from_problem(problem: AdESSubIndic | None, finding: Finding) -> Outcome:
    if problem is None or problem.status is AdESStatus.FAILED:
        return _failed("FORMAT_FAILURE" if problem is None else problem.standard_name, finding)
    if problem is AdESIndeterminate.NO_SIGNING_CERTIFICATE_FOUND:
        finding = Finding("verify.no-signing-certificate")
    return _indeterminate(problem.standard_name, finding, intact=False)


def _failed(sub_indication: str, finding: Finding) -> Outcome:
    return Outcome(
        intact=False,
        conclusion=Conclusion.TOTAL_FAILED,
        sub_indication=sub_indication,
        findings=(finding,),
        path=None,
        anchor=None,
    )


def _indeterminate(sub_indication: str, finding: Finding, *, intact: bool) -> Outcome:
    return Outcome(
        intact=intact,
        conclusion=Conclusion.INDETERMINATE,
        sub_indication=sub_indication,
        findings=(finding,),
        path=None,
        anchor=None,
    )
