"""What the tests of levels share: time-stamping authorities that follow a script, and other people's opinions."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import http
import io
import itertools
import random
import re
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import ades
from pyhanko.sign.validation.policy_decl import (
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import (
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    FreshnessReqType,
)
from pyhanko_certvalidator.registry import SimpleTrustManager

from vnedoc.sign.report import FileReport
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing._authority import Profile, make_key, subject_name
from vnedoc.testing._loopback import Answer, LoopbackServer, Request, Silence
from vnedoc.testing._timestamping import TimestampAuthority
from vnedoc.testing.pki import Identity, TestPKI

LOOPBACK = ("127.0.0.1",)


def trust_of(pki: TestPKI) -> TrustStore:
    """Trust the root of a test PKI; its other authorities may stand in between."""
    return TrustStore.from_certificates(pki.ca_certificates)


def asking(**options: object) -> RevocationSource:
    """Return a source that may ask the services of a test PKI."""
    return RevocationSource(allowed_hosts=LOOPBACK, **options)  # type: ignore[arg-type] # options of a test


def issue_tsa(pki: TestPKI, *, years: int = 10, revocation_urls: bool = True) -> Identity:
    """Issue the certificate of another time-stamping authority; negative years: it expired long ago."""
    start = pki.now().replace(microsecond=0) - datetime.timedelta(days=4000 if years < 0 else 10)
    return pki._authorities["services-ca"].issue(
        subject_name(common_name="TSA khác TEST", organization="Ban Cơ yếu Chính phủ TEST"),
        make_key("rsa-2048"),
        Profile(
            not_before=start,
            not_after=start + datetime.timedelta(days=365 * abs(years)),
            key_usage=("digital_signature", "content_commitment"),
            extended_key_usage=(ExtendedKeyUsageOID.TIME_STAMPING,),
            extended_key_usage_critical=True,
            revocation_urls=revocation_urls,
        ),
    )


class ScriptedAuthority:
    """Answers each request as the script says: with a token of an identity, or with an HTTP status.

    Args:
        pki: Whose clock it follows.
        script: What to do with each request; the last entry repeats.
        credentials: The name and the password it wants.
        damage: Changes one octet of each answer.
    """

    def __init__(
        self,
        pki: TestPKI,
        script: Sequence[Identity | int],
        *,
        credentials: tuple[str, str] | None = None,
        damage: random.Random | None = None,
    ) -> None:
        self._pki = pki
        self._script = list(script)
        self._credentials = credentials
        self._damage = damage
        self.requests = 0

    def call(self, request: Request) -> Answer | Silence:
        if self._credentials is not None:
            wanted = base64.b64encode(":".join(self._credentials).encode()).decode()
            if request.headers.get("authorization") != f"Basic {wanted}":
                return Answer(http.HTTPStatus.UNAUTHORIZED)
        step = self._script[min(self.requests, len(self._script) - 1)]
        self.requests += 1
        if isinstance(step, int):
            return Answer(http.HTTPStatus(step))
        token = TimestampAuthority(step).answer(request.body, self._pki.now())
        if self._damage is not None:
            position = self._damage.randrange(len(token))
            changed = token[position] ^ self._damage.randrange(1, 256)
            token = token[:position] + bytes([changed]) + token[position + 1 :]
        return Answer(http.HTTPStatus.OK, "application/timestamp-reply", token)


@contextlib.contextmanager
def running(authority: ScriptedAuthority) -> Iterator[str]:
    """Let an authority answer, and return its address."""
    server = LoopbackServer()
    try:
        server.start(authority)
        yield f"{server.base_url}/tsa"
    finally:
        server.stop()


class CountingSigner(PKCS12Signer):
    """Counts how often the key was used."""

    uses = 0

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        self.uses += 1
        return super()._sign(content, digest_algorithm)


def verified(
    content: bytes,
    pki: TestPKI,
    *,
    at: datetime.datetime | None = None,
    source: RevocationSource | None = None,
) -> FileReport:
    """Verify with vnedoc; without a source from the file alone."""
    return verify_pdf(content, trust=trust_of(pki), at=at, revocation=source).files[0]


def pyhanko_verdict(
    content: bytes, root: x509.Certificate, *, at: datetime.datetime, kept_up: bool = False
) -> str:
    """Ask pyHanko's AdES validation with archival data (EN 319 102-1, 5.6) from the file alone.

    Args:
        content: The file.
        root: The trust anchor.
        at: The time of the validation.
        kept_up: Suppose that until then the file was time-stamped again whenever it was due.
    """
    from asn1crypto import x509 as asn1_x509

    reader = PdfFileReader(io.BytesIO(content))
    policy = CertValidationPolicySpec(
        trust_manager=SimpleTrustManager.build([asn1_x509.Certificate.load(root.public_bytes(Encoding.DER))]),
        revinfo_policy=CertRevTrustPolicy(
            REQUIRE_REVINFO, freshness_req_type=FreshnessReqType.MAX_DIFF_REVOCATION_VALIDATION
        ),
        time_tolerance=datetime.timedelta(minutes=5),
    )
    specification = PdfSignatureValidationSpec(
        SignatureValidationSpec(
            cert_validation_policy=policy,
            revinfo_gathering_policy=RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY),
            key_usage_settings=KeyUsageConstraints(key_usage={"non_repudiation"}),
        )
    )
    signature = reader.embedded_regular_signatures[0]
    timing = ValidationTimingInfo(validation_time=at, best_signature_time=at, point_in_time_validation=True)
    result = asyncio.run(
        ades.simulate_future_ades_lta_validation(signature, specification, at)
        if kept_up
        else ades.ades_lta_validation(signature, specification, timing_info=timing)
    )
    return str(result.ades_subindic)


def government_checker_says_modified(content: bytes) -> bool:
    """Apply the revision rule of today's checkers, re-implemented.

    End-of-file marks are counted up to the end of each signature, in order; more than one more from one signature to
    the next, or no signature over the whole file, is "modified" to them.
    """
    ends = sorted(
        int(match[1]) + int(match[2]) for match in re.finditer(rb"/ByteRange \[0 \d+ (\d+) (\d+)\]", content)
    )
    marks = [content[:end].count(b"%%EOF") for end in ends]
    jumps = [later - earlier for earlier, later in itertools.pairwise(marks)]
    return ends[-1] != len(content) or any(jump > 1 for jump in jumps)
