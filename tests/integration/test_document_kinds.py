"""What the document was it stays: PDF/A, tagged, with streams of objects, linearised, encrypted.

The rules of ISO 19005 that a signature can break are written here, and each has a test that breaks it;
``test_verapdf.py`` asks a validator about all rules.
"""

import dataclasses
import datetime
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pikepdf
import pypdfium2
import pytest

from tests.office_exports import export_pdf
from tests.second_tools import assert_sound, pdfsig
from vnedoc.errors import DocumentError, NotAllowedError, VnedocError
from vnedoc.sign.appearance import Picture
from vnedoc.sign.layout import CopyKind
from vnedoc.sign.models import Box, Placement, Role, SignatureLevel
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
# Annotation flags (ISO 32000-1, table 165).
INVISIBLE_FLAG, HIDDEN, PRINT, NO_VIEW, TOGGLE_NO_VIEW = 1, 2, 4, 32, 256


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """The decision as LibreOffice exports it to PDF/A-1b, 2b and 3b, tagged."""
    folder = tmp_path_factory.mktemp("pdfa")
    return {part: export_pdf(folder, part=part) for part in (1, 2, 3)}


def sign(source: bytes, signer: Signer, options: SigningOptions) -> bytes:
    """Sign and return the bytes."""
    content = sign_pdf(source, signer=signer, options=options).content
    assert content is not None
    return content


def _fonts(resources: pikepdf.Object) -> Iterator[pikepdf.Object]:
    for font in (resources.get("/Font", pikepdf.Dictionary())).values():
        yield font.DescendantFonts[0] if font.Subtype == "/Type0" else font


def _broken_rules(content: bytes, part: int) -> list[str]:
    """Return the rules of ISO 19005 that annotations, forms and what they show break."""
    broken = []
    with pikepdf.open(io.BytesIO(content)) as pdf:
        form = pdf.Root.AcroForm
        if bool(form.get("/NeedAppearances", False)):
            broken.append("NeedAppearances")
        broken += [
            f"font of the form not embedded: {font.BaseFont}"
            for font in _fonts(form.get("/DR", pikepdf.Dictionary()))
            if "/FontFile2" not in font.get("/FontDescriptor", {})
        ]
        widgets = [item for page in pdf.pages for item in page.get("/Annots", ())]
        for widget in widgets:
            flags = int(widget.get("/F", 0))
            if not flags & PRINT or flags & (INVISIBLE_FLAG | HIDDEN | NO_VIEW | TOGGLE_NO_VIEW):
                broken.append(f"flags {flags} of {widget.T}")
            if "/A" in widget or "/AA" in widget:
                broken.append(f"action of {widget.T}")
            x0, y0, x1, y1 = (float(number) for number in widget.Rect)
            if (x0 == x1 and y0 == y1) and "/AP" not in widget:
                continue
            if list(widget.AP.keys()) != ["/N"] or not isinstance(widget.AP.N, pikepdf.Stream):
                broken.append(f"appearance of {widget.T}")
            broken += _broken_by_form(widget.AP.N, part)
    return broken


def _broken_by_form(form: pikepdf.Object, part: int) -> list[str]:
    broken = []
    if part == 1 and "/Group" in form:
        broken.append("transparency group")
    resources = form.get("/Resources", pikepdf.Dictionary())
    for image in (resources.get("/XObject", pikepdf.Dictionary())).values():
        if part == 1 and "/SMask" in image:
            broken.append("soft mask")
        if image.get("/ColorSpace") not in {"/DeviceRGB", "/DeviceGray"} or "/Interpolate" in image:
            broken.append("colours of a picture")
    for font in _fonts(resources):
        descriptor = font.FontDescriptor
        if "/FontFile2" not in descriptor:
            broken.append(f"font not embedded: {font.BaseFont}")
        if part == 1 and "/CIDSet" not in descriptor:
            broken.append(f"no CIDSet: {font.BaseFont}")
        if font.get("/CIDToGIDMap") != "/Identity":
            broken.append(f"no CIDToGIDMap: {font.BaseFont}")
    if "/ExtGState" in resources:
        broken.append("graphics state")
    return broken


