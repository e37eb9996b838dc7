"""What a signature needs to be verified years later: gathered before it is made, kept in its own revision.

The order is unusual and on purpose. Revocation data is mostly gathered after signing and written in a revision of its
own; but today's government checkers take any revision after the last signature for a change of the document. So the
data on the signer's chain and on the authority's chain comes first and goes into the revision of the signature. What
it says is then a few seconds older than the signature; a revocation in between shows when the status is asked on line
(EN 319 102-1, 5.2.5, leaves the freshness to the policy).
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from typing import TYPE_CHECKING, BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from vnedoc._internal import clock
from vnedoc.errors import RemoteError, TimestampError
from vnedoc.messages import Sentence
from vnedoc.sign._pyhanko.embedding import Revision
from vnedoc.sign._pyhanko.validation import Evidence, Judge, UnusableCMSError, parse_cms
from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS, display_name
from vnedoc.sign.policy import DEFAULT_POLICY
from vnedoc.sign.report import Conclusion
from vnedoc.sign.revocation import Attempt, RevocationData, RevocationSource

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from pyhanko_certvalidator.path import ValidationPath

    from vnedoc.sign._pyhanko.validation import ChainStatus
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.sign.timestamps import TimestampClient, TimestampToken
    from vnedoc.sign.trust import TrustStore

__all__ = [
    "EvidenceCollector",
    "LongTermData",
    "Unanswered",
    "check_revocation",
    "describe",
    "merge",
    "stamp_document",
]

TOKEN_BYTES = 12 * 1024
"""Room for a time-stamp token; the tokens of the government's authority are about 4 KB."""
SPARE_BYTES = 1024
MAX_EMBEDDED_CRL_BYTES = 8 * 1024 * 1024
"""The largest list that is put into a document: a letter of 120 KB must not become one of 50 MB."""
MAX_TRIES = 4
"""How often a signature is made again because its time-stamp came from yet another authority."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unanswered:
    """A certificate of which nobody could say whether it was revoked."""

    subject: str
    """Whose certificate it is."""
    attempts: tuple[Attempt, ...]
    """What was asked, and why it did not help; empty if the certificate names nobody to ask."""


@dataclasses.dataclass(slots=True)
class _Asked:
    certificate: x509.Certificate
    issuer: x509.Certificate | None
    ocsp: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    answered: bool = True


class EvidenceCollector(RevocationSource):
    """Passes questions on to another source and keeps what was answered, for the document.

    A verification asks for a CRL only when OCSP gave nothing it could use, and asks for nothing that the document
    has already: what is kept here is what is needed and not yet there.

    Args:
        source: Who is asked; ``None`` answers nothing, and shows what would be asked for.
        at: The time at which lists must be in force.
    """

    def __init__(self, source: RevocationSource | None, *, at: datetime.datetime) -> None:
        super().__init__(online=False)
        self._source = source
        self._at = clock.as_utc(at)
        self._asked: dict[bytes, _Asked] = {}

    def ocsp_for(self, certificate: x509.Certificate, issuer: x509.Certificate) -> RevocationData:
        """Ask the source, and keep the answer."""
        asked = self._asked.setdefault(_key(certificate), _Asked(certificate, issuer))
        found = RevocationData() if self._source is None else self._source.ocsp_for(certificate, issuer)
        asked.ocsp, asked.attempts, asked.answered = found.ocsp, found.attempts, bool(found.ocsp)
        return found

    def crls_for(self, certificate: x509.Certificate) -> RevocationData:
        """Ask the source, and keep the lists that can speak about the certificate."""
        asked = self._asked.setdefault(_key(certificate), _Asked(certificate, None))
        # Asked for a list means: the OCSP response was of no use.
        asked.ocsp = ()
        attempts = [
            dataclasses.replace(attempt, problem=attempt.problem or Sentence("revocation.unusable-response"))
            for attempt in asked.attempts
        ]
        found = RevocationData() if self._source is None else self._source.crls_for(certificate)
        usable, problem = [], None
        for encoded in found.crls:
            reason = _why_not(encoded, certificate, self._at)
            if reason is None:
                usable.append(encoded)
            else:
                problem = reason
        for attempt in found.attempts:
            failed = attempt.problem or (None if usable else problem)
            attempts.append(dataclasses.replace(attempt, problem=failed))
        asked.crls, asked.attempts, asked.answered = tuple(usable), tuple(attempts), bool(usable)
        return dataclasses.replace(found, crls=asked.crls)

    def unanswered(self) -> tuple[Unanswered, ...]:
        """Return the certificates without an answer."""
        return tuple(
            Unanswered(display_name(asked.certificate.subject), asked.attempts)
            for asked in self._asked.values()
            if not asked.answered
        )

    def evidence(self) -> Evidence:
        """Return what was answered, with the certificates it is about and those that signed it.

        Roots are left out: whoever verifies brings its own anchors (EN 319 142-1, 5.4.2).
        """
        certificates: dict[bytes, x509.Certificate] = {}
        responses: list[bytes] = []
        lists: list[bytes] = []
        for asked in self._asked.values():
            responses += asked.ocsp
            lists += asked.crls
            signers = [signer for response in asked.ocsp for signer in _responders(response)]
            for certificate in (asked.certificate, asked.issuer, *signers):
                if certificate is not None and certificate.subject != certificate.issuer:
                    certificates.setdefault(_key(certificate), certificate)
            for signer in signers:
                lists += self._lists_about(signer)
        return Evidence(
            tuple(certificates.values()), tuple(dict.fromkeys(responses)), tuple(dict.fromkeys(lists))
        )

    def _lists_about(self, responder: x509.Certificate) -> tuple[bytes, ...]:
        """Return lists about a responder, unless its issuer says that nobody needs them (RFC 6960, 4.2.2.2.1)."""
        try:
            responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
        except x509.ExtensionNotFound:
            if self._source is None:
                return ()
            found = self._source.crls_for(responder).crls
            return tuple(item for item in found if _why_not(item, responder, self._at) is None)
        except MALFORMED_CERTIFICATE_ERRORS:
            pass
        return ()


class LongTermData:
    """Grows until everything that a signature will need is known.

    Args:
        trust: What every chain must lead to.
        revocation: Where revocation is asked for.
        timestamps: The authorities whose chains are needed, too.
        digest_algorithm: How their imprints are made.
        evidence: What is known already, of the signer.
    """

    def __init__(
        self,
        *,
        trust: TrustStore,
        revocation: RevocationSource,
        timestamps: TimestampClient,
        digest_algorithm: str,
        evidence: Evidence,
    ) -> None:
        self._trust = trust
        self._revocation = revocation
        self._timestamps = timestamps
        self._digest_algorithm = digest_algorithm
        self._authorities: set[bytes] = set()
        self.evidence = evidence
        """Everything that is known so far."""

    def prepare(self) -> None:
        """Learn whose time-stamp is to be expected, from the last one or from one that is thrown away.

        Raises:
            TimestampError: No authority answers, or its chain is not trusted or revoked.
            RemoteError: Nobody says whether its chain was revoked.
        """
        token = self._timestamps.latest
        if token is None:
            imprint = hashlib.new(self._digest_algorithm, secrets.token_bytes(32)).digest()
            token = self._timestamps.token(imprint, self._digest_algorithm)
        self.admit(token)

    def admit(self, token: TimestampToken) -> bool:
        """Tell whether everything about a token's chain was known; if not, it is from now on.

        Raises:
            TimestampError: Its chain is not trusted or revoked.
            RemoteError: Nobody says whether its chain was revoked.
        """
        try:
            found = parse_cms(token.der)
        except UnusableCMSError as exc:
            raise TimestampError("timestamp.not-trusted", url=token.url, reason=exc.finding) from exc
        key = _key(found.certificate)
        if key in self._authorities:
            return True
        collector = EvidenceCollector(self._revocation, at=token.time)
        judge = _judge(self._trust, collector, found.evidence)
        assert found.imprint is not None
        outcome = judge.judge_token(found, dict([found.imprint]), at=token.time)
        if outcome.conclusion is not Conclusion.TOTAL_PASSED or outcome.path is None:
            raise TimestampError("timestamp.not-trusted", url=token.url, reason=outcome.findings[0])
        status = judge.check_chain(outcome.path, at=token.time)
        if status.revoked_at is not None:
            time = clock.vietnam(status.revoked_at).isoformat()
            raise TimestampError("timestamp.authority-revoked", url=token.url, time=time)
        if status.sub_indication is not None:
            raise RemoteError("signing.no-revocation-data", **describe(collector.unanswered()))
        self.evidence = merge(self.evidence, collector.evidence())
        self._authorities.add(key)
        return False


def stamp_document(
    stream: BinaryIO,
    *,
    name: str,
    timestamps: TimestampClient,
    digest_algorithm: str,
    data: LongTermData | None,
    password: SecretCallback | None = None,
) -> TimestampToken:
    """Append one revision with a document time-stamp, and with the long-term data that is not there yet.

    Args:
        stream: The document; readable and writable. It is as before when the stamp cannot be had.
        name: How errors call it.
        timestamps: The authorities.
        digest_algorithm: The digest over the byte range.
        data: What to put into the document security store; ``None`` puts nothing in.
        password: Called with the name if the document is encrypted.

    Returns:
        The token.

    Raises:
        TimestampError: No authority gave a time-stamp.
    """
    size = stream.seek(0, 2)
    room = TOKEN_BYTES
    for _ in range(MAX_TRIES):
        stream.seek(0)
        revision = Revision(stream, name=name, password=password)
        if data is not None:
            revision.add_long_term_data(data.evidence)
        field = _free_name(revision.field_names())
        try:
            prepared = revision.write_timestamp(
                field=field, digest_algorithm=digest_algorithm, max_token_bytes=room
            )
            token = timestamps.token(prepared.document_digest, digest_algorithm)
            known = data is None or data.admit(token)
        except BaseException:
            stream.truncate(size)
            raise
        if known and len(token.der) <= room:
            prepared.complete(token.der)
            return token
        # A token larger than any seen, or from an authority whose chain is not in the document.
        stream.truncate(size)
        room = max(room, len(token.der) + SPARE_BYTES)
    raise TimestampError("timestamp.changing-authorities")


def check_revocation(
    path: ValidationPath, collector: EvidenceCollector, *, trust: TrustStore, at: datetime.datetime
) -> ChainStatus:
    """Ask about every certificate of a path; the collector keeps the answers."""
    return _judge(trust, collector, Evidence()).check_chain(path, at=at)


def merge(first: Evidence, second: Evidence) -> Evidence:
    """Return everything that either holds, once."""
    certificates = {_key(certificate): certificate for certificate in first.certificates}
    for certificate in second.certificates:
        certificates.setdefault(_key(certificate), certificate)
    return Evidence(
        tuple(certificates.values()),
        tuple(dict.fromkeys((*first.ocsp, *second.ocsp))),
        tuple(dict.fromkeys((*first.crls, *second.crls))),
    )


def describe(unanswered: Iterable[Unanswered]) -> dict[str, object]:
    """Return the values of a message about certificates without an answer."""
    items = tuple(unanswered)
    tried: Sentence | None = None
    for attempt in dict.fromkeys(attempt for item in items for attempt in item.attempts):
        one = Sentence("revocation.asked", url=attempt.url, problem=attempt.problem)
        tried = one if tried is None else Sentence("revocation.asked-also", first=tried, second=one)
    return {
        "certificates": ", ".join(f"“{item.subject}”" for item in items) or "?",
        "tried": tried or Sentence("revocation.asked-nobody"),
    }


def _judge(trust: TrustStore, collector: EvidenceCollector, evidence: Evidence) -> Judge:
    return Judge(trust=trust, policy=DEFAULT_POLICY, revocation=collector, evidence=evidence)


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


def _why_not(encoded: bytes, certificate: x509.Certificate, at: datetime.datetime) -> str | None:
    """Return why a list is not for the document; ``None`` if it is."""
    if len(encoded) > MAX_EMBEDDED_CRL_BYTES:
        return Sentence("revocation.large-list", size=len(encoded), limit=MAX_EMBEDDED_CRL_BYTES)
    try:
        crl = x509.load_der_x509_crl(encoded)
        if crl.issuer != certificate.issuer:
            return Sentence("revocation.other-issuer")
        if crl.next_update_utc is not None and crl.next_update_utc + DEFAULT_POLICY.time_tolerance < at:
            return Sentence("revocation.old-list")
    except ValueError:
        return Sentence("revocation.not-a-list")
    return None


def _responders(response: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(ocsp.load_der_ocsp_response(response).certificates)
    except ValueError:
        return ()


def _free_name(taken: set[str]) -> str:
    number = 1
    while f"vnedoc-timestamp-{number}" in taken:
        number += 1
    return f"vnedoc-timestamp-{number}"
