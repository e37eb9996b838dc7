"""Files with Acrobat's habits, made here: no genuine one without personal data was at hand.

What Acrobat writes is public in ISO 32000 and in the Digital Signature Build Dictionary Specification; each habit is
tried by itself and all together, and the second tool (Poppler) confirms that the file is a signed one.
"""

from __future__ import annotations

import datetime
import io
import subprocess
from typing import TYPE_CHECKING

import pikepdf
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import (
    FieldMDPAction,
    FieldMDPSpec,
    MDPPerm,
    SigFieldSpec,
    SigSeedSubFilter,
    SigSeedValFlags,
    SigSeedValueSpec,
    append_signature_field,
)
from pyhanko.sign.signers.pdf_byterange import BuildProps
from pyhanko.sign.timestamps import HTTPTimeStamper

from tests import signed_pdfs
from vnedoc.sign._judgement import pdf_date
from vnedoc.sign.checks import HIDDEN
from vnedoc.sign.policies import load_policy
from vnedoc.sign.policy import CheckLevel, Policy, PolicyCheck, RevocationRule
from vnedoc.sign.report import Conclusion, FileReport, SignatureKind
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

CHECKS = ("all-signatures-listed", *HIDDEN)
POLICY = Policy(
    revocation=RevocationRule.IGNORE, checks=tuple(PolicyCheck(check, CheckLevel.WARN) for check in CHECKS)
)
RESERVED = 2 * 16384
"""Acrobat keeps 8192 bytes and more for a signature; here more, padded with zeros."""


def form(*, linearize: bool = True, streams: bool = True) -> bytes:
    """Return a form as Acrobat saves it: linearised, object and cross-reference streams, /DR and /DA."""
    with pikepdf.open(io.BytesIO(signed_pdfs.blank(text_field="Number"))) as pdf:
        helvetica = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica,
                Name=pikepdf.Name.Helv, Encoding=pikepdf.Name.WinAnsiEncoding,
            )
        )  # fmt: skip
        dingbats = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.ZapfDingbats,
                Name=pikepdf.Name.ZaDb,
            )
        )  # fmt: skip
        pdf.Root.AcroForm.DR = pikepdf.Dictionary(
            Font=pikepdf.Dictionary(Helv=helvetica, ZaDb=dingbats), Encoding=pikepdf.Dictionary()
        )
        pdf.Root.AcroForm.DA = pikepdf.String("/Helv 0 Tf 0 g ")
        pdf.pages[0].Resources = pikepdf.Dictionary(
            Font=pikepdf.Dictionary(F1=helvetica),
            ProcSet=pikepdf.Array([pikepdf.Name.PDF, pikepdf.Name.Text]),
        )
        mode = pikepdf.ObjectStreamMode.generate if streams else pikepdf.ObjectStreamMode.disable
        return signed_pdfs.saved(pdf, linearize=linearize, object_stream_mode=mode, compress_streams=True)


def sign(
    content: bytes,
    identity,
    field: str,
    *,
    before: Callable[[IncrementalPdfFileWriter], None] | None = None,
    spec: SigFieldSpec | None = None,
    tsa_url: str | None = None,
    **metadata: object,
) -> bytes:
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    if before is not None:
        before(writer)
    output = io.BytesIO()
    signers.PdfSigner(
        signers.PdfSignatureMetadata(
            field_name=field,
            subfilter=metadata.pop("subfilter", SigSeedSubFilter.ADOBE_PKCS7_DETACHED),
            app_build_props=BuildProps(name="Adobe Acrobat Pro TEST", revision="2025"),
            reason="Tôi đã duyệt văn bản này TEST",
            location="Hà Nội",
            contact_info="test@example.test",
            md_algorithm="sha256",
            **metadata,
        ),
        signed_pdfs.signer_of(identity),
        new_field_spec=spec or SigFieldSpec(field, box=(100, 100, 250, 160)),
        timestamper=None if tsa_url is None else HTTPTimeStamper(tsa_url),
    ).sign_pdf(writer, output=output, bytes_reserved=RESERVED)
    return output.getvalue()