def all_roles(signature: Picture, seal: Picture) -> list[SigningOptions]:
    """Return one act of each kind, in an order that is possible."""
    box = Placement(page=1, box=Box(60, 20, 300, 40))
    return [
        SigningOptions(
            role=Role.APPROVE,
            picture=signature,
            placement=Placement(anchor=documents.LEADER_NAME),
            reserve_numbering=True,
        ),
        SigningOptions(
            role=Role.INITIAL, picture=signature, placement=Placement(page=1, box=Box(500, 60, 40, 20))
        ),
        SigningOptions(
            role=Role.ISSUE,
            picture=seal,
            seal_diameter_mm=36,
            number="7/QĐ-UBND",
            date=datetime.date(2026, 1, 5),
        ),
        SigningOptions(role=Role.APPENDIX, number="07/QĐ-UBND"),
        SigningOptions(role=Role.COPY, copy_kind=CopyKind.TRICH_SAO, agency="TEST", placement=box),
        SigningOptions(
            role=Role.INCOMING,
            agency="SỞ TEST",
            number="12",
            date=datetime.date(2026, 1, 6),
            placement=Placement(page=1, box=Box(60, 500, 10, 10)),
        ),
        SigningOptions(role=Role.COMMENT, text="Đồng ý.", placement=box),
        INVISIBLE,
    ]


@pytest.mark.needs("soffice")
@pytest.mark.parametrize("part", [1, 2, 3])
def test_pdfa_stays_pdfa(
    exported: dict[int, bytes],
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    signature_picture: Picture,
    seal_picture: Picture,
    part: int,
) -> None:
    content = exported[part]
    for options in all_roles(signature_picture, seal_picture):
        signer = clerk if options.role is Role.ISSUE else leader
        content = sign(content, signer, options)
    assert _broken_rules(content, part) == []
    assert content.startswith(exported[part])
    with pikepdf.open(io.BytesIO(exported[part])) as before, pikepdf.open(io.BytesIO(content)) as after:
        assert len(after.Root.AcroForm.Fields) == 11
        # Metadata and description are the same objects with the same bytes; /Info and XMP still agree.
        assert after.Root.Metadata.objgen == before.Root.Metadata.objgen
        assert after.Root.Metadata.read_raw_bytes() == before.Root.Metadata.read_raw_bytes()
        assert dict(after.trailer.Info) == dict(before.trailer.Info)
        # LibreOffice calls its tagged export to part 1 conformance level A.
        with after.open_metadata(set_pikepdf_as_editor=False) as metadata:
            assert metadata.pdfa_status == {1: "1A", 2: "2B", 3: "3B"}[part]
        metadata_number = before.Root.Metadata.objgen[0]
        # The first half of the identifier says which document it is, the second which version (ISO 32000-1, 14.4).
        assert bytes(after.trailer.ID[0]) == bytes(before.trailer.ID[0])
        assert bytes(after.trailer.ID[1]) != bytes(before.trailer.ID[1])
        assert "/Version" not in after.Root
        assert after.Root.StructTreeRoot.objgen == before.Root.StructTreeRoot.objgen
        assert after.Root.Lang == before.Root.Lang
        assert bool(after.Root.MarkInfo.Marked)
        assert after.Root.OutputIntents[0].DestOutputProfile.read_raw_bytes()
    assert len(re.findall(rb"\n%d 0 obj" % metadata_number, content)) == 1
    if part == 1:
        # ISO 19005-1, 6.1.4: no cross-reference streams, no object streams.
        assert b"/ObjStm" not in content
        assert b"/XRef" not in content


@pytest.mark.needs("soffice")
@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        (lambda widget: widget.__setitem__("/F", 2), "flags"),
        (lambda widget: widget.__delitem__("/AP"), "AP"),
        (lambda widget: widget.__setitem__("/AA", pikepdf.Dictionary()), "action"),
        (lambda widget: widget.AP.__setitem__("/D", widget.AP.N), "appearance"),
    ],
)
def test_the_rules_can_be_broken(
    exported: dict[int, bytes],
    leader: PKCS12Signer,
    approve_options: SigningOptions,
    damage: Callable[[pikepdf.Object], None],
    broken: str,
) -> None:
    content = sign(exported[2], leader, approve_options)
    assert _broken_rules(content, 2) == []
    assert "soft mask" in _broken_rules(content, 1)
    with pikepdf.open(io.BytesIO(content)) as pdf:
        damage(pdf.pages[1].Annots[0])
        damaged = io.BytesIO()
        pdf.save(damaged)
    try:
        assert any(broken in rule for rule in _broken_rules(damaged.getvalue(), 2))
    except AttributeError as exc:
        assert broken in str(exc)


