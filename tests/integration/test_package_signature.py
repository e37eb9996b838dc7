"""The signature over a package: made by any of our signers, judged as for PDFs, read by a second tool."""

from __future__ import annotations

import datetime
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from tests import edxml
from tests.signed_packages import DS, E, Tree, changed, signed
from vnedoc.agencies import Agency, AgencyDirectory
from vnedoc.errors import CredentialError, IndeterminateError, PackageError, VerificationError
from vnedoc.exchange.models import Attachment, DocumentHeader, StatusHeader, TraceHeader
from vnedoc.exchange.package import DIALECTS, read_package, write_package
from vnedoc.exchange.xmlsig import PackageSignatureReport, SignatureForm, verify_package_signature
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, RevocationStatus, SenderMatch, SignerRole
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.senders import ExpectedSender
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.trust import TrustStore

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.sign.signers.base import Signer
    from vnedoc.testing.pki import Identity, TestPKI

SOUND = Policy(revocation=RevocationRule.WHEN_AVAILABLE)


def signer_of(identity: Identity, mechanism: SignatureMechanism | None = None) -> Signer:
    return PKCS12Signer(identity.pkcs12("x"), passphrase="x", mechanism=mechanism)


def judged(content: bytes, trust: TrustStore, **options: object) -> PackageSignatureReport:
    package = read_package(content, folder=None)
    return verify_package_signature(package, trust=trust, **{"policy": SOUND, **options})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("header", "files"),
    [
        (edxml.document(), edxml.attachments()),
        (edxml.full_document(), edxml.attachments()),
        (edxml.document(business=edxml.updating()), []),
        (
            edxml.document(business=edxml.replacing()),
            [Attachment("a b & c.pdf", edxml.PDF, content_id="é ?#x@y")],
        ),
        (edxml.status(), []),
    ],
    ids=["plain", "full", "update", "replace", "status"],
)
def test_what_was_signed_comes_back(
    clerk: Signer,
    trust: TrustStore,
    online: RevocationSource,
    dialect: str,
    header: DocumentHeader | StatusHeader,
    files: list[Attachment],
) -> None:
    content = signed(clerk, header, files, dialect=DIALECTS[dialect])
    report = judged(content, trust, revocation=online, policy=None)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.errors == ()
    assert (report.form, report.level, report.integrity) == (SignatureForm.PACKAGE, "XAdES-B-B", True)
    assert report.role is SignerRole.AGENCY
    assert report.trust_anchor == "RootCA chuyên dùng Chính phủ G2 TEST"
    assert (report.revocation.status, report.revocation.source) == (RevocationStatus.GOOD, "ocsp")
    content_ = report.raise_for_status()
    assert [item.name for item in content_.attachments] == [item.name for item in files]
    if isinstance(header, StatusHeader):
        assert content_.header == header
    else:
        assert isinstance(content_.header, DocumentHeader)
        # The stations on the way are nobody's word.
        assert content_.header.trace == ()
        assert content_.header.business == header.business
        assert content_.header.subject == header.subject


def test_a_signed_package_reads_like_an_unsigned_one(clerk: Signer) -> None:
    package = read_package(signed(clerk), folder=None)
    assert package.header == edxml.full_document()
    assert [finding.id for finding in package.warnings] == ["edxml.signature-unchecked"]


@pytest.mark.parametrize(
    ("key", "mechanism", "algorithm"),
    [
        ("rsa-2048", SignatureMechanism.RSA_PKCS1_V15, "rsa-sha256"),
        ("rsa-3072", SignatureMechanism.RSA_PSS, "sha256-rsa-MGF1"),
        ("ec-p256", SignatureMechanism.ECDSA, "ecdsa-sha256"),
    ],
)
def test_every_kind_of_key(
    pki: TestPKI, trust: TrustStore, key: str, mechanism: SignatureMechanism, algorithm: str
) -> None:
    identity = pki.issue_agency(common_name="SỞ TEST KHÓA", organization="SỞ TEST KHÓA", key=key)
    report = judged(signed(signer_of(identity, mechanism)), trust)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signature_algorithm is not None
    assert report.signature_algorithm.endswith(f"#{algorithm}")