def usage_rights(writer: IncrementalPdfFileWriter) -> None:
    """Add what makes Adobe Reader fill and comment: a signature of Adobe's over the document, in no field."""
    rights = generic.DictionaryObject(
        {
            "/Type": "/Sig",
            "/Filter": "/Adobe.PPKLite",
            "/SubFilter": "/adbe.pkcs7.detached",
            "/ByteRange": generic.ArrayObject(map(generic.NumberObject, (0, 10, 20, 30))),
            "/Contents": generic.ByteStringObject(b"\x30\x03\x02\x01\x01" + bytes(40)),
            "/Reference": generic.ArrayObject(
                [
                    generic.DictionaryObject(
                        {
                            generic.pdf_name("/Type"): generic.pdf_name("/SigRef"),
                            generic.pdf_name("/TransformMethod"): generic.pdf_name("/UR3"),
                            generic.pdf_name("/TransformParams"): generic.DictionaryObject(
                                {
                                    generic.pdf_name("/Type"): generic.pdf_name("/TransformParams"),
                                    generic.pdf_name("/V"): generic.pdf_name("/2.2"),
                                    generic.pdf_name("/Document"): generic.ArrayObject(
                                        [generic.pdf_name("/FullSave")]
                                    ),
                                }
                            ),
                        }
                    )
                ]
            ),
        }
    )
    plain = generic.DictionaryObject(
        {
            generic.pdf_name(key): generic.pdf_name(value) if isinstance(value, str) else value
            for key, value in rights.items()
        }
    )
    writer.root[generic.pdf_name("/Perms")] = generic.DictionaryObject(
        {generic.pdf_name("/UR3"): writer.add_object(plain)}
    )
    writer.update_root()


def seeded(name: str) -> SigFieldSpec:
    return SigFieldSpec(
        name,
        box=(300, 100, 450, 160),
        seed_value_dict=SigSeedValueSpec(
            flags=SigSeedValFlags.SUBFILTER,
            subfilters=[SigSeedSubFilter.ADOBE_PKCS7_DETACHED, SigSeedSubFilter.PADES],
            digest_methods=["sha256", "sha384", "sha512"],
            reasons=["Duyệt TEST"],
            add_rev_info=False,
        ),
        field_mdp_spec=FieldMDPSpec(FieldMDPAction.INCLUDE, fields=["Number"]),
    )


def with_two_fields(writer: IncrementalPdfFileWriter) -> None:
    append_signature_field(writer, seeded("Leader"))
    append_signature_field(writer, SigFieldSpec("Agency", box=(100, 200, 250, 260)))


def prepared() -> bytes:
    """Return the form with both signature fields in its own first revision."""
    writer = IncrementalPdfFileWriter(io.BytesIO(form(linearize=False)))
    with_two_fields(writer)
    output = io.BytesIO()
    writer.write(output)
    with pikepdf.open(io.BytesIO(output.getvalue())) as pdf:
        return signed_pdfs.saved(
            pdf, linearize=True, object_stream_mode=pikepdf.ObjectStreamMode.generate, compress_streams=True
        )


HABITS = {
    "linearised, with object streams": lambda pki: sign(form(), pki.agency, "Seal"),
    "linearised, with classic tables": lambda pki: sign(form(streams=False), pki.agency, "Seal"),
    "certified with P=2": lambda pki: sign(form(), pki.agency, "Seal", certify=True),
    "certified with P=1": lambda pki: sign(
        form(), pki.agency, "Seal", certify=True, docmdp_permissions=MDPPerm.NO_CHANGES
    ),
    "certified, then approved": lambda pki: sign(
        sign(prepared(), pki.leader, "Leader", certify=True),
        pki.agency,
        "Agency",
        spec=SigFieldSpec("Agency"),
    ),
    "a field with seed values and a lock": lambda pki: sign(
        prepared(), pki.leader, "Leader", spec=SigFieldSpec("Leader")
    ),
    "usage rights for the Reader": lambda pki: sign(
        signed_pdfs.revised(form(), usage_rights), pki.agency, "Seal"
    ),
    "time-stamp in the signature": lambda pki: sign(form(), pki.agency, "Seal", tsa_url=pki.tsa_url),
    "long-term data afterwards": lambda pki: with_store(
        sign(form(), pki.agency, "Seal", tsa_url=pki.tsa_url), pki
    ),
    "PAdES, with a document time-stamp": lambda pki: signed_pdfs.add_document_timestamp(
        sign(form(), pki.agency, "Seal", subfilter=SigSeedSubFilter.PADES), pki.tsa_url
    ),
    "everything": lambda pki: with_store(
        sign(
            sign(signed_pdfs.revised(prepared(), usage_rights), pki.leader, "Leader", certify=False),
            pki.agency,
            "Agency",
            spec=SigFieldSpec("Agency"),
            tsa_url=pki.tsa_url,
        ),
        pki,
    ),
}