@pytest.mark.needs("soffice")
def test_a_seal_without_transparency_still_shows_what_is_behind(
    exported: dict[int, bytes], leader: PKCS12Signer, clerk: PKCS12Signer, seal_picture: Picture
) -> None:
    place = Placement(page=2, box=Box(250, 500, 120, 120))
    options = SigningOptions(
        role=Role.ISSUE, picture=seal_picture, seal_diameter_mm=36, placement=place, without_person=True
    )
    stencil, soft = (_pixels(sign(exported[part], clerk, options)) for part in (1, 2))
    differing = sum(abs(a - b) > 96 for a, b in zip(stencil, soft, strict=True))
    assert differing / len(stencil) < 0.01
    unsigned = _pixels(exported[1])
    assert sum(abs(a - b) > 96 for a, b in zip(stencil, unsigned, strict=True)) > 100


def _pixels(content: bytes) -> bytes:
    with pypdfium2.PdfDocument(content) as document:
        document.init_forms()
        picture = document[1].render(scale=2).to_pil().convert("L")
        pixels: bytes = picture.tobytes()
    return pixels


def _saved(content: bytes, **options: object) -> bytes:
    output = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(output, **options)
    return output.getvalue()


STRUCTURES = {
    "streams of objects": lambda: _saved(DECISION, object_stream_mode=pikepdf.ObjectStreamMode.generate),
    "linearised": lambda: _saved(DECISION, linearize=True),
    "linearised streams": lambda: _saved(
        DECISION, linearize=True, object_stream_mode=pikepdf.ObjectStreamMode.generate
    ),
    "no streams of objects": lambda: _saved(DECISION, object_stream_mode=pikepdf.ObjectStreamMode.disable),
    "PDF 2.0": lambda: _saved(DECISION, force_version="2.0"),
    "PDF 1.3": lambda: _saved(
        DECISION, force_version="1.3", object_stream_mode=pikepdf.ObjectStreamMode.disable
    ),
}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.needs("qpdf")
@pytest.mark.needs("pdfsig")
def test_every_file_structure(
    pki: TestPKI,
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    approve_options: SigningOptions,
    issue_options: SigningOptions,
    tmp_path: Path,
    structure: str,
) -> None:
    source, path = STRUCTURES[structure](), tmp_path / "issued.pdf"
    content = sign(sign(source, leader, approve_options), clerk, issue_options)
    assert content.startswith(source)
    path.write_bytes(content)
    assert_sound(path)
    words = pdfsig(path)
    assert words.count("Signature is Valid.") == 2
    # A file whose last section is a stream goes on with streams (ISO 32000-1, 7.5.8.4).
    appended = content[len(source) :]
    assert (b"\nxref\n" in appended) is (b"\nxref\n" in source or b"\nxref " in source)
    (report,) = verify_pdf(path, trust=TrustStore.from_certificates(pki.leader.chain)).files
    assert report.readers_agree
    assert [signature.integrity for signature in report.signatures] == [True, True]


ENCRYPTIONS = {
    "RC4": pikepdf.Encryption(owner="chủ TEST", user="dùng TEST", R=3, aes=False, metadata=False),
    "AES-128": pikepdf.Encryption(owner="TEST-owner", user="TEST-user", R=4),
    "AES-256": pikepdf.Encryption(owner="chủ TEST", user="dùng TEST", R=6),
    "no password to read": pikepdf.Encryption(owner="TEST-owner", user="", R=6),
}
PASSWORDS = {"RC4": "TEST-owner", "AES-128": "TEST-owner", "AES-256": "chủ TEST", "no password to read": ""}


