"""The certificates of the test PKI, and the PKI in a folder."""

from __future__ import annotations

import datetime
import json
import stat
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConfigurationError, CredentialError, UsageError
from vnedoc.testing.pki import AGENCY_BUDGET_CODE, AGENCY_TAX_CODE, TestPKI, running_pki

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import Identity

PASSPHRASE = "mật khẩu TEST"
YEAR = datetime.timedelta(days=365)


@pytest.fixture(scope="module")
def own() -> TestPKI:
    """A PKI that nothing serves; its address is never asked."""
    return TestPKI.create(base_url="http://127.0.0.1:9")


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        cwd=cwd,
        check=False,
    )


def openssl_verify(
    pki: TestPKI, identity: Identity, folder: Path, *options: object
) -> subprocess.CompletedProcess[str]:
    (folder / "root.pem").write_bytes(pki.root.certificate_pem())
    (folder / "cas.pem").write_bytes(pki.state_ca.certificate_pem() + pki.services_ca.certificate_pem())
    (folder / "leaf.pem").write_bytes(identity.certificate_pem())
    anchors = ("-CAfile", "root.pem", "-untrusted", "cas.pem", "-x509_strict")
    return run("openssl", "verify", *anchors, *options, "leaf.pem", cwd=folder)


def extension(identity: Identity, kind: type[x509.ExtensionType]) -> x509.Extension:
    return identity.certificate.extensions.get_extension_for_class(kind)


def everyone(pki: TestPKI) -> list[Identity]:
    return [pki.root, pki.state_ca, pki.services_ca, pki.leader, pki.agency, pki.other_agency, pki.tsa]


def test_every_subject_says_test(own: TestPKI) -> None:
    for identity in everyone(own):
        assert "TEST" in identity.certificate.subject.rfc4514_string()


def test_signature_algorithm_is_sha256_and_serials_have_eight_bytes(own: TestPKI) -> None:
    for identity in everyone(own):
        assert identity.certificate.signature_hash_algorithm.name == "sha256"
        assert (identity.certificate.serial_number.bit_length() + 7) // 8 == 8


def test_the_leader_is_named_like_a_person(own: TestPKI) -> None:
    assert [(attribute.oid, attribute.value) for attribute in own.leader.certificate.subject] == [
        (NameOID.COUNTRY_NAME, "VN"),
        (NameOID.LOCALITY_NAME, "Tỉnh TEST"),
        (NameOID.ORGANIZATION_NAME, "ỦY BAN NHÂN DÂN TỈNH TEST"),
        (NameOID.COMMON_NAME, "NGUYỄN VĂN TEST"),
    ]


def test_the_agency_has_its_codes_in_two_rdns(own: TestPKI) -> None:
    rdns = own.agency.certificate.subject.rdns
    codes = [attribute.value for rdn in rdns for attribute in rdn if attribute.oid == NameOID.USER_ID]
    assert codes == [f"MST:{AGENCY_TAX_CODE}", f"MNS:{AGENCY_BUDGET_CODE}"]
    assert all(len(list(rdn)) == 1 for rdn in rdns)


def test_units_come_in_the_order_given(own: TestPKI) -> None:
    person = own.issue_person(
        common_name="TRẦN THỊ TEST", organization="UBND TỈNH TEST", units=("UBND XÃ TEST", "VĂN PHÒNG TEST")
    )
    units = person.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert [unit.value for unit in units] == ["UBND XÃ TEST", "VĂN PHÒNG TEST"]


