"""Raising levels, renewing them years later, and saying why a file is not long-term."""

import dataclasses
import datetime
import io
from pathlib import Path

import pikepdf
import pytest

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
    DocumentError,
    IndeterminateError,
    InputError,
    NotAllowedError,
    RemoteError,
    TimestampError,
    UsageError,
    VerificationError,
    VnedocError,
)
from vnedoc.sign.extension import ExtensionResult, extend_pdf, long_term_gaps
from vnedoc.sign.models import Role, SignatureLevel
from vnedoc.sign.report import Changes, Conclusion
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

DECISION = documents.document_bytes(documents.DECISION)
B_B, B_T, B_LT, B_LTA = SignatureLevel
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
YEAR = datetime.timedelta(days=365)


def _signed(
    signer: PKCS12Signer, pki: TestPKI, level: SignatureLevel, source: bytes = DECISION, **changes: object
) -> bytes:
    with TimestampClient([pki.tsa_url]) as client, asking() as revocation:
        options = SigningOptions(
            role=Role.INVISIBLE, level=level, timestamps=client, trust=trust_of(pki), revocation=revocation
        )
        content = sign_pdf(source, signer=signer, options=dataclasses.replace(options, **changes)).content  # type: ignore[arg-type] # options of a test
    assert content is not None
    return content


@pytest.fixture(scope="module")
def files(leader: PKCS12Signer, pki: TestPKI) -> dict[SignatureLevel, bytes]:
    return {level: _signed(leader, pki, level) for level in SignatureLevel}


def _extended(
    content: bytes,
    pki: TestPKI,
    level: SignatureLevel,
    *,
    tsa_url: str | None = None,
    at: datetime.datetime | None = None,
    output: Path | None = None,
) -> ExtensionResult:
    with (
        TimestampClient([tsa_url or pki.tsa_url], timeout_s=2, pause_s=0) as client,
        asking(timeout_s=0.5) as revocation,
    ):
        return extend_pdf(
            content,
            output,
            level=level,
            trust=trust_of(pki),
            timestamps=client,
            revocation=revocation,
            at=at,
        )


def _content(result: ExtensionResult) -> bytes:
    assert result.content is not None
    return result.content


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (B_B, B_T, B_T),
        (B_B, B_LT, B_LTA),  # the time-stamp covers the store: more than was asked for
        (B_B, B_LTA, B_LTA),
        (B_T, B_LT, B_LTA),
        (B_T, B_LTA, B_LTA),
        (B_LT, B_LTA, B_LTA),
        (B_LTA, B_LTA, B_LTA),
    ],
)
def test_levels_are_raised_by_one_revision(
    files: dict[SignatureLevel, bytes],
    pki: TestPKI,
    before: SignatureLevel,
    wanted: SignatureLevel,
    after: SignatureLevel,
) -> None:
    source = files[before]
    result = _extended(source, pki, wanted)
    content = _content(result)
    assert content.startswith(source)
    assert content.count(b"%%EOF") == source.count(b"%%EOF") + 1
    assert result.levels == (("vnedoc-invisible-1", after.value),)
    if wanted is B_T:
        with asking() as revocation:
            report = verified(content, pki, at=pki.now() + HOUR, source=revocation)
    else:
        report = verified(content, pki, at=pki.now() + HOUR)
        if before is not B_B:
            # Without a signature time-stamp pyHanko stops, although a document time-stamp is one, too.
            verdict = pyhanko_verdict(content, pki.root.certificate, at=pki.now() + HOUR)
            assert verdict == "AdESPassed.OK"
    assert report.conclusion is Conclusion.TOTAL_PASSED, report
    assert report.signatures[0].level == after.value
    assert report.signatures[0].changes_after is Changes.LONG_TERM_DATA
    # Store and time-stamp in one revision that ends with a signature: the rule of today's checkers holds.
    assert not government_checker_says_modified(content)


def test_b_t_adds_no_store_and_needs_no_revocation(files: dict[SignatureLevel, bytes], pki: TestPKI) -> None:
    with TimestampClient([pki.tsa_url]) as client, pki.services.failing(ocsp="http-500", crl="http-500"):
        result = extend_pdf(files[B_B], level=B_T, trust=trust_of(pki), timestamps=client)
    with pikepdf.open(io.BytesIO(_content(result))) as pdf:
        assert "/DSS" not in pdf.Root


def test_every_signature_of_an_issued_document_is_raised(issued: bytes, pki: TestPKI) -> None:
    result = _extended(issued, pki, B_LTA)
    assert [level for _, level in result.levels] == ["PAdES-B-LTA"] * 2
    assert verified(_content(result), pki, at=pki.now() + HOUR).conclusion is Conclusion.TOTAL_PASSED


