"""May a received package be passed on? Real signatures of a test PKI, right ones and wrong ones."""

import pytest

from vnedoc._internal.clock import utc_now
from vnedoc.agencies import Agency, AgencyDirectory
from vnedoc.errors import UsageError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.judgement import PackagePolicy, judge_package
from vnedoc.exchange.models import Attachment, Business
from vnedoc.exchange.package import read_package, reply_header, write_package
from vnedoc.sign.models import Role
from vnedoc.sign.report import SenderMatch
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.trust import TrustStore
from vnedoc.testing import documents
from vnedoc.testing.packages import make_organization, make_package

SENDER, RECIPIENT = "H99", "H99.1"


@pytest.fixture(scope="module")
def signers(pki):
    return {
        "person": PKCS12Signer(pki.leader.pkcs12("x"), passphrase="x"),
        "agency": PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x"),
        "stranger": PKCS12Signer(pki.other_agency.pkcs12("x"), passphrase="x"),
    }


@pytest.fixture(scope="module")
def signed(signers):
    """Return a PDF signed by each of those named."""
    made = {}

    def signed(*names):
        if names not in made:
            content = documents.document_bytes(documents.LETTER)
            for name in names:
                content = sign_pdf(
                    content, signer=signers[name], options=SigningOptions(role=Role.INVISIBLE)
                ).content
            made[names] = content
        return made[names]

    return signed


@pytest.fixture(scope="module")
def judge(pki):
    certificates = [pki.root.certificate, pki.state_ca.certificate]
    trust = TrustStore.from_certificates(certificates)
    name = documents_agency_name(pki)
    directory = AgencyDirectory([Agency(SENDER, name)])
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as revocation:

        def judge(package, **options):
            return judge_package(package, trust=trust, directory=directory, revocation=revocation, **options)

        yield judge


def documents_agency_name(pki):
    from cryptography.x509.oid import NameOID

    return pki.agency.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


@pytest.fixture
def package(tmp_path):
    def package(*contents, sender=SENDER):
        path = tmp_path / "TEST.edxml"
        header = make_package(path, sender=sender, recipients=[RECIPIENT])
        attachments = [
            Attachment(content[0], content[1])
            if isinstance(content, tuple)
            else Attachment(f"TEST-{number}.pdf", content)
            for number, content in enumerate(contents)
        ]
        write_package(header, attachments, path)
        return read_package(path, folder=tmp_path / "work")

    return package


def ids(findings):
    return [finding.id for finding in findings]


def test_person_and_agency_on_the_document_and_the_agency_on_the_appendix(judge, package, signed):
    judgement = judge(package(signed("person", "agency"), signed("agency")))
    assert ids(judgement.reasons) == []
    assert judgement.accepted
    assert [report.sender.match for report in judgement.files] == [SenderMatch.NAMED, SenderMatch.NAMED]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([()], "exchange.not-passed"),
        ([("person",)], "exchange.not-passed"),
        ([("agency",)], "exchange.no-person-signature"),
        ([("person", "stranger")], "exchange.not-passed"),
        ([("person", "agency"), ()], "exchange.not-passed"),
        ([("person", "agency"), ("person",)], "exchange.not-passed"),
        ([("person", "agency"), ("stranger",)], "exchange.not-passed"),
    ],
)
def test_what_lacks_a_signature_is_kept_apart(judge, package, signed, names, reason):
    judgement = judge(package(*[signed(*who) for who in names]))
    assert not judgement.accepted
    assert ids(judgement.reasons) == [reason]
    assert all(finding.text("vi") for finding in judgement.reasons)


def test_a_changed_document_is_kept_apart(judge, package, signed):
    content = signed("person", "agency")
    place = content.index(b"endobj") - 20
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    assert not judge(package(changed)).accepted


def test_a_sender_that_the_directory_does_not_know(judge, package, signed):
    judgement = judge(package(signed("person", "agency"), sender="H01"))
    assert not judgement.accepted
    assert ids(judgement.reasons) == ["directory.unknown-agency"]


def test_what_only_calls_itself_a_pdf(judge, package, signed):
    judgement = judge(package(signed("person", "agency"), ("TEST.pdf", b"TEST")))
    assert not judgement.accepted


def test_other_formats_are_told_of_or_refused(judge, package, signed):
    content = package(signed("person", "agency"), ("TEST.txt", b"TEST"))
    judgement = judge(content)
    assert judgement.accepted
    assert "exchange.not-verifiable" in ids(judgement.warnings)
    strict = judge(content, policy=PackagePolicy(refuse_other_formats=True))
    assert ids(strict.reasons) == ["exchange.not-verifiable"]


def test_a_package_without_any_pdf(judge, package):
    judgement = judge(package(("TEST.txt", b"TEST")))
    assert ids(judgement.reasons) == ["exchange.no-pdf"]


def test_the_policy_may_do_without_the_person(judge, package, signed):
    assert judge(package(signed("agency")), policy=PackagePolicy(person_on_main=False)).accepted


def test_a_weak_match_can_be_too_weak(judge, package, signed):
    policy = PackagePolicy(required_match=SenderMatch.PINNED)
    assert not judge(package(signed("person", "agency")), policy=policy).accepted


def test_an_order_without_attachments_and_a_status_carry_nothing_to_verify(judge, tmp_path):
    path = tmp_path / "a.edxml"
    header = make_package(
        path,
        sender=SENDER,
        recipients=[RECIPIENT],
        business=Business.recall("H99,2026/11/20,15/UBND-TEST", reason="TEST"),
    )
    write_package(header, [], path)
    order = judge(read_package(path, folder=tmp_path / "work"))
    assert order.accepted
    assert ids(order.warnings) == ["exchange.no-attachment"]
    status = reply_header(
        header, sender=make_organization(RECIPIENT), status_code=StatusCode.ACCEPTED, at=utc_now()
    )
    write_package(status, [], path)
    assert judge(read_package(path, folder=None)).accepted


def test_a_package_that_was_only_looked_at(judge, package, signed, tmp_path):
    package(signed("person", "agency"))
    with pytest.raises(UsageError):
        judge(read_package(tmp_path / "TEST.edxml", folder=None))
