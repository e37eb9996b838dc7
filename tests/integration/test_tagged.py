"""Tagged documents: a signature that is shown has its place in the structure tree, and nothing else moves there.

ISO 32000-2, 14.7 and 14.8.4.7.3; ISO 14289-1, 7.18 (PDF/UA).
"""

import dataclasses
import io
from collections.abc import Callable, Iterator

import pikepdf
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.pdf_signer import PdfSigner

from tests.signed_pdfs import signer_of
from vnedoc.sign._pyhanko.tagging import add_to_structure, last_key
from vnedoc.sign.models import Box, Placement, Role
from vnedoc.sign.report import Changes, Conclusion, FileReport
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

DECISION = documents.document_bytes(documents.DECISION)
COMMENT = SigningOptions(
    role=Role.COMMENT, text="Đồng ý.", placement=Placement(page=1, box=Box(60, 20, 300, 40))
)
XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/"><pdfuaid:part>1</pdfuaid:part>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.fixture(scope="module")
def accessible() -> bytes:
    """The decision, saying that it is PDF/UA."""
    return _changed(DECISION, _claim)


def _claim(pdf: pikepdf.Pdf) -> None:
    pdf.Root.Metadata = pdf.make_stream(XMP, Type=pikepdf.Name.Metadata, Subtype=pikepdf.Name.XML)


def _changed(content: bytes, change: Callable[[pikepdf.Pdf], object]) -> bytes:
    output = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        pdf.save(output)
    return output.getvalue()


def _sign(source: bytes, signer: Signer, options: SigningOptions) -> bytes:
    content = sign_pdf(source, signer=signer, options=options).content
    assert content is not None
    return content


def _report(content: bytes, pki: TestPKI) -> FileReport:
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as revocation:
        (file,) = verify_pdf(
            content, trust=TrustStore.from_certificates(pki.ca_certificates), revocation=revocation
        ).files
    return file


def _numbers(node: pikepdf.Object) -> Iterator[tuple[int, pikepdf.Object]]:
    numbers = list(node.get("/Nums", []))
    yield from zip(numbers[0::2], numbers[1::2], strict=True)
    for kid in node.get("/Kids", []):
        yield from _numbers(kid)


def _untagged(content: bytes) -> list[str]:
    """Return the names of the shown fields that the structure does not lead to, checking those that it does."""
    missing = []
    with pikepdf.open(io.BytesIO(content)) as pdf:
        tree = pdf.Root.StructTreeRoot
        parents = dict(_numbers(tree.ParentTree))
        for page in pdf.pages:
            for widget in page.get("/Annots", []):
                x0, y0, x1, y1 = (float(number) for number in widget.Rect)
                if x0 == x1 or y0 == y1:
                    assert "/StructParent" not in widget
                    continue
                if "/StructParent" not in widget:
                    missing.append(str(widget.T))
                    continue
                element = parents[int(widget.StructParent)]
                assert element.S == "/Form"
                assert element.K.Type == "/OBJR"
                assert element.K.Obj.objgen == widget.objgen
                assert element.Pg.objgen == element.K.Pg.objgen == page.obj.objgen
                assert element.objgen in [kid.objgen for kid in element.P.K]
                assert element.P.S == "/Document"
                assert page.Tabs == "/S"
                assert str(widget.TU)
    return missing


def test_the_first_signature_puts_all_its_fields_into_the_structure(
    leader: PKCS12Signer, approve_options: SigningOptions
) -> None:
    options = dataclasses.replace(approve_options, reserve_seal_mm=36)
    content = _sign(DECISION, leader, options)
    assert _untagged(content) == []
    with pikepdf.open(io.BytesIO(DECISION)) as before, pikepdf.open(io.BytesIO(content)) as after:
        old, new = before.Root.StructTreeRoot, after.Root.StructTreeRoot
        # Number, day, month, seal and signature; the rest stands where it stood.
        assert len(new.K[0].K) == len(old.K[0].K) + 5
        assert [kid.objgen for kid in list(new.K[0].K)[:-5]] == [kid.objgen for kid in old.K[0].K]
        assert len(new.ParentTree.Nums) == len(old.ParentTree.Nums) + 10
    assert b"Ch\xc3\xbc" not in content  # text strings are not UTF-8
    with pikepdf.open(io.BytesIO(content)) as pdf:
        labels = {str(field.T): str(field.TU) for field in pdf.Root.AcroForm.Fields}
    assert labels["vnedoc-approve-1"] == "Chữ ký số của người có thẩm quyền"
    assert labels["vnedoc-issue-1"] == "Chữ ký số của cơ quan, tổ chức"


