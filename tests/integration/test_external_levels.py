"""B-LT and B-LTA with a key that is elsewhere: never less than was asked, however long the state waited."""

import dataclasses
import datetime
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils

from tests.levels import (
    ScriptedAuthority,
    asking,
    government_checker_says_modified,
    issue_tsa,
    pyhanko_verdict,
    running,
    trust_of,
    verified,
)
from vnedoc.errors import (
    CredentialError,
    IndeterminateError,
    RemoteError,
    TimestampError,
    UsageError,
    VerificationError,
    VnedocError,
)
from vnedoc.sign.external import (
    LongTermMeans,
    PreparedSignature,
    complete_pdf,
    load_prepared,
    prepare_pdf,
    save_prepared,
)
from vnedoc.sign.models import Role, SignatureLevel
from vnedoc.sign.report import Conclusion
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signing import SigningResult
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.testing import documents
from vnedoc.testing.pki import Identity, TestPKI, running_pki

DECISION = documents.document_bytes(documents.DECISION)
HOUR = datetime.timedelta(hours=1)
LEVELS = [SignatureLevel.B_LT, SignatureLevel.B_LTA]


@pytest.fixture(scope="module")
def own_pki() -> Iterator[TestPKI]:
    """A PKI whose clock and revocations are this module's own."""
    with running_pki() as running:
        yield running


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    path = tmp_path / "dự thảo.pdf"
    path.write_bytes(DECISION)
    return path


class Desk:
    """Somebody who prepares here and completes there."""

    def __init__(self, pki: TestPKI, draft: Path, identity: Identity | None = None) -> None:
        self.pki, self.draft, self.identity = pki, draft, identity or pki.leader
        self.state, self.output = draft.with_suffix(".state"), draft.with_name("signed.pdf")

    def prepare(
        self, level: SignatureLevel, *, tsa: str | None = None, **changes: object
    ) -> PreparedSignature:
        with TimestampClient([tsa or self.pki.tsa_url]) as client, asking() as source:
            options = SigningOptions(
                role=Role.INVISIBLE,
                level=level,
                trust=trust_of(self.pki),
                revocation=source,
                timestamps=client,
                **changes,  # type: ignore[arg-type] # its fields
            )
            prepared = prepare_pdf(
                self.draft,
                certificate=self.identity.certificate,
                chain=self.identity.chain[:-1],
                options=options,
            )
        save_prepared(prepared, self.state)
        return load_prepared(self.state)

    def signed(self, prepared: PreparedSignature) -> bytes:
        key = self.identity.private_key
        return key.sign(  # type: ignore[union-attr] # an RSA key
            prepared.digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
        )

    def complete(
        self,
        prepared: PreparedSignature,
        *,
        value: bytes | None = None,
        tsa: str | None = None,
        at: datetime.datetime | None = None,
        password: str | None = None,
    ) -> SigningResult:
        with TimestampClient([tsa or self.pki.tsa_url], pause_s=0) as client, asking() as source:
            return complete_pdf(
                prepared,
                value or self.signed(prepared),
                self.output,
                timestamps=client,
                long_term=LongTermMeans(trust_of(self.pki), source),
                password=None if password is None else lambda _: password,
                at=at,
            )


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_is_reached_from_the_document_alone(
    pki: TestPKI, draft: Path, level: SignatureLevel
) -> None:
    desk = Desk(pki, draft)
    result = desk.complete(desk.prepare(level))
    assert result.level is level
    assert result.timestamp_time is not None
    assert result.check is not None
    assert result.check.source == "ocsp"
    content = desk.output.read_bytes()
    assert content.startswith(DECISION)
    report = verified(content, pki)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signatures[0].level == level.value
    # The data is in the signature's own revision; only the archive time-stamp is one more.
    assert content.count(b"%%EOF") - DECISION.count(b"%%EOF") == (1 if level is SignatureLevel.B_LT else 2)
    own = content[: sum(report_range(content))]
    with pikepdf.open(io.BytesIO(own)) as pdf:
        assert "/DSS" in pdf.Root
    assert not government_checker_says_modified(own)
    verdict = pyhanko_verdict(
        content, pki.root.certificate, at=pki.now() + HOUR, kept_up=level is SignatureLevel.B_LT
    )
    assert verdict == "AdESPassed.OK"


def report_range(content: bytes) -> tuple[int, int]:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        numbers = [int(item) for item in pdf.Root.AcroForm.Fields[0].V.ByteRange]
    return numbers[2], numbers[3]


def test_the_old_encoding_is_never_called_pades(pki: TestPKI, draft: Path) -> None:
    desk = Desk(pki, draft)
    assert desk.complete(desk.prepare(SignatureLevel.B_LTA, legacy=True)).level == "PKCS7-LTA"
    assert verified(desk.output.read_bytes(), pki).signatures[0].level == "PKCS7-LTA"


@pytest.mark.parametrize("level", LEVELS)
def test_an_encrypted_document(pki: TestPKI, tmp_path: Path, level: SignatureLevel) -> None:
    draft = tmp_path / "mật.pdf"
    with pikepdf.open(io.BytesIO(DECISION)) as pdf:
        pdf.save(draft, encryption=pikepdf.Encryption(owner="chủ TEST", user="dùng TEST", R=6))
    desk = Desk(pki, draft)
    prepared = desk.prepare(level, password=lambda _: "chủ TEST")
    assert desk.complete(prepared, password="chủ TEST").level is level