@pytest.mark.needs("xmlsec1")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("key", ["rsa-2048", "ec-p256"])
@pytest.mark.parametrize("kind", ["document", "status"])
def test_another_tool_says_the_same(pki: TestPKI, dialect: str, key: str, kind: str, tmp_path: Path) -> None:
    identity = pki.issue_agency(common_name="SỞ TEST HAI", organization="SỞ TEST HAI", key=key)
    header = edxml.status() if kind == "status" else edxml.full_document()
    files = [] if kind == "status" else edxml.attachments()
    content = signed(signer_of(identity), header, files, dialect=DIALECTS[dialect])
    (tmp_path / "roots.pem").write_bytes(
        b"".join(ca.public_bytes(Encoding.PEM) for ca in pki.ca_certificates)
    )
    command = ["xmlsec1", "--verify", "--ignore-manifests", "--enabled-reference-uris", "same-doc"]
    command += ["--trusted-pem", str(tmp_path / "roots.pem")]
    for name in ("MessageHeader", "Status", "Bussiness", "edXMLManifest"):
        command += ["--id-attr:Id", f"{edxml.NAMESPACE}:{name}"]

    def verdict(candidate: bytes) -> bool:
        (tmp_path / "a.edxml").write_bytes(candidate)
        outcome = subprocess.run([*command, str(tmp_path / "a.edxml")], capture_output=True, text=True)
        assert outcome.returncode in {0, 1}
        return outcome.returncode == 0

    assert verdict(content)
    assert not verdict(content.replace(b"H99.02", b"H99.03", 1))


# --- On the way ------------------------------------------------------------------------------------

STATION = (
    "<edXML:TraceHeader><edXML:Timestamp>2026/11/21 09:00:00</edXML:Timestamp></edXML:TraceHeader>\r\n"
    "      </edXML:TraceHeaderList>"
)


def add_station(tree: Tree) -> None:
    station = etree.SubElement(tree.part("TraceHeaderList"), f"{E}TraceHeader")
    etree.SubElement(station, f"{E}Timestamp").text = "2026/11/21 09:00:00"


def add_error(tree: Tree) -> None:
    errors = etree.SubElement(tree.header, f"{E}ErrorList")
    error = etree.SubElement(errors, f"{E}Error")
    etree.SubElement(error, f"{E}Code").text = "M.Exist"


def indented(content: bytes) -> bytes:
    """What a program does that writes its tree with two spaces for each level."""
    root = etree.fromstring(content, etree.XMLParser(remove_blank_text=True))
    etree.indent(root, "  ")
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


@pytest.mark.parametrize(
    "travel",
    [
        lambda content: content.replace(b"</edXML:TraceHeaderList>", STATION.encode()),
        lambda content: changed(content, add_station),
        lambda content: changed(content, add_error),
        lambda content: content.replace(b"\r\n", b"\n"),
        lambda content: content + b"\r\n",
        lambda content: b"\xef\xbb\xbf" + content,
        indented,
        lambda content: indented(changed(content, add_station)),
        lambda content: changed(content, lambda tree: tree.part("TraceHeaderList").set("version", "2.0")),
    ],
    ids=["text", "tree", "errors", "line ends", "line end behind", "mark", "indented", "both", "version"],
)
def test_it_survives_what_an_axis_does(clerk: Signer, trust: TrustStore, travel: object) -> None:
    content = travel(signed(clerk))
    report = judged(content, trust)
    assert (report.conclusion, report.errors) == (Conclusion.TOTAL_PASSED, ())


def test_a_kit_that_writes_the_signature_in_its_own_namespace_leaves_a_decoration(
    clerk: Signer, trust: TrustStore
) -> None:
    content = signed(clerk).replace(b' xmlns="http://www.w3.org/2000/09/xmldsig#"', b"")
    report = judged(content, trust)
    assert (report.form, report.conclusion) == (SignatureForm.DECORATIVE, Conclusion.NO_SIGNATURE)


# --- Who -------------------------------------------------------------------------------------------

DIRECTORY = AgencyDirectory(
    [
        Agency("H99.02", "ỦY BAN NHÂN DÂN TỈNH TEST", tax_code="0000000017"),
        Agency("H98.1", "SỞ TEST KHÁC"),
    ]
)


@pytest.mark.parametrize(
    ("who", "organ_id", "conclusion", "match"),
    [
        ("agency", "H99.02", Conclusion.TOTAL_PASSED, SenderMatch.CODED),
        ("agency", "H98.1", Conclusion.TOTAL_FAILED, SenderMatch.NONE),
        ("other_agency", "H99.02", Conclusion.TOTAL_FAILED, SenderMatch.NONE),
        ("leader", "H99.02", Conclusion.TOTAL_FAILED, SenderMatch.NONE),
    ],
)
def test_the_signer_must_be_the_sender(
    pki: TestPKI, trust: TrustStore, who: str, organ_id: str, conclusion: Conclusion, match: SenderMatch
) -> None:
    sender = ExpectedSender(organ_id, DIRECTORY)
    report = judged(signed(signer_of(getattr(pki, who))), trust, sender=sender)
    assert report.conclusion is conclusion
    assert report.sender is not None
    assert report.sender.match is match
    assert ("verify.sender-mismatch" in {error.id for error in report.errors}) == (match is SenderMatch.NONE)


