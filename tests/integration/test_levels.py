"""B-LT, B-LTA and the old encoding: what was asked for is what others find in the file, or there is no file."""

import base64
import dataclasses
import datetime
import io
import re
from pathlib import Path

import pikepdf
import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.levels import (
    CountingSigner,
    ScriptedAuthority,
    asking,
    government_checker_says_modified,
    issue_tsa,
    pyhanko_verdict,
    running,
    trust_of,
    verified,
)
from tests.second_tools import pdfsig
from vnedoc.errors import RemoteError, TimestampError, UsageError, VnedocError
from vnedoc.sign.models import Role, SignatureLevel, SignatureMechanism
from vnedoc.sign.report import Changes, Conclusion, SignatureKind
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import SigningResult, sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.testing import documents
from vnedoc.testing._authority import Profile, make_key, subject_name
from vnedoc.testing.pki import TestPKI, running_pki

DECISION = documents.document_bytes(documents.DECISION)
LONG_TERM = (SignatureLevel.B_LT, SignatureLevel.B_LTA)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
YEAR = datetime.timedelta(days=365)


def _signed(
    signer: Signer,
    pki: TestPKI,
    level: SignatureLevel,
    *,
    source: bytes = DECISION,
    tsa_url: str | None = None,
    **changes: object,
) -> SigningResult:
    with (
        TimestampClient([tsa_url or pki.tsa_url], timeout_s=2) as client,
        asking(timeout_s=0.5) as revocation,
    ):
        options = SigningOptions(
            role=Role.INVISIBLE, level=level, timestamps=client, trust=trust_of(pki), revocation=revocation
        )
        return sign_pdf(source, signer=signer, options=dataclasses.replace(options, **changes))  # type: ignore[arg-type] # options of a test


def _content(result: SigningResult) -> bytes:
    assert result.content is not None
    return result.content


@pytest.fixture(scope="module")
def lt(leader: PKCS12Signer, pki: TestPKI) -> bytes:
    return _content(_signed(leader, pki, SignatureLevel.B_LT))


@pytest.fixture(scope="module")
def lta(leader: PKCS12Signer, pki: TestPKI) -> bytes:
    return _content(_signed(leader, pki, SignatureLevel.B_LTA))


@pytest.fixture(scope="module", params=["rsa", "pss", "ec"])
def any_signer(request: pytest.FixtureRequest, pki: TestPKI) -> Signer:
    if request.param == "ec":
        identity = pki.issue_person(common_name="TRẦN THỊ TEST", organization="TEST", key="ec-p256")
        return PKCS12Signer(identity.pkcs12("x"), passphrase="x")
    mechanism = SignatureMechanism.RSA_PSS if request.param == "pss" else None
    return PKCS12Signer(pki.leader.pkcs12("x"), passphrase="x", mechanism=mechanism)


@pytest.mark.needs("pdfsig")
@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("level", LONG_TERM)
def test_every_key_and_digest_reaches_the_level_to_three_readers(
    any_signer: Signer, pki: TestPKI, level: SignatureLevel, digest_algorithm: str, tmp_path: Path
) -> None:
    result = _signed(any_signer, pki, level, digest_algorithm=digest_algorithm)
    content = _content(result)
    assert result.level is level
    report = verified(content, pki, at=pki.now() + HOUR)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report
    assert report.signatures[0].level == level.value
    assert report.signatures[0].digest_algorithm == digest_algorithm
    kept_up = level is SignatureLevel.B_LT
    verdict = pyhanko_verdict(content, pki.root.certificate, at=pki.now() + HOUR, kept_up=kept_up)
    assert verdict == "AdESPassed.OK"
    path = tmp_path / "signed.pdf"
    path.write_bytes(content)
    words = pdfsig(path)
    assert words.count("Signature is Valid.") == 1
    assert words.count("Total document signed") == 1


def test_pyhanko_misses_the_data_that_is_not_there(leader: PKCS12Signer, pki: TestPKI) -> None:
    content = _content(_signed(leader, pki, SignatureLevel.B_T))
    verdict = pyhanko_verdict(content, pki.root.certificate, at=pki.now() + HOUR, kept_up=True)
    assert verdict != "AdESPassed.OK"


