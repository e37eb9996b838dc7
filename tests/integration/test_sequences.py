"""Sequences of signatures, as offices make them: each step is looked at by four checkers.

They are vnedoc's own verification, pyHanko with its default difference policy, Poppler, and the rule of the checkers
that are in use in agencies: signatures sorted by revision, ``%%EOF`` marks counted in each signed revision; if the
count grows by more than one between two neighbours, or if no signature covers the whole file, all count as modified.
"""

import dataclasses
import datetime
import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import (
    FieldMDPAction,
    FieldMDPSpec,
    MDPPerm,
    SigFieldSpec,
    SigSeedSubFilter,
)
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from tests.second_tools import pdfsig
from tests.signed_pdfs import signer_of
from vnedoc.errors import NotAllowedError, UsageError
from vnedoc.sign.appearance import Picture
from vnedoc.sign.models import Box, Placement, Role, SignatureLevel
from vnedoc.sign.report import Conclusion
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

DECISION = documents.document_bytes(documents.DECISION)
INVISIBLE = SigningOptions(role=Role.INVISIBLE)
DATE = datetime.date(2026, 1, 5)
NUMBER_PLACE = Placement(page=1, box=Box(140, 700, 40, 18))


@dataclasses.dataclass(frozen=True)
class Office:
    """Who signs with what."""

    pki: TestPKI
    leader: PKCS12Signer
    clerk: PKCS12Signer
    reviewers: tuple[Signer, ...]
    receiver: Signer
    steps: dict[str, SigningOptions]

    def signer(self, step: str) -> Signer:
        """Return who does a step."""
        if step.startswith("initial"):
            return self.reviewers[int(step[-1]) - 1]
        if step == "incoming":
            return self.receiver
        return self.clerk if step in {"number", "date", "issue", "issue unnumbered"} else self.leader

    def run(self, steps: tuple[str, ...], source: bytes = DECISION) -> list[bytes]:
        """Do the steps and return every intermediate file."""
        made = [source]
        for step in steps:
            content = sign_pdf(made[-1], signer=self.signer(step), options=self.steps[step]).content
            assert content is not None
            made.append(content)
        return made[1:]


@pytest.fixture(scope="module")
def office(
    pki: TestPKI, leader: PKCS12Signer, clerk: PKCS12Signer, signature_picture: Picture, seal_picture: Picture
) -> Office:
    """An office, and one that receives."""

    def person(name: str) -> PKCS12Signer:
        identity = pki.issue_person(common_name=name, organization="TEST")
        return PKCS12Signer(identity.pkcs12("x"), passphrase="x")

    approve = SigningOptions(
        role=Role.APPROVE,
        picture=signature_picture,
        placement=Placement(anchor=documents.LEADER_NAME),
    )
    issue = SigningOptions(role=Role.ISSUE, picture=seal_picture, seal_diameter_mm=36)
    replace = dataclasses.replace
    steps = {
        "approve": approve,
        "approve, reserve numbers": replace(approve, reserve_numbering=True),
        "approve, reserve all": replace(approve, reserve_numbering=True, reserve_seal_mm=36),
        "certify": replace(approve, certify=True),
        "certify, reserve all": replace(approve, certify=True, reserve_numbering=True, reserve_seal_mm=36),
        "issue": replace(issue, number="7/QĐ-UBND", date=DATE),
        "issue unnumbered": issue,
        "number": SigningOptions(role=Role.NUMBER, number="7", placement=NUMBER_PLACE),
        "date": SigningOptions(
            role=Role.DATE, date=DATE, placement=Placement(page=1, box=Box(300, 700, 190, 18))
        ),
        "incoming": SigningOptions(
            role=Role.INCOMING,
            agency="SỞ TEST KHÁC",
            number="12",
            date=DATE,
            placement=Placement(page=1, box=Box(60, 640, 10, 10)),
        ),
        "comment": SigningOptions(
            role=Role.COMMENT, text="Giao Sở Nội vụ.", placement=Placement(page=1, box=Box(60, 20, 300, 40))
        ),
        "invisible": INVISIBLE,
    }
    for number in (1, 2, 3):
        steps[f"initial {number}"] = SigningOptions(
            role=Role.INITIAL,
            picture=signature_picture,
            placement=Placement(page=number % 2 + 1, box=Box(500 - 45 * number, 60, 40, 20)),
        )
    reviewers = tuple(person(f"TRẦN VĂN TEST {name}") for name in ("MỘT", "HAI", "BA"))
    receiver = PKCS12Signer(pki.other_agency.pkcs12("x"), passphrase="x")
    return Office(pki, leader, clerk, reviewers, receiver, steps)