def test_a_certified_document_may_be_extended(leader: PKCS12Signer, pki: TestPKI) -> None:
    # ISO 32000-2, 12.8.2.2: long-term data and document time-stamps are no changes.
    content = _signed(leader, pki, B_T, certify=True)
    assert _extended(content, pki, B_LTA).levels[0][1] == "PAdES-B-LTA"


def test_an_old_encoding_is_raised_under_its_own_name(leader: PKCS12Signer, pki: TestPKI) -> None:
    content = _signed(leader, pki, B_B, legacy=True)
    assert _extended(content, pki, B_LT).levels == (("vnedoc-invisible-1", "PKCS7-LTA"),)


def _lists(pki: TestPKI, at: datetime.datetime) -> list[bytes]:
    """Return what the authorities above the time-stamping authorities say at a time, and nobody else."""
    return [pki._authorities[name].crl(at - HOUR, at + DAY) for name in ("root", "services-ca")]


def test_renewed_before_its_time_stamp_expires_it_outlives_every_certificate(
    files: dict[SignatureLevel, bytes], pki: TestPKI
) -> None:
    eighth, twentieth = pki.now() + 8 * YEAR, pki.now() + 20 * YEAR
    young = issue_tsa(pki, years=30)
    with pki.clock_at(eighth), running(ScriptedAuthority(pki, [young])) as url:
        renewed = _content(_extended(files[B_LTA], pki, B_LTA, tsa_url=url, at=eighth))
    assert renewed.count(b"%%EOF") == files[B_LTA].count(b"%%EOF") + 1
    for certificate in (pki.leader.certificate, pki.tsa.certificate):
        assert twentieth > certificate.not_valid_after_utc
    with asking(crls=_lists(pki, twentieth), online=False) as source:
        after = verified(renewed, pki, at=twentieth, source=source)
        without = verified(files[B_LTA], pki, at=twentieth, source=source)
    assert after.conclusion is Conclusion.TOTAL_PASSED, after
    assert after.signatures[0].level == "PAdES-B-LTA"
    assert without.conclusion is Conclusion.INDETERMINATE


def test_after_the_time_stamp_expired_it_is_too_late(
    files: dict[SignatureLevel, bytes], pki: TestPKI
) -> None:
    tenth = pki.now() + 10 * YEAR
    young = issue_tsa(pki, years=30)
    with (
        pki.clock_at(tenth),
        running(ScriptedAuthority(pki, [young])) as url,
        pytest.raises(IndeterminateError) as caught,
    ):
        _extended(files[B_LTA], pki, B_LTA, tsa_url=url, at=tenth)
    assert caught.value.code == "extension.not-valid"


def test_an_expired_signature_without_time_stamp_cannot_be_raised(
    files: dict[SignatureLevel, bytes], pki: TestPKI
) -> None:
    third = pki.now() + 3 * YEAR
    with pki.clock_at(third), pytest.raises(IndeterminateError) as caught:
        _extended(files[B_B], pki, B_LTA, at=third)
    assert "hết hạn" in caught.value.text("vi")


def _changed(content: bytes) -> bytes:
    position = content.index(b"/Count 2")
    return content[:position] + b"/Count 1" + content[position + 8 :]


def _bad(files: dict[SignatureLevel, bytes]) -> dict[str, tuple[bytes, type[VnedocError], str]]:
    return {
        "no signature": (DECISION, NotAllowedError, "extension.no-signature"),
        "changed": (_changed(files[B_T]), VerificationError, "extension.not-valid"),
        "not a PDF": (b"Kinh gui TEST", InputError, "verify.not-a-pdf"),
        "cut off": (files[B_T][:-2000], VnedocError, ""),
        "there already": (files[B_LTA], NotAllowedError, "extension.already-there"),
    }


@pytest.mark.parametrize("case", ["no signature", "changed", "not a PDF", "cut off", "there already"])
def test_what_cannot_be_extended_is_one_clear_error(
    files: dict[SignatureLevel, bytes], pki: TestPKI, case: str, tmp_path: Path
) -> None:
    content, kind, code = _bad(files)[case]
    with pytest.raises(kind) as caught:
        _extended(content, pki, B_LT, output=tmp_path / "out.pdf")
    assert caught.value.code == code or not code
    assert caught.value.text("vi")
    assert list(tmp_path.iterdir()) == []