def test_the_long_term_data_is_in_the_signatures_own_revision(lt: bytes, lta: bytes) -> None:
    assert lt.startswith(DECISION)
    assert [content.count(b"%%EOF") - DECISION.count(b"%%EOF") for content in (lt, lta)] == [1, 2]
    assert not government_checker_says_modified(lt)
    assert not government_checker_says_modified(lta)
    with pikepdf.open(io.BytesIO(lt)) as pdf:
        assert len(pdf.Root.DSS.Certs) >= 4  # leaf, its authority, the TSA, its authority
        assert len(pdf.Root.DSS.OCSPs) == 4  # of each of them
        assert "/VRI" not in pdf.Root.DSS


def test_the_archive_time_stamp_covers_everything_and_nothing_else_follows(lta: bytes, pki: TestPKI) -> None:
    signature, stamp = verified(lta, pki, at=pki.now() + HOUR).signatures
    assert stamp.kind is SignatureKind.DOCUMENT_TIMESTAMP
    assert stamp.covers.value == "whole-file"
    assert signature.changes_after is Changes.LONG_TERM_DATA


def test_an_archived_signature_survives_its_certificate(lta: bytes, lt: bytes, pki: TestPKI) -> None:
    later = pki.now() + 5 * YEAR
    assert later > pki.leader.certificate.not_valid_after_utc
    with pki.clock_at(later):
        # Only lists of the services' authorities: what is said about the signer must come from the file.
        lists = [pki._authorities[name].crl(later - HOUR, later + DAY) for name in ("root", "services-ca")]
    with asking(crls=lists, online=False) as source:
        report = verified(lta, pki, at=later, source=source)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report
    assert report.signatures[0].level == "PAdES-B-LTA"
    with asking(crls=lists, online=False) as source:
        without_data = verified(DECISION_B_B(pki), pki, at=later, source=source)
    assert without_data.signatures[0].sub_indication == "OUT_OF_BOUNDS_NO_POE"
    # Five years on and without a word about the authority's own certificate, nobody can tell.
    assert verified(lta, pki, at=later).conclusion is Conclusion.INDETERMINATE


def DECISION_B_B(pki: TestPKI) -> bytes:  # noqa: N802 - reads as a constant that needs the PKI
    signer = PKCS12Signer(pki.leader.pkcs12("x"), passphrase="x")
    return _content(sign_pdf(DECISION, signer=signer, options=SigningOptions(role=Role.INVISIBLE)))


def test_a_signature_survives_a_later_revocation(pki: TestPKI) -> None:
    identity = pki.issue_person(common_name="LÊ VĂN TEST", organization="TEST")
    signer = PKCS12Signer(identity.pkcs12("x"), passphrase="x")
    archived = _content(_signed(signer, pki, SignatureLevel.B_LTA))
    plain = _content(_signed(signer, pki, SignatureLevel.B_B))
    later = pki.now() + 2 * DAY
    pki.revoke(identity, at=pki.now() + DAY)
    with pki.clock_at(later), asking() as source:
        assert verified(archived, pki, at=later, source=source).conclusion is Conclusion.TOTAL_PASSED
    with pki.clock_at(later), asking() as source:
        assert verified(plain, pki, at=later, source=source).conclusion is not Conclusion.TOTAL_PASSED


def test_two_long_term_signatures_are_two_revisions(lt: bytes, clerk: PKCS12Signer, pki: TestPKI) -> None:
    both = _content(_signed(clerk, pki, SignatureLevel.B_LT, source=lt))
    assert both.startswith(lt)
    assert not government_checker_says_modified(both)
    report = verified(both, pki, at=pki.now() + HOUR)
    assert [signature.level for signature in report.signatures] == ["PAdES-B-LT"] * 2
    assert report.conclusion is Conclusion.TOTAL_PASSED, report
    with pikepdf.open(io.BytesIO(both)) as pdf:
        streams = [stream.read_bytes() for key in ("/Certs", "/OCSPs") for stream in pdf.Root.DSS[key]]
    assert len(streams) == len(set(streams)), "what is there already is not put in again"


@pytest.mark.parametrize("level", LONG_TERM)
@pytest.mark.parametrize(
    "fault", ["silent", "http-500", "garbage", "try-later", "stale", "other-certificate"]
)
def test_lists_take_over_when_ocsp_fails(
    leader: PKCS12Signer, pki: TestPKI, fault: str, level: SignatureLevel
) -> None:
    with pki.services.failing(ocsp=fault):  # type: ignore[arg-type] # a parameter of the test
        content = _content(_signed(leader, pki, level))
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert "/OCSPs" not in pdf.Root.DSS
        assert len(pdf.Root.DSS.CRLs) == 3
    report = verified(content, pki, at=pki.now() + HOUR)
    assert (report.conclusion, report.signatures[0].level) == (Conclusion.TOTAL_PASSED, level.value)