@pytest.mark.parametrize("role", ["leader", "agency", "other_agency"])
def test_signing_certificates_follow_the_government_profile(own: TestPKI, role: str) -> None:
    identity: Identity = getattr(own, role)
    usage = extension(identity, x509.KeyUsage)
    assert usage.critical
    assert usage.value == x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = extension(identity, x509.ExtendedKeyUsage)
    assert not purposes.critical
    assert [purpose.dotted_string for purpose in purposes.value] == [
        "1.3.6.1.5.5.7.3.2",
        "1.3.6.1.5.5.7.3.4",
        "1.3.6.1.4.1.311.20.2.2",
    ]
    (email,) = extension(identity, x509.SubjectAlternativeName).value
    assert isinstance(email, x509.RFC822Name)
    (policy,) = extension(identity, x509.CertificatePolicies).value
    assert policy.policy_identifier.dotted_string == "2.16.704.1.1.1.1.1"
    ways = {
        way.access_method: way.access_location.value
        for way in extension(identity, x509.AuthorityInformationAccess).value
    }
    assert ways == {
        AuthorityInformationAccessOID.CA_ISSUERS: f"{own.base_url}/crt/cpcag2.crt",
        AuthorityInformationAccessOID.OCSP: own.ocsp_url,
    }
    (point,) = extension(identity, x509.CRLDistributionPoints).value
    assert [name.value for name in point.full_name] == [own.crl_urls[1]]
    issuer_key = extension(own.state_ca, x509.SubjectKeyIdentifier).value.digest
    assert extension(identity, x509.AuthorityKeyIdentifier).value.key_identifier == issuer_key
    assert not extension(identity, x509.BasicConstraints).value.ca


