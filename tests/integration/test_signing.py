"""Signing in each role: what comes out is looked at with other readers, and every no leaves nothing behind."""

import dataclasses
import datetime
import io
import re
import subprocess
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from PIL import Image

from tests.second_tools import assert_sound, pdfsig
from tests.signing_fixtures import ISSUE_DATE
from vnedoc.errors import (
    CredentialError,
    DocumentError,
    ExitCode,
    InputError,
    NotAllowedError,
    TimestampError,
    UsageError,
    VnedocError,
)
from vnedoc.sign.appearance import Picture, parse_picture
from vnedoc.sign.layout import CopyKind
from vnedoc.sign.models import Box, Placement, Role, SignatureLevel
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import plan_pdf, sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

INVISIBLE = SigningOptions(role=Role.INVISIBLE)
DECISION = documents.document_bytes(documents.DECISION)
LETTER = documents.document_bytes(documents.LETTER)


def _sign(source: bytes, signer: Signer, options: SigningOptions) -> bytes:
    content = sign_pdf(source, signer=signer, options=options).content
    assert content is not None
    return content


def _shown_text(content: bytes, page: int = 0) -> str:
    """Return what a person reads on a page, form fields and signatures included."""
    document = pypdfium2.PdfDocument(content)
    document.init_forms()
    document[page].flatten()
    flattened = io.BytesIO()
    document.save(flattened)
    document.close()
    again = pypdfium2.PdfDocument(flattened.getvalue())
    text: str = again[page].get_textpage().get_text_range()
    again.close()
    return re.sub(r"\s+", " ", text)


def _fields(content: bytes) -> dict[str, pikepdf.Object]:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        return {str(field.T): str(field.get("/V", "")) for field in pdf.Root.AcroForm.Fields}


def test_a_signature_only_appends(leader: PKCS12Signer, approved: bytes, issued: bytes) -> None:
    assert approved.startswith(DECISION)
    assert issued.startswith(approved)


def test_one_signature_is_one_revision(approved: bytes, issued: bytes) -> None:
    # Checkers of the government's line count end-of-file marks between signatures.
    marks = [content.count(b"%%EOF") for content in (DECISION, approved, issued)]
    assert [marks[1] - marks[0], marks[2] - marks[1]] == [1, 1]
    for content in (approved, issued):
        start, first, second, last = map(
            int, re.findall(rb"/ByteRange \[(\d+) (\d+) (\d+) (\d+)", content)[-1]
        )
        assert (start, second + last) == (0, len(content))
        assert content[first : first + 1] == b"<"
        assert content[second - 1 : second] == b">"


def test_number_and_date_are_filled_in_the_agencys_own_revision(approved: bytes, issued: bytes) -> None:
    assert datetime.date(2026, 1, 5) == ISSUE_DATE
    before, after = _fields(approved), _fields(issued)
    for name, value in {"vnedoc-number": "07", "vnedoc-day": "05", "vnedoc-month": "01"}.items():
        assert before[name] == ""
        assert after[name] == value


@pytest.mark.needs("pdftotext")
def test_number_and_date_stand_in_their_blanks(issued: bytes, tmp_path: Path) -> None:
    path = tmp_path / "issued.pdf"
    path.write_bytes(issued)
    words = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True).stdout
    line = re.sub(r"\s+", " ", words)
    assert "Số: 07 /QĐ-UBND" in line
    assert "ngày 05 tháng 01 năm 2026" in line


def test_the_seal_locks_number_and_date(issued: bytes) -> None:
    with pikepdf.open(io.BytesIO(issued)) as pdf:
        (seal,) = [field for field in pdf.Root.AcroForm.Fields if str(field.T) == "vnedoc-issue-1"]
        (reference,) = seal.V.Reference
        assert reference.TransformMethod == "/FieldMDP"
        assert {str(name) for name in reference.TransformParams.Fields} >= {"vnedoc-number", "vnedoc-day"}


@pytest.mark.needs("pdfsig")
def test_pdfsig_finds_both_signatures_valid(issued: bytes, tmp_path: Path) -> None:
    path = tmp_path / "issued.pdf"
    path.write_bytes(issued)
    words = pdfsig(path)
    assert words.count("Signature is Valid.") == 2
    assert words.count("ETSI.CAdES.detached") == 2
    assert words.count("Total document signed") == 1
    path.write_bytes(issued.replace(b"/Count 2", b"/Count 3", 1))
    words = pdfsig(path)
    assert "Signature is Valid." not in words