@pytest.mark.parametrize("level", LONG_TERM)
def test_an_answer_for_another_certificate_is_none(
    leader: PKCS12Signer, pki: TestPKI, level: SignatureLevel
) -> None:
    with (
        pki.services.failing(ocsp="other-certificate", crl="http-500"),
        pytest.raises(RemoteError) as caught,
    ):
        _signed(leader, pki, level)
    assert "crl" in str(caught.value)


@pytest.mark.parametrize("level", LONG_TERM)
@pytest.mark.parametrize("fault", ["silent", "http-500", "garbage", "stale"])
def test_without_revocation_data_nothing_is_written(
    leader: PKCS12Signer, pki: TestPKI, fault: str, level: SignatureLevel, tmp_path: Path
) -> None:
    path = tmp_path / "out.pdf"
    with (
        pki.services.failing(ocsp=fault, crl=fault),  # type: ignore[arg-type] # a parameter of the test
        TimestampClient([pki.tsa_url]) as client,
        asking(timeout_s=0.3) as revocation,
    ):
        options = SigningOptions(
            role=Role.INVISIBLE, level=level, timestamps=client, trust=trust_of(pki), revocation=revocation
        )
        with pytest.raises(RemoteError) as caught:
            sign_pdf(DECISION, path, signer=leader, options=options)
    assert caught.value.code == "signing.no-revocation-data"
    for words in (caught.value.text("vi"), caught.value.text("en")):
        assert "NGUYỄN VĂN TEST" in words
        assert pki.ocsp_url in words
        assert pki.crl_urls[1] in words
    assert list(tmp_path.iterdir()) == []