@pytest.mark.parametrize("level", LEVELS)
def test_what_the_level_needs_is_asked_for_before_anything_is_done(
    pki: TestPKI, draft: Path, level: SignatureLevel
) -> None:
    desk = Desk(pki, draft)
    with asking() as source, TimestampClient([pki.tsa_url]) as client:
        full = SigningOptions(
            role=Role.INVISIBLE, level=level, trust=trust_of(pki), revocation=source, timestamps=client
        )
        for missing in ({"trust": None}, {"revocation": None}, {"timestamps": None}):
            with pytest.raises(UsageError):
                prepare_pdf(
                    draft,
                    certificate=pki.leader.certificate,
                    options=dataclasses.replace(full, **missing),  # type: ignore[arg-type] # its fields
                )
        prepared = desk.prepare(level)
        value = desk.signed(prepared)
        with pytest.raises(UsageError) as caught:
            complete_pdf(prepared, value, desk.output, timestamps=client)
        assert caught.value.code == "signing.needs-trust"
        with pytest.raises(UsageError) as caught:
            complete_pdf(prepared, value, desk.output, long_term=LongTermMeans(trust_of(pki), source))
        assert caught.value.code == "timestamp.no-authority"
    assert not desk.output.exists()


@pytest.mark.parametrize("asked", [*LEVELS, SignatureLevel.B_T, SignatureLevel.B_B])
@pytest.mark.parametrize("written", SignatureLevel)
def test_another_level_in_the_state_is_refused(
    pki: TestPKI, draft: Path, asked: SignatureLevel, written: SignatureLevel
) -> None:
    if asked is written:
        return
    desk = Desk(pki, draft)
    value = desk.signed(desk.prepare(asked))
    state = json.loads(desk.state.read_bytes())
    desk.state.write_text(json.dumps(state | {"level": written.value}))
    with pytest.raises(VerificationError) as caught:
        desk.complete(load_prepared(desk.state), value=value)
    assert caught.value.code == "external.tampered"
    assert not desk.output.exists()


@pytest.mark.parametrize(
    ("level", "code"),
    [(SignatureLevel.B_LT, "external.level-not-reached"), (SignatureLevel.B_LTA, None)],
)
def test_a_state_that_waited_for_days(
    own_pki: TestPKI, draft: Path, level: SignatureLevel, code: str | None
) -> None:
    desk = Desk(own_pki, draft)
    prepared = desk.prepare(level)
    later = own_pki.now() + datetime.timedelta(days=10)
    with own_pki.clock_at(later):
        if code is None:
            # Fresh data comes with the archive time-stamp.
            desk.complete(prepared, at=later)
            report = verified(desk.output.read_bytes(), own_pki, at=later)
            assert report.signatures[0].level == level.value
            assert report.signatures[0].conclusion is Conclusion.TOTAL_PASSED
            return
        with pytest.raises(IndeterminateError) as caught:
            desk.complete(prepared, at=later)
    assert caught.value.code == code
    assert caught.value.exit_code == 3
    assert not desk.output.exists()


@pytest.mark.parametrize("level", LEVELS)
def test_a_signer_who_was_revoked_while_the_state_waited(
    own_pki: TestPKI, draft: Path, level: SignatureLevel
) -> None:
    signer = own_pki.issue_person(common_name="LÊ THỊ TEST", organization="TEST")
    desk = Desk(own_pki, draft, signer)
    prepared = desk.prepare(level)
    own_pki.revoke(signer)
    with pytest.raises(CredentialError) as caught:
        desk.complete(prepared)
    assert caught.value.code == "signing.revoked"
    assert not desk.output.exists()


@pytest.mark.parametrize("level", LEVELS)
def test_another_authority_than_the_expected_one(pki: TestPKI, draft: Path, level: SignatureLevel) -> None:
    desk = Desk(pki, draft)
    prepared = desk.prepare(level)
    with running(ScriptedAuthority(pki, [issue_tsa(pki)])) as other:
        if level is SignatureLevel.B_LTA:
            desk.complete(prepared, tsa=other)
            assert verified(desk.output.read_bytes(), pki).signatures[0].level == level.value
            return
        with pytest.raises(IndeterminateError) as caught:
            desk.complete(prepared, tsa=other)
    assert caught.value.code == "external.level-not-reached"
    assert not desk.output.exists()
    # The signature is not lost: with the right authority it is completed yet.
    assert desk.complete(prepared).level is level


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("fault", ["tsa_fault", "ocsp_and_crl"])
def test_when_nobody_answers_nothing_is_written(
    own_pki: TestPKI, draft: Path, monkeypatch: pytest.MonkeyPatch, level: SignatureLevel, fault: str
) -> None:
    desk = Desk(own_pki, draft)
    prepared = desk.prepare(level)
    if fault == "tsa_fault":
        monkeypatch.setattr(own_pki.services, "tsa_fault", "http-500")
    else:
        monkeypatch.setattr(own_pki.services, "ocsp_fault", "http-500")
        monkeypatch.setattr(own_pki.services, "crl_fault", "http-500")
    expected: type[VnedocError] = TimestampError if fault == "tsa_fault" else RemoteError
    with pytest.raises(expected):
        desk.complete(prepared)
    assert not desk.output.exists()
    with pytest.raises(expected):
        desk.prepare(level)
