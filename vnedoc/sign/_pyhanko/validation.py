"""CMS signatures and time-stamp tokens: cryptography and certificate paths, through pyHanko and its validator.

Follows RFC 5652, ETSI EN 319 122-1 and EN 319 102-1, 5.2 and 5.3; PDF does not occur here. Nothing is fetched.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
import weakref
from typing import TYPE_CHECKING, Any

from asn1crypto import cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.sign.ades.report import AdESIndeterminate, AdESStatus, AdESSubIndic
from pyhanko.sign.general import CMSStructuralError, find_cms_attribute_iter
from pyhanko.sign.validation import generic_cms
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy

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
    from collections.abc import Iterable, Mapping, Sequence

    from pyhanko_certvalidator.path import ValidationPath

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
    "parse_cms",
]

MAX_CERTIFICATES = 100
MAX_TOKENS = 10


class UnusableCMSError(Exception):
    """A CMS object that cannot be judged.

    Args:
        finding: Why.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.id)
        self.finding = finding


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What the file itself brings for its verification, unchecked."""

    certificates: tuple[x509.Certificate, ...] = ()
    """Certificates that may stand in a chain."""
    ocsp: tuple[bytes, ...] = ()
    """OCSP responses, DER."""
    crls: tuple[bytes, ...] = ()
    """CRLs, DER."""


@dataclasses.dataclass(frozen=True, slots=True)
class CMSObject:
    """A parsed SignedData with exactly one signer."""

    signed_data: cms.SignedData
    signer_info: cms.SignerInfo
    certificate: x509.Certificate
    """The signing certificate."""
    digest_algorithm: str
    signature_algorithm: str
    signing_time: datetime.datetime | None
    """The signing time that the signer claims."""
    has_certificate_reference: bool
    """Whether the signer signed which certificate is meant (ESS signing-certificate, RFC 5035)."""
    tokens: tuple[cms.ContentInfo, ...]
    """Signature time-stamp tokens, unchecked."""
    evidence: Evidence
    """Certificates and revocation data inside the object."""
    gen_time: datetime.datetime | None
    """For a time-stamp token: its time, rounded as the token has it."""
    imprint: tuple[str, bytes] | None
    """For a time-stamp token: digest algorithm and digest of what was stamped."""

    @property
    def signature_value(self) -> bytes:
        """The signature, which time-stamp tokens stamp."""
        return bytes(self.signer_info["signature"].native)


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


def parse_cms(encoded: bytes) -> CMSObject:
    """Read a CMS SignedData.

    Raises:
        UnusableCMSError: It is malformed, or of a kind that cannot be judged.
    """
    try:
        content_info = cms.ContentInfo.load(encoded, strict=True)
        if content_info["content_type"].native != "signed_data":
            raise UnusableCMSError(Finding("verify.not-cms"))
        return _parse_signed_data(content_info["content"])
    except SignatureValidationError as exc:
        raise UnusableCMSError(Finding("verify.no-signing-certificate")) from exc
    except FOREIGN_ERRORS as exc:
        raise UnusableCMSError(Finding("verify.not-cms")) from exc


def _parse_signed_data(signed_data: cms.SignedData) -> CMSObject:
    if len(signed_data["signer_infos"]) != 1:
        raise UnusableCMSError(Finding("verify.signer-count", {"count": len(signed_data["signer_infos"])}))
    certificates = signed_data["certificates"]
    if not isinstance(certificates, core.Void) and len(certificates) > MAX_CERTIFICATES:
        raise UnusableCMSError(Finding("verify.too-many-certificates", {"limit": MAX_CERTIFICATES}))
    signer_info = signed_data["signer_infos"][0]
    found = generic_cms.extract_certs_for_validation(signed_data)
    signed_attributes = signer_info["signed_attrs"]
    gen_time, imprint = _time_stamp_info(signed_data)
    return CMSObject(
        signed_data=signed_data,
        signer_info=signer_info,
        certificate=_pyca(found.signer_cert),
        digest_algorithm=str(signer_info["digest_algorithm"]["algorithm"].native),
        signature_algorithm=_mechanism(signer_info["signature_algorithm"]),
        signing_time=_aware(generic_cms.extract_self_reported_ts(signer_info)),
        has_certificate_reference=(
            not isinstance(signed_attributes, core.Void)
            and generic_cms.get_signing_cert_attr(signed_attributes) is not None
        ),
        tokens=_tokens(signer_info),
        evidence=_evidence(signer_info, found.other_certs),
        gen_time=gen_time,
        imprint=imprint,
    )


def _mechanism(algorithm: Any) -> str:  # asn1crypto has no types
    try:
        return str(algorithm.signature_algo)
    except ValueError:
        return str(algorithm["algorithm"].native)


def _tokens(signer_info: cms.SignerInfo) -> tuple[cms.ContentInfo, ...]:
    if isinstance(signer_info["unsigned_attrs"], core.Void):
        return ()
    found = find_cms_attribute_iter(signer_info["unsigned_attrs"], "signature_time_stamp_token")
    tokens = []
    for token in found:
        tokens.append(token)
        if len(tokens) > MAX_TOKENS:
            raise UnusableCMSError(Finding("verify.too-many-timestamps", {"limit": MAX_TOKENS}))
    return tuple(tokens)


def _evidence(signer_info: cms.SignerInfo, others: Iterable[asn1_x509.Certificate]) -> Evidence:
    responses: list[bytes] = []
    lists: list[bytes] = []
    if not isinstance(signer_info["signed_attrs"], core.Void):
        for archive in find_cms_attribute_iter(signer_info["signed_attrs"], "adobe_revocation_info_archival"):
            # Adobe's attribute from before DSS (ISO 32000-1, 12.8.3.3.2).
            responses += [item.dump() for item in _items(archive["ocsp"])]
            lists += [item.dump() for item in _items(archive["crl"])]
    return Evidence(tuple(_pyca(item) for item in others), tuple(responses), tuple(lists))


def _items(value: Any) -> Sequence[Any]:  # asn1crypto has no types
    return [] if isinstance(value, core.Void) else list(value)


def _time_stamp_info(
    signed_data: cms.SignedData,
) -> tuple[datetime.datetime | None, tuple[str, bytes] | None]:
    content = signed_data["encap_content_info"]
    if content["content_type"].native != "tst_info":
        return None, None
    info = content["content"].parsed
    if not isinstance(info, tsp.TSTInfo):
        raise UnusableCMSError(Finding("verify.not-cms"))
    imprint = info["message_imprint"]
    return (
        _aware(info["gen_time"].native),
        (str(imprint["hash_algorithm"]["algorithm"].native), bytes(imprint["hashed_message"].native)),
    )


def _aware(moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)


def _pyca(certificate: asn1_x509.Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.dump())


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


@dataclasses.dataclass(frozen=True, slots=True)
class _Material:
    """A trust store in the validator's own types, made once."""

    roots: tuple[asn1_x509.Certificate, ...]
    intermediates: tuple[asn1_x509.Certificate, ...]
    anchors: Mapping[bytes, TrustAnchor]


