"""The NIST suite for certification paths (PKITS) over the judgement that ``verify`` uses.

The certificates and lists come with the package ``cryptography-vectors``; what is expected is in ``pkits.toml``. They
are valid from 2010 to 2030, so the question is asked for a day in between.
"""

import datetime
import tomllib
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509

from vnedoc.sign.chains import CertificateVerdict, judge_certificate
from vnedoc.sign.report import Conclusion
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustAnchor, TrustStore, TrustTree

DATA = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
TABLE = tomllib.loads((Path(__file__).parent / "pkits.toml").read_text(encoding="utf-8"))
AT = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

NOT_SUPPORTED = {
    "4.1.4": "Annex I of Circular 15/2025/TT-BKHCN has no DSA, so no chain is built over it",
    "4.1.5": "a DSA key without parameters of its own is refused when the certificate is read",
    "4.3.6": "RFC 5280, 4.1.2.8, forbids unique identifiers; asn1crypto cannot read such a certificate twice",
}
"""What NIST calls valid and is INDETERMINATE here, with the reason."""
SECTIONS = {
    1: 6,
    2: 8,
    3: 11,
    4: 21,
    5: 8,
    6: 17,
    7: 5,
    8: 20,
    9: 8,
    10: 14,
    11: 11,
    12: 10,
    13: 38,
    14: 35,
    15: 10,
    16: 2,
}


def certificate(name: str) -> x509.Certificate:
    return x509.load_der_x509_certificate((DATA / "certs" / f"{name}.crt").read_bytes())


def judge(number: str, *, without: str | None = None, at: datetime.datetime = AT) -> CertificateVerdict:
    test = TABLE[number]
    anchor = TrustAnchor(certificate("TrustAnchorRootCertificate"), TrustTree.CUSTOM)
    lists = [(DATA / "crls" / f"{name}.crl").read_bytes() for name in test["crls"] if name != without]
    return judge_certificate(
        certificate(test["end"]),
        trust=TrustStore((anchor,)),
        others=[certificate(name) for name in test["path"] if name != without],
        at=at,
        revocation=RevocationSource(crls=lists, online=False),
    )


def test_every_test_of_the_suite_is_in_the_table() -> None:
    assert set(TABLE) == {
        f"4.{section}.{n}" for section, count in SECTIONS.items() for n in range(1, count + 1)
    }


def test_every_file_of_the_suite_is_used() -> None:
    paths = {name for test in TABLE.values() for name in (*test["path"], test["end"])}
    lists = {name for test in TABLE.values() for name in test["crls"]}
    assert paths | {"TrustAnchorRootCertificate"} == {path.stem for path in (DATA / "certs").glob("*.crt")}
    assert lists == {path.stem for path in (DATA / "crls").glob("*.crl")}


# Negative serial numbers (4.4.14, 4.4.15) are what these tests are about; cryptography says that they are deprecated.
@pytest.mark.filterwarnings("ignore:Parsed a.* serial number:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("number", [number for number in TABLE if number not in NOT_SUPPORTED])
def test_the_verdict_is_the_one_of_the_suite(number: str) -> None:
    verdict = judge(number)
    assert (verdict.conclusion is Conclusion.TOTAL_PASSED) is TABLE[number]["valid"], verdict
    assert verdict.sub_indication == TABLE[number].get("why")


@pytest.mark.parametrize("number", NOT_SUPPORTED)
def test_what_is_not_supported_is_never_passed(number: str) -> None:
    assert TABLE[number]["valid"]
    try:
        verdict = judge(number)
    except ValueError:
        # Such a certificate never gets as far: a signature's certificates that cannot be read are left out.
        assert number == "4.1.5"
    else:
        assert verdict.conclusion is Conclusion.INDETERMINATE


@pytest.mark.parametrize(
    ("number", "without", "sub_indication"),
    [
        ("4.1.1", "GoodCACert", "NO_CERTIFICATE_CHAIN_FOUND"),
        ("4.1.1", "GoodCACRL", "TRY_LATER"),
        ("4.15.2", "deltaCRLCA1deltaCRL", "TRY_LATER"),
        ("4.14.18", "onlySomeReasonsCA3otherreasonsCRL", "TRY_LATER"),
    ],
)
def test_a_part_that_is_missing_is_noticed(number: str, without: str, sub_indication: str) -> None:
    verdict = judge(number, without=without)
    assert (verdict.conclusion, verdict.sub_indication) == (Conclusion.INDETERMINATE, sub_indication)


def test_a_revoked_certificate_is_called_revoked() -> None:
    assert judge("4.4.3").sub_indication == "REVOKED_NO_POE"
    assert judge("4.4.2").sub_indication == "REVOKED_CA_NO_POE"


def test_outside_of_its_time_the_suite_is_not_valid() -> None:
    late = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
    assert judge("4.1.1", at=late).conclusion is Conclusion.INDETERMINATE