SEQUENCES: dict[str, tuple[str, ...]] = {
    "approve, issue with reserved fields": ("approve, reserve numbers", "issue"),
    "everything reserved": ("approve, reserve all", "issue"),
    "certified, everything reserved": ("certify, reserve all", "issue"),
    "number and date as signatures": ("approve", "number", "date", "issue unnumbered"),
    "three initials, then the whole way": (
        "initial 1",
        "initial 2",
        "initial 3",
        "approve",
        "issue unnumbered",
        "incoming",
    ),
    "received and commented": ("approve, reserve numbers", "issue", "incoming", "comment"),
    "certified as today": ("certify", "number", "date", "issue unnumbered"),
    "certified, everything reserved, received": ("certify, reserve all", "issue", "incoming", "comment"),
    "comments both ways": ("comment", "approve", "comment", "issue unnumbered"),
    "nothing shown": ("invisible", "invisible", "invisible"),
}
# Stock pyHanko forbids a new visible field after a certification; current government tools and Acrobat do not. Which
# steps it complains about is stated, so that a change is noticed. With reserved fields it has nothing to say.
CREATES_FIELDS_AFTER_CERTIFYING = {
    "certified as today": 2,
    "certified, everything reserved, received": 3,
}


def is_modified(content: bytes) -> bool:
    """Apply the rule of today's checkers."""
    ends = sorted(
        int(third) + int(fourth)
        for third, fourth in re.findall(rb"/ByteRange \[ ?0 \d+ (\d+) (\d+) *\]", content)
    )
    counts = [content[:end].count(b"%%EOF") for end in ends]
    return ends[-1] != len(content) or any(
        later - earlier > 1 for earlier, later in itertools.pairwise(counts)
    )


def _trust(pki: TestPKI) -> TrustStore:
    return TrustStore.from_certificates(pki.ca_certificates)


def _levels(content: bytes, pki: TestPKI) -> list[tuple[ModificationLevel, bool | None]]:
    """Return what pyHanko finds was done after each signature."""
    root = signer_of(pki.root).signing_cert
    assert root is not None
    others = [signer_of(authority).signing_cert for authority in (pki.state_ca,)]
    found = []
    for embedded in PdfFileReader(io.BytesIO(content)).embedded_regular_signatures:
        status = validate_pdf_signature(
            embedded, ValidationContext(trust_roots=[root], other_certs=others, allow_fetching=False)
        )
        assert status.intact
        assert status.valid
        found.append((status.modification_level, status.docmdp_ok))
    return found


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_step_passes_our_verification(office: Office, name: str) -> None:
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as revocation:
        for count, content in enumerate(office.run(SEQUENCES[name]), start=1):
            report = verify_pdf(content, trust=_trust(office.pki), revocation=revocation)
            (file,) = report.files
            assert file.conclusion is Conclusion.TOTAL_PASSED, [
                (signature.field, [finding.id for finding in signature.errors])
                for signature in file.signatures
            ]
            assert len(file.signatures) == count
            assert file.signatures[-1].covers == "whole-file"


@pytest.mark.parametrize("name", SEQUENCES)
def test_no_step_is_called_modified(office: Office, name: str) -> None:
    assert not any(is_modified(content) for content in office.run(SEQUENCES[name]))


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_pyhankos_default_policy_says(office: Office, name: str) -> None:
    complains_from = CREATES_FIELDS_AFTER_CERTIFYING.get(name, 99)
    for count, content in enumerate(office.run(SEQUENCES[name]), start=1):
        (first, *later) = _levels(content, office.pki)
        assert first[1] is (count < complains_from)
        if count < complains_from:
            assert first[0] <= ModificationLevel.FORM_FILLING
        assert all(level <= ModificationLevel.FORM_FILLING and allowed for level, allowed in later)


