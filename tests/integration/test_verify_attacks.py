"""verify_pdf on dishonest files: each attack ends in its own verdict, never in "passed" and never in an error."""

from __future__ import annotations

import datetime
import io
from typing import TYPE_CHECKING

import pikepdf
import pytest
from pyhanko.pdf_utils import generic

from tests import signed_pdfs
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Changes, Conclusion, Coverage
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    from vnedoc.sign.report import FileReport
    from vnedoc.testing.pki import TestPKI

# Revocation is another matter; here its absence must not hide why a file does not pass.
POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE)


@pytest.fixture(scope="module")
def signed(pki: TestPKI) -> bytes:
    return signed_pdfs.sign(signed_pdfs.blank(text_field="Number"), pki.agency)


def judge(content: bytes, trust: TrustStore) -> FileReport:
    (report,) = verify_pdf(content, trust=trust, policy=POLICY).files
    return report


def ids(report: FileReport) -> set[str]:
    return {error.id for error in report.all_errors()}


def test_the_file_passes_before_the_attacks(signed: bytes, trust: TrustStore) -> None:
    assert judge(signed, trust).conclusion is Conclusion.TOTAL_PASSED


def test_a_flipped_byte_in_the_content(signed: bytes, trust: TrustStore) -> None:
    report = judge(signed_pdfs.replaced(signed, b"(TEST)", b"(REST)"), trust)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert report.signatures[0].sub_indication == "HASH_FAILURE"
    assert not report.signatures[0].integrity
    assert report.signatures[0].level == "none"


def test_a_flipped_byte_in_the_signature_value(signed: bytes, trust: TrustStore) -> None:
    from asn1crypto import cms

    match = signed_pdfs.last_signature(signed)
    encoded = bytearray.fromhex(match[1].decode())
    value = cms.ContentInfo.load(bytes(encoded))["content"]["signer_infos"][0]["signature"].native
    encoded[encoded.index(value) + 20] ^= 1
    report = judge(signed_pdfs.replaced(signed, match[1], encoded.hex().encode()), trust)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert report.signatures[0].sub_indication == "SIG_CRYPTO_FAILURE"


def test_every_flipped_byte_of_the_cms_ends_in_a_verdict(signed: bytes, trust: TrustStore) -> None:
    match = signed_pdfs.last_signature(signed)
    original = bytes.fromhex(match[1].decode())
    used = len(original.rstrip(b"\0"))
    for offset in range(0, used, 61):
        encoded = bytearray(original)
        encoded[offset] ^= 0x55
        report = judge(signed.replace(match[1], encoded.hex().encode()), trust)
        assert report.conclusion is not Conclusion.TOTAL_PASSED, offset


@pytest.mark.parametrize("length", [0, 4, 100, -200, -20, -2])
def test_a_truncated_file(signed: bytes, trust: TrustStore, length: int) -> None:
    report = judge(signed[:length], trust)
    assert report.conclusion in {Conclusion.UNREADABLE, Conclusion.INDETERMINATE, Conclusion.TOTAL_FAILED}


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"hello", b"\0" * 4096, b"PK\x03\x04" + b"x" * 100])
def test_not_a_pdf(content: bytes, trust: TrustStore) -> None:
    report = judge(content, trust)
    assert report.conclusion is Conclusion.UNREADABLE
    assert ids(report) == {"verify.not-a-pdf"}


@pytest.mark.parametrize(
    ("user", "conclusion", "finding"),
    # What opens without a password is read; every reader opens it.
    [("", Conclusion.NO_SIGNATURE, "verify.no-signature"), ("x", Conclusion.UNREADABLE, "verify.encrypted")],
)
def test_an_encrypted_file(trust: TrustStore, user: str, conclusion: Conclusion, finding: str) -> None:
    with pikepdf.open(io.BytesIO(signed_pdfs.blank())) as pdf:
        content = signed_pdfs.saved(pdf, encryption=pikepdf.Encryption(owner="y", user=user))
    report = judge(content, trust)
    assert report.conclusion is conclusion
    assert ids(report) == {finding}


@pytest.mark.parametrize("tail", [b"\n% TEST", b"\n% TEST\n"])
def test_a_comment_behind_the_end_belongs_to_nothing(signed: bytes, trust: TrustStore, tail: bytes) -> None:
    report = judge(signed + tail, trust)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert ids(report) == {"verify.stray-bytes"}


def test_a_line_end_behind_the_end_is_nothing(signed: bytes, trust: TrustStore) -> None:
    assert judge(signed + b"\r\n", trust).conclusion is Conclusion.TOTAL_PASSED