def test_a_list_too_large_for_a_document_is_refused_with_its_size(
    leader: PKCS12Signer, pki: TestPKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vnedoc.sign.long_term.MAX_EMBEDDED_CRL_BYTES", 100)
    with pki.services.failing(ocsp="http-500"), pytest.raises(RemoteError) as caught:
        _signed(leader, pki, SignatureLevel.B_LT)
    assert re.search(r"the list has \d+ bytes; 100 is the limit", caught.value.text())


@pytest.mark.parametrize("fault", ["wrong-imprint", "broken-signature", "rejected", "http-500"])
@pytest.mark.parametrize("level", [SignatureLevel.B_T, *LONG_TERM])
def test_without_a_good_time_stamp_nothing_is_written(
    leader: PKCS12Signer, pki: TestPKI, fault: str, level: SignatureLevel, tmp_path: Path
) -> None:
    (tmp_path / "out.pdf").write_bytes(b"TEST before")
    with (
        pki.services.failing(tsa=fault),  # type: ignore[arg-type] # a parameter of the test
        TimestampClient([pki.tsa_url], pause_s=0) as client,
        asking() as revocation,
    ):
        options = SigningOptions(
            role=Role.INVISIBLE, level=level, timestamps=client, trust=trust_of(pki), revocation=revocation
        )
        with pytest.raises(TimestampError) as caught:
            sign_pdf(DECISION, tmp_path / "out.pdf", signer=leader, options=options)
    assert caught.value.code == "timestamp.failed"
    assert (tmp_path / "out.pdf").read_bytes() == b"TEST before"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_authority_that_dies_before_the_archive_time_stamp_leaves_no_file(
    leader: PKCS12Signer, pki: TestPKI, tmp_path: Path
) -> None:
    authority = ScriptedAuthority(pki, [pki.tsa, pki.tsa, 500])  # the first shows its chain, the second signs
    with (
        running(authority) as url,
        TimestampClient([url], pause_s=0) as client,
        asking() as revocation,
        pytest.raises(TimestampError),
    ):
        options = SigningOptions(
            role=Role.INVISIBLE,
            level=SignatureLevel.B_LTA,
            timestamps=client,
            trust=trust_of(pki),
            revocation=revocation,
        )
        sign_pdf(DECISION, tmp_path / "out.pdf", signer=leader, options=options)
    assert authority.requests > 2
    assert list(tmp_path.iterdir()) == []


def test_a_token_from_another_authority_is_signed_for_again(pki: TestPKI) -> None:
    signer = CountingSigner(pki.leader.pkcs12("x"), passphrase="x")
    other = issue_tsa(pki)
    with running(ScriptedAuthority(pki, [pki.tsa, other])) as url:
        content = _content(_signed(signer, pki, SignatureLevel.B_LT, tsa_url=url))
    assert signer.uses == 2
    report = verified(content, pki, at=pki.now() + HOUR)
    assert (report.conclusion, report.signatures[0].level) == (Conclusion.TOTAL_PASSED, "PAdES-B-LT")
    assert content.count(b"/ByteRange") == 1


def test_the_archive_time_stamp_may_come_from_another_authority(pki: TestPKI) -> None:
    signer = CountingSigner(pki.leader.pkcs12("x"), passphrase="x")
    other = issue_tsa(pki)
    with running(ScriptedAuthority(pki, [pki.tsa, pki.tsa, other])) as url:
        content = _content(_signed(signer, pki, SignatureLevel.B_LTA, tsa_url=url))
    assert signer.uses == 1
    assert not government_checker_says_modified(content)
    report = verified(content, pki, at=pki.now() + HOUR)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report
    assert report.signatures[0].level == "PAdES-B-LTA"


def test_authorities_that_change_all_the_time_end_in_an_error(pki: TestPKI) -> None:
    signer = CountingSigner(pki.leader.pkcs12("x"), passphrase="x")
    with (
        running(ScriptedAuthority(pki, [issue_tsa(pki) for _ in range(6)])) as url,
        pytest.raises(TimestampError) as caught,
    ):
        _signed(signer, pki, SignatureLevel.B_LT, tsa_url=url)
    assert caught.value.code == "timestamp.changing-authorities"


def test_a_revoked_authority_is_refused(leader: PKCS12Signer, pki: TestPKI) -> None:
    revoked = issue_tsa(pki)
    pki.revoke(revoked)
    with running(ScriptedAuthority(pki, [revoked])) as url, pytest.raises(TimestampError) as caught:
        _signed(leader, pki, SignatureLevel.B_LT, tsa_url=url)
    assert caught.value.code == "timestamp.authority-revoked"


def test_an_authority_nobody_can_be_asked_about_is_named(leader: PKCS12Signer, pki: TestPKI) -> None:
    silent = issue_tsa(pki, revocation_urls=False)
    with running(ScriptedAuthority(pki, [silent])) as url, pytest.raises(RemoteError) as caught:
        _signed(leader, pki, SignatureLevel.B_LT, tsa_url=url)
    assert caught.value.code == "signing.no-revocation-data"
    assert "“TSA khác TEST”" in caught.value.text("vi")


def test_an_expired_authority_is_refused(leader: PKCS12Signer, pki: TestPKI) -> None:
    expired = issue_tsa(pki, years=-1)
    for level in (SignatureLevel.B_T, SignatureLevel.B_LT):
        with running(ScriptedAuthority(pki, [expired])) as url, pytest.raises(TimestampError) as caught:
            _signed(leader, pki, level, tsa_url=url)
        reason = caught.value.values["reason"]
        assert isinstance(reason, VnedocError)
        assert reason.code == "timestamp.certificate-not-valid"
        assert "không có hiệu lực" in caught.value.text("vi")


def test_an_authority_under_another_root_is_refused(leader: PKCS12Signer, pki: TestPKI) -> None:
    stranger = TestPKI.create(base_url="http://127.0.0.1:9").tsa
    with running(ScriptedAuthority(pki, [stranger])) as url, pytest.raises(TimestampError) as caught:
        _signed(leader, pki, SignatureLevel.B_LT, tsa_url=url)
    assert caught.value.code == "timestamp.not-trusted"


@pytest.mark.parametrize("level", LONG_TERM)
@pytest.mark.parametrize("missing", ["trust", "revocation"])
def test_a_long_term_level_needs_trust_and_revocation(
    leader: PKCS12Signer, pki: TestPKI, level: SignatureLevel, missing: str
) -> None:
    with pytest.raises(UsageError) as caught:
        _signed(leader, pki, level, **{missing: None})
    assert caught.value.code == "signing.needs-trust"


def _signer_info(content: bytes) -> cms.SignerInfo:
    _, first, second, _ = map(int, re.findall(rb"/ByteRange \[(\d+) (\d+) (\d+) (\d+)", content)[0])
    encoded = bytes.fromhex(content[first + 1 : second - 1].decode())
    return cms.ContentInfo.load(encoded)["content"]["signer_infos"][0]


def _signing_time(content: bytes) -> datetime.datetime | None:
    found = [
        item["values"][0].native
        for item in _signer_info(content)["signed_attrs"]
        if item["type"].native == "signing_time"
    ]
    return found[0] if found else None


@pytest.mark.needs("pdfsig")
@pytest.mark.parametrize("level", list(SignatureLevel))
def test_the_old_encoding_is_never_called_pades(
    any_signer: Signer, pki: TestPKI, level: SignatureLevel, tmp_path: Path
) -> None:
    result = _signed(any_signer, pki, level, legacy=True)
    content = _content(result)
    wanted = level.value.replace("PAdES-B-B", "PKCS7").replace("PAdES-B", "PKCS7")
    assert result.level.value == wanted
    with asking() as source:
        report = verified(content, pki, at=pki.now() + HOUR, source=source)
    signature = report.signatures[0]
    assert (report.conclusion, signature.level) == (Conclusion.TOTAL_PASSED, wanted)
    assert signature.subfilter == "adbe.pkcs7.detached"
    assert _signing_time(content) == result.signing_time
    path = tmp_path / "signed.pdf"
    path.write_bytes(content)
    words = pdfsig(path)
    assert "Signature Type: adbe.pkcs7.detached" in words
    assert "Signature is Invalid" not in words


def test_a_pades_signature_has_no_signing_time_attribute(lt: bytes) -> None:
    # EN 319 142-1, 6.3: the claimed time stands in the dictionary only.
    assert _signing_time(lt) is None


def test_a_time_from_2050_on_is_written_in_full(leader: PKCS12Signer) -> None:
    from vnedoc.sign._cms import SignedDataBuilder

    builder = SignedDataBuilder(leader)
    for year, tag in ((2049, 0x17), (2050, 0x18)):
        moment = datetime.datetime(year, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
        attributes = cms.CMSAttributes.load(builder.attributes_for(b"x" * 32, signing_time=moment))
        (value,) = [item["values"][0] for item in attributes if item["type"].native == "signing_time"]
        assert value.native == moment
        assert value.chosen.tag == tag & 0x1F


def test_a_store_that_is_there_is_kept_and_a_broken_one_refused(
    leader: PKCS12Signer, pki: TestPKI, lt: bytes
) -> None:
    other = base64.b64decode("VEVTVA==")
    with pikepdf.open(io.BytesIO(DECISION)) as pdf:
        pdf.Root.DSS = pdf.make_indirect(
            pikepdf.Dictionary(Type=pikepdf.Name("/DSS"), Certs=[pdf.make_stream(other)])
        )
        kept, broken = io.BytesIO(), io.BytesIO()
        pdf.save(kept)
        pdf.Root.DSS.Certs[0] = pdf.make_stream(other, Filter=pikepdf.Name("/NoSuchFilter"))
        pdf.save(broken)
    content = _content(_signed(leader, pki, SignatureLevel.B_LT, source=kept.getvalue()))
    with pikepdf.open(io.BytesIO(content)) as pdf:
        certificates = [stream.read_bytes() for stream in pdf.Root.DSS.Certs]
    assert certificates[0] == other
    assert pki.state_ca.certificate.public_bytes(Encoding.DER) in certificates
    with pytest.raises(VnedocError) as caught:
        _signed(leader, pki, SignatureLevel.B_LT, source=broken.getvalue())
    assert caught.value.code == "pdf.broken"


def test_a_responder_that_may_be_revoked_is_vouched_for_by_a_list() -> None:
    with running_pki() as own:
        responder = own.services._responder
        for authority in own._authorities.values():
            # Like the others, but without the issuer's word that nobody need ask about it (RFC 6960, 4.2.2.2.1).
            responder._delegates[authority.name] = authority.issue(
                subject_name(common_name=f"OCSP {authority.name} TEST", organization="TEST"),
                make_key("rsa-2048"),
                Profile(
                    not_before=own.now() - DAY,
                    not_after=own.now() + YEAR,
                    extended_key_usage=(ExtendedKeyUsageOID.OCSP_SIGNING,),
                ),
            )
        signer = PKCS12Signer(own.leader.pkcs12("x"), passphrase="x")
        content = _content(_signed(signer, own, SignatureLevel.B_LT))
        assert verified(content, own, at=own.now() + HOUR).conclusion is Conclusion.TOTAL_PASSED
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert len(pdf.Root.DSS.OCSPs) == 4
        assert len(pdf.Root.DSS.CRLs) == 3
        # Leaf, its authority, the TSA, its authority, and the three responders.
        assert len(pdf.Root.DSS.Certs) == 7