def test_nobody_is_trusted_by_default(clerk: Signer) -> None:
    report = judged(signed(clerk), TrustStore(()))
    assert (report.conclusion, report.sub_indication) == (
        Conclusion.INDETERMINATE,
        "NO_CERTIFICATE_CHAIN_FOUND",
    )
    assert report.integrity
    with pytest.raises(IndeterminateError):
        report.raise_for_status()


def test_unknown_revocation_is_a_doubt(clerk: Signer, trust: TrustStore) -> None:
    report = judged(signed(clerk), trust, policy=None)
    assert (report.conclusion, report.sub_indication) == (Conclusion.INDETERMINATE, "TRY_LATER")


@pytest.mark.parametrize(
    ("days", "conclusion", "sub_indication"),
    [
        (-1, Conclusion.TOTAL_FAILED, "REVOKED"),
        # Revoked after the time that the signer claims; only a time-stamp could prove that he is right.
        (1, Conclusion.INDETERMINATE, "REVOKED_NO_POE"),
    ],
)
def test_a_revoked_certificate(
    pki: TestPKI,
    trust: TrustStore,
    online: RevocationSource,
    days: int,
    conclusion: Conclusion,
    sub_indication: str,
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    identity = pki.issue_agency(
        common_name="SỞ TEST THU HỒI", organization="SỞ TEST", not_before=now - datetime.timedelta(days=9)
    )
    content = signed(signer_of(identity))
    pki.revoke(identity, at=now + datetime.timedelta(days=days))
    with pki.clock_at(now + datetime.timedelta(days=2)):
        report = judged(content, trust, revocation=online, at=now + datetime.timedelta(days=2))
    assert (report.conclusion, report.sub_indication) == (conclusion, sub_indication)
    assert [error.id for error in report.errors] == ["verify.revoked"]


@pytest.mark.parametrize(("years", "sub_indication"), [(20, "OUT_OF_BOUNDS_NO_POE"), (-20, "NOT_YET_VALID")])
def test_outside_of_the_validity(clerk: Signer, trust: TrustStore, years: int, sub_indication: str) -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * years)
    report = judged(signed(clerk), trust, at=at)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert report.sub_indication is not None
    assert report.sub_indication in {sub_indication, "EXPIRED", "NO_CERTIFICATE_CHAIN_FOUND"}


def test_a_certificate_that_may_not_sign(pki: TestPKI, clerk: Signer, trust: TrustStore) -> None:
    identity = pki.issue_agency(
        common_name="SỞ TEST", organization="SỞ TEST", key_usage=("key_encipherment",)
    )
    with pytest.raises(CredentialError) as caught:
        signed(signer_of(identity))
    assert caught.value.code == "certificate.may-not-sign"
    demands = Policy(key_usage=frozenset({"crl_sign"}), revocation=RevocationRule.IGNORE)
    report = judged(signed(clerk), trust, policy=demands)
    assert (report.conclusion, report.sub_indication) == (
        Conclusion.INDETERMINATE,
        "CHAIN_CONSTRAINTS_FAILURE",
    )


def test_a_small_key_is_a_doubt(clerk: Signer, trust: TrustStore) -> None:
    report = judged(signed(clerk), trust, policy=Policy(min_rsa_bits=4096))
    assert (report.conclusion, report.sub_indication) == (
        Conclusion.INDETERMINATE,
        "CRYPTO_CONSTRAINTS_FAILURE",
    )


# --- What only looks like one ----------------------------------------------------------------------

HEADER_END = b"</edXML:edXMLHeader>"
VALUES = (
    b"<SignedInfo><CanonicalizationMethod Algorithm='C14N'/><SignatureMethod Algorithm='SIGM'/>"
    b"<Reference URI='cid:abc'><DigestMethod Algorithm='DIG'/><DigestValue>DV</DigestValue></Reference>"
    b"</SignedInfo><SignatureValue>SV</SignatureValue><KeyInfo><X509Data><X509SubjectName>TEST</X509SubjectName>"
    b"<X509Certificate>CERT</X509Certificate></X509Data></KeyInfo>"
)


def unsigned(extra: bytes) -> bytes:
    return edxml.package(edxml.attached("a.pdf", edxml.PDF)).replace(HEADER_END, extra + HEADER_END)