@pytest.mark.needs("pdfsig")
@pytest.mark.parametrize("name", SEQUENCES)
def test_poppler_finds_every_signature_valid(office: Office, tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pdf"
    for count, content in enumerate(office.run(SEQUENCES[name]), start=1):
        path.write_bytes(content)
        words = pdfsig(path)
        assert words.count("Signature is Valid.") == count
        assert words.count("Total document signed") == 1


def test_levels_with_timestamps_are_one_revision_too(office: Office) -> None:
    pki = office.pki
    with TimestampClient([pki.tsa_url]) as client, RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        more = {"timestamps": client, "trust": _trust(pki), "revocation": source}
        for level in (SignatureLevel.B_T, SignatureLevel.B_LT):
            steps = {
                name: dataclasses.replace(options, level=level, **more)  # type: ignore[arg-type] # three options
                for name, options in office.steps.items()
            }
            made = dataclasses.replace(office, steps=steps).run(("approve, reserve all", "issue", "incoming"))
            assert not any(is_modified(content) for content in made)
            report = verify_pdf(made[-1], trust=_trust(pki), revocation=source)
            assert report.files[0].conclusion is Conclusion.TOTAL_PASSED


def test_the_rule_finds_what_it_is_meant_to_find(office: Office) -> None:
    (approved,) = office.run(("approve, reserve numbers",))
    assert not is_modified(approved)
    # A field made in a write of its own, then signed (sequence "append and write" of careless tools).
    writer = IncrementalPdfFileWriter(io.BytesIO(approved))
    writer.root["/AcroForm"].update({})
    writer.update_root()
    between = io.BytesIO()
    writer.write(between)
    assert is_modified(between.getvalue())
    (again,) = office.run(("issue",), between.getvalue())
    assert is_modified(again)


def test_the_reserved_seal_is_filled_not_made(office: Office) -> None:
    approved, issued = office.run(("approve, reserve all", "issue"))
    with pikepdf.open(io.BytesIO(approved)) as before, pikepdf.open(io.BytesIO(issued)) as after:
        assert len(before.Root.AcroForm.Fields) == len(after.Root.AcroForm.Fields) == 5
        (empty,) = [item for item in before.Root.AcroForm.Fields if str(item.T) == "vnedoc-issue-1"]
        (seal,) = [item for item in after.Root.AcroForm.Fields if str(item.T) == "vnedoc-issue-1"]
        assert "/V" not in empty
        assert "/V" in seal
        assert list(empty.Rect) == list(seal.Rect)
        # True size, in points.
        assert float(seal.Rect[2]) - float(seal.Rect[0]) == pytest.approx(36 / 25.4 * 72, abs=0.01)
    # The same place as without reserving.
    (_, plain) = office.run(("approve, reserve numbers", "issue"))
    with pikepdf.open(io.BytesIO(plain)) as pdf:
        (other,) = [item for item in pdf.Root.AcroForm.Fields if str(item.T) == "vnedoc-issue-1"]
        assert [float(number) for number in other.Rect] == pytest.approx(
            [float(number) for number in seal.Rect], abs=0.01
        )


def test_a_seal_of_another_size_does_not_go_into_the_reserved_field(office: Office) -> None:
    (approved,) = office.run(("approve, reserve all",))
    options = dataclasses.replace(office.steps["issue"], seal_diameter_mm=42)
    with pytest.raises(UsageError) as caught:
        sign_pdf(approved, signer=office.clerk, options=options)
    assert caught.value.code == "signing.reserved-seal"
    options = dataclasses.replace(office.steps["approve, reserve all"], reserve_seal_mm=420)
    with pytest.raises(UsageError) as caught:
        sign_pdf(DECISION, signer=office.leader, options=options)
    assert caught.value.code == "appearance.seal-size-strange"


def _locking(
    office: Office,
    *,
    docmdp: MDPPerm | None = None,
    certify: bool = False,
    lock: FieldMDPSpec | None = None,
) -> bytes:
    """Sign with pyHanko and lock something."""
    (source,) = office.run(("approve, reserve all",)) if not certify else (DECISION,)
    spec = SigFieldSpec("Lock", field_mdp_spec=lock, doc_mdp_update_value=None if certify else docmdp)
    metadata = signers.PdfSignatureMetadata(
        field_name="Lock",
        subfilter=SigSeedSubFilter.PADES,
        md_algorithm="sha256",
        certify=certify,
        docmdp_permissions=docmdp or MDPPerm.FILL_FORMS,
    )
    output = io.BytesIO()
    signers.PdfSigner(metadata, signer_of(office.pki.leader), new_field_spec=spec).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(source)), output=output, bytes_reserved=16384
    )
    return output.getvalue()