def _encrypted(name: str, *, streams: bool = False) -> bytes:
    encryption = ENCRYPTIONS[name]
    if name == "RC4":
        # Passwords before revision 6 are Latin letters (ISO 32000-1, 7.6.3.3).
        encryption = encryption._replace(owner="TEST-owner", user="TEST-user")
    mode = pikepdf.ObjectStreamMode.generate if streams else pikepdf.ObjectStreamMode.disable
    return _saved(LETTER, encryption=encryption, object_stream_mode=mode)


@pytest.mark.needs("pdfsig")
@pytest.mark.needs("qpdf")
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", ENCRYPTIONS)
def test_an_encrypted_document_with_its_password(
    leader: PKCS12Signer, signature_picture: Picture, tmp_path: Path, name: str, streams: bool
) -> None:
    source, path = _encrypted(name, streams=streams), tmp_path / "signed.pdf"
    asked = []

    def password(document: str) -> str:
        asked.append(document)
        return PASSWORDS[name]

    options = SigningOptions(
        role=Role.APPROVE,
        picture=signature_picture,
        placement=Placement(anchor=documents.LEADER_NAME),
        reserve_numbering=True,
        password=password,
    )
    path.write_bytes(sign(source, leader, options))
    assert asked == ["PDF"]
    assert path.read_bytes().startswith(source)
    words = subprocess.run(
        ["pdfsig", "-opw", PASSWORDS[name], "-upw", PASSWORDS[name], path], capture_output=True, text=True
    )
    assert "Signature is Valid." in words.stdout, words.stderr
    check = subprocess.run(
        ["qpdf", "--check", f"--password={PASSWORDS[name]}", path], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr
    with pikepdf.open(path, password=PASSWORDS[name]) as pdf:
        assert pdf.is_encrypted
        assert "vnedoc-number" in {str(field.T) for field in pdf.Root.AcroForm.Fields}


@pytest.mark.parametrize(
    ("password", "code", "kind"),
    [
        (None, "pdf.encrypted", DocumentError),
        (lambda _: None, "pdf.encrypted", DocumentError),
        (lambda _: "wrong", "pdf.wrong-password", DocumentError),
        (lambda _: "", "pdf.wrong-password", DocumentError),
        (lambda _: "TEST-user", "pdf.permissions", NotAllowedError),
    ],
)
def test_an_encrypted_document_without_the_right_password(
    leader: PKCS12Signer,
    tmp_path: Path,
    password: Callable[[str], str | None] | None,
    code: str,
    kind: type[VnedocError],
) -> None:
    encryption = pikepdf.Encryption(
        owner="TEST-owner", user="TEST-user", R=6, allow=pikepdf.Permissions(modify_annotation=False)
    )
    source, output = tmp_path / "x.pdf", tmp_path / "signed.pdf"
    source.write_bytes(_saved(LETTER, encryption=encryption))
    options = dataclasses.replace(INVISIBLE, password=password)
    for act in (
        lambda: sign_pdf(source, output, signer=leader, options=options),
        lambda: plan_pdf(source, signer=leader, options=options),
    ):
        with pytest.raises(kind) as caught:
            act()
        assert caught.value.code == code
    assert not output.exists()
    assert "TEST-user" not in repr(options)


def test_the_owner_may_sign_what_readers_may_not(leader: PKCS12Signer) -> None:
    encryption = pikepdf.Encryption(
        owner="TEST-owner", user="TEST-user", R=6, allow=pikepdf.Permissions(modify_annotation=False)
    )
    options = dataclasses.replace(INVISIBLE, password=lambda _: "TEST-owner")
    assert sign(_saved(LETTER, encryption=encryption), leader, options)


def test_a_timestamped_signature_keeps_metadata(pki: TestPKI, leader: PKCS12Signer) -> None:
    with TimestampClient([pki.tsa_url]) as client:
        options = dataclasses.replace(INVISIBLE, level=SignatureLevel.B_T, timestamps=client)
        content = sign(DECISION, leader, options)
    with pikepdf.open(io.BytesIO(DECISION)) as before, pikepdf.open(io.BytesIO(content)) as after:
        assert dict(after.trailer.Info) == dict(before.trailer.Info)
    assert b"pyHanko" not in content