@pytest.mark.needs("qpdf")
@pytest.mark.parametrize(
    "name", [documents.DECISION, documents.LETTER, documents.LANDSCAPE, documents.ROTATED, documents.CROPPED]
)
def test_qpdf_finds_nothing_to_repair(
    leader: PKCS12Signer, signature_picture: Picture, tmp_path: Path, name: str
) -> None:
    options = SigningOptions(
        role=Role.APPROVE, picture=signature_picture, placement=Placement(page=1, box=Box(100, 100, 90, 40))
    )
    path = tmp_path / "signed.pdf"
    sign_pdf(documents.document_path(name), path, signer=leader, options=options)
    assert_sound(path)


def test_a_timestamp_makes_it_b_t(leader: PKCS12Signer, pki: TestPKI) -> None:
    with TimestampClient([pki.tsa_url]) as client:
        options = dataclasses.replace(INVISIBLE, level=SignatureLevel.B_T, timestamps=client)
        result = sign_pdf(DECISION, signer=leader, options=options)
    assert result.level is SignatureLevel.B_T
    assert result.timestamp_time is not None
    assert abs(result.timestamp_time - result.signing_time) < datetime.timedelta(minutes=1)
    assert pki.tsa.certificate.public_bytes(Encoding.DER).hex().upper().encode() in (result.content or b"")


def test_a_token_larger_than_the_room_is_signed_again(
    leader: PKCS12Signer, pki: TestPKI, tmp_path: Path
) -> None:
    with TimestampClient([pki.tsa_url]) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr("vnedoc.sign.signing.TOKEN_BYTES", 16)
        options = dataclasses.replace(INVISIBLE, level=SignatureLevel.B_T, timestamps=client)
        path = tmp_path / "signed.pdf"
        sign_pdf(DECISION, path, signer=leader, options=options)
    content = path.read_bytes()
    assert content.count(b"/ByteRange") == 1
    with pikepdf.open(path) as pdf:
        assert len(pdf.pages) == 2
    _, first, second, last = map(int, re.findall(rb"/ByteRange \[(\d+) (\d+) (\d+) (\d+)", content)[-1])
    assert second + last == len(content)
    assert int(content[first + 1 : second - 1], 16)


def test_the_text_of_an_appendix_shows_the_signing_time(clerk: PKCS12Signer) -> None:
    options = SigningOptions(role=Role.APPENDIX, number="07/QĐ-UBND")
    result = sign_pdf(documents.document_path(documents.APPENDIX), signer=clerk, options=options)
    time = result.signing_time
    assert time.utcoffset() == datetime.timedelta(hours=7)
    assert f"Số: 07/QĐ-UBND; {time:%d/%m/%Y; %H:%M:%S}; +07:00" in _shown_text(result.content or b"")
    # The time shown is the time in the signature, to the second.
    with pikepdf.open(io.BytesIO(result.content or b"")) as pdf:
        assert str(pdf.Root.AcroForm.Fields[0].V.M) == f"D:{time:%Y%m%d%H%M%S}+07'00'"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            SigningOptions(role=Role.COPY, copy_kind=CopyKind.SAO_Y, agency="ỦY BAN NHÂN DÂN XÃ TEST"),
            "SAO Y; ỦY BAN NHÂN DÂN XÃ TEST; ",
        ),
        (
            SigningOptions(
                role=Role.NUMBER, number="8", placement=Placement(page=1, box=Box(140, 700, 40, 18))
            ),
            "08",
        ),
        (
            SigningOptions(
                role=Role.DATE,
                date=datetime.date(2026, 3, 9),
                placement=Placement(page=1, box=Box(300, 700, 190, 18)),
            ),
            "ngày 09 tháng 3 năm 2026",
        ),
        (
            SigningOptions(
                role=Role.COMMENT,
                text="Đồng ý. Giao Sở Nội vụ thực hiện.",
                placement=Placement(page=1, box=Box(60, 20, 300, 40)),
            ),
            "Đồng ý. Giao Sở Nội vụ thực hiện.",
        ),
    ],
    ids=lambda value: value.role.value if isinstance(value, SigningOptions) else "",
)
def test_roles_that_show_text(clerk: PKCS12Signer, options: SigningOptions, text: str) -> None:
    assert text in _shown_text(_sign(LETTER, clerk, options))