def test_the_structure_of_a_signed_document_stays_unless_it_is_pdfua(
    pki: TestPKI,
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    accessible: bytes,
    approve_options: SigningOptions,
    issue_options: SigningOptions,
) -> None:
    for source, missing in ((DECISION, ["vnedoc-comment-1", "vnedoc-issue-1"]), (accessible, [])):
        content = _sign(source, leader, approve_options)
        content = _sign(content, leader, COMMENT)
        content = _sign(content, clerk, issue_options)
        content = _sign(content, leader, SigningOptions(role=Role.INVISIBLE))
        assert _untagged(content) == missing
        file = _report(content, pki)
        assert file.conclusion is Conclusion.TOTAL_PASSED, file
        assert [signature.changes_after for signature in file.signatures] == [
            Changes.FORM, Changes.FORM, Changes.SIGNATURES, Changes.NONE
        ]  # fmt: skip


def test_all_pages_of_a_pdfua_document_are_read_by_structure(leader: PKCS12Signer, accessible: bytes) -> None:
    for source, expected in ((accessible, ["/S", "/S"]), (DECISION, [None, None])):
        content = _sign(source, leader, SigningOptions(role=Role.INVISIBLE))
        with pikepdf.open(io.BytesIO(content)) as pdf:
            assert [page.get("/Tabs") for page in pdf.pages] == expected


def _only_kid(pdf: pikepdf.Pdf) -> None:
    tree = pdf.Root.StructTreeRoot
    tree.K = tree.K[0]


def _parents_in_leaves(pdf: pikepdf.Pdf) -> None:
    parents = pdf.Root.StructTreeRoot.ParentTree
    numbers = list(parents.Nums)
    leaves = [
        pdf.make_indirect(
            pikepdf.Dictionary(Limits=[numbers[at], numbers[at]], Nums=pikepdf.Array(numbers[at : at + 2]))
        )
        for at in range(0, len(numbers), 2)
    ]
    del parents["/Nums"]
    parents.Kids = pikepdf.Array(leaves)


def _indirect_arrays(pdf: pikepdf.Pdf) -> None:
    tree = pdf.Root.StructTreeRoot
    tree.K = pdf.make_indirect(tree.K)
    tree.K[0].K = pdf.make_indirect(tree.K[0].K)
    tree.ParentTree.Nums = pdf.make_indirect(tree.ParentTree.Nums)


def _direct_parents(pdf: pikepdf.Pdf) -> None:
    tree = pdf.Root.StructTreeRoot
    tree.ParentTree = pikepdf.Dictionary(Nums=tree.ParentTree.Nums)
    tree.ParentTreeNextKey = 9