_MATERIAL: weakref.WeakKeyDictionary[TrustStore, _Material] = weakref.WeakKeyDictionary()


def _material(trust: TrustStore) -> _Material:
    material = _MATERIAL.get(trust)
    if material is None:
        roots = tuple(_asn1(anchor.certificate) for anchor in trust.anchors)
        material = _Material(
            roots,
            tuple(_asn1(certificate) for certificate in trust.intermediates),
            {root.dump(): anchor for root, anchor in zip(roots, trust.anchors, strict=True)},
        )
        _MATERIAL[trust] = material
    return material


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
        self._material = _material(trust)
        self._policy = policy
        self._revocation = revocation
        self._evidence = evidence
        self._algorithms = algorithm_policy(policy)

    def knowing(self, more: Evidence) -> Judge:
        """Return a judge that looks at more evidence, too."""
        if not (more.ocsp or more.crls):
            return self
        own = self._evidence
        return Judge(
            trust=self._trust,
            policy=self._policy,
            revocation=self._revocation,
            evidence=Evidence(own.certificates, own.ocsp + more.ocsp, own.crls + more.crls),
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
        if algorithm in self._policy.weak_digests:
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
    ) -> tuple[RevocationAnswer, bool, tuple[Attempt, ...]]:
        source = self._revocation
        given = source.crls if source is not None else ()
        from_file = (
            self._ask("ocsp", certificate, path, self._evidence.ocsp, at=at),
            self._ask("crl", certificate, path, self._evidence.crls, at=at),
        )
        answers = [*from_file, self._ask("crl", certificate, path, given, at=at)]
        attempts: tuple[Attempt, ...] = ()
        if source is not None and not any(answers):
            fetched = source.ocsp_for(_pyca(certificate), _pyca(issuer))
            attempts = fetched.attempts
            answers.append(self._ask("ocsp", certificate, path, fetched.ocsp, at=at))
            if not any(answers):
                fetched = source.crls_for(_pyca(certificate))
                attempts += fetched.attempts
                answers.append(self._ask("crl", certificate, path, fetched.crls, at=at))
        known = [answer for answer in answers if answer is not None]
        # One "revoked" outweighs any number of "good".
        known.sort(key=lambda answer: answer.status is not RevocationStatus.REVOKED)
        if not known:
            return RevocationAnswer(RevocationStatus.UNKNOWN, "none"), False, attempts
        return known[0], any(from_file), attempts

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
        return check(
            certificate, path, items, at=at, others=self._material.intermediates, policy=self._policy
        )

    def _judge(
        self, found: CMSObject, digest: bytes | None, *, at: datetime.datetime, usage: KeyUsageConstraints
    ) -> Outcome:
        context = ValidationContext(
            trust_roots=list(self._material.roots),
            other_certs=[
                *self._material.intermediates,
                *(_asn1(certificate) for certificate in self._evidence.certificates),
            ],
            moment=at,
            allow_fetching=False,
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            algorithm_usage_policy=self._algorithms,
            # Validity periods are exact; clocks differ only between machines (see Policy.time_tolerance).
            time_tolerance=datetime.timedelta(seconds=1),
        )
        try:
            status = run_to_end(
                generic_cms.cms_basic_validation(
                    found.signed_data,
                    raw_digest=digest,
                    validation_context=context,
                    key_usage_settings=usage,
                )
            )
        except (SignatureValidationError, CMSStructuralError) as exc:
            problem = getattr(exc, "ades_subindication", None)
            return _from_problem(problem, Finding("verify.bad-cms", {"reason": short_reason(exc)}))
        except FOREIGN_ERRORS as exc:
            return _failed("FORMAT_FAILURE", Finding("verify.bad-cms", {"reason": short_reason(exc)}))
        return self._translate(found, status, at=at)

    def _translate(
        self, found: CMSObject, status: Mapping[str, Any], *, at: datetime.datetime
    ) -> Outcome:  # pyHanko's keyword arguments
        if not status["intact"]:
            return _failed("HASH_FAILURE", Finding("verify.hash-failure"))
        if not status["valid"]:
            return _failed("SIG_CRYPTO_FAILURE", Finding("verify.signature-failure"))
        path = status["validation_path"]
        problem: AdESSubIndic | None = status["trust_problem_indic"]
        if problem is None and path is not None:
            return Outcome(
                intact=True,
                conclusion=Conclusion.TOTAL_PASSED,
                sub_indication=None,
                findings=(),
                path=path,
                anchor=self._anchor(path),
            )
        certificate = found.certificate
        if at < certificate.not_valid_before_utc:
            # The validator has no sub-indication of its own for this.
            finding = Finding("verify.not-yet-valid", {"time": certificate.not_valid_before_utc.isoformat()})
            return _indeterminate("NOT_YET_VALID", finding, intact=True)
        name = problem.standard_name if problem is not None else "GENERIC"
        return _indeterminate(name, _explain(name, certificate), intact=True)

    def _anchor(self, path: ValidationPath) -> TrustAnchor | None:
        authority = path.trust_anchor.authority
        certificate = getattr(authority, "certificate", None)
        return None if certificate is None else self._material.anchors.get(certificate.dump())


def digests(signature_value: bytes) -> Mapping[str, bytes]:
    """Return the digests of a signature value that a token may hold."""
    return {
        name: hashlib.new(name, signature_value).digest()
        for name in ("sha256", "sha384", "sha512", "sha224", "sha1")
    }


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
