from __future__ import annotations

import dataclasses
import datetime
import json

import pytest

from vnedoc import messages
from vnedoc.errors import ExitCode, IndeterminateError, InputError, VerificationError
from vnedoc.sign.report import (
    CertificateSummary,
    Changes,
    Conclusion,
    Coverage,
    FileReport,
    Finding,
    Revocation,
    RevocationStatus,
    SenderMatch,
    SenderReport,
    SignatureKind,
    SignatureReport,
    SignerRole,
    VerificationReport,
)
from vnedoc.sign.reports.json import render_json
from vnedoc.sign.reports.text import render_text

TIME = datetime.datetime(2026, 1, 5, 3, 4, 5, tzinfo=datetime.UTC)
SIGNATURE = SignatureReport(
    field="Signature1",
    kind=SignatureKind.SIGNATURE,
    role=SignerRole.AGENCY,
    conclusion=Conclusion.TOTAL_PASSED,
    sub_indication=None,
    level="PAdES-B-T",
    subfilter="ETSI.CAdES.detached",
    digest_algorithm="sha256",
    signature_algorithm="rsassa_pss",
    signer=CertificateSummary("SỞ TEST", "UBND TEST", ("PHÒNG TEST",), None, "1f", "CA TEST", None, None),
    trust_anchor="ROOT TEST",
    trust_tree="custom",
    signing_time=TIME,
    time_source="timestamp",
    best_signature_time=TIME,
    certificate_not_before=TIME - datetime.timedelta(days=1),
    certificate_not_after=TIME + datetime.timedelta(days=1),
    integrity=True,
    covers=Coverage.WHOLE_FILE,
    changes_after=Changes.NONE,
    revocation=Revocation(RevocationStatus.GOOD, "ocsp"),
    box=(1, "1,2,3,4"),
)


def report(
    conclusion: Conclusion, *findings: Finding, signatures: tuple[SignatureReport, ...] = ()
) -> FileReport:
    return FileReport("a.pdf", conclusion, True, None, signatures, errors=findings)


@pytest.mark.parametrize(
    ("conclusions", "code", "error"),
    [
        ([Conclusion.TOTAL_PASSED], ExitCode.DONE, None),
        ([Conclusion.TOTAL_PASSED, Conclusion.UNREADABLE], ExitCode.UNREADABLE, InputError),
        ([Conclusion.UNREADABLE, Conclusion.NO_SIGNATURE], ExitCode.CANNOT_TELL, IndeterminateError),
        ([Conclusion.INDETERMINATE, Conclusion.TOTAL_FAILED], ExitCode.NO, VerificationError),
        ([], ExitCode.CANNOT_TELL, None),
    ],
)
def test_the_gravest_file_decides(
    conclusions: list[Conclusion], code: ExitCode, error: type[Exception] | None
) -> None:
    whole = VerificationReport(tuple(report(conclusion) for conclusion in conclusions))
    assert whole.exit_code is code
    if error is not None:
        with pytest.raises(error):
            whole.raise_for_status()


def test_a_report_is_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(VerificationReport(()))


def test_json_has_the_frozen_shape() -> None:
    whole = VerificationReport((report(Conclusion.TOTAL_PASSED, signatures=(SIGNATURE,)),))
    document = json.loads(render_json(whole, language="vi"))
    assert document["schema"] == "vnedoc.verification/1"
    (file,) = document["files"]
    assert {"path", "conclusion", "readers_agree", "sender", "signatures"} <= file.keys()
    (signature,) = file["signatures"]
    wanted = """field kind role conclusion sub_indication level subfilter digest_algorithm signature_algorithm signer
        trust_anchor trust_tree signing_time time_source best_signature_time certificate_not_before
        certificate_not_after integrity covers changes_after revocation warnings errors"""
    assert set(wanted.split()) <= signature.keys()
    assert signature["signing_time"] == "2026-01-05T03:04:05+00:00"
    assert signature["signer"]["units"] == ["PHÒNG TEST"]
    assert signature["revocation"] == {"status": "good", "source": "ocsp"}


def test_text_shows_what_the_circular_wants() -> None:
    # Circular 15/2025/TT-BKHCN, article 6.4.
    file = dataclasses.replace(
        report(Conclusion.TOTAL_PASSED, signatures=(SIGNATURE,)),
        sender=SenderReport("H99", SenderMatch.CODED),
    )
    text = render_text(VerificationReport((file,)), language="vi")
    for wanted in (
        "HỢP LỆ",
        "Tổ chức cấp chứng thư số: CA TEST",
        "Người ký: SỞ TEST",
        "Tổ chức quản lý chứng thư số: PHÒNG TEST; UBND TEST",
        "Dấu thời gian: 05/01/2026 10:04:05 +07:00",
        "Toàn vẹn: nội dung đã ký không bị thay đổi; chữ ký bao trùm toàn bộ tệp",
        "trong thời hạn, chưa bị thu hồi (OCSP)",
        "Thời hạn chứng thư số: từ 04/01/2026",
        "Cơ quan gửi: H99",
    ):
        assert wanted in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"integrity": False}, "Integrity: not confirmed"),
        ({"covers": Coverage.REVISION, "changes_after": Changes.FORM}, "added afterwards: form field values"),
        ({"revocation": Revocation()}, "whether it was revoked is not known"),
        ({"revocation": Revocation(RevocationStatus.REVOKED, "crl")}, "revoked (CRL)"),
        ({"signing_time": TIME + datetime.timedelta(days=9)}, "outside its validity"),
        ({"signing_time": None}, "Signing time: none"),
        ({"time_source": "claimed"}, "claimed by the signer"),
        ({"kind": SignatureKind.DOCUMENT_TIMESTAMP}, "Document time-stamp"),
        ({"signer": None, "certificate_not_before": None}, "Signature of an agency"),
    ],
)
def test_text_of_other_cases(changes: dict[str, object], expected: str) -> None:
    signature = dataclasses.replace(SIGNATURE, **changes)
    whole = VerificationReport((report(Conclusion.INDETERMINATE, signatures=(signature,)),))
    assert expected in render_text(whole, language="en")


def test_names_from_outside_cannot_steer_a_terminal() -> None:
    evil = dataclasses.replace(SIGNATURE, field="a\x1b[2J\u202eb")
    text = render_text(
        VerificationReport((report(Conclusion.TOTAL_PASSED, signatures=(evil,)),)), language="en"
    )
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_finding_within_a_finding_is_translated() -> None:
    finding = Finding("verify.timestamp-unusable", {"reason": Finding("verify.timestamp-imprint")})
    assert messages.text("verify.timestamp-imprint", "vi") in finding.text("vi")
    assert messages.text("verify.timestamp-imprint", "en") in finding.text("en")
