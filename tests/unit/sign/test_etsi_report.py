"""The XML of ETSI TS 119 102-2, read back strictly by the classes that pyHanko has generated from the schema."""

from __future__ import annotations

import dataclasses

import pytest
from pyhanko.generated.etsi import ts_11910202
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.serializers import XmlSerializer

from tests import signed_pdfs
from tests.unit.sign.test_reports import EVERYTHING
from vnedoc import messages
from vnedoc._internal.xml import parse_bytes
from vnedoc.sign.policy import CheckLevel, Policy, PolicyCheck, RevocationRule
from vnedoc.sign.report import Basis, Conclusion, VerificationReport
from vnedoc.sign.reports.etsi import render_etsi
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing.pki import TestPKI

STRICT = ParserConfig(
    fail_on_unknown_properties=True, fail_on_unknown_attributes=True, fail_on_converter_warnings=True
)


def read(text: str) -> ts_11910202.ValidationReport:
    found = XmlParser(config=STRICT).from_string(text, ts_11910202.ValidationReport)
    check_required(found)
    # Written again by the classes, the elements stand in the order of the schema.
    again = XmlSerializer().render(found)
    assert [element.tag for element in parse_bytes(again.encode()).iter()] == [
        element.tag for element in parse_bytes(text.encode()).iter()
    ]
    return found


def check_required(value: object) -> None:
    """xsdata reads what is missing as ``None``; the schema's own word is in the metadata."""
    if isinstance(value, tuple | list):
        for item in value:
            check_required(item)
    if not dataclasses.is_dataclass(value):
        return
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if field.metadata.get("required"):
            assert held is not None, (type(value).__name__, field.name)
        if field.metadata.get("type") == "Element" and isinstance(held, tuple):
            assert len(held) >= (field.metadata.get("min_occurs") or 0), (type(value).__name__, field.name)
        check_required(held)


def judged(pki: TestPKI, content: bytes, *checks: PolicyCheck) -> VerificationReport:
    policy = Policy(revocation=RevocationRule.IGNORE, checks=checks)
    report = verify_pdf(content, trust=TrustStore.from_certificates(pki.ca_certificates), policy=policy)
    assert EVERYTHING.basis is not None
    return dataclasses.replace(report, basis=EVERYTHING.basis)


@pytest.mark.parametrize("language", list(messages.Language))
def test_every_report_keeps_to_the_schema(language: str) -> None:
    found = read(render_etsi(EVERYTHING, language=language))
    assert len(found.signature_validation_report) == sum(
        max(len(file.signatures), 1) for file in EVERYTHING.files
    )
    passed = [
        item
        for item in found.signature_validation_report
        if item.signature_validation_status.main_indication.endswith("total-passed")
    ]
    # No signature of a file that does not pass is called passed.
    wanted = [
        signature
        for file in EVERYTHING.files
        if file.conclusion is Conclusion.TOTAL_PASSED
        for signature in file.signatures
        if signature.conclusion is Conclusion.TOTAL_PASSED
    ]
    assert len(passed) == len(wanted)


def test_a_real_signature(pki: TestPKI) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    report = judged(pki, content)
    found = read(render_etsi(report))
    (own,) = found.signature_validation_report
    assert own.signature_validation_status.main_indication == "urn:etsi:019102:mainindication:total-passed"
    assert own.signature_validation_status.sub_indication == ()
    assert own.signature_identifier.daidentifier.endswith(report.files[0].signatures[0].field)
    assert own.signature_identifier.signature_value.value in bytes.fromhex(
        signed_pdfs.last_signature(content)[1].decode()
    )
    assert (
        own.signature_attributes.sub_filter[0].sub_filter_element == report.files[0].signatures[0].subfilter
    )
    (held,) = found.signature_validation_objects.validation_object
    assert own.signer_information.signer_certificate.voreference == (held.id,)


def test_a_policy_that_fails_leaves_no_passed_behind(pki: TestPKI) -> None:
    content = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)
    report = judged(pki, content, PolicyCheck("person-signed", CheckLevel.FAIL))
    assert report.files[0].signatures[0].conclusion is Conclusion.TOTAL_PASSED
    (own,) = read(render_etsi(report)).signature_validation_report
    status = own.signature_validation_status
    assert status.main_indication == "urn:etsi:019102:mainindication:indeterminate"
    assert status.sub_indication == ("urn:etsi:019102:subindication:SIG_CONSTRAINTS_FAILURE",)
    told = status.associated_validation_report_data[0].additional_validation_report_data.report_data
    assert "urn:vnedoc:finding:policy.not-person-signed" in {item.type_value for item in told}


def test_without_a_signature_and_without_a_basis(pki: TestPKI) -> None:
    report = judged(pki, signed_pdfs.blank())
    for asked in (report, dataclasses.replace(report, basis=None)):
        (own,) = read(render_etsi(asked)).signature_validation_report
        status = own.signature_validation_status
        assert status.main_indication == "urn:etsi:019102:mainindication:indeterminate"
        assert status.sub_indication == ("urn:vnedoc:conclusion:NO-SIGNATURE",)
    assert isinstance(report.basis, Basis)