SHAPES = {
    "one kid without an array": _only_kid,
    "parents in leaves": _parents_in_leaves,
    "arrays of their own": _indirect_arrays,
    "parents inside of the root, next key 9": _direct_parents,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_tree(
    pki: TestPKI, leader: PKCS12Signer, accessible: bytes, approve_options: SigningOptions, shape: str
) -> None:
    content = _sign(_changed(accessible, SHAPES[shape]), leader, approve_options)
    content = _sign(_sign(content, leader, COMMENT), leader, COMMENT)
    assert _untagged(content) == []
    file = _report(content, pki)
    # A comment is no approval; what counts here is that nobody calls the document changed.
    assert [signature.integrity for signature in file.signatures] == [True] * 3
    assert [signature.changes_after for signature in file.signatures] == [
        Changes.SIGNATURES, Changes.SIGNATURES, Changes.NONE
    ]  # fmt: skip
    assert file.conclusion is Conclusion.TOTAL_PASSED


@pytest.mark.parametrize(
    "damage",
    [
        lambda pdf: pdf.Root.StructTreeRoot.__setitem__("/ParentTree", pikepdf.Array([])),
        lambda pdf: pdf.Root.StructTreeRoot.ParentTree.__setitem__("/Kids", pikepdf.Array([1, 2])),
        lambda pdf: pdf.Root.StructTreeRoot.ParentTree.Nums.__setitem__(0, pikepdf.Name.X),
        lambda pdf: pdf.Root.StructTreeRoot.__setitem__("/ParentTreeNextKey", pikepdf.Name.X),
    ],
)
def test_a_broken_tree_is_an_error_of_ours(
    leader: PKCS12Signer, approve_options: SigningOptions, damage: Callable[[pikepdf.Pdf], None]
) -> None:
    from vnedoc.errors import DocumentError

    with pytest.raises(DocumentError) as caught:
        _sign(_changed(DECISION, damage), leader, approve_options)
    assert caught.value.code == "pdf.broken"


def test_a_loop_of_parents_ends() -> None:
    from pyhanko.pdf_utils.misc import PdfReadError

    node = generic.DictionaryObject()
    node[pdf_name("/Kids")] = generic.ArrayObject([node, node])
    with pytest.raises(PdfReadError):
        last_key(node)


class _Later:
    """A later signature by another producer, with a change of the structure beside it."""

    def __init__(self, content: bytes, pki: TestPKI) -> None:
        self.writer = IncrementalPdfFileWriter(io.BytesIO(content))
        self._pki = pki

    @property
    def tree(self) -> generic.DictionaryObject:
        return self.writer.root["/StructTreeRoot"]

    @property
    def whole(self) -> generic.DictionaryObject:
        return self.tree["/K"][0]

    def sign(
        self, change: Callable[["_Later", generic.IndirectObject, generic.IndirectObject], None]
    ) -> bytes:
        metadata = signers.PdfSignatureMetadata(
            field_name="Later", subfilter=SigSeedSubFilter.PADES, md_algorithm="sha256"
        )
        spec = SigFieldSpec("Later", on_page=0, box=(60, 20, 120, 60))
        from pyhanko.sign.fields import append_signature_field

        append_signature_field(self.writer, spec)
        page, _ = self.writer.find_page_for_modification(0)
        form = self.writer.root["/AcroForm"]
        widget = form["/Fields"].raw_get(len(form["/Fields"]) - 1)
        change(self, page, widget)
        output = io.BytesIO()
        PdfSigner(metadata, signer_of(self._pki.agency)).sign_pdf(
            self.writer, output=output, bytes_reserved=16384
        )
        return output.getvalue()

    def add(self, page: generic.IndirectObject, widget: generic.IndirectObject) -> generic.DictionaryObject:
        add_to_structure(self.writer, page=page, widget=widget)
        kids = self.whole["/K"]
        return kids[len(kids) - 1]


def _honest(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)


def _nothing(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    pass


def _speaks(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)[pdf_name("/ActualText")] = generic.pdf_string("100.000.000 đồng")


def _paragraph(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)[pdf_name("/S")] = pdf_name("/P")


def _other_text(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    later.whole[pdf_name("/Alt")] = generic.pdf_string("Quyết định khác")
    later.writer.update_container(later.whole)


def _first(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    kids = later.whole["/K"]
    kids.insert(0, kids.pop())


def _swapped(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    kids = later.whole["/K"]
    first, second = kids.raw_get(1), kids.raw_get(2)
    kids[1], kids[2] = second, first


def _removed(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    later.whole["/K"].pop(1)


def _without_parent(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    del widget.get_object()["/StructParent"]


def _other_parent(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    numbers = later.tree["/ParentTree"]["/Nums"]
    numbers[1] = numbers.raw_get(3)


def _other_object(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)["/K"][pdf_name("/Obj")] = page


def _roles(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    later.tree["/RoleMap"][pdf_name("/Body")] = pdf_name("/Artifact")
    later.writer.update_container(later.tree)


def _two(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    later.add(page, widget)


def _element_changed(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)
    element = later.whole["/K"][1]
    element[pdf_name("/ActualText")] = generic.pdf_string("khác")
    later.writer.update_container(element)


def _no_page(later: _Later, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
    later.add(page, widget)[pdf_name("/Pg")] = generic.pdf_string("khác")


LIES = {
    "text in place of a page": _no_page,
    "an element that speaks": _speaks,
    "an element of another kind": _paragraph,
    "other text for the document": _other_text,
    "before the others": _first,
    "another order": _swapped,
    "an element is gone": _removed,
    "no way back": _without_parent,
    "another parent for a page": _other_parent,
    "not the signature": _other_object,
    "other roles": _roles,
    "two for one": _two,
    "other text for a part": _element_changed,
}


@pytest.mark.parametrize("change", [_honest, _nothing])
def test_a_later_signature_may_add_its_element(
    pki: TestPKI,
    leader: PKCS12Signer,
    accessible: bytes,
    approve_options: SigningOptions,
    change: Callable[[_Later, generic.IndirectObject, generic.IndirectObject], None],
) -> None:
    options = dataclasses.replace(approve_options, reserve_numbering=False)
    file = _report(_Later(_sign(accessible, leader, options), pki).sign(change), pki)
    assert file.conclusion is Conclusion.TOTAL_PASSED, file
    assert file.signatures[0].changes_after is Changes.SIGNATURES


@pytest.mark.parametrize("lie", LIES)
def test_a_later_signature_may_do_nothing_else_there(
    pki: TestPKI, leader: PKCS12Signer, accessible: bytes, approve_options: SigningOptions, lie: str
) -> None:
    options = dataclasses.replace(approve_options, reserve_numbering=False)
    file = _report(_Later(_sign(accessible, leader, options), pki).sign(LIES[lie]), pki)
    first, later = file.signatures
    assert later.integrity
    assert first.conclusion is Conclusion.TOTAL_FAILED
    assert "verify.content-changed" in [finding.id for finding in first.errors]