def test_a_picture_without_transparency_is_told(leader: PKCS12Signer) -> None:
    content = io.BytesIO()
    Image.new("RGB", (300, 120), "blue").save(content, "PNG")
    options = SigningOptions(
        role=Role.APPROVE,
        picture=parse_picture(content.getvalue()),
        placement=Placement(page=1, box=Box(100, 100, 90, 40)),
    )
    told = [finding.id for finding in sign_pdf(LETTER, signer=leader, options=options).warnings]
    assert "appearance.picture-not-transparent" in told
    planned = [finding.id for finding in plan_pdf(LETTER, signer=leader, options=options).warnings]
    assert "appearance.picture-not-transparent" in planned


def test_field_names_are_unique(leader: PKCS12Signer) -> None:
    content = DECISION
    for _ in range(3):
        content = _sign(content, leader, INVISIBLE)
    assert sorted(_fields(content)) == ["vnedoc-invisible-1", "vnedoc-invisible-2", "vnedoc-invisible-3"]


def test_a_plan_writes_nothing_and_says_where(
    leader: PKCS12Signer, approve_options: SigningOptions, approved: bytes
) -> None:
    plan = plan_pdf(DECISION, signer=leader, options=approve_options)
    assert plan.field == "vnedoc-approve-1"
    assert plan.page == 2
    assert plan.box is not None
    with pikepdf.open(io.BytesIO(approved)) as pdf:
        (widget,) = [item for item in pdf.pages[1].Annots if str(item.T) == "vnedoc-approve-1"]
        x1, y1, _, _ = (float(value) for value in widget.Rect)
    assert (x1, y1) == pytest.approx((plan.box.x, plan.box.y), abs=0.01)