def with_store(content: bytes, pki: TestPKI) -> bytes:
    """Add a security store as Acrobat does it: certificates, /VRI with times, an extension level in the catalog."""
    from cryptography.hazmat.primitives.serialization import Encoding

    def change(writer: IncrementalPdfFileWriter) -> None:
        name = generic.pdf_name
        certificates = [
            writer.add_object(generic.StreamObject(stream_data=item.public_bytes(Encoding.DER)))
            for item in pki.ca_certificates
        ]
        entry = generic.DictionaryObject(
            {
                name("/Type"): name("/VRI"),
                name("/Cert"): generic.ArrayObject(certificates),
                name("/TU"): generic.pdf_string("D:20261121000000+07'00'"),
            }
        )
        store = generic.DictionaryObject(
            {
                name("/Type"): name("/DSS"),
                name("/Certs"): writer.add_object(generic.ArrayObject(certificates)),
                name("/VRI"): generic.DictionaryObject({name("/" + "AB" * 20): writer.add_object(entry)}),
            }
        )
        writer.root[name("/DSS")] = writer.add_object(store)
        writer.update_root()

    return signed_pdfs.revised(content, change)


def judged(content: bytes, pki: TestPKI, policy: Policy = POLICY) -> FileReport:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    return verify_pdf(content, trust=trust, policy=policy).files[0]


@pytest.mark.needs("pdfsig")
@pytest.mark.parametrize("habit", HABITS)
def test_a_file_with_acrobats_habits_is_not_refused(habit: str, pki: TestPKI, tmp_path: Path) -> None:
    content = HABITS[habit](pki)
    report = judged(content, pki)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()
    assert report.readers_agree
    assert [check.id for check in report.checks if not check.holds] == []
    path = tmp_path / "acrobat.pdf"
    path.write_bytes(content)
    shown = subprocess.run(["pdfsig", "-nocert", path], capture_output=True, text=True, check=False).stdout
    signatures = [item for item in report.signatures if item.kind is SignatureKind.SIGNATURE]
    assert shown.count("Signature is Valid.") == len(signatures)


def test_usage_rights_are_told_of_and_no_signature(pki: TestPKI) -> None:
    report = judged(HABITS["usage rights for the Reader"](pki), pki)
    assert "verify.usage-rights" in {finding.id for finding in report.warnings}
    assert [signature.field for signature in report.signatures] == ["Seal"]
    alone = judged(signed_pdfs.revised(form(), usage_rights), pki)
    assert alone.conclusion is Conclusion.NO_SIGNATURE


def test_a_second_set_of_signature_data_is_still_noticed(pki: TestPKI) -> None:
    """Usage rights excuse one ByteRange, not two."""

    def twice(writer: IncrementalPdfFileWriter) -> None:
        usage_rights(writer)
        writer.add_object(writer.root["/Perms"]["/UR3"])

    report = judged(sign(signed_pdfs.revised(form(), twice), pki.agency, "Seal"), pki)
    assert "verify.unreachable-signature" in {finding.id for finding in report.warnings}


def test_the_shipped_policy_for_originals_takes_it(pki: TestPKI) -> None:
    import dataclasses

    issued = dataclasses.replace(load_policy("shipped:vn-issued"), revocation=RevocationRule.IGNORE)
    report = judged(HABITS["everything"](pki), pki, issued)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()


@pytest.mark.parametrize(
    "written", ["D:20260601090000+07'00'", "D:20260601090000+07'00", "D:20260601020000Z"]
)
def test_the_ways_to_write_a_time(written: str) -> None:
    assert pdf_date(written) == datetime.datetime(2026, 6, 1, 2, tzinfo=datetime.UTC)