def test_authorities_follow_the_government_profile(own: TestPKI) -> None:
    for authority in (own.state_ca, own.services_ca):
        constraints = extension(authority, x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
        usage = extension(authority, x509.KeyUsage).value
        assert usage.key_cert_sign
        assert usage.crl_sign
        assert not usage.digital_signature
    with pytest.raises(x509.ExtensionNotFound):
        extension(own.root, x509.CRLDistributionPoints)


def test_the_only_purpose_of_the_tsa_is_timestamping(own: TestPKI) -> None:
    purposes = extension(own.tsa, x509.ExtendedKeyUsage)
    assert purposes.critical
    assert list(purposes.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    assert own.tsa.chain == (own.services_ca.certificate, own.root.certificate)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("role", ["leader", "agency", "other_agency"])
def test_openssl_accepts_the_chains(own: TestPKI, tmp_path: Path, role: str) -> None:
    result = openssl_verify(own, getattr(own, role), tmp_path, "-purpose", "smimesign")
    assert result.returncode == 0, result.stderr


@pytest.mark.needs("openssl")
def test_openssl_accepts_the_tsa_for_timestamps_and_nobody_else(own: TestPKI, tmp_path: Path) -> None:
    purpose = ("-purpose", "timestampsign")
    assert openssl_verify(own, own.tsa, tmp_path, *purpose).returncode == 0
    assert openssl_verify(own, own.agency, tmp_path, *purpose).returncode != 0


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("start", "end", "words"),
    [(-2 * YEAR, -YEAR, "certificate has expired"), (YEAR, 2 * YEAR, "not yet valid")],
    ids=["expired", "not yet valid"],
)
def test_validity_can_be_chosen(
    own: TestPKI, tmp_path: Path, start: datetime.timedelta, end: datetime.timedelta, words: str
) -> None:
    now = utc_now()
    identity = own.issue_person(
        common_name="LÊ VĂN TEST", organization="SỞ TEST", not_before=now + start, not_after=now + end
    )
    result = openssl_verify(own, identity, tmp_path)
    assert result.returncode != 0
    assert words in result.stderr + result.stdout


def test_key_usage_can_be_left_out(own: TestPKI) -> None:
    identity = own.issue_agency(common_name="SỞ TEST", organization="SỞ TEST", key_usage=None)
    with pytest.raises(x509.ExtensionNotFound):
        extension(identity, x509.KeyUsage)


def test_key_usage_can_be_unfit(own: TestPKI) -> None:
    identity = own.issue_agency(common_name="SỞ TEST", organization="SỞ TEST", key_usage=["key_encipherment"])
    usage = extension(identity, x509.KeyUsage).value
    assert usage.key_encipherment
    assert not usage.digital_signature
    assert not usage.content_commitment


def test_a_misspelt_key_usage_is_refused(own: TestPKI) -> None:
    with pytest.raises(UsageError) as caught:
        own.issue_agency(common_name="SỞ TEST", organization="SỞ TEST", key_usage=["nonRepudiation"])
    assert caught.value.code == "pki.unknown-key-usage"


@pytest.mark.parametrize(
    ("kind", "key_type", "size"),
    [
        ("rsa-2048", rsa.RSAPublicKey, 2048),
        ("rsa-3072", rsa.RSAPublicKey, 3072),
        ("ec-p256", ec.EllipticCurvePublicKey, 256),
    ],
)
def test_the_kind_of_key_can_be_chosen(own: TestPKI, kind: str, key_type: type, size: int) -> None:
    identity = own.issue_person(common_name="LÊ VĂN TEST", organization="SỞ TEST", key=kind)
    public = identity.certificate.public_key()
    assert isinstance(public, key_type)
    assert public.key_size == size
    assert public == identity.private_key.public_key()


def test_a_key_can_be_certified_again(own: TestPKI) -> None:
    again = own.issue_person(common_name="LÊ VĂN TEST", organization="SỞ TEST", key=own.leader.private_key)
    assert again.certificate.public_key() == own.leader.certificate.public_key()
    assert again.certificate.serial_number != own.leader.certificate.serial_number


def test_an_unknown_kind_of_key_is_refused(own: TestPKI) -> None:
    with pytest.raises(UsageError) as caught:
        own.issue_person(common_name="LÊ VĂN TEST", organization="SỞ TEST", key="rsa-512")
    assert caught.value.code == "pki.unknown-key-kind"


def test_revocation_urls_can_be_left_out(own: TestPKI) -> None:
    identity = own.issue_person(common_name="LÊ VĂN TEST", organization="SỞ TEST", revocation_urls=False)
    with pytest.raises(x509.ExtensionNotFound):
        extension(identity, x509.CRLDistributionPoints)
    (way,) = extension(identity, x509.AuthorityInformationAccess).value
    assert way.access_method == AuthorityInformationAccessOID.CA_ISSUERS


def test_a_subject_without_test_is_refused(own: TestPKI) -> None:
    with pytest.raises(UsageError) as caught:
        own.issue_agency(common_name="CỤC", organization="BỘ", locality="Tỉnh")
    assert caught.value.code == "pki.subject-without-test"


def test_only_own_certificates_can_be_revoked(own: TestPKI) -> None:
    stranger = TestPKI.create(base_url="http://127.0.0.1:9")
    with pytest.raises(UsageError) as caught:
        # The issuer has the same name; the serial number tells them apart.
        own.revoke(stranger.leader)
    assert caught.value.code == "pki.not-issued"
    with pytest.raises(UsageError) as caught:
        own.revoke(own.root)
    assert caught.value.code == "pki.not-issued"


def test_an_unknown_reason_is_refused(own: TestPKI) -> None:
    with pytest.raises(UsageError) as caught:
        own.revoke(own.leader, reason="lost")
    assert caught.value.code == "pki.unknown-reason"


def test_a_naive_time_of_revocation_is_refused(own: TestPKI) -> None:
    with pytest.raises(UsageError) as caught:
        own.revoke(own.leader, at=datetime.datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake under test
    assert caught.value.code == "usage.naive-time"


def test_no_key_in_the_repr(own: TestPKI) -> None:
    assert "private_key" not in repr(own.leader)


@pytest.mark.needs("openssl")
def test_pkcs12_opens_with_the_passphrase_only(own: TestPKI, tmp_path: Path) -> None:
    (tmp_path / "a.p12").write_bytes(own.agency.pkcs12(PASSPHRASE))
    command = ("openssl", "pkcs12", "-in", "a.p12", "-nokeys", "-passin")
    right = run(*command, f"pass:{PASSPHRASE}", cwd=tmp_path)
    assert right.returncode == 0, right.stderr
    assert right.stdout.count("BEGIN CERTIFICATE") == 3
    wrong = run(*command, "pass:wrong", cwd=tmp_path)
    assert wrong.returncode != 0


def test_an_empty_passphrase_is_refused(own: TestPKI, tmp_path: Path) -> None:
    with pytest.raises(CredentialError) as caught:
        own.write(tmp_path, passphrase="")
    assert caught.value.code == "pki.empty-passphrase"
    assert list(tmp_path.iterdir()) == []


def test_written_keys_are_private_and_encrypted(own: TestPKI, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pki"
    names = own.write(folder, passphrase=PASSPHRASE)
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    secret = [folder / name for name in names if name.endswith((".p12", "-key.pem"))]
    assert len(secret) == 7
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in folder.glob("*.pem"):
        assert b"BEGIN PRIVATE KEY" not in path.read_bytes()
        assert b"BEGIN RSA PRIVATE KEY" not in path.read_bytes()
    for path in folder.glob("*-key.pem"):
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    index = json.loads((folder / "pki.json").read_text("utf-8"))
    assert index["port"] == 9
    assert set(index["files"]) == set(names) - {"pki.json"}


def test_what_was_written_is_read(own: TestPKI, tmp_path: Path) -> None:
    own.write(tmp_path, passphrase=PASSPHRASE)
    again = TestPKI.load(tmp_path, passphrase=PASSPHRASE)
    assert again.base_url == own.base_url
    for before, after in zip(everyone(own), everyone(again), strict=True):
        assert after.certificate == before.certificate
        assert after.chain == before.chain
        assert after.private_key.private_numbers() == before.private_key.private_numbers()


def test_a_pki_that_was_read_answers_for_what_was_issued_and_revoked(tmp_path: Path) -> None:
    with running_pki() as first:
        first.revoke(first.other_agency, reason="superseded")
        first.write(tmp_path, passphrase=PASSPHRASE)
    with (
        TestPKI.load(tmp_path, passphrase=PASSPHRASE).serving() as again,
        urllib.request.urlopen(again.crl_urls[1], timeout=10) as answer,
    ):
        crl = x509.load_der_x509_crl(answer.read())
    (entry,) = crl
    assert entry.serial_number == first.other_agency.certificate.serial_number
    assert (
        entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded
    )


@pytest.mark.parametrize("name", ["pki.json", "root.pem", "leader.p12"])
def test_nothing_is_overwritten_unless_told(own: TestPKI, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"there before")
    with pytest.raises(UsageError) as caught:
        own.write(tmp_path, passphrase=PASSPHRASE)
    assert caught.value.code == "pki.folder-in-use"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"there before"
    own.write(tmp_path, passphrase=PASSPHRASE, replace=True)
    assert TestPKI.load(tmp_path, passphrase=PASSPHRASE).leader.certificate == own.leader.certificate


@pytest.mark.parametrize("passphrase", ["wrong", ""])
def test_a_wrong_passphrase_is_said_so(own: TestPKI, tmp_path: Path, passphrase: str) -> None:
    own.write(tmp_path, passphrase=PASSPHRASE)
    with pytest.raises(CredentialError) as caught:
        TestPKI.load(tmp_path, passphrase=passphrase)
    assert caught.value.code == "pki.wrong-passphrase"


def test_a_folder_without_a_pki_is_said_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError) as caught:
            TestPKI.load(folder, passphrase=PASSPHRASE)
        assert caught.value.code == "pki.not-a-pki"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pki.json", b"{", b"["),
        ("pki.json", b"vnedoc.test-pki/1", b"vnedoc.test-pki/9"),
        ("pki.json", b'"port": 9', b'"port": []'),
        ("pki.json", b'"state-ca": {', b'"other-ca": {'),
        ("pki.json", b"+00:00", b""),
        ("pki.json", b"superseded", b"because"),
        ("root.pem", b"BEGIN CERTIFICATE", b"BEGIN NOTHING"),
    ],
)
def test_a_damaged_folder_is_said_so(tmp_path: Path, name: str, old: bytes, new: bytes) -> None:
    pki = TestPKI.create(base_url="http://127.0.0.1:9")
    pki.revoke(pki.leader, reason="superseded")
    pki.write(tmp_path, passphrase=PASSPHRASE)
    content = (tmp_path / name).read_bytes()
    assert old in content
    (tmp_path / name).write_bytes(content.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        TestPKI.load(tmp_path, passphrase=PASSPHRASE)
    assert caught.value.code == "pki.damaged"


def test_a_missing_file_is_said_so(own: TestPKI, tmp_path: Path) -> None:
    own.write(tmp_path, passphrase=PASSPHRASE)
    (tmp_path / "state-ca.pem").unlink()
    with pytest.raises(ConfigurationError) as caught:
        TestPKI.load(tmp_path, passphrase=PASSPHRASE)
    assert caught.value.code == "pki.damaged"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("vnedoc.testing", ("cryptography", "asn1crypto", "http.server")),
        # The services stand on their own: no HTTP timestamper, signer or validator of pyHanko is involved.
        ("vnedoc.testing.pki", ("pyhanko", "pyhanko_certvalidator", "httpx2", "lxml")),
        ("vnedoc._cli.pki", ("cryptography", "asn1crypto", "vnedoc.testing")),
    ],
)
def test_importing_loads_little(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"