def test_a_signed_file_may_replace_its_source(leader: PKCS12Signer, tmp_path: Path) -> None:
    path = tmp_path / "văn bản.pdf"
    path.write_bytes(DECISION)
    sign_pdf(path, path, signer=leader, options=INVISIBLE)
    assert path.read_bytes().startswith(DECISION)
    assert len(path.read_bytes()) > len(DECISION)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def _certified(content: bytes, permission: int) -> bytes:
    """Certify a document as another producer would; the signature itself need not be right."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        parameters = pikepdf.Dictionary(
            Type=pikepdf.Name.TransformParams, P=permission, V=pikepdf.Name("/1.2")
        )
        reference = pikepdf.Dictionary(TransformMethod=pikepdf.Name.DocMDP, TransformParams=parameters)
        value = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Sig,
                Filter=pikepdf.Name("/Adobe.PPKLite"),
                Contents=b"",
                Reference=[reference],
            )
        )
        field = pikepdf.Dictionary(FT=pikepdf.Name.Sig, T="Certification", V=value, Rect=[0, 0, 0, 0])
        field.Type, field.Subtype = pikepdf.Name.Annot, pikepdf.Name.Widget
        field = pdf.make_indirect(field)
        pdf.pages[0].Annots = pdf.make_indirect(pikepdf.Array([field]))
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=[field], SigFlags=3)
        pdf.Root.Perms = pikepdf.Dictionary(DocMDP=value)
        output = io.BytesIO()
        pdf.save(output)
        return output.getvalue()


def _encrypted(content: bytes) -> bytes:
    output = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(output, encryption=pikepdf.Encryption(owner="TEST", user=""))
    return output.getvalue()


def _locked(content: bytes) -> bytes:
    with pikepdf.open(io.BytesIO(_certified(content, 2))) as pdf:
        (field,) = pdf.Root.AcroForm.Fields
        field.V.Reference[0].TransformMethod = pikepdf.Name.FieldMDP
        field.V.Reference[0].TransformParams = pikepdf.Dictionary(P=1, Action=pikepdf.Name.All)
        output = io.BytesIO()
        pdf.save(output)
        return output.getvalue()


def test_a_document_that_allows_signatures_can_be_signed(leader: PKCS12Signer) -> None:
    assert _sign(_certified(LETTER, 2), leader, INVISIBLE)


BAD_DOCUMENTS = {
    "empty": (b"", DocumentError, "pdf.not-a-pdf"),
    "text": (b"Kinh gui: TEST", DocumentError, "pdf.not-a-pdf"),
    "half": (DECISION[: len(DECISION) // 2], DocumentError, "pdf.broken"),
    "header only": (b"%PDF-1.7\n%%EOF\n", DocumentError, "pdf.broken"),
    "loop": (re.sub(rb"startxref\n\d+", b"startxref\n9", DECISION), DocumentError, "pdf.broken"),
    "encrypted": (_encrypted(LETTER), DocumentError, "pdf.encrypted"),
    "no changes": (_certified(LETTER, 1), NotAllowedError, "pdf.certified-no-changes"),
    "locked": (_locked(LETTER), NotAllowedError, "pdf.certified-no-changes"),
}


@pytest.mark.parametrize("case", BAD_DOCUMENTS)
def test_a_bad_document_is_one_clear_error(leader: PKCS12Signer, tmp_path: Path, case: str) -> None:
    content, kind, code = BAD_DOCUMENTS[case]
    source, output = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(content)
    with pytest.raises(kind) as caught:
        sign_pdf(source, output, signer=leader, options=INVISIBLE)
    assert caught.value.code == code
    assert source.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.pdf"]


def _bad_options(picture: Picture) -> dict[str, tuple[SigningOptions, str, ExitCode]]:
    approve = SigningOptions(role=Role.APPROVE, picture=picture)
    box = Placement(page=1, box=Box(100, 100, 90, 40))
    replace = dataclasses.replace
    return {
        "no picture": (
            replace(approve, picture=None, placement=box),
            "signing.needs-picture",
            ExitCode.USAGE,
        ),
        "no place": (approve, "signing.needs-placement", ExitCode.USAGE),
        "outside": (
            replace(approve, placement=Placement(page=1, box=Box(550, 100, 90, 40))),
            "appearance.box-outside-page",
            ExitCode.USAGE,
        ),
        "no page": (
            replace(approve, placement=Placement(page=9, box=Box(1, 1, 9, 9))),
            "appearance.no-such-page",
            ExitCode.USAGE,
        ),
        "no anchor": (
            replace(approve, placement=Placement(anchor="TRẦN VĂN VẮNG")),
            "appearance.anchor-not-found",
            ExitCode.USAGE,
        ),
        "no timestamp": (
            replace(INVISIBLE, level=SignatureLevel.B_T),
            "timestamp.no-authority",
            ExitCode.USAGE,
        ),
        "no timestamp for the archive": (
            replace(INVISIBLE, level=SignatureLevel.B_LTA),
            "timestamp.no-authority",
            ExitCode.USAGE,
        ),
        "seal before signature": (
            SigningOptions(role=Role.ISSUE, picture=picture, seal_diameter_mm=36),
            "appearance.seal-not-round",
            ExitCode.USAGE,
        ),
        "appendix": (SigningOptions(role=Role.APPENDIX), "signing.needs-number", ExitCode.USAGE),
        "copy": (SigningOptions(role=Role.COPY, agency="TEST"), "signing.needs-copy-kind", ExitCode.USAGE),
        "date": (SigningOptions(role=Role.DATE, placement=box), "signing.needs-date", ExitCode.USAGE),
        "comment": (SigningOptions(role=Role.COMMENT, placement=box), "signing.needs-text", ExitCode.USAGE),
        "long comment": (
            SigningOptions(role=Role.COMMENT, placement=box, text="TEST " * 99),
            "appearance.text-too-long",
            ExitCode.USAGE,
        ),
        "missing glyph": (
            SigningOptions(role=Role.COMMENT, placement=box, text="漢"),
            "appearance.missing-glyph",
            ExitCode.USAGE,
        ),
    }


@pytest.mark.parametrize("case", list(_bad_options(None)))  # type: ignore[arg-type] # only the names are wanted
def test_bad_options_are_one_clear_error(
    leader: PKCS12Signer, signature_picture: Picture, tmp_path: Path, case: str
) -> None:
    options, code, exit_code = _bad_options(signature_picture)[case]
    with pytest.raises(VnedocError) as caught:
        sign_pdf(DECISION, tmp_path / "out.pdf", signer=leader, options=options)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert list(tmp_path.iterdir()) == []


def test_the_agency_signs_only_after_a_person(clerk: PKCS12Signer, seal_picture: Picture) -> None:
    place = Placement(page=2, box=Box(250, 100, 110, 110))
    options = SigningOptions(role=Role.ISSUE, picture=seal_picture, seal_diameter_mm=36, placement=place)
    with pytest.raises(NotAllowedError) as caught:
        sign_pdf(DECISION, signer=clerk, options=options)
    assert caught.value.code == "signing.no-person-signature"
    assert "32" in caught.value.text("vi")
    # Another signature of the agency itself is not a person's.
    with pytest.raises(NotAllowedError):
        sign_pdf(_sign(DECISION, clerk, INVISIBLE), signer=clerk, options=options)
    allowed = dataclasses.replace(options, without_person=True)
    assert sign_pdf(DECISION, signer=clerk, options=allowed).page == 2


def test_the_seal_belongs_to_the_approval_not_to_what_stands_beside_it(
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    signature_picture: Picture,
    approve_options: SigningOptions,
    issue_options: SigningOptions,
) -> None:
    initial = SigningOptions(
        role=Role.INITIAL, picture=signature_picture, placement=Placement(page=1, box=Box(500, 60, 40, 20))
    )
    comment = SigningOptions(
        role=Role.COMMENT, text="Đồng ý.", placement=Placement(page=1, box=Box(60, 20, 300, 40))
    )
    source = _sign(_sign(_sign(DECISION, leader, approve_options), leader, comment), leader, initial)
    beside = sign_pdf(source, signer=clerk, options=issue_options)
    alone = sign_pdf(_sign(DECISION, leader, approve_options), signer=clerk, options=issue_options)
    assert (beside.page, beside.box) == (alone.page, alone.box)
    # Initials are not the signature of the person with authority (Decree 30/2020/NĐ-CP, art. 32.2d).
    source = _sign(DECISION, leader, dataclasses.replace(initial, reserve_numbering=True))
    with pytest.raises(NotAllowedError) as caught:
        sign_pdf(source, signer=clerk, options=issue_options)
    assert caught.value.code == "signing.no-person-signature"


def test_who_initials_first_makes_the_fields_for_numbering(
    pki: TestPKI,
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    signature_picture: Picture,
    approve_options: SigningOptions,
    issue_options: SigningOptions,
) -> None:
    initial = SigningOptions(
        role=Role.INITIAL,
        picture=signature_picture,
        placement=Placement(page=2, box=Box(250, 115, 40, 20)),
        reserve_numbering=True,
    )
    approve = dataclasses.replace(approve_options, reserve_numbering=False)
    content = _sign(_sign(_sign(DECISION, leader, initial), leader, approve), clerk, issue_options)
    assert _shown_text(content).endswith("07 05 01")
    trust = TrustStore.from_certificates(pki.ca_certificates)
    policy = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
    (file,) = verify_pdf(content, trust=trust, policy=policy).files
    assert file.conclusion is Conclusion.TOTAL_PASSED


def test_the_seal_needs_a_shown_signature_or_a_place(
    leader: PKCS12Signer, clerk: PKCS12Signer, seal_picture: Picture
) -> None:
    source = _sign(DECISION, leader, INVISIBLE)
    with pytest.raises(UsageError) as caught:
        sign_pdf(source, signer=clerk, options=SigningOptions(role=Role.ISSUE, picture=seal_picture))
    assert caught.value.code == "signing.no-signature-place"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": None}, "signing.numbering-not-filled"),
        ({"date": None}, "signing.numbering-not-filled"),
        ({"number": "7/CV-TEST"}, "signing.number-mismatch"),
        ({"date": datetime.date(2025, 1, 5)}, "signing.date-mismatch"),
        ({"number": "1234567890123456"}, "appearance.blank-too-narrow"),
    ],
)
def test_a_number_that_does_not_fit_the_draft(
    clerk: PKCS12Signer, approved: bytes, issue_options: SigningOptions, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        sign_pdf(approved, signer=clerk, options=dataclasses.replace(issue_options, **changes))  # type: ignore[arg-type] # one field a case
    assert caught.value.code == code


def test_a_document_is_numbered_once(
    leader: PKCS12Signer, clerk: PKCS12Signer, issued: bytes, issue_options: SigningOptions
) -> None:
    with pytest.raises(UsageError) as caught:
        sign_pdf(issued, signer=clerk, options=issue_options)
    assert caught.value.code == "signing.no-numbering-fields"


def test_fields_for_numbering_come_before_the_first_signature(
    leader: PKCS12Signer, approve_options: SigningOptions
) -> None:
    source = _sign(DECISION, leader, INVISIBLE)
    with pytest.raises(NotAllowedError) as caught:
        sign_pdf(source, signer=leader, options=approve_options)
    assert caught.value.code == "signing.already-signed"


@pytest.mark.parametrize(("kind", "word"), [(CopyKind.SAO_Y, "sao y"), (CopyKind.SAO_LUC, "sao lục")])
def test_an_electronic_original_has_no_electronic_true_copy(
    clerk: PKCS12Signer, issued: bytes, kind: CopyKind, word: str
) -> None:
    options = SigningOptions(role=Role.COPY, copy_kind=kind, agency="TEST")
    with pytest.raises(NotAllowedError) as caught:
        sign_pdf(issued, signer=clerk, options=options)
    assert caught.value.code == "signing.no-copy-of-electronic"
    assert "25" in caught.value.text("vi")
    assert f"“{word}”" in caught.value.text("vi")
    told = dataclasses.replace(options, allow_outside_decree=True)
    assert sign_pdf(issued, signer=clerk, options=told).page == 1
    extract = dataclasses.replace(options, copy_kind=CopyKind.TRICH_SAO)
    assert sign_pdf(issued, signer=clerk, options=extract).page == 1


DAY = datetime.timedelta(days=1)
BAD_CERTIFICATES = {
    "expired": ({"not_before": -20 * DAY, "not_after": -10 * DAY}, "certificate.expired"),
    "not yet": ({"not_before": 10 * DAY, "not_after": 20 * DAY}, "certificate.not-yet-valid"),
}


@pytest.mark.parametrize("case", BAD_CERTIFICATES)
def test_a_certificate_out_of_its_time(pki: TestPKI, tmp_path: Path, case: str) -> None:
    times, code = BAD_CERTIFICATES[case]
    now = datetime.datetime.now(datetime.UTC)
    identity = pki.issue_person(
        common_name="TEST", organization="TEST", **{name: now + delta for name, delta in times.items()}
    )
    _refused_certificate(identity.pkcs12("x"), tmp_path, code)


def test_a_certificate_that_may_not_sign(pki: TestPKI, tmp_path: Path) -> None:
    identity = pki.issue_person(common_name="TEST", organization="TEST", key_usage=("key_encipherment",))
    _refused_certificate(identity.pkcs12("x"), tmp_path, "certificate.may-not-sign")


def _refused_certificate(key_file: bytes, folder: Path, code: str) -> None:
    signer = PKCS12Signer(key_file, passphrase="x")
    with pytest.raises(CredentialError) as caught:
        sign_pdf(DECISION, folder / "out.pdf", signer=signer, options=INVISIBLE)
    assert (caught.value.code, caught.value.exit_code) == (code, ExitCode.CONFIGURATION)
    assert list(folder.iterdir()) == []


def test_no_timestamp_no_file(leader: PKCS12Signer, pki: TestPKI, tmp_path: Path) -> None:
    output = tmp_path / "out.pdf"
    output.write_bytes(b"before")
    with (
        TimestampClient([pki.tsa_url], timeout_s=0.3) as client,
        pki.services.failing(tsa="silent"),
        pytest.raises(TimestampError) as caught,
    ):
        options = dataclasses.replace(INVISIBLE, level=SignatureLevel.B_T, timestamps=client)
        sign_pdf(DECISION, output, signer=leader, options=options)
    assert caught.value.exit_code is ExitCode.REMOTE
    assert output.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.pdf"]


@pytest.mark.parametrize("name", ["none.pdf", "."])
def test_an_input_that_is_no_file(leader: PKCS12Signer, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        sign_pdf(tmp_path / name, signer=leader, options=INVISIBLE)


def test_an_output_folder_that_is_missing(leader: PKCS12Signer, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        sign_pdf(DECISION, tmp_path / "none" / "out.pdf", signer=leader, options=INVISIBLE)
    assert caught.value.code == "file.cannot-write"