def test_a_revoked_signer_is_not_archived(pki: TestPKI) -> None:
    identity = pki.issue_person(common_name="NGÔ VĂN TEST", organization="TEST")
    content = _signed(PKCS12Signer(identity.pkcs12("x"), passphrase="x"), pki, B_B)
    pki.revoke(identity, at=pki.now() - DAY)
    with pytest.raises((VerificationError, IndeterminateError)) as caught:
        _extended(content, pki, B_LT)
    assert "thu hồi" in caught.value.text("vi")


@pytest.mark.parametrize("level", [B_LT, B_LTA])
def test_missing_revocation_data_is_named(
    files: dict[SignatureLevel, bytes], pki: TestPKI, level: SignatureLevel, tmp_path: Path
) -> None:
    with pki.services.failing(ocsp="http-500", crl="http-500"), pytest.raises(RemoteError) as caught:
        _extended(files[B_B], pki, level, output=tmp_path / "out.pdf")
    assert caught.value.code == "extension.no-revocation-data"
    for part in ("NGUYỄN VĂN TEST", pki.ocsp_url, pki.crl_urls[1], "HTTP 500"):
        assert part in caught.value.text("vi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["wrong-imprint", "http-500", "garbage"])
def test_without_a_time_stamp_the_file_stays_as_it_was(
    files: dict[SignatureLevel, bytes], pki: TestPKI, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "archive.pdf"
    path.write_bytes(files[B_T])
    with pki.services.failing(tsa=fault), pytest.raises(TimestampError):  # type: ignore[arg-type] # a parameter
        _extended(files[B_T], pki, B_LTA, output=path)
    assert path.read_bytes() == files[B_T]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_may_be_extended_in_its_place(
    files: dict[SignatureLevel, bytes], pki: TestPKI, tmp_path: Path
) -> None:
    path = tmp_path / "lưu trữ.pdf"
    path.write_bytes(files[B_B])
    with TimestampClient([pki.tsa_url]) as client, asking() as revocation:
        result = extend_pdf(
            path, path, level=B_LT, trust=trust_of(pki), timestamps=client, revocation=revocation
        )
    assert (result.path, result.content) == (path, None)
    assert path.read_bytes().startswith(files[B_B])
    assert verified(path.read_bytes(), pki, at=pki.now() + HOUR).conclusion is Conclusion.TOTAL_PASSED


def test_wrong_calls(files: dict[SignatureLevel, bytes], pki: TestPKI) -> None:
    with TimestampClient([pki.tsa_url]) as client:
        for level, code in ((B_B, "extension.level"), (B_LT, "signing.needs-trust")):
            with pytest.raises(UsageError) as caught:
                extend_pdf(files[B_T], level=level, trust=trust_of(pki), timestamps=client)
            assert caught.value.code == code


def test_a_token_that_does_not_fit_is_stamped_again(
    files: dict[SignatureLevel, bytes], pki: TestPKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vnedoc.sign.long_term.TOKEN_BYTES", 64)
    content = _content(_extended(files[B_B], pki, B_T))
    assert content.count(b"/DocTimeStamp") == 1
    with pikepdf.open(io.BytesIO(content)) as pdf:
        names = [str(field.T) for field in pdf.Root.AcroForm.Fields]
    assert names == ["vnedoc-invisible-1", "vnedoc-timestamp-1"]


def test_gaps_say_what_is_missing(files: dict[SignatureLevel, bytes], pki: TestPKI) -> None:
    found = {level: long_term_gaps(content, trust=trust_of(pki)) for level, content in files.items()}
    assert {gap.id for gap in found[B_B]} == {"extension.gap-no-timestamp", "extension.gap-no-data"}
    assert {gap.id for gap in found[B_T]} == {"extension.gap-no-data"}
    missing = {str(gap.values["subject"]) for gap in found[B_T]}
    assert {"NGUYỄN VĂN TEST", "Dịch vụ cấp dấu thời gian TEST"} < missing
    assert found[B_LT] == found[B_LTA] == ()
    assert "không có dấu thời gian" in found[B_B][0].text("vi")


def test_gaps_of_files_that_have_none_to_fill(
    pki: TestPKI, files: dict[SignatureLevel, bytes], tmp_path: Path
) -> None:
    assert [gap.id for gap in long_term_gaps(DECISION, trust=trust_of(pki))] == ["extension.gap-no-signature"]
    stranger = TestPKI.create(base_url="http://127.0.0.1:9")
    problems = long_term_gaps(files[B_LT], trust=trust_of(stranger))
    assert "extension.gap-problem" in {gap.id for gap in problems}
    assert any("tới gốc tin cậy" in gap.text("vi") for gap in problems)
    path = tmp_path / "TEST.pdf"
    path.write_bytes(b"TEST")
    with pytest.raises((DocumentError, InputError)):
        long_term_gaps(path, trust=trust_of(pki))
