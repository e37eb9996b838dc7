"""Before signing: a certificate that may not sign does not, and what could not be checked is said."""

import dataclasses
import datetime
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.levels import CountingSigner, asking, trust_of
from vnedoc.errors import CredentialError, ExitCode, RemoteError
from vnedoc.sign.models import Role, SignatureLevel
from vnedoc.sign.report import RevocationStatus
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import plan_pdf, sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore, load_trust
from vnedoc.testing import documents
from vnedoc.testing.pki import Identity, TestPKI, running_pki

DECISION = documents.document_bytes(documents.DECISION)
DAY = datetime.timedelta(days=1)
WITHOUT_DATA = (SignatureLevel.B_B, SignatureLevel.B_T)


@pytest.fixture
def options(pki: TestPKI) -> Iterator[SigningOptions]:
    with TimestampClient([pki.tsa_url]) as client, asking(timeout_s=0.5) as revocation:
        yield SigningOptions(
            role=Role.INVISIBLE, timestamps=client, trust=trust_of(pki), revocation=revocation
        )


def _signer(identity: Identity) -> CountingSigner:
    return CountingSigner(identity.pkcs12("x"), passphrase="x")


def _refused(signer: CountingSigner, options: SigningOptions, folder: Path) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        sign_pdf(DECISION, folder / "out.pdf", signer=signer, options=options)
    assert signer.uses == 0, "the key was not touched"
    assert list(folder.iterdir()) == []
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    with pytest.raises(CredentialError):
        plan_pdf(DECISION, signer=signer, options=options)
    return caught.value


@pytest.mark.parametrize("level", list(SignatureLevel))
def test_a_good_certificate_leaves_a_record_and_no_warning(
    leader: PKCS12Signer, pki: TestPKI, options: SigningOptions, level: SignatureLevel
) -> None:
    result = sign_pdf(DECISION, signer=leader, options=dataclasses.replace(options, level=level))
    assert result.warnings == ()
    check = result.check
    assert check is not None
    assert (check.revocation, check.source) == (RevocationStatus.GOOD, "ocsp")
    assert check.certificate == pki.leader.certificate.public_bytes(Encoding.DER)
    names = [x509.load_der_x509_certificate(item) for item in check.chain]
    assert names == [pki.state_ca.certificate, pki.root.certificate]
    assert len(check.ocsp) == 2
    assert check.checked_at.utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize("level", list(SignatureLevel))
def test_a_revoked_signer(
    pki: TestPKI, options: SigningOptions, level: SignatureLevel, tmp_path: Path
) -> None:
    identity = pki.issue_person(common_name="PHẠM VĂN TEST", organization="TEST")
    pki.revoke(identity)
    error = _refused(_signer(identity), dataclasses.replace(options, level=level), tmp_path)
    assert error.code == "signing.revoked"
    assert "PHẠM VĂN TEST" in error.text("vi")
    assert "đã bị thu hồi" in error.text("vi")


def test_a_revoked_signer_shows_in_lists_too(pki: TestPKI, options: SigningOptions, tmp_path: Path) -> None:
    identity = pki.issue_person(common_name="PHẠM THỊ TEST", organization="TEST")
    pki.revoke(identity)
    with pki.services.failing(ocsp="http-500"):
        assert _refused(_signer(identity), options, tmp_path).code == "signing.revoked"


def test_a_signer_revoked_from_tomorrow_on_may_sign_today(pki: TestPKI, options: SigningOptions) -> None:
    identity = pki.issue_person(common_name="HỒ VĂN TEST", organization="TEST")
    pki.revoke(identity, at=pki.now() + DAY)
    assert sign_pdf(DECISION, signer=_signer(identity), options=options).warnings == ()


def test_a_revoked_authority(tmp_path: Path) -> None:
    with running_pki() as own, asking() as revocation:
        own.revoke(own.state_ca)
        options = SigningOptions(role=Role.INVISIBLE, trust=trust_of(own), revocation=revocation)
        error = _refused(_signer(own.leader), options, tmp_path)
    assert error.code == "signing.authority-revoked"


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("expired", "certificate.expired"),
        ("not yet valid", "certificate.not-yet-valid"),
        ("key usage", "certificate.may-not-sign"),
        ("no key usage", "certificate.may-not-sign"),
    ],
)
def test_a_certificate_that_may_not_sign(
    pki: TestPKI, options: SigningOptions, tmp_path: Path, case: str, code: str
) -> None:
    now = pki.now()
    given = {
        "expired": {"not_before": now - 9 * DAY, "not_after": now - DAY},
        "not yet valid": {"not_before": now + DAY, "not_after": now + 9 * DAY},
        "key usage": {"key_usage": ("digital_signature",)},
        "no key usage": {"key_usage": None},
    }[case]
    identity = pki.issue_person(common_name="ĐỖ VĂN TEST", organization="TEST", **given)  # type: ignore[arg-type] # one case each
    assert _refused(_signer(identity), options, tmp_path).code == code