INCLUDE, EXCLUDE, ALL = FieldMDPAction.INCLUDE, FieldMDPAction.EXCLUDE, FieldMDPAction.ALL
LOCKS: dict[str, tuple[Callable[[Office], bytes], str | None]] = {
    "certified, no changes": (
        lambda office: _locking(office, certify=True, docmdp=MDPPerm.NO_CHANGES),
        "pdf.certified-no-changes",
    ),
    "an approval that allows no changes": (
        lambda office: _locking(office, docmdp=MDPPerm.NO_CHANGES, lock=FieldMDPSpec(INCLUDE, ["other"])),
        "pdf.certified-no-changes",
    ),
    "the number is locked": (
        lambda office: _locking(office, lock=FieldMDPSpec(INCLUDE, ["vnedoc-number"])),
        "pdf.field-locked",
    ),
    "the seal's field is locked": (
        lambda office: _locking(office, lock=FieldMDPSpec(INCLUDE, ["vnedoc-issue-1"])),
        "pdf.field-locked",
    ),
    "all are locked but the number": (
        lambda office: _locking(office, lock=FieldMDPSpec(EXCLUDE, ["vnedoc-number"])),
        "pdf.field-locked",
    ),
    "all are locked": (lambda office: _locking(office, lock=FieldMDPSpec(ALL)), "pdf.field-locked"),
    "another field is locked": (
        lambda office: _locking(office, lock=FieldMDPSpec(INCLUDE, ["vnedoc-numbers", "other"])),
        None,
    ),
    "all are locked but those": (
        lambda office: _locking(
            office,
            lock=FieldMDPSpec(
                EXCLUDE, ["vnedoc-number", "vnedoc-day", "vnedoc-month", "vnedoc-year", "vnedoc-issue-1"]
            ),
        ),
        None,
    ),
    "an approval that allows form filling": (
        lambda office: _locking(office, docmdp=MDPPerm.FILL_FORMS, lock=FieldMDPSpec(INCLUDE, ["other"])),
        None,
    ),
}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_of_earlier_signatures_are_obeyed(office: Office, tmp_path: Path, name: str) -> None:
    make, code = LOCKS[name]
    content, output = make(office), tmp_path / "x.pdf"
    options = office.steps["issue"]
    if name == "certified, no changes":
        options = dataclasses.replace(office.steps["issue unnumbered"], without_person=True)
    if code is None:
        sign_pdf(content, output, signer=office.clerk, options=options)
        assert all(allowed for _, allowed in _levels(output.read_bytes(), office.pki))
        return
    with pytest.raises(NotAllowedError) as caught:
        sign_pdf(content, output, signer=office.clerk, options=options)
    assert caught.value.code == code
    assert not output.exists()


def test_a_document_is_certified_only_before_anybody_signed(office: Office) -> None:
    (approved,) = office.run(("approve",))
    with pytest.raises(NotAllowedError) as caught:
        sign_pdf(approved, signer=office.leader, options=dataclasses.replace(INVISIBLE, certify=True))
    assert caught.value.code == "signing.certify-first"


@pytest.mark.parametrize("what", ["value", "appearance", "appearance in place"])
def test_a_number_that_is_changed_later_is_found(office: Office, what: str) -> None:
    *_, content = office.run(("approve, reserve numbers", "issue", "incoming"))
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    (field,) = [
        item for item in writer.root["/AcroForm"]["/Fields"] if item.get_object()["/T"] == "vnedoc-number"
    ]
    widget = field.get_object()
    stream = generic.StreamObject(
        generic.DictionaryObject(
            {name: widget["/AP"]["/N"][name] for name in ("/Type", "/Subtype", "/BBox", "/Resources")}
        ),
        stream_data=b"q 0 0 9 9 re f Q",
    )
    if what == "value":
        widget[generic.pdf_name("/V")] = generic.pdf_string("99")
        writer.mark_update(field)
    elif what == "appearance":
        widget["/AP"][generic.pdf_name("/N")] = writer.add_object(stream)
        writer.mark_update(field)
    else:
        reference = widget["/AP"].raw_get("/N").reference
        writer.objects[(reference.generation, reference.idnum)] = stream
    changed = io.BytesIO()
    writer.write(changed)
    (signed,) = office.run(("invisible",), changed.getvalue())
    for name in (changed.getvalue(), signed):
        (file,) = verify_pdf(name, trust=_trust(office.pki)).files
        assert file.conclusion is Conclusion.TOTAL_FAILED
        assert "verify.form-changed" in {error.id for error in file.signatures[0].errors}
        assert "verify.locked-field" in {error.id for error in file.signatures[1].errors}