@pytest.mark.parametrize(
    "tail", [b"x", b"%%EOF\n%%EOF", b"\n99 0 obj\n<< /Evil true >>\nendobj\n", b"%%EOF\n" + b"y" * 2000]
)
def test_appended_bytes(signed: bytes, trust: TrustStore, tail: bytes) -> None:
    report = judge(signed + tail, trust)
    assert report.conclusion is not Conclusion.TOTAL_PASSED
    assert not report.readers_agree


def test_a_second_object_hidden_in_a_revision(signed: bytes, pki: TestPKI, trust: TrustStore) -> None:
    # An object that no cross-reference table lists, between two that are listed.
    second = signed_pdfs.sign(signed, pki.leader, "Second")
    boundary = len(signed)
    hidden = b"77 0 obj\n<< /Type /Page >>\nendobj\n"
    moved = second[:boundary] + hidden + second[boundary:]
    report = judge(moved, trust)
    assert report.conclusion is not Conclusion.TOTAL_PASSED


@pytest.mark.parametrize(
    ("change", "finding", "kind"),
    [
        (signed_pdfs.change_content, "verify.content-changed", Changes.CONTENT),
        (signed_pdfs.add_annotation, "verify.annotation-added", Changes.ANNOTATIONS),
        (signed_pdfs.fill("8"), "verify.form-changed", Changes.FORM),
    ],
)
def test_a_revision_after_the_signature(
    signed: bytes,
    trust: TrustStore,
    change: Callable[[IncrementalPdfFileWriter], None],
    finding: str,
    kind: Changes,
) -> None:
    report = judge(signed_pdfs.revised(signed, change), trust)
    (signature,) = report.signatures
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert finding in {error.id for error in signature.errors}
    assert signature.changes_after is kind
    assert signature.covers is Coverage.REVISION
    # What was signed is still there; the report keeps that apart.
    assert signature.integrity


@pytest.mark.parametrize("change", [signed_pdfs.change_content, signed_pdfs.add_annotation])
def test_a_change_in_the_revision_of_a_later_signature(
    signed: bytes,
    pki: TestPKI,
    trust: TrustStore,
    change: Callable[[IncrementalPdfFileWriter], None],
) -> None:
    # The rule of counting revisions, which older checkers use, does not see this one.
    report = judge(signed_pdfs.sign(signed, pki.leader, "Second", before=change), trust)
    assert report.signatures[0].conclusion is Conclusion.TOTAL_FAILED
    assert report.conclusion is Conclusion.TOTAL_FAILED


def test_an_empty_signature_field_left_at_the_end(signed: bytes, trust: TrustStore) -> None:
    from pyhanko.sign.fields import SigFieldSpec, append_signature_field

    content = signed_pdfs.revised(
        signed, lambda writer: append_signature_field(writer, SigFieldSpec("Later", box=(1, 1, 90, 90)))
    )
    report = judge(content, trust)
    assert "verify.unsigned-field" in ids(report)
    assert report.conclusion is Conclusion.TOTAL_FAILED


def _with_range(content: bytes, change: Callable[[list[int]], list[int]]) -> bytes:
    start = content.rindex(b"/ByteRange [") + len(b"/ByteRange [")
    end = content.index(b"]", start)
    numbers = [int(number) for number in content[start:end].split()]
    text = " ".join(map(str, change(numbers))).encode()
    assert len(text) <= end - start
    return content[:start] + text.ljust(end - start) + content[end:]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda r: r[:3], "verify.bad-byte-range"),
        (lambda r: [1, r[1] - 1, r[2], r[3]], "verify.bad-byte-range"),
        (lambda r: [0, r[1], r[2], -1], "verify.bad-byte-range"),
        (lambda r: [0, r[1], r[2], r[3] + 9], "verify.bad-byte-range"),
        (lambda r: [0, 0, r[2], r[3]], "verify.bad-byte-range"),
        (lambda r: [0, r[2], r[1], r[3]], "verify.bad-byte-range"),
        (lambda _: [0, 9999999999, 9, 9], "verify.bad-byte-range"),
        (lambda r: [0, r[1] - 1, r[2], r[3]], "verify.gap-not-contents"),
        (lambda r: [0, r[1], r[2] + 1, r[3] - 1], "verify.gap-not-contents"),
        (lambda r: [0, r[1], r[2], r[3] - 3], "verify.covers-part"),
    ],
)
def test_byte_range_games(
    signed: bytes, trust: TrustStore, change: Callable[[list[int]], list[int]], finding: str
) -> None:
    report = judge(_with_range(signed, change), trust)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert finding in ids(report)
    assert report.signatures[0].sub_indication == "FORMAT_FAILURE"


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        (b"/ByteRange", b"/ByteRangX", "verify.no-byte-range"),
        (b"/Contents <", b"/Contentz <", "verify.no-contents"),
    ],
)
def test_a_key_that_is_missing(
    signed: bytes, trust: TrustStore, old: bytes, new: bytes, finding: str
) -> None:
    report = judge(signed_pdfs.replaced(signed, old, new), trust)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert finding in ids(report)