@pytest.mark.parametrize(
    ("extra", "form", "reason"),
    [
        (b"", SignatureForm.NONE, "xmlsig.none"),
        (b"<edXML:DigitalSignature />", SignatureForm.NONE, "xmlsig.none"),
        (b"<edXML:DigitalSignature> </edXML:DigitalSignature>", SignatureForm.NONE, "xmlsig.none"),
        (b"<Signature>" + VALUES + b"</Signature>", SignatureForm.DECORATIVE, "xmlsig.wrong-namespace"),
        (
            b"<edXML:DigitalSignature><edXML:Value>x</edXML:Value></edXML:DigitalSignature>",
            SignatureForm.DECORATIVE,
            "xmlsig.wrong-namespace",
        ),
        (
            b"<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'>" + VALUES + b"</Signature>",
            SignatureForm.DECORATIVE,
            "xmlsig.dummy-values",
        ),
    ],
    ids=["nothing", "empty", "blank", "kit", "other kit", "dummy"],
)
def test_decorations_are_called_that(
    trust: TrustStore, extra: bytes, form: SignatureForm, reason: str
) -> None:
    report = judged(unsigned(extra), trust)
    assert (report.form, report.conclusion) == (form, Conclusion.NO_SIGNATURE)
    assert [error.id for error in report.errors] == [reason]
    assert report.signed is None
    with pytest.raises(IndeterminateError):
        report.raise_for_status()


def test_a_true_signature_over_something_else_is_not_judged(pki: TestPKI, trust: TrustStore) -> None:
    from signxml.algorithms import CanonicalizationMethod
    from signxml.signer import XMLSigner

    root = etree.fromstring(edxml.package(edxml.attached("a.pdf", edxml.PDF)))
    header = root.find(f"{E}edXMLEnvelope/{E}edXMLHeader")
    header.append(etree.Element(f"{DS}Signature", Id="placeholder"))
    signer = XMLSigner(c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0)
    chain = [pki.agency.certificate]
    root = signer.sign(root, key=pki.agency.private_key, cert=chain)
    report = judged(etree.tostring(root), trust)
    assert (report.form, report.conclusion) == (SignatureForm.FOREIGN, Conclusion.INDETERMINATE)
    assert [error.id for error in report.errors] == ["xmlsig.foreign"]


# --- Making one ------------------------------------------------------------------------------------


def test_the_same_time_gives_the_same_bytes(clerk: Signer) -> None:
    import io

    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        write_package(edxml.document(), edxml.attachments(), stream, signer=clerk, signing_time=edxml.AT)
    assert streams[0].getvalue() == streams[1].getvalue()
    report = judged(streams[0].getvalue(), TrustStore(()))
    assert report.signing_time == edxml.AT


def test_a_file_that_changes_while_the_package_is_written(
    clerk: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vnedoc.exchange._edxml import writer

    source = tmp_path / "a.pdf"
    source.write_bytes(edxml.PDF)
    build = writer.build_signature

    def change_and_build(*arguments: object) -> str:
        source.write_bytes(edxml.PDF + b"TEST")
        return build(*arguments)

    monkeypatch.setattr(writer, "build_signature", change_and_build)
    with pytest.raises(PackageError) as caught:
        write_package(edxml.document(), [Attachment.from_file(source)], tmp_path / "a.edxml", signer=clerk)
    assert caught.value.code == "edxml.attachment-changed"
    assert not (tmp_path / "a.edxml").exists()


def test_an_id_that_is_taken_is_refused(clerk: Signer) -> None:
    with pytest.raises(PackageError) as caught:
        signed(clerk, edxml.document(trace_list_id="vnedoc-header"))
    assert caught.value.code == "xmlsig.id-taken"


def test_a_report_is_no_truth_value(clerk: Signer, trust: TrustStore) -> None:
    report = judged(signed(clerk), trust)
    with pytest.raises(TypeError):
        bool(report)
    broken = judged(signed(clerk).replace(b"H99.02", b"H99.03", 1), trust)
    with pytest.raises(VerificationError):
        broken.raise_for_status()


def test_stations_are_not_covered(clerk: Signer, trust: TrustStore) -> None:
    header = edxml.document(trace=(TraceHeader("H99.02", edxml.AT),))
    content = signed(clerk, header).replace(b"<edXML:Timestamp>2026", b"<edXML:Timestamp>2025")
    report = judged(content, trust)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert isinstance(report.raise_for_status().header, DocumentHeader)


def test_the_properties_are_those_of_the_norm(clerk: Signer) -> None:
    """ETSI's own schema, and a verifier that knows nothing of packages."""
    from signxml.processor import get_schema
    from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

    tree = Tree(signed(clerk))
    properties = tree.signature.find(".//{http://uri.etsi.org/01903/v1.3.2#}QualifyingProperties")
    get_schema("XAdES01903v132-201601.xsd").assertValid(etree.fromstring(etree.tostring(properties)))
    results = XAdESVerifier().verify(
        tree.root,
        x509_cert=clerk.certificate,
        id_attribute="Id",
        expect_config=XAdESSignatureConfiguration(expect_references=5),
    )
    assert len(results) == 5