def test_a_chain_that_leads_nowhere(pki: TestPKI, options: SigningOptions, tmp_path: Path) -> None:
    others = load_trust("shipped:vn-government")
    error = _refused(_signer(pki.leader), dataclasses.replace(options, trust=others), tmp_path)
    assert error.code == "signing.no-chain"
    assert "CA phục vụ các cơ quan Nhà nước" in error.text("vi")
    # The same names with other keys lead nowhere either.
    namesake = trust_of(TestPKI.create(base_url="http://127.0.0.1:9"))
    error = _refused(_signer(pki.leader), dataclasses.replace(options, trust=namesake), tmp_path)
    assert error.code in {"signing.no-chain", "signing.bad-chain"}


def test_the_missing_authority_may_come_from_the_trust_sources(pki: TestPKI, options: SigningOptions) -> None:
    # Tokens often hold the leaf alone; then the certificate above it must be given.
    alone = Identity(pki.leader.certificate, pki.leader.private_key)
    signer = PKCS12Signer(alone.pkcs12("x"), passphrase="x")
    assert sign_pdf(DECISION, signer=signer, options=options).warnings == ()
    root_alone = dataclasses.replace(options, trust=TrustStore.from_certificates([pki.root.certificate]))
    with pytest.raises(CredentialError) as caught:
        sign_pdf(DECISION, signer=signer, options=root_alone)
    assert caught.value.code == "signing.no-chain"


@pytest.mark.parametrize("level", WITHOUT_DATA)
def test_revocation_that_cannot_be_checked_is_a_warning_in_vietnamese(
    leader: PKCS12Signer, pki: TestPKI, options: SigningOptions, level: SignatureLevel
) -> None:
    options = dataclasses.replace(options, level=level)
    with pki.services.failing(ocsp="http-500", crl="http-500"):
        result = sign_pdf(DECISION, signer=leader, options=options)
    (warning,) = result.warnings
    assert warning.id == "signing.revocation-unknown"
    assert "Không kiểm tra được tình trạng thu hồi" in warning.text("vi")
    assert pki.ocsp_url in warning.text("vi")
    assert result.check is not None
    assert result.check.revocation is RevocationStatus.UNKNOWN


def test_a_certificate_that_names_nobody_to_ask(pki: TestPKI, options: SigningOptions) -> None:
    identity = pki.issue_person(common_name="BÙI VĂN TEST", organization="TEST", revocation_urls=False)
    (warning,) = sign_pdf(DECISION, signer=_signer(identity), options=options).warnings
    assert "BÙI VĂN TEST" in warning.text()
    with pytest.raises(RemoteError) as caught:
        sign_pdf(
            DECISION,
            signer=_signer(identity),
            options=dataclasses.replace(options, level=SignatureLevel.B_LT),
        )
    assert "BÙI VĂN TEST" in caught.value.text()


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"trust": None}, "signing.chain-not-checked"),
        ({"revocation": None}, "signing.revocation-not-checked"),
    ],
)
def test_what_was_not_asked_for_is_said(
    leader: PKCS12Signer, options: SigningOptions, changes: dict[str, object], warning: str
) -> None:
    options = dataclasses.replace(options, **changes)  # type: ignore[arg-type] # one field a case
    assert [found.id for found in sign_pdf(DECISION, signer=leader, options=options).warnings] == [warning]
    assert [found.id for found in plan_pdf(DECISION, signer=leader, options=options).warnings] == [warning]


def test_given_lists_are_enough_without_a_network(leader: PKCS12Signer, pki: TestPKI) -> None:
    now = pki.now()
    lists = [authority.crl(now - DAY, now + DAY) for authority in pki._authorities.values()]
    with TimestampClient([pki.tsa_url]) as client, RevocationSource(crls=lists, online=False) as revocation:
        options = SigningOptions(
            role=Role.INVISIBLE,
            level=SignatureLevel.B_LT,
            timestamps=client,
            trust=trust_of(pki),
            revocation=revocation,
        )
        result = sign_pdf(DECISION, signer=leader, options=options)
    assert result.check is not None
    # Only the lists about this chain: that of the services' authority says nothing about the signer.
    assert (result.check.source, len(result.check.crls)) == ("crl", 2)


def test_the_options_reach_other_processes(leader: PKCS12Signer, options: SigningOptions) -> None:
    options = pickle.loads(pickle.dumps(dataclasses.replace(options, level=SignatureLevel.B_LT)))
    assert options.timestamps is not None
    assert options.revocation is not None
    with options.timestamps, options.revocation:
        assert sign_pdf(DECISION, signer=leader, options=options).level is SignatureLevel.B_LT


def test_why_nobody_could_be_asked_is_told_in_vietnamese(
    leader: PKCS12Signer, pki: TestPKI, options: SigningOptions
) -> None:
    with RevocationSource(online=False) as offline:
        quiet = dataclasses.replace(options, revocation=offline)
        (warning,) = sign_pdf(DECISION, signer=leader, options=quiet).warnings
    assert "chưa hỏi được nơi nào" in warning.text("vi")
    with RevocationSource() as cautious:
        # The test PKI answers on a private address, which nobody allowed here.
        careful = dataclasses.replace(options, revocation=cautious)
        (warning,) = sign_pdf(DECISION, signer=leader, options=careful).warnings
    assert "địa chỉ nội bộ chưa được cho phép" in warning.text("vi")
    assert "a private address" in warning.text("en")
    # It keeps its languages on the way through a pipe.
    assert pickle.loads(pickle.dumps(warning)).text("vi") == warning.text("vi")