@pytest.mark.parametrize("filling", [b"00", b"zz", b"ff"])
def test_contents_without_a_signature(signed: bytes, trust: TrustStore, filling: bytes) -> None:
    digits = signed_pdfs.last_signature(signed)[1]
    report = judge(signed_pdfs.replaced(signed, digits, filling * (len(digits) // 2)), trust)
    assert report.conclusion in {Conclusion.TOTAL_FAILED, Conclusion.INDETERMINATE}


def test_data_hidden_behind_the_cms_object(signed: bytes, trust: TrustStore) -> None:
    digits = signed_pdfs.last_signature(signed)[1]
    report = judge(signed_pdfs.replaced(signed, digits, digits[:-8] + b"deadbeef"), trust)
    assert report.conclusion is Conclusion.TOTAL_FAILED
    assert "verify.hidden-in-contents" in ids(report)


@pytest.mark.parametrize("subfilter", [b"adbe.pkcs7.sha1", b"adbe.x509.rsa_sha1", b"X.unknown"])
def test_an_unsupported_kind_is_never_skipped(signed: bytes, trust: TrustStore, subfilter: bytes) -> None:
    old = b"/SubFilter /ETSI.CAdES.detached"
    report = judge(signed_pdfs.replaced(signed, old, (b"/SubFilter /" + subfilter).ljust(len(old))), trust)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert ids(report) == {"verify.unsupported-kind"}


def _add_field(
    writer: IncrementalPdfFileWriter, name: str, value: generic.PdfObject, *, in_form: bool = True
) -> None:
    field = writer.add_object(
        generic.DictionaryObject(
            {
                generic.pdf_name("/FT"): generic.pdf_name("/Sig"),
                generic.pdf_name("/Type"): generic.pdf_name("/Annot"),
                generic.pdf_name("/Subtype"): generic.pdf_name("/Widget"),
                generic.pdf_name("/Rect"): generic.ArrayObject(map(generic.NumberObject, (1, 1, 50, 50))),
                generic.pdf_name("/T"): generic.pdf_string(name),
                generic.pdf_name("/V"): value,
            }
        )
    )
    if in_form:
        writer.root["/AcroForm"]["/Fields"].append(field)
        writer.update_container(writer.root["/AcroForm"]["/Fields"])
        return
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Annots"].append(field)
    writer.mark_update(writer.root["/Pages"]["/Kids"].raw_get(0))


def _value_of_first(writer: IncrementalPdfFileWriter) -> generic.PdfObject:
    for reference in writer.root["/AcroForm"]["/Fields"]:
        if "/V" in reference.get_object() and reference.get_object()["/FT"] == "/Sig":
            return reference.get_object().raw_get("/V")
    raise AssertionError


@pytest.mark.parametrize("in_form", [True, False])
def test_two_fields_with_one_value(signed: bytes, trust: TrustStore, in_form: bool) -> None:
    content = signed_pdfs.revised(
        signed, lambda writer: _add_field(writer, "Copy", _value_of_first(writer), in_form=in_form)
    )
    report = judge(content, trust)
    assert len(report.signatures) == 2
    assert all(
        "verify.shared-value" in {error.id for error in signature.errors} for signature in report.signatures
    )


@pytest.mark.parametrize("in_form", [True, False])
def test_a_broken_signature_beside_a_good_one(signed: bytes, trust: TrustStore, in_form: bool) -> None:
    def change(writer: IncrementalPdfFileWriter) -> None:
        value = writer.add_object(
            generic.DictionaryObject(
                {
                    generic.pdf_name("/Type"): generic.pdf_name("/Sig"),
                    generic.pdf_name("/SubFilter"): generic.pdf_name("/adbe.pkcs7.sha1"),
                }
            )
        )
        _add_field(writer, "Hidden", generic.IndirectObject(value.idnum, 0, writer), in_form=in_form)

    report = judge(signed_pdfs.revised(signed, change), trust)
    assert {signature.field for signature in report.signatures} == {"Signature1", "Hidden"}
    assert report.conclusion is Conclusion.TOTAL_FAILED


def test_the_value_of_a_field_replaced_by_another_file_s(
    signed: bytes, pki: TestPKI, trust: TrustStore
) -> None:
    other = signed_pdfs.sign(signed_pdfs.blank(1), pki.agency)
    digits = signed_pdfs.last_signature(signed)[1]
    report = judge(signed_pdfs.replaced(signed, digits, signed_pdfs.last_signature(other)[1]), trust)
    assert report.signatures[0].sub_indication == "HASH_FAILURE"


def test_a_timestamp_of_another_signature(pki: TestPKI, trust: TrustStore) -> None:
    from asn1crypto import cms

    stamped = signed_pdfs.sign(signed_pdfs.blank(), pki.agency, tsa_url=pki.tsa_url)
    target = signed_pdfs.sign(signed_pdfs.blank(), pki.agency)

    def load(content: bytes) -> cms.ContentInfo:
        return cms.ContentInfo.load(bytes.fromhex(signed_pdfs.last_signature(content)[1].decode()))

    attributes = load(stamped)["content"]["signer_infos"][0]["unsigned_attrs"]
    forged = load(target)
    forged["content"]["signer_infos"][0]["unsigned_attrs"] = cms.CMSAttributes(
        attributes.native and list(attributes)
    )
    digits = signed_pdfs.last_signature(target)[1]
    report = judge(target.replace(digits, forged.dump().hex().encode().ljust(len(digits), b"0")), trust)
    (signature,) = report.signatures
    assert signature.level == "PAdES-B-B"
    assert signature.time_source == "claimed"
    assert "verify.timestamp-unusable" in {warning.id for warning in signature.warnings}


def test_pages_hidden_from_one_reader_cannot_pass(signed: bytes, trust: TrustStore) -> None:
    # A wrong offset makes qpdf rebuild the table of objects; the strict reader refuses the file.
    start = signed.rindex(b"startxref")
    number = signed[start + 10 : signed.index(b"\n", start + 10)]
    report = judge(signed[:start] + signed[start:].replace(number, b"7".ljust(len(number), b" ")), trust)
    assert report.conclusion is not Conclusion.TOTAL_PASSED
    assert not report.readers_agree


def test_a_signed_file_saved_anew_by_a_tool(signed: bytes, trust: TrustStore) -> None:
    with pikepdf.open(io.BytesIO(signed)) as pdf:
        content = signed_pdfs.saved(pdf)
    assert judge(content, trust).conclusion is Conclusion.TOTAL_FAILED


def test_a_page_tree_that_is_a_loop_ends(trust: TrustStore) -> None:
    with pikepdf.open(io.BytesIO(signed_pdfs.blank())) as pdf:
        pdf.Root.Pages.Kids.append(pdf.Root.Pages)
        content = signed_pdfs.saved(pdf)
    assert judge(content, trust).conclusion in {Conclusion.UNREADABLE, Conclusion.INDETERMINATE}


def test_a_field_tree_that_is_a_loop_ends(trust: TrustStore) -> None:
    with pikepdf.open(io.BytesIO(signed_pdfs.blank(text_field="Number"))) as pdf:
        field = pdf.Root.AcroForm.Fields[0]
        field.Kids = pikepdf.Array([field])
        field.Parent = field
        content = signed_pdfs.saved(pdf)
    assert judge(content, trust).conclusion in {Conclusion.NO_SIGNATURE, Conclusion.INDETERMINATE}


def test_a_verdict_does_not_depend_on_the_clock_of_the_machine(
    pki: TestPKI, signed: bytes, trust: TrustStore
) -> None:
    before = pki.agency.certificate.not_valid_before_utc - datetime.timedelta(days=1)
    after = pki.agency.certificate.not_valid_after_utc + datetime.timedelta(days=1)
    for at, expected in ((before, "NOT_YET_VALID"), (after, "OUT_OF_BOUNDS_NO_POE")):
        (report,) = verify_pdf(signed, trust=trust, policy=POLICY, at=at).files
        assert report.conclusion is Conclusion.INDETERMINATE
        assert report.signatures[0].sub_indication == expected


def test_a_reader_that_complains_prints_nothing_and_says_the_same_each_time(
    trust: TrustStore, capfd: pytest.CaptureFixture[str]
) -> None:
    with pikepdf.open(io.BytesIO(signed_pdfs.blank())) as pdf:
        pdf.Root.Pages.Kids.append(pikepdf.String("TEST"))
        content = signed_pdfs.saved(pdf)
    first, second = judge(content, trust), judge(content, trust)
    assert first == second
    assert "verify.second-reader-complains" in ids(first)
    assert not any("0x" in str(error.values) for error in first.errors)
    assert capfd.readouterr() == ("", "")


def test_a_size_that_promises_too_much_is_harmless(pki: TestPKI, trust: TrustStore) -> None:
    unsigned = signed_pdfs.blank()
    number = unsigned.rindex(b"/Size ") + 6
    end = number + len(unsigned[number:].split(maxsplit=1)[0])
    size = int(unsigned[number:end])
    content = signed_pdfs.sign(unsigned[:number] + b"%d" % (size + 2) + unsigned[end:], pki.agency)
    assert judge(content, trust).conclusion is Conclusion.TOTAL_PASSED
